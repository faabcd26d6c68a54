"""The commands of the course, which ``python -m bomrl_lite`` offers beside those of the library.

Nothing of the packages of ``[lab]`` is imported before a command needs it: ``train`` works without.
"""

import sys
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from bomrl_lite.course.root import course_root
from bomrl_lite.require import require_whole
from bomrl_lite.training.places import require_writable
from bomrl_lite.training.stopping import terminated_like_ctrl_c

CLASSROOM = ("nbgrader", "cloudpickle")
"""Packages of ``[classroom]``; whatever else may be missing is of ``[lab]``."""
EngineName = Literal["local", "ray"]
"""Where trainings run."""
MOST_SEEDS = 10_000
"""Of a command; more is a slip, which would run for weeks."""


def run(
    profile: str = "class",
    seed: int = 0,
    lessons: tuple[str, ...] = (),
    jobs: int = 1,
    parameter: Annotated[
        tuple[tuple[str, str], ...], tyro.conf.UseAppendAction, tyro.conf.arg(aliases=["-p"])
    ] = (),
    out: Path | None = None,
    resume: bool = False,
    root: Path | None = None,
) -> int:
    """Execute the lessons through papermill and write a report under runs/.

    Example: python -m bomrl_lite run --profile smoke --lessons 01_maml_baseline

    Args:
        profile: smoke (seconds), class (minutes) or full (the shipped figures).
        seed: seed of every lesson.
        lessons: names of lessons; none means all.
        jobs: how many lessons run at a time.
        parameter: name and value of a further parameter of the lessons; may be given again.
        out: folder of the results, where the course itself may not be written to.
        resume: go on with the run in ``out``: what passed there and has not changed is taken over.
        root: folder of the course; by default the current one, or the nearest above it.
    """
    from bomrl_lite.course.running.runner import run_course

    given = {name: _read_value(text) for name, text in parameter}
    if len(given) < len(parameter):
        names = ", ".join(name for name, _ in parameter)
        raise ValueError(f"give each parameter once, got {names}")
    return run_course(
        course_root(root),
        profile=given.pop("profile", profile),
        seed=given.pop("seed", seed),
        lessons=lessons,
        jobs=jobs,
        out=out,
        resume=resume,
        given=given,
    )


def _read_value(text: str) -> Any:
    """Read a value as papermill does: 3 is a number, true a truth value, what is no YAML a text."""
    import yaml

    try:
        return yaml.safe_load(text)
    except yaml.YAMLError:
        return text


def build(check: bool = False, force: bool = False, root: Path | None = None) -> int:
    """Build the notebooks from their sources, executing those that changed.

    Args:
        check: only compare; exit code 1 if a committed notebook is not what its source makes.
        force: execute every notebook anew.
        root: folder of the course; by default the current one, or the nearest above it.
    """
    from bomrl_lite.course.building.build import build as build_notebooks

    return build_notebooks(course_root(root), check=check, force=force)


def calibrate(
    profile: str = "class",
    seeds: int = 5,
    lessons: tuple[str, ...] = (),
    reference: bool = False,
    root: Path | None = None,
) -> int:
    """Measure the range of every recorded figure over seeds and write notebooks/ranges.json.

    With ``--reference`` measure instead what seed 0 gives on other processors, as far as this one
    can play them, and write the narrow ranges of notebooks/reference.json.

    Args:
        profile: smoke, class or full.
        seeds: how many seeds: 0, 10, 20 and so on.
        lessons: names of lessons; none means all.
        reference: measure seed 0 alone.
        root: folder of the course; by default the current one, or the nearest above it.
    """
    from bomrl_lite.course.running import calibration

    require_whole("seeds", seeds, most=MOST_SEEDS)
    if reference:
        return calibration.calibrate_reference(course_root(root), profile=profile, lessons=lessons)
    # In tens: a lesson may use the seeds after its own.
    numbers = range(0, 10 * seeds, 10)
    return calibration.calibrate(course_root(root), profile=profile, seeds=numbers, lessons=lessons)


