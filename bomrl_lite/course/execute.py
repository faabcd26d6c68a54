"""Executing one notebook through papermill, in a subprocess of its own, under two caps."""

import json
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any, NamedTuple

import matplotlib.font_manager  # noqa: F401  builds its cache here, not inside a lesson
import psutil
from ipykernel.kernelspec import get_kernel_dict
from nbformat import NotebookNode

from bomrl_lite.course.notebook import KERNEL, faults, own_cells, read_notebook, to_bytes

_ANSI = re.compile(r"\x1b\[[0-9;]*m")
_TAIL, _LOG_TAIL = 8, 20  # lines shown of a failing cell, of papermill's log
# What a person's set-up may hold and a canonical run must not: start-up files, another back end.
_PERSONAL = ("MPLBACKEND", "PYTHONSTARTUP", "PYTHONWARNINGS")
CPU_CAP, WALL_CAP = "out of CPU time", "out of time"


class Limits(NamedTuple):
    """Seconds that a notebook may take: of processors, in all its processes, and by the clock.

    Only the first says that something runs on and on; on a busy machine the clock says little,
    and its cap is there for a run that hangs and burns nothing.
    """

    cpu: float
    wall: float


class Job(NamedTuple):
    """A notebook to execute: where it runs, where the result goes, what replaces its parameters."""

    notebook: NotebookNode
    output: Path
    folder: Path
    parameters: dict[str, Any]


class Failure(NamedTuple):
    """Why a notebook stopped; ``cell`` counts the cells of its source from 1 (0: none began)."""

    cell: int
    source: str
    error: str
    traceback: str


class Outcome(NamedTuple):
    """What came of a job; ``status`` is passed, failed, timed out, stopped or not run.

    One that is ``taken_over`` passed in an earlier run and did not run again.
    """

    name: str
    status: str
    seconds: float = 0.0
    notebook: NotebookNode | None = None
    failure: Failure | None = None
    log: str = ""
    taken_over: bool = False


@contextmanager
def kernel_environment() -> Iterator[dict[str, str]]:
    """Yield the environment in which kernel `python3` is this very interpreter.

    A `python3` kernel registered by the user would otherwise win when no virtual environment is
    active; JUPYTER_PATH is searched before everything else.
    """
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        spec = Path(folder, "kernels", KERNEL["name"], "kernel.json")
        spec.parent.mkdir(parents=True)
        spec.write_text(json.dumps(get_kernel_dict()))  # its command names sys.executable in full
        inherited = {key: text for key, text in os.environ.items() if key not in _PERSONAL}
        paths = [folder, *filter(None, [os.environ.get("JUPYTER_PATH")])]
        yield inherited | {
            "JUPYTER_PATH": os.pathsep.join(paths),
            "JUPYTER_RUNTIME_DIR": str(Path(folder, "runtime")),
            "IPYTHONDIR": str(Path(folder, "ipython")),
            "BOMRL_PREDICTIONS": str(Path(folder, "my_predictions.json")),  # never a person's own
            "PYDEVD_DISABLE_FILE_VALIDATION": "1",
            "PYTHONIOENCODING": "utf-8",
        }


def execute(
    job: Job,
    limits: Limits,
    environment: dict[str, str],
    *,
    on_cell: Callable[[int], None] = lambda number: None,
    stop: threading.Event | None = None,
) -> Outcome:
    """Run a job to its end, a cap or ``stop``; never raise for what the notebook does.

    Args:
        job: the notebook and its parameters.
        limits: enforced here; papermill's own timeout counts the clock, and one cell.
        environment: from ``kernel_environment``.
        on_cell: called with the number of each cell as it begins.
        stop: when set, the run is killed.
    """
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        given = Path(folder, job.output.name)
        given.write_bytes(to_bytes(job.notebook))
        for needed in (job.output.parent, job.folder):
            needed.mkdir(parents=True, exist_ok=True)
        job.output.unlink(missing_ok=True)  # or a run that stops early would show an older one
        process = _start(_command(job, given), environment)
        log: list[str] = []
        reader = threading.Thread(target=_follow, args=(process.stdout, log, on_cell), daemon=True)
        reader.start()
        assert process.stdin is not None
        with process.stdin:
            try:
                end = _wait(process, limits, stop or threading.Event())
            except BaseException:  # Ctrl-C reaches us alone
                _kill_family(process)
                raise
        reader.join(timeout=5)
    seconds = time.monotonic() - started
    return _outcome(job, limits, end, seconds, _plain("".join(log)))


def last_line(text: str) -> str:
    """Return the last line that is not blank."""
    return next((line for line in reversed(text.splitlines()) if line.strip()), "")


