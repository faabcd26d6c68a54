"""The widget of lesson 04b against arithmetic of its own: numpy, closed form, differences."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from conftest import random_logits, random_task, return_by_summation, stack

import bomrl_lite as bl
from bomrl_lite.course import widgets

GAMMA, LAM, STEPS = 0.5, 6.0, (1, 3, 120)
TASKS = [random_task(0), random_task(1)]
PHI = random_logits(0)
STEP_SIZE = widgets.inner_step_size(LAM)


@pytest.fixture(scope="module")
def errors():
    return widgets.hypergradient_errors(
        {"logits": PHI},
        stack(TASKS),
        policy=bl.tabular_softmax(5, 3),
        gamma=GAMMA,
        distance=bl.d2,
        lams=(LAM,),
        inner_steps=STEPS,
    )


@pytest.fixture(autouse=True)
def _no_figure_is_left_open():
    yield
    plt.close("all")


def softmax(logits):
    weight = np.exp(logits - logits.max(-1, keepdims=True))
    return weight / weight.sum(-1, keepdims=True)


def occupancy(probs, task):
    moves = np.einsum("sa,sat->st", probs, task.transition.numpy())
    state, total, discount = task.start.numpy(), 0.0, 1.0
    while discount > 1e-16:
        total, state, discount = total + discount * state, state @ moves, discount * GAMMA
    return (1 - GAMMA) * total


def earned(logits, task):
    probs = softmax(logits)
    q = return_by_summation(torch.tensor(probs), task, GAMMA)
    return task.start.numpy() @ (probs * q).sum(-1)


def slope(theta, phi, task):
    """Gradient of L / lam - KL(pi_theta || pi_phi) in the logits, from its formula."""
    before, after = softmax(phi), softmax(theta)
    g = return_by_summation(torch.tensor(before), task, GAMMA) / LAM - np.log(after / before)
    centred = g - (after * g).sum(-1, keepdims=True)
    return occupancy(before, task)[:, None] * after * centred


def after_steps(phi, task, steps):
    theta = phi
    for _ in range(steps):
        theta = theta + STEP_SIZE * slope(theta, phi, task)
    return theta


def solved(phi, task):
    return phi + return_by_summation(torch.tensor(softmax(phi)), task, GAMMA) / LAM


def differences(function, phi, h=1e-4):
    result = np.zeros_like(phi)
    for index in np.ndindex(phi.shape):
        step = np.zeros_like(phi)
        step[index] = h
        near = function(phi + step) - function(phi - step)
        far = function(phi + 2 * step) - function(phi - 2 * step)
        result[index] = (8 * near - far) / (12 * h)
    return result


def at(errors, solver, steps, task=0):
    rows = errors.query("solver == @solver and steps == @steps and task == @task")
    assert len(rows) == 1
    return rows.iloc[0]


@pytest.mark.parametrize("steps", [1, 3])
def test_the_unrolled_error_is_that_of_the_truncated_computation(errors, steps):
    phi = PHI.numpy()
    truth = differences(lambda p: earned(solved(p, TASKS[0]), TASKS[0]), phi)
    cut = differences(lambda p: earned(after_steps(p, TASKS[0], steps), TASKS[0]), phi)
    expected = np.linalg.norm(cut - truth) / np.linalg.norm(truth)
    assert expected > 1e-3
    assert at(errors, "unrolled", steps)["error"] == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("task", [0, 1])
def test_stationarity_is_the_norm_of_the_slope(errors, task):
    theta = after_steps(PHI.numpy(), TASKS[task], 3)
    expected = np.linalg.norm(slope(theta, PHI.numpy(), TASKS[task]))
    for solver in ("unrolled", "implicit, dense"):
        got = at(errors, solver, 3, task)["stationarity"]
        assert got == pytest.approx(expected, rel=1e-9)


def test_a_solved_inner_problem_is_believed_and_right_an_unsolved_one_is_not(errors):
    for task in (0, 1):
        assert at(errors, "implicit, dense", 120, task)["error"] < 1e-6
        assert (
            at(errors, "unrolled", 120, task)["error"] < 1e-2 * at(errors, "unrolled", 3)["error"]
        )
        assert at(errors, "implicit, dense", 120, task)["believed"]
        assert not at(errors, "implicit, dense", 3, task)["believed"]
    assert not errors.query("solver == 'unrolled'")["believed"].any()


def linear_system(theta, phi, task, h=1e-5):
    """H and c at theta, by differences of the slope and of the return."""
    eye = h * np.eye(theta.size).reshape(-1, *theta.shape)
    columns = [
        (slope(theta - e, phi, task) - slope(theta + e, phi, task)).ravel() / (2 * h) for e in eye
    ]
    return np.stack(columns, 1), differences(lambda x: earned(x, task), theta).ravel()


def residual_of_neumann(matrix, c, terms):
    for _ in range(terms):
        c = c - STEP_SIZE * matrix @ c
    return c


def residual_of_conjugate_gradients(matrix, c, iterations):
    residual, direction = c, c
    for _ in range(iterations):
        image = matrix @ direction
        following = residual - residual @ residual / (direction @ image) * image
        direction = following + following @ following / (residual @ residual) * direction
        residual = following
    return residual


def test_the_linear_solver_is_the_one_named(errors):
    phi = PHI.numpy()
    matrix, c = linear_system(after_steps(phi, TASKS[0], 3), phi, TASKS[0])
    for name, expected in (
        ("implicit, 10 Neumann", residual_of_neumann(matrix, c, 10)),
        ("implicit, 4 CG", residual_of_conjugate_gradients(matrix, c, 4)),
    ):
        got = at(errors, name, 3)["residual"]
        assert got == pytest.approx(np.linalg.norm(expected) / np.linalg.norm(c), rel=1e-3)
        assert got > 1e-4
    # At most ten eigenvalues differ from 0, so that ten iterations are a direct solve.
    assert at(errors, "implicit, 10 CG", 3)["residual"] < 1e-6
    assert at(errors, "implicit, dense", 3)["residual"] < 1e-12


def test_smaller_steps_where_the_objective_is_steeper():
    sizes = [widgets.inner_step_size(lam) for lam in (0.01, 0.1, 1.0, 10.0)]
    assert sizes == sorted(sizes)
    assert sizes[1] / sizes[0] == pytest.approx(10, rel=0.1)


def test_the_view_follows_its_controls(errors):
    view, draw = widgets.hypergradient_explorer(errors, lam=LAM, steps=3, solver="unrolled")
    _, steps, solver, line, image = view.children
    expected = errors.query("solver == 'unrolled' and steps == 3")["error"].median()
    assert f"relative error {expected:.1e}" in line.value
    assert "nothing is checked" in line.value
    before = image.value
    solver.value, steps.value = "implicit, dense", 120
    assert image.value != before
    assert line.value.endswith("implicit_vjp accepts 2 of 2 tasks")
    assert plt.get_fignums() == []
    star = draw(LAM, 3, "unrolled").axes[0].get_lines()[-1]
    assert star.get_xydata() == pytest.approx(np.array([[3, expected]]))
