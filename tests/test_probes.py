"""Training on tasks whose best meta-policy is known by hand."""

import torch
from conftest import return_by_summation

from bomrl_lite import mdp
from bomrl_lite.adaptation import policy_return
from bomrl_lite.policies import tabular_softmax
from bomrl_lite.tasks import make_tasks
from bomrl_lite.train import MetaConfig, make_problem, meta_step, meta_train, start_state


def prob_of_first_arm(state, policy):
    return policy.log_probs(state.phi).exp()[0, 0].item()


def train_from(config, first_logit):
    problem = make_problem(config)
    state = start_state(config, problem)
    state.phi["logits"][0, 0] = first_logit
    for _ in range(config.iterations):
        meta_step(state, problem.tasks, problem.meta_gradient)
    return prob_of_first_arm(state, problem.policy)


def adapted_by_hand(x: torch.Tensor, alpha: float) -> torch.Tensor:
    """Mean return after one step from logits (x, 0): J_k = p_k, grad = p0 p1 (+-1, -+1)."""
    p = torch.sigmoid(x)
    move = 2 * alpha * p * (1 - p)
    return (torch.sigmoid(x + move) + torch.sigmoid(move - x)) / 2


def test_maml_finds_the_prior_that_a_grid_finds_between_opposite_bandits():
    config = MetaConfig(tasks="probe/opposite", num_tasks=2, step_size=4.0, iterations=300)
    grid = torch.linspace(-4, 4, 4001, dtype=torch.float64)
    best = torch.sigmoid(grid[adapted_by_hand(grid, 4.0).argmax()]).item()
    assert abs(best - 0.5) < 1e-3
    assert abs(train_from(config, first_logit=1.5) - best) < 1e-3


def test_a_jointly_trained_policy_has_no_reason_to_be_undecided():
    """Both arms pay the same on average: the gradient vanishes everywhere, so the prior stays."""
    config = MetaConfig(method="joint", tasks="probe/opposite", num_tasks=2, iterations=50)
    start = torch.softmax(torch.tensor([1.5, 0.0]), 0)[0].item()
    assert abs(train_from(config, first_logit=1.5) - start) < 1e-4


def test_identical_tasks_are_solved_by_the_prior_itself():
    config = MetaConfig(method="joint", tasks="probe/identical", iterations=600, learning_rate=0.1)
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
