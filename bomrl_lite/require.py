"""What is handed in must be; where it is not, one line says so, with the value that came.

Every public function asks here, so that a mistake is answered in the same words everywhere. What
comes back is Python's own int or float: numpy's scalars are taken, for they are exact.

:func:`checked` asks for a whole function, by the types and the names of its arguments.
"""

import inspect
import math
import operator
import sys
import typing
from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial, wraps
from numbers import Real
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, Union, cast

import torch
from torch import Tensor
from torch.func import debug_unwrap

Rule = Callable[[str, Any], Any]
"""(name of an argument, what came) -> the same as the function wants it, or ValueError."""

Function = TypeVar("Function", bound=Callable[..., Any])

MOST_SEED = 2**28 - 1
"""The largest seed: torch's generator reads 32 bits, and a seed has sixteen streams."""


def require_whole(name: str, value: Any, *, least: int = 1, most: int | None = None) -> int:
    """Return a whole number within its bounds.

    Args:
        name: of the argument, for the message.
        value: an integer of Python's or numpy's; a truth value, 2.0 or "2" is none.
        least: smallest that is allowed.
        most: largest that is allowed; None is no bound.

    Raises:
        ValueError: it is no whole number, or out of its bounds.
    """
    try:
        number = operator.index(value)
    except TypeError:
        number = None
    if number is None or isinstance(value, bool):
        raise ValueError(f"{name} must be a whole number, got {described(value)}")
    if number < least:
        raise ValueError(f"{name} must be at least {least}, got {number}")
    if most is not None and number > most:
        raise ValueError(f"{name} must be at most {most}, got {number}")
    return number


def require_seed(value: Any, name: str = "seed") -> int:
    """Return a seed: a whole number in [0, 2^28).

    Raises:
        ValueError: it is none.
    """
    return require_whole(name, value, least=0, most=MOST_SEED)


def require_number(name: str, value: Any) -> float:
    """Return a number that is finite.

    Args:
        name: of the argument, for the message.
        value: a number of Python's or numpy's; a truth value, a text or a tensor is none.

    Raises:
        ValueError: it is no number, infinite or not a number.
    """
    return _within(name, value, math.isfinite, "finite")


def require_positive(name: str, value: Any) -> float:
    """Return a number in (0, inf).

    Raises:
        ValueError: it is none, or out of that range.
    """
    return _within(name, value, lambda x: 0 < x < math.inf, "positive and finite")


def require_not_negative(name: str, value: Any) -> float:
    """Return a number in [0, inf).

    Raises:
        ValueError: it is none, or out of that range.
    """
    return _within(name, value, lambda x: 0 <= x < math.inf, "0 or more and finite")


def require_share(name: str, value: Any) -> float:
    """Return a number in [0, 1].

    Raises:
        ValueError: it is none, or out of that range.
    """
    return _within(name, value, lambda x: 0 <= x <= 1, "in [0, 1]")


def _within(
    name: str, value: Any, fits: Callable[[float], bool], words: str, because: str = ""
) -> float:
    """Return a number that fits; the words say which do."""
    if isinstance(value, bool) or not isinstance(value, Real):
        raise ValueError(f"{name} must be a number, got {described(value)}")
    try:
        number = float(value)
    except OverflowError:  # of a whole number with hundreds of digits
        number = math.inf
    if not fits(number):
        raise ValueError(f"{name} must be {words}, got {described(value)}{because}")
    return number


def require_truth(name: str, value: Any) -> bool:
    """Return a truth value, Python's or numpy's.

    Raises:
        ValueError: it is something else: "no" would count as True.
    """
    if type(value).__name__ not in ("bool", "bool_"):
        raise ValueError(f"{name} must be True or False, got {described(value)}")
    return bool(value)


def require_path(name: str, value: Any) -> Path:
    """Return a path, given as such or as text.

    Raises:
        ValueError: it is neither, or empty.
    """
    if not isinstance(value, str | Path) or not str(value):
        raise ValueError(f"{name} must be a path, got {described(value)}")
    return Path(value)


