"""Checks of the exercises, one per function: ``q_values = checks.q_values(q_values)``.

Each returns the function to go on with. ``checks.use(unsolved)`` says what an unsolved exercise
does, ``checks.progress()`` prints how far a notebook has come.
"""

from bomrl_lite.course.checks.engine import CheckFailed, NotSolved
from bomrl_lite.course.checks.gallery import print_gallery
from bomrl_lite.course.checks.session import SESSION, print_progress, use
from bomrl_lite.course.checks.set01.checks import (
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
from bomrl_lite.course.checks.set02.checks import CHECKS as CHECKS_02
from bomrl_lite.course.checks.set02.checks import (
    dice_objective,
    discounted_returns,
    e_maml_objective,
    generalised_advantages,
    hessian_split,
    lvc_objective,
    promp_objective,
    q_gradient,
)
from bomrl_lite.course.checks.set03.checks import CHECKS as CHECKS_03
from bomrl_lite.course.checks.set03.checks import (
    adapt_d1,
    adapt_d2,
    adapt_repeatedly,
    kl_distance,
    lower_bound,
    natural_gradient_step,
    surrogate,
)
from bomrl_lite.course.checks.set04.checks import CHECKS as CHECKS_04
from bomrl_lite.course.checks.set04.checks import (
    conjugate_gradient,
    frozen_hypergradient,
    hypergradient,
    hypergradient_d1,
    implicit_derivative,
    implicit_vjp,
    simplex_solve,
    unrolled_hypergradient,
)
from bomrl_lite.course.checks.set05.checks import CHECKS as CHECKS_05
from bomrl_lite.course.checks.set05.checks import (
    distance_to_optimum,
    fit_rate,
    gain_by_state,
    gap_bound,
    middle_policy,
    optimal_actions,
    rigorous_lambda,
)
from bomrl_lite.course.checks.set06.checks import CHECKS as CHECKS_06
from bomrl_lite.course.checks.set06.checks import (
    adapt_head,
    deal,
    mean_returns,
    observe,
    returns_at_budget,
    speed_reward,
    speed_up,
    update_moments,
)

__all__ = [
    "CHECKS_BY_SET",
    "CheckFailed",
    "NotSolved",
    "adapt",
    "adapt_d1",
    "adapt_d2",
    "adapt_head",
    "adapt_repeatedly",
    "conjugate_gradient",
    "deal",
    "dice_objective",
    "discounted_returns",
    "distance_to_optimum",
    "e_maml_objective",
    "first_order_gradient",
    "fit_rate",
    "frozen_hypergradient",
    "gain_by_state",
    "gallery",
    "gap_bound",
    "generalised_advantages",
    "hessian_split",
    "hypergradient",
    "hypergradient_d1",
    "implicit_derivative",
    "implicit_vjp",
    "kl_distance",
    "lower_bound",
    "lvc_objective",
    "maml_gradient",
    "mean_returns",
    "middle_policy",
    "natural_gradient_step",
    "observe",
    "occupancy",
    "optimal_actions",
    "optimal_return",
    "optimality_gap",
    "policy_gradient",
    "progress",
    "promp_objective",
    "q_gradient",
    "q_values",
    "require_solved",
    "returns_at_budget",
    "rigorous_lambda",
    "simplex_solve",
    "speed_reward",
    "speed_up",
    "surrogate",
    "unrolled_hypergradient",
    "update_moments",
    "use",
]


CHECKS_BY_SET = {
    "01": CHECKS,
    "02": CHECKS_02,
    "03": CHECKS_03,
    "04": CHECKS_04,
    "05": CHECKS_05,
    "06": CHECKS_06,
}
_EVERY = tuple(check for checks in CHECKS_BY_SET.values() for check in checks)


def progress() -> None:
    """Print the state of every exercise in the sets that this notebook has met."""
    print_progress({check.exercise: check.name for check in _EVERY})


def gallery() -> None:
    """Print what the slips that are hardest to see do to each exercise that is solved."""
    print_gallery([check for check in _EVERY if check.exercise in SESSION.states])


def require_solved(*exercises: str) -> None:
    """Stop unless exercises are solved: by a function of the learner that has passed its check.

    Args:
        exercises: numbers, such as ``"1.1"``.

    Raises:
        NotSolved: with the numbers of those that are not.
    """
    missing = [each for each in exercises if SESSION.states.get(each) != "solved"]
    if missing:
        raise NotSolved(f"not solved yet: {', '.join(missing)}")
