"""What a long run and many evaluations in one process leave behind: memory, files, time."""

import tempfile
from collections.abc import Iterator
from functools import cache, partial
from pathlib import Path
from time import process_time

import psutil

from bomrl_lite.course.bench.figure import Figure
from bomrl_lite.training.config import Config, configure
from bomrl_lite.training.evaluate import evaluate_run
from bomrl_lite.training.run_folder import Row
from bomrl_lite.training.trainer import meta_train

ITERATIONS = 10_000
EVALUATIONS = 1_000


def small(iterations: int) -> Config:
    """Return settings whose iteration costs some milliseconds."""
    return configure("maml", tasks="probe/random-5x3", num_tasks=2, iterations=iterations)


def long_training(iterations: int = ITERATIONS) -> Iterator[Figure]:
    """Train for long: memory and time per iteration at the end over those after a tenth."""
    kind, figures = f"{iterations} iterations of a small run", cache(partial(_train, iterations))
    for name, unit, bar in (
        ("memory at the end over a tenth", "ratio", 1.1),
        ("time of the last tenth over the second", "x", 1.5),
        *((f"{file}, bytes an iteration", "B", 120.0) for file in _GROWING),
    ):
        yield Figure(f"{kind}: {name}", lambda name=name: figures()[name], unit, bar)


_GROWING = ("checkpoint.pt", "history.csv")


def _train(iterations: int) -> dict[str, float]:
    watched = {iterations // 10: (0, 0.0), 2 * iterations // 10: (0, 0.0)}
    watched |= {9 * iterations // 10: (0, 0.0), iterations: (0, 0.0)}

    def watch(done: int, _total: int, _row: Row) -> None:
        if done in watched:
            watched[done] = (psutil.Process().memory_info().rss, process_time())

    with tempfile.TemporaryDirectory() as folder:
        meta_train(small(iterations), out=folder, progress=watch)
        sizes = {name: Path(folder, name).stat().st_size for name in _GROWING}
    (early, t0), (_, t1), (_, t2), (late, t3) = watched.values()
    return {
        "memory at the end over a tenth": late / early,
        "time of the last tenth over the second": (t3 - t2) / (t1 - t0),
        **{f"{name}, bytes an iteration": size / iterations for name, size in sizes.items()},
    }


def many_evaluations(evaluations: int = EVALUATIONS) -> Iterator[Figure]:
    """Evaluate a run again and again: memory and open files at the end over those after a tenth."""
    kind, figures = (
        f"{evaluations} evaluations in one process",
        cache(partial(_evaluate, evaluations)),
    )
    name = f"{kind}: memory at the end over a tenth"
    yield Figure(name, lambda: figures()[0], "ratio", 1.1)
    yield Figure(f"{kind}: files left open", lambda: figures()[1], "files", 0.0)


def _evaluate(evaluations: int) -> tuple[float, int]:
    """Return the ratio of memory, and the number of files left open."""
    process = psutil.Process()
    with tempfile.TemporaryDirectory() as folder:
        meta_train(small(3), out=folder)
        early = before = 0
        for number in range(evaluations):
            if number == evaluations // 10:
                early, before = process.memory_info().rss, len(process.open_files())
            evaluate_run(folder, num_test_tasks=2, num_steps=1)
    return process.memory_info().rss / early, len(process.open_files()) - before
