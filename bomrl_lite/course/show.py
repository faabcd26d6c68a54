"""Small displays for notebooks: the package's own source, beside the equation that it is."""

import ast
import base64
import html
import inspect
import textwrap
from collections.abc import Callable
from typing import Any

import matplotlib.pyplot as plt
import pandas as pd
from IPython.display import HTML, Image, Markdown, display
from matplotlib.figure import Figure
from numpy import ndarray

from bomrl_lite.course.plots import shown
from bomrl_lite.course.root import course_root
from bomrl_lite.course.tables import REMEDY, read_table
from bomrl_lite.render.render import webp_clip


def show_source(*functions: Callable[..., Any]) -> None:
    """Display the code of functions without their docstrings, so that text and code cannot part."""
    for function in functions:
        fence = f"```python\n{source_without_docstring(function)}\n```"
        # An exported page lets a fence inherit its font from around it: text, but for the div.
        display(Markdown(f'<div style="font-family: monospace">\n\n{fence}\n\n</div>'))


def source_without_docstring(function: Callable[..., Any]) -> str:
    """Return the source of a function, its decorators and its docstring left out."""
    text = textwrap.dedent(inspect.getsource(function))
    body = ast.parse(text).body[0]
    if not isinstance(body, ast.FunctionDef) or ast.get_docstring(body) is None:
        return "\n".join(text.splitlines()[getattr(body, "lineno", 1) - 1 :]).rstrip()
    lines, docstring = text.splitlines(), body.body[0]
    return "\n".join(
        lines[body.lineno - 1 : docstring.lineno - 1] + lines[docstring.end_lineno :]
    ).rstrip()


def stored_table(name: str) -> pd.DataFrame:
    """Return a stored result, which ``python -m bomrl_lite experiment NAME`` made.

    Raises:
        FileNotFoundError: there is none of that name; the message lists those there are.
        ValueError: it is not a whole table.
    """
    results = course_root() / "notebooks" / "results"
    path = results / f"{name}.csv"
    if not path.exists():
        known = ", ".join(sorted(p.stem for p in results.glob("*.csv")))
        raise FileNotFoundError(
            f"no result is stored as {name!r}; there are {known}. Make it: "
            f"python -m bomrl_lite experiment {name}"
        )
    return read_table(path, REMEDY.format(name))


def show_clip(
    pictures: ndarray, fps: float, *, kilobytes: int = 400, alt: str = "an animated clip of robots"
) -> HTML:
    """Return pictures as a clip that a notebook keeps, thinned out until it is small enough.

    As a picture in HTML: a page made of the notebook would leave a bare WebP out.

    A committed notebook holds at most 1.5 MB, and a file in it takes 4/3 of its size. Every second
    picture is left out, at the same speed of motion, as often as it needs.

    Args:
        pictures: bytes [T, H, W, 3], see :func:`bomrl_lite.render.render.frames`.
        fps: pictures per second.
        kilobytes: largest size of the file; a single picture may be larger.
        alt: what is seen, in words.
    """
    data = webp_clip(pictures, fps)
    while len(data) > 1000 * kilobytes and len(pictures) > 1:
        pictures, fps = pictures[::2], fps / 2
        data = webp_clip(pictures, fps)
    text = base64.b64encode(data).decode()
    source = f"data:image/webp;base64,{text}"
    return HTML(f'<img alt="{html.escape(alt)}" style="max-width: 100%" src="{source}">')


def show_photograph(figure: Figure) -> Image:
    """Return a figure that holds pictures of robots as a notebook keeps it, and close it."""
    picture, page = shown(figure)
    plt.close(figure)
    size: dict[str, Any] = {name: page[name] for name in ("width", "height", "unconfined")}
    return Image(data=picture, format="png", alt=str(page["alt"]), **size)
