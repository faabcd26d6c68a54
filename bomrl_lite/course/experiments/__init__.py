r"""The experiments of the lessons: each one command, one table and one figure.

    python -m bomrl_lite experiment returns

writes ``notebooks/results/returns.csv`` and, beside it, ``returns.json``: the command, the
configuration, the seeds and the versions that made it. Meta-trainings are kept in run folders under
``runs/experiments/``, so a stopped experiment goes on where it was.
"""

import concurrent.futures
import hashlib
import importlib.metadata
import json
import platform
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext
from dataclasses import asdict
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import torch

from bomrl_lite.course.experiments import (
    inner_steps,
    laboratory,
    lakes,
    locomotion,
    navigation,
    q_gradient,
)
from bomrl_lite.course.experiments.gaps import (
    GRIDS,
    PUBLISHED,
    bounds,
    returns,
    sensitivity,
    variance,
)
from bomrl_lite.course.experiments.hypergradients import condition, consistency
from bomrl_lite.course.experiments.setting import MATCHED, Row, Scale
from bomrl_lite.methods import METHODS
from bomrl_lite.training.exact_trainer import MetaConfig, meta_train
from bomrl_lite.training.files import csv_text, write_atomically
from bomrl_lite.training.sampled_config import ROBOT, ROBOT_METHODS, SampledConfig
from bomrl_lite.training.sampled_trainer import SampledState
from bomrl_lite.training.sampled_trainer import meta_train as meta_train_sampled
from bomrl_lite.types import Params

EXACT = {"matched": MATCHED, "grids": GRIDS, "published": PUBLISHED}
"""What the record of an exact table's origin must tell beside its scale."""


class Experiment(NamedTuple):
    """A table of results and how it is made."""

    summary: str
    rows: Callable[[int, Scale, Any], Iterator[Row]]
    """(seed, scale, trainer) -> rows of that seed."""
    dials: Mapping[str, Any] = MappingProxyType(EXACT)
    """What the record of the table's origin must tell beside its scale."""
    iterations: int = 150
    """Of every meta-training, unless told otherwise."""


RECORDS = ("checkpoint_every", "diagnose_every")
"""Dials that change no result."""

SAMPLED: dict[str, Any] = {
    "grids": navigation.GRIDS,
    "methods": {name: method.dials for name, method in METHODS.items()},
}

ROBOTS: dict[str, Any] = {
    "grids": locomotion.GRIDS,
    "ant": {"grids": locomotion.ANT_GRIDS, "dials": locomotion.ANT},
    "arms": locomotion.ARMS,
    "dials": ROBOT,
    "methods": ROBOT_METHODS,
}

EXPERIMENTS = {
    "returns": Experiment("returns after 0 to 4 adaptation steps", returns),
    "bounds": Experiment("gap after one step beside its bounds", bounds),
    "variance": Experiment("gap after one step against task variance", variance),
    "consistency": Experiment("error of the hypergradient of each rung over lam", consistency),
    "condition": Experiment("condition number of M(s) during meta-training", condition),
    "sensitivity": Experiment("gap after one step over lam", sensitivity),
    "laboratory": Experiment(
        "bias and spread of estimators of the curvature", laboratory.stored, laboratory.DIALS
    ),
    "q_gradient": Experiment(
        "error of the sampled term through Q over truncation", q_gradient.stored, q_gradient.DIALS
    ),
    "navigation_tuning": Experiment(
        "8 configurations of every sampled method on 2 seeds", navigation.tuning, SAMPLED, 30
    ),
    "navigation": Experiment(
        "returns after 0 to 3 adaptations on a goal circle", navigation.comparison, SAMPLED, 50
    ),
    "corners": Experiment(
        "returns after 0 to 3 adaptations, sparse corners", navigation.corners, SAMPLED, 50
    ),
    "episodes": Experiment(
        "return after one adaptation over one-time episodes", navigation.episodes, SAMPLED, 50
    ),
    "cheetah_tuning": Experiment(
        "8 configurations of every method on HalfCheetah direction",
        locomotion.tuning("cheetah/direction", locomotion.GRIDS),
        ROBOTS,
        30,
    ),
    "cheetah_direction": Experiment(
        "training and adaptation on HalfCheetah direction",
        locomotion.comparison("cheetah/direction", tuple(locomotion.ARMS)),
        ROBOTS,
        40,
    ),
    "cheetah_velocity": Experiment(
        "training and adaptation on HalfCheetah velocity",
        locomotion.comparison("cheetah/velocity", tuple(locomotion.ARMS)),
        ROBOTS,
        40,
    ),
    "ant_tuning": Experiment(
        "4 configurations of two methods on Ant velocity",
        locomotion.tuning("ant/velocity", locomotion.ANT_GRIDS),
        ROBOTS,
        40,
    ),
    "ant_direction": Experiment(
        "training and adaptation on Ant direction, fast integrator",
        locomotion.comparison("ant/direction", tuple(locomotion.ANT)),
        ROBOTS,
        150,
    ),
    "ant_velocity": Experiment(
        "training and adaptation on Ant velocity, fast integrator",
        locomotion.comparison("ant/velocity", tuple(locomotion.ANT)),
        ROBOTS,
        150,
    ),
    "collections": Experiment(
        "HalfCheetah direction: 40 episodes collected at once or in parts",
        locomotion.collections,
        ROBOTS,
        40,
    ),
    "sampled_lakes": Experiment(
        "gap after one adaptation from K sampled episodes",
        lakes.sampled_lakes,
        {"lams": lakes.LAMS, "steps": lakes.STEPS, "trained_lam": lakes.TRAINED_LAM},
    ),
    "inner_steps": Experiment(
        "implicit and unrolled hypergradients over inner steps",
        inner_steps.inner_steps,
        {"lam": inner_steps.LAM, "ridge": inner_steps.RIDGE, "step_size": inner_steps.STEP_SIZE},
    ),
    "heterogeneity": Experiment(
        "return after one adaptation over the width of the arc of goals",
        navigation.heterogeneity,
        SAMPLED,
        50,
    ),
}
"""The experiments by name, as the command line knows them."""


