"""The estimator laboratory agrees with theory, and with exact answers that numpy computes."""

import numpy as np
import pandas as pd
import pytest
import torch

from bomrl_lite.course.experiments import laboratory as lab
from bomrl_lite.course.experiments import q_gradient as q
from bomrl_lite.course.plots.estimators import (
    laboratory_figure,
    q_gradient_figure,
)

PROBLEM, GAMMA = "probe/random-5x3", 0.8


class Oracle:
    """Exact quantities of a task in numpy, from the closed forms of a tabular softmax."""

    def __init__(self, problem):
        task = problem.task
        self.transition, self.reward, self.start = (x.numpy() for x in task)
        self.phi = problem.phi["logits"].numpy()

    def solve(self, logits):
        pi = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
        stay = np.eye(len(pi)) - GAMMA * np.einsum("sa,sat->st", pi, self.transition)
        values = np.linalg.solve(stay, (pi * self.reward).sum(-1))
        visits = np.linalg.solve(stay.T, self.start)  # sums to 1 / (1 - gamma)
        return pi, values, visits, self.reward + GAMMA * self.transition @ values

    def objective(self, logits):
        return self.start @ self.solve(logits)[1]

    def gradient(self, logits):
        pi, values, visits, q_values = self.solve(logits)
        return visits[:, None] * pi * (q_values - values[:, None])

    def along(self, function, direction, h=1e-3):
        """Fourth-order central difference of a function of phi."""
        at = [function(self.phi + k * h * direction) for k in (1, -1, 2, -2)]
        return (8 * (at[0] - at[1]) - (at[2] - at[3])) / (12 * h)

    def differentiate(self, function):
        basis = np.eye(self.phi.size).reshape(-1, *self.phi.shape)
        return np.array([self.along(function, e) for e in basis]).reshape(self.phi.shape)

    def curvature_of_policy(self, direction):
        """H2 v and (H1 + H2) v: second derivatives of log pi and of pi, Q and visits as they are.

        Of log pi it is minus the Fisher information, whichever the action.
        """
        pi, values, visits, q_values = self.solve(self.phi)
        of_log, of_pi = np.zeros_like(pi), np.zeros_like(pi)
        for s, (p, v) in enumerate(zip(pi, direction, strict=True)):
            fisher = np.diag(p) - np.outer(p, p)
            of_log[s] = -visits[s] * values[s] * fisher @ v
            for a in range(len(p)):
                score = np.eye(len(p))[a] - p
                bend = p[a] * (np.outer(score, score) - fisher)
                of_pi[s] += visits[s] * q_values[s, a] * bend @ v
        return of_log, of_pi


@pytest.fixture(scope="module")
def problem():
    return lab.make_problem(PROBLEM, 0)


@pytest.fixture(scope="module")
def oracle(problem):
    return Oracle(problem)


@pytest.fixture(scope="module")
def rows():
    return list(lab.laboratory_rows(PROBLEM, 0, episodes=(10, 40, 240), budget=3000))


@pytest.fixture(scope="module")
def q_rows():
    dials = {"lambdas": (2.0,), "traces": (0.5, 1.0), "episodes": (20, 200)}
    return list(q.q_gradient_rows(PROBLEM, 1, **dials, budget=4000))


def pick(rows, estimator, **labels):
    wanted = {"estimator": estimator, **labels}
    return [row for row in rows if all(row[k] == v for k, v in wanted.items())]


def one_rollout(problem, episodes, seed=3):
    params = {"logits": problem.phi["logits"].unsqueeze(0)}
    generator = torch.Generator().manual_seed(seed)
    rollout = lab.collect_batches(problem, params, episodes, generator)
    return type(rollout)(*(field[0] for field in rollout))


def close(found, expected, relative=1e-7):
    assert np.abs(found.numpy() - expected).max() <= relative * np.abs(expected).max()


def test_the_exact_answers_are_finite_differences_of_the_return(problem, oracle):
    theta = oracle.phi + problem.step_size * oracle.gradient(oracle.phi)
    direction = oracle.gradient(theta)
    exact = lab.exact_answers(problem)
    close(exact["curvature"], oracle.along(oracle.gradient, direction))

    def after(x):
        return oracle.objective(x + problem.step_size * oracle.gradient(x))

    close(exact["meta-gradient"], oracle.differentiate(after))


