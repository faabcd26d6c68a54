"""Many copies of a robot that advance together: one interface, on the processor or on a GPU."""

import importlib.util
from typing import Any, Literal, Protocol

import torch
from torch import Tensor

Backend = Literal["auto", "mujoco", "warp"]
BACKENDS = ("auto", "mujoco", "warp")


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
            where: [M] of the simulations to reset; None resets all.
        """
        ...

    def step(self, controls: Tensor, substeps: int) -> None:
        """Hold the controls [M, nu] for some physics steps; MuJoCo clips them to their range.

        Raises:
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
        """
        ...

    def get_state(self) -> Any:
        """Return everything that decides how the simulations go on."""
        ...

    def set_state(self, state: Any) -> None:
        """Go back to a state of :meth:`get_state`; what follows is then the same again."""
        ...


def make_physics(
    model: Any, num: int, *, backend: Backend = "auto", threads: int | None = None
) -> Physics:
    """Simulate ``num`` copies of a MuJoCo model.

    Args:
        model: ``mujoco.MjModel``; see :func:`bomrl_lite.physics.robots.load_model`.
        num: M >= 1.
        backend: ``mujoco`` (processor), ``warp`` (GPU), or ``auto``: warp where there is a GPU and
            MuJoCo Warp is installed, else mujoco.
        threads: of the processor; None takes as many as torch may use.

    Raises:
        ValueError: unknown backend, or M < 1.
        ModuleNotFoundError: ``warp`` is asked for and MuJoCo Warp is not installed.
        RuntimeError: ``warp`` is asked for and there is no GPU.
    """
    if backend not in BACKENDS:
        raise ValueError(f"backend must be one of {', '.join(BACKENDS)}, got {backend!r}")
    if num < 1:
        raise ValueError(f"need at least 1 simulation, got {num}")
    if resolve_backend(backend) == "warp":
        from bomrl_lite.physics.mujoco_warp import MujocoWarp

        return MujocoWarp(model, num)
    from bomrl_lite.physics.mujoco_batch import MujocoBatch

    return MujocoBatch(model, num, threads=threads)


def resolve_backend(backend: Backend) -> Literal["mujoco", "warp"]:
    """Return what ``auto`` stands for on this machine."""
    if backend != "auto":
        return backend
    installed = importlib.util.find_spec("mujoco_warp") is not None
    return "warp" if installed and torch.cuda.is_available() else "mujoco"
