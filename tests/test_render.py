"""Pictures against geometry by hand: rays, planes, spheres, boxes, colours, goal marks, files."""

import io
import math
import sys

import mujoco
import numpy as np
import pytest
import torch
from PIL import Image

from bomrl_lite.physics.robots import ROBOTS, load_model
from bomrl_lite.render import render
from bomrl_lite.render.camera import View, floor_of, pixel_rays, view_of
from bomrl_lite.render.goal_marks import ASKED, GAUGE, Direction, Speed, gauge_place
from bomrl_lite.render.raycast import LIGHT, checker, colours

RED, BLUE = (0.9, 0.05, 0.05), (0.05, 0.05, 0.9)
SCENE = """
<mujoco>
  <asset><material name="blue" rgba="{} 1"/></asset>
  <worldbody>
    <geom name="floor" type="plane" size="0 0 1"/>
    <body name="torso" pos="0 0 .6">
      <joint type="slide" axis="1 0 0"/><joint type="slide" axis="0 0 1"/>
      <geom type="{}" size="{}" {}/>
    </body>
  </worldbody>
</mujoco>
"""


def scene(kind, size, paint):
    blue = " ".join(map(str, BLUE))
    return mujoco.MjModel.from_xml_string(SCENE.format(blue, kind, size, paint))


BALL = scene("sphere", ".3", f'rgba="{" ".join(map(str, RED))} 1"')
BLOCK = scene("box", ".3 .1 .2", 'material="blue"')
SIZE = {"width": 96, "height": 72}


def camera_ray(view, row, column):
    """The ray by trigonometry: angles off the axis, then a rotation about x by the elevation."""
    half = math.tan(math.radians(20.0))
    x = (column / view.width * 2 - 1) * half * view.width / view.height
    z = (1 - row / view.height * 2) * half
    sine, cosine = math.sin(view.elevation), math.cos(view.elevation)
    return np.array([x, cosine + z * sine, z * cosine - sine])


def camera_place(view, trunk=0.0):
    back = view.distance * np.array([0, math.cos(view.elevation), -math.sin(view.elevation)])
    return np.array([trunk, 0, view.aim]) - back


def centre_rays(view):
    return np.array(
        [
            [camera_ray(view, row + 0.5, column + 0.5) for column in range(view.width)]
            for row in range(view.height)
        ]
    )


def meets_ball(start, rays, centre, radius):
    """Whether the nearest point of each ray's line is inside the ball."""
    rays = rays / np.linalg.norm(rays, axis=-1, keepdims=True)
    to = centre - start
    across = to - (rays @ to)[..., None] * rays
    return np.linalg.norm(across, axis=-1) - radius


def meets_box(start, rays, centre, half):
    """Whether the parts of each ray's line between the three pairs of planes overlap."""
    slabs = [(sign * half - (start - centre)) / rays for sign in (-1, 1)]
    return np.minimum(*slabs).max(-1) < np.maximum(*slabs).min(-1)


def test_rays_are_those_of_trigonometry():
    view = View(8, 6, 0.5, 3.0, math.radians(25), 1.0)
    rows, columns = np.mgrid[0:6, 0:8] + 0.5
    np.testing.assert_allclose(pixel_rays(view, rows, columns), centre_rays(view), atol=1e-12)
    np.testing.assert_allclose(view.offset, camera_place(view), atol=1e-12)
    ahead = pixel_rays(view, np.array(3.0), np.array(4.0))
    np.testing.assert_allclose(view.offset + 3.0 * ahead, [0, 0, 0.5], atol=1e-12)


def test_the_floor_is_where_mujoco_meets_it():
    view = view_of(BALL, 40, 30)
    floor, data, geom = floor_of(view), mujoco.MjData(BALL), np.zeros(1, np.int32)
    mujoco.mj_forward(BALL, data)
    rays = centre_rays(view)
    assert (rays[: floor.first, :, 2] > -1e-3).all()
    only_floor = np.array([1, 0, 0, 0, 0, 0], np.uint8)
    BALL.geom_group[1] = 1
    for row, column in ((floor.first + 2, 0), (20, 7), (29, 39)):
        ray = rays[row, column] / np.linalg.norm(rays[row, column])
        start = camera_place(view)
        depth = mujoco.mj_ray(BALL, data, start, ray, only_floor, True, -1, geom, None)
        spot = start + depth * ray
        at = floor.x[row - floor.first, column], floor.y[row - floor.first]
        np.testing.assert_allclose(spot, [*at, 0], atol=1e-9)
        pixel = floor.x[row - floor.first, :2] @ (-1, 1)
        assert floor.x_size[row - floor.first] == pytest.approx(pixel)
    BALL.geom_group[1] = 0
    apart = -np.diff(floor.y)  # rows lie as far apart as their pixels are deep
    np.testing.assert_allclose((floor.y_size[1:] + floor.y_size[:-1])[8:] / 2, apart[8:], rtol=0.06)


