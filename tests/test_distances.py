"""D1, D2 and D3, exact and from samples, against sums written out in numpy."""

import numpy as np
import pytest
import torch
from conftest import (
    central_difference_at_once,
    random_features,
    random_logits,
    random_task,
    random_weights,
    relative_error,
    solve_task,
)
from torch.func import hessian

from bomrl_lite.adaptation.distances import (
    DISTANCES,
    d1,
    d1_from_samples,
    d2,
    d3,
    kl_divergence,
    over_every,
    reverse_kl_divergence,
    visit_shares,
)
from bomrl_lite.policies.at_samples import PolicyAtSamples
from bomrl_lite.policies.networks import linear_softmax, over_states, tabular_softmax

WEIGHTS = torch.tensor([0.4, 0.05, 0.25, 0.1, 0.2], dtype=torch.float64)
TABULAR = (tabular_softmax(5, 3), "logits", random_logits)
LINEAR = (linear_softmax(random_features(0)), "weights", random_weights)
POLICIES = {"tabular": TABULAR, "linear": LINEAR}


def kl_by_loops(p: np.ndarray, q: np.ndarray) -> np.ndarray:
    result = np.zeros(len(p))
    for s in range(len(p)):
        for a in range(p.shape[1]):
            result[s] += p[s, a] * np.log(p[s, a] / q[s, a])
    return result


def softmax_by_hand(kind: str, x: torch.Tensor) -> np.ndarray:
    logits = x.numpy() if kind == "tabular" else np.einsum("sad,d->sa", random_features(0), x)
    weights = np.exp(logits)
    return weights / weights.sum(1, keepdims=True)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("kind", POLICIES)
def test_distances_equal_sums_written_out(kind, seed):
    policy, name, draw = POLICIES[kind]
    x, y = draw(seed), draw(seed + 10)
    p, q = softmax_by_hand(kind, x), softmax_by_hand(kind, y)
    by_hand = {
        d1: WEIGHTS.numpy() @ kl_by_loops(p, q),
        d2: WEIGHTS.numpy() @ kl_by_loops(q, p),
        d3: sum((a - b) ** 2 for a, b in zip(x.flatten(), y.flatten(), strict=True)),
    }
    for distance, expected in by_hand.items():
        got = distance({name: x}, {name: y}, policy=policy, state_weights=WEIGHTS)
        assert abs(got - expected) < 1e-12
        assert expected > 0.05


@pytest.mark.parametrize("kind", POLICIES)
@pytest.mark.parametrize("distance", DISTANCES.values(), ids=DISTANCES)
def test_distances_are_0_and_flat_at_equality_and_positive_elsewhere(distance, kind):
    policy, name, draw = POLICIES[kind]
    x = draw(0)

    def apart(y):
        return distance({name: x}, {name: y}, policy=policy, state_weights=WEIGHTS)

    assert abs(apart(x)) < 1e-15
    assert central_difference_at_once(apart, x).abs().max() < 1e-11
    generator = torch.Generator().manual_seed(0)
    directions = torch.randn(200, *x.shape, dtype=torch.float64, generator=generator)
    for size in (1e-3, 0.1, 3.0):
        assert all(apart(x + size * v) >= 0 for v in directions)


@pytest.mark.parametrize("kind", POLICIES)
@pytest.mark.parametrize("distance", [d1, d2], ids=["d1", "d2"])
def test_both_kl_distances_curve_like_the_fisher_information(distance, kind):
    policy, name, draw = POLICIES[kind]
    x = draw(1)
    size = x.numel()

    def apart(y):
        return distance({name: x}, {name: y}, policy=policy, state_weights=WEIGHTS)

    def scores(y):
        return policy.log_probs({name: y})

    probs, score = scores(x).exp(), torch.func.jacrev(scores)(x).reshape(5, 3, size)
    fisher = torch.einsum("s,sa,sai,saj->ij", WEIGHTS, probs, score, score)
    assert relative_error(hessian(apart)(x).reshape(size, size), fisher) < 1e-12
    step = 1e-3 * draw(2)
    quadratic = 0.5 * step.flatten() @ fisher @ step.flatten()
    assert abs(apart(x + step) / quadratic - 1) < 5e-3


def test_the_kl_divergences_are_each_others_mirror_and_differ():
    p, q = random_logits(0).log_softmax(-1), random_logits(1).log_softmax(-1)
    torch.testing.assert_close(kl_divergence(p, q), reverse_kl_divergence(q, p), rtol=0, atol=0)
    assert (kl_divergence(p, q) - reverse_kl_divergence(p, q)).abs().max() > 0.5


def test_a_deterministic_policy_has_a_finite_kl_to_one_that_takes_all_actions():
    certain = torch.tensor([[0.0, -torch.inf], [0.0, -torch.inf]], dtype=torch.float64)
    mixed = torch.tensor([[0.25, 0.75], [1.0, 0.0]], dtype=torch.float64).log()
    expected = torch.tensor([np.log(4.0), 0.0], dtype=torch.float64)
    torch.testing.assert_close(kl_divergence(certain, mixed), expected)
    assert kl_divergence(mixed, certain)[0] == torch.inf
    slope = torch.func.grad(lambda q: kl_divergence(certain[:1], q).sum())(mixed[:1])
    torch.testing.assert_close(slope, torch.tensor([[-1.0, 0.0]], dtype=torch.float64))


