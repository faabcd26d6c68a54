from functools import partial

import pytest
import torch
from conftest import central_difference, relative_error
from torch.func import hessian, vmap

from bomrl_lite.solvers.linear import (
    bordered_solve,
    conjugate_gradient,
    dense_matrix,
    dense_solve,
    dot,
    hessian_vector_product,
    neumann_series,
    norm,
    null_space_safe_solve,
    scale,
)


def symmetric(values: list[float], seed: int = 0) -> torch.Tensor:
    """A symmetric matrix with these eigenvalues."""
    generator = torch.Generator().manual_seed(seed)
    basis = torch.linalg.qr(
        torch.randn(len(values), len(values), dtype=torch.float64, generator=generator)
    )[0]
    return basis @ torch.diag(torch.tensor(values, dtype=torch.float64)) @ basis.T


def product_with(matrix: torch.Tensor):
    return lambda v: {"x": matrix @ v["x"]}


def vector(*values: float) -> dict[str, torch.Tensor]:
    return {"x": torch.tensor(values, dtype=torch.float64)}


def test_conjugate_gradient_equals_a_dense_solve():
    matrix = symmetric([0.3, 1.0, 2.0, 5.0, 40.0])
    b = vector(1.0, -2.0, 0.5, 3.0, 1.0)
    x, info = conjugate_gradient(product_with(matrix), b, tolerance=1e-13)
    assert relative_error(x["x"], torch.linalg.solve(matrix, b["x"])) < 1e-10
    assert info.residual < 1e-10
    assert 4 <= info.iterations <= 8


def test_conjugate_gradient_needs_one_step_for_the_identity():
    x, info = conjugate_gradient(lambda v: v, vector(1.0, 2.0, 3.0))
    torch.testing.assert_close(x["x"], vector(1.0, 2.0, 3.0)["x"], rtol=0, atol=0)
    assert info.iterations == 1
    assert info.curvature == 1


def test_conjugate_gradient_keeps_its_answer_once_converged():
    """Running on after convergence must not spoil x (division of 0 by 0)."""
    matrix = torch.diag(torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64))
    x, info = conjugate_gradient(
        product_with(matrix), vector(1.0, 1.0, 1.0), tolerance=1e-5, max_iterations=500
    )
    torch.testing.assert_close(x["x"], torch.tensor([1, 1 / 2, 1 / 3], dtype=torch.float64))
    assert info.iterations == 3


def test_conjugate_gradient_solves_a_singular_consistent_system():
    matrix = symmetric([0.0, 0.0, 1.0, 3.0])
    b = {"x": matrix @ torch.ones(4, dtype=torch.float64)}
    x, info = conjugate_gradient(product_with(matrix), b)
    assert relative_error(matrix @ x["x"], b["x"]) < 1e-10
    assert info.curvature > 0


def test_conjugate_gradient_says_that_a_matrix_is_indefinite():
    matrix = symmetric([-1.0, 1.0, 2.0, 3.0])
    x, info = conjugate_gradient(product_with(matrix), vector(1.0, 2.0, 3.0, 4.0))
    assert info.curvature <= 0
    assert info.residual > 1e-3
    assert torch.isfinite(x["x"]).all()


def test_conjugate_gradient_reports_the_residual_it_has():
    matrix = symmetric([1e-4, 1.0, 2.0, 3.0, 4.0, 5.0])
    b = vector(1.0, 2.0, 3.0, 4.0, 5.0, 6.0)
    x, info = conjugate_gradient(product_with(matrix), b, max_iterations=2)
    true = (matrix @ x["x"] - b["x"]).norm() / b["x"].norm()
    torch.testing.assert_close(info.residual, true)
    assert info.residual > 1e-2


@pytest.mark.parametrize("solve", [conjugate_gradient, partial(neumann_series, step_size=0.02)])
def test_a_tolerance_is_relative_to_the_right_hand_side(solve):
    product = product_with(symmetric([0.3, 1.0, 2.0, 5.0, 40.0]))
    needed = [
        solve(product, vector(*[size] * 5), tolerance=1e-2)[1].iterations
        for size in (1e-6, 1.0, 1e6)
    ]
    assert 0 < needed[0] == needed[1] == needed[2]


def test_conjugate_gradient_of_zero_is_zero():
    x, info = conjugate_gradient(lambda v: v, vector(0.0, 0.0))
    assert (x["x"] == 0).all()
    assert info.residual == 0
    assert info.iterations == 0


def test_conjugate_gradient_over_a_batch_equals_a_loop():
    matrices = torch.stack([symmetric([1.0, 2.0, 9.0], 1), symmetric([1.0, 1.0, 1.0], 2)])
    b = torch.tensor([[1.0, 2.0, 3.0], [0.0, 0.0, 0.0]], dtype=torch.float64)
    batched, info = vmap(lambda m, v: conjugate_gradient(product_with(m), {"x": v}))(matrices, b)
    for i in range(2):
        single, single_info = conjugate_gradient(product_with(matrices[i]), {"x": b[i]})
        torch.testing.assert_close(batched["x"][i], single["x"], rtol=1e-12, atol=1e-12)
        assert info.iterations[i] == single_info.iterations


