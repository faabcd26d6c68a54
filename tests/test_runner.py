import io
import json
import os
import random
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path
from xml.etree import ElementTree

import matplotlib as mpl
import matplotlib.pyplot as plt
import nbformat
import numpy as np
import psutil
import pytest
import torch
from rich.console import Console
from tiny_course import EXERCISES, LESSON, lesson, write_course

from bomrl_lite.course.building.plan import lesson as make_lesson
from bomrl_lite.course.building.sources import Cell, make_notebook
from bomrl_lite.course.execute import (
    Failure,
    Job,
    Limits,
    Outcome,
    execute,
    kernel_environment,
)
from bomrl_lite.course.running import batch, runner, states
from bomrl_lite.course.running.batch import execute_all
from bomrl_lite.course.running.calibration import around, calibrate, calibrate_reference, widened
from bomrl_lite.course.running.history import History
from bomrl_lite.course.running.in_process import run_in_process
from bomrl_lite.course.running.report import pictures, position, title, write_report
from bomrl_lite.course.running.results import (
    Figure,
    Lesson,
    Run,
    describe,
    judge,
    ranges_at,
    tally,
    to_junit,
    to_metrics,
)
from bomrl_lite.course.running.runner import run_course
from bomrl_lite.course.running.states import run_states
from bomrl_lite.training.progress import make_bars

GAP = {"name": "gap", "value": 1.5, "unit": "return"}
PIXEL = (
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJg"
)


def notebook(*texts, parameters="seed = 0"):
    cells = [Cell(1, 1, "code", parameters, ("parameters",), None)]
    return make_notebook(cells + [Cell(0, 0, "code", text, (), None) for text in texts])


def executed(name="01_lesson", *, records=(), status="passed", failure=None, cells=()):
    """Return the outcome of a notebook that was never run."""
    node = make_notebook([Cell(1, 1, "markdown", "# The *lesson*", (), None)])
    code = nbformat.v4.new_code_cell("record(...)")
    mime = "application/vnd.bomrl.record+json"
    code.outputs = [nbformat.v4.new_output("display_data", {mime: each}) for each in records]
    node.cells += [code, *cells]
    return Outcome(name, status, 2.5, node, failure)


def run_of(*lessons):
    return Run("2026-01-02 03:04:05", "smoke", 7, {}, {"python": "3.11"}, "abc", list(lessons))


# ------------------------------------------------------------------ in this process


def test_parameters_replace_those_of_the_tagged_cell():
    cells = notebook("found = seed", "assert found == 5", parameters="seed = 0")
    run_in_process(cells, {"seed": 5})
    with pytest.raises(AssertionError, match="in cell 3"):
        run_in_process(cells, {"seed": 6})


def test_runs_a_source_in_the_folder_of_its_notebook(tmp_path):
    code = "from pathlib import Path\nassert Path('results.csv').exists()"
    root = write_course(tmp_path, lesson_00_start=lesson(code))
    (root / "notebooks/results.csv").touch()
    here = Path.cwd()
    found = run_in_process(root / "notebooks/src/00_start.py", {"seed": 3})
    assert found == [{"name": "gap", "value": 4.0, "unit": "return", "source": "code"}]
    assert Path.cwd() == here


def test_an_error_names_its_cell_and_shows_its_last_lines():
    with pytest.raises(ZeroDivisionError) as caught:
        run_in_process(notebook("x = 1", "y = x\n1 / 0"), {})
    assert caught.value.__notes__ == ["in cell 3:\ny = x\n1 / 0"]


@pytest.mark.parametrize("text", ["def f(:", "%no_such_magic", "raise SystemExit(3)"])
def test_whatever_ends_a_cell_ends_the_run(text):
    with pytest.raises((SyntaxError, Exception, SystemExit)) as caught:
        run_in_process(notebook(text), {})
    assert "in cell 2" in caught.value.__notes__[0]


def test_figures_are_drawn_in_every_run_so_that_one_that_cannot_be_is_an_error():
    text = "import matplotlib.pyplot as plt\nplt.subplots()[1].set_title(r'$\\frac{$')"
    for _ in range(2):
        with pytest.raises(ValueError, match="frac"):
            run_in_process(notebook(text), {})


@pytest.mark.parametrize(
    "text",
    [
        "import warnings\nwarnings.warn('mind this')",
        "import warnings\nwarnings.warn('mind this', DeprecationWarning)",
        "import sys\nprint('mind this', file=sys.stderr)",
    ],
)
def test_a_warning_is_an_error_as_it_is_for_the_builder(text):
    with pytest.raises(RuntimeError, match=r"cell 2 wrote to stderr.*mind this"):
        run_in_process(notebook(text), {})


