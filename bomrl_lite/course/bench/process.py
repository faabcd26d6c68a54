"""A fresh process of :mod:`bomrl_lite.course.bench.processes`; prints its figures as JSON.

It calls only what older builds have too: another checkout may be on the import path.
"""

import gc
import json
import sys
import time
from pathlib import Path

import psutil
import torch

from bomrl_lite.tasks import make_tasks
from bomrl_lite.training.config import configure
from bomrl_lite.training.episodes import episodes_problem
from bomrl_lite.training.trainer import meta_step, start_state

SIZES = 20
"""Of simulations, made one after the other; memory is counted from the second half on."""


def iteration(method: str) -> dict[str, float]:
    """Return wall seconds and peak memory of a meta-iteration, 20 x 20 x 100, on a cheetah."""
    before = psutil.Process().memory_info().rss
    config = configure(method, tasks="cheetah/direction", num_tasks=20, diagnose_every=10000)
    problem = episodes_problem(config)
    state = start_state(problem)
    meta_step(state, problem)
    seconds = []
    for _ in range(2):
        start = time.perf_counter()
        meta_step(state, problem)
        seconds.append(time.perf_counter() - start)
    return {"seconds": min(seconds), "megabytes": (peak_memory() - before) / 1e6}


def sizes() -> dict[str, float]:
    """Return the memory that simulations of one more size leave behind when they are gone."""
    family = make_tasks("cheetah/direction")
    tasks = family.sample(1, torch.Generator().manual_seed(0), "train")
    held = []
    for number in range(SIZES):
        simulator = family.simulator(tasks, 100 + number, 10)
        simulator.reset(torch.Generator().manual_seed(0))
        del simulator
        gc.collect()
        held.append(psutil.Process().memory_info().rss)
    half = SIZES // 2
    return {"megabytes": (held[-1] - held[half - 1]) / (SIZES - half) / 1e6}


def peak_memory() -> int:
    """Return the most bytes that this process has held at any time."""
    if sys.platform == "linux":  # getrusage counts the process that started this one, too
        status = Path("/proc/self/status").read_text()
        return 1024 * int(status.partition("VmHWM:")[2].split()[0])
    if sys.platform == "win32":
        return psutil.Process().memory_info().peak_wset
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


if __name__ == "__main__":
    measure, *arguments = sys.argv[1:]
    print(json.dumps({"iteration": iteration, "sizes": sizes}[measure](*arguments)))
