"""Implicit differentiation against differences, autodiff through closed forms and other solvers."""

import itertools
from functools import partial

import pytest
import torch
from conftest import (
    StateProblem,
    central_difference,
    central_difference_at_once,
    random_features,
    random_logits,
    random_task,
    random_weights,
    relative_error,
    solve_task,
    stack,
)
from torch.func import grad, vmap

from bomrl_lite.adaptation.closed_forms import (
    closed_form_d1,
    closed_form_d2,
    policywise_hypergradient,
)
from bomrl_lite.adaptation.distances import DISTANCES, STATE_DISTANCES, d1, d2, d3
from bomrl_lite.adaptation.objective import adaptation_objective
from bomrl_lite.adaptation.solve import adapt
from bomrl_lite.policies.networks import linear_softmax, tabular_softmax
from bomrl_lite.rollout.data import DATA_FUNCTIONS, full_data
from bomrl_lite.solvers.implicit import (
    UnsolvedInnerProblem,
    constrained_vjp,
    hidden_by_vmap,
    implicit_vjp,
    is_solved,
    require_solved,
    unrolled_hypergradient,
)
from bomrl_lite.solvers.linear import (
    conjugate_gradient,
    dense_solve,
    neumann_series,
    null_space_safe_solve,
)
from bomrl_lite.solvers.maximize import maximize
from bomrl_lite.types import SolvedInfo

GAMMA = 0.9
KL = {"d1": d1, "d2": d2}
TASKS = [random_task(i) for i in range(3)]
LOGITS = [random_logits(i) for i in range(3)]
WEIGHTS = [random_weights(i) for i in range(3)]
FEATURES = [random_features(i) for i in range(3)]


def hellinger(phi, theta, *, policy, state_weights):
    half = (policy.log_probs(phi) + policy.log_probs(theta)) / 2
    return state_weights @ (2 - 2 * half.exp().sum(-1))


class Problem:
    """Alg of one task, solved at one phi, and the gradient of J there."""

    def __init__(self, kind, distance, lam, *, seed=0, data=full_data, task=None):
        self.task = TASKS[seed] if task is None else task
        if kind == "tabular":
            self.policy, self.name, self.x = tabular_softmax(5, 3), "logits", LOGITS[seed]
            self.features = torch.eye(15, dtype=torch.float64).reshape(5, 3, 15)
        else:
            self.features = FEATURES[seed]
            self.policy, self.name = linear_softmax(self.features), "weights"
            self.x = WEIGHTS[seed]
        self.phi, self.lam = {self.name: self.x}, lam
        self.dials = {"policy": self.policy, "distance": distance, "lam": lam}
        self.data_of = partial(data, task=self.task, policy=self.policy, gamma=GAMMA)
        self.theta = self.solve(self.x)
        self.cotangent = grad(lambda t: self.return_of(t[self.name]))(self.theta)

    def solve(self, x):
        phi = {self.name: x}
        return adapt(phi, self.data_of(phi), **self.dials)[0]

    def return_of(self, x):
        """J by the oracle."""
        probs = (self.features @ x.flatten()).softmax(-1)
        return solve_task(probs, self.task, GAMMA)[2]

    def objective(self, theta, phi):
        return adaptation_objective(theta, phi, self.data_of(phi), **self.dials) / self.lam

    def differences(self):
        """Central differences of phi -> J(Alg(phi))."""
        return central_difference_at_once(
            lambda x: self.return_of(self.solve(x)[self.name]), self.x
        )

    def implicit(self, scale=1.0, **kind):
        cotangent = {name: scale * leaf for name, leaf in self.cotangent.items()}
        return implicit_vjp(self.objective, self.theta, self.phi, cotangent, **kind)

    def policywise(self, scale=1.0, **kind):
        probs = self.policy.log_probs(self.theta).exp()
        cotangent = grad(lambda p: solve_task(p, self.task, GAMMA)[2])(probs)
        return policywise_hypergradient(
            self.data_of,
            self.theta,
            self.phi,
            scale * cotangent,
            policy=self.policy,
            state_distance=STATE_DISTANCES[self.dials["distance"]],
            lam=self.lam,
            **kind,
        )


