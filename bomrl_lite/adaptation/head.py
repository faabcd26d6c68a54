r"""Alg on the linear head of a Gaussian policy, in closed form (recipe A)."""

import torch
from torch import Tensor
from torch.func import vjp

from bomrl_lite.adaptation.adapted import Adapted, DataOf, explicit_info
from bomrl_lite.policies.at_samples import PolicyAtSamples
from bomrl_lite.policies.distributions import Gaussian
from bomrl_lite.require import checked
from bomrl_lite.solvers.linear import solve_columns
from bomrl_lite.types import ActionDistribution, Params, SolvedInfo


@checked()
def head_adaptation(
    phi: Params, data_of: DataOf, *, policy: PolicyAtSamples, lam: float, ridge: float
) -> Adapted:
    r"""Adapt the linear head of a Gaussian policy in closed form (recipe A).

    W' = W + 1/lam (C + rho I)^{-1} E[r A h (a - mu)^T],  C = E[h h^T]

    The maximum of L, linear in the mean, minus lam (E KL + rho / (2 sigma^2) |W' - W|^2); sigma
    cancels, and for equal sigma both KL directions are one. r = pi_phi / pi_old is 1, and its
    derivative is the score. The gradient runs through the solve.

    Args:
        phi: meta-parameters.
        data_of: phi -> one-time data.
        policy: at the samples; a network with ``features``, such as ``gaussian_mlp``.
        lam: weight of the distance, > 0.
        ridge: rho >= 0; 0 is the natural gradient on the head.

    Raises:
        ValueError: lam is not positive, or the policy has no linear head.
        TypeError: its actions are not Gaussian.
    """
    network, actions = policy.policy, policy.actions
    if network.features is None or network.of_features is None:
        raise ValueError("head_adaptation needs a policy with a linear head: gaussian_mlp")
    features, of_features = network.features, network.of_features
    weight_name, bias_name = network.head

    def step(p: Params) -> Params:
        data, h = data_of(p), features(p, policy.observations)
        pi = _gaussian(of_features(p, h))
        ratio = (pi.log_prob(actions) - data.log_probs.squeeze(-1)).exp()
        weight = data.state_weights * ratio * data.q_values.squeeze(-1)
        pushed = h.mT @ (weight.unsqueeze(-1) * (actions - pi.mean))
        moments = h.mT @ (data.state_weights.unsqueeze(-1) * h)
        eye = torch.eye(moments.shape[-1], dtype=h.dtype, device=h.device)
        change: Tensor = solve_columns(moments + ridge * eye, pushed).mT / lam
        weights = p[weight_name] + change[:, :-1]
        return {**p, weight_name: weights, bias_name: p[bias_name] + change[:, -1]}

    theta, pull_back = vjp(step, phi)[:2]

    def pull(cotangent: Params) -> tuple[Params, SolvedInfo]:
        return pull_back(cotangent)[0], explicit_info(phi)

    return Adapted(theta, pull)


def _gaussian(distribution: ActionDistribution) -> Gaussian:
    if not isinstance(distribution, Gaussian):
        raise TypeError(
            "head_adaptation is the closed form of a Gaussian policy; "
            "use natural_adaptation with names = policy.head"
        )
    return distribution
