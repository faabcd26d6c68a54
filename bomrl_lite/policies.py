"""Parametrised policies, each a record of pure functions."""

import torch
from jaxtyping import Float
from torch import Tensor

from bomrl_lite.types import Params, TabularPolicy


def tabular_softmax(
    num_states: int, num_actions: int, *, dtype: torch.dtype = torch.float64
) -> TabularPolicy:
    """Return pi(a | s) = exp(phi[s, a]) / sum_b exp(phi[s, b]) with one logit per state and action.

    It starts as the uniform policy. Adding a constant to all logits of a state changes nothing.
    """
    if num_states < 1 or num_actions < 1:
        raise ValueError(f"need at least 1 state and 1 action, got {num_states} and {num_actions}")

    def init(generator: torch.Generator) -> Params:
        shape, device = (num_states, num_actions), generator.device
        return {"logits": torch.zeros(shape, dtype=dtype, device=device)}

    def log_probs(params: Params) -> Tensor:
        shapes = {name: tuple(leaf.shape) for name, leaf in params.items()}
        if shapes != {"logits": (num_states, num_actions)}:
            raise ValueError(
                f"this policy's parameters are one tensor 'logits' of shape "
                f"{(num_states, num_actions)}, got {shapes}"
            )
        return torch.log_softmax(params["logits"], dim=-1)

    return TabularPolicy(init, log_probs, free_logits=True)


def linear_softmax(features: Float[Tensor, "S A d"]) -> TabularPolicy:
    """Return pi(a | s) proportional to exp(<features[s, a], w>): softmax with shared weights.

    States share the d weights, so what is learnt in one changes the others: function approximation.
    It starts as the uniform policy. Parameters are ``{"weights": [d]}``.

    Args:
        features: one vector per state and action, finite.
    """
    if features.ndim != 3 or 0 in features.shape or not torch.isfinite(features).all():
        raise ValueError(
            f"features must be finite numbers [S, A, d], none of the three 0, got "
            f"{tuple(features.shape)}"
        )
    size = features.shape[-1:]

    def init(generator: torch.Generator) -> Params:
        return {"weights": torch.zeros(size, dtype=features.dtype, device=generator.device)}

    def log_probs(params: Params) -> Tensor:
        shapes = {name: tuple(leaf.shape) for name, leaf in params.items()}
        if shapes != {"weights": tuple(size)}:
            raise ValueError(
                f"this policy's parameters are one tensor 'weights' of shape {tuple(size)}, "
                f"got {shapes}"
            )
        return torch.log_softmax(features @ params["weights"], dim=-1)

    return TabularPolicy(init, log_probs)
