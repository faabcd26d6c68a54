"""Pictures and clips of robots, with the goal of their task in them.

Two backends draw the same view: ``rays`` (:mod:`bomrl_lite.render.raycast`), which runs anywhere,
and ``egl``, MuJoCo's own renderer, for machines with an OpenGL driver. MuJoCo is imported when
something is drawn, and Pillow when a file is made, so that lessons without robots need neither.
"""

import copy
import io
import math
import os
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

from bomrl_lite.physics.mujoco_types import Model, import_mujoco
from bomrl_lite.render.camera import FOV, Array, View, floor_of, view_of
from bomrl_lite.render.goal_marks import ASKED, Direction, Goal, Speed, arrow_cover, draw_gauge
from bomrl_lite.require import checked, require_count

RENDERERS = ("auto", "rays", "egl")
"""Backends; ``auto`` is one of the others."""


@checked(rows=require_count)
def frames(
    model: Model,
    qpos: Array | torch.Tensor,
    *,
    width: int = 240,
    height: int = 180,
    backend: str = "auto",
    goal: Goal | None = None,
    rows: Sequence[int] | None = None,
) -> Array:
    """Draw a robot in poses; returns bytes [T, H, W, 3], red, green, blue.

    The camera follows the trunk, and x points to the right; the floor's squares are half a metre
    wide and stand still.

    Args:
        model: ``mujoco.MjModel``; its first body is the trunk, its floor is at height 0.
        qpos: joint positions [T, nq].
        width: in pixels, at least 32.
        height: in pixels, at least 32.
        backend: ``rays``; ``egl`` (faster, but needs a driver and MUJOCO_GL=egl); ``auto``:
            egl where MUJOCO_GL=egl is set, else rays.
        goal: a :class:`Direction` is an arrow on the floor; a :class:`Speed` is a gauge of what is
            asked and what is done, the speed of the step that led to the pose. None draws nothing.
        rows: which poses to draw, in this order; None draws all.

    Raises:
        ValueError: no pose, another shape, numbers that are not finite, a picture too small, an
            unknown backend.
        RuntimeError: ``egl`` does not work on this machine.
    """
    poses = _checked(model, qpos, width, height, backend)
    chosen = range(len(poses)) if rows is None else rows
    if len(chosen) == 0:
        raise ValueError("rows names no pose; None draws all")
    if isinstance(goal, Speed) and not goal.step_seconds > 0:
        raise ValueError(f"step_seconds must be > 0, got {goal.step_seconds}")
    # From the model's pose, so that the camera is the same for all clips of a robot.
    view = view_of(model, width, height)
    result = _backend(backend)(model, poses[list(chosen)], view, goal)
    if isinstance(goal, Speed):
        # From all poses, not only the chosen rows: a speed needs the pose of the step before.
        moved = np.diff(poses[:, 0], prepend=poses[0, 0]) / goal.step_seconds
        for picture, row in zip(result, chosen, strict=True):
            draw_gauge(picture, goal.asked, moved[row])
    return result


@checked()
def webp_clip(pictures: Array, fps: float) -> bytes:
    """Encode pictures [T, H, W, 3] as an animated WebP file that repeats for ever.

    Args:
        pictures: bytes, as :func:`frames` returns them.
        fps: pictures per second, > 0.

    Raises:
        ValueError: no picture, or fps <= 0.
        ModuleNotFoundError: Pillow is not installed.
    """
    if len(pictures) == 0 or not fps > 0:
        raise ValueError(
            f"a clip needs at least 1 picture, and fps must be > 0; got {len(pictures)} at {fps}"
        )
    images = [_pillow().fromarray(picture) for picture in pictures]
    buffer = io.BytesIO()
    images[0].save(
        buffer, "WEBP", save_all=True, append_images=images[1:], duration=round(1000 / fps),
        loop=0, quality=70, method=3,
    )  # fmt: skip
    return buffer.getvalue()


@checked()
def png(picture: Array) -> bytes:
    """Encode one picture [H, W, 3] of bytes as a PNG file.

    Raises:
        ModuleNotFoundError: Pillow is not installed.
    """
    buffer = io.BytesIO()
    _pillow().fromarray(picture).save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


