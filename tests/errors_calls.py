"""A call of each public function of the mathematics that works: bad arguments are put into it."""

from functools import partial

import torch
from conftest import random_features, random_logits, random_task, stack

import bomrl_lite as bl
from bomrl_lite import mdp, theory
from bomrl_lite.adaptation import (
    adapted,
    closed_forms,
    distances,
    episodes,
    gradient,
    head,
    meta_gradients,
    natural,
    objective,
    reductions,
    settings,
    solve,
    trust_region,
)
from bomrl_lite.course import statistics
from bomrl_lite.policies import networks
from bomrl_lite.policies.at_samples import PolicyAtSamples
from bomrl_lite.policies.distributions import Categorical, Gaussian
from bomrl_lite.render import goal_marks, render
from bomrl_lite.rollout import collect, data, returns
from bomrl_lite.solvers import implicit, inner, linear, maximize
from bomrl_lite.tasks import frozen_lake, locomotion, navigation, probes, robot_goals, tabular
from bomrl_lite.training import metrics, streams

DOUBLE = {"dtype": torch.float64}
GENERATOR = torch.Generator().manual_seed(0)

TASK, PHI = random_task(0), {"logits": random_logits(0)}
TASKS, THETA = stack([TASK, random_task(1)]), {"logits": random_logits(1)}
POLICY, PROBS = bl.tabular_softmax(5, 3), random_logits(0).softmax(-1)
LOG_PHI, LOG_THETA = random_logits(0).log_softmax(-1), random_logits(1).log_softmax(-1)
DATA = bl.full_data(PHI, TASK, policy=POLICY, gamma=0.9)
WEIGHTS = DATA.state_weights
SOLVED = bl.bomrl(PHI, TASK, policy=POLICY, gamma=0.9, distance=bl.d2, lam=1.0)[1].inner
LAKE = ("SFF", "FFF", "FFG")

GAUSS = bl.gaussian_mlp(2, 2, hidden=(4,))
OF_GAUSS = GAUSS.init(GENERATOR)
CIRCLE = bl.make_tasks("navigation/circle")
GOALS = CIRCLE.sample(2, GENERATOR, "train")
ROLLOUT = bl.collect(CIRCLE.simulator(GOALS, 3, 4), GAUSS, collect.repeat(OF_GAUSS, 2), GENERATOR)
BATCH = bl.sample_batch(type(ROLLOUT)(*(field[0] for field in ROLLOUT)), gamma=0.9)
SEEN = data.policy_at(BATCH, GAUSS)
DATA_OF = partial(data.frozen_samples, batch=BATCH, policy=GAUSS)
SAMPLES = DATA_OF(OF_GAUSS)
ALG = settings.alg_on_samples(settings.GradientStep(0.1), "frozen", GAUSS, gamma=0.9)
OUTER = partial(episodes.ratio_objective, policy=GAUSS)

TABLES = tabular.TabularSimulator(TASKS, 3, 4)
COUNTED = bl.collect(
    tabular.TabularSimulator(type(TASK)(*(f[:1] for f in TASKS)), 3, 4),
    networks.over_states(POLICY),
    collect.repeat(PHI, 1),
    GENERATOR,
)
COUNTED = type(COUNTED)(*(field[0] for field in COUNTED))

SPEED = locomotion.FAMILIES["cheetah/velocity"]
MOVED, ACTED = torch.rand(2, 3, 2), torch.rand(2, 3, 6)


def hill(x):
    return -(x["logits"] - 1).square().sum()


def pair(x, p):
    return -(x["logits"] - p["logits"]).square().sum()


