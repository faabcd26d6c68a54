"""What a task asks for, drawn into the picture: an arrow on the floor, or a gauge of the speed."""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from bomrl_lite.render.camera import Array, Floor
from bomrl_lite.require import checked

ASKED = np.array([0.85, 0.11, 0.38])
"""Colour of what the task asks for: no robot and no floor has it."""
DONE = np.array([0.98, 0.98, 0.99])
"""Colour of what the robot does."""
GAUGE = (-1.0, 4.0)
"""Speeds at the two ends of the gauge, in m/s."""
_TRACK, _TICK = np.array([0.16, 0.20, 0.25]), np.array([0.45, 0.50, 0.56])
_FINE = 3  # points per pixel along each side, for smooth edges


class Direction(NamedTuple):
    """Where to run: (1,) or (-1,) along the x axis, which points right, or (x, y) in the plane."""

    x: float
    y: float = 0.0


class Speed(NamedTuple):
    """How fast to run along the x axis."""

    asked: float
    """In m/s."""
    step_seconds: float
    """Seconds between one pose and the next, from which the robot's own speed follows."""


Goal = Direction | Speed


@checked()
def arrow_cover(goal: Direction, floor: Floor) -> Array:
    """Return the share of each floor pixel [rows, W] that an arrow before the robot covers.

    Raises:
        ValueError: the direction is 0 or not finite.
    """
    length = math.hypot(goal.x, goal.y)
    if not 0 < length < math.inf:
        raise ValueError(f"a direction must be finite and not 0, got {tuple(goal)}")
    direction = np.array([goal.x, goal.y]) / length
    height, width = floor.first + len(floor.y), floor.x.shape[1]
    row = round(0.86 * height) - floor.first
    middle, room = np.array([0.0, floor.y[row]]), floor.y[row] - floor.y[-1]
    size = min(0.28 * width * floor.x_size[row], 1.9 * room)  # its length, inside the picture

    def inside(x: Array, y: Array) -> Array:
        x, y = (x - middle[0]) / size, (y - middle[1]) / size
        # Coordinates along the arrow and across it, in units of its length.
        u = x * direction[0] + y * direction[1]
        v = np.abs(y * direction[0] - x * direction[1])
        shaft, head = (np.abs(u + 0.2) <= 0.3) & (v <= 0.11), (u >= 0.1) & (v <= 0.7 * (0.5 - u))
        return shaft | head

    return _share(inside, floor.x, floor.y[:, None], floor.x_size[:, None], floor.y_size[:, None])


@checked()
def draw_gauge(picture: Array, asked: float, actual: float) -> None:
    """Draw a gauge at the foot of a picture [H, W, 3] of bytes, in place.

    A bar grows from 0 m/s to the robot's speed; a mark stands at the speed that is asked for.

    Args:
        picture: it changes.
        asked: in m/s.
        actual: in m/s.
    """
    height, width = picture.shape[:2]
    top = height - max(16, height // 9)
    unit = (height - top) / 16  # of length in what follows
    middle = top + 10 * unit
    rows, columns = np.mgrid[top:height, 0:width] + 0.5
    goal, done, zero = (width * gauge_place(speed) for speed in (asked, actual, 0.0))

    def band(left: float, right: float, half: float) -> Callable[[Array, Array], Array]:
        return lambda x, y: (x >= left) & (x <= right) & (np.abs(y - middle) <= half * unit)

    def mark(x: Array, y: Array) -> Array:
        above = np.maximum(middle - 4 * unit - y, 0)
        return (np.abs(x - goal) <= 0.7 * unit + 0.7 * above) & (y <= middle + 4 * unit)

    ticks = (width * gauge_place(speed) for speed in range(math.ceil(GAUGE[0]), int(GAUGE[1]) + 1))
    parts = [
        (band(width * gauge_place(GAUGE[0]), width * gauge_place(GAUGE[1]), 4), _TRACK),
        *((band(tick - 0.3 * unit, tick + 0.3 * unit, 4), _TICK) for tick in ticks),
        (band(min(zero, done), max(zero, done), 2.5), DONE),
        (band(zero - 0.6 * unit, zero + 0.6 * unit, 5), DONE),
        (mark, ASKED),
    ]
    for inside, colour in parts:
        cover = _share(inside, columns, rows, 1.0, 1.0)[..., None]
        picture[top:] = picture[top:] * (1 - cover) + 255 * colour * cover + 0.5


@checked()
def gauge_place(speed: float) -> float:
    """Return where a speed stands on the gauge, as a share of the picture's width."""
    share = (min(max(speed, GAUGE[0]), GAUGE[1]) - GAUGE[0]) / (GAUGE[1] - GAUGE[0])
    return 0.08 + 0.84 * share


def _share(
    inside: Callable[[Array, Array], Array],
    x: Array,
    y: Array,
    x_size: Array | float,
    y_size: Array | float,
) -> Array:
    """Return the share of each pixel, of a size around its centre, that is inside a figure."""
    offsets = (np.arange(_FINE) + 0.5) / _FINE - 0.5
    hits = [inside(x + a * x_size, y + b * y_size) for a in offsets for b in offsets]
    return np.mean(hits, 0)
