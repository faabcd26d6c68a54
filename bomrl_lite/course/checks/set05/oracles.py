r"""Oracles of exercise set 05: tasks whose optimal actions are planted, and least mean distances.

A planted task is built backwards: choose V*, choose which actions are optimal, then pay

    r(s, a) = V*(s) - gamma sum_s' P(s' | s, a) V*(s') - (0 if optimal, else a slack > 0).

Bellman's optimality equation holds by construction, ties included, so nothing has to be solved.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from bomrl_lite.course.checks.draws import instance, once
from bomrl_lite.course.checks.oracles import (
    World,
    occupancy,
    policy_return,
    q_values,
    random_world,
    softmax,
)
from bomrl_lite.course.checks.questions import BANDIT, ROUNDS, SIZES, TWO_ROOMS

UNREACHED_FROM = 2 * len(SIZES)
"""Random instances from this one on have a last state that nobody reaches."""


class Planted(NamedTuple):
    """A world whose optimal actions are known, two policies in it and a weight."""

    world: World
    """Its logits are phi."""
    optimal: np.ndarray
    """1 for optimal actions, else 0, [S, A]."""
    theta: np.ndarray
    """Logits of another policy, [S, A]."""
    factor: float = 1.5
    """lam of the gap bound, in units of lam_0; > 1."""


class Family(NamedTuple):
    """Planted tasks of one size, and the least mean distance of one policy to their optima."""

    label: str
    members: tuple[Planted, ...]
    least: float

    @property
    def logits(self) -> np.ndarray:
        """Return some logits of the family's size, [S, A]."""
        return self.members[0].world.logits


ROOMS = Planted(
    TWO_ROOMS,
    np.array([[1.0, 1.0], [1.0, 0.0]]),
    theta=np.log([[0.5, 0.5], [0.75, 0.25]]),
    factor=3.0,
)
"""With gamma = 1/2, staying in room 0 for ever (2 = 1 / (1 - gamma)) and leaving (gamma 4) tie."""


@once
def planted_worlds() -> tuple[Planted, ...]:
    """Return the random instances of every check: seeded, of several sizes, with ties."""
    return tuple(_planted_world(i) for i in range(ROUNDS * len(SIZES)))


SLOW_SEEDS = (2, 45)
"""Tasks whose optimal actions policy iteration finds late.

Found by ``tests/separating.py``: policy iteration that stops after one or two improvements, begun
with the uniform policy, the first action or the largest reward, marks wrong actions in one of them.
"""


@once
def slow_worlds() -> tuple[Planted, ...]:
    """Return planted tasks in which two improvements of the uniform policy are not enough."""
    return tuple(slow_world(seed) for seed in SLOW_SEEDS)


def slow_world(seed: int) -> Planted:
    """Plant optimal actions, with ties, in a world whose steps are nearly certain."""
    num_states, num_actions, gamma = 6, 3, 0.9
    world, draw = random_world(seed, num_states, num_actions, gamma), np.random.default_rng(seed)
    weights = draw.random((num_states, num_actions, num_states)) ** 30
    transition = weights / weights.sum(-1, keepdims=True)
    counts = 1 + np.arange(num_states) % 2
    optimal = (draw.random(world.reward.shape).argsort(-1) < counts[:, None]).astype(float)
    reward = planted_reward(transition, optimal, gamma, draw)
    return Planted(world._replace(transition=transition, reward=reward), optimal, world.logits)


@once
def rarely_visited() -> Planted:
    """Return a planted task with a state that is reached, but with nu = 1e-5 only."""
    planted = planted_worlds()[0]
    world = planted.world
    start, transition = world.start.copy(), world.transition.copy()
    start[-1], transition[:, :, -1] = 0.0, 0.0
    transition[-1] = world.transition[-1]
    transition = transition / transition.sum(-1, keepdims=True)
    transition[:-1] *= 1 - 1e-5
    transition[:-1, :, -1] = 2e-5 - 1e-5  # the rows sum to 1 again
    transition[-1] = np.eye(len(start))[0]
    return planted._replace(world=world._replace(start=start / start.sum(), transition=transition))