@checked()
def equal_steps(total: int, count: int) -> list[int]:
    """Return ``count`` of the indices below ``total``, from the first to the last.

    Raises:
        ValueError: fewer than 1 or more than ``total``.
    """
    if not 1 <= count <= total:
        raise ValueError(f"need 1 to {total} pictures of the {total} that there are, got {count}")
    return np.linspace(0, total - 1, count).round().astype(int).tolist()


def _checked(
    model: Model, qpos: Array | torch.Tensor, width: int, height: int, backend: str
) -> Array:
    if backend not in RENDERERS:
        raise ValueError(f"backend must be one of {', '.join(RENDERERS)}, got {backend!r}")
    if min(width, height) < 32:
        raise ValueError(f"a picture needs at least 32 x 32 pixels, got {width} x {height}")
    poses = torch.as_tensor(qpos).detach().cpu().double().numpy()
    if poses.ndim != 2 or poses.shape[1] != model.nq or len(poses) == 0:
        raise ValueError(
            f"qpos must be [T, nq = {model.nq}] with T >= 1, got {poses.shape}: one row of joint "
            "positions per frame"
        )
    if not np.isfinite(poses).all():
        raise ValueError("qpos must be finite; the simulation died, see Physics.check")
    return poses


def _backend(name: str) -> Callable[[Model, Array, View, Goal | None], Array]:
    return _draw_with_egl if name == "egl" or (name == "auto" and _egl_set()) else _draw_with_rays


def _egl_set() -> bool:
    return os.environ.get("MUJOCO_GL", "").lower().strip() == "egl"


def _draw_with_rays(model: Model, poses: Array, view: View, goal: Goal | None) -> Array:
    from bomrl_lite.render.raycast import cast

    cover = arrow_cover(goal, floor_of(view)) if isinstance(goal, Direction) else None
    return cast(model, poses, view, paint=None if cover is None else (cover, ASKED))


def _draw_with_egl(model: Model, poses: Array, view: View, goal: Goal | None) -> Array:
    """Draw with MuJoCo's renderer, without shadows and reflections, which take 20 times as long.

    Where the arrow and the robot overlap, the arrow is in front.
    """
    mujoco = import_mujoco()
    model = copy.copy(model)  # load_model shares it
    model.vis.quality.shadowsize = model.vis.quality.offsamples = 0
    model.mat_reflectance[:] = 0
    model.vis.global_.fovy = math.degrees(FOV)
    renderer, data, camera = _egl_renderer(model, view), mujoco.MjData(model), mujoco.MjvCamera()
    camera.distance, camera.azimuth = view.distance, 90
    camera.elevation = -math.degrees(view.elevation)
    result = np.empty((len(poses), view.height, view.width, 3), np.uint8)
    with renderer:
        for picture, pose in zip(result, poses, strict=True):
            data.qpos[:] = pose
            mujoco.mj_fwdPosition(model, data)
            camera.lookat[:] = (*data.xpos[1, :2], view.aim)
            renderer.update_scene(data, camera)
            renderer.render(out=picture)
    if isinstance(goal, Direction):
        floor = floor_of(view)
        cover, ground = arrow_cover(goal, floor)[..., None], result[:, floor.first :]
        ground[:] = ground * (1 - cover) + 255 * ASKED * cover + 0.5
    return result


def _egl_renderer(model: Model, view: View) -> Any:
    try:
        if not _egl_set():  # MuJoCo would look for a window
            raise RuntimeError(f"MUJOCO_GL is {os.environ.get('MUJOCO_GL')!r}")
        return import_mujoco().Renderer(model, view.height, view.width)
    except Exception as error:  # each driver fails in its own way
        raise RuntimeError(
            "backend 'egl' does not work here. It needs an OpenGL driver (Debian and Ubuntu: apt "
            "install libegl1 libgl1-mesa-dri), and MUJOCO_GL=egl in the environment before Python "
            "starts. backend='rays' needs neither"
        ) from error


def _pillow() -> Any:
    try:
        from PIL import Image
    except ImportError as error:
        raise ModuleNotFoundError("images need Pillow: pip install 'bomrl-lite[lab]'") from error
    return Image