def experiment(
    name: Annotated[str, tyro.conf.Positional],
    seeds: int = 5,
    iterations: int | None = None,
    jobs: int | None = None,
    engine: EngineName = "local",
    address: str | None = None,
    out: Path | None = None,
    root: Path | None = None,
) -> int:
    """Run one of the stored experiments: a table, the record of its origin, a figure.

    Example: python -m bomrl_lite experiment returns

    The table goes to the course's notebooks/results, its figure and the meta-trainings to
    runs/experiments; with ``--out`` all of them go there, and no course is needed.

    Args:
        name: of the experiment; a wrong one lists them.
        seeds: how many seeds, 0, 1, 2 and so on; each draws other tasks.
        iterations: of every meta-training; left out, the experiment's own number.
        jobs: seeds to run at the same time; left out, one, or with ray one per processor.
        engine: local, or ray (pip install "bomrl-lite[ray]"); no number depends on it.
        address: of a Ray cluster that runs already; auto finds the one of this machine.
        out: folder for all that the experiment writes.
        root: folder of the course; by default the current one, or the nearest above it.
    """
    from bomrl_lite.course import plots
    from bomrl_lite.course.engines import make_engine
    from bomrl_lite.course.experiments import EXPERIMENTS, run
    from bomrl_lite.course.experiments.setting import Scale

    if out and root:
        raise ValueError("--out and --root both say where the table goes: give one of them")
    if out:
        results, pictures, runs = out, out, out / "runs"
    else:
        course = course_root(root)
        results, pictures = course / "notebooks" / "results", course / "runs" / "experiments"
        runs = pictures
    if iterations is None:
        iterations = EXPERIMENTS[name].iterations if name in EXPERIMENTS else 1
    picture = pictures / f"{name}.png"
    require_writable(picture)
    scale = Scale(seeds=seeds, iterations=iterations)
    where = make_engine(engine, runs, jobs=jobs, address=address)
    with terminated_like_ctrl_c():
        table = run(name, scale=scale, out=results, runs=runs, engine=where, progress=print)
    plots.use_style()
    plots.write_figure(plots.draw_experiment(name, table), picture)
    print(f"table {table}, figure {picture}")
    return 0


def sweep(
    file: Annotated[Path, tyro.conf.Positional],
    engine: EngineName = "local",
    address: str | None = None,
    jobs: int | None = None,
    out: Path | None = None,
    dry: bool = False,
) -> int:
    """Run the trainings that a file asks for, side by side: one table comes out.

    Example: python -m bomrl_lite sweep lakes.yaml --jobs 4

    docs/sweeps.md says what the file holds. A training is trained, evaluated and kept in a folder
    of its own; the same command goes on with a sweep that was stopped, and repeats nothing that is
    finished.

    Args:
        file: YAML: families, methods, settings, seeds.
        engine: local, or ray (pip install "bomrl-lite[ray]"); no result depends on it.
        address: of a Ray cluster that runs already; auto finds the one of this machine.
        jobs: trainings to run at the same time; left out, one, or with ray one per processor.
        out: folder of all that is written; left out, runs/sweeps/NAME for NAME.yaml.
        dry: only list the trainings.
    """
    from bomrl_lite.course.engines import make_engine
    from bomrl_lite.course.sweeps.run import run_sweep
    from bomrl_lite.course.sweeps.sweep_file import read_sweep
    from bomrl_lite.course.sweeps.units import read_finished

    asked = read_sweep(file)
    folder = out or Path("runs") / "sweeps" / file.stem
    finished = [read_finished(folder, asked.evaluation, unit) for unit in asked.units]
    count = sum(one is not None for one in finished)
    print(f"{file}: {len(asked.units)} trainings, {count} of them finished; folder {folder}")
    if dry:
        for unit, one in zip(asked.units, finished, strict=True):
            print(f"{unit.name}  {'to do' if one is None else 'finished'}")
        return 0
    where = make_engine(engine, folder, jobs=jobs, address=address)
    with terminated_like_ctrl_c():
        command = f"python -m bomrl_lite sweep {file}"
        bad = run_sweep(asked, name=file.stem, out=folder, engine=where, command=command)
    for line in bad:
        print(line, file=sys.stderr)
    if bad:
        print(f"{len(bad)} of {len(asked.units)} trainings are not done", file=sys.stderr)
    print(f"table {folder / file.stem}.csv")
    return int(bool(bad))


def grade(
    files: Annotated[tuple[Path, ...], tyro.conf.Positional],
    exercise_set: Annotated[str, tyro.conf.arg(name="set")],
    out: Path,
    jobs: int = 1,
    seed: int = 0,
    resume: bool = False,
    regrade: bool = False,
) -> int:
    """Grade what students sent: gradebook.csv, a summary, a page of feedback for each student.

    Example: python -m bomrl_lite grade submissions.zip --set 03 --jobs 2 --out marks

    Args:
        files: notebooks, folders and zips, also as Canvas, Moodle and Blackboard export them.
        exercise_set: 01 to 06.
        out: folder of the results, outside those that are graded.
        jobs: how many submissions are judged at a time; a process each.
        seed: of the instances that answers are judged on.
        resume: go on with the grading in ``out``: new and changed submissions are judged.
        regrade: judge all anew, and say whose points changed.
    """
    from bomrl_lite.course.classroom.grading import grade_all

    return grade_all(
        files,
        exercise_set=exercise_set,
        out=out,
        jobs=jobs,
        seed=seed,
        resume=resume,
        regrade=regrade,
    )


