r"""The robots as gymnasium environments, for those who bring a library of their own.

Importing this module registers every family of :mod:`bomrl_lite.tasks.locomotion` with gymnasium::

    import gymnasium
    import bomrl_lite.tasks.gymnasium_envs

    env = gymnasium.make("bomrl_lite/HalfCheetahVel-v0", render_mode="rgb_array")
    envs = gymnasium.make_vec("bomrl_lite/HalfCheetahVel-v0", num_envs=16)

``make_vec`` makes ONE batch of simulations. Without an import, the id
``"bomrl_lite.tasks.gymnasium_envs:bomrl_lite/HalfCheetahVel-v0"`` lets gymnasium do it; plugins
that register themselves are gone since gymnasium 1.0.

An episode's task is drawn when the episode begins, and ``info["task"]`` shows it. To choose the
tasks, pass ``tasks=`` to ``make``, or ``options={"tasks": ...}`` to ``reset``: they hold for all
episodes until other tasks are given, or None to draw again. The time limit is reported as
``truncated``. Vector environments restart a sub-environment that is over in the NEXT step, as
gymnasium's own do by default, or as ``autoreset_mode=`` says, and seed sub-environment i with
seed + i: they return the same numbers as gymnasium's ``vectorization_mode="sync"``. torchrl takes a
batch whose mode is DISABLED; stable-baselines3 takes none of gymnasium's, only the single
environment's id.
"""

import math
import sys
from collections.abc import Mapping
from typing import Any, TypedDict, Unpack, cast

import gymnasium
import numpy as np
import torch
from gymnasium.utils import seeding
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray
from torch import Tensor

from bomrl_lite.tasks.locomotion import FAMILIES, LocomotionSimulator, start_states
from bomrl_lite.tasks.robot_goals import Bodies, Directions, Speeds, scaled
from bomrl_lite.tasks.splits import check_split
from bomrl_lite.types import Split

IDS = {
    "HalfCheetahVel": "cheetah/velocity",
    "HalfCheetahDir": "cheetah/direction",
    "AntVel": "ant/velocity",
    "AntDir": "ant/direction",
    "WalkerDir": "walker/direction",
    "HopperParams": "hopper/parameters",
    "WalkerParams": "walker/parameters",
    "HumanoidDir": "humanoid/direction",
}
"""Names with gymnasium, ``bomrl_lite/<name>-v0``, and ours."""

Observations = NDArray[np.float32]
Actions = NDArray[np.float32]
Space = gymnasium.Space[NDArray[np.float32]]
TaskFields = tuple[Tensor, ...] | Mapping[str, Any]
"""Tasks, as a record such as :class:`bomrl_lite.tasks.robot_goals.Speeds` or as a mapping of its
fields such as ``info["task"]``; of M robots, or of one task for all."""


class RobotOptions(TypedDict, total=False):
    """Keyword arguments of :class:`Robots`, which every environment passes on."""

    split: str
    tasks: TaskFields | None
    integrator: str
    backend: str


