"""``make bench``: the project's bars, measured on this machine.

Times are CPU seconds of one thread where that is the bar, and ratios are taken within one run:
machines are shared and noisy, and only these two survive that.
"""

import json
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

import torch
from torch.func import vmap

from bomrl_lite.adaptation import gradient_step, policy_return
from bomrl_lite.files import write_atomically
from bomrl_lite.linalg import add_scaled, dot
from bomrl_lite.meta_gradients import maml
from bomrl_lite.train import MetaConfig, make_problem, meta_step, meta_train, seeded, start_state
from bomrl_lite.types import TabularTask


class Figure(NamedTuple):
    """One measured figure; ``bar`` is the largest value allowed, None where it only informs."""

    name: str
    figure: float
    unit: str
    bar: float | None

    @property
    def holds(self) -> bool:
        """Tell whether the figure keeps its bar."""
        return self.bar is None or self.figure <= self.bar


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


def exact_training() -> Iterator[Figure]:
    """Train MAML exactly: 10 tasks, 150 iterations."""
    name = "exact MAML on Frozen Lake, 10 tasks, 150 iterations"
    yield Figure(name, _cpu_seconds(lambda: meta_train(MetaConfig())), "CPU-s", 5.0)


def meta_gradient_error() -> Iterator[Figure]:
    """Compare MAML's directional derivative with central differences on a training task."""
    config = MetaConfig()
    problem = make_problem(config)
    exact = {"policy": problem.policy, "gamma": problem.distribution.gamma}
    draw = {"dtype": torch.float64, "generator": seeded(0, stream=9)}
    phi, direction = ({"logits": torch.randn(16, 4, **draw)} for _ in range(2))
    task = TabularTask(*(field[0] for field in problem.tasks))

    def objective(t: float) -> torch.Tensor:
        start = add_scaled(phi, t, direction)
        theta = gradient_step(start, task, step_size=config.step_size, **exact)
        return policy_return(theta, task, **exact)

    h = 1e-4
    near, far = objective(h) - objective(-h), objective(2 * h) - objective(-2 * h)
    expected = (8 * near - far) / (12 * h)
    got = dot(maml(phi, task, step_size=config.step_size, **exact)[0], direction)
    error = abs((got - expected) / expected).item()
    yield Figure("MAML meta-gradient against central differences", error, "relative", 1e-8)


def batching_gain() -> Iterator[Figure]:
    """Divide the time of a vmapped meta-gradient over 20 tasks by that of a loop."""
    problem = make_problem(MetaConfig(num_tasks=20))
    phi = problem.policy.init(seeded(0, stream=1))
    batched = vmap(problem.meta_gradient, in_dims=(None, 0))
    singles = [TabularTask(*(field[i] for field in problem.tasks)) for i in range(20)]
    ratio = _ratio(
        partial(batched, phi, problem.tasks),
        lambda: [problem.meta_gradient(phi, task) for task in singles],
    )
    yield Figure("vmapped over 20 tasks, against a loop", ratio, "ratio", 0.25)


def overhead_over_solves() -> Iterator[Figure]:
    """Divide a meta-iteration by the eight batched linear solves that it cannot do without.

    J and its gradient at phi and at theta take two solves each, the Hessian-vector product four.
    """
    config = MetaConfig()
    problem = make_problem(config)
    state = start_state(config, problem)
    matrices = torch.eye(16, dtype=torch.float64) + 0.01 * torch.rand(10, 16, 16).double()
    right = torch.rand(10, 16, 1, dtype=torch.float64)
    ratio = _ratio(
        lambda: meta_step(state, problem.tasks, problem.meta_gradient),
        lambda: [torch.linalg.solve(matrices, right) for _ in range(8)],
    )
    yield Figure("meta-iteration, against its linear solves alone", ratio, "ratio", None)


def import_cost() -> Iterator[Figure]:
    """Divide the CPU seconds of ``import bomrl_lite`` by those of ``import torch``."""
    pairs = [(_import_seconds("bomrl_lite"), _import_seconds("torch")) for _ in range(7)]
    ours, theirs = (statistics.median(column) for column in zip(*pairs, strict=True))
    yield Figure("import bomrl_lite, against import torch", ours / theirs, "ratio", 1.1)


def lesson_times() -> Iterator[Figure]:
    """Execute lesson 01 at profile class through papermill: wall seconds, as a reader waits."""
    from bomrl_lite.course.building.plan import lesson
    from bomrl_lite.course.running.execute import Job, Limits, execute, kernel_environment

    root, name = Path(__file__).resolve().parents[1], "01_maml_baseline"
    notebook = lesson(root, Path("notebooks", "src", f"{name}.py"))
    with tempfile.TemporaryDirectory() as folder, kernel_environment() as environment:
        job = Job(notebook, Path(folder, f"{name}.ipynb"), root / "notebooks", {"profile": "class"})
        outcome = execute(job, Limits(cell=600, wall=1200), environment)
    if outcome.failure or outcome.notebook is None:
        raise ValueError(f"{name} did not run to its end: {outcome.failure}")
    slowest = max(cell.metadata.papermill.duration or 0 for cell in outcome.notebook.cells)
    yield Figure("lesson 01 at profile class", outcome.seconds, "s", 150.0)
    yield Figure("its slowest cell", slowest, "s", 60.0)


MEASUREMENTS = (
    exact_training,
    meta_gradient_error,
    batching_gain,
    overhead_over_solves,
    import_cost,
    lesson_times,
)


def _line(figure: Figure) -> str:
    bar = "-" if figure.bar is None else f"{figure.bar:.3g}"
    verdict = "-" if figure.bar is None else "yes" if figure.holds else "NO"
    return f"{figure.name:<58}{figure.figure:>11.3g}  {figure.unit:<10}{bar:>9}  {verdict}"


def _cpu_seconds(work: Callable[[], object]) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start


def _ratio(ours: Callable[[], object], floor: Callable[[], object], rounds: int = 15) -> float:
    """Return the median ratio of CPU seconds, the two in turn, after one warm-up of each."""
    for warm_up in (ours, floor):
        warm_up()
    return statistics.median(_cpu_seconds(ours) / _cpu_seconds(floor) for _ in range(rounds))


def _import_seconds(module: str) -> float:
    code = f"import time; t = time.process_time(); import {module}; print(time.process_time() - t)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return float(done.stdout)
