"""Linear algebra on parameters: products with Hessians and solutions of linear systems.

Nothing here knows policies or tasks: a matrix is a function ``matvec(v)`` that maps parameters to
parameters of the same shapes. Every solver returns ``(x, SolveInfo)`` and runs under ``vmap``.
"""

import threading
from collections.abc import Callable
from typing import Any, TypeVar, cast

import torch
from jaxtyping import Float
from torch import Tensor
from torch.func import grad, jvp, vjp, vmap

from bomrl_lite.require import checked, require_positive
from bomrl_lite.types import Params, SolveInfo

Matvec = Callable[[Params], Params]
Value = TypeVar("Value")

# torch leaves torch.linalg without types.
solve_columns = cast(
    "Callable[[Tensor, Tensor], Tensor]",
    torch.linalg.solve,  # pyright: ignore[reportUnknownMemberType]
)
"""(A [..., P, P], B [..., P, k]) -> A^{-1} B."""
eigenvalues = cast(
    "Callable[[Tensor], Tensor]",
    torch.linalg.eigvalsh,  # pyright: ignore[reportUnknownMemberType]
)
"""Of symmetric matrices [..., P, P], in ascending order: [..., P]."""
eigenvectors = cast(
    "Callable[[Tensor], tuple[Tensor, Tensor]]",
    torch.linalg.eigh,  # pyright: ignore[reportUnknownMemberType]
)
"""The same with the eigenvectors as columns: [..., P] and [..., P, P]."""
vector_norm = cast(
    "Callable[[Tensor], Tensor]",
    torch.linalg.vector_norm,  # pyright: ignore[reportUnknownMemberType]
)
"""Euclidean norm of all entries."""

_FORWARD = threading.RLock()
"""Forward differentiation of torch is one at a time in a process: another thread's spoils it."""

BORDER = "border"
"""Name of the entry that a bordered system adds to the parameters."""


def dot(x: Params, y: Params) -> Float[Tensor, ""]:
    """Return the inner product <x, y> over all leaves."""
    return torch.stack([(x[name] * y[name]).sum() for name in x]).sum()


def norm(x: Params) -> Float[Tensor, ""]:
    """Return the Euclidean norm over all leaves."""
    return dot(x, x).sqrt()


def add_scaled(x: Params, scale: float | Tensor, y: Params) -> Params:
    """Return x + scale * y, leaf by leaf; scale is a scalar."""
    return {name: x[name] + scale * y[name] for name in x}


def scale(factor: float | Tensor, x: Params) -> Params:
    """Return factor * x, leaf by leaf; factor is a scalar."""
    return {name: factor * leaf for name, leaf in x.items()}


def directional(function: Callable[[Params], Value], x: Params, v: Params) -> tuple[Value, Any]:
    """Return f(x) and its derivative along v, in one pass forward; safe in several threads."""
    with _FORWARD:
        return jvp(function, (x,), (v,))[:2]


@checked()
def hessian_vector_product(function: Callable[[Params], Tensor], x: Params) -> Matvec:
    r"""Return ``v -> \nabla^2 f(x) v`` for a scalar function f.

    The gradient is recorded once; each product is one pullback of it: vjp of grad equals the
    Hessian-vector product because a Hessian is symmetric (Pearlmutter, 1994).
    """
    pull_back = vjp(grad(function), x)[1]
    return lambda v: pull_back(v)[0]


