"""The untrusted side: a warm interpreter that forks for every answer and lends it its calls.

Runs as a script in a folder of its own, with ``wire`` and ``limits`` beside it. The parent holds
no answer, no oracle and no other submission; it forks, kills and sweeps when the grader says so.
"""

import contextlib
import copy
import importlib
import importlib.abc
import inspect
import linecache
import os
import shutil
import signal
import socket
import sys
import traceback
from typing import Any

import cloudpickle
import numpy as np
import torch
from torch import Tensor

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
wire: Any = importlib.import_module("wire")
limits: Any = importlib.import_module("limits")


class Lent(Exception):  # noqa: N818 - a verdict
    """An answer has asked for a solution of the package."""


class OnlyWhatIsLent(importlib.abc.MetaPathFinder):
    """Refuses every part of the package that is not in the worker's folder."""

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> None:
        """Refuse, or leave the search to the others."""
        room = name.split(".")[1:2]
        here = os.path.join(HERE, "bomrl_lite", *room)
        if name.startswith("bomrl_lite.") and not os.path.exists(f"{here}.py"):
            raise Lent(f"{name} holds solutions of the package's own: it is not lent in this set")


def main(control: socket.socket, alone: bool) -> None:
    """Fork, kill and sweep as the grader says."""
    child = 0
    while True:
        order, fds, *_ = socket.recv_fds(control, 1, 1)
        if not order:
            return
        if order == b"f":
            child = os.fork()
            if child == 0:
                answer(socket.socket(fileno=fds[0]), control)
            os.close(fds[0])
        elif order == b"k":
            os.kill(child, signal.SIGKILL)
            if alone:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(-1, signal.SIGKILL)  # all that this namespace holds, but the parent
            _, status, used = os.wait4(child, 0)
            sweep("/tmp" if alone else os.getcwd())
            control.sendall(f"{status} {used.ru_utime + used.ru_stime:.3f}".ljust(64).encode())


def sweep(folder: str) -> None:
    """Delete what an answer has left; the worker's own folder cannot be."""
    for entry in os.scandir(folder):
        if entry.is_dir(follow_symlinks=False):
            shutil.rmtree(entry.path, ignore_errors=True)
        else:
            with contextlib.suppress(OSError):
                os.unlink(entry.path)


def answer(sock: socket.socket, control: socket.socket) -> None:
    """Be the process of one answer."""
    try:
        control.close()
        os.setsid()
        null = os.open(os.devnull, os.O_RDWR)
        for fd in (0, 1, 2):
            os.dup2(null, fd)
        os.close(null)
        job = wire.receive(sock, revive(sock))
        limits.confine(job)
        serve(sock, job)
    finally:
        os._exit(0)


def serve(sock: socket.socket, job: dict[str, Any]) -> None:
    """Define the function, then answer calls and pull-backs."""
    space: dict[str, Any] = {"__name__": "__main__"}
    failed: dict[str, Any] | None = None
    for cell, line, source in job["statements"]:
        place, padded = f"<cell {cell}, line {line}>", "\n" * (line - 1) + source + "\n"
        linecache.cache[place] = (len(padded), None, padded.splitlines(keepends=True), place)
        try:
            exec(compile(padded, place, "exec"), space)
        except BaseException as error:
            failed = failed or complaint(error, None)
    function, held = space.get(job["name"], failed), {}
    wire.send(sock, {"ready": callable(function), "is": function}, special)
    while True:
        request = wire.receive(sock, revive(sock))
        try:
            if "cotangents" in request:
                reply = pull(held, request["handle"], request["cotangents"])
            else:
                reply = call(held, function, request)
            wire.send(sock, reply, special)
        except BaseException as error:
            # a name is missing because its own statement has failed: that is the reason to tell
            known = failed if isinstance(error, NameError) else None
            wire.send(sock, known or complaint(error, function), special)


def call(held: dict[int, Any], function: Any, request: dict[str, Any]) -> dict[str, Any]:
    """Call the function; arguments that record a gradient come apart from the others."""
    inputs, args = request["inputs"], request["args"]
    if request["transformed"]:
        value, back, *_ = torch.func.vjp(lambda *xs: function(*_fill(args, xs)), *inputs)
        held[len(held)] = back
        return {"values": [value], "handle": len(held) - 1, "args": None}
    places = request["leaves"]
    inputs = [x.requires_grad_() for x in inputs]
    used = _fill(args, [x if leaf else x.clone() for x, leaf in zip(inputs, places, strict=True)])
    before = copy.deepcopy(args) if not inputs else None
    value = function(*used)
    held[len(held)] = inputs, [value]
    changed = None if inputs or _same(before, used) else used
    return {"values": [value], "handle": len(held) - 1, "args": changed}


