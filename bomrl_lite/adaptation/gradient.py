r"""Alg as one gradient step: that of MAML on exact values, and on the data of any policy."""

from torch.func import vjp

from bomrl_lite.adaptation.adapted import Adapted, DataOf, explicit_info, select
from bomrl_lite.adaptation.objective import policy_gradient, surrogate_slope
from bomrl_lite.require import checked
from bomrl_lite.solvers.linear import add_scaled
from bomrl_lite.types import Params, SolvedInfo, StatePolicy, TabularPolicy, TabularTask


@checked()
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

    Raises:
        ValueError: a step size that is not positive.
    """
    return add_scaled(phi, step_size, policy_gradient(phi, task, policy=policy, gamma=gamma))


@checked()
def gradient_adaptation(
    phi: Params,
    data_of: DataOf,
    *,
    policy: StatePolicy,
    step_size: float,
    names: tuple[str, ...] = (),
    first_order: bool = False,
) -> Adapted:
    r"""Take one step up the surrogate: theta = phi + alpha \nabla_theta L at theta = phi.

    (Finn et al., 1703.03400.) The rung of ``data_of`` makes it naive MAML, LVC or DiCE.

    Args:
        phi: meta-parameters.
        data_of: phi -> one-time data.
        policy: at the samples.
        step_size: alpha > 0, in parameters^2 per unit of the advantages.
        names: parameters to adapt; none means all (head only: Raghu et al., 1909.09157).
        first_order: take d theta / d phi for the identity.

    Raises:
        ValueError: a step size that is not positive, or a name that is not there.
    """

    def step(p: Params) -> Params:
        slope = surrogate_slope(p, data_of(p), policy=policy, names=names)
        return {**p, **add_scaled(select(p, names), step_size, slope)}

    theta, pull_back = vjp(step, phi)[:2]

    def pull(cotangent: Params) -> tuple[Params, SolvedInfo]:
        return cotangent if first_order else pull_back(cotangent)[0], explicit_info(phi)

    return Adapted(theta, pull)
