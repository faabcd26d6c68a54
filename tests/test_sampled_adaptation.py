"""Alg on samples against dense linear algebra, and its way back against finite differences."""

from functools import partial

import pytest
import torch
from sampled_oracle import GAMMA, TRACE, SampledOracle, categorical, gaussian
from torch.func import grad, vmap

from bomrl_lite.adaptation.distances import add_distances, d1, d2, d3
from bomrl_lite.adaptation.gradient import gradient_adaptation
from bomrl_lite.adaptation.head import head_adaptation
from bomrl_lite.adaptation.natural import natural_adaptation, region_adaptation
from bomrl_lite.adaptation.objective import surrogate_objective
from bomrl_lite.adaptation.reductions import smooth_clip_surrogate
from bomrl_lite.adaptation.settings import (
    HeadClosedForm,
    NaturalRegion,
    NaturalStep,
    SampledArgmax,
    alg_on_samples,
)
from bomrl_lite.adaptation.solve import (
    linearised_objective,
    penalised_objective,
    solved_adaptation,
)
from bomrl_lite.policies.networks import categorical_mlp, gaussian_mlp, over_states, tabular_softmax
from bomrl_lite.rollout.data import SAMPLE_FUNCTIONS, SampleBatch, policy_at
from bomrl_lite.solvers.inner import dense_solver, matrix_free_solver

HEAD = ("head.weight", "head.bias")
EXACT = {"tolerance": 1e-14, "max_iterations": 60}
"""Conjugate gradients until rounding stops them."""
RUNGS = tuple(SAMPLE_FUNCTIONS)


class Bound:
    """The package's policy on the oracle's batch, and each Alg bound to both."""

    def __init__(self, oracle: SampledOracle, rung: str, batch: SampleBatch | None = None):
        self.batch = oracle.before if batch is None else batch
        make = categorical_mlp if oracle.discrete else gaussian_mlp
        self.policy = make(2, 2, hidden=(3,), dtype=torch.float64)
        self.at = policy_at(self.batch, self.policy)
        more = {"gamma": GAMMA, "causal_trace": TRACE} if rung in ("q_gradient", "full") else {}
        self.data_of = partial(SAMPLE_FUNCTIONS[rung], batch=self.batch, policy=self.policy, **more)

    def gradient(self, phi, names=(), **dials):
        return gradient_adaptation(phi, self.data_of, policy=self.at, names=names, **dials)

    def head(self, phi, names=(), **dials):
        return head_adaptation(phi, self.data_of, policy=self.at, **dials)

    def natural(self, phi, names=(), **dials):
        dials = {"policy": self.at, "names": names, **EXACT, **dials}
        return natural_adaptation(phi, self.data_of, **dials)

    def region(self, phi, names=(), **dials):
        dials = {"policy": self.at, "names": names, **EXACT, **dials}
        return region_adaptation(phi, self.data_of, **dials)

    def solved(self, phi, names=(), *, surrogate, distance, ridge, lam, solver=None):
        base = {"d1": d1, "d2": d2, "d3": d3}[distance]
        total = add_distances((1.0, base), (ridge / 2, d3))
        problem = {"policy": self.at, "distance": total, "lam": lam}
        if surrogate == "linear":
            objective = linearised_objective(self.data_of, names=names, **problem)
        else:
            promised = {"smooth_clip": smooth_clip_surrogate, "ratio": surrogate_objective}
            problem["surrogate"] = promised[surrogate]
            objective = penalised_objective(self.data_of, **problem)
        return solved_adaptation(phi, objective, names=names, solver=solver)


DIALS = {
    "gradient": {"step_size": 0.5},
    "head": {"lam": 0.3, "ridge": 0.5},
    "natural": {"lam": 0.3, "ridge": 0.5},
    "region": {"delta": 0.4, "ridge": 0.5},
}


