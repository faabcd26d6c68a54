r"""An Alg of your own on episodes: a gradient step of a fixed length.

    theta = phi + alpha g / |g|,  g = \nabla_theta L at phi

An Alg maps (phi, episodes of one task) to theta and the way back to phi, here by automatic
differentiation of the step itself.

    python examples/own_alg.py runs/unit
"""

import dataclasses
import sys
from functools import partial
from pathlib import Path

import torch
from torch.func import grad, vjp

import bomrl_lite as bl
from bomrl_lite.adaptation.adapted import Adapted, explicit_info
from bomrl_lite.rollout.data import frozen_samples, policy_at
from bomrl_lite.solvers.linear import add_scaled, norm
from bomrl_lite.training.episodes import EpisodesProblem
from bomrl_lite.training.evaluate import evaluate_run
from bomrl_lite.types import Policy


def unit_step(phi: bl.Params, batch: bl.SampleBatch, *, policy: Policy, length: float) -> Adapted:
    """Go ``length`` along the gradient of the surrogate."""
    seen = policy_at(batch, policy)

    def step(p: bl.Params) -> bl.Params:
        data = frozen_samples(p, batch, policy=policy)
        g = grad(lambda x: bl.surrogate_objective(x, data, policy=seen))(p)
        return add_scaled(p, length / (norm(g) + 1e-8), g)

    theta, back = vjp(step, phi)[:2]
    return Adapted(theta, lambda cotangent: (back(cotangent)[0], explicit_info(phi)))


def unit_problem(config: bl.Config) -> EpisodesProblem:
    """Return the problem of a configuration, with the Alg put in."""
    problem = bl.make_problem(config)
    return dataclasses.replace(problem, alg=partial(unit_step, policy=problem.policy, length=0.5))


if __name__ == "__main__":
    torch.set_num_threads(1)
    out = Path(sys.argv[1])
    config = bl.configure("lvc_maml", num_tasks=10, num_episodes=10, iterations=10)
    problem = unit_problem(config)
    state = bl.meta_train(config, problem=problem, out=out, resume=True)
    first, last = state.history[0]["return_after"], state.history[-1]["return_after"]
    print(f"return after adaptation: {first:.2f}, then {last:.2f}")
    evaluate_run(out, num_test_tasks=5, num_steps=1, problem=problem)
    bl.save_policy(config, state, out / "policy.pt")
