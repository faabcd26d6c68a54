"""The steps that checks are made of: what every function must do, then its values and gradients."""

import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from bomrl_lite.course.checks.engine import (
    CLOSE,
    NOT_FINITE,
    Attempt,
    Question,
    Step,
    Wrong,
    error_of,
    likely_cause,
)
from bomrl_lite.course.checks.likeness import Pair, likeness

Complaint = Callable[[Question, np.ndarray], str | None]
"""(question, answer) -> what is wrong with the answer, if anything."""

REPEAT_TOLERANCE = 1e-12
"""Between two calls on the same input: rounding may differ, nothing else."""

REPEATED = 4
"""Questions that are asked a second time."""

SHOWN_ENTRIES = 9
"""Arrays up to this size are printed whole."""


OTHER_DERIVATIVE = (
    "the values are right, their derivative is another one: look at what multiplies what, and at "
    "what is held constant"
)
"""Where no known slip explains a derivative, and nothing is cut off altogether."""

VAGUE = (NOT_FINITE, CLOSE, OTHER_DERIVATIVE)
"""Causes that are true of many mistakes, and name none."""


class Pullback(NamedTuple):
    """A question about derivatives: d <weights, answer> / d leaf, where args depend on the leaf."""

    leaf: np.ndarray
    args: Callable[[Tensor], tuple[Any, ...]]
    weights: np.ndarray
    question: Question
    """Its ``expected`` and ``slips`` are gradients; its own ``args`` stay empty."""
    inputs: tuple[str, ...] = ()
    """Names of the arguments that are stacked in the leaf, if it holds several."""


def _runs(attempt: Attempt) -> None:
    if not callable(attempt.function):
        raise Wrong(
            f"got a {type(attempt.function).__name__} instead of a function",
            "pass the function itself, without calling it: checks.f(f), not checks.f(f(...))",
        )
    attempt.ask()


def _type(attempt: Attempt) -> None:
    for question, answer in zip(attempt.questions, attempt.returned, strict=True):
        if not isinstance(answer, Tensor):
            what = "None" if answer is None else type(answer).__name__
            raise Wrong(f"{question.label}: expected a torch tensor, got {what}", _why(answer))


def _why(answer: Any) -> str:
    """Say why an answer is no tensor."""
    if answer is None:
        return "return is missing"
    if isinstance(answer, list | tuple):
        return "torch.stack makes one tensor of a list of tensors"
    if callable(answer):
        return "a function is returned: call it, as in torch.func.grad(f)(x)"
    return (
        "stay in torch: no .item(), .numpy() or float() on the way; torch.tensor(x, dtype=...) "
        "makes a tensor of a number that is known"
    )


def _shape(attempt: Attempt) -> None:
    for question, answer in attempt.answers():
        wanted, got = question.expected.shape, answer.shape
        if got != wanted:
            raise Wrong(
                f"{question.label}: expected shape {wanted}, got {got}",
                _first_clear(attempt.cause, _why_shape(wanted, got)),
            )


def _first_clear(found: str | None, known: str | None) -> str | None:
    """Prefer what a step knows to a cause that says little."""
    return known if known and found in (None, *VAGUE) else found


def _why_shape(wanted: tuple[int, ...], got: tuple[int, ...]) -> str | None:
    """Say in which way a shape is wrong."""
    without = lambda shape: [shape[:i] + shape[i + 1 :] for i in range(len(shape))]  # noqa: E731
    if sorted(wanted) == sorted(got):
        return "dimensions have changed places: a transpose, or a stack along another dimension"
    if [n for n in wanted if n != 1] == [n for n in got if n != 1]:
        return "a dimension of size 1 is there or missing: keepdim, [None], squeeze()"
    if not got:
        return "one number is left: a sum, mean or maximum over all dimensions"
    if got in without(wanted):
        return "a dimension is missing: it was summed, averaged or indexed away"
    if wanted in without(got):
        return "a dimension is left over: a sum, mean or choice over it is missing"
    return None


def _dtype(attempt: Attempt) -> None:
    for question, answer in zip(attempt.questions, attempt.returned, strict=True):
        if answer.dtype != torch.float64:
            raise Wrong(
                f"{question.label}: expected torch.float64 like the input, got {answer.dtype}",
                "float32 comes from .float(), or from torch.eye, zeros, tensor without the dtype "
                "of the input"
                if answer.is_floating_point()
                else ".double() makes float64 of truth values and whole numbers",
            )


