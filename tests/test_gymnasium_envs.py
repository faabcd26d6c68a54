import subprocess
import sys

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.utils.env_checker import check_env, data_equivalence
from gymnasium.vector import AutoresetMode
from gymnasium.wrappers.vector import RecordEpisodeStatistics

from bomrl_lite.policies.distributions import Gaussian
from bomrl_lite.rollout.collect import collect
from bomrl_lite.rollout.vector_env import VectorEnvSimulator
from bomrl_lite.tasks.gymnasium_envs import IDS, LocomotionEnv, LocomotionVectorEnv
from bomrl_lite.tasks.locomotion import FAMILIES
from bomrl_lite.tasks.robot_goals import Directions, Speeds
from bomrl_lite.types import Policy

NAMES = [f"bomrl_lite/{name}-v0" for name in IDS]
VEL, DIR = "bomrl_lite/HalfCheetahVel-v0", "bomrl_lite/HalfCheetahDir-v0"


def test_every_family_is_registered():
    assert sorted(IDS.values()) == sorted(FAMILIES)


# Joint angles and speeds have no bound; gymnasium warns of its own robots in the same words.
@pytest.mark.filterwarnings("ignore:.*A Box observation space m.* value is -?infinity:UserWarning")
@pytest.mark.parametrize("name", NAMES)
def test_single_environments_pass_gymnasium_s_checker(name):
    env = gymnasium.make(name, render_mode="rgb_array", width=64, height=48)
    check_env(env.unwrapped)  # other warnings are errors
    env.close()


@pytest.mark.parametrize("name", NAMES)
def test_a_batch_gives_what_gymnasium_s_loop_over_single_ones_gives(name):
    ours = gymnasium.make_vec(name, num_envs=3, max_episode_steps=25)
    theirs = gymnasium.make_vec(name, num_envs=3, max_episode_steps=25, vectorization_mode="sync")
    assert isinstance(ours, LocomotionVectorEnv)
    assert isinstance(theirs, gymnasium.vector.SyncVectorEnv)
    assert ours.metadata["autoreset_mode"] == theirs.metadata["autoreset_mode"]
    assert ours.metadata["render_fps"] == theirs.envs[0].unwrapped.metadata["render_fps"]
    for space in ("observation_space", "action_space"):
        assert getattr(ours, space) == getattr(theirs, space)
        assert getattr(ours, f"single_{space}") == getattr(theirs, f"single_{space}")
    assert data_equivalence(ours.reset(seed=7), theirs.reset(seed=7), exact=True)
    ours.action_space.seed(1)
    ended, cut = 0, 0
    for _ in range(55):
        actions = ours.action_space.sample()
        one, other = ours.step(actions), theirs.step(actions)
        assert one[0] in ours.observation_space
        assert all(data_equivalence(a, b, exact=True) for a, b in zip(one, other, strict=True))
        ended, cut = ended + one[2].sum(), cut + one[3].sum()
    assert cut > 0 or ended > 0
    if name.startswith(("bomrl_lite/Half", "bomrl_lite/Ant")):
        assert (ended, cut) == (0, 6)
    mask = np.array([True, False, True])
    answers = [env.reset(seed=3, options={"reset_mask": mask.copy()}) for env in (ours, theirs)]
    assert data_equivalence(*answers, exact=True)


@pytest.mark.parametrize("mode", AutoresetMode)
@pytest.mark.parametrize("name", ["bomrl_lite/HopperParams-v0", DIR])
def test_every_autoreset_mode_is_that_of_gymnasium_s_loop(name, mode):
    ours = gymnasium.make_vec(name, num_envs=3, max_episode_steps=7, autoreset_mode=mode)
    loop = {"vectorization_mode": "sync", "vector_kwargs": {"autoreset_mode": mode}}
    theirs = gymnasium.make_vec(name, num_envs=3, max_episode_steps=7, **loop)
    assert ours.autoreset_mode is ours.metadata["autoreset_mode"] is theirs.autoreset_mode is mode
    assert data_equivalence(ours.reset(seed=7), theirs.reset(seed=7), exact=True)
    ours.action_space.seed(1)
    ends = 0
    for _ in range(20):
        actions = ours.action_space.sample()
        one, other = ours.step(actions), theirs.step(actions)
        assert all(data_equivalence(a, b, exact=True) for a, b in zip(one, other, strict=True))
        over = one[2] | one[3]
        ends += over.sum()
        if mode is AutoresetMode.DISABLED and over.any():
            with pytest.raises(gymnasium.error.ResetNeeded, match=r"sub-environments .* are over"):
                ours.step(actions)
            answers = [env.reset(options={"reset_mask": over.copy()}) for env in (ours, theirs)]
            assert data_equivalence(*answers, exact=True)
    assert ends >= 6


