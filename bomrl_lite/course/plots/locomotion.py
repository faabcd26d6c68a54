"""Recorded rollouts of robots as strips of pictures."""

from collections.abc import Sequence
from typing import NamedTuple

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from bomrl_lite.course.plots.style import WIDTH
from bomrl_lite.physics.robots import ROBOTS, load_model
from bomrl_lite.render.goal_marks import Goal
from bomrl_lite.render.render import equal_steps, frames


class Clip(NamedTuple):
    """One recorded episode."""

    task: str
    """What the task is called, such as "run at 1.5 m/s"."""
    stage: str
    """Whose episode it is, such as "before adaptation"."""
    robot: str
    """Key of :data:`bomrl_lite.physics.robots.ROBOTS`."""
    qpos: Tensor
    """Joint positions at the start and after each step, [T + 1, nq]."""
    rewards: Tensor
    """[T]."""
    goal: Goal | None
    """What the pictures show of the task."""

    @property
    def step_seconds(self) -> float:
        """Duration of one step, in seconds of the simulation."""
        return ROBOTS[self.robot].frame_skip * load_model(self.robot).opt.timestep


def check_clips(clips: Sequence[Clip]) -> None:
    """Refuse clips that cannot be told apart or whose poses and rewards do not belong together.

    Raises:
        ValueError: no clip, two of one task and stage, or not one pose more than rewards.
    """
    names = [(clip.task, clip.stage) for clip in clips]
    if not names or len(set(names)) < len(names):
        raise ValueError(f"need clips that differ in task or stage, got {names or 'none'}")
    for clip in clips:
        if clip.rewards.ndim != 1 or len(clip.qpos) != len(clip.rewards) + 1:
            raise ValueError(
                f"{clip.task}, {clip.stage}: need qpos [T + 1, nq] and rewards [T], the first pose "
                f"being the start; got {tuple(clip.qpos.shape)} and {tuple(clip.rewards.shape)}"
            )


def return_so_far(clip: Clip, step: int) -> float:
    """Return the sum of the rewards of the first ``step`` steps."""
    return float(clip.rewards[:step].sum())


def draw_filmstrip(
    clips: Sequence[Clip], *, count: int = 4, width: int = 480, height: int = 360
) -> Figure:
    """Draw each clip as a row of pictures at equal steps of time, with return and place so far.

    All rows show the same moments of a full episode; a row ends early if its episode did.

    Args:
        clips: of one robot.
        count: pictures of a full episode, from its start to its end.
        width: of a picture, in pixels.
        height: of a picture, in pixels.

    Raises:
        ValueError: see :func:`check_clips`; several robots; more pictures than moments.
    """
    check_clips(clips)
    if len({clip.robot for clip in clips}) > 1:
        raise ValueError("the rows of a strip share their times: give clips of one robot")
    longest = max(len(clip.rewards) for clip in clips)
    moments = equal_steps(longest + 1, count)
    across = (WIDTH - 0.4) / count
    size = (WIDTH, (across * height / width + 0.55) * len(clips) + 0.2)
    figure, axes = plt.subplots(len(clips), count, figsize=size, squeeze=False)
    for row, clip in zip(axes, clips, strict=True):
        steps = [step for step in moments if step <= len(clip.rewards)]
        pictures = frames(
            load_model(clip.robot),
            clip.qpos,
            width=width,
            height=height,
            goal=clip.goal,
            rows=steps,
        )
        for ax, step, picture in zip(row, steps, pictures, strict=False):
            _draw_moment(ax, picture, _note(clip, step))
        for ax in row[len(steps) :]:
            ax.set_axis_off()
        row[0].set_ylabel(f"{clip.task}\n{clip.stage}")
    for ax, step in zip(axes[0], moments, strict=True):
        ax.set_title(f"{step * clips[0].step_seconds:.2f} s")
    ends = "; ".join(
        f"{clip.task}, {clip.stage}: return {return_so_far(clip, len(clip.rewards)):+.1f}, "
        f"x = {float(clip.qpos[-1, 0]):+.1f} m"
        for clip in clips
    )
    figure.set_label(
        f"Pictures of a robot at {len(moments)} moments of an episode; at its end {ends}."
    )
    return figure


def _note(clip: Clip, step: int) -> str:
    """Say what the picture, which follows the robot, does not show."""
    return f"return {return_so_far(clip, step):+.1f}\nx = {float(clip.qpos[step, 0]):+.1f} m"


def _draw_moment(ax: Axes, picture: np.ndarray, note: str) -> None:
    ax.imshow(picture, interpolation="antialiased")
    ax.set(xticks=[], yticks=[])
    ax.set_xlabel(note)
    ax.spines[:].set_visible(False)
