"""Lesson 07: locks against numbers known by hand, and figures against their tables."""

import numpy as np
import pandas as pd
import pytest
import torch

import bomrl_lite as bl
from bomrl_lite.course import plots
from bomrl_lite.course.experiments import open_questions as oq
from bomrl_lite.course.experiments.setting import Scale, make_setting
from bomrl_lite.types import TabularTask


def even(length, delay=0):
    """Return policy and gamma of a lock, and the policy that draws its actions evenly."""
    policy = bl.tabular_softmax(length + delay + 1, 2)
    return {"policy": policy, "gamma": 0.9}, policy.init(torch.Generator())


@pytest.mark.parametrize(
    ("code", "delay"), [((0,), 0), ((1, 0, 1), 0), ((1, 1), 3), ((0, 1, 1), 1)]
)
def test_a_lock_opens_once_in_two_to_the_n_and_pays_late(code, delay):
    exact, phi = even(len(code), delay)
    task = oq.lock_task(code, delay=delay)
    best = 0.9 ** (len(code) - 1 + delay)
    alone = TabularTask(*(field.unsqueeze(0) for field in task))
    assert bl.optimal_returns(alone, 0.9).item() == pytest.approx(best, rel=1e-12)
    earned = bl.policy_return(phi, task, **exact).item()
    assert earned == pytest.approx(best / 2 ** len(code), rel=1e-12)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"code": ()}, "the number of digits"),
        ({"code": (0, 2)}, r"digits must be actions, 0 to 1, got \[0, 2\]"),
        ({"code": (0,), "delay": -1}, "delay"),
        ({"code": (0,), "num_actions": 1}, "num_actions"),
    ],
)
def test_a_lock_that_cannot_be_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        oq.lock_task(**arguments)


def test_the_splits_of_locks_share_no_code_and_all_share_the_first_digits():
    family = oq.locks(6, shared=2)
    codes = {}
    for split in ("train", "test"):
        tasks = family.sample(200, torch.Generator().manual_seed(0), split)
        leads_on = tasks.transition[:, range(5), :, range(1, 6)].argmax(-1).T
        right = torch.cat([leads_on, tasks.reward[:, 5].argmax(-1, keepdim=True)], dim=-1)
        assert (right[:, :2] == 1).all()
        codes[split] = {tuple(code) for code in right.tolist()}
    assert len(codes["train"] | codes["test"]) == 16
    assert not codes["train"] & codes["test"]
    with pytest.raises(ValueError, match="length - shared"):
        oq.locks(4, shared=3)


def test_without_a_reward_nothing_moves_and_with_one_something_does():
    family, (exact, phi) = oq.locks(4), even(4)
    tasks = family.sample(300, torch.Generator().manual_seed(0), "train")
    batch = oq.adapt_from_episodes(
        phi, tasks, family, exact, torch.Generator().manual_seed(1), num_episodes=20, lam=0.1
    )
    assert batch.moved[~batch.rewarded].max() == 0
    assert batch.moved[batch.rewarded].min() > 0.1
    np.testing.assert_allclose(batch.earned[~batch.rewarded], 1 / 16)
    silent = (~batch.rewarded).double().mean().item()
    chance = oq.chance_of_no_reward(torch.tensor(1 / 16), 20).item()
    assert silent == pytest.approx(chance, abs=4 * (chance * (1 - chance) / 300) ** 0.5)


def test_the_chance_of_no_reward_is_that_of_independent_tries():
    got = oq.chance_of_no_reward(torch.tensor([0.0, 0.5, 1.0]), 3)
    assert got.tolist() == [1.0, 0.125, 0.0]
    with pytest.raises(ValueError, match="the largest chance"):
        oq.chance_of_no_reward(torch.tensor([0.5, 1.5]), 3)


def test_movement_is_the_d2_of_the_adaptation_and_its_gap_that_of_the_metrics():
    here = make_setting("frozen_lake/holes-4x4", 0, Scale(num_tasks=2, num_test=3))
    tasks = here.splits["test"]
    (row,) = oq.movement_rows(here.untrained, tasks, here.exact, {"d2": (0.3,)})
    moved, gaps = [], []
    for index in range(3):
        task = TabularTask(*(field[index] for field in tasks))
        data = bl.full_data(here.untrained, task, **here.exact)
        theta, info = bl.adapt(here.untrained, data, policy=here.policy, distance=bl.d2, lam=0.3)
        moved.append(info.distance.item())
        best = bl.expected_return(bl.optimal_policy(task, here.gamma)[0], task, here.gamma)
        gaps.append((best - bl.policy_return(theta, task, **here.exact)).item())
    assert row["nats"] == pytest.approx(np.mean(moved), rel=1e-9)
    assert row["gap"] == pytest.approx(np.mean(gaps), rel=1e-9)
    assert 0 < row["largest"] <= 1


