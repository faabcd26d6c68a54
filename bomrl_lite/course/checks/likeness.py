"""What wrong answers have in common with right ones: a factor, the numbers, their sizes.

These are facts of arithmetic, found where no known slip explains the answers; so they blame nobody
falsely.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

EXACT = 1e-7
"""Relative error up to which two numbers count as the same."""

NEARLY_ONE = 1e-3
"""A factor this near to 1 is no factor, but a rounding."""

POWERS = {
    "{}": 1,
    "1 over {}": -1,
    "the square of {}": 2,
    "1 over the square of {}": -2,
    "the root of {}": 0.5,
    "1 over the root of {}": -0.5,
}
"""What a factor that is amiss may be, of a number that is known."""

FEW = 2
"""Different numbers of which every order may look right."""

ENOUGH = 3
"""Pairs of answers that must tell: fewer may be alike by chance."""


class Pair(NamedTuple):
    """What was expected, what came, and the numbers among the arguments, by name."""

    expected: np.ndarray
    got: np.ndarray
    numbers: Mapping[str, float]


def likeness(pairs: Sequence[Pair]) -> str | None:
    """Say in which way all answers resemble the right ones, if they do."""
    if any(each.expected.shape != each.got.shape for each in pairs):
        return None
    if not all(np.isfinite(each.got).all() for each in pairs):
        return None
    return _common_factor(pairs) or _same_numbers(pairs)


def _common_factor(pairs: Sequence[Pair]) -> str | None:
    telling = [each for each in pairs if each.expected.any()]
    ratios = [ratio for each in telling if (ratio := _ratio(each))]
    if len(telling) < ENOUGH or len(ratios) < len(telling):
        return None
    if all(abs(ratio - 1) < NEARLY_ONE for ratio in ratios):
        return None
    if all(_alike(ratio, ratios[0]) for ratio in ratios):
        return f"your value is {ratios[0]:.6g} times the right one"
    every = [_factors(each.numbers) for each in telling]
    for name in every[0]:
        if all(_alike(r, known.get(name)) for r, known in zip(ratios, every, strict=True)):
            return f"your value is {name} times the right one"
    return None


def _ratio(pair: Pair) -> float | None:
    """Return r if the answer is r times the right one, entry by entry."""
    where = np.unravel_index(np.abs(pair.expected).argmax(), pair.expected.shape)
    ratio = float(pair.got[where] / pair.expected[where])
    size = float(np.abs(pair.expected).max()) * max(1e-12, abs(ratio))
    return ratio if np.abs(pair.got - ratio * pair.expected).max() <= EXACT * size else None


def _factors(numbers: Mapping[str, float]) -> dict[str, float]:
    """Return the factors that mistakes about a number leave over, by name."""
    bases: dict[str, float] = {}
    for name, x in numbers.items():
        bases[name] = x
        if 0 < x < 1:
            bases |= {f"(1 - {name})": 1 - x, f"{name} / (1 - {name})": x / (1 - x)}
    return {
        text.format(base): value**power
        for base, value in bases.items()
        if value > 0
        for text, power in POWERS.items()
    }


def _same_numbers(pairs: Sequence[Pair]) -> str | None:
    """Compare the numbers without their places, then without their signs."""
    # among zeros and ones, or a number and its negative, an order says nothing
    telling = [each for each in pairs if len(np.unique(each.expected)) > FEW]
    sizes = [max(1e-300, float(np.abs(each.expected).max())) for each in telling]
    if len(telling) < ENOUGH:
        return None

    def alike(form: Callable[[np.ndarray], np.ndarray]) -> bool:
        return all(
            np.abs(form(each.got) - form(each.expected)).max() <= EXACT * size
            for each, size in zip(telling, sizes, strict=True)
        )

    if alike(lambda x: x):
        return None
    if alike(lambda x: np.sort(x, axis=None)):
        return "these are the right numbers in another order: look at their places"
    if alike(np.abs):
        return "these are the right numbers with other signs"
    return None


def _alike(one: float, other: float | None) -> bool:
    return other is not None and abs(one - other) <= 10 * EXACT * abs(other)
