"""Widget of lesson 05a: a dial for the task variance."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import ipywidgets
import torch
from matplotlib.figure import Figure
from torch import Tensor
from torch.func import vmap

from bomrl_lite.adaptation.distances import d2
from bomrl_lite.adaptation.objective import policy_return
from bomrl_lite.adaptation.solve import adapt_to_task
from bomrl_lite.course import plots
from bomrl_lite.course.widgets.explorer import explorer
from bomrl_lite.tasks.frozen_lake import HOLES, LakeMap, lake_tasks, random_map
from bomrl_lite.theory import optimal_actions, task_variance
from bomrl_lite.training.metrics import optimal_returns
from bomrl_lite.types import Params, TabularPolicy, TabularTask


class DialPoint(NamedTuple):
    """What one setting of the dial gives."""

    ice: float
    maps: list[LakeMap]
    optimal: Tensor
    """Optimal policies, uniform over optimal actions, [N, S, A]."""
    variance: float
    """Var(P(Gamma)) under D2."""
    gap: float
    """Mean gap after one adaptation from the policy in the middle."""
    middle: Params


def dial_point(
    ice: float,
    *,
    num_tasks: int,
    generator: torch.Generator,
    policy: TabularPolicy,
    gamma: float,
    lam: float,
) -> DialPoint:
    """Draw lakes with a share of ice; compute their variance and the gap from the middle policy."""
    maps = [random_map(4, generator, ice=ice) for _ in range(num_tasks)]
    tasks = lake_tasks(maps, HOLES)
    variance, middle, _ = task_variance(tasks, policy=policy, gamma=gamma)

    def after(task: TabularTask) -> Tensor:
        theta = adapt_to_task(middle, task, policy=policy, gamma=gamma, distance=d2, lam=lam)
        return policy_return(theta, task, policy=policy, gamma=gamma)

    gap = (optimal_returns(tasks, gamma) - vmap(after)(tasks)).mean().item()
    best = vmap(lambda task: optimal_actions(task, gamma))(tasks).to(tasks.reward.dtype)
    optimal = best / best.sum(-1, keepdim=True)
    return DialPoint(ice, maps, optimal, variance.item(), gap, middle)


def variance_explorer(
    points: Sequence[DialPoint],
) -> tuple[ipywidgets.VBox, Callable[[float], Figure]]:
    """Turn the dial: three lakes with their optimal policies, and where the setting lies.

    Returns:
        The widget, and the function that draws one setting: share of ice -> figure.
    """
    by_ice = {point.ice: point for point in points}
    others = [(point.variance, point.gap) for point in points]

    def draw(ice: float) -> Figure:
        point = by_ice[ice]
        return plots.dial_setting(
            point.maps[:3], point.optimal[:3], others, (point.variance, point.gap)
        )

    def describe(ice: float) -> str:
        point = by_ice[ice]
        return f"{ice:.0%} ice: variance {point.variance:.3f} nats, gap {point.gap:.3f}"

    options = [(f"{ice:.0%} ice", ice) for ice in by_ice]
    dial = ipywidgets.SelectionSlider(options=options, value=points[-1].ice, description="lakes")
    return explorer(dial, draw, describe), draw
