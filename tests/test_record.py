import subprocess
import sys

import nbformat
import numpy as np
import pytest
import torch

from bomrl_lite.course import record as record_module
from bomrl_lite.course.building.sources import Cell, make_notebook
from bomrl_lite.course.notebook import read_records
from bomrl_lite.course.record import MIME, record
from bomrl_lite.course.running.in_process import run_in_process


@pytest.fixture(autouse=True)
def no_memory(monkeypatch):
    monkeypatch.setattr(record_module, "_recorded_without_ipython", {})


def notebook(*texts):
    return make_notebook([Cell(n, n, "code", text, (), None) for n, text in enumerate(texts, 1)])


USE = "from bomrl_lite.course.record import record\n"


@pytest.mark.parametrize(
    "value",
    [2, 2.0, np.float32(2), np.array([2.0]), torch.tensor(2.0), torch.tensor([2.0])],
    ids=lambda value: type(value).__name__,
)
def test_takes_one_number_of_any_kind(value):
    code = f"{USE}record('gap', value, 'return')"
    node = make_notebook([Cell(1, 1, "code", "value = None", ("parameters",), None)])
    node.cells += notebook(code).cells
    found = run_in_process(node, {"value": value})
    assert found == [{"name": "gap", "value": 2.0, "unit": "return", "source": "code"}]


def test_prints_in_plain_python(capsys):
    record("gap", 0.12345678, "return")
    record("steps", 3)
    assert capsys.readouterr().out == "gap = 0.123457 return\nsteps = 3\n"


@pytest.mark.parametrize("value", [float("nan"), float("inf"), torch.tensor(float("nan"))])
def test_refuses_what_is_not_finite(value):
    with pytest.raises(ValueError, match=r"record\('gap', ...\) takes a finite number, got"):
        record("gap", value)


@pytest.mark.parametrize("value", [True, "3", None, torch.zeros(2), np.zeros((1, 2)), [1.0]])
def test_refuses_what_is_not_one_number(value):
    with pytest.raises(TypeError, match="takes one number, got"):
        record("gap", value)


@pytest.mark.parametrize("name", ["", "  ", None, 3])
def test_refuses_a_bad_name(name):
    with pytest.raises(ValueError, match="needs a name"):
        record(name, 1.0)


def test_refuses_a_name_twice():
    record("gap", 1.0)
    with pytest.raises(ValueError, match="the name 'gap' is taken"):
        record("gap", 2.0)


def test_a_value_that_is_refused_does_not_take_the_name():
    with pytest.raises(ValueError, match="finite"):
        record("gap", float("nan"))
    record("gap", 1.0)


def test_figures_of_a_notebook_come_back_in_order():
    last = "record('c', 3.5, source='machine')"
    cells = notebook(f"{USE}record('b', 1, 'm'); record('a', 2, source='table')", last)
    assert run_in_process(cells, {}) == [
        {"name": "b", "value": 1.0, "unit": "m", "source": "code"},
        {"name": "a", "value": 2.0, "unit": "", "source": "table"},
        {"name": "c", "value": 3.5, "unit": "", "source": "machine"},
    ]
    with pytest.raises(ValueError, match="source must be one of code, table, machine, got 'gpu'"):
        record("d", 1.0, source="gpu")


def test_a_name_is_free_again_in_the_next_notebook_but_not_in_the_next_cell():
    assert run_in_process(notebook(f"{USE}record('gap', 1)"), {})
    assert run_in_process(notebook(f"{USE}record('gap', 1)"), {})
    with pytest.raises(ValueError, match="the name 'gap' is taken") as caught:
        run_in_process(notebook(f"{USE}record('gap', 1)", "record('gap', 2)"), {})
    assert "in cell 2" in caught.value.__notes__[0]


def test_running_a_cell_again_in_the_lab_replaces_its_figure():
    """JupyterLab names the cell; the same cell may record again, another may not."""
    setting = "shell = get_ipython()\nshell.get_parent = lambda: {'metadata': {'cellId': cell}}\n"
    once = f"{USE}cell = 'one'\n{setting}record('gap', 1)"
    run_in_process(notebook(once, "record('gap', 2)"), {})
    with pytest.raises(ValueError, match="taken"):
        run_in_process(notebook(once, "cell = 'two'\nrecord('gap', 2)"), {})
    with pytest.raises(ValueError, match="taken"):
        run_in_process(notebook(f"{once}\nrecord('gap', 2)"), {})


def output(name):
    data = {MIME: {"name": name, "value": 1.0, "unit": ""}, "text/plain": f"{name} = 1"}
    return nbformat.v4.new_output("display_data", data)


def test_reads_figures_from_a_file_and_refuses_a_name_twice(tmp_path):
    node = notebook("pass", "pass")
    node.cells[0].outputs = [nbformat.v4.new_output("stream", text="x"), output("a")]
    path = tmp_path / "x.ipynb"
    nbformat.write(node, path)
    assert read_records(path) == [{"name": "a", "value": 1.0, "unit": ""}]
    node.cells[1].outputs = [output("a")]
    with pytest.raises(ValueError, match=r"recorded more than once: \['a'\]"):
        read_records(node)


def test_works_where_ipython_is_not_installed():
    code = (
        "import sys; sys.modules['IPython.core.getipython'] = None\n"
        "from bomrl_lite.course.record import record; record('gap', 2, 'm')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout == "gap = 2 m\n", done.stderr
