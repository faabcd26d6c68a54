r"""Inner problems: from the meta-parameters phi to the parameters theta of one task.

MAML takes one gradient step on J; universal policy adaptation solves a problem on one-time data.
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.func import grad

from bomrl_lite.distances import STATE_DISTANCES, Distance, d3
from bomrl_lite.linalg import add_scaled
from bomrl_lite.mdp import expected_return
from bomrl_lite.one_time_data import OneTimeData, full_data
from bomrl_lite.policywise import CLOSED_FORMS, climb_d3, policywise_curvature, policywise_slope
from bomrl_lite.solvers import MaximizeInfo, maximize
from bomrl_lite.types import InnerInfo, Params, TabularPolicy, TabularTask


def policy_return(
    params: Params, task: TabularTask, *, policy: TabularPolicy, gamma: float
) -> Tensor:
    """J_tau(pi_params): the exact expected discounted return of a parametrised policy."""
    return expected_return(policy.log_probs(params).exp(), task, gamma)


def policy_gradient(
    params: Params, task: TabularTask, *, policy: TabularPolicy, gamma: float
) -> Params:
    r"""Gradient of J_tau(pi_params) in the parameters (Sutton et al., 1999, theorem 1).

    \nabla J = 1/(1 - gamma) sum_s nu(s) sum_a \nabla pi(a | s) Q(s, a)

    Computed by differentiating J itself; that the two agree is a test, and lesson 01 shows it.
    """
    return grad(lambda p: policy_return(p, task, policy=policy, gamma=gamma))(params)


def gradient_step(
    phi: Params, task: TabularTask, *, policy: TabularPolicy, gamma: float, step_size: float
) -> Params:
    r"""Take one policy-gradient step, the inner step of MAML (Finn et al., 1703.03400, sect. 2.2).

    theta = phi + alpha \nabla J_tau(phi)

    Args:
        phi: where the step starts.
        task: one task.
        policy: how parameters become a policy.
        gamma: discount in [0, 1).
        step_size: alpha > 0, in units of parameters^2 per return.
    """
    if not step_size > 0:
        raise ValueError(
            f"step_size must be positive, got {step_size}: the step goes up the gradient of J"
        )
    return add_scaled(phi, step_size, policy_gradient(phi, task, policy=policy, gamma=gamma))


def surrogate_objective(theta: Params, data: OneTimeData, *, policy: TabularPolicy) -> Tensor:
    r"""Return L(theta): what the data of pi_phi say about the return of pi_theta.

    L(theta) = E_{s ~ nu, a ~ pi_phi}[pi_theta(a|s) / pi_phi(a|s) Q(s, a)]

    (Xu and Zhu, 2410.09728; Schulman et al., 1502.05477, eq. 14.) In units of return;
    at theta = phi its gradient is (1 - gamma) times that of J.
    """
    ratio = (policy.log_probs(theta) - data.log_probs).exp()
    return (data.state_weights[:, None] * data.action_probs * ratio * data.q_values).sum()


Surrogate = Callable[..., Tensor]
"""(theta, data, *, policy) -> scalar: what the data promise for pi_theta."""


def adaptation_objective(
    theta: Params,
    phi: Params,
    data: OneTimeData,
    *,
    policy: TabularPolicy,
    distance: Distance,
    lam: float | Tensor,
    surrogate: Surrogate = surrogate_objective,
) -> Tensor:
    r"""Return L(theta) - lam D^2(pi_phi, pi_theta), which Alg maximises over theta.

    Both phi and the data may record a gradient: the hypergradient needs it.
    """
    apart = distance(phi, theta, policy=policy, state_weights=data.state_weights)
    return surrogate(theta, data, policy=policy) - lam * apart


def adapt(
    phi: Params,
    data: OneTimeData,
    *,
    policy: TabularPolicy,
    distance: Distance,
    lam: float | Tensor,
    surrogate: Surrogate = surrogate_objective,
    tolerance: float = 1e-10,
    max_iterations: int = 20,
) -> tuple[Params, InnerInfo]:
    r"""Universal policy adaptation, solved: Alg(pi_phi, lam, tau) of Xu and Zhu (2410.09728).

    theta = argmax_theta L(theta) - lam D^2(pi_phi, pi_theta)

    With free logits, D1 and D2 have closed forms and D3 is climbed state by state
    (:mod:`bomrl_lite.policywise`). Anything else is climbed as a whole, from phi by
    :func:`bomrl_lite.solvers.maximize`, to a maximum that is a local one where the objective is not
    concave in theta.

    Args:
        phi: meta-parameters, which collected the data.
        data: one-time data of one task.
        policy: how parameters become a policy.
        distance: one of :mod:`bomrl_lite.distances` or a function of their signature.
        lam: weight of the distance, > 0, in units of return.
        surrogate: L, or a stand-in such as :func:`bomrl_lite.reductions.smooth_clip_objective`.
        tolerance: stationarity at which to stop climbing, > 0.
        max_iterations: of the climb.

    Returns:
        theta, and what is known about it: look at ``info.stationarity`` before you believe theta.
    """
    check_positive("lam", lam)

    def scaled(theta: Params) -> Tensor:
        dials = {"policy": policy, "distance": distance, "lam": lam, "surrogate": surrogate}
        return adaptation_objective(theta, phi, data, **dials) / lam

    effort = {"tolerance": tolerance, "max_iterations": max_iterations}
    separable = policy.free_logits and surrogate is surrogate_objective
    if separable and has_closed_form(policy, distance):
        theta = CLOSED_FORMS[distance](phi, data, lam=lam)
        solved = _policywise_info(phi, theta, data, policy, distance, lam)
    elif separable and distance is d3:
        theta, solved = climb_d3(phi, data, lam=lam, **effort)
    else:
        theta, solved = maximize(scaled, phi, **effort)
    apart = distance(phi, theta, policy=policy, state_weights=data.state_weights)
    return theta, InnerInfo(*solved, distance=apart)


def adapt_to_task(
    phi: Params,
    task: TabularTask,
    *,
    policy: TabularPolicy,
    gamma: float,
    distance: Distance,
    lam: float,
) -> Params:
    """Collect data once with pi_phi in a task and solve Alg on them; see :func:`adapt`."""
    data = full_data(phi, task, policy=policy, gamma=gamma)
    return adapt(phi, data, policy=policy, distance=distance, lam=lam)[0]


def has_closed_form(policy: TabularPolicy, distance: Distance) -> bool:
    """Tell whether Alg is solved state by state, in closed form."""
    return policy.free_logits and distance in CLOSED_FORMS


def _policywise_info(
    phi: Params,
    theta: Params,
    data: OneTimeData,
    policy: TabularPolicy,
    distance: Distance,
    lam: float | Tensor,
) -> MaximizeInfo:
    """Measure a closed form by the slope and the curvature in probabilities, not in logits."""
    log_phi, log_theta = policy.log_probs(phi), policy.log_probs(theta)
    kind = STATE_DISTANCES[distance]
    slope = policywise_slope(log_phi, log_theta, data, state_distance=kind, lam=lam)
    bend = policywise_curvature(log_phi, log_theta, state_distance=kind)
    curvature = torch.diagonal(bend, dim1=-2, dim2=-1).min()
    return MaximizeInfo(
        slope.abs().max(), torch.zeros_like(curvature, dtype=torch.int64), curvature
    )


def check_positive(name: str, value: float | Tensor) -> None:
    """Raise ValueError unless a dial is positive; a tensor is the business of who computed it."""
    if not isinstance(value, Tensor) and not value > 0:
        raise ValueError(f"{name} must be positive, got {value}")
