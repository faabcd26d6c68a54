"""Collection against exact values, hand-stepped environments and simulators with known tricks."""

from types import SimpleNamespace

import gymnasium as gym
import numpy as np
import pytest
import torch
from conftest import random_logits, random_task, solve_task, stack
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from bomrl_lite.policies.distributions import Categorical, Gaussian
from bomrl_lite.policies.networks import gaussian_mlp
from bomrl_lite.rollout.collect import collect, repeat
from bomrl_lite.rollout.vector_env import VectorEnvSimulator
from bomrl_lite.tasks import make_tasks
from bomrl_lite.tasks.tabular import TabularSimulator
from bomrl_lite.types import Policy, TabularTask

TABLE = Policy(
    lambda generator: {"logits": torch.zeros(5, 3)},
    lambda params, states: Categorical(torch.log_softmax(params["logits"][states], -1)),
)
MODES = list(AutoresetMode)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def gaussian(observation_size: int, action_size: int) -> Policy:
    def init(generator):
        weights = torch.randn(observation_size, action_size, generator=generator)
        return {"weights": weights, "bias": torch.zeros(action_size), "log_std": torch.ones(())}

    def distribution(params, observations):
        mean = observations @ params["weights"] + params["bias"]
        return Gaussian(mean, params["log_std"].expand(mean.shape))

    return Policy(init, distribution)


def categorical(observation_size: int, num_actions: int) -> Policy:
    def distribution(params, observations):
        return Categorical(torch.log_softmax(observations @ params["weights"], -1))

    shape = (observation_size, num_actions)
    return Policy(lambda g: {"weights": torch.randn(shape, generator=g)}, distribution)


def tabular(num_episodes: int, horizon: int):
    tasks = [random_task(0), random_task(1)]
    simulator = TabularSimulator(stack(tasks), num_episodes, horizon)
    return simulator, tasks, torch.stack([random_logits(0), random_logits(1)])


# --- tabular tasks -----------------------------------------------------------------------------


def test_returns_and_occupancies_are_the_exact_ones():
    simulator, tasks, logits = tabular(4000, 40)
    gamma = 0.7
    rollout = collect(simulator, TABLE, {"logits": logits}, seeded())
    discounts = gamma ** np.arange(40)
    for n, task in enumerate(tasks):
        occupancy, _, exact = solve_task(torch.softmax(logits[n], -1), task, gamma)
        returns = rollout.rewards[n].numpy() @ discounts
        assert abs(returns.mean() - exact.item()) < 3.5 * returns.std() / 4000**0.5
        visits = np.eye(5)[rollout.observations[n].numpy()]
        visits = (1 - gamma) * np.einsum("bts,t->bs", visits, discounts)
        error = np.abs(visits.mean(0) - occupancy.numpy())
        assert (error < 3.5 * visits.std(0) / 4000**0.5).all()


def test_transitions_and_starts_have_their_probabilities():
    task = random_task(3)
    for state, never in enumerate([0, 4, 2, 3, 1]):
        task.transition[state, :, never] = 0.0
    task.start[0] = task.start[4] = 0.0
    task = task._replace(
        transition=task.transition / task.transition.sum(-1, keepdim=True),
        start=task.start / task.start.sum(),
    )
    simulator = TabularSimulator(stack([task]), 2000, 30)
    rollout = collect(simulator, TABLE, {"logits": torch.zeros(1, 5, 3)}, seeded())
    states, actions = rollout.observations[0].numpy(), rollout.actions[0].numpy()
    after = np.concatenate([states[:, 1:], rollout.final_observations[0][:, None]], 1)
    counts = np.zeros((5, 3, 5))
    np.add.at(counts, (states, actions, after), 1)
    chi_square(counts, task.transition.numpy() * counts.sum(-1, keepdims=True), 5 * 3 * 3)
    starts = np.bincount(states[:, 0], minlength=5)
    chi_square(starts, 2000 * task.start.numpy(), 2)
    chosen = np.bincount(actions.ravel(), minlength=3)
    chi_square(chosen, np.full(3, 20000.0), 2)
    assert np.array_equal(rollout.rewards[0], task.reward.numpy()[states, actions])


