"""Known slips of exercise set 05: the likely cause, and the answer that it leads to.

These are mistakes on purpose; where a linear solve is shorter than a sum over time, it is used.
"""

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np

from bomrl_lite.course.checks import oracles
from bomrl_lite.course.checks.engine import Slips
from bomrl_lite.course.checks.oracles import World
from bomrl_lite.course.checks.set05 import oracles as planted_oracles
from bomrl_lite.course.checks.set05.oracles import Family, Planted

CUT = "the occupancy is held constant: the gradient does not flow through it (no .detach())"


def optimal_actions(planted: Planted) -> Slips:
    """Return what mistakes about the optimal actions lead to."""
    world, optimal = planted.world, planted.optimal
    uniform = np.full_like(optimal, 1 / optimal.shape[1])
    greedy_for = {
        "at_once": world.reward,
        "uniform": oracles.q_values(uniform, world),
    }
    return {
        "ties are ignored: only one of several optimal actions is marked": _first(optimal),
        "ties are ignored: only the last of several optimal actions is marked": (
            _first(optimal[:, ::-1])[:, ::-1]
        ),
        "the marks are exchanged: 1 stands for optimal": 1 - optimal,
        "each row is divided by its sum: every optimal action has its own 1": (
            optimal / optimal.sum(-1, keepdims=True)
        ),
        "the actions are judged by the uniform policy's Q, not by that of an optimal policy": (
            _is_best(greedy_for["uniform"])
        ),
        "the actions are judged by the first reward alone: gamma P V is missing": (
            _is_best(greedy_for["at_once"])
        ),
        "Q is compared with the best of the whole table, not with the best of its own state": (
            _is_best(_best_q(planted), None)
        ),
        **{
            f"value iteration stops after {sweeps} sweeps: let the values settle": (
                _is_best(_swept(world, sweeps))
            )
            for sweeps in (2, 5, 10, 20)
        },
        "the worst actions are marked": _is_best(-_best_q(planted._replace(world=world))),
        "every action is marked": np.ones_like(optimal),
    }


def distance_to_optimum(planted: Planted) -> Slips:
    """Return what mistakes about the distance lead to."""
    world, optimal = planted.world, planted.optimal
    probs, start = world.probs, world.start
    nu, mass = oracles.occupancy(probs, world), (probs * optimal).sum(-1)
    first = (probs * _first(optimal)).sum(-1)
    uniform = optimal / optimal.sum(-1, keepdims=True)
    to_uniform = (uniform * np.log(np.where(optimal > 0, uniform / probs, 1))).sum(-1)
    average = -(uniform * np.log(probs)).sum(-1)
    away = oracles.occupancy(uniform, world)
    right = -nu @ np.log(mass)
    return {
        "the states are not averaged: weigh them by the occupancy and add up": -np.log(mass),
        "the weighted states are not added up": -nu * np.log(mass),
        "the sign is reversed: a distance is not negative": -right,
        "only one optimal action counts: with ties, every mixture of them is optimal": (
            -nu @ np.log(first)
        ),
        "that is the distance to the UNIFORM mixture of optimal actions, not to the nearest one": (
            nu @ to_uniform
        ),
        "log pi is averaged over the optimal actions: add up their probabilities first": (
            nu @ average
        ),
        "log pi is added up over the optimal actions: add up their probabilities first": (
            -nu @ (optimal * np.log(probs)).sum(-1)
        ),
        "every state weighs the same: the weights are the occupancy": -np.log(mass).mean(),
        "the states are added up without weights: the weights are the occupancy": (
            -np.log(mass).sum()
        ),
        "task.start stands where the occupancy belongs": -start @ np.log(mass),
        "that is the largest distance over states: average them by the occupancy": (
            -np.log(mass.min())
        ),
        "the occupancy is that of an optimal policy: D^2 weighs states by where pi_phi goes": (
            -away @ np.log(mass)
        ),
        "the occupancy is not normalised: your value is 1 / (1 - gamma) times the right one": (
            right / (1 - world.gamma)
        ),
        "only the likeliest optimal action counts: add up the probabilities of all of them": (
            -nu @ np.log((probs * optimal).max(-1))
        ),
        "the probabilities of the optimal actions are averaged: add them up": (
            -nu @ np.log(mass / optimal.sum(-1))
        ),
        "the logarithm has base 2: that is bits, not nats": right / np.log(2),
        "the logarithm has base 10": right / np.log(10),
        "the occupancy is that of the nearest optimal policy: D^2 weighs by where pi_phi goes": (
            -oracles.occupancy(probs * optimal / mass[:, None], world) @ np.log(mass)
        ),
        "the logarithm is taken of the average over states: take it in every state": (
            -np.log(nu @ mass)
        ),
        "the logarithm is missing: that is the probability of an action that is not optimal": (
            1 - nu @ mass
        ),
        "the other direction of KL is infinite where pi_phi takes an action that is not optimal": (
            np.array(np.inf)
        ),
        "there is a factor 1 / 2 too many": right / 2,
        "the square root is taken: D^2 is asked for": np.sqrt(right),
        "the factor 1 - gamma is there twice: the occupancy is normalised": (
            (1 - world.gamma) * right
        ),
        "the marks are exchanged: 1 stands for optimal": -nu @ np.log(np.maximum(1 - mass, 1e-300)),
    }


