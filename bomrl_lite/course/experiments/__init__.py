r"""The experiments of the lessons: each one command, one table and one figure.

    python -m bomrl_lite experiment returns

writes ``notebooks/results/returns.csv`` and, beside it, ``returns.json``: the command, the
configuration, the seeds and the versions that made it. Meta-trainings are kept in run folders under
``runs/experiments/``, so a stopped experiment goes on where it was.
"""

import hashlib
import importlib.metadata
import json
import platform
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import asdict
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from bomrl_lite.course.engines import Engine, in_this_process
from bomrl_lite.course.experiments import (
    altered,
    inner_steps,
    laboratory,
    lakes,
    lams,
    locomotion,
    navigation,
    parts,
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
from bomrl_lite.course.experiments.setting import MATCHED, Row, Rows, Scale, Trained
from bomrl_lite.course.experiments.tuned import TUNED
from bomrl_lite.require import require_not_negative, require_whole
from bomrl_lite.training.config import Config
from bomrl_lite.training.files import csv_text, write_atomically
from bomrl_lite.training.methods import METHODS, Kind
from bomrl_lite.training.places import require_writable
from bomrl_lite.training.run_folder import Progress, silent
from bomrl_lite.training.run_folder import Row as HistoryRow
from bomrl_lite.training.streams import STREAMS
from bomrl_lite.training.trainer import meta_train

Origin = Mapping[str, object]
"""What the record of a table's origin must tell beside its scale: plain values by name."""

EXACT: Origin = {"matched": MATCHED, "grids": GRIDS, "published": PUBLISHED}


class Experiment(NamedTuple):
    """A table of results and how it is made."""

    summary: str
    rows: Rows
    settings: Origin = MappingProxyType(EXACT)
    iterations: int = 150
    """Of every meta-training, unless told otherwise."""


RECORDS = ("checkpoint_every", "diagnose_every")
"""Settings that change no result."""


def tuned_settings(kind: Kind) -> dict[str, dict[str, object]]:
    """Return the settings of every method that samples, as plain values, on a kind of task."""
    tuned = {name: m.settings(kind) for name, m in METHODS.items() if "episodes" in m.values}
    return {
        name: {k: v for part in parts if part is not None for k, v in asdict(part).items()}
        for name, parts in tuned.items()
    }


SAMPLED: Origin = {"tuned": TUNED["navigation/circle"], "methods": tuned_settings("points")}

ROBOTS: Origin = {
    "tuned": {tasks: found for tasks, found in TUNED.items() if tasks != "navigation/circle"},
    "arms": locomotion.ARMS,
    "methods": tuned_settings("robots"),
    "ant": {
        "grids": locomotion.ANT_GRIDS,
        "steps": locomotion.ANT_STEPS,
        "methods": tuned_settings("ant"),
    },
}

EXPERIMENTS = {
    "returns": Experiment("returns after 0 to 4 adaptation steps", returns),
    "bounds": Experiment("gap after one step beside its bounds", bounds),
    "variance": Experiment("gap after one step against task variance", variance),
    "consistency": Experiment("error of the hypergradient of each rung over lam", consistency),
    "condition": Experiment("condition number of M(s) during meta-training", condition),
    "sensitivity": Experiment("gap after one step over lam", sensitivity),
    "laboratory": Experiment(
        "bias and spread of estimators of the curvature", laboratory.stored, laboratory.ORIGIN
    ),
    "q_gradient": Experiment(
        "error of the sampled term through Q over truncation", q_gradient.stored, q_gradient.ORIGIN
    ),
    "navigation_tuning": Experiment(
        "12 trials of every sampled method", navigation.tuning, SAMPLED, 20
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
        "12 trials of every method on HalfCheetah direction",
        locomotion.tuning("cheetah/direction"),
        ROBOTS,
        20,
    ),
    "cheetah_velocity_tuning": Experiment(
        "12 trials of every method on HalfCheetah velocity",
        locomotion.tuning("cheetah/velocity"),
        ROBOTS,
        20,
    ),
    "cheetah_direction": Experiment(
        "training and adaptation on HalfCheetah direction",
        locomotion.comparison("cheetah/direction", tuple(locomotion.ARMS)),
        ROBOTS,
        40,
    ),
    "cheetah_velocity": Experiment(
        "training and adaptation on HalfCheetah velocity",
        locomotion.comparison("cheetah/velocity", locomotion.SEARCHED),
        ROBOTS,
        40,
    ),
    "heads": Experiment(
        "adaptation of the head alone, usual settings, HalfCheetah direction",
        locomotion.comparison("cheetah/direction", locomotion.HEADS, searched=False),
        ROBOTS,
        40,
    ),
    "levers": Experiment(
        "what might take BO-MRL further on HalfCheetah velocity",
        locomotion.levers("cheetah/velocity", locomotion.LEVERS),
        {**ROBOTS, "levers": locomotion.LEVERS},
        40,
    ),
    "walker_levers": Experiment(
        "what might take BO-MRL further on Walker direction",
        locomotion.levers("walker/direction", locomotion.WALKER_LEVERS),
        {**ROBOTS, "levers": locomotion.WALKER_LEVERS},
        40,
    ),
    "ant_forward": Experiment(
        "one policy learns to walk in one direction, fast integrator",
        altered.forward,
        {"log_stds": altered.LOG_STDS},
        60,
    ),
    "ant_tuning": Experiment(
        "4 configurations of five methods on Ant velocity",
        locomotion.grid_tuning("ant/velocity", locomotion.ANT_GRIDS),
        ROBOTS,
        40,
    ),
    "ant_direction_tuning": Experiment(
        "3 lengths of the inner step of two methods on Ant direction",
        locomotion.grid_tuning("ant/direction", locomotion.ANT_STEPS),
        ROBOTS,
        60,
    ),
    "ant_direction": Experiment(
        "training and adaptation on Ant direction, fast integrator",
        locomotion.comparison("ant/direction", locomotion.ANTS),
        ROBOTS,
        60,
    ),
    "ant_direction_long": Experiment(
        "Ant direction eight times longer, from twice the episodes",
        locomotion.long_ants,
        {**ROBOTS, "long": locomotion.LONG},
        480,
    ),
    "ant_velocity": Experiment(
        "training and adaptation on Ant velocity, fast integrator",
        locomotion.comparison("ant/velocity", (*locomotion.ANTS, *locomotion.ANT_CONTROLS)),
        ROBOTS,
        100,
    ),
    "walker_tuning": Experiment(
        "12 trials of five methods on Walker direction",
        locomotion.tuning("walker/direction", locomotion.WALKERS),
        ROBOTS,
        20,
    ),
    "walker_direction": Experiment(
        "training and adaptation on Walker direction, fast integrator",
        locomotion.comparison("walker/direction", locomotion.WALKERS),
        ROBOTS,
        40,
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
        inner_steps.stored,
        {"lam": inner_steps.LAM, "ridge": inner_steps.RIDGE, "step_size": inner_steps.STEP_SIZE},
    ),
    "training_goals": Experiment(
        "return after one adaptation over the number of training goals",
        altered.training_goals,
        SAMPLED,
        50,
    ),
    "delayed": Experiment(
        "return after one adaptation over how late rewards are paid", altered.delayed, SAMPLED, 50
    ),
    "lams": Experiment(
        "return after one adaptation over lam, fixed and trained beside phi",
        lams.lam_rows,
        {
            **ROBOTS,
            "points": SAMPLED,
            "cases": lams.CASES,
            "times": lams.TIMES,
            "learnt": lams.LEARNT,
            "rate": lams.RATE,
        },
        50,
    ),
    "condition_networks": Experiment(
        "condition number of Alg's system while HalfCheetah direction is learnt",
        lams.condition_rows,
        {**ROBOTS, "products": lams.PRODUCTS},
        40,
    ),
    "spreads": Experiment(
        "40 episodes at once or in parts, over how different the tasks are",
        parts.spreads,
        {**ROBOTS, "points": SAMPLED, "bands": parts.BANDS, "counts": parts.COUNTS},
        50,
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
    engine: Engine = in_this_process,
    progress: Callable[[str], None] = lambda line: None,
) -> Path:
    """Run an experiment and write its table and the record of where it comes from.

    Args:
        name: key of :data:`EXPERIMENTS`.
        scale: how large.
        out: folder of the table.
        runs: folder of the meta-trainings.
        engine: where the seeds run; no result depends on it.
        progress: called with a line of text after every seed.

    Raises:
        ValueError: no such experiment, a number that is less than 1, or a stored training that
            cannot be gone on with.
        OSError: the table cannot be written, or a process was killed.
    """
    if name not in EXPERIMENTS:
        raise ValueError(f"no experiment is called {name!r}; known are {', '.join(EXPERIMENTS)}")
    for what, number in asdict(scale).items():
        require_whole(what, number)
    for file in (out / f"{name}.csv", out / f"{name}.json", runs / "run"):
        require_writable(file)
    of_seeds: list[list[Row]] = [[] for _ in range(scale.seeds)]
    of_seed = partial(_rows_of_seed, name, scale, runs.resolve())
    with closing(engine(of_seed, range(scale.seeds))) as ended:
        for count, done in enumerate(ended, 1):
            if isinstance(done.error, ChildProcessError):
                raise ChildProcessError(
                    f"seed {done.number}: {done.error}: repeat the command with fewer jobs; it "
                    "goes on where it was"
                ) from done.error
            of_seeds[done.number], seconds = done.result()
            progress(f"{name}: {count} of {scale.seeds} seeds done, {seconds:.0f} CPU-seconds")
    rows = [row for rows in of_seeds for row in rows]
    text = csv_text(rows[0], ({k: _short(v) for k, v in row.items()} for row in rows))
    write_atomically(out / f"{name}.csv", text.encode())
    origin = {
        "experiment": EXPERIMENTS[name].summary,
        "command": f"python -m bomrl_lite experiment {name} --seeds {scale.seeds} "
        f"--iterations {scale.iterations}",
        "scale": asdict(scale),
        "settings": dict(EXPERIMENTS[name].settings),
        "streams": STREAMS,
        "versions": versions(),
    }
    write_atomically(out / f"{name}.json", (json.dumps(origin, indent=1) + "\n").encode())
    return out / f"{name}.csv"


def _rows_of_seed(name: str, scale: Scale, runs: Path, seed: int) -> tuple[list[Row], float]:
    start = time.process_time()
    rows = list(EXPERIMENTS[name].rows(seed, scale, partial(train_once, runs=runs)))
    return rows, time.process_time() - start


def folder_of(config: Config) -> str:
    """Return the name of the run folder of this very configuration."""
    telling = {name: value for name, value in config.stored().items() if name not in RECORDS}
    text = json.dumps(telling, sort_keys=True)
    return f"{config.method}-{hashlib.sha256(text.encode()).hexdigest()[:12]}"


def train_once(config: Config, *, runs: Path, progress: Progress = silent) -> Trained:
    """Meta-train, or go on with the run folder of this very configuration.

    The seconds that it took are stored beside each checkpoint: they are those of the iterations
    that the checkpoint holds, whichever processes did them.

    Args:
        config: what is trained.
        runs: folder of the run folders.
        progress: called after every iteration.

    Raises:
        ValueError: the folder cannot be gone on with; names it.
    """
    out = runs / folder_of(config)
    clock, known = out / "seconds.json", (out / "checkpoint.pt").exists()
    start, before, seconds = time.process_time(), 0.0, 0.0

    def keep_seconds(done: int, total: int, row: HistoryRow) -> None:
        nonlocal seconds
        seconds = before + time.process_time() - start
        if done == total or done % config.checkpoint_every == 0:
            write_atomically(clock, json.dumps(seconds).encode())
        progress(done, total, row)

    try:
        before = seconds = _seconds_in(clock) if known else 0.0
        state = meta_train(config, out=out, resume=True, progress=keep_seconds)
    except ValueError as error:
        if not known:
            raise
        raise ValueError(
            f"the stored training in {out} cannot be gone on with ({error}): delete that folder, "
            "and it is trained anew"
        ) from error
    except BaseException:
        if seconds != before:  # the last whole iteration of such a run is kept
            write_atomically(clock, json.dumps(seconds).encode())
        raise
    return Trained(state, seconds)


def _seconds_in(clock: Path) -> float:
    """Return the seconds that the iterations of a checkpoint took; 0 if it is of the start.

    Raises:
        ValueError: the file holds no seconds.
    """
    if not clock.exists():
        return 0.0
    try:
        return require_not_negative("the seconds", json.loads(clock.read_bytes()))
    except ValueError as error:
        raise ValueError(f"{clock}: {error}") from error


def _short(value: float | int | str) -> float | int | str:
    return f"{value:.6g}" if isinstance(value, float) else value


def versions() -> dict[str, str]:
    """Return the versions that the record of a table names."""
    packages = ("torch", "numpy", "gymnasium", "mujoco")
    return {"python": platform.python_version()} | {
        package: importlib.metadata.version(package) for package in packages
    }