def chi_square(counts, expected, freedom):
    assert (counts[expected == 0] == 0).all()
    likely = expected > 0
    statistic = ((counts - expected)[likely] ** 2 / expected[likely]).sum()
    assert abs(statistic - freedom) < 3.5 * (2 * freedom) ** 0.5


@pytest.mark.parametrize(("uniform", "state"), [(0.0, 1), (1 - 2**-53, 10)])
def test_rounding_opens_no_door_to_impossible_states(monkeypatch, uniform, state):
    """Ten tenths add up to less than 1, and a uniform variable may be 0."""
    start = torch.tensor([[0.0, *[0.1] * 10, 0.0, 0.0]], dtype=torch.float64)
    moves = start[:, None, None, :].expand(1, 13, 2, 13)
    task = TabularTask(moves, torch.zeros(1, 13, 2, dtype=torch.float64), start)
    assert start.cumsum(-1)[0, 10] < 1
    simulator = TabularSimulator(task, 3, 2)
    edge = lambda *shape, **kind: torch.full(shape, uniform, dtype=kind["dtype"])  # noqa: E731
    monkeypatch.setattr(torch, "rand", edge)
    assert (simulator.reset(seeded()) == state).all()
    after, *_ = simulator.step(torch.ones(1, 3, dtype=torch.int64), seeded())
    assert (after == state).all()


def test_an_infinite_task_is_cut_off_not_ended():
    simulator, _, logits = tabular(3, 7)
    rollout = collect(simulator, TABLE, {"logits": logits}, seeded())
    assert rollout.mask.shape == (2, 3, 7)
    assert rollout.mask.all()
    assert not rollout.terminated.any()


def test_log_probs_are_those_of_the_policy_that_acted_and_carry_no_gradient():
    simulator, _, logits = tabular(6, 9)
    rollout = collect(simulator, TABLE, {"logits": logits.requires_grad_()}, seeded())
    assert not any(field.requires_grad for field in rollout)
    for n, table in enumerate(torch.softmax(logits.detach(), -1).log()):
        picked = table[rollout.observations[n], rollout.actions[n]]
        assert torch.allclose(rollout.log_probs[n], picked, atol=1e-12)


def test_one_generator_state_gives_one_rollout():
    simulator, _, logits = tabular(4, 6)
    first, again, other = (
        collect(simulator, TABLE, {"logits": logits}, seeded(seed)) for seed in (5, 5, 6)
    )
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not torch.equal(first.actions, other.actions)


def test_every_task_is_played_by_its_own_policy():
    simulator, _, _ = tabular(8, 5)
    logits = torch.zeros(2, 5, 3)
    logits[0, :, 0] = logits[1, :, 2] = 100.0
    rollout = collect(simulator, TABLE, {"logits": logits}, seeded())
    assert (rollout.actions[0] == 0).all()
    assert (rollout.actions[1] == 2).all()


def test_the_policy_is_called_once_a_step():
    calls = []
    counted = TABLE._replace(
        distribution=lambda params, s: calls.append(s) or TABLE.distribution(params, s)
    )
    simulator, _, logits = tabular(4, 6)
    collect(simulator, counted, {"logits": logits}, seeded())
    assert len(calls) == 6


def test_repeated_parameters_are_shared():
    shared = torch.tensor([1.0, 2.0], requires_grad=True)
    copies = repeat({"x": shared}, 3)["x"]
    assert copies.tolist() == [[1.0, 2.0]] * 3
    (copies * torch.arange(3.0).unsqueeze(-1)).sum().backward()
    assert shared.grad.tolist() == [3.0, 3.0]


