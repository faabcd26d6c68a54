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

Observations are gymnasium's without contact forces: joint positions without the place in the world,
then joint velocities. The ant and the cheetah go on whatever happens; episodes of the others end
when they fall. Everything is written once in torch, for the processor and for the GPU.

As in :mod:`bomrl_lite.tasks.navigation` the time limit is part of the task: return counts these
steps and no later ones, so the last step reports a true end (``terminated``).
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from typing import Any, Generic

import torch
from jaxtyping import Float
from torch import Tensor

from bomrl_lite.physics import Physics, make_physics, resolve_backend
from bomrl_lite.physics.pool import PhysicsPool
from bomrl_lite.physics.robots import ROBOTS, Robot, load_model
from bomrl_lite.policies.draws import drawn
from bomrl_lite.require import checked
from bomrl_lite.tasks import robot_goals as goals
from bomrl_lite.types import Split, TaskBatch, Tasks


@dataclass(frozen=True)
class Runner:
    """What all families of one robot share: what is observed, and when an episode ends."""

    robot: str
    """Key of :data:`bomrl_lite.physics.robots.ROBOTS`."""
    position: Callable[[Physics], Tensor]
    """Where the robot is in the world, [M, D] in metres."""
    hidden_positions: int
    """Joint positions that are not observed: the place in the world."""
    observation_size: int
    action_size: int
    healthy: Callable[[Physics], Tensor] | None = None
    """[M]: False ends an episode. None: nothing does."""
    largest_velocity: float = math.inf
    """Observed joint velocities are clipped to this, per second."""
    horizon: int = 200
    """T: the time limit, in steps of the environment."""


@dataclass(frozen=True)
class Family(Generic[TaskBatch]):
    """A robot, and what it is asked for."""

    name: str
    summary: str
    runner: Runner
    sample: Callable[[int, torch.Generator, Split], TaskBatch]
    """(number of tasks, generator, split) -> tasks with a leading N."""
    reward: Callable[[Tensor, Tensor, TaskBatch], Tensor]
    """(velocity [N, B, D], action [N, B, K], tasks) -> reward [N, B]."""
    shared_tasks: int = 0
    """See :class:`bomrl_lite.types.Tasks`."""


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
        pool: of this family's simulations, which are used again when this simulator is gone; None
            makes some that are not.

    Raises:
        ValueError: fewer than 1 episode or step, or no such integrator or backend.
    """

    @checked()
    def __init__(
        self,
        family: Family[Any],
        tasks: tuple[Tensor, ...],
        num_episodes: int,
        horizon: int | None = None,
        *,
        integrator: str = "gym",
        backend: str = "auto",
        pool: PhysicsPool | None = None,
    ) -> None:
        self.horizon = family.runner.horizon if horizon is None else horizon
        self._family, self._robot = family, ROBOTS[family.runner.robot]
        self._shape = (len(tasks[0]), num_episodes)
        self.model = load_model(family.runner.robot, integrator)
        num, backend = math.prod(self._shape), resolve_backend(backend)
        if pool is None:
            self.physics = make_physics(self.model, num, backend=backend)
        else:
            self.physics = pool.lend(self, self.model, num, backend)
        # Rewards are computed where the simulations are: no copy per step.
        device = self.physics.qpos.device
        self._tasks = type(tasks)(*(field.to(device) for field in tasks))
        # Before every use of a pool's simulations, which still have the last tasks' bodies.
        if isinstance(tasks, goals.Bodies):
            self.physics.set_parameters(goals.scaled(self.model, tasks, num_episodes))
        self._start = torch.as_tensor(self.model.qpos0, dtype=torch.float64)
        self.step_seconds = self._robot.frame_skip * self.physics.timestep
        self._taken = 0

    @checked()
    def reset(self, generator: torch.Generator) -> Tensor:
        """Start all robots from the model's pose with gymnasium's noise; [N, B, O]."""
        qpos, qvel = start_states(
            self.physics.num, self._start, self.physics.qvel.shape[1], self._robot, generator
        )
        # A GPU reports a dead simulation only when asked, and a reset would hide it.
        self.physics.check()
        self.physics.reset(qpos, qvel)
        self._taken = 0
        return self._observations()

    @checked()
    def step(
        self, actions: Tensor, generator: torch.Generator
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Act for one step of the environment; actions [N, B, K] are clipped by the robot.

        Raises:
            ValueError: actions of another shape.
            FloatingPointError: an action is not finite, or a simulation died.
        """
        del generator  # a robot's motion is not random
        runner, expected = self._family.runner, (*self._shape, self._family.runner.action_size)
        if actions.shape != expected:
            raise ValueError(f"actions must be [N, B, K] = {expected}, got {tuple(actions.shape)}")
        before = runner.position(self.physics).clone()  # the physics' tensors are live
        self.physics.step(actions.flatten(0, 1), self._robot.frame_skip)
        self._taken += 1
        # Over the whole step, as in gymnasium: a joint's velocity is that of one instant.
        moved = runner.position(self.physics) - before
        velocity = self._by_task(moved / self.step_seconds).to(actions.dtype)
        rewards = self._family.reward(velocity, actions, self._tasks)
        over = torch.full_like(rewards, self._taken >= self.horizon, dtype=torch.bool)
        if runner.healthy is not None:
            over = over | ~self._by_task(runner.healthy(self.physics))
        if self._taken >= self.horizon:
            self.physics.check()  # once per episode: on a GPU it waits for the device
        return self._observations(), rewards, over, torch.zeros_like(over)

    def _observations(self) -> Tensor:
        return self._by_task(observe(self._family.runner, self.physics))

    def _by_task(self, values: Tensor) -> Tensor:
        """Sort values of all simulations, [M, ...], by task and episode: [N, B, ...]."""
        return values.reshape(*self._shape, *values.shape[1:])


