"""Bars of the exact road: meta-gradients, hypergradients, their cost."""

from collections.abc import Iterator
from functools import partial

import torch
from torch.func import grad, vmap

from bomrl_lite.adaptation.closed_forms import CLOSED_FORMS
from bomrl_lite.adaptation.distances import DISTANCES, Distance, d2
from bomrl_lite.adaptation.meta_gradients import bomrl, bomrl_trust_region
from bomrl_lite.adaptation.objective import adaptation_objective, policy_gradient, policy_return
from bomrl_lite.adaptation.solve import adapt_to_task
from bomrl_lite.adaptation.trust_region import adapt_to_task_in_trust_region
from bomrl_lite.course.bench.figure import Figure, cpu_seconds, ratio_of
from bomrl_lite.course.experiments.setting import Exact
from bomrl_lite.policies.networks import linear_softmax, tabular_softmax
from bomrl_lite.rollout.data import full_data
from bomrl_lite.solvers.implicit import implicit_vjp, unrolled_hypergradient
from bomrl_lite.solvers.linear import add_scaled, dot, norm
from bomrl_lite.solvers.maximize import ascend
from bomrl_lite.training.config import configure
from bomrl_lite.training.exact import exact_problem
from bomrl_lite.training.streams import seeded
from bomrl_lite.training.trainer import meta_step, meta_train, start_state
from bomrl_lite.types import Adaptation, MetaGradient, Params, TabularPolicy, TabularTask


def exact_training() -> Iterator[Figure]:
    """Train MAML and BO-MRL exactly: 10 tasks, 150 iterations."""
    for name, config, bar in (
        ("MAML", configure("maml"), 5.0),
        ("BO-MRL with D1", configure("bomrl", distance="d1"), 1.2),
        ("BO-MRL with D2", configure("bomrl", distance="d2"), 1.2),
    ):
        train = partial(cpu_seconds, partial(meta_train, config))
        yield Figure(f"exact {name} on Frozen Lake, 10 tasks, 150 it.", train, "CPU-s", bar)


def meta_gradient_error() -> Iterator[Figure]:
    """Compare MAML's directional derivative with central differences on a training task."""
    problem = exact_problem(configure("maml"))
    draw = {"dtype": torch.float64, "generator": seeded(0, 9)}
    phi, direction = ({"logits": torch.randn(16, 4, **draw)} for _ in range(2))
    task = TabularTask(*(field[0] for field in problem.training_tasks))
    methods = (problem.meta_gradient, problem.adaptation)
    error = partial(_directional_error, *methods, phi, direction, task, problem.policy, h=1e-4)
    yield Figure("MAML meta-gradient against central differences", error, "relative", 1e-8)


