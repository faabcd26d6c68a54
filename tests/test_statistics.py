import numpy as np
import pandas as pd
import pytest
from seaborn.algorithms import bootstrap

from bomrl_lite.course.statistics import (
    RESAMPLES,
    interquartile_mean,
    interquartile_mean_interval,
    mean_interval,
    paired_difference,
)


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


@pytest.mark.parametrize("size", [2, 3, 5, 20])
@pytest.mark.parametrize(
    ("interval", "statistic"),
    [(mean_interval, np.mean), (interquartile_mean_interval, interquartile_mean)],
)
def test_an_interval_is_that_of_a_bootstrap_in_a_loop(size, interval, statistic):
    values = np.random.default_rng(size).normal(size=size)
    means = bootstrap(values, func=statistic, n_boot=RESAMPLES, seed=0)
    assert interval(values) == pytest.approx(np.percentile(means, [2.5, 97.5]))


def test_the_interval_of_the_mean_leaves_out_what_is_no_number():
    assert mean_interval([1.0, np.nan, 4.0, 2.0]) == mean_interval([1.0, 4.0, 2.0])


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
