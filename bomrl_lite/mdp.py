r"""Exact quantities of a finite Markov decision process, each one equation.

All take the policy as a table ``policy_probs[s, a] = pi(a | s)``, are written for one task, run
over a batch by ``torch.func.vmap`` and can be differentiated as often as needed. The discount
satisfies 0 <= gamma < 1, so that sums over time are finite and linear systems have one solution.

Source of the definitions: Sutton and Barto (2018), chapter 3; occupancy as in Kakade and Langford
(2002), normalised to sum to 1.
"""

import math
from collections.abc import Callable
from typing import cast

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from bomrl_lite.require import checked, may_look, require_finite
from bomrl_lite.types import ControlInfo, TabularTask


@checked()
def state_values(
    policy_probs: Float[Tensor, "S A"], task: TabularTask, gamma: float
) -> Float[Tensor, " S"]:
    r"""V(s) = E[sum_t gamma^t r_t | s_0 = s], from (I - gamma P_pi) V = r_pi.

    Raises:
        ValueError: gamma outside [0, 1), a table that does not fit the task, or numbers that are
            no probabilities or not finite (under ``vmap``, which hides them, the result is wrong or
            nan instead); so do all that follow.
    """
    _check_table(policy_probs, task)
    reward = (policy_probs * task.reward).sum(-1)
    return _solve(task, _bellman_matrix(policy_probs, task, gamma), reward)


@checked()
def q_values(
    policy_probs: Float[Tensor, "S A"], task: TabularTask, gamma: float
) -> Float[Tensor, "S A"]:
    r"""Q(s, a) = r(s, a) + gamma sum_{s'} P(s' | s, a) V(s')."""
    return task.reward + gamma * task.transition @ state_values(policy_probs, task, gamma)


@checked()
def advantages(
    policy_probs: Float[Tensor, "S A"], task: TabularTask, gamma: float
) -> Float[Tensor, "S A"]:
    r"""A(s, a) = Q(s, a) - V(s); averages to 0 under the policy in every state."""
    q = q_values(policy_probs, task, gamma)
    return q - (policy_probs * q).sum(-1, keepdim=True)


@checked()
def occupancy(
    policy_probs: Float[Tensor, "S A"], task: TabularTask, gamma: float
) -> Float[Tensor, " S"]:
    r"""nu(s) = (1 - gamma) sum_t gamma^t P(s_t = s); sums to 1.

    From (I - gamma P_pi)^T nu = (1 - gamma) rho.

    Raises:
        ValueError: gamma outside [0, 1), or a table that does not fit the task.
    """
    _check_table(policy_probs, task)
    return _solve(task, _bellman_matrix(policy_probs, task, gamma).mT, (1 - gamma) * task.start)


@checked()
def expected_return(
    policy_probs: Float[Tensor, "S A"], task: TabularTask, gamma: float
) -> Float[Tensor, ""]:
    r"""J(pi) = sum_s rho(s) V(s), the expected discounted return."""
    return task.start @ state_values(policy_probs, task, gamma)


@checked()
def optimal_policy(
    task: TabularTask, gamma: float, *, iterations: int = 50
) -> tuple[Float[Tensor, "S A"], ControlInfo]:
    """Find an optimal deterministic policy by policy iteration (Howard, 1960).

    Each improvement is strict until the policy is optimal, after which it no longer changes. Where
    that can be seen it ends there; under ``vmap`` it goes on to the last. Ties go to the first
    action.

    Args:
        task: one task.
        gamma: discount in [0, 1).
        iterations: most improvements, >= 1. On large problems check ``info.residual``, which is 0
            when optimal.

    Returns:
        pi*(a | s) as a table of zeros and ones, [S, A], and the residual of its optimality.

    Raises:
        ValueError: gamma outside [0, 1), or no iteration.
    """
    probs = torch.full_like(task.reward, 1.0 / task.reward.shape[-1])
    for _ in range(iterations):
        before, q = probs, q_values(probs, task, gamma)
        # A change needs a real gain: rounding must not make equal actions take turns.
        best = q.max(-1, keepdim=True).values
        near = q >= best - 1e-12 * (1 + best.abs())
        # The count is 1 from the first near action to the second: one of these is near itself.
        first = near & (near.cumsum(-1) == 1)
        probs = first.to(q.dtype)
        if may_look(probs) and torch.equal(probs, before):
            break
    q = q_values(probs, task, gamma)
    residual = (q.max(-1).values - (probs * q).sum(-1)).abs().max()
    return probs, ControlInfo(residual)