THRESHOLD = Planted(
    World(
        logits=np.zeros((2, 2)),
        transition=np.array([[[0.0, 1], [0, 1]], [[0, 1], [0, 1]]]),
        reward=np.array([[1.0, -1], [0, 0]]),
        start=np.array([1.0, 0.0]),
        gamma=0.75,
    ),
    optimal=np.array([[1.0, 0], [1, 1]]),
    theta=np.zeros((2, 2)),
    factor=1.0,
)
"""State 0 pays 1 or -1 and leads to state 1, where all is over: nu = (1/4, 3/4) and A_max = 1.

All of it, lam_0 = 2 (3/4) / ((1/4) (1/2)) = 12 as well, is exact in floating point.
"""


@once
def families() -> tuple[Family, ...]:
    """Return a family known by hand, drifting ones, and steered ones."""
    arms = [_bandit([1.0, 0.0]), _bandit([0.0, 1.0])]
    by_hand = Family("the case done by hand", tuple(arms), float(np.log(2)))
    drifting = [_drifting(i, *size) for i, size in enumerate(SIZES, 1)]
    return by_hand, *drifting, _overlapping(), *(_steered(seed) for seed in (1, 2))


def is_steered(label: str) -> bool:
    """Tell the families in which actions decide where one goes."""
    return label.startswith("steered")


def distance(logits: np.ndarray, planted: Planted) -> np.ndarray:
    """Return E_nu[KL(m || pi)], m = pi given that the action is optimal; logits may be complex."""
    probs, chosen = softmax(logits), planted.optimal > 0
    inside = np.where(chosen, probs, 0)
    nearest = inside / inside.sum(-1, keepdims=True)
    log_ratio = np.log(np.where(chosen, nearest / probs, 1))
    return (occupancy(probs, planted.world) * (nearest * log_ratio).sum(-1)).sum(-1)


def mean_distance(logits: np.ndarray, members: Sequence[Planted]) -> np.ndarray:
    """Return the mean over tasks of the distance of one policy to their optima."""
    return np.mean([distance(logits, each) for each in members], axis=0)


def safe_weight(planted: Planted) -> float:
    """Return lam_0 = 2 gamma A_max / ((1 - gamma) sqrt(nu_min)); unreached states do not count."""
    world = planted.world
    nu, q = occupancy(world.probs, world), q_values(world.probs, world)
    advantage = q - (world.probs * q).sum(-1, keepdims=True)
    least = nu[nu > 1e-12].min()
    return 2 * world.gamma * np.abs(advantage).max() / ((1 - world.gamma) * np.sqrt(least))


def falls_short(planted: Planted) -> bool:
    """Tell whether the largest absolute advantage is a negative one."""
    world = planted.world
    q = q_values(world.probs, world)
    advantage = q - (world.probs * q).sum(-1, keepdims=True)
    return bool(-advantage.min() > advantage.max())


def gap_bound(planted: Planted, lam: float) -> float:
    """Return (lam + lam_0) / (1 - gamma) D^2."""
    apart = float(distance(planted.world.logits, planted))
    return (lam + safe_weight(planted)) / (1 - planted.world.gamma) * apart


def lam_of(planted: Planted) -> float:
    """Return the weight at which the bound is asked for; the proof allows it."""
    return planted.factor * safe_weight(planted)


def gains(planted: Planted) -> np.ndarray:
    """Return every state's share of J(theta) - J(phi), by the order in time of the switch.

    The policy that acts by theta for t + 1 steps gains over that of t steps what the step at time t
    is better: gamma^t Pr_theta(s_t = s) times the difference of r + gamma V_phi.
    """
    world, probs = planted.world, softmax(planted.theta)
    q = q_values(world.probs, world)
    better = ((probs - world.probs) * q).sum(-1)
    moves = np.einsum("sa,sat->st", probs, world.transition)
    total, now = np.zeros_like(world.start), world.start
    while np.abs(now).max() > 1e-18:
        total, now = total + now * better, world.gamma * now @ moves
    return total


