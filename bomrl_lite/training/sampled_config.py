r"""The dials of a training run on samples: what it is asked for, and what its method fills in."""

import dataclasses
import math
from typing import Any, Literal, get_args, get_origin

from bomrl_lite.methods import METHODS, Outer, Rung, SurrogateName
from bomrl_lite.tasks import locomotion

BASE: dict[str, Any] = {
    "step_size": 1.0,
    "lam": 0.0125,
    "delta": 1.0,
    "ridge": 0.0,
    "cg_iterations": 6,
    "distance_stride": 1,
    "inner_iterations": 12,
    "distance": "d1",
    "surrogate": "ratio",
    "parameters": "all",
    "causal_trace": 1.0,
    "first_order": False,
    "credit": 0.0,
    "baseline": True,
    "outer": "adam",
    "learning_rate": 5e-3,
    "epochs": 1,
    "clip": 0.0,
    "kl_penalty": 0.0,
    "kl_target": 0.0,
    "kl_guard": 0.0,
    "max_kl": 1e-2,
    "hidden": (32, 32),
    "log_std": 0.0,
    "head_scale": 1.0,
}
"""Dials that neither a method's table nor the configuration sets."""

ROBOT: dict[str, Any] = {"hidden": (64, 64), "log_std": -0.5, "head_scale": 0.1}
"""Dials of every method on robots, in place of :data:`BASE`. A policy that starts with small means
starts with small torques, which cost little."""

_CLIPPED: dict[str, Any] = {"epochs": 5, "clip": 0.3}
ROBOT_METHODS: dict[str, dict[str, Any]] = {
    "maml": {**_CLIPPED, "step_size": 0.1, "learning_rate": 2e-2},
    "trpo_maml": {"step_size": 0.5, "max_kl": 0.1},
    "promp": {"step_size": 0.1, "learning_rate": 2e-2},
    "bomrl_head": {**_CLIPPED, "lam": 0.3, "ridge": 1.0, "learning_rate": 1e-2},
    "bomrl": {
        "lam": 0.05,
        "ridge": 60.0,
        "learning_rate": 2e-2,
        "distance_stride": 4,
        "cg_iterations": 8,
    },
    "bomrl_solved": {
        **_CLIPPED,
        "lam": 0.05,
        "ridge": 60.0,
        "learning_rate": 2e-2,
        "surrogate": "linear",
        "parameters": "all",
        "distance_stride": 4,
        "inner_iterations": 3,
        "cg_iterations": 8,
    },
}
"""Dials of a method on robots, in place of those in ``METHODS``: the best of eight on HalfCheetah
direction (the experiment ``cheetah_tuning``), those of ``bomrl`` for ``bomrl_solved``."""


