"""The rollout player: what it computes, that the view follows its controls, the static strip."""

import base64
import io
import re

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from PIL import Image

from bomrl_lite.course import plots, show, widgets
from bomrl_lite.course.plots.alternative import alternative_text
from bomrl_lite.course.root import course_root
from bomrl_lite.course.widgets import player
from bomrl_lite.physics.robots import load_model
from bomrl_lite.render.goal_marks import Direction, Speed
from bomrl_lite.tasks.locomotion import FAMILIES, LocomotionSimulator
from bomrl_lite.tasks.robot_goals import Directions
from bomrl_lite.training.policy_file import load_policy

STEP = 0.05  # seconds of a cheetah's step: 5 physics steps of 0.01 s
REWARDS = [1.0, -2.0, 4.0, 0.5]
RESULTS = course_root() / "notebooks" / "results"


def clip(task="run", stage="before", x=(0.0, 0.1, 0.3, 0.2, 0.2), rewards=REWARDS, goal=None):
    qpos = torch.zeros(len(x), 9, dtype=torch.float64)
    qpos[:, 0] = torch.tensor(x)
    return plots.Clip(task, stage, "half_cheetah", qpos, torch.tensor(rewards), goal)


def pixels(data):
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB")).astype(int)


def test_a_moment_is_the_sum_so_far_and_the_step_that_led_there():
    now = widgets.moment(clip(), 3)
    assert now == pytest.approx((3 * STEP, 3.0, 4.0, (0.2 - 0.3) / STEP))
    assert widgets.moment(clip(), 0) == (0, 0, 0, 0)
    assert widgets.moment(clip(), 4).earned == pytest.approx(3.5)
    for step in (-1, 5):
        with pytest.raises(IndexError, match=f"has 4 steps, got step {step}"):
            widgets.moment(clip(), step)


def recorded(name, num_tasks, horizon, stage="before"):
    """Clips of random actions, and the actions."""
    family, generator = FAMILIES[name], torch.Generator().manual_seed(0)
    tasks = family.sample(num_tasks, generator, "train")
    simulator = LocomotionSimulator(family, tasks, 2, horizon, backend="mujoco")
    taken = []

    def act(observations):
        shape = (*observations.shape[:2], family.runner.action_size)
        taken.append(2 * torch.rand(shape, generator=generator) - 1)
        return taken[-1]

    names = [f"task {n}" for n in range(num_tasks)]
    goals = widgets.goals_of(tasks, family.runner.robot)
    kinds = {"robot": family.runner.robot, "tasks": names, "stage": stage, "goals": goals}
    clips = widgets.record_clips(simulator, act, generator, **kinds)
    return clips, torch.stack(taken, 2), tasks


def test_recorded_poses_and_rewards_belong_together():
    """The reward of a cheetah that runs somewhere, by hand from where it was and what it did."""
    clips, actions, tasks = recorded("cheetah/direction", 2, 6)
    for n, one in enumerate(clips):
        assert one.qpos.shape == (7, 9)
        velocity = np.diff(one.qpos[:, 0].numpy()) / STEP
        effort = 0.05 * (actions[n, 0].numpy() ** 2).sum(-1)
        expected = tasks.direction[n].item() * velocity - effort
        np.testing.assert_allclose(one.rewards.numpy(), expected, atol=1e-5)
    assert [one.goal for one in clips] == [Direction(w) for w in tasks.direction[:, 0].tolist()]


def test_a_recording_ends_where_the_robot_falls():
    clips, _, _ = recorded("hopper/parameters", 4, 40)
    fallen = 0
    for one in clips:
        height, angle = one.qpos[1:, 1], one.qpos[1:, 2]
        stands = ((height > 0.7) & (angle.abs() < 0.2)).tolist()
        assert all(stands[:-1])
        fallen += not stands[-1]
        assert len(one.rewards) == len(one.qpos) - 1
        assert one.goal is None
        assert stands[-1] == (len(one.rewards) == 40)
    assert fallen > 0


def test_speeds_become_gauges():
    tasks = FAMILIES["cheetah/velocity"].sample(3, torch.Generator().manual_seed(1), "test")
    goals = widgets.goals_of(tasks, "half_cheetah")
    assert [goal.asked for goal in goals] == pytest.approx(tasks.speed.tolist())
    assert [goal.step_seconds for goal in goals] == pytest.approx([STEP] * 3)


SIZE = {"width": 64, "height": 48}