CHANGES = """
import os, random, sys, warnings
import matplotlib.pyplot as plt, numpy as np, torch
torch.set_default_dtype(torch.float64)
torch.set_grad_enabled(False)
torch.set_num_threads(2)
torch.use_deterministic_algorithms(True)
torch.manual_seed(99); np.random.seed(99); random.seed(99)
warnings.simplefilter("error")
np.seterr(all="raise"); np.set_printoptions(precision=2)
plt.rcParams["figure.dpi"] = 33; fig = plt.figure()
os.environ["BOMRL_TEST"] = "1"; sys.path.insert(0, "/nowhere")
os.chdir("/")
left_behind = 1
"""

UNCHANGED = """
import os, random, sys, warnings
import matplotlib.pyplot as plt, numpy as np, torch
assert torch.get_default_dtype() == torch.float32
assert torch.is_grad_enabled() and not torch.are_deterministic_algorithms_enabled()
assert torch.initial_seed() != 99
assert np.geterr()["divide"] == "warn"
assert plt.rcParams["figure.dpi"] == 100 and not plt.get_fignums()
assert "BOMRL_TEST" not in os.environ and "/nowhere" not in sys.path
assert "left_behind" not in globals() and os.getcwd() == folder
assert not any(rule[0] == "error" for rule in warnings.filters)
drawn = (random.random(), np.random.rand(), torch.rand(1).item())
from bomrl_lite.course.record import record
for name, value in zip("abc", drawn): record(name, value)
"""


def test_a_notebook_does_not_see_what_another_changed(tmp_path):
    parameters = {"folder": str(tmp_path)}
    first = run_in_process(notebook(UNCHANGED), parameters, tmp_path)
    run_in_process(notebook(CHANGES), {}, tmp_path)
    assert run_in_process(notebook(UNCHANGED), parameters, tmp_path) == first


def test_this_process_is_left_as_it_was_found(tmp_path):
    def state():
        return (
            torch.get_default_dtype(),
            torch.is_grad_enabled(),
            torch.get_num_threads(),
            torch.get_rng_state().tolist(),
            random.getstate(),
            np.random.get_state()[1].tolist(),  # noqa: NPY002
            list(warnings.filters),
            mpl.get_backend(),
            mpl.rcParams["figure.dpi"],
            plt.get_fignums(),
            dict(os.environ),
            list(sys.path),
            Path.cwd(),
            sys.modules["__main__"],
        )

    before = state()
    run_in_process(notebook(CHANGES), {}, tmp_path)
    assert state() == before
    with pytest.raises(ZeroDivisionError):
        run_in_process(notebook(CHANGES + "\n1 / 0"), {}, tmp_path)
    assert state() == before


def test_refuses_to_run_inside_ipython():
    text = (
        "from bomrl_lite.course.running.in_process import run_in_process\n"
        "from bomrl_lite.course.building.sources import make_notebook\n"
        "run_in_process(make_notebook([]), {})"
    )
    with pytest.raises(RuntimeError, match="called inside IPython: call it from plain Python"):
        run_in_process(notebook(text), {})
    run_in_process(notebook("1 + 1"), {})


# ------------------------------------------------------------------ figures and ranges


def test_bounds_belong_to_the_range():
    def verdict(low, high):
        return judge(executed(records=[GAP]), {"gap": [low, high]}).figures[0].verdict

    assert verdict(1.5, 2) == verdict(1, 1.5) == "inside"
    assert verdict(1.6, 2) == verdict(1, 1.4) == "outside"


@pytest.mark.parametrize(
    ("ranges", "verdicts", "ok"),
    [
        ({"gap": [1, 2]}, ["inside"], True),
        ({"gap": [1, 1.4]}, ["outside"], False),
        ({}, ["no range"], True),
        ({"gap": [1, 2], "lost": [0, 1]}, ["inside", "missing"], False),
    ],
)
def test_only_outside_and_missing_figures_spoil_a_lesson(ranges, verdicts, ok):
    judged = judge(executed(records=[GAP]), ranges)
    assert [figure.verdict for figure in judged.figures] == verdicts
    assert judged.ok == ok


