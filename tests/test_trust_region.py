"""The constrained form: its solution, its multiplier, and differentiation through both."""

import functools
from functools import partial

import pytest
import torch
from conftest import (
    central_difference_at_once,
    random_features,
    random_logits,
    random_task,
    random_weights,
    relative_error,
    solve_task,
)
from torch.func import grad, vmap

from bomrl_lite.adaptation.closed_forms import policywise_constrained_vjp
from bomrl_lite.adaptation.distances import d1, d2, d3, kl_divergence, reverse_kl_divergence
from bomrl_lite.adaptation.objective import surrogate_objective
from bomrl_lite.adaptation.solve import adapt
from bomrl_lite.adaptation.trust_region import adapt_in_trust_region
from bomrl_lite.mdp import expected_return
from bomrl_lite.policies.networks import linear_softmax, tabular_softmax
from bomrl_lite.rollout.data import DATA_FUNCTIONS, full_data
from bomrl_lite.solvers.implicit import (
    UnsolvedInnerProblem,
    constrained_vjp,
    implicit_vjp,
    is_solved,
    require_solved,
)
from bomrl_lite.training.config import configure
from bomrl_lite.training.trainer import meta_train
from bomrl_lite.types import TabularTask

GAMMA = 0.9
TASKS = [random_task(i) for i in range(3)]
PROBLEMS = {
    "tabular": (tabular_softmax(5, 3), {"logits": random_logits(0)}),
    "linear": (linear_softmax(random_features(0)), {"weights": random_weights(0)}),
}
# One weight that the first state wants up and the second, three times as strongly, down: L has a
# top inside, near -1.2.
INSIDE = TabularTask(
    torch.tensor([[[0.7, 0.3], [0.4, 0.6]], [[0.5, 0.5], [0.2, 0.8]]], dtype=torch.float64),
    torch.tensor([[1.0, 0.0], [-0.5, 1.0]], dtype=torch.float64),
    torch.tensor([0.5, 0.5], dtype=torch.float64),
)
SCALES = torch.tensor([[[1.0], [0.0]], [[3.0], [0.0]]], dtype=torch.float64)
START = {"weights": torch.tensor([-0.5], dtype=torch.float64)}


FEATURES = random_features(0)
SOLVED = [
    ("tabular", d1, 0.05),
    ("tabular", d2, 0.2),
    ("tabular", d3, 0.2),
    ("linear", d2, 0.02),
]
"""What ``adapt_in_trust_region`` is asked to solve; where it has to climb it takes seconds."""

PRICED = [
    ("tabular", d1, 2.0),
    ("tabular", d2, 2.0),
    ("tabular", d3, 2.0),
    ("linear", d1, 5.0),
    ("linear", d2, 5.0),
    ("linear", d3, 2.0),
]
"""Alg at this lam solves the constrained problem whose delta is the D^2 that it went, eta = lam."""


def logits_of(kind, x):
    return x if kind == "tabular" else FEATURES @ x


class ByHand:
    """L and D^2 of the oracle, and their best theta by Newton steps on the KKT conditions."""

    def __init__(self, kind, distance, delta, x, task=TASKS[0]):
        self.kind, self.distance, self.delta, self.x = kind, distance, delta, x
        self.nu, self.q, _ = solve_task(logits_of(kind, x).softmax(-1), task, GAMMA)

    def surrogate(self, y):
        return self.nu @ (logits_of(self.kind, y).softmax(-1) * self.q).sum(-1)

    def apart(self, y):
        p, q = (logits_of(self.kind, z).softmax(-1) for z in (self.x, y))
        if self.distance is d1:
            return self.nu @ (p * (p / q).log()).sum(-1)
        if self.distance is d2:
            return self.nu @ (q * (q / p).log()).sum(-1)
        return (self.x - y).square().sum()

    def conditions(self, z, like):
        y, eta = z[:-1].reshape(like.shape), z[-1]
        slope = grad(lambda y: self.surrogate(y) - eta * self.apart(y))(y)
        return torch.cat([slope.flatten(), (self.apart(y) - self.delta)[None]])

    def finish(self, theta, eta):
        z = torch.cat([theta.flatten(), eta[None]])
        for _ in range(4):
            matrix = torch.func.jacfwd(lambda z: self.conditions(z, theta))(z)
            z = z - torch.linalg.pinv(matrix, rtol=1e-10) @ self.conditions(z, theta)
        return z[:-1].reshape(theta.shape)


