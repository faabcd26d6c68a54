r"""Alg with free logits: one small problem per state, in the probabilities of that state.

Where every state has logits of its own, L(theta) - lam D^2 is a sum over states of nu(s) times
<pi(.|s), Q(s, .)> - lam d^2(pi_phi(.|s), pi(.|s)), so nu drops out of each maximum. The closed
forms and the terms of Proposition 1 of Xu and Zhu (2410.09728) live here.
"""

from collections.abc import Callable
from functools import partial
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor
from torch.func import grad, vjp, vmap

from bomrl_lite.adaptation.distances import Distance, StateDistance, d1, d2
from bomrl_lite.require import checked, require_positive
from bomrl_lite.rollout.data import OneTimeData
from bomrl_lite.solvers.implicit import (
    TOLERANCE,
    refuse_unsolved,
)
from bomrl_lite.solvers.linear import eigenvalues, solve_columns, vector_norm
from bomrl_lite.solvers.maximize import MaximizeInfo, bisect, maximize
from bomrl_lite.types import Params, SolvedInfo, TabularPolicy


@checked()
def policywise_hypergradient(
    data_of: Callable[[Params], OneTimeData],
    theta: Params,
    phi: Params,
    cotangent: Tensor,
    *,
    policy: TabularPolicy,
    state_distance: StateDistance,
    lam: float | Tensor,
    tolerance: float = TOLERANCE,
) -> tuple[Params, SolvedInfo]:
    r"""Pull a cotangent in probabilities back through Alg with free logits, state by state.

    Proposition 1 of Xu and Zhu (2410.09728), completed by the constraint that probabilities sum to
    1: with M(s) = lam \nabla^2_pi d^2 and W = M^{-1} - M^{-1} 1 1^T M^{-1} / (1^T M^{-1} 1),

        d pi'(s) = W (dQ(s, .) - lam \nabla_phi \nabla_pi d^2 d phi)

    Only matrices of the size of the action set are inverted, and nu cancels.

    Args:
        data_of: phi -> one-time data; which of their derivatives it keeps is its business.
        theta: the solution of Alg, ``{"logits": [S, A]}``.
        phi: meta-parameters.
        cotangent: derivative of the outer objective in every pi'(a | s), [S, A].
        policy: a policy with free logits.
        state_distance: d^2 of one state.
        lam: > 0.
        tolerance: as for :func:`bomrl_lite.solvers.implicit.implicit_vjp`, on the largest slope in
            a probability.

    Returns:
        The pulled-back cotangent, of the shapes of ``phi``, and whether to believe it.

    Raises:
        ValueError: the policy has no free logits.
        UnsolvedInnerProblem: theta is not a solution, or the linear system was not solved. The
            spurious stationary points that the logits of D2 have at vanishing probabilities are
            refused as well.
    """
    if not policy.free_logits:
        raise ValueError(
            "policywise_hypergradient needs a policy with free logits (tabular_softmax): shared "
            "parameters tie the states together; use implicit_vjp"
        )
    log_theta, log_phi = policy.log_probs(theta), policy.log_probs(phi)
    m = lam * policywise_curvature(log_phi, log_theta, state_distance=state_distance)
    x = simplex_solve(m, cotangent)

    def slopes(p: Params) -> Tensor:
        return weighted_q(data_of(p)) - lam * state_slope(
            state_distance, policy.log_probs(p), log_theta
        )

    def adjoint(p: Params) -> tuple[Tensor, Tensor]:
        slope = slopes(p)
        return (x * slope).sum(), slope

    pulled, slope = grad(adjoint, has_aux=True)(phi)
    slope = _along_simplex(slope / lam, log_theta)
    # M x = c - mu 1: what is left of M x - c once the multiplier mu, its mean, is taken off.
    error = (m @ x.unsqueeze(-1)).squeeze(-1) - cotangent
    error = error - error.mean(-1, keepdim=True)
    size = cotangent.abs().max()
    residual = error.abs().max() / torch.where(size > 0, size, 1.0)
    info = SolvedInfo(slope.abs().max(), smallest_curvature(m) / lam, residual)
    return refuse_unsolved(pulled, info, tolerance), info


