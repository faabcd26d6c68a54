"""Maximisers, ascent and bisection on functions whose answers are known by hand."""

import itertools

import pytest
import torch
from torch.func import grad, vmap

from bomrl_lite.solvers.maximize import (
    ascend,
    bisect,
    curvature,
    maximize,
    maximize_matrix_free,
    negative_hessian,
)


def point(*values: float) -> dict[str, torch.Tensor]:
    return {"x": torch.tensor(values, dtype=torch.float64)}


def hill(x):
    """A narrow curved ridge with its top at (1, 1): Rosenbrock's function upside down."""
    a, b = x["x"]
    return -((1 - a) ** 2) - 100 * (b - a**2) ** 2


def double_hill(x):
    """Tops at (-1, 0) and (1, 0), a saddle at the origin between them."""
    a, b = x["x"]
    return a**2 / 2 - a**4 / 4 - b**2


def test_maximize_finds_the_top_of_a_curved_ridge():
    x, info = maximize(hill, point(-1.2, 1.0), max_iterations=30)
    torch.testing.assert_close(x["x"], point(1.0, 1.0)["x"], rtol=0, atol=1e-10)
    assert info.stationarity <= 1e-10
    assert 3 < info.iterations < 30
    expected = torch.linalg.eigvalsh(torch.tensor([[802.0, -400.0], [-400.0, 200.0]]).double())[0]
    assert abs(info.curvature - expected) < 1e-8


def quadratic(x):
    return -(x["x"] - 3).square().sum()


def test_maximize_solves_a_quadratic_in_one_step():
    x, info = maximize(quadratic, point(0.0, 5.0))
    assert info.iterations == 1
    assert abs(info.curvature - 2) < 1e-12
    assert (x["x"] == 3).all()


@pytest.mark.parametrize("unit", [1e-6, 1e6])
def test_a_newton_step_does_not_depend_on_the_unit_of_the_objective(unit):
    x, _ = maximize(lambda x: unit * quadratic(x), point(0.0, 5.0), max_iterations=1)
    torch.testing.assert_close(x["x"], point(3.0, 3.0)["x"], rtol=0, atol=1e-12)


def test_maximize_goes_no_further_than_it_may_in_one_step():
    for far, change in ((4.0, 4.0), (0.5, 0.5)):
        x, _ = maximize(quadratic, point(13.0, 3.0), max_iterations=1, max_change=change)
        assert x["x"].tolist() == [13.0 - far, 3.0]
    _, info = maximize(quadratic, point(13.0, 3.0))
    assert info.iterations == 3
    assert info.stationarity == 0


@pytest.mark.parametrize("start", [(0.2, 1.0), (-0.2, 1.0), (0.0, 0.0), (0.0, 1.0)])
def test_maximize_leaves_saddles_and_climbs_where_the_function_curves_up(start):
    x, info = maximize(double_hill, point(*start))
    torch.testing.assert_close(x["x"].abs(), point(1.0, 0.0)["x"], rtol=0, atol=1e-10)
    assert start[0] * x["x"][0] >= 0
    assert info.curvature > 0
    assert info.iterations < 20


def test_maximize_says_that_it_was_stopped_early():
    x, info = maximize(hill, point(-1.2, 1.0), max_iterations=2)
    slope = grad(hill)(x)["x"].norm()
    assert info.stationarity == slope
    assert slope > 1e-2
    assert info.iterations == 2


def test_maximize_never_goes_down():
    values = [
        hill(maximize(hill, point(-1.2, 1.0), max_iterations=k)[0]).item() for k in (1, 2, 3, 5, 8)
    ]
    assert all(after >= before for before, after in itertools.pairwise(values))
    assert values[0] > hill(point(-1.2, 1.0))


def test_maximize_stops_within_the_domain_of_the_objective():
    """Newton's full step would leave x > 0, where the value is not a number."""
    x, info = maximize(lambda x: (x["x"].log() - 2 * x["x"]).sum(), point(3.0), max_iterations=30)
    assert abs(x["x"] - 0.5) < 1e-10
    assert info.stationarity < 1e-9