def test_a_figure_of_the_machine_is_shown_whatever_it_is_and_never_judged():
    rate = {**GAP, "name": "rate", "source": "machine"}
    stored = {**GAP, "name": "stored", "source": "table"}
    judged = judge(executed(records=[GAP, rate, stored]), {"gap": [1, 2], "stored": [1, 1.4]})
    assert [figure.verdict for figure in judged.figures] == ["inside", "shown", "outside"]
    assert not judged.ok
    assert judge(executed(records=[rate]), {"rate": [5, 6]}).ok  # a range of former days
    shown = describe(judged.figures[1])
    assert shown == "rate = 1.5 return belongs to this machine: shown, not judged"
    counted = tally(judged.figures)
    assert counted == "1 computed, 1 read from stored tables, 1 of this machine"


def test_a_lesson_that_failed_misses_no_figures():
    failure = Failure(2, "1 / 0", "ZeroDivisionError: x", "")
    judged = judge(executed(status="failed", failure=failure), {"gap": [1, 2]})
    assert judged.figures == []
    assert not judged.ok


def test_a_figure_recorded_twice_fails_the_lesson():
    judged = judge(executed(records=[GAP, GAP]), {})
    assert judged.outcome.status == "failed"
    assert "recorded more than once: ['gap']" in judged.outcome.failure.error


def test_a_figure_is_described_in_words():
    shown = [
        describe(Figure("gap", 1.5, "return", 1.0, 2.0, "inside")),
        describe(Figure("gap", None, "", 1.0, 2.0, "missing")),
        describe(Figure("gap", 1.5, "", None, None, "no range")),
    ]
    assert shown == [
        "gap = 1.5 return is inside 1 to 2",
        "gap was not recorded; expected 1 to 2",
        "gap = 1.5 has no range yet",
    ]


def test_the_range_of_calibration():
    assert widened([-1.0, 1.0]) == [-1.0 - 1.0 - 0.1, 1.0 + 1.0 + 0.1]
    assert widened([2.0, 3.0]) == [2.0 - 0.5 - 0.3, 3.0 + 0.5 + 0.3]
    assert widened([-2.0]) == [-2.2, -1.8]
    assert widened([1e-16, 3e-12]) == [-1e-8, 1e-8]
    assert widened([0.0, 0.0]) == [-1e-8, 1e-8]


def test_calibration_measures_keeps_and_merges(tmp_path, capsys):
    root = write_course(tmp_path, lesson_00_start=LESSON, lesson_01_broken=lesson("1 / 0"))
    old = {"01_broken": {"smoke": {"x": [0, 1]}}, "00_start": {"class": {"gap": [0, 9]}}}
    (root / "notebooks/ranges.json").write_text(json.dumps(old))
    assert calibrate(root, profile="smoke", seeds=range(3)) == 1
    text = (root / "notebooks/ranges.json").read_text()
    assert json.loads(text) == {
        "00_start": {"class": {"gap": [0, 9]}, "smoke": {"gap": [-0.3, 4.3]}},
        "01_broken": {"smoke": {"x": [0, 1]}},
    }
    assert '"gap": [-0.3, 4.3]' in text
    shown = capsys.readouterr().out
    assert "gap: none -> [-0.3, 4.3]" in shown
    assert "01_broken: ZeroDivisionError" in shown
    assert "in cell 4" in shown


def test_calibration_of_one_lesson_leaves_the_others_and_figures_of_the_machine(tmp_path):
    timed = LESSON + "record('rate', 3, source='machine')\n"
    root = write_course(tmp_path, lesson_00_start=timed, lesson_01_next=LESSON)
    assert calibrate(root, profile="smoke", seeds=[0], lessons=["00_start"]) == 0
    ranges = json.loads((root / "notebooks/ranges.json").read_text())
    assert {name: list(found["smoke"]) for name, found in ranges.items()} == {"00_start": ["gap"]}


def test_the_narrow_range_of_seed_0():
    low, high = around([2.0, 2.0])
    assert (2 - low, high - 2) == pytest.approx((2.0001e-4, 2.0001e-4), rel=1e-6)
    assert around([1.0, 1.01, 0.98]) == pytest.approx([0.8, 1.2], abs=2e-4)
    assert around([0.0]) == [-1e-8, 1e-8]


TOLD = """
import os
record('told', float(len(os.environ.get('MKL_CBWR', ''))))
record('rate', 3, source='machine')
record('stored', 3, source='table')
"""


