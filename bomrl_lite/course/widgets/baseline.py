"""Sliders of lessons 00 and 01: held-out lakes, and the step size of MAML."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import ipywidgets
import matplotlib.pyplot as plt
import pandas as pd
import torch
from matplotlib.figure import Figure
from torch import Tensor
from torch.func import vmap

from bomrl_lite.adaptation.objective import policy_gradient, policy_return
from bomrl_lite.course import plots
from bomrl_lite.course.widgets.explorer import explorer
from bomrl_lite.mdp import state_values
from bomrl_lite.solvers.linear import add_scaled, dot, norm
from bomrl_lite.tasks.frozen_lake import LakeMap
from bomrl_lite.types import Adaptation, Params, TabularPolicy, TabularTask

ALPHA = "\N{GREEK SMALL LETTER ALPHA}"


class Landscape(NamedTuple):
    """J of one task on a plane of parameters through phi, and how phi lies in it."""

    along: Tensor
    """[K] distances from phi along the gradient of J at phi."""
    across: Tensor
    """[K] distances across it."""
    returns: Tensor
    """[K, K] J at (across, along)."""
    slope: float
    """||grad J(phi)||: a step of size alpha goes alpha * slope along."""


def return_after_step(
    phi: Params,
    tasks: TabularTask,
    step_sizes: Sequence[float],
    *,
    policy: TabularPolicy,
    gamma: float,
) -> pd.DataFrame:
    """Compute J after one policy-gradient step of each size: columns task, step_size, return."""

    def returns(task: TabularTask) -> Tensor:
        gradient = policy_gradient(phi, task, policy=policy, gamma=gamma)
        return vmap(
            lambda a: policy_return(add_scaled(phi, a, gradient), task, policy=policy, gamma=gamma)
        )(torch.tensor(step_sizes, dtype=task.reward.dtype))

    table = vmap(returns)(tasks)
    return pd.DataFrame(
        {"task": n, "step_size": step, "return": value}
        for n, row in enumerate(table.tolist())
        for step, value in zip(step_sizes, row, strict=True)
    )


def one_step_landscape(
    phi: Params,
    task: TabularTask,
    largest_step: float,
    *,
    policy: TabularPolicy,
    gamma: float,
    resolution: int = 41,
) -> Landscape:
    """Compute J on the plane of two gradients: at phi, and after the largest step.

    The first gradient gives the direction of every inner step, the second shows where a second step
    on fresh data would turn to.
    """
    exact = {"policy": policy, "gamma": gamma}
    first = policy_gradient(phi, task, **exact)
    slope = norm(first)
    if slope == 0:
        raise ValueError("the gradient of J is 0 at phi: no step leaves it, choose another phi")
    ahead = add_scaled(phi, largest_step, first)
    second = policy_gradient(ahead, task, **exact)
    along = {name: leaf / slope for name, leaf in first.items()}
    side = add_scaled(second, -dot(second, along), along)
    # Parallel gradients leave no second direction: the plane is then drawn flat across.
    across = {name: leaf / norm(side).clamp_min(1e-300) for name, leaf in side.items()}
    reach = largest_step * slope.item()
    xs = torch.linspace(-0.1 * reach, 1.1 * reach, resolution, dtype=slope.dtype)
    ys = torch.linspace(-0.5 * reach, 0.5 * reach, resolution, dtype=slope.dtype)

    def height(y: Tensor, x: Tensor) -> Tensor:
        return policy_return(add_scaled(add_scaled(phi, x, along), y, across), task, **exact)

    returns = vmap(lambda y: vmap(lambda x: height(y, x))(xs))(ys)
    return Landscape(xs, ys, returns, slope.item())


def draw_landscape(landscape: Landscape, curve: pd.DataFrame, step_size: float) -> Figure:
    """Draw where a step of this size lands, and the return of every task over step sizes."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(plots.WIDTH, 3.6))
    contours = left.contourf(
        landscape.along, landscape.across, landscape.returns, levels=20, cmap=plots.VALUES
    )
    figure.colorbar(contours, ax=left, label="return J of task 0")
    landing = step_size * landscape.slope
    left.annotate(
        "", (landing, 0), (0, 0), arrowprops={"arrowstyle": "->", "color": "white", "lw": 2}
    )
    left.plot(0, 0, "o", color="white", markeredgecolor=plots.DARK, label=r"$\phi$")
    left.plot(
        landing, 0, "*", ms=13, color=plots.GOLD, markeredgecolor=plots.DARK, label=r"$\theta$"
    )
    left.legend(loc="upper left", frameon=True)
    left.set(
        xlabel=r"along $\nabla J(\phi)$", ylabel="across", title="one task, a plane of parameters"
    )
    plots.return_over_step_size(curve, chosen=step_size, ax=right)
    right.set_title("every task, one step")
    return figure


