"""BO-MRL's hypergradient from end to end; its rungs are in test_one_time_data.py."""

import pytest
import torch
from conftest import (
    StateProblem,
    central_difference,
    central_difference_at_once,
    random_features,
    random_logits,
    random_task,
    random_weights,
    relative_error,
    solve_task,
)

from bomrl_lite.adaptation.distances import d1, d2
from bomrl_lite.adaptation.meta_gradients import bomrl, bomrl_trust_region, first_order_bomrl
from bomrl_lite.adaptation.solve import adapt_to_task
from bomrl_lite.adaptation.trust_region import adapt_to_task_in_trust_region
from bomrl_lite.policies.networks import linear_softmax, tabular_softmax
from bomrl_lite.solvers.implicit import UnsolvedInnerProblem

GAMMA, LAM = 0.9, 4.0
TASK, LOGITS = random_task(0), random_logits(0)
DIALS = {"policy": tabular_softmax(5, 3), "gamma": GAMMA}
KL = {"d1": d1, "d2": d2}


def hellinger(phi, theta, *, policy, state_weights):
    half = (policy.log_probs(phi) + policy.log_probs(theta)) / 2
    return state_weights @ (2 - 2 * half.exp().sum(-1))


def returned(probs):
    return solve_task(probs, TASK, GAMMA)[2]


def by_hand(kind, logits, lam=LAM):
    """Alg state by state, in numpy."""
    _, q, _ = solve_task(logits.softmax(-1), TASK, GAMMA)
    return StateProblem(kind, lam).solve_all(q, logits.softmax(-1))


@pytest.mark.parametrize("kind", KL)
def test_bomrl_is_the_slope_of_the_return_after_an_independent_alg(kind):
    got, info = bomrl({"logits": LOGITS}, TASK, distance=KL[kind], lam=LAM, **DIALS)
    expected = central_difference(lambda x: returned(by_hand(kind, x)), LOGITS)
    assert relative_error(got["logits"], expected) < 1e-8
    assert abs(info.return_before - returned(LOGITS.softmax(-1))) < 1e-12
    assert abs(info.return_after - returned(by_hand(kind, LOGITS))) < 1e-10


def test_bomrl_takes_a_distance_of_ones_own():
    """Shared weights and free logits; the latter against numpy's Alg."""
    got, _ = bomrl({"logits": LOGITS}, TASK, distance=hellinger, lam=20.0, **DIALS)
    expected = central_difference(lambda x: returned(by_hand("hellinger", x, 20.0)), LOGITS)
    assert relative_error(got["logits"], expected) < 1e-6

    policy, weights = linear_softmax(random_features(0)), random_weights(0)
    dials = {"policy": policy, "gamma": GAMMA, "distance": hellinger, "lam": 20.0}
    got, _ = bomrl({"weights": weights}, TASK, **dials)

    def after(x):
        theta = adapt_to_task({"weights": x}, TASK, **dials)
        return returned(policy.log_probs(theta).exp())

    assert relative_error(got["weights"], central_difference_at_once(after, weights)) < 1e-6


@pytest.mark.parametrize("kind", KL)
def test_first_order_bomrl_is_the_slope_at_theta(kind):
    got, info = first_order_bomrl({"logits": LOGITS}, TASK, distance=KL[kind], lam=LAM, **DIALS)
    theta = by_hand(kind, LOGITS).log()
    expected = central_difference(lambda x: returned(x.softmax(-1)), theta)
    assert relative_error(got["logits"], expected) < 1e-8
    assert abs(info.return_after - returned(theta.exp())) < 1e-10
    full, _ = bomrl({"logits": LOGITS}, TASK, distance=KL[kind], lam=LAM, **DIALS)
    assert relative_error(got["logits"], full["logits"]) > 0.02


@pytest.mark.parametrize("kind", KL)
def test_the_constrained_form_is_the_slope_of_its_own_alg(kind):
    dials = {"distance": KL[kind], "delta": 0.1, **DIALS}
    got, info = bomrl_trust_region({"logits": LOGITS}, TASK, **dials)

    def after(x):
        theta = adapt_to_task_in_trust_region({"logits": x}, TASK, **dials)
        return returned(theta["logits"].softmax(-1))

    assert relative_error(got["logits"], central_difference_at_once(after, LOGITS)) < 1e-8
    assert abs(info.return_after - after(LOGITS)) < 1e-12


def test_with_shared_weights_the_constrained_form_is_the_slope_of_its_own_alg():
    """No closed form: the conditions of Karush, Kuhn and Tucker in the parameters."""
    policy, weights = linear_softmax(random_features(0)), random_weights(0)
    dials = {"policy": policy, "gamma": GAMMA, "distance": d1, "delta": 0.1}
    got, _ = bomrl_trust_region({"weights": weights}, TASK, **dials)

    def after(x):
        theta = adapt_to_task_in_trust_region({"weights": x}, TASK, **dials)
        return returned(policy.log_probs(theta).exp())

    assert relative_error(got["weights"], central_difference_at_once(after, weights)) < 1e-6


def test_an_unsolved_climb_is_refused_unless_it_is_asked_for():
    """A weight on so sharp a feature that the climb ends on a plateau or not at all."""
    policy = linear_softmax(random_features(0))
    dials = {"policy": policy, "gamma": GAMMA, "distance": d2, "lam": 1e-3}
    phi = {"weights": random_weights(0)}
    with pytest.raises(UnsolvedInnerProblem, match="1 of 1 inner problems"):
        bomrl(phi, TASK, **dials)
    rough, info = bomrl(phi, TASK, tolerance=float("inf"), **dials)
    assert torch.isfinite(rough["weights"]).all()
    assert info.inner.stationarity > 1e-6 or info.inner.curvature <= 0 or info.inner.residual > 1e-6
