"""From a configuration to its problem: exact values and episodes are two sources of one idea."""

from bomrl_lite.training.config import Config
from bomrl_lite.training.episodes import EpisodesProblem, episodes_problem
from bomrl_lite.training.exact import ExactProblem, exact_problem

Problem = ExactProblem | EpisodesProblem
"""What a configuration stands for: ``start``, ``draw``, ``moments``, the family and the policy."""


def make_problem(config: Config) -> Problem:
    """Return what a configuration stands for."""
    return exact_problem(config) if config.values == "exact" else episodes_problem(config)
