"""Solvers of smooth nonlinear problems: they return ``(solution, info)`` and run under ``vmap``.

Under ``vmap`` a loop cannot end when one problem is done, so each solver runs a fixed number of
iterations and leaves a problem alone once it is solved.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor
from torch.func import grad, vmap

from bomrl_lite.require import checked, require_count, require_positive
from bomrl_lite.solvers.linear import (
    add_scaled,
    conjugate_gradient,
    dense_matrix,
    eigenvalues,
    eigenvectors,
    flatten,
    hessian_vector_product,
    norm,
    unflatten,
)
from bomrl_lite.types import Params

NULL_SPACE = 1e-10
"""Eigenvalues below this share of the largest count as 0."""

SADDLE_PUSH = 1e-2
"""Length of the push that leaves a saddle."""


class MaximizeInfo(NamedTuple):
    """What a maximiser knows about its own answer."""

    stationarity: Float[Tensor, ""]
    """Norm of the gradient."""
    iterations: Tensor
    """Iterations that changed the answer."""
    curvature: Float[Tensor, ""]
    """Smallest eigenvalue of minus the Hessian, null space left out; a maximum has > 0."""


@checked(tolerance=require_positive)
def maximize(
    objective: Callable[[Params], Tensor],
    start: Params,
    *,
    tolerance: float = 1e-10,
    max_iterations: int = 20,
    halvings: int = 12,
    max_change: float = 4.0,
) -> tuple[Params, MaximizeInfo]:
    r"""Climb from ``start`` to a local maximum by saddle-free Newton steps with a line search.

    x <- x + t |H|^{-1} \nabla f(x), t the largest of 1, 1/2, 1/4, ... that gains the most

    |H| takes the absolute eigenvalues of the Hessian (Dauphin et al., 1406.2572): every step climbs
    where f is not concave, and is Newton's near a maximum. It costs one dense Hessian an iteration,
    so it is meant for at most some hundred parameters.

    Args:
        objective: smooth scalar f.
        start: where to begin.
        tolerance: norm of the gradient at which to stop, > 0.
        max_iterations: >= 1.
        halvings: how often t may be halved, >= 0.
        max_change: largest change of one parameter in one step, > 0: a leap could saturate a
            softmax, whose gradient then vanishes although nothing is solved.

    Returns:
        The answer and its info.

    Raises:
        ValueError: an argument out of its range.
    """
    x, lengths = start, _halved(halvings, start)
    iterations = torch.zeros((), dtype=torch.int64, device=lengths.device)
    for _ in range(max_iterations):
        slope = grad(objective)(x)
        step, convex = _saddle_free_step(objective, x, flatten(slope))
        # At a saddle the gradient is 0 too, so a small one alone is no reason to stop.
        active = (norm(slope) > tolerance) | convex
        direction = unflatten(step * (max_change / step.abs().max()).clamp(max=1.0), x)
        length = torch.where(active, _best_length(objective, x, direction, lengths), 0.0)
        x = add_scaled(x, length, direction)
        iterations = iterations + active
    return x, MaximizeInfo(norm(grad(objective)(x)), iterations, curvature(objective, x))


@checked(tolerance=require_positive)
def maximize_matrix_free(
    objective: Callable[[Params], Tensor],
    start: Params,
    *,
    tolerance: float = 1e-10,
    max_iterations: int = 20,
    cg_iterations: int = 40,
    halvings: int = 12,
) -> tuple[Params, MaximizeInfo]:
    r"""Climb by Newton steps from conjugate gradients, which never write a Hessian out.

    Conjugate gradients stop where the curvature is not positive and keep what they have, an ascent
    direction; if that is nothing, the gradient serves (Nocedal and Wright, 2006, algorithm 7.1).

    Args:
        objective: smooth scalar f.
        start: where to begin.
        tolerance: norm of the gradient at which to stop, > 0.
        max_iterations: >= 1.
        cg_iterations: of each Newton step, >= 1.
        halvings: how often a step may be halved, >= 0.

    Returns:
        The answer and its info, whose curvature is the smallest that conjugate gradients met: no
        proof of a maximum, for they see only the directions that they take.

    Raises:
        ValueError: an argument out of its range.
    """
    x, lengths = start, _halved(halvings, start)
    iterations = torch.zeros((), dtype=torch.int64, device=lengths.device)
    least = torch.full_like(lengths[0], torch.inf)
    for _ in range(max_iterations):
        slope = grad(objective)(x)
        matvec = hessian_vector_product(lambda y: -objective(y), x)
        # A Newton step need not be exact far from the maximum; near it the iterations add up.
        step, info = conjugate_gradient(matvec, slope, tolerance=1e-4, max_iterations=cg_iterations)
        active, moves = norm(slope) > tolerance, norm(step) > 0
        direction = {name: torch.where(moves, step[name], slope[name]) for name in x}
        length = torch.where(active, _best_length(objective, x, direction, lengths), 0.0)
        x = add_scaled(x, length, direction)
        iterations, least = iterations + active, torch.where(active, info.curvature, least)
    return x, MaximizeInfo(norm(grad(objective)(x)), iterations, least)


@checked()
def ascend(
    objective: Callable[[Params], Tensor],
    start: Params,
    *,
    step_size: float | Tensor,
    num_steps: int,
) -> Params:
    r"""Take ``num_steps`` gradient steps x <- x + step_size \nabla f(x): a solver stopped early.

    It can be differentiated through: that is the unrolled hypergradient.

    Args:
        objective: smooth scalar f.
        start: where to begin.
        step_size: > 0.
        num_steps: >= 0.
    """
    x = start
    for _ in range(num_steps):
        x = add_scaled(x, step_size, grad(objective)(x))
    return x


@checked(iterations=require_count)
def bisect(
    function: Callable[[Tensor], Tensor],
    low: Float[Tensor, "*shape"],
    high: Float[Tensor, "*shape"],
    *,
    iterations: int = 60,
) -> Tensor:
    """Find where a decreasing function crosses 0 from ``low`` to ``high`` [...], entry by entry.

    Each iteration halves the bracket: 60 of them leave nothing of it in double precision.

    Args:
        function: decreasing in every entry; entries do not mix.
        low: where it is positive, of any shape.
        high: where it is not, of the same shape.
        iterations: >= 0.
    """
    for _ in range(iterations):
        middle = (low + high) / 2
        above = function(middle) > 0
        low, high = torch.where(above, middle, low), torch.where(above, high, middle)
    return (low + high) / 2


@checked()
def negative_hessian(objective: Callable[[Params], Tensor], x: Params) -> Float[Tensor, "P P"]:
    """Return minus the Hessian of a scalar function of parameters, written out."""
    return -dense_matrix(hessian_vector_product(objective, x), x)


@checked()
def curvature(objective: Callable[[Params], Tensor], x: Params) -> Float[Tensor, ""]:
    """Return the smallest eigenvalue of minus the Hessian, its null space left out."""
    values = eigenvalues(negative_hessian(objective, x))
    kept = values.abs() > NULL_SPACE * values.abs().max()
    return torch.where(kept, values, torch.inf).min()


def _saddle_free_step(
    objective: Callable[[Params], Tensor], x: Params, slope: Tensor
) -> tuple[Tensor, Tensor]:
    """Return the step, and whether the function curves upwards somewhere."""
    values, vectors = eigenvectors(negative_hessian(objective, x))
    size = values.abs()
    floor = (NULL_SPACE * size.max()).clamp(min=torch.finfo(slope.dtype).tiny)
    step = vectors @ ((vectors.mT @ slope) / torch.maximum(size, floor))
    # At a saddle the slope vanishes, by symmetry for instance: leave it along the worst direction.
    worst = vectors[:, 0] * torch.where(vectors[:, 0] @ slope < 0, -1.0, 1.0)
    convex = values[0] < -1e-6 * size.max()
    return step + torch.where(convex, SADDLE_PUSH, 0.0) * worst, convex


def _halved(halvings: int, like: Params) -> Float[Tensor, " lengths"]:
    """Return 1, 1/2, 1/4, ... on the device and with the dtype of the parameters."""
    flat = flatten(like)
    return 0.5 ** torch.arange(halvings + 1, dtype=flat.dtype, device=flat.device)


def _best_length(
    objective: Callable[[Params], Tensor],
    x: Params,
    direction: Params,
    lengths: Float[Tensor, " lengths"],
) -> Float[Tensor, ""]:
    """Return the first length whose value is the largest, up to the rounding of values."""

    def value_at(length: Tensor) -> Tensor:
        return objective(add_scaled(x, length, direction))

    values = vmap(value_at)(lengths)
    values = torch.where(values.isfinite(), values, -torch.inf)
    best = values.max()
    near = values >= best - 1e-13 * (1 + best.abs())
    return (lengths * (near & (near.cumsum(0) == 1))).sum()
