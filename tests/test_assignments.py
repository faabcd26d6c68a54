"""Exercise notebooks as nbgrader's own format checker and the checks' points see them."""

import copy
from pathlib import Path

import nbformat
import pytest
from nbgrader.nbgraderformat import ValidationError
from nbgrader.nbgraderformat.v3 import MetadataValidatorV3

from bomrl_lite.course.building.plan import exercise_set, exercise_sources
from bomrl_lite.course.checks import CHECKS_BY_SET
from bomrl_lite.course.notebook import read_notebook

ROOT = Path(__file__).parents[1]
SETS = {path.stem[:2]: path for path in exercise_sources(ROOT)}


def _committed(number: str, folder: str) -> nbformat.NotebookNode:
    notebook = read_notebook(ROOT / folder / f"{SETS[number].stem}.ipynb")
    assert notebook is not None
    return notebook


def _ids(notebook: nbformat.NotebookNode) -> list[str]:
    return [c.metadata.nbgrader.grade_id for c in notebook.cells if "nbgrader" in c.metadata]


@pytest.mark.parametrize("folder", ["exercises", "solutions"])
@pytest.mark.parametrize("number", SETS)
def test_nbgrader_finds_the_metadata_right(number: str, folder: str) -> None:
    MetadataValidatorV3().validate_nb(_committed(number, folder))


def test_its_format_checker_sees_a_mistake() -> None:
    notebook = copy.deepcopy(_committed("01", "exercises"))
    notebook.cells[_number_of(notebook, "ex-1_1")].metadata.nbgrader.grade_id = "ex-1.1"
    with pytest.raises(ValidationError):
        MetadataValidatorV3().validate_nb(notebook)


@pytest.mark.parametrize("number", SETS)
def test_a_check_is_a_locked_test_worth_its_points(number: str) -> None:
    notebook = exercise_set(ROOT, SETS[number]).unsolved
    wanted = {f"check-{c.exercise.replace('.', '_')}": c for c in CHECKS_BY_SET[number]}
    tests = [c for c in notebook.cells if c.metadata.get("nbgrader", {}).get("grade")]
    assert [c.metadata.nbgrader.grade_id for c in tests] == list(wanted)
    for cell, check in zip(tests, wanted.values(), strict=True):
        record, (first, *code) = cell.metadata.nbgrader, cell.source.splitlines()
        assert record.locked
        assert not record.solution
        assert record.points == check.max_points > 0
        assert first == f"# {check.max_points} points: " + ", ".join(
            f"{step} {points}" for step, points in check.points.items()
        )
        assert code == [f"{check.name} = checks.{check.name}({check.name})"]


@pytest.mark.parametrize("number", SETS)
def test_answers_are_open_and_parameters_are_restored(number: str) -> None:
    notebook = _committed(number, "exercises")
    answers = [c for c in notebook.cells if "exercise" in c.metadata.get("tags", ())]
    for cell in answers:
        record = cell.metadata.nbgrader
        assert record.grade_id == f"ex-{cell.metadata.exercise.replace('.', '_')}"
        assert record.solution
        assert not record.locked
        assert not record.grade
    parameters = notebook.cells[_number_of(notebook, "parameters")]
    assert parameters.metadata.tags == ["parameters"]
    assert parameters.metadata.nbgrader.locked
    assert len(_ids(notebook)) == len(set(_ids(notebook))) == 2 * len(answers) + 1


def test_names_of_cells_outlive_an_edit(tmp_path: Path) -> None:
    """Nbgrader keeps marks by them: a cell more, or another text, must not rename one."""
    source = tmp_path / SETS["01"]
    source.parent.mkdir(parents=True)
    text = (ROOT / SETS["01"]).read_text(encoding="utf-8")
    added = "# A word before.\n\n# %%\nprint(1)\n\n# %% [markdown]\n"
    more = text.replace("# ## 1.1 ", f"{added}# ## 1.1 ")
    source.write_text(more, encoding="utf-8")
    made = exercise_set(tmp_path, SETS["01"]).unsolved
    before = _committed("01", "exercises")
    assert len(made.cells) > len(before.cells)
    assert _ids(made) == _ids(before)


def _number_of(notebook: nbformat.NotebookNode, name: str) -> int:
    names = [c.metadata.get("nbgrader", {}).get("grade_id") for c in notebook.cells]
    return names.index(name)
