r"""Alg on samples to second order: a linear surrogate and a quadratic distance, at any size.

The problem is convex and its matrix, the Fisher information with a ridge, is never written out:
conjugate gradients solve it, and the way back asks for the same matrix once more.
"""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor
from torch.func import grad, jvp, vjp

from bomrl_lite.adaptation.adapted import Adapted, DataOf, select
from bomrl_lite.adaptation.distances import every_weight
from bomrl_lite.adaptation.objective import check_positive, surrogate_objective
from bomrl_lite.solvers.linear import add_scaled, conjugate_gradient, dot, scale
from bomrl_lite.types import ActionDistribution, Params, SolvedInfo, TabularPolicy


def natural_adaptation(
    phi: Params,
    data_of: DataOf,
    *,
    policy: TabularPolicy,
    distribution: Callable[[Params, int], ActionDistribution],
    lam: float,
    ridge: float,
    names: tuple[str, ...] = (),
    distance_stride: int = 1,
    tolerance: float = 1e-3,
    max_iterations: int = 10,
) -> Adapted:
    r"""Adapt with a linear surrogate and the KL divergence to second order (recipe B).

    theta = argmax <\nabla L(phi), x> - lam (x^T F(phi) x + rho |x|^2) / 2,  x = theta - phi
          = phi + 1/lam (F + rho I)^{-1} \nabla L(phi)

    F is the Fisher information, the curvature of D1 and of D2 alike. The problem is convex; the
    same matrix serves the way back: with (F + rho I) v = c,

    (d theta / d phi)^T c = c + \nabla_phi [<\nabla L(phi), v> / lam - <x, F(phi) v>]

    Args:
        phi: meta-parameters.
        data_of: phi -> one-time data.
        policy: as seen from the samples.
        distribution: (parameters, stride) -> pi(. | s) of every stride-th sample's observation.
        lam: weight of the distance, > 0.
        ridge: rho >= 0, inside the objective; 0 leaves F singular where the data are too few.
        names: parameters to adapt; none means all.
        distance_stride: average F over every so many-th sample; it needs fewer than \nabla L.
        tolerance: relative residual of conjugate gradients, > 0.
        max_iterations: of conjugate gradients, >= 1.
    """
    check_positive("lam", lam)
    solve = partial(conjugate_gradient, tolerance=tolerance, max_iterations=max_iterations)
    local = _LocalModel(phi, data_of, policy, distribution, ridge, names, distance_stride)
    unit, inner = solve(local.product, local.slope)
    change = scale(1 / lam, unit)

    def pull(cotangent: Params) -> tuple[Params, SolvedInfo]:
        v, adjoint = solve(local.product, select(cotangent, names))

        def pairing(p: Params) -> Tensor:
            return local.slope_along(p, v) / lam - local.fisher_form(p, change, v)

        info = SolvedInfo(
            inner.residual, torch.minimum(inner.curvature, adjoint.curvature), adjoint.residual
        )
        return add_scaled(cotangent, 1.0, grad(pairing)(phi)), info

    return Adapted({**phi, **add_scaled(select(phi, names), 1.0, change)}, pull)


