import csv
import os
import subprocess
import sys

import pytest

from bomrl_lite import __main__ as cli


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


def test_train_then_evaluate_bilevel(tmp_path):
    run = tmp_path / "run"
    dials = ["--method", "bomrl", "--distance", "d1", "--lam", "2", "--data", "q_gradient"]
    trained = command("train", *dials, "--num-tasks", 2, "--iterations", 5, "--out", run)
    assert trained.returncode == 0, trained.stderr
    rows = list(csv.DictReader((run / "history.csv").read_text().splitlines()))
    assert [row["unsolved"] for row in rows] == ["0"] * 5
    evaluated = command("evaluate", run, "--num-test-tasks", 2, "--num-steps", 1)
    assert evaluated.returncode == 0, evaluated.stderr
    rows = list(csv.DictReader((run / "evaluation.csv").read_text().splitlines()))
    trained = [row for row in rows if (row["split"], row["prior"]) == ("train", "bomrl")]
    gaps = {row["step"]: float(row["gap"]) for row in trained if row["task"] == "0"}
    assert gaps["1"] < gaps["0"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["train", "--tasks", "frozen_lake/hole"], "did you mean frozen_lake/holes"),
        (["train", "--iterations", "-3"], "iterations must be at least 1, got -3"),
        (["train", "--method", "bomrl", "--lam", "0"], "lam must be positive and finite, got 0.0"),
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


def test_an_unsolved_inner_problem_is_one_line_too_and_the_run_can_be_looked_at(tmp_path):
    """delta = 50 lets every policy become deterministic: there is no best theta."""
    dials = ["--method", "bomrl_trust_region", "--delta", "50", "--num-tasks", "2"]
    result = command("train", *dials, "--out", tmp_path / "run")
    assert result.returncode == 2
    assert "2 of 2 inner problems are not solved" in result.stderr
    assert "Traceback" not in result.stderr
    assert (tmp_path / "run" / "history.csv").read_text().count("\n") == 1


def test_an_experiment_writes_its_table_and_draws_it_where_nothing_was_before(
    tmp_path, monkeypatch
):
    """As in a fresh clone: neither ``runs/`` nor the folder of the table exists."""
    monkeypatch.setattr(cli, "ROOT", tmp_path)
    out = tmp_path / "results"
    assert cli.experiment("condition", seeds=1, iterations=1, out=out) == 0
    assert (out / "condition.csv").exists()
    assert (tmp_path / "runs" / "experiments" / "condition.png").stat().st_size > 1000
