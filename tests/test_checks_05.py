"""What is special about the checks of exercise set 05: their oracles."""

import numpy as np
from answers_05 import solve
from conftest import stack

import bomrl_lite as bl
from bomrl_lite.course import checks
from bomrl_lite.course.checks.oracles import occupancy, softmax, values_of_all_policies
from bomrl_lite.course.checks.set05 import oracles
from bomrl_lite.course.checks.set05.checks import MIDDLE_TOLERANCE


def test_the_reference_is_in_the_middle_that_the_package_finds():
    tasks, gamma = checks.middle_policy.example(-1)
    policy = bl.tabular_softmax(2, 2)
    least, middle, _ = bl.task_variance(stack(tasks), policy=policy, gamma=gamma, max_iterations=8)
    ours = checks.middle_policy.reference(tasks, gamma)
    assert abs(least.item() - oracles.families()[-1].least) <= 1e-9
    assert (policy.log_probs(middle) - ours.log_softmax(-1)).abs().max() <= 1e-6


def test_the_planted_actions_are_the_optimal_ones():
    """Enumerate: an action is optimal if a best deterministic policy takes it."""
    for planted in oracles.planted_worlds():
        num_states, num_actions = planted.optimal.shape
        values = values_of_all_policies(planted.world)
        choices = np.stack(np.unravel_index(np.arange(len(values)), (num_actions,) * num_states))
        for s in range(num_states):
            best = [values[choices[s] == a, s].max() for a in range(num_actions)]
            found = np.array(best) > max(best) - 1e-9
            assert (found == (planted.optimal[s] > 0)).all()


def test_every_size_has_ties_and_choices_and_some_states_are_unreached():
    worlds = oracles.planted_worlds()
    for planted in worlds:
        counts = planted.optimal.sum(-1)
        assert counts.max() > 1
        assert counts.min() < planted.optimal.shape[1]
    visits = [occupancy(each.world.probs, each.world).min() for each in worlds]
    assert [v == 0 for v in visits] == [i >= oracles.UNREACHED_FROM for i in range(len(worlds))]


def test_no_other_mixture_of_optimal_actions_is_nearer():
    draw = np.random.default_rng(0)
    for planted in oracles.planted_worlds():
        probs, nu = planted.world.probs, occupancy(planted.world.probs, planted.world)
        least = oracles.distance(planted.world.logits, planted)
        for _ in range(20):
            mixture = planted.optimal * draw.random(probs.shape)
            mixture /= mixture.sum(-1, keepdims=True)
            ratio = np.where(mixture > 0, mixture / probs, 1)
            assert nu @ (mixture * np.log(ratio)).sum(-1) >= least - 1e-12
        mass = (probs * planted.optimal).sum(-1)
        assert abs(least + nu @ np.log(mass)) <= 1e-12


def test_the_least_mean_distance_is_attained():
    """A least value that is too large would let any policy pass."""
    for question, family in zip(
        checks.middle_policy.make_questions(), oracles.families(), strict=True
    ):
        reached = oracles.mean_distance(
            solve("middle_policy")(*question.args).numpy(), family.members
        )
        assert abs(reached - family.least) <= MIDDLE_TOLERANCE


def test_where_actions_steer_every_start_ends_at_the_least_mean_distance():
    """In the check every minimum is global. (Where they do not, the distance is convex in pi.)"""
    draw = np.random.default_rng(1)
    for family in filter(lambda each: oracles.is_steered(each.label), oracles.families()):
        x = 2 * draw.normal(size=(5, *family.logits.shape))
        for _ in range(150):
            x = x - 4.0 * _slopes(x, family.members)
        excess = oracles.mean_distance(x, family.members) - family.least
        assert (excess >= -1e-12).all()
        assert (excess <= MIDDLE_TOLERANCE).all()


def _slopes(x, members, h=1e-5):
    """Return central differences of the mean distance for logits [N, S, A]."""
    shifts = h * np.eye(x[0].size).reshape(-1, 1, *x.shape[1:])
    up, down = (oracles.mean_distance(x + k * shifts, members) for k in (1, -1))
    return ((up - down) / (2 * h)).T.reshape(x.shape)


def test_the_safe_weight_bounds_the_error_of_the_surrogate():
    """The claim that lam_0 is for, with both directions of the divergence."""
    draw = np.random.default_rng(2)
    for planted in oracles.planted_worlds():
        world, safe = planted.world, oracles.safe_weight(planted)
        old, nu = world.probs, occupancy(world.probs, world)
        for scale in (0.01, 0.3, 3.0):
            theta = world.logits + scale * draw.normal(size=old.shape)
            moved, new = planted._replace(theta=theta), softmax(theta)
            at_old = _shares_at(moved, nu)
            error = abs((1 - world.gamma) * oracles.gained(moved) - at_old)
            forward = nu @ (old * np.log(old / new)).sum(-1)
            backward = nu @ (new * np.log(new / old)).sum(-1)
            assert error <= safe * min(forward, backward) + 1e-14


def _shares_at(planted, nu):
    """Return L(theta) - L(phi): the gains at the states of pi_phi."""
    after = occupancy(softmax(planted.theta), planted.world)
    better = np.where(after > 0, oracles.gains(planted) / np.where(after > 0, after, 1), 0)
    return (1 - planted.world.gamma) * nu @ better


def test_the_fit_of_the_oracle_is_certified_optimal():
    """Karush, Kuhn and Tucker: no term can be changed to gain."""
    for question in checks.fit_rate.make_questions():
        gaps, x = question.args[0].numpy(), question.expected
        columns = oracles.terms(len(gaps))
        slope = columns.T @ (columns @ x - oracles.running_means(gaps))
        assert (x >= 0).all()
        assert (slope >= -1e-9).all()
        assert abs(slope @ x) <= 1e-9


def test_every_term_of_the_fit_is_once_absent_and_once_there():
    found = np.array([q.expected for q in checks.fit_rate.make_questions()])
    assert (found > 1e-6).any(0).all()
    assert (found == 0).any(0).all()


def test_no_occupancy_moves_further_than_the_bound():
    """Whatever the two policies, near or far, and wherever they go; one pair comes near it."""
    shares = []
    for scale in (0.01, 0.1, 1.0, 10.0):
        for planted in oracles.planted_worlds():
            apart = scale * (planted.theta - planted.world.logits)
            pair = planted._replace(theta=planted.world.logits + apart)
            shares.append(oracles.shift(pair) / oracles.shift_bound(pair))
    assert 0.3 < max(shares) <= 1