def _inputs_untouched(attempt: Attempt) -> None:
    for question, used in zip(attempt.questions, attempt.used, strict=True):
        given, left = list(_leaves(question.args)), list(_leaves(used))
        same_number = len(given) == len(left)
        for before, after in zip(given, left, strict=False):
            as_it_was = f"{question.label}: expected the arguments as they were, but one of shape "
            if not torch.equal(before, after):
                raise Wrong(
                    f"{as_it_was}{tuple(before.shape)} has changed",
                    "an operation in place (+=, /=, add_, x[...] =); make a new tensor instead",
                )
            if before.requires_grad != after.requires_grad or after.grad is not None:
                raise Wrong(
                    f"{as_it_was}{tuple(before.shape)} now records a gradient",
                    "requires_grad_() on an argument stays there after the call, and later cells "
                    "stumble over it: call it on x.detach().clone(), or use torch.func.grad",
                )
        if not same_number:
            raise Wrong(
                f"{question.label}: a list among the arguments has another length after the call",
                "append, pop, remove change the caller's list; make a new one instead",
            )


def _repeatable(attempt: Attempt) -> None:
    asked = zip(attempt.answers(), attempt.used, strict=True)
    for (question, first), used in itertools.islice(asked, REPEATED):
        if not _same(attempt.call(*used), first):
            raise Wrong(
                f"{question.label}: two calls with the same arguments gave two answers",
                "randomness, a global that the function changes, or .grad that .backward() adds to",
            )


OPENING = (
    Step("runs", _runs),
    Step("type", _type),
    Step("shape", _shape),
    Step("dtype", _dtype),
    Step("inputs untouched", _inputs_untouched),
    Step("repeatable", _repeatable),
)
"""What is asked of every function, before its values."""


def _by_hand(attempt: Attempt) -> None:
    _compare(attempt, by_hand=True)


def _random_values(attempt: Attempt) -> None:
    _compare(attempt, by_hand=False)


VALUES = (Step("by hand", _by_hand), Step("random values", _random_values))
"""The small case that paper can solve, then random instances against the oracle."""


def property_step(name: str, complaint: Complaint, cause: str | None = None) -> Step:
    """Make a step that holds every answer against a property it must have.

    Args:
        name: of the step.
        complaint: what is wrong with an answer.
        cause: the likely one, if no known slip explains the answers.
    """

    def run(attempt: Attempt) -> None:
        for question, answer in attempt.answers():
            what = complaint(question, answer)
            if what is not None:
                raise Wrong(f"{question.label}: {what}", _first_clear(attempt.cause, cause))

    return Step(name, run)


def differentiable(
    make_pullbacks: Callable[[], Sequence[Pullback]],
    tolerance: float,
    *,
    transformed: bool = False,
) -> Step:
    """Make a step that differentiates through the function and compares with the oracle.

    Args:
        make_pullbacks: the questions; called when first needed.
        tolerance: largest error of a right gradient, as that of a check.
        transformed: whether torch.func.grad has to do it, too, because other cells use it.
    """

    def run(attempt: Attempt) -> None:
        pullbacks = make_pullbacks()
        gradients = [_gradient(attempt, pullback) for pullback in pullbacks]
        for pullback, gradient in zip(pullbacks, gradients, strict=True):
            if not error_of(gradient, pullback.question.expected) <= tolerance:
                what = "the gradient of a weighted sum of your answer"
                raise Wrong(
                    f"{what}, {_difference(pullback.question, gradient, tolerance)}",
                    cause_of_derivatives(pullbacks, gradients, tolerance),
                )
        if transformed:
            again = _gradient_by_transform(attempt, pullbacks[0])
            if not error_of(again, gradients[0]) <= tolerance:
                raise Wrong(
                    "under torch.func.grad, the gradient of a weighted sum of your answer is "
                    f"another one, {_difference(pullbacks[0].question, again, tolerance)}",
                    ".detach() or no_grad inside hides the input from torch.func.grad",
                )

    return Step("differentiable", run)


