"""The ladder on samples: ready batches, and what each rung keeps, summed over every episode."""

import numpy as np
import pytest
import torch
from conftest import random_logits, random_task, relative_error, solve_task, stack
from tiny_mdp import GAMMA, LOGITS, every_episode, exact_advantages, exact_return, hessian_parts
from tiny_mdp import probabilities as probabilities_of_episodes
from torch.func import grad, hessian, jacrev, vmap

from bomrl_lite.adaptation.objective import surrogate_objective
from bomrl_lite.policies.networks import gaussian_mlp, over_states, tabular_softmax
from bomrl_lite.rollout.collect import collect
from bomrl_lite.rollout.data import (
    DATA_FUNCTIONS,
    SAMPLE_FUNCTIONS,
    OneTimeData,
    SampleBatch,
    counted_data,
    frozen_samples,
    full_data,
    policy_at,
    sample_batch,
)
from bomrl_lite.rollout.returns import linear_baseline
from bomrl_lite.tasks.tabular import TabularSimulator
from bomrl_lite.types import Rollout

N, B, T, O, K = 2, 4, 6, 3, 2  # noqa: E741
DOUBLE = {"dtype": torch.float64}
LENGTHS = torch.tensor([[6, 4, 1, 6], [2, 6, 5, 3]])
TERMINATED = torch.tensor([[True, False, True, False], [False, True, True, False]])
NAN = float("nan")
GAUSSIAN = gaussian_mlp(O, K, hidden=(4,), **DOUBLE)
TABULAR = over_states(tabular_softmax(2, 2))
RUNGS = pytest.mark.parametrize("rung", SAMPLE_FUNCTIONS)
WITH_A_HORIZON = {"q_gradient", "full"}
"""The rungs that need a discount."""


def draw(seed: int, *shape: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, **DOUBLE)


def ragged(padding: float = 0.0) -> Rollout:
    mask = (torch.arange(T) < LENGTHS[..., None]).double()
    fill = lambda x: torch.where(  # noqa: E731
        mask.reshape(N, B, T, *[1] * (x.ndim - 3)) > 0, x, padding
    )
    numbers = [fill(draw(i, N, B, T, *size)) for i, size in enumerate([(O,), (K,), (), ()])]
    after = torch.where(TERMINATED[..., None], padding, draw(5, N, B, O))
    return Rollout(*numbers, mask, after, TERMINATED)


def one(batch, n=0):
    return type(batch)(*(x[n] for x in batch))


def data_of(rung, phi, batch, policy, gamma=GAMMA, trace=1.0) -> OneTimeData:
    dials = {"gamma": gamma, "causal_trace": trace} if rung in WITH_A_HORIZON else {}
    return SAMPLE_FUNCTIONS[rung](phi, batch, policy=policy, **dials)


def close(got, expected, tolerance=1e-12):
    torch.testing.assert_close(got, expected, rtol=tolerance, atol=tolerance)


# --- ready batches --------------------------------------------------------------------------------


@pytest.mark.parametrize("baseline", [False, True])
def test_normalised_advantages_have_mean_0_and_deviation_1_in_every_task(baseline):
    batch = sample_batch(ragged(NAN), gamma=GAMMA, baseline=baseline)
    raw = sample_batch(ragged(NAN), gamma=GAMMA, baseline=baseline, normalise=False)
    close(raw.advantages, raw.credit)
    for n in range(N):
        taken = ragged().mask[n].numpy() > 0
        got, before = batch.advantages[n].numpy()[taken], raw.advantages[n].numpy()[taken]
        assert abs(got.mean()) < 1e-14
        assert got.std() == pytest.approx(1, rel=1e-6)
        np.testing.assert_allclose(got, (before - before.mean()) / before.std(), rtol=1e-6)
        credit = batch.credit[n].numpy()[taken]
        np.testing.assert_allclose(credit, before / before.std(), rtol=1e-6)
        alone = sample_batch(one(ragged(NAN), n), gamma=GAMMA, baseline=baseline)
        for field, expected in zip(one(batch, n), alone, strict=True):
            close(field, expected, 1e-10)


