"""Shared oracles and instances; none of them calls the code under test."""

import itertools

import numpy as np
import pytest
import torch

from bomrl_lite.types import TabularTask

torch.set_num_threads(1)


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


def relative_error(got: torch.Tensor, expected: torch.Tensor) -> float:
    return ((got - expected).norm() / expected.norm()).item()


@pytest.fixture
def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)
