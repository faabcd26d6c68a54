r"""Alg on sampled data, and the way back: from a cotangent at theta to the gradient at phi.

Each Alg maps (phi, data_of) to :class:`Adapted`: theta, a function ``pull`` and what is known about
both. ``data_of(phi)`` are one-time data that keep what the chosen rung of
:mod:`bomrl_lite.rollout.data` keeps of their dependence on phi. The policy is one at samples
(:class:`bomrl_lite.policies.at_samples.PolicyAtSamples`), so the objective and the distances are
those of the exact road, function for function.

    gradient_adaptation   one gradient step                             MAML and its relatives
    head_adaptation       linear head, KL and ridge: one small solve    recipe A
    solved_adaptation     any inner objective, solved                   recipe C, iMAML
    natural_adaptation    linear surrogate, KL to second order          recipe B
    region_adaptation     the same with a limit on the distance         TRPO's step as an Alg

Parameters that are not adapted, such as the body under a head, are those of phi.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch

from bomrl_lite.require import checked
from bomrl_lite.rollout.data import OneTimeData
from bomrl_lite.types import Params, SolvedInfo

DataOf = Callable[[Params], OneTimeData]
"""phi -> one-time data; which of their derivatives it keeps is its business."""


Pull = Callable[[Params], tuple[Params, SolvedInfo]]
r"""Cotangent \nabla J at theta -> (gradient of J(theta(phi)) at phi, whether to believe it)."""


class Adapted(NamedTuple):
    """A solution and the way back from it; for use inside ``vmap``, which it does not cross."""

    theta: Params
    """All parameters of the adapted policy."""
    pull: Pull
    """From a cotangent at theta to phi."""


@checked()
def select(params: Params, names: tuple[str, ...]) -> Params:
    """Return the named parameters; no name means all.

    Args:
        params: by name.
        names: of some of them.

    Raises:
        ValueError: a name that is not there.
    """
    missing = [name for name in names if name not in params]
    if missing:
        raise ValueError(f"no parameters are called {missing}; there are {list(params)}")
    return {name: params[name] for name in names} if names else dict(params)


@checked()
def explicit_info(phi: Params) -> SolvedInfo:
    """Return the info of an explicit step, which leaves nothing to be solved."""
    zero = next(iter(phi.values())).new_zeros(())
    return SolvedInfo(zero, torch.full_like(zero, torch.inf), zero)
