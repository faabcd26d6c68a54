"""Look of every figure: colours, letters, size on the page, and paper that is not there.

Figures are drawn without a background, so that a page of any theme shows through. Their text then
has to be read on white and on JupyterLab's dark grey (#111) alike: :data:`INK` is the grey that
has the same contrast to both, 4.3 : 1, and no colour does better. Every colour of a line or a dot
has at least 3 : 1 to both.
"""

import io
from collections.abc import Iterable

import matplotlib as mpl
import matplotlib.pyplot as plt
import seaborn as sns
from IPython import get_ipython
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter
from PIL import Image

from bomrl_lite.course.plots.alternative import alternative_text

INK = "#767a7e"
"""Text, axes and guides: as far from white as from JupyterLab's dark grey."""
DARK = "#1f2933"
"""Text and edges on a light fill."""
ICE, WATER, GOLD = "#e8f1f8", "#3a6a96", "#c98500"
COLOURS = {
    "untrained": "#8c8c8c",
    "joint": "#a0785a",
    "first_order_maml": "#3d97d1",
    "maml": "#0173b2",
    "trpo_maml": "#4f6bdc",
    "e_maml": "#149aa8",
    "promp": "#9467c9",
    "first_order_bomrl": "#d0699c",
    "bomrl_d1": "#d55e00",
    "bomrl_d2": "#c08000",
    "bomrl_d3": "#029e73",
    "bomrl_natural": "#c2255c",
    "bomrl_head": "#7c9417",
}
"""One colour per method, the same in every figure of the course."""
PRIORS = COLOURS
DISTANCE_COLOURS = {name: COLOURS[f"bomrl_{name.lower()}"] for name in ("D1", "D2", "D3")}
"""One colour per distance: that of BO-MRL with it."""
RUNGS = {"naive": "#8c8c8c", "frozen": "#a0623a", "q_gradient": "#149aa8", "full": "#4f6bdc"}
"""One colour per rung of the ladder, from the data cut off to the data whole."""
WAYS = {
    "unrolled": "#0173b2",
    "implicit": "#029e73",
    "implicit, 10 CG": "#029e73",
    "conjugate gradients": "#029e73",
    "implicit, dense": "#d55e00",
    "implicit, 4 CG": "#c98500",
    "implicit, 10 Neumann": "#9467c9",
    "Neumann series": "#9467c9",
}
"""One colour per way to a hypergradient; a solver has that of the way which takes it."""
LABELS = {
    "first_order_maml": "first-order MAML",
    "maml": "MAML",
    "first_order_bomrl": "first-order BO-MRL",
    "bomrl_d1": "BO-MRL, D1",
    "bomrl_d2": "BO-MRL, D2",
    "bomrl_d3": "BO-MRL, D3",
}
CYCLE = ("#0173b2", "#d55e00", "#029e73", "#c98500", "#9467c9", "#c2255c", "#149aa8", "#8c8c8c")
"""Colours of what has no colour of its own, such as tasks."""
VALUES = sns.color_palette("cividis", as_cmap=True)
WIDTH = 8.2
"""Inches of a figure as wide as the text: on A4 its letters of 10 points are printed at 8."""
PIXELS_PER_INCH = 96
"""Of a page on screen, where a letter of 10 points is then 10 points high."""
DENSITY = 2
"""Pixels of the file per pixel of the page."""
LEAST_WIDTH, MOST_HEIGHT = 700, 480
"""Pixels on the page: a narrower figure is enlarged as far as the height allows."""


def use_style() -> None:
    """Set the look of every figure of the course, and how a notebook shows and stores them."""
    sns.set_theme(context="notebook", style="ticks", palette=list(CYCLE))
    sizes = ("font.size", "axes.labelsize", "axes.titlesize", "legend.fontsize")
    sizes += ("legend.title_fontsize", "xtick.labelsize", "ytick.labelsize", "figure.labelsize")
    inks = ("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color")
    plt.rcParams.update(
        {
            **dict.fromkeys(sizes, 10),
            **dict.fromkeys(inks, INK),
            "figure.dpi": PIXELS_PER_INCH,
            "figure.constrained_layout.use": True,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.titleweight": "bold",
            "legend.frameon": False,
            "patch.edgecolor": "none",
        }
    )
    shell = get_ipython()
    if shell is not None:
        plt.switch_backend(mpl.get_backend())  # or the first figure would set the formats anew
        shell.display_formatter.formatters["image/png"].for_type(Figure, shown)


def png(figure: Figure) -> bytes:
    """Draw a figure on no paper at all, with :data:`DENSITY` pixels for each of the page."""
    buffer = io.BytesIO()
    dpi = DENSITY * PIXELS_PER_INCH
    figure.savefig(buffer, format="png", dpi=dpi, transparent=True, bbox_inches="tight")
    return buffer.getvalue()


def shown(figure: Figure) -> tuple[bytes, dict[str, str | int | bool]]:
    """Return a figure as a notebook keeps it: the picture, its size on the page, its text."""
    picture = png(figure)
    width, height = (pixels / DENSITY for pixels in Image.open(io.BytesIO(picture)).size)
    scale = max(1.0, min(LEAST_WIDTH / width, MOST_HEIGHT / height))
    size = {"width": round(width * scale), "height": round(height * scale)}
    # On a narrower page JupyterLab scrolls what is unconfined; it would shrink its letters.
    return picture, {"alt": alternative_text(figure), **size, "unconfined": True}


def figure_of(ax: Axes) -> Figure:
    """Return the figure that axes belong to."""
    figure = ax.get_figure()
    assert isinstance(figure, Figure)
    return figure


def relabel(ax: Axes, title: str = "") -> None:
    """Write the legend of axes with the names of :data:`LABELS`."""
    legend = ax.get_legend()
    if legend is not None:
        legend.set_title(title)
        for text in legend.get_texts():
            text.set_text(LABELS.get(text.get_text(), text.get_text()))


def note(figure: Figure, text: str) -> None:
    """Say above a figure what its lines, dots and bands are."""
    figure.suptitle(text, fontsize=10, fontstyle="italic")


def plain_ticks(ax: Axes, places: Iterable[float]) -> None:
    """Put a tick with its plain number at each place of the x axis, on any scale."""
    at = sorted(set(places))
    ax.set_xticks(at, [f"{place:g}" for place in at])
    ax.xaxis.minorticks_off()


def plain_decades(axis: Axis) -> None:
    """Put 1, 2 and 5 of each decade on a logarithmic axis, in plain numbers, while few span it."""
    low, high = sorted(map(abs, axis.get_view_interval()))
    if low > 0 and high < 1000 * low:
        axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.set_major_formatter("{x:g}")
    axis.set_minor_formatter(NullFormatter())


def legend_beside(figure: Figure, ax: Axes, title: str = "") -> None:
    """Put the legend of one panel, which holds for all, to the right of the figure."""
    handles, names = ax.get_legend_handles_labels()
    figure.legend(handles, names, loc="outside right center", title=title)
