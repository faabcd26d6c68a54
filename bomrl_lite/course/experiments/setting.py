"""What the experiments share: families, settings, and what a family and a seed stand for."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple, TypedDict

from bomrl_lite.adaptation.distances import DISTANCES, Distance
from bomrl_lite.adaptation.gradient import gradient_step
from bomrl_lite.adaptation.solve import adapt_to_task
from bomrl_lite.training.config import Config, configure
from bomrl_lite.training.exact import exact_problem
from bomrl_lite.training.metrics import gap_rows
from bomrl_lite.training.state import MetaState
from bomrl_lite.training.streams import seeded
from bomrl_lite.training.trainer import start_state
from bomrl_lite.types import Adaptation, Params, TabularPolicy, TabularTask

Row = dict[str, float | int | str]


class Trained(NamedTuple):
    """A finished training."""

    state: MetaState
    seconds: float
    """CPU time that it took."""

    @property
    def phi(self) -> Params:
        """The meta-parameters that it led to."""
        return self.state.phi


Train = Callable[[Config], Trained]
"""How an experiment comes by a training: done now, or found in its run folder."""

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


Rows = Callable[[int, Scale, Train], Iterator[Row]]
"""(seed, scale, train) -> the rows of an experiment that are of this seed."""


class Exact(TypedDict):
    """Keyword arguments of everything that is computed exactly."""

    policy: TabularPolicy
    gamma: float


class Setting(NamedTuple):
    """What the rows of one family and seed share."""

    config: Config
    policy: TabularPolicy
    gamma: float
    splits: dict[str, TabularTask]
    untrained: Params

    @property
    def exact(self) -> Exact:
        """Keyword arguments of everything that is computed exactly."""
        return {"policy": self.policy, "gamma": self.gamma}


def make_setting(tasks: str, seed: int, scale: Scale) -> Setting:
    """Draw the training and the held-out tasks of a seed."""
    config = configure(
        "maml", tasks=tasks, seed=seed, num_tasks=scale.num_tasks, iterations=scale.iterations
    )
    problem = exact_problem(config)
    test = problem.family.sample(scale.num_test, seeded(seed, "evaluation"), "test")
    untrained = start_state(problem).phi
    splits = {"training": problem.training_tasks, "test": test}
    return Setting(config, problem.policy, problem.gamma, splits, untrained)


def distance_of(name: str) -> Distance:
    """Return the distance that ``bomrl_d1``, ``bomrl_d2`` or ``bomrl_d3`` names."""
    return DISTANCES[name.removeprefix("bomrl_")]


def config_of(name: str, value: float, here: Setting) -> Config:
    """Return the training of MAML with alpha = value, or of BO-MRL with a distance and lam."""
    if name == "maml":
        return here.config.replace(step_size=value)
    return here.config.replace(method="bomrl", distance=name.removeprefix("bomrl_"), lam=value)


def alg_of(name: str, value: float, here: Setting) -> Adaptation:
    """Return MAML's step with alpha = value, or Alg with a distance and lam = value."""
    if name == "maml":
        return partial(gradient_step, step_size=value, **here.exact)
    return partial(adapt_to_task, distance=distance_of(name), lam=value, **here.exact)


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
