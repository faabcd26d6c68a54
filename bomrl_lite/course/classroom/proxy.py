"""A learner's function as the grader sees it: called and differentiated here, run afar."""

import builtins
import inspect
import io
import signal
import socket
import sys
import time
from collections.abc import Callable
from types import FunctionType
from typing import Any, NoReturn

import cloudpickle
import numpy as np
import torch
from torch import Tensor

from bomrl_lite.course.checks.engine import Function
from bomrl_lite.course.classroom import wire
from bomrl_lite.course.classroom.derivatives import Call, Differentiable, Slot, without
from bomrl_lite.course.classroom.sandbox import Ended, Worker, WorkerLost
from bomrl_lite.types import TabularTask

WALL_FACTOR, WALL_SECONDS = 4.0, 10.0
"""Wall clock allowed: so much of the processor time, and so much more."""


class Stopped(Exception):  # noqa: N818 - shown to the learner under this name
    """The answer's process is no more, or may not go on."""


class Afar:
    """The process of one answer, asked over a socket.

    Args:
        worker: that forks it.
        job: what the process defines, and its limits.
    """

    def __init__(self, worker: Worker, job: dict[str, Any]) -> None:
        self.worker, self.limit = worker, float(job["seconds"])
        self.deadline = time.monotonic() + WALL_FACTOR * self.limit + WALL_SECONDS
        self.sock: socket.socket | None = worker.fork()
        self.stopped: str | None = None
        self.refused: str | None = None
        self.lost = False
        """Whether the worker has gone with it."""
        self.functions: list[Function] = []
        try:
            wire.send(self.sock, job, self._write)
        except OSError:
            self.close()

    def ask(self, request: dict[str, Any] | None) -> dict[str, Any]:
        """Return the answer to a request, after serving the calls back that it needs."""
        if self.stopped is not None or self.sock is None:
            raise Stopped(self.stopped or "the answer has ended")
        try:
            if request is not None:
                wire.send(self.sock, request, self._write)
            while True:
                reply = wire.receive(self.sock, _read, self.deadline)
                if not isinstance(reply, dict):
                    raise wire.Garbled("no reply")
                if "call" not in reply:
                    break
                wire.send(self.sock, self._call_back(reply), self._write)
        except (EOFError, OSError) as error:  # TimeoutError is one
            self.stop("time" if isinstance(error, TimeoutError) else None)
        except wire.Garbled as error:
            self.refused = f"the answer meddles with the judge: {error}"
            self.stop(self.refused)
        if "error" in reply:
            raise self.exception(reply)
        return reply

    def close(self) -> Ended | None:
        """End the process; a second time does nothing."""
        if self.sock is None:
            return None
        self.sock.close()
        self.sock = None
        try:
            return self.worker.end()
        except WorkerLost:
            self.lost, self.refused = True, "the answer has ended the judge's worker"
            return None

    def stop(self, reason: str | None) -> NoReturn:
        """End the process, and say so at this and every later call."""
        ended = self.close() or Ended(0, 0.0)
        if reason == "time":
            reason = f"no answer after {WALL_FACTOR * self.limit + WALL_SECONDS:.0f} s of waiting"
        elif reason is None and ended.seconds >= 0.9 * self.limit:
            reason = f"more than {self.limit:.0f} s of processor time: a loop that does not end?"
        elif reason is None and ended.signal not in (0, signal.SIGKILL):
            reason = f"the process was ended by {signal.Signals(ended.signal).name}"
        self.stopped = reason or "the process of the answer has ended before it had answered"
        raise Stopped(self.stopped)

    def _call_back(self, reply: dict[str, Any]) -> dict[str, Any]:
        place, args = reply["call"], reply.get("args")
        if type(place) is not int or not 0 <= place < len(self.functions):
            raise wire.Garbled("no such function")
        if not isinstance(args, list):
            raise wire.Garbled("no arguments")
        try:
            return {"value": self.functions[place](*args)}
        except Exception as error:
            return {"error": str(error)[:2000]}

    def exception(self, reply: dict[str, Any]) -> Exception:
        """Make an exception of the same name as the learner's, and as good as the same kind."""
        names = reply["error"]
        if not (isinstance(names, list) and names and all(isinstance(n, str) for n in names)):
            names = ["Exception"]
        if names[0] == "SystemExit":
            raise SystemExit
        if names[0] == "Lent":
            self.refused = str(reply.get("message"))
        known = (getattr(builtins, name, None) for name in names)
        kinds = (k for k in known if isinstance(k, type) and issubclass(k, Exception))
        kind = next(kinds, Exception)
        name = names[0] if names[0].isidentifier() else "Exception"
        message = str(reply.get("message"))
        # some exceptions take no text alone, such as UnicodeDecodeError
        text = {"__init__": lambda self: None, "__str__": lambda self: message}
        error = type(name, (kind,), text)()
        error.learners_line = str(reply.get("line") or "")
        return error

    def _write(self, value: Any) -> dict[str, Any]:
        if isinstance(value, TabularTask):
            return {"special": "task", "fields": list(value)}
        if isinstance(value, np.generic):
            return {"special": "number", "type": value.dtype.name, "value": value.item()}
        if isinstance(value, FunctionType):
            return {"special": "function", "code": _shipped(value)}
        if isinstance(value, Slot):
            return {"special": "slot", "place": value.place}
        self.functions.append(value)
        return {"special": "call back", "place": len(self.functions) - 1}

    def __call__(self, *args: Any) -> Any:
        """Call the learner's function; a differentiable answer comes back differentiable."""
        inputs: list[Tensor] = []
        call = Call(self, [without(arg, inputs) for arg in args], inputs)
        if inputs:
            found = Differentiable.apply(call, *inputs)
            return found[0] if call.tensors else call.values[0]
        call()
        changed = call.changed
        if isinstance(changed, list):
            for old, new in zip(args, changed, strict=False):
                _restore(old, new)
        return call.values[0]