def observe(runner: Runner, physics: Physics) -> Float[Tensor, "M O"]:
    """Return positions without the place in the world, then velocities, in single precision."""
    limit = runner.largest_velocity
    velocities = physics.qvel if limit == math.inf else physics.qvel.clamp(-limit, limit)
    return torch.cat([physics.qpos[:, runner.hidden_positions :], velocities], dim=-1).float()


@checked()
def start_states(
    num: int, start: Tensor, num_velocities: int, robot: Robot, generator: torch.Generator
) -> tuple[Float[Tensor, "M nq"], Float[Tensor, "M nv"]]:
    """Draw first positions and velocities as gymnasium does: the model's pose and some noise.

    Args:
        num: M.
        start: [nq] joint positions of the model's pose.
        num_velocities: nv.
        robot: how much noise, and of which distribution.
        generator: where the randomness comes from; states live on its device.
    """
    kind = {"dtype": torch.float64, "device": generator.device}
    # Positions first: the order of draws is part of what a seed means.
    uniform = drawn(torch.rand, (num, len(start)), generator, **kind)
    draw = torch.randn if robot.normal_velocities else torch.rand
    velocity = drawn(draw, (num, num_velocities), generator, **kind)
    velocity = velocity if robot.normal_velocities else 2 * velocity - 1
    position = start.to(generator.device) + robot.position_noise * (2 * uniform - 1)
    return position, robot.velocity_noise * velocity


def _along_x(physics: Physics) -> Tensor:
    """Return where a robot that moves in a plane is, [M, 1]."""
    return physics.qpos[:, :1]


def _trunk(physics: Physics) -> Tensor:
    """Return where the trunk is, [M, 2], as gymnasium reads it: before the last physics step."""
    return physics.body_positions[:, 1, :2]


def _centre_of_mass(physics: Physics) -> Tensor:
    """Return where the humanoid's centre of mass is, [M, 2], likewise."""
    shares = _mass_shares(physics.body_centres.dtype, physics.body_centres.device)
    return (shares * physics.body_centres[..., :2]).sum(1)


@cache
def _mass_shares(dtype: torch.dtype, device: torch.device) -> Tensor:
    """Return each body's share of the humanoid's mass, [nbody, 1]; every step reads it twice."""
    mass = torch.as_tensor(load_model("humanoid").body_mass)
    return (mass / mass.sum()).to(dtype=dtype, device=device).unsqueeze(-1)


def _walker_stands(physics: Physics) -> Tensor:
    height, angle = physics.qpos[:, 1], physics.qpos[:, 2]
    return (height > 0.8) & (height < 2.0) & (angle.abs() < 1.0)


def _hopper_stands(physics: Physics) -> Tensor:
    height, angle = physics.qpos[:, 1], physics.qpos[:, 2]
    # gymnasium bounds the whole state but the place and the height, the angle included.
    rest = torch.cat([physics.qpos[:, 2:], physics.qvel], -1)
    return (height > 0.7) & (angle.abs() < 0.2) & (rest.abs() < 100).all(-1)


def _humanoid_stands(physics: Physics) -> Tensor:
    return (physics.qpos[:, 2] > 1.0) & (physics.qpos[:, 2] < 2.0)


