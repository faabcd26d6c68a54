import itertools

import numpy as np
import pandas as pd
import pytest
from seaborn.algorithms import bootstrap

from bomrl_lite.course.statistics import (
    RESAMPLES,
    interquartile_mean,
    mean_interval,
    paired_difference,
    performance_profile,
    probability_of_improvement,
    stratified_interval,
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


RUNS = np.array(
    [
        [0.5, 0.59, 0.418],
        [0.233, 0.364, 0.203],
        [0.518, 0.902, 0.352],
        [0.314, 0.647, 0.607],
        [0.532, 0.221, 0.491],
        [0.709, 0.097, 0.363],
        [-0.07, 0.113, -0.053],
        [0.429, 0.12, 0.581],
        [0.547, 0.444, -0.255],
        [0.338, 0.485, 0.534],
    ]
)
BASELINE = np.array(
    [
        [0.5, 0.209, 0.009],
        [0.076, 0.824, 0.077],
        [0.387, 0.754, 0.167],
        [0.355, 0.444, 0.426],
        [-0.09, 0.43, 0.944],
        [-0.219, 0.744, 0.448],
        [0.143, 1.2, 0.705],
        [-0.08, 0.43, 0.631],
        [0.324, 0.673, 0.373],
        [0.667, 0.975, 0.13],
    ]
)
"""[10 runs, 3 tasks] each. The numbers below are rliable 1.2.0's of them (with pandas 2.3, since it
cannot be imported beside 3.1): ``metrics.aggregate_iqm``, ``metrics.probability_of_improvement``,
``library.create_performance_profile``, ``library.get_interval_estimates`` with 20,000 resamples."""


def test_interquartile_means_are_rliables():
    assert interquartile_mean(RUNS) == pytest.approx(0.4085)
    assert interquartile_mean(RUNS[:7]) == pytest.approx(0.39145454545454544)
    assert interquartile_mean([5.0, 1.0, 2.0, -80.0]) == 1.5
    assert interquartile_mean([3.0]) == 3.0


def test_the_probability_of_improvement_is_rliables():
    assert probability_of_improvement(RUNS, BASELINE) == pytest.approx(0.4766666666666666)
    assert probability_of_improvement(RUNS, RUNS) == 0.5
    assert probability_of_improvement([3.0, 2.0], [1.0, 2.0]) == (2 + 1 + 0.5) / 4


def test_the_profile_is_rliables():
    shares = performance_profile(RUNS, [0.0, 0.25, 0.5, 0.75, 1.0])
    assert shares == pytest.approx([0.9, 0.7, 0.333333, 0.033333, 0.0], abs=1e-6)


def test_the_stratified_interval_is_rliables_but_for_its_draws():
    """Five of rliable's intervals lie within 0.003 of each other; ours draws 1,000 times."""
    low, high = stratified_interval(RUNS)
    assert low == pytest.approx(0.3063, abs=0.01)
    assert high == pytest.approx(0.4885, abs=0.01)
    assert stratified_interval(RUNS) == (low, high)


def test_strata_are_not_mixed():
    """Two tasks without spread: drawn within each, the mean cannot move."""
    apart = np.tile([0.0, 100.0], (6, 1))
    assert stratified_interval(apart, lambda s: float(s.mean())) == (50.0, 50.0)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: interquartile_mean([]), "scores must be numbers"),
        (lambda: interquartile_mean([1.0, np.nan]), "scores must be finite, got 1 that are not"),
        (lambda: stratified_interval([["a"]]), "scores must be numbers"),
        (lambda: probability_of_improvement(RUNS, BASELINE[:, :2]), "got 3 and 2 columns"),
        (lambda: performance_profile(RUNS, [np.inf]), "thresholds must be finite"),
    ],
)
def test_scores_that_cannot_be_compared_are_refused(call, words):
    with pytest.raises(ValueError, match=words):
        call()


def test_many_resamples_give_the_interval_of_all_of_them():
    """Five seeds have 3125 resamples, all alike: one end lies on the other side of 0 by luck."""
    leads = np.array([34.7, -19.6, -69.2, -104.0, -73.3])
    means = [np.mean(each) for each in itertools.product(leads, repeat=5)]
    exact = np.percentile(means, (2.5, 97.5))
    found = stratified_interval(leads, lambda s: float(s.mean()), resamples=20_000)
    np.testing.assert_allclose(found, exact, atol=2)
    assert np.sign(found[1]) == np.sign(exact[1]) == 1
