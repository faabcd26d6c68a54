"""Figures of the experiments on sampled data, and of points that walk to goals.

Dots and lines are interquartile means over seeds (Agarwal et al., 2108.13264), whiskers and bands
their 95 % bootstrap intervals.
"""

from collections.abc import Callable
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
import torch
from matplotlib.figure import Figure
from matplotlib.patches import Circle
from torch import Tensor
from torch.func import grad, vmap

from bomrl_lite.course.plots.style import INK
from bomrl_lite.course.statistics import interquartile_mean, interquartile_mean_interval

METHOD_LABELS = {
    "untrained": "untrained",
    "joint": "joint",
    "naive_maml": "MAML, naive autodiff",
    "first_order_maml": "first-order MAML",
    "lvc_maml": "MAML (LVC)",
    "dice_maml": "MAML (DiCE)",
    "loaded_dice_maml": "MAML (Loaded DiCE)",
    "e_maml": "E-MAML",
    "trpo_maml": "MAML-TRPO",
    "promp": "ProMP",
    "anil": "ANIL (head)",
    "imaml": "iMAML",
    "bomrl_natural": "BO-MRL, all (B)",
    "bomrl_natural_region": "BO-MRL, trust region",
    "bomrl_head": "BO-MRL, head (A)",
    "bomrl_solved": "BO-MRL, solved (C)",
}
"""Names of the methods in figures."""
METHOD_COLOURS = {
    "untrained": "#949494",
    "joint": "#cc78bc",
    "lvc_maml": "#0173b2",
    "promp": "#029e73",
    "bomrl_natural": "#d55e00",
    "bomrl_head": "#de8f05",
}
"""One colour per method of the longer experiments; of the others, which figures name, grey."""
IQM: dict[str, Any] = {"estimator": interquartile_mean, "errorbar": interquartile_mean_interval}
"""How seaborn draws interquartile means and their intervals."""


def methods_figure(frame: pd.DataFrame) -> Figure:
    """Draw returns after one adaptation beside CPU-seconds, and after 1, 2 and 3 adaptations."""
    one, after = _rows(frame, frame["step"] == 1), _rows(frame, frame["step"] > 0)
    methods = _ranked(one)
    figure, (left, middle, right) = plt.subplots(
        1, 3, figsize=(10.5, 0.26 * len(methods) + 1.4), sharey=True, width_ratios=(2, 2, 1)
    )
    dials: dict[str, Any] = {"order": methods, "y": "method"}
    spread: dict[str, Any] = {**IQM, "linestyle": "none"}
    sns.stripplot(one, x="return", ax=left, color="#bbbbbb", size=3, jitter=0.15, **dials)
    sns.pointplot(one, x="return", ax=left, color=INK, markersize=5, **dials, **spread)
    best = interquartile_mean(_rows(one, one["method"] == methods[0])["return"].to_numpy())
    left.set_xlim(best - 3.5, best + 0.7)  # the front, enlarged; the middle panel has all
    left.set(xlabel="return after 1 adaptation (front)", ylabel="")
    sns.pointplot(
        after, x="return", hue="step", ax=middle, dodge=True, palette="viridis", markersize=4,
        **dials, **spread,
    )  # fmt: skip
    middle.set(xlabel="return after 1, 2, 3 adaptations", ylabel="")
    middle.legend(title="adaptations", fontsize=8, title_fontsize=8)
    sns.barplot(one, x="seconds", ax=right, color="#56b4e9", errorbar=None, **dials)
    right.set(xlabel="CPU-seconds of training", ylabel="")
    left.set_yticks(range(len(methods)), [METHOD_LABELS[m] for m in methods], fontsize=8)
    return figure


def tuning_figure(frame: pd.DataFrame) -> Figure:
    """Draw the return of all eight configurations of every method: how much tuning decides."""
    grouped = frame.groupby(["method", "configuration"])["return"].mean()
    means = pd.DataFrame(grouped).reset_index()
    methods = _ranked(means)
    figure, ax = plt.subplots(figsize=(7, 0.26 * len(methods) + 1.2))
    sns.stripplot(means, x="return", y="method", order=methods, ax=ax, color="#0173b2", size=4)
    ax.set(xlabel="return after 1 adaptation, mean of the tuning seeds", ylabel="")
    ax.set_yticks(range(len(methods)), [METHOD_LABELS[m] for m in methods], fontsize=8)
    return figure


