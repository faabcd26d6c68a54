"""Going on with a run that was stopped: which of its lessons need not run again."""

from collections.abc import Sequence
from pathlib import Path

from nbformat import NotebookNode

from bomrl_lite.course.execute import Job, Outcome
from bomrl_lite.course.notebook import digest, own_cells, read_notebook
from bomrl_lite.course.running.history import METRICS, StoredRun, read_run, versions_apart
from bomrl_lite.course.running.results import Run


def resume_run(folder: Path, run: Run, made: Sequence[Job | Outcome]) -> list[Job | Outcome]:
    """Put the outcomes that the run in a folder already has in the place of their jobs.

    Args:
        folder: of the run that was stopped.
        run: the one that goes on with it, without lessons yet.
        made: its lessons, as for ``execute_all``.

    Raises:
        FileNotFoundError, ValueError: as ``require_run``.
    """
    stored = require_run(folder, run, made)
    if reason := what_changed(stored, run):
        print(f"{folder}: nothing is taken over, since {reason}")
        return list(made)
    found = [take_over(each, stored) if isinstance(each, Job) else None for each in made]
    print(f"{folder}: {sum(map(bool, found))} of {len(made)} lessons are taken over")
    return [outcome or each for outcome, each in zip(found, made, strict=True)]


def require_run(folder: Path, run: Run, made: Sequence[Job | Outcome]) -> StoredRun:
    """Return the run of a folder, with which another one goes on; it changes nothing there.

    Raises:
        FileNotFoundError: no run is there.
        ValueError: it has another profile, seed, parameters or lessons, or cannot be read.
    """
    if not (folder / METRICS).exists():
        raise FileNotFoundError(
            f"{folder} holds no run to go on with (no {METRICS}): check the folder, or begin one "
            "without --resume"
        )
    stored = read_run(folder)
    check_same(folder, stored, run, [_name(each) for each in made])
    return stored


def check_same(folder: Path, stored: StoredRun, run: Run, lessons: list[str]) -> None:
    """Refuse to go on with another run.

    Raises:
        ValueError: profile, seed, parameters or lessons differ; says which.
    """
    now = {**run._asdict(), "lessons": lessons}
    before = {**stored._asdict(), "lessons": list(stored.lessons)}
    for name in ("profile", "seed", "parameters", "lessons"):
        if before[name] != now[name]:
            raise ValueError(
                f"{folder} holds a run with {name} {before[name]!r}, not {now[name]!r}: "
                "repeat its arguments, or begin another run in another folder, without --resume"
            )


def what_changed(stored: StoredRun, run: Run) -> str:
    """Say what, besides a lesson's source, has changed since a run; nothing if nothing has."""
    apart = versions_apart(stored.versions, run.versions)
    reasons = [f"{name} was {old} and is {new}" for name, (old, new) in apart.items()]
    if stored.code != run.code:
        reasons.append("bomrl_lite or notebooks/results has changed")
    return ", ".join(reasons)


def take_over(job: Job, stored: StoredRun) -> Outcome | None:
    """Return the outcome of a lesson that passed in a run and has not changed since, else None.

    The executed notebook must be the very one that the run left; a kill or a power cut may have
    torn it, a person may have opened it.
    """
    lesson, ran = stored.lessons[job.output.stem], read_notebook(job.output)
    if lesson.status != "passed" or ran is None or digest(ran) != lesson.notebook:
        return None
    if _content(own_cells(ran)) != _content(job.notebook.cells):
        return None
    log = job.output.with_suffix(".log")
    text = log.read_text(encoding="utf-8") if log.exists() else ""
    return Outcome(job.output.stem, "passed", lesson.seconds, ran, log=text, taken_over=True)


def _content(cells: list[NotebookNode]) -> list[tuple[str, str, list[str]]]:
    """Return what decides how cells run; papermill adds to the rest."""
    return [(cell.cell_type, cell.source, cell.metadata.get("tags", [])) for cell in cells]


def _name(each: Job | Outcome) -> str:
    return each.output.stem if isinstance(each, Job) else each.name
