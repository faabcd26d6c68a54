"""Settings: each is checked for its kind, its range and its finiteness; exact ones are taken."""

import dataclasses
import json
import math
import typing

import numpy as np
import pytest
import torch
from jaxtyping import config as hook

import bomrl_lite as bl
from bomrl_lite.adaptation.settings import AlgSettings
from bomrl_lite.training.config import Episodes, all_settings
from bomrl_lite.training.problem import bytes_needed
from bomrl_lite.training.stored_config import config_from_file

CONFIGS = {
    "exact": bl.configure("bomrl"),
    "step": bl.configure("maml"),
    "region": bl.configure("bomrl_trust_region"),
    "promp": bl.configure("promp"),
    "trpo": bl.configure("trpo_maml"),
    "natural": bl.configure("bomrl_natural"),
    "natural_region": bl.configure("bomrl_natural_region"),
    "solved": bl.configure("bomrl_solved"),
    "robot": bl.configure("bomrl_head", tasks="cheetah/direction"),
}
NAN, INF = math.nan, math.inf
NO_NUMBERS = ["3", "", True, None, [1], (2,), {}, torch.tensor(0.5), 1j, object]
NO_COUNTS = [2.5, 2.0, 0, -1, NAN, INF, 2**40, np.float64(3), *NO_NUMBERS]
NO_POSITIVES = [0, -1.0, NAN, INF, -INF, 1e300, 1e-300, 10**400, np.float32("nan"), *NO_NUMBERS]
NO_WORDS = [3, 0.5, None, "nothing", "", ["d1"], True]
BAD = {
    "count": NO_COUNTS,
    "optional count": [x for x in NO_COUNTS if x is not None],
    "positive": NO_POSITIVES,
    "not negative": [x for x in NO_POSITIVES if x not in (0, 1e-300)],
    "not negative or none": [x for x in NO_POSITIVES if x not in (0, 1e-300, None)],
    "count from 0": [x for x in NO_COUNTS if x != 0 or x is False],
    "share": [-0.1, 1.1, NAN, INF, *NO_NUMBERS],
    "signed": [NAN, INF, -INF, 1e300, *NO_NUMBERS],
    "truth": ["no", "yes", 0, 1, None, 0.0, [], torch.tensor(True)],
    "widths": [8, "8", (8, 0), (8, -1), (2.5,), (True,), (None,), {8: 8}, None, (NAN,), "88"],
    "seed": [-1, 2**28, 2**32, 2**63, 2**80, 0.5, NAN, *NO_NUMBERS],
    "word": NO_WORDS,
}
KINDS = {
    **dict.fromkeys(
        ("num_tasks", "iterations", "checkpoint_every", "num_episodes", "num_steps",
         "diagnose_every", "epochs", "cg_iterations", "distance_stride", "inner_iterations"),
        "count",
    ),
    **dict.fromkeys(("batch_tasks", "horizon"), "optional count"),
    **dict.fromkeys(("step_size", "lam", "delta", "learning_rate", "max_kl"), "positive"),
    **dict.fromkeys(
        ("ridge", "body_step", "clip", "kl_penalty", "kl_target", "kl_guard"), "not negative"
    ),
    "head_ridge": "not negative or none",
    "halvings": "count from 0",
    **dict.fromkeys(("trace", "causal_trace"), "share"),
    **dict.fromkeys(("credit", "log_std", "head_scale"), "signed"),
    **dict.fromkeys(("baseline", "normalise"), "truth"),
    **dict.fromkeys(
        ("values", "data", "distance", "surrogate", "parameters", "unsolved", "integrator",
         "backend"),
        "word",
    ),
    "hidden": "widths",
    "seed": "seed",
}  # fmt: skip
CASES = [
    pytest.param(config, setting, value, id=f"{name}-{setting}-{number}")
    for setting, kind in KINDS.items()
    for name, config in list(CONFIGS.items())
    if setting in config.settings()
    and name == next(n for n, c in CONFIGS.items() if setting in c.settings())
    for number, value in enumerate(BAD[kind])
    if not (setting == "values" and value is None)  # which is the usual one
]


@pytest.fixture
def untyped():
    """Take away the types that the tests hold the library to: users have none."""
    hook.update("jaxtyping_disable", True)
    yield
    hook.update("jaxtyping_disable", False)


def test_every_setting_has_a_kind_here():
    top = {"values", "data", "num_tasks", "iterations", "seed", "checkpoint_every"}
    assert KINDS.keys() == all_settings() | top


def test_there_are_hundreds_of_cases():
    assert len(CASES) > 350


@pytest.mark.usefixtures("untyped")
@pytest.mark.parametrize(("config", "setting", "value"), CASES)
def test_a_bad_setting_is_named_with_what_came(config, setting, value):
    with pytest.raises(ValueError, match=rf"^{setting} must be"):
        config.replace(**{setting: value})


@pytest.mark.usefixtures("untyped")
def test_a_part_made_by_hand_is_checked_too():
    for bad in (2.5, "3", True, np.int64(3), 0):
        sampling = Episodes(num_episodes=bad)
        with pytest.raises(ValueError, match="num_episodes"):
            dataclasses.replace(CONFIGS["promp"], sampling=sampling)
        with pytest.raises(ValueError, match="num_tasks"):
            dataclasses.replace(CONFIGS["promp"], num_tasks=bad)


