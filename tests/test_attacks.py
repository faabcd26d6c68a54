"""Attacks on the judge: none earns a point that it has not earned, none leaves anything behind."""

import socket
from pathlib import Path

import attacks
import nbformat
import pytest

from bomrl_lite.course import checks
from bomrl_lite.course.checks.set06 import oracles
from bomrl_lite.course.classroom import proxy
from bomrl_lite.course.classroom.judge import Judge, Limits

FILES = {
    "a file outside",
    "the oracle is loaded from its file",
    "another submission is looked for",
    "the network",
}
"""What only bubblewrap prevents."""


@pytest.fixture(scope="module")
def judge():
    with Judge(seed=7, limits=Limits(seconds=2, memory_mib=512, file_mib=4)) as judge:
        yield judge


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setattr(proxy, "WALL_SECONDS", 2.0)


@pytest.fixture(scope="module")
def listener():
    """A server of our own, which an answer must not reach."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def notebook(*cells: str) -> nbformat.NotebookNode:
    return nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])


def visible() -> str:
    """Return an answer that knows the instances of the notebook by heart."""
    known = {
        str(values.flatten()[:2].tolist()): question.expected.tolist()
        for question in checks.deal.make_questions()
        for values in question.args[:1]
    }
    return attacks.answer(
        f"known = {known}\n"
        "found = known.get(str(values.flatten()[:2].tolist()))\n"
        "shape = values.repeat_interleave(num_episodes, 0)\n"
        "return torch.tensor(found, dtype=torch.float64) if found else 0 * shape"
    )


def deal(judge, text):
    return judge.judge(notebook(text), "06")[2]


def test_there_are_enough_attacks_and_a_right_answer_passes(judge):
    assert len(attacks.ATTACKS) >= 25
    assert deal(judge, attacks.RIGHT).status == "solved"


@pytest.mark.parametrize("name", attacks.ATTACKS)
def test_an_attack_earns_nothing_and_leaves_nothing(name, judge, tmp_path, listener):
    isolated = not judge.isolation.startswith("NOT ISOLATED")
    if name in FILES and not isolated:
        pytest.skip(f"without bubblewrap: {judge.isolation}")
    marker, other = tmp_path / "marker", tmp_path / "other.ipynb"
    nbformat.write(notebook(attacks.RIGHT), other)
    text = attacks.ATTACKS[name]
    text = visible() if text == "VISIBLE" else text
    for place, value in (
        ("MARKER", marker),
        ("ORACLES", Path(oracles.__file__)),
        ("SHARE", tmp_path),
        ("PORT", listener),
    ):
        text = text.replace(place, str(value))
    verdict = deal(judge, text)
    assert verdict.points == 0
    assert verdict.status in ("wrong", "unsolved", "refused", "missing")
    assert verdict.message
    assert not marker.exists()


def test_after_all_attacks_the_judge_still_judges(judge):
    """Runs last: the worker was killed, robbed and lied to."""
    assert deal(judge, attacks.RIGHT).status == "solved"


def test_what_is_lent_is_refused_by_name(judge):
    verdict = deal(judge, attacks.ATTACKS["the package's own function, called"])
    assert verdict.status == "refused"
    assert "bomrl_lite.tasks" in verdict.message
    assert "not lent" in verdict.message


def test_an_answer_by_heart_passes_in_the_notebook_only(judge):
    """The attack is a real one: the notebook's own instances are known to it."""
    space: dict = {}
    exec(visible(), space)
    assert checks.deal(space["deal"]) is space["deal"]
    assert deal(judge, visible()).step == "random values"
