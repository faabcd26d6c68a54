"""Training on tasks whose best meta-policy is known by hand, and the random ones' statistics."""

import math

import numpy as np
import pytest
import torch
from conftest import return_by_summation

from bomrl_lite import mdp
from bomrl_lite.adaptation.objective import policy_return
from bomrl_lite.policies.networks import tabular_softmax
from bomrl_lite.tasks import make_tasks
from bomrl_lite.tasks.probes import PROBES, random_bandits, random_mdps
from bomrl_lite.training.config import configure
from bomrl_lite.training.problem import make_problem
from bomrl_lite.training.trainer import meta_step, meta_train, start_state


def prob_of_first_arm(state, policy):
    return policy.log_probs(state.phi).exp()[0, 0].item()


def train_from(config, first_logit):
    problem = make_problem(config)
    state = start_state(problem)
    state.phi["logits"][0, 0] = first_logit
    for _ in range(config.iterations):
        meta_step(state, problem)
    return prob_of_first_arm(state, problem.policy)


def best_prior_by_grid(first: int, second: int, alpha: float) -> float:
    """Try every prior: a step from logits (x, 0), where J = p_arm and its slope is +-p (1 - p)."""
    x = torch.linspace(-4, 4, 8001, dtype=torch.float64)
    p = torch.sigmoid(x)
    move = 2 * alpha * p * (1 - p)
    adapted = first * torch.sigmoid(x + move) + second * torch.sigmoid(move - x)
    return p[adapted.argmax()].item()


@pytest.mark.parametrize(("num_tasks", "shares"), [(2, (1, 1)), (3, (2, 1))])
def test_maml_finds_the_prior_that_a_grid_finds_between_opposite_bandits(num_tasks, shares):
    config = configure(
        "maml", tasks="probe/opposite", num_tasks=num_tasks, step_size=4.0, iterations=400
    )
    best = best_prior_by_grid(*shares, alpha=4.0)
    assert abs(train_from(config, first_logit=1.5) - best) < 1e-3


def best_prior_of_alg(distance: str, lam: float) -> float:
    """Three bandits, two for the first arm: try every prior, adapted by hand.

    D2 adds 1 / lam to the logit of the arm that pays. D1: with q = (1, 0), its probability y solves
    1 + lam p / y = lam (1 - p) / (1 - y), a quadratic.
    """
    x = torch.linspace(-4, 4, 8001, dtype=torch.float64)

    def adapted(p):
        if distance == "d2":
            return torch.sigmoid((p / (1 - p)).log() + 1 / lam)
        half = (1 - lam) / 2
        return half + (half**2 + lam * p).sqrt()

    p = torch.sigmoid(x)
    return p[(2 * adapted(p) + adapted(1 - p)).argmax()].item()


@pytest.mark.parametrize(("distance", "lam"), [("d1", 0.5), ("d2", 0.5)])
def test_bomrl_finds_the_prior_that_a_grid_finds(distance, lam):
    config = configure(
        "bomrl",
        distance=distance,
        lam=lam,
        tasks="probe/opposite",
        num_tasks=3,
        iterations=100,
        learning_rate=0.1,
    )
    best = best_prior_of_alg(distance, lam)
    assert 0.51 < best < 0.95
    assert abs(train_from(config, first_logit=1.5) - best) < 1e-3


def test_first_order_maml_misses_it_where_the_parts_are_unequal():
    config = configure(
        "first_order_maml",
        tasks="probe/opposite",
        num_tasks=3,
        step_size=4.0,
        iterations=400,
    )
    best = best_prior_by_grid(2, 1, alpha=4.0)
    assert train_from(config, first_logit=1.5) > best + 0.02


def test_a_jointly_trained_policy_has_no_reason_to_be_undecided():
    """Both arms pay the same on average: the gradient vanishes everywhere, so the prior stays."""
    config = configure("joint_finetuned", tasks="probe/opposite", num_tasks=2, iterations=50)
    start = torch.softmax(torch.tensor([1.5, 0.0]), 0)[0].item()
    assert abs(train_from(config, first_logit=1.5) - start) < 1e-4


def test_identical_tasks_are_solved_by_the_prior_itself():
    config = configure(
        "joint_finetuned", tasks="probe/identical", iterations=600, learning_rate=0.1
    )
    state = meta_train(config)
    assert prob_of_first_arm(state, make_problem(config).policy) > 0.999


def test_a_delayed_reward_is_seen_through_the_discount():
    task = make_tasks("probe/delayed").sample(1, torch.Generator())
    single = type(task)(*(field[0] for field in task))
    policy = tabular_softmax(3, 2)
    phi = policy.init(torch.Generator())
    q = mdp.q_values(policy.log_probs(phi).exp(), single, 0.5)
    assert q[0].tolist() == [0.0, 0.5]
    by_sum = return_by_summation(policy.log_probs(phi).exp(), single, 0.5)
    assert abs(policy_return(phi, single, policy=policy, gamma=0.5) - by_sum[0].mean()) < 1e-12


