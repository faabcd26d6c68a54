"""A policy as samples see it: the view by which sampled data become a case of the exact road."""

from typing import NamedTuple

from jaxtyping import Float
from torch import Tensor

from bomrl_lite.require import checked
from bomrl_lite.types import ActionDistribution, Params, Policy


class PolicyAtSamples(NamedTuple):
    """A policy at M samples: every visit is a state, and the action that was taken its only one.

    That is all that sampled data know of a policy. It answers as
    :class:`bomrl_lite.types.StatePolicy` asks, so the surrogates and the distances of the exact
    road serve samples as they are.
    """

    policy: Policy
    """Over observations."""
    observations: Tensor
    """[M, O], or [M] integers where states are numbered."""
    actions: Tensor
    """[M, K], or [M] integers where actions are numbered."""

    def distribution(self, params: Params) -> ActionDistribution:
        """Return pi(. | s) of every sample."""
        return self.policy.distribution(params, self.observations)

    def log_probs(self, params: Params, /) -> Float[Tensor, "M 1"]:
        """Return log pi(a | s) of the actions that were taken."""
        return self.distribution(params).log_prob(self.actions).unsqueeze(-1)

    def divergence(self, first: Params, second: Params, /) -> Float[Tensor, " M"]:
        """Return KL(pi_first || pi_second) of every visit over all actions, in nats."""
        other = self.distribution(second)
        return self.distribution(first).kl(other)

    @checked()
    def every(self, stride: int) -> "PolicyAtSamples":
        """Return the policy at samples 0, stride, 2 stride and so on."""
        return self._replace(
            observations=self.observations[::stride], actions=self.actions[::stride]
        )
