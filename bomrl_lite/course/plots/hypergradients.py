"""Figures of lesson 04: how wrong a hypergradient is, why, and what it costs."""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

from bomrl_lite.course.plots.geometry import DISTANCE_COLOURS
from bomrl_lite.course.plots.style import GOLD, INK, relabel

FLOOR = 1e-16
"""Errors below the rounding of double precision are drawn there."""


def implicit_function_picture(shown: Sequence[float] = (-2.0, 0.5, 2.0)) -> Figure:
    """Draw the one-line inner problem and its solution as a function of the outer variable.

    F(theta, phi) = phi theta - theta^2 / 2 - theta^4 / 4, whose maximum solves theta + theta^3 =
    phi.

    Args:
        shown: values of phi whose objective, maximum and tangent are drawn.
    """
    figure, (left, right) = plt.subplots(1, 2, figsize=(7.4, 2.6))
    theta = np.linspace(-1.7, 1.7, 300)
    right.plot(theta + theta**3, theta, color=INK, lw=1.5)
    for phi, colour in zip(shown, sns.color_palette("colorblind", len(shown)), strict=True):
        best = _root(phi)
        left.plot(theta, phi * theta - theta**2 / 2 - theta**4 / 4, color=colour)
        left.plot(best, phi * best - best**2 / 2 - best**4 / 4, "*", ms=13, color=colour, mec=INK)
        near = np.array([phi - 1.2, phi + 1.2])
        right.plot(near, best + (near - phi) / (1 + 3 * best**2), color=colour, lw=2.5)
        right.plot(phi, best, "*", ms=13, color=colour, mec=INK, label=rf"$\varphi$ = {phi:g}")
    left.set(title=r"inner: $F(\theta, \varphi)$ and its maximum", ylim=(-4.2, 1.6))
    left.set(xlabel=r"inner variable $\theta$", ylabel=r"$F(\theta, \varphi)$")
    right.set(title=r"its solution $\theta(\varphi)$ and slope", xlim=(-4, 4), ylim=(-1.7, 1.7))
    right.set(xlabel=r"outer variable $\varphi$", ylabel=r"$\theta(\varphi)$")
    right.legend(loc="upper left", fontsize=8)
    return figure


def errors_over_iterations(errors: pd.DataFrame) -> Figure:
    """Draw the error of the hypergradient over iterations of the linear solver.

    Args:
        errors: columns problem, solver, iterations, error, task; lines are medians over tasks,
            bands span all of them.
    """
    parts = list(errors.groupby("problem", sort=False))
    figure, axes = plt.subplots(1, len(parts), figsize=(8.4, 2.8), sharey=True, squeeze=False)
    for ax, (problem, part) in zip(axes[0], parts, strict=True):
        _bands(part, x="iterations", hue="solver", ax=ax)
        ax.axvline(10, color=INK, lw=1, ls=":")
        ax.set(title=str(problem), xlabel="iterations of the linear solver", xscale="log")
        _error_axis(ax, "relative error of the hypergradient")
    for ax in axes[0, :-1]:
        ax.get_legend().remove()
    return figure


def ladder_errors(errors: pd.DataFrame) -> Figure:
    """Draw the error of every rung of the ladder, one dot per task.

    Args:
        errors: columns policy, distance, rung, error.
    """
    parts = list(errors.groupby("policy", sort=False))
    figure, axes = plt.subplots(1, len(parts), figsize=(8.4, 2.8), sharey=True, squeeze=False)
    for ax, (policy, part) in zip(axes[0], parts, strict=True):
        dials = {"hue": "distance", "palette": DISTANCE_COLOURS, "dodge": True, "jitter": False}
        shown = part.assign(error=part["error"].clip(lower=FLOOR))
        sns.stripplot(shown, x="rung", y="error", ax=ax, size=4.5, alpha=0.8, **dials)
        ax.set(title=str(policy), xlabel="what of the data's dependence on phi is kept")
        _error_axis(ax, "relative error of the hypergradient")
        relabel(ax)
    for ax in axes[0, :-1]:
        ax.get_legend().remove()
    return figure


def cost_of_inner_steps(errors: pd.DataFrame, costs: pd.DataFrame) -> Figure:
    """Draw error, time and memory over the number of inner steps, for every way to differentiate.

    Args:
        errors: columns method, steps, task, error; lines are medians, bands span all tasks.
        costs: columns method, steps, seconds, bytes.
    """
    figure, axes = plt.subplots(1, 3, figsize=(9, 2.8))
    _bands(errors, x="steps", hue="method", ax=axes[0])
    _error_axis(axes[0], "relative error of the hypergradient")
    costs = costs.assign(kilobytes=costs["bytes"] / 1e3)
    labels = {"seconds": "CPU seconds", "kilobytes": "peak memory of tensors, kB"}
    for ax, (column, label) in zip(axes[1:], labels.items(), strict=True):
        _bands(costs, x="steps", y=column, hue="method", ax=ax, bands=False)
        ax.set(ylabel=label, yscale="log")
        ax.yaxis.set_minor_formatter(NullFormatter())
        ax.get_legend().remove()
    for ax, title in zip(axes, ("error", "time", "memory"), strict=True):
        ax.set(xscale="log", xlabel="inner steps", title=title)
    return figure


