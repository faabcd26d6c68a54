"""A family of one's own: trained, kept, loaded in another process, and used by its policy alone."""

import subprocess
import sys
from pathlib import Path

import gymnasium
import numpy as np
import pytest
import torch

import bomrl_lite as bl
from bomrl_lite import __main__ as command_line
from bomrl_lite.rollout.observations import lens_of
from bomrl_lite.types import Tasks

EXAMPLES = Path(__file__).parents[1] / "examples"
SMALL = {"num_tasks": 2, "num_episodes": 3, "horizon": 5, "hidden": (4,), "iterations": 2}


@pytest.fixture
def ellipse(monkeypatch):
    """The family of examples/own_tasks.py under a name that no other process knows."""
    monkeypatch.syspath_prepend(str(EXAMPLES))
    import own_tasks

    yield Tasks(**{**vars(own_tasks.ELLIPSE), "name": "mine/here"})
    bl.tasks._REGISTERED.pop("mine/here", None)
    bl.tasks._REGISTERED.pop("mine/ellipse", None)


def test_a_family_is_given_by_object_to_configure_or_to_meta_train(ellipse):
    config = bl.configure("promp", tasks=ellipse, step_size=0.2, **SMALL)
    assert config.tasks == "mine/here"
    elsewhere = bl.configure("promp", step_size=0.2, **SMALL)
    there = bl.meta_train(elsewhere, tasks=ellipse)
    assert there.history == bl.meta_train(config).history
    assert there.history != bl.meta_train(elsewhere).history


def test_settings_that_nobody_tuned_say_so(ellipse):
    config = bl.configure("promp", tasks=ellipse, **SMALL)
    with pytest.warns(UserWarning, match="tune --method promp --tasks mine/here proposes"):
        bl.meta_train(config)
    bl.meta_train(config.replace(step_size=0.3))  # chosen: no word


def test_a_run_of_a_family_unknown_here_says_what_to_import(ellipse, tmp_path):
    config = bl.configure("promp", tasks=ellipse, step_size=0.2, **SMALL)
    state = bl.meta_train(config, out=tmp_path / "run")
    bl.save_policy(config, state, tmp_path / "policy.pt")
    bl.tasks._REGISTERED.pop("mine/here")
    with pytest.raises(ValueError, match=r"own_tasks registers: .*--import own_tasks"):
        bl.load(tmp_path / "run")
    policy = bl.load_policy(tmp_path / "policy.pt")  # needs no family
    assert policy.config is None
    assert policy.act(np.zeros(2), torch.Generator()).shape == (2,)


def test_the_command_line_imports_a_module_that_registers(tmp_path):
    (tmp_path / "families.py").write_text(
        "import dataclasses, bomrl_lite as bl\n"
        "from bomrl_lite.tasks import navigation\n"
        "circle = navigation.FAMILIES['navigation/circle']\n"
        "def sample(*args):\n    return circle.sample(*args)\n"
        "bl.register_tasks(dataclasses.replace(circle, name='mine/ring', sample=sample))\n"
    )

    def call(*arguments):
        command = [sys.executable, "-m", "bomrl_lite", *map(str, arguments)]
        return subprocess.run(
            command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=300
        )

    sizes = ["--num-tasks", "2", "--num-episodes", "2", "--horizon", "4", "--iterations", "1"]
    train = ["train", "--tasks", "mine/ring", "--method", "promp", *sizes, "--out", "run"]
    refused = call(*train)
    assert refused.returncode == 2
    assert "no task distribution is called 'mine/ring'" in refused.stderr
    trained = call(*train, "--import", "families")
    assert trained.returncode == 0, trained.stderr
    assert "tune --method promp --tasks mine/ring proposes some" in trained.stderr
    assert "--import families" in call("evaluate", "run").stderr
    assert "mean return" in call("--import", "families", "evaluate", "run").stdout
    wrong = call("--import", "famlies", "methods")
    assert (wrong.returncode, wrong.stdout) == (2, "")
    assert "there is no module famlies" in wrong.stderr


ROBOT = bl.configure(
    "bomrl_head", tasks="cheetah/direction", **{**SMALL, "hidden": (8,), "iterations": 1}
)


@pytest.fixture(scope="module")
def robot(tmp_path_factory):
    path = tmp_path_factory.mktemp("robot") / "policy.pt"
    bl.save_policy(ROBOT, bl.meta_train(ROBOT), path)
    return bl.load_policy(path)


def test_a_policy_sees_raw_observations_through_its_own_moments(robot):
    raw = 3 * torch.randn(5, 17, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    problem = bl.make_problem(ROBOT)
    seen = lens_of(robot.moments)(raw.float())
    expected = problem.policy.distribution(robot.phi, seen)
    torch.testing.assert_close(robot.distribution(raw).mean, expected.mean)
    unseen = problem.policy.distribution(robot.phi, raw.float())
    assert (robot.distribution(raw).mean - unseen.mean).abs().max() > 1e-3


def test_a_policy_acts_in_gymnasium(robot):
    env = gymnasium.make("HalfCheetah-v5")
    observation, _ = env.reset(seed=0)
    generator = torch.Generator().manual_seed(0)
    for _ in range(3):
        action = robot.act(observation, generator)
        assert action.shape == (6,)
        observation, *_ = env.step(action.numpy())
    first = robot.act(observation, torch.Generator().manual_seed(1))
    assert torch.equal(first, robot.act(observation, torch.Generator().manual_seed(1)))


def test_a_tabular_policy_acts_on_numbers_of_states(tmp_path):
    config = bl.configure("maml", tasks="probe/random-5x3", num_tasks=2, iterations=1)
    state = bl.meta_train(config)
    bl.save_policy(config, state, tmp_path / "table.pt")
    policy = bl.load_policy(tmp_path / "table.pt")
    states = torch.arange(5).repeat(4000, 1)
    drawn = policy.act(states, torch.Generator().manual_seed(0))
    shares = torch.nn.functional.one_hot(drawn, 3).double().mean(0)
    torch.testing.assert_close(shares, state.phi["logits"].softmax(-1), atol=0.03, rtol=0)


@pytest.mark.parametrize(
    ("observation", "words"),
    [
        (np.zeros(5), r"must be \[\.\.\., 17\], got torch.float64 \(5,\)"),
        (np.full(17, np.nan), "not finite"),
    ],
)
def test_an_observation_of_something_else_is_refused(robot, observation, words):
    with pytest.raises(ValueError, match=words):
        robot.act(observation, torch.Generator())


def test_what_is_no_family_is_refused_and_the_commands_stay(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["bomrl_lite", "methods", "--import", "no.such.module"])
    assert command_line.main() == 2
    assert "--import no.such.module" in capsys.readouterr().err
