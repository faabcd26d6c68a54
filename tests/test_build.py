import base64
import io
import json
import os
from pathlib import Path

import nbformat
import numpy as np
import pytest
from PIL import Image
from tiny_course import EXERCISES, LESSON, lesson, write_course

from bomrl_lite.course.building import build as builder
from bomrl_lite.course.building.build import build, find_problems, update
from bomrl_lite.course.building.plan import make_plan
from bomrl_lite.course.execute import Failure, Outcome
from bomrl_lite.course.notebook import to_bytes

WIDGET = "application/vnd.jupyter.widget-view+json"


@pytest.fixture
def course(tmp_path):
    return write_course(tmp_path, lesson_00_start=LESSON, exercises_01_first=EXERCISES)


@pytest.fixture
def executed(monkeypatch):
    """Stand in for papermill: count every cell, print its number; list what was executed."""
    names = []

    def execute(job, limits, environment):
        names.append(job.output.stem)
        node = nbformat.from_dict(job.notebook)
        cells = [cell for cell in node.cells if cell.cell_type == "code"]
        for count, cell in enumerate(cells, 1):
            cell.execution_count = count
            cell.outputs = [nbformat.v4.new_output("stream", text=f"{count}\n")]
            cell.metadata["papermill"] = {"duration": 0.1}
        node.metadata["papermill"] = {"start_time": "now"}
        return Outcome(job.output.stem, "passed", 0.1, node)

    monkeypatch.setattr(builder, "execute", execute)
    return names


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert text.count(old) == 1
    path.write_text(text.replace(old, new))


def problems_of(root: Path, **sources: str) -> list[str]:
    return [str(problem) for problem in make_plan(write_course(root, **sources)).problems]


# ------------------------------------------------------------------ what is written


def test_exercises_hide_the_answer_and_solutions_keep_it(course, executed):
    assert build(course) == 0
    public = (course / "exercises/01_first.ipynb").read_text()
    node = nbformat.read(course / "exercises/01_first.ipynb", nbformat.NO_CONVERT)
    nbformat.validate(node)
    (cell,) = [cell for cell in node.cells if cell.metadata.get("exercise") == "1.1"]
    assert cell.source == (
        'def double(x):\n    """Return twice x."""\n    raise NotImplementedError("exercise 1.1")'
    )
    assert "twice_the_number" not in public
    assert "SOLUTION" not in public
    assert all(not c.get("outputs") for c in node.cells)
    solution = nbformat.read(course / "solutions/01_first.ipynb", nbformat.NO_CONVERT)
    (cell,) = [cell for cell in solution.cells if cell.metadata.get("exercise") == "1.1"]
    assert "    twice_the_number = 2 * x\n    return twice_the_number" in cell.source
    assert "SOLUTION" not in cell.source


def test_generated_notebooks_are_bare_of_what_changes_between_runs(course, executed):
    build(course)
    node = nbformat.read(course / "notebooks/00_start.ipynb", nbformat.NO_CONVERT)
    nbformat.validate(node)
    assert dict(node.metadata) == {
        "kernelspec": {
            "display_name": "Python 3 (ipykernel)",
            "language": "python",
            "name": "python3",
        },
        "language_info": {
            "file_extension": ".py",
            "mimetype": "text/x-python",
            "name": "python",
            "nbconvert_exporter": "python",
            "pygments_lexer": "ipython3",
        },
    }
    assert [dict(cell.metadata) for cell in node.cells] == [{}, {"tags": ["parameters"]}, {}]
    assert (node.nbformat, node.nbformat_minor) == (4, 5)


def test_hide_input_hides_the_cell_in_jupyterlab(course):
    notebook = make_plan(course).targets[1].notebook
    assert notebook.cells[2].metadata["jupyter"] == {"source_hidden": True}


def test_ids_depend_on_position_and_text_only(course):
    first, again = (make_plan(course).targets[0].notebook for _ in range(2))
    assert to_bytes(first) == to_bytes(again)
    edit(course / "notebooks/src/00_start.py", "1.0 + seed", "2.0 + seed")
    changed = make_plan(course).targets[0].notebook
    same = [old.id == new.id for old, new in zip(first.cells, changed.cells, strict=True)]
    assert same == [True, True, False]


