r"""lam on episodes: what another one costs, whether its own gradient mends it, and how hard Alg is.

With a linear surrogate and a distance of second order theta - phi is proportional to 1/lam, so lam
has a hypergradient at no cost:

    d J(theta) / d log(1/lam) = <\nabla J(theta), theta - phi>
"""

import time
from collections.abc import Iterator
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor
from torch.func import grad, vmap

from bomrl_lite.adaptation.distances import every_weight
from bomrl_lite.adaptation.natural import fisher_product
from bomrl_lite.adaptation.settings import HeadClosedForm, NaturalStep
from bomrl_lite.course.experiments import locomotion, navigation
from bomrl_lite.course.experiments.sampled import (
    Measure,
    attempted,
    fresh_returns,
    reason,
    scaled_alg,
)
from bomrl_lite.course.experiments.setting import Row, Scale, Train
from bomrl_lite.physics.threads import one_thread_for_torch
from bomrl_lite.rollout.data import SampleBatch, policy_at
from bomrl_lite.solvers.linear import Matvec, norm, scale
from bomrl_lite.training.config import Config
from bomrl_lite.training.episodes import EpisodesProblem, collect_all, episodes_problem
from bomrl_lite.training.objective import EpisodesObjective, collect_objective
from bomrl_lite.training.state import MetaState
from bomrl_lite.training.streams import seeded
from bomrl_lite.training.trainer import meta_step, start_state, update_phi
from bomrl_lite.types import Params

CASES = {
    "points, head": ("navigation/circle", "bomrl_head"),
    "points, all": ("navigation/circle", "bomrl_natural"),
    "cheetah directions, head": ("cheetah/direction", "BO-MRL head"),
}
"""Tasks, and method or arm, by label."""
TIMES = (0.1, 0.3, 1.0, 3.0, 10.0)
"""What a training's lam is, over the one that the search found."""
LEARNT = (0.1, 10.0)
"""Where lam starts that is trained beside phi, over the one that the search found."""
RATE = 0.1
"""Of Adam on log(1/lam): about 23 iterations from a tenth of a lam to it."""

CONDITIONS = ("BO-MRL head", "BO-MRL")
"""Arms whose system is looked at during training, on HalfCheetah direction."""
PRODUCTS = 30
"""Of a power iteration."""


def lam_rows(seed: int, scale: Scale, train: Train) -> Iterator[Row]:
    """Yield returns after one adaptation over lam at the start, fixed and trained beside phi."""
    for case, (tasks, method) in CASES.items():
        usual = _config(tasks, method, seed, scale)
        lam = usual.settings()["lam"]
        for times in TIMES:
            config = usual.replace(lam=times * lam)
            problem, (trained, note) = episodes_problem(config), attempted(train, config)
            row: Row = {"case": case, "learnt": "no", "start": times, "seed": seed}
            yield {**row, "end": times, **_returns(trained, problem, scale), "note": note}
        for times in LEARNT:
            row = {"case": case, "learnt": "yes", "start": times, "seed": seed}
            yield {**row, **_learnt(usual.replace(lam=times * lam), times, scale)}


def _learnt(config: Config, times: float, scale: Scale) -> Row:
    """Return where lam ended that was trained beside phi, and the returns with it."""
    start, problem = time.process_time(), episodes_problem(config)
    try:
        state, length = train_with_lam(problem)
    except ArithmeticError as error:
        return {"end": torch.nan, **_returns(None, problem, scale), "note": reason(error)}
    trained = (state, time.process_time() - start)
    there = replace(problem, alg=scaled_alg(problem, length))
    return {"end": times / length, **_returns(trained, there, scale), "note": ""}


def train_with_lam(problem: EpisodesProblem) -> tuple[MetaState, float]:
    r"""Train phi, and log(1/lam) along the same objective; return both, 1/lam over its start.

    Args:
        problem: with a lam and one adaptation step.

    Raises:
        ArithmeticError: training diverged.
    """
    state, log_length = start_state(problem), torch.zeros(())
    optimizer = torch.optim.Adam([log_length], lr=RATE, maximize=True)
    for _ in range(problem.config.iterations):
        here = replace(problem, alg=scaled_alg(problem, log_length.exp().item()))
        with one_thread_for_torch():
            objective = collect_objective(here, state)
            log_length.grad = length_slope(objective)
            update = update_phi(state, here.config.outer, objective)
            state.history.append(objective.finish(state, update))
        optimizer.step()
    return state, log_length.exp().item()


def length_slope(objective: EpisodesObjective) -> Tensor:
    r"""Return the mean over tasks of <\nabla J(theta), theta - phi>, a scalar, where phi collected.

    It is d J / d log(1/lam) of every Alg whose step is proportional to 1/lam, and d J / d log alpha
    of a gradient step (Li et al., 1707.09835, with one alpha for all parameters).
    """
    episodes = objective.episodes
    slopes = vmap(grad(objective.outer))(episodes.thetas, episodes.after)
    along = [
        (slope * (episodes.thetas[name] - objective.old[name])).flatten(1).sum(1)
        for name, slope in slopes.items()
    ]
    return torch.stack(along).sum(0).mean()


