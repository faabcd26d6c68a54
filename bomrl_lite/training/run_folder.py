r"""Run folders: what every trainer shares, whatever it trains.

A run folder holds ``config.json``, ``history.csv`` and ``checkpoint.pt``. The checkpoint alone
decides where a run continues; it holds only tensors and plain numbers and is read without executing
code. A trainer keeps its ``history`` as a list with one row per iteration, names its state as a
dictionary, and hands :func:`run_loop` a function that does one iteration:
:func:`bomrl_lite.training.trainer.meta_train` shows how.
"""

import contextlib
import importlib
import io
import json
import math
import pickle
import zipfile
from collections.abc import Callable, Generator, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Protocol, cast, runtime_checkable

import torch

from bomrl_lite.training.files import csv_text, write_atomically

Row = dict[str, float]
"""One line of the history; every row of a run has the same columns."""
State = dict[str, Any]
"""What a run goes on from: dictionaries, lists, tensors and plain numbers by name."""
Progress = Callable[[int, int, Row], None]
"""(iterations done, iterations in all, the newest history row)."""
FREE = ("iterations", "checkpoint_every")
"""Fields of a configuration that may change when a run goes on."""


@runtime_checkable
class Storable(Protocol):
    """What a run folder asks of a configuration."""

    def stored(self) -> dict[str, Any]:
        """Return its plain values by name."""
        ...

    @property
    def iterations(self) -> int:
        """Iterations in all."""
        ...

    @property
    def checkpoint_every(self) -> int:
        """Iterations between two checkpoints."""
        ...


def silent(done: int, total: int, row: Row) -> None:
    """Show no progress."""


def save(
    out: Path,
    *,
    config: Storable,
    state: State,
    history: list[Row],
    columns: tuple[str, ...] = (),
    whole: tuple[str, ...] = (),
) -> None:
    """Write a run folder; each file is replaced whole, the checkpoint first.

    Args:
        out: the folder; made if there is none.
        config: what is trained.
        state: must not use the names ``config`` and ``history``.
        history: one row per iteration done.
        columns: header of the history while it has no row.
        whole: columns whose floats are counts and written as such.
    """
    plain = config.stored()
    buffer = io.BytesIO()
    torch.save({"config": plain, **state, "history": history}, buffer)
    write_atomically(out / "checkpoint.pt", buffer.getvalue())
    write_atomically(out / "config.json", json.dumps(plain, indent=1).encode())
    write_atomically(out / "history.csv", _history_csv(history, columns, whole).encode())


def read_checkpoint(out: Path) -> tuple[dict[str, Any], State, list[Row]]:
    """Read configuration, state and history back, executing no code of the file's.

    Tensors arrive on the CPU.

    Raises:
        FileNotFoundError: no checkpoint there.
        ValueError: the file is not a checkpoint of this course; in place of the TypeError or the
            UnpicklingError that reading it raised.
    """
    path = out / "checkpoint.pt"
    if not path.exists():
        raise FileNotFoundError(
            f"{path} does not exist; train first: python -m bomrl_lite train --out {out}"
        )
    with reading(out):
        if not zipfile.is_zipfile(path):  # on other bytes the unpickler fails in many ways
            raise pickle.UnpicklingError("no archive of torch's")
        state: Any = torch.load(path, weights_only=True, map_location="cpu")
        if not isinstance(state, dict):
            raise TypeError(f"holds a {type(state).__name__}")
        saved = cast("State", state)
        return saved.pop("config"), saved, saved.pop("history")


FOREIGN = (LookupError, TypeError, EOFError, RuntimeError, pickle.UnpicklingError)
"""What a file that is no checkpoint makes Python and torch raise."""


@contextlib.contextmanager
def reading(out: Path) -> Generator[None, None, None]:
    """Say of what goes wrong inside that the checkpoint is a foreign one.

    For the trainer's part of reading: its configuration from the dictionary, its state from the
    tensors.

    Raises:
        ValueError: instead of what such a file makes Python or torch raise.
    """
    try:
        yield
    except (ValueError, *FOREIGN) as error:
        raise ValueError(
            f"{out / 'checkpoint.pt'} is not a checkpoint of this course, or not one that this "
            f"version reads ({type(error).__name__}: {error}); train anew into another folder"
        ) from error


def is_new(out: Path, *, resume: bool) -> bool:
    """Tell whether a run would begin in ``out`` rather than go on there.

    Raises:
        FileExistsError: ``out`` holds a run already and ``resume`` is off.
    """
    if not (out / "checkpoint.pt").exists():
        return True
    if not resume:
        raise FileExistsError(
            f"{out} holds a run already; continue it with resume (--resume) or choose another "
            "folder"
        )
    return False


def check_same(
    saved: dict[str, Any],
    now: dict[str, Any],
    out: Path,
    *,
    done: int,
    free: tuple[str, ...] = FREE,
) -> None:
    """Refuse to go on under another configuration, or to fewer iterations than are done.

    Args:
        saved: configuration of the run in ``out``.
        now: the one asked for.
        out: run folder, for the message.
        done: iterations done in ``out``.
        free: fields that may differ.

    Raises:
        ValueError: names every field that differs, with both values.
    """
    if now["iterations"] < done:
        raise ValueError(
            f"the run in {out} has done {done} iterations already, more than "
            f"{now['iterations']}; ask for at least as many"
        )
    differing = [
        f"{name}: {saved.get(name)!r} there, {now.get(name)!r} now"
        for name in {**saved, **now}
        if name not in free and saved.get(name) != now.get(name)
    ]
    if differing:
        raise ValueError(
            f"the run in {out} had another configuration ({'; '.join(differing)}); give the same "
            "one or another folder"
        )


