"""Bad input to the commands: one clear line, exit code 2, nothing lost and nothing half made.

A row is what is asked, what was spoilt before, and the words that the line must hold. The commands
run in this process, in a folder that holds a run on exact values, one on episodes, and a course.
"""

import errno
import json
import math
import os
import shlex
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import engine_work
import pytest
from tiny_course import EXERCISES, LESSON, lesson, recorded, write_course

from bomrl_lite import __main__ as cli
from bomrl_lite.course import experiments
from bomrl_lite.course.building.build import find_problems
from bomrl_lite.course.engines.processes import process_engine
from bomrl_lite.course.execute import Outcome
from bomrl_lite.course.experiments import train_once
from bomrl_lite.course.experiments.setting import Scale
from bomrl_lite.course.running.in_process import run_in_process
from bomrl_lite.course.running.results import judge
from bomrl_lite.course.show import stored_table
from bomrl_lite.training import trainer
from bomrl_lite.training.config import configure
from bomrl_lite.training.evaluate import evaluate_run
from bomrl_lite.training.trainer import meta_train

EXACT = configure("maml", num_tasks=2, iterations=2)
SAMPLED = configure(
    "lvc_maml",
    tasks="navigation/circle",
    num_tasks=2,
    num_episodes=2,
    horizon=3,
    hidden=(3,),
    iterations=1,
)
HUGE = str(10**25)
LONG = "x" * 300


class Bad(NamedTuple):
    """A command line, what is written before it (None deletes), and what the line must say."""

    asked: str
    words: str
    spoilt: dict[str, bytes | None] = {}  # noqa: RUF012


def history(text: str) -> dict[str, bytes]:
    return {"exact/history.csv": text.encode()}


def config(data: bytes) -> dict[str, bytes]:
    return {"exact/config.json": data}


def ranges(value: object, file: str = "ranges") -> dict[str, bytes]:
    text = value if isinstance(value, str) else json.dumps(value)
    return {f"course/notebooks/{file}.json": text.encode()}


def metrics(value: object) -> dict[str, bytes]:
    return {"folder/metrics.json": json.dumps(value).encode()}


HEADER = "iteration,return_before,return_after\n"
RUN = "run --root course --profile smoke"
CALIBRATE = "calibrate --root course --profile smoke"
EXPERIMENT = "experiment condition --iterations 1 --seeds 1"
CUT = "is not a whole table"
NO_CONFIG = "exact/config.json is not the configuration of a run"
AGAIN = "--resume --out exact"
SENT = {"sent/anna.ipynb": b"{}"}

