"""Frozen Lake as exact tabular tasks: gymnasium's rules and those of the BO-MRL experiments.

A map is a tuple of rows of letters, as gymnasium writes it: S start, F ice, H hole, G goal. States
are numbered row by row; actions are 0 left, 1 down, 2 right, 3 up.
"""

import zlib
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch

from bomrl_lite.mdp import tabular_task
from bomrl_lite.require import checked, described, require_number, require_share, require_whole
from bomrl_lite.tasks.splits import check_split, in_split
from bomrl_lite.tasks.tabular import tabular_tasks
from bomrl_lite.types import Split, TabularTask, Tasks

LakeMap = tuple[str, ...]

MOST_DRAWS = 10_000
"""How often a map is drawn anew before its like counts as impossible."""

MOVES = ((0, -1), (1, 0), (0, 1), (-1, 0))
"""(rows, columns) of left, down, right, up."""


class LakeRules(NamedTuple):
    """What the tiles of a lake do; rewards are paid for the tile that a step enters."""

    goal_reward: float
    hole_reward: float
    absorbing: str
    """Letters of the tiles that are never left."""
    pays_forever: bool
    """Whether an absorbing tile pays its reward at every later step too."""
    success_rate: float
    """Chance that a step goes where it was meant to, else to either side; 1 is firm ice."""


GYMNASIUM = LakeRules(1.0, 0.0, absorbing="GH", pays_forever=False, success_rate=1 / 3)
"""gymnasium's FrozenLake-v1 on slippery ice, its default."""
HOLES = LakeRules(1.0, -1.0, absorbing="GH", pays_forever=True, success_rate=1.0)
"""High-variance lakes of Xu and Zhu (2410.09728): a hole costs 1 at every later step."""
COSTS = LakeRules(1.0, -0.5, absorbing="G", pays_forever=True, success_rate=1.0)
"""Low-variance lakes of Xu and Zhu (2410.09728): a hole is walkable and costs 0.5 when entered."""


@checked()
def lake_task(
    lake_map: Sequence[str], rules: LakeRules, *, dtype: torch.dtype = torch.float64
) -> TabularTask:
    """Return the Markov decision process of one map.

    Raises:
        ValueError: ragged rows, unknown letters, no start, no goal, a goal out of reach, or a
            success rate that is no probability.
    """
    check_map(lake_map, rules)
    require_share("success_rate", rules.success_rate)
    require_number("goal_reward", rules.goal_reward)
    require_number("hole_reward", rules.hole_reward)
    letters = "".join(lake_map)
    size = len(letters)
    transition = torch.zeros(size, 4, size, dtype=dtype)
    reward = torch.zeros(size, 4, dtype=dtype)
    for state, letter in enumerate(letters):
        for action in range(4):
            for chance, moved in _outcomes(action, rules):
                # An absorbing tile is never left: its own tile is "entered" again at every step.
                stays = letter in rules.absorbing
                entered = state if stays else _neighbour(state, moved, lake_map)
                transition[state, action, entered] += chance
                if not stays or rules.pays_forever:
                    reward[state, action] += chance * _tile_reward(letters[entered], rules)
    # Several starts are equally likely.
    starts = torch.tensor([letter == "S" for letter in letters], dtype=dtype)
    return tabular_task(transition, reward, starts / starts.sum())


@checked()
def stack_tasks(tasks: Sequence[TabularTask]) -> TabularTask:
    """Stack single tasks of one size to a batch with a leading N.

    Raises:
        ValueError: no task, or tasks of several sizes.
    """
    if len({tuple(task.reward.shape) for task in tasks}) != 1:
        raise ValueError(
            "tasks must be at least 1 and of one size, got rewards of shapes "
            f"{[tuple(task.reward.shape) for task in tasks]}"
        )
    return TabularTask(*(torch.stack(field) for field in zip(*tasks, strict=True)))


@checked()
def lake_tasks(maps: Sequence[LakeMap], rules: LakeRules) -> TabularTask:
    """Return the batch of tasks of several maps of one size."""
    return stack_tasks([lake_task(lake_map, rules) for lake_map in maps])


