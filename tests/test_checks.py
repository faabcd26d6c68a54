"""The checks of all exercise sets, both ways: wrong answers named, right ones accepted."""

import importlib
import itertools
from collections import Counter

import numpy as np
import pytest
import torch

from bomrl_lite.course import checks
from bomrl_lite.course.checks import CheckFailed
from bomrl_lite.course.checks.engine import EXPLAINED
from bomrl_lite.course.checks.steps import VAGUE

SETS = {
    number: tuple(
        importlib.import_module(module)
        for module in (
            f"answers_{number}",
            f"variants_{number}",
            f"bomrl_lite.course.checks.set{number}.checks",
        )
    )
    for number in ("01", "02", "03", "04", "05", "06")
}
"""Number of the set -> its answers, its right answers in other forms, its checks."""

VERDICTS: dict = {}
"""Wrong answer -> the cause that it was told, as the tests find out."""

MUTANTS = [(answers, mutant) for answers, _, _ in SETS.values() for mutant in answers.MUTANTS]
SOLUTIONS = [
    (answers, check, f"{int(number)}.{place}")
    for number, (answers, _, module) in SETS.items()
    for place, check in enumerate(module.CHECKS, 1)
]
FORMS = [
    (name, form)
    for _, variants, _ in SETS.values()
    for name, forms in variants.VARIANTS.items()
    for form in forms
]
CHECKS = [check for _, _, module in SETS.values() for check in module.CHECKS]
COMPARED = [case for case in SOLUTIONS if case[1] is not checks.middle_policy]
"""Checks that compare answers; 5.3 judges a policy by its mean distance."""

TOLD_APART_BY_HAND = checks.returns_at_budget
"""Two of its slips give the same answers but in the case by hand: costs that are not added up, and
the last return."""


def identity(value):
    if hasattr(value, "step"):
        return f"{value.name}-{value.step}-{value.cause or 'unnamed'}"
    return getattr(value, "name", None) or getattr(value, "__name__", None)


@pytest.mark.parametrize(("answers", "mutant"), MUTANTS, ids=identity)
def test_a_wrong_answer_fails_at_its_step_with_its_cause(answers, mutant):
    with pytest.raises(CheckFailed) as caught:
        getattr(checks, mutant.name)(answers.solve(mutant.name, mutant.old, mutant.new))
    assert caught.value.step == mutant.step
    VERDICTS[mutant] = caught.value.cause
    if mutant.cause is None:  # it is named by no cause, and so by no wrong one
        assert caught.value.cause in (None, *VAGUE)
    else:
        assert mutant.cause in (caught.value.cause or "")


def test_most_wrong_answers_are_told_their_cause():
    """Vague causes do not count, nor answers whose listed cause is one of them."""
    listed = [mutant for _, mutant in MUTANTS]
    named = [m for m in listed if m.cause and not any(m.cause in vague for vague in VAGUE)]
    assert len(named) >= 0.85 * len(listed)
    if len(VERDICTS) == len(set(listed)):  # the whole file was run
        assert sum(cause not in (None, *VAGUE) for cause in VERDICTS.values()) >= 0.85 * len(
            VERDICTS
        )


@pytest.mark.parametrize(("answers", "check", "number"), SOLUTIONS, ids=identity)
def test_the_solution_of_the_source_passes(answers, check, number, capsys):
    solution = answers.solve(check.name)
    assert getattr(checks, check.name) is check
    assert check(solution) is solution
    assert capsys.readouterr().out.startswith(f"ok  exercise {number} {check.name}: ")


@pytest.mark.parametrize(("name", "form"), FORMS, ids=identity)
def test_a_right_answer_in_another_form_passes(name, form):
    torch.manual_seed(0)
    assert getattr(checks, name)(form) is form


@pytest.mark.parametrize("check", CHECKS, ids=identity)
def test_the_package_passes_its_own_check(check):
    assert check(check.reference) is check.reference


@pytest.mark.parametrize(("answers", "check", "number"), COMPARED, ids=identity)
def test_the_solution_equals_the_package(answers, check, number):
    solution = answers.solve(check.name)
    for question in check.make_questions():
        ours, theirs = (
            check.gauge(answer.numpy())
            for answer in (solution(*question.args), check.reference(*question.args))
        )
        assert ours.shape == theirs.shape
        assert np.abs(ours - theirs).max() <= 1e-12 * max(1.0, np.abs(theirs).max())


