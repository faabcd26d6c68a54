"""A search for instances on which known wrong answers differ from the right one.

A check can only refuse what its instances tell apart: policy iteration that stops after one
improvement is right wherever one is enough. So candidates are drawn by seed, the wrong answers run
on each, and the fewest seeds are kept that together separate all of them. The seeds stand in the
checks; ``tests/test_separating.py`` repeats the searches and compares.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from bomrl_lite.course.checks import oracles
from bomrl_lite.course.checks.oracles import World

Answer = Callable[[Any], np.ndarray]


def apart(one: Any, other: Any) -> float:
    """Return how far two answers differ; infinite where one of them is not a number."""
    if np.shape(one) != np.shape(other):
        return np.inf
    return float(np.nan_to_num(np.max(np.abs(np.asarray(one) - other), initial=0.0), nan=np.inf))


def separated(case: Any, right: Answer, wrongs: Mapping[str, Answer], margin: float) -> set[str]:
    """Return the wrong answers that differ from the right one on a case by more than a margin."""
    truth = right(case)
    return {name for name, wrong in wrongs.items() if apart(wrong(case), truth) > margin}


def search(
    draw: Callable[[int], Any],
    right: Answer,
    wrongs: Mapping[str, Answer],
    seeds: Iterable[int],
    *,
    margin: float = 1e-3,
) -> Sequence[int]:
    """Return seeds whose cases separate all wrong answers: the most telling first, then the rest.

    Raises:
        LookupError: no seed tells one of them from the right answer.
    """
    telling = {seed: separated(draw(seed), right, wrongs, margin) for seed in seeds}
    left, chosen = set(wrongs), []
    while left:
        best = max(telling, key=lambda seed: len(telling[seed] & left))
        if not telling[best] & left:
            raise LookupError(f"no case separates {sorted(left)}")
        chosen.append(best)
        left -= telling[best]
    return chosen


def improved(world: World, first: np.ndarray, times: int) -> np.ndarray:
    """Return the policy after so many steps of policy iteration, [S, A]."""
    probs = first
    for _ in range(times):
        probs = np.eye(first.shape[1])[oracles.q_values(probs, world).argmax(-1)]
    return probs


def starts(world: World) -> Mapping[str, np.ndarray]:
    """Return where policy iteration is begun: everywhere alike, with one action, greedily."""
    table = np.eye(world.reward.shape[1])
    return {
        "uniform": np.full_like(world.reward, 1 / len(table)),
        "first action": np.repeat(table[:1], len(world.start), 0),
        "largest reward": table[world.reward.argmax(-1)],
    }


def policy_iterations(most: int) -> Mapping[str, Callable[[World], np.ndarray]]:
    """Return policy iterations that stop after at most so many improvements, by name."""

    def stopped(start: str, times: int) -> Callable[[World], np.ndarray]:
        return lambda world: improved(world, starts(world)[start], times)

    names = ("uniform", "first action", "largest reward")
    return {
        f"{times} improvements of {start}": stopped(start, times)
        for start in names
        for times in range(1, most + 1)
    }
