"""Derivatives of a function that runs in another process: each one is another request to it."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch._C._functorch import is_gradtrackingtensor  # no public way to ask

from bomrl_lite.types import TabularTask


class Slot:
    """The place of an argument that records a gradient."""

    def __init__(self, place: int) -> None:
        self.place = place


class Call:
    """One request: its answer is known after it was called with the inputs as plain tensors."""

    def __init__(self, afar: Any, args: list[Any], inputs: Sequence[Tensor]) -> None:
        self.afar = afar
        self.request: dict[str, Any] = {
            "args": args,
            "leaves": [x.is_leaf for x in inputs],
            "transformed": any(is_gradtrackingtensor(x) for x in inputs),
        }
        self.sent = "inputs"
        self.first = 0
        self.values: list[Any] = []
        self.flows: list[bool] = []
        self.handle, self.changed = -1, None

    def __call__(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """Ask; return those of the values that are tensors."""
        plain = [x.detach() for x in inputs[self.first :]]
        reply = self.afar.ask(self.request | {self.sent: plain})
        values, handle = reply.get("values"), reply.get("handle")
        if not isinstance(values, list) or not values or type(handle) is not int:
            self.afar.refused = "the answer meddles with the judge: no values"
            self.afar.stop(self.afar.refused)
        self.values, self.handle, self.changed = values or [], handle or 0, reply.get("args")
        flows = self.request.get("transformed", False)
        self.flows = [flows or x.requires_grad for x in self.tensors]
        return tuple(x.detach() for x in self.tensors) if inputs else ()

    @property
    def tensors(self) -> list[Tensor]:
        """Return those of the values that are tensors."""
        return [x for x in self.values if isinstance(x, Tensor)]

    def pull(self, width: int) -> "Call":
        """Return the request for the vector-Jacobian product of this one."""
        back = Call(self.afar, [], ())
        back.request, back.sent, back.first = {"handle": self.handle}, "cotangents", width
        return back


class Differentiable(torch.autograd.Function):
    """A call whose derivative is another call, as often as is asked for."""

    @staticmethod
    def forward(call: Call, *inputs: Tensor) -> tuple[Tensor, ...]:
        """Ask; under torch.func the inputs come here as plain tensors."""
        return call(*inputs)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        """Keep what the way back needs, and say where none leads."""
        call, *tensors = inputs
        ctx.call = call
        ctx.save_for_backward(*tensors)
        pairs = zip(output, call.flows, strict=True)
        ctx.mark_non_differentiable(*(x for x, flows in pairs if not flows))

    @staticmethod
    def backward(ctx: Any, *cotangents: Tensor) -> tuple[Any, ...]:
        """Ask for the vector-Jacobian product, which can be differentiated again."""
        call, inputs = ctx.call, ctx.saved_tensors
        useful = [c for c, flows in zip(cotangents, call.flows, strict=True) if flows]
        back = call.pull(len(inputs))
        found = iter(Differentiable.apply(back, *inputs, *useful))
        width = len(inputs)
        values = [next(found) if isinstance(x, Tensor) else None for x in back.values]
        fits = [
            value if value is not None and value.shape == x.shape else None
            for value, x in zip(values, inputs, strict=False)
        ]
        return None, *fits[:width], *[None] * (width - len(fits))


def without(arg: Any, inputs: list[Tensor]) -> Any:
    """Take the tensors that record a gradient out of an argument."""
    if isinstance(arg, Tensor) and arg.requires_grad:
        inputs.append(arg)
        return Slot(len(inputs) - 1)
    if isinstance(arg, TabularTask):
        return arg
    if isinstance(arg, list | tuple):
        return type(arg)(without(part, inputs) for part in arg)
    return arg
