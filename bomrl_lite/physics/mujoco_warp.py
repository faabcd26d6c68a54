"""MuJoCo Warp: thousands of simulations on a GPU, in single precision.

torch and Warp look at the same memory, and all physics steps of one :meth:`MujocoWarp.step` are one
recorded graph. No step waits for the device; :meth:`MujocoWarp.check` does. Warp works on
a stream of its own, which CUDA keeps in order with torch's default stream: stay on that one.

The friction pyramid is MuJoCo's, turned by another angle: under a capsule that is steeper than 60
degrees Warp lays its first edge along the y axis, the processor along the capsule's projection on
the floor. So ants (and rarely humanoids) leave the processor's trajectory at a contact; the other
robots, which move in a plane, stay on it as far as single precision allows.

The first simulation of a robot compiles Warp's kernels, which takes a minute or more; Warp stores
them for the next time.
"""

import copy
import importlib
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bomrl_lite.physics import WITHOUT_WARP, PhysicsState
from bomrl_lite.physics.mujoco_batch import PARAMETERS
from bomrl_lite.physics.mujoco_types import Model, import_mujoco
from bomrl_lite.physics.robots import most_contacts

try:
    mujoco: Any = import_mujoco()
    # By name: type checkers take "import mujoco_warp" for this very file.
    mjw: Any = importlib.import_module("mujoco_warp")
    wp: Any = importlib.import_module("warp")
except ImportError as error:
    raise ModuleNotFoundError(WITHOUT_WARP) from error

wp.config.log_level = wp.LOG_WARNING  # else it prints a line for every kernel it loads

LARGEST = 1e10
"""A position, velocity or control beyond this is as good as infinite: MuJoCo's mjMAXVAL."""
_STATE = ("time", "qpos", "qvel", "act", "ctrl", "qacc_warmstart")
_BODIES = ("xpos", "xipos")
_DERIVED = (
    "body_subtreemass",
    "body_invweight0",
    "dof_invweight0",
    "actuator_acc0",
    "tendon_invweight0",
)
"""Constants that Warp's set_const computes from the parameters."""
_ROOM = {
    "nconmax": mjw.OverflowType.BROADPHASE | mjw.OverflowType.NARROWPHASE | mjw.OverflowType.CCD,
    "njmax": mjw.OverflowType.NEFC | mjw.OverflowType.NJMAX_NNZ,
}
"""Flags of a lack of room, by the limit. The other flags are of features that no robot uses, and of
a solver that stopped at its last iteration: that is no error on the processor either."""


