"""Figures of lesson 04: how wrong a hypergradient is, why, and what it costs."""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from bomrl_lite.course.plots.means import draw_lines
from bomrl_lite.course.plots.style import (
    CYCLE,
    DARK,
    DISTANCE_COLOURS,
    GOLD,
    INK,
    WAYS,
    WIDTH,
    legend_beside,
    note,
    plain_decades,
    plain_ticks,
)

FLOOR = 1e-16
"""Errors below the rounding of double precision are drawn there."""
LARGEST = 1e200
"""Of a condition number that is drawn: an axis asks for ticks beyond it, and doubles end."""
TASKS = "medians over tasks, the range over tasks behind them"


def implicit_function_picture(shown: Sequence[float] = (-2.0, 0.5, 2.0)) -> Figure:
    """Draw the one-line inner problem and its solution as a function of the outer variable.

    F(theta, phi) = phi theta - theta^2 / 2 - theta^4 / 4, whose maximum solves theta + theta^3 =
    phi.

    Args:
        shown: values of phi whose objective, maximum and tangent are drawn.
    """
    figure, (left, right) = plt.subplots(1, 2, figsize=(WIDTH, 3.2))
    theta = np.linspace(-1.7, 1.7, 300)
    right.plot(theta + theta**3, theta, color=INK, lw=1.5)
    for phi, colour in zip(shown, CYCLE, strict=False):
        best = _root(phi)
        left.plot(theta, phi * theta - theta**2 / 2 - theta**4 / 4, color=colour)
        left.plot(best, phi * best - best**2 / 2 - best**4 / 4, "*", ms=13, color=colour, mec=DARK)
        near = np.array([phi - 1.2, phi + 1.2])
        right.plot(near, best + (near - phi) / (1 + 3 * best**2), color=colour, lw=2.5)
        right.plot(phi, best, "*", ms=13, color=colour, mec=DARK, label=rf"$\varphi$ = {phi:g}")
    left.set(title=r"inner: $F(\theta, \varphi)$ and its maximum", ylim=(-4.2, 1.6))
    left.set(xlabel=r"inner variable $\theta$", ylabel=r"$F(\theta, \varphi)$")
    right.set(title=r"its solution $\theta(\varphi)$ and slope", xlim=(-4, 4), ylim=(-1.7, 1.7))
    right.set(xlabel=r"outer variable $\varphi$", ylabel=r"$\theta(\varphi)$")
    right.legend(loc="upper left")
    return figure


def errors_over_iterations(errors: pd.DataFrame) -> Figure:
    """Draw the error of the hypergradient over iterations of the linear solver.

    Args:
        errors: columns problem, solver, iterations, error, task; lines are medians over tasks,
            bands span all of them.
    """
    parts = list(errors.groupby("problem", sort=False))
    figure, axes = plt.subplots(1, len(parts), figsize=(WIDTH, 3.6), sharey=True, squeeze=False)
    for ax, (problem, part) in zip(axes[0], parts, strict=True):
        _bands(part, x="iterations", by="solver", ax=ax)
        ax.axvline(10, color=INK, lw=1, ls=":")
        ax.set(title=str(problem), xlabel="iterations of the linear solver", xscale="log")
        _error_axis(ax)
    axes[0, 0].set_ylabel("relative error")
    axes[0, -1].legend()
    note(figure, TASKS)
    return figure


def ladder_errors(errors: pd.DataFrame) -> Figure:
    """Draw the error of every rung of the ladder, one dot per task, a line at their median.

    Args:
        errors: columns policy, distance, rung, error.
    """
    parts = list(errors.groupby("policy", sort=False))
    rungs = list(dict.fromkeys(errors["rung"]))
    figure, axes = plt.subplots(1, len(parts), figsize=(WIDTH, 3.8), sharey=True, squeeze=False)
    for ax, (policy, part) in zip(axes[0], parts, strict=True):
        distances = [name for name in DISTANCE_COLOURS if name in set(part["distance"])]
        for number, name in enumerate(distances):
            mine = part[part["distance"] == name]
            aside = 0.24 * (number - (len(distances) - 1) / 2)
            at = np.array([rungs.index(rung) for rung in mine["rung"]]) + aside
            colour = DISTANCE_COLOURS[name]
            ax.plot(
                at, pd.Series(mine["error"]).clip(lower=FLOOR), "o", color=colour, ms=5, alpha=0.7
            )
            middle = mine.groupby("rung", sort=False)["error"].median().clip(lower=FLOOR)
            places = [rungs.index(str(rung)) + aside for rung in middle.index]
            look = {"ls": "", "marker": "_", "ms": 16, "mew": 2.5, "color": colour}
            ax.plot(places, middle, label=name, **look)
        ax.set_xticks(range(len(rungs)), rungs)
        ax.set(title=str(policy), xlabel="what of the data's dependence is kept")
        _error_axis(ax)
    axes[0, 0].set_ylabel("relative error")
    axes[0, -1].legend()
    note(figure, "a dot per task, a dash at their median")
    return figure


