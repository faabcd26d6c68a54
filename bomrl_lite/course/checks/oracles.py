r"""Oracles in plain numpy: sums over time, complex steps, differences, enumeration.

They share no code and no formula with the package or the solutions: no linear solve, no theorem, no
automatic differentiation. All take the policy with any number of leading axes, so that one call
answers for a whole batch of shifted policies.
"""

import itertools
import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch

from bomrl_lite.course.checks.draws import Seed
from bomrl_lite.types import TabularTask

NEGLIGIBLE = 1e-18
"""Sums over time stop once gamma^t is smaller than this."""

COMPLEX_STEP = 1e-30
DIFFERENCE_STEP = 1e-3

Scalar = Callable[[np.ndarray], np.ndarray]
"""A function of logits [..., S, A] that returns [...]."""


class World(NamedTuple):
    """Everything that a question is made of, in numpy."""

    logits: np.ndarray
    transition: np.ndarray
    reward: np.ndarray
    start: np.ndarray
    gamma: float
    step_size: float = 1.0

    @property
    def probs(self) -> np.ndarray:
        """Return the policy, [S, A]."""
        return softmax(self.logits)

    @property
    def moves(self) -> np.ndarray:
        """Return P_pi, [S, S]."""
        return np.einsum("sa,sat->st", self.probs, self.transition)

    @property
    def paid(self) -> np.ndarray:
        """Return r_pi, [S]."""
        return (self.probs * self.reward).sum(-1)

    def task(self) -> TabularTask:
        """Return the task as the package's record."""
        return TabularTask(*map(torch.tensor, (self.transition, self.reward, self.start)))

    def phi(self) -> torch.Tensor:
        """Return the logits as a tensor."""
        return torch.tensor(self.logits)


def random_world(seed: Seed, num_states: int, num_actions: int, gamma: float) -> World:
    """Draw a world without symmetries: no two numbers in it are alike."""
    draw = np.random.default_rng(seed)
    transition = draw.random((num_states, num_actions, num_states)) ** 3
    start = draw.random(num_states)
    return World(
        draw.normal(size=(num_states, num_actions)),
        transition / transition.sum(-1, keepdims=True),
        draw.normal(size=(num_states, num_actions)),
        start / start.sum(),
        gamma,
        step_size=draw.uniform(0.3, 0.7),
    )


def softmax(logits: np.ndarray) -> np.ndarray:
    """Return the policy of logits, which may be complex."""
    weights = np.exp(logits - np.real(logits).max(-1, keepdims=True))
    return weights / weights.sum(-1, keepdims=True)


def q_values(probs: np.ndarray, world: World) -> np.ndarray:
    """Return Q with T steps to go, one step more at a time, until more steps change nothing."""
    flat = world.transition.reshape(-1, len(world.start)).T
    q = np.zeros_like(probs)
    for _ in range(_num_steps(world.gamma)):
        values = (probs * q).sum(-1)
        q = world.reward + world.gamma * (values @ flat).reshape(probs.shape)
    return q


def occupancy(probs: np.ndarray, world: World) -> np.ndarray:
    """Return (1 - gamma) sum_t gamma^t P(s_t = s) by walking forward in time."""
    flat = world.transition.reshape(-1, len(world.start))
    now = np.broadcast_to(world.start, probs.shape[:-1])
    total, weight = np.zeros_like(probs[..., 0]), 1 - world.gamma
    for _ in range(_num_steps(world.gamma)):
        total = total + weight * now
        pairs = (now[..., None] * probs).reshape(*probs.shape[:-2], -1)
        now, weight = pairs @ flat, weight * world.gamma
    return total


def policy_return(logits: np.ndarray, world: World) -> np.ndarray:
    """Return J of logits [..., S, A]."""
    probs = softmax(logits)
    return (probs * q_values(probs, world)).sum(-1) @ world.start


def complex_step(function: Scalar, x: np.ndarray) -> np.ndarray:
    """Differentiate without cancellation: f(x + ih).imag / h (Squire and Trapp, 1998)."""
    shifts = 1j * COMPLEX_STEP * _unit_shifts(x)
    return np.imag(function(x[..., None, :, :] + shifts)).reshape(x.shape) / COMPLEX_STEP


def central_difference(function: Scalar, x: np.ndarray) -> np.ndarray:
    """Differentiate by central differences of fourth order; right to about 1e-10."""
    h = DIFFERENCE_STEP
    shifts = h * _unit_shifts(x)
    one, two = (function(x + k * shifts) - function(x - k * shifts) for k in (1, 2))
    return ((8 * one - two) / (12 * h)).reshape(x.shape)


def return_gradient(logits: np.ndarray, world: World) -> np.ndarray:
    """Return the gradient of J at logits [..., S, A]."""
    return complex_step(lambda x: policy_return(x, world), logits)


def after_step(logits: np.ndarray, world: World) -> np.ndarray:
    """Return theta = phi + alpha grad J(phi)."""
    return logits + world.step_size * return_gradient(logits, world)


def meta_gradient(logits: np.ndarray, world: World) -> np.ndarray:
    """Return the gradient of J(phi + alpha grad J(phi)) in phi."""
    return central_difference(lambda x: policy_return(after_step(x, world), world), logits)


def hessian_times(logits: np.ndarray, world: World, weights: np.ndarray) -> np.ndarray:
    """Return the Hessian of J at logits, times weights."""
    inner = lambda x: (return_gradient(x, world) * weights).sum((-2, -1))  # noqa: E731
    return central_difference(inner, logits)


def frozen_gradient(logits: np.ndarray, world: World, at: np.ndarray) -> np.ndarray:
    """Return the policy gradient with occupancy and Q held at those of the logits ``at``."""
    nu, q = occupancy(softmax(at), world), q_values(softmax(at), world)

    def objective(x: np.ndarray) -> np.ndarray:
        return (nu[:, None] * softmax(x) * q).sum((-2, -1)) / (1 - world.gamma)

    return complex_step(objective, logits)


def values_of_all_policies(world: World) -> np.ndarray:
    """Return V of every deterministic policy, [A^S, S]."""
    num_states, num_actions = world.reward.shape
    choices = list(itertools.product(range(num_actions), repeat=num_states))
    probs = np.eye(num_actions)[np.array(choices)]
    return (probs * q_values(probs, world)).sum(-1)


def best_return(world: World) -> float:
    """Return the best J over all deterministic policies, each of them tried."""
    return float((values_of_all_policies(world) @ world.start).max())


def _unit_shifts(x: np.ndarray) -> np.ndarray:
    """Return one unit vector per entry of the last two axes, [S * A, S, A]."""
    size = x.shape[-2] * x.shape[-1]
    return np.eye(size).reshape(size, *x.shape[-2:])


def _num_steps(gamma: float) -> int:
    return 1 if gamma == 0 else 1 + math.ceil(math.log(NEGLIGIBLE) / math.log(gamma))
