"""Limits that an answer's process sets on itself before it runs anything, and cannot lift again."""

import ctypes
import errno
import os
import random
import resource
import struct
from typing import Any

import numpy as np
import torch

LIBC = ctypes.CDLL(None, use_errno=True)
PR_SET_DUMPABLE, PR_SET_SECCOMP, PR_SET_NO_NEW_PRIVS = 4, 22, 38
CLONE_THREAD, CLONE3 = 0x10000, 435
CALLS = {
    "x86_64": (0xC000003E, 56, 57, 58, 59, 322),
    "aarch64": (0xC00000B7, 220, 221, 281),
}
"""Machine -> its number, that of clone, then those of fork, vfork, execve and execveat."""


def hide() -> None:
    """Let no process of the same account read or write this one's memory."""
    LIBC.prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)


def confine(job: dict[str, Any]) -> None:
    """Set the limits that an answer cannot lift again."""
    with open("/proc/self/statm") as pages:
        mapped = int(pages.read().split()[0]) * resource.getpagesize()
    seconds, files = job["seconds"], job["file_mib"] << 20
    for what, most in (
        (resource.RLIMIT_CPU, seconds),
        (resource.RLIMIT_AS, mapped + (job["memory_mib"] << 20)),
        (resource.RLIMIT_FSIZE, files),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_NOFILE, 64),
        (resource.RLIMIT_NPROC, job["processes"]),
    ):
        resource.setrlimit(what, (most, most + (what == resource.RLIMIT_CPU)))
    if job["processes"] == 0:
        forbid_processes()  # the limit above does not hold for root
    for seed in (random.seed, np.random.seed, torch.manual_seed):
        seed(job["seed"] % 2**32)


def forbid_processes() -> None:
    """Let the kernel refuse new processes and programs to this one; threads stay allowed."""
    if os.uname().machine not in CALLS:
        return
    arch, clone, *forbidden = CALLS[os.uname().machine]
    allow, refuse, unknown = 0x7FFF0000, 0x00050000 | errno.EPERM, 0x00050000 | errno.ENOSYS
    load, equal, at_least, any_bit, give = 0x20, 0x15, 0x35, 0x45, 0x06
    code = [(load, 0, 0, 4), (equal, 1, 0, arch), (give, 0, 0, refuse), (load, 0, 0, 0)]
    code += [(at_least, 0, 1, 0x40000000), (give, 0, 0, refuse)]
    for number in forbidden:
        code += [(equal, 0, 1, number), (give, 0, 0, refuse)]
    # clone3 hides its flags: without it, libraries take clone
    code += [(equal, 0, 1, CLONE3), (give, 0, 0, unknown), (equal, 0, 3, clone), (load, 0, 0, 16)]
    code += [(any_bit, 1, 0, CLONE_THREAD), (give, 0, 0, refuse), (give, 0, 0, allow)]
    rules = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *line) for line in code))
    program = struct.pack("HxxxxxxP", len(code), ctypes.addressof(rules))
    LIBC.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    LIBC.prctl(PR_SET_SECCOMP, 2, program, 0, 0)
