"""Exercise set 03: the surrogate, the distance, Alg, what it reduces to, its bound, many steps.

Signatures follow the lesson: ``phi`` and ``theta`` are tables of logits [S, A], ``nu`` and ``q``
the one-time data of pi_phi, ``task`` is a :class:`~bomrl_lite.types.TabularTask`. Where an exercise
asks for logits, a constant per state means nothing, and answers are compared without it.
"""

import numpy as np
import torch
from torch import Tensor

from bomrl_lite import theory
from bomrl_lite.adaptation import closed_forms as policywise
from bomrl_lite.adaptation import distances, reductions
from bomrl_lite.adaptation import objective as adaptation
from bomrl_lite.course.checks import oracles
from bomrl_lite.course.checks.engine import Check, Function, Question
from bomrl_lite.course.checks.oracles import World
from bomrl_lite.course.checks.set03 import oracles as adapted
from bomrl_lite.course.checks.set03 import questions
from bomrl_lite.course.checks.set03.oracles import centred
from bomrl_lite.course.checks.steps import OPENING, VALUES, Complaint, differentiable, property_step
from bomrl_lite.policies.networks import tabular_softmax
from bomrl_lite.rollout.data import OneTimeData, full_data
from bomrl_lite.types import TabularTask

DIFFERENCE_TOLERANCE = 1e-7
"""Where the oracle takes central differences, themselves right to about 1e-9."""


# Properties: each returns what is wrong with an answer, or None.


def _is_negative(question: Question, answer: np.ndarray) -> str | None:
    if not answer < 0:  # nan is judged with the values
        return None
    return f"a divergence is never negative, got {float(answer):.6g}"


def _gains_nothing(kind: str) -> Complaint:
    def complaint(question: Question, answer: np.ndarray) -> str | None:
        phi, q, lam = (np.asarray(part) for part in question.args)
        gained = adapted.gain(answer, phi, q, float(lam), kind)
        state = int(np.argmin(gained))
        if np.isnan(gained[state]) or gained[state] >= -1e-12:
            return None  # nan is judged with the values
        return (
            "a maximum is no worse than pi_phi, for which the objective is <pi_phi, Q>, "
            f"but in state {state} your policy falls {-gained[state]:.6g} short of it"
        )

    return complaint


def _does_not_climb(question: Question, answer: np.ndarray) -> str | None:
    phi, task, gamma, _ = question.args
    world = _world(phi, task, gamma)
    phi = world.logits
    slope = oracles.complex_step(lambda x: adapted.surrogate(x, world), phi)
    rise = float((slope * (answer - phi)).sum())
    return None if rise > 0 else f"L should rise along your step, but its slope there is {rise:.6g}"


def _misses_return_at_phi(question: Question, answer: np.ndarray) -> str | None:
    if question.label != questions.AT_PHI or abs(answer - question.expected) <= 1e-9:
        return None
    return f"the bound should equal J(phi) = {float(question.expected):.9g}, got {answer:.9g}"


def _is_above_return(question: Question, answer: np.ndarray) -> str | None:
    if question.label != questions.SAFE:
        return None
    theta, _, task, gamma, _ = question.args
    true = float(oracles.policy_return(theta.numpy(), _world(theta, task, gamma)))
    if answer <= true + 1e-9:
        return None
    return f"expected at most J(theta) = {true:.6g}, got {float(answer):.6g}"


def _begins_elsewhere(question: Question, answer: np.ndarray) -> str | None:
    off = float(np.abs(centred(answer[0]) - centred(question.args[1].numpy())).max())
    return (
        None if off <= 1e-9 else f"the first table should be phi, yours is {off:.6g} away from it"
    )


def _world(logits: Tensor, task: TabularTask, gamma: float) -> World:
    transition, reward, start = (part.numpy() for part in task)
    return World(logits.numpy(), transition, reward, start, gamma)


# References: the package's functions in the exercises' signatures. They are never oracles.


def _surrogate(theta: Tensor, phi: Tensor, task: TabularTask, gamma: float) -> Tensor:
    policy = tabular_softmax(*phi.shape)
    data = full_data({"logits": phi}, task, policy=policy, gamma=gamma)
    return adaptation.surrogate_objective({"logits": theta}, data, policy=policy)


def _kl_distance(phi: Tensor, theta: Tensor, nu: Tensor) -> Tensor:
    policy = tabular_softmax(*phi.shape)
    return distances.d1({"logits": phi}, {"logits": theta}, policy=policy, state_weights=nu)