def pieces(theta, eta, delta, phi, task, *, policy, gamma, distance):
    """What ``constrained_vjp`` takes."""
    data_of = partial(full_data, task=task, policy=policy, gamma=gamma)

    def surrogate(x, p):
        return surrogate_objective(x, data_of(p), policy=policy)

    def excess(x, p):
        weights = data_of(p).state_weights
        return distance(p, x, policy=policy, state_weights=weights) - delta

    cotangent = grad(lambda x: solve_task(policy.log_probs(x).exp(), task, gamma)[2])(theta)
    return surrogate, excess, theta, eta, phi, cotangent


def at_price(kind, distance, lam, task=TASKS[0]):
    policy, phi = PROBLEMS[kind]
    data = full_data(phi, task, policy=policy, gamma=GAMMA)
    theta, info = adapt(phi, data, policy=policy, distance=distance, lam=lam)
    eta = torch.tensor(lam, dtype=torch.float64)
    dials = {"policy": policy, "gamma": GAMMA, "distance": distance}
    return pieces(theta, eta, info.distance, phi, task, **dials)


def solve(kind, distance, delta, task=TASKS[0]):
    policy, phi = PROBLEMS[kind]
    data = full_data(phi, task, policy=policy, gamma=GAMMA)
    return adapt_in_trust_region(phi, data, policy=policy, distance=distance, delta=delta)


@pytest.mark.parametrize(("kind", "distance", "delta"), SOLVED)
def test_solution_meets_the_conditions_of_karush_kuhn_and_tucker(kind, distance, delta):
    ((name, x),) = PROBLEMS[kind][1].items()
    theta, eta, info = solve(kind, distance, delta)
    by_hand, y = ByHand(kind, distance, delta, x), theta[name]
    assert abs(by_hand.apart(y) - delta) < 1e-9
    assert abs(info.distance - delta) < 1e-9
    assert eta > 0
    assert relative_error(eta * grad(by_hand.apart)(y), grad(by_hand.surrogate)(y)) < 1e-8
    assert info.stationarity < 1e-9
    assert info.curvature > 0

    best, generator = by_hand.surrogate(y), torch.Generator().manual_seed(0)
    others = torch.randn(300, *y.shape, dtype=torch.float64, generator=generator)
    for size in (0.01, 0.1, 1.0):
        for other in y + size * others:
            short = x + (other - x) * min(1, (delta / by_hand.apart(other)) ** 0.5)
            if by_hand.apart(short) <= delta:
                assert by_hand.surrogate(short) < best


def test_a_larger_region_has_a_smaller_multiplier_and_a_larger_gain():
    policy, phi = PROBLEMS["tabular"]
    data = full_data(phi, TASKS[1], policy=policy, gamma=GAMMA)
    found = [
        adapt_in_trust_region(phi, data, policy=policy, distance=d1, delta=delta)
        for delta in (1e-6, 1e-3, 0.1, 1.0)
    ]
    etas = [eta.item() for _, eta, _ in found]
    gains = [surrogate_objective(theta, data, policy=policy).item() for theta, _, _ in found]
    assert etas == sorted(etas, reverse=True)
    assert gains == sorted(gains)
    assert all(info.stationarity < 1e-9 for _, _, info in found)


def test_a_region_that_lets_a_policy_become_deterministic_has_no_best_theta_and_says_so():
    """D2 to the greedy policy is finite: with more room than that, nothing stops the logits."""
    policy, phi = PROBLEMS["tabular"]
    data = full_data(phi, TASKS[0], policy=policy, gamma=GAMMA)
    _, eta, info = adapt_in_trust_region(phi, data, policy=policy, distance=d2, delta=50.0)
    assert eta == 0
    greedy = data.q_values.argmax(-1)
    room = -data.state_weights @ phi["logits"].log_softmax(-1)[torch.arange(5), greedy]
    assert room < 50
    least = (data.q_values.max(-1, keepdim=True).values - data.q_values).max()
    assert abs(info.stationarity - least) < 1e-6, "the slope towards what is no longer taken"
    assert abs(info.distance - room) < 1e-2
    close = adapt_in_trust_region(phi, data, policy=policy, distance=d2, delta=0.9 * room.item())
    assert close[1] > 0
    assert close[2].stationarity < 1e-9


