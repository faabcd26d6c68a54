"""What an executed notebook holds beside its sources, and what of it is kept."""

import copy
import re
from collections.abc import Iterator

from nbformat import NotebookNode

from bomrl_lite.course.notebook import own_cells
from bomrl_lite.course.static import with_palette

_WIDGET = "application/vnd.jupyter.widget-view+json"
_IMAGE = re.compile(r"<img\b[^>]*>")
_ALTERNATIVE = re.compile(r"""\balt=(?:"[^"]+"|'[^']+')""")


def bare(notebook: NotebookNode) -> NotebookNode:
    """Return the notebook as if it had never been executed."""
    result = copy.deepcopy(notebook)
    for cell in result.cells:
        if cell.cell_type == "code":
            cell.execution_count, cell.outputs = None, []
    return result


def clean(notebook: NotebookNode, fresh: NotebookNode) -> NotebookNode:
    """Return ``fresh`` with the outputs of an executed copy, without what differs in every run."""
    result = copy.deepcopy(fresh)
    ran = {cell.id: cell for cell in own_cells(notebook) if cell.cell_type == "code"}
    for cell in result.cells:
        if cell.id in ran:
            cell.execution_count = ran[cell.id].execution_count
            cell.outputs = _joined(filter(None, map(_static, ran[cell.id].outputs)))
            for output in cell.outputs:
                if figure := output.get("data", {}).get("image/png"):
                    output.data["image/png"] = with_palette(figure)
    return result


def unnamed_pictures(notebook: NotebookNode) -> Iterator[int]:
    """Yield the number of every cell with a picture that has no alternative text."""
    for number, cell in enumerate(notebook.cells, 1):
        for output in cell.get("outputs", ()):
            kinds = [kind for kind in output.get("data", {}) if kind.startswith("image/")]
            texts = [output.metadata.get(kind, {}).get("alt") for kind in kinds]
            page = "".join(output.get("data", {}).get("text/html", ""))
            bare_tags = [tag for tag in _IMAGE.findall(page) if not _ALTERNATIVE.search(tag)]
            if not all(texts) or bare_tags:
                yield number


def without_views(notebook: NotebookNode) -> NotebookNode:
    """Return the notebook with the static twin of each widget in its place."""
    result = copy.deepcopy(notebook)
    for cell in result.cells:
        if cell.cell_type == "code":
            cell.outputs = list(filter(None, map(_static, cell.outputs)))
    return result


def _static(output: NotebookNode) -> NotebookNode | None:
    """A static page cannot draw a widget: keep its frames in HTML; without any, leave it out."""
    if _WIDGET not in output.get("data", {}):
        return output
    if "text/html" not in output.data:
        return None
    result = copy.deepcopy(output)
    result.data = {"text/html": output.data["text/html"]}
    return result


def _joined(outputs: Iterator[NotebookNode]) -> list[NotebookNode]:
    """Join what a cell printed in pieces: where a stream is cut depends on timing."""
    joined: list[NotebookNode] = []
    for output in outputs:
        last = joined[-1] if joined else None
        if last and output.output_type == "stream" == last.output_type and output.name == last.name:
            last.text += output.text
        else:
            joined.append(copy.deepcopy(output))
    return joined
