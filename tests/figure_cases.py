"""Every figure of the course on data made here or stored, and the numbers that it must show.

A case is the call and what its lines must be: for panels in order, label -> places and values,
aggregated here by pandas alone. Values are drawn so unevenly that arithmetic, geometric and median
are far apart.
"""

from collections.abc import Callable
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure

import bomrl_lite as bl
from bomrl_lite.course import plots, widgets
from bomrl_lite.course.plots import experiments, robots
from bomrl_lite.course.plots.robots import PIECES
from bomrl_lite.tasks import frozen_lake as lakes

Curves = dict[str, tuple[list[float], list[float]]]
RESULTS = Path(__file__).resolve().parents[1] / "notebooks" / "results"
MAPS = [
    ("SFFF", "FHFH", "FFFH", "HFFG"),
    ("SFFF", "FFHF", "FFFH", "HFFG"),
    ("SFFF", "FFFF", "FFHF", "FFFG"),
]
LABELS = plots.LABELS


class Case(NamedTuple):
    """A figure and what its panels must show; None for a drawing that aggregates nothing."""

    draw: Callable[[], Figure]
    expected: Callable[[], list[Curves]] | None = None
    aside: float = 0.0
    """How far from its place a dot may stand, where several stand side by side."""


@cache
def stored(name: str) -> pd.DataFrame:
    return pd.read_csv(RESULTS / f"{name}.csv", dtype={"seed": str})


def made(values: tuple[str, ...] = ("value",), **columns: list[Any]) -> pd.DataFrame:
    """A row for every combination, with values over two decades."""
    random = np.random.default_rng(0)
    frame = pd.DataFrame(product(*columns.values()), columns=list(columns))
    for name in values:
        frame[name] = 10 ** random.uniform(-2, 0.3, len(frame))
    return frame


def curves(
    frame: pd.DataFrame, x: str, y: str, by: str, how: str = "mean", names: Any = LABELS
) -> Curves:
    """Aggregate with pandas: label -> places, values."""
    table = getattr(frame.dropna(subset=[y]).groupby([by, x])[y], how)()
    return {
        names.get(str(name), str(name)): (list(part.index.get_level_values(x)), part.tolist())
        for name, part in table.groupby(level=by)
    }


def panels(frame: pd.DataFrame, column: str, *args: Any, **kwargs: Any) -> list[Curves]:
    return [curves(part, *args, **kwargs) for _, part in frame.groupby(column, sort=False)]


def movement() -> list[Curves]:
    """One dot per price: both of its coordinates are means over seeds."""
    means = MOVEMENT.groupby(["distance", "lam"])[["nats", "gap", "largest"]].mean()
    return [
        {n.upper(): (p["nats"].tolist(), p[c].tolist()) for n, p in means.groupby(level=0)}
        for c in ("gap", "largest")
    ]


def grouped(found: Curves, order: list[Any]) -> Curves:
    """Dots stand at groups, side by side: number the groups."""
    return {name: ([order.index(place) for place in x], y) for name, (x, y) in found.items()}


