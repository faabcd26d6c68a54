r"""Every sampled method on 2-D navigation: tuned alike, then compared on fresh seeds and goals.

Tuning: each method gets the eight configurations of its row in :data:`GRIDS` on the two seeds 100
and 101 and keeps the best; the winners are the dials of ``METHODS``. Comparison: other seeds, goals
of the test split.
"""

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from bomrl_lite.course.experiments.sampled import (
    SampledTrained,
    best_factor,
    combinations,
    fresh_returns,
    reason,
    tuning_rows,
)
from bomrl_lite.course.experiments.setting import Row, Scale
from bomrl_lite.training.sampled_config import SampledConfig
from bomrl_lite.training.sampled_problem import make_problem

TUNING_SEEDS = (100, 101)
TUNING_ITERATIONS = 30

_GRADIENT = combinations(step_size=(0.3, 0.5, 1.0, 2.0), learning_rate=(5e-3, 1e-2))
GRIDS: dict[str, list[dict[str, Any]]] = {
    "joint": [{"learning_rate": rate} for rate in (1e-3, 2e-3, 3e-3, 5e-3, 1e-2, 2e-2, 3e-2, 5e-2)],
    "naive_maml": _GRADIENT,
    "first_order_maml": _GRADIENT,
    "maml": _GRADIENT,
    "dice_maml": combinations(step_size=(0.1, 0.3, 1.0, 2.0), learning_rate=(3e-3, 1e-2)),
    "loaded_dice_maml": _GRADIENT,
    "e_maml": combinations(step_size=(0.3, 0.5), credit=(0.1, 1.0, 10.0, 30.0)),
    "trpo_maml": combinations(step_size=(0.3, 0.5, 1.0, 2.0), max_kl=(1e-2, 3e-2)),
    "promp": combinations(step_size=(0.3, 0.5, 1.0, 2.0), learning_rate=(3e-3, 6e-3)),
    "anil": combinations(step_size=(0.25, 0.5, 1.0, 2.0), learning_rate=(5e-3, 1e-2)),
    "imaml": combinations(lam=(0.5, 1.0, 2.0, 4.0), learning_rate=(5e-3, 1e-2)),
    "bomrl": [
        {"lam": lam, "ridge": 1 / lam, "learning_rate": rate}
        for lam in (0.00625, 0.0125, 0.025, 0.05)
        for rate in (3e-3, 6e-3)
    ],
    "bomrl_trust_region": combinations(delta=(1.0, 3.0, 10.0, 30.0), ridge=(1.0, 30.0)),
    "bomrl_head": combinations(lam=(0.025, 0.05, 0.1, 0.2), learning_rate=(5e-3, 1e-2)),
    "bomrl_solved": combinations(lam=(0.03, 0.1, 0.3, 1.0), ridge=(0.1, 1.0)),
}
"""Eight configurations per method; dials that are not named are those of ``METHODS``."""


def tuning(seed: int, scale: Scale, train: SampledTrained) -> Iterator[Row]:
    """Yield one row per method and configuration of a tuning seed."""

    def config_of(method: str) -> SampledConfig:
        return SampledConfig(
            method=method,  # pyright: ignore[reportArgumentType]
            seed=TUNING_SEEDS[seed],
            iterations=TUNING_ITERATIONS,
            diagnose_every=1000,
        )

    yield from tuning_rows(GRIDS, config_of, train, num_tasks=40)


SLOW = ("dice_maml", "loaded_dice_maml", "imaml", "bomrl_trust_region", "bomrl_solved")
"""Methods that the comparison trains on three seeds only."""
EXPLORING = ("joint", "maml", "e_maml", "loaded_dice_maml", "promp", "bomrl_head", "bomrl")
"""Methods that are trained on the sparse corners."""


def comparison(seed: int, scale: Scale, train: SampledTrained) -> Iterator[Row]:
    """Yield one row per method and number of adaptation steps, on goals of the test split."""
    methods = [method for method in GRIDS if seed < 3 or method not in SLOW]
    yield from _compare("navigation/circle", methods, seed, scale, train)


def corners(seed: int, scale: Scale, train: SampledTrained) -> Iterator[Row]:
    """Yield the rows of :func:`comparison` on the sparse corners, dials of the dense task."""
    yield from _compare("navigation/corners", list(EXPLORING), seed, scale, train)


def episodes(seed: int, scale: Scale, train: SampledTrained) -> Iterator[Row]:
    """Yield returns after one adaptation from 1 to 20 episodes, priors trained for that number."""
    for method in COMPARED:
        for trained in (1, 2, 5, 10, 20):
            config = _config(method, seed, scale, num_episodes=trained)
            state, seconds = train(config)
            problem = make_problem(config)
            for count in dict.fromkeys((trained, *((1, 2, 5, 10, 20) if trained == 20 else ()))):
                returns = fresh_returns(
                    state, config, problem, num_episodes=count, num_tasks=2 * scale.num_test
                )
                yield {
                    "method": method,
                    "trained_with": trained,
                    "episodes": count,
                    "seed": seed,
                    "before": returns[:, 0].mean().item(),
                    "return": returns[:, 1].mean().item(),
                    "seconds": seconds,
                }


def heterogeneity(seed: int, scale: Scale, train: SampledTrained) -> Iterator[Row]:
    """Yield returns after one adaptation where goals lie on an arc of growing width."""
    for method in COMPARED:
        for tasks in ("navigation/arc-45", "navigation/arc-180", "navigation/circle"):
            config = _config(method, seed, scale, tasks=tasks)
            state, seconds = train(config)
            problem, goals = make_problem(config), 2 * scale.num_test
            returns = fresh_returns(state, config, problem, num_tasks=goals)
            yield {
                "method": method,
                "tasks": tasks,
                "seed": seed,
                "before": returns[:, 0].mean().item(),
                "return": returns[:, 1].mean().item(),
                "seconds": seconds,
            }


COMPARED = ("maml", "promp", "bomrl_head", "bomrl")
"""Methods of the longer experiments."""


def _compare(
    tasks: str, methods: list[str], seed: int, scale: Scale, train: SampledTrained
) -> Iterator[Row]:
    for method in methods:
        config = _config(method, seed, scale, tasks=tasks)
        labels = {"method": method, "seed": seed}
        try:
            state, seconds = train(config)
        except ArithmeticError as error:
            failed = {"step": 1, "factor": 1.0, "return": math.nan, "seconds": 0.0}
            yield {**labels, **failed, "note": reason(error)}
            continue
        problem = make_problem(config)
        factor = best_factor(state, config, problem, num_tasks=scale.num_test, stream=4)
        fresh: dict[str, Any] = {"num_steps": 3, "factor": factor, "num_tasks": 2 * scale.num_test}
        returns = fresh_returns(state, config, problem, **fresh).mean(0)
        for step, value in enumerate(returns.tolist()):
            reached = {"step": step, "factor": factor, "return": value, "seconds": seconds}
            yield {**labels, **reached, "note": ""}


def _config(method: str, seed: int, scale: Scale, **fields: Any) -> SampledConfig:
    config = SampledConfig(
        method=method,  # pyright: ignore[reportArgumentType]
        seed=seed,
        num_tasks=scale.num_tasks,
        iterations=scale.iterations,
        diagnose_every=1000,
    )
    return replace(config, **fields)
