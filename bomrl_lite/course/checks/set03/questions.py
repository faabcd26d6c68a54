"""What the checks of exercise set 03 ask, with the oracles' answers.

Each function is cached: the oracles run once per process, when a check first needs them. Where the
answer is a table of logits, it is expected with mean 0 in every state, and compared so.
"""

from collections.abc import Callable, Sequence
from functools import cache, partial
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from bomrl_lite.course.checks import oracles
from bomrl_lite.course.checks.draws import instance, once
from bomrl_lite.course.checks.engine import Question, Slips
from bomrl_lite.course.checks.oracles import World
from bomrl_lite.course.checks.questions import TWO_ROOMS, label_of, random_worlds
from bomrl_lite.course.checks.set03 import oracles as adapted
from bomrl_lite.course.checks.set03 import slips
from bomrl_lite.course.checks.set03.oracles import centred
from bomrl_lite.course.checks.steps import Pullback

LAMS = (0.5, 2.0, 0.3, 20.0, 1.0)
"""Weights of the distance, in turn; their number has no common factor with that of the sizes."""

THETA = np.log([[0.5, 0.5], [0.75, 0.25]])
"""Another policy for the two rooms."""

CORRIDOR = World(
    logits=np.zeros((3, 2)),
    transition=np.array([[[0, 0, 1], [0, 1, 0]], [[0, 0, 1]] * 2, [[0, 0, 1]] * 2], float),
    reward=np.array([[1.0, 0.0], [8.0, 0.0], [0.0, 0.0]]),
    start=np.array([1.0, 0.0, 0.0]),
    gamma=0.5,
)
"""State 0: take 1 and end, or go on to state 1, where action 0 pays 8. State 2 is the end."""


class Case(NamedTuple):
    """A world whose logits are phi, another policy, and the weight of the distance."""

    world: World
    theta: np.ndarray
    lam: float


@once
def cases() -> tuple[Case, ...]:
    """Return the random instances of every check."""
    draw = np.random.default_rng(instance(3))
    return tuple(
        Case(world, draw.normal(size=world.logits.shape), LAMS[index % len(LAMS)])
        for index, world in enumerate(random_worlds())
    )


def ask(
    by_hand: Case,
    solution: Any,
    *,
    args: Callable[[Case], tuple[Any, ...]],
    oracle: Callable[[Case], Any],
    slips: Callable[[Case], Slips],
    note: str = "",
) -> Sequence[Question]:
    """Ask about a case whose solution is known by hand, then about the random ones."""

    def question(label: str, case: Case, expected: Any, known: bool) -> Question:
        wrong = cache(partial(slips, case))
        return Question(label + note, args(case), np.asarray(expected), wrong, known)

    first = question("the case done by hand", by_hand, solution, True)
    others = (
        question(label_of(i, case.world), case, oracle(case), False)
        for i, case in enumerate(cases(), 1)
    )
    return first, *others


def ask_gradients(
    start: Callable[[Case], np.ndarray],
    args: Callable[[Case, Tensor], tuple[Any, ...]],
    function: Callable[[Case, np.ndarray], np.ndarray],
    slips: Callable[[Case, np.ndarray], Slips] = lambda case, weights: {},
    inputs: tuple[str, ...] = (),
    edges: Sequence[tuple[str, Case, str]] = (),
) -> Sequence[Pullback]:
    """Ask for the derivative of a weighted sum of the answer in several arguments at once.

    Args:
        start: those arguments, stacked.
        args: (case, the stack as a tensor) -> arguments of the function.
        function: the oracle's answer as a function of the stack.
        slips: (case, weights) -> likely cause -> wrong gradient.
        inputs: names of the stacked arguments.
        edges: (label, case, what an answer that fails there alone has wrong), asked last.
    """
    draw = np.random.default_rng(instance(5))

    def pullback(label: str, case: Case, separates: str | None = None) -> Pullback:
        leaf = start(case)
        # a constant per state means nothing, so no weight may rest on it
        weights = draw.normal(size=np.shape(function(case, leaf)))
        weights = centred(weights) if weights.ndim else np.ones(())
        wanted = adapted.central_difference(
            lambda x: float((function(case, x) * weights).sum()), leaf
        )
        wrong = cache(partial(slips, case, weights))
        question = Question(label, (), wanted, wrong, separates=separates)
        return Pullback(leaf, partial(args, case), weights, question, inputs)

    usual = (pullback(label_of(i, case.world), case) for i, case in enumerate(cases()[:4], 1))
    return *usual, *(pullback(*edge) for edge in edges)


def table(x: np.ndarray) -> Tensor:
    """Return a tensor of its own."""
    return torch.tensor(x)


def true_q(world: World) -> np.ndarray:
    """Return Q of the world's own policy."""
    return oracles.q_values(world.probs, world)


@once
def surrogate() -> Sequence[Question]:
    """Ask for L; in the two rooms nu = (4/7, 3/7) and Q = (11/7, 1), (3, 1)."""
    return ask(
        Case(TWO_ROOMS, THETA, 1.0),
        177 / 98,
        args=_theta_args,
        oracle=lambda case: adapted.surrogate(case.theta, case.world),
        slips=slips.surrogate,
    )


