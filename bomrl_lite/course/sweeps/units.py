"""One unit of a sweep: a training and its evaluation, in a folder of its own.

The run folder is that of ``train``; beside its files lie ``evaluation.csv``, ``attempts.json``,
where the unit was worked on and from which iteration, and at the end ``unit.json``, which makes it
a finished one. Where it is at this moment stands in a folder of the sweep, for the table.
"""

import importlib
import json
import os
import platform
import time
import warnings
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from bomrl_lite.course.experiments import train_once
from bomrl_lite.course.experiments.setting import Row, Trained
from bomrl_lite.course.sweeps.sweep_file import Evaluation, Unit
from bomrl_lite.tasks import make_tasks
from bomrl_lite.training.config import Config, Episodes
from bomrl_lite.training.evaluate import evaluate_run
from bomrl_lite.training.files import csv_text, write_atomically
from bomrl_lite.training.run_folder import Row as HistoryRow
from bomrl_lite.training.run_folder import read_checkpoint

RUNS, RUNNING = "runs", "running"
"""Folders of a sweep: of the run folders, and of what runs at this moment."""
_TELL_EVERY = 1.0  # seconds between two notes of how far a unit is
_FREE_WITHIN = 60.0  # seconds until a folder is free whose process is about to end


class Finished(NamedTuple):
    """What a unit leaves."""

    rows: list[Row]
    """Mean return, and with exact values mean gap, of each split, prior and adaptation step."""
    seconds: float
    """CPU time of the training."""
    place: str
    """Where it came to its end."""
    warnings: list[str]
    """What the library had to say."""


def run_unit(out: Path, evaluation: Evaluation, unit: Unit) -> Finished:
    """Train and evaluate, going on where an earlier attempt was.

    Args:
        out: folder of the sweep.
        evaluation: how it is evaluated.
        unit: what is trained.

    Raises:
        ArithmeticError: training diverged; its last good iteration is kept.
        ValueError: the run folder cannot be gone on with.
        OSError: a file cannot be written, or another sweep works in the folder.
    """
    if unit.module:
        importlib.import_module(unit.module)
    folder, note = out / RUNS / unit.folder, out / RUNNING / f"{unit.folder}.json"
    place = f"{platform.node()}:{os.getpid()}"
    tell = _teller(note, unit, place)
    begun = _iterations_in(folder)
    tell(begun, unit.config.iterations, {})
    _note_attempt(folder, place, begun)
    try:
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always", UserWarning)
            train = partial(train_once, unit.config, runs=folder.parent, progress=tell)
            seconds = _when_free(train).seconds
            rows = _evaluated(folder, evaluation)
        texts = [*dict.fromkeys(str(warning.message) for warning in said)]
        finished = Finished(rows, seconds, place, texts)
        kept = {"evaluation": asdict(evaluation), **finished._asdict()}
        write_atomically(folder / "unit.json", json.dumps(kept, indent=1).encode())
        (folder / "error.txt").unlink(missing_ok=True)  # of an attempt that failed
    finally:
        note.unlink(missing_ok=True)
    return finished


def read_finished(out: Path, evaluation: Evaluation, unit: Unit) -> Finished | None:
    """Return what a finished unit left; None if it is not finished, or was evaluated otherwise.

    Args:
        out: folder of the sweep.
        evaluation: how it is to be evaluated.
        unit: what was to be trained.
    """
    try:
        kept = json.loads((out / RUNS / unit.folder / "unit.json").read_bytes())
        same = kept.pop("evaluation") == asdict(evaluation)
        return Finished(**kept) if same else None
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return None  # what cannot be read is made again from the checkpoint


def steps_of(config: Config) -> int:
    """Return the steps of the environment that a training takes; 0 with exact values."""
    sampling = config.sampling
    if not isinstance(sampling, Episodes):
        return 0
    horizon = sampling.horizon or make_tasks(config.tasks).horizon
    collections = sampling.num_steps + 1
    episodes = config.iterations * config.num_tasks * sampling.num_episodes * collections
    return episodes * horizon


def _evaluated(folder: Path, evaluation: Evaluation) -> list[Row]:
    """Evaluate as the command does, and return the means over tasks."""
    rows = evaluate_run(folder, **asdict(evaluation))
    write_atomically(folder / "evaluation.csv", csv_text(rows[0], rows).encode())
    groups = dict[tuple[Any, ...], list[Row]]()
    for row in rows:
        groups.setdefault((row["split"], row["prior"], row["step"]), []).append(row)
    columns = [name for name in ("return", "gap") if name in rows[0]]
    return [
        {"split": split, "prior": prior, "step": step}
        | {name: sum(float(row[name]) for row in mine) / len(mine) for name in columns}
        for (split, prior, step), mine in groups.items()
    ]


def _iterations_in(folder: Path) -> int:
    """Return how many iterations a run folder holds; a spoilt one is for the training to name."""
    try:
        return len(read_checkpoint(folder)[2])
    except (OSError, ValueError):
        return 0


def _note_attempt(folder: Path, place: str, begun: int) -> None:
    file = folder / "attempts.json"
    try:
        before = list(json.loads(file.read_bytes()))
    except (OSError, ValueError, TypeError):  # the first attempt, or a spoilt list
        before = []
    attempts = [*before, {"place": place, "from": begun}]
    write_atomically(file, json.dumps(attempts, indent=1).encode())


def _teller(note: Path, unit: Unit, place: str) -> Callable[[int, int, HistoryRow], None]:
    """Return a progress callback that keeps the unit's note: at once, then each second at most."""
    last = float("-inf")

    def tell(done: int, total: int, row: HistoryRow) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last >= _TELL_EVERY:
            last = now
            said = {"unit": unit.name, "place": place, "done": done, "total": total}
            write_atomically(note, json.dumps(said).encode())

    return tell


def _when_free(train: Callable[[], Trained]) -> Trained:
    """Train, waiting while the process of an attempt before this one still has the folder.

    Where a node is gone its processes end too, but the retry may come first.

    Raises:
        BlockingIOError: another process still works there.
    """
    give_up = time.monotonic() + _FREE_WITHIN
    while True:
        try:
            return train()
        except BlockingIOError:
            if time.monotonic() >= give_up:
                raise
            time.sleep(1.0)
