"""The figures of a notebook: ``record`` stores one in an output, ``checked`` reads it there."""

import math
from typing import Any, NamedTuple

from bomrl_lite.require import require_number

MIME = "application/vnd.bomrl.record+json"
_SEEN = "_bomrl_recorded"  # lives in the learner's namespace, so it goes when the kernel restarts


class Place(NamedTuple):
    """Where a figure was recorded: a cell, if the front end names it, and its execution."""

    cell: str | None
    execution: int


_recorded_without_ipython: dict[str, Place] = {}


SOURCES = ("code", "table", "machine")


def record(name: str, value: float, unit: str = "", *, source: str = "code") -> None:
    """Store a figure of this notebook and show it, so that a later run can be compared with it.

    Running a cell again replaces its figures.

    Args:
        name: unique within the notebook, for example "gap after one step".
        value: one finite number: a float, an int, or a tensor or array of one element.
        unit: of the value; empty for a plain number.
        source: code, what this run computed; table, read from a stored table, which no change of
            code can move; machine, a time or a ratio of times, which is shown and never judged.

    Raises:
        TypeError: the value is not one number.
        ValueError: it is not finite, the name is empty or taken, or the source is no such word.
    """
    if source not in SOURCES:
        raise ValueError(f"source must be one of {', '.join(SOURCES)}, got {source!r}")
    number = _one_number(name, value)
    _claim(name)
    text = f"{name} = {number:.6g} {unit}".rstrip()
    if (shell := _shell()) is None:
        print(text)
        return
    content = {"name": name, "value": number, "unit": unit, "source": source}
    shell.display_pub.publish({MIME: content, "text/plain": text})


def checked(found: Any) -> dict[str, Any]:
    """Return what an output holds as a figure; it may have been displayed without ``record``.

    Raises:
        ValueError: it is none.
    """
    try:
        if all(isinstance(found[key], str) for key in ("name", "unit")):
            require_number("its value", found["value"])
            return dict(found)
        raise ValueError("its name and its unit must be texts")
    except (ValueError, TypeError, LookupError) as error:
        raise ValueError(
            f"a cell displayed {str(found)!r:.80}, which is no figure ({error}): use record()"
        ) from error


def _one_number(name: str, value: Any) -> float:
    """Turn the value into a float, or say what it is instead."""
    kind = type(value).__name__
    remedy = f"record({name!r}, ...) takes one number, got {kind}"
    if isinstance(value, str | bytes | bool):
        raise TypeError(f"{remedy} {value!r}: pass a float")
    try:
        number = float(value.item() if hasattr(value, "item") else value)
    except (TypeError, ValueError, RuntimeError) as error:
        raise TypeError(f"{remedy}: reduce it first, for example with .mean()") from error
    if not math.isfinite(number):
        raise ValueError(f"record({name!r}, ...) takes a finite number, got {number}")
    return number


def _claim(name: str) -> None:
    """Remember the name; refuse it if another cell, or this run of the cell, has used it."""
    if not isinstance(name, str) or not name.strip():
        raise ValueError(f"a figure needs a name, got {name!r}")
    shell = _shell()
    seen = _recorded_without_ipython if shell is None else shell.user_ns.setdefault(_SEEN, {})
    here, before = _here(shell), seen.get(name)
    rerun = before and before.cell is not None and before.cell == here.cell
    if before and not (rerun and before.execution != here.execution):
        raise ValueError(f"the name {name!r} is taken: give each figure of a notebook its own name")
    seen[name] = here


def _here(shell: Any) -> Place:
    """Name the running cell; papermill's client does not say which it is, JupyterLab does."""
    parent = getattr(shell, "get_parent", dict)()
    cell = parent.get("metadata", {}).get("cellId")
    return Place(cell, getattr(shell, "execution_count", 0))


def _shell() -> Any:
    """Return the running IPython shell, or None in plain Python."""
    try:
        from IPython.core.getipython import get_ipython
    except ImportError:
        return None
    return get_ipython()