class Robots(LocomotionSimulator):
    """M robots with a task each, of which any may start anew while the others go on.

    Args:
        family: name of one of :data:`bomrl_lite.tasks.locomotion.FAMILIES`.
        num: M.
        split: of tasks that are drawn.
        tasks: see :meth:`give`.
        integrator: see :func:`bomrl_lite.physics.robots.load_model`.
        backend: see :func:`bomrl_lite.physics.make_physics`.

    Raises:
        ValueError: no such family, split, integrator or backend; tasks that are not the family's.
    """

    def __init__(
        self,
        family: str,
        num: int,
        *,
        split: str = "train",
        tasks: TaskFields | None = None,
        integrator: str = "gym",
        backend: str = "auto",
    ) -> None:
        if family not in FAMILIES:
            raise ValueError(f"family must be one of {', '.join(FAMILIES)}, got {family!r}")
        self._split: Split = check_split(split)
        # Tasks of the right shape and kind; each is replaced when its robot starts.
        drawn = FAMILIES[family].sample(num, torch.Generator(), self._split)
        # Time limits are gymnasium's business.
        super().__init__(
            FAMILIES[family], drawn, 1, sys.maxsize, integrator=integrator, backend=backend
        )
        self._before = self.physics.qpos.clone()
        self.give(tasks)

    def spaces(self) -> tuple[Space, Space]:
        """Return the spaces of one robot's observations and actions."""
        low, high = self.model.actuator_ctrlrange.astype(np.float32).T
        size = (self._family.runner.observation_size,)
        # gymnasium does not infer a box's kind of numbers from its dtype.
        return (
            cast("Space", gymnasium.spaces.Box(-np.inf, np.inf, size, np.float32)),
            cast("Space", gymnasium.spaces.Box(low, high, dtype=np.float32)),
        )

    def give(self, tasks: TaskFields | None) -> None:
        """Fix the tasks of all later episodes.

        Args:
            tasks: see :data:`TaskFields`; None draws a new task for every episode.

        Raises:
            ValueError: fields that these tasks do not have, or of another shape.
        """
        self._given = None if tasks is None else self._checked(tasks)

    def start(self, rows: list[int], randoms: list[np.random.Generator]) -> None:
        """Begin new episodes of some robots, from the random numbers of each."""
        qpos, qvel = self.physics.qpos.cpu().clone(), self.physics.qvel.cpu().clone()
        for row in rows:
            seed = cast("int", randoms[row].integers(2**63))
            generator = torch.Generator().manual_seed(int(seed))
            # Drawn even if a task is given: first states are then the same either way.
            task = self._family.sample(1, generator, self._split)
            qpos[row], qvel[row] = (
                state[0]
                for state in start_states(1, self._start, qvel.shape[1], self._robot, generator)
            )
            source, index = (task, 0) if self._given is None else (self._given, row)
            for field, values in zip(self._tasks, source, strict=True):
                field[row] = values[index]
        if isinstance(self._tasks, Bodies):
            self.physics.set_parameters(scaled(self.model, self._tasks, 1))
        where = torch.zeros(len(qpos), dtype=torch.bool)
        where[rows] = True
        device = self.physics.qpos.device
        self.physics.reset(qpos.to(device), qvel.to(device), where.to(device))
        self._before[rows] = self.physics.qpos[rows]

    def act(self, actions: NDArray[Any]) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """Take actions [M, K]; return rewards [M] and who fell [M].

        Raises:
            ValueError: actions of another shape.
            FloatingPointError: an action is not finite, or a simulation died.
        """
        self._before = self.physics.qpos.clone()
        values = torch.tensor(actions, dtype=torch.float32, device=self._before.device)
        _, rewards, fell, _ = self.step(values.unsqueeze(1), torch.Generator())
        return rewards[:, 0].double().cpu().numpy(), fell[:, 0].cpu().numpy()

    def observed(self) -> Observations:
        """Return observations [M, O]."""
        return self._observations()[:, 0].cpu().numpy()

    def shown(self, row: int) -> dict[str, Any]:
        """Return one robot's task as it stands in ``info["task"]``."""
        fields = {name: field[row].cpu().numpy() for name, field in _fields(self._tasks).items()}
        # A copy, for the simulator writes the next episode's task into the same memory.
        return {name: value.copy() if value.ndim else value[()] for name, value in fields.items()}

    def all_shown(self) -> dict[str, NDArray[Any]]:
        """Return all robots' tasks as gymnasium's loop sorts them, each field with a mask."""
        fields = {name: field.cpu().numpy().copy() for name, field in _fields(self._tasks).items()}
        masks = {f"_{name}": np.ones(len(field), np.bool_) for name, field in fields.items()}
        return fields | masks

    def picture(self, row: int, width: int, height: int) -> NDArray[np.uint8]:
        """Draw one robot and its goal, bytes [H, W, 3]."""
        from bomrl_lite.render.goal_marks import Direction, Speed
        from bomrl_lite.render.render import frames

        goal = None
        if isinstance(self._tasks, Directions):
            goal = Direction(*(float(part) for part in self._tasks.direction[row]))
        elif isinstance(self._tasks, Speeds):
            goal = Speed(float(self._tasks.speed[row]), self.step_seconds)
        poses = torch.stack([self._before[row], self.physics.qpos[row]]).cpu()
        return frames(self.model, poses, width=width, height=height, goal=goal, rows=[1])[0]

    def _checked(self, tasks: TaskFields) -> tuple[Tensor, ...]:
        """Return tasks of all M robots, as the simulator's own record."""
        given = tasks if isinstance(tasks, Mapping) else _fields(tasks)
        # Vector environments' infos have masks beside the fields, whose names begin with _.
        found = {name: value for name, value in given.items() if not name.startswith("_")}
        wanted = _fields(self._tasks)
        if found.keys() != wanted.keys():
            raise ValueError(f"tasks need the fields {sorted(wanted)}, got {sorted(found)}")
        fields: dict[str, Tensor] = {}
        for name, like in wanted.items():
            value = torch.as_tensor(found[name], dtype=like.dtype, device=like.device)
            if value.shape not in (like.shape, like.shape[1:]):
                raise ValueError(
                    f"{name} of the tasks must be {tuple(like.shape)}, or {tuple(like.shape[1:])} "
                    f"for one task of all, got {tuple(value.shape)}"
                )
            fields[name] = value.expand(like.shape).clone()
        return type(self._tasks)(*(fields[name] for name in wanted))


