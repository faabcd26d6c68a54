"""Whose a file is, for ``nbgrader zip_collect``.

The rules are those of :mod:`bomrl_lite.course.classroom.submissions`.
"""

import functools
from pathlib import Path
from typing import Any

from nbgrader.plugins import FileNameCollectorPlugin

from bomrl_lite.course.classroom.gradebook import file_names, key
from bomrl_lite.course.classroom.grading import ASSIGNMENTS
from bomrl_lite.course.classroom.sent_files import Unreadable, read_bytes
from bomrl_lite.course.classroom.sent_notebook import read_notebook
from bomrl_lite.course.classroom.submissions import Submission, collect


class SubmissionCollector(FileNameCollectorPlugin):
    """Takes of each student's files the one that counts, under the name that was handed out."""

    def collect(self, submitted_file: str) -> dict[str, str] | None:
        """Say whose a file is; None if it does not count."""
        application: Any = self.parent
        released = ASSIGNMENTS.get(application.coursedir.assignment_id)
        if released is None:  # an assignment of the instructor's own
            return super().collect(submitted_file)
        extracted = Path(application._format_collect_path(application.extracted_directory))
        student = _students(extracted, released).get(Path(submitted_file))
        if student is None:
            return None
        return {"student_id": student, "file_id": released}


@functools.cache
def _students(folder: Path, released: str) -> dict[Path, str]:
    """Return the files that count, and whose they are, by a name that a folder may have."""
    submissions = collect([folder], released)
    names = file_names(submissions)
    return {_counts(each): names[key(each)] for each in submissions}


def _counts(submission: Submission) -> Path:
    """Return the last file that can be read, or else the last."""
    for found in submission.files:
        try:
            read_notebook(read_bytes(found))
        except Unreadable:
            continue
        return found.path
    return submission.files[0].path
