"""Figures of sampled data."""

import numpy as np
import pandas as pd
import pytest
import torch

from bomrl_lite.course import plots
from bomrl_lite.course.show import stored_table


def test_walks_are_drawn_for_every_label_and_episode():
    walks = {"before": torch.zeros(2, 3, 5, 2), "after": torch.ones(2, 3, 5, 2)}
    figure = plots.draw_walks(walks, torch.eye(2), radius=0.9)
    assert [ax.get_title() for ax in figure.axes] == ["before", "after"]
    assert all(len(ax.lines) == 2 * (3 + 1) and len(ax.patches) == 2 for ax in figure.axes)


def test_an_ascent_field_shows_the_objective_and_its_paths():
    def hill(x):
        return -(x**2).sum()

    path = torch.tensor([[1.0, 0.5], [0.0, 0.0]])
    figure = plots.ascent_fields({"hill": hill}, {"hill": [path]}, labels=("a", "b"))
    (ax,) = figure.axes
    assert (ax.get_xlabel(), ax.get_ylabel(), ax.get_title()) == ("a", "b", "hill")
    np.testing.assert_array_equal(ax.lines[0].get_xydata(), path)


def test_training_curves_name_methods_as_the_text_does():
    rows = [
        {"iteration": i, "method": m, "return": float(i), "when": w}
        for i in range(3)
        for m in ("promp", "bomrl_natural")
        for w in ("before", "after 1 adaptation")
    ]
    figure = plots.sampled_training_curves(pd.DataFrame(rows))
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert "ProMP, before" in legend
    assert "BO-MRL, all (B), after 1 adaptation" in legend


def test_a_result_that_is_not_stored_is_named_with_those_that_are():
    assert len(stored_table("laboratory")) > 10
    with pytest.raises(FileNotFoundError, match=r"no result is stored as 'lab'; .*laboratory"):
        stored_table("lab")


def test_one_far_seed_does_not_hide_the_front():
    returns = {"promp": [-7.0] * 10, "lvc_maml": [-8.0] * 10, "naive_maml": [-9.0] * 9 + [-59.0]}
    rows = [
        {"method": m, "seed": i, "step": step, "return": value, "seconds": 1.0}
        for m, values in returns.items()
        for i, value in enumerate(values)
        for step in (1, 2, 3)
    ]
    front = plots.draw_experiment("navigation", pd.DataFrame(rows)).axes[0]
    best, last = -7.0, -14.0  # means of the methods that are enlarged
    assert front.get_xlim()[0] == pytest.approx(last - (best - last))
