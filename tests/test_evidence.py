"""The page of evidence: each figure is computed anew from the stored table that its row names."""

import json
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bomrl_lite.course.experiments import EXPERIMENTS
from bomrl_lite.course.statistics import stratified_interval
from bomrl_lite.training.streams import STREAMS

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "notebooks" / "results"
PAGE = (ROOT / "docs" / "evidence.md").read_text("utf-8")
ROWS = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in PAGE.splitlines()
    if re.fullmatch(r"\|.*`\w+` \|[^|]*\|", line)
]
VERDICTS = ("holds", "holds partly", "not settled", "does not hold")


def table(name: str) -> pd.DataFrame:
    return pd.read_csv(RESULTS / f"{name}.csv")


def difference(frame: pd.DataFrame, ours: str, theirs: str, *, value="return", decimals=1) -> str:
    """Mean of ours minus theirs, paired by seed, with its 95 % interval where seeds are several."""
    wide = frame.pivot_table(index="seed", columns="method", values=value)
    leads = (wide[ours] - wide[theirs]).dropna().to_numpy()
    text = f"{leads.mean():+.{decimals}f}"
    if len(leads) == 1:
        return f"{text}, one seed"
    low, high = stratified_interval(leads, lambda scores: float(scores.mean()))
    return f"{text} [{low:+.{decimals}f}, {high:+.{decimals}f}], {len(leads)} seeds"


def lakes(split: str) -> pd.DataFrame:
    frame = table("returns").query(
        "setting == 'matched' and family == 'high variance' and split == @split and step == 1"
    )
    own = frame["prior"].where(frame["prior"] != "first_order_bomrl", "bomrl_d2")
    return frame[frame["alg"] == own].rename(columns={"prior": "method"})


def robots(name: str, kind: str, value: int) -> pd.DataFrame:
    column = "adaptations" if kind == "steps" else "episodes"
    frame = table(name)
    return frame[(frame["kind"] == kind) & (frame[column] == value)]


def points(name: str, **chosen: object) -> pd.DataFrame:
    frame = table(name)
    for column, value in chosen.items():
        frame = frame[frame[column] == value]
    return frame


def collections(one: int, many: int) -> str:
    frame = points("collections", method="BO-MRL head")
    frame = frame.assign(method=frame["collections"].astype(str))
    return difference(frame, str(one), str(many))


def bounds_that_hold() -> str:
    wide = table("bounds").pivot_table(
        index=["family", "prior", "split", "seed"], columns="quantity", values="value"
    )
    wide = wide.dropna(subset="rigorous bound at lam_0")
    held = wide["rigorous bound at lam_0"] >= wide["gap without adaptation"]
    ratio = wide["rigorous bound at lam_0"] / wide["gap without adaptation"]
    return f"{held.sum()} of {len(held)}, at least {np.floor(ratio.min()):.0f} times the gap"


def along_variance() -> str:
    frame = points("variance", prior="bomrl_d2", split="test")
    rho = [g["variance"].rank().corr(g["gap"].rank()) for _, g in frame.groupby("seed")]
    low, high = stratified_interval(rho, lambda scores: float(scores.mean()))
    return f"{np.mean(rho):+.2f} [{low:+.2f}, {high:+.2f}], {len(rho)} seeds"


def sampled(episodes: int) -> str:
    frame = table("sampled_lakes").query(
        "family == 'holes' and prior == 'bomrl_d2 lam 0.3' and episodes == @episodes"
    )
    return gap(frame.rename(columns={"alg": "method"}), "bomrl_d2", "gradient")


def memory_of_unrolling() -> str:
    frame = points("inner_steps", steps=100)
    use = frame.groupby("way")["megabytes"].mean()
    return f"{use['unrolled'] / use.drop('unrolled').min():.0f} times"


