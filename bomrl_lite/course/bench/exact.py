"""Bars of the exact road: meta-gradients, hypergradients, their cost."""

from collections.abc import Iterator
from functools import partial
from typing import Any

import torch
from torch.func import grad, vmap

from bomrl_lite.adaptation.closed_forms import CLOSED_FORMS
from bomrl_lite.adaptation.distances import DISTANCES, d2
from bomrl_lite.adaptation.gradient import gradient_step
from bomrl_lite.adaptation.meta_gradients import bomrl, bomrl_trust_region, maml
from bomrl_lite.adaptation.objective import adaptation_objective, policy_gradient, policy_return
from bomrl_lite.adaptation.solve import adapt_to_task
from bomrl_lite.adaptation.trust_region import adapt_to_task_in_trust_region
from bomrl_lite.course.bench.figure import Figure, cpu_seconds, ratio_of
from bomrl_lite.policies.networks import linear_softmax, tabular_softmax
from bomrl_lite.rollout.data import full_data
from bomrl_lite.solvers.implicit import implicit_vjp, unrolled_hypergradient
from bomrl_lite.solvers.linear import add_scaled, dot, norm
from bomrl_lite.solvers.maximize import ascend
from bomrl_lite.training.exact_trainer import (
    MetaConfig,
    make_problem,
    meta_step,
    meta_train,
    seeded,
    start_state,
)
from bomrl_lite.types import Adaptation, MetaGradient, Params, TabularPolicy, TabularTask


def exact_training() -> Iterator[Figure]:
    """Train MAML and BO-MRL exactly: 10 tasks, 150 iterations."""
    for name, config in {
        "MAML": MetaConfig(),
        "BO-MRL with D1": MetaConfig(method="bomrl", distance="d1"),
        "BO-MRL with D2": MetaConfig(method="bomrl", distance="d2"),
    }.items():
        seconds = cpu_seconds(partial(meta_train, config))
        yield Figure(f"exact {name} on Frozen Lake, 10 tasks, 150 it.", seconds, "CPU-s", 5.0)


def meta_gradient_error() -> Iterator[Figure]:
    """Compare MAML's directional derivative with central differences on a training task."""
    config = MetaConfig()
    problem = make_problem(config)
    exact = {"policy": problem.policy, "gamma": problem.distribution.gamma}
    draw = {"dtype": torch.float64, "generator": seeded(0, stream=9)}
    phi, direction = ({"logits": torch.randn(16, 4, **draw)} for _ in range(2))
    task = TabularTask(*(field[0] for field in problem.tasks))

    def objective(t: float) -> torch.Tensor:
        start = add_scaled(phi, t, direction)
        theta = gradient_step(start, task, step_size=config.step_size, **exact)
        return policy_return(theta, task, **exact)

    h = 1e-4
    near, far = objective(h) - objective(-h), objective(2 * h) - objective(-2 * h)
    expected = (8 * near - far) / (12 * h)
    got = dot(maml(phi, task, step_size=config.step_size, **exact)[0], direction)
    error = abs((got - expected) / expected).item()
    yield Figure("MAML meta-gradient against central differences", error, "relative", 1e-8)


def hypergradient_errors() -> Iterator[Figure]:
    """Compare BO-MRL's hypergradients with central differences and with closed-form autodiff.

    Along a random direction, on a lake, for every distance: free logits, shared weights, and the
    trust region.
    """
    task, _ = _lake()
    draw = {"dtype": torch.float64, "generator": seeded(0, stream=9)}
    features = torch.randn(16, 4, 8, **draw)
    for kind, policy in {
        "tabular": tabular_softmax(16, 4),
        "linear": linear_softmax(features),
    }.items():
        (name, leaf), *_ = policy.init(torch.Generator()).items()
        phi, direction = ({name: torch.randn(leaf.shape, **draw)} for _ in range(2))
        for key, distance in DISTANCES.items():
            dials = {"policy": policy, "gamma": 0.8, "distance": distance}
            exact = kind == "tabular" and distance in CLOSED_FORMS
            forms = (
                ("lam = 1", bomrl, adapt_to_task, {"lam": 1.0}),
                (
                    "delta = 0.05",
                    bomrl_trust_region,
                    adapt_to_task_in_trust_region,
                    {"delta": 0.05},
                ),
            )
            for label, meta_gradient, adaptation, dial in forms:
                error = _directional_error(
                    partial(meta_gradient, **dials, **dial),
                    partial(adaptation, **dials, **dial),
                    phi,
                    direction,
                    task,
                    policy,
                )
                bar = 1e-8 if exact and label.startswith("lam") else 1e-6
                figure = f"hypergradient, {kind} {key}, {label}, against differences"
                yield Figure(figure, error, "relative", bar)
            if exact:
                figure = f"hypergradient, {kind} {key}, against closed-form autodiff"
                yield Figure(figure, _autodiff_error(phi, task, dials), "relative", 1e-10)


