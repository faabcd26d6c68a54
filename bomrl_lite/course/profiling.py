"""Where the processor's time goes."""

import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from typing import Any
from unittest.mock import patch


def cpu_profile(
    work: Callable[[], object], pieces: Mapping[str, tuple[Any, str]], *, rest: str = "rest"
) -> dict[str, float]:
    """Return the CPU-seconds that ``work`` spends in chosen functions, and in all else.

    A piece that calls another does not count the time of the other, so the parts add up to the
    whole. While ``work`` runs, the functions are replaced by ones that look at the clock; that
    costs about a microsecond per call.

    Args:
        work: called once.
        pieces: what to time by name: the class or module that holds a function, and its name there.
        rest: name of the time that no piece accounts for.
    """
    seconds = dict.fromkeys([*pieces, rest], 0.0)
    inside, since = [rest], time.process_time()

    def look() -> None:
        nonlocal since
        now = time.process_time()
        seconds[inside[-1]] += now - since
        since = now

    def timed(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            look()
            inside.append(name)
            try:
                return function(*args, **kwargs)
            finally:
                look()
                inside.pop()

        return call

    with ExitStack() as replaced:
        for name, (owner, attribute) in pieces.items():
            stand_in = timed(name, getattr(owner, attribute))
            replaced.enter_context(patch.object(owner, attribute, stand_in))
        look()
        seconds[rest] = 0.0
        work()
        look()
    return seconds
