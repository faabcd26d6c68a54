"""The gallery of slips: what known mistakes look like, shown for exercises that are solved."""

from collections.abc import Sequence

import numpy as np

from bomrl_lite.course.checks.engine import EXPLAINED, Check, Slips, error_of
from bomrl_lite.course.checks.session import SESSION
from bomrl_lite.training.tables import as_table

SHOWN = 3
"""Slips of each exercise: those that are nearest to the right answer."""


def print_gallery(checks: Sequence[Check]) -> None:
    """Print, for solved exercises, the slips that are hardest to see, and how far off they are.

    Args:
        checks: of the exercises that the notebook has met. What is not solved is not shown.
    """
    rows: list[tuple[str, str, str]] = []
    closed = []
    for check in checks:
        if SESSION.states.get(check.exercise) == "solved":
            nearest = sorted(_sizes(check).items(), key=lambda item: item[1])[:SHOWN]
            rows += [
                (f"{check.exercise} {check.name}", f"{size:.0e}", cause) for cause, size in nearest
            ]
        else:
            closed.append(check.exercise)
    print(as_table(("exercise", "error", "slip that is hard to see"), rows, right=("error",)))
    print("error: of the answer with the slip, relative; its median over random instances")
    if closed:
        print(f"shown when it is solved: {', '.join(closed)}")


def _sizes(check: Check) -> dict[str, float]:
    """Return how far the answer with each slip is from the right one, as seen by the check.

    A slip that does no harm on most instances is left out: it would seem to be none.
    """
    usual = [question for question in check.make_questions() if not question.separates]
    with np.errstate(all="ignore"):
        found: list[tuple[np.ndarray, Slips]] = [
            (question.expected, question.slips()) for question in usual[1:EXPLAINED]
        ]
    sizes = {
        cause: float(np.median([error_of(slips[cause], right) for right, slips in found]))
        for cause in found[0][1]
        if all(_comparable(slips[cause], right) for right, slips in found)
    }
    return {cause: size for cause, size in sizes.items() if size > check.tolerance}


def _comparable(wrong: np.ndarray, right: np.ndarray) -> bool:
    return np.shape(wrong) == right.shape and bool(np.isfinite(wrong).all())
