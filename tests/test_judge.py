"""The judge: what is right earns all, what is wrong earns what came before its first wrong step."""

import importlib
import inspect
import os
import socket
from pathlib import Path

import nbformat
import numpy as np
import pytest
import torch

from bomrl_lite.course.checks import CHECKS_BY_SET, CheckFailed
from bomrl_lite.course.checks.draws import instance, once
from bomrl_lite.course.checks.session import SESSION
from bomrl_lite.course.checks.steps import OPENING
from bomrl_lite.course.classroom.extract import extract
from bomrl_lite.course.classroom.judge import SET_UP, Judge, Limits
from bomrl_lite.course.classroom.proxy import Afar
from bomrl_lite.course.classroom.sandbox import Worker

ROOT = Path(__file__).parents[1]
SETS = tuple(CHECKS_BY_SET)
EVERY = [check for checks in CHECKS_BY_SET.values() for check in checks]
SEED = 11
SEEDS = range(int(os.environ.get("JUDGE_SEEDS", "1")))
"""JUDGE_SEEDS=20 draws twenty times as many instances for the references."""
WHOLE = bool(os.environ.get("JUDGE_WHOLE"))
"""JUDGE_WHOLE=1 judges every known wrong and right answer instead of some."""


@pytest.fixture(scope="module")
def judge():
    with Judge(seed=SEED) as judge:
        yield judge


@pytest.fixture(scope="module")
def isolated(judge):
    if judge.isolation.startswith("NOT ISOLATED"):
        pytest.skip(judge.isolation)
    return judge


@pytest.fixture
def drawn():
    """Set the seed of the instances, and forget it afterwards."""

    def draw(seed):
        SESSION.seed = seed

    yield draw
    SESSION.seed = None


def notebook(*cells):
    return nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])


def solution(number):
    (path,) = (ROOT / "solutions").glob(f"{number}_*.ipynb")
    return nbformat.read(path, as_version=4)


def solved_in(judge, number, name, *cells):
    """Judge one exercise of a set alone."""
    (check,) = (check for check in CHECKS_BY_SET[number] if check.name == name)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(CHECKS_BY_SET, number, (check,))
        (verdict,) = judge.judge(notebook(*cells), number)
    return verdict


@pytest.mark.parametrize("check", EVERY, ids=lambda check: check.name)
def test_every_exercise_is_worth_two_to_five_points_on_drawn_instances(check):
    names = [step.name for step in check.steps]
    assert 2 <= check.max_points <= 5
    assert set(check.points) <= set(names) - {step.name for step in OPENING} - {"by hand"}
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("number", SETS)
def test_the_solutions_earn_all_points(number, judge):
    verdicts = judge.judge(solution(number), number)
    assert [v.exercise for v in verdicts] == [c.exercise for c in CHECKS_BY_SET[number]]
    assert [v for v in verdicts if v.status != "solved" or v.points != v.max_points] == []
    assert {v.message for v in verdicts} == {""}


@pytest.mark.parametrize("number", SETS)
def test_the_exercises_as_they_are_handed_out_earn_nothing(number, judge):
    (path,) = (ROOT / "exercises").glob(f"{number}_*.ipynb")
    verdicts = judge.judge(nbformat.read(path, as_version=4), number)
    assert {(v.points, v.status) for v in verdicts} == {(0, "unsolved")}


def wrong_answers(number):
    answers = importlib.import_module(f"answers_{number}")
    per = len(answers.MUTANTS) if WHOLE else 1
    met: dict[str, int] = {}
    for mutant in answers.MUTANTS:
        if number in SET_UP and (mutant.step, mutant.cause) == ("runs", "float32"):
            continue  # right where the notebook has set the default
        met[mutant.name] = met.get(mutant.name, 0) + 1
        if met[mutant.name] <= per and (
            WHOLE or met.keys() <= set(list(answers.SOLUTIONS.code)[:4])
        ):
            yield answers, mutant


