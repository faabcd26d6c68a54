import copy
import subprocess
import sys

import gymnasium
import mujoco
import numpy as np
import pytest
import torch

from bomrl_lite.physics import make_physics
from bomrl_lite.physics.mujoco_batch import MujocoBatch
from bomrl_lite.physics.robots import MODELS, ROBOTS, load_model, most_contacts

GYM = {
    "half_cheetah": "HalfCheetah-v5",
    "ant": "Ant-v5",
    "walker": "Walker2d-v5",
    "hopper": "Hopper-v5",
    "humanoid": "Humanoid-v5",
}
LOOKS = ("light_", "mat", "tex", "cam_", "name", "vis", "geom_rgba", "geom_matid", "stat")
SIZES = (
    "nnames",
    "nbuffer",
    "narena",
    "nmat",
    "ntex",
    "ncam",
    "nkey",
    "nnumeric",
    "nuser",
    "signature",
)
UNUSED = ("key_", "numeric_", "geom_user", "tendon_", "ten_", "wrap_", "ntendon", "nJten", "nwrap")


@pytest.fixture(autouse=True)
def _folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # gymnasium's cheetah leaves a log where it is loaded


def starts(robot, num, seed=0):
    """Different starts, a little off the model's pose."""
    model, random = load_model(robot), np.random.default_rng(seed)
    qpos = model.qpos0 + random.uniform(-0.1, 0.1, (num, model.nq))
    return torch.tensor(qpos), torch.tensor(random.normal(size=(num, model.nv)) * 0.1)


def actions(robot, steps, num, seed=1):
    model, random = load_model(robot), np.random.default_rng(seed)
    top = model.actuator_ctrlrange[:, 1]
    return random.uniform(-0.6, 0.6, (steps, num, model.nu)) * top


def started(robot, num=3, threads=1, **how):
    physics = MujocoBatch(load_model(robot, **how), num, threads=threads)
    physics.reset(*starts(robot, num))
    return physics


def run(physics, controls, substeps=5):
    """States after each of the steps: [T, M, nq + nv]."""
    states = []
    for control in controls:
        physics.step(torch.as_tensor(control), substeps)
        states.append(torch.cat([physics.qpos, physics.qvel], -1))
    return torch.stack(states)


def one_by_one(models, qpos, qvel, controls, substeps=5):
    """The same from MuJoCo's own loop over one model and one set of data per simulation."""
    states = np.empty((*controls.shape[:2], models[0].nq + models[0].nv))
    for sim, model in enumerate(models):
        data = mujoco.MjData(model)
        data.qpos[:], data.qvel[:] = qpos[sim], qvel[sim]
        mujoco.mj_forward(model, data)
        for step, control in enumerate(controls[:, sim]):
            data.ctrl[:] = control
            mujoco.mj_step(model, data, substeps)
            states[step, sim] = np.concatenate([data.qpos, data.qvel])
    return torch.tensor(states)


@pytest.mark.parametrize("robot", ROBOTS)
def test_a_model_has_gymnasium_s_numbers_wherever_they_act(robot):
    ours = load_model(robot)
    theirs = gymnasium.make(GYM[robot]).unwrapped.model
    compared = 0
    for name in dir(theirs):
        value = getattr(theirs, name)
        number = isinstance(value, int | float | np.ndarray)
        if name.startswith(("_", *LOOKS, *SIZES, *UNUSED)) or not number:
            continue
        rows = slice(1, None) if name == "geom_size" else ...  # our floor has no end
        np.testing.assert_array_equal(
            np.atleast_1d(getattr(ours, name))[rows], np.atleast_1d(value)[rows], name
        )
        compared += 1
    assert compared > 300
    for name in ("timestep", "integrator", "solver", "iterations", "tolerance", "gravity"):
        assert np.array_equal(getattr(ours.opt, name), getattr(theirs.opt, name)), name
    assert (ours.stat.meaninertia, ours.stat.meanmass) == (
        theirs.stat.meaninertia,
        theirs.stat.meanmass,
    )


def test_loading_a_model_says_nothing(capfd, tmp_path):
    for robot in ROBOTS:
        model = load_model.__wrapped__(robot)
        assert model.camera("track").id >= 0
        assert model.body("torso").id == 1
        assert model.geom("floor").id == 0
    assert capfd.readouterr() == ("", "")
    assert not list(tmp_path.iterdir())
    assert len(list(MODELS.glob("*.xml"))) == len(ROBOTS) + 1


@pytest.mark.parametrize("robot", ROBOTS)
def test_states_are_those_of_gymnasium_bit_by_bit(robot):
    num, steps = 2, 1000
    (qpos, qvel), controls = starts(robot, num), actions(robot, steps, num)
    theirs = np.empty((steps, num, qpos.shape[1] + qvel.shape[1]))
    env = gymnasium.make(GYM[robot]).unwrapped
    assert env.frame_skip == ROBOTS[robot].frame_skip
    for sim in range(num):
        mujoco.mj_resetData(env.model, env.data)
        env.set_state(qpos[sim].numpy(), qvel[sim].numpy())
        for step in range(steps):
            env.step(controls[step, sim])
            theirs[step, sim] = np.concatenate([env.data.qpos, env.data.qvel])
    for threads in (1, 2):
        ours = run(started(robot, num, threads), controls, ROBOTS[robot].frame_skip)
        assert torch.equal(ours, torch.tensor(theirs)), f"{threads} threads"


