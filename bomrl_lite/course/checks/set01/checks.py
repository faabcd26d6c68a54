"""Exercise set 01: exact quantities, the adaptation step, MAML's meta-gradient, the gap.

Signatures follow the package: ``policy_probs``, ``phi`` and ``theta`` are tables [S, A] (the last
two hold logits), ``task`` is a :class:`~bomrl_lite.types.TabularTask`, the dials are floats.
"""

import numpy as np
import torch
from torch import Tensor

from bomrl_lite import mdp
from bomrl_lite.adaptation import gradient, meta_gradients
from bomrl_lite.adaptation import objective as adaptation
from bomrl_lite.course.checks import oracles
from bomrl_lite.course.checks.engine import Check, Function, Question, error_of
from bomrl_lite.course.checks.questions import world_of
from bomrl_lite.course.checks.set01 import questions
from bomrl_lite.course.checks.set01.slips import FULL_GRADIENT
from bomrl_lite.course.checks.steps import OPENING, VALUES, differentiable, property_step
from bomrl_lite.policies.networks import tabular_softmax
from bomrl_lite.types import TabularTask

DIFFERENCE_TOLERANCE = 1e-7
"""Where the oracle takes central differences, themselves right to about 1e-10."""

GRADIENT_TOLERANCE = 1e-9
"""Where the oracle takes complex steps, right to rounding."""


# Properties: each returns what is wrong with an answer, or None.


def _sum_is_not_one(question: Question, answer: np.ndarray) -> str | None:
    total = float(answer.sum())
    return None if abs(total - 1) <= 1e-9 else f"expected a sum of 1, got {total:.9g}"


def _rows_do_not_cancel(question: Question, answer: np.ndarray) -> str | None:
    rows = answer.sum(-1)
    worst = int(np.argmax(np.abs(rows)))
    if abs(rows[worst]) <= 1e-9 * max(1.0, float(np.abs(answer).max())):
        return None
    return (
        "adding a constant to all logits of a state changes no probability, so the entries of a "
        f"state must sum to 0; those of state {worst} sum to {rows[worst]:.9g}"
    )


def _goes_down(question: Question, answer: np.ndarray) -> str | None:
    world = world_of(question)
    before, after = (float(oracles.policy_return(x, world)) for x in (world.logits, answer))
    if after > before:
        return None
    return f"the return should rise, but it went from {before:.6f} to {after:.6f}"


def _points_down(question: Question, answer: np.ndarray) -> str | None:
    slope = float((answer * question.expected).sum())
    if slope > 0:
        return None
    return f"J(theta) should rise along your answer, but its slope there is {slope:.6g}"


def _lacks_second_order(question: Question, answer: np.ndarray) -> str | None:
    world = world_of(question)
    first = oracles.return_gradient(oracles.after_step(world.logits, world), world)
    expected, got = (float(np.abs(x - first).max()) for x in (question.expected, answer))
    if got > 1e-6 * expected:
        return None
    return f"beyond the first-order part, expected entries up to {expected:.6g}, got {got:.6g}"


def _has_second_order(question: Question, answer: np.ndarray) -> str | None:
    if error_of(answer, question.slips()[FULL_GRADIENT]) > DIFFERENCE_TOLERANCE:
        return None
    beyond = float(np.abs(answer - question.expected).max())
    return f"expected grad J(theta) alone, got MAML's full gradient, {beyond:.6g} away from it"


def _is_impossible(question: Question, answer: np.ndarray) -> str | None:
    task, gamma = question.args
    most = float(task.reward.abs().max()) / (1 - gamma)
    if not abs(answer) > most + 1e-9:  # nan is judged with the values
        return None
    return f"no return can exceed max |r| / (1 - gamma) = {most:.6g}, got {float(answer):.6g}"


def _is_negative(question: Question, answer: np.ndarray) -> str | None:
    if answer.min() >= -1e-9:
        return None
    return (
        f"no policy beats a task's own optimum, yet task {answer.argmin()} has {answer.min():.6g}"
    )


# References: the package's functions in the exercises' signatures. They are never oracles.


def _policy_gradient(phi: Tensor, task: TabularTask, gamma: float) -> Tensor:
    policy = tabular_softmax(*phi.shape)
    return adaptation.policy_gradient({"logits": phi}, task, policy=policy, gamma=gamma)["logits"]


