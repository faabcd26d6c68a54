"""Grading a class: side by side, stopped, killed, gone on with; a judge of our own stands in.

It reads in a notebook's cells what it shall find, so that every case takes milliseconds; the judge
itself is tested in test_judge.py, and the two together at the end of this file.
"""

import csv
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from functools import partial
from pathlib import Path

import pytest
from test_submissions import NOTEBOOK, notebook, put, zip_of

from bomrl_lite.course.checks import CHECKS_BY_SET
from bomrl_lite.course.classroom import jobs
from bomrl_lite.course.classroom.gradebook import gradebook_rows
from bomrl_lite.course.classroom.grading import NOTEBOOKS, grade_all
from bomrl_lite.course.classroom.judge import Verdict
from bomrl_lite.training.folder_guard import locked

ROOT = Path(__file__).resolve().parents[1]
SET = "03"
CHECKS = CHECKS_BY_SET[SET]
MOST = sum(check.max_points for check in CHECKS)


class Told:
    """A judge that does what a line of the notebook tells it.

    ``surrogate: solved`` and the like give a state; ``die`` ends the process, ``fail`` is a fault
    of the grader, ``wait`` says with a file that it has begun, and waits for another.
    """

    isolation = "no answer is run"

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder

    def __enter__(self):
        return self

    def __exit__(self, *error):
        if self.folder:
            (self.folder / "put away").touch()

    def judge(self, notebook, exercise_set):
        lines = [line for cell in notebook.cells for line in cell.source.splitlines()]
        if "die" in lines:
            os._exit(3)
        if "fail" in lines:
            raise LookupError("a fault of ours")
        if "wait" in lines and self.folder:
            (self.folder / "begun").write_text(str(os.getpid()))
            while not (self.folder / "go").exists():
                time.sleep(0.02)
        told = dict(line.split(": ", 1) for line in lines if ": " in line)
        return [self.verdict(check, told) for check in CHECKS_BY_SET[exercise_set]]

    def verdict(self, check, told):
        state, _, message = told.get(check.name, told.get("every", "missing")).partition(" ")
        most = check.max_points
        points = {"solved": most, "partly": most - 1}.get(state, 0)
        fails = state in ("wrong", "partly")
        step, cause = ("random values", "a sum too long") if fails else (None, None)
        return Verdict(check.exercise, check.name, points, most, state, step, message, cause)


ALL = notebook("every: solved")
FILES = {
    "anna/03.ipynb": ALL,
    "bob/03.ipynb": notebook("every: solved", "kl_distance: wrong line 1", "lower_bound: partly"),
    "cem/03.ipynb": notebook("every: unsolved"),
    "dora/03.ipynb": notebook(),
    "emil/03.ipynb": ALL[:30],
    "fay/report.pdf": b"%PDF",
    "gina/03.ipynb": b"",
    "gina/03 (1).ipynb": notebook("every: solved", "surrogate: wrong x"),
    "gina/03 (2).ipynb": notebook("import this"),
    "gina/03 (3).ipynb": b"{",
    "hal.zip": zip_of({"a/b/03.ipynb": ALL, "notes.txt": b"hello"}),
    "=1+1/03.ipynb": notebook("surrogate: wrong <script>alert(1)</script> & co"),
    "lee_LATE_12345_678_03.ipynb": ALL,
}


def grade(sent: Path, out: Path, folder: Path | None = None, **how) -> int:
    judge = partial(Told, folder)
    return grade_all([sent], exercise_set=SET, out=out, make_judge=judge, **how)  # type: ignore[arg-type]


def rows(out: Path) -> dict[str, dict[str, str]]:
    table = csv.DictReader((out / "gradebook.csv").read_text(encoding="utf-8").splitlines())
    return {row["student"]: row for row in table}


def results(out: Path) -> dict[str, bytes]:
    files = (path for path in out.rglob("*") if path.is_file() and path.name != ".lock")
    return {path.relative_to(out).as_posix(): path.read_bytes() for path in files}


@pytest.fixture(scope="module")
def graded(tmp_path_factory) -> Path:
    place = tmp_path_factory.mktemp("class")
    put(place / "sent", FILES)
    assert grade(place / "sent", place / "out", jobs=2) == 0
    return place


@pytest.fixture
def place(graded, tmp_path) -> Path:
    """A class that is graded, in a copy."""
    shutil.copytree(graded, tmp_path, dirs_exist_ok=True)
    return tmp_path


# ------------------------------------------------------------------ what comes of it


