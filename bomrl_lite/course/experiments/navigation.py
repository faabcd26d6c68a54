r"""Every sampled method on 2-D navigation: tuned alike, then compared on fresh seeds and goals.

Tuning: each method gets the eight configurations of its row in :data:`GRIDS` on the two seeds 100
and 101 and keeps the best; the winners are the settings of ``METHODS``. Comparison: other seeds,
goals of the test split.
"""

import math
from collections.abc import Iterator
from dataclasses import replace

from bomrl_lite.course.experiments.sampled import (
    Grids,
    Measure,
    best_factor,
    combinations,
    fresh_returns,
    reason,
    tuning_rows,
)
from bomrl_lite.course.experiments.setting import Row, Scale, Train
from bomrl_lite.training.config import Config, configure
from bomrl_lite.training.episodes import episodes_problem

TUNING_SEEDS = (100, 101)
TUNING_ITERATIONS = 30

_GRADIENT = combinations(step_size=(0.3, 0.5, 1.0, 2.0), learning_rate=(5e-3, 1e-2))
GRIDS: Grids = {
    "joint": [{"learning_rate": rate} for rate in (1e-3, 2e-3, 3e-3, 5e-3, 1e-2, 2e-2, 3e-2, 5e-2)],
    "naive_maml": _GRADIENT,
    "first_order_maml": _GRADIENT,
    "lvc_maml": _GRADIENT,
    "dice_maml": combinations(step_size=(0.1, 0.3, 1.0, 2.0), learning_rate=(3e-3, 1e-2)),
    "loaded_dice_maml": _GRADIENT,
    "e_maml": combinations(step_size=(0.3, 0.5), credit=(0.1, 1.0, 10.0, 30.0)),
    "trpo_maml": combinations(step_size=(0.3, 0.5, 1.0, 2.0), max_kl=(1e-2, 3e-2)),
    "promp": combinations(step_size=(0.3, 0.5, 1.0, 2.0), learning_rate=(3e-3, 6e-3)),
    "anil": combinations(step_size=(0.25, 0.5, 1.0, 2.0), learning_rate=(5e-3, 1e-2)),
    "imaml": combinations(lam=(0.5, 1.0, 2.0, 4.0), learning_rate=(5e-3, 1e-2)),
    "bomrl_natural": [
        {"lam": lam, "ridge": 1 / lam, "learning_rate": rate}
        for lam in (0.00625, 0.0125, 0.025, 0.05)
        for rate in (3e-3, 6e-3)
    ],
    "bomrl_natural_region": combinations(delta=(1.0, 3.0, 10.0, 30.0), ridge=(1.0, 30.0)),
    "bomrl_head": combinations(lam=(0.025, 0.05, 0.1, 0.2), learning_rate=(5e-3, 1e-2)),
    "bomrl_solved": combinations(lam=(0.03, 0.1, 0.3, 1.0), ridge=(0.1, 1.0)),
}
"""Eight configurations per method; settings that are not named are those of ``METHODS``."""


def tuning(seed: int, scale: Scale, train: Train) -> Iterator[Row]:
    """Yield one row per method and configuration of a tuning seed."""
    scale = replace(scale, num_tasks=20, iterations=TUNING_ITERATIONS)

    def config_of(method: str) -> Config:
        return _config(method, "navigation/circle", TUNING_SEEDS[seed], scale)

    yield from tuning_rows(GRIDS, config_of, train, Measure(num_tasks=40))


SLOW = ("dice_maml", "loaded_dice_maml", "imaml", "bomrl_natural_region", "bomrl_solved")
"""Methods that the comparison trains on three seeds only."""
EXPLORING = (
    "joint",
    "lvc_maml",
    "e_maml",
    "loaded_dice_maml",
    "promp",
    "bomrl_head",
    "bomrl_natural",
)
"""Methods that are trained on the sparse corners."""


def comparison(seed: int, scale: Scale, train: Train) -> Iterator[Row]:
    """Yield one row per method and number of adaptation steps, on goals of the test split."""
    methods = [method for method in GRIDS if seed < 3 or method not in SLOW]
    yield from _compare("navigation/circle", methods, seed, scale, train)


def corners(seed: int, scale: Scale, train: Train) -> Iterator[Row]:
    """Yield the rows of :func:`comparison` on the sparse corners, settings of the dense task."""
    yield from _compare("navigation/corners", list(EXPLORING), seed, scale, train)


def episodes(seed: int, scale: Scale, train: Train) -> Iterator[Row]:
    """Yield returns after one adaptation from 1 to 20 episodes, priors trained for that number."""
    for method in COMPARED:
        for trained in (1, 2, 5, 10, 20):
            config = _config(method, "navigation/circle", seed, scale, num_episodes=trained)
            (state, seconds), problem = train(config), episodes_problem(config)
            for count in dict.fromkeys((trained, *((1, 2, 5, 10, 20) if trained == 20 else ()))):
                measure = Measure(num_episodes=count, num_tasks=2 * scale.num_test)
                returns = fresh_returns(state, problem, measure)
                yield {
                    "method": method,
                    "trained_with": trained,
                    "episodes": count,
                    "seed": seed,
                    "before": returns[:, 0].mean().item(),
                    "return": returns[:, 1].mean().item(),
                    "seconds": seconds,
                }


def heterogeneity(seed: int, scale: Scale, train: Train) -> Iterator[Row]:
    """Yield returns after one adaptation where goals lie on an arc of growing width."""
    for method in COMPARED:
        for tasks in ("navigation/arc-45", "navigation/arc-180", "navigation/circle"):
            config = _config(method, tasks, seed, scale)
            state, seconds = train(config)
            measure = Measure(num_tasks=2 * scale.num_test)
            returns = fresh_returns(state, episodes_problem(config), measure)
            yield {
                "method": method,
                "tasks": tasks,
                "seed": seed,
                "before": returns[:, 0].mean().item(),
                "return": returns[:, 1].mean().item(),
                "seconds": seconds,
            }


COMPARED = ("lvc_maml", "promp", "bomrl_head", "bomrl_natural")
"""Methods of the longer experiments."""


def _compare(
    tasks: str, methods: list[str], seed: int, scale: Scale, train: Train
) -> Iterator[Row]:
    for method in methods:
        config = _config(method, tasks, seed, scale)
        labels = {"method": method, "seed": seed}
        try:
            state, seconds = train(config)
        except ArithmeticError as error:
            failed = {"step": 1, "factor": 1.0, "return": math.nan, "seconds": 0.0}
            yield {**labels, **failed, "note": reason(error)}
            continue
        problem, few = episodes_problem(config), scale.num_test
        choice = Measure(num_steps=3, num_tasks=few, purpose="choice")
        factor = best_factor(state, problem, choice)
        measure = Measure(num_steps=3, num_tasks=2 * few)
        returns = fresh_returns(state, problem, measure, factor=factor).mean(0)
        for step, value in enumerate(returns.tolist()):
            reached = {"step": step, "factor": factor, "return": value, "seconds": seconds}
            yield {**labels, **reached, "note": ""}


def _config(method: str, tasks: str, seed: int, scale: Scale, *, num_episodes: int = 20) -> Config:
    return configure(
        method,
        tasks=tasks,
        seed=seed,
        num_tasks=scale.num_tasks,
        num_episodes=num_episodes,
        iterations=scale.iterations,
        diagnose_every=1000,  # no table shows the costly diagnostics
    )
