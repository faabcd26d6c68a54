"""lam's hypergradient, condition numbers and bands of speeds: differences and dense algebra."""

from dataclasses import replace
from functools import partial

import pandas as pd
import pytest
import torch
from torch.func import jacrev, vmap

from bomrl_lite.course.experiments import EXPERIMENTS, lams, parts, train_once
from bomrl_lite.course.experiments.sampled import Measure, fresh_returns, scaled_step
from bomrl_lite.course.experiments.setting import Scale
from bomrl_lite.rollout.data import SampleBatch, policy_at
from bomrl_lite.tasks import make_tasks
from bomrl_lite.training.config import configure
from bomrl_lite.training.episodes import adapt_all, episodes_problem
from bomrl_lite.training.objective import collect_objective
from bomrl_lite.training.streams import seeded
from bomrl_lite.training.trainer import meta_step, meta_train, start_state

SMALL = {"num_tasks": 3, "num_episodes": 4, "iterations": 3, "hidden": (5,)}


def problem_of(method, **changed):
    return episodes_problem(configure(method, tasks="navigation/circle", **{**SMALL, **changed}))


@pytest.mark.parametrize(
    ("method", "settings"),
    [
        ("bomrl_head", {}),
        ("bomrl_head", {"body_step": 0.3}),
        ("bomrl_natural", {"ridge": 5.0}),
        ("bomrl_natural", {"ridge": 5.0, "cg_iterations": 2}),
        ("promp", {}),
    ],
)
def test_the_slope_of_the_length_is_that_of_central_differences(method, settings):
    problem = problem_of(method, **settings)
    state = start_state(problem)
    objective = collect_objective(problem, state)
    episodes, h = objective.episodes, 1e-3
    starts = {k: v.expand(3, *v.shape) for k, v in objective.old.items()}

    def value(log_length):
        factor = torch.tensor(log_length, dtype=torch.float64).exp().item()
        alg = problem.alg_of(scaled_step(problem.config.alg, factor))
        thetas = adapt_all(alg, starts, episodes.before[0])
        return vmap(objective.outer)(thetas, episodes.after).double().mean()

    expected = (value(h) - value(-h)) / (2 * h)
    slope = lams.length_slope(objective)
    assert slope.shape == ()
    torch.testing.assert_close(slope.double(), expected, rtol=2e-2, atol=2e-4)
    assert abs(expected) > 1e-3


def test_training_with_a_lam_that_stays_is_training(monkeypatch):
    monkeypatch.setattr(lams, "RATE", 0.0)
    problem = problem_of("bomrl_head")
    state, length = lams.train_with_lam(problem)
    usual = meta_train(problem.config)
    assert length == 1.0
    for name, leaf in usual.phi.items():
        assert torch.equal(state.phi[name], leaf)
    assert state.history[-1]["return_after"] == usual.history[-1]["return_after"]


@pytest.mark.parametrize("seed", [0, 1])
def test_a_step_that_is_too_long_is_told_from_one_that_is_too_short(seed):
    def slope(lam):
        sizes = {"num_tasks": 20, "num_episodes": 20, "hidden": (32, 32), "ridge": 2.4}
        problem = problem_of("bomrl_head", lam=lam, seed=seed, **sizes)
        return lams.length_slope(collect_objective(problem, start_state(problem)))

    assert slope(0.06) < -0.1
    assert slope(0.6) > 0.02


@pytest.mark.parametrize(("lam", "length"), [(0.06, 0.9), (0.6, 1.1)])
def test_a_step_that_is_too_long_becomes_shorter_by_the_rate_of_adam(lam, length):
    sizes = {"num_tasks": 20, "num_episodes": 20, "hidden": (32, 32), "ridge": 2.4, "iterations": 1}
    _, found = lams.train_with_lam(problem_of("bomrl_head", lam=lam, **sizes))
    assert abs(found - length) < 0.01


def test_a_learnt_lam_is_that_of_the_iteration_that_collects(monkeypatch):
    """The Alg of every iteration is the usual one with a step of the length learnt so far."""
    problem = problem_of("bomrl_head", iterations=4)
    seen, lengths = [], [1.0]

    def collect(here, state):
        seen.append((here.alg, {name: leaf.clone() for name, leaf in state.phi.items()}))
        return collect_objective(here, state)

    slope = lams.length_slope
    monkeypatch.setattr(lams, "collect_objective", collect)
    monkeypatch.setattr(lams, "length_slope", lambda objective: slope(objective) * 0 + 1)
    lams.train_with_lam(problem)
    lengths += [torch.tensor(0.1 * k).exp().item() for k in (1, 2, 3)]  # Adam on a slope of 1
    _, batch = one_batch(problem)
    for (alg, phi), length in zip(seen, lengths, strict=True):
        step = alg(phi, batch).theta["head.weight"] - phi["head.weight"]
        usual = problem.alg(phi, batch).theta["head.weight"] - phi["head.weight"]
        torch.testing.assert_close(step, length * usual, rtol=1e-3, atol=1e-6)


