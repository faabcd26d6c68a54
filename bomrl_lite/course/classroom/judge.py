"""Judges what a learner has handed in: each exercise's points, decided anew."""

import contextlib
import io
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Literal, NamedTuple, Self

import nbformat

from bomrl_lite.course.checks import CHECKS_BY_SET
from bomrl_lite.course.checks.engine import Check, CheckFailed, NotSolved

Status = Literal["solved", "partly", "wrong", "unsolved", "missing", "refused"]


@dataclass(frozen=True)
class Limits:
    """What the answer to one exercise may use."""

    seconds: float = 60.0
    """Of processor time; wall clock has a generous multiple."""
    memory_mib: int = 4096
    file_mib: int = 16
    processes: int = 0


class Verdict(NamedTuple):
    """What one exercise has earned, and why not more."""

    exercise: str
    name: str
    points: float
    max_points: float
    status: Status
    step: str | None
    """The first step that failed."""
    message: str
    """One paragraph for the learner; empty if solved."""
    cause: str | None


class Judge:
    """FIRST VERSION, without a sandbox: answers run in this process."""

    def __init__(
        self,
        *,
        seed: int = 0,
        limits: Limits = Limits(),
        sandbox: Literal["auto", "bubblewrap", "none"] = "auto",
    ) -> None:
        self.seed, self.limits, self.sandbox = seed, limits, sandbox
        self.isolation = "No isolation yet: answers run in the grader's own process."

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        pass

    def judge(self, notebook: nbformat.NotebookNode, exercise_set: str) -> list[Verdict]:
        """Judge every exercise of a set, in order."""
        space: dict[str, Any] = {}
        for cell in notebook.cells:
            if cell.cell_type == "code" and "checks." not in cell.source:
                with contextlib.suppress(Exception):
                    exec(cell.source, space)
        return [_verdict(check, space.get(check.name)) for check in CHECKS_BY_SET[exercise_set]]


def _verdict(check: Check, function: Any) -> Verdict:
    made = [check.exercise, check.name]
    if function is None:
        return Verdict(*made, 0, check.max_points, "missing", None, "no definition found", None)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            check(function)
    except NotSolved as open_:
        return Verdict(*made, 0, check.max_points, "unsolved", None, str(open_), None)
    except CheckFailed as failed:
        names = [step.name for step in check.steps]
        earned = sum(check.points.get(name, 0) for name in names[: names.index(failed.step)])
        status = "partly" if earned else "wrong"
        return Verdict(
            *made, earned, check.max_points, status, failed.step, str(failed), failed.cause
        )
    return Verdict(*made, check.max_points, check.max_points, "solved", None, "", None)