def hypergradient_memory() -> Iterator[Figure]:
    """Divide the peak memory of a hypergradient at 100 inner steps by that at 1.

    Implicit: the steps are taken, then forgotten. Unrolled: every step is kept.
    """
    from bomrl_lite.course.memory import peak_bytes

    task, policy = _lake()
    phi = policy.init(torch.Generator())
    data = full_data(phi, task, policy=policy, gamma=0.8)
    dials = {"policy": policy, "distance": d2, "lam": 1.0}

    def objective(theta: Params, p: Params) -> torch.Tensor:
        batch = full_data(p, task, policy=policy, gamma=0.8)
        return adaptation_objective(theta, p, batch, **dials)

    def implicit(num_steps: int) -> None:
        at_phi = partial(adaptation_objective, phi=phi, data=data, **dials)
        theta = ascend(at_phi, phi, step_size=1.0, num_steps=num_steps)
        cotangent = policy_gradient(theta, task, policy=policy, gamma=0.8)
        implicit_vjp(objective, theta, phi, cotangent, tolerance=float("inf"))

    def unrolled(num_steps: int) -> None:
        outer = partial(policy_return, task=task, policy=policy, gamma=0.8)
        unrolled_hypergradient(objective, outer, phi, step_size=1.0, num_steps=num_steps)

    for name, work, bar in (("implicit", implicit, 1.1), ("unrolled", unrolled, None)):
        ratio = peak_bytes(partial(work, 100)) / peak_bytes(partial(work, 1))
        yield Figure(f"{name} hypergradient, peak memory, 100 steps to 1", ratio, "ratio", bar)


def batching_gain() -> Iterator[Figure]:
    """Divide the time of a vmapped meta-gradient over 20 tasks by that of a loop."""
    problem = make_problem(MetaConfig(num_tasks=20))
    phi = problem.policy.init(seeded(0, stream=1))
    batched = vmap(problem.meta_gradient, in_dims=(None, 0))
    singles = [TabularTask(*(field[i] for field in problem.tasks)) for i in range(20)]
    ratio = ratio_of(
        partial(batched, phi, problem.tasks),
        lambda: [problem.meta_gradient(phi, task) for task in singles],
    )
    yield Figure("vmapped over 20 tasks, against a loop", ratio, "ratio", 0.25)


def overhead_over_solves() -> Iterator[Figure]:
    """Divide a meta-iteration by the eight batched linear solves that it cannot do without.

    J and its gradient at phi and at theta take two solves each, the Hessian-vector product four.
    """
    config = MetaConfig()
    problem = make_problem(config)
    state = start_state(config, problem)
    matrices = torch.eye(16, dtype=torch.float64) + 0.01 * torch.rand(10, 16, 16).double()
    right = torch.rand(10, 16, 1, dtype=torch.float64)
    ratio = ratio_of(
        lambda: meta_step(state, problem.tasks, problem.meta_gradient),
        lambda: [torch.linalg.solve(matrices, right) for _ in range(8)],
    )
    yield Figure("meta-iteration, against its linear solves alone", ratio, "ratio", None)


def _lake() -> tuple[TabularTask, TabularPolicy]:
    """Return one training task of the high-variance lakes and a policy with free logits."""
    problem = make_problem(MetaConfig(num_tasks=1))
    return TabularTask(*(field[0] for field in problem.tasks)), problem.policy


def _directional_error(
    meta_gradient: MetaGradient,
    adaptation: Adaptation,
    phi: Params,
    direction: Params,
    task: TabularTask,
    policy: TabularPolicy,
) -> float:
    """Compare the slope along a direction with a fourth-order central difference."""

    def objective(t: float) -> torch.Tensor:
        theta = adaptation(add_scaled(phi, t, direction), task)
        return policy_return(theta, task, policy=policy, gamma=0.8)

    h = 1e-3
    near, far = objective(h) - objective(-h), objective(2 * h) - objective(-2 * h)
    expected = (8 * near - far) / (12 * h)
    return abs((dot(meta_gradient(phi, task)[0], direction) - expected) / expected).item()


def _autodiff_error(phi: Params, task: TabularTask, dials: dict[str, Any]) -> float:
    """Compare the hypergradient with automatic differentiation through the closed form."""
    exact = {"policy": dials["policy"], "gamma": dials["gamma"]}

    def objective(p: Params) -> torch.Tensor:
        data = full_data(p, task, **exact)
        theta = CLOSED_FORMS[dials["distance"]](p, data, lam=1.0)
        return policy_return(theta, task, **exact)

    expected = grad(objective)(phi)
    difference = add_scaled(bomrl(phi, task, lam=1.0, **dials)[0], -1.0, expected)
    return (norm(difference) / norm(expected)).item()
