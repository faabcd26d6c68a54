r"""What universal policy adaptation reduces to: PPO, the natural and the plain policy gradient.

Alg keeps L(theta) as it is; the classic methods replace it by its slope at phi, or the distance by
its curvature there, or both. All agree up to O(1 / lam), because small steps
are alike.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from bomrl_lite.adaptation.distances import Distance
from bomrl_lite.adaptation.objective import surrogate_slope
from bomrl_lite.require import checked
from bomrl_lite.rollout.data import OneTimeData
from bomrl_lite.solvers.linear import add_scaled, hessian_vector_product, null_space_safe_solve
from bomrl_lite.types import Params, SolveInfo, StatePolicy


@checked()
def policy_gradient_step(
    phi: Params, data: OneTimeData, *, policy: StatePolicy, lam: float
) -> Params:
    r"""Maximise <\nabla L(phi), theta - phi> - lam ||theta - phi||^2: a policy-gradient step.

    theta = phi + 1 / (2 lam) \nabla L(phi)

    That of MAML (:func:`bomrl_lite.adaptation.gradient.gradient_step`) with
    alpha = (1 - gamma) / (2 lam).

    Args:
        phi: meta-parameters, which collected the data.
        data: one-time data of one task.
        policy: how parameters become a policy.
        lam: weight of the distance, > 0, in units of return.

    Raises:
        ValueError: lam is not positive.
    """
    slope = surrogate_slope(phi, data, policy=policy)
    return add_scaled(phi, 0.5 / lam, slope)


@checked()
def natural_gradient_step(
    phi: Params, data: OneTimeData, *, policy: StatePolicy, distance: Distance, lam: float
) -> tuple[Params, SolveInfo]:
    r"""Maximise <\nabla L(phi), theta - phi> - lam D^2, the latter to second order.

    theta = phi + 1 / lam F^+ \nabla L(phi),  F = \nabla^2_theta D^2(phi, theta) at theta = phi

    The natural-gradient step (Kakade, 2001). For D1 and for D2, F is the Fisher information; it is
    singular along parameters that change no probability, where nothing moves.

    Arguments and errors as for :func:`policy_gradient_step`, with a ``distance``.

    Returns:
        theta, and the info of the linear solve.
    """

    def divergence(theta: Params) -> Tensor:
        return distance(phi, theta, policy=policy, state_weights=data.state_weights)

    slope = surrogate_slope(phi, data, policy=policy)
    direction, info = null_space_safe_solve(hessian_vector_product(divergence, phi), slope)
    return add_scaled(phi, 1.0 / lam, direction), info


@checked()
def smooth_clip(ratio: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    r"""Return g(rho) = 2 sigmoid(2 (rho - 1)): PPO's clipping, smooth.

    g(1) = g'(1) = 1, so the gradient at phi is unchanged; g stays inside (0, 2), so no action can
    count for more than twice its share (the code of Xu and Zhu).
    """
    return 2 * torch.sigmoid(2 * (ratio - 1))


@checked()
def smooth_clip_objective(
    theta: Params, data: OneTimeData, *, policy: StatePolicy
) -> Float[Tensor, ""]:
    r"""Return E_{s ~ nu, a ~ pi_phi}[g(rho) A(s, a)] with g of :func:`smooth_clip`.

    A stand-in for PPO's clipped objective (Schulman et al., 1707.06347, eq. 7), which is no special
    case of Alg: it bounds what a ratio can gain instead of asking a price for distance.
    """
    return smooth_clip_surrogate(theta, data._replace(q_values=_advantages(data)), policy=policy)


@checked()
def smooth_clip_surrogate(
    theta: Params, data: OneTimeData, *, policy: StatePolicy
) -> Float[Tensor, ""]:
    r"""Return E[g(rho) Q] for data whose Q is an advantage already, as that of samples is."""
    ratio = (policy.log_probs(theta) - data.log_probs).exp()
    gained = smooth_clip(ratio) * data.q_values
    return (data.state_weights[:, None] * data.action_probs * gained).sum()


def _advantages(data: OneTimeData) -> Tensor:
    return data.q_values - (data.action_probs * data.q_values).sum(-1, keepdim=True)
