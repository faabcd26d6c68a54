"""The stored experiments: they run, what they write can be traced, and the stored tables draw."""

import csv
import json
import math
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from bomrl_lite.course.experiments import EXPERIMENTS, locomotion, navigation, run, sampled
from bomrl_lite.course.experiments.navigation import SAMPLED
from bomrl_lite.course.experiments.sampled import REACH, TRIALS, TUNING_SEED
from bomrl_lite.course.experiments.setting import Scale, Trained
from bomrl_lite.course.experiments.tuned import TUNED
from bomrl_lite.course.plots.experiments import FIGURES, draw
from bomrl_lite.course.plots.robots import yardsticks
from bomrl_lite.course.tuning import usual_settings
from bomrl_lite.rollout.observations import no_moments
from bomrl_lite.training.config import configure
from bomrl_lite.training.episodes import adapted_returns, collect_all
from bomrl_lite.training.methods import Trpo
from bomrl_lite.training.policy_file import load_policy
from bomrl_lite.training.problem import make_problem
from bomrl_lite.training.streams import seeded
from bomrl_lite.training.trainer import meta_train, start_state

RESULTS = Path(__file__).parents[1] / "notebooks" / "results"
TINY = Scale(seeds=1, iterations=2, num_tasks=2, num_test=2)


def rows_of(path):
    with path.open() as file:
        return list(csv.DictReader(file))


SEEDS = {"navigation": 20, "cheetah_direction": 10, "cheetah_velocity": 10, "heads": 10}
SEEDS |= {"episodes": 3, "heterogeneity": 3, "collections": 3}
SEEDS |= {"ant_forward": 3, "delayed": 3}
SEEDS |= {
    "ant_direction_long": 2,
    "walker_levers": 3,
    "lams": 3,
    "condition_networks": 3,
    "spreads": 3,
}
"""How many seeds a stored table has, where they are not five."""
SEARCHES = {
    "navigation/circle": ("navigation_tuning", navigation.REACHES),
    **{
        family: (name, sampled.reaches(arms, locomotion.WIDER[family]))
        for family, name, arms in (
            ("cheetah/direction", "cheetah_tuning", locomotion.SEARCHED),
            ("cheetah/velocity", "cheetah_velocity_tuning", locomotion.SEARCHED),
            ("walker/direction", "walker_tuning", locomotion.WALKERS),
        )
    },
}
"""The table of a family's search, and how far that of every arm goes."""
OF_TUNING = {*(name for name, _ in SEARCHES.values()), "ant_tuning", "ant_direction_tuning"}


def test_every_experiment_has_a_figure_and_a_stored_table_of_its_seeds():
    assert set(EXPERIMENTS) == set(FIGURES) == {path.stem for path in RESULTS.glob("*.csv")}
    for name in EXPERIMENTS:
        origin = json.loads((RESULTS / f"{name}.json").read_text())
        assert origin["command"].startswith(f"python -m bomrl_lite experiment {name} ")
        count = 1 if name in OF_TUNING else SEEDS.get(name, 5)
        assert origin["scale"]["seeds"] == count
        seeds = (TUNING_SEED,) if name in OF_TUNING else range(count)
        found = {row["seed"] for row in rows_of(RESULTS / f"{name}.csv")}
        assert found == {str(seed) for seed in seeds}


def usual_config(family, arm):
    """Where the search of an arm begins."""
    if family == "navigation/circle":
        return configure(arm, tasks=family)
    return configure(**locomotion.ARMS[arm], tasks=family)


@pytest.mark.parametrize("family", SEARCHES)
def test_every_method_has_the_same_search_of_which_its_usual_settings_are_the_first(family):
    name, arms = SEARCHES[family]
    frame = pd.read_csv(RESULTS / f"{name}.csv")
    assert json.loads((RESULTS / f"{name}.json").read_text())["scale"]["iterations"] == 20
    assert list(frame["method"].unique()) == list(arms)
    for arm in arms:
        mine = frame[frame["method"] == arm]
        assert list(mine["trial"]) == list(range(TRIALS))
        usual = usual_settings(usual_config(family, arm))
        assert mine["dials"].iloc[0] == str({k: float(f"{v:.2g}") for k, v in usual.items()})
        assert mine["dials"].nunique() >= TRIALS - 1