def by_closed_form(name: str, rung: str, lam: float, seed: int) -> torch.Tensor:
    """torch.autograd through the hand-solved Alg, with the rung's dependence written out."""
    x = random_logits(seed).requires_grad_()
    probs = x.softmax(-1)
    _, q, _ = solve_task(probs, random_task(seed), GAMMA)
    if rung in ("frozen", "naive"):
        q = q.detach()
    if rung == "naive":
        q = q * probs.detach() / probs
    if name == "d2":
        theta = x + q / lam
    else:
        solved = StateProblem("d1", lam).solve_all(q.detach(), probs.detach())
        mu = (q + lam * probs / solved).detach().mean(-1, keepdim=True)
        excess = (lam * probs / (mu - q)).sum(-1, keepdim=True) - 1
        slope = (lam * probs / (mu - q) ** 2).sum(-1, keepdim=True).detach()
        theta = (probs / (mu + excess / slope - q)).log()
    value = solve_task(theta.softmax(-1), random_task(seed), GAMMA)[2]
    return torch.autograd.grad(value, x)[0]


@pytest.mark.parametrize("lam", [1.0, 20.0])
@pytest.mark.parametrize("name", KL)
def test_tabular_kl_equals_differences_of_an_independent_alg(name, lam):
    """The Alg that is differenced is numpy's, state by state; nothing of it is the package's."""
    problem = Problem("tabular", KL[name], lam)
    oracle = StateProblem(name, lam)

    def after(x):
        _, q, _ = solve_task(x.softmax(-1), problem.task, GAMMA)
        return solve_task(oracle.solve_all(q, x.softmax(-1)), problem.task, GAMMA)[2]

    expected = central_difference(after, problem.x)
    for got, info in (problem.implicit(), problem.policywise()):
        assert relative_error(got["logits"], expected) < 1e-8
        assert bool(is_solved(info))


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("name", KL)
@pytest.mark.parametrize("rung", DATA_FUNCTIONS)
def test_tabular_kl_equals_autodiff_through_the_closed_form_on_every_rung(rung, name, seed):
    problem = Problem("tabular", KL[name], 2.0, seed=seed, data=DATA_FUNCTIONS[rung])
    expected = by_closed_form(name, rung, 2.0, seed)
    assert relative_error(problem.policywise()[0]["logits"], expected) < 1e-10
    assert relative_error(problem.implicit()[0]["logits"], expected) < 1e-10


@pytest.mark.parametrize("name", KL)
def test_the_closed_forms_may_be_differentiated_themselves(name):
    """Once against the oracle; for D1, whose root is found by bisection, twice as well."""
    closed = {"d1": closed_form_d1, "d2": closed_form_d2}[name]

    def after(x):
        phi = {"logits": x}
        data = full_data(phi, TASKS[0], policy=tabular_softmax(5, 3), gamma=GAMMA)
        return solve_task(closed(phi, data, lam=2.0)["logits"].softmax(-1), TASKS[0], GAMMA)[2]

    expected = by_closed_form(name, "full", 2.0, 0)
    assert relative_error(grad(after)(LOGITS[0]), expected) < 1e-10
    twice = torch.func.grad(lambda x: (grad(after)(x) * LOGITS[1]).sum())(LOGITS[0])
    differences = central_difference_at_once(
        lambda x: (grad(after)(x) * LOGITS[1]).sum(), LOGITS[0]
    )
    assert relative_error(twice, differences) < 1e-8


CLIMBED = [
    ("tabular", d3, 2.0),
    ("linear", d1, 5.0),
    ("linear", d2, 5.0),
    ("linear", d3, 2.0),
    ("tabular", hellinger, 20.0),
    ("linear", hellinger, 20.0),
]


@pytest.mark.parametrize("seed", [0, 2])
@pytest.mark.parametrize(("kind", "distance", "lam"), CLIMBED)
def test_implicit_equals_central_differences(kind, distance, lam, seed):
    problem = Problem(kind, distance, lam, seed=seed)
    got, info = problem.implicit()
    assert relative_error(got[problem.name], problem.differences()) < 1e-6
    assert info.stationarity < 1e-9
    assert info.curvature > 0
    assert info.residual < 1e-10


