"""A notebook as one page that needs no network: browsers draw MathML without a script.

``jupyter nbconvert --to bomrl_lite.course.page.OfflinePage notebooks/01_maml_baseline.ipynb``
"""

import contextlib
import copy
import html
import re
import unicodedata
from pathlib import Path
from typing import Any

from jinja2 import pass_context
from latex2mathml.converter import convert
from nbconvert.exporters.html import HTMLExporter
from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath
from nbformat import NotebookNode

from bomrl_lite.course.building.outputs import without_views

STYLE = Path(__file__).with_suffix(".css")
"""Of equations: a font that knows their layout, and room beside a narrow page."""

_TEMPLATE = f"""{{%- extends 'lab/index.html.j2' -%}}
{{% block html_head_js_requirejs %}}{{% endblock %}}
{{% block html_head_js_mathjax %}}<style>{STYLE.read_text(encoding="utf-8")}</style>{{% endblock %}}
{{% block html_head_js_mermaidjs %}}{{% endblock %}}
{{% block jupyter_widgets %}}{{% endblock %}}
"""
"""The usual page without the scripts that it would fetch."""

_KNOWN = {
    r"\arg": r"\operatorname{arg}",
    r"\big\langle": "\\big\u27e8",
    r"\big\rangle": "\\big\u27e9",
}
"""What latex2mathml would print as it stands, and how it understands it."""


def mathml(tex: str, *, block: bool = False) -> str:
    r"""Convert an equation from TeX to MathML.

    Args:
        tex: without its dollar signs.
        block: whether it stands on lines of its own.

    Raises:
        ValueError: it asks for a letter in a style that Unicode has not.
    """
    for unknown, known in _KNOWN.items():
        tex = tex.replace(unknown, known)
    text = convert(tex, display="block" if block else "inline")
    text = _STYLED.sub(_letter, text)
    return f'<div class="equation">{text}</div>' if block else text


_STYLED = re.compile(r'<(m[in]) mathvariant="(?!normal)([a-z-]+)">(\w)</\1>')


def _letter(styled: re.Match[str]) -> str:
    """Browsers know a blackboard E by its own character, and look at no attribute."""
    tag, style, letter = styled.groups()
    name = unicodedata.name(letter).replace("LATIN ", "").replace("LETTER ", "")
    for prefix in ("MATHEMATICAL ", ""):  # those that Unicode had before stand elsewhere
        with contextlib.suppress(KeyError):
            return f"<{tag}>{unicodedata.lookup(f'{prefix}{style.upper()} {name}')}</{tag}>"
    raise ValueError(f"there is no {style} {letter}: write the equation without it")


class _Renderer(IPythonRenderer):
    def block_math(self, body: str) -> str:
        return mathml(body, block=True)

    def inline_math(self, body: str) -> str:
        return mathml(body)


def with_descriptions(notebook: NotebookNode) -> NotebookNode:
    """Return the notebook with its pictures in HTML, whose alternative text every page keeps."""
    result = copy.deepcopy(notebook)
    for output in (o for cell in result.cells for o in cell.get("outputs", ()) if "data" in o):
        about = {k: output.metadata.get(k, {}) for k in ("image/png", "image/jpeg")}
        for kind, page in about.items():
            if kind in output.data and "alt" in page and "text/html" not in output.data:
                source = f"data:{kind};base64,{output.data[kind].strip()}"
                size = f"width: {page['width']}px; max-width: none" if "width" in page else ""
                picture = f'<img alt="{html.escape(page["alt"])}" style="{size}" src="{source}">'
                output.data = {"text/html": f'<div style="overflow-x: auto">{picture}</div>'}
    return result


class OfflinePage(HTMLExporter):
    """nbconvert's HTML page, its equations in MathML, each widget replaced by its static twin."""

    export_from_notebook = None
    raw_template = _TEMPLATE

    @pass_context
    def markdown2html(self, context: Any, source: str) -> str:
        """Render Markdown as nbconvert does, but for its equations."""
        attachments = context.get("cell", {}).get("attachments", {})
        return MarkdownWithMath(_Renderer(escape=False, attachments=attachments)).render(source)

    def from_notebook_node(
        self, nb: NotebookNode, resources: dict[str, Any] | None = None, **kw: Any
    ) -> tuple[str, dict[str, Any]]:
        """Convert a notebook, executed by whomever."""
        return super().from_notebook_node(with_descriptions(without_views(nb)), resources, **kw)
