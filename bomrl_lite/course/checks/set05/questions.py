"""What the checks of exercise set 05 ask, with the oracles' answers.

Each function is cached: the oracles run once per process, when a check first needs them.
"""

from collections.abc import Callable, Sequence
from functools import cache, partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bomrl_lite.course.checks.draws import instance, once
from bomrl_lite.course.checks.engine import Question, Slips
from bomrl_lite.course.checks.oracles import complex_step
from bomrl_lite.course.checks.questions import SIZES, label_of
from bomrl_lite.course.checks.set05 import oracles, slips
from bomrl_lite.course.checks.set05.oracles import ROOMS, Family, Planted, families, planted_worlds
from bomrl_lite.course.checks.steps import Pullback

LOG2 = float(np.log(2))
LEAST_WEIGHT_OF_ROOMS = 2 * np.sqrt(7 / 3)


NOT_OPTIMAL = (
    "the policy whose Q decides is not optimal yet: improve it until nothing changes any more"
)
ABSOLUTE = "A_max is the largest ABSOLUTE advantage: here it is that of a bad action"
RARE = "states that are rarely visited are left out: every state with nu > 0 counts"
AT_EQUALITY = "at lam = lam_0 the bound holds already: it is infinite for lam < lam_0 only"


@once
def optimal_actions() -> Sequence[Question]:
    """Ask for the optimal actions; in room 0 of the two rooms, staying and leaving tie."""
    return _ask(
        [[1, 1], [1, 0]],
        args=lambda planted: (planted.world.task(), planted.world.gamma),
        oracle=lambda planted: planted.optimal,
        slips=slips.optimal_actions,
        edges=[
            ("a task that takes several improvements (S=6, A=3)", each, NOT_OPTIMAL)
            for each in oracles.slow_worlds()
        ],
    )


@once
def distance_to_optimum() -> Sequence[Question]:
    """Ask for D^2; in the two rooms only room 1 counts, with nu = 3/7 and -log(1/2)."""
    return _ask(
        3 / 7 * LOG2,
        args=distance_args,
        oracle=lambda planted: oracles.distance(planted.world.logits, planted),
        slips=slips.distance_to_optimum,
    )


@once
def distance_gradients() -> Sequence[Pullback]:
    """Ask for the gradient of D^2 in the logits, the occupancy's part included."""
    draw = np.random.default_rng(instance(len(SIZES)))

    def pullback(index: int, planted: Planted) -> Pullback:
        weight = np.asarray(draw.normal())
        slope = complex_step(lambda x: oracles.distance(x, planted), planted.world.logits)
        wrong = cache(partial(slips.distance_gradient, planted, weight))
        question = Question(label_of(index, planted.world), (), weight * slope, wrong)
        return Pullback(planted.world.logits, partial(distance_args, planted), weight, question)

    return tuple(pullback(i, each) for i, each in enumerate(planted_worlds()[: len(SIZES)], 1))


@once
def middle_policy() -> Sequence[Question]:
    """Ask for a policy; ``expected`` is the least mean distance, and slips are mean distances."""
    return tuple(_ask_middle(family) for family in families())


@once
def gain_by_state() -> Sequence[Question]:
    """Ask for the shares of J(theta) - J(phi); in the two rooms they add up to 5/3 - 8/7."""
    return _ask(
        [4 / 21, 1 / 3],
        args=lambda planted: (
            planted.world.phi(),
            torch.tensor(planted.theta),
            planted.world.task(),
            planted.world.gamma,
        ),
        oracle=oracles.gains,
        slips=slips.gain_by_state,
    )


@once
def rigorous_lambda() -> Sequence[Question]:
    """Ask for lam_0; in the two rooms A_max = 1 and nu_min = 3/7."""
    return _ask(
        LEAST_WEIGHT_OF_ROOMS,
        args=lambda planted: (planted.world.phi(), planted.world.task(), planted.world.gamma),
        oracle=oracles.safe_weight,
        slips=slips.rigorous_lambda,
        edges=[("a state that is reached, with nu = 1e-5", oracles.rarely_visited(), RARE)],
        special=lambda planted: ABSOLUTE if oracles.falls_short(planted) else None,
    )


@once
def gap_bound() -> Sequence[Question]:
    """Ask for the bound; in the two rooms with lam = 3 lam_0."""
    return _ask(
        4 * LEAST_WEIGHT_OF_ROOMS / 0.5 * 3 / 7 * LOG2,
        args=lambda planted: bound_args(planted, oracles.lam_of(planted)),
        oracle=lambda planted: oracles.gap_bound(planted, oracles.lam_of(planted)),
        slips=slips.gap_bound,
        edges=[("lam = lam_0 = 12 exactly", oracles.THRESHOLD, AT_EQUALITY)],
    )


