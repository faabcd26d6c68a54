"""MuJoCo Warp against MuJoCo's C code in double precision.

Runs on Warp's processor device, and on a GPU too where there is one.
"""

import copy
import importlib.util
import sys

import mujoco
import pytest
import torch

from bomrl_lite.physics import make_physics, resolve_backend
from bomrl_lite.physics.mujoco_batch import MujocoBatch
from bomrl_lite.physics.robots import ROBOTS, load_model, most_contacts

needs_warp = pytest.mark.skipif(
    importlib.util.find_spec("mujoco_warp") is None,
    reason="MuJoCo Warp is not installed: pip install 'bomrl-lite[gpu]'",
)
M = 4
DEVICES = ["cpu", "cuda"] if torch.cuda.is_available() else ["cpu"]


@pytest.fixture(scope="module", params=DEVICES)
def warp(request):
    from bomrl_lite.physics.mujoco_warp import MujocoWarp

    def make(robot, num=M, **options):
        return MujocoWarp(load_model(robot), num, device=request.param, **options)

    return make


@pytest.fixture(scope="module")
def cheetah(warp):
    return warp("half_cheetah")


@pytest.fixture
def start(generator):
    """Noisy poses [M, 9], velocities [M, 9], and controls of ten steps [10, M, 6]."""
    kind = {"generator": generator, "dtype": torch.float64}
    qpos = torch.as_tensor(load_model("half_cheetah").qpos0) + 0.1 * torch.randn(M, 9, **kind)
    return qpos, 0.1 * torch.randn(M, 9, **kind), 2 * torch.rand(10, M, 6, **kind) - 1


def run(physics, controls, substeps=5):
    """Bodies' origins, bodies' centres, positions and velocities after every step."""
    path = []
    for control in controls:
        physics.step(control, substeps)
        state = (physics.body_positions, physics.body_centres, physics.qpos, physics.qvel)
        path.append([part.double().cpu().clone() for part in state])
    return path


def same(part, other):
    """Bit by bit; but a GPU adds contact forces in any order."""
    return torch.equal(part, other) or (len(DEVICES) > 1 and (part - other).abs().max() < 1e-2)


def assert_same(path, other):
    for states in zip(path, other, strict=True):
        assert all(same(*parts) for parts in zip(*states, strict=True))


def error(state, other):
    """Largest difference of places and angles, and of velocities."""
    differences = [(a - b).abs().max().item() for a, b in zip(state, other, strict=True)]
    return max(differences[:3]), differences[3]


@needs_warp
def test_steps_are_those_of_mujoco_as_far_as_single_precision_goes(cheetah, start):
    qpos, qvel, controls = start
    processor = MujocoBatch(load_model("half_cheetah"), M, threads=1)
    paths = []
    for physics in (cheetah, processor):
        physics.reset(qpos, qvel)
        paths.append(run(physics, controls))
    first, last = (error(paths[0][t], paths[1][t]) for t in (0, -1))
    assert first[0] < 2e-6
    assert first[1] < 2e-5
    assert last[0] < 2e-4
    assert last[1] < 5e-3
    cheetah.check()


@needs_warp
def test_five_substeps_are_five_steps(cheetah, start):
    qpos, qvel, controls = start
    cheetah.reset(qpos, qvel)
    at_once = run(cheetah, controls)
    cheetah.reset(qpos, qvel)
    assert_same(run(cheetah, controls.repeat_interleave(5, 0), 1)[4::5], at_once)


@needs_warp
def test_parameters_are_those_of_models_built_one_by_one(warp, generator):
    shared = warp("hopper", 2)
    shared.step(torch.zeros(2, 3), 4)  # a graph of the shared values must not live on
    kind = {"generator": generator, "dtype": torch.float64}
    fields, singles = {}, [copy.copy(load_model("hopper")) for _ in range(2)]
    for name in ("body_mass", "body_inertia", "dof_damping", "geom_friction"):
        usual = torch.as_tensor(getattr(singles[0], name))
        fields[name] = usual * (0.5 + torch.rand(2, *usual.shape, **kind))
        for row, single in enumerate(singles):
            getattr(single, name)[:] = fields[name][row].numpy()
    shared.set_parameters(fields)
    qpos = torch.as_tensor(singles[0].qpos0).expand(2, -1)
    controls = 2 * torch.rand(10, 2, 3, **kind) - 1
    shared.reset(qpos, torch.zeros(2, 6))
    path = run(shared, controls, 4)
    for row, single in enumerate(singles):
        mujoco.mj_setConst(single, mujoco.MjData(single))
        alone = MujocoBatch(single, 1, threads=1)
        alone.reset(qpos[:1], torch.zeros(1, 6))
        expected = run(alone, controls[:, row : row + 1], 4)
        for state, other in zip(path, expected, strict=True):
            assert error([part[row : row + 1] for part in state], other)[0] < 1e-5


