"""Learning curves of run folders, as ``python -m bomrl_lite compare`` draws them."""

from collections.abc import Sequence
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from bomrl_lite.course.plots.means import draw_lines
from bomrl_lite.course.plots.style import WIDTH, note
from bomrl_lite.course.tables import read_table
from bomrl_lite.training.config import Config
from bomrl_lite.training.places import require_run
from bomrl_lite.training.run_folder import FREE
from bomrl_lite.training.stored_config import config_from_file
from bomrl_lite.training.tables import as_table

AXES = {
    "return_before": "mean return J before adaptation",
    "return_after": "mean return J after adaptation",
    "gradient_norm": "norm of the meta-gradient\n(return per parameter)",
    "stationarity": "worst stationarity\nof the inner problems",
    "residual": "worst relative residual\nof the linear solves",
    "unsolved": "unsolved inner problems",
}
"""What the columns of a history mean; others are shown by their name."""

REMEDY = "train --resume --out {}, with the arguments of the run, writes it anew"
"""What to do about a file of a run that cannot be read: its checkpoint knows all that is in it."""


def read_runs(folders: Sequence[Path]) -> pd.DataFrame:
    """Read the histories of run folders into one tidy frame.

    Args:
        folders: each with ``history.csv`` and ``config.json``, of this format or of format 1.

    Returns:
        The columns of the histories, ``run`` (the folder) and ``curve``: one name for the runs that
        differ in nothing but the seed, how long they train and how often they are saved. Of such
        runs the frame holds the iterations that all of them have done, so that every mean over a
        curve is over the same runs.

    Raises:
        FileNotFoundError: a folder is none, or not one of a run.
        ValueError: no folder, one given twice, a run without an iteration, or a file of a run that
            cannot be read: says which and what to do.
    """
    if not folders or len({folder.resolve() for folder in folders}) < len(folders):
        names = ", ".join(map(str, folders)) or "none"
        raise ValueError(f"name at least one run folder, and each of them once; got {names}")
    histories = [_read_history(folder) for folder in folders]
    configs = [_read_config(folder) for folder in folders]
    curves = _curve_names(folders, configs)
    parts = [
        history.assign(run=str(folder), curve=curve)
        for folder, history, curve in zip(folders, histories, curves, strict=True)
    ]
    shared = {
        curve: min(len(p) for p, name in zip(parts, curves, strict=True) if name == curve)
        for curve in curves
    }
    cut = [part.iloc[: shared[curve]] for part, curve in zip(parts, curves, strict=True)]
    return pd.concat(cut, ignore_index=True)


def draw_learning_curves(curves: pd.DataFrame, column: str = "return_after") -> Figure:
    """Draw a column of the history over meta-iterations: means over seeds, bands over all seeds.

    Args:
        curves: columns iteration, curve, run and the one to draw.
        column: drawn on a logarithmic axis if it is positive and spans two decades.

    Raises:
        ValueError: no such column, or one that holds no finite number.
    """
    values = _finite_values(curves, column)
    figure, ax = plt.subplots(figsize=(WIDTH, 4.0))
    draw_lines(ax, curves, x="iteration", y=column, by="curve", markers=False)
    ax.set(xlabel="meta-iteration", ylabel=AXES.get(column, column.replace("_", " ")))
    ax.margins(x=0.01)
    if values.min() > 0 and values.max() > 100 * values.min():
        ax.set_yscale("log")
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    seeds = curves.groupby("curve")["run"].nunique().to_numpy().max()
    figure.legend(*ax.get_legend_handles_labels(), loc="outside lower center")
    if seeds > 1:
        note(figure, "arithmetic mean and range over seeds")
    return figure


