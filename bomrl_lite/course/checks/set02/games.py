"""Oracles of exercise set 02 by enumeration: every path of a tiny game, and what they estimate.

The other side of the comparison is dynamic programming in numpy, differentiated by complex steps.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from bomrl_lite.course.checks.draws import Seed
from bomrl_lite.course.checks.oracles import softmax
from bomrl_lite.course.checks.set02.oracles import (
    Batch,
    Scored,
    hessian,
    log_policy,
    mixed,
    returns,
)

Path = list[tuple[int, int]]
"""States and actions, step by step."""


class Game(NamedTuple):
    """A tiny game of T steps; what a row of ``transition`` lacks to 1 is the chance of its end."""

    logits: np.ndarray
    transition: np.ndarray
    reward: np.ndarray
    start: np.ndarray
    gamma: float
    horizon: int


def random_game(seed: Seed, gamma: float, horizon: int = 3) -> Game:
    """Draw a game of two states and two actions."""
    draw = np.random.default_rng(seed)
    rows = draw.dirichlet(np.ones(3), size=(2, 2))
    return Game(
        draw.normal(size=(2, 2)),
        rows[..., :2],
        draw.normal(size=(2, 2)),
        draw.dirichlet(np.ones(2)),
        gamma,
        horizon,
    )


def every_path(game: Game) -> Batch:
    """Walk all paths of a game; the weight of each is how likely it is under the policy."""
    paths = list(_paths(game))
    size = (len(paths), game.horizon)
    states, actions, mask = np.zeros(size, int), np.zeros(size, int), np.zeros(size)
    for b, (path, _) in enumerate(paths):
        states[b, : len(path)], actions[b, : len(path)] = zip(*path, strict=True)
        mask[b, : len(path)] = 1
    return Batch(
        game.logits,
        states,
        actions,
        game.reward[states, actions],
        mask,
        np.ones(len(paths), bool),
        np.zeros(size),
        np.zeros(len(paths)),
        np.array([chance for _, chance in paths]),
        game.gamma,
    )


def _paths(game: Game) -> Iterator[tuple[Path, float]]:
    probs = softmax(game.logits)
    walks: list[tuple[Path, int, float]] = [([], s, p) for s, p in enumerate(game.start)]
    while walks:
        past, state, chance = walks.pop()
        for action, prob in enumerate(probs[state]):
            path, reached = [*past, (state, action)], chance * prob
            onward = game.transition[state, action] if len(path) < game.horizon else np.zeros(2)
            yield path, reached * (1 - onward.sum())
            walks += [(path, after, reached * p) for after, p in enumerate(onward) if p > 0]


def game_q(logits: np.ndarray, game: Game) -> list[np.ndarray]:
    """Return Q_t of every step t, [..., S, A] each, backwards in time."""
    probs, q = softmax(logits), []
    values = 0 * probs[..., 0]
    for _ in range(game.horizon):
        q.append(game.reward + game.gamma * np.einsum("sat,...t->...sa", game.transition, values))
        values = (probs * q[-1]).sum(-1)
    return q[::-1]


def game_visits(logits: np.ndarray, game: Game) -> list[np.ndarray]:
    """Return gamma^t P(s_t = s) of every step t, [..., S] each, forwards in time."""
    probs, now = softmax(logits), game.start + 0 * logits[..., 0]
    visits = []
    for _ in range(game.horizon):
        visits.append(now)
        now = game.gamma * np.einsum("...s,...sa,sat->...t", now, probs, game.transition)
    return visits


def game_return(logits: np.ndarray, game: Game) -> np.ndarray:
    """Return J, [...]."""
    return (softmax(logits) * game_q(logits, game)[0]).sum(-1) @ game.start


def game_terms(game: Game) -> np.ndarray:
    r"""Return H1, H2, H12 of a game, [3, n, n], from where phi stands in sum_t d_t pi Q_t.

    phi acts through the actions (pi), through what follows them (Q) and through what led there (d).
    """
    x = game.logits
    q, visits = game_q(x, game), game_visits(x, game)
    weights = sum(d[:, None] * q_t for d, q_t in zip(visits, q, strict=True))

    def acting(logits: np.ndarray) -> np.ndarray:
        return (weights * softmax(logits)).sum((-2, -1))

    def acting_in_logs(logits: np.ndarray) -> np.ndarray:
        return (weights * softmax(x) * log_policy(logits)).sum((-2, -1))

    def acting_then_later(acts: np.ndarray, later: np.ndarray) -> np.ndarray:
        parts = zip(visits, game_q(later, game), strict=True)
        return np.sum([(d[:, None] * softmax(acts) * q_t).sum((-2, -1)) for d, q_t in parts], 0)

    h2 = hessian(acting_in_logs, x)
    return np.stack([hessian(acting, x) - h2, h2, mixed(acting_then_later, x)])


def scored_paths(game: Game) -> Scored:
    """Return all paths of a game with the scores and curvatures of its softmax policy."""
    batch, probs = every_path(game), softmax(game.logits)
    num_states, num_actions = probs.shape
    size = num_states * num_actions
    here = np.eye(num_states)[batch.states] * batch.mask[..., None]
    pairs = here[..., None] * (np.eye(num_actions)[batch.actions][..., None, :] - probs)
    bend = np.zeros((num_states, num_states, num_actions, num_states, num_actions))
    for s, p in enumerate(probs):
        bend[s, s, :, s] = np.outer(p, p) - np.diag(p)
    return Scored(
        pairs.reshape(*batch.mask.shape, size),
        (here @ bend.reshape(num_states, -1)).reshape(*batch.mask.shape, size, size),
        returns(batch),
        batch.weights,
        game.gamma,
        1.0,
    )
