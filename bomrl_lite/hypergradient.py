r"""Gradients through the solution of an inner problem: \nabla_phi J(theta(phi)).

theta(phi) maximises an objective F(theta, phi). At the solution \nabla_theta F = 0 for every phi,
so the implicit function theorem gives its derivative without a look at the solver:

    -\nabla^2_theta F  d theta = \nabla_phi \nabla_theta F  d phi

All functions take the cotangent, \nabla J at theta, and pull it back to phi. Which dependence of
the data on phi is kept is decided by the data function that builds F (:mod:`one_time_data`), never
here. A hypergradient describes the solution: from a theta that is none it is refused.
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.func import grad

from bomrl_lite.distances import StateDistance
from bomrl_lite.linalg import (
    Matvec,
    bordered_solve,
    dense_matrix,
    dot,
    flatten,
    hessian_vector_product,
    norm,
    null_space_safe_solve,
)
from bomrl_lite.one_time_data import OneTimeData
from bomrl_lite.policywise import (
    policywise_curvature,
    policywise_slope,
    simplex_solve,
    smallest_curvature,
    state_slope,
    weighted_q,
)
from bomrl_lite.solvers import ascend
from bomrl_lite.types import HypergradientInfo, Params, SolveInfo, TabularPolicy

InnerObjective = Callable[[Params, Params], Tensor]
"""F(theta, phi): scalar, maximised over theta."""

LinearSolver = Callable[[Matvec, Params], tuple[Params, SolveInfo]]

TOLERANCE = 1e-6
"""Stationarity and relative residual up to which an inner problem counts as solved."""


class UnsolvedInnerProblem(ArithmeticError):  # noqa: N818 - names the state, as ArithmeticError's kin do
    """A hypergradient was asked for at a theta that does not solve the inner problem."""


def implicit_vjp(
    objective: InnerObjective,
    theta: Params,
    phi: Params,
    cotangent: Params,
    *,
    solve: LinearSolver = null_space_safe_solve,
    tolerance: float = TOLERANCE,
) -> tuple[Params, HypergradientInfo]:
    r"""Pull a cotangent back through theta(phi) = argmax_theta F(theta, phi).

    (d theta / d phi)^T c = \nabla_phi <x, \nabla_theta F(theta, phi)>,  -\nabla^2_theta F x = c

    by the implicit function theorem (for meta-RL: Xu and Zhu, 2410.09728).

    Args:
        objective: F, without unit (L / lam - D^2): its gradient is what ``tolerance`` is about.
        theta: the maximiser, from any solver.
        phi: meta-parameters.
        cotangent: c, the gradient of the outer objective at theta.
        solve: (v -> -\nabla^2_theta F v, c) -> (x, info): one of :mod:`bomrl_lite.linalg`.
        tolerance: largest stationarity and relative residual; ``inf`` asks for an approximate
            hypergradient, whose info then says how approximate. On an ill-conditioned system the
            error may exceed the residual.

    Returns:
        The pulled-back cotangent, of the shapes of ``phi``, and whether to believe it.

    Raises:
        UnsolvedInnerProblem: theta is not stationary, the linear system is not solved, or
            -\nabla^2_theta F is not positive definite. Under ``vmap``, which hides values, the
            offending hypergradients are nan instead: call :func:`require_solved` outside. The
            spurious stationary points that logits have where a probability vanishes pass for
            solutions here; :func:`policywise_hypergradient` refuses them.
    """
    stationarity = norm(grad(objective)(theta, phi))
    bend = hessian_vector_product(lambda x: -objective(x, phi), theta)
    x, solved = solve(bend, cotangent)
    pulled = grad(lambda p: dot(x, grad(objective)(theta, p)))(phi)
    info = HypergradientInfo(stationarity, solved.curvature, solved.residual)
    return _refuse(pulled, info, tolerance), info


def constrained_vjp(
    objective: InnerObjective,
    constraint: InnerObjective,
    theta: Params,
    multiplier: Tensor,
    phi: Params,
    cotangent: Params,
    *,
    tolerance: float = TOLERANCE,
) -> tuple[Params, HypergradientInfo]:
    r"""Pull a cotangent back through theta(phi) = argmax F(theta, phi) where C(theta, phi) <= 0.

    The implicit function theorem for \nabla_theta (F - eta C) = 0 and C = 0:

        ( -\nabla^2 (F - eta C)   n ) (x )     (c)
        (          n^T            0 ) (xi)  =  (0),  n = \nabla_theta C

    (d theta / d phi)^T c = \nabla_phi [<x, \nabla_theta (F - eta C)> - xi C]. Where the constraint
    does not bind (eta = 0, C < 0) its row is left out. Taking eta for a constant instead is wrong:
    phi changes how much of the region is used up.

    Args:
        objective: F(theta, phi), the surrogate.
        constraint: C(theta, phi) = D^2 - delta.
        theta: the solution.
        multiplier: eta >= 0 of the solution.
        phi: meta-parameters.
        cotangent: c, the gradient of the outer objective at theta.
        tolerance: as for :func:`implicit_vjp`; it also says when eta and C count as 0, and how far
            C may be from 0 where it binds.

    Raises:
        UnsolvedInnerProblem: as for :func:`implicit_vjp`; also where eta and C are both 0: the
            solution then has a kink in phi and no derivative.
    """
    unit = torch.where(multiplier > tolerance, multiplier, 1.0)
    binds = multiplier > tolerance

    def scaled(x: Params, p: Params) -> Tensor:
        return (objective(x, p) - torch.where(binds, multiplier, 0.0) * constraint(x, p)) / unit

    normal, level = grad(constraint)(theta, phi), constraint(theta, phi)
    bend = hessian_vector_product(lambda x: -scaled(x, phi), theta)
    zero = torch.zeros_like(level)
    x, xi, solved = bordered_solve(bend, normal, cotangent, zero, binds=binds)
    xi = torch.where(binds, xi, 0.0)
    pulled = grad(lambda p: dot(x, grad(scaled)(theta, p)) - xi * constraint(theta, p))(phi)
    off = torch.where(binds, level.abs(), torch.where(level < -tolerance, 0.0, torch.inf))
    stationarity = torch.maximum(norm(grad(scaled)(theta, phi)), off)
    curvature = _tangent_curvature(bend, torch.where(binds, flatten(normal), 0.0), theta)
    info = HypergradientInfo(stationarity, curvature, solved.residual)
    return _refuse(pulled, info, tolerance), info


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
) -> tuple[Params, HypergradientInfo]:
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
        tolerance: as for :func:`implicit_vjp`, on the largest slope in a probability.

    Raises:
        ValueError: the policy has no free logits.
        UnsolvedInnerProblem: as for :func:`implicit_vjp`. The spurious stationary points that the
            logits of D2 have at vanishing probabilities are among what is refused.
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

    pulled = grad(lambda p: (x * slopes(p)).sum())(phi)
    slope = policywise_slope(
        log_phi, log_theta, data_of(phi), state_distance=state_distance, lam=lam
    )
    missing = (m @ x.unsqueeze(-1)).squeeze(-1) - cotangent
    missing = missing - missing.mean(-1, keepdim=True)
    size = cotangent.abs().max()
    residual = missing.abs().max() / torch.where(size > 0, size, 1.0)
    info = HypergradientInfo(slope.abs().max(), smallest_curvature(m) / lam, residual)
    return _refuse(pulled, info, tolerance), info


def policywise_constrained_vjp(
    data_of: Callable[[Params], OneTimeData],
    theta: Params,
    multiplier: Tensor,
    phi: Params,
    cotangent: Tensor,
    *,
    policy: TabularPolicy,
    state_distance: StateDistance,
    delta: float,
    tolerance: float = TOLERANCE,
) -> tuple[Params, HypergradientInfo]:
    r"""Pull a cotangent in probabilities back through Alg in a trust region, with free logits.

    :func:`constrained_vjp` written state by state: probabilities stay well-conditioned where the
    logits of rare actions do not. With W of Proposition 1 for lam = eta, g = \nabla_pi d^2,
    x = W c and k = <x, g> / <nu g, W g>,

        (d pi' / d phi)^T c = \nabla_phi [<x - k nu W g, Q - eta \nabla_pi d^2> - k D^2]

    Arguments and errors as for :func:`policywise_hypergradient`, with ``multiplier`` eta > 0 and
    ``delta`` of the solution. Where the constraint does not bind, free logits have no solution, and
    it is refused.
    """
    log_theta, log_phi = policy.log_probs(theta), policy.log_probs(phi)
    data, eta = data_of(phi), torch.where(multiplier > 0, multiplier, 1.0)
    m = eta * policywise_curvature(log_phi, log_theta, state_distance=state_distance)
    normal, nu = state_slope(state_distance, log_phi, log_theta), data.state_weights
    x, bend = simplex_solve(m, cotangent), simplex_solve(m, normal)
    share = (x * normal).sum() / (nu[:, None] * normal * bend).sum()
    y = x - share * nu[:, None] * bend

    def adjoint(p: Params) -> Tensor:
        batch, log_p = data_of(p), policy.log_probs(p)
        slopes = weighted_q(batch) - eta * state_slope(state_distance, log_p, log_theta)
        apart = batch.state_weights @ state_distance(log_p, log_theta)
        return (y * slopes).sum() - share * apart

    pulled = grad(adjoint)(phi)
    slope = policywise_slope(log_phi, log_theta, data, state_distance=state_distance, lam=eta)
    off = (nu @ state_distance(log_phi, log_theta) - delta).abs()
    stationarity = torch.maximum(slope.abs().max(), off)
    stationarity = torch.where(multiplier > 0, stationarity, weighted_q(data).abs().max())
    size = cotangent.abs().max()
    residual = (normal * y).sum().abs() / torch.where(size > 0, size, 1.0)
    info = HypergradientInfo(stationarity, smallest_curvature(m) / eta, residual)
    return _refuse(pulled, info, tolerance), info


def unrolled_hypergradient(
    objective: InnerObjective,
    outer: Callable[[Params], Tensor],
    phi: Params,
    *,
    step_size: float | Tensor,
    num_steps: int,
) -> Params:
    r"""Differentiate J(theta_K(phi)) through K gradient steps on F(., phi) that start at phi.

    (Franceschi et al., 1806.04910; Shaban et al., 1810.10667.) It is the exact gradient of a
    truncated Alg, and that of the argmax only as K grows; every step stays in memory.

    Args:
        objective: F(theta, phi).
        outer: J(theta).
        phi: meta-parameters, and the start of the steps.
        step_size: of the inner steps, > 0.
        num_steps: K >= 0.
    """

    def value(p: Params) -> Tensor:
        theta = ascend(lambda x: objective(x, p), p, step_size=step_size, num_steps=num_steps)
        return outer(theta)

    return grad(value)(phi)


def is_solved(info: HypergradientInfo, tolerance: float = TOLERANCE) -> Tensor:
    """Tell, task by task, whether a hypergradient is that of the argmax."""
    return (info.stationarity <= tolerance) & (info.residual <= tolerance) & (info.curvature > 0)


def require_solved(info: HypergradientInfo, tolerance: float = TOLERANCE) -> None:
    """Raise :class:`UnsolvedInnerProblem` unless every task of ``info`` is solved.

    Call it outside ``vmap``; the message names the worst figures and what helps against each.
    """
    solved = is_solved(info, tolerance)
    if bool(solved.all()):
        return
    stationarity, curvature, residual = (
        worst(field).item()
        for worst, field in zip((torch.max, torch.min, torch.max), info, strict=True)
    )
    if stationarity == float("inf"):
        raise UnsolvedInnerProblem(
            "the multiplier and the slack of the constraint are both 0 (degenerate): the solution "
            "has a kink in phi there and no derivative. Change delta a little, or phi"
        )
    raise UnsolvedInnerProblem(
        f"{int((~solved).sum())} of {solved.numel()} inner problems are not solved to "
        f"{tolerance:g}: worst stationarity {stationarity:.2g}, smallest curvature "
        f"{curvature:.2g}, worst residual of the linear system {residual:.2g}. A large "
        "stationarity needs more inner iterations or a larger lam; a curvature that is not "
        "positive means no strict maximum, and needs a larger lam; a large residual needs more "
        "iterations of the linear solver or another one. tolerance=inf goes on with an "
        "approximate hypergradient"
    )


def _refuse(pulled: Params, info: HypergradientInfo, tolerance: float) -> Params:
    """Raise on an unsolved problem, or under ``vmap`` turn its hypergradient into nan."""
    if tolerance == float("inf"):
        return pulled
    try:
        require_solved(info, tolerance)
    except UnsolvedInnerProblem:
        raise
    except RuntimeError:  # vmap: values cannot be read here
        solved = is_solved(info, tolerance)
        return {name: torch.where(solved, leaf, torch.nan) for name, leaf in pulled.items()}
    return pulled


def _tangent_curvature(matvec: Matvec, normal: Tensor, like: Params) -> Tensor:
    """Return the smallest curvature along the constraint's surface, null space left out."""
    matrix = dense_matrix(matvec, like)
    length = normal.norm()
    unit = normal / torch.where(length > 0, length, 1.0)
    project = torch.eye(len(unit), dtype=unit.dtype, device=unit.device) - torch.outer(unit, unit)
    values = torch.linalg.eigvalsh(project @ matrix @ project)
    kept = values.abs() > 1e-10 * matrix.abs().max()
    return torch.where(kept, values, torch.inf).min()
