"""Meta-gradients from samples against finite differences, and every method of the table, run."""

import dataclasses
import math
from functools import partial

import pytest
import torch
from conftest import random_logits, relative_error
from sampled_oracle import GAMMA, TRACE, categorical, gaussian
from torch.func import grad

from bomrl_lite.adaptation.adapted import Adapted
from bomrl_lite.adaptation.episodes import (
    adapted,
    mean_divergence,
    ratio_objective,
    sampled_meta_gradient,
    worst,
)
from bomrl_lite.adaptation.settings import (
    GradientStep,
    HeadClosedForm,
    NaturalRegion,
    NaturalStep,
    NoAdaptation,
    SampledArgmax,
    alg_on_samples,
)
from bomrl_lite.policies.networks import categorical_mlp, gaussian_mlp
from bomrl_lite.training import episodes as collecting
from bomrl_lite.training.config import configure
from bomrl_lite.training.episodes import collect_all
from bomrl_lite.training.methods import METHODS
from bomrl_lite.training.objective import EpisodesObjective, _shuffled
from bomrl_lite.training.outer import OuterInfo
from bomrl_lite.training.problem import make_problem
from bomrl_lite.training.trainer import meta_step, start_state, update_phi
from bomrl_lite.types import SolvedInfo

POLICY = gaussian_mlp(2, 2, hidden=(3,), log_std_range=(-9.0, 9.0), dtype=torch.float64)
ALGS = {
    "none": NoAdaptation(),
    "gradient": GradientStep(step_size=0.5),
    "head": HeadClosedForm(lam=0.3, ridge=0.5),
    "natural": NaturalStep(lam=0.3, ridge=0.5, cg_iterations=60),
    "region": NaturalRegion(delta=0.4, ridge=0.5, cg_iterations=60),
}
OUTER = partial(ratio_objective, policy=POLICY)


def bound(settings, rung: str, tolerance: float = 1e-14):
    return alg_on_samples(
        settings, rung, POLICY, gamma=GAMMA, causal_trace=TRACE, tolerance=tolerance
    )


def meta_gradient(alg: str, rung: str, num_steps: int = 1, **more):
    oracle = gaussian()
    before = (oracle.before, oracle.later)[:num_steps]
    return sampled_meta_gradient(
        oracle.params(oracle.phi),
        before,
        oracle.after,
        alg=bound(ALGS[alg], rung),
        outer=OUTER,
        policy=POLICY,
        **more,
    )


@pytest.mark.parametrize("rung", ["naive", "frozen", "q_gradient", "full"])
def test_one_step_of_a_bound_alg_has_the_finite_differences_of_its_rung(rung):
    oracle = gaussian()
    step = partial(oracle.gradient, rung=rung, step_size=0.5)
    got, theta, info = meta_gradient("gradient", rung)
    assert oracle.error(got, oracle.along(lambda p: oracle.outer(step(p)))) < 1e-8
    assert torch.allclose(oracle.flat(theta), step(oracle.phi), rtol=0, atol=1e-12)
    assert info == (0, math.inf, 0)


@pytest.mark.parametrize(
    ("alg", "given"),
    [
        ("head", {"lam": 0.3, "ridge": 0.5}),
        ("natural", {"lam": 0.3, "ridge": 0.5}),
        ("region", {"delta": 0.4, "ridge": 0.5}),
    ],
)
def test_every_closed_alg_is_bound_to_its_dials(alg, given):
    oracle = gaussian()
    step = partial(getattr(oracle, alg), rung="full", **given)
    got, theta, _ = meta_gradient(alg, "full")
    assert oracle.error(got, oracle.along(lambda p: oracle.outer(step(p)))) < 1e-8
    assert torch.allclose(oracle.flat(theta), step(oracle.phi), rtol=0, atol=1e-11)


