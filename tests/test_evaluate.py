"""Which tasks, priors and observations an evaluation is about: tasks whose returns are known."""

import dataclasses
import math

import pytest
import torch
from conftest import returns_of_every_deterministic_policy, solve_task
from torch.func import grad

from bomrl_lite.rollout.collect import collect, repeat
from bomrl_lite.tasks import make_tasks, task_names
from bomrl_lite.tasks.probes import bandit
from bomrl_lite.training import episodes, exact
from bomrl_lite.training.config import configure
from bomrl_lite.training.evaluate import evaluate_run, mean_table
from bomrl_lite.training.problem import make_problem
from bomrl_lite.training.streams import seeded
from bomrl_lite.training.trainer import load, meta_train
from bomrl_lite.types import TabularTask

METHODS = {"exact": "maml", "episodes": "lvc_maml"}


def telling_splits_apart(name: str, **settings):
    """Bandits whose every arm pays 1 in training and 2 in the test."""

    def sample(num_tasks: int, generator: torch.Generator, split: str = "train") -> TabularTask:
        paid = {"train": 1.0, "test": 2.0}[split]
        return bandit(torch.full((num_tasks, 2), paid, dtype=torch.float64))

    return dataclasses.replace(make_tasks(name, **settings), sample=sample)


@pytest.mark.filterwarnings("ignore:no task's meta-gradient")  # every arm pays the same
@pytest.mark.parametrize("values", METHODS)
def test_training_sees_training_tasks_and_evaluation_both_kinds(tmp_path, monkeypatch, values):
    for room in (exact, episodes):
        monkeypatch.setattr(room, "make_tasks", telling_splits_apart)
    config = configure(
        METHODS[values], tasks="probe/opposite", values=values, num_tasks=2, iterations=3
    )
    history = meta_train(config, out=tmp_path).history
    for column in ("return_before", "return_after"):
        assert [row[column] for row in history] == pytest.approx([1.0] * 3)
    rows = evaluate_run(tmp_path, num_test_tasks=2, num_steps=1)
    assert {(row["split"], row["prior"]) for row in rows} == {
        (split, prior) for split in ("train", "test") for prior in ("untrained", METHODS[values])
    }
    for row in rows:
        assert row["return"] == pytest.approx({"train": 1.0, "test": 2.0}[row["split"]])


@pytest.mark.parametrize("values", ["exact", "episodes"])
def test_the_untrained_prior_is_the_one_before_any_update(tmp_path, values):
    """One step of Adam moves every logit by the learning rate: the policy is certain at once."""
    method = {"exact": "joint_finetuned", "episodes": "joint"}[values]
    config = configure(
        method,
        tasks="probe/identical",
        values=values,
        num_tasks=2,
        iterations=1,
        learning_rate=20.0,
    )
    meta_train(config, out=tmp_path)
    rows = evaluate_run(tmp_path, num_test_tasks=50, num_steps=0)
    for split in ("train", "test"):
        mine = [row for row in rows if row["split"] == split]
        trained = [row["return"] for row in mine if row["prior"] == method]
        untrained = [row["return"] for row in mine if row["prior"] == "untrained"]
        assert trained == pytest.approx([1.0] * len(trained))
        # Arms pay 1, 0 and 0; 50 tasks of 20 episodes, deviation 0.015.
        assert sum(untrained) / len(untrained) == pytest.approx(1 / 3, abs=0.06)


@pytest.mark.parametrize("name", task_names())
def test_a_family_says_which_tasks_its_splits_share(name):
    """What it says against what is drawn."""
    family = make_tasks(name)

    count = 6 if name.startswith(("frozen", "probe/ice")) else 60  # maps are slow to draw

    def drawn(split, seed):
        tasks = family.sample(count, torch.Generator().manual_seed(seed), split)
        rows = zip(*tasks, strict=True)
        return {b"".join(field.numpy().tobytes() for field in row) for row in rows}

    # From one seed and from another: neither may bring a training task into the test.
    train, test = drawn("train", 0) | drawn("train", 1), drawn("test", 0) | drawn("test", 2)
    if family.shared_tasks == 0:
        assert not train & test
    elif family.shared_tasks < math.inf:
        assert train == test
        assert len(train) == family.shared_tasks
    else:
        assert train & test
        assert len(train | test) > 1
    title = mean_table([ROW | {"shared_tasks": family.shared_tasks}])[0]
    assert ("train = test" in title) == bool(train & test)


ROW = {"split": "test", "prior": "maml", "task": 0, "step": 0, "return": 1.0}


def test_a_table_of_tasks_that_are_not_held_out_says_so(tmp_path):
    config = configure(
        "lvc_maml", tasks="navigation/line", num_tasks=2, num_episodes=2, horizon=3, iterations=1
    )
    meta_train(config, out=tmp_path)
    title, _, cells = mean_table(evaluate_run(tmp_path, num_test_tasks=2, num_steps=0))
    assert title.endswith("after k adaptations; train = test: this family has 2 tasks")
    assert len(cells) == 4
    assert mean_table([ROW | {"shared_tasks": 1}])[0].endswith("has 1 task")
    assert mean_table([ROW | {"shared_tasks": math.inf}])[0].endswith("draw from the same tasks")
    assert mean_table([ROW])[0].endswith("k adaptations")