def test_seed_0_is_judged_by_what_other_processors_give_other_seeds_by_ranges(tmp_path, capsys):
    root = write_course(tmp_path, lesson_00_start=lesson(TOLD), lesson_01_broken=lesson("1 / 0"))
    wide = {"00_start": {"smoke": {"gap": [0, 9], "told": [0, 999]}}}
    (root / "notebooks/ranges.json").write_text(json.dumps(wide))
    assert calibrate_reference(root) == 1
    shown = capsys.readouterr().out
    assert "01_broken: RuntimeError('it ended with exit code 1')" in shown
    assert "ZeroDivisionError: division by zero" in shown
    assert "told: none -> [" in shown
    narrow = json.loads((root / "notebooks/reference.json").read_text())["00_start"]["smoke"]
    assert set(narrow) == {"told", "gap"}
    assert narrow["gap"] == pytest.approx([1, 1], abs=2e-4)
    assert narrow["told"][1] == pytest.approx(10 * len("COMPATIBLE"), abs=1e-5)
    assert ranges_at(root, 0)["00_start"]["smoke"] == narrow
    assert ranges_at(root, 1) == wide


def test_of_two_ranges_at_seed_0_the_narrower_judges(tmp_path):
    (tmp_path / "notebooks").mkdir()
    for file, figures in (
        ("ranges", {"chaotic": [1, 2], "exact": [0, 9], "stored": [3, 3]}),
        ("reference", {"chaotic": [-5, 5], "exact": [4, 4.1], "new": [0, 1]}),
    ):
        text = json.dumps({"00_start": {"smoke": figures}})
        (tmp_path / f"notebooks/{file}.json").write_text(text)
    narrowest = {"chaotic": [1, 2], "exact": [4, 4.1], "stored": [3, 3], "new": [0, 1]}
    assert ranges_at(tmp_path, 0) == {"00_start": {"smoke": narrowest}}


def test_calibration_refuses_figures_that_depend_on_the_seed(tmp_path, capsys):
    root = write_course(tmp_path, lesson_00_start=lesson("record(f'x{seed}', 1)"))
    assert calibrate(root, profile="smoke", seeds=[0, 1]) == 1
    assert "seed 1 recorded other figures than 0: ['x0', 'x1']" in capsys.readouterr().out
    with pytest.raises(ValueError, match="at least one seed"):
        calibrate(root, seeds=[])


# ------------------------------------------------------------------ what is written


@pytest.fixture
def mixed():
    """Return a run with a sound, an off, a failed and an unstarted lesson."""
    failure = Failure(2, "y = 0\n1 / y", "ZeroDivisionError: <0>", "Traceback \x07\n<bell> & more")
    picture = nbformat.v4.new_code_cell("plot()")
    picture.outputs = [nbformat.v4.new_output("display_data", {"image/png": PIXEL + "\n"})]
    heading = nbformat.v4.new_markdown_cell("text\n## The `step` size of [MAML](x.ipynb)\n$x$")
    return run_of(
        judge(executed("00_sound", records=[GAP], cells=[heading, picture]), {"gap": [1, 2]}),
        judge(executed("01_off", records=[GAP]), {"gap": [1, 1.4], "lost": [0, 1]}),
        judge(executed("02_failed", status="failed", failure=failure), {}),
        Lesson(Outcome("03_later", "not run"), []),
    )


def test_metrics_hold_the_whole_run(mixed):
    metrics = json.loads(json.dumps(to_metrics(mixed), allow_nan=False))
    assert (metrics["profile"], metrics["seed"], metrics["ok"]) == ("smoke", 7, False)
    assert metrics["lessons"]["01_off"]["figures"]["gap"] == {
        "value": 1.5,
        "unit": "return",
        "low": 1,
        "high": 1.4,
        "verdict": "outside",
        "source": "code",
    }
    assert [each["ok"] for each in metrics["lessons"].values()] == [True, False, False, False]
    assert metrics["lessons"]["02_failed"]["error"] == "ZeroDivisionError: <0>"


def test_junit_counts_notebooks_and_figures(mixed):
    suite = ElementTree.fromstring(to_junit(mixed))
    assert {key: suite.get(key) for key in ("tests", "failures", "skipped", "errors")} == {
        "tests": "7",
        "failures": "3",
        "skipped": "1",
        "errors": "0",
    }
    messages = [case.get("message") for case in suite.iter("failure")]
    assert messages == [
        "gap = 1.5 return is outside 1 to 1.4",
        "lost was not recorded; expected 0 to 1",
        "cell 2: ZeroDivisionError: <0>",
    ]


