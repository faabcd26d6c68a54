"""Observations in units of their running standard deviation."""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from bomrl_lite.types import Simulator

CLIP = 5.0
"""Normalised observations are clipped to this many standard deviations."""


class Moments(NamedTuple):
    """Running moments of the observations so far."""

    number: Float[Tensor, ""]
    """How many were seen."""
    mean: Float[Tensor, " O"]
    squares: Float[Tensor, " O"]
    """Sum of squared distances from the mean."""


def no_moments(size: int, device: torch.device | str = "cpu") -> Moments:
    """Return the moments of no observation of this size."""
    zeros = torch.zeros(size, dtype=torch.float64, device=device)
    return Moments(zeros.sum(), zeros, zeros)


def update_moments(
    moments: Moments, observations: Float[Tensor, "*M O"], mask: Float[Tensor, "*M"]
) -> Moments:
    """Add observations where the mask is 1."""
    return merged(moments, moments_of(observations, mask))


def moments_of(observations: Float[Tensor, "*M O"], mask: Float[Tensor, "*M"]) -> Moments:
    """Return the moments of the observations where the mask is 1."""
    weights = mask.double().unsqueeze(-1)
    # Not values * weights: what follows an episode's end may be NaN, and NaN times 0 is NaN.
    values = torch.where(weights > 0, observations.double(), 0.0)
    axes = tuple(range(values.ndim - 1))
    count = weights.sum()
    mean = (weights * values).sum(axes) / count.clamp(min=1)
    return Moments(count, mean, (weights * (values - mean).square()).sum(axes))


def merged(moments: Moments, others: Moments) -> Moments:
    """Return the moments of both together (Chan, Golub and LeVeque, 1983, eq. 1.5)."""
    total = moments.number + others.number
    share = others.number / total.clamp(min=1)
    difference = others.mean - moments.mean
    return Moments(
        total,
        moments.mean + share * difference,
        moments.squares + others.squares + moments.number * share * difference.square(),
    )


class Lens(NamedTuple):
    """What observations are looked at through."""

    mean: Float[Tensor, " O"]
    scale: Float[Tensor, " O"]

    def __call__(self, observations: Float[Tensor, "*M O"]) -> Float[Tensor, "*M O"]:
        """Return clip(scale (o - mean), -5, 5)."""
        return ((observations - self.mean) * self.scale).clamp(-CLIP, CLIP)


def lens_of(moments: Moments) -> Lens:
    """Return the lens with scale one over the deviation; before two are seen, one of scale 1."""
    few = moments.number < 2
    deviation = (moments.squares / moments.number.clamp(min=1)).sqrt() + 1e-8
    scale = torch.where(few, torch.ones_like(deviation), 1 / deviation)
    return Lens(torch.where(few, 0.0, moments.mean).float(), scale.float())


class NormalisedSimulator:
    """A simulator whose observations are normalised with moments that stay fixed.

    The moments are updated between iterations, not within one: all policies of an iteration must
    see the same observation of the same state.
    """

    def __init__(self, simulator: Simulator, moments: Moments) -> None:
        self.horizon = simulator.horizon
        self._simulator, self._moments, self._lens = simulator, moments, lens_of(moments)
        self._shown: list[tuple[Tensor, Tensor]] = []
        self._alive = torch.zeros(0, dtype=torch.float32)

    @property
    def moments(self) -> Moments:
        """The moments with all observations since; what follows an episode's end is left out."""
        if self._shown:
            self._moments = merged(self._moments, self.seen())
            self._shown.clear()
        return self._moments

    def seen(self) -> Moments:
        """Return the moments of what was shown since :attr:`moments` was read."""
        observations, mask = (torch.stack(part) for part in zip(*self._shown, strict=True))
        return moments_of(observations, mask)

    def reset(self, generator: torch.Generator) -> Tensor:
        """Start all episodes anew; returns normalised observations [N, B, O]."""
        observations = self._simulator.reset(generator)
        self._alive = torch.ones_like(observations[..., 0])
        return self._show(observations)

    def step(
        self, actions: Tensor, generator: torch.Generator
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Take actions [N, B, ...]; returns normalised observations, rewards, ends, cuts."""
        observations, rewards, ended, cut = self._simulator.step(actions, generator)
        self._alive = self._alive * ~(ended | cut)
        return self._show(observations), rewards, ended, cut

    def _show(self, observations: Tensor) -> Tensor:
        # Only kept here: a running update per step would cost more than one over all of them.
        self._shown.append((observations, self._alive))
        return self._lens(observations)
