r"""The settings of every Alg, and the Alg that settings stand for.

A method (:mod:`bomrl_lite.training.methods`) is an Alg, a rung of the ladder and an outer update.
What its Alg can be told is one small dataclass of this file, so that a setting which an Alg does
not have cannot be given to it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Literal

from bomrl_lite.adaptation.adapted import Adapted, DataOf, explicit_info, side_by_side
from bomrl_lite.adaptation.distances import DISTANCES, add_distances, d3, over_every
from bomrl_lite.adaptation.episodes import Alg
from bomrl_lite.adaptation.gradient import gradient_adaptation
from bomrl_lite.adaptation.head import head_adaptation
from bomrl_lite.adaptation.natural import natural_adaptation, region_adaptation
from bomrl_lite.adaptation.objective import surrogate_objective
from bomrl_lite.adaptation.reductions import smooth_clip_surrogate
from bomrl_lite.adaptation.solve import (
    LocalObjective,
    linearised_objective,
    penalised_objective,
    solved_adaptation,
)
from bomrl_lite.policies.at_samples import PolicyAtSamples
from bomrl_lite.require import checked, require_not_negative, require_positive, require_share
from bomrl_lite.rollout.data import (
    OneTimeData,
    SampleBatch,
    frozen_samples,
    full_samples,
    naive_samples,
    policy_at,
    samples_with_q_gradient,
)
from bomrl_lite.solvers.inner import matrix_free_solver
from bomrl_lite.types import Params, Policy, SolvedInfo

Rung = Literal["none", "identity", "naive", "frozen", "q_gradient", "full"]
r"""What of d theta / d phi a meta-gradient keeps.

``none``: the adaptation is left out of training altogether. ``identity``: d theta / d phi = I, the
first-order methods. The others are the rungs of :mod:`bomrl_lite.rollout.data`."""

DistanceName = Literal["d1", "d2", "d3"]
SurrogateName = Literal["linear", "ratio", "smooth_clip"]
Moved = Literal["all", "head"]


@dataclass(frozen=True)
class NoAdaptation:
    """theta = phi: one policy for all tasks."""


@dataclass(frozen=True)
class GradientStep:
    r"""One step up: theta = phi + alpha \nabla J (Finn et al., 1703.03400)."""

    step_size: float = 1.0
    """alpha of the inner policy-gradient step: in parameters^2 per return with exact values, per
    deviation of the advantages from episodes."""
    parameters: Moved = "all"
    """What the adaptation moves."""


@dataclass(frozen=True)
class Argmax:
    """Alg solved on exact data, in closed form where there is one (Xu and Zhu, 2410.09728)."""

    distance: DistanceName = "d2"
    """D^2 of the adaptation: KL(phi||theta), KL(theta||phi) or Euclidean."""
    lam: float = 1.0
    """Weight of D^2, in units of return."""


@dataclass(frozen=True)
class ConstrainedArgmax:
    """Alg with a limit on D^2 in place of a price, solved on exact data."""

    distance: DistanceName = "d2"
    """D^2 of the adaptation: KL(phi||theta), KL(theta||phi) or Euclidean."""
    delta: float = 0.1
    """Largest D^2 allowed, in nats (d3: parameters^2)."""


@dataclass(frozen=True)
class HeadClosedForm:
    """The linear head of a Gaussian policy, in closed form (recipe A)."""

    lam: float = 0.0125
    """Weight of D^2, in deviations of the advantages."""
    ridge: float = 0.0
    """rho of the Euclidean term inside D^2."""
    body_step: float = 0.0
    """alpha of a gradient step, beside it, of all that is not the head; 0 leaves that alone."""

    def __post_init__(self) -> None:
        """Refuse a step downhill.

        Raises:
            ValueError: ``body_step`` is negative, or no number.
        """
        require_not_negative("body_step", self.body_step)


@dataclass(frozen=True)
class NaturalStep:
    """Linear surrogate, KL divergence to second order, ridge (recipe B)."""

    lam: float = 0.0125
    """Weight of D^2, in deviations of the advantages."""
    ridge: float = 0.0
    """rho of the Euclidean term inside D^2."""
    head_ridge: float | None = None
    """rho of the policy's head, where it is not that of all parameters."""
    cg_iterations: int = 6
    """Conjugate-gradient iterations, forward and back; see ``residual`` of the history."""
    distance_stride: int = 1
    """Average the KL divergence over every so many-th sample."""
    parameters: Moved = "all"
    """What the adaptation moves."""

    def __post_init__(self) -> None:
        """Refuse two ridges where only the head moves.

        Raises:
            ValueError: the ridge of the body would be without effect.
        """
        _check_ridges(self)


