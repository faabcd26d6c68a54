"""The static twin of a widget: frames behind a plain slider, for pages where no Python runs."""

import base64
import html
import json
import os
from collections.abc import Callable, Sequence
from typing import Any

import ipywidgets
import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from bomrl_lite.course.building.outputs import with_palette
from bomrl_lite.course.notebook import FRAMES
from bomrl_lite.course.plots import shown

MOST_FRAMES = 9
"""Of one twin; with pictures of some 30 kB a lesson stays far below what may be committed."""

_SHOW = """const figure = this.closest('figure');
const frames = JSON.parse(figure.querySelector('script').textContent), now = frames[this.value];
const image = figure.querySelector('img');
image.src = now.picture; image.alt = now.text;
figure.querySelector('output').textContent = now.text;
this.setAttribute('aria-valuetext', now.value);"""


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
        width = page["width"]
        source = f"data:image/png;base64,{with_palette(base64.b64encode(data).decode())}"
        frames.append({"value": name, "text": describe(*values), "picture": source})
    start = [value for _, value in chosen].index(moved.value)
    now = {key: html.escape(text) for key, text in frames[start].items()}
    # In a script, no text may look like its end.
    stored = json.dumps(frames).replace("<", "\\u003c")
    label = html.escape(moved.description)
    return f"""<figure>
<label>{label} <input type="range" min="0" max="{len(frames) - 1}" value="{start}"
 aria-label="{label}" aria-valuetext="{now["value"]}" style="width: 100%; max-width: 30em"
 oninput="{html.escape(_SHOW)}"></label>
<div style="overflow-x: auto">
<img alt="{now["text"]}" src="{now["picture"]}" style="width: {width}px; max-width: none">
</div>
<output aria-live="polite">{now["text"]}</output>
<figcaption>{html.escape(_caption(controls, moved, chosen))}</figcaption>
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