@pytest.mark.parametrize("family", SEARCHES)
def test_what_is_compared_are_the_best_settings_of_the_search_and_on_no_edge_of_it(family):
    name, arms = SEARCHES[family]
    frame = pd.read_csv(RESULTS / f"{name}.csv")
    assert list(TUNED[family]) == list(arms)
    for arm in arms:
        mine = frame[frame["method"] == arm]
        best = TUNED[family][arm]
        assert mine["dials"].loc[mine["return"].idxmax()] == str(best)
        for setting, usual in usual_settings(usual_config(family, arm)).items():
            reach = arms[arm] / 1.05
            assert 1 / reach < best[setting] / usual < reach, (arm, setting)


def test_a_comparison_trains_with_what_its_search_found():
    for arm in locomotion.ARMS:
        settings = locomotion.tuned_config(arm, 7, "cheetah/velocity", 40).settings()
        found = TUNED["cheetah/velocity"]["BO-MRL" if arm[-2:] in ("D1", "D2") else arm]
        assert {name: settings[name] for name in found} == found
    for method in SAMPLED:
        settings = navigation.tuned_config(method, "navigation/corners", 7, Scale()).settings()
        found = TUNED["navigation/circle"][method]
        assert {name: settings[name] for name in found} == found


def test_the_dials_of_the_ant_are_the_best_of_four():
    frame = pd.read_csv(RESULTS / "ant_tuning.csv")
    assert set(frame["method"]) == set(locomotion.ANT_GRIDS)
    compared = json.loads((RESULTS / "ant_velocity.json").read_text())["settings"]["ant"]["methods"]
    assert list(TUNED["ant/velocity"]) == list(locomotion.ANT_CONTROLS)
    for arm, grid in locomotion.ANT_GRIDS.items():
        mine = frame[frame["method"] == arm]
        assert list(mine["dials"]) == [str(dials) for dials in grid]
        assert len(grid) == 4
        best = grid[int(mine.set_index("configuration")["return"].idxmax())]
        told = [locomotion.tuned_config(arm, 3, "ant/velocity", 100).settings()]
        if arm in locomotion.ANT_CONTROLS:
            assert TUNED["ant/velocity"][arm] == best
        else:  # the defaults of the method
            told += [
                configure(**locomotion.ARMS[arm], tasks="ant/velocity").settings(),
                compared[locomotion.ARMS[arm]["method"]],
            ]
        for settings in told:
            assert {name: settings[name] for name in best} == best, arm


def test_an_ants_directions_are_learnt_with_the_best_of_three_steps():
    frame = pd.read_csv(RESULTS / "ant_direction_tuning.csv")
    assert list(TUNED["ant/direction"]) == list(locomotion.ANT_STEPS) == list(locomotion.ANTS)
    for arm, grid in locomotion.ANT_STEPS.items():
        mine = frame[frame["method"] == arm]
        assert list(mine["dials"]) == [str(dials) for dials in grid]
        best = grid[int(mine.set_index("configuration")["return"].idxmax())]
        assert TUNED["ant/direction"][arm] == best
        settings = locomotion.tuned_config(arm, 3, "ant/direction", 60).settings()
        assert {name: settings[name] for name in best} == best


def test_an_ant_learns_for_long_with_every_inner_step_of_the_head_and_twice_the_episodes():
    asked = []

    def train(config):
        asked.append(config)
        raise ArithmeticError("not here: no advice")

    scale = replace(TINY, iterations=480)
    for seed, labels in ((0, list(locomotion.LONG)), (3, list(locomotion.LONG_AGAIN))):
        asked.clear()
        rows = list(locomotion.long_ants(seed, scale, train))
        assert [row["method"] for row in rows] == labels
        assert {row["note"] for row in rows} == {"not here"}
        promp, *heads = (config.settings() for config in asked)
        assert promp["step_size"] == TUNED["ant/direction"]["ProMP"]["step_size"]
        usual = locomotion.tuned_config("BO-MRL head", seed, "ant/direction", 60).settings()
        tried = [{"lam": lam} for lam in (usual["lam"], 0.1, 0.3)]
        tried += [{"lam": 0.3, "learning_rate": usual["learning_rate"] / 2}]
        lengths = {settings["lam"] for settings in locomotion.ANT_STEPS["BO-MRL head"]}
        assert {settings["lam"] for settings in tried} == lengths
        same = {"num_episodes": 40, "iterations": 480}
        assert heads == [{**usual, **same, **one} for one in tried][-len(heads) :]
        assert promp["num_episodes"] == 2 * usual["num_episodes"] == 40
        assert promp["iterations"] == 480
        assert {config.seed for config in asked} == {seed}


