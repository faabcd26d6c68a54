"""Networks over observations against the same networks in numpy, and the views of a policy."""

import numpy as np
import pytest
import torch
from conftest import random_logits
from torch.func import grad, vmap

from bomrl_lite.policies.at_samples import PolicyAtSamples
from bomrl_lite.policies.networks import (
    HEAD,
    categorical_mlp,
    gaussian_mlp,
    linear_softmax,
    over_states,
    tabular_softmax,
)
from bomrl_lite.rollout.collect import repeat
from bomrl_lite.types import Params, Policy, StatePolicy

O, K = 3, 2  # noqa: E741
DOUBLE = {"dtype": torch.float64}
MAKERS = {"gaussian": gaussian_mlp, "categorical": categorical_mlp}
KINDS = pytest.mark.parametrize("kind", MAKERS)
HIDDEN = pytest.mark.parametrize("hidden", [(), (5,), (5, 4)])


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def draw(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=seeded(seed), **DOUBLE)


def shaken(policy: Policy, seed: int = 1) -> Params:
    """Parameters whose biases are not 0 either."""
    params = policy.init(seeded(seed))
    return {name: x + 0.3 * draw(seed + i, *x.shape) for i, (name, x) in enumerate(params.items())}


def network_by_hand(params: Params, x, hidden) -> tuple[np.ndarray, np.ndarray]:
    """Unit by unit: (last hidden layer, outputs) of one observation."""
    numbers = {name: leaf.numpy() for name, leaf in params.items()}
    layer = np.asarray(x)
    for i in range(len(hidden)):
        rows = zip(numbers[f"body.{i}.weight"], numbers[f"body.{i}.bias"], strict=True)
        layer = np.array([np.tanh(row @ layer + bias) for row, bias in rows])
    rows = zip(numbers["head.weight"], numbers["head.bias"], strict=True)
    return layer, np.array([row @ layer + bias for row, bias in rows])


@KINDS
@HIDDEN
def test_the_forward_pass_is_the_one_by_hand(kind, hidden):
    policy = MAKERS[kind](O, K, hidden=hidden, **DOUBLE)
    params, x = shaken(policy), draw(9, 2, 4, O)
    pi = policy.distribution(params, x)
    hand = [network_by_hand(params, row, hidden) for row in x.reshape(-1, O)]
    outputs = torch.tensor(np.array([output for _, output in hand])).reshape(2, 4, K)
    last = torch.tensor(np.array([layer for layer, _ in hand])).reshape(2, 4, -1)
    if kind == "gaussian":
        torch.testing.assert_close(pi.mean, outputs, rtol=1e-12, atol=1e-12)
    else:
        probs = outputs.exp() / outputs.exp().sum(-1, keepdim=True)
        torch.testing.assert_close(pi.log_probs.exp(), probs, rtol=1e-12, atol=1e-12)
    features = policy.features(params, x)
    expected = torch.cat([last, torch.ones(2, 4, 1, **DOUBLE)], -1)
    torch.testing.assert_close(features, expected, rtol=1e-12, atol=1e-12)
    for mine, whole in zip(policy.of_features(params, features), pi, strict=True):
        assert torch.equal(mine, whole)


def test_a_small_head_starts_with_small_means():
    large, small = (
        gaussian_mlp(O, K, hidden=(5,), head_scale=scale, **DOUBLE).init(seeded())
        for scale in (1.0, 0.1)
    )
    torch.testing.assert_close(small["head.weight"], large["head.weight"] / 10)
    assert all(torch.equal(small[k], large[k]) for k in large if k != "head.weight")


@KINDS
@HIDDEN
def test_features_times_the_head_are_the_output(kind, hidden):
    policy = MAKERS[kind](O, K, hidden=hidden, **DOUBLE)
    params, x = shaken(policy), draw(9, 7, O)
    assert policy.head == HEAD
    weight, bias = (params[name] for name in policy.head)
    outputs = policy.features(params, x) @ torch.cat([weight, bias[:, None]], 1).T
    pi = policy.distribution(params, x)
    expected = pi.mean if kind == "gaussian" else pi.log_probs
    got = outputs if kind == "gaussian" else outputs - outputs.logsumexp(-1, keepdim=True)
    torch.testing.assert_close(got, expected, rtol=1e-12, atol=1e-12)