def test_the_report_is_one_page_that_shows_everything(mixed, tmp_path):
    write_report(tmp_path / "report.html", mixed, History([], None))
    page = (tmp_path / "report.html").read_text()
    assert "3 of 4 lessons need attention" in page
    assert "&lt;bell&gt; &amp; more" in page
    assert "Cell 2: ZeroDivisionError: &lt;0&gt;" in page
    assert f'src="data:image/png;base64,{PIXEL}"' in page
    assert 'aria-label="gap = 1.5 return is outside 1 to 1.4"' in page
    for outside in ("http://", "https://", "<script", "<link", "@import"):
        assert outside not in page
    assert page.count("<img") == page.count("alt=") == 1
    ids = [part.split('"')[0] for part in page.split(' id="')[1:]]
    assert len(ids) == len(set(ids)) == 5


def test_pictures_stand_under_the_nearest_heading(mixed):
    (picture,) = pictures(mixed.lessons[0].outcome.notebook)
    assert picture.caption == "Figure 1, from “The step size of MAML”"
    assert "The step size of MAML" in picture.alternative
    assert title(mixed.lessons[0]) == "The lesson"
    assert title(mixed.lessons[3]) == "03_later"


@pytest.mark.parametrize(
    ("value", "low", "high", "place"),
    [(1, 1, 3, 25), (3, 1, 3, 75), (2, 1, 3, 50), (99, 1, 3, 97), (-99, 1, 3, 3), (1, 1, 1, 50)],
)
def test_where_a_value_stands_on_its_bar(value, low, high, place):
    assert position(Figure("x", value, "", low, high, "")) == place


# ------------------------------------------------------------------ choosing and judging


def test_refuses_unknown_profiles_lessons_and_folders(tmp_path):
    root = write_course(tmp_path / "course", lesson_00_start=LESSON)
    with pytest.raises(ValueError, match="unknown profile 'fast': choose one of smoke, class"):
        run_course(root, profile="fast")
    with pytest.raises(ValueError, match="unknown lesson '09_x': choose from 00_start"):
        run_course(root, lessons=["09_x"])
    for seed in (-1, 2.5, "3", True, None):
        with pytest.raises(ValueError, match="seed must be a whole number from 0"):
            run_course(root, seed=seed)
    with pytest.raises(ValueError, match="unknown parameter 'sead': this notebook has"):
        run_course(root, given={"sead": 3})
    assert not (root / "runs").exists()  # nothing was run for it
    with pytest.raises(ValueError, match="there is no lesson: are you in the course's folder"):
        run_course(tmp_path)


def test_a_folder_that_cannot_be_made_is_said_before_any_lesson_runs(tmp_path):
    root = write_course(tmp_path / "course", lesson_00_start=LESSON)
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match=r"cannot write to .*name another folder with --out"):
        run_course(root, profile="smoke", out=tmp_path / "file" / "out")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("not json", r"ranges.json is not JSON \(Expecting value"),
        ("[1, 2]", "should map lessons to profiles, got"),
        ('{"00": 3}', "00 should map profiles to figures, got 3"),
        ('{"00": {"smoke": [1, 2]}}', "00 should map profiles to figures"),
        ('{"00": {"fast": {}}}', "00 has ranges for the unknown profile 'fast'"),
        ('{"00": {"smoke": {"gap": [1]}}}', r"00, smoke, gap should be \[low, high\], got \[1\]"),
        ('{"00": {"smoke": {"gap": [2, 1]}}}', r"gap should be \[low, high\]"),
        ('{"00": {"smoke": {"gap": [0, NaN]}}}', r"gap should be \[low, high\]"),
        ('{"00": {"smoke": {"gap": [0, "1"]}}}', r"gap should be \[low, high\]"),
    ],
)
def test_ranges_that_cannot_be_read_are_refused_before_any_lesson_runs(tmp_path, text, message):
    root = write_course(tmp_path, lesson_00_start=LESSON)
    (root / "notebooks/ranges.json").write_text(text)
    with pytest.raises(ValueError, match=f"{message}.*restore the file, or run") as caught:
        run_course(root, profile="smoke")
    assert str(root / "notebooks/ranges.json") in str(caught.value)
    assert not (root / "runs").exists()


UNSOLVED = (
    "[exercise 1.1] not solved yet: replace raise NotImplementedError and run the cell again."
)


