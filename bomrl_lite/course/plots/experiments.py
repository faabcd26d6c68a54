"""Figures of the stored experiments, one per table; ``python -m bomrl_lite experiment`` draws them.

Lines and bars are means over seeds; bands and whiskers are 95 % confidence intervals of that mean.
"""

from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd
import seaborn as sns
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure

from bomrl_lite.course.plots import sampled
from bomrl_lite.course.plots.estimators import laboratory_figure, q_gradient_figure
from bomrl_lite.course.plots.robots import ROBOT_FIGURES
from bomrl_lite.course.plots.style import INK, LABELS, PRIORS, relabel
from bomrl_lite.course.statistics import mean_interval
from bomrl_lite.course.tables import REMEDY, read_table

RUNGS = {"naive": "#949494", "frozen": "#d55e00", "q_gradient": "#de8f05", "full": "#0173b2"}
"""One colour per rung of the ladder."""


def draw(name: str, table: Path | pd.DataFrame) -> Figure:
    """Draw the table of an experiment.

    Raises:
        ValueError: no such experiment, or a file that is not a whole table.
    """
    if name not in FIGURES:
        raise ValueError(f"no figure is called {name!r}; known are {', '.join(FIGURES)}")
    frame = read_table(table, REMEDY.format(name)) if isinstance(table, Path) else table
    figure = FIGURES[name](frame)
    figure.set_dpi(75)  # eleven figures share a notebook of 300 kB
    return figure


def returns_figure(frame: pd.DataFrame, setting: str = "matched", split: str = "test") -> Figure:
    """Draw returns (top) and gaps (bottom) over adaptations: one line per prior and its Alg.

    Solid lines adapt by Alg, dashed ones by MAML's gradient step.
    """
    chosen = _where(frame, setting=setting, split=split)
    pairs = zip(chosen["prior"], chosen["alg"], strict=True)
    chosen = chosen.assign(line=[_line(str(prior), str(alg)) for prior, alg in pairs])
    families = list(dict.fromkeys(chosen["family"]))
    figure, axes = plt.subplots(2, len(families), figsize=(8.2, 4.8), sharex=True, sharey="row")
    first = chosen.drop_duplicates("line").set_index("line")
    lines = list(first.index)
    colours = {line: PRIORS[str(first.loc[line, "prior"])] for line in lines}
    dashes = {line: (2, 1) if first.loc[line, "alg"] == "maml" else "" for line in lines}
    dials = {"hue": "line", "style": "line", "palette": colours, "dashes": dashes}
    dials |= {"hue_order": lines, "style_order": lines, "errorbar": mean_interval}
    for (top, bottom), family in zip(axes.T, families, strict=True):
        part = _where(chosen, family=family)
        sns.lineplot(part, x="step", y="return", ax=top, **dials)
        sns.lineplot(part, x="step", y="gap", ax=bottom, **dials)
        top.axhline((part["return"] + part["gap"]).mean(), color=INK, lw=1, ls=":")
        top.set(title=family, ylabel="mean return J")
        bottom.set(yscale="log", ylabel="gap", xlabel="adaptations, each on fresh data")
        bottom.set_xticks(sorted(set(part["step"])))
        top.get_legend().remove()
        bottom.get_legend().remove()
    handles, names = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside right center", fontsize=8)
    return figure


def bounds_figure(frame: pd.DataFrame) -> Figure:
    """Draw the gap before and after one step beside the illustrative bound, per distance."""
    shown = ["gap without adaptation", "gap after one step", "illustrative bound"]
    chosen = _where(frame, split="test")
    chosen = pd.DataFrame(chosen[chosen["quantity"].isin(shown)])
    parts = list(chosen.groupby("family", sort=False))
    figure, axes = plt.subplots(1, len(parts), figsize=(7.8, 2.9), sharey=True, squeeze=False)
    colours = dict(zip(shown, ("#949494", "#0173b2", "#de8f05"), strict=True))
    for ax, (family, part) in zip(axes[0], parts, strict=True):
        dials = {"hue": "quantity", "palette": colours, "hue_order": shown}
        whiskers = {"errorbar": mean_interval, "err_kws": {"linewidth": 1.2, "color": INK}}
        sns.barplot(part, x="prior", y="value", ax=ax, **dials, **whiskers)
        ax.set(title=str(family), xlabel="", ylabel="gap to each task's optimum", yscale="log")
        ax.set_xticks(ax.get_xticks(), [LABELS[t.get_text()] for t in ax.get_xticklabels()])
        relabel(ax)
    for ax in axes[0, :-1]:
        ax.get_legend().remove()
    return figure


