r"""Oracles of exercise set 06: one robot, one episode, one sample at a time, in plain loops.

The adapted head is found from values of the objective alone: a quadratic function is known by its
differences.
"""

from typing import NamedTuple

import numpy as np


class Fleet(NamedTuple):
    """One step of N tasks times B robots."""

    before: np.ndarray
    """[N, B]."""
    after: np.ndarray
    actions: np.ndarray
    """[N, B, K]."""
    speeds: np.ndarray
    """[N]."""
    step_seconds: float


class Portion(NamedTuple):
    """What was seen before, one row per observation, and what is seen now."""

    earlier: np.ndarray
    """[n, O]; n may be 0."""
    observations: np.ndarray
    """[N, B, T, O]."""
    mask: np.ndarray
    """[N, B, T]."""


class Samples(NamedTuple):
    """What adaptation looks at; the deviations are those of the policy, and must not matter."""

    weights: np.ndarray
    """[N, K, d]."""
    features: np.ndarray
    """[N, M, d]."""
    actions: np.ndarray
    """[N, M, K]."""
    advantages: np.ndarray
    """[N, M]."""
    lam: float
    ridge: float
    sigma: float = 1.0


class Protocols(NamedTuple):
    """What P ways to adapt reached after each of their collections."""

    returns: np.ndarray
    """[P, C + 1]."""
    episodes: np.ndarray
    """[P, C]."""
    horizon: int
    budget: int


def rewards(fleet: Fleet) -> np.ndarray:
    """Return -|v - v*| - .05 |a|^2 of every robot, [N, B]."""
    answer = np.zeros_like(fleet.before)
    for n, b in np.ndindex(answer.shape):
        speed = (fleet.after[n, b] - fleet.before[n, b]) / fleet.step_seconds
        effort = float(fleet.actions[n, b] @ fleet.actions[n, b])
        answer[n, b] = -abs(speed - fleet.speeds[n]) - 0.05 * effort
    return answer


def observations(qpos: np.ndarray, qvel: np.ndarray, num_tasks: int) -> np.ndarray:
    """Return positions but the first, then velocities, by task and episode."""
    num_episodes = len(qpos) // num_tasks
    answer = np.zeros((num_tasks, num_episodes, qpos.shape[1] - 1 + qvel.shape[1]))
    for m in range(len(qpos)):
        answer[m // num_episodes, m % num_episodes] = [*qpos[m][1:], *qvel[m]]
    return answer


def dealt(values: np.ndarray, num_episodes: int) -> np.ndarray:
    """Return the row of its task for every simulation."""
    return np.array([values[m // num_episodes] for m in range(len(values) * num_episodes)])


def mean_returns(paid: np.ndarray, over: np.ndarray) -> np.ndarray:
    """Return the mean over episodes of what each was paid up to its end, [N]."""
    num_tasks, num_episodes, horizon = paid.shape
    answer = np.zeros(num_tasks)
    for n, b in np.ndindex(num_tasks, num_episodes):
        for t in range(horizon):
            answer[n] += paid[n, b, t] / num_episodes
            if over[n, b, t]:
                break
    return answer


def moments_of(rows: np.ndarray) -> np.ndarray:
    """Return count, mean and sum of squared deviations of rows [n, O], all at once, [3, O]."""
    size = rows.shape[1]
    if len(rows) == 0:
        return np.zeros((3, size))
    exact = rows.astype(np.longdouble)
    mean = exact.mean(0)
    squares = ((exact - mean) ** 2).sum(0)
    return np.array([np.full(size, len(rows)), mean, squares], dtype=float)


def joined(portion: Portion) -> np.ndarray:
    """Return the moments of all rows that count, [3, O]."""
    now = portion.observations[portion.mask > 0]
    return moments_of(np.concatenate([portion.earlier, now]))


def adapted(samples: Samples) -> np.ndarray:
    """Return the maximum of every task's objective, [N, K, d]."""
    answers = []
    for n, start in enumerate(samples.weights):
        answers.append(_highest(objective_of(samples, n), start))
    return np.array(answers)


def speed_ups(seconds: np.ndarray, factors: np.ndarray) -> np.ndarray:
    """Return time before over time after, scenario by scenario."""
    after = [sum(s / f for s, f in zip(seconds, row, strict=True)) for row in factors]
    return np.array([sum(seconds) / each for each in after])


def reached(protocols: Protocols) -> np.ndarray:
    """Walk along each protocol until the next collection cannot be paid."""
    answer = []
    for returns, episodes in zip(protocols.returns, protocols.episodes, strict=True):
        left, adaptations = protocols.budget, 0
        while adaptations < len(episodes) and left >= episodes[adaptations] * protocols.horizon:
            left -= episodes[adaptations] * protocols.horizon
            adaptations += 1
        answer.append(returns[adaptations])
    return np.array(answer)


class Objective(NamedTuple):
    """Surrogate minus lam times divergence and ridge, of one task."""

    start: np.ndarray
    features: np.ndarray
    actions: np.ndarray
    advantages: np.ndarray
    dials: Samples

    def __call__(self, weights: np.ndarray) -> float:
        """Return its value at weights of the head."""
        variance, total = self.dials.sigma**2, 0.0
        for h, a, better in zip(self.features, self.actions, self.advantages, strict=True):
            mean, moved = self.start @ h, weights @ h
            pays = better * (a - mean) @ (moved - mean) / variance
            apart = (moved - mean) @ (moved - mean) / (2 * variance)
            total += (pays - self.dials.lam * apart) / len(self.features)
        far = ((weights - self.start) ** 2).sum() / (2 * variance)
        return float(total - self.dials.lam * self.dials.ridge * far)


def objective_of(samples: Samples, task: int) -> Objective:
    """Return what one task's adaptation maximises."""
    start, features, actions, advantages = (part[task] for part in samples[:4])
    return Objective(start, features, actions, advantages, samples)


def _highest(objective: Objective, start: np.ndarray) -> np.ndarray:
    """Maximise a quadratic function by its second differences: exact but for rounding."""
    units = np.eye(start.size).reshape(-1, *start.shape)
    here = objective(start)
    ahead = np.array([objective(start + u) for u in units])
    behind = np.array([objective(start - u) for u in units])
    both = np.array([[objective(start + u + v) for v in units] for u in units])
    slope, bend = (ahead - behind) / 2, both - ahead[:, None] - ahead + here
    return start - np.linalg.solve(bend, slope).reshape(start.shape)
