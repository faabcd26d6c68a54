"""A lesson is one sitting: its header tells the time truly, and its cells and imports are short.

Reading takes a minute for 150 words and a minute for 10 lines of code. A displayed equation counts
as 15 words; imports, the cell of parameters and the cell that sets up are not read. CONTRIBUTING
has the rule.
"""

import re
from pathlib import Path

import jupytext
import pytest

from bomrl_lite.course.building.plan import lesson_sources

ROOT = Path(__file__).resolve().parents[1]
LESSONS = [path.stem for path in lesson_sources(ROOT)]
WORDS, LINES, EQUATION = 150, 10, 15
MOST_MINUTES, MOST_LINES, MOST_IMPORTS = 45, 25, 8


def read(lesson: str) -> list[tuple[str, list[str]]]:
    """Return the cells of a lesson: their kind and their lines that are not blank.

    Of a cell that is hidden one reads the words that it shows, as text.
    """
    cells = jupytext.read(ROOT / f"notebooks/src/{lesson}.py", fmt="py:percent").cells
    kept = [(cell, cell.metadata.get("tags", ())) for cell in cells]
    return [
        (
            "markdown" if "hide-input" in tags else cell.cell_type,
            [line for line in cell.source.splitlines() if line.strip()],
        )
        for cell, tags in kept
        if "parameters" not in tags
    ]


def minutes(cells: list[tuple[str, list[str]]]) -> float:
    """Return how long the cells take to read."""
    words = lines = 0
    for kind, text in cells:
        if kind == "markdown":
            words += len(re.sub(r"(?s)\$\$.*?\$\$", " x" * EQUATION, "\n".join(text)).split())
        elif not any(line.startswith("begin(") for line in text):
            lines += sum(not is_import(line) for line in text)
    return words / WORDS + lines / LINES


def is_import(line: str) -> bool:
    return line.startswith(("import ", "from "))


def told(lesson: str) -> int:
    """Return the minutes of reading that the header tells."""
    header = "\n".join(read(lesson)[0][1])
    found = re.search(r"\*\*Time:\*\* (?:reading )?(\d+) minutes|these (ten) minutes", header)
    assert found, f"{lesson}: the header tells no time"
    return int(found[1] or 10)


def imports(text: list[str]) -> int:
    """Return the lines of a cell's imports, those within brackets too."""
    found = re.findall(r"(?m)^(?:import|from) .*?(?:\([^)]*\))?$", "\n".join(text))
    return sum(one.count("\n") + 1 for one in found)


@pytest.mark.parametrize("lesson", LESSONS)
def test_the_header_tells_the_time_that_reading_takes(lesson):
    assert abs(told(lesson) - minutes(read(lesson))) <= 5, f"{minutes(read(lesson)):.0f} minutes"


@pytest.mark.parametrize("lesson", LESSONS)
def test_a_lesson_is_one_sitting_of_short_cells(lesson):
    code = [text for kind, text in read(lesson) if kind == "code"]
    assert told(lesson) <= MOST_MINUTES
    assert max(map(len, code)) <= MOST_LINES
    assert max(map(imports, code)) <= MOST_IMPORTS


def test_words_equations_and_lines_are_counted():
    prose = ("markdown", ["word " * 150, "$$a", "=b$$"])
    code = ("code", ["from a import b", *["x = 1"] * 10])
    assert minutes([prose, code]) == pytest.approx(2 + EQUATION / WORDS)
    assert minutes([("code", ["begin(profile, seed)", "x = 1"])]) == 0
    assert imports(["import a", "from b import (", "    c,", ")", "d = 1"]) == 4
