"""Pictures that explain an idea and show no result."""

from collections.abc import Sequence

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bomrl_lite.course.plots.style import CYCLE, DARK, GOLD, ICE, INK, WIDTH

Points = Sequence[tuple[float, float]]


def meta_learning_picture() -> Figure:
    """Draw learning every task from scratch beside adapting from one learned starting point."""
    figure, axes = plt.subplots(1, 2, figsize=(WIDTH, 3.1), sharex=True, sharey=True)
    optima = [(0.8, 0.15), (0.9, 0.75), (0.55, 0.9)]
    starts = [(0.05, 0.1), (0.1, 0.55), (0.05, 0.95)]
    titles = ("from scratch: a long way each time", "meta-learned: one start, short ways")
    for ax, origins, title in zip(axes, (starts, [(0.66, 0.55)] * 3), titles, strict=True):
        _draw_ways(ax, origins, optima)
        ax.set(title=title, xlabel="policy parameters", xticks=[], yticks=[])
        ax.set(xlim=(-0.05, 1.2), ylim=(0, 1.1))
    axes[0].set_ylabel("policy parameters")
    axes[1].annotate(r"$\phi$", (0.66, 0.55), (-16, -4), textcoords="offset points", fontsize=13)
    figure.set_label(
        "Two drawings of parameter space. From scratch: three tasks, three starts, a long way each "
        "to the best policy of the task. Meta-learned: one start, phi, between the three, and a "
        "short way from it to each."
    )
    return figure


def _draw_ways(ax: Axes, starts: Points, optima: Points) -> None:
    for k, (start, end, colour) in enumerate(zip(starts, optima, CYCLE, strict=False)):
        way = {"arrowstyle": "-|>", "color": colour, "lw": 2, "connectionstyle": "arc3,rad=0.15"}
        ax.annotate("", end, start, arrowprops={**way, "shrinkB": 6})
        ax.plot(*end, "*", ms=15, color=colour, markeredgecolor=DARK)
        ax.plot(*start, "o", ms=8, color="white", markeredgecolor=DARK)
        ax.annotate(f"best for\ntask {k + 1}", end, (11, -8), textcoords="offset points")


def bilevel_picture() -> Figure:
    """Draw the loop of optimisation-based meta-RL: two levels, one pass of data."""
    figure, ax = plt.subplots(figsize=(WIDTH, 2.5))
    boxes = (
        r"meta-policy $\pi_\phi$",
        "data, collected once\nin task $\\tau$",
        r"adapt: $\theta = \mathrm{Alg}(\phi, \tau)$",
        r"return $J_\tau(\pi_\theta)$",
    )
    arrow = {"arrowstyle": "-|>", "color": INK}
    frame = {"boxstyle": "round,pad=0.5", "facecolor": ICE, "edgecolor": INK}
    for k, text in enumerate(boxes):
        ax.text(k, 0, text, ha="center", va="center", bbox=frame, color=DARK)
        if k:
            ax.annotate("", (k - 0.38, 0), (k - 0.62, 0), arrowprops=arrow, zorder=0)
    loop = {**arrow, "color": GOLD, "lw": 2, "connectionstyle": "arc3,rad=0.2"}
    ax.annotate("", (0, 0.2), (3, 0.2), arrowprops=loop)
    meta_gradient = r"$\nabla_\phi J_\tau(\mathrm{Alg}(\phi, \tau))$"
    outer = f"outer level: meta-gradient {meta_gradient}, averaged over tasks"
    ax.text(1.5, 0.95, outer, ha="center", color=GOLD)
    ax.text(1.5, -0.5, "inner level: one task, one batch of data", ha="center")
    ax.set(xlim=(-0.5, 3.5), ylim=(-0.6, 1.2))
    ax.axis("off")
    figure.set_label(
        "Flow chart: the meta-policy collects data once in a task, Alg adapts it to theta, which "
        "earns a return (inner level); from there an arrow leads back to the meta-policy, the "
        "meta-gradient averaged over tasks (outer level)."
    )
    return figure