def _closed_form(solve: Function) -> Function:
    def alg(phi: Tensor, q: Tensor, lam: float) -> Tensor:
        # Only Q is asked for: states weigh the same, and every action's weight cancels its ratio.
        weights, ones = torch.full_like(q[:, 0], 1 / len(q)), torch.ones_like(q)
        data = OneTimeData(weights, ones, torch.zeros_like(q), q)
        return solve({"logits": phi}, data, lam=lam)["logits"]

    return alg


def _natural_gradient_step(phi: Tensor, task: TabularTask, gamma: float, lam: float) -> Tensor:
    policy, params = tabular_softmax(*phi.shape), {"logits": phi}
    data = full_data(params, task, policy=policy, gamma=gamma)
    theta, _ = reductions.natural_gradient_step(
        params, data, policy=policy, distance=distances.d1, lam=lam
    )
    return theta["logits"]


def _lower_bound(theta: Tensor, phi: Tensor, task: TabularTask, gamma: float, lam: float) -> Tensor:
    dials = {"policy": tabular_softmax(*phi.shape), "gamma": gamma, "lam": lam}
    tables = {"logits": theta}, {"logits": phi}
    return theory.lower_bound(*tables, task, distance=distances.d1, **dials)


def _adapt_repeatedly(
    alg: Function, phi: Tensor, task: TabularTask, gamma: float, lam: float, num_steps: int
) -> Tensor:
    policy, tables = tabular_softmax(*phi.shape), [phi]
    for _ in range(num_steps):
        data = full_data({"logits": tables[-1]}, task, policy=policy, gamma=gamma)
        tables.append(alg(tables[-1], data.q_values, lam))
    return torch.stack(tables)


surrogate = Check(
    "3.1",
    "surrogate",
    _surrogate,
    questions.surrogate,
    (
        *OPENING,
        *VALUES,
        differentiable(questions.surrogate_gradients, DIFFERENCE_TOLERANCE, transformed=True),
    ),
    points={"random values": 2, "differentiable": 1},
)

kl_distance = Check(
    "3.2",
    "kl_distance",
    _kl_distance,
    questions.kl_distance,
    (
        *OPENING,
        property_step("not negative", _is_negative),
        *VALUES,
        differentiable(questions.kl_gradients, DIFFERENCE_TOLERANCE),
    ),
    points={"random values": 2, "differentiable": 1},
)

adapt_d2 = Check(
    "3.3",
    "adapt_d2",
    _closed_form(policywise.closed_form_d2),
    questions.adapt_d2,
    (
        *OPENING,
        property_step("no worse than phi", _gains_nothing("d2")),
        *VALUES,
        differentiable(questions.adapt_d2_gradients, DIFFERENCE_TOLERANCE),
    ),
    gauge=centred,
    points={"random values": 2, "differentiable": 1},
)

adapt_d1 = Check(
    "3.4",
    "adapt_d1",
    _closed_form(policywise.closed_form_d1),
    questions.adapt_d1,
    (
        *OPENING,
        property_step("no worse than phi", _gains_nothing("d1")),
        *VALUES,
        differentiable(questions.adapt_d1_gradients, DIFFERENCE_TOLERANCE),
    ),
    gauge=centred,
    points={"random values": 3, "differentiable": 1},
)

natural_gradient_step = Check(
    "3.5",
    "natural_gradient_step",
    _natural_gradient_step,
    questions.natural_gradient_step,
    (*OPENING, property_step("goes up", _does_not_climb), *VALUES),
    gauge=centred,
    points={"random values": 3},
)

lower_bound = Check(
    "3.6",
    "lower_bound",
    _lower_bound,
    questions.lower_bound,
    (
        *OPENING,
        property_step("touches J at phi", _misses_return_at_phi),
        property_step("stays below J", _is_above_return),
        *VALUES,
    ),
    points={"random values": 3},
)

adapt_repeatedly = Check(
    "3.7",
    "adapt_repeatedly",
    _adapt_repeatedly,
    questions.adapt_repeatedly,
    (*OPENING, property_step("begins with phi", _begins_elsewhere), *VALUES),
    gauge=centred,
    points={"random values": 2},
)

CHECKS = (
    surrogate,
    kl_distance,
    adapt_d2,
    adapt_d1,
    natural_gradient_step,
    lower_bound,
    adapt_repeatedly,
)
"""In the order of the exercises."""