@checked(tolerance=require_positive)
def conjugate_gradient(
    matvec: Matvec, b: Params, *, tolerance: float = 1e-10, max_iterations: int = 100
) -> tuple[Params, SolveInfo]:
    """Solve A x = b for a symmetric positive definite A (Hestenes and Stiefel, 1952).

    A singular A is fine as long as b lies in its range. Iteration stops, for each system under
    ``vmap`` by itself, once the residual is below ``tolerance`` times ||b||, or at a direction p
    with <p, A p> <= 0: then ``info.curvature`` is not positive and x is not a solution.

    Args:
        matvec: v -> A v.
        b: right-hand side.
        tolerance: relative residual at which to stop, > 0.
        max_iterations: >= 1; fixed, so that ``vmap`` can batch it. Each costs one product with A,
            and the residual one more.

    Raises:
        ValueError: a tolerance or a number of iterations out of its range.
    """
    x, residual, direction = add_scaled(b, -1.0, b), b, b
    squared = dot(b, b)
    goal = tolerance**2 * squared
    iterations = torch.zeros_like(squared, dtype=torch.int64)
    curvature = torch.full_like(squared, torch.inf)
    definite = torch.ones_like(squared, dtype=torch.bool)
    # Under vmap no system can leave the loop: one that is done takes steps of length 0. The inner
    # torch.where keeps its divisions away from 0 / 0, whose nan would enter derivatives.
    for _ in range(max_iterations):
        image = matvec(direction)
        quadratic, length = dot(direction, image), dot(direction, direction)
        active = definite & (squared > goal)
        curvature = torch.where(active, torch.minimum(curvature, quadratic / length), curvature)
        definite = definite & ~(active & (quadratic <= 0))
        active = active & definite
        alpha = torch.where(active, squared / torch.where(active, quadratic, 1.0), 0.0)
        x = add_scaled(x, alpha, direction)
        residual = add_scaled(residual, -alpha, image)
        previous, squared = squared, torch.where(active, dot(residual, residual), squared)
        beta = torch.where(active, squared / torch.where(active, previous, 1.0), 0.0)
        conjugate = add_scaled(residual, beta, direction)
        direction = {name: torch.where(active, conjugate[name], direction[name]) for name in b}
        iterations = iterations + active
    return x, SolveInfo(_relative_residual(matvec, x, b), iterations, curvature)


@checked(tolerance=require_positive)
def neumann_series(
    matvec: Matvec,
    b: Params,
    *,
    step_size: float,
    tolerance: float = 1e-10,
    max_iterations: int = 1000,
) -> tuple[Params, SolveInfo]:
    r"""Solve A x = b by x <- x + step_size (b - A x): A^{-1} = step_size sum_k (I - step_size A)^k.

    Converges for a symmetric positive definite A if step_size < 2 / (largest eigenvalue), at a rate
    of its condition number, where conjugate gradients need the square root of it. Truncated after K
    terms it is the unrolled hypergradient of K gradient steps at the solution (Lorraine et al.,
    1911.02590). Stops, for each system under ``vmap`` by itself, once the residual is below
    ``tolerance`` times ||b||.

    Args:
        matvec: v -> A v.
        b: right-hand side.
        step_size: > 0.
        tolerance: relative residual at which to stop, > 0.
        max_iterations: >= 1. Each costs one product with A.

    Raises:
        ValueError: a step size, a tolerance or a number of iterations out of its range.
    """
    x, residual = add_scaled(b, -1.0, b), b
    squared = dot(b, b)
    goal = tolerance**2 * squared
    iterations = torch.zeros_like(squared, dtype=torch.int64)
    curvature = torch.full_like(squared, torch.inf)
    for _ in range(max_iterations):
        active = squared > goal
        image = matvec(residual)
        rayleigh = dot(residual, image) / torch.where(active, squared, 1.0)
        curvature = torch.where(active, torch.minimum(curvature, rayleigh), curvature)
        step = step_size * active.to(squared)
        x, residual = add_scaled(x, step, residual), add_scaled(residual, -step, image)
        squared = dot(residual, residual)
        iterations = iterations + active
    return x, SolveInfo(_relative_residual(matvec, x, b), iterations, curvature)


@checked()
def dense_solve(matvec: Matvec, b: Params) -> tuple[Params, SolveInfo]:
    """Solve A x = b by writing A out and factorising it: for small systems and for tests.

    Raises:
        torch.linalg.LinAlgError: A is singular; if it is symmetric as well, use
            :func:`null_space_safe_solve`.
    """
    matrix = dense_matrix(matvec, b)
    x = unflatten(solve_columns(matrix, flatten(b).unsqueeze(-1)).squeeze(-1), b)
    curvature = eigenvalues((matrix + matrix.mT) / 2)[0]
    return x, _direct_info(matvec, x, b, curvature)


