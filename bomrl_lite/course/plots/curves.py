"""Results of training and of adaptation, drawn from tidy frames.

Lines and bars are arithmetic means over seeds, bands and whiskers span all seeds.
"""

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from bomrl_lite.course.plots.means import draw_dots, draw_lines
from bomrl_lite.course.plots.style import (
    COLOURS,
    INK,
    LABELS,
    WIDTH,
    figure_of,
    legend_beside,
    note,
    plain_decades,
    plain_ticks,
)

SEEDS = "arithmetic means over seeds, the range over seeds behind them"


def training_curves(history: pd.DataFrame, optimum: float | None = None) -> Figure:
    """Draw return before and after adaptation over meta-iterations, one line per method.

    Args:
        history: columns method, seed, iteration, return_before, return_after.
        optimum: mean return of the tasks' own best policies, drawn as a line.
    """
    figure, axes = plt.subplots(1, 2, figsize=(WIDTH, 3.2), sharey=True)
    columns = {"return_before": "before adaptation", "return_after": "after one step"}
    for ax, (column, title) in zip(axes, columns.items(), strict=True):
        look = {"colours": COLOURS, "markers": False}
        draw_lines(ax, history, x="iteration", y=column, by="method", **look)
        ax.set(title=title, xlabel="meta-iteration")
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
        if optimum is not None:
            ax.axhline(optimum, color=INK, lw=1, ls=":")
    if optimum is not None:
        axes[0].text(0, optimum, " optimum of every task", va="bottom")
    axes[0].set_ylabel("return J over training tasks")
    axes[1].legend()
    note(figure, SEEDS)
    return figure


def gap_bars(gaps: pd.DataFrame) -> Figure:
    """Draw the mean gap to each task's optimum after 0, 1, ... adaptations, per prior and split.

    Args:
        gaps: columns prior, split, seed, step, gap; dots are means, whiskers span all seeds.
    """
    keys = ["split", "prior", "seed", "step"]
    means = gaps.groupby(keys, sort=False, as_index=False).agg({"gap": "mean"})
    parts = list(means.groupby("split", sort=False))
    figure, axes = plt.subplots(1, len(parts), figsize=(WIDTH, 3.6), sharey=True, squeeze=False)
    for ax, (split, part) in zip(axes[0], parts, strict=True):
        draw_dots(ax, part, x="step", y="gap", by="prior", colours=COLOURS)
        ax.set(title=f"{split} tasks", xlabel="adaptation steps, each on fresh data", yscale="log")
        plain_decades(ax.yaxis)
    axes[0, 0].set_ylabel("gap to each task's optimum")
    legend_beside(figure, axes[0, -1])
    note(figure, SEEDS)
    return figure


def return_over_step_size(
    curve: pd.DataFrame, *, chosen: float | None = None, ax: Axes | None = None
) -> Figure:
    """Draw the return after one step of size alpha, one line per task.

    Args:
        curve: columns task, step_size, return.
        chosen: step size to mark.
        ax: where to draw; a new figure if None.
    """
    ax = plt.subplots(figsize=(WIDTH, 3.4))[1] if ax is None else ax
    for task, part in curve.groupby("task"):
        ax.plot(part["step_size"], part["return"], lw=1.5, label=f"task {task}")
    ax.set(xscale="log", xlabel=r"step size $\alpha$", ylabel="return J after one step")
    if chosen is not None:
        ax.axvline(chosen, color=INK, lw=1, ls=":")
    return figure_of(ax)


def gap_over_tasks(gaps: pd.DataFrame) -> Figure:
    """Draw the mean gap over the number of training tasks, for training and held-out tasks.

    Args:
        gaps: columns tasks, num_tasks, seed, gap.
    """
    figure, ax = plt.subplots(figsize=(WIDTH, 3.4))
    draw_lines(ax, gaps, x="num_tasks", y="gap", by="tasks")
    ax.set(xscale="log", xlabel="training tasks", ylabel="gap after one step")
    plain_ticks(ax, gaps["num_tasks"])
    ax.legend()
    note(figure, SEEDS)
    return figure


def gap_over_steps(gaps: pd.DataFrame) -> Figure:
    """Draw the mean gap over the number of inner steps, one line per kind of data.

    Args:
        gaps: columns steps, gap, data, prior, seed; lines are means, bands span all seeds.
    """
    parts = list(gaps.groupby("prior", sort=False))
    figure, axes = plt.subplots(1, len(parts), figsize=(WIDTH, 3.4), sharey=True, squeeze=False)
    for ax, (prior, part) in zip(axes[0], parts, strict=True):
        draw_lines(ax, part, x="steps", y="gap", by="data")
        name = LABELS.get(str(prior), prior)
        ax.set(title=f"{name} prior", xlabel="inner gradient steps", yscale="log")
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
        plain_decades(ax.yaxis)
    axes[0, 0].set_ylabel("gap to each task's optimum")
    axes[0, -1].legend()
    note(figure, SEEDS)
    return figure


def gap_against_stationarity(runs: pd.DataFrame, standstill: float) -> Figure:
    """Draw every training run by the norm of its meta-gradient and its gap.

    Args:
        runs: columns stationarity, gap, step size.
        standstill: gap of a policy that earns nothing, drawn as a line.
    """
    figure, ax = plt.subplots(figsize=(WIDTH, 3.6))
    for number, (size, part) in enumerate(runs.groupby("step size", sort=False)):
        look = {"ms": 9 + 3 * number, "mew": 1.8, "mfc": "none"}  # hollow: none hides another
        marker = ("o", "s", "D", "^")[number % 4]
        ax.plot(part["stationarity"], part["gap"], marker, label=f"step size {size}", **look)
    ax.axhline(standstill, color=INK, lw=1, ls=":")
    ax.text(1, standstill, "earns nothing", transform=ax.get_yaxis_transform(), ha="right")
    ax.set(xscale="log", xlabel="norm of the meta-gradient (stationarity)", ylim=(0, None))
    ax.set(ylabel="gap after one step")
    plain_decades(ax.xaxis)
    ax.legend()
    note(figure, "one mark per run")
    return figure
