"""Returns and baselines against loops over single episodes, DiCE against every episode there is."""

import numpy as np
import pytest
import torch
from tiny_mdp import (
    GAMMA,
    LOGITS,
    every_episode,
    exact_advantages,
    exact_return,
    hessian_parts,
    probabilities,
)
from torch.func import grad, hessian, vmap

from bomrl_lite.rollout.returns import (
    dice_objective,
    discounted_pasts,
    discounted_returns,
    discounted_sums,
    generalised_advantages,
    linear_baseline,
    loaded_dice_objective,
    magic_box,
)
from bomrl_lite.types import Rollout

N, B, T, O = 2, 5, 6, 3  # noqa: E741
DOUBLE = {"dtype": torch.float64}
LENGTHS = torch.tensor([[6, 4, 1, 6, 3], [2, 6, 6, 5, 1]])
TERMINATED = torch.tensor([[True, False, True, False, True], [False, False, True, True, False]])
NAN = float("nan")


def draw(seed: int, *shape: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, **DOUBLE)


def ragged(padding: float = 0.0, terminated: torch.Tensor = TERMINATED) -> Rollout:
    """Episodes of all lengths, some cut off; ``padding`` stands after their ends."""
    mask = (torch.arange(T) < LENGTHS[..., None]).double()
    fill = lambda x: torch.where(  # noqa: E731
        mask.reshape(N, B, T, *[1] * (x.ndim - 3)) > 0, x, padding
    )
    numbers = [fill(draw(i, N, B, T, *size)) for i, size in enumerate([(O,), (2,), (), ()])]
    return Rollout(*numbers, mask, draw(5, N, B, O), terminated)


def by_episode(function) -> torch.Tensor:
    """Fill [N, B, T] with what ``function(n, b, length)`` lists for each episode; 0 after it."""
    result = torch.zeros(N, B, T, **DOUBLE)
    for n, b in np.ndindex(N, B):
        length = int(LENGTHS[n, b])
        result[n, b, :length] = torch.tensor(function(n, b, length), **DOUBLE)
    return result


def returns_by_hand(rollout, gamma, final_values=None) -> torch.Tensor:
    def episode(n, b, length):
        following, result = 0.0, []
        if final_values is not None and not rollout.terminated[n, b]:
            following = final_values[n, b].item()
        for t in reversed(range(length)):
            following = rollout.rewards[n, b, t].item() + gamma * following
            result.append(following)
        return result[::-1]

    return by_episode(episode)


def close(got, expected, tolerance=1e-12):
    torch.testing.assert_close(got, expected, rtol=tolerance, atol=tolerance)


# --- returns and advantages -----------------------------------------------------------------------


@pytest.mark.parametrize("start", [0, 1, 2])
@pytest.mark.parametrize("discount", [0.0, 0.7, 1.0])
def test_sums_over_the_future_and_the_past(discount, start):
    x = draw(0, 2, 3, T)
    future, past = torch.zeros_like(x), torch.zeros_like(x)
    for t in range(T):
        for u in range(T):
            if u - t >= start:
                future[..., t] += discount ** (u - t) * x[..., u]
                past[..., u] += discount ** (u - t) * x[..., t]
    close(discounted_sums(x, discount, start=start), future)
    close(discounted_pasts(x, discount, start=start), past)


@pytest.mark.parametrize("discount", [-0.1, 1.1, NAN])
def test_a_discount_outside_its_range_is_refused(discount):
    for function in (discounted_sums, discounted_pasts):
        with pytest.raises(ValueError, match=r"must be in \[0, 1\]"):
            function(draw(0, 1, T), discount)


@pytest.mark.parametrize("gamma", [0.0, 0.9, 1.0])
def test_returns_are_those_of_a_loop_and_only_cut_episodes_go_on(gamma):
    rollout, final = ragged(), draw(9, N, B)
    close(discounted_returns(rollout, gamma), returns_by_hand(rollout, gamma))
    got = discounted_returns(rollout, gamma, final_values=final)
    close(got, returns_by_hand(rollout, gamma, final))
    close(
        discounted_returns(Rollout(*(x[1] for x in rollout)), gamma, final_values=final[1]), got[1]
    )