def episodes_figure(frame: pd.DataFrame) -> Figure:
    """Draw returns over one-time episodes: priors trained for that number, and for 20."""
    figure, axes = plt.subplots(1, 2, figsize=(9, 3.4), sharey=True)
    matched = _rows(frame, frame["trained_with"] == frame["episodes"])
    many = _rows(frame, frame["trained_with"] == frame["trained_with"].max())
    titles = ("prior trained with as many episodes", "prior trained with 20 episodes")
    for ax, part, title in zip(axes, (matched, many), titles, strict=True):
        _lines(part, "episodes", ax)
        ax.set(xscale="log", title=title, xlabel="one-time episodes at test time")
        ax.set_xticks(sorted(set(part["episodes"])), sorted(set(part["episodes"])), minor=False)
        ax.minorticks_off()
    floor = float(many["return"].to_numpy().min())  # runs that failed to train end far below
    axes[0].set(ylabel="return after 1 adaptation", ylim=(floor - 1, None))
    axes[1].get_legend().remove()
    return figure


def heterogeneity_figure(frame: pd.DataFrame) -> Figure:
    """Draw returns before and after one adaptation over the width of the arc of goals."""
    width = frame["tasks"].str.extract(r"arc-(\d+)")[0].astype(float).fillna(360.0)
    frame = frame.assign(width=width)
    figure, axes = plt.subplots(1, 2, figsize=(9, 3.2), sharex=True, sharey=True)
    for ax, column, title in zip(
        axes, ("before", "return"), ("before adaptation", "after 1 adaptation"), strict=True
    ):
        _lines(frame.assign(**{"return": frame[column]}), "width", ax)
        ax.set(title=title, xlabel="arc of goals (degrees)", ylabel="return")
        ax.set_xticks(sorted(set(width)))
    axes[1].get_legend().remove()
    return figure


def sampled_lakes_figure(frame: pd.DataFrame) -> Figure:
    """Draw gaps on held-out lakes over one-time episodes, one line per prior."""
    families = list(dict.fromkeys(frame["family"]))
    figure, axes = plt.subplots(1, len(families), figsize=(9, 3.6), sharex=True)
    shown = _rows(frame, frame["alg"] == "bomrl_d2")
    priors = list(dict.fromkeys(shown["prior"]))
    colours = ["#949494", "#cc78bc", "#0173b2", "#de8f05", "#d55e00"]
    names = {"maml": "MAML", "untrained": "untrained", "joint": "joint"}
    for ax, family in zip(axes, families, strict=True):
        sns.lineplot(
            _rows(shown, shown["family"] == family), x="episodes", y="gap", hue="prior",
            style="prior",
            hue_order=priors, style_order=priors, palette=colours[: len(priors)], markers=True,
            dashes=False, ax=ax, **IQM,
        )  # fmt: skip
        ax.set(
            xscale="log", title=family, xlabel="one-time episodes K", ylabel="gap, held-out lakes"
        )
        ax.set_ylim(bottom=0)
        ax.set_xticks(sorted(set(shown["episodes"])), sorted(set(shown["episodes"])))
        ax.get_legend().remove()
    handles, labels = axes[0].get_legend_handles_labels()
    labels = [names.get(str(n), str(n).replace("bomrl_d2 lam", "BO-MRL, lam")) for n in labels]
    figure.legend(handles, labels, loc="outside right center", fontsize=8, title="prior")
    return figure


def inner_steps_figure(frame: pd.DataFrame) -> Figure:
    """Draw error, time and memory of implicit and unrolled hypergradients over inner steps."""
    figure, axes = plt.subplots(1, 3, figsize=(10, 3.0), sharex=True)
    units = {
        "error": "relative error of the hypergradient",
        "seconds": "CPU-seconds",
        "megabytes": "peak memory (MB)",
    }
    colours = {"implicit": "#0173b2", "unrolled": "#d55e00"}
    for ax, (column, label) in zip(axes, units.items(), strict=True):
        sns.lineplot(
            frame, x="steps", y=column, hue="way", style="way", markers=True, dashes=False,
            palette=colours, estimator="median", errorbar=("pi", 100), ax=ax,
        )  # fmt: skip
        ax.set(xscale="log", yscale="log", xlabel="inner gradient steps", ylabel=label)
        ax.set_xticks(sorted(set(frame["steps"])), sorted(set(frame["steps"])))
        ax.legend(title="")
    return figure