def distance_gradient(planted: Planted, weight: np.ndarray) -> Slips:
    """Return what differentiating the distance gives if the occupancy is cut off."""
    world, optimal = planted.world, planted.optimal
    nu = oracles.occupancy(world.probs, world)

    def frozen(x: np.ndarray) -> np.ndarray:
        return -(nu * np.log((oracles.softmax(x) * optimal).sum(-1))).sum(-1)

    return {CUT: weight * oracles.complex_step(frozen, world.logits)}


def middle_policy(family: Family) -> Slips:
    """Return the mean distances that other policies than the middle one have."""
    members = family.members
    masks = np.array([each.optimal for each in members])
    shares = masks / masks.sum(-1, keepdims=True)
    mean_of = lambda logits: planted_oracles.mean_distance(logits, members)  # noqa: E731
    return {
        "that is the uniform policy: it is where to start, not where to stop": (
            mean_of(np.zeros_like(family.logits))
        ),
        "the tasks' optimal policies are averaged alike in all states: a task counts for more "
        "in the states where its occupancy is larger": mean_of(_log(shares.mean(0))),
        "logits of the optimal actions are averaged: the distance does not average logits": (
            mean_of(masks.mean(0))
        ),
    }


def gain_by_state(planted: Planted) -> Slips:
    """Return what mistakes about the performance difference lead to."""
    world, gamma = planted.world, planted.world.gamma
    theta_world = world._replace(logits=planted.theta)
    before, after = world.probs, theta_world.probs
    nu, nu_after = oracles.occupancy(before, world), oracles.occupancy(after, world)
    q, q_after = oracles.q_values(before, world), oracles.q_values(after, world)
    v, v_after = (before * q).sum(-1), (after * q_after).sum(-1)
    expected = (after * q).sum(-1)
    right = nu_after * (expected - v) / (1 - gamma)
    return {
        "the states are those that pi_phi visits: that is the surrogate's gain, not the return's": (
            nu * (expected - v) / (1 - gamma)
        ),
        "the occupancy is missing": (expected - v) / (1 - gamma),
        "the occupancy is missing, and 1 / (1 - gamma) with it": expected - v,
        "pi_theta is missing: the advantages are weighed by it": (
            nu_after * (q - v[:, None]).sum(-1) / (1 - gamma)
        ),
        "pi_theta is missing, and the occupancy is pi_phi's": (
            nu * (q - v[:, None]).sum(-1) / (1 - gamma)
        ),
        "occupancy and pi_theta are missing": (q - v[:, None]).sum(-1) / (1 - gamma),
        "the factor 1 / (1 - gamma) is missing": (1 - gamma) * right,
        "Q stands where the advantage belongs": nu_after * expected / (1 - gamma),
        "the advantage is not averaged: weigh the actions by pi_theta and add up": (
            nu_after[:, None] * (q - v[:, None]) / (1 - gamma)
        ),
        "the actions are not added up": (
            nu_after[:, None] * after * (q - v[:, None]) / (1 - gamma)
        ),
        "a policy's advantages are averaged by that policy itself: that is always 0": 0 * right,
        "the advantages are those of pi_theta": (
            nu_after * ((before * q_after).sum(-1) - v_after) / (1 - gamma)
        ),
        "the roles are exchanged: that is J(phi) - J(theta)": (
            nu * ((before * q_after).sum(-1) - v_after) / (1 - gamma)
        ),
        "the sign is reversed": -right,
        "task.start stands where the occupancy belongs": world.start * (expected - v) / (1 - gamma),
        "that is the difference of the values at the start; ask in which state it is EARNED": (
            world.start * (v_after - v)
        ),
        "the states are added up: every state has its own share": right.sum(),
        "the softmax runs over states: a state's probabilities must sum to 1, so dim=-1": (
            nu_after * (oracles.softmax(planted.theta.T).T * (q - v[:, None])).sum(-1) / (1 - gamma)
        ),
        "there is one factor 1 / (1 - gamma) too many": right / (1 - gamma),
        "the advantages are averaged uniformly: weigh them by pi_theta": (
            nu_after * (q - v[:, None]).mean(-1) / (1 - gamma)
        ),
        "the largest advantage is taken: weigh them by pi_theta": (
            nu_after * (q - v[:, None]).max(-1) / (1 - gamma)
        ),
        "the shares are divided by their sum": right / right.sum(),
    }


