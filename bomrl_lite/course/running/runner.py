"""Executing the lessons and comparing their figures with the ranges that were measured."""

import json
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from datetime import datetime
from pathlib import Path
from typing import Any

from nbformat import NotebookNode

from bomrl_lite.course.building.plan import lesson, lesson_sources
from bomrl_lite.course.building.sources import BuildError
from bomrl_lite.course.execute import Failure, Job, Outcome
from bomrl_lite.course.parameters import assigned_names, check_names, check_values
from bomrl_lite.course.running.batch import choose, execute_all, limits_for
from bomrl_lite.course.running.history import in_words
from bomrl_lite.course.running.ledger import Ledger
from bomrl_lite.course.running.results import (
    Run,
    code_digest,
    describe,
    ranges_at,
    tally,
    versions,
)
from bomrl_lite.course.running.resuming import require_run, resume_run
from bomrl_lite.require import require_whole
from bomrl_lite.training.folder_guard import locked

INTERRUPTED = 130


def run_course(
    root: Path,
    *,
    profile: str = "class",
    seed: int = 0,
    out: Path | None = None,
    resume: bool = False,
    lessons: Sequence[str] = (),
    jobs: int = 1,
    given: Mapping[str, Any] | None = None,
) -> int:
    """Execute the lessons through papermill, compare their figures, write a report.

    The notebooks are made from their sources on the spot. ``out`` (by default a new folder under
    runs/) receives the executed notebooks and their logs, metrics.json, junit.xml, report.html,
    which are whole again after each lesson.

    Args:
        root: folder that holds notebooks/.
        profile: smoke, class or full.
        seed: given to every lesson.
        out: folder of the results; those of a run that is there already are replaced.
        resume: go on with the run in ``out``. Lessons that passed there are taken over if their
            sources, the versions, ``bomrl_lite`` and the stored tables are what they were.
        lessons: names such as 01_maml_baseline; none means all.
        jobs: how many lessons run at a time.
        given: further parameters; every lesson must have them.

    Returns:
        0 if every lesson passed with every figure in its range, else 1; 130 after Ctrl-C.

    Raises:
        ValueError: an unknown profile, lesson or parameter, a seed or a number of jobs that is
            none, ranges that cannot be read, or another run to resume; before any lesson runs.
        OSError: the folder of the results cannot be made, holds no run to resume, or another
            process works in it; also before.
    """
    check_values(profile, seed)
    require_whole("jobs", jobs)
    if resume and out is None:
        raise ValueError("resume needs the folder of the run to go on with: add out (--out)")
    limits, sources, started = limits_for(profile), lesson_sources(root), datetime.now()
    paths = choose(sources, lessons, "lesson")
    ranges = ranges_at(root, seed, [path.stem for path in sources])
    folder = out or _new_folder(root, f"{started:%Y%m%d-%H%M%S}-{profile}-seed{seed}")
    parameters = {**(given or {}), "profile": profile, "seed": seed}
    made = [_lesson_job(root, path, folder.resolve(), parameters) for path in paths]
    for job in made:
        if isinstance(job, Job):
            check_names(parameters, _parameters_of(job.notebook))
    shown = json.loads(json.dumps(given or {}, default=str))  # as metrics.json will hold them
    stamp = f"{started:%Y-%m-%d %H:%M:%S}"
    run = Run(stamp, profile, seed, shown, versions(), code_digest(root), [])
    if resume:
        require_run(folder, run, made)  # before the lock, which leaves a file in the folder
    with _held(folder):
        if resume:
            made = resume_run(folder, run, made)
        ledger = Ledger(folder, run, list(map(_at_first, made)), ranges)
        interrupted = execute_all(made, limits, jobs, ledger.add)[1]
    _print_verdict(ledger.run)
    if changes := in_words(ledger.history):
        print(changes)
    if interrupted:
        print(f"stopped; to go on, repeat the command with --out {folder} --resume")
    print(f"report: {folder / 'report.html'}")
    return INTERRUPTED if interrupted else int(not ledger.run.ok)


def _new_folder(root: Path, stamp: str) -> Path:
    """Name a folder under runs/ that is not there yet."""
    names = [stamp, *(f"{stamp}-{number}" for number in range(2, 100))]
    return next(folder for name in names if not (folder := root / "runs" / name).exists())


def _held(folder: Path) -> AbstractContextManager[object]:
    """Make the folder of the results, and keep it from others, before anything runs for it."""
    stack = ExitStack()
    try:
        stack.enter_context(locked(folder))
    except BlockingIOError:
        raise
    except OSError as error:
        reason = f"cannot write to {folder} ({error.strerror})"
        raise OSError(f"{reason}: name another folder with --out") from error
    return stack


def _lesson_job(root: Path, path: Path, out: Path, parameters: dict[str, Any]) -> Job | Outcome:
    """Make the job of a lesson, or its failure if its source is faulty."""
    try:
        notebook = lesson(root, path)
    except BuildError as error:
        failure = Failure(0, "", "no notebook can be made of its source", str(error))
        return Outcome(path.stem, "failed", failure=failure)
    return Job(notebook, out / f"{path.stem}.ipynb", root / path.parents[1], parameters)


def _at_first(each: Job | Outcome) -> Outcome:
    """Return what is known of a lesson before the run."""
    return Outcome(each.output.stem, "not run") if isinstance(each, Job) else each


def _parameters_of(notebook: NotebookNode) -> list[str]:
    """Return the names in the cell that is tagged parameters."""
    cells = [c for c in notebook.cells if "parameters" in c.metadata.get("tags", ())]
    return [name for cell in cells for name in assigned_names(cell.source)]


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
