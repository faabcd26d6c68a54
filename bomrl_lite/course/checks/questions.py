"""Questions about tabular worlds: one that paper can solve, then random ones."""

from collections.abc import Callable, Sequence
from functools import cache, partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bomrl_lite.course.checks.engine import Question, Slips
from bomrl_lite.course.checks.oracles import World, random_world
from bomrl_lite.course.checks.steps import Pullback

SIZES = ((2, 3, 0.5), (3, 2, 0.9), (4, 3, 0.8), (3, 3, 0.7))
"""(S, A, gamma) of the random instances."""
ROUNDS = 3
"""Random instances of each size."""

TWO_ROOMS = World(
    logits=np.log([[0.25, 0.75], [0.5, 0.5]]),
    transition=np.array([[[1.0, 0.0], [0.0, 1.0]], [[0.0, 1.0], [0.0, 1.0]]]),
    reward=np.array([[1.0, 0.0], [2.0, 0.0]]),
    start=np.array([1.0, 0.0]),
    gamma=0.5,
)
"""Room 0: action 0 stays and pays 1, action 1 leaves for room 1, where action 0 pays 2 for ever."""

BANDIT = World(
    logits=np.log([[3.0, 1.0]]),
    transition=np.ones((1, 2, 1)),
    reward=np.array([[1.0, 0.0]]),
    start=np.array([1.0]),
    gamma=0.0,
    step_size=8 / 3 * np.log(3),
)
"""Two arms; this step size takes the policy from (3/4, 1/4) to (9/10, 1/10)."""


@cache
def random_worlds() -> tuple[World, ...]:
    """Return the random instances of every check: seeded, and of several sizes."""
    count = ROUNDS * len(SIZES)
    return tuple(random_world(seed, *SIZES[seed % len(SIZES)]) for seed in range(count))


def ask(
    by_hand: World,
    solution: Any,
    *,
    args: Callable[[World], tuple[Any, ...]],
    oracle: Callable[[World], Any],
    slips: Callable[[World], Slips],
) -> Sequence[Question]:
    """Ask about a world whose solution is known by hand, then about the random ones."""

    def question(label: str, world: World, expected: Any, known: bool) -> Question:
        wrong = cache(partial(slips, world))
        return Question(label, args(world), np.asarray(expected), wrong, known)

    first = question("the case done by hand", by_hand, solution, True)
    others = (
        question(label_of(i, w), w, oracle(w), False) for i, w in enumerate(random_worlds(), 1)
    )
    return first, *others


def ask_gradients(
    args: Callable[[World, Tensor], tuple[Any, ...]],
    *,
    oracle: Callable[[World, np.ndarray], np.ndarray],
    slips: Callable[[World, np.ndarray], Slips] = lambda world, weights: {},
    shape: Callable[[World], tuple[int, ...]] = lambda world: world.reward.shape,
) -> Sequence[Pullback]:
    """Ask for the gradient, in the logits, of a randomly weighted sum of the answer.

    Args:
        args: (world, logits that record their gradient) -> arguments of the function.
        oracle: (world, weights) -> that gradient.
        slips: (world, weights) -> likely cause -> wrong gradient.
        shape: of the answer.
    """
    draw = np.random.default_rng(len(SIZES))

    def pullback(index: int, world: World) -> Pullback:
        weights = draw.normal(size=shape(world))
        wrong = cache(partial(slips, world, weights))
        question = Question(label_of(index, world), (), oracle(world, weights), wrong)
        return Pullback(world.logits, partial(args, world), weights, question)

    return tuple(pullback(i, world) for i, world in enumerate(random_worlds()[: len(SIZES)], 1))


def label_of(index: int, world: World) -> str:
    """Name a random instance in messages."""
    num_states, num_actions = world.reward.shape
    return f"random instance {index} (S={num_states}, A={num_actions}, gamma={world.gamma})"


def probs_args(world: World, leaf: Tensor | None = None) -> tuple[Any, ...]:
    """Return (policy_probs, task, gamma)."""
    probs = torch.tensor(world.probs) if leaf is None else leaf.softmax(-1)
    return probs, world.task(), world.gamma


def phi_args(world: World, leaf: Tensor | None = None) -> tuple[Any, ...]:
    """Return (phi, task, gamma)."""
    return world.phi() if leaf is None else leaf, world.task(), world.gamma


def step_args(world: World, leaf: Tensor | None = None) -> tuple[Any, ...]:
    """Return (phi, task, gamma, step_size)."""
    return *phi_args(world, leaf), world.step_size


def world_of(question: Question) -> World:
    """Return the world behind arguments (phi, task, gamma, step_size)."""
    phi, task, *dials = question.args
    return World(phi.numpy(), *(field.numpy() for field in task), *dials)