def last_values(curves: pd.DataFrame, column: str = "return_after") -> str:
    """Lay out the last value of every curve: iterations done, mean over its runs, range.

    Args:
        curves: as for :func:`draw_learning_curves`.
        column: of the history.
    """
    _finite_values(curves, column)
    last = curves.groupby("run", sort=False).tail(1)
    rows = []
    for curve, part in last.groupby("curve", sort=False):
        values, done = part[column].to_numpy(float), part["iteration"].to_numpy(int)[0] + 1
        spread = f" ({values.min():.4g} to {values.max():.4g})" if len(part) > 1 else ""
        rows.append((str(curve), str(len(part)), str(done), f"{values.mean():.4g}{spread}"))
    header = ("curve", "runs", "iterations", f"last {column}, mean (range)")
    return as_table(header, rows, right=("runs", "iterations"))


def _read_history(folder: Path) -> pd.DataFrame:
    require_run(folder)
    for name in ("history.csv", "config.json"):
        if not (folder / name).exists():
            raise FileNotFoundError(
                f"{folder / name} does not exist; compare takes folders that train has written"
            )
    path, remedy = folder / "history.csv", REMEDY.format(folder)
    history = read_table(path, remedy)
    if "iteration" not in history:
        raise ValueError(f"{path} must have a column iteration; {remedy}")
    if history.empty:
        raise ValueError(f"the run in {folder} has done no iteration yet; train it first")
    for name in history:
        if not pd.api.types.is_numeric_dtype(history[name]):
            text = next((t for t in map(str, history[name]) if not _is_number(t)), "text")
            raise ValueError(f"{path} must hold numbers, got {text!r} in {name}; {remedy}")
    if list(history["iteration"]) != list(range(len(history))):
        raise ValueError(f"the iterations in {path} must count 0, 1, 2, ...; {remedy}")
    return history


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _read_config(folder: Path) -> Config:
    path = folder / "config.json"
    try:
        return config_from_file(path)
    except (ValueError, TypeError, LookupError, AttributeError) as error:  # of another's JSON
        reason = str(error).removeprefix(f"{path} ")
        raise ValueError(
            f"{path} is not the configuration of a run: {reason}; {REMEDY.format(folder)}"
        ) from error


def _curve_names(folders: Sequence[Path], configs: list[Config]) -> list[str]:
    """Name a lone run by its folder, several seeds of one configuration by what sets it apart."""
    keys = [
        {name: value for name, value in config.stored().items() if name not in (*FREE, "seed")}
        for config in configs
    ]
    clash = len({folder.resolve().name for folder in folders}) < len(folders)
    alone = [str(folder) if clash else folder.resolve().name for folder in folders]
    names = []
    for own_name, key in zip(alone, keys, strict=True):
        alike = [i for i, other in enumerate(keys) if other == key]
        seeds = {configs[i].seed for i in alike}
        # Nothing tells the same run twice apart.
        several = len(alike) > 1 and len(seeds) == len(alike)
        names.append(f"{_describe(key, keys)} ({len(seeds)} seeds)" if several else own_name)
    return names


def _describe(key: dict[str, object], keys: list[dict[str, object]]) -> str:
    """Write out what sets a configuration apart: from others of its method and tasks, settings."""
    bare = ("method", "tasks")
    telling = [name for name in bare if any(other[name] != key[name] for other in keys)]
    near = [other for other in keys if all(other[name] == key[name] for name in bare)]
    settings = [
        name for name in key if any(other.get(name, key[name]) != key[name] for other in near)
    ]
    words = [str(key[name]) for name in telling] + [f"{name} {key[name]}" for name in settings]
    return ", ".join(words or [str(key["method"])])


def _finite_values(curves: pd.DataFrame, column: str) -> np.ndarray:
    known = [name for name in curves.columns if name not in ("run", "curve", "iteration")]
    if column not in known:
        raise ValueError(f"no column is called {column!r}; there are {', '.join(known)}")
    values = curves[column].to_numpy(float)
    values = values[np.isfinite(values)]
    if values.size == 0:
        raise ValueError(f"column {column} holds no finite number")
    return values
