r"""What Alg may look at: data of ONE policy, pi_phi, and how much of its dependence on phi is kept.

The four functions below return the same numbers. They differ in which of them still record a
gradient towards phi, and that IS the difference between the methods, for any distance:

    rung                   what stays                  known as
    naive_data             the denominator pi_phi      plain automatic differentiation
    frozen_data            nothing                     LVC, ProMP, the first BO-MRL code
    data_with_q_gradient   Q                           Xu and Zhu (2410.09728)
    full_data              Q and the visited states    DiCE, the full hypergradient

The same ladder for samples: ``naive_samples``, ``frozen_samples``, ``samples_with_q_gradient`` and
``full_samples``. Every stop-gradient of both roads is in this file, but for DiCE's magic box
(:mod:`bomrl_lite.rollout.returns`).
"""

from typing import NamedTuple, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from bomrl_lite.mdp import occupancy, q_values
from bomrl_lite.policies.at_samples import PolicyAtSamples
from bomrl_lite.require import checked, described, may_look, require_share
from bomrl_lite.rollout.returns import (
    check_episodes,
    discounted_pasts,
    discounted_returns,
    discounted_sums,
    generalised_advantages,
    linear_baseline,
    magic_box,
)
from bomrl_lite.types import Params, Policy, Rollout, TabularPolicy, TabularTask


class OneTimeData(NamedTuple):
    """The data set D_tau^{pi_phi} of one task.

    On the exact road it is the limit of infinitely many samples. On the sampled road every visit is
    a state of its own, S = M, and the action that was taken its only one, A = 1.
    """

    state_weights: Float[Tensor, "*N S"]
    """nu(s) of pi_phi: how often a state was visited; sums to 1."""
    action_probs: Float[Tensor, "*N S A"]
    """How often an action was taken in a state: what an average over samples weighs with."""
    log_probs: Float[Tensor, "*N S A"]
    """log pi_phi(a | s): the denominator of the ratio pi_theta / pi_phi."""
    q_values: Float[Tensor, "*N S A"]
    """Q(s, a) of pi_phi: the only policy whose value Alg needs."""


@runtime_checkable
class DataFunction(Protocol):
    """A rung of the ladder on exact values."""

    def __call__(
        self, phi: Params, task: TabularTask, *, policy: TabularPolicy, gamma: float
    ) -> OneTimeData:
        """Return the data that pi_phi collects in the task."""
        ...


@checked()
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


@checked()
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


@checked()
def frozen_data(
    phi: Params, task: TabularTask, *, policy: TabularPolicy, gamma: float
) -> OneTimeData:
    """Take all data as given, as a stored batch is.

    With a policy-gradient Alg this is the LVC estimator (Rothfuss et al., 1810.06784). Arguments as
    for :func:`full_data`.
    """
    data = full_data(phi, task, policy=policy, gamma=gamma)
    return OneTimeData(*(field.detach() for field in data))


@checked()
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
"""The rungs by name, as the command line and ``Config.data`` know them."""


class SampleBatch(NamedTuple):
    """Episodes of one task, made ready: numbers only, 0 at padding."""

    observations: Tensor
    """[*N, B, T, O] or [*N, B, T]."""
    actions: Tensor
    """[*N, B, T, K] or [*N, B, T]."""
    log_probs: Float[Tensor, "*N B T"]
    """log pi(a | s) of the policy that acted."""
    advantages: Float[Tensor, "*N B T"]
    """What the data say about A(s, a), normalised if asked."""
    credit: Float[Tensor, "*N B T"]
    """The same before its mean was taken off, in the same unit: what a cause is weighed with."""
    weights: Float[Tensor, "*N B T"]
    """Share of each sample in an average; sums to 1 over B and T."""


