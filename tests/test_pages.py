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
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

import bomrl_lite
from bomrl_lite.course.building.sources import Cell, make_notebook
from bomrl_lite.course.notebook import FRAMES
from bomrl_lite.course.widgets import explorer
from bomrl_lite.course.widgets.frames import MOST_FRAMES, frames_page

ROOT = Path(__file__).resolve().parents[1]
PIXEL = (
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJ"
    "AAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
WIDGET = "application/vnd.jupyter.widget-view+json"
OUTSIDE = re.compile(r"""(?:\b(?:src|import)\b\s*[=(]\s*|<link\b[^>]*href=)["'](?:https?:)?//""")
"""What a page would fetch when it opens; a link that a reader may follow is none."""


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


def test_a_twin_holds_thirteen_frames_with_the_words_of_each():
    view = explorer(dial(), picture, describe)
    frames = stored(view.twin())
    assert len(frames) == MOST_FRAMES
    levels = [float(frame["value"]) for frame in frames]
    assert levels == sorted(levels)
    assert {0, 0.3, 1} <= set(levels)
    assert [frame["text"] for frame in frames] == [describe(level) for level in levels]
    pictures = {frame["picture"] for frame in frames}
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


@pytest.fixture(scope="module")
def notebook() -> nbformat.NotebookNode:
    """Two equations, a described picture, shown code, a widget with a twin and one without."""
    shown = '<div style="font-family: monospace">\n\n```python\ndef f(): ...\n```\n\n</div>'
    twin = explorer(dial(), picture, describe).twin()
    about = {"image/png": {"alt": "one black dot"}}
    views = [{WIDGET: {"model_id": "0"}, "text/plain": "VBox()"} for _ in range(2)]
    views[0]["text/html"] = twin
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
    assert text.count('type="range"') == 1
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
        slider, image = view.get_by_role("slider", name="level"), view.locator("figure img")
        before = image.get_attribute("src")
        assert view.locator("output").inner_text() == describe(0.3)
        slider.focus()
        view.keyboard.press("End")
        assert view.locator("output").inner_text() == describe(1)
        assert image.get_attribute("alt") == describe(1)
        assert image.get_attribute("src") != before
        assert slider.get_attribute("aria-valuetext") == "1"
        view.keyboard.press("ArrowLeft")
        assert view.locator("output").inner_text() == describe(
            0.88
        )  # the last but one of nine places from 0 to 1
        assert [url for url in asked if not url.startswith(("file:", "data:"))] == []
        assert errors == []
        chromium.close()


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
