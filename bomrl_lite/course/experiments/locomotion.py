r"""Methods on robots: tuned alike on each family, then compared on fresh seeds.

Tuning: on the families of cheetah and walker every method gets the same search
(:func:`bomrl_lite.course.experiments.sampled.search_rows`) and keeps the best it found,
:data:`bomrl_lite.course.experiments.tuned.TUNED`. The ant, which learns nothing with the cheetah's
settings, gets four of how to explore and climb on Ant velocity, :data:`ANT_GRIDS`, and three
lengths of the inner step on Ant direction, :data:`ANT_STEPS`.
Comparison: other seeds; speeds and headings of the test split. Returns are sums over an episode.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from bomrl_lite.course.experiments.sampled import (
    TUNING_SEED,
    Grids,
    Measure,
    attempted,
    best_factor,
    fresh_returns,
    in_parts,
    reaches,
    search_rows,
    tuning_rows,
)
from bomrl_lite.course.experiments.setting import Row, Rows, Scale, Train
from bomrl_lite.course.experiments.tuned import TUNED
from bomrl_lite.training.config import Config, configure
from bomrl_lite.training.episodes import EpisodesProblem, episodes_problem
from bomrl_lite.training.state import MetaState
from bomrl_lite.training.trainer import start_state

EPISODES = (1, 2, 5, 10, 20)
CHOICE = Measure(test_episodes=10, purpose="choice")
"""How returns are measured when the factor of later steps is chosen."""

ARMS: dict[str, dict[str, Any]] = {
    "MAML-TRPO": {"method": "trpo_maml"},
    "ProMP": {"method": "promp"},
    "BO-MRL head": {"method": "bomrl_head"},
    "BO-MRL": {"method": "bomrl_natural"},
    "BO-MRL D3": {"method": "lvc_maml"},
    "BO-MRL D1": {"method": "bomrl_solved", "distance": "d1"},
    "BO-MRL D2": {"method": "bomrl_solved", "distance": "d2"},
    "ANIL": {"method": "trpo_maml", "parameters": "head", "step_size": 0.5, "max_kl": 0.1},
    "ProMP head": {
        "method": "promp",
        "parameters": "head",
        "step_size": 0.3,
        "learning_rate": 1e-2,
    },
}
"""What is compared, by label, as settings of :func:`configure`.