class MujocoWarp:
    """M simulations on a GPU; see :class:`bomrl_lite.physics.Physics`.

    Args:
        model: ``mujoco.MjModel``; it is copied. If its solver is projected Gauss-Seidel, which Warp
            does not have, Newton's method takes its place: the same problem, solved further.
        num: M.
        device: ``cuda``, ``cuda:1``, or ``cpu``, which is for tests: there
            :class:`bomrl_lite.physics.mujoco_batch.MujocoBatch` is faster. None is ``cuda``.
        contacts: room for this many contacts per simulation on average, since all share one pool,
            and in each for four constraints of as many contacts and a limit of every joint. None
            takes as many contacts as a simulation can have, so that none takes another's room; and
            constraints of two per geometry: all capsules may lie on the floor.

    Raises:
        RuntimeError: there is no GPU.
    """

    def __init__(
        self, model: Model, num: int, *, device: str | None = None, contacts: int | None = None
    ) -> None:
        self.num, self.timestep = num, float(model.opt.timestep)
        self._device = _find_device(device or "cuda")
        on_floor = 2 * model.ngeom
        self._room = {
            "nconmax": max(on_floor, most_contacts(model)) if contacts is None else contacts,
            "njmax": 4 * (on_floor if contacts is None else contacts) + model.njnt,
        }
        with wp.ScopedDevice(self._device):
            self._model = mjw.put_model(_without_gauss_seidel(model))
            self._model.opt.warn_overflow = 0  # kernels would print; check() raises instead
            self._data = mjw.make_data(model, nworld=num, **self._room)
            mjw.step(self._model, self._data)  # loads the kernels, before a graph is recorded
        self._state = {name: self._view(name) for name in _STATE if self._size(name)}
        self._bodies = {name: self._view(name) for name in _BODIES}
        self.qpos, self.qvel, self._controls = (self._state[n] for n in ("qpos", "qvel", "ctrl"))
        self._overflow = self._view("overflow")
        self._bad_controls = torch.zeros_like(self._overflow, dtype=torch.bool)
        self._graphs: dict[int, Any] = {}
        self._shared = True
        # The step that loaded the kernels has moved the robots.
        start = torch.as_tensor(model.qpos0).expand(num, -1)
        self.reset(start, torch.zeros(num, model.nv, dtype=torch.float32))

    @property
    def body_positions(self) -> Tensor:
        """[M, nbody, 3] origins of the bodies before the last physics step."""
        return self._bodies["xpos"]

    @property
    def body_centres(self) -> Tensor:
        """[M, nbody, 3] centres of mass of the bodies before the last physics step."""
        return self._bodies["xipos"]

    def reset(self, qpos: Tensor, qvel: Tensor, where: Tensor | None = None) -> None:
        """Put simulations into a state, all else zero; then place their bodies.

        Args:
            qpos: [M, nq].
            qvel: [M, nv].
            where: [M] truth values: which simulations to reset; None resets all.
        """
        where = torch.ones(self.num, dtype=torch.bool) if where is None else where
        where = where.to(self.qpos.device)
        for name, view in self._state.items():
            _write(view, {"qpos": qpos, "qvel": qvel}.get(name, torch.zeros_like(view)), where)
        # Warp places the bodies of all simulations; those that go on must stay where their last
        # step left them, one physics step behind their joints, as the next velocity is read there.
        before = {name: view.clone() for name, view in self._bodies.items()}
        with wp.ScopedDevice(self._device):
            mjw.kinematics(self._model, self._data)
        for name, view in self._bodies.items():
            _write(view, before[name], ~where)
        self._forget(where)

    def step(self, controls: Tensor, substeps: int) -> None:
        """Hold the controls [M, nu] for some physics steps; launches one graph and returns.

        Raises:
            ValueError: controls of another shape. A simulation that dies is noticed by
                :meth:`check` only.
        """
        if controls.shape != self._controls.shape:
            raise ValueError(
                f"controls must be {tuple(self._controls.shape)}, got {tuple(controls.shape)}"
            )
        self._controls.copy_(controls.detach())  # the batch outlives any graph
        self._bad_controls |= _is_bad(self._controls)  # clipping to the range would hide a NaN
        if substeps not in self._graphs:
            self._graphs[substeps] = self._record(substeps)
        wp.capture_launch(self._graphs[substeps])

    def check(self) -> None:
        """Raise if a simulation died, or ran out of room, since its last reset.

        Nothing is lost by asking late: what is not finite stays so, and flags of overflow stay set.

        Raises:
            FloatingPointError: a position, velocity or control is not finite or beyond 1e10.
            RuntimeError: there were more contacts or constraints than there is room for.
        """
        dead = _is_bad(self.qpos) | _is_bad(self.qvel) | self._bad_controls
        full = self._overflow & int(_ROOM["nconmax"] | _ROOM["njmax"])
        if not (dead | (full != 0)).any():  # the one place that waits for the device
            return
        self._check_room(full)
        bad_control = ", by a control that it was given" if self._bad_controls[dead][0] else ""
        raise FloatingPointError(
            f"{int(dead.sum())} of {self.num} simulations died, the first is number "
            f"{int(dead.int().argmax())}{bad_control}: a number is not finite or beyond "
            f"{LARGEST:.0e}. Look at the actions that it was given and at its masses; then reset"
        )

    def set_parameters(self, fields: dict[str, Tensor]) -> None:
        """Give every simulation its own values of some fields of the model, each [M, ...].

        Raises:
            ValueError: a field that is not one of
                :data:`bomrl_lite.physics.mujoco_batch.PARAMETERS`, or values of another shape.
        """
        unknown = set(fields) - set(PARAMETERS)
        if unknown:
            raise ValueError(
                f"a parameter is one of {', '.join(PARAMETERS)}, got {unknown.pop()!r}"
            )
        self._own_parameters()
        for name, values in fields.items():
            mine = wp.to_torch(getattr(self._model, name))
            if values.shape != mine.shape:
                raise ValueError(f"{name} must be {tuple(mine.shape)}, got {tuple(values.shape)}")
            mine.copy_(values)
        # set_const works in the model's pose and leaves the bodies there.
        before = {name: view.clone() for name, view in self._bodies.items()}
        with wp.ScopedDevice(self._device):
            mjw.set_const(self._model, self._data)
        for name, view in self._bodies.items():
            view.copy_(before[name])

    def get_state(self) -> PhysicsState:
        """Return time, positions, velocities, controls, warm start; and where bodies were."""
        return tuple(view.clone() for view in (*self._state.values(), *self._bodies.values()))

    def set_state(self, state: PhysicsState) -> None:
        """Go back to a state of :meth:`get_state`.

        Raises:
            ValueError: the state is that of other simulations.
        """
        mine = (*self._state.values(), *self._bodies.values())
        shapes, got = ([tuple(part.shape) for part in parts] for parts in (mine, state))
        if shapes != got:
            raise ValueError(f"a state of these simulations is {shapes}, got {got}")
        for view, value in zip(mine, state, strict=True):
            view.copy_(value)
        self._forget(torch.ones_like(self._bad_controls))

    def _view(self, name: str) -> Tensor:
        return wp.to_torch(getattr(self._data, name))

    def _size(self, name: str) -> int:
        return getattr(self._data, name).size

    def _forget(self, where: Tensor) -> None:
        """Clear the error flags of these simulations."""
        self._overflow.masked_fill_(where, 0)
        self._bad_controls.masked_fill_(where, False)

    def _record(self, substeps: int) -> Any:
        """Record physics steps as a graph; nothing moves yet."""
        with wp.ScopedDevice(self._device), wp.ScopedCapture() as capture:
            for _ in range(substeps):
                mjw.step(self._model, self._data)
        return capture.graph

    def _own_parameters(self) -> None:
        """Give every simulation its own copy of the parameters and of what follows from them."""
        if not self._shared:
            return
        wp.synchronize_device(self._device)  # a graph that still runs reads the shared values
        for name in (*PARAMETERS, *_DERIVED):
            shared = getattr(self._model, name)
            own = np.repeat(shared.numpy(), self.num, axis=0)
            setattr(self._model, name, wp.array(own, dtype=shared.dtype, device=self._device))
        self._graphs.clear()  # graphs hold the addresses of the shared values
        self._shared = False

    def _check_room(self, full: Tensor) -> None:
        # Contacts are one pool: Warp raises their flag everywhere, and cannot say who lost some.
        told = {
            "nconmax": f"all {self.num} simulations together had more than {self.num} x nconmax = "
            f"{self._room['nconmax']} contacts",
            "njmax": f"a simulation had more than njmax = {self._room['njmax']} constraints",
        }
        limits = [told[limit] for limit, flags in _ROOM.items() if (full & int(flags)).any()]
        if limits:
            raise RuntimeError(
                f"{' and '.join(limits)}; what was beyond was left out, of any of them. Make them "
                f"as MujocoWarp(..., contacts=n) with n above {self._room['nconmax']}"
            )


def _find_device(device: str) -> Any:
    """Return Warp's record of a device.

    Raises:
        RuntimeError: a GPU is asked for, and there is none.
    """
    if device.startswith("cuda") and not (torch.cuda.is_available() and wp.is_cuda_available()):
        raise RuntimeError(
            "MuJoCo Warp needs a GPU that torch can use, and there is none; simulate on the "
            "processor with backend='mujoco', or (slowly, for tests) with device='cpu'"
        )
    return wp.get_device(device)


def _without_gauss_seidel(model: Model) -> Model:
    model = copy.copy(model)
    if model.opt.solver == mujoco.mjtSolver.mjSOL_PGS:
        model.opt.solver = mujoco.mjtSolver.mjSOL_NEWTON
    return model


def _write(view: Tensor, values: Tensor, where: Tensor) -> None:
    """Overwrite the rows of ``where``, without asking the device which they are: that waits."""
    where = where.reshape(-1, *[1] * (view.ndim - 1))
    view.copy_(torch.where(where, values.to(view), view))


def _is_bad(values: Tensor) -> Tensor:
    """Tell which rows hold a number that is not finite or too large."""
    return ~(values.abs() <= LARGEST).all(-1)