def test_a_learnt_lam_is_told_and_judged_as_it_ended(monkeypatch):
    """A step twice as long is half the lam, and the returns are those with it."""
    scale = Scale(seeds=1, iterations=1, num_tasks=2, num_test=3)
    config = lams._config("navigation/circle", "bomrl_head", 0, scale)
    monkeypatch.setattr(lams, "train_with_lam", lambda problem: (start_state(problem), 2.0))
    row = lams._learnt(config, 0.1, scale)
    half = config.replace(lam=config.settings()["lam"] / 2)
    problem = episodes_problem(half)
    measure = Measure(num_tasks=6, num_episodes=20)
    before, after = fresh_returns(start_state(problem), problem, measure).mean(0).tolist()
    assert (row["end"], row["before"]) == (0.05, before)
    assert abs(row["return"] - after) < 1e-3


def one_batch(problem):
    state = start_state(problem)
    before = collect_objective(problem, state).episodes.before[0]
    return state.phi, SampleBatch(*(field[0] for field in before))


def test_the_spectrum_of_the_head_is_that_of_its_matrix():
    problem = problem_of("bomrl_head")
    phi, batch = one_batch(problem)
    seen = policy_at(batch, problem.policy)
    h = problem.policy.features(phi, seen.observations)
    matrix = torch.einsum("m,mi,mj->ij", batch.weights.flatten(), h, h)
    values = torch.linalg.svdvals(matrix.double())
    largest, smallest = lams.system_spectrum(phi, batch, problem)
    torch.testing.assert_close(largest.double(), values[0], rtol=1e-4, atol=0)
    torch.testing.assert_close(smallest.double(), values[-1], rtol=1e-2, atol=1e-6)


@pytest.mark.parametrize("stride", [1, 3])
def test_the_spectrum_of_all_parameters_is_that_of_the_fisher_matrix(stride):
    """F from the Jacobian of mean and log sigma, written out: more parameters than rows."""
    changed = {"num_episodes": 1, "horizon": 7, "hidden": (9,), "distance_stride": stride}
    problem = problem_of("bomrl_natural", ridge=2.0, **changed)
    phi, batch = one_batch(problem)
    few = policy_at(batch, problem.policy).every(stride)

    def outputs(p):
        pi = few.distribution(p)
        log_std = pi.log_std.expand(pi.mean.shape)
        return torch.stack([pi.mean / phi["log_std"].exp(), log_std * 2**0.5])

    parts_of = jacrev(outputs)(phi)
    rows = torch.cat([x.flatten(3) for x in parts_of.values()], -1).double()  # [2, M, K, P]
    weights = batch.weights.flatten()[::stride]
    weights = (weights / weights.sum()).double()
    fisher = torch.einsum("m,cmkp,cmkq->pq", weights, rows, rows)
    values = torch.linalg.eigvalsh(fisher)
    assert abs(values[0]) < 1e-6 * values[-1]
    largest, smallest = lams.system_spectrum(phi, batch, problem)
    torch.testing.assert_close(largest.double(), values[-1], rtol=1e-2, atol=0)
    assert smallest == 0


def test_an_alg_without_a_known_system_is_refused():
    problem = problem_of("promp")
    with pytest.raises(ValueError, match="GradientStep"):
        lams.system_spectrum(*one_batch(problem), problem)


def test_the_largest_eigenvalue_is_the_dense_one():
    matrix = torch.diag(torch.tensor([5.0, 3.0, 0.5]))
    found = lams.largest_eigenvalue(lambda v: {"x": matrix @ v["x"]}, {"x": torch.zeros(3)}, 40)
    assert abs(found - 5) < 1e-4


@pytest.mark.parametrize("half", [0.25, 0.5, 1.0])
@pytest.mark.parametrize("split", ["train", "test"])
def test_a_band_holds_the_speeds_of_the_family_drawn_in(half, split):
    speeds = parts.band(half).sample(40, seeded(0, "tasks"), split).speed
    whole = make_tasks("cheetah/velocity").sample(40, seeded(0, "tasks"), split).speed
    torch.testing.assert_close((speeds - 1) / half, whole - 1)
    assert (speeds - 1).abs().max() <= half
    assert speeds.std() > 0.4 * half


