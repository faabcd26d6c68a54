"""Parametrised policies, each a record of pure functions."""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from bomrl_lite.policies.distributions import Categorical, Gaussian
from bomrl_lite.require import checked, require_finite
from bomrl_lite.types import Params, Policy, TabularPolicy

HEAD = ("head.weight", "head.bias")
"""Names of the parameters of the linear head of a network."""


@checked()
def tabular_softmax(
    num_states: int, num_actions: int, *, dtype: torch.dtype = torch.float64
) -> TabularPolicy:
    """Return pi(a | s) = exp(phi[s, a]) / sum_b exp(phi[s, b]) with one logit per state and action.

    It starts as the uniform policy. Adding a constant to all logits of a state changes nothing.

    Args:
        num_states: S >= 1.
        num_actions: A >= 1.
        dtype: of the logits, ``{"logits": [S, A]}``.

    Raises:
        ValueError: no state or no action; and later, parameters of other names or shapes.
    """

    @checked()
    def init(generator: torch.Generator) -> Params:
        shape = (num_states, num_actions)
        return {"logits": torch.zeros(shape, dtype=dtype, device=generator.device)}

    @checked()
    def log_probs(params: Params) -> Tensor:
        shapes = {name: tuple(leaf.shape) for name, leaf in params.items()}
        if shapes != {"logits": (num_states, num_actions)}:
            raise ValueError(
                f"this policy's parameters are one tensor 'logits' of shape "
                f"{(num_states, num_actions)}, got {shapes}"
            )
        return torch.log_softmax(params["logits"], dim=-1)

    return _over_a_table(init, log_probs, free_logits=True)


@checked()
def linear_softmax(features: Float[Tensor, "S A d"]) -> TabularPolicy:
    """Return pi(a | s) proportional to exp(<features[s, a], w>): softmax with shared weights.

    States share the d weights, so what is learnt in one changes the others: function approximation.
    It starts as the uniform policy. Parameters are ``{"weights": [d]}``.

    Args:
        features: one vector per state and action, [S, A, d], finite.

    Raises:
        ValueError: features that are not finite or not [S, A, d]; and later, parameters of other
            names or shapes.
    """
    require_finite("features", features)
    size = features.shape[-1:]

    @checked()
    def init(generator: torch.Generator) -> Params:
        return {"weights": torch.zeros(size, dtype=features.dtype, device=generator.device)}

    @checked()
    def log_probs(params: Params) -> Tensor:
        shapes = {name: tuple(leaf.shape) for name, leaf in params.items()}
        if shapes != {"weights": tuple(size)}:
            raise ValueError(
                f"this policy's parameters are one tensor 'weights' of shape {tuple(size)}, "
                f"got {shapes}"
            )
        return torch.log_softmax(features @ params["weights"], dim=-1)

    return _over_a_table(init, log_probs)


@checked()
def gaussian_mlp(
    observation_size: int,
    action_size: int,
    *,
    hidden: Sequence[int] = (64, 64),
    log_std: float = 0.0,
    log_std_range: tuple[float, float] = (-3.0, 1.0),
    head_scale: float = 1.0,
    dtype: torch.dtype = torch.float32,
) -> Policy:
    r"""Return pi(a | s) = N(mu_phi(s), sigma_phi^2), mu a tanh network, sigma without a state.

    Parameters: ``body.i.weight`` and ``body.i.bias`` of every hidden layer, ``head.weight``
    [K, d] and ``head.bias`` [K] of the linear head, and ``log_std`` [K].

    Args:
        observation_size: O >= 1.
        action_size: K >= 1.
        hidden: widths of the hidden layers; none makes mu linear.
        log_std: where log sigma starts.
        log_std_range: log sigma is clamped to it, so that no gradient step can end exploration.
        head_scale: factor of the head's first weights; a small one starts with means near 0.
        dtype: of the parameters; that of the observations.

    Raises:
        ValueError: ``log_std`` outside its range, or a width below 1; and later, observations of
            another dtype.
    """
    low, high = log_std_range
    if not low <= log_std <= high:
        raise ValueError(f"log_std must lie in log_std_range, got {log_std} and {log_std_range}")
    network = _mlp(observation_size, action_size, hidden, dtype)

    @checked()
    def init(generator: torch.Generator) -> Params:
        params = network.init(generator)
        params["head.weight"] *= head_scale
        start = torch.full((action_size,), log_std, dtype=dtype, device=generator.device)
        return {**params, "log_std": start}

    def with_mean(mean: Tensor, params: Params) -> Gaussian:
        return Gaussian(mean, params["log_std"].clamp(low, high).expand_as(mean))

    @checked()
    def distribution(params: Params, observations: Float[Tensor, "*M O"]) -> Gaussian:
        return with_mean(network.output(params, observations), params)

    def of_features(params: Params, features: Tensor) -> Gaussian:
        return with_mean(network.head(params, features[..., :-1]), params)

    return Policy(init, distribution, HEAD, network.features, of_features)


