"""The site: lessons as they were committed, exercise sets, decisions, names, the public functions.

``make site`` calls Sphinx with this file; nothing is executed, and the pages ask for no network.
"""

import re
from pathlib import Path
from typing import Any

import nbformat
from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.writers.html5 import HTML5Translator

from bomrl_lite.course.page import STYLE, mathml, with_descriptions

project = "bomrl_lite"
author = "the BO-MRL course contributors"
language = "en"
html_title = "bomrl_lite: a course on bilevel-optimisation meta-RL"
html_theme = "furo"
html_static_path = [str(STYLE)]
html_css_files = [STYLE.name]

# The folder of the project is that of the sources: links between its files are those of the site.
root_doc = "docs/index"
include_patterns = [
    "docs/*.md",
    "docs/*/*.md",
    "notebooks/*.ipynb",
    "exercises/*.ipynb",
    "CONTRIBUTING.md",
    "CHANGELOG.md",
]
exclude_patterns = [".*", "build", "runs", "**/.ipynb_checkpoints"]
extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
]
nb_execution_mode = "off"
napoleon_use_rtype = False
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
myst_enable_extensions = ["dollarmath"]
html_math_renderer = "mathml"
# The recorded figures are for the machine; a reader sees them in the text that goes with them.
suppress_warnings = ["mystnb.unknown_mime_type"]


def visit_math(writer: HTML5Translator, node: nodes.Element) -> None:
    """Write an equation as MathML, which browsers draw and read aloud without a script."""
    writer.body.append(mathml(node.astext(), block=isinstance(node, nodes.math_block)))
    raise nodes.SkipNode


def keep_equations(app: Sphinx, what: str, name: str, of: Any, options: Any, lines: list) -> None:
    """Escape the stars, bars and backslashes of equations, which would be marks of a layout."""
    code = re.compile(r"(``.*?``)|([*|\\])")
    if what == "attribute":
        lines.insert(0, "")  # else napoleon takes what stands before a colon for a type
    lines[:] = [code.sub(lambda m: m[1] or "\\" + m[2], line) for line in lines]


def keep_descriptions(app: Sphinx, page: str, source: list[str]) -> None:
    """Write described pictures as HTML: MyST-NB drops the alternative text of an output."""
    if Path(app.env.doc2path(page)).suffix == ".ipynb":
        notebook = with_descriptions(nbformat.v4.reads(source[0]))
        source[0] = nbformat.v4.writes(notebook)


def leave_folders(app: Sphinx, page: nodes.document) -> None:
    """Name a folder of the project without a link: it is no page."""
    for link in list(page.findall(addnodes.pending_xref)):
        if (Path(page["source"]).parent / link["reftarget"]).is_dir():
            link.replace_self(link.children)


def setup(app: Sphinx) -> None:
    """Register the readers of notebooks and docstrings, and the writer of equations."""
    app.connect("doctree-read", leave_folders)
    app.connect("source-read", keep_descriptions)
    app.connect("autodoc-process-docstring", keep_equations, priority=400)  # before napoleon's
    app.add_html_math_renderer("mathml", (visit_math, None), (visit_math, None))