def seen_in(view):
    """Return the player's parts, and per stage a function that reads picture, words and numbers."""
    task, box, stages = view.children

    def read(number):
        value = stages.children[number].value
        (source,) = re.findall(r'src="data:image/png;base64,([^"]+)"', value)
        (words,) = re.findall(r'alt="([^"]+)"', value)
        (numbers,) = re.findall(r"<div[^>]*>([^<]*)</div>", value)
        return base64.b64decode(source), words, numbers

    return task, *box.children, read


def test_the_player_follows_its_controls_and_shows_all_stages_side_by_side():
    clips = [
        clip(goal=Direction(1)),
        clip(stage="after", x=(0, 0.2, 0.45), rewards=[3.0, 4.0], goal=Direction(1)),
        clip(task="back", goal=Direction(-1)),
        clip(task="back", stage="after", goal=Direction(-1)),
    ]
    view = widgets.rollout_player(clips, **SIZE)
    task, play, slider, read = seen_in(view)
    assert (task.value, slider.value, slider.max) == ("run", 0, 4)
    assert [re.findall("<b>(.*)</b>", each.value) for each in view.children[2].children] == [
        ["before"],
        ["after"],
    ]
    seen = {read(0)[0]}
    slider.value = 1
    assert read(0)[2] == "0.05 s: return so far +1.0, last reward +1.00, speed +2.0 m/s"
    assert read(1)[2] == "0.05 s: return so far +3.0, last reward +3.00, speed +4.0 m/s"
    assert read(1)[1] == f"run, {read(1)[2]}"
    slider.value = 4  # the second episode has 2 steps and stays at its end
    assert read(0)[2].startswith("0.20 s: return so far +3.5")
    assert read(1)[2] == "0.10 s: return so far +7.0, last reward +4.00, speed +5.0 m/s"
    seen |= {read(0)[0], read(1)[0]}
    task.value = "back"
    seen.add(read(0)[0])
    assert len(seen) == 4
    assert pixels(read(0)[0]).shape == (48, 64, 3)
    assert play.interval * 1e-3 == pytest.approx(play.step * STEP)  # plays at true speed


@pytest.mark.parametrize(("length", "shown"), [(3, [0, 2, 3]), (4, [0, 2, 4])])
def test_play_reaches_the_last_step_and_starts_anew_there(length, shown):
    """The button takes steps while they fit below its maximum; pressed there, it starts anew."""
    view = widgets.rollout_player([clip(x=range(length + 1), rewards=[1.0] * length)], **SIZE)
    _, play, slider, _ = seen_in(view)
    seen = [slider.value]
    while play.value + play.step <= play.max:
        play.value += play.step
        seen.append(slider.value)
    assert seen == shown
    assert play.value == play.max
    slider.value = 1
    assert play.value == 1  # goes on from where it was dragged to


def test_the_slider_goes_as_far_as_the_longest_stage_and_is_cut_where_all_are_shorter():
    late = clip(stage="after", x=range(8), rewards=[1.0] * 7)
    short = [clip("back", stage) for stage in ("before", "after")]
    task, play, slider, _ = seen_in(widgets.rollout_player([clip(), late, *short], **SIZE))
    assert slider.max == 7
    slider.value = 6
    task.value = "back"
    assert (slider.max, slider.value, play.value) == (4, 4, play.max)


def test_the_player_says_what_speed_is_asked():
    _, _, slider, read = seen_in(widgets.rollout_player([clip(goal=Speed(1.5, STEP))], **SIZE))
    slider.value = 1
    assert read(0)[2].endswith("speed +2.0 m/s of 1.5 asked")


def test_a_picture_is_drawn_when_it_is_looked_at_and_once(monkeypatch):
    drawn = []

    def frames(model, qpos, *, rows, **kinds):
        drawn.append(rows)
        return np.full((len(rows), 4, 5, 3), rows[0], np.uint8)

    monkeypatch.setattr(player, "frames", frames)
    late = clip(task="back", x=range(4), rewards=[1.0] * 3)
    task, _, slider, read = seen_in(widgets.rollout_player([clip(), late]))
    for step in (3, 1, 3, 0):
        slider.value = step
        assert (pixels(read(0)[0]) == step).all()
    assert drawn == [[0], [3], [1]]
    task.value = "back"
    assert drawn == [[0], [3], [1], [0]]


@pytest.mark.parametrize("name", ["cheetah_direction_bomrl_head"])
def test_a_stored_policy_runs_the_way_that_pays_after_one_adaptation(name):
    trained = load_policy(RESULTS / "policies" / f"{name}.pt")
    ways = Directions(torch.tensor([[-1.0], [1.0]]))
    clips = widgets.adapted_clips(trained, ways, ("backwards", "forwards"), horizon=40)
    assert [(c.task, c.stage) for c in clips] == [
        (task, stage)
        for stage in ("before adaptation", "after 1 adaptation")
        for task in ("backwards", "forwards")
    ]
    earned = [sum(c.rewards.tolist()) for c in clips]
    assert earned[2] > earned[0] + 5
    assert earned[3] > earned[1] + 5
    assert clips[2].qpos[-1, 0] < -1
    assert clips[3].qpos[-1, 0] > 1