@dataclass(frozen=True)
class NaturalRegion:
    """:class:`NaturalStep` with a limit on D^2 in place of a price."""

    delta: float = 1.0
    """Largest D^2 to second order, the ridge included, in nats."""
    ridge: float = 0.0
    """rho of the Euclidean term inside D^2."""
    head_ridge: float | None = None
    """rho of the policy's head, where it is not that of all parameters."""
    cg_iterations: int = 6
    """Conjugate-gradient iterations, forward and back; see ``residual`` of the history."""
    distance_stride: int = 1
    """Average the KL divergence over every so many-th sample."""
    parameters: Moved = "all"
    """What the adaptation moves."""
    halvings: int = 0
    """Halve the step, so often at most, until L gains and D^2 itself is within delta; else the task
    is not adapted. 0 does not look."""

    def __post_init__(self) -> None:
        """Refuse two ridges where only the head moves.

        Raises:
            ValueError: the ridge of the body would be without effect.
        """
        _check_ridges(self)


def _check_ridges(settings: NaturalStep | NaturalRegion) -> None:
    if settings.parameters == "head" and settings.head_ridge is not None:
        raise ValueError(
            f"head_ridge is {settings.head_ridge}, but only the head moves: say ridge instead"
        )


@dataclass(frozen=True)
class SampledArgmax:
    """Any surrogate and any distance, solved on samples (recipe C; iMAML)."""

    lam: float = 0.0125
    """Weight of D^2, in deviations of the advantages."""
    ridge: float = 0.0
    """rho of the Euclidean term inside D^2."""
    distance: DistanceName = "d1"
    """D^2 beside the ridge."""
    surrogate: SurrogateName = "ratio"
    """L."""
    inner_iterations: int = 12
    """Newton steps; see ``stationarity`` of the history."""
    cg_iterations: int = 6
    """Conjugate-gradient iterations, forward and back; see ``residual`` of the history."""
    distance_stride: int = 1
    """Average a KL divergence over every so many-th sample."""
    parameters: Moved = "all"
    """What the adaptation moves."""

    def __post_init__(self) -> None:
        """Refuse a stride that nothing would follow.

        Raises:
            ValueError: the Euclidean distance has no samples to skip.
        """
        if self.distance == "d3" and self.distance_stride > 1:
            raise ValueError(
                f"distance_stride is {self.distance_stride}, but d3 is no average over samples: "
                "leave it at 1, or choose d1 or d2"
            )


AlgSettings = (
    NoAdaptation
    | GradientStep
    | Argmax
    | ConstrainedArgmax
    | HeadClosedForm
    | NaturalStep
    | NaturalRegion
    | SampledArgmax
)
"""What an Alg can be told, by Alg."""


@checked(gamma=require_share, tolerance=require_positive)
def alg_on_samples(
    settings: AlgSettings,
    rung: Rung,
    policy: Policy,
    *,
    gamma: float,
    causal_trace: float = 1.0,
    tolerance: float | None = None,
) -> Alg:
    """Return the Alg that adapts a policy to the episodes of one task.

    Args:
        settings: which Alg, and what it is told.
        rung: what of the data's dependence on phi its way back keeps.
        policy: over observations.
        gamma: discount in [0, 1].
        causal_trace: rungs q_gradient and full: truncation of the causal horizon, in [0, 1].
        tolerance: at which an iterative solver stops before its last iteration; None takes its own.

    Raises:
        ValueError: an Alg that needs exact values, or a head that the policy does not have.
    """
    data = sample_function(rung, policy, gamma=gamma, causal_trace=causal_trace)
    if not policy.head and (
        isinstance(settings, HeadClosedForm) or getattr(settings, "parameters", "all") == "head"
    ):
        raise ValueError(
            "a tabular policy has no head to adapt alone; use parameters='all' with another "
            "method than bomrl_head"
        )

    def alg(phi: Params, batch: SampleBatch) -> Adapted:
        seen = policy_at(batch, policy)
        return _adapt_to(settings, rung, seen, phi, partial(data, batch=batch), tolerance)

    return alg


