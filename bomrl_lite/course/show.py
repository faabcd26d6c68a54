"""Small displays for notebooks: the package's own source, beside the equation that it is."""

import ast
import inspect
import textwrap
from collections.abc import Callable
from typing import Any

from IPython.display import Markdown, display


def show_source(*functions: Callable[..., Any]) -> None:
    """Display the code of functions without their docstrings, so that text and code cannot part."""
    for function in functions:
        display(Markdown(f"```python\n{source_without_docstring(function)}\n```"))


def source_without_docstring(function: Callable[..., Any]) -> str:
    """Return the source of a function with its docstring left out."""
    text = textwrap.dedent(inspect.getsource(function))
    body = ast.parse(text).body[0]
    if not isinstance(body, ast.FunctionDef) or ast.get_docstring(body) is None:
        return text.rstrip()
    lines, docstring = text.splitlines(), body.body[0]
    return "\n".join(lines[: docstring.lineno - 1] + lines[docstring.end_lineno :]).rstrip()
