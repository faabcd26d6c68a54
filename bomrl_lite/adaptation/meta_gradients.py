r"""Gradients of the meta-objective, sibling functions of one signature.

Each maps (phi, one task, settings) to (ascent direction for phi, AdaptInfo). The trainer averages
them over tasks: \nabla_phi E_tau[J_tau(theta_tau(phi))] is the mean of the tasks' gradients.
"""

from functools import partial

import torch
from torch import Tensor
from torch.func import grad

from bomrl_lite.adaptation.closed_forms import (
    CLOSED_FORMS,
    policywise_constrained_vjp,
    policywise_hypergradient,
)
from bomrl_lite.adaptation.distances import STATE_DISTANCES, Distance
from bomrl_lite.adaptation.gradient import gradient_step
from bomrl_lite.adaptation.objective import (
    adaptation_objective,
    policy_gradient,
    policy_return,
    surrogate_objective,
)
from bomrl_lite.adaptation.solve import adapt, has_closed_form
from bomrl_lite.adaptation.trust_region import adapt_in_trust_region
from bomrl_lite.mdp import expected_return
from bomrl_lite.require import checked
from bomrl_lite.rollout.data import DataFunction, full_data
from bomrl_lite.solvers.implicit import TOLERANCE, constrained_vjp, implicit_vjp
from bomrl_lite.solvers.linear import add_scaled, hessian_vector_product
from bomrl_lite.types import AdaptInfo, Params, SolvedInfo, TabularPolicy, TabularTask


@checked()
def maml(
    phi: Params, task: TabularTask, *, policy: TabularPolicy, gamma: float, step_size: float
) -> tuple[Params, AdaptInfo]:
    r"""Exact meta-gradient of MAML (Finn et al., 1703.03400; Fallah et al., 2002.05135).

    \nabla_phi J(theta) = (I + alpha \nabla^2 J(phi)) \nabla J(theta)

    at theta = phi + alpha \nabla J(phi). With J exact, the Hessian holds every dependence of the
    inner gradient on phi: that of the score, of Q, and of the visited states.

    Args:
        phi: meta-parameters.
        task: one task.
        policy: how parameters become a policy.
        gamma: discount in [0, 1).
        step_size: alpha > 0, in units of parameters^2 per return.

    Returns:
        The ascent direction, of the shapes of ``phi``, and the returns at phi and at theta.
    """
    outer, info = first_order_maml(phi, task, policy=policy, gamma=gamma, step_size=step_size)
    objective = partial(policy_return, task=task, policy=policy, gamma=gamma)
    return add_scaled(outer, step_size, hessian_vector_product(objective, phi)(outer)), info


@checked()
def first_order_maml(
    phi: Params, task: TabularTask, *, policy: TabularPolicy, gamma: float, step_size: float
) -> tuple[Params, AdaptInfo]:
    r"""MAML without its second-order term: \nabla J(theta) taken as if d theta / d phi = I.

    Finn et al. (1703.03400), section 5.2. Arguments and results as for :func:`maml`.
    """
    theta, info = _one_step(phi, task, policy, gamma, step_size)
    return policy_gradient(theta, task, policy=policy, gamma=gamma), info


@checked()
def joint(
    phi: Params, task: TabularTask, *, policy: TabularPolicy, gamma: float, step_size: float
) -> tuple[Params, AdaptInfo]:
    r"""Train ONE policy for all tasks: \nabla J(phi), blind to the adaptation that follows.

    The baseline that every meta-learner must beat after adaptation. ``step_size`` serves only to
    report the return after one inner step. Arguments and results as for :func:`maml`.
    """
    _, info = _one_step(phi, task, policy, gamma, step_size)
    return policy_gradient(phi, task, policy=policy, gamma=gamma), info


@checked()
def bomrl(
    phi: Params,
    task: TabularTask,
    *,
    policy: TabularPolicy,
    gamma: float,
    distance: Distance,
    lam: float,
    data: DataFunction = full_data,
    tolerance: float = TOLERANCE,
) -> tuple[Params, AdaptInfo]:
    r"""Hypergradient of BO-MRL (Xu and Zhu, 2410.09728): \nabla_phi J(Alg(pi_phi, lam, tau)).

    By implicit differentiation of theta = argmax L - lam D^2: state by state (Proposition 1) where
    Alg has a closed form, else in the parameters. With ``full_data`` it is exact; the other rungs
    of :mod:`bomrl_lite.rollout.data` leave out what they say.

    Args:
        phi: meta-parameters.
        task: one task.
        policy: how parameters become a policy.
        gamma: discount in [0, 1).
        distance: D^2 of the adaptation.
        lam: its weight, > 0, in units of return.
        data: what of the data's dependence on phi is kept.
        tolerance: up to which the inner problem counts as solved; ``inf`` goes on regardless.

    Raises:
        UnsolvedInnerProblem: it is not; under ``vmap`` the result is nan instead.
    """
    data_of = partial(data, task=task, policy=policy, gamma=gamma)
    if has_closed_form(policy, distance):
        theta = CLOSED_FORMS[distance](phi, data_of(phi), lam=lam)
        outer, inner = policywise_hypergradient(
            data_of,
            theta,
            phi,
            _slope_in_probabilities(theta, task, policy, gamma),
            policy=policy,
            state_distance=STATE_DISTANCES[distance],
            lam=lam,
            tolerance=tolerance,
        )
    else:
        theta, _ = adapt(phi, data_of(phi), policy=policy, distance=distance, lam=lam)

        def scaled(x: Params, p: Params) -> Tensor:
            value = adaptation_objective(
                x, p, data_of(p), policy=policy, distance=distance, lam=lam
            )
            return value / lam

        cotangent = policy_gradient(theta, task, policy=policy, gamma=gamma)
        outer, inner = implicit_vjp(scaled, theta, phi, cotangent, tolerance=tolerance)
    return outer, _returns_around(phi, theta, task, policy, gamma, inner)


