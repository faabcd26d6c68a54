r"""How far one policy is from another: D_tau^2(pi_phi, pi_theta) of universal policy adaptation.

A distance is one function of the signature ``distance(phi, theta, *, policy, state_weights)``; any
function of that signature can be handed to the adaptation in its place. Three come with the course,
in the numbering of Xu and Zhu (2410.09728):

    D1^2 = E_{s ~ nu}[KL(pi_phi(.|s) || pi_theta(.|s))]     proximal and natural policy gradients
    D2^2 = E_{s ~ nu}[KL(pi_theta(.|s) || pi_phi(.|s))]     exponential tilting
    D3^2 = ||phi - theta||^2                                plain policy gradient

nu is the occupancy of pi_phi: ``state_weights`` is that vector on the exact road, and the share of
visits to every state (:func:`visit_shares`) on the sampled one.
"""

from collections.abc import Callable
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from bomrl_lite.policies.distributions import Categorical
from bomrl_lite.require import checked, require_not_negative
from bomrl_lite.solvers.linear import add_scaled, dot
from bomrl_lite.types import Params, StatePolicy

StateDistance = Callable[[Tensor, Tensor], Tensor]
"""d^2 of one state or of many: (log pi_phi, log pi_theta), both [..., A] -> [...]."""


@runtime_checkable
class Distance(Protocol):
    """D^2(pi_phi, pi_theta) >= 0, differentiable in both; 0 where the two are equal."""

    def __call__(
        self, phi: Params, theta: Params, *, policy: StatePolicy, state_weights: Tensor
    ) -> Tensor:
        """Return a scalar; ``state_weights`` [S] are non-negative and sum to 1."""
        ...


@checked()
def kl_divergence(
    log_p: Float[Tensor, "*S A"], log_q: Float[Tensor, "*S A"]
) -> Float[Tensor, "*S"]:
    """KL(p || q) = sum_a p(a) (log p(a) - log q(a)), in nats.

    0 log 0 counts as 0, so p may be deterministic; the value is infinite where q lacks an action
    that p takes.
    """
    return Categorical(log_p).kl(Categorical(log_q))


@checked()
def reverse_kl_divergence(
    log_p: Float[Tensor, "*S A"], log_q: Float[Tensor, "*S A"]
) -> Float[Tensor, "*S"]:
    """KL(q || p): the Kullback-Leibler divergence with its arguments exchanged."""
    return kl_divergence(log_q, log_p)


@checked()
def d1(
    phi: Params, theta: Params, *, policy: StatePolicy, state_weights: Float[Tensor, " S"]
) -> Float[Tensor, ""]:
    """D1^2 = E_{s ~ nu}[KL(pi_phi || pi_theta)], in nats."""
    return state_weights @ policy.divergence(phi, theta)


@checked()
def d2(
    phi: Params, theta: Params, *, policy: StatePolicy, state_weights: Float[Tensor, " S"]
) -> Float[Tensor, ""]:
    """D2^2 = E_{s ~ nu}[KL(pi_theta || pi_phi)], in nats."""
    return state_weights @ policy.divergence(theta, phi)


@checked()
def d3(
    phi: Params, theta: Params, *, policy: StatePolicy, state_weights: Float[Tensor, " S"]
) -> Float[Tensor, ""]:
    """D3^2 = ||phi - theta||^2, summed over all parameters; no state and no task matters."""
    del policy, state_weights
    difference = add_scaled(phi, -1.0, theta)
    return dot(difference, difference)


@checked()
def add_distances(*terms: tuple[float, Distance]) -> Distance:
    """Return the weighted sum of distances, such as D1^2 + (rho / 2) D3^2: a KL with a ridge.

    Args:
        terms: (weight >= 0, distance) each.

    Raises:
        ValueError: no term, or a negative weight.
    """
    if not terms:
        raise ValueError("add_distances needs at least one (weight >= 0, distance), got none")
    for weight, _ in terms:
        require_not_negative("the weight of a distance", weight)

    def total(phi: Params, theta: Params, *, policy: StatePolicy, state_weights: Tensor) -> Tensor:
        parts = [
            weight * distance(phi, theta, policy=policy, state_weights=state_weights)
            for weight, distance in terms
        ]
        return torch.stack(parts).sum()

    return total


