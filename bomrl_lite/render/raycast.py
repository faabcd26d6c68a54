"""Pictures of a robot on a checkered floor by casting rays: no graphics card, no OpenGL.

A pixel sees the same spot of the floor, relative to the trunk, in all frames. That spot, the sky
and the haze are worked out once; only the checker's phase, the robot and its shadow change. Every
frame is one simulation of a ``mujoco.batch.Batch``, whose threads share the rays.
"""

from typing import NamedTuple

import numpy as np
import torch

from bomrl_lite.physics.mujoco_batch import make_batch
from bomrl_lite.physics.mujoco_types import Batch, Model
from bomrl_lite.render.camera import Array, Floor, View, floor_of, pixel_rays

LIGHT = np.array([-0.35, -0.45, 1.0]) / np.linalg.norm([-0.35, -0.45, 1.0])
"""Where the light is: above, to the left, on the camera's side."""
CHECKER = 0.5
"""Side of a square of the floor, in metres."""
SAMPLES = 3
"""Rays per pixel of the robot along each side, for smooth outlines."""
SHADOW_CELLS, SHADOW_STRENGTH = 64, 0.55
"""Cells of a shadow along each side; the share of light that it takes."""
CHUNK = 4
"""Frames that are cast at once: bounds the memory."""
_FLOOR_DARK, _FLOOR_LIGHT = np.array([0.66, 0.71, 0.76]), np.array([0.83, 0.86, 0.89])
_HORIZON, _ZENITH = np.array([0.93, 0.95, 0.97]), np.array([0.53, 0.68, 0.83])


class Scene(NamedTuple):
    """What all frames share."""

    view: View
    floor: Floor
    sky: Array
    """[rows above the floor, 3]."""
    base: Array
    """Colours of the floor's dark squares, [rows, W or 1, 3]."""
    contrast: Array
    """What its light squares add, likewise."""
    cells: Array
    """The four cells of the shadow around each floor pixel, [4, rows * W]."""
    weights: Array
    """Their shares of it, [4, rows * W]."""


def cast(
    model: Model, qpos: Array, view: View, *, paint: tuple[Array, Array] | None = None
) -> Array:
    """Draw a robot in poses [T, nq]; returns bytes [T, H, W, 3].

    Args:
        model: ``mujoco.MjModel``; its first body is the trunk, its floor is at height 0.
        qpos: joint positions [T, nq].
        view: the camera.
        paint: a figure on the floor that moves with the trunk: the share of each floor pixel that
            it covers, [rows, W] in [0, 1], and its colour, [3] in [0, 1].
    """
    floor = floor_of(view)
    ground, shadow = _ground(floor, view, paint), _shadow_samples(floor, view)
    scene = Scene(view, floor, _sky(floor.first, view.height), *ground, *shadow)
    starts = range(0, len(qpos), CHUNK)
    return np.concatenate([_cast(model, qpos[start : start + CHUNK], scene) for start in starts])


def _cast(model: Model, qpos: Array, scene: Scene) -> Array:
    """Draw a few poses [T, nq], each as one simulation of a batch; returns bytes [T, H, W, 3]."""
    batch = make_batch(model, len(qpos), torch.get_num_threads())
    bodies = batch.bind("xpos")  # before forward, which fills what is bound
    batch.bind("qpos")[:] = qpos
    batch.forward()
    places = bodies[:, 1] * (1.0, 1.0, 0.0)  # the floor below the trunk, body 1
    cameras = (places + scene.view.offset)[:, None]
    shadows = _shadows(batch, places, scene.view)
    pixels = _near_robot(batch, cameras, scene.view)
    lights, covers = _robots(model, batch, cameras, scene.view, pixels)
    result = np.empty((len(qpos), scene.view.height, scene.view.width, 3), np.uint8)
    for frame, place in enumerate(places):
        picture = _background(scene, place, shadows[frame])
        flat = picture.reshape(-1, 3)
        where = pixels[frame]
        flat[where] = flat[where] * (1 - covers[frame]) + lights[frame]
        result[frame] = picture.clip(0, 1) * 255 + 0.5  # the cast to bytes cuts off: this rounds
    return result


def _background(scene: Scene, place: Array, shadow: Array) -> Array:
    """Return sky and floor, [H, W, 3]."""
    height, width, first = scene.view.height, scene.view.width, scene.floor.first
    picture = np.empty((height, width, 3), np.float32)
    picture[:first] = scene.sky[:, None]
    # Bilinear: a pixel takes its share of each of the four cells of the shadow around it.
    dark = (shadow.ravel()[scene.cells] * scene.weights).sum(0).reshape(-1, width, 1)
    squares = checker(scene.floor, place)[..., None]
    picture[first:] = (scene.base + squares * scene.contrast) * (1 - SHADOW_STRENGTH * dark)
    return picture


