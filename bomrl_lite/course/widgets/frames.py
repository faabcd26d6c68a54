"""The static twin of a widget: frames behind a plain slider, for pages where no Python runs."""

import base64
import html
import json
import os
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import ipywidgets
import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from bomrl_lite.course.plots import shown
from bomrl_lite.course.static import FRAMES, with_palette

MOST_FRAMES = 9
"""Of one twin; with pictures of some 30 kB a lesson stays far below what may be committed."""

_SHOW = """const figure = this.closest('figure');
const frames = JSON.parse(figure.querySelector('script').textContent), now = frames[this.value];
figure.querySelectorAll('img').forEach(
  (image, place) => Object.assign(image, now.pictures[place]));
figure.querySelector('output').textContent = now.text;
this.setAttribute('aria-valuetext', now.value);"""


class Frame(NamedTuple):
    """What a page shows at one place of its slider."""

    value: str
    """Of the control, in words."""
    text: str
    """The line below the pictures."""
    pictures: list[dict[str, str]]
    """Their ``src`` and their ``alt``."""


class Framed(ipywidgets.VBox):
    """A widget that shows itself as HTML too, if the builder of the committed notebooks asks."""

    twin: Callable[[], str]

    def _repr_mimebundle_(self, **kwargs: Any) -> dict[str, Any]:
        bundle = dict(super()._repr_mimebundle_(**kwargs) or {})
        return {**bundle, "text/html": self.twin()} if os.environ.get(FRAMES) else bundle


def frames_page(
    controls: Sequence[Any],
    draw: Callable[..., Figure],
    describe: Callable[..., str],
) -> str:
    """Draw the control of most values over at most 9 of them, the others as they stand, in HTML.

    Args:
        controls: of the widget; their values are the arguments of the two functions, in order.
        draw: values -> figure.
        describe: values -> text, which is the picture's description too.
    """
    moved = max(controls, key=lambda control: len(_values(control)))
    chosen = _thinned(_values(moved), moved.value)
    frames, width = [], 0
    for name, value in chosen:
        values = [value if control is moved else control.value for control in controls]
        figure = draw(*values)
        data, page = shown(figure)
        plt.close(figure)
        width, text = page["width"], describe(*values)
        frames.append(Frame(name, text, [{"src": address(data), "alt": text}]))
    start = [value for _, value in chosen].index(moved.value)
    image = f'<img {_attributes(frames[start])[0]} style="width: {width}px; max-width: none">'
    view = f'<div style="overflow-x: auto">\n{image}\n</div>'
    return _page(moved.description, frames, start, view, _caption(controls, moved, chosen))


def pictures_page(
    label: str, frames: Sequence[Frame], titles: Sequence[str], *, columns: int, width: int
) -> str:
    """Put frames of several pictures behind a slider, in HTML: side by side, each with its title.

    Args:
        label: of the slider, which begins at the first frame.
        frames: at most 9, with as many pictures as there are titles.
        titles: what each picture is of.
        columns: how many stand side by side.
        width: most pixels of a picture; on a narrow page all are smaller.
    """
    cells = "\n".join(
        f'<div><b>{html.escape(title)}</b><img {tag} style="display: block; width: 100%"></div>'
        for title, tag in zip(titles, _attributes(frames[0]), strict=True)
    )
    grid = (
        f"display: grid; gap: 8px; grid-template-columns: repeat({columns}, minmax(0, {width}px))"
    )
    view = f'<div style="{grid}">{cells}</div>'
    what = f"{len(frames)} moments, drawn when this page was made."
    return _page(label, frames, 0, view, what)


def address(png: bytes) -> str:
    """Return a PNG as the address of a picture, in a palette."""
    return f"data:image/png;base64,{with_palette(base64.b64encode(png).decode())}"


def _attributes(frame: Frame) -> list[str]:
    return [
        " ".join(f'{key}="{html.escape(text)}"' for key, text in picture.items())
        for picture in frame.pictures
    ]


def _page(label: str, frames: Sequence[Frame], start: int, view: str, caption: str) -> str:
    # In a script, no text may look like its end.
    stored = json.dumps([frame._asdict() for frame in frames]).replace("<", "\\u003c")
    label, now = html.escape(label), frames[start]
    return f"""<figure>
<label>{label} <input type="range" min="0" max="{len(frames) - 1}" value="{start}"
 aria-label="{label}" aria-valuetext="{html.escape(now.value)}" style="width: 100%; max-width: 30em"
 oninput="{html.escape(_SHOW)}"></label>
{view}
<output aria-live="polite" style="white-space: pre-line">{html.escape(now.text)}</output>
<figcaption>{html.escape(caption)}</figcaption>
<script type="application/json">{stored}</script>
</figure>"""


def _values(control: Any) -> list[tuple[str, Any]]:
    """Return what a control can be set to, by name."""
    if hasattr(control, "step"):
        steps = round((control.max - control.min) / control.step)
        values = [control.min + step * control.step for step in range(steps + 1)]
        return [(f"{value:g}", value) for value in values]
    return [o if isinstance(o, tuple) else (str(o), o) for o in control.options]


def _thinned(values: list[tuple[str, Any]], kept: Any) -> list[tuple[str, Any]]:
    """Return at most 9 values, evenly spread, the first, the last and the kept one among them."""
    last = len(values) - 1
    count = min(len(values), MOST_FRAMES)
    chosen = {round(place * last / max(count - 1, 1)) for place in range(count)}
    start = [value for _, value in values].index(kept)
    if start not in chosen:
        chosen.remove(min(chosen - {0, last}, key=lambda n: abs(n - start)))
    return [values[n] for n in sorted(chosen | {start})]


def _caption(
    controls: Sequence[Any],
    moved: Any,
    chosen: list[tuple[str, Any]],
) -> str:
    """Say what of the widget this is."""
    stay = ", ".join(f"{c.description} stays at {c.value}" for c in controls if c is not moved)
    what = f"{len(chosen)} of {len(_values(moved))} positions, drawn when this page was made"
    return f"{what}; {stay}." if stay else f"{what}."
