r"""The constrained form of universal policy adaptation: max L(theta) subject to D^2 <= delta."""

from functools import partial

import torch
from torch import Tensor
from torch.func import grad

from bomrl_lite.adaptation.closed_forms import CLOSED_FORMS, weighted_q
from bomrl_lite.adaptation.distances import Distance
from bomrl_lite.adaptation.objective import (
    adaptation_objective,
    check_positive,
    surrogate_objective,
)
from bomrl_lite.adaptation.solve import adapt, has_closed_form
from bomrl_lite.rollout.data import OneTimeData, full_data
from bomrl_lite.solvers.linear import add_scaled, bordered_solve, hessian_vector_product, norm
from bomrl_lite.solvers.maximize import bisect, curvature, maximize
from bomrl_lite.types import InnerInfo, Params, TabularPolicy, TabularTask


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
        theta; the multiplier, 0 if the best theta lies inside the region; and information, of
        L / eta - D^2 if the constraint binds, else of L. With free logits and a delta that leaves
        room for a deterministic policy there is no best theta, and the stationarity says so.
    """
    check_positive("delta", delta)
    closed = has_closed_form(policy, distance)
    at = partial(adapt, phi, data, policy=policy, distance=distance)
    theta_at = partial(CLOSED_FORMS[distance], phi, data) if closed else lambda lam: at(lam=lam)[0]
    spread = weighted_q(data).max() - weighted_q(data).min()
    spread = torch.where(spread > 0, spread, 1.0)

    def excess(log_eta: Tensor) -> Tensor:
        theta = theta_at(lam=log_eta.exp())
        return distance(phi, theta, policy=policy, state_weights=data.state_weights) - delta

    low, high = (1e-4 * spread).log(), (1e3 * spread * max(1.0, delta**-0.5)).log()
    binds = excess(low) > 0
    eta = bisect(excess, low, high, iterations=60 if closed else 12).exp()
    theta, info = at(lam=eta)
    if closed:
        endless = _best_response_slope(theta, data, policy)
        info = info._replace(stationarity=torch.where(binds, info.stationarity, endless))
    else:
        theta, eta, info = _polish(theta, eta, binds, phi, data, policy, distance, delta)
    return theta, torch.where(binds, eta, 0.0), info


def adapt_to_task_in_trust_region(
    phi: Params,
    task: TabularTask,
    *,
    policy: TabularPolicy,
    gamma: float,
    distance: Distance,
    delta: float,
) -> Params:
    """Collect data once with pi_phi in a task; see :func:`adapt_in_trust_region`."""
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
    dials = {"policy": policy, "distance": distance}

    def apart(x: Params) -> Tensor:
        return distance(phi, x, policy=policy, state_weights=data.state_weights)

    def lagrangian(x: Params, multiplier: Tensor) -> Tensor:
        return adaptation_objective(x, phi, data, lam=multiplier, **dials)

    on = theta
    for _ in range(4):
        bend = hessian_vector_product(lambda x, m=eta: -lagrangian(x, m), on)
        slope, normal = grad(lagrangian)(on, eta), grad(apart)(on)
        step, change, _ = bordered_solve(bend, normal, slope, delta - apart(on))
        on, eta = add_scaled(on, 1.0, step), eta + change
    inside, climbed = maximize(partial(surrogate_objective, data=data, policy=policy), theta)
    theta = {name: torch.where(binds, on[name], inside[name]) for name in theta}
    multiplier, unit = torch.where(binds, eta, 0.0), torch.where(binds, eta, 1.0)
    stationarity = norm(grad(lagrangian)(theta, multiplier)) / unit
    bend = curvature(partial(lagrangian, multiplier=multiplier), theta) / unit
    return theta, eta, InnerInfo(stationarity, climbed.iterations, bend, apart(theta))
