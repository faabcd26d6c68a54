r"""The estimator laboratory: sampled second-order estimators against the exact answer.

On a tabular task everything that an estimator is after can be solved for, so its bias is measured
and not argued about. Two quantities, each estimated from N episodes, many times over:

    curvature       \nabla^2 J(phi) v with v = \nabla J(theta), what MAML needs beyond first order
    meta-gradient   (I + alpha \nabla^2 J(phi)) \nabla J(theta), inner and outer data sampled

Repetitions are tasks of one batch: the estimators are those of the package, as training runs them.
"""

from collections.abc import Iterable, Iterator
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.func import grad, vmap

from bomrl_lite.adaptation.adapted import Adapted
from bomrl_lite.adaptation.episodes import ratio_objective
from bomrl_lite.adaptation.gradient import gradient_adaptation, gradient_step
from bomrl_lite.adaptation.meta_gradients import maml
from bomrl_lite.adaptation.objective import policy_gradient, policy_return
from bomrl_lite.course.experiments.setting import Row, Scale, Trained
from bomrl_lite.policies.networks import over_states, tabular_softmax
from bomrl_lite.rollout.collect import collect, repeat
from bomrl_lite.rollout.data import SAMPLE_FUNCTIONS, SampleBatch, policy_at, sample_batch
from bomrl_lite.solvers.linear import add_scaled, hessian_vector_product, scale
from bomrl_lite.tasks import make_tasks
from bomrl_lite.tasks.tabular import TabularSimulator
from bomrl_lite.training.exact_trainer import seeded
from bomrl_lite.types import Params, Policy, Rollout, TabularPolicy, TabularTask

STEP_SIZES = {"probe/random-5x3": 2.0, "frozen_lake/holes-4x4": 3.0}
"""The problems, and alpha of MAML's inner step: large enough for the curvature to matter, between
a quarter and three quarters of the meta-gradient."""

EPISODES = (5, 10, 20, 50, 100, 200, 500, 1000, 2000)
"""Batch sizes N of the stored experiment."""

BUDGET = 10_000
"""Episodes of the stored experiment per problem, seed and batch size, 20 batches at least."""

CHUNK = 4000
"""Episodes that are in memory together."""


class Estimator(NamedTuple):
    """Which terms of the Hessian are estimated, and from what."""

    rung: str
    """Key of ``SAMPLE_FUNCTIONS``: what of the data's dependence on phi is kept."""
    baseline: bool
    """Whether a linear baseline, fitted to the same episodes, is subtracted from returns."""
    trace: float = 1.0
    """Truncation of the causal horizon."""


ESTIMATORS = {
    "naive": Estimator("naive", baseline=False),
    "LVC": Estimator("frozen", baseline=False),
    "LVC + grad Q": Estimator("q_gradient", baseline=False),
    "DiCE": Estimator("full", baseline=False),
    "LVC, baseline": Estimator("frozen", baseline=True),
    "Loaded DiCE": Estimator("full", baseline=True),
    "Loaded DiCE, 0.9": Estimator("full", baseline=True, trace=0.9),
    "Loaded DiCE, 0.8": Estimator("full", baseline=True, trace=0.8),
    "Loaded DiCE, 0.5": Estimator("full", baseline=True, trace=0.5),
}
"""The ladder H2, H1 + H2, + H12, + H12^T on plain returns; then what a baseline and a truncation do
to its ends. Loaded DiCE: Farquhar et al. (1909.10549)."""

FIRST_ORDER = "first order"
"""The meta-gradient with d theta / d phi = I: what an estimator of the curvature must beat."""

DIALS = {"step_sizes": STEP_SIZES, "episodes": EPISODES, "budget": BUDGET}
"""What the record of the table's origin tells."""


class Problem(NamedTuple):
    """One task, and a policy that is neither uniform nor good at it."""

    task: TabularTask
    policy: TabularPolicy
    phi: Params
    gamma: float
    horizon: int
    """T of a sampled episode; of the return beyond it a share gamma^T is left, below 2e-5."""
    step_size: float

    @property
    def exact(self) -> dict[str, Any]:
        """Keyword arguments of everything that is computed exactly."""
        return {"policy": self.policy, "gamma": self.gamma}

    @property
    def sampled(self) -> Policy:
        """The policy as one that reads state numbers."""
        return over_states(self.policy)

    @property
    def unit(self) -> float:
        r"""sum_t gamma^t: sample weights sum to 1, so \nabla J is this times their average."""
        return (1 - self.gamma**self.horizon) / (1 - self.gamma)