HISTORY = made(
    ("return_before", "return_after"),
    method=["maml", "bomrl_d2"], seed=["0", "1", "2"], iteration=[0, 1, 2, 3],
)  # fmt: skip
GAPS = made(
    ("gap",),
    split=["training", "held-out"], prior=["untrained", "maml", "bomrl_d1"], seed=["0", "1", "2"],
    step=[0, 1, 2, 3],
)  # fmt: skip
BY_COUNT = made(
    ("gap",), tasks=["training", "held-out"], num_tasks=[2, 5, 10, 20], seed=["0", "1", "2"]
)
REUSE = made(
    ("gap",),
    prior=["untrained", "maml"], data=["one-time", "fresh each step"], seed=["0", "1", "2"],
    steps=[0, 1, 2, 3, 5, 8, 12, 20, 30, 45, 60],
)  # fmt: skip
OF_COUNT = made(
    ("gap",),
    split=["training", "test"], prior=["untrained", "maml", "bomrl_d2"], num_tasks=[2, 5, 40],
    seed=["0", "1", "2"],
)  # fmt: skip
MOVEMENT = made(
    ("nats", "gap", "largest"),
    distance=["d1", "d2", "d3"], lam=[1.0, 0.3, 0.1], seed=["0", "1", "2"],
)  # fmt: skip
SIGNAL = made(
    ("silent", "earned"), length=[2, 6, 10], episodes=["exact", "5", "20"], seed=["0", "1", "2"]
)
DOTTED = made(("silent",), length=[2, 6, 10], episodes=["5", "20"])
CURVE = made(("return",), task=[0, 1, 2], step_size=[0.1, 1.0, 10.0, 100.0])
GUARANTEE = made(("stationarity", "gap"), **{"step size": ["0.3", "30"], "seed": ["0", "1", "2"]})
REDUCTIONS = made(
    ("difference",), reduction=["MAML", "NPG"], lam=[10.0, 100.0, 1000.0], seed=["0", "1"]
)
LINE = made(t=[-1.0, 0.0, 1.0, 2.0], what=["J", "bound, D1", "bound, D2"])
RETURNS = made(
    ("return",),
    prior=["untrained", "trained by BO-MRL"], kind=["one batch", "fresh data"],
    seed=["0", "1", "2"], step=[0, 1, 2, 3],
)  # fmt: skip
DISTANCES = RETURNS.assign(
    kind=RETURNS["kind"].map({"one batch": "D1, lam = 0.1", "fresh data": "D3, lam = 0.003"})
)
ITERATING = made(
    ("error",), problem=["well", "badly"], solver=["CG", "Neumann series"],
    iterations=[1, 3, 10, 30], task=[0, 1, 2],
)  # fmt: skip
LADDER = made(
    ("error",), policy=["uniform", "trained"], distance=["D1", "D2"],
    rung=["naive", "frozen", "q_gradient", "full"], task=[0, 1, 2],
)  # fmt: skip
INNER = made(("error",), method=["unrolled", "implicit"], steps=[1, 10, 100], task=[0, 1, 2])
COSTS = made(("seconds", "bytes"), method=["unrolled", "implicit"], steps=[1, 10, 100])
CONDITIONS = made(
    ("condition", "error: by state", "error: in logits"),
    lam=[0.01, 0.1, 1.0], distance=["D1", "D2"], task=[0, 1, 2],
)  # fmt: skip
WIDGET = made(
    ("error",),
    lam=[0.1, 1.0],
    steps=[1, 10, 100],
    solver=["unrolled", "implicit, dense"],
    task=[0, 1, 2],
)
AVERAGES = made(("average",), T=[1, 10, 100, 300], seed=["0", "1"])
PROOF = made(("left", "right"), step=["2a", "2b", "3", "together"], pair=list(range(20)))
CAVEAT = made(
    ("variance",),
    smoothing=[1e-4, 1e-3, 1e-2, 1e-1],
    distance=["D1", "D2", "D3"],
    family=["high", "low"],
)
TRAINING = made(
    ("return",), iteration=list(range(12)), method=["lvc_maml", "e_maml", "promp"],
    when=["before", "after 1 adaptation"],
)  # fmt: skip
RUNS = made(
    ("return_after",),
    iteration=list(range(6)),
    curve=["maml (3 seeds)", "bomrl (3 seeds)"],
    run=["a", "b", "c"],
)
ROBOT_COSTS = made(("microseconds",), robots=[1, 16, 256, 1024], who=["ours", "gymnasium"])
RATES = made(("rate",), robots=[1, 16, 256, 1024], backend=["mujoco", "torch"])
TIMES = made(tuple(PIECES), method=["ProMP", "MAML-TRPO", "BO-MRL"]).set_index("method")
UNIFORM = torch.full((16, 4), 0.25, dtype=torch.float64)
VALUES = torch.linspace(-5, 1, 16, dtype=torch.float64)
PRIOR = torch.tensor([0.7, 0.1, 0.2], dtype=torch.float64)
POLICY = bl.tabular_softmax(16, 4)
EXACT = {"policy": POLICY, "gamma": 0.8}
TASKS = lakes.lake_tasks(MAPS, lakes.HOLES)
ONE = type(TASKS)(*(field[0] for field in TASKS))
PHI = POLICY.init(torch.Generator())


