r"""Alg on sampled data, and the way back: from a cotangent at theta to the gradient at phi.

Each Alg maps (phi, data_of) to :class:`Adapted`: theta, a function ``pull`` and what is known about
both. ``data_of(phi)`` are one-time data that keep what the chosen rung of
:mod:`bomrl_lite.one_time_data` keeps of their dependence on phi. The policy is one seen from the
samples (:func:`bomrl_lite.policies.at_samples`), so the objective and the distances are those of
the exact road, function for function.

    gradient_adaptation   one gradient step                             MAML and its relatives
    head_adaptation       linear head, KL and ridge: one small solve    recipe A
    solved_adaptation     any surrogate, any distance, solved           recipe C, iMAML

:mod:`bomrl_lite.natural_adaptation` has recipe B and the trust region.

Parameters that are not adapted, such as the body under a head, are those of phi.
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor
from torch.func import grad, vjp

from bomrl_lite.action_distributions import Gaussian
from bomrl_lite.adaptation import (
    Surrogate,
    adaptation_objective,
    check_positive,
    surrogate_objective,
)
from bomrl_lite.distances import Distance
from bomrl_lite.hypergradient import implicit_vjp
from bomrl_lite.linalg import add_scaled, conjugate_gradient, dot, norm, null_space_safe_solve
from bomrl_lite.one_time_data import OneTimeData
from bomrl_lite.solvers import maximize, maximize_matrix_free
from bomrl_lite.types import Params, Policy, TabularPolicy

DataOf = Callable[[Params], OneTimeData]


class SampledInfo(NamedTuple):
    """What is known about an adaptation on samples and its hypergradient; no unit."""

    stationarity: Float[Tensor, ""]
    r"""||\nabla F|| at theta over ||\nabla F|| at phi; 0 for an explicit step."""
    curvature: Float[Tensor, ""]
    """Smallest curvature of -F that a linear solver met; inf for an explicit step."""
    residual: Float[Tensor, ""]
    """Relative residual of the adjoint system."""


class Adapted(NamedTuple):
    """A solution and the way back from it; for use inside ``vmap``, which it does not cross."""

    theta: Params
    """All parameters of the adapted policy."""
    pull: Callable[[Params], tuple[Params, SampledInfo]]
    r"""Cotangent \nabla J at theta -> (gradient of J(theta(phi)) at phi, whether to believe it)."""


def gradient_adaptation(
    phi: Params,
    data_of: DataOf,
    *,
    policy: TabularPolicy,
    step_size: float,
    names: tuple[str, ...] = (),
    first_order: bool = False,
) -> Adapted:
    r"""Take one step up the surrogate: theta = phi + alpha \nabla_theta L at theta = phi.

    (Finn et al., 1703.03400.) The rung of ``data_of`` makes it naive MAML, LVC or DiCE.

    Args:
        phi: meta-parameters.
        data_of: phi -> one-time data.
        policy: as seen from the samples.
        step_size: alpha > 0, in parameters^2 per unit of the advantages.
        names: parameters to adapt; none means all (head only: Raghu et al., 1909.09157).
        first_order: take d theta / d phi for the identity.
    """
    check_positive("step_size", step_size)

    def step(p: Params) -> Params:
        moved = select(p, names)
        slope = grad(lambda x: surrogate_objective({**p, **x}, data_of(p), policy=policy))(moved)
        return {**p, **add_scaled(moved, step_size, slope)}

    theta, back = vjp(step, phi)[:2]
    pull_back = (lambda c: c) if first_order else (lambda c: back(c)[0])
    return Adapted(theta, lambda c: (pull_back(c), explicit_info(phi)))


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


def solved_adaptation(
    phi: Params,
    data_of: DataOf,
    *,
    policy: TabularPolicy,
    distance: Distance,
    lam: float,
    surrogate: Surrogate = surrogate_objective,
    linear: bool = False,
    names: tuple[str, ...] = (),
    dense: bool = True,
    tolerance: float = 1e-10,
    max_iterations: int = 20,
    cg_iterations: int = 40,
) -> Adapted:
    r"""Solve theta = argmax L(theta) - lam D^2(pi_phi, pi_theta) to stationarity (recipe C; iMAML).

    The way back is :func:`bomrl_lite.hypergradient.implicit_vjp` with the full Hessian. Whether to
    believe it is in the info: nothing is refused here, for a batch goes on without the tasks whose
    inner problem is not solved.

    Args:
        phi: meta-parameters.
        data_of: phi -> one-time data.
        policy: as seen from the samples.
        distance: D^2, such as ``add_distances((1.0, d1), (ridge / 2, d3))``.
        lam: weight of the distance, > 0.
        surrogate: L.
        linear: replace L by its first-order expansion at phi.
        names: parameters to adapt; none means all.
        dense: write Hessians out, for up to some hundred parameters; else conjugate gradients.
        tolerance: norm of the gradient at which to stop.
        max_iterations: of the climb.
        cg_iterations: of each of its steps and of the adjoint system, where they are not dense.
    """
    check_positive("lam", lam)

    def objective(x: Params, p: Params, slope: Params | None = None) -> Tensor:
        theta, data = {**p, **x}, data_of(p)
        if linear:
            gained = dot(slope or slope_at(p), add_scaled(x, -1.0, select(p, names)))
            apart = distance(p, theta, policy=policy, state_weights=data.state_weights)
            return gained / lam - apart
        dials = {"policy": policy, "distance": distance, "lam": lam, "surrogate": surrogate}
        return adaptation_objective(theta, p, data, **dials) / lam

    def slope_at(p: Params) -> Params:
        data = data_of(p)
        return grad(lambda y: surrogate({**p, **y}, data, policy=policy))(select(p, names))

    start = select(phi, names)
    slope = slope_at(phi) if linear else None  # the climb keeps phi: once will do
    climb = maximize if dense else partial(maximize_matrix_free, cg_iterations=cg_iterations)
    moved, _ = climb(
        lambda x: objective(x, phi, slope),
        start,
        tolerance=tolerance,
        max_iterations=max_iterations,
    )
    first = norm(grad(objective)(start, phi))

    def pull(cotangent: Params) -> tuple[Params, SampledInfo]:
        iterative = partial(conjugate_gradient, max_iterations=cg_iterations)
        through, info = implicit_vjp(
            objective,
            moved,
            phi,
            select(cotangent, names),
            solve=null_space_safe_solve if dense else iterative,
            tolerance=float("inf"),
        )
        direct = {
            name: torch.zeros_like(leaf) if name in moved else cotangent[name]
            for name, leaf in phi.items()
        }
        relative = info.stationarity / torch.where(first > 0, first, 1.0)
        solved = SampledInfo(relative, info.curvature, info.residual)
        return add_scaled(direct, 1.0, through), solved

    return Adapted({**phi, **moved}, pull)


def select(params: Params, names: tuple[str, ...]) -> Params:
    """Return the named parameters; no name means all.

    Raises:
        ValueError: a name that is not there.
    """
    missing = [name for name in names if name not in params]
    if missing:
        raise ValueError(f"no parameters are called {missing}; there are {list(params)}")
    return {name: params[name] for name in names} if names else dict(params)


def explicit_info(phi: Params) -> SampledInfo:
    """Return the info of an explicit step, which leaves nothing to be solved."""
    zero = torch.zeros_like(next(iter(phi.values())).sum())
    return SampledInfo(zero, torch.full_like(zero, torch.inf), zero)
