"""The seeds that the checks ask about are those that the search finds."""

import numpy as np
import pytest
from separating import apart, policy_iterations, search, separated

from bomrl_lite.course.checks import oracles, questions
from bomrl_lite.course.checks.set05 import oracles as planted


def earned(policy_of):
    """The return of a policy that is found by some method."""
    return lambda world: (
        ((probs := policy_of(world)) * oracles.q_values(probs, world)).sum(-1) @ world.start
    )


def marked(policy_of):
    """The actions that are best by the Q of a policy that is found by some method."""

    def marks(case):
        q = oracles.q_values(policy_of(case.world), case.world)
        return (q >= q.max(-1, keepdims=True) - 1e-9).astype(float)

    return marks


def test_the_slow_worlds_separate_policy_iterations_that_stop():
    wrongs = {name: earned(policy) for name, policy in policy_iterations(3).items()}
    found = search(questions.slow_world, oracles.best_return, wrongs, range(50))
    assert tuple(found) == questions.SLOW_SEEDS


def test_the_slow_planted_worlds_do_the_same_for_optimal_actions():
    wrongs = {name: marked(policy) for name, policy in policy_iterations(2).items()}
    found = search(planted.slow_world, lambda case: case.optimal, wrongs, range(60))
    assert tuple(found) == planted.SLOW_SEEDS


def test_a_search_that_finds_nothing_says_what_is_left():
    same = {"the same": np.sin, "another": np.cos}
    assert separated(0.0, np.sin, same, 1e-3) == {"another"}
    with pytest.raises(LookupError, match="the same"):
        search(float, np.sin, same, range(3))


def test_numbers_that_are_none_are_far_apart():
    assert apart(np.array([np.nan]), np.array([1.0])) == np.inf
    assert apart(np.zeros(2), np.zeros(3)) == np.inf
