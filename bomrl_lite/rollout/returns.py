r"""Returns, advantages and baselines of sampled episodes; the stop-gradients of DiCE.

Everything acts on the last axis, time, [..., B, T], for any number of leading axes. Padding has
mask 0 and never counts: a sum over time is a product with a triangular matrix of discounts, and
what is masked enters it as 0.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from bomrl_lite.require import (
    checked,
    may_look,
    require_finite,
    require_positive,
    require_share,
)
from bomrl_lite.solvers.linear import solve_columns
from bomrl_lite.types import Rollout


@checked()
def discounted_sums(
    values: Float[Tensor, "*B T"], discount: float, *, start: int = 0
) -> Float[Tensor, "*B T"]:
    r"""Return sum_{u >= t + start} discount^{u - t} x_u for every t.

    Args:
        values: x, 0 where masked.
        discount: in [0, 1].
        start: 0 includes the present, 1 begins with the next step.

    Raises:
        ValueError: a discount outside [0, 1]; so do all that sum over time below.
    """
    return values @ _discounts(values, discount, start)


@checked()
def discounted_pasts(
    values: Float[Tensor, "*B T"], discount: float, *, start: int = 0
) -> Float[Tensor, "*B T"]:
    r"""Return sum_{u <= t - start} discount^{t - u} x_u for every t; arguments as above."""
    return values @ _discounts(values, discount, start).mT


@checked(gamma=require_share)
def discounted_returns(
    rollout: Rollout, gamma: float, *, final_values: Float[Tensor, "*B"] | None = None
) -> Float[Tensor, "*B T"]:
    r"""Return G_t = sum_{u >= t} gamma^{u - t} r_u of every step; 0 at padding.

    Args:
        rollout: episodes.
        gamma: discount in [0, 1].
        final_values: V of the observation after the last step, [..., B]: an episode that was cut
            off goes on with it, one that terminated does not. None counts nothing after the last
            step.

    Raises:
        ValueError: gamma outside [0, 1], or episodes that :func:`check_episodes` refuses.
    """
    check_episodes(rollout)
    rewards = _masked(rollout.rewards, rollout.mask)
    if final_values is not None:
        rewards = rewards + gamma * _last_step(rollout) * _bootstrap(rollout, final_values)
    return discounted_sums(rewards, gamma) * rollout.mask


@checked(gamma=require_share)
def generalised_advantages(
    rollout: Rollout,
    values: Float[Tensor, "*B T"],
    final_values: Float[Tensor, "*B"],
    *,
    gamma: float,
    trace: float,
) -> Float[Tensor, "*B T"]:
    r"""Return the generalised advantage estimate (Schulman et al., 1506.02438, eq. 16).

    A_t = sum_{u >= t} (gamma trace)^{u - t} (r_u + gamma V(s_{u+1}) - V(s_u))

    Args:
        rollout: episodes.
        values: V(s_t).
        final_values: V of the observation after the last step, which counts where the episode was
            cut off and not where it terminated.
        gamma: discount in [0, 1].
        trace: lambda of the estimate in [0, 1]: 1 has no bias from V, 0 the least variance.

    Raises:
        ValueError: as for :func:`discounted_returns`, or a trace outside [0, 1].
    """
    check_episodes(rollout)
    values = _masked(values, rollout.mask)
    following = torch.cat([values[..., 1:], torch.zeros_like(values[..., :1])], dim=-1)
    following = following + _last_step(rollout) * _bootstrap(rollout, final_values)
    errors = _masked(rollout.rewards, rollout.mask) + gamma * following - values
    return discounted_sums(errors * rollout.mask, gamma * trace) * rollout.mask


@checked(gamma=require_share, ridge=require_positive)
def linear_baseline(
    rollout: Rollout, gamma: float, *, ridge: float = 1e-5
) -> tuple[Float[Tensor, "*B T"], Float[Tensor, "*B"]]:
    r"""Fit V linearly in features, task by task, on the returns of the same episodes.

    w = argmin sum_t (V_w(s_t) - G_t - gamma^{T' - t} V(s_{T'}))^2 + ridge |w|^2,  V = V_w

    T' is the end of an episode; the last term counts where it was cut off, and the V in it is the
    fit itself: one linear system has both. Features are o, o^2 and 1, and where all of a task's
    episodes ended by themselves also t/100, (t/100)^2, (t/100)^3 (Duan et al., 1604.06778). An
    episode that is cut off has no end to count time to: with time as a feature V would learn to
    vanish at the cut.

    Args:
        rollout: episodes; numbered states become unit vectors.
        gamma: discount in [0, 1].
        ridge: > 0, relative to the number of samples.

    Returns:
        V(s_t), and V of the observations after the last steps: 0 where an episode terminated.

    Raises:
        ValueError: gamma is 1, or nearer to it than ridge, and a task has no episode that ended by
            itself; or a ridge that is not positive.
    """
    check_episodes(rollout)
    _check_finite_values(rollout, gamma, ridge)
    mask, timed = rollout.mask, rollout.terminated.all(-1)
    steps = torch.arange(mask.shape[-1], dtype=mask.dtype, device=mask.device)
    seen, last = _as_vectors(rollout)
    features = _baseline_features(seen, steps.expand_as(mask), timed) * mask.unsqueeze(-1)
    final = _baseline_features(last, mask.sum(-1), timed)
    final = torch.where(rollout.terminated.unsqueeze(-1), 0.0, final)  # nothing follows
    # gamma^{T' - t}: what V after the cut is worth at step t, 0 in episodes that ended.
    remaining = (mask.sum(-1, keepdim=True) - steps).clamp(min=0)
    cut = mask * (~rollout.terminated).unsqueeze(-1)
    worth = torch.full_like(remaining, gamma) ** remaining * cut
    # Squares of squares of observations: single precision would lose the ridge among them.
    x = features.flatten(-3, -2).double()
    bootstrap = (worth.unsqueeze(-1) * final.unsqueeze(-2)).flatten(-3, -2).double()
    count = mask.sum((-1, -2))[..., None, None].clamp(min=1.0)
    eye = torch.eye(x.shape[-1], dtype=x.dtype, device=x.device)
    # The target G + gamma^{T' - t} w^T f(s_{T'}) holds w itself. Its part moves to the left side:
    # X^T (X - bootstrap) w = X^T G, not symmetric, solved once where iterating would only converge.
    target = x.mT @ discounted_returns(rollout, gamma).flatten(-2).unsqueeze(-1).double()
    weights = solve_columns(x.mT @ (x - bootstrap) + ridge * count * eye, target).to(features)
    return (features @ weights.unsqueeze(-3)).squeeze(-1), (final @ weights).squeeze(-1)


def check_episodes(rollout: Rollout) -> None:
    """Refuse episodes whose tensors do not fit each other, whose mask is none, or without rewards.

    Args:
        rollout: episodes; on a GPU, and where ``vmap`` hides them, its numbers are not read.

    Raises:
        ValueError: what is wrong, and where.
    """
    mask, steps = rollout.mask, rollout.mask.shape
    for name, tensor in rollout._asdict().items():
        axes = steps[:-1] if name in ("final_observations", "terminated") else steps
        if tensor.shape[: len(axes)] != axes:
            raise ValueError(
                f"rollout.{name} must begin with the axes {tuple(axes)} of rollout.mask, got "
                f"{tuple(tensor.shape)}"
            )
    if not may_look(mask):
        return
    if not ((mask == 0) | (mask == 1)).all() or not mask.any():
        raise ValueError("rollout.mask must be 1 for steps that were taken, 0 else, and 1 once")
    require_finite("rollout.rewards", _masked(rollout.rewards, mask))


@checked()
def magic_box(log_probs: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    r"""Return exp(x - stop(x)), [...]: 1, with the derivative of x (DiCE, 1802.05098).

    The stop-gradient makes the factor a number for the value while every derivative multiplies by
    the score once more.
    """
    return (log_probs - log_probs.detach()).exp()


@checked(gamma=require_share)
def dice_objective(
    log_probs: Float[Tensor, "B T"],
    rewards: Float[Tensor, "B T"],
    *,
    gamma: float,
    causal_trace: float = 1.0,
) -> Float[Tensor, ""]:
    r"""Return mean over episodes of sum_t gamma^t box(sum_{u <= t} log pi_u) r_t.

    Its derivatives of every order estimate those of J without bias (Foerster et al., 1802.05098).

    Args:
        log_probs: log pi_phi(a_t | s_t), recording a gradient, 0 at padding.
        rewards: 0 at padding.
        gamma: discount in [0, 1].
        causal_trace: in [0, 1]; below 1 causes of long ago are forgotten, causal_trace^{t - u}:
            less variance, some bias.
    """
    causes = magic_box(discounted_pasts(log_probs, causal_trace))
    return (causes * rewards * _powers(rewards, gamma)).sum(-1).mean()


@checked(gamma=require_share)
def loaded_dice_objective(
    log_probs: Float[Tensor, "B T"],
    advantages: Float[Tensor, "B T"],
    *,
    gamma: float,
    causal_trace: float = 1.0,
) -> Float[Tensor, ""]:
    r"""Return mean over episodes of sum_t gamma^t (box(w_t) - box(w_t - log pi_t)) A_t.

    w_t = sum_{u <= t} causal_trace^{t - u} log pi_u. Derivatives as of :func:`dice_objective`, with
    any advantage estimate in place of rewards (Farquhar et al., 1909.10549, algorithm 1); the value
    is 0. Arguments as for :func:`dice_objective`.
    """
    causes = discounted_pasts(log_probs, causal_trace)
    gain = magic_box(causes) - magic_box(causes - log_probs)
    return (gain * advantages * _powers(advantages, gamma)).sum(-1).mean()


def _discounts(like: Tensor, discount: float, start: int) -> Tensor:
    """Return the matrix [T, T] with discount^{u - t} at (u, t) where u >= t + start, else 0."""
    # One product with a triangular matrix in place of T calls, each of them a record of autograd.
    steps = torch.arange(like.shape[-1], dtype=like.dtype, device=like.device)
    ahead = steps[:, None] - steps
    powers = torch.full_like(ahead, discount) ** ahead.clamp(min=0)
    return torch.where(ahead >= start, powers, 0.0)


def _powers(like: Tensor, gamma: float) -> Tensor:
    steps = torch.arange(like.shape[-1], dtype=like.dtype, device=like.device)
    return torch.full_like(steps, gamma) ** steps


def _masked(x: Tensor, mask: Tensor) -> Tensor:
    """Put 0 at padding, whatever stands there, nan included."""
    return torch.where(mask > 0, x, 0.0)


def _last_step(rollout: Rollout) -> Tensor:
    """Return 1 at the last step of every episode, [..., B, T]."""
    mask = rollout.mask
    return mask - torch.cat([mask[..., 1:], torch.zeros_like(mask[..., :1])], dim=-1)


def _bootstrap(rollout: Rollout, final_values: Tensor) -> Tensor:
    return torch.where(rollout.terminated, 0.0, final_values).unsqueeze(-1)


def _as_vectors(rollout: Rollout) -> tuple[Tensor, Tensor]:
    """Return observations, 0 at padding, and final ones; numbered states become unit vectors."""
    seen, last = rollout.observations, rollout.final_observations
    if seen.is_floating_point():
        return _masked(seen, rollout.mask.unsqueeze(-1)), last
    seen = seen.where(rollout.mask > 0, 0)
    num_states = 1 + int(torch.maximum(seen.max(), last.max()))
    one_hot = torch.eye(num_states, dtype=rollout.mask.dtype, device=seen.device)
    return one_hot[seen], one_hot[last]


def _check_finite_values(rollout: Rollout, gamma: float, ridge: float) -> None:
    """Check that V is finite: without a discount a task needs an end, which others lead to.

    Nearer to 1 than the ridge, it would be the ridge that decides how large V is.
    """
    if 1 - gamma <= ridge and not rollout.terminated.any(-1).all():
        raise ValueError(
            f"gamma = {gamma}, and no episode of a task ended by itself: what follows a cut has "
            "no finite value that a baseline could be fitted to. Take a gamma below 1 such as "
            "0.99, report the time limit as an end (terminated), or leave the baseline out "
            "(baseline=False)"
        )


def _baseline_features(observations: Tensor, steps: Tensor, timed: Tensor) -> Tensor:
    """Return features [..., F]; those of time are 0 in tasks [*N] that are not timed."""
    clipped, time = observations.clamp(-10, 10), steps.unsqueeze(-1) / 100
    counts = timed.reshape(timed.shape + (1,) * (time.ndim - timed.ndim))
    times = [time * counts, time**2 * counts, time**3 * counts] if timed.any() else []
    return torch.cat([clipped, clipped**2, *times, torch.ones_like(time)], dim=-1)
