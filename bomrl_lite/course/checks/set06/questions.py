"""What the checks of exercise set 06 ask, with the oracles' answers.

Each function is cached: the oracles run once per process, when a check first needs them.
"""

from collections.abc import Callable, Iterable, Sequence
from functools import cache, partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bomrl_lite.course.checks.draws import instance, once
from bomrl_lite.course.checks.engine import Question, Slips
from bomrl_lite.course.checks.set06 import oracles, slips
from bomrl_lite.course.checks.set06.oracles import Fleet, Portion, Protocols, Samples

BY_HAND = "the case done by hand"

FLEETS = ((3, 3), (2, 2), (4, 4), (5, 5), (3, 3), (2, 4), (4, 1), (1, 3))
"""(N, B): first those in which a wrong broadcast keeps the shape."""
GRIDS = ((2, 3), (3, 2), (3, 4), (4, 2), (2, 2), (1, 3), (4, 1))
"""(N, B) where order matters, then the edges."""
HEADS = ((2, 6, 2, 3), (3, 8, 3, 2), (2, 5, 1, 4), (2, 7, 2, 2), (1, 7, 2, 2), (2, 3, 2, 4))
"""(N, M, K, d); the last has fewer samples than features."""


@once
def speed_reward() -> Sequence[Question]:
    """Ask for rewards; by hand, 2 and -1 m/s in tasks of 1.5 and 0 m/s."""
    by_hand = Fleet(
        before=np.array([[0.0, 1.0], [5.0, -2.0]]),
        after=np.array([[0.1, 1.0], [4.95, -2.0]]),
        actions=np.array([[[1.0, -1.0], [0.0, 0.0]], [[2.0, 0.0], [0.0, 0.0]]]),
        speeds=np.array([1.5, 0.0]),
        step_seconds=0.05,
    )
    return _ask(
        (by_hand, [[-0.6, -1.5], [-1.2, 0.0]]),
        [_fleet(i, *size) for i, size in enumerate(FLEETS)],
        args=lambda fleet: (*map(torch.tensor, fleet[:4]), fleet.step_seconds),
        oracle=oracles.rewards,
        slips=slips.speed_reward,
    )


@once
def observe() -> Sequence[Question]:
    """Ask for observations; by hand, two tasks with two robots of two joints."""
    qpos = np.array([[9.0, 1.0], [8.0, 2.0], [7.0, 3.0], [6.0, 4.0]])
    by_hand = (qpos, -qpos, 2)
    solution = [[[1.0, -9.0, -1.0], [2.0, -8.0, -2.0]], [[3.0, -7.0, -3.0], [4.0, -6.0, -4.0]]]
    return _ask(
        (by_hand, solution),
        [_states(i, *size) for i, size in enumerate(GRIDS)],
        args=lambda case: (torch.tensor(case[0]), torch.tensor(case[1]), case[2]),
        oracle=lambda case: oracles.observations(*case),
        slips=slips.observe,
    )


@once
def deal() -> Sequence[Question]:
    """Ask for dealt values, with none to two further dimensions."""
    return _ask(
        ((np.array([0.5, 1.0, 2.0]), 2), [0.5, 0.5, 1.0, 1.0, 2.0, 2.0]),
        [_hand(i, *size) for i, size in enumerate(GRIDS)],
        args=lambda case: (torch.tensor(case[0]), case[1]),
        oracle=lambda case: oracles.dealt(*case),
        slips=slips.deal,
    )


@once
def mean_returns() -> Sequence[Question]:
    """Ask for returns; by hand, an episode of 1 + 2 and one of 3 + 1 + 1."""
    paid = np.array([[[1.0, 2.0, 9.0], [3.0, 1.0, 1.0]]])
    over = np.array([[[0.0, 1.0, 0.0], [0.0, 0.0, 0.0]]])
    return _ask(
        ((paid, over), [4.0]),
        [_episodes(i) for i in range(8)],
        args=lambda case: (torch.tensor(case[0]), torch.tensor(case[1])),
        oracle=lambda case: oracles.mean_returns(*case),
        slips=slips.mean_returns,
    )


