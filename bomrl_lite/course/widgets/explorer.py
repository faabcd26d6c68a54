"""What every widget is made of: controls, the figure that they change, a text that wraps."""

import base64
import html
from collections.abc import Callable, Sequence
from typing import Any

import ipywidgets
import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from bomrl_lite.course.plots import shown
from bomrl_lite.course.widgets.frames import Framed, frames_page

Control = ipywidgets.ValueWidget
"""A slider or a menu."""

FRAME = "course-widget"
LINE = "course-line"
"""Classes of the whole and of its text."""
# The text stands below the picture, which so never moves; an arrow of ipywidgets' menus is black on
# any theme, and its labels neither wrap nor grow.
STYLE = f"""<style>
.{FRAME} .{LINE} {{ order: 2; white-space: normal; height: auto; min-height: 2.8em;
  line-height: 1.4; overflow: visible; font-variant-numeric: tabular-nums; }}
.{FRAME} .widget-hslider, .{FRAME} .widget-dropdown {{ max-width: 44em;
  width: calc(100% - 2 * var(--jp-widgets-margin)); }}
.{FRAME} .widget-label {{ min-width: fit-content; }}
.{FRAME} select {{ background-size: 6px 5px; background-repeat: no-repeat;
  background-position: right 14px center, right 8px center; background-image:
  linear-gradient(45deg, transparent 50%, currentColor 50%),
  linear-gradient(135deg, currentColor 50%, transparent 50%); }}
.{FRAME} .widget-html-content, .{FRAME} .widget-html {{ max-width: 100%; }}
</style>"""


def explorer(
    controls: Control | Sequence[Control],
    draw: Callable[..., Figure],
    describe: Callable[..., str],
) -> ipywidgets.VBox:
    """Join controls, the figure of their values and one line of text that says what is seen.

    Where the page is narrower than the figure, the figure scrolls: its letters keep their size.

    Args:
        controls: one or several; their values are the arguments of the two functions, in order.
        draw: values -> figure.
        describe: values -> text.
    """
    controls = [controls] if isinstance(controls, Control) else list(controls)
    image, line = ipywidgets.HTML(), ipywidgets.Label()
    line.add_class(LINE)

    def show(_: Any = None) -> None:
        values = [control.value for control in controls]
        figure = draw(*values)
        data, page = shown(figure)
        plt.close(figure)
        size = f"width: {page['width']}px; max-width: none"
        image.value = (
            f'{STYLE}<div style="overflow-x: auto">{picture(data, page["alt"], size)}</div>'
        )
        line.value = describe(*values)

    for control in controls:
        control.observe(show, names="value")
    show()
    view = Framed([*controls, line, image])
    view.twin = lambda: frames_page(controls, draw, describe)
    view.add_class(FRAME)
    return view


def picture(data: bytes, alt: object, style: str) -> str:
    """Return a PNG as an element of a page; ipywidgets' own pictures have no alternative text."""
    source = f"data:image/png;base64,{base64.b64encode(data).decode()}"
    words = html.escape(str(alt))
    return f'<img class="widget-image" alt="{words}" style="{style}" src="{source}">'
