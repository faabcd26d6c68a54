"""What is proved, checked on random tasks; what is measured, checked by enumeration and grids."""

import itertools
import math

import numpy as np
import pytest
import torch
from conftest import random_logits, random_task, solve_task

from bomrl_lite.adaptation.distances import d1, d2, d3
from bomrl_lite.adaptation.solve import adapt_to_task
from bomrl_lite.policies.networks import tabular_softmax
from bomrl_lite.tasks import make_tasks
from bomrl_lite.tasks.probes import bandit
from bomrl_lite.theory import (
    distance_to_optimum,
    fit_convergence,
    illustrative_gap_bound,
    lower_bound,
    optimal_actions,
    rigorous_gap_bound,
    rigorous_lambda,
    running_mean,
    task_variance,
    theorem_lambda,
)
from bomrl_lite.types import TabularTask

GAMMA = 0.8
POLICY = tabular_softmax(5, 3)
DIALS = {"policy": POLICY, "gamma": GAMMA}
KL = {"d1": d1, "d2": d2}


def single(tasks: TabularTask, index: int = 0) -> TabularTask:
    return TabularTask(*(field[index] for field in tasks))


def returned(logits, task, gamma=GAMMA):
    return solve_task(logits.softmax(-1), task, gamma)[2]


def least_lambda(logits, task, gamma=GAMMA) -> float:
    """2 gamma A_max / ((1 - gamma) sqrt(nu_min)) from the oracle's nu and Q."""
    probs = logits.softmax(-1)
    nu, q, _ = solve_task(probs, task, gamma)
    advantage = q - (probs * q).sum(-1, keepdim=True)
    reached = nu[nu > 1e-9]
    return (2 * gamma * advantage.abs().max() / ((1 - gamma) * reached.min().sqrt())).item()


def test_the_weights_of_the_theorem_and_of_the_proof():
    assert abs(theorem_lambda(2.0, 3.0, 0.9) - 600) < 1e-9
    for seed in range(5):
        task, logits = random_task(seed), random_logits(seed)
        got = rigorous_lambda({"logits": logits}, task, **DIALS)
        assert abs(got / least_lambda(logits, task) - 1) < 1e-10


def test_states_that_nobody_reaches_do_not_count():
    task = make_tasks("probe/delayed").sample(1, torch.Generator())
    policy = tabular_softmax(3, 2)
    logits = torch.zeros(3, 2, dtype=torch.float64)
    logits[0, 0] = 200.0
    got = rigorous_lambda({"logits": logits}, single(task), policy=policy, gamma=0.5)
    assert torch.isfinite(got)
    assert abs(got / least_lambda(logits, single(task), gamma=0.5) - 1) < 1e-10


@pytest.mark.parametrize("name", KL)
def test_the_lower_bound_holds_for_every_policy(name):
    """Random tasks, far and near policies; and the same bound from above, with + lam."""
    tightest = math.inf
    for seed in range(12):
        task, phi = random_task(seed), random_logits(seed)
        for k, scale in enumerate((0.1, 1.0, 5.0, 30.0)):
            theta = phi + scale * random_logits(100 * seed + k)
            lam = least_lambda(phi, task)
            apart = {"distance": KL[name], **DIALS}
            pair = ({"logits": theta}, {"logits": phi}, task)
            truth = returned(theta, task)
            below = lower_bound(*pair, lam=lam, **apart)
            above = lower_bound(*pair, lam=-lam, **apart)
            assert below <= truth + 1e-9 <= above + 2e-9
            tightest = min(tightest, ((truth - below) / (above - below)).item())
    assert tightest < 0.5


@pytest.mark.parametrize("name", KL)
def test_the_lower_bound_touches_the_return_at_phi_and_is_the_sum_it_stands_for(name):
    task, phi, theta, lam = random_task(0), random_logits(0), random_logits(1), 3.0
    apart = {"distance": KL[name], "lam": lam, **DIALS}
    touch = lower_bound({"logits": phi}, {"logits": phi}, task, **apart)
    assert abs(touch - returned(phi, task)) < 1e-12
    p, q_theta = phi.softmax(-1), theta.softmax(-1)
    nu, q, value = solve_task(p, task, GAMMA)
    first, second = (p, q_theta) if name == "d1" else (q_theta, p)
    divergence = nu @ (first * (first / second).log()).sum(-1)
    expected = value + (nu @ ((q_theta - p) * q).sum(-1) - lam * divergence) / (1 - GAMMA)
    got = lower_bound({"logits": theta}, {"logits": phi}, task, **apart)
    assert abs(got - expected) < 1e-10


