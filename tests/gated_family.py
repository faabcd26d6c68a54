"""A family whose training waits in the middle, for tests that stop or kill it there.

In the folder that GATED names, the file ``closed`` holds every process that draws tasks for the
third iteration. Imported by ``--import gated_family``, in workers too.
"""

import os
import time
from pathlib import Path

import torch

from bomrl_lite.mdp import tabular_task
from bomrl_lite.tasks import register_tasks
from bomrl_lite.tasks.tabular import tabular_tasks

ITERATION = 2
"""Counted from 0, before which training waits."""
_drawn = 0


def sample(num_tasks: int, generator: torch.Generator, split: str = "train"):
    global _drawn
    _drawn += num_tasks > 1  # a draw of one task is for the policy's shape
    gate = Path(os.environ["GATED"], "closed")
    while gate.exists() and _drawn > ITERATION:
        time.sleep(0.05)
    reward = torch.rand(num_tasks, 1, 3, dtype=torch.float64, generator=generator)
    ones = torch.ones(num_tasks, 1, 3, 1, dtype=torch.float64)
    return tabular_task(ones, reward, ones[:, :, 0, 0])


register_tasks(tabular_tasks("test/gated", "waits", sample, num_actions=3, gamma=0.5, horizon=3))