@needs_warp
def test_reset_by_mask_leaves_the_others_alone(cheetah, start):
    qpos, qvel, controls = start
    where = torch.tensor([True, False, False, True])
    cheetah.reset(qpos, qvel)
    fresh = run(cheetah, controls[5:])
    cheetah.reset(qpos, qvel)
    on = run(cheetah, controls)
    cheetah.reset(qpos, qvel)
    run(cheetah, controls[:5])
    bodies = cheetah.body_positions.clone()
    cheetah.reset(qpos, qvel, where)
    assert torch.equal(cheetah.body_positions[~where], bodies[~where])
    processor = MujocoBatch(load_model("half_cheetah"), M, threads=1)
    processor.reset(qpos, qvel)
    for view in ("body_positions", "body_centres"):
        mine, other = (getattr(physics, view)[where].cpu() for physics in (cheetah, processor))
        assert (mine - other).abs().max() < 1e-6
    for state, other, new in zip(run(cheetah, controls[5:]), on[5:], fresh, strict=True):
        for part, went_on, started in zip(state, other, new, strict=True):
            assert same(part[~where], went_on[~where])
            assert same(part[where], started[where])


@needs_warp
def test_replay_is_exact(cheetah, start):
    qpos, qvel, controls = start
    cheetah.reset(qpos, qvel)
    run(cheetah, controls[:3])
    state = cheetah.get_state()
    path = run(cheetah, controls[3:])
    cheetah.set_state(state)
    assert all(torch.equal(*parts) for parts in zip(state, cheetah.get_state(), strict=True))
    assert_same(run(cheetah, controls[3:]), path)
    with pytest.raises(ValueError, match="a state of these simulations is"):
        cheetah.set_state(state[1:])


@needs_warp
@pytest.mark.parametrize("what", ["position", "control"])
def test_check_finds_the_dead_and_reset_revives_them(cheetah, start, what):
    qpos, qvel, controls = start
    cheetah.reset(qpos, qvel)
    expected = run(cheetah, controls)
    where = torch.tensor([False, False, True, False])
    cheetah.reset(qpos, qvel)
    if what == "position":
        cheetah.qpos[2, 3] = torch.nan
        cheetah.step(controls[0], 5)
    else:
        cheetah.step(controls[0].masked_fill(where[:, None], torch.nan), 5)
        cheetah.step(controls[1], 5)
    for _ in range(2):
        with pytest.raises(FloatingPointError, match=r"1 of 4 .* the first is number 2"):
            cheetah.check()
    cheetah.reset(qpos, qvel, where)
    cheetah.check()
    cheetah.reset(qpos, qvel)
    assert_same(run(cheetah, controls), expected)


@needs_warp
def test_check_finds_a_lack_of_room(warp, start):
    tight = warp("half_cheetah", contacts=1)
    tight.reset(*start[:2])
    tight.step(torch.zeros(M, 6), 100)  # lets the cheetahs fall on their feet
    with pytest.raises(RuntimeError, match=r"all 4 .*nconmax = 1 .*n\) with n above 1"):
        tight.check()
    tight.reset(*start[:2])
    tight.check()


@needs_warp
def test_no_simulation_can_take_another_s_room(warp):
    for robot in ROBOTS:
        assert warp(robot, 1)._data.naconmax >= most_contacts(load_model(robot))


@needs_warp
def test_torch_sees_the_memory_of_warp(cheetah, start):
    cheetah.reset(*start[:2])
    for _ in range(2):
        for name in ("qpos", "qvel"):
            assert getattr(cheetah, name).data_ptr() == getattr(cheetah._data, name).ptr
        assert cheetah.body_positions.data_ptr() == cheetah._data.xpos.ptr
        assert cheetah.body_centres.data_ptr() == cheetah._data.xipos.ptr
        cheetah.step(start[2][0], 5)
    assert cheetah.qpos.dtype == torch.float32


@needs_warp
def test_misuse_is_named(cheetah):
    with pytest.raises(ValueError, match=r"controls must be \(4, 6\), got \(4, 5\)"):
        cheetah.step(torch.zeros(4, 5), 5)
    with pytest.raises(ValueError, match=r"a parameter is one of .* got 'qpos0'"):
        cheetah.set_parameters({"qpos0": torch.zeros(4, 9)})
    with pytest.raises(ValueError, match=r"dof_damping must be \(4, 9\), got \(9,\)"):
        cheetah.set_parameters({"dof_damping": torch.zeros(9)})


@needs_warp
def test_without_gpu_the_error_says_what_to_do(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ValueError, match="backend='mujoco'"):
        make_physics(load_model("hopper"), 1, backend="warp")


def test_without_the_extra_the_error_has_the_pip_line(monkeypatch):
    monkeypatch.delitem(sys.modules, "bomrl_lite.physics.mujoco_warp", raising=False)
    monkeypatch.setitem(sys.modules, "mujoco_warp", None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'bomrl-lite\[gpu\]'"):
        make_physics(load_model("hopper"), 1, backend="warp")


@pytest.mark.parametrize(
    ("gpu", "installed", "expected"),
    [(True, True, "warp"), (True, False, "mujoco"), (False, True, "mujoco")],
)
def test_auto_is_warp_only_where_it_can_run(monkeypatch, gpu, installed, expected):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpu)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object() if installed else None)
    assert resolve_backend("auto") == expected
    assert resolve_backend("mujoco") == "mujoco"
