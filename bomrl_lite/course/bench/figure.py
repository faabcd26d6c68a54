"""Figures that can be measured, and how they are."""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property


@dataclass(frozen=True)
class Figure:
    """One figure, which is measured when it is first asked for.

    Args:
        name: of its row.
        measure: returns it.
        unit: of it.
        bar: the largest value allowed, None where it only informs.
        ratio_bar: the largest ratio allowed to another build's, None where there is none.
    """

    name: str
    measure: Callable[[], float]
    unit: str
    bar: float | None
    ratio_bar: float | None = None

    @cached_property
    def figure(self) -> float:
        """Return the figure."""
        return self.measure()


def cpu_seconds(work: Callable[[], object]) -> float:
    """Return the CPU seconds of one call."""
    start = time.process_time()
    work()
    return time.process_time() - start


def wall_seconds(work: Callable[[], object]) -> float:
    """Return the seconds that one waits for one call."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def ratio_of(
    ours: Callable[[], object],
    floor: Callable[[], object],
    rounds: int = 15,
    seconds: Callable[[Callable[[], object]], float] = cpu_seconds,
) -> float:
    """Return the median ratio of two times, the two in turn, after one warm-up of each."""
    for warm_up in (ours, floor):
        warm_up()
    return statistics.median(seconds(ours) / seconds(floor) for _ in range(rounds))
