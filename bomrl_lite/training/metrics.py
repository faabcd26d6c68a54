r"""How good is a meta-policy? The three metrics of the theory, exactly, task by task.

- stationarity: the norm of the meta-gradient (Fallah et al., 1908.10400);
- meta-objective: E_tau[J_tau(Alg(phi))] (Wang et al., 2020);
- all-task optimum: E_tau[J_tau(pi*_tau) - J_tau(Alg(phi))] (Xu and Zhu, 2410.09728), the strongest:
  every task is compared with its own best policy.
"""

import itertools
from collections.abc import Mapping
from types import MappingProxyType

import torch
from jaxtyping import Float
from torch import Tensor
from torch.func import vmap

from bomrl_lite.adaptation.objective import policy_return
from bomrl_lite.mdp import expected_return, optimal_policy
from bomrl_lite.require import checked
from bomrl_lite.solvers.linear import norm
from bomrl_lite.types import Adaptation, MetaGradient, Params, TabularPolicy, TabularTask


@checked()
def adapted_returns(
    phi: Params,
    tasks: TabularTask,
    adapt: Adaptation,
    *,
    policy: TabularPolicy,
    gamma: float,
    num_steps: int = 1,
) -> Tensor:
    """Return J_tau after 0, 1, ..., num_steps adaptations, [N, num_steps + 1].

    Each further adaptation starts from the policy of the one before, on data of that policy.

    Args:
        phi: meta-parameters, the same for every task.
        tasks: batch of N tasks.
        adapt: Alg, (phi, one task) -> theta.
        policy: how parameters become a policy.
        gamma: discount in [0, 1).
        num_steps: adaptations, >= 0.

    Raises:
        ValueError: a negative number of adaptations.
    """

    def returns_of(task: TabularTask) -> Tensor:
        theta, values = phi, list[Tensor]()
        for step in range(num_steps + 1):
            theta = adapt(theta, task) if step else theta
            values.append(policy_return(theta, task, policy=policy, gamma=gamma))
        return torch.stack(values)

    return vmap(returns_of)(tasks)


@checked()
def optimal_returns(tasks: TabularTask, gamma: float) -> Tensor:
    """Return J_tau(pi*_tau), [N]: what the best policy of each task earns."""

    def of_one(task: TabularTask) -> Tensor:
        return expected_return(optimal_policy(task, gamma)[0], task, gamma)

    return vmap(of_one)(tasks)


@checked()
def optimality_gap(returns: Float[Tensor, "N K"], optimal: Float[Tensor, " N"]) -> Tensor:
    """Return J_tau(pi*_tau) - J_tau, [N, K] from [N, K] and [N]; non-negative up to rounding.

    Raises:
        ValueError: tensors of other shapes.
    """
    if optimal.shape != returns.shape[:1]:
        raise ValueError(
            f"returns must be [N, K] and optimal [N], got {tuple(returns.shape)} and "
            f"{tuple(optimal.shape)}"
        )
    return optimal.unsqueeze(-1) - returns


@checked()
def stationarity(phi: Params, tasks: TabularTask, meta_gradient: MetaGradient) -> Tensor:
    r"""Return ||mean_tau \nabla_phi J_tau(Alg(phi))||, the weak metric, a scalar."""
    gradients, _ = vmap(meta_gradient, in_dims=(None, 0))(phi, tasks)
    return norm({name: leaf.mean(0) for name, leaf in gradients.items()})


@checked()
def gap_rows(
    phi: Params,
    tasks: TabularTask,
    adapt: Adaptation,
    *,
    policy: TabularPolicy,
    gamma: float,
    num_steps: int = 1,
    labels: Mapping[str, str] = MappingProxyType({}),
) -> list[dict[str, float | int | str]]:
    """Return one tidy row per task and number of adaptations, for tables and plots.

    Args:
        phi: meta-parameters.
        tasks: batch of N tasks.
        adapt: Alg, (phi, one task) -> theta.
        policy: how parameters become a policy.
        gamma: discount in [0, 1).
        num_steps: adaptations, >= 0.
        labels: further columns, the same in every row, such as ``{"prior": "maml"}``.
    """
    returns = adapted_returns(phi, tasks, adapt, policy=policy, gamma=gamma, num_steps=num_steps)
    gaps = optimality_gap(returns, optimal_returns(tasks, gamma))
    cells = itertools.product(*map(range, gaps.shape))
    numbers = {"return": returns, "gap": gaps}
    return [
        {
            **labels,
            "task": task,
            "step": step,
            **{name: values[task, step].item() for name, values in numbers.items()},
        }
        for task, step in cells
    ]