def require_discount(name: str, value: Any) -> float:
    """Return a number in [0, 1), for which sums over all time are finite.

    Raises:
        ValueError: it is none, or out of that range.
    """
    because = ": at 1 or above the discounted sums are infinite"
    return _within(name, value, lambda x: 0 <= x < 1, "in [0, 1)", because)


def require_tolerance(name: str, value: Any) -> float:
    """Return a number in (0, inf]: an infinite tolerance lets everything pass.

    Raises:
        ValueError: it is none, or out of that range.
    """
    return _within(name, value, lambda x: x > 0, "positive")


MOST_COUNT = 10_000_000
"""Of anything: more is a slip, and would never end or overflow somewhere deep in torch."""

require_size: Rule = partial(require_whole, most=MOST_COUNT)
"""A whole number, 1 or more, that something can be counted with."""
require_count: Rule = partial(require_whole, least=0, most=MOST_COUNT)
"""The same, 0 or more."""


def require_params(name: str, value: Any) -> dict[str, Tensor]:
    """Return parameters: floating-point tensors [...] by name.

    Raises:
        ValueError: they are none.
    """
    if not isinstance(value, dict) or not value:
        raise ValueError(f"{name} must be a dict of tensors by name, got {described(value)}")
    leaves = cast("dict[str, Any]", value)
    for key, leaf in leaves.items():
        if not isinstance(leaf, Tensor) or not leaf.is_floating_point():
            raise ValueError(
                f"{name}[{key!r}] must be a floating-point tensor, got {described(leaf)}"
            )
    return leaves


def require_generator(name: str, value: Any) -> torch.Generator:
    """Return a generator of one's own: None would be torch's global one.

    Raises:
        ValueError: it is none.
    """
    if not isinstance(value, torch.Generator):
        raise ValueError(
            f"{name} must be a torch.Generator, such as torch.Generator().manual_seed(0), got "
            f"{described(value)}"
        )
    return value


def require_dtype(name: str, value: Any) -> torch.dtype:
    """Return a floating-point dtype.

    Raises:
        ValueError: it is none.
    """
    if not isinstance(value, torch.dtype) or not value.is_floating_point:
        raise ValueError(
            f"{name} must be torch.float64 or another floating-point dtype, got {described(value)}"
        )
    return value


def require_finite(name: str, values: Tensor) -> None:
    """Refuse a tensor [...] that holds nan or infinity; it is read, so not under ``vmap``.

    Raises:
        ValueError: it does; the message says where first.
    """
    finite = torch.isfinite(values)
    if not finite.all():
        where = tuple(int(i) for i in torch.nonzero(~finite)[0])
        raise ValueError(f"{name} must be finite, got {values[where]} at index {list(where)}")


def hidden_by_vmap(x: Tensor) -> bool:
    """Tell whether a tensor [...] is a batch that ``vmap`` hides, so that no value can be read.

    What vmap hides is an axis: the tensor underneath has more of them.
    """
    return debug_unwrap(x).ndim > x.ndim


def may_look(x: Tensor) -> bool:
    """Tell whether the numbers of a tensor [...] can be read, and without waiting for a GPU."""
    return x.device.type == "cpu" and not hidden_by_vmap(x)


def described(value: Any) -> str:
    """Show what came, shortly and with its kind where that is not plain to see."""
    if isinstance(value, Tensor) and value.ndim:
        return f"a tensor {tuple(value.shape)} of {value.dtype}"
    if isinstance(value, Tensor) and hidden_by_vmap(value):
        return "a tensor that vmap hides"
    text = " ".join(repr(value).split())
    text = text if len(text) <= 60 else f"{text[:57]}..."
    plain = value is None or isinstance(value, str | int | float | Tensor)
    return text if plain else f"{text} ({type(value).__name__})"