def test_each_student_has_marks_or_a_sentence(graded):
    table = rows(graded / "out")
    totals = {name: row["total"] for name, row in table.items()}
    wrong = {check.name: check.max_points for check in CHECKS}
    assert totals == {
        "'=1+1": "0",
        "anna": str(MOST),
        "bob": str(MOST - wrong["kl_distance"] - 1),
        "cem": "0",
        "dora": "0",
        "emil": "",
        "fay": "",
        "gina": str(MOST - wrong["surrogate"]),
        "hal": str(MOST),
        "lee": str(MOST),
    }
    assert {row["max"] for row in table.values()} == {str(MOST)}
    assert table["bob"]["3.2"] == "0"
    assert table["bob"]["failed"] == "3.2 kl_distance: random values"
    assert table["bob"]["message"] == "line 1"
    assert table["cem"]["failed"] == "3.1 surrogate: unsolved"
    assert "it is damaged (no JSON" in table["emil"]["note"]
    assert "report.pdf: it is no notebook" in table["fay"]["note"]
    assert (table["lee"]["id"], table["lee"]["late"]) == ("12345", "late")
    assert table["anna"]["note"] == table["anna"]["failed"] == table["anna"]["late"] == ""


def test_the_last_attempt_with_an_answer_counts_and_the_gradebook_says_so(graded):
    assert rows(graded / "out")["gina"]["note"] == (
        "03 (1).ipynb counts; 03 (3).ipynb: it is damaged (no JSON, line 1): ask for it again, "
        "saved anew in JupyterLab; 03 (2).ipynb: it holds no function of set 03; "
        "earlier, or no notebook: 03.ipynb"
    )
    assert rows(graded / "out")["gina"]["file"] == "03 (1).ipynb"


def test_no_cell_of_the_table_is_a_formula(graded):
    for row in csv.reader((graded / "out/gradebook.csv").read_text().splitlines()):
        assert not [cell for cell in row if cell.startswith(("=", "+", "-", "@"))]
        assert not [cell for cell in row if "\n" in cell]


@pytest.mark.parametrize("sign", "=+-@")
def test_whatever_makes_a_formula_is_shown_as_a_text(sign):
    text = f"{sign}1 is what it says"
    verdict = Verdict("3.1", "surrogate", 0, 3, "wrong", "runs", text, None)
    marks = jobs.Marks(text, text, False, text, (verdict,), text, "")
    _, (row,) = gradebook_rows([marks], "03")
    assert {row[name] for name in ("student", "id", "file", "message", "note")} == {f"'{text}"}


def test_the_summary_says_what_to_explain_again_and_who_has_no_marks(graded):
    text = (graded / "out/summary.txt").read_text()
    assert text.startswith("Set 03: 10 students, 8 with marks; of 21 points the mean is ")
    lines = [" ".join(line.split()) for line in text.splitlines()]
    assert "2 3.1 surrogate random values a sum too long" in lines
    assert "1 3.2 kl_distance random values a sum too long" in lines
    assert lines.index("2 3.1 surrogate random values a sum too long") < lines.index(
        "1 3.2 kl_distance random values a sum too long"
    )
    (missing,) = (line for line in lines if line.startswith("fay "))
    assert "it is no notebook" in missing
    states = next(line for line in lines if line.startswith("3.1 surrogate 1.50 of 3"))
    assert states.split()[5:] == ["4", "2", "1", "1"]


def test_a_page_shows_a_student_what_failed_and_runs_nothing(graded):
    pages = {path.stem: path.read_text() for path in (graded / "out/feedback").glob("*.html")}
    assert len(pages) == len(rows(graded / "out"))
    page = pages["1_1"]
    assert "&lt;script&gt;alert(1)&lt;/script&gt; &amp; co" in page
    assert all("<script" not in text and "default-src 'none'" in text for text in pages.values())
    assert not [text for text in pages.values() if re.search(r"(?:src|href)=", text)]
    bob = pages["bob"]
    assert f"{MOST - 4} of {MOST} points" in bob
    assert "passes" not in bob
    assert "The first step that it does not pass: <strong>random values</strong>" in bob
    assert "Likely cause: a sum too long." in bob
    assert "random values 2, differentiable 1" in bob
    assert "No marks: nothing could be read" in pages["emil"]
    assert "it is damaged" in pages["emil"]


def test_students_whose_names_make_one_name_of_a_file_have_a_page_each(tmp_path):
    from bomrl_lite.course.classroom.gradebook import file_names
    from bomrl_lite.course.classroom.submissions import Submission

    names = ["Anna Lee", "Anna_Lee", "ANNA LEE", "Ö", "/", "..", "?"]
    made = file_names(Submission(name, "", False, ()) for name in names)
    assert len({name.casefold() for name in made.values()}) == len(names)
    assert all(re.fullmatch(r"[\w-]+", name) for name in made.values())
    assert made["Ö", ""] == "Ö"


# ------------------------------------------------------------------ again, and stopped


