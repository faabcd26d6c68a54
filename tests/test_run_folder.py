"""The run folder with a trainer of nothing: a random walk, whose plain loop is the oracle."""

import csv
import dataclasses
import io
import json
import os
import sys
import types

import pytest
import torch

from bomrl_lite.training import files, run_folder
from bomrl_lite.training.config import configure
from bomrl_lite.training.stopping import Terminated
from bomrl_lite.training.trainer import meta_train


@dataclasses.dataclass(frozen=True)
class Config:
    iterations: int = 7
    checkpoint_every: int = 3
    seed: int = 0
    layers: tuple[int, ...] = (4, 2)

    def stored(self) -> dict:
        return dataclasses.asdict(self)


class Walk:
    """``w <- 0.9 w + noise``, in place, with a wrong half-way state in every iteration."""

    def __init__(self, seed: int = 0):
        self.w = torch.zeros(3)
        self.generator = torch.Generator().manual_seed(seed)
        self.history = []
        self.half_way = lambda iteration: None

    def step(self) -> None:
        self.w.mul_(0.9)
        self.half_way(len(self.history))
        self.w.add_(torch.randn(3, generator=self.generator))
        self.history.append({"iteration": len(self.history), "norm": self.w.norm().item()})

    def describe(self) -> dict:
        return {"nets": [{"w": self.w}], "generator": self.generator.get_state(), "lr": 0.5}


def train(out, walk=None, *, iterations=7, **options) -> Walk:
    """Begin or go on, as a trainer does."""
    walk, config = walk or Walk(), Config(iterations=iterations)
    if not run_folder.is_new(out, resume=True):
        saved, state, walk.history[:] = run_folder.read_checkpoint(out)
        run_folder.check_same(saved, config.stored(), out, done=len(walk.history))
        walk.w.copy_(state["nets"][0]["w"])
        walk.generator.set_state(state["generator"])
    dials = {"columns": ("iteration", "norm"), **options}
    run_folder.run_loop(
        walk.step, config=config, state=walk.describe, history=walk.history, out=out, **dials
    )
    return walk


def plain(iterations: int) -> Walk:
    walk = Walk()
    for _ in range(iterations):
        walk.step()
    return walk


def is_kept(out, iterations: int) -> bool:
    """Say whether the folder holds exactly what a plain loop of so many iterations leaves."""
    _, state, history = run_folder.read_checkpoint(out)
    walk, rows = plain(iterations), (out / "history.csv").read_text().splitlines()
    return (
        history == walk.history
        and torch.equal(state["nets"][0]["w"], walk.w)
        and torch.equal(state["generator"], walk.generator.get_state())
        and len(rows) == iterations + 1
    )


class KilledError(Exception):
    pass


