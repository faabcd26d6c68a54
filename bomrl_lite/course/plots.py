"""Figures of the lessons: seaborn on tidy frames, colour-blind safe, no training inside.

Every function draws onto given axes or a new figure and returns the figure.
"""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
import torch
from matplotlib.axes import Axes
from matplotlib.colors import Normalize, to_hex, to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Circle, Rectangle
from matplotlib.ticker import NullFormatter

from bomrl_lite.tasks.frozen_lake import MOVES, LakeMap

INK, ICE, WATER, GOLD = "#1f2933", "#e8f1f8", "#33587a", "#de8f05"
PRIORS = {
    "untrained": "#949494",
    "joint": "#cc78bc",
    "first_order_maml": "#56b4e9",
    "maml": "#0173b2",
}
"""One colour per prior, the same in every lesson."""
Points = Sequence[tuple[float, float]]
LABELS = {"first_order_maml": "first-order MAML", "maml": "MAML"}
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


def draw_lake(
    lake_map: LakeMap,
    values: torch.Tensor | None = None,
    policy_probs: torch.Tensor | None = None,
    *,
    ax: Axes | None = None,
    title: str = "",
    value_range: tuple[float, float] | None = None,
    number_format: str = "{:z.2f}",
    absorbing: str = "GH",
) -> Figure:
    """Draw a lake with optional state values (colour, number) and a policy (arrows).

    Args:
        lake_map: rows of letters.
        values: one number per state, [S].
        policy_probs: pi(a | s), [S, 4]; an arrow's length is its action's probability.
        ax: where to draw; a new figure if None.
        title: above the lake.
        value_range: numbers at the two ends of the colour scale; those of ``values`` if None.
        number_format: how a state's number is written.
        absorbing: letters of the tiles where actions mean nothing and arrows are left out.
    """
    ax = plt.subplots(figsize=(2.8, 2.9))[1] if ax is None else ax
    rows, columns = len(lake_map), len(lake_map[0])
    colours = _tile_colours("".join(lake_map), values, value_range)
    for state, (letter, colour) in enumerate(zip("".join(lake_map), colours, strict=True)):
        row, column = divmod(state, columns)
        ink = "white" if np.dot(to_rgb(colour), (0.3, 0.6, 0.1)) < 0.5 else INK
        ax.add_patch(Rectangle((column, row), 1, 1, facecolor=colour, edgecolor="white", lw=1.5))
        acts = policy_probs is not None and letter not in absorbing
        _draw_sign(ax, letter, row, column, ink, small=acts)
        if policy_probs is not None and acts:
            _draw_arrows(ax, policy_probs[state].tolist(), row, column, ink)
        if values is not None:
            number = number_format.format(values[state].item())
            ax.text(
                column + 0.95, row + 0.93, number, ha="right", va="bottom", fontsize=6, color=ink
            )
    ax.set(xlim=(0, columns), ylim=(rows, 0), aspect="equal", title=title)
    ax.axis("off")
    return _figure(ax)


def draw_lakes(
    lake_maps: Sequence[LakeMap],
    values: Sequence[Sequence[torch.Tensor]],
    policies: Sequence[Sequence[torch.Tensor]],
    *,
    row_titles: Sequence[str],
    column_titles: Sequence[str],
) -> Figure:
    """Draw a grid of lakes with one colour scale: row r shows ``values[r][c]`` on lake c."""
    rows, columns = len(values), len(lake_maps)
    size = (2.5 * columns + 0.5, 2.6 * rows)
    figure, axes = plt.subplots(rows, columns, figsize=size, squeeze=False)
    everything = torch.stack([torch.stack(list(row)) for row in values])
    ends = everything.min().item(), everything.max().item()
    for r in range(rows):
        for c, lake_map in enumerate(lake_maps):
            title, ax = column_titles[c] if r == 0 else "", axes[r, c]
            draw_lake(lake_map, values[r][c], policies[r][c], ax=ax, title=title, value_range=ends)
        middle = len(lake_maps[0]) / 2
        axes[r, 0].text(-0.25, middle, row_titles[r], rotation=90, va="center", ha="center")
    scale = plt.cm.ScalarMappable(Normalize(*ends), VALUES)
    figure.colorbar(scale, ax=axes, label="state value V(s)", shrink=0.7, aspect=30)
    return figure


def training_curves(history: pd.DataFrame, optimum: float | None = None) -> Figure:
    """Draw return before and after adaptation over meta-iterations, one line per method.

    Args:
        history: columns method, seed, iteration, return_before, return_after.
        optimum: mean return of the tasks' own best policies, drawn as a line.
    """
    figure, axes = plt.subplots(1, 2, figsize=(8, 3), sharey=True)
    for ax, column, title in zip(
        axes,
        ("return_before", "return_after"),
        ("before adaptation", "after one step"),
        strict=True,
    ):
        sns.lineplot(
            history,
            x="iteration",
            y=column,
            hue="method",
            palette=PRIORS,
            errorbar=("pi", 100),
            ax=ax,
        )
        ax.set(title=title, xlabel="meta-iteration", ylabel="mean return J over training tasks")
        if optimum is not None:
            ax.axhline(optimum, color=INK, lw=1, ls=":")
            ax.text(0, optimum, " optimum of every task", va="bottom", fontsize=8, color=INK)
    axes[0].get_legend().remove()
    _relabel(axes[1])
    return figure


