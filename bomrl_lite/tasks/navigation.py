r"""A point on a line or in the plane that walks to a goal it cannot see.

The state is the position, which starts at the origin and is the observation; an action moves it by
0.1 clip(a, -1, 1). The dense reward is minus the distance to the goal AFTER the step, as in the
point environment of Finn et al. (2017, 1703.03400), which clips velocities to 0.1.

The time limit is part of the task: return counts these steps and no later ones. So the last step
reports a true end (``terminated``), after which there is no value to estimate. Otherwise a
point at rest would be credited with all later rewards, which no return contains.
"""

import math
from collections.abc import Callable
from functools import partial
from typing import NamedTuple, cast

import torch
from jaxtyping import Float
from torch import Tensor

from bomrl_lite.require import checked
from bomrl_lite.tasks.splits import check_split, in_split
from bomrl_lite.types import Split, Tasks

STEP = 0.1
"""Largest move in each direction per step."""
HORIZON = 30
RADIUS = 0.9
"""Distance from its goal corner at which a sparse task begins to pay."""
SECTORS = 40
"""Cells of the circle, of 9 degrees each."""
SIDE = 10
"""Cells along each side of the square, 0.1 wide."""


class Goals(NamedTuple):
    """Where the tasks of a batch want the point to go."""

    goal: Float[Tensor, "*N K"]
    """K = 2 in the plane, 1 on the line."""


