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
from typing import Any, get_args, get_type_hints

import jaxtyping
from beartype import BeartypeConf, beartype
from jaxtyping import AbstractArray

PACKAGE = "bomrl_lite"
# An int passes for a float, as it does for type checkers.
_check = beartype(conf=BeartypeConf(is_pep484_tower=True, violation_type=TypeError))
_jaxtyped = jaxtyping.jaxtyped
_axes = _jaxtyped("context")  # the names of axes that one call binds


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
    checked = _check(function)
    if checked is function:  # no annotation
        return function

    has_axes = _has_axes(function)

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        if jaxtyping.config.jaxtyping_disable:
            return function(*args, **kwargs)
        if not has_axes:
            return checked(*args, **kwargs)
        with _axes:
            return checked(*args, **kwargs)

    return call


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
