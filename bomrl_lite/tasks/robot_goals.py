r"""What robots are asked for: speeds, directions and bodies, how they are drawn and what they pay.

The robot cannot observe its task; only rewards tell. :mod:`bomrl_lite.tasks.locomotion` makes
families of these pieces and names their sources.
"""

import math
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from bomrl_lite.physics.robots import load_model
from bomrl_lite.tasks.splits import check_counts
from bomrl_lite.types import Split

HELD_OUT_SHARE = 5
"""One cell of goals in this many belongs to the test split."""
CELLS = 20
"""Cells of a range of goals."""


class Speeds(NamedTuple):
    """How fast to run."""

    speed: Float[Tensor, "*N"]
    """v* in m/s."""


class Directions(NamedTuple):
    """Where to run."""

    direction: Float[Tensor, "*N D"]
    """d, a unit vector: D = 1 along the x axis, 2 in the plane."""


class Bodies(NamedTuple):
    """What to run with: factors of the model's own values."""

    body_mass: Float[Tensor, "*N bodies"]
    body_inertia: Float[Tensor, "*N bodies 3"]
    dof_damping: Float[Tensor, "*N joints"]
    geom_friction: Float[Tensor, "*N geoms 3"]


def speed_reward(
    velocity: Tensor, action: Tensor, tasks: Speeds, *, effort: float, bonus: float = 0.0
) -> Tensor:
    """Return -|v - v*| + bonus - effort |a|^2."""
    missed = (velocity[..., 0] - tasks.speed.unsqueeze(-1)).abs()
    return bonus - missed - effort * action.square().sum(-1)


def direction_reward(
    velocity: Tensor,
    action: Tensor,
    tasks: Directions,
    *,
    effort: float,
    bonus: float = 0.0,
    pay: float = 1.0,
) -> Tensor:
    """Return pay <d, v> + bonus - effort |a|^2."""
    size = tasks.direction.shape[-1]
    along = (velocity[..., :size] * tasks.direction.unsqueeze(-2)).sum(-1)
    return pay * along + bonus - effort * action.square().sum(-1)


def forward_reward(
    velocity: Tensor, action: Tensor, tasks: Bodies, *, effort: float, bonus: float
) -> Tensor:
    """Return v + bonus - effort |a|^2, whatever the body."""
    del tasks
    return velocity[..., 0] + bonus - effort * action.square().sum(-1)


def sample_speeds(
    num_tasks: int, generator: torch.Generator, split: Split = "train", *, top: float
) -> Speeds:
    """Draw speeds in [0, top] m/s, one from each of N equal shares of the split's cells.

    The range is cut into 20 cells, every fifth of which is held out for the test split. One speed
    is uniform over the split; together they cover it more evenly than independent draws.

    Args:
        num_tasks: N >= 1.
        generator: where the randomness comes from.
        split: train or test.
        top: of the range, in m/s.
    """
    return Speeds((top * _held_out_uniform(num_tasks, generator, split)).float())


def sample_signs(num_tasks: int, generator: torch.Generator, split: Split = "train") -> Directions:
    """Draw directions -1 and +1, as many of each as an even N allows; both splits share the two."""
    _check(num_tasks, split)
    first = torch.randint(2, (1,), generator=generator)
    signs = 1.0 - 2.0 * ((first + torch.arange(num_tasks)) % 2)
    return Directions(signs.unsqueeze(-1))


def sample_headings(
    num_tasks: int, generator: torch.Generator, split: Split = "train"
) -> Directions:
    """Draw directions in the plane; every fifth of 20 sectors is held out for the test split."""
    angle = 2 * math.pi * _held_out_uniform(num_tasks, generator, split)
    return Directions(torch.stack([angle.cos(), angle.sin()], -1).float())


def sample_bodies(
    num_tasks: int, generator: torch.Generator, split: Split = "train", *, robot: str
) -> Bodies:
    """Draw factors 1.5^u of masses, inertias and frictions and 1.3^u of dampings, u in [-3, 3].

    Every entry has a u of its own (rand_param_envs, which 1810.06784 uses). The u of the trunk's
    mass tells the splits apart: every fifth of 20 cells of its range is held out.
    """
    model = load_model(robot)
    trunk = 6 * _held_out_uniform(num_tasks, generator, split) - 3

    def exponents(*shape: int) -> Tensor:
        kind = {"generator": generator, "dtype": torch.float64}
        return 6 * torch.rand(num_tasks, *shape, **kind) - 3

    mass = exponents(model.nbody)
    mass[:, model.body("torso").id] = trunk
    inertia, damping = exponents(model.nbody, 3), exponents(model.nv)
    friction = exponents(model.ngeom, 3)
    return Bodies(1.5**mass, 1.5**inertia, 1.3**damping, 1.5**friction)


def scaled(model: Any, bodies: Bodies, num_episodes: int) -> dict[str, Tensor]:
    """Multiply the model's values by a task's factors, for every episode of the task."""
    return {
        name: (torch.as_tensor(getattr(model, name)) * factors).repeat_interleave(num_episodes, 0)
        for name, factors in bodies._asdict().items()
    }


def _held_out_uniform(num_tasks: int, generator: torch.Generator, split: Split) -> Tensor:
    """Draw N numbers in [0, 1), stratified over the cells of the split, in random order."""
    _check(num_tasks, split)
    cells = torch.arange(CELLS)
    held_out = cells % HELD_OUT_SHARE == HELD_OUT_SHARE // 2
    mine = cells[held_out if split == "test" else ~held_out]
    kind = {"generator": generator, "dtype": torch.float64}
    share = (torch.arange(num_tasks) + torch.rand(num_tasks, **kind)) / num_tasks * len(mine)
    share = share[torch.randperm(num_tasks, generator=generator)]
    cell = share.floor().long().clamp(max=len(mine) - 1)  # rounding can reach the end
    return (mine[cell] + (share - cell).clamp(max=1 - 1e-9)) / CELLS


def _check(num_tasks: int, split: str) -> None:
    check_counts(num_tasks=num_tasks)
    if split not in ("train", "test"):
        raise ValueError(f"split must be 'train' or 'test', got {split!r}")
