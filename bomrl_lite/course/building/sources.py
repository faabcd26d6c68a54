"""Reading notebook sources (py:percent) and writing notebooks, byte for byte the same each time."""

import ast
import difflib
import hashlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jupytext
import nbformat
from nbformat import NotebookNode

from bomrl_lite.course.notebook import KERNEL, LANGUAGE

TAGS = ("parameters", "exercise", "check", "widget", "hide-input")
_HEADER = re.compile(r"^\s*#\s*%%(\s|$)")  # what jupytext takes for the start of a cell


class Problem(NamedTuple):
    """One thing that stops a build: where it is, what was found, what to do about it."""

    where: str
    what: str
    remedy: str

    def __str__(self) -> str:
        """Show the problem on one line."""
        return f"{self.where}: {self.what}; {self.remedy}"


class Cell(NamedTuple):
    """A cell of a source: ``number`` counts all cells from 1, ``line`` is where its text begins."""

    number: int
    line: int
    kind: str
    text: str
    tags: tuple[str, ...]
    exercise: Any


class Source(NamedTuple):
    """A py:percent file, parsed."""

    path: Path
    cells: tuple[Cell, ...]

    def problem(self, cell: Cell, line: int, what: str, remedy: str) -> Problem:
        """Name the place: file, line in the file (``line`` counts from 0 within the cell), cell."""
        return Problem(
            f"{self.path.as_posix()}:{cell.line + line} (cell {cell.number})", what, remedy
        )


class BuildError(ValueError):
    """A notebook that cannot be made; ``problems`` say why."""

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__("\n".join(map(str, problems)))
        self.problems = problems


def read_source(root: Path, path: Path) -> Source:
    """Parse the py:percent file at ``root / path``; messages name only ``path``.

    Raises:
        BuildError: the file cannot be read or parsed, has no cell, or text before its first one.
    """
    begin = "begin the file with `# %%` or `# %% [markdown]`"
    try:
        text = (root / path).read_text(encoding="utf-8")
        faulty = list(_tag_problems(path, text))
        parsed = [] if faulty else jupytext.reads(text, fmt="py:percent").cells
    except Exception as error:  # the parsers below jupytext have errors of many kinds
        reason = (str(error).splitlines() or [""])[0]
        what = f"it cannot be read ({type(error).__name__}: {reason})"
        raise BuildError([Problem(str(path), what, f"make it text in UTF-8; {begin}")]) from error
    if faulty:
        raise BuildError(faulty)
    starts = _first_lines(text)
    if not starts:
        raise BuildError([Problem(f"{path}:1", "it has no cell", begin)])
    if len(parsed) != len(starts):
        raise BuildError([Problem(f"{path}:1", "there is text before the first cell", begin)])
    cells = (
        Cell(
            number,
            line,
            cell.cell_type,
            cell.source.strip("\n"),
            tuple(cell.metadata.get("tags", ())),
            cell.metadata.get("exercise"),
        )
        for number, (line, cell) in enumerate(zip(starts, parsed, strict=True), 1)
    )
    return Source(path, tuple(cells))


def _tag_problems(path: Path, text: str) -> Iterator[Problem]:
    """Find headers whose tags are no list of texts: jupytext drops some and dies of others."""
    for number, line in enumerate(text.splitlines(), 1):
        if not (_HEADER.match(line) and (given := re.search(r"\btags\s*=\s*(.*)", line))):
            continue
        try:
            tags = ast.literal_eval(given[1][: given[1].find("]") + 1])
        except (ValueError, SyntaxError):
            tags = None
        if not (isinstance(tags, list) and all(isinstance(tag, str) for tag in tags)):
            what = f"tags must be a list of texts, got {given[1]}"
            yield Problem(f"{path}:{number}", what, 'write them like `tags=["parameters"]`')


def _first_lines(text: str) -> list[int]:
    """Return, for every cell, the number of its first line that is not blank."""
    lines = text.splitlines()
    headers = [number for number, line in enumerate(lines) if _HEADER.match(line)]
    ends = [*headers, len(lines)][1:]
    return [
        next((n + 1 for n in range(start + 1, end) if lines[n].strip()), start + 1)
        for start, end in zip(headers, ends, strict=True)
    ]


def common_problems(source: Source) -> Iterator[Problem]:
    """Find what is wrong in any source: unknown tags, not exactly one cell of parameters."""
    for cell in source.cells:
        for tag in set(cell.tags) - set(TAGS):
            near = difflib.get_close_matches(tag, TAGS, n=1, cutoff=0.0)[0]
            yield source.problem(cell, -1, f"unknown tag {tag!r}", f"did you mean {near!r}?")
    tagged = [cell for cell in source.cells if "parameters" in cell.tags and cell.kind == "code"]
    if not tagged:
        remedy = 'write one: `# %% tags=["parameters"]`'
        yield Problem(f"{source.path}:1", "no code cell is tagged parameters", remedy)
    for extra in tagged[1:]:
        yield source.problem(extra, -1, "a second cell is tagged parameters", "join the two")


def syntax_problems(source: Source, cell: Cell, text: str) -> Iterator[Problem]:
    """Find what Python cannot parse in ``text``, a form of ``cell``."""
    try:
        ast.parse(text)
    except SyntaxError as error:
        yield source.problem(cell, (error.lineno or 1) - 1, f"not Python: {error.msg}", "mend it")


def make_notebook(cells: list[Cell]) -> NotebookNode:
    """Make a notebook without outputs; a cell's id depends only on its position and its text."""
    metadata = {"kernelspec": dict(KERNEL), "language_info": dict(LANGUAGE)}
    notebook = nbformat.v4.new_notebook(metadata=metadata)
    notebook.nbformat_minor = 5
    notebook.cells = [_make_cell(index, cell) for index, cell in enumerate(cells)]
    return notebook


def _make_cell(index: int, cell: Cell) -> NotebookNode:
    make = {"code": nbformat.v4.new_code_cell, "markdown": nbformat.v4.new_markdown_cell}
    node = make.get(cell.kind, nbformat.v4.new_raw_cell)(cell.text)
    node.id = f"{index:02d}-{hashlib.sha256(cell.text.encode()).hexdigest()[:8]}"
    if cell.tags:
        node.metadata["tags"] = list(cell.tags)
    if cell.exercise is not None:
        node.metadata["exercise"] = cell.exercise
    if "hide-input" in cell.tags:
        node.metadata["jupyter"] = {"source_hidden": True}
    return node