@pytest.mark.parametrize("settings", [HeadClosedForm(), NaturalStep(parameters="head")])
def test_a_policy_without_a_head_is_refused_before_there_are_episodes(settings):
    policy = over_states(tabular_softmax(2, 2))
    with pytest.raises(ValueError, match="a tabular policy has no head to adapt alone"):
        alg_on_samples(settings, "frozen", policy, gamma=GAMMA)


@pytest.mark.parametrize("lam", [0.25, 3.0])
def test_the_penalised_objective_is_what_is_gained_in_units_of_lam_less_the_distance(lam):
    """L summed over samples by hand; D^2 of torch's own Gaussians."""
    oracle = gaussian()
    bound, batch = Bound(oracle, "frozen"), oracle.before
    moved = oracle.phi + 0.1 * oracle.direction
    seen = batch.observations.flatten(0, 1)
    old, new = (oracle.distribution(x, seen) for x in (oracle.phi, moved))
    weights = batch.weights.flatten()
    divergence = weights @ torch.distributions.kl_divergence(old, new)
    ratio = (new.log_prob(batch.actions.flatten(0, 1)) - batch.log_probs.flatten()).exp()
    gained = weights @ (ratio * batch.advantages.flatten())
    objective = penalised_objective(bound.data_of, policy=bound.at, distance=d1, lam=lam)
    got = objective(oracle.params(oracle.phi))(oracle.params(moved))
    torch.testing.assert_close(got, gained / lam - divergence, rtol=1e-10, atol=1e-12)


def hump(slope: float):
    """F(x, phi) = slope x - x^4 / 4, whatever phi: its gradient is slope - x^3."""
    return lambda phi: lambda x: (slope * x["x"] - x["x"] ** 4 / 4).sum()


@pytest.mark.parametrize("start", [1.0, 0.0])
def test_the_stationarity_is_a_share_of_the_first_gradient_unless_that_is_0(start):
    """A climb that was stopped after one step of 0.5: 1 - x^3 of the 1 - start^3 it began with."""

    def climb(objective, x):
        return {"x": x["x"] + 0.5}, None

    solver = dense_solver()._replace(climb=climb)
    phi = {"x": torch.tensor([start], dtype=torch.float64)}
    for slope in (8.0, start**3):
        _, info = solved_adaptation(phi, hump(slope), solver=solver).pull(phi)
        first, left = abs(slope - start**3), abs(slope - (start + 0.5) ** 3)
        assert info.stationarity.item() == pytest.approx(left / first if first else left)


def both_ways(oracle: SampledOracle, alg: str, rung: str, names, dials, *ways):
    """For each way to run Alg: errors of theta and of the gradient, and the info."""
    given = dials if alg == "head" else {"names": names, **dials}
    if alg == "solved":
        reference = oracle.solver(rung, **given)
    else:
        reference = partial(getattr(oracle, alg), rung=rung, **given)
    expected = reference(oracle.phi)
    slope = oracle.along(lambda p: oracle.outer(reference(p)))
    for way in ways or ({},):
        theta, pull = getattr(Bound(oracle, rung), alg)(
            oracle.params(oracle.phi), names, **dials, **way
        )
        pulled, info = pull(oracle.params(grad(oracle.outer)(oracle.flat(theta))))
        yield (oracle.flat(theta) - expected).norm().item(), oracle.error(pulled, slope), info


CASES = [(gaussian, (), rung) for rung in RUNGS] + [
    (gaussian, HEAD, "frozen"),
    (gaussian, HEAD, "full"),
    (categorical, (), "full"),
    (categorical, HEAD, "q_gradient"),
]


@pytest.mark.parametrize(("make", "names", "rung"), CASES)
@pytest.mark.parametrize("alg", ["gradient", "natural", "region"])
def test_explicit_algs_equal_their_dense_solution_and_its_finite_differences(
    alg, make, names, rung
):
    ((apart, error, info),) = both_ways(make(), alg, rung, names, DIALS[alg])
    assert apart < 1e-11
    assert error < 1e-8
    assert info.stationarity < 1e-12
    assert info.residual < 1e-12
    assert info.curvature > 0.5 - 1e-12


