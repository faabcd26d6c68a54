r"""The experiments on near-optimality (lesson 05): each one command, one table and one figure.

    python -m bomrl_lite experiment returns

writes ``notebooks/results/returns.csv`` and, beside it, ``returns.json``: the command, the
configuration, the seeds and the versions that made it. Meta-trainings are kept in run folders under
``runs/experiments/``, so a stopped experiment goes on where it was.
"""

import csv
import hashlib
import importlib.metadata
import io
import itertools
import json
import platform
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.func import vmap

from bomrl_lite.adaptation import adapt, adapt_to_task, gradient_step, policy_return
from bomrl_lite.distances import DISTANCES, STATE_DISTANCES, d2
from bomrl_lite.evaluate import gap_rows
from bomrl_lite.files import write_atomically
from bomrl_lite.meta_gradients import bomrl
from bomrl_lite.one_time_data import DATA_FUNCTIONS, full_data
from bomrl_lite.policywise import condition_numbers, policywise_curvature
from bomrl_lite.theory import (
    distance_to_optimum,
    illustrative_gap_bound,
    rigorous_gap_bound,
    rigorous_lambda,
    task_variance,
)
from bomrl_lite.train import (
    MetaConfig,
    make_problem,
    meta_step,
    meta_train,
    seeded,
    start_state,
)
from bomrl_lite.types import Adaptation, Params, TabularPolicy, TabularTask

Row = dict[str, float | int | str]

FAMILIES = {"high variance": "frozen_lake/holes-4x4", "low variance": "frozen_lake/costs-4x4"}
"""The two families of Xu and Zhu (2410.09728)."""

MATCHED = {"bomrl_d1": 0.3, "bomrl_d2": 0.3, "bomrl_d3": 0.003, "maml": 30.0}
"""lam, or for MAML alpha, at training and at test: each the best of its grid in ``sensitivity`` on
the training lakes of the high-variance family, or within its spread."""

GRIDS = {
    "bomrl_d1": (0.03, 0.1, 0.3, 1.0, 3.0),
    "bomrl_d2": (0.03, 0.1, 0.3, 1.0, 3.0),
    "bomrl_d3": (0.003, 0.01, 0.03),
    "maml": (3.0, 10.0, 30.0, 100.0, 300.0),
}
"""Dials that ``sensitivity`` tries."""

PUBLISHED = {
    "high variance": {"train": 5.0, "bomrl_d1": 0.1, "bomrl_d2": 0.2},
    "low variance": {"train": 4.0, "bomrl_d1": 0.05, "bomrl_d2": 0.1},
}
"""lam of the published Frozen Lake code: that of training, and the 20 to 80 times smaller one of
the test; an untrained prior is tested with twice the latter."""

LAMBDAS = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0)
"""lam of ``consistency``."""

SMOOTHING = 1e-2
"""eps of the optimum in D1, which is infinitely far from a deterministic one."""


@dataclass(frozen=True)
class Scale:
    """How large an experiment is."""

    seeds: int = 5
    iterations: int = 150
    num_tasks: int = 20
    num_test: int = 20


class Experiment(NamedTuple):
    """A table of results and how it is made."""

    summary: str
    rows: Callable[[int, Scale, "Trained"], Iterator[Row]]
    """(seed, scale, trainer) -> rows of that seed."""


Trained = Callable[[MetaConfig], Params]
"""Configuration -> meta-parameters: trained now, or found in their run folder."""


class Setting(NamedTuple):
    """What the rows of one family and seed share."""

    config: MetaConfig
    policy: TabularPolicy
    gamma: float
    splits: dict[str, TabularTask]
    untrained: Params

    @property
    def exact(self) -> dict[str, Any]:
        """Keyword arguments of everything that is computed exactly."""
        return {"policy": self.policy, "gamma": self.gamma}


def run(
    name: str,
    *,
    scale: Scale,
    out: Path,
    runs: Path,
    progress: Callable[[str], None] = lambda line: None,
) -> Path:
    """Run an experiment and write its table and the record of where it comes from.

    Args:
        name: key of :data:`EXPERIMENTS`.
        scale: how large.
        out: folder of the table.
        runs: folder of the meta-trainings.
        progress: called with a line of text after every seed.

    Raises:
        ValueError: no such experiment.
    """
    if name not in EXPERIMENTS:
        raise ValueError(f"no experiment is called {name!r}; known are {', '.join(EXPERIMENTS)}")
    torch.set_num_threads(1)
    start, rows = time.process_time(), []
    for seed in range(scale.seeds):
        rows += EXPERIMENTS[name].rows(seed, scale, partial(train_once, runs=runs))
        seconds = time.process_time() - start
        progress(f"{name}: seed {seed + 1} of {scale.seeds} done, {seconds:.0f} CPU-seconds")
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows({k: _short(v) for k, v in row.items()} for row in rows)
    write_atomically(out / f"{name}.csv", text.getvalue().encode())
    origin = {
        "experiment": EXPERIMENTS[name].summary,
        "command": f"python -m bomrl_lite experiment {name} --seeds {scale.seeds} "
        f"--iterations {scale.iterations}",
        "scale": asdict(scale),
        "dials": {"matched": MATCHED, "grids": GRIDS, "published": PUBLISHED},
        "versions": _versions(),
    }
    write_atomically(out / f"{name}.json", (json.dumps(origin, indent=1) + "\n").encode())
    return out / f"{name}.csv"


