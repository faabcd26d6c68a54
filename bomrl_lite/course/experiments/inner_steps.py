r"""Inner steps 1 to 100: implicit and unrolled hypergradients of a sampled inner problem.

The inner problem is recipe C's: ratio surrogate, KL and ridge, the head of a small network,
climbed by gradient steps from phi. The implicit hypergradient is taken wherever the steps have got
to; the reference is the hypergradient of the solution.
"""

import time
from collections.abc import Callable, Iterator
from functools import partial

import torch
from torch import Tensor
from torch.func import grad

from bomrl_lite.adaptation.adapted import select
from bomrl_lite.adaptation.distances import add_distances, d1, d3
from bomrl_lite.adaptation.objective import adaptation_objective, surrogate_objective
from bomrl_lite.course.experiments.setting import Row, Scale, Train
from bomrl_lite.course.memory import peak_bytes
from bomrl_lite.policies.networks import gaussian_mlp
from bomrl_lite.rollout.collect import collect, repeat
from bomrl_lite.rollout.data import SampleBatch, frozen_samples, policy_at, sample_batch
from bomrl_lite.solvers.implicit import LinearSolver, implicit_vjp
from bomrl_lite.solvers.linear import add_scaled, conjugate_gradient, norm
from bomrl_lite.solvers.maximize import ascend, maximize
from bomrl_lite.tasks import make_tasks
from bomrl_lite.training.streams import seeded
from bomrl_lite.types import Params

STEPS = (1, 5, 20, 100)
LAM, RIDGE, STEP_SIZE = 1.0, 1.0, 0.3


def stored(seed: int, scale: Scale, train: Train) -> Iterator[Row]:
    """Yield the rows of one seed of the stored table."""
    del scale, train
    yield from inner_steps(seed)


def inner_steps(seed: int) -> Iterator[Row]:
    """Yield error, CPU-seconds and peak memory of both ways, per number of inner steps."""
    objective, outer, phi, names = _problem(seed)

    def through(theta: Params, solve: LinearSolver) -> Params:
        full = {**phi, **theta}
        direct = grad(outer)(full)
        pulled, _ = implicit_vjp(
            objective, theta, phi, select(direct, names), solve=solve, tolerance=float("inf")
        )
        rest = {k: torch.zeros_like(v) if k in theta else v for k, v in direct.items()}
        return add_scaled(rest, 1.0, pulled)

    def climbed(count: int, p: Params) -> Params:
        return ascend(
            lambda x: objective(x, p), select(p, names), step_size=STEP_SIZE, num_steps=count
        )

    solution, info = maximize(lambda x: objective(x, phi), select(phi, names))
    cg = partial(conjugate_gradient, tolerance=1e-10, max_iterations=30)
    reference = through(solution, cg)
    for count in STEPS:
        ways: dict[str, Callable[[], Params]] = {
            "implicit": lambda count=count: through(climbed(count, phi), cg),
            "unrolled": lambda count=count: grad(lambda p: outer({**p, **climbed(count, p)}))(phi),
        }
        for way, work in ways.items():
            got, seconds = _timed(work)
            yield {
                "way": way,
                "steps": count,
                "seed": seed,
                "error": (norm(add_scaled(got, -1.0, reference)) / norm(reference)).item(),
                "seconds": seconds,
                "megabytes": peak_bytes(work) / 1e6,
                "solution_stationarity": info.stationarity.item(),
            }


def _problem(
    seed: int,
) -> tuple[Callable[[Params, Params], Tensor], Callable[[Params], Tensor], Params, tuple[str, ...]]:
    """Return the inner objective, the outer one, phi and what is adapted, in double precision."""
    generator = seeded(seed, 5)
    family = make_tasks("navigation/circle")
    policy = gaussian_mlp(2, 2, hidden=(32, 32), dtype=torch.float64)
    phi = policy.init(generator)
    task = family.sample(1, generator, "train")
    task = type(task)(*(field.double() for field in task))
    simulator = family.simulator(task, 20, None)
    pre, post = (
        _first(sample_batch(collect(simulator, policy, repeat(phi, 1), generator), gamma=0.99))
        for _ in range(2)
    )
    seen, later = policy_at(pre, policy), policy_at(post, policy)
    data, after = (frozen_samples(phi, batch, policy=policy) for batch in (pre, post))
    distance = add_distances((1.0, d1), (RIDGE / 2, d3))

    def objective(x: Params, p: Params) -> Tensor:
        theta = {**p, **x}
        return adaptation_objective(theta, p, data, policy=seen, distance=distance, lam=LAM) / LAM

    def outer(theta: Params) -> Tensor:
        return surrogate_objective(theta, after, policy=later)

    return objective, outer, phi, policy.head


def _first(batch: SampleBatch) -> SampleBatch:
    return SampleBatch(*(field[0] for field in batch))


def _timed(work: Callable[[], Params]) -> tuple[Params, float]:
    """Return the result and the least CPU-seconds of three runs."""
    result, times = work(), []
    for _ in range(3):
        start = time.process_time()
        work()
        times.append(time.process_time() - start)
    return result, min(times)
