r"""Methods on robots: tuned alike on HalfCheetah direction, then compared on fresh seeds.

Tuning: every method gets the eight configurations of its row in :data:`GRIDS` on one seed, with the
same number of environment steps, and keeps the best for all families. Comparison: other seeds;
speeds and headings of the test split. Returns are sums over an episode.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import torch

from bomrl_lite.experiments.navigation import later_alg
from bomrl_lite.experiments.setting import Row, Scale
from bomrl_lite.sampled_config import SampledConfig
from bomrl_lite.sampled_problem import SampledProblem, adapted_returns, make_problem
from bomrl_lite.train_sampled import SampledState

Trained = Callable[[SampledConfig], tuple[SampledState, float]]
"""Configuration -> (state after training, its CPU-seconds): trained now, or found."""

TUNING_SEED = 100
TUNING_ITERATIONS = 30
EPISODES = (1, 2, 5, 10, 20)
_CLIPPED = {"epochs": 5, "clip": 0.3}
_SOLVED = {"method": "bomrl_solved", "surrogate": "linear", "parameters": "all", **_CLIPPED}
_SOLVED |= {"inner_iterations": 3, "cg_iterations": 8, "distance_stride": 4}

ARMS: dict[str, dict[str, Any]] = {
    "MAML-TRPO": {"method": "trpo_maml"},
    "ProMP": {"method": "promp"},
    "BO-MRL head": {"method": "bomrl_head"},
    "BO-MRL": {"method": "bomrl"},
    "BO-MRL D3": {"method": "maml", **_CLIPPED},
    "BO-MRL D1": {**_SOLVED, "distance": "d1"},
    "BO-MRL D2": {**_SOLVED, "distance": "d2"},
}
"""What is compared, by label, as fields of :class:`SampledConfig`.

BO-MRL is recipe B, quadratic in the KL divergence: D1 and D2 are one to second order. BO-MRL D1 and
D2 solve the problem with the divergence itself and take the dials of recipe B. With the linear
surrogate D3 has a closed form, MAML's step with alpha = 1 / (2 lam): ProMP without its penalty."""


def _grid(**values: tuple[Any, ...]) -> list[dict[str, Any]]:
    (first, xs), (second, ys) = values.items()
    return [
        {
            **({first: x} if first != "lam_ridge" else dict(zip(("lam", "ridge"), x, strict=True))),
            second: y,
        }
        for x in xs
        for y in ys
    ]


_STEPS = _grid(step_size=(0.05, 0.1, 0.2, 0.5), learning_rate=(1e-2, 2e-2))
GRIDS: dict[str, list[dict[str, Any]]] = {
    "MAML-TRPO": _grid(step_size=(0.1, 0.2, 0.5, 1.0), max_kl=(3e-2, 1e-1)),
    "ProMP": _STEPS,
    "BO-MRL D3": _STEPS,
    "BO-MRL head": _grid(
        lam_ridge=((0.1, 1.0), (0.1, 3.0), (0.3, 0.3), (0.3, 1.0)), learning_rate=(1e-2, 2e-2)
    ),
    "BO-MRL": _grid(
        lam_ridge=((0.05, 60.0), (0.1, 30.0), (0.1, 100.0), (0.2, 15.0)),
        learning_rate=(1e-2, 2e-2),
    ),
}
"""Eight configurations per method; the winners are ``ROBOT_METHODS``, and ``D3`` below."""


def tuning(seed: int, scale: Scale, train: Trained) -> Iterator[Row]:
    """Yield one row per method and configuration."""
    for arm, grid in GRIDS.items():
        for index, dials in enumerate(grid):
            config = _config(arm, TUNING_SEED + seed, "cheetah/direction", TUNING_ITERATIONS)
            config = replace(config, **dials)
            labels = {"method": arm, "configuration": index, "dials": str(dials)}
            try:
                state, seconds = train(config)
            except ArithmeticError as error:
                note = str(error).split(":")[0]
                yield {
                    **labels,
                    "seed": config.seed,
                    "return": float("nan"),
                    "seconds": 0.0,
                    "note": note,
                }
                continue
            value = _returns(state, config, make_problem(config), split="train", stream=3)
            yield {
                **labels,
                "seed": config.seed,
                "return": value[:, 1].mean().item(),
                "seconds": seconds,
                "note": "",
            }


def _config(arm: str, seed: int, tasks: str, iterations: int) -> SampledConfig:
    num_tasks, num_episodes = (4, 20) if "direction" in tasks else (10, 10)
    return SampledConfig(
        **ARMS[arm],
        tasks=tasks,
        seed=seed,
        num_tasks=num_tasks,
        num_episodes=num_episodes,
        iterations=iterations,
        diagnose_every=10000,
    )


def _returns(
    state: SampledState,
    config: SampledConfig,
    problem: SampledProblem,
    *,
    num_steps: int = 1,
    factor: float = 1.0,
    num_episodes: int = 20,
    num_tasks: int | None = None,
    split: str = "test",
    stream: int = 2,
) -> torch.Tensor:
    """Return the returns on fresh tasks; all methods of a seed meet the same."""
    generator = torch.Generator().manual_seed(config.seed * 16 + stream)
    count = num_tasks or config.num_tasks
    tasks = problem.tasks.sample(count, generator, split)  # pyright: ignore[reportArgumentType]
    later = later_alg(config, problem, factor)
    return adapted_returns(
        state.phi,
        tasks,
        problem,
        generator,
        num_steps=num_steps,
        num_episodes=num_episodes,
        algs=(problem.alg, *(later for _ in range(num_steps - 1))),
        moments=state.moments,
    )
