"""What goes over the socket between the grader and an answer: JSON, then raw bytes of tensors.

Nothing that arrives can run: numbers, texts, lists and tensors come out, or :class:`Garbled`. Both
sides use this file; in the worker it stands alone, so it imports nothing of the package.
"""

import json
import math
import socket
import struct
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

MOST_BYTES, MOST_TEXT, MOST_DIMS = 64 << 20, 4 << 20, 16
DTYPES = {
    str(dtype): dtype
    for dtype in (
        *(torch.float64, torch.float32, torch.float16, torch.complex128, torch.complex64),
        *(torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8, torch.bool),
    )
}

Special = Callable[[Any], dict[str, Any]]
"""Writes what is no number, text, list, tuple or tensor."""
Revive = Callable[[dict[str, Any]], Any]
"""Reads what Special has written."""


class Garbled(Exception):  # noqa: N818 - a verdict
    """What has arrived is no message."""


def send(sock: socket.socket, tree: Any, special: Special) -> None:
    """Send a tree of values."""
    raw: list[bytes] = []
    text = json.dumps(_pack(tree, raw, special)).encode()
    blob = b"".join(raw)
    sock.sendall(struct.pack("<QQ", len(text), len(blob)) + text + blob)


def receive(sock: socket.socket, revive: Revive, deadline: float | None = None) -> Any:
    """Return the next tree.

    Raises:
        EOFError: the other side has gone.
        Garbled: it sent something else than a tree, or too much.
        TimeoutError: nothing has come until the deadline, in seconds of time.monotonic.
    """
    sizes = struct.unpack("<QQ", _read(sock, 16, deadline))
    if sizes[0] > MOST_TEXT or sizes[1] > MOST_BYTES:
        raise Garbled(f"a message of {sum(sizes)} bytes")
    text, blob = (_read(sock, size, deadline) for size in sizes)
    try:
        return _unpack(json.loads(text), _Reader(blob), revive)
    except (ValueError, TypeError, KeyError, RecursionError, RuntimeError, OverflowError) as error:
        raise Garbled(f"{type(error).__name__}: {error}"[:200]) from None


def _read(sock: socket.socket, size: int, deadline: float | None) -> bytes:
    found = bytearray()
    while len(found) < size:
        if deadline is not None:
            sock.settimeout(max(1e-3, deadline - time.monotonic()))
        try:
            part = sock.recv(min(size - len(found), 1 << 20))
        except ConnectionError:
            part = b""
        if not part:
            raise EOFError
        found += part
        if deadline is not None and time.monotonic() > deadline:
            raise TimeoutError
    return bytes(found)


class _Reader:
    """Gives the bytes of a message away, part by part."""

    def __init__(self, blob: bytes) -> None:
        self.blob, self.place = blob, 0

    def take(self, size: int) -> bytes:
        part = self.blob[self.place : self.place + size]
        if size < 0 or len(part) != size:
            raise ValueError("fewer bytes than announced")
        self.place += size
        return part


def _pack(value: Any, raw: list[bytes], special: Special) -> Any:
    if value is None or type(value) in (bool, int, float, str):
        return value
    if type(value) is list or type(value) is tuple:
        return [type(value).__name__, *(_pack(part, raw, special) for part in value)]
    if isinstance(value, bytes):
        raw.append(value)
        return {"bytes": len(value)}
    if isinstance(value, Tensor):
        plain = value.detach().as_subclass(Tensor).resolve_conj().resolve_neg().cpu().contiguous()
        raw.append(plain.numpy().tobytes())
        flags = [bool(value.requires_grad), value.is_leaf and value.grad is not None]
        return {"tensor": str(plain.dtype), "shape": list(plain.shape), "flags": flags}
    if type(value) is dict:
        return {"dict": {str(k): _pack(part, raw, special) for k, part in value.items()}}
    return _pack(special(value), raw, special)


def _unpack(tree: Any, raw: _Reader, revive: Revive) -> Any:
    if isinstance(tree, list):
        kind, *parts = tree
        return {"list": list, "tuple": tuple}[kind](_unpack(part, raw, revive) for part in parts)
    if not isinstance(tree, dict):
        return tree
    if "bytes" in tree:
        return raw.take(tree["bytes"])
    if "dict" in tree:
        found = {k: _unpack(part, raw, revive) for k, part in tree["dict"].items()}
        return revive(found) if "special" in found else found
    shape, dtype = tree["shape"], DTYPES[tree["tensor"]]
    if len(shape) > MOST_DIMS or not all(type(n) is int and n >= 0 for n in shape):
        raise ValueError("no shape")
    array = np.frombuffer(
        raw.take(math.prod(shape) * dtype.itemsize), str(dtype).removeprefix("torch.")
    )
    tensor = torch.from_numpy(array.copy()).reshape(shape)
    wants, holds = tree["flags"]
    if wants is True and (tensor.is_floating_point() or tensor.is_complex()):
        tensor.requires_grad_()
        tensor.grad = torch.zeros_like(tensor) if holds is True else None
    return tensor
