"""The robots: gymnasium's five, in models of our own with the same dynamics.

Dynamics are those of gymnasium 1.4's ``-v5`` environments; the models differ in their text, their
looks, and in that they use nothing which MuJoCo 4 calls deprecated.
"""

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
