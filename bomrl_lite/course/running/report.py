"""The report of a run: one self-contained page with verdicts, figures and tracebacks."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from jinja2 import Environment, PackageLoader, StrictUndefined
from nbformat import NotebookNode

from bomrl_lite.course.notebook import own_cells
from bomrl_lite.course.running import history, results
from bomrl_lite.training.files import write_atomically

_BAND = (25.0, 75.0)  # where on the bar, in percent, the range begins and ends
_HEADING = re.compile(r"^#{1,6}\s+(.*?)\s*#*$", re.MULTILINE)


class Picture(NamedTuple):
    """A PNG of a notebook, in base64, under the heading that it stands below."""

    data: str
    caption: str
    alternative: str


def write_report(path: Path, run: results.Run, before: history.History) -> None:
    """Write the report; it needs no other file and no network."""
    loader = PackageLoader("bomrl_lite.course.running", ".")
    environment = Environment(loader=loader, autoescape=True, undefined=StrictUndefined)
    environment.trim_blocks = environment.lstrip_blocks = True
    environment.globals.update(
        describe=results.describe, position=position, pictures=pictures, title=title, band=_BAND
    )
    page = environment.get_template("report.html.j2").render(run=run, history=before)
    write_atomically(path, page.encode())


def pictures(notebook: NotebookNode | None) -> list[Picture]:
    """Return every PNG of a notebook with the nearest heading above it as its caption."""
    return list(_pictures(own_cells(notebook))) if notebook else []


def position(figure: results.Figure) -> float:
    """Return where on its bar, in percent, a value stands: the range takes the middle half."""
    if figure.value is None or figure.low is None or figure.high is None:
        return 50.0
    width = figure.high - figure.low
    if width == 0:
        return 50.0 + 47.0 * ((figure.value > figure.high) - (figure.value < figure.low))
    place = _BAND[0] + (_BAND[1] - _BAND[0]) * (figure.value - figure.low) / width
    return min(97.0, max(3.0, place))


def title(lesson: results.Lesson) -> str:
    """Return a lesson's first heading, or its name if it never got so far."""
    cells = own_cells(lesson.outcome.notebook) if lesson.outcome.notebook else []
    headings = (_HEADING.search(cell.source) for cell in cells if cell.cell_type == "markdown")
    return next((_plain(match[1]) for match in headings if match), lesson.outcome.name)


def _pictures(cells: list[NotebookNode]) -> Iterator[Picture]:
    heading, number = "", 0
    for cell in cells:
        if cell.cell_type == "markdown":
            heading = _plain((_HEADING.findall(cell.source) or [heading])[-1])
        for output in cell.get("outputs", ()):
            if "image/png" in output.get("data", {}):
                number += 1
                given = output.get("metadata", {}).get("image/png", {}).get("alt")
                alternative = given or f"Figure {number}, under the heading “{heading}”"
                data = "".join(output.data["image/png"].split())
                yield Picture(data, f"Figure {number}, from “{heading}”", alternative)


def _plain(heading: str) -> str:
    """Drop what markdown would not show: emphasis, code marks, links, mathematics' dollars."""
    without_links = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading)
    return re.sub(r"[*`$]|\\(?:mathrm|text)", "", without_links).strip()