def cause_of_derivatives(
    pullbacks: Sequence[Pullback], found: Sequence[np.ndarray], tolerance: float
) -> str:
    """Say why derivatives of right values are wrong."""
    pairs = list(zip(pullbacks, found, strict=True))
    wrong = [p for p, x in pairs if not error_of(x, p.question.expected) <= tolerance]
    if all(pullback.question.separates for pullback in wrong):
        return str(wrong[0].question.separates)
    cause = likely_cause([pullback.question for pullback in pullbacks], found) or likeness(
        [Pair(p.question.expected, x, {}) for p, x in pairs if not p.question.separates]
    )
    if cause:
        return cause
    usual = [(p, x) for p, x in pairs if not p.question.separates]
    names = usual[0][0].inputs
    cut = [name for i, name in enumerate(names) if all(not x[i].any() for _, x in usual)]
    if cut or all(not x.any() for _, x in usual):
        where = f" to {' and '.join(cut)}" if cut else ""
        return f"no gradient comes through{where}: .detach(), no_grad or .item() cuts it off"
    return OTHER_DERIVATIVE


def _compare(attempt: Attempt, *, by_hand: bool) -> None:
    for index, (question, answer) in enumerate(attempt.compared()):
        if question.by_hand != by_hand:
            continue
        error = error_of(answer, question.expected)
        if not error <= attempt.tolerance:
            difference = _difference(question, answer, attempt.tolerance)
            call = f"{attempt.name}(*checks.{attempt.name}.example({index}))"
            raise Wrong(f"{difference}\n  To look at it: {call}")
        attempt.largest_error = max(attempt.largest_error, error)


def _difference(question: Question, got: np.ndarray, tolerance: float) -> str:
    """Say where an answer is furthest from the oracle's, or show both if they are small."""
    expected, error = question.expected, error_of(got, question.expected)
    note = f"(error {error:.1e}, tolerance {tolerance:.0e})"
    if expected.size <= SHOWN_ENTRIES:
        shown, theirs = (np.round(x, 6).tolist() for x in (expected, got))
        return f"{question.label}: expected {shown}, got {theirs} {note}"
    where = np.unravel_index(np.argmax(np.abs(got - expected)), got.shape)
    place = [int(i) for i in where]
    return (
        f"{question.label}: expected {expected[where]:.9g} at {place}, got {got[where]:.9g} {note}"
    )


def _gradient(attempt: Attempt, pullback: Pullback) -> np.ndarray:
    """Differentiate <weights, answer> in the leaf by torch's autograd."""
    leaf = torch.tensor(pullback.leaf, requires_grad=True)
    answer = attempt.call(*pullback.args(leaf))
    gradient = None
    if getattr(answer, "requires_grad", False):
        weighted = (answer * torch.tensor(pullback.weights)).sum()
        (gradient,) = torch.autograd.grad(weighted, leaf, allow_unused=True)
    if gradient is None:
        raise Wrong(
            f"{pullback.question.label}: no gradient flows from your answer back to the input",
            "the input is not used, or cut off: by .detach(), .item(), .numpy(), torch.tensor(...) "
            "or no_grad on the way, or by torch.autograd.grad without create_graph=True",
        )
    return gradient.numpy()


def _gradient_by_transform(attempt: Attempt, pullback: Pullback) -> np.ndarray:
    """Differentiate the same by torch.func.grad."""
    weights = torch.tensor(pullback.weights)

    def weighted(leaf: Tensor) -> Tensor:
        return (attempt.call(*pullback.args(leaf)) * weights).sum()

    try:
        return torch.func.grad(weighted)(torch.tensor(pullback.leaf)).numpy()
    except Wrong as wrong:
        raise Wrong(f"under torch.func.grad: {wrong.message}", wrong.cause) from None


def _same(again: Any, first: np.ndarray) -> bool:
    if not isinstance(again, Tensor) or again.shape != first.shape:
        return False
    values = again.detach().numpy()
    # nan and infinity are judged with the values; here they only have to come again
    other = (values != first) & ~(np.isnan(values) & np.isnan(first))
    return error_of(values[other], first[other]) <= REPEAT_TOLERANCE


def _leaves(args: Any) -> Iterator[Tensor]:
    """Walk through all tensors of nested arguments, in a fixed order."""
    if isinstance(args, Tensor):
        yield args
    elif isinstance(args, tuple | list):
        for part in args:
            yield from _leaves(part)
