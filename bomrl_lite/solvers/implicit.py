r"""Gradients through the solution of an inner problem: \nabla_phi J(theta(phi)).

theta(phi) maximises an objective F(theta, phi). At the solution \nabla_theta F = 0 for every phi,
so the implicit function theorem gives its derivative without a look at the solver:

    -\nabla^2_theta F  d theta = \nabla_phi \nabla_theta F  d phi

All functions take the cotangent, \nabla J at theta, and pull it back to phi. Which dependence of
the data on phi is kept is decided by the data function that builds F
(:mod:`bomrl_lite.rollout.data`), never here. A hypergradient describes the solution: at a theta
that does not solve the inner problem it is refused.
"""

from collections.abc import Callable

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.func import grad

from bomrl_lite.require import checked, hidden_by_vmap
from bomrl_lite.solvers.linear import (
    Matvec,
    bordered_solve,
    dense_matrix,
    dot,
    eigenvalues,
    flatten,
    hessian_vector_product,
    norm,
    null_space_safe_solve,
    vector_norm,
)
from bomrl_lite.solvers.maximize import ascend
from bomrl_lite.types import Params, SolvedInfo, SolveInfo

InnerObjective = Callable[[Params, Params], Tensor]
"""F(theta, phi): scalar, maximised over theta."""


LinearSolver = Callable[[Matvec, Params], tuple[Params, SolveInfo]]


TOLERANCE = 1e-6
"""Stationarity and relative residual up to which an inner problem counts as solved."""


class UnsolvedInnerProblem(ArithmeticError):  # noqa: N818 - names the state, as ArithmeticError's kin do
    """A hypergradient was asked for at a theta that does not solve the inner problem."""


@checked()
def implicit_vjp(
    objective: InnerObjective,
    theta: Params,
    phi: Params,
    cotangent: Params,
    *,
    solve: LinearSolver = null_space_safe_solve,
    tolerance: float = TOLERANCE,
) -> tuple[Params, SolvedInfo]:
    r"""Pull a cotangent back through theta(phi) = argmax_theta F(theta, phi).

    (d theta / d phi)^T c = \nabla_phi <x, \nabla_theta F(theta, phi)>,  -\nabla^2_theta F x = c

    by the implicit function theorem (for meta-RL: Xu and Zhu, 2410.09728).

    Args:
        objective: F, without unit (L / lam - D^2): its gradient is what ``tolerance`` is about.
        theta: the maximiser, from any solver.
        phi: meta-parameters.
        cotangent: c, the gradient of the outer objective at theta.
        solve: (v -> -\nabla^2_theta F v, c) -> (x, info): one of :mod:`bomrl_lite.solvers.linear`.
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
            solutions; only :func:`bomrl_lite.adaptation.closed_forms.policywise_hypergradient`
            can tell.
    """
    stationarity = norm(grad(objective)(theta, phi))
    negative_hvp = hessian_vector_product(lambda x: -objective(x, phi), theta)
    x, solved = solve(negative_hvp, cotangent)

    def slope_along_x(p: Params) -> Tensor:
        return dot(x, grad(objective)(theta, p))

    info = SolvedInfo(stationarity, solved.curvature, solved.residual)
    return refuse_unsolved(grad(slope_along_x)(phi), info, tolerance), info


