"""Figures of the robots: how fast they are simulated, where time goes, and what methods learnt.

Lines are means over seeds, bands reach from the smallest to the largest, dots are single seeds.
"""

from collections.abc import Mapping
from functools import partial
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator
from numpy.typing import NDArray

from bomrl_lite.course.plots.alternative import ordering
from bomrl_lite.course.plots.means import MARKERS, draw_lines, summary
from bomrl_lite.course.plots.style import COLOURS, CYCLE, INK, WIDTH, note, plain_ticks
from bomrl_lite.course.statistics import paired_difference, performance_profile
from bomrl_lite.tasks.locomotion import FAMILIES

ARM_COLOURS = {
    "untrained": COLOURS["untrained"],
    "MAML-TRPO": COLOURS["trpo_maml"],
    "ProMP": COLOURS["promp"],
    "BO-MRL head": COLOURS["bomrl_head"],
    "BO-MRL": COLOURS["bomrl_natural"],
    "BO-MRL D1": COLOURS["bomrl_d1"],
    "BO-MRL D2": COLOURS["bomrl_d2"],
    "BO-MRL D3": COLOURS["bomrl_d3"],
    "ProMP head": "#149aa8",
    "ANIL": "#7a5c3e",
}
"""The course's colours, by the methods' names in tables of robots."""
ARM_MARKERS = dict(zip(ARM_COLOURS, MARKERS, strict=False))
BASELINES = ("ProMP", "MAML-TRPO")
"""Whom the table of leads compares with."""
PIECES = {
    "physics": "#0173b2",
    "rewards and observations": "#149aa8",
    "policy, lens, recording": "#c98500",
    "advantages": "#8c8c8c",
    "adaptation": "#9467c9",
    "hypergradient and update": "#c2255c",
}
"""Parts of a meta-iteration, in the order of their bars."""
GOALS = 2000
"""Goals that the yardsticks are means over."""


