r"""Oracles of exercise set 02 in plain numpy: loops over steps, likelihood ratios.

What an objective must have as derivatives is found without stop-gradients and without scores: the
denominators of likelihood ratios stay numbers, the numerators are shifted.
"""

from collections.abc import Callable, Iterator
from functools import partial
from typing import NamedTuple

import numpy as np

from bomrl_lite.course.checks import oracles
from bomrl_lite.course.checks.draws import Seed
from bomrl_lite.course.checks.oracles import Scalar, softmax

Pair = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""A function of two tables of logits [..., S, A] that returns [...]."""


class Batch(NamedTuple):
    """Episodes of a tabular policy, [B, T]; padding holds numbers that mean nothing."""

    logits: np.ndarray
    """phi, [S, A]."""
    states: np.ndarray
    actions: np.ndarray
    rewards: np.ndarray
    mask: np.ndarray
    terminated: np.ndarray
    """[B]: ended by itself, not cut off."""
    values: np.ndarray
    """V(s_t), [B, T]."""
    final_values: np.ndarray
    """V of what was seen after the last step, [B]."""
    weights: np.ndarray
    """What every episode counts, [B]; sums to 1."""
    gamma: float
    trace: float = 1.0

    def paid(self) -> np.ndarray:
        """Return the rewards with 0 at padding."""
        return self.rewards * self.mask

    def log_probs(self, logits: np.ndarray) -> np.ndarray:
        """Return log pi(a_t | s_t) under logits [..., S, A], 0 at padding, [..., B, T]."""
        return log_policy(logits)[..., self.states, self.actions] * self.mask

    def discounts(self) -> np.ndarray:
        """Return w_b gamma^t, [B, T]."""
        return self.weights[:, None] * self.gamma ** np.arange(self.mask.shape[1])


def random_batch(
    seed: Seed, shape: tuple[int, int, int, int], gamma: float, trace: float = 1.0
) -> Batch:
    """Draw episodes without symmetries: one ended early, one cut early, one of full length.

    Args:
        seed: of the draw.
        shape: (S, A, B, T), with B and T at least 3.
        gamma: discount.
        trace: lambda of the generalised advantages.
    """
    num_states, num_actions, num_episodes, horizon = shape
    draw = np.random.default_rng(seed)
    lengths = draw.integers(1, horizon + 1, size=num_episodes)
    lengths[:3] = horizon - 1, horizon - 1, horizon
    terminated = draw.random(num_episodes) < 0.5
    terminated[:3] = True, False, False
    weights = draw.uniform(0.5, 1.5, size=num_episodes)
    size = (num_episodes, horizon)
    return Batch(
        draw.normal(size=(num_states, num_actions)),
        draw.integers(num_states, size=size),
        draw.integers(num_actions, size=size),
        draw.normal(size=size),
        (np.arange(horizon) < lengths[:, None]).astype(float),
        terminated,
        draw.normal(size=size),
        draw.normal(size=num_episodes) + 2,
        weights / weights.sum(),
        gamma,
        trace,
    )


def log_policy(logits: np.ndarray) -> np.ndarray:
    """Return log softmax, which may be complex."""
    return np.log(softmax(logits))


def returns(batch: Batch) -> np.ndarray:
    """Return G_t, each as a sum of its own over all that follows, [B, T]."""
    answer = np.zeros_like(batch.rewards)
    for b, t in _steps(batch):
        ahead = int(batch.mask[b].sum()) - t
        answer[b, t] = _bootstrapped(batch, b, t, ahead)
    return answer


def advantages(batch: Batch) -> np.ndarray:
    """Return the exponential average of the k-step advantages, which defines the estimate."""
    answer = np.zeros_like(batch.rewards)
    for b, t in _steps(batch):
        ahead = int(batch.mask[b].sum()) - t
        shares = [(1 - batch.trace) * batch.trace ** (k - 1) for k in range(1, ahead)]
        shares.append(batch.trace ** (ahead - 1))
        for k, share in enumerate(shares, 1):
            answer[b, t] += share * (_bootstrapped(batch, b, t, k) - batch.values[b, t])
    return answer


def _steps(batch: Batch) -> Iterator[tuple[int, int]]:
    yield from ((int(b), int(t)) for b, t in np.argwhere(batch.mask > 0))


def _bootstrapped(batch: Batch, b: int, t: int, ahead: int) -> float:
    """Return k rewards from t on, then the value of what follows them."""
    end = t + ahead
    if end < batch.mask[b].sum():
        tail = batch.values[b, end]
    else:
        tail = 0.0 if batch.terminated[b] else batch.final_values[b]
    paid = sum(batch.gamma ** (u - t) * batch.rewards[b, u] for u in range(t, end))
    return paid + batch.gamma**ahead * tail


def lvc_value(logits: np.ndarray, batch: Batch) -> np.ndarray:
    """Return the sum of ratio times return with the denominators fixed at phi, [...]."""
    ratios = np.exp(batch.log_probs(logits) - batch.log_probs(batch.logits))
    return (batch.discounts() * ratios * returns(batch)).sum((-2, -1))


def reweighted_return(logits: np.ndarray, batch: Batch) -> np.ndarray:
    """Return what the episodes say of J at other logits: every reward times its path's ratio."""
    ratios = np.exp(batch.log_probs(logits) - batch.log_probs(batch.logits))
    return (batch.discounts() * np.cumprod(ratios, -1) * batch.paid()).sum((-2, -1))


