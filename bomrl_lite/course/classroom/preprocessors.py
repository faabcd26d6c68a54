"""What nbgrader does otherwise in this course: named in its nbgrader_config.py, called by nbgrader.

A submission is mended before it is looked at, then executed for its outputs, and its points are
those of the judge. Assignments of an instructor's own in the same course are graded by their tests.
"""

import atexit
import copy
import functools
import re
import shutil
from collections.abc import Mapping
from logging import Logger
from pathlib import Path
from typing import Any

import torch
from nbconvert.exporters import NotebookExporter
from nbconvert.exporters.exporter import ResourcesDict
from nbformat import NotebookNode, v4
from nbgrader.api import Gradebook, Notebook
from nbgrader.preprocessors import ClearSolutions, Execute, NbGraderPreprocessor, OverwriteCells
from traitlets import Enum, Integer

from bomrl_lite.course.building.assignments import PARAMETERS, SCHEMA, check_id
from bomrl_lite.course.building.exercise_sets import stub
from bomrl_lite.course.checks.session import FORCED
from bomrl_lite.course.classroom.environment import environment
from bomrl_lite.course.classroom.grading import ASSIGNMENTS, NOTEBOOKS
from bomrl_lite.course.classroom.judge import Judge, Verdict
from bomrl_lite.course.classroom.sent_notebook import read_notebook
from bomrl_lite.course.parameters import INJECTED, PROFILES

_SETS = {name: number for number, name in NOTEBOOKS.items()}
_ID = re.compile(r"[a-zA-Z0-9_-]{1,64}")


class ClearAnswers(ClearSolutions):
    """Puts ``raise NotImplementedError("exercise 1.1")`` in the place of an answer."""

    def preprocess_cell(
        self, cell: NotebookNode, resources: ResourcesDict, cell_index: int
    ) -> tuple[NotebookNode, ResourcesDict]:
        """Clear the answer of a cell, if it has one."""
        if number := cell.metadata.get("exercise"):
            self.code_stub = {"python": stub(number)}
        return super().preprocess_cell(cell, resources, cell_index)


def name_as_released(*, assignment: str, student: str, notebooks: list[str]) -> None:
    """Let the last notebook of a student count whose only fault is its name.

    Nbgrader calls it before each submission and takes the notebooks that are then in the list.

    Args:
        assignment: nbgrader's name of it.
        student: whose they are; not needed.
        notebooks: paths of what the student sent.
    """
    released = ASSIGNMENTS.get(assignment)
    sent = [Path(path) for path in notebooks]
    if released and sent and released not in [path.stem for path in sent]:
        last = max(sent, key=lambda path: (path.stat().st_mtime, path.name))
        notebooks[:] = [str(shutil.copy2(last, last.with_stem(released)))]


class SubmissionExporter(NotebookExporter):
    """Reads what students send: any format, damaged ids; what is no notebook gets a sentence."""

    def from_file(
        self, file_stream: Any, resources: dict[str, Any] | None = None, **kw: Any
    ) -> Any:
        """Convert a notebook.

        Raises:
            Unreadable: the file is no notebook; says what it looks like.
        """
        notebook = with_ids(read_notebook(file_stream.buffer.read()))
        return self.from_notebook_node(notebook, resources, **kw)


class RestoreCells(OverwriteCells):
    """Mends the metadata of a submission, then restores its locked cells as nbgrader does."""

    def preprocess(
        self, nb: NotebookNode, resources: ResourcesDict
    ) -> tuple[NotebookNode, ResourcesDict]:
        """Mend and restore a notebook."""
        place = resources["nbgrader"]
        with Gradebook(place["db_url"]) as gradebook:
            released = released_cells(
                gradebook.find_notebook(place["notebook"], place["assignment"])
            )
        return super().preprocess(mended(nb, released), resources)