@pytest.mark.parametrize("discounted", [False, True])
@pytest.mark.parametrize("numbered", [False, True])
@pytest.mark.parametrize("seed", range(4))
def test_a_task_s_batch_does_not_depend_on_the_other_tasks(seed, numbered, discounted):
    """Whatever the ends and lengths: all ended, all cut, mixed, in tasks of unlike sizes."""
    tasks, generator = 6, torch.Generator().manual_seed(seed)
    lengths = torch.randint(1, T + 1, (tasks, B), generator=generator)
    mask = (torch.arange(T) < lengths[..., None]).double()
    ended = torch.rand(tasks, B, generator=generator) < 0.5
    ended[0], ended[1], ended[2, 0], ended[2, 1] = True, False, True, False
    scales = 10.0 ** torch.arange(-2, tasks - 2, **DOUBLE)[:, None, None]
    seen, last = draw(seed, tasks, B, T, O), draw(seed + 1, tasks, B, O)
    if numbered:  # a state that one task alone has makes every task's unit vectors longer
        seen = torch.randint(3, (tasks, B, T), generator=generator)
        last = torch.randint(3, (tasks, B), generator=generator)
        seen[3, 0, 0] = 7
    rewards = scales * draw(seed + 2, tasks, B, T)
    rollout = Rollout(seen, draw(3, tasks, B, T, K), mask * 0, rewards, mask, last, ended)
    together = sample_batch(rollout, gamma=GAMMA, trace=0.9, discounted=discounted)
    for n in range(tasks):
        alone = sample_batch(one(rollout, n), gamma=GAMMA, trace=0.9, discounted=discounted)
        for field, expected in zip(one(together, n), alone, strict=True):
            close(field, expected, 1e-9)


@pytest.mark.parametrize("gamma", [1.0, 1 - 1e-9])
def test_without_a_discount_a_baseline_needs_episodes_that_end(gamma):
    """Reward 1 a step: what is left to come is known where an episode ends, and infinite else."""
    seen = draw(0, 2, B, T + 1, O)
    ones, ended = torch.ones(2, B, T, **DOUBLE), torch.ones(2, B, dtype=torch.bool)
    rollout = Rollout(seen[:, :, :T], ones[..., None], 0 * ones, ones, ones, seen[:, :, T], ended)
    batch = sample_batch(rollout, gamma=gamma, trace=0.95, normalise=False)
    assert batch.advantages.abs().max() < 0.5
    ended[1] = False
    with pytest.raises(ValueError, match=r"gamma = \S+, and no episode .* ended .*baseline=False"):
        sample_batch(rollout, gamma=gamma)
    returns = sample_batch(rollout, gamma=gamma, baseline=False, normalise=False).advantages
    close(returns[1], torch.arange(T, 0, -1, **DOUBLE).expand(B, T), 1e-6)
    # One end in B: from it the others learn what their cuts are worth, on average (B T - T / 2).
    ended[1, 0] = True
    values, final = linear_baseline(rollout._replace(observations=0 * rollout.observations), gamma)
    close(values[1].mean(), torch.tensor(B * (T + 1) / 2, **DOUBLE), 1e-2)
    assert final[1, 0] == 0


def test_advantages_without_a_baseline_are_returns_and_with_it_less_spread():
    rollout = ragged()
    plain = sample_batch(rollout, gamma=GAMMA, normalise=False, baseline=False).advantages
    for n, b in np.ndindex(N, B):
        rewards = rollout.rewards[n, b, : LENGTHS[n, b]].tolist()
        for t in range(len(rewards)):
            following = sum(GAMMA**k * r for k, r in enumerate(rewards[t:]))
            assert plain[n, b, t].item() == pytest.approx(following, abs=1e-12)
    fitted = sample_batch(rollout, gamma=GAMMA, normalise=False).advantages
    steps = sample_batch(rollout, gamma=GAMMA, normalise=False, trace=0.0).advantages
    assert fitted.square().sum() < 0.5 * plain.square().sum()
    assert not torch.allclose(fitted, steps)


