"""Known slips of exercise set 02: the likely cause, and the answer that it leads to."""

import numpy as np

from bomrl_lite.course.checks import oracles
from bomrl_lite.course.checks.engine import Slips
from bomrl_lite.course.checks.set02 import oracles as episodes
from bomrl_lite.course.checks.set02.oracles import Batch, Scored

PADDING = "padding counts: what stands where the mask is 0 never happened"
NO_TAIL = "nothing follows a cut: an episode that was cut off goes on with final_values"
TAIL_AT_END = (
    "final_values counts where an episode ended by itself: there, nothing follows the last step"
)
LOOP_ORDER = "the columns stand in the order of the loop, the last step first: reverse them"
NEGATED = "the sign is reversed: the objective is maximised, it is no loss"
TWICE = "the ratio is there twice, or squared"
OVER_EPISODES = "the sum runs over episodes (dim 0): episodes know nothing of each other"
TAIL_AT_T = "final_values comes after the last column: it belongs after the last step taken"


def discounted_returns(batch: Batch) -> Slips:
    """Return what mistakes about discounted returns lead to."""
    right, mask, gamma = episodes.returns(batch), batch.mask, batch.gamma
    steps = np.arange(mask.shape[1])
    cut = np.where(batch.terminated, 0, batch.final_values)
    late = _backwards(batch.paid(), gamma, cut)
    left = mask.sum(-1, keepdims=True) - steps
    past = _backwards(batch.paid()[:, ::-1], gamma, 0 * cut)[:, ::-1]
    return {
        PADDING: mask * _backwards(batch.rewards, gamma, cut),
        "padding counts, and it gets returns of its own": _backwards(batch.rewards, gamma, cut),
        "padding still holds what follows the episode: its returns are 0": (
            right + (1 - mask) * cut[:, None]
        ),
        NO_TAIL: episodes.returns(batch._replace(terminated=np.ones_like(batch.terminated))),
        TAIL_AT_END: episodes.returns(batch._replace(terminated=np.zeros_like(batch.terminated))),
        "it is the other way round: final_values follows a cut, not an end": (
            episodes.returns(batch._replace(terminated=~batch.terminated))
        ),
        TAIL_AT_T: mask * late,
        "final_values is added to the last reward without its gamma": (
            right + mask * cut[:, None] * (gamma ** np.maximum(left - 1, 0) - gamma**left)
        ),
        "final_values is not discounted": (
            right + mask * cut[:, None] * (1 - gamma ** np.maximum(left, 0))
        ),
        "gamma is missing: that is the plain sum": episodes.returns(batch._replace(gamma=1.0)),
        "discounts count from the start, gamma^u: a return counts from its own step, gamma^(u-t)": (
            gamma**steps * right
        ),
        "the reward of the step itself is missing": right - batch.paid(),
        "every step gets the return of the whole episode": mask * right[:, :1],
        LOOP_ORDER: right[:, ::-1],
        "final_values reaches the last step alone: earlier ones go on with it, too": (
            episodes.returns(batch._replace(terminated=np.ones_like(batch.terminated)))
            + mask * (left == 1) * gamma * cut[:, None]
        ),
        "the sign is reversed": -right,
        **_normalised("returns", right, mask),
        "gamma is squared": episodes.returns(batch._replace(gamma=gamma**2)),
        "gamma discounts the reward of the step itself, too": gamma * right
        + mask * cut[:, None] * (gamma**left - gamma ** (left + 1)) * (left > 0),
        "all of it is discounted once too often: the step's own reward counts fully": gamma * right,
        "the past is summed: a return counts what follows": mask * past,
        "the past is summed, without the step itself: a return counts what follows": (
            mask * (past - batch.paid())
        ),
        "the past is summed, with discounts from the start: a return counts what follows": (
            mask * np.cumsum(gamma**steps * batch.paid(), -1)
        ),
        "the past is summed without discounts: a return counts what follows": (
            mask * np.cumsum(batch.paid(), -1)
        ),
        "the past is summed, with final_values before the first step: the loop runs forwards": (
            mask * (past + gamma ** (steps + 1) * cut[:, None])
        ),
        "the loop runs forwards, and its columns are reversed": (
            (mask * (past + gamma ** (steps + 1) * cut[:, None]))[:, ::-1]
        ),
    }