@pytest.mark.parametrize("estimator", ["DiCE", "Loaded DiCE"])
def test_dice_finds_the_curvature_within_three_standard_errors(rows, estimator):
    for row in pick(rows, estimator, quantity="curvature"):
        assert row["bias"] < 3 * row["bias error"]


@pytest.mark.parametrize("estimator", ["naive", "LVC", "LVC, baseline"])
def test_the_lower_rungs_are_biased_whatever_the_number_of_episodes(rows, estimator):
    for row in pick(rows, estimator, quantity="curvature"):
        assert row["bias"] > 5 * row["bias error"]
        assert row["error"] > row["bias"] - row["bias error"]


def test_the_lower_rungs_tend_to_curvatures_of_the_policy_alone(problem, oracle):
    theta = oracle.phi + problem.step_size * oracle.gradient(oracle.phi)
    limits = oracle.curvature_of_policy(oracle.gradient(theta))
    found = lab.estimates(problem, 50, 81, torch.Generator().manual_seed(0))
    for name, limit in zip(("naive", "LVC", "LVC, baseline"), (*limits, limits[1]), strict=True):
        assert found["curvature", name].shape == (81, 5, 3)
        figures = lab.measure(found["curvature", name], torch.from_numpy(limit))
        assert figures["bias"] < 3 * figures["bias error"] < 0.2