@pytest.mark.parametrize("name", KL)
def test_adaptation_with_that_lambda_never_loses(name):
    for seed in range(8):
        task, phi = random_task(seed), random_logits(seed)
        lam = least_lambda(phi, task)
        theta = adapt_to_task({"logits": phi}, task, distance=KL[name], lam=lam, **DIALS)
        bound = lower_bound(theta, {"logits": phi}, task, distance=KL[name], lam=lam, **DIALS)
        assert returned(phi, task) < bound <= returned(theta["logits"], task)


def best_of_all(task, gamma):
    """Return of every deterministic policy of a small task, by enumeration."""
    states, actions = task.reward.shape
    returns = {}
    for choice in itertools.product(range(actions), repeat=states):
        probs = torch.nn.functional.one_hot(torch.tensor(choice), actions).double()
        returns[choice] = returned((probs + 1e-300).log(), task, gamma).item()
    return returns


def test_optimal_actions_are_those_of_the_best_policies_of_all():
    """Every start state counts (rho > 0), so the best policies take optimal actions everywhere."""
    task = random_task(3, 4, 3)
    twin = task.reward.clone(), task.transition.clone()
    twin[0][1, 2], twin[1][1, 2] = task.reward[1, 0], task.transition[1, 0]
    task = TabularTask(twin[1], twin[0], task.start)
    returns = best_of_all(task, GAMMA)
    best = max(returns.values())
    expected = torch.zeros(4, 3, dtype=torch.bool)
    for choice, value in returns.items():
        if value > best - 1e-10:
            expected[torch.arange(4), torch.tensor(choice)] = True
    assert torch.equal(optimal_actions(task, GAMMA), expected)
    assert expected.sum() in (4, 5)


def test_equal_actions_are_all_optimal():
    task = bandit(torch.tensor([1.0, 1.0, 0.5], dtype=torch.float64))
    assert optimal_actions(task, 0.0).tolist() == [[True, True, False]]


def test_the_distance_to_the_optimum_is_that_to_the_nearest_optimal_policy():
    """A tie between two actions: a grid over all their mixtures has no nearer one."""
    task = random_task(3, 2, 3)
    reward, transition = task.reward.clone(), task.transition.clone()
    reward[:, 1], transition[:, 1] = reward[:, 0], transition[:, 0]
    reward[:, 2] -= 5
    task = TabularTask(transition, reward, task.start)
    policy, logits = tabular_softmax(2, 3), random_logits(0, 2, 3)
    probs = logits.softmax(-1)
    nu, _, _ = solve_task(probs, task, GAMMA)
    share = torch.linspace(0, 1, 2001, dtype=torch.float64)[1:-1]
    mixed = torch.stack([share, 1 - share], -1)
    nearest = sum(nu[s] * (mixed * (mixed / probs[s, :2]).log()).sum(-1).min() for s in range(2))
    got = distance_to_optimum({"logits": logits}, task, policy=policy, gamma=GAMMA)
    assert 0 <= nearest - got < 1e-5


def test_the_distance_to_a_unique_optimum_is_minus_the_log_of_its_probability():
    task, logits = random_task(0), random_logits(0)
    small = best_of_all(task, GAMMA)
    choice = max(small, key=small.get)
    nu, _, _ = solve_task(logits.softmax(-1), task, GAMMA)
    expected = -sum(nu[s] * logits.log_softmax(-1)[s, a] for s, a in enumerate(choice))
    assert abs(distance_to_optimum({"logits": logits}, task, **DIALS) - expected) < 1e-10

    eps, probs = 0.1, logits.softmax(-1)
    target = torch.full((5, 3), eps / 3, dtype=torch.float64)
    target[torch.arange(5), torch.tensor(choice)] += 1 - eps
    smooth = {"smoothing": eps, **DIALS}
    got = distance_to_optimum({"logits": logits}, task, distance=d1, **smooth)
    assert abs(got - nu @ (probs * (probs / target).log()).sum(-1)) < 1e-10
    got = distance_to_optimum({"logits": logits + 3.0}, task, distance=d3, **smooth)
    gap = logits - logits.mean(1, keepdim=True) - target.log() + target.log().mean(1, keepdim=True)
    assert abs(got - gap.square().sum()) < 1e-10