def run(
    name: str,
    *,
    scale: Scale,
    out: Path,
    runs: Path,
    jobs: int = 1,
    progress: Callable[[str], None] = lambda line: None,
) -> Path:
    """Run an experiment and write its table and the record of where it comes from.

    Args:
        name: key of :data:`EXPERIMENTS`.
        scale: how large.
        out: folder of the table.
        runs: folder of the meta-trainings.
        jobs: seeds to run at the same time, each in a process of its own.
        progress: called with a line of text after every seed.

    Raises:
        ValueError: no such experiment.
    """
    if name not in EXPERIMENTS:
        raise ValueError(f"no experiment is called {name!r}; known are {', '.join(EXPERIMENTS)}")
    rows: list[Row] = []
    of_seed = partial(_rows_of_seed, name, scale, runs)
    with concurrent.futures.ProcessPoolExecutor(jobs) if jobs > 1 else nullcontext() as pool:
        results = (
            pool.map(of_seed, range(scale.seeds)) if pool else map(of_seed, range(scale.seeds))
        )
        for seed, (mine, seconds) in enumerate(results):
            rows += mine
            progress(f"{name}: seed {seed + 1} of {scale.seeds} done, {seconds:.0f} CPU-seconds")
    text = csv_text(rows[0], ({k: _short(v) for k, v in row.items()} for row in rows))
    write_atomically(out / f"{name}.csv", text.encode())
    origin = {
        "experiment": EXPERIMENTS[name].summary,
        "command": f"python -m bomrl_lite experiment {name} --seeds {scale.seeds} "
        f"--iterations {scale.iterations}",
        "scale": asdict(scale),
        "dials": dict(EXPERIMENTS[name].dials),
        "versions": _versions(),
    }
    write_atomically(out / f"{name}.json", (json.dumps(origin, indent=1) + "\n").encode())
    return out / f"{name}.csv"


def _rows_of_seed(name: str, scale: Scale, runs: Path, seed: int) -> tuple[list[Row], float]:
    torch.set_num_threads(1)
    start = time.process_time()

    def train(config: Any) -> Any:
        if isinstance(config, SampledConfig):
            return train_sampled_once(config, runs=runs / "sampled")
        return train_once(config, runs=runs)

    rows = list(EXPERIMENTS[name].rows(seed, scale, train))
    return rows, time.process_time() - start


def train_sampled_once(config: SampledConfig, *, runs: Path) -> tuple[SampledState, float]:
    """Meta-train on samples, or find the finished run; also return its CPU-seconds."""
    digest = _digest({k: v for k, v in config.dials().items() if k not in RECORDS})
    out = runs / f"{config.method}-{digest}"
    clock = out / "seconds.json"
    start = time.process_time()
    state = meta_train_sampled(config, out=out, resume=True)
    if not clock.exists():
        write_atomically(clock, json.dumps(time.process_time() - start).encode())
    return state, float(json.loads(clock.read_text()))


def train_once(config: MetaConfig, *, runs: Path) -> Params:
    """Meta-train, or go on with the run folder of this very configuration."""
    out = runs / f"{config.method}-{_digest(asdict(config))}"
    return meta_train(config, out=out, resume=True).phi


def _digest(fields: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()[:12]


def _short(value: float | int | str) -> float | int | str:
    return f"{value:.6g}" if isinstance(value, float) else value


def _versions() -> dict[str, str]:
    packages = ("torch", "numpy", "gymnasium", "mujoco")
    return {"python": platform.python_version()} | {
        package: importlib.metadata.version(package) for package in packages
    }