def test_dice_differentiates_its_own_objective_twice(problem):
    """mean over episodes of sum_t gamma^t exp(sum_{u <= t} l_u - stop) r_t, written out."""
    rollout = one_rollout(problem, 4)
    batch = lab.make_batch(rollout, problem, baseline=False)
    direction = torch.randn(5, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    discounts = GAMMA ** torch.arange(problem.horizon, dtype=torch.float64)

    def objective(logits):
        taken = logits.log_softmax(-1)[rollout.observations, rollout.actions]
        causes = taken.cumsum(-1)
        return ((causes - causes.detach()).exp() * discounts * rollout.rewards).sum(-1).mean()

    logits = problem.phi["logits"].clone().requires_grad_()
    (slope,) = torch.autograd.grad(objective(logits), logits, create_graph=True)
    (expected,) = torch.autograd.grad((slope * direction).sum(), logits)
    pull = lab._step(problem, lab.ESTIMATORS["DiCE"], batch).pull
    found = (pull({"logits": direction})[0]["logits"] - direction) / problem.step_size
    close(found, expected.numpy(), relative=1e-9)


def test_the_rungs_trade_bias_for_deviation(rows):
    for size in (10, 40, 240):
        at = {"quantity": "curvature", "episodes": size}
        ladder = ["LVC", "LVC + grad Q", "DiCE"]
        deviations = [pick(rows, name, **at)[0]["deviation"] for name in ladder]
        assert deviations[0] < 0.6 * deviations[1] < 0.6 * deviations[2]
        cut = ["Loaded DiCE, 0.5", "Loaded DiCE, 0.8", "Loaded DiCE, 0.9", "Loaded DiCE"]
        deviations = [pick(rows, name, **at)[0]["deviation"] for name in cut]
        assert deviations == sorted(deviations)


@pytest.mark.parametrize("estimator", lab.ESTIMATORS)
def test_deviations_fall_with_the_square_root_of_the_episodes(rows, estimator):
    mine = pick(rows, estimator, quantity="curvature")
    power = lab.slope([r["episodes"] for r in mine], [r["deviation"] for r in mine])
    assert -0.6 < power < -0.4


def test_dice_wins_with_many_episodes_and_lvc_with_few(rows):
    def error(estimator, size):
        return pick(rows, estimator, quantity="curvature", episodes=size)[0]["error"]

    assert error("LVC", 10) < 0.5 * error("DiCE", 10)
    assert error("Loaded DiCE, 0.8", 240) < error("LVC, baseline", 240)


def test_rows_are_complete(rows, q_rows):
    assert len(rows) == 3 * (2 * len(lab.ESTIMATORS) + 1)
    assert len({tuple(list(row.values())[:5]) for row in rows}) == len(rows)
    assert len(q_rows) == 2 * 2 * len(q.ESTIMATORS)
    for row in [*rows, *q_rows]:
        assert all(np.isfinite(v) for v in row.values() if not isinstance(v, str))
        assert row["episodes"] * row["repetitions"] >= 3000


def test_measured_figures_by_hand():
    estimates = torch.tensor([[3.0, 4.0], [3.0, 0.0]], dtype=torch.float64)
    row = lab.measure(estimates, torch.tensor([3.0, 4.0], dtype=torch.float64))
    expected = {
        "bias": 2 / 5,
        "bias error": 2 / 5,
        "deviation": 8**0.5 / 5,
        "cosine": (1 + 3 / 5) / 2,
        "error": 8**0.5 / 5,
    }
    assert row == pytest.approx(expected)
    assert lab.slope([1, 4, 16], [8, 4, 2]) == pytest.approx(-0.5)


def test_the_exact_part_through_q_is_the_rest_of_a_finite_difference(problem, oracle):
    lam = 2.0

    def adapted(logits):
        return logits + oracle.solve(logits)[3] / lam

    slope = oracle.gradient(adapted(oracle.phi))
    whole = oracle.differentiate(lambda x: oracle.objective(adapted(x)))
    exact = q.exact_parts(problem, lam)
    close(exact.whole, whole)
    close(exact.through_q, whole - slope)
    close(exact.weight, slope / lam)


@pytest.mark.parametrize("counted", [False, True])
def test_a_sampled_part_by_loops_over_the_samples(problem, oracle, counted):
    trace, rollout = 0.7, one_rollout(problem, 3)
    batch = lab.make_batch(rollout, problem, baseline=False)
    weight = torch.randn(5, 3, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    pi, _, visits, _ = oracle.solve(oracle.phi)
    states, actions, rewards = (
        x.numpy() for x in (rollout.observations, rollout.actions, rollout.rewards)
    )
    horizon = states.shape[1]
    share = GAMMA ** np.arange(horizon) / (GAMMA ** np.arange(horizon)).sum() / len(states)
    shares = (1 - GAMMA) * visits[:, None] * pi
    if counted:
        shares = np.zeros_like(pi)
        np.add.at(shares, (states, actions), np.broadcast_to(share, states.shape))
    expected = np.zeros_like(pi)
    for s, a, r in zip(states, actions, rewards, strict=True):
        paid = [sum(GAMMA ** (k - u) * r[k] for k in range(u, horizon)) for u in range(horizon)]
        for t in range(horizon):
            scale = share[t] * weight[s[t], a[t]].item() / shares[s[t], a[t]]
            for u in range(t + 1, horizon):
                score = np.eye(3)[a[u]] - pi[s[u]]
                expected[s[u]] += scale * (GAMMA * trace) ** (u - t) * score * paid[u]
    dials = {"trace": trace, "counted": counted}
    close(q.sampled_part(batch, weight, problem, **dials), expected, relative=1e-9)


def test_the_credit_with_exact_values_sums_their_one_step_errors(problem, oracle):
    rollout = one_rollout(problem, 2)
    values = oracle.solve(oracle.phi)[1]
    seen = values[torch.cat([rollout.observations, rollout.final_observations[:, None]], 1)]
    errors = rollout.rewards.numpy() + GAMMA * seen[:, 1:] - seen[:, :-1]
    steps = range(problem.horizon)
    expected = [
        [sum((GAMMA * 0.9) ** (u - t) * row[u] for u in steps[t:]) for t in steps] for row in errors
    ]
    close(q.credited(rollout, problem, "exact").credit, np.array(expected), relative=1e-9)


def test_the_whole_sampled_part_through_q_is_within_three_standard_errors(q_rows):
    for name in ("returns", "exact V"):
        for row in pick(q_rows, name, trace=1.0):
            assert row["bias"] < 3 * row["bias error"]
    for row in pick(q_rows, "exact V", trace=0.5):
        assert row["bias"] > 4 * row["bias error"]


def test_untruncated_the_term_hurts_with_few_episodes_and_helps_with_many(q_rows):
    few, many = pick(q_rows, "exact V", trace=1.0)
    assert few["whole error"] > few["dropped"] == many["dropped"] > many["whole error"]
    cut = pick(q_rows, "exact V", trace=0.5, episodes=20)[0]
    assert cut["whole error"] < 0.6 * few["whole error"]


def test_an_unknown_problem_lists_the_known():
    with pytest.raises(ValueError, match=r"no problem 'lake'; it has probe/random-5x3, frozen_"):
        lab.make_problem("lake", 0)


def test_figures_draw_from_a_live_run(rows, q_rows):
    frame, q_frame = pd.DataFrame(rows), pd.DataFrame(q_rows)
    for figure in (
        laboratory_figure(frame),
        laboratory_figure(frame, "meta-gradient"),
        q_gradient_figure(q_frame),
    ):
        assert all(ax.has_data() for ax in figure.axes)