def test_a_ball_is_round_and_in_its_place():
    view = view_of(BALL, **SIZE)
    shift, lift = 3.3, 0.2
    picture = render.frames(BALL, np.array([[shift, lift]]), backend="rays", **SIZE)[0].astype(int)
    gap = meets_ball(
        camera_place(view, shift), centre_rays(view), np.array([shift, 0, 0.6 + lift]), 0.3
    )
    red = picture[..., 0] - picture[..., 2] > 60
    pixel = view.distance * 2 * math.tan(math.radians(20)) / 72
    assert red[gap < -pixel].all()
    assert not red[gap > pixel].any()
    assert (gap < -pixel).sum() > 150


def test_a_box_has_straight_edges_and_the_colour_of_its_material():
    view = view_of(BLOCK, **SIZE)
    picture = render.frames(BLOCK, np.zeros((1, 2)), backend="rays", **SIZE)[0].astype(int)
    start, rays = camera_place(view), centre_rays(view)
    hit = meets_box(start, rays, np.array([0, 0, 0.6]), np.array([0.3, 0.1, 0.2])).astype(int)
    near = sum(np.roll(hit, move, axis) for axis in (0, 1) for move in (-1, 1)) + hit
    blue = picture[..., 2] - picture[..., 0] > 60
    assert blue[near == 5].all()
    assert not blue[near == 0].any()
    assert (near == 5).sum() > 150


def test_outlines_are_smooth():
    """The floor has less red than blue and the ball much more: only mixtures lie between."""
    picture = render.frames(BALL, np.zeros((1, 2)), backend="rays", **SIZE)[0].astype(int)
    excess = picture[..., 0] - picture[..., 2]
    assert ((excess > 0) & (excess < 35)).sum() > 8
    assert (excess < 0).sum() > 1000


def test_the_side_towards_the_light_is_brighter():
    lit = render.frames(BALL, np.zeros((1, 2)), backend="rays", **SIZE)[0].astype(int)
    rows, columns = np.nonzero(lit[..., 0] - lit[..., 2] > 60)
    red, across, down = lit[rows, columns, 0], columns - columns.mean(), rows - rows.mean()
    # In the picture the light is to the left and above.
    assert red[across < -3].mean() > red[across > 3].mean() + 15
    assert red[down < -3].mean() > red[down > 3].mean() + 15


def test_the_shade_lies_away_from_the_light():
    """A spot of the floor is dark if the line from it to the light meets the box."""
    size = {"width": 200, "height": 150}
    view = view_of(BLOCK, **size)
    lit, clear = render.frames(
        BLOCK, np.array([[0.0, 0.0], [0.0, 50.0]]), backend="rays", **size
    ).astype(int)
    floor = floor_of(view)
    spots = np.stack([floor.x, floor.y[:, None] + 0 * floor.x, 0 * floor.x], -1)
    half, centre, light = np.array([0.3, 0.1, 0.2]), np.array([0, 0, 0.6]), LIGHT
    core = meets_box(spots, light, centre, half - 0.05)
    beyond = ~meets_box(spots, light, centre, half + 0.07)
    robot = meets_box(camera_place(view), centre_rays(view), centre, half + 0.05)[floor.first :]
    darker = (clear - lit)[floor.first :].sum(-1)
    assert (darker[core & ~robot] > 60).all()
    assert (darker[beyond & ~robot] == 0).all()
    assert (core & ~robot).sum() > 20


