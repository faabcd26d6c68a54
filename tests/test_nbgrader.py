"""A term on nbgrader: released, collected, graded by the judge, given back, without a warning.

Set 01 goes the way that docs/classroom.md types, the other sets through nbgrader's own API.
"""

import contextlib
import copy
import csv
import getpass
import html
import json
import os
import re
import shlex
import subprocess
import sys
import zipfile
from pathlib import Path

import nbformat
import pytest
from conftest import WITHOUT_IRI
from nbformat import v4
from nbgrader.api import Gradebook
from nbgrader.utils import determine_grade

from bomrl_lite.course.building.assignments import check_id
from bomrl_lite.course.building.plan import exercise_set, exercise_sources
from bomrl_lite.course.checks import CHECKS_BY_SET
from bomrl_lite.course.classroom import preprocessors
from bomrl_lite.course.classroom.course_folder import with_answers
from bomrl_lite.course.classroom.environment import environment
from bomrl_lite.course.classroom.grading import ASSIGNMENTS, NOTEBOOKS
from bomrl_lite.course.classroom.judge import Judge, Verdict
from bomrl_lite.course.classroom.preprocessors import (
    as_outputs,
    in_words,
    mended,
    name_as_released,
    with_ids,
    with_names_of_pictures,
    with_profile,
)
from bomrl_lite.course.execute import kernel_environment
from bomrl_lite.course.notebook import to_bytes

ROOT = Path(__file__).parents[1]
COURSE = "bomrl-2026"
SETS = tuple(NOTEBOOKS)
SOURCES = {path.stem[:2]: path for path in exercise_sources(ROOT)}
ME = getpass.getuser()


def given(number: str) -> nbformat.NotebookNode:
    """Return the notebook of a set as learners get it."""
    return exercise_set(ROOT, SOURCES[number]).unsolved


def answered(number: str, first: int = 99) -> nbformat.NotebookNode:
    """Return the notebook of a set with the first answers filled in."""
    notebook = given(number)
    whole = with_answers(exercise_set(ROOT, SOURCES[number]))
    own = [i for i, cell in enumerate(whole.cells) if "exercise" in cell.metadata.get("tags", ())]
    for i in own[:first]:
        notebook.cells[i].source = whole.cells[i].source
    return notebook


def place(notebook: nbformat.NotebookNode, name: str) -> int:
    names = [cell.metadata.get("nbgrader", {}).get("grade_id") for cell in notebook.cells]
    return names.index(name)


def copied() -> nbformat.NotebookNode:
    """The first answer and its test copied, as by somebody who tries a second way."""
    notebook = answered("01", 2)
    first = place(notebook, "ex-1_1")
    again = [copy.deepcopy(notebook.cells[first]), copy.deepcopy(notebook.cells[first + 1])]
    notebook.cells[first].source = given("01").cells[first].source
    notebook.cells[first + 2 : first + 2] = again
    return notebook


def without_a_test() -> nbformat.NotebookNode:
    notebook = answered("01", 2)
    del notebook.cells[place(notebook, "check-1_1")]
    del notebook.cells[place(notebook, "ex-1_2") : place(notebook, "check-1_2") + 1]
    return notebook


def with_a_syntax_error() -> nbformat.NotebookNode:
    notebook = answered("01", 2)
    notebook.cells[place(notebook, "ex-1_2")].source = "def occupancy(:"
    return notebook


def that_asks_for_the_reference() -> nbformat.NotebookNode:
    """In the cell of parameters, and by a call of its own."""
    notebook = given("01")
    cell = notebook.cells[place(notebook, "parameters")]
    cell.source = cell.source.replace('"raise"', '"reference"')
    first = place(notebook, "ex-1_1")
    notebook.cells.insert(first, v4.new_code_cell('checks.use("reference")'))
    return notebook


def without_a_gradient() -> nbformat.NotebookNode:
    """Right values that cannot be differentiated, which earns some of the points."""
    notebook = answered("01", 1)
    notebook.cells[
        place(notebook, "ex-1_1")
    ].source += (
        "\n\n_values = q_values\n\n\ndef q_values(*args):\n    return _values(*args).detach()\n"
    )
    return notebook


def that_warns_and_ends_the_kernel() -> nbformat.NotebookNode:
    notebook = answered("01", 1)
    cell = notebook.cells[place(notebook, "ex-1_1")]
    cell.source = cell.source.replace(
        "    # BEGIN SOLUTION", '    import warnings\n    warnings.warn("mine", stacklevel=1)'
    ).replace("    # END SOLUTION\n", "")
    notebook.cells.insert(place(notebook, "ex-1_3"), v4.new_code_cell("import os\nos._exit(3)"))
    return notebook


