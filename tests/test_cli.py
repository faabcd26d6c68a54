import csv
import os
import subprocess
import sys

import pytest


def command(*arguments: object, **kind) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "bomrl_lite", *map(str, arguments)],
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "100"},
        **kind,
    )


def test_train_then_evaluate(tmp_path):
    run = tmp_path / "run"
    trained = command("train", "--num-tasks", 3, "--iterations", 40, "--out", run)
    assert trained.returncode == 0, trained.stderr
    assert "40/40" in trained.stdout
    evaluated = command("evaluate", run, "--num-test-tasks", 4, "--num-steps", 2)
    assert evaluated.returncode == 0, evaluated.stderr
    rows = list(csv.DictReader((run / "evaluation.csv").read_text().splitlines()))
    assert len(rows) == (3 + 4) * 2 * 3
    gap = {
        prior: sum(
            float(row["gap"])
            for row in rows
            if (row["split"], row["prior"], row["step"]) == ("train", prior, "1")
        )
        / 3
        for prior in ("untrained", "maml")
    }
    assert gap["maml"] < gap["untrained"]
    assert f"{gap['maml']:.4f}" in evaluated.stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["train", "--tasks", "frozen_lake/hole"], "did you mean frozen_lake/holes"),
        (["train", "--iterations", "-3"], "iterations must be at least 1, got -3"),
        (["evaluate", "no_such_run"], "train first"),
    ],
)
def test_mistakes_end_in_one_line_and_code_2(tmp_path, arguments, words):
    result = command(*arguments, cwd=tmp_path)
    assert result.returncode == 2
    assert words in result.stderr
    assert "Traceback" not in result.stderr
    assert not list(tmp_path.rglob("checkpoint.pt"))


def test_help_teaches_every_command():
    overview = command("--help")
    for name in ("train", "evaluate", "run", "build", "calibrate", "bench"):
        assert name in overview.stdout
    training = command("train", "--help").stdout
    assert "alpha of the inner policy-gradient step" in training
    assert "Example:" in training