@checked()
def random_map(size: int, generator: torch.Generator, *, ice: float = 0.8) -> LakeMap:
    """Draw a solvable map through gymnasium's generator, with solid ice around the start.

    The tiles with row + column <= 2 are always ice, as in the experiments of Xu and Zhu.

    Args:
        size: tiles per side, >= 3.
        generator: where the randomness comes from.
        ice: chance that a tile is ice, in (0, 1].

    Raises:
        ValueError: an argument out of its range, or so little ice that no draw was solvable.
    """
    from gymnasium.envs.toy_text.frozen_lake import is_valid  # slow to import
    from gymnasium.utils.seeding import np_random

    require_whole("size", size, least=3)
    require_ice(ice)
    # gymnasium draws from numpy; the seed of each map comes from our generator.
    rng = np_random(int(torch.randint(2**31 - 1, (), generator=generator)))[0]
    for _ in range(MOST_DRAWS):  # gymnasium's generate_random_map, which may never return
        board = rng.choice(["F", "H"], (size, size), p=[ice, 1 - ice])
        board[0][0], board[-1][-1] = "S", "G"
        if is_valid(board.tolist(), size):
            return tuple(
                "".join("F" if t == "H" and r + c <= 2 else t for c, t in enumerate(row))
                for r, row in enumerate(board.tolist())
            )
    raise ValueError(
        f"none of {MOST_DRAWS} maps of {size} x {size} tiles with a share of {ice:g} ice has a way "
        "to the goal; raise ice or lower size"
    )


def require_ice(ice: float) -> None:
    """Refuse a chance of ice that is not in (0, 1].

    Raises:
        ValueError: it is not.
    """
    if not 0 < ice <= 1:
        raise ValueError(f"ice must be in (0, 1], got {ice}")


@checked()
def goal_map(size: int, generator: torch.Generator) -> LakeMap:
    """Draw an open lake, start in the corner, whose goal is on any other tile.

    Raises:
        ValueError: fewer than 2 tiles per side.
    """
    require_whole("size", size, least=2)
    goal = int(torch.randint(1, size * size, (), generator=generator))
    letters = {0: "S", goal: "G"}
    return tuple(
        "".join(letters.get(row * size + column, "F") for column in range(size))
        for row in range(size)
    )


@checked()
def split_of(lake_map: LakeMap) -> Split:
    """Tell which split a map belongs to: a fixed hash of its letters, so the two never meet."""
    number = torch.tensor(zlib.crc32("/".join(lake_map).encode()), dtype=torch.int64)
    return "test" if in_split(number, "test") else "train"


@checked()
def sample_maps(
    family: str, num_maps: int, generator: torch.Generator, split: str = "train"
) -> list[LakeMap]:
    """Draw maps of a family (a key of :data:`FAMILIES`) that belong to ``split``.

    Raises:
        ValueError: fewer than 1 map, no such family or split, or no map of that split in many.
    """
    _known(family)
    check_split(split)
    # By rejection: whether a map is held out is known only once it is drawn.
    maps: list[LakeMap] = []
    for _ in range(MOST_DRAWS * num_maps):
        lake_map = FAMILIES[family].draw(generator)
        if split_of(lake_map) == split:
            maps.append(lake_map)
        if len(maps) == num_maps:
            return maps
    raise ValueError(f"{family} draws too few maps of the split {split!r}: use another family")


@checked()
def lake_family(family: str) -> Tasks[TabularTask]:
    """Return the task distribution of a family, by its name in :data:`FAMILIES`.

    Raises:
        ValueError: no such family.
    """
    lake = _known(family)

    @checked()
    def sample(num_tasks: int, generator: torch.Generator, split: str = "train") -> TabularTask:
        return lake_tasks(sample_maps(family, num_tasks, generator, split), lake.rules)

    return tabular_tasks(
        family,
        lake.summary,
        sample,
        num_actions=len(MOVES),
        gamma=lake.gamma,
        horizon=lake.horizon,
    )


def _known(family: str) -> "LakeFamily":
    if family not in FAMILIES:
        raise ValueError(f"family must be one of {', '.join(FAMILIES)}, got {described(family)}")
    return FAMILIES[family]


