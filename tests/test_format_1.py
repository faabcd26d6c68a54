"""What was stored before exact and sampled runs were one still loads, and goes on."""

import json
import shutil
from pathlib import Path

import pytest
import torch

from bomrl_lite.training.config import configure
from bomrl_lite.training.evaluate import evaluate_run
from bomrl_lite.training.policy_file import load_policy
from bomrl_lite.training.stored_config import read_config
from bomrl_lite.training.streams import seeded
from bomrl_lite.training.trainer import load, meta_train

RUNS = Path(__file__).parent / "data" / "format1"
POLICIES = Path(__file__).parents[1] / "notebooks" / "results" / "policies"
CONFIGS = {
    "exact": configure(
        "bomrl", tasks="probe/random-5x3", num_tasks=3, iterations=3, lam=0.5, checkpoint_every=2
    ),
    "exact_joint": configure(
        "joint_finetuned",
        tasks="probe/random-5x3",
        num_tasks=3,
        batch_tasks=2,
        iterations=3,
        checkpoint_every=2,
    ),
    "navigation": configure(
        "promp",
        num_tasks=3,
        num_episodes=4,
        horizon=6,
        hidden=(5,),
        iterations=3,
        checkpoint_every=2,
    ),
    "table": configure(
        "bomrl_natural",
        tasks="probe/random-5x3",
        values="episodes",
        num_tasks=3,
        num_episodes=4,
        horizon=6,
        iterations=3,
    ),
    "robot": configure(
        "bomrl_head",
        tasks="cheetah/direction",
        num_tasks=2,
        num_episodes=3,
        horizon=6,
        hidden=(8, 8),
        iterations=3,
    ),
}


def seeded_then(seed: int, purpose: str) -> torch.Generator:
    """Where training on episodes began, before its stream was one of the rule's."""
    return torch.Generator().manual_seed(seed) if purpose == "episodes" else seeded(seed, purpose)


@pytest.mark.parametrize("name", CONFIGS)
def test_a_run_of_every_kind_loads_and_goes_on_as_one_of_today(name, tmp_path, monkeypatch):
    monkeypatch.setattr("bomrl_lite.training.episodes.seeded", seeded_then)
    config, state = load(RUNS / name)
    assert config == CONFIGS[name]
    assert state.iteration == 3
    shutil.copytree(RUNS / name, tmp_path / "run")
    longer = config.replace(iterations=4)
    resumed, whole = meta_train(longer, out=tmp_path / "run", resume=True), meta_train(longer)
    for leaf in whole.phi:
        torch.testing.assert_close(resumed.phi[leaf], whole.phi[leaf], rtol=1e-6, atol=1e-7)
    assert json.loads((tmp_path / "run" / "config.json").read_text())["format"] == 2
    assert load(tmp_path / "run")[0] == longer
    rows = evaluate_run(tmp_path / "run", num_test_tasks=2, num_steps=1)
    assert {row["prior"] for row in rows} == {"untrained", config.method}


@pytest.mark.parametrize(
    "path",
    [RUNS / "cheetah_velocity_trpo_maml.pt", *sorted(POLICIES.glob("*.pt"))],
    ids=lambda path: f"{path.parent.name} {path.stem}",
)
def test_the_policies_that_are_shipped_load(path):
    config, phi, moments = load_policy(path)
    robot, _, _ = config.tasks.partition("/")
    assert phi["body.0.weight"].shape == {
        "cheetah": (64, 17),
        "walker": (64, 17),
        "ant": (64, 27),
    }.get(robot, (32, 2))
    if robot == "navigation":  # points look at their place as it is
        assert moments is None
    else:
        assert moments.number > 1e4


def test_there_are_seventeen_policies():
    assert len(list(POLICIES.glob("*.pt"))) == 17


def test_the_ant_of_format_1_keeps_the_settings_it_was_trained_with():
    """Its own tuning became the default afterwards."""
    old = dict.fromkeys(("step_size", "distance", "delta", "hidden", "log_std", "epochs"))
    old |= {"method": "promp", "tasks": "ant/velocity", "num_episodes": 10, "iterations": 5}
    config = read_config({**old, "seed": 1, "first_order": None})
    assert (config.network.log_std, config.outer.epochs, config.outer.learning_rate) == (
        -0.5,
        5,
        2e-2,
    )
    assert configure("promp", tasks="ant/velocity").network.log_std == -1.0


def test_a_setting_that_had_no_effect_is_left_out():
    old = {"method": "maml", "tasks": "probe/identical", "iterations": 2, "seed": 0}
    old |= {"step_size": 3.0, "distance": "d1", "delta": 0.1, "lam": 7.0, "unsolved": "raise"}
    assert read_config(old) == configure("maml", tasks="probe/identical", iterations=2, step_size=3)


SAMPLED = dict.fromkeys(("step_size", "distance", "delta", "data", "first_order", "outer"))
SAMPLED |= {"tasks": "navigation/circle", "num_episodes": 20, "iterations": 5, "seed": 0}


@pytest.mark.parametrize(
    ("old", "today"),
    [
        ({"method": "maml", "data": "full"}, {"method": "loaded_dice_maml", "causal_trace": 1.0}),
        ({"method": "maml", "data": "naive"}, {"method": "naive_maml"}),
        ({"method": "maml", "first_order": True}, {"method": "first_order_maml"}),
        ({"method": "first_order_maml", "first_order": False}, {"method": "lvc_maml"}),
        (
            {"method": "dice_maml", "data": "frozen", "trace": 0.5},
            {"method": "lvc_maml", "baseline": False, "step_size": 1.0, "learning_rate": 3e-3},
        ),
        ({"method": "promp", "first_order": True}, {"method": "promp", "data": "identity"}),
        ({"method": "bomrl", "outer": "trpo"}, {"method": "bomrl_natural", "clip": 0.3}),
        ({"method": "promp", "causal_trace": 0.5, "lam": 3.0}, {"method": "promp"}),
        ({"method": "maml", "kl_target": 0.1}, {"method": "lvc_maml"}),
        (
            {"method": "bomrl_solved", "distance": "d3", "distance_stride": 4},
            {"method": "bomrl_solved", "distance": "d3"},
        ),
    ],
    ids=lambda settings: " ".join(map(str, settings.values())),
)
def test_what_format_1_let_one_set_is_the_algorithm_that_it_was(old, today):
    """A rung that was asked for decides the name; what had no effect is left out."""
    outer = {"outer": old["outer"]} if "outer" in old else {}
    expected = configure(tasks="navigation/circle", iterations=5, **today, **outer)
    assert read_config({**SAMPLED, **old}) == expected


def test_a_configuration_of_a_newer_version_says_so():
    with pytest.raises(ValueError, match=r"format 3.*newer version"):
        read_config({**CONFIGS["exact"].stored(), "format": 3})
