"""One line ``torch.set_default_dtype(torch.float64)`` in a notebook must change no number.

So no function of the library may leave a dtype to that global setting.
"""

import ast
from pathlib import Path

import pytest
import torch

import bomrl_lite
from bomrl_lite.tasks import make_tasks, task_names
from bomrl_lite.training.config import configure
from bomrl_lite.training.evaluate import evaluate_run
from bomrl_lite.training.trainer import load, meta_train

ROOT = Path(bomrl_lite.__file__).parent
EPISODES = {"values": "episodes", "num_tasks": 3, "num_episodes": 4, "horizon": 6, "iterations": 2}
CASES = {
    "exact": ("bomrl", {"tasks": "probe/random-5x3", "num_tasks": 2, "iterations": 2}),
    "navigation": ("lvc_maml", {**EPISODES, "tasks": "navigation/corners", "diagnose_every": 1}),
    "table": ("lvc_maml", {**EPISODES, "tasks": "probe/random-5x3"}),
    "cheetah": ("bomrl_head", {**EPISODES, "tasks": "cheetah/direction", "hidden": (4,)}),
    "solver": ("imaml", {**EPISODES, "tasks": "navigation/circle", "hidden": (4,)}),
}
MAKERS = {
    "zeros",
    "ones",
    "empty",
    "full",
    "eye",
    "rand",
    "randn",
    "linspace",
    "logspace",
    "tensor",
}
"""Functions of torch that take their dtype from the global setting, or from it and the values."""


@pytest.fixture
def under():
    """Run a function under a default dtype."""
    usual = torch.get_default_dtype()

    def run(dtype, function):
        torch.set_default_dtype(dtype)
        return function()

    yield run
    torch.set_default_dtype(usual)


@pytest.mark.parametrize("case", CASES)
def test_training_and_evaluation_give_the_same_bits(case, under, tmp_path):
    method, settings = CASES[case]

    def run(name):
        meta_train(configure(method, **settings), out=tmp_path / name)
        rows = evaluate_run(tmp_path / name, num_test_tasks=2, num_steps=1)
        return load(tmp_path / name)[1], rows

    usual, rows = run("usual")
    other, other_rows = under(torch.float64, lambda: run("other"))
    assert repr(other.history) == repr(usual.history)  # nan is nan
    assert other_rows == rows
    for name, leaf in usual.phi.items():
        assert torch.equal(other.phi[name], leaf), name
        assert other.phi[name].dtype == leaf.dtype, name


@pytest.mark.parametrize("name", task_names())
def test_tasks_and_their_episodes_keep_their_dtype(name, under):
    def parts():
        family, generator = make_tasks(name), torch.Generator().manual_seed(0)
        tasks = family.sample(2, generator, "train")
        simulator = family.simulator(tasks, 2, 3)
        seen = simulator.reset(generator)
        shape, kind = ((2, 2), torch.int64)
        if not family.discrete:
            shape, kind = (2, 2, family.action_size), torch.float32
        return [*tasks, seen, *simulator.step(torch.zeros(shape, dtype=kind), generator)]

    for mine, other in zip(parts(), under(torch.float64, parts), strict=True):
        assert other.dtype == mine.dtype
        assert torch.equal(other, mine)


def test_every_tensor_is_made_with_a_dtype():
    """Those of truth values and of whole numbers too: what they hold may change."""
    silent = list[str]()
    for path in ROOT.rglob("*.py"):
        if "course" in path.relative_to(ROOT).parts:
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Attribute)
                and isinstance(node.func.value, ast.Name)
                and node.func.value.id == "torch"
                and node.func.attr in MAKERS
                and not any(word.arg in ("dtype", None) for word in node.keywords)
            ):
                silent.append(f"{path.name}:{node.lineno}: {ast.unparse(node)}")
    assert silent == []
