"""Sweeps: what a file asks for, what comes out, and what a stop, a kill or a bad unit leaves."""

import csv
import io
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest
import torch
import yaml
from rich.console import Console

from bomrl_lite import __main__ as cli
from bomrl_lite.course.engines import in_this_process, perform
from bomrl_lite.course.engines.processes import process_engine
from bomrl_lite.course.sweeps import run as running
from bomrl_lite.course.sweeps import units
from bomrl_lite.course.sweeps.run import COLUMNS, run_sweep
from bomrl_lite.course.sweeps.sweep_file import Evaluation, make_sweep, read_sweep
from bomrl_lite.course.sweeps.table import running_table, sweep_table
from bomrl_lite.training.config import configure
from bomrl_lite.training.evaluate import evaluate_run
from bomrl_lite.training.trainer import load, meta_train

TESTS = Path(__file__).parent
SMALL = {"iterations": 3, "num_tasks": 2}
FEW = {"num_test_tasks": 2, "num_steps": 1}
TWO = {
    "method": ["maml", "bomrl"],
    "tasks": "probe/opposite",
    "settings": {**SMALL, "learning_rate": [0.01, 0.1]},
    "seeds": 1,
    "evaluation": FEW,
}


def rows_of(table):
    with table.open() as file:
        return list(csv.DictReader(file))


def without_seconds(table):
    return [{k: v for k, v in row.items() if k != "seconds"} for row in rows_of(table)]


def sweep(content, out, engine=in_this_process):
    return run_sweep(make_sweep(content), name="t", out=out, engine=engine, command="c")


def ask(monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["bomrl_lite", *map(str, arguments)])
    return cli.main()


def yaml_file(folder, text, name="s.yaml"):
    file = folder / name
    file.write_text(text)
    return file


# -------------------------------------------------------------------- the file


def test_a_grid_has_every_combination_in_the_order_of_the_file(tmp_path):
    text = """
method: [maml, bomrl]
tasks: [probe/delayed, probe/opposite]
settings:
  iterations: 3
  learning_rate: [1e-2, 0.1]
seeds: [7, 3]
"""
    asked = read_sweep(yaml_file(tmp_path, text))
    found = [
        (c.tasks, c.method, c.outer.learning_rate, c.seed)
        for c in (unit.config for unit in asked.units)
    ]
    assert found == [
        (tasks, method, rate, seed)
        for tasks in ("probe/delayed", "probe/opposite")
        for method in ("maml", "bomrl")
        for rate in (0.01, 0.1)
        for seed in (7, 3)
    ]
    assert {unit.config.iterations for unit in asked.units} == {3}
    assert asked.varied == ("learning_rate",)
    assert asked.evaluation == Evaluation()
    assert asked.units[0].name == "probe/delayed maml learning_rate=0.01 seed=7"


def test_a_list_has_what_it_says_with_the_grid_of_the_settings():
    asked = make_sweep(
        {
            "tasks": "probe/opposite",
            "list": [{"method": "maml", "step_size": 0.5}, {"method": "bomrl", "lam": 0.2}, {}],
            "settings": {"num_tasks": [2, 4]},
            "seeds": 1,
        }
    )
    found = [(unit.config.method, unit.config.num_tasks) for unit in asked.units]
    assert found == [(m, n) for m in ("maml", "bomrl", "maml") for n in (2, 4)]
    assert asked.units[0].config == configure(
        "maml", tasks="probe/opposite", step_size=0.5, num_tasks=2, seed=0
    )
    assert asked.units[2].settings == {"step_size": "", "lam": 0.2, "num_tasks": 2}


def test_what_is_left_out_is_usual():
    asked = make_sweep({"seeds": 2})
    assert [unit.config for unit in asked.units] == [configure(seed=0), configure(seed=1)]
    assert len(make_sweep({"method": "maml"}).units) == 5


def test_the_examples_of_the_page_can_be_run(tmp_path):
    page = (TESTS.parent / "docs" / "sweeps.md").read_text()
    examples = re.findall(r"(?ms)^```yaml\n(.*?)^```$", page)
    asked = [read_sweep(yaml_file(tmp_path, text)) for text in examples]
    assert [len(sweep.units) for sweep in asked] == [40, 9]