def test_the_checker_is_a_mean_over_points():
    floor = floor_of(view_of(BALL, 64, 48))
    place, points = np.array([0.37, -1.9]), (np.arange(60) + 0.5) / 60 - 0.5
    got = checker(floor, place)
    for row, column in ((-1, 3), (-8, 40), (len(floor.y) // 2, 20), (4, 60)):
        x = floor.x[row, column] + place[0] + points * floor.x_size[row]
        y = floor.y[row] + place[1] + points * floor.y_size[row]
        light = (np.floor(x / 0.5)[:, None] + np.floor(y / 0.5)) % 2 == 0
        assert got[row, column] == pytest.approx(light.mean(), abs=0.04)


def test_motion_moves_the_floor_by_itself():
    """A robot that has moved by two squares looks the same; by one, dark is light."""
    poses = np.array([[0.0, 0.0], [1.0, 0.0], [0.5, 0.0]])
    start, two, one = render.frames(BALL, poses, backend="rays", **SIZE).astype(int)
    assert abs(start - two).max() <= 1
    below = slice(60, 72)
    assert abs(start - one)[below].max(-1).mean() > 20
    assert abs((start + one)[below, :10] / 2 - (start + one)[below, -10:] / 2).max() < 12


def test_colours_are_those_of_the_model():
    np.testing.assert_allclose(colours(BALL)[1], RED, atol=1e-6)
    np.testing.assert_allclose(colours(BLOCK)[1], BLUE, atol=1e-6)


@pytest.mark.parametrize("robot", list(ROBOTS))
def test_every_robot_fills_its_picture(robot):
    model = load_model(robot)
    empty = np.array(model.qpos0)
    empty[1 if model.nq < 15 and robot != "ant" else 2] += 50.0  # out of the picture
    pair = render.frames(model, np.stack([model.qpos0, empty]), width=64, height=48, backend="rays")
    changed = abs(pair[0].astype(int) - pair[1]).max(-1) > 40
    rows, columns = np.nonzero(changed)
    tall, wide = np.ptp(rows) / 48, np.ptp(columns) / 64
    assert 0.5 < max(tall, wide) < 0.98
    assert rows.min() > 0
    assert columns.min() > 0


def marked(picture):
    return abs(picture / 255 - ASKED).max(-1) < 0.04


@pytest.mark.parametrize(("x", "y"), [(1, 0), (-1, 0), (0, 1), (0, -1), (3, 4)])
def test_an_arrow_points_where_the_task_says(x, y):
    model = load_model("ant")
    size = {"width": 120, "height": 90}
    picture = render.frames(model, model.qpos0[None], goal=Direction(x, y), **size)[0]
    floor = floor_of(view_of(model, **size))
    spots = marked(picture[floor.first :])
    at = np.stack([floor.x[spots], (floor.y[:, None] + 0 * floor.x)[spots]], -1)
    way = np.array([x, y]) / math.hypot(x, y)
    along, aside = at @ way, abs(at @ (-way[1], way[0]) - (at @ (-way[1], way[0])).mean())
    middle = (along.min() + along.max()) / 2
    assert aside[along > middle].max() > 1.5 * aside[along < middle].max()  # the head leads
    assert np.ptp(along) > 1.3 * 2 * aside.max()


def test_an_arrow_goes_with_the_robot():
    goal = Direction(-1)
    pair = render.frames(BALL, np.array([[0.0, 0], [7.3, 0]]), goal=goal, backend="rays", **SIZE)
    assert (marked(pair[0]) == marked(pair[1])).all()
    assert marked(pair[0]).sum() > 30
    plain = render.frames(BALL, np.zeros((1, 2)), backend="rays", **SIZE)
    assert marked(plain[0]).sum() == 0


def gauge_bar(picture):
    """First and last column of the white bar, from the row through its middle."""
    white = np.flatnonzero((picture[-6] > 235).all(-1))
    return white.min(), white.max()


def test_the_gauge_shows_what_is_asked_and_what_is_done():
    size = {"width": 300, "height": 144}
    poses = np.array([[0.0, 0.0], [0.1, 0.0], [0.05, 0.0]])  # 2 m/s, then -1 m/s
    pictures = render.frames(BALL, poses, goal=Speed(1.5, 0.05), backend="rays", **size)
    per_speed = 300 * 0.84 / (GAUGE[1] - GAUGE[0])
    zero = 300 * 0.08 - GAUGE[0] * per_speed
    mark = [np.nonzero(marked(picture))[1].mean() for picture in pictures]
    assert mark == pytest.approx([zero + 1.5 * per_speed] * 3, abs=1)
    still, forward, back = map(gauge_bar, pictures)
    assert np.ptp(still) < 4
    assert forward[1] == pytest.approx(zero + 2 * per_speed, abs=2)
    assert forward[0] == pytest.approx(zero, abs=2)
    assert back == pytest.approx((zero - per_speed, zero), abs=2)
    assert gauge_place(99.0) == gauge_place(GAUGE[1])


def test_rows_choose_frames_and_keep_their_speed():
    poses = np.cumsum(np.array([[0.0, 0], [0.1, 0], [0.02, 0], [-0.03, 0]]), 0)
    kinds = {"goal": Speed(1.0, 0.05), "backend": "rays", **SIZE}
    every = render.frames(BALL, poses, **kinds)
    np.testing.assert_array_equal(render.frames(BALL, poses, rows=[2, 1], **kinds), every[[2, 1]])
    assert every.shape == (4, 72, 96, 3)
    assert every.dtype == np.uint8
    tensor = render.frames(BALL, torch.tensor(poses, dtype=torch.float32), **kinds)
    assert abs(tensor.astype(int) - every).mean() < 0.2


def test_frames_are_the_same_alone_in_any_chunk_and_on_any_number_of_threads():
    poses = np.stack([np.linspace(0, 2, 9), np.linspace(0, 0.4, 9)], -1)
    every = render.frames(BALL, poses, backend="rays", **SIZE)
    for row in (0, 5, 8):
        alone = render.frames(BALL, poses[row : row + 1], backend="rays", **SIZE)
        np.testing.assert_array_equal(alone[0], every[row])
    torch.set_num_threads(2)
    try:
        np.testing.assert_array_equal(render.frames(BALL, poses, backend="rays", **SIZE), every)
    finally:
        torch.set_num_threads(1)


def test_a_clip_comes_back_from_its_file():
    poses = np.stack([np.linspace(0, 1, 12), np.zeros(12)], -1)
    pictures = render.frames(BALL, poses, backend="rays", **SIZE)
    clip = Image.open(io.BytesIO(render.webp_clip(pictures, fps=20)))
    assert (clip.format, clip.n_frames, clip.size) == ("WEBP", 12, (96, 72))
    assert clip.info["loop"] == 0
    for index in (0, 11):
        clip.seek(index)
        clip.load()
        assert clip.info["duration"] == 50
        got = np.asarray(clip.convert("RGB")).astype(int)
        assert abs(got - pictures[index]).mean() < 6
    still = Image.open(io.BytesIO(render.png(pictures[3])))
    np.testing.assert_array_equal(np.asarray(still), pictures[3])


def test_steps_of_a_filmstrip_are_equal_and_hold_both_ends():
    assert render.equal_steps(11, 6) == [0, 2, 4, 6, 8, 10]
    with pytest.raises(ValueError, match="need 1 to 11 pictures"):
        render.equal_steps(11, 12)


@pytest.mark.parametrize(
    ("qpos", "dials", "message"),
    [
        (np.zeros((3, 5)), {}, r"qpos must be \[T, nq = 2\] with T >= 1, got \(3, 5\)"),
        (np.zeros(2), {}, "qpos must be"),
        (np.zeros((0, 2)), {}, "T >= 1"),
        (np.full((1, 2), np.nan), {}, "qpos must be finite"),
        (np.zeros((1, 2)), {"backend": "opengl"}, "auto, rays, egl, got 'opengl'"),
        (np.zeros((1, 2)), {"width": 8}, "at least 32 x 32 pixels, got 8 x 180"),
        (np.zeros((1, 2)), {"goal": Direction(0.0)}, "finite and not 0"),
        (np.zeros((1, 2)), {"goal": Speed(1.0, 0.0)}, "step_seconds"),
        (np.zeros((1, 2)), {"rows": []}, "rows"),
    ],
)
def test_what_is_refused(qpos, dials, message):
    with pytest.raises(ValueError, match=message):
        render.frames(BALL, qpos, **dials)


def test_no_clip_of_nothing_and_none_at_no_speed():
    with pytest.raises(ValueError, match="at least 1 picture"):
        render.webp_clip(np.zeros((0, 4, 4, 3), np.uint8), fps=20)
    with pytest.raises(ValueError, match="fps must be positive"):
        render.webp_clip(np.zeros((1, 4, 4, 3), np.uint8), fps=0)


def test_egl_that_does_not_work_says_what_to_do(monkeypatch):
    def fails(*_):
        raise mujoco.FatalError("an OpenGL platform library has not been loaded")

    monkeypatch.setattr(mujoco, "Renderer", fails)
    with pytest.raises(RuntimeError, match=r"(?s)apt install libegl1.*MUJOCO_GL=egl.*'rays'"):
        render.frames(BALL, np.zeros((1, 2)), backend="egl")
    monkeypatch.setenv("MUJOCO_GL", "egl")
    with pytest.raises(RuntimeError):
        render.frames(BALL, np.zeros((1, 2)))
    monkeypatch.delenv("MUJOCO_GL")
    assert render.frames(BALL, np.zeros((1, 2)), **SIZE).shape == (1, 72, 96, 3)


def test_a_missing_pillow_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'bomrl-lite\[lab\]'"):
        render.png(np.zeros((4, 4, 3), np.uint8))


def test_nothing_is_printed_and_no_log_is_left(tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    for robot in ROBOTS:
        model = load_model.__wrapped__(robot)
        render.frames(model, model.qpos0[None], width=32, height=32, backend="rays")
    assert list(tmp_path.iterdir()) == []
    assert tuple(capfd.readouterr()) == ("", "")
