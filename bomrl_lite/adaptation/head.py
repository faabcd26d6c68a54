r"""Alg on the linear head of a Gaussian policy, in closed form (recipe A)."""

import torch
from torch import Tensor
from torch.func import vjp

from bomrl_lite.adaptation.adapted import Adapted, DataOf, explicit_info
from bomrl_lite.adaptation.objective import check_positive
from bomrl_lite.policies.distributions import Gaussian
from bomrl_lite.types import Params, Policy


def head_adaptation(
    phi: Params,
    data_of: DataOf,
    *,
    policy: Policy,
    observations: Tensor,
    actions: Tensor,
    lam: float,
    ridge: float,
) -> Adapted:
    r"""Adapt the linear head of a Gaussian policy in closed form (recipe A).

    W' = W + 1/lam (C + rho I)^{-1} E[r A h (a - mu)^T],  C = E[h h^T]

    The maximum of L, linear in the mean, minus lam (E KL + rho / (2 sigma^2) |W' - W|^2); sigma
    cancels, and for equal sigma both KL directions are one. r = pi_phi / pi_old is 1, and its
    derivative is the score. The gradient runs through the solve.

    Args:
        phi: meta-parameters.
        data_of: phi -> one-time data.
        policy: over observations, with ``features``.
        observations: [M, O] of the samples.
        actions: [M, K].
        lam: weight of the distance, > 0.
        ridge: rho >= 0; 0 is the natural gradient on the head.
    """
    check_positive("lam", lam)
    if policy.features is None or policy.of_features is None:
        raise ValueError("head_adaptation needs a policy with a linear head: gaussian_mlp")
    features, of_features = policy.features, policy.of_features

    def step(p: Params) -> Params:
        data, h = data_of(p), features(p, observations)
        pi = of_features(p, h)
        if not isinstance(pi, Gaussian):
            raise TypeError(
                "head_adaptation is the closed form of a Gaussian policy; "
                "use natural_adaptation with names = policy.head"
            )
        ratio = (pi.log_prob(actions) - data.log_probs.squeeze(-1)).exp()
        weight = data.state_weights * ratio * data.q_values.squeeze(-1)
        pushed = h.mT @ (weight.unsqueeze(-1) * (actions - pi.mean))
        moments = h.mT @ (data.state_weights.unsqueeze(-1) * h)
        eye = torch.eye(moments.shape[-1], dtype=h.dtype, device=h.device)
        change = torch.linalg.solve(moments + ridge * eye, pushed).mT / lam
        weight_name, bias_name = policy.head
        moved = {
            weight_name: p[weight_name] + change[:, :-1],
            bias_name: p[bias_name] + change[:, -1],
        }
        return {**p, **moved}

    theta, back = vjp(step, phi)[:2]
    return Adapted(theta, lambda c: (back(c)[0], explicit_info(phi)))