def test_a_file_of_json_is_read_as_such(tmp_path):
    asked = read_sweep(yaml_file(tmp_path, json.dumps(TWO), "s.json"))
    assert asked == make_sweep(TWO)
    with pytest.raises(ValueError, match="it names 'seeds' a second time"):
        read_sweep(yaml_file(tmp_path, '{"seeds": 1, "seeds": 2}', "s.json"))


BAD = [
    ("", "it is empty: name at least one of method"),
    ("3", "the file must hold values by name, got 3"),
    ("[a]", "the file must hold values by name"),
    ("a: [", "is no sweep that can be run: while parsing"),
    ("method: maml\nmethod: bomrl", "line 2 names 'method' a second time"),
    ("settings: {lam: 1, lam: 2}", "line 1 names 'lam' a second time"),
    ("methods: maml", "the file has the unknown key 'methods'; known are method, tasks"),
    ("iterations: 3", "'iterations'; known are .*: a setting of the training stands under sett"),
    ("3: 4", "the file has the unknown key 3"),
    ("method: mamml", "method must be one of"),
    ("method: 3", "method must be a name, got 3"),
    ("method: [maml, [bomrl]]", "method must be a name, got"),
    ("method: []", "method is an empty list"),
    ("method: [maml, maml]", "method lists 'maml' twice"),
    ("tasks: probe/opposit", "no task distribution is called 'probe/opposit'"),
    ("tasks: [probe/opposite, null, null]", "tasks lists None twice"),
    ("settings: 3", "settings must hold values by name, got 3"),
    ("settings: {lamb: 1}", "settings names 'lamb', which no method has as a setting"),
    ("settings: {1: 1}", "settings names 1, which no method"),
    ("settings: {seed: 1}", "settings names seed: say under seeds"),
    ("settings: {method: maml}", "settings names method, which stands beside settings"),
    ("settings: {lam: []}", "settings: lam is an empty list"),
    ("settings: {learning_rate: [0.1, 0.1]}", "settings: learning_rate lists 0.1 twice"),
    ("settings: {learning_rate: fast}", "learning_rate must be"),
    ("settings: {learning_rate: {a: 1}}", "learning_rate must be"),
    ("settings: {hidden: [[3], [4]]}\nmethod: maml", "has no setting hidden"),
    ("method: [maml, bomrl]\nsettings: {step_size: [0.1, 0.2]}", "bomrl .*no setting step_size"),
    ("method: [maml]\nsettings: {distance: d1}", "maml .*has no setting distance"),
    ("list: {lam: 1}", "list must hold settings by name, once or more"),
    ("list: []", "list must hold settings by name, once or more"),
    ("list: [3]", "list: entry 1 must hold values by name, got 3"),
    ("list: [{method: maml}]\nmethod: maml", "list: entry 1 names method, which stands outside"),
    ("list: [{}, {iterations: 3}]\nsettings: {iterations: 2}", "entry 2 names iterations, which"),
    ("list: [{seed: 1}]", "list: entry 1 names seed"),
    ("list: [{}, {}]", "it asks twice for maml on frozen_lake"),
    ("method: maml\nlist: [{}, {data: full}]", "a setting that is the method's own is the same"),
    ("settings: {checkpoint_every: [1, 2]}", "it asks twice for"),
    ("seeds: 0", "seeds must be at least 1, got 0"),
    ("seeds: -1", "seeds must be at least 1, got -1"),
    ("seeds: 1.5", "seeds must be a whole number, got 1.5"),
    ("seeds: many", "seeds must be a whole number, got 'many'"),
    ("seeds: true", "seeds must be a whole number, got True"),
    ("seeds: []", "seeds is an empty list"),
    ("seeds: [1, 1]", "seeds lists 1 twice"),
    ("seeds: [1, -1]", "seeds must be at least 0, got -1"),
    ("seeds: [0.5]", "seeds must be a whole number, got 0.5"),
    ("seeds: 100001", "seeds must be at most 100000"),
    ("settings: {iterations: [1, 2]}\nseeds: 60000", "it asks for 120000 trainings, more than"),
    ("evaluation: 3", "evaluation must hold values by name, got 3"),
    ("evaluation: {steps: 3}", "evaluation has the unknown key 'steps'; known are num_test_tasks"),
    ("evaluation: {num_steps: -1}", "num_steps must be at least 0, got -1"),
    ("evaluation: {num_test_tasks: 0}", "num_test_tasks must be at least 1"),
    ("evaluation: {num_episodes: 0}", "num_episodes must be at least 1"),
    ("evaluation: {num_episodes: 2}", "trained on exact values, which take no episodes"),
]