# --- ends and padding --------------------------------------------------------------------------


class Script:
    """Two tasks of one episode; observations count the steps, and what follows an end is poison.

    Task 0 is cut off by its step 2 and "terminates" later; task 1 terminates at its step 4.
    """

    def __init__(self, horizon=6, **poison):
        self.horizon, self.time, self.poison = horizon, 0, poison
        self.memory = torch.zeros(2, 1, 1)

    def reset(self, generator):
        self.time = 0
        return self.memory.zero_()

    def step(self, actions, generator):
        self.time += 1
        rewards = torch.full((2, 1), float(self.time))
        self.memory += 1  # in place, as simulators that share memory do
        if self.time > 2:
            rewards[0], self.memory[0] = torch.nan, torch.nan
        if self.poison.get("at") == self.time:
            {"reward": rewards, "observation": self.memory}[self.poison["what"]][1] = torch.inf
        cut = torch.tensor([[self.time == 2], [False]])
        ended = torch.tensor([[self.time == 3], [self.time == 4]])
        return self.memory, rewards, ended, cut


def play(script, log_std=0.0, weight=0.0, bias=0.0):
    params = {"weights": torch.full((2, 1, 1), weight), "bias": torch.full((2, 1), bias)}
    params["log_std"] = torch.full((2,), log_std)
    return collect(script, gaussian(1, 1), params, seeded())


def test_what_follows_an_end_never_counts():
    rollout = play(Script())
    assert rollout.mask[:, 0].tolist() == [[1, 1, 0, 0, 0, 0], [1, 1, 1, 1, 0, 0]]
    assert rollout.terminated[:, 0].tolist() == [False, True]
    assert rollout.rewards[:, 0].tolist() == [[1, 2, 0, 0, 0, 0], [1, 2, 3, 4, 0, 0]]
    steps = rollout.observations[:, 0, :, 0]
    assert steps.tolist() == [[0, 1, 0, 0, 0, 0], [0, 1, 2, 3, 0, 0]]
    assert rollout.final_observations[:, 0, 0].tolist() == [2, 4]
    padding = rollout.mask == 0
    assert not rollout.log_probs[padding].any()
    assert not rollout.actions[padding].any()
    assert rollout.actions[~padding].all()


def test_the_horizon_cuts_episodes_off():
    rollout = play(Script(horizon=3))
    assert rollout.mask.sum(-1)[:, 0].tolist() == [2, 3]
    assert not rollout.terminated.any()
    assert rollout.final_observations[:, 0, 0].tolist() == [2, 3]


@pytest.mark.parametrize(
    ("script", "policy", "message"),
    [
        (Script(what="reward", at=3), {}, r"reward of step 2 at \[1, 0\] is inf"),
        (Script(what="observation", at=3), {}, r"observation of step 3 at \[1, 0, 0\] is inf"),
        (Script(), {"log_std": 200.0}, "action of step 0 .* means and standard deviations"),
        (Script(), {"weight": torch.nan}, "parameter 'weights' at .* is nan; an update diverged"),
        (Script(), {"bias": 3e38, "weight": 3e38}, "action distribution of step 1"),
    ],
    ids=["reward", "observation", "action", "parameter", "distribution"],
)
def test_numbers_that_are_not_finite_are_named(script, policy, message):
    with pytest.raises(FloatingPointError, match=message):
        play(script, **policy)


def test_a_forbidden_action_is_no_error():
    simulator, _, _ = tabular(8, 5)
    logits = torch.zeros(2, 5, 3)
    logits[..., 1] = -torch.inf
    masked = TABLE._replace(
        distribution=lambda params, s: TABLE.distribution(
            {"logits": params["logits"] + logits[0]}, s
        )
    )
    rollout = collect(simulator, masked, {"logits": torch.zeros(2, 5, 3)}, seeded())
    assert not (rollout.actions == 1).any()


