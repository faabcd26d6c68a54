"""Where the camera of a picture stands and what its pixels look at."""

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bomrl_lite.physics.mujoco_types import Model, import_mujoco

Array = NDArray[Any]

FOV = math.radians(40.0)
"""Angle that the picture spans from bottom to top."""
SIDE_ELEVATION, ABOVE_ELEVATION = math.radians(14.0), math.radians(30.0)
"""How far the camera looks down on a robot that moves in a plane, and on a free one."""


class View(NamedTuple):
    """A camera that follows the trunk and never turns: x points to the right in the picture."""

    width: int
    """Of the picture, in pixels."""
    height: int
    """Of the picture, in pixels."""
    aim: float
    """Height above the floor of the point in the picture's centre, above or below the trunk."""
    distance: float
    """From that point, in metres."""
    elevation: float
    """Angle by which the camera looks down, in radians, > 0."""
    reach: float
    """How far the robot extends from its trunk along x in the model's pose, in metres."""

    @property
    def axes(self) -> Array:
        """[3, 3] rows: right, up, forward; forward is +y, tilted down."""
        sine, cosine = math.sin(self.elevation), math.cos(self.elevation)
        return np.array([[1.0, 0.0, 0.0], [0.0, sine, cosine], [0.0, cosine, -sine]])

    @property
    def offset(self) -> Array:
        """[3] from the point of the floor below the trunk to the camera."""
        return np.array([0.0, 0.0, self.aim]) - self.distance * self.axes[2]


def view_of(model: Model, width: int, height: int) -> View:
    """Place the camera so that the robot in the model's pose fills most of the picture.

    Args:
        model: ``mujoco.MjModel``; its first body is the trunk, its floor is at height 0.
        width: of the picture, in pixels.
        height: of the picture, in pixels.
    """
    mujoco = import_mujoco()
    data = mujoco.MjData(model)
    mujoco.mj_kinematics(model, data)
    moving = model.geom_bodyid > 0
    centres, radii = data.geom_xpos[moving], model.geom_rbound[moving]
    reach = float((np.abs(centres[:, 0] - data.xpos[1, 0]) + radii).max())
    top = float((centres[:, 2] + radii).max())
    free = model.jnt_type[0] == mujoco.mjtJoint.mjJNT_FREE
    # Half of the picture's height in metres: what is tall decides, or what is long.
    half = max(0.66 * top, 1.2 * reach * height / width)
    return View(
        width,
        height,
        aim=0.45 * top,
        distance=half / math.tan(FOV / 2) + (0.9 * reach if free else 0.0),
        elevation=ABOVE_ELEVATION if free else SIDE_ELEVATION,
        reach=reach,
    )


def pixel_rays(view: View, rows: Array, columns: Array) -> Array:
    """Return directions [..., 3] through points of the picture, of length 1 along the view.

    Args:
        view: the camera.
        rows: places [...] from the top in pixels; the centre of the first row is at .5.
        columns: places [...] from the left, likewise.
    """
    scale = 2 * math.tan(FOV / 2) / view.height
    right, up, forward = view.axes
    across, above = (columns - view.width / 2) * scale, (view.height / 2 - rows) * scale
    return across[..., None] * right + above[..., None] * up + forward


class Floor(NamedTuple):
    """The part of the picture below the horizon, relative to the trunk: the same in all frames."""

    first: int
    """Its first row; those above show the sky."""
    x: Array
    """[rows, W] metres to the right of the trunk."""
    y: Array
    """[rows] metres beyond the trunk: the camera does not roll, so a row has one y."""
    x_size: Array
    """[rows] metres that a pixel covers along x."""
    y_size: Array
    """[rows] metres that a pixel covers along y."""


def floor_of(view: View) -> Floor:
    """Return where the rays through the pixels' centres meet the floor."""
    rays = pixel_rays(view, *(np.mgrid[0 : view.height, 0 : view.width] + 0.5))
    # Rays at or above the horizon never meet the floor, those just below it only far away.
    first = int((rays[:, 0, 2] > -1e-3).sum())
    rays = rays[first:]
    spots = view.offset - rays * (view.offset[2] / rays[..., 2:])
    x, y = spots[..., 0], spots[:, 0, 1]
    x_size = x[:, 1] - x[:, 0]
    # A pixel is as high as wide, but its ray meets the floor at an angle.
    middle = rays[:, view.width // 2]
    slope = -middle[:, 2] / np.linalg.norm(middle, axis=-1)
    return Floor(first, x, y, x_size, x_size / slope)
