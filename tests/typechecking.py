"""How tests check types at run time: every call in the library, none in the course."""

from collections.abc import Callable
from typing import TypeVar

from beartype import BeartypeConf, beartype

Function = TypeVar("Function", bound=Callable)
# An int passes for a float, as it does for type checkers.
_check = beartype(conf=BeartypeConf(is_pep484_tower=True))


def check_library(function: Function) -> Function:
    """Check a function's types, unless it is the course's: a learner may hand that anything."""
    if function.__module__.startswith("bomrl_lite.course."):
        return function
    return _check(function)