def checked(**rules: Rule) -> Callable[[Function], Function]:
    """Return a decorator: what a function is called with is checked, and taken as it wants it.

    An annotation says which kind of thing an argument must be, its name in which range: ``lam`` is
    positive wherever it stands. A tensor must have the axes that its annotation names, and none of
    size 0. Values of tensors are not read, for ``vmap`` hides them; those of scalars are, where
    they can be. Python itself answers arguments that are missing or unknown.

    Args:
        rules: for arguments whose name stands for another range here, or that no annotation tells.
    """

    def decorate(function: Function) -> Function:
        arguments = inspect.signature(function).parameters.values()
        ranges = {**_BY_NAME, **rules}
        of = {a.name: _rule(ranges.get(a.name), a.annotation) for a in arguments}
        in_order = [(a.name, of[a.name]) for a in arguments if a.kind < a.VAR_POSITIONAL]
        rest = next((a.name for a in arguments if a.kind == a.VAR_POSITIONAL), "")

        @wraps(function)
        def with_checks(*args: Any, **named: Any) -> Any:
            taken = [rule(name, x) for (name, rule), x in zip(in_order, args, strict=False)]
            more = args[len(taken) :]
            if rest and more:
                more = [of[rest](f"{rest}[{i}]", x) for i, x in enumerate(more)]
            for name, value in named.items():
                if rule := of.get(name):
                    named[name] = rule(name, value)
            return function(*taken, *more, **named)

        return cast("Function", with_checks)

    return decorate


_POSITIVE = "lam delta step_size max_change smoothness top fps step_seconds"
_NOT_NEGATIVE = "ridge head_ridge rtol a_max"
_SHARES = "trace causal_trace discount success_rate"
_COUNTS_FROM_0 = "num_steps halvings start remainder"
_BY_NAME: dict[str, Rule] = {
    **dict.fromkeys(_POSITIVE.split(), require_positive),
    **dict.fromkeys(_NOT_NEGATIVE.split(), require_not_negative),
    **dict.fromkeys(_SHARES.split(), require_share),
    **dict.fromkeys(_COUNTS_FROM_0.split(), require_count),
    "gamma": require_discount,
    "tolerance": require_tolerance,
    "horizon": partial(require_whole, most=sys.maxsize),
    "seed": lambda name, value: require_seed(value, name),
}
"""The range that goes with a name; other numbers need only be finite, other counts 1 or more."""