@pytest.mark.parametrize("dials", [{"tolerance": 0.0}, {"max_iterations": 0}])
def test_conjugate_gradient_refuses_dials_that_cannot_work(dials):
    with pytest.raises(ValueError, match=f"{next(iter(dials))} must be"):
        conjugate_gradient(lambda v: v, vector(1.0), **dials)


def test_dense_solve_handles_matrices_that_are_not_symmetric():
    matrix = torch.tensor([[2.0, 1.0], [-1.0, 3.0]], dtype=torch.float64)
    x, info = dense_solve(product_with(matrix), vector(1.0, 2.0))
    torch.testing.assert_close(matrix @ x["x"], vector(1.0, 2.0)["x"])
    assert info.residual < 1e-14


def test_null_space_safe_solve_gives_the_shortest_answer():
    matrix = symmetric([0.0, 0.0, 1.0, -3.0, 8.0])
    b = {"x": matrix @ torch.arange(5, dtype=torch.float64)}
    x, info = null_space_safe_solve(product_with(matrix), b)
    expected = torch.linalg.lstsq(matrix, b["x"][:, None], driver="gelsd").solution[:, 0]
    torch.testing.assert_close(x["x"], expected, rtol=1e-9, atol=1e-9)
    assert info.residual < 1e-12
    torch.testing.assert_close(info.curvature, torch.tensor(-3.0, dtype=torch.float64))


def test_null_space_safe_solve_shows_what_it_cannot_reach():
    matrix = torch.diag(torch.tensor([1.0, 0.0], dtype=torch.float64))
    x, info = null_space_safe_solve(product_with(matrix), vector(3.0, 4.0))
    torch.testing.assert_close(x["x"], vector(3.0, 0.0)["x"])
    torch.testing.assert_close(info.residual, torch.tensor(0.8, dtype=torch.float64))


def test_bordered_solve_equals_the_dense_system():
    matrix, normal = symmetric([-1.0, 0.5, 2.0, 3.0]), vector(1.0, -1.0, 2.0, 0.5)
    b, last = vector(1.0, 2.0, 3.0, 4.0), torch.tensor(0.7, dtype=torch.float64)
    whole = torch.zeros(5, 5, dtype=torch.float64)
    whole[:4, :4], whole[4, :4], whole[:4, 4] = matrix, normal["x"], normal["x"]
    expected = torch.linalg.solve(whole, torch.cat([b["x"], last[None]]))
    x, xi, info = bordered_solve(product_with(matrix), normal, b, last)
    assert relative_error(x["x"], expected[:4]) < 1e-12
    assert abs(xi - expected[4]) < 1e-12
    assert abs(normal["x"] @ x["x"] - last) < 1e-12
    assert info.residual < 1e-12
    assert abs(info.curvature - torch.linalg.eigvalsh(whole)[0]) < 1e-12


def test_bordered_solve_leaves_out_a_constraint_that_does_not_bind():
    matrix, b = symmetric([0.5, 2.0, 3.0]), vector(1.0, 2.0, 3.0)
    last = torch.tensor(0.7, dtype=torch.float64)
    for binds in (False, torch.tensor(False)):
        x, xi, info = bordered_solve(
            product_with(matrix), vector(9.0, 9.0, 9.0), b, last, binds=binds
        )
        assert relative_error(x["x"], torch.linalg.solve(matrix, b["x"])) < 1e-12
        assert xi == last
        assert info.residual < 1e-12


def test_bordered_solve_leaves_the_null_space_alone():
    matrix, normal = torch.diag(torch.tensor([2.0, 3.0, 0.0]).double()), vector(1.0, 1.0, 0.0)
    x, xi, info = bordered_solve(
        product_with(matrix), normal, vector(2.0, 3.0, 0.0), torch.tensor(1.0).double()
    )
    torch.testing.assert_close(x["x"], vector(0.4, 0.6, 0.0)["x"])
    torch.testing.assert_close(xi, torch.tensor(1.2, dtype=torch.float64))
    assert info.residual < 1e-14


