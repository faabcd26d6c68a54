"""Families of robots, against gymnasium's own environments and rewards worked out by hand."""

import weakref

import gymnasium
import mujoco
import numpy as np
import pytest
import torch

from bomrl_lite.physics.pool import KEPT, PhysicsPool
from bomrl_lite.physics.robots import load_model
from bomrl_lite.tasks import make_tasks
from bomrl_lite.tasks.locomotion import FAMILIES, LocomotionSimulator
from bomrl_lite.tasks.robot_goals import Speeds, sample_speeds

GYM = {
    "half_cheetah": ("HalfCheetah-v5", {}, 0.1),
    "ant": ("Ant-v5", {"include_cfrc_ext_in_observation": False}, 0.5),
    "walker": ("Walker2d-v5", {}, 1e-3),
    "hopper": ("Hopper-v5", {}, 1e-3),
    "humanoid": ("Humanoid-v5", {}, 0.1),
}
"""Gymnasium's environment of a robot, how to make it, and its weight of |a|^2."""

HAND = {
    "cheetah/velocity": lambda vx, vy, a2, speed: -abs(vx - speed) - 0.05 * a2,
    "cheetah/direction": lambda vx, vy, a2, d: d[0] * vx - 0.05 * a2,
    "ant/velocity": lambda vx, vy, a2, speed: -abs(vx - speed) + 1.05 - 0.005 * a2,
    "ant/direction": lambda vx, vy, a2, d: d[0] * vx + 1.05 - 0.005 * a2,
    "walker/direction": lambda vx, vy, a2, d: d[0] * vx + 1 - 0.001 * a2,
    "hopper/parameters": lambda vx, vy, a2, *body: vx + 1 - 0.001 * a2,
    "walker/parameters": lambda vx, vy, a2, *body: vx + 1 - 0.001 * a2,
    "humanoid/direction": lambda vx, vy, a2, d: 0.25 * 5 * (d[0] * vx + d[1] * vy) + 5 - 0.1 * a2,
}


@pytest.fixture(autouse=True)
def _folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # gymnasium's cheetah leaves a log where it is loaded


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def gymnasium_s(family):
    name, how, weight = GYM[family.runner.robot]
    return gymnasium.make(name, **how).unwrapped, weight


def simulated(name, num_tasks=2, num_episodes=2, **how):
    tasks = FAMILIES[name].sample(num_tasks, generator(1), "train")
    return tasks, LocomotionSimulator(FAMILIES[name], tasks, num_episodes, backend="mujoco", **how)


def given_a_body(env, tasks, task):
    for field, factors in tasks._asdict().items():
        value = getattr(env.model, field)
        value[:] = value * factors[task].numpy()
    mujoco.mj_setConst(env.model, mujoco.MjData(env.model))


@pytest.mark.parametrize("name", FAMILIES)
def test_observations_rewards_and_ends_are_gymnasium_s(name):
    family = FAMILIES[name]
    tasks, simulator = simulated(name)
    first = simulator.reset(generator(2))
    starts = [simulator.physics.qpos.clone().numpy(), simulator.physics.qvel.clone().numpy()]
    top = simulator.model.actuator_ctrlrange[:, 1]
    random = np.random.default_rng(3)
    actions = random.uniform(-1, 1, (40, 2, 2, len(top))).astype(np.float32) * top.astype("f4")
    steps = [simulator.step(torch.tensor(action), generator()) for action in actions]
    fell = 0
    for task in range(2):
        for episode in range(2):
            env, weight = gymnasium_s(family)
            if name.endswith("parameters"):
                given_a_body(env, tasks, task)
            env.reset(seed=0)
            mujoco.mj_resetData(env.model, env.data)
            env.set_state(*(start[2 * task + episode] for start in starts))
            mine = first[task, episode].numpy()
            np.testing.assert_allclose(mine, env._get_obs()[: mine.size], atol=1e-5, rtol=1e-6)
            for action, (observations, rewards, over, cut) in zip(
                actions[:, task, episode], steps, strict=True
            ):
                seen, _, ended, _, info = env.step(action.astype(np.float64))
                mine = observations[task, episode].numpy()
                assert mine.dtype == np.float32
                np.testing.assert_allclose(mine, seen[: mine.size], atol=1e-5, rtol=1e-6)
                # The simulator's actions are single precision, and so are its rewards.
                effort = -info["reward_ctrl"] / weight
                velocity = info["x_velocity"], info.get("y_velocity")
                expected = HAND[name](*velocity, effort, *(field[task].numpy() for field in tasks))
                assert rewards[task, episode].item() == pytest.approx(expected, abs=1e-5, rel=1e-5)
                if family.runner.healthy is None:
                    ended = False  # our ants go on whatever happens
                assert over[task, episode] == ended
                assert not cut[task, episode]
                fell += ended
    assert (fell > 0) == (family.runner.robot in ("walker", "hopper", "humanoid"))


