"""Known slips of exercise set 06: the likely cause, and the answer that it leads to.

These are mistakes on purpose.
"""

import numpy as np

from bomrl_lite.course.checks.engine import Slips
from bomrl_lite.course.checks.set06 import oracles
from bomrl_lite.course.checks.set06.oracles import Fleet, Portion, Protocols, Samples

BROADCAST = (
    "shapes are compared from the last dimension on: a value per task, [N], meets the episodes of "
    "[N, B]; x[:, None] makes it a column"
)
"""Where sizes differ it is an error, where they agree a wrong answer."""
PAST_THE_TASKS = (
    "an index runs past the tasks: row m belongs to task m // B, and B is the number of episodes"
)
SINGULAR = (
    "where a feature is always 0, or samples are fewer than features, C is singular: the ridge is "
    "what makes it invertible"
)
POISON = (
    "0 * nan is nan: select what counts with torch.where or x[mask > 0] instead of multiplying by "
    "a mask"
)


def speed_reward(fleet: Fleet) -> Slips:
    """Return what mistakes about the reward lead to."""
    dt, speeds, squares = fleet.step_seconds, fleet.speeds[:, None], fleet.actions**2
    v = (fleet.after - fleet.before) / dt
    missed, effort = np.abs(v - speeds), squares.sum(-1)
    cost = 0.05 * effort
    wrong: dict[str, np.ndarray] = {}
    if fleet.before.shape[0] == fleet.before.shape[1]:
        wrong["every episode has a goal: " + BROADCAST] = -np.abs(v - fleet.speeds) - cost
    return wrong | {
        "step_seconds is missing: v is a distance divided by a time": (
            -np.abs(v * dt - speeds) - cost
        ),
        "the distance is multiplied by step_seconds: divide": -np.abs(v * dt**2 - speeds) - cost,
        "v has the wrong sign: after minus before": -np.abs(-v - speeds) - cost,
        "the effort is averaged over joints: it is summed": -missed - 0.05 * squares.mean(-1),
        "the effort is summed over tasks and episodes too: every simulation pays its own": (
            -missed - 0.05 * squares.sum()
        ),
        "the effort is summed over the episodes of a task too: every simulation pays its own": (
            -missed - 0.05 * squares.sum((1, 2))[:, None]
        ),
        "|a| stands where |a|^2 belongs": -missed - 0.05 * np.sqrt(effort),
        "absolute actions are summed: they are squared": (
            -missed - 0.05 * np.abs(fleet.actions).sum(-1)
        ),
        "the factor 0.05 of the effort is missing": -missed - effort,
        "the factor of the effort is 0.05": -missed - 0.5 * effort,
        "the effort is missing": -missed,
        "effort is paid for: it costs": -missed + cost,
        "the sign of |v - v*| is reversed": missed - cost,
        "|v - v*| is squared": -(missed**2) - cost,
        "the absolute value is missing: too slow is as wrong as too fast": v - speeds - cost,
        "the goal is missing: that pays for standing still": -np.abs(v) - cost,
        "the sign of all of it is reversed: a reward is to be large": missed + cost,
        "speed is measured without its direction": -np.abs(np.abs(v) - speeds) - cost,
        "the place stands where the velocity belongs": -np.abs(fleet.after - speeds) - cost,
        "the reward is multiplied by step_seconds": dt * (-missed - cost),
    }


def observe(case: tuple[np.ndarray, np.ndarray, int]) -> Slips:
    """Return what mistakes about observations lead to."""
    qpos, qvel, num_tasks = case
    seen = np.concatenate([qpos[:, 1:], qvel], -1)

    def rows(*columns: np.ndarray) -> np.ndarray:
        each = np.concatenate(columns, -1)
        return each.reshape(num_tasks, -1, each.shape[-1])

    by_episode = seen.reshape(-1, num_tasks, seen.shape[-1]).swapaxes(0, 1)
    return {
        "the place x is still there: leave the first position out": rows(qpos, qvel),
        "the first velocity is left out too: only the place is unseen": rows(
            qpos[:, 1:], qvel[:, 1:]
        ),
        "the LAST position is left out: x is the first": rows(qpos[:, :-1], qvel),
        "velocities come first: positions do": rows(qvel, qpos[:, 1:]),
        "simulations are read episode by episode: they are numbered task by task": by_episode,
        "tasks and episodes have changed places": rows(seen).swapaxes(0, 1),
        "the simulations are not split into tasks and episodes": seen,
        "velocities are missing": rows(qpos[:, 1:]),
    }


