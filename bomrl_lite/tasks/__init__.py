"""Task distributions by name: those with exact values, and those that can only be sampled."""

import difflib
from typing import Any

import torch

from bomrl_lite.physics import Backend
from bomrl_lite.physics.robots import Integrator
from bomrl_lite.tasks import frozen_lake, locomotion, navigation, probes
from bomrl_lite.tasks.tabular import TabularSimulator
from bomrl_lite.types import SampledTasks, TaskDistribution


def task_names() -> list[str]:
    """List the names that :func:`make_tasks` knows."""
    return [*frozen_lake.FAMILIES, *probes.PROBES]


def sampled_task_names() -> list[str]:
    """List the names that :func:`make_sampled_tasks` knows: all there are."""
    return [*task_names(), *navigation.FAMILIES, *locomotion.FAMILIES]


def has_exact_values(name: str) -> bool:
    """Tell whether a family has tables, and so exact values."""
    return name in task_names()


def check_task_name(name: str) -> None:
    """Refuse a name that no family has.

    Raises:
        ValueError: the message suggests close matches.
    """
    if name not in sampled_task_names():
        raise _unknown(name, sampled_task_names())


def make_tasks(name: str) -> TaskDistribution:
    """Return the tabular task distribution of that name.

    Raises:
        ValueError: unknown name, with close matches; or a family that has no tables.
    """
    if name in frozen_lake.FAMILIES:
        return frozen_lake.distribution(name)
    if name in probes.PROBES:
        return probes.PROBES[name]()
    if name in (*navigation.FAMILIES, *locomotion.FAMILIES):
        raise ValueError(
            f"{name!r} has continuous states, so no exact values: it can only be sampled, "
            f"make_sampled_tasks({name!r}). With exact values are {', '.join(task_names())}"
        )
    raise _unknown(name, task_names())


def make_sampled_tasks(
    name: str, *, integrator: Integrator = "gym", backend: Backend = "auto"
) -> SampledTasks:
    """Return the task distribution of that name for sampling; tabular ones are simulated.

    Args:
        name: one of :func:`sampled_task_names`.
        integrator: of robots; see :func:`bomrl_lite.physics.robots.load_model`.
        backend: of robots; see :func:`bomrl_lite.physics.make_physics`.

    Raises:
        ValueError: unknown name; the message suggests close matches.
    """
    if name in locomotion.FAMILIES:
        family = locomotion.FAMILIES[name]
        return locomotion.sampled_family(family, integrator=integrator, backend=backend)
    if name in navigation.FAMILIES:
        return navigation.FAMILIES[name]
    if name in task_names():
        return sampled(make_tasks(name))
    raise _unknown(name, sampled_task_names())


def sampled(distribution: TaskDistribution) -> SampledTasks:
    """Hide the tables of a tabular distribution behind a simulator: states become numbers."""

    def simulator(tasks: Any, num_episodes: int, horizon: int | None = None) -> TabularSimulator:
        steps = distribution.horizon if horizon is None else horizon
        return TabularSimulator(tasks, num_episodes, steps)

    num_actions = distribution.sample(1, torch.Generator(), "train").reward.shape[-1]
    return SampledTasks(
        name=distribution.name,
        summary=distribution.summary,
        sample=distribution.sample,
        simulator=simulator,
        gamma=distribution.gamma,
        horizon=distribution.horizon,
        observation_size=0,
        action_size=num_actions,
        discrete=True,
    )


def _unknown(name: str, known: list[str]) -> ValueError:
    close = difflib.get_close_matches(name, known, n=3, cutoff=0.3)
    hint = f"did you mean {' or '.join(close)}? " if close else ""
    return ValueError(
        f"no task distribution is called {name!r}: {hint}known are {', '.join(known)}"
    )
