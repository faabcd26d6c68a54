"""Building the notebooks from their sources, and judging whether the committed ones are those."""

import itertools
import json
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from nbformat import NotebookNode

from bomrl_lite.course.building.outputs import bare, clean, unnamed_pictures
from bomrl_lite.course.building.plan import EXERCISES, LESSONS, SOLUTIONS, Target, make_plan, refuse
from bomrl_lite.course.building.sources import BuildError, Problem
from bomrl_lite.course.execute import (
    Failure,
    Job,
    Limits,
    Outcome,
    execute,
    kernel_environment,
)
from bomrl_lite.course.notebook import faults, read_notebook, to_bytes
from bomrl_lite.course.static import FRAMES
from bomrl_lite.training.files import write_atomically

COMMAND = "python -m bomrl_lite build"
LIMITS = Limits(cpu=1800, wall=6 * 3600)
MAX_KILOBYTES = 1500


def build(root: Path, *, check: bool = False, force: bool = False) -> int:
    """Bring every notebook up to date with its source, or only compare; return an exit code.

    A notebook whose cells are those of its source keeps its outputs; any other is executed, with
    the parameters of its source. One that fails, or prints warnings, is reported and left as it
    was, and the rest goes on.

    Args:
        root: folder that holds notebooks/, exercises/ and solutions/.
        check: write and execute nothing.
        force: execute every notebook anew, since the package has changed, for example.
    """
    problems = find_problems(root) if check else update(root, force=force)
    for problem in problems:
        print(problem, file=sys.stderr)
    found = f"{len(problems)} problem{'s' * (len(problems) != 1)}"
    print(f"build: {found}" if problems else "build: every notebook is what its source makes")
    return 1 if problems else 0


def find_problems(root: Path) -> list[Problem]:
    """Compare every committed notebook with what its source makes; [] means all is well."""
    plan = make_plan(root)
    drift = [problem for target in plan.targets for problem in _drift(root, target)]
    return [*plan.problems, *drift, *_strays(root, plan.expected)]


def update(root: Path, *, force: bool = False) -> list[Problem]:
    """Write every notebook that differs from what its source makes; return what stopped some."""
    plan = make_plan(root)
    problems = list(plan.problems)
    with kernel_environment() as kernels:
        environment = kernels | {FRAMES: "1"}
        for target in plan.targets:
            try:
                _write(root, target, _current(root, target, environment, force=force))
            except BuildError as error:
                problems += error.problems
    return [*problems, *_strays(root, plan.expected)]


def _strays(root: Path, expected: set[Path]) -> Iterator[Problem]:
    """Find notebooks that no source stands for."""
    for folder in (LESSONS, EXERCISES, SOLUTIONS):
        for path in sorted((root / folder).rglob("*.ipynb")):
            name = path.relative_to(root)
            if name not in expected and ".ipynb_checkpoints" not in name.parts:
                yield Problem(name.as_posix(), "a notebook without a source", "delete it")


def _current(
    root: Path, target: Target, environment: dict[str, str], *, force: bool
) -> NotebookNode:
    """Return the notebook as it should be on disk; execute it if its outputs are not its own."""
    if not target.executed:
        return target.notebook
    committed = read_notebook(root / target.path)
    if committed and not force and _is_settled(committed, target.notebook):
        return clean(committed, target.notebook)
    return _executed(root, target, environment)


def _is_settled(committed: NotebookNode, fresh: NotebookNode) -> bool:
    """Tell whether the outputs on disk belong to the cells that the source makes."""
    cells = [[(cell.get("id"), cell.source) for cell in node.cells] for node in (committed, fresh)]
    return cells[0] == cells[1] and not any(faults(committed))


def _executed(root: Path, target: Target, environment: dict[str, str]) -> NotebookNode:
    """Execute a notebook with the parameters of its source and strip what differs in every run."""
    print(f"{target.path.as_posix()}: executing", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder, target.path.name)
        job = Job(target.notebook, output, root / target.path.parent, {})
        outcome = execute(job, LIMITS, environment)
    if outcome.failure or not outcome.notebook:
        raise BuildError([_failed(target, outcome)])
    notebook = clean(outcome.notebook, target.notebook)
    refuse(list(_unfit(target, notebook)))
    print(f"{target.path.as_posix()}: executed in {outcome.seconds:.0f} s", flush=True)
    return notebook


def _failed(target: Target, outcome: Outcome) -> Problem:
    cell, _, error, traceback = outcome.failure or Failure(0, "", "no notebook came back", "")
    where = f"{target.source.as_posix()} (cell {cell})"
    return Problem(where, f"{outcome.status}: {error}", f"mend the source\n{traceback}".rstrip())


def _unfit(target: Target, notebook: NotebookNode) -> Iterator[Problem]:
    """Find what keeps an executed notebook from being committed."""
    for cell, what in faults(notebook):
        where = f"{target.path.as_posix()} (cell {cell})"
        yield Problem(where, what, f"mend {target.source.as_posix()}, then run `{COMMAND}`")
    for cell in unnamed_pictures(notebook):
        what = "a picture without alternative text"
        remedy = "show it by plots.use_style() and a figure, or give its <img> an alt"
        yield Problem(f"{target.path.as_posix()} (cell {cell})", what, remedy)
    kilobytes = len(to_bytes(notebook)) / 1000
    if kilobytes > MAX_KILOBYTES:
        what = f"{kilobytes:.0f} kB, more than {MAX_KILOBYTES}; {_heaviest(notebook)}"
        yield Problem(target.path.as_posix(), what, "draw fewer or smaller figures")


def _heaviest(notebook: NotebookNode) -> str:
    """Name the cell whose outputs take the most space."""
    sizes = [len(json.dumps(cell.get("outputs", []))) for cell in notebook.cells]
    number = max(range(len(sizes)), key=sizes.__getitem__)
    return f"cell {number + 1} alone has {sizes[number] / 1000:.0f} kB"


def _write(root: Path, target: Target, notebook: NotebookNode) -> None:
    path, data = root / target.path, to_bytes(notebook)
    if not path.exists() or path.read_bytes() != data:
        write_atomically(path, data)
        print(f"{target.path.as_posix()}: written", flush=True)


def _drift(root: Path, target: Target) -> Iterator[Problem]:
    """Find where a committed notebook departs from what its source makes, byte for byte."""
    name, remedy = target.path.as_posix(), f"run `{COMMAND}`; edit {target.source.as_posix()} only"
    committed = read_notebook(root / target.path)
    if committed is None:
        yield Problem(name, "missing, or not a notebook", f"run `{COMMAND}`")
        return
    if to_bytes(bare(committed)) != to_bytes(target.notebook):
        yield Problem(name, _first_difference(bare(committed), target.notebook), remedy)
    elif to_bytes(committed) != (root / target.path).read_bytes():
        yield Problem(name, "not written by the builder (spacing, line ends or key order)", remedy)
    if target.executed:
        yield from _unfit(target, committed)
    elif to_bytes(bare(committed)) != to_bytes(committed):
        yield Problem(name, "an exercise notebook carries outputs", remedy)


def _first_difference(committed: NotebookNode, fresh: NotebookNode) -> str:
    """Say in which cell two notebooks first differ."""
    pairs = itertools.zip_longest(committed.cells, fresh.cells)
    for number, (old, new) in enumerate(pairs, 1):
        if old is None or new is None:
            return f"it has {len(committed.cells)} cells, its source {len(fresh.cells)}"
        if old.get("source") != new.source:
            return f"the text of cell {number} is not its source's"
        if old != new:
            return f"the id, kind or metadata of cell {number} is not its source's"
    return "the notebook's metadata is not its source's"
