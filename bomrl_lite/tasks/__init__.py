"""Families of tasks by name: those with exact values, and those that can only be sampled."""

import difflib
from typing import Any, cast

from bomrl_lite.physics import Backend
from bomrl_lite.physics.robots import Integrator
from bomrl_lite.require import checked, described
from bomrl_lite.tasks import frozen_lake, locomotion, navigation, probes
from bomrl_lite.types import TabularTask, Tasks

_REGISTERED: dict[str, Tasks[Any]] = {}


@checked()
def register_tasks(tasks: Tasks[Any]) -> None:
    """Make a family of your own known by its name, to ``configure`` and all that it leads to.

    A process that reads a run of it registers it first.

    Raises:
        ValueError: it is no record of a family, or its name is one of the package's.
    """
    if tasks.name in task_names() and tasks.name not in _REGISTERED:
        raise ValueError(f"{tasks.name!r} is a family of bomrl_lite; give yours another name")
    _REGISTERED[tasks.name] = tasks


def module_of(name: str) -> str:
    """Return the module that a family of your own comes from; "" of one of the package's."""
    tasks = _REGISTERED.get(name)
    return getattr(tasks.sample, "__module__", "") if tasks else ""


@checked()
def task_names(*, exact: bool = False) -> list[str]:
    """List the names that :func:`make_tasks` knows.

    Args:
        exact: list only the families with exact values.
    """
    tabular = [*frozen_lake.FAMILIES, *probes.PROBES]
    tabular += [name for name, tasks in _REGISTERED.items() if tasks.exact]
    sampled = [name for name, tasks in _REGISTERED.items() if not tasks.exact]
    return tabular if exact else [*tabular, *navigation.FAMILIES, *locomotion.FAMILIES, *sampled]


def _require_name(_: str, value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(f"tasks must be the name of a family, got {described(value)}")
    return value


@checked(name=_require_name)
def make_tasks(
    name: str, *, integrator: Integrator = "gym", backend: Backend = "auto"
) -> Tasks[Any]:
    """Return the task distribution of that name.

    Args:
        name: one of :func:`task_names`.
        integrator: of robots; see :func:`bomrl_lite.physics.robots.load_model`.
        backend: of robots; see :func:`bomrl_lite.physics.make_physics`.

    Raises:
        ValueError: unknown name; the message suggests close matches.
    """
    if name in _REGISTERED:
        return _REGISTERED[name]
    if name in locomotion.FAMILIES:
        family = locomotion.FAMILIES[name]
        return locomotion.robot_tasks(family, integrator=integrator, backend=backend)
    if name in navigation.FAMILIES:
        return navigation.FAMILIES[name]
    if name in frozen_lake.FAMILIES:
        return frozen_lake.lake_family(name)
    if name in probes.PROBES:
        return probes.PROBES[name]()
    close = difflib.get_close_matches(name, task_names(), n=3, cutoff=0.3)
    hint = f"did you mean {' or '.join(close)}? " if close else ""
    raise ValueError(
        f"no task distribution is called {name!r}: {hint}known are {', '.join(task_names())}"
    )


@checked()
def require_exact(tasks: Tasks[Any]) -> Tasks[TabularTask]:
    """Return the tasks, whose values are then known to be exact.

    Raises:
        ValueError: they can only be sampled.
    """
    if not tasks.exact:
        raise ValueError(
            f"{tasks.name!r} has continuous states, so no exact values: it can only be sampled. "
            f"With exact values are {', '.join(task_names(exact=True))}"
        )
    return cast("Tasks[TabularTask]", tasks)
