r"""Inner problems: from the meta-parameters phi to the parameters theta of one task.

MAML takes one gradient step on J; universal policy adaptation solves a problem on one-time data.
"""

from functools import partial
from typing import Protocol, runtime_checkable

from jaxtyping import Float
from torch import Tensor
from torch.func import grad

from bomrl_lite.adaptation.adapted import select
from bomrl_lite.adaptation.distances import Distance
from bomrl_lite.mdp import expected_return
from bomrl_lite.require import checked, require_not_negative
from bomrl_lite.rollout.data import OneTimeData
from bomrl_lite.types import Params, StatePolicy, TabularPolicy, TabularTask


@checked()
def policy_return(
    params: Params, task: TabularTask, *, policy: TabularPolicy, gamma: float
) -> Float[Tensor, ""]:
    """J_tau(pi_params): the exact expected discounted return of a parametrised policy."""
    return expected_return(policy.log_probs(params).exp(), task, gamma)


@checked()
def policy_gradient(
    params: Params, task: TabularTask, *, policy: TabularPolicy, gamma: float
) -> Params:
    r"""Gradient of J_tau(pi_params) in the parameters (Sutton et al., 1999, theorem 1).

    \nabla J = 1/(1 - gamma) sum_s nu(s) sum_a \nabla pi(a | s) Q(s, a)

    Computed by differentiating J itself; that the two agree is a test, and lesson 01 shows it.
    """
    return grad(partial(policy_return, task=task, policy=policy, gamma=gamma))(params)


@checked()
def surrogate_objective(
    theta: Params, data: OneTimeData, *, policy: StatePolicy
) -> Float[Tensor, ""]:
    r"""Return L(theta): what the data of pi_phi say about the return of pi_theta.

    L(theta) = E_{s ~ nu, a ~ pi_phi}[pi_theta(a|s) / pi_phi(a|s) Q(s, a)]

    (Xu and Zhu, 2410.09728; Schulman et al., 1502.05477, eq. 14.) In units of return;
    at theta = phi its gradient is (1 - gamma) times that of J.
    """
    ratio = (policy.log_probs(theta) - data.log_probs).exp()
    return (data.state_weights[:, None] * data.action_probs * ratio * data.q_values).sum()


@runtime_checkable
class Surrogate(Protocol):
    """L: what the data promise for pi_theta, in units of return."""

    def __call__(self, theta: Params, data: OneTimeData, *, policy: StatePolicy) -> Tensor:
        """Return a scalar that can be differentiated in theta and in the data."""
        ...


@checked()
def surrogate_slope(
    phi: Params,
    data: OneTimeData,
    *,
    policy: StatePolicy,
    names: tuple[str, ...] = (),
    surrogate: Surrogate = surrogate_objective,
) -> Params:
    r"""Return \nabla_theta L at theta = phi, in the parameters that are adapted.

    Args:
        phi: meta-parameters, which may record a gradient; so may the data.
        data: one-time data.
        policy: how parameters become a policy.
        names: parameters to adapt; none means all.
        surrogate: L.

    Raises:
        ValueError: a name is not there.
    """

    def value(x: Params) -> Tensor:
        return surrogate({**phi, **x}, data, policy=policy)

    return grad(value)(select(phi, names))


@checked(lam=require_not_negative)
def adaptation_objective(
    theta: Params,
    phi: Params,
    data: OneTimeData,
    *,
    policy: StatePolicy,
    distance: Distance,
    lam: float | Tensor,
    surrogate: Surrogate = surrogate_objective,
) -> Float[Tensor, ""]:
    r"""Return the scalar L(theta) - lam D^2(pi_phi, pi_theta), which Alg maximises.

    Both phi and the data may record a gradient: the hypergradient needs it.

    Args:
        theta: adapted parameters.
        phi: meta-parameters.
        data: one-time data of pi_phi.
        policy: how parameters become a policy.
        distance: D^2.
        lam: its weight, >= 0, in units of L.
        surrogate: L.

    Raises:
        ValueError: lam is negative.
    """
    divergence = distance(phi, theta, policy=policy, state_weights=data.state_weights)
    return surrogate(theta, data, policy=policy) - lam * divergence