def paths() -> dict[str, torch.Tensor]:
    q = torch.tensor([0.0, 1.0, 0.9], dtype=torch.float64)
    return widgets.three_paths(PRIOR, q, torch.logspace(1.5, -1.5, 7, dtype=torch.float64))


def balls() -> dict[str, Callable[[torch.Tensor], torch.Tensor]]:
    return {
        "D1": lambda grid: (PRIOR * (PRIOR / grid).log()).sum(-1),
        "D2": lambda grid: torch.special.xlogy(grid, grid / PRIOR).sum(-1),
        "D3": lambda grid: (grid.log() - PRIOR.log()).square().sum(-1),
    }


def clips() -> list[plots.Clip]:
    qpos = torch.zeros(9, 9, dtype=torch.float64)
    qpos[:, 0] = torch.linspace(0, 2, 9)
    stages = ("before adaptation", "after 1 adaptation")
    return [
        plots.Clip("run forwards", s, "half_cheetah", qpos, torch.ones(8), None) for s in stages
    ]


def walks() -> dict[str, torch.Tensor]:
    steps = torch.randn(4, 6, 20, 2, generator=torch.Generator().manual_seed(0))
    names = [f"{m}, {w}" for m in ("lvc_maml", "e_maml", "promp") for w in ("before", "after")]
    return {name: 0.2 * steps.cumsum(2) for name in names}


CORNERS = torch.tensor([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]])


def hill(x: torch.Tensor) -> torch.Tensor:
    return -(x**2).sum()


ASCENTS = [torch.tensor([[1.0, 0.5], [0.0, 0.0]]), torch.tensor([[1.0, -1.0], [1.0, -4.0]])]


def family(name: str) -> list[Curves]:
    frame = stored(f"cheetah_{name}")
    training, steps, episodes = (
        frame[frame["kind"] == kind] for kind in ("training", "steps", "episodes")
    )
    over_time = {}
    for arm, part in training.groupby("method"):
        mean = part.groupby("iteration")[["seconds", "return"]].mean()
        over_time[str(arm)] = (mean["seconds"].tolist(), mean["return"].tolist())
    millions = training.assign(millions=training["steps"] / 1e6)
    return [
        curves(millions, "millions", "return", "method"),
        over_time,
        curves(steps, "adaptations", "return", "method"),
        curves(episodes.assign(x=np.log2(episodes["episodes"])), "x", "return", "method"),
    ]


def returned() -> list[Curves]:
    frame = stored("returns").query("setting == 'matched' and split == 'test'")
    pairs = zip(frame["prior"], frame["alg"], strict=True)
    frame = frame.assign(line=[experiments._line(prior, alg) for prior, alg in pairs])
    return [
        *panels(frame, "family", "step", "return", "line"),
        *panels(frame[frame["step"] <= 1], "family", "step", "gap", "line"),
    ]


def bounded() -> list[Curves]:
    frame = stored("bounds").query("split == 'test'")
    frame = frame[
        frame["quantity"].isin(
            ["gap without adaptation", "gap after one step", "illustrative bound"]
        )
    ]
    order = list(dict.fromkeys(frame["prior"]))
    return [
        grouped(found, order) for found in panels(frame, "family", "prior", "value", "quantity")
    ]


def conditioned() -> list[Curves]:
    found = []
    for _, part in stored("condition").groupby("prior", sort=False):
        here: Curves = {}
        for column, (lam, mine) in product(("largest", "median"), part.groupby("lam")):
            mean = mine.groupby("iteration")[column].mean()
            here[f"{column}, $\\lambda$ = {lam:g}"] = (mean.index.tolist(), mean.tolist())
        found.append(here)
    return found