def generalised_advantages(batch: Batch) -> Slips:
    """Return what mistakes about generalised advantages lead to."""
    right, mask = episodes.advantages(batch), batch.mask
    gamma, trace = batch.gamma, batch.trace
    values = batch.values * mask
    after = _following(batch)
    errors = mask * (batch.rewards + gamma * after - batch.values)

    def summed(each: np.ndarray, decay: float = gamma * trace) -> np.ndarray:
        return mask * _backwards(each * mask, decay, np.zeros(len(mask)))

    tail = after * (mask - _shifted(mask))  # of the last step taken alone
    shifted = np.concatenate([batch.values[:, 1:], _tail(batch)[:, None]], -1)
    return {
        NO_TAIL: episodes.advantages(batch._replace(final_values=0 * batch.final_values)),
        TAIL_AT_END: episodes.advantages(
            batch._replace(terminated=np.zeros_like(batch.terminated))
        ),
        "it is the other way round: final_values follows a cut, not an end": (
            episodes.advantages(batch._replace(terminated=~batch.terminated))
        ),
        "V of padding follows the last step: there stands final_values, or nothing": (
            summed(batch.rewards + gamma * shifted - batch.values)
        ),
        TAIL_AT_T: summed(batch.rewards + gamma * shifted * _goes_on(batch) - batch.values),
        PADDING: mask
        * _backwards(
            batch.rewards + gamma * shifted - batch.values, gamma * trace, np.zeros(len(mask))
        ),
        "padding counts, and it gets advantages of its own": _backwards(
            batch.rewards + gamma * shifted - batch.values, gamma * trace, np.zeros(len(mask))
        ),
        "V of the next step is always the final value": (
            summed(batch.rewards + gamma * _tail(batch)[:, None] - batch.values)
        ),
        "trace is missing in gamma trace: that is return minus V": summed(errors, gamma),
        "gamma is missing in gamma trace: errors are discounted by both": summed(errors, trace),
        "the errors are not summed: that is trace = 0": errors,
        "neither gamma nor trace discounts the errors": summed(errors, 1.0),
        "V of the step itself is not subtracted in the error": summed(errors + values),
        "V of the next step is missing in the error": summed(batch.rewards - values),
        "V of the next step lacks its gamma": summed(errors + (1 - gamma) * after * mask),
        "V is added to the sum: that is an estimate of Q": right + values,
        LOOP_ORDER: right[:, ::-1],
        "trace and 1 - trace are exchanged": episodes.advantages(batch._replace(trace=1 - trace)),
        "trace stands where gamma belongs in the error": (
            summed(batch.rewards + trace * after - batch.values)
        ),
        **_normalised("advantages", right, mask),
        "V is left out: the errors are rewards alone": summed(batch.rewards),
        "V is left out but for final_values": summed(batch.rewards + gamma * tail),
        "V of the next step is missing, but for final_values": (
            summed(batch.rewards + gamma * tail - batch.values)
        ),
        "V of the step itself is added in the error": summed(errors + 2 * values),
        "the sign is reversed": -right,
        "the past is summed: errors that follow count": (
            mask * _backwards(errors[:, ::-1], gamma * trace, np.zeros(len(mask)))[:, ::-1]
        ),
    }


def lvc_values(batch: Batch) -> Slips:
    """Return what mistakes about the LVC objective make of its value."""
    credit, log_probs = episodes.returns(batch), batch.log_probs(batch.logits)
    weights = batch.discounts()
    return {
        **_averages(batch, credit),
        "log pi stands where the ratio belongs: it has that gradient, but not the value": (
            np.sum(weights * log_probs * credit)
        ),
        "pi stands where the ratio belongs: the denominator is missing": (
            np.sum(weights * np.exp(log_probs) * credit)
        ),
        "that is J, the first return alone: every step counts": np.sum(
            batch.weights * credit[:, 0]
        ),
        "the surrogate is 0 in value: exp is missing, or 1 is subtracted": np.array(0.0),
        "gamma^t is there twice": np.sum(
            weights * batch.gamma ** np.arange(credit.shape[1]) * credit
        ),
    }


