"""The bench: what it measures and against which bars, and another checkout beside this build."""

import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import psutil
import pytest

import bomrl_lite
from bomrl_lite.course import commands
from bomrl_lite.course.bench import child, main, process, processes, robots
from bomrl_lite.course.bench.against import Pair, Pairs, measure_pairs, require_checkout
from bomrl_lite.course.bench.figure import Figure
from bomrl_lite.course.bench.main import Result, choose, measure_all, measurements_of, table_of

ROOT = Path(__file__).parents[1]
CHEETAH = "cheetah meta-iteration"
LAKE = "on Frozen Lake, 10 tasks, 150 it."
BARS = {
    f"exact BO-MRL with D1 {LAKE}": 1.2,
    f"exact BO-MRL with D2 {LAKE}": 1.2,
    "meta-iteration, navigation, MAML-TRPO, 20 x 20 x 100": 0.9,
    "meta-iteration, navigation, ProMP, 20 x 20 x 100": 1.5,
    "meta-iteration, navigation, BO-MRL B, 20 x 20 x 100": 3.0,
    "meta-iteration, navigation, BO-MRL head, 20 x 20 x 100": 0.5,
    "meta-iteration, Frozen Lake, MAML, 20 x 20 x 10": 0.08,
    "cheetah, N = 64: stepping over MuJoCo's open loop": 1.11,
    "cheetah, N = 1024: stepping over MuJoCo's open loop": 1.11,
    f"{CHEETAH} over its physics, BO-MRL head": 1.25,
    f"{CHEETAH} over its physics, MAML-TRPO": 1.3,
    f"{CHEETAH} over its physics, ProMP": 1.4,
    f"{CHEETAH} over its physics, BO-MRL, all parameters": 1.6,
    f"{CHEETAH}, wall clock of 2 threads over 1, MAML-TRPO": 0.6,
    f"{CHEETAH}, wall clock of 2 threads over 1, ProMP": 0.6,
    f"{CHEETAH}, wall clock of 2 threads over 1, BO-MRL head": 0.6,
    f"{CHEETAH}, wall clock of 2 threads over 1, BO-MRL, all parameters": 0.6,
    "import bomrl_lite, against import torch": 1.1,
}
"""Of the rows that a promise is made of."""


def refuse() -> float:
    raise AssertionError("measured, though nobody asked")


def test_a_figure_is_measured_when_it_is_asked_for_and_once():
    asked = []
    figure = Figure("x", lambda: asked.append(1) or 2.0, "s", None)
    assert not asked
    assert (figure.figure, figure.figure) == (2.0, 2.0)
    assert asked == [1]


def test_the_rows_stand_beside_the_promised_bars(monkeypatch):
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    figures = [figure for rows in measurements_of(ROOT).values() for figure in rows]
    bars = {figure.name: figure.bar for figure in figures}
    assert {name: bars.get(name) for name in BARS} == BARS
    assert len(bars) == len(figures), "two rows have one name"
    assert {each.name: each.ratio_bar for each in figures if each.ratio_bar} == {
        f"{CHEETAH}, peak memory above imports, {label}": 0.6
        for label in ("ProMP", "BO-MRL, all parameters")
    }


def test_words_choose_rows_and_measurements():
    fast, slow, other = (Figure(name, refuse, "s", None) for name in ("fast", "slow", "Other"))
    measurements = {"a.speed": [fast, slow], "b.rest": [other]}
    assert choose(measurements, ()) == measurements
    assert choose(measurements, ("SLO",)) == {"a.speed": [slow]}
    assert choose(measurements, ("speed", "oth")) == measurements
    with pytest.raises(ValueError, match=r"no row and no measurement has 'x', 'y' in its name"):
        choose(measurements, ("slow", "x", "y"))


@pytest.mark.parametrize(
    ("bar", "ratio_bar", "other", "verdict"),
    [
        (2.0, None, None, "yes"),
        (1.0, None, None, "NO"),
        (None, None, 1.0, "-"),
        (None, 0.6, None, "-"),
        (None, 0.6, 3.0, "yes"),
        (None, 0.6, 2.0, "NO"),
        (2.0, 0.6, 2.0, "NO"),
    ],
)
def test_a_row_holds_where_the_figure_and_the_ratio_keep_their_bars(bar, ratio_bar, other, verdict):
    result = Result("x", 1.5, "s", bar, ratio_bar, other)
    assert result.verdict == verdict
    assert result.holds == (verdict != "NO")


def test_a_ratio_to_nothing_or_of_another_sign_is_none():
    assert Result("x", 1.5, "s", None, other=0.5).ratio == 3.0
    assert [Result("x", 1.5, "s", None, other=y).ratio for y in (None, 0.0, -2.0)] == [None] * 3


def test_the_table_has_columns_for_the_other_build_where_one_was_measured():
    row = Result("x", 1.5, "s", 2.0, other=3.0)
    alone, beside = table_of([row]), table_of([row], compared=True)
    assert [line.split() for line in alone.splitlines()] == [
        ["name", "figure", "unit", "bar", "holds"],
        ["x", "1.5", "s", "2", "yes"],
    ]
    assert beside.splitlines()[1].split() == ["x", "1.5", "3", "0.5", "s", "2", "yes"]


