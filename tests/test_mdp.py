import numpy as np
import pytest
import torch
from conftest import (
    central_difference,
    random_logits,
    random_task,
    relative_error,
    return_by_summation,
    returns_of_every_deterministic_policy,
    stack,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.func import grad, vmap

from bomrl_lite import mdp

SIZES = [(1, 1), (1, 4), (3, 2), (6, 4)]


def instance(seed: int, size: tuple[int, int]):
    return random_task(seed, *size), torch.softmax(random_logits(seed, *size), -1)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("gamma", [0.0, 0.5, 0.95])
def test_values_equal_the_sum_over_time(size, gamma):
    task, probs = instance(1, size)
    q = return_by_summation(probs, task, gamma)
    v = (probs.numpy() * q).sum(-1)
    np.testing.assert_allclose(mdp.q_values(probs, task, gamma), q, rtol=1e-11, atol=1e-11)
    np.testing.assert_allclose(mdp.state_values(probs, task, gamma), v, rtol=1e-11, atol=1e-11)
    np.testing.assert_allclose(
        mdp.advantages(probs, task, gamma), q - v[:, None], rtol=1e-10, atol=1e-10
    )
    np.testing.assert_allclose(
        mdp.expected_return(probs, task, gamma), task.start.numpy() @ v, rtol=1e-11
    )


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("gamma", [0.0, 0.5, 0.95])
def test_occupancy_equals_the_sum_over_time(size, gamma):
    task, probs = instance(2, size)
    moves = np.einsum("sa,sat->st", probs.numpy(), task.transition.numpy())
    state, expected, discount = task.start.numpy(), 0.0, 1.0
    while discount > 1e-17:
        expected = expected + (1 - gamma) * discount * state
        state, discount = state @ moves, discount * gamma
    nu = mdp.occupancy(probs, task, gamma)
    np.testing.assert_allclose(nu, expected, rtol=1e-11, atol=1e-13)
    assert abs(nu.sum().item() - 1) < 1e-12


def test_return_is_reward_weighted_by_occupancy():
    task, probs = instance(3, (6, 4))
    nu = mdp.occupancy(probs, task, 0.9)
    average = (nu[:, None] * probs * task.reward).sum() / (1 - 0.9)
    torch.testing.assert_close(mdp.expected_return(probs, task, 0.9), average)


@pytest.mark.parametrize("seed", range(5))
def test_optimal_policy_beats_every_deterministic_policy(seed):
    task = random_task(seed, 4, 3)
    policy, info = mdp.optimal_policy(task, 0.9)
    earned = task.start.numpy() @ (policy.numpy() * return_by_summation(policy, task, 0.9)).sum(-1)
    assert abs(earned - max(returns_of_every_deterministic_policy(task, 0.9))) < 1e-10
    assert info.residual < 1e-12


def test_optimal_policies_of_a_batch_equal_a_loop():
    tasks = [random_task(i) for i in range(4)]
    probs, info = vmap(lambda t: mdp.optimal_policy(t, 0.9))(stack(tasks))
    for i, task in enumerate(tasks):
        assert torch.equal(probs[i], mdp.optimal_policy(task, 0.9)[0])
        assert info.residual[i] < 1e-12


@pytest.mark.parametrize("seed", range(5))
def test_policy_iteration_ends_where_nothing_changes_and_that_changes_no_bit(seed, monkeypatch):
    asked, task = [], random_task(seed)
    values = mdp.q_values
    monkeypatch.setattr(mdp, "q_values", lambda *given: asked.append(given) or values(*given))
    early, residual = mdp.optimal_policy(task, 0.9)
    assert 3 <= len(asked) <= 10
    monkeypatch.setattr(mdp, "may_look", lambda _: False)
    asked.clear()
    late, last = mdp.optimal_policy(task, 0.9)
    assert len(asked) == 51
    assert torch.equal(early, late)
    assert torch.equal(residual.residual, last.residual)
    slope = grad(lambda r: mdp.optimal_policy(task._replace(reward=r), 0.9)[1].residual)
    assert torch.isfinite(slope(task.reward)).all()


def test_optimal_policy_admits_when_it_has_not_finished():
    # a corridor of 12 states pays only at its far end: one improvement cannot see that far
    size = 12
    transition = torch.zeros(size, 2, size, dtype=torch.float64)
    for s in range(size):
        transition[s, 0, max(s - 1, 0)] = transition[s, 1, min(s + 1, size - 1)] = 1.0
    reward = torch.zeros(size, 2, dtype=torch.float64)
    reward[:, 0] = 0.01
    reward[size - 1, 1] = 100.0
    start = torch.eye(size, dtype=torch.float64)[0]
    task = mdp.tabular_task(transition, reward, start)
    short, long = (mdp.optimal_policy(task, 0.5, iterations=n)[1] for n in (1, 50))
    assert long.residual < 1e-9 < short.residual


@pytest.mark.parametrize("value", [0.0, 1.0, 1e6])
def test_a_gain_of_rounding_is_a_tie_and_a_tenfold_one_is_not(value):
    """The threshold is 1e-12 (1 + |Q|): absolute for small values, relative for large ones."""
    still = torch.ones(1, 2, 1, dtype=torch.float64)
    threshold, start = 1e-12 * (1 + value), torch.ones(1, dtype=torch.float64)
    for gain, action in ((0.2 * threshold, 0), (5 * threshold, 1)):
        reward = torch.tensor([[value, value + gain]], dtype=torch.float64)
        policy, _ = mdp.optimal_policy(mdp.tabular_task(still, reward, start), 0.0)
        assert policy.argmax().item() == action


def test_gradients_equal_central_differences():
    task, logits = random_task(4), random_logits(4)
    for quantity in (mdp.q_values, mdp.occupancy):

        def scalar(x, quantity=quantity):
            weights = torch.linspace(-1, 2, quantity(x.softmax(-1), task, 0.9).numel()).double()
            return (quantity(x.softmax(-1), task, 0.9).flatten() * weights).sum()

        assert relative_error(grad(scalar)(logits), central_difference(scalar, logits)) < 1e-8


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10_000), changed=st.integers(0, 3))
def test_changing_one_task_leaves_the_others_bit_identical(seed, changed):
    tasks = [random_task(seed + i) for i in range(4)]
    other = list(tasks)
    other[changed] = random_task(seed + 99)
    probs = random_logits(seed).softmax(-1)
    for quantity in (mdp.q_values, mdp.occupancy, mdp.expected_return):
        batch = vmap(lambda t, f=quantity: f(probs, t, 0.9))
        before, after = batch(stack(tasks)), batch(stack(other))
        for i in range(4):
            assert torch.equal(before[i], after[i]) == (i != changed)


def test_a_batch_equals_a_loop():
    tasks = [random_task(i) for i in range(6)]
    probs = random_logits(0).softmax(-1)
    batched = vmap(lambda t: mdp.q_values(probs, t, 0.95))(stack(tasks))
    looped = torch.stack([mdp.q_values(probs, t, 0.95) for t in tasks])
    torch.testing.assert_close(batched, looped, rtol=1e-12, atol=1e-12)


def test_a_task_in_single_precision_sums_to_1_as_well_as_that_can():
    single = [field.float() for field in random_task(0)]
    single[2] = single[2] * (1 + 1e-6)
    assert mdp.tabular_task(*single).start.dtype == torch.float32