def test_maximize_leaves_flat_directions_alone():
    """The sum of x does not matter: it must stay, and does not count as curvature."""

    def tilted(x):
        probs = x["x"].softmax(0)
        return -(probs - torch.tensor([0.2, 0.5, 0.3], dtype=torch.float64)).square().sum()

    x, info = maximize(tilted, point(1.0, 2.0, 3.0))
    torch.testing.assert_close(
        x["x"].softmax(0), torch.tensor([0.2, 0.5, 0.3], dtype=torch.float64)
    )
    assert abs(x["x"].sum() - 6) < 1e-4  # rounding of 1e-16 over the floor of 1e-10
    assert 0.01 < info.curvature < 1


def test_maximize_over_a_batch_equals_a_loop():
    starts = torch.tensor([[-1.2, 1.0], [0.5, 0.5], [1.0, 1.0]], dtype=torch.float64)
    batched, info = vmap(lambda s: maximize(hill, {"x": s}, max_iterations=25))(starts)
    for i, start in enumerate(starts):
        single, single_info = maximize(hill, {"x": start}, max_iterations=25)
        torch.testing.assert_close(batched["x"][i], single["x"], rtol=1e-10, atol=1e-10)
        assert info.iterations[i] == single_info.iterations
    assert info.iterations[2] == 0


@pytest.mark.parametrize(
    "dials", [{"tolerance": 0.0}, {"max_iterations": 0}, {"halvings": -1}, {"max_change": 0.0}]
)
def test_maximize_refuses_dials_that_cannot_work(dials):
    with pytest.raises(ValueError, match=f"{next(iter(dials))} must be"):
        maximize(hill, point(0.0, 0.0), **dials)


def test_ascend_takes_the_steps_it_is_told():
    x = ascend(lambda x: -(x["x"] ** 2).sum(), point(8.0), step_size=0.25, num_steps=3)
    assert x["x"].item() == 1.0
    untouched = ascend(hill, point(0.3, 0.4), step_size=1.0, num_steps=0)
    assert torch.equal(untouched["x"], point(0.3, 0.4)["x"])


def test_ascend_can_be_differentiated_through():
    def end(scale):
        steps = ascend(
            lambda x: -scale * x["x"].square().sum() / 2, point(1.0), step_size=0.1, num_steps=3
        )
        return steps["x"].sum()

    two = torch.tensor(2.0, dtype=torch.float64)
    assert abs(end(two) - 0.8**3) < 1e-15
    assert abs(grad(end)(two) - -0.3 * 0.8**2) < 1e-14


def test_bisect_finds_each_entrys_root():
    goals = torch.tensor([2.0, 3.0, 10.0], dtype=torch.float64)
    roots = bisect(lambda x: goals - x**2, torch.zeros_like(goals), torch.full_like(goals, 20.0))
    torch.testing.assert_close(roots, goals.sqrt(), rtol=1e-15, atol=1e-15)
    coarse = bisect(lambda x: 1 - x, torch.tensor(0.0), torch.tensor(4.0), iterations=1)
    assert coarse == 1.0


def test_negative_hessian_and_curvature_of_a_quadratic():
    matrix = torch.tensor([[3.0, 1.0, 0.0], [1.0, -2.0, 0.0], [0.0, 0.0, 0.0]]).double()
    form = negative_hessian(lambda x: -0.5 * x["x"] @ matrix @ x["x"], point(1.0, 2.0, 3.0))
    torch.testing.assert_close(form, matrix)
    smallest = curvature(lambda x: -0.5 * x["x"] @ matrix @ x["x"], point(1.0, 2.0, 3.0))
    assert abs(smallest - (0.5 - 7.25**0.5)) < 1e-12


def test_a_direction_that_curves_up_does_not_drown_the_others():
    """Divided by |curvature|, both parts of the first step have their own right size."""
    x, _ = maximize(double_hill, point(0.2, 1.0), max_iterations=1)
    assert abs(x["x"][1]) < 0.1
    assert 0.3 < x["x"][0] < 0.6


def quartic(x):
    """Concave with its top at (1, -2); the curvature there is that of diag(2, 8)."""
    d = x["x"] - torch.tensor([1.0, -2.0], dtype=torch.float64)
    return -(d**4).sum() - d[0] ** 2 - 4 * d[1] ** 2


def test_matrix_free_climbs_a_concave_quartic_to_its_top():
    x, info = maximize_matrix_free(quartic, point(5.0, 7.0))
    torch.testing.assert_close(x["x"], point(1.0, -2.0)["x"], rtol=0, atol=1e-10)
    assert info.stationarity <= 1e-10
    assert 3 < info.iterations < 12
    assert 2 - 1e-6 <= info.curvature <= 8 + 1e-6