def _command(job: Job, given: Path) -> list[str]:
    # By its path, since -m would import torch; -P, since its neighbour is called statistics.
    command = [sys.executable, "-P", str(Path(__file__).with_name("papermill_child.py"))]
    command += [str(given), str(job.output), "-k", KERNEL["name"]]
    command += ["--log-output", "--no-progress-bar", "--cwd", str(job.folder)]
    for name, value in job.parameters.items():
        command += ["-r" if isinstance(value, str) else "-p", name, str(value)]
    return command


def _start(command: list[str], environment: dict[str, str]) -> subprocess.Popen[str]:
    """Start in a session of its own, so that Ctrl-C reaches only us and we decide what ends."""
    return subprocess.Popen(
        command,
        env=environment,
        stdin=subprocess.PIPE,  # closes when we end, by whatever: the child's sign to end as well
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        errors="replace",
        start_new_session=True,
    )


def _follow(lines: IO[str], log: list[str], on_cell: Callable[[int], None]) -> None:
    with lines:
        for line in lines:
            log.append(line)
            if match := re.match(r"Executing Cell (\d+)-", line):
                on_cell(int(match[1]))


def _wait(process: subprocess.Popen[str], limits: Limits, stop: threading.Event) -> str:
    """Wait for the end, a cap or ``stop``; in the last two cases kill what still runs."""
    deadline = time.monotonic() + limits.wall
    while True:
        with suppress(subprocess.TimeoutExpired):
            return "passed" if process.wait(timeout=0.5) == 0 else "failed"
        if stop.is_set():
            end = "stopped"
        elif _cpu_seconds(process) > limits.cpu:
            end = CPU_CAP
        elif time.monotonic() > deadline:
            end = WALL_CAP
        else:
            continue
        _kill_family(process)
        return end


def _family(process: subprocess.Popen[str]) -> list[psutil.Process]:
    """Return papermill and its kernel, which has a session of its own, and their children."""
    try:
        parent = psutil.Process(process.pid)
        return [parent, *parent.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def _cpu_seconds(process: subprocess.Popen[str]) -> float:
    """Add up what a family has burnt; children that have ended count in their parent's times."""
    seconds = 0.0
    for member in _family(process):
        with suppress(psutil.NoSuchProcess, psutil.AccessDenied):
            seconds += sum(member.cpu_times()[:4])
    return seconds


def _kill_family(process: subprocess.Popen[str]) -> None:
    for member in _family(process):
        with suppress(psutil.NoSuchProcess):
            member.kill()
    process.wait()


def _outcome(job: Job, limits: Limits, end: str, seconds: float, log: str) -> Outcome:
    ran = read_notebook(job.output)  # None: never begun, or killed while it was being written
    failure = None
    if end != "passed":
        failure = _failure(ran, end, limits, log)
    elif ran and (fault := next(faults(ran), None)):
        number, what = fault
        end, failure = "failed", Failure(number, _last_lines(own_cells(ran), number), what, what)
    status = "timed out" if end in (CPU_CAP, WALL_CAP) else end
    return Outcome(job.output.stem, status, seconds, ran, failure, log)


def _failure(ran: NotebookNode | None, end: str, limits: Limits, log: str) -> Failure:
    """Say which cell stopped the run: the one with an error, else the last that had begun."""
    cells = own_cells(ran) if ran else []
    errors = [
        (number, output)
        for number, cell in enumerate(cells, 1)
        for output in cell.get("outputs", ())
        if output.output_type == "error"
    ]
    # Of the log and not of the notebook: papermill calls every cell completed when a kernel dies.
    begun = [int(number) for number in re.findall(r"^Executing Cell (\d+)-", log, re.MULTILINE)]
    last = len(own_cells(NotebookNode(cells=ran.cells[: max(begun, default=0)]))) if ran else 0
    number = errors[0][0] if errors else last
    traceback = "\n".join(log.splitlines()[-_LOG_TAIL:])
    error = _reason(end, limits)
    if errors:
        traceback = _plain("\n".join(errors[0][1].traceback))
        error = error or f"{errors[0][1].ename}: {errors[0][1].evalue}"
    source = _last_lines(cells, number)
    return Failure(number, source, error or last_line(log) or "papermill said nothing", traceback)


def _last_lines(cells: list[NotebookNode], number: int) -> str:
    return "\n".join(cells[number - 1].source.splitlines()[-_TAIL:]) if number else ""


def _reason(end: str, limits: Limits) -> str | None:
    """Say which cap, or who, ended a run; None if it ended by itself."""
    return {
        CPU_CAP: f"the notebook used up its cap of {limits.cpu:g} CPU-seconds",
        WALL_CAP: f"the notebook had not ended after {limits.wall:g} s, its cap by the clock",
        "stopped": "stopped by hand",
    }.get(end)


def _plain(text: str) -> str:
    return _ANSI.sub("", text)