def test_log_std_is_clamped_in_value_and_slope():
    policy = gaussian_mlp(O, 4, hidden=(), log_std=-0.5, log_std_range=(-1.0, 0.25), **DOUBLE)
    params = policy.init(seeded())
    assert torch.equal(params["log_std"], torch.full((4,), -0.5, **DOUBLE))
    params["log_std"] = torch.tensor([-9.0, -0.9, 0.2, 7.0], **DOUBLE)
    read = lambda p: policy.distribution(p, draw(0, 5, O)).log_std  # noqa: E731
    expected = torch.tensor([-1.0, -0.9, 0.2, 0.25], **DOUBLE)
    assert torch.equal(read(params), expected.expand(5, 4))
    slope = grad(lambda p: read(p).sum())(params)["log_std"]
    assert torch.equal(slope, torch.tensor([0.0, 5.0, 5.0, 0.0], **DOUBLE))


@pytest.mark.parametrize("count", [4, 6])
def test_every_task_reads_its_own_parameters(count):
    """With N = B = K too, where a missing axis would go unnoticed."""
    policy = gaussian_mlp(O, 4, hidden=(5,), **DOUBLE)
    each = [shaken(policy, seed) for seed in range(count)]
    stacked = {name: torch.stack([params[name] for params in each]) for name in each[0]}
    x = draw(3, count, 4, O)
    got = vmap(policy.distribution)(stacked, x)
    assert got.mean.shape == got.log_std.shape == (count, 4, 4)
    for n, params in enumerate(each):
        expected = policy.distribution(params, x[n])
        torch.testing.assert_close(got.mean[n], expected.mean, rtol=1e-12, atol=1e-12)
        assert torch.equal(got.log_std[n], params["log_std"].expand(4, 4))


@KINDS
def test_a_start_is_reproducible_bounded_and_fills_its_bounds(kind):
    policy = MAKERS[kind](30, 20, hidden=(64, 40))
    params = policy.init(seeded(7))
    again, other = policy.init(seeded(7)), policy.init(seeded(8))
    sizes = {"body.0": (64, 30), "body.1": (40, 64), "head": (20, 40)}
    names = {f"{layer}.{part}" for layer in sizes for part in ("weight", "bias")}
    assert set(params) == names | ({"log_std"} if kind == "gaussian" else set())
    assert all(torch.equal(leaf, again[name]) for name, leaf in params.items())
    for layer, (fan_out, fan_in) in sizes.items():
        weight, bound = params[f"{layer}.weight"], (6 / (fan_in + fan_out)) ** 0.5
        assert weight.shape == (fan_out, fan_in)
        assert weight.dtype == torch.float32
        assert 0.98 * bound < weight.max() <= bound
        assert -bound <= weight.min() < -0.98 * bound
        # Glorot and Bengio's variance, 2 / (fan_in + fan_out), and its own standard error
        error = 3.5 * bound**2 / 3 * (0.8 / weight.numel()) ** 0.5
        assert abs(weight.square().mean() - 2 / (fan_in + fan_out)) < error
        assert not torch.equal(weight, other[f"{layer}.weight"])
        assert torch.equal(params[f"{layer}.bias"], torch.zeros(fan_out))


@KINDS
@pytest.mark.parametrize("sizes", [(0, 2, (4,)), (3, 0, (4,)), (3, 2, (4, 0))])
def test_a_layer_without_units_is_refused(kind, sizes):
    observations, actions, hidden = sizes
    with pytest.raises(ValueError, match=r"(size|actions|hidden\[1\]) must be at least 1, got 0"):
        MAKERS[kind](observations, actions, hidden=hidden)


@pytest.mark.parametrize("log_std", [-3.1, 1.1, float("nan")])
def test_a_log_std_outside_its_range_is_refused(log_std):
    with pytest.raises(ValueError, match=r"log_std must (lie in log_std_range|be finite), got"):
        gaussian_mlp(O, K, log_std=log_std)


# --- views of a policy ----------------------------------------------------------------------------