def gained(planted: Planted) -> float:
    """Return J(theta) - J(phi)."""
    world = planted.world
    return float(policy_return(planted.theta, world) - policy_return(world.logits, world))


def running_means(gaps: np.ndarray) -> np.ndarray:
    """Return the mean of the first T gaps for every T."""
    return np.array([gaps[:count].mean() for count in range(1, len(gaps) + 1)])


def terms(length: int) -> np.ndarray:
    """Return the columns 1 / T, 1 / sqrt(T), 1, [length, 3]."""
    steps = np.arange(1, length + 1)
    return np.stack([1 / steps, steps**-0.5, np.ones(length)], -1)


def non_negative_fit(columns: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Return argmin_{x >= 0} ||columns x - target||, one coordinate after the other, for long."""
    size = np.sqrt((columns**2).sum(0))
    gram, right = (columns / size).T @ (columns / size), (columns / size).T @ target
    x, change = np.zeros(len(size)), np.inf
    while change > 1e-14 * (1 + np.abs(right).max()):
        before = x.copy()
        for j in range(len(x)):
            x[j] = max(0.0, x[j] + right[j] - gram[j] @ x)
        change = float(np.abs(x - before).max())
    return x / size


def planted_reward(
    transition: np.ndarray, optimal: np.ndarray, gamma: float, draw: np.random.Generator
) -> np.ndarray:
    """Return rewards under which exactly the planted actions are optimal."""
    values = 2 * draw.normal(size=len(optimal))
    slack = np.where(optimal > 0, 0, draw.uniform(0.2, 1, size=optimal.shape))
    if not transition[
        :, :, -1
    ].any():  # an unreached state: whether A_max counts it is all the same
        slack[-1] *= 0.1
    return values[:, None] - gamma * transition @ values - slack


def _planted_world(index: int) -> Planted:
    num_states, num_actions, gamma = SIZES[index % len(SIZES)]
    world, draw = random_world(instance(500 + index), num_states, num_actions, gamma), _draw(index)
    if index >= UNREACHED_FROM:
        world = _with_unreached_state(world)
    # Neighbouring states differ in how many actions are optimal: some tie, some leave a choice.
    order = draw.random(world.reward.shape).argsort(-1)
    shift = index + (index >= UNREACHED_FROM)
    counts = 1 + (np.arange(len(world.start)) + shift) % num_actions
    optimal = (order < counts[:, None]).astype(float)
    reward = planted_reward(world.transition, optimal, gamma, draw)
    theta = world.logits + draw.normal(size=optimal.shape)
    return Planted(world._replace(reward=reward), optimal, theta, draw.uniform(1.2, 3))


def _with_unreached_state(world: World) -> World:
    """Cut the last state off: nobody starts there, nothing leads there, all actions do the same."""
    start, transition = world.start.copy(), world.transition.copy()
    start[-1], transition[:, :, -1] = 0, 0
    transition[-1] = transition[-1, :1]
    return world._replace(
        start=start / start.sum(), transition=transition / transition.sum(-1, keepdims=True)
    )


def _bandit(arms: Sequence[float]) -> Planted:
    pays = np.array([arms])
    world = BANDIT._replace(logits=np.zeros_like(pays), reward=pays)
    return Planted(world, (pays == pays.max()).astype(float), theta=world.logits)


def _drifting(index: int, num_states: int, num_actions: int, gamma: float) -> Family:
    """Make tasks that drift by themselves: actions do not move them, so nu is the task's own.

    In every state the tasks' optimal sets are classes of a partition. Then the best policy gives
    each class its share W_c of the weight, and the distance is the entropy of the shares.
    """
    draw, members, weights, count = _draw(index), [], [], 4
    classes = np.array([[0, 1, min(s, 1)][:num_actions] for s in range(num_states)])
    classes = draw.permuted(classes, axis=1)
    for number in range(count):
        world = random_world(instance(600 + 10 * index + number), num_states, num_actions, gamma)
        drift = np.repeat(world.transition[:, :1], num_actions, axis=1)
        wanted = ((number + np.arange(num_states)) % count == 0).astype(int)
        optimal = (classes == wanted[:, None]).astype(float)
        reward = planted_reward(drift, optimal, gamma, draw)
        world = world._replace(transition=drift, reward=reward)
        members.append(Planted(world, optimal, theta=world.logits))
        weights.append(occupancy(world.probs, world)[:, None] * np.eye(2)[wanted] / count)
    shares = np.sum(weights, axis=0)
    least = -(shares * np.log(shares / shares.sum(-1, keepdims=True))).sum()
    label = f"drifting family {index} (S={num_states}, A={num_actions}, gamma={gamma}, N={count})"
    return Family(label, tuple(members), float(least))


def _overlapping() -> Family:
    """Make three drifting tasks of which each pair shares an optimal action, and each has two.

    Where only one optimal action of a task counts, the middle is another policy. (In the families
    above tied actions are shared with no other task, and it makes no difference which one counts.)
    The seed is the first for which the policy in the middle takes every action with at least 0.15.
    """
    draw, members, gamma = np.random.default_rng(5070), [], 0.5
    sets = np.array([[1, 1, 0], [0, 1, 1], [1, 0, 1]])
    for number in range(3):
        world = random_world(860 + number, 2, 3, gamma)
        drift = np.repeat(world.transition[:, :1], 3, axis=1)
        optimal = sets[[number, (number + 1) % 3]].astype(float)
        reward = planted_reward(drift, optimal, gamma, draw)
        world = world._replace(transition=drift, reward=reward, start=np.full(2, 0.5))
        members.append(Planted(world, optimal, theta=world.logits))
    weights = np.array([occupancy(each.world.probs, each.world) for each in members])
    marks = np.array([each.optimal for each in members])
    probs = np.full((2, 3), 1 / 3)
    for _ in range(5000):  # each task gives its weight to its actions, in proportion
        shares = marks * probs / (marks * probs).sum(-1, keepdims=True)
        probs = (weights[..., None] * shares).sum(0) / weights.sum(0)[:, None]
    least = float(mean_distance(np.log(probs), members))
    return Family(f"overlapping family (S=2, A=3, gamma={gamma}, N=3)", tuple(members), least)


def _steered(seed: int) -> Family:
    """Make three tasks of 2 states and 2 actions, where the policy decides where it goes."""
    draw, members, gamma = _draw(50 + seed), [], 0.5
    for number, best in enumerate([(0, 1), (1, 0), (0, 0)]):
        world = random_world(instance(700 + 10 * seed + number), 2, 2, gamma)
        optimal = np.eye(2)[list(best)]
        reward = planted_reward(world.transition, optimal, gamma, draw)
        members.append(Planted(world._replace(reward=reward), optimal, theta=world.logits))
    label = f"steered family {seed} (S=2, A=2, gamma={gamma}, N=3)"
    return Family(label, tuple(members), _least_of_two_logits(members))


def _least_of_two_logits(members: Sequence[Planted]) -> float:
    """Zoom into the least mean distance on ever finer grids of two differences of logits."""
    middle, width, least = np.zeros(2), 8.0, np.inf
    for _ in range(30):
        side = np.linspace(-width, width, 21)
        grid = middle + np.stack(np.meshgrid(side, side), -1).reshape(-1, 2)
        logits = np.stack([grid, np.zeros_like(grid)], -1)
        values = mean_distance(logits, members)
        best = int(values.argmin())
        middle, width, least = grid[best], width / 2, min(least, float(values[best]))
    return least


def _draw(index: int) -> np.random.Generator:
    return np.random.default_rng(instance(5000 + index))
