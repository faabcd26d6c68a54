"""Parameters of a notebook: what papermill or a learner got wrong is said in words."""

import os
import subprocess
import sys

import nbformat
import pytest

from bomrl_lite.course.building.sources import Cell, make_notebook
from bomrl_lite.course.parameters import assigned_names, begin

BEGIN = """
import matplotlib.pyplot as plt
from bomrl_lite.course.parameters import begin
begin(profile, seed)
plt.plot([1, 2])
plt.show()
"""


def papermill(folder, *arguments, **variables):
    """Run a notebook by plain papermill, as somebody does who knows nothing of the course."""
    cells = [
        Cell(1, 1, "code", "profile = 'smoke'\nseed = 0", ("parameters",), None),
        Cell(1, 1, "code", BEGIN, (), None),
    ]
    nbformat.write(make_notebook(cells), folder / "in.ipynb")
    names = [str(folder / "in.ipynb"), str(folder / "out.ipynb")]
    return subprocess.run(
        [sys.executable, "-m", "papermill", "-k", "python3", *names, *arguments],
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("profile", ["Smoke", "", None, "fast"])
def test_an_unknown_profile_is_refused_with_those_there_are(profile):
    with pytest.raises(ValueError, match=f"unknown profile {profile!r}: choose one of smoke, cl"):
        begin(profile, 0)


@pytest.mark.parametrize("seed", [-1, 1.0, "0", None, True, 2**31])
def test_a_seed_is_a_whole_number(seed):
    with pytest.raises(ValueError, match="seed must be a whole number from 0 to"):
        begin("class", seed)


def test_only_a_smoke_run_says_that_the_text_quotes_other_figures(capsys):
    begin("class", 0)
    begin("full", 3)
    assert capsys.readouterr().out == ""
    begin("smoke", 0)
    assert "The text quotes figures of class" in capsys.readouterr().out


def test_names_that_a_cell_assigns():
    assert assigned_names("# Parameters\nseed = 3\nrate: float = 0.1\nf(x=2)") == ["seed", "rate"]


@pytest.mark.papermill
@pytest.mark.parametrize(
    "backend", ["agg", "Agg", "svg", "module://matplotlib_inline.backend_inline"]
)
def test_pictures_are_drawn_whatever_back_end_the_environment_names(tmp_path, backend):
    done = papermill(tmp_path, "-p", "seed", "3", MPLBACKEND=backend)
    assert done.returncode == 0, done.stderr
    outputs = nbformat.read(tmp_path / "out.ipynb", 4).cells[-1].outputs
    assert any("image/png" in output.get("data", {}) for output in outputs)


@pytest.mark.papermill
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("-p", "sead", "3"), "unknown parameter 'sead': this notebook has profile, seed"),
        (("-p", "profile", "fast"), "unknown profile 'fast': choose one of smoke, class, full"),
        (("-p", "seed", "two"), "seed must be a whole number from 0 to 2**31 - 1, got 'two'"),
    ],
)
def test_plain_papermill_gets_words_for_a_wrong_parameter(tmp_path, arguments, message):
    done = papermill(tmp_path, *arguments)
    assert done.returncode != 0
    assert message in done.stderr