def train_once(config: MetaConfig, *, runs: Path) -> Params:
    """Meta-train, or go on with the run folder of this very configuration."""
    digest = hashlib.sha256(json.dumps(asdict(config), sort_keys=True).encode()).hexdigest()[:12]
    return meta_train(config, out=runs / f"{config.method}-{digest}", resume=True).phi


def returns(seed: int, scale: Scale, train: Trained) -> Iterator[Row]:
    """(a) Returns after 0 to 4 adaptation steps, with matched and with the published dials."""
    for family, tasks in FAMILIES.items():
        here = _setting(tasks, seed, scale)
        for setting, prior, alg, phi, adaptation in _contestants(family, here, train):
            for split, batch in here.splits.items():
                labels = {"setting": setting, "family": family, "prior": prior, "alg": alg}
                labels |= {"split": split, "seed": str(seed)}
                yield from _mean_rows(phi, batch, adaptation, here, labels, num_steps=4)


def _contestants(
    family: str, here: Setting, train: Trained
) -> Iterator[tuple[str, str, str, Params, Adaptation]]:
    """Yield (setting, prior, alg, phi, adaptation) of everything that ``returns`` compares."""
    config, algs = here.config, {name: _alg(name, MATCHED[name], here) for name in MATCHED}
    joint = train(replace(config, method="joint"))
    maml = train(replace(config, method="maml", step_size=MATCHED["maml"]))
    first = replace(config, method="first_order_bomrl", distance="d2", lam=MATCHED["bomrl_d2"])
    for prior, phi in (("untrained", here.untrained), ("joint", joint), ("maml", maml)):
        for alg in ("maml", "bomrl_d2"):
            yield "matched", prior, alg, phi, algs[alg]
    yield "matched", "first_order_bomrl", "bomrl_d2", train(first), algs["bomrl_d2"]
    for name in ("bomrl_d1", "bomrl_d2", "bomrl_d3"):
        yield "matched", name, name, train(_bomrl(config, name, MATCHED[name])), algs[name]
    dials = PUBLISHED[family]
    step = _alg("maml", 50.0, here)
    for name in ("bomrl_d1", "bomrl_d2"):
        phi = train(_bomrl(config, name, dials["train"]))
        yield "published", name, name, phi, _alg(name, dials[name], here)
        yield "published", name, "maml", phi, step
        yield "published", "untrained", name, here.untrained, _alg(name, 2 * dials[name], here)
    yield "published", "maml", "maml", train(replace(config, method="maml", step_size=50.0)), step


def bounds(seed: int, scale: Scale, train: Trained) -> Iterator[Row]:
    """(b) The gap after one step beside the bounds on it, for the three distances."""
    for family, tasks in FAMILIES.items():
        here = _setting(tasks, seed, scale)
        for name in ("bomrl_d1", "bomrl_d2", "bomrl_d3"):
            lam = MATCHED[name]
            phi = train(_bomrl(here.config, name, lam))
            for split, batch in here.splits.items():
                labels: Row = {"family": family, "prior": name, "split": split, "seed": seed}
                for quantity, value in _bound_figures(phi, batch, name, lam, here).items():
                    yield {**labels, "lam": lam, "quantity": quantity, "value": value}


def _bound_figures(
    phi: Params, tasks: TabularTask, name: str, lam: float, here: Setting
) -> dict[str, float]:
    """Compute the gap and the bounds; the rigorous one is proved for the KL distances alone."""
    distance = _distance(name)
    before, after = _mean_gaps(phi, tasks, _alg(name, lam, here), here)
    smoothing = 0.0 if distance is d2 else SMOOTHING
    apart = vmap(
        lambda task: distance_to_optimum(
            phi, task, distance=distance, smoothing=smoothing, **here.exact
        )
    )(tasks).mean()
    figures = {
        "gap without adaptation": before,
        "gap after one step": after,
        "distance to the optima": apart.item(),
        "illustrative bound": illustrative_gap_bound(apart, lam=lam, gamma=here.gamma).item(),
    }
    if distance is d2:
        least = vmap(lambda task: rigorous_lambda(phi, task, **here.exact))(tasks)
        strict = vmap(lambda t, x: rigorous_gap_bound(phi, t, lam=x, **here.exact))(tasks, least)
        figures["rigorous lam_0"] = least.mean().item()
        figures["rigorous bound at lam_0"] = strict.mean().item()
    return figures


