"""From a configuration to its problem: exact values and episodes are two sources of one idea."""

import itertools
import os
from dataclasses import replace

import torch

from bomrl_lite.tasks import make_tasks
from bomrl_lite.training.config import Config, Episodes
from bomrl_lite.training.episodes import EpisodesProblem, episodes_problem
from bomrl_lite.training.exact import ExactObjective, ExactProblem, exact_problem
from bomrl_lite.training.group import ALONE, Group
from bomrl_lite.training.objective import EpisodesObjective, collect_objective
from bomrl_lite.training.state import MetaState

Problem = ExactProblem | EpisodesProblem
"""What a configuration stands for: ``start``, ``draw``, ``moments``, the family and the policy."""
Objective = ExactObjective | EpisodesObjective
"""The outer objective of one iteration: its ascent direction, and the row of the history."""


def make_problem(config: Config, group: Group = ALONE) -> Problem:
    """Return what a configuration stands for.

    Args:
        config: from :func:`bomrl_lite.training.config.configure`.
        group: the processes that share the tasks of each iteration.

    Raises:
        ValueError: it would not fit into the memory of this machine.
    """
    _require_memory(config, group.here / group.size)
    make = exact_problem if config.values == "exact" else episodes_problem
    return replace(make(config), group=group)


def make_objective(problem: Problem, state: MetaState) -> Objective:
    """Draw the tasks of an iteration, collect their data once, and return the objective on them."""
    if isinstance(problem, ExactProblem):
        return ExactObjective(problem, problem.draw(state.generator), state.iteration)
    return collect_objective(problem, state)


def bytes_needed(config: Config) -> int:
    """Return how many bytes the arrays of an iteration take at least.

    Of exact values the tables of all tasks. Of episodes what is collected before and after
    adaptation, the layers' outputs on it, and each task's own parameters.
    """
    family = make_tasks(config.tasks)
    one = family.sample(1, torch.Generator(), "train")
    tables = config.num_tasks * sum(field.nbytes for field in one)
    if not isinstance(config.sampling, Episodes):
        return tables
    hidden = config.network.hidden if config.network else ()
    sizes = (family.observation_size, *hidden, family.action_size)
    steps = config.sampling.num_episodes * (config.sampling.horizon or family.horizon)
    weights = sum(a * b for a, b in itertools.pairwise(sizes))
    collected = steps * (config.sampling.num_steps + 1) * sum(sizes)
    return tables + config.num_tasks * (collected + weights) * torch.float32.itemsize


def _require_memory(config: Config, share: float) -> None:
    if "SC_PHYS_PAGES" not in getattr(os, "sysconf_names", {}):  # Windows does not tell
        return
    there = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    needed = share * bytes_needed(config)
    if needed > there:
        raise ValueError(
            f"this run needs at least {needed / 1e9:.3g} GB of memory and this machine has "
            f"{there / 1e9:.3g} GB; ask for smaller num_tasks, num_episodes, horizon or hidden"
        )
