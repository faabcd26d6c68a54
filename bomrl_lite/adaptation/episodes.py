r"""The meta-gradient of one task from episodes, and the objectives that it is made of."""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor
from torch.func import grad

from bomrl_lite.adaptation.adapted import Adapted, Pull
from bomrl_lite.require import checked
from bomrl_lite.rollout.data import SampleBatch, policy_at
from bomrl_lite.solvers.linear import add_scaled
from bomrl_lite.types import Params, Policy, SolvedInfo

Alg = Callable[[Params, SampleBatch], Adapted]
"""(phi, episodes of one task) -> theta and the way back."""


OuterObjective = Callable[[Params, SampleBatch], Tensor]
"""(theta, episodes of theta) -> what the meta-update climbs."""


@checked()
def sampled_meta_gradient(
    phi: Params,
    before: tuple[SampleBatch, ...],
    after: SampleBatch,
    *,
    alg: Alg,
    outer: OuterObjective,
    score: Float[Tensor, ""] | None = None,
    policy: Policy,
) -> tuple[Params, Params, SolvedInfo]:
    r"""Estimate \nabla_phi of one task's outer objective, from samples.

    \nabla_phi J(theta(phi)) + score \nabla_phi mean log pi_phi

    Args:
        phi: meta-parameters.
        before: episodes of each adaptation step: the first collected by phi, the next by what the
            first step made of it, and so on.
        after: episodes of the adapted policy.
        alg: one adaptation step.
        outer: outer objective.
        score: what E-MAML (Stadie et al., 1803.01118; formulation II of 1810.06784) credits the
            collection of the first data with: the task's return after adaptation beside that of
            others. None credits nothing.
        policy: how parameters become a policy.

    Returns:
        The ascent direction of phi, the adapted parameters, and the worst that is known of any
        step.
    """
    theta, pulls, infos = phi, list[Pull](), list[SolvedInfo]()
    for batch in before:
        theta, pull = alg(theta, batch)
        pulls.append(pull)
    cotangent = grad(outer)(theta, after)
    for pull in reversed(pulls):
        cotangent, info = pull(cotangent)
        infos.append(info)
    if score is None:
        return cotangent, theta, worst(infos)
    credit = grad(_mean_log_prob)(phi, before[0], policy)
    return add_scaled(cotangent, score, credit), theta, worst(infos)


@checked()
def adapted(phi: Params, before: tuple[SampleBatch, ...], *, alg: Alg) -> Params:
    """Return the parameters that the adaptation steps of one task lead to."""
    for batch in before:
        phi = alg(phi, batch).theta
    return phi


@checked()
def ratio_objective(
    theta: Params, batch: SampleBatch, *, policy: Policy, clip: float | None = None
) -> Tensor:
    r"""Return the mean, a scalar, of rho A or of min(rho A, clip(rho, 1 - eps, 1 + eps) A).

    rho = pi_theta / pi_old. At the policy that collected the batch both have the gradient of J;
    the clipped one (Schulman et al., 1707.06347, eq. 7) allows several updates on one batch, as
    ProMP takes them (Rothfuss et al., 1810.06784).

    Args:
        theta: parameters of one task.
        batch: episodes of the task.
        policy: how parameters become a policy.
        clip: eps in (0, 1), or None.

    Raises:
        ValueError: another clip.
    """
    if clip is not None and not 0 < clip < 1:
        raise ValueError(f"clip must be in (0, 1), got {clip}")
    log_probs = policy_at(batch, policy).log_probs(theta).reshape(batch.log_probs.shape)
    ratio = (log_probs - batch.log_probs).exp()
    gained = ratio * batch.advantages
    if clip is not None:
        gained = torch.minimum(gained, ratio.clamp(1 - clip, 1 + clip) * batch.advantages)
    return (batch.weights * gained).sum()


@checked()
def mean_divergence(
    old: Params, new: Params, batch: SampleBatch, *, policy: Policy
) -> Float[Tensor, ""]:
    """Return the mean of KL(pi_old || pi_new) over the visits of a batch."""
    return batch.weights.flatten() @ policy_at(batch, policy).divergence(old, new)


def _mean_log_prob(phi: Params, batch: SampleBatch, policy: Policy) -> Tensor:
    return batch.weights.flatten() @ policy_at(batch, policy).log_probs(phi).squeeze(-1)


@checked()
def worst(infos: list[SolvedInfo]) -> SolvedInfo:
    """Return the worst figure of each kind, task by task."""
    stationarity, curvature, residual = (torch.stack(x) for x in zip(*infos, strict=True))
    return SolvedInfo(stationarity.amax(0), curvature.amin(0), residual.amax(0))
