"""Widgets by their values, their figures and the numbers that they say."""

import base64
import html
import re
from functools import partial

import matplotlib.pyplot as plt
import pytest
import torch
from conftest import random_logits

import bomrl_lite as bl
from bomrl_lite.course import plots, widgets
from bomrl_lite.course.plots.alternative import alternative_text
from bomrl_lite.course.setup_check import check_device, check_versions, environment, setup_check
from bomrl_lite.course.show import source_without_docstring
from bomrl_lite.course.widgets.explorer import LINE
from bomrl_lite.tasks import frozen_lake as lakes

POLICY = bl.tabular_softmax(16, 4)
EXACT = {"policy": POLICY, "gamma": 0.8}
PHI = {"logits": random_logits(0, 16, 4)}
MAPS = lakes.sample_maps("frozen_lake/holes-4x4", 3, torch.Generator().manual_seed(0))
TASKS = lakes.lake_tasks(MAPS, lakes.HOLES)


@pytest.fixture(autouse=True)
def _no_figure_is_left_open():
    yield
    plt.close("all")


def return_after(index: int, step_size: float) -> float:
    task = type(TASKS)(*(field[index] for field in TASKS))
    theta = bl.gradient_step(PHI, task, step_size=step_size, **EXACT)
    return bl.policy_return(theta, task, **EXACT).item()


def picture_of(view) -> bytes:
    (data,) = re.findall(r'src="data:image/png;base64,([^"]+)"', view.value)
    return base64.b64decode(data)


@pytest.mark.parametrize("alone", [True, False])
def test_a_widget_says_what_is_seen_and_its_text_wraps(alone):
    adapt = partial(bl.gradient_step, step_size=5.0, **EXACT)
    if alone:
        view, draw = widgets.lake_explorer(PHI, MAPS, TASKS, adapt, **EXACT)
        figure = draw(0)
    else:
        view, draw = widgets.step_size_explorer(PHI, TASKS, **EXACT)
        figure = draw(10.0)
    line, image = view.children[-2:]
    (words,) = re.findall(r'<img class="widget-image" alt="([^"]+)"', image.value)
    assert html.unescape(words) == alternative_text(figure)
    rules = re.findall(rf"\.{LINE} {{(.*?)}}", image.value, re.DOTALL)
    assert LINE in line._dom_classes
    assert "white-space: normal" in rules[0]
    assert "height: auto" in rules[0]
    assert "max-width: none" in image.value  # scrolls where it does not fit: letters stay legible


def test_the_lake_slider_changes_picture_and_text():
    adapt = partial(bl.gradient_step, step_size=5.0, **EXACT)
    view, draw = widgets.lake_explorer(PHI, MAPS, TASKS, adapt, **EXACT)
    slider, line, image = view.children
    before = image.value
    slider.value = 2
    assert image.value != before
    assert picture_of(image)[1:4] == b"PNG"
    assert line.value.startswith("lake 2: return ")
    assert f"{return_after(2, 5.0):+.3f} after" in line.value
    assert plt.get_fignums() == []
    assert f"{return_after(1, 5.0):+.2f}" in draw(1).axes[1].get_title()


def test_the_step_size_slider_says_mean_and_worst():
    view, _ = widgets.step_size_explorer(PHI, TASKS, **EXACT)
    slider, line, image = view.children
    before = image.value
    slider.value = 3.0
    every = [return_after(i, 3.0) for i in range(3)]
    assert image.value != before
    assert f"mean return {sum(every) / 3:+.3f}, worst task {min(every):+.3f}" in line.value


def test_the_landscape_holds_the_step_and_the_start():
    """On the axis along the gradient, the plane's height is the return after that step."""
    task = type(TASKS)(*(field[0] for field in TASKS))
    plane = widgets.one_step_landscape(PHI, task, 8.0, **EXACT, resolution=25)
    middle = 12
    assert plane.across[middle].abs() < 1e-12
    for k in (5, 20):
        step_size = (plane.along[k] / plane.slope).item()
        if step_size > 0:
            assert abs(plane.returns[middle, k] - return_after(0, step_size)) < 1e-10


def test_a_landscape_without_a_slope_is_refused():
    nothing_to_earn = type(TASKS)(*(field[0] for field in TASKS))._replace(
        reward=torch.zeros(16, 4, dtype=torch.float64)
    )
    with pytest.raises(ValueError, match="gradient of J is 0 at phi"):
        widgets.one_step_landscape(PHI, nothing_to_earn, 8.0, **EXACT)


def test_the_curve_over_step_sizes_is_the_return_after_each():
    curve = widgets.return_after_step(PHI, TASKS, [0.5, 4.0], **EXACT)
    for row in curve.itertuples():
        assert abs(curve.loc[row.Index, "return"] - return_after(row.task, row.step_size)) < 1e-12


def test_an_arrow_is_as_long_as_its_action_is_likely():
    probs = torch.tensor([[0.0, 0.8, 0.2, 0.0]] + [[0.25] * 4] * 3, dtype=torch.float64)
    figure = plots.draw_lake(("SF", "FG"), policy_probs=probs)
    arrows = [p for p in figure.axes[0].patches if type(p).__name__ == "FancyArrow"]
    assert len(arrows) == 2 + 4 + 4
    spans = [max(arrow.get_xy().max(0) - arrow.get_xy().min(0)) for arrow in arrows[:2]]
    assert spans[0] > 2 * spans[1]


def test_holes_and_goals_carry_no_arrows_where_actions_mean_nothing():
    probs = torch.full((4, 4), 0.25, dtype=torch.float64)
    figure = plots.draw_lake(("SH", "FG"), policy_probs=probs)
    assert sum(type(p).__name__ == "FancyArrow" for p in figure.axes[0].patches) == 8


def test_the_setup_check_finds_this_machine_ready(capsys):
    setup_check()
    assert "Everything is in place." in capsys.readouterr().out
    assert {"Python", "torch", "papermill"} <= {finding.what for finding in check_versions()}
    assert environment()["torch"] == torch.__version__


def test_the_setup_check_compares_versions_not_importability(monkeypatch, capsys):
    from importlib.metadata import version

    monkeypatch.setattr(
        "importlib.metadata.version", lambda name: "0.1" if name == "papermill" else version(name)
    )
    setup_check()
    said = capsys.readouterr().out
    assert "!!  papermill" in said
    assert "python run.py setup" in said


def test_source_is_shown_without_its_docstring():
    text = source_without_docstring(bl.maml)
    assert text.startswith("def maml(")
    assert "hessian_vector_product" in text
    assert '"""' not in text


def test_the_setup_check_sees_a_gpu_that_torch_does_not(monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    for found, ok in ((None, True), ("/usr/bin/nvidia-smi", False)):
        monkeypatch.setattr("shutil.which", lambda name, found=found: found)
        assert check_device().ok is ok
