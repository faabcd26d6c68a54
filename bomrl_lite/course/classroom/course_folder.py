"""Makes the folder in which an instructor runs a term with nbgrader."""

import copy
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined
from nbformat import NotebookNode

from bomrl_lite.course.building.plan import ExerciseSet, exercise_set, exercise_sources
from bomrl_lite.course.classroom.environment import environment, with_own_programs
from bomrl_lite.course.notebook import to_bytes
from bomrl_lite.training.files import write_atomically
from bomrl_lite.training.places import require_writable

CONFIG, DATABASE, README = "nbgrader_config.py", "gradebook.db", "README.md"


def make_course_folder(folder: Path, root: Path) -> None:
    """Write nbgrader's configuration, the assignments with their answers, and a gradebook.

    Args:
        folder: to be made; its name becomes that of the course.
        root: folder of the course's sources.

    Raises:
        ModuleNotFoundError: nbgrader is not installed.
        ValueError: there is something in the folder.
        FileNotFoundError: there are no exercises.
        BuildError: a source of exercises is faulty.
        OSError: the folder cannot be written to.
    """
    from nbgrader.api import Gradebook

    folder = folder.absolute()
    require_writable(folder / CONFIG)
    if folder.exists() and any(folder.iterdir()):
        raise ValueError(f"{folder} is not empty: name a folder that is not there yet")
    sets = {path.stem: exercise_set(root, path) for path in exercise_sources(root)}
    if not sets:
        raise FileNotFoundError(
            f"{root} holds no source of exercises in exercises/src: name the folder of the whole "
            "course with --root"
        )
    for name, each in sets.items():
        path = folder / "source" / assignment(name) / f"{name}.ipynb"
        write_atomically(path, to_bytes(with_answers(each)))
    loader = PackageLoader("bomrl_lite.course.classroom", ".")
    # No autoescape: these are no web pages.
    templates = Environment(
        loader=loader, undefined=StrictUndefined, keep_trailing_newline=True, trim_blocks=True
    )
    words = {"course": folder.name, "sets": list(sets), "guide": root / "docs" / "classroom.md"}
    for file in (CONFIG, README):
        text = templates.get_template(f"{file}.j2").render(words)
        write_atomically(folder / file, text.encode())
    with (
        environment(PATH=with_own_programs()),
        Gradebook(f"sqlite:///{folder / DATABASE}", folder.name) as gradebook,
    ):
        for name in sets:
            gradebook.update_or_create_assignment(assignment(name))


def assignment(name: str) -> str:
    """Return nbgrader's name of the set that a notebook belongs to."""
    return f"set{name[:2]}"


def with_answers(each: ExerciseSet) -> NotebookNode:
    """Return the notebook of which nbgrader makes the learners': answers stand between marks."""
    notebook = copy.deepcopy(each.unsolved)
    for cell, source in zip(notebook.cells, each.source.cells, strict=True):
        if "exercise" in source.tags:
            cell.source = source.text
    return notebook
