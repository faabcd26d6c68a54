r"""The sampled term through Q of BO-MRL's hypergradient, against the exact one.

Alg with D2 and free logits is theta = phi + Q / lam, so the hypergradient falls into two parts:

    \nabla_phi J(theta) = g + 1/lam sum_{s,a} g(s, a) \nabla_phi Q(s, a),  g = \nabla_theta J

Only the second is estimated here, all else is exact, so that the table shows the estimator of
\nabla Q and nothing else.
"""

import itertools
from collections.abc import Iterable, Iterator
from functools import partial
from typing import Literal, NamedTuple

import torch
from torch import Tensor
from torch.func import grad, vmap

from bomrl_lite.adaptation.distances import d2
from bomrl_lite.adaptation.meta_gradients import bomrl
from bomrl_lite.adaptation.objective import policy_gradient
from bomrl_lite.adaptation.solve import adapt_to_task
from bomrl_lite.course.experiments.laboratory import (
    STEP_SIZES,
    Problem,
    chunks,
    collect_batches,
    make_batch,
    make_problem,
    measure,
    repetitions_of,
)
from bomrl_lite.course.experiments.setting import Row, Scale, Train
from bomrl_lite.mdp import occupancy, state_values
from bomrl_lite.rollout.collect import repeat
from bomrl_lite.rollout.data import (
    SampleBatch,
    data_with_q_gradient,
    frozen_data,
    samples_with_q_gradient,
)
from bomrl_lite.rollout.returns import generalised_advantages
from bomrl_lite.training.streams import seeded
from bomrl_lite.types import Params, Rollout

TRACES = (0.5, 0.8, 0.9, 1.0)
"""Truncations of the causal horizon."""

LAMBDAS = (0.5, 2.0)
"""lam: the smaller, the larger the part through Q."""

EPISODES = (20, 200, 1000)
"""Batch sizes N of the stored experiment."""

BUDGET = 20_000
"""Episodes per problem, seed and batch size, 20 batches at least."""

GAE_TRACE = 0.9
"""lambda of the generalised advantage estimate; with the exact V it brings no bias."""

ORIGIN = {"lambdas": LAMBDAS, "episodes": EPISODES, "budget": BUDGET, "gae_trace": GAE_TRACE}
"""What the record of the table's origin tells."""


class Estimator(NamedTuple):
    """What a later action is weighed with, and what a visit of a pair is divided by."""

    values: Literal["none", "fitted", "exact"]
    """V that is taken off: none leaves the return; fitted is a linear baseline on the same
    episodes; exact gives the generalised advantage of the true V."""
    counted: bool = False
    """Divide by how often a pair was visited; else by how often it is, exactly."""


ESTIMATORS = {
    "returns": Estimator("none"),
    "fitted V": Estimator("fitted"),
    "fitted V, counted visits": Estimator("fitted", counted=True),
    "exact V": Estimator("exact"),
}
"""Only the third is within a learner's reach; the last is the best that the others aim at."""


class Parts(NamedTuple):
    """The exact hypergradient at one lam."""

    whole: Tensor
    through_q: Tensor
    weight: Tensor
    """g(s, a) / lam, what \nabla Q(s, a) counts with."""


def exact_parts(problem: Problem, lam: float) -> Parts:
    """Return the hypergradient and its part through Q, by implicit differentiation."""
    phi, task, exact = problem.phi, problem.task, problem.exact
    whole, without = (
        bomrl(phi, task, data=data, distance=d2, lam=lam, **exact)[0]["logits"]
        for data in (data_with_q_gradient, frozen_data)
    )
    theta = adapt_to_task(phi, task, distance=d2, lam=lam, **exact)
    slope = policy_gradient(theta, problem.task, **problem.exact)["logits"]
    return Parts(whole, whole - without, slope / lam)


def credited(rollout: Rollout, problem: Problem, values: str) -> SampleBatch:
    """Make batches whose later actions are weighed as :class:`Estimator` says."""
    batch = make_batch(rollout, problem, baseline=values == "fitted")
    if values != "exact":
        return batch
    probs = problem.policy.log_probs(problem.phi).exp()
    true = state_values(probs, problem.task, problem.gamma)
    seen, last = true[rollout.observations], true[rollout.final_observations]
    gained = generalised_advantages(rollout, seen, last, gamma=problem.gamma, trace=GAE_TRACE)
    return batch._replace(advantages=gained, credit=gained)


