"""``make bench``: the project's bars, measured on this machine.

Times are CPU seconds of one thread where that is the bar, and ratios are taken within one run:
machines are shared and noisy, and only these two survive that.
"""

import json
import platform
from pathlib import Path

import torch

from bomrl_lite.course.bench import course, exact, robots, sampled
from bomrl_lite.course.bench.figure import Figure
from bomrl_lite.training.files import write_atomically

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
    course.import_cost,
    course.lesson_times,
)


def main(out: Path) -> int:
    """Measure every figure, print the table, write ``out``; exit code 1 if a bar is missed."""
    torch.set_num_threads(1)
    figures = []
    print(f"{'name':<58}{'figure':>11}  {'unit':<10}{'bar':>9}  holds")
    for measure in MEASUREMENTS:
        for figure in measure():
            figures.append(figure)
            print(_line(figure), flush=True)
    rows = [{**figure._asdict(), "holds": figure.holds} for figure in figures]
    machine = {"python": platform.python_version(), "torch": torch.__version__}
    report = {"machine": {**machine, "processor": platform.machine()}, "figures": rows}
    write_atomically(out, json.dumps(report, indent=1).encode())
    print(f"written to {out}")
    return 0 if all(figure.holds for figure in figures) else 1


def _line(figure: Figure) -> str:
    bar = "-" if figure.bar is None else f"{figure.bar:.3g}"
    verdict = "-" if figure.bar is None else "yes" if figure.holds else "NO"
    return f"{figure.name:<58}{figure.figure:>11.3g}  {figure.unit:<10}{bar:>9}  {verdict}"