SOLVERS = {
    "null space safe": null_space_safe_solve,
    "conjugate gradient": partial(conjugate_gradient, tolerance=1e-13),
    "dense": dense_solve,
    "Neumann": partial(neumann_series, step_size=1.0, tolerance=1e-12, max_iterations=800),
}


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("distance", [d1, d3], ids=["d1", "d3"])
def test_linear_solvers_are_interchangeable(distance, solver):
    problem = Problem("linear", distance, 20.0, seed=2)
    solve = SOLVERS[solver]
    if solver == "Neumann" and distance is d3:
        solve = partial(solve, step_size=0.4)
    got, info = problem.implicit(solve=solve)
    assert relative_error(got["weights"], problem.differences()) < 1e-8
    assert info.residual < 1e-9
    assert info.curvature > 0


def test_a_linear_solver_that_was_stopped_early_is_refused():
    problem = Problem("linear", d1, 20.0, seed=2)
    for solve in (
        partial(conjugate_gradient, max_iterations=1),
        partial(neumann_series, step_size=0.5, max_iterations=5),
    ):
        with pytest.raises(UnsolvedInnerProblem, match="another one"):
            problem.implicit(solve=solve)
        rough, info = problem.implicit(solve=solve, tolerance=float("inf"))
        exact, _ = problem.implicit()
        assert info.residual > 1e-3
        assert 1e-4 < relative_error(rough["weights"], exact["weights"]) < 1


def saddle(theta, phi):
    """Stationary at theta = (phi_0, -phi_1), where it curves down one way and up the other."""
    x, p = theta["x"], phi["x"]
    return -(x[0] ** 2) / 2 + x[1] ** 2 / 2 + x @ p


@pytest.mark.parametrize(
    "solve", [conjugate_gradient, null_space_safe_solve, dense_solve], ids=lambda f: f.__name__
)
def test_an_indefinite_system_is_refused_by_every_solver(solve):
    phi = {"x": torch.tensor([1.0, 2.0], dtype=torch.float64)}
    theta = {"x": torch.tensor([1.0, -2.0], dtype=torch.float64)}
    cotangent = {"x": torch.tensor([0.5, 1.0], dtype=torch.float64)}
    with pytest.raises(UnsolvedInnerProblem, match=r"1 of 1 .*smallest curvature -"):
        implicit_vjp(saddle, theta, phi, cotangent, solve=solve)
    _, info = implicit_vjp(saddle, theta, phi, cotangent, solve=solve, tolerance=float("inf"))
    assert info.stationarity == 0
    assert info.curvature < 0


def test_a_cotangent_along_the_good_direction_only_does_not_hide_the_bad_one():
    """CG meets no curvature that its right-hand side does not touch; eigh does."""
    phi = {"x": torch.tensor([1.0, 2.0], dtype=torch.float64)}
    theta = {"x": torch.tensor([1.0, -2.0], dtype=torch.float64)}
    with pytest.raises(UnsolvedInnerProblem):
        implicit_vjp(saddle, theta, phi, {"x": torch.tensor([1.0, 0.0], dtype=torch.float64)})


def test_a_theta_that_is_no_solution_is_refused_and_the_message_has_the_figures():
    problem = Problem("linear", d2, 5.0)
    nearly = {"weights": problem.theta["weights"] + 1e-3}
    with pytest.raises(UnsolvedInnerProblem) as error:
        implicit_vjp(problem.objective, nearly, problem.phi, problem.cotangent)
    stationarity = grad(problem.objective)(nearly, problem.phi)["weights"].norm()
    assert f"worst stationarity {stationarity:.2g}" in str(error.value)
    assert "not solved to 1e-06" in str(error.value)
    assert "tolerance=inf" in str(error.value)
    _, info = implicit_vjp(
        problem.objective, nearly, problem.phi, problem.cotangent, tolerance=float("inf")
    )
    assert abs(info.stationarity - stationarity) < 1e-15
    loose = implicit_vjp(
        problem.objective, nearly, problem.phi, problem.cotangent, tolerance=2 * stationarity.item()
    )[0]
    assert torch.isfinite(loose["weights"]).all()