def lvc_gradients(batch: Batch) -> Slips:
    """Return what mistakes about the LVC objective make of its gradient."""
    phi, credit = batch.logits, episodes.returns(batch)
    right = oracles.complex_step(lambda x: episodes.lvc_value(x, batch), phi)
    return {
        "numerator and denominator both move: the ratio is always 1, its gradient 0": 0 * phi,
        "the numerator is stopped instead of the denominator": -right,
        TWICE: 2 * right,
        OVER_EPISODES: oracles.complex_step(
            lambda x: _weighed(x, batch, credit, _over_episodes), phi
        ),
        "the returns are averaged before they meet the ratios: every action has its own": (
            oracles.complex_step(lambda x: _mean_credit(x, batch, credit), phi)
        ),
        "the ratio is that of all steps so far: LVC weighs a return with its own action alone": (
            oracles.complex_step(lambda x: _weighed(x, batch, credit, _past), phi)
        ),
        "the ratio is that of the whole episode: it is that of one action": (
            oracles.complex_step(lambda x: _weighed(x, batch, credit, _whole), phi)
        ),
    }


def lvc_hessians(batch: Batch) -> Slips:
    """Return what mistakes about the LVC objective make of its second derivatives."""
    credit = episodes.returns(batch)

    def in_logs(x: np.ndarray) -> np.ndarray:
        return (batch.discounts() * batch.log_probs(x) * credit).sum((-2, -1))

    bent = episodes.hessian(in_logs, batch.logits)
    right = episodes.hessian(lambda x: episodes.lvc_value(x, batch), batch.logits)
    return {
        "H1 is missing: log pi in place of the ratio has its gradient, but not its curvature": bent,
        "H2 is missing: the curvature of log pi": right - bent,
    }


def dice_values(batch: Batch) -> Slips:
    """Return what mistakes about the DiCE objective make of its value."""
    paid, weights = batch.paid(), batch.discounts()
    log_probs = np.cumsum(batch.log_probs(batch.logits), -1)
    steps = np.arange(paid.shape[1])
    plain = np.cumsum(paid[:, ::-1], -1)[:, ::-1]
    whole = (batch.gamma**steps * paid).sum(-1, keepdims=True)
    return {
        **_averages(batch, paid),
        "later rewards are added up: their sums, or returns without gamma^t, count each again": (
            np.sum(weights * plain)
        ),
        "later rewards are added up, and gamma^t is missing: each counts once, with it": np.sum(
            batch.weights[:, None] * plain
        ),
        "the return of the whole episode stands where rewards belong": np.sum(
            weights * whole * (steps < batch.mask.sum(-1, keepdims=True))
        ),
        "the sum of log pi stands where its magic box belongs": np.sum(weights * log_probs * paid),
        "probabilities stand where the magic box belongs: nothing is subtracted": (
            np.sum(weights * np.exp(log_probs) * paid)
        ),
        "the box is 0 in value: exp is missing": np.array(0.0),
        "returns stand where rewards belong: every reward is then counted again and again": (
            np.sum(weights * episodes.returns(batch._replace(terminated=batch.terminated | True)))
        ),
    }


def dice_gradients(batch: Batch) -> Slips:
    """Return what mistakes about the DiCE objective make of its gradient."""
    phi, paid = batch.logits, batch.paid()
    right = oracles.complex_step(lambda x: episodes.reweighted_return(x, batch), phi)

    def with_causes(causes) -> np.ndarray:  # noqa: ANN001
        return oracles.complex_step(lambda x: _weighed(x, batch, paid, causes), phi)

    return {
        "both terms of the box move: exp(x - x) is a plain 1": 0 * phi,
        "the box stops the wrong term: exp(stop(x) - x)": -right,
        "only a reward's own action is in its box: earlier actions caused it too": (
            with_causes(_own)
        ),
        "all actions of the episode are in every box: later ones cause nothing": (
            with_causes(_whole)
        ),
        "the actions that follow are in the box: those before a reward cause it": (
            with_causes(_future)
        ),
        "a reward's own action is missing in its box": with_causes(_before),
        TWICE: 2 * right,
        OVER_EPISODES: with_causes(_over_episodes),
        "the causes are discounted by their time: only rewards are": with_causes(
            lambda logs: np.cumsum(logs * batch.gamma ** np.arange(logs.shape[-1]), -1)
        ),
        "the causes are discounted by their age: only rewards are": with_causes(
            lambda logs: _aged(logs, batch.gamma)
        ),
        "the causes are averaged: the chance of a path is a product over its steps": with_causes(
            lambda logs: np.cumsum(logs, -1) / np.arange(1, logs.shape[-1] + 1)
        ),
    }


