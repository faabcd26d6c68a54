"""Bars of the sampled road: iterations, hypergradients of the three recipes, training."""

from collections.abc import Callable, Iterator
from functools import cache, partial
from typing import NamedTuple

import torch
from torch import Tensor
from torch.func import grad, vmap

from bomrl_lite.adaptation.adapted import Adapted
from bomrl_lite.adaptation.distances import Distance, add_distances, d1, d2, d3
from bomrl_lite.adaptation.episodes import sampled_meta_gradient
from bomrl_lite.adaptation.gradient import gradient_adaptation
from bomrl_lite.adaptation.head import head_adaptation
from bomrl_lite.adaptation.natural import natural_adaptation, region_adaptation
from bomrl_lite.adaptation.objective import surrogate_objective
from bomrl_lite.adaptation.solve import LocalObjective, penalised_objective, solved_adaptation
from bomrl_lite.course.bench.figure import Figure, cpu_seconds, ratio_of
from bomrl_lite.course.experiments.inner_steps import inner_steps
from bomrl_lite.policies.networks import gaussian_mlp
from bomrl_lite.rollout.collect import collect, repeat
from bomrl_lite.rollout.data import SampleBatch, frozen_samples, policy_at, sample_batch
from bomrl_lite.solvers.inner import dense_solver, matrix_free_solver
from bomrl_lite.solvers.linear import add_scaled, dot, norm, scale
from bomrl_lite.tasks import make_tasks
from bomrl_lite.training.config import Config, configure
from bomrl_lite.training.episodes import collect_all, episodes_problem
from bomrl_lite.training.objective import EpisodesObjective
from bomrl_lite.training.trainer import meta_step, meta_train, start_state
from bomrl_lite.types import Params, Policy

SampledAlg = Callable[[Params], Adapted]


def iteration_times() -> Iterator[Figure]:
    """Time one whole meta-iteration, collecting included, after two to warm up."""
    for name, config, bar in (
        ("navigation, MAML-TRPO, 20 x 20 x 100", _navigation("trpo_maml"), 0.9),
        ("navigation, MAML, 20 x 20 x 100", _navigation("lvc_maml"), None),
        ("navigation, ProMP, 20 x 20 x 100", _navigation("promp"), 1.5),
        ("navigation, BO-MRL B, 20 x 20 x 100", _navigation("bomrl_natural"), 3.0),
        ("Frozen Lake, MAML, 20 x 20 x 10", _lakes("lvc_maml"), 0.08),
    ):
        seconds = partial(_iteration_seconds, config)
        yield Figure(f"meta-iteration, {name}", seconds, "CPU-s", bar)


def head_iteration_time() -> Iterator[Figure]:
    """Time one whole meta-iteration of recipe A, likewise."""
    seconds = partial(_iteration_seconds, _navigation("bomrl_head"))
    name = "meta-iteration, navigation, BO-MRL head, 20 x 20 x 100"
    yield Figure(name, seconds, "CPU-s", 0.5)


class Effort(NamedTuple):
    """Size of the policy that recipes are tried on, and iterations, which grow with it."""

    hidden: int = 12
    newton: int = 30
    cg: int = 100
    newton_cg: tuple[int, int] = (12, 120)
    """Of Newton steps by conjugate gradients: no more are needed from phi, and each is dear."""


USUAL = Effort()
SMALL = Effort(hidden=1, newton=7, cg=12, newton_cg=(7, 12))
"""Every recipe, on nine parameters."""


def recipe_errors(effort: Effort = USUAL) -> Iterator[Figure]:
    """Compare each recipe's hypergradient with central differences, on frozen data, in float64."""
    policy = gaussian_mlp(2, 2, hidden=(effort.hidden,), dtype=torch.float64)
    phi, before, outer = frozen_problem(policy)
    generator = torch.Generator().manual_seed(1)
    direction = {
        name: torch.randn(leaf.shape, dtype=leaf.dtype, generator=generator)
        for name, leaf in phi.items()
    }
    direction = scale(1 / norm(direction), direction)
    for name, alg, bar in _recipes(before, policy, effort):
        error = partial(_directional_error, alg, outer, phi, direction)
        yield Figure(f"hypergradient on samples, {name}", error, "relative", bar)


def recipe_memory() -> Iterator[Figure]:
    """Divide the peak memory of a sampled hypergradient at 100 inner steps by that at 1."""
    rows = cache(lambda: list(inner_steps(0)))

    def ratio(way: str) -> float:
        memory = {row["steps"]: float(row["megabytes"]) for row in rows() if row["way"] == way}
        return memory[100] / memory[1]

    for way, bar in (("implicit", 1.1), ("unrolled", None)):
        name = f"{way} hypergradient on samples, peak memory, 100 to 1"
        yield Figure(name, partial(ratio, way), "ratio", bar)


def batching_gain() -> Iterator[Figure]:
    """Divide the time of a vmapped meta-gradient over 20 tasks by that of a loop."""
    for method, episodes, bar in (
        ("lvc_maml", 2, 0.25),
        ("bomrl_natural", 2, None),
        ("lvc_maml", 20, None),
    ):
        name = f"vmapped {method} over 20 tasks x {episodes} episodes, against a loop"
        yield Figure(name, partial(_batched_over_loop, method, episodes), "ratio", bar)


