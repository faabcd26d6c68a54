"""Bilevel-optimisation meta-RL (BO-MRL): a reference implementation that a course is built on.

Names in the order of the data flow: tasks, exact quantities, policies, one-time data, adaptation,
hypergradients, meta-gradients, training, evaluation, theory.
"""

import importlib.metadata
import os

# torch asks for large pages of memory where the system offers them: with small ones a quarter of an
# update of all parameters goes into page faults. Read at torch's first allocation.
os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")

from bomrl_lite.adaptation.closed_forms import (
    closed_form_d1,
    closed_form_d2,
    policywise_hypergradient,
)
from bomrl_lite.adaptation.distances import DISTANCES, d1, d2, d3
from bomrl_lite.adaptation.episodes import sampled_meta_gradient
from bomrl_lite.adaptation.gradient import gradient_adaptation, gradient_step
from bomrl_lite.adaptation.head import head_adaptation
from bomrl_lite.adaptation.meta_gradients import (
    META_GRADIENTS,
    bomrl,
    bomrl_trust_region,
    first_order_bomrl,
    first_order_maml,
    joint,
    maml,
)
from bomrl_lite.adaptation.natural import natural_adaptation, region_adaptation
from bomrl_lite.adaptation.objective import (
    adaptation_objective,
    policy_gradient,
    policy_return,
    surrogate_objective,
)
from bomrl_lite.adaptation.reductions import (
    natural_gradient_step,
    policy_gradient_step,
    ppo_penalty_objective,
    smooth_clip_objective,
)
from bomrl_lite.adaptation.solve import adapt, adapt_to_task, solved_adaptation
from bomrl_lite.adaptation.trust_region import adapt_in_trust_region, adapt_to_task_in_trust_region
from bomrl_lite.mdp import (
    advantages,
    expected_return,
    occupancy,
    optimal_policy,
    q_values,
    state_values,
    tabular_task,
)
from bomrl_lite.methods import METHODS
from bomrl_lite.policies.networks import (
    categorical_mlp,
    gaussian_mlp,
    linear_softmax,
    over_states,
    tabular_softmax,
)
from bomrl_lite.rollout.collect import collect
from bomrl_lite.rollout.data import (
    DATA_FUNCTIONS,
    SAMPLE_FUNCTIONS,
    OneTimeData,
    SampleBatch,
    counted_data,
    data_with_q_gradient,
    frozen_data,
    frozen_samples,
    full_data,
    full_samples,
    naive_data,
    naive_samples,
    sample_batch,
    samples_with_q_gradient,
)
from bomrl_lite.solvers.implicit import (
    UnsolvedInnerProblem,
    constrained_vjp,
    implicit_vjp,
    require_solved,
    unrolled_hypergradient,
)
from bomrl_lite.solvers.linear import (
    conjugate_gradient,
    dense_solve,
    hessian_vector_product,
    neumann_series,
    null_space_safe_solve,
)
from bomrl_lite.tasks import make_sampled_tasks, make_tasks, task_names
from bomrl_lite.theory import (
    distance_to_optimum,
    illustrative_gap_bound,
    lower_bound,
    rigorous_gap_bound,
    rigorous_lambda,
    task_variance,
    theorem_lambda,
)
from bomrl_lite.training.exact_trainer import MetaConfig, MetaState, load, make_problem, meta_train
from bomrl_lite.training.metrics import (
    adapted_returns,
    optimal_returns,
    optimality_gap,
    stationarity,
)
from bomrl_lite.training.sampled_config import SampledConfig
from bomrl_lite.training.sampled_trainer import meta_train as meta_train_sampled
from bomrl_lite.types import Params, TabularPolicy, TabularTask, TaskDistribution

__version__ = importlib.metadata.version("bomrl-lite")

__all__ = [
    "DATA_FUNCTIONS",
    "DISTANCES",
    "META_GRADIENTS",
    "METHODS",
    "SAMPLE_FUNCTIONS",
    "MetaConfig",
    "MetaState",
    "OneTimeData",
    "Params",
    "SampleBatch",
    "SampledConfig",
    "TabularPolicy",
    "TabularTask",
    "TaskDistribution",
    "UnsolvedInnerProblem",
    "adapt",
    "adapt_in_trust_region",
    "adapt_to_task",
    "adapt_to_task_in_trust_region",
    "adaptation_objective",
    "adapted_returns",
    "advantages",
    "bomrl",
    "bomrl_trust_region",
    "categorical_mlp",
    "closed_form_d1",
    "closed_form_d2",
    "collect",
    "conjugate_gradient",
    "constrained_vjp",
    "counted_data",
    "d1",
    "d2",
    "d3",
    "data_with_q_gradient",
    "dense_solve",
    "distance_to_optimum",
    "expected_return",
    "first_order_bomrl",
    "first_order_maml",
    "frozen_data",
    "frozen_samples",
    "full_data",
    "full_samples",
    "gaussian_mlp",
    "gradient_adaptation",
    "gradient_step",
    "head_adaptation",
    "hessian_vector_product",
    "illustrative_gap_bound",
    "implicit_vjp",
    "joint",
    "linear_softmax",
    "load",
    "lower_bound",
    "make_problem",
    "make_sampled_tasks",
    "make_tasks",
    "maml",
    "meta_train",
    "meta_train_sampled",
    "naive_data",
    "naive_samples",
    "natural_adaptation",
    "natural_gradient_step",
    "neumann_series",
    "null_space_safe_solve",
    "occupancy",
    "optimal_policy",
    "optimal_returns",
    "optimality_gap",
    "over_states",
    "policy_gradient",
    "policy_gradient_step",
    "policy_return",
    "policywise_hypergradient",
    "ppo_penalty_objective",
    "q_values",
    "region_adaptation",
    "require_solved",
    "rigorous_gap_bound",
    "rigorous_lambda",
    "sample_batch",
    "sampled_meta_gradient",
    "samples_with_q_gradient",
    "smooth_clip_objective",
    "solved_adaptation",
    "state_values",
    "stationarity",
    "surrogate_objective",
    "tabular_softmax",
    "tabular_task",
    "task_names",
    "task_variance",
    "theorem_lambda",
    "unrolled_hypergradient",
]
