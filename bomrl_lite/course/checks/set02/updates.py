r"""Oracles and slips of exercise set 02 around an adaptation: data sets before, updates after.

As in :mod:`bomrl_lite.course.checks.set02.oracles`, denominators of likelihood ratios stay numbers.
"""

from typing import NamedTuple

import numpy as np

from bomrl_lite.course.checks import oracles
from bomrl_lite.course.checks.draws import Seed
from bomrl_lite.course.checks.engine import Slips
from bomrl_lite.course.checks.oracles import softmax
from bomrl_lite.course.checks.set02.oracles import log_policy


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


def random_trials(seed: Seed, shape: tuple[int, int, int, int, int]) -> Trials:
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


def every_data_set(seed: Seed, pulls: int = 2, episodes: int = 2, arms: int = 2) -> Trials:
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


def random_update(seed: Seed, num_states: int, num_actions: int, num_samples: int = 40) -> Update:
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


def e_maml_values(trials: Trials) -> Slips:
    """Return what mistakes about formulation II make of its value."""
    after, weights = trials.after(trials.logits), trials.weights
    logs = trials.log_probs(trials.logits).sum((-2, -1))
    return {
        "weights are not used: data sets count equally": after.mean(),
        "the sum over data sets lacks the weights": after.sum(),
        "log pi of the data stands where its magic box belongs": np.sum(weights * logs * after),
        "log pi times return is added: it brings the gradient, but changes the value": (
            np.sum(weights * (1 + logs) * after)
        ),
        "probabilities of the data stand where their magic box belongs": (
            np.sum(weights * np.exp(logs) * after)
        ),
        "the box is 0 in value: exp is missing": np.array(0.0),
        "the magic box is added to the return: it multiplies it": weights.sum() + weights @ after,
        "the sign is reversed: the objective is maximised, it is no loss": -weights @ after,
        "there is a mean too many: the weights sum to 1 already": (weights @ after) / len(after),
        "that is the best of the data sets: average them by the weights": after.max(),
    }


def e_maml_gradients(trials: Trials) -> Slips:
    """Return what mistakes about formulation II make of its gradient."""
    phi, worth = trials.logits, trials.weights * trials.after(trials.logits)
    right = oracles.complex_step(trials.value, phi)
    adapting = oracles.complex_step(lambda x: trials.after(x) @ trials.weights, phi)

    def collecting(share: np.ndarray) -> np.ndarray:
        return oracles.complex_step(lambda x: (share * trials.log_probs(x)).sum((-3, -2, -1)), phi)

    each = worth[:, None, None] + 0 * trials.mask
    return {
        "the score of the collection is missing: that is the way through adaptation": adapting,
        "only the score of the collection is there: the returns are cut off (.detach())": (
            right - adapting
        ),
        "the score has the wrong sign: the box stops the wrong term": 2 * adapting - right,
        "log pi is averaged over steps and episodes: the chance of a data set is their product": (
            adapting + collecting(each / each[0].size)
        ),
        "log pi is averaged over episodes: the chance of a data set is their product": (
            adapting + collecting(each / each.shape[1])
        ),
        "log pi is averaged over steps: the chance of a data set is their product": (
            adapting + collecting(each / each.shape[2])
        ),
        "the score comes without the return: each data set's is multiplied by its own": (
            adapting + collecting(trials.weights[:, None, None] + 0 * trials.mask)
        ),
        "the score is there twice, or the box squared": 2 * right - adapting,
        "a baseline is subtracted from the returns in the score": (
            adapting + collecting(each - worth.sum() * trials.weights[:, None, None])
        ),
        "log pi of all data sets is added up: every box holds its own": (
            adapting + collecting(0 * each + worth.sum())
        ),
        "only the first step of every episode is credited": (
            adapting + collecting(each * (np.arange(trials.mask.shape[-1]) == 0))
        ),
        "only the first episode of every data set is credited": (
            adapting + collecting(each * (np.arange(trials.mask.shape[1]) == 0)[:, None])
        ),
        "every data set gets the mean return: its own is what its collection earned": (
            adapting + collecting(0 * each + worth.sum() * trials.weights[:, None, None])
        ),
    }