@checked(gamma=require_share)
def sample_batch(
    rollout: Rollout,
    *,
    gamma: float,
    trace: float = 1.0,
    normalise: bool = True,
    discounted: bool = False,
    baseline: bool = True,
) -> SampleBatch:
    r"""Turn episodes into what an adaptation reads: advantages and weights, task by task.

    Args:
        rollout: episodes of one task or of N.
        gamma: discount in [0, 1].
        trace: lambda of the generalised advantage estimate, in [0, 1].
        normalise: shift and scale the advantages of a task to mean 0 and deviation 1. Then lam is
            in units of that deviation, not of return.
        discounted: weigh step t with gamma^t, as the occupancy does; else all steps alike.
        baseline: subtract a linear baseline; without it the advantages are returns.

    Raises:
        ValueError: an argument out of its range, a task without a step, or episodes that
            :func:`bomrl_lite.rollout.returns.check_episodes` refuses.
    """
    check_episodes(rollout)
    if may_look(rollout.mask) and not rollout.mask.any(-1).any(-1).all():
        raise ValueError("rollout.mask must hold a step of every task, got a task without one")
    mask = rollout.mask
    if baseline:
        values, final_values = linear_baseline(rollout, gamma)
        credit = generalised_advantages(rollout, values, final_values, gamma=gamma, trace=trace)
    else:
        credit = discounted_returns(rollout, gamma)
    count = mask.sum((-1, -2), keepdim=True).clamp(min=1.0)
    advantages = credit
    # A cause is weighed with what it led to: ``credit`` has the advantages' scale, and its mean.
    if normalise:
        shifted = (credit - credit.sum((-1, -2), keepdim=True) / count) * mask
        deviation = (shifted.square().sum((-1, -2), keepdim=True) / count).sqrt() + 1e-8
        advantages, credit = shifted / deviation, credit / deviation
    steps = torch.arange(mask.shape[-1], dtype=mask.dtype, device=mask.device)
    weights = mask * torch.full_like(steps, gamma) ** steps if discounted else mask
    observations, actions = (
        torch.where(mask.reshape(mask.shape + (1,) * (x.ndim - mask.ndim)) > 0, x, 0)
        for x in (rollout.observations, rollout.actions)
    )
    return SampleBatch(
        observations,
        actions,
        torch.where(mask > 0, rollout.log_probs, 0.0),
        advantages,
        credit,
        weights / weights.sum((-1, -2), keepdim=True),
    )


@checked()
def policy_at(batch: SampleBatch, policy: Policy) -> PolicyAtSamples:
    """Return a policy as the samples [M] of one task see it."""
    return PolicyAtSamples(policy, batch.observations.flatten(0, 1), batch.actions.flatten(0, 1))


@checked()
def frozen_samples(phi: Params, batch: SampleBatch, *, policy: Policy) -> OneTimeData:
    """Take samples as given: the denominator is the number that was stored (LVC, 1810.06784).

    The ratio pi_theta / pi_old is 1 where theta = phi collected the data, but its derivative is the
    score of the action taken: that is H1, which ``naive_samples`` loses.

    Args:
        phi: meta-parameters.
        batch: samples of one task, collected by phi or by a policy near it.
        policy: how parameters become a policy.
    """
    del phi, policy
    return _as_data(batch, batch.log_probs, batch.advantages, batch.weights)


@checked()
def naive_samples(phi: Params, batch: SampleBatch, *, policy: Policy) -> OneTimeData:
    """Differentiate the denominator pi_phi along with the numerator: H2 alone is left.

    Arguments as for :func:`frozen_samples`.
    """
    return _as_data(batch, _log_probs(phi, batch, policy), batch.advantages, batch.weights)


@checked(gamma=require_share)
def samples_with_q_gradient(
    phi: Params, batch: SampleBatch, *, policy: Policy, gamma: float, causal_trace: float = 1.0
) -> OneTimeData:
    r"""Let the advantages know phi, through all later actions: adds H12.

    \nabla A_t = sum_{u > t} (gamma causal_trace)^{u - t} \nabla log pi_phi(a_u | s_u) A_u

    the score estimator of \nabla Q; values are unchanged (after Farquhar et al., 1909.10549).
    causal_trace truncates causes; it is not lambda of the generalised advantage estimate.

    Args:
        phi: meta-parameters.
        batch: samples of one task.
        policy: how parameters become a policy.
        gamma: discount in [0, 1].
        causal_trace: truncation of the causal horizon, in [0, 1]: below 1 it trades variance for
            bias.
    """
    # 0 in value, the score in derivative: the numbers stay those of the other rungs.
    scores = magic_box(_log_probs(phi, batch, policy).reshape(batch.credit.shape)) - 1
    later = discounted_sums(scores * batch.credit, gamma * causal_trace, start=1)
    return _as_data(batch, batch.log_probs, batch.advantages + later, batch.weights)


