"""What is special about the checks of exercise set 03: their oracles, slips and refusals."""

import numpy as np
import pytest
import torch
from answers_03 import solve

from bomrl_lite.course import checks
from bomrl_lite.course.checks import CheckFailed
from bomrl_lite.course.checks import _oracles03 as adapted
from bomrl_lite.course.checks import _questions03 as questions
from bomrl_lite.course.checks._engine import EXPLAINED
from bomrl_lite.course.checks._oracles import policy_return
from bomrl_lite.course.checks.set03 import CHECKS

NAMES = [check.name for check in CHECKS]


def check_of(name):
    return getattr(checks, name)


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.name)
def test_the_solution_equals_the_package(check):
    solution = solve(check.name)
    for question in check.make_questions():
        ours, theirs = (
            check.gauge(answer.numpy())
            for answer in (solution(*question.args), check.reference(*question.args))
        )
        assert np.abs(ours - theirs).max() <= 1e-12 * max(1.0, np.abs(theirs).max())


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.name)
def test_the_case_done_by_hand_agrees_with_the_package(check):
    """The literal solutions were found on paper; the package only confirms them."""
    by_hand, *others = check.make_questions()
    assert by_hand.by_hand
    assert not any(question.by_hand for question in others)
    got = check.gauge(check.reference(*by_hand.args).numpy())
    np.testing.assert_allclose(got, by_hand.expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.name)
def test_no_known_slip_looks_like_a_right_answer(check):
    """On each instance that decides about a cause, the slip's answer must be really wrong."""
    questions = check.make_questions()[1:EXPLAINED]
    for cause in questions[0].slips():
        apart = [
            np.shape(q.slips()[cause]) != q.expected.shape
            or not np.abs(q.slips()[cause] - q.expected).max() <= 1e-4
            for q in questions
        ]
        assert all(apart), cause


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.name)
def test_no_two_slips_look_alike(check):
    """A cause may be named only if no other one explains the answers as well."""
    questions = check.make_questions()[1:EXPLAINED]
    slips = [q.slips() for q in questions]
    for one in slips[0]:
        for other in slips[0]:
            if one < other:
                assert any(
                    np.shape(s[one]) != np.shape(s[other])
                    or not np.abs(s[one] - s[other]).max() <= 1e-6
                    for s in slips
                ), (one, other)


@pytest.mark.parametrize("kind", ["d1", "d2"])
def test_the_oracle_of_alg_finds_the_best_of_a_fine_grid(kind):
    """Two actions: every policy is one number, so the maximum can be seen."""
    draw = np.random.default_rng(0)
    probs = np.linspace(1e-6, 1 - 1e-6, 200_001)
    grid = np.stack([probs, 1 - probs], -1)
    for lam in (0.05, 0.4, 3.0):
        phi, q = draw.normal(size=(1, 2)), draw.normal(size=(1, 2))
        gains = adapted.gain(np.log(grid), phi, q, lam, kind)
        best = np.exp(adapted.best_logits(phi, q, lam, kind))
        assert abs(best[0, 0] / best.sum() - probs[gains.argmax()]) < 1e-5


def test_the_oracle_of_kl_is_the_definition():
    phi, theta = np.random.default_rng(1).normal(size=(2, 4, 3))
    p, r = (np.exp(x) / np.exp(x).sum(-1, keepdims=True) for x in (phi, theta))
    np.testing.assert_allclose(adapted.kl(phi, theta), (p * np.log(p / r)).sum(-1), rtol=1e-12)


def test_at_a_safe_lam_the_bound_lies_below_the_return_of_every_policy():
    draw = np.random.default_rng(2)
    for case in questions.cases():
        lam = adapted.safe_lam(case.world)
        for scale in (1e-3, 0.1, 1.0, 5.0):
            theta = case.world.logits + scale * draw.normal(size=case.theta.shape)
            bound = adapted.lower_bound(theta, case.world, lam)
            assert bound <= policy_return(theta, case.world) + 1e-12


def test_the_root_is_found_from_the_left_end_for_any_prior_and_weight():
    """What hint 3.4 promises: thirty Newton steps are enough, and no probability is negative."""
    solution = solve("adapt_d1")
    generator = torch.Generator().manual_seed(0)
    for _ in range(200):
        phi, q = (
            scale * torch.randn(5, 4, dtype=torch.float64, generator=generator) for scale in (3, 5)
        )
        lam = 10 ** torch.empty(()).uniform_(-2, 3, generator=generator).item()
        probs = solution(phi, q, lam).exp()
        assert (probs > 0).all()
        # mu - Q is as precise as Q is, so its relative error grows with max Q / (lam pi_phi)
        assert (probs.sum(-1) - 1).abs().max() < 1e-9


def test_comparisons_cannot_be_bought(monkeypatch):
    for module, name in ((torch, "allclose"), (torch, "equal"), (np, "allclose"), (np, "isclose")):
        monkeypatch.setattr(module, name, lambda *_, **__: True)
    with pytest.raises(CheckFailed):
        checks.adapt_d2(lambda phi, q, lam: torch.zeros_like(phi))