@pytest.mark.parametrize("number", SETS)
def test_wrong_answers_fail_where_they_do_in_the_notebook(number, judge):
    """Their points are those of the steps before: none is earned that was not deserved."""
    undeserved, told = [], []
    for answers, mutant in wrong_answers(number):
        book = solution(number)
        for cell in book.cells:
            if cell.cell_type == "code" and f"def {mutant.name}(" in cell.source:
                cell.source = answers.SOLUTIONS.code[mutant.name].replace(mutant.old, mutant.new)
        (check,) = (check for check in CHECKS_BY_SET[number] if check.name == mutant.name)
        verdict = solved_in(judge, number, mutant.name, *(code(book)))
        steps = [step.name for step in check.steps]
        deserved = sum(check.points.get(s, 0) for s in steps[: steps.index(mutant.step)])
        if verdict.points > deserved or verdict.status == "solved":
            undeserved.append((mutant.name, mutant.old, mutant.new, verdict))
        told.append(verdict.step == mutant.step)
        print(mutant.name, mutant.step, verdict.step, verdict.points, verdict.status)
    assert len(undeserved) <= (0.01 * len(told) if WHOLE else 0), undeserved
    assert sum(told) >= 0.95 * len(told)


def code(book):
    return [cell.source for cell in book.cells if cell.cell_type == "code"]


@pytest.mark.parametrize("number", SETS)
def test_right_answers_in_other_forms_earn_all_points(number, judge):
    variants = importlib.import_module(f"variants_{number}")
    text, failed = inspect.getsource(variants), []
    for name, forms in list(variants.VARIANTS.items())[: None if WHOLE else 3]:
        for place, _ in list(enumerate(forms))[: None if WHOLE else 1]:
            last = f'{name} = VARIANTS["{name}"][{place}]'
            verdict = solved_in(judge, number, name, text, last)
            if verdict.status != "solved":
                failed.append((name, place, verdict))
    assert failed == []


@pytest.mark.parametrize("number", SETS)
def test_every_reference_passes_on_whatever_is_drawn(number, drawn, capsys):
    for seed in SEEDS:
        drawn(1000 + seed)
        for check in CHECKS_BY_SET[number]:
            assert check(check.reference) is check.reference


def test_a_notebook_keeps_its_instances_and_a_grading_draws_its_own(judge, drawn):
    @once
    def numbers():
        return np.random.default_rng(instance(3)).normal(size=2)

    mine = numbers()
    np.testing.assert_array_equal(mine, np.random.default_rng(3).normal(size=2))
    assert numbers() is mine
    found = []
    for seed in (0, 3, 3, 5):
        drawn(seed)
        found.append(numbers()[0])
    assert found[1] == found[2]
    assert len({mine[0], *found}) == 4
    states, SESSION.states = SESSION.states, {"1.1": "open"}
    SESSION.unsolved = "reference"
    judge.judge(notebook(), "06")
    assert (SESSION.seed, SESSION.unsolved, SESSION.states) == (5, "reference", {"1.1": "open"})
    SESSION.unsolved, SESSION.states = "raise", states


WRONG_DEAL = (
    "import torch\ndef deal(values, num_episodes):\n    return torch.cat([values] * num_episodes)"
)
DEAL = "def deal(values, num_episodes):\n    return values.repeat_interleave(num_episodes, 0)"


def test_the_message_is_that_of_the_notebook(judge, drawn):
    drawn(SEED)
    (check,) = (check for check in EVERY if check.name == "deal")
    exec(WRONG_DEAL, space := {})
    with pytest.raises(CheckFailed) as caught:
        check(space["deal"])
    verdict = solved_in(judge, "06", "deal", WRONG_DEAL)
    assert verdict.message == str(caught.value)
    assert (verdict.step, verdict.cause) == (caught.value.step, caught.value.cause)
    assert "0, 0, 1, 1, 2, 2" in verdict.cause
    assert verdict == solved_in(judge, "06", "deal", WRONG_DEAL)


def test_an_exception_is_told_with_the_learners_line_and_its_cause(judge):
    text = "import torch\n\ndef deal(values, num_episodes):\n    return values + missing"
    verdict = solved_in(judge, "06", "deal", text)
    assert verdict.step == "runs"
    assert "NameError: name 'missing' is not defined" in verdict.message
    assert "in line 4 of your cell: return values + missing" in verdict.message
    assert "a typo" in verdict.cause