def test_a_spec_can_be_written_to_a_file_and_made_again():
    for name in NAMES:
        spec = gymnasium.spec(name)
        assert gymnasium.envs.registration.EnvSpec.from_json(spec.to_json()) == spec
    env = gymnasium.make(
        gymnasium.envs.registration.EnvSpec.from_json(gymnasium.spec(DIR).to_json())
    )
    assert isinstance(env.unwrapped, LocomotionEnv)


def test_the_time_limit_is_the_family_s():
    env = gymnasium.make_vec(DIR, num_envs=2)
    env.reset(seed=0)
    for step in range(1, 103):
        observations, rewards, ended, cut, infos = env.step(np.zeros((2, 6), np.float32))
        assert not ended.any()
        assert cut.all() == (step == FAMILIES["cheetah/direction"].runner.horizon)
        assert infos.keys() == {"task", "_task"}
        assert (rewards == 0).all() == (step == 101)  # the step that begins the next episode
    assert observations.dtype == np.float32


def test_a_reset_at_an_episode_s_end_is_not_followed_by_another():
    env = gymnasium.make_vec(DIR, num_envs=2, max_episode_steps=1)
    env.reset(seed=0)
    assert env.step(env.action_space.sample())[3].all()
    env.reset()
    _, rewards, _, cut, infos = env.step(env.action_space.sample())
    assert cut.all()
    assert rewards.all()
    assert infos["_task"].all()


def test_tasks_are_drawn_from_the_split_and_shown():
    env = gymnasium.make_vec(VEL, num_envs=40)
    _, infos = env.reset(seed=0)
    speed = infos["task"]["speed"]
    assert speed.shape == (40,)
    assert 0 <= speed.min() < 0.3 < 1.7 < speed.max() <= 2
    _, again = env.reset()
    assert (again["task"]["speed"] != speed).all()
    held_out = np.floor(speed / 0.1).astype(int)
    _, infos = gymnasium.make_vec(VEL, num_envs=40, split="test").reset(seed=0)
    tested = np.floor(infos["task"]["speed"] / 0.1).astype(int)
    assert not set(held_out) & set(tested)


def rewards_at_rest(env, steps=1):
    """Reward of speed v* while a cheetah barely moves is about -v*."""
    for _ in range(steps):
        answer = env.step(np.zeros((env.num_envs, 6), np.float32))
    return answer[1]


def test_tasks_that_are_given_stay_until_others_are():
    wanted = Speeds(torch.tensor([0.0, 1.0, 2.0]))
    env = gymnasium.make_vec(VEL, num_envs=3, tasks=wanted, max_episode_steps=4)
    _, infos = env.reset(seed=0)
    np.testing.assert_array_equal(infos["task"]["speed"], wanted.speed)
    for _ in range(2):  # and on the other side of an autoreset
        rewards = rewards_at_rest(env, steps=3)
        assert rewards[0] > rewards[1] > rewards[2]
        np.testing.assert_allclose(np.diff(rewards), -1, atol=0.35)
        rewards_at_rest(env, steps=2)
    # What an info shows can be given back.
    other = gymnasium.make_vec(VEL, num_envs=3)
    _, shown = other.reset(seed=5, options={"tasks": infos["task"]})
    np.testing.assert_array_equal(shown["task"]["speed"], wanted.speed)
    # One for all; then free again.
    _, shown = other.reset(options={"tasks": {"speed": 1.5}})
    np.testing.assert_array_equal(shown["task"]["speed"], [1.5] * 3)
    _, shown = other.reset(options={"tasks": None})
    assert len(set(shown["task"]["speed"])) == 3
    single = gymnasium.make(DIR, tasks=Directions(torch.tensor([[-1.0]])))
    for seed in range(4):
        assert single.reset(seed=seed)[1]["task"]["direction"] == -1


def test_the_start_of_an_episode_does_not_depend_on_its_task():
    env = gymnasium.make(VEL)
    free, _ = env.reset(seed=3)
    given, _ = env.reset(seed=3, options={"tasks": {"speed": 0.5}})
    np.testing.assert_array_equal(free, given)
    other, _ = env.reset(seed=4)
    assert (free != other).all()


