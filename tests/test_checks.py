"""The checks of all exercise sets, both ways: wrong answers named, right ones accepted."""

import importlib
from collections import Counter

import pytest
import torch

from bomrl_lite.course import checks
from bomrl_lite.course.checks import CheckFailed

SETS = {
    number: tuple(
        importlib.import_module(module)
        for module in (
            f"answers_{number}",
            f"variants_{number}",
            f"bomrl_lite.course.checks.set{number}",
        )
    )
    for number in ("01", "02", "03", "04", "05", "06")
}
"""Number of the set -> its answers, its right answers in other forms, its checks."""

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


def identity(value):
    if hasattr(value, "step"):
        return f"{value.name}-{value.step}-{value.cause or 'unnamed'}"
    return getattr(value, "name", None) or getattr(value, "__name__", None)


@pytest.mark.parametrize(("answers", "mutant"), MUTANTS, ids=identity)
def test_a_wrong_answer_fails_at_its_step_with_its_cause(answers, mutant):
    with pytest.raises(CheckFailed) as caught:
        getattr(checks, mutant.name)(answers.solve(mutant.name, mutant.old, mutant.new))
    assert caught.value.step == mutant.step
    assert mutant.cause is None or mutant.cause in (caught.value.cause or "")


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


@pytest.mark.parametrize(("answers", "check", "number"), SOLUTIONS, ids=identity)
def test_the_package_passes_its_own_check(answers, check, number):
    assert check(check.reference) is check.reference


@pytest.mark.parametrize("number", SETS)
def test_every_check_meets_enough_wrong_and_right_answers(number):
    answers, variants, module = SETS[number]
    wrong = Counter(mutant.name for mutant in answers.MUTANTS)
    names = {check.name for check in module.CHECKS}
    assert names == set(wrong) == set(variants.VARIANTS) == set(answers.SOLUTIONS)
    assert min(wrong.values()) >= 4
    assert min(map(len, variants.VARIANTS.values())) >= 2