def pull(held: dict[int, Any], handle: int, cotangents: list[Tensor]) -> dict[str, Any]:
    """Return the vector-Jacobian product of a call, or of a pull-back before."""
    if callable(held[handle]):
        return {"values": list(held[handle](*cotangents)), "handle": -1}
    inputs, outputs = held[handle]
    outputs = [x for x in outputs if isinstance(x, Tensor) and x.requires_grad]
    cotangents = [x.requires_grad_() for x in cotangents]
    found = torch.autograd.grad(outputs, inputs, cotangents, create_graph=True, allow_unused=True)
    held[len(held)] = [*inputs, *cotangents], list(found)
    return {"values": list(found), "handle": len(held) - 1}


def _fill(tree: Any, inputs: Any) -> Any:
    """Put the arguments that record a gradient in their places."""
    if isinstance(tree, Slot):
        return inputs[tree.place]
    if isinstance(tree, list):
        for i, part in enumerate(tree):
            tree[i] = _fill(part, inputs)
        return tree
    if isinstance(tree, tuple):
        parts = [_fill(part, inputs) for part in tree]
        return type(tree)(*parts) if hasattr(tree, "_fields") else tuple(parts)
    return tree


def _same(before: Any, after: Any) -> bool:
    if isinstance(before, Tensor) and isinstance(after, Tensor):
        kept = not after.requires_grad and after.grad is None and before.dtype == after.dtype
        return kept and before.shape == after.shape and torch.equal(before, after)
    if isinstance(before, list | tuple):
        pairs = zip(before, after, strict=False)
        return len(before) == len(after) and all(_same(x, y) for x, y in pairs)
    return True


class Slot:
    """The place of an argument that records a gradient."""

    def __init__(self, place: int) -> None:
        self.place = place


def revive(sock: socket.socket) -> Any:
    """Return the reader of what the grader sends: records, functions, ways to call it back."""
    from bomrl_lite.types import TabularTask  # the one in the worker's folder

    def read(tree: dict[str, Any]) -> Any:
        kind = tree["special"]
        if kind == "number":
            return np.dtype(tree["type"]).type(tree["value"])
        if kind == "function":
            return cloudpickle.loads(tree["code"])
        if kind == "task":
            return TabularTask(*tree["fields"])
        return Slot(tree["place"]) if kind == "slot" else CallBack(sock, tree["place"])

    return read


class CallBack:
    """A function that stays with the grader."""

    def __init__(self, sock: socket.socket, place: int) -> None:
        self.sock, self.place = sock, place

    def __deepcopy__(self, memo: Any) -> "CallBack":
        return self

    def __call__(self, *args: Any) -> Any:
        """Ask the grader."""
        wire.send(self.sock, {"call": self.place, "args": list(args)}, special)
        reply = wire.receive(self.sock, revive(self.sock))
        if "error" in reply:
            raise RuntimeError(reply["error"])
        return reply["value"]


def special(value: Any) -> dict[str, Any]:
    """Send of what has no place on the wire its type alone."""
    if isinstance(value, tuple) and type(value).__name__ == "TabularTask":
        return {"special": "task", "fields": list(value)}
    return {"special": "other", "type": type(value).__name__, "callable": callable(value)}


def complaint(error: BaseException, function: Any) -> dict[str, Any]:
    """Send of an exception its type, its message and the learner's line."""
    code = getattr(inspect.unwrap(function), "__code__", None) if function else None
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if code and frame.filename == code.co_filename]
    line = f"\n  in line {own[-1].lineno} of your cell: {own[-1].line}".rstrip(": ") if own else ""
    names = [each.__name__ for each in type(error).__mro__]
    return {"error": names, "message": str(error)[:2000], "line": line[:300]}


if __name__ == "__main__":
    limits.hide()
    sys.meta_path.insert(0, OnlyWhatIsLent())
    importlib.import_module("bomrl_lite").warm(Lent)
    torch.set_num_threads(1)
    warm = torch.ones(2, dtype=torch.float64)
    torch.func.vmap(torch.func.hessian(lambda x: (x**3).sum()))(torch.stack([warm, warm]))
    by_itself = sys.argv[2] == "alone" and os.getpid() <= 9  # only where a namespace is ours
    parent = socket.socket(fileno=int(sys.argv[1]))
    parent.sendall(b"r")
    main(parent, by_itself)
