"""What universal policy adaptation reduces to as lam grows."""

import pytest
import torch
from conftest import (
    random_features,
    random_logits,
    random_task,
    random_weights,
    relative_error,
    solve_task,
)

from bomrl_lite.adaptation.distances import d1, d2, d3
from bomrl_lite.adaptation.gradient import gradient_step
from bomrl_lite.adaptation.reductions import (
    natural_gradient_step,
    policy_gradient_step,
    smooth_clip,
    smooth_clip_objective,
)
from bomrl_lite.adaptation.solve import adapt
from bomrl_lite.policies.networks import linear_softmax, tabular_softmax
from bomrl_lite.rollout.data import full_data

GAMMA = 0.9


def problem(kind, seed):
    if kind == "tabular":
        policy, phi = tabular_softmax(5, 3), {"logits": random_logits(seed)}
    else:
        policy, phi = linear_softmax(random_features(seed)), {"weights": random_weights(seed)}
    return policy, phi, full_data(phi, random_task(seed), policy=policy, gamma=GAMMA)


def difference(policy, phi, theta, other) -> float:
    """Of two steps, in probabilities, relative to the step: logits have a gauge."""
    start, one, two = (policy.log_probs(x).exp() for x in (phi, theta, other))
    return ((one - two).norm() / (two - start).norm()).item()


def errors(kind, seed, lams, distance, reduced):
    policy, phi, data = problem(kind, seed)
    result = []
    for lam in lams:
        theta, info = adapt(phi, data, policy=policy, distance=distance, lam=lam, tolerance=1e-13)
        assert info.stationarity < 1e-9 / lam
        result.append(difference(policy, phi, theta, reduced(policy, phi, data, lam)))
    return result


def natural(distance):
    return lambda policy, phi, data, lam: natural_gradient_step(
        phi, data, policy=policy, distance=distance, lam=lam
    )[0]


def plain(policy, phi, data, lam):
    return policy_gradient_step(phi, data, policy=policy, lam=lam)


FIRST_ORDER = [
    ("tabular", d1, natural(d1)),
    ("tabular", d3, plain),
    ("linear", d1, natural(d1)),
    ("linear", d2, natural(d2)),
    ("linear", d3, plain),
]


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize(("kind", "distance", "reduced"), FIRST_ORDER)
def test_alg_is_a_gradient_step_up_to_one_over_lam(kind, distance, reduced, seed):
    near, far = errors(kind, seed, (1e2, 1e4), distance, reduced)
    assert abs(near / far / 100 - 1) < 0.1
    assert 1e-5 < near < 0.1


def test_alg_with_d2_and_free_logits_is_the_natural_gradient_step_itself():
    """phi + Q / lam and phi + A / lam differ by a constant of every state's logits."""
    for lam in (0.1, 1.0, 100.0):
        assert errors("tabular", 0, (lam,), d2, natural(d2))[0] < 1e-11


@pytest.mark.parametrize("kind", ["tabular", "linear"])
def test_the_smooth_clip_matters_only_at_second_order(kind):
    """g'' (1) = 0: 10 times the lam, 100 times less difference, where D1 and NPG gain only 10."""

    def clipped(policy, phi, data, lam):
        dials = {"policy": policy, "distance": d1, "lam": lam, "tolerance": 1e-13}
        return adapt(phi, data, surrogate=smooth_clip_objective, **dials)[0]

    near, far = errors(kind, 0, (100.0, 1000.0), d1, clipped)
    assert abs(near / far / 100 - 1) < 0.1
    assert near > 1e-6


@pytest.mark.parametrize("kind", ["tabular", "linear"])
def test_the_policy_gradient_step_is_mamls(kind):
    policy, phi, data = problem(kind, 1)
    lam = 3.0
    step_size = (1 - GAMMA) / (2 * lam)
    dials = {"policy": policy, "gamma": GAMMA}
    maml = gradient_step(phi, random_task(1), step_size=step_size, **dials)
    got = policy_gradient_step(phi, data, policy=policy, lam=lam)
    for name in phi:
        assert relative_error(got[name] - phi[name], maml[name] - phi[name]) < 1e-11


def test_the_natural_gradient_solves_with_the_fisher_information():
    policy, phi, data = problem("linear", 0)
    features, probs = random_features(0), (random_features(0) @ phi["weights"]).softmax(-1)
    nu, q, _ = solve_task(probs, random_task(0), GAMMA)
    scores = features - (probs[..., None] * features).sum(1, keepdim=True)
    fisher = torch.einsum("s,sa,sai,saj->ij", nu, probs, scores, scores)
    slope = torch.einsum("s,sa,sai,sa->i", nu, probs, scores, q)
    for distance in (d1, d2):
        theta, info = natural_gradient_step(phi, data, policy=policy, distance=distance, lam=2.0)
        expected = phi["weights"] + torch.linalg.solve(fisher, slope) / 2
        assert relative_error(theta["weights"], expected) < 1e-10
        assert abs(info.curvature - torch.linalg.eigvalsh(fisher)[0]) < 1e-12


def test_the_natural_gradient_of_free_logits_is_the_advantage():
    policy, phi, data = problem("tabular", 0)
    theta, _ = natural_gradient_step(phi, data, policy=policy, distance=d1, lam=2.0)
    probs = phi["logits"].softmax(-1)
    _, q, _ = solve_task(probs, random_task(0), GAMMA)
    step = 2.0 * (theta["logits"] - phi["logits"])
    assert (step.sum(-1).abs() < 1e-10).all(), "nothing moves along the gauge"
    centred = q - q.mean(-1, keepdim=True)
    assert relative_error(step, centred) < 1e-9


def test_the_smooth_clip_is_a_clip():
    ratio = torch.tensor([0.0, 0.99, 1.0, 1.01, 5.0, 100.0], dtype=torch.float64)
    value = smooth_clip(ratio)
    assert value[2] == 1
    assert abs((value[3] - value[1]) / 0.02 - 1) < 1e-4
    assert ((value > 0) & (value <= 2)).all()
    assert (value.diff() >= 0).all()
    assert value[4] > 1.99
    assert abs(value[0] - 2 / (1 + torch.tensor(2.0).double().exp())) < 1e-15


def test_the_clipped_objective_is_the_sum_it_stands_for():
    policy, phi, data = problem("tabular", 0)
    theta = random_logits(6)
    prior, probs = phi["logits"].softmax(-1), theta.softmax(-1)
    nu, q, _ = solve_task(prior, random_task(0), GAMMA)
    total = 0.0
    for s in range(5):
        for a in range(3):
            advantage = q[s, a] - prior[s] @ q[s]
            clipped = 2 / (1 + (-2 * (probs[s, a] / prior[s, a] - 1)).exp())
            total += nu[s] * prior[s, a] * clipped * advantage
    got = smooth_clip_objective({"logits": theta}, data, policy=policy)
    assert abs(got - total) < 1e-12
