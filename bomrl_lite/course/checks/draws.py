"""Where random instances come from: the same ones in every notebook, new ones at each grading."""

from collections.abc import Callable
from functools import wraps
from typing import TypeVar

from bomrl_lite.course.checks.session import SESSION

Drawn = TypeVar("Drawn")
Seed = int | tuple[int, ...]
"""What a generator of numpy takes."""


def instance(number: int) -> Seed:
    """Return the seed of an instance: its number in a notebook, another one in every grading."""
    # a last 0 would mean nothing: numpy takes (5, 0) for 5
    return number if SESSION.seed is None else (SESSION.seed, number, 1)


def once(draw: Callable[[], Drawn]) -> Callable[[], Drawn]:
    """Draw once and keep it, until the session's seed is another one."""
    kept: dict[int | None, Drawn] = {}

    @wraps(draw)
    def drawn() -> Drawn:
        if SESSION.seed not in kept:
            fresh = draw()
            kept.clear()
            kept[SESSION.seed] = fresh
        return kept[SESSION.seed]

    return drawn
