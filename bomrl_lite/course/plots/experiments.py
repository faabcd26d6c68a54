"""Figures of the stored experiments, one per table; ``python -m bomrl_lite experiment`` draws them.

Lines and dots are arithmetic means over seeds; every figure says what its bands and whiskers are.
"""

from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from bomrl_lite.course.plots import sampled
from bomrl_lite.course.plots.estimators import laboratory_figure, q_gradient_figure
from bomrl_lite.course.plots.lams import (
    lams_figure,
    networks_condition_figure,
    spreads_figure,
)
from bomrl_lite.course.plots.means import MARKERS, draw_dots, draw_lines
from bomrl_lite.course.plots.robots import ROBOT_FIGURES
from bomrl_lite.course.plots.sampled import INTERVALS
from bomrl_lite.course.plots.style import (
    COLOURS,
    INK,
    LABELS,
    RUNGS,
    WIDTH,
    note,
    plain_decades,
)
from bomrl_lite.course.tables import REMEDY, read_table

LAMS = ("#9467c9", "#149aa8", "#c98500", "#c2255c")
"""Colours of one lam after the other."""
RANGES = "arithmetic means over seeds, the range over seeds behind them"


def draw(name: str, table: Path | pd.DataFrame) -> Figure:
    """Draw the table of an experiment.

    Raises:
        ValueError: no such experiment, or a file that is not a whole table.
    """
    if name not in FIGURES:
        raise ValueError(f"no figure is called {name!r}; known are {', '.join(FIGURES)}")
    frame = read_table(table, REMEDY.format(name)) if isinstance(table, Path) else table
    return FIGURES[name](frame)


def returns_figure(frame: pd.DataFrame, setting: str = "matched", split: str = "test") -> Figure:
    """Draw returns (top) and gaps (bottom) over adaptations: one line per prior and its Alg.

    Solid lines adapt by Alg, dashed ones by MAML's gradient step.
    """
    chosen = _where(frame, setting=setting, split=split)
    pairs = zip(chosen["prior"], chosen["alg"], strict=True)
    chosen = chosen.assign(line=[_line(str(prior), str(alg)) for prior, alg in pairs])
    families = list(dict.fromkeys(chosen["family"]))
    figure, axes = plt.subplots(2, len(families), figsize=(WIDTH, 8.0), sharey="row")
    first = chosen.drop_duplicates("line").set_index("line")
    colours = {str(line): COLOURS[str(first.loc[line, "prior"])] for line in first.index}
    dashes = {line: "--" for line in first.index if first.loc[line, "alg"] == "maml"}
    look = {"by": "line", "names": list(colours), "colours": colours, "dashes": dashes}
    for (top, bottom), family in zip(axes.T, families, strict=True):
        part = _where(chosen, family=family)
        draw_lines(top, part, x="step", y="return", spread="interval", **look)
        top.axhline((part["return"] + part["gap"]).mean(), color=INK, lw=1, ls=":")
        top.set(title=family, xlabel="adaptations, each on fresh data")
        top.set_xticks(sorted(set(part["step"])))
        one = pd.DataFrame(part[part["step"] <= 1])
        groups = one.assign(step=["before" if step == 0 else "after 1" for step in one["step"]])
        draw_dots(bottom, groups, x="step", y="gap", by="line", colours=colours, spread="interval")
        bottom.set(yscale="log", xlabel="adaptations")
        plain_decades(bottom.yaxis)
    axes[0, 0].set_ylabel("return J")
    axes[1, 0].set_ylabel("gap")
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
    note(figure, INTERVALS)
    return figure


def bounds_figure(frame: pd.DataFrame) -> Figure:
    """Draw the gap before and after one step beside the illustrative bound, per distance."""
    shown = ["gap without adaptation", "gap after one step", "illustrative bound"]
    chosen = _where(frame, split="test")
    chosen = pd.DataFrame(chosen[chosen["quantity"].isin(shown)])
    parts = list(chosen.groupby("family", sort=False))
    figure, axes = plt.subplots(1, len(parts), figsize=(WIDTH, 3.8), sharey=True, squeeze=False)
    colours = dict(zip(shown, (COLOURS["untrained"], "#4f6bdc", "#c2255c"), strict=True))
    for ax, (family, part) in zip(axes[0], parts, strict=True):
        look = {"by": "quantity", "colours": colours, "spread": "interval"}
        draw_dots(ax, part, x="prior", y="value", **look)
        ax.set(title=str(family), yscale="log")
        plain_decades(ax.yaxis)
    axes[0, 0].set_ylabel("gap to each task's optimum")
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    note(figure, INTERVALS)
    return figure


def variance_figure(frame: pd.DataFrame, split: str = "test") -> Figure:
    """Draw the gap after one step against the task variance, one dot per seed and share of ice."""
    chosen = _where(frame, split=split)
    figure, ax = plt.subplots(figsize=(WIDTH, 4.0))
    means = chosen.groupby(["prior", "ice"], as_index=False, sort=False).agg(
        {"variance": "mean", "gap": "mean"}
    )
    markers = dict(zip(dict.fromkeys(chosen["prior"]), MARKERS, strict=False))
    for prior, part in chosen.groupby("prior", sort=False):
        look: dict[str, Any] = {"color": COLOURS[str(prior)], "marker": markers[prior], "ms": 6}
        ax.plot(part["variance"], part["gap"], ls="", alpha=0.6, **look)
        ordered = _where(means, prior=str(prior)).sort_values(by="variance")
        label = LABELS.get(str(prior), str(prior))
        ax.plot(ordered["variance"], ordered["gap"], **{**look, "ms": 0}, lw=1.4, label=label)
    ax.set(xlabel=r"task variance Var(P($\Gamma$)), nats", ylabel="gap after one step")
    handles = [
        Line2D([], [], color=COLOURS[str(p)], marker=m, label=LABELS.get(str(p), str(p)))
        for p, m in markers.items()
    ]
    ax.legend(handles=handles)
    note(figure, "a mark per seed; lines: arithmetic means over seeds")
    return figure


