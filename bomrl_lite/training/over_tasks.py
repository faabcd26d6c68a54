"""A function of one task over the tasks of an iteration, on as many processors as there are."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar, cast

import torch
from torch import Tensor
from torch.func import vmap

from bomrl_lite.physics.threads import one_thread_for_torch, processors

SAMPLES = 10_000
"""Of one part of the tasks on a processor: the outputs of a layer of 64 units take 2.6 MB there and
stay in its cache, while the calls of torch still cost little beside their work."""

Result = TypeVar("Result")


def over_tasks(function: Callable[..., Result], *batches: Any, samples: Tensor) -> Result:
    """Return vmap(function)(*batches), computed part by part.

    The parts depend on the sizes alone and each is computed on one thread, so the bits are the same
    on any number of processors. Memory is that of the parts that are computed at once.

    Args:
        function: of one task.
        batches: tensors, or dictionaries and tuples of tensors, each with a leading N.
        samples: [N, ...], one entry a sample; a part keeps under :data:`SAMPLES` of them where it
            can. On a GPU there is one part.
    """
    num = len(samples)
    size = num if samples.is_cuda else max(1, SAMPLES // max(1, samples[0].numel()))
    batched = vmap(function)
    starts = range(0, num, size)
    if len(starts) == 1:
        return batched(*batches)

    def part(start: int) -> Result:
        def rows(x: Tensor) -> Tensor:
            return x[start : start + size]

        return batched(*(_each(rows, batch) for batch in batches))

    with one_thread_for_torch():
        if processors() == 1:
            results = [part(start) for start in starts]
        else:
            with ThreadPoolExecutor(processors()) as pool:
                results = list(pool.map(part, starts))
    return cast("Result", _each(_joined, *results))


def _joined(*leaves: Tensor) -> Tensor:
    return torch.cat(leaves)


def _each(function: Callable[..., Tensor], *trees: Any) -> Any:
    """Apply a function to the tensors that stand in the same place of trees of one shape."""
    first = trees[0]
    if isinstance(first, Tensor):
        return function(*trees)
    if isinstance(first, dict):
        names = cast("dict[str, Any]", first)
        return {name: _each(function, *(tree[name] for tree in trees)) for name in names}
    leaves = [_each(function, *branches) for branches in zip(*trees, strict=True)]
    return type(first)(*leaves) if hasattr(first, "_fields") else type(first)(leaves)