@pytest.mark.parametrize(("answers", "check", "number"), COMPARED, ids=identity)
def test_the_case_done_by_hand_agrees_with_the_package(answers, check, number):
    """The literal solutions were found on paper; the package only confirms them."""
    by_hand, *others = check.make_questions()
    assert by_hand.by_hand
    assert not any(question.by_hand for question in others)
    got = check.gauge(check.reference(*by_hand.args).numpy())
    np.testing.assert_allclose(got, by_hand.expected, rtol=0, atol=1e-12)


RIGHT_SOMEWHERE = {
    "q_values": ("gamma is missing in the look-ahead's place",),  # gamma = 1/2
    "occupancy": ("1 - gamma stands where gamma belongs",),  # gamma = 1/2
    "generalised_advantages": ("trace and 1 - trace are exchanged",),  # trace = 1/2
    "promp_objective": ("only the upper limit clips",),  # the lower limit decides nowhere
    "adapt_d1": ("Newton starts at the right end", "Newton stops after 3 steps"),  # near enough
    "implicit_derivative": ("the absolute value is taken",),  # theta rises there
    "optimal_return": ("the policy is greedy for the first reward",),  # which is best there
    "optimal_actions": (
        "value iteration stops after 10 sweeps",  # the order of Q has settled by then
        "value iteration stops after 20 sweeps",
    ),
    "rigorous_lambda": (  # one state is visited, so nu_min = 1
        "the square root of nu_min is missing",
        "nu_min is multiplied by",
        "nu_min is missing",
        "the largest occupancy stands",
    ),
    "fit_rate": ("the floor is missing",),  # the fit has no floor
    "update_moments": ("the mean is over all entries",),  # one entry
}
"""Slips that give the right answer on some instance that decides about a cause, and where."""


@pytest.mark.parametrize("check", CHECKS, ids=identity)
def test_no_known_slip_looks_like_a_right_answer(check):
    """On every instance that decides about a cause, a slip's answer is wrong; few are excepted."""
    by_hand, *asked = usual(check)
    with np.errstate(all="ignore"):
        every = [question.slips() for question in asked]
    for cause in by_hand.slips():
        pairs = zip(asked, every, strict=True)
        wrong = [differs(slips[cause], q.expected, by=1e-4) for q, slips in pairs]
        excepted = cause.startswith(RIGHT_SOMEWHERE.get(identity(check), ()))
        assert all(wrong) != excepted, cause  # an exception that is needed no more goes
        assert any(wrong), cause


@pytest.mark.parametrize("check", CHECKS, ids=identity)
def test_no_two_slips_look_alike(check):
    """A cause may be named only if no other one explains the answers as well."""
    first = 0 if check is TOLD_APART_BY_HAND else 1
    with np.errstate(all="ignore"):
        every = [question.slips() for question in usual(check)[first:]]
    for one, other in itertools.combinations(every[0], 2):
        assert any(differs(slips[one], slips[other], by=1e-6) for slips in every), (one, other)


def usual(check):
    """The questions that decide about a cause: no edges among them."""
    return [question for question in check.make_questions() if not question.separates][:EXPLAINED]


def differs(one, other, *, by):
    if np.shape(one) != np.shape(other):
        return True
    finite = np.isfinite(one) & np.isfinite(other)
    if not np.array_equal(np.where(finite, 0, one), np.where(finite, 0, other), equal_nan=True):
        return True
    return np.abs(np.where(finite, one, 0) - np.where(finite, other, 0)).max() > by


@pytest.mark.parametrize("number", SETS)
def test_comparisons_cannot_be_bought(number, monkeypatch):
    for module, name in ((torch, "allclose"), (torch, "equal"), (np, "allclose"), (np, "isclose")):
        monkeypatch.setattr(module, name, lambda *_, **__: True)
    answers, _, _ = SETS[number]
    mutant = answers.MUTANTS[0]
    with pytest.raises(CheckFailed):
        getattr(checks, mutant.name)(answers.solve(mutant.name, mutant.old, mutant.new))


@pytest.mark.parametrize("number", SETS)
def test_every_check_meets_enough_wrong_and_right_answers(number):
    answers, variants, module = SETS[number]
    wrong = Counter(mutant.name for mutant in answers.MUTANTS)
    names = {check.name for check in module.CHECKS}
    assert names == set(wrong) == set(variants.VARIANTS) == set(answers.SOLUTIONS.code)
    assert min(wrong.values()) >= 4
    assert min(map(len, variants.VARIANTS.values())) >= 2
