"""What the answers to every exercise set need: the solutions of a source, and changes to them."""

from pathlib import Path
from typing import Any, NamedTuple

import jupytext
import torch

SOURCES = Path(__file__).parents[1] / "exercises" / "src"


class Mutant(NamedTuple):
    """A change to a solution, the step that must catch it, and a part of the cause to be named."""

    name: str
    old: str
    new: str
    step: str
    cause: str | None = None


class Solutions:
    """The solutions of an exercise set.

    Args:
        source: name of the notebook's source.
        given: functions that the notebook gives to learners and solutions call.
        names: what the notebook imports and solutions use, besides torch.
    """

    def __init__(self, source: str, *, given: tuple[str, ...] = (), **names: Any):
        cells = jupytext.read(SOURCES / f"{source}.py", fmt="py:percent").cells
        code = [cell.source for cell in cells if "exercise" in cell.metadata.get("tags", ())]
        self.code = {text.partition("def ")[2].partition("(")[0]: text for text in code}
        """The function's name -> the cell of its exercise."""
        self._right: dict[str, Any] = {"torch": torch, **names}
        parts = [part for cell in cells for part in cell.source.split("\n\n\n")]
        for name in given:
            (text,) = (part for part in parts if part.startswith(f"def {name}("))
            exec(text, self._right)
        for text in self.code.values():
            exec(text, self._right)

    def solve(self, name: str, old: str = "", new: str = ""):
        """Return the solution ``name`` with ``old`` replaced by ``new``; the others stay right."""
        assert old in self.code[name], f"{name} does not hold {old!r}"
        if not old:
            return self._right[name]
        exec(self.code[name].replace(old, new), own := {**self._right})
        return own[name]