@pytest.mark.parametrize(
    ("state", "status", "error", "ok"),
    [
        ("unsolved", "failed", f"NotSolved: {UNSOLVED}", True),
        ("unsolved", "passed", None, False),
        ("unsolved", "timed out", f"NotSolved: {UNSOLVED}", False),
        ("unsolved", "failed", "NotSolved: [exercise 1.2] not solved yet: x", False),
        ("unsolved", "failed", "NotImplementedError: exercise 1.1", False),
        ("reference", "passed", None, True),
        ("reference", "failed", "KeyError: 'x'", False),
        ("solved", "failed", "KeyError: 'x'", False),
    ],
)
def test_how_each_state_should_end(state, status, error, ok):
    failure = error and Failure(5, "", error, "")
    log = error.partition(": ")[2] if error else ""
    outcome = Outcome(f"01_first--{state}", status, 1.0, None, failure, log)
    result = states._judge_state(outcome, {"01_first": "1.1"})
    assert (result.name, result.state, result.ok) == ("01_first", state, ok)
    assert bool(result.detail) != ok


def test_a_stack_below_the_message_is_not_one_line():
    log = f"{UNSOLVED}\n  File somewhere, line 3"
    failure = Failure(5, "", f"NotSolved: {UNSOLVED}", "")
    outcome = Outcome("01_first--unsolved", "failed", 1.0, None, failure, log)
    assert not states._judge_state(outcome, {"01_first": "1.1"}).ok


# ------------------------------------------------------------------ through papermill


@pytest.mark.papermill
def test_runs_a_course_and_hides_nothing(tmp_path, capsys):
    broken = lesson("def divide(x):\n    return 1 / x\n\n\ndivide(0)")
    root = write_course(
        tmp_path,
        lesson_00_start=LESSON,
        lesson_01_broken=broken,
        lesson_02_unsound=LESSON.replace("parameters", "parameter"),
        lesson_03_last=LESSON,
    )
    (root / "notebooks/00_start.ipynb").write_text("stale")
    ranges = {name: {"smoke": {"gap": [3.9, 4.1]}} for name in ("00_start", "03_last")}
    (root / "notebooks/ranges.json").write_text(json.dumps(ranges))
    assert run_course(root, profile="smoke", seed=3, jobs=2) == 1
    shown = capsys.readouterr().out
    (folder,) = (root / "runs").iterdir()
    assert folder.name.endswith("-smoke-seed3")
    metrics = json.loads((folder / "metrics.json").read_text())
    found = {name: (each["status"], each["ok"]) for name, each in metrics["lessons"].items()}
    assert found == {
        "00_start": ("passed", True),
        "01_broken": ("failed", False),
        "02_unsound": ("failed", False),
        "03_last": ("passed", True),
    }
    assert metrics["lessons"]["03_last"]["figures"]["gap"]["value"] == 4.0
    assert metrics["lessons"]["03_last"]["figures"]["gap"]["verdict"] == "inside"
    assert "01_broken, cell 4: ZeroDivisionError: division by zero" in shown
    assert "  | divide(0)" in shown
    assert "no code cell is tagged parameters" in shown
    assert "2 of 4 lessons are as they should be" in shown
    assert shown.endswith(f"report: {folder / 'report.html'}\n")
    assert "\x1b" not in shown
    for name in ("report.html", "junit.xml", "01_broken.log", "01_broken.ipynb"):
        assert (folder / name).stat().st_size
    again = run_course(root, profile="smoke", seed=3, lessons=["03_last"], out=tmp_path / "out")
    assert again == 0
    ranges["03_last"]["smoke"]["gap"] = [5, 6]
    (root / "notebooks/ranges.json").write_text(json.dumps(ranges))
    assert run_course(root, profile="smoke", seed=3, lessons=["03_last"]) == 1
    assert "gap = 4 return is outside 5 to 6" in capsys.readouterr().out


HANG = """
import os, pathlib, subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(300)"])
pathlib.Path(pids).write_text(f"{os.getpid()} {child.pid}")
time.sleep(300)
"""


@pytest.mark.papermill
def test_the_cap_of_the_clock_kills_papermill_its_kernel_and_their_children(tmp_path):
    pids = tmp_path / "pids"
    job = Job(notebook(HANG), tmp_path / "out/x.ipynb", tmp_path, {"pids": str(pids)})
    numbers = []
    with kernel_environment() as environment:
        outcome = execute(job, Limits(600, 15), environment, on_cell=numbers.append)
    assert outcome.status == "timed out"
    assert outcome.seconds >= 15
    assert outcome.failure.cell == 2
    assert outcome.failure.error == "the notebook had not ended after 15 s, its cap by the clock"
    assert "time.sleep(300)" in outcome.failure.source
    assert numbers == [1, 2, 3]
    assert _all_dead(pids)