def rigorous_lambda(planted: Planted) -> Slips:
    """Return what mistakes about lam_0 lead to."""
    world, gamma = planted.world, planted.world.gamma
    nu, q = oracles.occupancy(world.probs, world), oracles.q_values(world.probs, world)
    advantage = q - (world.probs * q).sum(-1, keepdims=True)
    right: Any = planted_oracles.safe_weight(planted)
    least, a_max = nu[nu > 1e-12].min(), np.abs(advantage).max()
    best = oracles.q_values(planted.optimal / planted.optimal.sum(-1, keepdims=True), world)
    gap_of_action = np.abs(best - best.max(-1, keepdims=True)).max()
    return {
        "the factor 2 is missing": right / 2,
        "the factor gamma is missing": right / gamma,
        "the factor 1 / (1 - gamma) is missing": right * (1 - gamma),
        "there is one factor 1 / (1 - gamma) too many": right / (1 - gamma),
        "the square root of nu_min is missing": right / np.sqrt(least),
        "nu_min is multiplied by, not divided by": right * least,
        "nu_min is missing": right * np.sqrt(least),
        "the largest occupancy stands where the smallest belongs": (
            right * np.sqrt(least / nu.max())
        ),
        "the mean occupancy stands where the smallest belongs": right * np.sqrt(least / nu.mean()),
        "Q stands where the advantage belongs": right * np.abs(q).max() / a_max,
        "the advantages are averaged: A_max is the largest": (
            right * np.abs(advantage).mean() / a_max
        ),
        "the advantages are those of an optimal policy, not of pi_phi": (
            right * gap_of_action / a_max
        ),
        "nu(s) pi(a | s) stands where nu(s) belongs": right
        * np.sqrt(least / (nu[:, None] * world.probs)[nu > 1e-12].min()),
        "the sum of the advantages stands where their largest belongs": (
            right * np.abs(advantage).sum() / a_max
        ),
        "the square root is over the whole": np.sqrt(2 * gamma * a_max / ((1 - gamma) * least)),
        "the rewards stand where the advantages belong": right * np.abs(world.reward).max() / a_max,
        "V stands where the advantages belong": right
        * np.abs((world.probs * q).sum(-1)).max()
        / a_max,
    }