def sensitive() -> list[Curves]:
    frame = stored("sensitivity").query("split == 'test'")
    families, algs = dict.fromkeys(frame["family"]), dict.fromkeys(frame["alg"])
    cells = (
        frame[(frame["family"] == f) & (frame["alg"] == a)] for f, a in product(families, algs)
    )
    return [curves(cell, "dial", "gap", "prior") for cell in cells]


def consistent() -> list[Curves]:
    frame = stored("consistency")
    full = frame[frame["rung"] == "full"]
    return [
        *panels(frame, "prior", "lam", "error", "rung"),
        *panels(full, "prior", "lam", "gradient norm", "rung"),
    ]


def varied() -> list[Curves]:
    frame = stored("variance").query("split == 'test'")
    found: Curves = {}
    for prior, part in frame.groupby("prior"):
        mean = part.groupby("ice")[["variance", "gap"]].mean().sort_values("variance")
        found[LABELS.get(str(prior), str(prior))] = (
            mean["variance"].tolist(),
            mean["gap"].tolist(),
        )
    return [found]


def laboratory() -> list[Curves]:
    frame = stored("laboratory").query("quantity == 'curvature'")
    frame = frame[frame["estimator"].isin(plots_shown())]
    return [
        found
        for column in ("bias", "deviation", "error")
        for found in panels(frame, "problem", "episodes", column, "estimator", "median")
    ]


def plots_shown() -> tuple[str, ...]:
    from bomrl_lite.course.plots.estimators import SHOWN

    return SHOWN


def ratios() -> list[Curves]:
    frame = stored("q_gradient").query("lam == 2.0")
    frame = frame.assign(ratio=frame["whole error"] / frame["dropped"])
    problems, sizes = (list(dict.fromkeys(frame[column])) for column in ("problem", "episodes"))
    cells = (
        frame[(frame["problem"] == p) & (frame["episodes"] == n)]
        for p, n in product(problems, sizes)
    )
    return [curves(cell, "trace", "ratio", "estimator", "median") for cell in cells]


def methods(name: str) -> list[Curves]:
    """A dot per method and adaptation, best first; on the left the best two thirds after one."""
    frame = stored(name)
    means = frame[frame["step"] > 0].groupby(["method", "step"])["return"].mean().unstack()
    ranked = means.dropna(subset=[1]).sort_values(1, ascending=False)
    front = [value for row, value in enumerate(ranked[1]) if 3 * row <= 2 * len(ranked)]
    whole: Curves = {str(step): ([], ranked[step].dropna().tolist()) for step in (1, 2, 3)}
    return [{"1": ([], front)}, whole]


def over_episodes() -> list[Curves]:
    frame = stored("episodes")
    both = (
        frame["trained_with"] == frame["episodes"],
        frame["trained_with"] == frame["trained_with"].max(),
    )
    return [
        curves(frame[which], "episodes", "return", "method", names=plots.METHOD_LABELS)
        for which in both
    ]


def over_arcs() -> list[Curves]:
    frame = stored("heterogeneity")
    width = frame["tasks"].str.extract(r"arc-(\d+)")[0].astype(float).fillna(360.0)
    frame = frame.assign(width=width)
    return [
        curves(frame, "width", c, "method", names=plots.METHOD_LABELS) for c in ("before", "return")
    ]


def over_goals() -> list[Curves]:
    frame = stored("training_goals")
    return [
        curves(at(frame, split=s), "goals", "return", "method", names=plots.METHOD_LABELS)
        for s in ("train", "test")
    ]


def over_windows() -> list[Curves]:
    frame = at(stored("delayed"), split="test")
    return [
        curves(frame, "window", c, "method", names=plots.METHOD_LABELS)
        for c in ("before", "return")
    ]


