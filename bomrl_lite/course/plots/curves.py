"""Results of training and of adaptation, drawn from tidy frames."""

import matplotlib.pyplot as plt
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

from bomrl_lite.course.plots.style import INK, LABELS, PRIORS, figure_of, relabel


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
    relabel(axes[1])
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
        relabel(ax)
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
    return figure_of(ax)


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
    relabel(ax)
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
        relabel(ax)
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
    relabel(ax, r"step size $\alpha$")
    return figure
