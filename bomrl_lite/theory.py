r"""What is proved about universal policy adaptation, as functions to compute it with.

Sources: S. Xu and M. Zhu (2410.09728) for the statements; the rigorous constants come from the
proof in lesson 05a, after Kakade and Langford (2002) and Achiam et al. (1705.10528).

An optimal policy is rarely unique: where several actions are optimal, so is every mixture of them.
Distances to "the" optimum below are to the nearest one of this kind where they can be.
"""

import itertools
from collections.abc import Callable
from functools import partial
from typing import cast

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.func import vmap

from bomrl_lite.adaptation.distances import Distance, d1, d2, d3, kl_divergence
from bomrl_lite.adaptation.objective import policy_return, surrogate_objective
from bomrl_lite.mdp import advantages, occupancy, optimal_policy, q_values
from bomrl_lite.require import checked, described, require_finite, require_number
from bomrl_lite.rollout.data import full_data
from bomrl_lite.solvers.maximize import MaximizeInfo, maximize
from bomrl_lite.types import Params, TabularPolicy, TabularTask


@checked()
def theorem_lambda(a_max: float, smoothness: float, gamma: float) -> float:
    r"""Return lam = A_max L / (1 - gamma)^2, the weight for which the theorem is stated.

    A_max bounds the advantages; L is a constant that no public source of the paper spells out.

    Args:
        a_max: largest |A(s, a)|, in units of return.
        smoothness: L > 0, without unit.
        gamma: discount in [0, 1).

    Raises:
        ValueError: an argument out of its range; a_max is 0 or more.
    """
    return a_max * smoothness / (1 - gamma) ** 2


@checked()
def rigorous_lambda(
    phi: Params, task: TabularTask, *, policy: TabularPolicy, gamma: float
) -> Float[Tensor, ""]:
    r"""Return lam_0 = 2 gamma A_max / ((1 - gamma) sqrt(nu_min)): from there on Alg's bound holds.

    |(1 - gamma) (J(theta) - J(phi)) - (L(theta) - L(phi))| <= lam_0 D^2(phi, theta)

    for D1 and D2 and every theta. A_max = max |A| and nu_min, the smallest occupancy, are those of
    pi_phi; states that nobody reaches do not count. The proof is in lesson 05a.

    Args:
        phi: meta-parameters.
        task: one task.
        policy: how parameters become a policy.
        gamma: discount in [0, 1).

    Raises:
        ValueError: gamma outside [0, 1).
    """
    probs = policy.log_probs(phi).exp()
    nu = occupancy(probs, task, gamma)
    # A linear solve leaves rounding where a state cannot be reached; 1e-12 is far above it.
    nu_min = torch.where(nu > 1e-12, nu, torch.inf).min()
    reached = (nu > 1e-12).unsqueeze(-1)
    a_max = torch.where(reached, advantages(probs, task, gamma).abs(), 0.0).max()
    return 2 * gamma * a_max / ((1 - gamma) * nu_min.sqrt())


@checked(lam=require_number)
def lower_bound(
    theta: Params,
    phi: Params,
    task: TabularTask,
    *,
    policy: TabularPolicy,
    gamma: float,
    distance: Distance,
    lam: float | Tensor,
) -> Float[Tensor, ""]:
    r"""Return the scalar J(phi) + (L(theta) - L(phi) - lam D^2(phi, theta)) / (1 - gamma).

    With lam >= :func:`rigorous_lambda` it never exceeds J(theta), and it equals J at theta = phi:
    an Alg that maximises it cannot lose (monotone improvement).

    Args:
        theta: adapted parameters.
        phi: meta-parameters.
        task: one task.
        policy: how parameters become a policy.
        gamma: discount in [0, 1).
        distance: D^2, d1 or d2.
        lam: its weight, > 0, in units of return; with -lam it is a bound from above.

    Raises:
        ValueError: gamma outside [0, 1).
    """
    data = full_data(phi, task, policy=policy, gamma=gamma)
    gained = surrogate_objective(theta, data, policy=policy) - surrogate_objective(
        phi, data, policy=policy
    )
    divergence = distance(phi, theta, policy=policy, state_weights=data.state_weights)
    before = policy_return(phi, task, policy=policy, gamma=gamma)
    return before + (gained - lam * divergence) / (1 - gamma)


