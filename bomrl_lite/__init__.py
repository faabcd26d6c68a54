"""Bilevel-optimisation meta-RL (BO-MRL): a reference implementation that a course is built on.

Names in the order of the data flow: tasks, exact quantities, policies, one-time data, adaptation,
hypergradients, meta-gradients, configuration, training, evaluation, theory.
"""

import importlib.metadata
import os
import signal
import sys
import threading

# As a command, seconds of imports come first, and Ctrl-C there is no error that wants a traceback.
if (
    "bomrl_lite" in sys.orig_argv
    and sys.argv[:1] == ["-m"]
    and threading.current_thread() is threading.main_thread()
    and signal.getsignal(signal.SIGINT) is signal.default_int_handler
):
    signal.signal(signal.SIGINT, signal.SIG_DFL)

# torch asks for large pages of memory where the system offers them: with small ones a quarter of an
# update of all parameters goes into page faults. Read at torch's first allocation.
os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")

from bomrl_lite.adaptation.closed_forms import (
    closed_form_d1,
    closed_form_d2,
    policywise_hypergradient,
)
from bomrl_lite.adaptation.distances import DISTANCES, d1, d2, d3
from bomrl_lite.adaptation.gradient import gradient_step
from bomrl_lite.adaptation.meta_gradients import bomrl, first_order_maml, joint, maml
from bomrl_lite.adaptation.objective import (
    adaptation_objective,
    policy_gradient,
    policy_return,
    surrogate_objective,
)
from bomrl_lite.adaptation.reductions import natural_gradient_step, policy_gradient_step
from bomrl_lite.adaptation.solve import adapt, adapt_to_task
from bomrl_lite.adaptation.trust_region import adapt_in_trust_region
from bomrl_lite.mdp import (
    advantages,
    expected_return,
    occupancy,
    optimal_policy,
    q_values,
    state_values,
    tabular_task,
)
from bomrl_lite.policies.networks import (
    categorical_mlp,
    gaussian_mlp,
    linear_softmax,
    tabular_softmax,
)
from bomrl_lite.rollout.collect import collect
from bomrl_lite.rollout.data import DATA_FUNCTIONS, SampleBatch, full_data, sample_batch
from bomrl_lite.solvers.implicit import (
    UnsolvedInnerProblem,
    constrained_vjp,
    implicit_vjp,
    unrolled_hypergradient,
)
from bomrl_lite.solvers.linear import conjugate_gradient, null_space_safe_solve
from bomrl_lite.tasks import make_tasks, register_tasks, require_exact, task_names
from bomrl_lite.theory import lower_bound, rigorous_lambda, task_variance
from bomrl_lite.training.config import Config, configure
from bomrl_lite.training.methods import METHODS
from bomrl_lite.training.metrics import adapted_returns, optimal_returns, optimality_gap
from bomrl_lite.training.policy_file import load_policy, save_policy
from bomrl_lite.training.problem import make_problem
from bomrl_lite.training.state import MetaState
from bomrl_lite.training.trainer import load, meta_train
from bomrl_lite.types import Params, TabularPolicy, TabularTask

__version__ = importlib.metadata.version("bomrl-lite")

__all__ = [
    "DATA_FUNCTIONS",
    "DISTANCES",
    "METHODS",
    "Config",
    "MetaState",
    "Params",
    "SampleBatch",
    "TabularPolicy",
    "TabularTask",
    "UnsolvedInnerProblem",
    "adapt",
    "adapt_in_trust_region",
    "adapt_to_task",
    "adaptation_objective",
    "adapted_returns",
    "advantages",
    "bomrl",
    "categorical_mlp",
    "closed_form_d1",
    "closed_form_d2",
    "collect",
    "configure",
    "conjugate_gradient",
    "constrained_vjp",
    "d1",
    "d2",
    "d3",
    "expected_return",
    "first_order_maml",
    "full_data",
    "gaussian_mlp",
    "gradient_step",
    "implicit_vjp",
    "joint",
    "linear_softmax",
    "load",
    "load_policy",
    "lower_bound",
    "make_problem",
    "make_tasks",
    "maml",
    "meta_train",
    "natural_gradient_step",
    "null_space_safe_solve",
    "occupancy",
    "optimal_policy",
    "optimal_returns",
    "optimality_gap",
    "policy_gradient",
    "policy_gradient_step",
    "policy_return",
    "policywise_hypergradient",
    "q_values",
    "register_tasks",
    "require_exact",
    "rigorous_lambda",
    "sample_batch",
    "save_policy",
    "state_values",
    "surrogate_objective",
    "tabular_softmax",
    "tabular_task",
    "task_names",
    "task_variance",
    "unrolled_hypergradient",
]