@pytest.mark.parametrize("parameters", ["all", "head"])
@pytest.mark.parametrize("surrogate", ["ratio", "smooth_clip", "linear"])
def test_solved_algs_are_bound_to_surrogate_distance_and_parameters(surrogate, parameters):
    oracle = gaussian()
    names = POLICY.head if parameters == "head" else ()
    given = {"surrogate": surrogate, "distance": "d2", "lam": 3.0, "ridge": 0.5}
    effort = {"parameters": parameters, "inner_iterations": 6, "cg_iterations": 25}
    alg = bound(SampledArgmax(**given, **effort), "full")
    theta, pull = alg(oracle.params(oracle.phi), oracle.before)
    solution = oracle.solver("full", names, **given)
    assert torch.allclose(oracle.flat(theta), solution(oracle.phi), rtol=0, atol=1e-9)
    got, info = pull(oracle.params(grad(oracle.outer)(oracle.flat(theta))))
    assert oracle.error(got, oracle.along(lambda p: oracle.outer(solution(p)))) < 1e-8
    assert max(info.stationarity, info.residual) < 1e-8


@pytest.mark.parametrize("alg", ["gradient", "natural"])
def test_two_steps_have_the_finite_differences_of_both_together(alg):
    """The second step's data are frozen too, and its start moves with phi."""
    oracle = gaussian()
    given = {"step_size": 0.5} if alg == "gradient" else {"lam": 0.3, "ridge": 0.5}
    batches = (oracle.before, oracle.later)

    def both(phi):
        for oracle.before in batches:
            phi = getattr(oracle, alg)(phi, "frozen", **given)
        oracle.before = batches[0]
        return phi

    got, theta, _ = meta_gradient(alg, "frozen", num_steps=2)
    expected = both(oracle.phi)
    assert torch.allclose(oracle.flat(theta), expected, rtol=0, atol=1e-11)
    assert oracle.error(got, oracle.along(lambda p: oracle.outer(both(p)))) < 1e-8
    again = adapted(oracle.params(oracle.phi), batches, alg=bound(ALGS[alg], "frozen"))
    assert torch.allclose(oracle.flat(again), expected, rtol=0, atol=1e-11)


def test_e_maml_adds_the_score_of_the_first_data():
    oracle, score = gaussian(), torch.tensor(1.7, dtype=torch.float64)
    got, _, _ = meta_gradient("gradient", "frozen", num_steps=2, score=score)
    plain, _, _ = meta_gradient("gradient", "frozen", num_steps=2)
    added = {name: got[name] - plain[name] for name in got}
    weights = oracle.before.weights

    def credit(phi):
        return score * (weights * oracle.log_prob(phi, oracle.before)).sum()

    assert oracle.error(added, oracle.along(credit)) < 1e-8


def test_the_worst_of_several_steps_is_reported():
    figures = ((0.1, 3.0, 0.2), (0.4, -1.0, 0.0))
    infos = [SolvedInfo(*map(torch.tensor, each)) for each in figures]
    assert [round(x.item(), 6) for x in worst(infos)] == [0.4, -1.0, 0.2]
    steps = iter(infos)

    def alg(phi, batch):
        info = next(steps)
        return Adapted(phi, lambda c: (c, info))

    oracle = gaussian()
    _, _, info = sampled_meta_gradient(
        oracle.params(oracle.phi), (oracle.before, oracle.later), oracle.after,
        alg=alg, outer=OUTER, policy=POLICY,
    )  # fmt: skip
    assert [round(x.item(), 6) for x in info] == [0.4, -1.0, 0.2]