def test_a_table_shows_means_over_tasks():
    rows = [
        ROW | {"task": task, "step": step, "return": value}
        for step, values in enumerate([(1.0, 2.0, 6.0), (4.0, 4.5, 5.0)])
        for task, value in enumerate(values)
    ]
    _, header, cells = mean_table(rows)
    assert header == ["tasks", "prior", "k = 0", "k = 1"]
    assert cells == [["test", "maml", "3.0000", "4.5000"]]


class LookedAtByHand:
    """A simulator whose observations are shown in deviations from their mean, cut at 5."""

    def __init__(self, simulator, moments):
        self.simulator, self.horizon = simulator, simulator.horizon
        self.mean, self.deviation = moments.mean, (moments.squares / moments.number).sqrt()

    def look(self, observations):
        return ((observations - self.mean) / self.deviation).clamp(-5, 5).float()

    def reset(self, generator):
        return self.look(self.simulator.reset(generator))

    def step(self, actions, generator):
        observations, *rest = self.simulator.step(actions, generator)
        return self.look(observations), *rest


def test_policies_are_judged_through_the_moments_that_training_left(tmp_path):
    """Points whose family asks for a lens, as those of robots do."""
    config = configure(
        "lvc_maml", num_tasks=3, num_episodes=4, horizon=15, hidden=(5,), iterations=2
    )
    problem = make_problem(config)
    family = dataclasses.replace(problem.family, normalise_observations=True)
    problem = dataclasses.replace(problem, family=family)
    meta_train(config, problem=problem, out=tmp_path)
    rows = evaluate_run(tmp_path, num_test_tasks=3, num_steps=0, problem=problem)
    _, trained = load(tmp_path, problem)
    for prior, phi in ("untrained", problem.start()[0]), ("lvc_maml", trained.phi):
        generator = seeded(0, "evaluation")
        tasks = family.sample(3, generator, "test")
        seen = LookedAtByHand(family.simulator(tasks, 20, 15), trained.moments)
        returns = collect(seen, problem.policy, repeat(phi, 3), generator).rewards.sum(-1).mean(-1)
        mine = [row for row in rows if (row["split"], row["prior"]) == ("test", prior)]
        assert [row["return"] for row in mine] == pytest.approx(returns.tolist(), rel=1e-3)


SMALL_STEP, DEAR = {"step_size": 0.3}, {"distance": "d2", "lam": 3.0}


@pytest.mark.parametrize(("method", "setting"), [("maml", SMALL_STEP), ("bomrl", DEAR)])
def test_exact_rows_are_returns_of_the_runs_own_alg_step_by_step(tmp_path, method, setting):
    """Each step on data of the policy before it; D2 tilts that policy by exp(Q / lam)."""
    config = configure(method, tasks="probe/random-5x3", num_tasks=2, iterations=2, **setting)
    state = meta_train(config, out=tmp_path)
    rows = evaluate_run(tmp_path, num_test_tasks=1, num_steps=3)
    for n, fields in enumerate(zip(*make_problem(config).training_tasks, strict=True)):
        task, logits = TabularTask(*fields), state.phi["logits"]
        best = max(returns_of_every_deterministic_policy(task, 0.8))
        mine = [r for r in rows if (r["split"], r["prior"], r["task"]) == ("train", method, n)]
        assert [row["step"] for row in mine] == [0, 1, 2, 3]

        def returned(x, task=task):
            return solve_task(x.softmax(-1), task, 0.8)[2]

        for row in mine:
            assert row["return"] == pytest.approx(returned(logits).item(), rel=1e-9)
            assert row["gap"] == pytest.approx(best - row["return"], abs=1e-9)
            if method == "maml":
                logits = logits + 0.3 * grad(returned)(logits)
            else:
                logits = logits + solve_task(logits.softmax(-1), task, 0.8)[1] / 3.0


def test_an_adaptation_is_given_as_many_episodes_as_in_training_unless_told(tmp_path):
    config = configure("lvc_maml", num_tasks=2, num_episodes=4, horizon=3, iterations=1)
    meta_train(config, out=tmp_path)
    problem, asked = make_problem(config), []

    def simulator(tasks, num_episodes: int, horizon: int | None = None):
        asked.append(num_episodes)
        return problem.family.simulator(tasks, num_episodes, horizon)

    spied = dataclasses.replace(
        problem, family=dataclasses.replace(problem.family, simulator=simulator)
    )
    for told, expected in (None, {4, 20}), (7, {7, 20}):  # returns are those of 20 others
        asked.clear()
        evaluate_run(tmp_path, num_test_tasks=2, num_steps=1, num_episodes=told, problem=spied)
        assert set(asked) == expected