ODD = {
    "copied_101_201_01_maml_baseline.ipynb": copied,
    "deleted_LATE_102_202_01_maml_baseline-1.ipynb": without_a_test,
    "syntax_103_assignsubmission_file_/01_maml_baseline (2).ipynb": with_a_syntax_error,
    "reference_104_assignsubmission_file_/mine.ipynb": that_asks_for_the_reference,
    "Set 01_partly_attempt_2026-11-28-10-15-30_01_maml_baseline.ipynb": without_a_gradient,
    "warns_105_205_01_maml_baseline.ipynb": that_warns_and_ends_the_kernel,
}
"""By names as Canvas, Moodle and Blackboard give them; the students have one-word names."""


# ---------------------------------------------------------------- parts, without a kernel


def cells_of(number: str) -> dict[str, nbformat.NotebookNode]:
    known = [cell for cell in given(number).cells if "nbgrader" in cell.metadata]
    return {cell.metadata.nbgrader.grade_id: cell for cell in known}


@pytest.mark.parametrize("make", [copied, without_a_test, lambda: v4.new_notebook()])
def test_a_mended_notebook_has_every_test_once(make):
    released = cells_of("01")
    names = [
        cell.metadata.nbgrader.grade_id
        for cell in mended(make(), released).cells
        if "nbgrader" in cell.metadata
    ]
    assert len(names) == len(set(names))
    assert {name for name in released if not name.startswith("ex-")} <= set(names)
    assert names[0] == "parameters"


def test_of_a_copied_cell_the_last_counts():
    notebook = mended(copied(), cells_of("01"))
    solved = notebook.cells[place(notebook, "ex-1_1")]
    assert "BEGIN SOLUTION" in solved.source


@pytest.mark.parametrize("record", ["x", 3, {}, {"grade_id": []}, {"grade_id": "no such"}])
def test_metadata_that_is_none_of_nbgraders_goes(record):
    notebook = given("01")
    notebook.cells[0].metadata["nbgrader"] = record
    assert "nbgrader" not in mended(notebook, cells_of("01")).cells[0].metadata


def test_what_a_learner_writes_into_a_test_is_kept_before_it():
    notebook = given("01")
    number = place(notebook, "check-1_1")
    notebook.cells[number].source = "def q_values(): ..."
    result = mended(notebook, cells_of("01"))
    kept = result.cells[place(result, "check-1_1") - 1]
    assert kept.source == "def q_values(): ..."
    assert kept.metadata == {}


def test_every_cell_gets_an_id_of_its_own():
    cells = [v4.new_code_cell() for _ in range(5)]
    for cell, wrong in zip(cells, ("a", "a", "no good", "b" * 65), strict=False):
        cell.id = wrong
    del cells[-1]["id"]
    notebook = v4.new_notebook()
    notebook.cells = cells
    notebook = with_ids(notebook)
    ids = [cell.id for cell in notebook.cells]
    assert ids == ["a", "sent-1", "sent-2", "sent-3", "sent-4"]
    nbformat.validate(notebook)


def test_the_profile_is_set_right_after_the_parameters():
    notebook = with_profile(given("01"), "smoke")
    cell = notebook.cells[place(notebook, "parameters") + 1]
    assert cell.source == '# Parameters\nprofile = "smoke"  # while it is graded\n'
    assert with_profile(v4.new_notebook(), "smoke").cells == []


@pytest.mark.parametrize("points", [0, 1, 2, 3])
def test_nbgrader_reads_the_points_of_a_verdict(points):
    cell = cells_of("01")["check-1_1"]
    cell.outputs = as_outputs(
        Verdict("1.1", "q_values", points, 3, "wrong", "sign", "the sign is wrong", "a slip")
    )
    assert determine_grade(cell) == (points, 3)
    assert "Likely cause: a slip." in cell.outputs[0].text


def test_a_cause_that_the_message_names_is_not_said_twice():
    said = in_words(Verdict("1.1", "q_values", 0, 3, "wrong", "sign", "x. Likely cause: y.", "y"))
    assert said.count("y.") == 1


def test_a_picture_without_a_title_gets_a_text_and_keeps_its_own():
    made = [
        v4.new_output("display_data", data={"image/png": "x"}, metadata={"image/png": about})
        for about in ({}, {"alt": ""}, {"alt": "mine", "width": 3})
    ]
    made.append(v4.new_output("stream", text="x"))
    notebook = v4.new_notebook(cells=[v4.new_markdown_cell(), v4.new_code_cell(outputs=made)])
    outputs = with_names_of_pictures(notebook).cells[1].outputs
    texts = [output.metadata["image/png"]["alt"] for output in outputs[:3]]
    assert texts == ["a figure without a title", "a figure without a title", "mine"]