def classroom(
    action: Annotated[Literal["init"], tyro.conf.Positional],
    folder: Annotated[Path, tyro.conf.Positional],
    root: Path | None = None,
) -> int:
    """Make the folder in which an instructor runs a term with nbgrader.

    Example: python -m bomrl_lite classroom init bomrl-2026

    It holds nbgrader's configuration, the exercise sets as assignments, a gradebook, and a README
    with the commands of a term.

    Args:
        action: init makes the folder.
        folder: to be made; its name becomes that of the course.
        root: folder of the course; by default the current one, or the nearest above it.
    """
    from bomrl_lite.course.classroom.course_folder import README, make_course_folder

    assert action == "init"  # the only one
    make_course_folder(folder, course_root(root))
    print(f"made {folder}; {folder / README} has the commands of a term")
    return 0


def bench(only: tuple[str, ...] = (), against: Path | None = None, root: Path | None = None) -> int:
    """Measure the project's bars, print them and write runs/bench.json.

    Example: python -m bomrl_lite bench --only "cheetah meta-iteration" --against ../before

    Args:
        only: words, each a part of the names of rows, or of measurements; none measures all.
        against: another checkout of this project, measured in the same minutes: the table gets its
            figures and the ratios to them.
        root: folder of the course; by default the current one, or the nearest above it.
    """
    from bomrl_lite.course.bench.main import measure_all

    return measure_all(course_root(root), only=only, against=against)


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

    plots.require_picture(out)
    # A pattern like runs/* names pictures too, the one of the last comparison among them.
    files = [run for run in runs if run.is_file()]
    curves = plots.read_runs([run for run in runs if run not in files] or files)
    plots.use_style()
    plots.write_figure(plots.draw_learning_curves(curves, column), out)
    for file in files:
        print(f"passed over: {file} is no run folder", file=sys.stderr)
    print(f"{plots.last_values(curves, column)}\n\nfigure {out}")
    return 0


def tune(
    method: str | None = None,
    tasks: str | None = None,
    trials: int = 8,
    seeds: int = 2,
    iterations: int = 15,
    out: Path = Path("runs/tune"),
) -> int:
    """Try a method's settings on tasks (Optuna) and print the command that trains with the best.

    Example: python -m bomrl_lite tune --method promp --tasks navigation/circle --trials 8

    The method's own settings are the first trial, each other is within ten times of them. The same
    command with more trials goes on with the search in ``out``.

    Args:
        method: key of the table of methods; left out, the usual one for the tasks.
        tasks: family; one of your own is registered by ``--import MODULE``.
        trials: how many settings are tried, the method's own among them.
        seeds: trainings of one trial.
        iterations: of each training.
        out: folder of the search.
    """
    from bomrl_lite.course import tuning
    from bomrl_lite.training.config import configure

    config = configure(method, tasks=tasks, iterations=iterations)
    found = tuning.tune(config, trials=trials, seeds=seeds, out=out)
    print(f"return {found.usual:+.4f} with the method's own settings, {found.best:+.4f} with")
    print(tuning.flags(config, found))
    return 0


def needs_extra(command: Callable[..., int]) -> Callable[..., int]:
    """Make a command say what to install where a package of an extra is missing."""

    @wraps(command)
    def call(*args: Any, **kwargs: Any) -> int:
        try:
            return command(*args, **kwargs)
        except ModuleNotFoundError as error:
            # Without a name it is one of our own, which says what to do already.
            if not error.name or error.name.startswith("bomrl_lite"):
                raise
            package = error.name.partition(".")[0]
            extra = "classroom" if package in CLASSROOM else "lab"
            raise ModuleNotFoundError(
                f"the package {package} is not installed, and the course "
                f'needs it: pip install "bomrl-lite[{extra}]"'
            ) from error

    return call


COMMANDS = tuple(
    map(
        needs_extra,
        (run, build, calibrate, experiment, sweep, grade, classroom, tune, bench, compare),
    )
)
"""The commands as the command line takes them."""