def test_weights_are_shares_of_the_samples_or_of_the_occupancy():
    mask = ragged().mask
    for discounted in (False, True):
        got = sample_batch(ragged(NAN), gamma=GAMMA, discounted=discounted).weights
        for n in range(N):
            worth = [GAMMA**t if discounted else 1.0 for t in range(T)]
            expected = mask[n] * torch.tensor(worth, **DOUBLE)
            close(got[n], expected / expected.sum())
            assert got[n].sum().item() == pytest.approx(1, abs=1e-14)


@pytest.mark.parametrize("baseline", [False, True])
@pytest.mark.parametrize("normalise", [False, True])
@pytest.mark.parametrize("discounted", [False, True])
def test_padding_leaks_into_no_field(baseline, normalise, discounted):
    """Not a bit changes, and what stands at padding is 0."""
    dials = {"gamma": GAMMA, "trace": 0.9, "normalise": normalise, "baseline": baseline}
    first, *others = (
        sample_batch(ragged(x), discounted=discounted, **dials) for x in (0.0, NAN, 1e30)
    )
    for other in others:
        for name, field in other._asdict().items():
            assert torch.equal(field, getattr(first, name)), name
            assert (field[ragged().mask == 0] == 0).all(), name


@RUNGS
def test_padding_leaks_into_no_rung_nor_its_slope(rung):
    """Cutting the last two steps off, which are padding, changes nothing."""
    mask = ragged().mask * (torch.arange(T) < 4)
    batch = one(sample_batch(ragged()._replace(mask=mask), gamma=GAMMA))
    short = one(
        sample_batch(
            Rollout(*(x[:, :, :4] for x in ragged()[:4]), mask[:, :, :4], ragged()[5], TERMINATED),
            gamma=GAMMA,
        )
    )
    phi = GAUSSIAN.init(torch.Generator().manual_seed(0))

    def slope(p, which):
        data = data_of(rung, p, which, GAUSSIAN)
        seen = policy_at(which, GAUSSIAN)
        step = grad(lambda x: surrogate_objective(x, data, policy=seen))(p)
        return sum(leaf.square().sum() for leaf in step.values())

    for got, expected in zip(
        grad(slope)(phi, batch).values(), grad(slope)(phi, short).values(), strict=True
    ):
        close(got, expected, 1e-10)


# --- the rungs ------------------------------------------------------------------------------------


def test_both_ladders_have_the_same_rungs():
    assert list(SAMPLE_FUNCTIONS) == list(DATA_FUNCTIONS)


@RUNGS
def test_every_rung_holds_the_same_numbers(rung):
    """Where phi collected the samples; elsewhere only the live denominator is another."""
    rollout = ragged()
    phi = GAUSSIAN.init(torch.Generator().manual_seed(0))
    rollout = rollout._replace(
        log_probs=GAUSSIAN.distribution(phi, rollout.observations).log_prob(rollout.actions)
    )
    batch = one(sample_batch(rollout, gamma=GAMMA, discounted=True))
    data = data_of(rung, phi, batch, GAUSSIAN, trace=0.7)
    taken = rollout.mask[0].flatten() > 0
    close(data.state_weights, batch.weights.flatten())
    close(data.q_values, batch.advantages.reshape(-1, 1))
    assert torch.equal(data.action_probs, torch.ones(B * T, 1, **DOUBLE))
    close(data.log_probs[taken, 0], rollout.log_probs[0].flatten()[taken])
    moved = {name: leaf + 0.1 for name, leaf in phi.items()}
    there = data_of(rung, moved, batch, GAUSSIAN, trace=0.7)
    close(there.state_weights, data.state_weights)
    close(there.q_values, data.q_values)
    assert torch.equal(there.log_probs, data.log_probs) == (rung != "naive")


KEPT = {
    "naive": {"log_probs"},
    "frozen": set(),
    "q_gradient": {"q_values"},
    "full": {"state_weights", "q_values"},
}


