"""Going on with a run of the course that was stopped."""

import json
import subprocess
import sys
import time
from datetime import date
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
from tiny_course import LESSON, FakePapermill, lesson, write_course

from bomrl_lite.course.execute import Job, Limits, execute, kernel_environment
from bomrl_lite.course.notebook import read_notebook, to_bytes
from bomrl_lite.course.running import batch, results, runner
from bomrl_lite.course.running.results import code_digest
from bomrl_lite.course.running.runner import run_course
from bomrl_lite.training.folder_guard import locked

NAMES = ["00_start", "01_next", "02_last"]


@pytest.fixture
def root(tmp_path):
    sources = {f"lesson_{name}": LESSON for name in NAMES}
    return write_course(tmp_path / "course", **sources)


@pytest.fixture
def papermill(monkeypatch):
    fake = FakePapermill()
    monkeypatch.setattr(batch, "execute", fake)
    return fake


def stored(root):
    return json.loads((root / "out/metrics.json").read_text())["lessons"]


def run(root, **how):
    return run_course(root, **{"profile": "smoke", "out": root / "out", **how})


def rerun(root, papermill, **how):
    """Resume and return the lessons that ran again."""
    papermill.ran.clear()
    run(root, resume=True, **how)
    return papermill.ran


def test_what_passed_is_taken_over_and_what_failed_runs_again(root, papermill, capsys):
    papermill.broken = {"01_next"}
    assert run(root) == 1
    papermill.broken = set()
    papermill.ran.clear()
    capsys.readouterr()
    assert run(root, resume=True) == 0
    assert papermill.ran == ["01_next"]
    found = {name: (each["status"], each["taken_over"]) for name, each in stored(root).items()}
    assert found == {
        "00_start": ("passed", True),
        "01_next": ("passed", False),
        "02_last": ("passed", True),
    }
    shown = capsys.readouterr().out
    assert f"{root / 'out'}: 2 of 3 lessons are taken over" in shown
    assert "02_last: taken over, passed in 2.0 s" in shown
    assert "3 of 3 lessons are as they should be" in shown
    page = (root / "out/report.html").read_text()
    assert page.count('<span class="tag note">taken over</span>') == 2
    assert (root / "out/02_last.log").read_text() == "log of 02_last"
    assert rerun(root, papermill) == []  # what was taken over once is so again


def test_a_changed_source_runs_again(root, papermill):
    run(root)
    (root / "notebooks/src/01_next.py").write_text(LESSON.replace("1.0 + seed", "2.0 + seed"))
    assert rerun(root, papermill) == ["01_next"]


def test_changed_tags_run_again(root, papermill):
    run(root)
    (root / "notebooks/src/01_next.py").write_text(LESSON + '\n# %% tags=["hide-input"]\n2\n')
    run(root)
    (root / "notebooks/src/01_next.py").write_text(LESSON + "\n# %%\n2\n")
    assert rerun(root, papermill) == ["01_next"]


def touched(notebook: Path) -> None:
    node = read_notebook(notebook)
    node.cells[-1].outputs = []
    node.cells[1].outputs = []
    notebook.write_bytes(to_bytes(node))


@pytest.mark.parametrize(
    "spoil",
    [Path.unlink, touched, lambda path: path.write_bytes(path.read_bytes()[:-200])],
    ids=["gone", "touched", "torn"],
)
def test_a_notebook_that_is_not_the_one_that_was_left_is_made_again(root, papermill, spoil):
    papermill.figures = {"02_last": {"gap": 1.0}}
    run(root)
    spoil(root / "out/02_last.ipynb")
    assert rerun(root, papermill) == ["02_last"]


def test_nothing_is_taken_over_by_other_versions(root, papermill, monkeypatch, capsys):
    run(root)
    before = results.versions()
    monkeypatch.setattr(runner, "versions", lambda: {**before, "numpy": "9.9"})
    assert rerun(root, papermill) == NAMES
    why = f"nothing is taken over, since numpy was {before['numpy']} and is 9.9"
    assert why in capsys.readouterr().out


def test_nothing_is_taken_over_by_other_code_or_tables(root, papermill, monkeypatch, capsys):
    run(root)
    (root / "notebooks/results").mkdir()
    (root / "notebooks/results/returns.csv").write_text("seed,value\n")
    assert rerun(root, papermill) == NAMES
    assert "since bomrl_lite or notebooks/results has changed" in capsys.readouterr().out
    assert rerun(root, papermill) == []


def test_the_digest_of_the_code_tells_names_and_contents_apart(tmp_path, monkeypatch):
    package = tmp_path / "package"
    (package / "__pycache__").mkdir(parents=True)
    monkeypatch.setattr(results, "bomrl_lite", SimpleNamespace(__file__=package / "__init__.py"))
    found = []
    for name, text in [("a.py", "1"), ("a.py", "2"), ("__pycache__/a.pyc", "3")]:
        (package / name).write_text(text)
        found.append(code_digest(tmp_path))
    (package / "a.py").rename(package / "b.py")
    found.append(code_digest(tmp_path))
    assert len(set(found)) == 3
    assert found[1] == found[2]


def test_what_is_taken_over_is_judged_by_the_ranges_of_today(root, papermill):
    papermill.figures = {name: {"gap": 1.0} for name in NAMES}
    assert run(root) == 0
    narrow = {"02_last": {"smoke": {"gap": [2, 3]}}}
    (root / "notebooks/ranges.json").write_text(json.dumps(narrow))
    assert run(root, resume=True) == 1
    assert stored(root)["02_last"]["taken_over"]
    assert stored(root)["02_last"]["figures"]["gap"]["verdict"] == "outside"