@checked()
def policywise_constrained_vjp(
    data_of: Callable[[Params], OneTimeData],
    theta: Params,
    multiplier: Float[Tensor, ""],
    phi: Params,
    cotangent: Tensor,
    *,
    policy: TabularPolicy,
    state_distance: StateDistance,
    delta: float,
    tolerance: float = TOLERANCE,
) -> tuple[Params, SolvedInfo]:
    r"""Pull a cotangent in probabilities back through Alg in a trust region, with free logits.

    :func:`bomrl_lite.solvers.implicit.constrained_vjp` state by state: probabilities stay
    well-conditioned where the logits of rare actions do not. With W of Proposition 1 for
    lam = eta, g = \nabla_pi d^2, x = W c and k = <x, g> / <nu g, W g>,

        (d pi' / d phi)^T c = \nabla_phi [<x - k nu W g, Q - eta \nabla_pi d^2> - k D^2]

    Arguments, results and errors as for :func:`policywise_hypergradient`, with ``multiplier``
    eta > 0 and ``delta`` of the solution. Where the constraint does not bind, free logits have no
    solution, and it is refused.
    """
    log_theta, log_phi = policy.log_probs(theta), policy.log_probs(phi)
    data, eta = data_of(phi), torch.where(multiplier > 0, multiplier, 1.0)
    m = eta * policywise_curvature(log_phi, log_theta, state_distance=state_distance)
    normal, nu = state_slope(state_distance, log_phi, log_theta), data.state_weights
    x, w_normal = simplex_solve(m, cotangent), simplex_solve(m, normal)
    k = (x * normal).sum() / (nu[:, None] * normal * w_normal).sum()
    # y leaves the constraint alone to first order: <y, g> = 0, whatever the cotangent was.
    y = x - k * nu[:, None] * w_normal

    def adjoint(p: Params) -> Tensor:
        batch, log_p = data_of(p), policy.log_probs(p)
        slopes = weighted_q(batch) - eta * state_slope(state_distance, log_p, log_theta)
        divergence = batch.state_weights @ state_distance(log_p, log_theta)
        return (y * slopes).sum() - k * divergence

    pulled = grad(adjoint)(phi)
    slope = policywise_slope(log_phi, log_theta, data, state_distance=state_distance, lam=eta)
    violation = (nu @ state_distance(log_phi, log_theta) - delta).abs()
    stationarity = torch.maximum(slope.abs().max(), violation)
    # Without a constraint that binds there is no solution: a slope of L itself says so.
    stationarity = torch.where(multiplier > 0, stationarity, weighted_q(data).abs().max())
    size = cotangent.abs().max()
    residual = (normal * y).sum().abs() / torch.where(size > 0, size, 1.0)
    info = SolvedInfo(stationarity, smallest_curvature(m) / eta, residual)
    return refuse_unsolved(pulled, info, tolerance), info


@checked()
def closed_form_d1(phi: Params, data: OneTimeData, *, lam: float | Tensor) -> Params:
    r"""Solve Alg with D1: pi'(a) = lam pi_phi(a) / (mu - Q(a)) in every state.

    mu > max Q is the only root of sum_a pi'(a) = 1, inside [max(Q + lam pi_phi), max Q + lam]. The
    policy never becomes deterministic. Bisection finds mu; two Newton steps then give it the first
    and second derivatives of the root, whatever those of the bisection are.

    Args:
        phi: meta-parameters ``{"logits": [S, A]}``.
        data: one-time data of one task.
        lam: > 0, in units of return.
    """
    value, log_probs = weighted_q(data) / lam, torch.log_softmax(phi["logits"], -1)
    probs = log_probs.exp()

    def excess(mu: Tensor) -> Tensor:
        return (probs / (mu - value)).sum(-1, keepdim=True) - 1

    best = value.max(-1, keepdim=True).values
    mu = bisect(excess, (value + probs).max(-1, keepdim=True).values, best + 1)
    # Bisection has derivatives of its own, wrong ones; a Newton step at the root has the root's.
    for _ in range(2):
        mu = mu + excess(mu) / (probs / (mu - value) ** 2).sum(-1, keepdim=True)
    return {"logits": log_probs - (mu - value).log()}


