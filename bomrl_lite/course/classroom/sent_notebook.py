"""A notebook as a student sent it: of any format, with whatever is wrong in it."""

import itertools
import json
from collections.abc import Iterator
from typing import Any

import nbformat
from nbformat import NotebookNode

from bomrl_lite.course.classroom.sent_files import Unreadable


def read_notebook(data: bytes) -> NotebookNode:
    """Return a notebook of any format, as one of format 4, without outputs, unvalidated.

    Raises:
        Unreadable: the bytes are no notebook; says what they look like.
    """
    if not data.strip():
        raise Unreadable("the file is empty: ask for it again")
    try:
        raw = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise Unreadable(_not_json(data, error)) from None
    cells = list(_raw_cells(raw))
    if not isinstance(raw, dict) or (not cells and "cells" not in raw and "worksheets" not in raw):
        raise Unreadable("it holds no notebook, though it is JSON: ask for the .ipynb file itself")
    metadata = raw.get("metadata")
    about = metadata if isinstance(metadata, dict) else {}
    kept = {name: about[name] for name in ("kernelspec", "language_info") if name in about}
    made = {"cells": cells, "metadata": kept, "nbformat": 4, "nbformat_minor": 5}
    notebook = nbformat.from_dict(made)
    assert isinstance(notebook, NotebookNode)  # as it is for every dict
    return notebook


def _raw_cells(raw: Any) -> Iterator[dict[str, Any]]:
    """Yield the cells of a notebook of format 4, or of 3 and before, whatever else is wrong."""
    if not isinstance(raw, dict):
        return
    sheets = [sheet for sheet in _items(raw.get("worksheets")) if isinstance(sheet, dict)]
    cells = itertools.chain(_items(raw.get("cells")), *(_items(s.get("cells")) for s in sheets))
    for cell in cells:
        if not isinstance(cell, dict):
            continue
        kind = "code" if cell.get("cell_type") == "code" else "markdown"
        metadata = cell.get("metadata")
        made = {
            "cell_type": kind,
            "source": _text(cell.get("source", cell.get("input", ""))),
            "metadata": metadata if isinstance(metadata, dict) else {},
        }
        if isinstance(cell.get("id"), str):
            made["id"] = cell["id"]
        yield {**made, "outputs": [], "execution_count": None} if kind == "code" else made


def _items(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _text(value: Any) -> str:
    """Join the lines of a cell; half a surrogate pair, which no file can hold, becomes a mark."""
    text = value if isinstance(value, str) else "".join(x for x in _items(value) if type(x) is str)
    return text.encode("utf-8", "replace").decode()


def _not_json(data: bytes, error: Exception) -> str:
    """Say what a file looks like that is no JSON."""
    start = data[:2000].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if start.startswith((b"<!doctype", b"<html")):
        return "it is a web page under the name of a notebook: ask for the file behind it (raw)"
    if start.startswith(b"%pdf"):
        return "it is a PDF under the name of a notebook: ask for the .ipynb file"
    if start.startswith(b"pk\x03\x04"):
        return "it is a zip under the name of a notebook: let its name end in .zip"
    if b"<<<<<<< " in data and b">>>>>>> " in data:
        return "it holds the marks of a merge that was not ended: ask for it again, merged"
    where = f", line {error.lineno}" if isinstance(error, json.JSONDecodeError) else ""
    return f"it is damaged (no JSON{where}): ask for it again, saved anew in JupyterLab"