def dice_hessians(batch: Batch) -> Slips:
    """Return what mistakes about the DiCE objective make of its second derivatives."""

    def in_logs(x: np.ndarray) -> np.ndarray:
        causes = np.cumsum(batch.log_probs(x), -1)
        return (batch.discounts() * causes * batch.paid()).sum((-2, -1))

    return {
        "products of scores are missing: 1 + x - stop(x) has the gradient of the box, but not its "
        "curvature": episodes.hessian(in_logs, batch.logits),
    }


def q_gradient(scored: Scored) -> Slips:
    """Return what mistakes about the estimate of grad Q lead to."""
    scores, credit = scored.scores, scored.credit[..., None]
    right, decay = episodes.later_scores(scored), scored.gamma * scored.trace
    power = decay ** np.arange(credit.shape[1])[:, None]
    weighed, nothing = scores * credit, 0 * scores[:, :1]
    summed = lambda each: np.cumsum(each[:, ::-1], 1)[:, ::-1]  # noqa: E731
    past = _backwards(weighed[:, ::-1], decay, 0 * weighed[:, 0])[:, ::-1]
    return {
        "the action of the step itself is there too: Q(s, a) is what follows a given a": (
            right + weighed
        ),
        "trace is missing: later steps count (gamma trace)^(u-t)": (
            episodes.later_scores(scored._replace(trace=1.0))
        ),
        "gamma is missing: later steps count (gamma trace)^(u-t)": (
            episodes.later_scores(scored._replace(gamma=1.0))
        ),
        "later steps are not discounted": summed(weighed) - weighed,
        "one discount too few: u - t counts from 0 for the step itself": right / decay,
        "one discount too many: u - t counts from 1 for the next step": right * decay,
        "the action of the step itself is there too, with one discount": decay * (right + weighed),
        "the next step is missing: u begins at t + 1": right
        - decay * np.concatenate([weighed[:, 1:], nothing], 1),
        "that is the sum of the NEXT step: it is one step off": np.concatenate(
            [right[:, 1:], nothing], 1
        ),
        "that is the sum of the step BEFORE: it is one step off": np.concatenate(
            [nothing, right[:, :-1]], 1
        ),
        "the credit is that of the step after: each action is weighed with its own": (
            episodes.later_scores(scored._replace(credit=_shifted(scored.credit)))
        ),
        "the credit is that of the step before: each action is weighed with its own": (
            episodes.later_scores(scored._replace(credit=_shifted(scored.credit[:, ::-1])[:, ::-1]))
        ),
        "discounts count from the start, (gamma trace)^u": summed(power * weighed)
        - power * weighed,
        "the credit is that of step t: each later action is weighed with its own": (
            credit * (episodes.later_scores(scored._replace(credit=0 * scored.credit + 1)))
        ),
        "the past is summed: actions that follow change Q": past - weighed,
        "the loop runs forwards: it sums the past": (past - weighed)[:, ::-1],
        "only the next step is there": (
            decay * np.concatenate([weighed[:, 1:], 0 * weighed[:, :1]], 1)
        ),
        LOOP_ORDER: right[:, ::-1],
        "gamma^t stands in front: that comes later, in the Hessian": (
            right * scored.gamma ** np.arange(credit.shape[1])[:, None]
        ),
        "later steps are averaged: they are summed": right
        / np.maximum(1, credit.shape[1] - 1 - np.arange(credit.shape[1]))[:, None],
        "all steps get the sum of the first": np.broadcast_to(right[:, :1], right.shape),
        "the credit is missing: scores alone": (
            episodes.later_scores(scored._replace(credit=0 * scored.credit + 1))
        ),
        "the sign is reversed": -right,
    }


