"""What the checks of exercise set 01 ask, with the oracles' answers.

Each function is cached: the oracles run once per process, when a check first needs them.
"""

from collections.abc import Sequence
from functools import cache, partial

import numpy as np

from bomrl_lite.course.checks import oracles
from bomrl_lite.course.checks.draws import once
from bomrl_lite.course.checks.engine import Question
from bomrl_lite.course.checks.oracles import World
from bomrl_lite.course.checks.questions import (
    BANDIT,
    SIZES,
    TWO_ROOMS,
    ask,
    ask_gradients,
    edges,
    label_of,
    phi_args,
    probs_args,
    random_worlds,
    slow_worlds,
    step_args,
)
from bomrl_lite.course.checks.set01 import slips
from bomrl_lite.course.checks.steps import Pullback


@once
def q_values() -> Sequence[Question]:
    """Ask for Q; in the two rooms, V = (8/7, 2)."""
    return ask(
        TWO_ROOMS,
        [[11 / 7, 1], [3, 1]],
        args=probs_args,
        oracle=lambda world: oracles.q_values(world.probs, world),
        slips=slips.q_values,
        edges=edges(),
    )


@once
def q_gradients() -> Sequence[Pullback]:
    """Ask for the gradient of a weighted sum of Q."""
    return ask_gradients(
        probs_args,
        oracle=lambda world, weights: oracles.complex_step(
            lambda x: (oracles.q_values(oracles.softmax(x), world) * weights).sum((-2, -1)),
            world.logits,
        ),
        slips=slips.q_gradient,
    )


@once
def occupancy() -> Sequence[Question]:
    """Ask for nu; in the two rooms, nu(0) = (1 - gamma) sum_t (gamma / 4)^t."""
    return ask(
        TWO_ROOMS,
        [4 / 7, 3 / 7],
        args=probs_args,
        oracle=lambda world: oracles.occupancy(world.probs, world),
        slips=slips.occupancy,
        edges=edges(),
    )


@once
def occupancy_gradients() -> Sequence[Pullback]:
    """Ask for the gradient of a weighted sum of nu."""
    return ask_gradients(
        probs_args,
        oracle=lambda world, weights: oracles.complex_step(
            lambda x: oracles.occupancy(oracles.softmax(x), world) @ weights, world.logits
        ),
        slips=slips.occupancy_gradient,
        shape=lambda world: world.start.shape,
    )


@once
def policy_gradient() -> Sequence[Question]:
    """Ask for grad J; in the two rooms, the advantages are (3/7, -1/7) and (1, -1)."""
    return ask(
        TWO_ROOMS,
        [[6 / 49, -6 / 49], [3 / 7, -3 / 7]],
        args=phi_args,
        oracle=lambda world: oracles.return_gradient(world.logits, world),
        slips=slips.policy_gradient,
        edges=edges(),
    )


@once
def curvature() -> Sequence[Pullback]:
    """Ask for the Hessian of J times weights: the gradient of a weighted sum of grad J."""
    return ask_gradients(
        phi_args,
        oracle=lambda world, weights: oracles.hessian_times(world.logits, world, weights),
        slips=slips.curvature,
        edges=edges(),
    )


@once
def adapt() -> Sequence[Question]:
    """Ask for theta; the step size of the two rooms makes whole numbers of the gradient."""
    world = TWO_ROOMS._replace(step_size=49.0)
    return ask(
        world,
        world.logits + np.array([[6, -6], [21, -21]]),
        args=step_args,
        oracle=lambda world: oracles.after_step(world.logits, world),
        slips=slips.adapt,
    )


@once
def adapt_gradients() -> Sequence[Pullback]:
    """Ask for (I + alpha Hessian) times weights: the gradient of a weighted sum of theta."""
    return ask_gradients(
        step_args,
        oracle=lambda world, weights: (
            weights + world.step_size * oracles.hessian_times(world.logits, world, weights)
        ),
        slips=slips.adapt_gradient,
    )


@once
def maml_gradient() -> Sequence[Question]:
    r"""Ask for the meta-gradient; on the bandit J = \sigma(u), u the difference of the logits.

    It is \sigma'(u + 2 \alpha \sigma'(u)) (1 + 2 \alpha \sigma''(u)), up to its sign.
    """
    solution = 0.09 * (1 - np.log(3) / 2)
    return ask(
        BANDIT,
        [[solution, -solution]],
        args=step_args,
        oracle=lambda world: oracles.meta_gradient(world.logits, world),
        slips=slips.maml_gradient,
    )


@once
def first_order_gradient() -> Sequence[Question]:
    """Ask for grad J at theta; on the bandit 0.9 * 0.1."""
    return ask(
        BANDIT,
        [[0.09, -0.09]],
        args=step_args,
        oracle=lambda world: oracles.return_gradient(
            oracles.after_step(world.logits, world), world
        ),
        slips=slips.first_order_gradient,
    )


@once
def optimal_return() -> Sequence[Question]:
    """Ask for J(pi*); with this discount it pays to stay in room 0 for ever: 1 / (1 - gamma)."""
    return ask(
        TWO_ROOMS._replace(gamma=0.25),
        4 / 3,
        args=lambda world: (world.task(), world.gamma),
        oracle=oracles.best_return,
        slips=slips.optimal_return,
        edges=slow_worlds(),
    )


@once
def optimality_gap() -> Sequence[Question]:
    """Ask for the gaps of several tasks; by hand, two bandits end at 3/4 of 1 and 9/10 of 2."""
    bandit = BANDIT._replace(logits=np.zeros((1, 2)), step_size=2 * np.log(3))
    other = bandit._replace(reward=np.array([[0.0, 2.0]]))
    first = _ask_gap((bandit, other), "the case done by hand", np.array([1 / 4, 1 / 5]))
    families = enumerate(_families(), 1)
    return first, *(_ask_gap(worlds, label_of(index, worlds[0])) for index, worlds in families)


def _families() -> list[tuple[World, ...]]:
    """Deal the random worlds into groups of two or three of one size, each led by another."""
    groups = [random_worlds()[k :: len(SIZES)] for k in range(len(SIZES))]
    return [(*group[r:], *group[:r])[: 2 + r % 2] for group in groups for r in range(len(group))]


def _ask_gap(worlds: Sequence[World], label: str, solution: np.ndarray | None = None) -> Question:
    """Ask for the gaps of the first world's logits, discount and step size in all of the worlds."""
    phi, _, gamma, step_size = step_args(worlds[0])
    own = [world._replace(logits=worlds[0].logits, step_size=step_size) for world in worlds]
    after = [oracles.policy_return(oracles.after_step(w.logits, w), w) for w in own]
    gaps = np.array([oracles.best_return(w) for w in own]) - np.array(after)
    args = phi, [world.task() for world in worlds], gamma, step_size
    wrong = cache(partial(slips.optimality_gap, own))
    return Question(
        label, args, gaps if solution is None else solution, wrong, solution is not None
    )