def _config(tasks: str, method: str, seed: int, scale: Scale) -> Config:
    if tasks == "navigation/circle":
        return navigation.tuned_config(method, tasks, seed, scale)
    return locomotion.tuned_config(method, seed, tasks, on_robots(scale))


def on_robots(scale: Scale) -> int:
    """Return iterations of a robot: 40 where points have 50, as in their comparisons."""
    return scale.iterations * 4 // 5


def _returns(
    trained: tuple[MetaState, float] | None, problem: EpisodesProblem, scale: Scale
) -> Row:
    """Return the mean return before and after one adaptation on test tasks, if there are any."""
    if trained is None:
        return {"before": torch.nan, "return": torch.nan, "seconds": 0.0}
    num_tasks = 2 * scale.num_test if problem.family.name.startswith("navigation") else None
    measure = Measure(num_tasks=num_tasks, num_episodes=20)
    before, after = fresh_returns(trained[0], problem, measure).mean(0).tolist()
    return {"before": before, "return": after, "seconds": trained[1]}


def condition_rows(seed: int, scale: Scale, train: Train) -> Iterator[Row]:
    """Yield the spectrum of Alg's linear system while HalfCheetah direction is learnt.

    Columns: the median over tasks of the largest eigenvalue before the ridge, the ridge, and the
    median and largest condition number with it.
    """
    del train
    every = max(1, scale.iterations // 8)
    for arm in CONDITIONS:
        config = locomotion.tuned_config(arm, seed, "cheetah/direction", scale.iterations)
        problem, ridge = episodes_problem(config), config.settings()["ridge"]
        state = start_state(problem)
        for iteration in range(scale.iterations + 1):
            if iteration % every == 0:
                largest, smallest = _spectra(state, problem)
                numbers = (largest + ridge) / (smallest + ridge)
                yield {
                    "method": arm,
                    "seed": seed,
                    "iteration": iteration,
                    "eigenvalue": largest.quantile(0.5).item(),
                    "ridge": ridge,
                    "median": numbers.quantile(0.5).item(),
                    "largest": numbers.max().item(),
                }
            if iteration < scale.iterations:
                meta_step(state, problem)


def _spectra(state: MetaState, problem: EpisodesProblem) -> tuple[Tensor, Tensor]:
    """Return largest and smallest eigenvalue of every task, [N] each, on episodes of their own."""
    generator = seeded(problem.config.seed, "diagnosis")
    tasks = problem.family.sample(problem.num_tasks, generator, "train")
    with one_thread_for_torch():
        before = collect_all(state.phi, tasks, problem, generator, state.moments).before[0]
        batches = [SampleBatch(*(field[n] for field in before)) for n in range(problem.num_tasks)]
        ends = [system_spectrum(state.phi, batch, problem) for batch in batches]
    largest, smallest = zip(*ends, strict=True)
    return torch.stack(largest), torch.stack(smallest)


def system_spectrum(
    phi: Params, batch: SampleBatch, problem: EpisodesProblem
) -> tuple[Tensor, Tensor]:
    r"""Return the largest and the smallest eigenvalue of what Alg adds its ridge to, two scalars.

    On the head it is C = E[h h^T]. For all parameters it is F, the Fisher information; there are
    more of them than rows of the Jacobian, so its smallest eigenvalue is 0. With the ridge the
    condition number is (largest + rho) / (smallest + rho).

    Args:
        phi: where the episodes were collected.
        batch: episodes of one task.
        problem: with an Alg on the head in closed form, or of a natural step of all
            parameters with one ridge.

    Raises:
        ValueError: another Alg.
    """
    seen = policy_at(batch, problem.policy)
    weights = batch.weights.flatten()
    match problem.config.alg:
        case HeadClosedForm():
            assert problem.policy.features is not None
            h = problem.policy.features(phi, seen.observations)
            values = torch.linalg.eigvalsh(h.mT @ (weights.unsqueeze(-1) * h))
            return values[-1], values[0]
        case NaturalStep(distance_stride=stride, parameters="all", head_ridge=None):
            few = seen.every(stride)
            fisher = fisher_product(few.distribution, phi, every_weight(weights, stride))
            largest = largest_eigenvalue(fisher, phi)
            return largest, torch.zeros_like(largest)
        case alg:
            raise ValueError(f"no spectrum is known of {type(alg).__name__}")


def largest_eigenvalue(matvec: Matvec, like: Params, products: int = PRODUCTS) -> Tensor:
    """Return the largest eigenvalue of a symmetric positive matrix, from below, by powers of it.

    Args:
        matvec: v -> A v.
        like: what v looks like.
        products: A v that are taken, >= 1.
    """
    draws = partial(torch.randn, generator=torch.Generator().manual_seed(0))
    v = {name: draws(leaf.shape).to(leaf) for name, leaf in like.items()}
    for _ in range(products):
        v = matvec(scale(1 / norm(v), v))
    return norm(v)
