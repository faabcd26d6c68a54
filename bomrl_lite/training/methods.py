r"""ONE table of methods: Alg x rung of the ladder x outer update, with the tuned settings of each.

    \nabla_phi E_tau[J_tau(theta_tau(phi))],  theta_tau(phi) = Alg on data that pi_phi collected

A name means one algorithm. What differs between kinds of tasks is how its settings are tuned:
``exact`` values of tabular tasks, ``points`` (2-D navigation and all else that is sampled),
``robots``, and families with a row of their own.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, NamedTuple

from bomrl_lite.adaptation.settings import (
    AlgSettings,
    Argmax,
    ConstrainedArgmax,
    GradientStep,
    HeadClosedForm,
    NaturalRegion,
    NaturalStep,
    NoAdaptation,
    Rung,
    SampledArgmax,
)

Values = Literal["exact", "episodes"]
"""Where a method's data come from: the solved MDP, or episodes."""
Kind = Literal["exact", "points", "robots", "ant"]
"""Kinds of tasks that settings are tuned for."""


@dataclass(frozen=True)
class Adam:
    """One step of Adam along the meta-gradient."""

    learning_rate: float = 5e-3
    """Step of the outer optimiser, Adam."""


@dataclass(frozen=True)
class Epochs:
    """Steps of Adam on the same episodes: clipped, penalised, guarded, as ProMP takes them."""

    learning_rate: float = 5e-3
    """Step of the outer optimiser, Adam."""
    epochs: int = 1
    """Adam updates per iteration, on the same episodes."""
    clip: float = 0.0
    """Clip of the outer ratio; 0 is none."""
    kl_penalty: float = 0.0
    """Weight of KL(pi_old || pi_phi) before adaptation (ProMP)."""
    kl_target: float = 0.0
    """Let the penalty double or halve to keep that KL near this; 0 leaves it fixed."""
    kl_guard: float = 0.0
    """Stop the epochs once the adapted policies have moved this far; 0 is none."""


@dataclass(frozen=True)
class Trpo:
    """TRPO's step for phi (Schulman et al., 1502.05477)."""

    max_kl: float = 1e-2
    """Largest KL of the adapted policies, in nats."""
    clip: float = 0.0
    """Clip of the outer ratio; 0 is none."""


OuterSettings = Adam | Epochs | Trpo
"""What an outer update can be told, by update."""


@dataclass(frozen=True)
class Estimator:
    """What a method reads from episodes."""

    credit: float = 0.0
    """Weight of E-MAML's score term, which is a mean over samples: T makes it formulation II's."""
    baseline: bool = True
    """Whether a linear baseline is subtracted from returns."""
    trace: float = 0.95
    """lambda of the generalised advantage estimate."""
    normalise: bool = True
    """Give each task's advantages mean 0 and deviation 1."""
    causal_trace: float = 1.0
    """Rungs q_gradient and full: truncation of the causal horizon, in [0, 1]."""


@dataclass(frozen=True)
class Network:
    """The policy's network and where it starts."""

    hidden: tuple[int, ...] = (32, 32)
    """Widths of the policy's hidden layers."""
    log_std: float = 0.0
    """Where the logarithm of a Gaussian policy's deviation starts."""
    head_scale: float = 1.0
    """Factor of a Gaussian policy's last weights at the start."""


class Tuned(NamedTuple):
    """A method's settings on one kind of task."""

    alg: AlgSettings
    outer: OuterSettings
    estimator: Estimator = Estimator()
    network: Network | None = None
    """None takes the kind's own."""


class Method(NamedTuple):
    """A method as the choices that make it."""

    summary: str
    source: str
    """Where the method is from: authors, year, arXiv."""
    rungs: tuple[Rung, ...]
    """Its rung of the ladder, then those that may be asked for in its place."""
    tuned: dict[Kind, Tuned]

    @property
    def values(self) -> tuple[Values, ...]:
        """What its data may be."""
        kinds = {"exact": "exact" in self.tuned, "episodes": "points" in self.tuned}
        return tuple(name for name in ("exact", "episodes") if kinds[name])

    @property
    def alg(self) -> str:
        """Name of its Alg."""
        return type(next(iter(self.tuned.values())).alg).__name__

    @property
    def outer(self) -> str:
        """Names of its outer updates: with exact values, from episodes."""
        return ", ".join(dict.fromkeys(type(t.outer).__name__ for t in self.tuned.values()))

    def settings(self, kind: Kind) -> Tuned:
        """Return the settings for a kind of task, the nearest where it has none of its own.

        Raises:
            KeyError: it has none that is near: exact values of a method on episodes, say.
        """
        nearest: dict[Kind, tuple[Kind, ...]] = {"robots": ("points",), "ant": ("robots", "points")}
        for name in (kind, *nearest.get(kind, ())):
            if name in self.tuned:
                tuned = self.tuned[name]
                return tuned if tuned.network else tuned._replace(network=NETWORKS[kind])
        raise KeyError(kind)