def hessian_split(scored: Scored) -> Slips:
    """Return what mistakes about H1, H2 and H12 lead to."""
    h1, h2, h12 = right = episodes.split(scored)
    weights = scored.weights[:, None]
    equal = scored._replace(weights=0 * scored.weights + 1 / len(scored.weights))
    powers = scored.gamma ** np.arange(scored.credit.shape[1])
    plain = weights + 0 * powers
    later = episodes.later_scores(scored._replace(trace=1.0))
    gained = scored.scores * scored.credit[..., None]
    own = later + gained
    past = _backwards(gained[:, ::-1], scored.gamma, 0 * gained[:, 0])[:, ::-1]
    bare_later = episodes.later_scores(scored._replace(trace=1.0, credit=0 * scored.credit + 1))
    outer = lambda w, x, y: np.einsum("bt,bti,btj->ij", w, x, y)  # noqa: E731
    bare = outer(weights * powers, scored.scores, scored.scores)
    twice = outer(weights * powers * scored.credit, scored.scores, later)
    return {
        "H12 is transposed: its rows belong to the action, its columns to grad Q": (
            np.stack([h1, h2, h12.T])
        ),
        "H12 comes with its transpose: that is H12 + H12^T": np.stack([h1, h2, h12 + h12.T]),
        "H12 is symmetrised: it is not its transpose": np.stack([h1, h2, (h12 + h12.T) / 2]),
        "H12 is halved: it comes once by itself, and once transposed": np.stack([h1, h2, h12 / 2]),
        "H12 is doubled: it comes once by itself, and once transposed": np.stack([h1, h2, 2 * h12]),
        "grad Q in H12 is that of the past: it sums the scores that FOLLOW": np.stack(
            [h1, h2, outer(weights * powers, scored.scores, past - gained)]
        ),
        "grad Q in H12 is that of the past, the step itself among it: it sums what FOLLOWS": (
            np.stack([h1, h2, outer(weights * powers, scored.scores, past)])
        ),
        "later scores are weighed with the return of step t in H12: each has its own": np.stack(
            [h1, h2, outer(weights * powers * scored.credit, scored.scores, bare_later)]
        ),
        "later scores come without their return in H12": np.stack(
            [h1, h2, outer(weights * powers, scored.scores, bare_later)]
        ),
        "H2 holds the products of scores, too: they are H1": np.stack([h1, h1 + h2, h12]),
        "H1 holds the curvatures, too: they are H2": np.stack([h1 + h2, h2, h12]),
        "H1 and H2 are swapped": right[[1, 0, 2]],
        "weights are not used: episodes count equally": episodes.split(equal),
        "the sum over episodes lacks the weights": episodes.split(
            scored._replace(weights=0 * scored.weights + 1)
        ),
        "gamma^t is missing: step t counts w gamma^t": np.stack(
            [
                outer(plain * scored.credit, scored.scores, scored.scores),
                np.einsum("bt,btij->ij", plain * scored.credit, scored.curvatures),
                outer(plain, scored.scores, later),
            ]
        ),
        "the returns are missing in H1": np.stack([bare, h2, h12]),
        "grad Q is multiplied by the return again in H12": np.stack([h1, h2, twice]),
        "the action of the step itself is in grad Q: H12 holds H1 then": np.stack(
            [h1, h2, outer(weights * powers, scored.scores, own)]
        ),
        "H2 has the wrong sign": np.stack([h1, -h2, h12]),
        "H1 has the wrong sign": np.stack([-h1, h2, h12]),
        "H12 has the wrong sign": np.stack([h1, h2, -h12]),
        "gamma is missing inside grad Q": np.stack(
            [
                h1,
                h2,
                outer(
                    weights * powers,
                    scored.scores,
                    episodes.later_scores(scored._replace(trace=1.0, gamma=1.0)),
                ),
            ]
        ),
        "H12 lacks gamma^t: grad Q counts from step t, its weight is still w gamma^t": np.stack(
            [h1, h2, outer(plain, scored.scores, later)]
        ),
        "the returns are missing in H2": np.stack(
            [h1, np.einsum("bt,btij->ij", weights * powers, scored.curvatures), h12]
        ),
        "H12 stands before H2": right[[0, 2, 1]],
        "all three are added up: return them side by side": np.stack([h1 + h2 + h12] * 3),
        "steps are averaged: they are summed": right / scored.credit.shape[1],
    }


def _averages(batch: Batch, credit: np.ndarray) -> Slips:
    """Return mistakes about the average over episodes of sum_t gamma^t x_t."""
    plain = credit.sum(-1)
    discounted = (batch.gamma ** np.arange(credit.shape[1]) * credit).sum(-1)
    return {
        "gamma^t is missing": plain @ batch.weights,
        "weights are not used: episodes count equally": discounted.mean(),
        "the sum over episodes lacks the weights": discounted.sum(),
        "neither weights nor gamma^t are used": plain.mean(),
        "the discounts begin with gamma: step 0 counts fully": (
            batch.gamma * discounted @ batch.weights
        ),
        "steps are averaged: they are summed": discounted @ batch.weights / credit.shape[1],
        NEGATED: -discounted @ batch.weights,
        "there is a mean too many: the weights sum to 1 already": (
            discounted @ batch.weights / len(batch.weights)
        ),
        "there is a factor 1 - gamma too many": (1 - batch.gamma) * discounted @ batch.weights,
    }