def test_equal_optimal_actions_share_the_smoothed_optimum():
    task = bandit(torch.tensor([1.0, 1.0, 0.5], dtype=torch.float64))
    logits = random_logits(4, 1, 3)
    target = torch.tensor([[0.475, 0.475, 0.05]], dtype=torch.float64)
    policy, smooth = tabular_softmax(1, 3), {"gamma": 0.0, "smoothing": 0.15}
    got = distance_to_optimum({"logits": logits}, task, policy=policy, distance=d1, **smooth)
    probs = logits.softmax(-1)
    assert abs(got - (probs * (probs / target).log()).sum()) < 1e-12
    got = distance_to_optimum({"logits": logits}, task, policy=policy, distance=d3, **smooth)
    gap = logits - logits.mean() - target.log() + target.log().mean()
    assert abs(got - gap.square().sum()) < 1e-12


@pytest.mark.parametrize(("distance", "eps"), [(d1, 0.1), (d2, 0.0), (d3, 0.1)])
def test_the_distance_to_the_optimum_has_the_derivative_of_its_differences(distance, eps):
    """Occupancies move with the policy too."""
    task, logits, step = random_task(1), random_logits(2), 1e-5

    def value(x):
        settings = {"distance": distance, "smoothing": eps, **DIALS}
        return distance_to_optimum({"logits": x}, task, **settings)

    direction = random_logits(3)
    slope = (torch.func.grad(value)(logits) * direction).sum()
    difference = value(logits + step * direction) - value(logits - step * direction)
    assert abs(slope - difference / (2 * step)) < 1e-7 * abs(slope)


@pytest.mark.parametrize(("distance", "eps"), [(d1, 0.0), (d3, 0.0), (d2, 1.0), (d2, -0.1)])
def test_a_smoothing_that_leaves_the_distance_infinite_is_refused(distance, eps):
    with pytest.raises(ValueError, match=rf"> 0 for d1 and d3.*got {eps}"):
        distance_to_optimum(
            {"logits": random_logits(0)}, random_task(0), distance=distance, smoothing=eps, **DIALS
        )


def arms_of(name: str, num_tasks: int):
    tasks = make_tasks(name).sample(num_tasks, torch.Generator())
    return tasks, tabular_softmax(*tasks.reward.shape[-2:])


def test_the_variance_of_opposite_bandits_is_log_2_and_that_of_identical_ones_0():
    tasks, policy = arms_of("probe/opposite", 2)
    variance, middle, info = task_variance(tasks, policy=policy, gamma=0.0, max_iterations=2)
    assert abs(variance - math.log(2)) < 1e-12
    torch.testing.assert_close(middle["logits"].softmax(-1), torch.full((1, 2), 0.5).double())
    assert info.stationarity < 1e-9
    tasks, policy = arms_of("probe/identical", 2)
    variance, middle, _ = task_variance(tasks, policy=policy, gamma=0.0, max_iterations=10)
    assert variance < 1e-3
    assert middle["logits"].softmax(-1)[0, 0] > 1 - 1e-3


@pytest.mark.parametrize(
    ("distance", "eps"), [(d2, 0.0), (d1, 0.2), (d3, 0.2)], ids=["d2", "d1", "d3"]
)
def test_the_variance_of_a_mix_of_bandits_equals_a_grid_search(distance, eps):
    """Three bandits, two of one kind: the best middle is not in the middle."""
    tasks, policy = arms_of("probe/opposite", 3)
    variance, middle, info = task_variance(
        tasks, policy=policy, gamma=0.0, distance=distance, smoothing=eps, max_iterations=8
    )
    x = torch.linspace(-4, 4, 80001, dtype=torch.float64)
    p = torch.sigmoid(x)
    high, low = 1 - eps / 2, eps / 2

    def kl(first):
        return p * (p / first).log() + (1 - p) * ((1 - p) / (1 - first)).log()

    if distance is d2:
        mean = (-2 * p.log() - (1 - p).log()) / 3
    elif distance is d1:
        mean = (2 * kl(high) + kl(low)) / 3
    else:
        lead = math.log(high / low)
        mean = (2 * (x - lead) ** 2 + (x + lead) ** 2) / 6
    assert abs(variance - mean.min()) < 1e-7
    found = middle["logits"][0, 0] - middle["logits"][0, 1]
    assert abs(found - x[mean.argmin()]) < 1e-3
    assert info.stationarity < 1e-9
    assert variance > 0.1


