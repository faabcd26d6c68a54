"""Dials by name: one set of them for functions that each have some."""

import inspect
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any


def bind(function: Callable[..., Any], dials: Mapping[str, Any]) -> Callable[..., Any]:
    """Give a function those of the dials that it has."""
    names = inspect.signature(function).parameters
    return partial(function, **{name: dial for name, dial in dials.items() if name in names})
