import numpy as np
import pandas as pd
import pytest
from seaborn.algorithms import bootstrap

from bomrl_lite.course.statistics import (
    RESAMPLES,
    mean_interval,
    paired_difference,
)


@pytest.mark.parametrize("size", [2, 3, 5, 20])
def test_an_interval_is_that_of_a_bootstrap_in_a_loop(size):
    values = np.random.default_rng(size).normal(size=size)
    means = bootstrap(values, func=np.mean, n_boot=RESAMPLES, seed=0)
    assert mean_interval(values) == pytest.approx(np.percentile(means, [2.5, 97.5]))


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