@pytest.mark.parametrize(("kind", "distance", "lam"), PRICED)
def test_constrained_vjp_equals_central_differences(kind, distance, lam):
    problem = at_price(kind, distance, lam)
    surrogate, excess, theta, eta, phi, cotangent = problem
    ((name, x),) = phi.items()
    room = ByHand(kind, distance, 0.0, x).apart(theta[name])

    def after(y):
        solved = ByHand(kind, distance, room, y).finish(theta[name], eta)
        return solve_task(logits_of(kind, solved).softmax(-1), TASKS[0], GAMMA)[2]

    got, info = constrained_vjp(*problem)
    assert relative_error(got[name], central_difference_at_once(after, x)) < 1e-6
    assert bool(is_solved(info))
    constant = implicit_vjp(
        lambda y, p: surrogate(y, p) / eta - excess(y, p), theta, phi, cotangent
    )[0]
    assert relative_error(constant[name], got[name]) > 0.005, "eta is no constant of phi"


def test_the_curvature_is_that_along_the_surface():
    """F = x0^2 - x1^2 + 4 x0 on the unit disc: up at (1, 0), where F itself curves upwards."""

    def hill(x, p):
        return x["x"][0] ** 2 + 4 * x["x"] @ p["x"] - x["x"][1] ** 2

    def disc(x, p):
        return x["x"].square().sum() - 1

    phi = {"x": torch.tensor([1.0, 0.0], dtype=torch.float64)}
    top = {"x": torch.tensor([1.0, 0.0], dtype=torch.float64)}
    cotangent = {"x": torch.tensor([0.0, 1.0], dtype=torch.float64)}
    eta = torch.tensor(3.0, dtype=torch.float64)
    got, info = constrained_vjp(hill, disc, top, eta, phi, cotangent)
    # Along the circle F'' = -2 - 2 eta = -8, so d theta_1 / d phi_1 = 4 / 8; theta_0 cannot move.
    torch.testing.assert_close(got["x"], torch.tensor([0.0, 0.5], dtype=torch.float64))
    assert abs(info.curvature - 8 / 3) < 1e-12
    bottom = {"x": torch.tensor([-1.0, 0.0], dtype=torch.float64)}
    with pytest.raises(UnsolvedInnerProblem):
        constrained_vjp(hill, disc, bottom, torch.tensor(3.0).double(), phi, cotangent)


def test_a_surface_without_a_direction_left_has_a_solution_all_the_same():
    """One state and two arms: the constraint decides theta, the rest is gauge."""
    task = TabularTask(
        torch.ones(1, 2, 1, dtype=torch.float64),
        torch.tensor([[1.0, 0.0]], dtype=torch.float64),
        torch.ones(1, dtype=torch.float64),
    )
    policy = tabular_softmax(1, 2)
    for lead in (-1.0, 0.3, 2.0):
        phi = {"logits": torch.tensor([[lead, 0.0]], dtype=torch.float64)}
        data = full_data(phi, task, policy=policy, gamma=0.0)
        dials = {"policy": policy, "distance": d2}
        theta, eta, _ = adapt_in_trust_region(phi, data, **dials, delta=0.05)
        problem = pieces(theta, eta, 0.05, phi, task, gamma=0.0, **dials)
        _, info = constrained_vjp(*problem)
        assert bool(is_solved(info))


def test_a_saddle_on_the_surface_is_refused():
    """F = 3 x0 + 4 x1^2 at (1, 0): stationary on the disc, but F rises along the circle."""

    def hill(x, p):
        return 3 * x["x"][0] + 4 * x["x"][1] ** 2 + 0 * p["x"].sum()

    def disc(x, p):
        return x["x"].square().sum() - 1

    x = {"x": torch.tensor([1.0, 0.0], dtype=torch.float64)}
    with pytest.raises(UnsolvedInnerProblem, match="smallest curvature -"):
        constrained_vjp(hill, disc, x, torch.tensor(1.5).double(), x, x)


@functools.cache
def inside():
    dials = {"policy": linear_softmax(SCALES), "distance": d1}
    data = full_data(START, INSIDE, policy=dials["policy"], gamma=0.5)
    theta, eta, info = adapt_in_trust_region(START, data, **dials, delta=1.0)
    return pieces(theta, eta, 1.0, START, INSIDE, gamma=0.5, **dials), info


