"""Grading what a class sent: side by side, stopped and gone on with at will, equal bit by bit."""

import json
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import bomrl_lite
from bomrl_lite.course.checks import CHECKS_BY_SET
from bomrl_lite.course.classroom.gradebook import (
    GRADEBOOK,
    NOT_YET,
    PAGES,
    SUMMARY,
    Gradebook,
    key,
    total,
)
from bomrl_lite.course.classroom.jobs import Marks, Task, judge_all
from bomrl_lite.course.classroom.judge import Judge, Verdict
from bomrl_lite.course.classroom.sent_files import Bounds
from bomrl_lite.course.classroom.submissions import Submission, collect, fingerprint
from bomrl_lite.course.running.results import digest_of, versions
from bomrl_lite.require import require_seed, require_whole
from bomrl_lite.training.files import write_atomically
from bomrl_lite.training.folder_guard import locked
from bomrl_lite.training.progress import make_bars
from bomrl_lite.training.stopping import stopping_once, terminated_like_ctrl_c

NOTEBOOKS = {
    "01": "01_maml_baseline",
    "02": "02_credit_assignment",
    "03": "03_universal_adaptation",
    "04": "04_implicit_differentiation",
    "05": "05_near_optimality",
    "06": "06_gpu_locomotion",
}
"""Names of the notebooks that are handed out."""
ASSIGNMENTS = {f"set{number}": name for number, name in NOTEBOOKS.items()}
"""The same, by the names that nbgrader has for the sets."""
INTERRUPTED = 130

Origin = dict[str, Any]
"""What marks depend on beside the submission: set, seed, versions, code."""


def grade_all(
    paths: Sequence[Path],
    *,
    exercise_set: str,
    out: Path,
    jobs: int = 1,
    seed: int = 0,
    resume: bool = False,
    regrade: bool = False,
    make_judge: Callable[[], Judge] | None = None,
    bounds: Bounds = Bounds(),  # noqa: B008 - frozen
) -> int:
    """Judge what students sent and write gradebook.csv, summary.txt and feedback/ into a folder.

    Marks are on the disk after each student, so that a kill loses only submissions in work. Equal
    submissions, seed, versions and code make equal files, byte by byte, whatever ``jobs`` is and
    however often it was stopped.

    Args:
        paths: notebooks, folders and zips that students sent.
        exercise_set: such as "03".
        out: folder of the results.
        jobs: how many submissions are judged at a time.
        seed: of the instances that answers are judged on.
        resume: go on with the grading in ``out``: who is judged there already is taken over, unless
            the submission, the versions or the code have changed.
        regrade: judge all anew that is in ``out`` already, and say whose points changed.
        make_judge: makes the judge of a process; None is a :class:`Judge` with the seed.
        bounds: how much of a file is read.

    Returns:
        0; 1 if the grader failed at a submission; 130 after Ctrl-C.

    Raises:
        ValueError: an unknown set, no notebook, a number that is none, ``resume`` and ``regrade``
            at once, a folder that lies in what is graded, or one with marks of another grading.
        FileNotFoundError: a path does not exist, or there is nothing to go on with.
        OSError: the folder cannot be written to, or another process grades into it.
    """
    if exercise_set not in CHECKS_BY_SET:
        raise ValueError(
            f"unknown exercise set {exercise_set!r}: choose one of {', '.join(CHECKS_BY_SET)}"
        )
    require_whole("jobs", jobs)
    require_seed(seed)
    if resume and regrade:
        raise ValueError("--resume keeps what is judged, --regrade judges it anew: give one")
    submissions = collect(paths, NOTEBOOKS[exercise_set], bounds)
    _require_place(out, paths, resume=resume, regrade=regrade)
    origin = {
        "set": exercise_set,
        "seed": seed,
        "versions": versions(),
        "code": digest_of(Path(bomrl_lite.__file__).parent),
    }
    task = Task(make_judge or partial(Judge, seed=seed), exercise_set, bounds)
    with locked(out):
        for draft in out.rglob(".*.tmp"):  # what a kill left
            draft.unlink()
        stored = _Stored(out, Gradebook(out, exercise_set, submissions), origin)
        return stored.grade(submissions, task, jobs, anew=regrade)


def _require_place(out: Path, paths: Sequence[Path], *, resume: bool, regrade: bool) -> None:
    """Refuse a folder of which the results would be lost, or be taken for submissions."""
    for path in paths:
        if path.is_dir() and out.resolve().is_relative_to(path.resolve()):
            raise ValueError(
                f"--out {out} lies in {path}, whose files are graded: name a folder outside it"
            )
    there = (out / GRADEBOOK).exists()
    if (resume or regrade) and not there:
        raise FileNotFoundError(
            f"{out} holds no grading (no {GRADEBOOK}): check the folder, or leave out "
            f"--{'resume' if resume else 'regrade'}"
        )
    if there and not (resume or regrade):
        raise ValueError(
            f"{out} holds a grading: --resume goes on with it, --regrade judges all anew, or name "
            "another folder"
        )


