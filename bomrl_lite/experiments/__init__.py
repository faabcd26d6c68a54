r"""The experiments on near-optimality (lesson 05): each one command, one table and one figure.

    python -m bomrl_lite experiment returns

writes ``notebooks/results/returns.csv`` and, beside it, ``returns.json``: the command, the
configuration, the seeds and the versions that made it. Meta-trainings are kept in run folders under
``runs/experiments/``, so a stopped experiment goes on where it was.
"""

import csv
import hashlib
import importlib.metadata
import io
import json
import platform
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import NamedTuple

import torch

from bomrl_lite.experiments.gaps import GRIDS, PUBLISHED, bounds, returns, sensitivity, variance
from bomrl_lite.experiments.hypergradients import condition, consistency
from bomrl_lite.experiments.setting import MATCHED, Row, Scale, Trained
from bomrl_lite.files import write_atomically
from bomrl_lite.train import MetaConfig, meta_train
from bomrl_lite.types import Params


class Experiment(NamedTuple):
    """A table of results and how it is made."""

    summary: str
    rows: Callable[[int, Scale, "Trained"], Iterator[Row]]
    """(seed, scale, trainer) -> rows of that seed."""


EXPERIMENTS = {
    "returns": Experiment("returns after 0 to 4 adaptation steps", returns),
    "bounds": Experiment("gap after one step beside its bounds", bounds),
    "variance": Experiment("gap after one step against task variance", variance),
    "consistency": Experiment("error of the hypergradient of each rung over lam", consistency),
    "condition": Experiment("condition number of M(s) during meta-training", condition),
    "sensitivity": Experiment("gap after one step over lam", sensitivity),
}
"""The experiments by name, as the command line knows them."""


def run(
    name: str,
    *,
    scale: Scale,
    out: Path,
    runs: Path,
    progress: Callable[[str], None] = lambda line: None,
) -> Path:
    """Run an experiment and write its table and the record of where it comes from.

    Args:
        name: key of :data:`EXPERIMENTS`.
        scale: how large.
        out: folder of the table.
        runs: folder of the meta-trainings.
        progress: called with a line of text after every seed.

    Raises:
        ValueError: no such experiment.
    """
    if name not in EXPERIMENTS:
        raise ValueError(f"no experiment is called {name!r}; known are {', '.join(EXPERIMENTS)}")
    torch.set_num_threads(1)
    start, rows = time.process_time(), []
    for seed in range(scale.seeds):
        rows += EXPERIMENTS[name].rows(seed, scale, partial(train_once, runs=runs))
        seconds = time.process_time() - start
        progress(f"{name}: seed {seed + 1} of {scale.seeds} done, {seconds:.0f} CPU-seconds")
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows({k: _short(v) for k, v in row.items()} for row in rows)
    write_atomically(out / f"{name}.csv", text.getvalue().encode())
    origin = {
        "experiment": EXPERIMENTS[name].summary,
        "command": f"python -m bomrl_lite experiment {name} --seeds {scale.seeds} "
        f"--iterations {scale.iterations}",
        "scale": asdict(scale),
        "dials": {"matched": MATCHED, "grids": GRIDS, "published": PUBLISHED},
        "versions": _versions(),
    }
    write_atomically(out / f"{name}.json", (json.dumps(origin, indent=1) + "\n").encode())
    return out / f"{name}.csv"


def train_once(config: MetaConfig, *, runs: Path) -> Params:
    """Meta-train, or go on with the run folder of this very configuration."""
    digest = hashlib.sha256(json.dumps(asdict(config), sort_keys=True).encode()).hexdigest()[:12]
    return meta_train(config, out=runs / f"{config.method}-{digest}", resume=True).phi


def _short(value: float | int | str) -> float | int | str:
    return f"{value:.6g}" if isinstance(value, float) else value


def _versions() -> dict[str, str]:
    packages = ("torch", "numpy", "gymnasium")
    return {"python": platform.python_version()} | {
        package: importlib.metadata.version(package) for package in packages
    }
