"""Distances between policies as geometry: the simplex of three actions, and lakes."""

from collections.abc import Callable, Mapping

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from bomrl_lite.course.plots.lakes import draw_lake
from bomrl_lite.course.plots.style import INK, VALUES, figure_of, relabel
from bomrl_lite.tasks.frozen_lake import LakeMap

DISTANCE_COLOURS = {"D1": "#d55e00", "D2": "#0173b2", "D3": "#029e73"}
"""One colour per distance, the same in every lesson."""

CORNERS = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.5, 3**0.5 / 2]], dtype=torch.float64)
"""Where a policy over three actions that always takes action 0, 1 or 2 is drawn."""


def simplex_grid(resolution: int = 80) -> Tensor:
    """Return policies over three actions on a grid inside the simplex, [K, 3], all > 0."""
    steps = (torch.arange(resolution, dtype=torch.float64) + 0.5) / resolution
    first, second = torch.meshgrid(steps, steps, indexing="ij")
    inside = first + second < 1
    first, second = first[inside], second[inside]
    return torch.stack([first, second, 1 - first - second], -1)


def draw_simplex(ax: Axes) -> None:
    """Draw the triangle whose corners are the policies that always take one of three actions."""
    loop = CORNERS[[0, 1, 2, 0]]
    ax.plot(loop[:, 0], loop[:, 1], color=INK, lw=1)
    places = (("right", "top"), ("left", "top"), ("center", "bottom"))
    for action, (horizontal, vertical) in enumerate(places):
        x, y = CORNERS[action].tolist()
        ax.text(x, y, f" action {action} ", ha=horizontal, va=vertical, fontsize=9)
    ax.set(aspect="equal", xlim=(-0.12, 1.12), ylim=(-0.1, 0.98))
    ax.axis("off")


def distance_balls(
    prior: Tensor, distances: Mapping[str, Callable[[Tensor], Tensor]], level: float
) -> Figure:
    """Draw the policies within a distance of a prior, one panel per distance.

    Args:
        prior: pi_phi over three actions, [3].
        distances: name -> (policies [K, 3] -> D^2 [K]).
        level: D^2 on the edge of each ball; half and twice that are drawn thinner.
    """
    grid = simplex_grid()
    x, y = (grid @ CORNERS).T.numpy()
    figure, axes = plt.subplots(1, len(distances), figsize=(8.4, 2.7), squeeze=False)
    for ax, (name, distance) in zip(axes[0], distances.items(), strict=True):
        draw_simplex(ax)
        colour = DISTANCE_COLOURS.get(name, INK)
        levels = [level / 2, level, 2 * level]
        values = distance(grid).numpy()
        ax.tricontour(x, y, values, levels=levels, colors=colour, linewidths=(0.8, 2.2, 0.8))
        _mark(ax, prior, INK, size=5)
        ax.set_title(name)
    return figure


def adaptation_paths(
    prior: Tensor,
    value: Callable[[Tensor], Tensor],
    paths: Mapping[str, Tensor],
    marked: Mapping[str, Tensor] | None = None,
    ax: Axes | None = None,
) -> Figure:
    """Draw where Alg moves a policy over three actions as lam falls, one line per distance.

    Args:
        prior: pi_phi, [3].
        value: policies [K, 3] -> their expected Q [K], drawn as colour.
        paths: name of the distance -> adapted policies for falling lam, [L, 3].
        marked: name of the distance -> one adapted policy [3] to mark on its line.
        ax: where to draw; a new figure if None.
    """
    ax = plt.subplots(figsize=(4.4, 3.6))[1] if ax is None else ax
    grid = simplex_grid()
    x, y = (grid @ CORNERS).T.numpy()
    ax.tricontourf(x, y, value(grid).numpy(), levels=12, cmap=VALUES, alpha=0.35)
    draw_simplex(ax)
    for name, path in paths.items():
        line = path @ CORNERS
        ax.plot(line[:, 0], line[:, 1], color=DISTANCE_COLOURS[name], lw=2.5, label=name)
        if marked is not None:
            _mark(ax, marked[name], DISTANCE_COLOURS[name])
    x0, y0 = _mark(ax, prior, "white")
    ax.annotate(r"$\pi_\phi$", (x0, y0), (-16, -12), textcoords="offset points")
    ax.legend(loc="upper right", bbox_to_anchor=(1.08, 1.0))
    return figure_of(ax)


