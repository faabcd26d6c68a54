import csv
import json
import os
import re
import signal
import subprocess
import sys

import pytest

from bomrl_lite import __main__ as cli
from bomrl_lite.course import commands, plots
from bomrl_lite.training.config import configure
from bomrl_lite.training.methods import METHODS
from bomrl_lite.training.policy_file import load_policy


def process(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "bomrl_lite", *map(str, arguments)],
        capture_output=True,
        text=True,
        env={**os.environ, "COLUMNS": "100"},
    )


@pytest.fixture
def command(monkeypatch, capsys):
    """The same in this process, which has imported torch: that takes a Python most of its time."""
    monkeypatch.setenv("COLUMNS", "100")

    def call(*arguments: object) -> subprocess.CompletedProcess[str]:
        monkeypatch.setattr(sys, "argv", ["bomrl_lite", *map(str, arguments)])
        try:
            code = cli.main()
        except SystemExit as ended:  # tyro's, after help or a flag that is none
            code = ended.code
        return subprocess.CompletedProcess(arguments, code, *capsys.readouterr())

    return call


def test_train_then_evaluate(tmp_path):
    run = tmp_path / "run"
    trained = process("train", "--num-tasks", 3, "--iterations", 40, "--out", run)
    assert trained.returncode == 0, trained.stderr
    assert "40/40" in trained.stdout
    evaluated = process("evaluate", run, "--num-test-tasks", 4, "--num-steps", 2)
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


def test_train_then_evaluate_bilevel(tmp_path, command):
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
        (["compare", "no_such_run"], "compare takes folders that train has written"),
    ],
)
def test_mistakes_end_in_one_line_and_code_2(tmp_path, monkeypatch, command, arguments, words):
    monkeypatch.chdir(tmp_path)
    result = command(*arguments)
    assert result.returncode == 2
    assert words in result.stderr
    assert "Traceback" not in result.stderr
    assert not list(tmp_path.rglob("checkpoint.pt"))


def test_help_teaches_every_command(command):
    overview = command("--help")
    for name in ("train", "evaluate", "compare", "run", "build", "calibrate", "bench"):
        assert name in overview.stdout
    training = command("train", "--help").stdout
    assert "alpha of the inner policy-gradient step" in training
    assert "Example:" in training


def test_an_unsolved_inner_problem_is_one_line_too_and_the_run_can_be_looked_at(tmp_path):
    """delta = 50 lets every policy become deterministic: there is no best theta."""
    dials = ["--method", "bomrl_trust_region", "--delta", "50", "--num-tasks", "2"]
    result = process("train", *dials, "--out", tmp_path / "run")
    assert result.returncode == 2
    assert "2 of 2 inner problems are not solved" in result.stderr
    assert "Traceback" not in result.stderr
    assert (tmp_path / "run" / "history.csv").read_text().count("\n") == 1


