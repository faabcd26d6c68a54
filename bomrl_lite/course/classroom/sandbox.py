"""Starts the worker: a folder with what answers may see, and bubblewrap around it where it is."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import bomrl_lite

Sandbox = Literal["auto", "bubblewrap", "none"]

PACKAGE = Path(bomrl_lite.__file__).parent
SYSTEM = ("/usr", "/lib", "/lib64", "/bin", "/etc/ld.so.cache", "/etc/alternatives")
START_SECONDS = 120.0
KNOCK_SECONDS = 60.0

WITHIN = (
    "Answers run under bubblewrap: without network, on a read-only system, with a /tmp of their "
    "own, without sight of the course, of other submissions or of anyone's files; time, memory, "
    "file size and processes are limited."
)
WITHOUT = (
    "NOT ISOLATED ({}): time, memory, file size and processes of answers are limited, but they can "
    "read what the grader's account can read, and reach the network. Install bubblewrap, or grade "
    "in a container or account that holds nothing else."
)

STUB = '''"""What of the package is lent to answers of this set."""

import importlib

ROOMS = {rooms!r}
REFUSED = []


def warm(refused):
    """Import what is lent, before there are answers."""
    REFUSED.append(refused)
    for room in ROOMS:
        globals().update(vars(importlib.import_module("bomrl_lite." + room)) | globals())


def __getattr__(name):
    if name.startswith("__"):
        raise AttributeError(name)
    raise REFUSED[0](f"bomrl_lite.{{name}} is the package's own: it is not lent in this set")
'''


class Ended(NamedTuple):
    """How the process of an answer has ended."""

    signal: int
    seconds: float
    """Of processor time."""


class WorkerLost(Exception):  # noqa: N818 - the judge starts another one
    """The worker's parent process has gone, too."""


class Worker:
    """One warm interpreter; ``fork`` gives the socket of a fresh process for one answer.

    Args:
        rooms: modules of the package that answers may use, besides its records.
        sandbox: "bubblewrap" refuses to start without it, "none" does without, "auto" takes it
            where it works.

    Raises:
        RuntimeError: the worker does not start, or bubblewrap was asked for and does not work.
    """

    def __init__(self, rooms: Sequence[str] = (), sandbox: Sandbox = "auto") -> None:
        self.rooms, self.missing = ("types", *rooms), _why_not(sandbox)
        if self.missing and sandbox == "bubblewrap":
            raise RuntimeError(f"bubblewrap: {self.missing}")
        self.alone = not self.missing
        self.isolation = WITHOUT.format(self.missing) if self.missing else WITHIN
        self.desk = Path(tempfile.mkdtemp(prefix="judge"))
        self._furnish()
        self.control, theirs = socket.socketpair()
        scratch = self.desk / "scratch"
        command = [sys.executable, "-P", "-s", f"{self.desk}/worker.py", str(theirs.fileno())]
        quiet = {
            "PATH": "/usr/bin:/bin",
            "HOME": "/tmp",
            "PYTHONHASHSEED": "0",
            "PYTHONDONTWRITEBYTECODE": "1",
            "OMP_NUM_THREADS": "1",
            "CUDA_VISIBLE_DEVICES": "",
        }
        within = [*_bubblewrap(self.desk), *command, "alone"]
        self.process = subprocess.Popen(
            within if self.alone else [*command, "shared"],
            pass_fds=[theirs.fileno()],
            env=quiet,
            cwd="/" if self.alone else scratch,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        theirs.close()
        self.control.settimeout(START_SECONDS)
        if self.control.recv(1) != b"r":
            error = self.process.communicate()[1].decode(errors="replace")
            self.close()
            raise RuntimeError(f"the worker of the judge does not start:\n{error[-2000:]}")

    def fork(self) -> socket.socket:
        """Return the socket of a new process for one answer."""
        ours, theirs = socket.socketpair()
        with theirs:
            try:
                socket.send_fds(self.control, [b"f"], [theirs.fileno()])
            except OSError:
                ours.close()
                raise WorkerLost from None
        return ours

    def end(self) -> Ended:
        """Kill the answer's process and all that it has left behind."""
        try:
            self.control.settimeout(KNOCK_SECONDS)
            self.control.sendall(b"k")
            found = self.control.recv(64, socket.MSG_WAITALL)
            status, seconds = found.split()
        except (OSError, ValueError):
            raise WorkerLost from None
        code = int(status)
        return Ended(os.WTERMSIG(code) if os.WIFSIGNALED(code) else 0, float(seconds))

    def close(self) -> None:
        """End the worker."""
        self.control.close()
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        if self.process.stderr:
            self.process.stderr.close()
        shutil.rmtree(self.desk, ignore_errors=True)

    def _furnish(self) -> None:
        """Lay out what the worker sees of the course: itself, and what is lent."""
        for name in ("worker.py", "wire.py", "limits.py"):
            shutil.copy(Path(__file__).with_name(name), self.desk)
        lent = self.desk / "bomrl_lite"
        lent.mkdir()
        (self.desk / "scratch").mkdir()
        for name in ("require", *self.rooms):
            shutil.copy(PACKAGE / f"{name}.py", lent)
        (lent / "__init__.py").write_text(STUB.format(rooms=self.rooms), "utf-8")
        for path in (self.desk, lent):
            path.chmod(0o755)


def _why_not(sandbox: Sandbox) -> str:
    """Say why there is no bubblewrap; empty where it works."""
    if sandbox == "none":
        return "it was not asked for"
    if shutil.which("bwrap") is None:
        return "it is not installed"
    tried = subprocess.run(
        [*_bubblewrap(Path("/usr")), sys.executable, "-S", "-c", ""],
        capture_output=True,
        text=True,
        check=False,
    )
    return "" if tried.returncode == 0 else f"it does not work here: {tried.stderr.strip()[-300:]}"


def _bubblewrap(desk: Path) -> list[str]:
    """Return the command that puts what follows it into a sandbox."""
    real = Path(sys.executable).resolve()
    python = {Path(p).absolute() for p in (sys.prefix, sys.base_prefix, real.parents[1])}
    seen = [*map(Path, SYSTEM), *sorted(python)]
    command = ["bwrap", "--die-with-parent", "--new-session", "--unshare-ipc", "--unshare-pid"]
    command += ["--unshare-net", "--unshare-uts", "--unshare-cgroup-try"]
    command += ["--cap-drop", "ALL"]
    if os.getuid() != 0:
        command += ["--unshare-user"]
    command += ["--proc", "/proc", "--dev", "/dev"]
    command += ["--size", str(256 << 20), "--perms", "1777", "--tmpfs", "/tmp"]
    for path in seen:
        command += ["--ro-bind-try", str(path), str(path)]
    if any(PACKAGE.is_relative_to(path) for path in seen):
        command += ["--tmpfs", str(PACKAGE)]
    command += ["--ro-bind", str(desk), str(desk), "--remount-ro", "/", "--remount-ro", "/dev"]
    return [*command, "--chdir", "/tmp"]
