"""Which notebooks the sources ask for."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from nbformat import NotebookNode

from bomrl_lite.course.building.assignments import as_assignment
from bomrl_lite.course.building.exercise_sets import (
    duplicate_numbers,
    exercise_problems,
    lesson_problems,
    solved,
    unsolved,
)
from bomrl_lite.course.building.sources import (
    BuildError,
    Problem,
    Source,
    make_notebook,
    read_source,
)
from bomrl_lite.course.checks import CHECKS_BY_SET

LESSONS, EXERCISES, SOLUTIONS = Path("notebooks"), Path("exercises"), Path("solutions")
_SOURCE_NAME = re.compile(r"\d\d[a-z]?_[a-z0-9_]+\.py")


class Target(NamedTuple):
    """A notebook to generate; ``executed`` says whether it is committed with outputs."""

    source: Path
    path: Path
    notebook: NotebookNode
    executed: bool


class ExerciseSet(NamedTuple):
    """A source of exercises and its two notebooks, without outputs."""

    source: Source
    unsolved: NotebookNode
    solved: NotebookNode


class Plan(NamedTuple):
    """All that the sources ask for; ``expected`` counts the notebooks of faulty sources too."""

    targets: list[Target]
    problems: list[Problem]
    expected: set[Path]


def make_plan(root: Path) -> Plan:
    """Read all sources; a faulty one adds its problems and does not hide the others.

    Raises:
        FileNotFoundError: there is no source at all.
    """
    plan = Plan([], [], set())
    folders = [folder / "src" for folder in (LESSONS, EXERCISES)]
    if not any(True for folder in folders for _ in (root / folder).glob("*.py")):
        places = " or ".join(folder.as_posix() for folder in folders)
        raise FileNotFoundError(f"{root} holds no source of a notebook in {places}")
    for path in lesson_sources(root):
        plan.expected.add(LESSONS / f"{path.stem}.ipynb")
        try:
            plan.targets.append(_target(path, LESSONS, lesson(root, path), executed=True))
        except BuildError as error:
            plan.problems.extend(error.problems)
    sound = []
    for path in exercise_sources(root):
        plan.expected.update(folder / f"{path.stem}.ipynb" for folder in (EXERCISES, SOLUTIONS))
        try:
            sound.append(exercise_set(root, path))
        except BuildError as error:
            plan.problems.extend(error.problems)
    for each in sound:
        path = each.source.path
        plan.targets.append(_target(path, EXERCISES, each.unsolved, executed=False))
        plan.targets.append(_target(path, SOLUTIONS, each.solved, executed=True))
    numbers = duplicate_numbers([each.source for each in sound])
    plan.problems.extend([*numbers, *_misnamed(root)])
    return plan


def lesson_sources(root: Path) -> list[Path]:
    """Return the sources of the lessons, in order, relative to ``root``."""
    return _sources(root, LESSONS)


def exercise_sources(root: Path) -> list[Path]:
    """Return the sources of the exercise sets, in order, relative to ``root``."""
    return _sources(root, EXERCISES)


def lesson(root: Path, path: Path) -> NotebookNode:
    """Make the notebook of a lesson, without outputs.

    Raises:
        BuildError: the source is faulty; the error lists every problem.
    """
    source = read_source(root, path)
    refuse(list(lesson_problems(source)))
    return make_notebook(list(source.cells))


def exercise_set(root: Path, path: Path) -> ExerciseSet:
    """Make the two notebooks of an exercise set.

    Raises:
        BuildError: the source is faulty; the error lists every problem.
    """
    source = read_source(root, path)
    refuse([*exercise_problems(source), *duplicate_numbers([source])])
    points = {check.exercise: check.points for part in CHECKS_BY_SET.values() for check in part}
    forms = (unsolved(source.cells), solved(source.cells))
    return ExerciseSet(source, *(as_assignment(make_notebook(cells), points) for cells in forms))


def refuse(problems: list[Problem]) -> None:
    """Raise the problems, if there are any."""
    if problems:
        raise BuildError(problems)


def _target(source: Path, folder: Path, notebook: NotebookNode, *, executed: bool) -> Target:
    return Target(source, folder / f"{source.stem}.ipynb", notebook, executed)


def _sources(root: Path, folder: Path) -> list[Path]:
    found = sorted((root / folder / "src").glob("*.py"))
    return [path.relative_to(root) for path in found if _SOURCE_NAME.fullmatch(path.name)]


def _misnamed(root: Path) -> Iterator[Problem]:
    """Find sources that would be passed over because of their name."""
    for folder in (LESSONS, EXERCISES):
        for path in sorted((root / folder / "src").glob("*.py")):
            if not _SOURCE_NAME.fullmatch(path.name):
                where = path.relative_to(root).as_posix()
                yield Problem(where, "no lesson's name", "rename it like 01_maml_baseline.py")
