"""Several people on one installation, and a clock that somebody sets back."""

import hashlib
import os
import shutil
import subprocess
import sys
import time
from datetime import datetime
from pathlib import Path

import pytest
from tiny_course import LESSON, FakePapermill, write_course

import bomrl_lite as bl
from bomrl_lite.course.running import batch, runner
from bomrl_lite.training.trainer import load, meta_train

SMALL = bl.configure("maml", tasks="probe/random-5x3", num_tasks=2, iterations=4)
TRAIN = ("train", "--method", "maml", "--tasks", "probe/random-5x3", "--num-tasks", "2")


def digests(folder: Path) -> dict[str, str]:
    """Return the sha256 of every file below a folder."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


# --------------------------------------------------------------- two users, one installation


def without_privileges() -> list[str]:
    """Return what to put before a command so that permissions bind it, though root calls it."""
    if os.name == "nt":
        pytest.skip("needs POSIX permissions")
    if os.geteuid() != 0:
        return []
    if not shutil.which("setpriv"):
        pytest.skip("root may write anywhere, and setpriv, which gives that up, is missing")
    return ["setpriv", "--bounding-set=-all", "--inh-caps=-all"]


def take_away_writing(folder: Path) -> None:
    for path in (*folder.rglob("*"), folder):
        path.chmod(path.stat().st_mode & 0o555)


@pytest.fixture
def installation(tmp_path):
    """The package in a place where its users may not write."""
    shared = tmp_path / "shared"
    package = Path(bl.__file__).parent
    shutil.copytree(package, shared / "bomrl_lite", ignore=shutil.ignore_patterns("__pycache__"))
    take_away_writing(shared)
    yield shared
    for path in (shared, *shared.rglob("*")):
        path.chmod(0o755)


def start(shared: Path, home: Path, *words: object) -> subprocess.Popen[str]:
    """Start a command of the shared package as a user whose home is not there."""
    environment = {"PATH": os.environ["PATH"], "HOME": str(home / "nowhere")}
    home.mkdir(exist_ok=True)
    return subprocess.Popen(
        [*without_privileges(), sys.executable, "-m", "bomrl_lite", *map(str, words)],
        env={**environment, "PYTHONPATH": str(shared)},
        cwd=home,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finished(process: subprocess.Popen[str]) -> tuple[int, str]:
    """Return how a command ended, and all it said."""
    said = process.communicate()
    return process.returncode, "".join(said)


def test_two_users_train_at_once_from_a_place_where_neither_may_write(tmp_path, installation):
    before = digests(installation)
    ask = (*TRAIN, "--iterations", 3, "--out", "run")
    users = [start(installation, tmp_path / name, *ask) for name in ("ada", "emmy")]
    assert [finished(user)[0] for user in users] == [0, 0]
    runs = [digests(tmp_path / name / "run") for name in ("ada", "emmy")]
    assert runs[0] == runs[1]
    assert digests(installation) == before


def test_the_run_of_another_user_is_read_and_not_written(tmp_path, installation):
    hers = tmp_path / "hers"
    meta_train(SMALL, out=hers)
    take_away_writing(hers)
    before = digests(hers)
    mine = tmp_path / "mine"
    ask = ("evaluate", hers, "--num-test-tasks", 2)
    code, said = finished(start(installation, mine, *ask))
    assert (code, "Traceback" in said) == (2, False)
    assert f"{hers} may not be read or written by you" in said
    assert finished(start(installation, mine, *ask, "--out", "table.csv"))[0] == 0
    assert "gap" in (mine / "table.csv").read_text()
    more = (*TRAIN, "--iterations", 9, "--resume", "--out", hers)
    code, said = finished(start(installation, mine, *more))
    assert (code, "Traceback" in said) == (2, False)
    assert "may not be read or written by you" in said
    assert digests(hers) == before
    hers.chmod(0o755)


# --------------------------------------------------------------- a clock that is set back


@pytest.fixture
def falling_clock(monkeypatch):
    """Every look at the time of day is an hour before the last one."""
    hours = iter(range(100_000))
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now - 3600.0 * next(hours))
    monkeypatch.setattr(time, "time_ns", lambda: int(1e9 * (now - 3600.0 * next(hours))))


def test_training_does_not_ask_for_the_time_of_day(tmp_path, monkeypatch, falling_clock):
    state = meta_train(SMALL, out=tmp_path / "run")
    for path in (tmp_path / "run").iterdir():  # written "in a year", before the clock was set back
        os.utime(path, (time.time() + 3e7,) * 2)
    longer = meta_train(SMALL.replace(iterations=8), out=tmp_path / "run", resume=True)
    monkeypatch.undo()
    usual = meta_train(SMALL.replace(iterations=8), out=tmp_path / "usual")
    assert state.iteration == 4
    assert longer.history == usual.history
    assert digests(tmp_path / "run") == digests(tmp_path / "usual")
    assert load(tmp_path / "run")[1].iteration == 8


def test_a_run_of_the_course_under_a_clock_that_was_set_back(tmp_path, monkeypatch, capsys):
    """Each has a folder of its own; what began "later" is not what came before."""
    root = write_course(tmp_path, lesson_00_start=LESSON)
    monkeypatch.setattr(batch, "execute", FakePapermill())
    times = iter([datetime(2026, 1, 2, 12), datetime(2026, 1, 2, 11), datetime(2026, 1, 2, 11)])

    class Clock(datetime):
        @classmethod
        def now(cls, tz=None):
            return next(times)

    monkeypatch.setattr(runner, "datetime", Clock)
    for _ in range(3):
        assert runner.run_course(root, profile="class") == 0
    folders = sorted(path.name for path in (root / "runs").iterdir())
    assert folders == [
        "20260102-110000-class-seed0",
        "20260102-110000-class-seed0-2",
        "20260102-120000-class-seed0",
    ]
    assert capsys.readouterr().out.count("since the last green run") == 1