@pytest.mark.skipif(os.name == "nt", reason="needs POSIX signals")
def test_ctrl_c_keeps_the_last_iteration_of_a_run_without_checkpoints(tmp_path):
    run = tmp_path / "run"
    dials = ["--num-tasks", "2", "--iterations", "2000", "--checkpoint-every", "2000"]
    child = subprocess.Popen(
        [sys.executable, "-m", "bomrl_lite", "train", *dials, "--out", str(run)],
        stdout=subprocess.PIPE,
        text=True,
        # An ignored signal is inherited: a background job of a shell ignores Ctrl-C.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    assert child.stdout is not None
    assert "200/2000" in child.stdout.readline()
    child.send_signal(signal.SIGINT)
    rest, _ = child.communicate()
    assert child.returncode == 130
    assert "--resume" in rest
    assert 200 <= (run / "history.csv").read_text().count("\n") - 1 < 2000


TRAIN = ("train", "--num-tasks", "2", "--iterations", "2000", "--checkpoint-every", "2000")


@pytest.mark.skipif(os.name == "nt", reason="needs POSIX pipes")
@pytest.mark.parametrize("words", [("methods",), ("--help",), TRAIN], ids=lambda words: words[0])
def test_an_output_that_nobody_reads_on_ends_in_silence_and_loses_nothing(words, tmp_path):
    """As ``methods | head`` does; a training keeps its last whole iteration."""
    run = tmp_path / "run"
    words = [*words, "--out", str(run)] if words is TRAIN else words
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-m", "bomrl_lite", *words]
    with os.fdopen(writer, "w") as output:
        ended = subprocess.run(command, stdout=output, stderr=subprocess.PIPE, text=True)
    assert (ended.returncode, ended.stderr) == (cli.READER_GONE, "")
    if words[0] == "train":
        assert (run / "history.csv").read_text().count("\n") - 1 == 200


@pytest.mark.skipif(os.name == "nt", reason="needs a POSIX shell")
def test_a_command_whose_output_is_closed_does_its_work():
    command = f"{sys.executable} -m bomrl_lite methods >&-"
    ended = subprocess.run(["bash", "-c", command], stderr=subprocess.PIPE, text=True)
    assert (ended.returncode, ended.stderr) == (0, "")


def test_a_missing_package_is_one_line_too(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "tensorboard", None)  # as if it were not installed
    monkeypatch.setattr(sys, "argv", ["", "train", "--tensorboard", "--out", str(tmp_path / "run")])
    assert cli.main() == 2
    assert "error: TensorBoard is not installed; pip install" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def write_run(folder, values: list[float], method="maml", **settings) -> None:
    folder.mkdir(parents=True)
    config = configure(method, **{"iterations": 3, **settings})
    (folder / "config.json").write_text(json.dumps(config.stored()))
    rows = [f"{i},{value},{10 * value}" for i, value in enumerate(values)]
    text = "\n".join(["iteration,return_after,gradient_norm", *rows])
    (folder / "history.csv").write_text(text + "\n")


@pytest.fixture
def runs(tmp_path):
    write_run(tmp_path / "a", [1.0, 2.0, 3.0], seed=0)
    write_run(tmp_path / "b", [2.0, 4.0], seed=1, checkpoint_every=5, iterations=9)
    write_run(tmp_path / "c", [5.0, 6.0, 7.0], step_size=0.5)
    return [tmp_path / name for name in "abc"]


def test_compare_joins_the_seeds_of_one_configuration(runs, tmp_path, capsys):
    out = tmp_path / "new" / "picture.png"
    assert commands.compare((*runs, tmp_path / "a" / "config.json"), out=out) == 0
    assert out.read_bytes().startswith(b"\x89PNG")
    header, joined, lone, *_ = capsys.readouterr().out.splitlines()
    assert header.split("  last ")[1] == "return_after, mean (range)"
    assert joined.split("  ")[0] == "step_size 10.0 (2 seeds)"
    assert joined.split()[-6:] == ["2", "2", "3", "(2", "to", "4)"]
    assert lone.split() == ["c", "1", "3", "7"]


def test_learning_curves_are_means_over_the_iterations_that_all_seeds_have(runs):
    figure = plots.draw_learning_curves(plots.read_runs(runs), "gradient_norm")
    (ax,) = figure.axes
    drawn = [line.get_xydata().tolist() for line in ax.lines if len(line.get_xydata())]
    assert drawn == [[[0, 15], [1, 30]], [[0, 50], [1, 60], [2, 70]]]
    band = ax.collections[0].get_paths()[0].vertices
    assert (band[:, 1].min(), band[:, 1].max()) == (10, 40)
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert legend == ["step_size 10.0 (2 seeds)", "c"]
    assert ax.get_ylabel() == "norm of the meta-gradient\n(return per parameter)"
    assert ax.get_yscale() == "linear"
    plots.plt.close(figure)


def test_small_positive_numbers_are_drawn_on_a_logarithmic_axis(tmp_path):
    write_run(tmp_path / "a", [1.0, 1e-3, 1e-9])
    figure = plots.draw_learning_curves(plots.read_runs([tmp_path / "a"]))
    assert figure.axes[0].get_yscale() == "log"
    plots.plt.close(figure)


def names(*folders) -> list[str]:
    return list(dict.fromkeys(plots.read_runs(folders)["curve"]))


def test_every_curve_has_a_name_of_its_own(tmp_path):
    for seed in (0, 1):
        write_run(tmp_path / f"x{seed}", [1.0], seed=seed)
        write_run(tmp_path / f"y{seed}", [1.0], seed=seed, method="promp", clip=0.2)
        write_run(tmp_path / f"z{seed}", [1.0], seed=seed, method="promp", clip=0.4)
    x, y, z = ([tmp_path / f"{name}{seed}" for seed in (0, 1)] for name in "xyz")
    assert names(*x) == ["maml (2 seeds)"]
    assert names(*y, *z) == ["clip 0.2 (2 seeds)", "clip 0.4 (2 seeds)"]
    mixed = names(*x, *y, *z)  # clip is no dial of x
    assert mixed == [
        "maml, frozen_lake/holes-4x4 (2 seeds)",
        "promp, navigation/circle, clip 0.2 (2 seeds)",
        "promp, navigation/circle, clip 0.4 (2 seeds)",
    ]
    write_run(
        tmp_path / "copy" / "x0", [1.0], seed=0
    )  # the same seed again: two runs, not two seeds
    copies = [x[0], tmp_path / "copy" / "x0"]
    assert names(*copies) == [str(folder) for folder in copies]


def test_mistakes_of_compare_are_told(runs, tmp_path):
    with pytest.raises(ValueError, match="called 'gap'; there are return_after, gradient_norm"):
        commands.compare(tuple(runs), column="gap", out=tmp_path / "x.png")
    with pytest.raises(FileNotFoundError, match=r"nowhere/history\.csv does not exist"):
        commands.compare((runs[0], tmp_path / "nowhere"))
    with pytest.raises(ValueError, match="each of them once"):
        commands.compare((runs[0], runs[0]))
    write_run(tmp_path / "empty", [])
    with pytest.raises(ValueError, match="empty has done no iteration yet"):
        commands.compare((tmp_path / "empty",))
    write_run(tmp_path / "nan", [float("nan")])
    with pytest.raises(ValueError, match="return_after holds no finite number"):
        commands.compare((tmp_path / "nan",))
    assert not (tmp_path / "x.png").exists()


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (["--tasks", "navigation/circle"], ("bomrl_natural", "navigation/circle", "episodes")),
        (["--method", "promp"], ("promp", "navigation/circle", "episodes")),
        (["--method", "bomrl"], ("bomrl", "frozen_lake/holes-4x4", "exact")),
        (["--method=promp", "--tasks=ant/velocity"], ("promp", "ant/velocity", "episodes")),
        (["--tasks", "frozen_lake/holes-4x4"], ("maml", "frozen_lake/holes-4x4", "exact")),
        (
            ["--tasks", "frozen_lake/holes-4x4", "--values", "episodes", "--method", "promp"],
            ("promp", "frozen_lake/holes-4x4", "episodes"),
        ),
        (["--out", "navigation/circle"], ("maml", "frozen_lake/holes-4x4", "exact")),
    ],
)
def test_train_knows_the_natural_tasks_and_values_of_a_method(given, expected):
    config = cli.chosen_config(given)
    assert (config.method, config.tasks, config.values) == expected


