r"""Meta-gradients from samples: one function, and the table of methods that it computes.

    \nabla_phi E_tau[J_tau(theta_tau(phi))],  theta_tau(phi) = Alg on episodes that pi_phi collected

Every method is a choice of four things: the Alg, the rung of the ladder (what of the data's
dependence on phi is kept), a score term for the collection of data (E-MAML), and the outer update
(:mod:`bomrl_lite.outer`). :data:`METHODS` lists them; all share the signature of
:func:`sampled_meta_gradient`.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, Literal, NamedTuple

from bomrl_lite.adaptation.adapted import Adapted, explicit_info
from bomrl_lite.adaptation.dials import bind
from bomrl_lite.adaptation.distances import DISTANCES, add_distances, d3, over_every
from bomrl_lite.adaptation.episodes import (
    Alg,
)
from bomrl_lite.adaptation.gradient import gradient_adaptation
from bomrl_lite.adaptation.head import head_adaptation
from bomrl_lite.adaptation.natural import natural_adaptation, region_adaptation
from bomrl_lite.adaptation.objective import surrogate_objective
from bomrl_lite.adaptation.reductions import smooth_clip_surrogate
from bomrl_lite.adaptation.solve import (
    linearised_objective,
    penalised_objective,
    solved_adaptation,
)
from bomrl_lite.policies.at_samples import PolicyAtSamples
from bomrl_lite.rollout.data import SAMPLE_FUNCTIONS, SampleBatch, policy_at
from bomrl_lite.solvers.inner import matrix_free_solver
from bomrl_lite.types import Params, Policy

AlgName = Literal["none", "gradient", "head", "natural", "region", "solved"]


Rung = Literal["naive", "frozen", "q_gradient", "full"]


Outer = Literal["adam", "trpo"]


SurrogateName = Literal["linear", "ratio", "smooth_clip"]


class Method(NamedTuple):
    """A method as the choices that make it; dials that it does not name keep their defaults."""

    summary: str
    alg: AlgName
    data: Rung
    dials: dict[str, Any]
    """Fields of :class:`bomrl_lite.training.sampled_trainer.SampledConfig` by name."""


def make_alg(name: AlgName, policy: Policy, dials: dict[str, Any]) -> Alg:
    """Bind an Alg to a policy and its dials.

    Args:
        name: of the Alg.
        policy: over observations.
        dials: fields of a configuration by name; those that the Alg does not have are left out.
    """
    rung = bind(SAMPLE_FUNCTIONS[dials["data"]], {**dials, "policy": policy})
    names = policy.head if dials["parameters"] == "head" else ()

    def alg(phi: Params, batch: SampleBatch) -> Adapted:
        here = {
            **dials,
            "max_iterations": dials["inner_iterations" if name == "solved" else "cg_iterations"],
            "names": names,
            "policy": policy_at(batch, policy),
        }
        return bind(_ALGS[name], here)(phi, partial(rung, batch=batch))

    return alg


def _none(phi: Params, data_of: Callable[..., Any]) -> Adapted:
    """Adapt not at all: what joint training differentiates."""
    del data_of
    return Adapted(phi, lambda c: (c, explicit_info(phi)))


def _solved(
    phi: Params,
    data_of: Callable[..., Any],
    *,
    policy: PolicyAtSamples,
    distance: str,
    lam: float,
    ridge: float,
    distance_stride: int,
    surrogate: SurrogateName,
    names: tuple[str, ...],
    max_iterations: int,
    cg_iterations: int,
) -> Adapted:
    """Read the names of a configuration: D^2 with a ridge, and one of three surrogates."""
    base = DISTANCES[distance]
    if distance_stride > 1:
        base = over_every(distance_stride, base, policy.every(distance_stride))
    total = add_distances((1.0, base), (ridge / 2, d3)) if ridge > 0 else base
    if surrogate == "linear":
        objective = linearised_objective(
            data_of, policy=policy, distance=total, lam=lam, names=names
        )
    else:
        promised = smooth_clip_surrogate if surrogate == "smooth_clip" else surrogate_objective
        objective = penalised_objective(
            data_of, policy=policy, distance=total, lam=lam, surrogate=promised
        )
    solver = matrix_free_solver(max_iterations=max_iterations, cg_iterations=cg_iterations)
    return solved_adaptation(phi, objective, names=names, solver=solver)


_ALGS: dict[str, Callable[..., Adapted]] = {
    "none": _none,
    "gradient": gradient_adaptation,
    "head": head_adaptation,
    "natural": natural_adaptation,
    "region": region_adaptation,
    "solved": _solved,
}


_PG: dict[str, Any] = {"step_size": 0.3, "learning_rate": 1e-2}


_CLIPPED: dict[str, Any] = {"epochs": 5, "clip": 0.3}


METHODS: dict[str, Method] = {
    "joint": Method(
        "one policy for all tasks, no adaptation", "none", "frozen", {"learning_rate": 5e-3}
    ),
    "naive_maml": Method("MAML, plain autodiff: H2 only", "gradient", "naive", _PG),
    "first_order_maml": Method(
        "MAML without second-order terms", "gradient", "frozen", {**_PG, "first_order": True}
    ),
    "maml": Method("MAML with low-variance curvature: H1 + H2", "gradient", "frozen", _PG),
    "dice_maml": Method(
        "MAML with DiCE: all terms, returns without a baseline",
        "gradient",
        "full",
        {"step_size": 1.0, "learning_rate": 3e-3, "baseline": False},
    ),
    "loaded_dice_maml": Method(
        "MAML with Loaded DiCE: all terms, advantages, truncated",
        "gradient",
        "full",
        {**_PG, "causal_trace": 0.5},
    ),
    "trpo_maml": Method(
        "MAML with an outer trust-region step",
        "gradient",
        "frozen",
        {"step_size": 0.3, "learning_rate": 5e-3, "outer": "trpo", "max_kl": 3e-2},
    ),
    "e_maml": Method(
        "MAML crediting the collection of data (formulation II)",
        "gradient",
        "frozen",
        {**_PG, "credit": 0.1},
    ),
    "promp": Method(
        "ProMP: LVC, clipped epochs, KL penalty",
        "gradient",
        "frozen",
        {**_CLIPPED, "step_size": 0.5, "learning_rate": 6e-3, "kl_penalty": 5e-4},
    ),
    "anil": Method(
        "MAML on the head only",
        "gradient",
        "frozen",
        {"step_size": 2.0, "learning_rate": 1e-2, "parameters": "head"},
    ),
    "imaml": Method(
        "iMAML: Euclidean proximity, solved; frozen data",
        "solved",
        "frozen",
        {
            "distance": "d3",
            "lam": 4.0,
            "surrogate": "ratio",
            "learning_rate": 5e-3,
            "inner_iterations": 3,
        },
    ),
    "bomrl": Method(
        "BO-MRL, all parameters: linear surrogate, KL and ridge (recipe B)",
        "natural",
        "frozen",
        {**_CLIPPED, "lam": 0.0125, "ridge": 80.0, "learning_rate": 6e-3, "cg_iterations": 4},
    ),
    "bomrl_trust_region": Method(
        "BO-MRL with a limit on the distance",
        "region",
        "frozen",
        {**_CLIPPED, "delta": 30.0, "ridge": 30.0, "learning_rate": 6e-3},
    ),
    "bomrl_head": Method(
        "BO-MRL on the head, closed form (recipe A)",
        "head",
        "frozen",
        {"lam": 0.05, "ridge": 5.0, "learning_rate": 1e-2, "parameters": "head"},
    ),
    "bomrl_solved": Method(
        "BO-MRL, any surrogate and distance, solved (recipe C)",
        "solved",
        "frozen",
        {
            "lam": 0.03,
            "ridge": 1.0,
            "surrogate": "smooth_clip",
            "learning_rate": 1e-2,
            "parameters": "head",
            "inner_iterations": 4,
            "cg_iterations": 12,
        },
    ),
}
"""The methods by name, as the command line and ``SampledConfig.method`` know them.

Their dials are the best of eight on 2-D navigation (the experiment ``navigation_tuning``)."""