def test_matrix_free_solves_a_quadratic_in_one_step_and_leaves_a_solution_alone():
    x, info = maximize_matrix_free(quadratic, point(0.0, 5.0))
    assert info.iterations == 1
    assert abs(info.curvature - 2) < 1e-12
    again, info = maximize_matrix_free(quadratic, x)
    assert info.iterations == 0
    assert torch.equal(again["x"], x["x"])


def test_matrix_free_solves_an_ill_conditioned_quadratic():
    """Curvatures from 1 to 1e6, along axes that are not those of x: as many products as axes."""
    generator = torch.Generator().manual_seed(0)
    axes = torch.linalg.qr(torch.randn(6, 6, generator=generator, dtype=torch.float64))[0]
    bends = 10.0 ** torch.arange(0, 7, 1.2, dtype=torch.float64)
    matrix, top = axes @ torch.diag(bends) @ axes.T, axes.sum(0)

    def bowl(x):
        d = x["x"] - top
        return -0.5 * d @ matrix @ d

    x, info = maximize_matrix_free(bowl, point(*[0.0] * 6), tolerance=1e-8)
    torch.testing.assert_close(x["x"], top, rtol=0, atol=1e-7)
    assert info.iterations < 10
    coarse, _ = maximize_matrix_free(bowl, point(*[0.0] * 6), max_iterations=1, cg_iterations=1)
    assert bowl(coarse) > bowl(point(*[0.0] * 6))
    assert (coarse["x"] - top).norm() > 0.5


@pytest.mark.parametrize("start", [(0.2, 1.0), (-0.2, 1.0)])
def test_matrix_free_climbs_where_the_function_curves_up(start):
    x, info = maximize_matrix_free(double_hill, point(*start))
    torch.testing.assert_close(x["x"], point(5 * start[0], 0.0)["x"], rtol=0, atol=1e-9)
    assert info.stationarity < 1e-9
    assert info.curvature > 0


def test_matrix_free_meets_the_curvature_of_a_saddle_on_its_way_but_may_stay_there():
    """The slope on x = 0 shows no way off that line; beside it, one product says curving up."""
    x, _ = maximize_matrix_free(double_hill, point(0.0, 1.0))
    assert x["x"].norm() < 1e-9
    _, info = maximize_matrix_free(double_hill, point(0.3, 0.01), max_iterations=1)
    assert info.curvature < 0


def test_matrix_free_says_that_it_was_stopped_early_and_never_goes_down():
    values = [hill(point(-1.2, 1.0)).item()]
    for k in (1, 2, 4, 8):
        x, info = maximize_matrix_free(hill, point(-1.2, 1.0), max_iterations=k)
        values.append(hill(x).item())
        assert info.stationarity == grad(hill)(x)["x"].norm()
    assert all(after >= before for before, after in itertools.pairwise(values))
    assert info.stationarity > 1e-2
    assert info.iterations == 8


def test_matrix_free_over_a_batch_equals_a_loop():
    starts = torch.tensor([[5.0, 7.0], [0.5, 0.5], [1.0, -2.0]], dtype=torch.float64)
    few = {"max_iterations": 10, "cg_iterations": 3}
    batched, info = vmap(lambda s: maximize_matrix_free(quartic, {"x": s}, **few))(starts)
    for i, start in enumerate(starts):
        single, single_info = maximize_matrix_free(quartic, {"x": start}, **few)
        torch.testing.assert_close(batched["x"][i], single["x"], rtol=1e-10, atol=1e-10)
        assert info.iterations[i] == single_info.iterations
    assert info.iterations[2] == 0


@pytest.mark.parametrize("dials", [{"tolerance": 0.0}, {"max_iterations": 0}, {"halvings": -1}])
def test_matrix_free_refuses_dials_that_cannot_work(dials):
    with pytest.raises(ValueError, match=f"{next(iter(dials))} must be"):
        maximize_matrix_free(hill, point(0.0, 0.0), **dials)
    with pytest.raises(ValueError, match="cg_iterations must be at least 1, got 0"):
        maximize_matrix_free(hill, point(0.0, 0.0), cg_iterations=0)
