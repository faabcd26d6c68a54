r"""What a training depends on: families altered in one respect, everything else as it was.

Counted goals: the circle of 2-D navigation with N training goals instead of a fresh draw for every
iteration. Late rewards: the same points, paid at the end of windows of k steps. One direction: the
ant of ``ant/direction`` asked for one direction only, which is reinforcement learning without the
meta: what walking takes, before anything has to adapt.
"""

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, get_args

import torch
from torch import Tensor

from bomrl_lite.course.experiments.navigation import tuned_config
from bomrl_lite.course.experiments.sampled import Measure, attempted, fresh_returns
from bomrl_lite.course.experiments.setting import Row, Scale, Train
from bomrl_lite.tasks import make_tasks
from bomrl_lite.tasks.navigation import Goals
from bomrl_lite.tasks.robot_goals import Directions
from bomrl_lite.training.config import configure
from bomrl_lite.training.episodes import episodes_problem
from bomrl_lite.training.streams import seeded
from bomrl_lite.types import Simulator, Split, Tasks

CIRCLE = "navigation/circle"
METHODS = ("promp", "bomrl_head", "bomrl_natural")
"""Who learns from counted goals and late rewards."""
GOALS = (2, 8, 64)
"""How many goals there are to learn from."""
DRAWN = max(GOALS)
"""Goals that a seed draws at least; N of them are its first N."""
WINDOWS = (1, 5, 30)
"""Steps after which what they earned is paid; an episode has 30."""
LOG_STDS = (-0.5, -1.0)
"""How noisy the ant's first steps are: logarithm of the deviation of its torques."""


class LateRewards:
    """A simulator that pays at the end of every window of k steps, and at the end of an episode.

    The sum of an episode's rewards is that of the simulator inside, if no episode ends early. A
    discounted sum is not, and a baseline that is smooth in time fits the saw of what is still to
    come worse: both are part of what a delay does.

    Args:
        inside: what moves.
        window: k.
    """

    def __init__(self, inside: Simulator, window: int) -> None:
        self.horizon = inside.horizon
        self._inside, self._window = inside, window
        self._owed, self._taken = torch.zeros(()), 0

    def reset(self, generator: torch.Generator) -> Tensor:
        """Start all episodes anew."""
        self._owed, self._taken = torch.zeros(()), 0
        return self._inside.reset(generator)

    def step(
        self, actions: Tensor, generator: torch.Generator
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Act for one step."""
        observations, rewards, terminated, truncated = self._inside.step(actions, generator)
        self._taken += 1
        self._owed = self._owed + rewards
        if self._taken % self._window and self._taken < self.horizon:
            return observations, torch.zeros_like(rewards), terminated, truncated
        paid, self._owed = self._owed, torch.zeros_like(rewards)
        return observations, paid, terminated, truncated


def counted_goals(count: int, seed: int) -> Tasks[Goals]:
    """Return the circle with ``count`` training goals, drawn once; the test goals are the circle's.

    A batch has every goal equally often, as far as that goes. The goals of a small N are among
    those of a large one.

    Args:
        count: N.
        seed: which goals.
    """
    circle = make_tasks(CIRCLE)
    goals = circle.sample(max(count, DRAWN), seeded(seed, "tasks"), "train").goal[:count]

    def sample(num_tasks: int, generator: torch.Generator, split: Split) -> Goals:
        if split == "test":
            return circle.sample(num_tasks, generator, "test")
        order = torch.randperm(count, generator=generator)
        return Goals(goals[order[torch.arange(num_tasks) % count]])

    summary = f"points in the plane, {count} training goals on the unit circle"
    name = f"altered/{count}-goals-of-seed-{seed}"
    return replace(circle, name=name, summary=summary, sample=sample)


def late_rewards(window: int) -> Tasks[Goals]:
    """Return the circle whose rewards are paid every ``window`` steps."""
    circle = make_tasks(CIRCLE)

    def simulator(tasks: Goals, num_episodes: int, horizon: int | None = None) -> LateRewards:
        return LateRewards(circle.simulator(tasks, num_episodes, horizon), window)

    summary = f"points in the plane, paid every {window} steps"
    return replace(
        circle, name=f"altered/paid-every-{window}", summary=summary, simulator=simulator
    )


def one_direction() -> Tasks[Directions]:
    """Return the ant, all of whose tasks ask for +1; its name says that it has an ant's network."""
    ant = make_tasks("ant/direction", integrator="fast", backend="mujoco")

    def sample(num_tasks: int, generator: torch.Generator, split: Split) -> Directions:
        del generator, split
        return Directions(torch.ones(num_tasks, 1))

    return replace(ant, name="ant/forward", summary="an ant, forwards", sample=sample)


def training_goals(seed: int, scale: Scale, train: Train) -> Iterator[Row]:
    """Yield returns after one adaptation, on both splits, over the number of training goals."""
    for method in METHODS:
        for count in GOALS:
            tasks = counted_goals(count, seed)
            yield from _both_splits(method, tasks, seed, scale, train, {"goals": count})


def delayed(seed: int, scale: Scale, train: Train) -> Iterator[Row]:
    """Yield returns after one adaptation, on both splits, over how late rewards are paid."""
    for method in METHODS:
        for window in WINDOWS:
            tasks = late_rewards(window)
            yield from _both_splits(method, tasks, seed, scale, train, {"window": window})


def forward(seed: int, scale: Scale, train: Train) -> Iterator[Row]:
    """Yield what each iteration's episodes return while an ant learns to walk forwards."""
    for log_std in LOG_STDS:
        config = configure(
            "joint",
            tasks=one_direction(),
            log_std=log_std,
            learning_rate=5e-3,
            epochs=10,
            clip=0.3,
            seed=seed,
            num_tasks=4,
            num_episodes=20,
            iterations=scale.iterations,
            diagnose_every=10000,
        )
        state, seconds = train(config)
        for row in state.history:
            done = int(row["iteration"]) + 1
            yield {
                "log_std": log_std,
                "seed": seed,
                "iteration": done,
                "return": row["return_before"],
                "seconds": seconds * done / config.iterations,
            }


def _both_splits(
    method: str, tasks: Tasks[Any], seed: int, scale: Scale, train: Train, labels: Row
) -> Iterator[Row]:
    """Yield a row for the training goals and one for the test goals."""
    config = tuned_config(method, tasks, seed, scale)
    problem, (trained, note) = episodes_problem(config), attempted(train, config)
    for split in get_args(Split):
        row = {"method": method, **labels, "seed": seed, "split": split}
        if trained is None:
            yield {**row, "before": math.nan, "return": math.nan, "seconds": 0.0, "note": note}
            continue
        measure = Measure(num_tasks=2 * scale.num_test, split=split)
        before, after = fresh_returns(trained.state, problem, measure).mean(0).tolist()
        yield {**row, "before": before, "return": after, "seconds": trained.seconds, "note": note}