BO-MRL is recipe B, quadratic in the KL divergence: D1 and D2 are one to second order. BO-MRL D1 and
D2 solve the problem with the divergence itself and take the settings of recipe B. With the linear
surrogate D3 has a closed form, MAML's step with alpha = 1 / (2 lam); trained in clipped epochs it
is ProMP without its penalty. ProMP head adapts the head alone, by MAML's step: the control for
BO-MRL head, of what the head does and what Alg. ANIL (1909.09157) does so with an outer trust
region, as its authors do."""

SEARCHED = tuple(arm for arm in ARMS if arm not in ("BO-MRL D1", "BO-MRL D2"))
"""Who is tuned; the two that are left out take the settings of BO-MRL."""

WIDER: dict[str, tuple[str, ...]] = {
    "cheetah/direction": ("MAML-TRPO",),
    "cheetah/velocity": (),
    "walker/direction": (),
}
"""Whose search goes further than that of the others."""

HEADS = ("ProMP", "ProMP head", "BO-MRL head")
"""Who is compared with the usual settings too, to see what hangs on the luck of a search."""

SLOW = ("BO-MRL D1", "BO-MRL D2")
"""What is trained on three seeds at most."""


ANT_GRIDS: Grids = {
    arm: [
        {"log_std": log_std, "epochs": epochs, "learning_rate": rate}
        for log_std in (-0.5, -1.0)
        for epochs, rate in ((5, cheetah_rate), (10, 5e-3))
    ]
    for arm, cheetah_rate in (
        ("ProMP", 2e-2),
        ("BO-MRL head", 1e-2),
        ("BO-MRL", 2e-2),
        ("ProMP head", 1e-2),
    )
} | {
    "MAML-TRPO": [
        {"log_std": log_std, "max_kl": max_kl} for log_std in (-0.5, -1.0) for max_kl in (0.1, 0.3)
    ]
}
"""Four configurations per method; the first three's winners are the settings of ``METHODS`` on the
ant. An outer trust region gets a wider one where others get smaller updates, as searches chose."""

ANT_STEPS: Grids = {
    "ProMP": [{"step_size": value} for value in (0.1, 0.5, 2.0)],
    "BO-MRL head": [{"lam": value} for value in (0.3, 0.1, 0.03)],
}
"""Inner steps of growing length: one that hardly moves an ant teaches nothing about directions."""

ANTS = ("ProMP", "BO-MRL head")
"""Who learns on the ant for long: the two best of ``ant_tuning``."""

ANT_CONTROLS = ("MAML-TRPO", "ProMP head")
"""Who joins them on Ant velocity, with their own best of ``ant_tuning``."""

LONG: dict[str, tuple[str, dict[str, float]]] = {
    "ProMP": ("ProMP", {}),
    "BO-MRL head": ("BO-MRL head", {}),
    "BO-MRL head, lam 0.1": ("BO-MRL head", {"lam": 0.1}),
    "BO-MRL head, lam 0.3": ("BO-MRL head", {"lam": 0.3}),
    "BO-MRL head, lam 0.3, half the rate": (
        "BO-MRL head",
        {"lam": 0.3, "learning_rate": 5e-3},
    ),
}
"""Who learns an ant's directions for long: an arm, and what is changed of its best setting. The
other two lengths of ``ANT_STEPS`` joined after the run of the best had collapsed; half the learning
rate joined after the longest-lived of the three had fallen back."""

LONG_AGAIN = ("ProMP", "BO-MRL head, lam 0.3, half the rate")
"""Who learns on a further seed: ProMP, and the setting of the head that holds best on seed 0."""

WALKERS = ("MAML-TRPO", "ProMP", "BO-MRL head", "BO-MRL", "ProMP head")
"""Who is tuned and compared on the walker."""


def grid_tuning(tasks: str, grids: Grids) -> Rows:
    """Return the rows of a family's grid: one per method and configuration."""

    def rows(seed: int, scale: Scale, train: Train) -> Iterator[Row]:
        def config_of(arm: str) -> Config:
            return _config(arm, TUNING_SEED + seed, tasks, scale.iterations)

        yield from tuning_rows(grids, config_of, train, Measure(num_episodes=20))

    return rows


def tuning(tasks: str, arms: tuple[str, ...] = SEARCHED) -> Rows:
    """Return the rows of the search for a family's settings: one per arm and trial."""

    def rows(seed: int, scale: Scale, train: Train) -> Iterator[Row]:
        def config_of(arm: str) -> Config:
            return _config(arm, TUNING_SEED + seed, tasks, scale.iterations)

        yield from search_rows(
            reaches(arms, WIDER[tasks]), config_of, train, Measure(num_episodes=20)
        )

    return rows


def levers_of(tasks: str, delta: float) -> dict[str, tuple[str, int, dict[str, Any]]]:
    """Return what might take BO-MRL further, by label.

    An arm, how many times longer it is trained, and what is changed of its best setting. The outer
    region is what the search found for MAML-TRPO; the trace is the one that lesson 04c finds best
    from 20 episodes; of two adaptations, made in training and at test, the second has episodes of
    its own. The body steps as far as ProMP's. Where ridges rule, a step of recipe B is
    1 / (lam rho) long: its head gets the ridge under which it goes as far as recipe A's,
    lam_A rho_A / (sigma^2 lam_B), with the sigma of the start.

    Args:
        tasks: the family.
        delta: limit of the inner region, in nats: what the step of recipe B takes half way through
            a training on another seed.
    """
    found = TUNED[tasks]
    head, every = found["BO-MRL head"], found["BO-MRL"]
    ridge = round(head["lam"] * head["ridge"] * math.e / every["lam"], 1)
    limit = {"delta": delta, "halvings": 8, "cg_iterations": 8, "distance_stride": 4}
    outer = {"outer": "trpo", "max_kl": found["MAML-TRPO"]["max_kl"]}
    return {
        "ProMP": ("ProMP", 1, {}),
        "ProMP, 4 times longer": ("ProMP", 4, {}),
        "head": ("BO-MRL head", 1, {}),
        "head, outer trust region": ("BO-MRL head", 1, outer),
        "head, two adaptations": ("BO-MRL head", 1, {"num_steps": 2}),
        "head, through Q": ("BO-MRL head", 1, {"data": "q_gradient", "causal_trace": 0.5}),
        "head, a step of the body": (
            "BO-MRL head",
            1,
            {"body_step": found["ProMP"]["step_size"]},
        ),
        "all": ("BO-MRL", 1, {}),
        "all, outer trust region": ("BO-MRL", 1, outer),
        "all, a ridge of the head": ("BO-MRL", 1, {"head_ridge": ridge}),
        "all, inner trust region": ("BO-MRL", 1, {"method": "bomrl_natural_region", **limit}),
        "all, 4 times longer": ("BO-MRL", 4, {}),
    }


