"""Universal policy adaptation: closed forms, climbs and their information."""

import numpy as np
import pytest
import torch
from conftest import (
    StateProblem,
    central_difference_at_once,
    random_features,
    random_logits,
    random_task,
    random_weights,
    relative_error,
    solve_task,
    stack,
)
from torch.func import grad, hessian, vmap

from bomrl_lite.adaptation.closed_forms import (
    CLOSED_FORMS,
    condition_numbers,
    policywise_curvature,
    simplex_solve,
    smallest_curvature,
    weighted_q,
)
from bomrl_lite.adaptation.distances import DISTANCES, STATE_DISTANCES, d1, d2, d3
from bomrl_lite.adaptation.objective import adaptation_objective, surrogate_objective
from bomrl_lite.adaptation.solve import adapt, adapt_to_task
from bomrl_lite.policies.networks import linear_softmax, tabular_softmax
from bomrl_lite.rollout.data import full_data
from bomrl_lite.solvers.maximize import maximize
from bomrl_lite.tasks import make_tasks
from bomrl_lite.training.metrics import adapted_returns
from bomrl_lite.training.streams import seeded
from bomrl_lite.types import TabularTask

GAMMA = 0.9
TABULAR = tabular_softmax(5, 3)
EXACT = {"policy": TABULAR, "gamma": GAMMA}
KL = {"d1": d1, "d2": d2}


def collect(seed: int):
    phi, task = {"logits": random_logits(seed)}, random_task(seed)
    return phi, full_data(phi, task, **EXACT)


def collect_linear(seed: int):
    policy, phi = linear_softmax(random_features(seed)), {"weights": random_weights(seed)}
    return policy, phi, full_data(phi, random_task(seed), policy=policy, gamma=GAMMA)


def hellinger(phi, theta, *, policy, state_weights):
    """A distance of one's own: 2 - 2 sum sqrt(p q), twice the squared Hellinger distance."""
    half = (policy.log_probs(phi) + policy.log_probs(theta)) / 2
    return state_weights @ (2 - 2 * half.exp().sum(-1))


def d1_root(value: np.ndarray, prior: np.ndarray, lam: float) -> float:
    """mu of pi = lam prior / (mu - value), by bisection on an interval far wider than needed."""
    low, high = value.max() + 1e-12, value.max() + 100 * lam
    for _ in range(200):
        middle = (low + high) / 2
        if (lam * prior / (middle - value)).sum() > 1:
            low = middle
        else:
            high = middle
    return (low + high) / 2


@pytest.mark.parametrize("logit", [-690.0, -705.0, -711.0, -730.0, -740.0, -744.0, -746.0, -1e4])
def test_an_action_whose_probability_has_underflowed_weighs_as_any_other(logit):
    """From exp(-708) on a probability loses its digits, from exp(-745) on it is 0."""
    logits = random_logits(0)
    logits[2, 1] = logit
    data = full_data({"logits": logits}, random_task(0), **EXACT)
    assert (data.action_probs[2, 1] == 0) == (logit < -745)
    torch.testing.assert_close(weighted_q(data), data.q_values, rtol=1e-12, atol=0)


@pytest.mark.parametrize("lam", [0.1, 0.03, 0.01, 0.003, 0.001])
def test_adapting_again_and_again_at_a_small_lam_stays_finite(lam):
    """On lakes with holes D2 drives logits through every size there is."""
    family = make_tasks("frozen_lake/holes-4x4")
    tasks = family.sample(4, seeded(0, "tasks"), "test")
    policy = tabular_softmax(16, 4)
    options = {"policy": policy, "gamma": family.gamma, "distance": d2, "lam": lam}
    start = {"logits": torch.zeros(16, 4, dtype=torch.float64)}
    returns = adapted_returns(
        start,
        tasks,
        lambda phi, task: adapt_to_task(phi, task, **options),
        policy=policy,
        gamma=family.gamma,
        num_steps=8,
    )
    assert returns.isfinite().all()


@pytest.mark.parametrize("lam", [0.05, 1.0, 30.0])
@pytest.mark.parametrize("name", KL)
def test_closed_forms_solve_the_problem_of_every_state(name, lam):
    for seed in range(3):
        phi, data = collect(seed)
        theta, info = adapt(phi, data, policy=TABULAR, distance=KL[name], lam=lam)
        got = theta["logits"].softmax(-1)
        expected = StateProblem(name, lam).solve_all(data.q_values, phi["logits"].softmax(-1))
        assert (got - expected).abs().max() < 1e-9
        assert info.stationarity <= 1e-10
        assert info.curvature > 0
        assert info.iterations == 0