def test_the_strip_shows_the_same_moments_of_every_clip():
    late = clip(stage="after", x=(0.0, 0.5, 1.0), rewards=[2.0, 3.0], goal=Direction(1))
    figure = plots.draw_filmstrip([clip(goal=Direction(1)), late], count=3, **SIZE)
    first, second = np.array(figure.axes).reshape(2, 3)
    assert [ax.get_title() for ax in first] == ["0.00 s", "0.10 s", "0.20 s"]
    notes = [[ax.get_xlabel()] if ax.get_xlabel() else [] for ax in (*first, *second)]
    assert notes == [
        ["return +0.0\nx = +0.0 m"],
        ["return -1.0\nx = +0.3 m"],
        ["return +3.5\nx = +0.2 m"],
        ["return +0.0\nx = +0.0 m"],
        ["return +5.0\nx = +1.0 m"],
        [],
    ]
    assert not second[2].axison
    assert [ax[0].get_ylabel() for ax in (first, second)] == ["run\nbefore", "run\nafter"]
    shown = first[2].images[0].get_array()
    alone = player.frames(
        load_model("half_cheetah"), clip().qpos, rows=[4], goal=Direction(1), **SIZE
    )
    np.testing.assert_array_equal(shown, alone[0])


@pytest.mark.parametrize(
    ("clips", "message"),
    [
        ([], "got none"),
        ([clip(), clip()], "differ in task or stage"),
        ([clip(rewards=[1.0, 2.0])], r"\(5, 9\) and \(2,\)"),
    ],
)
@pytest.mark.parametrize("draw", [widgets.rollout_player, plots.draw_filmstrip])
def test_clips_that_are_refused(draw, clips, message):
    with pytest.raises(ValueError, match=message):
        draw(clips)


def test_a_stage_must_not_be_missing_and_a_strip_is_of_one_robot():
    with pytest.raises(ValueError, match=r"none of \[\('back', 'after'\)\]"):
        widgets.rollout_player([clip(), clip(stage="after"), clip(task="back")])
    with pytest.raises(ValueError, match="one robot"):
        plots.draw_filmstrip([clip(), clip(stage="after")._replace(robot="ant")])


def test_a_shown_clip_is_thinned_out_until_it_is_small():
    poses = torch.zeros(16, 9, dtype=torch.float64)
    poses[:, 0] = torch.linspace(0, 2, 16)
    pictures = player.frames(load_model("half_cheetah"), poses, **SIZE)

    def shown(kilobytes):
        html = show.show_clip(pictures, 20.0, kilobytes=kilobytes).data
        (text,) = re.findall(r'src="data:image/webp;base64,([^"]+)"', html)
        data = base64.b64decode(text)
        clip = Image.open(io.BytesIO(data))
        clip.load()
        return clip.n_frames, clip.info["duration"], len(data)

    assert shown(1000)[:2] == (16, 50)
    frames, duration, size = shown(4)
    assert frames < 16
    assert frames * duration == 16 * 50
    assert size <= 4_000


@pytest.fixture(params=["matplotlib's look", "the course's look"])
def look(request):
    with plt.rc_context():
        plt.rcdefaults() if request.param == "matplotlib's look" else plots.use_style()
        yield


def test_a_photograph_is_the_strip_with_its_words(look):
    """Two figures: a constrained layout moves a little at each drawing of the same one."""
    strip, same = (plots.draw_filmstrip([clip()], count=3) for _ in range(2))
    image = show.show_photograph(same)
    assert plt.get_fignums() == [strip.number]
    got, whole = pixels(image.data), pixels(plots.png(strip))
    assert got.shape == whole.shape
    assert abs(got - whole).mean() < 3
    _, metadata = image._repr_mimebundle_()
    assert metadata["image/png"]["alt"] == alternative_text(strip)
    assert metadata["image/png"]["width"] >= 700
    plt.close(strip)


def test_a_clip_says_what_is_seen():
    pictures = np.zeros((2, 4, 5, 3), np.uint8)
    page = show.show_clip(pictures, 10.0, alt='a robot at "1 m/s"').data
    assert page.startswith('<img alt="a robot at &quot;1 m/s&quot;" ')
