"""Exercise set 04: the implicit function theorem, its solvers, the hypergradients of BO-MRL.

``objective(theta, phi)`` is a function of two tensors, maximised over theta; ``phi`` and ``theta``
of 4.5 to 4.7 are tables [S, A] of logits, ``task`` is a :class:`~bomrl_lite.types.TabularTask`.
"""

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bomrl_lite.adaptation import closed_forms as policywise
from bomrl_lite.adaptation import meta_gradients
from bomrl_lite.adaptation.distances import Distance, d1, d2
from bomrl_lite.course.checks.engine import Attempt, Check, Question, Step, Wrong, error_of
from bomrl_lite.course.checks.set04 import questions, slips
from bomrl_lite.course.checks.set04.oracles import Objective
from bomrl_lite.course.checks.set04.questions import Product
from bomrl_lite.course.checks.steps import OPENING, VALUES, property_step
from bomrl_lite.policies.networks import tabular_softmax
from bomrl_lite.rollout.data import DataFunction, frozen_data, full_data
from bomrl_lite.solvers import implicit
from bomrl_lite.solvers import linear as linalg
from bomrl_lite.types import Params, TabularTask

NEARLY = 1e-4
"""Relative error of a derivative where theta is as good as solved."""

HUGE = 1e6
"""No derivative that 4.1 asks for is near it."""

NOT_CONJUGATE = (
    "A is positive definite here: the iterations go on after the residual is 0, or step, residual "
    "or direction are not those of conjugate gradients, or more is asked of <p, A p> than to be "
    "positive"
)
"""Why conjugate gradients refuse what they should not."""

NEVER_ENDS = "the loop goes on although the residual is small enough, or never gets it there"

# Properties: each returns what is wrong with an answer, or None.


def _does_not_sum_to_0(question: Question, answer: np.ndarray) -> str | None:
    rows = np.atleast_1d(answer.sum(-1))
    worst = int(np.argmax(np.abs(rows)))
    if abs(rows[worst]) <= 1e-9 * max(1.0, float(np.abs(answer).max())):
        return None
    return (
        "probabilities keep their sum, so the entries of a state must sum to 0; those of state "
        f"{worst} sum to {rows[worst]:.9g}"
    )


def _rows_do_not_cancel(question: Question, answer: np.ndarray) -> str | None:
    rows = answer.sum(-1)
    worst = int(np.argmax(np.abs(rows)))
    if abs(rows[worst]) <= 1e-9 * max(1.0, float(np.abs(answer).max())):
        return None
    return (
        "adding a constant to all logits of a state changes no probability, so the entries of a "
        f"state must sum to 0; those of state {worst} sum to {rows[worst]:.9g}"
    )


def _lacks_q(question: Question, answer: np.ndarray) -> str | None:
    frozen = question.slips()[slips.FROZEN]
    expected, got = (float(np.abs(x - frozen).max()) for x in (question.expected, answer))
    if got > 1e-6 * expected or expected < 1e-9:
        return None
    return (
        f"beyond what a constant Q would give, expected entries up to {expected:.6g}, got {got:.6g}"
    )


def _has_q(question: Question, answer: np.ndarray) -> str | None:
    if error_of(answer, question.slips()[slips.NOT_FROZEN]) > 1e-9:
        return None
    beyond = float(np.abs(answer - question.expected).max())
    return f"expected Q held constant, got the full hypergradient, {beyond:.6g} away from it"


def _misses_the_tolerance(question: Question, answer: np.ndarray) -> str | None:
    product, b, tolerance = question.args
    return _residual_complaint(product.matrix.numpy(), b.numpy(), answer, tolerance)


def _residual_complaint(
    matrix: np.ndarray, b: np.ndarray, x: np.ndarray, tolerance: float
) -> str | None:
    residual = float(np.linalg.norm(b - matrix @ x))
    # the residual that a solver keeps drifts from b - A x by rounding
    if residual <= (1.01 * tolerance + 1e-13) * np.linalg.norm(b):
        return None
    share = residual / max(float(np.linalg.norm(b)), np.finfo(float).tiny)
    return f"expected ||b - A x|| <= {tolerance:.0e} ||b||, got {share:.1e} ||b||"


# Steps of their own.


def _stops_in_time(attempt: Attempt) -> None:
    for label, matrix, b, tolerance, most, early in questions.costs():
        product = Product(matrix)
        try:
            answer = attempt.call(product, torch.tensor(b), tolerance)
        except Wrong as wrong:
            raise Wrong(
                f"{label}: {wrong.message}",
                wrong.cause or (NOT_CONJUGATE if "ValueError: " in wrong.message else NEVER_ENDS),
            ) from None
        complaint = _residual_complaint(matrix, b, answer.detach().numpy(), tolerance)
        if complaint is not None:
            raise Wrong(f"{label}: {complaint}", early)
        if product.count > most:
            raise Wrong(
                f"{label}: expected at most {most} products with A, got {product.count}",
                _why_so_many(product.count, most, len(b)),
            )