@pytest.mark.parametrize("make", [gaussian, categorical])
@pytest.mark.parametrize("clip", [None, 0.02])
def test_the_outer_objective_is_summed_sample_by_sample(make, clip):
    oracle, batch = make(), make().after
    policy = POLICY if make is gaussian else categorical_mlp(2, 2, hidden=(3,), dtype=torch.float64)
    ratios = (oracle.log_prob(oracle.phi, batch) - batch.log_probs).exp()
    expected, bitten = 0.0, 0
    samples = zip(
        batch.weights.flatten(), ratios.flatten(), batch.advantages.flatten(), strict=True
    )
    for weight, ratio, advantage in samples:
        gain = ratio * advantage
        if clip is not None:
            bound = (1 + clip) * advantage if advantage > 0 else (1 - clip) * advantage
            bitten += int(bound < gain)
            gain = min(gain, bound)
        expected += float(weight * gain)
    got = ratio_objective(oracle.params(oracle.phi), batch, policy=policy, clip=clip)
    assert got.item() == pytest.approx(expected, rel=1e-12)
    assert clip is None or bitten > 2
    old, new = oracle.phi, oracle.phi + 0.3 * oracle.direction
    pair = [oracle.distribution(p, batch.observations) for p in (old, new)]
    apart = (batch.weights * torch.distributions.kl_divergence(*pair)).sum()
    got = mean_divergence(oracle.params(old), oracle.params(new), batch, policy=policy)
    assert got.item() == pytest.approx(apart.item(), rel=1e-10)
    assert got > 1e-3


def test_joint_training_climbs_the_outer_objective_itself():
    oracle = gaussian()
    got, theta, info = meta_gradient("none", "frozen")
    assert oracle.error(got, oracle.along(oracle.outer)) < 1e-8
    assert torch.equal(oracle.flat(theta), oracle.phi)
    assert info == (0, math.inf, 0)


SIZE = {"num_tasks": 3, "num_episodes": 3, "horizon": 5, "iterations": 1}
TINY = configure("lvc_maml", **SIZE, hidden=(4,))
ON_EPISODES = [name for name, method in METHODS.items() if "episodes" in method.values]


@pytest.mark.parametrize("tasks", ["navigation/circle", "probe/random-5x3"])
@pytest.mark.parametrize("method", ON_EPISODES)
def test_every_method_takes_a_step(method, tasks):
    head = method == "bomrl_head" or (
        getattr(METHODS[method].settings("points").alg, "parameters", "all") == "head"
    )
    if tasks != "navigation/circle" and head:
        with pytest.raises(ValueError, match="has no head to adapt alone"):
            configure(method, tasks=tasks, values="episodes", **SIZE)
        return
    network = {"hidden": (4,)} if tasks == "navigation/circle" else {}
    config = configure(method, tasks=tasks, values="episodes", **SIZE, **network)
    problem = make_problem(config)
    state = start_state(problem)
    start = {name: leaf.clone() for name, leaf in state.phi.items()}
    row = meta_step(state, problem)
    assert row["gradient_norm"] > 0
    assert row["unsolved"] <= (method == "imaml")  # its raw ratio has no maximum for one of three
    assert row["updates"] == getattr(config.outer, "epochs", 1)
    assert all(math.isfinite(x) for k, x in row.items() if k != "curvature")
    assert any(not torch.equal(leaf, start[name]) for name, leaf in state.phi.items())
    assert all(leaf.isfinite().all() for leaf in state.phi.values())
    assert (row["distance"] > 0) == (method != "joint")


@pytest.mark.parametrize("method", ["joint", "lvc_maml", "bomrl_head"])
def test_what_collected_the_episodes_does_not_follow_phi(method):
    """Parameters that no adaptation touches are phi's; an update of phi in place is not theirs."""
    config = TINY.replace(method=method)
    problem = make_problem(config)
    state = start_state(problem)
    tasks = problem.family.sample(3, state.generator, "train")
    episodes = collect_all(state.phi, tasks, problem, state.generator)
    copies = {name: leaf.clone() for name, leaf in episodes.thetas.items()}
    for leaf in state.phi.values():
        leaf.add_(1.0)
    assert all(torch.equal(copies[name], leaf) for name, leaf in episodes.thetas.items())


def gradients_of_methods(*methods: str):
    """On the same episodes: those that the LVC problem collects."""
    config = TINY.replace(method="lvc_maml", horizon=10, num_episodes=6)
    problem = make_problem(config)
    state = start_state(problem)
    tasks = problem.family.sample(3, state.generator, "train")
    episodes = collect_all(state.phi, tasks, problem, state.generator)
    for method in methods:
        own = make_problem(config.replace(method=method))
        objective = EpisodesObjective(own, episodes, state.phi, 0.0)
        yield torch.cat([x.flatten() for x in objective.gradient(state.phi)[0].values()])


