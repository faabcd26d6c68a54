"""Widget of lesson 06b: watch a robot before and after it adapts."""

import html
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, NamedTuple

import ipywidgets
import torch
from torch import Tensor
from torch.func import vmap

from bomrl_lite.course.plots.locomotion import Clip, check_clips, return_so_far
from bomrl_lite.course.widgets.explorer import FRAME, STYLE, picture
from bomrl_lite.course.widgets.frames import MOST_FRAMES, Frame, Framed, address, pictures_page
from bomrl_lite.physics.robots import ROBOTS, load_model
from bomrl_lite.render.goal_marks import Direction, Goal, Speed
from bomrl_lite.render.render import equal_steps, frames, png
from bomrl_lite.rollout.collect import collect, repeat
from bomrl_lite.rollout.observations import lens_of
from bomrl_lite.tasks.locomotion import FAMILIES, LocomotionSimulator
from bomrl_lite.tasks.robot_goals import Directions, Speeds
from bomrl_lite.training.episodes import EpisodesProblem
from bomrl_lite.training.policy_file import TrainedPolicy
from bomrl_lite.training.problem import make_problem
from bomrl_lite.training.streams import seeded

FIT = "display: block; width: 100%; height: auto"
TEXT = "line-height: 1.4; min-height: 4.2em; font-variant-numeric: tabular-nums"
"""Of the numbers below a picture: they may wrap, and nothing moves when they grow."""
WRAP = {"flex_flow": "row wrap"}
"""A slider beside the buttons, or below them where that leaves it short."""
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


def adapted_clips(
    trained: TrainedPolicy,
    tasks: Any,
    names: Sequence[str],
    *,
    seed: int = 0,
    num_episodes: int = 20,
    horizon: int | None = None,
) -> list[Clip]:
    """Play a stored policy on tasks before and after one adaptation: clips of both stages.

    Args:
        trained: of a family of robots, see :func:`bomrl_lite.training.policy_file.load_policy`.
        tasks: N of that family.
        names: N.
        seed: of the data to adapt to and of the episodes that are shown.
        num_episodes: to adapt to, per task.
        horizon: steps of an episode; None takes those that the policy was trained with.

    Raises:
        ValueError: the policy's family is not one of robots that this process knows.
    """
    if trained.config is None or trained.config.tasks not in FAMILIES or trained.moments is None:
        raise ValueError("need a policy that was trained on a family of robots of this course")
    config = trained.config
    family, problem = FAMILIES[config.tasks], make_problem(config)
    assert isinstance(problem, EpisodesProblem)  # robots have no exact values
    robot = family.runner.robot
    phis = repeat(trained.phi, len(names))
    simulator = problem.simulator(tasks, num_episodes, trained.moments)
    acting = problem.acting(seeded(seed, 9))
    data = problem.batch(collect(simulator, problem.policy, phis, acting))
    stages = {
        "before adaptation": phis,
        "after 1 adaptation": vmap(lambda phi, batch: problem.alg(phi, batch).theta)(phis, data),
    }
    lens, clips, steps = lens_of(trained.moments), [], horizon or simulator.horizon
    for stage, thetas in stages.items():
        generator = seeded(seed, 10)

        def act(seen: Tensor, thetas: Any = thetas, draw: torch.Generator = generator) -> Tensor:
            return vmap(problem.policy.distribution)(thetas, lens(seen)).sample(draw)

        clips += record_clips(
            LocomotionSimulator(family, tasks, 1, steps, backend="mujoco"),
            act,
            generator,
            robot=robot,
            tasks=names,
            stage=stage,
            goals=goals_of(tasks, robot),
        )
    return clips