@once
def update_moments() -> Sequence[Question]:
    """Ask for moments; by hand, 1 and 3 are joined by 5 and 7, while 100 does not count."""
    by_hand = Portion(
        np.array([[1.0], [3.0]]),
        np.array([[[[5.0], [7.0], [100.0]]]]),
        np.array([[[1.0, 1.0, 0.0]]]),
    )
    return _ask(
        (by_hand, [[4.0], [4.0], [20.0]]),
        [_portion(i, earlier=(5, 9, 3, 12, 7, 0, 1, 0)[i]) for i in range(8)],
        args=portion_args,
        oracle=oracles.joined,
        slips=slips.update_moments,
    )


@once
def far_portions() -> Sequence[tuple[Portion, np.ndarray]]:
    """Return observations of spread 1 around a million, with the moments of all."""
    found = [_portion(20 + i, earlier=6, place=1e6) for i in range(3)]
    return [(each, oracles.joined(each)) for each in found]


@once
def adapt_head() -> Sequence[Question]:
    """Ask for adapted weights; by hand, one feature, C = 1, and an average of 1 pushes."""
    by_hand = Samples(
        weights=np.array([[[1.0]]]),
        features=np.ones((1, 2, 1)),
        actions=np.array([[[2.0], [0.0]]]),
        advantages=np.array([[1.0, -1.0]]),
        lam=0.5,
        ridge=1.0,
    )
    return _ask(
        (by_hand, [[[2.0]]]),
        [draw_samples(i, *size) for i, size in enumerate(HEADS)],
        args=lambda s: (*map(torch.tensor, s[:4]), s.lam, s.ridge),
        oracle=oracles.adapted,
        slips=slips.adapt_head,
    )


@once
def speed_up() -> Sequence[Question]:
    """Ask for speed-ups; by hand 6, 3 and 1 seconds: 10/9, 10/7 and, for pure physics, 10/6."""
    by_hand = (
        np.array([6.0, 3.0, 1.0]),
        np.array([[1.0, 1.0, np.inf], [2.0, 1.0, 1.0], [1.0, np.inf, np.inf]]),
    )
    return _ask(
        (by_hand, [10 / 9, 10 / 7, 10 / 6]),
        [_profile(i) for i in range(6)],
        args=lambda case: (torch.tensor(case[0]), torch.tensor(case[1])),
        oracle=lambda case: oracles.speed_ups(*case),
        slips=slips.speed_up,
    )


@once
def returns_at_budget() -> Sequence[Question]:
    """Ask for returns; by hand, 20 episodes are affordable: two small collections, no large one."""
    by_hand = Protocols(
        np.array([[-10.0, 5.0, 9.0, 7.0], [-10.0, 2.0, 30.0, 40.0]]),
        np.array([[10, 10, 10], [40, 40, 40]]),
        horizon=100,
        budget=2000,
    )
    candidates = [_protocols(i) for i in range(60)]
    telling = sorted(candidates, key=lambda each: -_apart(slips.returns_at_budget, each))
    return _ask(
        (by_hand, [9.0, -10.0]),
        [*telling[:6], _protocols(100, share=0.0), _protocols(101, share=2.0)],
        args=lambda p: (torch.tensor(p.returns), torch.tensor(p.episodes), p.horizon, p.budget),
        oracle=oracles.reached,
        slips=slips.returns_at_budget,
    )


def portion_args(portion: Portion) -> tuple[Tensor, Tensor, Tensor]:
    """Return (moments, observations, mask)."""
    earlier = torch.tensor(oracles.moments_of(portion.earlier))
    return earlier, torch.tensor(portion.observations), torch.tensor(portion.mask)


def _ask(
    by_hand: tuple[Any, Any],
    cases: Iterable[Any],
    *,
    args: Callable[[Any], tuple[Any, ...]],
    oracle: Callable[[Any], np.ndarray],
    slips: Callable[[Any], Slips],
) -> Sequence[Question]:
    """Ask about a case whose solution is known by hand, then about random ones."""
    first, solution = by_hand
    wrong = cache(lambda: slips(first))
    questions = [Question(BY_HAND, args(first), np.asarray(solution), wrong, by_hand=True)]
    for number, case in enumerate(cases, 1):
        given = args(case)
        shapes = " ".join(str(list(x.shape)) for x in given if isinstance(x, Tensor))
        label = f"random instance {number} (shapes {shapes})"
        questions.append(Question(label, given, oracle(case), cache(partial(slips, case))))
    return tuple(questions)


def _draw(index: int) -> np.random.Generator:
    return np.random.default_rng(instance(6000 + index))


