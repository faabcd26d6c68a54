"""What the checks of exercise set 02 ask, with the oracles' answers.

Each function is cached: the oracles run once per process, when a check first needs them.
"""

from collections.abc import Callable, Sequence
from functools import cache, partial
from typing import Any, NamedTuple, TypeVar

import numpy as np

from bomrl_lite.course.checks import oracles
from bomrl_lite.course.checks.draws import instance, once
from bomrl_lite.course.checks.engine import Question, Slips
from bomrl_lite.course.checks.oracles import Scalar
from bomrl_lite.course.checks.set02 import cases as pool
from bomrl_lite.course.checks.set02 import games, slips, updates
from bomrl_lite.course.checks.set02 import oracles as episodes
from bomrl_lite.course.checks.set02.games import Game
from bomrl_lite.course.checks.set02.oracles import Batch, Scored
from bomrl_lite.course.checks.set02.updates import Trials, Update
from bomrl_lite.course.checks.steps import Pullback

BY_HAND = "the case done by hand"
TWO_EPISODES = Batch(
    logits=np.log([[3.0, 1.0]]),
    states=np.zeros((2, 3), int),
    actions=np.array([[0, 1, 0], [1, 0, 0]]),
    rewards=np.array([[1.0, 2, 4], [2, 1, 99]]),
    mask=np.array([[1.0, 1, 1], [1, 1, 0]]),
    terminated=np.array([True, False]),
    values=np.array([[1.0, 2, 2], [1, 3, 77]]),
    final_values=np.array([8.0, 4]),
    weights=np.array([0.5, 0.5]),
    gamma=0.5,
    trace=0.5,
)
"""The first ended by itself after three steps, the second was cut off after two."""

WEIGHED = TWO_EPISODES._replace(
    rewards=np.array([[1.0, 2, 0], [4, 0, 0]]),
    mask=np.array([[1.0, 1, 0], [1, 1, 0]]),
    terminated=np.array([True, True]),
    weights=np.array([0.75, 0.25]),
)
"""Two steps each, and the first counts three times as much."""

Case = TypeVar("Case", bound=tuple)


class Subject(NamedTuple):
    """What is asked about a case: arguments from it, and two functions of what they are."""

    args: Callable[..., tuple[Any, ...]]
    """(case) or (case, logits that record their gradient) -> arguments."""
    oracle: Callable[[Any], np.ndarray]
    slips: Callable[[Any], Slips]


@once
def discounted_returns() -> Sequence[Question]:
    """Ask for returns; by hand 1 + 2/2 + 4/4, and 1 + 4/2 where the episode was cut."""
    subject = Subject(pool.return_args, episodes.returns, slips.discounted_returns)
    solution = [[3, 4, 4], [3.5, 3, 0]]
    edges = (*pool.discount_edges(), pool.long_edge())
    return _ask(subject, TWO_EPISODES, solution, pool.random_batches(), edges)


@once
def generalised_advantages() -> Sequence[Question]:
    """Ask for advantages; by hand the errors are 1, 1, 2 and 2.5, 0, and gamma trace is 1/4."""
    subject = Subject(pool.advantage_args, episodes.advantages, slips.generalised_advantages)
    solution = [[1.375, 1.5, 2], [2.5, 0, 0]]
    edges = (*pool.discount_edges(), pool.long_edge())
    return _ask(subject, TWO_EPISODES, solution, pool.random_batches(), edges)


@once
def lvc_objective() -> Sequence[Question]:
    """Ask for the value; by hand G is 2, 2 and 4, 0, so 3/4 (2 + 2/2) + 1/4 4."""
    subject = Subject(pool.lvc_args, lambda b: episodes.lvc_value(b.logits, b), slips.lvc_values)
    return _ask(subject, WEIGHED, 3.25, pool.random_batches(), pool.discount_edges())


@once
def lvc_gradients() -> Sequence[Pullback]:
    """Ask for the gradient of the LVC objective."""
    return _pull_back(pool.random_batches(), pool.lvc_args, episodes.lvc_value, slips.lvc_gradients)


@once
def lvc_hessians() -> Sequence[Pullback]:
    """Ask for its second derivatives: H1 and H2 together."""
    return _bend(pool.random_batches(), pool.lvc_args, episodes.lvc_value, slips.lvc_hessians)


@once
def lvc_paths() -> Sequence[Pullback]:
    """Ask for the gradient over all paths of a game: that of J."""
    return _over_games(pool.lvc_args)


@once
def dice_objective() -> Sequence[Question]:
    """Ask for the value; by hand 3/4 (1 + 2/2) + 1/4 4."""
    subject = Subject(
        pool.dice_args, lambda b: episodes.reweighted_return(b.logits, b), slips.dice_values
    )
    return _ask(subject, WEIGHED, 2.5, pool.random_batches(), pool.discount_edges())


