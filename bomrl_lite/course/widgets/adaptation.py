"""Widgets of lesson 03a: what lam and the distance do to a policy, and what repeating does."""

from collections.abc import Callable, Mapping

import ipywidgets
import torch
from matplotlib.figure import Figure
from torch import Tensor

from bomrl_lite.adaptation.distances import DISTANCES
from bomrl_lite.adaptation.objective import policy_return
from bomrl_lite.adaptation.solve import adapt, adapt_to_task
from bomrl_lite.course import plots
from bomrl_lite.course.widgets.explorer import explorer
from bomrl_lite.mdp import state_values
from bomrl_lite.policies.networks import tabular_softmax
from bomrl_lite.rollout.data import OneTimeData
from bomrl_lite.tasks.frozen_lake import LakeMap
from bomrl_lite.types import Params, TabularPolicy, TabularTask


def repeated_adaptation(
    phi: Params,
    task: TabularTask,
    *,
    distance: str,
    lam: float,
    num_steps: int,
    policy: TabularPolicy,
    gamma: float,
) -> Params:
    """Compute theta after ``num_steps`` adaptations, each on data of the policy before it."""
    theta = phi
    for _ in range(num_steps):
        theta = adapt_to_task(
            theta, task, policy=policy, gamma=gamma, distance=DISTANCES[distance], lam=lam
        )
    return theta


def adaptation_explorer(
    phi: Params,
    task: TabularTask,
    lake_map: LakeMap,
    *,
    policy: TabularPolicy,
    gamma: float,
) -> tuple[ipywidgets.VBox, Callable[[str, float, int], Figure]]:
    """Explore Alg on one lake: the distance, log10 of lam, the number of adaptations.

    Returns:
        The widget, and the function that draws one setting: (distance, log10 lam, steps) -> figure.
    """

    def adapted(distance: str, log_lam: float, num_steps: int) -> Params:
        dials = {"lam": 10.0**log_lam, "num_steps": num_steps, "policy": policy, "gamma": gamma}
        return repeated_adaptation(phi, task, distance=distance, **dials)

    def draw(distance: str, log_lam: float, num_steps: int) -> Figure:
        theta = adapted(distance, log_lam, num_steps)
        shown = {"before": phi, f"after {num_steps}": theta}
        policies = {title: policy.log_probs(params).exp() for title, params in shown.items()}
        values = {title: state_values(probs, task, gamma) for title, probs in policies.items()}
        return plots.adapted_lake(lake_map, policies, values)

    def describe(distance: str, log_lam: float, num_steps: int) -> str:
        theta = adapted(distance, log_lam, num_steps)
        before, after = (policy_return(p, task, policy=policy, gamma=gamma) for p in (phi, theta))
        dials = f"{distance.upper()}, λ = {10**log_lam:.3g}"
        return f"{dials}: return {before:.3f} before, {after:.3f} after"

    controls = (
        ipywidgets.Dropdown(
            options=[(name.upper(), name) for name in DISTANCES], value="d2", description="distance"
        ),
        ipywidgets.FloatSlider(0.0, min=-2.5, max=1.5, step=0.25, description="log₁₀ λ"),
        ipywidgets.IntSlider(1, min=0, max=5, description="adaptations"),
    )
    return explorer(controls, draw, describe), draw


def simplex_explorer(
    prior: Tensor, q: Tensor, paths: Mapping[str, Tensor], lams: Tensor
) -> tuple[ipywidgets.VBox, Callable[[int], Figure]]:
    """Explore where each distance moves a policy over three actions, over lam.

    Args:
        prior: pi_phi, [3].
        q: Q of the three actions, [3].
        paths: name of the distance -> adapted policies, one per lam, [L, 3].
        lams: the lam of each, falling, [L].

    Returns:
        The widget, and the function that draws one setting: index of lam -> figure.
    """

    def draw(index: int) -> Figure:
        marked = {name: path[index] for name, path in paths.items()}
        return plots.adaptation_paths(prior, lambda grid: grid @ q, paths, marked)

    def describe(index: int) -> str:
        chances = ", ".join(f"{name} {path[index].max():.3f}" for name, path in paths.items())
        return f"λ = {lams[index]:.3g}; largest probability: {chances}"

    middle = len(lams) // 2
    slider = ipywidgets.IntSlider(middle, min=0, max=len(lams) - 1, description="smaller λ")
    return explorer(slider, draw, describe), draw


def three_paths(prior: Tensor, q: Tensor, lams: Tensor) -> dict[str, Tensor]:
    """Compute Alg's policy over three actions for each lam and distance, {name: [L, 3]}."""
    policy = tabular_softmax(1, len(q))
    phi = {"logits": prior.log().unsqueeze(0)}
    rows = prior.unsqueeze(0), prior.log().unsqueeze(0), q.unsqueeze(0)
    data = OneTimeData(torch.ones(1, dtype=q.dtype), *rows)
    return {
        name.upper(): torch.stack(
            [
                policy.log_probs(
                    adapt(phi, data, policy=policy, distance=distance, lam=lam.item())[0]
                )[0].exp()
                for lam in lams
            ]
        )
        for name, distance in DISTANCES.items()
    }