class _Stored:
    """Marks on the disk, one file for each student; the gradebook follows from them."""

    def __init__(self, out: Path, book: Gradebook, origin: Origin) -> None:
        self.out, self.book, self.origin = out, book, origin

    def grade(self, submissions: Sequence[Submission], task: Task, jobs: int, *, anew: bool) -> int:
        """Judge who is not judged yet, or all; see :func:`grade_all`."""
        before = {key(each): stored for each in submissions if (stored := self._read(each))}
        self._require_same(before, ("set",) if anew else ("set", "seed"))
        kept = (
            [] if anew else [s for s in submissions if self._is_good(before.get(key(s)), s, task)]
        )
        for each in kept:
            self.book.add(before[key(each)][0])
        self.book.write()
        if kept:
            print(f"{self.out}: {len(kept)} of {len(submissions)} students are taken over")
        left = [each for each in submissions if each not in kept]
        interrupted = self._judge(left, task, jobs)
        if anew:
            print(_changes({student: marks for student, (marks, _) in before.items()}, self.book))
        print(f"\n{(self.out / SUMMARY).read_text(encoding='utf-8')}")
        if interrupted:
            print("stopped; to go on, repeat the command with --resume")
        print(f"gradebook: {self.out / GRADEBOOK}; a page for each student: {self.out / PAGES}")
        failed = any(not marks.final for marks in self.book.marks.values())
        return INTERRUPTED if interrupted else int(failed)

    def _require_same(
        self, before: dict[tuple[str, str], tuple[Marks, Origin]], names: Sequence[str]
    ) -> None:
        """Refuse to mix marks of different sets or seeds."""
        for _, origin in before.values():
            for name in names:
                if origin[name] != self.origin[name]:
                    raise ValueError(
                        f"{self.out} holds a grading with {name} {origin[name]!r}, not "
                        f"{self.origin[name]!r}: repeat its arguments, or name another folder"
                    )

    def _is_good(
        self, stored: tuple[Marks, Origin] | None, submission: Submission, task: Task
    ) -> bool:
        """Tell whether judging a submission again would give what is stored."""
        if stored is None or not stored[0].final or stored[1] != self.origin:
            return False
        same = stored[0][:3] == submission[:3]
        return same and stored[0].fingerprint == fingerprint(submission, task.bounds)

    def _judge(self, left: Sequence[Submission], task: Task, jobs: int) -> bool:
        """Judge submissions, enter each when it is done; tell whether that was interrupted."""
        try:
            with make_bars() as bars, terminated_like_ctrl_c(), stopping_once() as stop:
                whole, begun = bars.add_task("submissions", total=len(left)), dict[str, float]()

                def begin(submission: Submission) -> None:
                    begun[submission.student] = time.monotonic()

                def end(marks: Marks) -> None:
                    with stop.held():
                        self._write(marks)
                    seconds = time.monotonic() - begun[marks.student]
                    bars.console.print(f"{marks.student}: {_in_words(marks)}, {seconds:.1f} s")
                    bars.advance(whole)

                show = bars.console.print
                judge_all(left, task, jobs, on_ready=show, on_begin=begin, on_end=end)
        except KeyboardInterrupt:
            return True
        return False

    def _write(self, marks: Marks) -> None:
        text = json.dumps({"origin": self.origin, "marks": marks}, ensure_ascii=True)
        write_atomically(self._path(marks), text.encode())
        self.book.add(marks)
        self.book.write()

    def _path(self, each: Submission | Marks) -> Path:
        return self.out / "results" / f"{self.book.names[key(each)]}.json"

    def _read(self, submission: Submission) -> tuple[Marks, Origin] | None:
        """Return a student's marks of whatever grading; None if there are none to be read."""
        try:
            stored = json.loads(self._path(submission).read_text(encoding="utf-8"))
            marks, origin = Marks(*stored["marks"]), dict(stored["origin"])
            verdicts = tuple(Verdict(*verdict) for verdict in marks.verdicts)
            known = key(marks) == key(submission) and origin.keys() == self.origin.keys()
            return (marks._replace(verdicts=verdicts), origin) if known else None
        except (OSError, ValueError, TypeError, KeyError):
            return None


def _in_words(marks: Marks) -> str:
    if not marks.verdicts:
        return f"no marks ({marks.note})"
    most = sum(verdict.max_points for verdict in marks.verdicts)
    return f"{total(marks):g} of {most:g} points"


def _changes(before: dict[tuple[str, str], Marks], book: Gradebook) -> str:
    """Say whose points are others than before."""
    changed = [
        f"{now.student}: {_in_words(old)} before, {_in_words(now)} now"
        for student, old in before.items()
        if (now := book.marks[student]).note != NOT_YET and _points(old) != _points(now)
    ]
    same = len(before) - len(changed)
    return "\n".join([f"judged anew: {same} of {len(before)} have the same points", *changed])


def _points(marks: Marks) -> list[float]:
    return [verdict.points for verdict in marks.verdicts]