def test_every_outcome_is_on_the_disk_before_the_next_lesson_begins(root, papermill, monkeypatch):
    seen = []

    def look(*given, **named):
        seen.append([each["status"] for each in stored(root).values()])
        assert "<h1>Course run" in (root / "out/report.html").read_text()
        return papermill(*given, **named)

    monkeypatch.setattr(batch, "execute", look)
    run(root)
    expected = [["passed"] * done + ["not run"] * (3 - done) for done in range(3)]
    assert seen == expected
    seen.clear()
    run(root)  # anew into the same folder: what passed before counts no more
    assert seen == expected


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ({"profile": "class"}, "holds a run with profile 'smoke', not 'class': repeat its arg"),
        ({"seed": 3}, "holds a run with seed 0, not 3"),
        ({"given": {}}, r"holds a run with parameters {'steps': 3}, not {}"),
        (
            {"lessons": NAMES[:1]},
            r"holds a run with lessons \['00_start', .*\], not \['00_start'\]",
        ),
        ({"out": None}, "resume needs the folder of the run to go on with: add out"),
    ],
)
def test_another_run_is_not_resumed(root, papermill, other, message):
    for path in (root / "notebooks/src").glob("*.py"):
        path.write_text(LESSON.replace("seed = 0", "seed = 0\nsteps = 1"))
    run(root, given={"steps": 3})
    before = (root / "out/metrics.json").read_bytes()
    with pytest.raises(ValueError, match=message):
        run(root, **{"given": {"steps": 3}, **other}, resume=True)
    assert (root / "out/metrics.json").read_bytes() == before
    assert rerun(root, papermill, given={"steps": 3}) == []


def test_a_folder_without_a_run_is_refused_in_words(root, papermill):
    with pytest.raises(FileNotFoundError, match=r"holds no run to go on with \(no metrics.json\)"):
        run(root, resume=True)
    assert not (root / "out").exists()
    (root / "out").mkdir()
    for text in ("{", "[]", '{"accuracy": 1}', '{"lessons": {"00_start": 3}}'):
        (root / "out/metrics.json").write_text(text)
        with pytest.raises(ValueError, match="is not that of a run of the course"):
            run(root, resume=True)
    assert papermill.ran == []


@pytest.mark.parametrize("resume", [False, True])
def test_two_runs_do_not_share_a_folder(root, papermill, resume):
    run(root)
    before = (root / "out/metrics.json").read_bytes()
    papermill.ran.clear()
    with locked(root / "out"), pytest.raises(BlockingIOError, match="another process works in"):
        run(root, resume=resume)
    assert (papermill.ran, (root / "out/metrics.json").read_bytes()) == ([], before)
    run(root, resume=resume)  # free again


def test_parameters_that_json_does_not_have_are_told_apart(root, papermill):
    for path in (root / "notebooks/src").glob("*.py"):
        path.write_text(LESSON.replace("seed = 0", "seed = 0\nday = None"))
    run(root, given={"day": date(2026, 1, 2)})
    assert rerun(root, papermill, given={"day": date(2026, 1, 2)}) == []
    with pytest.raises(ValueError, match=r"with parameters {'day': '2026-01-02'}"):
        rerun(root, papermill, given={"day": date(2026, 1, 3)})


# ------------------------------------------------------------------ through papermill


@pytest.mark.papermill
def test_a_run_that_is_killed_goes_on_where_it_was(tmp_path):
    """SIGKILL in the middle of the second lesson loses that one alone."""
    begun, go = tmp_path / "begun", tmp_path / "go"
    waiting = (
        f"import pathlib, time\npathlib.Path({str(begun)!r}).touch()\n"
        f"while not pathlib.Path({str(go)!r}).exists():\n    time.sleep(0.1)"
    )
    sources = {"lesson_00_start": LESSON, "lesson_01_waits": lesson(waiting)}
    root = write_course(tmp_path / "course", **sources)
    (root / "pyproject.toml").touch()
    command = [sys.executable, "-m", "bomrl_lite", "run", "--profile", "smoke", "--seed", "3"]
    command += ["--root", str(root), "--out", str(root / "out")]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 90
    while not begun.exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    children = psutil.Process(process.pid).children(recursive=True)
    process.kill()
    process.communicate(timeout=30)
    psutil.wait_procs(children, timeout=30)
    statuses = [each["status"] for each in stored(root).values()]
    assert statuses == ["passed", "not run"]
    first = (root / "out/00_start.ipynb").read_bytes()
    go.touch()
    done = subprocess.run([*command, "--resume"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 of 2 lessons are taken over" in done.stdout
    assert "2 of 2 lessons are as they should be" in done.stdout
    assert [each["taken_over"] for each in stored(root).values()] == [True, False]
    assert {each["figures"]["gap"]["value"] for each in stored(root).values()} == {4.0}
    assert (root / "out/00_start.ipynb").read_bytes() == first
    assert "taken over" in (root / "out/report.html").read_text()


@pytest.mark.papermill
def test_a_run_that_ends_early_does_not_show_the_notebook_of_an_older_one(tmp_path):
    output = tmp_path / "00_start.ipynb"
    root = write_course(tmp_path, lesson_00_start=LESSON)
    job = runner._lesson_job(root, Path("notebooks/src/00_start.py"), tmp_path, {"seed": 1})
    assert isinstance(job, Job)
    output.write_bytes(to_bytes(job.notebook))
    (tmp_path / "papermill.py").write_text("raise SystemExit(1)\n")  # ends before it writes
    with kernel_environment() as environment:
        outcome = execute(job, Limits(600, 600), environment | {"PYTHONPATH": str(tmp_path)})
    assert outcome.status == "failed"
    assert outcome.notebook is None