def over_lam() -> list[Curves]:
    """The fixed ones as a line of means, and a dot for every seed of the trained ones."""
    found = list[Curves]()
    for _, part in stored("lams").groupby("case", sort=False):
        fixed = at(part, learnt="no").assign(learnt="lam fixed")
        learnt = at(part, learnt="yes").sort_values(["start", "seed"])
        first = learnt[learnt["start"] == learnt["start"].min()]
        dots = {"lam trained, where it ended": (first["end"].tolist(), first["return"].tolist())}
        found.append(curves(fixed, "start", "return", "learnt") | dots)
    return found


def of_networks() -> list[Curves]:
    frame = stored("condition_networks")
    return [
        {
            column: (list(means.index), means.tolist())
            for column in ("largest", "median")
            for means in [at(frame, method=arm).groupby("iteration")[column].mean()]
        }
        for arm in ("BO-MRL head", "BO-MRL")
    ]


def over_spreads() -> list[Curves]:
    """Four collections less one, seed by seed, over degrees and over metres per second."""
    widths = (
        {"navigation/arc-45": 45, "navigation/arc-90": 90, "navigation/arc-180": 180}
        | {"navigation/circle": 360},
        {"cheetah/band-0.25": 0.5, "cheetah/band-0.5": 1.0, "cheetah/band-1": 2.0},
    )
    found = list[Curves]()
    for places in widths:
        rows = [
            {"method": method, "width": places[str(tasks)], "gain": four - one}
            for (method, tasks, _), part in stored("spreads").groupby(["method", "tasks", "seed"])
            if tasks in places
            for one, four in [part.sort_values("collections")["return"]]
        ]
        found.append(
            curves(pd.DataFrame(rows), "width", "gain", "method", names=plots.METHOD_LABELS)
        )
    return found


def of_levers() -> list[Curves]:
    """A dot per lever, from the top, and number of adaptations."""
    frame = stored("levers")
    means = frame.groupby(["method", "adaptations"])["return"].mean().unstack()
    means = means.loc[list(dict.fromkeys(frame["method"]))]
    return [{str(step): ([], means[step].tolist()) for step in (1, 2)}]


def profiles() -> list[Curves]:
    """At each of 201 levels the share of seeds above it, counted one by one."""
    one = at(stored("cheetah_direction"), kind="steps", adaptations=1)
    levels = np.linspace(one["return"].min() - 1, one["return"].max(), 201).tolist()
    found: Curves = {}
    for method, part in one.groupby("method"):
        returns = part["return"].tolist()
        shares = [sum(value > level for value in returns) / len(returns) for level in levels]
        found[str(method)] = (levels, shares)
    return [found]


def one_direction() -> list[Curves]:
    frame = stored("ant_forward").assign(start=lambda rows: rows["log_std"].astype(str))
    return [curves(frame, "iteration", "return", "start")]


def long_ants() -> list[Curves]:
    frame = stored("ant_direction_long").query("kind == 'training'")
    return [curves(frame, "iteration", y, "method") for y in ("before", "return")]


def sampled_lakes() -> list[Curves]:
    frame = stored("sampled_lakes").query("alg == 'bomrl_d2'")
    frame = frame.assign(
        prior=frame["prior"].str.replace("bomrl_d2 lam", "BO-MRL, D2, lam", regex=False)
    )
    return panels(frame, "family", "episodes", "gap", "prior")


def collections() -> list[Curves]:
    frame = stored("collections")
    parts = sorted(set(frame["collections"]))
    after = frame.assign(x=[parts.index(count) + 1 for count in frame["collections"]])
    first = frame[frame["collections"] == parts[0]]
    before = first.assign(x=0, **{"return": first["before"]})
    return [curves(pd.concat([before, after]), "x", "return", "method")]


def trained() -> list[Curves]:
    frame = TRAINING.assign(
        line=[
            f"{plots.METHOD_LABELS[m]}, {w}"
            for m, w in zip(TRAINING["method"], TRAINING["when"], strict=True)
        ]
    )
    return [curves(frame, "iteration", "return", "line")]


