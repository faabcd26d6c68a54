import dataclasses
import io
import json
import os
import pickle
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import random_logits, solve_task
from torch.func import grad

from bomrl_lite.adaptation import meta_gradients
from bomrl_lite.solvers.implicit import UnsolvedInnerProblem
from bomrl_lite.training import files
from bomrl_lite.training.config import configure
from bomrl_lite.training.problem import make_problem
from bomrl_lite.training.trainer import load, meta_step, meta_train, start_state
from bomrl_lite.types import TabularTask

SMALL = configure("maml", num_tasks=4, batch_tasks=2, iterations=9, checkpoint_every=2)


def same(a, b) -> bool:
    return a.history == b.history and all(torch.equal(a.phi[k], b.phi[k]) for k in a.phi)


def test_the_same_seed_gives_bit_identical_history_and_parameters():
    first, second = meta_train(SMALL), meta_train(SMALL)
    assert same(first, second)
    assert not same(first, meta_train(SMALL.replace(seed=1)))


def test_training_raises_the_return_after_adaptation():
    history = meta_train(SMALL.replace(iterations=60)).history
    assert history[-1]["return_after"] > history[0]["return_after"] + 0.5
    assert [row["iteration"] for row in history] == list(range(60))


@pytest.mark.parametrize("method", ["maml", "first_order_maml", "joint_finetuned", "bomrl"])
def test_a_resumed_run_equals_an_uninterrupted_one(tmp_path, method):
    config = SMALL.replace(method=method)
    meta_train(config.replace(iterations=5), out=tmp_path)
    resumed = meta_train(config, out=tmp_path, resume=True)
    assert same(resumed, meta_train(config))
    assert same(load(tmp_path)[1], resumed)