@checked()
def tabular_task(transition: Tensor, reward: Tensor, start: Tensor) -> TabularTask:
    """Make a task after checking that it is one.

    Args:
        transition: P(s' | s, a), [..., S, A, S], entries >= 0, summing to 1 over s'.
        reward: r(s, a), [..., S, A], finite.
        start: rho(s), [..., S], entries >= 0, summing to 1.

    Raises:
        ValueError: wrong shapes, dtypes or devices that differ, entries that are no probabilities,
            or rewards that are not finite; the message names the first offender.
    """
    task = TabularTask(transition, reward, start)
    _check_kinds(task)
    if transition.ndim < 3 or transition.shape != (*reward.shape, reward.shape[-2]):
        raise ValueError(
            "transition must be [..., S, A, S] where reward is [..., S, A], got "
            f"{tuple(transition.shape)} and {tuple(reward.shape)}"
        )
    if start.shape != reward.shape[:-1]:
        raise ValueError(
            f"start must be [..., S] = {tuple(reward.shape[:-1])} to fit the reward, "
            f"got {tuple(start.shape)}"
        )
    require_finite("reward", reward)
    check_probabilities("transition", transition)
    check_probabilities("start", start)
    return task


def check_probabilities(name: str, probs: Tensor) -> None:
    """Refuse what is negative or does not sum to 1 over its last axis.

    Args:
        name: what the message calls them.
        probs: [..., A].

    Raises:
        ValueError: an entry is negative or a sum is not 1, up to rounding.
    """
    total = probs.sum(-1)
    slack = 1e-8 if probs.dtype == torch.float64 else 1e-5
    wrong = ~((total - 1).abs() <= slack) | ~(probs >= 0).all(-1)
    if wrong.any():
        where = _first_index(wrong)
        raise ValueError(
            f"{name} must hold probabilities: non-negative and summing to 1 over the last axis. "
            f"Index {list(where)} sums to {total[where].item():.6g} with smallest entry "
            f"{probs[where].min().item():.6g}; divide by the sum or fix that row"
        )


# torch leaves torch.linalg without types.
_solve_columns = cast(
    "Callable[[Tensor, Tensor], Tensor]",
    torch.linalg.solve,  # pyright: ignore[reportUnknownMemberType]
)


def _solve(
    task: TabularTask, matrix: Float[Tensor, "S S"], vector: Float[Tensor, " S"]
) -> Float[Tensor, " S"]:
    """Solve, and where the answer can be read and is none, say what of the task is no number."""
    x = _solve_columns(matrix, vector.unsqueeze(-1)).squeeze(-1)
    if may_look(x) and not math.isfinite(float(x.detach().sum())):
        for name, tensor in task._asdict().items():
            if may_look(tensor):
                require_finite(f"task.{name}", tensor.detach())
    return x


def _first_index(wrong: Bool[Tensor, "*shape"]) -> tuple[int, ...]:
    """Return the index of the first True; () where there are no axes."""
    return tuple(int(i) for i in torch.nonzero(wrong)[0])


def _bellman_matrix(
    policy_probs: Float[Tensor, "S A"], task: TabularTask, gamma: float
) -> Float[Tensor, "S S"]:
    """Return I - gamma P_pi with P_pi(s, s') = sum_a pi(a | s) P(s' | s, a)."""
    moves = torch.einsum("sa,sat->st", policy_probs, task.transition)
    return torch.eye(moves.shape[-1], dtype=moves.dtype, device=moves.device) - gamma * moves


def _check_table(policy_probs: Tensor, task: TabularTask) -> None:
    """Check that a table fits a task, and where ``vmap`` hides no values that both hold numbers."""
    if policy_probs.shape != task.reward.shape or policy_probs.ndim != 2:
        raise ValueError(
            f"policy_probs must be [S, A] like the reward of ONE task, got "
            f"{tuple(policy_probs.shape)} for a reward {tuple(task.reward.shape)}; "
            "for a batch of tasks use torch.func.vmap(..., in_dims=(None, 0))"
        )
    for name, tensor in task._asdict().items():
        if (tensor.dtype, tensor.device) != (policy_probs.dtype, policy_probs.device):
            raise ValueError(
                f"policy_probs is {policy_probs.dtype} on {policy_probs.device} but {name} is "
                f"{tensor.dtype} on {tensor.device}; convert one of them with .to(...)"
            )
    if may_look(policy_probs):
        probs = policy_probs.detach()
        low, high = map(float, probs.sum(-1).aminmax())
        # Off the simplex J is defined too: the steps of finite differences go through.
        if not (low >= 0.999 and high <= 1.001 and float(probs.min()) >= -1e-3):
            check_probabilities("policy_probs", probs)


def _check_kinds(task: TabularTask) -> None:
    fields = task._asdict()
    for name, tensor in fields.items():
        if not tensor.is_floating_point():
            raise ValueError(f"{name} must be a floating-point tensor, got {tensor.dtype}")
    for name, tensor in fields.items():
        if (tensor.dtype, tensor.device) != (task.reward.dtype, task.reward.device):
            raise ValueError(
                f"{name} is {tensor.dtype} on {tensor.device} but reward is {task.reward.dtype} "
                f"on {task.reward.device}; convert one of them with .to(...)"
            )