@pytest.mark.parametrize("name", CONFIGS)
def test_no_part_of_a_configuration_changes_once_it_is_made(name):
    config = CONFIGS[name]
    parts = [config, *(x for x in vars(config).values() if dataclasses.is_dataclass(x))]
    assert len(parts) >= 4
    for part in parts:
        field = dataclasses.fields(part)[0].name
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(part, field, getattr(part, field))


@pytest.mark.parametrize("kind", typing.get_args(AlgSettings), ids=lambda kind: kind.__name__)
def test_what_an_alg_is_told_does_not_change_once_it_is_made(kind):
    settings = kind()
    with pytest.raises(dataclasses.FrozenInstanceError):
        settings.lam = 1.0


@pytest.mark.parametrize("kind", [np.float16, np.float32, np.float64, np.int8, int])
def test_numbers_of_numpy_are_taken_as_what_they_are(kind):
    config = bl.configure("bomrl", lam=kind(1))
    assert config == bl.configure("bomrl", lam=1.0)
    assert type(config.settings()["lam"]) is float
    json.dumps(config.stored())


def test_counts_flags_and_widths_of_numpy_are_taken_too():
    config = bl.configure(
        "promp", num_tasks=np.int64(3), hidden=[np.int32(8), 4], normalise=np.bool_(False)
    )
    assert config == bl.configure("promp", num_tasks=3, hidden=(8, 4), normalise=False)
    assert json.loads(json.dumps(config.stored()))["hidden"] == [8, 4]


WRONG = {
    "method that is a number": ({"method": 3}, "method must be one of"),
    "method that is a list": ({"method": ["maml"]}, "method must be one of"),
    "method that is empty": ({"method": ""}, "method must be one of"),
    "tasks that are a number": ({"tasks": 3}, "tasks must be the name of a family, got 3"),
    "tasks that are a list": ({"tasks": ["probe/ice"]}, "tasks must be the name of a family"),
    "tasks that are empty": ({"tasks": ""}, "no task distribution is called ''"),
    "values that are a list": ({"values": ["exact"]}, "values must be one of"),
    "an outer update that is none": ({"outer": "sgd"}, "outer must be one of"),
    "an outer update that is a number": ({"outer": 1}, "outer must be one of"),
}


@pytest.mark.usefixtures("untyped")
@pytest.mark.parametrize("name", WRONG)
def test_a_choice_that_is_none_is_refused(name):
    given, words = WRONG[name]
    with pytest.raises(ValueError, match=words):
        bl.configure(**given)


@pytest.mark.usefixtures("untyped")
@pytest.mark.parametrize("given", ["maml", None, 3, {"method": "maml"}])
def test_training_asks_for_a_configuration(given):
    with pytest.raises(ValueError, match="config must come from configure"):
        bl.meta_train(given)


@pytest.mark.usefixtures("untyped")
@pytest.mark.parametrize("path", [3, None, [], ""])
def test_what_is_no_path_is_refused(path):
    for call in (bl.load, bl.load_policy):
        with pytest.raises(ValueError, match="must be a path, got"):
            call(path)


TOO_LARGE = [
    bl.configure("maml", num_tasks=2**31),
    bl.configure("promp", num_episodes=10**9),
    bl.configure("promp", horizon=2**31),
    bl.configure("promp", num_steps=10**9),
    bl.configure("promp", hidden=(10**6, 10**6)),
    bl.configure("bomrl_head", tasks="cheetah/direction", num_tasks=10**8),
]


@pytest.mark.parametrize("config", TOO_LARGE, ids=range(len(TOO_LARGE)))
def test_work_that_does_not_fit_into_memory_is_refused_with_an_estimate(config, tmp_path):
    with pytest.raises(ValueError, match=r"needs at least [\d.e+]+ GB of memory and this machine"):
        bl.meta_train(config, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_the_estimate_is_below_what_is_collected():
    config = bl.configure("promp", num_tasks=3, num_episodes=4, horizon=5, hidden=(6,))
    problem = bl.make_problem(config)
    generator = torch.Generator().manual_seed(0)
    tasks = problem.draw(generator)
    phi, _ = problem.start()
    thetas = {name: leaf.expand(3, *leaf.shape) for name, leaf in phi.items()}
    rollout = bl.collect(problem.simulator(tasks, 4, None), problem.policy, thetas, generator)
    collected = 2 * (rollout.observations.nbytes + rollout.actions.nbytes)
    assert collected < bytes_needed(config) < 100 * collected


FILES = {
    "nothing": (b"", "cannot be read as settings"),
    "text": (b"maml", "cannot be read as settings"),
    "bytes": (b"\xff\xfe\x00", "cannot be read as settings"),
    "a list": (b"[1, 2]", "must hold settings by name"),
    "a number": (b"3", "must hold settings by name"),
    "a newer format": (b'{"method": "maml", "format": 9}', "format 9.*newer version"),
    "an unknown setting": (b'{"method": "maml", "colour": 3}', "colour.*newer version"),
    "a setting out of range": (b'{"method": "maml", "step_size": -1}', "step_size must be"),
    "a method that is none": (b'{"method": 3}', "method must be one of"),
}


@pytest.mark.usefixtures("untyped")
@pytest.mark.parametrize("name", FILES)
def test_a_file_of_settings_says_what_is_wrong(name, tmp_path):
    data, words = FILES[name]
    path = tmp_path / "mine.json"
    path.write_bytes(data)
    with pytest.raises(ValueError, match=f"(?s){words}"):
        config_from_file(path)