def step_size_explorer(
    phi: Params,
    tasks: TabularTask,
    *,
    policy: TabularPolicy,
    gamma: float,
    chosen: float = 10.0,
    largest: float = 40.0,
) -> tuple[ipywidgets.VBox, Callable[[float], Figure]]:
    """Return a slider over the inner step size, and the function that draws one position of it."""
    step_sizes = torch.logspace(-1, 3, 41).tolist()
    curve = return_after_step(phi, tasks, step_sizes, policy=policy, gamma=gamma)
    first = TabularTask(*(field[0] for field in tasks))
    landscape = one_step_landscape(phi, first, largest, policy=policy, gamma=gamma)

    def draw(step_size: float) -> Figure:
        return draw_landscape(landscape, curve, step_size)

    def describe(step_size: float) -> str:
        at = return_after_step(phi, tasks, [step_size], policy=policy, gamma=gamma)["return"]
        earned = f"mean return {at.mean():+.3f}, worst task {at.min():+.3f}"
        return f"step size {ALPHA} = {step_size:.1f}: {earned}"

    slider = ipywidgets.FloatSlider(
        chosen,
        min=0.5,
        max=largest,
        step=0.5,
        description=f"step size {ALPHA}",
        continuous_update=False,
    )
    return explorer(slider, draw, describe), draw


def lake_explorer(
    phi: Params,
    lake_maps: Sequence[LakeMap],
    tasks: TabularTask,
    adapt: Adaptation,
    *,
    policy: TabularPolicy,
    gamma: float,
) -> tuple[ipywidgets.VBox, Callable[[float], Figure]]:
    """Return a slider over tasks, and the function that draws one before and after adaptation."""

    def single(index: float) -> TabularTask:
        return TabularTask(*(field[int(index)] for field in tasks))

    def both(index: float) -> list[Tensor]:
        theta = adapt(phi, single(index))
        return [policy.log_probs(params).exp() for params in (phi, theta)]

    def draw(index: float) -> Figure:
        policies = both(index)
        values = [state_values(probs, single(index), gamma) for probs in policies]
        figure, axes = plt.subplots(1, 2, figsize=(plots.WIDTH, 4.3))
        low, high = min(v.min().item() for v in values), max(v.max().item() for v in values)
        for ax, probs, value, title in zip(
            axes, policies, values, ("before adaptation", "after adaptation"), strict=True
        ):
            earned = (single(index).start @ value).item()
            plots.draw_lake(
                lake_maps[int(index)],
                value,
                probs,
                ax=ax,
                title=f"{title}: J = {earned:+.2f}",
                value_range=(low, high),
            )
        names: tuple[str, ...] = ("before adaptation", "after adaptation")
        titled: list[dict[str, Tensor]] = [
            dict(zip(names, each, strict=True)) for each in (values, policies)
        ]
        figure.set_label(plots.describe_lakes([lake_maps[int(index)]], *titled))
        return figure

    def describe(index: float) -> str:
        before, after = (
            (single(index).start @ state_values(probs, single(index), gamma)).item()
            for probs in both(index)
        )
        return f"lake {int(index)}: return {before:+.3f} before, {after:+.3f} after adaptation"

    slider = ipywidgets.IntSlider(
        0, min=0, max=len(lake_maps) - 1, description="lake", continuous_update=False
    )
    return explorer(slider, draw, describe), draw
