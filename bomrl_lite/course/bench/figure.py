"""One measured figure, and how figures are measured."""

import statistics
import time
from collections.abc import Callable
from typing import NamedTuple


class Figure(NamedTuple):
    """One measured figure; ``bar`` is the largest value allowed, None where it only informs."""

    name: str
    figure: float
    unit: str
    bar: float | None

    @property
    def holds(self) -> bool:
        """Tell whether the figure keeps its bar."""
        return self.bar is None or self.figure <= self.bar


def cpu_seconds(work: Callable[[], object]) -> float:
    """Return the CPU seconds of one call."""
    start = time.process_time()
    work()
    return time.process_time() - start


def ratio_of(ours: Callable[[], object], floor: Callable[[], object], rounds: int = 15) -> float:
    """Return the median ratio of CPU seconds, the two in turn, after one warm-up of each."""
    for warm_up in (ours, floor):
        warm_up()
    return statistics.median(cpu_seconds(ours) / cpu_seconds(floor) for _ in range(rounds))
