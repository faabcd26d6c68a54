"""The commands of the course, which ``python -m bomrl_lite`` offers beside those of the library.

Nothing of the packages of ``[lab]`` is imported before a command needs it: ``train`` works without.
"""

from pathlib import Path
from typing import Annotated

import tyro

ROOT = Path(__file__).resolve().parents[2]


def run(
    profile: str = "class",
    seed: int = 0,
    lessons: tuple[str, ...] = (),
) -> int:
    """Execute the lessons through papermill and write a report under runs/.

    Example: python -m bomrl_lite run --profile smoke --lessons 01_maml_baseline

    Args:
        profile: smoke (seconds), class (minutes) or full (the shipped figures).
        seed: seed of every lesson.
        lessons: names of lessons; none means all.
    """
    from bomrl_lite.course.running.runner import run_course

    return run_course(ROOT, profile=profile, seed=seed, lessons=lessons)


def build(check: bool = False, force: bool = False) -> int:
    """Build the notebooks from their sources, executing those that changed.

    Args:
        check: only compare; exit code 1 if a committed notebook is not what its source makes.
        force: execute every notebook anew.
    """
    from bomrl_lite.course.building.build import build as build_notebooks

    return build_notebooks(ROOT, check=check, force=force)


def calibrate(profile: str = "class", seeds: int = 5) -> int:
    """Measure the range of every recorded figure over seeds and write notebooks/ranges.json.

    Args:
        profile: smoke, class or full.
        seeds: how many seeds: 0, 10, 20 and so on.
    """
    from bomrl_lite.course.running.runner import calibrate as calibrate_ranges

    # In tens: a lesson may use the seeds after its own.
    return calibrate_ranges(ROOT, profile=profile, seeds=range(0, 10 * seeds, 10))


def experiment(
    name: Annotated[str, tyro.conf.Positional],
    seeds: int = 5,
    iterations: int | None = None,
    jobs: int = 1,
    out: Path = ROOT / "notebooks" / "results",
) -> int:
    """Run one of the stored experiments: a table, the record of its origin, a figure.

    Example: python -m bomrl_lite experiment returns

    Args:
        name: of the experiment; a wrong one lists them.
        seeds: how many seeds, 0, 1, 2 and so on; each draws other tasks.
        iterations: of every meta-training; left out, the experiment's own number.
        jobs: seeds to run at the same time.
        out: folder of the table; the figure goes to runs/experiments.
    """
    from bomrl_lite.course import plots
    from bomrl_lite.course.experiments import EXPERIMENTS, run
    from bomrl_lite.course.experiments.setting import Scale

    runs = ROOT / "runs" / "experiments"
    own = EXPERIMENTS[name].iterations if name in EXPERIMENTS else 1
    scale = Scale(seeds=seeds, iterations=iterations or own)
    table = run(name, scale=scale, out=out, runs=runs, jobs=jobs, progress=print)
    picture = runs / f"{name}.png"
    picture.parent.mkdir(parents=True, exist_ok=True)
    plots.use_style()
    plots.draw_experiment(name, table).savefig(picture)
    print(f"table {table}, figure {picture}")
    return 0


def bench() -> int:
    """Measure the project's bars, print them and write runs/bench.json."""
    from bomrl_lite.course.bench import main as run_bench

    return run_bench(ROOT / "runs" / "bench.json")


def compare(
    runs: Annotated[tuple[Path, ...], tyro.conf.Positional],
    column: str = "return_after",
    out: Path = Path("runs/compare.png"),
) -> int:
    """Draw the learning curves of several runs and print their last values.

    Runs that differ only in their seed become one line, their mean, in a band that holds them all.

    Example: python -m bomrl_lite compare runs/maml-0 runs/maml-1 runs/bomrl --column gradient_norm

    Args:
        runs: folders that ``train`` wrote.
        column: of their history.csv.
        out: picture; its ending decides the format.
    """
    from bomrl_lite.course import plots

    # A pattern like runs/* names pictures too, the one of the last comparison among them.
    curves = plots.read_runs([run for run in runs if not run.is_file()])
    plots.use_style()
    figure = plots.draw_learning_curves(curves, column)
    out.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(out)
    print(f"{plots.last_values(curves, column)}\n\nfigure {out}")
    return 0


COMMANDS = (run, build, calibrate, experiment, bench, compare)
