"""Lesson 07: locks against numbers known by hand, movement against the definitions."""

import numpy as np
import pandas as pd
import pytest
import torch

import bomrl_lite as bl
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
