"""Executing several notebooks side by side, and saying who is at which cell."""

import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from rich.progress import Progress as Bars
from rich.progress import TaskID

from bomrl_lite.course.execute import Job, Limits, Outcome, execute, kernel_environment
from bomrl_lite.training.progress import make_bars

LIMITS = {
    "smoke": Limits(cpu=600, wall=2 * 3600),
    "class": Limits(cpu=1800, wall=6 * 3600),
    "full": Limits(cpu=16 * 3600, wall=48 * 3600),
}
"""Many times what a lesson burns, so that only what runs wild, or hangs, is killed."""


class Progress:
    """Progress of several notebooks; its methods may be called from any thread."""

    def __init__(self, bars: Bars, total: int) -> None:
        self.bars = bars
        self.running: dict[str, TaskID] = {}
        self.whole = bars.add_task("notebooks", total=total)

    def begin(self, job: Job) -> None:
        """Say that a notebook begins."""
        name = job.output.stem
        self.running[name] = self.bars.add_task(name, total=len(job.notebook.cells))
        if self.bars.disable:
            self.bars.console.print(f"{name}: started")

    def cell(self, job: Job, number: int) -> None:
        """Say that a cell begins."""
        self.bars.update(self.running[job.output.stem], completed=number)

    def end(self, outcome: Outcome) -> None:
        """Say that a notebook has ended, and how."""
        if outcome.name in self.running:
            self.bars.remove_task(self.running.pop(outcome.name))
        end = f"{outcome.status} in {outcome.seconds:.1f} s"
        earlier = "taken over, " if outcome.taken_over else ""
        self.bars.console.print(f"{outcome.name}: {earlier}{end}")
        self.bars.advance(self.whole)


def limits_for(profile: str) -> Limits:
    """Return the limits of a profile.

    Raises:
        ValueError: no such profile.
    """
    if profile not in LIMITS:
        raise ValueError(f"unknown profile {profile!r}: choose one of {', '.join(LIMITS)}")
    return LIMITS[profile]


def choose(paths: list[Path], names: Sequence[str], kind: str) -> list[Path]:
    """Return the sources with these names, or all if there are no names.

    Raises:
        ValueError: there is no source at all, none of a name, or a name comes twice.
    """
    known = [path.stem for path in paths]
    if not known:
        raise ValueError(f"there is no {kind}: are you in the course's folder?")
    if unknown := [name for name in names if name not in known]:
        raise ValueError(f"unknown {kind} {unknown[0]!r}: choose from {', '.join(known)}")
    if len(set(names)) < len(names):
        raise ValueError(f"name each {kind} once, got {', '.join(names)}")
    return [path for path in paths if not names or path.stem in names]


def execute_all(
    made: Sequence[Job | Outcome],
    limits: Limits,
    workers: int,
    on_end: Callable[[Outcome], None] = lambda outcome: None,
) -> tuple[list[Outcome], bool]:
    """Execute jobs side by side; outcomes pass through. Also tell whether it was interrupted.

    ``on_end`` gets each outcome as it comes, from any thread.
    """
    stop = threading.Event()
    with (
        make_bars() as bars,
        kernel_environment() as environment,
        ThreadPoolExecutor(workers) as pool,
    ):
        progress = Progress(bars, len(made))

        def execute_one(job: Job | Outcome) -> Outcome:
            if isinstance(job, Outcome):
                outcome = job
            elif stop.is_set():
                return Outcome(job.output.stem, "not run")
            else:
                progress.begin(job)
                report = partial(progress.cell, job)
                outcome = execute(job, limits, environment, on_cell=report, stop=stop)
            on_end(outcome)
            progress.end(outcome)
            return outcome

        futures = [pool.submit(execute_one, job) for job in made]
        try:
            with _sigterm_as_interrupt():
                while wait(
                    futures, timeout=1
                ).not_done:  # in pieces, or no signal would come through
                    pass
        except KeyboardInterrupt:
            stop.set()
        return [future.result() for future in futures], stop.is_set()


@contextmanager
def _sigterm_as_interrupt() -> Iterator[None]:
    """Let SIGTERM, or a terminal that closes, end a run as Ctrl-C does, with its report."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    numbers = [signal.SIGTERM, *filter(None, [getattr(signal, "SIGHUP", None)])]
    before = [signal.signal(number, signal.default_int_handler) for number in numbers]
    try:
        yield
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)
