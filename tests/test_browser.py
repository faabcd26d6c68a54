"""Real JupyterLab in a real browser: what a learner sees and touches."""

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import jupytext
import pytest

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(
        not (os.environ.get("CHROMIUM") or shutil.which("chromium")),
        reason="no Chromium here: install Debian's chromium, or set CHROMIUM to its path",
    ),
]
ROOT = Path(__file__).resolve().parents[1]
TOKEN = "course"

PLAYER = """# %%
import torch
from bomrl_lite.course import plots, widgets
from bomrl_lite.render.goal_marks import Direction


def clip(task, stage, way, speed):
    qpos, rewards = torch.zeros(22, 9), torch.full((21,), way * speed)
    qpos[:, 0] = 0.05 * speed * torch.arange(22)
    return plots.Clip(task, stage, "half_cheetah", qpos, rewards, Direction(way))


# %%
widgets.rollout_player([
    clip("run forwards", "before adaptation", 1, 0.5),
    clip("run forwards", "after 1 adaptation", 1, 2.0),
    clip("run backwards", "before adaptation", -1, 0.5),
    clip("run backwards", "after 1 adaptation", -1, -3.0),
])
"""
"""21 steps of 0.05 s; the reward of a step is the speed in the task's direction."""


BYTES = "async image => String(new Uint8Array(await (await fetch(image.src)).arrayBuffer()))"


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """Serve a folder of notebooks in JupyterLab, with no setting of this user's."""
    home = tmp_path_factory.mktemp("lab")
    (home / "pyproject.toml").touch()  # a folder of the course: a lesson shows stored results
    (home / "notebooks").symlink_to(ROOT / "notebooks")
    sources = ROOT / "notebooks" / "src"
    _write_notebook((sources / "01_maml_baseline.py").read_text(), home / "lesson.ipynb")
    _write_notebook((sources / "03_universal_adaptation.py").read_text(), home / "lesson03.ipynb")
    _write_notebook(PLAYER, home / "player.ipynb")
    shutil.copy(ROOT / "exercises" / "01_maml_baseline.ipynb", home / "exercise.ipynb")
    folders = {
        name: str(home / name)
        for name in (
            "JUPYTER_CONFIG_DIR",
            "JUPYTER_DATA_DIR",
            "JUPYTERLAB_WORKSPACES_DIR",
            "JUPYTERLAB_SETTINGS_DIR",
            "IPYTHONDIR",
        )
    }
    config = home / "JUPYTER_CONFIG_DIR" / "labconfig" / "page_config.json"
    config.parent.mkdir(parents=True)
    # A question about news would cover the page.
    news = {"@jupyterlab/apputils-extension:announcements": True}
    config.write_text(json.dumps({"disabledExtensions": news}))
    port = _free_port()
    server = subprocess.Popen(
        [
            *(sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root"),
            *(f"--ServerApp.port={port}", "--ServerApp.ip=127.0.0.1"),
            *(f"--IdentityProvider.token={TOKEN}", f"--ServerApp.root_dir={home}"),
        ],
        env={**os.environ, **folders, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    address = f"http://127.0.0.1:{port}"
    try:
        _wait_for(address)
        yield address
    finally:
        server.terminate()
        server.wait(20)


@pytest.fixture(scope="module")
def browser():
    from playwright.sync_api import sync_playwright

    with sync_playwright() as play:
        chromium = play.chromium.launch(
            executable_path=os.environ.get("CHROMIUM") or shutil.which("chromium"),
            args=["--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"],
        )
        yield chromium
        chromium.close()


def test_a_slider_of_lesson_01_moves_by_keyboard(lab, browser, tmp_path):
    page = _open_and_run(browser, lab, "lesson.ipynb")
    handle = page.locator(".widget-slider .noUi-handle").first
    handle.wait_for(timeout=180_000)
    label, image = page.locator(".widget-label", has_text="lake 0: return"), ".widget-image"
    label.wait_for()
    before = page.locator(image).first.get_attribute("src")
    handle.focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    page.locator(".widget-label", has_text="lake 2: return").wait_for(timeout=30_000)
    page.wait_for_function(
        "([image, before]) => document.querySelector(image).src !== before", arg=[image, before]
    )
    assert handle.get_attribute("aria-valuenow") in ("2", "2.0")
    page.screenshot(path=tmp_path / "lesson.png")
    page.close()


def test_the_price_of_lesson_03_moves_policies_over_the_simplex(lab, browser, tmp_path):
    page = _open_and_run(browser, lab, "lesson03.ipynb")
    handle = page.locator(".widget-slider .noUi-handle").first
    handle.wait_for(timeout=180_000)
    page.locator(".widget-label", has_text="λ = 1;").wait_for()
    before = page.locator(".widget-image").first.get_attribute("src")
    handle.focus()
    page.keyboard.press("ArrowRight")
    page.locator(".widget-label", has_text="λ = 0.178;").wait_for(timeout=30_000)
    page.wait_for_function(
        "before => document.querySelector('.widget-image').src !== before", arg=before
    )
    page.screenshot(path=tmp_path / "lesson03.png")
    page.close()


def test_the_player_of_lesson_06_follows_keys_menus_and_its_play_button(lab, browser, tmp_path):
    """All of it by keyboard; numbers by hand, pictures told apart byte by byte."""
    from playwright.sync_api import expect

    page = _open_and_run(browser, lab, "player.ipynb")
    lines = page.get_by_text("return so far")
    images, pictures = page.locator(".widget-image"), []

    def see(before: str, after: str) -> None:
        for number, text in enumerate((before, after)):
            expect(lines.nth(number)).to_have_text(text, timeout=30_000)
            pictures.append(images.nth(number).evaluate(BYTES))

    lines.first.wait_for(timeout=180_000)
    start = "0.00 s: return so far +0.0, last reward +0.00, speed +0.0 m/s"
    see(start, start)
    page.locator(".noUi-handle").focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    forwards = (
        "0.10 s: return so far +1.0, last reward +0.50, speed +0.5 m/s",
        "0.10 s: return so far +4.0, last reward +2.00, speed +2.0 m/s",
    )
    see(*forwards)
    page.get_by_label("task").focus()
    for key in ("Space", "ArrowDown", "Enter"):
        page.keyboard.press(key)
    see(
        "0.10 s: return so far -1.0, last reward -0.50, speed +0.5 m/s",
        "0.10 s: return so far +6.0, last reward +3.00, speed -3.0 m/s",
    )
    place = images.last.bounding_box()
    play = page.locator(".widget-play button").first
    play.press("Space")
    end = "1.05 s: return so far +63.0, last reward +3.00, speed -3.0 m/s"
    see("1.05 s: return so far -10.5, last reward -0.50, speed +0.5 m/s", end)
    assert images.last.bounding_box() == place  # nothing moves when numbers grow
    expect(page.locator(".noUi-handle")).to_have_attribute("aria-valuetext", "21")
    play.press("Space")
    expect(lines.nth(1)).not_to_have_text(end)  # it starts anew
    expect(lines.nth(1)).to_have_text(end, timeout=30_000)
    for key in ("Home", "ArrowRight", "ArrowRight"):
        page.locator(".noUi-handle").press(key)
    page.get_by_label("task").select_option("run forwards")
    see(*forwards)
    assert pictures[-2:] == pictures[2:4]
    boxes = [images.nth(number).bounding_box() for number in (0, 1)]
    assert boxes[0]["y"] == boxes[1]["y"]  # side by side
    assert boxes[0]["x"] + boxes[0]["width"] <= boxes[1]["x"]
    page.set_viewport_size({"width": 800, "height": 1000})
    for text in lines.all():
        assert text.evaluate("text => text.scrollWidth <= text.clientWidth")  # nothing is cut
    page.screenshot(path=tmp_path / "player.png")
    page.close()


def test_an_unsolved_exercise_says_so_in_one_line(lab, browser, tmp_path):
    page = _open_and_run(browser, lab, "exercise.ipynb")
    message = page.get_by_text("[exercise 1.1] not solved yet")
    message.first.wait_for(timeout=120_000)
    page.screenshot(path=tmp_path / "exercise.png")
    assert "Traceback" not in page.locator(".jp-OutputArea-output").all_inner_texts()[-1]
    page.close()


def _open_and_run(browser, address: str, notebook: str):
    page = browser.new_page(viewport={"width": 1200, "height": 1000})
    page.goto(f"{address}/lab/tree/{notebook}?reset&token={TOKEN}")
    page.locator(".jp-Notebook .jp-Cell").first.wait_for(timeout=60_000)
    # JupyterLab may ask for a kernel although the notebook names one.
    asked = page.locator(".jp-Dialog .jp-mod-accept")
    ready = page.locator(".jp-StatusBar-TextItem", has_text="| Idle")
    asked.or_(ready).first.wait_for(timeout=60_000)
    if asked.is_visible():
        asked.click()
        ready.wait_for(timeout=60_000)
    page.locator(".lm-MenuBar-itemLabel:text-is('Run')").click()
    page.locator("text=Run All Cells").first.click()
    return page


def _write_notebook(text: str, target: Path) -> None:
    text = text.replace('profile = "class"', 'profile = "smoke"')
    notebook = jupytext.reads(text, fmt="py:percent")
    notebook.metadata["kernelspec"] = {
        "name": "python3",
        "display_name": "Python 3",
        "language": "python",
    }
    jupytext.write(notebook, target)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _wait_for(address: str) -> None:
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError):
            urllib.request.urlopen(f"{address}/api?token={TOKEN}", timeout=5).close()
            return
        time.sleep(0.3)
    raise TimeoutError(f"JupyterLab did not answer at {address} within 90 s")