@pytest.mark.parametrize(("distance", "eps", "steps"), [(d3, 0.1, 3), (d2, 0.0, 6)])
def test_the_less_ice_the_more_variance(distance, eps, steps):
    policy, found = tabular_softmax(16, 4), []
    for ice in ("1", "0.9", "0.7"):
        distribution = make_tasks(f"probe/ice-{ice}")
        tasks = distribution.sample(10, torch.Generator().manual_seed(1), "train")
        dials = {"policy": policy, "gamma": distribution.gamma, "max_iterations": steps}
        found.append(task_variance(tasks, distance=distance, smoothing=eps, **dials)[0].item())
    open_lake, some, many = found
    assert 0 <= open_lake < 2e-3
    assert open_lake < some / 5 < many / 5


def test_the_gap_bound_holds_from_its_lambda_on_and_says_nothing_below():
    for seed in range(6):
        task, phi = random_task(seed), {"logits": random_logits(seed)}
        least = least_lambda(phi["logits"], task)
        best = max(best_of_all(task, GAMMA).values()) if seed < 2 else None
        for factor in (1.0000001, 2.0, 10.0):
            lam = factor * least
            theta = adapt_to_task(phi, task, distance=d2, lam=lam, **DIALS)
            bound = rigorous_gap_bound(phi, task, lam=lam, **DIALS)
            apart = distance_to_optimum(phi, task, **DIALS)
            assert abs(bound / ((lam + least) / (1 - GAMMA) * apart) - 1) < 1e-10
            if best is not None:
                assert 0 <= best - returned(theta["logits"], task) <= bound
        assert rigorous_gap_bound(phi, task, lam=0.99 * least, **DIALS) == torch.inf


@pytest.mark.parametrize("family", ["frozen_lake/holes-4x4", "frozen_lake/costs-4x4"])
def test_the_gap_bound_holds_on_lakes_and_is_vacuous_there(family):
    distribution = make_tasks(family)
    tasks = distribution.sample(3, torch.Generator().manual_seed(0), "train")
    policy, gamma = tabular_softmax(16, 4), distribution.gamma
    for index in range(3):
        task, logits = single(tasks, index), random_logits(index, 16, 4)
        lam = 1.01 * least_lambda(logits, task, gamma)
        dials = {"policy": policy, "gamma": gamma}
        theta = adapt_to_task({"logits": logits}, task, distance=d2, lam=lam, **dials)
        bound = rigorous_gap_bound({"logits": logits}, task, lam=lam, **dials)
        values = torch.zeros(16, dtype=torch.float64)
        for _ in range(300):
            values = (task.reward + gamma * task.transition @ values).max(-1).values
        best = task.start @ values
        gap = best - returned(theta["logits"], task, gamma)
        assert 0 < gap <= bound
        assert bound > 20 * gap
        worst = task.reward.min() / (1 - gamma)
        assert bound > best - worst, "vacuous: above the largest gap there can be"


def test_the_illustrative_bound_is_what_figures_draw_and_no_more():
    apart = torch.tensor([0.2475, 0.0], dtype=torch.float64)
    got = illustrative_gap_bound(apart, lam=0.1, gamma=0.8)
    torch.testing.assert_close(got, 9 * 0.1 * apart)
    with pytest.raises(ValueError, match="lam must be positive and finite, got 0"):
        illustrative_gap_bound(apart, lam=0.0, gamma=0.8)


def test_running_means():
    got = running_mean(torch.tensor([4.0, 2.0, 0.0, 6.0], dtype=torch.float64))
    assert got.tolist() == [4.0, 3.0, 2.0, 3.0]


@pytest.mark.parametrize(
    "planted", list(itertools.product((0.0, 3.0), (0.0, 0.7), (0.0, 0.2)))[1:], ids=str
)
def test_the_fit_recovers_planted_terms(planted):
    steps = torch.arange(1, 151, dtype=torch.float64)
    k, m, floor = planted
    got = fit_convergence(k / steps + m / steps.sqrt() + floor)
    np.testing.assert_allclose(got, planted, atol=1e-9)


def test_the_fit_has_no_negative_terms_and_is_the_best_of_those():
    steps = torch.arange(1, 101, dtype=torch.float64)
    curve = 2 / steps - 0.5 / steps.sqrt() + 0.3 + 0.01 * torch.sin(steps)
    steps = steps.numpy()
    got = np.array(fit_convergence(curve))
    assert (got >= 0).all()
    columns = np.stack([1 / steps, 1 / np.sqrt(steps), np.ones(100)], -1)

    def error(terms):
        return ((columns @ terms - curve.numpy()) ** 2).sum()

    rng = np.random.default_rng(0)
    others = np.maximum(0, got + 0.1 * rng.standard_normal((2000, 3)))
    assert all(error(got) <= error(other) for other in others)
    assert got[1] == 0