def _fields(tasks: tuple[Tensor, ...]) -> dict[str, Tensor]:
    """Return the fields of a record of tasks by name."""
    return cast("Speeds | Directions | Bodies", tasks)._asdict()


class LocomotionEnv(gymnasium.Env[Observations, Actions]):
    """One robot; see the module for its tasks.

    Args:
        family: see :class:`Robots`, as all that is not named here.
        render_mode: ``rgb_array`` or None.
        width: of a picture, in pixels.
        height: of a picture, in pixels.

    Raises:
        ValueError: another render mode, or what :class:`Robots` refuses.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": 20}  # noqa: RUF012

    def __init__(
        self,
        family: str,
        *,
        render_mode: str | None = None,
        width: int = 320,
        height: int = 240,
        **options: Unpack[RobotOptions],
    ) -> None:
        self.render_mode, self._size = _checked_mode(render_mode), (width, height)
        self.robots = Robots(family, 1, **options)
        self.metadata = self.metadata | {"render_fps": round(1 / self.robots.step_seconds)}
        self.observation_space, self.action_space = self.robots.spaces()

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observations, dict[str, Any]]:
        """Begin an episode; ``options={"tasks": ...}`` gives its task and that of later ones."""
        super().reset(seed=seed)
        if options and "tasks" in options:
            self.robots.give(options["tasks"])
        self.robots.start([0], [self.np_random])
        return self.robots.observed()[0], {"task": self.robots.shown(0)}

    def step(self, action: NDArray[Any]) -> tuple[Observations, float, bool, bool, dict[str, Any]]:
        """Take an action [K]; returns observation, reward, terminated, False and the task.

        Raises:
            ValueError: an action of another shape.
            FloatingPointError: the action is not finite, or the simulation died.
        """
        rewards, fell = self.robots.act(np.asarray(action)[None])
        info = {"task": self.robots.shown(0)}
        return self.robots.observed()[0], float(rewards[0]), bool(fell[0]), False, info

    def render(self) -> NDArray[np.uint8] | None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Draw the robot, where ``render_mode`` is ``rgb_array``."""
        return None if self.render_mode is None else self.robots.picture(0, *self._size)