def deal(case: tuple[np.ndarray, int]) -> Slips:
    """Return what mistakes about dealing lead to."""
    values, count = case
    apart = np.repeat(values[:, None], count, axis=1)
    return {
        "that is 0, 1, 2, 0, 1, 2, the order of repeat, tile and cat: simulations are numbered "
        "task by task, 0, 0, 1, 1, 2, 2, as repeat_interleave does": (
            np.concatenate([values] * count)
        ),
        "tasks and episodes are still two dimensions: flatten(0, 1)": apart,
        "the new dimension for episodes is in front: it follows the tasks": apart.swapaxes(0, 1),
        "the values are repeated along the last dimension: rows are to be repeated": (
            np.repeat(values, count, axis=-1)
        ),
        "every row is repeated N times: B, the number of episodes, is asked for": (
            np.repeat(values, len(values), axis=0)
        ),
        "rows are tiled N times: repeat each one B times, the number of episodes": (
            np.concatenate([values] * len(values))
        ),
        "all dimensions are repeated and flattened: without dim=0 that is what happens": (
            np.repeat(values, count)
        ),
    }


def mean_returns(case: tuple[np.ndarray, np.ndarray]) -> Slips:
    """Return what mistakes about ends lead to."""
    paid, over = case
    ends = np.cumsum(over, -1)
    going = (ends - over == 0).astype(float)
    right, lengths = (going * paid).sum(-1), going.sum(-1)
    late = np.concatenate([np.zeros_like(over[..., :1]), over[..., :-1]], -1)
    one_more = np.concatenate([np.ones_like(going[..., :1]), going[..., :-1]], -1)
    last = np.where(over.any(-1), over.shape[-1] - 1 - over[..., ::-1].argmax(-1), over.shape[-1])
    to_last = np.arange(over.shape[-1]) <= last[..., None]
    return {
        "one step after the end is counted, too: over is 1 at the last step that counts": (
            (one_more * paid).sum(-1).mean(-1)
        ),
        "steps count up to the LAST over: an episode ends at its first": (
            (to_last * paid).sum(-1).mean(-1)
        ),
        "all steps count, also those after the end": paid.sum(-1).mean(-1),
        "the reward of the step that ends an episode is missing: over tells what is after it": (
            ((ends == 0) * paid).sum(-1).mean(-1)
        ),
        "only steps marked over are left out: an episode that is over stays over": (
            ((1 - over) * paid).sum(-1).mean(-1)
        ),
        "over is only shifted by one step: an episode that is over stays over": (
            ((1 - late) * paid).sum(-1).mean(-1)
        ),
        "that is what comes AFTER the end": ((1 - going) * paid).sum(-1).mean(-1),
        "steps are averaged: a return is a sum": (right / lengths).mean(-1),
        "the mean is over all steps of a task, not over episodes": right.sum(-1) / lengths.sum(-1),
        "the steps are averaged over T: a return is a sum": (going * paid).mean(-1).mean(-1),
        "episodes are summed: their mean is asked for": right.sum(-1),
        "the episodes are not averaged": right,
        "tasks are averaged too: every task has its own": right.mean(),
        "the mean is over tasks: it is over the episodes of each": right.mean(0),
        "episodes are multiplied by their length": (right * lengths).mean(-1),
        "that is the largest return among the episodes": right.max(-1),
        "only the last reward of an episode is taken: a return is a sum": (
            np.take_along_axis(paid, lengths.astype(int)[..., None] - 1, -1)[..., 0].mean(-1)
        ),
        "only episodes that end count: one that lasts T steps counts too": (
            (right * over.any(-1)).sum(-1) / over.any(-1).sum(-1)
        ),
    }