class LakeFamily(NamedTuple):
    """A supply of maps and the rules they are played by."""

    summary: str
    rules: LakeRules
    draw: Callable[[torch.Generator], LakeMap]
    gamma: float
    horizon: int


def _families(size: int, gamma: float, horizon: int) -> dict[str, LakeFamily]:
    """Name the four families of one size; ``gamma`` and ``horizon`` are those of the first two."""

    def layouts(generator: torch.Generator) -> LakeMap:
        return random_map(size, generator)

    def goals(generator: torch.Generator) -> LakeMap:
        return goal_map(size, generator)

    tag = f"{size}x{size}"
    return {
        f"frozen_lake/holes-{tag}": LakeFamily(
            "random holes that absorb and cost 1 a step; high variance",
            HOLES,
            layouts,
            gamma,
            horizon,
        ),
        f"frozen_lake/costs-{tag}": LakeFamily(
            "random walkable tiles that cost 0.5; low variance", COSTS, layouts, gamma, horizon
        ),
        f"frozen_lake/layouts-{tag}": LakeFamily(
            "random slippery lakes by gymnasium's own rules", GYMNASIUM, layouts, 0.95, 100
        ),
        f"frozen_lake/goals-{tag}": LakeFamily(
            "open slippery ice, the goal on any tile", GYMNASIUM, goals, 0.95, 100
        ),
    }


FAMILIES: dict[str, LakeFamily] = {**_families(4, 0.8, 49), **_families(8, 0.9, 100)}
"""Families by name. The 4x4 ``holes`` and ``costs`` follow Xu and Zhu: gamma 0.8, 49 steps."""


@checked()
def check_map(lake_map: Sequence[str], rules: LakeRules) -> None:
    """Check that the map is a rectangle with a start from which a goal can be reached.

    Raises:
        ValueError: ragged rows, unknown letters, no start, no goal, or a goal out of reach.
    """
    if not lake_map or len({len(row) for row in lake_map}) != 1:
        raise ValueError(
            f"the rows of a map must have one length, got {[len(r) for r in lake_map]}"
        )
    letters = "".join(lake_map)
    unknown = sorted(set(letters) - set("SFHG"))
    if unknown or "S" not in letters or "G" not in letters:
        raise ValueError(
            f"a map holds the letters S, F, H and G, with at least one S and one G, got "
            f"{list(lake_map)}" + (f" with unknown {unknown}" if unknown else "")
        )
    if "G" not in {letters[s] for s in _reachable(lake_map, rules)}:
        raise ValueError(
            f"no path leads from S to G on {list(lake_map)} when {rules.absorbing!r} cannot be "
            "crossed; open a way of F tiles"
        )


def _reachable(lake_map: Sequence[str], rules: LakeRules) -> set[int]:
    letters = "".join(lake_map)
    seen = {state for state, letter in enumerate(letters) if letter == "S"}
    frontier = list(seen)
    while frontier:
        state = frontier.pop()
        if letters[state] in rules.absorbing:
            continue  # no path leads on from there
        for action in range(4):
            entered = _neighbour(state, action, lake_map)
            if entered not in seen:
                seen.add(entered)
                frontier.append(entered)
    return seen


def _outcomes(action: int, rules: LakeRules) -> list[tuple[float, int]]:
    """List (chance, direction really taken) in gymnasium's order."""
    sideways = (1.0 - rules.success_rate) / 2.0
    return [
        (sideways, (action - 1) % 4),
        (rules.success_rate, action),
        (sideways, (action + 1) % 4),
    ]


def _neighbour(state: int, action: int, lake_map: Sequence[str]) -> int:
    """Return the state that a move leads to; at the edge of the map nothing moves."""
    rows, columns = len(lake_map), len(lake_map[0])
    row = min(max(state // columns + MOVES[action][0], 0), rows - 1)
    column = min(max(state % columns + MOVES[action][1], 0), columns - 1)
    return row * columns + column


def _tile_reward(letter: str, rules: LakeRules) -> float:
    return {"G": rules.goal_reward, "H": rules.hole_reward}.get(letter, 0.0)