def test_a_second_build_writes_and_executes_nothing(course, executed):
    assert build(course) == 0
    assert executed == ["00_start", "01_first"]
    files = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in course.rglob("*.ipynb")}
    assert len(files) == 3
    assert build(course) == 0
    assert executed == ["00_start", "01_first"]
    assert files == {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in files}
    assert build(course, check=True) == 0


def test_force_executes_all(course, executed):
    build(course)
    build(course, force=True)
    assert executed == ["00_start", "01_first"] * 2


def test_only_what_changed_is_executed(course, executed):
    build(course)
    edit(course / "notebooks/src/00_start.py", "1.0 + seed", "2.0 + seed")
    build(course)
    assert executed == ["00_start", "01_first", "00_start"]


def test_new_tags_are_written_without_executing(course, executed):
    build(course)
    edit(course / "notebooks/src/00_start.py", "# %%\nfrom", '# %% tags=["widget"]\nfrom')
    assert build(course, check=True) == 1
    assert build(course) == 0
    assert build(course, check=True) == 0
    assert executed == ["00_start", "01_first"]


def test_outputs_that_are_not_in_order_are_executed_anew(course, executed):
    build(course)
    path = course / "notebooks/00_start.ipynb"
    edit(path, '"execution_count": 2,', '"execution_count": 7,')
    build(course)
    assert executed == ["00_start", "01_first", "00_start"]


def test_a_write_that_fails_leaves_the_old_notebook(course, executed, monkeypatch):
    build(course)
    path = course / "exercises/01_first.ipynb"
    before = path.read_bytes()
    edit(course / "exercises/src/01_first.py", "# # Exercises", "# # More exercises")

    def broken(*_):
        raise OSError("no space left")

    monkeypatch.setattr(os, "replace", broken)
    with pytest.raises(OSError, match="no space"):
        build(course)
    assert path.read_bytes() == before


# ------------------------------------------------------------------ executing


def outcome_with(outputs):
    """Return a stand-in whose last cell has these outputs."""

    def execute(job, limits, environment):
        node = nbformat.from_dict(job.notebook)
        for count, cell in enumerate((c for c in node.cells if c.cell_type == "code"), 1):
            cell.execution_count = count
        node.cells[-1].outputs = [nbformat.from_dict(output) for output in outputs]
        return Outcome(job.output.stem, "passed", 0.1, node)

    return execute


def stream(name, text):
    return {"output_type": "stream", "name": name, "text": text}


def display(data, alt="a line that rises"):
    metadata = {kind: {"alt": alt} for kind in data if kind.startswith("image/") and alt}
    return {"output_type": "display_data", "data": data, "metadata": metadata}


def test_a_lesson_that_prints_warnings_is_refused(course, monkeypatch, capsys):
    monkeypatch.setattr(builder, "execute", outcome_with([stream("stderr", "Deprecated!")]))
    assert build(course) == 1
    assert not (course / "notebooks/00_start.ipynb").exists()
    message = capsys.readouterr().err
    assert "notebooks/00_start.ipynb (cell 3): it wrote to stderr: 'Deprecated!'" in message
    assert "mend notebooks/src/00_start.py" in message


def test_a_heavy_notebook_is_refused(course, monkeypatch, capsys):
    heavy = [display({"text/html": "x" * 1_500_000})]
    monkeypatch.setattr(builder, "execute", outcome_with(heavy))
    assert build(course) == 1
    message = capsys.readouterr().err
    assert "more than 1500; cell 3 alone has 1500 kB" in message


def png(mode: str, colour: tuple[int, ...]) -> str:
    picture, file = Image.new(mode, (40, 30), colour), io.BytesIO()
    picture.save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode() + "\n"