@checked()
def closed_form_d2(phi: Params, data: OneTimeData, *, lam: float | Tensor) -> Params:
    r"""Solve Alg with D2: pi'(a) proportional to pi_phi(a) exp(Q(a) / lam) in every state.

    In logits, theta = phi + Q / lam. Arguments as for :func:`closed_form_d1`.
    """
    return {"logits": phi["logits"] + weighted_q(data) / lam}


@checked(tolerance=require_positive)
def climb_d3(
    phi: Params,
    data: OneTimeData,
    *,
    lam: float | Tensor,
    tolerance: float = 1e-10,
    max_iterations: int = 20,
) -> tuple[Params, MaximizeInfo]:
    r"""Solve Alg with D3, which has no closed form but separates into states all the same.

    max over the logits x of each state of nu(s) <softmax(x), Q(s, .)> / lam - ||x - phi(s, .)||^2

    Arguments as for :func:`closed_form_d1`; ``tolerance`` and ``max_iterations`` as for
    :func:`bomrl_lite.solvers.maximize.maximize`.
    """
    # The norm over all S states is the tolerance if each state has 1 / sqrt(S) of it.
    of_each = tolerance / len(phi["logits"]) ** 0.5

    def of_one_state(logits: Tensor, weight: Tensor, value: Tensor) -> tuple[Params, MaximizeInfo]:
        def objective(x: Params) -> Tensor:
            gained = weight * (torch.softmax(x["logits"], -1) @ value) / lam
            return gained - (x["logits"] - logits).square().sum()

        return maximize(
            objective, {"logits": logits}, tolerance=of_each, max_iterations=max_iterations
        )

    theta, info = vmap(of_one_state)(phi["logits"], data.state_weights, weighted_q(data))
    return theta, MaximizeInfo(
        vector_norm(info.stationarity), info.iterations.max(), info.curvature.min()
    )


@runtime_checkable
class ClosedForm(Protocol):
    """Alg with free logits as a formula."""

    def __call__(self, phi: Params, data: OneTimeData, *, lam: float | Tensor) -> Params:
        """Return theta = argmax L - lam D^2."""
        ...


CLOSED_FORMS: dict[Distance, ClosedForm] = {d1: closed_form_d1, d2: closed_form_d2}
"""For the distances that have one."""


@checked()
def weighted_q(data: OneTimeData) -> Float[Tensor, "S A"]:
    """Return Q times (share of samples) / pi_phi: the slope of L in pi_theta(a | s), over nu(s).

    The factor is 1, even where a probability has underflowed. The naive rung differentiates only
    half of it, and that is its error.
    """
    # Below the smallest normal number a probability has lost its digits, and its inverse overflows.
    taken = data.action_probs >= torch.finfo(data.action_probs.dtype).tiny
    # The inner torch.where keeps exp(inf) out of the derivative of what the outer one drops.
    factor = data.action_probs * (-torch.where(taken, data.log_probs, 0.0)).exp()
    return torch.where(taken, factor, 1.0) * data.q_values


@checked()
def policywise_slope(
    log_phi: Float[Tensor, "S A"],
    log_theta: Float[Tensor, "S A"],
    data: OneTimeData,
    *,
    state_distance: StateDistance,
    lam: float | Tensor,
) -> Float[Tensor, "S A"]:
    r"""Return the slope of L / lam - D^2 in the probabilities, [S, A], along the simplex.

    Q / lam - \nabla_pi d^2(pi_phi, pi) at pi = pi_theta, less its average over actions under
    pi_theta: all 0 at the maximum only. The gradient in logits is this times nu(s) pi_theta(a|s),
    so that one vanishes also where a probability does: the spurious stationary points of D2.
    """
    slope = weighted_q(data) / lam - state_slope(state_distance, log_phi, log_theta)
    return _along_simplex(slope, log_theta)


