"""Figures of the estimator laboratory: bias and spread of second-order estimators.

Lines are medians over problem instances (seeds), bands span all of them.
"""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, NullFormatter, NullLocator

from bomrl_lite.course.plots.style import INK, RUNGS, WIDTH, note

LOOKS: dict[str, tuple[str, str, str]] = {
    "first order": (INK, ":", ""),
    "naive": (RUNGS["naive"], "-", "v"),
    "LVC": (RUNGS["frozen"], "-", "s"),
    "LVC, baseline": (RUNGS["frozen"], "--", "s"),
    "LVC + grad Q": (RUNGS["q_gradient"], "-", "^"),
    "DiCE": (RUNGS["full"], "-", "o"),
    "Loaded DiCE": (RUNGS["full"], "--", "o"),
    "Loaded DiCE, 0.9": ("#3d97d1", "--", "P"),
    "Loaded DiCE, 0.8": ("#3d97d1", "-", "D"),
    "Loaded DiCE, 0.5": ("#7c9417", "-", "X"),
}
"""Colour, dash and marker of each estimator; colours of the rungs as everywhere."""

SHOWN = ("naive", "LVC", "LVC + grad Q", "DiCE", "Loaded DiCE", "Loaded DiCE, 0.8")
"""Estimators that are drawn unless told otherwise; the others would hide them."""

NAMES = {
    "LVC + grad Q": r"LVC + $\nabla Q$",
    "Loaded DiCE, 0.9": r"Loaded DiCE, $\tau$ = 0.9",
    "Loaded DiCE, 0.8": r"Loaded DiCE, $\tau$ = 0.8",
    "Loaded DiCE, 0.5": r"Loaded DiCE, $\tau$ = 0.5",
}

SIGNIFICANT = 2.0
"""A bias below so many standard errors is drawn hollow: none that the repetitions could find."""

VALUES = {
    "returns": ("#8c8c8c", "-", "v"),
    "fitted V": ("#c98500", "-", "s"),
    "fitted V, counted visits": ("#d55e00", "--", "X"),
    "exact V": ("#0173b2", "-", "o"),
}
"""Looks of the estimators of grad Q."""


def laboratory_figure(
    frame: pd.DataFrame, quantity: str = "curvature", shown: Sequence[str] = SHOWN
) -> Figure:
    """Draw bias, standard deviation and error of estimators over the number of episodes.

    Args:
        frame: rows of the experiment ``laboratory``.
        quantity: curvature or meta-gradient.
        shown: estimators; of the meta-gradient the first-order one is always drawn too.
    """
    chosen = _where(frame, quantity=quantity)
    parts = list(chosen.groupby("problem", sort=False))
    figure, axes = plt.subplots(3, len(parts), figsize=(WIDTH, 9.4), sharex=True, sharey="row")
    axes = axes.reshape(3, -1)
    names = [*shown, *(["first order"] if quantity == "meta-gradient" else [])]
    for column, (problem, part) in zip(axes.T, parts, strict=True):
        _lines(part, "bias", names, column[0])
        _lines(part, "deviation", names, column[1])
        _lines(part, "error", names, column[2])
        _root_guide(part, column[1])
        column[0].set_title(f"{quantity}\n{problem}")
        column[2].set_xlabel("episodes N of a batch")
    for row, label in zip(axes, ("bias", "standard deviation", "error"), strict=True):
        row[0].set_ylabel(f"{label},\nrelative")
    handles = [_handle(name, *LOOKS[name]) for name in names]
    handles.append(Line2D([], [], color=INK, lw=1, ls=(0, (1, 2)), label=r"$\propto 1/\sqrt{N}$"))
    handles.append(_hollow())
    figure.legend(handles=handles, loc="outside lower center", ncols=3)
    note(figure, "medians over problem instances, the range over instances behind them")
    return figure


