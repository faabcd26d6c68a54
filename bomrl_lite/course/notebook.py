"""Notebook files: reading and writing one, and which of its cells are its source's."""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
from nbformat import NO_CONVERT, NotebookNode

from bomrl_lite.course.record import MIME, checked

KERNEL = {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}
LANGUAGE = {
    "file_extension": ".py",
    "mimetype": "text/x-python",
    "name": "python",
    "nbconvert_exporter": "python",
    "pygments_lexer": "ipython3",
}
"""Without it ``nbconvert --to script`` writes a text; a kernel's own also names its version."""
_ADDED_TAGS = {"injected-parameters", "papermill-error-cell-tag"}
_WIDGETS = "application/vnd.jupyter.widget-state+json"


def read_notebook(path: Path) -> NotebookNode | None:
    """Read a notebook as it stands, unvalidated; None if there is none that can be read."""
    try:
        return nbformat.v4.reads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, AttributeError, KeyError, TypeError):
        return None


def own_cells(notebook: NotebookNode) -> list[NotebookNode]:
    """Return the cells that the source has, without those that papermill added."""
    return [cell for cell in notebook.cells if not _ADDED_TAGS & set(cell.metadata.get("tags", ()))]


def faults(notebook: NotebookNode) -> Iterator[tuple[int, str]]:
    """Yield what an executed notebook's exit code hides: the number of a source's cell, and why.

    A cell was not executed in order to a good end (a kernel that left early), or wrote to stderr,
    as a warning does, or the callback of a widget raised: ipywidgets keeps that error in the
    widget's own output (its cell is not known and counts as 0).
    """
    own, expected = 0, 0
    for cell in notebook.cells:
        own += not _ADDED_TAGS & set(cell.metadata.get("tags", ()))
        if cell.cell_type != "code" or not cell.source.strip():
            continue
        expected += 1
        if cell.execution_count != expected:
            yield own, f"its execution count is {cell.execution_count}, not {expected}"
        yield from ((own, what) for what in map(_complaint, cell.outputs) if what)
    states = notebook.metadata.get("widgets", {}).get(_WIDGETS, {}).get("state", {})
    for model in states.values():
        outputs = model.get("state", {}).get("outputs", ())
        yield from ((0, f"in a widget: {what}") for what in map(_complaint, outputs) if what)


def read_records(notebook: Path | NotebookNode) -> list[dict[str, Any]]:
    """Return the figures of an executed notebook, in order.

    Raises:
        ValueError: two cells recorded the same name, or one displayed a figure that is none.
    """
    node = notebook if isinstance(notebook, NotebookNode) else nbformat.read(notebook, NO_CONVERT)
    outputs = [output for cell in node.cells for output in cell.get("outputs", ())]
    found = [checked(output.data[MIME]) for output in outputs if MIME in output.get("data", {})]
    names = [figure["name"] for figure in found]
    if twice := {name for name in names if names.count(name) > 1}:
        raise ValueError(f"recorded more than once: {sorted(twice)}; give each figure its own name")
    return found


def _complaint(output: Any) -> str:
    """Say what an output complains of: an error, or a text on stderr; else nothing."""
    if output["output_type"] == "error":
        return f"it ended in {output['ename']}: {output['evalue']}"
    if output["output_type"] == "stream" and output["name"] == "stderr":
        return f"it wrote to stderr: {output['text'].strip()[:200]!r}"
    return ""


def to_bytes(notebook: NotebookNode) -> bytes:
    """Serialise as nbformat does: sorted keys, indent 1, one newline at the end."""
    return (nbformat.v4.writes(notebook) + "\n").encode()


def digest(notebook: NotebookNode) -> str:
    """Return the SHA-256 of a notebook, outputs and all."""
    return hashlib.sha256(to_bytes(notebook)).hexdigest()