@pytest.mark.parametrize("trace", [0.0, 0.6, 1.0])
def test_advantages_are_those_of_a_loop(trace):
    rollout, values, final = ragged(), draw(8, N, B, T), draw(9, N, B)

    def episode(n, b, length):
        v = [*values[n, b, :length].tolist(), 0.0 if TERMINATED[n, b] else final[n, b].item()]
        r = rollout.rewards[n, b].tolist()
        errors = [r[t] + GAMMA * v[t + 1] - v[t] for t in range(length)]
        return [
            sum((GAMMA * trace) ** (u - t) * errors[u] for u in range(t, length))
            for t in range(length)
        ]

    expected = by_episode(episode)
    got = generalised_advantages(rollout, values, final, gamma=GAMMA, trace=trace)
    close(got, expected)
    if trace == 1:
        close(got, returns_by_hand(rollout, GAMMA, final) - values * rollout.mask)


@pytest.mark.parametrize("terminated", [TERMINATED, torch.ones_like(TERMINATED)])
def test_padding_is_never_read(terminated):
    """Not a bit changes, whatever stands there: nan would be seen at once."""
    results = []
    for padding in (0.0, NAN, 1e30):
        rollout = ragged(padding, terminated)
        values = torch.where(rollout.mask > 0, draw(8, N, B, T), padding)
        final = torch.where(terminated, padding, draw(9, N, B))  # unread where an episode ended
        after = torch.where(terminated[..., None], padding, rollout.final_observations)
        fitted, fitted_final = linear_baseline(rollout._replace(final_observations=after), GAMMA)
        results.append(
            [
                discounted_returns(rollout, GAMMA),
                discounted_returns(rollout, GAMMA, final_values=final),
                generalised_advantages(rollout, values, final, gamma=GAMMA, trace=0.9),
                fitted,
                torch.where(terminated, 0.0, fitted_final),
            ]
        )
    for other in results[1:]:
        assert all(torch.equal(x, y) for x, y in zip(results[0], other, strict=True))
    for x in results[0][:4]:
        assert (x[ragged().mask == 0] == 0).all()


# --- the linear baseline --------------------------------------------------------------------------


def features_by_hand(observation, step, timed: bool) -> np.ndarray:
    o, t = np.clip(observation, -10, 10), step / 100
    return np.concatenate([o, o**2, [t, t**2, t**3] if timed else [], [1]])


def fit_by_hand(rollout: Rollout, n: int, gamma: float, ridge: float):
    """Ridge regression of task n as an ordinary least-squares problem with more rows.

    Repeated with the returns that the fit before it gives cut episodes, until nothing changes.
    """
    timed = bool(rollout.terminated.all())
    seen, last = rollout.observations[n].numpy(), rollout.final_observations[n].numpy()
    steps = [(b, t) for b in range(B) for t in range(LENGTHS[n, b])]
    x = np.array([features_by_hand(seen[step], step[1], timed) for step in steps])
    after = np.array([features_by_hand(last[b], LENGTHS[n, b].item(), timed) for b in range(B)])
    after *= ~rollout.terminated[n].numpy()[:, None]
    pull = np.sqrt(ridge * len(steps)) * np.eye(x.shape[1])
    final = torch.zeros(N, B, **DOUBLE)
    for _ in range(100):
        returns = returns_by_hand(rollout, gamma, final)[n].numpy()
        target = np.concatenate([[returns[step] for step in steps], np.zeros(len(pull))])
        weights = np.linalg.lstsq(np.concatenate([x, pull]), target, rcond=None)[0]
        final[n] = torch.tensor(after @ weights)
    values = np.zeros((B, T))
    for step, row in zip(steps, x, strict=True):
        values[step] = row @ weights
    return values, final[n].numpy()