EXACT = {"task": TASK, "policy": POLICY, "gamma": 0.9}
BOTH = {"phi": PHI, "theta": THETA, "policy": POLICY, "state_weights": WEIGHTS}
ON_DATA = {"phi": PHI, "data": DATA, "policy": POLICY}
ON_SAMPLES = {"phi": OF_GAUSS, "data_of": DATA_OF, "policy": SEEN}
TABLE = {"policy_probs": PROBS, "task": TASK, "gamma": 0.9}
SYSTEM = {"matvec": lambda v: v, "b": PHI}
CLIMB = {"objective": hill, "start": PHI}
STATES = {"log_phi": LOG_PHI, "log_theta": LOG_THETA}
KL = {"state_distance": distances.kl_divergence}
TIMES = {"values": torch.rand(2, 4), "discount": 0.9, "start": 0}
DICE = {"log_probs": torch.rand(3, 4), "gamma": 0.9, "causal_trace": 1.0}
DRAWN = {"num_tasks": 2, "generator": GENERATOR, "split": "train"}
MATRICES = {"matrices": torch.eye(3, **DOUBLE).expand(5, 3, 3)}
PAY = {"velocity": MOVED, "action": ACTED, "effort": 0.1, "bonus": 0.0}
DIALS = {"tolerance": 1e-6, "max_iterations": 3}
RIDGED = {
    "ridge": 0.1,
    "head_ridge": 0.2,
    "names": ("body.0.weight", "head.weight"),
    "distance_stride": 2,
    **DIALS,
}


def lam_of(name: str) -> dict[str, object]:
    return {"delta": 0.1} if "region" in name else {"lam": 2.0}