def test_a_tabular_policy_over_states_reads_the_row_of_each():
    policy = over_states(tabular_softmax(5, 3))
    assert torch.equal(policy.init(seeded())["logits"], torch.zeros(5, 3, **DOUBLE))
    logits = torch.stack([random_logits(0), random_logits(1)])
    states = torch.tensor([[[0, 4], [2, 2]], [[1, 3], [0, 1]]])
    got = vmap(policy.distribution)({"logits": logits}, states).log_probs
    for n, b, t in np.ndindex(2, 2, 2):
        row = logits[n, states[n, b, t]]
        expected = (row.exp() / row.exp().sum()).log()
        torch.testing.assert_close(got[n, b, t], expected, rtol=1e-12, atol=1e-12)
    assert policy.head == ()
    assert policy.features is None


def test_repeated_parameters_act_alike():
    policy = categorical_mlp(O, K, hidden=(4,), **DOUBLE)
    params, x = shaken(policy), draw(3, 5, O)
    got = vmap(policy.distribution)(repeat(params, 3), x.expand(3, 5, O)).log_probs
    expected = policy.distribution(params, x).log_probs
    torch.testing.assert_close(got, expected.expand(3, 5, K), rtol=1e-12, atol=1e-12)


@KINDS
def test_at_samples_every_visit_is_a_state_with_one_action(kind):
    policy = MAKERS[kind](O, K, hidden=(4,), **DOUBLE)
    first, second, x = shaken(policy, 1), shaken(policy, 20), draw(3, 6, O)
    actions = draw(4, 6, K) if kind == "gaussian" else torch.tensor([0, 1, 1, 0, 1, 0])
    seen = PolicyAtSamples(policy, x, actions)
    assert isinstance(seen, StatePolicy)
    outputs = [
        np.array([network_by_hand(params, row, (4,))[1] for row in x]) for params in (first, second)
    ]
    if kind == "gaussian":
        stds = [params["log_std"].numpy() for params in (first, second)]
        log_probs = -0.5 * ((actions.numpy() - outputs[0]) / np.exp(stds[0])) ** 2
        log_probs = (log_probs - stds[0] - 0.5 * np.log(2 * np.pi)).sum(-1)
        spread = np.exp(2 * stds[0]) + (outputs[0] - outputs[1]) ** 2
        divergence = stds[1] - stds[0] + spread / (2 * np.exp(2 * stds[1])) - 0.5
    else:
        p, q = (np.exp(z) / np.exp(z).sum(-1, keepdims=True) for z in outputs)
        log_probs = np.log(p[np.arange(6), actions.numpy()])
        divergence = p * np.log(p / q)
    got = seen.log_probs(first)
    assert got.shape == (6, 1)
    np.testing.assert_allclose(got[:, 0], log_probs, rtol=1e-12, atol=1e-12)
    apart = seen.divergence(first, second)
    np.testing.assert_allclose(apart, divergence.sum(-1), rtol=1e-10, atol=1e-12)
    assert torch.equal(seen.divergence(first, first), torch.zeros(6, **DOUBLE))
    assert torch.equal(seen.every(4).log_probs(first), got[[0, 4]])
    assert torch.equal(seen.every(4).divergence(first, second), apart[[0, 4]])


@KINDS
def test_observations_of_another_dtype_are_refused_by_name(kind):
    """What a simulator in single precision gives a policy in double precision."""
    policy = MAKERS[kind](O, K, hidden=(), **DOUBLE)
    params = shaken(policy, 1)
    for call in (policy.distribution, policy.features):
        call(params, draw(3, 6, O))
    message = r"parameters are torch.float64 but its input is torch.float32: .*dtype=torch.float32"
    with pytest.raises(ValueError, match=message):
        policy.distribution(params, draw(3, 6, O).float())


def test_a_linear_softmax_is_the_one_by_hand():
    features, weights = draw(0, 4, 3, 2), draw(1, 2)
    got = linear_softmax(features).log_probs({"weights": weights})
    scores = np.exp(features.numpy() @ weights.numpy())
    np.testing.assert_allclose(got.exp(), scores / scores.sum(-1, keepdims=True), rtol=1e-12)


@KINDS
@pytest.mark.parametrize("lost", ["body.0.weight", "body.0.bias", "head.weight", "head.bias"])
def test_a_layer_that_lacks_a_parameter_is_named(kind, lost):
    policy = MAKERS[kind](O, K, hidden=(4,), **DOUBLE)
    params = {name: leaf for name, leaf in shaken(policy).items() if name != lost}
    layer = lost.rpartition(".")[0]
    with pytest.raises(ValueError, match=rf"must hold {layer}.weight and {layer}.bias, got \["):
        policy.distribution(params, draw(3, 6, O))