# ------------------------------------------------------------------------------ another checkout


MAIN = """
from pathlib import Path
from typing import NamedTuple

class Figure(NamedTuple):
    name: str
    figure: float
    unit: str = "s"
    bar: float | None = None

def speed():
    with open("{log}", "a+") as log:
        log.write("{letter}")
    number = Path("{log}").read_text().count("{letter}")
    yield Figure("time", {scale} * (4 - number))
    yield Figure("share", {scale} * number)
    {more}

MEASUREMENTS = (speed,)
"""
"""An old build, whose figures are measured as they are listed: 3 then 2 seconds, a share 1, 2."""


def write_build(folder: Path, letter: str, scale: float, more: str = "") -> Path:
    bench = folder / "bomrl_lite" / "course" / "bench"
    bench.mkdir(parents=True)
    for package in (bench, bench.parent, bench.parents[1]):
        (package / "__init__.py").touch()
    text = MAIN.format(log=folder.parent / "log", letter=letter, scale=scale, more=more)
    (bench / "main.py").write_text(text)
    # In the place of the real one, whose import takes a second.
    (folder / "torch.py").write_text("def set_num_threads(number): assert number == 1\n")
    return folder


def test_two_builds_take_turns_and_each_measures_itself(tmp_path):
    ours = write_build(tmp_path / "a", "a", 1.0, more='yield Figure("new", 1.0)')
    other = write_build(tmp_path / "b", "b", 10.0)
    units = {"time": "s", "share": "ratio", "new": "s"}
    pairs, trouble = measure_pairs("main.speed", units, ours, other)
    assert not trouble
    assert (tmp_path / "log").read_text() == "abba"
    # The least of two times, the median of two shares.
    assert pairs == {"time": (2.0, 20.0), "share": (1.5, 15.0), "new": (1.0, None)}


def test_a_measurement_that_fails_in_the_other_build_is_said_and_in_this_one_an_error(tmp_path):
    works = write_build(tmp_path / "a", "a", 1.0, more='yield Figure("new", 1.0)')
    fails = write_build(tmp_path / "b", "b", 1.0, more='raise ValueError("too old")')
    units = {"time": "s", "new": "s"}
    pairs, trouble = measure_pairs("main.speed", units, works, fails)
    assert pairs == {"time": (2.0, None), "new": (1.0, None)}
    assert trouble == f"main.speed of {fails}: ValueError: too old"
    with pytest.raises(
        ValueError, match=r"main\.speed did not run to its end: ValueError: too old"
    ):
        measure_pairs("main.speed", units, fails, works)


@pytest.fixture
def copy(tmp_path) -> Path:
    """Another checkout, whose bench has no measurement yet."""
    folder = tmp_path / "copy"
    ignored = shutil.ignore_patterns("__pycache__", "checks", "widgets", "bench")
    shutil.copytree(ROOT / "bomrl_lite", folder / "bomrl_lite", ignore=ignored)
    bench = folder / "bomrl_lite" / "course" / "bench"
    bench.mkdir()
    (bench / "__init__.py").touch()
    (bench / "main.py").write_text("MEASUREMENTS = ()\n")
    return folder


@pytest.fixture
def course(tmp_path) -> Path:
    folder = tmp_path / "course"
    (folder / "notebooks" / "src").mkdir(parents=True)
    (folder / "pyproject.toml").touch()
    return folder


def test_what_the_other_checkout_does_not_measure_is_measured_on_its_library(copy, course, capsys):
    name = "MAML meta-gradient against central differences"
    assert commands.bench(only=(name,), against=copy, root=course) == 0
    (row,) = json.loads((course / "runs" / "bench.json").read_text())["figures"]
    assert (row["name"], row["ratio"], row["holds"]) == (name, 1.0, True)
    assert row["other"] == row["figure"] > 0
    assert "the other's" in capsys.readouterr().out


def test_it_is_an_error_that_nothing_could_be_compared(course, monkeypatch, capsys):
    name = "MAML meta-gradient against central differences"
    pairs = Pairs({name: Pair(1e-9, None)}, "exact.meta_gradient_error of x: too old")
    monkeypatch.setattr(main, "measure_pairs", lambda *_: pairs)
    with pytest.raises(ValueError, match="has none of these rows, so nothing was compared"):
        commands.bench(only=(name,), against=ROOT, root=course)
    assert "not compared: exact.meta_gradient_error of x: too old" in capsys.readouterr().out
    assert (course / "runs" / "bench.json").exists()


def test_a_library_from_elsewhere_is_not_measured_as_the_checkout(tmp_path):
    with pytest.raises(SystemExit, match="the library was imported from"):
        child.main(tmp_path, tmp_path / "out.json", "exact.meta_gradient_error", [])


