"""Stopping a training once: a second Ctrl-C does not spoil what the first one saves."""

import contextlib
import signal
import threading
from collections.abc import Callable, Generator
from types import FrameType

SIGNALS = tuple(
    number
    for name in ("SIGINT", "SIGTERM", "SIGHUP")
    if (number := getattr(signal, name, None)) is not None
)
"""What asks a process to end: Ctrl-C, a cluster's notice, a terminal that closes."""


def restore_ctrl_c() -> None:
    """Let Ctrl-C raise KeyboardInterrupt again, which the package's imports had put off."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_DFL:
        signal.signal(signal.SIGINT, signal.default_int_handler)


class Terminated(KeyboardInterrupt):
    """A signal other than Ctrl-C asked the process to end; its number is the argument."""


def stop_behind(error: BaseException) -> BaseException:
    """Return the stop in whose wake an error was raised, or the error if there was none.

    Interrupted between two of its own steps, torch.func undoes what it has not done yet, and says
    so with a RuntimeError.
    """
    behind: BaseException | None = error
    while behind is not None and not isinstance(behind, KeyboardInterrupt):
        behind = behind.__context__
    return behind or error


@contextlib.contextmanager
def terminated_like_ctrl_c() -> Generator[None, None, None]:
    """Let SIGTERM and SIGHUP raise :class:`Terminated`, unless they are ignored (nohup)."""

    def end(number: int, frame: FrameType | None) -> None:
        raise Terminated(number)

    with _handlers({n: end for n in SIGNALS[1:] if signal.getsignal(n) is signal.SIG_DFL}):
        yield


class Stop:
    """Whether a signal has come; made by :func:`stopping_once`."""

    def __init__(self) -> None:
        self.came = False
        self._held, self._waiting = False, list[Callable[[], object]]()

    def handler(self, usual: Callable[[int, FrameType | None], object]) -> Callable[..., None]:
        """Return what calls the usual handler for the first signal only, and not while held."""

        def handle(number: int, frame: FrameType | None) -> None:
            if self._held:
                self._waiting.append(lambda: usual(number, frame))
            elif not self.came:
                self.came = True
                usual(number, frame)

        return handle

    @contextlib.contextmanager
    def held(self) -> Generator[None, None, None]:
        """Let a signal wait until the block is done: files are being written."""
        self._held = True
        try:
            yield
        finally:
            self._held = False
        if self._waiting and not self.came:
            self.came = True
            self._waiting[0]()


@contextlib.contextmanager
def stopping_once() -> Generator[Stop, None, None]:
    """Yield the :class:`Stop` of a block in which only the first signal to end counts.

    In a thread, where Python delivers no signals, it does nothing.
    """
    stop = Stop()
    usual = [(number, signal.getsignal(number)) for number in SIGNALS]
    own = {number: stop.handler(handler) for number, handler in usual if callable(handler)}
    with _handlers(own):
        yield stop


@contextlib.contextmanager
def _handlers(handlers: dict[int, Callable[..., None]]) -> Generator[None, None, None]:
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