def test_figures_get_a_palette_once_and_no_paper(course, monkeypatch):
    drawn = [display({"image/png": png("RGBA", rgba)}) for rgba in [(9, 99, 200, 255), (0,) * 4]]
    monkeypatch.setattr(builder, "execute", outcome_with(drawn))
    assert build(course) == 0
    path = course / "notebooks/00_start.ipynb"
    kept = [output.data["image/png"] for output in nbformat.read(path, 4).cells[-1].outputs]
    pictures = [Image.open(io.BytesIO(base64.b64decode(each))) for each in kept]
    assert [picture.mode for picture in pictures] == ["P", "P"]
    (colour, nothing) = (picture.convert("RGBA").getpixel((5, 5)) for picture in pictures)
    np.testing.assert_allclose(colour, (9, 99, 200, 255), atol=2)
    assert nothing[3] == 0
    before = path.read_bytes()
    assert build(course) == 0
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    "output",
    [
        display({"image/png": png("RGB", (1, 2, 3))}, alt=""),
        display({"image/jpeg": "AAAA"}, alt=""),
        display({"text/html": '<p>a clip: <img src="data:image/webp;base64,AAAA"></p>'}),
        display({"text/html": '<img alt="" src="data:image/webp;base64,AAAA">'}),
    ],
    ids=["png", "jpeg", "html", "empty"],
)
def test_a_picture_without_words_is_refused(course, monkeypatch, capsys, output):
    monkeypatch.setattr(builder, "execute", outcome_with([output]))
    assert build(course) == 1
    message = capsys.readouterr().err
    assert "notebooks/00_start.ipynb (cell 3): a picture without alternative text" in message


def test_a_picture_with_words_is_kept_with_them(course, monkeypatch):
    clip = display({"text/html": '<img alt="a robot runs" src="data:image/webp;base64,AAAA">'})
    outputs = [display({"image/png": png("RGB", (1, 2, 3))}), clip]
    monkeypatch.setattr(builder, "execute", outcome_with(outputs))
    assert build(course) == 0
    kept = nbformat.read(course / "notebooks/00_start.ipynb", 4).cells[-1].outputs
    assert kept[0].metadata["image/png"]["alt"] == "a line that rises"


def test_widgets_stay_out_and_streams_are_joined(course, monkeypatch):
    pieces = [stream("stdout", "a\n"), stream("stdout", "b\n")]
    widget = display({WIDGET: {"model_id": "1"}, "text/plain": "IntSlider(value=0)"})
    monkeypatch.setattr(builder, "execute", outcome_with([*pieces, widget]))
    assert build(course) == 0
    node = nbformat.read(course / "notebooks/00_start.ipynb", nbformat.NO_CONVERT)
    assert node.cells[-1].outputs == [stream("stdout", "a\nb\n")]


def test_a_failure_is_named_and_does_not_hide_the_others(course, executed, monkeypatch):
    well = builder.execute

    def execute(job, limits, environment):
        if job.output.stem == "00_start":
            failure = Failure(3, "1 / 0", "ZeroDivisionError: division by zero", "traceback")
            return Outcome("00_start", "failed", 0.1, None, failure)
        return well(job, limits, environment)

    monkeypatch.setattr(builder, "execute", execute)
    (problem,) = update(course)
    assert str(problem).startswith(
        "notebooks/src/00_start.py (cell 3): failed: ZeroDivisionError: division by zero"
    )
    assert executed == ["01_first"]


@pytest.mark.papermill
def test_builds_with_papermill_and_verifies(tmp_path):
    wide = lesson(
        "import ipywidgets, sys\nfrom IPython.display import display\n"
        "display(ipywidgets.IntSlider())\nprint('a', flush=True)\nprint('b')"
    )
    noisy = lesson("import sys\nprint('mind this', file=sys.stderr)")
    root = write_course(
        tmp_path,
        lesson_00_start=wide,
        lesson_01_noisy=noisy,
        lesson_02_broken=lesson("1 / 0"),
        exercises_01_first=EXERCISES,
    )
    problems = update(root)
    assert [str(problem).split(":")[0] for problem in problems] == [
        "notebooks/src/01_noisy.py (cell 4)",
        "notebooks/src/02_broken.py (cell 4)",
    ]
    assert "it wrote to stderr: 'mind this'" in str(problems[0])
    assert "ZeroDivisionError" in str(problems[1])
    for name in ("01_noisy", "02_broken"):
        assert not (root / f"notebooks/{name}.ipynb").exists()
        (root / f"notebooks/src/{name}.py").unlink()
    assert build(root) == 0
    assert build(root, check=True) == 0
    text = (root / "notebooks/00_start.ipynb").read_text()
    for volatile in ("papermill", "widget-", "start_time", "version", "IntSlider(v"):
        assert volatile not in text
    assert json.loads(text)["cells"][-1]["outputs"][0]["text"] == ["a\n", "b\n"]
    first = {path: path.read_bytes() for path in root.rglob("*.ipynb")}
    assert build(root, force=True) == 0
    assert first == {path: path.read_bytes() for path in root.rglob("*.ipynb")}


