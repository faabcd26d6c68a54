"""The ladder: which part of the data's dependence on phi each rung keeps, and what that costs."""

import functools

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
from torch.func import grad, hessian, jacrev

from bomrl_lite.adaptation.distances import d1, d2, d3
from bomrl_lite.adaptation.meta_gradients import bomrl
from bomrl_lite.adaptation.objective import surrogate_objective
from bomrl_lite.adaptation.solve import adapt_to_task
from bomrl_lite.policies.networks import linear_softmax, tabular_softmax
from bomrl_lite.rollout.data import DATA_FUNCTIONS, OneTimeData

GAMMA = 0.9
TASKS = [random_task(i) for i in range(3)]
TABULAR = tabular_softmax(5, 3)


@pytest.mark.parametrize("rung", DATA_FUNCTIONS)
def test_every_rung_holds_the_same_numbers(rung):
    x = random_logits(0)
    probs = x.softmax(-1)
    nu, q, _ = solve_task(probs, TASKS[0], GAMMA)
    got = DATA_FUNCTIONS[rung]({"logits": x}, TASKS[0], policy=TABULAR, gamma=GAMMA)
    for field, expected in zip(got, (nu, probs, probs.log(), q), strict=True):
        torch.testing.assert_close(field, expected, rtol=1e-12, atol=1e-12)


KEPT = {
    "naive": {"log_probs"},
    "frozen": set(),
    "q_gradient": {"q_values"},
    "full": {"state_weights", "action_probs", "log_probs", "q_values"},
}


@pytest.mark.parametrize("rung", DATA_FUNCTIONS)
def test_every_rung_keeps_the_dependence_that_its_name_says(rung):
    def of(name, x):
        data = DATA_FUNCTIONS[rung]({"logits": x}, TASKS[0], policy=TABULAR, gamma=GAMMA)
        return getattr(data, name)

    x = random_logits(0)
    slopes = {name: jacrev(lambda y, n=name: of(n, y))(x) for name in OneTimeData._fields}
    assert {name for name, slope in slopes.items() if slope.abs().max() > 0} == KEPT[rung]
    if rung == "full":
        for name, index in (("state_weights", 0), ("q_values", 1)):
            expected = jacrev(lambda y, i=index: solve_task(y.softmax(-1), TASKS[0], GAMMA)[i])(x)
            assert relative_error(slopes[name], expected) < 1e-12


def hessian_parts(x: torch.Tensor) -> dict[str, torch.Tensor]:
    """H1, H2 and H12 as sums over states and actions of scores written out by hand."""
    probs = x.softmax(-1)
    nu, q, _ = solve_task(probs, TASKS[0], GAMMA)
    slope_q = jacrev(lambda y: solve_task(y.softmax(-1), TASKS[0], GAMMA)[1])(x).reshape(5, 3, 15)
    parts = {name: torch.zeros(15, 15, dtype=torch.float64) for name in ("H1", "H2", "H12")}
    for s in range(5):
        block = slice(3 * s, 3 * s + 3)
        bend = torch.diag(probs[s]) - torch.outer(probs[s], probs[s])
        for a in range(3):
            score = torch.zeros(15, dtype=torch.float64)
            score[block] = -probs[s]
            score[3 * s + a] += 1
            weight = nu[s] * probs[s, a]
            parts["H1"] += weight * q[s, a] * torch.outer(score, score)
            parts["H2"][block, block] -= weight * q[s, a] * bend
            parts["H12"] += weight * torch.outer(score, slope_q[s, a])
    return parts


