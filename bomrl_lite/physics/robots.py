"""The robots: gymnasium's five, in models of our own with the same dynamics.

Dynamics are those of gymnasium 1.4's ``-v5`` environments; the models differ in their text, their
looks, and in that they use nothing which MuJoCo 4 calls deprecated.
"""

import itertools
from functools import cache
from pathlib import Path
from typing import Literal, NamedTuple

from bomrl_lite.physics.mujoco_types import Model, import_mujoco

Integrator = Literal["gym", "fast"]
MODELS = Path(__file__).with_name("models")


class Robot(NamedTuple):
    """What gymnasium's environment of a robot adds to its model."""

    file: str
    frame_skip: int
    """Physics steps of one step of the environment."""
    position_noise: float
    """Half width of the uniform noise on the first joint positions, in metres and radians."""
    velocity_noise: float
    """Of the first joint velocities: half width if uniform, standard deviation if normal."""
    normal_velocities: bool = False
    """Whether that noise is normal."""


ROBOTS = {
    "half_cheetah": Robot("half_cheetah.xml", 5, 0.1, 0.1, normal_velocities=True),
    "ant": Robot("ant.xml", 5, 0.1, 0.1, normal_velocities=True),
    "walker": Robot("walker.xml", 4, 5e-3, 5e-3),
    "hopper": Robot("hopper.xml", 4, 5e-3, 5e-3),
    "humanoid": Robot("humanoid.xml", 5, 1e-2, 1e-2),
}
"""By name."""


@cache
def load_model(robot: str, integrator: str = "gym") -> Model:
    """Return the ``mujoco.MjModel`` of a robot; it is shared, so copy it before you change it.

    Args:
        robot: key of :data:`ROBOTS`.
        integrator: ``gym`` for gymnasium's dynamics; ``fast`` for MuJoCo's implicitfast, which
            needs one evaluation a step where Runge-Kutta needs four: other dynamics, in a third of
            the time for all robots but the cheetah.

    Raises:
        ValueError: no such robot or integrator.
        ModuleNotFoundError: MuJoCo is not installed.
    """
    mujoco = import_mujoco()
    if robot not in ROBOTS:
        raise ValueError(f"robot must be one of {', '.join(ROBOTS)}, got {robot!r}")
    if integrator not in ("gym", "fast"):
        raise ValueError(f"integrator must be 'gym' or 'fast', got {integrator!r}")
    model = mujoco.MjModel.from_xml_path(str(MODELS / ROBOTS[robot].file))
    if integrator == "fast":
        model.opt.integrator = mujoco.mjtIntegrator.mjINT_IMPLICITFAST
    return model


def most_contacts(model: Model) -> int:
    """Return how many contacts one simulation can have at most: all that may touch, does.

    Two geometries may touch where their bits allow it and they belong to two bodies, neither of
    which hangs on the other (on the world it may). A model's own list of pairs is not read.
    """
    parents = model.body_parentid
    contacts = 0
    for pair in itertools.combinations(range(model.ngeom), 2):
        one, other = (int(model.geom_bodyid[geom]) for geom in pair)
        linked = (
            one == other or (one and parents[other] == one) or (other and parents[one] == other)
        )
        kinds, affinities = model.geom_contype[list(pair)], model.geom_conaffinity[list(pair)]
        if not linked and (kinds & affinities[::-1]).any():
            contacts += _CONTACTS.get(tuple(sorted(model.geom_type[list(pair)].tolist())), 8)
    return contacts


_PLANE, _SPHERE, _CAPSULE = 0, 2, 3
_CONTACTS = {
    (_PLANE, _PLANE): 0,
    (_PLANE, _SPHERE): 1,
    (_SPHERE, _SPHERE): 1,
    (_SPHERE, _CAPSULE): 1,
    (_PLANE, _CAPSULE): 2,
    (_CAPSULE, _CAPSULE): 2,
}
"""Most contacts of two geometries by their types; of others, which no robot has, as of boxes."""
