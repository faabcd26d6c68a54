"""Distances between policies as geometry: the simplex of three actions, and lakes."""

from collections.abc import Callable, Mapping

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from bomrl_lite.course.plots.alternative import ordering
from bomrl_lite.course.plots.lakes import describe_lakes, draw_lake
from bomrl_lite.course.plots.means import draw_lines
from bomrl_lite.course.plots.style import (
    CYCLE,
    DARK,
    DISTANCE_COLOURS,
    GOLD,
    INK,
    VALUES,
    WIDTH,
    figure_of,
    legend_beside,
    note,
    plain_ticks,
)
from bomrl_lite.tasks.frozen_lake import LakeMap

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
        ax.text(x, y, f" action {action} ", ha=horizontal, va=vertical)
    ax.set(aspect="equal", xlim=(-0.12, 1.12), ylim=(-0.1, 0.98))
    ax.axis("off")


def distance_balls(
    prior: Tensor, distances: Mapping[str, Callable[[Tensor], Tensor]], level: float
) -> Figure:
    """Draw the policies within a distance of a prior, and each distance on the way to an edge.

    The last panel goes from the prior straight to the nearest policy that never takes the action
    that the prior takes least: what grows without bound there never lets an action go.

    Args:
        prior: pi_phi over three actions, [3].
        distances: name -> (policies [K, 3] -> D^2 [K]).
        level: D^2 on the edge of each ball; half and twice that are drawn thinner.
    """
    grid = simplex_grid()
    x, y = (grid @ CORNERS).T.numpy()
    size, columns = (WIDTH, 4.6), len(distances)
    figure = plt.figure(figsize=size)
    grid_of_axes = figure.add_gridspec(2, columns, height_ratios=(1.1, 1))
    last = figure.add_subplot(grid_of_axes[1, :])
    way = _way_to_an_edge(prior)
    for column, (name, distance) in enumerate(distances.items()):
        ax = figure.add_subplot(grid_of_axes[0, column])
        draw_simplex(ax)
        colour = DISTANCE_COLOURS.get(name, INK)
        levels = [level / 2, level, 2 * level]
        values = distance(grid).numpy()
        ax.tricontour(x, y, values, levels=levels, colors=colour, linewidths=(0.8, 2.2, 0.8))
        _mark(ax, prior, INK, size=5)
        ax.set_title(name)
        last.plot(way.min(-1).values, distance(way), color=colour, lw=2, label=name)
    least = int(prior.argmin())
    last.set(xscale="log", xlabel=f"probability of action {least}, on the way from the prior to 0")
    last.set(ylabel="$D^2$ from the prior")
    last.invert_xaxis()
    ends = sorted(distance(way)[-1].item() for distance in distances.values())
    last.set_ylim(0, 1.3 * ends[len(ends) // 2])  # what grows fastest leaves the frame
    last.legend()
    figure.set_label(
        f"{columns} triangles of policies over three actions, with the lines of equal distance "
        f"from the prior under {', '.join(distances)}; below, the squared distance as the "
        f"probability of action {least} falls to {way.min():.0e}: "
        f"{ordering({name: distance(way)[-1].item() for name, distance in distances.items()})}."
    )
    return figure


def _way_to_an_edge(prior: Tensor, points: int = 200) -> Tensor:
    """Return policies that take the prior's least action less and less, the others in proportion.

    [points, 3], from the prior itself to a probability of 1e-6.
    """
    least = prior.argmin()
    rest = torch.logspace(prior[least].log10().item(), -6, points, dtype=prior.dtype)
    way = prior * ((1 - rest) / (1 - prior[least])).unsqueeze(-1)
    way[:, least] = rest
    return way


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
    ax = plt.subplots(figsize=(WIDTH, 4.4))[1] if ax is None else ax
    grid = simplex_grid()
    x, y = (grid @ CORNERS).T.numpy()
    heights = ax.tricontourf(x, y, value(grid).numpy(), levels=12, cmap=VALUES, alpha=0.35)
    figure_of(ax).colorbar(heights, ax=ax, label="expected Q of the policy", shrink=0.8)
    draw_simplex(ax)
    for name, path in paths.items():
        line = path @ CORNERS
        ax.plot(line[:, 0], line[:, 1], color=DISTANCE_COLOURS[name], lw=2.5, label=name)
        if marked is not None:
            _mark(ax, marked[name], DISTANCE_COLOURS[name])
    x0, y0 = _mark(ax, prior, "white")
    ax.annotate(
        r"$\pi_\phi$", (x0, y0), (-18, -12), textcoords="offset points", color=DARK, fontsize=12
    )
    ax.legend(loc="upper left", bbox_to_anchor=(-0.1, 1.0))
    ends = {name: path[-1].tolist() for name, path in paths.items()}
    listed = "; ".join(f"{name} ends at {_probabilities(end)}" for name, end in ends.items())
    shown = {} if marked is None else {name: marked[name].tolist() for name in paths}
    stars = "; ".join(f"{name} marked at {_probabilities(at)}" for name, at in shown.items())
    figure_of(ax).set_label(
        f"The triangle of policies over three actions, coloured by their expected Q, and the way "
        f"of each distance from the prior {_probabilities(prior.tolist())} as lam falls: {listed}"
        f"{'; ' + stars if stars else ''}."
    )
    return figure_of(ax)


def _probabilities(policy: list[float]) -> str:
    return f"({', '.join(f'{chance:.2f}' for chance in policy)})"


def adapted_lake(
    lake_map: LakeMap, policies: Mapping[str, Tensor], values: Mapping[str, Tensor]
) -> Figure:
    """Draw policies on one lake side by side, on one colour scale.

    Args:
        lake_map: rows of letters.
        policies: title -> pi(a | s), [S, 4].
        values: title -> state values, [S].
    """
    size = (WIDTH, min(WIDTH / len(policies), 4.0) + 0.3)
    figure, axes = plt.subplots(1, len(policies), figsize=size, squeeze=False)
    everything = torch.stack(list(values.values()))
    ends = everything.min().item(), everything.max().item()
    for ax, (title, probs) in zip(axes[0], policies.items(), strict=True):
        draw_lake(lake_map, values[title], probs, ax=ax, title=title, value_range=ends)
    figure.set_label(describe_lakes([lake_map] * len(policies), values, policies))
    return figure


def reduction_errors(errors: pd.DataFrame) -> Figure:
    """Draw how far Alg is from each of its reductions, over lam.

    Args:
        errors: columns lam, reduction, seed, difference (relative).
    """
    figure, ax = plt.subplots(figsize=(WIDTH, 3.6))
    draw_lines(ax, errors, x="lam", y="difference", by="reduction")
    lams = np.array(sorted(set(errors["lam"])))
    ax.plot(lams, 0.5 / lams, color=INK, lw=1, ls=":")
    ax.text(lams[-1], 0.5 / lams[-1], r" $\propto 1/\lambda$", va="center")
    ax.set(xscale="log", yscale="log", xlabel=r"$\lambda$")
    ax.set(ylabel="relative difference of the step")
    ax.legend()
    note(figure, "arithmetic means over seeds, the range over seeds behind them")
    return figure


def bound_along_line(curve: pd.DataFrame, *, title: str = "") -> Figure:
    """Draw J and lower bounds on it along a line from the meta-policy.

    Args:
        curve: columns t, value, what; ``what`` names the lines, J the first.
        title: above.
    """
    figure, ax = plt.subplots(figsize=(WIDTH, 3.6))
    for number, (name, part) in enumerate(curve.groupby("what", sort=False)):
        ax.plot(part["t"], part["value"], color=[INK, *CYCLE][number], label=name)
    ax.axvline(0, color=INK, lw=0.8, ls=":")
    ax.set(xlabel=r"$t$: from $\phi$ (0) to $\theta$ (1) and beyond", ylabel="return", title=title)
    ax.legend()
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
    figure, axes = plt.subplots(1, len(parts), figsize=(WIDTH, 3.6), sharey=True, squeeze=False)
    kinds = list(dict.fromkeys(curve["kind"]))
    for ax, (prior, part) in zip(axes[0], parts, strict=True):
        draw_lines(ax, part, x="step", y="return", by="kind", names=kinds, colours=_colours(kinds))
        ax.axhline(optimum, color=INK, lw=1, ls=":")
        ax.set(title=str(prior), xlabel=what)
        if log:
            ax.set_xscale("symlog", linthresh=1)
        plain_ticks(ax, steps)
        ax.set_xlim(left=-0.2)
    axes[0, 0].set_ylabel("return J, held-out tasks")
    legend_beside(figure, axes[0, 0])
    note(figure, "arithmetic means over seeds, the range over seeds behind them")
    return figure


def _colours(kinds: list[str]) -> dict[str, str]:
    """Give a kind that names one distance that distance's colour; others none that one has."""
    named = {kind: name for kind in kinds for name in DISTANCE_COLOURS if name in kind.upper()}
    found = {kind: DISTANCE_COLOURS[name] for kind, name in named.items()}
    unique = len(set(found.values())) == len(found)
    free = iter(c for c in (*CYCLE, GOLD) if c not in set(DISTANCE_COLOURS.values()))
    return {kind: found[kind] if unique and kind in found else next(free) for kind in kinds}


def _mark(ax: Axes, probs: Tensor, colour: str, size: float = 8) -> tuple[float, float]:
    x, y = (probs @ CORNERS).tolist()
    ax.plot(x, y, "o", color=colour, ms=size, markeredgecolor=DARK)
    return x, y