@pytest.mark.parametrize("name", ["walker/direction", "hopper/parameters", "humanoid/direction"])
def test_a_pose_is_a_fall_where_gymnasium_says_so(name):
    env, _ = gymnasium_s(FAMILIES[name])
    _, simulator = simulated(name, 2, 200)
    simulator.reset(generator())
    random, physics = np.random.default_rng(0), simulator.physics
    height = 2 if FAMILIES[name].runner.robot == "humanoid" else 1
    near = random.choice([0.7, 0.8, 1.0, 2.0], 400) + random.uniform(-0.05, 0.05, 400)
    physics.qpos[:, height] = torch.tensor(near)  # to the limits of the three
    physics.qpos[:300, height + 1] = torch.tensor(random.uniform(-1.2, 1.2, 300))
    physics.qvel[::7, 5] = torch.tensor(random.uniform(90, 110, 58))  # hoppers have a top speed
    stands = []
    for row in range(400):
        env.set_state(physics.qpos[row].numpy(), physics.qvel[row].numpy())
        stands.append(env.is_healthy)
    assert 40 < sum(stands) < 360
    assert FAMILIES[name].runner.healthy(physics).tolist() == stands


@pytest.mark.parametrize("name", FAMILIES)
def test_sizes_are_those_of_gymnasium_s_spaces(name):
    family, sampled = FAMILIES[name], make_tasks(name)
    env, _ = gymnasium_s(family)
    size = 45 if family.runner.robot == "humanoid" else env.observation_space.shape[0]
    assert (family.runner.observation_size, family.runner.action_size) == (
        size,
        env.action_space.shape[0],
    )
    assert (sampled.observation_size, sampled.action_size) == (size, family.runner.action_size)
    assert (sampled.horizon, sampled.discrete) == (family.runner.horizon, False)
    assert family.runner.horizon == (100 if family.runner.robot == "half_cheetah" else 200)
    _, simulator = simulated(name, 3, 2)
    assert simulator.horizon == family.runner.horizon
    assert simulator.reset(generator()).shape == (3, 2, size)


@pytest.mark.parametrize("name", ["cheetah/velocity", "ant/velocity", "walker/direction",
                                  "hopper/parameters", "humanoid/direction"])  # fmt: skip
def test_first_states_are_spread_as_gymnasium_s(name):
    env, _ = gymnasium_s(FAMILIES[name])
    theirs = []
    for seed in range(100):
        env.reset(seed=seed)
        theirs.append((env.data.qpos - env.init_qpos, env.data.qvel - env.init_qvel))
    _, simulator = simulated(name, 2, 250)
    simulator.reset(generator())
    ours = simulator.physics.qpos.numpy() - env.init_qpos, simulator.physics.qvel.numpy()
    for mine, other in zip(ours, map(np.array, zip(*theirs, strict=True)), strict=True):
        # 500 and 100 draws of at least 6 numbers: two standard errors of a spread are 6 %.
        assert mine.std() == pytest.approx(other.std(), rel=0.08)
        assert abs(mine.mean()) < 0.1 * other.std()
        # The largest tells uniform from normal noise.
        assert np.abs(mine).max() / mine.std() == pytest.approx(
            np.abs(other).max() / other.std(), rel=0.25
        )
    assert np.abs(ours[0]).max() <= env._reset_noise_scale


@pytest.mark.parametrize("name", FAMILIES)
def test_splits_share_no_task_where_there_are_enough(name):
    family = FAMILIES[name]
    train, test = (family.sample(2000, generator(seed), split)
                   for seed, split in enumerate(("train", "test")))  # fmt: skip
    if name.endswith("/velocity"):
        top = {"cheetah": 2.0, "ant": 3.0}[name.split("/")[0]]
        cells = [np.floor(tasks.speed.numpy() / top * 20).astype(int) for tasks in (train, test)]
        for tasks in (train, test):
            assert 0 <= tasks.speed.min() < 0.2 * top
            assert 0.8 * top < tasks.speed.max() <= top
    elif name == "humanoid/direction":
        for tasks in (train, test):
            np.testing.assert_allclose(tasks.direction.norm(dim=-1), 1, atol=1e-6)
        angles = [np.arctan2(*tasks.direction.T.flip(0).double().numpy()) % (2 * np.pi)
                  for tasks in (train, test)]  # fmt: skip
        cells = [np.floor(angle / (2 * np.pi) * 20).astype(int) for angle in angles]
    elif name.endswith("parameters"):
        for field, base in zip(train, (1.5, 1.5, 1.3, 1.5), strict=True):
            power = field.double().log() / np.log(base)
            assert -3 <= power.min() < -2.9
            assert 2.9 < power.max() <= 3
        trunk = [np.log(tasks.body_mass[:, 1].numpy()) / np.log(1.5) for tasks in (train, test)]
        cells = [np.floor((power + 3) / 6 * 20).astype(int) for power in trunk]
    else:
        for tasks in (train, test):
            assert sorted(tasks.direction.flatten().unique().tolist()) == [-1, 1]
            assert tasks.direction.sum() == 0
        return
    assert len(set(cells[0])) == 16
    assert len(set(cells[1])) == 4
    assert not set(cells[0]) & set(cells[1])
    counts = np.bincount(cells[0])
    assert counts[counts > 0].max() - counts[counts > 0].min() <= 2  # stratified