def test_a_stored_configuration_is_where_train_starts_and_flags_override_it(tmp_path, command):
    config = configure("promp", step_size=0.1, seed=4)
    (tmp_path / "config.json").write_text(json.dumps(config.stored()))
    given = ["--config", str(tmp_path / "config.json")]
    assert cli.chosen_config(given) == config
    assert cli.chosen_config([*given, "--tasks", "navigation/square"]) == config.replace(
        tasks="navigation/square"
    )
    (tmp_path / "own.yaml").write_text("method: promp\nstep_size: 0.1\nseed: 4\n")
    assert cli.chosen_config(["--config", str(tmp_path / "own.yaml")]) == config
    run = tmp_path / "run"
    small = ["--iterations", 1, "--num-tasks", 2, "--num-episodes", 2, "--horizon", 3]
    done = command("train", *given, *small, "--seed", 5, "--out", run)
    assert done.returncode == 0, done.stderr
    stored = json.loads((run / "config.json").read_text())
    assert (stored["step_size"], stored["seed"], stored["horizon"]) == (0.1, 5, 3)
    for text, words in (("[1]", "settings by name"), ("{", "cannot be read"), ('{"lr": 1}', "lr")):
        (tmp_path / "bad.json").write_text(text)
        with pytest.raises(ValueError, match=words):
            cli.chosen_config(["--config", str(tmp_path / "bad.json")])


