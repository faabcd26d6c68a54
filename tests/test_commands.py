"""The course's commands: where they find the course, what they write, what they say without it."""

import subprocess
import sys
from pathlib import Path

import pytest
from tiny_course import LESSON, write_course

from bomrl_lite import __main__ as cli
from bomrl_lite.course import commands
from bomrl_lite.course.root import course_root
from bomrl_lite.course.running import runner

LAB = ("nbformat", "papermill", "matplotlib", "seaborn", "pandas", "jupytext", "jinja2", "PIL")


@pytest.fixture
def course(tmp_path):
    root = write_course(tmp_path / "course", lesson_00_start=LESSON)
    (root / "pyproject.toml").touch()
    return root


def ask(monkeypatch, *arguments: object) -> int:
    monkeypatch.setattr(sys, "argv", ["bomrl_lite", *map(str, arguments)])
    return cli.main()


def files(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_the_course_is_the_nearest_folder_that_is_one(course, tmp_path, monkeypatch):
    monkeypatch.chdir(course / "notebooks" / "src")
    assert course_root() == course
    monkeypatch.chdir(tmp_path)
    assert course_root(Path("course")) == course
    (course / "pyproject.toml").unlink()
    with pytest.raises(FileNotFoundError, match="there is no course in course"):
        course_root(Path("course"))


@pytest.mark.parametrize("name", ["run", "build", "calibrate", "experiment", "bench"])
def test_without_a_course_a_command_names_root_and_writes_nothing(
    name, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    package = Path(cli.__file__).parents[1]
    before = set(package.iterdir())
    assert ask(monkeypatch, name, *(["condition"] if name == "experiment" else [])) == 2
    said = capsys.readouterr().err
    assert said.startswith("error: there is no course in ")
    assert "--root" in said
    assert not files(tmp_path)
    assert set(package.iterdir()) == before


def test_a_course_without_sources_is_not_what_its_sources_make(course, monkeypatch, capsys):
    (course / "notebooks" / "src" / "00_start.py").unlink()
    assert ask(monkeypatch, "build", "--check", "--root", course) == 2
    shown = capsys.readouterr()
    assert "holds no source of a notebook in notebooks/src or exercises/src" in shown.err
    assert "every notebook is what its source makes" not in shown.out


def test_root_is_the_course_that_is_built_and_measured(course, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert ask(monkeypatch, "build", "--check", "--root", course) == 1
    assert "notebooks/00_start.ipynb: missing" in capsys.readouterr().err
    assert ask(monkeypatch, "calibrate", "--profile", "smoke", "--root", course) == 0
    assert (course / "notebooks" / "ranges.json").exists()


def test_parameters_of_a_run_are_read_as_papermill_reads_them(course, tmp_path, monkeypatch):
    asked = {}
    monkeypatch.setattr(runner, "run_course", lambda root, **how: asked.update(how) or 0)
    given = ("-p", "rate", "0.5", "-p", "tasks", "[", "-p", "fast", "true", "-p", "seed", "3")
    assert ask(monkeypatch, "run", "--root", course, *given, "--out", tmp_path / "out") == 0
    assert asked["given"] == {"rate": 0.5, "tasks": "[", "fast": True}
    assert (asked["seed"], asked["profile"]) == (3, "class")
    assert asked["out"] == tmp_path / "out"


def test_an_experiment_writes_into_the_course(course, monkeypatch):
    monkeypatch.chdir(course)
    assert ask(monkeypatch, "experiment", "condition", "--seeds", "1", "--iterations", "1") == 0
    assert (course / "notebooks" / "results" / "condition.csv").exists()
    assert (course / "runs" / "experiments" / "condition.png").stat().st_size > 1000


def test_an_experiment_needs_no_course_where_it_is_told_a_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert commands.experiment("condition", seeds=1, iterations=1, out=Path("new/out")) == 0
    written = files(tmp_path)
    assert {f"new/out/condition.{kind}" for kind in ("csv", "json", "png")} <= written
    assert all(name.startswith("new/out/") for name in written)
    with pytest.raises(ValueError, match="give one of them"):
        commands.experiment("condition", out=Path("x"), root=Path("y"))


WITHOUT_LAB = f"""
import sys
for name in {LAB!r}:
    sys.modules[name] = None  # as if it were not installed
from bomrl_lite import __main__ as cli
for arguments in (["run"], ["build"], ["calibrate"], ["experiment", "condition"], ["bench"],
                  ["compare", "x"]):
    sys.argv = ["bomrl_lite", *arguments]
    print(arguments[0], cli.main())
"""


def test_without_the_lab_packages_a_command_names_one_and_how_to_get_it(course):
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_LAB], capture_output=True, text=True, cwd=course
    )
    assert done.stdout.split("\n")[:-1] == [
        f"{name} 2" for name in ("run", "build", "calibrate", "experiment", "bench", "compare")
    ], done.stderr
    lines = done.stderr.splitlines()
    assert len(lines) == 6, done.stderr
    for line in lines:
        missing = line.removeprefix("error: the package ").partition(" ")[0]
        assert missing in LAB
        assert line.endswith('pip install "bomrl-lite[lab]"')


WITHOUT_CLASSROOM = """
import sys
for name in sys.argv.pop(1).split(","):
    sys.modules[name] = None  # as if it were not installed
from bomrl_lite import __main__ as cli
sys.exit(cli.main())
"""


@pytest.mark.parametrize("asked", ["classroom init new", "grade x.ipynb --set 01 --out new"])
def test_without_the_classrooms_packages_its_commands_name_that_extra(asked, course):
    (course / "x.ipynb").write_text("{}")
    before = files(course)
    words = [sys.executable, "-c", WITHOUT_CLASSROOM, ",".join(commands.CLASSROOM), *asked.split()]
    done = subprocess.run(words, capture_output=True, text=True, cwd=course)
    assert done.returncode == 2
    assert done.stderr.startswith("error: the package ")
    assert done.stderr.endswith('pip install "bomrl-lite[classroom]"\n')
    assert files(course) == before


def test_a_module_of_ours_that_is_missing_is_no_matter_of_packages():
    def broken() -> int:
        raise ModuleNotFoundError("No module named 'bomrl_lite.x'", name="bomrl_lite.x")

    with pytest.raises(ModuleNotFoundError, match=r"named 'bomrl_lite\.x'"):
        commands.needs_extra(broken)()
