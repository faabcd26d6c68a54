"""How tests check types at run time: every call in the library, none in the course.

jaxtyping's import hook puts its ``jaxtyped`` on each function; ``checked_call`` takes that place.
It asks the same of parameters, results and named axes, in one call of beartype in place of two and
without binding the arguments anew: half of the tests' time went there.
"""

import dataclasses
import functools
import inspect
import sys
from collections.abc import Callable
from types import CellType, CodeType, FunctionType
from typing import Any, get_args, get_type_hints

import jaxtyping
from beartype import BeartypeConf, beartype
from jaxtyping import AbstractArray

PACKAGE = "bomrl_lite"
# An int passes for a float, as it does for type checkers.
_check = beartype(conf=BeartypeConf(is_pep484_tower=True, violation_type=TypeError))
_jaxtyped = jaxtyping.jaxtyped
_axes = _jaxtyped("context")  # the names of axes that one call binds
_written: dict[tuple[CodeType, str], tuple[Any, bool] | None] = {}


def install() -> None:
    """Check what is imported from now on.

    Raises:
        RuntimeError: the library is imported already, and so would go unchecked.
    """
    if PACKAGE in sys.modules:
        raise RuntimeError(f"{PACKAGE} is imported already: import typechecking before it")
    jaxtyping.jaxtyped = decorator
    jaxtyping.install_import_hook(PACKAGE, None)


def decorator(*, typechecker: object = None) -> Callable[[Any], Any]:
    """Return what the hook puts on a function or class; ``typechecker`` is the hook's own word."""
    return checked_call


def checked_call(each: Any) -> Any:
    """Check a function, or a dataclass as it is made, unless it is the course's.

    A learner may hand the course anything.
    """
    if isinstance(each, classmethod | staticmethod):
        return type(each)(checked_call(each.__func__))
    if isinstance(each, property):
        return property(*(way and checked_call(way) for way in (each.fget, each.fset, each.fdel)))
    if each.__module__.startswith(f"{PACKAGE}.course."):
        return each
    if not inspect.isclass(each):
        return _checked(each)
    if dataclasses.is_dataclass(each) and not hasattr(each.__init__, "__wrapped__"):
        each.__init__ = _checked(each.__init__)
    return each


def _checked(function: Callable[..., Any]) -> Callable[..., Any]:
    if inspect.isgeneratorfunction(function):  # its body runs after the call
        return _jaxtyped(function, typechecker=_check)
    checked, has_axes = _typed(function)
    if checked is function:  # no annotation
        return function

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        if jaxtyping.config.jaxtyping_disable:
            return function(*args, **kwargs)
        if not has_axes:
            return checked(*args, **kwargs)
        with _axes:
            return checked(*args, **kwargs)

    return call


def _typed(function: Callable[..., Any]) -> tuple[Callable[..., Any], bool]:
    """Put beartype around a function, and tell whether its annotations name axes.

    A function in a function is made at each call of the outer one: what beartype wrote for it the
    first time is used again.
    """
    key = function.__code__, str(function.__annotations__)
    if key not in _written:
        alike = _emptied(function)
        checked = _check(alike)
        _written[key] = None if checked is alike else (checked, _has_axes(function))
    known = _written[key]
    return (_around(known[0], function), known[1]) if known else (function, False)


def _emptied(function: Any) -> FunctionType:
    """Copy a function without what it closes over, which would be kept: tensors, for one."""
    cells = tuple(CellType() for _ in function.__code__.co_freevars)
    alike = FunctionType(
        function.__code__,
        function.__globals__,
        function.__name__,
        function.__defaults__,
        cells or None,
    )
    alike.__kwdefaults__, alike.__annotations__ = function.__kwdefaults__, function.__annotations__
    alike.__module__, alike.__qualname__ = function.__module__, function.__qualname__
    return alike


def _around(checked: Any, function: Callable[..., Any]) -> FunctionType:
    """Return beartype's wrapper, but around another function than it was written for."""
    names = {**checked.__kwdefaults__, "__beartype_func": function}
    if names.keys() != checked.__kwdefaults__.keys():
        raise RuntimeError("this beartype calls the function by another name: see its kwdefaults")
    parts = (checked.__globals__, checked.__name__, checked.__defaults__, checked.__closure__)
    other = FunctionType(checked.__code__, *parts)
    other.__kwdefaults__ = names
    return other


def _has_axes(function: Callable[..., Any]) -> bool:
    """Tell whether annotations may name axes; if they cannot be read, they may."""
    try:
        hints = list(get_type_hints(function).values())
    except Exception:
        return True
    for hint in hints:  # which grows by what its members are made of
        hints += get_args(hint)
    return any(isinstance(hint, type) and issubclass(hint, AbstractArray) for hint in hints)


install()
