"""The command line: ``python -m bomrl_lite --help``.

``--import MODULE`` before or after any command imports a module that registers task families of
your own.
"""

import contextlib
import importlib
import os
import signal
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from bomrl_lite.course import commands
from bomrl_lite.training import methods as table_of_methods
from bomrl_lite.training.config import (
    Config,
    all_settings,
    configure,
    no_such_setting,
)
from bomrl_lite.training.evaluate import evaluate_run, mean_table
from bomrl_lite.training.files import csv_text, write_atomically
from bomrl_lite.training.group import Group, PeerLost, joined, rank_of_process
from bomrl_lite.training.places import in_words, require_run, require_table, require_writable
from bomrl_lite.training.policy_file import save_policy
from bomrl_lite.training.progress import training_progress
from bomrl_lite.training.run_folder import Progress, silent
from bomrl_lite.training.stopping import Terminated, restore_ctrl_c, terminated_like_ctrl_c
from bomrl_lite.training.stored_config import config_from_file
from bomrl_lite.training.tables import as_table
from bomrl_lite.training.trainer import load, meta_train

READER_GONE = 1
"""Exit code where nobody reads the output on, as in ``methods | head``: Python's and rich's."""

OuterName = Literal["adam", "trpo"]
FlatConfig = tyro.conf.AvoidSubcommands[tyro.conf.OmitArgPrefixes[Config]]


@dataclass
class Chosen:
    """What decides which settings a training has, and what their defaults are."""

    method: str | None = None
    tasks: str | None = None
    values: str | None = None
    outer: str | None = None
    config: Path | None = None


def chosen_config(arguments: Sequence[str]) -> Config:
    """Return the configuration that ``train`` starts from: what its other flags then change.

    Raises:
        ValueError: an unknown method or family, or a setting that this method does not have.
    """
    chosen, rest = tyro.cli(Chosen, args=arguments, return_unknown_args=True, add_help=False)
    given = {k: v for k, v in vars(chosen).items() if v is not None and k != "config"}
    config = (
        configure(**given)
        if chosen.config is None
        else config_from_file(chosen.config).replace(**given)
    )
    flags = [word.split("=")[0][2:].replace("-", "_") for word in rest if word.startswith("--")]
    unknown = [flag for flag in flags if flag in all_settings() - config.settings().keys()]
    if unknown:
        raise no_such_setting(config, unknown)
    return config


def train_command(start: Config) -> Callable[..., int]:
    """Return the command ``train``, whose settings and defaults are those of a configuration."""
    usual_outer: OuterName = "trpo" if start.outer_name == "trpo" else "adam"

    def train(
        settings: Annotated[FlatConfig, tyro.conf.arg(name="")] = start,
        outer: OuterName = usual_outer,
        config: Path | None = None,
        out: Path = Path("runs/train"),
        resume: bool = False,
        tensorboard: bool = False,
    ) -> int:
        """Meta-train a policy and write config.json, history.csv and checkpoint.pt.

        The settings below are those of the method on these tasks, with their defaults there:
        ``train --method promp --tasks cheetah/direction --help`` shows those of ProMP on robots.

        Example: python -m bomrl_lite train --method maml --tasks frozen_lake/costs-4x4

        ``torchrun --nproc-per-node 2 -m bomrl_lite train ...`` shares the tasks of every iteration
        among two processes: docs/scale.md.

        Args:
            settings: of the run.
            outer: outer update: Adam, or TRPO's step.
            config: a stored config.json (or YAML) to start from; other flags override it.
            out: run folder.
            resume: go on from the last checkpoint in ``out``; the result is the same, bit for bit.
            tensorboard: also write the history to ``out``/tensorboard (pip install tensorboard).
        """
        del outer, config  # they decided what ``start`` is
        with terminated_like_ctrl_c(), joined() as group, _progress(group) as progress:
            meta_train(
                settings,
                group=group,
                out=out,
                resume=resume,
                progress=progress,
                tensorboard=tensorboard,
            )
        if group.rank == 0:
            print(f"done: {out}/history.csv; next: python -m bomrl_lite evaluate {out}")
        return 0

    return train


def _progress(group: Group) -> contextlib.AbstractContextManager[Progress]:
    """Return what shows progress: in the first process of several, and in no other."""
    return training_progress() if group.rank == 0 else contextlib.nullcontext(silent)


def methods() -> int:
    """Print the table of methods: Alg, rung of the ladder, outer update, values, source."""
    header = ("method", "Alg", "rung", "outer", "values", "source")
    print(as_table(header, table_of_methods.rows()))
    return 0


