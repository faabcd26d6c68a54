"""Each example runs as its first lines say, and another process uses what it exported."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
LOAD = """
import sys; sys.path.insert(0, {folder!r})
import {name}, torch, bomrl_lite as bl
config, phi, moments = bl.load_policy({policy!r})
policy = bl.make_problem(config).policy
if config.values == "exact":
    print(policy.log_probs(phi).exp().sum(-1).tolist())
else:
    print(policy.distribution(phi, torch.zeros(1, 2)).mean.shape)
"""


def run(*arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, check=False, cwd=ROOT
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_there_are_three_and_they_are_short():
    assert len(EXAMPLES) == 3
    assert all(len(path.read_text().splitlines()) <= 60 for path in EXAMPLES)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_trains_evaluates_exports_and_is_loaded_elsewhere(path, tmp_path):
    out = tmp_path / "run"
    said = run(str(path), str(out))
    numbers = [float(word) for word in said.replace(",", " ").split() if word[-1].isdigit()]
    if path.stem == "own_distance":
        worst, untrained, trained = numbers
        assert worst < 1e-6
        assert trained < untrained
    elif path.stem == "own_tasks":
        _, untrained, trained = numbers
        assert trained > untrained
    else:
        assert numbers[1] > numbers[0]
    again = run(str(path), str(out))  # a finished run is found, not trained again
    assert again == said
    code = LOAD.format(folder=str(path.parent), name=path.stem, policy=str(out / "policy.pt"))
    loaded = run("-c", code)
    assert "1.0" in loaded if path.stem == "own_distance" else "[1, 2]" in loaded