def test_the_same_generator_gives_the_same_tasks_and_episodes():
    family = FAMILIES["cheetah/velocity"]
    one, same, other = (family.sample(7, generator(seed), "train").speed for seed in (3, 3, 4))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)
    runs = []
    for seed in (5, 5, 6):
        _, simulator = simulated("cheetah/velocity")
        simulator.reset(generator(seed))
        runs.append([simulator.step(torch.ones(2, 2, 6), generator()) for _ in range(10)][-1])
    assert all(torch.equal(a, b) for a, b in zip(runs[0], runs[1], strict=True))
    assert not torch.equal(runs[0][0], runs[2][0])


def test_simulations_are_used_again_when_their_simulator_is_gone():
    """With the same numbers as new ones, although each simulator gave them other bodies."""
    tasks = make_tasks("hopper/parameters", backend="mujoco")
    bodies = tasks.sample(4, generator(1), "train")
    first, second = (type(bodies)(*(field[part] for field in bodies)) for part in ([0, 1], [2, 3]))

    def rewards_of(simulator):
        simulator.reset(generator(2))
        return torch.stack([simulator.step(torch.ones(2, 3, 3), generator())[1] for _ in range(9)])

    simulator = tasks.simulator(first, 3, None)
    lent = simulator.physics
    assert tasks.simulator(first, 3, None).physics is not lent  # somebody has it
    assert tasks.simulator(first, 4, None).physics.num == 8
    rewards_of(simulator)
    del simulator
    again = tasks.simulator(second, 3, None)
    assert again.physics is lent
    new = LocomotionSimulator(FAMILIES["hopper/parameters"], second, 3, backend="mujoco")
    assert new.physics is not lent
    assert torch.equal(rewards_of(again), rewards_of(new))
    del again
    other_record = make_tasks("hopper/parameters", backend="mujoco")
    assert other_record.simulator(second, 3, None).physics is not lent


def test_a_sweep_over_sizes_leaves_a_few_simulations_behind():
    pool, model = PhysicsPool(), load_model("hopper")
    held = [torch.zeros(1) for _ in range(3)]
    lent = [pool.lend(one, model, num, "mujoco") for num, one in enumerate(held, 1)]
    kept = [weakref.ref(pool.lend(torch.zeros(1), model, num, "mujoco")) for num in range(4, 30)]
    alive = [physics().num for physics in kept if physics() is not None]
    assert alive == [29 - KEPT, 26, 27, 28, 29]  # the last, and before it as many as are kept
    # What somebody has stays, and a size that comes back is one of the latest again.
    assert pool.lend(torch.zeros(1), model, 27, "mujoco") is kept[23]()
    for num in range(30, 29 + KEPT):
        pool.lend(torch.zeros(1), model, num, "mujoco")
    assert pool.lend(torch.zeros(1), model, 27, "mujoco") is kept[23]()
    del held[0]
    assert pool.lend(torch.zeros(1), model, 1, "mujoco") is lent[0]


def test_the_time_limit_is_a_true_end():
    _, simulator = simulated("ant/direction", horizon=3)
    for _ in range(2):
        simulator.reset(generator())
        for step in range(3):
            _, _, over, cut = simulator.step(torch.zeros(2, 2, 8), generator())
            assert over.all() == over.any() == (step == 2)
            assert not cut.any()


def test_wrong_requests_are_named():
    family = FAMILIES["cheetah/velocity"]
    _, simulator = simulated("cheetah/velocity")
    simulator.reset(generator())
    with pytest.raises(ValueError, match=r"actions must be \[N, B, K\] = \(2, 2, 6\), got \(4, 6"):
        simulator.step(torch.zeros(4, 6), generator())
    with pytest.raises(FloatingPointError, match="control 0 of simulation 0 is nan"):
        simulator.step(torch.full((2, 2, 6), float("nan")), generator())
    with pytest.raises(ValueError, match="num_tasks must be at least 1, got 0"):
        family.sample(0, generator(), "train")
    with pytest.raises(ValueError, match="split must be 'train' or 'test', got 'all'"):
        family.sample(1, generator(), "all")
    speeds = Speeds(torch.ones(2))
    for how, words in (
        ({"horizon": 0}, "horizon must be at least 1"),
        ({"backend": "gpu"}, "backend must be one of"),
        ({"integrator": "euler"}, "integrator must be 'gym' or 'fast'"),
    ):
        with pytest.raises(ValueError, match=words):
            LocomotionSimulator(family, speeds, 2, **how)


@pytest.mark.parametrize("split", ["train", "test"])
def test_a_draw_at_the_very_end_of_the_range_stays_in_its_last_cell(split, monkeypatch):
    """The largest number below 1 that torch draws: rounding takes its task to the end."""
    monkeypatch.setattr(
        torch, "rand", lambda *size, **how: torch.full(size, 1 - 2**-53, dtype=torch.float64)
    )
    speeds = sample_speeds(3, generator(), split, top=20.0).speed
    last = {"train": 20, "test": 18}[split]
    assert last - 1e-5 < speeds.max() <= last