@pytest.mark.parametrize("rung", ["frozen", "full"])
@pytest.mark.parametrize("alg", ["natural", "region"])
def test_a_fisher_matrix_from_every_third_sample_has_its_own_exact_gradient(alg, rung):
    dials = {**DIALS[alg], "distance_stride": 3}
    ((apart, error, info),) = both_ways(gaussian(), alg, rung, (), dials)
    assert apart < 1e-11
    assert error < 1e-8
    assert info.residual < 1e-12


class Thinned(SampledOracle):
    """Its distance is averaged over samples 0, 3, 6, ... alone."""

    def objective(self, phi, rung, names, **dials):
        value, free = super().objective(phi, rung, names, **dials)
        weights, seen = self.data(phi, rung)[0].flatten(), self.before.observations.flatten(0, 1)
        used = torch.where(torch.arange(len(weights)) % 3 == 0, weights, 0.0)
        more = weights - used / used.sum()

        def thinned(x):
            pair = self.distribution(phi, seen), self.distribution(phi + x, seen)
            return value(x) + more @ torch.distributions.kl_divergence(*pair)

        return thinned, free


@pytest.mark.parametrize("name", ["natural", "solved"])
def test_a_bound_alg_averages_its_distance_over_every_third_sample(name):
    dials = {"lam": 3.0, "ridge": 0.5}
    if name == "solved":
        oracle = Thinned()
        reference = oracle.solver("full", surrogate="ratio", distance="d1", **dials)
    else:
        oracle = gaussian()
        reference = partial(oracle.natural, rung="full", distance_stride=3, **dials)
    effort = {"distance_stride": 3, "cg_iterations": 40}
    settings = (
        SampledArgmax(**dials, **effort, distance="d1", surrogate="ratio", inner_iterations=7)
        if name == "solved"
        else NaturalStep(**dials, **effort)
    )
    policy = Bound(oracle, "full").policy
    alg = alg_on_samples(settings, "full", policy, gamma=GAMMA, causal_trace=TRACE, tolerance=1e-14)
    theta, pull = alg(oracle.params(oracle.phi), oracle.before)
    assert (oracle.flat(theta) - reference(oracle.phi)).norm() < 1e-9
    pulled, _ = pull(oracle.params(grad(oracle.outer)(oracle.flat(theta))))
    assert oracle.error(pulled, oracle.along(lambda p: oracle.outer(reference(p)))) < 1e-8


@pytest.mark.parametrize("rung", RUNGS)
def test_recipe_a_is_ridge_regression(rung):
    ((apart, error, _),) = both_ways(gaussian(), "head", rung, (), DIALS["head"])
    assert apart < 1e-11
    assert error < 1e-8


def errors_of(oracle: SampledOracle, settings, rung: str, reference) -> tuple[float, float]:
    """Return the errors of theta and of the gradient of an Alg bound from its settings."""
    policy = Bound(oracle, rung).policy
    alg = alg_on_samples(settings, rung, policy, gamma=GAMMA, causal_trace=TRACE, tolerance=1e-14)
    theta, pull = alg(oracle.params(oracle.phi), oracle.before)
    pulled, _ = pull(oracle.params(grad(oracle.outer)(oracle.flat(theta))))
    apart = (oracle.flat(theta) - reference(oracle.phi)).norm().item()
    return apart, oracle.error(pulled, oracle.along(lambda p: oracle.outer(reference(p))))


@pytest.mark.parametrize("rung", RUNGS)
def test_a_body_takes_its_step_beside_the_closed_form_of_the_head(rung):
    oracle, dials = gaussian(), {**DIALS["head"], "body_step": 0.4}
    reference = partial(oracle.head, rung=rung, **dials)
    apart, error = errors_of(oracle, HeadClosedForm(**dials), rung, reference)
    assert apart < 1e-11
    assert error < 1e-8
    still = oracle.head(oracle.phi, rung, **DIALS["head"])
    assert (reference(oracle.phi) - still).norm() > 0.01


