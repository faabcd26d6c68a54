"""Bad input to the commands: one clear line, exit code 2, nothing lost and nothing half made.

A row is what is asked, what was spoilt before, and the words that the line must hold. The commands
run in this process, in a folder that holds a run on exact values, one on episodes, and a course.
"""

import contextlib
import errno
import json
import math
import os
import shlex
import shutil
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import NamedTuple

import pytest
from tiny_course import EXERCISES, LESSON, lesson, recorded, write_course

from bomrl_lite import __main__ as cli
from bomrl_lite.course import experiments
from bomrl_lite.course.building.build import find_problems
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

ROWS = [
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
    Bad("export exact exact/checkpoint.pt", "name one like policy.pt"),
    Bad("export sampled exact/checkpoint.pt", "name one like policy.pt"),
    Bad("export exact folder/../exact/checkpoint.pt", "name one like policy.pt"),
    Bad("export exact exact/history.csv", "name one like policy.pt"),
    Bad("export exact exact/config.json", "name one like policy.pt"),
    Bad("export exact exact/evaluation.csv", "name one like policy.pt"),
    Bad("export exact new/checkpoint.pt", "name one like policy.pt"),
    Bad("export exact new/Checkpoint.PT", "name one like policy.pt"),
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
    Bad("compare exact", f"exact/history.csv {CUT}", {"exact/history.csv": b"\0\0\0\n"}),
    Bad("compare exact", "done no iteration yet", history(HEADER)),
    Bad("compare exact", "its last row is cut off", history(f"{HEADER}0,1.0,2.")),
    Bad("compare exact", "line 3 has 2 fields, the header 3", history(f"{HEADER}0,1,2\n1,2\n")),
    Bad("compare exact", "line 2 has 4 fields, the header 3", history(f"{HEADER}0,1,2,3\n")),
    Bad("compare exact", "must hold numbers, got 'x' in return_after", history(f"{HEADER}0,1,x\n")),
    Bad("compare exact", "exact/history.csv", history('[{"iteration": 0}]\n')),
    Bad("compare exact", "has no row iteration", history("a,b\n1,2\n"))
    ._replace(words="exact/history.csv must have a column iteration"),
    Bad("compare exact", "that counts 0, 1, 2", history(f"{HEADER}0,1,2\n0,1,2\n")),
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
    # ---------------------------------------------------------------- train, and no command
    Bad("train --iterations 1 --out file.txt", "file.txt is, or lies in, a file where a folder"),
    Bad("train --iterations 1 --out ''", "what follows --out is empty"),
    Bad("train --iterations 1 --out=", "what follows --out is empty"),
    Bad("train --config nowhere.json", "nowhere.json does not exist"),
    Bad("train --config folder", "folder is a folder where a file is meant"),
    Bad("train --config ''", "what follows --config is empty"),
    Bad("train --config x.yaml", "x.yaml", {"x.yaml": b"a: [\nb: {\n"}),
    Bad("train --method bomrl_head --tasks cheetah/velocity --backend warp --out new", "warp"),
    Bad("''", "what follows python -m bomrl_lite is empty"),
]


def once(build: Callable[[Path], None], folder: Path) -> Path:
    if not folder.exists():
        build(folder)
    return folder


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
        ("evaluate", "RUN"),
        ("export exact", "OUT"),
        ("experiment", "NAME"),
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
