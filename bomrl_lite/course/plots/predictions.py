"""How well one knew: the share of right predictions against how sure one was."""

from collections.abc import Sequence
from typing import Any

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure

from bomrl_lite.course.plots.style import GOLD, INK

EDGES = (0, 50, 70, 90, 101)
"""Per cent: groups of predictions that are drawn as one dot."""


def calibration(predictions: Sequence[tuple[int, bool]]) -> Figure:
    """Draw one dot per group of equally sure predictions; on the line one is as right as sure.

    Args:
        predictions: (how sure in per cent, whether it was right).
    """
    table = calibration_table(predictions)
    figure, ax = plt.subplots(figsize=(8.2, 4.6))
    ax.plot([0, 100], [0, 100], color=INK, linestyle=":", label="as right as sure")
    ax.plot(table["sure"], table["right"], "o", markersize=8, color=GOLD, label="you")
    beside: dict[str, Any] = {"xytext": (8, -4), "textcoords": "offset points"}
    for number, *place in zip(table["number"], table["sure"], table["right"], strict=True):
        ax.annotate(f"{number} asked", (place[0], place[1]), **beside)
    ax.set(xlabel="how sure, %", ylabel="right, %", xlim=(20, 112), ylim=(-5, 105))
    ax.legend(loc="upper left")
    return figure


def calibration_table(predictions: Sequence[tuple[int, bool]]) -> pd.DataFrame:
    """Return per group of :data:`EDGES`: mean certainty and share right in per cent, and number."""
    found = pd.DataFrame(predictions, columns=["sure", "right"]).astype(float)
    group = pd.cut(found["sure"], EDGES, right=False)
    grouped = found.groupby(group, observed=True)
    return grouped.agg(
        sure=("sure", "mean"),
        right=("right", lambda each: 100 * each.mean()),
        number=("right", "size"),
    ).reset_index(drop=True)