def make_problem(name: str, seed: int) -> Problem:
    """Draw a task of a family, and logits from N(0, 1).

    Args:
        name: key of :data:`STEP_SIZES`.
        seed: decides both draws.

    Raises:
        ValueError: no such problem.
    """
    if name not in STEP_SIZES:
        raise ValueError(f"the laboratory has no problem {name!r}; it has {', '.join(STEP_SIZES)}")
    family = make_tasks(name)
    task = TabularTask(*(x[0] for x in family.sample(1, seeded(seed, stream=10), "train")))
    shape = task.reward.shape
    draw = {"dtype": task.reward.dtype, "generator": seeded(seed, stream=11)}
    phi = {"logits": torch.randn(shape, **draw)}
    policy = tabular_softmax(*shape)
    return Problem(task, policy, phi, family.gamma, family.horizon, STEP_SIZES[name])


def collect_batches(
    problem: Problem, params: Params, episodes: int, generator: torch.Generator
) -> Rollout:
    """Collect one batch of episodes for each of R policies of the problem's task.

    Args:
        problem: task and horizon.
        params: with a leading R on every leaf; of phi make R by ``repeat``.
        episodes: N, per batch.
        generator: where all randomness comes from.
    """
    repetitions = len(params["logits"])
    tasks = TabularTask(*(x.expand(repetitions, *x.shape) for x in problem.task))
    simulator = TabularSimulator(tasks, episodes, problem.horizon)
    return collect(simulator, problem.sampled, params, generator)


def make_batch(rollout: Rollout, problem: Problem, *, baseline: bool) -> SampleBatch:
    """Weigh steps with gamma^t, as J does, and leave advantages in units of return."""
    dials = {"normalise": False, "discounted": True, "baseline": baseline}
    return sample_batch(rollout, gamma=problem.gamma, **dials)


