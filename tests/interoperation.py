"""Our environments in the hands of torchrl, stable-baselines3 and gymnasium's wrappers.

    python tests/interoperation.py

makes an environment of its own in a temporary folder (minutes, a gigabyte), for the course needs
none of these libraries; so this is no part of ``make test``.
"""

import subprocess
import sys
import tempfile
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PINNED = ("torchrl==0.14.1", "tensordict==0.14.3", "stable-baselines3==2.9.2")
NAMES = ("HalfCheetahVel", "HopperParams", "AntDir")


def torchrl_takes_a_batch() -> None:
    """Of the mode that torchrl prefers; SAME_STEP it cannot read with infos that are nested."""
    import gymnasium
    from torchrl.envs import GymEnv, GymWrapper, check_env_specs

    for name in NAMES:
        disabled = gymnasium.vector.AutoresetMode.DISABLED
        made = {"num_envs": 3, "max_episode_steps": 7, "autoreset_mode": disabled}
        env = GymWrapper(gymnasium.make_vec(f"bomrl_lite/{name}-v0", **made))
        rollout = env.rollout(20, break_when_any_done=False)
        assert rollout.batch_size == (3, 20)
        assert rollout["next", "done"].sum() >= 6
        check_env_specs(GymEnv(f"bomrl_lite/{name}-v0"))


def stable_baselines_trains() -> None:
    """On a batch of its own making; it takes none of gymnasium's."""
    import gymnasium
    from stable_baselines3 import PPO
    from stable_baselines3.common.env_checker import check_env
    from stable_baselines3.common.env_util import make_vec_env

    for name in NAMES:
        check_env(gymnasium.make(f"bomrl_lite/{name}-v0"))
    batch = make_vec_env("bomrl_lite/HalfCheetahVel-v0", n_envs=2)
    model = PPO("MlpPolicy", batch, n_steps=16, batch_size=16, n_epochs=1, seed=0)
    assert model.learn(64).num_timesteps == 64


def wrappers_of_gymnasium_see_the_same_rewards_as_in_its_loop() -> None:
    """In every mode that begins episodes by itself."""
    import gymnasium
    import numpy as np
    from gymnasium.vector import AutoresetMode
    from gymnasium.wrappers import vector as wrappers

    def rewards(robot, mode, how):
        options = {"autoreset_mode": mode}
        options = options if how == "batch" else {"vector_kwargs": options}
        options |= {"vectorization_mode": "sync"} if how == "loop" else {}
        env = gymnasium.make_vec(
            f"bomrl_lite/{robot}-v0", num_envs=3, max_episode_steps=7, **options
        )
        if mode is AutoresetMode.NEXT_STEP:  # the other it refuses
            env = wrappers.NormalizeObservation(env)
        for name in ("RecordEpisodeStatistics", "ClipAction", "NormalizeReward", "DictInfoToList"):
            env = getattr(wrappers, name)(env)
        env.reset(seed=0)
        env.action_space.seed(0)
        return np.array([env.step(env.action_space.sample())[1] for _ in range(20)])

    for name in NAMES:
        for mode in (AutoresetMode.NEXT_STEP, AutoresetMode.SAME_STEP):
            assert (rewards(name, mode, "batch") == rewards(name, mode, "loop")).all()


CHECKS = (
    torchrl_takes_a_batch,
    stable_baselines_trains,
    wrappers_of_gymnasium_see_the_same_rewards_as_in_its_loop,
)


def main() -> int:
    """Make the environment, and run the checks in it; ``--here`` runs them in the present one."""
    if sys.argv[1:] == ["--here"]:
        import bomrl_lite.tasks.gymnasium_envs  # noqa: F401  # registers

        for check in CHECKS:
            check()
            print(f"passed: {check.__name__.replace('_', ' ')}", flush=True)
        return 0
    with tempfile.TemporaryDirectory() as folder:
        venv.create(folder, with_pip=True)
        python = Path(folder) / ("Scripts" if sys.platform == "win32" else "bin") / "python"
        constraints = ("-c", ROOT / "constraints.txt")
        install = (python, "-m", "pip", "install", "-q", "-e", ROOT, *PINNED, *constraints)
        subprocess.run(install, check=True)
        return subprocess.run((python, __file__, "--here"), check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
