"""The table of planted mistakes fits the code of today, and the two quickest are really caught.

All of them: ``python tests/planted.py`` (half an hour), ``--smoke`` and ``--class`` for lessons.
"""

import subprocess
from collections import Counter
from pathlib import Path

import planted
import pytest

PLANTS = planted.read_plants()
LESSONS = {path.stem for path in (planted.ROOT / "notebooks/src").glob("*.py")}
QUICKEST = ("normal density without the factor 1/2", "Fisher information of log sigma is 1")


def test_there_are_many_and_each_has_a_name():
    assert len(PLANTS) >= 40
    assert max(Counter(plant.name for plant in PLANTS).values()) == 1


def test_every_part_of_the_mathematics_has_some():
    counts = Counter(Path(plant.file).parts[1] for plant in PLANTS)
    rooms = {"adaptation", "physics", "policies", "rollout", "solvers", "tasks", "training"}
    rooms |= {"mdp.py", "theory.py"}
    assert all(counts[room] >= 2 for room in rooms), counts


@pytest.mark.parametrize("plant", PLANTS, ids=lambda plant: plant.name)
def test_a_mistake_fits_the_code(plant):
    text = (planted.ROOT / plant.file).read_text(encoding="utf-8")
    mutated = plant.planted_in(text)
    assert mutated != text
    compile(mutated, plant.file, "exec")
    assert 1 <= len(plant.tests) <= 3
    assert all((planted.ROOT / f"tests/test_{name}.py").exists() for name in plant.tests)
    assert set(plant.lessons) <= LESSONS
    assert bool(plant.lessons) != bool(plant.why)


def test_old_text_that_is_gone_or_ambiguous_is_refused():
    plant = planted.Plant("a sign", "a.py", "- x", "+ x", ("mdp",))
    assert plant.planted_in("y - x") == "y + x"
    for text in ("y + x", "y - x - x"):
        with pytest.raises(ValueError, match="a sign"):
            plant.planted_in(text)


def test_what_is_planted_is_taken_out_again(tmp_path):
    plant = planted.Plant("a sign", "a.py", "- x", "+ x", ("mdp",))
    (tmp_path / "a.py").write_text("y - x")
    with planted.planted(tmp_path, plant):
        assert (tmp_path / "a.py").read_text() == "y + x"
    assert (tmp_path / "a.py").read_text() == "y - x"


def test_two_are_caught_by_their_tests_and_without_them_all_is_well(tmp_path):
    """In a copy of the project, whose tests must import the package of the copy."""
    root = planted.copy_project(tmp_path)
    plants = [plant for plant in PLANTS if plant.name in QUICKEST]
    for watcher in {plant.tests[0] for plant in plants}:
        assert planted.caught_by(root, "tests", watcher) == ""
    for plant in plants:
        with planted.planted(root, plant):
            assert planted.caught_by(root, "tests", plant.tests[0]).startswith("test_")


def test_the_runner_says_what_was_missed_and_what_is_required(capsys):
    seen, unseen = (planted.Verdict(PLANTS[0], "smoke", "a lesson", by) for by in ("a figure", ""))
    assert planted._reaches_bar("smoke", [seen] * 7 + [unseen] * 3)
    assert not planted._reaches_bar("smoke", [seen] * 6 + [unseen] * 4)
    assert "6 of 10 caught, 70% are to be" in capsys.readouterr().out


def test_the_result_of_a_lesson_is_its_first_wrong_figure():
    def child(text, code=0):
        return subprocess.CompletedProcess([], code, stdout=text, stderr="killed")

    assert planted._read_lesson(child("missed\n")) == ""
    assert planted._read_lesson(child("caught by x is outside\nmore\n")) == "x is outside"
    assert planted._read_lesson(child("", 9)) == "died: killed"
    assert planted._read_pytest(child("1 passed")) == ""
    assert planted._read_pytest(child("FAILED tests/a.py::b - assert", 1)) == "b"
    with pytest.raises(RuntimeError, match="could not run"):
        planted._read_pytest(child("no tests ran", 5))