def _restore(old: Any, new: Any) -> None:
    """Do to the caller's arguments what the answer has done to its copies."""
    if isinstance(old, Tensor) and isinstance(new, Tensor):
        old.data = new.detach().clone()
        if new.requires_grad:
            old.requires_grad_()
            old.grad = None if new.grad is None else torch.zeros_like(old)
    elif isinstance(old, list | tuple) and isinstance(new, list | tuple):
        for one, other in zip(old, new, strict=False):
            _restore(one, other)
        if isinstance(old, list):
            old[:] = [*old, *list(new)[len(old) :]][: len(new)]


def _read(tree: dict[str, Any]) -> Any:
    """Stand in for what the answer returned and the wire does not carry."""
    if tree["special"] == "task":
        fields = tree.get("fields")
        return tuple(fields) if isinstance(fields, list) else None
    name = str(tree.get("type"))
    body: dict[str, Callable[..., Any]] = (
        {"__call__": lambda self, *_: None} if tree.get("callable") is True else {}
    )
    return type(name if name.isidentifier() else "object", (), body)()


class _Bare(cloudpickle.Pickler):
    """Pickles functions without their decorators, which may stand on what the worker lacks."""

    def reducer_override(self, obj: Any) -> Any:
        """Take a function for what it wraps."""
        return super().reducer_override(
            inspect.unwrap(obj) if isinstance(obj, FunctionType) else obj
        )


def _shipped(function: FunctionType) -> bytes:
    """Pickle a function with its code: the worker has no module to import it from."""
    module, written = sys.modules[inspect.unwrap(function).__module__], io.BytesIO()
    cloudpickle.register_pickle_by_value(module)
    try:
        _Bare(written).dump(inspect.unwrap(function))
    finally:
        cloudpickle.unregister_pickle_by_value(module)
    return written.getvalue()
