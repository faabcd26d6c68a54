"""What one notebook has set and reached: the mode for unsolved exercises, the state of each."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, cast

from bomrl_lite.training.tables import as_table

Unsolved = Literal["raise", "reference"]
State = Literal["solved", "reference", "open"]


@dataclass
class Session:
    """One notebook's mode and the states of the exercises whose checks it has run."""

    unsolved: Unsolved = "raise"
    states: dict[str, State] = field(default_factory=dict)
    seed: int | None = None
    """Of the random instances: None in a notebook, the grader's own in a judge."""


SESSION = Session()
FORCED = "BOMRL_UNSOLVED"
"""Environment variable that outdoes what a notebook asks for: it is "raise" while one is graded."""


def use(unsolved: Unsolved) -> None:
    """Say what an unsolved exercise does, and forget all progress.

    Args:
        unsolved: ``"raise"`` stops there; ``"reference"`` goes on with the package's own function.
    """
    chosen = os.environ.get(FORCED, unsolved)
    if chosen not in ("raise", "reference"):
        raise ValueError(f'unsolved must be "raise" or "reference", got {chosen!r}')
    SESSION.unsolved = cast(Unsolved, chosen)
    SESSION.states.clear()


def print_progress(names: Mapping[str, str]) -> None:
    """Print the state of every exercise in the sets that this notebook has met.

    Args:
        names: exercise number -> name of its function, over all sets.
    """
    begun = {exercise.split(".")[0] for exercise in SESSION.states}
    shown = {e: name for e, name in names.items() if not begun or e.split(".")[0] in begun}
    states = [SESSION.states.get(exercise, "open") for exercise in shown]
    rows = zip(shown, shown.values(), states, strict=True)
    print(as_table(("exercise", "function", "state"), rows))
    print(f"{states.count('solved')} of {len(shown)} solved")
