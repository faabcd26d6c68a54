"""Training on samples as software: reproducible, resumable, honest about what goes wrong."""

import csv
import dataclasses
import math
import shutil

import numpy as np
import pytest
import torch
from torch.distributions import Normal, kl_divergence
from torch.func import grad

from bomrl_lite.solvers.implicit import is_solved
from bomrl_lite.tasks import make_tasks
from bomrl_lite.training import episodes as collecting
from bomrl_lite.training import over_tasks
from bomrl_lite.training.config import Config, configure
from bomrl_lite.training.episodes import (
    COLUMNS,
    EpisodesProblem,
    adapted_returns,
    collect_all,
    episodes_problem,
)
from bomrl_lite.training.objective import (
    DIAGNOSED,
    SOLVED,
    EpisodesObjective,
    _shuffled,
    _tuned_penalty,
)
from bomrl_lite.training.policy_file import load_policy, save_policy
from bomrl_lite.training.problem import make_problem
from bomrl_lite.training.streams import seeded
from bomrl_lite.training.trainer import load, meta_step, meta_train, start_state

SMALL = configure(
    "lvc_maml",
    num_tasks=3,
    num_episodes=4,
    horizon=6,
    hidden=(5,),
    iterations=6,
    diagnose_every=4,
    checkpoint_every=2,
)


def with_(config: Config, **settings) -> Config:
    return config.replace(**settings)


def same(a, b) -> bool:
    """Bit by bit; nan equals nan."""
    rows = [[float(x).hex() for x in row.values()] for row in a.history]
    others = [[float(x).hex() for x in row.values()] for row in b.history]
    return rows == others and all(torch.equal(a.phi[k], b.phi[k]) for k in a.phi)


def test_a_problem_does_not_change_once_it_is_made():
    problem = make_problem(SMALL)
    with pytest.raises(dataclasses.FrozenInstanceError):
        problem.policy = None


def test_training_never_asks_for_a_task_that_is_held_out(monkeypatch):
    def guarded(name, **settings):
        family = make_tasks(name, **settings)

        def sample(num_tasks, generator, split):
            assert split == "train"
            return family.sample(num_tasks, generator, split)

        return dataclasses.replace(family, sample=sample)

    monkeypatch.setattr(collecting, "make_tasks", guarded)
    for tasks in ("navigation/circle", "probe/bandits-5"):
        few = {"num_tasks": 2, "num_episodes": 2, "horizon": 2, "iterations": 1}
        meta_train(configure("lvc_maml", tasks=tasks, values="episodes", **few))


@pytest.mark.parametrize("method", ["lvc_maml", "trpo_maml", "bomrl_solved"])
def test_the_same_seed_gives_the_same_run_bit_for_bit(method):
    config = with_(SMALL, method=method, iterations=2 if method == "lvc_maml" else 1)
    first = meta_train(config)
    assert same(first, meta_train(config))
    if method == "lvc_maml":
        assert not same(first, meta_train(with_(config, seed=1)))


@pytest.mark.parametrize("method", ["promp", "trpo_maml", "bomrl_natural", "bomrl_head"])
def test_no_bit_depends_on_the_number_of_threads(method, monkeypatch):
    """Parts of one task on threads of their own, and loops that torch would split by itself: those
    over 32768 numbers and more, 4 x 8 x 35 x 32, whose sums it then takes in another order."""
    monkeypatch.setattr(over_tasks, "SAMPLES", 8 * 35)
    large = {"num_tasks": 4, "num_episodes": 8, "horizon": 35, "hidden": (32,)}
    fewer = {} if method == "trpo_maml" else {"epochs": 2}
    config = with_(SMALL, method=method, iterations=1, **large, **fewer)
    if method == "bomrl_natural":
        config = with_(config, cg_iterations=2)
    first, problem = meta_train(config), episodes_problem(config)
    evaluated = adapted_returns(
        first.phi, problem.draw(seeded(0, "evaluation")), problem, seeded(1, "evaluation")
    )
    try:
        for threads in (2, 5):
            torch.set_num_threads(threads)
            assert same(first, meta_train(config))
            again = adapted_returns(
                first.phi, problem.draw(seeded(0, "evaluation")), problem, seeded(1, "evaluation")
            )
            assert torch.equal(evaluated, again)
            assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(1)


