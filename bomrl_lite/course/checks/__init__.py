"""Checks of the exercises, one per function: ``q_values = checks.q_values(q_values)``.

Each returns the function to go on with. ``checks.use(unsolved)`` says what an unsolved exercise
does, ``checks.progress()`` prints how far a notebook has come.
"""

from bomrl_lite.course.checks._engine import CheckFailed, NotSolved
from bomrl_lite.course.checks._session import print_progress, use
from bomrl_lite.course.checks.set01 import (
    CHECKS,
    adapt,
    first_order_gradient,
    maml_gradient,
    occupancy,
    optimal_return,
    optimality_gap,
    policy_gradient,
    q_values,
)

__all__ = [
    "CheckFailed",
    "NotSolved",
    "adapt",
    "first_order_gradient",
    "maml_gradient",
    "occupancy",
    "optimal_return",
    "optimality_gap",
    "policy_gradient",
    "progress",
    "q_values",
    "use",
]


def progress() -> None:
    """Print the state of every exercise in the sets that this notebook has met."""
    print_progress({check.exercise: check.name for check in CHECKS})