def test_the_rungs_are_the_four_parts_of_the_hessian_of_the_return():
    """d/dphi of the surrogate's slope at theta = phi; the full one is (1 - gamma) Hess J."""
    x = random_logits(0)
    parts = hessian_parts(x)
    sums = {
        "naive": parts["H2"],
        "frozen": parts["H1"] + parts["H2"],
        "q_gradient": parts["H1"] + parts["H2"] + parts["H12"],
        "full": parts["H1"] + parts["H2"] + parts["H12"] + parts["H12"].T,
    }
    exact = hessian(lambda y: solve_task(y.softmax(-1), TASKS[0], GAMMA)[2])(x).reshape(15, 15)
    errors = []
    for rung, expected in sums.items():

        def slope(y, rung=rung):
            data = DATA_FUNCTIONS[rung]({"logits": y}, TASKS[0], policy=TABULAR, gamma=GAMMA)
            return grad(lambda t: surrogate_objective({"logits": t}, data, policy=TABULAR))(y)

        got = jacrev(slope)(x).reshape(15, 15)
        assert relative_error(got, expected) < 1e-10
        errors.append(relative_error(got, (1 - GAMMA) * exact))
    naive, frozen, q_gradient, full = errors
    assert naive > 1 > frozen > q_gradient > 0.05
    assert full < 1e-10


def test_the_part_of_the_visits_is_the_transpose_of_the_part_of_q():
    x = random_logits(0)
    probs = x.softmax(-1)
    slope_nu = jacrev(lambda y: solve_task(y.softmax(-1), TASKS[0], GAMMA)[0])(x).reshape(5, 15)
    _, q, _ = solve_task(probs, TASKS[0], GAMMA)
    advantage = q - (probs * q).sum(-1, keepdim=True)
    visits = torch.einsum("si,sb->sbi", slope_nu, probs * advantage).reshape(15, 15)
    assert relative_error(visits, hessian_parts(x)["H12"].T) < 1e-10


@functools.cache
def ladder(kind: str, distance, seed: int) -> dict[str, float]:
    """Relative error of every rung against differences of phi -> J(Alg(phi)), at lam = 2."""
    if kind == "tabular":
        policy, phi = TABULAR, {"logits": random_logits(seed)}
    else:
        policy, phi = linear_softmax(random_features(seed)), {"weights": random_weights(seed)}
    ((name, x),) = phi.items()
    dials = {"policy": policy, "gamma": GAMMA, "distance": distance, "lam": 2.0}

    def after(y):
        theta = adapt_to_task({name: y}, TASKS[seed], **dials)
        return solve_task(policy.log_probs(theta).exp(), TASKS[seed], GAMMA)[2]

    exact = central_difference_at_once(after, x)
    return {
        rung: relative_error(bomrl(phi, TASKS[seed], data=data, **dials)[0][name], exact)
        for rung, data in DATA_FUNCTIONS.items()
    }


SEEDS = range(3)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("distance", [d1, d2, d3], ids=["d1", "d2", "d3"])
@pytest.mark.parametrize("kind", ["tabular", "linear"])
def test_the_full_rung_costs_nothing_and_the_naive_one_most(kind, distance, seed):
    """Of frozen and q_gradient the second is better but with shared weights, where the slopes of
    Q and of the visits may partly cancel: keeping one of them alone is then no gain.
    """
    errors = ladder(kind, distance, seed)
    assert errors["full"] < 1e-7
    assert errors["naive"] > 2 * max(errors["frozen"], errors["q_gradient"])
    if kind == "tabular":
        assert errors["frozen"] > errors["q_gradient"]


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("distance", [d1, d2], ids=["d1", "d2"])
def test_the_q_gradient_suffices_for_free_logits_and_a_kl_distance(distance, seed):
    errors = ladder("tabular", distance, seed)
    assert errors["q_gradient"] < 1e-8
    assert 0.03 < errors["frozen"] < 0.3
    assert errors["naive"] > 1


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(
    ("kind", "distance"), [("linear", d1), ("linear", d2), ("linear", d3), ("tabular", d3)]
)
def test_elsewhere_the_slope_of_the_visits_is_missed(kind, distance, seed):
    errors = ladder(kind, distance, seed)
    assert 5e-4 < errors["q_gradient"] < 0.1
    assert 1e-3 < errors["frozen"] < 0.27