@pytest.mark.parametrize("ends", ["some", "all"])
def test_the_baseline_is_ridge_regression_task_by_task(ends):
    terminated = torch.ones_like(TERMINATED) if ends == "all" else TERMINATED
    assert ends == "all" or not terminated.all(-1).any()  # every task has a cut episode
    rollout = ragged(terminated=terminated)
    rollout = rollout._replace(observations=6 * rollout.observations)  # some beyond the clip at 10
    assert rollout.observations.abs().max() > 10
    values, final = linear_baseline(rollout, GAMMA, ridge=1e-2)
    for n in range(N):
        expected = fit_by_hand(rollout, n, GAMMA, 1e-2)
        np.testing.assert_allclose(values[n], expected[0], rtol=1e-8, atol=1e-8)
        np.testing.assert_allclose(final[n], expected[1], rtol=1e-8, atol=1e-8)
        alone = linear_baseline(Rollout(*(x[n] for x in rollout)), GAMMA, ridge=1e-2)
        close(values[n], alone[0], 1e-10)
        close(final[n], alone[1], 1e-10)


@pytest.mark.parametrize(("cut", "gamma"), [(False, 0.9), (True, 0.9), (True, 0.99)])
def test_a_value_function_that_is_linear_in_the_features_is_found(cut, gamma):
    """Rewards are made so that V is the exact return, beyond the cut of cut episodes too."""
    seen = torch.rand(40, 9, O, generator=torch.Generator().manual_seed(0), **DOUBLE)
    features = [
        [features_by_hand(o, t, not cut) for t, o in enumerate(row)] for row in seen.numpy()
    ]
    value = torch.tensor(np.array(features)) @ draw(3, 2 * O + (1 if cut else 4))
    following = value[:, 1:].clone()
    if not cut:
        following[:, -1] = 0.0
    shape = (40, 8)
    rollout = Rollout(
        seen[:, :8],
        torch.zeros(*shape, 1),
        torch.zeros(shape, **DOUBLE),
        value[:, :8] - gamma * following,
        torch.ones(shape, **DOUBLE),
        seen[:, 8],
        torch.full((40,), not cut),
    )
    got, final = linear_baseline(rollout, gamma, ridge=1e-14)
    close(got, value[:, :8], 1e-6)
    close(final, value[:, 8] if cut else torch.zeros(40, **DOUBLE), 1e-6)


