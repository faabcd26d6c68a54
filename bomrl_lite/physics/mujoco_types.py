"""MuJoCo with types: the package carries none, so what we use of it is written down here, once.

Nothing of MuJoCo is imported before :func:`import_mujoco` is called.
"""

import importlib
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
Integers = NDArray[np.int32]


@runtime_checkable
class Model(Protocol):
    """What we read of a ``mujoco.MjModel``: a robot and its floor."""

    nq: int
    """Joint positions."""
    nv: int
    """Joint velocities; a free joint has one less than positions."""
    nu: int
    """Controls."""
    nbody: int
    """Bodies; number 0 is the world, number 1 the trunk."""
    njnt: int
    """Joints."""
    ngeom: int
    """Geometries."""
    opt: Any
    """``MjOption``: timestep, integrator, solver, flags."""
    vis: Any
    """``MjVisual``: what MuJoCo's own renderer is told."""
    qpos0: Floats
    """[nq] joint positions of the model's pose."""
    body_mass: Floats
    """[nbody] in kg."""
    jnt_type: Integers
    """[njnt]"""
    geom_bodyid: Integers
    """[ngeom] the body that each geometry belongs to."""
    geom_type: Integers
    """[ngeom] ``mjtGeom``: 0 is a plane, 2 a sphere, 3 a capsule."""
    geom_contype: Integers
    """[ngeom] bits: two geometries may touch where one's are among the other's affinity."""
    geom_conaffinity: Integers
    """[ngeom] bits."""
    body_parentid: Integers
    """[nbody] the body that a body hangs on."""
    geom_rbound: Floats
    """[ngeom] radius of the sphere around a geometry, in metres."""
    geom_rgba: NDArray[np.float32]
    """[ngeom, 4] in [0, 1]."""
    geom_matid: Integers
    """[ngeom] material of a geometry; -1 is none."""
    mat_rgba: NDArray[np.float32]
    """[materials, 4] in [0, 1]."""
    mat_reflectance: NDArray[np.float32]
    """[materials] in [0, 1]."""
    actuator_ctrlrange: Floats
    """[nu, 2] lowest and highest control."""

    def body(self, name: str) -> Any:
        """Return the view of a body, whose ``id`` is its number."""
        ...


@runtime_checkable
class Batch(Protocol):
    """What we use of a ``mujoco.batch.Batch``: M simulations of one model."""

    state: Floats
    """[M, ...] what decides how simulations go on, live."""
    warning: Integers
    """[M, kinds, 2] number that belongs to the last warning of a kind, and their count, live."""

    def bind(self, name: str) -> Floats:
        """Return a live array [M, ...] of a field of ``MjData``."""
        ...

    def expand(self, name: str) -> Floats:
        """Return a live array [M, ...] of a field of the model, one value per simulation."""
        ...

    def set_const(self) -> None:
        """Work out anew what MuJoCo derives from the model's fields."""
        ...

    def reset(self, ids: NDArray[np.int64] | None = None, *, stage: int) -> None:
        """Put simulations into the model's pose, then compute up to a stage."""
        ...

    def forward(self, ids: NDArray[np.int64] | None = None) -> None:
        """Compute what follows from the state of simulations."""
        ...

    def step(self, *, nstep: int) -> None:
        """Take physics steps."""
        ...

    def ray(
        self, pnt: ArrayLike, vec: ArrayLike, *, flg_static: bool, normal: bool = False
    ) -> tuple[NDArray[Any], ...]:
        """Cast rays; returns distances [M, rays], geometries met or -1, and normals if asked."""
        ...


def import_mujoco() -> Any:
    """Import MuJoCo, whose names no type checker sees.

    Raises:
        ModuleNotFoundError: it is not installed.
    """
    return importlib.import_module("mujoco")
