r"""Inner problems: from the meta-parameters phi to the parameters theta of one task.

This floor holds the exact form, where J and its gradient come from the solved MDP.
"""

from torch import Tensor
from torch.func import grad

from bomrl_lite.linalg import add_scaled
from bomrl_lite.mdp import expected_return
from bomrl_lite.types import Params, TabularPolicy, TabularTask


def policy_return(
    params: Params, task: TabularTask, *, policy: TabularPolicy, gamma: float
) -> Tensor:
    """J_tau(pi_params): the exact expected discounted return of a parametrised policy."""
    return expected_return(policy.log_probs(params).exp(), task, gamma)


def policy_gradient(
    params: Params, task: TabularTask, *, policy: TabularPolicy, gamma: float
) -> Params:
    r"""Gradient of J_tau(pi_params) in the parameters (Sutton et al., 1999, theorem 1).

    \nabla J = 1/(1 - gamma) sum_s nu(s) sum_a \nabla pi(a | s) Q(s, a)

    Computed by differentiating J itself; that the two agree is a test, and lesson 01 shows it.
    """
    return grad(lambda p: policy_return(p, task, policy=policy, gamma=gamma))(params)


def gradient_step(
    phi: Params, task: TabularTask, *, policy: TabularPolicy, gamma: float, step_size: float
) -> Params:
    r"""Take one policy-gradient step, the inner step of MAML (Finn et al., 1703.03400, sect. 2.2).

    theta = phi + alpha \nabla J_tau(phi)

    Args:
        phi: where the step starts.
        task: one task.
        policy: how parameters become a policy.
        gamma: discount in [0, 1).
        step_size: alpha > 0, in units of parameters^2 per return.
    """
    if not step_size > 0:
        raise ValueError(
            f"step_size must be positive, got {step_size}: the step goes up the gradient of J"
        )
    return add_scaled(phi, step_size, policy_gradient(phi, task, policy=policy, gamma=gamma))
