"""What is special about the checks of exercise set 03: their oracles."""

import numpy as np
import pytest
import torch
from answers_03 import solve

from bomrl_lite.course.checks.oracles import policy_return
from bomrl_lite.course.checks.set03 import oracles as adapted
from bomrl_lite.course.checks.set03 import questions


@pytest.mark.parametrize("kind", ["d1", "d2"])
def test_the_oracle_of_alg_finds_the_best_of_a_fine_grid(kind):
    """Two actions: every policy is one number, so the maximum can be seen."""
    draw = np.random.default_rng(0)
    probs = np.linspace(1e-6, 1 - 1e-6, 200_001)
    grid = np.stack([probs, 1 - probs], -1)
    for lam in (0.05, 0.4, 3.0):
        phi, q = draw.normal(size=(1, 2)), draw.normal(size=(1, 2))
        gains = adapted.gain(np.log(grid), phi, q, lam, kind)
        best = np.exp(adapted.best_logits(phi, q, lam, kind))
        assert abs(best[0, 0] / best.sum() - probs[gains.argmax()]) < 1e-5


def test_the_oracle_of_kl_is_the_definition():
    phi, theta = np.random.default_rng(1).normal(size=(2, 4, 3))
    p, r = (np.exp(x) / np.exp(x).sum(-1, keepdims=True) for x in (phi, theta))
    np.testing.assert_allclose(adapted.kl(phi, theta), (p * np.log(p / r)).sum(-1), rtol=1e-12)


def test_at_a_safe_lam_the_bound_lies_below_the_return_of_every_policy():
    draw = np.random.default_rng(2)
    for case in questions.cases():
        lam = adapted.safe_lam(case.world)
        for scale in (1e-3, 0.1, 1.0, 5.0):
            theta = case.world.logits + scale * draw.normal(size=case.theta.shape)
            bound = adapted.lower_bound(theta, case.world, lam)
            assert bound <= policy_return(theta, case.world) + 1e-12


def test_the_root_is_found_from_the_left_end_for_any_prior_and_weight():
    """What hint 3.4 promises: thirty Newton steps are enough, and no probability is negative."""
    solution = solve("adapt_d1")
    generator = torch.Generator().manual_seed(0)
    for _ in range(200):
        phi, q = (
            scale * torch.randn(5, 4, dtype=torch.float64, generator=generator) for scale in (3, 5)
        )
        lam = 10 ** torch.empty(()).uniform_(-2, 3, generator=generator).item()
        probs = solution(phi, q, lam).exp()
        assert (probs > 0).all()
        # mu - Q is as precise as Q is, so its relative error grows with max Q / (lam pi_phi)
        assert (probs.sum(-1) - 1).abs().max() < 1e-9