@pytest.mark.parametrize(
    "cells",
    [
        (DEAL, "1 / 0"),
        ("%matplotlib inline\nimport math", "%%time\n" + DEAL),
        ("def broken(:", "def deal(values", DEAL),
        ("def deal(values, n):\n    return None", DEAL),
        (DEAL, "deal = checks.deal(deal)"),
        ("def again(x, n):\n    return x.repeat_interleave(n, 0)", "deal = again"),
        ("deal = lambda values, n: again(values, n)", DEAL.replace("deal", "again")),
        ("import functools", "ZERO = 0", "@functools.wraps(print)\n" + DEAL.replace("0", "ZERO")),
        (DEAL.replace("deal(", "go(self, "), "class Deal:\n    __call__ = go", "deal = Deal()"),
        ("import bomrl_lite as bl\nfrom bomrl_lite.course import checks, plots", DEAL),
        ("table = {}\ntable['dim'] = 0", DEAL.replace(", 0)", ", table['dim'])")),
        ("if True:\n    dim = 0\nelse:\n    dim = 1", DEAL.replace(", 0)", ", dim)")),
        ("from math import *", DEAL.replace(", 0)", ", int(floor(0.5)))")),
        ("!ls\nx = !ls\n?deal\ndeal?", "print('a' * 10**6)", DEAL),
    ],
)  # fmt: skip
def test_an_answer_is_found_in_whatever_notebook(cells, judge):
    assert solved_in(judge, "06", "deal", *cells).status == "solved"


@pytest.mark.parametrize(
    ("cells", "status"),
    [
        ((), "missing"),
        (("x = 1",), "missing"),
        (("deal = checks.deal(deal)",), "missing"),
        (("def deal(values, n):\n    raise NotImplementedError",), "unsolved"),
        (("def deal(values, n):\n    raise NotImplementedError()",), "unsolved"),
        (("def deal(values, n):\n    raise NotImplementedError('exercise 6.3')",), "unsolved"),
        (("deal = 3",), "wrong"),
        (("deal = torch.nope",), "wrong"),
        (("def deal():\n    pass",), "wrong"),
        (("def deal(values, n):\n    return [values]",), "wrong"),
    ],
)
def test_what_is_no_answer_is_named(cells, status, judge):
    verdict = solved_in(judge, "06", "deal", *cells)
    assert (verdict.points, verdict.status) == (0, status)
    assert verdict.message


@pytest.mark.parametrize(
    ("cell", "reason"),
    [
        ("def deal(values, n)\n    return values[:n]", "line 1: expected ':'"),
        ("%%time\ndef deal(values, n):\nreturn values", "line 3: expected an indented block"),
    ],
)
def test_a_definition_that_is_no_python_is_told_from_one_that_is_missing(cell, reason, judge):
    verdict = solved_in(judge, "06", "deal", "x = (", cell)
    assert (verdict.points, verdict.status) == (0, "wrong")
    assert f"the cell that defines deal is not Python ({reason}" in verdict.message
    assert solved_in(judge, "06", "deal", cell, DEAL).status == "solved"


def test_only_what_an_answer_needs_is_taken_along():
    found = extract(notebook("import torch\nimport os", "x = 1\ny = x", "z = 2", DEAL), "deal")
    assert [s.source.splitlines()[0] for s in found] == [DEAL.splitlines()[0]]


def test_partial_points_are_those_of_the_steps_before(judge):
    book = code(solution("01"))
    cut = [
        text.replace("return task.reward +", "return task.reward + 0 * policy_probs +")
        for text in book
    ]
    detached = [
        text.replace("gamma * moves, paid", "gamma * moves.detach(), paid") for text in book
    ]
    assert solved_in(judge, "01", "q_values", *cut).points == 3
    verdict = solved_in(judge, "01", "q_values", *detached)
    assert (verdict.points, verdict.status, verdict.step) == (2, "partly", "differentiable")
    assert verdict.cause


def test_derivatives_by_torch_func_are_taken_by_torch_func(judge):
    """An answer that prepares its input with requires_grad_ works in one world only."""
    book = code(solution("01"))
    text = (
        "    probs = policy_probs\n"
        "    probs = probs if probs.requires_grad else probs.detach().clone()\n"
        "    probs.requires_grad_()\n    moves = torch.einsum('sa,sat->st', probs"
    )
    old = '    moves = torch.einsum("sa,sat->st", policy_probs'
    mixed = [cell.replace(old, text, 1) for cell in book]
    verdict = solved_in(judge, "01", "q_values", *mixed)
    assert (verdict.points, verdict.step) == (2, "differentiable")
    assert "under torch.func.grad" in verdict.message
    assert "use torch.func.grad here as well" in verdict.cause