@checked()
def optimal_actions(task: TabularTask, gamma: float) -> Bool[Tensor, "S A"]:
    """Tell which actions are optimal in every state, up to rounding."""
    probs, _ = optimal_policy(task, gamma)
    q = q_values(probs, task, gamma)
    best = q.max(-1, keepdim=True).values
    return q >= best - 1e-9 * (1 + best.abs())


@checked()
def distance_to_optimum(
    params: Params,
    task: TabularTask,
    *,
    policy: TabularPolicy,
    gamma: float,
    distance: Distance = d2,
    smoothing: float = 0.0,
) -> Float[Tensor, ""]:
    r"""Return D_tau^2(pi_params, pi*_tau), states weighed by the occupancy of pi_params.

    D2: E_{s ~ nu}[-log sum_{a optimal} pi(a|s)], the distance to the nearest optimum; finite.
    D1: KL(pi || pi*) is infinite for an optimum that is deterministic anywhere, so pi* is smoothed:
        (1 - eps) (uniform over optimal actions) + eps / A.
    D3: ||params - logits of that smoothed pi*||^2, both with mean 0 in every state.

    Args:
        params: parameters of the policy; D3 needs free logits.
        task: one task.
        policy: how parameters become a policy.
        gamma: discount in [0, 1).
        distance: d1, d2 or d3.
        smoothing: eps in [0, 1); D1 and D3 need > 0, and their value depends on it.

    Raises:
        ValueError: ``smoothing`` or gamma out of range.
    """
    _check_distance(distance, policy, smoothing)
    best = optimal_actions(task, gamma)
    return _distance_to(best, params, task, policy, gamma, distance, smoothing)


@checked()
def task_variance(
    tasks: TabularTask,
    *,
    policy: TabularPolicy,
    gamma: float,
    distance: Distance = d2,
    smoothing: float = 0.0,
    max_iterations: int = 30,
) -> tuple[Float[Tensor, ""], Params, MaximizeInfo]:
    r"""Return Var(P(Gamma)) = min_theta E_tau[D_tau^2(pi_theta, pi*_tau)] over a batch of tasks.

    (Xu and Zhu, 2410.09728.) The minimum is local where the objective is not convex: the occupancy
    inside D^2 depends on theta too. Arguments as for :func:`distance_to_optimum`.

    Returns:
        The variance, the parameters in the middle of the tasks' optima, and the solver's info.

    Raises:
        ValueError: ``smoothing`` or gamma out of range.
    """
    _check_distance(distance, policy, smoothing)
    best = vmap(partial(optimal_actions, gamma=gamma))(tasks)

    def negative_mean(params: Params) -> Tensor:
        def of_one_task(optimal: Tensor, task: TabularTask) -> Tensor:
            return _distance_to(optimal, params, task, policy, gamma, distance, smoothing)

        return -vmap(of_one_task)(best, tasks).mean()

    start = policy.init(torch.Generator(tasks.reward.device))
    middle, info = maximize(negative_mean, start, max_iterations=max_iterations, tolerance=1e-9)
    return -negative_mean(middle), middle, info


@checked()
def rigorous_gap_bound(
    phi: Params, task: TabularTask, *, policy: TabularPolicy, gamma: float, lam: float | Tensor
) -> Float[Tensor, ""]:
    r"""Return (lam + lam_0) / (1 - gamma) D2_tau^2(pi_phi, pi*_tau), a scalar above Alg's gap.

    J(pi*) - J(Alg(pi_phi, lam)) is below it for every lam >= lam_0 (:func:`rigorous_lambda`);
    infinite for a smaller lam, of which the proof says nothing. Averaged over tasks and minimised
    over phi it is the variance term of the theorem.

    Args:
        phi: meta-parameters.
        task: one task.
        policy: how parameters become a policy.
        gamma: discount in [0, 1).
        lam: weight of the adaptation, > 0, in units of return.

    Raises:
        ValueError: gamma outside [0, 1).
    """
    to_optimum = distance_to_optimum(phi, task, policy=policy, gamma=gamma)
    least = rigorous_lambda(phi, task, policy=policy, gamma=gamma)
    return torch.where(
        torch.as_tensor(lam, dtype=least.dtype) >= least,
        (lam + least) / (1 - gamma) * to_optimum,
        torch.inf,
    )


