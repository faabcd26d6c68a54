"""Navigation against a walk written by hand, and the geometry of its goals."""

import numpy as np
import pytest
import torch

from bomrl_lite.policies.distributions import Categorical, Gaussian
from bomrl_lite.rollout.collect import collect, repeat
from bomrl_lite.tasks import make_tasks, require_exact, task_names
from bomrl_lite.tasks.navigation import FAMILIES, Goals
from bomrl_lite.types import Policy


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def goals_of(name, split="train", count=4000, seed=0):
    return make_tasks(name).sample(count, seeded(seed), split).goal.numpy()


def wander(size):
    """A policy that heads for a corner of its own, often faster than the point can."""

    def distribution(params, observations):
        mean = params["bias"] - observations[..., :size]
        return Gaussian(mean, torch.full_like(mean, -0.5))

    return Policy(lambda g: {"bias": torch.randn(size, generator=g)}, distribution)


def walk_by_hand(name, goal, actions):
    """Return positions (the start first) and rewards, one number at a time."""
    position = [0.0] * len(goal)
    positions, rewards = [position], []
    for action in actions:
        position = [x + 0.1 * min(max(a, -1.0), 1.0) for x, a in zip(position, action, strict=True)]
        gap = sum((x - g) ** 2 for x, g in zip(position, goal, strict=True)) ** 0.5
        sparse = 0.9 - gap if gap < 0.9 else 0.0
        positions.append(position)
        rewards.append(sparse if name == "navigation/corners" else -gap)
    return positions, rewards


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("horizon", [None, 12])
def test_a_point_walks_as_it_does_by_hand(name, horizon):
    family = make_tasks(name)
    size = family.observation_size
    assert size == family.action_size == (1 if name == "navigation/line" else 2)
    assert not family.discrete
    generator = seeded()
    tasks = family.sample(5, generator, "train")
    policy = wander(size)
    params = {"bias": 1.2 * tasks.goal}
    rollout = collect(family.simulator(tasks, 3, horizon), policy, params, generator)
    steps = horizon or 30
    assert rollout.mask.shape == (5, 3, steps)
    assert rollout.mask.all()
    assert rollout.terminated.all()  # the time limit belongs to the task
    assert rollout.rewards.dtype == rollout.observations.dtype == torch.float32
    for n in range(5):
        for b in range(3):
            positions, rewards = walk_by_hand(name, tasks.goal[n].tolist(), rollout.actions[n, b])
            seen = torch.cat([rollout.observations[n, b], rollout.final_observations[n, b, None]])
            np.testing.assert_allclose(seen, positions, atol=1e-6)
            np.testing.assert_allclose(rollout.rewards[n, b], rewards, atol=2e-6)
    assert (rollout.actions.abs() > 1).any()
    if name == "navigation/corners" and horizon is None:
        assert (rollout.rewards >= 0).all()
        assert 0.1 < (rollout.rewards > 0).float().mean() < 0.9


def test_only_the_last_step_ends_and_a_reset_starts_anew():
    family = make_tasks("navigation/square")
    simulator = family.simulator(family.sample(2, seeded(), "test"), 1, 3)
    for _ in range(2):
        assert not simulator.reset(seeded()).any()
        ends = [simulator.step(torch.ones(2, 1, 2), seeded())[2:] for _ in range(3)]
        assert [bool(ended.all()) for ended, _ in ends] == [False, False, True]
        assert not any(ended.any() for ended, _ in ends[:2])
        assert not any(cut.any() for _, cut in ends)