def episodes(seed: int, count: int, horizon: int, gamma: float):
    """States, actions and discounts of ``count`` episodes, all steps in one row."""
    task, probs = random_task(seed), random_logits(seed).softmax(-1).numpy()
    rng = np.random.default_rng(seed)

    def draw(table):
        return (rng.random((len(table), 1)) > table.cumsum(1)).sum(1).clip(max=table.shape[1] - 1)

    state = draw(np.tile(task.start.numpy(), (count, 1)))
    steps = []
    for t in range(horizon):
        action = draw(probs[state])
        steps.append((state, action, np.full(count, gamma**t)))
        state = draw(task.transition.numpy()[state, action])
    return [torch.tensor(np.stack(field, 1)) for field in zip(*steps, strict=True)]


def test_visit_shares_do_not_depend_on_the_scale_of_the_weights():
    states, weights = torch.tensor([0, 2, 2]), torch.tensor([0.1, 0.1, 0.2])
    expected = torch.tensor([0.25, 0.0, 0.75])
    for scale in (1.0, 1e-3, 1e3):
        torch.testing.assert_close(visit_shares(states, scale * weights, 3), expected)


def test_visit_shares_are_unbiased_for_the_occupancy():
    gamma, horizon = 0.5, 25
    states, _, weights = episodes(0, 4000, horizon, gamma)
    shares = torch.stack(
        [visit_shares(s, w, 5) for s, w in zip(states[:400], weights[:400], strict=True)]
    )
    by_hand = sum(w for s, w in zip(states[0], weights[0], strict=True) if s == 2)
    assert abs(shares[0, 2] - by_hand / weights[0].sum()) < 1e-12
    nu = solve_task(random_logits(0).softmax(-1), random_task(0), gamma)[0]
    error = shares.std(0) / 400**0.5
    assert (shares.sum(1) - 1).abs().max() < 1e-12
    assert ((shares.mean(0) - nu).abs() < 4 * error).all()
    assert error.max() < 0.02
    pooled = visit_shares(states.flatten(), weights.flatten(), 5)
    assert (pooled - nu).abs().max() < 0.02


def test_the_estimate_from_samples_is_unbiased_and_never_negative():
    gamma, horizon, seed = 0.5, 25, 1
    log_phi = random_logits(seed).log_softmax(-1)
    theta = random_logits(seed) + 0.7 * random_logits(seed + 20)
    states, actions, weights = episodes(seed, 4000, horizon, gamma)
    before, after = log_phi[states, actions], theta.log_softmax(-1)[states, actions]
    means = torch.stack([d1_from_samples(*row) for row in zip(before, after, weights, strict=True)])
    nu = solve_task(log_phi.exp(), random_task(seed), gamma)[0]
    exact = d1(
        {"logits": log_phi}, {"logits": theta}, policy=tabular_softmax(5, 3), state_weights=nu
    )
    error = means.std() / len(means) ** 0.5
    assert abs(means.mean() - exact) < 4 * error
    assert error < 0.05 * exact
    one = torch.ones(1, dtype=torch.float64)
    each = torch.stack(
        [
            d1_from_samples(b, a, one)
            for b, a in zip(before.flatten()[:500, None], after.flatten()[:500, None], strict=True)
        ]
    )
    assert (each >= 0).all()
    assert d1_from_samples(before[0], before[0], weights[0]) == 0


def test_samples_are_weighed_by_their_weights():
    before = torch.tensor([0.5, 0.2], dtype=torch.float64).log()
    after = torch.tensor([0.25, 0.4], dtype=torch.float64).log()
    weights = torch.tensor([3.0, 1.0], dtype=torch.float64)
    parts = [0.5 - 1 - np.log(0.5), 2 - 1 - np.log(2)]
    assert abs(d1_from_samples(before, after, weights) - np.average(parts, weights=[3, 1])) < 1e-14


@pytest.mark.parametrize("stride", [2, 3])
@pytest.mark.parametrize("distance", [d1, d2])
def test_a_distance_over_every_so_many_states_is_an_average_over_these_alone(distance, stride):
    x, y = random_logits(0), random_logits(1)
    p, q = softmax_by_hand("tabular", x), softmax_by_hand("tabular", y)
    terms = kl_by_loops(p, q) if distance is d1 else kl_by_loops(q, p)
    used = [s for s in range(5) if s % stride == 0]
    expected = np.average(terms[used], weights=WEIGHTS.numpy()[used])
    states = torch.arange(5)
    seen = PolicyAtSamples(over_states(TABULAR[0]), states, states % 3)
    thinned = over_every(stride, distance, seen.every(stride))
    got = thinned({"logits": x}, {"logits": y}, policy=TABULAR[0], state_weights=WEIGHTS)
    assert got.item() == pytest.approx(expected, rel=1e-12)


def test_of_visits_however_late_only_the_ratios_count():
    """gamma^t ends in the smallest number there is above 0."""
    last = torch.nextafter(torch.zeros(1, dtype=torch.float64), torch.ones(1, dtype=torch.float64))
    weights = torch.cat([last, 0 * last])
    shares = visit_shares(torch.tensor([1, 0]), weights, 3)
    assert shares.tolist() == [0, 1, 0]