@dataclasses.dataclass(frozen=True)
class SampledConfig:
    """Every dial of a training run on samples; a dial left at None is the method's own.

    Two runs of one configuration on one machine are bit-identical.
    """

    method: Literal[
        "joint",
        "naive_maml",
        "first_order_maml",
        "maml",
        "dice_maml",
        "loaded_dice_maml",
        "trpo_maml",
        "e_maml",
        "promp",
        "anil",
        "imaml",
        "bomrl",
        "bomrl_trust_region",
        "bomrl_head",
        "bomrl_solved",
    ] = "bomrl"
    """How phi is trained: a key of ``METHODS``."""
    tasks: str = "navigation/circle"
    """Task distribution, by name; tabular ones are simulated."""
    num_tasks: int = 20
    """Tasks of one iteration, drawn anew each time."""
    num_episodes: int = 20
    """Episodes per task before adaptation, and again after it."""
    horizon: int | None = None
    """Steps of an episode; None takes the family's."""
    iterations: int = 50
    """Updates of phi."""
    num_steps: int = 1
    """Adaptation steps, each on episodes of the policy before it."""
    hidden: tuple[int, ...] | None = None
    """Widths of the policy's hidden layers; None takes 64, 64 for robots and else 32, 32."""
    log_std: float | None = None
    """Where the logarithm of a Gaussian policy's deviation starts: -0.5 for robots, else 0."""
    head_scale: float | None = None
    """Factor of a Gaussian policy's last weights at the start: 0.1 for robots, else 1."""
    step_size: float | None = None
    """Gradient methods: alpha, in parameters^2 per deviation of the advantages."""
    lam: float | None = None
    """BO-MRL, iMAML: weight of D^2, in deviations of the advantages."""
    delta: float | None = None
    """bomrl_trust_region: largest D^2, in nats."""
    ridge: float | None = None
    """BO-MRL: rho of the Euclidean term inside D^2."""
    distance: Literal["d1", "d2", "d3"] | None = None
    """bomrl_solved: D^2 beside the ridge."""
    cg_iterations: int | None = None
    """BO-MRL, iMAML: conjugate-gradient iterations, forward and back; see ``residual``."""
    distance_stride: int | None = None
    """bomrl, bomrl_trust_region: average the KL divergence over every so many-th sample."""
    inner_iterations: int | None = None
    """bomrl_solved, imaml: Newton steps; see ``stationarity``."""
    surrogate: SurrogateName | None = None
    """bomrl_solved: L."""
    parameters: Literal["all", "head"] | None = None
    """What the adaptation moves."""
    data: Rung | None = None
    """What of the data's dependence on phi the meta-gradient keeps."""
    causal_trace: float | None = None
    """Rungs q_gradient and full: truncation of the causal horizon, in [0, 1]."""
    first_order: bool | None = None
    """Gradient methods: take d theta / d phi for the identity."""
    credit: float | None = None
    """Weight of E-MAML's score term, which is a mean over samples: T makes it formulation II's."""
    baseline: bool | None = None
    """Whether a linear baseline is subtracted from returns."""
    outer: Outer | None = None
    """adam, with ``epochs``, ``clip`` and ``kl_guard``; or trpo, with ``max_kl``."""
    learning_rate: float | None = None
    """Of Adam."""
    epochs: int | None = None
    """Adam updates per iteration, on the same episodes."""
    clip: float | None = None
    """Clip of the outer ratio; 0 is none."""
    kl_penalty: float | None = None
    """Weight of KL(pi_old || pi_phi) before adaptation (ProMP)."""
    kl_target: float | None = None
    """Let the penalty double or halve to keep that KL near this; 0 leaves it fixed."""
    kl_guard: float | None = None
    """Stop the epochs once the adapted policies have moved this far; 0 is none."""
    max_kl: float | None = None
    """trpo: largest KL of the adapted policies, in nats."""
    trace: float = 0.95
    """lambda of the generalised advantage estimate."""
    normalise: bool = True
    """Give each task's advantages mean 0 and deviation 1."""
    integrator: Literal["gym", "fast"] = "gym"
    """Of robots: gymnasium's dynamics, or implicitfast, which is no other for the cheetah."""
    backend: Literal["auto", "mujoco", "warp"] = "auto"
    """What simulates robots: MuJoCo on the processor or Warp on a GPU; auto takes what is there."""
    seed: int = 0
    """Decides everything that is random."""
    diagnose_every: int = 10
    """Iterations between two measurements of the costly diagnostics."""
    checkpoint_every: int = 10
    """Iterations between two checkpoints."""

    def __post_init__(self) -> None:
        """Refuse values that could not train.

        Raises:
            ValueError: says which field, what it must be and what it is.
        """
        for field in dataclasses.fields(self):
            kinds = [k for k in (field.type, *get_args(field.type)) if get_origin(k) is Literal]
            allowed = get_args(kinds[0]) if kinds else ()
            value = getattr(self, field.name)
            if allowed and value is not None and value not in allowed:
                raise ValueError(f"{field.name} must be one of {allowed}, got {value!r}")
        dials = self.dials()
        for name in (
            "num_tasks",
            "num_episodes",
            "iterations",
            "num_steps",
            "diagnose_every",
            "checkpoint_every",
            "epochs",
            "cg_iterations",
            "distance_stride",
            "inner_iterations",
        ):
            if dials[name] < 1:
                raise ValueError(f"{name} must be at least 1, got {dials[name]}")
        for name in ("step_size", "lam", "delta", "learning_rate", "max_kl"):
            if not 0 < dials[name] < math.inf:
                raise ValueError(f"{name} must be positive and finite, got {dials[name]}")
        for name in ("ridge", "clip", "kl_penalty", "kl_target", "kl_guard"):
            if not 0 <= dials[name] < math.inf:
                raise ValueError(f"{name} must be 0 or more and finite, got {dials[name]}")
        for name in ("causal_trace", "trace"):
            if not 0 <= dials[name] <= 1:
                raise ValueError(f"{name} must be in [0, 1], got {dials[name]}")

    def dials(self) -> dict[str, Any]:
        """Return every field, those left at None as the method has them."""
        method = METHODS[self.method]
        given = {k: v for k, v in dataclasses.asdict(self).items() if v is not None}
        own = {**BASE, "data": method.data, "horizon": None, **method.dials}
        if self.tasks in locomotion.FAMILIES:
            own |= {**ROBOT, **ROBOT_METHODS.get(self.method, {})}
        return {**own, **given}
