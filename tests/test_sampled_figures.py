"""Statistics that figures show, and figures of sampled data."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import torch

from bomrl_lite.course import plots
from bomrl_lite.course.show import stored_table


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


def test_the_interquartile_mean_forgets_the_outer_quarters():
    assert plots.interquartile_mean([0, 1, 2, 1000]) == 1.5
    assert plots.interquartile_mean([-1e9, 3, 5, 4, 4, 6, 2, 1e9]) == 4.0
    assert plots.interquartile_mean([1, 2, 6]) == 3.0
    # Of five, the second and the fourth count to three quarters.
    expected = (0.75 * 2 + 3 + 0.75 * 10) / 2.5
    assert plots.interquartile_mean([99, 1, 2, 3, 10]) == pytest.approx(expected)


def test_the_interquartile_mean_is_that_of_many_copies():
    """Weights in part are what repeating every value four times gives by counting."""
    values = np.random.default_rng(0).normal(size=7)
    copies = np.sort(np.repeat(values, 4))
    assert plots.interquartile_mean(values) == pytest.approx(copies[7:-7].mean())


def test_a_lead_is_paired_by_seed():
    frame = pd.DataFrame(
        {
            "method": ["a", "b"] * 3,
            "seed": [0, 0, 1, 1, 2, 2],
            "return": [1.0, 0.0, 102.0, 100.0, -7.0, -4.0],
        }
    )
    lead = plots.paired_difference(frame, "a", "b")
    assert lead["mean"] == pytest.approx(0.0)
    assert lead["error"] == pytest.approx(np.std([1, 2, -3], ddof=1) / 3**0.5)
    assert (lead["wins"], lead["seeds"]) == (2, 3)
    half = frame.drop(index=1)  # seed 0 has no partner
    assert plots.paired_difference(half, "a", "b")["seeds"] == 2


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
        for m in ("promp", "bomrl")
        for w in ("before", "after 1 adaptation")
    ]
    figure = plots.sampled_training_curves(pd.DataFrame(rows))
    legend = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    assert "ProMP" in legend
    assert "BO-MRL, all (B)" in legend


def test_a_result_that_is_not_stored_is_named_with_those_that_are():
    assert len(stored_table("laboratory")) > 10
    with pytest.raises(FileNotFoundError, match=r"no result is stored as 'lab'; .*laboratory"):
        stored_table("lab")
