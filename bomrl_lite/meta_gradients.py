r"""Gradients of the meta-objective, sibling functions of one signature.

Each maps (phi, one task, dials) to (ascent direction for phi, AdaptInfo). The trainer averages them
over tasks: \nabla_phi E_tau[J_tau(theta_tau(phi))] is the mean of the tasks' gradients.
"""

from functools import partial

from bomrl_lite.adaptation import gradient_step, policy_gradient, policy_return
from bomrl_lite.linalg import add_scaled, hessian_vector_product
from bomrl_lite.types import AdaptInfo, Params, TabularPolicy, TabularTask


def maml(
    phi: Params, task: TabularTask, *, policy: TabularPolicy, gamma: float, step_size: float
) -> tuple[Params, AdaptInfo]:
    r"""Exact meta-gradient of MAML (Finn et al., 1703.03400; Fallah et al., 2002.05135).

    \nabla_phi J(theta) = (I + alpha \nabla^2 J(phi)) \nabla J(theta)

    at theta = phi + alpha \nabla J(phi). With J exact, the Hessian holds every dependence of the
    inner gradient on phi: that of the score, of Q, and of the visited states.

    Args:
        phi: meta-parameters.
        task: one task.
        policy: how parameters become a policy.
        gamma: discount in [0, 1).
        step_size: alpha > 0, in units of parameters^2 per return.

    Returns:
        The ascent direction, of the shapes of ``phi``, and the returns at phi and at theta.
    """
    outer, info = first_order_maml(phi, task, policy=policy, gamma=gamma, step_size=step_size)
    objective = partial(policy_return, task=task, policy=policy, gamma=gamma)
    return add_scaled(outer, step_size, hessian_vector_product(objective, phi)(outer)), info


def first_order_maml(
    phi: Params, task: TabularTask, *, policy: TabularPolicy, gamma: float, step_size: float
) -> tuple[Params, AdaptInfo]:
    r"""MAML without its second-order term: \nabla J(theta) taken as if d theta / d phi = I.

    Finn et al. (1703.03400), section 5.2. Arguments and results as for :func:`maml`.
    """
    theta, info = _one_step(phi, task, policy, gamma, step_size)
    return policy_gradient(theta, task, policy=policy, gamma=gamma), info


def joint(
    phi: Params, task: TabularTask, *, policy: TabularPolicy, gamma: float, step_size: float
) -> tuple[Params, AdaptInfo]:
    r"""Train ONE policy for all tasks: \nabla J(phi), blind to the adaptation that follows.

    The baseline that every meta-learner must beat after adaptation. ``step_size`` serves only to
    report the return after one inner step. Arguments and results as for :func:`maml`.
    """
    _, info = _one_step(phi, task, policy, gamma, step_size)
    return policy_gradient(phi, task, policy=policy, gamma=gamma), info


def _one_step(
    phi: Params, task: TabularTask, policy: TabularPolicy, gamma: float, step_size: float
) -> tuple[Params, AdaptInfo]:
    """Adapt, and note the returns on both sides of it."""
    theta = gradient_step(phi, task, policy=policy, gamma=gamma, step_size=step_size)
    before, after = (policy_return(p, task, policy=policy, gamma=gamma) for p in (phi, theta))
    return theta, AdaptInfo(before, after)


META_GRADIENTS = {"maml": maml, "first_order_maml": first_order_maml, "joint": joint}
"""The methods by name, as the command line and ``MetaConfig.method`` know them."""