def test_an_inactive_constraint_is_left_out():
    problem, found = inside()
    surrogate, excess, theta, eta, phi, cotangent = problem
    assert eta == 0
    assert found.stationarity < 1e-10
    assert found.curvature > 0
    assert excess(theta, phi) < -0.5
    got, info = constrained_vjp(*problem)
    free, _ = implicit_vjp(surrogate, theta, phi, cotangent)
    assert relative_error(got["weights"], free["weights"]) < 1e-12
    assert bool(is_solved(info))

    def top(x, start=-1.2):
        """By Newton's method on the sum written out; a grid shows that it is a top."""
        nu, q, _ = solve_task((SCALES @ x).softmax(-1), INSIDE, 0.5)

        def surrogate(w):
            return (((w * SCALES[..., 0]).softmax(-1) * q).sum(-1) * nu).sum()

        w = torch.tensor(start, dtype=torch.float64)
        for _ in range(6):
            w = w - grad(surrogate)(w) / grad(grad(surrogate))(w)
        return w, surrogate

    w, surrogate = top(START["weights"])
    assert abs(theta["weights"] - w) < 1e-10
    assert all(surrogate(w + step) < surrogate(w) for step in torch.linspace(-1, 1, 50).double())

    def after(x):
        return solve_task((SCALES[..., 0] * top(x)[0]).softmax(-1), INSIDE, 0.5)[2]

    assert (
        relative_error(got["weights"], central_difference_at_once(after, START["weights"])) < 1e-6
    )


def test_a_constraint_that_just_touches_is_a_kink_and_refused():
    """eta = 0 and D^2 = delta: to one side of phi theta is L's top, to the other the border."""
    problem, _ = inside()
    surrogate, excess, theta, _, phi, cotangent = problem
    level = excess(theta, phi)
    zero = torch.zeros((), dtype=torch.float64)
    with pytest.raises(UnsolvedInnerProblem, match=r"degenerate.*kink in phi"):
        constrained_vjp(surrogate, lambda x, p: excess(x, p) - level, theta, zero, phi, cotangent)


def test_a_theta_off_the_constraint_is_refused():
    surrogate, excess, theta, eta, phi, cotangent = at_price("tabular", d1, 2.0)
    for off in (1e-3, -1e-3):
        with pytest.raises(UnsolvedInnerProblem, match=r"worst stationarity 0\.001"):
            constrained_vjp(
                surrogate, lambda x, p, off=off: excess(x, p) + off, theta, eta, phi, cotangent
            )
    with pytest.raises(UnsolvedInnerProblem):
        constrained_vjp(surrogate, excess, theta, 1.1 * eta, phi, cotangent)


BATCH = TabularTask(*(torch.stack(field) for field in zip(*TASKS, strict=True)))


@pytest.mark.parametrize("distance", [d1, d2], ids=["d1", "d2"])
def test_solutions_over_a_batch_equal_a_loop(distance):
    batched = vmap(lambda task: solve("tabular", distance, 0.2, task))(BATCH)
    for i, task in enumerate(TASKS):
        theta, eta, info = solve("tabular", distance, 0.2, task)
        close = {"rtol": 1e-12, "atol": 1e-12}
        torch.testing.assert_close(batched[0]["logits"][i], theta["logits"], **close)
        torch.testing.assert_close(batched[1][i], eta, **close)
        torch.testing.assert_close(batched[2].distance[i], info.distance, **close)


@pytest.mark.parametrize(("kind", "distance", "lam"), PRICED)
def test_constrained_vjp_over_a_batch_equals_a_loop(kind, distance, lam):
    def pulled(task):
        return constrained_vjp(*at_price(kind, distance, 4 * lam, task))

    batched, info = vmap(pulled)(BATCH)
    require_solved(info)
    for i, task in enumerate(TASKS[:2]):
        for name, leaf in pulled(task)[0].items():
            torch.testing.assert_close(batched[name][i], leaf, rtol=1e-12, atol=1e-12)


def state_by_state(distance, kind, phi, task, delta, data, scale=1.0, **dials):
    """Differentiate the trust region in probabilities: (hypergradient, info)."""
    policy = PROBLEMS["tabular"][0]
    batch = full_data(phi, task, policy=policy, gamma=GAMMA)
    theta, eta, _ = adapt_in_trust_region(phi, batch, policy=policy, distance=distance, delta=delta)
    cotangent = grad(lambda table: expected_return(table, task, GAMMA))(
        policy.log_probs(theta).exp()
    )
    return policywise_constrained_vjp(
        partial(data, task=task, policy=policy, gamma=GAMMA),
        theta,
        eta,
        phi,
        scale * cotangent,
        policy=policy,
        state_distance=kind,
        delta=delta,
        **dials,
    )