def _why_so_many(count: int, most: int, size: int) -> str:
    """Say what a solver does that takes too many products with A."""
    if count == size:
        return "A is written out column by column: that takes a product for every unknown"
    if count <= 2 * most:
        return "there are two products with A in every iteration: keep the result of the first"
    return "the loop does not end once the residual is small, or the directions are not conjugate"


def _nearly_solved(attempt: Attempt) -> None:
    """Ask where the gradient of F is small enough, if not 0."""
    limit = "the limit is 1e-6 for the norm of the gradient of F: below it, do not refuse"
    for question in questions.implicit_vjp()[1:4]:
        label = "theta where the gradient of F has norm 3e-7"
        try:
            answer = attempt.call(*questions.sloping(question, 3e-7)).detach().numpy()
        except Wrong as wrong:
            raise Wrong(f"{label}: {wrong.message}", limit) from None
        if not error_of(answer, question.expected) <= NEARLY:
            shown, theirs = (np.round(x, 6).tolist() for x in (question.expected, answer))
            raise Wrong(f"{label}: expected about {shown}, got {theirs}", limit)


def _divides_by_nothing(attempt: Attempt) -> None:
    """Look for derivatives that are infinite, or as good as."""
    found = [float(answer) for _, answer in attempt.answers()]
    if all(not abs(x) < HUGE for x in found):
        raise Wrong(
            f"expected moderate derivatives, got {found[0]:.3g}, {found[1]:.3g} and the like",
            "the division is by F_theta, which is 0 at an argmax: -F_phi / F_theta is the slope of "
            "a level line",
        )


def _raises_value_error(
    name: str, make_calls: Callable[[], Sequence[tuple[str, tuple[Any, ...]]]], cause: str
) -> Step:
    def run(attempt: Attempt) -> None:
        for label, args in make_calls():
            try:
                answer = attempt.function(*args)
            except ValueError:
                continue
            except Exception as error:
                what = f"{type(error).__name__}: {error}"
                raise Wrong(
                    f"{label}: expected a ValueError, got {what}",
                    "say so with raise ValueError(...), which callers can catch",
                ) from None
            shown = answer.tolist() if isinstance(answer, Tensor) else answer
            raise Wrong(f"{label}: expected a ValueError, got {shown}", cause)

    return Step(name, run)


def _knows_directions(step: Step) -> Step:
    """Make a step of conjugate gradients that looks at their second direction when it fails."""

    def run(attempt: Attempt) -> None:
        try:
            step.run(attempt)
        except Wrong as wrong:
            raise Wrong(wrong.message, _slip_in_direction(attempt) or wrong.cause) from None

    return Step(step.name, run)


def _slip_in_direction(attempt: Attempt) -> str | None:
    """Name the known slip that explains the second direction, if one does."""
    matrix, b, tolerance = questions.a_system()
    product = Product(matrix)
    with suppress(Wrong):
        attempt.call(product, torch.tensor(b), tolerance)
    known = slips.second_direction(matrix, b)
    return next(
        (
            cause
            for cause, second in known.items()
            if len(product.directions) == 2 and error_of(product.directions[1], second) <= 1e-9
        ),
        None,
    )


def _runs(known: str) -> Step:
    """Make the first step, which knows why a function refuses what it should not refuse."""

    def run(attempt: Attempt) -> None:
        try:
            OPENING[0].run(attempt)
        except Wrong as wrong:
            cause = known if "ValueError: " in wrong.message else None
            raise Wrong(wrong.message, cause or wrong.cause) from None

    return Step("runs", run)


# References: the package's functions in the exercises' signatures. They are never oracles.


def _in_params(objective: Objective) -> implicit.InnerObjective:
    return lambda theta, phi: objective(theta["x"], phi["x"])


def _implicit_vjp(objective: Objective, theta: Tensor, phi: Tensor, cotangent: Tensor) -> Tensor:
    vectors: list[Params] = [{"x": x} for x in (theta, phi, cotangent)]
    try:
        pulled, _ = implicit.implicit_vjp(_in_params(objective), *vectors)
    except implicit.UnsolvedInnerProblem as error:
        raise ValueError(str(error)) from error
    return pulled["x"]


def _implicit_derivative(objective: Objective, theta: Tensor, phi: Tensor) -> Tensor:
    return _implicit_vjp(objective, theta, phi, torch.ones_like(theta))