LEVERS = levers_of("cheetah/velocity", delta=0.5)
"""What might help where speeds are asked for."""

_DEAR = ("4 times longer", "outer trust region")
WALKER_LEVERS = {
    label: lever
    for label, lever in levers_of("walker/direction", delta=5.0).items()
    if not label.endswith(_DEAR)
}
"""What might help walkers, without what is dear and without what helped no cheetah."""


def comparison(tasks: str, arms: tuple[str, ...], *, searched: bool = True) -> Rows:
    """Return the rows of a family: what training saw, and what the policies do with fresh tasks.

    Args:
        tasks: the family.
        arms: who is compared.
        searched: with the settings that the family's search found, not the usual ones.
    """
    config_of = tuned_config if searched else _config

    def rows(seed: int, scale: Scale, train: Train) -> Iterator[Row]:
        for arm in (arm for arm in arms if seed < 3 or arm not in SLOW):
            yield from _arm_rows(arm, config_of(arm, seed, tasks, scale.iterations), train)

    return rows


def long_ants(seed: int, scale: Scale, train: Train) -> Iterator[Row]:
    """Yield the rows of Ant direction from twice the episodes, for every setting of LONG."""
    for label in LONG if seed == 0 else LONG_AGAIN:
        arm, changed = LONG[label]
        config = tuned_config(
            arm, seed, "ant/direction", scale.iterations, num_episodes=40, **changed
        )
        yield from _arm_rows(label, config, train)


def collections(seed: int, scale: Scale, train: Train) -> Iterator[Row]:
    """Yield returns after 40 episodes per task, collected at once or in up to 8 parts."""
    for arm in ("MAML-TRPO", "ProMP", "BO-MRL head"):
        config = tuned_config(arm, seed, "cheetah/direction", scale.iterations)
        state, _ = train(config)
        for row in in_parts(state, episodes_problem(config), counts=(1, 2, 4, 8)):
            yield {"method": arm, "seed": seed, **row}


def levers(tasks: str, tried: Mapping[str, tuple[str, int, dict[str, Any]]]) -> Rows:
    """Return the rows of a family's levers: returns after 0, 1 and 2 adaptations."""

    def rows(seed: int, scale: Scale, train: Train) -> Iterator[Row]:
        for label, (arm, times, changed) in tried.items():
            iterations = times * scale.iterations
            config = tuned_config(arm, seed, tasks, iterations, **changed)
            problem, (trained, note) = episodes_problem(config), attempted(train, config)
            factor, values, seconds = math.nan, [math.nan] * 3, 0.0
            if trained is not None:
                choice = replace(CHOICE, num_steps=2, num_episodes=20)
                factor = best_factor(trained.state, problem, choice)
                measure = Measure(num_steps=2, num_episodes=20)
                returns = fresh_returns(trained.state, problem, measure, factor=factor)
                values, seconds = returns.mean(0).tolist(), trained.seconds
            for step, value in enumerate(values):
                reached = {"adaptations": step, "factor": factor, "return": value}
                yield {"method": label, "seed": seed, **reached, "seconds": seconds, "note": note}

    return rows


