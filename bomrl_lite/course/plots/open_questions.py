"""Figures of lesson 07: number of tasks, distances on one axis, rewards that hide.

Tables are aggregated first, then drawn: arithmetic means over seeds, also on a logarithmic axis.
"""

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure

from bomrl_lite.course.plots.means import draw_lines
from bomrl_lite.course.plots.style import (
    COLOURS,
    CYCLE,
    DISTANCE_COLOURS,
    WIDTH,
    legend_beside,
    note,
    plain_decades,
    plain_ticks,
)

SEEDS = "arithmetic means over seeds, the range over seeds behind them"


def gaps_by_task_count(gaps: pd.DataFrame) -> Figure:
    """Draw the gap over the number of training tasks, on training and on held-out tasks.

    Args:
        gaps: columns num_tasks, prior, split (training or test), seed, gap.
    """
    figure, axes = plt.subplots(1, 2, figsize=(WIDTH, 3.6), sharey=True)
    titles = {"training": "training tasks", "test": "held-out tasks"}
    for ax, (split, title) in zip(axes, titles.items(), strict=True):
        here = gaps.loc[gaps["split"].eq(split)]
        draw_lines(ax, here, x="num_tasks", y="gap", by="prior", colours=COLOURS)
        ax.set(xscale="log", yscale="log", xlabel="number of training tasks", title=title)
        plain_ticks(ax, gaps["num_tasks"])
        plain_decades(ax.yaxis)
    axes[0].set_ylabel("mean gap after one adaptation")
    legend_beside(figure, axes[0])
    note(figure, SEEDS)
    return figure


def gap_by_movement(rows: pd.DataFrame) -> Figure:
    """Draw what an adaptation earns, and its largest change, over how far it moves.

    Args:
        rows: columns distance (d1, d2, d3), lam, seed, nats, largest, gap.
    """
    figure, axes = plt.subplots(1, 2, figsize=(WIDTH, 3.6))
    columns = {
        "gap": "mean gap after one adaptation",
        "largest": "largest change of a visited state\n(total variation)",
    }
    drawn = dict.fromkeys(("nats", *columns), "mean")
    means = rows.groupby(["distance", "lam"], sort=False, as_index=False).agg(drawn)
    means["distance"] = means["distance"].str.upper()
    for ax, (column, label) in zip(axes, columns.items(), strict=True):
        look = {"colours": DISTANCE_COLOURS, "spread": ""}
        draw_lines(ax, means, x="nats", y=column, by="distance", **look)
        ax.set(xscale="log", xlabel="moved, nats a visited state", ylabel=label)
        plain_decades(ax.xaxis)
    axes[0].legend()
    note(figure, "a dot is one price: its arithmetic mean over seeds")
    return figure


def signal_by_length(rows: pd.DataFrame, expected: pd.DataFrame) -> Figure:
    """Draw how often data hold no reward, and what an adaptation then earns, over a lock's digits.

    Args:
        rows: columns length, episodes (a number as text, or exact), seed, silent (share of tasks
            whose data hold no reward), earned (share of the optimum's return).
        expected: columns length, episodes, silent: (1 - 2^-n)^K, drawn dotted.
    """
    figure, axes = plt.subplots(1, 2, figsize=(WIDTH, 3.6), sharex=True)
    columns = {
        "silent": "share of tasks without a reward\nin their data",
        "earned": "share of the best return\nafter one adaptation",
    }
    names = list(dict.fromkeys(rows["episodes"]))
    colours = dict(zip(names, CYCLE, strict=False))
    for ax, (column, label) in zip(axes, columns.items(), strict=True):
        draw_lines(ax, rows, x="length", y=column, by="episodes", colours=colours)
        ax.set(xlabel="digits of the lock", ylabel=label, ylim=(-0.04, 1.04))
        plain_ticks(ax, rows["length"])
    for name, part in expected.groupby("episodes", sort=False):
        axes[0].plot(part["length"], part["silent"], ls=":", color=colours[str(name)])
    legend_beside(figure, axes[0], "episodes")
    note(figure, SEEDS)
    return figure
