"""Running a sweep: what is not finished goes to an engine, and one table comes out."""

import json
from contextlib import closing
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from bomrl_lite.course.engines import Done, Engine
from bomrl_lite.course.experiments import versions
from bomrl_lite.course.experiments.sampled import reason
from bomrl_lite.course.sweeps.sweep_file import Sweep, Unit
from bomrl_lite.course.sweeps.table import sweep_table
from bomrl_lite.course.sweeps.units import (
    RUNNING,
    RUNS,
    Finished,
    read_finished,
    run_unit,
    steps_of,
)
from bomrl_lite.training.files import csv_text, write_atomically
from bomrl_lite.training.folder_guard import locked
from bomrl_lite.training.places import require_writable

COLUMNS = (
    "status", "split", "prior", "step", "return", "gap", "environment_steps", "seconds", "note",
)  # fmt: skip
"""Of a table, after those that tell the unit: mean return and mean gap, which exact values have, of
a split and a prior after so many adaptations; the steps and CPU-seconds that training took."""


class Ended(NamedTuple):
    """How a unit ended."""

    status: str
    """``done``, ``diverged``, ``killed`` or ``failed``."""
    finished: Finished | None = None
    note: str = ""
    """Why, where it is not done; else what the library warned of."""


def run_sweep(sweep: Sweep, *, name: str, out: Path, engine: Engine, command: str) -> list[str]:
    """Run what is not finished, then write ``NAME.csv`` and the record of its origin.

    Args:
        sweep: from :func:`bomrl_lite.course.sweeps.sweep_file.read_sweep`.
        name: of the table.
        out: folder of all that is written.
        engine: where the units run; nothing but the seconds depends on it.
        command: that asked for it, for the record.

    Returns:
        A line for each unit that is not done, with its reason.

    Raises:
        OSError: a file cannot be written, or another sweep works in the folder.
    """
    out = out.resolve()
    table = out / f"{name}.csv"
    for file in (table, table.with_suffix(".json"), out / RUNS / "run", out / RUNNING / "note"):
        require_writable(file)
    with locked(out):
        ends = {
            index: Ended("done", finished, "; ".join(finished.warnings))
            for index, unit in enumerate(sweep.units)
            if (finished := read_finished(out, sweep.evaluation, unit))
        }
        todo = [index for index in range(len(sweep.units)) if index not in ends]
        (out / RUNNING).mkdir(exist_ok=True)
        for note in (out / RUNNING).iterdir():  # of processes that were killed
            note.unlink()
        work = partial(run_unit, out, sweep.evaluation)
        with (
            sweep_table(out / RUNNING, len(todo)) as say,
            closing(engine(work, [sweep.units[index] for index in todo])) as ended,
        ):
            for done in ended:
                unit = sweep.units[todo[done.number]]
                ends[todo[done.number]] = end = _ended(out, unit, done)
                (out / RUNNING / f"{unit.folder}.json").unlink(missing_ok=True)  # of a killed one
                say(_line(unit, end))
        _write(sweep, [ends[index] for index in range(len(sweep.units))], table, command)
    units = zip(sweep.units, (ends[index] for index in range(len(sweep.units))), strict=True)
    return [_line(unit, end) for unit, end in units if end.status != "done"]


def _ended(out: Path, unit: Unit, done: Done) -> Ended:
    """Tell how a unit ended; of an error that nobody foresaw the traceback is kept."""
    match done.error:
        case None:
            return Ended("done", done.value, "; ".join(done.value.warnings))
        case ArithmeticError() as error:
            return Ended("diverged", note=reason(error))
        case ChildProcessError() as error:
            return Ended("killed", note=str(error))
        case error:
            text = "\n".join([str(error), *getattr(error, "__notes__", [])])
            write_atomically(out / RUNS / unit.folder / "error.txt", text.encode())
            return Ended("failed", note=f"{type(error).__name__}: {error}")


def _line(unit: Unit, end: Ended) -> str:
    """Tell in one line how a unit ended."""
    if end.finished is None:
        return f"{unit.name}  {end.status}: {' '.join(end.note.split())}"
    return f"{unit.name}  done at {end.finished.place}, {end.finished.seconds:.1f} CPU-seconds"


def _write(sweep: Sweep, ends: list[Ended], table: Path, command: str) -> None:
    """Write the rows of all units, in the order of the file, and the record of their origin."""
    columns = ("tasks", "method", *sweep.varied, "seed", *COLUMNS)
    rows = (
        dict.fromkeys(columns, "") | row
        for unit, end in zip(sweep.units, ends, strict=True)
        for row in _rows(unit, end)
    )
    write_atomically(table, csv_text(columns, rows).encode())
    origin = {
        "command": command,
        "sweep": sweep.content,
        "evaluation": asdict(sweep.evaluation),
        "units": {unit.folder: unit.config.stored() for unit in sweep.units},
        "versions": versions(),
    }
    write_atomically(table.with_suffix(".json"), (json.dumps(origin, indent=1) + "\n").encode())


def _rows(unit: Unit, end: Ended) -> list[dict[str, Any]]:
    """Return the rows of one unit; one that is not done has one, without values."""
    config = unit.config
    head = {"tasks": config.tasks, "method": config.method, **unit.settings, "seed": config.seed}
    head |= {"status": end.status, "environment_steps": steps_of(config)}
    head["note"] = " ".join(end.note.split())
    if end.finished is None:
        return [head]
    return [{**head, **row, "seconds": end.finished.seconds} for row in end.finished.rows]