@once
def surrogate_gradients() -> Sequence[Pullback]:
    """Ask for the gradient of L in theta and in phi, the latter through the data."""
    return ask_gradients(
        lambda case: np.stack([case.theta, case.world.logits]),
        lambda case, leaf: (leaf[0], leaf[1], case.world.task(), case.world.gamma),
        lambda case, x: adapted.surrogate(x[0], case.world._replace(logits=x[1])),
        slips.surrogate_gradient,
        inputs=("theta", "phi"),
    )


@once
def kl_distance() -> Sequence[Question]:
    """Ask for D1^2: by hand, for a random occupancy, and for a policy that lacks an action."""
    questions = ask(
        Case(TWO_ROOMS, THETA, 1.0),
        4 / 7 * (0.75 * np.log(3) - np.log(2)) + 3 / 14 * np.log(4 / 3),
        args=lambda case: (*map(table, (case.world.logits, case.theta)), table(_nu(case))),
        oracle=lambda case: adapted.kl_distance(case.world.logits, case.theta, _nu(case)),
        slips=slips.kl_distance,
    )
    return *questions, *(_ask_sure(*edge) for edge in sure_cases())


SURE = (
    "the logarithm of a probability that is rounded to 0 does not survive: take log_softmax of the "
    "logits"
)


@once
def sure_cases() -> tuple[tuple[str, Case, str], ...]:
    """Return a phi that never takes some action, and a theta that hardly does.

    They separate log_softmax from the logarithm of a softmax, also where its infinity is replaced
    by a number afterwards: then the gradient is not one.
    """
    case = cases()[-1]
    phi, theta = case.world.logits.copy(), case.theta.copy()
    phi[0, 0], theta[-1, 0] = -800.0, 600.0
    sure = case._replace(world=case.world._replace(logits=phi))
    return (
        ("a phi that never takes some action", sure, SURE),
        ("a theta that is nearly sure", case._replace(theta=theta), SURE),
    )


def _ask_sure(label: str, case: Case, separates: str) -> Question:
    phi, nu = case.world.logits, _nu(case)
    wanted = np.asarray(adapted.kl_distance(phi, case.theta, nu))
    return Question(label, (table(phi), table(case.theta), table(nu)), wanted, separates=separates)


@once
def kl_gradients() -> Sequence[Pullback]:
    """Ask for the gradient of D1^2 in both policies."""
    return ask_gradients(
        lambda case: np.stack([case.world.logits, case.theta]),
        lambda case, leaf: (leaf[0], leaf[1], table(_nu(case))),
        lambda case, x: adapted.kl_distance(x[0], x[1], _nu(case)),
        slips.kl_gradient,
        inputs=("phi", "theta"),
        edges=sure_cases(),
    )


@once
def adapt_d2() -> Sequence[Question]:
    """Ask for Alg with D2; by hand, the odds 1:3 and 1:1 are tilted by 3:1 and 1:5."""
    world = TWO_ROOMS._replace(reward=2 * np.log([[3.0, 1.0], [1.0, 5.0]]), gamma=0.0)
    return _ask_alg("d2", Case(world, THETA, 2.0), [[1 / 2, 1 / 2], [1 / 6, 5 / 6]], slips.adapt_d2)


@once
def adapt_d2_gradients() -> Sequence[Pullback]:
    """Ask for the gradient of Alg with D2 in phi and Q."""
    return _ask_alg_gradients("d2")


@once
def adapt_d1() -> Sequence[Question]:
    """Ask for Alg with D1; by hand, mu = 2 in both rooms.

    The sums lam pi_phi / (mu - Q) are 1/2 + 1/2 and 2/3 + 1/3. The last questions have a best action
    that is hardly ever taken: a Newton loop of ten steps has not found their root, one of thirty has.
    """  # noqa: E501
    world = TWO_ROOMS._replace(reward=np.array([[4 / 3, 0.0], [1.0, 0.0]]), gamma=0.0)
    questions = _ask_alg(
        "d1", Case(world, THETA, 4 / 3), [[1 / 2, 1 / 2], [2 / 3, 1 / 3]], slips.adapt_d1
    )
    rare = (
        _ask_rare([[-12.0, 0.0, 0.5]], [[1.0, 0.0, -0.5]], 1.5),
        _ask_rare([[-20.0, 0.0]], [[1.0, 0.0]], 1.0),
    )
    return *questions, *rare


def _ask_rare(phi: list[list[float]], q: list[list[float]], lam: float) -> Question:
    wanted = adapted.best_logits(np.array(phi), np.array(q), lam, "d1")
    return Question(
        "a prior that hardly takes the best action; logits less their mean per state",
        (table(np.array(phi)), table(np.array(q)), lam),
        wanted,
        separates="the loop stops too early: where the prior hardly takes the best action, it "
        "begins far from the root (thirty Newton steps are enough)",
    )


@once
def adapt_d1_gradients() -> Sequence[Pullback]:
    """Ask for the gradient of Alg with D1 in phi and Q."""
    return _ask_alg_gradients("d1")


@once
def natural_gradient_step() -> Sequence[Question]:
    """Ask for the natural step; in the two rooms A = (3/7, -1/7), (1, -1)."""
    return ask(
        Case(TWO_ROOMS, THETA, 1 / 7),
        centred(TWO_ROOMS.logits + np.array([[3, -1], [7, -7]])),
        args=lambda case: (case.world.phi(), case.world.task(), case.world.gamma, case.lam),
        oracle=lambda case: adapted.natural_step(case.world, case.lam),
        slips=slips.natural_gradient_step,
        note="; logits less their mean per state",
    )


@once
def lower_bound() -> Sequence[Question]:
    """Ask for the bound; by hand, J = 8/7 and L gains 29/98. Then at phi, and at a safe lam."""
    apart = 4 / 7 * (0.75 * np.log(3) - np.log(2)) + 3 / 14 * np.log(4 / 3)
    questions = ask(
        Case(TWO_ROOMS, THETA, 0.5),
        8 / 7 + 2 * (29 / 98 - apart / 2),
        args=lambda case: (*_theta_args(case), case.lam),
        oracle=lambda case: adapted.lower_bound(case.theta, case.world, case.lam),
        slips=slips.lower_bound,
    )
    return *questions, *_at_phi(), *_at_safe_lam()


@once
def adapt_repeatedly() -> Sequence[Question]:
    """Ask for many steps of a given alg; by hand, Q changes at the entrance of the corridor.

    lam = 8 / log 3 makes the odds in state 1 three times larger at every step, so that its value
    is 4, then 6; the entrance has Q = (1, 2), then (1, 3).
    """
    unit = np.log(3) / 8
    tables = np.array(
        [[[0, 0], [0, 0], [0, 0]], [[1, 2], [8, 0], [0, 0]], [[2, 5], [16, 0], [0, 0]]]
    )
    first = Case(CORRIDOR, CORRIDOR.logits, 1 / unit)
    questions = ask(
        first,
        centred(tables * unit),
        args=lambda case: (_tilt, *_phi_args(case), case.lam, 2),
        oracle=lambda case: centred(adapted.adapted_chain(_tilt, case.world, case.lam, 2)),
        slips=partial(slips.adapt_repeatedly, _tilt, 2),
        note="; logits less their mean per state",
    )
    case = Case(cases()[0].world, cases()[0].theta, 2.0)
    others = (
        Question(
            f"{num_steps} adaptations; logits less their mean per state",
            (alg, *_phi_args(case), case.lam, num_steps),
            centred(adapted.adapted_chain(alg, case.world, case.lam, num_steps)),
            separates=separates,
        )
        for alg, num_steps, separates in (
            (_tilt, 1, HOW_MANY),
            (_blend, 1, ANY_ALG),
            (_blend, 4, ANY_ALG),
        )
    )
    return *questions, *others


HOW_MANY = "num_steps says how many adaptations there are"
ANY_ALG = "alg is an argument: call it, whatever method it is"


def _tilt(phi: Any, q: Any, lam: float) -> Any:
    return phi + q / lam


def _blend(phi: Any, q: Any, lam: float) -> Any:
    """Move half-way to Q: no method of the course, so the loop must really call it."""
    return 0.5 * phi + 0.5 * q / lam


def _theta_args(case: Case) -> tuple[Any, ...]:
    return table(case.theta), *_phi_args(case)


def _phi_args(case: Case) -> tuple[Any, ...]:
    return case.world.phi(), case.world.task(), case.world.gamma


def _nu(case: Case) -> np.ndarray:
    return oracles.occupancy(case.world.probs, case.world)


def _ask_alg(
    kind: str, by_hand: Case, probs: list[list[float]], slips: Callable[[Case], Slips]
) -> Sequence[Question]:
    return ask(
        by_hand,
        centred(np.log(probs)),
        args=lambda case: (case.world.phi(), table(true_q(case.world)), case.lam),
        oracle=lambda case: adapted.best_logits(
            case.world.logits, true_q(case.world), case.lam, kind
        ),
        slips=slips,
        note="; logits less their mean per state",
    )


def _ask_alg_gradients(kind: str) -> Sequence[Pullback]:
    return ask_gradients(
        lambda case: np.stack([case.world.logits, true_q(case.world)]),
        lambda case, leaf: (leaf[0], leaf[1], case.lam),
        lambda case, x: adapted.best_logits(x[0], x[1], case.lam, kind),
        partial(slips.alg_gradient, kind),
        inputs=("phi", "q"),
    )


AT_PHI = "theta = phi"
SAFE = "a lam for which the bound is proved"


def _at_phi() -> list[Question]:
    case = cases()[2]
    args = case.world.phi(), *_phi_args(case), case.lam
    return [Question(AT_PHI, args, oracles.policy_return(case.world.logits, case.world))]


def _at_safe_lam() -> list[Question]:
    safe = [case._replace(lam=adapted.safe_lam(case.world)) for case in cases()[:4]]
    return [
        Question(
            SAFE,
            (*_theta_args(case), case.lam),
            np.asarray(adapted.lower_bound(case.theta, case.world, case.lam)),
        )
        for case in safe
    ]
