"""Work for the tests of engines: what child processes import."""

import os
import signal
from pathlib import Path


def square(x: int) -> tuple[int, int]:
    return x * x, os.getpid()


def threads(x: int) -> int:
    import torch

    return torch.get_num_threads()


def die(item: tuple[str, int]) -> int:
    """Note the attempt in a file, and die until there were so many."""
    file, until = Path(item[0]), item[1]
    attempts = len(file.read_text()) + 1 if file.exists() else 1
    file.write_text("x" * attempts)
    if attempts < until:
        os.kill(os.getpid(), signal.SIGKILL)
    return attempts


class OddError(Exception):
    """One that cannot be made again from what it keeps."""

    def __init__(self, one: int, two: int) -> None:
        super().__init__(f"{one} and {two}")


def fail(kind: str) -> None:
    if kind == "odd":
        raise OddError(1, 2)
    raise {"value": ValueError, "arithmetic": FloatingPointError}[kind](f"no {kind}")


def leave(*_: object) -> None:
    os._exit(9)