@pytest.mark.parametrize("method", ["lvc_maml", "promp"])
def test_where_the_episodes_were_collected_the_objective_is_the_mean_advantage(method):
    config = TINY.replace(method=method, normalise=False, baseline=False)
    problem = make_problem(config)
    state = start_state(problem)
    tasks = problem.family.sample(3, state.generator, "train")
    objective = EpisodesObjective(
        problem, collect_all(state.phi, tasks, problem, state.generator), state.phi, 0.0
    )
    value, divergence = objective.value(state.phi)
    assert abs(objective.value_at_old) > 1e-2
    assert value.item() == pytest.approx(objective.value_at_old.item(), abs=1e-5)
    assert divergence.item() == pytest.approx(0, abs=1e-6)


def test_the_estimators_differ_in_what_they_keep():
    """On the same episodes no two of them agree; those that share the most are the nearest."""
    names = (
        "first_order_maml",
        "naive_maml",
        "lvc_maml",
        "loaded_dice_maml",
        "dice_maml",
        "e_maml",
    )
    gradients = dict(zip(names, gradients_of_methods(*names), strict=True))
    size = gradients["lvc_maml"].norm()
    for i, first in enumerate(names):
        for second in names[i + 1 :]:
            assert (gradients[first] - gradients[second]).norm() > 1e-3 * size, (first, second)
    trpo, maml = gradients_of_methods("trpo_maml", "lvc_maml")
    assert torch.equal(trpo, maml)  # they differ in the outer update alone


class OnTables:
    """Three unlike tasks, eight episodes of unequal weight each, and what follows, by hand."""

    def __init__(self, method: str = "lvc_maml", **settings):
        size = {"num_tasks": 3, "num_episodes": 8, "horizon": 10, "step_size": 2.0}
        self.problem = make_problem(
            configure(method, tasks="probe/random-5x3", values="episodes", **size, **settings)
        )
        self.old, generator = random_logits(0), torch.Generator().manual_seed(0)
        tasks = self.problem.family.sample(3, generator, "train")
        collected = collect_all({"logits": self.old}, tasks, self.problem, generator)

        def uneven(batch):
            weights = torch.rand(batch.weights.shape, generator=generator, dtype=torch.float64) ** 3
            return batch._replace(weights=weights / weights.sum((1, 2), keepdim=True))

        self.before, self.after = uneven(collected.before[0]), uneven(collected.after)
        self.thetas = collected.thetas["logits"]
        self.episodes = collected._replace(before=(self.before,), after=self.after)

    def objective(self, **changes) -> EpisodesObjective:
        problem = dataclasses.replace(self.problem, **changes)
        return EpisodesObjective(problem, self.episodes, {"logits": self.old}, 0.0)

    def log_prob(self, logits, batch, n):
        return logits.log_softmax(-1)[batch.observations[n], batch.actions[n]]

    def gain(self, logits, batch, n, *, every: int = 1, most: float = math.inf):
        """Return the weighted mean of rho A over every so many-th episode.

        A ratio above ``most``, or as far below 1 where the advantage is negative, gains no more.
        """
        ratio = (self.log_prob(logits, batch, n) - batch.log_probs[n]).exp()
        advantages = batch.advantages[n]
        gained = torch.where(advantages > 0, ratio.clamp(max=most), ratio.clamp(min=2 - most))
        return self.mean((gained * advantages)[::every], batch.weights[n][::every])

    def adapted(self, logits, n, **part):
        return logits + 2.0 * grad(partial(self.gain, batch=self.before, n=n, **part))(logits)

    def apart(self, first, second, batch, n, *, every: int = 1):
        """Return the mean of KL(first || second) over the visits of every so many-th episode."""
        log_p, log_q = first.log_softmax(-1), second.log_softmax(-1)
        each = (log_p.exp() * (log_p - log_q)).sum(-1)
        return self.mean(each[batch.observations[n]][::every], batch.weights[n][::every])

    def mean(self, values, weights):
        return (weights * values).sum() / weights.sum()

    def over_tasks(self, function):
        return sum(function(n) for n in range(3)) / 3