def gap_bars(gaps: pd.DataFrame) -> Figure:
    """Draw the mean gap to each task's optimum after 0, 1, ... adaptations, per prior and split.

    Args:
        gaps: columns prior, split, seed, step, gap; bars are means, whiskers span all seeds.
    """
    keys = ["split", "prior", "seed", "step"]
    means = gaps.groupby(keys, sort=False, as_index=False).agg({"gap": "mean"})
    parts = list(means.groupby("split", sort=False))
    figure, axes = plt.subplots(1, len(parts), figsize=(8.4, 3), sharey=True, squeeze=False)
    whiskers = {"errorbar": ("pi", 100), "err_kws": {"linewidth": 1.2, "color": INK}}
    for ax, (split, part) in zip(axes[0], parts, strict=True):
        sns.barplot(part, x="step", y="gap", hue="prior", palette=PRIORS, ax=ax, **whiskers)
        ax.set(title=f"{split} tasks", xlabel="adaptation steps, each on fresh data")
        ax.set_ylabel("gap to each task's optimum")
        _relabel(ax)
    for ax in axes[0, :-1]:
        ax.get_legend().remove()
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
    ax = plt.subplots(figsize=(4.2, 3))[1] if ax is None else ax
    sns.lineplot(
        curve, x="step_size", y="return", hue="task", palette="colorblind", legend=False, ax=ax
    )
    ax.set(xscale="log", xlabel=r"step size $\alpha$", ylabel="return J after one step")
    if chosen is not None:
        ax.axvline(chosen, color=INK, lw=1, ls=":")
    return _figure(ax)


def meta_learning_picture() -> Figure:
    """Draw learning every task from scratch beside adapting from one learned starting point."""
    figure, axes = plt.subplots(1, 2, figsize=(8, 2.9), sharex=True, sharey=True)
    optima = [(0.8, 0.15), (0.9, 0.75), (0.55, 0.9)]
    starts = [(0.05, 0.1), (0.1, 0.55), (0.05, 0.95)]
    titles = ("from scratch: a long way each time", "meta-learned: one start, short ways")
    for ax, origins, title in zip(axes, (starts, [(0.66, 0.55)] * 3), titles, strict=True):
        _draw_ways(ax, origins, optima)
        ax.set(title=title, xlabel="policy parameters", xticks=[], yticks=[])
        ax.set(xlim=(-0.05, 1.2), ylim=(0, 1.1))
    axes[0].set_ylabel("policy parameters")
    axes[1].annotate(r"$\phi$", (0.66, 0.55), (-16, -4), textcoords="offset points", fontsize=13)
    return figure


def _draw_ways(ax: Axes, starts: Points, optima: Points) -> None:
    colours = sns.color_palette("colorblind", len(optima))
    for k, (start, end, colour) in enumerate(zip(starts, optima, colours, strict=True)):
        way = {"arrowstyle": "-|>", "color": colour, "lw": 2, "connectionstyle": "arc3,rad=0.15"}
        ax.annotate("", end, start, arrowprops={**way, "shrinkB": 6})
        ax.plot(*end, "*", ms=15, color=colour, markeredgecolor=INK)
        ax.plot(*start, "o", ms=8, color="white", markeredgecolor=INK)
        ax.annotate(
            f"best for\ntask {k + 1}", end, (11, -8), textcoords="offset points", fontsize=8
        )


def bilevel_picture() -> Figure:
    """Draw the loop of optimisation-based meta-RL: two levels, one pass of data."""
    figure, ax = plt.subplots(figsize=(8, 2.3))
    boxes = (
        r"meta-policy $\pi_\phi$",
        "data, collected once\nin task $\\tau$",
        r"adapt: $\theta = \mathrm{Alg}(\phi, \tau)$",
        r"return $J_\tau(\pi_\theta)$",
    )
    arrow = {"arrowstyle": "-|>", "color": INK}
    frame = {"boxstyle": "round,pad=0.5", "facecolor": ICE, "edgecolor": INK}
    for k, text in enumerate(boxes):
        ax.text(k, 0, text, ha="center", va="center", bbox=frame, fontsize=10)
        if k:
            ax.annotate("", (k - 0.38, 0), (k - 0.62, 0), arrowprops=arrow, zorder=0)
    loop = {**arrow, "color": GOLD, "lw": 2, "connectionstyle": "arc3,rad=0.2"}
    ax.annotate("", (0, 0.2), (3, 0.2), arrowprops=loop)
    meta_gradient = r"$\nabla_\phi J_\tau(\mathrm{Alg}(\phi, \tau))$"
    outer = f"outer level: meta-gradient {meta_gradient}, averaged over tasks"
    ax.text(1.5, 0.95, outer, ha="center", color="#8a5a00")
    ax.text(1.5, -0.5, "inner level: one task, one batch of data", ha="center", fontsize=9)
    ax.set(xlim=(-0.5, 3.5), ylim=(-0.6, 1.2))
    ax.axis("off")
    return figure


