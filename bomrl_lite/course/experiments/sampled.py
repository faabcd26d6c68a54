"""What the experiments on samples share: grids, rows of tuning, and returns on fresh tasks.

How much smaller later adaptation steps should be is chosen for every method alike, on tasks of the
train split.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from torch import Tensor

from bomrl_lite.adaptation.episodes import Alg
from bomrl_lite.adaptation.settings import (
    AlgSettings,
    GradientStep,
    HeadClosedForm,
    NaturalRegion,
    NaturalStep,
    NoAdaptation,
    SampledArgmax,
)
from bomrl_lite.course.experiments.setting import Row, Train, Trained
from bomrl_lite.training.config import Config
from bomrl_lite.training.episodes import EpisodesProblem, adapted_returns, episodes_problem
from bomrl_lite.training.state import MetaState
from bomrl_lite.training.streams import Purpose, seeded
from bomrl_lite.types import Split

Grids = dict[str, list[dict[str, float]]]
"""Settings of each configuration that is tried, by method or by label."""

TUNING_SEED = 100
"""Of the trainings of a search; no comparison has it."""
TRIALS = 12
"""Of a search, for every method and family the same."""
REACH = 5.0
"""A search goes from a method's usual settings over this to times this."""
WIDER = 25.0
"""The same where the winner of the first search lay on its edge."""
FIRST_TRIALS = 5
"""Drawn at random, but for the usual settings; the others by what came out of those before."""

FACTORS = (1.0, 0.3, 0.1, 0.03)
"""What the second and later adaptation steps are multiplied with, in turn."""

SHARED = 40
"""Episodes per task that are collected at once or in parts."""


@dataclass(frozen=True)
class Measure:
    """On what, and how often, returns are measured after training."""

    num_steps: int = 1
    """Adaptations."""
    num_tasks: int | None = None
    """None takes as many as in training."""
    num_episodes: int | None = None
    """Per task for one adaptation; None takes as many as in training."""
    test_episodes: int = 20
    """Per task for one return."""
    split: Split = "test"
    """That the tasks are from."""
    purpose: Purpose | int = "evaluation"
    """Which random numbers of the seed."""


def tuning_rows(
    grids: Grids, config_of: Callable[[str], Config], train: Train, measure: Measure
) -> Iterator[Row]:
    """Yield the return after one adaptation of every configuration, on tasks of the train split.

    Args:
        grids: what is tried.
        config_of: method -> configuration before these settings.
        train: trains one.
        measure: how much is measured.
    """
    measure = replace(measure, split="train", purpose="tuning")
    for method, grid in grids.items():
        for index, settings in enumerate(grid):
            config = config_of(method).replace(**settings)
            row: Row = {"method": method, "configuration": index, "dials": str(settings)}
            row["seed"] = config.seed
            trained, note = attempted(train, config)
            if trained is None:
                yield {**row, "return": math.nan, "seconds": 0.0, "note": note}
                continue
            state, seconds = trained
            value = fresh_returns(state, episodes_problem(config), measure)[:, 1].mean().item()
            yield {**row, "return": value, "seconds": seconds, "note": note}


def search_rows(
    arms: Mapping[str, float],
    config_of: Callable[[str], Config],
    train: Train,
    measure: Measure,
) -> Iterator[Row]:
    """Yield the return after one adaptation of every trial of a search, on tasks of training.

    Optuna's tree-structured Parzen estimator (Bergstra et al. 2011) searches between a method's
    usual settings over its reach and times it, the usual ones first. Settings are rounded to two
    digits, so the table shows what was trained.

    Args:
        arms: what is tuned, method or label, and the reach of each search.
        config_of: arm -> configuration with the usual settings.
        train: trains one.
        measure: how much is measured.
    """
    import optuna  # of the lab: a sweep and the other experiments do without

    from bomrl_lite.course.tuning import suggested, usual_settings

    measure = replace(measure, split="train", purpose="tuning")
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    for arm, reach in arms.items():
        config = config_of(arm)
        usual = usual_settings(config)
        sampler = optuna.samplers.TPESampler(seed=config.seed, n_startup_trials=FIRST_TRIALS)
        study = optuna.create_study(direction="maximize", sampler=sampler)
        study.enqueue_trial(usual)
        for index in range(TRIALS):
            trial = study.ask()
            tried = {k: float(f"{v:.2g}") for k, v in suggested(trial, usual, reach).items()}
            row: Row = {"method": arm, "trial": index, "dials": str(tried), "seed": config.seed}
            trained, note = attempted(train, config.replace(**tried))
            if trained is None:
                study.tell(trial, state=optuna.trial.TrialState.FAIL)
                yield {**row, "return": math.nan, "seconds": 0.0, "note": note}
                continue
            state, seconds = trained
            problem = episodes_problem(config.replace(**tried))
            value = fresh_returns(state, problem, measure)[:, 1].mean().item()
            study.tell(trial, value)
            yield {**row, "return": value, "seconds": seconds, "note": note}


