r"""Distributions over actions, pi(. | s) of many observations at once.

Records of tensors with methods, so that ``torch.func`` can batch and differentiate them;
``torch.distributions`` checks values, which ``vmap`` hides.
"""

import math
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from bomrl_lite.policies.draws import drawn, drawn_numbers
from bomrl_lite.require import checked


class Gaussian(NamedTuple):
    """Independent normal distributions of K action dimensions."""

    mean: Float[Tensor, "*M K"]
    log_std: Float[Tensor, "*M K"]

    @checked()
    def sample(self, generator: torch.Generator) -> Tensor:
        """Draw one action per observation, [...] or [..., K]; records no gradient."""
        mean, log_std = self.mean.detach(), self.log_std.detach()
        noise = drawn(torch.randn, mean.shape, generator, dtype=mean.dtype, device=mean.device)
        return mean + log_std.exp() * noise

    @checked()
    def log_prob(self, actions: Float[Tensor, "*M K"]) -> Float[Tensor, "*M"]:
        r"""Sum -((a - mu) / sigma)^2 / 2 - log sigma - log(2 pi) / 2 over action dimensions."""
        standard = (actions - self.mean) * (-self.log_std).exp()
        return (-0.5 * standard.square() - self.log_std - 0.5 * math.log(2 * math.pi)).sum(-1)

    def kl(self, other: "Gaussian") -> Float[Tensor, "*M"]:
        r"""Sum log(s_2 / s_1) + (s_1^2 + (mu_1 - mu_2)^2) / (2 s_2^2) - 1/2 over actions."""
        shift = (self.mean - other.mean).square() * (-2 * other.log_std).exp()
        log_ratio = 2 * (self.log_std - other.log_std)
        # expm1 keeps the value 0, not some rounding, where the two agree.
        return 0.5 * (shift + torch.expm1(log_ratio) - log_ratio).sum(-1)

    def fisher_product(self, tangent: "Gaussian") -> "Gaussian":
        r"""F (d mu, d log sigma) = (d mu / sigma^2, 2 d log sigma)."""
        return Gaussian(tangent.mean * (-2 * self.log_std).exp(), 2 * tangent.log_std)


class Categorical(NamedTuple):
    """Probabilities of A numbered actions."""

    log_probs: Float[Tensor, "*M A"]
    """log pi(a | s), normalised."""

    @checked()
    def sample(self, generator: torch.Generator) -> Tensor:
        """Draw one action per observation, [...] or [..., K]; records no gradient."""
        probs = self.log_probs.detach().exp()
        draws = drawn_numbers(probs.reshape(-1, probs.shape[-1]), generator)
        return draws.reshape(probs.shape[:-1])

    @checked()
    def log_prob(self, actions: Int[Tensor, "*M"]) -> Float[Tensor, "*M"]:
        """Pick log pi(a | s) of the given actions."""
        return self.log_probs.gather(-1, actions.unsqueeze(-1)).squeeze(-1)

    def kl(self, other: "Categorical") -> Float[Tensor, "*M"]:
        """KL = sum_a p(a) (log p(a) - log q(a)), where 0 log 0 counts as 0."""
        taken = self.log_probs > -torch.inf
        log_p = torch.where(taken, self.log_probs, 0.0)
        return torch.where(taken, log_p.exp() * (log_p - other.log_probs), 0.0).sum(-1)

    def fisher_product(self, tangent: "Categorical") -> "Categorical":
        r"""F d log pi = pi d log pi: the Hessian of the KL divergence in log-probabilities.

        Along a softmax the tangents satisfy sum_a pi(a) d log pi(a) = 0, and this is exact.
        """
        return Categorical(self.log_probs.exp() * tangent.log_probs)