@pytest.mark.parametrize("in_place", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("crash_at", range(18))
def test_a_crash_between_any_two_file_operations_loses_nothing(
    tmp_path, monkeypatch, crash_at, in_place
):
    """Stop the run at its n-th rename, before or after the file is in place; then resume."""

    class CrashError(Exception):
        pass

    renames = 0
    real_replace = os.replace

    def fragile_replace(draft, path):
        nonlocal renames
        renames += 1
        if renames - 1 == crash_at:
            if in_place:
                real_replace(draft, path)
            raise CrashError

        real_replace(draft, path)

    monkeypatch.setattr(files.os, "replace", fragile_replace)
    with pytest.raises(CrashError):
        meta_train(SMALL, out=tmp_path)
    monkeypatch.undo()
    assert same(meta_train(SMALL, out=tmp_path, resume=True), meta_train(SMALL))
    text = (tmp_path / "history.csv").read_text()
    assert text.count("\n") == 10


def test_a_killed_process_is_continued_bit_for_bit(tmp_path):
    """SIGKILL twice at random moments of a run that saves after every iteration."""
    dials = ["--num-tasks", "4", "--iterations", "400", "--checkpoint-every", "1"]
    command = [
        sys.executable,
        "-m",
        "bomrl_lite",
        "train",
        *dials,
        "--out",
        str(tmp_path),
        "--resume",
    ]
    moment = random.Random(0)
    for _ in range(2):
        before = _progress(tmp_path)
        child = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        while child.poll() is None and _progress(tmp_path) < before + 3:
            time.sleep(0.02)
        time.sleep(moment.uniform(0, 0.1))
        child.send_signal(signal.SIGKILL)
        child.wait()
    assert 0 < _progress(tmp_path) < 400, "the run was over before it could be killed"
    config = configure("maml", num_tasks=4, iterations=400, checkpoint_every=100)
    resumed = meta_train(config, out=tmp_path, resume=True)
    assert same(resumed, meta_train(config))


def _progress(out: Path) -> int:
    path = out / "history.csv"
    return path.read_text().count("\n") if path.exists() else 0


def test_a_run_folder_is_readable_without_the_package(tmp_path):
    state = meta_train(SMALL, out=tmp_path)
    assert json.loads((tmp_path / "config.json").read_text()) == SMALL.stored()
    header, *rows = (tmp_path / "history.csv").read_text().splitlines()
    assert header == (
        "iteration,return_before,return_after,gradient_norm,stationarity,residual,unsolved"
    )
    assert [float(row.split(",")[2]) for row in rows] == [r["return_after"] for r in state.history]


def test_training_longer_is_resuming_with_more_iterations(tmp_path):
    meta_train(SMALL, out=tmp_path)
    longer = SMALL.replace(iterations=15)
    assert same(meta_train(longer, out=tmp_path, resume=True), meta_train(longer))


def test_an_existing_run_is_not_overwritten(tmp_path):
    meta_train(SMALL, out=tmp_path)
    before = (tmp_path / "checkpoint.pt").read_bytes()
    with pytest.raises(FileExistsError, match="--resume"):
        meta_train(SMALL, out=tmp_path)
    with pytest.raises(ValueError, match="seed: 0 there, 5 now"):
        meta_train(SMALL.replace(seed=5), out=tmp_path, resume=True)
    with pytest.raises(ValueError, match="has done 9 iterations already, more than 5"):
        meta_train(SMALL.replace(iterations=5), out=tmp_path, resume=True)
    assert (tmp_path / "checkpoint.pt").read_bytes() == before


class Touch:
    """Unpickling this would make a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (Path(self.path),)


def test_loading_a_checkpoint_executes_no_code(tmp_path):
    trace = tmp_path / "executed"
    for payload in (pickle.dumps(Touch(trace), protocol=2), _as_checkpoint(Touch(trace), tmp_path)):
        (tmp_path / "checkpoint.pt").write_bytes(payload)
        with pytest.raises(ValueError, match="not a checkpoint of this course"):
            load(tmp_path)
        assert not trace.exists()


def _as_checkpoint(content, folder: Path) -> bytes:
    torch.save({"phi": content}, folder / "evil.pt")
    return (folder / "evil.pt").read_bytes()


def _tensor_file() -> bytes:
    buffer = io.BytesIO()
    torch.save(torch.zeros(3), buffer)
    return buffer.getvalue()


@pytest.mark.parametrize(
    "content", [b"", b"not a checkpoint", b"PK\x03\x04 broken", _tensor_file()]
)
def test_a_broken_checkpoint_is_an_error_that_says_so(tmp_path, content):
    (tmp_path / "checkpoint.pt").write_bytes(content)
    with pytest.raises(ValueError, match="not a checkpoint of this course"):
        load(tmp_path)


def test_a_step_out_of_range_stops_before_it_spoils_anything(tmp_path):
    config = SMALL.replace(method="joint_finetuned")
    problem = make_problem(config)
    state = start_state(problem)
    meta_train(config.replace(iterations=1), out=tmp_path)
    state.phi["logits"][0, 0] = torch.nan
    with pytest.raises(FloatingPointError, match="smaller step_size or learning_rate"):
        meta_step(state, problem)
    assert state.history == []
    assert torch.isfinite(load(tmp_path)[1].phi["logits"]).all()


BILEVEL = configure("bomrl", tasks="probe/opposite", num_tasks=3, iterations=6, lam=0.5)


def test_a_meta_gradient_that_teaches_nothing_is_told():
    """One step of 1e30 makes every policy sure of an action, and its gradient 0."""
    ask = {"tasks": "probe/random-5x3", "num_tasks": 2, "iterations": 1}
    with pytest.warns(UserWarning, match=r"phi stays as it is: .* use a smaller step_size"):
        meta_train(configure("maml", step_size=1e30, **ask))
    opposite = configure("maml", tasks="probe/opposite", num_tasks=2, iterations=1)
    assert meta_train(opposite).history[0]["gradient_norm"] < 1e-12  # each task's cancels: silent


@pytest.mark.parametrize("distance", ["d1", "d2", "d3"])
def test_bomrl_trains_with_every_distance(distance):
    config = configure("bomrl", distance=distance, num_tasks=3, iterations=8, learning_rate=0.3)
    history = meta_train(config).history
    returns = [row["return_after"] for row in history]
    assert returns[-1] > returns[0] + 0.1
    assert all(row["return_after"] > row["return_before"] for row in history)
    assert all(row["stationarity"] < 1e-6 and row["residual"] < 1e-6 for row in history)
    assert all(row["unsolved"] == 0 for row in history)


@pytest.mark.parametrize(
    "dials",
    [{"method": "bomrl_trust_region", "delta": 0.05}, {"method": "first_order_bomrl", "lam": 0.5}],
    ids=lambda dials: dials["method"],
)
def test_the_other_bilevel_methods_train(dials):
    config = configure(num_tasks=3, iterations=8, learning_rate=0.1, **dials)
    history = meta_train(config).history
    assert history[-1]["return_after"] > history[0]["return_after"] + 0.1
    assert all(row["unsolved"] == 0 for row in history)
    assert all(row["stationarity"] < 1e-6 for row in history)


def test_an_unsolved_inner_problem_stops_and_leaves_phi_untouched():
    """So large a region that every policy may become deterministic: there is no best theta."""
    config = configure("bomrl_trust_region", delta=50.0, num_tasks=2, iterations=1)
    problem = make_problem(config)
    state = start_state(problem)
    before = state.phi["logits"].clone()
    with pytest.raises(UnsolvedInnerProblem, match="2 of 2 inner problems are not solved"):
        meta_step(state, problem)
    assert torch.equal(state.phi["logits"], before)
    assert state.history == []
    with pytest.raises(UnsolvedInnerProblem):
        meta_train(config)


def test_an_unsolved_inner_problem_is_refused_by_the_meta_gradient_itself():
    problem = make_problem(configure("bomrl_trust_region", delta=50.0, num_tasks=2))
    task = TabularTask(*(field[0] for field in problem.training_tasks))
    with pytest.raises(UnsolvedInnerProblem, match="1 of 1 inner problems are not solved"):
        problem.meta_gradient(start_state(problem).phi, task)


def test_a_problem_does_not_change_once_it_is_made():
    problem = make_problem(SMALL)
    with pytest.raises(dataclasses.FrozenInstanceError):
        problem.policy = None


@pytest.mark.parametrize(("batch_tasks", "count"), [(None, 4), (2, 2)])
def test_an_iteration_has_as_many_tasks_as_its_problem_says(batch_tasks, count, generator):
    problem = make_problem(SMALL.replace(batch_tasks=batch_tasks))
    assert problem.num_tasks == len(problem.draw(generator).reward) == count


def test_one_unsolved_problem_among_solved_ones_stops_too():
    problem = make_problem(BILEVEL.replace(num_tasks=2))
    lenient = make_problem(BILEVEL.replace(num_tasks=2, unsolved="approximate"))
    state = start_state(problem)

    def half_solved(phi, task):
        direction, info = problem.meta_gradient(phi, task)
        residual = torch.where(task.reward[0, 0] > 0, 1e-3, 0.0)
        return direction, info._replace(inner=info.inner._replace(residual=residual))

    with pytest.raises(UnsolvedInnerProblem, match="1 of 2"):
        meta_step(state, dataclasses.replace(problem, meta_gradient=half_solved))
    lenient = dataclasses.replace(lenient, meta_gradient=half_solved)
    assert meta_step(state, lenient)["unsolved"] == 1
    assert state.history[0]["residual"] == pytest.approx(1e-3)


def test_an_approximate_run_goes_on_and_marks_its_history(tmp_path, monkeypatch):
    """A method whose linear systems are never solved; it must be told that this is accepted."""
    bomrl = meta_gradients.bomrl

    def rough(phi, task, *, policy, gamma, distance, lam, data, tolerance):
        assert tolerance == float("inf")
        direction, info = bomrl(
            phi, task, policy=policy, gamma=gamma, distance=distance, lam=lam, data=data
        )
        worse = info.inner._replace(residual=info.inner.residual + 0.01)
        return direction, info._replace(inner=worse)

    monkeypatch.setattr(meta_gradients, "bomrl", rough)
    config = BILEVEL.replace(unsolved="approximate", iterations=2)
    state = meta_train(config, out=tmp_path)
    assert [row["unsolved"] for row in state.history] == [3.0, 3.0]
    rows = (tmp_path / "history.csv").read_text().splitlines()
    assert [row.split(",")[-1] for row in rows] == ["unsolved", "3", "3"]
    assert all(torch.isfinite(leaf).all() for leaf in state.phi.values())


def test_every_dial_survives_the_checkpoint(tmp_path):
    config = BILEVEL.replace(distance="d1", data="frozen", unsolved="approximate", iterations=2)
    meta_train(config, out=tmp_path)
    loaded, _ = load(tmp_path)
    assert loaded == config
    with pytest.raises(ValueError, match="distance: 'd1' there, 'd2' now"):
        meta_train(config.replace(distance="d2"), out=tmp_path, resume=True)


def test_every_dial_reaches_the_method():
    """Each of them changes the first step, or whether there is one."""
    base = configure("bomrl", num_tasks=2, iterations=1, seed=3)
    region = base.replace(method="bomrl_trust_region", delta=0.2)
    first = meta_train(base).history[0]
    for change in ({"distance": "d1"}, {"lam": 2.0}):
        other = meta_train(base.replace(**change)).history[0]
        assert other["return_after"] != first["return_after"], change
    for rung in ("naive", "frozen"):
        other = meta_train(base.replace(data=rung)).history[0]
        assert other["return_after"] == first["return_after"]
        assert other["gradient_norm"] != first["gradient_norm"], rung
    smaller = meta_train(region.replace(delta=0.1)).history[0]
    assert smaller["return_after"] < meta_train(region).history[0]["return_after"]


UNLIKE = configure(
    "maml", tasks="probe/random-5x3", num_tasks=3, iterations=6, step_size=0.5, learning_rate=0.1
)


def mean_return_after_a_step(problem, logits: torch.Tensor) -> torch.Tensor:
    """MAML's objective by the inverse matrix of :func:`conftest.solve_task`, task by task."""

    def after(*fields):
        def returned(x):
            return solve_task(x.softmax(-1), TabularTask(*fields), problem.gamma)[2]

        return returned(logits + 0.5 * grad(returned)(logits))

    returns = [after(*fields) for fields in zip(*problem.training_tasks, strict=True)]
    return sum(returns) / len(returns)


def test_a_step_climbs_the_mean_over_tasks_not_their_sum():
    """Adam forgets the length of a gradient: the history must not."""
    problem, logits = make_problem(UNLIKE), random_logits(0)
    state = start_state(problem)
    state.phi["logits"].copy_(logits)
    row = meta_step(state, problem)
    slope = grad(lambda x: mean_return_after_a_step(problem, x))(logits)
    assert row["gradient_norm"] == pytest.approx(slope.norm().item(), rel=1e-9)
    assert row["return_after"] == pytest.approx(mean_return_after_a_step(problem, logits).item())


def test_training_is_adam_of_the_book_with_its_usual_constants():
    """Betas 0.9 and 0.999 (Kingma and Ba, 1412.6980), which only several steps tell apart.

    Rewards are large enough for gradients longer than 1, which exact training does not cut.
    """
    problem = make_problem(UNLIKE)
    tasks = problem.training_tasks
    large = tasks._replace(reward=10 * tasks.reward)
    problem = dataclasses.replace(problem, training_tasks=large)
    x, mean, square = np.zeros((5, 3)), np.zeros((5, 3)), np.zeros((5, 3))
    for k in range(1, 7):
        slope = grad(lambda x: mean_return_after_a_step(problem, x))(torch.tensor(x)).numpy()
        mean, square = 0.9 * mean + 0.1 * slope, 0.999 * square + 0.001 * slope**2
        x = x + 0.1 * mean / (1 - 0.9**k) / (np.sqrt(square / (1 - 0.999**k)) + 1e-8)
    state = meta_train(UNLIKE, problem=problem)
    np.testing.assert_allclose(state.phi["logits"], x, rtol=1e-6, atol=1e-9)
    assert state.history[0]["gradient_norm"] > 1.5


def test_a_batch_holds_no_task_twice_and_every_task_has_its_turn():
    problem = make_problem(UNLIKE.replace(num_tasks=5, batch_tasks=4))
    all_tasks, generator = problem.training_tasks, torch.Generator().manual_seed(0)
    turns = np.zeros(5)
    for _ in range(100):
        batch = problem.draw(generator)
        same_table = [
            (drawn[:, None] == known[None]).flatten(2).all(-1)
            for drawn, known in zip((batch[0], batch[1]), (all_tasks[0], all_tasks[1]), strict=True)
        ]
        assert torch.equal(*same_table)  # transitions and rewards are those of one task
        assert same_table[0].sum(1).tolist() == [1, 1, 1, 1]
        assert same_table[0].sum(0).max() == 1
        turns += same_table[0].sum(0).numpy()
    assert turns.min() > 60  # 80 of 100 on average