@checked()
def constrained_vjp(
    objective: InnerObjective,
    constraint: InnerObjective,
    theta: Params,
    multiplier: Float[Tensor, ""],
    phi: Params,
    cotangent: Params,
    *,
    tolerance: float = TOLERANCE,
) -> tuple[Params, SolvedInfo]:
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

    Returns:
        The pulled-back cotangent, of the shapes of ``phi``, and whether to believe it.

    Raises:
        UnsolvedInnerProblem: as for :func:`implicit_vjp`; also where eta and C are both 0: the
            solution then has a kink in phi and no derivative.
    """
    binds = multiplier > tolerance
    # Divided by eta the objective is L / eta - D^2, without unit, as ``tolerance`` asks for.
    unit = torch.where(binds, multiplier, 1.0)

    def scaled(x: Params, p: Params) -> Tensor:
        return (objective(x, p) - torch.where(binds, multiplier, 0.0) * constraint(x, p)) / unit

    normal, level = grad(constraint)(theta, phi), constraint(theta, phi)
    negative_hvp = hessian_vector_product(lambda x: -scaled(x, phi), theta)
    zero = torch.zeros_like(level)
    x, xi, solved = bordered_solve(negative_hvp, normal, cotangent, zero, binds=binds)
    xi = torch.where(binds, xi, 0.0)

    def adjoint(p: Params) -> Tensor:
        return dot(x, grad(scaled)(theta, p)) - xi * constraint(theta, p)

    pulled = grad(adjoint)(phi)
    # Where the constraint binds it must hold with equality; eta = 0 with no slack is degenerate.
    violation = torch.where(binds, level.abs(), torch.where(level < -tolerance, 0.0, torch.inf))
    stationarity = torch.maximum(norm(grad(scaled)(theta, phi)), violation)
    curvature = _tangent_curvature(negative_hvp, torch.where(binds, flatten(normal), 0.0), theta)
    info = SolvedInfo(stationarity, curvature, solved.residual)
    return refuse_unsolved(pulled, info, tolerance), info


@checked()
def unrolled_hypergradient(
    objective: InnerObjective,
    outer: Callable[[Params], Tensor],
    phi: Params,
    *,
    step_size: float | Tensor,
    num_steps: int,
) -> Params:
    r"""Differentiate J(theta_K(phi)) through K gradient steps on the scalar F(., phi) from phi.

    (Franceschi et al., 1806.04910; Shaban et al., 1810.10667.) It is the exact gradient of a
    truncated Alg, and that of the argmax only as K grows; every step stays in memory.

    Args:
        objective: F(theta, phi).
        outer: J(theta).
        phi: meta-parameters, and the start of the steps.
        step_size: of the inner steps, > 0.
        num_steps: K >= 0.

    Returns:
        The gradient of J(theta_K(phi)), of the shapes of ``phi``.
    """

    def value(p: Params) -> Tensor:
        theta = ascend(lambda x: objective(x, p), p, step_size=step_size, num_steps=num_steps)
        return outer(theta)

    return grad(value)(phi)


@checked()
def is_solved(info: SolvedInfo, tolerance: float = TOLERANCE) -> Bool[Tensor, "*N"]:
    """Tell, task by task, whether a hypergradient is that of the argmax.

    Args:
        info: of one task or of N.
        tolerance: largest stationarity and relative residual.
    """
    return (info.stationarity <= tolerance) & (info.residual <= tolerance) & (info.curvature > 0)


@checked()
def require_solved(info: SolvedInfo, tolerance: float = TOLERANCE) -> None:
    """Raise :class:`UnsolvedInnerProblem` unless every task of ``info`` is solved.

    Call it outside ``vmap``; the message names the worst figures and what helps against each.

    Args:
        info: of one task or of N.
        tolerance: largest stationarity and relative residual.

    Raises:
        UnsolvedInnerProblem: a task is not solved.
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


@checked()
def refuse_unsolved(pulled: Params, info: SolvedInfo, tolerance: float) -> Params:
    """Raise on an unsolved problem, or under ``vmap`` turn its hypergradient into nan.

    Args:
        pulled: the hypergradient.
        info: whether to believe it.
        tolerance: largest stationarity and relative residual; ``inf`` lets all pass.

    Raises:
        UnsolvedInnerProblem: the problem is not solved, and its values can be read.
    """
    if tolerance == float("inf"):
        return pulled
    solved = is_solved(info, tolerance)
    if hidden_by_vmap(solved):
        return {name: torch.where(solved, leaf, torch.nan) for name, leaf in pulled.items()}
    require_solved(info, tolerance)
    return pulled


def _tangent_curvature(matvec: Matvec, normal: Tensor, like: Params) -> Tensor:
    """Return the smallest curvature along the constraint's surface, null space left out."""
    matrix = dense_matrix(matvec, like)
    length = vector_norm(normal)
    unit = normal / torch.where(length > 0, length, 1.0)
    project = torch.eye(len(unit), dtype=unit.dtype, device=unit.device) - torch.outer(unit, unit)
    values = eigenvalues(project @ matrix @ project)
    kept = values.abs() > 1e-10 * matrix.abs().max()
    return torch.where(kept, values, torch.inf).min()