class LocomotionVectorEnv(VectorEnv[Observations, Actions, NDArray[Any]]):
    """Robots that move together, each with a task of its own; see the module.

    Args:
        family: see :class:`Robots`, as all that is not named here.
        num_envs: M.
        max_episode_steps: time limit, or None for none.
        autoreset_mode: when a sub-environment that is over begins anew: in the next step, in the
            same step, whose infos then have ``final_obs`` and ``final_info``, or, disabled, when
            ``reset`` is called with a mask.
        render_mode: ``rgb_array`` or None.
        width: of a picture, in pixels.
        height: of a picture, in pixels.

    Raises:
        ValueError: another autoreset or render mode, or what :class:`Robots` refuses.
    """

    metadata = {  # noqa: RUF012
        "render_modes": ["rgb_array"],
        "render_fps": 20,
        "autoreset_mode": AutoresetMode.NEXT_STEP,
    }

    def __init__(
        self,
        family: str,
        *,
        num_envs: int = 1,
        max_episode_steps: int | None = None,
        autoreset_mode: AutoresetMode | str = AutoresetMode.NEXT_STEP,
        render_mode: str | None = None,
        width: int = 320,
        height: int = 240,
        **options: Unpack[RobotOptions],
    ) -> None:
        self.num_envs, self._size = num_envs, (width, height)
        self.render_mode, self.autoreset_mode = (
            _checked_mode(render_mode),
            AutoresetMode(autoreset_mode),
        )
        self.robots = Robots(family, num_envs, **options)
        self.metadata = self.metadata | {
            "render_fps": round(1 / self.robots.step_seconds),
            "autoreset_mode": self.autoreset_mode,
        }
        observation_space, action_space = self.robots.spaces()
        self.single_observation_space, self.single_action_space = observation_space, action_space
        self.observation_space = batch_space(observation_space, num_envs)
        self.action_space = batch_space(action_space, num_envs)
        self._limit = math.inf if max_episode_steps is None else max_episode_steps
        self._steps = np.zeros(num_envs, dtype=np.int64)
        self._over = np.zeros(num_envs, dtype=np.bool_)
        self._randoms = [seeding.np_random()[0] for _ in range(num_envs)]
        self._shown = self.robots.all_shown()

    def reset(
        self,
        *,
        seed: int | np.integer[Any] | list[int | None] | None = None,
        options: dict[str, Any] | None = None,
    ) -> tuple[Observations, dict[str, Any]]:
        """Begin episodes.

        Args:
            seed: sub-environment i is seeded with seed + i, or by the i-th of a list; None goes on
                with the random numbers there are.
            options: ``tasks`` gives the tasks of these and of later episodes; ``reset_mask``, an
                array of M truth values, says which sub-environments begin anew; else all do.

        Raises:
            ValueError: another number of seeds than sub-environments, a mask of another shape or
                kind, or tasks that are not the family's.
        """
        options = options or {}
        if isinstance(seed, int | np.integer):
            seeds = [int(seed) + i for i in range(self.num_envs)]
        else:
            seeds = seed
        if seeds is not None and len(seeds) != self.num_envs:
            raise ValueError(f"need a seed for each of {self.num_envs}, got {len(seeds)}")
        anew = np.asarray(options.get("reset_mask", np.ones_like(self._over)))
        if anew.shape != self._over.shape or anew.dtype != np.bool_:
            raise ValueError(
                f"reset_mask must be {self.num_envs} truth values, got {anew.dtype} {anew.shape}"
            )
        if "tasks" in options:
            self.robots.give(options["tasks"])
        for row in np.flatnonzero(anew):
            if seeds is not None and seeds[row] is not None:
                self._randoms[row] = seeding.np_random(seeds[row])[0]
        self._over[anew] = False
        self._begin(anew)
        infos: dict[str, Any] = {}
        for row in np.flatnonzero(anew).tolist():
            infos = self._add_info(infos, {"task": self.robots.shown(row)}, row)
        return self.robots.observed(), infos

    def step(
        self, actions: NDArray[Any]
    ) -> tuple[Observations, NDArray[Any], NDArray[Any], NDArray[Any], dict[str, Any]]:
        """Take actions [M, K]; see ``autoreset_mode`` for sub-environments that are over.

        Raises:
            ResetNeeded: one was over, and nothing but ``reset`` lets it begin anew.
            ValueError: actions of another shape.
            FloatingPointError: an action is not finite, or a simulation died.
        """
        anew = self._over
        if self.autoreset_mode is AutoresetMode.DISABLED and anew.any():
            raise gymnasium.error.ResetNeeded(
                f"sub-environments {np.flatnonzero(anew).tolist()} are over: call "
                "reset(options={'reset_mask': mask}) with a mask that is True for them"
            )
        # What stands where an episode begins is not looked at, and may be anything.
        taken = np.where(anew[:, None], np.float32(0), np.asarray(actions, dtype=np.float32))
        rewards, fell = self.robots.act(taken)
        self._steps += 1
        self._begin(anew)
        rewards, fell = np.where(anew, 0.0, rewards), fell & ~anew
        late = self._steps >= self._limit
        over, infos = fell | late, dict[str, Any]()
        if self.autoreset_mode is AutoresetMode.SAME_STEP:
            infos = self._final_infos(over)
            self._begin(over)
        else:
            self._over = over
        everywhere = np.ones_like(over)
        infos |= {"task": {**self._shown}, "_task": everywhere}
        return self.robots.observed(), rewards, fell, late, infos

    def render(self) -> tuple[NDArray[np.uint8], ...] | None:
        """Draw every robot, where ``render_mode`` is ``rgb_array``."""
        if self.render_mode is None:
            return None
        return tuple(self.robots.picture(row, *self._size) for row in range(self.num_envs))

    def _begin(self, anew: NDArray[np.bool_]) -> None:
        """Begin episodes where ``anew`` is True."""
        rows = np.flatnonzero(anew).tolist()
        if rows:
            self.robots.start(rows, self._randoms)
            self._steps[rows] = 0
            self._shown = self.robots.all_shown()

    def _final_infos(self, over: NDArray[np.bool_]) -> dict[str, Any]:
        """Return what the episodes that are over showed last, as gymnasium's loop does."""
        infos: dict[str, Any] = {}
        observations = self.robots.observed() if over.any() else np.empty(0)
        for row in np.flatnonzero(over).tolist():
            last = {"final_obs": observations[row], "final_info": {"task": self.robots.shown(row)}}
            infos = self._add_info(infos, last, row)
        return infos


def _checked_mode(render_mode: str | None) -> str | None:
    if render_mode not in (None, "rgb_array"):
        raise ValueError(f"render_mode must be 'rgb_array' or None, got {render_mode!r}")
    return render_mode


for _name, _family in IDS.items():
    gymnasium.register(  # pyright: ignore[reportUnknownMemberType]: its kwargs have no types
        f"bomrl_lite/{_name}-v0",
        entry_point=f"{__name__}:LocomotionEnv",  # by name, so that a spec can be written to a file
        vector_entry_point=f"{__name__}:LocomotionVectorEnv",
        max_episode_steps=FAMILIES[_family].runner.horizon,
        kwargs={"family": _family},
    )