def update_moments(portion: Portion) -> Slips:
    """Return what mistakes about moments lead to."""
    right = oracles.joined(portion)
    before = oracles.moments_of(portion.earlier)
    now = oracles.moments_of(portion.observations[portion.mask > 0])
    everything = portion.observations.reshape(-1, right.shape[1])
    wrong = {
        "the mask is ignored": oracles.moments_of(np.concatenate([portion.earlier, everything])),
        "what was seen before is forgotten": now,
        "nothing new has arrived: those are the old moments": before,
    }
    zeros = portion.mask[..., None] * portion.observations
    flat, size = zeros.reshape(-1, right.shape[1]), portion.mask.size
    dips = ((1 - portion.mask[..., None]) * (now[1] ** 2)).reshape(-1, right.shape[1]).sum(0)
    around = ((portion.observations - flat.mean(0)) ** 2 * portion.mask[..., None]).sum((0, 1, 2))
    wrong |= {
        "observations times the mask are zeros, and those zeros count: select with mask > 0": (
            oracles.moments_of(np.concatenate([portion.earlier, flat]))
        ),
        "the new mean is a mean over N B T, padding included: divide by the sum of the mask": (
            _joined(before, np.array([now[0], flat.mean(0), around]))
        ),
        "n' is N B T: the sum of the mask is how many count": (
            _joined(before, np.array([size + 0 * now[0], flat.mean(0), around]))
        ),
        "n' is N B T in the count and in all weights: the sum of the mask is how many count": (
            _joined(before, np.array([size + 0 * now[0], now[1], now[2]]))
        ),
        "padding adds deviations of 0 from the mean to S: multiply the DEVIATIONS by the mask": (
            right + np.array([0 * dips, 0 * dips, dips])
        ),
    }
    counts = {
        "the count is that of the new portion alone": now[0],
        "the count grows by 1: it counts observations": before[0] + 1,
    }
    wrong["the mean is over all entries of an observation: every entry has its own"] = np.array(
        [right[0], right[1].mean() + 0 * right[1], right[2]]
    )
    counts["the count is a mean over entries of the mask"] = before[0] + portion.mask.mean()
    counts["padding is counted, too"] = before[0] + portion.mask.size
    rows = counts, _wrong_means(before, now), _wrong_squares(before, now, right)
    for row, slips in enumerate(rows):
        for cause, values in slips.items():
            wrong[cause] = np.array([*right[:row], values, *right[row + 1 :]])
    return wrong


def _joined(before: np.ndarray, now: np.ndarray) -> np.ndarray:
    """Join two rows of moments as the right answer does, [3, O]."""
    count, apart = before[0] + now[0], now[1] - before[1]
    squares = before[2] + now[2] + before[0] * now[0] / count * apart**2
    return np.array([count, before[1] + now[0] / count * apart, squares])


def _wrong_means(before: np.ndarray, now: np.ndarray) -> Slips:
    count, apart = before[0] + now[0], now[1] - before[1]
    return {
        "means are averaged: the larger portion counts more": (before[1] + now[1]) / 2,
        "the new mean moves the whole way: its share is n' / n''": now[1],
        "the share of the new mean is n' / n'', not n / n''": before[1] + before[0] / count * apart,
        "the mean is off by a sign: delta is new minus old": before[1] - now[0] / count * apart,
        "the mean is a sum: divide by the count": before[0] * before[1] + now[0] * now[1],
    }


def _wrong_squares(before: np.ndarray, now: np.ndarray, right: np.ndarray) -> Slips:
    count, variance = right[0], right[2] / right[0]
    apart, inside = now[1] - before[1], before[2] + now[2]
    return {
        "the shift between the two means is missing in the squares": inside,
        "that shift is not squared": inside + before[0] * now[0] / count * apart,
        "the shift is weighted with n instead of n n' / n''": inside + before[0] * apart**2,
        "the shift is weighted with n' instead of n n' / n''": inside + now[0] * apart**2,
        "the shift lacks the count n': n n' / n''": inside + before[0] / count * apart**2,
        "the portion's own S is its variance: multiply by its count n'": (
            inside - now[2] + now[2] / now[0] + before[0] * now[0] / count * apart**2
        ),
        "the portion's own S is its variance over n' - 1, or is divided by it": (
            inside
            - now[2]
            + now[2] / np.maximum(now[0] - 1, 1)
            + before[0] * now[0] / count * apart**2
        ),
        "the portion's own S is multiplied by n' / (n' - 1): torch's var divides by n' - 1": (
            right[2] + now[2] / np.maximum(now[0] - 1, 1)
        ),
        "the portion's own deviations are taken from the old mean: take them from its own": (
            right[2] + now[0] * apart**2
        ),
        "the portion's own S holds o^2: deviations from its mean are squared": (
            right[2] + now[0] * now[1] ** 2
        ),
        "the old S is missing": right[2] - before[2],
        "the portion's own S is missing": right[2] - now[2],
        "row S holds variances: keep the sum of squared deviations": variance,
        "row S holds standard deviations: keep the sum of squared deviations": np.sqrt(variance),
        "row S holds sums of o^2: deviations from the mean are squared": (
            right[2] + count * right[1] ** 2
        ),
    }