def _conjugate_gradient(matvec: Callable[[Tensor], Tensor], b: Tensor, tolerance: float) -> Tensor:
    if not b.any():
        return torch.zeros_like(b)
    iterations, x, info = 2, {"x": b}, None
    known: dict[bytes, Tensor] = {}

    def product(v: Params) -> Params:
        key = v["x"].numpy().tobytes()
        if key not in known:
            known[key] = matvec(v["x"])
        return {"x": known[key]}

    # the package's solver does a fixed number of iterations: give it more until they suffice,
    # and ask for no product twice
    while info is None or info.residual > tolerance:
        x, info = linalg.conjugate_gradient(
            product,
            {"x": b},
            tolerance=tolerance,
            max_iterations=iterations,
        )
        if not info.curvature > 0:
            raise ValueError(f"A is not positive definite: <p, A p> / <p, p> = {info.curvature}")
        iterations += max(2, iterations // 8)
    return x["x"]


def _simplex_solve(m: Tensor, c: Tensor) -> Tensor:
    if c.ndim == 1:
        return policywise.simplex_solve(m[None], c[None])[0]
    return policywise.simplex_solve(m, c)


def _bomrl(distance: Distance, data: DataFunction = full_data) -> Callable[..., Tensor]:
    def hypergradient(phi: Tensor, task: TabularTask, gamma: float, lam: float) -> Tensor:
        gradient, _ = meta_gradients.bomrl(
            {"logits": phi},
            task,
            policy=tabular_softmax(*phi.shape),
            gamma=gamma,
            distance=distance,
            lam=lam,
            data=data,
        )
        return gradient["logits"]

    return hypergradient


def _hypergradient_d1(
    phi: Tensor, adapted_probs: Tensor, task: TabularTask, gamma: float, lam: float
) -> Tensor:
    del adapted_probs  # solved for again
    return _bomrl(d1)(phi, task, gamma, lam)


def _unrolled_hypergradient(
    objective: Objective,
    outer: Callable[[Tensor], Tensor],
    phi: Tensor,
    step_size: float,
    num_steps: int,
) -> Tensor:
    return implicit.unrolled_hypergradient(
        _in_params(objective),
        lambda theta: outer(theta["x"]),
        {"x": phi},
        step_size=step_size,
        num_steps=num_steps,
    )["x"]


implicit_derivative = Check(
    "4.1",
    "implicit_derivative",
    _implicit_derivative,
    questions.implicit_derivative,
    (*OPENING, Step("moderate", _divides_by_nothing), *VALUES),
    points={"random values": 2},
)

conjugate_gradient = Check(
    "4.2",
    "conjugate_gradient",
    _conjugate_gradient,
    questions.conjugate_gradient,
    (
        _knows_directions(_runs(NOT_CONJUGATE)),
        *OPENING[1:],
        *map(_knows_directions, VALUES),
        property_step("residual", _misses_the_tolerance),
        _knows_directions(Step("stops in time", _stops_in_time)),
        _raises_value_error(
            "indefinite matrix",
            questions.indefinite,
            "<p, A p> is not tested: where it is not positive, A is not positive definite",
        ),
    ),
    points={"random values": 2, "stops in time": 1, "indefinite matrix": 1},
)

implicit_vjp = Check(
    "4.3",
    "implicit_vjp",
    _implicit_vjp,
    questions.implicit_vjp,
    (
        _runs(
            "theta is the argmax here, and MINUS the Hessian is positive definite: the matrix of "
            "the system has the wrong sign, or what is tested is not the gradient of F in theta, "
            "or its limit is far below 1e-6"
        ),
        *OPENING[1:],
        *VALUES,
        _raises_value_error(
            "unsolved inner problem",
            questions.unsolved_inner,
            "the norm of the gradient of F in theta is not tested, or with a limit above 1e-6: it "
            "is 0 at an argmax",
        ),
        Step("nearly solved", _nearly_solved),
    ),
    points={"random values": 2, "unsolved inner problem": 1, "nearly solved": 1},
)

simplex_solve = Check(
    "4.4",
    "simplex_solve",
    _simplex_solve,
    questions.simplex_solve,
    (*OPENING, property_step("sums to 0", _does_not_sum_to_0), *VALUES),
    points={"random values": 2},
)

hypergradient = Check(
    "4.5",
    "hypergradient",
    _bomrl(d2),
    questions.hypergradient,
    (
        *OPENING,
        property_step("rows sum to 0", _rows_do_not_cancel),
        property_step("gradient of Q", _lacks_q),
        *VALUES,
    ),
    points={"random values": 3},
)

frozen_hypergradient = Check(
    "4.6",
    "frozen_hypergradient",
    _bomrl(d2, frozen_data),
    questions.frozen_hypergradient,
    (
        *OPENING,
        property_step("rows sum to 0", _rows_do_not_cancel),
        property_step("no gradient of Q", _has_q),
        *VALUES,
    ),
    points={"random values": 2},
)

hypergradient_d1 = Check(
    "4.7",
    "hypergradient_d1",
    _hypergradient_d1,
    questions.hypergradient_d1,
    (
        *OPENING,
        property_step("rows sum to 0", _rows_do_not_cancel),
        property_step("gradient of Q", _lacks_q),
        *VALUES,
    ),
    points={"random values": 3},
)

unrolled_hypergradient = Check(
    "4.8",
    "unrolled_hypergradient",
    _unrolled_hypergradient,
    questions.unrolled_hypergradient,
    (*OPENING, *VALUES),
    points={"random values": 3},
)

CHECKS = (
    implicit_derivative,
    conjugate_gradient,
    implicit_vjp,
    simplex_solve,
    hypergradient,
    frozen_hypergradient,
    hypergradient_d1,
    unrolled_hypergradient,
)
"""In the order of the exercises."""
