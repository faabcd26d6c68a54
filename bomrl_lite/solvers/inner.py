"""How an inner problem is solved, and how its way back: a climb and a linear solver, as a pair."""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

from torch import Tensor

from bomrl_lite.require import checked, require_positive
from bomrl_lite.solvers.implicit import LinearSolver
from bomrl_lite.solvers.linear import conjugate_gradient, null_space_safe_solve
from bomrl_lite.solvers.maximize import MaximizeInfo, maximize, maximize_matrix_free
from bomrl_lite.types import Params


class InnerSolver(NamedTuple):
    """How an inner problem is solved, and how the linear system of its way back."""

    climb: Callable[[Callable[[Params], Tensor], Params], tuple[Params, MaximizeInfo]]
    """(objective, start) -> (maximiser, info)."""
    solve: LinearSolver
    """(v -> A v, b) -> (x, info)."""


@checked(tolerance=require_positive)
def dense_solver(*, tolerance: float = 1e-10, max_iterations: int = 20) -> InnerSolver:
    """Write Hessians out: exact, for up to some hundred parameters.

    Args:
        tolerance: norm of the gradient at which to stop, > 0.
        max_iterations: of the climb, >= 1.
    """
    climb = partial(maximize, tolerance=tolerance, max_iterations=max_iterations)
    return InnerSolver(climb, null_space_safe_solve)


@checked(tolerance=require_positive)
def matrix_free_solver(
    *, tolerance: float = 1e-10, max_iterations: int = 20, cg_iterations: int = 40
) -> InnerSolver:
    """Never write a Hessian out: conjugate gradients for each step and for the way back.

    Args:
        tolerance: norm of the gradient at which to stop, > 0.
        max_iterations: of the climb, >= 1.
        cg_iterations: of each of its steps and of the adjoint system, >= 1.
    """
    climb = partial(
        maximize_matrix_free,
        tolerance=tolerance,
        max_iterations=max_iterations,
        cg_iterations=cg_iterations,
    )
    return InnerSolver(climb, partial(conjugate_gradient, max_iterations=cg_iterations))
