"""From one source of exercises: the notebook without answers, the notebook with them.

An exercise is a code cell tagged ``exercise`` with its number; its answer stands between
``# BEGIN SOLUTION`` and ``# END SOLUTION``. A check cell follows each exercise.
"""

import ast
import itertools
import re
from collections.abc import Iterator
from difflib import SequenceMatcher
from typing import NamedTuple

from bomrl_lite.course.building.sources import (
    Cell,
    Problem,
    Source,
    common_problems,
    syntax_problems,
)

BEGIN, END = "# BEGIN SOLUTION", "# END SOLUTION"
_LEAK_LENGTH = 15  # shorter lines (`return theta`) say nothing about an answer
_NUMBER = re.compile(r"\d+\.\d+")
_SIDES = ("BEGIN", "START", "END")
_FILLERS = {"A", "AN", "OF", "THE", "YOUR"}


class Marker(NamedTuple):
    """A marker line: its line within the cell, its indent and whether it begins a block."""

    line: int
    indent: str
    begins: bool


def unsolved(cells: tuple[Cell, ...]) -> list[Cell]:
    """Replace every answer by ``raise NotImplementedError``; signature and docstring stay."""
    return [cell._replace(text=_stub(cell)) for cell in cells]


def stub(exercise: str) -> str:
    """Return the line in the place of an answer."""
    return f'raise NotImplementedError("exercise {exercise}")'


def solved(cells: tuple[Cell, ...]) -> list[Cell]:
    """Drop the marker lines; the answers stay."""
    return [cell._replace(text=_answer(cell)) for cell in cells]


def lesson_problems(source: Source) -> Iterator[Problem]:
    """Find what is wrong in the source of a lesson."""
    yield from common_problems(source)
    for cell in source.cells:
        for line, text in _marker_like(cell):
            what = f"a lesson holds the solution marker {text!r}"
            yield source.problem(cell, line, what, "move the exercise to exercises/src")
        if "exercise" in cell.tags or cell.exercise is not None:
            what = "a lesson holds an exercise cell"
            yield source.problem(cell, -1, what, "move the exercise to exercises/src")


def exercise_problems(source: Source) -> Iterator[Problem]:
    """Find what is wrong in the source of an exercise set, leaks of answers included."""
    yield from common_problems(source)
    for cell in source.cells:
        yield from _marker_problems(source, cell)
    yield from _number_problems(source)
    yield from _check_problems(source)
    yield from _leaks(source)


def duplicate_numbers(sources: list[Source]) -> Iterator[Problem]:
    """Find exercise numbers that are used twice, within one set or across sets."""
    first: dict[str, str] = {}
    for source in sources:
        for cell in filter(_is_exercise, source.cells):
            here = source.problem(cell, -1, f"exercise {cell.exercise} exists already", "renumber")
            if cell.exercise in first:
                yield here._replace(remedy=f"renumber it, or the one at {first[cell.exercise]}")
            first.setdefault(str(cell.exercise), here.where)


def exercise_numbers(cells: tuple[Cell, ...]) -> list[str]:
    """Return the numbers of the exercises in their order."""
    return [str(cell.exercise) for cell in cells if _is_exercise(cell)]


def _is_exercise(cell: Cell) -> bool:
    return "exercise" in cell.tags


def _markers(cell: Cell) -> list[Marker]:
    lines = enumerate(cell.text.splitlines())
    return [
        Marker(number, line[: len(line) - len(line.lstrip())], line.strip() == BEGIN)
        for number, line in lines
        if cell.kind == "code" and line.strip() in (BEGIN, END)
    ]


def _split(cell: Cell) -> tuple[list[str], list[str], list[str], str]:
    """Return the lines before, inside and after the block, and the block's indent."""
    lines, markers = cell.text.splitlines(), _markers(cell)
    if len(markers) != 2:
        return lines, [], [], ""
    begin, end = markers
    return (
        lines[: begin.line],
        lines[begin.line + 1 : end.line],
        lines[end.line + 1 :],
        begin.indent,
    )


def _stub(cell: Cell) -> str:
    before, inside, after, indent = _split(cell)
    raises = [indent + stub(str(cell.exercise))] if inside else []
    return "\n".join([*before, *raises, *after])


def _answer(cell: Cell) -> str:
    before, inside, after, _ = _split(cell)
    return "\n".join([*before, *inside, *after])


def _marker_like(cell: Cell) -> Iterator[tuple[int, str]]:
    """Find lines that are, or were meant to be, a solution marker."""
    for number, line in enumerate(cell.text.splitlines()):
        comment = line.strip().startswith("#") or cell.kind != "code"
        if re.search(r"\b(BEGIN|END)[\W_]*SOLUTION", line) or (comment and _is_near_marker(line)):
            yield number, line.strip()


def _is_near_marker(comment: str) -> bool:
    """Tell whether a comment reads like `begin solution`: misspelt, joined or turned round."""
    words = [word for word in re.findall(r"[A-Z]+", comment.upper()) if word not in _FILLERS]
    if len(words) == 1:
        return any(_likeness(words[0], side + "SOLUTION") >= 0.85 for side in _SIDES)
    return len(words) in (2, 3) and any(
        max(_likeness(side, wanted) for wanted in _SIDES) >= 0.6
        and _likeness(noun, "SOLUTION") >= 0.75
        for side, noun in (words[:2], words[1::-1])
    )


def _likeness(got: str, wanted: str) -> float:
    return SequenceMatcher(None, got, wanted).ratio()