# A policy that starts with small means starts with small torques, which cost little. The ant falls
# under torques as noisy as the cheetah stands (the experiment ``ant_forward``).
NETWORKS: dict[Kind, Network | None] = {
    "exact": None,
    "points": Network(),
    "robots": Network(hidden=(64, 64), log_std=-0.5, head_scale=0.1),
    "ant": Network(hidden=(64, 64), log_std=-1.0, head_scale=0.1),
}
"""Networks by kind of task; exact values belong to tables."""

_SAMPLED: tuple[Rung, ...] = ("frozen", "naive", "q_gradient", "full")
_GRADIENT: tuple[Rung, ...] = (*_SAMPLED, "identity")
_EXACT: tuple[Rung, ...] = ("full", "q_gradient", "frozen", "naive")
_STEP = Tuned(GradientStep(step_size=0.3), Epochs(learning_rate=1e-2))

METHODS: dict[str, Method] = {
    "joint": Method(
        "one policy for all tasks, no adaptation",
        "the baseline without adaptation",
        ("none",),
        {"points": Tuned(NoAdaptation(), Epochs(learning_rate=5e-3))},
    ),
    "joint_finetuned": Method(
        "one policy for all tasks, a gradient step when it is used",
        "the baseline that every meta-learner must beat after adaptation",
        ("none",),
        {"exact": Tuned(GradientStep(step_size=10.0), Adam(learning_rate=0.03))},
    ),
    "maml": Method(
        "MAML, exactly: all terms of d theta / d phi",
        "Finn et al. 2017, 1703.03400",
        ("full",),
        {"exact": Tuned(GradientStep(step_size=10.0), Adam(learning_rate=0.03))},
    ),
    "first_order_maml": Method(
        "MAML without second-order terms",
        "Finn et al. 2017, 1703.03400, section 5.2",
        ("identity",),
        {
            "exact": Tuned(GradientStep(step_size=10.0), Adam(learning_rate=0.03)),
            "points": _STEP,
        },
    ),
    "naive_maml": Method(
        "MAML by plain automatic differentiation: H2 only",
        "Rothfuss et al. 2019, 1810.06784, section 4",
        ("naive",),
        {"points": _STEP},
    ),
    "lvc_maml": Method(
        "MAML with low-variance curvature: H1 + H2",
        "Rothfuss et al. 2019, 1810.06784",
        ("frozen",),
        {
            "points": _STEP,
            "robots": Tuned(
                GradientStep(step_size=0.1), Epochs(learning_rate=2e-2, epochs=5, clip=0.3)
            ),
        },
    ),
    "dice_maml": Method(
        "MAML with DiCE: all terms, returns without a baseline",
        "Foerster et al. 2018, 1802.05098",
        ("full",),
        {
            "points": Tuned(
                GradientStep(step_size=1.0),
                Epochs(learning_rate=3e-3),
                Estimator(baseline=False),
            )
        },
    ),
    "loaded_dice_maml": Method(
        "MAML with Loaded DiCE: all terms, advantages, truncated",
        "Farquhar et al. 2019, 1909.10549",
        ("full", "q_gradient"),
        {"points": _STEP._replace(estimator=Estimator(causal_trace=0.5))},
    ),
    "trpo_maml": Method(
        "MAML with an outer trust-region step",
        "Finn et al. 2017, 1703.03400; Schulman et al. 2015, 1502.05477",
        _GRADIENT,
        {
            "points": Tuned(GradientStep(step_size=0.3), Trpo(max_kl=3e-2)),
            "robots": Tuned(GradientStep(step_size=0.5), Trpo(max_kl=0.1)),
        },
    ),
    "e_maml": Method(
        "MAML crediting the collection of data (formulation II)",
        "Stadie et al. 2018, 1803.01118",
        _GRADIENT,
        {"points": _STEP._replace(estimator=Estimator(credit=0.1))},
    ),
    "promp": Method(
        "ProMP: LVC, clipped epochs, KL penalty",
        "Rothfuss et al. 2019, 1810.06784",
        _GRADIENT,
        {
            "points": Tuned(
                GradientStep(step_size=0.5),
                Epochs(learning_rate=6e-3, epochs=5, clip=0.3, kl_penalty=5e-4),
            ),
            "robots": Tuned(
                GradientStep(step_size=0.1),
                Epochs(learning_rate=2e-2, epochs=5, clip=0.3, kl_penalty=5e-4),
            ),
            "ant": Tuned(
                GradientStep(step_size=0.1),
                Epochs(learning_rate=5e-3, epochs=10, clip=0.3, kl_penalty=5e-4),
            ),
        },
    ),
    "anil": Method(
        "MAML on the head only",
        "Raghu et al. 2020, 1909.09157",
        _GRADIENT,
        {
            "points": Tuned(
                GradientStep(step_size=2.0, parameters="head"), Epochs(learning_rate=1e-2)
            )
        },
    ),
    "imaml": Method(
        "iMAML: Euclidean proximity, solved; frozen data",
        "Rajeswaran et al. 2019, 1909.04630",
        _SAMPLED,
        {
            "points": Tuned(
                SampledArgmax(distance="d3", lam=4.0, inner_iterations=3),
                Epochs(learning_rate=5e-3),
            )
        },
    ),
    "bomrl": Method(
        "BO-MRL: Alg solved, the full hypergradient",
        "Xu and Zhu 2024, 2410.09728",
        _EXACT,
        {"exact": Tuned(Argmax(), Adam(learning_rate=0.03))},
    ),
    "bomrl_trust_region": Method(
        "BO-MRL with a limit on the distance, solved",
        "Xu and Zhu 2024, 2410.09728",
        _EXACT,
        {"exact": Tuned(ConstrainedArgmax(), Adam(learning_rate=0.03))},
    ),
    "first_order_bomrl": Method(
        "BO-MRL with d theta / d phi taken as I",
        "the published code of Xu and Zhu 2024, 2410.09728",
        ("identity",),
        {"exact": Tuned(Argmax(), Adam(learning_rate=0.03))},
    ),
    "bomrl_natural": Method(
        "BO-MRL, all parameters: linear surrogate, KL and ridge (recipe B)",
        "Xu and Zhu 2024, 2410.09728, to second order at phi",
        _SAMPLED,
        {
            "points": Tuned(
                NaturalStep(lam=0.0125, ridge=80.0, cg_iterations=4),
                Epochs(learning_rate=6e-3, epochs=5, clip=0.3),
            ),
            "robots": Tuned(
                NaturalStep(lam=0.05, ridge=60.0, cg_iterations=8, distance_stride=4),
                Epochs(learning_rate=2e-2, epochs=5, clip=0.3),
            ),
            "ant": Tuned(
                NaturalStep(lam=0.05, ridge=60.0, cg_iterations=8, distance_stride=4),
                Epochs(learning_rate=5e-3, epochs=10, clip=0.3),
            ),
        },
    ),
    "bomrl_natural_region": Method(
        "BO-MRL as recipe B, with a limit on the distance",
        "Schulman et al. 2015, 1502.05477, as an Alg",
        _SAMPLED,
        {
            "points": Tuned(
                NaturalRegion(delta=30.0, ridge=30.0),
                Epochs(learning_rate=6e-3, epochs=5, clip=0.3),
            )
        },
    ),
    "bomrl_head": Method(
        "BO-MRL on the head, closed form (recipe A)",
        "Xu and Zhu 2024, 2410.09728, for a linear head",
        _SAMPLED,
        {
            "points": Tuned(HeadClosedForm(lam=0.05, ridge=5.0), Epochs(learning_rate=1e-2)),
            "robots": Tuned(
                HeadClosedForm(lam=0.3, ridge=1.0), Epochs(learning_rate=1e-2, epochs=5, clip=0.3)
            ),
        },
    ),
    "bomrl_solved": Method(
        "BO-MRL, any surrogate and distance, solved (recipe C)",
        "Xu and Zhu 2024, 2410.09728, on frozen data",
        _SAMPLED,
        {
            "points": Tuned(
                SampledArgmax(
                    lam=0.03,
                    ridge=1.0,
                    surrogate="smooth_clip",
                    inner_iterations=4,
                    cg_iterations=12,
                    parameters="head",
                ),
                Epochs(learning_rate=1e-2),
            ),
            "robots": Tuned(
                SampledArgmax(
                    lam=0.05,
                    ridge=60.0,
                    surrogate="linear",
                    inner_iterations=3,
                    cg_iterations=8,
                    distance_stride=4,
                ),
                Epochs(learning_rate=2e-2, epochs=5, clip=0.3),
            ),
        },
    ),
}
"""The methods by name.

From episodes, settings were the best of eight on 2-D navigation and on HalfCheetah direction, those
of ``bomrl_natural`` for ``bomrl_solved``; on the ant the best of four more (``ant_tuning``). They
are where the searches of the experiments begin (``navigation_tuning``, ``cheetah_tuning``,
``cheetah_velocity_tuning``); comparisons on points and cheetahs train with what those found."""


def rows() -> Iterator[tuple[str, str, str, str, str, str]]:
    """Yield name, Alg, rung, outer update, values and source of every method."""
    for name, method in METHODS.items():
        values = ", ".join(method.values)
        yield name, method.alg, method.rungs[0], method.outer, values, method.source
