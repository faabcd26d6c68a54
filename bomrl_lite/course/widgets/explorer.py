"""What every widget is made of: controls, the figure that they change, one line of text."""

import io
from collections.abc import Callable, Sequence
from typing import Any

import ipywidgets
import matplotlib.pyplot as plt
from matplotlib.figure import Figure

Control = ipywidgets.ValueWidget
"""A slider or a menu."""


def explorer(
    controls: Control | Sequence[Control],
    draw: Callable[..., Figure],
    describe: Callable[..., str],
) -> ipywidgets.VBox:
    """Join controls, the figure of their values and one line of text that says what is seen.

    Args:
        controls: one or several; their values are the arguments of the two functions, in order.
        draw: values -> figure.
        describe: values -> text.
    """
    controls = [controls] if isinstance(controls, Control) else list(controls)
    # At its own size: a box would stretch it to its full width.
    layout = ipywidgets.Layout(align_self="flex-start", max_width="100%")
    image, line = ipywidgets.Image(format="png", layout=layout), ipywidgets.Label()

    def show(_: Any = None) -> None:
        values = [control.value for control in controls]
        image.value = _png(draw(*values))
        line.value = describe(*values)

    for control in controls:
        control.observe(show, names="value")
    show()
    return ipywidgets.VBox([*controls, line, image])


def _png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    plt.close(figure)
    return buffer.getvalue()
