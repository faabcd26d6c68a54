"""An installed wheel, in a fresh environment and an empty folder."""

import importlib.metadata
import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
PIP_LINE = 'pip install "bomrl-lite[lab]"'
SMALL = ["--num-tasks", "2", "--num-episodes", "2", "--horizon", "3", "--iterations", "1"]
COURSE = [["run"], ["build"], ["calibrate"], ["bench"]]

pytestmark = pytest.mark.skipif(os.name == "nt", reason="needs symbolic links")

# `python -m bomrl_lite` several times in one process, since each would import torch again.
SEVERAL = """
import contextlib, io, json, runpy, sys
answers = []
for line in json.loads(sys.argv[1]):
    sys.argv = ["bomrl_lite", *line]
    with contextlib.redirect_stdout(io.StringIO()) as said, contextlib.redirect_stderr(said):
        try:
            runpy.run_module("bomrl_lite", run_name="__main__", alter_sys=True)
        except SystemExit as end:
            code = end.code
    answers.append([code, said.getvalue()])
import bomrl_lite
print(json.dumps([bomrl_lite.__file__, bomrl_lite.__version__, answers]))
"""


def with_all_they_need(requirements):
    """Distributions of the running environment that these requirements lead to."""
    found, waiting = {}, [Requirement(line) for line in requirements]
    while waiting:
        asked = waiting.pop()
        key = asked.name, tuple(sorted(asked.extras))
        if key in found:
            continue
        found[key] = importlib.metadata.distribution(asked.name)
        for line in found[key].requires or []:
            needed = Requirement(line)
            if not needed.marker or any(
                needed.marker.evaluate({"extra": extra}) for extra in ("", *asked.extras)
            ):
                waiting.append(needed)
    return found.values()


def link(requirements, folder):
    """Fill a folder with links to what these distributions put into site-packages."""
    folder.mkdir()
    for distribution in with_all_they_need(requirements):
        tops = {file.parts[0] for file in distribution.files or []} - {"..", "__pycache__"}
        for top in tops:
            if not (folder / top).exists():
                (folder / top).symlink_to(distribution.locate_file(top))
    return folder


class Installed:
    """The fresh environment, and the empty folder that its commands run in."""

    def __init__(self, folder):
        self.python, self.here = folder / "venv" / "bin" / "python", folder / "empty"
        venv = {"base": str(folder / "venv"), "platbase": str(folder / "venv")}
        self.site_packages = Path(sysconfig.get_path("purelib", "venv", vars=venv))
        self.before = {}
        self.here.mkdir()

    def answers(self, lines, path=""):
        """Exit code and words of each command line; `path` is further packages to see."""
        done = subprocess.run(
            [self.python, "-c", SEVERAL, json.dumps(lines)],
            cwd=self.here,
            env={**os.environ, "PYTHONPATH": str(path)},
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == 0, done.stderr
        file, version, answers = json.loads(done.stdout)
        assert Path(file).is_relative_to(self.site_packages)
        assert version == PROJECT["version"]
        return answers

    def listing(self):
        """Size and time of every installed file; bytecode is Python's own affair."""
        files = [file for file in self.site_packages.rglob("*") if "__pycache__" not in file.parts]
        return {
            file: (file.lstat().st_size, file.lstat().st_mtime_ns)
            for file in files
            if file.is_file()
        }


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """A wheel of this checkout in a fresh environment that has the runtime dependencies alone."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"  # a copy: setuptools writes into the tree that it builds
    shutil.copytree(ROOT / "bomrl_lite", source / "bomrl_lite")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    pip = [sys.executable, "-m", "pip"]
    wheel = [*pip, "wheel", "-q", "--no-deps", "--no-index", "--no-build-isolation", "-w", folder]
    subprocess.run([*wheel, source], check=True)
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder / "venv"], check=True)
    fresh = Installed(folder)
    install = [*pip, "--python", fresh.python, "install", "-q", "--no-deps", "--no-index"]
    subprocess.run([*install, "--no-compile", *folder.glob("*.whl")], check=True)
    links = link(PROJECT["dependencies"], folder / "runtime")
    (fresh.site_packages / "runtime.pth").write_text(f"{links}\n")
    fresh.before = fresh.listing()
    return fresh


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """A folder that makes the packages of [lab] visible when it is in PYTHONPATH."""
    extra = PROJECT["optional-dependencies"]["lab"]
    return link([*PROJECT["dependencies"], *extra], tmp_path_factory.mktemp("links") / "lab")


# Two tests, not more: each worker of pytest-xdist that gets one builds the wheel.


def test_without_the_lab_the_library_works_and_the_course_names_the_pip_line(installed):
    train = ["train", "--method", "promp", "--tasks", "navigation/circle", *SMALL, "--out", "run"]
    evaluate = ["evaluate", "run", "--num-test-tasks", "1", "--num-steps", "1"]
    library = [train, evaluate, ["export", "run", "policy.pt"]]
    course = [*COURSE, ["compare", "run"], ["experiment", "condition"]]
    answers = installed.answers([*library, *course])
    for line, (code, said) in zip(library, answers, strict=False):
        assert code == 0, (line, said)
    for written in ("run/history.csv", "run/evaluation.csv", "policy.pt"):
        assert (installed.here / written).stat().st_size > 0
    for line, (code, said) in zip(course, answers[len(library) :], strict=True):
        assert code == 2, (line, said)
        assert PIP_LINE in said, (line, said)
    assert installed.listing() == installed.before, "site-packages were written to"


def test_without_a_course_its_commands_name_the_root_option(installed, lab):
    course = [*COURSE, ["build", "--check"], ["experiment", "condition"]]
    for line, (code, said) in zip(course, installed.answers(course, path=lab), strict=True):
        assert code == 2, (line, said)
        assert "no course" in said, (line, said)
        assert "--root" in said, (line, said)
    assert installed.listing() == installed.before, "site-packages were written to"
