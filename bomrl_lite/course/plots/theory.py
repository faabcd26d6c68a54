"""Figures of lesson 05a: task variance, convergence, and the steps of the proof."""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from torch import Tensor

from bomrl_lite.course.plots.lakes import draw_lake
from bomrl_lite.course.plots.style import (
    CYCLE,
    DARK,
    DISTANCE_COLOURS,
    GOLD,
    INK,
    WIDTH,
    plain_decades,
)
from bomrl_lite.tasks.frozen_lake import LakeMap


def dial_setting(
    lake_maps: Sequence[LakeMap],
    policies: Tensor,
    others: Sequence[tuple[float, float]],
    here: tuple[float, float],
) -> Figure:
    """Draw lakes with their optimal policies, and (variance, gap) of this among other settings.

    Args:
        lake_maps: maps to draw.
        policies: their optimal policies, [N, S, A].
        others: (variance, gap) of every setting.
        here: that of the present one.
    """
    figure, axes = plt.subplots(
        1, len(lake_maps) + 1, figsize=(WIDTH, 2.7), width_ratios=(*[1] * len(lake_maps), 1.5)
    )
    for ax, lake_map, probs in zip(axes, lake_maps, policies, strict=False):
        draw_lake(lake_map, None, probs, ax=ax)
    ordered = np.array(sorted(others))
    axes[-1].plot(*ordered.T, "o-", color=INK, ms=4, lw=1)
    axes[-1].plot(*here, "o", color=GOLD, ms=10, markeredgecolor=DARK)
    axes[-1].set(xlabel="task variance, nats", ylabel="gap after one step")
    figure.set_label(
        f"{len(lake_maps)} lakes, {' / '.join(' '.join(m) for m in lake_maps)}, with the arrows of "
        f"their optimal policies; beside them the gap after one step over the task variance: "
        f"here {here[1]:.3f} at {here[0]:.3f} nats, all {len(others)} settings from "
        f"{ordered[0, 1]:.3f} at {ordered[0, 0]:.3f} to {ordered[-1, 1]:.3f} at "
        f"{ordered[-1, 0]:.3f}."
    )
    return figure


def convergence(frame: pd.DataFrame, fits: dict[str, tuple[float, float, float]]) -> Figure:
    """Draw the averaged gap of the theorem's left side over T, and the fitted right side.

    Args:
        frame: columns T, average, seed.
        fits: seed -> (K, M, floor) of K / T + M / sqrt(T) + floor.
    """
    figure, ax = plt.subplots(figsize=(WIDTH, 3.6))
    for (seed, part), colour in zip(frame.groupby("seed", sort=False), CYCLE, strict=False):
        steps = np.asarray(part["T"], dtype=float)
        k, m, floor = fits[str(seed)]
        ax.plot(steps, part["average"], color=colour, lw=2.5, alpha=0.5, label=f"seed {seed}")
        ax.plot(steps, k / steps + m / np.sqrt(steps) + floor, color=colour, ls="--", lw=1.2)
    ax.set(xscale="log", yscale="log", xlabel="meta-iterations T", ylabel="gap, averaged up to T")
    ax.plot([], [], color=INK, ls="--", lw=1.2, label=r"fit: $K/T + M/\sqrt{T}$ + floor")
    plain_decades(ax.yaxis)
    ax.legend()
    return figure


def proof_steps(frame: pd.DataFrame) -> Figure:
    """Draw both sides of each inequality of the proof, one dot per pair of policies.

    Args:
        frame: columns step, left, right.
    """
    parts = list(frame.groupby("step", sort=False))
    figure, axes = plt.subplots(1, len(parts), figsize=(WIDTH, 2.9), squeeze=False)
    for ax, (step, part) in zip(axes[0], parts, strict=True):
        ax.scatter(part["right"], part["left"], s=8, color=CYCLE[0])
        ends = [min(part["left"].min(), part["right"].min()), part["right"].max()]
        ax.plot(ends, ends, color=INK, lw=1, ls=":")
        ax.set(xscale="log", yscale="log", title=str(step), xlabel="right side")
        ax.minorticks_off()
    axes[0, 0].set_ylabel("left side")
    return figure


def smoothing_caveat(frame: pd.DataFrame) -> Figure:
    """Draw the task variance over the smoothing of the optimum, per distance and family.

    Args:
        frame: columns smoothing, variance, distance, family.
    """
    figure, ax = plt.subplots(figsize=(WIDTH, 3.6))
    looks = ("-", "--", ":")
    families = list(dict.fromkeys(frame["family"]))
    for distance, family in frame[["distance", "family"]].drop_duplicates().to_numpy():
        part = frame[(frame["distance"] == distance) & (frame["family"] == family)]
        colour, line = DISTANCE_COLOURS[distance], looks[families.index(family)]
        label = f"{distance}, {family}"
        ax.plot(part["smoothing"], part["variance"], "o", color=colour, ls=line, label=label)
    ax.set(xscale="log", yscale="log", ylabel="task variance")
    ax.set_xlabel(r"smoothing $\varepsilon$ of the optimum")
    ax.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure
