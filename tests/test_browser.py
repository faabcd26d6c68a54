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
SOURCES = ROOT / "notebooks" / "src"
LESSONS = sorted(path.stem for path in SOURCES.glob("*.py"))
LOOKED_AT = os.environ.get("BOMRL_SCREENSHOTS")
"""A folder for pictures of every widget, in both themes and widths: for eyes, so only if asked."""
TOKEN = "course"
OUTPUT = ".jp-OutputArea-output"
SAID_WRONG = f"{OUTPUT}[data-mime-type$='jupyter.stderr']"
"""A warning, or the traceback of an error."""

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


NOT_OURS = ("Failed to load resource",)
"""What JupyterLab itself writes on the console as an error, with no notebook open too."""

Q_VALUES = """\
def q_values(policy_probs, task, gamma):
moves = (policy_probs[:, :, None] * task.transition).sum(1)
paid = (policy_probs * task.reward).sum(1)
values = torch.linalg.inv(torch.eye(len(paid), dtype=paid.dtype) - gamma * moves) @ paid
return task.reward + gamma * (task.transition @ values)"""
"""As it is typed: the editor indents what follows a colon."""

LAID_OUT = "() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))"
"""Wait until the page has been drawn anew: it follows a new width in its own time."""

SEEN = """box => [
    box.querySelector('.widget-image').src,
    [...box.querySelectorAll('.widget-label, .widget-html-content')].map(
        each => each.innerText).join(),
]"""
"""The picture of a widget, which is its own address, and its words."""

