"""``make bench``: the project's bars, measured on this machine."""

import json
import platform
from functools import partial
from pathlib import Path

import torch

from bomrl_lite.course.bench import course, endurance, exact, robots, sampled
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
    sampled.recipe_errors,
    sampled.recipe_memory,
    sampled.batching_gain,
    sampled.recipe_b_training,
    robots.stepping,
    robots.against_gymnasium,
    robots.policy_in_the_loop,
    robots.meta_iterations,
    robots.running_learnt,
    robots.integrators,
    robots.on_a_gpu,
    endurance.many_evaluations,
    endurance.long_training,
    course.import_cost,
)
"""What needs no file of the course."""


def measure_all(root: Path) -> int:
    """Measure every figure, print the table, write runs/bench.json.

    Args:
        root: folder of the course.

    Returns:
        0, or 1 if a bar is missed.
    """
    out = root / "runs" / "bench.json"
    require_writable(out)
    torch.set_num_threads(1)
    figures: list[Figure] = []
    measurements = (*MEASUREMENTS, partial(course.lesson_times, root))
    try:
        with make_bars() as bars:
            task = bars.add_task("", total=len(measurements))
            for measure in measurements:
                for figure in measure():
                    figures.append(figure)
                    bars.update(task, description=figure.name)
                    if bars.disable:
                        bars.console.print(f"{figure.name}: {figure.figure:.3g} {figure.unit}")
                bars.advance(task)
    finally:  # Ctrl-C leaves what there is
        print(table_of(figures))
    rows = [{**figure._asdict(), "holds": figure.holds} for figure in figures]
    machine = {"python": platform.python_version(), "torch": torch.__version__}
    report = {"machine": {**machine, "processor": platform.machine()}, "figures": rows}
    write_atomically(out, json.dumps(report, indent=1).encode())
    print(f"written to {out}")
    return 0 if all(figure.holds for figure in figures) else 1


def table_of(figures: list[Figure]) -> str:
    """Lay out figures beside their bars."""
    rows = []
    for each in figures:
        bar, verdict = "-", "-"
        if each.bar is not None:
            bar, verdict = f"{each.bar:.3g}", "yes" if each.holds else "NO"
        rows.append((each.name, f"{each.figure:.3g}", each.unit, bar, verdict))
    return as_table(("name", "figure", "unit", "bar", "holds"), rows, right=("figure", "bar"))