def test_simulations_that_are_reset_begin_as_new_ones():
    controls = actions("ant", 30, 3)
    physics = started("ant")
    first = run(physics, controls)
    physics.reset(*starts("ant", 3))
    assert torch.equal(run(physics, controls), first)
    assert torch.equal(run(started("ant"), controls), first)


@pytest.mark.parametrize("robot", ["half_cheetah", "ant"])
def test_a_state_replays_exactly_and_with_it_where_bodies_were(robot):
    physics = started(robot)
    controls = actions(robot, 40, 3)
    run(physics, controls[:20])
    state, bodies = physics.get_state(), physics.body_positions.clone()
    centres = physics.body_centres.clone()
    went_on = run(physics, controls[20:])
    assert not torch.equal(physics.body_positions, bodies)
    for other in (physics, started(robot)):
        other.set_state(state)
        assert torch.equal(other.body_positions, bodies)
        assert torch.equal(other.body_centres, centres)
        assert torch.equal(run(other, controls[20:]), went_on)


@pytest.mark.parametrize("robot", ["half_cheetah", "ant"])
def test_bodies_are_where_mujoco_s_own_step_leaves_them(robot):
    (qpos, qvel), controls = starts(robot, 1), actions(robot, 7, 1)
    physics, model = started(robot, 1), load_model(robot)
    data = mujoco.MjData(model)
    data.qpos[:], data.qvel[:] = qpos[0], qvel[0]
    mujoco.mj_forward(model, data)
    np.testing.assert_array_equal(physics.body_positions[0], data.xpos)
    for control in controls:
        physics.step(torch.tensor(control), 5)
        data.ctrl[:] = control[0]
        mujoco.mj_step(model, data, 5)
    np.testing.assert_array_equal(physics.body_positions[0], data.xpos)
    np.testing.assert_array_equal(physics.body_centres[0], data.xipos)


def test_a_partial_reset_leaves_the_others_as_they_were():
    controls = actions("walker", 60, 3)
    undisturbed = run(started("walker"), controls)
    physics = started("walker")
    run(physics, controls[:30])
    physics.reset(*starts("walker", 3, seed=5), where=torch.tensor([False, True, False]))
    after = run(physics, controls[30:])
    assert torch.equal(after[:, [0, 2]], undisturbed[30:, [0, 2]])
    fresh = started("walker")
    fresh.reset(*starts("walker", 3, seed=5))
    assert torch.equal(after[:, 1], run(fresh, controls[30:])[:, 1])
    before = physics.get_state()
    physics.reset(*starts("walker", 3), where=torch.zeros(3, dtype=torch.bool))
    assert all(torch.equal(a, b) for a, b in zip(before, physics.get_state(), strict=True))


@pytest.mark.parametrize("robot", ["half_cheetah", "hopper", "walker"])
def test_a_simulation_s_own_parameters_are_those_of_a_model_of_its_own(robot):
    model, random, num = load_model(robot), np.random.default_rng(3), 4
    names = ("body_mass", "body_inertia", "dof_damping", "geom_friction")
    fields = {
        name: getattr(model, name)
        * random.uniform(0.6, 1.6, (num, *np.shape(getattr(model, name))))
        for name in names
    }
    models = []
    for sim in range(num):
        own = copy.copy(model)
        for name in names:
            getattr(own, name)[:] = fields[name][sim]
        mujoco.mj_setConst(own, mujoco.MjData(own))
        models.append(own)
    (qpos, qvel), controls = starts(robot, num), actions(robot, 100, num)
    physics = MujocoBatch(model, num, threads=2)
    physics.set_parameters({name: torch.tensor(value) for name, value in fields.items()})
    physics.reset(qpos, qvel)
    ours = run(physics, controls)
    assert torch.equal(ours, one_by_one(models, qpos, qvel, controls))
    assert not torch.equal(ours, run(started(robot, num), controls))
    assert np.array_equal(model.body_mass, load_model.__wrapped__(robot).body_mass)


def test_fast_is_another_integrator():
    assert load_model("ant").opt.integrator == mujoco.mjtIntegrator.mjINT_RK4
    fast = load_model("ant", "fast")
    assert fast.opt.integrator == mujoco.mjtIntegrator.mjINT_IMPLICITFAST
    controls = actions("ant", 20, 3)
    ours = run(started("ant", integrator="fast"), controls)
    qpos, qvel = starts("ant", 3)
    assert torch.equal(ours, one_by_one([fast] * 3, qpos, qvel, controls))
    exact = run(started("ant"), controls)
    assert not torch.equal(ours, exact)
    assert (ours[0] - exact[0])[:, :3].abs().max() < 0.1  # metres: the same robot's trunk