@pytest.mark.parametrize("changed", ["stationarity", "curvature", "residual"])
def test_each_of_the_three_figures_can_refuse(changed):
    good = SolvedInfo(*torch.tensor([1e-9, 0.5, 1e-9], dtype=torch.float64))
    require_solved(good)
    bad = good._replace(**{changed: torch.tensor({"curvature": 0.0}.get(changed, 1e-5))})
    with pytest.raises(UnsolvedInnerProblem, match="1 of 1 inner problems"):
        require_solved(bad)
    assert not bool(is_solved(bad))
    missing = good._replace(**{changed: torch.tensor(torch.nan)})
    with pytest.raises(UnsolvedInnerProblem):
        require_solved(missing)
    assert bool(is_solved(good, 1e-8))
    assert not bool(is_solved(good, 1e-10))


@pytest.mark.parametrize("way", ["implicit", "policywise"])
@pytest.mark.parametrize("distance", KL.values(), ids=list(KL))
def test_whether_to_believe_it_does_not_depend_on_the_unit_of_the_return(way, distance):
    hypergradient = getattr(Problem("tabular", distance, 1.0), way)
    one, _ = hypergradient()
    many, info = hypergradient(scale=1e12)
    assert info.residual < 1e-8
    assert relative_error(many["logits"] / 1e12, one["logits"]) < 1e-9


def test_unsolved_problems_among_many_are_nan_and_are_counted():
    problem = Problem("linear", d2, 5.0)
    thetas = torch.stack([problem.theta["weights"], problem.theta["weights"] + 0.1])

    def pulled(theta, tolerance=1e-6):
        return implicit_vjp(
            problem.objective,
            {"weights": theta},
            problem.phi,
            problem.cotangent,
            tolerance=tolerance,
        )

    got, info = vmap(pulled)(thetas)
    single = pulled(thetas[0])[0]["weights"]
    torch.testing.assert_close(got["weights"][0], single, rtol=1e-12, atol=1e-12)
    assert got["weights"][1].isnan().all()
    with pytest.raises(UnsolvedInnerProblem, match="1 of 2 inner problems"):
        require_solved(info)
    anyway, _ = vmap(partial(pulled, tolerance=float("inf")))(thetas)
    assert torch.isfinite(anyway["weights"]).all()


def test_values_are_hidden_by_vmap_alone_also_behind_gradients():
    hidden, x = [], torch.ones(3, 2)

    def total(y):
        hidden.append(hidden_by_vmap(y))
        return y.sum()

    for run in (
        total,
        grad(total),
        vmap(total),
        vmap(grad(total)),
        grad(lambda y: vmap(total)(y).sum()),
    ):
        run(x)
    assert hidden == [False, False, True, True, True]