# --- gymnasium ---------------------------------------------------------------------------------


def make(name, mode, num_envs=6, limit=25, **options):
    kind = {"vectorization_mode": "sync", "vector_kwargs": {"autoreset_mode": mode}}
    env = gym.make_vec(name, num_envs=num_envs, max_episode_steps=limit, **kind, **options)
    reset, env.seeds = env.reset, []

    def spied(**arguments):
        env.seeds.append(arguments.get("seed"))
        return reset(**arguments)

    env.reset = spied
    return env


def by_hand(name, seed, actions, limit, horizon):
    """Step one environment; returns observations (first to last), rewards, terminated."""
    env = gym.make(name, max_episode_steps=limit)
    observations, rewards = [env.reset(seed=seed)[0]], []
    terminated = truncated = False
    while not (terminated or truncated) and len(rewards) < horizon:
        action = actions[len(rewards)].numpy()
        if isinstance(env.action_space, gym.spaces.Box):
            action = np.clip(action, env.action_space.low, env.action_space.high)
        observation, reward, terminated, truncated, _ = env.step(action)
        observations.append(observation)
        rewards.append(reward)
    return np.array(observations, dtype=np.float32), np.float32(rewards), terminated


@pytest.mark.parametrize("mode", MODES, ids=lambda mode: mode.name)
@pytest.mark.parametrize(
    ("name", "policy", "limit", "horizon"),
    [
        ("CartPole-v1", categorical(4, 2), 25, None),  # some terminate, some reach the limit
        ("CartPole-v1", categorical(4, 2), 12, 40),  # later episodes terminate within the rollout
        ("Pendulum-v1", gaussian(3, 1), 8, 12),
        ("Pendulum-v1", gaussian(3, 1), 8, 5),
    ],
)
def test_an_adapted_environment_is_the_one_stepped_by_hand(name, policy, limit, horizon, mode):
    env = make(name, mode, limit=limit)
    generator = seeded(3)
    params = {k: torch.stack([v, -v]) for k, v in policy.init(generator).items()}
    rollout = collect(VectorEnvSimulator(env, 2, horizon), policy, params, generator)
    lengths = rollout.mask.sum(-1).int()
    horizon = horizon or limit
    assert rollout.mask.shape == (2, 3, horizon)
    for n in range(2):
        for b in range(3):
            seed, length = env.seeds[0] + 3 * n + b, int(lengths[n, b])
            seen, paid, terminated = by_hand(name, seed, rollout.actions[n, b], limit, horizon)
            assert length == len(paid)
            assert rollout.terminated[n, b] == terminated
            assert rollout.rewards[n, b].tolist() == [*paid, *[0] * (horizon - length)]
            assert np.array_equal(rollout.observations[n, b, :length], seen[:-1])
            assert np.array_equal(rollout.final_observations[n, b], seen[-1])
            assert not rollout.observations[n, b, length:].any()
    if name == "CartPole-v1" and limit == 25:
        assert 0 < rollout.terminated.sum() < 6
    if name == "Pendulum-v1":
        assert (rollout.actions.abs() > 2).any()


@pytest.mark.parametrize("mode", MODES, ids=lambda mode: mode.name)
def test_one_generator_state_seeds_the_environments(mode):
    policy = categorical(4, 2)
    params = repeat(policy.init(seeded()), 2)
    simulator = VectorEnvSimulator(make("CartPole-v1", mode), 2)
    first, again, other = (collect(simulator, policy, params, seeded(s)) for s in (1, 1, 2))
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not torch.equal(first.observations[:, :, 0], other.observations[:, :, 0])


