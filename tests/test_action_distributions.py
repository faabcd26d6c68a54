"""Gaussian and Categorical against torch's own, sums over actions and quadrature."""

import numpy as np
import pytest
import torch
from conftest import central_difference
from torch.func import grad, vmap

from bomrl_lite.policies.distributions import Categorical, Gaussian

M, K, A = 6, 3, 4
NODES, WEIGHTS = np.polynomial.hermite_e.hermegauss(30)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def draw(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=seeded(seed), dtype=torch.float64)


def gaussian(seed: int, *shape: int) -> Gaussian:
    shape = shape or (M, K)
    return Gaussian(draw(seed, *shape), 0.5 * draw(seed + 50, *shape))


def categorical(seed: int, *shape: int) -> Categorical:
    return Categorical(draw(seed, *(shape or (M, A))).log_softmax(-1))


def as_torch(pi):
    if isinstance(pi, Gaussian):
        normal = torch.distributions.Normal(pi.mean, pi.log_std.exp())
        return torch.distributions.Independent(normal, 1)
    return torch.distributions.Categorical(logits=pi.log_probs)


KINDS = pytest.mark.parametrize("make", [gaussian, categorical])


@KINDS
def test_log_probabilities_and_divergences_are_those_of_torch(make):
    first, second = make(0), make(1)
    actions = as_torch(second).sample()
    pairs = [
        (first.log_prob(actions), as_torch(first).log_prob(actions)),
        (first.kl(second), torch.distributions.kl_divergence(as_torch(first), as_torch(second))),
    ]
    for got, expected in pairs:
        assert got.shape == (M,)
        torch.testing.assert_close(got, expected, rtol=1e-12, atol=1e-14)


def test_the_divergence_of_gaussians_is_an_expected_difference_of_log_probabilities():
    first, second = gaussian(0, 5, 1), gaussian(1, 5, 1)
    points = (first.mean + first.log_std.exp() * torch.tensor(NODES)).T.unsqueeze(-1)
    gaps = torch.stack([first.log_prob(x) - second.log_prob(x) for x in points])
    expected = torch.tensor(WEIGHTS / WEIGHTS.sum()) @ gaps
    torch.testing.assert_close(first.kl(second), expected, rtol=1e-10, atol=1e-12)


def test_a_density_integrates_to_one():
    grid = torch.linspace(-30, 30, 20001, dtype=torch.float64)
    pi = Gaussian(
        torch.tensor([0.7], dtype=torch.float64), torch.tensor([0.3], dtype=torch.float64)
    )
    assert torch.trapezoid(pi.log_prob(grid[:, None]).exp(), grid).item() == pytest.approx(1, 1e-10)


@KINDS
def test_the_divergence_is_zero_at_equality_and_positive_elsewhere(make):
    pi = make(0)
    assert torch.equal(pi.kl(pi), torch.zeros(M, dtype=torch.float64))
    assert all((pi.kl(make(seed)) > 0).all() for seed in range(1, 20))


def test_the_divergence_of_nearly_equal_gaussians_keeps_its_sign_in_single_precision():
    mean, log_std = torch.zeros(1000, 1), torch.zeros(1000, 1)
    near = Gaussian(mean, log_std + torch.linspace(-2e-4, 2e-4, 1000)[:, None])
    assert (Gaussian(mean, log_std).kl(near) >= 0).all()


def test_a_forbidden_action_costs_nothing_but_where_it_is_taken():
    open_, closed = torch.tensor([0.2, 0.3, 0.5]).log(), torch.tensor([0.4, 0.6, 0.0]).log()
    got = Categorical(closed).kl(Categorical(open_))
    expected = 0.4 * np.log(0.4 / 0.2) + 0.6 * np.log(0.6 / 0.3)
    assert got.item() == pytest.approx(expected, 1e-6)
    assert Categorical(closed).kl(Categorical(closed)).item() == 0
    assert Categorical(open_).kl(Categorical(closed)).item() == torch.inf
    logits = torch.tensor([0.1, -0.4, -torch.inf])
    slope = grad(lambda x: Categorical(x.log_softmax(-1)).kl(Categorical(open_)))(logits)
    assert torch.isfinite(slope).all()


# --- Fisher information ---------------------------------------------------------------------------


