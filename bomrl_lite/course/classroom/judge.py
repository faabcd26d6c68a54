"""Judges what a learner has handed in: each exercise's points, decided anew.

The checks of the notebooks run here, with instances drawn for the judge's seed; the learner's
function runs in a process of its own, and only tensors and numbers come back from it. Messages are
those of the check; the points are those of the steps before the first that fails.

What answers may use of the package is what their notebook lends them (``LENT``): nothing else lies
in the worker's folder, and asking for it is refused by name. A solution whose source was copied
into the notebook is code like any other, and nobody can tell it from an answer by its values.
"""

import contextlib
import io
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Literal, NamedTuple, Self

import nbformat

from bomrl_lite.course.checks import CHECKS_BY_SET
from bomrl_lite.course.checks.engine import Check, CheckFailed, Function, NotSolved
from bomrl_lite.course.checks.session import SESSION
from bomrl_lite.course.classroom.extract import extract, why_unreadable
from bomrl_lite.course.classroom.proxy import Afar, Stopped
from bomrl_lite.course.classroom.sandbox import Sandbox, Worker, WorkerLost

Status = Literal["solved", "partly", "wrong", "unsolved", "missing", "refused"]

LENT: dict[str, tuple[str, ...]] = {"03": ("mdp",), "04": ("mdp",), "05": ("mdp",)}
"""Set -> modules of the package that its notebook lends to answers; every set has the records."""

SET_UP = {"02": "torch.set_default_dtype(torch.float64)"}
SET_UP["04"] = SET_UP["02"]
"""Set -> what its notebook does to torch before the first exercise."""


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
    """Judges submissions, one after the other, with one warm worker; a context manager.

    Args:
        seed: of the instances and of the answers' own generators; the same seed, the same verdicts.
        limits: of each exercise.
        sandbox: "bubblewrap" insists on it, "none" does without, "auto" takes it where it works.

    Raises:
        RuntimeError: the worker does not start, or bubblewrap was asked for and does not work.
    """

    def __init__(
        self,
        *,
        seed: int = 0,
        limits: Limits = Limits(),
        sandbox: Sandbox = "auto",
    ) -> None:
        self.seed, self.limits = seed, limits
        self.sandbox: Sandbox = sandbox
        self._worker = Worker((), sandbox)
        self.isolation = self._worker.isolation
        """One sentence: what answers are kept from here, and what not."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        self._worker.close()

    def judge(self, notebook: nbformat.NotebookNode, exercise_set: str) -> list[Verdict]:
        """Judge every exercise of a set, in order; nothing that was sent in raises.

        Args:
            notebook: as it was handed in.
            exercise_set: "01" to "06".
        """
        rooms = LENT.get(exercise_set, ())
        if self._worker.rooms[1:] != rooms:
            self._restart(rooms)
        with _alone(self.seed):
            return [self._one(notebook, check) for check in CHECKS_BY_SET[exercise_set]]

    def _restart(self, rooms: tuple[str, ...]) -> None:
        self._worker.close()
        self._worker = Worker(rooms, self.sandbox)

    def _one(self, notebook: nbformat.NotebookNode, check: Check) -> Verdict:
        statements = extract(notebook, check.name)
        if statements is None:
            if reason := why_unreadable(notebook, check.name):
                what = f"the cell that defines {check.name} is not Python ({reason}): mend it."
                return _nothing(check, "wrong", what)
            return _nothing(check, "missing", f"no cell defines {check.name}.")
        number, _ = check.exercise.split(".")
        set_up = f"import torch; {SET_UP.get(f'{number:0>2}', '')}"
        job = {
            "name": check.name,
            "statements": [[0, 1, set_up], *([s.cell, s.line, s.source] for s in statements)],
            "seed": self.seed,
            "seconds": max(1, round(self.limits.seconds)),
            "memory_mib": self.limits.memory_mib,
            "file_mib": self.limits.file_mib,
            "processes": self.limits.processes,
        }
        try:
            afar = Afar(self._worker, job)
        except WorkerLost:
            self._restart(self._worker.rooms[1:])
            afar = Afar(self._worker, job)
        try:
            verdict = _verdict(check, _function(afar))
        finally:
            afar.close()
        if afar.lost:
            self._restart(self._worker.rooms[1:])
        if afar.refused is not None:
            return _nothing(check, "refused", f"[exercise {check.exercise}] {afar.refused}")
        return verdict


@contextlib.contextmanager
def _alone(seed: int) -> Iterator[None]:
    """Judge with instances of this seed, whatever the session has reached or set."""
    kept = vars(SESSION).copy()
    vars(SESSION).update(unsolved="raise", states={}, seed=seed)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")  # an answer may be nan, or huge
            yield
    finally:
        vars(SESSION).update(kept)


def _function(afar: Afar) -> Any:
    """Return the learner's function, or what stands in its place."""
    try:
        made = afar.ask(None)
    except Stopped:
        return afar  # which says so when it is called
    found = made.get("is")
    if made.get("ready") is True:
        return afar
    return _raising(afar, found) if isinstance(found, dict) and "error" in found else found


def _raising(afar: Afar, failed: dict[str, Any]) -> Function:
    """Return a function that raises what its definition has raised."""

    def function(*_: Any) -> None:
        raise afar.exception(failed)

    return function


def _verdict(check: Check, function: Any) -> Verdict:
    made = check.exercise, check.name
    try:
        check(function)
    except NotSolved as unsolved:
        return _nothing(check, "unsolved", str(unsolved))
    except CheckFailed as failed:
        names = [step.name for step in check.steps]
        earned = sum(check.points.get(name, 0) for name in names[: names.index(failed.step)])
        status: Status = "partly" if earned else "wrong"
        why = failed.step, str(failed), failed.cause
        return Verdict(*made, earned, check.max_points, status, *why)
    except Exception as error:  # answers whose numbers no step has expected
        what = f"[exercise {check.exercise}] the answer cannot be judged: {type(error).__name__}: "
        return _nothing(check, "wrong", what + str(error)[:300])
    return Verdict(*made, check.max_points, check.max_points, "solved", None, "", None)


def _nothing(check: Check, status: Status, message: str) -> Verdict:
    return Verdict(check.exercise, check.name, 0, check.max_points, status, None, message, None)