def chunks(episodes: int, repetitions: int) -> Iterator[int]:
    """Split repetitions so that no more than :data:`CHUNK` episodes are in memory together."""
    most = max(1, CHUNK // episodes)
    for first in range(0, repetitions, most):
        yield min(most, repetitions - first)


def repetitions_of(episodes: int, budget: int) -> int:
    """Return how many batches of N episodes a budget of episodes buys: 20 to 1000."""
    return min(1000, max(20, budget // episodes))


def exact_answers(problem: Problem) -> dict[str, Tensor]:
    """Return the curvature term and the meta-gradient, without sampling."""
    step = {"step_size": problem.step_size, **problem.exact}
    objective = partial(policy_return, task=problem.task, **problem.exact)
    bend = hessian_vector_product(objective, problem.phi)(outer_direction(problem))
    whole, _ = maml(problem.phi, problem.task, **step)
    return {"curvature": bend["logits"], "meta-gradient": whole["logits"]}


def outer_direction(problem: Problem) -> Params:
    r"""Return v = \nabla J(theta) at the exact theta = phi + alpha \nabla J(phi)."""
    task, dials = problem.task, problem.exact
    theta = gradient_step(problem.phi, task, step_size=problem.step_size, **dials)
    return policy_gradient(theta, task, **dials)


def estimates(
    problem: Problem, episodes: int, repetitions: int, generator: torch.Generator
) -> dict[tuple[str, str], Tensor]:
    """Estimate both quantities by every estimator, from the same episodes.

    Args:
        problem: task and policy.
        episodes: N, of each inner and each outer batch.
        repetitions: R, batches.
        generator: where all randomness comes from.

    Returns:
        (quantity, estimator) -> estimates [R, S, A].
    """
    parts = [_estimate(problem, episodes, r, generator) for r in chunks(episodes, repetitions)]
    return {key: torch.cat([part[key] for part in parts]) for key in parts[0]}


def laboratory_rows(
    name: str, seed: int, *, episodes: Iterable[int] = EPISODES, budget: int = BUDGET
) -> Iterator[Row]:
    """Yield bias, spread and error of every estimator and batch size on one problem.

    Args:
        name: key of :data:`STEP_SIZES`.
        seed: of the problem and of the episodes.
        episodes: batch sizes N.
        budget: episodes per batch size; see :func:`repetitions_of`.
    """
    problem, generator = make_problem(name, seed), seeded(seed, stream=12)
    exact = exact_answers(problem)
    for size in episodes:
        repetitions = repetitions_of(size, budget)
        for (quantity, estimator), found in estimates(
            problem, size, repetitions, generator
        ).items():
            labels: Row = {"problem": name, "seed": seed, "quantity": quantity}
            labels |= {"estimator": estimator, "episodes": size, "repetitions": repetitions}
            yield labels | measure(found, exact[quantity])


def stored(seed: int, scale: Scale, train: Trained) -> Iterator[Row]:
    """Yield the rows of one seed of the stored table: every problem."""
    del scale, train
    for name in STEP_SIZES:
        yield from laboratory_rows(name, seed)


def measure(estimates: Tensor, exact: Tensor) -> Row:
    r"""Compare R estimates [R, ...] with the exact answer; all but the cosine in units of its norm.

    ``bias`` is ||mean - exact||, known up to ``bias error``, the standard error of that mean: a
    bias below two or three of these is none that was found. ``deviation`` is
    sqrt(E||x - E x||^2), ``error`` sqrt(E||x - exact||^2), ``cosine`` the mean over estimates.
    """
    found, target = estimates.flatten(1), exact.flatten()
    size, apart = target.norm(), found - target
    variance = found.var(0).sum()
    cosines = torch.cosine_similarity(found, target, dim=-1)
    values = {
        "bias": apart.mean(0).norm() / size,
        "bias error": (variance / len(found)).sqrt() / size,
        "deviation": variance.sqrt() / size,
        "cosine": cosines.mean(),
        "error": apart.square().sum(-1).mean().sqrt() / size,
    }
    return {name: value.item() for name, value in values.items()}


def slope(sizes: Iterable[float], values: Iterable[float]) -> float:
    """Return the slope of the least-squares line through log value over log size.

    The deviation of an average of N episodes has -1/2.
    """
    return float(np.polyfit(np.log(list(sizes)), np.log(list(values)), 1)[0])


def _estimate(
    problem: Problem, episodes: int, repetitions: int, generator: torch.Generator
) -> dict[tuple[str, str], Tensor]:
    """Estimate from batches that fit into memory together."""
    phi, sampled, alpha = problem.phi, problem.sampled, problem.step_size
    direction = outer_direction(problem)
    rollout = collect_batches(problem, repeat(phi, repetitions), episodes, generator)
    found = {}
    for baseline in (False, True):
        before = make_batch(rollout, problem, baseline=baseline)
        theta = vmap(lambda b: _step(problem, Estimator("frozen", False), b).theta)(before)
        rollout_after = collect_batches(problem, theta, episodes, generator)
        # The outer data are not what is compared: all estimators get the better ones.
        after = make_batch(rollout_after, problem, baseline=True)
        slopes = vmap(grad(partial(ratio_objective, policy=sampled)))(theta, after)
        outer = scale(problem.unit, slopes)
        for name, estimator in ESTIMATORS.items():
            if estimator.baseline == baseline:

                def both(
                    batch: SampleBatch, cotangent: Params, estimator: Estimator = estimator
                ) -> tuple[Tensor, Tensor]:
                    pull = _step(problem, estimator, batch).pull
                    bend = add_scaled(pull(direction)[0], -1.0, direction)["logits"] / alpha
                    return bend, pull(cotangent)[0]["logits"]

                bend, whole = vmap(both)(before, outer)
                found["curvature", name], found["meta-gradient", name] = bend, whole
    found["meta-gradient", FIRST_ORDER] = outer["logits"]
    return found


def _step(problem: Problem, estimator: Estimator, batch: SampleBatch) -> Adapted:
    r"""Take MAML's inner step, theta = phi + alpha \nabla J, from one batch."""
    sampled = problem.sampled
    dials = {"batch": batch, "policy": sampled}
    if estimator.rung in ("q_gradient", "full"):
        dials |= {"gamma": problem.gamma, "causal_trace": estimator.trace}
    data_of = partial(SAMPLE_FUNCTIONS[estimator.rung], **dials)
    step_size = problem.step_size * problem.unit
    return gradient_adaptation(
        problem.phi, data_of, policy=policy_at(batch, sampled), step_size=step_size
    )