@checked()
def categorical_mlp(
    observation_size: int,
    num_actions: int,
    *,
    hidden: Sequence[int] = (64, 64),
    dtype: torch.dtype = torch.float32,
) -> Policy:
    """Return pi(a | s) = softmax of a tanh network with one output per action.

    Parameters as those of :func:`gaussian_mlp`, without ``log_std``.

    Args:
        observation_size: O >= 1.
        num_actions: A >= 1.
        hidden: widths of the hidden layers.
        dtype: of the parameters; that of the observations.

    Raises:
        ValueError: a width below 1; and later, observations of another dtype.
    """
    network = _mlp(observation_size, num_actions, hidden, dtype)

    @checked()
    def distribution(params: Params, observations: Float[Tensor, "*M O"]) -> Categorical:
        return Categorical(torch.log_softmax(network.output(params, observations), dim=-1))

    def of_features(params: Params, features: Tensor) -> Categorical:
        return Categorical(torch.log_softmax(network.head(params, features[..., :-1]), dim=-1))

    return Policy(network.init, distribution, HEAD, network.features, of_features)


@checked()
def over_states(policy: TabularPolicy) -> Policy:
    """Return a tabular policy as one that reads state numbers, so that it can collect samples."""

    @checked()
    def distribution(params: Params, states: Int[Tensor, "*M"]) -> Categorical:
        return Categorical(policy.log_probs(params)[states])

    return Policy(policy.init, distribution)


def _over_a_table(
    init: Callable[[torch.Generator], Params],
    log_probs: Callable[[Params], Tensor],
    *,
    free_logits: bool = False,
) -> TabularPolicy:
    """Give a policy the divergence that its table of all actions [S, A] holds."""

    def divergence(first: Params, second: Params) -> Tensor:
        return Categorical(log_probs(first)).kl(Categorical(log_probs(second)))

    return TabularPolicy(init, log_probs, divergence, free_logits)


class _Network(NamedTuple):
    init: Callable[[torch.Generator], Params]
    features: Callable[[Params, Tensor], Tensor]
    head: Callable[[Params, Tensor], Tensor]
    output: Callable[[Params, Tensor], Tensor]


def _mlp(num_inputs: int, num_outputs: int, hidden: Sequence[int], dtype: torch.dtype) -> _Network:
    """Return a tanh network with a linear head, initialised as by Glorot and Bengio (2010)."""
    sizes = (num_inputs, *hidden, num_outputs)
    names = [f"body.{i}" for i in range(len(hidden))] + ["head"]

    @checked()
    def init(generator: torch.Generator) -> Params:
        params: Params = {}
        device = generator.device
        for name, fan_in, fan_out in zip(names, sizes, sizes[1:], strict=False):
            bound = math.sqrt(6 / (fan_in + fan_out))
            shape = (fan_out, fan_in)
            uniform = torch.rand(shape, generator=generator, dtype=dtype, device=device)
            params[f"{name}.weight"] = bound * (2 * uniform - 1)
            params[f"{name}.bias"] = torch.zeros(fan_out, dtype=dtype, device=device)
        return params

    def body(params: Params, x: Tensor) -> Tensor:
        for name in names[:-1]:
            x = torch.tanh(_layer(params, name, x))
        return x

    def features(params: Params, x: Tensor) -> Tensor:
        h = body(params, x)
        # With a constant 1 at the end the head is one matrix, its bias the last column.
        return torch.cat([h, torch.ones_like(h[..., :1])], dim=-1)

    def head(params: Params, h: Tensor) -> Tensor:
        return _layer(params, "head", h)

    def output(params: Params, x: Tensor) -> Tensor:
        return head(params, body(params, x))

    return _Network(init, features, head, output)


def _layer(params: Params, name: str, x: Tensor) -> Tensor:
    """Return W x + b of one layer, [..., fan_out].

    Raises:
        ValueError: parameters of other names, or x is of another dtype or size than they are.
    """
    if f"{name}.weight" not in params or f"{name}.bias" not in params:
        raise ValueError(f"params must hold {name}.weight and {name}.bias, got {list(params)}")
    weight, bias = params[f"{name}.weight"], params[f"{name}.bias"]
    if x.shape[-1] != weight.shape[-1]:
        raise ValueError(
            f"the input of layer {name} must have {weight.shape[-1]} numbers in its last axis, got "
            f"{tuple(x.shape)}"
        )
    if x.dtype != weight.dtype:
        raise ValueError(
            f"the network's parameters are {weight.dtype} but its input is {x.dtype}: make the "
            f"policy with dtype={x.dtype}, or its tasks of tensors that are {weight.dtype}"
        )
    return x @ weight.mT + bias