def worst_tasks() -> Curves:
    found = {}
    for distance, road in product(("D1", "D2"), ("by state", "in logits")):
        worst = (
            CONDITIONS[CONDITIONS["distance"] == distance].groupby("lam")[f"error: {road}"].max()
        )
        found[f"{distance}, {road}"] = (worst.index.tolist(), worst.tolist())
    return found


def at(frame: pd.DataFrame, **values: Any) -> pd.DataFrame:
    for name, value in values.items():
        frame = frame[frame[name] == value]
    return frame


def stored_figure(name: str) -> Callable[[], Figure]:
    return lambda: plots.draw_experiment(name, stored(name))


CASES: dict[str, Case] = {
    "curves.training_curves": Case(
        lambda: plots.training_curves(HISTORY, optimum=1.0),
        lambda: [
            curves(HISTORY, "iteration", c, "method") for c in ("return_before", "return_after")
        ],
    ),
    "curves.gap_bars": Case(
        lambda: plots.gap_bars(GAPS),
        lambda: panels(GAPS, "split", "step", "gap", "prior"),
        aside=0.4,
    ),
    "curves.return_over_step_size": Case(
        lambda: plots.return_over_step_size(CURVE, chosen=10.0),
        lambda: [
            curves(
                CURVE.assign(task=[f"task {t}" for t in CURVE["task"]]),
                "step_size",
                "return",
                "task",
            )
        ],
    ),
    "curves.gap_over_tasks": Case(
        lambda: plots.gap_over_tasks(BY_COUNT),
        lambda: [curves(BY_COUNT, "num_tasks", "gap", "tasks")],
    ),
    "curves.gap_over_steps": Case(
        lambda: plots.gap_over_steps(REUSE), lambda: panels(REUSE, "prior", "steps", "gap", "data")
    ),
    "curves.gap_against_stationarity": Case(lambda: plots.gap_against_stationarity(GUARANTEE, 1.6)),
    "estimators.laboratory_figure": Case(stored_figure("laboratory"), laboratory),
    "estimators.q_gradient_figure": Case(stored_figure("q_gradient"), ratios),
    "experiments.returns_figure": Case(stored_figure("returns"), returned, aside=0.4),
    "experiments.bounds_figure": Case(stored_figure("bounds"), bounded, aside=0.4),
    "experiments.variance_figure": Case(stored_figure("variance"), varied),
    "experiments.consistency_figure": Case(stored_figure("consistency"), consistent),
    "experiments.condition_figure": Case(stored_figure("condition"), conditioned),
    "experiments.sensitivity_figure": Case(stored_figure("sensitivity"), sensitive),
    "predictions.calibration": Case(
        lambda: plots.calibration([(50, True), (60, False), (60, True), (95, False)]),
        lambda: [{"you": ([170 / 3, 95.0], [200 / 3, 0.0])}],
    ),
    "geometry.distance_balls": Case(lambda: plots.distance_balls(PRIOR, balls(), 0.2)),
    "geometry.adaptation_paths": Case(
        lambda: plots.adaptation_paths(
            PRIOR,
            lambda grid: grid[:, 1] + 0.9 * grid[:, 2],
            paths(),
            {n: p[3] for n, p in paths().items()},
        )
    ),
    "geometry.adapted_lake": Case(
        lambda: plots.adapted_lake(
            MAPS[0], {"before": UNIFORM, "after": UNIFORM}, {"before": VALUES, "after": VALUES}
        )
    ),
    "geometry.reduction_errors": Case(
        lambda: plots.reduction_errors(REDUCTIONS),
        lambda: [curves(REDUCTIONS, "lam", "difference", "reduction")],
    ),
    "geometry.bound_along_line": Case(
        lambda: plots.bound_along_line(LINE), lambda: [curves(LINE, "t", "value", "what")]
    ),
    "geometry.returns_over_steps": Case(
        lambda: plots.returns_over_steps(RETURNS, optimum=1.6, what="steps", log=True),
        lambda: panels(RETURNS, "prior", "step", "return", "kind"),
    ),
    "hypergradients.implicit_function_picture": Case(plots.implicit_function_picture),
    "hypergradients.errors_over_iterations": Case(
        lambda: plots.errors_over_iterations(ITERATING),
        lambda: panels(ITERATING, "problem", "iterations", "error", "solver", "median"),
    ),
    "hypergradients.ladder_errors": Case(
        lambda: plots.ladder_errors(LADDER),
        lambda: [
            grouped(found, ["naive", "frozen", "q_gradient", "full"])
            for found in panels(LADDER, "policy", "rung", "error", "distance", "median")
        ],
        aside=0.4,
    ),
    "hypergradients.cost_of_inner_steps": Case(
        lambda: plots.cost_of_inner_steps(INNER, COSTS),
        lambda: [
            curves(INNER, "steps", "error", "method", "median"),
            curves(COSTS, "steps", "seconds", "method"),
            curves(COSTS.assign(bytes=COSTS["bytes"] / 1e3), "steps", "bytes", "method"),
        ],
    ),
    "hypergradients.condition_over_lam": Case(
        lambda: plots.condition_over_lam(CONDITIONS),
        lambda: [curves(CONDITIONS, "lam", "condition", "distance", "median"), worst_tasks()],
    ),
    "hypergradients.hypergradient_error": Case(
        lambda: plots.hypergradient_error(WIDGET, 1.0, 10, "unrolled"),
        lambda: [
            curves(at(WIDGET, lam=1.0), "steps", "error", "solver", "median"),
            curves(at(WIDGET, steps=10), "lam", "error", "solver", "median"),
        ],
    ),
    "lams.lams_figure": Case(stored_figure("lams"), over_lam),
    "lams.networks_condition_figure": Case(stored_figure("condition_networks"), of_networks),
    "lams.spreads_figure": Case(stored_figure("spreads"), over_spreads),
    "lakes.draw_lake": Case(lambda: plots.draw_lake(MAPS[0], VALUES, UNIFORM, title="occupancy")),
    "lakes.draw_lakes": Case(
        lambda: plots.draw_lakes(
            MAPS,
            [[VALUES] * 3] * 2,
            [[UNIFORM] * 3] * 2,
            row_titles=["before", "after"],
            column_titles=list("ABC"),
        )
    ),
    "locomotion.draw_filmstrip": Case(lambda: plots.draw_filmstrip(clips(), count=3)),
    "pictures.bilevel_picture": Case(plots.bilevel_picture),
    "pictures.meta_learning_picture": Case(plots.meta_learning_picture),
    "robots.contact_sheet": Case(
        lambda: plots.contact_sheet(
            {name: np.full((120, 160, 3), 90, np.uint8) for name in "abcde"}
        )
    ),
    "robots.cost_per_step": Case(
        lambda: plots.cost_per_step(ROBOT_COSTS),
        lambda: [curves(ROBOT_COSTS, "robots", "microseconds", "who")],
    ),
    "robots.throughput": Case(
        lambda: plots.throughput(RATES), lambda: [curves(RATES, "robots", "rate", "backend")]
    ),
    "robots.time_bars": Case(lambda: plots.time_bars(TIMES)),
    "robots.family_figure": Case(
        lambda: robots.family_figure(stored("cheetah_velocity"), family="cheetah/velocity"),
        lambda: family("velocity"),
        aside=0.3,
    ),
    "robots.collections_figure": Case(stored_figure("collections"), collections, aside=0.3),
    "robots.robot_tuning_figure": Case(stored_figure("cheetah_tuning")),
    "robots.performance_profiles": Case(
        lambda: plots.performance_profiles(stored("cheetah_direction")), profiles
    ),
    "robots.levers_figure": Case(stored_figure("levers"), of_levers),
    "robots.forward_figure": Case(stored_figure("ant_forward"), one_direction),
    "robots.long_ants_figure": Case(stored_figure("ant_direction_long"), long_ants),
    "runs.draw_learning_curves": Case(
        lambda: plots.draw_learning_curves(RUNS),
        lambda: [curves(RUNS, "iteration", "return_after", "curve")],
    ),
    "open_questions.gaps_by_task_count": Case(
        lambda: plots.gaps_by_task_count(OF_COUNT),
        lambda: panels(OF_COUNT, "split", "num_tasks", "gap", "prior"),
    ),
    "open_questions.gap_by_movement": Case(lambda: plots.gap_by_movement(MOVEMENT), movement),
    "open_questions.signal_by_length": Case(
        lambda: plots.signal_by_length(SIGNAL, DOTTED),
        lambda: [curves(SIGNAL, "length", c, "episodes") for c in ("silent", "earned")],
    ),
    "sampled.methods_figure": Case(stored_figure("navigation"), lambda: methods("navigation")),
    "sampled.tuning_figure": Case(stored_figure("navigation_tuning")),
    "sampled.episodes_figure": Case(stored_figure("episodes"), over_episodes),
    "sampled.heterogeneity_figure": Case(stored_figure("heterogeneity"), over_arcs),
    "sampled.training_goals_figure": Case(stored_figure("training_goals"), over_goals),
    "sampled.delayed_figure": Case(stored_figure("delayed"), over_windows),
    "sampled.sampled_lakes_figure": Case(stored_figure("sampled_lakes"), sampled_lakes),
    "sampled.inner_steps_figure": Case(
        stored_figure("inner_steps"),
        lambda: [
            curves(stored("inner_steps"), "steps", c, "way", "median")
            for c in ("error", "seconds", "megabytes")
        ],
    ),
    "sampled.draw_walks": Case(lambda: plots.draw_walks(walks(), CORNERS, radius=0.9)),
    "sampled.sampled_training_curves": Case(
        lambda: plots.sampled_training_curves(TRAINING), trained
    ),
    "sampled.ascent_fields": Case(
        lambda: plots.ascent_fields(
            {"formulation I": hill, "formulation II": hill},
            {"formulation I": ASCENTS, "formulation II": ASCENTS},
            labels=("mu", "log sigma"),
        )
    ),
    "theory.dial_setting": Case(
        lambda: plots.dial_setting(
            MAPS, torch.stack([UNIFORM] * 3), [(0.1, 0.2), (0.5, 0.9)], (0.1, 0.2)
        )
    ),
    "theory.convergence": Case(
        lambda: plots.convergence(AVERAGES, {"0": (0.0, 1.0, 0.1), "1": (0.1, 0.5, 0.2)}),
        lambda: [curves(AVERAGES.assign(seed="seed " + AVERAGES["seed"]), "T", "average", "seed")],
    ),
    "theory.proof_steps": Case(lambda: plots.proof_steps(PROOF)),
    "theory.smoothing_caveat": Case(
        lambda: plots.smoothing_caveat(CAVEAT),
        lambda: [
            curves(
                CAVEAT.assign(line=CAVEAT["distance"] + ", " + CAVEAT["family"]),
                "smoothing",
                "variance",
                "line",
            )
        ],
    ),
    "distances in their colours": Case(
        lambda: plots.returns_over_steps(DISTANCES, optimum=1.6, what="adaptations"),
        lambda: panels(DISTANCES, "prior", "step", "return", "kind"),
    ),
    "corners": Case(stored_figure("corners"), lambda: methods("corners")),
    "a lake of a lesson": Case(
        lambda: widgets.lake_explorer(PHI, MAPS, TASKS, lambda p, t: p, **EXACT)[1](0)
    ),
    "a step on a landscape": Case(lambda: widgets.step_size_explorer(PHI, TASKS, **EXACT)[1](10.0)),
    "a direction of robots": Case(
        lambda: robots.family_figure(stored("cheetah_direction"), family="cheetah/direction"),
        lambda: family("direction"),
        aside=0.3,
    ),
}
"""Functions by module and name, and further figures that the widgets make of them."""
