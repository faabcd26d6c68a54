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
def side_by_side(first: Adapted, second: Adapted, names: tuple[str, ...]) -> Adapted:
    r"""Return the adaptation whose named parameters are those of the second, all else of the first.

    (d theta / d phi)^T c = (d theta_1 / d phi)^T c_1 + (d theta_2 / d phi)^T c_2

    with c_2 the named part of c, and c_1 the rest.

    Args:
        first: an adaptation of some phi by an explicit step.
        second: of the same phi, by an explicit step too.
        names: of parameters, at least one.

    Raises:
        ValueError: no name, or one that is not there.
    """
    if not names:
        raise ValueError("names must name at least one parameter of the second adaptation, got ()")
    named = select(second.theta, names)

    def part(cotangent: Params, *, of_second: bool) -> Params:
        return {
            name: leaf if (name in named) == of_second else torch.zeros_like(leaf)
            for name, leaf in cotangent.items()
        }

    def pull(cotangent: Params) -> tuple[Params, SolvedInfo]:
        one, info = first.pull(part(cotangent, of_second=False))
        other, _ = second.pull(part(cotangent, of_second=True))
        return {name: leaf + other[name] for name, leaf in one.items()}, info

    return Adapted({**first.theta, **named}, pull)


@checked()
def explicit_info(phi: Params) -> SolvedInfo:
    """Return the info of an explicit step, which leaves nothing to be solved."""
    zero = next(iter(phi.values())).new_zeros(())
    return SolvedInfo(zero, torch.full_like(zero, torch.inf), zero)