FACTS = {
    "no network": "import socket\ntry:\n    socket.create_connection(('127.0.0.1', PORT), 1)\n"
    "    return 1\nexcept OSError:\n    return 0",
    "only its own loopback": "import socket\nreturn len(socket.if_nameindex()) - 1",
    "no course": "import os\nreturn sum(os.path.exists(p) for p in PATHS)",
    "no home": "import os\nreturn sum(len(os.listdir(p)) for p in ('/home',) if os.path.exists(p))",
    "nothing in /tmp but the worker": "import glob\n"
    "python = (sys.prefix, sys.base_prefix)  # which may lie there\n"
    "return len([p for p in glob.glob('/tmp/*') if not p.startswith('/tmp/judge')\n"
    "            and not any(x.startswith(p + '/') for x in python)])",
    "a read-only system": "import os\nfound = 0\n"
    "for p in ('/usr', '/etc', '/', '/dev', sys.prefix, '/bin'):\n"
    "    try:\n        open(os.path.join(p, 'marker'), 'w').close()\n        found += 1\n"
    "    except OSError:\n        pass\nreturn found",
    "a parent that cannot be read": "import os\ntry:\n"
    "    open(f'/proc/{os.getppid()}/mem', 'rb').close()\n"
    "    return 1\nexcept OSError:\n    return 0",
    "few processes": "import os\nreturn len([p for p in os.listdir('/proc') if p.isdigit()]) - 3",
    "no open file but its socket": "import os\n"
    "return sum(os.path.exists(f'/proc/self/fd/{fd}') for fd in range(3, 64)) - 1",
}  # fmt: skip


@pytest.mark.parametrize("fact", FACTS)
def test_an_answer_under_bubblewrap_finds(fact, isolated):
    hidden = [str(ROOT / "solutions"), str(ROOT / "bomrl_lite" / "course")]
    with socket.create_server(("127.0.0.1", 0)) as server:
        body = FACTS[fact].replace("PORT", str(server.getsockname()[1]))
        body = body.replace("PATHS", str(hidden))
        text = "import sys\ndef probe():\n" + "\n".join(f"    {x}" for x in body.splitlines())
        job = {"name": "probe", "statements": [[0, 1, text]], "seed": 0, "seconds": 5}
        afar = Afar(isolated._worker, job | {"memory_mib": 512, "file_mib": 1, "processes": 0})
        afar.ask(None)
        try:
            assert afar() <= 0
        finally:
            afar.close()


def test_without_bubblewrap_the_judge_says_so_and_still_judges():
    with Judge(seed=1, sandbox="none", limits=Limits(seconds=5)) as judge:
        assert judge.isolation.startswith("NOT ISOLATED")
        assert "bubblewrap" in judge.isolation
        assert solved_in(judge, "06", "deal", DEAL).status == "solved"
        lent = solved_in(
            judge, "06", "deal", "import bomrl_lite.tasks.locomotion as l\ndeal = l.deal"
        )
        assert lent.status == "refused"


def test_a_missing_sandbox_that_is_insisted_on_is_an_error(monkeypatch):
    monkeypatch.setenv("PATH", "")
    with pytest.raises(RuntimeError, match="bubblewrap: it is not installed"):
        Worker(sandbox="bubblewrap")


def test_an_interpreter_that_does_not_start_is_named_with_its_words(monkeypatch, tmp_path):
    broken = tmp_path / "python"
    broken.write_text("#!/bin/sh\necho no torch here >&2\nexit 1\n")
    broken.chmod(0o755)
    monkeypatch.setattr("sys.executable", str(broken))
    with pytest.raises(RuntimeError, match=r"does not start:\nno torch here"):
        Judge(sandbox="none")


def test_the_default_dtype_is_that_of_the_sets_notebook(judge):
    probe = "import torch\ndef {}(*args):\n    return torch.zeros(2)"
    dtype = solved_in(judge, "06", "speed_reward", probe.format("speed_reward"))
    double = solved_in(judge, "02", "discounted_returns", probe.format("discounted_returns"))
    assert (dtype.step, double.step) == ("shape", "shape")
    assert torch.get_default_dtype() == torch.float32
