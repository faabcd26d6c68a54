"""Executing one notebook through papermill, in a subprocess of its own, under a wall cap."""

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

import psutil
from ipykernel.kernelspec import get_kernel_dict
from nbformat import NotebookNode

from bomrl_lite.course.notebook import KERNEL, own_cells, read_notebook, to_bytes

_ANSI = re.compile(r"\x1b\[[0-9;]*m")
_TAIL, _LOG_TAIL = 8, 20  # lines shown of a failing cell, of papermill's log
# What a person's set-up may hold and a canonical run must not: start-up files, another back end.
_PERSONAL = ("MPLBACKEND", "PYTHONSTARTUP", "PYTHONWARNINGS")


class Limits(NamedTuple):
    """Seconds that a cell, and a whole notebook, may take."""

    cell: float
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
    """What came of a job; ``status`` is passed, failed, timed out, stopped or not run."""

    name: str
    status: str
    seconds: float = 0.0
    notebook: NotebookNode | None = None
    failure: Failure | None = None
    log: str = ""


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
    """Run a job to its end, its wall cap or ``stop``; never raise for what the notebook does.

    Args:
        job: the notebook and its parameters.
        limits: per cell (papermill's own) and for the whole (enforced here: papermill's timeout
            does not see a kernel that hangs between cells).
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
        process = _start(_command(job, given, limits), environment)
        log: list[str] = []
        reader = threading.Thread(target=_follow, args=(process.stdout, log, on_cell), daemon=True)
        reader.start()
        try:
            end = _wait(process, started + limits.wall, stop or threading.Event())
        except BaseException:  # Ctrl-C reaches us alone
            _kill_family(process)
            raise
        reader.join(timeout=5)
    seconds = time.monotonic() - started
    return _outcome(job, limits, end, seconds, _plain("".join(log)))


def last_line(text: str) -> str:
    """Return the last line that is not blank."""
    return next((line for line in reversed(text.splitlines()) if line.strip()), "")


def _command(job: Job, given: Path, limits: Limits) -> list[str]:
    command = [sys.executable, "-m", "papermill", str(given), str(job.output), "-k", KERNEL["name"]]
    command += ["--log-output", "--no-progress-bar", "--cwd", str(job.folder)]
    command += ["--execution-timeout", str(round(limits.cell))]
    for name, value in job.parameters.items():
        command += ["-r" if isinstance(value, str) else "-p", name, str(value)]
    return command


def _start(command: list[str], environment: dict[str, str]) -> subprocess.Popen[str]:
    """Start in a session of its own, so that Ctrl-C reaches only us and we decide what ends."""
    return subprocess.Popen(
        command,
        env=environment,
        stdin=subprocess.DEVNULL,
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


def _wait(process: subprocess.Popen[str], deadline: float, stop: threading.Event) -> str:
    """Wait for the end, the deadline or ``stop``; in the last two cases kill what still runs."""
    while True:
        with suppress(subprocess.TimeoutExpired):
            return "passed" if process.wait(timeout=0.1) == 0 else "failed"
        if stop.is_set() or time.monotonic() > deadline:
            _kill_family(process)
            return "stopped" if stop.is_set() else "timed out"


def _kill_family(process: subprocess.Popen[str]) -> None:
    """Kill papermill and its kernel, which has a session of its own: a group is not enough."""
    parent = psutil.Process(process.pid)
    for member in [parent, *parent.children(recursive=True)]:
        with suppress(psutil.NoSuchProcess):
            member.kill()
    process.wait()


def _outcome(job: Job, limits: Limits, end: str, seconds: float, log: str) -> Outcome:
    ran = read_notebook(job.output)  # None: never begun, or killed while it was being written
    failure = None
    if end != "passed":
        failure = _failure(own_cells(ran) if ran else [], end, limits, log)
    return Outcome(job.output.stem, end, seconds, ran, failure, log)


def _failure(cells: list[NotebookNode], end: str, limits: Limits, log: str) -> Failure:
    """Say which cell stopped the run: the one with an error, else the last that had begun."""
    begun = [n for n, cell in enumerate(cells, 1) if _papermill_status(cell) != "pending"]
    errors = [
        (number, output)
        for number, cell in enumerate(cells, 1)
        for output in cell.get("outputs", ())
        if output.output_type == "error"
    ]
    number = errors[0][0] if errors else max(begun, default=0)
    source = "\n".join(cells[number - 1].source.splitlines()[-_TAIL:]) if number else ""
    traceback = "\n".join(log.splitlines()[-_LOG_TAIL:])
    error = _reason(end, limits, log)
    if errors:
        traceback = _plain("\n".join(errors[0][1].traceback))
        error = error or f"{errors[0][1].ename}: {errors[0][1].evalue}"
    return Failure(number, source, error or last_line(log) or "papermill said nothing", traceback)


def _reason(end: str, limits: Limits, log: str) -> str | None:
    """Say which limit, or who, ended a run; None if it ended by itself."""
    if end == "timed out":
        return f"the notebook ran into its wall cap of {limits.wall:g} s"
    if end == "stopped":
        return "stopped by hand"
    if "nbclient.exceptions.CellTimeoutError" in log:
        return f"the cell took longer than its limit of {limits.cell:g} s"
    return None


def _papermill_status(cell: NotebookNode) -> str:
    return cell.metadata.get("papermill", {}).get("status", "pending")


def _plain(text: str) -> str:
    return _ANSI.sub("", text)
