"""The forge's workflow and the pre-commit hooks: valid, and no second road beside run.py."""

import importlib.util
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]
WORKFLOW = ROOT / ".github" / "workflows" / "ci.yml"
HOOKS = ROOT / ".pre-commit-config.yaml"
SPEC = importlib.util.spec_from_file_location("run", ROOT / "run.py")
run = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(run)


@pytest.mark.parametrize(
    "validator",
    [
        ["check_jsonschema", "--builtin-schema", "vendor.github-workflows", WORKFLOW],
        ["pre_commit", "validate-config", HOOKS],
    ],
    ids=["workflow", "pre-commit"],
)
def test_is_valid_to_its_own_validator(validator):
    command = [sys.executable, "-m", *validator]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_workflow_runs_targets_of_run_py():
    jobs = yaml.safe_load(WORKFLOW.read_text())["jobs"].values()
    commands = [step["run"] for job in jobs for step in job["steps"] if "run" in step]
    targets = [re.fullmatch(r"(?:python run\.py|make) (\S+).*", line)[1] for line in commands]
    assert targets == ["test-fast", "test"]
    assert set(targets) <= set(run.TARGETS)


def test_the_hooks_are_the_checks_of_make_test():
    (repository,) = yaml.safe_load(HOOKS.read_text())["repos"]
    hooks = [(hook["name"], *shlex.split(hook["entry"])) for hook in repository["hooks"]]
    assert hooks == [(name, "python", *words) for name, words in run.CHECKS]
