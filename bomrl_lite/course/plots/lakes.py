"""Lakes: values as colours, policies as arrows."""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.colors import Normalize, to_hex, to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Circle, Rectangle

from bomrl_lite.course.plots.style import ICE, INK, VALUES, WATER, figure_of
from bomrl_lite.tasks.frozen_lake import MOVES, LakeMap


def draw_lake(
    lake_map: LakeMap,
    values: torch.Tensor | None = None,
    policy_probs: torch.Tensor | None = None,
    *,
    ax: Axes | None = None,
    title: str = "",
    value_range: tuple[float, float] | None = None,
    number_format: str = "{:z.2f}",
    absorbing: str = "GH",
) -> Figure:
    """Draw a lake with optional state values (colour, number) and a policy (arrows).

    Args:
        lake_map: rows of letters.
        values: one number per state, [S].
        policy_probs: pi(a | s), [S, 4]; an arrow's length is its action's probability.
        ax: where to draw; a new figure if None.
        title: above the lake.
        value_range: numbers at the two ends of the colour scale; those of ``values`` if None.
        number_format: how a state's number is written.
        absorbing: letters of the tiles where actions mean nothing and arrows are left out.
    """
    ax = plt.subplots(figsize=(2.8, 2.9))[1] if ax is None else ax
    rows, columns = len(lake_map), len(lake_map[0])
    colours = _tile_colours("".join(lake_map), values, value_range)
    for state, (letter, colour) in enumerate(zip("".join(lake_map), colours, strict=True)):
        row, column = divmod(state, columns)
        ink = "white" if np.dot(to_rgb(colour), (0.3, 0.6, 0.1)) < 0.5 else INK
        ax.add_patch(Rectangle((column, row), 1, 1, facecolor=colour, edgecolor="white", lw=1.5))
        acts = policy_probs is not None and letter not in absorbing
        _draw_sign(ax, letter, row, column, ink, small=acts)
        if policy_probs is not None and acts:
            _draw_arrows(ax, policy_probs[state].tolist(), row, column, ink)
        if values is not None:
            number = number_format.format(values[state].item())
            ax.text(
                column + 0.95, row + 0.93, number, ha="right", va="bottom", fontsize=6, color=ink
            )
    ax.set(xlim=(0, columns), ylim=(rows, 0), aspect="equal", title=title)
    ax.axis("off")
    return figure_of(ax)


def draw_lakes(
    lake_maps: Sequence[LakeMap],
    values: Sequence[Sequence[torch.Tensor]],
    policies: Sequence[Sequence[torch.Tensor]],
    *,
    row_titles: Sequence[str],
    column_titles: Sequence[str],
) -> Figure:
    """Draw a grid of lakes with one colour scale: row r shows ``values[r][c]`` on lake c."""
    rows, columns = len(values), len(lake_maps)
    size = (2.5 * columns + 0.5, 2.6 * rows)
    figure, axes = plt.subplots(rows, columns, figsize=size, squeeze=False)
    everything = torch.stack([torch.stack(list(row)) for row in values])
    ends = everything.min().item(), everything.max().item()
    for r in range(rows):
        for c, lake_map in enumerate(lake_maps):
            title, ax = column_titles[c] if r == 0 else "", axes[r, c]
            draw_lake(lake_map, values[r][c], policies[r][c], ax=ax, title=title, value_range=ends)
        middle = len(lake_maps[0]) / 2
        axes[r, 0].text(-0.25, middle, row_titles[r], rotation=90, va="center", ha="center")
    scale = plt.cm.ScalarMappable(Normalize(*ends), VALUES)
    figure.colorbar(scale, ax=axes, label="state value V(s)", shrink=0.7, aspect=30)
    return figure


def _tile_colours(
    letters: str, values: torch.Tensor | None, value_range: tuple[float, float] | None
) -> list[str]:
    """Colour tiles by their values, or by their kind where there are none."""
    if values is None:
        kinds = {"H": WATER, "G": "#f6dfb8"}
        return [kinds.get(letter, ICE) for letter in letters]
    ends = value_range or (values.min().item(), values.max().item())
    return [to_hex(VALUES(Normalize(*ends)(v))) for v in values.tolist()]


def _draw_sign(ax: Axes, letter: str, row: int, column: int, ink: str, *, small: bool) -> None:
    """Mark start, hole and goal: in the middle of the tile, or small in a corner beside arrows."""
    x, y, size = (column + 0.14, row + 0.17, 7) if small else (column + 0.5, row + 0.45, 11)
    if letter == "H":
        radius = 0.09 if small else 0.2
        ax.add_patch(Circle((x, y), radius, facecolor="black", edgecolor="white", lw=0.8))
    elif letter in "SG":
        ax.text(x, y, letter, ha="center", va="center", fontsize=size, fontweight="bold", color=ink)


def _draw_arrows(ax: Axes, probs: list[float], row: int, column: int, ink: str) -> None:
    for prob, (down, right) in zip(probs, MOVES, strict=True):
        if prob > 0.02:
            ax.arrow(
                column + 0.5,
                row + 0.5,
                0.36 * prob * right,
                0.36 * prob * down,
                width=0.035,
                head_width=0.16 * prob**0.5,
                head_length=0.12 * prob**0.5,
                length_includes_head=False,
                color=ink,
                lw=0,
            )
