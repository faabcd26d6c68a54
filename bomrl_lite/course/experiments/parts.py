"""Whether data collected once are enough, over how different the tasks are.

Goals of 2-D navigation lie on an arc of growing width, and speeds of the half cheetah in a band of
growing width around 1 m/s: 40 episodes per task, all at once or in four parts.
"""

import math
from collections.abc import Iterator
from dataclasses import replace

import torch

from bomrl_lite.course.experiments import locomotion, navigation
from bomrl_lite.course.experiments.lams import on_robots
from bomrl_lite.course.experiments.sampled import SHARED, attempted, in_parts
from bomrl_lite.course.experiments.setting import Row, Scale, Train
from bomrl_lite.tasks import make_tasks
from bomrl_lite.tasks.robot_goals import Speeds
from bomrl_lite.training.episodes import episodes_problem
from bomrl_lite.types import Split, Tasks

ARCS = ("navigation/arc-45", "navigation/arc-90", "navigation/arc-180", "navigation/circle")
"""Where goals lie."""
BANDS = (0.25, 0.5, 1.0)
"""Half of a band's width, in m/s; the last is ``cheetah/velocity`` itself."""
COUNTS = (1, 4)
"""Of parts."""
METHODS = {"promp": "ProMP", "bomrl_head": "BO-MRL head"}
"""Who learns, and what robots call it."""


def band(half: float) -> Tasks[Speeds]:
    """Return the half cheetah at speeds in [1 - half, 1 + half] m/s: those of [0, 2], drawn in.

    Args:
        half: of the width, in m/s, in (0, 1].
    """
    whole = make_tasks("cheetah/velocity", backend="mujoco")

    def sample(num_tasks: int, generator: torch.Generator, split: Split) -> Speeds:
        speeds = whole.sample(num_tasks, generator, split).speed
        return Speeds(1 + half * (speeds - 1))

    summary = f"a half cheetah, at a speed in [{1 - half:g}, {1 + half:g}] m/s"
    return replace(whole, name=f"cheetah/band-{half:g}", summary=summary, sample=sample)


def spreads(seed: int, scale: Scale, train: Train) -> Iterator[Row]:
    """Yield returns after 40 episodes at once or in parts, over the width of arcs and bands."""
    for method, arm in METHODS.items():
        robots = locomotion.tuned_config(arm, seed, "cheetah/velocity", on_robots(scale))
        configs = {
            **{tasks: navigation.tuned_config(method, tasks, seed, scale) for tasks in ARCS},
            **{f"cheetah/band-{half:g}": robots.replace(tasks=band(half)) for half in BANDS},
        }
        for tasks, config in configs.items():
            labels: Row = {"method": method, "tasks": tasks, "seed": seed}
            problem, (trained, note) = episodes_problem(config), attempted(train, config)
            if trained is None:
                failed = dict.fromkeys(("factor", "before", "return"), math.nan)
                yield {**labels, "collections": 1, "episodes": SHARED, **failed, "note": note}
                continue
            num_tasks = 2 * scale.num_test if tasks in ARCS else None
            for row in in_parts(trained.state, problem, counts=COUNTS, num_tasks=num_tasks):
                yield {**labels, **row, "note": note}