@pytest.mark.parametrize("mode", MODES, ids=lambda mode: mode.name)
def test_numbered_observations_stay_numbers(mode):
    env = make("FrozenLake-v1", mode, is_slippery=False)
    right_then_down = torch.full((16, 4), -50.0)
    right_then_down[[0, 1, 6, 10], [2, 2, 1, 1]] = 50.0
    right_then_down[[2, 14], [1, 2]] = 50.0
    policy = Policy(lambda g: {"logits": right_then_down}, TABLE.distribution)
    simulator = VectorEnvSimulator(env)
    rollout = collect(simulator, policy, repeat(policy.init(seeded()), 1), seeded())
    assert rollout.observations.dtype == torch.int64
    assert rollout.observations[0, 0, :7].tolist() == [0, 1, 2, 6, 10, 14, 0]
    assert (rollout.final_observations == 15).all()
    assert rollout.terminated.all()
    assert rollout.rewards[0, 0].sum() == rollout.rewards[0, 0, 5] == 1


class Counted:
    """A vector environment whose numbers begin at 5 and whose actions begin at -1."""

    metadata = {"autoreset_mode": AutoresetMode.SAME_STEP}  # noqa: RUF012
    num_envs = 2
    single_observation_space = gym.spaces.Discrete(9, start=5)
    single_action_space = gym.spaces.Discrete(3, start=-1)

    def reset(self, **arguments):
        return np.array([5, 5]), {}

    def step(self, actions):
        self.got = actions
        return np.array([6, 7]), np.ones(2), np.ones(2, bool), np.zeros(2, bool), {}


def test_spaces_that_do_not_begin_at_zero():
    env = Counted()
    simulator = VectorEnvSimulator(env, horizon=2)
    assert simulator.reset(seeded()).tolist() == [[0, 0]]
    with pytest.raises(ValueError, match=r"infos\['final_obs'\], got infos with \[\]"):
        simulator.step(torch.tensor([[0, 2]]), seeded())
    assert env.got.tolist() == [-1, 1]


def test_actions_of_a_box_are_clipped_where_they_are_handed_over():
    class Boxed(Counted):
        single_action_space = gym.spaces.Box(np.float32([[-1, -2]]), np.float32([[3, 4]]))
        metadata = {"autoreset_mode": AutoresetMode.NEXT_STEP}  # noqa: RUF012

    env = Boxed()
    drawn = torch.tensor([[[-9.0, -9.0], [9.0, 0.5]]], dtype=torch.float64)
    VectorEnvSimulator(env, horizon=2).step(drawn, seeded())
    assert env.got.dtype == np.float32
    assert env.got.tolist() == [[[-1, -2]], [[3, 0.5]]]


def test_the_horizon_is_the_environments_own():
    def horizon(name, **options):
        return VectorEnvSimulator(gym.make_vec(name, vectorization_mode="sync", **options)).horizon

    assert horizon("Pendulum-v1") == 200
    assert horizon("Pendulum-v1", max_episode_steps=9) == 9


class Endless(gym.Env):
    """No limit of its own; begins as ``starts`` says, and refuses while ``starts`` is empty."""

    observation_space = action_space = gym.spaces.Box(-1.0, 1.0, (2,))

    def __init__(self, starts=()):
        self.starts = iter(starts)

    def reset(self, **arguments):
        start = next(self.starts, None)
        if start is None:
            raise AssertionError  # without a word, as metaworld does
        return np.full(2, start, np.float32), {}

    def step(self, action):
        return np.zeros(2, np.float32), 0.0, False, False, {}


def test_a_limit_is_found_where_a_batch_was_put_together_by_hand():
    pendulum = SyncVectorEnv([lambda: gym.make("Pendulum-v1")] * 2)
    assert VectorEnvSimulator(pendulum).horizon == 200
    limits = iter((5, 9))
    limited = SyncVectorEnv([lambda: gym.wrappers.TimeLimit(Endless(), next(limits))] * 2)
    assert VectorEnvSimulator(gym.wrappers.vector.ClipReward(limited, 0, 1)).horizon == 9
    envpool = SimpleNamespace(config=SimpleNamespace(max_episode_steps=7))
    assert VectorEnvSimulator(env_with(spec=envpool)).horizon == 7
    with pytest.raises(ValueError, match="name no time limit"):
        VectorEnvSimulator(SyncVectorEnv([Endless]))