MOVED = random_logits(0) + 1.5 * random_logits(1)


def test_the_direction_is_the_slope_of_the_mean_over_unlike_tasks():
    hand = OnTables()

    def value(logits):
        return hand.over_tasks(lambda n: hand.gain(hand.adapted(logits, n), hand.after, n))

    for logits in (hand.old, MOVED):
        got = hand.objective().gradient({"logits": logits}).direction["logits"]
        assert relative_error(got, grad(value)(logits)) < 1e-9
    single = grad(lambda x: hand.gain(hand.adapted(x, 0), hand.after, 0))(MOVED)
    assert relative_error(single, grad(value)(MOVED)) > 0.3


def test_the_clip_of_the_settings_bounds_what_a_ratio_gains():
    hand = OnTables("promp", clip=0.1)

    def value(logits, most=1.1):
        return hand.over_tasks(
            lambda n: hand.gain(hand.adapted(logits, n), hand.after, n, most=most)
        )

    got = hand.objective().gradient({"logits": MOVED}).direction["logits"]
    assert relative_error(got, grad(value)(MOVED)) < 1e-9
    assert relative_error(got, grad(partial(value, most=math.inf))(MOVED)) > 0.1
    assert hand.objective().value({"logits": MOVED})[0].item() == pytest.approx(value(MOVED).item())


def test_value_and_divergence_are_means_over_tasks_of_the_adapted_policies():
    """From the policies that collected to those of now: a guard must not read it backwards."""
    hand = OnTables()
    now = [hand.adapted(MOVED, n) for n in range(3)]
    gained = hand.over_tasks(lambda n: hand.gain(now[n], hand.after, n))
    there = hand.over_tasks(lambda n: hand.apart(hand.thetas[n], now[n], hand.after, n))
    back = hand.over_tasks(lambda n: hand.apart(now[n], hand.thetas[n], hand.after, n))
    assert abs(there / back - 1) > 0.1
    value, divergence = hand.objective().value({"logits": MOVED})
    assert value.item() == pytest.approx(gained.item(), rel=1e-9)
    assert divergence.item() == pytest.approx(there.item(), rel=1e-9)
    moved = hand.objective().gradient({"logits": MOVED}).moved()
    assert moved.item() == pytest.approx(there.item(), rel=1e-9)


def test_the_divergence_that_shapes_a_trust_region_is_that_of_every_fourth_episode():
    hand = OnTables("trpo_maml")
    old = [hand.adapted(hand.old, n, every=4) for n in range(3)]

    def away(logits):
        now = [hand.adapted(logits, n, every=4) for n in range(3)]
        return hand.over_tasks(lambda n: hand.apart(old[n], now[n], hand.after, n, every=4))

    got = hand.objective().divergence_gradient({"logits": MOVED})["logits"]
    assert relative_error(got, grad(away)(MOVED)) < 1e-9


def test_the_history_says_how_far_phi_and_its_adaptations_moved():
    hand = OnTables()
    state = start_state(hand.problem)
    state.phi["logits"].copy_(MOVED)
    info = hand.objective().gradient(state.phi).info
    row = hand.objective().finish(state, OuterInfo(1.0, 1, 0.0, 0.0, info))
    moved = hand.over_tasks(lambda n: hand.apart(hand.old, MOVED, hand.before, n, every=4))
    inner = hand.over_tasks(lambda n: hand.apart(hand.old, hand.thetas[n], hand.before, n, every=4))
    assert row["divergence_before"] == pytest.approx(moved.item(), rel=1e-9)
    assert row["distance"] == pytest.approx(inner.item(), rel=1e-9)