CHEETAH, VELOCITY = "cheetah_direction", "cheetah_velocity"
gap = partial(difference, value="gap", decimals=3)
FIGURES: dict[str, Callable[[], str]] = {
    "Alg from the prior of BO-MRL is nearer": lambda: gap(lakes("test"), "bomrl_d2", "maml"),
    "The full hypergradient serves the objective": lambda: gap(
        lakes("training"), "bomrl_d2", "first_order_bomrl"
    ),
    "The full hypergradient generalises": lambda: gap(
        lakes("test"), "bomrl_d2", "first_order_bomrl"
    ),
    "From 20 sampled episodes, the gap": lambda: sampled(20),
    "The gap is below its bound": bounds_that_hold,
    "The gap grows with the variance": along_variance,
    "Implicit differentiation needs": memory_of_unrolling,
    "Half cheetah, directions, the head": lambda: difference(
        robots("heads", "steps", 1), "BO-MRL head", "ProMP"
    ),
    "Half cheetah, directions, the head, over ProMP on the head": lambda: difference(
        robots("heads", "steps", 1), "BO-MRL head", "ProMP head"
    ),
    "Half cheetah, directions, the head, three": lambda: difference(
        robots("heads", "steps", 3), "BO-MRL head", "ProMP"
    ),
    "Half cheetah, directions, all": lambda: difference(
        robots(CHEETAH, "steps", 1), "BO-MRL", "ProMP"
    ),
    "Half cheetah, speeds, the head": lambda: difference(
        robots(VELOCITY, "steps", 1), "BO-MRL head", "ProMP"
    ),
    "Half cheetah, speeds, all": lambda: difference(
        robots(VELOCITY, "steps", 1), "BO-MRL", "ProMP"
    ),
    "Ant, speeds": lambda: difference(robots("ant_velocity", "steps", 1), "BO-MRL head", "ProMP"),
    "Ant, directions": lambda: difference(
        robots("ant_direction", "steps", 1), "BO-MRL head", "ProMP"
    ),
    "2-D navigation": lambda: difference(
        points("navigation", step=1), "bomrl_natural", "promp", decimals=2
    ),
    "Rewards only near": lambda: difference(
        points("corners", step=1), "bomrl_natural", "promp", decimals=2
    ),
    "One episode, half cheetah, directions": lambda: difference(
        robots("heads", "episodes", 1), "BO-MRL head", "ProMP"
    ),
    "Five episodes, half cheetah, directions": lambda: difference(
        robots("heads", "episodes", 5), "BO-MRL head", "ProMP"
    ),
    "Five episodes, half cheetah, directions, over ProMP on the head": lambda: difference(
        robots("heads", "episodes", 5), "BO-MRL head", "ProMP head"
    ),
    "One episode, half cheetah, speeds": lambda: difference(
        robots(VELOCITY, "episodes", 1), "BO-MRL head", "ProMP"
    ),
    "One episode, 2-D navigation": lambda: difference(
        points("episodes", trained_with=20, episodes=1), "bomrl_natural", "promp", decimals=2
    ),
    "Forty episodes at once": lambda: collections(1, 4),
    "ProMP is ahead of MAML-TRPO": lambda: difference(
        robots(CHEETAH, "steps", 1), "ProMP", "MAML-TRPO"
    ),
}


def figure_of(claim: str) -> Callable[[], str]:
    """The figure whose name begins the claim, the longest of them."""
    return FIGURES[max((start for start in FIGURES if claim.startswith(start)), key=len)]


def test_every_claim_has_a_figure_a_table_and_a_verdict():
    assert len(ROWS) == len(FIGURES)
    for row, start in zip(ROWS, FIGURES, strict=True):
        assert figure_of(row[0]) is FIGURES[start]
        assert row[2].strip("`") in EXPERIMENTS
        assert row[3] in VERDICTS


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0])
def test_the_figure_of_a_claim_is_that_of_its_table(row):
    assert row[1] == figure_of(row[0])()


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0])
def test_a_claim_holds_only_where_its_whole_interval_says_so(row):
    """Gaps are to be negative leads, returns positive ones; under five seeds settle nothing."""
    found = re.search(r"\[([-+.\d]+), ([-+.\d]+)\], (\d+) seeds", row[1])
    if found is None:
        assert "one seed" not in row[1] or row[3] == "not settled"
        return
    low, high, seeds = map(float, found.groups())
    if seeds < 5:
        assert row[3] == "not settled"
        return
    smaller = "gap" in row[0] and "grows" not in row[0]
    for_it, against = (high < 0, low > 0) if smaller else (low > 0, high < 0)
    verdict = "holds" if for_it else "does not hold" if against else "not settled"
    assert row[3] == verdict


EPISODES = {
    *("navigation_tuning", "navigation", "corners", "episodes", "heterogeneity", "inner_steps"),
    *("cheetah_tuning", "cheetah_direction", "cheetah_velocity", "collections", "head_tuning"),
    *("heads", "ant_tuning", "ant_direction", "ant_velocity"),
}
"""Tables of trainings on episodes, which the change of the streams touched."""


def test_the_tables_of_the_older_streams_are_named():
    older = {
        name
        for name in EPISODES & EXPERIMENTS.keys()
        if json.loads((RESULTS / f"{name}.json").read_text()).get("streams") != STREAMS
    }
    part = PAGE.partition("## Tables of the older streams")[2]
    assert older == set(re.findall(r"`(\w+)`", part.partition("\n\n## ")[0].partition(":")[2]))
