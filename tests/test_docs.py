"""What the front pages claim about files, names and commands holds, and their examples run."""

import base64
import functools
import json
import pydoc
import re
import shlex
import sys
import textwrap
import tomllib
from pathlib import Path

import pytest
import tyro
import yaml

import bomrl_lite
from bomrl_lite import __main__ as command_line
from bomrl_lite.tasks.locomotion import FAMILIES

ROOT = Path(__file__).resolve().parents[1]
PAGES = ["README.md", "CONTRIBUTING.md", "CHANGELOG.md"]
PAGES += sorted(str(page.relative_to(ROOT)) for page in ROOT.glob("docs/**/*.md"))
CURRENT = [page for page in PAGES if page != "CHANGELOG.md"]
"""Pages about the present; the log also names what is gone."""


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page):
    text = (ROOT / page).read_text()
    for target in re.findall(r"\]\(([^)#]+)\)", text):
        if not target.startswith("http"):
            assert ((ROOT / page).parent / target).exists(), target


@pytest.mark.parametrize("page", PAGES)
def test_named_make_targets_exist(page):
    named = set(re.findall(r"(?m)(?:`|^)make ([a-z][a-z-]+)", (ROOT / page).read_text()))
    makefile = (ROOT / "Makefile").read_text()
    known = re.findall(r"^TARGETS := (.*)$", makefile, re.MULTILINE)[0].split()
    assert named <= set(known)


@pytest.mark.parametrize("page", CURRENT)
def test_named_files_and_modules_exist(page):
    text = (ROOT / page).read_text()
    for file in re.findall(r"`((?:bomrl_lite|tests|notebooks|exercises)/[\w/.]+)`", text):
        assert list(ROOT.glob(file.replace("NN_name", "*"))), file
    for name in re.findall(r"`(bomrl_lite(?:\.\w+)+)`", text):
        assert pydoc.locate(name) is not None, name


def test_the_house_is_drawn_with_all_its_rooms():
    drawing = (ROOT / "README.md").read_text().partition("## The house")[2].partition("## ")[0]
    for room in (ROOT / "bomrl_lite").glob("[!.]*"):
        if room.suffix == ".py" or (room / "__init__.py").exists():
            assert re.search(rf"\b{room.stem}\b", drawing), room.name


SNIPPETS = [
    pytest.param(textwrap.dedent(code), id=f"{page}-{number}")
    for page in CURRENT
    for number, code in enumerate(
        re.findall(r"(?ms)^ *```python\n(.*?)^ *```$", (ROOT / page).read_text())
    )
]


