"""Signals, locks and drafts: a run is stopped once, written by one process, and loses nothing."""

import errno
import json
import os
import signal
import subprocess
import sys
import threading
import time

import pytest
import torch

import bomrl_lite as bl
from bomrl_lite.training import files, run_folder
from bomrl_lite.training.files import write_atomically
from bomrl_lite.training.folder_guard import locked
from bomrl_lite.training.stopping import Terminated, stopping_once, terminated_like_ctrl_c
from bomrl_lite.training.trainer import load, meta_train

pytestmark = pytest.mark.skipif(os.name == "nt", reason="needs POSIX signals")
SMALL = bl.configure("maml", tasks="probe/random-5x3", num_tasks=2, iterations=6)


@pytest.fixture(autouse=True)
def usual_handlers():
    """Those of a process that a terminal started."""
    usual = {
        signal.SIGINT: signal.default_int_handler,
        signal.SIGTERM: signal.SIG_DFL,
        signal.SIGHUP: signal.SIG_DFL,
    }
    before = {number: signal.signal(number, handler) for number, handler in usual.items()}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def send(number: int) -> None:
    os.kill(os.getpid(), number)


def test_only_the_first_signal_counts():
    said = []

    def stopped_twice():
        with stopping_once():
            try:
                send(signal.SIGINT)
            finally:
                send(signal.SIGINT)
                said.append("saved")

    with pytest.raises(KeyboardInterrupt):
        stopped_twice()
    assert said == ["saved"]


def test_a_signal_waits_until_files_are_written_and_then_stops():
    said = []

    def stopped_while_writing():
        with stopping_once() as stop:
            with stop.held():
                send(signal.SIGINT)
                send(signal.SIGINT)
                said.append("written")
            said.append("went on")

    with pytest.raises(KeyboardInterrupt):
        stopped_while_writing()
    assert said == ["written"]


def test_handlers_are_given_back_and_a_thread_has_none():
    before = signal.getsignal(signal.SIGINT)
    with stopping_once(), terminated_like_ctrl_c():
        assert signal.getsignal(signal.SIGINT) != before
    assert signal.getsignal(signal.SIGINT) is before
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    trained = []
    thread = threading.Thread(target=lambda: trained.append(meta_train(SMALL).iteration))
    thread.start()
    thread.join()
    assert trained == [6]


@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP"])
def test_a_clusters_notice_raises_as_ctrl_c_does_unless_it_is_ignored(name):
    number = getattr(signal, name)
    with pytest.raises(Terminated) as caught, terminated_like_ctrl_c():
        send(number)
    assert caught.value.args == (number,)
    signal.signal(number, signal.SIG_IGN)
    try:
        with terminated_like_ctrl_c():
            send(number)
    finally:
        signal.signal(number, signal.SIG_DFL)


def test_a_second_ctrl_c_does_not_spoil_what_the_first_one_saves(tmp_path, monkeypatch):
    def impatient(done, total, row):
        if done == 4:
            send(signal.SIGINT)

    replaced = []

    def slow(draft, path, replace=os.replace):
        if len(replaced) >= 4:  # origin and start are written; these are the files of the stop
            send(signal.SIGINT)
        replaced.append(path)
        replace(draft, path)

    monkeypatch.setattr(files.os, "replace", slow)
    config = SMALL.replace(checkpoint_every=50)
    with pytest.raises(KeyboardInterrupt):
        meta_train(config, out=tmp_path / "run", progress=impatient)
    monkeypatch.undo()
    assert load(tmp_path / "run")[1].iteration == 4
    assert not list((tmp_path / "run").glob(".*.tmp"))
    whole = meta_train(config)
    assert meta_train(config, out=tmp_path / "run", resume=True).history == whole.history


