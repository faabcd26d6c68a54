"""What is special about the checks of exercise set 02: their oracles and games."""

import numpy as np
import torch

from bomrl_lite.course.checks.oracles import complex_step
from bomrl_lite.course.checks.set02 import cases as pool
from bomrl_lite.course.checks.set02 import games, updates
from bomrl_lite.course.checks.set02 import oracles as episodes


def test_the_paths_of_a_game_are_all_there_and_pay_its_return():
    for game in pool.random_games():
        paths = games.every_path(game)
        rows = [
            tuple(row)
            for row in np.stack([paths.states, paths.actions, paths.mask], -1)
            .reshape(len(paths.weights), -1)
            .tolist()
        ]
        assert len(set(rows)) == len(rows)
        assert abs(paths.weights.sum() - 1) < 1e-14
        assert set(paths.mask.sum(-1)) == {1.0, 2.0, 3.0}
        paid = episodes.reweighted_return(game.logits, paths)
        assert abs(paid - games.game_return(game.logits, game)) < 1e-14


def test_likelihood_ratios_over_all_paths_move_as_the_return_of_the_game_does():
    """The oracle of DiCE against dynamic programming, far from where the paths were weighed."""
    game = pool.random_games()[0]
    elsewhere = game.logits + np.array([[1.0, -0.5], [0.3, 2.0]])
    moved = episodes.reweighted_return(elsewhere, games.every_path(game))
    assert abs(moved - games.game_return(elsewhere, game)) < 1e-13


def test_the_pieces_of_the_hessian_add_up_to_it():
    for game in pool.random_games():
        h1, h2, h12 = games.game_terms(game)
        whole = episodes.hessian(lambda x, g=game: games.game_return(x, g), game.logits)
        np.testing.assert_allclose(h1 + h2 + h12 + h12.T, whole, atol=1e-10)
        paths = games.every_path(game)
        lvc = episodes.hessian(lambda x, p=paths: episodes.lvc_value(x, p), game.logits)
        np.testing.assert_allclose(h1 + h2, lvc, atol=1e-10)
        assert np.abs(h12).max() > 1e-4


def test_second_derivatives_agree_with_torch():
    draw = np.random.default_rng(0)
    x, a = draw.normal(size=(2, 3)), draw.normal(size=(2, 3))

    def by_torch(y):
        return (torch.tensor(a) * y).sin().sum() * y.exp().sum()

    ours = episodes.hessian(lambda y: np.sin(a * y).sum((-2, -1)) * np.exp(y).sum((-2, -1)), x)
    theirs = torch.func.hessian(by_torch)(torch.tensor(x)).reshape(6, 6)
    np.testing.assert_allclose(ours, theirs, atol=1e-9)


def test_the_data_sets_of_a_bandit_make_formulation_two():
    """Drawn anew at other logits, the chances are those of the other policy."""
    trials = updates.every_data_set(0)
    elsewhere = trials.logits + np.array([[0.7, -0.2]])
    chances = np.exp(trials.log_probs(elsewhere).sum((-2, -1)))
    assert abs(chances.sum() - 1) < 1e-14
    assert abs(trials.value(elsewhere) - chances @ trials.after(elsewhere)) < 1e-14


def test_torch_sees_the_same_trials_and_updates():
    for trials in pool.random_trials():
        log_probs, after, _ = pool.trial_args(trials)
        np.testing.assert_allclose(log_probs, trials.log_probs(trials.logits), atol=1e-14)
        np.testing.assert_allclose(after, trials.after(trials.logits), atol=1e-14)
    for update in pool.random_updates():
        ratios = (pool.update_args(update)[0] - pool.update_args(update)[1]).exp()
        np.testing.assert_allclose(ratios, update.ratios(update.logits), rtol=1e-12)


def test_updates_meet_every_case_of_the_clip():
    """Both signs, within and beyond either limit; no ratio so near a kink that its side is luck."""
    met = set()
    for update in pool.random_updates():
        ratios = update.ratios(update.logits)
        places = np.digitize(ratios, [1 - update.clip, 1 + update.clip])
        met |= set(zip(places.tolist(), np.sign(update.advantages).tolist(), strict=True))
        assert np.abs(np.abs(ratios - 1) - update.clip).min() > 1e-7
    assert met == {(place, sign) for place in range(3) for sign in (-1.0, 1.0)}


def test_the_oracle_of_advantages_knows_both_ends_of_its_dial():
    """At trace 1 return minus V; at trace 0 the error of one step, here within an episode."""
    batch = pool.random_batches()[0]
    everything = episodes.advantages(batch._replace(trace=1.0))
    expected = (episodes.returns(batch) - batch.values) * batch.mask
    np.testing.assert_allclose(everything, expected, atol=1e-13)
    one = episodes.advantages(batch._replace(trace=0.0))[2, 0]
    values = batch.values[2]
    assert abs(one - (batch.rewards[2, 0] + batch.gamma * values[1] - values[0])) < 1e-13


def test_scores_of_paths_are_derivatives_of_their_log_probabilities():
    game = pool.random_games()[0]
    scored, paths = games.scored_paths(game), games.every_path(game)
    for b, t in ((0, 0), (5, 1), (40, 2)):
        gradient = complex_step(lambda x, b=b, t=t: paths.log_probs(x)[..., b, t], game.logits)
        np.testing.assert_allclose(scored.scores[b, t], gradient.ravel(), atol=1e-14)
        bend = episodes.hessian(lambda x, b=b, t=t: paths.log_probs(x)[..., b, t], game.logits)
        np.testing.assert_allclose(scored.curvatures[b, t], bend, atol=1e-9)
