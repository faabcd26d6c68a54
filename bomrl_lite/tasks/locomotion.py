r"""Robots that run: the task families of BO-MRL (2410.09728) and ProMP (1810.06784).

A task is a speed, a direction, or a body (:mod:`bomrl_lite.tasks.robot_goals`). v is the velocity
over one step of the environment, in m/s, a the action as the policy drew it:

    cheetah/velocity    -|v - v*| - .05 |a|^2,  v* in [0, 2]           Finn et al., 1703.03400
    cheetah/direction    d v - .05 |a|^2,  d = -1 or +1                Finn et al., 1703.03400
    ant/velocity        -|v - v*| + 1.05 - .005 |a|^2,  v* in [0, 3]   code of 2410.09728
    ant/direction        d v + 1.05 - .005 |a|^2                       code of 2410.09728
    walker/direction     d v + 1 - .001 |a|^2                          code of 1810.06784
    hopper/parameters    v + 1 - .001 |a|^2, a body of its own         code of 1810.06784
    walker/parameters    v + 1 - .001 |a|^2, a body of its own         code of 1810.06784
    humanoid/direction   .25 <d, v> frame_skip + 5 - .1 |a|^2          code of 1810.06784

Observations are gymnasium's without contact forces: joint positions but the place in the world,
then joint velocities. The ant and the cheetah go on whatever happens; the others end when they
fall. Everything is written once in torch, for the processor and for the GPU.

As in :mod:`bomrl_lite.tasks.navigation` the time limit is part of the task: return counts these
steps and no later ones, so the last step reports a true end (``terminated``).
"""

import math
import weakref
from collections.abc import Callable
from functools import cache, partial
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from bomrl_lite.physics import Backend, Physics, make_physics, resolve_backend
from bomrl_lite.physics.robots import ROBOTS, Integrator, load_model
from bomrl_lite.tasks import robot_goals as goals
from bomrl_lite.tasks.splits import check_counts
from bomrl_lite.types import Split, Tasks


class Family(NamedTuple):
    """What makes a family of tasks of a robot."""

    name: str
    summary: str
    robot: str
    sample: Callable[[int, torch.Generator, Split], Any]
    reward: Callable[[Tensor, Tensor, Any], Tensor]
    """(velocity [N, B, D], action [N, B, K], tasks) -> reward [N, B]."""
    position: Callable[[Physics], Tensor]
    """Where the robot is in the world, [M, D]."""
    hidden: int
    """Joint positions that are not observed: the place in the world."""
    observation_size: int
    action_size: int
    healthy: Callable[[Physics], Tensor] | None = None
    """[M]: False ends an episode. None: nothing does."""
    clip_velocities: float = math.inf
    horizon: int = 200