@checked()
def over_every(stride: int, distance: Distance, part: StatePolicy) -> Distance:
    """Return a distance that averages over every stride-th sample only.

    Args:
        stride: >= 1.
        distance: an average over samples.
        part: the policy at samples 0, stride, 2 stride and so on.
    """

    def thinned(
        phi: Params, theta: Params, *, policy: StatePolicy, state_weights: Tensor
    ) -> Tensor:
        del policy  # the one at all samples
        weights = every_weight(state_weights, stride)
        return distance(phi, theta, policy=part, state_weights=weights)

    return thinned


@checked()
def every_weight(weights: Float[Tensor, " M"], stride: int) -> Float[Tensor, " M_part"]:
    """Return the weights of samples 0, stride, 2 stride and so on, summing to 1 again."""
    if stride == 1:
        return weights  # another division would change the last bit
    part = weights[::stride]
    return part / part.sum()


DISTANCES: dict[str, Distance] = {"d1": d1, "d2": d2, "d3": d3}
"""The distances by name, as the command line and ``Config.distance`` know them."""

STATE_DISTANCES: dict[Distance, StateDistance] = {d1: kl_divergence, d2: reverse_kl_divergence}
"""d^2 of one state, for the distances that are averages of one."""


@checked()
def visit_shares(
    states: Int[Tensor, " M"], weights: Float[Tensor, " M"], num_states: int
) -> Float[Tensor, " S"]:
    r"""Return nu-hat(s) = sum_m w_m 1[s_m = s] / sum_m w_m: the sampled state weights.

    With w = gamma^t its expectation is the occupancy of the sampling policy, so every distance of
    this module is estimated from samples by passing it as ``state_weights``.

    Args:
        states: visited states.
        weights: their weights, >= 0 and not all 0.
        num_states: S.

    Raises:
        ValueError: weights that do not fit the states, are negative or all 0, or states that do
            not exist.
    """
    if states.shape != weights.shape or not (weights.sum() > 0):
        raise ValueError(
            f"visit_shares needs one weight per visited state, >= 0 and not all 0, got states "
            f"{tuple(states.shape)} and weights {tuple(weights.shape)} with sum {weights.sum():.3g}"
        )
    if (weights < 0).any() or not ((states >= 0) & (states < num_states)).all():
        raise ValueError(
            f"states must be in [0, num_states = {num_states}) and weights >= 0, got states "
            f"{int(states.min())} to {int(states.max())} and a weight {weights.min():.3g}"
        )
    counts = torch.zeros(num_states, dtype=weights.dtype, device=weights.device)
    return counts.index_add(0, states, weights) / weights.sum()


@checked()
def d1_from_samples(
    log_prob_phi: Float[Tensor, " M"],
    log_prob_theta: Float[Tensor, " M"],
    weights: Float[Tensor, " M"],
) -> Float[Tensor, ""]:
    r"""Estimate D1^2 from actions that pi_phi took: mean of rho - 1 - log rho.

    rho = pi_theta(a|s) / pi_phi(a|s). E[rho - 1] = 0, so the mean is unbiased, and every summand is
    non-negative, unlike those of -log rho (Schulman, 2020, "Approximating KL divergence").

    Args:
        log_prob_phi: log pi_phi(a_m | s_m) of the sampled actions.
        log_prob_theta: log pi_theta(a_m | s_m) of the same actions.
        weights: their weights, such as gamma^t.
    """
    log_ratio = log_prob_theta - log_prob_phi
    return ((log_ratio.expm1() - log_ratio) * weights).sum() / weights.sum()
