"""Figures of lesson 05: task variance, convergence, and the steps of the proof.

Most are drawn at 80 dpi: eleven figures share a notebook of 300 kB.
"""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure
from torch import Tensor

from bomrl_lite.course.plots.lakes import draw_lake
from bomrl_lite.course.plots.style import GOLD, INK, relabel
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
    figure, axes = plt.subplots(1, len(lake_maps) + 1, figsize=(2.35 * (len(lake_maps) + 1), 2.5))
    for ax, lake_map, probs in zip(axes, lake_maps, policies, strict=False):
        draw_lake(lake_map, None, probs, ax=ax)
    ordered = np.array(sorted(others))
    axes[-1].plot(*ordered.T, "o-", color="#949494", ms=4, lw=1)
    axes[-1].plot(*here, "o", color=GOLD, ms=10, markeredgecolor=INK)
    axes[-1].set(xlabel="task variance, nats", ylabel="gap after one step")
    return figure


def convergence(frame: pd.DataFrame, fits: dict[str, tuple[float, float, float]]) -> Figure:
    """Draw the averaged gap of the theorem's left side over T, and the fitted right side.

    Args:
        frame: columns T, average, seed.
        fits: seed -> (K, M, floor) of K / T + M / sqrt(T) + floor.
    """
    figure, ax = plt.subplots(figsize=(5.6, 3.2), dpi=80)
    colours = sns.color_palette("colorblind", len(fits))
    for (seed, part), colour in zip(frame.groupby("seed", sort=False), colours, strict=True):
        steps = np.asarray(part["T"], dtype=float)
        k, m, floor = fits[str(seed)]
        ax.plot(steps, part["average"], color=colour, lw=2.5, alpha=0.5, label=f"seed {seed}")
        ax.plot(steps, k / steps + m / np.sqrt(steps) + floor, color=colour, ls="--", lw=1.2)
    ax.set(xscale="log", yscale="log", xlabel="meta-iterations T", ylabel="gap, averaged up to T")
    ax.legend()
    return figure


def proof_steps(frame: pd.DataFrame) -> Figure:
    """Draw both sides of each inequality of the proof, one dot per pair of policies.

    Args:
        frame: columns step, left, right.
    """
    parts = list(frame.groupby("step", sort=False))
    figure, axes = plt.subplots(1, len(parts), figsize=(8.6, 2.6), dpi=80, squeeze=False)
    for ax, (step, part) in zip(axes[0], parts, strict=True):
        ax.scatter(part["right"], part["left"], s=5, color="#0173b2")
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
    figure, ax = plt.subplots(figsize=(5.2, 3.0), dpi=80)
    dials = {"hue": "distance", "style": "family", "markers": True}
    sns.lineplot(frame, x="smoothing", y="variance", ax=ax, **dials)
    ax.set(xscale="log", yscale="log", ylabel="task variance")
    ax.set_xlabel(r"smoothing $\varepsilon$ of the optimum")
    relabel(ax)
    sns.move_legend(ax, "center left", bbox_to_anchor=(1.0, 0.5))
    return figure