@once
def fit_rate() -> Sequence[Question]:
    """Ask for K, M and the floor; by hand, one large gap and then ones average to 1 + 8 / T."""
    by_hand = np.array([9.0, *[1.0] * 7])
    first = _ask_fit("the case done by hand", by_hand, np.array([8.0, 0.0, 1.0]))
    return first, *(_ask_fit(f"random instance {i}", g) for i, g in enumerate(_gap_curves(), 1))


def distance_args(planted: Planted, leaf: Tensor | None = None) -> tuple[Any, ...]:
    """Return (phi, optimal, task, gamma)."""
    phi = planted.world.phi() if leaf is None else leaf
    return phi, torch.tensor(planted.optimal), planted.world.task(), planted.world.gamma


def bound_args(planted: Planted, lam: float) -> tuple[Any, ...]:
    """Return (phi, optimal, task, gamma, lam)."""
    return *distance_args(planted), lam


def _ask(
    solution: Any,
    *,
    args: Callable[[Planted], tuple[Any, ...]],
    oracle: Callable[[Planted], Any],
    slips: Callable[[Planted], Slips],
    edges: Sequence[tuple[str, Planted, str]] = (),
    special: Callable[[Planted], str | None] = lambda planted: None,
) -> Sequence[Question]:
    """Ask about the two rooms, known by hand, then about the random worlds, then edges.

    An edge is (label, case, what an answer has wrong that fails there alone); ``special`` says the
    same of random worlds.
    """

    def question(label: str, planted: Planted, expected: Any, known: bool) -> Question:
        wrong = cache(partial(slips, planted))
        answer = np.asarray(expected, dtype=float)
        return Question(label, args(planted), answer, wrong, known, special(planted))

    first = question("the case done by hand", ROOMS, solution, True)
    others = (
        question(label_of(i, each.world), each, oracle(each), False)
        for i, each in enumerate(planted_worlds(), 1)
    )
    borders = (
        Question(label, args(case), np.asarray(oracle(case), float), separates=separates)
        for label, case, separates in edges
    )
    return first, *others, *borders


def _ask_middle(family: Family) -> Question:
    tasks = [each.world.task() for each in family.members]
    wrong = cache(partial(slips.middle_policy, family))
    by_hand = family is families()[0]
    expected = np.asarray(LOG2 if by_hand else family.least)
    args = tasks, family.members[0].world.gamma
    return Question(family.label, args, expected, wrong, by_hand)


def _ask_fit(label: str, gaps: np.ndarray, solution: np.ndarray | None = None) -> Question:
    means = oracles.running_means(gaps)
    best = oracles.non_negative_fit(oracles.terms(len(gaps)), means)
    wrong = cache(partial(slips.fit_rate, gaps))
    expected = best if solution is None else solution
    return Question(label, (torch.tensor(gaps),), expected, wrong, solution is not None)


def _tells_little(gaps: np.ndarray) -> bool:
    """Tell whether the free fit is the answer too, or the answer reads the same backwards."""
    columns, means = oracles.terms(len(gaps)), oracles.running_means(gaps)
    free = np.linalg.lstsq(columns, means, rcond=None)[0]
    best = oracles.non_negative_fit(columns, means)
    return bool(free.min() >= 0 or abs(best[0] - best[2]) < 1e-3)


def _gap_curves() -> list[np.ndarray]:
    """Draw gaps over training, those that tell mistakes apart first, then exact sums of terms."""
    curves, lengths = [], (12, 25, 40)
    for seed in range(16):
        draw, length = np.random.default_rng(instance(800 + seed)), lengths[seed % 3]
        fall = np.exp(-np.arange(length) / draw.uniform(*(3, 15) if seed % 2 else (0.5, 1)))
        noise = 0.05 * draw.normal(size=length)
        curves.append(draw.uniform(1, 3) * fall + draw.uniform(0, 0.5) + noise)
    curves = sorted(curves, key=_tells_little)[:6]
    for seed, length in enumerate(lengths):
        means = oracles.terms(length) @ np.random.default_rng(instance(900 + seed)).uniform(
            0.5, 3, size=3
        )
        sums = means * np.arange(1, length + 1)
        curves.append(np.diff(sums, prepend=0.0))
    return curves