@pytest.mark.parametrize("name", KL)
def test_closed_forms_equal_the_climbed_solution(name):
    phi, data = collect(3)
    dials = {"policy": TABULAR, "distance": KL[name], "lam": 5.0}
    theta, _ = adapt(phi, data, **dials)

    def scaled(x):
        return adaptation_objective(x, phi, data, **dials) / 5.0

    climbed, info = maximize(scaled, phi, tolerance=1e-13)
    assert info.stationarity < 1e-12
    torch.testing.assert_close(
        climbed["logits"].softmax(-1), theta["logits"].softmax(-1), rtol=0, atol=1e-10
    )


def test_the_solution_for_d2_is_a_tilt_and_that_for_d1_has_its_root_in_the_bracket():
    for seed, lam in [(0, 0.02), (1, 0.5), (2, 1.0), (3, 40.0)]:
        phi, data = collect(seed)
        tilted, _ = adapt(phi, data, policy=TABULAR, distance=d2, lam=lam)
        _, q, _ = solve_task(phi["logits"].softmax(-1), random_task(seed), GAMMA)
        torch.testing.assert_close(tilted["logits"], phi["logits"] + q / lam, rtol=1e-12, atol=0)
        theta, _ = adapt(phi, data, policy=TABULAR, distance=d1, lam=lam)
        prior, adapted = phi["logits"].softmax(-1), theta["logits"].softmax(-1)
        roots = q + lam * prior / adapted
        assert (roots - roots[:, :1]).abs().max() < 1e-9 * (1 + roots.abs().max())
        mu = roots[:, 0]
        assert (mu >= (q + lam * prior).max(-1).values - 1e-9).all()
        assert (mu <= q.max(-1).values + lam + 1e-9).all()
        for s in range(5):
            assert abs(mu[s] - d1_root(q[s].numpy(), prior[s].numpy(), lam)) < 1e-8 * (1 + lam)


def test_d1_never_becomes_deterministic_where_d2_does():
    """At lam = 1e-3, D2 gives the losers exp(-gap / lam), D1 a share of about lam / gap."""
    phi, data = collect(0)
    small = {
        name: adapt(phi, data, policy=TABULAR, distance=KL[name], lam=1e-3)[0]["logits"]
        .log_softmax(-1)
        .min()
        for name in KL
    }
    assert small["d1"] > np.log(1e-5)
    assert small["d2"] < np.log(1e-100)


@pytest.mark.parametrize("lam", [0.5, 5.0])
def test_d3_is_solved_to_the_fixed_point_of_plain_gradient_ascent(lam):
    phi, data = collect(1)
    theta, info = adapt(phi, data, policy=TABULAR, distance=d3, lam=lam)
    x = phi["logits"].clone()
    for _ in range(4000):
        probs = x.softmax(-1)
        advantage = data.q_values - (probs * data.q_values).sum(-1, keepdim=True)
        slope = data.state_weights[:, None] * probs * advantage / lam - 2 * (x - phi["logits"])
        x = x + 0.2 * slope
    assert slope.abs().max() < 1e-13
    torch.testing.assert_close(theta["logits"], x, rtol=0, atol=1e-9)
    assert info.stationarity <= 1e-10
    assert 0 < info.iterations < 20


@pytest.mark.parametrize("distance", [*DISTANCES.values(), hellinger], ids=[*DISTANCES, "own"])
def test_a_linear_softmax_is_solved_to_stationarity_at_a_maximum(distance):
    lam = 5.0
    policy, phi, data = collect_linear(1)
    theta, info = adapt(phi, data, policy=policy, distance=distance, lam=lam)
    features, prior = random_features(1), (random_features(1) @ phi["weights"]).softmax(-1)
    nu, q, _ = solve_task(prior, random_task(1), GAMMA)

    def objective(weights):
        probs = (features @ weights).softmax(-1)
        apart = {
            d1: lambda: nu @ (prior * (prior / probs).log()).sum(-1),
            d2: lambda: nu @ (probs * (probs / prior).log()).sum(-1),
            d3: lambda: (weights - phi["weights"]).square().sum(),
            hellinger: lambda: nu @ (prior.sqrt() - probs.sqrt()).square().sum(-1),
        }[distance]()
        return nu @ (probs * q).sum(-1) / lam - apart

    slope = torch.func.grad(objective)(theta["weights"])
    assert slope.norm() <= 1e-10
    assert abs(slope.norm() - info.stationarity) < 1e-12
    smallest = torch.linalg.eigvalsh(-hessian(objective)(theta["weights"]))[0]
    assert abs(info.curvature - smallest) < 1e-10
    assert info.curvature > 0
    best, generator = objective(theta["weights"]), torch.Generator().manual_seed(0)
    for size in (0.01, 0.1, 1.0):
        moves = size * torch.randn(50, 4, dtype=torch.float64, generator=generator)
        assert all(objective(theta["weights"] + move) < best for move in moves)