@RUNGS
def test_every_rung_keeps_what_its_name_says(rung):
    """Score by score, in loops; so each of the last three keeps what the one before it does."""
    rollout, _ = every_episode()
    batch = _joined(sample_batch(rollout, gamma=GAMMA, normalise=False, baseline=False))
    trace = 0.7
    slopes = {
        name: jacrev(
            lambda x, n=name: getattr(data_of(rung, {"logits": x}, batch, TABULAR, trace=trace), n)
        )(LOGITS).reshape(*batch.weights.shape, 4)
        for name in OneTimeData._fields
    }
    assert {name for name, slope in slopes.items() if slope.abs().max() > 0} == KEPT[rung]
    probs = LOGITS.softmax(-1)
    score = torch.zeros(*batch.weights.shape, 4, **DOUBLE)
    for index in zip(*torch.nonzero(batch.weights, as_tuple=True), strict=True):
        s, a = batch.observations[index], batch.actions[index]
        score[index][2 * s : 2 * s + 2] = -probs[s]
        score[index][2 * s + a] += 1
    later, before = torch.zeros_like(score), torch.zeros_like(score)
    for t in range(3):
        for u in range(t + 1, 3):
            decay = (GAMMA * trace) ** (u - t)
            later[:, t] += decay * score[:, u] * batch.credit[:, u, None]
            before[:, u] += trace ** (u - t) * score[:, t] * batch.weights[:, u, None]
    for name, expected in (("log_probs", score), ("q_values", later), ("state_weights", before)):
        if name in KEPT[rung]:
            close(slopes[name] * (batch.weights > 0).unsqueeze(-1), expected)


def _joined(batch: SampleBatch) -> SampleBatch:
    """Make the E tasks of one episode one task of E episodes."""
    return SampleBatch(*(x.flatten(0, 1) for x in batch))


def inner_jacobian(rung, batch: SampleBatch, trace: float = 1.0) -> torch.Tensor:
    r"""d/dphi of \nabla_theta L at theta = phi, of one task, [4, 4]."""

    def slope(x):
        data = data_of(rung, {"logits": x}, batch, TABULAR, trace=trace)
        seen = policy_at(batch, TABULAR)
        return grad(lambda y: surrogate_objective({"logits": y}, data, policy=seen))(x)

    return jacrev(slope)(LOGITS).reshape(4, 4)


def size_of(rollout: Rollout) -> torch.Tensor:
    """What the shares of the samples of an episode were divided by, [E]."""
    return (rollout.mask * GAMMA ** torch.arange(3).double()).sum((-1, -2))


def expected_jacobian(rung, *, trace=1.0, advantages=None, discounted=True) -> torch.Tensor:
    """Average over every episode; the share of a sample in its episode is scaled back."""
    rollout, _ = every_episode()
    batch = sample_batch(
        rollout, gamma=GAMMA, normalise=False, discounted=discounted, baseline=False
    )
    if advantages is not None:
        batch = batch._replace(advantages=advantages, credit=advantages)
    size = size_of(rollout)
    each = vmap(lambda b: inner_jacobian(rung, b, trace))(batch)
    return torch.einsum("e,eij->ij", probabilities_of_episodes() * size, each)


def parts_kept() -> dict[str, torch.Tensor]:
    parts = hessian_parts()
    frozen = parts["H1"] + parts["H2"]
    return {
        "naive": parts["H2"],
        "frozen": frozen,
        "q_gradient": frozen + parts["H12"],
        "full": frozen + parts["H12"] + parts["H12"].T,
    }


@pytest.mark.parametrize("gains", ["returns", "advantages"])
def test_in_expectation_the_rungs_are_the_four_parts_of_the_hessian(gains):
    """With returns or advantages alike, but for H2 alone: E[b(s) H2] is 0 only together with H1."""
    advantages = exact_advantages(every_episode()[0]) if gains == "advantages" else None
    exact = hessian(exact_return)(LOGITS).reshape(4, 4)
    errors = []
    for rung, expected in parts_kept().items():
        got = expected_jacobian(rung, advantages=advantages)
        right = relative_error(got, expected) < 1e-10
        assert right == (rung != "naive" or gains == "returns"), rung
        errors.append(relative_error(got, exact))
    assert errors[3] < 1e-10
    if gains == "returns":
        assert errors[0] > errors[1] > errors[2] > 0.05


