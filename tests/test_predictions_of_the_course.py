"""Every lesson asks before it answers, computes each answer, and shows how well one knew."""

import ast
import collections
from pathlib import Path

import nbformat
import pytest

from bomrl_lite.course import predictions
from bomrl_lite.course.building.plan import lesson_sources
from bomrl_lite.course.building.sources import make_notebook, read_source
from bomrl_lite.course.execute import Job, Limits, execute, kernel_environment
from bomrl_lite.course.running.in_process import run_in_process

ROOT = Path(__file__).resolve().parents[1]
LESSONS = lesson_sources(ROOT)
SHOWN = {LESSONS[-1].stem: 2}  # the last one shows itself, and then the course


def calls(code):
    """Return the calls of `predictions` in their order: the function's name and its arguments."""
    found = [
        node
        for node in ast.walk(ast.parse(code))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and ast.unparse(node.func.value) == "predictions"
    ]
    found.sort(key=lambda node: (node.lineno, node.col_offset))
    return [(node.func.attr, node.args) for node in found]


def code_of(path):
    return "\n".join(c.text for c in read_source(ROOT, path).cells if c.kind == "code")


def keys(code, name):
    return [arguments[0].value for function, arguments in calls(code) if function == name]


def faults(number, code, shows=1):
    """Say what is wrong with the predictions of a lesson, such as "01"."""
    asked, revealed = keys(code, "ask"), keys(code, "reveal")
    order = [(f, a[0].value) for f, a in calls(code) if f in ("ask", "reveal")]
    said = [f"{key} is not revealed" for key in asked if key not in revealed]
    said += [f"{key} is revealed and was not asked" for key in revealed if key not in asked]
    counts = collections.Counter(order)
    said += [f"{function} {key} twice" for (function, key), n in counts.items() if n > 1]
    said += [f"{key} is of another lesson" for key in asked if not key.startswith(f"{number}.")]
    first = {key: order.index(("ask", key)) for key in asked}
    said += [
        f"{key} is revealed before it is asked"
        for key in asked
        if ("reveal", key) in order and order.index(("reveal", key)) < first[key]
    ]
    for function, arguments in calls(code):
        if function == "reveal" and not any(
            isinstance(node, ast.Name) for node in ast.walk(arguments[1])
        ):
            said.append(f"the answer of {arguments[0].value} is typed, not computed")
    ends = [(f, *(ast.unparse(a) for a in arguments)) for f, arguments in calls(code)][-shows:]
    if ends != [("show", f"'{number}'"), ("show",)][:shows]:
        said.append("it does not end with show")
    return said


@pytest.mark.parametrize("path", LESSONS, ids=lambda path: path.stem)
def test_a_lesson_asks_and_then_computes_each_answer(path):
    number = path.stem.split("_")[0]
    assert faults(number, code_of(path), SHOWN.get(path.stem, 1)) == []


ASK, REVEAL = 'predictions.ask("01.a", "?", "xyz")\n', 'predictions.reveal("01.a", max(gaps))\n'
SHOW = 'predictions.show("01")\n'


@pytest.mark.parametrize(
    ("code", "fault"),
    [
        (ASK + SHOW, "01.a is not revealed"),
        (REVEAL + SHOW, "01.a is revealed and was not asked"),
        (REVEAL + ASK + SHOW, "01.a is revealed before it is asked"),
        (ASK + ASK + REVEAL + SHOW, "ask 01.a twice"),
        (ASK + REVEAL + REVEAL + SHOW, "reveal 01.a twice"),
        ((ASK + REVEAL).replace("01.", "02.") + SHOW, "02.a is of another lesson"),
        (ASK + REVEAL.replace("max(gaps)", "1.5") + SHOW, "the answer of 01.a is typed"),
        (ASK + REVEAL.replace("max(gaps)", '"x"') + SHOW, "the answer of 01.a is typed"),
        (ASK + SHOW + REVEAL, "it does not end with show"),
        (ASK + REVEAL + SHOW.replace("01", "02"), "it does not end with show"),
        (ASK + REVEAL, "it does not end with show"),
    ],
)
def test_a_slip_in_a_lesson_is_found(code, fault):
    assert faults("01", ASK + REVEAL + SHOW) == []
    assert any(said.startswith(fault) for said in faults("01", code))


def test_there_are_many_and_each_has_a_key_of_its_own():
    every = [key for path in LESSONS for key in keys(code_of(path), "ask")]
    assert len(every) >= 30
    assert len(set(every)) == len(every)


def test_every_question_of_a_lesson_meets_its_answer():
    """Choose at every question of 02b, as a learner does, and run on."""
    path = next(path for path in LESSONS if path.stem.startswith("02b"))
    notebook = make_notebook(list(read_source(ROOT, path).cells))
    for cell in notebook.cells:
        for key in keys(cell.source, "ask") if cell.cell_type == "code" else ():
            cell.source += f'\npredictions.choose("{key}", 1, sure=50)'
    wanted = sorted(keys(code_of(path), "ask"))
    assert wanted
    check = (
        f"met = [key for key, each in predictions.stored().items() if each.answer]\n"
        f"assert sorted(met) == {wanted}, met\n"
        f"assert predictions.show() is not None"
    )
    notebook.cells.append(nbformat.v4.new_code_cell(check))
    run_in_process(notebook, {"profile": "smoke", "seed": 0}, ROOT / "notebooks")


MINE = '{"01.a": {"choice": "x", "sure": 60, "answer": null}}'
TRIAL = f"from bomrl_lite.course import predictions\ngaps = 'xy'\n{ASK}{REVEAL}"


def trial():
    cells = [nbformat.v4.new_code_cell("seed = 0", metadata={"tags": ["parameters"]})]
    return nbformat.v4.new_notebook(cells=[*cells, nbformat.v4.new_code_cell(TRIAL)])


def test_a_run_in_this_process_lets_predictions_of_a_person_alone(tmp_path):
    (tmp_path / "my_predictions.json").write_text(MINE)
    run_in_process(trial(), {}, tmp_path)
    assert (tmp_path / "my_predictions.json").read_text() == MINE
    assert Path("my_predictions.json") == predictions.FILE


@pytest.mark.papermill
def test_a_run_of_papermill_lets_predictions_of_a_person_alone(tmp_path):
    (tmp_path / "my_predictions.json").write_text(MINE)
    with kernel_environment() as environment:
        job = Job(trial(), tmp_path / "out" / "x.ipynb", tmp_path, {})
        outcome = execute(job, Limits(600, 600), environment)
    assert outcome.status == "passed"
    said = [o.text for o in outcome.notebook.cells[-1].outputs if o.output_type == "stream"]
    assert "".join(said) == "No prediction yet: choose above, then run this cell again.\n"
    assert (tmp_path / "my_predictions.json").read_text() == MINE
    assert sorted(each.name for each in tmp_path.iterdir()) == ["my_predictions.json", "out"]
