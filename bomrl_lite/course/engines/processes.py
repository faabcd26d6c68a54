"""The local engine: every unit in a process of its own, several at a time."""

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Generator, Sequence
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any

from bomrl_lite.course.engines import Attempt, Done, Engine, Work, perform
from bomrl_lite.training.stopping import stopping_once, terminated_like_ctrl_c

_PATIENCE = 20.0  # seconds that a process may take to save what it has


def process_engine(jobs: int) -> Engine:
    """Return the engine that runs up to ``jobs`` units at a time."""

    def run(work: Work, items: Sequence[Any]) -> Generator[Done, None, None]:
        waiting = deque(Attempt(number, item) for number, item in enumerate(items))
        running = dict[Connection, tuple[BaseProcess, Attempt]]()
        try:
            while waiting or running:
                while waiting and len(running) < jobs:
                    unit = waiting.popleft()
                    process, end = _start(work, unit)
                    running[end] = process, unit
                for end in wait([*running]):
                    assert isinstance(end, Connection)
                    process, unit = running.pop(end)
                    match _end_of(process, end, unit):
                        case Done() as done:
                            yield done
                        case again:
                            waiting.appendleft(again)
        finally:
            _stop([process for process, _ in running.values()])

    return run


def _context() -> Any:
    """Return how processes are made: from a server that has imported torch, where there is one.

    A fork of this process would take along its threads' locks, a fresh process import torch again.
    """
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    return context


def _start(work: Work, unit: Attempt) -> tuple[BaseProcess, Connection]:
    context = _context()
    mine, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_child, args=(theirs, work, unit), daemon=True)
    process.start()
    theirs.close()  # or the end of the process would not close it
    return process, mine


def _child(answer: Connection, work: Work, unit: Attempt) -> None:
    """Do a unit and send how it ended; a signal to end keeps the last whole iteration first."""
    with terminated_like_ctrl_c(), stopping_once():
        threading.Thread(target=_end_with_parent, daemon=True).start()
        try:
            answer.send(perform(work, unit.number, unit.item))
        except KeyboardInterrupt:
            os._exit(128 + signal.SIGINT)


def _end_with_parent() -> None:
    """End this process, as by a signal, when the one that started it is gone."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os.kill(os.getpid(), signal.SIGTERM)


def _end_of(process: BaseProcess, end: Connection, unit: Attempt) -> Done | Attempt:
    """Return how a unit ended, or that it begins again: its process was killed."""
    try:
        return end.recv()
    except EOFError:
        process.join()
        code = process.exitcode or 0
        how = f"signal {-code}" if code < 0 else f"exit code {code}"
        return unit.lost(how)
    finally:
        end.close()
        process.join()
        process.close()


def _stop(processes: list[BaseProcess]) -> None:
    for process in processes:
        process.terminate()
    for process in processes:
        process.join(_PATIENCE)
        process.kill()
        process.join()
        process.close()
