"""Running moments against numpy on all data at once; the lens; what the simulator shows."""

import numpy as np
import pytest
import torch

from bomrl_lite.rollout.observations import (
    CLIP,
    NormalisedSimulator,
    lens_of,
    no_moments,
    update_moments,
)
from bomrl_lite.tasks import make_tasks

RNG = np.random.default_rng(0)


def fed(batches, masks=None):
    moments = no_moments(3)
    for i, batch in enumerate(batches):
        mask = np.ones(batch.shape[:-1]) if masks is None else masks[i]
        moments = update_moments(moments, torch.tensor(batch), torch.tensor(mask))
    return moments


def test_moments_of_parts_are_those_of_all_at_once():
    batches = [1e3 + RNG.normal(size=(*shape, 3)) for shape in ((4,), (2, 5), (7, 1, 2))]
    moments = fed(batches)
    rows = np.concatenate([b.reshape(-1, 3) for b in batches])
    assert moments.number == len(rows)
    np.testing.assert_allclose(moments.mean, rows.mean(0), rtol=1e-14)
    np.testing.assert_allclose(moments.squares / len(rows), rows.var(0), rtol=1e-10)


def test_what_is_masked_does_not_count():
    batches = [RNG.normal(size=(6, 3)) for _ in range(3)]
    masks = [RNG.integers(0, 2, 6).astype(float) for _ in range(2)] + [np.zeros(6)]
    rows = np.concatenate([b[m > 0] for b, m in zip(batches, masks, strict=True)])
    for batch, mask in zip(batches, masks, strict=True):
        batch[mask == 0] = np.nan  # what follows an episode's end may be anything
    moments = fed(batches, masks)
    assert moments.number == len(rows)
    np.testing.assert_allclose(moments.mean, rows.mean(0), rtol=1e-13)
    np.testing.assert_allclose(moments.squares, len(rows) * rows.var(0), rtol=1e-12)


def test_the_lens_takes_mean_and_deviation_off_and_cuts_at_five():
    rows = RNG.normal(2.0, 3.0, size=(50, 3))
    lens = lens_of(fed([rows]))
    seen = lens(torch.tensor(rows, dtype=torch.float32)).numpy()
    np.testing.assert_allclose(seen, (rows - rows.mean(0)) / rows.std(0), atol=1e-5)
    far = torch.tensor([[1e6, -1e6, 2.0]])
    assert lens(far)[0, :2].tolist() == [CLIP, -CLIP]


def test_moments_of_nothing_stay_zero_and_what_comes_later_counts():
    late = RNG.normal(size=(4, 3))
    moments = fed([np.full((2, 3), np.nan), late], [np.zeros(2), np.ones(4)])
    assert fed([np.full((2, 3), np.nan)], [np.zeros(2)]).mean.tolist() == [0, 0, 0]
    np.testing.assert_allclose(moments.mean, late.mean(0), rtol=1e-13)


def test_the_lens_shows_what_never_changes_as_zero_and_small_spreads_at_full_size():
    rows = np.stack([np.full(50, 0.25), 1e-5 * RNG.normal(size=50), RNG.normal(size=50)], axis=1)
    lens = lens_of(fed([rows]))
    seen = lens(torch.tensor(rows, dtype=torch.float32)).numpy()
    assert (seen[:, 0] == 0).all()
    np.testing.assert_allclose(seen[:, 1:].std(0), 1, rtol=2e-3)
    assert lens(torch.tensor([[0.251, 0.0, 0.0]]))[0, 0] == CLIP


@pytest.mark.parametrize("count", [0, 1])
def test_before_two_observations_the_lens_only_cuts(count):
    lens = lens_of(fed([RNG.normal(size=(count, 3))]))
    assert lens(torch.tensor([[0.5, -2.0, 9.0]])).tolist() == [[0.5, -2.0, 5.0]]


class Counting:
    """Shows 10, 11, 12 ...; the first of its two episodes is over after the second step."""

    horizon = 4

    def reset(self, generator):
        self.time = 0
        return self.observation()

    def step(self, actions, generator):
        self.time += 1
        over = torch.tensor([[self.time >= 2, False]])
        return self.observation(), torch.zeros(1, 2), over, torch.zeros_like(over)

    def observation(self):
        return torch.full((1, 2, 3), 10.0 + self.time)


class Passing(Counting):
    """The first episode ends at time 2, the second is cut at 3; later steps say nothing of it."""

    def step(self, actions, generator):
        shown, rewards, over, _ = super().step(actions, generator)
        ended, cut = torch.zeros_like(over), torch.zeros_like(over)
        ended[0, 0], cut[0, 1] = self.time == 2, self.time == 3
        return shown, rewards, ended, cut


def play(simulator, steps):
    shown = [simulator.reset(torch.Generator())]
    for _ in range(steps):
        shown.append(simulator.step(torch.zeros(1, 2, 1), torch.Generator())[0])
    return shown


def test_a_simulator_keeps_its_lens_and_gathers_what_it_showed_until_episodes_end():
    start = fed([np.array([[9.0] * 3, [11.0] * 3])])  # mean 10, deviation 1
    simulator = NormalisedSimulator(Counting(), start)
    assert simulator.horizon == 4
    shown = play(simulator, 4)
    assert [x[0, 0, 0].item() for x in shown] == pytest.approx([0, 1, 2, 3, 4], abs=1e-6)
    # 10 and 11 of both; then the second alone, for an end's observation is the last to be shown.
    rows = [9, 11, 10, 10, 11, 11, 12, 13, 14]
    assert simulator.moments.number == len(rows)
    assert simulator.moments.mean[0].item() == pytest.approx(np.mean(rows), rel=1e-12)
    again = simulator.moments
    assert again.number == len(rows)  # reading twice counts once
    shown = play(simulator, 1)
    assert shown[0][0, 0, 0].item() == pytest.approx(0, abs=1e-6)
    assert simulator.moments.number == len(rows) + 4


def test_an_episode_that_ended_or_was_cut_does_not_come_back():
    simulator = NormalisedSimulator(Passing(), fed([]))
    play(simulator, 5)
    assert simulator.moments.number == 5
    assert simulator.moments.mean[0].item() == pytest.approx(np.mean([10, 10, 11, 11, 12]))


def test_an_observation_may_be_one_number(generator):
    family = make_tasks("navigation/line")
    points = family.simulator(family.sample(2, generator, "train"), 3, 4)
    simulator = NormalisedSimulator(points, no_moments(1))
    assert simulator.reset(generator).tolist() == [[[0.0]] * 3] * 2
    assert simulator.moments.number == 6