def _weighed(x: np.ndarray, batch: Batch, credit: np.ndarray, causes) -> np.ndarray:  # noqa: ANN001
    """Return the sum of credits, each times the likelihood ratio of what is said to cause it."""
    moved = causes(batch.log_probs(x) - batch.log_probs(batch.logits))
    return (batch.discounts() * np.exp(moved) * credit).sum((-2, -1))


def _own(logs: np.ndarray) -> np.ndarray:
    return logs


def _past(logs: np.ndarray) -> np.ndarray:
    return np.cumsum(logs, -1)


def _before(logs: np.ndarray) -> np.ndarray:
    return np.cumsum(logs, -1) - logs


def _future(logs: np.ndarray) -> np.ndarray:
    return np.cumsum(logs[..., ::-1], -1)[..., ::-1]


def _whole(logs: np.ndarray) -> np.ndarray:
    return logs.sum(-1, keepdims=True) + 0 * logs


def _over_episodes(logs: np.ndarray) -> np.ndarray:
    return np.cumsum(logs, -2)


def _aged(logs: np.ndarray, gamma: float) -> np.ndarray:
    """Return sum_{u <= t} gamma^(t - u) log pi_u."""
    steps = np.arange(logs.shape[-1])
    age = np.maximum(steps - steps[:, None], 0)
    return logs @ np.where(steps >= steps[:, None], gamma**age, 0)


def _mean_credit(x: np.ndarray, batch: Batch, credit: np.ndarray) -> np.ndarray:
    """Return the mean over steps of the ratios times that of the credits, episode by episode."""
    moved = batch.log_probs(x) - batch.log_probs(batch.logits)
    powers = batch.gamma ** np.arange(credit.shape[1])
    gained = (powers * credit).sum(-1)
    return (np.exp(moved).mean(-1) * gained) @ batch.weights


def _normalised(what: str, right: np.ndarray, mask: np.ndarray) -> Slips:
    """Return ways to normalise what is asked for as it is."""
    taken = right[mask > 0]
    centred = right - taken.mean()
    return {
        f"the {what} are normalised: they are asked for as they are": (
            mask * centred / taken.std(ddof=1)
        ),
        f"the {what} are normalised, by the root of a mean: they are asked for as they are": (
            mask * centred / taken.std()
        ),
        f"the {what} are normalised, padding among them: they are asked for as they are": (
            mask * (right - right.mean()) / right.std(ddof=1)
        ),
        f"the {what} are normalised, padding made a number: they are asked for as they are": (
            (right - right.mean()) / right.std(ddof=1)
        ),
        f"the {what} of every episode are normalised: they are asked for as they are": (
            (right - right.mean(-1, keepdims=True)) / right.std(-1, ddof=1, keepdims=True)
        ),
        f"the {what} are centred: they are asked for as they are": mask * centred,
        f"the {what} are divided by their spread: they are asked for as they are": (
            right / taken.std(ddof=1)
        ),
    }


def _shifted(each: np.ndarray) -> np.ndarray:
    """Return x_{t+1} along axis 1, and 0 after the last."""
    return np.concatenate([each[:, 1:], 0 * each[:, :1]], 1)


def _tail(batch: Batch) -> np.ndarray:
    return np.where(batch.terminated, 0, batch.final_values)


def _following(batch: Batch) -> np.ndarray:
    """Return V of what follows every step, [B, T]."""
    after = np.concatenate([batch.values[:, 1:], batch.values[:, :1]], -1)
    last = batch.mask.sum(-1).astype(int) - 1
    after[np.arange(len(after)), last] = _tail(batch)
    return after * batch.mask


def _goes_on(batch: Batch) -> np.ndarray:
    """Return 0 at the last step of an episode that ends before the last column, else 1."""
    following = np.concatenate([batch.mask[:, 1:], np.ones_like(batch.mask[:, :1])], -1)
    return following


def _backwards(each: np.ndarray, decay: float, tail: np.ndarray) -> np.ndarray:
    """Return y_t = x_t + decay y_{t+1} along axis 1, with y_T = tail."""
    answer, total = np.empty_like(each), tail
    for t in reversed(range(each.shape[1])):
        total = each[:, t] + decay * total
        answer[:, t] = total
    return answer