@checked(gamma=require_share)
def full_samples(
    phi: Params, batch: SampleBatch, *, policy: Policy, gamma: float, causal_trace: float = 1.0
) -> OneTimeData:
    r"""Let the visited states know phi too, through all earlier actions: adds H12^T, all of DiCE.

    \nabla w_t = w_t sum_{u < t} causal_trace^{t - u} \nabla log pi_phi(a_u | s_u)

    Arguments as for :func:`samples_with_q_gradient`.
    """
    data = samples_with_q_gradient(
        phi, batch, policy=policy, gamma=gamma, causal_trace=causal_trace
    )
    log_probs = _log_probs(phi, batch, policy).reshape(batch.credit.shape)
    # A visit is as likely as the product of all earlier choices: the sum of their log-probabilities
    # goes into one box. Padding has log-probabilities too, of no choice.
    before = discounted_pasts(log_probs * (batch.weights > 0), causal_trace, start=1)
    return data._replace(state_weights=data.state_weights * magic_box(before).flatten())


SAMPLE_FUNCTIONS = {
    "naive": naive_samples,
    "frozen": frozen_samples,
    "q_gradient": samples_with_q_gradient,
    "full": full_samples,
}
"""The rungs of sampled data by name; the keys are those of :data:`DATA_FUNCTIONS`."""


@checked()
def counted_data(
    rollout: Rollout, log_probs: Float[Tensor, "S A"], *, gamma: float, known_policy: bool = True
) -> OneTimeData:
    r"""Return the sufficient statistics of sampled episodes of a tabular task.

    nu(s) from discounted visits, Q(s, a) the mean return after (s, a); an action never tried in a
    state counts with the mean return of that state, a state never seen with 0.

    Args:
        rollout: episodes of ONE task, states and actions numbered.
        log_probs: of the policy that collected them.
        gamma: discount in [0, 1).
        known_policy: weigh actions with pi_phi, which is known; False weighs them with how often
            they were taken, which is the importance-weighted average over samples itself.

    Raises:
        ValueError: states or actions that ``log_probs`` does not have, or no episodes of one task.
    """
    num_states, num_actions = log_probs.shape
    for name, numbers, count in (
        ("observations", rollout.observations, num_states),
        ("actions", rollout.actions, num_actions),
    ):
        if numbers.is_floating_point() or numbers.shape != rollout.mask.shape:
            raise ValueError(f"rollout.{name} must be numbered, [B, T], got {described(numbers)}")
        numbers = numbers.where(rollout.mask > 0, 0)
        if may_look(numbers) and not ((numbers >= 0) & (numbers < count)).all():
            raise ValueError(
                f"rollout.{name} must be in [0, {count}), as log_probs has them, got "
                f"{numbers.min()} to {numbers.max()}"
            )
    steps = torch.arange(rollout.mask.shape[-1], dtype=log_probs.dtype, device=log_probs.device)
    weights = rollout.mask.to(log_probs) * gamma**steps
    returns = discounted_returns(rollout, gamma).to(log_probs)
    pairs = rollout.observations * num_actions + rollout.actions
    pairs = pairs.where(rollout.mask > 0, 0).flatten()

    def total(values: Tensor) -> Tensor:
        sums = torch.zeros_like(log_probs).flatten().index_add(0, pairs, values.flatten())
        return sums.reshape(log_probs.shape)

    visits, paid = total(weights), total(weights * returns)
    seen = visits.sum(-1, keepdim=True)
    value = paid.sum(-1, keepdim=True) / seen.where(seen > 0, torch.inf)
    q = torch.where(visits > 0, paid / visits, value)
    probs = log_probs.exp() if known_policy else visits / seen.where(seen > 0, torch.inf)
    return OneTimeData(seen.squeeze(-1) / visits.sum(), probs, log_probs, q)


def _as_data(
    batch: SampleBatch, log_probs: Tensor, advantages: Tensor, weights: Tensor
) -> OneTimeData:
    column = log_probs.reshape(-1, 1)
    return OneTimeData(
        weights.flatten(), torch.ones_like(column.detach()), column, advantages.reshape(-1, 1)
    )


def _log_probs(phi: Params, batch: SampleBatch, policy: Policy) -> Tensor:
    return policy_at(batch, policy).log_probs(phi)
