"""Look of every figure: colours, labels, fonts."""

import matplotlib.pyplot as plt
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure

INK, ICE, WATER, GOLD = "#1f2933", "#e8f1f8", "#33587a", "#de8f05"
PRIORS = {
    "untrained": "#949494",
    "joint": "#cc78bc",
    "first_order_maml": "#56b4e9",
    "maml": "#0173b2",
    "first_order_bomrl": "#fbafe4",
    "bomrl_d1": "#d55e00",
    "bomrl_d2": "#de8f05",
    "bomrl_d3": "#029e73",
}
"""One colour per prior, the same in every lesson."""
LABELS = {
    "first_order_maml": "first-order MAML",
    "maml": "MAML",
    "first_order_bomrl": "first-order BO-MRL",
    "bomrl_d1": "BO-MRL, D1",
    "bomrl_d2": "BO-MRL, D2",
    "bomrl_d3": "BO-MRL, D3",
}
VALUES = sns.color_palette("cividis", as_cmap=True)


def use_style() -> None:
    """Set the look of every figure of the course."""
    sns.set_theme(context="notebook", style="ticks", palette="colorblind", font_scale=0.9)
    plt.rcParams.update(
        {
            "figure.dpi": 120,
            "figure.constrained_layout.use": True,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.titlesize": "medium",
            "axes.titleweight": "bold",
            "legend.frameon": False,
        }
    )


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