@checked()
def bomrl_trust_region(
    phi: Params,
    task: TabularTask,
    *,
    policy: TabularPolicy,
    gamma: float,
    distance: Distance,
    delta: float,
    data: DataFunction = full_data,
    tolerance: float = TOLERANCE,
) -> tuple[Params, AdaptInfo]:
    r"""Hypergradient of BO-MRL whose Alg is constrained: max L(theta) subject to D^2 <= delta.

    Through the conditions of Karush, Kuhn and Tucker. Arguments and errors as for :func:`bomrl`,
    with ``delta`` > 0, the largest D^2 allowed, in place of ``lam``.
    """
    data_of = partial(data, task=task, policy=policy, gamma=gamma)
    theta, multiplier, _ = adapt_in_trust_region(
        phi, data_of(phi), policy=policy, distance=distance, delta=delta
    )
    if has_closed_form(policy, distance):
        outer, inner = policywise_constrained_vjp(
            data_of,
            theta,
            multiplier,
            phi,
            _slope_in_probabilities(theta, task, policy, gamma),
            policy=policy,
            state_distance=STATE_DISTANCES[distance],
            delta=delta,
            tolerance=tolerance,
        )
        return outer, _returns_around(phi, theta, task, policy, gamma, inner)

    def objective(x: Params, p: Params) -> Tensor:
        return surrogate_objective(x, data_of(p), policy=policy)

    def constraint(x: Params, p: Params) -> Tensor:
        weights = data_of(p).state_weights
        return distance(p, x, policy=policy, state_weights=weights) - delta

    cotangent = policy_gradient(theta, task, policy=policy, gamma=gamma)
    outer, inner = constrained_vjp(
        objective, constraint, theta, multiplier, phi, cotangent, tolerance=tolerance
    )
    return outer, _returns_around(phi, theta, task, policy, gamma, inner)


@checked()
def first_order_bomrl(
    phi: Params,
    task: TabularTask,
    *,
    policy: TabularPolicy,
    gamma: float,
    distance: Distance,
    lam: float,
) -> tuple[Params, AdaptInfo]:
    r"""BO-MRL with d theta / d phi taken as I: \nabla J(theta), theta = Alg(pi_phi, lam, tau).

    What the authors' published Frozen Lake code computes. Arguments and results as for
    :func:`bomrl`.
    """
    data = full_data(phi, task, policy=policy, gamma=gamma)
    theta, solved = adapt(phi, data, policy=policy, distance=distance, lam=lam)
    inner = SolvedInfo(solved.stationarity, solved.curvature, torch.zeros_like(solved.curvature))
    outer = policy_gradient(theta, task, policy=policy, gamma=gamma)
    return outer, _returns_around(phi, theta, task, policy, gamma, inner)


def _slope_in_probabilities(
    theta: Params, task: TabularTask, policy: TabularPolicy, gamma: float
) -> Tensor:
    """Return the derivative of J in every pi_theta(a | s), [S, A]."""
    probs = policy.log_probs(theta).exp()
    return grad(expected_return)(probs, task, gamma)


def _one_step(
    phi: Params, task: TabularTask, policy: TabularPolicy, gamma: float, step_size: float
) -> tuple[Params, AdaptInfo]:
    """Adapt by an explicit step, which leaves nothing to be solved."""
    theta = gradient_step(phi, task, policy=policy, gamma=gamma, step_size=step_size)
    zero = task.start.new_zeros(())
    nothing = SolvedInfo(zero, torch.full_like(zero, torch.inf), zero)
    return theta, _returns_around(phi, theta, task, policy, gamma, nothing)


def _returns_around(
    phi: Params,
    theta: Params,
    task: TabularTask,
    policy: TabularPolicy,
    gamma: float,
    inner: SolvedInfo,
) -> AdaptInfo:
    before, after = (policy_return(p, task, policy=policy, gamma=gamma) for p in (phi, theta))
    return AdaptInfo(before, after, inner)
