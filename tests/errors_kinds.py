"""What is bad for each kind of argument: told by a value that is good, and by its name."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

NAN, INF = float("nan"), float("inf")

POSITIVE, NOT_NEGATIVE, SHARE = (0.0, -1.0, INF), (-1.0, INF), (-0.1, 1.1, INF)
RANGES = {
    **dict.fromkeys(("lam", "delta", "step_size", "max_change", "smoothness", "top"), POSITIVE),
    **dict.fromkeys(("ridge", "head_ridge", "a_max", "rtol"), NOT_NEGATIVE),
    **dict.fromkeys(("trace", "causal_trace", "discount", "gamma"), SHARE),
    "tolerance": (0.0, -1.0),
    "smoothing": (-0.1, 1.0),
    "clip": (0.0, 1.0, -0.2),
    "ice": (0.0, -0.1, 1.1),
    "width": (0.0, -1.0, 361.0),
}
"""Numbers out of the range of a name, beside those that are bad for all."""

EXACT = ("mdp", "theory", "meta", "objective.policy", "gradient.gradient_step", "metrics", "solve")
"""Where a discount of 1 has no finite sum."""

FROM_0 = ("num_steps", "halvings", "start", "seed")
"""Counts that may be 0."""

OPTIONAL = (
    ("episodes.sampled_meta_gradient", "score"),
    ("episodes.ratio_objective", "clip"),
    ("settings.alg_on_samples", "tolerance"),
    ("solve.solved_adaptation", "solver"),
    ("natural.natural_adaptation", "head_ridge"),
    ("natural.region_adaptation", "head_ridge"),
    ("returns.discounted_returns", "final_values"),
    ("navigation.PointSimulator", "horizon"),
    ("locomotion.LocomotionSimulator", "horizon"),
)
"""What may be None."""
DOCUMENTED = (
    ("theory.lower_bound", "lam"),  # -lam makes the bound one from above
    ("objective.adaptation_objective", "lam"),  # 0 is L itself
    ("maximize.bisect", "iterations"),  # 0 is the middle
    ("tasks.make_tasks", "name"),  # its own message names all
    ("tabular.tabular_tasks", "name"),  # a text of any kind
    ("locomotion.LocomotionSimulator", "tasks"),  # of any record
    ("locomotion.robot_tasks", "integrator"),  # refused where a simulator is made
    ("locomotion.robot_tasks", "backend"),
)
"""What takes more than its kind."""


def bad_values(function: str, name: str, good: Any) -> list[Any]:
    """What an argument that works with ``good`` must not be."""
    if name == "labels":
        return [None, 3, "maml"]
    if name == "values" and isinstance(good, list):
        return [None, "text", [], ["a"], [NAN], 3.0, [[1.0]]]
    if (function, name) in DOCUMENTED:
        return []
    bad = next(of(name, good) for kind, of in BY_KIND.items() if isinstance(good, kind))
    if (function, name) in OPTIONAL:
        bad.remove(None)
    return [*bad, 1.0] if name == "gamma" and function.startswith(EXACT) else bad


def bad_tensors(name: str, good: Tensor) -> list[Any]:
    other = good.long() if good.is_floating_point() else good.double()
    empty = good.new_zeros((0,) * max(1, good.ndim))
    return [None, "text", 1.5, good.numpy(), good.tolist(), other, empty]


def bad_params(name: str, good: dict[str, Tensor]) -> list[Any]:
    key, leaf = next(iter(good.items()))
    leaves = (None, leaf.numpy(), leaf.tolist(), 1.0, leaf.long())
    return [None, "text", leaf, list(good), {}, *({**good, key: x} for x in leaves)]


def bad_numbers(name: str, good: float) -> list[Any]:
    tensors = [torch.ones(2), torch.tensor(NAN), torch.tensor(-1.0)][: 3 if name == "lam" else 2]
    return [None, "1", NAN, -INF, [1.0], True, 1j, np.ones(2), *tensors, *RANGES.get(name, (INF,))]


def bad_counts(name: str, good: int) -> list[Any]:
    return [None, "3", 2.5, 2.0, True, NAN, [1], 2**70, -1, *(() if name in FROM_0 else (0,))]


def bad_records(name: str, good: Any) -> list[Any]:
    if not hasattr(good, "_fields"):
        return [None, 8, 1.5, *([] if name == "before" else ["text"])]
    tensors = {k: x for k, x in good._asdict().items() if isinstance(x, Tensor)}
    spoiled = [good._replace(**{k: y}) for k, x in tensors.items() for y in (None, x.numpy())]
    return [None, "text", tuple(good), good._asdict(), *spoiled]


BY_KIND: dict[Any, Callable[[str, Any], list[Any]]] = {
    Tensor: bad_tensors,
    dict: bad_params,
    torch.Generator: lambda name, good: [None, 0, "0", np.random.default_rng(0), torch.random],
    bool: lambda name, good: [None, "no", 2, 0.5, [True]],
    float: bad_numbers,
    int: bad_counts,
    str: lambda name, good: [None, 3.5, ["a"], *(["zz"] if name != "summary" else [])],
    torch.dtype: lambda name, good: [None, "float64", torch.int64, float],
    tuple | list: bad_records,
    object: lambda name, good: [None, "text", 3, [good]],
}
