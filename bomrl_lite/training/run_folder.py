r"""Run folders: what every trainer shares, whatever it trains.

A run folder holds ``config.json``, ``history.csv`` and ``checkpoint.pt``, and what
:mod:`bomrl_lite.training.folder_guard` keeps there. The checkpoint alone decides where a run
continues; it holds only tensors and plain numbers and is read without executing code. A trainer
keeps its ``history`` as a list with one row per iteration, names its state as a dictionary, and
hands :func:`run_loop` a function that does one iteration:
:func:`bomrl_lite.training.trainer.meta_train` shows how.
"""

import contextlib
import importlib
import json
import math
from collections.abc import Callable, Generator, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Protocol, cast, runtime_checkable

import torch

from bomrl_lite.training.archive import pack, unpack
from bomrl_lite.training.files import csv_text, write_atomically
from bomrl_lite.training.stopping import stop_behind, stopping_once

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
    content = {"config": plain, **state, "history": history}
    write_atomically(out / "checkpoint.pt", pack(content))
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
        what = "is a file, not a run folder" if out.is_file() else "does not exist"
        raise FileNotFoundError(
            f"{out if out.is_file() else path} {what}; train first: python -m bomrl_lite train "
            f"--out {out}"
        )
    with reading(out):
        state = unpack(path.read_bytes())
        config, history = state.pop("config"), state.pop("history")
        if not isinstance(config, dict):
            raise TypeError(f"its configuration is a {type(config).__name__}")
        _check_history(history)
        return cast("dict[str, Any]", config), state, history


def _check_history(history: Any) -> None:
    """Refuse what is no list of rows with the same columns of numbers."""
    rows = cast("list[Any]", history if isinstance(history, list) else [history])
    for number, row in enumerate(rows):
        if not isinstance(row, dict) or row.keys() != rows[0].keys():
            raise TypeError(f"row {number} of its history has not the columns of the others")
        wrong = [name for name, x in cast("Row", row).items() if type(x) not in (int, float)]
        if wrong:
            raise TypeError(f"row {number} of its history has no number in {', '.join(wrong)}")


@contextlib.contextmanager
def reading(out: Path) -> Generator[None, None, None]:
    """Say of what goes wrong inside that the checkpoint cannot be gone on from.

    For the trainer's part of reading: its configuration from the dictionary, its state from the
    tensors.

    Raises:
        ValueError: instead of what such a file makes Python or torch raise.
    """
    try:
        yield
    except (ValueError, LookupError, TypeError, AttributeError, RuntimeError) as error:
        kind = "" if isinstance(error, ValueError) else f"{type(error).__name__}: "
        raise ValueError(
            f"{out / 'checkpoint.pt'} is not a checkpoint of this course, or not one that this "
            f"version reads ({kind}{error}); train anew into another folder"
        ) from error


def require_folder(out: Path) -> None:
    """Refuse what can be no run folder, before anything is made there.

    Raises:
        NotADirectoryError: ``out`` is a file.
        ValueError: ``out`` is the current folder, and no run.
    """
    if out.exists() and not out.is_dir():
        raise NotADirectoryError(f"{out} is a file; name a folder for the run, such as {out}-run")
    if out.resolve() == Path.cwd() and not (out / "checkpoint.pt").exists():
        raise ValueError(
            f"the run folder is {str(out)!r}, the current one; name one of its own: runs/NAME"
        )


def is_new(out: Path, *, resume: bool) -> bool:
    """Tell whether a run would begin in ``out`` rather than go on there.

    A run that was stopped before its first update is begun anew.

    Raises:
        FileExistsError: ``out`` holds a run already and ``resume`` is off.
    """
    if not (out / "checkpoint.pt").exists():
        return True
    begun = bool(read_checkpoint(out)[2])
    if begun and not resume:
        raise FileExistsError(
            f"{out} holds a run already; continue it with resume (--resume) or choose another "
            "folder"
        )
    return not begun


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

    A run that stops early (Ctrl-C, divergence, an error of torch's, of a task's or of ``progress``)
    is kept as it was after its last whole iteration, before the exception goes on.

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
    write = partial(save, config=config, columns=columns, whole=whole)
    done, good = len(history), _copy(state(), "before training: the state's")
    with contextlib.ExitStack() as open_things:
        signals = open_things.enter_context(stopping_once())

        def keep(rows: list[Row]) -> None:
            if out is not None:
                with signals.held():
                    write(out, state=good, history=rows)

        # Of a new run this is the start. Of an old one a kill may have struck between its files.
        keep(history)
        board = _tensorboard(out, history) if tensorboard else contextlib.nullcontext(silent)
        show = open_things.enter_context(board)
        try:
            while done < config.iterations:
                step()
                now = _copy(state(), f"iteration {len(history) - 1}: the state's")
                done, good = len(history), now
                if done == config.iterations or done % config.checkpoint_every == 0:
                    keep(history)
                show(done, config.iterations, history[-1])
                progress(done, config.iterations, history[-1])
        except BaseException as error:  # whatever ends it: Ctrl-C, a figure, who shows progress
            keep(history[:done])
            if (stop := stop_behind(error)) is not error:
                raise stop from None
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