def test_a_distance_of_ones_own_is_solved_as_the_states_problems_are():
    """Free logits and no closed form: the climb must find what Newton finds on the simplex."""
    phi, data = collect(2)
    theta, info = adapt(phi, data, policy=TABULAR, distance=hellinger, lam=8.0)
    expected = StateProblem("hellinger", 8.0).solve_all(data.q_values, phi["logits"].softmax(-1))
    assert (theta["logits"].softmax(-1) - expected).abs().max() < 1e-9
    assert info.stationarity <= 1e-10


@pytest.mark.parametrize("distance", DISTANCES.values(), ids=DISTANCES)
def test_the_information_is_true(distance):
    phi, data = collect(4)
    lam = 3.0
    theta, info = adapt(phi, data, policy=TABULAR, distance=distance, lam=lam)
    prior, probs = phi["logits"].softmax(-1), theta["logits"].softmax(-1)
    nu, q, _ = solve_task(prior, random_task(4), GAMMA)
    apart = {
        d1: nu @ (prior * (prior / probs).log()).sum(-1),
        d2: nu @ (probs * (probs / prior).log()).sum(-1),
        d3: (phi["logits"] - theta["logits"]).square().sum(),
    }[distance]
    assert abs(info.distance - apart) < 1e-12
    if distance is d3:

        def objective(x):
            return nu @ (x.softmax(-1) * q).sum(-1) / lam - (x - phi["logits"]).square().sum()

        bend = hessian(objective)(theta["logits"]).reshape(15, 15)
        assert abs(info.curvature + torch.linalg.eigvalsh(bend)[-1]) < 1e-10
    else:
        bend = {d1: prior / probs**2, d2: 1 / probs}[distance]
        torch.testing.assert_close(info.curvature, bend.min(), rtol=1e-10, atol=0)


def test_a_closed_form_is_measured_and_not_trusted(monkeypatch):
    """A wrong one, off in a single action of a single state: the stationarity is its slope."""

    def wrong(phi, data, *, lam):
        shift = torch.zeros(5, 3, dtype=torch.float64)
        shift[2, 0] = 0.01
        return {"logits": phi["logits"] + data.q_values / lam + shift}

    monkeypatch.setitem(CLOSED_FORMS, d2, wrong)
    phi, data = collect(0)
    theta, info = adapt(phi, data, policy=TABULAR, distance=d2, lam=3.0)
    prob = theta["logits"].softmax(-1)[2, 0]
    expected = 0.01 * torch.maximum(prob, 1 - prob)
    assert abs(info.stationarity - expected) < 1e-9


def test_an_unsolved_adaptation_says_so():
    policy, phi, data = collect_linear(0)
    theta, info = adapt(phi, data, policy=policy, distance=d2, lam=0.5, max_iterations=1)
    assert info.stationarity > 1e-3
    assert info.iterations == 1
    assert not torch.equal(theta["weights"], phi["weights"])


def test_the_surrogate_is_the_sum_it_stands_for_and_its_slope_is_that_of_the_return():
    phi, data = collect(0)
    task, theta = random_task(0), random_logits(7)
    nu, q, _ = solve_task(phi["logits"].softmax(-1), task, GAMMA)
    by_hand = sum(nu[s] * theta.softmax(-1)[s, a] * q[s, a] for s in range(5) for a in range(3))
    assert abs(surrogate_objective({"logits": theta}, data, policy=TABULAR) - by_hand) < 1e-12

    def promised(x):
        return surrogate_objective({"logits": x}, data, policy=TABULAR)

    def returned(x):
        return solve_task(x.softmax(-1), task, GAMMA)[2]

    slope = torch.func.grad(promised)(phi["logits"])
    assert relative_error(slope, 0.1 * central_difference_at_once(returned, phi["logits"])) < 1e-9