def test_wrong_requests_are_named():
    model = load_model("hopper")
    with pytest.raises(ValueError, match=r"robot must be one of half_cheetah, .* got 'dog'"):
        load_model("dog")
    with pytest.raises(ValueError, match="integrator must be 'gym' or 'fast', got 'RK4'"):
        load_model("ant", "RK4")
    with pytest.raises(ValueError, match="at least 1 simulation, got 0"):
        make_physics(model, 0, backend="mujoco")
    with pytest.raises(ValueError, match="backend must be one of auto, mujoco, warp, got 'gpu'"):
        make_physics(model, 1, backend="gpu")
    assert isinstance(make_physics(model, 2, backend="mujoco"), MujocoBatch)
    physics = started("hopper")
    with pytest.raises(ValueError, match=r"controls must be \(3, 3\), got \(3, 2\)"):
        physics.step(torch.zeros(3, 2), 1)
    with pytest.raises(ValueError, match=r"a parameter is one of body_mass.* got 'gravity'"):
        physics.set_parameters({"gravity": torch.zeros(3)})
    with pytest.raises(ValueError, match=r"body_mass must be \(3, 5\), got \(5,\)"):
        physics.set_parameters({"body_mass": torch.ones(5)})
    with pytest.raises(ValueError, match="a state of these simulations is"):
        physics.set_state(started("hopper", num=2).get_state())


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_controls_that_are_not_finite_are_refused_before_anything_moves(value, capfd, tmp_path):
    physics = started("hopper")
    controls, before = torch.zeros(3, 3), physics.get_state()
    controls[1, 2] = value
    with pytest.raises(FloatingPointError, match=f"control 2 of simulation 1 is {value}"):
        physics.step(controls, 4)
    assert all(torch.equal(a, b) for a, b in zip(before, physics.get_state(), strict=True))
    physics.step(torch.zeros(3, 3), 4)
    assert capfd.readouterr() == ("", "")
    assert not list(tmp_path.iterdir())


def fast_as_nothing_is(physics):
    physics.qvel[1] = 1e12


def nowhere(physics):
    physics.qpos[1] = float("nan")


def without_mass(physics):
    mass = torch.tensor(load_model("hopper").body_mass).repeat(3, 1)
    mass[1] = 0
    physics.set_parameters({"body_mass": mass, "body_inertia": torch.zeros(3, 5, 3)})


@pytest.mark.parametrize("kill", [fast_as_nothing_is, nowhere, without_mass])
def test_a_dead_simulation_is_reported_by_us_and_by_nobody_else(kill, capfd, tmp_path):
    physics = started("hopper")
    controls = torch.zeros(3, 3)
    kill(physics)
    for _ in range(2):
        with pytest.raises(FloatingPointError, match="simulations died, the first is number"):
            physics.step(controls, 4)
    with pytest.raises(FloatingPointError, match="number 1" if kill is nowhere else "number"):
        physics.check()
    if kill is not without_mass:
        # The others went on as if nothing had happened; and the dead one can be reset.
        alive = started("hopper")
        run(alive, torch.zeros(2, 3, 3), 4)
        assert torch.equal(physics.qpos[[0, 2]], alive.qpos[[0, 2]])
        physics.reset(*starts("hopper", 3), where=torch.tensor([False, True, False]))
        physics.step(controls, 4)
    assert capfd.readouterr() == ("", "")
    assert not list(tmp_path.iterdir())


def test_without_mujoco_one_is_told_what_to_install():
    code = (
        "import sys; sys.modules['mujoco'] = None\n"
        "import bomrl_lite.physics, bomrl_lite.physics.robots\n"
        "try: import bomrl_lite.physics.mujoco_batch\n"
        "except ModuleNotFoundError as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "pip install 'mujoco>=4,<5'" in done.stdout


@pytest.mark.parametrize("robot", ROBOTS)
def test_the_most_contacts_are_those_of_a_robot_in_a_heap(robot):
    """MuJoCo's own counts, of geometries that are blown up until nearly all touch."""
    model = copy.copy(load_model(robot))
    model.opt.disableflags |= mujoco.mjtDisableBit.mjDSBL_MIDPHASE  # its boxes have the old sizes
    data, bound = mujoco.MjData(model), most_contacts(model)
    random, most = np.random.default_rng(0), 0
    for size in (1, 2, 5, 20):
        model.geom_size[1:] = size * load_model(robot).geom_size[1:]
        model.geom_rbound[1:] = size * load_model(robot).geom_rbound[1:]
        for _ in range(200):
            data.qpos[:] = model.qpos0 + random.normal(size=model.nq)
            mujoco.mj_forward(model, data)
            most = max(most, data.ncon)
    assert 0.4 * bound < most <= bound


def test_controls_that_record_a_gradient_leave_none_behind():
    """Simulations live as long as the process: a graph in them would grow from step to step."""
    physics, controls = started("hopper"), torch.zeros(3, 3, requires_grad=True)
    for _ in range(2):
        physics.step(controls, 1)
        assert not physics._controls.requires_grad
        assert not any(part.requires_grad for part in physics.get_state())
