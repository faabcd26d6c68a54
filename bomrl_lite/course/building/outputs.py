"""What an executed notebook holds beside its sources, and what of it is kept."""

import base64
import copy
import io
from collections.abc import Iterator

from nbformat import NotebookNode
from PIL import Image

from bomrl_lite.course.notebook import own_cells

_WIDGET = "application/vnd.jupyter.widget-view+json"


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
            cell.outputs = _joined(filter(_is_static, ran[cell.id].outputs))
            for output in cell.outputs:
                if figure := output.get("data", {}).get("image/png"):
                    output.data["image/png"] = with_palette(figure)
    return result


def with_palette(figure: str) -> str:
    """Rewrite a base64 PNG with a palette of 256 colours: a third of the size, the same to the eye.

    A figure that has a palette already is returned as it is: a second build changes nothing.
    """
    picture = Image.open(io.BytesIO(base64.b64decode(figure)))
    if picture.mode == "P":
        return figure
    paper = Image.new("RGBA", picture.size, "white")  # what is transparent would turn black
    flat = Image.alpha_composite(paper, picture.convert("RGBA")).convert("RGB")
    small = io.BytesIO()
    flat.quantize(256, dither=Image.Dither.NONE).save(small, "PNG", optimize=True)
    return base64.b64encode(small.getvalue()).decode()


def _is_static(output: NotebookNode) -> bool:
    """A static page cannot draw a widget; the figure that follows shows the same."""
    return _WIDGET not in output.get("data", {})


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
