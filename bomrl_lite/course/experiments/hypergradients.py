"""Experiments on hypergradients: (d) consistency over lam, (e) condition numbers."""

import itertools
from collections.abc import Iterator
from dataclasses import replace

import torch
from torch import Tensor
from torch.func import vmap

from bomrl_lite.adaptation.closed_forms import condition_numbers, policywise_curvature
from bomrl_lite.adaptation.distances import STATE_DISTANCES, Distance
from bomrl_lite.adaptation.meta_gradients import bomrl
from bomrl_lite.adaptation.objective import policy_return
from bomrl_lite.adaptation.solve import adapt, adapt_to_task
from bomrl_lite.course.experiments.bilevel import central_differences
from bomrl_lite.course.experiments.setting import (
    FAMILIES,
    Row,
    Scale,
    Setting,
    Train,
    config_of,
    distance_of,
    make_setting,
)
from bomrl_lite.rollout.data import DATA_FUNCTIONS, full_data
from bomrl_lite.training.exact import exact_problem
from bomrl_lite.training.streams import seeded
from bomrl_lite.training.trainer import meta_step, start_state
from bomrl_lite.types import Params, TabularTask

LAMBDAS = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0)
"""lam of ``consistency``."""


def consistency(seed: int, scale: Scale, train: Train) -> Iterator[Row]:
    """(d) Error of the hypergradient of each rung over lam, against central differences."""
    del train
    here = make_setting(FAMILIES["high variance"], seed, replace(scale, num_tasks=1, num_test=1))
    task = TabularTask(*(field[0] for field in here.splits["training"]))
    draw = {"dtype": torch.float64, "generator": seeded(seed, 9)}
    phi = {"logits": torch.randn(16, 4, **draw)}
    for name, lam in itertools.product(("bomrl_d1", "bomrl_d2", "bomrl_d3"), LAMBDAS):
        distance = distance_of(name)

        def after(x: Params, distance: Distance = distance, lam: float = lam) -> Tensor:
            theta = adapt_to_task(x, task, distance=distance, lam=lam, **here.exact)
            return policy_return(theta, task, **here.exact)

        expected = central_differences(after, phi, h=1e-3)["logits"]
        for rung, data in DATA_FUNCTIONS.items():
            vjp, info = bomrl(
                phi,
                task,
                data=data,
                tolerance=torch.inf,
                distance=distance,
                lam=lam,
                **here.exact,
            )
            error = (vjp["logits"] - expected).norm() / expected.norm()
            yield {
                "prior": name,
                "lam": lam,
                "rung": rung,
                "seed": seed,
                "error": error.item(),
                "gradient norm": expected.norm().item(),
                **{field: value.item() for field, value in info.inner._asdict().items()},
            }


def condition(seed: int, scale: Scale, train: Train) -> Iterator[Row]:
    """(e) Condition numbers of M(s) of Proposition 1 during meta-training."""
    del train
    every = max(1, scale.iterations // 15)
    for name in ("bomrl_d1", "bomrl_d2"):
        for lam in (0.1, 0.3, 1.0):
            here = make_setting(FAMILIES["high variance"], seed, scale)
            problem = exact_problem(config_of(name, lam, here))
            state = start_state(problem)
            for iteration in range(scale.iterations + 1):
                if iteration % every == 0:
                    numbers = _condition(state.phi, here.splits["training"], name, lam, here)
                    yield {
                        "prior": name,
                        "lam": lam,
                        "seed": seed,
                        "iteration": iteration,
                        "median": numbers.median().item(),
                        "largest": numbers.max().item(),
                    }
                if iteration < scale.iterations:
                    meta_step(state, problem)


def _condition(phi: Params, tasks: TabularTask, name: str, lam: float, here: Setting) -> Tensor:
    """Return the condition number of M(s), all tasks and states, [N * S]."""

    def of_one_task(task: TabularTask) -> Tensor:
        data, distance = full_data(phi, task, **here.exact), distance_of(name)
        theta, _ = adapt(phi, data, policy=here.policy, distance=distance, lam=lam)
        log_theta = here.policy.log_probs(theta)
        return policywise_curvature(
            data.log_probs, log_theta, state_distance=STATE_DISTANCES[distance]
        )

    return condition_numbers(vmap(of_one_task)(tasks)).flatten()
