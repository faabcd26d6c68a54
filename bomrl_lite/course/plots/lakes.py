"""Lakes: values as colours, policies as arrows."""

import itertools
from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.colors import Normalize, to_hex, to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Circle, Rectangle

from bomrl_lite.course.plots.alternative import ordering
from bomrl_lite.course.plots.style import DARK, ICE, VALUES, WATER, WIDTH, figure_of
from bomrl_lite.tasks.frozen_lake import MOVES, LakeMap

REACH = 0.38
"""Height of the arrows' middle below the upper edge of a tile; none is longer."""


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
    alone = ax is None
    ax = plt.subplots(figsize=(WIDTH, 3.4))[1] if ax is None else ax
    rows, columns = len(lake_map), len(lake_map[0])
    colours = _tile_colours("".join(lake_map), values, value_range)
    for state, (letter, colour) in enumerate(zip("".join(lake_map), colours, strict=True)):
        row, column = divmod(state, columns)
        ink = "white" if np.dot(to_rgb(colour), (0.3, 0.6, 0.1)) < 0.5 else DARK
        ax.add_patch(Rectangle((column, row), 1, 1, facecolor=colour, edgecolor="white", lw=1.5))
        acts = policy_probs is not None and letter not in absorbing
        _draw_sign(ax, letter, row, column, ink, small=acts)
        if policy_probs is not None and acts:
            _draw_arrows(ax, policy_probs[state].tolist(), row, column, ink)
        if values is not None:
            number = number_format.format(values[state].item())
            look = {"ha": "center", "va": "bottom", "fontsize": 10, "color": ink}
            ax.text(column + 0.5, row + 0.985, number, **look)
    ax.set(xlim=(0, columns), ylim=(rows, 0), aspect="equal", title=title)
    ax.axis("off")
    if alone:
        shown = {} if values is None else {title or "the lake": values}
        drawn = {} if policy_probs is None else {title or "the lake": policy_probs}
        figure_of(ax).set_label(describe_lakes([lake_map], shown, drawn))
    return figure_of(ax)


def describe_lakes(
    lake_maps: Sequence[LakeMap],
    values: Mapping[str, torch.Tensor],
    policies: Mapping[str, torch.Tensor],
) -> str:
    """Say in words what lakes show: their maps, values at the start, and where policies lead.

    Args:
        lake_maps: of every lake.
        values: title -> state values, [S].
        policies: title -> pi(a | s), [S, 4].
    """
    maps = " / ".join(dict.fromkeys(" ".join(lake_map) for lake_map in lake_maps))
    text = f"Grid of a frozen lake, row by row (S start, F ice, H hole, G goal): {maps}."
    if values:
        text += " Numbers and colours of its states; largest, "
        text += ordering({name: value.max().item() for name, value in values.items()}) + "."
    if policies:
        likely = {name: probs.max(-1).values.mean().item() for name, probs in policies.items()}
        text += " Arrows as long as an action is likely; mean chance of the likeliest action, "
        text += ordering(likely) + "."
    return text


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
    size = (WIDTH, min((WIDTH - 1) / columns, 3.0) * rows + 0.3)
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
    titles = [f"{row}, {column}" for row in row_titles for column in column_titles]
    shown, drawn = (
        dict(zip(titles, itertools.chain.from_iterable(kind), strict=True))
        for kind in (values, policies)
    )
    figure.set_label(describe_lakes(lake_maps, shown, drawn))
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
    x, y, size = (column + 0.15, row + 0.18, 10) if small else (column + 0.5, row + 0.38, 12)
    if letter == "H":
        radius = 0.09 if small else 0.18
        ax.add_patch(Circle((x, y), radius, facecolor="black", edgecolor="white", lw=0.8))
    elif letter in "SG":
        ax.text(x, y, letter, ha="center", va="center", fontsize=size, fontweight="bold", color=ink)


def _draw_arrows(ax: Axes, probs: list[float], row: int, column: int, ink: str) -> None:
    """Draw arrows in the upper part of a tile; a number has the lower fourth to itself."""
    for prob, (down, right) in zip(probs, MOVES, strict=True):
        if prob > 0.02:
            ax.arrow(
                column + 0.5,
                row + REACH,
                0.26 * prob * right,
                0.26 * prob * down,
                width=0.035,
                head_width=0.16 * prob**0.5,
                head_length=0.1 * prob**0.5,
                length_includes_head=False,
                color=ink,
                lw=0,
            )