def adapt_head(samples: Samples) -> Slips:
    """Return what mistakes about the closed form lead to."""
    start, lam = samples.weights, samples.lam
    spread, pushed = _normal_equations(samples)
    ridged = spread + samples.ridge * np.eye(spread.shape[-1])
    change = np.linalg.solve(ridged, pushed).mT / lam
    systems = {
        cause: start + np.linalg.solve(*system).mT / lam
        for cause, system in _wrong_systems(samples).items()
    }
    return systems | {
        "that is the change alone: add it to the weights": change,
        "the change or the noise a - W h is negated: the objective is climbed": start - change,
        "the step is half as long: the divergence holds a 1/2 that its slope cancels": start
        + change / 2,
        "the step is twice as long: 1 / lam, the 1/2 of the divergence is gone by then": (
            start + 2 * change
        ),
        "1 / lam is missing": start + lam * change,
        "the change is multiplied by lam: a larger distance weight means a smaller step": (
            start + lam**2 * change
        ),
        "the solve is missing: that is a plain gradient step": start + pushed.mT / lam,
        "the variance does not cancel: there is one in the surrogate and one in the divergence": (
            start + change / samples.sigma**2
        ),
    }


def _wrong_systems(samples: Samples) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Return the pairs (matrix, right-hand side) that mistakes about either lead to."""
    lam, num = samples.lam, samples.features.shape[1]
    spread, pushed = _normal_equations(samples)
    ridge = samples.ridge * np.eye(spread.shape[-1])
    right, sums, pooled = spread + ridge, num * spread + ridge, spread.mean(0) + ridge
    unweighted = samples._replace(advantages=np.ones_like(samples.advantages))
    better = samples.advantages
    spread_of = better.std(-1, ddof=1, keepdims=True)
    scaled = samples._replace(advantages=(better - better.mean(-1, keepdims=True)) / spread_of)
    centred = samples._replace(advantages=better - better.mean(-1, keepdims=True))
    tasks = len(spread)
    from_zero = samples._replace(weights=np.zeros_like(samples.weights))
    diagonal = np.eye(spread.shape[-1]) * spread
    return {
        "only the diagonal of C is used": (diagonal + ridge, pushed),
        "the ridge is missing": (spread, pushed),
        "ridge fills the whole matrix: it belongs on the diagonal, times the identity": (
            (spread + samples.ridge, pushed)
        ),
        "the ridge is divided by lam too: lam multiplies the divergence and the ridge alike": (
            (spread + ridge / lam, pushed)
        ),
        "the ridge is multiplied by lam once more": (spread + lam * ridge, pushed),
        "the advantages are missing": (right, _normal_equations(unweighted)[1]),
        "actions stand where the noise a - W h belongs": (right, _normal_equations(from_zero)[1]),
        "the right-hand side is a sum: both are averages over samples": (right, num * pushed),
        "C is a sum over samples: both are averages": (sums, pushed),
        "both are sums over samples: then the ridge weighs too little": (sums, num * pushed),
        "the advantages are normalised: take them as they come": (
            right,
            _normal_equations(scaled)[1],
        ),
        "the advantages are centred: take them as they come": (
            right,
            _normal_equations(centred)[1],
        ),
        "the averages are over tasks, N: they are over the M samples of each": (
            num / tasks * spread + ridge,
            num / tasks * pushed,
        ),
        "the ridge is 1, whatever rho is": (spread + np.eye(spread.shape[-1]), pushed),
        "advantages weigh C, too: only the right-hand side holds them": (
            samples.features.mT @ (better[..., None] * samples.features) / num + ridge,
            pushed,
        ),
        "C is that of all tasks together: every task has its own": (pooled, pushed),
        "the data of all tasks are put together: every task adapts to its own": (
            (pooled, pushed.mean(0))
        ),
    }


def _normal_equations(samples: Samples) -> tuple[np.ndarray, np.ndarray]:
    """Return C without its ridge, [N, d, d], and the right-hand side, [N, d, K]."""
    h, num = samples.features, samples.features.shape[1]
    noise = samples.actions - h @ samples.weights.mT
    return h.mT @ h / num, h.mT @ (samples.advantages[..., None] * noise) / num


def speed_up(case: tuple[np.ndarray, np.ndarray]) -> Slips:
    """Return what mistakes about Amdahl's law lead to."""
    seconds, factors = case
    left = (seconds / factors).sum(-1)
    finite = np.where(np.isinf(factors), 1e12, factors)
    free = np.isinf(factors)
    kept = (seconds / np.where(free, 1, factors)).sum(-1)
    with_zeros = np.where(free, 0, seconds / factors).sum(-1)
    return {
        "that is in percent: a factor is asked for": 100 * seconds.sum() / left,
        "that is how many percent faster it is: a factor is asked for": (
            100 * (seconds.sum() / left - 1)
        ),
        "that is the percentage of time that is saved: a factor is asked for": (
            100 * (1 - left / seconds.sum())
        ),
        "1 is subtracted: twice as fast is a factor of 2": seconds.sum() / left - 1,
        "inf is taken as 1: a part that is free takes no time": seconds.sum() / kept,
        "a part that is free is left out before, too: its seconds are what is saved": (
            np.where(free, 0, seconds).sum(-1) / with_zeros
        ),
        "those are the seconds that are left: divide the seconds before by them": left,
        "that is the share of time that is left: its inverse is asked for": left / seconds.sum(),
        "every part counts alike: weigh it with its seconds": (
            len(seconds) / (1 / factors).sum(-1)
        ),
        "seconds are multiplied by the factors: a faster part takes less": (
            seconds.sum() / (seconds * factors).sum(-1)
        ),
        "that is the time that is saved": seconds.sum() - left,
        "that is the share of time that is saved": 1 - left / seconds.sum(),
        "factors are averaged: time adds up, speed does not": factors.mean(-1),
        "factors are averaged by their seconds: time adds up, speed does not": (
            (seconds * factors).sum(-1) / seconds.sum()
        ),
        "factors are multiplied: time adds up, speed does not": factors.prod(-1),
        "the largest factor counts: the slower parts remain": factors.max(-1),
        "the geometric mean is taken: time adds up, speed does not": (
            factors.prod(-1) ** (1 / len(seconds))
        ),
        "the parts are not added up": seconds.sum() / (seconds / finite),
        "scenarios are added up: every row of factors has its own answer": (
            seconds.sum() / left.sum()
        ),
    }


