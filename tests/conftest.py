"""Shared oracles and instances; none of them calls the code under test."""

import itertools
import os
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import typechecking  # noqa: F401  before the library: what is imported after it is checked

from bomrl_lite.types import TabularTask

torch.set_num_threads(1)
# Of what tests start too: threads of two processes that wait for each other's processor spin, and
# an example that takes 4 seconds takes 40.
os.environ.setdefault("OMP_NUM_THREADS", "1")
WITHOUT_IRI = str(Path(__file__).with_name("without_iri"))
os.environ["PYTHONPATH"] = os.pathsep.join(
    [WITHOUT_IRI, *filter(None, [os.environ.get("PYTHONPATH")])]
)
sys.modules["rfc3987_syntax"] = None  # here too


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    """Files that take minutes go first, or one of them would keep a single worker busy at the end.

    What follows is in the order of names.
    """
    long = {
        item.path
        for item in items
        for mark in ("papermill", "browser")
        if item.get_closest_marker(mark)
    }
    items.sort(key=lambda item: item.path not in long)


@pytest.fixture(autouse=True)
def close_figures():
    """A figure that one test leaves open must not be found by another that asks for none."""
    yield
    if pyplot := sys.modules.get("matplotlib.pyplot"):
        pyplot.close("all")


def random_task(seed: int, num_states: int = 5, num_actions: int = 3) -> TabularTask:
    generator = torch.Generator().manual_seed(seed)
    draw = {"dtype": torch.float64, "generator": generator}
    transition = torch.rand(num_states, num_actions, num_states, **draw) ** 3
    start = torch.rand(num_states, **draw)
    return TabularTask(
        transition / transition.sum(-1, keepdim=True),
        torch.randn(num_states, num_actions, **draw),
        start / start.sum(),
    )


def random_logits(seed: int, num_states: int = 5, num_actions: int = 3) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1000 + seed)
    return torch.randn(num_states, num_actions, dtype=torch.float64, generator=generator)


def random_features(seed: int, size: int = 4) -> torch.Tensor:
    """Features [5, 3, size] of a linear softmax policy."""
    generator = torch.Generator().manual_seed(2000 + seed)
    return torch.randn(5, 3, size, dtype=torch.float64, generator=generator)


def random_weights(seed: int, size: int = 4) -> torch.Tensor:
    generator = torch.Generator().manual_seed(3000 + seed)
    return torch.randn(size, dtype=torch.float64, generator=generator)


def stack(tasks: list[TabularTask]) -> TabularTask:
    return TabularTask(*(torch.stack(field) for field in zip(*tasks, strict=True)))


def return_by_summation(probs: torch.Tensor, task: TabularTask, gamma: float) -> np.ndarray:
    """Q from the definition: follow the state distribution step by step until nothing is left."""
    pi, p, r = probs.numpy(), task.transition.numpy(), task.reward.numpy()
    paid, moves = (pi * r).sum(-1), np.einsum("sa,sat->st", pi, p)
    q, state, discount = r.copy(), p, gamma
    while discount > 1e-16:
        q += discount * state @ paid
        state, discount = state @ moves, discount * gamma
    return q


def returns_of_every_deterministic_policy(task, gamma: float) -> list[float]:
    """Enumerate: the return of each policy by stepping its values to their limit."""
    transition, reward = task.transition.numpy(), task.reward.numpy()
    states = np.arange(len(reward))
    returns = []
    for actions in itertools.product(range(reward.shape[1]), repeat=len(reward)):
        values = np.zeros(len(reward))
        for _ in range(400):
            values = reward[states, actions] + gamma * transition[states, actions] @ values
        returns.append(task.start.numpy() @ values)
    return returns


def central_difference(function, x: torch.Tensor, h: float = 1e-3) -> torch.Tensor:
    """Fourth-order central differences: (8 [f(+h) - f(-h)] - [f(+2h) - f(-2h)]) / 12 h."""
    result = torch.empty_like(x)
    for index in itertools.product(*map(range, x.shape)):
        step = torch.zeros_like(x)
        step[index] = h
        near = function(x + step) - function(x - step)
        far = function(x + 2 * step) - function(x - 2 * step)
        result[index] = (8 * near - far) / (12 * h)
    return result


def central_difference_at_once(function, x: torch.Tensor, h: float = 1e-3) -> torch.Tensor:
    """The same, of a function that ``vmap`` takes: all points in one batch."""
    steps = h * torch.eye(x.numel(), dtype=x.dtype).reshape(-1, *x.shape)
    points = torch.cat([x + k * steps for k in (1, -1, 2, -2)])
    ahead, behind, far_ahead, far_behind = torch.func.vmap(function)(points).chunk(4)
    return ((8 * (ahead - behind) - (far_ahead - far_behind)) / (12 * h)).reshape(x.shape)


def solve_task(probs: torch.Tensor, task: TabularTask, gamma: float):
    """(nu, Q, J) of a policy through one inverse matrix: differentiable, no package code."""
    moves = (probs[:, :, None] * task.transition).sum(1)
    visits = torch.linalg.inv(torch.eye(len(moves), dtype=probs.dtype) - gamma * moves)
    values = visits @ (probs * task.reward).sum(1)
    occupancy = (1 - gamma) * task.start @ visits
    return occupancy, task.reward + gamma * task.transition @ values, task.start @ values


class StateProblem:
    """argmax over a simplex of <pi, value> - lam d(prior, pi), by Newton's method in numpy.

    d is given by hand: its value, gradient and (diagonal) Hessian in pi.
    """

    KINDS = {  # noqa: RUF012
        "d1": (
            lambda p, x: (p * np.log(p / x)).sum(),
            lambda p, x: -p / x,
            lambda p, x: p / x**2,
        ),
        "d2": (
            lambda p, x: (x * np.log(x / p)).sum(),
            lambda p, x: np.log(x / p) + 1,
            lambda p, x: 1 / x,
        ),
        "hellinger": (
            lambda p, x: ((np.sqrt(p) - np.sqrt(x)) ** 2).sum(),
            lambda p, x: 1 - np.sqrt(p / x),
            lambda p, x: 0.5 * np.sqrt(p) * x**-1.5,
        ),
    }

    def __init__(self, kind: str, lam: float):
        self.distance, self.slope, self.bend = self.KINDS[kind]
        self.lam = lam

    def solve(self, value: np.ndarray, prior: np.ndarray) -> np.ndarray:
        x = prior.copy()
        for _ in range(100):
            gradient = value - self.lam * self.slope(prior, x)
            inverse = 1 / (self.lam * self.bend(prior, x))
            step = inverse * (gradient - (inverse @ gradient) / inverse.sum())
            length = 1.0
            while (x + length * step <= 0).any() or (
                abs(gradient @ step) > 1e-6  # nearer, rounding decides and the full step is right
                and self.gain(value, prior, x + length * step) < self.gain(value, prior, x)
            ):
                length /= 2
            x = x + length * step
            if abs(step).max() < 1e-15:
                break
        return x / x.sum()

    def gain(self, value: np.ndarray, prior: np.ndarray, x: np.ndarray) -> float:
        return value @ x - self.lam * self.distance(prior, x)

    def solve_all(self, values, priors) -> torch.Tensor:
        rows = zip(np.asarray(values), np.asarray(priors), strict=True)
        return torch.tensor(np.stack([self.solve(*row) for row in rows]))


def relative_error(got: torch.Tensor, expected: torch.Tensor) -> float:
    return ((got - expected).norm() / expected.norm()).item()


@pytest.fixture
def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)
