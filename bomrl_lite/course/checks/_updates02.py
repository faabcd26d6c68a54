r"""Oracles of exercise set 02 for what surrounds an adaptation: data sets before, updates after.

As in :mod:`bomrl_lite.course.checks._oracles02`, denominators of likelihood ratios stay numbers.
"""

from typing import NamedTuple

import numpy as np

from bomrl_lite.course.checks._oracles import softmax
from bomrl_lite.course.checks._oracles02 import log_policy


class Trials(NamedTuple):
    r"""N data sets of one meta-policy, and what each is worth after one step on it.

    J_i(x) = <pay_i, softmax(x + step_size ghat_i(x))>, ghat_i(x) = C_i - C_i 1 softmax(x): the
    policy-gradient estimate of a data set in which (s, a) came with the summed credit C_i(s, a).
    """

    logits: np.ndarray
    states: np.ndarray
    """[N, B, T], as actions and mask."""
    actions: np.ndarray
    mask: np.ndarray
    credit: np.ndarray
    """C, [N, S, A]."""
    pay: np.ndarray
    """[N, S, A]."""
    weights: np.ndarray
    """[N]; sums to 1."""
    step_size: float

    def log_probs(self, logits: np.ndarray) -> np.ndarray:
        """Return log pi(a | s) of all data, 0 at padding, [..., N, B, T]."""
        return log_policy(logits)[..., self.states, self.actions] * self.mask

    def after(self, logits: np.ndarray) -> np.ndarray:
        """Return J_i(x), [..., N]."""
        probs = softmax(logits)[..., None, :, :]
        step = self.credit - self.credit.sum(-1, keepdims=True) * probs
        adapted = softmax(logits[..., None, :, :] + self.step_size * step)
        return (self.pay * adapted).sum((-2, -1))

    def value(self, logits: np.ndarray) -> np.ndarray:
        """Return the return after adaptation, the data sets as likely as the logits make them."""
        old, new = (self.log_probs(x).sum((-2, -1)) for x in (self.logits, logits))
        return (self.weights * np.exp(new - old) * self.after(logits)).sum(-1)


def random_trials(seed: int, shape: tuple[int, int, int, int, int]) -> Trials:
    """Draw data sets without symmetries; shape is (S, A, N, B, T)."""
    num_states, num_actions, *size = shape
    draw = np.random.default_rng(seed)
    weights = draw.uniform(0.5, 1.5, size=size[0])
    lengths = draw.integers(1, size[2] + 1, size=size[:2])
    table = (size[0], num_states, num_actions)
    return Trials(
        draw.normal(size=(num_states, num_actions)),
        draw.integers(num_states, size=size),
        draw.integers(num_actions, size=size),
        (np.arange(size[2]) < lengths[..., None]).astype(float),
        draw.normal(size=table),
        draw.normal(size=table) + 0.5,
        weights / weights.sum(),
        draw.uniform(0.3, 0.7),
    )


def every_data_set(seed: int, pulls: int = 2, episodes: int = 2, arms: int = 2) -> Trials:
    """Return all data sets of a bandit with their chances: ``value`` is formulation II, exactly."""
    draw = np.random.default_rng(seed)
    logits, reward = draw.normal(size=(2, 1, arms))
    count = arms ** (pulls * episodes)
    actions = np.stack(np.unravel_index(np.arange(count), (arms,) * pulls * episodes), -1)
    actions = actions.reshape(count, episodes, pulls)
    taken = np.eye(arms)[actions].sum((1, 2))
    return Trials(
        logits,
        np.zeros_like(actions),
        actions,
        np.ones(actions.shape),
        (taken * reward / episodes)[:, None, :],
        np.broadcast_to(reward, (count, 1, arms)).copy(),
        np.prod(softmax(logits)[0] ** taken, -1),
        0.8,
    )


class Update(NamedTuple):
    """Samples between two outer updates: collected at ``old``, differentiated at ``logits``."""

    logits: np.ndarray
    old: np.ndarray
    """phi that collected, [S, A]."""
    shift: np.ndarray
    """What adaptation adds to ``logits``, [S, A]."""
    old_shift: np.ndarray
    states: np.ndarray
    """After adaptation, [M]."""
    actions: np.ndarray
    advantages: np.ndarray
    prior_states: np.ndarray
    """Before adaptation, [K]."""
    clip: float
    penalty: float

    def log_probs(self, logits: np.ndarray) -> np.ndarray:
        """Return log pi_theta(a | s) of the samples after adaptation, [..., M]."""
        return log_policy(logits + self.shift)[..., self.states, self.actions]

    def old_log_probs(self) -> np.ndarray:
        """Return the same of the policy that collected them, [M]."""
        return log_policy(self.old + self.old_shift)[self.states, self.actions]

    def ratios(self, logits: np.ndarray) -> np.ndarray:
        """Return pi_theta / pi_old, [..., M]."""
        return np.exp(self.log_probs(logits) - self.old_log_probs())

    def clipped(self, logits: np.ndarray) -> np.ndarray:
        """Return the mean of the smaller of both gains, [...]; a kink takes the side it is on."""
        ratios = self.ratios(logits)
        limits = 1 + self.clip * np.sign(self.advantages)
        beyond = np.sign(self.advantages) * (np.real(ratios) - limits) > 0
        return (np.where(beyond, limits, ratios) * self.advantages).mean(-1)

    def divergence(self, logits: np.ndarray) -> np.ndarray:
        """Return KL(pi_old || pi_phi), averaged over the states before adaptation, [...]."""
        old, new = log_policy(self.old), log_policy(logits)
        return (softmax(self.old) * (old - new)).sum(-1)[..., self.prior_states].mean(-1)

    def value(self, logits: np.ndarray) -> np.ndarray:
        """Return ProMP's objective, [...]."""
        return self.clipped(logits) - self.penalty * self.divergence(logits)


def random_update(seed: int, num_states: int, num_actions: int, num_samples: int = 40) -> Update:
    """Draw samples of which some are clipped on either side, with either sign."""
    draw = np.random.default_rng(seed)
    table = (num_states, num_actions)
    old, moved, shift = draw.normal(size=(3, *table))
    return Update(
        old + 0.4 * moved,
        old,
        0.8 * shift,
        0.8 * shift + 0.3 * draw.normal(size=table),
        draw.integers(num_states, size=num_samples),
        draw.integers(num_actions, size=num_samples),
        draw.normal(size=num_samples),
        draw.integers(num_states, size=num_samples + 5),
        0.2,
        draw.uniform(0.5, 1.5),
    )
