"""Aggregate first, then draw: what a line shows is computed here, whatever the axes are.

seaborn averages what is drawn, and on an axis that is logarithmic by then it averages logarithms.
Here a mean is a mean: arithmetic over seeds; a median where one task can outweigh all others.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Literal

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from bomrl_lite.course.plots.style import CYCLE, LABELS
from bomrl_lite.course.statistics import mean_interval

MARKERS = ("o", "s", "^", "D", "v", "P", "X", "p", "*", "h", "<")
Spread = Literal["range", "interval", ""]
"""Of a band or whisker: all values, the 95 % bootstrap interval of their mean, or none."""
_SPREADS: dict[str, Callable[[np.ndarray], tuple[float, float]]] = {
    "range": lambda values: (float(np.nanmin(values)), float(np.nanmax(values))),
    "interval": mean_interval,
}


def summary(
    frame: pd.DataFrame, x: str, y: str, *, spread: Spread = "range", median: bool = False
) -> pd.DataFrame:
    """Aggregate y at every x: columns x, middle, low, high, ordered by x.

    Args:
        frame: rows of one line.
        x: column of the places.
        y: column of the values; not-a-numbers are left out.
        spread: what low and high are; without one they are the middle.
        median: take the median, not the arithmetic mean.
    """
    rows = []
    for place, values in frame.groupby(x)[y]:
        finite = values.to_numpy(dtype=float)
        finite = finite[np.isfinite(finite)]
        if len(finite):
            middle = float(np.median(finite) if median else finite.mean())
            low, high = _SPREADS[spread](finite) if spread else (middle, middle)
            rows.append({"x": place, "middle": middle, "low": low, "high": high})
    return pd.DataFrame(rows, columns=["x", "middle", "low", "high"])


def draw_lines(
    ax: Axes,
    frame: pd.DataFrame,
    *,
    x: str,
    y: str,
    by: str,
    names: Sequence[str] | None = None,
    colours: Mapping[str, str] | None = None,
    dashes: Mapping[str, object] | None = None,
    spread: Spread = "range",
    median: bool = False,
    markers: bool = True,
) -> None:
    """Draw a line of means, or medians, for every value of a column, with its spread as a band.

    Args:
        ax: where to draw; its scales may be set before or after.
        frame: one row per seed or task, place and name.
        x: column of the places.
        y: column of the values.
        by: column of the names.
        names: which, in the order of the legend; all as they come if None.
        colours: of names; others take the course's cycle.
        dashes: of names; others are drawn solid.
        spread: see :func:`summary`.
        median: see :func:`summary`.
        markers: put one on every place, of another form for every name.
    """
    names = [name for name in names or frame[by].unique() if name in set(frame[by])]
    for number, name in enumerate(names):
        table = summary(pd.DataFrame(frame[frame[by] == name]), x, y, spread=spread, median=median)
        colour = (colours or {}).get(name, CYCLE[number % len(CYCLE)])
        look = {"color": colour, "ls": (dashes or {}).get(name, "-"), "lw": 1.6}
        marker = MARKERS[number % len(MARKERS)] if markers else ""
        label = LABELS.get(str(name), str(name))
        ax.plot(table["x"], table["middle"], marker=marker, ms=5, label=label, **look)
        if spread and bool(np.any(table["high"] > table["low"])):
            band = (table["x"], table["low"], table["high"])
            ax.fill_between(*band, color=colour, alpha=0.15, lw=0)


def draw_dots(
    ax: Axes,
    frame: pd.DataFrame,
    *,
    x: str,
    y: str,
    by: str,
    colours: Mapping[str, str],
    spread: Spread = "range",
    labels: Mapping[str, str] = LABELS,
) -> None:
    """Draw a dot for every mean, side by side in groups, with its spread as a whisker.

    Bars would have to start at 0, where a logarithmic axis has no place.

    Args:
        ax: where to draw.
        frame: one row per seed, group and name.
        x: column of the groups.
        y: column of the values.
        by: column of the names.
        colours: of names, in the order of the legend.
        spread: of the whiskers, see :func:`summary`.
        labels: of names and groups; others are written as they are.
    """
    groups = list(dict.fromkeys(frame[x]))
    names = [name for name in colours if name in set(frame[by])]
    for number, name in enumerate(names):
        table = summary(pd.DataFrame(frame[frame[by] == name]), x, y, spread=spread)
        table = table.sort_values("x", key=lambda column: column.map(groups.index))
        aside = (number - (len(names) - 1) / 2) * 0.7 / len(names)
        at = np.array([groups.index(group) + aside for group in table["x"]])
        whiskers = [table["middle"] - table["low"], table["high"] - table["middle"]]
        look = {"color": colours[name], "fmt": MARKERS[number % len(MARKERS)], "ms": 6}
        label = labels.get(str(name), str(name))
        ax.errorbar(at, table["middle"], np.maximum(whiskers, 0), label=label, **look)
    ax.set_xticks(range(len(groups)), [labels.get(str(g), str(g)) for g in groups])
    ax.set_xlim(-0.5, len(groups) - 0.5)