def draw_walks(
    walks: dict[str, Tensor], goals: Tensor, *, radius: float | None = None, limit: float = 1.6
) -> Figure:
    """Draw the paths of points, one panel per label, one colour per goal.

    Args:
        walks: label -> positions [N, B, T, 2] of N goals and B episodes each.
        goals: [N, 2].
        radius: of the disc around each goal in which it pays; None draws none.
        limit: half the side of the picture, in units of distance.
    """
    figure, axes = plt.subplots(
        1, len(walks), figsize=(2.6 * len(walks), 2.8), sharex=True, sharey=True, squeeze=False
    )
    colours = sns.color_palette("colorblind", len(goals))
    for ax, (label, paths) in zip(axes[0], walks.items(), strict=True):
        for colour, goal, episodes in zip(colours, goals.tolist(), paths, strict=True):
            for path in episodes.tolist():
                ax.plot(*zip(*path, strict=True), color=colour, lw=0.7, alpha=0.6)
            ax.plot(*goal, marker="*", ms=11, mec=INK, mew=0.6, color=colour, zorder=3)
            if radius is not None:
                ax.add_patch(Circle(goal, radius, color=colour, alpha=0.08, lw=0))
        ax.set(title=label, xlim=(-limit, limit), ylim=(-limit, limit), aspect="equal", xlabel="x")
    axes[0, 0].set_ylabel("y")
    return figure


def sampled_training_curves(frame: pd.DataFrame) -> Figure:
    """Draw returns before and after adaptation over iterations, one colour per method."""
    figure, ax = plt.subplots(figsize=(6.5, 3.2))
    methods = list(dict.fromkeys(frame["method"]))
    sns.lineplot(
        frame, x="iteration", y="return", hue="method", style="when", hue_order=methods,
        style_order=["after 1 adaptation", "before"], ax=ax,
    )  # fmt: skip
    ax.set(xlabel="meta-iteration", ylabel="return of the training batch")
    _name_methods(ax)
    sns.move_legend(ax, "center left", bbox_to_anchor=(1.0, 0.5), fontsize=8)
    return figure


def ascent_fields(
    objectives: dict[str, Callable[[Tensor], Tensor]],
    paths: dict[str, list[Tensor]],
    *,
    labels: tuple[str, str],
    x: tuple[float, float] = (-2.0, 2.0),
    y: tuple[float, float] = (-1.8, 1.0),
) -> Figure:
    """Draw objectives of two parameters, the directions of their gradients, and ascents.

    Args:
        objectives: label -> scalar function of a tensor [2].
        paths: label -> paths [K, 2].
        labels: of the two parameters.
        x: range of the first.
        y: range of the second.
    """
    figure, axes = plt.subplots(
        1, len(objectives), figsize=(3.4 * len(objectives), 3.2), sharey=True, squeeze=False
    )
    fine, coarse = (
        torch.cartesian_prod(
            torch.linspace(*x, across, dtype=torch.float64),
            torch.linspace(*y, up, dtype=torch.float64),
        )
        for across, up in ((50, 36), (13, 10))
    )
    for ax, (label, objective) in zip(axes[0], objectives.items(), strict=True):
        heights = vmap(objective)(fine).reshape(50, 36)
        ax.contourf(*fine.reshape(50, 36, 2).movedim(-1, 0), heights, levels=12, cmap="cividis")
        arrows = vmap(grad(objective))(coarse)
        arrows = arrows / arrows.norm(dim=-1, keepdim=True).clamp(min=1e-12)
        ax.quiver(*coarse.T, *arrows.T, color="white", width=0.005, scale=26)
        for path in paths[label]:
            ax.plot(*path.T, color="#de8f05", lw=1.4)
            ax.plot(*path[-1], "o", color="#d55e00", ms=5)
        ax.set(title=label, xlim=x, ylim=y, xlabel=labels[0])
    axes[0, 0].set_ylabel(labels[1])
    return figure


def _ranked(frame: pd.DataFrame) -> list[str]:
    """Return the methods that have returns, best first."""
    parts = {str(name): part["return"].to_numpy() for name, part in frame.groupby("method")}
    scores = {name: interquartile_mean(values) for name, values in parts.items()}
    finite = [name for name, score in scores.items() if np.isfinite(score)]
    return sorted(finite, key=lambda name: -scores[name])


def _rows(frame: pd.DataFrame, chosen: Any) -> pd.DataFrame:
    return pd.DataFrame(frame[chosen])


def _name_methods(ax: Any) -> None:
    legend = ax.get_legend()
    legend.set_title("")
    for text in legend.get_texts():
        text.set_text(METHOD_LABELS.get(text.get_text(), text.get_text()))


def _lines(frame: pd.DataFrame, x: str, ax: Any) -> None:
    methods = [m for m in METHOD_COLOURS if m in set(frame["method"])]
    sns.lineplot(
        frame, x=x, y="return", hue="method", style="method", hue_order=methods,
        style_order=methods, palette={m: METHOD_COLOURS[m] for m in methods}, markers=True,
        dashes=False, ax=ax, **IQM,
    )  # fmt: skip
    _name_methods(ax)
