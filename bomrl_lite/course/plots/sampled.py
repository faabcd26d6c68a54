"""Figures of the experiments on sampled data, and of points that walk to goals.

Dots and lines are arithmetic means over seeds, as in the tables of the lessons, whiskers and bands
the 95 % bootstrap intervals of those means.
"""

from collections.abc import Callable
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Circle
from matplotlib.ticker import MaxNLocator
from torch import Tensor
from torch.func import grad, vmap

from bomrl_lite.course.plots.alternative import ordering
from bomrl_lite.course.plots.means import draw_lines, summary
from bomrl_lite.course.plots.style import (
    COLOURS,
    CYCLE,
    DARK,
    GOLD,
    INK,
    WAYS,
    WIDTH,
    legend_beside,
    note,
    plain_ticks,
)

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
    name: COLOURS[key]
    for name in METHOD_LABELS
    if (key := "maml" if name == "lvc_maml" else name) in COLOURS
}
"""One colour per method that lines are drawn of, MAML's for its usual estimator."""
PANELS = 3
"""Side by side at most where walks are drawn."""
INTERVALS = "arithmetic means over seeds and their 95 % intervals"


def methods_figure(frame: pd.DataFrame) -> Figure:
    """Draw returns after one adaptation beside CPU-seconds, and after 1, 2 and 3 adaptations."""
    one = _rows(frame, frame["step"] == 1)
    methods = _ranked(one)
    size = (WIDTH, 0.3 * len(methods) + 2.0)
    figure, (front, whole, right) = plt.subplots(
        1, 3, figsize=size, sharey=True, width_ratios=(3, 3, 2)
    )
    looks = {1: ("o", CYCLE[0]), 2: ("s", CYCLE[2]), 3: ("^", CYCLE[3])}
    for row, method in enumerate(methods):
        mine = _rows(frame, frame["method"] == method)
        for step, (marker, colour) in looks.items():
            table = summary(_rows(mine, mine["step"] == step), "step", "return", spread="interval")
            whiskers = np.abs(table[["low", "high"]].to_numpy().T - table["middle"].to_numpy())
            look = {"fmt": marker, "color": colour, "ms": 5, "x": table["middle"], "xerr": whiskers}
            label = f"{step}" if row == 0 else f"_{step}"
            whole.errorbar(y=row + 0.22 * (step - 2), label=label, **look)
            if step == 1 and 3 * row <= 2 * len(methods):  # the front, enlarged
                seeds = _rows(one, one["method"] == method)["return"]
                front.plot(seeds, np.full(len(seeds), row), "|", ms=9, color=INK, alpha=0.6)
                front.errorbar(y=row, label=label, **look)
        seconds = _rows(one, one["method"] == method)["seconds"].mean()
        right.barh(row, seconds, 0.7, color=CYCLE[7])
    front.set(xlabel="after 1 adaptation,\nthe front enlarged")
    means = pd.Series(one.groupby("method")["return"].mean()).to_dict()
    first, last = means[methods[0]], means[methods[2 * len(methods) // 3]]
    front.set_xlim(left=max(front.get_xlim()[0], last - (first - last)))  # one seed hides no field
    whole.set(xlabel="return after\n1, 2, 3 adaptations")
    whole.legend(title="adaptations", loc="upper left")
    right.set(xlabel="CPU-seconds\nof training")
    front.set_yticks(range(len(methods)), [METHOD_LABELS[m] for m in methods])
    front.invert_yaxis()
    note(figure, f"{INTERVALS}; strokes: single seeds")
    figure.set_label(
        "Methods in rows, ranked; dots: mean return after 1, 2 and 3 adaptations, bars: mean "
        f"CPU-seconds of training. Mean return after 1 adaptation, "
        f"{ordering({METHOD_LABELS[m]: float(means[m]) for m in methods})}."
    )
    return figure


def tuning_figure(frame: pd.DataFrame) -> Figure:
    """Draw the return of all trials of every method: how much tuning decides."""
    best = pd.Series(frame.groupby("method")["return"].max()).sort_values(ascending=False).to_dict()
    methods = list(best)
    figure, ax = plt.subplots(figsize=(WIDTH, 0.3 * len(methods) + 1.4))
    for row, method in enumerate(methods):
        mine = _rows(frame, frame["method"] == method)["return"]
        ax.plot(mine, np.full(len(mine), row), "o", ms=6, alpha=0.7, color=CYCLE[0])
    ax.set(xlabel="return after 1 adaptation")
    ax.set_yticks(range(len(methods)), [METHOD_LABELS[m] for m in methods])
    ax.invert_yaxis()
    note(figure, "a dot per trial of the search")
    figure.set_label(
        f"A row of dots per method, one for the return of each trial; best trial, "
        f"{ordering({METHOD_LABELS[m]: float(best[m]) for m in methods})}."
    )
    return figure


def episodes_figure(frame: pd.DataFrame) -> Figure:
    """Draw returns over one-time episodes: priors trained for that number, and for 20."""
    figure, axes = plt.subplots(1, 2, figsize=(WIDTH, 4.2), sharex=True)
    matched = _rows(frame, frame["trained_with"] == frame["episodes"])
    many = _rows(frame, frame["trained_with"] == frame["trained_with"].max())
    titles = ("prior trained with as many", "prior trained with 20 episodes")
    for ax, part, title in zip(axes, (matched, many), titles, strict=True):
        _lines(part, "episodes", ax)
        ax.set(xscale="log", title=title, xlabel="one-time episodes at test time")
        plain_ticks(ax, part["episodes"])
    axes[0].set(ylabel="return after 1 adaptation")
    legend_beside(figure, axes[0])
    note(figure, INTERVALS)
    return figure


def heterogeneity_figure(frame: pd.DataFrame) -> Figure:
    """Draw returns before and after one adaptation over the width of the arc of goals."""
    width = frame["tasks"].str.extract(r"arc-(\d+)")[0].astype(float).fillna(360.0)
    return _before_and_after(frame.assign(width=width), "width", "arc of goals (degrees)")


def delayed_figure(frame: pd.DataFrame) -> Figure:
    """Draw returns before and after one adaptation on test goals over the length of a window."""
    test = _rows(frame, frame["split"] == "test")
    return _before_and_after(test, "window", "steps between two rewards")


def training_goals_figure(frame: pd.DataFrame) -> Figure:
    """Draw returns after one adaptation on training and on test goals over their number."""
    titles = {"train": "training goals", "test": "test goals"}
    figure, axes = plt.subplots(1, 2, figsize=(WIDTH, 4.2), sharex=True, sharey=True)
    for ax, (split, title) in zip(axes, titles.items(), strict=True):
        _lines(_rows(frame, frame["split"] == split), "goals", ax)
        ax.set(xscale="log", title=title, xlabel="training goals")
        plain_ticks(ax, frame["goals"])
    axes[0].set(ylabel="return after 1 adaptation")
    legend_beside(figure, axes[0])
    note(figure, INTERVALS)
    return figure


def sampled_lakes_figure(frame: pd.DataFrame) -> Figure:
    """Draw gaps on held-out lakes over one-time episodes, one line per prior."""
    families = list(dict.fromkeys(frame["family"]))
    figure, axes = plt.subplots(1, len(families), figsize=(WIDTH, 4.4), sharex=True)
    shown = _rows(frame, frame["alg"] == "bomrl_d2")
    priors = list(dict.fromkeys(shown["prior"]))
    forms = [prior for prior in priors if prior.startswith("bomrl_d2")]
    colours = {prior: COLOURS.get(prior, COLOURS["bomrl_d2"]) for prior in priors}
    dashes = dict(zip(forms, ("-", "--", ":"), strict=False))
    named = shown.assign(
        prior=shown["prior"].str.replace("bomrl_d2 lam", "BO-MRL, D2, lam", regex=False)
    )
    renamed = dict(zip(priors, dict.fromkeys(named["prior"]), strict=True))
    look = {
        "colours": {renamed[prior]: colour for prior, colour in colours.items()},
        "dashes": {renamed[prior]: dash for prior, dash in dashes.items()},
        "names": list(renamed.values()),
    }
    for ax, family in zip(axes, families, strict=True):
        part = _rows(named, named["family"] == family)
        draw_lines(ax, part, x="episodes", y="gap", by="prior", spread="interval", **look)
        ax.set(xscale="log", title=family, xlabel="one-time episodes K")
        ax.set_ylim(bottom=0)
        plain_ticks(ax, shown["episodes"])
    axes[0].set(ylabel="gap, held-out lakes")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    note(figure, INTERVALS)
    return figure


def inner_steps_figure(frame: pd.DataFrame) -> Figure:
    """Draw error, time and memory of implicit and unrolled hypergradients over inner steps."""
    figure, axes = plt.subplots(1, 3, figsize=(WIDTH, 3.6), sharex=True)
    units = {
        "error": "relative error",
        "seconds": "CPU-seconds",
        "megabytes": "peak memory (MB)",
    }
    for ax, (column, label) in zip(axes, units.items(), strict=True):
        draw_lines(ax, frame, x="steps", y=column, by="way", colours=WAYS, median=True)
        ax.set(xscale="log", yscale="log", xlabel="inner gradient steps", title=label)
        plain_ticks(ax, frame["steps"])
    axes[0].legend()
    note(figure, "medians over seeds, the range over seeds behind them")
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
    columns = min(len(walks), PANELS)
    rows = -(-len(walks) // columns)
    size = (WIDTH, WIDTH / columns * rows)
    figure, axes = plt.subplots(
        rows, columns, figsize=size, sharex=True, sharey=True, squeeze=False
    )
    for ax in axes.flat[len(walks) :]:
        ax.set_axis_off()
    for ax, (label, paths) in zip(axes.flat, walks.items(), strict=False):
        for colour, goal, episodes in zip(CYCLE, goals.tolist(), paths, strict=False):
            for path in episodes.tolist():
                ax.plot(*zip(*path, strict=True), color=colour, lw=0.7, alpha=0.6)
            ax.plot(*goal, marker="*", ms=11, mec=DARK, mew=0.6, color=colour, zorder=3)
            if radius is not None:
                ax.add_patch(Circle(goal, radius, color=colour, alpha=0.08, lw=0))
        ax.set(title=label, xlim=(-limit, limit), ylim=(-limit, limit), aspect="equal")
    for ax in axes[-1]:
        ax.set_xlabel("x")
    for ax in axes[:, 0]:
        ax.set_ylabel("y")
    near = "; ".join(f"{label}: {_ends(paths, goals)}" for label, paths in walks.items())
    figure.set_label(
        f"Paths of points in the plane, {len(walks)} panels, {len(goals)} goals as stars; mean "
        f"distance to its goal at a path's end: {near}."
    )
    return figure


def _ends(paths: Tensor, goals: Tensor) -> str:
    away = (paths[:, :, -1] - goals.unsqueeze(1)).norm(dim=-1).mean()
    return f"{away.item():.2f}"


def sampled_training_curves(frame: pd.DataFrame) -> Figure:
    """Draw returns before and after adaptation over iterations, one colour per method."""
    figure, ax = plt.subplots(figsize=(WIDTH, 3.8))
    methods = list(dict.fromkeys(frame["method"]))
    free = iter(CYCLE)
    looks = {"after 1 adaptation": ("-", 2.2), "before": ("--", 1.2)}
    for number, method in enumerate(methods):
        colour = METHOD_COLOURS.get(method) or next(free)
        for when, (dash, width) in looks.items():
            mine = _rows(frame, (frame["method"] == method) & (frame["when"] == when))
            table = summary(mine, "iteration", "return", spread="")
            # Markers at other places for each method: lines that agree are still both seen.
            marks = {"marker": "osD^v"[number % 5], "ms": 6, "mfc": "none", "mew": 1.4}
            marks["markevery"] = (number % 3, 3)
            label = f"{METHOD_LABELS.get(method, method)}, {when}"
            look = {"color": colour, "ls": dash, "lw": width}
            ax.plot(table["x"], table["middle"], label=label, **look, **marks)
    ax.set(xlabel="meta-iteration", ylabel="return of the training batch")
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    legend_beside(figure, ax)
    note(figure, "arithmetic means over the tasks of the batch")
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
    size = (WIDTH, 3.8)
    figure, axes = plt.subplots(1, len(objectives), figsize=size, sharey=True, squeeze=False)
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
            ax.plot(*path.T, color=GOLD, lw=1.8)
            # An ascent that left the frame ends on its edge, so that every end is seen.
            end = path[-1].clamp(torch.tensor([x[0], y[0]]), torch.tensor([x[1], y[1]]))
            look = {"color": CYCLE[1], "mec": "white", "ms": 8, "clip_on": False, "zorder": 5}
            ax.plot(*end, "o" if torch.equal(end, path[-1]) else "X", **look)
        ax.set(title=label, xlim=x, ylim=y, xlabel=labels[0])
    axes[0, 0].set_ylabel(labels[1])
    note(figure, "dot: where an ascent ends; cross: where it leaves the frame")
    ends = "; ".join(
        f"{label}: {', '.join(f'({a:.2f}, {b:.2f})' for a, b in _last(paths[label]))}"
        for label in objectives
    )
    figure.set_label(
        f"Maps of objectives over {labels[0]} and {labels[1]} with arrows along their gradients "
        f"and ascents on them; the ascents end at {ends}."
    )
    return figure


def _last(paths: list[Tensor]) -> list[list[float]]:
    return [path[-1].tolist() for path in paths]


def _ranked(frame: pd.DataFrame) -> list[str]:
    """Return the methods that have returns, best mean first."""
    means = pd.Series(frame.groupby("method")["return"].mean()).dropna()
    return list(means.sort_values(ascending=False).index)


def _rows(frame: pd.DataFrame, chosen: Any) -> pd.DataFrame:
    return pd.DataFrame(frame[chosen])


def _before_and_after(frame: pd.DataFrame, x: str, label: str) -> Figure:
    """Draw a panel each; on a common axis the lines after adaptation would be one pile."""
    figure, axes = plt.subplots(1, 2, figsize=(WIDTH, 4.2), sharex=True)
    columns = {"before": "before adaptation", "return": "after 1 adaptation"}
    for ax, (column, title) in zip(axes, columns.items(), strict=True):
        _lines(frame, x, ax, column)
        ax.set(title=title, xlabel=label)
        plain_ticks(ax, frame[x])
    axes[0].set(ylabel="return")
    legend_beside(figure, axes[0])
    note(figure, INTERVALS)
    return figure


def _lines(frame: pd.DataFrame, x: str, ax: Axes, y: str = "return") -> None:
    methods = [m for m in METHOD_COLOURS if m in set(frame["method"])]
    named = frame.assign(method=pd.Series(frame["method"]).map(METHOD_LABELS))
    look = {
        "names": [METHOD_LABELS[m] for m in methods],
        "colours": {METHOD_LABELS[m]: METHOD_COLOURS[m] for m in methods},
    }
    draw_lines(ax, named, x=x, y=y, by="method", spread="interval", **look)
