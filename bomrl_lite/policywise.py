r"""Alg with free logits: one small problem per state, in the probabilities of that state.

Where every state has logits of its own, L(theta) - lam D^2 is a sum over states of nu(s) times
<pi(.|s), Q(s, .)> - lam d^2(pi_phi(.|s), pi(.|s)), so nu drops out of each maximum. The closed
forms and the terms of Proposition 1 of Xu and Zhu (2410.09728) live here.
"""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor
from torch.func import grad, hessian, vmap

from bomrl_lite.distances import Distance, StateDistance, d1, d2
from bomrl_lite.one_time_data import OneTimeData
from bomrl_lite.solvers import bisect
from bomrl_lite.types import Params


def closed_form_d1(phi: Params, data: OneTimeData, *, lam: float | Tensor) -> Params:
    r"""Solve Alg with D1: pi'(a) = lam pi_phi(a) / (mu - Q(a)) in every state.

    mu > max Q is the only root of sum_a pi'(a) = 1, inside [max(Q + lam pi_phi), max Q + lam]. The
    policy never becomes deterministic. Bisection finds mu; two Newton steps then give it the first
    and second derivatives of the root, whatever those of the bisection are.

    Args:
        phi: meta-parameters ``{"logits": [S, A]}``.
        data: one-time data of one task.
        lam: > 0, in units of return.
    """
    value, log_probs = weighted_q(data) / lam, torch.log_softmax(phi["logits"], -1)
    probs = log_probs.exp()

    def excess(mu: Tensor) -> Tensor:
        return (probs / (mu - value)).sum(-1, keepdim=True) - 1

    best = value.max(-1, keepdim=True).values
    mu = bisect(excess, (value + probs).max(-1, keepdim=True).values, best + 1)
    for _ in range(2):
        mu = mu + excess(mu) / (probs / (mu - value) ** 2).sum(-1, keepdim=True)
    return {"logits": log_probs - (mu - value).log()}


def closed_form_d2(phi: Params, data: OneTimeData, *, lam: float | Tensor) -> Params:
    r"""Solve Alg with D2: pi'(a) proportional to pi_phi(a) exp(Q(a) / lam) in every state.

    In logits, theta = phi + Q / lam. Arguments as for :func:`closed_form_d1`.
    """
    return {"logits": phi["logits"] + weighted_q(data) / lam}


CLOSED_FORMS: dict[Distance, Callable[..., Params]] = {d1: closed_form_d1, d2: closed_form_d2}
"""(phi, data, *, lam) -> theta, for the distances that have one."""


def weighted_q(data: OneTimeData) -> Float[Tensor, "S A"]:
    """Return Q times (share of samples) / pi_phi: the slope of L in pi_theta(a | s), over nu(s).

    The factor is 1; what the naive rung gets wrong is that it differentiates half of it.
    """
    return data.action_probs * (-data.log_probs).exp() * data.q_values


def policywise_slope(
    log_phi: Float[Tensor, "S A"],
    log_theta: Float[Tensor, "S A"],
    data: OneTimeData,
    *,
    state_distance: StateDistance,
    lam: float | Tensor,
) -> Float[Tensor, "S A"]:
    r"""Return the slope of L / lam - D^2 in the probabilities of every state, along the simplex.

    Q / lam - \nabla_pi d^2(pi_phi, pi) at pi = pi_theta, less its average over actions under
    pi_theta: all 0 at the maximum only. The gradient in logits is this times nu(s) pi_theta(a|s),
    so that one vanishes also where a probability does: the spurious stationary points of D2.
    """
    slope = weighted_q(data) / lam - state_slope(state_distance, log_phi, log_theta)
    return slope - (log_theta.exp() * slope).sum(-1, keepdim=True)


def policywise_curvature(
    log_phi: Float[Tensor, "S A"], log_theta: Float[Tensor, "S A"], *, state_distance: StateDistance
) -> Float[Tensor, "S A A"]:
    r"""Return \nabla^2_pi d^2(pi_phi(.|s), pi) at pi = pi_theta(.|s): M(s) / lam of Proposition 1.

    D1: diag(pi_phi / pi_theta^2). D2: diag(1 / pi_theta).
    """

    def of_one_state(log_p: Tensor, q: Tensor) -> Tensor:
        return hessian(lambda probs: state_distance(log_p, probs.log()))(q)

    return vmap(of_one_state)(log_phi, log_theta.exp())


def condition_numbers(matrices: Float[Tensor, "S A A"]) -> Float[Tensor, " S"]:
    """Return the condition number of each symmetric matrix: largest over smallest |eigenvalue|.

    For D2 it is max_a pi_theta(a) / min_a pi_theta(a); infinite where M(s) is singular.
    """
    size = torch.linalg.eigvalsh(matrices).abs()
    return size.max(-1).values / size.min(-1).values


def state_slope(
    state_distance: StateDistance, log_phi: Float[Tensor, "S A"], log_theta: Float[Tensor, "S A"]
) -> Float[Tensor, "S A"]:
    r"""Return \nabla_pi d^2(pi_phi(.|s), pi) at pi = pi_theta(.|s), in every state."""

    def total(probs: Tensor) -> Tensor:
        return state_distance(log_phi, probs.log()).sum()

    return grad(total)(log_theta.exp())