@pytest.mark.parametrize("in_place", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("kill_at", range(12))
def test_a_kill_between_any_two_files_is_resumed_bit_for_bit(
    tmp_path, monkeypatch, kill_at, in_place
):
    renames, replace = iter(range(99)), os.replace

    def fragile(draft, path):
        killed = next(renames) == kill_at
        if in_place or not killed:
            replace(draft, path)
        if killed:
            raise KilledError

    monkeypatch.setattr(files.os, "replace", fragile)
    with pytest.raises(KilledError):
        train(tmp_path)
    monkeypatch.undo()
    train(tmp_path)
    assert is_kept(tmp_path, 7)
    assert json.loads((tmp_path / "config.json").read_text())["iterations"] == 7


STOPS = [
    KeyboardInterrupt,
    ValueError,
    ZeroDivisionError,
    FloatingPointError,
    torch.linalg.LinAlgError,
    KeyError,  # of a family of the user's own
    BrokenPipeError,
    MemoryError,
    SystemExit,
]


@pytest.mark.parametrize("error", STOPS, ids=lambda error: error.__name__)
def test_a_run_stopped_inside_an_iteration_keeps_the_last_whole_one(tmp_path, error):
    """Iteration 4 stops after it has changed w; the last checkpoint was after iteration 2."""

    def stop(iteration):
        if iteration == 4:
            raise error

    walk = Walk()
    walk.half_way = stop
    with pytest.raises(error):
        train(tmp_path, walk)
    assert is_kept(tmp_path, 4)
    train(tmp_path)
    assert is_kept(tmp_path, 7)


def test_a_stop_that_another_error_hides_is_a_stop(tmp_path):
    """As torch.func's: interrupted before it has begun something, it cannot end it."""

    def stop(iteration):
        if iteration == 4:
            try:
                raise Terminated(15)
            finally:
                torch._C._functorch._vmap_decrement_nesting()

    walk = Walk()
    walk.half_way = stop
    with pytest.raises(Terminated):
        train(tmp_path, walk)
    assert is_kept(tmp_path, 4)


@pytest.mark.parametrize("error", [KeyboardInterrupt, BrokenPipeError, SystemExit, AttributeError])
def test_whatever_happens_while_progress_is_shown_loses_nothing(tmp_path, error):
    def impatient(done, total, row):
        if done == 5:
            raise error

    with pytest.raises(error):
        train(tmp_path, progress=impatient)
    assert is_kept(tmp_path, 5)


def test_ctrl_c_while_a_checkpoint_is_written_loses_nothing(tmp_path, monkeypatch):
    renames, replace = iter(range(99)), os.replace

    def interrupted(draft, path):
        if next(renames) == 4:  # config.json of the checkpoint after iteration 3
            raise KeyboardInterrupt
        replace(draft, path)

    monkeypatch.setattr(files.os, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path)
    assert is_kept(tmp_path, 3)


def test_checkpoints_come_when_they_should(tmp_path):
    kept = []
    train(tmp_path, progress=lambda *_: kept.append(len(run_folder.read_checkpoint(tmp_path)[2])))
    assert kept == [0, 0, 3, 3, 3, 6, 7]


def test_a_state_out_of_range_is_not_kept_and_named(tmp_path):
    walk = Walk()
    walk.half_way = lambda iteration: walk.w[1:2].fill_(torch.inf) if iteration == 4 else None
    with pytest.raises(FloatingPointError, match="iteration 4: the state's nets 0 w has numbers"):
        train(tmp_path, walk)
    assert is_kept(tmp_path, 4)


def test_divergence_is_told_with_the_diagnostics_that_show_it():
    row = {"iteration": 12, "return": -1.0, "norm": float("nan"), "kl": float("inf"), "free": 1e999}
    with pytest.raises(FloatingPointError) as caught:
        run_folder.require_finite(row, ("return", "norm", "kl"), "halve the step")
    message = str(caught.value)
    assert "iteration 12 gave norm = nan, kl = inf: training diverged; halve the step." in message
    assert "return" not in message
    run_folder.require_finite(row, ("return",), "halve the step")


def test_meta_training_that_diverges_keeps_its_last_good_state(tmp_path, monkeypatch):
    calls = iter(range(9))
    finite = torch.Tensor.mean

    def nan_later(tensor, *args):
        spoilt = tensor.ndim == 1 and next(calls) >= 4  # two means of returns per iteration
        return finite(tensor, *args) * (torch.nan if spoilt else 1)

    monkeypatch.setattr(torch.Tensor, "mean", nan_later)
    config = configure("maml", num_tasks=2, iterations=5)
    with pytest.raises(FloatingPointError, match="iteration 2 gave return_before = nan"):
        meta_train(config, out=tmp_path)
    monkeypatch.undo()
    assert len(run_folder.read_checkpoint(tmp_path)[2]) == 2
    resumed = meta_train(config, out=tmp_path, resume=True)
    assert resumed.history == meta_train(config).history


def test_the_history_keeps_whole_numbers_whole(tmp_path):
    rows = [{"iteration": 3, "loss": 2.0, "count": 5.0}, {"iteration": 4, "loss": 1e-9, "count": 0}]
    run_folder.save(tmp_path, config=Config(), state={}, history=rows, whole=("count",))
    text = (tmp_path / "history.csv").read_text()
    assert text == "iteration,loss,count\n3,2.0,5\n4,1e-09,0\n"
    assert run_folder.read_checkpoint(tmp_path)[2] == rows


def test_a_run_without_an_iteration_has_the_header_it_will_have(tmp_path):
    walk = Walk()
    walk.half_way = lambda iteration: 1 / 0
    with pytest.raises(ZeroDivisionError):
        train(tmp_path, walk)
    assert (tmp_path / "history.csv").read_text() == "iteration,norm\n"
    assert is_kept(tmp_path, 0)


def test_another_configuration_is_refused_by_name(tmp_path):
    there = {"iterations": 9, "checkpoint_every": 2, "seed": 0, "old": 1, "layers": (4, 2)}
    now = {"iterations": 12, "checkpoint_every": 5, "seed": 3, "new": 2, "layers": (4, 2)}
    run_folder.check_same(
        there, {**there, "iterations": 12, "checkpoint_every": 5}, tmp_path, done=9
    )
    with pytest.raises(ValueError, match="seed: 0 there, 3 now; old: 1 there, None now; new: None"):
        run_folder.check_same(there, now, tmp_path, done=9)
    with pytest.raises(ValueError, match="has done 10 iterations already, more than 9"):
        run_folder.check_same(there, there, tmp_path, done=10)
    run_folder.check_same(there, {**there, "seed": 3}, tmp_path, done=9, free=("seed",))


def test_a_configuration_survives_with_its_tuples(tmp_path):
    train(tmp_path)
    assert Config(**run_folder.read_checkpoint(tmp_path)[0]) == Config()


def torch_file(content) -> bytes:
    buffer = io.BytesIO()
    torch.save(content, buffer)
    return buffer.getvalue()


FOREIGN = [b"", b"text", b"}(X", torch_file([1, 2]), torch_file({"weights": torch.zeros(2)})]


@pytest.mark.parametrize("content", FOREIGN, ids=["empty", "text", "pickle", "list", "weights"])
def test_a_foreign_file_is_an_error_that_says_so(tmp_path, content):
    (tmp_path / "checkpoint.pt").write_bytes(content)
    with pytest.raises(ValueError, match=r"checkpoint\.pt is not a checkpoint of this course"):
        run_folder.read_checkpoint(tmp_path)


def test_the_checkpoint_of_another_trainer_is_an_error_that_says_so(tmp_path):
    train(tmp_path)
    with pytest.raises(
        ValueError, match=r"not one that this version reads .*does not know \(layers\)"
    ):
        meta_train(configure("maml", num_tasks=2), out=tmp_path, resume=True)


def test_no_checkpoint_is_an_error_with_the_command(tmp_path):
    with pytest.raises(FileNotFoundError, match="train first: python -m bomrl_lite train --out"):
        run_folder.read_checkpoint(tmp_path)


@pytest.fixture
def board(monkeypatch):
    """A stand-in for torch's writer; returns the list of all that is written."""
    events = []

    class SummaryWriter:
        def __init__(self, log_dir, purge_step):
            os.makedirs(log_dir, exist_ok=True)
            events.append(("open", log_dir, purge_step))

        def add_scalar(self, name, value, step):
            events.append((name, value, step))

        def close(self):
            events.append(("close",))

    module = types.SimpleNamespace(SummaryWriter=SummaryWriter)
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", module)
    return events


def scalars(history) -> list:
    return [(name, row[name], row["iteration"]) for row in history for name in row]


def test_tensorboard_is_given_every_row_and_only_what_is_new_when_resumed(tmp_path, board):
    log = str(tmp_path / "tensorboard")
    train(tmp_path, iterations=3, tensorboard=True)
    rows = plain(7).history
    assert board == [("open", log, 0), *scalars(rows[:3]), ("close",)]
    board.clear()
    train(tmp_path, tensorboard=True)
    assert board == [("open", log, 3), *scalars(rows[3:]), ("close",)]


def test_tensorboard_asked_for_later_is_given_the_earlier_rows_too(tmp_path, board):
    train(tmp_path, iterations=3)
    assert board == []
    train(tmp_path, tensorboard=True)
    assert board[1:-1] == scalars(plain(7).history)


def test_tensorboard_files_are_closed_when_a_run_is_stopped(tmp_path, board):
    walk = Walk()
    walk.half_way = lambda iteration: 1 / (2 - iteration)
    with pytest.raises(ZeroDivisionError):
        train(tmp_path, walk, tensorboard=True)
    assert board[1:] == [*scalars(plain(2).history), ("close",)]


def test_exact_meta_training_writes_to_tensorboard(tmp_path, board):
    history = meta_train(
        configure("maml", num_tasks=2, iterations=2), out=tmp_path, tensorboard=True
    )
    rows = list(csv.DictReader((tmp_path / "history.csv").read_text().splitlines()))
    assert len(history.history) == len(rows) == 2
    written = [(name, value, step) for name, value, step in board[1:-1]]
    assert written == [
        (name, float(value), i) for i, row in enumerate(rows) for name, value in row.items()
    ]


def test_a_missing_tensorboard_is_told_before_anything_is_done(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboard", None)  # as if it were not installed
    monkeypatch.delitem(sys.modules, "torch.utils.tensorboard", raising=False)
    out = tmp_path / "run"
    with pytest.raises(ModuleNotFoundError, match="pip install tensorboard"):
        meta_train(configure("maml", num_tasks=2), out=out, tensorboard=True)
    with pytest.raises(ModuleNotFoundError, match="pip install tensorboard"):
        train(out, tensorboard=True)
    assert not out.exists()
    with pytest.raises(ValueError, match="name a folder"):
        meta_train(configure("maml", num_tasks=2), tensorboard=True)