def as_from_a_terminal() -> None:
    """Ignored signals are inherited: a shell's background jobs and nohup ignore some."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


def start(out, *more: str) -> subprocess.Popen:
    """Begin a training of thousands of iterations, and wait for its first."""
    command = [sys.executable, "-m", "bomrl_lite", "train", "--tasks", "probe/random-5x3"]
    command += ["--num-tasks", "2", "--iterations", "100000", "--checkpoint-every", "100000"]
    child = subprocess.Popen(
        [*command, "--out", str(out), *more],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        preexec_fn=as_from_a_terminal,
    )
    while not (out / "history.csv").exists():
        assert child.poll() is None, child.communicate()
        time.sleep(0.05)
    time.sleep(1.0)
    return child


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_train_keeps_its_last_iteration_when_it_is_asked_to_end(tmp_path, name):
    child = start(tmp_path / "run")
    child.send_signal(getattr(signal, name))
    _, error = child.communicate()
    assert child.returncode == 128 + getattr(signal, name)
    assert error == b""
    assert load(tmp_path / "run")[1].iteration > 0


def test_a_second_writer_is_refused_and_a_dead_one_is_no_hindrance(tmp_path):
    child = start(tmp_path / "run")
    second = SMALL.replace(iterations=100000)
    with pytest.raises(BlockingIOError, match=r"another process works in .*run at this moment"):
        meta_train(second, out=tmp_path / "run", resume=True)
    child.kill()
    child.communicate()
    (tmp_path / "run" / ".history.csv.7-draft.tmp").write_text("half")  # as a kill leaves one
    with locked(tmp_path / "run"):
        assert not list((tmp_path / "run").glob(".*.tmp"))


def test_two_threads_do_not_share_a_folder_either(tmp_path):
    with locked(tmp_path), pytest.raises(BlockingIOError):
        meta_train(SMALL, out=tmp_path)


def test_ctrl_c_during_the_imports_is_quiet(tmp_path):
    """A module that is imported first stops time where torch would be read."""
    (tmp_path / "slow.py").write_text(
        "import builtins, sys, time\nusual = builtins.__import__\n"
        "def slowly(name, *rest):\n    if name.startswith('torch'):\n"
        "        print('now', flush=True)\n        time.sleep(30)\n"
        "    return usual(name, *rest)\nbuiltins.__import__ = slowly\n"
    )
    (tmp_path / "sitecustomize.py").write_text("import slow\n")
    path = os.pathsep.join([str(tmp_path), *sys.path])
    child = subprocess.Popen(
        [sys.executable, "-m", "bomrl_lite", "methods"],
        env={**os.environ, "PYTHONPATH": path},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        preexec_fn=as_from_a_terminal,
    )
    assert child.stdout.readline() == b"now\n"
    child.send_signal(signal.SIGINT)
    _, error = child.communicate(timeout=20)
    assert child.returncode == -signal.SIGINT
    assert error == b""


def test_a_full_disk_names_the_file_and_leaves_the_old_one(tmp_path, monkeypatch):
    write_atomically(tmp_path / "x", b"old")

    def full(descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(files.os, "fsync", full)
    with pytest.raises(OSError, match=r"No space left on device: '.*/x'"):
        write_atomically(tmp_path / "x", b"new")
    assert (tmp_path / "x").read_bytes() == b"old"
    assert [path.name for path in tmp_path.iterdir()] == ["x"]


def test_a_disk_that_fills_up_during_training_costs_no_iteration_that_was_kept(
    tmp_path, monkeypatch
):
    config, sync, synced = SMALL.replace(checkpoint_every=2), os.fsync, []

    def full_later(descriptor):
        synced.append(descriptor)
        if len(synced) > 5:
            raise OSError(errno.ENOSPC, "No space left on device")
        sync(descriptor)

    monkeypatch.setattr(files.os, "fsync", full_later)
    with pytest.raises(OSError, match="No space left"):
        meta_train(config, out=tmp_path / "run")
    monkeypatch.undo()
    resumed = meta_train(config, out=tmp_path / "run", resume=True)
    assert resumed.history == meta_train(config).history


def test_a_run_says_what_it_ran_under_and_when_that_changed(tmp_path):
    meta_train(SMALL.replace(iterations=2), out=tmp_path / "run")
    path = tmp_path / "run" / "origin.json"
    (first,) = json.loads(path.read_text())
    assert first["threads"] == torch.get_num_threads()
    assert first["torch"] == torch.__version__
    path.write_text(json.dumps([{**first, "torch": "1.0", "threads": 77}]))
    with pytest.warns(UserWarning, match=r"other conditions \(torch 1.0 -> [^,]*\)"):
        meta_train(SMALL.replace(iterations=3), out=tmp_path / "run", resume=True)
    before, now = json.loads(path.read_text())
    assert (before["threads"], now["threads"]) == (77, torch.get_num_threads())
    path.write_text(json.dumps([{**first, "threads": 77}]))
    meta_train(SMALL, out=tmp_path / "run", resume=True)  # of threads no bit depends: no warning
    assert len(json.loads(path.read_text())) == 2
    path.write_text("spoiled")
    meta_train(SMALL, out=tmp_path / "run", resume=True)


def test_a_run_that_never_began_is_begun_anew_with_another_configuration(tmp_path):
    run_folder.save(
        tmp_path, config=SMALL, state={"phi": {}, "kl_penalty": 0.0}, history=[], columns=("a",)
    )
    assert meta_train(SMALL.replace(seed=3), out=tmp_path).history


@pytest.mark.parametrize(
    ("out", "words"),
    [("", "out must be a path"), (".", "the current one")],
)
def test_a_run_folder_must_be_one(out, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=words):
        meta_train(SMALL, out=out)
    assert not list(tmp_path.iterdir())


def test_paths_may_be_text(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    state = meta_train(SMALL, out="runs/x")
    assert load("runs/x")[1].history == state.history
    bl.save_policy(SMALL, state, "p.pt")
    assert torch.equal(bl.load_policy("p.pt").phi["logits"], state.phi["logits"])


def test_a_file_is_no_run_folder(tmp_path):
    (tmp_path / "x").write_text("mine")
    with pytest.raises(NotADirectoryError, match="x is a file"):
        meta_train(SMALL, out=tmp_path / "x")
    assert (tmp_path / "x").read_text() == "mine"