def test_judged_anew_all_bytes_are_the_same_but_of_who_sent_something_else(place, capsys):
    before = results(place / "out")
    put(place / "sent", {"anna/03.ipynb": notebook("every: unsolved")})
    assert grade(place / "sent", place / "out", jobs=1, regrade=True) == 0
    shown = capsys.readouterr().out
    assert "judged anew: 9 of 10 have the same points\n" in shown
    assert "anna: 21 of 21 points before, 0 of 21 points now\n" in shown
    after = results(place / "out")
    assert {name for name in before if before[name] != after[name]} == {
        "feedback/anna.html",
        "gradebook.csv",
        "results/anna.json",
        "summary.txt",
    }


def test_resumed_only_what_is_new_or_changed_is_judged(place, capsys):
    before = results(place / "out")
    assert grade(place / "sent", place / "out", resume=True) == 0
    shown = capsys.readouterr().out
    assert "10 of 10 students are taken over" in shown
    assert Told.isolation not in shown  # no judge was needed
    assert results(place / "out") == before
    put(place / "sent", {"anna/03.ipynb": notebook("every: wrong"), "zoe/03.ipynb": ALL})
    assert grade(place / "sent", place / "out", resume=True) == 0
    shown = capsys.readouterr().out
    assert "9 of 11 students are taken over" in shown
    assert "anna: 0 of 21 points" in shown
    assert "zoe: 21 of 21 points" in shown
    assert rows(place / "out")["bob"] == rows_of(before)["bob"]


def rows_of(stored: dict[str, bytes]) -> dict[str, dict[str, str]]:
    table = csv.DictReader(stored["gradebook.csv"].decode().splitlines())
    return {row["student"]: row for row in table}


def test_marks_that_cannot_be_trusted_are_judged_again(place, capsys):
    before = results(place / "out")
    (place / "out/results/anna.json").write_text("{")
    bob = place / "out/results/bob.json"
    stored = json.loads(bob.read_text())
    stored["origin"]["code"] = "another"
    bob.write_text(json.dumps(stored))
    assert grade(place / "sent", place / "out", resume=True) == 0
    assert "8 of 10 students are taken over" in capsys.readouterr().out
    assert results(place / "out") == before


def test_a_fault_of_the_grader_costs_one_student_and_is_tried_again(tmp_path, capsys):
    bad = {"b/03.ipynb": notebook("die"), "c/03.ipynb": notebook("fail")}
    put(tmp_path / "sent", {"a/03.ipynb": ALL, **bad, "d/03.ipynb": ALL})
    assert grade(tmp_path / "sent", tmp_path / "out") == 1
    table = rows(tmp_path / "out")
    assert [row["total"] for row in table.values()] == ["21", "", "", "21"]
    assert "not the student: its process ended (exit code 3); too little" in table["b"]["note"]
    assert "not the student: LookupError: a fault of ours" in table["c"]["note"]
    put(tmp_path / "sent", dict.fromkeys(bad, ALL))
    assert grade(tmp_path / "sent", tmp_path / "out", resume=True) == 0
    assert "2 of 4 students are taken over" in capsys.readouterr().out


def refuse() -> Told:
    raise RuntimeError("no sandbox here")


def test_a_judge_that_cannot_be_made_says_why(tmp_path):
    put(tmp_path / "sent", {"a.ipynb": ALL})
    with pytest.raises(RuntimeError, match="no sandbox here"):
        grade_all([tmp_path / "sent"], exercise_set=SET, out=tmp_path / "out", make_judge=refuse)  # type: ignore[arg-type]


GRADE = """
import sys
from pathlib import Path
from test_grading import grade
if __name__ == "__main__":
    place = Path(sys.argv[1])
    sys.exit(grade(place / "sent", place / "out", place, resume=sys.argv[2:] == ["resume"]))
"""


def start(place: Path) -> subprocess.Popen[str]:
    """Grade in another process, until it waits in the middle of a submission."""
    (place / "grade.py").write_text(GRADE)
    put(place / "sent", {"a.ipynb": ALL, "b.ipynb": notebook("wait", "every: solved")})
    put(place / "sent", {"c.ipynb": notebook("every: wrong"), "d.ipynb": b""})
    child = subprocess.Popen(
        [sys.executable, str(place / "grade.py"), str(place)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT / "tests"), *sys.path])},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,  # so that a signal to the group hits it and its own processes
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    until(lambda: (place / "begun").exists(), child)
    return child


def until(done, child: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 120
    while not done():
        assert child.poll() is None, child.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.05)


def gone(process: int) -> bool:
    try:
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return True
    return state == "Z"


@pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc")
def test_a_kill_loses_the_submission_in_work_alone_and_leaves_no_process(tmp_path, capsys):
    child = start(tmp_path)
    judging = int((tmp_path / "begun").read_text())
    with pytest.raises(BlockingIOError, match=r"another process works in .*out at this moment"):
        grade(tmp_path / "sent", tmp_path / "out", resume=True)
    child.kill()
    child.wait()
    assert {path.stem for path in (tmp_path / "out/results").iterdir()} == {"a"}
    assert rows(tmp_path / "out")["b"]["note"] == "not judged yet"
    (tmp_path / "out" / "results" / ".b.json.1-2.tmp").write_text("{")  # as a kill leaves one
    (tmp_path / "go").touch()
    child.communicate()
    deadline = time.monotonic() + 60
    while not gone(judging):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert grade(tmp_path / "sent", tmp_path / "out", resume=True) == 0
    assert "1 of 4 students are taken over" in capsys.readouterr().out
    assert grade(tmp_path / "sent", tmp_path / "whole") == 0
    assert results(tmp_path / "out") == results(tmp_path / "whole")
    with locked(tmp_path / "out"):
        pass


@pytest.mark.skipif(os.name == "nt", reason="needs POSIX signals")
@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_ctrl_c_stops_cleanly_and_says_how_to_go_on(tmp_path, name):
    child = start(tmp_path)
    os.killpg(child.pid, getattr(signal, name))
    out, error = child.communicate(timeout=60)
    assert error == ""
    assert child.returncode == 130
    assert "stopped; to go on, repeat the command with --resume" in out
    assert Counter(row["note"] for row in rows(tmp_path / "out").values()) == {
        "": 1,
        "not judged yet": 3,
    }
    assert (tmp_path / "put away").exists()


# ------------------------------------------------------------------ what is asked


@pytest.mark.parametrize(
    ("how", "error", "words"),
    [
        ({"exercise_set": "3"}, ValueError, "unknown exercise set '3': choose one of 01, 02, 03"),
        ({"jobs": 0}, ValueError, "jobs must be at least 1, got 0"),
        ({"seed": -1}, ValueError, "seed must be at least 0, got -1"),
        ({"resume": True, "regrade": True}, ValueError, "--regrade judges it anew: give one"),
        ({}, ValueError, "out holds a grading: --resume goes on with it, --regrade judges all"),
        ({"resume": True, "seed": 1}, ValueError, "a grading with seed 0, not 1: repeat its"),
        (
            {"regrade": True, "exercise_set": "01"},
            ValueError,
            "holds a grading with set '03', not '01'",
        ),
        ({"resume": True, "out": "new"}, FileNotFoundError, "new holds no grading (no gradebook"),
        ({"regrade": True, "out": "new"}, FileNotFoundError, "or leave out --regrade"),
        ({"out": "sent/out"}, ValueError, "lies in sent, whose files are graded: name a folder"),
        ({"out": "sent"}, ValueError, "--out sent lies in sent"),
        ({"paths": []}, ValueError, "no notebook in nothing"),
        ({"paths": [Path("nowhere")]}, FileNotFoundError, "nowhere does not exist"),
        ({"out": "sent/anna/03.ipynb", "paths": [Path("sent/bob")]}, OSError, "03.ipynb"),
    ],
)
def test_what_cannot_be_graded_is_refused_and_nothing_is_touched(
    place, monkeypatch, how, error, words
):
    monkeypatch.chdir(place)
    before = results(place)
    usual = {"paths": [Path("sent")], "exercise_set": SET, "out": "out", "make_judge": Told, **how}
    with pytest.raises(error, match=re.escape(words)):
        grade_all(usual.pop("paths"), out=Path(usual.pop("out")), **usual)
    assert results(place) == before


def test_the_notebooks_that_are_handed_out_are_named():
    assert sorted(NOTEBOOKS.values()) == sorted(
        path.stem for path in (ROOT / "exercises" / "src").glob("*.py")
    )
    assert NOTEBOOKS.keys() == CHECKS_BY_SET.keys()


def test_a_submission_of_many_files_is_read_no_further_than_needed(tmp_path):
    put(tmp_path, {"a/1.ipynb": NOTEBOOK, "a/2.ipynb": ALL, "b.ipynb": ALL})
    os.utime(tmp_path / "a/1.ipynb", (1, 1))
    asked = []

    class Asked(Told):
        def judge(self, notebook, exercise_set):
            asked.append(notebook.cells[0].source)
            return super().judge(notebook, exercise_set)

    submission, _ = workers_submissions(tmp_path)
    task = jobs.Task(Asked, SET, jobs.Bounds())  # type: ignore[arg-type]
    assert jobs.judge_submission(Asked(), submission, task).file == "2.ipynb"  # type: ignore[arg-type]
    assert asked == ["every: solved"]


def workers_submissions(folder: Path):
    from bomrl_lite.course.classroom.submissions import collect

    return collect([folder])
