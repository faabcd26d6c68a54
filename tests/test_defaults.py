"""What a call means that leaves an argument out: part of the interface, as its names are."""

import inspect

import pytest

from bomrl_lite.adaptation import meta_gradients, settings, solve
from bomrl_lite.policies import networks
from bomrl_lite.rollout import data
from bomrl_lite.solvers import implicit, inner, linear, maximize
from bomrl_lite.tasks import frozen_lake, make_tasks, navigation, robot_goals, tabular
from bomrl_lite.training import episodes, metrics, outer, state

DEFAULTS = {
    settings.GradientStep: {"step_size": 1.0, "parameters": "all"},
    settings.Argmax: {"distance": "d2", "lam": 1.0},
    settings.ConstrainedArgmax: {"distance": "d2", "delta": 0.1},
    settings.HeadClosedForm: {"lam": 0.0125, "ridge": 0.0, "body_step": 0.0},
    settings.NaturalStep: {
        "lam": 0.0125,
        "ridge": 0.0,
        "head_ridge": None,
        "cg_iterations": 6,
        "distance_stride": 1,
        "parameters": "all",
    },
    settings.NaturalRegion: {
        "delta": 1.0,
        "ridge": 0.0,
        "head_ridge": None,
        "cg_iterations": 6,
        "distance_stride": 1,
        "parameters": "all",
        "halvings": 0,
    },
    settings.SampledArgmax: {
        "lam": 0.0125,
        "ridge": 0.0,
        "distance": "d1",
        "surrogate": "ratio",
        "inner_iterations": 12,
        "cg_iterations": 6,
        "distance_stride": 1,
        "parameters": "all",
    },
    settings.alg_on_samples: {"causal_trace": 1.0, "tolerance": None},
    solve.adapt: {"tolerance": 1e-10, "max_iterations": 20},
    networks.gaussian_mlp: {
        "hidden": (64, 64),
        "log_std": 0.0,
        "log_std_range": (-3.0, 1.0),
        "head_scale": 1.0,
    },
    networks.categorical_mlp: {"hidden": (64, 64)},
    data.sample_batch: {"trace": 1.0, "normalise": True, "discounted": False, "baseline": True},
    data.samples_with_q_gradient: {"causal_trace": 1.0},
    data.full_samples: {"causal_trace": 1.0},
    data.counted_data: {"known_policy": True},
    implicit.implicit_vjp: {"solve": linear.null_space_safe_solve, "tolerance": 1e-6},
    implicit.constrained_vjp: {"tolerance": 1e-6},
    inner.dense_solver: {"tolerance": 1e-10, "max_iterations": 20},
    inner.matrix_free_solver: {"tolerance": 1e-10, "max_iterations": 20, "cg_iterations": 40},
    linear.conjugate_gradient: {"tolerance": 1e-10, "max_iterations": 100},
    linear.neumann_series: {"tolerance": 1e-10, "max_iterations": 1000},
    linear.null_space_safe_solve: {"rtol": 1e-10},
    maximize.maximize: {
        "tolerance": 1e-10,
        "max_iterations": 20,
        "halvings": 12,
        "max_change": 4.0,
    },
    maximize.maximize_matrix_free: {
        "tolerance": 1e-10,
        "max_iterations": 20,
        "cg_iterations": 40,
        "halvings": 12,
    },
    maximize.bisect: {"iterations": 60},
    frozen_lake.random_map: {"ice": 0.8},
    frozen_lake.sample_maps: {"split": "train"},
    navigation.circle_goals: {"split": "train", "width": 360.0},
    navigation.square_goals: {"split": "train"},
    navigation.listed_goals: {"split": "train"},
    robot_goals.speed_reward: {"bonus": 0.0},
    robot_goals.direction_reward: {"bonus": 0.0, "pay": 1.0},
    robot_goals.sample_speeds: {"split": "train"},
    robot_goals.sample_signs: {"split": "train"},
    robot_goals.sample_headings: {"split": "train"},
    robot_goals.sample_bodies: {"split": "train"},
    tabular.tabular_tasks: {"shared_tasks": 0},
    episodes.adapted_returns: {
        "num_steps": 1,
        "num_episodes": 20,
        "test_episodes": 20,
        "algs": (),
        "moments": None,
    },
    metrics.adapted_returns: {"num_steps": 1},
    metrics.gap_rows: {"num_steps": 1},
    outer.climb: {"epochs": 1, "max_norm": 1.0, "guard": 0.0},
    outer.trust_region_step: {"cg_iterations": 6, "damping": 1e-3, "halvings": 8},
    state.MetaState: {"kl_penalty": 0.0, "moments": None},
    meta_gradients.bomrl: {"tolerance": 1e-6},
}
"""Values by callable: one that changes makes another experiment of every script that relies on it.
"""


@pytest.mark.parametrize("call", DEFAULTS, ids=lambda call: call.__name__)
def test_an_argument_left_out_has_the_value_that_scripts_rely_on(call):
    parameters = inspect.signature(call).parameters
    assert {name: parameters[name].default for name in DEFAULTS[call]} == DEFAULTS[call]


FAMILIES = ["frozen_lake/goals-4x4", "navigation/square", "cheetah/direction", "probe/bandits-5"]


@pytest.mark.parametrize("name", FAMILIES)
def test_a_family_draws_training_tasks_unless_told(name, generator):
    sample = make_tasks(name).sample
    unsaid = sample(5, generator)
    generator.manual_seed(0)
    said = sample(5, generator, "train")
    for field, same in zip(unsaid, said, strict=True):
        assert field.equal(same)
