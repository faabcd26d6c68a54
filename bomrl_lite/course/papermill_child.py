"""papermill as a child that never outlives its parent, however that one ends."""

import os
import sys
import threading
from contextlib import suppress

import psutil


def main() -> None:
    """Run papermill's command line; die with the kernel once the parent's end of stdin closes."""
    threading.Thread(target=_die_with_the_parent, daemon=True).start()
    # jsonschema's check of IRIs, which no notebook has, builds a parser: most of a start's seconds.
    sys.modules["rfc3987_syntax"] = None  # type: ignore[assignment]
    from papermill.cli import papermill

    papermill()


def _die_with_the_parent() -> None:
    # os.read and not sys.stdin: a thread that holds a buffer's lock makes the exit fail.
    while os.read(sys.stdin.fileno(), 1):
        pass
    for child in psutil.Process().children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            child.kill()
    os._exit(1)


if __name__ == "__main__":
    main()
