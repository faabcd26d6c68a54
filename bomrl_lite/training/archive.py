"""Tensors and plain values in a file: the same values give the same bytes, and damage shows.

A file is torch's archive of one dictionary, read without executing code. It holds a checksum of its
contents: a flipped bit, a change by hand, the tensors of another file are refused.
"""

import hashlib
import io
import pickle
import sys
import zipfile
from collections.abc import Iterator, Mapping
from typing import Any, cast

import torch

Tree = Any
"""Dictionaries, lists, tuples, tensors and plain values, one inside the other."""
CHECKSUM = "checksum"


def pack(content: Mapping[str, Tree]) -> bytes:
    """Return the bytes of a file that holds a dictionary of tensors and plain values."""
    tree = _rebuilt(dict(content))
    buffer = io.BytesIO()
    torch.save({**tree, CHECKSUM: checksum_of(tree)}, buffer)
    return buffer.getvalue()


def unpack(data: bytes) -> dict[str, Tree]:
    """Return what :func:`pack` was given, its tensors on the CPU.

    A file from before there were checksums is taken as it is.

    Raises:
        ValueError: it is no such file, or a damaged one; says which.
    """
    if not data:
        raise ValueError("it is empty")
    if not zipfile.is_zipfile(io.BytesIO(data)):  # on other bytes the unpickler fails in many ways
        raise ValueError("it is no archive of torch's, or was cut short")
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            damaged = archive.testzip()
        if damaged:
            raise ValueError(f"it is damaged at {damaged}")
        content: Tree = torch.load(io.BytesIO(data), weights_only=True, map_location="cpu")
    except _FOREIGN as error:
        raise ValueError(f"torch cannot read it ({type(error).__name__}: {error})") from error
    if not isinstance(content, dict):
        raise ValueError(f"it holds a {type(content).__name__}")
    tree = cast("dict[str, Tree]", content)
    stored = tree.pop(CHECKSUM, None)
    if stored is not None and stored != checksum_of(tree):
        raise ValueError("its contents do not fit its checksum: damaged, or changed by hand")
    return tree


_FOREIGN = (
    LookupError,
    TypeError,
    AttributeError,
    EOFError,
    RuntimeError,
    NotImplementedError,
    pickle.UnpicklingError,
    zipfile.BadZipFile,
)
"""What a file of something else makes Python, zipfile and torch raise, but for a ValueError."""


def checksum_of(tree: Tree) -> str:
    """Return SHA-256 of names, kinds, shapes and values."""
    digest = hashlib.sha256()
    for part in _parts(tree):
        digest.update(len(part).to_bytes(8, "little") + part)
    return digest.hexdigest()


def _parts(tree: Tree) -> Iterator[bytes]:
    if isinstance(tree, torch.Tensor):
        yield f"{tree.dtype} {tuple(tree.shape)}".encode()
        yield tree.detach().cpu().contiguous().numpy().tobytes()
    elif isinstance(tree, dict):
        branches = cast("dict[Any, Tree]", tree)
        yield f"dict {len(branches)}".encode()
        for key, branch in branches.items():
            yield repr(key).encode()
            yield from _parts(branch)
    elif isinstance(tree, list | tuple):
        items = cast("list[Tree]", tree)
        yield f"{type(items).__name__} {len(items)}".encode()
        for branch in items:
            yield from _parts(branch)
    else:
        yield repr(tree).encode()


def _rebuilt(tree: Tree) -> Tree:
    """Return a copy that shares nothing but its texts, each of which is one object.

    An archive refers back to objects that it has met: equal values in other objects would give
    other bytes in a run that went on than in one that was never stopped.
    """
    if isinstance(tree, torch.Tensor):
        return tree.detach().cpu().contiguous().clone()
    if isinstance(tree, dict):
        branches = cast("dict[Any, Tree]", tree)
        return {_rebuilt(key): _rebuilt(branch) for key, branch in branches.items()}
    if isinstance(tree, list | tuple):
        copies = [_rebuilt(branch) for branch in cast("list[Tree]", tree)]
        return copies if isinstance(tree, list) else tuple(copies)
    return sys.intern(str(tree)) if isinstance(tree, str) else tree