def test_a_comparison_of_robots_has_rows_of_training_steps_and_episodes(monkeypatch):
    def tiny(arm, seed, tasks, iterations):
        small = {"num_tasks": 2, "num_episodes": 2, "horizon": 3, "iterations": iterations}
        return configure("bomrl_head", tasks=tasks, seed=seed, **small)

    monkeypatch.setattr(locomotion, "tuned_config", tiny)
    arms = ("ProMP", "BO-MRL head")
    rows = list(
        locomotion.comparison("cheetah/velocity", arms)(
            0, Scale(seeds=1, iterations=2), lambda config: Trained(meta_train(config), 8.0)
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


@pytest.fixture
def calls(monkeypatch):
    """In place of simulation: note what is asked for; the last return is best at factor 0.3.

    The return after one adaptation is the number of episodes it read, and best at factor 0.03.
    """
    noted = []

    def returns(phi, tasks, problem, generator, *, num_steps, num_episodes, algs, moments, **how):
        factor = algs[-1] if num_steps > 1 else None
        assert algs == (problem.alg, *[factor] * (num_steps - 1))
        split, count = tasks
        noted.append(
            {
                "phi": phi, "split": split, "tasks": count, "seed": generator.initial_seed(),
                "steps": num_steps, "episodes": num_episodes, "factor": factor, "moments": moments,
            }
        )  # fmt: skip
        values = torch.arange(num_steps + 1.0).repeat(2, 1)
        values[:, 1] = num_episodes + (100 if factor == 0.03 else 0)
        values[:, -1] += 50 if factor == 0.3 else 0
        return values

    def make(config):
        problem = make_problem(config)
        sample = lambda count, generator, split: (split, count)  # noqa: E731
        return replace(problem, family=replace(problem.family, sample=sample))

    monkeypatch.setattr(sampled, "adapted_returns", returns)
    monkeypatch.setattr(sampled, "scaled_alg", lambda problem, factor: factor)
    for module in (sampled, locomotion):
        monkeypatch.setattr(module, "episodes_problem", make)
    return noted


SEEN = no_moments(1)
"""Stands for the moments of a training: only that they are handed on is asked."""


def trained(config):
    """A state that is easily told from an untrained one, in 8 seconds."""
    if config.method == "trpo_maml":
        raise ArithmeticError("nothing was solved: use more of it")
    before = start_state(make_problem(config))
    history = [
        {"iteration": float(i), "return_before": -1.0 - i, "return_after": 5.0 + i}
        for i in range(config.iterations)
    ]
    state = replace(before, phi={"trained": torch.ones(1)}, moments=SEEN, history=history)
    return Trained(state, 8.0)


def test_a_comparison_chooses_on_train_tasks_and_measures_on_test_tasks(calls):
    arms = ("MAML-TRPO", "BO-MRL D1", "BO-MRL head")
    rows = locomotion.comparison("cheetah/velocity", arms)(3, Scale(iterations=2), trained)
    frame = pd.DataFrame(list(rows))
    assert list(frame["method"].unique()) == ["MAML-TRPO", "BO-MRL head", "untrained"]
    (failed,) = frame[frame["kind"] == "failed"].to_dict("records")
    assert (failed["method"], failed["note"]) == ("MAML-TRPO", "nothing was solved")
    training = frame[frame["kind"] == "training"]
    assert list(training["steps"]) == [2 * 10 * 10 * 100, 2 * 2 * 10 * 10 * 100]
    assert list(training["seconds"]) == [4, 8]
    assert list(training["before"]) == [-1, -2]
    assert list(training["return"]) == [5, 6]
    for arm in ("BO-MRL head", "untrained"):
        mine = frame[frame["method"] == arm]
        steps, episodes = (mine[mine["kind"] == kind] for kind in ("steps", "episodes"))
        assert list(steps["return"]) == [0, 20, 2, 53]
        assert set(steps["factor"]) == {0.3}
        assert list(episodes["return"]) == [1, 2, 5, 10, 20]  # the episodes that were read
    chosen = [call for call in calls if call["split"] == "train"]
    measured = [call for call in calls if call["split"] == "test"]
    assert [call["factor"] for call in chosen] == [1, 0.3, 0.1, 0.03] * 2
    assert [call["steps"] for call in measured] == [3, 1, 1, 1, 1, 1] * 2
    assert not {call["seed"] for call in chosen} & {call["seed"] for call in measured}
    assert {call["seed"] // 16 for call in calls} == {3}
    assert {call["tasks"] for call in calls} == {10}


def test_the_untrained_policy_looks_through_the_lens_of_the_trained_one(calls):
    list(locomotion.comparison("cheetah/velocity", ("BO-MRL head",))(2, Scale(), trained))
    half = len(calls) // 2
    assert all(set(call["phi"]) == {"trained"} for call in calls[:half])
    assert all(call["moments"] is SEEN for call in calls)
    config = configure("bomrl_head", tasks="cheetah/velocity", seed=2)
    start = make_problem(config).policy.init(seeded(2, "episodes"))
    for call in calls[half:]:
        assert all(torch.equal(call["phi"][name], leaf) for name, leaf in start.items())


@pytest.mark.parametrize(
    ("tasks", "tried"),
    [("cheetah/velocity", locomotion.LEVERS), ("walker/direction", locomotion.WALKER_LEVERS)],
)
def test_levers_change_one_thing_about_the_tuned_training(calls, tasks, tried):
    seen = []

    def train(config):
        seen.append(config)
        return trained(config)

    rows = list(locomotion.levers(tasks, tried)(2, Scale(iterations=3), train))
    assert [row["method"] for row in rows] == [label for label in tried for _ in range(3)]
    assert [row["adaptations"] for row in rows] == [0, 1, 2] * len(tried)
    assert [row["return"] for row in rows] == [0, 20, 52] * len(tried)
    for found, (arm, times, changed) in zip(seen, tried.values(), strict=True):
        plain = locomotion.tuned_config(arm, 2, tasks, 3)
        assert (found.seed, found.tasks, found.iterations) == (2, tasks, 3 * times)
        if "outer" in changed:
            assert isinstance(found.outer, Trpo)
            assert found.outer.max_kl == TUNED[tasks]["MAML-TRPO"]["max_kl"]
            assert (found.alg, found.sampling) == (plain.alg, plain.sampling)
            continue
        before = {**plain.stored(), "iterations": 3 * times}
        if "delta" in changed:
            price = before.pop("lam")
            assert price == TUNED[tasks]["BO-MRL"]["lam"]
        now = {name: v for name, v in found.stored().items() if v != before.get(name, "none")}
        effort = {"cg_iterations": 8, "distance_stride": 4}
        assert now == {name: v for name, v in changed.items() if effort.get(name) != v}


def test_levers_take_their_lengths_from_what_the_searches_found():
    """The ridges by hand: recipe B's head steps 1 / (lam rho), recipe A's sigma^2 / (lam rho)."""
    for tasks, tried in (
        ("cheetah/velocity", locomotion.LEVERS),
        ("walker/direction", locomotion.WALKER_LEVERS),
    ):
        found, changed = TUNED[tasks], {label: lever[2] for label, lever in tried.items()}
        step = changed["head, a step of the body"]["body_step"]
        assert step == found["ProMP"]["step_size"]
        variance = math.exp(2 * configure("bomrl_head", tasks=tasks).settings()["log_std"])
        of_head = variance / (found["BO-MRL head"]["lam"] * found["BO-MRL head"]["ridge"])
        ridge = changed["all, a ridge of the head"]["head_ridge"]
        assert 1 / (found["BO-MRL"]["lam"] * ridge) == pytest.approx(of_head, rel=5e-3)


def test_collections_share_forty_episodes_and_report_the_last_return(calls, monkeypatch):
    monkeypatch.setitem(locomotion.ARMS, "MAML-TRPO", {"method": "lvc_maml"})  # one that trains
    monkeypatch.setitem(TUNED["cheetah/direction"], "MAML-TRPO", {})
    rows = list(locomotion.collections(1, Scale(iterations=1), trained))
    budgets = [(1, 40), (2, 20), (4, 10), (8, 5)]
    measured = [call for call in calls if call["split"] == "test"]
    assert [(call["steps"], call["episodes"]) for call in measured] == budgets * 3
    assert [call["factor"] for call in measured] == [None, 0.3, 0.3, 0.3] * 3
    chosen = [call for call in calls if call["split"] == "train"]
    assert [(call["steps"], call["episodes"]) for call in chosen[::4]] == budgets[1:] * 3
    assert not {call["seed"] for call in chosen} & {call["seed"] for call in measured}
    assert [row["factor"] for row in rows] == [1, 0.3, 0.3, 0.3] * 3
    assert [row["return"] for row in rows] == [40, 52, 54, 58] * 3
    assert {row["before"] for row in rows} == {0}


def test_tuning_trains_each_configuration_and_judges_it_on_train_tasks(calls):
    seen = []

    def train(config):
        seen.append(config.alg.step_size)
        return trained(config)

    grids = {"lvc_maml": [{"step_size": x} for x in (0.1, 0.2)], "trpo_maml": [{"step_size": 0.4}]}

    def config_of(method):
        return configure(method, tasks="navigation/circle", seed=7)

    rows = list(sampled.tuning_rows(grids, config_of, train, sampled.Measure(num_episodes=6)))
    assert seen == [0.1, 0.2, 0.4]
    assert [row["configuration"] for row in rows] == [0, 1, 0]
    assert [row["return"] for row in rows] == pytest.approx([6, 6, math.nan], nan_ok=True)
    assert [row["note"] for row in rows] == ["", "", "nothing was solved"]
    assert [(call["split"], call["seed"] // 16) for call in calls] == [("train", 7)] * 2


def test_a_search_begins_at_the_usual_settings_and_then_draws_near_the_best(calls, monkeypatch):
    seen = []

    def train(config):
        seen.append(config)
        if len(seen) == 3:
            raise ArithmeticError("training diverged: use less of it")
        return trained(config)

    def score(state, problem, measure):
        return -torch.tensor([[0.0, (problem.config.alg.step_size / 0.9 - 1) ** 2]])

    def config_of(method):
        return configure(method, tasks="navigation/circle", seed=7)

    def rows():
        seen.clear()
        return list(sampled.search_rows({"lvc_maml": REACH}, config_of, train, sampled.Measure()))

    monkeypatch.setattr(sampled, "fresh_returns", score)
    first = rows()
    pd.testing.assert_frame_equal(pd.DataFrame(rows()), pd.DataFrame(first))
    assert [row["trial"] for row in first] == list(range(TRIALS))
    assert seen[0] == config_of("lvc_maml")
    tried = [config.alg.step_size for config in seen]
    assert len(set(tried)) >= TRIALS - 1  # of rounded settings two can be alike
    assert all(0.3 / REACH <= size <= 0.3 * REACH for size in tried)
    assert all(f"{size:.2g}" == f"{size:g}" for size in tried)
    assert [row["note"] for row in first] == [*[""] * 2, "training diverged", *[""] * 9]
    assert math.isnan(first[2]["return"])
    assert np.abs(np.array(tried[6:]) - 0.9).mean() < np.abs(np.array(tried[1:6]) - 0.9).mean()


@pytest.mark.parametrize(
    "method", ["lvc_maml", "bomrl_natural", "bomrl_head", "bomrl_natural_region"]
)
def test_a_later_step_is_as_much_shorter_as_its_factor(method):
    config = configure(method, num_tasks=1, num_episodes=5, horizon=10, hidden=(4,))
    problem, generator = make_problem(config), torch.Generator().manual_seed(0)
    phi = problem.policy.init(generator)
    tasks = problem.family.sample(1, generator, "train")
    (batch,) = collect_all(phi, tasks, problem, generator).before
    batch = type(batch)(*(field[0] for field in batch))
    whole, part = (
        torch.cat([(alg(phi, batch).theta[name] - leaf).flatten() for name, leaf in phi.items()])
        for alg in (problem.alg, sampled.scaled_alg(problem, 0.3))
    )
    assert whole.norm() > 1e-3
    torch.testing.assert_close(part, 0.3 * whole, rtol=1e-3, atol=1e-6)


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
    tasks = problem.family.sample(4, generator, "test")
    returns = adapted_returns(phi, tasks, problem, generator, moments=moments, test_episodes=5)
    before, after = returns[:, :2].mean(0).tolist()
    if config.tasks == "ant/velocity":  # walks, which from 5 episodes says more than its small gain
        assert after > yardsticks("ant/velocity")["standing still"] + 60
    else:
        assert after - before > (80 if "direction" in config.tasks else 5)
