"""The course's own notebooks: what is committed, the fast road, and papermill as the judge."""

from pathlib import Path

import pytest

from bomrl_lite.course.building.build import find_problems
from bomrl_lite.course.building.plan import exercise_set, exercise_sources, lesson_sources
from bomrl_lite.course.notebook import read_records
from bomrl_lite.course.running.in_process import run_in_process
from bomrl_lite.course.running.results import describe, judge_one, ranges_at
from bomrl_lite.course.running.runner import run_course
from bomrl_lite.course.running.states import run_states

ROOT = Path(__file__).resolve().parents[1]
SMOKE = {"profile": "smoke", "seed": 0}
LESSONS, SETS = lesson_sources(ROOT), exercise_sources(ROOT)


def test_committed_notebooks_are_what_their_sources_make():
    assert [str(problem) for problem in find_problems(ROOT)] == []


@pytest.mark.parametrize("source", LESSONS, ids=lambda path: path.stem)
def test_a_lesson_runs_in_this_process(source):
    records = run_in_process(ROOT / source, SMOKE)
    assert records, "a lesson records what a regression would move"
    ranges = ranges_at(ROOT, SMOKE["seed"])[source.stem]["smoke"]
    figures = [judge_one(each, ranges.get(each["name"])) for each in records]
    assert [describe(f) for f in figures if f.verdict not in ("inside", "shown")] == []


@pytest.mark.parametrize("source", LESSONS, ids=lambda path: path.stem)
def test_every_figure_of_a_committed_lesson_has_a_range_and_is_inside(source):
    records = read_records(ROOT / "notebooks" / f"{source.stem}.ipynb")
    ranges = ranges_at(ROOT, 0)[source.stem]["class"]
    figures = [judge_one(each, ranges.get(each["name"])) for each in records]
    assert [describe(f) for f in figures if f.verdict not in ("inside", "shown")] == []
    assert set(ranges) <= {figure.name for figure in figures}


@pytest.mark.parametrize("source", SETS, ids=lambda path: path.stem)
def test_an_exercise_set_runs_solved_and_with_the_reference(source):
    notebooks = exercise_set(ROOT, source)
    run_in_process(notebooks.solved, {**SMOKE, "unsolved": "raise"}, ROOT / "solutions")
    run_in_process(notebooks.unsolved, {**SMOKE, "unsolved": "reference"}, ROOT / "exercises")


@pytest.mark.papermill
def test_every_lesson_passes_papermill_with_its_figures_in_range(tmp_path):
    assert run_course(ROOT, profile="smoke", out=tmp_path, jobs=2) == 0
    assert (tmp_path / "report.html").stat().st_size > 10_000


@pytest.mark.papermill
@pytest.mark.parametrize("state", ["unsolved", "reference", "solved"])
def test_every_exercise_set_behaves_in_each_state(state):
    results = run_states(ROOT, states=[state])
    assert [(result.name, result.detail) for result in results if not result.ok] == []
    assert len(results) == len(SETS)
