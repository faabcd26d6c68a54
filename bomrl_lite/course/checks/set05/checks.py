"""Exercise set 05: optimal actions, distances to them, the middle policy, the bound on the gap.

Signatures follow the package: ``phi`` and ``theta`` are logits [S, A], ``optimal`` is a table of
zeros and ones [S, A], ``task`` is a :class:`~bomrl_lite.types.TabularTask`, the dials are floats.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.func import vmap

from bomrl_lite import mdp, theory
from bomrl_lite.course.checks.engine import (
    EXPLAINED,
    Attempt,
    Check,
    Question,
    Step,
    Wrong,
    likely_cause,
)
from bomrl_lite.course.checks.oracles import World
from bomrl_lite.course.checks.set05 import oracles, questions
from bomrl_lite.course.checks.steps import OPENING, VALUES, differentiable, property_step
from bomrl_lite.policies.networks import tabular_softmax
from bomrl_lite.solvers.maximize import maximize
from bomrl_lite.tasks.frozen_lake import stack_tasks
from bomrl_lite.types import Params, TabularTask

GRADIENT_TOLERANCE = 1e-9
"""Where the oracle takes complex steps, right to rounding."""

MIDDLE_TOLERANCE = 1e-6
"""Excess over the least mean distance: a minimiser may stop early, and excess is quadratic."""

NEARLY = 0.05
"""Excess of a policy that a minimiser has left on its way to the middle, in nats."""

FIT_TOLERANCE = 1e-6
"""A fit by iteration may stop early."""


ONE_EACH = "ties are ignored: only one of several optimal actions is marked"
TIES = (
    "equally good actions came out different: compare with a tolerance, and compare the Q of an "
    "OPTIMAL policy, of iterations that have settled, at the task's own gamma"
)
"""Why marks may be too few: rounding, or a Q that is not that of an optimal policy."""


# Steps and properties; a property returns what is wrong with an answer, or None.


def _table_of_numbers(attempt: Attempt) -> None:
    """Ask for float64 and say how truth values become numbers."""
    for question, answer in zip(attempt.questions, attempt.returned, strict=True):
        if answer.dtype != torch.float64:
            raise Wrong(
                f"{question.label}: expected torch.float64, got {answer.dtype}",
                ".double() makes zeros and ones of truth values",
            )


def _is_no_table_of_marks(question: Question, answer: np.ndarray) -> str | None:
    if not np.isin(answer, (0.0, 1.0)).all():
        return "expected nothing but zeros and ones"
    empty = np.flatnonzero(answer.sum(-1) == 0)
    if len(empty):
        return f"every state has an optimal action, but no action of state {empty[0]} is marked"
    return None


def _marks_amiss(attempt: Attempt) -> None:
    """Look for optimal actions without a mark where all marks are right, and the other way round."""  # noqa: E501
    single = all((answer.sum(-1) == 1).all() for _, answer in attempt.answers())
    for question, answer in attempt.answers():
        if (answer >= question.expected).all() and (answer > question.expected).any():
            raise Wrong(
                f"{question.label}: actions are marked that are not optimal",
                attempt.cause or "the tolerance is too large",
            )
        missing = (question.expected - answer).max(-1)
        if missing.max() > 0 and (answer <= question.expected).all():
            state = int(missing.argmax())
            marked, best = (int(table[state].sum()) for table in (answer, question.expected))
            raise Wrong(
                f"{question.label}: {best} actions of state {state} are equally good, "
                f"{marked} of them marked",
                attempt.cause or (ONE_EACH if single else TIES),
            )


def _is_detached(attempt: Attempt) -> None:
    tasks, gamma = attempt.questions[0].args
    if attempt.call(tasks, gamma).requires_grad:
        raise Wrong(
            "the answer still records a gradient",
            "return phi.detach(): whoever goes on with it does not want the minimiser's graph",
        )


def _does_not_add_up(question: Question, answer: np.ndarray) -> str | None:
    phi, theta, task, gamma = question.args
    transition, reward, start = (field.numpy() for field in task)
    world = World(phi.numpy(), transition, reward, start, gamma)
    gained = oracles.gained(oracles.Planted(world, np.ones_like(world.reward), theta.numpy()))
    if abs(answer.sum() - gained) <= 1e-9 * max(1.0, abs(gained)):
        return None
    return f"the states must add up to J(theta) - J(phi) = {gained:.9g}, got {answer.sum():.9g}"


def _moves_further(question: Question, answer: np.ndarray) -> str | None:
    phi, theta, task, gamma = question.args
    transition, reward, start = (field.numpy() for field in task)
    world = World(phi.numpy(), transition, reward, start, gamma)
    moved = oracles.shift(oracles.Planted(world, np.ones_like(world.reward), theta.numpy()))
    if answer >= moved - 1e-12:
        return None
    return f"expected no less than the occupancy moves, {moved:.9g}, got {answer:.9g}"


def _is_not_finite(question: Question, answer: np.ndarray) -> str | None:
    if np.isfinite(answer):
        return None
    return f"expected a finite weight, got {answer}"


def _is_negative(question: Question, answer: np.ndarray) -> str | None:
    if not answer.min() < -1e-9:  # nan is judged with the values
        return None
    return f"expected no negative entry, got {answer.min():.6g}"


def _expected_shape_of_phi(attempt: Attempt) -> None:
    for question, answer in attempt.answers():
        tasks, _ = question.args
        wanted = tuple(tasks[0].reward.shape)
        if answer.shape != wanted:
            raise Wrong(
                f"{question.label}: expected logits of shape {wanted}, got {answer.shape}",
                None if answer.ndim else "return the policy in the middle, not its mean distance",
            )


def _is_finite(attempt: Attempt) -> None:
    for question, answer in attempt.answers():
        if not np.isfinite(answer).all():
            raise Wrong(
                f"{question.label}: expected finite logits",
                "the minimiser diverged, perhaps uphill: the mean distance is to be SMALL",
            )


def _least_where(name: str, *, steered: bool, cause: str | None = None) -> Step:
    """Make a step that asks how much further than necessary the answer is from the optima."""

    def run(attempt: Attempt) -> None:
        reached = _mean_distances(attempt)
        for question, distance in zip(attempt.questions, reached, strict=True):
            excess = float(distance - question.expected)
            attempt.largest_error = max(attempt.largest_error, excess)
            if oracles.is_steered(question.label) == steered and not excess <= attempt.tolerance:
                raise Wrong(
                    f"{question.label}: a policy with mean distance {question.expected:.9g} "
                    f"exists, that of your policy is {distance:.9g}",
                    cause or _why_not_least(attempt, question, reached),
                )

    return Step(name, run)


def _why_not_least(
    attempt: Attempt, question: Question, reached: Sequence[np.ndarray]
) -> str | None:
    """Say why a policy is not the one in the middle."""
    if question.label.startswith("overlapping"):
        return "ties are lost: a task counts as solved whichever of its optimal actions is taken"
    cause = likely_cause(attempt.questions[:EXPLAINED], reached[:EXPLAINED])
    far = max(float(x - q.expected) for q, x in zip(attempt.questions, reached, strict=True))
    if cause is None and far < NEARLY:
        return (
            "the minimiser stops too early (more steps, or a smaller tolerance: the norm of the "
            "gradient should be below 1e-6), or what it makes small is not quite the mean distance"
        )
    for which in (0, -1):
        if cause is None and _best_for_one(attempt, which):
            return f"it is the best for the {('first', 'last')[which]} task alone: take the mean"
    return cause


def _best_for_one(attempt: Attempt, which: int) -> bool:
    """Tell whether the policies are as good as optimal for one task of every family."""
    pairs = zip(attempt.answers(), oracles.families(), strict=True)
    return all(
        oracles.mean_distance(answer, (family.members[which],)) < NEARLY
        for (_, answer), family in pairs
    )


def _mean_distances(attempt: Attempt) -> list[np.ndarray]:
    return [
        oracles.mean_distance(answer, family.members)
        for (_, answer), family in zip(attempt.answers(), oracles.families(), strict=True)
    ]


def _infinite_below_least_weight(attempt: Attempt) -> None:
    for planted in oracles.planted_worlds()[:EXPLAINED]:
        least = oracles.safe_weight(planted)
        answer = attempt.call(*questions.bound_args(planted, 0.9 * least))
        below = f"with lam = {0.9 * least:.6g} below lam_0 = {least:.6g}"
        if not isinstance(answer, Tensor) or answer.shape:
            what = type(answer).__name__
            if isinstance(answer, Tensor):
                what = f"a tensor of shape {tuple(answer.shape)}"
            raise Wrong(
                f"{below}: expected a tensor without dimensions, got {what}",
                "return a tensor in both cases: torch.tensor(torch.inf, dtype=torch.float64)",
            )
        if answer.item() != np.inf:
            raise Wrong(
                f"{below}: expected inf, got {answer.item():.6g}",
                "nan is no bound: something is divided by 0 or lies between inf and -inf"
                if answer.isnan()
                else "the proof needs lam >= lam_0; below it nothing is promised",
            )


# References: the package's functions in the exercises' signatures. They are never oracles.


def _optimal_actions(task: TabularTask, gamma: float) -> Tensor:
    return theory.optimal_actions(task, gamma).to(task.reward.dtype)


def _distance_to_optimum(phi: Tensor, optimal: Tensor, task: TabularTask, gamma: float) -> Tensor:
    del optimal  # the package finds the optimal actions itself
    policy = tabular_softmax(*phi.shape)
    return theory.distance_to_optimum({"logits": phi}, task, policy=policy, gamma=gamma)


def _middle_policy(tasks: list[TabularTask], gamma: float) -> Tensor:
    """Do what theory.task_variance does, with the optimal actions found only once."""
    batch = stack_tasks(tasks)
    marks = vmap(lambda task: _optimal_actions(task, gamma))(batch)
    policy = tabular_softmax(*tasks[0].reward.shape)

    def nearness(params: Params) -> Tensor:
        probs = policy.log_probs(params).exp()
        nu = vmap(lambda task: mdp.occupancy(probs, task, gamma))(batch)
        return (nu * (probs * marks).sum(-1).log()).sum(-1).mean()

    start = policy.init(torch.Generator(tasks[0].reward.device))
    return maximize(nearness, start, max_iterations=30, tolerance=1e-9)[0]["logits"]


def _gain_by_state(phi: Tensor, theta: Tensor, task: TabularTask, gamma: float) -> Tensor:
    after = theta.softmax(-1)
    nu = mdp.occupancy(after, task, gamma)
    better = (after * mdp.advantages(phi.softmax(-1), task, gamma)).sum(-1)
    return nu * better / (1 - gamma)


def _rigorous_lambda(phi: Tensor, task: TabularTask, gamma: float) -> Tensor:
    policy = tabular_softmax(*phi.shape)
    return theory.rigorous_lambda({"logits": phi}, task, policy=policy, gamma=gamma)


def _gap_bound(phi: Tensor, optimal: Tensor, task: TabularTask, gamma: float, lam: float) -> Tensor:
    del optimal
    policy = tabular_softmax(*phi.shape)
    return theory.rigorous_gap_bound({"logits": phi}, task, policy=policy, gamma=gamma, lam=lam)


def _fit_rate(gaps: Tensor) -> Tensor:
    return torch.tensor(theory.fit_convergence(theory.running_mean(gaps)), dtype=gaps.dtype)


def _shift_bound(phi: Tensor, theta: Tensor, task: TabularTask, gamma: float) -> Tensor:
    before, after = phi.softmax(-1), theta.softmax(-1)
    apart = (after - before).abs().sum(-1) / 2
    return 2 * gamma / (1 - gamma) * (mdp.occupancy(before, task, gamma) * apart).sum()


_BY_NAME = {step.name: step for step in OPENING}

optimal_actions = Check(
    "5.1",
    "optimal_actions",
    _optimal_actions,
    questions.optimal_actions,
    (
        *(step if step.name != "dtype" else Step("dtype", _table_of_numbers) for step in OPENING),
        property_step(
            "marks",
            _is_no_table_of_marks,
            "the comparison is too strict, or with the best of another state",
        ),
        Step("ties", _marks_amiss),
        *VALUES,
    ),
    points={"random values": 2},
)

distance_to_optimum = Check(
    "5.2",
    "distance_to_optimum",
    _distance_to_optimum,
    questions.distance_to_optimum,
    (
        *OPENING,
        property_step("not negative", _is_negative),
        *VALUES,
        differentiable(questions.distance_gradients, GRADIENT_TOLERANCE),
    ),
    points={"random values": 2, "differentiable": 1},
)

middle_policy = Check(
    "5.3",
    "middle_policy",
    _middle_policy,
    questions.middle_policy,
    (
        # A minimiser may start anywhere, so two calls may differ: that is not asked here.
        _BY_NAME["runs"],
        _BY_NAME["type"],
        Step("shape", _expected_shape_of_phi),
        _BY_NAME["dtype"],
        _BY_NAME["inputs untouched"],
        Step("detached", _is_detached),
        Step("finite", _is_finite),
        _least_where("in the middle", steered=False),
        _least_where(
            "where actions steer",
            steered=True,
            cause="the occupancy depends on phi too: keep its gradient, or the minimiser stops at "
            "a policy that is best for the states of another one",
        ),
    ),
    tolerance=MIDDLE_TOLERANCE,
    points={"in the middle": 2, "where actions steer": 1},
)

gain_by_state = Check(
    "5.4",
    "gain_by_state",
    _gain_by_state,
    questions.gain_by_state,
    (*OPENING, property_step("adds up", _does_not_add_up), *VALUES),
    points={"random values": 3},
)

rigorous_lambda = Check(
    "5.5",
    "rigorous_lambda",
    _rigorous_lambda,
    questions.rigorous_lambda,
    (
        *OPENING,
        property_step(
            "finite",
            _is_not_finite,
            "states with nu(s) = 0 count: nothing can go wrong in them, and 1 / 0 is infinite",
        ),
        *VALUES,
    ),
    points={"random values": 2},
)

gap_bound = Check(
    "5.6",
    "gap_bound",
    _gap_bound,
    questions.gap_bound,
    (*OPENING, *VALUES, Step("infinite below lam_0", _infinite_below_least_weight)),
    points={"random values": 2, "infinite below lam_0": 1},
)

fit_rate = Check(
    "5.7",
    "fit_rate",
    _fit_rate,
    questions.fit_rate,
    (*OPENING, property_step("not negative", _is_negative), *VALUES),
    tolerance=FIT_TOLERANCE,
    points={"random values": 3},
)

shift_bound = Check(
    "5.8",
    "shift_bound",
    _shift_bound,
    questions.shift_bound,
    (*OPENING, property_step("a bound", _moves_further), *VALUES),
    points={"random values": 2},
)

CHECKS = (
    optimal_actions,
    distance_to_optimum,
    middle_policy,
    gain_by_state,
    rigorous_lambda,
    gap_bound,
    fit_rate,
    shift_bound,
)
"""In the order of the exercises."""