def cost_of_inner_steps(errors: pd.DataFrame, costs: pd.DataFrame) -> Figure:
    """Draw error, time and memory over the number of inner steps, for every way to differentiate.

    Args:
        errors: columns method, steps, task, error; lines are medians, bands span all tasks.
        costs: columns method, steps, seconds, bytes.
    """
    figure, axes = plt.subplots(1, 3, figsize=(WIDTH, 3.6))
    _bands(errors, x="steps", by="method", ax=axes[0])
    _error_axis(axes[0])
    costs = costs.assign(kilobytes=costs["bytes"] / 1e3)
    labels = {"seconds": "CPU seconds", "kilobytes": "peak memory of tensors, kB"}
    for ax, column in zip(axes[1:], labels, strict=True):
        _bands(costs, x="steps", y=column, by="method", ax=ax, bands=False)
        ax.set(yscale="log")
        ax.yaxis.set_minor_formatter(NullFormatter())
    for ax, title in zip(axes, ("relative error", *labels.values()), strict=True):
        ax.set(xscale="log", xlabel="inner steps", title=title)
    handles, names = axes[0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=3)
    note(figure, TASKS)
    return figure


def condition_over_lam(conditions: pd.DataFrame) -> Figure:
    """Draw the condition number of M(s), and errors of hypergradients, over lam.

    Args:
        conditions: columns lam, distance, task, condition, and one error column per road, named
            ``error: <road>``; not finite where a road gave nothing. A condition above 1e200 is
            as good as infinite: not drawn.
    """
    figure, (left, right) = plt.subplots(1, 2, figsize=(WIDTH, 4.2))
    finite = pd.DataFrame(conditions[conditions["condition"] < LARGEST])
    look = {"colours": DISTANCE_COLOURS, "median": True}
    draw_lines(left, finite, x="lam", y="condition", by="distance", **look)
    left.set(xscale="log", yscale="log", xlabel=r"$\lambda$", title="condition number of $M(s)$")
    left.yaxis.set_major_locator(LogLocator(numticks=6))
    roads = [name for name in conditions.columns if name.startswith("error: ")]
    dashes = dict(zip(roads, ("-", "--", ":", "-."), strict=False))
    for distance, part in conditions.groupby("distance", sort=False):
        for road in roads:
            known = part[np.isfinite(part[road])]
            worst = pd.Series(known.groupby("lam")[road].max()).clip(lower=FLOOR)
            name = f"{distance}, {road.removeprefix('error: ')}"
            mine = {"color": DISTANCE_COLOURS[str(distance)], "ls": dashes[road], "marker": "o"}
            right.plot(worst.index, worst, ms=4, label=name, **mine)
    right.set(xscale="log", xlabel=r"$\lambda$", title="relative error of the hypergradient")
    _error_axis(right)
    left.legend()
    figure.legend(*right.get_legend_handles_labels(), loc="outside lower center", ncols=3)
    note(figure, "left: medians and ranges over tasks; right: the worst task")
    return figure


def hypergradient_error(errors: pd.DataFrame, lam: float, steps: int, solver: str) -> Figure:
    """Draw the error over inner steps at one lam, and over lam at one number of inner steps.

    Args:
        errors: columns lam, steps, solver, task, error.
        lam: of the left figure, marked in the right one.
        steps: of the right figure, marked in the left one.
        solver: drawn as a thick line.
    """
    figure, axes = plt.subplots(1, 2, figsize=(WIDTH, 3.8), sharey=True)
    views = (("steps", "lam", lam, steps), ("lam", "steps", steps, lam))
    for ax, (x, fixed, value, chosen) in zip(axes, views, strict=True):
        part = pd.DataFrame(errors[errors[fixed] == value])
        _bands(part, x=x, by="solver", ax=ax, bands=False)
        for line, name in zip(ax.get_lines(), dict.fromkeys(part["solver"]), strict=False):
            line.set(linewidth=3.5 if name == solver else 1.2, alpha=1 if name == solver else 0.7)
        here = pd.Series(part[(part["solver"] == solver) & (part[x] == chosen)]["error"]).median()
        ax.plot(chosen, max(here, FLOOR), "*", ms=15, color=GOLD, mec=DARK, zorder=5)
        ax.set_xscale("log")
        _error_axis(ax)
    axes[0].set(xlabel="inner steps", ylabel="relative error", title=rf"$\lambda$ = {lam:g}")
    plain_ticks(axes[0], errors["steps"])
    axes[1].set(xlabel=r"$\lambda$", title=f"inner steps = {steps}")
    legend_beside(figure, axes[0])
    note(figure, "medians over tasks")
    return figure


def _root(phi: float) -> float:
    """Solve theta + theta^3 = phi."""
    return 2 / np.sqrt(3) * np.sinh(np.arcsinh(1.5 * np.sqrt(3) * phi) / 3)


def _bands(
    frame: pd.DataFrame, *, x: str, by: str, ax: Axes, y: str = "error", bands: bool = True
) -> None:
    """Draw medians as lines with markers and, if asked for, the range over tasks as bands."""
    if y == "error":
        frame = frame.assign(error=frame["error"].clip(lower=FLOOR))
    spread = "range" if bands else ""
    draw_lines(ax, frame, x=x, y=y, by=by, colours=WAYS, spread=spread, median=True)


def _error_axis(ax: Axes) -> None:
    ax.set(yscale="log")
    plain_decades(ax.yaxis)