def gap_bound(planted: Planted) -> Slips:
    """Return what mistakes about the bound lead to."""
    gamma, lam = planted.world.gamma, planted_oracles.lam_of(planted)
    least: Any = planted_oracles.safe_weight(planted)
    apart: Any = planted_oracles.distance(planted.world.logits, planted)
    right: Any = planted_oracles.gap_bound(planted, lam)
    probs, optimal = planted.world.probs, planted.optimal
    nu = oracles.occupancy(probs, planted.world)
    uniform = optimal / optimal.sum(-1, keepdims=True)
    to_uniform = nu @ (uniform * np.log(np.where(optimal > 0, uniform / probs, 1))).sum(-1)
    return {
        "lam_0 is missing: the bound pays for both inequalities": lam / (1 - gamma) * apart,
        "lam is missing: the bound pays for both inequalities": least / (1 - gamma) * apart,
        "lam and lam_0 are subtracted": (lam - least) / (1 - gamma) * apart,
        "the factor 1 / (1 - gamma) is missing": (1 - gamma) * right,
        "there is one factor 1 / (1 - gamma) too many": right / (1 - gamma),
        "that is lam (1 + gamma) / (1 - gamma) D^2, the illustrative bound: no theorem says it": (
            lam * (1 + gamma) / (1 - gamma) * apart
        ),
        "the square root of D^2 is taken": (lam + least) / (1 - gamma) * np.sqrt(apart),
        "D^2 is squared once more: distance_to_optimum returns D^2": (
            (lam + least) / (1 - gamma) * apart**2
        ),
        "only one optimal action counts in D^2: with ties, every mixture of them is optimal": (
            (lam + least) / (1 - gamma) * -nu @ np.log((probs * _first(optimal)).sum(-1))
        ),
        "only the likeliest optimal action counts in D^2: with ties, every mixture is optimal": (
            (lam + least) / (1 - gamma) * -nu @ np.log((probs * optimal).max(-1))
        ),
        "D^2 is the distance to the UNIFORM mixture of optimal actions, not to the nearest one": (
            (lam + least) / (1 - gamma) * to_uniform
        ),
        "lam is there twice": 2 * lam / (1 - gamma) * apart,
        "lam and lam_0 are multiplied": lam * least / (1 - gamma) * apart,
        "1 / (1 - gamma) stands at lam_0 alone": (lam + least / (1 - gamma)) * apart,
        "the condition is upside down: the bound is infinite for lam < lam_0": np.array(np.inf),
    }


def fit_rate(gaps: np.ndarray) -> Slips:
    """Return what mistakes about the fit lead to."""
    columns, means = planted_oracles.terms(len(gaps)), planted_oracles.running_means(gaps)
    free = np.linalg.lstsq(columns, means, rcond=None)[0]
    right = planted_oracles.non_negative_fit(columns, means)
    return {
        "nothing keeps K, M and the floor from being negative": free,
        "negative terms are set to 0 after the fit: the others must be fitted anew without them": (
            free.clip(min=0)
        ),
        "the fit is to the gaps themselves, not to their running average": (
            planted_oracles.non_negative_fit(columns, gaps)
        ),
        "the fit is to the running sum: divide it by the number of its gaps": (
            planted_oracles.non_negative_fit(columns, gaps.cumsum())
        ),
        "the order is K, M, floor; yours is the other way round": right[::-1],
        "the order is K, M, floor; K and M have changed places": right[[1, 0, 2]],
        "the order is K, M, floor; the floor comes first": right[[2, 0, 1]],
        "T counts from 2": _fit_to_counts(np.arange(2, len(gaps) + 2), means),
        "the columns are 1 / T, 1 / T^2, 1: the second is 1 / sqrt(T)": (
            planted_oracles.non_negative_fit(columns * [1, 0, 1] + columns**4 * [0, 1, 0], means)
        ),
        "the first set of columns that is not negative is taken: keep the best of all sets": (
            _first_feasible(columns, means)
        ),
        "negative terms are turned positive: fit anew without them": np.abs(free),
        "only single terms are tried: the best of all eight sets counts": _best_fit(
            columns, means, (1,)
        ),
        "no set but all three columns together is accepted, if that: try every set, with T from 1": (  # noqa: E501
            _best_fit(columns, means, (3,))
        ),
        "the floor is missing among the columns": np.append(
            planted_oracles.non_negative_fit(columns[:, :2], means), 0.0
        ),
        "the last average is taken for the floor": np.array([0.0, 0.0, means[-1]]),
    }


