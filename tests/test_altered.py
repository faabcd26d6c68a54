"""Families altered in one respect: what is altered, that nothing else is, and their tables."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from bomrl_lite.course.experiments import EXPERIMENTS, altered, train_once
from bomrl_lite.course.experiments.sampled import fresh_returns
from bomrl_lite.course.experiments.setting import Scale
from bomrl_lite.tasks import make_tasks
from bomrl_lite.training.config import configure
from bomrl_lite.training.episodes import episodes_problem
from bomrl_lite.training.streams import seeded
from bomrl_lite.training.trainer import start_state

SMALL = {"num_tasks": 2, "num_episodes": 3, "iterations": 2}
TINY = Scale(seeds=1, iterations=2, num_tasks=2, num_test=2)


def walk(tasks, steps, horizon=None):
    """Rewards [steps, N, B] of points that walk to the right, and when their episodes end."""
    circle = make_tasks("navigation/circle")
    goals = circle.sample(3, seeded(0, "tasks"), "train")
    simulator, generator = tasks.simulator(goals, 2, horizon), seeded(0, "episodes")
    simulator.reset(generator)
    actions = torch.tensor([0.5, 0.1]).expand(3, 2, 2)
    taken = [simulator.step(actions, generator) for _ in range(steps)]
    return torch.stack([step[1] for step in taken]), torch.stack([step[2] for step in taken])


@pytest.mark.parametrize("window", [1, 4, 7, 30])
def test_late_rewards_are_those_of_the_window_at_its_end(window):
    prompt, ends = walk(make_tasks("navigation/circle"), 30)
    late, same_ends = walk(altered.late_rewards(window), 30)
    assert torch.equal(ends, same_ends)
    paid = [0] * 30
    for first in range(0, 30, window):
        last = min(first + window, 30)
        paid[last - 1] = prompt[first:last].sum(0)
    expected = torch.stack([torch.as_tensor(x) * torch.ones(3, 2) for x in paid])
    torch.testing.assert_close(late, expected)
    torch.testing.assert_close(late.sum(0), prompt.sum(0))


def test_a_new_episode_owes_nothing():
    circle = make_tasks("navigation/circle")
    goals = circle.sample(3, seeded(0, "tasks"), "train")
    simulator, generator = altered.late_rewards(5).simulator(goals, 2, 10), seeded(0, "episodes")
    totals = []
    for steps in (3, 10):  # the first is left before anything was paid
        simulator.reset(generator)
        actions = torch.ones(3, 2, 2)
        totals.append(sum(simulator.step(actions, generator)[1] for _ in range(steps)))
    prompt = circle.simulator(goals, 2, 10)
    prompt.reset(generator)
    expected = sum(prompt.step(actions, generator)[1] for _ in range(10))
    assert totals[0].abs().sum() == 0
    torch.testing.assert_close(totals[1], expected)


@pytest.mark.parametrize("count", altered.GOALS)
def test_training_has_the_goals_that_were_counted_each_equally_often(count):
    tasks = altered.counted_goals(count, seed=3)
    batches = [tasks.sample(20, seeded(s, "episodes"), "train").goal for s in range(40)]
    goals = torch.cat(batches).unique(dim=0)
    assert len(goals) == count
    for batch in batches:
        often = torch.stack([(batch == goal).all(-1).sum() for goal in goals])
        assert often.max() - often.min() <= 1
    circle = make_tasks("navigation/circle")
    found, expected = (x.sample(9, seeded(1, "evaluation"), "test") for x in (tasks, circle))
    assert torch.equal(found.goal, expected.goal)


def test_goals_are_those_of_a_seed():
    families = [altered.counted_goals(4, seed=seed) for seed in (0, 0, 1)]
    goals = [tasks.sample(4, seeded(5, "episodes"), "train").goal for tasks in families]
    assert torch.equal(goals[0], goals[1])
    assert not torch.equal(goals[0], goals[2])


def test_few_goals_are_among_many():
    few, many = (altered.counted_goals(count, seed=0) for count in (2, 64))
    draw = seeded(5, "episodes")
    goals = [tasks.sample(64, draw, "train").goal.unique(dim=0) for tasks in (few, many)]
    assert all((goals[1] == goal).all(-1).any() for goal in goals[0])


@pytest.mark.filterwarnings("ignore:the settings of bomrl_head are tuned for other tasks")
def test_rewards_that_are_paid_at_every_step_are_the_circles(tmp_path):
    circle, late = (
        train_once(configure("bomrl_head", tasks=tasks, **SMALL), runs=tmp_path).state.phi
        for tasks in ("navigation/circle", altered.late_rewards(1))
    )
    assert all(torch.equal(leaf, late[name]) for name, leaf in circle.items())


def test_one_direction_is_the_ants_own_task():
    ant, forward = make_tasks("ant/direction", integrator="fast"), altered.one_direction()
    goals = forward.sample(3, seeded(0, "tasks"), "test")
    assert torch.equal(goals.direction, torch.ones(3, 1))
    both = [tasks.simulator(goals, 2, 3) for tasks in (ant, forward)]
    for simulator in both:
        simulator.reset(seeded(0, "episodes"))
    actions = 0.3 * torch.ones(3, 2, 8)
    for _ in range(3):
        one, two = (simulator.step(actions, seeded(0, "episodes")) for simulator in both)
        assert all(torch.equal(a, b) for a, b in zip(one, two, strict=True))


@pytest.mark.parametrize(
    ("name", "setting", "column", "places"),
    [
        ("training_goals", "GOALS", "goals", (2, 4)),
        ("delayed", "WINDOWS", "window", (1, 30)),
    ],
)
def test_a_table_of_points_has_both_splits(name, setting, column, places, monkeypatch, tmp_path):
    monkeypatch.setattr(altered, "METHODS", ("promp", "bomrl_head"))
    monkeypatch.setattr(altered, setting, places)
    trained, measured = [], []

    def train(config):
        trained.append(config)
        return train_once(config, runs=tmp_path)

    def measure(state, problem, how):
        measured.append((problem.config.tasks, how.split, how.num_tasks))
        return fresh_returns(state, problem, how)

    monkeypatch.setattr(altered, "fresh_returns", measure)

    frame = pd.DataFrame(EXPERIMENTS[name].rows(1, TINY, train))
    assert len(frame) == 2 * 2 * 2
    assert list(frame[column].unique()) == list(places)
    assert list(frame["split"]) == ["train", "test"] * 4
    assert np.isfinite(frame[["before", "return", "seconds"]]).all(axis=None)
    assert {config.seed for config in trained} == {1}
    told = {"GOALS": "altered/{}-goals-of-seed-1", "WINDOWS": "altered/paid-every-{}"}[setting]
    names = [told.format(place) for place in places] * 2
    assert [config.tasks for config in trained] == names
    assert measured == [(name, split, 4) for name in names for split in ("train", "test")]
    learning = {(config.method, config.alg) for config in trained}
    assert len(learning) == 2  # what a method takes depends on no place


def test_an_ant_that_learns_one_direction_reports_every_iteration():
    seen = []

    def train(config):
        seen.append(config)
        rows = [
            {"iteration": float(i), "return_before": 200.0 + i} for i in range(config.iterations)
        ]
        return replace(start_state(episodes_problem(config)), history=rows), 6.0

    frame = pd.DataFrame(altered.forward(2, Scale(iterations=3), train))
    assert [config.network.log_std for config in seen] == [-0.5, -1.0]
    assert {config.method for config in seen} == {"joint"}
    assert {config.seed for config in seen} == {2}
    assert list(frame["iteration"]) == [1, 2, 3] * 2
    assert list(frame["return"]) == [200, 201, 202] * 2
    assert list(frame["seconds"]) == [2, 4, 6] * 2