def run_loop(
    step: Callable[[], object],
    *,
    config: Storable,
    state: Callable[[], State],
    history: list[Row],
    out: Path | None = None,
    columns: tuple[str, ...] = (),
    whole: tuple[str, ...] = (),
    progress: Progress = silent,
    tensorboard: bool = False,
) -> None:
    """Iterate until ``history`` has ``config.iterations`` rows, keeping the run in its folder.

    A run that stops early (Ctrl-C, divergence, an error of torch's) is kept as it was after its
    last whole iteration, before the exception goes on.

    Args:
        step: does one iteration: changes the trainer's state and appends its row to ``history``.
        config: what is trained.
        state: describes the trainer's present state, as :func:`save` wants it.
        history: one row per iteration done, those of earlier processes included.
        out: run folder; None keeps nothing.
        columns: as in :func:`save`.
        whole: as in :func:`save`.
        progress: called after every iteration.
        tensorboard: also write every row to ``out/tensorboard``; see :func:`require_tensorboard`.

    Raises:
        FloatingPointError: an iteration left a number in the state that is not finite.
    """
    if tensorboard:
        require_tensorboard(out)  # before the folder is made
    keep = partial(save, config=config, columns=columns, whole=whole)
    done, good = len(history), _copy(state(), "before training: the state's")
    if out is not None:
        # Of a new run this is the start. Of an old one a kill may have struck between its files.
        keep(out, state=good, history=history)
    board = _tensorboard(out, history) if tensorboard else contextlib.nullcontext(silent)
    with board as show:
        try:
            while done < config.iterations:
                step()
                now = _copy(state(), f"iteration {len(history) - 1}: the state's")
                done, good = len(history), now
                last = done == config.iterations
                if out is not None and (last or done % config.checkpoint_every == 0):
                    keep(out, state=good, history=history)
                show(done, config.iterations, history[-1])
                progress(done, config.iterations, history[-1])
        except (KeyboardInterrupt, ArithmeticError, RuntimeError):
            if out is not None:
                keep(out, state=good, history=history[:done])
            raise


def require_finite(row: Row, needed: Iterable[str], advice: str) -> None:
    """Stop a diverging run, naming the diagnostics that left the range of numbers.

    Args:
        row: the history row of this iteration, with a column ``iteration``.
        needed: columns that must be finite.
        advice: what to do, as the end of a sentence: "use a smaller learning_rate".

    Raises:
        FloatingPointError: names each such column and its value.
    """
    wrong = [f"{name} = {row[name]}" for name in needed if not math.isfinite(row[name])]
    if wrong:
        raise FloatingPointError(
            f"iteration {row['iteration']:g} gave {', '.join(wrong)}: training diverged; {advice}. "
            "The state before this iteration is kept"
        )


def require_tensorboard(out: Path | None) -> type:
    """Return torch's writer of TensorBoard files; call it before training, which may be long.

    Raises:
        ModuleNotFoundError: TensorBoard is not installed.
        ValueError: there is no run folder to write to.
    """
    if out is None:
        raise ValueError("tensorboard writes into the run folder, but out is None; name a folder")
    try:
        return importlib.import_module("torch.utils.tensorboard").SummaryWriter
    except ImportError as error:
        raise ModuleNotFoundError(
            "TensorBoard is not installed; pip install tensorboard, or leave out --tensorboard: "
            "history.csv holds the same numbers"
        ) from error


@contextlib.contextmanager
def _tensorboard(out: Path | None, history: list[Row]) -> Generator[Progress, None, None]:
    """Open ``out/tensorboard`` and give a function that adds a row to it."""
    make_writer = require_tensorboard(out)
    assert out is not None
    folder = out / "tensorboard"
    rows = [] if folder.exists() else history  # those of a run that began without TensorBoard
    # A killed process may have shown iterations beyond its last checkpoint: purge them.
    writer = make_writer(log_dir=str(folder), purge_step=len(history) - len(rows))

    def show(done: int, total: int, row: Row) -> None:
        for name, value in row.items():
            writer.add_scalar(name, value, done - 1)

    try:
        for done, row in enumerate(rows, 1):
            show(done, len(rows), row)
        yield show
    finally:
        writer.close()


def _copy(tree: Any, name: str) -> Any:
    """Copy a state, which the next iteration changes in place, if all its numbers are finite."""
    if isinstance(tree, torch.Tensor):
        if tree.is_floating_point() and not tree.isfinite().all():
            raise FloatingPointError(
                f"{name} has numbers that are not finite: training diverged; use a smaller "
                "learning rate. The state before this iteration is kept"
            )
        return tree.detach().clone()
    if isinstance(tree, dict):
        branches = cast("dict[str, Any]", tree)
        return {key: _copy(branch, f"{name} {key}") for key, branch in branches.items()}
    if isinstance(tree, list | tuple):
        copies = [
            _copy(branch, f"{name} {i}") for i, branch in enumerate(cast("Sequence[Any]", tree))
        ]
        return copies if isinstance(tree, list) else tuple(copies)
    return tree


def _history_csv(history: list[Row], columns: tuple[str, ...], whole: tuple[str, ...]) -> str:
    rows = [{**row, **{name: int(row[name]) for name in whole}} for row in history]
    return csv_text(rows[0] if rows else columns, rows)
