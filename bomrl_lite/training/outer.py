r"""Outer updates on sampled episodes: Adam, clipped epochs, a trust region; any with any method.

All climb the mean over tasks of an outer objective of the ADAPTED policies, and all need only a
function phi -> gradient. What limits the step is measured on adapted policies too:

    KL(phi) = mean_tau KL(pi_theta_tau(phi_old) || pi_theta_tau(phi))
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from bomrl_lite.adaptation.episodes import worst
from bomrl_lite.solvers.linear import add_scaled, conjugate_gradient, dot, norm, scale
from bomrl_lite.types import Params, SolvedInfo


class Ascent(NamedTuple):
    """Which way up, and what is known about it."""

    direction: Params
    """Gradient of the outer objective, averaged over tasks."""
    moved: Callable[[], Tensor]
    """KL of the adapted policies from those that collected, in nats; costly, so asked for only
    where it counts."""
    info: SolvedInfo
    """Whether each task's hypergradient may be believed, [N]."""
    returns: tuple[float, float] | None = None
    """Exact values: mean return over the tasks, before and after adaptation."""


class OuterInfo(NamedTuple):
    """What an outer update did."""

    gradient_norm: float
    """Norm of the first gradient, before it was cut."""
    updates: int
    """Updates that were made: fewer than asked for where a guard stopped them."""
    divergence: float
    """KL of the adapted policies from those that collected, in nats: after a trust-region step,
    before the last of several epochs."""
    residual: float
    """Relative residual of the linear system of a trust-region step; 0 without one."""
    info: SolvedInfo
    """The worst that was known of each task's inner problem."""
    returns: tuple[float, float] | None = None
    """As in :class:`Ascent`, of the first."""


def climb(
    phi: Params,
    optimizer: torch.optim.Optimizer,
    ascent_of: Callable[[Params], Ascent],
    *,
    epochs: int = 1,
    max_norm: float = 1.0,
    guard: float = 0.0,
) -> OuterInfo:
    """Take ``epochs`` optimiser steps on the same episodes, in place.

    Several make sense with an objective that clips ratios; since the adaptation is part of the
    objective, it is solved anew each time.

    Args:
        phi: meta-parameters, which ``optimizer`` holds; changed in place.
        optimizer: maximises.
        ascent_of: phi -> the gradient of the outer objective, and what is known about it.
        epochs: >= 1.
        max_norm: gradients longer than this are cut to it.
        guard: stop as soon as the divergence exceeds it; 0 never stops. Clipping does not bound the
            step of phi where theta is very sensitive to it.
    """
    ascents, first, updates, divergence = list[Ascent](), 0.0, 0, 0.0
    for epoch in range(epochs):
        ascents.append(ascent_of(phi))
        gradient, moved = ascents[-1].direction, ascents[-1].moved
        if epoch > 0 and (guard > 0 or epoch == epochs - 1):  # at first nothing has moved
            divergence = float(moved())
        if 0 < guard < divergence:
            break
        size = float(norm(gradient))
        first = size if epoch == 0 else first
        cut = max_norm / size if size > max_norm else 1.0
        for name, leaf in phi.items():
            leaf.grad = cut * gradient[name]
        optimizer.step()
        updates += 1
    info = worst([ascent.info for ascent in ascents])
    return OuterInfo(first, updates, divergence, 0.0, info, ascents[0].returns)


def trust_region_step(
    phi: Params,
    ascent: Ascent,
    divergence_gradient_of: Callable[[Params], Params],
    value_of: Callable[[Params], tuple[Tensor, Tensor]],
    *,
    value: Tensor | float,
    max_kl: float,
    cg_iterations: int = 6,
    damping: float = 1e-3,
    halvings: int = 8,
) -> OuterInfo:
    r"""Take TRPO's step (Schulman et al., 1502.05477) for phi, in place.

    max <g, x> subject to x^T H x / 2 <= max_kl,  H the curvature of KL(phi) at the present phi

    by conjugate gradients with products H v = \nabla KL(phi + e v) / e, since \nabla KL(phi) = 0:
    they ask nothing of the Alg but its hypergradient. Then the step is halved until the objective
    gains and the divergence is allowed; if that never happens phi stays.

    Args:
        phi: meta-parameters; changed in place.
        ascent: the gradient of the outer objective at phi.
        divergence_gradient_of: of KL(phi); may look at a part of the episodes, since it only
            shapes the direction.
        value_of: phi -> (outer objective, KL(phi)), both scalar, on all episodes.
        value: of the outer objective at the present phi.
        max_kl: largest divergence, in nats.
        cg_iterations: products with H; the residual says how far that got.
        damping: added to H, relative to its size along the gradient.
        halvings: of the step.

    Raises:
        FloatingPointError: the norm of the gradient is not finite; phi stays as it was.
    """
    gradient = ascent.direction
    size = _finite_norm(gradient)
    done = OuterInfo(size, 0, 0.0, 0.0, ascent.info)
    if size == 0:
        return done
    # Of the finite difference: far above float32's rounding of phi, near enough for one curvature.
    distance = 1e-2 * float(norm(phi)) + 1e-4

    def curvature_product(v: Params) -> Params:
        length = float(norm(v))
        if not 0 < length < math.inf:  # no way to go; an infinite one is no direction either
            return v
        step = distance / length
        return scale(1 / step, divergence_gradient_of(add_scaled(phi, step, v)))

    gradient_product = curvature_product(gradient)
    shift = damping * float(dot(gradient, gradient_product)) / size**2

    def product(v: Params) -> Params:
        # The solver begins with the gradient, whose costly product is known already.
        hessian_v = gradient_product if v is gradient else curvature_product(v)
        return add_scaled(hessian_v, shift, v)

    direction, info = conjugate_gradient(
        product, gradient, tolerance=1e-3, max_iterations=cg_iterations
    )
    curvature = float(dot(direction, gradient))  # x^T H x at the solution
    done = done._replace(residual=float(info.residual))
    if not curvature > 0:
        return done
    length = (2 * max_kl / curvature) ** 0.5
    for _ in range(halvings + 1):
        reached, divergence = value_of(add_scaled(phi, length, direction))
        if reached > value and divergence <= max_kl:
            for name, leaf in phi.items():
                leaf.add_(length * direction[name])
            return done._replace(updates=1, divergence=float(divergence))
        length /= 2
    return done


def _finite_norm(gradient: Params) -> float:
    """Return the norm of the outer gradient.

    Raises:
        FloatingPointError: it is not finite.
    """
    size = float(norm(gradient))
    if not math.isfinite(size):
        raise FloatingPointError(
            f"the norm of the outer gradient is {size}, and so no step can be taken; use a smaller "
            "step_size, body_step or delta, or a larger lam or ridge. phi stays as it was"
        )
    return size
