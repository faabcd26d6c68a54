"""How good the policy of a run folder is, beside an untrained prior: rows of a table."""

import itertools
import math
from collections.abc import Iterator
from pathlib import Path

from torch import Tensor

from bomrl_lite.require import require_whole
from bomrl_lite.training.episodes import EpisodesProblem, adapted_returns
from bomrl_lite.training.exact import ExactProblem
from bomrl_lite.training.metrics import gap_rows
from bomrl_lite.training.problem import Problem, make_problem
from bomrl_lite.training.state import MetaState
from bomrl_lite.training.streams import seeded
from bomrl_lite.training.trainer import load, start_state
from bomrl_lite.types import Split

EvaluationRow = dict[str, float | int | str]

MOST = 1_000_000
"""Tasks, steps or episodes of an evaluation: more is a slip, which would end without a word."""

TITLES = {
    "gap": "mean gap to each task's optimum after k adaptations",
    "return": "mean return after k adaptations",
}
"""Of a table, by the column that it shows: the first of these that there is."""


def evaluate_run(
    run: Path | str,
    *,
    num_test_tasks: int = 20,
    num_steps: int = 3,
    num_episodes: int | None = None,
    problem: Problem | None = None,
) -> list[EvaluationRow]:
    """Return one row per split, prior, task and number of adaptations.

    Args:
        run: folder that the trainer wrote.
        num_test_tasks: of the test split, 1 to :data:`MOST`, as are episodes; no training task is
            among them, but in the families that say so by ``shared_tasks``, a column of every row.
        num_steps: adaptations, each on data of the policy before it; 0 or more.
        num_episodes: episodes per adaptation; None takes as many as in training. With exact values
            there are none.
        problem: as for :func:`bomrl_lite.training.trainer.meta_train`, of a run with one of its
            own.

    Raises:
        FileNotFoundError: no run there.
        ValueError: a number out of its range, or ``num_episodes`` for a run with exact values.
    """
    require_whole("num_test_tasks", num_test_tasks, most=MOST)
    require_whole("num_steps", num_steps, least=0, most=MOST)
    if num_episodes is not None:
        require_whole("num_episodes", num_episodes, most=MOST)
    config, state = load(run, problem)
    problem = problem or make_problem(config)
    priors = {"untrained": start_state(problem), config.method: state}
    if isinstance(problem, ExactProblem):
        if num_episodes is not None:
            raise ValueError(
                f"{run} was trained on exact values, which take no episodes: leave num_episodes out"
            )
        rows = _exact_rows(problem, priors, num_test_tasks, num_steps)
    else:
        count = problem.sampling.num_episodes if num_episodes is None else num_episodes
        rows = _episodes_rows(problem, priors, state, num_test_tasks, num_steps, count)
    return [{**row, "shared_tasks": problem.family.shared_tasks} for row in rows]


def mean_table(rows: list[EvaluationRow]) -> tuple[str, list[str], list[list[str]]]:
    """Return title, header and cells: the mean gap, or else return, per split, prior and step.

    The title says so where the test's tasks are those of the training.
    """
    column = next(name for name in TITLES if name in rows[0])
    steps = sorted({row["step"] for row in rows}, key=int)
    cells = list[list[str]]()
    for split, prior in dict.fromkeys((row["split"], row["prior"]) for row in rows):
        mine = [row for row in rows if (row["split"], row["prior"]) == (split, prior)]
        values = [[float(row[column]) for row in mine if row["step"] == k] for k in steps]
        means = [f"{sum(value) / len(value):.4f}" for value in values]
        cells.append([str(split), str(prior), *means])
    title = TITLES[column] + _shared(float(rows[0].get("shared_tasks", 0)))
    return title, ["tasks", "prior", *(f"k = {k}" for k in steps)], cells


def _shared(tasks: float) -> str:
    """Say where test tasks are not held out, of how many tasks both splits draw."""
    if tasks == 0:
        return ""
    few = f"this family has {tasks:g} task{'' if tasks == 1 else 's'}"
    return f"; train = test: {few if tasks < math.inf else 'both splits draw from the same tasks'}"


def _exact_rows(
    problem: ExactProblem, priors: dict[str, MetaState], num_test_tasks: int, num_steps: int
) -> Iterator[EvaluationRow]:
    """Yield the gap to every task's optimum."""
    generator = seeded(problem.config.seed, "evaluation")
    held_out = problem.family.sample(num_test_tasks, generator, "test")
    for split, tasks in (("train", problem.training_tasks), ("test", held_out)):
        for prior, state in priors.items():
            yield from gap_rows(
                state.phi,
                tasks,
                problem.adaptation,
                policy=problem.policy,
                gamma=problem.gamma,
                num_steps=num_steps,
                labels={"split": split, "prior": prior},
            )


def _episodes_rows(
    problem: EpisodesProblem,
    priors: dict[str, MetaState],
    trained: MetaState,
    num_test_tasks: int,
    num_steps: int,
    num_episodes: int,
) -> Iterator[EvaluationRow]:
    """Yield the return on as many training tasks as on held-out ones."""

    def returns_of(state: MetaState, split: str) -> Tensor:
        generator = seeded(problem.config.seed, "evaluation")  # all priors meet the same tasks
        return adapted_returns(
            state.phi,
            problem.family.sample(
                num_test_tasks, generator, "test" if split == "test" else "train"
            ),
            problem,
            generator,
            num_steps=num_steps,
            num_episodes=num_episodes,
            moments=trained.moments,  # the untrained prior looks through the trained one's lens
        )

    splits: tuple[Split, ...] = ("train", "test")
    for split in splits:
        for prior, state in priors.items():
            returns = returns_of(state, split)
            for task, step in itertools.product(*map(range, returns.shape)):
                labels: EvaluationRow = {"split": split, "prior": prior, "task": task}
                yield {**labels, "step": step, "return": returns[task, step].item()}