def recipe_b_training() -> Iterator[Figure]:
    """Train recipe B on navigation for 50 iterations: CPU-seconds, and minus the last return."""
    config = configure("bomrl_natural", diagnose_every=1000)

    @cache
    def train() -> tuple[float, float]:
        history: list[float] = []
        seconds = cpu_seconds(
            lambda: history.extend(row["return_after"] for row in meta_train(config).history)
        )
        return seconds, -sum(history[-5:]) / 5

    name = "recipe B on navigation, 50 iterations"
    yield Figure(name, lambda: train()[0], "CPU-s", 60.0)
    name = "  minus its return after adaptation, last 5"
    yield Figure(name, lambda: train()[1], "return", 7.6)


def frozen_problem(
    policy: Policy,
) -> tuple[Params, SampleBatch, Callable[[Params], Tensor]]:
    """Return phi, one task's episodes, and an outer objective on others; float64."""
    family, generator = make_tasks("navigation/circle"), torch.Generator().manual_seed(0)
    task = family.sample(1, generator, "train")
    task = type(task)(*(field.double() for field in task))
    simulator = family.simulator(task, 10, 15)
    phi = policy.init(generator)
    before, after = (
        sample_batch(collect(simulator, policy, repeat(phi, 1), generator), gamma=0.99, trace=0.95)
        for _ in range(2)
    )
    before, after = (SampleBatch(*(field[0] for field in b)) for b in (before, after))
    # Away from the policy that collected, as in the later ones of several epochs.
    phi = {name: leaf + 0.02 * torch.randn_like(leaf) for name, leaf in phi.items()}
    seen = policy_at(after, policy)

    def outer(theta: Params) -> Tensor:
        return surrogate_objective(theta, frozen_samples(theta, after, policy=policy), policy=seen)

    return phi, before, outer


def _iteration_seconds(config: Config) -> float:
    problem = episodes_problem(config)
    step = partial(meta_step, start_state(problem), problem)
    for _ in range(2):
        step()
    return min(cpu_seconds(step) for _ in range(5))


def _directional_error(
    alg: SampledAlg, outer: Callable[[Params], Tensor], phi: Params, direction: Params
) -> float:
    """Compare the slope along a direction with a fourth-order central difference."""
    theta, pull = alg(phi)
    got = dot(pull(grad(outer)(theta))[0], direction)

    def value(t: float) -> Tensor:
        return outer(alg(add_scaled(phi, t, direction)).theta)

    h = 1e-4
    expected = (8 * (value(h) - value(-h)) - (value(2 * h) - value(-2 * h))) / (12 * h)
    return abs((got - expected) / expected).item()


def _batched_over_loop(method: str, num_episodes: int) -> float:
    problem = episodes_problem(configure(method, num_episodes=num_episodes))
    state = start_state(problem)
    collected = collect_all(state.phi, problem.draw(state.generator), problem, state.generator)
    objective = EpisodesObjective(problem, collected, state.phi, 0.0)
    pairs = (collected.before[0], collected.after)
    singles = [[SampleBatch(*(x[i] for x in batch)) for batch in pairs] for i in range(20)]
    one = partial(_meta_gradient, objective)
    batched, loop = partial(vmap(one), *pairs), lambda: [one(*pair) for pair in singles]
    return ratio_of(batched, loop, rounds=7)


def _navigation(method: str) -> Config:
    return configure(method, horizon=100, hidden=(64, 64), diagnose_every=1000)


def _lakes(method: str) -> Config:
    return configure(
        method,
        tasks="frozen_lake/holes-4x4",
        values="episodes",
        horizon=10,
        diagnose_every=1000,
    )


def _meta_gradient(objective: EpisodesObjective, before: SampleBatch, after: SampleBatch) -> Params:
    """Return one task's meta-gradient."""
    alg, policy = objective.problem.alg, objective.problem.policy
    return sampled_meta_gradient(
        objective.old, (before,), after, alg=alg, outer=objective.outer, policy=policy
    )[0]


def _recipes(
    batch: SampleBatch, policy: Policy, effort: Effort
) -> Iterator[tuple[str, SampledAlg, float]]:
    seen = policy_at(batch, policy)
    data_of = partial(frozen_samples, batch=batch, policy=policy)
    exact = {"tolerance": 1e-13, "max_iterations": effort.cg}
    quadratic = {"policy": seen, "data_of": data_of, "ridge": 1.0, **exact}

    def ridged(base: Distance) -> LocalObjective:
        distance = add_distances((1.0, base), (0.5, d3))
        return penalised_objective(data_of, policy=seen, distance=distance, lam=1.0)

    yield "A: head, closed form", partial(
        head_adaptation, data_of=data_of, policy=seen, lam=0.3, ridge=1.0
    ), 1e-8  # fmt: skip
    yield "B: all, KL and ridge", partial(natural_adaptation, lam=0.3, **quadratic), 1e-8
    yield "trust region", partial(region_adaptation, delta=0.1, **quadratic), 1e-8
    for key, base in (("D1", d1), ("D2", d2), ("D3", d3)):
        solver = dense_solver(max_iterations=effort.newton)
        alg = partial(solved_adaptation, objective=ridged(base), names=policy.head, solver=solver)
        yield f"C: head, ratio, {key} and ridge", alg, 1e-8
    newton, cg = effort.newton_cg
    few = matrix_free_solver(max_iterations=newton, cg_iterations=cg)
    alg = partial(solved_adaptation, objective=ridged(d1), solver=few)
    yield "all, ratio, D1 and ridge", alg, 1e-6
    yield "MAML (LVC)", partial(
        gradient_adaptation, data_of=data_of, policy=seen, step_size=0.5
    ), 1e-8  # fmt: skip