class LocomotionSimulator:
    """N tasks times B robots.

    Args:
        family: of :data:`FAMILIES`.
        tasks: N of the family's tasks.
        num_episodes: B.
        horizon: T, the time limit, or None for the family's own.
        integrator: ``gym`` for gymnasium's dynamics or ``fast``, see
            :func:`bomrl_lite.physics.robots.load_model`.
        backend: ``mujoco``, ``warp`` or ``auto``, see :func:`bomrl_lite.physics.make_physics`.
    """

    def __init__(
        self,
        family: Family,
        tasks: Any,
        num_episodes: int,
        horizon: int | None = None,
        *,
        integrator: Integrator = "gym",
        backend: Backend = "auto",
    ) -> None:
        self.horizon = family.horizon if horizon is None else horizon
        check_counts(num_episodes=num_episodes, horizon=self.horizon)
        self._family, self._robot = family, ROBOTS[family.robot]
        self._shape = (len(tasks[0]), num_episodes)
        self.model = load_model(family.robot, integrator)
        num = math.prod(self._shape)
        self.physics = _borrow(self, (family.name, integrator, num, resolve_backend(backend)))
        device = self.physics.qpos.device
        self._tasks = type(tasks)(*(field.to(device) for field in tasks))
        if isinstance(tasks, goals.Bodies):
            self.physics.set_parameters(goals.scaled(self.model, tasks, num_episodes))
        self._start = torch.as_tensor(self.model.qpos0, dtype=torch.float64)
        self.step_seconds = self._robot.frame_skip * self.physics.timestep
        self._taken = 0

    def reset(self, generator: torch.Generator) -> Tensor:
        """Start all robots from the model's pose with gymnasium's noise; [N, B, O]."""
        qpos, qvel = start_states(
            self.physics.num, self._start, self.physics.qvel.shape[1], self._robot, generator
        )
        self.physics.check()  # what went wrong on a GPU is seen here, or at the last step
        self.physics.reset(qpos, qvel)
        self._taken = 0
        return self._observations()

    def step(
        self, actions: Tensor, generator: torch.Generator
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Act for one step of the environment; actions [N, B, K] are clipped by the robot.

        Raises:
            ValueError: actions of another shape.
            FloatingPointError: an action is not finite, or a simulation died.
        """
        del generator  # a robot's motion is not random
        if actions.shape != (*self._shape, self._family.action_size):
            raise ValueError(
                f"actions must be [N, B, K] = {(*self._shape, self._family.action_size)}, "
                f"got {tuple(actions.shape)}"
            )
        before = self._family.position(self.physics).clone()
        self.physics.step(actions.flatten(0, 1), self._robot.frame_skip)
        self._taken += 1
        moved = self._family.position(self.physics) - before
        velocity = (moved / self.step_seconds).unflatten(0, self._shape).to(actions.dtype)
        rewards = self._family.reward(velocity, actions, self._tasks)
        over = torch.full_like(rewards, self._taken >= self.horizon, dtype=torch.bool)
        if self._family.healthy is not None:
            over = over | ~self._family.healthy(self.physics).unflatten(0, self._shape)
        if self._taken >= self.horizon:
            self.physics.check()
        return self._observations(), rewards, over, torch.zeros_like(over)

    def _observations(self) -> Tensor:
        return observe(self._family, self.physics).unflatten(0, self._shape)


def observe(family: Family, physics: Physics) -> Float[Tensor, "M O"]:
    """Return positions but the place in the world, then velocities, in single precision."""
    limit = family.clip_velocities
    velocities = physics.qvel if limit == math.inf else physics.qvel.clamp(-limit, limit)
    return torch.cat([physics.qpos[:, family.hidden :], velocities], dim=-1).float()


def start_states(
    num: int, start: Tensor, num_velocities: int, robot: Any, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Draw first positions and velocities as gymnasium does: the model's pose and some noise."""
    kind = {"generator": generator, "dtype": torch.float64, "device": generator.device}
    shift = 2 * torch.rand(num, len(start), **kind) - 1
    draw = torch.randn if robot.normal_velocities else torch.rand
    speed = draw(num, num_velocities, **kind)
    speed = speed if robot.normal_velocities else 2 * speed - 1
    start = start.to(generator.device)
    return start + robot.position_noise * shift, robot.velocity_noise * speed


_IDLE: dict[tuple[Any, ...], list[Physics]] = {}
"""Simulations whose simulator is gone: to make some anew costs much on a GPU."""


def _borrow(owner: LocomotionSimulator, key: tuple[Any, ...]) -> Physics:
    """Take idle simulations of this kind, or make some; they come back when the owner goes."""
    key = (*key, torch.get_num_threads())
    idle = _IDLE.setdefault(key, [])
    physics = idle.pop() if idle else make_physics(owner.model, key[2], backend=key[3])
    weakref.finalize(owner, idle.append, physics).atexit = False
    return physics


def _along_x(physics: Physics) -> Tensor:
    return physics.qpos[:, :1]


def _trunk(physics: Physics) -> Tensor:
    """Return where the trunk is, as gymnasium reads it: before the last physics step."""
    return physics.body_positions[:, 1, :2]


def _centre_of_mass(physics: Physics) -> Tensor:
    shares = _mass_shares(physics.body_centres.dtype, physics.body_centres.device)
    return (shares * physics.body_centres[..., :2]).sum(1)


@cache
def _mass_shares(dtype: torch.dtype, device: torch.device) -> Tensor:
    """Return each body's share of the humanoid's mass, [bodies, 1]; kept where it is used."""
    mass = torch.as_tensor(load_model("humanoid").body_mass)
    return (mass / mass.sum()).to(dtype=dtype, device=device).unsqueeze(-1)


def _walker_stands(physics: Physics) -> Tensor:
    height, angle = physics.qpos[:, 1], physics.qpos[:, 2]
    return (height > 0.8) & (height < 2.0) & (angle.abs() < 1.0)


def _hopper_stands(physics: Physics) -> Tensor:
    height, angle = physics.qpos[:, 1], physics.qpos[:, 2]
    rest = torch.cat([physics.qpos[:, 2:], physics.qvel], -1)
    return (height > 0.7) & (angle.abs() < 0.2) & (rest.abs() < 100).all(-1)


def _humanoid_stands(physics: Physics) -> Tensor:
    return (physics.qpos[:, 2] > 1.0) & (physics.qpos[:, 2] < 2.0)


_CHEETAH = {"robot": "half_cheetah", "position": _along_x, "hidden": 1, "observation_size": 17}
_CHEETAH |= {"action_size": 6, "horizon": 100}
_ANT = {"robot": "ant", "position": _trunk, "hidden": 2, "observation_size": 27, "action_size": 8}
_WALKER = {"robot": "walker", "position": _along_x, "hidden": 1, "observation_size": 17}
_WALKER |= {"action_size": 6, "healthy": _walker_stands, "clip_velocities": 10.0}
_HOPPER = {"robot": "hopper", "position": _along_x, "hidden": 1, "observation_size": 11}
_HOPPER |= {"action_size": 3, "healthy": _hopper_stands, "clip_velocities": 10.0}
_HUMANOID = {"robot": "humanoid", "position": _centre_of_mass, "hidden": 2, "action_size": 17}
_HUMANOID |= {"observation_size": 45, "healthy": _humanoid_stands}
# .25 (displacement) / timestep in the source: the displacement of 5 physics steps
_HUMANOID_PAY = 0.25 * ROBOTS["humanoid"].frame_skip

FAMILIES: dict[str, Family] = {
    family.name: family
    for family in (
        Family(
            "cheetah/velocity",
            "a half cheetah, at a speed in [0, 2] m/s",
            sample=partial(goals.sample_speeds, top=2.0),
            reward=partial(goals.speed_reward, effort=0.05),
            **_CHEETAH,
        ),
        Family(
            "cheetah/direction",
            "a half cheetah, forwards or backwards; both splits share the two",
            sample=goals.sample_signs,
            reward=partial(goals.direction_reward, effort=0.05),
            **_CHEETAH,
        ),
        Family(
            "ant/velocity",
            "an ant, at a speed in [0, 3] m/s",
            sample=partial(goals.sample_speeds, top=3.0),
            reward=partial(goals.speed_reward, effort=0.005, bonus=1.05),
            **_ANT,
        ),
        Family(
            "ant/direction",
            "an ant, forwards or backwards; both splits share the two",
            sample=goals.sample_signs,
            reward=partial(goals.direction_reward, effort=0.005, bonus=1.05),
            **_ANT,
        ),
        Family(
            "walker/direction",
            "a walker, forwards or backwards; both splits share the two",
            sample=goals.sample_signs,
            reward=partial(goals.direction_reward, effort=1e-3, bonus=1.0),
            **_WALKER,
        ),
        Family(
            "hopper/parameters",
            "a hopper with masses, inertias, dampings and frictions of its own",
            sample=partial(goals.sample_bodies, robot="hopper"),
            reward=partial(goals.forward_reward, effort=1e-3, bonus=1.0),
            **_HOPPER,
        ),
        Family(
            "walker/parameters",
            "a walker with masses, inertias, dampings and frictions of its own",
            sample=partial(goals.sample_bodies, robot="walker"),
            reward=partial(goals.forward_reward, effort=1e-3, bonus=1.0),
            **_WALKER,
        ),
        Family(
            "humanoid/direction",
            "a humanoid, in a direction of the plane",
            sample=goals.sample_headings,
            reward=partial(goals.direction_reward, effort=0.1, bonus=5.0, pay=_HUMANOID_PAY),
            **_HUMANOID,
        ),
    )
}
"""Families by name."""


def robot_tasks(
    family: Family, *, integrator: Integrator = "gym", backend: Backend = "auto"
) -> Tasks[Any]:
    """Return the record of a family of robots, on the simulation of one's choice."""
    return Tasks(
        name=family.name,
        summary=family.summary,
        sample=family.sample,
        simulator=partial(LocomotionSimulator, family, integrator=integrator, backend=backend),
        gamma=0.99,
        horizon=family.horizon,
        observation_size=family.observation_size,
        action_size=family.action_size,
        discrete=False,
        normalise_observations=True,
    )
