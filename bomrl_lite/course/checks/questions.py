"""Questions about tabular worlds: one that paper can solve, then random ones."""

from collections.abc import Callable, Sequence
from functools import cache, partial
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from bomrl_lite.course.checks.draws import instance, once
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


SLOW_SEEDS = (8, 46)
"""Worlds in which policy iteration needs more than three improvements from some usual start.

Found by ``tests/separating.py``: policy iteration that stops after one, two or three improvements,
begun with the uniform policy, the first action or the largest reward, is wrong in one of them.
"""
SLOW_SIZE = (7, 2, 0.9)
"""Their (S, A, gamma)."""


class Edge(NamedTuple):
    """A world at the border of what is allowed, and what is wrong with an answer that fails there.

    All usual instances come first, so an answer that fails here is right everywhere else.
    """

    label: str
    world: World
    separates: str


@once
def edges() -> tuple[Edge, ...]:
    """Return worlds with gamma = 0, with a policy that is sure, and with one state."""
    no_future = random_world(900, 3, 2, 0.0)
    sure = random_world(901, 3, 2, 0.8)
    sure = sure._replace(logits=np.array([[800.0, 0.0], [0.0, 800.0], [0.5, -0.5]]))
    return (
        Edge(
            "gamma = 0",
            no_future,
            "gamma may be 0: then nothing may be divided by it, nor its logarithm be taken",
        ),
        Edge(
            "a policy that never takes some actions",
            sure,
            "probabilities of 0 and 1 are allowed: neither a division by them nor their logarithm "
            "survives",
        ),
        Edge(
            "a single state",
            random_world(902, 1, 3, 0.6),
            "a single state is allowed: squeeze() loses its dimension",
        ),
    )


@once
def slow_worlds() -> tuple[Edge, ...]:
    """Return worlds in which few improvements are not enough."""
    return tuple(
        Edge(
            f"a world that takes several improvements ({index})",
            slow_world(seed),
            "it stops before the policy is optimal: improve until nothing changes any more",
        )
        for index, seed in enumerate(SLOW_SEEDS, 1)
    )


def slow_world(seed: int) -> World:
    """Draw a world whose steps are nearly certain, so that news of a reward travels slowly."""
    num_states, num_actions, gamma = SLOW_SIZE
    world, draw = random_world(seed, num_states, num_actions, gamma), np.random.default_rng(seed)
    weights = draw.random((num_states, num_actions, num_states)) ** 30
    return world._replace(transition=weights / weights.sum(-1, keepdims=True))


@once
def random_worlds() -> tuple[World, ...]:
    """Return the random instances of every check: seeded, and of several sizes."""
    count = ROUNDS * len(SIZES)
    return tuple(random_world(instance(seed), *SIZES[seed % len(SIZES)]) for seed in range(count))


def ask(
    by_hand: World,
    solution: Any,
    *,
    args: Callable[[World], tuple[Any, ...]],
    oracle: Callable[[World], Any],
    slips: Callable[[World], Slips],
    edges: Sequence[Edge] = (),
) -> Sequence[Question]:
    """Ask about a world whose solution is known by hand, then about the random ones, then edges."""

    def question(label: str, world: World, expected: Any, known: bool) -> Question:
        wrong = cache(partial(slips, world))
        answer = np.asarray(expected)
        return Question(label, args(world), answer, wrong, known, memory=world.gamma)

    first = question("the case done by hand", by_hand, solution, True)
    others = (
        question(label_of(i, w), w, oracle(w), False) for i, w in enumerate(random_worlds(), 1)
    )
    borders = (
        Question(
            edge.label, args(edge.world), np.asarray(oracle(edge.world)), separates=edge.separates
        )
        for edge in edges
    )
    return first, *others, *borders


def ask_gradients(
    args: Callable[[World, Tensor], tuple[Any, ...]],
    *,
    oracle: Callable[[World, np.ndarray], np.ndarray],
    slips: Callable[[World, np.ndarray], Slips] = lambda world, weights: {},
    shape: Callable[[World], tuple[int, ...]] = lambda world: world.reward.shape,
    edges: Sequence[Edge] = (),
) -> Sequence[Pullback]:
    """Ask for the gradient, in the logits, of a randomly weighted sum of the answer.

    Args:
        args: (world, logits that record their gradient) -> arguments of the function.
        oracle: (world, weights) -> that gradient.
        slips: (world, weights) -> likely cause -> wrong gradient.
        shape: of the answer.
        edges: asked last.
    """
    draw = np.random.default_rng(instance(len(SIZES)))

    def pullback(index: int, world: World) -> Pullback:
        weights = draw.normal(size=shape(world))
        wrong = cache(partial(slips, world, weights))
        question = Question(label_of(index, world), (), oracle(world, weights), wrong)
        return Pullback(world.logits, partial(args, world), weights, question)

    def border(edge: Edge) -> Pullback:
        usual = pullback(0, edge.world)
        expected = usual.question.expected
        question = Question(edge.label, (), expected, separates=edge.separates)
        return usual._replace(question=question)

    usual = (pullback(i, world) for i, world in enumerate(random_worlds()[: len(SIZES)], 1))
    return *usual, *map(border, edges)


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
