"""The site: lessons as they were committed, exercise sets, decisions, names, the public functions.

``make site`` calls Sphinx with this file; nothing is executed, and the pages ask for no network.
"""

import re
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.writers.html5 import HTML5Translator

from bomrl_lite.course.page import mathml

project = "bomrl_lite"
author = "the BO-MRL course contributors"
language = "en"
html_title = "bomrl_lite: a course on bilevel-optimisation meta-RL"
html_theme = "furo"

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
    "sphinx.ext.autosummary",
    "sphinx.ext.napoleon",
]
nb_execution_mode = "off"
autosummary_generate = False
autodoc_typehints = "description"
html_math_renderer = "mathml"
# The recorded figures are for the machine; a reader sees them in the text that goes with them.
suppress_warnings = ["mystnb.unknown_mime_type"]


def visit_math(writer: HTML5Translator, node: nodes.Element) -> None:
    """Write an equation as MathML, which browsers draw and read aloud without a script."""
    block = isinstance(node, nodes.math_block)
    text = mathml(node.astext(), block=block)
    writer.body.append(f'<div class="equation">{text}</div>' if block else text)
    raise nodes.SkipNode


def keep_equations(app: Sphinx, what: str, name: str, of: Any, options: Any, lines: list) -> None:
    """Escape the stars, bars and backslashes of equations, which would be marks of a layout."""
    code = re.compile(r"(``.*?``)|([*|\\])")
    lines[:] = [code.sub(lambda m: m[1] or "\\" + m[2], line) for line in lines]


def setup(app: Sphinx) -> None:
    """Register the equations' writer, for text and for blocks, and the docstrings' reader."""
    app.connect("autodoc-process-docstring", keep_equations, priority=400)  # before napoleon's
    app.add_html_math_renderer("mathml", (visit_math, None), (visit_math, None))