def variance_figure(frame: pd.DataFrame, split: str = "test") -> Figure:
    """Draw the gap after one step against the task variance, one dot per seed and share of ice."""
    chosen = _where(frame, split=split)
    figure, ax = plt.subplots(figsize=(6.0, 3.4))
    dials = {"hue": "prior", "style": "prior", "palette": PRIORS, "s": 55}
    sns.scatterplot(chosen, x="variance", y="gap", ax=ax, **dials)
    means = chosen.groupby(["prior", "ice"], as_index=False).agg(
        {"variance": "mean", "gap": "mean"}
    )
    for prior, part in means.groupby("prior"):
        ordered = part.sort_values(by="variance")
        ax.plot(ordered["variance"], ordered["gap"], color=PRIORS[str(prior)], lw=1)
    ax.set(xlabel=r"task variance Var(P($\Gamma$)), nats", ylabel="gap after one step")
    relabel(ax)
    return figure


def consistency_figure(frame: pd.DataFrame) -> Figure:
    """Draw the error of each rung's hypergradient over lam, and how large the hypergradient is."""
    parts = list(frame.groupby("prior", sort=False))
    figure, axes = plt.subplots(
        2,
        len(parts),
        figsize=(8.2, 4.2),
        sharex=True,
        sharey="row",
        squeeze=False,
        height_ratios=(2, 1),
    )
    for (top, bottom), (prior, part) in zip(axes.T, parts, strict=True):
        dials = {"hue": "rung", "palette": RUNGS, "errorbar": ("pi", 100)}
        sns.lineplot(part, x="lam", y="error", ax=top, **dials)
        top.set(title=LABELS[str(prior)], yscale="log", xscale="log", ylim=(1e-13, 30))
        top.set_ylabel("relative error")
        full = _where(part, rung="full")
        sns.lineplot(full, x="lam", y="gradient norm", ax=bottom, color=INK, errorbar=("pi", 100))
        bottom.set(yscale="log", ylim=(1e-12, 10), xlabel=r"$\lambda$", ylabel="its norm")
        relabel(top)
    for ax in axes[0, 1:]:
        ax.get_legend().remove()
    return figure


def condition_figure(frame: pd.DataFrame) -> Figure:
    """Draw the condition numbers of M(s) over meta-training: median and largest over states."""
    parts = list(frame.groupby("prior", sort=False))
    figure, axes = plt.subplots(1, len(parts), figsize=(7.8, 2.9), sharey=True, squeeze=False)
    for ax, (prior, part) in zip(axes[0], parts, strict=True):
        long = part.melt(["iteration", "lam", "seed"], ["median", "largest"], "over states")
        dials = {
            "hue": "lam",
            "style": "over states",
            "palette": "viridis",
            "hue_norm": LogNorm(*_ends(long["lam"].tolist())),
        }
        sns.lineplot(long, x="iteration", y="value", errorbar=("pi", 100), ax=ax, **dials)
        ax.set(title=LABELS[str(prior)], yscale="log", xlabel="meta-iteration")
        ax.set_ylabel("condition number of M(s)")
        relabel(ax)
    axes[0, 0].get_legend().remove()
    sns.move_legend(axes[0, 1], "center left", bbox_to_anchor=(1.0, 0.5))
    return figure


def sensitivity_figure(frame: pd.DataFrame, split: str = "test") -> Figure:
    """Draw the gap after one step over lam (MAML: alpha), trained and untrained."""
    chosen = _where(frame, split=split)
    families, algs = list(dict.fromkeys(chosen["family"])), list(dict.fromkeys(chosen["alg"]))
    figure, axes = plt.subplots(
        len(families), len(algs), figsize=(8.4, 4.2), sharey="row", sharex="col", squeeze=False
    )
    for row, family in zip(axes, families, strict=True):
        for ax, alg in zip(row, algs, strict=True):
            part = _where(chosen, family=family, alg=alg)
            dials = {"hue": "prior", "palette": PRIORS, "marker": "o", "legend": False}
            dials |= {"errorbar": mean_interval}
            sns.lineplot(part, x="dial", y="gap", ax=ax, **dials)
            ax.set(xscale="log", yscale="log", ylabel=f"{family}\ngap after one step")
            ax.set_xlabel(r"$\alpha$" if alg == "maml" else r"$\lambda$")
    for ax, alg in zip(axes[0], algs, strict=True):
        ax.set_title(LABELS[alg])
    axes[0, 0].text(0.05, 0.92, "gray: untrained", transform=axes[0, 0].transAxes, fontsize=8)
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
    "sampled_lakes": sampled.sampled_lakes_figure,
    "inner_steps": sampled.inner_steps_figure,
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


def _ends(values: list[float]) -> tuple[float, float]:
    return min(values), max(values)