def test_a_setting_that_the_method_does_not_have_is_refused_with_those_it_has(command):
    done = command("train", "--method", "promp", "--lam", "5")
    assert done.returncode == 2
    assert "promp on navigation/circle with episodes has no setting lam; it has" in done.stderr
    assert "step_size" in done.stderr


def test_help_shows_the_defaults_of_the_method_on_the_chosen_tasks(command):
    shown = command("train", "--method", "promp", "--tasks", "cheetah/direction", "--help").stdout
    text = " ".join(shown.replace("│", " ").split())
    assert "--step-size FLOAT" in text
    assert "(default: 64 64)" in text
    assert "--lam " not in text


def test_the_table_of_methods_names_alg_rung_outer_update_and_source(command):
    shown = command("methods").stdout
    line = next(line for line in shown.splitlines() if line.startswith("promp "))
    for word in ("GradientStep", "frozen", "Epochs", "episodes", "1810.06784"):
        assert word in line
    assert all(any(line.startswith(name + " ") for line in shown.splitlines()) for name in METHODS)


def test_a_sampled_run_is_trained_evaluated_and_its_folder_says_so(tmp_path, capsys, monkeypatch):
    run = tmp_path / "run"
    small = ["--num-tasks", "2", "--num-episodes", "2", "--horizon", "4", "--hidden", "3"]
    dials = ["--method", "bomrl_head", "--tasks", "navigation/square", *small, "--iterations", "2"]
    monkeypatch.setattr("sys.argv", ["bomrl_lite", "train", *dials, "--out", str(run)])
    assert cli.main() == 0
    assert "2/2" in capsys.readouterr().out
    assert json.loads((run / "config.json").read_text())["values"] == "episodes"
    ask = ["--num-test-tasks", "3", "--num-steps", "2", "--num-episodes", "1"]
    monkeypatch.setattr("sys.argv", ["bomrl_lite", "evaluate", str(run), *ask])
    assert cli.main() == 0
    shown = capsys.readouterr().out
    assert shown.startswith("mean return after k adaptations")
    with (run / "evaluation.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 2 * 2 * 3 * 3  # splits, priors, tasks, steps
    mine = [float(r["return"]) for r in rows if (r["split"], r["prior"]) == ("test", "untrained")]
    first = sum(mine[::3]) / 3
    line = next(line for line in shown.splitlines() if line.split()[:2] == ["test", "untrained"])
    assert float(line.split()[2]) == pytest.approx(first, abs=1e-4)


def test_robots_are_trained_evaluated_and_exported(tmp_path, capsys, monkeypatch):
    run, out = str(tmp_path / "run"), tmp_path / "policy.pt"
    small = ["--num-tasks", "2", "--num-episodes", "2", "--horizon", "4", "--iterations", "1"]
    for arguments in (
        ["train", "--method", "bomrl_head", "--tasks", "cheetah/direction", *small, "--out", run],
        ["evaluate", run, "--num-test-tasks", "2", "--num-steps", "1"],
        ["export", run, str(out)],
    ):
        monkeypatch.setattr("sys.argv", ["bomrl_lite", *arguments])
        assert cli.main() == 0
    assert re.search(rf"policy {out}, \d+ kB", capsys.readouterr().out)
    assert 20e3 < out.stat().st_size < 40e3
    config, phi, moments = load_policy(out)
    assert config.tasks == "cheetah/direction"
    assert phi["body.0.weight"].shape == (64, 17)
    assert moments.number == 2 * 2 * 2 * 4


def test_a_wrong_sampled_dial_ends_in_one_line(capsys, monkeypatch):
    wrong = ["train", "--tasks", "navigation/circle", "--lam", "-1"]
    monkeypatch.setattr("sys.argv", ["bomrl_lite", *wrong])
    assert cli.main() == 2
    assert "lam must be positive and finite, got -1.0" in capsys.readouterr().err
