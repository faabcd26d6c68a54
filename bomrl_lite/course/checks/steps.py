"""The steps that checks are made of: what every function must do, then its values and gradients."""

import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from bomrl_lite.course.checks.engine import Attempt, Question, Step, Wrong, error_of, likely_cause

Complaint = Callable[[Question, np.ndarray], str | None]
"""(question, answer) -> what is wrong with the answer, if anything."""

REPEAT_TOLERANCE = 1e-12
"""Between two calls on the same input: rounding may differ, nothing else."""

REPEATED = 4
"""Questions that are asked a second time."""

SHOWN_ENTRIES = 9
"""Arrays up to this size are printed whole."""


class Pullback(NamedTuple):
    """A question about derivatives: d <weights, answer> / d leaf, where args depend on the leaf."""

    leaf: np.ndarray
    args: Callable[[Tensor], tuple[Any, ...]]
    weights: np.ndarray
    question: Question
    """Its ``expected`` and ``slips`` are gradients; its own ``args`` stay empty."""


def _runs(attempt: Attempt) -> None:
    if not callable(attempt.function):
        raise Wrong(
            f"got a {type(attempt.function).__name__} instead of a function",
            "pass the function itself, without calling it: checks.f(f), not checks.f(f(...))",
        )
    attempt.ask()


def _type(attempt: Attempt) -> None:
    for question, answer in zip(attempt.questions, attempt.returned, strict=True):
        if answer is None:
            raise Wrong(f"{question.label}: expected a tensor, got None", "return is missing")
        if not isinstance(answer, Tensor):
            raise Wrong(
                f"{question.label}: expected a torch tensor, got {type(answer).__name__}",
                "torch.stack makes one tensor of a list of tensors"
                if isinstance(answer, list | tuple)
                else "stay in torch: no .item(), .numpy() or float() on the way",
            )


def _shape(attempt: Attempt) -> None:
    for question, answer in attempt.answers():
        if answer.shape != question.expected.shape:
            raise Wrong(
                f"{question.label}: expected shape {question.expected.shape}, got {answer.shape}"
            )


def _dtype(attempt: Attempt) -> None:
    for question, answer in zip(attempt.questions, attempt.returned, strict=True):
        if answer.dtype != torch.float64:
            raise Wrong(
                f"{question.label}: expected torch.float64 like the input, got {answer.dtype}",
                "torch.eye, zeros, tensor make float32 unless you pass the dtype of the input",
            )


def _inputs_untouched(attempt: Attempt) -> None:
    for question, used in zip(attempt.questions, attempt.used, strict=True):
        for before, after in zip(_leaves(question.args), _leaves(used), strict=True):
            if not torch.equal(before, after):
                raise Wrong(
                    f"{question.label}: expected the arguments as they were, but one of shape "
                    f"{tuple(before.shape)} has changed",
                    "an operation in place (+=, add_, x[...] =); make a new tensor instead",
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


def property_step(name: str, complaint: Complaint) -> Step:
    """Make a step that holds every answer against a property it must have."""

    def run(attempt: Attempt) -> None:
        for question, answer in attempt.answers():
            what = complaint(question, answer)
            if what is not None:
                raise Wrong(f"{question.label}: {what}")

    return Step(name, run)


def differentiable(make_pullbacks: Callable[[], Sequence[Pullback]], tolerance: float) -> Step:
    """Make a step that differentiates through the function and compares with the oracle."""

    def run(attempt: Attempt) -> None:
        pullbacks = make_pullbacks()
        gradients = [_gradient(attempt, pullback) for pullback in pullbacks]
        for pullback, gradient in zip(pullbacks, gradients, strict=True):
            if not error_of(gradient, pullback.question.expected) <= tolerance:
                cause = likely_cause([p.question for p in pullbacks], gradients)
                what = "the gradient of a weighted sum of your answer"
                raise Wrong(
                    f"{what}, {_difference(pullback.question, gradient, tolerance)}",
                    cause or "part of the way is cut off from the gradient (.detach(), no_grad)",
                )

    return Step("differentiable", run)


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
            ".detach(), .item(), .numpy(), torch.tensor(...) or no_grad on the way, or "
            "torch.autograd.grad without create_graph=True",
        )
    return gradient.numpy()


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
        yield args.detach()
    elif isinstance(args, tuple | list):
        for part in args:
            yield from _leaves(part)