_CHEETAH = Runner(
    robot="half_cheetah",
    position=_along_x,
    hidden_positions=1,
    observation_size=17,
    action_size=6,
    horizon=100,
)
_ANT = Runner(robot="ant", position=_trunk, hidden_positions=2, observation_size=27, action_size=8)
_WALKER = Runner(
    robot="walker",
    position=_along_x,
    hidden_positions=1,
    observation_size=17,
    action_size=6,
    healthy=_walker_stands,
    largest_velocity=10.0,
)
_HOPPER = Runner(
    robot="hopper",
    position=_along_x,
    hidden_positions=1,
    observation_size=11,
    action_size=3,
    healthy=_hopper_stands,
    largest_velocity=10.0,
)
_HUMANOID = Runner(
    robot="humanoid",
    position=_centre_of_mass,
    hidden_positions=2,
    observation_size=45,
    action_size=17,
    healthy=_humanoid_stands,
)
# The source pays .25 displacement / timestep: the displacement of a step, over ONE physics step.
_HUMANOID_PAY = 0.25 * ROBOTS["humanoid"].frame_skip

FAMILIES: dict[str, Family[Any]] = {
    family.name: family
    for family in (
        Family(
            name="cheetah/velocity",
            summary="a half cheetah, at a speed in [0, 2] m/s",
            runner=_CHEETAH,
            sample=partial(goals.sample_speeds, top=2.0),
            reward=partial(goals.speed_reward, effort=0.05),
        ),
        Family(
            name="cheetah/direction",
            summary="a half cheetah, forwards or backwards; both splits share the two",
            runner=_CHEETAH,
            sample=goals.sample_signs,
            reward=partial(goals.direction_reward, effort=0.05),
            shared_tasks=2,
        ),
        Family(
            name="ant/velocity",
            summary="an ant, at a speed in [0, 3] m/s",
            runner=_ANT,
            sample=partial(goals.sample_speeds, top=3.0),
            reward=partial(goals.speed_reward, effort=0.005, bonus=1.05),
        ),
        Family(
            name="ant/direction",
            summary="an ant, forwards or backwards; both splits share the two",
            runner=_ANT,
            sample=goals.sample_signs,
            reward=partial(goals.direction_reward, effort=0.005, bonus=1.05),
            shared_tasks=2,
        ),
        Family(
            name="walker/direction",
            summary="a walker, forwards or backwards; both splits share the two",
            runner=_WALKER,
            sample=goals.sample_signs,
            reward=partial(goals.direction_reward, effort=1e-3, bonus=1.0),
            shared_tasks=2,
        ),
        Family(
            name="hopper/parameters",
            summary="a hopper with masses, inertias, dampings and frictions of its own",
            runner=_HOPPER,
            sample=partial(goals.sample_bodies, robot="hopper"),
            reward=partial(goals.forward_reward, effort=1e-3, bonus=1.0),
        ),
        Family(
            name="walker/parameters",
            summary="a walker with masses, inertias, dampings and frictions of its own",
            runner=_WALKER,
            sample=partial(goals.sample_bodies, robot="walker"),
            reward=partial(goals.forward_reward, effort=1e-3, bonus=1.0),
        ),
        Family(
            name="humanoid/direction",
            summary="a humanoid, in a direction of the plane",
            runner=_HUMANOID,
            sample=goals.sample_headings,
            reward=partial(goals.direction_reward, effort=0.1, bonus=5.0, pay=_HUMANOID_PAY),
        ),
    )
}
"""Families by name."""


@checked()
def robot_tasks(
    family: Family[TaskBatch], *, integrator: str = "gym", backend: str = "auto"
) -> Tasks[TaskBatch]:
    """Return the record of a family of robots, on the simulation of one's choice.

    Its simulators use each other's simulations, one after the other, as long as the record lives.

    Args:
        family: of :data:`FAMILIES`.
        integrator: see :func:`bomrl_lite.physics.robots.load_model`.
        backend: see :func:`bomrl_lite.physics.make_physics`.
    """
    return Tasks(
        name=family.name,
        summary=family.summary,
        sample=family.sample,
        simulator=partial(
            LocomotionSimulator,
            family,
            integrator=integrator,
            backend=backend,
            pool=PhysicsPool(),
        ),
        gamma=0.99,
        horizon=family.runner.horizon,
        observation_size=family.runner.observation_size,
        action_size=family.runner.action_size,
        discrete=False,
        normalise_observations=True,
        shared_tasks=family.shared_tasks,
    )