ROWS = [
    # ---------------------------------------------------------------- grade
    Bad("grade nowhere --set 03 --out new", "nowhere does not exist: name what students sent"),
    Bad("grade folder --set 03 --out new", "the folder is empty: nothing was handed in"),
    Bad("grade file.txt --set 03 --out new", "its name ends in .txt): ask for the .ipynb file"),
    Bad("grade folder --set 3 --out new", "unknown exercise set '3': choose one of 01, 02"),
    Bad("grade folder --set 07 --out new", "unknown exercise set '07': choose one of 01, 02"),
    Bad("grade folder --set 03 --out new --jobs 0", "jobs must be at least 1, got 0"),
    Bad("grade folder --set 03 --out new --seed -1", "seed must be at least 0, got -1"),
    Bad("grade folder --set 03 --out new --resume --regrade", "judges it anew: give one"),
    Bad("grade sent --set 03 --out new --resume", "new holds no grading (no gradebook.csv)", SENT),
    Bad("grade sent --set 03 --out new --regrade", "or leave out --regrade", SENT),
    Bad("grade sent --set 03 --out sent/marks", "lies in sent, whose files are graded", SENT),
    Bad("grade sent --set 03 --out file.txt", "where a folder is meant", SENT),
    Bad("grade sent --set 03 --out ''", "what follows --out is empty", SENT),
    Bad("grade bad.zip --set 03 --out new", "the archive cannot be read", {"bad.zip": b"PK"}),
    # ---------------------------------------------------------------- classroom
    Bad("classroom init sent --root course", "is not empty: name a folder that is not", SENT),
    Bad("classroom init file.txt --root course", "where a folder is meant"),
    Bad("classroom init new --root folder", "there is no course in folder"),
    Bad("classroom init new --root course", "course holds no source of exercises in"),
    Bad("classroom init '' --root course", "what follows init is empty"),
    # ---------------------------------------------------------------- evaluate
    Bad("evaluate sampled --num-steps -1", "num_steps must be at least 0, got -1"),
    Bad("evaluate exact --num-steps -1", "num_steps must be at least 0, got -1"),
    Bad(f"evaluate exact --num-steps {HUGE}", "num_steps must be at most"),
    Bad("evaluate sampled --num-episodes 0", "num_episodes must be at least 1, got 0"),
    Bad("evaluate sampled --num-episodes -2", "num_episodes must be at least 1, got -2"),
    Bad(f"evaluate sampled --num-episodes {HUGE}", "num_episodes must be at most"),
    Bad("evaluate exact --num-episodes 5", "exact values, which take no episodes"),
    Bad("evaluate exact --num-episodes 0", "num_episodes must be at least 1, got 0"),
    Bad("evaluate exact --num-test-tasks 0", "num_test_tasks must be at least 1, got 0"),
    Bad("evaluate sampled --num-test-tasks 0", "num_test_tasks must be at least 1, got 0"),
    Bad("evaluate sampled --num-test-tasks -3", "num_test_tasks must be at least 1, got -3"),
    Bad(f"evaluate exact --num-test-tasks {HUGE}", "num_test_tasks must be at most"),
    Bad("evaluate exact --out exact/checkpoint.pt", "the name of another kind of file"),
    Bad("evaluate exact --out exact/history.csv", "name one like exact/evaluation.csv"),
    Bad("evaluate exact --out table", "name one like evaluation.csv"),
    Bad("evaluate exact --out file.txt/table.csv", "where a folder is meant"),
    Bad("evaluate nowhere", "nowhere/checkpoint.pt does not exist; train first"),
    Bad("evaluate folder", "folder/checkpoint.pt does not exist; train first"),
    Bad("evaluate file.txt", "file.txt is a file, and the folder of a run is meant"),
    Bad("evaluate exact/checkpoint.pt", "checkpoint.pt is a file, and the folder of a run"),
    Bad("evaluate ''", "what follows evaluate is empty"),
    Bad("evaluate ' '", "what follows evaluate is empty"),
    Bad("evaluate exact --num-steps ''", "what follows --num-steps is empty"),
    Bad(f"evaluate {LONG}", "is too long: choose a shorter one"),
    Bad("evaluate exact", "checkpoint.pt", {"exact/checkpoint.pt": b""}),
    Bad("evaluate exact", "checkpoint.pt", {"exact/checkpoint.pt": b"garbage"}),
    Bad("evaluate exact", "train first", {"exact/checkpoint.pt": None}),
    Bad("evaluate exact", "evaluation.csv is a folder", {"exact/evaluation.csv/x": b""}),
    # ---------------------------------------------------------------- export
    Bad("export exact exact/checkpoint.pt", "which a policy would replace"),
    Bad("export sampled exact/checkpoint.pt", "which a policy would replace"),
    Bad("export exact folder/../exact/checkpoint.pt", "which a policy would replace"),
    Bad("export exact exact/history.csv", "which a policy would replace"),
    Bad("export exact exact/config.json", "which a policy would replace"),
    Bad("export exact exact/evaluation.csv", "which a policy would replace"),
    Bad("export exact new/checkpoint.pt", "which a policy would replace"),
    Bad("export exact new/Checkpoint.PT", "which a policy would replace"),
    Bad("export exact file.txt", "file.txt is the name of another kind of file"),
    Bad("export exact folder", "folder is a folder where a file is meant"),
    Bad("export exact exact", "exact is a folder where a file is meant"),
    Bad("export exact .", ". is a folder where a file is meant"),
    Bad("export exact ''", "what follows exact is empty"),
    Bad("export '' p.pt", "what follows export is empty"),
    Bad("export exact file.txt/p.pt", "file.txt is, or lies in, a file where a folder is meant"),
    Bad("export exact file.txt/new/p.pt", "file.txt is, or lies in, a file"),
    Bad(f"export exact {LONG}", "is too long"),
    Bad("export nowhere p.pt", "nowhere/checkpoint.pt does not exist"),
    Bad("export file.txt p.pt", "file.txt is a file, and the folder of a run is meant"),
    # ---------------------------------------------------------------- compare
    Bad("compare", "name at least one run folder"),
    Bad("compare nowhere", "nowhere/history.csv does not exist"),
    Bad("compare folder", "folder/history.csv does not exist"),
    Bad("compare file.txt", "file.txt is a file, and the folder of a run is meant"),
    Bad("compare exact exact", "each of them once"),
    Bad("compare exact folder/../exact", "each of them once"),
    Bad("compare exact ''", "what follows exact is empty"),
    Bad("compare exact --column gap", "no column is called 'gap'"),
    Bad("compare exact --column iteration", "no column is called 'iteration'"),
    Bad("compare exact --out folder", "folder is a folder where a file is meant"),
    Bad("compare exact --out ''", "what follows --out is empty"),
    Bad("compare exact --out=", "what follows --out is empty"),
    Bad("compare exact --out picture", "picture must end in the format of a picture: ."),
    Bad("compare exact --out new/picture.xyz", "must end in the format of a picture"),
    Bad("compare exact --out exact/history.csv", "must end in the format of a picture"),
    Bad("compare exact --out picture.pgf", "must end in the format of a picture"),
    Bad("compare exact --out .png", "must end in the format of a picture"),
    Bad("compare exact --out file.txt/p.png", "file.txt is, or lies in, a file"),
    Bad("compare exact", f"exact/history.csv {CUT} (CSV): it is empty", history("")),
    Bad("compare exact", AGAIN, history("")),
    Bad("compare exact", f"exact/history.csv {CUT}", {"exact/history.csv": b"\x80\xff\0\n"}),
    Bad("compare exact", "must have a column iteration", {"exact/history.csv": b"\0\0\0\n"}),
    Bad("compare exact", "done no iteration yet", history(HEADER)),
    Bad("compare exact", "its last row is cut off", history(f"{HEADER}0,1.0,2.")),
    Bad("compare exact", "line 3 has 2 fields, the header 3", history(f"{HEADER}0,1,2\n1,2\n")),
    Bad("compare exact", "line 2 has 4 fields, the header 3", history(f"{HEADER}0,1,2,3\n")),
    Bad("compare exact", "must hold numbers, got 'x' in return_after", history(f"{HEADER}0,1,x\n")),
    Bad("compare exact", "exact/history.csv", history('[{"iteration": 0}]\n')),
    Bad("compare exact", "must have a column iteration", history("a,b\n1,2\n")),
    Bad("compare exact", "must count 0, 1, 2", history(f"{HEADER}0,1,2\n0,1,2\n")),
    Bad("compare exact", "exact/history.csv does not exist", {"exact/history.csv": None}),
    Bad("compare exact", "exact/config.json does not exist", {"exact/config.json": None}),
    Bad("compare exact", NO_CONFIG, config(b"")),
    Bad("compare exact", AGAIN, config(b"")),
    Bad("compare exact", NO_CONFIG, config(b"\x80\xff\0")),
    Bad("compare exact", NO_CONFIG, config(b"text")),
    Bad("compare exact", NO_CONFIG, config(b'{"method": "maml"')),
    Bad("compare exact", NO_CONFIG, config(b"[1, 2]")),
    Bad("compare exact", NO_CONFIG, config(b"3")),
    Bad("compare exact", NO_CONFIG, config(b"null")),
    Bad("compare exact", NO_CONFIG, config(b'{"method": "mamml"}')),
    Bad("compare exact", NO_CONFIG, config(b'{"method": ["maml"]}')),
    Bad("compare exact", NO_CONFIG, config(b'{"format": 99}')),
    Bad("compare exact", NO_CONFIG, config(b'{"tasks": 5}')),
    # ---------------------------------------------------------------- experiment
    Bad(f"{EXPERIMENT} --out new --seeds 0", "seeds must be at least 1, got 0"),
    Bad(f"{EXPERIMENT} --out new --seeds -1", "seeds must be at least 1, got -1"),
    Bad(f"{EXPERIMENT} --out new --iterations 0", "iterations must be at least 1, got 0"),
    Bad(f"{EXPERIMENT} --out new --iterations -5", "iterations must be at least 1, got -5"),
    Bad(f"{EXPERIMENT} --out new --jobs 0", "jobs must be at least 1, got 0"),
    Bad(f"{EXPERIMENT} --out new --jobs -2", "jobs must be at least 1, got -2"),
    Bad(f"{EXPERIMENT} --out new --address auto", "a Ray cluster: add --engine ray"),
    Bad(f"{EXPERIMENT} --out new --engine ray --jobs 0", "jobs must be at least 1, got 0"),
    Bad(f"{EXPERIMENT} --out ''", "what follows --out is empty"),
    Bad(f"{EXPERIMENT} --out file.txt", "file.txt is, or lies in, a file"),
    Bad(f"{EXPERIMENT} --out file.txt/new", "file.txt is, or lies in, a file"),
    Bad(f"{EXPERIMENT} --out folder", "condition.csv is a folder", {"folder/condition.csv/x": b""}),
    Bad(f"{EXPERIMENT} --out folder", "condition.png is a folder", {"folder/condition.png/x": b""}),
    Bad(f"{EXPERIMENT} --out folder", "folder/runs is, or lies in, a", {"folder/runs": b""}),
    Bad(f"{EXPERIMENT} --out new --root course", "give one of them"),
    Bad(f"{EXPERIMENT} --root nowhere", "there is no course in nowhere"),
    Bad(f"{EXPERIMENT} --root file.txt", "there is no course in file.txt"),
    Bad("experiment conditions --out new", "no experiment is called 'conditions'; known are"),
    Bad("experiment '' --out new", "what follows experiment is empty"),
    # ---------------------------------------------------------------- run
    Bad(f"{RUN} --jobs 0", "jobs must be at least 1, got 0"),
    Bad(f"{RUN} --jobs -1", "jobs must be at least 1, got -1"),
    Bad("run --root course --profile x", "unknown profile 'x': choose one of smoke, class, full"),
    Bad("run --root course --profile ''", "what follows --profile is empty"),
    Bad(f"{RUN} --lessons x", "unknown lesson 'x': choose from 00_start"),
    Bad(f"{RUN} --lessons 00_start 00_start", "name each lesson once"),
    Bad(f"{RUN} --seed -1", "seed must be a whole number from 0"),
    Bad(f"{RUN} --seed {2**31}", "seed must be a whole number from 0"),
    Bad(f"{RUN} --out ''", "what follows --out is empty"),
    Bad(f"{RUN} --out file.txt", "cannot write to file.txt"),
    Bad(f"{RUN} --out file.txt/new", "cannot write to file.txt/new"),
    Bad(f"{RUN} --resume", "resume needs the folder"),
    Bad(f"{RUN} --resume --out folder", "folder holds no run to go on with"),
    Bad(f"{RUN} --resume --out file.txt", "file.txt holds no run to go on with"),
    Bad(f"{RUN} --resume --out folder", "folder/metrics.json is not that of a run", metrics([])),
    Bad(f"{RUN} --resume --out folder", "folder/metrics.json is not", {"folder/metrics.json": b""}),
    Bad(f"{RUN} --resume --out folder", "folder/metrics.json", {"folder/metrics.json": b"\xff"}),
    Bad(f"{RUN} -p epochs 3", "unknown parameter 'epochs'"),
    Bad(f"{RUN} -p seed 1 -p seed 2", "give each parameter once, got seed, seed"),
    Bad(f"{RUN} -p seed ''", "seed must be a whole number"),
    Bad(f"{RUN} -p profile x", "unknown profile 'x'"),
    Bad("run --root nowhere", "there is no course in nowhere"),
    Bad("run --root ''", "what follows --root is empty"),
    Bad(RUN, "notebooks/ranges.json is not JSON", ranges("text")),
    Bad(RUN, "notebooks/ranges.json is not JSON", ranges("")),
    Bad(RUN, "ranges.json is not JSON", {"course/notebooks/ranges.json": b"\xff\xfe"}),
    Bad(RUN, "ranges.json is a folder", {"course/notebooks/ranges.json/x": b""}),
    Bad(RUN, "ranges.json: should map lessons to profiles", ranges([1])),
    Bad(RUN, "00_start should map profiles to figures", ranges({"00_start": 3})),
    Bad(RUN, "unknown profile 'smok'", ranges({"00_start": {"smok": {}}})),
    Bad(RUN, "gap should be [low, high]", ranges({"00_start": {"smoke": {"gap": [1]}}})),
    Bad(RUN, "gap should be [low, high]", ranges({"00_start": {"smoke": {"gap": "1"}}})),
    Bad(RUN, "gap should be [low, high]", ranges({"00_start": {"smoke": {"gap": [2, 1]}}})),
    Bad(RUN, "gap should be [low, high]", ranges({"00_start": {"smoke": {"gap": [0, math.nan]}}})),
    Bad(RUN, "ranges.json: 00_star is no lesson", ranges({"00_star": {"smoke": {}}})),
    Bad(RUN, "reference.json is not JSON", ranges("{", "reference")),
    Bad(RUN, "reference.json: 01_x is no lesson", ranges({"01_x": {}}, "reference")),
    # ---------------------------------------------------------------- calibrate, build, bench
    Bad(f"{CALIBRATE} --seeds 0", "seeds must be at least 1, got 0"),
    Bad(f"{CALIBRATE} --seeds -1", "seeds must be at least 1, got -1"),
    Bad(f"{CALIBRATE} --seeds {HUGE}", "seeds must be at most"),
    Bad(f"{CALIBRATE} --reference --seeds 0", "seeds must be at least 1, got 0"),
    Bad("calibrate --root course --profile x", "unknown profile 'x'"),
    Bad(f"{CALIBRATE} --lessons x", "unknown lesson 'x'"),
    Bad(f"{CALIBRATE} --lessons 00_start 00_start", "name each lesson once"),
    Bad(CALIBRATE, "notebooks/ranges.json is not JSON", ranges("text")),
    Bad(CALIBRATE, "ranges.json is a folder", {"course/notebooks/ranges.json/x": b""}),
    Bad(f"{CALIBRATE} --reference", "reference.json is not JSON", ranges("text", "reference")),
    Bad("calibrate --root nowhere", "there is no course in nowhere"),
    Bad("build --root nowhere", "there is no course in nowhere"),
    Bad("build --root ''", "what follows --root is empty"),
    Bad(
        "build --check --root course",
        "holds no source of a notebook",
        {"course/notebooks/src/00_start.py": None},
    ),
    Bad("bench --root nowhere", "there is no course in nowhere"),
    Bad("bench --root course", "bench.json is a folder", {"course/runs/bench.json/x": b""}),
    Bad("bench --root course", "course/runs is, or lies in, a file", {"course/runs": b""}),
    Bad("bench --root course --only nought", "no row and no measurement has 'nought' in its name"),
    Bad("bench --root course --against nowhere", "nowhere is no folder: name a checkout"),
    Bad("bench --root course --against file.txt", "file.txt is no folder: name a checkout"),
    Bad("bench --root course --against course", "course is no checkout of a project"),
    # ---------------------------------------------------------------- train, and no command
    Bad("train --iterations 1 --out file.txt", "file.txt is a file; name a folder for the run"),
    Bad("train --iterations 1 --out ''", "what follows --out is empty"),
    Bad("train --iterations 1 --out=", "what follows --out is empty"),
    Bad("train --config nowhere.json", "nowhere.json does not exist"),
    Bad("train --config folder", "folder is a folder where a file is meant"),
    Bad("train --config ''", "what follows --config is empty"),
    Bad("train --config x.yaml", "x.yaml", {"x.yaml": b"a: [\nb: {\n"}),
    Bad("train --method bomrl_head --tasks cheetah/velocity --backend warp --out new", "Warp"),
    Bad("''", "what follows python -m bomrl_lite is empty"),
]


