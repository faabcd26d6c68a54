"""The page of losses: each number is computed from the stored table that its row names."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / "docs" / "where_bomrl_loses.md").read_text("utf-8")
ROWS = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in PAGE.splitlines()
    if re.fullmatch(r"\|.*`\w+` \|", line)
]


def table(name: str) -> pd.DataFrame:
    return pd.read_csv(ROOT / "notebooks" / "results" / f"{name}.csv")


def lakes(setting: str, family: str = "high variance") -> dict[str, float]:
    t = table("returns").query(
        "setting == @setting and family == @family and split == 'test' and step == 1"
    )
    alg = t["prior"].where(t["prior"] != "first_order_bomrl", "bomrl_d2")
    return t[t["alg"] == alg].groupby("prior")["gap"].mean().to_dict()


def best_settings() -> dict[str, float]:
    t = table("sensitivity").query("family == 'low variance' and split == 'test' and prior == alg")
    return t.groupby(["alg", "dial"])["gap"].mean().groupby("alg").min().to_dict()


def sampled(episodes: int) -> dict[str, float]:
    t = table("sampled_lakes").query(
        "family == 'holes' and prior == 'bomrl_d2 lam 0.3' and episodes == @episodes"
    )
    return t.groupby("alg")["gap"].mean().to_dict()


def one_adaptation(name: str) -> dict[str, float]:
    return table(name).query("step == 1").groupby("method")["return"].mean().to_dict()


def one_episode() -> dict[str, float]:
    t = table("episodes").query("trained_with == 1 and episodes == 1")
    return t.groupby("method")["return"].mean().to_dict()


def robots(name: str, kind: str, value: int) -> dict[str, float]:
    column = "adaptations" if kind == "steps" else "episodes"
    t = table(name)
    t = t[(t["kind"] == kind) & (t[column] == value)]
    return t.groupby("method")["return"].mean().to_dict()


def robot_seconds(name: str) -> dict[str, float]:
    t = table(name).query("kind == 'training'")
    return t.groupby(["method", "seed"])["seconds"].max().groupby("method").mean().to_dict()


def seconds(name: str) -> dict[str, float]:
    return table(name).query("step == 1").groupby("method")["seconds"].mean().to_dict()


def levers(name: str = "levers") -> dict[str, float]:
    return table(name).query("adaptations == 1").groupby("method")["return"].mean().to_dict()


def goals(count: int) -> dict[str, float]:
    t = table("training_goals").query("goals == @count and split == 'test'")
    return t.groupby("method")["return"].mean().to_dict()


def late() -> dict[str, float]:
    t = table("delayed").query("window == 30 and split == 'test'")
    return t.groupby("method")["return"].mean().to_dict()


MEANS: dict[str, Callable[[], dict[str, float]]] = {
    "full hypergradient": lambda: lakes("matched"),
    "holes that cost little": best_settings,
    "the published settings": lambda: lakes("published"),
    "the same with D1": lambda: lakes("published"),
    "matched settings, deadly holes, D3": lambda: lakes("matched"),
    "matched settings, holes that cost little, D3": lambda: lakes("matched", "low variance"),
    "20 episodes": lambda: sampled(20),
    "the same from 100": lambda: sampled(100),
    "2-D navigation, on the head": lambda: one_adaptation("navigation"),
    "2-D navigation, on all parameters, solved": lambda: one_adaptation("navigation"),
    "2-D navigation, trained and tested": one_episode,
    "half cheetah, speeds, on the head": lambda: robots("cheetah_velocity", "steps", 1),
    "half cheetah, speeds, all parameters (": lambda: robots("cheetah_velocity", "steps", 1),
    "half cheetah, speeds, D3": lambda: robots("cheetah_velocity", "steps", 1),
    "walker, directions, on the head": lambda: robots("walker_direction", "steps", 1),
    "walker, directions, all parameters (": lambda: robots("walker_direction", "steps", 1),
    "ant, directions, from ONE": lambda: robots("ant_direction", "episodes", 1),
    "the same from FIVE": lambda: robots("ant_direction", "episodes", 5),
    "ant, directions, 480": lambda: robots("ant_direction_long", "steps", 1),
    "walker, directions, the best lever": lambda: levers("walker_levers"),
    "walker, directions, all parameters and a ridge": lambda: levers("walker_levers"),
    "half cheetah, speeds, both trained": levers,
    "half cheetah, speeds, the term": levers,
    "half cheetah, speeds, a step": levers,
    "half cheetah, speeds, all parameters and a ridge": levers,
    "half cheetah, speeds, all parameters and an outer": levers,
    "2-D navigation, trained on two": lambda: goals(2),
    "2-D navigation, trained on 64": lambda: goals(64),
    "2-D navigation, rewards": late,
    "half cheetah, directions: D2": lambda: robot_seconds("cheetah_direction"),
    "2-D navigation, all parameters, for": lambda: seconds("navigation"),
}


def test_every_row_is_computed_and_names_a_table():
    assert len(ROWS) == len(MEANS)
    for row, start in zip(ROWS, MEANS, strict=True):
        assert row[0].startswith(start)
        name = row[5].strip("`")
        origin = json.loads((ROOT / "notebooks" / "results" / f"{name}.json").read_text("utf-8"))
        assert origin["command"].startswith(f"python -m bomrl_lite experiment {name} ")


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0])
def test_the_numbers_of_a_row_are_those_of_its_table(row):
    means = next(mean for start, mean in MEANS.items() if row[0].startswith(start))()
    for method, number in (row[1:3], row[3:5]):
        decimals = len(number.partition(".")[2])
        assert f"{means[method]:.{decimals}f}" == number


@pytest.mark.parametrize("heading", ["Smaller is better", "Larger is better", "The price"])
def test_bomrl_is_ahead_in_no_row(heading):
    part = PAGE.partition(f"**{heading}**")[2].partition("\n\n**")[0].partition("\nWhat to")[0]
    rows = [row for row in ROWS if row[0] in part]
    assert rows
    for row in rows:
        ours, other = float(row[2]), float(row[4])
        assert ours <= other if heading.startswith("Larger") else ours >= other