def _text(name: str, value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{name} must be a text, got {described(value)}")
    return value


_OF_KIND: dict[Any, Rule] = {
    bool: require_truth,
    torch.Generator: require_generator,
    torch.dtype: require_dtype,
    dict[str, Tensor]: require_params,
}


def _rule(range_: Rule | None, kind: Any) -> Rule:
    """Return what an argument of an annotation must be; numbers, in a range."""
    origin, parts = typing.get_origin(kind), typing.get_args(kind)
    if origin in (Union, UnionType):
        return _rule_of_options(range_, parts)
    if kind is float:
        return partial(_number_or_scalar, range_ or require_number)
    if kind is int:
        return range_ or require_size
    if kind is str:
        return range_ or _text
    if kind in _OF_KIND:
        return _OF_KIND[kind]
    if origin is Literal:
        return partial(_one_of, parts)
    if kind is Tensor or hasattr(kind, "dim_str"):
        return _tensor_rule(kind)
    if origin is Callable or "__call__" in vars(kind if isinstance(kind, type) else object):
        return _function
    if origin in (tuple, Sequence):
        items = [_rule(range_, part) for part in parts if part is not ...]
        return partial(_sequence, items, origin is tuple and ... not in parts)
    kind = origin or kind
    if kind is inspect.Parameter.empty or not isinstance(kind, type):
        return _anything
    return _instance_rule(kind)


def _rule_of_options(range_: Rule | None, options: tuple[Any, ...]) -> Rule:
    """Return the rule of ``A | B``, of which only None and tensors beside numbers are known."""
    if NoneType in options:
        rule = _rule(range_, Union[tuple(o for o in options if o is not NoneType)])  # noqa: UP007
        return lambda name, value: None if value is None else rule(name, value)
    if float in options:
        return _rule(range_, float)
    classes = all(isinstance(o, type) and not hasattr(o, "dim_str") for o in options)
    return _instance_rule(options) if classes and Tensor not in options else range_ or _anything


def _anything(name: str, value: Any) -> Any:
    return value


def _number_or_scalar(rule: Rule, name: str, value: Any) -> Any:
    """Take a number, or a tensor without axes that somebody computed: its value where it shows."""
    if not isinstance(value, Tensor):
        return rule(name, value)
    if value.ndim or value.dtype == torch.bool:
        raise ValueError(f"{name} must be a number or a scalar tensor, got {described(value)}")
    if may_look(value):
        rule(name, value.item())
    return value


def _one_of(options: tuple[Any, ...], name: str, value: Any) -> Any:
    if not isinstance(value, str) or value not in options:
        known = ", ".join(map(repr, options))
        raise ValueError(f"{name} must be one of {known}, got {described(value)}")
    return value


def _function(name: str, value: Any) -> Any:
    if not callable(value):
        raise ValueError(f"{name} must be a function, got {described(value)}")
    return value


def _sequence(rules: list[Rule], fixed: bool, name: str, value: Any) -> tuple[Any, ...]:
    """Take a tuple, a list or a range: of fixed length with a rule for each, or all of one rule."""
    if not isinstance(value, Sequence) or isinstance(value, str | bytes):
        raise ValueError(f"{name} must be a tuple or a list, got {described(value)}")
    items = tuple(cast("Sequence[Any]", value))
    if fixed and len(items) != len(rules):
        raise ValueError(f"{name} must hold {len(rules)} values, got {described(items)}")
    each = enumerate(zip(rules if fixed else rules * len(items), items, strict=True))
    taken = tuple(rule(f"{name}[{i}]", item) for i, (rule, item) in each)
    # A record stays one, where nothing was to be changed.
    same = isinstance(value, tuple) and all(map(operator.is_, taken, items))
    return cast("tuple[Any, ...]", value) if same else taken


def _tensor_rule(kind: Any) -> Rule:
    """Return the rule of a tensor, with the axes that jaxtyping's annotation names."""
    axes: list[str] = getattr(kind, "dim_str", "...").split()
    free = any(axis.startswith(("*", "...")) for axis in axes)
    least = len(axes) - free
    dtypes = getattr(kind, "dtypes", ())
    sort = {"float64": "floating-point ", "int64": "integer ", "bool": "truth-value "}
    wanted = next((word for dtype, word in sort.items() if dtype in dtypes), "")
    shape = f"[{', '.join(axes)}]" if axes else "without axes"
    article = "an" if wanted.startswith("i") else "a"

    def fits(x: Tensor) -> bool:
        if wanted and _sort(x.dtype) != wanted:
            return False
        return (x.ndim >= least if free else x.ndim == least) and 0 not in x.shape

    def rule(name: str, value: Any) -> Tensor:
        if isinstance(value, Tensor) and fits(value):
            return value
        empty = ", no axis of size 0" if isinstance(value, Tensor) and 0 in value.shape else ""
        raise ValueError(
            f"{name} must be {article} {wanted}tensor {shape}{empty}, got {described(value)}"
        )

    return rule


def _sort(dtype: torch.dtype) -> str:
    if dtype.is_floating_point:
        return "floating-point "
    return "truth-value " if dtype == torch.bool else "integer "


@cache
def _field_rules(kind: type) -> Sequence[tuple[str, Rule]]:
    """Return the rules of a record's tensors."""
    hints: Mapping[str, Any] = kind.__annotations__ if hasattr(kind, "_fields") else {}
    tensors = {n: h for n, h in hints.items() if h is Tensor or hasattr(h, "dim_str")}
    return [(field, _tensor_rule(hint)) for field, hint in tensors.items()]


def _instance_rule(kind: Any) -> Rule:
    """Return the rule of a record, whose tensors are what it says, or of an object of a class."""
    known = set[type]()  # a protocol's isinstance takes longer than many a function

    def rule(name: str, value: Any) -> Any:
        came = cast("type[Any]", type(value))
        if came not in known:
            if not isinstance(value, kind):
                kinds = cast("tuple[type, ...]", kind if isinstance(kind, tuple) else (kind,))
                names = " or ".join(k.__name__ for k in kinds)
                raise ValueError(f"{name} must be a {names}, got {described(value)}")
            known.add(came)
        for field, of_field in _field_rules(came):
            of_field(f"{name}.{field}", getattr(value, field))
        return value

    return rule