@pytest.fixture(scope="module")
def template(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("template")
    meta_train(EXACT, out=folder / "exact")
    meta_train(SAMPLED, out=folder / "sampled")
    course = write_course(folder / "course", lesson_00_start=LESSON)
    (course / "pyproject.toml").touch()
    (folder / "folder").mkdir()
    (folder / "file.txt").write_text("a file\n")
    return folder


@pytest.fixture
def place(template, tmp_path, monkeypatch) -> Path:
    """The current folder: a run on exact values, one on episodes, a course, a file, a folder."""
    shutil.copytree(template, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def spoil(spoilt: dict[str, bytes | None]) -> None:
    for name, data in spoilt.items():
        path = Path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink() if data is None else path.write_bytes(data)


def contents() -> dict[Path, bytes | None]:
    """Every file and folder below the current one."""
    return {path: path.read_bytes() if path.is_file() else None for path in Path().rglob("*")}


def ask(monkeypatch, asked: str) -> int:
    monkeypatch.setattr(sys, "argv", ["bomrl_lite", *shlex.split(asked)])
    return cli.main()


def refused(monkeypatch, capsys, asked: str, words: str) -> None:
    """Ask, and find one line with these words, exit code 2, and every file as it was."""
    before = contents()
    assert ask(monkeypatch, asked) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")
    assert words in line
    assert not any(cryptic in line for cryptic in ("Errno", "Traceback", ".tmp"))
    assert contents() == before


@pytest.mark.parametrize("bad", ROWS, ids=lambda bad: f"{bad.asked} | {bad.words}"[:90])
def test_bad_input_is_one_clear_line_and_changes_nothing(place, monkeypatch, capsys, bad):
    spoil(bad.spoilt)
    refused(monkeypatch, capsys, bad.asked, bad.words)


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ("evalute exact", "evaluate"),
        ("evaluate exact --num-step 3", "--num-steps"),
        ("evaluate exact --num-steps many", "--num-steps"),
        ("evaluate", "Required options"),
        ("export exact", "Required options"),
        ("experiment", "Required options"),
        ("experiment condition --engine slurm", "local"),
        ("sweep", "Required options"),
        ("sweep s.yaml --engine slurm", "local"),
        ("grade folder --out new", "--set"),
        ("classroom start new", "init"),
        ("classroom init", "Required options"),
        ("compare exact --colum x", "--column"),
        ("methods maml", "maml"),
        ("run --seed 1.5", "--seed"),
    ],
)
def test_what_tyro_refuses_it_names(place, monkeypatch, capsys, asked, words):
    before = contents()
    with pytest.raises(SystemExit) as ended:
        ask(monkeypatch, asked)
    assert ended.value.code == 2
    assert words in capsys.readouterr().err
    assert contents() == before


