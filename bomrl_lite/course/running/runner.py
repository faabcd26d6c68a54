"""Executing the lessons and comparing their figures with the ranges that were measured."""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from nbformat import NotebookNode

from bomrl_lite.course.building.plan import lesson, lesson_sources
from bomrl_lite.course.building.sources import BuildError
from bomrl_lite.course.execute import Failure, Job, Outcome
from bomrl_lite.course.parameters import assigned_names, check_names, check_values
from bomrl_lite.course.running.batch import choose, execute_all, limits_for
from bomrl_lite.course.running.report import write_report
from bomrl_lite.course.running.results import (
    Run,
    describe,
    judge,
    ranges_at,
    tally,
    to_junit,
    to_metrics,
    versions,
)
from bomrl_lite.training.files import write_atomically

INTERRUPTED = 130


def run_course(
    root: Path,
    *,
    profile: str = "class",
    seed: int = 0,
    out: Path | None = None,
    lessons: Sequence[str] = (),
    jobs: int = 1,
    given: Mapping[str, Any] | None = None,
) -> int:
    """Execute the lessons through papermill, compare their figures, write a report.

    The notebooks are made from their sources on the spot. ``out`` (by default a new folder under
    runs/) receives the executed notebooks and their logs, metrics.json, junit.xml, report.html.

    Args:
        root: folder that holds notebooks/.
        profile: smoke, class or full.
        seed: given to every lesson.
        out: folder of the results.
        lessons: names such as 01_maml_baseline; none means all.
        jobs: how many lessons run at a time.
        given: further parameters; every lesson must have them.

    Returns:
        0 if every lesson passed with every figure in its range, else 1; 130 after Ctrl-C.

    Raises:
        ValueError: an unknown profile, lesson or parameter, a seed that is none, or ranges that
            cannot be read; before any lesson runs.
        OSError: the folder of the results cannot be made; also before.
    """
    check_values(profile, seed)
    limits, ranges = limits_for(profile), ranges_at(root, seed)
    paths, started = choose(lesson_sources(root), lessons, "lesson"), datetime.now()
    folder = out or _new_folder(root, f"{started:%Y%m%d-%H%M%S}-{profile}-seed{seed}")
    parameters = {**(given or {}), "profile": profile, "seed": seed}
    made = [_lesson_job(root, path, folder.resolve(), parameters) for path in paths]
    for job in made:
        if isinstance(job, Job):
            check_names(parameters, _parameters_of(job.notebook))
    _make(folder)
    outcomes, interrupted = execute_all(made, limits, jobs)
    judged = [judge(each, ranges.get(each.name, {}).get(profile, {})) for each in outcomes]
    run = Run(f"{started:%Y-%m-%d %H:%M}", profile, seed, versions(), judged)
    _write_results(folder, run)
    _print_verdict(run)
    print(f"report: {folder / 'report.html'}")
    return INTERRUPTED if interrupted else int(not run.ok)


def _new_folder(root: Path, stamp: str) -> Path:
    """Name a folder under runs/ that is not there yet."""
    names = [stamp, *(f"{stamp}-{number}" for number in range(2, 100))]
    return next(folder for name in names if not (folder := root / "runs" / name).exists())


def _make(folder: Path) -> None:
    """Make the folder of the results before anything runs for it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        reason = f"cannot write to {folder} ({error.strerror})"
        raise OSError(f"{reason}: name another folder with --out") from error


def _lesson_job(root: Path, path: Path, out: Path, parameters: dict[str, Any]) -> Job | Outcome:
    """Make the job of a lesson, or its failure if its source is faulty."""
    try:
        notebook = lesson(root, path)
    except BuildError as error:
        failure = Failure(0, "", "no notebook can be made of its source", str(error))
        return Outcome(path.stem, "failed", failure=failure)
    return Job(notebook, out / f"{path.stem}.ipynb", root / path.parents[1], parameters)


def _parameters_of(notebook: NotebookNode) -> list[str]:
    """Return the names in the cell that is tagged parameters."""
    cells = [c for c in notebook.cells if "parameters" in c.metadata.get("tags", ())]
    return [name for cell in cells for name in assigned_names(cell.source)]


def _write_results(folder: Path, run: Run) -> None:
    for each in run.lessons:
        write_atomically(folder / f"{each.outcome.name}.log", each.outcome.log.encode())
    metrics = json.dumps(to_metrics(run), indent=1, ensure_ascii=False) + "\n"
    write_atomically(folder / "metrics.json", metrics.encode())
    write_atomically(folder / "junit.xml", to_junit(run))
    write_report(folder / "report.html", run)


def _print_verdict(run: Run) -> None:
    """Print every traceback and every figure that is not inside its range."""
    for each in run.lessons:
        if failure := each.outcome.failure:
            print(f"\n{each.outcome.name}, cell {failure.cell}: {failure.error}")
            print("\n".join(f"  | {line}" for line in failure.source.splitlines()))
            print(failure.traceback)
        for figure in each.figures:
            if figure.verdict != "inside":
                print(f"{each.outcome.name}: {describe(figure)}")
    sound = sum(each.ok for each in run.lessons)
    print(f"figures: {tally(figure for each in run.lessons for figure in each.figures)}")
    print(f"{sound} of {len(run.lessons)} lessons are as they should be")