def contact_sheet(pictures: Mapping[str, NDArray[np.uint8]], *, columns: int = 4) -> Figure:
    """Draw named pictures [H, W, 3] in rows.

    Args:
        pictures: by their titles.
        columns: pictures per row.
    """
    rows = -(-len(pictures) // columns)
    figure, axes = plt.subplots(
        rows, columns, figsize=(WIDTH, 0.85 * WIDTH / columns * rows), squeeze=False
    )
    for ax in axes.flat:
        ax.set_axis_off()
    for ax, (title, picture) in zip(axes.flat, pictures.items(), strict=False):
        ax.imshow(picture)
        ax.set_title(title)
    figure.set_label(f"{len(pictures)} pictures: {', '.join(pictures)}.")
    return figure


def cost_per_step(frame: pd.DataFrame) -> Figure:
    """Draw the processor time of one step of the environment over the number of robots.

    Args:
        frame: columns robots, who, microseconds.
    """
    return _over_robots(frame, "microseconds", "CPU-microseconds per step", by="who")


def throughput(frame: pd.DataFrame) -> Figure:
    """Draw steps of the environment per second of the clock over the number of robots.

    Args:
        frame: columns robots, backend, rate.
    """
    return _over_robots(frame, "rate", "steps per second", by="backend")


def time_bars(seconds: pd.DataFrame) -> Figure:
    """Draw where the time of a meta-iteration goes, as multiples of its physics.

    Args:
        seconds: CPU-seconds, one row per method, one column per key of :data:`PIECES`.
    """
    figure, ax = plt.subplots(figsize=(WIDTH, 0.5 * len(seconds) + 1.9))
    shares = seconds.div(seconds["physics"], axis=0)[list(PIECES)]
    left = np.zeros(len(shares))
    for piece, colour in PIECES.items():
        width = np.asarray(shares[piece], dtype=float)
        ax.barh(list(shares.index), width, left=left, color=colour, label=piece)
        left = left + width
    for row, total in enumerate(left):
        ax.text(total + 0.01, row, f"{total:.2f}", va="center")
    ax.axvline(1, color=INK, lw=1, ls=":")
    ax.invert_yaxis()
    ax.set(xlabel="processor time, in units of the physics of the same steps")
    ax.set_xlim(0, 1.08 * left.max())
    figure.legend(*ax.get_legend_handles_labels(), loc="outside lower center", ncols=3)
    totals = dict(zip(map(str, shares.index), map(float, left), strict=True))
    figure.set_label(
        "Bars of the time of a meta-iteration, in parts, as multiples of its physics; whole bars, "
        f"{ordering(totals)}."
    )
    return figure


def yardsticks(family: str, horizon: int | None = None) -> dict[str, float]:
    """Return what standing still and the best constant speed along x earn on the test goals.

    Mean over goals, without the cost of actions and without the time it takes to get there.

    Args:
        family: key of :data:`bomrl_lite.tasks.locomotion.FAMILIES` whose goals are speeds or
            directions.
        horizon: T; None takes the family's own.
    """
    chosen = FAMILIES[family]
    goals = chosen.sample(GOALS, torch.Generator().manual_seed(0), "test")
    at_rest = torch.zeros(GOALS, 1, chosen.runner.action_size)

    def score(speed: float) -> float:
        velocity = torch.zeros(GOALS, 1, 2)
        velocity[..., 0] = speed
        return (horizon or chosen.runner.horizon) * chosen.reward(
            velocity, at_rest, goals
        ).mean().item()

    speeds = torch.linspace(0, 3, 61).tolist()
    return {"standing still": score(0.0), "best constant speed": max(map(score, speeds))}


def family_figure(frame: pd.DataFrame, *, family: str) -> Figure:
    """Draw training over steps and CPU-seconds, and returns over adaptations and episodes.

    Args:
        frame: the table of a family, see :mod:`bomrl_lite.course.experiments.locomotion`.
        family: whose yardsticks to draw.
    """
    figure, axes = plt.subplots(2, 2, figsize=(WIDTH, 7.6), sharey="row")
    (over_steps, over_time), (adapted, counted) = axes
    arms = _arms(frame)
    training, steps, episodes = (
        _rows(frame, kind=kind) for kind in ("training", "steps", "episodes")
    )
    _training_panel(over_steps, training.assign(x=training["steps"] / 1e6), arms)
    over_steps.set(xlabel="million steps of the environment")
    over_steps.set_ylabel("return after 1 adaptation\n(training goals)")
    _training_panel(over_time, training.assign(x=training["seconds"]), arms)
    over_time.set(xlabel="CPU-seconds of training")
    untrained = _rows(steps, method="untrained", adaptations=1)
    if len(untrained):
        level = untrained["return"].to_numpy().mean()
        for ax in (over_steps, over_time):
            ax.axhline(level, color=ARM_COLOURS["untrained"], lw=1.5, ls="--")
    _dots(adapted, steps.assign(x=steps["adaptations"]), arms, spread=0.06)
    adapted.set(xlabel="adaptations", ylabel="return, test goals")
    adapted.set_xticks(sorted(set(steps["adaptations"].astype(int))))
    _dots(counted, episodes.assign(x=np.log2(episodes["episodes"])), arms, spread=0.07)
    counted.set(xlabel="episodes for 1 adaptation")
    counts = sorted(set(episodes["episodes"].astype(int)))
    counted.set_xticks(np.log2(counts), [str(count) for count in counts])
    levels = yardsticks(family)
    for ax in axes.flat:
        side = {over_time: "right", counted: "left"}.get(ax, "")
        _draw_levels(ax, levels, named=side)
    _legend(figure, frame, arms)
    below = set[str]()
    pairs = ((over_steps, [training, untrained]), (adapted, [steps, episodes]))
    for ax, parts in pairs:
        rows = pd.concat(parts)
        if far := _far_down(rows):
            top, floor = rows["return"].max(), _floor(rows)
            ax.set_ylim(floor, top + 0.05 * (top - floor))
            below |= far
    told = "arithmetic means over seeds; bands: all seeds, small dots: single seeds"
    out = f"; below the frame: {', '.join(arm for arm in arms if arm in below)}" if below else ""
    note(figure, told + out)
    one = pd.Series(_rows(steps, adaptations=1).groupby("method")["return"].mean()).to_dict()
    figure.set_label(
        f"4 panels of {family}: return over steps and over CPU-seconds of training, over "
        f"adaptations and over episodes on test goals. Mean return after 1 adaptation on test "
        f"goals, {ordering({arm: float(one[arm]) for arm in arms if arm in one})}."
    )
    return figure


def collections_figure(frame: pd.DataFrame) -> Figure:
    """Draw returns over how many parts the same 40 episodes were collected in; 0 is before them."""
    figure, ax = plt.subplots(figsize=(WIDTH, 4.4))
    parts = sorted(set(frame["collections"]))
    after = frame.assign(x=[parts.index(count) + 1 for count in frame["collections"]])
    before = _rows(frame, collections=parts[0])
    before = before.assign(x=0, **{"return": before["before"]})
    _dots(ax, pd.concat([before, after]), _arms(frame), spread=0.04)
    ax.set(xlabel="collections that share 40 episodes per task", ylabel="return, test goals")
    ax.set_xticks(range(len(parts) + 1), ["none", *map(str, parts)])
    _legend(figure, frame, _arms(frame))
    note(figure, "arithmetic means over seeds; small dots: single seeds")
    return figure


def levers_figure(frame: pd.DataFrame) -> Figure:
    """Draw returns after 1 and 2 adaptations for every lever, and what training took."""
    labels = list(dict.fromkeys(frame["method"]))
    size = (WIDTH, 0.42 * len(labels) + 1.6)
    figure, (left, right) = plt.subplots(1, 2, figsize=size, sharey=True, width_ratios=(3, 1))
    looks = {1: ("o", CYCLE[0]), 2: ("s", CYCLE[2])}
    for row, label in enumerate(labels):
        mine = _rows(frame, method=label)
        for step, (marker, colour) in looks.items():
            of_step = _rows(mine, adaptations=step)
            table = summary(of_step, "adaptations", "return", spread="interval")
            whiskers = np.abs(table[["low", "high"]].to_numpy().T - table["middle"].to_numpy())
            look = {"fmt": marker, "color": colour, "ms": 5, "xerr": whiskers}
            named = f"{step}" if row == 0 else f"_{step}"
            left.errorbar(table["middle"], row + 0.2 * (step - 1.5), label=named, **look)
        right.barh(row, mine["seconds"].mean(), 0.7, color=CYCLE[7])
    left.set_yticks(range(len(labels)), labels)
    left.invert_yaxis()
    left.set(xlabel="return, test goals")
    left.legend(title="adaptations")
    right.set(xlabel="CPU-seconds\nof training")
    note(figure, "arithmetic means over seeds and their 95 % intervals")
    one = pd.Series(_rows(frame, adaptations=1).groupby("method")["return"].mean()).to_dict()
    figure.set_label(
        "Levers in rows; dots: mean return after 1 and 2 adaptations, bars: mean CPU-seconds of "
        f"training. Mean return after 1 adaptation, {ordering(one)}."
    )
    return figure


def forward_figure(frame: pd.DataFrame) -> Figure:
    """Draw the return of an ant that learns one direction, a line per noise of its first steps."""
    figure, ax = plt.subplots(figsize=(WIDTH, 3.6))
    draw_lines(ax, frame, x="iteration", y="return", by="log_std", markers=False)
    ax.set(xlabel="iteration, of 160 episodes", ylabel="return, episodes of training")
    standing = yardsticks("ant/direction")["standing still"]
    _draw_levels(ax, {"standing still": standing}, named="right")
    ax.legend(title="log sigma at the start")
    note(figure, "arithmetic means over seeds; bands: all seeds")
    last = _rows(frame, iteration=frame["iteration"].max()).groupby("log_std")["return"].mean()
    figure.set_label(
        "Return over iterations, a line per log sigma at the start; in the last iteration, "
        f"{ordering({str(name): float(value) for name, value in pd.Series(last).items()})}."
    )
    return figure


def long_ants_figure(frame: pd.DataFrame) -> Figure:
    """Draw returns before and after adaptation over the iterations of long trainings."""
    figure, axes = plt.subplots(1, 2, figsize=(WIDTH, 3.8), sharey=True)
    training = _rows(frame, kind="training")
    names = list(training["method"].unique())
    look: dict[str, Any] = {
        "colours": {name: ARM_COLOURS[name.partition(",")[0]] for name in names},
        "dashes": dict(zip(names, ("-", ":", "-.", "--", "-"), strict=False)),
    }
    for ax, column, when in zip(axes, ("before", "return"), ("before", "after"), strict=True):
        draw_lines(ax, training, x="iteration", y=column, by="method", markers=False, **look)
        ax.set(xlabel="iteration, of 320 episodes", title=f"{when} adaptation")
        standing = yardsticks("ant/direction")["standing still"]
        _draw_levels(ax, {"standing still": standing}, named="")
    axes[0].set_ylabel("return, episodes of training")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
    note(figure, "arithmetic means over seeds; bands: all seeds; dotted: standing still")
    last = _rows(training, iteration=training["iteration"].max())
    ends = pd.Series(last.groupby("method")["return"].mean()).items()
    figure.set_label(
        "2 panels, before and after adaptation: return over iterations, a line per method; after "
        f"adaptation, last iteration, {ordering({str(k): float(v) for k, v in ends})}."
    )
    return figure


def robot_tuning_figure(frame: pd.DataFrame) -> Figure:
    """Draw the return of all that was tried for every method, and how many diverged.

    The axis ends three times as far below the best return as the median of all is; what lies
    further down is counted at its left end.
    """
    arms = _arms(frame)
    best = pd.Series(frame.groupby("method")["return"].max()).dropna().to_dict()
    top, middle = frame["return"].max(), frame["return"].median()
    floor = top - 3 * (top - middle)
    figure, ax = plt.subplots(figsize=(WIDTH, 0.36 * len(arms) + 1.2))
    for row, arm in enumerate(arms):
        mine = _rows(frame, method=arm)["return"].to_numpy(dtype=float)
        drawn = mine[mine >= floor]
        ax.plot(drawn, np.full(len(drawn), row), "o", ms=5, alpha=0.8, color=ARM_COLOURS[arm])
        counts = {"diverged": int(np.isnan(mine).sum()), "further down": int((mine < floor).sum())}
        if told := ", ".join(f"{count} {what}" for what, count in counts.items() if count):
            place = {"transform": ax.get_yaxis_transform(), "va": "bottom"}
            ax.text(0, row - 0.1, f" {told}", **place)
    ax.set_yticks(range(len(arms)), arms)
    ax.invert_yaxis()
    ax.set(xlabel="return after 1 adaptation, tuning seed")
    note(figure, "a dot per trial")
    figure.set_label(
        "A row of dots per method, one for the return of each trial; the best, "
        f"{ordering({arm: float(best[arm]) for arm in arms if arm in best})}."
    )
    return figure


def lead_table(frame: pd.DataFrame, baselines: tuple[str, ...] = BASELINES) -> pd.DataFrame:
    """Return the leads of every form of BO-MRL over baselines, paired by seed.

    Args:
        frame: the table of a family.
        baselines: methods in it.

    Returns:
        Columns lead of, over, adaptations, mean, error (its standard error), wins, seeds.
    """
    steps = _rows(frame, kind="steps")
    trained = set(steps["method"])
    rows = []
    for arm in (arm for arm in _arms(steps) if arm.startswith("BO-MRL")):
        for baseline in (name for name in baselines if name in trained):
            for count in (1, 3):
                lead = paired_difference(_rows(steps, adaptations=count), arm, baseline)
                rows.append({"lead of": arm, "over": baseline, "adaptations": count, **lead})
    return pd.DataFrame(rows)


def performance_profiles(frame: pd.DataFrame) -> Figure:
    """Draw for every method the share of its seeds whose return is above each level.

    After one adaptation on test goals; the curves of Agarwal et al. 2021 (2108.13264).

    Args:
        frame: the table of a family.
    """
    one = _rows(frame, kind="steps", adaptations=1)
    start = max(one["return"].min() - 1, _floor(one))
    levels = np.linspace(start, one["return"].max(), 201)
    figure, ax = plt.subplots(figsize=(WIDTH, 3.6))
    for arm in _arms(one):
        share = performance_profile(_rows(one, method=arm)["return"].to_numpy(), levels)
        dash = "--" if arm == "untrained" else "-"
        ax.step(levels, share, where="post", color=ARM_COLOURS[arm], lw=1.8, ls=dash, label=arm)
    ax.set(xlabel="return after 1 adaptation, test goals", ylabel="share of seeds above it")
    figure.legend(*ax.get_legend_handles_labels(), loc="outside lower center", ncols=4)
    note(figure, "each seed counts alike")
    medians = pd.Series(one.groupby("method")["return"].median()).to_dict()
    figure.set_label(
        "Share of seeds above a return, a line per method; median return after 1 adaptation, "
        f"{ordering({arm: float(medians[arm]) for arm in _arms(one)})}."
    )
    return figure


ROBOT_FIGURES = {
    "cheetah_tuning": robot_tuning_figure,
    "cheetah_direction": partial(family_figure, family="cheetah/direction"),
    "cheetah_velocity": partial(family_figure, family="cheetah/velocity"),
    "cheetah_velocity_tuning": robot_tuning_figure,
    "heads": partial(family_figure, family="cheetah/direction"),
    "levers": levers_figure,
    "walker_levers": levers_figure,
    "ant_forward": forward_figure,
    "ant_tuning": robot_tuning_figure,
    "ant_direction_tuning": robot_tuning_figure,
    "ant_direction": partial(family_figure, family="ant/direction"),
    "ant_direction_long": long_ants_figure,
    "ant_velocity": partial(family_figure, family="ant/velocity"),
    "walker_tuning": robot_tuning_figure,
    "walker_direction": partial(family_figure, family="walker/direction"),
    "collections": collections_figure,
}
"""The figure of each experiment on robots."""


def _over_robots(frame: pd.DataFrame, column: str, label: str, *, by: str) -> Figure:
    """Draw a line for each value of ``by``, both axes logarithmic, their numbers plain."""
    figure, ax = plt.subplots(figsize=(WIDTH, 3.6))
    for number, (name, part) in enumerate(frame.groupby(by, sort=False)):
        ax.plot(part["robots"], part[column], marker=MARKERS[number], label=str(name))
    ax.set(xscale="log", yscale="log", xlabel="robots at once, N", ylabel=label)
    plain_ticks(ax, frame["robots"])
    ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))  # 20, 50, 100, not powers of ten alone
    ax.yaxis.set_major_formatter("{x:,.0f}")
    ax.yaxis.minorticks_off()
    ax.legend()
    return figure