def fisher_by_definition(make, x) -> torch.Tensor:
    """E[score score^T] in the parameters x of one policy, by quadrature or enumeration."""
    if make is gaussian:
        mean, log_std = x.chunk(2)
        points = mean + log_std.exp() * torch.tensor(NODES)[:, None]
        weights = torch.tensor(WEIGHTS / WEIGHTS.sum())
        standard = (points - mean) * (-log_std).exp()
        scores = torch.cat([standard * (-log_std).exp(), standard**2 - 1], dim=1)
    else:
        weights = x.softmax(-1)
        scores = torch.eye(A, dtype=x.dtype) - weights
    return torch.einsum("q,qi,qj->ij", weights, scores, scores)


def as_policy(make, x: torch.Tensor):
    return Gaussian(*x.chunk(2)) if make is gaussian else Categorical(x.log_softmax(-1))


@KINDS
def test_the_fisher_product_is_the_second_moment_of_scores_and_the_curvature_of_the_kl(make):
    """J^T F J v, with J the slope of the distribution's parameters: those of a network, x."""
    x = draw(3, 2 if make is gaussian else A)
    here = as_policy(make, x)
    expected = fisher_by_definition(make, x)
    columns = []
    for v in torch.eye(len(x), dtype=x.dtype):
        leaves, tangents = torch.func.jvp(lambda y: tuple(as_policy(make, y)), (x,), (v,))
        pushed = here._make(leaves).fisher_product(here._make(tangents))
        assert type(pushed) is type(here)
        _, back = torch.func.vjp(lambda y: tuple(as_policy(make, y)), x)
        columns.append(back(tuple(pushed))[0])
    got = torch.stack(columns, dim=1)
    torch.testing.assert_close(got, expected, rtol=1e-10, atol=1e-12)
    for kl in (lambda y: here.kl(as_policy(make, y)), lambda y: as_policy(make, y).kl(here)):
        slope = lambda y, kl=kl: grad(lambda z: kl(z).sum())(y)  # noqa: E731
        for i in range(len(x)):
            bend = central_difference(lambda y, i=i, s=slope: s(y)[i], x)
            torch.testing.assert_close(bend, expected[i], rtol=1e-8, atol=1e-9)


# --- samples -------------------------------------------------------------------------------------


def test_samples_have_the_moments_of_their_distribution():
    count = 20000
    pi = gaussian(0)
    wide = Gaussian(*(leaf.expand(count, M, K) for leaf in pi))
    standard = (wide.sample(seeded()) - pi.mean) / pi.log_std.exp()
    assert (standard.mean(0).abs() < 3.5 / count**0.5).all()
    assert ((standard.square().mean(0) - 1).abs() < 3.5 * (2 / count) ** 0.5).all()
    correlation = standard.flatten(1).T @ standard.flatten(1) / count
    assert (correlation - correlation.diag().diag()).abs().max() < 4 / count**0.5

    probs = categorical(0).log_probs.exp()
    draws = Categorical(categorical(0).log_probs.expand(count, M, A)).sample(seeded())
    shares = torch.nn.functional.one_hot(draws, A).double().mean(0)
    assert ((shares - probs).abs() < 3.5 * (probs * (1 - probs) / count).sqrt()).all()


@KINDS
def test_samples_depend_on_the_generator_alone_and_record_no_gradient(make):
    leaves = [leaf.requires_grad_() for leaf in make(0, 2, 5, 3)]
    pi = make(0)._make(leaves)
    elsewhere = torch.get_rng_state()
    first = pi.sample(seeded(4))
    assert torch.equal(elsewhere, torch.get_rng_state())
    assert torch.equal(first, pi.sample(seeded(4)))
    assert not torch.equal(first, pi.sample(seeded(5)))
    assert not first.requires_grad
    assert first.shape == ((2, 5, 3) if make is gaussian else (2, 5))
    assert first.dtype == (torch.float64 if make is gaussian else torch.int64)


@KINDS
def test_vmap_and_grad_pass_through(make):
    first, second = make(0, 5, M, 3), make(1, 5, M, 3)
    actions = as_torch(second).sample()

    def both(p, q, a):
        return p.log_prob(a).sum() + p.kl(q).sum() + sum(x.sum() for x in p.fisher_product(q))

    got = vmap(both)(first, second, actions)
    for n in range(5):
        p, q = (pi._make(leaf[n] for leaf in pi) for pi in (first, second))
        torch.testing.assert_close(got[n], both(p, q, actions[n]), rtol=1e-12, atol=1e-12)
    slopes = vmap(grad(lambda p, q: p.kl(q).sum(), argnums=1))(first, second)
    for k, leaf in enumerate(second):

        def total(x, k=k):
            return first.kl(second._make([*second[:k], x, *second[k + 1 :]])).sum()

        expected = central_difference(total, leaf)
        torch.testing.assert_close(slopes[k], expected, rtol=1e-7, atol=1e-8)