CALLS = {
    **{
        f"mdp.{f.__name__}": (f, TABLE)
        for f in (mdp.state_values, mdp.q_values, mdp.advantages, mdp.occupancy)
    },
    "mdp.expected_return": (mdp.expected_return, TABLE),
    "mdp.optimal_policy": (mdp.optimal_policy, {"task": TASK, "gamma": 0.9, "iterations": 3}),
    "mdp.tabular_task": (mdp.tabular_task, TASK._asdict()),
    "theory.theorem_lambda": (
        theory.theorem_lambda,
        {"a_max": 1.0, "smoothness": 2.0, "gamma": 0.9},
    ),
    "theory.rigorous_lambda": (theory.rigorous_lambda, {"phi": PHI, **EXACT}),
    "theory.lower_bound": (
        theory.lower_bound,
        {"theta": THETA, "phi": PHI, **EXACT, "distance": bl.d2, "lam": 2.0},
    ),
    "theory.optimal_actions": (theory.optimal_actions, {"task": TASK, "gamma": 0.9}),
    "theory.distance_to_optimum": (
        theory.distance_to_optimum,
        {"params": PHI, **EXACT, "distance": bl.d1, "smoothing": 0.1},
    ),
    "theory.task_variance": (
        theory.task_variance,
        {
            "tasks": TASKS,
            "policy": POLICY,
            "gamma": 0.9,
            "distance": bl.d2,
            "smoothing": 0.0,
            "max_iterations": 2,
        },
    ),
    "theory.rigorous_gap_bound": (theory.rigorous_gap_bound, {"phi": PHI, **EXACT, "lam": 2.0}),
    "theory.illustrative_gap_bound": (
        theory.illustrative_gap_bound,
        {"to_optimum": torch.ones(3), "lam": 2.0, "gamma": 0.9},
    ),
    "theory.running_mean": (theory.running_mean, {"values": torch.rand(3)}),
    "theory.fit_convergence": (theory.fit_convergence, {"averages": torch.rand(9)}),
    "adapted.select": (adapted.select, {"params": OF_GAUSS, "names": ("head.weight",)}),
    "adapted.explicit_info": (adapted.explicit_info, {"phi": PHI}),
    "closed_forms.closed_form_d1": (
        closed_forms.closed_form_d1,
        {"phi": PHI, "data": DATA, "lam": 2.0},
    ),
    "closed_forms.closed_form_d2": (
        closed_forms.closed_form_d2,
        {"phi": PHI, "data": DATA, "lam": 2.0},
    ),
    "closed_forms.climb_d3": (
        closed_forms.climb_d3,
        {"phi": PHI, "data": DATA, "lam": 2.0, **DIALS},
    ),
    "closed_forms.weighted_q": (closed_forms.weighted_q, {"data": DATA}),
    "closed_forms.policywise_slope": (
        closed_forms.policywise_slope,
        {**STATES, "data": DATA, **KL, "lam": 2.0},
    ),
    "closed_forms.policywise_curvature": (closed_forms.policywise_curvature, {**STATES, **KL}),
    "closed_forms.state_slope": (closed_forms.state_slope, {**STATES, **KL}),
    "closed_forms.condition_numbers": (closed_forms.condition_numbers, MATRICES),
    "closed_forms.smallest_curvature": (closed_forms.smallest_curvature, MATRICES),
    "closed_forms.simplex_solve": (closed_forms.simplex_solve, {**MATRICES, "cotangent": PROBS}),
    "closed_forms.policywise_hypergradient": (
        closed_forms.policywise_hypergradient,
        {
            "data_of": lambda p: DATA,
            "theta": THETA,
            "phi": PHI,
            "cotangent": PROBS,
            "policy": POLICY,
            **KL,
            "lam": 2.0,
            "tolerance": torch.inf,
        },
    ),
    "closed_forms.policywise_constrained_vjp": (
        closed_forms.policywise_constrained_vjp,
        {
            "data_of": lambda p: DATA,
            "theta": THETA,
            "multiplier": torch.tensor(1.0, **DOUBLE),
            "phi": PHI,
            "cotangent": PROBS,
            "policy": POLICY,
            **KL,
            "delta": 0.1,
            "tolerance": torch.inf,
        },
    ),
    "distances.kl_divergence": (
        distances.kl_divergence,
        {"log_p": LOG_PHI, "log_q": LOG_THETA},
    ),
    "distances.reverse_kl_divergence": (
        distances.reverse_kl_divergence,
        {"log_p": LOG_PHI, "log_q": LOG_THETA},
    ),
    "distances.d1": (distances.d1, BOTH),
    "distances.d2": (distances.d2, BOTH),
    "distances.d3": (distances.d3, BOTH),
    "distances.over_every": (
        distances.over_every,
        {"stride": 2, "distance": bl.d1, "part": SEEN},
    ),
    "distances.every_weight": (distances.every_weight, {"weights": WEIGHTS, "stride": 2}),
    "distances.visit_shares": (
        distances.visit_shares,
        {"states": torch.tensor([0, 1]), "weights": torch.ones(2), "num_states": 3},
    ),
    "distances.d1_from_samples": (
        distances.d1_from_samples,
        {"log_prob_phi": -torch.ones(3), "log_prob_theta": -torch.ones(3), "weights": WEIGHTS[:3]},
    ),
    "episodes.sampled_meta_gradient": (
        episodes.sampled_meta_gradient,
        {
            "phi": OF_GAUSS,
            "before": (BATCH,),
            "after": BATCH,
            "alg": ALG,
            "outer": OUTER,
            "score": torch.tensor(1.0),
            "policy": GAUSS,
        },
    ),
    "episodes.adapted": (episodes.adapted, {"phi": OF_GAUSS, "before": (BATCH,), "alg": ALG}),
    "episodes.ratio_objective": (
        episodes.ratio_objective,
        {"theta": OF_GAUSS, "batch": BATCH, "policy": GAUSS, "clip": 0.2},
    ),
    "episodes.mean_divergence": (
        episodes.mean_divergence,
        {"old": OF_GAUSS, "new": OF_GAUSS, "batch": BATCH, "policy": GAUSS},
    ),
    "gradient.gradient_step": (gradient.gradient_step, {"phi": PHI, **EXACT, "step_size": 0.1}),
    "gradient.gradient_adaptation": (
        gradient.gradient_adaptation,
        {**ON_SAMPLES, "step_size": 0.1, "names": ("head.weight",), "first_order": False},
    ),
    "head.head_adaptation": (head.head_adaptation, {**ON_SAMPLES, "lam": 2.0, "ridge": 0.1}),
    **{
        f"meta_gradients.{f.__name__}": (f, {"phi": PHI, **EXACT, "step_size": 0.1})
        for f in (meta_gradients.maml, meta_gradients.first_order_maml, meta_gradients.joint)
    },
    **{
        f"meta_gradients.{f.__name__}": (
            f,
            {"phi": PHI, **EXACT, "distance": bl.d2, **lam_of(f.__name__), **more},
        )
        for f, more in (
            (meta_gradients.bomrl, {"data": bl.full_data, "tolerance": 1e-6}),
            (meta_gradients.bomrl_trust_region, {"data": bl.full_data, "tolerance": 1e-6}),
            (meta_gradients.first_order_bomrl, {}),
        )
    },
    "natural.natural_adaptation": (
        natural.natural_adaptation,
        {**ON_SAMPLES, "lam": 2.0, **RIDGED},
    ),
    "natural.region_adaptation": (
        natural.region_adaptation,
        {**ON_SAMPLES, "delta": 0.1, **RIDGED, "halvings": 2},
    ),
    "natural.fisher_product": (
        natural.fisher_product,
        {
            "outputs": SEEN.distribution,
            "x": OF_GAUSS,
            "weights": SAMPLES.state_weights,
        },
    ),
    "objective.policy_return": (objective.policy_return, {"params": PHI, **EXACT}),
    "objective.policy_gradient": (objective.policy_gradient, {"params": PHI, **EXACT}),
    "objective.surrogate_objective": (
        objective.surrogate_objective,
        {"theta": THETA, "data": DATA, "policy": POLICY},
    ),
    "objective.surrogate_slope": (
        objective.surrogate_slope,
        {**ON_DATA, "names": ("logits",), "surrogate": objective.surrogate_objective},
    ),
    "objective.adaptation_objective": (
        objective.adaptation_objective,
        {"theta": THETA, **ON_DATA, "distance": bl.d2, "lam": 2.0},
    ),
    "reductions.policy_gradient_step": (reductions.policy_gradient_step, {**ON_DATA, "lam": 2.0}),
    "reductions.natural_gradient_step": (
        reductions.natural_gradient_step,
        {**ON_DATA, "distance": bl.d1, "lam": 2.0},
    ),
    "reductions.smooth_clip": (reductions.smooth_clip, {"ratio": torch.ones(3)}),
    "reductions.smooth_clip_objective": (
        reductions.smooth_clip_objective,
        {"theta": THETA, "data": DATA, "policy": POLICY},
    ),
    "reductions.smooth_clip_surrogate": (
        reductions.smooth_clip_surrogate,
        {"theta": THETA, "data": DATA, "policy": POLICY},
    ),
    "settings.alg_on_samples": (
        settings.alg_on_samples,
        {
            "settings": settings.GradientStep(0.1),
            "rung": "frozen",
            "policy": GAUSS,
            "gamma": 0.9,
            "causal_trace": 1.0,
            "tolerance": 1e-3,
        },
    ),
    "settings.sample_function": (
        settings.sample_function,
        {"rung": "frozen", "policy": GAUSS, "gamma": 0.9, "causal_trace": 1.0},
    ),
    "solve.adapt": (solve.adapt, {**ON_DATA, "distance": bl.d2, "lam": 2.0, **DIALS}),
    "solve.adapt_to_task": (
        solve.adapt_to_task,
        {"phi": PHI, **EXACT, "distance": bl.d2, "lam": 2.0},
    ),
    "solve.has_closed_form": (solve.has_closed_form, {"policy": POLICY, "distance": bl.d2}),
    "solve.penalised_objective": (
        solve.penalised_objective,
        {"data_of": DATA_OF, "policy": SEEN, "distance": bl.d1, "lam": 2.0},
    ),
    "solve.linearised_objective": (
        solve.linearised_objective,
        {"data_of": DATA_OF, "policy": SEEN, "distance": bl.d1, "lam": 2.0, "names": ()},
    ),
    "solve.solved_adaptation": (
        solve.solved_adaptation,
        {
            "phi": PHI,
            "objective": lambda p: hill,
            "names": ("logits",),
            "solver": inner.dense_solver(),
        },
    ),
    "trust_region.adapt_in_trust_region": (
        trust_region.adapt_in_trust_region,
        {**ON_DATA, "distance": bl.d2, "delta": 0.1},
    ),
    "trust_region.adapt_to_task_in_trust_region": (
        trust_region.adapt_to_task_in_trust_region,
        {"phi": PHI, **EXACT, "distance": bl.d2, "delta": 0.1},
    ),
    "networks.tabular_softmax": (
        networks.tabular_softmax,
        {"num_states": 2, "num_actions": 3, "dtype": torch.float64},
    ),
    "networks.tabular_softmax().init": (POLICY.init, {"generator": GENERATOR}),
    "networks.tabular_softmax().log_probs": (POLICY.log_probs, {"params": PHI}),
    "networks.linear_softmax": (networks.linear_softmax, {"features": random_features(0)}),
    "networks.gaussian_mlp": (
        networks.gaussian_mlp,
        {
            "observation_size": 2,
            "action_size": 2,
            "hidden": (3,),
            "log_std": 0.0,
            "log_std_range": (-3.0, 1.0),
            "head_scale": 1.0,
            "dtype": torch.float32,
        },
    ),
    "networks.gaussian_mlp().init": (GAUSS.init, {"generator": GENERATOR}),
    "networks.gaussian_mlp().distribution": (
        GAUSS.distribution,
        {"params": OF_GAUSS, "observations": torch.ones(3, 2)},
    ),
    "networks.categorical_mlp": (
        networks.categorical_mlp,
        {"observation_size": 2, "num_actions": 2, "hidden": (3,), "dtype": torch.float32},
    ),
    "networks.over_states": (networks.over_states, {"policy": POLICY}),
    "networks.over_states().distribution": (
        networks.over_states(POLICY).distribution,
        {"params": PHI, "states": torch.tensor([0, 1])},
    ),
    "PolicyAtSamples.every": (PolicyAtSamples(*SEEN).every, {"stride": 2}),
    "Gaussian.sample": (Gaussian(MOVED, MOVED).sample, {"generator": GENERATOR}),
    "Gaussian.log_prob": (Gaussian(MOVED, MOVED).log_prob, {"actions": MOVED}),
    "Categorical.sample": (Categorical(LOG_PHI).sample, {"generator": GENERATOR}),
    "Categorical.log_prob": (
        Categorical(LOG_PHI).log_prob,
        {"actions": torch.zeros(5, dtype=torch.int64)},
    ),
    "collect.repeat": (collect.repeat, {"params": PHI, "num_tasks": 2}),
    "collect.collect": (
        collect.collect,
        {
            "simulator": TABLES,
            "policy": networks.over_states(POLICY),
            "params": collect.repeat(PHI, 2),
            "generator": GENERATOR,
        },
    ),
    **{
        f"data.{f.__name__}": (f, {"phi": PHI, **EXACT})
        for f in (data.full_data, data.data_with_q_gradient, data.frozen_data, data.naive_data)
    },
    "data.sample_batch": (
        data.sample_batch,
        {
            "rollout": ROLLOUT,
            "gamma": 0.9,
            "trace": 1.0,
            "normalise": True,
            "discounted": False,
            "baseline": True,
        },
    ),
    "data.policy_at": (data.policy_at, {"batch": BATCH, "policy": GAUSS}),
    **{
        f"data.{f.__name__}": (f, {"phi": OF_GAUSS, "batch": BATCH, "policy": GAUSS})
        for f in (data.frozen_samples, data.naive_samples)
    },
    **{
        f"data.{f.__name__}": (
            f,
            {
                "phi": OF_GAUSS,
                "batch": BATCH,
                "policy": GAUSS,
                "gamma": 0.9,
                "causal_trace": 1.0,
            },
        )
        for f in (data.samples_with_q_gradient, data.full_samples)
    },
    "data.counted_data": (
        data.counted_data,
        {"rollout": COUNTED, "log_probs": LOG_PHI, "gamma": 0.9, "known_policy": True},
    ),
    "returns.discounted_sums": (returns.discounted_sums, TIMES),
    "returns.discounted_pasts": (returns.discounted_pasts, TIMES),
    "returns.discounted_returns": (
        returns.discounted_returns,
        {"rollout": ROLLOUT, "gamma": 0.9, "final_values": torch.ones(2, 3)},
    ),
    "returns.generalised_advantages": (
        returns.generalised_advantages,
        {
            "rollout": ROLLOUT,
            "values": torch.ones(2, 3, 4),
            "final_values": torch.ones(2, 3),
            "gamma": 0.9,
            "trace": 1.0,
        },
    ),
    "returns.linear_baseline": (
        returns.linear_baseline,
        {"rollout": ROLLOUT, "gamma": 0.9, "ridge": 1e-5},
    ),
    "returns.magic_box": (returns.magic_box, {"log_probs": torch.ones(3)}),
    "returns.dice_objective": (returns.dice_objective, {**DICE, "rewards": torch.ones(3, 4)}),
    "returns.loaded_dice_objective": (
        returns.loaded_dice_objective,
        {**DICE, "advantages": torch.ones(3, 4)},
    ),
    "implicit.implicit_vjp": (
        implicit.implicit_vjp,
        {
            "objective": pair,
            "theta": PHI,
            "phi": PHI,
            "cotangent": THETA,
            "solve": linear.dense_solve,
            "tolerance": 1e-6,
        },
    ),
    "implicit.constrained_vjp": (
        implicit.constrained_vjp,
        {
            "objective": pair,
            "constraint": lambda x, p: -pair(x, p) - 1,
            "theta": PHI,
            "multiplier": torch.tensor(0.0, **DOUBLE),
            "phi": PHI,
            "cotangent": THETA,
            "tolerance": 1e-6,
        },
    ),
    "implicit.unrolled_hypergradient": (
        implicit.unrolled_hypergradient,
        {"objective": pair, "outer": hill, "phi": PHI, "step_size": 0.1, "num_steps": 2},
    ),
    "implicit.is_solved": (implicit.is_solved, {"info": SOLVED, "tolerance": 1e-6}),
    "implicit.require_solved": (implicit.require_solved, {"info": SOLVED, "tolerance": 1e-6}),
    "implicit.refuse_unsolved": (
        implicit.refuse_unsolved,
        {"pulled": PHI, "info": SOLVED, "tolerance": 1e-6},
    ),
    "inner.dense_solver": (inner.dense_solver, DIALS),
    "inner.matrix_free_solver": (inner.matrix_free_solver, {**DIALS, "cg_iterations": 2}),
    "linear.hessian_vector_product": (
        linear.hessian_vector_product,
        {"function": hill, "x": PHI},
    ),
    "linear.conjugate_gradient": (linear.conjugate_gradient, {**SYSTEM, **DIALS}),
    "linear.neumann_series": (linear.neumann_series, {**SYSTEM, **DIALS, "step_size": 0.5}),
    "linear.dense_solve": (linear.dense_solve, SYSTEM),
    "linear.null_space_safe_solve": (linear.null_space_safe_solve, {**SYSTEM, "rtol": 1e-10}),
    "linear.bordered_solve": (
        linear.bordered_solve,
        {**SYSTEM, "normal": THETA, "last": torch.tensor(1.0, **DOUBLE)},
    ),
    "linear.dense_matrix": (linear.dense_matrix, {"matvec": lambda v: v, "like": PHI}),
    "maximize.maximize": (
        maximize.maximize,
        {**CLIMB, **DIALS, "halvings": 2, "max_change": 4.0},
    ),
    "maximize.maximize_matrix_free": (
        maximize.maximize_matrix_free,
        {**CLIMB, **DIALS, "cg_iterations": 2, "halvings": 2},
    ),
    "maximize.ascend": (maximize.ascend, {**CLIMB, "step_size": 0.1, "num_steps": 2}),
    "maximize.bisect": (
        maximize.bisect,
        {"function": lambda x: -x, "low": -torch.ones(2), "high": torch.ones(2), "iterations": 3},
    ),
    "maximize.negative_hessian": (maximize.negative_hessian, {"objective": hill, "x": PHI}),
    "maximize.curvature": (maximize.curvature, {"objective": hill, "x": PHI}),
    "tasks.make_tasks": (bl.make_tasks, {"name": "navigation/circle", "integrator": "gym"}),
    "tasks.require_exact": (bl.require_exact, {"tasks": probes.opposite_bandits()}),
    "tasks.task_names": (bl.task_names, {"exact": True}),
    "frozen_lake.lake_task": (
        frozen_lake.lake_task,
        {"lake_map": LAKE, "rules": frozen_lake.HOLES, "dtype": torch.float64},
    ),
    "frozen_lake.lake_tasks": (
        frozen_lake.lake_tasks,
        {"maps": [LAKE], "rules": frozen_lake.HOLES},
    ),
    "frozen_lake.stack_tasks": (frozen_lake.stack_tasks, {"tasks": [TASK]}),
    "frozen_lake.check_map": (
        frozen_lake.check_map,
        {"lake_map": LAKE, "rules": frozen_lake.HOLES},
    ),
    "frozen_lake.random_map": (
        frozen_lake.random_map,
        {"size": 4, "generator": GENERATOR, "ice": 0.8},
    ),
    "frozen_lake.goal_map": (frozen_lake.goal_map, {"size": 4, "generator": GENERATOR}),
    "frozen_lake.split_of": (frozen_lake.split_of, {"lake_map": LAKE}),
    "frozen_lake.sample_maps": (
        frozen_lake.sample_maps,
        {
            "family": "frozen_lake/goals-4x4",
            "num_maps": 1,
            "generator": GENERATOR,
            "split": "train",
        },
    ),
    "frozen_lake.lake_family": (frozen_lake.lake_family, {"family": "frozen_lake/goals-4x4"}),
    **{
        f"{name} sample": (bl.make_tasks(name).sample, DRAWN)
        for name in (
            "frozen_lake/holes-4x4",
            "probe/opposite",
            "probe/delayed",
            "probe/bandits-5",
            "probe/random-5x3",
            "probe/ice-0.8",
            "navigation/circle",
            "navigation/square",
            "navigation/corners",
            "cheetah/velocity",
            "cheetah/direction",
            "humanoid/direction",
            "hopper/parameters",
        )
    },
    "frozen_lake/holes-4x4 simulator": (
        bl.make_tasks("frozen_lake/holes-4x4").simulator,
        {"tasks": TASKS, "num_episodes": 2},
    ),
    "navigation/circle simulator": (CIRCLE.simulator, {"tasks": GOALS, "num_episodes": 2}),
    "probes.bandit": (probes.bandit, {"rewards": torch.ones(2, 3)}),
    "probes.random_bandits": (probes.random_bandits, {"num_arms": 2}),
    "probes.random_mdps": (probes.random_mdps, {"num_states": 2, "num_actions": 2}),
    "probes.variance_dial": (probes.variance_dial, {"ice": 0.8}),
    "tabular.tabular_tasks": (
        tabular.tabular_tasks,
        {
            "name": "x",
            "summary": "x",
            "sample": lambda *args: TASKS,
            "num_actions": 3,
            "gamma": 0.9,
            "horizon": 5,
        },
    ),
    "tabular.TabularSimulator": (
        tabular.TabularSimulator,
        {"tasks": TASKS, "num_episodes": 2, "horizon": 3},
    ),
    "TabularSimulator.reset": (TABLES.reset, {"generator": GENERATOR}),
    "TabularSimulator.step": (
        TABLES.step,
        {"actions": torch.zeros(2, 3, dtype=torch.int64), "generator": GENERATOR},
    ),
    "navigation.PointSimulator": (
        navigation.PointSimulator,
        {
            "tasks": GOALS,
            "num_episodes": 2,
            "horizon": 3,
            "reward": navigation.dense_reward,
        },
    ),
    "navigation.circle_goals": (navigation.circle_goals, {**DRAWN, "width": 90.0}),
    "navigation.listed_goals": (
        navigation.listed_goals,
        {"goals": ((1.0, 0.0), (0.0, 1.0)), **DRAWN},
    ),
    "navigation.dense_reward": (navigation.dense_reward, {"distance": torch.ones(2)}),
    "navigation.sparse_reward": (navigation.sparse_reward, {"distance": torch.ones(2)}),
    "robot_goals.speed_reward": (
        robot_goals.speed_reward,
        {**PAY, "tasks": robot_goals.Speeds(torch.ones(2))},
    ),
    "robot_goals.direction_reward": (
        robot_goals.direction_reward,
        {**PAY, "tasks": robot_goals.Directions(torch.ones(2, 1)), "pay": 1.0},
    ),
    "robot_goals.sample_speeds": (robot_goals.sample_speeds, {**DRAWN, "top": 2.0}),
    "robot_goals.sample_bodies": (robot_goals.sample_bodies, {**DRAWN, "robot": "hopper"}),
    "locomotion.LocomotionSimulator": (
        locomotion.LocomotionSimulator,
        {
            "family": SPEED,
            "tasks": robot_goals.Speeds(torch.ones(1)),
            "num_episodes": 1,
            "horizon": 2,
            "integrator": "gym",
            "backend": "auto",
        },
    ),
    "locomotion.robot_tasks": (
        locomotion.robot_tasks,
        {"family": SPEED, "integrator": "gym", "backend": "auto"},
    ),
    "metrics.adapted_returns": (
        metrics.adapted_returns,
        {
            "phi": PHI,
            "tasks": TASKS,
            "adapt": lambda p, t: p,
            "policy": POLICY,
            "gamma": 0.9,
            "num_steps": 1,
        },
    ),
    "metrics.gap_rows": (
        metrics.gap_rows,
        {
            "phi": PHI,
            "tasks": TASKS,
            "adapt": lambda p, t: p,
            "policy": POLICY,
            "gamma": 0.9,
            "num_steps": 1,
            "labels": {"prior": "maml"},
        },
    ),
    "metrics.optimal_returns": (metrics.optimal_returns, {"tasks": TASKS, "gamma": 0.9}),
    "metrics.optimality_gap": (
        metrics.optimality_gap,
        {"returns": torch.ones(2, 3), "optimal": torch.ones(2)},
    ),
    "metrics.stationarity": (
        metrics.stationarity,
        {
            "phi": PHI,
            "tasks": TASKS,
            "meta_gradient": partial(bl.maml, policy=POLICY, gamma=0.9, step_size=0.1),
        },
    ),
    "streams.seeded": (streams.seeded, {"seed": 0, "purpose": "tasks"}),
    "statistics.mean_interval": (statistics.mean_interval, {"values": [1.0, 2.0]}),
    "render.equal_steps": (render.equal_steps, {"total": 5, "count": 2}),
    "goal_marks.gauge_place": (goal_marks.gauge_place, {"speed": 1.0}),
}