def rollout_player(
    clips: Sequence[Clip], *, width: int = 480, height: int = 360
) -> ipywidgets.VBox:
    """Return a player: choose a task, then play, or drag through time; all stages side by side.

    A stage whose episode is over stands still at its end. Pictures are drawn when they are first
    looked at, and kept.

    Args:
        clips: every task in every stage.
        width: of a picture, in pixels.
        height: of a picture, in pixels.

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
    def drawn(name: tuple[str, str], step: int) -> bytes:
        clip = by_name[name]
        size = {"width": width, "height": height, "goal": clip.goal}
        return png(frames(load_model(clip.robot), clip.qpos, rows=[step], **size)[0])

    task = ipywidgets.Dropdown(options=tasks, description="task")
    slider = ipywidgets.IntSlider(description="step", layout={"flex": "1 1 20em"})
    play = ipywidgets.Play(interval=round(1000 * PLAY_SECONDS))
    layout = {"flex": "1 1 0", "max_width": f"{width}px", "min_width": "0"}
    views = {stage: ipywidgets.HTML(layout=layout) for stage in stages}

    def shown() -> list[Clip]:
        return [by_name[str(task.value), stage] for stage in stages]

    def show(_: Any = None) -> None:
        for clip in shown():
            step = min(slider.value, len(clip.rewards))
            now = describe(clip, step)
            image = picture(drawn((clip.task, clip.stage), step), f"{clip.task}, {now}", FIT)
            title = f"<b>{html.escape(clip.stage)}</b>"
            views[clip.stage].value = f'{STYLE}{title}{image}<div style="{TEXT}">{now}</div>'

    def choose(_: Any = None) -> None:
        longest = max(shown(), key=lambda clip: len(clip.rewards))
        play.step = max(1, round(PLAY_SECONDS / longest.step_seconds))
        slider.max = len(longest.rewards)  # a longer episode's step is cut to the end
        play.max = slider.max + play.step - 1  # so that a long last step reaches the end too
        tell_play()
        show()

    def follow_play(_: Any) -> None:
        slider.value = play.value  # cut to the end

    def tell_play(_: Any = None) -> None:
        at_end = slider.value == slider.max
        play.value = play.max if at_end else slider.value  # from its own end it starts anew

    task.observe(choose, names="value")
    slider.observe(show, names="value")
    slider.observe(tell_play, names="value")
    play.observe(follow_play, names="value")
    choose()
    side_by_side = ipywidgets.HBox(list(views.values()), layout={"grid_gap": "8px"})
    view = Framed([task, ipywidgets.HBox([play, slider], layout=WRAP), side_by_side])
    view.twin = lambda: _twin([[by_name[t, s] for s in stages] for t in tasks], width, height)
    view.add_class(FRAME)
    return view


def _twin(rows: Sequence[Sequence[Clip]], width: int, height: int) -> str:
    """Return moments of all clips behind a slider, for pages where no Python runs.

    Args:
        rows: one task each, in all its stages.
        width: of a picture, in pixels.
        height: of a picture, in pixels.
    """
    clips = [clip for row in rows for clip in row]
    longest = max(clips, key=lambda clip: len(clip.rewards))
    count = min(MOST_FRAMES, len(longest.qpos))
    moments = equal_steps(len(longest.qpos), count)
    drawn = [
        frames(
            load_model(clip.robot),
            clip.qpos,
            rows=[min(step, len(clip.rewards)) for step in moments],
            width=width,
            height=height,
            goal=clip.goal,
        )
        for clip in clips
    ]
    shown = []
    for number, step in enumerate(moments):
        seconds = f"{step * longest.step_seconds:.2f} s"
        pictures = [
            {
                "src": address(png(of_clip[number])),
                "alt": f"{clip.task}, {clip.stage}, {describe(clip, min(step, len(clip.rewards)))}",
            }
            for clip, of_clip in zip(clips, drawn, strict=True)
        ]
        lines = [f"Return so far, at {seconds}:", *(_returns(row, step) for row in rows)]
        shown.append(Frame(seconds, "\n".join(lines), pictures))
    titles = [f"{clip.task}, {clip.stage}" for clip in clips]
    return pictures_page("time", shown, titles, columns=len(rows[0]), width=width)


def _returns(row: Sequence[Clip], step: int) -> str:
    """Say in one line what each stage of a task has earned."""
    earned = [
        f"{return_so_far(clip, min(step, len(clip.rewards))):+.1f} {clip.stage}" for clip in row
    ]
    return f"{row[0].task}: {', '.join(earned)}"


def describe(clip: Clip, step: int) -> str:
    """Say what a step has come to, in one line."""
    now = moment(clip, step)
    asked = f" of {clip.goal.asked:.1f} asked" if isinstance(clip.goal, Speed) else ""
    return (
        f"{now.seconds:.2f} s: return so far {now.earned:+.1f}, last reward {now.reward:+.2f}, "
        f"speed {now.speed:+.1f} m/s{asked}"
    )
