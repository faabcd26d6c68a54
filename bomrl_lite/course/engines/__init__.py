"""Where units of work run: in this process, in processes of this machine, or on Ray.

A unit is one item of a list, and its work a function of the item alone: no engine, and no order in
which units come to an end, changes a result. An engine that loses the process of a unit begins the
unit again, elsewhere if there is an elsewhere, :data:`RETRIES` times at most.
"""

import pickle
import traceback
from collections.abc import Callable, Generator, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch

from bomrl_lite.require import require_whole

RETRIES = 2
"""How often a unit is begun again whose process was killed."""

Work = Callable[[Any], Any]
"""What is done with an item; it and the items can be pickled."""


class Done(NamedTuple):
    """A unit that came to its end."""

    number: int
    """Place of its item in the list."""
    value: Any = None
    """What the work returned."""
    error: Exception | None = None
    """What it raised; ChildProcessError where its process was killed too often."""

    def result(self) -> Any:
        """Return what the work returned, or raise what it raised."""
        if self.error is not None:
            raise self.error
        return self.value


Engine = Callable[[Work, Sequence[Any]], Generator[Done, None, None]]
"""(work, items) -> each unit as it ends, in no order; closing it stops what runs."""
EngineName = Literal["local", "ray"]


class WrongNodeError(OSError):
    """A machine that no unit can run on; what is wrong with it is wrong for all units."""


def make_engine(
    name: EngineName, folder: Path, *, jobs: int | None = None, address: str | None = None
) -> Engine:
    """Return an engine by name.

    Args:
        name: ``local`` or ``ray``.
        folder: that the units write to.
        jobs: units to run at the same time; None is one with ``local``, which then needs no other
            process, and as many as the cluster has processors for with ``ray``.
        address: of a Ray cluster that runs already, ``auto`` for the one of this machine.

    Raises:
        ValueError: no whole number of jobs, or an address without Ray.
        ModuleNotFoundError: Ray is asked for and not installed.
    """
    if jobs is not None:
        require_whole("jobs", jobs)
    if name == "ray":
        from bomrl_lite.course.engines.on_ray import ray_engine

        return ray_engine(folder, jobs, address)
    if address is not None:
        raise ValueError(f"address {address} is that of a Ray cluster: add --engine ray")
    if jobs is None or jobs == 1:
        return in_this_process
    from bomrl_lite.course.engines.processes import process_engine

    return process_engine(jobs)


def in_this_process(work: Work, items: Sequence[Any]) -> Generator[Done, None, None]:
    """Do one unit after the other, here."""
    for number, item in enumerate(items):
        yield perform(work, number, item)


def perform(work: Work, number: int, item: Any) -> Done:
    """Do one unit on one thread, on which its bits are promised, and keep what it raises."""
    torch.set_num_threads(1)
    try:
        return Done(number, value=work(item))
    except Exception as error:
        return Done(number, error=_portable(error))


def _portable(error: Exception) -> Exception:
    """Return an error that another process can read, with its traceback as a note."""
    text = "".join(traceback.format_exception(error))
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:  # some exceptions ask for more arguments than they keep
        error = RuntimeError(f"{type(error).__name__}: {error}")
    error.add_note(text)
    return error


class Attempt(NamedTuple):
    """A unit that is begun for the first time, or again."""

    number: int
    item: Any
    tries: int = 1

    def lost(self, how: str) -> "Done | Attempt":
        """Return what follows on the death of its process: the next attempt, or the end."""
        if self.tries <= RETRIES:
            return self._replace(tries=self.tries + 1)
        text = f"its process was killed {self.tries} times ({how}), perhaps for want of memory"
        return Done(self.number, error=ChildProcessError(text))