@checked(gamma=require_share)
def sample_function(
    rung: Rung, policy: Policy, *, gamma: float, causal_trace: float
) -> Callable[..., OneTimeData]:
    """Return (phi, *, batch) -> one-time data that keep what the rung keeps."""
    match rung:
        case "naive":
            return partial(naive_samples, policy=policy)
        case "q_gradient":
            causes = {"gamma": gamma, "causal_trace": causal_trace}
            return partial(samples_with_q_gradient, policy=policy, **causes)
        case "full":
            return partial(full_samples, policy=policy, gamma=gamma, causal_trace=causal_trace)
        case _:
            return partial(frozen_samples, policy=policy)


def _adapt_to(
    settings: AlgSettings,
    rung: Rung,
    policy: PolicyAtSamples,
    phi: Params,
    data_of: DataOf,
    tolerance: float | None,
) -> Adapted:
    head = getattr(settings, "parameters", "all") == "head"
    names = policy.policy.head if head else ()
    stop = {} if tolerance is None else {"tolerance": tolerance}
    match settings:
        case NoAdaptation():
            return Adapted(phi, partial(_unchanged, explicit_info(phi)))
        case GradientStep(step_size=step_size):
            first = rung == "identity"
            return gradient_adaptation(
                phi, data_of, policy=policy, step_size=step_size, names=names, first_order=first
            )
        case HeadClosedForm(lam=lam, ridge=ridge, body_step=body_step):
            head = head_adaptation(phi, data_of, policy=policy, lam=lam, ridge=ridge)
            if body_step == 0:
                return head
            rest = tuple(name for name in phi if name not in policy.policy.head)
            body = gradient_adaptation(phi, data_of, policy=policy, step_size=body_step, names=rest)
            return side_by_side(head, body, rest)
        case NaturalStep() | NaturalRegion():
            return _adapt_by_natural_gradient(settings, policy, phi, data_of, names, stop)
        case SampledArgmax():
            solver = matrix_free_solver(
                max_iterations=settings.inner_iterations,
                cg_iterations=settings.cg_iterations,
                **stop,
            )
            objective = _inner_objective(settings, policy, data_of, names)
            return solved_adaptation(phi, objective, names=names, solver=solver)
        case _:
            raise ValueError(f"{type(settings).__name__} is solved on exact values, not on samples")


def _adapt_by_natural_gradient(
    settings: NaturalStep | NaturalRegion,
    policy: PolicyAtSamples,
    phi: Params,
    data_of: DataOf,
    names: tuple[str, ...],
    stop: dict[str, float],
) -> Adapted:
    adapt = (
        partial(natural_adaptation, lam=settings.lam)
        if isinstance(settings, NaturalStep)
        else partial(region_adaptation, delta=settings.delta, halvings=settings.halvings)
    )
    return adapt(
        phi,
        data_of,
        policy=policy,
        ridge=settings.ridge,
        head_ridge=settings.head_ridge,
        names=names,
        distance_stride=settings.distance_stride,
        max_iterations=settings.cg_iterations,
        **stop,
    )


def _unchanged(info: SolvedInfo, cotangent: Params) -> tuple[Params, SolvedInfo]:
    return cotangent, info


def _inner_objective(
    settings: SampledArgmax, policy: PolicyAtSamples, data_of: DataOf, names: tuple[str, ...]
) -> LocalObjective:
    """Return what is maximised: one of three surrogates, less D^2 with the ridge inside."""
    stride, distance = settings.distance_stride, DISTANCES[settings.distance]
    if stride > 1:
        distance = over_every(stride, distance, policy.every(stride))
    if settings.ridge > 0:
        distance = add_distances((1.0, distance), (settings.ridge / 2, d3))
    lam = settings.lam
    if settings.surrogate == "linear":
        return linearised_objective(data_of, policy=policy, distance=distance, lam=lam, names=names)
    surrogate = (
        smooth_clip_surrogate if settings.surrogate == "smooth_clip" else surrogate_objective
    )
    return penalised_objective(
        data_of, policy=policy, distance=distance, lam=lam, surrogate=surrogate
    )
