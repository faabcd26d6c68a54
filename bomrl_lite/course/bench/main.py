"""``make bench``: the project's bars, measured on this machine."""

import json
import platform
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import torch

import bomrl_lite
from bomrl_lite.course.bench import course, endurance, exact, processes, robots, sampled
from bomrl_lite.course.bench.against import Pair, measure_pairs, require_checkout
from bomrl_lite.course.bench.figure import Figure
from bomrl_lite.training.files import write_atomically
from bomrl_lite.training.places import require_writable
from bomrl_lite.training.progress import make_bars
from bomrl_lite.training.tables import as_table

MEASUREMENTS = (
    exact.exact_training,
    exact.meta_gradient_error,
    exact.hypergradient_errors,
    exact.hypergradient_memory,
    exact.batching_gain,
    exact.overhead_over_solves,
    sampled.iteration_times,
    sampled.head_iteration_time,
    sampled.recipe_errors,
    sampled.recipe_memory,
    sampled.batching_gain,
    sampled.recipe_b_training,
    robots.stepping,
    robots.against_gymnasium,
    robots.against_envpool,
    robots.policy_in_the_loop,
    robots.meta_iterations,
    robots.running_learnt,
    robots.integrators,
    robots.on_a_gpu,
    processes.threads_gain,
    processes.iteration_memory,
    processes.memory_left,
    endurance.many_evaluations,
    endurance.long_training,
    course.import_cost,
)
"""What needs no file of the course."""


@dataclass(frozen=True)
class Result:
    """A measured figure beside its bars, and beside another build's where it was measured."""

    name: str
    figure: float
    unit: str
    bar: float | None
    ratio_bar: float | None = None
    other: float | None = None

    @property
    def ratio(self) -> float | None:
        """Return the figure over the other build's; None where that says nothing."""
        return self.figure / self.other if self.other and self.figure / self.other > 0 else None

    @property
    def holds(self) -> bool:
        """Tell whether the figure keeps its bars, as far as they could be looked at."""
        kept = self.bar is None or self.figure <= self.bar
        return kept and (
            self.ratio_bar is None or self.ratio is None or self.ratio <= self.ratio_bar
        )

    @property
    def verdict(self) -> str:
        """Say whether it does; - where there is no bar to look at."""
        if self.bar is None and (self.ratio_bar is None or self.ratio is None):
            return "-"
        return "yes" if self.holds else "NO"


Measurements = dict[str, list[Figure]]
"""Figures that are still to be measured, by module and name of their measurement."""


def measurements_of(root: Path) -> Measurements:
    """Return all figures, not yet measured.

    Args:
        root: folder of the course.
    """
    functions: dict[str, Callable[[], Iterable[Figure]]] = {
        f"{each.__module__.rpartition('.')[2]}.{each.__name__}": each for each in MEASUREMENTS
    }
    functions["course.lesson_times"] = partial(course.lesson_times, root)
    return {key: list(function()) for key, function in functions.items()}


def choose(measurements: Measurements, words: Sequence[str]) -> Measurements:
    """Return the figures that have one of the words in their or their measurement's name.

    Args:
        measurements: to choose from.
        words: parts of names, in small or large letters; none chooses all.

    Raises:
        ValueError: a word is in no name.
    """
    names = [f"{key} {figure.name}" for key, rows in measurements.items() for figure in rows]
    unknown = [word for word in words if not any(_names(name, word) for name in names)]
    if unknown:
        raise ValueError(
            f"no row and no measurement has {', '.join(map(repr, unknown))} in its name: give "
            f"--only a part of a row's name, or of one of {', '.join(measurements)}"
        )
    chosen = {
        key: [
            each
            for each in rows
            if not words or any(_names(key, word) or _names(each.name, word) for word in words)
        ]
        for key, rows in measurements.items()
    }
    return {key: rows for key, rows in chosen.items() if rows}


def _names(name: str, word: str) -> bool:
    return word.casefold() in name.casefold()


def measure_all(root: Path, *, only: Sequence[str] = (), against: Path | None = None) -> int:
    """Measure figures, print the table, write runs/bench.json.

    Args:
        root: folder of the course.
        only: words of the names of what is measured; none measures all.
        against: another checkout, which is measured in the same minutes.

    Returns:
        0, or 1 if a bar is missed.

    Raises:
        ValueError: a word is in no name, or the other checkout has none of the rows.
    """
    out = root / "runs" / "bench.json"
    require_writable(out)
    other = against and require_checkout(against)
    torch.set_num_threads(1)
    chosen = choose(measurements_of(root), only)
    results: list[Result] = []
    try:
        with make_bars() as bars:
            task = bars.add_task("", total=len(chosen))
            for key, figures in chosen.items():
                bars.update(task, description=key)
                for result in _results(key, figures, other, bars.console.print):
                    results.append(result)
                    bars.update(task, description=result.name)
                    if bars.disable:
                        bars.console.print(_line(result))
                bars.advance(task)
    finally:  # Ctrl-C leaves what there is
        print(table_of(results, compared=other is not None))
    rows = [{**asdict(each), "ratio": each.ratio, "holds": each.holds} for each in results]
    machine = {"python": platform.python_version(), "torch": torch.__version__}
    report = {"machine": {**machine, "processor": platform.machine()}, "figures": rows}
    write_atomically(out, json.dumps(report, indent=1).encode())
    print(f"written to {out}")
    if other and all(each.other is None for each in results):
        raise ValueError(f"{against} has none of these rows, so nothing was compared")
    return 0 if all(each.holds for each in results) else 1


def _results(
    key: str, figures: list[Figure], other: Path | None, say: Callable[[str], None]
) -> Iterator[Result]:
    """Measure the figures of one measurement, one after the other, or beside another build's."""
    pairs: dict[str, Pair] = {}
    if other:
        units = {each.name: each.unit for each in figures}
        ours = Path(bomrl_lite.__file__).parents[1]
        pairs, trouble = measure_pairs(key, units, ours, other)
        if trouble:
            say(f"not compared: {trouble}")
    for each in figures:
        pair = pairs.get(each.name) or Pair(each.figure, None)
        yield Result(each.name, pair.ours, each.unit, each.bar, each.ratio_bar, pair.other)


def _line(result: Result) -> str:
    text = f"{result.name}: {result.figure:.3g} {result.unit}"
    return text if result.ratio is None else f"{text}, {result.ratio:.3g} of the other build's"


def table_of(results: list[Result], *, compared: bool = False) -> str:
    """Lay out figures beside their bars.

    Args:
        results: what was measured.
        compared: with columns for the other build's figure and the ratio.
    """
    header = ("name", "figure", "the other's", "ratio", "unit", "bar", "holds")
    rows = []
    for each in results:
        other, ratio, bar, limit = (
            "-" if number is None else f"{number:.3g}"
            for number in (each.other, each.ratio, each.bar, each.ratio_bar)
        )
        bar = bar if each.ratio_bar is None else f"ratio {limit}"
        rows.append((each.name, f"{each.figure:.3g}", other, ratio, each.unit, bar, each.verdict))
    shown = [i for i, name in enumerate(header) if compared or name not in header[2:4]]
    cells = [[row[i] for i in shown] for row in (header, *rows)]
    return as_table(cells[0], cells[1:], right=("figure", "the other's", "ratio", "bar"))