def test_more_tasks_are_more_rows_and_held_out_lakes_stay():
    rows = pd.DataFrame(oq.task_count_rows(0, (2, 3), iterations=1, num_test=2))
    assert len(rows) == 2 * 4 * 2
    untrained = rows.query("prior == 'untrained' and split == 'test'")["gap"]
    assert untrained.nunique() == 1


def lines_of(ax):
    """Return the marked lines of axes by label: points [n, 2]."""
    marked = [line for line in ax.lines if line.get_marker() == "o"]
    return {line.get_label(): line.get_xydata() for line in marked}


def table(columns, keys, generator):
    """Return a table with three seeds and numbers that span decades."""
    frame = pd.DataFrame([{**key, "seed": s} for key in keys for s in range(3)])
    for column in columns:
        frame[column] = 10.0 ** generator.uniform(-3, 0, len(frame))
    return frame


def test_gaps_by_task_count_draws_means_of_values():
    keys = [
        {"num_tasks": n, "prior": prior, "split": split}
        for n in (2, 10)
        for prior in ("maml", "bomrl_d2")
        for split in ("training", "test")
    ]
    gaps = table(["gap"], keys, np.random.default_rng(0))
    figure = plots.gaps_by_task_count(gaps)
    for ax, split in zip(figure.axes, ("training", "test"), strict=True):
        assert ax.get_yscale() == "log"
        for prior, points in lines_of(ax).items():
            mine = gaps[gaps["split"] == split]
            mine = mine[mine["prior"].map(plots.LABELS) == prior]
            expected = mine.groupby("num_tasks")["gap"].mean()
            np.testing.assert_allclose(points, np.c_[expected.index, expected], rtol=1e-12)
    assert set(lines_of(figure.axes[0])) == {"MAML", "BO-MRL, D2"}


def test_gap_by_movement_draws_means_of_values():
    keys = [{"distance": d, "lam": lam} for d in ("d1", "d3") for lam in (1.0, 0.1)]
    rows = table(["nats", "largest", "gap"], keys, np.random.default_rng(1))
    figure = plots.gap_by_movement(rows)
    for ax, column in zip(figure.axes, ("gap", "largest"), strict=True):
        for name in ("d1", "d3"):
            mine = rows[rows["distance"] == name]
            expected = mine.groupby("lam", sort=False)[["nats", column]].mean()
            np.testing.assert_allclose(lines_of(ax)[name.upper()], expected, rtol=1e-12)


def test_signal_by_length_draws_means_and_what_was_expected():
    keys = [{"length": n, "episodes": k} for n in (2, 6) for k in ("exact", "5", "20")]
    rows = table(["silent", "earned"], keys, np.random.default_rng(2))
    expected = pd.DataFrame([{"length": n, "episodes": "5", "silent": n / 10} for n in (2, 6)])
    figure = plots.signal_by_length(rows, expected)
    for ax, column in zip(figure.axes, ("silent", "earned"), strict=True):
        for name, points in lines_of(ax).items():
            means = rows[rows["episodes"] == name].groupby("length")[column].mean()
            np.testing.assert_allclose(points, np.c_[means.index, means], rtol=1e-12)
    (dotted,) = [line for line in figure.axes[0].lines if line.get_linestyle() == ":"]
    np.testing.assert_allclose(dotted.get_xydata(), [[2, 0.2], [6, 0.6]])


@pytest.mark.parametrize("draw", [plots.gaps_by_task_count, plots.gap_by_movement])
def test_letters_are_large_enough_and_the_figure_is_wide_enough(draw):
    keys = [
        {"num_tasks": 2, "prior": "maml", "split": s, "distance": "d1", "lam": 1.0}
        for s in ("training", "test")
    ]
    figure = draw(table(["gap", "nats", "largest"], keys, np.random.default_rng(3)))
    figure.draw_without_rendering()
    texts = figure.findobj(lambda artist: hasattr(artist, "get_fontsize"))
    assert min(text.get_fontsize() for text in texts if text.get_text()) >= 8
    assert figure.get_figwidth() * figure.dpi >= 700
