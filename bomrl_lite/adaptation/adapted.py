r"""Alg on sampled data, and the way back: from a cotangent at theta to the gradient at phi.

Each Alg maps (phi, data_of) to :class:`Adapted`: theta, a function ``pull`` and what is known about
both. ``data_of(phi)`` are one-time data that keep what the chosen rung of
:mod:`bomrl_lite.rollout.data` keeps of their dependence on phi. The policy is one seen from the
samples (:func:`bomrl_lite.policies.networks.at_samples`), so the objective and the distances are
those of the exact road, function for function.

    gradient_adaptation   one gradient step                             MAML and its relatives
    head_adaptation       linear head, KL and ridge: one small solve    recipe A
    solved_adaptation     any surrogate, any distance, solved           recipe C, iMAML

:mod:`bomrl_lite.adaptation.natural` has recipe B and the trust region.

Parameters that are not adapted, such as the body under a head, are those of phi.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch

from bomrl_lite.rollout.data import OneTimeData
from bomrl_lite.types import Params, SolvedInfo

DataOf = Callable[[Params], OneTimeData]


class Adapted(NamedTuple):
    """A solution and the way back from it; for use inside ``vmap``, which it does not cross."""

    theta: Params
    """All parameters of the adapted policy."""
    pull: Callable[[Params], tuple[Params, SolvedInfo]]
    r"""Cotangent \nabla J at theta -> (gradient of J(theta(phi)) at phi, whether to believe it)."""


def select(params: Params, names: tuple[str, ...]) -> Params:
    """Return the named parameters; no name means all.

    Raises:
        ValueError: a name that is not there.
    """
    missing = [name for name in names if name not in params]
    if missing:
        raise ValueError(f"no parameters are called {missing}; there are {list(params)}")
    return {name: params[name] for name in names} if names else dict(params)


def explicit_info(phi: Params) -> SolvedInfo:
    """Return the info of an explicit step, which leaves nothing to be solved."""
    zero = torch.zeros_like(next(iter(phi.values())).sum())
    return SolvedInfo(zero, torch.full_like(zero, torch.inf), zero)