def sampled_part(
    batch: SampleBatch, weight: Tensor, problem: Problem, *, trace: float, counted: bool = False
) -> Tensor:
    r"""Estimate sum_{s,a} weight(s, a) \nabla Q(s, a) from the episodes of one batch.

    Args:
        batch: its ``credit`` is what later actions are weighed with.
        weight: [S, A].
        problem: policy and meta-parameters.
        trace: truncation of the causal horizon, in [0, 1].
        counted: divide by how often a pair was visited; else by how often it is, exactly. A pair
            that was never visited counts as 0.

    Returns:
        A gradient in the logits, [S, A].
    """
    pairs = (batch.observations * weight.shape[-1] + batch.actions).flatten()
    if counted:
        visits = torch.zeros_like(weight).flatten().index_add(0, pairs, batch.weights.flatten())
        share = visits.where(visits > 0, 1.0)
    else:
        probs = problem.policy.log_probs(problem.phi).exp()
        share = (occupancy(probs, problem.task, problem.gamma)[:, None] * probs).flatten()
    each = (weight.flatten() / share)[pairs]

    def promised(phi: Params) -> Tensor:
        data = samples_with_q_gradient(
            phi, batch, policy=problem.sampled, gamma=problem.gamma, causal_trace=trace
        )
        return (data.state_weights * each * data.q_values.squeeze(-1)).sum()

    return grad(promised)(problem.phi)["logits"]


def q_gradient_rows(
    name: str,
    seed: int,
    *,
    lambdas: Iterable[float] = LAMBDAS,
    estimators: Iterable[str] = tuple(ESTIMATORS),
    traces: Iterable[float] = TRACES,
    episodes: Iterable[int] = EPISODES,
    budget: int = BUDGET,
) -> Iterator[Row]:
    """Yield bias, spread and error of the sampled part through Q on one problem.

    ``bias`` to ``error`` are in units of the exact part's norm. ``whole error`` is that of the
    hypergradient, in units of its own: to be compared with ``dropped``, its error without the term.

    Args:
        name: key of :data:`bomrl_lite.course.experiments.laboratory.STEP_SIZES`.
        seed: of the problem and of the episodes.
        lambdas: weights of D2.
        estimators: some of :data:`ESTIMATORS`.
        traces: truncations.
        episodes: batch sizes N.
        budget: episodes per batch size; see ``repetitions_of``.
    """
    problem, generator = make_problem(name, seed), seeded(seed, 13)
    exact = {lam: exact_parts(problem, lam) for lam in lambdas}
    choices = list(itertools.product(estimators, traces, exact))
    for size in episodes:
        repetitions = repetitions_of(size, budget)
        parts = [
            _estimate(problem, exact, choices, size, r, generator)
            for r in chunks(size, repetitions)
        ]
        for choice in choices:
            estimator, trace, lam = choice
            part, size_of_whole = exact[lam].through_q, exact[lam].whole.norm()
            labels: Row = {"problem": name, "seed": seed, "lam": lam, "estimator": estimator}
            labels |= {"trace": trace, "episodes": size, "repetitions": repetitions}
            figures = measure(torch.cat([found[choice] for found in parts]), part)
            dropped = (part.norm() / size_of_whole).item()
            whole: Row = {"whole error": float(figures["error"]) * dropped, "dropped": dropped}
            yield labels | figures | whole


def stored(seed: int, scale: Scale, train: Train) -> Iterator[Row]:
    """Yield the rows of one seed of the stored table: every problem."""
    del scale, train
    for name in STEP_SIZES:
        yield from q_gradient_rows(name, seed)


Choice = tuple[str, float, float]
"""Estimator, trace, lam."""


def _estimate(
    problem: Problem,
    exact: dict[float, Parts],
    choices: list[Choice],
    episodes: int,
    repetitions: int,
    generator: torch.Generator,
) -> dict[Choice, Tensor]:
    """Estimate from batches that fit into memory together: all choices from the same episodes."""
    rollout = collect_batches(problem, repeat(problem.phi, repetitions), episodes, generator)
    kinds = {ESTIMATORS[name].values for name, _, _ in choices}
    batches = {values: credited(rollout, problem, values) for values in kinds}
    found = {}
    for name, trace, lam in choices:
        values, counted = ESTIMATORS[name]
        how = {"weight": exact[lam].weight, "trace": trace, "counted": counted}
        estimate = partial(sampled_part, problem=problem, **how)
        found[name, trace, lam] = vmap(estimate)(batches[values])
    return found