def test_points_of_before_are_not_mixed_with_those_of_now(monkeypatch):
    class Generous:
        isolation = "all is well"

        def judge(self, notebook, number):
            return [Verdict("1.1", "q_values", 5, 5, "solved", None, "", None)]

    monkeypatch.setattr(preprocessors, "_warm_judge", lambda seed: Generous())
    place_of = {"nbgrader": {"notebook": "01_maml_baseline"}}
    with pytest.raises(ValueError, match="released with 3 points and is worth 5 now"):
        preprocessors.GradeByJudge().preprocess(given("01"), place_of)
    own = {"nbgrader": {"notebook": "own"}}
    notebook, _ = preprocessors.GradeByJudge().preprocess(given("01"), own)
    assert notebook == given("01")


def test_a_notebook_under_another_name_counts_the_last_first(tmp_path):
    for when, name in enumerate(("anna", "anna (1)")):
        path = tmp_path / f"{name}.ipynb"
        path.write_text(name)
        os.utime(path, (when, when))
    sent = [str(path) for path in sorted(tmp_path.iterdir())]
    name_as_released(assignment="set01", student="*", notebooks=sent)
    (path,) = map(Path, sent)
    assert path.name == "01_maml_baseline.ipynb"
    assert path.read_text() == "anna (1)"
    before = [str(path), "other.ipynb"]
    name_as_released(assignment="set01", student="*", notebooks=before)
    assert before == [str(path), "other.ipynb"]
    name_as_released(assignment="own", student="*", notebooks=before)
    assert before == [str(path), "other.ipynb"]


def test_a_variable_has_its_value_of_before_whatever_happens(monkeypatch):
    monkeypatch.setenv("BOMRL_SET", "old")
    monkeypatch.delenv("BOMRL_UNSET", raising=False)
    with contextlib.suppress(KeyError), environment(BOMRL_SET="new", BOMRL_UNSET="new"):
        assert os.environ["BOMRL_SET"] == os.environ["BOMRL_UNSET"] == "new"
        raise KeyError
    assert os.environ["BOMRL_SET"] == "old"
    assert "BOMRL_UNSET" not in os.environ