@pytest.mark.parametrize("rung", ["frozen", "full"])
@pytest.mark.parametrize("head_ridge", [0.05, 4.0])
def test_a_head_may_have_a_ridge_of_its_own(head_ridge, rung):
    oracle, dials = gaussian(), {**DIALS["natural"], "head_ridge": head_ridge}
    reference = partial(oracle.natural, rung=rung, **dials)
    settings = NaturalStep(**dials, cg_iterations=60)
    apart, error = errors_of(oracle, settings, rung, reference)
    assert apart < 1e-10
    assert error < 1e-8


@pytest.mark.parametrize(
    ("seed", "delta", "halvings", "stride", "share"),
    [
        (2, 0.1, 6, 1, 1.0),
        (3, 0.4, 6, 1, 0.5),
        (3, 9.0, 6, 1, 0.25),
        (17, 9.0, 6, 1, 0.125),
        (29, 9.0, 1, 1, 0.0),
        (3, 0.1, 6, 1, 0.5),  # the divergence alone would allow all of it
        (8, 9.0, 6, 3, 1.0),  # all samples would say 1/4
    ],
)
def test_a_region_is_halved_until_it_gains_and_its_distance_is_allowed(
    seed, delta, halvings, stride, share
):
    """By torch's own divergences; the gradient is that of the step that is left."""
    oracle = SampledOracle(seed)
    dials = {"delta": delta, "ridge": 0.05, "head_ridge": 0.02, "distance_stride": stride}
    assert oracle.first_share("full", **dials, halvings=halvings) == share
    reference = partial(oracle.region, rung="full", share=share, **dials)
    settings = NaturalRegion(**dials, halvings=halvings, cg_iterations=60)
    apart, error = errors_of(oracle, settings, "full", reference)
    assert apart < 1e-9
    assert error < 1e-7


def test_no_toss_decides_about_a_step_whose_divergence_is_the_models():
    """That of a head's mean is quadratic: the full step is on the border up to rounding."""
    for seed in range(12):
        oracle = SampledOracle(seed)
        bound, phi = Bound(oracle, "frozen"), oracle.params(oracle.phi)
        dials = {"delta": 0.003, "ridge": 0.0, "names": HEAD}
        full, halved = (bound.region(phi, **dials, halvings=count).theta for count in (0, 4))
        torch.testing.assert_close(oracle.flat(halved), oracle.flat(full), rtol=0, atol=0)


@pytest.mark.parametrize("halvings", [0, 4])
@pytest.mark.parametrize("delta", [0.1, 30.0])
def test_a_region_without_a_slope_stays_in_single_precision_too(delta, halvings):
    oracle = gaussian()
    batch = SampleBatch(*(x.float() for x in oracle.before))
    batch = batch._replace(advantages=torch.zeros_like(batch.advantages))
    settings = NaturalRegion(delta=delta, ridge=0.5, halvings=halvings)
    policy = gaussian_mlp(2, 2, hidden=(3,))
    phi = {name: leaf.float() for name, leaf in oracle.params(oracle.phi).items()}
    theta, pull = alg_on_samples(settings, "frozen", policy, gamma=GAMMA)(phi, batch)
    pulled, _ = pull(phi)
    for name, leaf in phi.items():
        assert torch.equal(theta[name], leaf)
        assert torch.equal(pulled[name], leaf)


NEWTON = {"solver": dense_solver(max_iterations=12)}
MATRIX_FREE = {"solver": matrix_free_solver(max_iterations=7)}


@pytest.mark.parametrize("names", [(), HEAD], ids=["all", "head"])
@pytest.mark.parametrize("distance", ["d1", "d2", "d3"])
@pytest.mark.parametrize("surrogate", ["linear", "ratio", "smooth_clip"])
def test_a_solved_adaptation_is_newtons_solution_and_its_derivative(surrogate, distance, names):
    """With a ridge where all parameters move: a few samples cannot tell them apart."""
    ridge = 0.5 if distance != "d3" and (not names or surrogate == "ratio") else 0.0
    dials = {"surrogate": surrogate, "distance": distance, "ridge": ridge, "lam": 3.0}
    ways = [NEWTON, MATRIX_FREE] if surrogate == "ratio" and distance != "d2" else [NEWTON]
    rung = "full" if distance == "d1" else "frozen"
    for apart, error, info in both_ways(gaussian(), "solved", rung, names, dials, *ways):
        assert apart < 1e-8
        assert error < 1e-8
        assert info.stationarity < 1e-8
        assert info.curvature > 0
        assert info.residual < 1e-8