@once
def dice_gradients() -> Sequence[Pullback]:
    """Ask for the gradient of the DiCE objective."""
    return _pull_back(
        pool.random_batches(), pool.dice_args, episodes.reweighted_return, slips.dice_gradients
    )


@once
def dice_hessians() -> Sequence[Pullback]:
    """Ask for its second derivatives."""
    return _bend(
        pool.random_batches(), pool.dice_args, episodes.reweighted_return, slips.dice_hessians
    )


@once
def dice_paths() -> Sequence[Pullback]:
    """Ask for the Hessian over all paths of a game: that of J."""
    return tuple(
        pullback._replace(
            question=Question(
                pullback.question.label,
                (),
                episodes.hessian(partial(games.game_return, game=game), game.logits),
            )
        )
        for pullback, game in zip(_over_games(pool.dice_args), pool.random_games(), strict=True)
    )


@once
def q_gradient() -> Sequence[Question]:
    """Ask for the estimate; by hand (0, 2) 3/2 + (4, 4) 1/4, then (4, 4) 1/2, then nothing."""
    by_hand = Scored(
        np.array([[[1.0, 0], [0, 2], [4, 4]]]),
        np.zeros((1, 3, 2, 2)),
        np.array([[5.0, 3, 1]]),
        np.ones(1),
        0.5,
        1.0,
    )
    subject = Subject(pool.q_gradient_args, episodes.later_scores, slips.q_gradient)
    solution = [[[1, 4], [2, 2], [0, 0]]]
    return _ask(subject, by_hand, solution, pool.random_scores(), pool.scored_edges())


@once
def first_q_gradients() -> Sequence[tuple[str, Scored, np.ndarray, np.ndarray]]:
    """Return all paths of every game, which of them begin with (s, a), and grad Q_0(s, a)."""
    cases = []
    for index, game in enumerate(pool.random_games(), 1):
        batch, scored = games.every_path(game), games.scored_paths(game)
        for s, a in np.ndindex(game.reward.shape):
            begin = batch.weights * (batch.states[:, 0] == s) * (batch.actions[:, 0] == a)

            def first_q(x: np.ndarray, game: Game = game, s: int = s, a: int = a) -> np.ndarray:
                return games.game_q(x, game)[0][..., s, a]

            gradient = oracles.complex_step(first_q, game.logits).ravel()
            label = f"all paths of game {index} that begin in state {s} with action {a}"
            cases.append((label, scored, begin / begin.sum(), gradient))
    return tuple(cases)


@once
def hessian_split() -> Sequence[Question]:
    """Ask for H1, H2, H12; by hand the one later step gives grad Q_0 = (1, 2)."""
    by_hand = Scored(
        np.array([[[1.0, 0], [1, 2]]]),
        np.array([[[[-1.0, 0], [0, -1]], [[-2, 1], [1, -2]]]]),
        np.array([[4.0, 2]]),
        np.ones(1),
        0.5,
        1.0,
    )
    terms = [[[5, 2], [2, 4]], [[-6, 1], [1, -6]], [[1, 2], [0, 0]]]
    subject = Subject(pool.split_args, episodes.split, slips.hessian_split)
    return _ask(subject, by_hand, terms, pool.random_scores(), pool.scored_edges())


@once
def game_splits() -> Sequence[tuple[str, Scored, np.ndarray]]:
    """Return all paths of every game, and its H1, H2, H12."""
    return tuple(
        (f"all paths of game {i}", games.scored_paths(game), games.game_terms(game))
        for i, game in enumerate(pool.random_games(), 1)
    )


@once
def e_maml_objective() -> Sequence[Question]:
    """Ask for the value; by hand the data sets lead to returns of 4 and 2, so 4/4 + 2 3/4."""
    by_hand = Trials(
        logits=np.zeros((1, 2)),
        states=np.zeros((2, 1, 2), int),
        actions=np.array([[[0, 1]], [[1, 1]]]),
        mask=np.ones((2, 1, 2)),
        credit=np.zeros((2, 1, 2)),
        pay=np.array([[[8.0, 0]], [[2, 2]]]),
        weights=np.array([0.25, 0.75]),
        step_size=0.5,
    )
    subject = Subject(pool.trial_args, lambda t: t.value(t.logits), updates.e_maml_values)
    return _ask(subject, by_hand, 2.5, pool.random_trials())


@once
def e_maml_gradients() -> Sequence[Pullback]:
    """Ask for its gradient: adaptation and collection."""
    value = lambda x, trials: trials.value(x)  # noqa: E731
    return _pull_back(pool.random_trials(), pool.trial_args, value, updates.e_maml_gradients)


