"""Steps of exercise set 02: what must not count, second derivatives, sums over every path."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bomrl_lite.course.checks.engine import Attempt, Question, Step, Wrong, error_of
from bomrl_lite.course.checks.set02 import cases as pool
from bomrl_lite.course.checks.set02 import questions
from bomrl_lite.course.checks.steps import Pullback, cause_of_derivatives


def counts_padding(question: Question, answer: np.ndarray) -> str | None:
    """Complain of numbers other than 0 where the mask is 0."""
    mask = question.args[1].numpy()
    stray = np.argwhere((mask == 0) & (answer != 0))
    if not len(stray):
        return None
    place = tuple(int(i) for i in stray[0])
    return f"expected 0 at padding, got {answer[place]:.9g} at {list(place)}"


def beats_the_ratio(attempt: Attempt) -> None:
    """Look, without the penalty, for an objective above the one without clipping."""
    for question in attempt.questions:
        log_probs, old, advantages, *rest, _ = question.args
        plain = float(((log_probs - old).exp() * advantages).mean())
        answer = float(attempt.call(log_probs, old, advantages, *rest, 0.0))
        if not answer <= plain + 1e-9:
            raise Wrong(
                f"{question.label}, with penalty = 0: clipping takes gains away and never adds "
                f"any; expected at most the objective without it, {plain:.9g}, got {answer:.9g}",
                attempt.cause or "the smaller of both gains counts, sample by sample",
            )


def ignores(name: str, change: Callable[..., tuple[Any, ...]], what: str, cause: str) -> Step:
    """Make a step that changes what must not count, and looks whether the answer moves."""

    def run(attempt: Attempt) -> None:
        for question, answer in attempt.answers():
            moved = attempt.call(*change(*question.args)).detach().numpy()
            if error_of(moved, answer) > attempt.tolerance:
                away = float(np.nanmax(np.abs(moved - answer)))
                raise Wrong(
                    f"{question.label}: {what} changed, and your answer moved by {away:.6g}",
                    attempt.cause or cause,
                )

    return Step(name, run)


def other_padding(rewards: Tensor, mask: Tensor, *rest: Any) -> tuple[Any, ...]:
    """Change rewards at padding."""
    return torch.where(mask > 0, rewards, 7.0 - rewards), mask, *rest


def other_padding_of_both(
    rewards: Tensor, mask: Tensor, terminated: Tensor, values: Tensor, *rest: Any
) -> tuple[Any, ...]:
    """Change rewards and values at padding."""
    rewards, values = (torch.where(mask > 0, x, 7.0 - x) for x in (rewards, values))
    return rewards, mask, terminated, values, *rest


def other_ends(rewards: Tensor, mask: Tensor, terminated: Tensor, *rest: Any) -> tuple[Any, ...]:
    """Change the values after the last step where the episode ended by itself."""
    *middle, final_values, gamma = rest
    return rewards, mask, terminated, *middle, final_values + 5 * terminated, gamma


def other_ends_of_values(*args: Any) -> tuple[Any, ...]:
    """Change the same among arguments that end with the trace."""
    *front, trace = args
    return *other_ends(*front), trace


def second_derivative(
    name: str, make_pullbacks: Callable[[], Sequence[Pullback]], tolerance: float
) -> Step:
    """Make a step that differentiates through the function twice."""

    def run(attempt: Attempt) -> None:
        pullbacks = make_pullbacks()
        bends = [_bend(attempt, pullback) for pullback in pullbacks]
        for pullback, bend in zip(pullbacks, bends, strict=True):
            question = pullback.question
            error = error_of(bend, question.expected)
            if not error <= tolerance:
                i, j = np.unravel_index(np.argmax(np.abs(bend - question.expected)), bend.shape)
                raise Wrong(
                    f"second derivatives of your answer, {question.label}: expected "
                    f"{question.expected[i, j]:.9g} at {[int(i), int(j)]}, got {bend[i, j]:.9g} "
                    f"(error {error:.1e}, tolerance {tolerance:.0e})",
                    cause_of_derivatives(pullbacks, bends, tolerance),
                )

    return Step(name, run)


def _bend(attempt: Attempt, pullback: Pullback) -> np.ndarray:
    """Return the second derivatives of the answer in the leaf by torch's autograd, [n, n]."""
    leaf = torch.tensor(pullback.leaf, requires_grad=True)
    answer = attempt.call(*pullback.args(leaf))
    (slope,) = torch.autograd.grad(answer, leaf, create_graph=True)
    rows = []
    for entry in slope.flatten():
        row = None
        if entry.requires_grad:
            (row,) = torch.autograd.grad(entry, leaf, retain_graph=True, allow_unused=True)
        rows.append(torch.zeros_like(leaf) if row is None else row)
    return torch.stack(rows).flatten(1).numpy()


def every_path_of_q(attempt: Attempt) -> None:
    """Compare averages over all paths that begin with (s, a) with the gradient of Q_0(s, a)."""
    for label, scored, weights, expected in questions.first_q_gradients():
        answer = attempt.call(*pool.q_gradient_args(scored)).detach().numpy()
        _compare(f"the average over {label}, at step 0", weights @ answer[:, 0], expected)


def every_path_of_terms(attempt: Attempt) -> None:
    """Compare the three terms over all paths of a game with its exact Hessian's."""
    for label, scored, expected in questions.game_splits():
        answer = attempt.call(*pool.split_args(scored)).detach().numpy()
        for name, got, wanted in zip(("H1", "H2", "H12"), answer, expected, strict=True):
            _compare(f"{name}, {label}", got, wanted)


def _compare(label: str, got: np.ndarray, expected: np.ndarray) -> None:
    error = error_of(got, expected)
    if not error <= 1e-8:
        shown, theirs = (np.round(x, 6).tolist() for x in (expected, got))
        raise Wrong(f"{label}: expected {shown}, got {theirs} (error {error:.1e})")
