"""Bilevel-optimisation meta-RL (BO-MRL): a reference implementation that a course is built on.

Names in the order of the data flow: tasks, exact quantities, policies, adaptation, meta-gradients,
training, evaluation.
"""

from bomrl_lite.adaptation import gradient_step, policy_gradient, policy_return
from bomrl_lite.evaluate import adapted_returns, optimal_returns, optimality_gap, stationarity
from bomrl_lite.linalg import (
    conjugate_gradient,
    dense_solve,
    hessian_vector_product,
    null_space_safe_solve,
)
from bomrl_lite.mdp import (
    advantages,
    expected_return,
    occupancy,
    optimal_policy,
    q_values,
    state_values,
    tabular_task,
)
from bomrl_lite.meta_gradients import META_GRADIENTS, first_order_maml, joint, maml
from bomrl_lite.policies import tabular_softmax
from bomrl_lite.tasks import make_tasks, task_names
from bomrl_lite.train import MetaConfig, MetaState, load, make_problem, meta_train
from bomrl_lite.types import Params, TabularPolicy, TabularTask, TaskDistribution

__all__ = [
    "META_GRADIENTS",
    "MetaConfig",
    "MetaState",
    "Params",
    "TabularPolicy",
    "TabularTask",
    "TaskDistribution",
    "adapted_returns",
    "advantages",
    "conjugate_gradient",
    "dense_solve",
    "expected_return",
    "first_order_maml",
    "gradient_step",
    "hessian_vector_product",
    "joint",
    "load",
    "make_problem",
    "make_tasks",
    "maml",
    "meta_train",
    "null_space_safe_solve",
    "occupancy",
    "optimal_policy",
    "optimal_returns",
    "optimality_gap",
    "policy_gradient",
    "policy_return",
    "q_values",
    "state_values",
    "stationarity",
    "tabular_softmax",
    "tabular_task",
    "task_names",
]
