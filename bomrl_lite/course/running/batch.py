"""Executing several notebooks side by side, and saying who is at which cell."""

import signal
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from bomrl_lite.course.running.execute import Job, Limits, Outcome, execute, kernel_environment

LIMITS = {
    "smoke": Limits(cell=60, wall=180),
    "class": Limits(cell=180, wall=600),
    "full": Limits(cell=4 * 3600, wall=8 * 3600),
}
"""Three times what the course promises on 2 cores, so that only what hangs is killed."""
_WIDTH = 99


@dataclass
class Progress:
    """Progress of several notebooks; its methods may be called from any thread."""

    total: int
    done: int = 0
    running: dict[str, str] = field(default_factory=dict)
    started: float = field(default_factory=time.monotonic)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def begin(self, job: Job) -> None:
        """Say that a notebook begins."""
        self.cell(job, 0)
        if not sys.stdout.isatty():
            self._line(f"{job.output.stem}: started")

    def cell(self, job: Job, number: int) -> None:
        """Say that a cell begins."""
        self.running[job.output.stem] = f"cell {number}/{len(job.notebook.cells)}"
        self.refresh()

    def end(self, outcome: Outcome) -> None:
        """Say that a notebook has ended, and how."""
        self.running.pop(outcome.name, None)
        self.done += 1
        self._line(f"{outcome.name}: {outcome.status} in {outcome.seconds:.1f} s")
        self.refresh()

    def refresh(self) -> None:
        """Draw the live line anew, if there is a terminal to draw it on."""
        if sys.stdout.isatty():
            minutes, seconds = divmod(int(time.monotonic() - self.started), 60)
            now = "  ".join(f"{name} {where}" for name, where in dict(self.running).items())
            line = f"[{self.done}/{self.total}] {minutes}:{seconds:02d}  {now}"[:_WIDTH]
            with self.lock:
                print(f"\r\x1b[2K{line}", end="", flush=True)

    def _line(self, text: str) -> None:
        clear = "\r\x1b[2K" if sys.stdout.isatty() else ""
        with self.lock:
            print(f"{clear}{text}", flush=True)


def limits_for(profile: str, cell_timeout: float | None, wall_cap: float | None) -> Limits:
    """Return the limits of a profile, unless others are given."""
    if profile not in LIMITS:
        raise ValueError(f"unknown profile {profile!r}: choose one of {', '.join(LIMITS)}")
    usual = LIMITS[profile]
    return Limits(cell_timeout or usual.cell, wall_cap or usual.wall)


def choose(paths: list[Path], names: Sequence[str], kind: str) -> list[Path]:
    """Return the sources with these names, or all if there are no names."""
    known = [path.stem for path in paths]
    if not known:
        raise ValueError(f"there is no {kind}: are you in the course's folder?")
    if unknown := [name for name in names if name not in known]:
        raise ValueError(f"unknown {kind} {unknown[0]!r}: choose from {', '.join(known)}")
    return [path for path in paths if not names or path.stem in names]


def execute_all(
    made: Sequence[Job | Outcome], limits: Limits, workers: int
) -> tuple[list[Outcome], bool]:
    """Execute jobs side by side; outcomes pass through. Also tell whether it was interrupted."""
    stop, progress = threading.Event(), Progress(len(made))
    with kernel_environment() as environment, ThreadPoolExecutor(workers) as pool:

        def execute_one(job: Job | Outcome) -> Outcome:
            if isinstance(job, Outcome):
                outcome = job
            elif stop.is_set():
                return Outcome(job.output.stem, "not run")
            else:
                progress.begin(job)
                report = partial(progress.cell, job)
                outcome = execute(job, limits, environment, on_cell=report, stop=stop)
            progress.end(outcome)
            return outcome

        futures = [pool.submit(execute_one, job) for job in made]
        try:
            with _sigterm_as_interrupt():
                while wait(futures, timeout=1).not_done:
                    progress.refresh()
        except KeyboardInterrupt:
            stop.set()
        return [future.result() for future in futures], stop.is_set()


@contextmanager
def _sigterm_as_interrupt() -> Iterator[None]:
    """Let SIGTERM end a run as Ctrl-C does: papermill would outlive a parent that just dies."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