def _sky(rows: int, height: int) -> Array:
    """Return colours [rows, 3] from the sky, above, to the horizon, below."""
    share = (np.arange(rows, 0, -1) / (height / 2))[:, None].clip(0, 1) ** 0.8
    return (_HORIZON + share * (_ZENITH - _HORIZON)).astype(np.float32)


def _ground(floor: Floor, view: View, paint: tuple[Array, Array] | None) -> tuple[Array, Array]:
    """Return colours of dark squares and what light ones add, both [rows, W or 1, 3], in haze."""
    distance = np.hypot(floor.y - view.offset[1], view.offset[2])
    # Haze: the far floor fades into the horizon, or its edge would be a hard line.
    clear = np.exp(-((distance / (6 * view.distance)) ** 2))[:, None, None]
    base = _HORIZON + clear * (_FLOOR_DARK - _HORIZON)
    contrast = clear * (_FLOOR_LIGHT - _FLOOR_DARK)
    if paint is not None:
        cover, colour = paint[0][..., None], paint[1]
        base, contrast = base + cover * (colour - base), contrast * (1 - cover)
    return base.astype(np.float32), contrast.astype(np.float32)


def checker(floor: Floor, place: Array) -> Array:
    """Return the share of light squares in each pixel [rows, W], for a trunk at a place [2].

    A pixel averages the pattern over its footprint, so that the far floor turns grey without noise.
    The pattern is a product of two square waves, whose means are differences of their integrals.

    Args:
        floor: where the pixels' rays meet it.
        place: of the trunk in the world, x and y in metres.
    """
    x = _mean_wave((floor.x + place[0]) / CHECKER, floor.x_size[:, None] / CHECKER)
    y = _mean_wave((floor.y + place[1]) / CHECKER, floor.y_size / CHECKER)
    return (0.5 + 0.5 * x * y[:, None]).astype(np.float32)


def _mean_wave(at: Array, size: Array) -> Array:
    """Return the mean over ``size`` around points of the wave that is 1 on [0, 1), -1 on [1, 2)."""

    def integral(x: Array) -> Array:  # of period 2, up and down
        return 1 - np.abs(x - 2 * np.floor(x / 2) - 1)

    return (integral(at + size / 2) - integral(at - size / 2)) / size


def _shadows(batch: Batch, places: Array, view: View) -> Array:
    """Return how dark the floor around each trunk is, [T, cells, cells] in [0, 1].

    A spot is dark if the ray from it to the light meets the robot; a blur makes its rim soft.
    """
    spots = np.zeros((SHADOW_CELLS, SHADOW_CELLS, 3))
    spots[..., 0], spots[..., 1] = np.meshgrid(*_shadow_axes(view))
    _, geoms = batch.ray(places[:, None] + spots.reshape(1, -1, 3), LIGHT, flg_static=False)
    dark = np.zeros((len(places), SHADOW_CELLS, SHADOW_CELLS), np.float32)
    inner = slice(1, -1)  # the rim stays light: it stands for all that lies beyond it
    dark[:, inner, inner] = (geoms >= 0).reshape(dark.shape)[:, inner, inner]
    # (1 2 1) / 4 along each axis, twice, is close to a Gaussian blur.
    for _ in range(2):
        dark[:, inner] = (dark[:, :-2] + 2 * dark[:, inner] + dark[:, 2:]) / 4
        dark[..., inner] = (dark[..., :-2] + 2 * dark[..., inner] + dark[..., 2:]) / 4
    return dark


def _shadow_axes(view: View) -> Array:
    """Return x and y of a shadow's cells relative to the trunk, [2, cells], where shadows fall."""
    # A point at the height of the robot's middle throws its shadow this far from below it.
    shift = -view.aim * LIGHT[:2] / LIGHT[2]
    half = 1.6 * max(view.reach, view.aim)
    return shift[:, None] + half * ((np.arange(SHADOW_CELLS) + 0.5) / SHADOW_CELLS * 2 - 1)


def _shadow_samples(floor: Floor, view: View) -> tuple[Array, Array]:
    """Return the four cells around each floor pixel and their weights, both [4, rows * W]."""
    x_axis, y_axis = _shadow_axes(view)
    # Below the last cell, so that every pixel has a cell to its right and one below; a pixel
    # outside the grid reads its rim, which is light.
    step, last = x_axis[1] - x_axis[0], SHADOW_CELLS - 1.001
    x = ((floor.x - x_axis[0]) / step).clip(0, last).ravel()
    y = ((floor.y - y_axis[0]) / step).clip(0, last).repeat(floor.x.shape[1])
    column, row = x.astype(int), y.astype(int)
    cell, right, down = row * SHADOW_CELLS + column, x - column, y - row
    cells = np.stack([cell, cell + 1, cell + SHADOW_CELLS, cell + SHADOW_CELLS + 1])
    lower, upper = (1 - down) * np.stack([1 - right, right]), down * np.stack([1 - right, right])
    return cells, np.concatenate([lower, upper]).astype(np.float32)


