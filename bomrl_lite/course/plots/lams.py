"""Figures of lam, of the system that Alg solves, and of how often data are collected."""

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure

from bomrl_lite.course.plots.means import draw_lines
from bomrl_lite.course.plots.sampled import INTERVALS, METHOD_COLOURS, METHOD_LABELS
from bomrl_lite.course.plots.style import COLOURS, CYCLE, INK, WIDTH, note, plain_ticks

ARMS = {"BO-MRL head": COLOURS["bomrl_head"], "BO-MRL": COLOURS["bomrl_natural"]}


def lams_figure(frame: pd.DataFrame) -> Figure:
    """Draw returns after one adaptation over lam, fixed and trained beside phi.

    An arrow leads from the mean of the fixed lam to that of the trained one which began there.
    """
    cases = list(dict.fromkeys(frame["case"]))
    figure, axes = plt.subplots(1, len(cases), figsize=(WIDTH, 3.9), squeeze=False)
    for ax, case in zip(axes[0], cases, strict=True):
        mine = pd.DataFrame(frame[frame["case"] == case])
        fixed = mine[mine["learnt"] == "no"].assign(learnt="lam fixed")
        look = {"by": "learnt", "colours": {"lam fixed": CYCLE[0]}, "spread": "interval"}
        draw_lines(ax, fixed, x="start", y="return", **look)
        learnt = pd.DataFrame(mine[(mine["learnt"] == "yes") & mine["return"].notna()])
        level = pd.Series(fixed.groupby("start")["return"].mean()).to_dict()
        label = "lam trained, where it ended"
        for start in sorted(set(learnt["start"])):
            part = pd.DataFrame(learnt[learnt["start"] == start])
            end = (part["end"].mean(), part["return"].mean())
            arrow = {"arrowstyle": "->", "color": CYCLE[1], "lw": 1.5}
            ax.annotate("", end, (start, level[start]), arrowprops=arrow)
            ax.plot(part["end"], part["return"], ".", color=CYCLE[1], alpha=0.6, label=label)
            label = "_"
        ax.set(xscale="log", title=case, xlabel="lam, over the one found")
        plain_ticks(ax, sorted(set(fixed["start"])))
    axes[0, 0].set_ylabel("return after 1 adaptation, test tasks")
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
    note(figure, INTERVALS + "; dots: single seeds")
    return figure


def networks_condition_figure(frame: pd.DataFrame) -> Figure:
    """Draw the condition number of Alg's system, ridge included, over meta-training."""
    figure, axes = plt.subplots(1, 2, figsize=(WIDTH, 3.6), sharex=True)
    for ax, (arm, colour) in zip(axes, ARMS.items(), strict=True):
        mine = pd.DataFrame(frame[frame["method"] == arm])
        for column, dash in {"largest": "-", "median": "--"}.items():
            named = mine.assign(what=column)
            colours, dashes = {column: colour}, {column: dash}
            draw_lines(
                ax, named, x="iteration", y=column, by="what", colours=colours, dashes=dashes
            )
        ax.set(title=arm, xlabel="meta-iteration")
        ax.legend()
    axes[0].set_ylabel("condition number")
    note(figure, "median and largest of tasks, arithmetic means over seeds; bands: all seeds")
    return figure


def spreads_figure(frame: pd.DataFrame) -> Figure:
    """Draw what collecting in parts is worth, over how different the tasks are."""
    parts = frame["collections"].max()
    keys = ["method", "tasks", "seed"]
    at_once, later = (
        pd.DataFrame(frame[frame["collections"] == count]).set_index(keys)["return"]
        for count in (1, parts)
    )
    gains = pd.DataFrame({"gain": later - at_once}).reset_index()
    width = gains["tasks"].str.extract(r"(?:arc|band)-([\d.]+)")[0].astype(float).fillna(360.0)
    robots = gains["tasks"].str.startswith("cheetah")
    gains = gains.assign(width=width.where(~robots, 2 * width))
    figure, axes = plt.subplots(1, 2, figsize=(WIDTH, 3.9))
    labels = ("points: arc of goals (degrees)", "half cheetah: band of speeds (m/s)")
    for ax, label, rows in zip(axes, labels, (~robots, robots), strict=True):
        mine = pd.DataFrame(gains[rows]).replace({"method": METHOD_LABELS})
        colours = {METHOD_LABELS[name]: colour for name, colour in METHOD_COLOURS.items()}
        look = {"by": "method", "colours": colours, "spread": "interval"}
        draw_lines(ax, mine, x="width", y="gain", **look)
        ax.axhline(0, color=INK, lw=1)
        ax.set(xlabel=label, xticks=sorted(set(mine["width"])))
    axes[0].set_ylabel(f"return: {parts} collections less 1")
    axes[0].legend()
    note(figure, f"40 episodes per task either way; {INTERVALS}")
    return figure