def gap_over_tasks(gaps: pd.DataFrame) -> Figure:
    """Draw the mean gap over the number of training tasks, for training and held-out tasks.

    Args:
        gaps: columns tasks, num_tasks, seed, gap.
    """
    figure, ax = plt.subplots(figsize=(4.6, 3))
    dials = {"hue": "tasks", "style": "tasks", "markers": True, "dashes": False}
    sns.lineplot(gaps, x="num_tasks", y="gap", errorbar=("pi", 100), ax=ax, **dials)
    counts = sorted(set(gaps["num_tasks"]))
    ax.set(xscale="log", xlabel="training tasks", ylabel="gap after one step")
    ax.set_xticks(counts, [str(count) for count in counts])
    ax.minorticks_off()
    _relabel(ax)
    return figure


def gap_over_steps(gaps: pd.DataFrame) -> Figure:
    """Draw the mean gap over the number of inner steps, one line per kind of data.

    Args:
        gaps: columns steps, gap, data, prior, seed; lines are means, bands span all seeds.
    """
    parts = list(gaps.groupby("prior", sort=False))
    figure, axes = plt.subplots(1, len(parts), figsize=(8.4, 3), sharey=True, squeeze=False)
    dials = {"hue": "data", "style": "data", "markers": True, "dashes": False}
    for ax, (prior, part) in zip(axes[0], parts, strict=True):
        sns.lineplot(part, x="steps", y="gap", errorbar=("pi", 100), ax=ax, **dials)
        name = LABELS.get(str(prior), prior)
        ax.set(title=f"{name} prior", xlabel="inner gradient steps", yscale="log")
        ax.set_ylabel("gap to each task's optimum")
        _relabel(ax)
    for ax in axes[0, :-1]:
        ax.get_legend().remove()
    return figure


def gap_against_stationarity(runs: pd.DataFrame, standstill: float) -> Figure:
    """Draw every training run by the norm of its meta-gradient and its gap.

    Args:
        runs: columns stationarity, gap, step size.
        standstill: gap of a policy that earns nothing, drawn as a line.
    """
    figure, ax = plt.subplots(figsize=(5, 3))
    dials = {"hue": "step size", "style": "step size", "s": 70}
    sns.scatterplot(runs, x="stationarity", y="gap", ax=ax, **dials)
    ax.axhline(standstill, color=INK, lw=1, ls=":")
    ax.set(xscale="log", xlabel="norm of the meta-gradient (stationarity)", ylim=(0, None))
    ax.set_ylabel("gap after one step")
    ax.xaxis.set_minor_formatter(NullFormatter())
    _relabel(ax, r"step size $\alpha$")
    return figure


def _figure(ax: Axes) -> Figure:
    figure = ax.get_figure()
    assert isinstance(figure, Figure)
    return figure


def _relabel(ax: Axes, title: str = "") -> None:
    legend = ax.get_legend()
    if legend is not None:
        legend.set_title(title)
        for text in legend.get_texts():
            text.set_text(LABELS.get(text.get_text(), text.get_text()))


def _tile_colours(
    letters: str, values: torch.Tensor | None, value_range: tuple[float, float] | None
) -> list[str]:
    """Colour tiles by their values, or by their kind where there are none."""
    if values is None:
        kinds = {"H": WATER, "G": "#f6dfb8"}
        return [kinds.get(letter, ICE) for letter in letters]
    ends = value_range or (values.min().item(), values.max().item())
    return [to_hex(VALUES(Normalize(*ends)(v))) for v in values.tolist()]


def _draw_sign(ax: Axes, letter: str, row: int, column: int, ink: str, *, small: bool) -> None:
    """Mark start, hole and goal: in the middle of the tile, or small in a corner beside arrows."""
    x, y, size = (column + 0.14, row + 0.17, 7) if small else (column + 0.5, row + 0.45, 11)
    if letter == "H":
        radius = 0.09 if small else 0.2
        ax.add_patch(Circle((x, y), radius, facecolor="black", edgecolor="white", lw=0.8))
    elif letter in "SG":
        ax.text(x, y, letter, ha="center", va="center", fontsize=size, fontweight="bold", color=ink)


def _draw_arrows(ax: Axes, probs: list[float], row: int, column: int, ink: str) -> None:
    for prob, (down, right) in zip(probs, MOVES, strict=True):
        if prob > 0.02:
            ax.arrow(
                column + 0.5,
                row + 0.5,
                0.36 * prob * right,
                0.36 * prob * down,
                width=0.035,
                head_width=0.16 * prob**0.5,
                head_length=0.12 * prob**0.5,
                length_includes_head=False,
                color=ink,
                lw=0,
            )