def test_a_truncated_horizon_is_a_bias_between_two_rungs():
    kept = parts_kept()
    for rung in WITH_A_HORIZON:
        gaps = [
            relative_error(expected_jacobian(rung, trace=trace), kept[rung])
            for trace in (0.0, 0.5, 0.9)
        ]
        assert gaps[0] > gaps[1] > gaps[2] > 1e-3
        assert relative_error(expected_jacobian(rung, trace=0.0), kept["frozen"]) < 1e-10


@pytest.mark.parametrize("trace", [0.5, 1.0])
def test_the_part_of_the_visits_is_the_transpose_of_the_part_of_q_in_every_episode(trace):
    """With discounted weights, episode by episode, not only on average."""
    rollout, _ = every_episode()
    batch = sample_batch(rollout, gamma=GAMMA, normalise=False, discounted=True, baseline=False)
    frozen, q_gradient, full = (
        vmap(lambda b, r=rung: inner_jacobian(r, b, trace))(batch)
        for rung in ("frozen", "q_gradient", "full")
    )
    assert (q_gradient - frozen).norm() > 0.1
    close(full - q_gradient, (q_gradient - frozen).mT)


def test_the_slope_of_the_surrogate_is_the_policy_gradient():
    rollout, _ = every_episode()
    batch = sample_batch(rollout, gamma=GAMMA, normalise=False, discounted=True, baseline=False)
    size = size_of(rollout)

    def slope(b):
        data = frozen_samples({"logits": LOGITS}, b, policy=TABULAR)
        seen = policy_at(b, TABULAR)
        return grad(lambda y: surrogate_objective({"logits": y}, data, policy=seen))(LOGITS)

    got = torch.einsum("e,esa->sa", probabilities_of_episodes() * size, vmap(slope)(batch))
    close(got, grad(exact_return)(LOGITS))


# --- sufficient statistics ------------------------------------------------------------------------


def test_counts_are_the_average_over_samples_when_the_policy_is_counted_too():
    rollout = Rollout(*(x.flatten(0, 1) for x in every_episode()[0]))
    log_probs = LOGITS.log_softmax(-1)
    data = counted_data(rollout, log_probs, gamma=GAMMA, known_policy=False)
    policy = tabular_softmax(2, 2)
    for seed in range(3):
        theta = draw(seed, 2, 2).log_softmax(-1)
        total = weight = 0.0
        for b in range(len(rollout.mask)):
            length = int(rollout.mask[b].sum())
            rewards = rollout.rewards[b, :length].tolist()
            for t in range(length):
                index = rollout.observations[b, t], rollout.actions[b, t]
                following = sum(GAMMA**k * r for k, r in enumerate(rewards[t:]))
                ratio = (theta[index] - log_probs[index]).exp().item()
                total += GAMMA**t * ratio * following
                weight += GAMMA**t
        got = surrogate_objective({"logits": theta}, data, policy=policy)
        assert got.item() == pytest.approx(total / weight, rel=1e-12)


@pytest.mark.parametrize("seed", [0, 1])
def test_counts_of_many_episodes_are_the_exact_data(seed):
    """Within 3 standard errors, those of ratios of means over independent episodes."""
    task, logits, gamma, episodes = random_task(seed), random_logits(seed), 0.6, 4000
    simulator = TabularSimulator(stack([task]), episodes, 40)
    policy, phi = tabular_softmax(5, 3), {"logits": logits}
    stacked = {"logits": logits[None]}
    rollout = one(
        collect(simulator, over_states(policy), stacked, torch.Generator().manual_seed(1))
    )
    data = counted_data(rollout, policy.log_probs(phi), gamma=gamma)
    exact = full_data(phi, task, policy=policy, gamma=gamma)
    nu, q, _ = solve_task(logits.softmax(-1), task, gamma)
    close(exact.q_values, q)

    pairs = torch.nn.functional.one_hot(3 * rollout.observations + rollout.actions, 15).double()
    discounts = gamma ** torch.arange(40).double()
    visits = torch.einsum("bti,t->bi", pairs, discounts)
    returns = torch.stack([rollout.rewards[:, t:] @ discounts[: 40 - t] for t in range(40)], 1)
    surplus = torch.einsum("bti,t,bt->bi", pairs, discounts, returns) - visits * q.flatten()
    bounds_q = 3 * surplus.std(0) * episodes**0.5 / visits.sum(0)
    assert ((data.q_values - q).flatten().abs() < bounds_q).all()
    shares = (1 - gamma) * visits.reshape(-1, 5, 3).sum(-1)
    assert ((data.state_weights - nu).abs() < 3 * shares.std(0) / episodes**0.5).all()
    assert bounds_q.max() < 0.5
    close(data.action_probs, exact.action_probs)
    close(data.log_probs, exact.log_probs)
    counted = counted_data(rollout, policy.log_probs(phi), gamma=gamma, known_policy=False)
    frequencies = visits.reshape(-1, 5, 3).sum(0) / visits.reshape(-1, 5, 3).sum((0, 2))[:, None]
    close(counted.action_probs, frequencies)