def test_gymnasium_s_wrappers_take_a_batch():
    env = RecordEpisodeStatistics(
        gymnasium.make_vec("bomrl_lite/HopperParams-v0", num_envs=4, max_episode_steps=30)
    )
    assert env.metadata["autoreset_mode"] is AutoresetMode.NEXT_STEP
    env.reset(seed=2)
    env.action_space.seed(2)
    sums, lengths, over, seen = np.zeros(4), np.zeros(4, int), np.zeros(4, bool), 0
    for _ in range(70):
        _, rewards, ended, cut, infos = env.step(env.action_space.sample())
        sums, lengths = np.where(over, 0, sums + rewards), np.where(over, 0, lengths + 1)
        over = ended | cut
        for row in np.flatnonzero(over):
            assert infos["episode"]["l"][row] == lengths[row] <= 30
            assert infos["episode"]["r"][row] == pytest.approx(sums[row])
            seen += 1
    assert seen >= 8


def test_pictures_show_the_task():
    env = gymnasium.make(DIR, render_mode="rgb_array", width=80, height=60)
    pictures = []
    for direction in (1.0, -1.0):
        env.reset(seed=0, options={"tasks": {"direction": [direction]}})
        env.step(env.action_space.sample() * 0)
        pictures.append(env.render())
        assert pictures[-1].shape == (60, 80, 3)
    assert (pictures[0] != pictures[1]).any()
    assert gymnasium.make(DIR).unwrapped.render() is None
    batch = gymnasium.make_vec(DIR, num_envs=2, render_mode="rgb_array", width=80, height=60)
    batch.reset(seed=0)
    assert [picture.shape for picture in batch.render()] == [(60, 80, 3)] * 2


def test_our_own_collector_takes_a_batch():
    env = gymnasium.make_vec(VEL, num_envs=4, max_episode_steps=6)
    still = Policy(
        init=lambda generator: {"mean": torch.zeros(6)},
        distribution=lambda params, observations: Gaussian(
            params["mean"].expand(*observations.shape[:-1], 6),
            torch.zeros(6).expand(*observations.shape[:-1], 6),
        ),
    )
    simulator = VectorEnvSimulator(env, num_tasks=2)
    rollout = collect(simulator, still, {"mean": torch.zeros(2, 6)}, torch.Generator())
    assert rollout.observations.shape == (2, 2, 6, 17)
    assert rollout.mask.all()


def test_wrong_requests_are_named():
    env = gymnasium.make_vec(VEL, num_envs=3)
    with pytest.raises(ValueError, match=r"speed of the tasks must be \(3,\), or \(\)"):
        env.reset(options={"tasks": {"speed": [1.0, 2.0]}})
    with pytest.raises(ValueError, match=r"tasks need the fields \['speed'\], got \['direction'\]"):
        env.reset(options={"tasks": Directions(torch.ones(3, 1))})
    with pytest.raises(ValueError, match="need a seed for each of 3, got 2"):
        env.reset(seed=[1, 2])
    with pytest.raises(ValueError, match="reset_mask must be 3 truth values"):
        env.reset(options={"reset_mask": np.array([True])})
    with pytest.raises(ValueError, match="family must be one of cheetah/velocity"):
        LocomotionEnv("cheetah")
    for make in (LocomotionEnv, LocomotionVectorEnv):
        with pytest.raises(
            ValueError, match="render_mode must be 'rgb_array' or None, got 'human'"
        ):
            make("cheetah/velocity", render_mode="human")
    with pytest.raises(ValueError, match="'never' is not a valid AutoresetMode"):
        LocomotionVectorEnv("cheetah/velocity", autoreset_mode="never")
    assert env.reset(seed=np.int64(3))[0].tolist() == env.reset(seed=3)[0].tolist()
    with pytest.raises(ValueError, match="split must be"):
        LocomotionEnv("cheetah/velocity", split="validation")
    env.reset(seed=[1, None, 3])
    with pytest.raises(FloatingPointError, match="control 0 of simulation 0 is nan"):
        env.step(np.full((3, 6), np.nan))
    with pytest.raises(ValueError, match="action"):
        env.step(np.zeros((3, 5)))


def test_gymnasium_finds_an_environment_by_the_name_of_the_module():
    code = (
        "import gymnasium, sys\n"
        "gymnasium.spec('CartPole-v1'); assert 'bomrl_lite' not in sys.modules\n"
        "name = 'bomrl_lite.tasks.gymnasium_envs:bomrl_lite/AntDir-v0'\n"
        "env = gymnasium.make_vec(name, num_envs=2)\n"
        "print(env.reset(seed=0)[0].shape)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (done.stdout.strip(), done.stderr) == ("(2, 27)", "")


def test_registering_loads_no_simulator():
    code = "import bomrl_lite.tasks.gymnasium_envs, sys; print('mujoco' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