@pytest.mark.parametrize(("text", "words"), BAD, ids=[text.replace("\n", ";") for text, _ in BAD])
def test_a_bad_file_is_one_clear_line_and_nothing_is_made(
    text, words, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    yaml_file(tmp_path, text)
    assert ask(monkeypatch, "sweep", "s.yaml") == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: s.yaml is no sweep that can be run: ")
    with pytest.raises(ValueError, match=words):
        read_sweep(Path("s.yaml"))
    assert [path.name for path in tmp_path.iterdir()] == ["s.yaml"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("nowhere.yaml", "nowhere.yaml does not exist"),
        (".", ". is a folder where a file is meant"),
        ("''", "what follows sweep is empty"),
        ("s.yaml --jobs 0", "jobs must be at least 1, got 0"),
        ("s.yaml --address auto", "address auto is that of a Ray cluster: add --engine ray"),
        ("s.yaml --out s.yaml", "where a folder is meant"),
        ("s.yaml --out folder", "folder/s.csv is a folder where a file is meant"),
    ],
)
def test_a_bad_command_is_one_clear_line(arguments, words, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    yaml_file(tmp_path, "seeds: 1")
    (tmp_path / "folder" / "s.csv").mkdir(parents=True)
    assert ask(monkeypatch, "sweep", *arguments.replace("''", "").split(" ")) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")
    assert words in line
    assert not (tmp_path / "runs").exists()


# -------------------------------------------------------------------- what comes out


def test_a_table_holds_what_train_and_evaluate_say(tmp_path):
    assert sweep(TWO, tmp_path / "out") == []
    rows = rows_of(tmp_path / "out" / "t.csv")
    assert list(rows[0]) == ["tasks", "method", "learning_rate", "seed", *COLUMNS]
    assert len(rows) == 4 * 2 * 2 * 2  # units, splits, priors, steps
    config = configure("bomrl", tasks="probe/opposite", learning_rate=0.1, seed=0, **SMALL)
    meta_train(config, out=tmp_path / "run")
    said = pd.DataFrame(evaluate_run(tmp_path / "run", **FEW))
    means = said.groupby(["split", "prior", "step"])[["return", "gap"]].mean()
    table = pd.read_csv(tmp_path / "out" / "t.csv")
    mine = table[(table["method"] == "bomrl") & (table["learning_rate"] == 0.1)]
    assert len(mine) == len(means) == 8
    for _, row in mine.iterrows():
        expected = means.loc[row["split"], row["prior"], row["step"]]
        assert [row["return"], row["gap"]] == pytest.approx([*expected], rel=1e-12)
    origin = json.loads((tmp_path / "out" / "t.json").read_text())
    assert origin["command"] == "c"
    assert origin["sweep"] == TWO
    assert len(origin["units"]) == 4
    assert set(origin["units"]) == {path.name for path in (tmp_path / "out" / "runs").iterdir()}


def test_steps_of_the_environment_are_counted():
    exact = configure("maml", tasks="probe/opposite")
    assert units.steps_of(exact) == 0
    small = {"num_tasks": 2, "num_episodes": 3, "iterations": 5}
    assert units.steps_of(configure("promp", horizon=7, **small)) == 5 * 2 * 3 * 7 * 2
    twice = configure("promp", horizon=7, num_steps=2, **small)
    assert units.steps_of(twice) == 5 * 2 * 3 * 7 * 3


def backwards(work, items):
    for number in reversed(range(len(items))):
        yield perform(work, number, items[number])


def phis(out):
    return {folder.name: load(folder)[1].phi for folder in sorted((out / "runs").iterdir())}


@pytest.mark.parametrize("engine", [backwards, process_engine(2)])
def test_neither_order_nor_processes_change_a_bit(engine, tmp_path):
    for name, one in (("here", in_this_process), ("there", engine)):
        assert sweep(TWO, tmp_path / name, one) == []
    here, there = tmp_path / "here", tmp_path / "there"
    assert without_seconds(here / "t.csv") == without_seconds(there / "t.csv")
    for ours, theirs in zip(phis(here).items(), phis(there).items(), strict=True):
        assert ours[0] == theirs[0]
        assert all(torch.equal(leaf, theirs[1][name]) for name, leaf in ours[1].items())


def test_finished_units_are_not_repeated_and_a_larger_sweep_goes_on(tmp_path, monkeypatch):
    worked = []

    def noting(work, items):
        worked.append(len(items))
        yield from in_this_process(work, items)

    sweep(TWO, tmp_path, noting)
    first = rows_of(tmp_path / "t.csv")
    sweep(TWO, tmp_path, noting)
    assert rows_of(tmp_path / "t.csv") == first
    sweep({**TWO, "seeds": 2}, tmp_path, noting)
    assert worked == [4, 0, 4]
    mine = [row for row in rows_of(tmp_path / "t.csv") if row["seed"] == "0"]
    assert mine == first
    monkeypatch.setattr(units, "train_once", None)  # only what is not trained trains
    sweep(TWO, tmp_path, noting)
    assert worked[-1] == 0
    monkeypatch.undo()
    sweep({**TWO, "evaluation": {**FEW, "num_steps": 2}}, tmp_path, noting)
    assert worked[-1] == 4
    attempts = [json.loads(file.read_text()) for file in tmp_path.glob("runs/*/attempts.json")]
    assert sorted(attempt[-1]["from"] for attempt in attempts) == [0, 0, 0, 0, 3, 3, 3, 3]


@pytest.mark.parametrize("text", ["", "{", "[]", '{"evaluation": 3}'])
def test_a_spoilt_unit_is_evaluated_again(text, tmp_path):
    sweep(TWO, tmp_path)
    first = without_seconds(tmp_path / "t.csv")
    next(tmp_path.glob("runs/*/unit.json")).write_text(text)
    for attempts in tmp_path.glob("runs/*/attempts.json"):
        attempts.write_text(text)
    assert sweep(TWO, tmp_path) == []
    assert without_seconds(tmp_path / "t.csv") == first


# -------------------------------------------------------------------- what goes wrong


def failing(monkeypatch, error, at=1):
    usual = units.train_once

    def train(config, **how):
        if config.method == "bomrl" and config.outer.learning_rate == 0.1:
            raise error
        return usual(config, **how)

    monkeypatch.setattr(units, "train_once", train)


@pytest.mark.parametrize(
    ("error", "status", "note"),
    [
        (FloatingPointError("it is nan: training diverged; advice"), "diverged", "it is nan"),
        (ValueError("not so"), "failed", "ValueError: not so"),
        (KeyError("x"), "failed", "KeyError: 'x'"),
        (ChildProcessError("killed 3 times"), "killed", "killed 3 times"),
    ],
)
def test_a_unit_that_is_not_done_has_a_row_and_ends_no_other(
    error, status, note, tmp_path, monkeypatch, capsys
):
    failing(monkeypatch, error)
    text = json.dumps(TWO)  # JSON is YAML
    file = yaml_file(tmp_path, text)
    arguments = ("sweep", file, "--out", tmp_path / "out")
    assert ask(monkeypatch, *arguments) == 1
    said = capsys.readouterr()
    assert "1 of 4 trainings are not done" in said.err
    assert f"learning_rate=0.1 seed=0  {status}: {note}" in said.err
    rows = rows_of(tmp_path / "out" / "s.csv")
    assert len(rows) == 3 * 8 + 1
    (bad,) = [row for row in rows if row["status"] != "done"]
    assert (bad["method"], bad["status"], bad["note"]) == ("bomrl", status, note)
    assert bad["return"] == bad["seconds"] == bad["step"] == ""
    (folder,) = [f for f in (tmp_path / "out" / "runs").iterdir() if not (f / "unit.json").exists()]
    traceback = folder / "error.txt"
    assert traceback.exists() == (status == "failed")
    if status == "failed":
        assert "in train" in traceback.read_text()
    monkeypatch.undo()
    assert ask(monkeypatch, *arguments) == 0
    assert {row["status"] for row in rows_of(tmp_path / "out" / "s.csv")} == {"done"}
    assert not traceback.exists()
    assert not list((tmp_path / "out" / "running").iterdir())


def test_two_sweeps_do_not_share_a_folder(tmp_path):
    def second(work, items):
        with pytest.raises(BlockingIOError, match="another process works in"):
            sweep(TWO, tmp_path)
        yield from in_this_process(work, items)

    assert sweep({**TWO, "method": "maml"}, tmp_path, second) == []


def test_a_folder_that_another_attempt_still_has_is_waited_for(monkeypatch):
    calls = []

    def train():
        calls.append(1)
        if len(calls) < 3:
            raise BlockingIOError("busy")
        return "trained"

    monkeypatch.setattr(units.time, "sleep", lambda seconds: None)
    assert units._when_free(train) == "trained"
    now = iter(range(0, 1000, 30))
    monkeypatch.setattr(units.time, "monotonic", lambda: next(now))
    calls.clear()
    with pytest.raises(BlockingIOError):
        units._when_free(lambda: (_ for _ in ()).throw(BlockingIOError("busy")))


GATED = """
method: lvc_maml
tasks: test/gated
settings:
  {values: episodes, iterations: 5, num_tasks: 2, num_episodes: 3, checkpoint_every: 1}
seeds: 2
evaluation: {num_test_tasks: 2, num_steps: 1}
"""


def gated_command(file, out, *more):
    words = ["--import", "gated_family", "sweep", str(file), "--out", str(out), *more]
    return [sys.executable, "-m", "bomrl_lite", *words]


def gated_environment(folder):
    path = os.pathsep.join([str(TESTS), os.environ.get("PYTHONPATH", "")])
    return {**os.environ, "GATED": str(folder), "PYTHONPATH": path}


def wait_for(condition, process=None, seconds=300):
    give_up = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < give_up
        assert process is None or process.poll() is None, process.stdout.read()
        time.sleep(0.1)


def at_the_gate(out):
    """Run folders whose training waits: two iterations are done."""
    return [h.parent for h in out.glob("runs/*/history.csv") if h.read_text().count("\n") == 3]


def notes(out):
    return [json.loads(note.read_text()) for note in out.glob("running/*.json")]


def alive(pid):
    try:
        os.kill(pid, 0)
    except OSError:
        return False
    return True


@pytest.mark.skipif(os.name == "nt", reason="needs POSIX signals")
def test_killed_and_stopped_units_go_on_and_end_with_the_same_bits(tmp_path):
    """One worker is killed, then all is stopped, then the sweep itself; no process stays."""
    file, out = yaml_file(tmp_path, GATED), tmp_path / "out"
    gate = tmp_path / "closed"
    command, how = gated_command(file, out, "--jobs", "2"), gated_environment(tmp_path)

    def start():
        gate.touch()
        return subprocess.Popen(
            command, env=how, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )

    process = start()
    wait_for(lambda: len(at_the_gate(out)) == 2, process)
    first = int(notes(out)[0]["place"].rpartition(":")[2])
    os.kill(first, signal.SIGKILL)
    wait_for(lambda: [json.loads(f.read_text()) for f in out.glob("runs/*/attempts.json")
                      if len(json.loads(f.read_text())) == 2], process)  # fmt: skip
    process.send_signal(signal.SIGINT)
    said = process.communicate(timeout=300)[0]
    assert process.returncode == 130, said
    assert "the same command goes on" in said
    assert "Traceback" not in said
    pids = [int(note["place"].rpartition(":")[2]) for note in notes(out)]
    assert not any(map(alive, pids))

    process = start()
    wait_for(lambda: len(notes(out)) == 2, process)
    pids = [int(note["place"].rpartition(":")[2]) for note in notes(out)]
    process.kill()
    process.wait()
    wait_for(lambda: not any(map(alive, pids)))
    process.communicate()  # which an orphan would hold open

    process = start()
    gate.unlink()
    said = process.communicate(timeout=300)[0]
    assert process.returncode == 0, said
    attempts = [json.loads(f.read_text()) for f in out.glob("runs/*/attempts.json")]
    assert sorted(map(len, attempts)) == [3, 4]
    assert {attempt["from"] for one in attempts for attempt in one[1:]} <= {2, 3, 4, 5}
    whole = subprocess.run(
        gated_command(file, tmp_path / "whole"), env=how, capture_output=True, text=True
    )
    assert whole.returncode == 0, whole.stderr
    assert without_seconds(out / "s.csv") == without_seconds(tmp_path / "whole" / "s.csv")
    for folder in (tmp_path / "whole" / "runs").iterdir():
        other = out / "runs" / folder.name
        assert (folder / "history.csv").read_bytes() == (other / "history.csv").read_bytes()


WITHOUT_RAY = """
import sys
sys.argv = ["bomrl_lite", *sys.argv[1:]]
for name in ("nbformat", "papermill", "matplotlib", "seaborn", "pandas", "jupytext", "optuna"):
    sys.modules[name] = None  # the packages of the lab, which no sweep needs
if "--engine" in sys.argv:
    sys.modules["ray"] = None  # as if it were not installed
from bomrl_lite import __main__ as cli
code = cli.main()
print("ray imported:", "ray" in sys.modules and sys.modules["ray"] is not None)
sys.exit(code)
"""


def test_ray_is_imported_only_when_it_is_asked_for(tmp_path):
    file = yaml_file(tmp_path, json.dumps({**TWO, "method": "maml"}))
    for more, code in (([], 0), (["--engine", "ray"], 2)):
        words = ["sweep", str(file), "--out", str(tmp_path / "out"), *more]
        done = subprocess.run(
            [sys.executable, "-c", WITHOUT_RAY, *words], capture_output=True, text=True
        )
        assert done.returncode == code, done.stderr
        assert "ray imported: False" in done.stdout
    assert 'needs it: pip install "bomrl-lite[ray]"' in done.stderr
    assert done.stderr.count("\n") == 1


# -------------------------------------------------------------------- the table of what runs


def note(folder, name, **told):
    folder.mkdir(exist_ok=True)
    (folder / f"{name}.json").write_text(json.dumps(told))


def test_the_table_shows_what_runs_where(tmp_path):
    folder = tmp_path / "running"
    note(folder, "a", unit="probe/x maml seed=0", place="node1:17", done=3, total=50)
    note(folder, "b", unit="probe/x maml seed=1", place="node2:4", done=12, total=50)
    (folder / "c.json").write_text("{")  # is being removed
    console = Console(file=io.StringIO(), width=80, record=True)
    console.print(running_table(folder, 4, 9))
    text = console.export_text()
    assert "4 of 9 units done" in text
    for words in ("probe/x maml seed=0", "node1:17", "3/50", "node2:4", "12/50"):
        assert words in text


def test_in_a_terminal_the_table_is_drawn_and_elsewhere_a_line_for_each_unit(tmp_path):
    note(tmp_path / "running", "a", unit="one", place="here:1", done=1, total=2)
    for terminal in (True, False):
        console = Console(file=io.StringIO(), force_terminal=terminal, width=80)
        with sweep_table(tmp_path / "running", 3, console) as say:
            say("first  done")
        text = console.file.getvalue()
        assert "first  done" in text
        assert ("here:1" in text) == terminal
        assert ("1/3  first  done" in text) != terminal


def test_a_dry_sweep_lists_and_does_nothing(tmp_path, monkeypatch, capsys):
    file = yaml_file(tmp_path, json.dumps(TWO))
    monkeypatch.setattr(running, "run_sweep", None)
    assert ask(monkeypatch, "sweep", file, "--dry", "--out", tmp_path / "out") == 0
    first, *lines = capsys.readouterr().out.splitlines()
    assert "4 trainings, 0 of them finished" in first
    assert lines[0] == "probe/opposite maml learning_rate=0.01 seed=0  to do"
    assert len(lines) == 4
    assert not (tmp_path / "out").exists()


def test_a_warning_of_the_library_stands_in_the_note(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(TESTS))
    monkeypatch.setenv("GATED", str(tmp_path))
    import gated_family  # noqa: F401

    content = {**yaml.safe_load(GATED), "seeds": 1}
    assert sweep(content, tmp_path / "out") == []
    assert "tuned for other tasks than test/gated" in rows_of(tmp_path / "out" / "t.csv")[0]["note"]
