"""Task distributions by name."""

import difflib

from bomrl_lite.tasks import frozen_lake, probes
from bomrl_lite.types import TaskDistribution


def task_names() -> list[str]:
    """List the names that :func:`make_tasks` knows."""
    return [*frozen_lake.FAMILIES, *probes.PROBES]


def make_tasks(name: str) -> TaskDistribution:
    """Return the task distribution of that name.

    Raises:
        ValueError: unknown name; the message suggests close matches.
    """
    if name in frozen_lake.FAMILIES:
        return frozen_lake.distribution(name)
    if name in probes.PROBES:
        return probes.PROBES[name]()
    close = difflib.get_close_matches(name, task_names(), n=3, cutoff=0.3)
    hint = f"did you mean {' or '.join(close)}? " if close else ""
    raise ValueError(
        f"no task distribution is called {name!r}: {hint}known are {', '.join(task_names())}"
    )