def _marker_problems(source: Source, cell: Cell) -> Iterator[Problem]:
    """Find misspelt, stray, nested and unbalanced markers, and blocks that cannot be replaced."""
    markers = _markers(cell)
    exact = {marker.line for marker in markers}
    misspelt = [(line, text) for line, text in _marker_like(cell) if line not in exact]
    for line, text in misspelt:
        wanted = f"write exactly `{BEGIN}` or `{END}` on a line of its own, or reword"
        yield source.problem(cell, line, f"found {text!r}, almost a marker", wanted)
    if markers and not _is_exercise(cell):
        remedy = 'tag the cell: `# %% tags=["exercise"] exercise="1.1"`'
        yield source.problem(cell, markers[0].line, "a marker outside an exercise cell", remedy)
    elif _is_exercise(cell) and not misspelt:
        yield from _block_problems(source, cell, markers)


def _block_problems(source: Source, cell: Cell, markers: list[Marker]) -> Iterator[Problem]:
    order = [marker.begins for marker in markers]
    last = markers[-1].line if markers else 0
    if order != [True, False]:
        what, remedy = _imbalance(order)
        yield source.problem(cell, last, what, remedy)
    elif markers[0].indent != markers[1].indent:
        yield source.problem(cell, last, "the markers differ in indent", "align END with BEGIN")
    elif not markers[0].indent:
        remedy = 'put it into a function: a bare `raise` would stop unsolved="reference" too'
        yield source.problem(cell, markers[0].line, "the block is not inside a function", remedy)
    elif not any(map(str.strip, _split(cell)[1])):
        yield source.problem(
            cell, last, "the block is empty", "write the answer between the markers"
        )
    else:
        yield from syntax_problems(source, cell, cell.text)
        yield from syntax_problems(source, cell, _stub(cell))


def _imbalance(order: list[bool]) -> tuple[str, str]:
    """Say how a sequence of markers departs from one BEGIN, one END."""
    if not order:
        return "an exercise without a solution block", f"enclose the answer in `{BEGIN}`, `{END}`"
    if order == [True, False] * (len(order) // 2):
        return "more than one solution block in a cell", "keep one, or split the exercise in two"
    if any(first and second for first, second in itertools.pairwise(order)):
        return "nested or unclosed solution blocks", f"write `{END}` before the next `{BEGIN}`"
    missing = END if sum(order) * 2 > len(order) else BEGIN
    return "unbalanced solution markers", f"write the missing `{missing}`, or drop its partner"


def _number_problems(source: Source) -> Iterator[Problem]:
    """Find exercise cells without a proper number, and numbers without the tag."""
    example = 'write `# %% tags=["exercise"] exercise="1.2"` (quoted: 1.10 is not 1.1)'
    for cell in source.cells:
        proper = isinstance(cell.exercise, str) and _NUMBER.fullmatch(cell.exercise)
        if _is_exercise(cell) and not (proper and cell.kind == "code"):
            found = f"an exercise cell has the number {cell.exercise!r}"
            yield source.problem(cell, -1, found, example)
        elif not _is_exercise(cell) and cell.exercise is not None:
            found = f"exercise number {cell.exercise!r} on a cell without the tag"
            yield source.problem(cell, -1, found, example)


def _check_problems(source: Source) -> Iterator[Problem]:
    """Find exercises that no check cell follows before the next exercise."""
    positions = [index for index, cell in enumerate(source.cells) if _is_exercise(cell)]
    for position, following in zip(positions, [*positions, None][1:], strict=True):
        cell, names = source.cells[position], _defined(source.cells[position])
        checks = [c.text for c in source.cells[position + 1 : following] if "check" in c.tags]
        if not any(_calls_check(text, names) for text in checks):
            name = next(iter(names), "f")
            remedy = f'follow it by `# %% tags=["check"]` with `{name} = checks.{name}({name})`'
            what = f"exercise {cell.exercise} has no check cell that calls checks.* on {name}"
            yield source.problem(cell, -1, what, remedy)


def _defined(cell: Cell) -> list[str]:
    """Return the names of the functions and classes that a cell defines."""
    try:
        body = ast.parse(_answer(cell)).body
    except SyntaxError:  # reported by _block_problems
        return []
    return [node.name for node in body if isinstance(node, ast.FunctionDef | ast.ClassDef)]


def _calls_check(text: str, names: list[str]) -> bool:
    mentions = any(re.search(rf"\b{name}\b", text) for name in names)
    return mentions and re.search(r"\bchecks(\.\w+)+\(", text) is not None


def _leaks(source: Source) -> Iterator[Problem]:
    """Find lines of an answer anywhere in the notebook that the learners get."""
    public = [(cell, _squeeze(_stub(cell))) for cell in source.cells]
    for cell in filter(_is_exercise, source.cells):
        before, inside, after, _ = _split(cell)
        shown = {_squeeze(line) for line in (*before, *after)}
        for offset, line in enumerate(map(_squeeze, inside)):
            if len(line) < _LEAK_LENGTH or line in shown:
                continue
            for other in (other for other, text in public if line in text):
                what = f"the answer's line {line!r} can be read in cell {other.number}"
                remedy = "reword that cell, or move the line out of the solution block"
                yield source.problem(cell, len(before) + 1 + offset, what, remedy)


def _squeeze(text: str) -> str:
    """Make leaks show despite other spacing."""
    return " ".join(text.split())