def test_an_environment_that_ignores_its_seed_is_warned_of_once():
    simulator = VectorEnvSimulator(SyncVectorEnv([lambda: Endless((0.1, 0.2, 0.3))]), horizon=3)
    with pytest.warns(UserWarning, match="twice with one seed, so a run .* cannot be repeated"):
        simulator.reset(seeded())
    assert simulator.reset(seeded())[0, 0].tolist() == pytest.approx([0.3, 0.3])
    VectorEnvSimulator(SyncVectorEnv([lambda: Endless((0.1, 0.1))]), horizon=3).reset(seeded())


def test_an_environment_that_must_be_given_its_tasks_first_is_named():
    simulator = VectorEnvSimulator(SyncVectorEnv([Endless]), horizon=3)
    with pytest.raises(ValueError, match=r'tasks are set from outside .* env.call\("sample_tasks"'):
        simulator.reset(seeded())


def test_actions_that_record_a_gradient_leave_none_behind():
    env = make("Pendulum-v1", MODES[0])
    simulator = VectorEnvSimulator(env)
    simulator.reset(seeded())
    drawn = torch.ones(1, 6, 1, requires_grad=True)
    for _ in range(3):
        assert not any(part.requires_grad for part in simulator.step(drawn, seeded()))


def test_every_rollout_has_a_seed_of_its_own_in_the_environments():
    """Drawn from two thousand million: of 30 no two are alike, and half are above the middle."""
    env, seeds = Counted(), []
    env.reset = lambda seed: (seeds.append(seed), (np.array([5, 5]), {}))[1]
    simulator, generator = VectorEnvSimulator(env, horizon=2), seeded()
    for _ in range(30):
        simulator.reset(generator)
    assert len(set(seeds)) == 30
    assert 5 < sum(seed > 2**30 for seed in seeds) < 25


def test_memory_of_the_environment_is_copied():
    env = SyncVectorEnv([lambda: gym.make("Pendulum-v1")] * 2, copy=False)
    simulator = VectorEnvSimulator(env, horizon=3)
    first = simulator.reset(seeded())
    kept = first.clone()
    simulator.step(torch.ones(1, 2, 1), seeded())
    assert torch.equal(first, kept)


class Brief:
    """One episode of two steps at most, whose rewards are given; it counts the steps."""

    horizon = 5

    def __init__(self, *rewards: float):
        self.rewards, self.steps = rewards, 0

    def reset(self, generator):
        return torch.zeros(1, 1, dtype=torch.int64)

    def step(self, actions, generator):
        reward = self.rewards[self.steps]
        self.steps += 1
        over = torch.tensor([[self.steps == len(self.rewards)]])
        return torch.zeros(1, 1, dtype=torch.int64), torch.tensor([[reward]]), over, over


def test_nothing_is_simulated_once_all_episodes_are_over():
    simulator = Brief(1.0, 2.0)
    rollout = collect(simulator, TABLE, {"logits": torch.zeros(1, 5, 3)}, seeded())
    assert simulator.steps == 2
    assert rollout.rewards.tolist() == [[[1.0, 2.0, 0.0, 0.0, 0.0]]]


def test_where_numbers_are_not_read_on_the_way_they_are_read_at_the_end(monkeypatch):
    """As on a GPU, which an episode does not wait for."""
    monkeypatch.setattr("bomrl_lite.rollout.collect._may_look", lambda values: False)
    simulator = Brief(1.0, float("nan"), 3.0, 4.0, 5.0)
    with pytest.raises(FloatingPointError, match=r"reward at \[0, 0, 1\] is nan; the simulation"):
        collect(simulator, TABLE, {"logits": torch.zeros(1, 5, 3)}, seeded())
    assert simulator.steps == 5


