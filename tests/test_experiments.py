"""The stored experiments: they run, what they write can be traced, and the stored tables draw."""

import csv
import json
import re
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import torch

from bomrl_lite.course.plots.experiments import FIGURES, draw
from bomrl_lite.experiments import EXPERIMENTS, locomotion, run
from bomrl_lite.experiments.navigation import GRIDS, TUNING_SEEDS
from bomrl_lite.experiments.setting import Scale
from bomrl_lite.sampled_config import ROBOT_METHODS, SampledConfig
from bomrl_lite.sampled_meta_gradients import METHODS
from bomrl_lite.sampled_problem import adapted_returns, make_problem
from bomrl_lite.train_sampled import load_policy, meta_train

RESULTS = Path(__file__).parents[1] / "notebooks" / "results"
TINY = Scale(seeds=1, iterations=2, num_tasks=2, num_test=2)


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


def rows_of(path):
    with path.open() as file:
        return list(csv.DictReader(file))


SEEDS = {"navigation": 10, "navigation_tuning": 2, "episodes": 3, "heterogeneity": 3}
SEEDS |= {"cheetah_tuning": 1, "cheetah_velocity": 3, "collections": 3}
SEEDS |= {"ant_direction": 1, "ant_velocity": 1}
"""Seeds of a stored table, where they are not five."""


def test_every_experiment_has_a_figure_and_a_stored_table_of_its_seeds():
    assert set(EXPERIMENTS) == set(FIGURES) == {path.stem for path in RESULTS.glob("*.csv")}
    for name in EXPERIMENTS:
        origin = json.loads((RESULTS / f"{name}.json").read_text())
        assert origin["command"].startswith(f"python -m bomrl_lite experiment {name} ")
        count = SEEDS.get(name, 5)
        assert origin["scale"]["seeds"] == count
        seeds = {"navigation_tuning": TUNING_SEEDS, "cheetah_tuning": [100]}.get(name, range(count))
        found = {row["seed"] for row in rows_of(RESULTS / f"{name}.csv")}
        assert found == {str(seed) for seed in seeds}


def test_every_method_has_the_same_tuning_budget():
    assert set(GRIDS) == set(METHODS)
    rows = rows_of(RESULTS / "navigation_tuning.csv")
    for method, grid in GRIDS.items():
        mine = [row for row in rows if row["method"] == method]
        assert len(grid) == 8
        assert {(row["dials"], int(row["seed"])) for row in mine} == {
            (str(dials), seed) for dials in grid for seed in TUNING_SEEDS
        }


def test_the_dials_of_every_method_are_the_best_that_tuning_found():
    frame = pd.read_csv(RESULTS / "navigation_tuning.csv")
    for method in GRIDS:
        mine = frame[frame["method"] == method].groupby("configuration")["return"].mean()
        best = GRIDS[method][int(mine.idxmax())]
        dials = SampledConfig(method=method).dials()
        assert {name: dials[name] for name in best} == best, method


def test_on_robots_too_the_dials_are_the_best_of_eight():
    frame = pd.read_csv(RESULTS / "cheetah_tuning.csv")
    assert set(frame["method"]) == set(locomotion.GRIDS)
    for arm, grid in locomotion.GRIDS.items():
        mine = frame[frame["method"] == arm]
        assert list(mine["dials"]) == [str(dials) for dials in grid]
        assert len(grid) == 8
        best = grid[int(mine.set_index("configuration")["return"].idxmax())]
        dials = SampledConfig(**locomotion.ARMS[arm], tasks="cheetah/direction").dials()
        assert {name: dials[name] for name in best} == best, arm
    solved, quadratic = (ROBOT_METHODS[name] for name in ("bomrl_solved", "bomrl"))
    assert all(solved[name] == quadratic[name] for name in ("lam", "ridge", "learning_rate"))


def test_a_comparison_of_robots_has_rows_of_training_steps_and_episodes(monkeypatch):
    def tiny(arm, seed, tasks, iterations):
        small = {"num_tasks": 2, "num_episodes": 2, "horizon": 3, "iterations": iterations}
        return SampledConfig(method="bomrl_head", tasks=tasks, seed=seed, **small)

    monkeypatch.setattr(locomotion, "_config", tiny)
    arms = ("ProMP", "BO-MRL head")
    rows = list(
        locomotion.comparison("cheetah/velocity", arms)(
            0, Scale(seeds=1, iterations=2), lambda config: (meta_train(config), 8.0)
        )
    )
    frame = pd.DataFrame(rows)
    training = frame[(frame["kind"] == "training") & (frame["method"] == "ProMP")]
    assert list(training["steps"]) == [2 * 2 * 2 * 3, 4 * 2 * 2 * 3]
    assert list(training["seconds"]) == [4, 8]
    assert set(frame[frame["kind"] == "steps"]["method"]) == {*arms, "untrained"}
    steps = frame[(frame["kind"] == "steps") & (frame["method"] == "untrained")]
    assert list(steps["adaptations"]) == [0, 1, 2, 3]
    assert steps["before"].nunique() == 1
    assert steps["before"].iloc[0] == steps["return"].iloc[0]
    episodes = frame[(frame["kind"] == "episodes") & (frame["method"] == "ProMP")]
    assert list(episodes["episodes"]) == [1, 2, 5, 10, 20]
    assert np.isfinite(frame["return"]).all()
    assert frame["note"].eq("").all()


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_stored_tables_draw(name):
    figure = draw(name, RESULTS / f"{name}.csv")
    assert all(ax.has_data() for ax in figure.axes)


@pytest.mark.parametrize("name", ["returns", "bounds", "condition", "corners"])
def test_a_run_writes_the_columns_of_the_stored_table(name, tmp_path):
    table = run(name, scale=TINY, out=tmp_path, runs=tmp_path / "runs")
    assert list(rows_of(table)[0]) == list(rows_of(RESULTS / f"{name}.csv")[0])
    again = run(name, scale=TINY, out=tmp_path / "again", runs=tmp_path / "runs")
    assert table.read_bytes() == again.read_bytes()
    origin = json.loads((tmp_path / f"{name}.json").read_text())
    assert origin["scale"]["iterations"] == 2
    assert re.fullmatch(r"2\.\d+\.\d+.*", origin["versions"]["torch"])


def test_gap_and_return_add_up_to_the_optimum():
    frame = pd.read_csv(RESULTS / "returns.csv")
    optimum = 0.8**5 / (1 - 0.8)
    assert ((frame["return"] + frame["gap"] - optimum).abs() < 1e-4).all()


def test_an_unknown_experiment_lists_the_known():
    with pytest.raises(ValueError, match=r"no experiment is called 'retrns'; known are returns,"):
        run("retrns", scale=TINY, out=Path(), runs=Path())
    with pytest.raises(ValueError, match=r"no figure is called 'retrns'; known are returns,"):
        draw("retrns", RESULTS / "returns.csv")


@pytest.mark.parametrize("path", sorted((RESULTS / "policies").glob("*.pt")), ids=lambda p: p.stem)
def test_stored_policies_are_those_of_seed_0_and_adapt(path):
    config, phi, moments = load_policy(path)
    assert config.seed == 0
    assert path.stem == f"{config.tasks.replace('/', '_')}_{config.method}"
    problem = make_problem(config)
    generator = torch.Generator().manual_seed(0)
    tasks = problem.tasks.sample(4, generator, "test")
    returns = adapted_returns(phi, tasks, problem, generator, moments=moments, test_episodes=5)
    gain = (returns[:, 1] - returns[:, 0]).mean()
    assert gain > (80 if "direction" in config.tasks else 5)