class ExecuteForOutputs(Execute):
    """Executes a notebook for what it shows; no points come of it.

    Exercises that are not solved stay so, whatever the notebook asks for. One whose kernel dies
    keeps the outputs up to there.
    """

    profile = Enum(PROFILES, "smoke", help="Size of the runs in the notebook.").tag(config=True)

    def preprocess(
        self, nb: NotebookNode, resources: Any = None, km: Any = None
    ) -> tuple[NotebookNode, Any]:
        """Execute a notebook."""
        notebook = with_profile(nb, self.profile)
        try:
            with environment(**{FORCED: "raise"}):
                notebook, resources = super().preprocess(notebook, resources, km)
        except Exception as error:  # whatever a notebook does to its kernel
            said = " ".join(str(error).split())[:300]
            self.log.warning("outputs are missing (%s: %s)", type(error).__name__, said)
        return with_names_of_pictures(notebook), resources


class GradeByJudge(NbGraderPreprocessor):
    """Puts the judge's verdict in the place of each test's output, for nbgrader to store."""

    seed = Integer(0, min=0, help="Seed of the instances on which answers are judged.").tag(
        config=True
    )

    def preprocess(
        self, nb: NotebookNode, resources: ResourcesDict
    ) -> tuple[NotebookNode, ResourcesDict]:
        """Judge a notebook of the course; leave any other as it is.

        Raises:
            ValueError: an exercise was released with other points than it has now.
        """
        number = _SETS.get(resources["nbgrader"]["notebook"])
        if number is None:
            self.log.info("not a notebook of the course: its own tests decide")
            return nb, resources
        judge = _warm_judge(self.seed)
        _say_once(self.log, judge.isolation)
        verdicts = judge.judge(nb, number)
        found = {check_id(verdict.exercise): verdict for verdict in verdicts}
        for cell in nb.cells:
            record = cell.metadata.get("nbgrader", {})
            if verdict := found.get(record.get("grade_id")):
                _require_same_points(verdict, record["points"])
                cell.outputs = as_outputs(verdict)
        return nb, resources


@functools.cache
def _warm_judge(seed: int) -> Judge:
    """Return the judge of this process: one start serves a class."""
    torch.set_num_threads(1)  # equal bits on every machine
    judge = Judge(seed=seed)
    atexit.register(judge.__exit__, None, None, None)
    return judge


@functools.cache
def _say_once(log: Logger, isolation: str) -> None:
    (log.warning if isolation.startswith("NOT ISOLATED") else log.info)(isolation)


def as_outputs(verdict: Verdict) -> list[NotebookNode]:
    """Return the outputs of which nbgrader reads the points, and the learner the reasons."""
    words = v4.new_output("stream", name="stdout", text=in_words(verdict))
    # The last value of a test is its partial credit; other outputs would mean full points.
    points = v4.new_output("execute_result", data={"text/plain": f"{verdict.points:g}"})
    return [words, points]


def in_words(verdict: Verdict) -> str:
    """Say what an exercise has earned and why not more."""
    points = f"{verdict.points:g} of {verdict.max_points:g} points"
    lines = [f"exercise {verdict.exercise} {verdict.name}: {points}"]
    if verdict.step:
        lines.append(f"The first step that it does not pass: {verdict.step}")
    if verdict.message:
        lines.append(verdict.message)
    if verdict.cause and verdict.cause not in verdict.message:
        lines.append(f"Likely cause: {verdict.cause}.")
    return "\n".join(lines) + "\n"


def with_profile(notebook: NotebookNode, profile: str) -> NotebookNode:
    """Return a notebook that runs at another size, as papermill makes one."""
    result = copy.deepcopy(notebook)
    names = [cell.metadata.get("nbgrader", {}).get("grade_id") for cell in result.cells]
    if PARAMETERS in names:
        metadata = {"tags": ["injected-parameters"]}
        source = f'{INJECTED}profile = "{profile}"  # while it is graded\n'
        cell = v4.new_code_cell(source, metadata=metadata)
        result.cells.insert(names.index(PARAMETERS) + 1, cell)
    return result