# ------------------------------------------------------------------ drift


def drift(root: Path) -> list[str]:
    return [str(problem) for problem in find_problems(root)]


def test_finds_an_exercise_edited_by_hand(course, executed):
    build(course)
    edit(course / "exercises/01_first.ipynb", "Return twice x.", "Return two times x.")
    (problem,) = drift(course)
    assert problem == (
        "exercises/01_first.ipynb: the text of cell 4 is not its source's; "
        "run `python -m bomrl_lite build`; edit exercises/src/01_first.py only"
    )


def test_finds_a_source_edited_without_a_build(course, executed):
    build(course)
    edit(course / "exercises/src/01_first.py", "twice_the_number = 2 * x", "twice_the_number = x+x")
    (problem,) = drift(course)
    assert problem.startswith("solutions/01_first.ipynb: the text of cell 4")


def test_finds_a_cell_added_by_hand(course, executed):
    build(course)
    path = course / "notebooks/00_start.ipynb"
    node = nbformat.read(path, nbformat.NO_CONVERT)
    node.cells.append(nbformat.v4.new_markdown_cell("mine"))
    nbformat.write(node, path)
    (problem,) = drift(course)
    assert "it has 4 cells, its source 3" in problem


@pytest.mark.parametrize(
    ("old", "new", "found"),
    [
        ('"name": "python3"', '"name": "julia"', "the notebook's metadata"),
        ('\n "cells": [', '\n  "cells": [', "not written by the builder"),
        ('"execution_count": 2,', '"execution_count": 5,', "its execution count is 5, not 2"),
        ('"execution_count": 2,', '"execution_count": null,', "its execution count is None, not 2"),
        ('"name": "stdout"', '"name": "stderr"', "it wrote to stderr"),
        ('"parameters"', '"parameter"', "metadata of cell 2"),
        ('"nbformat": 4', "", "missing, or not a notebook"),
    ],
)
def test_finds_what_was_changed_in_a_lesson(course, executed, old, new, found):
    build(course)
    path = course / "notebooks/00_start.ipynb"
    path.write_text(path.read_text().replace(old, new))
    assert any(found in problem for problem in drift(course)), drift(course)


def test_finds_an_error_that_was_committed(course, executed):
    build(course)
    path = course / "notebooks/00_start.ipynb"
    node = nbformat.read(path, nbformat.NO_CONVERT)
    node.cells[-1].outputs = [nbformat.v4.new_output("error", ename="E", evalue="v", traceback=[])]
    path.write_bytes(to_bytes(node))
    assert any("(cell 3): it ended in E: v" in problem for problem in drift(course))


def test_finds_outputs_in_an_exercise(course, executed):
    build(course)
    path = course / "exercises/01_first.ipynb"
    node = nbformat.read(path, nbformat.NO_CONVERT)
    node.cells[-1].execution_count = 1
    path.write_bytes(to_bytes(node))
    assert drift(course) == [
        "exercises/01_first.ipynb: an exercise notebook carries outputs; "
        "run `python -m bomrl_lite build`; edit exercises/src/01_first.py only"
    ]


def test_finds_missing_and_stray_notebooks(course, executed):
    build(course)
    (course / "notebooks/00_start.ipynb").rename(course / "notebooks/09_old.ipynb")
    checkpoint = course / "notebooks/.ipynb_checkpoints/x.ipynb"
    checkpoint.parent.mkdir()
    checkpoint.write_text("{}")
    assert drift(course) == [
        "notebooks/00_start.ipynb: missing, or not a notebook; run `python -m bomrl_lite build`",
        "notebooks/09_old.ipynb: a notebook without a source; delete it",
    ]


def test_check_writes_nothing(course, executed):
    assert build(course, check=True) == 1
    assert executed == []
    assert not list(course.rglob("*.ipynb"))


# ------------------------------------------------------------------ refusals


