r"""Alg on samples to second order: a linear surrogate and a quadratic distance, at any size.

The problem is convex and its matrix, the Fisher information with a ridge, is never written out:
conjugate gradients solve it, and the way back asks for the same matrix once more.
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor
from torch.func import grad, vjp

from bomrl_lite.adaptation.adapted import Adapted, DataOf, select
from bomrl_lite.adaptation.distances import d1, every_weight, over_every
from bomrl_lite.adaptation.objective import surrogate_objective, surrogate_slope
from bomrl_lite.policies.at_samples import PolicyAtSamples
from bomrl_lite.require import checked, require_positive
from bomrl_lite.solvers.linear import (
    Matvec,
    add_scaled,
    conjugate_gradient,
    directional,
    dot,
    scale,
)
from bomrl_lite.types import ActionDistribution, Params, SolvedInfo, SolveInfo

SLACK = 0.1
"""Share of delta that a halved region may be over: the full step lies on the model's border, where
rounding and the third order would toss whether it is halved."""


@checked(tolerance=require_positive)
def natural_adaptation(
    phi: Params,
    data_of: DataOf,
    *,
    policy: PolicyAtSamples,
    lam: float,
    ridge: float,
    head_ridge: float | None = None,
    names: tuple[str, ...] = (),
    distance_stride: int = 1,
    tolerance: float = 1e-3,
    max_iterations: int = 10,
) -> Adapted:
    r"""Adapt with a linear surrogate and the KL divergence to second order (recipe B).

    theta = argmax <\nabla L(phi), x> - lam x^T (F(phi) + R) x / 2,  x = theta - phi
          = phi + 1/lam (F + R)^{-1} \nabla L(phi)

    F is the Fisher information, the curvature of D1 and of D2 alike; R is diagonal, the ridge rho
    of each parameter. The problem is convex; the same matrix serves the way back: with
    (F + R) v = c,

    (d theta / d phi)^T c = c + \nabla_phi [<\nabla L(phi), v> / lam - <x, F(phi) v>]

    Args:
        phi: meta-parameters.
        data_of: phi -> one-time data.
        policy: at the samples.
        lam: weight of the distance, > 0.
        ridge: rho >= 0, inside the objective; 0 leaves F singular where the data are too few.
        head_ridge: rho >= 0 of the policy's head; None means ``ridge``.
        names: parameters to adapt; none means all.
        distance_stride: average F over every so many-th sample; it needs fewer than \nabla L.
        tolerance: relative residual of conjugate gradients, > 0.
        max_iterations: of conjugate gradients, >= 1.

    Raises:
        ValueError: lam is not positive, a name is not there, or one of two ridges has no effect.
    """
    model = _LocalModel(data_of, policy, names, distance_stride)
    slope, matvec = model.at(phi, ridge, head_ridge)
    solve = partial(conjugate_gradient, matvec, tolerance=tolerance, max_iterations=max_iterations)
    direction, solved = solve(slope)
    step = scale(1 / lam, direction)

    def pull(cotangent: Params) -> tuple[Params, SolvedInfo]:
        v, adjoint = solve(select(cotangent, names))

        def pairing(p: Params) -> Tensor:
            return model.slope_along(p, v) / lam - model.fisher_form(p, step, v)

        return add_scaled(cotangent, 1.0, grad(pairing)(phi)), _info(solved, adjoint)

    return Adapted({**phi, **add_scaled(select(phi, names), 1.0, step)}, pull)


@checked(tolerance=require_positive)
def region_adaptation(
    phi: Params,
    data_of: DataOf,
    *,
    policy: PolicyAtSamples,
    delta: float,
    ridge: float,
    head_ridge: float | None = None,
    names: tuple[str, ...] = (),
    distance_stride: int = 1,
    halvings: int = 0,
    tolerance: float = 1e-3,
    max_iterations: int = 10,
) -> Adapted:
    r"""Adapt with a linear surrogate in a trust region: TRPO's step as an Alg (1502.05477).

    theta = argmax <\nabla L(phi), x> subject to x^T (F + R) x / 2 <= delta
          = phi + s u,  (F + R) u = \nabla L,  s = sqrt(2 delta / <\nabla L, u>)

    The multiplier 1/s depends on phi too. With (F + R) v = c and g = <\nabla L, u>, the way back
    is c + \nabla_phi of

        s (<\nabla L, v> - <u, F v>) - s <c, u> / (2 g) (2 <\nabla L, u> - <u, F u>)

    where only \nabla L and F vary. Arguments and errors as for :func:`natural_adaptation`, with
    ``delta`` > 0 in nats, the ridge included, in place of ``lam``. The model is right to second
    order only: with ``halvings`` > 0 the step is halved, so often at most, until L gains and D1
    itself with the ridge is at most delta, or a tenth more; if it never is, theta is phi. How often
    is locally constant in phi, so s and its derivative are both multiplied by the share left.
    """
    model = _LocalModel(data_of, policy, names, distance_stride)
    slope, matvec = model.at(phi, ridge, head_ridge)
    solve = partial(conjugate_gradient, matvec, tolerance=tolerance, max_iterations=max_iterations)
    u, solved = solve(slope)
    gain = dot(slope, u)
    gain = gain.clamp(min=torch.finfo(gain.dtype).tiny)  # a slope of 0 goes nowhere, not to nan
    length = (2 * delta / gain).sqrt()
    length = torch.where(length.isfinite(), length, 0.0)  # single precision has no sqrt(4 / tiny)
    if halvings > 0:
        allowed = model.limit(phi, ridge, head_ridge, delta)
        length = length * _first_allowed(scale(length, u), allowed, halvings)

    def pull(cotangent: Params) -> tuple[Params, SolvedInfo]:
        moved = select(cotangent, names)
        v, adjoint = solve(moved)
        along = dot(moved, u) / (2 * gain)  # <c, u> / (2 g): how s = s(phi) enters

        def pairing(p: Params) -> Tensor:
            with_s_fixed = model.slope_along(p, v) - model.fisher_form(p, u, v)
            through_s = 2 * model.slope_along(p, u) - model.fisher_form(p, u, u)
            return length * (with_s_fixed - along * through_s)

        return add_scaled(cotangent, 1.0, grad(pairing)(phi)), _info(solved, adjoint)

    return Adapted({**phi, **add_scaled(select(phi, names), length, u)}, pull)


@checked()
def fisher_product(
    outputs: Callable[[Params], ActionDistribution], x: Params, weights: Float[Tensor, " M"]
) -> Matvec:
    r"""Return ``v -> F v``, F = sum_m w_m J_m^T I_m J_m, never written out.

    J_m is the derivative of the distribution's own parameters (mean, log sigma) at sample m, I_m
    their Fisher information: F is that of the policy's parameters (Kakade, 2001).

    Args:
        outputs: parameters -> pi(. | s) of M samples.
        x: where F is taken.
        weights: of the samples; they sum to 1.
    """
    at_x, pull_back = vjp(outputs, x)[:2]

    def transposed(u: ActionDistribution) -> Params:
        return pull_back(u)[0]

    # u -> J^T u is linear, so its own vjp is v -> J v: recorded once, and each product then costs
    # two passes through the recording, where jvp would run the network anew every time.
    forward = vjp(transposed, at_x)[1]
    each = weights.unsqueeze(-1)

    def product(v: Params) -> Params:
        fisher_v = at_x.fisher_product(forward(v)[0])
        return transposed(type(fisher_v)(*(each * leaf for leaf in fisher_v)))

    return product


def _first_allowed(step: Params, allowed: Callable[[Params], Tensor], halvings: int) -> Tensor:
    """Return the first of 1, 1/2, 1/4, ... that shortens a step to one that is allowed, or 0."""
    shares = [0.5**count for count in range(halvings + 1)]
    first = next(iter(step.values())).new_zeros(())
    for share in reversed(shares):  # vmap knows no branch: all are asked, and the longest wins
        first = torch.where(allowed(scale(share, step)), share, first)
    return first


class _LocalModel(NamedTuple):
    r"""What Alg knows of a task to first and second order: \nabla L, and F, as functions of phi."""

    data_of: DataOf
    policy: PolicyAtSamples
    names: tuple[str, ...]
    stride: int

    def at(self, phi: Params, ridge: float, head_ridge: float | None) -> tuple[Params, Matvec]:
        r"""Return \nabla L(phi) and ``v -> (F(phi) + R) v``, R diagonal: the ridge of each leaf."""
        data = self.data_of(phi)
        slope = surrogate_slope(phi, data, policy=self.policy, names=self.names)
        weights = every_weight(data.state_weights, self.stride)
        start = select(phi, self.names)
        product = fisher_product(partial(self._outputs, phi), start, weights)
        ridges = self._ridges(start, ridge, head_ridge)

        def with_ridge(v: Params) -> Params:
            return {name: leaf + ridges[name] * v[name] for name, leaf in product(v).items()}

        return slope, with_ridge

    def limit(
        self, phi: Params, ridge: float, head_ridge: float | None, delta: float
    ) -> Callable[[Params], Tensor]:
        """Return x -> whether L gains by x, and D1 with the ridge is within delta: [], boolean."""
        data, distance = self.data_of(phi), over_every(self.stride, d1, self._part())
        value = partial(surrogate_objective, data=data, policy=self.policy)
        before, most = value(phi), (1 + SLACK) * delta

        def allowed(x: Params) -> Tensor:
            theta = {**phi, **add_scaled(select(phi, self.names), 1.0, x)}
            apart = distance(phi, theta, policy=self.policy, state_weights=data.state_weights)
            ridges = self._ridges(x, ridge, head_ridge)
            far = sum(ridges[name] / 2 * leaf.square().sum() for name, leaf in x.items())
            return (value(theta) > before) & (apart + far <= most)

        return allowed

    def _ridges(self, x: Params, ridge: float, head_ridge: float | None) -> dict[str, float]:
        head = self.policy.policy.head
        if head_ridge is None:
            return dict.fromkeys(x, ridge)
        of_head = [name in head for name in x]
        if not any(of_head):
            raise ValueError(f"head_ridge is {head_ridge}, but no head moves: only {list(x)} do")
        if all(of_head):
            raise ValueError(f"head_ridge is {head_ridge}, but only the head moves: say ridge")
        return {name: head_ridge if name in head else ridge for name in x}

    def slope_along(self, p: Params, v: Params) -> Float[Tensor, ""]:
        r"""Return <\nabla L(p), v> as a function of p, the data's dependence on it included."""
        data = self.data_of(p)

        def value(x: Params) -> Tensor:
            return surrogate_objective({**p, **x}, data, policy=self.policy)

        return directional(value, select(p, self.names), v)[1]

    def fisher_form(self, p: Params, x: Params, v: Params) -> Float[Tensor, ""]:
        """Return <x, F(p) v> as a function of p: F's own dependence on p is wanted here."""
        outputs, start = partial(self._outputs, p), select(p, self.names)
        at_p, forward_x = directional(outputs, start, x)
        fisher_v = at_p.fisher_product(directional(outputs, start, v)[1])
        pairs = torch.stack([(a * b).sum(-1) for a, b in zip(forward_x, fisher_v, strict=True)])
        return (every_weight(self.data_of(p).state_weights, self.stride) * pairs.sum(0)).sum()

    def _outputs(self, p: Params, x: Params) -> ActionDistribution:
        """Return pi(. | s) of the samples that F is averaged over, x in place of p's own."""
        return self._part().distribution({**p, **x})

    def _part(self) -> PolicyAtSamples:
        return self.policy.every(self.stride)


def _info(solved: SolveInfo, adjoint: SolveInfo) -> SolvedInfo:
    """Both ways solve with one matrix: its smallest curvature is the smaller of the two seen."""
    curvature = torch.minimum(solved.curvature, adjoint.curvature)
    return SolvedInfo(solved.residual, curvature, adjoint.residual)