THEMES = ("Light", "Dark")


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """Serve a folder of notebooks in JupyterLab, with no setting of this user's."""
    home = tmp_path_factory.mktemp("lab")
    (home / "pyproject.toml").touch()  # a folder of the course: a lesson shows stored results
    lessons = home / "notebooks"
    lessons.mkdir()
    for folder in ("results", "src"):  # what lessons read, and how they know the course's folder
        (lessons / folder).symlink_to(ROOT / "notebooks" / folder)
    for name in LESSONS:
        _write_notebook((SOURCES / f"{name}.py").read_text(), lessons / f"{name}.ipynb")
    _write_notebook(PLAYER, home / "player.ipynb")
    shutil.copy(ROOT / "exercises" / "01_maml_baseline.ipynb", home / "exercise.ipynb")
    shutil.copy(home / "exercise.ipynb", home / "typed.ipynb")
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
    # Cells that are out of sight would be taken out of the page.
    settings = home / "JUPYTERLAB_SETTINGS_DIR" / "@jupyterlab" / "notebook-extension"
    settings.mkdir(parents=True)
    (settings / "tracker.jupyterlab-settings").write_text('{"windowingMode": "none"}')
    port = _free_port()
    server = subprocess.Popen(
        [
            *(sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root"),
            *(f"--ServerApp.port={port}", "--ServerApp.ip=127.0.0.1"),
            *(f"--IdentityProvider.token={TOKEN}", f"--ServerApp.root_dir={home}"),
            # of the seconds that a kernel has to end: none of these has anything to save
            "--KernelManager.shutdown_wait_time=0.2",
        ],
        env={**os.environ, **folders},
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
    """One browser of one person: what it has loaded for a lesson, it need not load for the next."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as play:
        chromium = play.chromium.launch(
            executable_path=os.environ.get("CHROMIUM") or shutil.which("chromium"),
            args=["--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"],
        )
        yield chromium.new_context(viewport={"width": 1200, "height": 1000})
        chromium.close()


@pytest.fixture(scope="module")
def running(lab, browser, request):
    """Open a lesson and run it, and the one after it too, which so computes meanwhile."""
    mine = [item for item in request.session.items if item.path == request.path]
    chosen = [item.callspec.params["name"] for item in mine if hasattr(item, "callspec")]
    pages = {}

    def of(name: str):
        for each in chosen[chosen.index(name) :][:2]:
            if each not in pages:
                pages[each] = _open_and_run(browser, lab, f"notebooks/{each}.ipynb")
        pages[name].bring_to_front()  # behind another, a page draws nothing
        return pages[name]

    return of


@pytest.mark.parametrize("name", LESSONS)
def test_a_lesson_runs_and_every_control_moves_its_picture_and_its_words(running, name):
    page = running(name)
    _wait_until_all_ran(page)
    assert page.locator(SAID_WRONG).all_inner_texts() == []
    text = (SOURCES / f"{name}.py").read_text()
    explorers = page.locator(f"{OUTPUT} > .widget-vbox", has=page.locator(".widget-image"))
    assert explorers.count() == text.count('tags=["widget"]')
    for explorer in explorers.all():
        _move_every_control(page, explorer)
    questions = page.locator(f"{OUTPUT} > .widget-vbox", has=page.locator(".widget-radio-box"))
    assert questions.count() == text.count("predictions.ask(")
    for question in questions.all():
        _choose_by_keyboard(page, question)
    boxes = [*explorers.all(), *questions.all()]
    for theme in THEMES if _theme(page) == THEMES[0] else THEMES[::-1]:
        _set_theme(page, theme)
        for width in (1200, 800):
            page.set_viewport_size({"width": width, "height": 1000})
            page.evaluate(LAID_OUT)
            for number, box in enumerate(boxes):
                assert _cut_off(box) == [], f"at {width} px, {theme}"
                if LOOKED_AT:
                    box.screenshot(path=f"{LOOKED_AT}/{name}-{number}-{theme}-{width}.png")
    assert page.said == []
    _close(page)


def test_the_player_of_lesson_06b_follows_keys_menus_and_its_play_button(lab, browser):
    """All of it by keyboard; numbers by hand, pictures told apart byte by byte."""
    from playwright.sync_api import expect

    page = _open_and_run(browser, lab, "player.ipynb")
    lines = page.get_by_text("return so far")
    images, pictures = page.locator(".widget-image"), []

    def see(before: str, after: str) -> None:
        for number, text in enumerate((before, after)):
            expect(lines.nth(number)).to_have_text(text, timeout=30_000)
            pictures.append(images.nth(number).get_attribute("src"))

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
    stopped = play.locator(".fa-play")  # it plays for a moment after the last picture
    stopped.wait_for(timeout=30_000)
    play.press("Space")
    expect(lines.nth(1)).not_to_have_text(end, timeout=30_000)  # it starts anew
    expect(lines.nth(1)).to_have_text(end, timeout=30_000)
    stopped.wait_for(timeout=30_000)
    for key in ("Home", "ArrowRight", "ArrowRight"):
        page.locator(".noUi-handle").press(key)
    page.get_by_label("task").select_option("run forwards")
    see(*forwards)
    assert pictures[-2:] == pictures[2:4]
    boxes = [images.nth(number).bounding_box() for number in (0, 1)]
    assert boxes[0]["y"] == boxes[1]["y"]  # side by side
    assert boxes[0]["x"] + boxes[0]["width"] <= boxes[1]["x"]
    page.set_viewport_size({"width": 800, "height": 1000})
    page.evaluate(LAID_OUT)
    assert _cut_off(page.locator(f"{OUTPUT} > .widget-vbox")) == []
    for text in lines.all():
        assert text.evaluate("text => text.scrollWidth <= text.clientWidth")  # nothing is cut
    _close(page)


def test_an_unsolved_exercise_says_so_in_one_line(lab, browser):
    page = _open_and_run(browser, lab, "exercise.ipynb")
    message = page.get_by_text("[exercise 1.1] not solved yet")
    message.first.wait_for(timeout=120_000)
    assert "Traceback" not in page.locator(".jp-OutputArea-output").all_inner_texts()[-1]
    _close(page)


def test_an_exercise_is_solved_by_typing(lab, browser):
    page = _open_and_run(browser, lab, "typed.ipynb")
    page.get_by_text("[exercise 1.1] not solved yet").first.wait_for(timeout=180_000)
    editor = page.locator(".jp-CodeCell .cm-content", has_text="def q_values(").first
    editor.click()
    page.keyboard.press("Control+A")
    page.keyboard.type(Q_VALUES)
    page.keyboard.press("Shift+Enter")
    check = page.locator(".jp-CodeCell", has_text="checks.q_values(q_values)").first
    check.locator(".cm-content").click()
    page.keyboard.press("Shift+Enter")
    check.get_by_text("ok  exercise 1.1").wait_for(timeout=60_000)
    _close(page)


def _wait_until_all_ran(page) -> None:
    """Wait until no cell is waiting and the last one has its number."""
    page.wait_for_function(
        """wrong => {
            const cells = [...document.querySelectorAll('.jp-Notebook .jp-CodeCell')];
            const prompts = cells.map(
                cell => cell.querySelector('.jp-InputPrompt').textContent.trim());
            return document.querySelector(wrong)
                || prompts.every(prompt => /^\\[\\d+\\]:$/.test(prompt));
        }""",
        arg=SAID_WRONG,
        polling=500,  # and not at every frame: that would take a processor of its own
        timeout=400_000,
    )


def _move_every_control(page, box) -> None:
    """Move sliders and menus by key; the picture and the line of words both follow."""
    # To the right first: with no adaptation at all, on the left, a distance changes nothing.
    controls = [(each, ("ArrowRight",)) for each in box.locator(".noUi-handle").all()]
    controls += [(each, ("Space", "ArrowDown", "Enter")) for each in box.locator("select").all()]
    assert controls
    for control, keys in controls:
        before = box.evaluate(SEEN)
        if control.get_attribute("aria-valuenow") == control.get_attribute("aria-valuemax"):
            keys = ("ArrowLeft",) if keys == ("ArrowRight",) else keys
        control.focus()
        for key in keys:
            page.keyboard.press(key)
        page.wait_for_function(
            f"([box, before]) => ({SEEN})(box).every((now, part) => now !== before[part])",
            arg=[box.element_handle(), before],
            polling=100,
            timeout=60_000,
        )


def _choose_by_keyboard(page, box) -> None:
    """Choose an option, say how sure, press the button."""
    from playwright.sync_api import expect

    radio, handle = box.locator("input[type=radio]").first, box.locator(".noUi-handle")
    button = box.get_by_role("button", name="I choose this")
    radio.focus()
    page.keyboard.press("Space")
    handle.focus()
    page.keyboard.press("ArrowRight")
    expect(handle).to_have_attribute("aria-valuetext", "65", timeout=30_000)
    expect(button).to_be_enabled(timeout=30_000)  # the kernel allows it once an option is chosen
    page.wait_for_timeout(1000)  # a person's pause: a click may overtake a slider's new value
    button.press("Enter")
    said = box.get_by_text("% sure.")
    said.wait_for(timeout=30_000)
    if "65" not in said.inner_text():  # it did: whoever sees that chooses once more
        button.press("Enter")
    expect(said).to_contain_text("65 % sure", timeout=30_000)


def _cut_off(box) -> list[str]:
    """Return the texts of a widget that do not fit, and the pictures and menus that stick out."""
    return box.evaluate(
        """box => {
            const texts = [...box.querySelectorAll(
                '.widget-label, .widget-html-content, .widget-toggle-button, label'
            )].filter(each => each.scrollWidth > each.clientWidth + 1 && each.clientWidth > 0);
            const right = box.getBoundingClientRect().right;
            // A picture that is wider than the page may scroll in a place of its own.
            const scrolls = each => each !== box && (
                ['auto', 'scroll'].includes(getComputedStyle(each).overflowX)
                || scrolls(each.parentElement));
            const out = [...box.querySelectorAll('img, select')].filter(each => !scrolls(each)).map(
                each => [each.tagName, Math.round(each.getBoundingClientRect().right - right)]
            ).filter(([name, excess]) => excess > 0);
            return [...texts.map(each => each.textContent),
                    ...out.map(([name, excess]) => `${name}, by ${excess} px`)];
        }"""
    )


def _theme(page) -> str:
    light = page.locator("body").get_attribute("data-jp-theme-light")
    return THEMES[light == "false"]


def _set_theme(page, theme: str) -> None:
    """Choose a theme in the menu, where it is not chosen: each change loads its style anew."""
    if _theme(page) == theme:
        return
    for text in ("Settings", "Theme", f"JupyterLab {theme}"):
        page.locator(f".lm-MenuBar-itemLabel:text-is('{text}')").or_(
            page.locator(f".lm-Menu-itemLabel:text-is('{text}')")
        ).first.click()
    light = "true" if theme == "Light" else "false"
    page.locator(f"body[data-jp-theme-light={light}]").wait_for(state="attached")


def _open_and_run(browser, address: str, notebook: str):
    page = browser.new_page()
    page.said, page.lab, page.notebook = [], address, notebook
    page.on("pageerror", lambda error: page.said.append(str(error)))
    page.on("console", lambda line: _note_error(line, page.said))
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


def _close(page) -> None:
    """Close a page and end its kernel: some hundreds of megabytes."""
    sessions, words = f"{page.lab}/api/sessions", {"token": TOKEN}
    (mine,) = (
        session["id"]
        for session in page.request.get(sessions, params=words).json()
        if session["path"] == page.notebook
    )
    assert page.request.delete(f"{sessions}/{mine}", params=words).ok
    page.close()


def _note_error(line, said: list[str]) -> None:
    if line.type == "error" and not any(known in line.text for known in NOT_OURS):
        said.append(f"{line.text} ({line.location.get('url', '')})")


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