def test_bordered_solve_over_a_batch_equals_a_loop():
    """One system binds, the other does not."""
    matrix, normal, b = symmetric([0.5, 2.0, 3.0]), vector(1.0, 0.0, 2.0), vector(1.0, 2.0, 3.0)
    last = torch.tensor(0.3, dtype=torch.float64)

    def solve(binds):
        return bordered_solve(product_with(matrix), normal, b, last, binds=binds)

    flags = torch.tensor([True, False])
    batched, xis, _ = vmap(solve)(flags)
    for i in range(2):
        x, xi, _ = solve(flags[i])
        torch.testing.assert_close(batched["x"][i], x["x"], rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(xis[i], xi)


def test_neumann_series_equals_a_dense_solve_and_counts_its_terms():
    matrix, b = symmetric([0.4, 1.0, 1.9]), vector(1.0, -2.0, 0.5)
    x, info = neumann_series(product_with(matrix), b, step_size=1.0, tolerance=1e-12)
    assert relative_error(x["x"], torch.linalg.solve(matrix, b["x"])) < 1e-11
    assert info.residual <= 1e-12
    assert 0.4 - 1e-12 <= info.curvature <= 1.9
    # The slowest part shrinks by 0.9 a term: log(1e-12) / log(0.9) is 262.
    assert 200 < info.iterations <= 270


def test_neumann_series_truncated_is_the_sum_of_its_terms():
    matrix, b = symmetric([0.4, 1.0, 1.9]), vector(1.0, -2.0, 0.5)
    x, info = neumann_series(product_with(matrix), b, step_size=0.3, max_iterations=3)
    shrink = torch.eye(3, dtype=torch.float64) - 0.3 * matrix
    expected = 0.3 * (b["x"] + shrink @ b["x"] + shrink @ shrink @ b["x"])
    assert relative_error(x["x"], expected) < 1e-14
    assert info.iterations == 3
    missing = (b["x"] - matrix @ expected).norm() / b["x"].norm()
    torch.testing.assert_close(info.residual, missing)


def test_neumann_series_shows_that_a_step_is_too_long_or_a_matrix_indefinite():
    b = vector(1.0, -2.0, 0.5)
    _, info = neumann_series(
        product_with(symmetric([0.4, 1.0, 1.9])), b, step_size=1.2, max_iterations=60
    )
    assert info.residual > 1
    _, info = neumann_series(
        product_with(symmetric([-0.4, 1.0, 1.5])), b, step_size=1.0, max_iterations=60
    )
    assert info.curvature < 0
    assert info.residual > 1


def test_neumann_series_over_a_batch_equals_a_loop():
    b = torch.tensor([[1.0, 2.0, 3.0], [0.0, 0.0, 0.0], [1.0, 0.0, 0.0]], dtype=torch.float64)
    matrix = symmetric([0.5, 1.0, 1.5])

    def solve(v):
        return neumann_series(product_with(matrix), {"x": v}, step_size=1.0, max_iterations=60)

    batched, info = vmap(solve)(b)
    for i in range(3):
        single, single_info = solve(b[i])
        torch.testing.assert_close(batched["x"][i], single["x"], rtol=1e-12, atol=1e-12)
        assert info.iterations[i] == single_info.iterations
    assert info.iterations[1] == 0
    assert info.residual[1] == 0


def quartic(x: dict[str, torch.Tensor]) -> torch.Tensor:
    return (x["a"] ** 4).sum() + (x["a"].sum() * x["b"]).prod() + x["b"].sin().sum()


def test_hessian_vector_product_equals_the_dense_hessian():
    x = {
        "a": torch.tensor([0.3, -1.2], dtype=torch.float64),
        "b": torch.tensor([0.7, 2.0]).double(),
    }
    blocks = hessian(quartic)(x)
    dense = torch.cat([torch.cat([blocks[r][c] for c in x], 1) for r in x], 0)
    assert relative_error(dense_matrix(hessian_vector_product(quartic, x), x), dense) < 1e-14


def test_hessian_vector_product_equals_differences_of_the_gradient():
    x = torch.tensor([0.3, -1.2, 0.5], dtype=torch.float64)
    v = torch.tensor([1.0, 2.0, -1.0], dtype=torch.float64)
    product = hessian_vector_product(lambda p: (p["x"] ** 3).prod(), {"x": x})({"x": v})["x"]

    def slope_along_v(shift):
        return central_difference(lambda y: (y**3).prod(), x + shift * v, h=1e-2)

    expected = (slope_along_v(1e-4) - slope_along_v(-1e-4)) / 2e-4
    assert relative_error(product, expected) < 1e-6


def test_products_and_norms_are_those_of_all_leaves_as_one_vector():
    x = {"a": torch.tensor([[1.0, 2.0]]), "b": torch.tensor(3.0)}
    y = {"a": torch.tensor([[-4.0, 5.0]]), "b": torch.tensor(6.0)}
    assert dot(x, y) == -4 + 10 + 18
    assert norm(x) == 14**0.5


def test_scaling_scales_every_leaf():
    scaled = scale(-2.0, {"a": torch.tensor([1.0, 3.0]), "b": torch.tensor(5.0)})
    assert {name: leaf.tolist() for name, leaf in scaled.items()} == {"a": [-2, -6], "b": -10}


def test_the_curvature_of_a_matrix_that_is_not_symmetric_is_that_of_its_symmetric_part():
    """x^T A x = 2 (x_1 + x_2)^2: flat along (1, -1)."""
    matrix = torch.tensor([[2.0, 4.0], [0.0, 2.0]], dtype=torch.float64)
    _, info = dense_solve(product_with(matrix), vector(1.0, 0.0))
    assert abs(info.curvature) < 1e-12