# --- errors ------------------------------------------------------------------------------------


def env_with(**changes):
    box = gym.spaces.Box(-1.0, 1.0, (2,))
    parts = {"num_envs": 4, "single_observation_space": box, "single_action_space": box}
    parts |= {"spec": None, "metadata": {"autoreset_mode": AutoresetMode.NEXT_STEP}}
    parts |= dict.fromkeys(("reset", "step"), lambda **_: None)
    return SimpleNamespace(**parts | changes)


def simulate_tables(**changes):
    arguments = {"tasks": stack([random_task(0)]), "num_episodes": 2, "horizon": 3} | changes
    return TabularSimulator(**arguments)


MISTAKES = {
    "no horizon": (lambda: VectorEnvSimulator(env_with()), "give VectorEnvSimulator.*horizon="),
    "no steps": (lambda: VectorEnvSimulator(env_with(), horizon=0), "horizon must be at least 1"),
    "odd tasks": (lambda: VectorEnvSimulator(env_with(), 3, 5), "4 environments .* 3 tasks"),
    "no mode": (lambda: VectorEnvSimulator(env_with(metadata={}), 1, 5), "AutoresetMode, got None"),
    "a dictionary": (
        lambda: VectorEnvSimulator(env_with(single_observation_space=gym.spaces.Dict()), 1, 5),
        "env.single_observation_space must be Box or Discrete, got Dict",
    ),
    "many actions": (
        lambda: VectorEnvSimulator(
            env_with(single_action_space=gym.spaces.MultiDiscrete([2, 3])), 1, 5
        ),
        "env.single_action_space must be Box or Discrete, got MultiDiscrete",
    ),
    "short actions": (
        lambda: VectorEnvSimulator(env_with(), 2, 5).step(torch.zeros(2, 2, 3), seeded()),
        r"actions must be \[2, 2, 2\] for Box.*, got \[2, 2, 3\]",
    ),
    "actions of a Gaussian": (
        lambda: VectorEnvSimulator(Counted(), 1, 5).step(torch.zeros(1, 2), seeded()),
        r"Discrete\(3, start=-1\) are whole numbers, got torch.float32: take a categorical",
    ),
    "half an answer": (
        lambda: VectorEnvSimulator(env_with(reset=lambda **_: (np.zeros((2, 2)), {})), 1, 5).reset(
            seeded()
        ),
        "4 environments answered with 2 values",
    ),
    "one task": (lambda: simulate_tables(tasks=random_task(0)), r"leading N.*got \(5, 3\)"),
    "no episodes": (lambda: simulate_tables(num_episodes=0), "num_episodes must be at least 1"),
    "no such action": (
        lambda: simulate_tables().step(torch.tensor([[0, 3]]), seeded()),
        r"in \[0, 3\), got 0 to 3",
    ),
    "shared": (
        lambda: collect(simulate_tables(), TABLE, {"logits": torch.zeros(5, 3)}, seeded()),
        r"'logits' must have a leading N of 1 tasks, got \(5, 3\); .* repeat\(params, 1\)",
    ),
    "no copies": (
        lambda: repeat({"logits": torch.ones(2)}, 0),
        "num_tasks must be at least 1, got 0",
    ),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_mistakes_are_explained(name):
    mistake, message = MISTAKES[name]
    with pytest.raises(ValueError, match=message):
        mistake()


def test_a_policy_in_another_precision_than_its_observations_is_refused():
    family = make_tasks("navigation/circle")
    simulator = family.simulator(family.sample(2, seeded(), "train"), 1, 1)
    policy = gaussian_mlp(2, 2, hidden=(3,), dtype=torch.float64)
    params = repeat(policy.init(seeded()), 2)
    with pytest.raises(ValueError, match=r"float64 but its input is torch.float32: make the pol"):
        collect(simulator, policy, params, seeded())