def variance(seed: int, scale: Scale, train: Trained) -> Iterator[Row]:
    """(c) The gap after one step against the task variance, on lakes with less and less ice."""
    for ice in (1.0, 0.95, 0.9, 0.8, 0.7):
        here = _setting(f"probe/ice-{ice:g}", seed, scale)
        spread, _, _ = task_variance(here.splits["test"], **here.exact)
        priors = {
            "untrained": ("bomrl_d2", here.untrained),
            "maml": ("maml", train(replace(here.config, method="maml", step_size=MATCHED["maml"]))),
            "bomrl_d2": ("bomrl_d2", train(_bomrl(here.config, "bomrl_d2", MATCHED["bomrl_d2"]))),
        }
        for prior, (alg, phi) in priors.items():
            adaptation = _alg(alg, MATCHED[alg], here)
            for split, batch in here.splits.items():
                apart = vmap(partial(distance_to_optimum, phi, **here.exact))(batch)
                bound = illustrative_gap_bound(
                    apart.mean(), lam=MATCHED["bomrl_d2"], gamma=here.gamma
                )
                yield {
                    "ice": ice,
                    "prior": prior,
                    "split": split,
                    "seed": seed,
                    "variance": spread.item(),
                    "distance": apart.mean().item(),
                    "illustrative bound": bound.item(),
                    "gap": _mean_gaps(phi, batch, adaptation, here)[1],
                }


def consistency(seed: int, scale: Scale, train: Trained) -> Iterator[Row]:
    """(d) Error of the hypergradient of each rung over lam, against central differences."""
    del train
    here = _setting(FAMILIES["high variance"], seed, replace(scale, num_tasks=1, num_test=1))
    task = TabularTask(*(field[0] for field in here.splits["training"]))
    draw = {"dtype": torch.float64, "generator": seeded(seed, stream=9)}
    logits = torch.randn(16, 4, **draw)
    for name, lam in itertools.product(("bomrl_d1", "bomrl_d2", "bomrl_d3"), LAMBDAS):
        dials = {"distance": _distance(name), "lam": lam, **here.exact}

        def after(x: Tensor, dials: dict[str, Any] = dials) -> Tensor:
            theta = adapt_to_task({"logits": x}, task, **dials)
            return policy_return(theta, task, **here.exact)

        expected = _central_differences(after, logits)
        for rung, data in DATA_FUNCTIONS.items():
            vjp, info = bomrl({"logits": logits}, task, data=data, tolerance=torch.inf, **dials)
            error = (vjp["logits"] - expected).norm() / expected.norm()
            yield {
                "prior": name,
                "lam": lam,
                "rung": rung,
                "seed": seed,
                "error": error.item(),
                "gradient norm": expected.norm().item(),
                **{field: value.item() for field, value in info.inner._asdict().items()},
            }


