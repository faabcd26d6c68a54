"""Bars of the course: what an import and a lesson cost."""

import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from functools import cache, partial
from pathlib import Path

from bomrl_lite.course.bench.figure import Figure
from bomrl_lite.course.building.plan import lesson
from bomrl_lite.course.execute import Job, Limits, execute, kernel_environment


def import_cost() -> Iterator[Figure]:
    """Divide the CPU seconds of ``import bomrl_lite`` by those of ``import torch``."""

    def ratio() -> float:
        pairs = [(_import_seconds("bomrl_lite"), _import_seconds("torch")) for _ in range(7)]
        ours, theirs = (statistics.median(column) for column in zip(*pairs, strict=True))
        return ours / theirs

    yield Figure("import bomrl_lite, against import torch", ratio, "ratio", 1.1)


def lesson_times(root: Path) -> Iterator[Figure]:
    """Execute each long lesson at profile class through papermill: wall seconds, as one waits."""
    for source in sorted(Path(root, "notebooks", "src").glob("0[1-9]*.py")):
        times = cache(partial(_lesson_times, root, source))
        number = source.stem.partition("_")[0]
        yield Figure(f"lesson {number} at profile class", lambda t=times: t()[0], "s", 150.0)
        yield Figure(f"lesson {number}, its slowest cell", lambda t=times: t()[1], "s", 60.0)


def _lesson_times(root: Path, source: Path) -> tuple[float, float]:
    """Return the seconds of a lesson, and of its slowest cell."""
    notebook = lesson(root, source.relative_to(root))
    with tempfile.TemporaryDirectory() as folder, kernel_environment() as environment:
        target = Path(folder, f"{source.stem}.ipynb")
        job = Job(notebook, target, root / "notebooks", {"profile": "class"})
        outcome = execute(job, Limits(cpu=3600, wall=6 * 3600), environment)
    if outcome.failure or outcome.notebook is None:
        raise ValueError(f"{source.stem} did not run to its end: {outcome.failure}")
    slowest = max(cell.metadata.papermill.duration or 0 for cell in outcome.notebook.cells)
    return outcome.seconds, slowest


def _import_seconds(module: str) -> float:
    code = f"import time; t = time.process_time(); import {module}; print(time.process_time() - t)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return float(done.stdout)