def q_gradient_figure(frame: pd.DataFrame, lam: float = 2.0) -> Figure:
    """Draw the error of the hypergradient with the sampled grad Q, over its error without.

    Below 1 the term helps, above it hurts.

    Args:
        frame: rows of the experiment ``q_gradient``.
        lam: weight of the distance.
    """
    chosen = _where(frame, lam=lam)
    chosen = chosen.assign(ratio=chosen["whole error"] / chosen["dropped"])
    problems, sizes = (list(dict.fromkeys(chosen[c])) for c in ("problem", "episodes"))
    shape = (len(problems), len(sizes))
    figure, axes = plt.subplots(
        *shape,
        figsize=(WIDTH, 1.6 + 2.2 * shape[0]),
        sharex=True,
        sharey=True,
        squeeze=False,
    )
    names = [name for name in VALUES if name in set(chosen["estimator"])]
    for row, problem in zip(axes, problems, strict=True):
        for ax, size in zip(row, sizes, strict=True):
            part = _where(chosen, problem=problem, episodes=size)
            ax.axhline(1, color=INK, lw=1, ls=":")
            for name in names:
                _line(_where(part, estimator=name), "trace", "ratio", name, VALUES[name], ax)
            ax.set_yscale("log")
            ax.set_xticks(sorted(set(part["trace"])))
        row[0].set_ylabel(f"{problem}\nerror with / without")
    for ax, size in zip(axes[0], sizes, strict=True):
        ax.set_title(f"{size} episodes")
    for ax in axes[-1]:
        ax.set_xlabel(r"truncation $\tau$ of causes")
    handles = [_handle(name, *VALUES[name]) for name in names]
    handles.append(Line2D([], [], color=INK, lw=1, ls=":", label="the term dropped"))
    figure.legend(handles=handles, loc="outside lower center", ncols=3)
    note(figure, "medians over problem instances, the range over instances behind them")
    return figure


def _lines(part: pd.DataFrame, column: str, names: Sequence[str], ax: Axes) -> None:
    """Draw one line per estimator over the number of episodes, both axes logarithmic."""
    for name in names:
        mine = _where(part, estimator=name)
        if len(mine):
            _line(mine, "episodes", column, name, LOOKS[name], ax)
    ax.set(xscale="log", yscale="log", xlabel="", ylabel="")
    sizes = sorted(set(part["episodes"]))
    ax.xaxis.set_major_locator(FixedLocator(sizes))
    ax.xaxis.set_minor_locator(NullLocator())
    ax.set_xticks(sizes, [str(n) for n in sizes], rotation=60 if len(sizes) > 6 else 0)
    ax.yaxis.set_minor_formatter(NullFormatter())


def _where(frame: pd.DataFrame, **values: str | float) -> pd.DataFrame:
    """Return the rows whose columns have these values."""
    for column, value in values.items():
        frame = pd.DataFrame(frame[frame[column] == value])
    return frame


def _line(
    part: pd.DataFrame, x: str, y: str, name: str, look: tuple[str, str, str], ax: Axes
) -> None:
    colour, dash, marker = look
    at = np.unique(part[x].to_numpy(float))
    # One row per place, one column per problem instance.
    table = part.pivot_table(index=x, columns="seed", values=[y, "bias error"])
    values = table[y].to_numpy(float)
    middle = np.median(values, axis=1)
    if values.shape[1] > 1:
        ax.fill_between(at, values.min(1), values.max(1), color=colour, alpha=0.12, lw=0)
    ax.plot(at, middle, color=colour, ls=dash, lw=1.6, label=name)
    found = np.ones(len(at), dtype=bool)
    if y == "bias":
        found = middle > SIGNIFICANT * np.median(table["bias error"].to_numpy(float), axis=1)
    for these, face in ((found, colour), (~found, "none")):
        dots = {"marker": marker, "color": colour, "mfc": face, "ms": 5.5}
        ax.plot(at[these], middle[these], ls="", **dots)


def _root_guide(part: pd.DataFrame, ax: Axes) -> None:
    """Draw a line of slope -1/2 below the deviations."""
    sizes = np.array(sorted(set(part["episodes"])), dtype=float)
    first = _where(part, episodes=sizes[0])["deviation"].to_numpy(float)
    first = first[first > 0].min()
    ax.plot(sizes, 0.6 * first * np.sqrt(sizes[0] / sizes), color=INK, lw=1, ls=(0, (1, 2)))


def _hollow() -> Line2D:
    label = f"no bias found\n(below {SIGNIFICANT:g} standard errors)"
    return Line2D([], [], color=INK, ls="", marker="o", mfc="none", ms=5, label=label)


def _handle(name: str, colour: str, dash: str, marker: str) -> Line2D:
    look = {"color": colour, "ls": dash, "marker": marker, "ms": 4.5, "lw": 1.4}
    return Line2D([], [], label=NAMES.get(name, name), **look)