class PointSimulator:
    """N goals times B points.

    Args:
        tasks: goals [N, K].
        num_episodes: B.
        horizon: T, the time limit, or None for 30 steps.
        reward: distances to the goals after the step [N, B] -> rewards [N, B].

    Raises:
        ValueError: goals without a leading N, or fewer than 1 episode or step.
    """

    @checked()
    def __init__(
        self,
        tasks: Goals,
        num_episodes: int,
        horizon: int | None,
        reward: Callable[[Tensor], Tensor],
    ) -> None:
        self.horizon = HORIZON if horizon is None else horizon
        if tasks.goal.ndim != 2:
            raise ValueError(
                f"tasks must have a leading N, goals [N, K], got {tuple(tasks.goal.shape)}; "
                "of one goal make N = 1 with .unsqueeze(0)"
            )
        self._reward = reward
        self._goals = tasks.goal.unsqueeze(1).expand(-1, num_episodes, -1)
        self._positions = torch.zeros_like(self._goals)
        self._taken = 0

    @checked()
    def reset(self, generator: torch.Generator) -> Tensor:
        """Put all points at the origin, [N, B, K]; nothing is random."""
        self._positions = torch.zeros_like(self._goals)
        self._taken = 0
        return self._positions

    @checked()
    def step(
        self, actions: Tensor, generator: torch.Generator
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Move by 0.1 clip(a, -1, 1), a [N, B, K]; the step that reaches the time limit ends.

        Raises:
            ValueError: actions of another shape.
        """
        if actions.shape != self._goals.shape:
            raise ValueError(
                f"actions must be [N, B, K] = {tuple(self._goals.shape)}, got "
                f"{tuple(actions.shape)}"
            )
        self._positions = self._positions + STEP * actions.clamp(-1.0, 1.0)
        self._taken += 1
        rewards = self._reward(_norm(self._positions - self._goals, dim=-1))
        # Terminated, not truncated: the return has no later steps whose value could be estimated.
        ended = torch.full_like(rewards, self._taken >= self.horizon, dtype=torch.bool)
        return self._positions, rewards, ended, torch.zeros_like(ended)


@checked()
def circle_goals(
    num_tasks: int, generator: torch.Generator, split: str = "train", *, width: float = 360.0
) -> Goals:
    """Draw goals on the unit circle or on an arc of it, uniformly over the sectors of ``split``.

    The arc is cut into 40 equal sectors; every fifth is held out for the test split.

    Args:
        num_tasks: N >= 1.
        generator: where the randomness comes from.
        split: train or test.
        width: of the arc, in degrees, in (0, 360]; it begins at the x axis.

    Raises:
        ValueError: fewer than 1 task, no such split, or another width.
    """
    split = check_split(split)
    if not 0 < width <= 360:
        raise ValueError(f"width must be in (0, 360] degrees, got {width}")
    sectors = torch.arange(SECTORS)
    sector = _pick(sectors[in_split(sectors, split)], num_tasks, generator)
    # Anywhere within the sector: a split is a range of goals, not a list of them.
    angle = (sector + _uniform(num_tasks, generator)) * (math.radians(width) / SECTORS)
    return Goals(torch.stack([angle.cos(), angle.sin()], -1).float())


@checked()
def square_goals(num_tasks: int, generator: torch.Generator, split: str = "train") -> Goals:
    """Draw goals in [-.5, .5]^2, uniformly over the cells of ``split``.

    The square is cut into 10 x 10 cells. The test split holds the 20 cells with (column + 2 row)
    divisible by 5: two in every row and every column, none next to another.

    Raises:
        ValueError: fewer than 1 task, or no such split.
    """
    split = check_split(split)
    cells = torch.cartesian_prod(torch.arange(SIDE), torch.arange(SIDE))
    # Along a knight's move, so that a held-out cell has only training cells around it.
    cells = cells[in_split(cells[:, 0] + 2 * cells[:, 1], split)]
    corner = _pick(cells, num_tasks, generator)
    offset = torch.stack([_uniform(num_tasks, generator) for _ in range(2)], -1)
    return Goals(((corner + offset) / SIDE - 0.5).float())


@checked()
def listed_goals(
    goals: tuple[tuple[float, ...], ...],
    num_tasks: int,
    generator: torch.Generator,
    split: str = "train",
) -> Goals:
    """Draw goals from a short list, with equal chances; both splits share the few there are.

    Raises:
        ValueError: fewer than 1 task, or no such split.
    """
    check_split(split)
    return Goals(_pick(torch.tensor(goals, dtype=torch.float32), num_tasks, generator))


@checked()
def dense_reward(distance: Float[Tensor, "*M"]) -> Float[Tensor, "*M"]:
    """Return minus the distance."""
    return -distance


@checked()
def sparse_reward(distance: Float[Tensor, "*M"]) -> Float[Tensor, "*M"]:
    """Return .9 - distance within .9 of the goal, else 0: never negative and without a jump.

    From the origin, 1.41 away, nothing is paid: a policy must explore to learn where the goal is,
    as in figure 4 of Rothfuss et al. (2018, 1810.06784).
    """
    return (RADIUS - distance).clamp(min=0.0)


def _pick(rows: Tensor, count: int, generator: torch.Generator) -> Tensor:
    return rows[torch.randint(len(rows), (count,), generator=generator)]


def _uniform(count: int, generator: torch.Generator) -> Tensor:
    """Draw from [0, 1) in double precision, which rounds no goal over the edge of its cell."""
    return torch.rand(count, dtype=torch.float64, generator=generator)


def _family(
    name: str,
    summary: str,
    sample: Callable[[int, torch.Generator, Split], Goals],
    reward: Callable[[Tensor], Tensor] = dense_reward,
    size: int = 2,
    shared_tasks: int = 0,
) -> Tasks[Goals]:
    @checked()
    def simulator(tasks: Goals, num_episodes: int, horizon: int | None = None) -> PointSimulator:
        return PointSimulator(tasks, num_episodes, horizon, reward)

    return Tasks(
        name=name,
        summary=summary,
        sample=sample,
        simulator=simulator,
        gamma=0.99,
        horizon=HORIZON,
        observation_size=size,
        action_size=size,
        discrete=False,
        shared_tasks=shared_tasks,
    )


# torch leaves norm without types.
_norm = cast("Callable[..., Tensor]", torch.norm)  # pyright: ignore[reportUnknownMemberType]

CORNERS = ((1.0, 1.0), (1.0, -1.0), (-1.0, 1.0), (-1.0, -1.0))

FAMILIES: dict[str, Tasks[Goals]] = {
    family.name: family
    for family in (
        _family("navigation/circle", "a goal on the unit circle", circle_goals),
        *(
            _family(
                f"navigation/arc-{width}",
                f"a goal on {width} degrees of the unit circle: narrow arcs have similar tasks",
                partial(circle_goals, width=float(width)),
            )
            for width in (45, 90, 180)
        ),
        _family("navigation/square", "a goal in the square [-.5, .5]^2", square_goals),
        _family(
            "navigation/corners",
            "one of four corners, which pays only nearby; both splits share the four",
            partial(listed_goals, CORNERS),
            sparse_reward,
            shared_tasks=len(CORNERS),
        ),
        _family(
            "navigation/line",
            "a goal at -1 or +1 on a line; both splits share the two",
            partial(listed_goals, ((-1.0,), (1.0,))),
            size=1,
            shared_tasks=2,
        ),
    )
}
"""Families by name."""