def returns_at_budget(protocols: Protocols) -> Slips:
    """Return what mistakes about the comparison lead to."""
    returns, episodes, horizon, budget = protocols
    costs = horizon * episodes.cumsum(-1)
    paid = (costs <= budget).sum(-1)
    rows = np.arange(len(returns))
    last = episodes.shape[1]

    def at(index: np.ndarray) -> np.ndarray:
        return returns[rows, np.clip(index, 0, last)]

    spent = horizon * episodes
    best = np.array([row[: count + 1].max() for row, count in zip(returns, paid, strict=True)])
    alike = min(budget // int(costs.max(0)[0]), last)
    return {
        "that is the last return, whatever it cost: the budget counts steps, episodes x horizon": (
            returns[:, -1]
        ),
        "all protocols are judged after as many adaptations: their collections cost differently": (
            returns[:, alike]
        ),
        "all protocols are judged after as many adaptations as the dearest affords": (
            returns[:, paid.min()]
        ),
        "all protocols are judged after as many adaptations as the cheapest affords": (
            returns[:, paid.max()]
        ),
        "all protocols are judged after as many adaptations as the first one affords": (
            returns[:, paid[0]]
        ),
        "costs are added up over protocols: every protocol pays for its own collections": (
            at((spent.cumsum(0) <= budget).sum(-1))
        ),
        "every collection is taken to cost as much as the first": (
            at((spent[:, :1] * np.arange(1, last + 1) <= budget).sum(-1))
        ),
        "every collection is taken to cost as much as they do on average": (
            at((spent.mean(-1, keepdims=True) * np.arange(1, last + 1) <= budget).sum(-1))
        ),
        "that is the best return so far: to know which it is takes episodes that nobody has paid": (
            best
        ),
        "the collection that breaks the budget is counted": at(paid + 1),
        "the returns begin with adaptation 0: one more adaptation is affordable": at(paid - 1),
        "a collection that the budget just pays for is affordable: <=": (
            at((costs < budget).sum(-1))
        ),
        "each collection is compared with the whole budget: costs add up": (
            at((horizon * episodes <= budget).sum(-1))
        ),
        "the return is interpolated: a collection is paid in full or not at all": np.array(
            [np.interp(budget, [0, *cost], row) for cost, row in zip(costs, returns, strict=True)]
        ),
        "the returns up to there are averaged": np.array(
            [row[: count + 1].mean() for row, count in zip(returns, paid, strict=True)]
        ),
        "that is how many adaptations are affordable: return what they reached": paid,
        "only the protocol that is best is returned: every protocol has its own": at(paid).max(),
    }
