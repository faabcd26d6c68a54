"""Exported pages and the site: readable without a network, a script or Python."""

import base64
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import ipywidgets
import jupytext
import matplotlib.pyplot as plt
import nbformat
import pytest
import torch
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

import bomrl_lite
from bomrl_lite.course import plots
from bomrl_lite.course.building.sources import Cell, make_notebook
from bomrl_lite.course.static import FRAMES
from bomrl_lite.course.widgets import explorer, player, rollout_player
from bomrl_lite.course.widgets.frames import MOST_FRAMES, frames_page
from bomrl_lite.render.goal_marks import Direction

ROOT = Path(__file__).resolve().parents[1]
PIXEL = (
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJ"
    "AAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
WIDGET = "application/vnd.jupyter.widget-view+json"
OUTSIDE = re.compile(r"""(?:\b(?:src|import)\b\s*[=(]\s*|<link\b[^>]*href=)["'](?:https?:)?//""")
"""What a page would fetch when it opens; a link that a reader may follow is none."""


EVENLY = (0, 2, 5, 8, 10, 12, 15, 18, 20)
"""Nine of 21 moments; halves are rounded to the even one."""


def equations():
    """Every equation of the lessons and exercise sets, and whether it is a block."""
    for folder in ("notebooks", "exercises"):
        for path in sorted((ROOT / folder / "src").glob("*.py")):
            for cell in jupytext.read(path).cells:
                text = re.sub(r"(?s)```.*?```|`[^`]*`", "", cell.source)
                if cell.cell_type == "markdown":
                    found = re.findall(r"(?s)\$\$(.+?)\$\$|(?<![\\$])\$([^$]+?)\$", text)
                    yield from ((block or tex, bool(block)) for block, tex in found)


def picture(level: float) -> plt.Figure:
    figure, ax = plt.subplots(figsize=(1, 1))
    ax.axhline(level)
    return figure


def dial(**settings) -> ipywidgets.FloatSlider:
    return ipywidgets.FloatSlider(0.3, min=0, max=1, step=0.01, description="level", **settings)


def describe(level: float, *_) -> str:
    return f"level {level:.2f} < 2 & more"


def stored(page: str) -> list[dict[str, str]]:
    return json.loads(re.findall(r'(?s)<script type="application/json">(.*?)</script>', page)[0])


def test_a_twin_holds_nine_frames_with_the_words_of_each():
    view = explorer(dial(), picture, describe)
    frames = stored(view.twin())
    assert len(frames) == MOST_FRAMES
    levels = [float(frame["value"]) for frame in frames]
    assert levels == sorted(levels)
    assert {0, 0.3, 1} <= set(levels)
    assert [frame["text"] for frame in frames] == [describe(level) for level in levels]
    pictures = {frame["pictures"][0]["src"] for frame in frames}
    assert len(pictures) == MOST_FRAMES
    assert all(base64.b64decode(p.partition(",")[2])[1:4] == b"PNG" for p in pictures)
    assert plt.get_fignums() == []


def test_a_twin_moves_the_control_of_most_values_and_says_what_stays():
    menu = ipywidgets.Dropdown(options=["d1", "d2"], value="d2", description="distance")
    seen = []

    def draw(name, level):
        seen.append(name)
        return picture(level)

    page = frames_page([menu, dial()], draw, lambda name, level: f"{name} at {level:.1f}")
    assert set(seen) == {"d2"}
    assert "9 of 101 positions" in page
    assert "distance stays at d2" in page
    assert stored(page)[0]["text"] == "d2 at 0.0"


def test_a_twin_of_a_few_values_holds_them_all():
    few = ipywidgets.IntSlider(1, min=0, max=2, description="lake")
    page = frames_page([few], picture, describe)
    assert [frame["value"] for frame in stored(page)] == ["0", "1", "2"]
    assert "3 of 3 positions" in page
    assert 'value="1"' in page


def test_a_widget_shows_its_twin_only_to_the_builder(monkeypatch):
    view = explorer(dial(), picture, describe)
    assert "text/html" not in view._repr_mimebundle_()
    monkeypatch.setenv(FRAMES, "1")
    bundle = view._repr_mimebundle_()
    assert bundle["text/html"].count("<img") == 1
    assert WIDGET in bundle


def film(stage: str, metres: float, steps: int = 20) -> plots.Clip:
    """A cheetah that slides at an even speed; its reward is the speed in m/s."""
    qpos = torch.zeros(steps + 1, 9)
    qpos[:, 0] = torch.linspace(0, metres, steps + 1)
    rewards = torch.full((steps,), metres / (0.05 * steps))
    return plots.Clip("run <forwards>", stage, "half_cheetah", qpos, rewards, Direction(1))


def players_twin(**size: int) -> str:
    return rollout_player([film("before", -1.1), film("after", 2.3, 10)], **size).twin()


def test_the_twin_of_the_player_shows_all_stages_side_by_side():
    page = players_twin(width=64, height=48)
    frames = stored(page)
    assert [frame["value"] for frame in frames] == [f"{0.05 * n:.2f} s" for n in EVENLY]
    # Rewards of -1.1 and 4.6 a step; the shorter episode stands still at its end.
    assert frames[4]["text"].split("\n") == [
        "Return so far, at 0.50 s:",
        "run <forwards>: -11.0 before, +46.0 after",
    ]
    assert frames[-1]["text"].endswith("-22.0 before, +46.0 after")
    before, after = frames[-1]["pictures"]
    assert before["alt"] == f"run <forwards>, before, {player.describe(film('before', -1.1), 20)}"
    assert "0.50 s: return so far +46.0" in after["alt"]
    assert frames[-2]["pictures"][1] == after
    assert len({each["src"] for frame in frames for each in frame["pictures"]}) == 9 + 5 - 1
    assert "<b>run &lt;forwards&gt;, after</b>" in page
    assert "repeat(2, minmax(0, 64px))" in page


def test_the_twin_of_the_player_takes_less_than_a_megabyte():
    clips = [f._replace(task=task) for task in "ab" for f in (film("before", 1), film("after", 2))]
    assert 1e5 < len(rollout_player(clips).twin()) < 1e6


@pytest.fixture(scope="module")
def notebook() -> nbformat.NotebookNode:
    """Two equations, a described picture, shown code, a widget with a twin and one without."""
    shown = '<div style="font-family: monospace">\n\n```python\ndef f(): ...\n```\n\n</div>'
    twin = explorer(dial(), picture, describe).twin()
    about = {"image/png": {"alt": "one black dot"}}
    views = [{WIDGET: {"model_id": "0"}, "text/plain": "VBox()"} for _ in range(3)]
    views[0]["text/html"] = twin
    views[1]["text/html"] = players_twin()
    data: list = [{"text/markdown": shown}, {"image/png": PIXEL}, *views]
    outputs = [new_output("display_data", data=each, metadata={}) for each in data]
    outputs[1].metadata = about
    cell = new_code_cell("1", outputs=outputs, execution_count=1)
    texts = [r"It is $\mathbb E[\theta]$, so", "$$\\arg\\max_a Q$$"]
    return new_notebook(
        cells=[*map(new_markdown_cell, texts), cell],
        metadata=make_notebook([Cell(1, 1, "code", "1", (), None)]).metadata,
    )


@pytest.fixture(scope="module")
def page(notebook, tmp_path_factory) -> Path:
    """The page that nbconvert's own command makes of it."""
    folder = tmp_path_factory.mktemp("page")
    nbformat.write(notebook, folder / "small.ipynb")
    pytest.importorskip("latex2mathml", reason='pip install -e ".[site]"')
    convert(folder, "bomrl_lite.course.page.OfflinePage")
    return folder / "small.html"


def convert(folder: Path, form: str) -> None:
    words = ["-m", "nbconvert", "--to", form, "small.ipynb"]
    done = subprocess.run([sys.executable, *words], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stderr, done.stderr


def test_a_page_asks_for_nothing_and_keeps_equations_pictures_and_twins(page):
    text = page.read_text()
    assert OUTSIDE.findall(text) == []
    assert text.count("<math") == 2
    assert "\N{MATHEMATICAL DOUBLE-STRUCK CAPITAL E}" in text
    assert 'alt="one black dot"' in text
    assert text.count('type="range"') == 2
    assert "VBox()" not in text
    assert WIDGET not in text


def test_a_script_made_of_a_notebook_is_python(notebook, tmp_path):
    nbformat.write(notebook, tmp_path / "small.ipynb")
    convert(tmp_path, "script")
    assert {path.name for path in tmp_path.glob("small.*")} == {"small.py", "small.ipynb"}


def test_every_equation_is_understood():
    """What the converter does not know it would print as a command."""
    page = pytest.importorskip("bomrl_lite.course.page", reason='pip install -e ".[site]"')
    every = set(equations())
    assert len(every) > 500
    styled = r"\\[A-Za-z]+|mathvariant=\"(?!normal)"
    made = {tex: re.findall(styled, page.mathml(tex, block=block)) for tex, block in every}
    assert {tex: found for tex, found in made.items() if found} == {}


@pytest.mark.browser
@pytest.mark.skipif(
    not (os.environ.get("CHROMIUM") or shutil.which("chromium")),
    reason="no Chromium here: install Debian's chromium, or set CHROMIUM to its path",
)
def test_a_page_in_a_browser_without_a_network(page):
    from playwright.sync_api import sync_playwright

    with sync_playwright() as play:
        chromium = play.chromium.launch(
            executable_path=os.environ.get("CHROMIUM") or shutil.which("chromium"),
            args=["--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"],
        )
        view = chromium.new_page(viewport={"width": 390, "height": 844})
        asked, errors = [], []
        view.on("request", lambda request: asked.append(request.url))
        view.on("console", lambda message: errors.append(message.text))
        view.goto(page.as_uri())
        font = "pre => getComputedStyle(pre).fontFamily"
        assert (
            view.locator(".jp-RenderedMarkdown pre", has_text="def f").evaluate(font) == "monospace"
        )
        slider, image = view.get_by_role("slider", name="level"), view.locator("figure img").first
        output = view.locator("output").first
        before = image.get_attribute("src")
        assert output.inner_text() == describe(0.3)
        slider.focus()
        view.keyboard.press("End")
        assert output.inner_text() == describe(1)
        assert image.get_attribute("alt") == describe(1)
        assert image.get_attribute("src") != before
        assert slider.get_attribute("aria-valuetext") == "1"
        view.keyboard.press("ArrowLeft")
        assert output.inner_text() == describe(0.88)  # the last but one of nine from 0 to 1
        see_the_player(view)
        assert [url for url in asked if not url.startswith(("file:", "data:"))] == []
        assert errors == []
        chromium.close()


def see_the_player(view) -> None:
    """Move its twin by key: both pictures and their words follow, side by side on a phone too."""
    figure = view.locator("figure").nth(1)
    slider, images = figure.get_by_role("slider", name="time"), figure.locator("img")
    boxes = [image.bounding_box() for image in images.all()]
    assert boxes[0]["y"] == boxes[1]["y"]
    assert boxes[0]["x"] + boxes[0]["width"] <= boxes[1]["x"]
    assert boxes[1]["x"] + boxes[1]["width"] <= 390
    assert slider.get_attribute("aria-valuetext") == "0.00 s"
    before = [image.get_attribute("src") for image in images.all()]
    slider.press("End")
    assert slider.get_attribute("aria-valuetext") == "1.00 s"
    assert all(
        image.get_attribute("src") != old for image, old in zip(images.all(), before, strict=True)
    )
    assert "return so far -22.0" in images.first.get_attribute("alt")
    assert "return so far +46.0" in images.last.get_attribute("alt")
    assert figure.locator("output").inner_text().endswith("-22.0 before, +46.0 after")
    slider.press("Home")
    assert [image.get_attribute("src") for image in images.all()] == before


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    """The site, made as `make site` makes it: a warning would be an error."""
    pytest.importorskip("sphinx", reason='pip install -e ".[site]"')
    sys.path.insert(0, str(ROOT))
    import run

    folder = tmp_path_factory.mktemp("site")
    words = [str(folder) if word == "build/site" else word for word in run.SITE.split()]
    done = subprocess.run([sys.executable, *words], cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    return folder


@pytest.mark.papermill
def test_the_site_has_every_lesson_and_asks_for_nothing(site):
    pages = {path.relative_to(site).with_suffix("").as_posix() for path in site.rglob("*.html")}
    for folder in ("notebooks", "exercises"):
        assert {f"{folder}/{path.stem}" for path in (ROOT / folder / "src").glob("*.py")} <= pages
    assert {"docs/index", "docs/functions", "docs/decisions/README", "search"} <= pages
    for path in site.rglob("*.html"):
        text = path.read_text(encoding="utf-8")
        assert OUTSIDE.findall(text) == [], path
    assert "<math" in (site / "notebooks" / "01_maml_baseline.html").read_text(encoding="utf-8")
    functions = (site / "docs" / "functions.html").read_text()
    anchors = re.findall(r'id="(bomrl_lite[.\w]*)"', functions)
    entries = {anchor.split(".")[-1] for anchor in anchors}
    assert len(bomrl_lite.__all__) > 45
    assert set(bomrl_lite.__all__) <= entries
