"""Several processes share the tasks of each iteration: real jobs of torchrun.

What they give is held to what one process gives; and one that ends, ends all.
"""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import torch
from processes import EVEN, EXACT, KILLED, episodes

import bomrl_lite as bl
from bomrl_lite.policies.draws import Shard, drawn, drawn_numbers
from bomrl_lite.training.group import Group
from bomrl_lite.training.problem import make_problem
from bomrl_lite.training.trainer import load, meta_step, meta_train, start_state

HERE = Path(__file__).parent
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]

pytestmark = pytest.mark.skipif(os.name == "nt", reason="asks for POSIX signals")


@contextlib.contextmanager
def torchrun(*arguments: object, words: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A job of two processes, whose words go to a file; it is ended if a test fails."""
    path = os.pathsep.join([str(HERE), str(HERE.parent), os.environ.get("PYTHONPATH", "")])
    environment = os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
    command = [*TORCHRUN, *map(str, arguments)]
    with words.open("wb") as file:
        process = subprocess.Popen(command, stdout=file, stderr=file, env=environment)
    try:
        yield process
    finally:
        if process.poll() is None:
            process.terminate()
            process.wait(60)


# ------------------------------------------------------------------ the same numbers


@pytest.fixture(scope="module")
def job(tmp_path_factory):
    """The folder of a job of ``processes.py``, and what each of its two processes left."""
    folder = tmp_path_factory.mktemp("job")
    meta_train(bl.configure("maml", **EXACT).replace(iterations=2), out=folder / "one")
    with torchrun(HERE / "processes.py", folder, words=folder / "words") as process:
        assert process.wait(240) == 0, (folder / "words").read_text()
    return folder, [torch.load(folder / f"rank{rank}.pt") for rank in range(2)]


TOLERANCE = {"curvature": 5e-2}
"""Beside 1e-5: conjugate gradients meet other directions, once little but rounding is left."""


def differing(now: dict, then: dict) -> list[str]:
    """Name what differs by more than 1e-5 in what two trainings left."""
    wrong = [
        f"{row['iteration']:g} {name}: {row[name]} {other[name]}"
        for row, other in zip(now["history"], then["history"], strict=True)
        for name, tolerance in ((name, TOLERANCE.get(name, 1e-5)) for name in row)
        if row[name] != pytest.approx(other[name], rel=tolerance, abs=tolerance, nan_ok=True)
    ]
    tensors = [(name, leaf, then["phi"][name]) for name, leaf in now["phi"].items()]
    tensors += [("moments", *pair) for pair in zip(now["moments"], then["moments"], strict=True)]
    wrong += [n for n, a, b in tensors if not torch.allclose(a, b, rtol=1e-5, atol=1e-5)]
    if now["penalty"] != then["penalty"] or not torch.equal(now["generator"], then["generator"]):
        wrong.append("penalty or generator")
    return wrong


def test_two_processes_give_what_one_gives_by_every_method(job):
    first, second = job[1]
    together, alone = first["runs"], first["alone"] | second["alone"]
    values = {f"{method} {values}" for method, row in bl.METHODS.items() for values in row.values}
    assert values < together.keys() == alone.keys()
    found = {name: differing(together[name], alone[name]) for name in together}
    assert {name: wrong for name, wrong in found.items() if wrong} == {}
    assert {row["unsolved"] for row in together["some unsolved"]["history"]} >= {1.0}


def same(a, b) -> bool:
    """Bit by bit; nan equals nan."""
    if isinstance(a, torch.Tensor):
        return torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[name], b[name]) for name in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(same, a, b))
    return a == b or (a != a and b != b)


def test_all_processes_end_with_the_same_bits(job):
    first, second = job[1]
    assert same(first["runs"], second["runs"])


def test_a_run_of_two_processes_goes_on_bit_for_bit(job):
    first, _ = job[1]
    whole = first["runs"]["promp episodes"]
    assert len(whole["history"]) == 3
    assert same(first["resumed"], whole | {"shown": [3]})


def test_the_first_process_alone_writes_and_shows_progress(job):
    folder, (first, second) = job
    assert (first["resumed"]["shown"], second["resumed"]["shown"]) == ([3], [])
    assert (folder / "resumed0" / "checkpoint.pt").exists()
    assert not (folder / "resumed1").exists()
    assert load(folder / "resumed0")[1].processes == 2


ENDS = {
    "few tasks": "ValueError: 2 processes cannot share 1 tasks",
    "small batches": "ValueError: 2 processes cannot share 1 tasks",
    "other seeds": "ValueError: the 2 processes must agree, but have seed = 0, 1",
    "own draws": "ValueError: Noisy is a simulator of your own",
    "one unsolved": "UnsolvedInnerProblem: ",
    "none solved": "ArithmeticError: none of the 3 inner problems is solved",
}


@pytest.mark.parametrize(("name", "said"), ENDS.items())
def test_all_processes_end_of_one_reason(job, name, said):
    assert [left["errors"][name].startswith(said) for left in job[1]] == [True, True]
    assert len({left["errors"][name] for left in job[1]}) == 1


def test_what_is_refused_makes_no_folder(job):
    assert not (job[0] / "few").exists()
    assert not (job[0] / "seeds").exists()


def test_another_number_of_processes_does_not_go_on(job):
    folder, (first, second) = job
    said = "1 processes, and now there are 2, which would round differently; go on with 1 "
    assert said in first["errors"]["one process"]
    assert second["errors"]["one process"].startswith("PeerLost: process 0 could not begin")
    assert load(folder / "one")[1].iteration == 2
    before = {path: path.read_bytes() for path in (folder / "resumed0").iterdir()}
    config, _ = load(folder / "resumed0")
    with pytest.raises(ValueError, match="among 2 processes, and now there are 1"):
        meta_train(config, out=folder / "resumed0", resume=True)
    assert before == {path: path.read_bytes() for path in (folder / "resumed0").iterdir()}


# ------------------------------------------------------------------ without a job


@pytest.mark.parametrize("size", [2, 3, 5])
def test_shares_are_all_tasks_once_and_differ_by_at_most_one(size):
    for num_tasks in range(size, 12):
        shards = [Group(rank, size).shard(num_tasks) for rank in range(size)]
        taken = [n for s in shards for n in range(num_tasks)[s.rows(s.own)]]
        assert taken == list(range(num_tasks))
        assert max(s.own for s in shards) - min(s.own for s in shards) <= 1


def sharded(shard: Shard, seed: int) -> torch.Generator:
    group = {(0, 1, 3): Group(0, 2), (1, 2, 3): Group(1, 2)}[tuple(shard)]
    return group.generator(torch.Generator().manual_seed(seed), shard.whole)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("shape", [(1,), (2,), (4, 3), (5, 2, 7)])  # under 16 numbers and above
@pytest.mark.parametrize("draw", [torch.rand, torch.randn])
def test_shares_of_what_is_drawn_are_what_one_process_draws(draw, shape, dtype):
    """Twice in a row: the generators stay in step."""
    whole, rows = torch.Generator().manual_seed(1), shape[0]
    shards = [Group(rank, 2).shard(3) for rank in range(2)]
    parts = [sharded(shard, 1) for shard in shards]
    for _ in range(2):
        expected = draw((3 * rows, *shape[1:]), generator=whole, dtype=dtype)
        got = [
            drawn(draw, (s.own * rows, *shape[1:]), g, dtype=dtype)
            for s, g in zip(shards, parts, strict=True)
        ]
        assert torch.equal(torch.cat(got), expected)
    assert all(torch.equal(g.get_state(), whole.get_state()) for g in parts)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_shares_of_numbered_actions_are_what_one_process_draws(dtype):
    probs = torch.rand(3 * 5, 4, dtype=dtype, generator=torch.Generator().manual_seed(0))
    whole = torch.Generator().manual_seed(1)
    shards = [Group(rank, 2).shard(3) for rank in range(2)]
    parts = [sharded(shard, 1) for shard in shards]
    for _ in range(2):
        got = [
            drawn_numbers(probs[s.rows(5 * s.own)], g) for s, g in zip(shards, parts, strict=True)
        ]
        assert torch.equal(torch.cat(got), drawn_numbers(probs, whole))


ROBOTS = {**EVEN, "tasks": "cheetah/direction"}
TALK = [("lvc_maml", {}, 6, 1), ("bomrl_head", ROBOTS, 16, 5), ("promp", ROBOTS, 21, 10)]


@pytest.mark.parametrize(("method", "settings", "reduces", "long"), TALK)
def test_an_iteration_has_as_many_all_reduces_as_the_page_says(
    method, settings, reduces, long, monkeypatch
):
    """docs/scale.md: S + 5, S + 5 + 2 E and S + 5 + 3 E, with S = 1 and E = 5 on robots."""
    sizes = []

    def add(group, flat):
        sizes.append(flat.numel())
        flat.mul_(2)  # another process with the same numbers

    monkeypatch.setattr(Group, "_add", add)
    monkeypatch.setattr(Group, "catch_up", lambda *_, steps: sizes.append(2))
    problem = make_problem(episodes(method, diagnose_every=100, **settings), Group(0, 2))
    state = start_state(problem)
    for _ in range(2):  # the first iteration measures what is costly
        sizes.clear()
        meta_step(state, problem)
    size_of_phi = sum(leaf.numel() for leaf in state.phi.values())
    assert (len(sizes), sizes.count(size_of_phi)) == (reduces, long)


# ------------------------------------------------------------------ one that ends, ends all


def wait_for(reached, process: subprocess.Popen[bytes], words: Path) -> None:
    deadline = time.monotonic() + 120
    while not reached():
        assert process.poll() is None, words.read_text()
        assert time.monotonic() < deadline, words.read_text()
        time.sleep(0.05)


def ranks_of(process: subprocess.Popen[bytes]) -> list[psutil.Process]:
    found = psutil.Process(process.pid).children()
    return sorted(found, key=lambda rank: int(rank.environ()["RANK"]))


END = {"a process": (1, "SIGKILL"), "Ctrl-C": (None, "SIGINT"), "torchrun": (None, "SIGKILL")}


@pytest.mark.skipif(sys.platform != "linux", reason="asks Linux who is whose parent")
@pytest.mark.parametrize(("rank", "name"), END.values(), ids=END)
def test_a_job_ends_whole_and_keeps_its_last_iteration(job, tmp_path, rank, name):
    """No checkpoint falls due: what the folder holds was kept at the end, bit for bit."""
    words, out = tmp_path / "words", tmp_path / "run"
    config = bl.configure("lvc_maml", **KILLED, iterations=1000, checkpoint_every=1000000)
    (tmp_path / "config.json").write_text(json.dumps(config.stored()))
    train = ["-m", "bomrl_lite", "train", "--config", tmp_path / "config.json", "--out", out]
    with torchrun(*train, words=words) as process:
        wait_for(lambda: b" 100/1000 " in words.read_bytes(), process, words)
        ranks = ranks_of(process)
        begun = time.monotonic()
        victim = process.pid if rank is None else ranks[rank].pid
        os.kill(victim, getattr(signal, name))
        assert process.wait(60) != 0
    _, left = psutil.wait_procs(ranks, timeout=60)
    for orphan in left:
        orphan.kill()
    assert not left
    assert time.monotonic() - begun < 60
    state = load(out)[1]
    assert 100 <= state.iteration < 1000
    assert len((out / "history.csv").read_text().splitlines()) == state.iteration + 1
    assert same(state.history[:3], job[1][0]["runs"]["killed"]["history"])
    said = words.read_text()
    assert len(re.findall("what was written stays", said)) == 1
    assert len(re.findall("100/1000 ", said)) == 1


FALLING = """
import dataclasses, os
import bomrl_lite as bl
from bomrl_lite.tasks.navigation import FAMILIES, PointSimulator, dense_reward

class Falling(PointSimulator):
    sharded = True
    resets = 0

    def reset(self, generator):
        Falling.resets += 1
        if Falling.resets == 5 and os.environ["RANK"] == "1":
            raise FloatingPointError("a point fell off the plane")
        return super().reset(generator)

circle = FAMILIES["navigation/circle"]
simulator = lambda *given: Falling(*given, dense_reward)
bl.register_tasks(dataclasses.replace(circle, name="mine/falling", simulator=simulator))
"""


def test_the_first_process_says_why_another_ended(tmp_path):
    """It fails in its third iteration; two are kept."""
    (tmp_path / "falling.py").write_text(FALLING)
    words, out = tmp_path / "words", tmp_path / "run"
    (tmp_path / "start.py").write_text(
        f"import sys, runpy\nsys.path.insert(0, {str(tmp_path)!r})\n"
        "runpy.run_module('bomrl_lite', run_name='__main__')\n"
    )
    settings = "--tasks mine/falling --num-tasks 3 --num-episodes 4 --iterations 5 --import falling"
    train = ["train", *settings.split(), "--out", out]
    with torchrun(tmp_path / "start.py", *train, words=words) as process:
        assert process.wait(120) != 0
    said = re.findall("(?m)^error: (.*)$", words.read_text())
    assert said == ["process 1 ended: a point fell off the plane"]
    assert len((out / "history.csv").read_text().splitlines()) == 3
