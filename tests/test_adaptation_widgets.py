"""Widgets of lessons 03a and 05a: what they compute, and that the view follows the controls."""

import numpy as np
import torch

from bomrl_lite.course import widgets
from bomrl_lite.policies.networks import tabular_softmax
from bomrl_lite.tasks import frozen_lake as lakes

POLICY = tabular_softmax(16, 4)
EXACT = {"policy": POLICY, "gamma": 0.8}
MAP = ("SFFF", "FFHF", "FFFH", "HFFG")
PRIOR = torch.tensor([0.7, 0.1, 0.2], dtype=torch.float64)
Q = torch.tensor([0.0, 1.0, 0.9], dtype=torch.float64)


def test_paths_end_where_the_closed_forms_say():
    lams = torch.tensor([10.0, 0.5], dtype=torch.float64)
    paths = widgets.three_paths(PRIOR, Q, lams)
    for lam, tilted, tempered in zip(lams.tolist(), paths["D2"], paths["D1"], strict=True):
        weights = PRIOR.numpy() * np.exp(Q.numpy() / lam)
        np.testing.assert_allclose(tilted.numpy(), weights / weights.sum(), atol=1e-12)
        mu = Q.numpy() + lam * PRIOR.numpy() / tempered.numpy()
        assert np.ptp(mu) < 1e-9  # one multiplier for all actions
        assert abs(tempered.sum() - 1) < 1e-12
    assert paths["D3"].shape == (2, 3)


def test_the_simplex_view_follows_its_slider():
    lams = torch.logspace(1, -1, 5, dtype=torch.float64)
    view, draw = widgets.simplex_explorer(PRIOR, Q, widgets.three_paths(PRIOR, Q, lams), lams)
    slider, line, image = view.children
    before, words = image.value, line.value
    slider.value = 4
    assert image.value != before
    assert words != line.value
    assert line.value.startswith("λ = 0.1;")
    assert draw(0).axes


def test_repeated_adaptation_on_a_lake_adds_q_over_lam_each_time():
    lake = lakes.lake_task(MAP, lakes.HOLES)
    phi = POLICY.init(torch.Generator())
    dials = {"distance": "d2", "lam": 2.0, **EXACT}
    assert widgets.repeated_adaptation(phi, lake, num_steps=0, **dials) is phi
    once = widgets.repeated_adaptation(phi, lake, num_steps=1, **dials)
    twice = widgets.repeated_adaptation(phi, lake, num_steps=2, **dials)
    again = widgets.repeated_adaptation(once, lake, num_steps=1, **dials)
    torch.testing.assert_close(twice["logits"], again["logits"])


def test_the_lake_view_follows_all_three_controls():
    lake = lakes.lake_task(MAP, lakes.HOLES)
    phi = POLICY.init(torch.Generator())
    view, _ = widgets.adaptation_explorer(phi, lake, MAP, **EXACT)
    distance, log_lam, steps, line, image = view.children
    seen = {image.value}
    for control, value in ((distance, "d1"), (log_lam, -1.0), (steps, 3)):
        control.value = value
        seen.add(image.value)
    assert len(seen) == 4
    assert line.value.startswith("D1, λ = 0.1: return ")


def test_the_dial_without_holes_has_neither_variance_nor_gap():
    dials = {"num_tasks": 20, "lam": 0.3, **EXACT}
    full, thin = (
        widgets.dial_point(ice, generator=torch.Generator().manual_seed(0), **dials)
        for ice in (1.0, 0.7)
    )
    assert full.variance < 1e-6
    assert full.gap < 1e-6
    assert set(full.maps) == {("SFFF", "FFFF", "FFFF", "FFFG")}
    assert thin.variance > full.variance
    torch.testing.assert_close(thin.optimal.sum(-1), torch.ones(20, 16, dtype=torch.float64))
    view, draw = widgets.variance_explorer([full, thin])
    dial, line, image = view.children
    before = image.value
    dial.value = 1.0
    assert image.value != before
    assert line.value.startswith("100% ice: variance 0.000 nats")
    assert draw(0.7).axes
