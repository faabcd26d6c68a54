"""Exercise set 02: returns and advantages of episodes, the objectives of LVC, DiCE, E-MAML, ProMP.

Episodes are tables [B, T] of numbers, ``log_probs`` those of log pi_phi(a_t | s_t), which record a
gradient; at padding they are 0.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bomrl_lite import returns as package
from bomrl_lite.action_distributions import Categorical
from bomrl_lite.course.checks import _cases02 as pool
from bomrl_lite.course.checks import _questions02 as questions
from bomrl_lite.course.checks import _slips02 as slips
from bomrl_lite.course.checks._engine import (
    Attempt,
    Check,
    Question,
    Step,
    Wrong,
    error_of,
    likely_cause,
)
from bomrl_lite.course.checks._steps import (
    OPENING,
    VALUES,
    Pullback,
    differentiable,
    property_step,
)
from bomrl_lite.types import Rollout

# Properties and steps of their own.


def _counts_padding(question: Question, answer: np.ndarray) -> str | None:
    mask = question.args[1].numpy()
    stray = np.argwhere((mask == 0) & (answer != 0))
    if not len(stray):
        return None
    place = tuple(int(i) for i in stray[0])
    return f"expected 0 at padding, got {answer[place]:.9g} at {list(place)}"


def _beats_the_ratio(question: Question, answer: np.ndarray) -> str | None:
    log_probs, old, advantages, prior, old_prior, _, penalty = question.args
    plain = ((log_probs - old).exp() * advantages).mean()
    paid = penalty * (old_prior.exp() * (old_prior - prior)).sum(-1).mean()
    if answer <= (plain - paid).item() + 1e-9:
        return None
    return (
        "clipping takes gains away and never adds any: expected at most the objective without it, "
        f"{plain - paid:.9g}, got {float(answer):.9g}"
    )


def _ignores(name: str, change: Callable[..., tuple[Any, ...]], what: str, cause: str) -> Step:
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


def _other_padding(rewards: Tensor, mask: Tensor, *rest: Any) -> tuple[Any, ...]:
    return torch.where(mask > 0, rewards, 7.0 - rewards), mask, *rest


def _other_padding_of_both(
    rewards: Tensor, mask: Tensor, terminated: Tensor, values: Tensor, *rest: Any
) -> tuple[Any, ...]:
    rewards, values = (torch.where(mask > 0, x, 7.0 - x) for x in (rewards, values))
    return rewards, mask, terminated, values, *rest


def _other_ends(rewards: Tensor, mask: Tensor, terminated: Tensor, *rest: Any) -> tuple[Any, ...]:
    *middle, final_values, gamma = rest
    return rewards, mask, terminated, *middle, final_values + 5 * terminated, gamma


def _other_ends_of_values(*args: Any) -> tuple[Any, ...]:
    *front, trace = args
    return *_other_ends(*front), trace


def _second_derivative(
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
                    likely_cause([p.question for p in pullbacks], bends),
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


def _every_path_of_q(attempt: Attempt) -> None:
    for label, scored, weights, expected in questions.first_q_gradients():
        answer = attempt.call(*pool.q_gradient_args(scored)).detach().numpy()
        _compare(attempt, f"the average over {label}, at step 0", weights @ answer[:, 0], expected)


def _every_path_of_terms(attempt: Attempt) -> None:
    for label, scored, expected in questions.game_splits():
        answer = attempt.call(*pool.split_args(scored)).detach().numpy()
        for name, got, wanted in zip(("H1", "H2", "H12"), answer, expected, strict=True):
            _compare(attempt, f"{name}, {label}", got, wanted)


def _compare(attempt: Attempt, label: str, got: np.ndarray, expected: np.ndarray) -> None:
    error = error_of(got, expected)
    if not error <= 1e-8:
        shown, theirs = (np.round(x, 6).tolist() for x in (expected, got))
        raise Wrong(f"{label}: expected {shown}, got {theirs} (error {error:.1e})")


# References: the package's functions in the exercises' signatures. They are never oracles.


def _rollout(rewards: Tensor, mask: Tensor, terminated: Tensor) -> Rollout:
    nowhere = torch.zeros_like(mask, dtype=torch.int64)
    return Rollout(nowhere, nowhere, 0 * mask, rewards, mask, nowhere[..., 0], terminated.bool())


def _discounted_returns(
    rewards: Tensor, mask: Tensor, terminated: Tensor, final_values: Tensor, gamma: float
) -> Tensor:
    rollout = _rollout(rewards, mask, terminated)
    return package.discounted_returns(rollout, gamma, final_values=final_values)


def _generalised_advantages(
    rewards: Tensor,
    mask: Tensor,
    terminated: Tensor,
    values: Tensor,
    final_values: Tensor,
    gamma: float,
    trace: float,
) -> Tensor:
    rollout = _rollout(rewards, mask, terminated)
    return package.generalised_advantages(rollout, values, final_values, gamma=gamma, trace=trace)


def _lvc_objective(log_probs: Tensor, returns: Tensor, weights: Tensor, gamma: float) -> Tensor:
    gains = package.magic_box(log_probs) * returns
    return weights @ package.discounted_sums(gains, gamma)[:, 0]


def _dice_objective(log_probs: Tensor, rewards: Tensor, weights: Tensor, gamma: float) -> Tensor:
    shares = len(weights) * weights[:, None]  # the package's is a plain mean over episodes
    return package.dice_objective(log_probs, shares * rewards, gamma=gamma)


def _q_gradient(scores: Tensor, credit: Tensor, gamma: float, trace: float) -> Tensor:
    gained = (scores * credit.unsqueeze(-1)).mT
    return package.discounted_sums(gained, gamma * trace, start=1).mT


def _hessian_split(
    scores: Tensor, curvatures: Tensor, returns: Tensor, weights: Tensor, gamma: float
) -> Tensor:
    def total(each: Tensor) -> Tensor:
        sums = package.discounted_sums(each.movedim(1, -1), gamma)[..., 0]
        return torch.tensordot(weights, sums, dims=1)

    columns, rows = scores.unsqueeze(-1), scores.unsqueeze(-2)
    gained = returns[..., None, None]
    later = _q_gradient(scores, returns, gamma, 1.0).unsqueeze(-2)
    terms = gained * columns * rows, gained * curvatures, columns * later
    return torch.stack([total(each) for each in terms])


def _e_maml_objective(log_probs: Tensor, after: Tensor, weights: Tensor) -> Tensor:
    return weights @ (package.magic_box(log_probs.sum((-1, -2))) * after)


def _promp_objective(
    log_probs: Tensor,
    old_log_probs: Tensor,
    advantages: Tensor,
    prior: Tensor,
    old_prior: Tensor,
    clip: float,
    penalty: float,
) -> Tensor:
    ratio = (log_probs - old_log_probs).exp()
    limited = ratio.clamp(1 - clip, 1 + clip) * advantages
    divergence = Categorical(old_prior).kl(Categorical(prior)).mean()
    return torch.minimum(ratio * advantages, limited).mean() - penalty * divergence


discounted_returns = Check(
    "2.1",
    "discounted_returns",
    _discounted_returns,
    questions.discounted_returns,
    (
        *OPENING,
        property_step("0 at padding", _counts_padding),
        _ignores("padding", _other_padding, "only rewards at padding", slips.PADDING),
        _ignores(
            "termination",
            _other_ends,
            "only final_values of episodes that ended by themselves",
            slips.TAIL_AT_END,
        ),
        *VALUES,
    ),
)

generalised_advantages = Check(
    "2.2",
    "generalised_advantages",
    _generalised_advantages,
    questions.generalised_advantages,
    (
        *OPENING,
        property_step("0 at padding", _counts_padding),
        _ignores(
            "padding", _other_padding_of_both, "only rewards and values at padding", slips.PADDING
        ),
        _ignores(
            "termination",
            _other_ends_of_values,
            "only final_values of episodes that ended by themselves",
            slips.TAIL_AT_END,
        ),
        *VALUES,
    ),
)

lvc_objective = Check(
    "2.3",
    "lvc_objective",
    _lvc_objective,
    questions.lvc_objective,
    (
        *OPENING,
        *VALUES,
        differentiable(questions.lvc_gradients, 1e-8),
        _second_derivative("second derivative", questions.lvc_hessians, 1e-7),
        differentiable(questions.lvc_paths, 1e-8)._replace(name="every path"),
    ),
)

dice_objective = Check(
    "2.4",
    "dice_objective",
    _dice_objective,
    questions.dice_objective,
    (
        *OPENING,
        *VALUES,
        differentiable(questions.dice_gradients, 1e-8),
        _second_derivative("second derivative", questions.dice_hessians, 1e-7),
        _second_derivative("every path", questions.dice_paths, 1e-7),
    ),
)

q_gradient = Check(
    "2.5",
    "q_gradient",
    _q_gradient,
    questions.q_gradient,
    (*OPENING, *VALUES, Step("every path", _every_path_of_q)),
)

hessian_split = Check(
    "2.6",
    "hessian_split",
    _hessian_split,
    questions.hessian_split,
    (*OPENING, *VALUES, Step("every path", _every_path_of_terms)),
)

e_maml_objective = Check(
    "2.7",
    "e_maml_objective",
    _e_maml_objective,
    questions.e_maml_objective,
    (
        *OPENING,
        *VALUES,
        differentiable(questions.e_maml_gradients, 1e-8),
        differentiable(questions.e_maml_data_sets, 1e-8)._replace(name="every data set"),
    ),
)

promp_objective = Check(
    "2.8",
    "promp_objective",
    _promp_objective,
    questions.promp_objective,
    (
        *OPENING,
        property_step("pessimistic", _beats_the_ratio),
        *VALUES,
        differentiable(questions.promp_gradients, 1e-8),
    ),
)

CHECKS = (
    discounted_returns,
    generalised_advantages,
    lvc_objective,
    dice_objective,
    q_gradient,
    hessian_split,
    e_maml_objective,
    promp_objective,
)
"""In the order of the exercises."""