def _arms(frame: pd.DataFrame) -> list[str]:
    """Return the methods of a table in the order of their colours."""
    there = set(frame["method"])
    return [arm for arm in ARM_COLOURS if arm in there]


def _rows(frame: pd.DataFrame, **values: object) -> pd.DataFrame:
    """Return the rows whose columns have these values."""
    for column, value in values.items():
        frame = pd.DataFrame(frame[frame[column] == value])
    return frame


def _floor(rows: pd.DataFrame) -> float:
    """Return how far down an axis goes, so that one seed that broke down hides no other.

    Half as far again below the best return as all but a twentieth of them are.
    """
    returns = rows["return"].to_numpy()
    low = np.quantile(returns, 0.05, method="higher")
    return float(returns.max() - 1.5 * (returns.max() - low))


def _far_down(rows: pd.DataFrame) -> set[str]:
    """Return the methods with returns below the floor."""
    return set(rows["method"][rows["return"] < _floor(rows)])


def _training_panel(ax: Axes, rows: pd.DataFrame, arms: list[str]) -> None:
    """Draw mean and range over seeds; x too is a mean, for seeds differ in their seconds."""
    keep = {"x": ("x", "mean")} | {name: ("return", name) for name in ("mean", "min", "max")}
    for arm in arms:
        line = _rows(rows, method=arm).groupby("iteration").agg(**keep)
        ax.plot(line["x"], line["mean"], color=ARM_COLOURS[arm], lw=1.8, label=arm)
        band = (line["x"], line["min"], line["max"])
        ax.fill_between(*band, color=ARM_COLOURS[arm], alpha=0.12, lw=0)