@pytest.mark.parametrize("code", SNIPPETS)
def test_snippets_run(code, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    exec(compile(code, "snippet", "exec"), {})


COMMANDS = {
    " ".join(call.split())
    for page in (*CURRENT, "bomrl_lite/__main__.py", "bomrl_lite/course/commands.py")
    for call in re.findall(
        r"(?:^ *|`|Example: )python -m bomrl_lite ([^`\n#]+)",
        (ROOT / page).read_text().replace("\\\n", " "),
        re.MULTILINE,
    )
}


@pytest.mark.parametrize("line", sorted(COMMANDS))
def test_command_lines_parse(line, tmp_path, monkeypatch):
    """With the real settings and parser; only what a command would do is left out."""
    register = tyro.extras.SubcommandApp.command

    def register_idle(app, command):
        register(app, functools.wraps(command)(lambda *args, **kwargs: 0))

    monkeypatch.setattr(tyro.extras.SubcommandApp, "command", register_idle)
    monkeypatch.chdir(tmp_path)
    Path("runs/promp").mkdir(parents=True)
    Path("runs/promp/config.json").write_text(json.dumps(bomrl_lite.configure("promp").stored()))
    monkeypatch.setattr(sys, "argv", ["bomrl_lite", *shlex.split(line)])
    try:
        code = command_line.main()
    except SystemExit as stop:
        code = stop.code
    assert code == 0


def test_the_readme_lists_every_lesson_and_exercise():
    text = (ROOT / "README.md").read_text()
    for folder in ("notebooks", "exercises", "solutions"):
        for notebook in (ROOT / folder).glob("*.ipynb"):
            assert f"({folder}/{notebook.name})" in text


def test_the_readme_shows_the_figure_of_lesson_00():
    """After a rebuild of lesson 00, write its last figure to docs/first_result.png again."""
    cells = json.loads((ROOT / "notebooks/00_start_here.ipynb").read_text())["cells"]
    figures = [
        output["data"]["image/png"]
        for cell in cells
        for output in cell.get("outputs", [])
        if "image/png" in output.get("data", {})
    ]
    shown = (ROOT / "docs/first_result.png").read_bytes()
    assert shown == base64.b64decode("".join(figures[-1]))


def test_versions_agree():
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert yaml.safe_load((ROOT / "CITATION.cff").read_text())["version"] == version
    assert bomrl_lite.__version__ == version  # of the installed metadata: set up again if not
    assert f"\n## [{version}] - " in (ROOT / "CHANGELOG.md").read_text()


def test_the_public_names_are_there():
    assert len(set(bomrl_lite.__all__)) == len(bomrl_lite.__all__)
    assert all(hasattr(bomrl_lite, name) for name in bomrl_lite.__all__)


def counts() -> dict[str, int]:
    """What README counts, counted: the pattern of a claim -> the number that it must give."""
    sets = sorted((ROOT / "exercises" / "src").glob("*.py"))
    asked = {path.stem: len(re.findall(r'tags=\["exercise"\]', path.read_text())) for path in sets}
    return {
        r"(\d+) lessons and": len(list((ROOT / "notebooks" / "src").glob("*.py"))),
        r"and (\d+) exercise sets": len(sets),
        r"(\d+) functions to write": sum(asked.values()),
        r"(\d+) methods from MAML": len(bomrl_lite.METHODS),
        r"on (\d+)\s+families of robots": len(FAMILIES),
        r"(\d+) task families": len(FAMILIES),
        r"holds (\d+) scripts": len(list((ROOT / "examples").glob("*.py"))),
        r"(\d+) trained\s+policies": len(list((ROOT / "notebooks/results/policies").glob("*.pt"))),
        **{rf"\(exercises/{name}\.ipynb\) \| (\d+) functions": n for name, n in asked.items()},
    }


@pytest.mark.parametrize(("claim", "number"), counts().items())
def test_the_readme_counts_right(claim, number):
    assert number > 0
    assert re.findall(claim, (ROOT / "README.md").read_text()) == [str(number)]


def test_the_readme_names_every_family_of_robots():
    text = (ROOT / "README.md").read_text()
    assert [name for name in FAMILIES if f"`{name}`" not in text] == []


@pytest.mark.parametrize(
    "source", sorted((ROOT / "notebooks" / "src").glob("*.py")), ids=lambda path: path.stem
)
def test_a_lesson_imports_little_at_a_time(source):
    """A wall of imports is the first that a learner sees: at most 8, where they are used."""
    for cell in re.split(r"(?m)^# %%", source.read_text())[1:]:
        assert len(re.findall(r"(?m)^(?:import|from) ", cell)) <= 8, cell[:200]


CLOSING = ("Recap", "Check yourself", "Reading", "The map of the course")


TEACHING = [  # the template is there to be copied
    path
    for path in sorted((ROOT / "notebooks" / "src").glob("*.py"))
    if path.stem != "08_project_template"
]


@pytest.mark.parametrize("source", TEACHING, ids=lambda path: path.stem)
def test_each_section_of_a_lesson_says_what_was_learnt(source):
    sections = re.split(r"(?m)^# ## (?:\d+\. )?", source.read_text())[1:]
    teaching = [section for section in sections if not section.startswith(CLOSING)]
    assert teaching
    assert [text.split("\n")[0] for text in teaching if "**Learnt:**" not in text] == []
