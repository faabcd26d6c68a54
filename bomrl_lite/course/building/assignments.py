"""Exercise notebooks as assignments of nbgrader: what is an answer, what a test, what it is worth.

The metadata are those of nbgrader's schema 3; a notebook server without nbgrader ignores them.
Names of cells follow the numbers of the exercises, so that they outlive a rebuild.
"""

import copy
from collections.abc import Mapping
from typing import Any

from nbformat import NotebookNode

SCHEMA = 3
PARAMETERS = "parameters"

Points = Mapping[str, Mapping[str, int]]
"""Number of an exercise -> step of its check -> points."""


def as_assignment(notebook: NotebookNode, points: Points) -> NotebookNode:
    """Return an exercise notebook whose cells nbgrader knows.

    Each exercise cell is an answer. The check after it is a locked test, whose first line shows
    what each step is worth. The cell of parameters is locked, too: nbgrader restores it before it
    grades, whatever ``unsolved`` a learner has set.

    Args:
        notebook: with every exercise cell followed by its check.
        points: of the exercises; one that is not there is worth nothing.
    """
    result, exercise = copy.deepcopy(notebook), None
    for cell in result.cells:
        tags = cell.metadata.get("tags", ())
        if PARAMETERS in tags and cell.cell_type == "code":
            cell.metadata["nbgrader"] = _metadata(PARAMETERS, locked=True)
        elif "exercise" in tags:
            exercise = str(cell.metadata.exercise)
            cell.metadata["nbgrader"] = _metadata(f"ex-{_as_id(exercise)}", solution=True)
        elif "check" in tags and exercise is not None:
            worth = points.get(exercise, {})
            cell.source = f"{_in_words(worth)}\n{cell.source}" if worth else cell.source
            cell.metadata["nbgrader"] = _metadata(
                check_id(exercise), locked=True, points=sum(worth.values())
            )
            exercise = None  # a second check of the same exercise is the learner's own affair
    return result


def check_id(exercise: str) -> str:
    """Return nbgrader's name of the test of an exercise."""
    return f"check-{_as_id(exercise)}"


def _as_id(exercise: str) -> str:
    """Nbgrader refuses a dot."""
    return exercise.replace(".", "_")


def _in_words(worth: Mapping[str, int]) -> str:
    """Say in a comment what the steps are worth, as in ``# 3 points: random values 2, ...``."""
    return f"# {sum(worth.values())} points: " + ", ".join(f"{k} {v}" for k, v in worth.items())


def _metadata(
    name: str, *, locked: bool = False, solution: bool = False, points: int | None = None
) -> dict[str, Any]:
    """Return nbgrader's record of a cell; one with points is a test."""
    record = {
        "grade": points is not None,
        "grade_id": name,
        "locked": locked,
        "schema_version": SCHEMA,
        "solution": solution,
        "task": False,
    }
    return record if points is None else {**record, "points": points}
