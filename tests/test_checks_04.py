"""What is special about the checks of exercise set 04: their oracles and refusals."""

import numpy as np
import pytest
import torch
from answers_04 import solve

from bomrl_lite.course import checks
from bomrl_lite.course.checks import CheckFailed
from bomrl_lite.course.checks.set04 import oracles as bilevel
from bomrl_lite.course.checks.set04 import questions


def test_the_climb_reaches_the_argmax_and_torch_sees_the_same_landscape():
    for seed in range(20):
        landscape = bilevel.random_landscape(seed, 4, 3)
        theta = landscape.argmax(landscape.phi)
        assert np.abs(landscape.slope(theta, landscape.phi)).max() < 1e-12
        phi, point = torch.tensor(landscape.phi), torch.tensor(theta + 0.3)
        slope = torch.func.grad(landscape.objective())(point, phi).numpy()
        np.testing.assert_allclose(slope, landscape.slope(theta + 0.3, landscape.phi), atol=1e-13)


def test_complex_steps_through_a_climb_agree_with_differences_of_two_climbs():
    for seed in range(5):
        landscape = bilevel.random_landscape(seed, 3, 2)
        cotangent = np.array([1.0, -2.0, 0.5])
        gradient = bilevel.argmax_pull_back(landscape, cotangent)
        for j, unit in enumerate(np.eye(2)):
            ends = [landscape.argmax(landscape.phi + h * unit) for h in (1e-5, -1e-5)]
            assert abs((ends[0] - ends[1]) @ cotangent / 2e-5 - gradient[j]) < 1e-8


def test_a_climb_that_starts_on_the_argmax_still_carries_its_derivative():
    landscape = bilevel.random_landscape(0, 3, 2)._replace(phi=np.zeros(2))
    bend = landscape.bowl + landscape.rays.T @ landscape.rays
    expected = np.linalg.solve(bend, landscape.pull).sum(0)
    np.testing.assert_allclose(
        bilevel.argmax_pull_back(landscape, np.ones(3)), expected, rtol=1e-12
    )


def test_the_oracle_of_d1_is_a_policy_that_meets_its_condition():
    """Q + lam pi / pi' is the same for all actions of a state: no probability wants to move."""
    draw = np.random.default_rng(0)
    probs, q = draw.dirichlet(np.ones(4), size=50), draw.normal(size=(50, 4)) * 3
    for lam in (0.1, 1.0, 10.0):
        adapted = bilevel.adapted_d1(probs, q, lam)
        assert (adapted > 0).all()
        np.testing.assert_allclose(adapted.sum(-1), 1, atol=1e-13)
        slope = q + lam * probs / adapted
        np.testing.assert_allclose(slope - slope[:, :1], 0, atol=1e-10)


def test_a_solver_that_never_ends_is_stopped():
    def restless(matvec, b, tolerance):
        while True:
            matvec(b)

    with pytest.raises(CheckFailed, match=f"called {questions.PATIENCE} times"):
        checks.conjugate_gradient(restless)


def test_refusals_must_be_value_errors_and_only_where_there_is_something_to_refuse():
    solution = solve("implicit_vjp")

    def suspicious(objective, theta, phi, cotangent):
        raise ValueError("never sure")

    def silent(objective, theta, phi, cotangent):
        try:
            return solution(objective, theta, phi, cotangent)
        except ValueError:
            return None

    for answer, step in ((suspicious, "runs"), (silent, "unsolved inner problem")):
        with pytest.raises(CheckFailed) as caught:
            checks.implicit_vjp(answer)
        assert caught.value.step == step
