r"""The laboratory of lessons 04a to 04c: small problems whose hypergradients can be checked.

Random tasks of 5 states and 3 actions, and the lakes of lesson 01, with a random meta-policy for
each task. Three roads lead to one hypergradient, and an oracle, central differences, knows none of
them. Every function is about ONE task; ``torch.func.vmap`` over ``phis`` and ``tasks`` does all.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.func import grad, vmap

from bomrl_lite.adaptation.distances import Distance
from bomrl_lite.adaptation.meta_gradients import bomrl
from bomrl_lite.adaptation.objective import adaptation_objective, policy_gradient, policy_return
from bomrl_lite.adaptation.solve import adapt
from bomrl_lite.course.experiments.setting import FAMILIES, Exact
from bomrl_lite.mdp import tabular_task
from bomrl_lite.policies.networks import linear_softmax, tabular_softmax
from bomrl_lite.rollout.data import DataFunction, full_data
from bomrl_lite.solvers.implicit import implicit_vjp
from bomrl_lite.solvers.linear import add_scaled, flatten, norm, unflatten
from bomrl_lite.tasks import make_tasks
from bomrl_lite.training.streams import seeded
from bomrl_lite.types import Params, SolvedInfo, TabularPolicy, TabularTask

STATES, ACTIONS, FEATURES = 5, 3, 6
"""Sizes of the random tasks, and how many weights the linear policy has."""


class Problems(NamedTuple):
    """Tasks [N], one meta-parameter for each, and how parameters become a policy."""

    tasks: TabularTask
    phis: Params
    policy: TabularPolicy
    gamma: float

    @property
    def exact(self) -> Exact:
        """Keyword arguments of everything that is computed exactly."""
        return {"policy": self.policy, "gamma": self.gamma}

    def first(self, count: int) -> "Problems":
        """Return the first problems alone."""
        tasks = TabularTask(*(field[:count] for field in self.tasks))
        return self._replace(tasks=tasks, phis={k: v[:count] for k, v in self.phis.items()})

    def singles(self) -> list[tuple[Params, TabularTask]]:
        """Take the problems apart: (phi, task) of each."""
        return [
            ({k: v[n] for k, v in self.phis.items()}, TabularTask(*(f[n] for f in self.tasks)))
            for n in range(len(self.tasks.start))
        ]


def random_problems(count: int, seed: int, streams: tuple[int, int] = (10, 11)) -> Problems:
    """Draw tasks of 5 states and 3 actions, and logits from N(0, 1).

    Args:
        count: how many.
        seed: decides all draws.
        streams: of the tasks and of the logits.
    """
    draw = {"dtype": torch.float64, "generator": seeded(seed, streams[0])}
    # The cube makes a few successors likely and the others rare.
    chances = torch.rand(count, STATES, ACTIONS, STATES, **draw) ** 3
    start = torch.rand(count, STATES, **draw)
    reward = torch.randn(count, STATES, ACTIONS, **draw)
    tasks = tabular_task(
        chances / chances.sum(-1, keepdim=True), reward, start / start.sum(-1, keepdim=True)
    )
    phis = _normal("logits", (count, STATES, ACTIONS), seed, streams[1])
    return Problems(tasks, phis, tabular_softmax(STATES, ACTIONS), 0.9)


def lake_problems(count: int, seed: int) -> Problems:
    """Draw lakes with holes, and logits from N(0, 1)."""
    family = make_tasks(FAMILIES["high variance"])
    tasks = family.sample(count, seeded(seed, 12), "train")
    shape = tasks.reward.shape
    phis = _normal("logits", shape, seed, 13)
    return Problems(tasks, phis, tabular_softmax(*shape[1:]), family.gamma)


def linear_problems(count: int, seed: int) -> Problems:
    """Draw the tasks of :func:`random_problems` with a policy whose states share 6 weights."""
    features = _normal("features", (STATES, ACTIONS, FEATURES), seed, 5)["features"]
    weights = _normal("weights", (count, FEATURES), seed, 6)["weights"]
    return random_problems(count, seed)._replace(
        policy=linear_softmax(features), phis={"weights": 0.5 * weights}
    )


def inner_objective(
    task: TabularTask,
    problems: Problems,
    distance: Distance,
    lam: float | Tensor,
    data: DataFunction = full_data,
) -> Callable[[Params, Params], Tensor]:
    """Return F(theta, phi) = L / lam - D^2.

    Args:
        task: one task.
        problems: its policy and discount.
        distance: D^2.
        lam: weight of the distance, > 0.
        data: which of the data's dependence on phi F keeps.
    """

    def objective(theta: Params, phi: Params) -> Tensor:
        collected = data(phi, task, **problems.exact)
        choices = {"policy": problems.policy, "distance": distance, "lam": lam}
        return adaptation_objective(theta, phi, collected, **choices) / lam

    return objective


def solution(
    phi: Params, task: TabularTask, problems: Problems, distance: Distance, lam: float | Tensor
) -> Params:
    """Return theta = argmax F( . , phi)."""
    data = full_data(phi, task, **problems.exact)
    theta, _ = adapt(phi, data, policy=problems.policy, distance=distance, lam=lam)
    return theta


def implicit(
    phi: Params,
    task: TabularTask,
    problems: Problems,
    distance: Distance,
    lam: float | Tensor,
    *,
    theta: Params | None = None,
    data: DataFunction = full_data,
    **options: Any,
) -> tuple[Params, SolvedInfo]:
    """Return the hypergradient in the parameters, and its diagnostics.

    Args:
        phi: meta-parameters of one task.
        task: that task.
        problems: its policy and discount.
        distance: D^2.
        lam: weight of the distance, > 0.
        theta: where to ask; by default the solution.
        data: which of the data's dependence on phi is kept.
        options: ``solve`` and ``tolerance`` of :func:`bomrl_lite.solvers.implicit.implicit_vjp`.
    """
    theta = solution(phi, task, problems, distance, lam) if theta is None else theta
    cotangent = policy_gradient(theta, task, **problems.exact)
    objective = inner_objective(task, problems, distance, lam, data)
    return implicit_vjp(objective, theta, phi, cotangent, **options)


def by_state(
    phi: Params,
    task: TabularTask,
    problems: Problems,
    distance: Distance,
    lam: float,
    **options: Any,
) -> tuple[Params, Any]:
    """Return the hypergradient state by state (Proposition 1), and its diagnostics."""
    return bomrl(phi, task, **problems.exact, distance=distance, lam=lam, **options)


def through_closed_form(
    phi: Params, task: TabularTask, problems: Problems, distance: Distance, lam: float
) -> Params:
    """Differentiate the closed form of the solution; it needs no implicit function theorem."""
    return grad(lambda p: return_at(solution(p, task, problems, distance, lam), task, problems))(
        phi
    )


def return_at(theta: Params, task: TabularTask, problems: Problems) -> Tensor:
    """Return J(theta)."""
    return policy_return(theta, task, **problems.exact)


def central_differences(
    function: Callable[[Params], Tensor], phi: Params, h: float = 2e-4
) -> Params:
    """Return the gradient of a scalar function of parameters, coordinate by coordinate.

    [f(x - 2h) - 8 f(x - h) + 8 f(x + h) - f(x + 2h)] / 12h, whose error is of order h^4.
    """
    flat = flatten(phi)
    shifts = h * torch.tensor([-2.0, -1.0, 1.0, 2.0], dtype=flat.dtype)
    weights = torch.tensor([1.0, -8.0, 8.0, -1.0], dtype=flat.dtype) / (12 * h)
    moved = (flat + shifts[:, None, None] * torch.eye(len(flat), dtype=flat.dtype)).flatten(0, 1)
    values = vmap(lambda point: function(unflatten(point, phi)))(moved)
    return unflatten(weights @ values.reshape(4, -1), phi)


def differences(
    solver: Callable[[Params, TabularTask], Params],
    phi: Params,
    task: TabularTask,
    problems: Problems,
) -> Params:
    """Return the oracle: central differences of phi -> J(theta(phi)), theta solved anew each time.

    Args:
        solver: theta of (phi, task).
        phi: meta-parameters of one task.
        task: that task.
        problems: its policy and discount.
    """
    return central_differences(lambda p: return_at(solver(p, task), task, problems), phi)


def relative_error(got: Params, expected: Params) -> Tensor:
    """Return ||got - expected|| / ||expected||."""
    return norm(add_scaled(got, -1.0, expected)) / norm(expected)


def _normal(name: str, shape: tuple[int, ...], seed: int, stream: int) -> Params:
    generator = seeded(seed, stream)
    return {name: torch.randn(*shape, dtype=torch.float64, generator=generator)}
