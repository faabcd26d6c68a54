r"""Every sampled method on 2-D navigation: tuned alike, then compared on fresh seeds and goals.

Tuning: each method gets the same search on the circle of goals
(:func:`bomrl_lite.course.experiments.sampled.search_rows`) and keeps the best it found for every
arrangement of goals. Comparison: other seeds, goals of the test split.
"""

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from bomrl_lite.course.experiments.sampled import (
    TUNING_SEED,
    Measure,
    attempted,
    best_factor,
    fresh_returns,
    reaches,
    search_rows,
)
from bomrl_lite.course.experiments.setting import Row, Scale, Train
from bomrl_lite.course.experiments.tuned import TUNED
from bomrl_lite.training.config import Config, configure
from bomrl_lite.training.episodes import episodes_problem
from bomrl_lite.training.methods import METHODS
from bomrl_lite.types import Tasks

SAMPLED = tuple(name for name, method in METHODS.items() if "episodes" in method.values)
"""Every method that learns from episodes."""


REACHES = reaches(SAMPLED, wider=("joint", "trpo_maml", "imaml"))
"""Of the search of every method."""


def tuning(seed: int, scale: Scale, train: Train) -> Iterator[Row]:
    """Yield one row per method and trial of a search."""
    scale = replace(scale, num_tasks=20)

    def config_of(method: str) -> Config:
        return _config(method, "navigation/circle", TUNING_SEED + seed, scale)

    yield from search_rows(REACHES, config_of, train, Measure(num_tasks=40))


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
    methods = [method for method in SAMPLED if seed < 3 or method not in SLOW]
    yield from _compare("navigation/circle", methods, seed, scale, train)


def corners(seed: int, scale: Scale, train: Train) -> Iterator[Row]:
    """Yield the rows of :func:`comparison` on the sparse corners, settings of the dense task."""
    yield from _compare("navigation/corners", list(EXPLORING), seed, scale, train)


def episodes(seed: int, scale: Scale, train: Train) -> Iterator[Row]:
    """Yield returns after one adaptation from 1 to 20 episodes, priors trained for that number.

    With the usual settings: those of the search are for 20 episodes.
    """
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
            config = tuned_config(method, tasks, seed, scale)
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
        config = tuned_config(method, tasks, seed, scale)
        labels = {"method": method, "seed": seed}
        trained, note = attempted(train, config)
        if trained is None:
            failed = {"step": 1, "factor": 1.0, "return": math.nan, "seconds": 0.0}
            yield {**labels, **failed, "note": note}
            continue
        state, seconds = trained
        problem, few = episodes_problem(config), scale.num_test
        choice = Measure(num_steps=3, num_tasks=few, purpose="choice")
        factor = best_factor(state, problem, choice)
        measure = Measure(num_steps=3, num_tasks=2 * few)
        returns = fresh_returns(state, problem, measure, factor=factor).mean(0)
        for step, value in enumerate(returns.tolist()):
            reached = {"step": step, "factor": factor, "return": value, "seconds": seconds}
            yield {**labels, **reached, "note": note}


def tuned_config(method: str, tasks: str | Tasks[Any], seed: int, scale: Scale) -> Config:
    """Return a training with the best settings of the search, whatever the arrangement of goals."""
    return _config(method, tasks, seed, scale).replace(**TUNED["navigation/circle"][method])


def _config(
    method: str, tasks: str | Tasks[Any], seed: int, scale: Scale, *, num_episodes: int = 20
) -> Config:
    """Return a training with the method's usual settings."""
    return configure(
        method,
        tasks=tasks,
        seed=seed,
        num_tasks=scale.num_tasks,
        num_episodes=num_episodes,
        iterations=scale.iterations,
        diagnose_every=1000,  # no table shows the costly diagnostics
    )