def hessian(function: Scalar, x: np.ndarray) -> np.ndarray:
    """Return second derivatives, [n, n]: central differences of complex steps, to about 1e-10."""
    return mixed(lambda first, second: function(first + second - x), x)


def mixed(function: Pair, x: np.ndarray) -> np.ndarray:
    """Return d^2 f / d first_i d second_j at first = second = x, [n, n]."""
    step = oracles.DIFFERENCE_STEP
    columns = []
    for unit in step * np.eye(x.size).reshape(-1, *x.shape):
        moved = {
            k: oracles.complex_step(partial(_with_second, function, x + k * unit), x)
            for k in (-2, -1, 1, 2)
        }
        columns.append((8 * (moved[1] - moved[-1]) - (moved[2] - moved[-2])) / (12 * step))
    return np.stack([column.ravel() for column in columns], 1)


def _with_second(function: Pair, second: np.ndarray, first: np.ndarray) -> np.ndarray:
    return function(first, second)


class Scored(NamedTuple):
    """Episodes as their scores, [B, T, n], and curvatures, [B, T, n, n]; 0 at padding."""

    scores: np.ndarray
    curvatures: np.ndarray
    credit: np.ndarray
    """G_t, or an advantage, [B, T]."""
    weights: np.ndarray
    gamma: float
    trace: float


def random_scored(seed: Seed, batch: Batch, size: int = 3) -> Scored:
    """Give the steps of a batch scores and curvatures without symmetries."""
    draw = np.random.default_rng(seed)
    scores = draw.normal(size=(*batch.mask.shape, size)) * batch.mask[..., None]
    bent = draw.normal(size=(*batch.mask.shape, size, size))
    curvatures = (bent + np.swapaxes(bent, -1, -2)) * batch.mask[..., None, None]
    return Scored(scores, curvatures, returns(batch), batch.weights, batch.gamma, batch.trace)


def later_scores(scored: Scored) -> np.ndarray:
    """Return the estimate of grad Q of every step, one later step at a time, [B, T, n]."""
    answer = np.zeros_like(scored.scores)
    horizon = scored.credit.shape[1]
    for t in range(horizon):
        for u in range(t + 1, horizon):
            share = (scored.gamma * scored.trace) ** (u - t) * scored.credit[:, u]
            answer[:, t] += share[:, None] * scored.scores[:, u]
    return answer


def split(scored: Scored) -> np.ndarray:
    """Return the estimates of H1, H2 and H12, one step at a time, [3, n, n]."""
    later = later_scores(scored._replace(trace=1.0))
    terms = np.zeros((3, *scored.curvatures.shape[-2:]))
    for b, t in np.ndindex(scored.credit.shape):
        share = scored.weights[b] * scored.gamma**t
        score = scored.scores[b, t]
        terms[0] += share * scored.credit[b, t] * np.outer(score, score)
        terms[1] += share * scored.credit[b, t] * scored.curvatures[b, t]
        terms[2] += share * np.outer(score, later[b, t])
    return terms
