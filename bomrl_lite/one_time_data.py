r"""What Alg may look at: data of ONE policy, pi_phi, and how much of its dependence on phi is kept.

The four functions below return the same numbers. They differ in which of them still record a
gradient towards phi, and that IS the difference between the methods, for any distance:

    rung                   what stays                  known as
    naive_data             the denominator pi_phi      plain automatic differentiation
    frozen_data            nothing                     LVC, ProMP, the first BO-MRL code
    data_with_q_gradient   Q                           Xu and Zhu (2410.09728)
    full_data              Q and the visited states    DiCE, the full hypergradient

Every stop-gradient of the exact road is in this file.
"""

from collections.abc import Callable
from typing import NamedTuple

from jaxtyping import Float
from torch import Tensor

from bomrl_lite.mdp import occupancy, q_values
from bomrl_lite.types import Params, TabularPolicy, TabularTask


class OneTimeData(NamedTuple):
    """The data set D_tau^{pi_phi} of one task, in its limit of infinitely many samples."""

    state_weights: Float[Tensor, "*N S"]
    """nu(s) of pi_phi: how often a state was visited; sums to 1."""
    action_probs: Float[Tensor, "*N S A"]
    """How often an action was taken in a state: what an average over samples weighs with."""
    log_probs: Float[Tensor, "*N S A"]
    """log pi_phi(a | s): the denominator of the ratio pi_theta / pi_phi."""
    q_values: Float[Tensor, "*N S A"]
    """Q(s, a) of pi_phi: the only policy whose value Alg needs."""


DataFunction = Callable[..., OneTimeData]
"""(phi, task, *, policy, gamma) -> the data that pi_phi collects in the task."""


def full_data(
    phi: Params, task: TabularTask, *, policy: TabularPolicy, gamma: float
) -> OneTimeData:
    """Keep all of the data's dependence on phi: Q and the visited states.

    Args:
        phi: meta-parameters, which collect the data.
        task: one task.
        policy: how parameters become a policy.
        gamma: discount in [0, 1).
    """
    log_probs = policy.log_probs(phi)
    probs = log_probs.exp()
    return OneTimeData(
        occupancy(probs, task, gamma), probs, log_probs, q_values(probs, task, gamma)
    )


def data_with_q_gradient(
    phi: Params, task: TabularTask, *, policy: TabularPolicy, gamma: float
) -> OneTimeData:
    """Keep Q's dependence on phi and take the visited states as given (Xu and Zhu, 2410.09728).

    Exact for a tabular softmax with D1 or D2, where the weight of a state cancels from its own
    stationarity condition; otherwise the derivative of nu is missing. Arguments as for
    :func:`full_data`.
    """
    data = full_data(phi, task, policy=policy, gamma=gamma)
    return data._replace(
        state_weights=data.state_weights.detach(),
        action_probs=data.action_probs.detach(),
        log_probs=data.log_probs.detach(),
    )


def frozen_data(
    phi: Params, task: TabularTask, *, policy: TabularPolicy, gamma: float
) -> OneTimeData:
    """Take all data as given, as a stored batch is.

    With a policy-gradient Alg this is the LVC estimator (Rothfuss et al., 1810.06784). Arguments as
    for :func:`full_data`.
    """
    data = full_data(phi, task, policy=policy, gamma=gamma)
    return OneTimeData(*(field.detach() for field in data))


def naive_data(
    phi: Params, task: TabularTask, *, policy: TabularPolicy, gamma: float
) -> OneTimeData:
    """Take the batch as given, but differentiate the denominator of pi_theta / pi_phi.

    Plain automatic differentiation of a sampled objective does so: the actions are numbers, the
    log-probability that is stored beside them still knows phi. The two belong together, and what
    is left over is an error. Arguments as for :func:`full_data`.
    """
    frozen = frozen_data(phi, task, policy=policy, gamma=gamma)
    return frozen._replace(log_probs=policy.log_probs(phi))


DATA_FUNCTIONS: dict[str, DataFunction] = {
    "naive": naive_data,
    "frozen": frozen_data,
    "q_gradient": data_with_q_gradient,
    "full": full_data,
}
"""The rungs by name, as the command line and ``MetaConfig.data`` know them."""