def drawn(name, split="train", num_tasks=2000, seed=0):
    return make_tasks(name).sample(num_tasks, torch.Generator().manual_seed(seed), split)


@pytest.mark.parametrize("split", ["train", "test"])
def test_random_bandits_pay_independent_uniform_amounts(split):
    tasks = drawn("probe/bandits-5", split)
    assert tasks.reward.shape == (2000, 1, 5)
    assert tasks.transition.unique().tolist() == [1.0]
    arms = tasks.reward[:, 0].numpy()
    assert arms.min() >= 0
    assert arms.max() < 1
    # means and covariances of U[0, 1], within 4 standard errors
    assert (np.abs(arms.mean(0) - 1 / 2) < 4 / (12 * 2000) ** 0.5).all()
    assert (np.abs(np.cov(arms.T) - np.eye(5) / 12) < 4 / 12 / 2000**0.5).all()


@pytest.mark.parametrize("split", ["train", "test"])
def test_random_mdps_have_dirichlet_rows_and_normal_rewards(split):
    tasks = drawn("probe/random-5x3", split)
    rows, rewards = tasks.transition.numpy().reshape(-1, 5), tasks.reward.numpy().reshape(-1, 15)
    assert rows.shape == (2000 * 15, 5)
    # one entry of a flat Dirichlet is Beta(1, 4), whose distribution function is 1 - (1 - x)^4
    for x in (0.05, 0.2, 0.5):
        assert (np.abs((rows <= x).mean(0) - 1 + (1 - x) ** 4) < 4 * 0.5 / len(rows) ** 0.5).all()
    # entries of one row repel each other, rows do not: cov = -1 / (25 * 6)
    off = np.cov(rows.T)[np.triu_indices(5, 1)]
    assert (np.abs(off + 1 / 150) < 4e-4).all()
    assert np.abs(np.cov(rows[::2, 0], rows[1::2, 0])[0, 1]) < 4 * 0.0267 / 15000**0.5
    assert (np.abs(rewards.mean(0)) < 4 / 2000**0.5).all()
    assert (np.abs(np.cov(rewards.T) - np.eye(15)) < 4 * 2**0.5 / 2000**0.5).all()
    assert (tasks.start == 0.2).all()


@pytest.mark.parametrize("name", ["probe/bandits-5", "probe/random-5x3"])
def test_random_tasks_of_one_seed_differ_between_splits(name):
    train, again, test = (drawn(name, split, 20) for split in ("train", "train", "test"))
    assert torch.equal(train.reward, again.reward)
    assert torch.equal(train.transition, again.transition)
    shared = (train.reward.reshape(-1, 1) == test.reward.reshape(1, -1)).any()
    assert not shared
    assert len(train.reward.unique()) == train.reward.numel()


@pytest.mark.parametrize(
    ("draw", "message"),
    [
        (lambda: random_bandits(0), "num_arms must be at least 1, got 0"),
        (lambda: random_mdps(3, 0), "num_actions must be at least 1, got 0"),
        (lambda: drawn("probe/bandits-5", num_tasks=0), "num_tasks must be at least 1, got 0"),
        (lambda: drawn("probe/random-5x3", "val"), "'train' or 'test', got 'val'"),
    ],
)
def test_impossible_random_tasks_are_refused(draw, message):
    with pytest.raises(ValueError, match=message):
        draw()


SHARED = {
    "probe/opposite": 2,
    "probe/identical": 1,
    "probe/delayed": 1,
    "probe/bandits-5": 0,
    "probe/random-5x3": 0,
    "probe/ice-1": 1,
    "probe/ice-0.95": math.inf,
    "probe/ice-0.9": math.inf,
    "probe/ice-0.8": math.inf,
    "probe/ice-0.7": math.inf,
}
"""How many tasks both splits of a probe draw from."""


@pytest.mark.parametrize("name", PROBES)
def test_a_probe_has_numbered_actions_and_says_which_tasks_its_splits_share(name):
    family = make_tasks(name)
    assert family.shared_tasks == SHARED[name]
    assert family.discrete
    tasks = [drawn(name, split, 3) for split in ("train", "test")]
    assert [len(batch.reward) for batch in tasks] == [3, 3]
    if family.shared_tasks == 1:
        for field, other in zip(*tasks, strict=True):
            assert (field == other[:1]).all()


def test_every_probe_is_listed():
    assert SHARED.keys() == PROBES.keys()


def test_random_training_tasks_come_from_the_generator_itself_and_each_test_has_its_own():
    arms = drawn("probe/bandits-5", num_tasks=3).reward[:, 0]
    plain = torch.Generator().manual_seed(0)
    assert arms.equal(torch.rand(3, 5, dtype=torch.float64, generator=plain))
    tests = [drawn("probe/bandits-5", "test", 1, seed).reward for seed in range(60)]
    assert len(torch.cat(tests).unique()) == 60 * 5
