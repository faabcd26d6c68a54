"""What wrong answers have in common with right ones, where no known slip explains them."""

import numpy as np
import pytest

from bomrl_lite.course.checks.likeness import Pair, likeness

DIALS = [{"gamma": gamma, "lam": lam} for gamma, lam in ((0.5, 2.0), (0.9, 0.3), (0.7, 1.0))]


def pairs_of(wrong):
    """Three right answers and what a mistake makes of them."""
    draw = np.random.default_rng(0)
    right = [draw.normal(size=(2, 3)) for _ in DIALS]
    return [Pair(x, wrong(x, **dials), dials) for x, dials in zip(right, DIALS, strict=True)]


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (lambda x, gamma, lam: 3 * x, "is 3 times the right one"),
        (lambda x, gamma, lam: -x, "is -1 times"),
        (lambda x, gamma, lam: x * (1 - gamma), "is (1 - gamma) times"),
        (lambda x, gamma, lam: x / (1 - gamma) ** 2, "1 over the square of (1 - gamma)"),
        (lambda x, gamma, lam: lam * x, "is lam times"),
        (lambda x, gamma, lam: x / lam**0.5, "1 over the root of lam"),
        (lambda x, gamma, lam: x[::-1], "in another order"),
        (lambda x, gamma, lam: np.abs(x), "with other signs"),
    ],
)
def test_a_likeness_is_named(wrong, said):
    assert said in likeness(pairs_of(wrong))


@pytest.mark.parametrize(
    "wrong",
    [
        lambda x, gamma, lam: x,
        lambda x, gamma, lam: x * (1 + 1e-5),
        lambda x, gamma, lam: 0 * x,
        lambda x, gamma, lam: x + 1,
        lambda x, gamma, lam: x * (gamma if lam > 0.5 else 1 - gamma),
        lambda x, gamma, lam: x[:1],
        lambda x, gamma, lam: x / 0 * lam,
        lambda x, gamma, lam: 3 * x + 1e-4,
        lambda x, gamma, lam: x * np.array([3.0, 1.0, 1.0]),
    ],
)
def test_what_is_not_alike_is_not_named(wrong):
    with np.errstate(all="ignore"):
        assert likeness(pairs_of(wrong)) is None


def test_few_answers_may_be_alike_by_chance():
    assert likeness(pairs_of(lambda x, gamma, lam: 3 * x)[:2]) is None


def test_an_order_of_marks_says_nothing():
    marks = np.eye(2)[[0, 1, 1]]
    assert likeness([Pair(marks, marks[::-1, ::-1], {})] * 3) is None