@pytest.mark.parametrize(
    ("old", "new", "line", "found"),
    [
        ("    # BEGIN SOLUTION", "    # BEGIN SOLUTON", 31, "'# BEGIN SOLUTON', almost a marker"),
        ("    # BEGIN SOLUTION", "    #BEGIN SOLUTION", 31, "'#BEGIN SOLUTION', almost a marker"),
        ("    # END SOLUTION", "    # END SOLUTIONS", 34, "'# END SOLUTIONS', almost a marker"),
        ("    # BEGIN SOLUTION", "    # begin solution", 31, "'# begin solution', almost"),
        ("    # BEGIN SOLUTION", "    # BEGINSOLUTION", 31, "'# BEGINSOLUTION', almost a marker"),
        ("    # BEGIN SOLUTION", "    ### BEGIN_SOLUTION ###", 31, "almost a marker"),
        ("    # END SOLUTION", "    # End of the solution", 34, "almost a marker"),
        ("    # END SOLUTION", "    # SOLUTION END", 34, "almost a marker"),
        ("    # BEGIN SOLUTION", "    x = x  # BEGIN SOLUTION", 31, "almost a marker"),
        ("    # END SOLUTION", "    pass", 31, "unbalanced solution markers; write the missing"),
        ("    # BEGIN SOLUTION", "    pass", 34, "unbalanced solution markers"),
        ("    return twice", "    # BEGIN SOLUTION\n    return twice", 35, "nested or unclosed"),
        ("    # END SOLUTION", "      # END SOLUTION", 34, "the markers differ in indent"),
        ("    return twice_the_number", "    return (twice_the_number", 33, "not Python"),
        ('exercise="1.1"', "", 28, "an exercise cell has the number None"),
        ('exercise="1.1"', "exercise=1.1", 28, "an exercise cell has the number 1.1"),
        ('["exercise"] exercise="1.1"', '["widget"]', 31, "a marker outside an exercise cell"),
        ('["exercise"]', '["exercize"]', 28, "did you mean 'exercise'?"),
        ('["check"]', '["widget"]', 28, "has no check cell that calls checks.* on double"),
        ("double = checks.double(double)", "checks.treble(treble)", 28, "has no check cell"),
        ("checks.double(double)", "double", 28, "has no check cell"),
        ('tags=["parameters"]', "", 1, "no code cell is tagged parameters"),
    ],
)
def test_refuses_a_faulty_exercise_source(tmp_path, old, new, line, found):
    assert EXERCISES.count(old) == 1 or old == "double"
    (problem, *more) = [
        text
        for text in problems_of(tmp_path, exercises_01_first=EXERCISES.replace(old, new))
        if found in text
    ]
    assert not more
    assert problem.startswith(f"exercises/src/01_first.py:{line}"), problem


def test_a_faulty_source_writes_nothing_and_does_not_hide_the_others(course, executed, capsys):
    edit(course / "exercises/src/01_first.py", "# BEGIN SOLUTION", "# BEGIN SOLUTON")
    write_course(course, exercises_02_second=EXERCISES.replace("1.1", "2.1"))
    assert build(course) == 1
    assert executed == ["00_start", "02_second"]
    assert not (course / "exercises/01_first.ipynb").exists()
    message = capsys.readouterr().err
    assert "exercises/src/01_first.py:31 (cell 4): found '# BEGIN SOLUTON'" in message


def test_a_faulty_source_is_drift_and_its_old_notebooks_are_no_strays(course, executed):
    build(course)
    edit(course / "exercises/src/01_first.py", "# BEGIN SOLUTION", "# BEGIN SOLUTON")
    problems = drift(course)
    assert problems
    assert not any("without a source" in problem for problem in problems)


BLOCK = """
    # BEGIN SOLUTION
    pass
    # END SOLUTION
"""


TORN = """def treble(x):
    # BEGIN SOLUTION
    try:
        y = 3 * x
    # END SOLUTION
    except TypeError:
        y = None
    return y"""


def exercise(code: str, number: str = "1.2", name: str = "treble") -> str:
    head = f'\n# %% tags=["exercise"] exercise="{number}"\n{code}\n'
    return head + f'\n# %% tags=["check"]\nchecks.{name}({name})\n'


@pytest.mark.parametrize(
    ("code", "found"),
    [
        (f"def treble(x):{BLOCK}{BLOCK}", "more than one solution block in a cell; keep one"),
        ("def treble(x):\n    return 3 * x", "an exercise without a solution block"),
        ("# BEGIN SOLUTION\ndef treble(x):\n    return 3\n# END SOLUTION", "not inside a function"),
        ("def treble(x):\n    # BEGIN SOLUTION\n\n    # END SOLUTION", "the block is empty"),
        (f"def treble(x):{BLOCK}else:\n    pass", "not Python"),
        (TORN, "not Python"),
    ],
)
def test_refuses_a_faulty_block(tmp_path, code, found):
    assert any(
        found in problem
        for problem in problems_of(tmp_path, exercises_01_first=EXERCISES + exercise(code))
    )


