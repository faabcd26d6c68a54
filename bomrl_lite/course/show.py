"""Small displays for notebooks: the package's own source, beside the equation that it is."""

import ast
import inspect
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
from IPython.display import Markdown, display

RESULTS = Path(__file__).resolve().parents[2] / "notebooks" / "results"


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


def stored_table(name: str) -> pd.DataFrame:
    """Return a stored result, which ``python -m bomrl_lite experiment NAME`` made.

    Raises:
        FileNotFoundError: there is none of that name; the message lists those there are.
    """
    path = RESULTS / f"{name}.csv"
    if not path.exists():
        known = ", ".join(sorted(p.stem for p in RESULTS.glob("*.csv")))
        raise FileNotFoundError(
            f"no result is stored as {name!r}; there are {known}. Make it: "
            f"python -m bomrl_lite experiment {name}"
        )
    return pd.read_csv(path, dtype={"seed": str})
