import numpy as np
import pandas as pd
import pytest

from bomrl_lite.course.statistics import interquartile_mean, paired_difference


def test_the_interquartile_mean_forgets_the_outer_quarters():
    assert interquartile_mean([0, 1, 2, 1000]) == 1.5
    assert interquartile_mean([-1e9, 3, 5, 4, 4, 6, 2, 1e9]) == 4.0
    assert interquartile_mean([1, 2, 6]) == 3.0
    # Of five, the second and the fourth count to three quarters.
    expected = (0.75 * 2 + 3 + 0.75 * 10) / 2.5
    assert interquartile_mean([99, 1, 2, 3, 10]) == pytest.approx(expected)


def test_the_interquartile_mean_is_that_of_many_copies():
    """Weights in part are what repeating every value four times gives by counting."""
    values = np.random.default_rng(0).normal(size=7)
    copies = np.sort(np.repeat(values, 4))
    assert interquartile_mean(values) == pytest.approx(copies[7:-7].mean())


def test_a_lead_is_paired_by_seed():
    frame = pd.DataFrame(
        {
            "method": ["a", "b"] * 3,
            "seed": [0, 0, 1, 1, 2, 2],
            "return": [1.0, 0.0, 102.0, 100.0, -7.0, -4.0],
        }
    )
    lead = paired_difference(frame, "a", "b")
    assert lead["mean"] == pytest.approx(0.0)
    assert lead["error"] == pytest.approx(np.std([1, 2, -3], ddof=1) / 3**0.5)
    assert (lead["wins"], lead["seeds"]) == (2, 3)
    half = frame.drop(index=1)  # seed 0 has no partner
    assert paired_difference(half, "a", "b")["seeds"] == 2