def _fleet(index: int, num_tasks: int, num_episodes: int) -> Fleet:
    draw, shape = _draw(index), (num_tasks, num_episodes)
    before = 3 * draw.normal(size=shape)
    actions = draw.normal(size=(*shape, 2 + index % 3))
    speeds = draw.permutation(np.arange(num_tasks)) * 0.7 + 0.1
    return Fleet(before, before + 0.1 * draw.normal(size=shape), actions, speeds, 0.04)


def _states(index: int, num_tasks: int, num_episodes: int) -> tuple[np.ndarray, np.ndarray, int]:
    draw, num = _draw(100 + index), num_tasks * num_episodes
    positions = 3 + index % 3
    return (
        draw.normal(size=(num, positions)),
        draw.normal(size=(num, positions - index % 2)),
        num_tasks,
    )


def _hand(index: int, num_tasks: int, num_episodes: int) -> tuple[np.ndarray, int]:
    further = ((3,), (2, 3), (2,), (3, 2), (), (), (4,))[index]
    return _draw(200 + index).normal(size=(num_tasks, *further)), num_episodes


def _episodes(index: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw episodes that end at all steps, the last one and none among them."""
    draw = _draw(300 + index)
    shape = num_tasks, num_episodes, horizon = (1 + index % 3, 5, 6)
    over = (draw.random(shape) < 0.3).astype(float)
    last = draw.permuted(np.tile(np.arange(5), (num_tasks, 1)), axis=1)
    for n, b in np.ndindex(num_tasks, num_episodes):
        over[n, b, : last[n, b]] = 0
        over[n, b, last[n, b]] = 1
    over[:, 0] = 0  # it lasts to the end
    assert horizon > last.max()
    return draw.normal(size=shape), over


def _portion(index: int, *, earlier: int, place: float = 0.0) -> Portion:
    draw = _draw(400 + index)
    size, shape = 1 + index % 3, (2, 1 + index % 2, 4)
    spread = draw.uniform(0.5, 3, size=size)
    mask = (draw.random(shape) < 0.6).astype(float)
    mask[0, 0, :2] = 1, 0
    now = place + 2 + spread * draw.normal(size=(*shape, size))
    return Portion(place + draw.normal(size=(earlier, size)), now, mask)


def draw_samples(index: int, num_tasks: int, num: int, num_actions: int, size: int) -> Samples:
    """Draw features, actions and advantages of some tasks."""
    draw = _draw(500 + index)
    features = draw.normal(size=(num_tasks, num, size))
    features[..., -1] = 1
    if num < size:
        features[..., 0] = 0  # without a ridge this is exactly singular, not just by rounding
    return Samples(
        weights=draw.normal(size=(num_tasks, num_actions, size)),
        features=features,
        actions=draw.normal(size=(num_tasks, num, num_actions)),
        advantages=draw.normal(size=(num_tasks, num)),
        lam=float(draw.uniform(0.2, 0.6)),
        ridge=float(draw.uniform(0.3, 2)),
        sigma=float(draw.uniform(0.3, 0.7)),
    )


def _profile(index: int) -> tuple[np.ndarray, np.ndarray]:
    draw = _draw(600 + index)
    parts, scenarios = 3 + index % 2, 2 + index % 3
    factors = draw.uniform(1, 8, size=(scenarios, parts))
    factors[0, 1], factors[-1, 0] = np.inf, 1
    return draw.uniform(0.2, 3, size=parts), factors


def _protocols(index: int, share: float | None = None) -> Protocols:
    """Draw protocols; the budget just pays for some collections of the first, or for a share."""
    draw = _draw(700 + index)
    episodes, horizon = draw.integers(2, 9, size=(4, 5)), int(draw.integers(3, 30))
    costs = horizon * episodes.cumsum(-1)
    paid = costs[0, draw.integers(1, 4)] if share is None else share * costs.max() + horizon
    return Protocols(10 * draw.normal(size=(4, 6)), episodes, horizon, int(paid))


def _apart(slips: Callable[[Any], Slips], case: Protocols) -> float:
    """Return how far the least telling slip is from the right answer."""
    right = oracles.reached(case)
    return min(
        float(np.abs(wrong - right).max()) if wrong.shape == right.shape else np.inf
        for wrong in slips(case).values()
    )
