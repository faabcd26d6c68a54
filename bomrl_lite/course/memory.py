"""How much memory a computation needs at once, counted in the bytes of its tensors.

The operating system's figures move in pages and depend on what ran before; this count does not,
and it is the same on every machine.
"""

import gc
import weakref
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


def peak_bytes(work: Callable[[], object]) -> int:
    """Run ``work`` once and return the largest number of bytes that its tensors held at any time.

    Counted is every storage that an operation of torch creates while ``work`` runs, from that
    operation until nothing refers to the storage any more: results, and what is kept for a
    derivative, on every device. A view adds nothing. Tensors that existed before are not counted,
    nor is the scratch memory that one operation uses inside itself, nor copies through numpy.

    Python's cycle collector rests meanwhile, so that the figure does not depend on when it would
    have come by: memory that only it could free counts as held.

    Args:
        work: takes nothing; what it returns is dropped.
    """
    collecting = gc.isenabled()
    gc.disable()
    counter = _LiveBytes()
    try:
        with counter:
            work()
    finally:
        if collecting:
            gc.enable()
    return counter.peak


class _LiveBytes(TorchDispatchMode):
    """Follows every storage from the operation that makes it to its end."""

    def __init__(self) -> None:
        super().__init__()
        self.held = self.peak = 0
        self._sizes: dict[int, int] = {}
        self._references: dict[int, weakref.ref[torch.UntypedStorage]] = {}

    def __torch_dispatch__(
        self,
        func: Callable[..., Any],
        types: object,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Run one operation and count the storages that it leaves behind."""
        kwargs = kwargs or {}
        given = {id(storage) for storage in _storages((args, kwargs))}
        result = func(*args, **kwargs)
        for storage in _storages((result, args, kwargs)):
            # What an operation was given is its own only if it is counted already (resized).
            if id(storage) in self._sizes or id(storage) not in given:
                self._count(storage)
        self.peak = max(self.peak, self.held)
        return result

    def _count(self, storage: torch.UntypedStorage) -> None:
        key, size = id(storage), storage.nbytes()
        if key not in self._sizes:
            self._references[key] = weakref.ref(storage, lambda _: self._release(key))
        self.held += size - self._sizes.get(key, 0)
        self._sizes[key] = size

    def _release(self, key: int) -> None:
        del self._references[key]
        self.held -= self._sizes.pop(key)


def _storages(tree: object) -> Iterator[torch.UntypedStorage]:
    """Yield the storage of every tensor in nested tuples, lists and dictionaries."""
    for leaf in tree_leaves(tree):
        if isinstance(leaf, torch.Tensor) and leaf.layout is torch.strided:
            yield leaf.untyped_storage()
