"""How good the policy of a run folder is, beside an untrained prior: rows, and how to show them."""

import json
from pathlib import Path

from bomrl_lite.training import exact_trainer as train
from bomrl_lite.training import sampled_trainer as train_sampled
from bomrl_lite.training.metrics import gap_rows
from bomrl_lite.training.sampled_problem import adapted_returns
from bomrl_lite.training.sampled_problem import make_problem as make_sampled_problem

Row = dict[str, float | int | str]

TITLES = {
    "gap": "mean gap to each task's optimum after k adaptations",
    "return": "mean return after k adaptations",
}
"""Of a table, by the column that it shows: the first of these that there is."""


def evaluate_run(
    run: Path, num_test_tasks: int, num_steps: int, num_episodes: int | None
) -> list[Row]:
    """Return one row per split, prior, task and number of adaptations.

    Args:
        run: folder that a trainer wrote.
        num_test_tasks: held-out tasks.
        num_steps: adaptations, each on data of the policy before it.
        num_episodes: of a sampled run: episodes per adaptation; None takes as many as in training.
    """
    if is_sampled(run):
        return _sampled_rows(run, num_test_tasks, num_steps, num_episodes)
    return _exact_rows(run, num_test_tasks, num_steps)


def is_sampled(run: Path) -> bool:
    """Tell whether a run folder was written by the trainer on samples."""
    path = run / "config.json"
    return path.exists() and "num_episodes" in json.loads(path.read_text())


def as_table(rows: list[Row]) -> str:
    """Lay out the mean gap, or else return, per split, prior and number of adaptations."""
    column = next(name for name in TITLES if name in rows[0])
    steps = sorted({row["step"] for row in rows})
    header = f"{'tasks':<8}{'prior':<20}" + "".join(f"{f'k = {k}':>9}" for k in steps)
    lines = [TITLES[column], header]
    for split, prior in dict.fromkeys((row["split"], row["prior"]) for row in rows):
        mine = [row for row in rows if (row["split"], row["prior"]) == (split, prior)]
        values = [[row[column] for row in mine if row["step"] == k] for k in steps]
        cells = "".join(f"{sum(map(float, value)) / len(value):>9.4f}" for value in values)
        lines.append(f"{split:<8}{prior:<20}{cells}")
    return "\n".join(lines)


def _exact_rows(run: Path, num_test_tasks: int, num_steps: int) -> list[Row]:
    """Return the gap to every task's optimum."""
    config, state = train.load(run)
    problem = train.make_problem(config)
    exact = {"policy": problem.policy, "gamma": problem.distribution.gamma}
    generator = train.seeded(config.seed, stream=2)
    held_out = problem.distribution.sample(num_test_tasks, generator, "test")
    priors = {"untrained": train.start_state(config, problem).phi, config.method: state.phi}
    rows = []
    for split, tasks in (("train", problem.tasks), ("test", held_out)):
        for prior, phi in priors.items():
            labels = {"split": split, "prior": prior}
            rows += gap_rows(
                phi, tasks, problem.adaptation, num_steps=num_steps, labels=labels, **exact
            )
    return rows


def _sampled_rows(
    run: Path, num_test_tasks: int, num_steps: int, num_episodes: int | None
) -> list[Row]:
    """Return the return on as many training tasks as on held-out ones."""
    config, state = train_sampled.load(run)
    problem = make_sampled_problem(config)
    priors = {"untrained": train_sampled.start_state(config, problem).phi, config.method: state.phi}
    rows = []
    for split in ("train", "test"):
        for prior, phi in priors.items():
            generator = train.seeded(config.seed, stream=2)
            tasks = problem.tasks.sample(num_test_tasks, generator, split)
            returns = adapted_returns(
                phi,
                tasks,
                problem,
                generator,
                num_steps=num_steps,
                num_episodes=num_episodes or config.num_episodes,
                moments=state.moments,
            )
            rows += [
                {"split": split, "prior": prior, "task": task, "step": step, "return": value}
                for task, values in enumerate(returns.tolist())
                for step, value in enumerate(values)
            ]
    return rows
