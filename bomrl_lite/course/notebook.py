"""Notebook files: reading and writing one, and which of its cells are its source's."""

from pathlib import Path

import nbformat
from nbformat import NotebookNode

KERNEL = {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}
_ADDED_TAGS = {"injected-parameters", "papermill-error-cell-tag"}


def read_notebook(path: Path) -> NotebookNode | None:
    """Read a notebook as it stands, unvalidated; None if there is none that can be read."""
    try:
        return nbformat.v4.reads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, AttributeError, KeyError, TypeError):
        return None


def own_cells(notebook: NotebookNode) -> list[NotebookNode]:
    """Return the cells that the source has, without those that papermill added."""
    return [cell for cell in notebook.cells if not _ADDED_TAGS & set(cell.metadata.get("tags", ()))]


def to_bytes(notebook: NotebookNode) -> bytes:
    """Serialise as nbformat does: sorted keys, indent 1, one newline at the end."""
    return (nbformat.v4.writes(notebook) + "\n").encode()
