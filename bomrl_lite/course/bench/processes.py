"""Bars that take a process of their own each: wall clock by threads, and memory."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import bomrl_lite
from bomrl_lite.course.bench.figure import Figure

METHODS = {
    "MAML-TRPO": "trpo_maml",
    "ProMP": "promp",
    "BO-MRL head": "bomrl_head",
    "BO-MRL, all parameters": "bomrl_natural",
}


def threads_gain() -> Iterator[Figure]:
    """Divide the wall clock of a meta-iteration on 2 threads by that on 1."""
    if (os.cpu_count() or 1) < 2:
        return
    for label, method in METHODS.items():
        name = f"cheetah meta-iteration, wall clock of 2 threads over 1, {label}"
        yield Figure(name, partial(_threads_ratio, method), "ratio", 0.6)


def iteration_memory() -> Iterator[Figure]:
    """Measure the peak memory of a meta-iteration above what the imports take."""
    for label in ("ProMP", "BO-MRL, all parameters"):
        measure = partial(_measured, "megabytes", "iteration", METHODS[label])
        name = f"cheetah meta-iteration, peak memory above imports, {label}"
        yield Figure(name, measure, "MB", None, ratio_bar=0.6)


def memory_left() -> Iterator[Figure]:
    """Measure what simulations of a size that is no longer in use leave behind."""
    measure = partial(_measured, "megabytes", "sizes")
    yield Figure("cheetah, simulations no longer in use: memory of each size", measure, "MB", 0.2)


def _threads_ratio(method: str) -> float:
    """Return the ratio of the shorter times of two processes each, in balanced order."""
    seconds: dict[int, float] = {}
    for threads in (1, 2, 2, 1):
        once = _measured("seconds", "iteration", method, threads=threads)
        seconds[threads] = min(once, seconds.get(threads, once))
    return seconds[2] / seconds[1]


def _measured(figure: str, *arguments: str, threads: int = 1) -> float:
    """Run a part of ``process.py`` in a fresh process and return one of its figures."""
    script = str(Path(__file__).with_name("process.py"))
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(_FOLDER), os.environ.get("PYTHONPATH", "")]),
        "OMP_NUM_THREADS": str(threads),
    }
    done = subprocess.run(
        [sys.executable, "-P", script, *arguments],
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return json.loads(done.stdout)[figure]


_FOLDER = Path(bomrl_lite.__file__).parents[1]
"""What a fresh process imports: the same library as this one."""