@checked()
def illustrative_gap_bound(
    to_optimum: Float[Tensor, "*N"], *, lam: float, gamma: float
) -> Float[Tensor, "*N"]:
    r"""Return lam (1 + gamma) / (1 - gamma) D^2: what published figures draw. No theorem says it.

    It is the rigorous bound with lam_0 = gamma lam in place of its value.

    Args:
        to_optimum: D^2 between the meta-policy and the tasks' optima.
        lam: weight of the adaptation, > 0, in units of return.
        gamma: discount in [0, 1).

    Raises:
        ValueError: lam is not positive.
    """
    return lam * (1 + gamma) / (1 - gamma) * to_optimum


@checked()
def running_mean(values: Float[Tensor, " T"]) -> Float[Tensor, " T"]:
    """Return (1/T) sum_{t <= T} values_t for every T: the left side of the theorem.

    Args:
        values: one per iteration.
    """
    return values.cumsum(0) / torch.arange(1, len(values) + 1).to(values)


@checked()
def fit_convergence(averages: Float[Tensor, " T"]) -> tuple[float, float, float]:
    r"""Fit averages_T = K / T + M / sqrt(T) + floor by least squares with K, M, floor >= 0.

    The three terms of the theorem; of the 8 sets of terms that may be 0, the best feasible one.

    Args:
        averages: running means after 1, 2, ..., T iterations.

    Returns:
        K, M and the floor.

    Raises:
        ValueError: an average that is not finite.
    """
    require_finite("averages", averages)
    steps = torch.arange(1, len(averages) + 1).to(averages)
    columns = torch.stack([1 / steps, steps.rsqrt(), torch.ones_like(steps)], -1)
    best, answer = torch.inf, averages.new_zeros(3)
    # Non-negative least squares by enumeration: its solution is the ordinary one of the terms that
    # are not 0, so with three terms the sets can be tried one by one, to the last bit.
    for size in (1, 2, 3):
        for chosen in map(list, itertools.combinations(range(3), size)):
            part = _least_squares(columns[:, chosen], averages.unsqueeze(-1))[0][:, 0]
            error = (columns[:, chosen] @ part - averages).square().sum().item()
            if bool((part >= 0).all()) and error < best:
                best, answer = error, torch.zeros_like(answer)
                answer[chosen] = part
    k, m, floor = map(float, answer)
    return k, m, floor


# torch leaves torch.linalg without types.
_least_squares = cast(
    "Callable[[Tensor, Tensor], tuple[Tensor, ...]]",
    torch.linalg.lstsq,  # pyright: ignore[reportUnknownMemberType]
)
"""(A, B) -> (the X that minimises |A X - B|, and more)."""


def _distance_to(
    best: Tensor,
    params: Params,
    task: TabularTask,
    policy: TabularPolicy,
    gamma: float,
    distance: Distance,
    smoothing: float,
) -> Tensor:
    """Return the distance to the optimum whose actions are marked, so that they are found once."""
    log_probs = policy.log_probs(params)
    if distance is d3:
        target = _smoothed(best, smoothing, log_probs).log()
        return (_centred(params["logits"]) - _centred(target)).square().sum()
    nu = occupancy(log_probs.exp(), task, gamma)
    if distance is d1:
        return nu @ kl_divergence(log_probs, _smoothed(best, smoothing, log_probs).log())
    return -nu @ torch.where(best, log_probs, -torch.inf).logsumexp(-1)


def _check_distance(distance: Distance, policy: TabularPolicy, smoothing: float) -> None:
    if distance not in (d1, d2, d3) or (distance is d3 and not policy.free_logits):
        raise ValueError(
            "distance must be d1, d2 or, for a policy with free logits, d3, got "
            f"{described(distance)}"
        )
    if not 0 <= smoothing < 1 or (smoothing == 0 and distance is not d2):
        raise ValueError(
            "smoothing must be in [0, 1), and > 0 for d1 and d3, whose distance to a deterministic "
            f"optimum is infinite; got {smoothing}"
        )


def _smoothed(best: Tensor, smoothing: float, like: Tensor) -> Tensor:
    uniform = best.to(like.dtype) / best.sum(-1, keepdim=True)
    return (1 - smoothing) * uniform + smoothing / best.shape[-1]


def _centred(logits: Tensor) -> Tensor:
    return logits - logits.mean(-1, keepdim=True)
