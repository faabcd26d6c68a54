"""Settings for tasks that nobody has tuned for: Optuna tries some, on seeds that no run uses."""

import dataclasses
import math
from collections.abc import Callable
from pathlib import Path

import optuna
from optuna.storages.journal import JournalFileBackend

from bomrl_lite.require import require_whole
from bomrl_lite.training.config import Config
from bomrl_lite.training.trainer import meta_train

TUNED = ("step_size", "lam", "delta", "ridge", "credit", "learning_rate", "max_kl")
"""What is searched, of what the method has."""
WIDTH = 10.0
"""A setting is searched between its usual value over this and times this."""
FIRST_SEED = 1_000_000
"""Of the seeds that trials train with."""


@dataclasses.dataclass(frozen=True)
class Proposal:
    """What trials found."""

    usual: float
    """Score of the method's own settings: mean return after adaptation, last quarter of a run."""
    best: float
    settings: dict[str, float]
    """Those of the best trial."""
    trials: int
    """How many there were, those that diverged among them."""


def tune(
    config: Config,
    *,
    trials: int,
    seeds: int = 2,
    out: Path,
    show: Callable[[str], object] = print,
) -> Proposal:
    """Try settings, the method's own first, and propose the best.

    Args:
        config: what is trained in a trial: its method, tasks, and how large a run is.
        trials: how many settings are tried; those in ``out`` count.
        seeds: trainings of one trial.
        out: folder of the journal; a search that was stopped goes on there.
        show: takes a line for each trial.

    Raises:
        ValueError: no trial was asked for, or all diverged.
    """
    trials, seeds = require_whole("trials", trials), require_whole("seeds", seeds)
    usual = usual_settings(config)
    out.mkdir(parents=True, exist_ok=True)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(
        study_name=f"{config.method} on {config.tasks}, {config.iterations} iterations",
        storage=optuna.storages.JournalStorage(JournalFileBackend(str(out / "journal.log"))),
        direction="maximize",
        load_if_exists=True,
    )
    # A search that goes on must not draw again what it drew first.
    study.sampler = optuna.samplers.TPESampler(seed=config.seed + len(study.trials))
    if not study.trials:
        study.enqueue_trial(usual)

    def score(trial: optuna.Trial) -> float:
        chosen = suggested(trial, usual, WIDTH)
        value = sum(score_of(config.replace(**chosen, seed=FIRST_SEED + k)) for k in range(seeds))
        words = "  ".join(f"{name} {x:.3g}" for name, x in chosen.items())
        show(f"{trial.number + 1:>3}/{trials}  return {value / seeds:+.4f}  {words}")
        return value / seeds

    done = sum(trial.state.is_finished() for trial in study.trials)
    study.optimize(score, n_trials=max(0, trials - done), catch=(ArithmeticError,))
    finished = [trial for trial in study.trials if trial.value is not None]
    if not finished:
        raise ValueError(
            f"all {len(study.trials)} trials diverged; start from a smaller learning_rate"
        )
    own = [trial.value for trial in finished if trial.number == 0]
    return Proposal(
        usual=float(own[0] or 0.0) if own else -math.inf,
        best=study.best_value,
        settings=study.best_params,
        trials=len(study.trials),
    )


def usual_settings(config: Config) -> dict[str, float]:
    """Return the settings of a method that a search changes."""
    return {name: value for name, value in config.settings().items() if name in TUNED and value}


def suggested(trial: optuna.Trial, usual: dict[str, float], width: float) -> dict[str, float]:
    """Return settings between the usual ones over ``width`` and times it, even in logarithms."""
    return {
        name: trial.suggest_float(name, value / width, value * width, log=True)
        for name, value in usual.items()
    }


def score_of(config: Config) -> float:
    """Return the mean return after adaptation over the last quarter of a training."""
    rows = meta_train(config).history
    last = rows[-max(1, len(rows) // 4) :]
    return sum(row["return_after"] for row in last) / len(last)


def flags(config: Config, proposal: Proposal) -> str:
    """Return the command that trains with what was proposed."""
    chosen = [f"--{k.replace('_', '-')} {v:.3g}" for k, v in proposal.settings.items()]
    words = ["python -m bomrl_lite train", f"--method {config.method}", f"--tasks {config.tasks}"]
    return " ".join([*words, *chosen])