KINDS = [(d1, kl_divergence), (d2, reverse_kl_divergence)]


@pytest.mark.parametrize(("distance", "kind"), KINDS, ids=["d1", "d2"])
@pytest.mark.parametrize("rung", DATA_FUNCTIONS)
def test_state_by_state_equals_the_bordered_system_in_logits(distance, kind, rung):
    policy, phi = PROBLEMS["tabular"]
    task, delta = TASKS[1], 0.05
    data_of = partial(DATA_FUNCTIONS[rung], task=task, policy=policy, gamma=GAMMA)
    theta, eta, _ = adapt_in_trust_region(
        phi, data_of(phi), policy=policy, distance=distance, delta=delta
    )
    cotangent = grad(lambda x: expected_return(policy.log_probs(x).exp(), task, GAMMA))(theta)
    in_logits, _ = constrained_vjp(
        lambda x, p: surrogate_objective(x, data_of(p), policy=policy),
        lambda x, p: distance(p, x, policy=policy, state_weights=data_of(p).state_weights) - delta,
        theta,
        eta,
        phi,
        cotangent,
    )
    got, info = state_by_state(distance, kind, phi, task, delta, DATA_FUNCTIONS[rung])
    assert bool(is_solved(info))
    assert relative_error(got["logits"], in_logits["logits"]) < 1e-9


@pytest.mark.parametrize(("distance", "kind"), KINDS, ids=["d1", "d2"])
def test_state_by_state_equals_central_differences(distance, kind):
    policy, phi = PROBLEMS["tabular"]
    task = TASKS[2]

    def after(logits):
        start = {"logits": logits}
        batch = full_data(start, task, policy=policy, gamma=GAMMA)
        theta, _, _ = adapt_in_trust_region(
            start, batch, policy=policy, distance=distance, delta=0.1
        )
        return expected_return(theta["logits"].softmax(-1), task, GAMMA)

    got, _ = state_by_state(distance, kind, phi, task, 0.1, full_data)
    scaled, info = state_by_state(distance, kind, phi, task, 0.1, full_data, scale=1e12)
    assert info.residual < 1e-8
    assert relative_error(scaled["logits"] / 1e12, got["logits"]) < 1e-9
    expected = central_difference_at_once(after, phi["logits"])
    assert relative_error(got["logits"], expected) < 1e-8


def test_state_by_state_refuses_a_region_without_a_solution():
    _, phi = PROBLEMS["tabular"]
    with pytest.raises(UnsolvedInnerProblem):
        state_by_state(d2, reverse_kl_divergence, phi, TASKS[0], 50.0, full_data)
    _, info = state_by_state(
        d2, reverse_kl_divergence, phi, TASKS[0], 50.0, full_data, tolerance=torch.inf
    )
    assert not bool(is_solved(info))


def test_training_with_the_default_region_on_lakes():
    config = configure("bomrl_trust_region", num_tasks=5, iterations=20, learning_rate=0.1)
    history = meta_train(config).history
    assert history[-1]["return_after"] > history[0]["return_after"] + 0.2
    assert max(row["unsolved"] for row in history) == 0


@pytest.mark.parametrize("delta", [1e-9, 1e-12])
def test_a_tiny_region_is_used_up_too(delta):
    """Its multiplier grows as delta^{-1/2}, far beyond the spread of Q."""
    policy, phi = PROBLEMS["tabular"]
    data = full_data(phi, TASKS[0], policy=policy, gamma=GAMMA)
    _, eta, info = adapt_in_trust_region(phi, data, policy=policy, distance=d2, delta=delta)
    assert abs(info.distance / delta - 1) < 1e-2
    nu, q, _ = solve_task(random_logits(0).softmax(-1), TASKS[0], GAMMA)
    probs = random_logits(0).softmax(-1)
    advantage = q - (probs * q).sum(-1, keepdim=True)
    # To second order D^2 = E[A^2] / (2 eta^2).
    expected = ((nu @ (probs * advantage.square()).sum(-1)) / (2 * delta)).sqrt()
    assert abs(eta / expected - 1) < 1e-2