@pytest.mark.parametrize("kind", ["tabular", "linear"])
@pytest.mark.parametrize("distance", DISTANCES.values(), ids=DISTANCES)
def test_implicit_over_a_batch_equals_a_loop(distance, kind):
    def pulled(task):
        return Problem(kind, distance, 20.0, task=task).implicit()

    batched, info = vmap(pulled)(stack(TASKS))
    require_solved(info)
    for i, task in enumerate(TASKS):
        single = pulled(task)[0]
        for name, leaf in single.items():
            torch.testing.assert_close(batched[name][i], leaf, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", KL)
def test_policywise_over_a_batch_equals_a_loop_and_marks_the_unsolved(name):
    def pulled(task, shift=0.0):
        problem = Problem("tabular", KL[name], 2.0, task=task)
        tilt = torch.tensor([1.0, 0.0, 0.0], dtype=torch.float64)
        problem.theta = {"logits": problem.theta["logits"] + shift * tilt}
        return problem.policywise()

    batched, info = vmap(pulled)(stack(TASKS))
    require_solved(info)
    for i, task in enumerate(TASKS):
        single = pulled(task)[0]["logits"]
        torch.testing.assert_close(batched["logits"][i], single, rtol=1e-12, atol=1e-12)
    spoiled, info = vmap(pulled)(stack(TASKS), torch.tensor([0.0, 0.1, 0.0], dtype=torch.float64))
    assert [bool(row.isnan().all()) for row in spoiled["logits"]] == [False, True, False]
    with pytest.raises(UnsolvedInnerProblem, match="1 of 3"):
        require_solved(info)
    with pytest.raises(UnsolvedInnerProblem):
        pulled(TASKS[0], 0.1)


def test_policywise_needs_free_logits():
    problem = Problem("linear", d1, 5.0)
    with pytest.raises(ValueError, match=r"free logits.*use implicit_vjp"):
        problem.policywise()


def test_the_spurious_stationary_point_of_d2_in_logits():
    """One action's logit 45 too low: its probability, e^-45, hides what there is to gain from it.

    The slope in logits is below 1e-12, and differences of a solver that starts there agree with the
    implicit hypergradient there: neither can tell. The slope in probabilities can.
    """
    problem = Problem("tabular", d2, 2.0)
    spurious = problem.theta["logits"].clone()
    spurious[0, 1] -= 45
    theta = {"logits": spurious}
    slope = grad(problem.objective)(theta, problem.phi)
    assert slope["logits"].norm() < 1e-12
    assert problem.theta["logits"].softmax(-1)[0, 1] > 0.05
    assert abs(problem.return_of(problem.theta["logits"]) - problem.return_of(spurious)) > 1e-2

    cotangent = grad(lambda t: problem.return_of(t["logits"]))(theta)
    implicit, info = implicit_vjp(problem.objective, theta, problem.phi, cotangent)
    assert bool(is_solved(info))

    def from_there(x):
        climbed, _ = maximize(lambda t: problem.objective(t, {"logits": x}), theta, tolerance=1e-13)
        return problem.return_of(climbed["logits"])

    assert relative_error(implicit["logits"], central_difference_at_once(from_there, problem.x)) < (
        1e-6
    )
    true, _ = problem.policywise()
    assert relative_error(implicit["logits"], true["logits"]) > 1e-2

    problem.theta = theta
    with pytest.raises(UnsolvedInnerProblem, match="worst stationarity 4"):
        problem.policywise()
    solved = problem.solve(problem.x)["logits"]
    assert solved.softmax(-1)[0, 1] > 0.05


@pytest.mark.parametrize("distance", DISTANCES.values(), ids=DISTANCES)
def test_a_constant_in_a_states_logits_is_no_direction(distance):
    """Gauge: a hypergradient of logits sums to 0 over actions; a shift of phi changes nothing."""
    problem = Problem("tabular", distance, 2.0)
    pulled, _ = problem.implicit()
    scale = pulled["logits"].abs().max()
    assert (pulled["logits"].sum(-1).abs() < 1e-12 * scale).all()
    shifted = Problem("tabular", distance, 2.0)
    shift = torch.arange(5, dtype=torch.float64)[:, None] - 2
    shifted.phi = {"logits": shifted.x + shift}
    shifted.theta = shifted.solve(shifted.x + shift)
    again, _ = shifted.implicit()
    assert relative_error(again["logits"], pulled["logits"]) < 1e-10
    if distance is not d3:
        apart, _ = problem.policywise()
        again, _ = shifted.policywise()
        assert (apart["logits"].sum(-1).abs() < 1e-12 * scale).all()
        assert relative_error(again["logits"], apart["logits"]) < 1e-10


def unrolled(problem, num_steps, step_size):
    return unrolled_hypergradient(
        problem.objective,
        lambda t: problem.return_of(t["logits"]),
        problem.phi,
        step_size=step_size,
        num_steps=num_steps,
    )["logits"]


@pytest.mark.parametrize("distance", [d2, d3], ids=["d2", "d3"])
def test_unrolled_is_the_exact_gradient_of_the_truncated_alg(distance):
    problem = Problem("tabular", distance, 2.0)

    def truncated(x):
        theta, phi = x, {"logits": x}
        for _ in range(4):
            slope = grad(problem.objective)({"logits": theta}, phi)["logits"]
            theta = theta + 0.3 * slope
        return problem.return_of(theta)

    expected = central_difference_at_once(truncated, problem.x)
    assert relative_error(unrolled(problem, 4, 0.3), expected) < 1e-8
    exact = problem.policywise if distance is d2 else problem.implicit
    assert relative_error(expected, exact()[0]["logits"]) > 1e-3


def test_unrolled_comes_closer_with_every_step():
    problem = Problem("tabular", d2, 2.0, seed=1)
    exact = problem.policywise()[0]["logits"]
    errors = [relative_error(unrolled(problem, k, step_size=6.0), exact) for k in (5, 20, 50, 200)]
    assert all(later < earlier for earlier, later in itertools.pairwise(errors))
    assert errors[0] > 0.1
    assert errors[-1] < 1e-3


def test_no_step_at_all_is_the_gradient_at_phi():
    problem = Problem("tabular", d2, 2.0)
    expected = central_difference(problem.return_of, problem.x)
    assert relative_error(unrolled(problem, 0, 1.0), expected) < 1e-9


@pytest.mark.filterwarnings("ignore:We've integrated functorch:FutureWarning")
@pytest.mark.parametrize("kind", ["tabular", "linear"])
def test_torchopts_implicit_root_agrees(kind):
    """One more implementation of the same theorem, where it is installed."""
    torchopt = pytest.importorskip("torchopt")
    problem = Problem(kind, d1 if kind == "linear" else d3, 5.0)

    def stationary(x, p):
        return grad(problem.objective)({problem.name: x}, {problem.name: p})[problem.name]

    @torchopt.diff.implicit.custom_root(
        stationary, argnums=1, solve=torchopt.linear_solve.solve_cg()
    )
    def solved(x, p):
        return problem.theta[problem.name]

    p = problem.x.clone().requires_grad_()
    value = problem.return_of(solved(problem.theta[problem.name].clone(), p))
    expected = torch.autograd.grad(value, p)[0]
    assert relative_error(problem.implicit()[0][problem.name], expected) < 1e-4


SIDEWAYS = torch.tensor([3.0, 4.0], dtype=torch.float64)


def valley(x, phi):
    """Falls along (4, -3) with curvature 2, rises along (3, 4) with curvature 1; both unit 1/5."""
    along, across = (x["x"] @ v / 5 for v in (torch.tensor([4.0, -3.0]).double(), SIDEWAYS))
    return -(along.square()) + across.square() / 2 + across + phi["x"].sum() * along


def wall(x, phi):
    """C = <(3, 4), x>, whose normal is 5 long."""
    return SIDEWAYS @ x["x"]


def test_curvature_counts_along_the_constraint_alone():
    """At x = 0 the wall binds: F falls along it with curvature 2, and rises across it."""
    x = {"x": torch.zeros(2, dtype=torch.float64)}
    eta = torch.tensor(0.2, dtype=torch.float64)  # <(3, 4) / 5, grad F> / 5
    cotangent = {"x": torch.tensor([4.0, -3.0], dtype=torch.float64)}
    pulled, info = constrained_vjp(valley, wall, x, eta, x, cotangent)
    assert info.curvature.item() == pytest.approx(2 / 0.2)
    assert info.stationarity < 1e-12
    # theta moves by 1 / 2 along (4, -3) / 5 with either number of phi.
    torch.testing.assert_close(pulled["x"], torch.full((2,), 5 / 2, dtype=torch.float64))


def test_where_no_constraint_binds_figures_are_those_of_the_objective():
    def bowl(x, phi):
        return -1.5 * x["x"].square().sum()

    def far_wall(x, phi):
        return wall(x, phi) - 9

    x = {"x": torch.tensor([0.1, 0.0], dtype=torch.float64)}
    free = torch.zeros((), dtype=torch.float64)
    _, info = constrained_vjp(bowl, far_wall, x, free, x, x, tolerance=0.5)
    assert info.stationarity.item() == pytest.approx(0.3)
    assert info.curvature.item() == pytest.approx(3.0)
