"""From a configuration to its problem: exact values and episodes are two sources of one idea."""

from bomrl_lite.training.config import Config
from bomrl_lite.training.episodes import EpisodesProblem, episodes_problem
from bomrl_lite.training.exact import ExactObjective, ExactProblem, exact_problem
from bomrl_lite.training.objective import EpisodesObjective, collect_objective
from bomrl_lite.training.state import MetaState

Problem = ExactProblem | EpisodesProblem
"""What a configuration stands for: ``start``, ``draw``, ``moments``, the family and the policy."""
Objective = ExactObjective | EpisodesObjective
"""The outer objective of one iteration: its ascent direction, and the row of the history."""


def make_problem(config: Config) -> Problem:
    """Return what a configuration stands for."""
    return exact_problem(config) if config.values == "exact" else episodes_problem(config)


def make_objective(problem: Problem, state: MetaState) -> Objective:
    """Draw the tasks of an iteration, collect their data once, and return the objective on them."""
    if isinstance(problem, ExactProblem):
        return ExactObjective(problem, problem.draw(state.generator), state.iteration)
    return collect_objective(problem, state)