# -------------------------------------------------------------------- what the disk and people do


def fails(number: int) -> Callable[..., None]:
    """Stand in for a call of the system that fails, as with a full disk or without permission."""

    def fail(source: object, target: object) -> None:
        raise OSError(number, os.strerror(number), str(target))

    return fail


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EROFS])
@pytest.mark.parametrize(
    ("asked", "file"),
    [
        ("evaluate exact --num-test-tasks 1 --num-steps 0", "exact/evaluation.csv"),
        ("export exact policy.pt", "policy.pt"),
        ("compare exact --out picture.png", "picture.png"),
        (f"{EXPERIMENT} --out folder", "folder/"),
    ],
)
def test_a_disk_that_takes_no_more_is_one_line_with_the_file(
    place, monkeypatch, capsys, asked, file, number
):
    monkeypatch.setattr(experiments, "_rows_of_seed", lambda *_: ([{"gap": 1.0}], 0.0))
    monkeypatch.setattr(os, "replace", fails(number))
    assert ask(monkeypatch, asked) == 2
    (line,) = capsys.readouterr().err.splitlines()
    full = number in (errno.ENOSPC, errno.EDQUOT)
    assert ("there is no room left for " if full else "may not be read or written") in line
    assert file in line
    assert "Errno" not in line


@pytest.mark.parametrize(
    "asked",
    [
        "evaluate exact",
        "export exact folder/p.pt",
        "compare exact --out folder/p.png",
        f"{EXPERIMENT} --out folder",
        CALIBRATE,
        "bench --root course",
    ],
)
def test_a_folder_that_may_not_be_written_to_is_refused_before_the_work(
    place, monkeypatch, capsys, asked
):
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    refused(monkeypatch, capsys, asked, "may not be read or written by you: change")


