r"""Random numbers of tasks that several processes share: all draw those of all, each keeps its own.

N tasks are N rows of whatever is drawn, or r rows each, task by task. So K processes that have the
same generator see the very numbers that one process sees, whatever K is, and stay in step.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor


class Shard(NamedTuple):
    """Which of N tasks are one's own: a run of them."""

    first: int
    """Number of the first."""
    own: int
    """How many, >= 1."""
    whole: int
    """N."""

    def rows(self, own: int) -> slice:
        """Return where ``own`` rows of one's own tasks lie among those of all."""
        each = self._each(own)
        return slice(self.first * each, (self.first + self.own) * each)

    def of_all(self, own: int) -> int:
        """Return how many rows all tasks have, where one's own have ``own``.

        Raises:
            ValueError: these are not equally many for each task.
        """
        return self.whole * self._each(own)

    def _each(self, own: int) -> int:
        if own % self.own:
            raise ValueError(
                f"{own} rows of random numbers are not equally many for each of {self.own} tasks; "
                "draw [N, ...] or [N * B, ...], task by task"
            )
        return own // self.own


class ShardedGenerator(torch.Generator):
    """A generator that all processes have alike; :func:`drawn` keeps the numbers of a shard."""

    shard: Shard


def shard_of(generator: torch.Generator) -> Shard | None:
    """Return which tasks' numbers are kept; None where one process draws for all."""
    return getattr(generator, "shard", None)


def drawn(
    draw: Callable[..., Tensor], shape: Sequence[int], generator: torch.Generator, **kind: Any
) -> Tensor:
    """Draw numbers whose rows belong to tasks, [M, ...] with M a multiple of the own tasks.

    Args:
        draw: ``torch.rand``, ``torch.randn`` or another that takes sizes and a generator.
        shape: of one's own tasks' numbers.
        generator: where the randomness comes from.
        kind: ``dtype`` and ``device``.
    """
    shard = shard_of(generator)
    if shard is None:
        return draw(*shape, generator=generator, **kind)
    own, *rest = shape
    return draw(shard.of_all(own), *rest, generator=generator, **kind)[shard.rows(own)]


def drawn_numbers(probs: Tensor, generator: torch.Generator) -> Tensor:
    """Draw one number in [0, A) for each row of probabilities, [M, A] -> [M]; as :func:`drawn`."""
    shard, own = shard_of(generator), len(probs)
    if shard is not None:  # what the others draw does not matter, how many numbers that takes does
        of_all = probs.new_ones((shard.of_all(own), probs.shape[-1]))
        of_all[shard.rows(own)] = probs
        probs = of_all
    numbers = torch.multinomial(probs, 1, replacement=True, generator=generator).squeeze(-1)
    return numbers if shard is None else numbers[shard.rows(own)]
