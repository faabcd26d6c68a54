"""Many copies of a robot that advance together: one interface, on the processor or on a GPU."""

import importlib.util
from typing import Literal, Protocol, runtime_checkable

import torch
from torch import Tensor

from bomrl_lite.physics.mujoco_types import Model

Backend = Literal["auto", "mujoco", "warp"]
BACKENDS = ("auto", "mujoco", "warp")
WITHOUT_WARP = "simulating robots with MuJoCo Warp needs: pip install 'bomrl-lite[gpu]'"
"""What is said where MuJoCo Warp is not installed."""


PhysicsState = tuple[Tensor, ...]
"""Everything that decides how simulations go on; its parts are the backend's own business."""


@runtime_checkable
class Physics(Protocol):
    """M simulations of one model; positions and velocities are those of all, [M, ...].

    The tensors are live: they change with every call. Copy what must stay.
    """

    num: int
    """M."""
    timestep: float
    """Seconds of one physics step."""
    qpos: Tensor
    """[M, nq] joint positions, in metres and radians; quaternions for free joints."""
    qvel: Tensor
    """[M, nv] joint velocities, per second."""

    @property
    def body_positions(self) -> Tensor:
        """[M, nbody, 3] origins of the bodies, in metres.

        As mj_step leaves them: those of the last state at which it computed forces, which is not
        yet the state that the step ends in. gymnasium's ant reads its speed from these.
        """
        ...

    @property
    def body_centres(self) -> Tensor:
        """[M, nbody, 3] centres of mass of the bodies, likewise."""
        ...

    def reset(self, qpos: Tensor, qvel: Tensor, where: Tensor | None = None) -> None:
        """Put simulations into a state with all else (time, warm start, controls) fresh.

        Args:
            qpos: [M, nq].
            qvel: [M, nv].
            where: [M] truth values: which simulations to reset; None resets all.
        """
        ...

    def step(self, controls: Tensor, substeps: int) -> None:
        """Hold the controls [M, nu] for some physics steps; MuJoCo clips them to their range.

        Raises:
            ValueError: controls of another shape.
            FloatingPointError: a simulation died, now or in an earlier step: its numbers are no
                longer finite. The processor notices at once, the GPU in :meth:`check`.
        """
        ...

    def check(self) -> None:
        """Look for simulations that went wrong since their last reset.

        Raises:
            FloatingPointError: one died.
            RuntimeError: the GPU had too little room for contacts; the message says what to raise.
        """
        ...

    def set_parameters(self, fields: dict[str, Tensor]) -> None:
        """Give every simulation values of its own for fields of the model, such as masses.

        Args:
            fields: [M, ...] by the field's name: body_mass, body_inertia, dof_damping or
                geom_friction. Constants that MuJoCo derives from them follow.

        Raises:
            ValueError: another field, or values of another shape.
        """
        ...

    def get_state(self) -> PhysicsState:
        """Return everything that decides how the simulations go on."""
        ...

    def set_state(self, state: PhysicsState) -> None:
        """Go back to a state of :meth:`get_state`; what follows is then the same again.

        Raises:
            ValueError: the state is that of other simulations.
        """
        ...


def make_physics(
    model: Model, num: int, *, backend: str = "auto", threads: int | None = None
) -> Physics:
    """Simulate ``num`` copies of a MuJoCo model.

    Args:
        model: ``mujoco.MjModel``; see :func:`bomrl_lite.physics.robots.load_model`.
        num: M >= 1.
        backend: ``mujoco`` (processor), ``warp`` (GPU), or ``auto``: warp where there is a GPU and
            MuJoCo Warp is installed, else mujoco.
        threads: of the processor; None takes as many as torch may use.

    Raises:
        ValueError: unknown backend, M < 1, or ``warp`` is asked for and there is no GPU.
        ModuleNotFoundError: ``warp`` is asked for and MuJoCo Warp is not installed.
    """
    resolved = resolve_backend(backend)
    if num < 1:
        raise ValueError(f"need at least 1 simulation, got {num}")
    if resolved == "warp":
        from bomrl_lite.physics.mujoco_warp import MujocoWarp

        return MujocoWarp(model, num)
    from bomrl_lite.physics.mujoco_batch import MujocoBatch

    return MujocoBatch(model, num, threads=threads)


def resolve_backend(backend: str) -> Literal["mujoco", "warp"]:
    """Return what a backend's name stands for on this machine: ``auto`` is one of the others.

    Raises:
        ValueError: unknown backend, or ``warp`` and there is no GPU.
        ModuleNotFoundError: ``warp`` and MuJoCo Warp is not installed.
    """
    if backend not in BACKENDS:
        raise ValueError(f"backend must be one of {', '.join(BACKENDS)}, got {backend!r}")
    if backend == "mujoco":
        return backend
    installed, gpu = importlib.util.find_spec("mujoco_warp"), torch.cuda.is_available()
    if backend == "warp" and not installed:
        raise ModuleNotFoundError(WITHOUT_WARP)
    if backend == "warp" and not gpu:
        raise ValueError(
            "backend warp needs a GPU that torch can use, and there is none: simulate on the "
            "processor with backend='mujoco' (--backend mujoco)"
        )
    return "warp" if installed and gpu else "mujoco"