def test_the_first_order_gradient_is_the_cotangent():
    bound, oracle = Bound(gaussian(), "frozen"), gaussian()
    phi, cotangent = oracle.params(oracle.phi), oracle.params(oracle.direction)
    theta, pull = bound.gradient(phi, step_size=0.5, first_order=True)
    assert torch.allclose(oracle.flat(theta), oracle.gradient(oracle.phi, "frozen", step_size=0.5))
    assert torch.equal(oracle.flat(pull(cotangent)[0]), oracle.direction)


@pytest.mark.parametrize("names", [(), HEAD], ids=["all", "head"])
def test_a_trust_region_satisfies_its_kkt_conditions(names):
    oracle, dials = gaussian(), DIALS["region"]
    theta, _ = Bound(oracle, "frozen").region(oracle.params(oracle.phi), names, **dials)
    matrix, slope, free = oracle.matrix(oracle.phi, "frozen", names, dials["ridge"], 1)
    moved = oracle.flat(theta) - oracle.phi
    step = moved[free]
    assert (moved[~free] == 0).all()
    assert abs(step @ matrix @ step / 2 - dials["delta"]) < 1e-12
    multiplier = (slope @ step) / (step @ matrix @ step)
    assert multiplier > 0
    assert (slope - multiplier * matrix @ step).norm() < 1e-12 * slope.norm()


@pytest.mark.parametrize("alg", ["gradient", "head", "natural", "region", "halved", "solved"])
def test_a_batch_of_tasks_equals_a_loop(alg):
    oracle = gaussian()
    batches = [oracle.before, oracle.after, oracle.later]
    dials = {"surrogate": "smooth_clip", "distance": "d2", "ridge": 0.5, "lam": 3.0, **NEWTON}
    dials = {**DIALS, "halved": {"delta": 9.0, "ridge": 0.5, "halvings": 4}}.get(alg, dials)
    road = "region" if alg == "halved" else alg

    def one(batch: SampleBatch):
        adapted = getattr(Bound(oracle, "full", batch), road)(oracle.params(oracle.phi), **dials)
        return adapted.theta, *adapted.pull(oracle.params(oracle.direction))

    together = vmap(one)(SampleBatch(*(torch.stack(x) for x in zip(*batches, strict=True))))
    for i, batch in enumerate(batches):
        for several, single in zip(together[:2], one(batch), strict=False):
            for name, leaf in single.items():
                torch.testing.assert_close(several[name][i], leaf, rtol=1e-9, atol=1e-11)
        assert together[2].residual[i] < 1e-12
    assert not torch.allclose(*together[0]["head.weight"][:2])


def test_without_a_ridge_the_head_takes_the_natural_gradient():
    oracle = gaussian()
    theta, _ = Bound(oracle, "frozen").head(oracle.params(oracle.phi), lam=0.3, ridge=0.0)
    expected = oracle.natural(oracle.phi, "frozen", HEAD, lam=0.3, ridge=0.0)
    torch.testing.assert_close(oracle.flat(theta), expected, rtol=0, atol=1e-9)