def hypergradient_errors() -> Iterator[Figure]:
    """Compare BO-MRL's hypergradients with central differences and with closed-form autodiff.

    Along a random direction, on a lake, for every distance: free logits, shared weights, and the
    trust region.
    """
    task, _ = _lake()
    draw = {"dtype": torch.float64, "generator": seeded(0, 9)}
    features = torch.randn(16, 4, 8, **draw)
    for kind, policy in {
        "tabular": tabular_softmax(16, 4),
        "linear": linear_softmax(features),
    }.items():
        (name, leaf), *_ = policy.init(torch.Generator()).items()
        phi, direction = ({name: torch.randn(leaf.shape, **draw)} for _ in range(2))
        for key, distance in DISTANCES.items():
            bound = {"policy": policy, "gamma": 0.8, "distance": distance}
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
            for label, meta_gradient, adaptation, strength in forms:
                error = partial(
                    _directional_error,
                    partial(meta_gradient, **bound, **strength),
                    partial(adaptation, **bound, **strength),
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
                error = partial(_autodiff_error, phi, task, policy, distance)
                yield Figure(figure, error, "relative", 1e-10)


def hypergradient_memory() -> Iterator[Figure]:
    """Divide the peak memory of a hypergradient at 100 inner steps by that at 1.

    Implicit: the steps are taken, then forgotten. Unrolled: every step is kept.
    """
    from bomrl_lite.course.memory import peak_bytes

    task, policy = _lake()
    phi = policy.init(torch.Generator())
    data = full_data(phi, task, policy=policy, gamma=0.8)
    settings = {"policy": policy, "distance": d2, "lam": 1.0}

    def objective(theta: Params, p: Params) -> torch.Tensor:
        batch = full_data(p, task, policy=policy, gamma=0.8)
        return adaptation_objective(theta, p, batch, **settings)

    def implicit(num_steps: int) -> None:
        at_phi = partial(adaptation_objective, phi=phi, data=data, **settings)
        theta = ascend(at_phi, phi, step_size=1.0, num_steps=num_steps)
        cotangent = policy_gradient(theta, task, policy=policy, gamma=0.8)
        implicit_vjp(objective, theta, phi, cotangent, tolerance=float("inf"))

    def unrolled(num_steps: int) -> None:
        outer = partial(policy_return, task=task, policy=policy, gamma=0.8)
        unrolled_hypergradient(objective, outer, phi, step_size=1.0, num_steps=num_steps)

    for name, work, bar in (("implicit", implicit, 1.1), ("unrolled", unrolled, None)):
        yield Figure(
            f"{name} hypergradient, peak memory, 100 steps to 1",
            lambda work=work: peak_bytes(partial(work, 100)) / peak_bytes(partial(work, 1)),
            "ratio",
            bar,
        )


def batching_gain() -> Iterator[Figure]:
    """Divide the time of a vmapped meta-gradient over 20 tasks by that of a loop."""
    problem = exact_problem(configure("maml", num_tasks=20))
    phi = problem.policy.init(seeded(0, "training"))
    batched = vmap(problem.meta_gradient, in_dims=(None, 0))
    singles = [TabularTask(*(field[i] for field in problem.training_tasks)) for i in range(20)]
    ratio = partial(
        ratio_of,
        partial(batched, phi, problem.training_tasks),
        lambda: [problem.meta_gradient(phi, task) for task in singles],
    )
    yield Figure("vmapped over 20 tasks, against a loop", ratio, "ratio", 0.25)


def overhead_over_solves() -> Iterator[Figure]:
    """Divide a meta-iteration by the eight batched linear solves that it cannot do without.

    J and its gradient at phi and at theta take two solves each, the Hessian-vector product four.
    """
    problem = exact_problem(configure("maml"))
    state = start_state(problem)
    matrices = torch.eye(16, dtype=torch.float64) + 0.01 * torch.rand(10, 16, 16).double()
    right = torch.rand(10, 16, 1, dtype=torch.float64)
    ratio = partial(
        ratio_of,
        lambda: meta_step(state, problem),
        lambda: [torch.linalg.solve(matrices, right) for _ in range(8)],
    )
    yield Figure("meta-iteration, against its linear solves alone", ratio, "ratio", None)


def _lake() -> tuple[TabularTask, TabularPolicy]:
    """Return one training task of the high-variance lakes and a policy with free logits."""
    problem = exact_problem(configure("maml", num_tasks=1))
    return TabularTask(*(field[0] for field in problem.training_tasks)), problem.policy


def _directional_error(
    meta_gradient: MetaGradient,
    adaptation: Adaptation,
    phi: Params,
    direction: Params,
    task: TabularTask,
    policy: TabularPolicy,
    h: float = 1e-3,
) -> float:
    """Compare the slope along a direction with a fourth-order central difference."""

    def objective(t: float) -> torch.Tensor:
        theta = adaptation(add_scaled(phi, t, direction), task)
        return policy_return(theta, task, policy=policy, gamma=0.8)

    near, far = objective(h) - objective(-h), objective(2 * h) - objective(-2 * h)
    expected = (8 * near - far) / (12 * h)
    return abs((dot(meta_gradient(phi, task)[0], direction) - expected) / expected).item()


def _autodiff_error(
    phi: Params, task: TabularTask, policy: TabularPolicy, distance: Distance
) -> float:
    """Compare the hypergradient with automatic differentiation through the closed form."""
    exact: Exact = {"policy": policy, "gamma": 0.8}

    def objective(p: Params) -> torch.Tensor:
        data = full_data(p, task, **exact)
        theta = CLOSED_FORMS[distance](p, data, lam=1.0)
        return policy_return(theta, task, **exact)

    expected = grad(objective)(phi)
    got, _ = bomrl(phi, task, lam=1.0, distance=distance, **exact)
    difference = add_scaled(got, -1.0, expected)
    return (norm(difference) / norm(expected)).item()