def consistency_figure(frame: pd.DataFrame) -> Figure:
    """Draw the error of each rung's hypergradient over lam, and how large the hypergradient is."""
    parts = list(frame.groupby("prior", sort=False))
    shape = {"squeeze": False, "height_ratios": (2, 1)}
    figure, axes = plt.subplots(
        2, len(parts), figsize=(WIDTH, 6.2), sharex=True, sharey="row", **shape
    )
    for (top, bottom), (prior, part) in zip(axes.T, parts, strict=True):
        draw_lines(top, part, x="lam", y="error", by="rung", colours=RUNGS)
        top.set(title=LABELS[str(prior)], yscale="log", xscale="log", ylim=(1e-13, 30))
        full = _where(part, rung="full")
        draw_lines(bottom, full, x="lam", y="gradient norm", by="rung", colours={"full": INK})
        bottom.set(yscale="log", ylim=(1e-12, 10), xlabel=r"$\lambda$")
    axes[0, 0].set_ylabel("relative error")
    axes[1, 0].set_ylabel("norm of the\nhypergradient")
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=4)
    note(figure, RANGES)
    return figure


def condition_figure(frame: pd.DataFrame) -> Figure:
    """Draw the condition numbers of M(s) over meta-training: median and largest over states."""
    parts = list(frame.groupby("prior", sort=False))
    figure, axes = plt.subplots(1, len(parts), figsize=(WIDTH, 4.4), sharey=True, squeeze=False)
    lams = sorted(set(frame["lam"]))
    for ax, (prior, part) in zip(axes[0], parts, strict=True):
        for column, dash in {"largest": "-", "median": "--"}.items():
            named = part.assign(what=[f"{column}, $\\lambda$ = {lam:g}" for lam in part["lam"]])
            names = [f"{column}, $\\lambda$ = {lam:g}" for lam in lams]
            look = {"colours": dict(zip(names, LAMS, strict=False)), "names": names}
            look |= {"dashes": dict.fromkeys(names, dash), "markers": False}
            draw_lines(ax, named, x="iteration", y=column, by="what", **look)
        ax.set(title=LABELS[str(prior)], yscale="log", xlabel="meta-iteration")
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes[0, 0].set_ylabel("condition number of M(s)")
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
    note(figure, f"largest and median over states and tasks; {RANGES}")
    return figure


def sensitivity_figure(frame: pd.DataFrame, split: str = "test") -> Figure:
    """Draw the gap after one step over lam (MAML: alpha), trained and untrained."""
    chosen = _where(frame, split=split)
    families, algs = list(dict.fromkeys(chosen["family"])), list(dict.fromkeys(chosen["alg"]))
    grid = {"sharey": "row", "sharex": "col", "squeeze": False}
    figure, axes = plt.subplots(len(families), len(algs), figsize=(WIDTH, 5.6), **grid)
    for row, family in zip(axes, families, strict=True):
        for ax, alg in zip(row, algs, strict=True):
            part = _where(chosen, family=family, alg=alg)
            look = {"by": "prior", "colours": COLOURS, "spread": "interval"}
            draw_lines(ax, part, x="dial", y="gap", **look)
            ax.set(xscale="log", yscale="log")
            plain_decades(ax.yaxis)
        row[0].set_ylabel(f"{family}\ngap after one step")
    for ax, alg in zip(axes[-1], algs, strict=True):
        ax.set_xlabel(r"$\alpha$" if alg == "maml" else r"$\lambda$")
    for ax, alg in zip(axes[0], algs, strict=True):
        ax.set_title(LABELS[alg])
    axes[0, 0].text(0.05, 0.9, "gray: untrained", transform=axes[0, 0].transAxes)
    note(figure, INTERVALS)
    return figure


FIGURES = {
    "returns": returns_figure,
    "bounds": bounds_figure,
    "variance": variance_figure,
    "consistency": consistency_figure,
    "condition": condition_figure,
    "sensitivity": sensitivity_figure,
    "laboratory": laboratory_figure,
    "q_gradient": q_gradient_figure,
    "navigation_tuning": sampled.tuning_figure,
    "navigation": sampled.methods_figure,
    "corners": sampled.methods_figure,
    "episodes": sampled.episodes_figure,
    "heterogeneity": sampled.heterogeneity_figure,
    "training_goals": sampled.training_goals_figure,
    "delayed": sampled.delayed_figure,
    "sampled_lakes": sampled.sampled_lakes_figure,
    "inner_steps": sampled.inner_steps_figure,
    "lams": lams_figure,
    "condition_networks": networks_condition_figure,
    "spreads": spreads_figure,
    **ROBOT_FIGURES,
}
"""The figure of each experiment."""


def _line(prior: str, alg: str) -> str:
    """Name a prior and the Alg that adapts it."""
    adapted = "MAML step" if alg == "maml" else f"Alg with {alg[-2:].upper()}"
    name = LABELS.get(prior, prior)
    return name if alg == prior else f"{name} + {adapted}"


def _where(frame: pd.DataFrame, **values: str) -> pd.DataFrame:
    """Return the rows whose columns have these values."""
    for column, value in values.items():
        frame = pd.DataFrame(frame[frame[column] == value])
    return frame
