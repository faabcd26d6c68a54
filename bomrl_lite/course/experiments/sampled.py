"""What the experiments on samples share: grids, rows of tuning, and returns on fresh tasks.

How much smaller later adaptation steps should be is chosen for every method alike, on tasks of the
train split.
"""

import itertools
import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from torch import Tensor

from bomrl_lite.adaptation.episodes import Alg
from bomrl_lite.course.experiments.setting import Row
from bomrl_lite.methods import METHODS, make_alg
from bomrl_lite.training.exact_trainer import seeded
from bomrl_lite.training.sampled_config import SampledConfig
from bomrl_lite.training.sampled_problem import SampledProblem, adapted_returns, make_problem
from bomrl_lite.training.sampled_trainer import SampledState
from bomrl_lite.types import Split

SampledTrained = Callable[[SampledConfig], tuple[SampledState, float]]
"""Configuration -> (state after training, its CPU-seconds): trained now, or found."""

FACTORS = (1.0, 0.3, 0.1, 0.03)
"""What the second and later adaptation steps are multiplied with, in turn."""
STEP_DIAL = {
    "gradient": "step_size",
    "natural": "lam",
    "head": "lam",
    "solved": "lam",
    "region": "delta",
}
"""The dial of each Alg that sets how far one adaptation goes."""


def combinations(**values: tuple[Any, ...]) -> list[dict[str, Any]]:
    """Return all combinations of the values of some dials, those of the last changing fastest."""
    return [
        dict(zip(values, chosen, strict=True)) for chosen in itertools.product(*values.values())
    ]


def tuning_rows(
    grids: dict[str, list[dict[str, Any]]],
    config_of: Callable[[str], SampledConfig],
    train: SampledTrained,
    **fresh: Any,
) -> Iterator[Row]:
    """Yield the return after one adaptation of every configuration, on tasks of the train split.

    Args:
        grids: dials of each configuration, by method.
        config_of: method -> configuration before these dials.
        train: trains one.
        fresh: further arguments of :func:`fresh_returns`.
    """
    fresh |= {"split": "train", "stream": 3}
    for method, grid in grids.items():
        for index, dials in enumerate(grid):
            config = replace(config_of(method), **dials)
            row: Row = {"method": method, "configuration": index, "dials": str(dials)}
            row["seed"] = config.seed
            try:
                state, seconds = train(config)
            except ArithmeticError as error:
                yield {**row, "return": math.nan, "seconds": 0.0, "note": reason(error)}
                continue
            returns = fresh_returns(state, config, make_problem(config), **fresh)
            value = returns[:, 1].mean().item()
            yield {**row, "return": value, "seconds": seconds, "note": ""}


def reason(error: ArithmeticError) -> str:
    """Return why a training failed, as a table notes it: the message without its advice."""
    return str(error).split(":")[0]


def fresh_returns(
    state: SampledState,
    config: SampledConfig,
    problem: SampledProblem,
    *,
    split: Split = "test",
    stream: int = 2,
    num_tasks: int | None = None,
    num_steps: int = 1,
    factor: float = 1.0,
    num_episodes: int | None = None,
    test_episodes: int = 20,
) -> Tensor:
    """Return the mean return after 0, 1, ..., num_steps adaptations to fresh tasks, [N, steps + 1].

    All methods of a seed meet the same tasks.

    Args:
        state: after training.
        config: what was trained.
        problem: of ``config``.
        split: that the tasks are from.
        stream: which random numbers of the seed.
        num_tasks: N; None takes as many as in training.
        num_steps: adaptations.
        factor: of the length of the second and later adaptation steps.
        num_episodes: per task for one adaptation; None takes as many as in training.
        test_episodes: per task for one return.
    """
    generator = seeded(config.seed, stream=stream)
    later = later_alg(config, problem, factor)
    return adapted_returns(
        state.phi,
        problem.tasks.sample(num_tasks or config.num_tasks, generator, split),
        problem,
        generator,
        num_steps=num_steps,
        num_episodes=num_episodes or config.num_episodes,
        test_episodes=test_episodes,
        algs=(problem.alg, *(later for _ in range(num_steps - 1))),
        moments=state.moments,
    )


def best_factor(
    state: SampledState,
    config: SampledConfig,
    problem: SampledProblem,
    *,
    num_steps: int = 3,
    **fresh: Any,
) -> float:
    """Choose the factor of later steps by the last return, on tasks of the train split.

    Args:
        state: after training.
        config: what was trained.
        problem: of ``config``.
        num_steps: adaptations.
        fresh: further arguments of :func:`fresh_returns`.
    """
    if num_steps == 1 or METHODS[config.method].alg == "none":
        return 1.0
    fresh |= {"num_steps": num_steps, "split": "train"}

    def score(factor: float) -> float:
        returns = fresh_returns(state, config, problem, factor=factor, **fresh)
        return returns[:, -1].mean().item()

    return max(FACTORS, key=score)


def later_alg(config: SampledConfig, problem: SampledProblem, factor: float) -> Alg:
    """Return the Alg whose step is ``factor`` times as long to first order."""
    name = METHODS[config.method].alg
    if name == "none" or factor == 1.0:
        return problem.alg
    dial = STEP_DIAL[name]
    value = problem.dials[dial]
    shorter = {"lam": value / factor, "step_size": value * factor, "delta": value * factor**2}
    dials = {**problem.dials, "gamma": problem.gamma, dial: shorter[dial]}
    return make_alg(name, problem.policy, dials)
