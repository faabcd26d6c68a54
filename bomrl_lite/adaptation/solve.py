r"""Alg solved: theta = argmax L(theta) - lam D^2(pi_phi, pi_theta), and the way back to phi."""

from collections.abc import Callable
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
    surrogate_objective,
    surrogate_slope,
)
from bomrl_lite.require import checked, require_positive
from bomrl_lite.rollout.data import OneTimeData, full_data
from bomrl_lite.solvers.implicit import implicit_vjp
from bomrl_lite.solvers.inner import InnerSolver, dense_solver
from bomrl_lite.solvers.linear import add_scaled, dot, norm
from bomrl_lite.solvers.maximize import MaximizeInfo, maximize
from bomrl_lite.types import InnerInfo, Params, SolvedInfo, StatePolicy, TabularPolicy, TabularTask


@checked(tolerance=require_positive)
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
        lam: weight of the distance, a scalar > 0, in units of return.
        surrogate: L, or a stand-in such as
            :func:`bomrl_lite.adaptation.reductions.smooth_clip_objective`.
        tolerance: stationarity at which to stop climbing, > 0.
        max_iterations: of the climb.

    Returns:
        theta, and what is known about it: look at ``info.stationarity`` before you believe theta.

    Raises:
        ValueError: lam is not positive.
    """
    objective = partial(
        adaptation_objective,
        phi=phi,
        data=data,
        policy=policy,
        distance=distance,
        lam=lam,
        surrogate=surrogate,
    )
    # Only the surrogate itself falls apart into states; a stand-in is climbed as a whole.
    separable = policy.free_logits and surrogate is surrogate_objective
    if separable and has_closed_form(policy, distance):
        theta = CLOSED_FORMS[distance](phi, data, lam=lam)
        solved = _policywise_info(phi, theta, data, policy, distance, lam)
    elif separable and distance is d3:
        theta, solved = climb_d3(
            phi, data, lam=lam, tolerance=tolerance, max_iterations=max_iterations
        )
    else:
        theta, solved = maximize(
            lambda x: objective(x) / lam, phi, tolerance=tolerance, max_iterations=max_iterations
        )
    divergence = distance(phi, theta, policy=policy, state_weights=data.state_weights)
    return theta, InnerInfo(*solved, distance=divergence)


@checked()
def adapt_to_task(
    phi: Params,
    task: TabularTask,
    *,
    policy: TabularPolicy,
    gamma: float,
    distance: Distance,
    lam: float,
) -> Params:
    """Collect data once with pi_phi in a task and solve Alg on them; see :func:`adapt`.

    Raises:
        ValueError: lam is not positive, or gamma is outside [0, 1).
    """
    data = full_data(phi, task, policy=policy, gamma=gamma)
    return adapt(phi, data, policy=policy, distance=distance, lam=lam)[0]


@checked()
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
    hessians = policywise_curvature(log_phi, log_theta, state_distance=kind)
    # Both KL distances have diagonal Hessians in probabilities: their entries are the eigenvalues.
    curvature = torch.diagonal(hessians, dim1=-2, dim2=-1).min()
    return MaximizeInfo(
        slope.abs().max(), torch.zeros_like(curvature, dtype=torch.int64), curvature
    )


LocalObjective = Callable[[Params], Callable[[Params], Tensor]]
"""phi -> (x -> F(x, phi)): the inner objective of the adapted parameters x, without unit.

What depends on phi alone is computed once, where phi is given."""


@checked()
def penalised_objective(
    data_of: DataOf,
    *,
    policy: StatePolicy,
    distance: Distance,
    lam: float,
    surrogate: Surrogate = surrogate_objective,
) -> LocalObjective:
    r"""Return F = L / lam - D^2, with the data of phi.

    Args:
        data_of: phi -> one-time data.
        policy: at the samples.
        distance: D^2, such as ``add_distances((1.0, d1), (ridge / 2, d3))``.
        lam: weight of the distance, > 0, in units of L.
        surrogate: L.

    Raises:
        ValueError: lam is not positive.
    """

    def at(phi: Params) -> Callable[[Params], Tensor]:
        objective = partial(
            adaptation_objective,
            phi=phi,
            data=data_of(phi),
            policy=policy,
            distance=distance,
            lam=lam,
            surrogate=surrogate,
        )
        return lambda x: objective({**phi, **x}) / lam

    return at


@checked()
def linearised_objective(
    data_of: DataOf,
    *,
    policy: StatePolicy,
    distance: Distance,
    lam: float,
    surrogate: Surrogate = surrogate_objective,
    names: tuple[str, ...] = (),
) -> LocalObjective:
    r"""Return F = <\nabla L(phi), x - phi> / lam - D^2: the surrogate to first order.

    Arguments and errors as for :func:`penalised_objective`; ``names`` are the parameters to adapt,
    none means all.
    """

    def at(phi: Params) -> Callable[[Params], Tensor]:
        data = data_of(phi)
        # Data of its own: gradients through shared ones would be summed in another order.
        slope = surrogate_slope(phi, data_of(phi), policy=policy, names=names, surrogate=surrogate)

        def value(x: Params) -> Tensor:
            gained = dot(slope, add_scaled(x, -1.0, select(phi, names)))
            theta = {**phi, **x}
            divergence = distance(phi, theta, policy=policy, state_weights=data.state_weights)
            return gained / lam - divergence

        return value

    return at


@checked()
def solved_adaptation(
    phi: Params,
    objective: LocalObjective,
    *,
    names: tuple[str, ...] = (),
    solver: InnerSolver | None = None,
) -> Adapted:
    r"""Solve theta = argmax_x F(x, phi) to stationarity, starting at phi (recipe C; iMAML).

    The way back is :func:`bomrl_lite.solvers.implicit.implicit_vjp` with the full Hessian. Whether
    to believe it is in the info: nothing is refused here, for a batch goes on without the tasks
    whose inner problem is not solved.

    Args:
        phi: meta-parameters.
        objective: F, such as :func:`penalised_objective`.
        names: parameters to adapt; none means all.
        solver: None is :func:`bomrl_lite.solvers.inner.dense_solver`.

    Raises:
        ValueError: a name is not there.
    """
    climb, solve = solver or dense_solver()
    start, at_phi = select(phi, names), objective(phi)
    moved, _ = climb(at_phi, start)
    first = norm(grad(at_phi)(start))

    def of_both(x: Params, p: Params) -> Tensor:
        return objective(p)(x)

    def pull(cotangent: Params) -> tuple[Params, SolvedInfo]:
        # Nothing is refused, so any tolerance passes; phi's other parameters reach theta directly.
        through, info = implicit_vjp(
            of_both, moved, phi, select(cotangent, names), solve=solve, tolerance=float("inf")
        )
        direct = {
            name: torch.zeros_like(leaf) if name in moved else cotangent[name]
            for name, leaf in phi.items()
        }
        relative = info.stationarity / torch.where(first > 0, first, 1.0)
        return add_scaled(direct, 1.0, through), info._replace(stationarity=relative)

    return Adapted({**phi, **moved}, pull)
