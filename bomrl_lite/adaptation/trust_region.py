r"""The constrained form of universal policy adaptation: max L(theta) subject to D^2 <= delta."""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor
from torch.func import grad

from bomrl_lite.adaptation.closed_forms import CLOSED_FORMS, weighted_q
from bomrl_lite.adaptation.distances import Distance
from bomrl_lite.adaptation.objective import surrogate_objective
from bomrl_lite.adaptation.solve import adapt, has_closed_form
from bomrl_lite.require import checked
from bomrl_lite.rollout.data import OneTimeData, full_data
from bomrl_lite.solvers.linear import add_scaled, bordered_solve, hessian_vector_product, norm
from bomrl_lite.solvers.maximize import bisect, curvature, maximize
from bomrl_lite.types import InnerInfo, Params, TabularPolicy, TabularTask


@checked()
def adapt_in_trust_region(
    phi: Params, data: OneTimeData, *, policy: TabularPolicy, distance: Distance, delta: float
) -> tuple[Params, Tensor, InnerInfo]:
    r"""Solve max_theta L(theta) subject to D^2(pi_phi, pi_theta) <= delta.

    While the constraint binds, the solution is that of :func:`bomrl_lite.adaptation.solve.adapt`
    with the multiplier eta > 0 in place of lam, one number for all states. It is found by bisection
    in log eta and, without a closed form, by Newton steps on the Karush-Kuhn-Tucker conditions:

        \nabla L - eta \nabla D^2 = 0,  D^2 = delta

    Args:
        phi: meta-parameters, which collected the data.
        data: one-time data of one task.
        policy: how parameters become a policy.
        distance: one of :mod:`bomrl_lite.adaptation.distances` or a function of their signature.
        delta: largest D^2 allowed, > 0.

    Returns:
        theta; the multiplier, a scalar, 0 if the best theta lies inside the region; and
        information, of L / eta
        - D^2 if the constraint binds, else of L. With free logits and a delta that leaves
        room for a deterministic policy there is no best theta, and the stationarity says so.

    Raises:
        ValueError: delta is not positive.
    """
    closed = has_closed_form(policy, distance)
    solve_at = partial(adapt, phi, data, policy=policy, distance=distance)
    spread = weighted_q(data).max() - weighted_q(data).min()
    spread = torch.where(spread > 0, spread, 1.0)

    def excess(log_eta: Tensor) -> Tensor:
        eta = log_eta.exp()
        theta = CLOSED_FORMS[distance](phi, data, lam=eta) if closed else solve_at(lam=eta)[0]
        return distance(phi, theta, policy=policy, state_weights=data.state_weights) - delta

    # eta has the unit of Q. D^2 falls with eta, as 1 / eta^2 where eta is large: a small delta
    # needs an eta that grows as delta^{-1/2}.
    low, high = (1e-4 * spread).log(), (1e3 * spread * max(1.0, delta**-0.5)).log()
    binds = excess(low) > 0
    # A closed form bisects down to rounding; else bisection only brings Newton close enough.
    eta = bisect(excess, low, high, iterations=60 if closed else 12).exp()
    theta, info = solve_at(lam=eta)
    if closed:
        unconstrained = _best_response_slope(theta, data, policy)
        info = info._replace(stationarity=torch.where(binds, info.stationarity, unconstrained))
    else:
        theta, eta, info = _polish(theta, eta, binds, phi, data, policy, distance, delta)
    return theta, torch.where(binds, eta, 0.0), info


@checked()
def adapt_to_task_in_trust_region(
    phi: Params,
    task: TabularTask,
    *,
    policy: TabularPolicy,
    gamma: float,
    distance: Distance,
    delta: float,
) -> Params:
    """Collect data once with pi_phi in a task; see :func:`adapt_in_trust_region`.

    Raises:
        ValueError: delta is not positive, or gamma is outside [0, 1).
    """
    data = full_data(phi, task, policy=policy, gamma=gamma)
    return adapt_in_trust_region(phi, data, policy=policy, distance=distance, delta=delta)[0]


def _best_response_slope(theta: Params, data: OneTimeData, policy: TabularPolicy) -> Tensor:
    """Return the largest slope of L in a probability: what is left to gain without a constraint."""
    probs, value = policy.log_probs(theta).exp(), weighted_q(data)
    return (value - (probs * value).sum(-1, keepdim=True)).abs().max()


def _polish(
    theta: Params,
    eta: Tensor,
    binds: Tensor,
    phi: Params,
    data: OneTimeData,
    policy: TabularPolicy,
    distance: Distance,
    delta: float,
) -> tuple[Params, Tensor, InnerInfo]:
    """Finish a near solution: on the constraint by Newton steps, inside it by climbing."""

    def divergence(x: Params) -> Tensor:
        return distance(phi, x, policy=policy, state_weights=data.state_weights)

    def lagrangian(x: Params, multiplier: Tensor) -> Tensor:
        apart = divergence(x)  # no adaptation_objective: on its way to eta, Newton may be below 0
        return surrogate_objective(x, data, policy=policy) - multiplier * apart

    # vmap knows no branch: both answers are computed, and each task takes its own.
    boundary = theta
    for _ in range(4):  # bisection stopped near the root, from where Newton converges quadratically
        negative = partial(_negative, partial(lagrangian, multiplier=eta))
        hvp = hessian_vector_product(negative, boundary)
        slope, normal = grad(lagrangian)(boundary, eta), grad(divergence)(boundary)
        step, change, _ = bordered_solve(hvp, normal, slope, delta - divergence(boundary))
        boundary, eta = add_scaled(boundary, 1.0, step), eta + change
    inside, climbed = maximize(partial(surrogate_objective, data=data, policy=policy), theta)
    theta = {name: torch.where(binds, boundary[name], inside[name]) for name in theta}
    multiplier, unit = torch.where(binds, eta, 0.0), torch.where(binds, eta, 1.0)
    stationarity = norm(grad(lagrangian)(theta, multiplier)) / unit
    least = curvature(partial(lagrangian, multiplier=multiplier), theta) / unit
    return theta, eta, InnerInfo(stationarity, climbed.iterations, least, divergence(theta))


def _negative(function: Callable[[Params], Tensor], x: Params) -> Tensor:
    return -function(x)