def promp_values(update: Update) -> Slips:
    """Return what mistakes about ProMP's objective make of its value."""
    ratios, a, clip = update.ratios(update.logits), update.advantages, update.clip
    divergence, penalty = update.divergence(update.logits), update.penalty
    gained, limited = ratios * a, np.clip(ratios, 1 - clip, 1 + clip) * a
    right, old = update.value(update.logits), log_policy(update.old)
    cost, gain = penalty * divergence, update.clipped(update.logits)
    other = old + log_policy(update.logits) * 0
    new = log_policy(update.logits)
    reverse = (softmax(update.logits) * (new - other)).sum(-1)[update.prior_states].mean()
    cross = -(softmax(update.old) * new).sum(-1)[update.prior_states].mean()
    inverse = np.minimum(a / ratios, np.clip(1 / ratios, 1 - clip, 1 + clip) * a).mean()
    logs = np.log(ratios)
    normal = (a - a.mean()) / a.std(ddof=1)

    def gain_of(better: np.ndarray) -> np.ndarray:
        return np.minimum(ratios * better, np.clip(ratios, 1 - clip, 1 + clip) * better).mean()

    own = (old * (old - new)).sum(-1)[update.prior_states].mean()
    return {
        "the ratio is not clipped": gained.mean() - cost,
        "the ratio is always clipped: the smaller of both gains counts": limited.mean() - cost,
        "the larger of both gains counts: it is the smaller": (
            np.maximum(gained, limited).mean() - cost
        ),
        "the product ratio times advantage is clipped: it is the ratio": (
            np.minimum(gained, np.clip(gained, 1 - clip, 1 + clip)).mean() - cost
        ),
        "the ratio is upside down": inverse - cost,
        "the logarithm of the ratio stands where the ratio belongs": (
            np.minimum(logs * a, np.clip(logs, 1 - clip, 1 + clip) * a).mean() - cost
        ),
        "the logarithm of the ratio is clipped, to -clip and clip: clip the ratio": (
            np.minimum(gained, np.exp(np.clip(logs, -clip, clip)) * a).mean() - cost
        ),
        "the logarithm of the ratio is clipped, to 1 - clip and 1 + clip: clip the ratio": (
            np.minimum(gained, np.exp(np.clip(logs, 1 - clip, 1 + clip)) * a).mean() - cost
        ),
        "the logarithm of the ratio is clipped, and its exp() missing": (
            np.minimum(gained, np.clip(logs, -clip, clip) * a).mean() - cost
        ),
        "the smaller RATIO is taken, then times the advantage: the smaller gain counts": (
            (np.minimum(ratios, np.clip(ratios, 1 - clip, 1 + clip)) * a).mean() - cost
        ),
        "the smaller of both MEANS is taken: the smaller gain counts sample by sample": (
            min(gained.mean(), limited.mean()) - cost
        ),
        "the cross-entropy stands where the KL divergence belongs: subtract the old entropy": (
            gain - penalty * cross
        ),
        "the reversed cross-entropy stands where the KL divergence belongs": (
            gain - penalty * -(softmax(update.logits) * old).sum(-1)[update.prior_states].mean()
        ),
        "the penalty is missing": gain,
        "the penalty is added: distance is to be paid for": gain + cost,
        "the divergence is reversed: it is KL(old || new)": gain - penalty * reverse,
        "the divergence is summed over states: it is their mean": (
            gain - cost * len(update.prior_states)
        ),
        "the divergence is averaged over actions: a state's KL is their sum": (
            gain - cost / update.logits.shape[-1]
        ),
        "gains are summed over samples: it is their mean": gain * len(a) - cost,
        "penalty is not used": gain - divergence,
        "the sign is reversed: the objective is maximised": -right,
        "log_probs.detach() stands where old_log_probs belongs: the ratio is then always 1": (
            a.mean() - cost
        ),
        "the divergence is weighed by the new policy: KL(old || new) weighs by the old one": (
            gain + penalty * reverse
        ),
        "old_prior holds logarithms: its exp() weighs the actions": gain - penalty * own,
        "advantages are normalised: take them as they come": gain_of(normal) - cost,
        "advantages are centred: take them as they come": gain_of(a - a.mean()) - cost,
        "only the upper limit clips: min(ratio, 1 + clip)": (
            np.minimum(gained, np.minimum(ratios, 1 + clip) * a).mean() - cost
        ),
        "the ratio is clipped between -clip and clip: around 1": (
            np.minimum(gained, np.clip(ratios, -clip, clip) * a).mean() - cost
        ),
        "the gain has the wrong sign": -gain - cost,
        "the square root of the divergence is taken": gain - penalty * np.sqrt(divergence),
        "the ratio is missing: advantages alone bring no gradient": a.mean() - penalty * reverse,
    }


def promp_gradients(update: Update) -> Slips:
    """Return what mistakes about ProMP's objective make of its gradient."""
    phi = update.logits
    return {
        "the clipped objective is cut off from the gradient": oracles.complex_step(
            lambda x: -update.penalty * update.divergence(x), phi
        ),
        "the divergence is cut off from the gradient": oracles.complex_step(update.clipped, phi),
    }