def adapted_lake(
    lake_map: LakeMap, policies: Mapping[str, Tensor], values: Mapping[str, Tensor]
) -> Figure:
    """Draw policies on one lake side by side, on one colour scale.

    Args:
        lake_map: rows of letters.
        policies: title -> pi(a | s), [S, 4].
        values: title -> state values, [S].
    """
    figure, axes = plt.subplots(1, len(policies), figsize=(2.9 * len(policies), 3.1), squeeze=False)
    everything = torch.stack(list(values.values()))
    ends = everything.min().item(), everything.max().item()
    for ax, (title, probs) in zip(axes[0], policies.items(), strict=True):
        draw_lake(lake_map, values[title], probs, ax=ax, title=title, value_range=ends)
    return figure


def reduction_errors(errors: pd.DataFrame) -> Figure:
    """Draw how far Alg is from each of its reductions, over lam.

    Args:
        errors: columns lam, reduction, seed, difference (relative).
    """
    figure, ax = plt.subplots(figsize=(5.4, 3.2))
    dials = {"hue": "reduction", "style": "reduction", "markers": True, "dashes": False}
    sns.lineplot(errors, x="lam", y="difference", errorbar=("pi", 100), ax=ax, **dials)
    lams = np.array(sorted(set(errors["lam"])))
    ax.plot(lams, 0.5 / lams, color=INK, lw=1, ls=":")
    ax.text(lams[-1], 0.5 / lams[-1], r" $\propto 1/\lambda$", va="center", fontsize=9)
    ax.set(
        xscale="log", yscale="log", xlabel=r"$\lambda$", ylabel="relative difference of the step"
    )
    relabel(ax)
    return figure


def bound_along_line(curve: pd.DataFrame, *, title: str = "") -> Figure:
    """Draw J and lower bounds on it along a line from the meta-policy.

    Args:
        curve: columns t, value, what; ``what`` names the lines, J the first.
        title: above.
    """
    figure, ax = plt.subplots(figsize=(5.6, 3.2))
    names = list(dict.fromkeys(curve["what"]))
    colours = dict(zip(names, [INK, *sns.color_palette("colorblind", len(names) - 1)], strict=True))
    sns.lineplot(curve, x="t", y="value", hue="what", palette=colours, ax=ax)
    ax.axvline(0, color=INK, lw=0.8, ls=":")
    ax.set(xlabel=r"$t$: from $\phi$ (0) to $\theta$ (1) and beyond", ylabel="return", title=title)
    relabel(ax)
    return figure


def returns_over_steps(
    curve: pd.DataFrame, *, optimum: float, what: str, log: bool = False
) -> Figure:
    """Draw the mean return over steps of adaptation, one line per kind, one panel per prior.

    Args:
        curve: columns step, return, kind, prior, seed; lines are means, bands span all seeds.
        optimum: return of every task's own best policy, drawn as a line.
        what: label of the steps.
        log: whether the steps, from 0 on, get a logarithmic axis.
    """
    parts, steps = list(curve.groupby("prior", sort=False)), sorted(set(curve["step"]))
    size = (4.3 * len(parts) + 0.4, 3.1)
    figure, axes = plt.subplots(1, len(parts), figsize=size, sharey=True, squeeze=False)
    dials = {"hue": "kind", "style": "kind", "markers": True, "dashes": False}
    for ax, (prior, part) in zip(axes[0], parts, strict=True):
        sns.lineplot(part, x="step", y="return", errorbar=("pi", 100), ax=ax, **dials)
        ax.axhline(optimum, color=INK, lw=1, ls=":")
        ax.set(title=str(prior), xlabel=what, ylabel="mean return J, held-out tasks")
        if log:
            ax.set_xscale("symlog", linthresh=1)
        ax.set_xticks(steps, [str(step) for step in steps])
        ax.set_xlim(left=-0.2)
        ax.minorticks_off()
        relabel(ax)
    for ax in axes[0, :-1]:
        ax.get_legend().remove()
    return figure


def _mark(ax: Axes, probs: Tensor, colour: str, size: float = 8) -> tuple[float, float]:
    x, y = (probs @ CORNERS).tolist()
    ax.plot(x, y, "o", color=colour, ms=size, markeredgecolor=INK)
    return x, y
