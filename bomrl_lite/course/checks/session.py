"""What one notebook has set and reached: the mode for unsolved exercises, the state of each."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Unsolved = Literal["raise", "reference"]
State = Literal["solved", "reference", "open"]


@dataclass
class Session:
    """One notebook's mode and the states of the exercises whose checks it has run."""

    unsolved: Unsolved = "raise"
    states: dict[str, State] = field(default_factory=dict)


SESSION = Session()


def use(unsolved: Unsolved) -> None:
    """Say what an unsolved exercise does, and forget all progress.

    Args:
        unsolved: ``"raise"`` stops there; ``"reference"`` goes on with the package's own function.
    """
    if unsolved not in ("raise", "reference"):
        raise ValueError(f'unsolved must be "raise" or "reference", got {unsolved!r}')
    SESSION.unsolved = unsolved
    SESSION.states.clear()


def print_progress(names: Mapping[str, str]) -> None:
    """Print the state of every exercise in the sets that this notebook has met.

    Args:
        names: exercise number -> name of its function, over all sets.
    """
    begun = {exercise.split(".")[0] for exercise in SESSION.states}
    shown = {e: name for e, name in names.items() if not begun or e.split(".")[0] in begun}
    states = [SESSION.states.get(exercise, "open") for exercise in shown]
    width = max(map(len, ["function", *shown.values()])) + 2
    print(f"{'exercise':<10}{'function':<{width}}state")
    for (exercise, name), state in zip(shown.items(), states, strict=True):
        print(f"{exercise:<10}{name:<{width}}{state}")
    print(f"{states.count('solved')} of {len(shown)} solved")
