"""The command line: ``python -m bomrl_lite --help``."""

import sys
from pathlib import Path
from typing import Annotated

import tyro

from bomrl_lite.course import commands
from bomrl_lite.tasks import locomotion, navigation
from bomrl_lite.training import evaluate as run_evaluation
from bomrl_lite.training import sampled_trainer as sampled
from bomrl_lite.training.exact_trainer import MetaConfig, meta_train
from bomrl_lite.training.files import csv_text, write_atomically
from bomrl_lite.training.progress import training_progress
from bomrl_lite.training.sampled_config import SampledConfig

app = tyro.extras.SubcommandApp()


@app.command
def train(
    config: Annotated[MetaConfig, tyro.conf.arg(name="")],
    out: Path = Path("runs/train"),
    resume: bool = False,
    tensorboard: bool = False,
) -> int:
    """Meta-train a policy and write config.json, history.csv and checkpoint.pt.

    Example: python -m bomrl_lite train --method maml --tasks frozen_lake/costs-4x4 --out runs/costs

    With exact values. Tasks that can only be sampled (navigation/...), or --num-episodes, lead to
    the dials of train-sampled.

    Args:
        config: the dials.
        out: run folder.
        resume: go on from the last checkpoint in ``out``; the result is the same, bit for bit.
        tensorboard: also write the history to ``out``/tensorboard (pip install tensorboard).
    """
    with training_progress() as progress:
        meta_train(config, out=out, resume=resume, progress=progress, tensorboard=tensorboard)
    print(f"done: {out}/history.csv; next: python -m bomrl_lite evaluate {out}")
    return 0


@app.command
def train_sampled(
    config: Annotated[SampledConfig, tyro.conf.arg(name="")],
    out: Path = Path("runs/train"),
    resume: bool = False,
    tensorboard: bool = False,
) -> int:
    """Meta-train on sampled episodes: what ``train`` does for tasks without exact values.

    Example: python -m bomrl_lite train --method promp --tasks navigation/circle --out runs/promp

    Args:
        config: the dials; one that is left out is the method's own.
        out: run folder.
        resume: go on from the last checkpoint in ``out``; the result is the same, bit for bit.
        tensorboard: also write the history to ``out``/tensorboard (pip install tensorboard).
    """
    with training_progress() as progress:
        sampled.meta_train(
            config, out=out, resume=resume, progress=progress, tensorboard=tensorboard
        )
    print(f"done: {out}/history.csv; next: python -m bomrl_lite evaluate {out}")
    return 0


@app.command
def evaluate(
    run: Annotated[Path, tyro.conf.Positional],
    num_test_tasks: int = 20,
    num_steps: int = 3,
    num_episodes: int | None = None,
) -> int:
    """Print and write (evaluation.csv) how good a run's policy is, beside an untrained prior.

    Of an exact run the gap to every task's optimum, of a sampled run the return.

    Example: python -m bomrl_lite evaluate runs/costs --num-steps 4

    Args:
        run: folder that ``train`` wrote.
        num_test_tasks: held-out tasks; no training task is among them (except in the probes).
        num_steps: adaptations, each on data of the policy before it.
        num_episodes: of a sampled run: episodes per adaptation; left out, as in training.
    """
    rows = run_evaluation.evaluate_run(run, num_test_tasks, num_steps, num_episodes)
    write_atomically(run / "evaluation.csv", csv_text(rows[0], rows).encode())
    print(run_evaluation.as_table(rows))
    return 0


@app.command
def export(
    run: Annotated[Path, tyro.conf.Positional], out: Annotated[Path, tyro.conf.Positional]
) -> int:
    """Write the policy of a sampled run as one small file, for ``train_sampled.load_policy``.

    Example: python -m bomrl_lite export runs/promp promp.pt

    Args:
        run: folder that ``train`` wrote.
        out: file.
    """
    sampled.save_policy(*sampled.load(run), out)
    print(f"policy {out}, {out.stat().st_size / 1e3:.0f} kB")
    return 0


for command in commands.COMMANDS:
    app.command(command)


def main() -> int:
    """Run the command line; expected mistakes end in one plain line and exit code 2."""
    try:
        arguments = route(sys.argv[1:])
        return app.cli(args=arguments, prog="python -m bomrl_lite", description=__doc__) or 0
    except (ValueError, OSError, ArithmeticError, ModuleNotFoundError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(
            "\nstopped; what was written stays (train: --resume goes on after its last iteration)"
        )
        return 130


def route(arguments: list[str]) -> list[str]:
    """Send ``train`` to the trainer on samples where the tasks or ``--num-episodes`` ask for it."""
    if arguments[:1] != ["train"]:
        return arguments
    values = " ".join(arguments).replace("=", " ").split()
    names = [values[i + 1] for i, value in enumerate(values[:-1]) if value == "--tasks"]
    sampling = {"--num-episodes", "--num_episodes"} & set(values)
    if sampling or any(name in {*navigation.FAMILIES, *locomotion.FAMILIES} for name in names):
        return ["train-sampled", *arguments[1:]]
    return arguments


if __name__ == "__main__":
    sys.exit(main())
