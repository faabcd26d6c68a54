"""Widget of lesson 06: watch a robot before and after it adapts."""

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, NamedTuple

import ipywidgets
import torch
from torch import Tensor

from bomrl_lite.course.plots.locomotion import Clip, check_clips, return_so_far
from bomrl_lite.physics.robots import ROBOTS, load_model
from bomrl_lite.render.goal_marks import Direction, Goal, Speed
from bomrl_lite.render.render import frames, png
from bomrl_lite.tasks.locomotion import LocomotionSimulator
from bomrl_lite.tasks.robot_goals import Directions, Speeds

PLAY_SECONDS = 0.1
"""Between two pictures of the play button: what a browser and a kernel keep up with."""


class Moment(NamedTuple):
    """What one step of a clip has come to."""

    seconds: float
    earned: float
    """Sum of the rewards so far."""
    reward: float
    """Of the step that led here; 0 at the start."""
    speed: float
    """Along the x axis during that step, in m/s; 0 at the start."""


def moment(clip: Clip, step: int) -> Moment:
    """Compute what a clip has come to after ``step`` steps.

    Raises:
        IndexError: the clip has fewer steps, or step < 0.
    """
    if not 0 <= step <= len(clip.rewards):
        raise IndexError(f"the clip has {len(clip.rewards)} steps, got step {step}")
    if step == 0:
        return Moment(0.0, 0.0, 0.0, 0.0)
    moved = float(clip.qpos[step, 0] - clip.qpos[step - 1, 0])
    return Moment(
        step * clip.step_seconds,
        return_so_far(clip, step),
        float(clip.rewards[step - 1]),
        moved / clip.step_seconds,
    )


def record_clips(
    simulator: LocomotionSimulator,
    act: Callable[[Tensor], Tensor],
    generator: torch.Generator,
    *,
    robot: str,
    tasks: Sequence[str],
    stage: str,
    goals: Sequence[Goal | None],
) -> list[Clip]:
    """Play one episode of every task and keep its poses; an episode ends where the robot falls.

    Args:
        simulator: of N tasks; the first of their episodes is kept.
        act: observations [N, B, O] -> actions [N, B, K].
        generator: where the randomness of the start comes from.
        robot: name of the simulator's robot.
        tasks: N names.
        stage: whose episodes these are.
        goals: N, see :func:`goals_of`.
    """
    observations, poses, rewards, ended = simulator.reset(generator), [], [], []
    poses.append(_poses(simulator, len(tasks)))
    for _ in range(simulator.horizon):
        observations, reward, terminated, _ = simulator.step(act(observations), generator)
        poses.append(_poses(simulator, len(tasks)))
        rewards.append(reward[:, 0])
        ended.append(terminated[:, 0])
    qpos, paid, over = torch.stack(poses, 1), torch.stack(rewards, 1), torch.stack(ended, 1)
    lengths = (over.int().argmax(1) + 1).tolist()  # the time limit ends those that never fall
    return [
        Clip(task, stage, robot, qpos[n, : length + 1], paid[n, :length], goals[n])
        for n, (task, length) in enumerate(zip(tasks, lengths, strict=True))
    ]


def _poses(simulator: LocomotionSimulator, num_tasks: int) -> Tensor:
    return simulator.physics.qpos.unflatten(0, (num_tasks, -1))[:, 0].double().cpu().clone()


def goals_of(tasks: Any, robot: str) -> list[Goal | None]:
    """Return what a picture can show of tasks: their directions or speeds; of bodies nothing.

    Args:
        tasks: N of a family of :mod:`bomrl_lite.tasks.locomotion`.
        robot: key of :data:`bomrl_lite.physics.robots.ROBOTS`.
    """
    if isinstance(tasks, Directions):
        return [Direction(*way) for way in tasks.direction.tolist()]
    if isinstance(tasks, Speeds):
        seconds = ROBOTS[robot].frame_skip * load_model(robot).opt.timestep
        return [Speed(speed, seconds) for speed in tasks.speed.tolist()]
    return [None] * len(tasks[0])


def rollout_player(
    clips: Sequence[Clip], *, width: int = 240, height: int = 180
) -> ipywidgets.VBox:
    """Return a player: choose a task and a stage, then play, or drag through time.

    Pictures are drawn when they are first looked at, and kept.

    Args:
        clips: every task in every stage.
        width: of the picture, in pixels.
        height: of the picture, in pixels.

    Raises:
        ValueError: see :func:`bomrl_lite.course.plots.check_clips`; a task lacks a stage.
    """
    check_clips(clips)
    by_name = {(clip.task, clip.stage): clip for clip in clips}
    tasks, stages = (list(dict.fromkeys(part)) for part in zip(*by_name, strict=True))
    missing = [(t, s) for t in tasks for s in stages if (t, s) not in by_name]
    if missing:
        raise ValueError(f"every task needs a clip of every stage; there is none of {missing}")

    @cache
    def picture(name: tuple[str, str], step: int) -> bytes:
        clip = by_name[name]
        drawn = frames(
            load_model(clip.robot), clip.qpos, width=width, height=height, goal=clip.goal,
            rows=[step],
        )  # fmt: skip
        return png(drawn[0])

    task = ipywidgets.Dropdown(options=tasks, description="task")
    stage = ipywidgets.ToggleButtons(options=stages)
    slider = ipywidgets.IntSlider(description="step")
    play = ipywidgets.Play(interval=round(1000 * PLAY_SECONDS))
    layout = ipywidgets.Layout(align_self="flex-start", max_width="100%")
    line = ipywidgets.HTML()  # wraps where the page is narrow; a label would be cut
    image = ipywidgets.Image(format="png", layout=layout)

    def chosen() -> tuple[str, str]:
        return str(task.value), str(stage.value)

    def show(_: Any = None) -> None:
        image.value = picture(chosen(), slider.value)
        line.value = describe(by_name[chosen()], slider.value)

    def choose(_: Any = None) -> None:
        clip = by_name[chosen()]
        play.step = max(1, round(PLAY_SECONDS / clip.step_seconds))
        slider.max = len(clip.rewards)  # a longer episode's step is cut to the end
        play.max = slider.max + play.step - 1  # so that a long last step reaches the end too
        tell_play()
        show()

    def follow_play(_: Any) -> None:
        slider.value = play.value  # cut to the end

    def tell_play(_: Any = None) -> None:
        at_end = slider.value == slider.max
        play.value = play.max if at_end else slider.value  # from its own end it starts anew

    for menu in (task, stage):
        menu.observe(choose, names="value")
    slider.observe(show, names="value")
    slider.observe(tell_play, names="value")
    play.observe(follow_play, names="value")
    choose()
    return ipywidgets.VBox([task, stage, ipywidgets.HBox([play, slider]), line, image])


def describe(clip: Clip, step: int) -> str:
    """Say what a step has come to, in one line."""
    now = moment(clip, step)
    asked = f" of {clip.goal.asked:.1f} asked" if isinstance(clip.goal, Speed) else ""
    return (
        f"{now.seconds:.2f} s: return so far {now.earned:+.1f}, last reward {now.reward:+.2f}, "
        f"speed {now.speed:+.1f} m/s{asked}"
    )
