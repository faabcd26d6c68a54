"""What comes of a class: gradebook.csv, summary.txt and a page of feedback for each student.

All of it follows from the marks and nothing else, so that equal marks make equal bytes.
"""

import re
import statistics
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from hashlib import sha256
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined, Template

from bomrl_lite.course.checks import CHECKS_BY_SET
from bomrl_lite.course.classroom.jobs import Marks
from bomrl_lite.course.classroom.judge import Verdict
from bomrl_lite.course.classroom.submissions import Submission
from bomrl_lite.training.files import csv_text, write_atomically
from bomrl_lite.training.tables import as_table

GRADEBOOK, SUMMARY, PAGES = "gradebook.csv", "summary.txt", "feedback"
NOT_YET = "not judged yet"
_STATES = ("solved", "partly", "wrong", "unsolved", "missing", "refused")
_FORMULA = tuple("=+-@\t")
"""With one of these a spreadsheet takes a text for a formula."""


class Gradebook:
    """The files of a class, whole from the start and again after each student."""

    def __init__(self, folder: Path, exercise_set: str, submissions: Sequence[Submission]) -> None:
        self.folder, self.exercise_set = folder, exercise_set
        self.names = file_names(submissions)
        self.marks = {
            key(each): Marks(*each[:3], "", (), NOT_YET, "", final=False) for each in submissions
        }
        self._template = feedback_template()

    def add(self, marks: Marks) -> None:
        """Enter a student's marks, and write the page for the student."""
        self.marks[key(marks)] = marks
        page = self._template.render(
            marks=marks, exercise_set=self.exercise_set, worth=worth(self.exercise_set)
        )
        path = self.folder / PAGES / f"{self.names[key(marks)]}.html"
        write_atomically(path, page.encode())

    def write(self) -> None:
        """Write the table and the summary."""
        every = list(self.marks.values())
        table = csv_text(*gradebook_rows(every, self.exercise_set))
        write_atomically(self.folder / GRADEBOOK, table.encode("utf-8", "replace"))
        summary = summary_text(every, self.exercise_set)
        write_atomically(self.folder / SUMMARY, summary.encode("utf-8", "replace"))


def key(each: Submission | Marks) -> tuple[str, str]:
    """Return what tells students apart: the name, and the LMS's number."""
    return each.student, each.id


def file_names(submissions: Iterable[Submission]) -> dict[tuple[str, str], str]:
    """Return a name for the files of each student: that of the student, where a disk takes it."""
    plain = {key(s): re.sub(r"[^\w-]+", "_", s.student)[:60].strip("_") for s in submissions}
    often = Counter(name.casefold() for name in plain.values())
    return {
        student: name
        if name and often[name.casefold()] == 1
        else f"{name}-{sha256(repr(student).encode()).hexdigest()[:8]}"
        for student, name in plain.items()
    }


def worth(exercise_set: str) -> dict[str, str]:
    """Say for each exercise of a set which steps earn points, and how many."""
    return {
        check.exercise: ", ".join(f"{step} {points}" for step, points in check.points.items())
        for check in CHECKS_BY_SET[exercise_set]
    }


def total(marks: Marks) -> float:
    """Return the points of a student, all exercises together."""
    return sum(verdict.points for verdict in marks.verdicts)


def first_failed(marks: Marks) -> Verdict | None:
    """Return the first exercise that is not solved."""
    return next((verdict for verdict in marks.verdicts if verdict.status != "solved"), None)


def gradebook_rows(
    every: Iterable[Marks], exercise_set: str
) -> tuple[list[str], list[Mapping[str, str]]]:
    """Return the columns and rows of gradebook.csv; without a notebook, points are left blank."""
    checks = CHECKS_BY_SET[exercise_set]
    numbers = [check.exercise for check in checks]
    most = f"{sum(check.max_points for check in checks):g}"
    columns = ["student", "id", "late", "file", *numbers, "total", "max", "failed", "message"]
    rows = list[Mapping[str, str]]()
    for marks in every:
        failed = first_failed(marks)
        step = failed and (failed.step or failed.status)
        row = {
            "student": marks.student,
            "id": marks.id,
            "late": "late" if marks.late else "",
            "file": marks.file,
            **dict.fromkeys(numbers, ""),
            **{verdict.exercise: f"{verdict.points:g}" for verdict in marks.verdicts},
            "total": f"{total(marks):g}" if marks.verdicts else "",
            "max": most,
            "failed": f"{failed.exercise} {failed.name}: {step}" if failed else "",
            "message": failed.message if failed else "",
            "note": marks.note,
        }
        rows.append({name: _as_cell(text) for name, text in row.items()})
    return [*columns, "note"], rows


def summary_text(every: Sequence[Marks], exercise_set: str) -> str:
    """Return what to explain again: states of each exercise, then the mistakes by their number."""
    judged = [marks for marks in every if marks.verdicts]
    most = sum(check.max_points for check in CHECKS_BY_SET[exercise_set])
    said = [f"Set {exercise_set}: {len(every)} students, {len(judged)} with marks"]
    if judged:
        totals = sorted(map(total, judged))
        said[0] += (
            f"; of {most:g} points the mean is {statistics.fmean(totals):.2f}, "
            f"the median {statistics.median(totals):g}"
        )
        said += ["", _states_of_exercises(judged), "", *_mistakes(judged)]
    if rest := [(marks.student, marks.note) for marks in every if not marks.verdicts]:
        said += ["", "Without marks", as_table(("student", "why, and what to do"), rest)]
    return "\n".join(said) + "\n"


def _states_of_exercises(judged: Sequence[Marks]) -> str:
    rows = []
    for verdicts in zip(*(marks.verdicts for marks in judged), strict=True):
        states = Counter(verdict.status for verdict in verdicts)
        mean = statistics.fmean(verdict.points for verdict in verdicts)
        points = f"{mean:.2f} of {verdicts[0].max_points:g}"
        counts = (str(states[state] or "") for state in _STATES)
        rows.append((f"{verdicts[0].exercise} {verdicts[0].name}", points, *counts))
    return as_table(("exercise", "mean points", *_STATES), rows, right=("mean points", *_STATES))


def _mistakes(judged: Sequence[Marks]) -> list[str]:
    """Return how many failed at which step of which exercise, and why, the most frequent first."""
    found = Counter(
        (f"{verdict.exercise} {verdict.name}", verdict.step, verdict.cause or "not known")
        for marks in judged
        for verdict in marks.verdicts
        if verdict.step
    )
    if not found:
        return ["No answer fails at a step."]
    ordered = sorted(found.items(), key=lambda each: (-each[1], each[0]))
    rows = [(str(number), *_lines(mistake)) for mistake, number in ordered]
    header = ("students", "exercise", "step", "likely cause")
    return ["What to explain again", as_table(header, rows, right=("students",))]


def _lines(texts: Iterable[str | None]) -> list[str]:
    return [" ".join((text or "").split()) for text in texts]


def _as_cell(text: str) -> str:
    """Return a text of one line that a spreadsheet shows and never computes."""
    line = " ".join(text.split())
    return f"'{line}" if line.startswith(_FORMULA) else line


def feedback_template() -> Template:
    """Return the template of the page for a student; whatever a student sent is escaped in it."""
    loader = PackageLoader("bomrl_lite.course.classroom", ".")
    environment = Environment(loader=loader, autoescape=True, undefined=StrictUndefined)
    environment.trim_blocks = environment.lstrip_blocks = True
    environment.globals["total"] = total
    return environment.get_template("feedback.html.j2")