def condition_over_lam(conditions: pd.DataFrame) -> Figure:
    """Draw the condition number of M(s), and errors of hypergradients, over lam.

    Args:
        conditions: columns lam, distance, task, condition, and one error column per road, named
            ``error: <road>``; not finite where a road gave nothing.
    """
    figure, (left, right) = plt.subplots(1, 2, figsize=(8.4, 2.8))
    finite = pd.DataFrame(conditions[np.isfinite(conditions["condition"])])
    digits = finite.assign(digits=np.log10(finite["condition"]))
    _bands(digits, x="lam", y="digits", hue="distance", ax=left, palette=DISTANCE_COLOURS)
    left.set(xscale="log", xlabel=r"$\lambda$", title="largest condition number")
    left.set_ylabel(r"$\log_{10}$ condition number of $M(s)$")
    roads = [name for name in conditions.columns if name.startswith("error: ")]
    long = conditions.melt(["lam", "distance", "task"], roads, "road", "error")
    long["road"] = long["distance"] + ", " + long["road"].str.removeprefix("error: ")
    long = long.replace([np.inf, -np.inf], np.nan).dropna()
    worst = long.groupby(["road", "lam"], sort=False, as_index=False).agg({"error": "max"})
    _bands(worst, x="lam", hue="road", ax=right, bands=False)
    right.set(xscale="log", xlabel=r"$\lambda$", title="error of the hypergradient")
    _error_axis(right, "relative error, worst task")
    return figure


def hypergradient_error(errors: pd.DataFrame, lam: float, steps: int, solver: str) -> Figure:
    """Draw the error over inner steps at one lam, and over lam at one number of inner steps.

    Args:
        errors: columns lam, steps, solver, task, error.
        lam: of the left figure, marked in the right one.
        steps: of the right figure, marked in the left one.
        solver: drawn as a thick line.
    """
    figure, axes = plt.subplots(1, 2, figsize=(8.4, 3), sharey=True)
    views = (("steps", "lam", lam, steps), ("lam", "steps", steps, lam))
    for ax, (x, fixed, value, chosen) in zip(axes, views, strict=True):
        part = pd.DataFrame(errors[errors[fixed] == value])
        _bands(part, x=x, hue="solver", ax=ax, bands=False)
        for line, name in zip(ax.get_lines(), dict.fromkeys(part["solver"]), strict=False):
            line.set(linewidth=3.5 if name == solver else 1.2, alpha=1 if name == solver else 0.7)
        here = pd.DataFrame(part[(part["solver"] == solver) & (part[x] == chosen)])[
            "error"
        ].median()
        ax.plot(chosen, max(here, FLOOR), "*", ms=15, color=GOLD, mec=INK, zorder=5)
        ax.set_xscale("log")
        _error_axis(ax, "relative error, median over tasks")
    axes[0].set(xlabel="inner steps", title=rf"$\lambda$ = {lam:g}")
    axes[1].set(xlabel=r"$\lambda$", title=f"{steps} inner steps")
    axes[0].get_legend().remove()
    sns.move_legend(axes[1], "center left", bbox_to_anchor=(1, 0.5), title="")
    return figure


def _root(phi: float) -> float:
    """Solve theta + theta^3 = phi."""
    return 2 / np.sqrt(3) * np.sinh(np.arcsinh(1.5 * np.sqrt(3) * phi) / 3)


def _bands(
    frame: pd.DataFrame,
    *,
    x: str,
    hue: str,
    ax: Axes,
    y: str = "error",
    bands: bool = True,
    palette: dict[str, str] | None = None,
) -> None:
    """Draw medians as lines with markers and, if asked for, the range over tasks as bands."""
    if y == "error":
        frame = frame.assign(error=frame["error"].clip(lower=FLOOR))
    spread = ("pi", 100) if bands else None
    look = {"style": hue, "markers": True, "dashes": False, "estimator": "median"}
    look["palette"] = {name: palette[name] for name in frame[hue].unique()} if palette else None
    sns.lineplot(frame, x=x, y=y, hue=hue, errorbar=spread, ax=ax, **look)
    relabel(ax)


def _error_axis(ax: Axes, label: str) -> None:
    ax.set(yscale="log", ylabel=label)
    ax.yaxis.set_minor_formatter(NullFormatter())