def test_e_maml_credits_a_task_with_its_return_beside_that_of_the_others():
    """Less their mean and in units of their deviation: what all earn alike credits nothing."""
    hand = OnTables("e_maml", credit=3.0)
    returns = hand.episodes.returns_after.numpy()
    assert abs(returns.mean()) > 0.1 * returns.std()
    scores = 3.0 * (returns - returns.mean()) / returns.std()

    def value(logits):
        def credited(n):
            log_prob = hand.mean(hand.log_prob(logits, hand.before, n), hand.before.weights[n])
            return hand.gain(hand.adapted(logits, n), hand.after, n) + scores[n] * log_prob

        return hand.over_tasks(credited)

    got = hand.objective().gradient({"logits": MOVED}).direction["logits"]
    assert relative_error(got, grad(value)(MOVED)) < 1e-6


def test_a_task_takes_part_up_to_a_relative_error_of_2_percent():
    """Stationarity and residual just below and just above it, from an Alg that moves nothing."""
    hand = OnTables()
    figures = torch.tensor([[0.0199, 0.0199], [0.0201, 0.0], [0.0, 0.0201]], dtype=torch.float64)

    def alg(phi, batch):
        stationarity, residual = batch.advantages[0, :2]
        one = torch.ones_like(residual)
        return Adapted(phi, lambda c: (c, SolvedInfo(stationarity, one, residual)))

    marked = hand.before.advantages.clone()
    marked[:, 0, :2] = figures
    hand.episodes = hand.episodes._replace(before=(hand.before._replace(advantages=marked),))
    objective = hand.objective(alg=alg)
    ascent = objective.gradient({"logits": MOVED})
    first = grad(partial(hand.gain, batch=hand.after, n=0))(MOVED)
    assert relative_error(ascent.direction["logits"], first) < 1e-9
    row = objective.finish(start_state(hand.problem), OuterInfo(1.0, 1, 0.0, 0.0, ascent.info))
    assert row["unsolved"] == 2


def test_the_history_shows_the_worst_of_the_tasks():
    hand = OnTables()
    figures = ((0.1, 0.3, 0.2), (2.0, -1.0, 0.0), (0.0, 0.2, 0.1))
    info = SolvedInfo(*(torch.tensor(figure, dtype=torch.float64) for figure in figures))
    row = hand.objective().finish(start_state(hand.problem), OuterInfo(1.0, 1, 0.0, 0.0, info))
    shown = [row[name] for name in ("stationarity", "curvature", "residual", "negative_curvature")]
    assert shown == pytest.approx([0.3, -1.0, 0.2, 2 / 3])


def test_the_diagnosed_terms_are_norms_of_means_over_tasks():
    """At phi: what d theta / d phi = I keeps, and what the curvature of the inner step adds."""
    hand = OnTables()
    direct = hand.over_tasks(
        lambda n: grad(partial(hand.gain, batch=hand.after, n=n))(hand.thetas[n])
    )

    def value(logits):
        return hand.over_tasks(lambda n: hand.gain(hand.adapted(logits, n), hand.after, n))

    row = hand.objective().diagnose(torch.Generator().manual_seed(0))
    assert row["norm_direct"] == pytest.approx(direct.norm().item(), rel=1e-9)
    added = grad(value)(hand.old) - direct
    assert row["norm_curvature"] == pytest.approx(added.norm().item(), rel=1e-9)
    assert min(row["norm_q"], row["norm_nu"]) > 1e-3 * row["norm_direct"]
    dealt = _shuffled(hand.before, torch.Generator().manual_seed(0))

    def noise(n):
        step = grad(partial(hand.gain, batch=dealt, n=n))(hand.old)
        return hand.apart(hand.old, hand.old + 2.0 * step, dealt, n)

    assert row["shuffled_distance"] == pytest.approx(hand.over_tasks(noise).item(), rel=1e-9)


def test_the_truncation_of_the_settings_reaches_the_alg():
    hand = OnTables("loaded_dice_maml", causal_trace=0.3)

    def direction(trace: float):
        alg = alg_on_samples(
            GradientStep(step_size=2.0), "full", hand.problem.policy, gamma=0.8, causal_trace=trace
        )
        return hand.objective(alg=alg).gradient({"logits": MOVED}).direction["logits"]

    got = hand.objective().gradient({"logits": MOVED}).direction["logits"]
    assert torch.equal(got, direction(0.3))
    assert relative_error(got, direction(1.0)) > 1e-3


