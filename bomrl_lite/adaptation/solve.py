r"""Alg solved: theta = argmax L(theta) - lam D^2(pi_phi, pi_theta), and the way back to phi."""

from functools import partial

import torch
from torch import Tensor
from torch.func import grad

from bomrl_lite.adaptation.adapted import Adapted, DataOf, select
from bomrl_lite.adaptation.closed_forms import (
    CLOSED_FORMS,
    climb_d3,
    policywise_curvature,
    policywise_slope,
)
from bomrl_lite.adaptation.distances import STATE_DISTANCES, Distance, d3
from bomrl_lite.adaptation.objective import (
    Surrogate,
    adaptation_objective,
    check_positive,
    surrogate_objective,
)
from bomrl_lite.rollout.data import OneTimeData, full_data
from bomrl_lite.solvers.implicit import implicit_vjp
from bomrl_lite.solvers.linear import (
    add_scaled,
    conjugate_gradient,
    dot,
    norm,
    null_space_safe_solve,
)
from bomrl_lite.solvers.maximize import MaximizeInfo, maximize, maximize_matrix_free
from bomrl_lite.types import InnerInfo, Params, SolvedInfo, TabularPolicy, TabularTask


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
    (:mod:`bomrl_lite.adaptation.closed_forms`). Anything else is climbed as a whole, from phi by
    :func:`bomrl_lite.solvers.maximize.maximize`, to a maximum that is a local one where the
    objective is not concave in theta.

    Args:
        phi: meta-parameters, which collected the data.
        data: one-time data of one task.
        policy: how parameters become a policy.
        distance: one of :mod:`bomrl_lite.adaptation.distances` or a function of their signature.
        lam: weight of the distance, > 0, in units of return.
        surrogate: L, or a stand-in such as
            :func:`bomrl_lite.adaptation.reductions.smooth_clip_objective`.
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


def solved_adaptation(
    phi: Params,
    data_of: DataOf,
    *,
    policy: TabularPolicy,
    distance: Distance,
    lam: float,
    surrogate: Surrogate = surrogate_objective,
    linear: bool = False,
    names: tuple[str, ...] = (),
    dense: bool = True,
    tolerance: float = 1e-10,
    max_iterations: int = 20,
    cg_iterations: int = 40,
) -> Adapted:
    r"""Solve theta = argmax L(theta) - lam D^2(pi_phi, pi_theta) to stationarity (recipe C; iMAML).

    The way back is :func:`bomrl_lite.solvers.implicit.implicit_vjp` with the full Hessian. Whether
    to believe it is in the info: nothing is refused here, for a batch goes on without the tasks
    whose inner problem is not solved.

    Args:
        phi: meta-parameters.
        data_of: phi -> one-time data.
        policy: as seen from the samples.
        distance: D^2, such as ``add_distances((1.0, d1), (ridge / 2, d3))``.
        lam: weight of the distance, > 0.
        surrogate: L.
        linear: replace L by its first-order expansion at phi.
        names: parameters to adapt; none means all.
        dense: write Hessians out, for up to some hundred parameters; else conjugate gradients.
        tolerance: norm of the gradient at which to stop.
        max_iterations: of the climb.
        cg_iterations: of each of its steps and of the adjoint system, where they are not dense.
    """
    check_positive("lam", lam)

    def objective(x: Params, p: Params, slope: Params | None = None) -> Tensor:
        theta, data = {**p, **x}, data_of(p)
        if linear:
            gained = dot(slope or slope_at(p), add_scaled(x, -1.0, select(p, names)))
            apart = distance(p, theta, policy=policy, state_weights=data.state_weights)
            return gained / lam - apart
        dials = {"policy": policy, "distance": distance, "lam": lam, "surrogate": surrogate}
        return adaptation_objective(theta, p, data, **dials) / lam

    def slope_at(p: Params) -> Params:
        data = data_of(p)
        return grad(lambda y: surrogate({**p, **y}, data, policy=policy))(select(p, names))

    start = select(phi, names)
    slope = slope_at(phi) if linear else None  # the climb keeps phi: once will do
    climb = maximize if dense else partial(maximize_matrix_free, cg_iterations=cg_iterations)
    moved, _ = climb(
        lambda x: objective(x, phi, slope),
        start,
        tolerance=tolerance,
        max_iterations=max_iterations,
    )
    first = norm(grad(objective)(start, phi))

    def pull(cotangent: Params) -> tuple[Params, SolvedInfo]:
        iterative = partial(conjugate_gradient, max_iterations=cg_iterations)
        through, info = implicit_vjp(
            objective,
            moved,
            phi,
            select(cotangent, names),
            solve=null_space_safe_solve if dense else iterative,
            tolerance=float("inf"),
        )
        direct = {
            name: torch.zeros_like(leaf) if name in moved else cotangent[name]
            for name, leaf in phi.items()
        }
        relative = info.stationarity / torch.where(first > 0, first, 1.0)
        solved = SolvedInfo(relative, info.curvature, info.residual)
        return add_scaled(direct, 1.0, through), solved

    return Adapted({**phi, **moved}, pull)