def test_an_evaluation_that_cannot_be_stored_has_been_printed(place, monkeypatch, capsys):
    monkeypatch.setattr(os, "replace", fails(errno.ENOSPC))
    assert ask(monkeypatch, "evaluate exact --num-test-tasks 1") == 2
    assert "mean gap" in capsys.readouterr().out


def test_too_little_memory_is_one_line(place, monkeypatch, capsys):
    for error in (MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory")):
        monkeypatch.setattr(cli, "evaluate_run", lambda *_, error=error, **__: raise_(error))
        refused(monkeypatch, capsys, "evaluate exact", "not enough memory: ask for fewer")
    monkeypatch.setattr(cli, "evaluate_run", lambda *_, **__: raise_(RuntimeError("a bug")))
    with pytest.raises(RuntimeError, match="a bug"):
        ask(monkeypatch, "evaluate exact")


def raise_(error: BaseException) -> None:
    raise error


def test_an_error_of_the_system_without_words_of_ours_still_names_the_file(monkeypatch, capsys):
    error = OSError(errno.EIO, os.strerror(errno.EIO), "some/file")
    monkeypatch.setattr(cli, "chosen_config", lambda _: raise_(error))
    assert ask(monkeypatch, "methods") == 2
    assert "error: Input/output error: some/file" in capsys.readouterr().err


def test_files_between_run_folders_are_passed_over_aloud(place, monkeypatch, capsys):
    assert ask(monkeypatch, "compare exact file.txt --out p.svg") == 0
    assert "passed over: file.txt is no run folder" in capsys.readouterr().err


def test_a_parameter_of_a_lesson_may_be_empty(place, monkeypatch, capsys):
    refused(monkeypatch, capsys, f"{RUN} -p title ''", "unknown parameter 'title'")


def test_a_policy_may_replace_a_policy(place, monkeypatch):
    assert ask(monkeypatch, "export exact policy.pt") == 0
    assert ask(monkeypatch, "export sampled policy.pt") == 0


# -------------------------------------------------------------------- a stored table


@pytest.mark.parametrize(
    ("data", "words"), [(b"", "it is empty"), (b"a,b\n1", "cut off"), (b"a,b\n1\n", "line 2 has 1")]
)
def test_a_spoilt_stored_table_is_named_with_the_command_that_makes_it(
    place, monkeypatch, data, words
):
    monkeypatch.chdir("course")
    spoil({"notebooks/results/gaps.csv": data})
    with pytest.raises(ValueError, match=f"gaps.csv.*{words}.*bomrl_lite experiment gaps"):
        stored_table("gaps")


# -------------------------------------------------------------------- the course's machinery


@pytest.mark.parametrize(
    ("source", "words"),
    [
        (b"", "01_bad.py:1: it has no cell; begin"),
        (b"\n\n", "01_bad.py:1: it has no cell; begin"),
        (b"x = 1\n", "01_bad.py:1: it has no cell; begin"),
        (b"x = 1\n" + LESSON.encode(), "01_bad.py:1: there is text before the first cell"),
        (LESSON.encode() + b"# \xff\n", "01_bad.py: it cannot be read (UnicodeDecodeError"),
        (LESSON.encode("utf-16"), "01_bad.py: it cannot be read (UnicodeDecodeError"),
        (b"# ---\n# jupyter:\n#   kernelspec: 3\n# ---\n" + LESSON.encode(), "it cannot be read"),
        *(
            (
                LESSON.replace('["parameters"]', tags).encode(),
                f"01_bad.py:4: tags must be a list of texts, got {tags}",
            )
            for tags in ('"parameters"', "5", "[5]", "[oops", "null", "{}", '[["a"]]', "parameters")
        ),
    ],
)
def test_a_bad_source_is_named_and_hides_no_other(place, source, words):
    spoil({"course/notebooks/src/01_bad.py": source})
    first, *others = map(str, find_problems(Path("course")))
    assert words in first
    assert "Traceback" not in first
    assert "\n" not in first
    assert [other.partition(":")[0] for other in others] == ["notebooks/00_start.ipynb"]


def test_a_source_that_is_a_folder_is_named(place):
    spoil({"course/notebooks/src/01_bad.py/x": b""})
    assert "01_bad.py: it cannot be read (IsADirectoryError" in str(
        find_problems(Path("course"))[0]
    )


def test_an_exercise_whose_tags_are_a_text_is_named(place):
    text = EXERCISES.replace('tags=["exercise"]', 'tags="exercise"')
    spoil({"course/exercises/src/01_first.py": text.encode()})
    assert "01_first.py:28: tags must be a list" in str(find_problems(Path("course"))[0])


@pytest.mark.parametrize(
    "found",
    [
        {"name": "gap", "value": "1.0", "unit": ""},
        {"name": "gap", "value": None, "unit": ""},
        {"name": "gap", "value": math.nan, "unit": ""},
        {"name": "gap", "value": True, "unit": ""},
        {"name": 3, "value": 1.0, "unit": ""},
        {"name": "gap", "unit": ""},
        {"name": "gap", "value": 1.0},
        ["gap", 1.0],
        "gap",
    ],
)
def test_a_displayed_figure_that_is_none_fails_its_lesson_alone(found):
    output = recorded("gap", 1.0)
    (mime,) = output.data
    output.data[mime] = found
    notebook = cells_with(output)
    judged = judge(Outcome("00_start", "passed", notebook=notebook), {"gap": [0.0, 2.0]})
    assert judged.outcome.status == "failed"
    assert "which is no figure" in judged.outcome.failure.error
    assert "use record()" in judged.outcome.failure.error


def cells_with(output):
    import nbformat

    cell = nbformat.v4.new_code_cell("1", outputs=[output])
    return nbformat.v4.new_notebook(cells=[cell])


@pytest.mark.parametrize("code", ["import sys\nsys.exit(0)", "raise SystemExit"])
def test_a_lesson_that_exits_does_not_end_the_calibration(place, monkeypatch, capsys, code):
    spoil({"course/notebooks/src/01_exits.py": lesson(code).encode()})
    assert ask(monkeypatch, f"{CALIBRATE} --seeds 1 --lessons 01_exits 00_start") == 1
    shown = capsys.readouterr().out
    assert "01_exits: RuntimeError('cell 4 called exit" in shown
    assert "00_start: 1 figures" in shown


def test_a_figure_of_text_stops_a_run_in_this_process(place):
    shown = "from IPython.display import display\ndisplay({MIME: {'name': 'a'}}, raw=True)"
    text = lesson(f"from bomrl_lite.course.record import MIME\n{shown}")
    spoil({"course/notebooks/src/01_bad.py": text.encode()})
    with pytest.raises(ValueError, match="no figure"):
        run_in_process(Path("course/notebooks/src/01_bad.py"), {})


# -------------------------------------------------------------------- an experiment's trainings


def test_an_unreadable_training_of_an_experiment_is_named_with_what_to_delete(place):
    train_once(EXACT, runs=Path("runs"))
    (folder,) = Path("runs").iterdir()
    for name in ("checkpoint.pt", "seconds.json"):
        sound = (folder / name).read_bytes()
        (folder / name).write_bytes(b"spoilt")
        before = contents()
        with pytest.raises(ValueError, match=f"{folder} .*{name}.*delete that folder"):
            train_once(EXACT, runs=Path("runs"))
        assert contents() == before
        (folder / name).write_bytes(sound)
    for text in ('"3"', "-1", "NaN", "[]", ""):
        (folder / "seconds.json").write_text(text)
        with pytest.raises(ValueError, match=r"seconds\.json.*delete that folder"):
            train_once(EXACT, runs=Path("runs"))


@pytest.mark.parametrize("field", ["seeds", "iterations", "num_tasks", "num_test"])
def test_the_size_of_an_experiment_is_checked_in_python_too(place, field):
    small = {"seeds": 1, "iterations": 1, field: 0}
    with pytest.raises(ValueError, match=f"{field} must be at least 1, got 0"):
        experiments.run("condition", scale=Scale(**small), out=Path("new"), runs=Path("new"))
    assert not Path("new").exists()


def test_a_seed_that_was_killed_is_told_with_what_to_do(place, monkeypatch):
    monkeypatch.setattr(experiments, "_rows_of_seed", engine_work.leave)
    how = {"out": Path("n"), "runs": Path("n"), "engine": process_engine(2)}
    with pytest.raises(ChildProcessError, match=r"seed [01]: .*exit code 9.*fewer jobs"):
        experiments.run("condition", scale=Scale(seeds=2), **how)


@pytest.mark.parametrize("stop", [KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("at", [0, 1, 3, 4, 5])
def test_the_seconds_of_a_training_survive_a_stop(place, monkeypatch, stop, at):
    """Every iteration takes 10 seconds by a clock of our own; a checkpoint comes every second."""
    now, done = [0.0], []
    monkeypatch.setattr(experiments.time, "process_time", lambda: now[0])
    usual = trainer.meta_step

    def step(state, problem):
        if len(done) == at:
            done.append("the stop")
            raise stop
        now[0] += 10
        done.append("an iteration")
        return usual(state, problem)

    monkeypatch.setattr(trainer, "meta_step", step)
    slow = EXACT.replace(iterations=5, checkpoint_every=2)
    if at < 5:
        with pytest.raises(stop):
            train_once(slow, runs=Path("runs"))
    assert train_once(slow, runs=Path("runs")).seconds == 50
    (folder,) = Path("runs").iterdir()
    assert json.loads((folder / "seconds.json").read_text()) == 50
    assert train_once(slow, runs=Path("runs")).seconds == 50


def test_the_seconds_of_a_killed_training_are_those_up_to_its_checkpoint(place, monkeypatch):
    now = [0.0]
    monkeypatch.setattr(experiments.time, "process_time", lambda: now[0])
    usual = trainer.meta_step

    def step(state, problem):
        now[0] += 10
        if now[0] == 40:
            shutil.copytree("runs", "at the kill")
        return usual(state, problem)

    monkeypatch.setattr(trainer, "meta_step", step)
    slow = EXACT.replace(iterations=5, checkpoint_every=2)
    train_once(slow, runs=Path("runs"))
    assert train_once(slow, runs=Path("at the kill")).seconds == 20 + 3 * 10


@pytest.mark.parametrize("wrong", [{"num_steps": -1}, {"num_test_tasks": 0}, {"num_episodes": 0}])
def test_an_evaluation_asks_for_whole_numbers_in_python_too(place, wrong):
    (name,) = wrong
    with pytest.raises(ValueError, match=f"{name} must be"):
        evaluate_run("sampled", **wrong)