def _near_robot(batch: Batch, cameras: Array, view: View) -> Array:
    """Return the pixels that may show the robot, [T, P], as places in the flat picture.

    A ray through every second pixel finds it, and the area found is grown by a rim. A frame with
    fewer such pixels than another repeats some.
    """
    rays = pixel_rays(view, *(np.mgrid[0 : view.height : 2, 0 : view.width : 2] + 0.5))
    _, geoms = batch.ray(cameras, rays.reshape(-1, 3), flg_static=False)
    found = (geoms >= 0).reshape(-1, *rays.shape[:2])
    # Grow by one coarse pixel along each axis: thin legs may lie between two rays.
    near = found.copy()
    near[:, 1:] |= found[:, :-1]
    near[:, :-1] |= found[:, 1:]
    found = near.copy()
    near[..., 1:] |= found[..., :-1]
    near[..., :-1] |= found[..., 1:]
    fine = near.repeat(2, 1).repeat(2, 2)[:, : view.height, : view.width]
    lists = [np.flatnonzero(frame) for frame in fine]
    # One length for all frames, as one call casts their rays; repeated pixels change nothing.
    longest = max(1, *(len(pixels) for pixels in lists))
    return np.stack([np.resize(pixels, longest) for pixels in lists])


def _robots(
    model: Model, batch: Batch, cameras: Array, view: View, pixels: Array
) -> tuple[Array, Array]:
    """Return the robot's light in pixels, [T, P, 3], and how much of each it covers, [T, P, 1]."""
    # Several rays per pixel, averaged: the share that hits is how much the robot covers.
    parts = (np.mgrid[0:SAMPLES, 0:SAMPLES].reshape(2, -1) + 0.5) / SAMPLES
    rows, columns = np.stack(np.divmod(pixels, view.width))[..., None] + parts[:, None, None]
    rays = pixel_rays(view, rows, columns).reshape(len(cameras), -1, 3)
    _, geoms, normals = batch.ray(cameras, rays, flg_static=False, normal=True)
    hit = np.nonzero(geoms >= 0)
    light = _shade(colours(model)[geoms[hit]], normals[hit], -rays[hit])
    place = hit[0] * pixels.shape[1] + hit[1] // SAMPLES**2
    # bincount sums by pixel, once for each colour and once for the number of hits.
    sums = [np.bincount(place, part, pixels.size) for part in (*light.T, np.ones(len(place)))]
    means = np.stack(sums, -1).reshape(*pixels.shape, 4) / SAMPLES**2
    return means[..., :3], means[..., 3:]


def colours(model: Model) -> Array:
    """Return the colours [geoms, 3]; a geom that sets none takes that of its material."""
    result = model.geom_rgba[:, :3].copy()
    unset = (model.geom_rgba == (0.5, 0.5, 0.5, 1.0)).all(-1) & (model.geom_matid >= 0)
    result[unset] = model.mat_rgba[model.geom_matid[unset], :3]
    return result


def _shade(paint: Array, normals: Array, towards: Array) -> Array:
    """Return the light [K, 3] of surfaces: from the sky, the sun, a gloss; darker at outlines.

    Args:
        paint: colours [K, 3].
        normals: unit vectors [K, 3].
        towards: vectors to the camera, [K, 3].
    """
    towards = _unit(towards)
    sun, sky = np.maximum(normals @ LIGHT, 0.0), 0.5 + 0.5 * normals[:, 2]
    facing = np.maximum(_dot(normals, towards), 0.0)
    # Blinn's gloss: the normal halfway between the light and the camera shines.
    gloss = 0.22 * np.maximum(_dot(normals, _unit(towards + LIGHT)), 0.0) ** 30
    strength = (0.34 + 0.26 * sky + 0.55 * sun) * (0.62 + 0.38 * np.sqrt(facing))
    return (paint * strength[:, None] + gloss[:, None]).clip(0, 1)


def _dot(a: Array, b: Array) -> Array:
    """Return the products [K] of the rows of two arrays [K, 3]."""
    return np.einsum("ki,ki->k", a, b)


def _unit(vectors: Array) -> Array:
    """Scale the rows [K, 3] to length 1."""
    return vectors / np.sqrt(_dot(vectors, vectors))[:, None]
