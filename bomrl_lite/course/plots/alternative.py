"""What a figure shows, in words, read from what was drawn: for those who do not see it."""

import re

import numpy as np
from matplotlib.axes import Axes
from matplotlib.container import BarContainer, ErrorbarContainer
from matplotlib.figure import Figure
from matplotlib.text import Text

NAMED, FEW = 8, 3
"""Names of one panel that are listed at most, where there are few panels and where many."""


def alternative_text(figure: Figure) -> str:
    """Say what a figure shows: its own text if it was given one, else what its axes hold.

    A drawing of no numbers, such as a map, gets its text by ``figure.set_label``.
    """
    given = str(figure.get_label())
    if given:
        return given
    panels = [ax for ax in figure.axes if not _is_scale(ax)]
    listed = NAMED if len(panels) <= 4 else FEW
    parts = [_panel(ax, several=len(panels) > 1, listed=listed) for ax in panels if ax.has_data()]
    count = f"{len(panels)} panels. " if len(panels) > 1 else ""
    return f"{count}{' '.join(parts)}"


def plain(text: str) -> str:
    """Write mathematics without its marks, on one line."""
    text = re.sub(r"\\(?:mathrm|mathit|text)|[${}]", "", text)
    text = re.sub(r"\\(?:varphi|phi)", "phi", text)
    return re.sub(r"\\(?=[A-Za-z])", "", " ".join(text.split()))


def ordering(values: dict[str, float], listed: int = NAMED) -> str:
    """List the first names by their values, highest first."""
    ranked = sorted(values, key=lambda name: -values[name])
    names = ", ".join(f"{plain(name)} {values[name]:.3g}" for name in ranked[:listed])
    return f"from the highest {'down' if len(ranked) > listed else 'to the lowest'}: {names}"


def _panel(ax: Axes, *, several: bool, listed: int) -> str:
    title = plain(ax.get_title()) or plain(ax.get_ylabel())
    x, y = (_axis(label, scale) for label, scale in _labels(ax))
    kind, what = _contents(ax, listed)
    few = listed > FEW
    axes = f"{f' of {y}' if y and few else ''}{f' over {x}' if x else ''}"
    axes = axes if few else axes.replace(" (logarithmic)", "")
    title = title if few else _row_and_column(ax)
    name = f"{title}: " if several and title else ""
    heading = f"{name}{kind}{axes}"
    return f"{heading[:1].upper()}{heading[1:]}{f'; {what}' if what else ''}."


def _row_and_column(ax: Axes) -> str:
    """Name a panel of a grid by what stands above its column and beside its row."""
    own = ax.get_subplotspec()
    places = [(p, p.get_subplotspec()) for p in ax.figure.axes]
    column = [p for p, at in places if own and at and at.colspan == own.colspan]
    row = [p for p, at in places if own and at and at.rowspan == own.rowspan]
    above = next((p.get_title() for p in column if p.get_title()), "")
    beside = next((p.get_ylabel() for p in row if p.get_ylabel()), "")
    return plain(", ".join(filter(None, (above, beside))))


def _labels(ax: Axes) -> list[tuple[str, str]]:
    """Axis labels, those of a shared axis taken from the panel that shows them."""
    both = []
    for dimension in ("x", "y"):
        siblings = getattr(ax, f"get_shared_{dimension}_axes")().get_siblings(ax)
        own = [a for a in (ax, *siblings) if getattr(a, f"get_{dimension}label")()]
        label = getattr(own[0], f"get_{dimension}label")() if own else ""
        both.append((label, getattr(ax, f"get_{dimension}scale")()))
    return both


def _axis(label: str, scale: str) -> str:
    return f"{plain(label)}{' (logarithmic)' if label and 'log' in scale else ''}"


def _contents(ax: Axes, listed: int) -> tuple[str, str]:
    """Say what kind of picture axes hold, and which of several named things is highest."""
    dots = {
        str(c.get_label()): np.asarray(c[0].get_ydata(), dtype=float)
        for c in ax.containers
        if isinstance(c, ErrorbarContainer) and _is_named(c.get_label())
    }
    if dots:
        places = [text.get_text() for text in ax.get_xticklabels()]
        last = {name: float(y[-1]) for name, y in dots.items() if len(y) == len(places)}
        return "dots", f"at {plain(places[-1])}, {ordering(last, listed)}" if len(last) > 1 else ""
    bars = [c for c in ax.containers if isinstance(c, BarContainer)]
    if bars:
        means = {str(c.get_label()): _mean_length(c) for c in bars if _is_named(c.get_label())}
        return "bars", f"mean over groups, {ordering(means, listed)}" if len(means) > 1 else ""
    ends, at = {}, set()
    for line in ax.lines:
        x, y = (np.asarray(part, dtype=float) for part in line.get_data())
        kept = np.isfinite(x) & np.isfinite(y)
        if _is_named(line.get_label()) and kept.any():
            ends[str(line.get_label())] = float(y[kept][x[kept].argmax()])
            at.add(float(x[kept].max()))
    if len(ends) > 1:
        where = f"at the right end (x = {at.pop():.3g})" if len(at) == 1 else "at their right ends"
        where = where if listed > FEW else "at the right end"
        return "lines", f"{where}, {ordering(ends, listed)}"
    if ax.images:
        return "pictures", ""
    if ax.collections and not ax.lines:
        count = sum(len(np.asarray(c.get_offsets())) for c in ax.collections)
        return f"{count} dots" if count > 1 else "a map of colours", ""
    words = [text.get_text() for text in ax.texts if isinstance(text, Text) and text.get_text()]
    return "lines" if ax.lines else "a drawing", ", ".join(map(plain, words[:NAMED]))


def _mean_length(bars: BarContainer) -> float:
    sides = [(bar.get_width(), bar.get_height()) for bar in bars]
    widths, heights = np.array(sides, dtype=float).T
    lengths = widths if np.ptp(heights) < 1e-12 and np.ptp(widths) > 0 else heights
    return float(np.nanmean(lengths)) if np.isfinite(lengths).any() else np.nan


def _is_named(label: object) -> bool:
    return bool(label) and not str(label).startswith("_")


def _is_scale(ax: Axes) -> bool:
    return hasattr(ax, "_colorbar")
