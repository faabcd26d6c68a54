"""Which work may use several processors: the physics and whole tasks, but no sum of torch's.

What torch adds up on several threads it adds up in another order than on one, and the last bits of
a training would depend on the machine. So torch itself keeps to one thread, and what it was allowed
is given to work whose bits do not depend on it.
"""

import contextlib
import threading
from collections.abc import Generator

import torch

_lock = threading.Lock()
_allowed: list[int] = []
"""``torch.get_num_threads()`` as it was, once for each block that is open."""


def processors() -> int:
    """Return how many threads torch may use, or might outside of :func:`one_thread_for_torch`."""
    return _allowed[0] if _allowed else torch.get_num_threads()


@contextlib.contextmanager
def one_thread_for_torch() -> Generator[None, None, None]:
    """Keep torch to one thread; blocks may be nested, and be open in several threads of Python."""
    with _lock:
        _allowed.append(processors())
        torch.set_num_threads(1)
    try:
        yield
    finally:
        with _lock:
            usual = _allowed.pop()
            if not _allowed:
                torch.set_num_threads(usual)