def test_the_objective_is_the_surrogate_less_the_weighed_distance():
    phi, data = collect(0)
    theta, lam = {"logits": random_logits(5)}, 0.7
    dials = {"policy": TABULAR, "distance": d1, "lam": lam}
    got = adaptation_objective(theta, phi, data, **dials)
    prior, probs = phi["logits"].softmax(-1), theta["logits"].softmax(-1)
    nu, q, _ = solve_task(prior, random_task(0), GAMMA)
    expected = nu @ (probs * q - lam * prior * (prior / probs).log()).sum(-1)
    assert abs(got - expected) < 1e-12
    doubled = adaptation_objective(
        theta, phi, data, surrogate=lambda x, d, policy: 2 * surrogate_objective(
            x, d, policy=policy
        ), **dials
    )  # fmt: skip
    assert abs(doubled - got - nu @ (probs * q).sum(-1)) < 1e-12


def test_a_surrogate_of_ones_own_is_what_is_climbed():
    """L / 2 with lam is L with 2 lam: the closed form of the second is the climb of the first."""
    phi, data = collect(1)
    halved, _ = adapt(
        phi,
        data,
        policy=TABULAR,
        distance=d2,
        lam=4.0,
        surrogate=lambda x, d, policy: surrogate_objective(x, d, policy=policy) / 2,
    )
    closed, _ = adapt(phi, data, policy=TABULAR, distance=d2, lam=8.0)
    torch.testing.assert_close(
        halved["logits"].softmax(-1), closed["logits"].softmax(-1), rtol=0, atol=1e-9
    )


@pytest.mark.parametrize("distance", DISTANCES.values(), ids=DISTANCES)
def test_several_adaptations_collect_anew_each_time(distance):
    tasks, phi = [random_task(i) for i in range(2)], {"logits": random_logits(0)}

    def alg(params, task):
        return adapt_to_task(params, task, **EXACT, distance=distance, lam=2.0)

    returns = adapted_returns(phi, stack(tasks), alg, **EXACT, num_steps=3)
    for i, task in enumerate(tasks):
        theta = phi["logits"]
        for k in range(4):
            nu, q, value = solve_task(theta.softmax(-1), task, GAMMA)
            assert abs(returns[i, k] - value) < 1e-8
            if distance is d3:
                x = theta
                for _ in range(500):
                    x = (
                        x
                        - 0.2 * (2 * (x - theta))
                        + 0.1
                        * nu[:, None]
                        * x.softmax(-1)
                        * (q - (x.softmax(-1) * q).sum(-1, keepdim=True))
                    )
                theta = x
            else:
                name = "d1" if distance is d1 else "d2"
                theta = StateProblem(name, 2.0).solve_all(q, theta.softmax(-1)).log()
        assert returns[i, 3] > returns[i, 0]


def test_several_steps_on_one_time_data_are_one_problem_and_gain_less():
    """Re-solving on OLD data from theta is another problem than on the data of theta."""
    phi, data = collect(0)
    task, dials = random_task(0), {"policy": TABULAR, "distance": d2, "lam": 2.0}
    once, _ = adapt(phi, data, **dials)
    stale, _ = adapt(once, data, **dials)
    torch.testing.assert_close(stale["logits"], phi["logits"] + 2 * data.q_values / 2.0)
    fresh, _ = adapt(once, full_data(once, task, **EXACT), **dials)
    _, _, on_stale = solve_task(stale["logits"].softmax(-1), task, GAMMA)
    _, _, on_fresh = solve_task(fresh["logits"].softmax(-1), task, GAMMA)
    assert on_fresh != on_stale


@pytest.mark.parametrize("distance", [*DISTANCES.values(), hellinger], ids=[*DISTANCES, "own"])
def test_adaptation_over_a_batch_equals_a_loop(distance):
    tasks, phi = [random_task(i) for i in range(3)], {"logits": random_logits(0)}
    dials = {**EXACT, "distance": distance, "lam": 10.0}
    batched = vmap(lambda t: adapt_to_task(phi, t, **dials)["logits"])(stack(tasks))
    for got, task in zip(batched, tasks, strict=True):
        single = adapt_to_task(phi, task, **dials)["logits"]
        if distance is hellinger:  # knows no gauge: the climb may drift along it
            got, single = got.log_softmax(-1), single.log_softmax(-1)
        torch.testing.assert_close(got, single, rtol=1e-12, atol=1e-12)