def test_actions_and_states_never_seen():
    """Two steps in state 0, one cut off at once in state 2; state 1 is never entered."""
    rollout = Rollout(
        torch.tensor([[0, 0], [2, 99]]),
        torch.tensor([[0, 1], [1, -5]]),
        torch.zeros(2, 2, **DOUBLE),
        torch.tensor([[1.0, 4.0], [7.0, NAN]], **DOUBLE),
        torch.tensor([[1.0, 1.0], [1.0, 0.0]], **DOUBLE),
        torch.tensor([0, 2]),
        torch.tensor([False, False]),
    )
    log_probs = draw(0, 3, 3).log_softmax(-1)
    data = counted_data(rollout, log_probs, gamma=0.5)
    value = (3.0 + 0.5 * 4.0) / 1.5  # of state 0: G_0 = 1 + 0.5 * 4 with weight 1, G_1 = 4 with .5
    expected = [[3.0, 4.0, value], [0.0, 0.0, 0.0], [7.0, 7.0, 7.0]]
    close(data.q_values, torch.tensor(expected, **DOUBLE))
    close(data.state_weights, torch.tensor([1.5, 0.0, 1.0], **DOUBLE) / 2.5)
    close(data.action_probs, log_probs.exp())
    counted = counted_data(rollout, log_probs, gamma=0.5, known_policy=False)
    frequencies = [[2 / 3, 1 / 3, 0.0], [0.0, 0.0, 0.0], [0.0, 1.0, 0.0]]
    close(counted.action_probs, torch.tensor(frequencies, **DOUBLE))


def test_tasks_are_counted_together_under_vmap():
    """As the stored experiment of lesson 03b does; values cannot be looked at there."""
    task, logits = random_task(0), random_logits(0)
    policy = tabular_softmax(5, 3)
    simulator = TabularSimulator(stack([task, task]), 3, 4)
    phis = {"logits": torch.stack([logits, logits])}
    rollout = collect(simulator, over_states(policy), phis, torch.Generator().manual_seed(0))
    log_probs = policy.log_probs({"logits": logits})
    together = vmap(lambda *fields: counted_data(Rollout(*fields), log_probs, gamma=0.5))(*rollout)
    for index in range(2):
        alone = counted_data(Rollout(*(x[index] for x in rollout)), log_probs, gamma=0.5)
        for one_of_both, expected in zip(together, alone, strict=True):
            close(one_of_both[index], expected)


@pytest.mark.parametrize("field", ["observations", "actions"])
@pytest.mark.parametrize("change", [torch.Tensor.double, lambda x: x[..., :1]])
def test_only_numbered_states_and_actions_of_one_task_are_counted(field, change):
    numbers = {"observations": torch.zeros(2, 3).long(), "actions": torch.ones(2, 3).long()}
    numbers[field] = change(numbers[field])
    rest = (torch.zeros(2, 3), torch.zeros(2, 3), torch.ones(2, 3))
    after, over = torch.zeros(2).long(), torch.zeros(2).bool()
    rollout = Rollout(*numbers.values(), *rest, final_observations=after, terminated=over)
    with pytest.raises(ValueError, match=rf"rollout.{field} must be numbered, \[B, T\], got"):
        counted_data(rollout, torch.zeros(2, 2), gamma=0.5)
