r"""What a training run on samples stands for: its dials, its policy, its Alg, and its episodes."""

import dataclasses
import math
from typing import Any, Literal, NamedTuple, get_args, get_origin

import torch
from torch import Tensor
from torch.func import vmap

from bomrl_lite.one_time_data import SampleBatch, sample_batch
from bomrl_lite.policies import categorical_mlp, gaussian_mlp, over_states, tabular_softmax
from bomrl_lite.returns import discounted_returns
from bomrl_lite.rollout import collect, repeat
from bomrl_lite.sampled_meta_gradients import (
    METHODS,
    Alg,
    Outer,
    Rung,
    SurrogateName,
    make_alg,
)
from bomrl_lite.tasks import make_sampled_tasks
from bomrl_lite.types import Params, Policy, Rollout, SampledTasks

Batches = tuple[SampleBatch, ...]

BASE: dict[str, Any] = {
    "step_size": 1.0,
    "lam": 0.0125,
    "delta": 1.0,
    "ridge": 0.0,
    "cg_iterations": 6,
    "inner_iterations": 12,
    "distance": "d1",
    "surrogate": "ratio",
    "parameters": "all",
    "causal_trace": 1.0,
    "first_order": False,
    "credit": 0.0,
    "baseline": True,
    "outer": "adam",
    "learning_rate": 5e-3,
    "epochs": 1,
    "clip": 0.0,
    "kl_penalty": 0.0,
    "kl_target": 0.0,
    "kl_guard": 0.0,
    "max_kl": 1e-2,
}
"""Dials of a method that neither its table nor the configuration sets."""


