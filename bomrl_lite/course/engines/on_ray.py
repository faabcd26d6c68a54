"""The Ray engine: every unit a task of one processor, on this machine or on a cluster.

Ray is asked to repeat nothing: a unit whose worker or node is gone is submitted anew from here, so
that both engines count attempts alike.
"""

import importlib
import os
import platform
import secrets
import signal
import socket
import sys
import threading
import time
from collections import deque
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from bomrl_lite.course.engines import Attempt, Done, Engine, Work, WrongNodeError, perform
from bomrl_lite.training.files import write_atomically
from bomrl_lite.training.folder_guard import conditions
from bomrl_lite.training.stopping import SIGNALS

_PATIENCE = 20.0  # seconds that cancelled units may take to save what they have
_ANSWERED_WITHIN = 10.0  # seconds
_STORE = 100 * 2**20  # bytes; what units return is small
_SEEN_WITHIN = 60.0  # seconds until a file system of a network shows a new file everywhere


class _Driver(NamedTuple):
    """What the process that asks for units tells the workers about itself."""

    conditions: dict[str, Any]
    path: list[str]
    token: Path
    """A file in the folder of the results: where it is not seen, no result would be either."""


def ray_engine(folder: Path, jobs: int | None, address: str | None) -> Engine:
    """Return the engine that runs units as tasks of Ray.

    Args:
        folder: of the results, on a file system that all nodes share.
        jobs: units to run at the same time; None is as many as there are processors.
        address: of a cluster that runs already; None takes that of the variable RAY_ADDRESS, or
            starts Ray on this machine.

    Raises:
        ModuleNotFoundError: Ray is not installed.
    """
    ray = _require_ray()

    def run(work: Work, items: Sequence[Any]) -> Generator[Done, None, None]:
        waiting = deque(Attempt(number, item) for number, item in enumerate(items))
        running = dict[Any, Attempt]()
        if not waiting:
            return  # Ray takes its time to start
        with _session(ray, address), _driver(folder) as driver:
            task = ray.remote(num_cpus=1, max_retries=0)(_on_worker)
            try:
                while waiting or running:
                    while waiting and (jobs is None or len(running) < jobs):
                        unit = waiting.popleft()
                        running[task.remote(work, unit.number, unit.item, driver)] = unit
                    (reference, *_), _ = ray.wait([*running])
                    unit = running.pop(reference)
                    match _end_of(ray, reference, unit):
                        case Attempt() as again:
                            waiting.appendleft(again)
                        case Done(error=WrongNodeError() as error):
                            raise error
                        case done:
                            yield done
            finally:
                _cancel(ray, [*running])

    return run


def _require_ray() -> Any:
    """Import Ray, which counts its users over the network unless it is told not to.

    Raises:
        ModuleNotFoundError: it is not installed.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        return importlib.import_module("ray")
    except ImportError as error:
        raise ModuleNotFoundError(
            'the package ray is not installed, and --engine ray needs it: pip install "bomrl-lite'
            '[ray]"; --engine local --jobs N uses the processors of this machine without it'
        ) from error


@contextmanager
def _session(ray: Any, address: str | None) -> Generator[None, None, None]:
    """Connect to a cluster, or start Ray on this machine, and leave it again.

    Raises:
        ConnectionError: there is no cluster at the address.
    """
    here = threading.current_thread() is threading.main_thread()
    handlers = {number: signal.getsignal(number) for number in SIGNALS if here}
    # Without an address Ray would join whatever cluster was last started on this machine.
    address = address or os.environ.get("RAY_ADDRESS") or "local"
    own = {"include_dashboard": False, "object_store_memory": _STORE} if address == "local" else {}
    try:
        _require_answer(address)
        ray.init(address=address, log_to_driver=False, logging_level="error", **own)
    except (OSError, RuntimeError, ValueError) as error:
        why = getattr(error, "strerror", None) or str(error).splitlines()[0]
        raise ConnectionError(
            f"no Ray cluster answers at {address} ({why.rstrip('.')}): start one by "
            "ray start --head, or leave out --address to use this machine alone"
        ) from error
    try:
        for number, handler in handlers.items():  # Ray has put its own, which would abort
            signal.signal(number, handler)
        yield
    finally:
        ray.shutdown()


def _require_answer(address: str) -> None:
    """Look whether anybody answers at host:port: Ray itself would ask for minutes.

    Raises:
        OSError: nobody does.
    """
    host, _, port = address.rpartition(":")
    if port.isdigit() and "/" not in host:
        socket.create_connection((host.strip("[]"), int(port)), _ANSWERED_WITHIN).close()


@contextmanager
def _driver(folder: Path) -> Generator[_Driver, None, None]:
    """Leave a token in the folder of the results while units run."""
    token = folder.resolve() / f".seen-by-all-{secrets.token_hex(8)}"
    write_atomically(token, b"")
    try:
        yield _Driver(conditions(), sys.path, token)
    finally:
        token.unlink(missing_ok=True)


def _on_worker(work: Work, number: int, item: Any, driver: _Driver) -> Done:
    """Do a unit on a worker of Ray, if it is one whose bits and folders are the driver's."""
    sys.path += [folder for folder in driver.path if folder not in sys.path]
    try:
        require_same(driver.conditions, conditions())
        require_seen(driver.token)
    except WrongNodeError as error:
        return Done(number, error=error)
    return perform(work, number, item)


def require_same(there: dict[str, Any], here: dict[str, Any]) -> None:
    """Refuse a node whose results would be others.

    Args:
        there: conditions of the driver.
        here: those of this node.

    Raises:
        WrongNodeError: names what differs.
    """
    differing = [
        f"{name} {there[name]} -> {here[name]}" for name in there if there[name] != here[name]
    ]
    if differing:
        raise WrongNodeError(
            f"{platform.node()} has other versions than the machine that asks "
            f"({', '.join(differing)}), so that results would depend on where they are computed: "
            "install the same on every node"
        )


def require_seen(token: Path, within: float = _SEEN_WITHIN) -> None:
    """Refuse a node that does not see the folder of the results.

    Args:
        token: a file that the driver left there.
        within: seconds to wait for it.

    Raises:
        WrongNodeError: names node and folder.
    """
    give_up = time.monotonic() + within
    while not token.exists():
        if time.monotonic() >= give_up:
            raise WrongNodeError(
                f"{platform.node()} does not see what was written to {token.parent}: give a folder "
                "on a file system that all nodes share (--out)"
            )
        time.sleep(1.0)


def _end_of(ray: Any, reference: Any, unit: Attempt) -> Done | Attempt:
    """Return how a unit ended, or that it begins again: its worker or node is gone."""
    lost = (
        ray.exceptions.WorkerCrashedError,
        ray.exceptions.NodeDiedError,
        ray.exceptions.OutOfMemoryError,
        ray.exceptions.ObjectLostError,
    )
    try:
        return ray.get(reference)
    except lost as error:
        return unit.lost(type(error).__name__)
    except ray.exceptions.RayError as error:
        text = (
            f"Ray cannot run units ({' '.join(str(error).split())}): is bomrl_lite on every node?"
        )
        return Done(unit.number, error=WrongNodeError(text))


def _cancel(ray: Any, references: list[Any]) -> None:
    """Interrupt what runs, as Ctrl-C would, and let it keep its last whole iteration."""
    for reference in references:
        ray.cancel(reference)
    if references:
        ray.wait(references, num_returns=len(references), timeout=_PATIENCE)
