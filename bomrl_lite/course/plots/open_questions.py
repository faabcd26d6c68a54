"""Figures of lesson 07. Tables are aggregated first, then drawn: means over seeds, ranges over all.

A mean is one of values, also on a logarithmic axis.
"""

from collections.abc import Mapping

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

from bomrl_lite.course.plots.geometry import DISTANCE_COLOURS
from bomrl_lite.course.plots.style import INK, LABELS, PRIORS, VALUES

SMALL = 9
"""Points of the smallest letters."""


def spread(table: pd.DataFrame, keys: list[str], value: str) -> pd.DataFrame:
    """Return mean, min and max of a column over whatever ``keys`` leave out, mostly seeds."""
    grouped = table.groupby(keys, sort=False, as_index=False)
    return grouped.agg(mean=(value, "mean"), min=(value, "min"), max=(value, "max"))


def gaps_by_task_count(gaps: pd.DataFrame) -> Figure:
    """Draw the gap over the number of training tasks, on training and on held-out tasks.

    Args:
        gaps: columns num_tasks, prior, split (training or test), seed, gap.
    """
    means = spread(gaps, ["num_tasks", "prior", "split"], "gap")
    figure, axes = plt.subplots(1, 2, figsize=(8.4, 3.6), sharey=True)
    counts = sorted(set(means["num_tasks"]))
    for ax, split in zip(axes, ("training", "test"), strict=True):
        _lines(ax, means.query("split == @split"), "num_tasks", "prior", PRIORS)
        ax.set(xscale="log", yscale="log", xlabel="number of training tasks")
        ax.set_title("training tasks" if split == "training" else "held-out tasks")
        ax.set_xticks(counts, [str(count) for count in counts])
        ax.xaxis.set_minor_formatter(NullFormatter())
    axes[0].set_ylabel("mean gap after one adaptation")
    axes[0].legend(fontsize=SMALL, loc="center", bbox_to_anchor=(0.5, 0.72))
    return figure


def gap_by_movement(rows: pd.DataFrame) -> Figure:
    """Draw what an adaptation earns, and its largest change, over how far it moves.

    Args:
        rows: columns distance (d1, d2, d3), lam, seed, nats, largest, gap; a dot is the mean over
            seeds at one lam.
    """
    figure, axes = plt.subplots(1, 2, figsize=(8.4, 3.6))
    drawn = dict.fromkeys(("nats", "gap", "largest"), "mean")
    means = rows.groupby(["distance", "lam"], sort=False, as_index=False).agg(drawn)
    for name, part in means.groupby("distance", sort=False):
        label = str(name).upper()
        for ax, column in zip(axes, ("gap", "largest"), strict=True):
            style = {"marker": "o", "ms": 5, "color": DISTANCE_COLOURS[label], "label": label}
            ax.plot(part["nats"], part[column], **style)
    for ax in axes:
        ax.set(xscale="log", xlabel="moved, nats a visited state")
    axes[0].set_ylabel("mean gap after one adaptation")
    axes[1].set_ylabel("largest change of a visited state\n(total variation)")
    axes[0].legend(fontsize=SMALL)
    return figure


def signal_by_length(rows: pd.DataFrame, expected: pd.DataFrame) -> Figure:
    """Draw how often data hold no reward, and what an adaptation then earns, over a lock's digits.

    Args:
        rows: columns length, episodes (a number as text, or exact), seed, silent (share of tasks
            whose data hold no reward), earned (share of the optimum's return); lines are means over
            seeds, bands their ranges.
        expected: columns length, episodes, silent: (1 - 2^-n)^K, drawn dotted.
    """
    figure, axes = plt.subplots(1, 2, figsize=(8.4, 3.6), sharex=True)
    names = list(dict.fromkeys(rows["episodes"]))
    shades = [VALUES(0.15 + 0.7 * k / max(1, len(names) - 1)) for k in range(len(names))]
    colours = {**dict(zip(names, shades, strict=True)), "exact": INK}
    for ax, column in zip(axes, ("silent", "earned"), strict=True):
        _lines(ax, spread(rows, ["length", "episodes"], column), "length", "episodes", colours)
        ax.set(xlabel="digits of the lock", ylim=(-0.04, 1.04))
    for name, part in expected.groupby("episodes", sort=False):
        axes[0].plot(part["length"], part["silent"], ls=":", color=colours[str(name)])
    axes[0].set_ylabel("share of tasks whose data hold no reward")
    axes[1].set_ylabel("share of the best return\nafter one adaptation")
    axes[0].legend(title="episodes", fontsize=SMALL, title_fontsize=SMALL)
    return figure


def _lines(ax: Axes, means: pd.DataFrame, x: str, hue: str, colours: Mapping[str, object]) -> None:
    """Draw a line per hue through the means, and a band from min to max."""
    for name, part in means.groupby(hue, sort=False):
        ordered, colour = part.sort_values(x), colours[str(name)]
        label = LABELS.get(str(name), str(name))
        ax.plot(ordered[x], ordered["mean"], marker="o", ms=5, color=colour, label=label)
        ax.fill_between(ordered[x], ordered["min"], ordered["max"], color=colour, alpha=0.15, lw=0)