@dataclasses.dataclass(frozen=True)
class SampledConfig:
    """Every dial of a training run on samples; a dial left at None is the method's own.

    Two runs of one configuration on one machine are bit-identical.
    """

    method: Literal[
        "joint",
        "naive_maml",
        "first_order_maml",
        "maml",
        "dice_maml",
        "loaded_dice_maml",
        "trpo_maml",
        "e_maml",
        "promp",
        "anil",
        "imaml",
        "bomrl",
        "bomrl_trust_region",
        "bomrl_head",
        "bomrl_solved",
    ] = "bomrl"
    """How phi is trained: a key of ``METHODS``."""
    tasks: str = "navigation/circle"
    """Task distribution, by name; tabular ones are simulated."""
    num_tasks: int = 20
    """Tasks of one iteration, drawn anew each time."""
    num_episodes: int = 20
    """Episodes per task before adaptation, and again after it."""
    horizon: int | None = None
    """Steps of an episode; None takes the family's."""
    iterations: int = 50
    """Updates of phi."""
    num_steps: int = 1
    """Adaptation steps, each on episodes of the policy before it."""
    hidden: tuple[int, ...] = (32, 32)
    """Widths of the policy's hidden layers."""
    log_std: float = 0.0
    """Where the logarithm of a Gaussian policy's deviation starts."""
    step_size: float | None = None
    """Gradient methods: alpha, in parameters^2 per deviation of the advantages."""
    lam: float | None = None
    """BO-MRL, iMAML: weight of D^2, in deviations of the advantages."""
    delta: float | None = None
    """bomrl_trust_region: largest D^2, in nats."""
    ridge: float | None = None
    """BO-MRL: rho of the Euclidean term inside D^2."""
    distance: Literal["d1", "d2", "d3"] | None = None
    """bomrl_solved: D^2 beside the ridge."""
    cg_iterations: int | None = None
    """BO-MRL, iMAML: conjugate-gradient iterations, forward and back; see ``residual``."""
    inner_iterations: int | None = None
    """bomrl_solved, imaml: Newton steps; see ``stationarity``."""
    surrogate: SurrogateName | None = None
    """bomrl_solved: L."""
    parameters: Literal["all", "head"] | None = None
    """What the adaptation moves."""
    data: Rung | None = None
    """What of the data's dependence on phi the meta-gradient keeps."""
    causal_trace: float | None = None
    """Rungs q_gradient and full: truncation of the causal horizon, in [0, 1]."""
    first_order: bool | None = None
    """Gradient methods: take d theta / d phi for the identity."""
    credit: float | None = None
    """Weight of E-MAML's score term, which is a mean over samples: T makes it formulation II's."""
    baseline: bool | None = None
    """Whether a linear baseline is subtracted from returns."""
    outer: Outer | None = None
    """adam, with ``epochs``, ``clip`` and ``kl_guard``; or trpo, with ``max_kl``."""
    learning_rate: float | None = None
    """Of Adam."""
    epochs: int | None = None
    """Adam updates per iteration, on the same episodes."""
    clip: float | None = None
    """Clip of the outer ratio; 0 is none."""
    kl_penalty: float | None = None
    """Weight of KL(pi_old || pi_phi) before adaptation (ProMP)."""
    kl_target: float | None = None
    """Let the penalty double or halve to keep that KL near this; 0 leaves it fixed."""
    kl_guard: float | None = None
    """Stop the epochs once the adapted policies have moved this far; 0 is none."""
    max_kl: float | None = None
    """trpo: largest KL of the adapted policies, in nats."""
    trace: float = 0.95
    """lambda of the generalised advantage estimate."""
    normalise: bool = True
    """Give each task's advantages mean 0 and deviation 1."""
    seed: int = 0
    """Decides everything that is random."""
    diagnose_every: int = 10
    """Iterations between two measurements of the costly diagnostics."""
    checkpoint_every: int = 10
    """Iterations between two checkpoints."""

    def __post_init__(self) -> None:
        """Refuse values that could not train.

        Raises:
            ValueError: says which field, what it must be and what it is.
        """
        for field in dataclasses.fields(self):
            kinds = [k for k in (field.type, *get_args(field.type)) if get_origin(k) is Literal]
            allowed = get_args(kinds[0]) if kinds else ()
            value = getattr(self, field.name)
            if allowed and value is not None and value not in allowed:
                raise ValueError(f"{field.name} must be one of {allowed}, got {value!r}")
        dials = self.dials()
        for name in (
            "num_tasks",
            "num_episodes",
            "iterations",
            "num_steps",
            "diagnose_every",
            "checkpoint_every",
            "epochs",
            "cg_iterations",
            "inner_iterations",
        ):
            if dials[name] < 1:
                raise ValueError(f"{name} must be at least 1, got {dials[name]}")
        for name in ("step_size", "lam", "delta", "learning_rate", "max_kl"):
            if not 0 < dials[name] < math.inf:
                raise ValueError(f"{name} must be positive and finite, got {dials[name]}")
        for name in ("ridge", "clip", "kl_penalty", "kl_target", "kl_guard"):
            if not 0 <= dials[name] < math.inf:
                raise ValueError(f"{name} must be 0 or more and finite, got {dials[name]}")
        for name in ("causal_trace", "trace"):
            if not 0 <= dials[name] <= 1:
                raise ValueError(f"{name} must be in [0, 1], got {dials[name]}")

    def dials(self) -> dict[str, Any]:
        """Return every field, those left at None as the method has them."""
        method = METHODS[self.method]
        given = {k: v for k, v in dataclasses.asdict(self).items() if v is not None}
        return {**BASE, "data": method.data, "horizon": None, **method.dials, **given}


class SampledProblem(NamedTuple):
    """What a configuration stands for."""

    tasks: SampledTasks
    policy: Policy
    alg: Alg
    dials: dict[str, Any]
    gamma: float
    discounted: bool
    """Whether steps count with gamma^t, as in the exact values of tabular tasks."""

    def batch(self, rollout: Rollout) -> SampleBatch:
        """Make episodes ready for adaptation."""
        d = self.dials
        how = {"trace": d["trace"], "normalise": d["normalise"], "baseline": d["baseline"]}
        return sample_batch(rollout, gamma=self.gamma, discounted=self.discounted, **how)

    def returns(self, rollout: Rollout) -> Tensor:
        """Return the mean return of each task's episodes, [N]."""
        gamma = self.gamma if self.discounted else 1.0
        return discounted_returns(rollout, gamma)[..., 0].mean(-1)