def test_what_is_no_checkout_is_refused_with_its_name(tmp_path):
    with pytest.raises(NotADirectoryError, match="nowhere is no folder"):
        require_checkout(tmp_path / "nowhere")
    with pytest.raises(ValueError, match="is no checkout of a project, and one of bomrl_lite"):
        require_checkout(tmp_path)
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "numpy"\n')
    with pytest.raises(ValueError, match="is a checkout of numpy, and one of bomrl_lite is meant"):
        require_checkout(tmp_path)
    assert require_checkout(ROOT) == ROOT


def test_alone_only_the_chosen_rows_are_measured(course, monkeypatch, capsys):
    def measurement():
        yield Figure("fast", lambda: 1.0, "s", 0.5)
        yield Figure("slow", refuse, "s", None)

    monkeypatch.setattr(main, "MEASUREMENTS", (measurement,))
    assert measure_all(course, only=("fast",)) == 1
    (row,) = json.loads((course / "runs" / "bench.json").read_text())["figures"]
    assert (row["figure"], row["other"], row["ratio"], row["holds"]) == (1.0, None, None, False)
    assert "the other's" not in capsys.readouterr().out


# --------------------------------------------------------------- rows that take a fresh process


def test_wall_clock_is_that_of_two_processes_each_in_balanced_order(monkeypatch):
    seconds = {1: [5.0, 4.0], 2: [3.0, 3.5]}
    order = []

    def measured(figure: str, *arguments: str, threads: int) -> float:
        assert (figure, *arguments) == ("seconds", "iteration", "promp")
        order.append(threads)
        return seconds[threads].pop(0)

    monkeypatch.setattr(processes, "_measured", measured)
    assert processes._threads_ratio("promp") == 3.0 / 4.0
    assert order == [1, 2, 2, 1]


def test_a_fresh_process_has_the_threads_and_the_library_of_the_row(tmp_path, monkeypatch):
    folder = write_build(tmp_path / "a", "a", 1.0)
    script = folder / "process.py"
    script.write_text(
        "import json, os, sys, bomrl_lite\n"
        "threads = os.environ['OMP_NUM_THREADS']\n"
        "print(json.dumps({'x': [sys.argv[1], threads, bomrl_lite.__file__]}))"
    )
    monkeypatch.setattr(processes, "__file__", str(folder / "processes.py"))
    asked, threads, library = processes._measured("x", "iteration", threads=2)
    assert (asked, threads) == ("iteration", "2")
    assert Path(library) == Path(bomrl_lite.__file__)


def test_an_iteration_is_timed_after_one_to_warm_up(monkeypatch):
    clock, wait, usual = [0.0], [50.0, 4.0, 3.0], process.configure
    small = {"num_tasks": 2, "num_episodes": 2, "horizon": 5}
    monkeypatch.setattr(process, "configure", lambda *a, **k: usual(*a, **{**k, **small}))
    monkeypatch.setattr(process, "time", SimpleNamespace(perf_counter=lambda: clock[0]))

    def step(*_):
        clock[0] += wait.pop(0)

    monkeypatch.setattr(process, "meta_step", step)
    monkeypatch.setattr(process, "peak_memory", lambda: psutil.Process().memory_info().rss + 5e8)
    figures = process.iteration("promp")
    assert not wait
    assert figures["seconds"] == 3.0
    assert figures["megabytes"] == pytest.approx(500, abs=200)  # what the process itself gained


def test_peak_memory_counts_what_is_held_no_longer():
    now = psutil.Process().memory_info().rss
    before = process.peak_memory()
    assert before >= now
    held = np.ones((before - now) // 8 + 5_000_000)
    del held
    assert process.peak_memory() - before > 30e6


def test_sizes_that_are_no_longer_in_use_leave_nothing(monkeypatch):
    (row,) = processes.memory_left()
    assert row.figure <= row.bar


# -------------------------------------------------------------------------------------- envpool


ENVPOOL = """
import time

class Pool:
    def reset(self): pass
    def step(self, actions): time.sleep(0.002)

def make_gymnasium(task, num_envs, num_threads):
    assert (task, num_envs, num_threads) == ("HalfCheetah-v5", 2, 1)
    return Pool()
"""


def test_envpool_is_measured_where_it_is_installed(tmp_path, monkeypatch):
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    (tmp_path / "envpool.py").write_text(ENVPOOL)
    monkeypatch.syspath_prepend(tmp_path)
    rows = list(robots.against_envpool())
    assert [row.name for row in rows] == [
        f"cheetah, N = 64: wall time over envpool's, threads: {threads}" for threads in (1, 2)
    ]
    assert {row.bar for row in rows} == {round(1 / 1.4, 2)}
    # Two robots take 10 ms for 100 steps, this pool 200.
    ratio = robots._over_environments(
        lambda num_envs: robots._envpool(1, num_envs=num_envs), 2, threads=1
    )
    assert ratio < 0.7


def test_envpool_that_is_missing_has_no_row(monkeypatch):
    monkeypatch.setattr(robots, "find_spec", lambda _: None)
    assert not list(robots.against_envpool())
