"""The three states of an exercise set, executed through papermill and judged."""

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from bomrl_lite.course.building.exercise_sets import exercise_numbers
from bomrl_lite.course.building.plan import (
    EXERCISES,
    SOLUTIONS,
    ExerciseSet,
    exercise_set,
    exercise_sources,
)
from bomrl_lite.course.execute import Failure, Job, Outcome, last_line
from bomrl_lite.course.running.batch import choose, execute_all, limits_for
from bomrl_lite.require import require_whole

STATES = ("unsolved", "reference", "solved")
_MARK = "--"


class StateResult(NamedTuple):
    """How an exercise set behaved in one of its states; ``detail`` says what was wrong."""

    name: str
    state: str
    ok: bool
    detail: str
    seconds: float


def run_states(
    root: Path,
    *,
    profile: str = "smoke",
    seed: int = 0,
    sets: Sequence[str] = (),
    states: Sequence[str] = STATES,
    jobs: int = 1,
) -> list[StateResult]:
    """Execute the exercise sets through papermill in their states and judge each.

    Unsolved must stop at the first exercise with its one-line message; the reference state (a
    learner who is stuck goes on with our functions) and the solved one must reach the end.
    The dials are those of ``run_course``; ``sets`` are names such as 01_maml_baseline.

    Raises:
        ValueError: an unknown profile or set, or a number of jobs that is none.
    """
    require_whole("jobs", jobs)
    limits = limits_for(profile)
    parameters = {"profile": profile, "seed": seed}
    with tempfile.TemporaryDirectory() as folder:
        made, first = [], {}
        for path in choose(exercise_sources(root), sets, "exercise set"):
            each = exercise_set(root, path)
            first[path.stem] = next(iter(exercise_numbers(each.source.cells)), "?")
            for state in states:
                made.append(_state_job(root, path.stem, each, state, Path(folder), parameters))
        outcomes, interrupted = execute_all(made, limits, jobs)
    if interrupted:
        raise KeyboardInterrupt
    return [_judge_state(each, first) for each in outcomes]


def _state_job(
    root: Path, name: str, each: ExerciseSet, state: str, out: Path, parameters: dict[str, Any]
) -> Job:
    notebook = each.solved if state == "solved" else each.unsolved
    folder = SOLUTIONS if state == "solved" else EXERCISES
    unsolved = "reference" if state == "reference" else "raise"
    output = out / f"{name}{_MARK}{state}.ipynb"
    return Job(notebook, output, root / folder, {**parameters, "unsolved": unsolved})


def _judge_state(outcome: Outcome, first: dict[str, str]) -> StateResult:
    """Compare what happened with what the state asks for."""
    name, state = outcome.name.split(_MARK)
    failure = outcome.failure or Failure(0, "", "", "")
    detail = f"cell {failure.cell}: {failure.error}" if outcome.failure else ""
    if state == "unsolved":
        wanted = f"[exercise {first[name]}] not solved yet: "
        one_line = last_line(outcome.log).startswith(wanted)
        stopped = outcome.status == "failed" and f": {wanted}" in failure.error
        got = detail or "it ran to the end"
        detail = "" if one_line and stopped else f"should stop with {wanted!r}, but: {got}"
    return StateResult(name, state, not detail, detail, outcome.seconds)