def test_a_course_folder_is_made_where_no_environment_is_activated(tmp_path):
    command = [sys.executable, "-m", "bomrl_lite", "classroom", "init", str(tmp_path / COURSE)]
    done = subprocess.run(
        command,
        cwd=ROOT,
        env={**os.environ, "PATH": os.defpath},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    with Gradebook(f"sqlite:///{tmp_path / COURSE / 'gradebook.db'}", COURSE) as gradebook:
        assert [each.name for each in gradebook.assignments] == sorted(ASSIGNMENTS)


# ---------------------------------------------------------------- a term

PAGE = (ROOT / "docs" / "classroom.md").read_text(encoding="utf-8")
BLOCKS = [block.splitlines() for block in re.findall(r"(?ms)^```\n(.*?)^```$", PAGE)]
INSTRUCTOR, (COLLECT_FILES,), LEARNER, HUB = BLOCKS[:4]
INSTRUCTOR = [line for line in INSTRUCTOR if not line.startswith(("cd ", "pip "))]
COMPLAINT = re.compile(r"WARN(?!ING\] NOT ISOLATED)|ERROR|Warning|Traceback")
"""Where there is no bubblewrap, the judge says so: that is no complaint."""
API = """
import json, sys
from nbgrader.apps.api import NbGraderAPI
from traitlets.config.loader import PyFileConfigLoader

config = PyFileConfigLoader("nbgrader_config.py").load_config()
config.merge(PyFileConfigLoader(sys.argv[1]).load_config())
api = NbGraderAPI(config=config)
for step, *rest in json.loads(sys.argv[2]):
    done = getattr(api, step)(*rest)
    print(step, *rest, done.get("log", ""), done.get("error", ""), sep="\\n")
    assert done["success"]
"""


class Term:
    """A course folder beside a clone, a learner's folder and an exchange; what each step said."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self.clone, self.learner = folder / "clone", folder / "learner"
        self.course, self.exchange = folder / COURSE, folder / "exchange"
        self.said: list[str] = []
        (self.clone / "notebooks" / "src").mkdir(parents=True)
        (self.clone / "pyproject.toml").touch()
        (self.clone / "exercises").symlink_to(ROOT / "exercises")
        self.learner.mkdir()
        self.exchange.mkdir()
        self.exchange.chmod(0o777)
        settings = folder / "settings"
        settings.mkdir()
        self.hub = settings / "nbgrader_config.py"
        here_too = {
            "/srv/nbgrader/exchange": self.exchange,
            "# c.ExchangeCollect.check_owner": "c.ExchangeCollect.check_owner",  # one account
        }
        words = "\n".join(HUB) + f"\nc.Exchange.cache = {str(folder / 'cache')!r}\n"
        for usual, ours in here_too.items():
            assert usual in words
            words = words.replace(usual, str(ours))
        self.hub.write_text(words)
        here = str(Path(sys.executable).parent)
        self.environment = environment | {
            "PATH": os.pathsep.join([here, environment["PATH"]]),
            "PYTHONPATH": os.pathsep.join([WITHOUT_IRI, str(ROOT)]),
            "JUPYTER_CONFIG_DIR": str(settings),
            "OMP_NUM_THREADS": "1",
        }

    def type(self, line: str, folder: Path, *, code: int = 0) -> str:
        """Run a line of the page as it stands; keep what it says."""
        done = subprocess.run(
            line,
            shell=True,
            cwd=folder,
            env=self.environment,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
        )
        assert done.returncode == code, done.stdout
        self.said.append(done.stdout)
        return done.stdout

    def call(self, *steps: tuple[str, ...]) -> None:
        """Call nbgrader's API, as its pages in JupyterLab do, in a process of its own."""
        words = [sys.executable, "-c", API, str(self.hub), json.dumps(steps)]
        self.type(shlex.join(words), self.course)

    def points(self, number: str) -> dict[str, list[float | None]]:
        """Return what nbgrader has stored for each student of a set."""
        names = [check_id(check.exercise) for check in CHECKS_BY_SET[number]]
        found = dict[str, list[float | None]]()
        with Gradebook(f"sqlite:///{self.course / 'gradebook.db'}", COURSE) as gradebook:
            for each in gradebook.assignment_submissions(f"set{number}"):
                grades = {grade.name: grade.auto_score for grade in each.notebooks[0].grades}
                found[each.student.id] = [grades[name] for name in names]
        return found

    def complaints(self) -> list[str]:
        said = [line for each in self.said for line in each.splitlines()]
        return [line for line in said if COMPLAINT.search(line)]

    def outputs(self, student: str, number: str) -> str:
        path = self.course / "autograded" / student / f"set{number}" / f"{NOTEBOOKS[number]}.ipynb"
        outputs = (o for cell in nbformat.read(path, 4).cells for o in cell.get("outputs", ()))
        return "".join(output.get("text", "") for output in outputs)

    def page(self, student: str, number: str) -> str:
        name = NOTEBOOKS[number]
        path = self.course / "feedback" / student / f"set{number}" / f"{name}.html"
        return html.unescape(path.read_text(encoding="utf-8"))


@pytest.fixture
def term(tmp_path):
    with kernel_environment() as environment:
        yield Term(tmp_path, environment)


@pytest.fixture(scope="module")
def judge():
    with Judge(seed=0) as judge:
        yield judge


def write(notebook: nbformat.NotebookNode, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(to_bytes(notebook))


def earned(judge: Judge, notebook: nbformat.NotebookNode, number: str) -> list[float]:
    return [verdict.points for verdict in judge.judge(notebook, number)]


def most(number: str) -> list[float]:
    return [check.max_points for check in CHECKS_BY_SET[number]]


def bare(notebook: nbformat.NotebookNode) -> list[tuple[object, ...]]:
    """Return what a learner sees of a notebook, and the ids and tags of its cells."""
    return [(c.id, c.cell_type, c.source, c.metadata.get("tags")) for c in notebook.cells]


@pytest.mark.papermill
def test_a_term_as_the_page_types_it(term):
    """The instructor's commands, a learner's between them, and nobody complains."""
    release = INSTRUCTOR.index("nbgrader release_assignment set01")
    feedback = next(i for i, line in enumerate(LEARNER) if "fetch_feedback" in line)
    for line in INSTRUCTOR[: release + 1]:
        folder = term.course if line.startswith("nbgrader") else term.clone
        term.type(line, folder)
    mine = term.learner / "set01" / "01_maml_baseline.ipynb"
    for line in LEARNER[:feedback]:
        if "submit" in line:
            write(answered("01"), mine)
        said = term.type(line, term.learner)
        if "fetch_assignment" in line:
            assert bare(nbformat.read(mine, 4)) == bare(given("01"))
        if "validate" in line:
            assert "VALIDATION FAILED ON 8 CELL(S)" in said
            assert "[exercise 1.8] not solved yet" in said
    for line in INSTRUCTOR[release + 1 :]:
        term.type(line, term.course)
    term.type(LEARNER[feedback], term.learner)
    assert term.complaints() == []
    assert term.points("01") == {ME: most("01")}
    assert list(term.learner.rglob("feedback/*/01_maml_baseline.html"))
    with (term.course / "grades.csv").open() as file:
        rows = {row["assignment"]: row for row in csv.DictReader(file)}
    assert float(rows["set01"]["score"]) == float(rows["set01"]["max_score"]) == sum(most("01"))
    said = term.type("nbgrader validate source/set01/01_maml_baseline.ipynb", term.course)
    assert "Success! Your notebook passes all the tests." in said


@pytest.mark.papermill
def test_what_students_really_send_gets_the_points_of_the_judge(term, judge):
    term.type(INSTRUCTOR[0], term.clone)
    archive = term.course / "downloaded" / "set01" / "archive" / "submissions.zip"
    archive.parent.mkdir(parents=True)
    sent = {name: make() for name, make in ODD.items()}
    with zipfile.ZipFile(archive, "w") as file:
        for name, notebook in sent.items():
            file.writestr(name, to_bytes(notebook))
        file.writestr("damaged_109_209_01_maml_baseline.ipynb", b'{"cells": [')
    term.type("nbgrader generate_assignment set01", term.course)
    term.type(COLLECT_FILES, term.course)
    students = {name.removeprefix("Set 01_").partition("_")[0]: name for name in sent}
    assert {path.name for path in (term.course / "submitted").iterdir()} == {*students, "damaged"}
    write(answered("01", 1), term.course / "submitted" / "renamed" / "set01" / "mine.ipynb")
    said = term.type("nbgrader autograde set01", term.course, code=1)
    assert "it is damaged (no JSON, line 1): ask for it again" in said
    points = term.points("01")
    assert points.pop("damaged") == [None] * len(most("01"))
    assert points.pop("renamed") == [3, *[0] * 7]
    assert points == {s: earned(judge, sent[name], "01") for s, name in students.items()}
    assert points["copied"] == [3, 3, *[0] * 6]
    assert points["deleted"] == [3, *[0] * 7]
    assert points["reference"] == [0] * 8
    assert points["partly"] == [2, *[0] * 7]
    assert points["warns"] == [3, *[0] * 7]
    term.type("nbgrader generate_feedback set01", term.course)
    page = term.page("partly", "01")
    assert "exercise 1.1 q_values: 2 of 3 points" in page
    assert "The first step that it does not pass: differentiable" in page
    assert "Likely cause: " in page
    shown = term.outputs("reference", "01")
    assert "0 of 8 solved" in shown
    assert "reference" not in shown  # as it says of an exercise that was lent
    assert "DeadKernelError" in said
    assert "3 of 3 points" in term.page("warns", "01")


@pytest.mark.papermill
def test_every_set_goes_out_comes_back_and_is_graded(term, judge):
    term.type(INSTRUCTOR[0], term.clone)
    sets = [f"set{number}" for number in SETS if number != "01"]  # set 01 goes as the page says
    release = ("generate_assignment", "release_assignment")
    term.call(*((step, each) for each in sets for step in release))
    sent = {}
    for each in sets:
        number, inbound = each[3:], term.exchange / COURSE / "inbound"
        released = nbformat.read(term.course / "release" / each / f"{ASSIGNMENTS[each]}.ipynb", 4)
        assert bare(released) == bare(given(number))
        for student, notebook in {"anna": answered(number), "zoe": released}.items():
            folder = inbound / f"{student}+{each}+2026-11-28 10:15:30.000000 UTC"
            write(notebook, folder / f"{ASSIGNMENTS[each]}.ipynb")
            sent[student, number] = notebook
    grade = (("collect",), ("autograde", "*"), ("generate_feedback",))
    term.call(*((step, each, *more) for each in sets for step, *more in grade))
    term.type("nbgrader export", term.course)
    assert term.complaints() == []
    for each in sets:
        number = each[3:]
        points = term.points(number)
        assert points == {"anna": most(number), "zoe": [0] * len(most(number))}
        assert points == {who: earned(judge, sent[who, number], number) for who in points}
        assert "not solved yet" in term.page("zoe", number)
    with (term.course / "grades.csv").open() as file:
        scores = {
            (r["student_id"], r["assignment"]): float(r["score"]) for r in csv.DictReader(file)
        }
    assert {each: scores["anna", each] for each in sets} == {s: sum(most(s[3:])) for s in sets}