@pytest.mark.parametrize("method", ["promp", "trpo_maml", "bomrl_head"])
def test_a_resumed_run_equals_an_uninterrupted_one(tmp_path, method):
    """Adam's moments, the generator and the adaptive penalty go on where they were."""
    adaptive = {"kl_penalty": 0.1, "kl_target": 1e-9}  # doubles every time
    dials = adaptive if method == "promp" else {"iterations": 4}
    config = with_(SMALL, method=method, **dials)
    first = meta_train(with_(config, iterations=config.iterations // 2), out=tmp_path)
    resumed = meta_train(config, out=tmp_path, resume=True)
    whole = meta_train(config)
    assert same(resumed, whole)
    assert resumed.kl_penalty == whole.kl_penalty
    if method == "promp":
        assert first.kl_penalty == 0.1 * 2**3
    there, state = load(tmp_path)
    assert there == config
    assert same(state, whole)
    assert state.kl_penalty == whole.kl_penalty


def test_a_resumed_run_of_robots_goes_on_with_its_moments(tmp_path):
    config = with_(SMALL, tasks="cheetah/velocity", method="bomrl_head", iterations=4)
    half = meta_train(with_(config, iterations=2), out=tmp_path)
    assert half.moments.number == 2 * 2 * (3 * 4) * 6  # iterations, rollouts, episodes, steps
    resumed, whole = meta_train(config, out=tmp_path, resume=True), meta_train(config)
    assert same(resumed, whole)
    assert all(map(torch.equal, resumed.moments, whole.moments))
    _, state = load(tmp_path)
    assert all(map(torch.equal, state.moments, whole.moments))


def test_a_run_killed_between_two_checkpoints_is_continued_bit_for_bit(tmp_path):
    """The folder as SIGKILL leaves it: the file holds 2 of 3 iterations done."""
    run, killed = tmp_path / "run", tmp_path / "killed"

    def kill(done, total, row):
        if done == 3:
            shutil.copytree(run, killed)

    meta_train(SMALL, out=run, progress=kill)
    assert len(load(killed)[1].history) == 2
    assert same(meta_train(SMALL, out=killed, resume=True), meta_train(SMALL))


@pytest.mark.parametrize(
    ("target", "expected"), [(1e-9, 0.4), (1e3, 0.025), (0.0, 0.1)], ids=["far", "near", "fixed"]
)
def test_the_penalty_doubles_and_halves_to_keep_its_target(target, expected):
    config = with_(SMALL, method="promp", kl_penalty=0.1, kl_target=target, iterations=2)
    assert meta_train(config).kl_penalty == pytest.approx(expected)


@pytest.mark.parametrize(
    ("method", "rate", "penalty"),
    [("trpo_maml", 1.0, 0.0), ("promp", 3e-3, 0.02), ("lvc_maml", 3e-3, 0.0)],
)
def test_a_state_starts_with_the_rate_and_the_penalty_of_its_settings(method, rate, penalty):
    """TRPO has neither: it finds its own length, and a penalty would bend its gradient."""
    told = {"learning_rate": rate, "kl_penalty": penalty}
    config = with_(SMALL, method=method)
    config = with_(config, **{k: v for k, v in told.items() if k in config.settings()})
    state = start_state(make_problem(config))
    assert state.optimizer.param_groups[0]["lr"] == rate
    assert state.kl_penalty == penalty


BAND = [
    (0.0, 0.3, 1.0),
    (0.2, 0.29, 1.0),
    (0.2, 0.31, 2.0),
    (0.2, 0.14, 1.0),
    (0.2, 0.13, 0.5),
    (0.2, 0.08, 0.5),
]
"""The target, the divergence, and what becomes of a penalty of 1: 1.5 times either way is near."""


@pytest.mark.parametrize(("target", "divergence", "expected"), BAND)
def test_the_penalty_stays_within_one_and_a_half_times_its_target(target, divergence, expected):
    problem = make_problem(with_(SMALL, method="promp", kl_penalty=0.1, kl_target=target))
    assert _tuned_penalty(1.0, problem, divergence) == expected


def test_returns_that_hardly_differ_credit_nothing_beyond_measure():
    """A deviation of 1e-8, as of tasks that all earn alike but for rounding."""
    config = with_(SMALL, method="e_maml", num_tasks=2)
    problem, generator = make_problem(config), torch.Generator().manual_seed(1)
    phi = problem.policy.init(generator)
    episodes = collect_all(phi, problem.draw(generator), problem, generator)
    alike = torch.tensor([0.0, 2e-8], dtype=torch.float64)
    objective = EpisodesObjective(problem, episodes._replace(returns_after=alike), phi, 0.0)
    credit = problem.estimator.credit
    assert objective.scores.tolist() == pytest.approx([-credit / 2, credit / 2])


def uneven_episodes(**dials):
    """Episodes that weigh unequally, after two adaptation steps; and what collected them."""
    config = with_(SMALL, num_steps=2, horizon=20, num_episodes=8, **dials)
    problem, generator = make_problem(config), torch.Generator().manual_seed(1)
    phi = problem.policy.init(generator)
    tasks = problem.family.sample(3, generator, "train")
    episodes = collect_all(phi, tasks, problem, generator)

    def uneven(batch):
        weights = torch.rand(batch.weights.shape, generator=generator) ** 3
        return batch._replace(weights=weights / weights.sum((1, 2), keepdim=True))

    before = tuple(uneven(batch) for batch in episodes.before)
    return problem, episodes._replace(before=before, after=uneven(episodes.after)), phi


def test_the_penalty_is_the_mean_divergence_of_the_first_policy_from_the_one_that_acted():
    """KL(pi_old || pi_phi) of torch.distributions, at the first step's episodes, by a loop."""
    problem, episodes, old = uneven_episodes(method="promp")
    generator = torch.Generator().manual_seed(2)
    phi = {k: x + 0.3 * torch.randn(x.shape, generator=generator) for k, x in old.items()}
    first = episodes.before[0]

    def penalty(p):
        value = 0.0
        for n in range(3):
            there, here = (problem.policy.distribution(q, first.observations[n]) for q in (old, p))
            pair = (Normal(pi.mean, pi.log_std.exp(), validate_args=False) for pi in (there, here))
            value = value + (first.weights[n] * kl_divergence(*pair).sum(-1)).sum() / 3
        return value

    free, bound = (
        EpisodesObjective(problem, episodes, old, k).gradient(phi)[0] for k in (0.0, 50.0)
    )
    for name, slope in grad(penalty)(phi).items():
        torch.testing.assert_close(free[name] - bound[name], 50 * slope, rtol=1e-3, atol=1e-4)


def test_the_value_where_the_episodes_were_collected_is_their_weighted_mean_advantage():
    problem, episodes, old = uneven_episodes(method="trpo_maml")
    after = episodes.after
    by_hand = [
        np.average(after.advantages[n], weights=after.weights[n], axis=None) for n in range(3)
    ]
    value = EpisodesObjective(problem, episodes, old, 0.0).value_at_old
    assert value.item() == pytest.approx(np.mean(by_hand), rel=1e-5)
    assert abs(np.mean(by_hand)) > 1e-3


def test_the_divergence_of_adapted_policies_is_flat_where_nothing_has_moved():
    problem, episodes, old = uneven_episodes(method="trpo_maml")
    objective = EpisodesObjective(problem, episodes, old, 0.0)
    away = {name: leaf + 0.1 for name, leaf in old.items()}
    flat, steep = (objective.divergence_gradient(phi) for phi in (old, away))
    assert max(leaf.abs().max() for leaf in flat.values()) < 1e-5
    assert max(leaf.abs().max() for leaf in steep.values()) > 1e-2


def test_a_penalty_holds_phi_back():
    moved = [
        meta_train(with_(SMALL, method="promp", kl_penalty=k, iterations=1)).history[0]
        for k in (0.0, 1e3)
    ]
    assert moved[1]["divergence_before"] < 0.5 * moved[0]["divergence_before"]


def test_the_guard_of_the_settings_stops_the_epochs():
    """After one epoch the policies have moved, if ever so little."""
    config = with_(SMALL, method="promp", epochs=4, iterations=1)
    updates = [
        meta_train(with_(config, kl_guard=guard)).history[0]["updates"] for guard in (1e-12, 1e3)
    ]
    assert updates == [1, 4]


@pytest.mark.parametrize("max_kl", [1e-4, 3e-3])
def test_the_trust_region_has_the_size_of_the_settings(max_kl):
    row = meta_train(with_(SMALL, method="trpo_maml", max_kl=max_kl, iterations=1)).history[0]
    assert row["updates"] == 1
    assert 0.2 * max_kl < row["outer_divergence"] <= max_kl


def test_the_files_hold_the_history_column_by_column(tmp_path):
    state = meta_train(SMALL, out=tmp_path)
    with (tmp_path / "history.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert tuple(rows[0]) == COLUMNS == tuple(state.history[0])
    assert [row["iteration"] for row in rows] == list("012345")
    for i, row in enumerate(state.history):
        always = set(COLUMNS) - {"curvature", *DIAGNOSED}
        assert all(math.isfinite(row[name]) for name in always)
        measured = [name for name in DIAGNOSED if math.isfinite(row[name])]
        assert measured == (list(DIAGNOSED) if i % 4 == 0 else [])
        assert float(rows[i]["return_after"]) == row["return_after"]


def test_divergence_stops_with_its_diagnostic_and_the_last_good_state_is_kept(tmp_path):
    """A learning rate that takes two iterations to overflow float32."""
    config = with_(SMALL, learning_rate=3e37, iterations=20, checkpoint_every=50)
    with pytest.raises(FloatingPointError, match="is inf; the policy overflowed"):
        meta_train(config, out=tmp_path)
    _, kept = load(tmp_path)
    done = len(kept.history)
    assert 1 < done < 20
    assert all(leaf.isfinite().all() for leaf in kept.phi.values())
    assert same(kept, meta_train(with_(config, iterations=done)))


@pytest.mark.parametrize("method", ["lvc_maml", "trpo_maml"])
def test_an_adaptation_that_overflows_is_named_by_its_distance(tmp_path, method):
    config = with_(SMALL, method=method, step_size=1e20)
    message = r"iteration 0 gave distance = inf: training diverged; use a smaller learning_rate, st"
    with pytest.raises(FloatingPointError, match=message):
        meta_train(config, out=tmp_path)
    _, kept = load(tmp_path)
    assert same(kept, start_state(make_problem(config)))


def test_a_history_figure_that_is_not_finite_is_named(monkeypatch):
    problem = make_problem(SMALL)
    state = start_state(problem)
    monkeypatch.setattr(EpisodesProblem, "returns", lambda self, r: torch.full((3,), math.nan))
    with pytest.raises(FloatingPointError, match=r"return_before = nan.*learning_rate, step_size"):
        meta_step(state, problem)
    assert state.history == []


def test_where_no_inner_problem_is_solved_training_says_so(tmp_path):
    """One product with the matrix of 30 unlike curvatures, hardly any ridge."""
    unsolvable = with_(SMALL, method="bomrl_natural", cg_iterations=1, ridge=1e-4)
    with pytest.raises(
        ArithmeticError, match=r"none of the 3 .*stationarity .*larger lam or rid.*cg_it"
    ):
        meta_train(unsolvable, out=tmp_path)
    assert load(tmp_path)[1].history == []


def test_a_task_whose_inner_problem_is_not_solved_is_left_out():
    """One task of three gets advantages a million times larger: as if lam were that much less."""
    config = with_(SMALL, method="imaml", lam=10.0, num_episodes=8)
    problem = make_problem(config)
    state = start_state(problem)
    tasks = problem.family.sample(3, state.generator, "train")
    episodes = collect_all(state.phi, tasks, problem, state.generator)
    wild = episodes.before[0].advantages.clone()
    wild[1] *= 1e6
    batch = episodes.before[0]._replace(advantages=wild)
    objective = EpisodesObjective(problem, episodes._replace(before=(batch,)), state.phi, 0.0)
    gradient, _, info, _ = objective.gradient(state.phi)
    assert is_solved(info, SOLVED).tolist() == [True, False, True]
    singles, _, info = EpisodesObjective(problem, episodes, state.phi, 0.0).per_task(
        state.phi, problem.alg
    )
    assert is_solved(info, SOLVED).all()
    for name, leaf in gradient.items():
        torch.testing.assert_close(leaf, (singles[name][0] + singles[name][2]) / 2)
    assert all(
        not torch.allclose(gradient[name], leaf.mean(0), rtol=1e-2)
        for name, leaf in singles.items()
    )


@pytest.mark.parametrize(
    ("dials", "message"),
    [
        ({"method": "mamel"}, "method must be one of"),
        ({"outer": "sgd"}, "outer must be one of"),
        ({"method": "bomrl_solved", "distance": "d4"}, "distance must be one of"),
        ({"data": "all"}, "data must be one of"),
        ({"data": "full"}, "a name means one algorithm"),
        ({"lam": 5.0}, "lvc_maml on .* has no setting lam; it has .*step_size"),
        ({"causal_trace": 0.5}, "has no causal terms to truncate"),
        ({"baseline": False, "trace": 0.5}, "without a baseline advantages are returns"),
        ({"kl_target": 0.1}, "no penalty to adapt"),
        ({"method": "bomrl_solved", "distance": "d3", "distance_stride": 2}, "d3 is no average"),
        ({"num_tasks": 0}, "num_tasks must be at least 1, got 0"),
        ({"epochs": 0}, "epochs must be at least 1, got 0"),
        ({"method": "bomrl_head", "lam": 0.0}, "lam must be positive and finite, got 0.0"),
        ({"step_size": math.nan}, "step_size must be positive and finite, got nan"),
        ({"learning_rate": math.inf}, "learning_rate must be positive and finite"),
        ({"method": "bomrl_head", "ridge": -1.0}, "ridge must be 0 or more and finite, got -1.0"),
        (
            {"method": "loaded_dice_maml", "causal_trace": 1.5},
            r"causal_trace must be in \[0, 1\], got 1.5",
        ),
        ({"tasks": "navigation/circel"}, "navigation/circle"),
        (
            {"tasks": "probe/opposite", "values": "episodes", "method": "anil"},
            "no head to adapt alone",
        ),
    ],
)
def test_a_configuration_that_cannot_train_is_refused(dials, message):
    with pytest.raises(ValueError, match=message):
        meta_train(with_(SMALL, **dials))


def test_settings_that_fit_only_together_are_taken_together():
    """On robots the stride is 4, which d3 refuses; and episodes of tables stay episodes."""
    config = configure("bomrl_solved", tasks="cheetah/direction", distance="d3", distance_stride=1)
    assert (config.alg.distance, config.alg.distance_stride) == ("d3", 1)
    table = configure("lvc_maml", tasks="probe/opposite", values="episodes")
    assert table.replace(method="promp").values == "episodes"
    assert table.replace(seed=3) == configure(
        "lvc_maml", tasks="probe/opposite", values="episodes", seed=3
    )


def test_a_table_has_no_head():
    with pytest.raises(ValueError, match="no head to adapt alone"):
        configure("anil", tasks="probe/opposite", values="episodes")


def test_a_run_goes_on_only_under_its_own_configuration(tmp_path):
    meta_train(with_(SMALL, iterations=2), out=tmp_path)
    with pytest.raises(FileExistsError, match="holds a run already"):
        meta_train(SMALL, out=tmp_path)
    with pytest.raises(ValueError, match="seed: 0 there, 7 now"):
        meta_train(with_(SMALL, seed=7), out=tmp_path, resume=True)
    with pytest.raises(ValueError, match="has done 2 iterations already, more than 1"):
        meta_train(with_(SMALL, iterations=1), out=tmp_path, resume=True)


def test_exact_runs_and_runs_on_episodes_load_alike_and_do_not_mix(tmp_path):
    exact = configure("maml", num_tasks=4, iterations=1)
    state = meta_train(exact, out=tmp_path)
    config, again = load(tmp_path)
    assert config == exact
    assert same(again, state)
    with pytest.raises(ValueError, match="method: 'maml' there, 'lvc_maml' now"):
        meta_train(SMALL, out=tmp_path, resume=True)
    with pytest.raises(FileNotFoundError, match="train first"):
        load(tmp_path / "nowhere")


def test_tensorboard_without_a_folder_is_refused_before_training():
    with pytest.raises(ValueError, match="tensorboard writes into the run folder, but out is None"):
        meta_train(SMALL, tensorboard=True)


def test_adapted_policies_are_judged_on_episodes_that_they_did_not_learn_from(monkeypatch):
    """Every collection draws anew; a step reads ``num_episodes``, a return ``test_episodes``."""
    problem = make_problem(SMALL)
    state = start_state(problem)
    tasks = problem.family.sample(3, state.generator, "test")
    collected, adapted_on = [], []
    real = collecting.collect

    def spy(simulator, policy, params, generator):
        collected.append((params, real(simulator, policy, params, generator)))
        return collected[-1][1]

    def alg(phi, batch):
        adapted_on.append(batch)
        return problem.alg(phi, batch)

    monkeypatch.setattr(collecting, "collect", spy)
    values = adapted_returns(
        state.phi, tasks, problem, torch.Generator().manual_seed(3),
        num_steps=2, num_episodes=4, test_episodes=7, algs=(alg, alg),
    )  # fmt: skip
    rollouts = [rollout for _, rollout in collected]
    assert [len(r.rewards[0]) for r in rollouts] == [7, 4, 7, 4, 7]
    assert len(adapted_on) == 2
    for i, judged in enumerate((0, 2, 4)):
        by_hand = rollouts[judged].rewards.sum(-1).mean(-1)
        torch.testing.assert_close(values[:, i], by_hand)
    policies = [params["head.weight"] for params, _ in collected]
    assert torch.equal(policies[0], policies[1])
    assert torch.equal(policies[2], policies[3])
    assert not torch.equal(policies[0], policies[2])
    assert not torch.equal(policies[2], policies[4])
    assert not torch.equal(rollouts[1].actions, rollouts[0].actions[:, :4])


def test_shuffled_advantages_are_the_same_numbers_elsewhere_and_padding_stays():
    problem = make_problem(SMALL)
    state = start_state(problem)
    tasks = problem.family.sample(3, state.generator, "train")
    batch = collect_all(state.phi, tasks, problem, state.generator).before[0]
    mask = torch.ones(3, 4, 6)
    mask[:, 1, 2:] = 0
    mask[2, 3] = 0
    batch = batch._replace(weights=mask, advantages=batch.advantages * mask)
    mixed = _shuffled(batch, torch.Generator().manual_seed(0)).advantages
    assert (mixed[mask == 0] == 0).all()
    for before, after, here in zip(batch.advantages, mixed, mask > 0, strict=True):
        assert torch.equal(before[here].sort().values, after[here].sort().values)
        assert (before[here] != after[here]).float().mean() > 0.5


def test_training_raises_the_return_after_adaptation():
    config = configure(
        "bomrl_head", num_tasks=10, num_episodes=10, horizon=30, hidden=(16,), iterations=12
    )
    after = [row["return_after"] for row in meta_train(config).history]
    assert sum(after[-3:]) / 3 - sum(after[:3]) / 3 >= 2


def test_a_policy_file_holds_what_acting_needs(tmp_path):
    config = with_(SMALL, tasks="cheetah/direction", method="bomrl_head", iterations=1)
    state = meta_train(config)
    save_policy(config, state, tmp_path / "new" / "policy.pt")
    there, phi, moments = load_policy(tmp_path / "new" / "policy.pt")
    assert there == config
    assert all(torch.equal(phi[name], leaf) for name, leaf in state.phi.items())
    assert all(map(torch.equal, moments, state.moments))
    kept = torch.load(tmp_path / "new" / "policy.pt", weights_only=True)
    assert set(kept) == {"config", "phi", "moments", "checksum"}
    plain = meta_train(with_(SMALL, iterations=1))
    save_policy(SMALL, plain, tmp_path / "plain.pt")
    assert load_policy(tmp_path / "plain.pt")[2] is None


class Trap:
    """Its file asks to run code when it is read."""

    def __reduce__(self):
        return exec, ("raise AssertionError('code of the file ran')",)


@pytest.mark.parametrize(
    "content",
    [
        b"PK nothing",
        b"PK\x03\x04 cut short",
        b"nothing",
        [1, 2],
        {"phi": {}},
        {"config": {"hidden": None, "method": "lvc_maml", "colour": 1}, "phi": {}, "moments": {}},
        {"config": {"hidden": None}, "phi": {}, "moments": {"number": 1.0}},
        Trap(),
    ],
    ids=["text", "cut", "other", "list", "parts", "dial", "moments", "code"],
)
def test_a_file_that_is_no_policy_is_refused(tmp_path, content):
    if isinstance(content, bytes):
        (tmp_path / "policy.pt").write_bytes(content)
    else:
        torch.save(content, tmp_path / "policy.pt")
    with pytest.raises(ValueError, match=r"policy\.pt is not a policy"):
        load_policy(tmp_path / "policy.pt")
    with pytest.raises(FileNotFoundError):
        load_policy(tmp_path / "other.pt")