def test_single_precision_keeps_the_ridge_of_many_large_observations():
    seen = 10 * draw(0, 3, 20, 100, 60).float()
    seen[..., 20:] = 0
    rewards, ends = draw(1, 3, 20, 100).float(), torch.zeros(3, 20, dtype=torch.bool)
    rollout = Rollout(seen, seen, rewards, rewards, torch.ones_like(rewards), seen[:, :, 0], ends)
    single = linear_baseline(rollout, 0.99)
    assert single[0].dtype == single[1].dtype == torch.float32
    wide = Rollout(*(x.double() if x.is_floating_point() else x for x in rollout))
    for got, expected in zip(single, linear_baseline(wide, 0.99), strict=True):
        torch.testing.assert_close(got.double(), expected, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("padding", [0, -7, 99])
def test_numbered_states_are_unit_vectors(padding):
    generator = torch.Generator().manual_seed(0)
    states = torch.randint(4, (N, B, T), generator=generator)
    last = torch.randint(5, (N, B), generator=generator)
    last[0, 1] = 4  # a state that only a final observation has
    vectors = ragged()._replace(
        observations=torch.eye(5, **DOUBLE)[states], final_observations=torch.eye(5, **DOUBLE)[last]
    )
    numbered = vectors._replace(
        observations=states.where(vectors.mask > 0, padding), final_observations=last
    )
    pairs = zip(linear_baseline(numbered, GAMMA), linear_baseline(vectors, GAMMA), strict=True)
    for got, expected in pairs:
        close(got, expected, 1e-10)


def test_a_cut_is_not_the_end_of_the_world():
    """Reward 1 for ever is worth 1 / (1 - gamma) everywhere, though only 20 steps were seen."""
    shape = (2, 6, 20)
    seen = torch.rand(*shape, 2, generator=torch.Generator().manual_seed(0), **DOUBLE)
    ones = torch.ones(shape, **DOUBLE)
    rollout = Rollout(
        seen, seen, ones, ones, ones, seen[:, :, 0], torch.zeros(2, 6, dtype=torch.bool)
    )
    values, final = linear_baseline(rollout, 0.99, ridge=1e-10)
    close(values, torch.full(shape, 100.0, **DOUBLE), 1e-4)
    close(final, torch.full((2, 6), 100.0, **DOUBLE), 1e-4)


# --- DiCE -----------------------------------------------------------------------------------------


def test_the_magic_box_is_one_and_each_derivative_one_more_score():
    x = torch.tensor(0.7, **DOUBLE)
    score, bend = torch.cos(x), -torch.sin(x)
    box = lambda y: magic_box(torch.sin(y))  # noqa: E731
    assert box(x) == 1
    close(grad(box)(x), score)
    close(grad(grad(box))(x), score**2 + bend)


def in_expectation(objective):
    """logits -> E over all episodes of objective(log-probabilities, rewards, advantages).

    The chances of the episodes are those of LOGITS: numbers, as in sampling.
    """
    rollout, _ = every_episode()
    taken, chances = rollout.mask > 0, probabilities()
    states, actions = (x.where(taken, 0) for x in (rollout.observations, rollout.actions))
    rewards, advantages = rollout.rewards.where(taken, 0.0), exact_advantages(rollout)

    def expected(logits):
        log_probs = logits.log_softmax(-1)[states, actions].where(taken, 0.0)
        return chances @ vmap(objective)(log_probs, rewards, advantages)

    return expected


def errors(objective, order: int) -> float:
    derivative = hessian if order == 2 else grad
    got, exact = (derivative(f)(LOGITS) for f in (in_expectation(objective), exact_return))
    return ((got - exact).norm() / exact.norm()).item()


def dice(trace):
    return lambda x, rewards, _: dice_objective(x, rewards, gamma=GAMMA, causal_trace=trace)


def loaded(trace):
    return lambda x, _, gains: loaded_dice_objective(x, gains, gamma=GAMMA, causal_trace=trace)


def test_every_episode_is_there_and_the_parts_of_the_hessian_add_up():
    assert probabilities().sum().item() == pytest.approx(1, abs=1e-14)
    parts = hessian_parts()
    total = parts["H1"] + parts["H2"] + parts["H12"] + parts["H12"].T
    close(total, hessian(exact_return)(LOGITS).reshape(4, 4))


def test_dice_has_the_value_and_the_derivatives_of_the_return():
    assert in_expectation(dice(1.0))(LOGITS).item() == pytest.approx(exact_return(LOGITS).item())
    assert errors(dice(1.0), 1) < 1e-12
    assert errors(dice(1.0), 2) < 1e-12

    def through_the_third(f):
        return grad(lambda x: hessian(f)(x).square().sum())(LOGITS)

    close(through_the_third(in_expectation(dice(1.0))), through_the_third(exact_return))


def test_loaded_dice_has_the_derivatives_of_the_return():
    assert in_expectation(loaded(1.0))(LOGITS).item() == pytest.approx(0, abs=1e-15)
    assert errors(loaded(1.0), 1) < 1e-12
    assert errors(loaded(1.0), 2) < 1e-12


def test_forgotten_causes_are_a_bias():
    """Rewards need all causes, for the first derivative too; advantages for the second only."""
    assert errors(dice(0.5), 1) > 0.05
    assert errors(dice(0.5), 2) > 0.05
    assert errors(loaded(0.5), 1) < 1e-12
    biases = [errors(loaded(trace), 2) for trace in (0.0, 0.5, 0.9)]
    assert biases[0] > biases[1] > biases[2] > 1e-3


def test_loaded_dice_without_causes_keeps_h1_and_h2():
    """The baseline takes nothing away from them, nor from a cause of the past: trace = 0 is LVC."""
    parts = hessian_parts()
    got = hessian(in_expectation(loaded(0.0)))(LOGITS).reshape(4, 4)
    close(got, parts["H1"] + parts["H2"])


def test_objectives_are_means_over_episodes():
    x, y = -draw(0, 4, T).abs(), draw(1, 4, T)
    for f in (dice_objective, loaded_dice_objective):
        slope = grad(lambda z, f=f: f(z, y, gamma=GAMMA, causal_trace=0.7))(x)
        for b in range(4):
            alone = grad(lambda z, f=f, b=b: f(z, y[b : b + 1], gamma=GAMMA, causal_trace=0.7))(
                x[b : b + 1]
            )
            close(4 * slope[b : b + 1], alone)