def condition(seed: int, scale: Scale, train: Trained) -> Iterator[Row]:
    """(e) Condition numbers of M(s) of Proposition 1 during meta-training."""
    del train
    every = max(1, scale.iterations // 15)
    for name in ("bomrl_d1", "bomrl_d2"):
        for lam in (0.1, 0.3, 1.0):
            here = _setting(FAMILIES["high variance"], seed, scale)
            config = _bomrl(here.config, name, lam)
            problem = make_problem(config)
            state = start_state(config, problem)
            for iteration in range(scale.iterations + 1):
                if iteration % every == 0:
                    numbers = _condition(state.phi, here.splits["training"], name, lam, here)
                    yield {
                        "prior": name,
                        "lam": lam,
                        "seed": seed,
                        "iteration": iteration,
                        "median": numbers.median().item(),
                        "largest": numbers.max().item(),
                    }
                if iteration < scale.iterations:
                    meta_step(state, problem.tasks, problem.meta_gradient)


def _condition(phi: Params, tasks: TabularTask, name: str, lam: float, here: Setting) -> Tensor:
    """Return the condition number of M(s), all tasks and states, [N * S]."""

    def of_one_task(task: TabularTask) -> Tensor:
        data, distance = full_data(phi, task, **here.exact), _distance(name)
        theta, _ = adapt(phi, data, policy=here.policy, distance=distance, lam=lam)
        log_theta = here.policy.log_probs(theta)
        return policywise_curvature(
            data.log_probs, log_theta, state_distance=STATE_DISTANCES[distance]
        )

    return condition_numbers(vmap(of_one_task)(tasks)).flatten()


def sensitivity(seed: int, scale: Scale, train: Trained) -> Iterator[Row]:
    """(f) The gap after one step over lam (for MAML over alpha), equal at training and test."""
    for family, tasks in FAMILIES.items():
        here = _setting(tasks, seed, scale)
        for name, grid in GRIDS.items():
            for dial in grid:
                config = (
                    replace(here.config, method="maml", step_size=dial)
                    if name == "maml"
                    else _bomrl(here.config, name, dial)
                )
                adaptation = _alg(name, dial, here)
                for prior, phi in ((name, train(config)), ("untrained", here.untrained)):
                    for split, batch in here.splits.items():
                        before, after = _mean_gaps(phi, batch, adaptation, here)
                        labels: Row = {"family": family, "alg": name, "dial": dial, "prior": prior}
                        labels |= {"split": split, "seed": seed}
                        yield {**labels, "gap before": before, "gap": after}


EXPERIMENTS = {
    "returns": Experiment("returns after 0 to 4 adaptation steps", returns),
    "bounds": Experiment("gap after one step beside its bounds", bounds),
    "variance": Experiment("gap after one step against task variance", variance),
    "consistency": Experiment("error of the hypergradient of each rung over lam", consistency),
    "condition": Experiment("condition number of M(s) during meta-training", condition),
    "sensitivity": Experiment("gap after one step over lam", sensitivity),
}
"""The experiments by name, as the command line knows them."""


def _setting(tasks: str, seed: int, scale: Scale) -> Setting:
    config = MetaConfig(
        tasks=tasks, seed=seed, num_tasks=scale.num_tasks, iterations=scale.iterations
    )
    problem = make_problem(config)
    test = problem.distribution.sample(scale.num_test, seeded(seed, stream=2), "test")
    untrained = start_state(config, problem).phi
    splits = {"training": problem.tasks, "test": test}
    return Setting(config, problem.policy, problem.distribution.gamma, splits, untrained)


def _distance(name: str) -> Callable[..., Tensor]:
    return DISTANCES[name.removeprefix("bomrl_")]


def _bomrl(config: MetaConfig, name: str, lam: float) -> MetaConfig:
    return replace(config, method="bomrl", distance=name.removeprefix("bomrl_"), lam=lam)


def _alg(name: str, dial: float, here: Setting) -> Adaptation:
    """Return MAML's step with alpha = dial, or Alg with a distance and lam = dial."""
    if name == "maml":
        return partial(gradient_step, step_size=dial, **here.exact)
    return partial(adapt_to_task, distance=_distance(name), lam=dial, **here.exact)


def _mean_rows(
    phi: Params,
    tasks: TabularTask,
    adaptation: Adaptation,
    here: Setting,
    labels: dict[str, str],
    num_steps: int,
) -> Iterator[Row]:
    """Yield one row per number of steps: mean return and gap over the tasks."""
    rows = gap_rows(phi, tasks, adaptation, num_steps=num_steps, **here.exact)
    for step in range(num_steps + 1):
        mine = [row for row in rows if row["step"] == step]
        means = {k: sum(float(row[k]) for row in mine) / len(mine) for k in ("return", "gap")}
        yield {**labels, "step": step, **means}


def _mean_gaps(
    phi: Params, tasks: TabularTask, adaptation: Adaptation, here: Setting
) -> tuple[float, float]:
    """Return the mean gap before and after one adaptation."""
    before, after = (float(r["gap"]) for r in _mean_rows(phi, tasks, adaptation, here, {}, 1))
    return before, after


def _central_differences(
    function: Callable[[Tensor], Tensor], x: Tensor, h: float = 1e-3
) -> Tensor:
    """Return the gradient by fourth-order central differences, all entries at once."""
    steps = h * torch.eye(x.numel(), dtype=x.dtype).reshape(-1, *x.shape)
    moved = vmap(lambda step: torch.stack([function(x + k * step) for k in (1, -1, 2, -2)]))(steps)
    near, far = moved[:, 0] - moved[:, 1], moved[:, 2] - moved[:, 3]
    return ((8 * near - far) / (12 * h)).reshape(x.shape)


def _short(value: float | int | str) -> float | int | str:
    return f"{value:.6g}" if isinstance(value, float) else value


def _versions() -> dict[str, str]:
    packages = ("torch", "numpy", "gymnasium")
    return {"python": platform.python_version()} | {
        package: importlib.metadata.version(package) for package in packages
    }
