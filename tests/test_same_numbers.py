"""A short training of every method gives the very numbers that it gave before the lanes were one.

``tests/data/same_numbers.json`` holds them: every column of the history as exact hexadecimal floats
and a digest of every parameter. On the kind of machine that stored them the bits must agree; on
another instruction set or another torch the numbers must, to 1e-6.
"""

import hashlib
import json
import math
import platform
import sys
from pathlib import Path

import pytest
import torch

from bomrl_lite.training.config import configure
from bomrl_lite.training.trainer import meta_train

STORED = Path(__file__).parent / "data" / "same_numbers.json"

EXACT = {"tasks": "probe/random-5x3", "num_tasks": 3, "iterations": 3}
EXACT_CASES = {
    "maml": {},
    "first_order_maml": {},
    "joint": {},
    "bomrl d1": {"distance": "d1", "lam": 0.5},
    "bomrl d2": {"distance": "d2", "lam": 0.5},
    "bomrl d3": {"distance": "d3", "lam": 0.5},
    "bomrl naive": {"data": "naive"},
    "bomrl frozen": {"data": "frozen"},
    "bomrl q_gradient": {"data": "q_gradient", "distance": "d1"},
    "bomrl approximate": {"unsolved": "approximate", "distance": "d3", "lam": 0.02},
    "bomrl_trust_region d1": {"distance": "d1", "delta": 0.05},
    "bomrl_trust_region d2": {"distance": "d2", "delta": 0.05},
    "first_order_bomrl": {"lam": 0.5},
    "maml batches": {"batch_tasks": 2, "seed": 3, "learning_rate": 0.1},
    "maml lake": {"tasks": "frozen_lake/holes-4x4", "step_size": 4.0},
    "bomrl lake": {"tasks": "frozen_lake/holes-4x4", "seed": 1},
}
"""By label, whose first word is what the method was called: settings beside :data:`EXACT`."""
EXACT_NAMES = {"joint": "joint_finetuned"}

SAMPLED = {
    "tasks": "navigation/circle",
    "num_tasks": 3,
    "num_episodes": 4,
    "horizon": 6,
    "hidden": (5,),
    "iterations": 3,
    "diagnose_every": 2,
}
ROBOT = {"tasks": "cheetah/direction", "num_tasks": 2, "num_episodes": 3, "hidden": (8, 8)}
TABLE = {"tasks": "probe/random-5x3", "parameters": "all"}
SAMPLED_CASES = {
    **{
        method: {}
        for method in (
            "joint",
            "naive_maml",
            "first_order_maml",
            "maml",
            "dice_maml",
            "loaded_dice_maml",
            "trpo_maml",
            "e_maml",
            "promp",
            "anil",
            "imaml",
            "bomrl",
            "bomrl_trust_region",
            "bomrl_head",
            "bomrl_solved",
        )
    },
    "promp adaptive": {"kl_penalty": 0.1, "kl_target": 1e-9, "seed": 2},
    "maml two steps": {"num_steps": 2},
    "bomrl trpo": {"outer": "trpo", "clip": 0.3},
    "bomrl q_gradient": {"data": "q_gradient", "causal_trace": 0.5, "distance_stride": 4},
    "bomrl_solved d2": {"distance": "d2", "surrogate": "linear", "parameters": "all"},
    "maml table": TABLE,
    "bomrl table": TABLE,
    "maml corners": {"tasks": "navigation/corners", "normalise": False, "trace": 0.5},
    "trpo_maml robot": ROBOT,
    "promp robot": ROBOT,
    "bomrl_head robot": ROBOT,
    "bomrl robot": {**ROBOT, "integrator": "fast"},
}
"""By label, whose first word is what the method was called: settings beside :data:`SAMPLED`."""
SAMPLED_NAMES = {
    "maml": "lvc_maml",
    "bomrl": "bomrl_natural",
    "bomrl_trust_region": "bomrl_natural_region",
}

CASES = [("exact", label) for label in EXACT_CASES] + [
    ("sampled", label) for label in SAMPLED_CASES
]


def machine() -> str:
    """What decides the last bits: torch, its kernels, the processor's instruction set."""
    kind = torch.backends.cpu.get_cpu_capability()
    return f"torch {torch.__version__}, {platform.machine()}, {kind}, {processor()}"


def processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines() if sys.platform == "linux" else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def run(lane: str, label: str):
    method = label.split()[0]
    if lane == "exact":
        method = EXACT_NAMES.get(method, method)
        return meta_train(configure(method, **{**EXACT, **EXACT_CASES[label]}))
    settings = {**SAMPLED, **SAMPLED_CASES[label]}
    if settings["tasks"] == TABLE["tasks"]:
        del settings["hidden"]
    method = SAMPLED_NAMES.get(method, method)
    return meta_train(configure(method, values="episodes", **settings))


def numbers(state) -> dict:
    columns = state.history[0]
    return {
        "history": {name: [float(row[name]).hex() for row in state.history] for name in columns},
        "phi": {
            name: {
                "sha256": hashlib.sha256(leaf.detach().numpy().tobytes()).hexdigest(),
                "sum": leaf.double().sum().item().hex(),
                "size": leaf.double().norm().item().hex(),
            }
            for name, leaf in state.phi.items()
        },
    }


def close(now: str, then: str) -> bool:
    a, b = float.fromhex(now), float.fromhex(then)
    if math.isnan(a) or math.isnan(b):
        return math.isnan(a) and math.isnan(b)
    return math.isclose(a, b, rel_tol=1e-6, abs_tol=1e-9)


@pytest.mark.parametrize(("lane", "label"), CASES)
def test_every_method_gives_the_numbers_that_it_gave(lane, label):
    stored = json.loads(STORED.read_text())
    then, now = stored["runs"][f"{lane} {label}"], numbers(run(lane, label))
    if stored["machine"] == machine():
        assert now == then
    assert now["history"].keys() == then["history"].keys()
    for column, values in now["history"].items():
        assert all(map(close, values, then["history"][column])), column
    for name, leaf in now["phi"].items():
        assert close(leaf["size"], then["phi"][name]["size"]), name


if __name__ == "__main__":  # store today's numbers
    torch.set_num_threads(1)
    runs = {f"{lane} {label}": numbers(run(lane, label)) for lane, label in CASES}
    lines = ",\n".join(f"{json.dumps(k)}: {json.dumps(v)}" for k, v in runs.items())
    STORED.write_text(f'{{"machine": {json.dumps(machine())}, "runs": {{\n{lines}\n}}}}\n')
