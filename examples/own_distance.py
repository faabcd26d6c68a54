r"""A distance of your own: Alg and its hypergradient with the squared Hellinger distance.

    D^2(pi_phi, pi_theta) = sum_s nu(s) sum_a (sqrt pi_phi(a|s) - sqrt pi_theta(a|s))^2

It has no closed form here: Alg is climbed, and the implicit function theorem does the rest.

    python examples/own_distance.py runs/hellinger
"""

import dataclasses
import sys
from functools import partial
from pathlib import Path

from torch import Tensor

import bomrl_lite as bl
from bomrl_lite.training.evaluate import evaluate_run
from bomrl_lite.training.exact import ExactProblem
from bomrl_lite.types import StatePolicy


def hellinger(
    phi: bl.Params, theta: bl.Params, *, policy: StatePolicy, state_weights: Tensor
) -> Tensor:
    """Return D^2, a scalar; ``state_weights`` are nu, [S]."""
    roots = [(policy.log_probs(p) / 2).exp() for p in (phi, theta)]
    return state_weights @ (roots[0] - roots[1]).square().sum(-1)


def hellinger_problem(config: bl.Config) -> ExactProblem:
    """Return the problem of a configuration, with the distance put in."""
    problem = bl.make_problem(config)
    settings = {"policy": problem.policy, "gamma": problem.gamma, "lam": config.alg.lam}
    return dataclasses.replace(
        problem,
        meta_gradient=partial(bl.bomrl, distance=hellinger, **settings),
        adaptation=partial(bl.adapt_to_task, distance=hellinger, **settings),
    )


if __name__ == "__main__":
    out = Path(sys.argv[1])
    config = bl.configure("bomrl", tasks="probe/random-5x3", num_tasks=4, iterations=20, lam=1.0)
    problem = hellinger_problem(config)
    state = bl.meta_train(config, problem=problem, out=out, resume=True)
    print(f"worst stationarity: {max(row['stationarity'] for row in state.history):.1e}")
    rows = evaluate_run(out, num_test_tasks=5, num_steps=1, problem=problem)
    for prior in ("untrained", "bomrl"):
        gaps = [float(r["gap"]) for r in rows if (r["split"], r["prior"]) == ("train", prior)]
        print(f"gap on training tasks, {prior}: {sum(gaps[1::2]) / len(gaps[1::2]):.3f}")
    bl.save_policy(config, state, out / "policy.pt")
