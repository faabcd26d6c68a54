r"""What robots are asked for: speeds, directions and bodies, how they are drawn and what they pay.

The robot cannot observe its task; only rewards tell. :mod:`bomrl_lite.tasks.locomotion` makes
families of these pieces and names their sources.
"""

import math
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from bomrl_lite.physics.mujoco_types import Model
from bomrl_lite.physics.robots import load_model
from bomrl_lite.require import checked
from bomrl_lite.tasks.splits import HELD_OUT_SHARE, check_split, in_split

CELLS = 20
"""Cells of a range of goals."""


class Speeds(NamedTuple):
    """Tasks that ask for a speed."""

    speed: Float[Tensor, "*N"]
    """v* in m/s."""


class Directions(NamedTuple):
    """Tasks that ask for a direction."""

    direction: Float[Tensor, "*N D"]
    """d, a unit vector: D = 1 along the x axis, 2 in the plane."""


class Bodies(NamedTuple):
    """Tasks that give a body to run with: factors of the model's own values."""

    body_mass: Float[Tensor, "*N bodies"]
    body_inertia: Float[Tensor, "*N bodies 3"]
    dof_damping: Float[Tensor, "*N joints"]
    geom_friction: Float[Tensor, "*N geoms 3"]


@checked()
def speed_reward(
    velocity: Float[Tensor, "*N B D"],
    action: Float[Tensor, "*N B K"],
    tasks: Speeds,
    *,
    effort: float,
    bonus: float = 0.0,
) -> Float[Tensor, "*N B"]:
    """Return -|v - v*| + bonus - effort |a|^2.

    Args:
        velocity: v over one step of the environment, in m/s; x comes first.
        action: a as the policy drew it.
        tasks: v* of each task.
        effort: what an action costs.
        bonus: paid at every step.
    """
    error = (velocity[..., 0] - tasks.speed.unsqueeze(-1)).abs()
    return bonus - error - effort * action.square().sum(-1)


@checked()
def direction_reward(
    velocity: Float[Tensor, "*N B _"],
    action: Float[Tensor, "*N B K"],
    tasks: Directions,
    *,
    effort: float,
    bonus: float = 0.0,
    pay: float = 1.0,
) -> Float[Tensor, "*N B"]:
    """Return pay <d, v> + bonus - effort |a|^2.

    Args:
        velocity: v over one step of the environment, in m/s; what d does not name is left out.
        action: a as the policy drew it.
        tasks: d of each task.
        effort: what an action costs.
        bonus: paid at every step.
        pay: for one m/s in the direction asked for.
    """
    size = tasks.direction.shape[-1]
    progress = (velocity[..., :size] * tasks.direction.unsqueeze(-2)).sum(-1)
    return pay * progress + bonus - effort * action.square().sum(-1)


@checked()
def forward_reward(
    velocity: Float[Tensor, "*N B D"],
    action: Float[Tensor, "*N B K"],
    tasks: Bodies,
    *,
    effort: float,
    bonus: float,
) -> Float[Tensor, "*N B"]:
    """Return v + bonus - effort |a|^2, whatever the body; arguments as for :func:`speed_reward`."""
    del tasks
    return velocity[..., 0] + bonus - effort * action.square().sum(-1)


@checked()
def sample_speeds(
    num_tasks: int, generator: torch.Generator, split: str = "train", *, top: float
) -> Speeds:
    """Draw speeds in [0, top] m/s, one from each of N equal shares of the split's cells.

    The range is cut into 20 cells, every fifth of which is held out for the test split. Each speed
    is uniform over the split; together they cover it more evenly than independent draws.

    Args:
        num_tasks: N >= 1.
        generator: where the randomness comes from.
        split: train or test.
        top: of the range, in m/s.

    Raises:
        ValueError: fewer than 1 task, or no such split.
    """
    return Speeds((top * _stratified_uniform(num_tasks, generator, split)).float())


@checked()
def sample_signs(num_tasks: int, generator: torch.Generator, split: str = "train") -> Directions:
    """Draw directions -1 and +1, half of each if N is even; both splits share the two.

    Raises:
        ValueError: fewer than 1 task, or no such split.
    """
    check_split(split)
    first = torch.randint(2, (1,), generator=generator)
    signs = 1 - 2 * ((first + torch.arange(num_tasks)) % 2)
    return Directions(signs.float().unsqueeze(-1))


@checked()
def sample_headings(num_tasks: int, generator: torch.Generator, split: str = "train") -> Directions:
    """Draw directions in the plane; every fifth of 20 sectors is held out for the test split.

    Raises:
        ValueError: fewer than 1 task, or no such split.
    """
    angle = 2 * math.pi * _stratified_uniform(num_tasks, generator, split)
    return Directions(torch.stack([angle.cos(), angle.sin()], -1).float())


@checked()
def sample_bodies(
    num_tasks: int, generator: torch.Generator, split: str = "train", *, robot: str
) -> Bodies:
    """Draw factors 1.5^u of masses, inertias and frictions and 1.3^u of dampings, u in [-3, 3].

    Every entry has a u of its own (rand_param_envs, which 1810.06784 uses). The u of the trunk's
    mass decides the split: every fifth of 20 cells of its range is held out.

    Args:
        num_tasks: N >= 1.
        generator: where the randomness comes from.
        split: train or test.
        robot: key of :data:`bomrl_lite.physics.robots.ROBOTS`.

    Raises:
        ValueError: fewer than 1 task, no such split, or no such robot.
    """
    model = load_model(robot)
    trunk = 6 * _stratified_uniform(num_tasks, generator, split) - 3

    def exponents(*shape: int) -> Tensor:
        size = (num_tasks, *shape)
        return 6 * torch.rand(size, generator=generator, dtype=torch.float64) - 3

    mass = exponents(model.nbody)
    mass[:, model.body("torso").id] = trunk  # the one entry that tells the splits apart
    inertia, damping = exponents(model.nbody, 3), exponents(model.nv)
    friction = exponents(model.ngeom, 3)
    return Bodies(1.5**mass, 1.5**inertia, 1.3**damping, 1.5**friction)


@checked()
def scaled(model: Model, bodies: Bodies, num_episodes: int) -> dict[str, Tensor]:
    """Multiply the model's values by each task's factors, for every episode of the task.

    Returns:
        Values [N * B, ...] by the field's name, the B episodes of one task side by side.
    """
    return {
        name: (torch.as_tensor(getattr(model, name)) * factors).repeat_interleave(num_episodes, 0)
        for name, factors in bodies._asdict().items()
    }


def _stratified_uniform(num_tasks: int, generator: torch.Generator, split: str) -> Tensor:
    """Draw N numbers in [0, 1), stratified over the cells of the split, in random order."""
    split = check_split(split)
    cells = torch.arange(CELLS)
    # The middle of every five: the ends of the range stay in the train split.
    cells = cells[in_split(cells, split, remainder=HELD_OUT_SHARE // 2)]
    jitter = torch.rand(num_tasks, generator=generator, dtype=torch.float64)
    position = (torch.arange(num_tasks) + jitter) / num_tasks * len(cells)
    # Strata come in order, and neighbours would share a batch of tasks.
    position = position[torch.randperm(num_tasks, generator=generator)]
    index = position.floor().long().clamp(max=len(cells) - 1)  # rounding can reach the end
    return (cells[index] + (position - index).clamp(max=1 - 1e-9)) / CELLS