@pytest.mark.parametrize("alg", ["natural", "solved"])
def test_a_large_ridge_leaves_a_gradient_step(alg):
    """lam rho = 2 is fixed while rho grows: the rest falls off as 1 / rho."""
    oracle, apart = gaussian(), []
    for ridge in (1e2, 1e4):
        dials = {"lam": 2 / ridge, "ridge": ridge}
        if alg == "solved":  # linear: a ratio does not grow harmless with lam rho fixed
            dials = {**dials, "surrogate": "linear", "distance": "d1", **NEWTON}
        theta, _ = getattr(Bound(oracle, "frozen"), alg)(oracle.params(oracle.phi), **dials)
        step = oracle.gradient(oracle.phi, "frozen", step_size=0.5)
        apart.append((oracle.flat(theta) - step).norm().item())
    assert apart[0] < 0.1
    assert abs(apart[0] / apart[1] - 100) < 10


def test_a_problem_that_is_not_solved_shows():
    """Raw ratios at a tiny lam, all parameters: there is no maximum nearby."""
    oracle = gaussian()
    dials = {"surrogate": "ratio", "distance": "d3", "ridge": 0.0, "lam": 1e-3}
    for way in (NEWTON, {"solver": matrix_free_solver(max_iterations=3)}):
        adapted = Bound(oracle, "frozen").solved(oracle.params(oracle.phi), **dials, **way)
        _, info = adapted.pull(oracle.params(oracle.direction))
        assert info.stationarity > 1e-2 or info.curvature <= 0


def test_dials_and_policies_that_cannot_work_are_refused():
    phi = gaussian().params(gaussian().phi)
    bound = Bound(gaussian(), "frozen")
    nonlinear = {"surrogate": "ratio", "distance": "d1", "ridge": 0.0}
    for run in (
        partial(bound.gradient, step_size=0.0),
        partial(bound.head, lam=0.0, ridge=1.0),
        partial(bound.natural, lam=-1.0, ridge=1.0),
        partial(bound.region, delta=0.0, ridge=1.0),
        partial(bound.solved, lam=float("nan"), **nonlinear),
    ):
        with pytest.raises(ValueError, match=r"(step_size|lam|delta) must be positive and finite"):
            run(phi)
    unknown = ("head.weight", "tail")
    for run in (
        partial(bound.gradient, step_size=1.0),
        partial(bound.natural, lam=1.0, ridge=1.0),
        partial(bound.region, delta=1.0, ridge=1.0),
        partial(bound.solved, lam=1.0, **nonlinear),
    ):
        with pytest.raises(ValueError, match=r"called \['tail'\]; there are \['body"):
            run(phi, names=unknown)


def test_a_ridge_of_a_head_that_does_not_move_is_refused():
    phi, bound = gaussian().params(gaussian().phi), Bound(gaussian(), "frozen")
    for run in (partial(bound.natural, lam=1.0), partial(bound.region, delta=1.0)):
        with pytest.raises(ValueError, match=r"head_ridge is 0\.1, but no head moves: only \['bod"):
            run(phi, names=("body.0.weight",), ridge=1.0, head_ridge=0.1)
        with pytest.raises(ValueError, match=r"head_ridge is 0\.1, but only the head moves: say"):
            run(phi, names=HEAD, ridge=1.0, head_ridge=0.1)
    for kind in (NaturalStep, NaturalRegion):
        with pytest.raises(ValueError, match=r"head_ridge is 2\.0, but only the head moves"):
            kind(parameters="head", head_ridge=2.0)
        assert kind(parameters="all", head_ridge=2.0).head_ridge == 2.0
    with pytest.raises(ValueError, match=r"body_step must be 0 or more and finite, got -0\.5"):
        HeadClosedForm(body_step=-0.5)


def test_recipe_a_needs_a_gaussian_head():
    discrete = categorical()
    with pytest.raises(TypeError, match=r"natural_adaptation with names = policy\.head"):
        Bound(discrete, "frozen").head(discrete.params(discrete.phi), lam=1.0, ridge=1.0)
    policy, bound = over_states(tabular_softmax(2, 2)), Bound(gaussian(), "frozen")
    at, phi = bound.at._replace(policy=policy), policy.init(torch.Generator())
    with pytest.raises(ValueError, match="linear head: gaussian_mlp"):
        head_adaptation(phi, bound.data_of, policy=at, lam=1.0, ridge=1.0)