def _along_simplex(slope: Tensor, log_theta: Tensor) -> Tensor:
    return slope - (log_theta.exp() * slope).sum(-1, keepdim=True)


@checked()
def policywise_curvature(
    log_phi: Float[Tensor, "S A"], log_theta: Float[Tensor, "S A"], *, state_distance: StateDistance
) -> Float[Tensor, "S A A"]:
    r"""Return \nabla^2_pi d^2(pi_phi(.|s), pi) at pi = pi_theta(.|s): M(s) / lam of Proposition 1.

    D1: diag(pi_phi / pi_theta^2). D2: diag(1 / pi_theta).
    """
    slope, pull_back = vjp(partial(_slope_at, state_distance, log_phi), log_theta.exp())[:2]

    def row(action: Tensor) -> Tensor:
        return pull_back(action.expand_as(slope))[0]  # no state's slope knows another's policy

    eye = torch.eye(slope.shape[-1], dtype=slope.dtype, device=slope.device)
    return vmap(row, out_dims=-2)(eye)


@checked()
def condition_numbers(matrices: Float[Tensor, "*N A A"]) -> Float[Tensor, "*N"]:
    """Return the condition number of each symmetric matrix: largest over smallest |eigenvalue|.

    For D2 it is max_a pi_theta(a) / min_a pi_theta(a); infinite where an entry is, because a
    probability has become 0.
    """
    finite, matrices = _finite_or_identity(matrices)
    size = eigenvalues(matrices).abs()
    return torch.where(finite, size.max(-1).values / size.min(-1).values, torch.inf)


@checked()
def smallest_curvature(matrices: Float[Tensor, "S A A"]) -> Float[Tensor, ""]:
    """Return the smallest eigenvalue of all matrices; 0 if an entry is not finite."""
    finite, matrices = _finite_or_identity(matrices)
    return torch.where(finite, eigenvalues(matrices).min(-1).values, 0.0).min()


@checked()
def simplex_solve(
    matrices: Float[Tensor, "S A A"], cotangent: Float[Tensor, "S A"]
) -> Float[Tensor, "S A"]:
    r"""Return W c of Proposition 1 in every state: M x = c - mu 1 with mu such that sum(x) = 0.

    W = M^{-1} - M^{-1} 1 1^T M^{-1} / (1^T M^{-1} 1). Where an entry of M is not finite, M counts
    as the identity: :func:`smallest_curvature` tells.
    """
    _, matrices = _finite_or_identity(matrices)
    right = torch.stack([cotangent, torch.ones_like(cotangent)], -1)
    solved = solve_columns(matrices, right)
    raw, uniform = solved[..., 0], solved[..., 1]
    return raw - uniform * (raw.sum(-1, keepdim=True) / uniform.sum(-1, keepdim=True))


@checked()
def state_slope(
    state_distance: StateDistance, log_phi: Float[Tensor, "S A"], log_theta: Float[Tensor, "S A"]
) -> Float[Tensor, "S A"]:
    r"""Return \nabla_pi d^2(pi_phi(.|s), pi) at pi = pi_theta(.|s), in every state."""
    return _slope_at(state_distance, log_phi, log_theta.exp())


def _slope_at(state_distance: StateDistance, log_phi: Tensor, probs: Tensor) -> Tensor:
    r"""Return \nabla_pi d^2 at pi = probs, [S, A]."""

    def total(x: Tensor) -> Tensor:
        return state_distance(log_phi, x.log()).sum()

    return grad(total)(probs)


def _finite_or_identity(matrices: Tensor) -> tuple[Tensor, Tensor]:
    """Tell which matrices are finite, and put the identity, which factorises, for the others."""
    finite = matrices.isfinite().all(-1).all(-1)
    eye = torch.eye(matrices.shape[-1], dtype=matrices.dtype, device=matrices.device)
    return finite, torch.where(finite[..., None, None], matrices, eye)
