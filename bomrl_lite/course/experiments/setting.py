"""What the experiments share: families, dials, and what a family and a seed stand for."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, NamedTuple

from bomrl_lite.adaptation.distances import DISTANCES, Distance
from bomrl_lite.adaptation.gradient import gradient_step
from bomrl_lite.adaptation.solve import adapt_to_task
from bomrl_lite.training.exact_trainer import MetaConfig, make_problem, seeded, start_state
from bomrl_lite.training.metrics import gap_rows
from bomrl_lite.types import Adaptation, Params, TabularPolicy, TabularTask

Row = dict[str, float | int | str]

Trained = Callable[[MetaConfig], Params]
"""Configuration -> meta-parameters: trained now, or found in their run folder."""

FAMILIES = {"high variance": "frozen_lake/holes-4x4", "low variance": "frozen_lake/costs-4x4"}
"""The two families of Xu and Zhu (2410.09728)."""

MATCHED = {"bomrl_d1": 0.3, "bomrl_d2": 0.3, "bomrl_d3": 0.003, "maml": 30.0}
"""lam, or for MAML alpha, at training and at test: each the best of its grid in ``sensitivity`` on
the training lakes of the high-variance family."""


@dataclass(frozen=True)
class Scale:
    """How large an experiment is."""

    seeds: int = 5
    iterations: int = 150
    num_tasks: int = 20
    num_test: int = 20


class Setting(NamedTuple):
    """What the rows of one family and seed share."""

    config: MetaConfig
    policy: TabularPolicy
    gamma: float
    splits: dict[str, TabularTask]
    untrained: Params

    @property
    def exact(self) -> dict[str, Any]:
        """Keyword arguments of everything that is computed exactly."""
        return {"policy": self.policy, "gamma": self.gamma}


def make_setting(tasks: str, seed: int, scale: Scale) -> Setting:
    """Draw the training and the held-out tasks of a seed."""
    config = MetaConfig(
        tasks=tasks, seed=seed, num_tasks=scale.num_tasks, iterations=scale.iterations
    )
    problem = make_problem(config)
    test = problem.distribution.sample(scale.num_test, seeded(seed, stream=2), "test")
    untrained = start_state(config, problem).phi
    splits = {"training": problem.tasks, "test": test}
    return Setting(config, problem.policy, problem.distribution.gamma, splits, untrained)


def distance_of(name: str) -> Distance:
    """Return the distance that ``bomrl_d1``, ``bomrl_d2`` or ``bomrl_d3`` names."""
    return DISTANCES[name.removeprefix("bomrl_")]


def bomrl_config(config: MetaConfig, name: str, lam: float) -> MetaConfig:
    """Return the configuration of BO-MRL with the distance that ``name`` names."""
    return replace(config, method="bomrl", distance=name.removeprefix("bomrl_"), lam=lam)


def alg_of(name: str, dial: float, here: Setting) -> Adaptation:
    """Return MAML's step with alpha = dial, or Alg with a distance and lam = dial."""
    if name == "maml":
        return partial(gradient_step, step_size=dial, **here.exact)
    return partial(adapt_to_task, distance=distance_of(name), lam=dial, **here.exact)


def mean_rows(
    phi: Params,
    tasks: TabularTask,
    adaptation: Adaptation,
    here: Setting,
    labels: dict[str, str],
    num_steps: int,
) -> Iterator[Row]:
    """Yield one row per number of steps: mean return and gap over the tasks."""
    rows = gap_rows(phi, tasks, adaptation, num_steps=num_steps, **here.exact)
    for step in range(num_steps + 1):
        mine = [row for row in rows if row["step"] == step]
        means = {k: sum(float(row[k]) for row in mine) / len(mine) for k in ("return", "gap")}
        yield {**labels, "step": step, **means}


def mean_gaps(
    phi: Params, tasks: TabularTask, adaptation: Adaptation, here: Setting
) -> tuple[float, float]:
    """Return the mean gap before and after one adaptation."""
    before, after = (float(r["gap"]) for r in mean_rows(phi, tasks, adaptation, here, {}, 1))
    return before, after