def reaches(arms: Iterable[str], wider: Iterable[str]) -> dict[str, float]:
    """Return how far the search of every arm goes: wider for those."""
    return {**dict.fromkeys(arms, REACH), **dict.fromkeys(wider, WIDER)}


def reason(error: ArithmeticError) -> str:
    """Return why a training failed, as a table notes it: the message without its advice."""
    return str(error).split(":")[0]


def fresh_returns(
    state: MetaState, problem: EpisodesProblem, measure: Measure, *, factor: float = 1.0
) -> Tensor:
    """Return the mean return after 0, 1, ..., num_steps adaptations to fresh tasks, [N, steps + 1].

    All methods of a seed meet the same tasks.

    Args:
        state: after training.
        problem: what was trained.
        measure: how much is measured.
        factor: of the length of the second and later adaptation steps.
    """
    config = problem.config
    generator = seeded(config.seed, measure.purpose)
    num_tasks = measure.num_tasks or config.num_tasks
    later = scaled_alg(problem, factor)
    return adapted_returns(
        state.phi,
        problem.family.sample(num_tasks, generator, measure.split),
        problem,
        generator,
        num_steps=measure.num_steps,
        num_episodes=measure.num_episodes or problem.sampling.num_episodes,
        test_episodes=measure.test_episodes,
        algs=(problem.alg, *(later for _ in range(measure.num_steps - 1))),
        moments=state.moments,
    )


def attempted(train: Train, config: Config) -> tuple[Trained | None, str]:
    """Return a training and no note; or none, and the note of a table, if it diverged."""
    try:
        return train(config), ""
    except ArithmeticError as error:
        return None, reason(error)


def in_parts(
    state: MetaState,
    problem: EpisodesProblem,
    *,
    counts: tuple[int, ...],
    num_tasks: int | None = None,
) -> Iterator[Row]:
    """Yield returns after :data:`SHARED` episodes per task, collected at once or in parts.

    Every part is collected by the policy that the parts before it led to. The factor of later steps
    is chosen for every number of parts, on other episodes.

    Args:
        state: after training.
        problem: what was trained.
        counts: how many parts; each divides their number.
        num_tasks: tasks that are measured; None takes as many as in training.
    """
    for parts in counts:
        measure = Measure(num_steps=parts, num_tasks=num_tasks, num_episodes=SHARED // parts)
        factor = best_factor(state, problem, replace(measure, test_episodes=10, purpose="choice"))
        measure = replace(measure, purpose=6)  # other tasks than those of the steps
        values = fresh_returns(state, problem, measure, factor=factor)
        before, after = values[:, 0].mean().item(), values[:, -1].mean().item()
        numbers = {"collections": parts, "factor": factor, "episodes": SHARED}
        yield {**numbers, "before": before, "return": after}


def best_factor(state: MetaState, problem: EpisodesProblem, measure: Measure) -> float:
    """Choose the factor of later steps by the last return, on tasks of the train split.

    Args:
        state: after training.
        problem: what was trained.
        measure: how much is measured.
    """
    if measure.num_steps == 1 or isinstance(problem.config.alg, NoAdaptation):
        return 1.0
    measure = replace(measure, split="train")

    def score(factor: float) -> float:
        return fresh_returns(state, problem, measure, factor=factor)[:, -1].mean().item()

    return max(FACTORS, key=score)


def scaled_alg(problem: EpisodesProblem, factor: float) -> Alg:
    """Return the Alg whose step is ``factor`` times as long to first order."""
    if factor == 1.0:
        return problem.alg
    return problem.alg_of(scaled_step(problem.config.alg, factor))


def scaled_step(alg: AlgSettings, factor: float) -> AlgSettings:
    """Return the settings of a step that is ``factor`` times as long to first order.

    That of a region which is halved may be longer or shorter.

    Raises:
        ValueError: an Alg that takes no step on samples.
    """
    match alg:
        case NoAdaptation():
            return alg
        case GradientStep(step_size=step_size):
            return replace(alg, step_size=step_size * factor)
        case HeadClosedForm(lam=lam, body_step=body_step):
            return replace(alg, lam=lam / factor, body_step=body_step * factor)
        case NaturalStep(lam=lam) | SampledArgmax(lam=lam):
            return replace(alg, lam=lam / factor)
        case NaturalRegion(delta=delta):  # a divergence: the square of a length
            return replace(alg, delta=delta * factor**2)
        case _:
            raise ValueError(f"{type(alg).__name__} is solved on exact values, not on samples")