def test_adding_a_constant_to_a_states_logits_changes_no_probability():
    phi, data = collect(0)
    shift = torch.arange(5, dtype=torch.float64)[:, None]
    for distance in DISTANCES.values():
        dials = {"policy": TABULAR, "distance": distance, "lam": 2.0}
        shifted = {"logits": phi["logits"] + shift}
        before, after = adapt(phi, data, **dials)[0], adapt(shifted, data, **dials)[0]
        torch.testing.assert_close(
            before["logits"].softmax(-1), after["logits"].softmax(-1), rtol=0, atol=1e-12
        )


def test_adapt_leaves_the_saddle_that_equal_logits_are():
    """Two arms of equal Q and a worse third: nothing to gain between the two, all from the third.

    And a state without any gain stays where it is.
    """
    task = TabularTask(
        torch.ones(2, 3, 2, dtype=torch.float64) / 2,
        torch.tensor([[1.0, 1.0, 0.0], [2.0, 2.0, 2.0]], dtype=torch.float64),
        torch.tensor([0.5, 0.5], dtype=torch.float64),
    )
    policy, phi = tabular_softmax(2, 3), {"logits": torch.zeros(2, 3, dtype=torch.float64)}
    for distance in DISTANCES.values():
        theta = adapt_to_task(phi, task, policy=policy, gamma=0.5, distance=distance, lam=0.1)
        probs = theta["logits"].softmax(-1)
        torch.testing.assert_close(probs[1], torch.full((3,), 1 / 3, dtype=torch.float64))
        torch.testing.assert_close(probs[0, 0], probs[0, 1])
        assert probs[0, 2] < 0.25


def test_curvature_matrices_and_their_condition_numbers():
    log_phi, log_theta = random_logits(0).log_softmax(-1), random_logits(1).log_softmax(-1)
    prior, probs = log_phi.exp(), log_theta.exp()
    for kind, expected in ((d1, prior / probs**2), (d2, 1 / probs)):
        bend = policywise_curvature(log_phi, log_theta, state_distance=STATE_DISTANCES[kind])
        torch.testing.assert_close(bend, torch.diag_embed(expected))
        numbers = expected.max(-1).values / expected.min(-1).values
        torch.testing.assert_close(condition_numbers(bend), numbers)
        torch.testing.assert_close(smallest_curvature(bend), expected.min())
    torch.testing.assert_close(numbers, probs.max(-1).values / probs.min(-1).values)


def test_a_curvature_without_end_is_reported_and_not_factorised():
    bend = torch.diag_embed(torch.tensor([[1.0, 2.0, 4.0], [1.0, 3.0, torch.inf]]).double())
    assert condition_numbers(bend).tolist() == [4.0, torch.inf]
    assert smallest_curvature(bend) == 0


def test_simplex_solve_is_the_solution_of_the_bordered_system():
    generator = torch.Generator().manual_seed(0)
    draw = {"dtype": torch.float64, "generator": generator}
    root, cotangent = torch.randn(5, 3, 3, **draw), torch.randn(5, 3, **draw)
    matrices = root @ root.mT + torch.eye(3)
    got = simplex_solve(matrices, cotangent)
    for s in range(5):
        bordered = np.zeros((4, 4))
        bordered[:3, :3], bordered[3, :3], bordered[:3, 3] = matrices[s].numpy(), 1, 1
        expected = np.linalg.solve(bordered, [*cotangent[s].tolist(), 0.0])[:3]
        np.testing.assert_allclose(got[s], expected, atol=1e-12)


@pytest.mark.parametrize(("share", "climbs"), [(1.01, False), (0.99, True)])
def test_a_climb_of_d3_stops_where_all_states_together_keep_the_tolerance(share, climbs):
    """At phi the gradient is that of L / lam alone; of the 5 states each may have 1 / sqrt(5)."""
    phi, data = collect(0)
    x, lam = phi["logits"], 2.0
    slope = grad(lambda y: data.state_weights @ (y.softmax(-1) * data.q_values).sum(-1) / lam)(x)
    tolerance = share * slope.norm(dim=-1).max().item() * 5**0.5
    theta, info = adapt(phi, data, policy=TABULAR, distance=d3, lam=lam, tolerance=tolerance)
    assert theta["logits"].equal(x) != climbs
    assert (info.iterations > 0) == climbs
