"""What a number handed in must be; where it is not, one line says so, with the value that came.

Every public function asks here, so that a mistake is answered in the same words everywhere. What
comes back is Python's own int or float: numpy's scalars are taken, for they are exact.
"""

import math
import operator
from numbers import Real
from pathlib import Path
from typing import Any

MOST_SEED = 2**59 - 1
"""The largest seed: torch takes 63 bits, and a seed has sixteen streams."""


def require_whole(name: str, value: Any, *, least: int = 1, most: int | None = None) -> int:
    """Return a whole number within its bounds.

    Args:
        name: of the argument, for the message.
        value: an integer of Python's or numpy's; a truth value, 2.0 or "2" is none.
        least: smallest that is allowed.
        most: largest that is allowed; None is no bound.

    Raises:
        ValueError: it is no whole number, or out of its bounds.
    """
    try:
        number = operator.index(value)
    except TypeError:
        number = None
    if number is None or isinstance(value, bool):
        raise ValueError(f"{name} must be a whole number, got {described(value)}")
    if number < least:
        raise ValueError(f"{name} must be at least {least}, got {number}")
    if most is not None and number > most:
        raise ValueError(f"{name} must be at most {most}, got {number}")
    return number


def require_seed(value: Any, name: str = "seed") -> int:
    """Return a seed: a whole number in [0, 2^59).

    Raises:
        ValueError: it is none.
    """
    return require_whole(name, value, least=0, most=MOST_SEED)


def require_number(name: str, value: Any) -> float:
    """Return a number that is finite.

    Args:
        name: of the argument, for the message.
        value: a number of Python's or numpy's; a truth value, a text or a tensor is none.

    Raises:
        ValueError: it is no number, infinite or not a number.
    """
    number = _number(name, value)
    if not math.isfinite(number):
        raise ValueError(f"{name} must be finite, got {described(value)}")
    return number


def require_positive(name: str, value: Any) -> float:
    """Return a number in (0, inf).

    Raises:
        ValueError: it is none, or out of that range.
    """
    number = _number(name, value)
    if not 0 < number < math.inf:
        raise ValueError(f"{name} must be positive and finite, got {described(value)}")
    return number


def require_not_negative(name: str, value: Any) -> float:
    """Return a number in [0, inf).

    Raises:
        ValueError: it is none, or out of that range.
    """
    number = _number(name, value)
    if not 0 <= number < math.inf:
        raise ValueError(f"{name} must be 0 or more and finite, got {described(value)}")
    return number


def require_share(name: str, value: Any) -> float:
    """Return a number in [0, 1].

    Raises:
        ValueError: it is none, or out of that range.
    """
    number = _number(name, value)
    if not 0 <= number <= 1:
        raise ValueError(f"{name} must be in [0, 1], got {described(value)}")
    return number


def _number(name: str, value: Any) -> float:
    """Return a number, which may be infinite or none."""
    if isinstance(value, bool) or not isinstance(value, Real):
        raise ValueError(f"{name} must be a number, got {described(value)}")
    try:
        return float(value)
    except OverflowError:  # of a whole number with hundreds of digits
        return math.inf


def require_truth(name: str, value: Any) -> bool:
    """Return a truth value, Python's or numpy's.

    Raises:
        ValueError: it is something else: "no" would count as True.
    """
    if type(value).__name__ not in ("bool", "bool_"):
        raise ValueError(f"{name} must be True or False, got {described(value)}")
    return bool(value)


def require_path(name: str, value: Any) -> Path:
    """Return a path, given as such or as text.

    Raises:
        ValueError: it is neither, or empty.
    """
    if not isinstance(value, str | Path) or not str(value):
        raise ValueError(f"{name} must be a path, got {described(value)}")
    return Path(value)


def described(value: Any) -> str:
    """Show what came, shortly and with its kind where that is not plain to see."""
    text = repr(value)
    text = text if len(text) <= 60 else f"{text[:57]}..."
    plain = value is None or isinstance(value, str | int | float)
    return text if plain else f"{text} ({type(value).__name__})"
