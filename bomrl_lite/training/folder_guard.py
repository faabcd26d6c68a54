"""One process at a time writes to a run folder, and ``origin.json`` says what each ran under."""

import contextlib
import importlib.metadata
import json
import platform
import warnings
from collections.abc import Generator
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock, Timeout

from bomrl_lite.tasks import module_of
from bomrl_lite.training.files import write_atomically


@contextlib.contextmanager
def locked(out: Path) -> Generator[None, None, None]:
    """Hold a run's folder, which is made if there is none; the system frees it when a process dies.

    Raises:
        BlockingIOError: another process works in it.
        OSError: it may not be written to.
    """
    out.mkdir(parents=True, exist_ok=True)
    lock = FileLock(out / ".lock", timeout=0, is_singleton=False)
    try:
        lock.acquire()
    except Timeout as error:
        raise BlockingIOError(
            f"another process works in {out} at this moment; wait for it, or choose another folder"
        ) from error
    try:
        for draft in out.glob(".*.tmp"):  # what a killed process left
            draft.unlink()
        yield
    finally:
        lock.release()


def write_origin(out: Path, tasks: str) -> None:
    """Add this process to ``origin.json``, unless the last one had the same versions and threads.

    Equal bits are promised under equal versions only, so a run that goes on under others says so.
    """
    before, now = read_origin(out), _origin(tasks)
    if before and before[-1] == now:
        return
    write_atomically(out / "origin.json", json.dumps([*before, now], indent=1).encode())
    old = before[-1] if before else now
    changed = [
        f"{k} {old.get(k)} -> {v}" for k, v in now.items() if old.get(k) != v and k != _THREADS
    ]
    if changed:
        warnings.warn(
            f"the run in {out} goes on under other conditions ({', '.join(changed)}): its bits may "
            "differ from those of one that was never stopped",
            stacklevel=3,  # the caller of meta_train
        )


def read_origin(out: Path) -> list[dict[str, Any]]:
    """Return what each process of a run ran under; none where the file is missing or spoiled."""
    try:
        text = (out / "origin.json").read_text(encoding="utf-8")
        return [dict(process) for process in json.loads(text)]
    except (OSError, ValueError, TypeError):
        return []


def _origin(tasks: str) -> dict[str, Any]:
    """Return what a process of a run has to tell: where its family is from, and its conditions."""
    own = {"import": module_of(tasks)} if module_of(tasks) else {}
    return {**own, **conditions(), _THREADS: torch.get_num_threads()}


_THREADS = "threads"
"""Told, but no bit depends on them."""


def conditions() -> dict[str, Any]:
    """Return what the bits of a run depend on beside its configuration, in this process."""
    return {
        "bomrl_lite": importlib.metadata.version("bomrl-lite"),
        "torch": torch.__version__,
        "python": platform.python_version(),
        "machine": platform.machine(),
    }