def tuned_config(arm: str, seed: int, tasks: str, iterations: int, **changed: Any) -> Config:
    """Return a training of the comparison, with the best settings of the family's search.

    Args:
        arm: key of :data:`ARMS`.
        seed: of the training.
        tasks: the family.
        iterations: of the training.
        changed: what is set otherwise; an outer trust region takes the place of the learning rate,
            the epochs and the clip, an inner one that of lam.
    """
    found = TUNED.get(tasks, {}).get(arm if arm in SEARCHED else "BO-MRL", {})
    replaced = {"max_kl": "learning_rate", "delta": "lam"}
    idle = {old for new, old in replaced.items() if new in changed}
    found = {name: value for name, value in found.items() if name not in idle}
    return _config(arm, seed, tasks, iterations, **{**found, **changed})


def _arm_rows(label: str, config: Config, train: Train) -> Iterator[Row]:
    """Yield what training saw, and what the policy does with fresh tasks."""
    problem = episodes_problem(config)
    trained, note = attempted(train, config)
    if trained is None:
        yield _row(label, config.seed, "failed", note=note)
        return
    state, seconds = trained
    yield from _training_rows(label, state, problem, seconds)
    yield from _evaluation_rows(label, state, problem)
    if label == "BO-MRL head":
        # The untrained policy looks through the trained one's lens.
        prior = replace(start_state(problem), moments=state.moments)
        yield from _evaluation_rows("untrained", prior, problem)


def _training_rows(
    arm: str, state: MetaState, problem: EpisodesProblem, seconds: float
) -> Iterator[Row]:
    """Yield what each iteration's own episodes returned, over steps of the environment."""
    config, sampling = problem.config, problem.sampling
    horizon = sampling.horizon or problem.family.horizon
    steps = 2 * config.num_tasks * sampling.num_episodes * horizon
    for row in state.history:
        done = row["iteration"] + 1
        yield _row(
            arm,
            config.seed,
            "training",
            iteration=int(done),
            steps=int(done * steps),
            seconds=seconds * done / config.iterations,
            before=row["return_before"],
            value=row["return_after"],
        )


def _evaluation_rows(arm: str, state: MetaState, problem: EpisodesProblem) -> Iterator[Row]:
    """Yield returns after 0 to 3 adaptations, and after one from 1 to 20 episodes."""
    seed = problem.config.seed
    factor = best_factor(state, problem, replace(CHOICE, num_steps=3, num_episodes=20))
    three = Measure(num_steps=3, num_episodes=20)
    values = fresh_returns(state, problem, three, factor=factor).mean(0).tolist()
    for step, value in enumerate(values):
        of_step = {"adaptations": step, "factor": factor, "before": values[0], "value": value}
        yield _row(arm, seed, "steps", episodes=20, **of_step)
    for episodes in EPISODES:
        one = Measure(num_episodes=episodes, purpose=7)  # other tasks than those of the steps
        values = fresh_returns(state, problem, one).mean(0).tolist()
        of_count = {"episodes": episodes, "before": values[0], "value": values[1]}
        yield _row(arm, seed, "episodes", adaptations=1, **of_count)


def _row(
    arm: str, seed: int, kind: str, *, value: float = math.nan, note: str = "", **columns: float
) -> Row:
    """Lay out one row of a family's table; what it does not have stays empty."""
    names = ("iteration", "steps", "seconds", "adaptations", "episodes", "factor", "before")
    start = {"method": arm, "seed": seed, "kind": kind, **dict.fromkeys(names, "")}
    return {**start, **columns, "return": value, "note": note}


def _config(arm: str, seed: int, tasks: str, iterations: int, **changed: Any) -> Config:
    """Return a training with an arm's usual settings, but for those that are changed."""
    num_tasks, num_episodes = (4, 20) if "direction" in tasks else (10, 10)
    return configure(
        **{"num_episodes": num_episodes, **ARMS[arm], **changed},
        tasks=tasks,
        integrator="gym" if tasks.startswith("cheetah/") else "fast",
        seed=seed,
        num_tasks=num_tasks,
        iterations=iterations,
        diagnose_every=10000,
    )