def stepped(logits, batch, n):
    """The gradient step of lvc_maml on task n, from the logits that collected its episodes."""

    def gained(x):
        log_probs = x.log_softmax(-1)[batch.observations[n], batch.actions[n]]
        return (batch.weights[n] * batch.advantages[n] * log_probs).sum()

    return logits + 0.3 * grad(gained)(logits)


def test_every_collection_is_that_of_the_policy_of_its_step(monkeypatch):
    """Two steps on tables; advantages without a baseline are what an episode still earns."""
    settings = {"num_steps": 2, "baseline": False, "normalise": False, "trace": 0.95}
    config = configure("lvc_maml", tasks="probe/random-5x3", values="episodes", **SIZE, **settings)
    problem, collected, real = make_problem(config), [], collecting.collect

    def spy(simulator, policy, params, generator):
        collected.append((params["logits"], real(simulator, policy, params, generator)))
        return collected[-1][1]

    monkeypatch.setattr(collecting, "collect", spy)
    generator = torch.Generator().manual_seed(0)
    tasks = problem.family.sample(3, generator, "train")
    episodes = collect_all({"logits": random_logits(0)}, tasks, problem, generator)
    (first, before), (second, _), (third, after) = collected
    assert torch.equal(first, random_logits(0).expand(3, 5, 3))
    assert torch.equal(third, episodes.thetas["logits"])
    assert not torch.equal(first, second)
    assert not torch.equal(second, third)
    for old, new, batch in zip((first, second), (second, third), episodes.before, strict=True):
        for n in range(3):
            torch.testing.assert_close(new[n], stepped(old[n], batch, n))
    discounts = 0.8 ** torch.arange(5, dtype=torch.float64)
    for got, rollout in (episodes.returns_before, before), (episodes.returns_after, after):
        torch.testing.assert_close(got, (rollout.rewards * discounts).sum(-1).mean(-1))
    for batch, (_, rollout) in zip((*episodes.before, episodes.after), collected, strict=True):
        assert torch.equal(batch.log_probs, rollout.log_probs)
        for t in range(5):
            later = (rollout.rewards[..., t:] * discounts[: 5 - t]).sum(-1)
            torch.testing.assert_close(batch.advantages[..., t], later)
            share = discounts[t] / discounts.sum() / 3  # of one of three episodes
            torch.testing.assert_close(batch.weights[..., t], share.expand(3, 3))


@pytest.mark.parametrize(("trace", "alike"), [(0.0, True), (0.95, False)])
def test_without_a_trace_an_advantage_is_one_step_of_surprise(trace, alike):
    """r + gamma V(s') - V(s): the same wherever a task goes the same way from the same state."""
    hand = OnTables(trace=trace, normalise=False)
    seen, batch = hand.before.observations, hand.before
    ways = torch.stack([seen[..., :-1], batch.actions[..., :-1], seen[..., 1:]], -1)[0].flatten(
        0, 1
    )
    advantages = batch.advantages[0, :, :-1].flatten()
    _, group, sizes = ways.unique(dim=0, return_inverse=True, return_counts=True)
    spread = max(advantages[group == k].std() for k in range(len(sizes)) if sizes[k] > 1)
    assert (spread < 1e-9) == alike
    assert alike or spread > 0.1


def test_a_trust_region_step_that_gains_nothing_is_not_taken():
    class Falling(EpisodesObjective):
        def value(self, phi):
            return self.value_at_old - 1e-3, torch.zeros((), dtype=torch.float64)

    hand = OnTables("trpo_maml")
    state = start_state(hand.problem)
    state.phi["logits"].copy_(hand.old)
    for kind, updates in (EpisodesObjective, 1), (Falling, 0):
        objective = kind(hand.problem, hand.episodes, {"logits": hand.old}, 0.0)
        assert update_phi(state, hand.problem.config.outer, objective).updates == updates
        assert torch.equal(state.phi["logits"], hand.old) == (updates == 0)
        state.phi["logits"].copy_(hand.old)