@once
def e_maml_data_sets() -> Sequence[Pullback]:
    """Ask for the gradient over all data sets of a bandit: that of formulation II."""
    cases = [updates.every_data_set(instance(seed)) for seed in range(3)]
    pullbacks = _pull_back(
        cases, pool.trial_args, lambda x, t: t.value(x), updates.e_maml_gradients
    )
    labels = (f"all {len(t.weights)} data sets of bandit {i}" for i, t in enumerate(cases, 1))
    return tuple(
        p._replace(question=Question(label, (), p.question.expected, p.question.slips))
        for p, label in zip(pullbacks, labels, strict=True)
    )


@once
def promp_objective() -> Sequence[Question]:
    """Ask for the value; by hand ratios 3/2 and 1/2, A = 2 and -1, and a KL of log(4/3) / 2."""
    by_hand = Update(
        logits=np.log([[0.75, 0.25], [0.25, 0.75]]),
        old=np.zeros((2, 2)),
        shift=np.zeros((2, 2)),
        old_shift=np.zeros((2, 2)),
        states=np.array([0, 1]),
        actions=np.array([0, 0]),
        advantages=np.array([2.0, -1]),
        prior_states=np.array([0, 1, 1]),
        clip=0.2,
        penalty=2.0,
    )
    subject = Subject(pool.update_args, lambda u: u.value(u.logits), updates.promp_values)
    return _ask(subject, by_hand, 0.8 - np.log(4 / 3), pool.random_updates())


@once
def promp_gradients() -> Sequence[Pullback]:
    """Ask for its gradient."""
    value = lambda x, update: update.value(x)  # noqa: E731
    return _pull_back(pool.random_updates(), pool.update_args, value, updates.promp_gradients)


def _ask(
    subject: Subject,
    by_hand: tuple,
    solution: Any,
    cases: Sequence[tuple],
    edges: Sequence[tuple[str, Any, str]] = (),
) -> Sequence[Question]:
    """Ask about a case whose solution is known by hand, then about the random ones, then edges."""

    def question(label: str, case: tuple, expected: Any, known: bool) -> Question:
        wrong = cache(partial(subject.slips, case))
        return Question(label, subject.args(case), np.asarray(expected, float), wrong, known)

    first = question(BY_HAND, by_hand, solution, True)
    others = (question(_label(i), c, subject.oracle(c), False) for i, c in enumerate(cases, 1))
    borders = (
        Question(label, subject.args(case), subject.oracle(case), separates=separates)
        for label, case, separates in edges
    )
    return first, *others, *borders


def _pull_back(
    cases: Sequence[Case],
    args: Callable[..., tuple[Any, ...]],
    value: Callable[[np.ndarray, Case], np.ndarray],
    wrong: Callable[[Case], Slips],
) -> Sequence[Pullback]:
    """Ask for gradients of a scalar answer in the logits of the first cases."""
    return _differentiate(oracles.complex_step, cases, args, value, wrong)


def _bend(
    cases: Sequence[Case],
    args: Callable[..., tuple[Any, ...]],
    value: Callable[[np.ndarray, Case], np.ndarray],
    wrong: Callable[[Case], Slips],
) -> Sequence[Pullback]:
    """Ask for second derivatives of a scalar answer in the logits of the first cases."""
    return _differentiate(episodes.hessian, cases, args, value, wrong)


def _differentiate(
    derivative: Callable[[Scalar, np.ndarray], np.ndarray],
    cases: Sequence[Any],
    args: Callable[..., tuple[Any, ...]],
    value: Callable[[np.ndarray, Any], np.ndarray],
    wrong: Callable[[Any], Slips],
) -> Sequence[Pullback]:
    pullbacks = []
    for index, case in enumerate(cases[: len(pool.SIZES)], 1):
        expected = derivative(lambda x, case=case: value(x, case), case.logits)
        question = Question(_label(index), (), expected, cache(partial(wrong, case)))
        pullbacks.append(Pullback(case.logits, partial(args, case), np.ones(()), question))
    return tuple(pullbacks)


def _over_games(args: Callable[..., tuple[Any, ...]]) -> Sequence[Pullback]:
    """Ask for the gradient of J, given all paths of each game."""
    pullbacks = []
    for index, game in enumerate(pool.random_games(), 1):
        gradient = oracles.complex_step(partial(games.game_return, game=game), game.logits)
        batch = games.every_path(game)
        label = f"all {len(batch.weights)} paths of game {index}"
        question = Question(label, (), gradient)
        pullbacks.append(Pullback(game.logits, partial(args, batch), np.ones(()), question))
    return tuple(pullbacks)


def _label(index: int) -> str:
    return f"random instance {index}"
