"""Tiny task distributions, most with answers that are known by hand.

They are probes: each isolates one thing, so that a failure tells WHICH part of a method is wrong.
The random ones isolate nothing; they are what a formula must survive.
"""

import math
from functools import partial

import torch
from jaxtyping import Float

from bomrl_lite.mdp import tabular_task
from bomrl_lite.require import checked
from bomrl_lite.tasks.frozen_lake import HOLES, lake_tasks, random_map, require_ice
from bomrl_lite.tasks.splits import check_split
from bomrl_lite.tasks.tabular import tabular_tasks
from bomrl_lite.types import TabularTask, Tasks


@checked()
def bandit(rewards: Float[torch.Tensor, "*N A"]) -> TabularTask:
    """Return the one-state task that pays ``rewards[..., a]`` for action a at every step.

    Args:
        rewards: [*N, A].
    """
    shape = rewards.shape
    ones = torch.ones(*shape[:-1], 1, shape[-1], 1, dtype=rewards.dtype)
    return tabular_task(ones, rewards.unsqueeze(-2), ones[..., 0, 0, :])


@checked()
def opposite_bandits() -> Tasks[TabularTask]:
    """Two bandits that want opposite arms, in equal parts.

    By symmetry the best meta-policy of MAML is the uniform one, as long as its step is large enough
    to make adaptation pay; J after adaptation is the same for both.
    """
    arms = torch.eye(2, dtype=torch.float64)
    return _cycle("probe/opposite", "two bandits with opposite best arms", arms, gamma=0.0)


@checked()
def identical_bandits() -> Tasks[TabularTask]:
    """One bandit over and over: no variance between tasks, so the best prior IS the solution."""
    arms = torch.tensor([[1.0, 0.0, 0.0]], dtype=torch.float64)
    return _cycle("probe/identical", "the same bandit every time", arms, gamma=0.0)


@checked()
def delayed_reward() -> Tasks[TabularTask]:
    """One task: the first step pays nothing, the second pays 1 if action 1 was taken first.

    Q of the first state is (0, gamma): an algorithm that loses the discount or the next state's
    value fails here and nowhere simpler.
    """
    transition = torch.zeros(3, 2, 3, dtype=torch.float64)
    transition[0, 0, 2] = transition[0, 1, 1] = 1.0
    transition[1:, :, 2] = 1.0
    reward = torch.zeros(3, 2, dtype=torch.float64)
    reward[1] = 1.0
    start = torch.tensor([1.0, 0.0, 0.0], dtype=torch.float64)
    task = tabular_task(transition, reward, start)

    @checked()
    def sample(num_tasks: int, generator: torch.Generator, split: str = "train") -> TabularTask:
        check_split(split)
        return TabularTask(*(torch.stack([field] * num_tasks) for field in task))

    return tabular_tasks(
        "probe/delayed",
        "a reward one step late",
        sample,
        num_actions=2,
        gamma=0.5,
        horizon=2,
        shared_tasks=1,
    )


@checked()
def random_bandits(num_arms: int) -> Tasks[TabularTask]:
    """Bandits whose arms pay independent amounts from [0, 1), drawn anew for every task.

    An arm pays its mean, without noise. The splits draw independently, even from one seed.

    Args:
        num_arms: A >= 1.

    Raises:
        ValueError: fewer than 1 arm.
    """

    @checked()
    def sample(num_tasks: int, generator: torch.Generator, split: str = "train") -> TabularTask:
        stream = _stream(generator, check_split(split))
        return bandit(torch.rand(num_tasks, num_arms, dtype=torch.float64, generator=stream))

    summary = f"bandits of {num_arms} arms, each paying an amount from [0, 1)"
    name = f"probe/bandits-{num_arms}"
    return tabular_tasks(name, summary, sample, num_actions=num_arms, gamma=0.0, horizon=1)


@checked()
def random_mdps(num_states: int, num_actions: int) -> Tasks[TabularTask]:
    """Tasks without structure: transitions from a flat Dirichlet, rewards from N(0, 1).

    Every state can follow every other, and episodes start in any of them with equal chances. What
    comes after the horizon has a weight of at most gamma^50, 1.4e-5. The splits draw independently.

    Args:
        num_states: S >= 1.
        num_actions: A >= 1.

    Raises:
        ValueError: a count below 1.
    """

    @checked()
    def sample(num_tasks: int, generator: torch.Generator, split: str = "train") -> TabularTask:
        stream = _stream(generator, check_split(split))
        shape = (num_tasks, num_states, num_actions)
        reward = torch.randn(shape, dtype=torch.float64, generator=stream)
        # Exponential variables, divided by their sum, are a flat Dirichlet's.
        weights = torch.empty(*shape, num_states, dtype=torch.float64)
        weights.exponential_(generator=stream)
        start = torch.full(reward.shape[:-1], 1 / num_states, dtype=torch.float64)
        return tabular_task(weights / weights.sum(-1, keepdim=True), reward, start)

    name, summary = f"probe/random-{num_states}x{num_actions}", "random transitions and rewards"
    return tabular_tasks(name, summary, sample, num_actions=num_actions, gamma=0.8, horizon=50)


@checked()
def variance_dial(ice: float) -> Tasks[TabularTask]:
    """Lakes whose variance can be set: random 4x4 maps with this share of ice, holes absorb.

    At ice = 1 every lake is the same open one; the less ice, the more do the optimal policies
    differ. Both splits draw from the same maps, of which there may be only one.

    Args:
        ice: chance that a tile is ice, in (0, 1].

    Raises:
        ValueError: another chance.
    """
    require_ice(ice)

    @checked()
    def sample(num_tasks: int, generator: torch.Generator, split: str = "train") -> TabularTask:
        check_split(split)
        maps = [random_map(4, generator, ice=ice) for _ in range(num_tasks)]
        return lake_tasks(maps, HOLES)

    summary = f"lakes with a share of {ice:g} ice; holes absorb and cost 1 a step"
    return tabular_tasks(
        f"probe/ice-{ice:g}",
        summary,
        sample,
        num_actions=4,
        gamma=0.8,
        horizon=49,
        shared_tasks=1 if ice == 1 else math.inf,
    )


def _stream(generator: torch.Generator, split: str) -> torch.Generator:
    """Return the split's randomness: one seed must not give both splits the same tasks."""
    if split == "train":
        return generator
    return torch.Generator().manual_seed(int(torch.randint(2**62, (), generator=generator)))


def _cycle(name: str, summary: str, arms: torch.Tensor, gamma: float) -> Tasks[TabularTask]:
    """Return bandits that pay the rows of ``arms`` [rows, A] in turn, the same in both splits."""

    @checked()
    def sample(num_tasks: int, generator: torch.Generator, split: str = "train") -> TabularTask:
        check_split(split)
        return bandit(arms[torch.arange(num_tasks) % len(arms)])

    return tabular_tasks(
        name,
        summary,
        sample,
        num_actions=arms.shape[1],
        gamma=gamma,
        horizon=1,
        shared_tasks=len(arms),
    )


PROBES = {
    "probe/opposite": opposite_bandits,
    "probe/identical": identical_bandits,
    "probe/delayed": delayed_reward,
    "probe/bandits-5": partial(random_bandits, 5),
    "probe/random-5x3": partial(random_mdps, 5, 3),
    **{f"probe/ice-{ice:g}": partial(variance_dial, ice) for ice in (1.0, 0.95, 0.9, 0.8, 0.7)},
}
"""Makers of the probes, by name."""