@checked()
def null_space_safe_solve(
    matvec: Matvec, b: Params, *, rtol: float = 1e-10
) -> tuple[Params, SolveInfo]:
    """Solve A x = b for a symmetric A that may be singular: x is the shortest least-squares answer.

    Eigenvalues below ``rtol`` times the largest count as the null space; the part of b that lies in
    it cannot be reached and shows up in ``info.residual``. The logits of a tabular softmax policy
    have such a null space: one direction per state changes no probability.
    """
    values, vectors = eigenvectors(dense_matrix(matvec, b))
    kept = values.abs() > rtol * values.abs().max()
    coordinates = vectors.mT @ flatten(b)
    inverse = torch.where(kept, 1.0 / torch.where(kept, values, 1.0), 0.0)
    x = unflatten(vectors @ (inverse * coordinates), b)
    curvature = torch.where(kept, values, torch.inf).min()
    return x, _direct_info(matvec, x, b, curvature)


@checked()
def bordered_solve(
    matvec: Matvec,
    normal: Params,
    b: Params,
    last: Float[Tensor, ""],
    *,
    binds: bool | Tensor = True,
) -> tuple[Params, Tensor, SolveInfo]:
    """Solve the symmetric system of a constrained problem; null space left alone.

        ( A    n ) (x )     (b   )
        ( n^T  0 ) (xi)  =  (last)

    A constraint that does not bind is left out: then A x = b and xi = last.

    Args:
        matvec: v -> A v, A symmetric.
        normal: n, the gradient of the constraint.
        b: right-hand side.
        last: right-hand side of the last row, a scalar.
        binds: whether the constraint binds.

    Returns:
        x, xi, and the info of :func:`null_space_safe_solve`; its curvature is that of the bordered
        matrix, which is negative wherever a constraint binds.
    """
    border = torch.as_tensor(binds, dtype=last.dtype, device=last.device)

    def bordered(v: Params) -> Params:
        inner, xi = {name: v[name] for name in b}, v[BORDER]
        # border = 0 leaves A x = b above and the row xi = last below: no branch, so vmap may mix.
        top = add_scaled(matvec(inner), border * xi, normal)
        return {**top, BORDER: border * dot(normal, inner) + (1 - border) * xi}

    z, info = null_space_safe_solve(bordered, {**b, BORDER: last})
    return {name: z[name] for name in b}, z[BORDER], info


@checked()
def dense_matrix(matvec: Matvec, like: Params) -> Float[Tensor, "P P"]:
    """Return A as a [P, P] matrix, leaves in the order of ``like``."""
    flat = flatten(like)
    eye = torch.eye(flat.numel(), dtype=flat.dtype, device=flat.device)

    def column(v: Tensor) -> Tensor:
        return flatten(matvec(unflatten(v, like)))

    return vmap(column)(eye).mT  # vmap stacks the columns as rows


def flatten(x: Params) -> Float[Tensor, " P"]:
    """Return all leaves as one vector [P]."""
    return torch.cat([leaf.reshape(-1) for leaf in x.values()])


def unflatten(flat: Float[Tensor, " P"], like: Params) -> Params:
    """Cut a vector [P] into leaves of the names and shapes of ``like``."""
    pieces = torch.split(flat, [leaf.numel() for leaf in like.values()])
    return {k: piece.reshape(like[k].shape) for k, piece in zip(like, pieces, strict=True)}


def _relative_residual(matvec: Matvec, x: Params, b: Params) -> Tensor:
    size = norm(b)
    error = norm(add_scaled(b, -1.0, matvec(x)))
    return torch.where(size > 0, error / torch.where(size > 0, size, 1.0), error)


def _direct_info(matvec: Matvec, x: Params, b: Params, curvature: Tensor) -> SolveInfo:
    residual = _relative_residual(matvec, x, b)
    return SolveInfo(residual, torch.zeros_like(residual, dtype=torch.int64), curvature)