def make_problem(config: SampledConfig) -> SampledProblem:
    """Build the policy of the task family and bind the method's Alg."""
    tasks, dials = make_sampled_tasks(config.tasks), config.dials()
    tabular = tasks.observation_size == 0
    if tabular:
        one = tasks.sample(1, torch.Generator().manual_seed(0), "train")
        policy = over_states(tabular_softmax(*one[1].shape[-2:]))
    elif tasks.discrete:
        policy = categorical_mlp(tasks.observation_size, tasks.action_size, hidden=config.hidden)
    else:
        policy = gaussian_mlp(
            tasks.observation_size, tasks.action_size, hidden=config.hidden, log_std=config.log_std
        )
    if dials["parameters"] == "head" and not policy.head:
        raise ValueError(
            f"{config.tasks} has a tabular policy, which has no head to adapt alone; "
            "use parameters='all' with another method than bomrl_head"
        )
    alg = make_alg(METHODS[config.method].alg, policy, {**dials, "gamma": tasks.gamma})
    return SampledProblem(tasks, policy, alg, dials, tasks.gamma, tabular)


class Collected(NamedTuple):
    """One iteration's episodes."""

    before: Batches
    """Of each adaptation step."""
    after: SampleBatch
    thetas: Params
    """Adapted parameters that collected ``after``, with a leading N."""
    returns_before: Tensor
    returns_after: Tensor


def collect_all(
    phi: Params, tasks: NamedTuple, problem: SampledProblem, generator: torch.Generator
) -> Collected:
    """Let phi act, adapt, let the adapted policies act."""
    d = problem.dials
    num_tasks = len(tasks[0])
    simulator = problem.tasks.simulator(tasks, d["num_episodes"], d["horizon"])
    # A copy: what an adaptation leaves alone must not follow phi, which is updated in place.
    start = {name: leaf.clone() for name, leaf in phi.items()}
    thetas, before, first = repeat(start, num_tasks), (), None
    for _ in range(d["num_steps"]):
        rollout = collect(simulator, problem.policy, thetas, generator)
        first = rollout if first is None else first
        before = (*before, problem.batch(rollout))
        thetas = vmap(lambda p, b: problem.alg(p, b).theta)(thetas, before[-1])
    assert first is not None
    rollout = collect(simulator, problem.policy, thetas, generator)
    returns = (problem.returns(r) for r in (first, rollout))
    return Collected(before, problem.batch(rollout), thetas, *returns)


def adapted_returns(
    phi: Params,
    tasks: NamedTuple,
    problem: SampledProblem,
    generator: torch.Generator,
    *,
    num_steps: int = 1,
    num_episodes: int = 20,
    test_episodes: int = 20,
    algs: tuple[Alg, ...] = (),
) -> Tensor:
    """Return the mean return after 0, 1, ..., num_steps adaptations, [N, num_steps + 1].

    Each adaptation reads ``num_episodes`` fresh episodes of the policy before it; returns are
    those of ``test_episodes`` others, so that no policy is judged by what it learnt from.

    Args:
        phi: meta-parameters.
        tasks: N tasks.
        problem: policy, Alg and simulator.
        generator: where all randomness comes from.
        num_steps: adaptations, >= 0.
        num_episodes: episodes per task for one adaptation.
        test_episodes: episodes per task for one return.
        algs: another Alg for each step, as for a step size of its own; none repeats the problem's.
    """
    train, test = (
        problem.tasks.simulator(tasks, count, problem.dials["horizon"])
        for count in (num_episodes, test_episodes)
    )
    thetas, values = repeat(phi, len(tasks[0])), []
    for step in range(num_steps + 1):
        if step:
            alg = algs[step - 1] if algs else problem.alg
            batch = problem.batch(collect(train, problem.policy, thetas, generator))
            thetas = vmap(lambda p, b, alg=alg: alg(p, b).theta)(thetas, batch)
        values.append(problem.returns(collect(test, problem.policy, thetas, generator)))
    return torch.stack(values, dim=-1)
