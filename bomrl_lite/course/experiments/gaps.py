"""Experiments on returns and gaps: (a) returns, (b) bounds, (c) variance, (f) sensitivity."""

from collections.abc import Iterator
from functools import partial

from torch.func import vmap

from bomrl_lite.adaptation.distances import d2
from bomrl_lite.course.experiments.setting import (
    FAMILIES,
    MATCHED,
    Row,
    Scale,
    Setting,
    Train,
    alg_of,
    config_of,
    distance_of,
    make_setting,
    mean_gaps,
    mean_rows,
)
from bomrl_lite.theory import (
    distance_to_optimum,
    illustrative_gap_bound,
    rigorous_gap_bound,
    rigorous_lambda,
    task_variance,
)
from bomrl_lite.types import Adaptation, Params, TabularTask

GRIDS = {
    "bomrl_d1": (0.03, 0.1, 0.3, 1.0, 3.0),
    "bomrl_d2": (0.03, 0.1, 0.3, 1.0, 3.0),
    "bomrl_d3": (0.001, 0.003, 0.01, 0.03),
    "maml": (3.0, 10.0, 30.0, 100.0, 300.0),
}
"""What ``sensitivity`` tries: lam, or for MAML alpha."""

PUBLISHED = {
    "high variance": {"train": 5.0, "bomrl_d1": 0.1, "bomrl_d2": 0.2},
    "low variance": {"train": 4.0, "bomrl_d1": 0.05, "bomrl_d2": 0.1},
}
"""lam of the published Frozen Lake code: that of training, and the 20 to 80 times smaller one of
the test; an untrained prior is tested with twice the latter."""

SMOOTHING = 1e-2
"""eps of the optimum in D1, which is infinitely far from a deterministic one."""


def returns(seed: int, scale: Scale, train: Train) -> Iterator[Row]:
    """(a) Returns after 0 to 4 adaptation steps, with matched and with the published settings."""
    for family, tasks in FAMILIES.items():
        here = make_setting(tasks, seed, scale)
        for setting, prior, alg, phi, adaptation in _contestants(family, here, train):
            for split, batch in here.splits.items():
                labels = {"setting": setting, "family": family, "prior": prior, "alg": alg}
                labels |= {"split": split, "seed": str(seed)}
                yield from mean_rows(phi, batch, adaptation, here, labels, num_steps=4)


def _contestants(
    family: str, here: Setting, train: Train
) -> Iterator[tuple[str, str, str, Params, Adaptation]]:
    """Yield (setting, prior, alg, phi, adaptation) of everything that ``returns`` compares."""
    algs = {name: alg_of(name, MATCHED[name], here) for name in MATCHED}
    joint = train(here.config.replace(method="joint_finetuned")).phi
    maml = train(config_of("maml", MATCHED["maml"], here)).phi
    first = config_of("bomrl_d2", MATCHED["bomrl_d2"], here).replace(method="first_order_bomrl")
    for prior, phi in (("untrained", here.untrained), ("joint", joint), ("maml", maml)):
        for alg in ("maml", "bomrl_d2"):
            yield "matched", prior, alg, phi, algs[alg]
    yield "matched", "first_order_bomrl", "bomrl_d2", train(first).phi, algs["bomrl_d2"]
    for name in ("bomrl_d1", "bomrl_d2", "bomrl_d3"):
        phi = train(config_of(name, MATCHED[name], here)).phi
        yield "matched", name, name, phi, algs[name]
    published = PUBLISHED[family]
    step = alg_of("maml", 50.0, here)
    for name in ("bomrl_d1", "bomrl_d2"):
        phi, lam = train(config_of(name, published["train"], here)).phi, published[name]
        yield "published", name, name, phi, alg_of(name, lam, here)
        yield "published", name, "maml", phi, step
        yield "published", "untrained", name, here.untrained, alg_of(name, 2 * lam, here)
    yield "published", "maml", "maml", train(config_of("maml", 50.0, here)).phi, step


def bounds(seed: int, scale: Scale, train: Train) -> Iterator[Row]:
    """(b) The gap after one step beside the bounds on it, for the three distances."""
    for family, tasks in FAMILIES.items():
        here = make_setting(tasks, seed, scale)
        for name in ("bomrl_d1", "bomrl_d2", "bomrl_d3"):
            lam = MATCHED[name]
            phi = train(config_of(name, lam, here)).phi
            for split, batch in here.splits.items():
                labels: Row = {"family": family, "prior": name, "split": split, "seed": seed}
                for quantity, value in _bound_figures(phi, batch, name, lam, here).items():
                    yield {**labels, "lam": lam, "quantity": quantity, "value": value}


def _bound_figures(
    phi: Params, tasks: TabularTask, name: str, lam: float, here: Setting
) -> dict[str, float]:
    """Compute the gap and the bounds; the rigorous one is proved for the KL distances alone."""
    distance = distance_of(name)
    before, after = mean_gaps(phi, tasks, alg_of(name, lam, here), here)
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


def variance(seed: int, scale: Scale, train: Train) -> Iterator[Row]:
    """(c) The gap after one step against the task variance, on lakes with less and less ice."""
    for ice in (1.0, 0.95, 0.9, 0.8, 0.7):
        here = make_setting(f"probe/ice-{ice:g}", seed, scale)
        spread, _, _ = task_variance(here.splits["test"], **here.exact)
        priors = {"untrained": ("bomrl_d2", here.untrained)}
        priors |= {
            name: (name, train(config_of(name, MATCHED[name], here)).phi)
            for name in ("maml", "bomrl_d2")
        }
        for prior, (alg, phi) in priors.items():
            adaptation = alg_of(alg, MATCHED[alg], here)
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
                    "gap": mean_gaps(phi, batch, adaptation, here)[1],
                }


def sensitivity(seed: int, scale: Scale, train: Train) -> Iterator[Row]:
    """(f) The gap after one step over lam (for MAML over alpha), equal at training and test."""
    for family, tasks in FAMILIES.items():
        here = make_setting(tasks, seed, scale)
        for name, grid in GRIDS.items():
            for value in grid:
                phi, adaptation = train(config_of(name, value, here)).phi, alg_of(name, value, here)
                for prior, start in ((name, phi), ("untrained", here.untrained)):
                    for split, batch in here.splits.items():
                        before, after = mean_gaps(start, batch, adaptation, here)
                        labels: Row = {"family": family, "alg": name, "dial": value, "prior": prior}
                        labels |= {"split": split, "seed": seed}
                        yield {**labels, "gap before": before, "gap": after}