def _dots(ax: Axes, rows: pd.DataFrame, arms: list[str], *, spread: float) -> None:
    """Draw a line of means and a dot per seed, methods side by side."""
    spread = min(spread, 0.6 / len(arms))
    for number, arm in enumerate(arms):
        mine = _rows(rows, method=arm)
        aside = spread * (number - (len(arms) - 1) / 2)
        means = mine.groupby("x", as_index=False).agg({"return": "mean"})
        look: dict[str, Any] = {"color": ARM_COLOURS[arm]}
        ax.plot(means["x"] + aside, means["return"], lw=1.6, label=arm, **look)
        ax.plot(mine["x"] + aside, mine["return"], ARM_MARKERS[arm], ms=4, alpha=0.6, **look)


def _draw_levels(ax: Axes, levels: dict[str, float], *, named: str) -> None:
    """Draw what needs no learning; one line where the two yardsticks are one."""
    if np.ptp(list(levels.values())) < 1e-3:
        levels = {"standing still": levels["standing still"]}
    for name, level in levels.items():
        ax.axhline(level, color=INK, lw=0.9, ls=":")
        if named:
            place = {"transform": ax.get_yaxis_transform(), "va": "bottom", "ha": named}
            ax.text({"left": 0.01, "right": 0.99}[named], level, name, **place)


def _legend(figure: Figure, frame: pd.DataFrame, arms: list[str]) -> None:
    """Name the methods once, with the number of seeds on which training failed."""
    handles = [
        Line2D([], [], color=ARM_COLOURS[arm], marker=ARM_MARKERS[arm], ms=5) for arm in arms
    ]
    failed = list(_rows(frame, kind="failed")["method"]) if "kind" in frame else []
    names = [f"{arm} ({failed.count(arm)} failed)" if arm in failed else arm for arm in arms]
    figure.legend(handles, names, loc="outside lower center", ncols=4)