def shift_bound(planted: Planted) -> Slips:
    """Return what mistakes about the move of the occupancy lead to."""
    world, gamma = planted.world, planted.world.gamma
    before, after = world.probs, oracles.softmax(planted.theta)
    nu, nu_after = oracles.occupancy(before, world), oracles.occupancy(after, world)
    apart = np.abs(after - before)
    tv, kl = apart.sum(-1) / 2, (before * np.log(before / after)).sum(-1)
    factor, right = 2 * gamma / (1 - gamma), planted_oracles.shift_bound(planted)
    return {
        "the factor 2 is missing": np.array(right / 2),
        "TV is HALF the sum of the absolute differences": np.array(2 * right),
        "the factor gamma is missing": np.array(right / gamma),
        "the factor 1 / (1 - gamma) is missing": np.array(right * (1 - gamma)),
        "there is one factor 1 / (1 - gamma) too many": np.array(right / (1 - gamma)),
        "the states are those that pi_theta visits: only those of pi_phi are known": (
            factor * nu_after @ tv
        ),
        "the largest TV stands where its mean belongs: states count as often as they are visited": (
            factor * tv.max()
        ),
        "all states count alike: they count as often as pi_phi visits them": factor * tv.mean(),
        "the states are added up unweighted: they count as often as pi_phi visits them": (
            factor * tv.sum()
        ),
        "task.start stands where the occupancy belongs": factor * world.start @ tv,
        "that is the move itself, not the bound: for theta nothing may be solved": np.array(
            planted_oracles.shift(planted)
        ),
        "the differences are added up without their absolute values: that is always 0": np.array(
            0.0
        ),
        "KL stands where TV belongs": factor * nu @ kl,
        "that is Pinsker's inequality applied as well: stop at TV": factor * np.sqrt(nu @ kl / 2),
        "the states are not added up: the bound is one number": factor * nu * tv,
        "the difference is squared": factor * nu @ (apart**2).sum(-1) / 2,
    }


def _swept(world: World, sweeps: int) -> np.ndarray:
    """Return Q after some sweeps of value iteration from 0."""
    q = world.reward
    for _ in range(sweeps - 1):
        q = world.reward + world.gamma * world.transition @ q.max(-1)
    return q


def _fit_to_counts(counts: np.ndarray, means: np.ndarray) -> np.ndarray:
    columns = np.stack([1 / counts, counts**-0.5, np.ones(len(counts))], -1)
    return planted_oracles.non_negative_fit(columns, means)


def _best_fit(columns: np.ndarray, means: np.ndarray, sizes: Sequence[int]) -> np.ndarray:
    """Return the best fit without a minus among sets of so many columns; zeros if there is none."""
    answer, best = np.zeros(3), float((means**2).sum())
    for size in sizes:
        for chosen in map(list, itertools.combinations(range(3), size)):
            part = np.linalg.lstsq(columns[:, chosen], means, rcond=None)[0]
            error = float(((columns[:, chosen] @ part - means) ** 2).sum())
            if part.min() >= 0 and error < best:
                answer, best = np.zeros(3), error
                answer[chosen] = part
    return answer


def _first_feasible(columns: np.ndarray, means: np.ndarray) -> np.ndarray:
    """Fit single columns, then pairs, then all three, and stop at the first without a minus."""
    for size in (1, 2, 3):
        for chosen in itertools.combinations(range(3), size):
            part = np.linalg.lstsq(columns[:, chosen], means, rcond=None)[0]
            if (part >= 0).all():
                answer = np.zeros(3)
                answer[list(chosen)] = part
                return answer
    return np.zeros(3)


def _first(optimal: np.ndarray) -> np.ndarray:
    return np.eye(optimal.shape[1])[optimal.argmax(-1)]


def _is_best(q: np.ndarray, axis: int | None = -1) -> np.ndarray:
    return (q >= q.max(axis, keepdims=True) - 1e-9).astype(float)


def _best_q(planted: Planted) -> np.ndarray:
    return oracles.q_values(planted.optimal / planted.optimal.sum(-1, keepdims=True), planted.world)


def _log(probs: np.ndarray) -> np.ndarray:
    return np.log(np.maximum(probs, 1e-300))