def evaluate(
    run: Annotated[Path, tyro.conf.Positional],
    num_test_tasks: int = 20,
    num_steps: int = 3,
    num_episodes: int | None = None,
    out: Path | None = None,
) -> int:
    """Print and write as a table how good a run's policy is, beside an untrained prior.

    With exact values the gap to every task's optimum, from episodes the return.

    Example: python -m bomrl_lite evaluate runs/costs --num-steps 4

    Args:
        run: folder that ``train`` wrote.
        num_test_tasks: tasks of the test split; held out from training, except in families whose
            splits share all tasks, which the table says (train = test).
        num_steps: adaptations, each on data of the policy before it.
        num_episodes: episodes per adaptation; left out, as in training.
        out: file of the table, a .csv, where the run's folder may not be written to; left out,
            evaluation.csv in that folder.
    """
    require_run(run)
    table = out or run / "evaluation.csv"
    require_table(table)
    require_writable(table)
    rows = evaluate_run(
        run, num_test_tasks=num_test_tasks, num_steps=num_steps, num_episodes=num_episodes
    )
    title, header, cells = mean_table(rows)
    print(f"{title}\n{as_table(header, cells, right=header[2:])}")
    write_atomically(table, csv_text(rows[0], rows).encode())
    return 0


def export(
    run: Annotated[Path, tyro.conf.Positional], out: Annotated[Path, tyro.conf.Positional]
) -> int:
    """Write the policy of a run as one small file, for ``bomrl_lite.load_policy``.

    Example: python -m bomrl_lite export runs/promp promp.pt

    Args:
        run: folder that ``train`` wrote.
        out: file; one that is no policy is never replaced.
    """
    require_run(run)
    require_writable(out)
    save_policy(*load(run), out)
    print(f"policy {out}, {out.stat().st_size / 1e3:.0f} kB")
    return 0


def command_line(start: Config) -> tyro.extras.SubcommandApp:
    """Return the commands; those of the course import what they need when they are called."""
    app = tyro.extras.SubcommandApp()
    app.command(train_command(start))
    for command in (methods, evaluate, export, *commands.COMMANDS):
        app.command(command)
    return app


@dataclass
class Modules:
    """What is imported before anything else: a module that registers task families of your own."""

    modules: Annotated[
        tuple[str, ...], tyro.conf.arg(name="import"), tyro.conf.UseAppendAction
    ] = ()


def import_modules(arguments: Sequence[str]) -> list[str]:
    """Import what ``--import MODULE`` names, and return the other arguments.

    Raises:
        ModuleNotFoundError: there is no such module.
    """
    asked, rest = tyro.cli(Modules, args=arguments, return_unknown_args=True, add_help=False)
    for name in asked.modules:
        try:
            importlib.import_module(name)
        except ModuleNotFoundError as error:
            raise ModuleNotFoundError(
                f"--import {name}: there is no module {error.name}; is its folder the current one, "
                "or on PYTHONPATH?"
            ) from error
    return rest


def refuse_empty(arguments: Sequence[str]) -> None:
    """Refuse what a shell leaves of a variable that is not set: as a path it means this folder.

    Raises:
        ValueError: an argument is empty, or all blanks; says after which.
    """
    for name, before, word in zip(["", "", *arguments], ["", *arguments], arguments, strict=False):
        flag, equals, value = word.partition("=")
        empty = not word.strip() or (word.startswith("--") and equals and not value.strip())
        if empty and name not in ("-p", "--parameter"):  # the value of a parameter may be empty
            place = flag if equals else before or "python -m bomrl_lite"
            raise ValueError(f"what follows {place} is empty: give a value, or leave it out")


def _say_error(said: str) -> None:
    """Print one line; of several processes the first alone does, for all."""
    if rank_of_process() == 0:
        print("error:", " ".join(said.split()), file=sys.stderr)


def main() -> int:
    """Run the command line; expected mistakes end in one plain line and exit code 2."""
    try:
        restore_ctrl_c()
        refuse_empty(sys.argv[1:])
        arguments = import_modules(sys.argv[1:])
        start = chosen_config(arguments[1:] if arguments[:1] == ["train"] else [])
        app = command_line(start)
        try:
            return app.cli(args=arguments, prog="python -m bomrl_lite", description=__doc__) or 0
        finally:
            print(end="", flush=True)  # or a reader who is gone is noticed when nobody can answer
    except BrokenPipeError:
        # What is still to be written has no reader.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return READER_GONE
    except (ValueError, OSError, ArithmeticError, ModuleNotFoundError, PeerLost) as error:
        _say_error(in_words(error) if isinstance(error, OSError) else str(error))
        return 2
    except (MemoryError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and "allocate" not in str(error):  # torch's own words
            raise
        _say_error("not enough memory: ask for fewer or smaller tasks")
        return 2
    except KeyboardInterrupt as stop:
        if rank_of_process() == 0:
            print(
                "\nstopped; what was written stays (train: --resume goes on after its last "
                "iteration; sweep and experiment: the same command goes on)"
            )
        return 128 + (stop.args[0] if isinstance(stop, Terminated) else signal.SIGINT)


if __name__ == "__main__":
    sys.exit(main())
