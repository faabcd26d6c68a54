r"""Every sampled method on 2-D navigation: tuned alike, then compared on fresh seeds and goals.

Tuning: each method gets the eight configurations of its row in :data:`GRIDS` on the two seeds 100
and 101 and keeps the best; the winners are the dials of ``METHODS``. Comparison: other seeds, goals
of the test split. How much smaller later adaptation steps should be is chosen for every method
alike, on goals of the train split.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import torch

from bomrl_lite.experiments.setting import Row, Scale
from bomrl_lite.sampled_config import SampledConfig
from bomrl_lite.sampled_meta_gradients import METHODS, Alg, make_alg
from bomrl_lite.sampled_problem import SampledProblem, adapted_returns, make_problem
from bomrl_lite.train_sampled import SampledState
from bomrl_lite.types import Params

SampledTrained = Callable[[SampledConfig], tuple[SampledState, float]]
"""Configuration -> (state after training, its CPU-seconds): trained now, or found."""

TUNING_SEEDS = (100, 101)
TUNING_ITERATIONS = 30
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


def _grid(**values: tuple[Any, ...]) -> list[dict[str, Any]]:
    """Return all combinations of the values of two dials."""
    (first, xs), (second, ys) = values.items()
    return [{first: x, second: y} for x in xs for y in ys]


_GRADIENT = _grid(step_size=(0.3, 0.5, 1.0, 2.0), learning_rate=(5e-3, 1e-2))
GRIDS: dict[str, list[dict[str, Any]]] = {
    "joint": [{"learning_rate": rate} for rate in (1e-3, 2e-3, 3e-3, 5e-3, 1e-2, 2e-2, 3e-2, 5e-2)],
    "naive_maml": _GRADIENT,
    "first_order_maml": _GRADIENT,
    "maml": _GRADIENT,
    "dice_maml": _grid(step_size=(0.1, 0.3, 1.0, 2.0), learning_rate=(3e-3, 1e-2)),
    "loaded_dice_maml": _GRADIENT,
    "e_maml": _grid(step_size=(0.3, 0.5), credit=(0.1, 1.0, 10.0, 30.0)),
    "trpo_maml": _grid(step_size=(0.3, 0.5, 1.0, 2.0), max_kl=(1e-2, 3e-2)),
    "promp": _grid(step_size=(0.3, 0.5, 1.0, 2.0), learning_rate=(3e-3, 6e-3)),
    "anil": _grid(step_size=(0.25, 0.5, 1.0, 2.0), learning_rate=(5e-3, 1e-2)),
    "imaml": _grid(lam=(0.5, 1.0, 2.0, 4.0), learning_rate=(5e-3, 1e-2)),
    "bomrl": [
        {"lam": lam, "ridge": 1 / lam, "learning_rate": rate}
        for lam in (0.00625, 0.0125, 0.025, 0.05)
        for rate in (3e-3, 6e-3)
    ],
    "bomrl_trust_region": _grid(delta=(1.0, 3.0, 10.0, 30.0), ridge=(1.0, 30.0)),
    "bomrl_head": _grid(lam=(0.025, 0.05, 0.1, 0.2), learning_rate=(5e-3, 1e-2)),
    "bomrl_solved": _grid(lam=(0.03, 0.1, 0.3, 1.0), ridge=(0.1, 1.0)),
}
"""Eight configurations per method; dials that are not named are those of ``METHODS``."""


def tuning(seed: int, scale: Scale, train: SampledTrained) -> Iterator[Row]:
    """Yield one row per method and configuration of a tuning seed."""
    for method, grid in GRIDS.items():
        for index, dials in enumerate(grid):
            config = SampledConfig(
                method=method,  # pyright: ignore[reportArgumentType]
                seed=TUNING_SEEDS[seed],
                iterations=TUNING_ITERATIONS,
                diagnose_every=1000,
                **dials,
            )
            labels = {"method": method, "configuration": index, "dials": str(dials)}
            try:
                state, seconds = train(config)
            except ArithmeticError as error:
                yield {
                    **labels,
                    "seed": config.seed,
                    "return": float("nan"),
                    "seconds": 0.0,
                    "note": str(error).split(":")[0],
                }
                continue
            problem = make_problem(config)
            returns = _returns(state.phi, config, problem, split="train", goals=40, stream=3)
            yield {
                **labels,
                "seed": config.seed,
                "return": returns[:, 1].mean().item(),
                "seconds": seconds,
                "note": "",
            }


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
                returns = _returns(
                    state.phi, config, problem, num_episodes=count, goals=2 * scale.num_test
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
            returns = _returns(state.phi, config, make_problem(config), goals=2 * scale.num_test)
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
            note = str(error).split(":")[0]
            yield {
                **labels,
                "step": 1,
                "factor": 1.0,
                "return": float("nan"),
                "seconds": 0.0,
                "note": note,
            }
            continue
        problem = make_problem(config)
        factor = best_factor(state.phi, config, problem, goals=scale.num_test)
        returns = _returns(
            state.phi, config, problem, num_steps=3, factor=factor, goals=2 * scale.num_test
        )
        for step, value in enumerate(returns.mean(0).tolist()):
            yield {
                **labels,
                "step": step,
                "factor": factor,
                "return": value,
                "seconds": seconds,
                "note": "",
            }


def best_factor(
    phi: Params, config: SampledConfig, problem: SampledProblem, *, goals: int
) -> float:
    """Choose the factor of later steps by the return after three, on goals of the train split."""

    def score(factor: float) -> float:
        returns = _returns(
            phi, config, problem, num_steps=3, factor=factor, goals=goals, split="train", stream=4
        )
        return returns[:, 3].mean().item()

    return max(FACTORS, key=score) if METHODS[config.method].alg != "none" else 1.0


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


def _returns(
    phi: Params,
    config: SampledConfig,
    problem: SampledProblem,
    *,
    num_steps: int = 1,
    factor: float = 1.0,
    num_episodes: int | None = None,
    goals: int,
    split: str = "test",
    stream: int = 2,
) -> torch.Tensor:
    """Return the returns on fresh goals; all methods of a seed meet the same goals."""
    generator = torch.Generator().manual_seed(config.seed * 16 + stream)
    tasks = problem.tasks.sample(goals, generator, split)  # pyright: ignore[reportArgumentType]
    later = later_alg(config, problem, factor)
    return adapted_returns(
        phi,
        tasks,
        problem,
        generator,
        num_steps=num_steps,
        num_episodes=num_episodes or config.num_episodes,
        algs=(problem.alg, *(later for _ in range(num_steps - 1))),
    )


def _config(method: str, seed: int, scale: Scale, **fields: Any) -> SampledConfig:
    config = SampledConfig(
        method=method,  # pyright: ignore[reportArgumentType]
        seed=seed,
        num_tasks=scale.num_tasks,
        iterations=scale.iterations,
        diagnose_every=1000,
    )
    return replace(config, **fields)