def region_adaptation(
    phi: Params,
    data_of: DataOf,
    *,
    policy: TabularPolicy,
    distribution: Callable[[Params, int], ActionDistribution],
    delta: float,
    ridge: float,
    names: tuple[str, ...] = (),
    distance_stride: int = 1,
    tolerance: float = 1e-3,
    max_iterations: int = 10,
) -> Adapted:
    r"""Adapt with a linear surrogate in a trust region: TRPO's step as an Alg (1502.05477).

    theta = argmax <\nabla L(phi), x> subject to (x^T F x + rho |x|^2) / 2 <= delta
          = phi + s u,  (F + rho I) u = \nabla L,  s = sqrt(2 delta / <\nabla L, u>)

    The multiplier 1/s depends on phi too. With (F + rho I) v = c and g = <\nabla L, u>, the way
    back is c + \nabla_phi of

        s (<\nabla L, v> - <u, F v>) - s <c, u> / (2 g) (2 <\nabla L, u> - <u, F u>)

    where only \nabla L and F vary. Arguments as for :func:`natural_adaptation`, with ``delta`` > 0
    in nats in place of ``lam``.
    """
    check_positive("delta", delta)
    solve = partial(conjugate_gradient, tolerance=tolerance, max_iterations=max_iterations)
    local = _LocalModel(phi, data_of, policy, distribution, ridge, names, distance_stride)
    unit, inner = solve(local.product, local.slope)
    gain = dot(local.slope, unit).clamp(min=torch.finfo(local.slope[next(iter(unit))].dtype).tiny)
    length = (2 * delta / gain).sqrt()

    def pull(cotangent: Params) -> tuple[Params, SolvedInfo]:
        moved = select(cotangent, names)
        v, adjoint = solve(local.product, moved)
        share = dot(moved, unit) / (2 * gain)

        def pairing(p: Params) -> Tensor:
            along = local.slope_along(p, v) - local.fisher_form(p, unit, v)
            gained = 2 * local.slope_along(p, unit) - local.fisher_form(p, unit, unit)
            return length * (along - share * gained)

        info = SolvedInfo(
            inner.residual, torch.minimum(inner.curvature, adjoint.curvature), adjoint.residual
        )
        return add_scaled(cotangent, 1.0, grad(pairing)(phi)), info

    return Adapted({**phi, **add_scaled(select(phi, names), length, unit)}, pull)


class _LocalModel:
    r"""What Alg knows of a task to first and second order at phi: \nabla L, and F + rho I."""

    def __init__(
        self,
        phi: Params,
        data_of: DataOf,
        policy: TabularPolicy,
        distribution: Callable[[Params, int], ActionDistribution],
        ridge: float,
        names: tuple[str, ...],
        stride: int,
    ) -> None:
        self.stride = stride
        self.data_of, self.policy, self.names = data_of, policy, names
        self.distribution, self.ridge, self.start = distribution, ridge, select(phi, names)
        data = data_of(phi)
        self.slope = grad(lambda x: surrogate_objective({**phi, **x}, data, policy=policy))(
            self.start
        )
        self.weights = every_weight(data.state_weights, self.stride).unsqueeze(-1)
        self.at_phi, back = vjp(lambda x: self._outputs({**phi, **x}), self.start)[:2]
        self.back = lambda u: back(u)[0]
        # J v as the transpose of u -> J^T u: recorded once, where jvp would run the network anew.
        self.along = vjp(self.back, self.at_phi)[1]

    def product(self, v: Params) -> Params:
        """Return (F + rho I) v, matrix-free: forward through the policy, and back."""
        bent = self.at_phi.fisher_product(self.along(v)[0])
        weighted = type(bent)(*(self.weights * leaf for leaf in bent))
        return add_scaled(self.back(weighted), self.ridge, v)

    def slope_along(self, p: Params, v: Params) -> Tensor:
        r"""Return <\nabla L(p), v> as a function of p, the data's dependence on it included."""
        data = self.data_of(p)

        def value(x: Params) -> Tensor:
            return surrogate_objective({**p, **x}, data, policy=self.policy)

        return jvp(value, (select(p, self.names),), (v,))[1]

    def fisher_form(self, p: Params, x: Params, v: Params) -> Tensor:
        """Return <x, F(p) v> as a function of p."""

        def outputs(y: Params) -> ActionDistribution:
            return self._outputs({**p, **y})

        at_p, along_x = jvp(outputs, (select(p, self.names),), (x,))[:2]
        bent = at_p.fisher_product(jvp(outputs, (select(p, self.names),), (v,))[1])
        pairs = torch.stack([(a * b).sum(-1) for a, b in zip(along_x, bent, strict=True)])
        return (every_weight(self.data_of(p).state_weights, self.stride) * pairs.sum(0)).sum()

    def _outputs(self, p: Params) -> ActionDistribution:
        """Return pi(. | s) of the samples that F is averaged over."""
        return self.distribution(p, self.stride)
