"""What is special about the checks of exercise set 01: their oracles, slips and refusals."""

import numpy as np
import pytest
import torch
from answers_01 import solve

from bomrl_lite.course import checks
from bomrl_lite.course.checks import CheckFailed
from bomrl_lite.course.checks._engine import EXPLAINED
from bomrl_lite.course.checks._oracles import complex_step, policy_return, return_gradient
from bomrl_lite.course.checks._questions import random_worlds
from bomrl_lite.course.checks.set01 import CHECKS

NAMES = [check.name for check in CHECKS]


def check_of(name):
    return getattr(checks, name)


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.name)
def test_the_solution_equals_the_package(check):
    solution = solve(check.name)
    for question in check.make_questions():
        ours, theirs = solution(*question.args), check.reference(*question.args)
        assert (ours - theirs).abs().max() <= 1e-12 * max(1.0, theirs.abs().max())


def test_comparisons_cannot_be_bought(monkeypatch):
    for module, name in ((torch, "allclose"), (torch, "equal"), (np, "allclose"), (np, "isclose")):
        monkeypatch.setattr(module, name, lambda *_, **__: True)
    with pytest.raises(CheckFailed):
        checks.q_values(lambda policy_probs, task, gamma: torch.zeros_like(task.reward))


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.name)
def test_the_case_done_by_hand_agrees_with_the_oracle(check):
    """The literal solutions were found on paper; the package only confirms them."""
    by_hand, *others = check.make_questions()
    assert by_hand.by_hand
    assert not any(question.by_hand for question in others)
    got = check.reference(*by_hand.args)
    np.testing.assert_allclose(got, by_hand.expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.name)
def test_no_known_slip_looks_like_a_right_answer(check):
    """On each instance that decides about a cause, the slip's answer must be really wrong."""
    questions = check.make_questions()[1:EXPLAINED]
    for cause in questions[0].slips():
        apart = [
            np.shape(q.slips()[cause]) != q.expected.shape
            or np.abs(q.slips()[cause] - q.expected).max() > 1e-4
            for q in questions
        ]
        assert all(apart), cause


def test_the_complex_step_is_exact_and_batched():
    world = random_worlds()[1]
    x = np.stack([world.logits, world.logits + 0.3])
    cubes = complex_step(lambda y: (y**3).sum((-2, -1)), x)
    np.testing.assert_allclose(cubes, 3 * x**2, rtol=1e-14)
    np.testing.assert_allclose(return_gradient(x, world)[0], return_gradient(x[0], world))
    assert policy_return(x, world).shape == (2,)
