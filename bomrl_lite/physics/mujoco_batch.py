"""MuJoCo on the processor: ``mujoco.batch.Batch``, all simulations in one call of its threads.

States are those of gymnasium's MuJoCo environments bit by bit, whatever the number of threads. The
warm start of the constraint solver is part of a state: without it trajectories drift apart after
some tens of steps.
"""

import copy
import importlib

import numpy as np
import torch
from torch import Tensor

from bomrl_lite.physics import PhysicsState
from bomrl_lite.physics.mujoco_types import Batch, Floats, Model, import_mujoco
from bomrl_lite.physics.threads import processors

try:
    mujoco, _batch = import_mujoco(), importlib.import_module("mujoco.batch")
except ImportError as error:  # MuJoCo before 3.17 has no batch
    raise ModuleNotFoundError("simulating robots needs: pip install 'mujoco>=4,<5'") from error

SimulationError: type[RuntimeError] = _batch.SimulationError
PARAMETERS = ("body_mass", "body_inertia", "dof_damping", "geom_friction")
"""Fields of the model that every simulation may have its own values of."""
_NO_STAGE = int(mujoco.mjtStage.mjSTAGE_NONE)
_NO_AUTORESET = int(mujoco.mjtDisableBit.mjDSBL_AUTORESET)
_QUIET = 1
"""Warnings count up from here: MuJoCo prints one, and writes a log file, if its count was 0."""


def make_batch(model: Model, num: int, threads: int) -> Batch:
    """Return ``num`` simulations of a copy of the model."""
    return _batch.Batch(model, num, threads)


class MujocoBatch:
    """M simulations on the processor; see :class:`bomrl_lite.physics.Physics`.

    Args:
        model: ``mujoco.MjModel``; it is copied.
        num: M.
        threads: None takes as many as torch may use; see :mod:`bomrl_lite.physics.threads`.
    """

    def __init__(self, model: Model, num: int, *, threads: int | None = None) -> None:
        self.num, self.timestep = num, float(model.opt.timestep)
        model = copy.copy(model)
        # Else MuJoCo puts a simulation that died back to its start and its count back to 0.
        model.opt.disableflags |= _NO_AUTORESET
        self.batch = make_batch(model, num, threads or processors())
        self._state = torch.as_tensor(self.batch.state)
        self.qpos, self.qvel, self._controls = (
            torch.as_tensor(self.batch.bind(name)) for name in ("qpos", "qvel", "ctrl")
        )
        self._origins, self._centres = (self._derived(name) for name in ("xpos", "xipos"))
        self.batch.warning[..., 1] = _QUIET

    @property
    def body_positions(self) -> Tensor:
        """[M, nbody, 3] origins of the bodies, as ``mj_step`` leaves them: behind the state."""
        return self._origins

    @property
    def body_centres(self) -> Tensor:
        """[M, nbody, 3] centres of mass of the bodies, likewise."""
        return self._centres

    def reset(self, qpos: Tensor, qvel: Tensor, where: Tensor | None = None) -> None:
        """Put states [M, ...], all else as after ``mj_resetData``; then ``mj_forward``."""
        rows = torch.arange(self.num) if where is None else torch.nonzero(where).squeeze(-1)
        if len(rows) == 0:
            return
        # No stage: forward below computes from the state that we write, not from the model's pose.
        self.batch.reset(rows.numpy(), stage=_NO_STAGE)
        self.qpos[rows], self.qvel[rows] = qpos[rows].double(), qvel[rows].double()
        self.batch.warning[rows.numpy(), :, 1] = _QUIET
        self.batch.forward(rows.numpy())

    def step(self, controls: Tensor, substeps: int) -> None:
        """Hold the controls [M, nu] for some physics steps.

        Raises:
            ValueError: controls of another shape.
            FloatingPointError: a control is not finite, or a simulation died.
        """
        if controls.shape != self._controls.shape:
            raise ValueError(
                f"controls must be {tuple(self._controls.shape)}, got {tuple(controls.shape)}"
            )
        if not torch.isfinite(controls).all():
            row, column = (int(index) for index in torch.nonzero(~torch.isfinite(controls))[0])
            raise FloatingPointError(
                f"control {column} of simulation {row} is {controls[row, column].item()}; look at "
                "the policy's parameters and at the size of its updates"
            )
        self._controls.copy_(controls.detach())  # the batch outlives any graph
        try:
            self.batch.step(nstep=substeps)
        except SimulationError as error:
            raise FloatingPointError(f"a simulation died: {error}") from error
        self.check()

    def check(self) -> None:
        """Look for simulations that died since their last reset.

        Raises:
            FloatingPointError: one did; the message names the first and MuJoCo's reason.
        """
        warned = self.batch.warning[..., 1] > _QUIET
        if not warned.any():
            return
        first = int(np.flatnonzero(warned.any(-1))[0])
        kind = int(np.flatnonzero(warned[first])[-1])
        text = mujoco.mju_warningText(kind, int(self.batch.warning[first, kind, 0]))
        raise FloatingPointError(
            f"{warned.any(-1).sum()} of {self.num} simulations died, the first is number {first}: "
            f"{text} Look at the actions that it was given and at its masses; then reset"
        )

    def set_parameters(self, fields: dict[str, Tensor]) -> None:
        """Give every simulation its own values of some fields of the model, each [M, ...].

        Raises:
            ValueError: a field that is not one of :data:`PARAMETERS`, or values of another shape.
        """
        for name, values in fields.items():
            if name not in PARAMETERS:
                raise ValueError(f"a parameter is one of {', '.join(PARAMETERS)}, got {name!r}")
            array = self.batch.expand(name)
            if tuple(values.shape) != array.shape:
                raise ValueError(f"{name} must be {array.shape}, got {tuple(values.shape)}")
            array[...] = values.numpy()
        self.batch.set_const()

    def get_state(self) -> PhysicsState:
        """Return positions, velocities, controls, time, warm start; and where bodies were."""
        # Bodies are where the step before left them, so they do not follow from the positions.
        return self._state.clone(), self._origins.clone(), self._centres.clone()

    def set_state(self, state: PhysicsState) -> None:
        """Go back to a state of :meth:`get_state`.

        Raises:
            ValueError: the state is that of other simulations.
        """
        mine = (self._state, self._origins, self._centres)
        shapes, got = ([tuple(part.shape) for part in parts] for parts in (mine, state))
        if shapes != got:
            raise ValueError(f"a state of these simulations is {shapes}, got {got}")
        for part, value in zip(mine, state, strict=True):
            part.copy_(value)
        self.batch.warning[..., 1] = _QUIET

    def _derived(self, name: str) -> Tensor:
        """Return a live view of what a call leaves behind; :meth:`set_state` writes to it."""
        values: Floats = self.batch.bind(name)
        values.flags.writeable = True
        return torch.as_tensor(values)