def _adapt(phi: Tensor, task: TabularTask, gamma: float, step_size: float) -> Tensor:
    policy = tabular_softmax(*phi.shape)
    return gradient.gradient_step(
        {"logits": phi}, task, policy=policy, gamma=gamma, step_size=step_size
    )["logits"]


def _in_tensors(method: Function) -> Function:
    def meta_gradient(phi: Tensor, task: TabularTask, gamma: float, step_size: float) -> Tensor:
        policy = tabular_softmax(*phi.shape)
        gradient, _ = method({"logits": phi}, task, policy=policy, gamma=gamma, step_size=step_size)
        return gradient["logits"]

    return meta_gradient


def _optimal_return(task: TabularTask, gamma: float) -> Tensor:
    return mdp.expected_return(mdp.optimal_policy(task, gamma)[0], task, gamma)


def _optimality_gap(
    phi: Tensor, tasks: list[TabularTask], gamma: float, step_size: float
) -> Tensor:
    def gap(task: TabularTask) -> Tensor:
        theta = _adapt(phi, task, gamma, step_size)
        return _optimal_return(task, gamma) - mdp.expected_return(theta.softmax(-1), task, gamma)

    return torch.stack([gap(task) for task in tasks])


q_values = Check(
    "1.1",
    "q_values",
    mdp.q_values,
    questions.q_values,
    (
        *OPENING,
        *VALUES,
        differentiable(questions.q_gradients, GRADIENT_TOLERANCE, transformed=True),
    ),
    points={"random values": 2, "differentiable": 1},
)

occupancy = Check(
    "1.2",
    "occupancy",
    mdp.occupancy,
    questions.occupancy,
    (
        *OPENING,
        property_step("sums to 1", _sum_is_not_one),
        *VALUES,
        differentiable(questions.occupancy_gradients, GRADIENT_TOLERANCE, transformed=True),
    ),
    points={"random values": 2, "differentiable": 1},
)

policy_gradient = Check(
    "1.3",
    "policy_gradient",
    _policy_gradient,
    questions.policy_gradient,
    (
        *OPENING,
        property_step("rows sum to 0", _rows_do_not_cancel),
        *VALUES,
        differentiable(questions.curvature, DIFFERENCE_TOLERANCE, transformed=True),
    ),
    points={"random values": 2, "differentiable": 1},
)

adapt = Check(
    "1.4",
    "adapt",
    _adapt,
    questions.adapt,
    (
        *OPENING,
        property_step("goes up", _goes_down),
        *VALUES,
        differentiable(questions.adapt_gradients, DIFFERENCE_TOLERANCE, transformed=True),
    ),
    points={"random values": 2, "differentiable": 1},
)

maml_gradient = Check(
    "1.5",
    "maml_gradient",
    _in_tensors(meta_gradients.maml),
    questions.maml_gradient,
    (
        *OPENING,
        property_step("goes up", _points_down),
        property_step("second-order term", _lacks_second_order),
        *VALUES,
    ),
    tolerance=DIFFERENCE_TOLERANCE,
    points={"random values": 3},
)

first_order_gradient = Check(
    "1.6",
    "first_order_gradient",
    _in_tensors(meta_gradients.first_order_maml),
    questions.first_order_gradient,
    (*OPENING, property_step("no second-order term", _has_second_order), *VALUES),
    points={"random values": 2},
)

optimal_return = Check(
    "1.7",
    "optimal_return",
    _optimal_return,
    questions.optimal_return,
    (
        *OPENING,
        property_step(
            "possible",
            _is_impossible,
            "values grow without a limit where gamma is missing, where they are summed over "
            "states, or where what stands for the maximum exceeds it",
        ),
        *VALUES,
    ),
    points={"random values": 2},
)

optimality_gap = Check(
    "1.8",
    "optimality_gap",
    _optimality_gap,
    questions.optimality_gap,
    (*OPENING, property_step("not negative", _is_negative), *VALUES),
    points={"random values": 3},
)

CHECKS = (
    q_values,
    occupancy,
    policy_gradient,
    adapt,
    maml_gradient,
    first_order_gradient,
    optimal_return,
    optimality_gap,
)
"""In the order of the exercises."""