def with_names_of_pictures(notebook: NotebookNode) -> NotebookNode:
    """Return a notebook whose pictures have an alternative text: one that broke off has none."""
    result = copy.deepcopy(notebook)
    outputs = (output for cell in result.cells for output in cell.get("outputs", ()))
    for output in outputs:
        for kind in output.get("data", {}):
            if kind.startswith("image/"):
                about = output.metadata.setdefault(kind, NotebookNode())
                about["alt"] = about.get("alt") or "a figure without a title"
    return result


def released_cells(released: Notebook) -> dict[str, NotebookNode]:
    """Return the cells of an assignment that nbgrader knows, as they were handed out, by name."""
    points = {cell.name: cell.max_score for cell in (*released.grade_cells, *released.task_cells)}
    tasks = {cell.name for cell in released.task_cells}
    answers = {cell.name for cell in released.solution_cells}
    make = {"code": v4.new_code_cell, "markdown": v4.new_markdown_cell}
    cells = dict[str, NotebookNode]()
    for cell in released.source_cells:
        name = cell.name
        record = {
            "grade_id": name,
            "grade": name in points and name not in tasks,
            "solution": name in answers,
            "task": name in tasks,
            "locked": cell.locked,
            "cell_type": cell.cell_type,
            "checksum": cell.checksum,
            "schema_version": SCHEMA,
            **({"points": points[name]} if name in points else {}),
        }
        cells[name] = make[cell.cell_type](cell.source, metadata={"nbgrader": record})
    return cells


def mended(notebook: NotebookNode, released: Mapping[str, NotebookNode]) -> NotebookNode:
    """Return a submission in which every cell that nbgrader looks for is there, once.

    Of a cell that was copied the last counts, as for the judge. What a learner has written into a
    locked cell, which is going to be restored, is kept in one before it. Tests that are missing
    come last, other locked cells first; an answer that was deleted stays so.

    Args:
        notebook: what was sent in, with lists and dictionaries where they belong.
        released: from :func:`released_cells`.
    """
    missing, cells = dict(released), list[NotebookNode]()
    for cell in reversed(copy.deepcopy(notebook.cells)):
        cells.append(cell)
        record = cell.metadata.pop("nbgrader", None)
        name = record.get("grade_id") if isinstance(record, dict) else None
        if not (isinstance(name, str) and name in missing):
            continue
        known = missing.pop(name)
        cell.metadata["nbgrader"] = copy.deepcopy(known.metadata.nbgrader)
        if known.metadata.nbgrader.locked and cell.source.strip() != known.source.strip():
            make = v4.new_code_cell if cell.cell_type == "code" else v4.new_markdown_cell
            cells.append(make(cell.source))
    lost = [(cell, cell.metadata.nbgrader) for cell in missing.values()]
    first = [cell for cell, record in lost if record.locked and not record.grade]
    last = [cell for cell, record in lost if record.grade or record.task]
    result = copy.deepcopy(notebook)
    result.cells = [*first, *reversed(cells), *last]
    return with_ids(result)


def with_ids(notebook: NotebookNode) -> NotebookNode:
    """Return a notebook each of whose cells has an id of its own."""
    result, seen = copy.deepcopy(notebook), set[str]()
    for number, cell in enumerate(result.cells):
        own = cell.get("id", "")
        cell["id"] = own if _ID.fullmatch(own) and own not in seen else f"sent-{number}"
        seen.add(cell["id"])
    return result


def _require_same_points(verdict: Verdict, points: float) -> None:
    if points != verdict.max_points:
        raise ValueError(
            f"exercise {verdict.exercise} was released with {points:g} points and is worth "
            f"{verdict.max_points:g} now: give it its points of before, or make the assignment "
            "anew, as docs/classroom.md says"
        )