def test_the_tables_have_a_row_for_everything(monkeypatch, tmp_path):
    monkeypatch.setattr(lams, "CASES", {"points, head": lams.CASES["points, head"]})
    monkeypatch.setattr(parts, "BANDS", ())
    scale = Scale(seeds=1, iterations=2, num_tasks=2, num_test=2)
    train = partial(train_once, runs=tmp_path)
    frame = pd.DataFrame(EXPERIMENTS["lams"].rows(0, scale, train))
    assert list(frame["start"]) == [*lams.TIMES, *lams.LEARNT]
    assert list(frame["learnt"]) == ["no"] * 5 + ["yes"] * 2
    fixed = frame[frame["learnt"] == "no"]
    assert (fixed["end"] == fixed["start"]).all()
    assert (frame[frame["learnt"] == "yes"]["end"] / [0.1, 10.0]).between(0.8, 1.25).all()
    assert frame["return"].notna().all()
    frame = pd.DataFrame(EXPERIMENTS["spreads"].rows(0, scale, train))
    assert set(frame["tasks"]) == set(parts.ARCS)
    assert list(frame["collections"].unique()) == list(parts.COUNTS)
    assert len(frame) == 2 * len(parts.ARCS) * len(parts.COUNTS)


def test_a_training_that_breaks_down_is_a_row(monkeypatch, tmp_path):
    def breaks(problem):
        raise FloatingPointError("return_after is nan: use a smaller learning_rate")

    monkeypatch.setattr(lams, "CASES", {"points, head": lams.CASES["points, head"]})
    monkeypatch.setattr(lams, "train_with_lam", breaks)
    scale = Scale(seeds=1, iterations=1, num_tasks=2, num_test=2)
    rows = list(lams.lam_rows(0, scale, partial(train_once, runs=tmp_path)))
    assert rows[-1]["note"] == "return_after is nan"
    assert rows[-1]["return"] != rows[-1]["return"]
    assert {tuple(row) for row in rows} == {tuple(rows[0])}


def test_conditions_are_those_of_the_policy_as_it_is_trained(monkeypatch):
    """Before the first update and after the last, with the ridge in both places."""
    monkeypatch.setattr(lams, "CONDITIONS", ("BO-MRL head",))
    small = {"num_tasks": 4, "num_episodes": 2, "horizon": 5}

    def tiny(arm, seed, tasks, iterations):
        return configure("bomrl_head", tasks=tasks, seed=seed, iterations=iterations, **small)

    monkeypatch.setattr(lams.locomotion, "tuned_config", tiny)
    rows = list(lams.condition_rows(0, replace(Scale(), iterations=2), train_once))
    assert [row["iteration"] for row in rows] == [0, 1, 2]
    assert len({row["largest"] for row in rows}) == 3
    problem = episodes_problem(tiny("", 0, "cheetah/direction", 2))
    for count, row in ((0, rows[0]), (2, rows[2])):
        state = start_state(problem)
        for _ in range(count):
            meta_step(state, problem)
        largest, smallest = lams._spectra(state, problem)
        ridge = problem.config.settings()["ridge"]
        numbers = sorted(((largest + ridge) / (smallest + ridge)).tolist())
        assert row["ridge"] == ridge
        assert row["largest"] == pytest.approx(numbers[-1], rel=1e-5)
        assert row["median"] == pytest.approx((numbers[1] + numbers[2]) / 2, rel=1e-5)
        assert row["eigenvalue"] == pytest.approx(largest.double().quantile(0.5).item(), rel=1e-5)


def test_a_band_is_trained_and_one_that_breaks_down_is_a_row(monkeypatch, tmp_path):
    monkeypatch.setattr(parts, "ARCS", ())
    monkeypatch.setattr(parts, "BANDS", (0.5,))
    monkeypatch.setattr(parts, "METHODS", {"promp": "ProMP"})
    monkeypatch.setattr(parts, "in_parts", lambda *args, **how: [{"collections": 1, "how": how}])
    trained = []

    def train(config):
        trained.append(config)
        return train_once(config.replace(num_episodes=2, horizon=3), runs=tmp_path)

    scale = Scale(seeds=1, iterations=5, num_tasks=2, num_test=2)
    (row,) = parts.spreads(0, scale, train)
    assert row["tasks"] == trained[0].tasks == "cheetah/band-0.5"
    assert trained[0].iterations == 4
    assert row["how"]["num_tasks"] is None

    def breaks(config):
        raise FloatingPointError("return_after is nan: use a smaller learning_rate")

    (row,) = parts.spreads(0, scale, breaks)
    assert row["note"] == "return_after is nan"
    assert row["return"] != row["return"]