def _all_dead(pids: Path) -> bool:
    numbers = [int(number) for number in pids.read_text().split()]
    alive = [psutil.Process(number) for number in numbers if psutil.pid_exists(number)]
    return all(process.status() == psutil.STATUS_ZOMBIE for process in alive)


@pytest.mark.papermill
def test_work_without_end_is_stopped_by_what_it_burns_in_its_children_too(tmp_path):
    spin = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'while True: pass'])"
    job = Job(notebook(spin, "1"), tmp_path / "x.ipynb", tmp_path, {})
    with kernel_environment() as environment:
        outcome = execute(job, Limits(8, 3600), environment)
    assert outcome.status == "timed out"
    assert outcome.failure.cell == 2
    assert outcome.failure.error == "the notebook used up its cap of 8 CPU-seconds"


@pytest.mark.papermill
def test_a_run_that_is_killed_leaves_no_kernel(tmp_path):
    hang = HANG.replace("pids)", repr(str(tmp_path / "pids")) + ")")
    root = write_course(tmp_path, lesson_00_hang=lesson(hang))
    code = (
        "import pathlib; from bomrl_lite.course.running.runner import run_course\n"
        f"run_course(pathlib.Path({str(root)!r}), profile='smoke')"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 90
    while not (tmp_path / "pids").exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    process.kill()
    process.wait(30)
    deadline = time.monotonic() + 30
    while not _all_dead(tmp_path / "pids") and time.monotonic() < deadline:
        time.sleep(0.1)
    assert _all_dead(tmp_path / "pids")


RAISING = """
import ipywidgets as w
slider = w.IntSlider(min=1)
w.interactive_output(lambda x: 1 / (x - 1), {"x": slider})
"""


@pytest.mark.papermill
@pytest.mark.parametrize(
    ("text", "cell", "error"),
    [
        ("import sys; sys.exit(0)", 2, None),
        ("import sys; print('note', file=sys.stderr)", 2, "it wrote to stderr: 'note'"),
        ("import warnings; warnings.warn('old')", 2, "it wrote to stderr: "),
        (RAISING, 0, "in a widget: it ended in ZeroDivisionError: division by zero"),
        ("import os; os._exit(3)", 2, None),
    ],
    ids=["exit", "stderr", "warning", "widget", "death"],
)
def test_a_lesson_that_only_seems_to_pass_is_named(tmp_path, text, cell, error):
    job = Job(notebook(text, "2"), tmp_path / "x.ipynb", tmp_path, {"seed": 1})
    with kernel_environment() as environment:
        outcome = execute(job, Limits(600, 600), environment)
    assert outcome.status == "failed"
    assert outcome.failure.cell == cell
    assert outcome.failure.error.startswith(error or "")
    assert outcome.failure.error


@pytest.mark.papermill
@pytest.mark.parametrize("signal_sent", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_kills_the_child_and_reports_what_ran(tmp_path, signal_sent):
    hang = HANG.replace("pids)", repr(str(tmp_path / "pids")) + ")")
    root = write_course(
        tmp_path, lesson_00_start=LESSON, lesson_01_hang=lesson(hang), lesson_02_later=LESSON
    )
    code = (
        "import sys, pathlib; from bomrl_lite.course.running.runner import run_course\n"
        f"root = pathlib.Path({str(root)!r})\n"
        "sys.exit(run_course(root, profile='smoke', out=root / 'out'))"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 90
    while not (tmp_path / "pids").exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    process.send_signal(signal_sent)
    shown, _ = process.communicate(timeout=30)
    assert process.returncode == 130, shown
    metrics = json.loads((root / "out/metrics.json").read_text())
    found = {name: each["status"] for name, each in metrics["lessons"].items()}
    assert found == {"00_start": "passed", "01_hang": "stopped", "02_later": "not run"}
    assert "stopped by hand" in (root / "out/report.html").read_text()
    assert _all_dead(tmp_path / "pids")


@pytest.mark.papermill
def test_the_kernel_is_this_interpreter_whatever_the_user_has_registered(tmp_path, monkeypatch):
    """A user's python3 kernel, start-up file, back end and warning filters must not come in."""
    trap = tmp_path / "data/kernels/python3"
    trap.mkdir(parents=True)
    spec = {"argv": ["/bin/false", "{connection_file}"], "display_name": "trap", "language": "x"}
    (trap / "kernel.json").write_text(json.dumps(spec))
    startup = tmp_path / "ipython/profile_default/startup/00.py"
    startup.parent.mkdir(parents=True)
    startup.write_text("trapped = True")
    monkeypatch.setenv("JUPYTER_DATA_DIR", str(trap.parents[1]))
    monkeypatch.setenv("JUPYTER_PATH", str(trap.parents[1]))
    monkeypatch.setenv("JUPYTER_PREFER_ENV_PATH", "0")
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    monkeypatch.setenv("MPLBACKEND", "Agg")
    monkeypatch.setenv("PYTHONWARNINGS", "error")
    monkeypatch.setenv("PATH", os.defpath)
    monkeypatch.delenv("VIRTUAL_ENV", raising=False)
    text = (
        "import os, sys\nassert 'trapped' not in globals()\nassert not sys.warnoptions\n"
        "assert 'inline' in os.environ['MPLBACKEND']\nprint(sys.executable, sys.prefix)"
    )
    job = Job(notebook(text), tmp_path / "x.ipynb", tmp_path, {})
    with kernel_environment() as environment:
        outcome = execute(job, Limits(600, 600), environment)
    assert outcome.status == "passed", outcome.log
    printed = outcome.notebook.cells[-1].outputs[0].text
    assert printed.strip() == f"{sys.executable} {sys.prefix}"


@pytest.mark.papermill
def test_the_three_states_of_an_exercise_set(tmp_path):
    stuck = EXERCISES.replace("print(double(4))", "assert double(4) == 9")
    root = write_course(tmp_path, exercises_01_first=EXERCISES, exercises_02_stuck=stuck)
    results = {(each.name, each.state): each for each in run_states(root, jobs=2)}
    assert [results["01_first", state].ok for state in states.STATES] == [True] * 3
    assert [results["02_stuck", state].ok for state in states.STATES] == [True, False, False]
    assert "cell 6: AssertionError" in results["02_stuck", "solved"].detail


@pytest.mark.papermill
def test_a_stack_trace_in_the_unsolved_state_is_found(tmp_path):
    long = EXERCISES.replace("_render_traceback_", "_other")
    root = write_course(tmp_path, exercises_01_first=long)
    (result,) = run_states(root, states=["unsolved"])
    assert not result.ok
    assert "should stop with '[exercise 1.1] not solved yet: '" in result.detail


def test_nothing_runs_after_a_stop(tmp_path, monkeypatch):
    """An interrupt while the first job runs leaves the others unstarted."""

    def interrupted(futures, timeout):
        raise KeyboardInterrupt

    def wait_for_stop(job, limits, environment, *, on_cell, stop):
        stop.wait(10)
        return Outcome(job.output.stem, "stopped")

    monkeypatch.setattr(batch, "wait", interrupted)
    monkeypatch.setattr(batch, "execute", wait_for_stop)
    jobs = [Job(notebook(), tmp_path / f"{name}.ipynb", tmp_path, {}) for name in "abc"]
    outcomes, was_interrupted = execute_all(jobs, Limits(1, 1), 1)
    assert was_interrupted
    assert [outcome.status for outcome in outcomes][1:] == ["not run", "not run"]


def progress_of_two(tmp_path, **kind) -> tuple[str, dict[str, tuple]]:
    """Show one notebook that ends at its first cell, and one that never ends."""
    file = io.StringIO()
    with make_bars(Console(file=file, width=80, **kind)) as bars:
        progress = batch.Progress(bars, 2)
        for name in ("00_start", "01_next"):
            job = Job(notebook("1"), tmp_path / f"{name}.ipynb", tmp_path, {})
            progress.begin(job)
            progress.cell(job, 1)
        progress.end(Outcome("00_start", "passed", 1.25))
    return file.getvalue(), {t.description: (t.completed, t.total) for t in bars.tasks}


def test_bars_are_for_terminals_only(tmp_path):
    plain, _ = progress_of_two(tmp_path)
    assert plain == "00_start: started\n01_next: started\n00_start: passed in 1.2 s\n"
    live, bars = progress_of_two(tmp_path, force_terminal=True, color_system=None)
    assert "00_start: passed in 1.2 s" in live
    assert "started" not in live
    assert bars == {"notebooks": (1, 2), "01_next": (1, 2)}


def test_source_made_notebooks_are_run_never_committed_ones(tmp_path):
    root = write_course(tmp_path, lesson_00_start=LESSON)
    job = runner._lesson_job(root, Path("notebooks/src/00_start.py"), tmp_path / "out", {})
    assert job.notebook == make_lesson(root, Path("notebooks/src/00_start.py"))
    assert job.folder == root / "notebooks"