def test_circle_goals_fill_their_sectors_and_no_others():
    sectors = {}
    for split in ("train", "test"):
        goal = goals_of("navigation/circle", split)
        np.testing.assert_allclose(np.hypot(*goal.T), 1.0, atol=1e-6)
        degrees = np.degrees(np.arctan2(goal[:, 1], goal[:, 0])) % 360
        sectors[split], counts = np.unique(degrees // 9, return_counts=True)
        # equal shares, and equal halves of each: 5 standard errors
        assert counts.std() < 2 * (4000 / len(counts)) ** 0.5
        assert abs((degrees % 9 < 4.5).mean() - 0.5) < 5 * 0.5 / 4000**0.5
    assert (sectors["test"] % 5 == 0).all()
    assert sorted([*sectors["train"], *sectors["test"]]) == list(range(40))


def test_square_goals_fill_their_cells_and_no_others():
    cells = {}
    for split in ("train", "test"):
        goal = goals_of("navigation/square", split)
        assert np.abs(goal).max() <= 0.5
        spots = np.floor((goal.astype(float) + 0.5) * 10).astype(int)
        found, counts = np.unique(spots, axis=0, return_counts=True)
        cells[split] = {tuple(cell) for cell in found.tolist()}
        assert counts.std() < 2 * (4000 / len(counts)) ** 0.5
        assert (np.abs((goal % 0.1 < 0.05).mean(0) - 0.5) < 5 * 0.5 / 4000**0.5).all()
    assert len(cells["train"]) == 80
    assert not cells["train"] & cells["test"]
    held = sorted(cells["test"])
    assert [sum(c == i for c, _ in held) for i in range(10)] == [2] * 10
    assert [sum(r == i for _, r in held) for i in range(10)] == [2] * 10
    near = [max(abs(a - c), abs(b - d)) for a, b in held for c, d in held if (a, b) != (c, d)]
    assert min(near) > 1


@pytest.mark.parametrize("split", ["train", "test"])
@pytest.mark.parametrize(("name", "count"), [("navigation/corners", 4), ("navigation/line", 2)])
def test_short_lists_deal_every_goal_to_both_splits(name, count, split):
    goals, dealt = np.unique(goals_of(name, split), axis=0, return_counts=True)
    assert len(goals) == count
    assert (np.abs(goals) == 1).all()
    assert (np.abs(dealt / 4000 - 1 / count) < 5 * (0.25 / 4000) ** 0.5).all()


@pytest.mark.parametrize("name", FAMILIES)
def test_goals_come_from_the_generator(name):
    assert np.array_equal(goals_of(name, seed=3), goals_of(name, seed=3))
    assert not np.array_equal(goals_of(name, seed=3), goals_of(name, seed=4))


@pytest.mark.parametrize("name", task_names())
def test_every_family_can_be_sampled(name):
    family = make_tasks(name)
    assert family.name == name
    assert family.exact == (name in task_names(exact=True))
    tasks = family.sample(2, seeded(), "test")
    if family.exact:
        assert require_exact(family) is family
        logits = torch.zeros(64, family.action_size)
        policy = Policy(
            lambda g: {"logits": logits},
            lambda p, s: Categorical(torch.log_softmax(p["logits"][s], -1)),
        )
        assert (family.observation_size, family.discrete) == (0, True)
        assert tasks.reward.shape[-1] == family.action_size
    else:
        policy = wander(family.action_size)
    simulator = family.simulator(tasks, 3, None)
    assert simulator.horizon == family.horizon
    simulator = family.simulator(tasks, 3, 2)
    rollout = collect(simulator, policy, repeat(policy.init(seeded()), 2), seeded())
    assert rollout.mask.shape == (2, 3, 2)
    if family.exact:
        rows = rollout.observations.flatten(1), rollout.actions.flatten(1)
        paid = [tasks.reward[n][rows[0][n], rows[1][n]].tolist() for n in range(2)]
        assert rollout.rewards.flatten(1).tolist() == paid


def point(**changes):
    family = make_tasks("navigation/circle")
    arguments = {"tasks": Goals(torch.zeros(2, 2)), "num_episodes": 3, "horizon": 4} | changes
    return family.simulator(*arguments.values())


MISTAKES = {
    "no exact values": (
        lambda: require_exact(make_tasks("navigation/circle")),
        "'navigation/circle' has continuous .* can only be sampled. With exact values are frozen_",
    ),
    "misspelt": (
        lambda: make_tasks("navigation/cirle"),
        "did you mean navigation/circle",
    ),
    "tabular, misspelt": (
        lambda: make_tasks("probe/bandit-5"),
        "did you mean probe/bandits-5",
    ),
    "no tasks, circle": (lambda: goals_of("navigation/circle", count=0), "at least 1, got 0"),
    "no tasks, square": (lambda: goals_of("navigation/square", count=0), "at least 1, got 0"),
    "no split": (lambda: goals_of("navigation/line", "val"), "'train' or 'test', got 'val'"),
    "one goal": (
        lambda: point(tasks=Goals(torch.zeros(2))),
        r"leading N, goals \[N, K\], got \(2,\)",
    ),
    "no steps": (lambda: point(horizon=0), "horizon must be at least 1, got 0"),
    "no episodes": (lambda: point(num_episodes=0), "num_episodes must be at least 1, got 0"),
    "flat actions": (
        lambda: point().step(torch.zeros(6, 2), seeded()),
        r"\[N, B, K\] = \(2, 3, 2\), got \(6, 2\)",
    ),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_mistakes_are_explained(name):
    mistake, message = MISTAKES[name]
    with pytest.raises(ValueError, match=message):
        mistake()
