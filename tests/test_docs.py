"""What the front pages claim about files and commands is there."""

import base64
import json
import re
import tomllib
from pathlib import Path

import pytest
import yaml

import bomrl_lite

ROOT = Path(__file__).resolve().parents[1]
PAGES = ["README.md", "CONTRIBUTING.md", "CHANGELOG.md", "docs/decisions/README.md"]


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