def test_a_check_must_come_before_the_next_exercise(tmp_path):
    late = EXERCISES.replace('# %% tags=["check"]\ndouble = checks.double(double)\n', "")
    late += exercise(f"def treble(x):{BLOCK}") + "checks.double(double)\n"
    (problem,) = problems_of(tmp_path, exercises_01_first=late)
    assert "exercise 1.1 has no check cell" in problem


def test_refuses_a_number_twice_within_a_set_and_across_sets(tmp_path):
    twice = EXERCISES + exercise(f"def treble(x):{BLOCK}", number="1.1")
    plan = make_plan(write_course(tmp_path / "within", exercises_01_first=twice))
    assert "exercise 1.1 exists already" in str(plan.problems[0])
    assert (len(plan.problems), plan.targets) == (1, [])
    (problem,) = problems_of(
        tmp_path / "across", exercises_01_first=EXERCISES, exercises_02_second=EXERCISES
    )
    assert problem.startswith("exercises/src/02_second.py:28 (cell 4): exercise 1.1 exists already")
    assert "exercises/src/01_first.py:28" in problem


@pytest.mark.parametrize(
    "leak",
    [
        "# %% [markdown]\n# Hint: write `twice_the_number = 2 * x`.",
        "# %%\ntwice_the_number = 2 * x",
        "# %%\ntwice_the_number  =  2 * x  # spaced",
        "# %% [markdown]\n# ```python\n# twice_the_number = 2 * x\n# ```",
    ],
)
def test_refuses_an_answer_that_leaks(tmp_path, leak):
    (problem,) = problems_of(tmp_path, exercises_01_first=f"{EXERCISES}\n{leak}\n")
    assert problem == (
        "exercises/src/01_first.py:32 (cell 4): the answer's line 'twice_the_number = 2 * x' can "
        "be read in cell 7; reword that cell, or move the line out of the solution block"
    )


def test_a_line_that_the_cell_shows_anyway_is_no_leak(tmp_path):
    shown = EXERCISES.replace("    # BEGIN", "    twice_the_number = 2 * x\n    # BEGIN")
    shown += "\n# %%\ntwice_the_number = 2 * x\n"
    assert problems_of(tmp_path, exercises_01_first=shown) == []


@pytest.mark.parametrize(
    "comment",
    [
        "# the solution of the linear system",
        "# end of the episode",
        "# begin with the residual",
        "# both ends are solved in closed form",
        "# solve for the occupancy",
    ],
)
def test_ordinary_comments_are_no_markers(tmp_path, comment):
    source = EXERCISES.replace("    # BEGIN", f"    {comment}\n    # BEGIN")
    assert problems_of(tmp_path, exercises_01_first=source) == []


@pytest.mark.parametrize(
    ("code", "found"),
    [
        ("# BEGIN SOLUTION\nx = 1\n# END SOLUTION", "a lesson holds the solution marker"),
        ("# begin solution", "a lesson holds the solution marker '# begin solution'"),
        ('pass\n\n# %% tags=["exercise"]\npass', "a lesson holds an exercise cell"),
        ('pass\n\n# %% tags=["parameters"]\npass', "a second cell is tagged parameters"),
        ('pass\n\n# %% tags=["hide_input"]\npass', "did you mean 'hide-input'?"),
    ],
)
def test_refuses_a_faulty_lesson(tmp_path, code, found):
    problems = problems_of(tmp_path, lesson_00_start=lesson(code))
    assert any(found in problem for problem in problems), problems


def test_refuses_a_lesson_without_parameters_or_with_text_before_its_first_cell(tmp_path):
    (problem,) = problems_of(tmp_path / "a", lesson_00_start="# %%\npass\n")
    assert "no code cell is tagged parameters" in problem
    (problem,) = problems_of(tmp_path / "b", lesson_00_start="import os\n" + LESSON)
    assert "notebooks/src/00_start.py:1: there is text before the first cell" in problem


def test_refuses_a_name_that_would_be_passed_over(tmp_path):
    (problem,) = problems_of(tmp_path, lesson_intro=LESSON)
    assert problem.startswith("notebooks/src/intro.py: no lesson's name; rename it like")
