"""The random cases of exercise set 02, and the arguments that functions get of a case."""

from typing import Any

import torch
from torch import Tensor

from bomrl_lite.course.checks.draws import instance, once
from bomrl_lite.course.checks.set02 import games, updates
from bomrl_lite.course.checks.set02 import oracles as episodes
from bomrl_lite.course.checks.set02.games import Game
from bomrl_lite.course.checks.set02.oracles import Batch, Scored
from bomrl_lite.course.checks.set02.updates import Trials, Update

SIZES = ((2, 3, 4, 4), (3, 2, 5, 3), (4, 3, 4, 5), (3, 3, 6, 4))
"""(S, A, B, T) of the random batches."""
DIALS = ((0.5, 0.6), (0.9, 0.8), (0.8, 0.5), (0.7, 0.9))
"""(gamma, trace) of the random batches."""
ROUNDS = 3
"""Random instances of each size."""


@once
def random_batches() -> tuple[Batch, ...]:
    """Return the random batches: seeded, and of several sizes."""
    cases = []
    for seed in range(ROUNDS * len(SIZES)):
        place = seed % len(SIZES)
        cases.append(episodes.random_batch(instance(seed), SIZES[place], *DIALS[place]))
    return tuple(cases)


@once
def discount_edges() -> tuple[tuple[str, Batch, str], ...]:
    """Return batches with gamma and trace at both ends, and what fails there alone."""
    shape = SIZES[0]
    return (
        (
            "gamma = 0",
            episodes.random_batch(900, shape, 0.0, 0.5),
            "gamma may be 0: nothing may be divided by its powers, and 0^0 is 1",
        ),
        (
            "gamma = 1",
            episodes.random_batch(901, shape, 1.0, 0.0),
            "gamma may be 1, and trace 0: nothing may be divided by 1 - gamma or by trace",
        ),
    )


@once
def long_edge() -> tuple[str, Batch, str]:
    """Return episodes in which gamma^t is too small for a floating-point number."""
    return (
        "60 steps, gamma = 1e-6",
        episodes.random_batch(902, (2, 3, 3, 60), 1e-6, 1.0),
        "a division by gamma^t fails in long episodes, where that is 0 in floating point: walk "
        "backwards in time instead",
    )


@once
def scored_edges() -> tuple[tuple[str, Scored, str], ...]:
    """Return the same edges with scores of their own."""
    return tuple(
        (label, episodes.random_scored(900, batch), separates)
        for label, batch, separates in discount_edges()
    )


@once
def random_games() -> tuple[Game, ...]:
    """Return the tiny games whose paths are all walked."""
    return tuple(
        games.random_game(instance(seed), gamma) for seed, gamma in ((0, 0.8), (1, 0.5), (2, 1.0))
    )


@once
def random_scores() -> tuple[Scored, ...]:
    """Return the random batches with scores of their own."""
    return tuple(
        episodes.random_scored(instance(seed), b) for seed, b in enumerate(random_batches())
    )


@once
def random_trials() -> tuple[Trials, ...]:
    """Return random data sets: (S, A, N, B, T) differ."""
    shapes = ((2, 3, 3, 2, 3), (3, 2, 4, 3, 2), (1, 3, 5, 2, 4), (2, 2, 2, 3, 3))
    return tuple(
        updates.random_trials(instance(seed), shapes[seed % len(shapes)])
        for seed in range(ROUNDS * len(shapes))
    )


@once
def random_updates() -> tuple[Update, ...]:
    """Return random samples between two updates: (S, A) differ."""
    sizes = tuple(size[:2] for size in SIZES)
    return tuple(
        updates.random_update(instance(seed), *sizes[seed % len(sizes)])
        for seed in range(ROUNDS * len(sizes))
    )


def return_args(batch: Batch) -> tuple[Any, ...]:
    """Return (rewards, mask, terminated, final_values, gamma)."""
    fields = batch.rewards, batch.mask, batch.terminated.astype(float), batch.final_values
    return *map(torch.tensor, fields), batch.gamma


def advantage_args(batch: Batch) -> tuple[Any, ...]:
    """Return (rewards, mask, terminated, values, final_values, gamma, trace)."""
    *front, final_values, gamma = return_args(batch)
    return *front, torch.tensor(batch.values), final_values, gamma, batch.trace


def lvc_args(batch: Batch, leaf: Tensor | None = None) -> tuple[Any, ...]:
    """Return (log_probs, returns, weights, gamma)."""
    numbers = map(torch.tensor, (episodes.returns(batch), batch.weights))
    return _log_probs(batch, leaf), *numbers, batch.gamma


def dice_args(batch: Batch, leaf: Tensor | None = None) -> tuple[Any, ...]:
    """Return (log_probs, rewards, weights, gamma)."""
    numbers = map(torch.tensor, (batch.paid(), batch.weights))
    return _log_probs(batch, leaf), *numbers, batch.gamma


def q_gradient_args(scored: Scored) -> tuple[Any, ...]:
    """Return (scores, credit, gamma, trace)."""
    return *map(torch.tensor, (scored.scores, scored.credit)), scored.gamma, scored.trace


def split_args(scored: Scored) -> tuple[Any, ...]:
    """Return (scores, curvatures, returns, weights, gamma)."""
    fields = scored.scores, scored.curvatures, scored.credit, scored.weights
    return *map(torch.tensor, fields), scored.gamma


def trial_args(trials: Trials, leaf: Tensor | None = None) -> tuple[Any, ...]:
    """Return (log_probs, after, weights)."""
    x = torch.tensor(trials.logits) if leaf is None else leaf
    credit, pay = torch.tensor(trials.credit), torch.tensor(trials.pay)
    step = credit - credit.sum(-1, keepdim=True) * x.softmax(-1)
    after = (pay * (x + trials.step_size * step).softmax(-1)).sum((-2, -1))
    return _log_probs(trials, x), after, torch.tensor(trials.weights)


def update_args(update: Update, leaf: Tensor | None = None) -> tuple[Any, ...]:
    """Return (log_probs, old_log_probs, advantages, prior, old_prior, clip, penalty)."""
    x = torch.tensor(update.logits) if leaf is None else leaf
    adapted = (x + torch.tensor(update.shift)).log_softmax(-1)[update.states, update.actions]
    old_prior = torch.tensor(episodes.log_policy(update.old)[update.prior_states])
    return (
        adapted,
        torch.tensor(update.old_log_probs()),
        torch.tensor(update.advantages),
        x.log_softmax(-1)[update.prior_states],
        old_prior,
        update.clip,
        update.penalty,
    )


def _log_probs(data: Batch | Trials, leaf: Tensor | None) -> Tensor:
    """Return log pi(a | s) of all steps as torch sees it, 0 at padding."""
    x = torch.tensor(data.logits) if leaf is None else leaf
    return x.log_softmax(-1)[data.states, data.actions] * torch.tensor(data.mask)
