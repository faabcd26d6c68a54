"""What is special about the checks of exercise set 06: their oracles, uses and edges."""

import numpy as np
import pytest
import torch
from answers_06 import solve

from bomrl_lite.course import checks
from bomrl_lite.course.checks import CheckFailed
from bomrl_lite.course.checks.set06 import oracles, questions
from bomrl_lite.physics import make_physics
from bomrl_lite.physics.robots import load_model
from bomrl_lite.tasks.locomotion import FAMILIES, LocomotionSimulator
from bomrl_lite.tasks.robot_goals import Speeds


def test_rewards_and_observations_are_those_of_the_package_s_simulator():
    """A learner's functions on the engine's state give what the family gives."""
    speeds = torch.tensor([0.5, 1.5, 1.0])
    generator = torch.Generator().manual_seed(0)
    simulator = LocomotionSimulator(
        FAMILIES["cheetah/velocity"], Speeds(speeds), 2, backend="mujoco"
    )
    seen = simulator.reset(generator)
    physics = simulator.physics
    for _ in range(3):
        ours = solve("observe")(physics.qpos, physics.qvel, 3)
        torch.testing.assert_close(ours.float(), seen, rtol=0, atol=0)
        before = physics.qpos[:, 0].clone().unflatten(0, (3, 2))
        actions = torch.randn(3, 2, 6, generator=generator)
        seen, rewards, _, _ = simulator.step(actions, generator)
        after = physics.qpos[:, 0].unflatten(0, (3, 2))
        ours = solve("speed_reward")(before, after, actions.double(), speeds.double(), 0.05)
        torch.testing.assert_close(ours.float(), rewards, rtol=0, atol=1e-5)


def test_dealt_bodies_belong_to_their_tasks():
    """Simulations of one task move alike, those of two tasks apart; the other order mixes them."""
    model = load_model("half_cheetah")
    factors = torch.tensor([[0.5], [1.0], [2.0]], dtype=torch.float64)
    masses = factors * torch.as_tensor(model.body_mass)

    def places(dealt):
        physics = make_physics(model, 6, backend="mujoco", threads=1)
        physics.set_parameters({"body_mass": dealt})
        start = torch.as_tensor(model.qpos0).expand(6, -1)
        physics.reset(start, torch.zeros(6, model.nv, dtype=torch.float64))
        physics.step(torch.ones(6, model.nu, dtype=torch.float64), 20)
        return physics.qpos[:, 0].clone().unflatten(0, (3, 2))

    right, wrong = places(solve("deal")(masses, 2)), places(masses.repeat(2, 1))
    assert (right[:, 0] == right[:, 1]).all()
    assert len(set(right[:, 0].tolist())) == 3
    assert (wrong[:, 0] != wrong[:, 1]).any()


def test_the_step_of_adaptation_is_the_top_of_its_objective():
    """Around the oracle's answer the objective falls in every direction, whatever sigma is."""
    draw = np.random.default_rng(0)
    samples = questions.draw_samples(1, 2, 7, 2, 3)
    best = oracles.adapted(samples)
    np.testing.assert_allclose(best, oracles.adapted(samples._replace(sigma=2.0)), atol=1e-10)
    for n in range(2):
        objective = oracles.objective_of(samples, n)
        for _ in range(20):
            nearby = best[n] + 0.1 * draw.normal(size=best[n].shape)
            assert objective(nearby) < objective(best[n])


def test_moments_in_portions_are_numpy_s_of_all_at_once():
    draw = np.random.default_rng(1)
    rows = 5 + 3 * draw.normal(size=(60, 4))
    moments = torch.zeros(3, 4, dtype=torch.float64)
    for portion in np.split(rows, (10, 13, 40)):
        seen = torch.tensor(portion).reshape(1, 1, *portion.shape)
        moments = solve("update_moments")(moments, seen, torch.ones_like(seen[..., 0]))
    count, mean, squares = moments.numpy()
    np.testing.assert_allclose(count, 60)
    np.testing.assert_allclose(mean, rows.mean(0), rtol=1e-13)
    np.testing.assert_allclose(squares / 60, rows.var(0), rtol=1e-13)


def test_budgets_have_edges():
    """Some instance affords nothing, some everything, and budgets that just pay are among them."""
    found, exact = set(), False
    for question in checks.returns_at_budget.make_questions():
        _, episodes, horizon, budget = question.args
        costs = horizon * episodes.cumsum(-1)
        found.update((costs <= budget).sum(-1).tolist())
        exact = exact or bool((costs == budget).any())
    assert {0, 5} < found
    assert exact


def test_an_error_about_shapes_is_explained():
    with pytest.raises(CheckFailed, match="makes it a column"):
        checks.speed_reward(solve("speed_reward", "speeds[:, None]", "speeds"))
