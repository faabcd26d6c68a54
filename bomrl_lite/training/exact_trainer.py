r"""Meta-training: gradient ascent of phi on the mean of the tasks' meta-objectives.

A run is kept in its folder as :mod:`bomrl_lite.training.run_folder` describes.
"""

import dataclasses
import math
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Literal, get_args, get_origin

import torch
from torch.func import vmap

from bomrl_lite.adaptation.dials import bind
from bomrl_lite.adaptation.distances import DISTANCES
from bomrl_lite.adaptation.meta_gradients import ADAPTATIONS, META_GRADIENTS
from bomrl_lite.policies.networks import tabular_softmax
from bomrl_lite.rollout.data import DATA_FUNCTIONS
from bomrl_lite.solvers.implicit import TOLERANCE, is_solved, require_solved
from bomrl_lite.solvers.linear import norm
from bomrl_lite.tasks import make_tasks, require_exact
from bomrl_lite.training import run_folder
from bomrl_lite.training.run_folder import Progress, Row
from bomrl_lite.types import (
    Adaptation,
    MetaGradient,
    Params,
    TabularPolicy,
    TabularTask,
    Tasks,
)

Method = Literal[
    "maml", "first_order_maml", "joint", "bomrl", "bomrl_trust_region", "first_order_bomrl"
]
HISTORY: tuple[str, ...] = (
    "iteration",
    "return_before",
    "return_after",
    "gradient_norm",
    "stationarity",
    "residual",
    "unsolved",
)
"""Columns of the history: means over tasks, then the worst inner stationarity and linear residual,
and how many inner problems were not solved."""
COUNTS = ("iteration", "unsolved")
"""Columns of whole numbers."""


@dataclasses.dataclass(frozen=True)
class MetaConfig:
    """Every dial of a training run; two runs of one configuration are bit-identical."""

    method: Method = "maml"
    """How the meta-gradient is computed."""
    tasks: str = "frozen_lake/holes-4x4"
    """Task distribution, by name; a wrong name lists the close ones."""
    num_tasks: int = 10
    """Training tasks, drawn once from the train split; a map may come up twice."""
    batch_tasks: int | None = None
    """Tasks of one iteration, drawn anew from the training tasks; None takes all of them."""
    iterations: int = 150
    """Updates of phi."""
    step_size: float = 10.0
    """MAML and joint: alpha of the inner policy-gradient step, in parameters^2 per return."""
    distance: Literal["d1", "d2", "d3"] = "d2"
    """BO-MRL: D^2 of the adaptation; KL(phi||theta), KL(theta||phi) or Euclidean."""
    lam: float = 1.0
    """BO-MRL: weight of D^2, in units of return."""
    delta: float = 0.1
    """bomrl_trust_region: largest D^2 allowed, in nats (d3: parameters^2)."""
    data: Literal["naive", "frozen", "q_gradient", "full"] = "full"
    """BO-MRL: what of the data's dependence on phi the hypergradient keeps; full is exact."""
    unsolved: Literal["raise", "approximate"] = "raise"
    """BO-MRL: what to do about an inner problem that was not solved; the history marks it."""
    learning_rate: float = 0.03
    """Step of the outer optimiser, Adam."""
    seed: int = 0
    """Decides the training tasks and the batches."""
    checkpoint_every: int = 25
    """Iterations between two checkpoints."""

    def __post_init__(self) -> None:
        """Refuse values that could not train.

        Raises:
            ValueError: says which field, what it must be and what it is.
        """
        for field in dataclasses.fields(self):
            allowed = get_args(field.type) if get_origin(field.type) is Literal else ()
            if allowed and getattr(self, field.name) not in allowed:
                raise ValueError(
                    f"{field.name} must be one of {allowed}, got {getattr(self, field.name)!r}"
                )
        for name in ("num_tasks", "iterations", "checkpoint_every"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        for name in ("step_size", "lam", "delta", "learning_rate"):
            if not 0 < getattr(self, name) < float("inf"):
                raise ValueError(f"{name} must be positive and finite, got {getattr(self, name)}")
        if self.batch_tasks is not None and not 1 <= self.batch_tasks <= self.num_tasks:
            raise ValueError(
                f"batch_tasks must be between 1 and num_tasks = {self.num_tasks}, got "
                f"{self.batch_tasks}"
            )


@dataclasses.dataclass
class MetaState:
    """What changes during training, and all of it."""

    phi: Params
    optimizer: torch.optim.Adam
    generator: torch.Generator
    history: list[Row] = dataclasses.field(default_factory=list)

    @property
    def iteration(self) -> int:
        """Number of updates done."""
        return len(self.history)


@dataclasses.dataclass(frozen=True)
class Problem:
    """What a configuration stands for: the tasks to train on and how to train on one."""

    distribution: Tasks[TabularTask]
    tasks: TabularTask
    policy: TabularPolicy
    meta_gradient: MetaGradient
    adaptation: Adaptation
    """The Alg that ``meta_gradient`` differentiates."""


def make_problem(config: MetaConfig) -> Problem:
    """Draw the training tasks and bind the method's dials."""
    distribution = require_exact(make_tasks(config.tasks))
    tasks = distribution.sample(config.num_tasks, seeded(config.seed, stream=0), "train")
    policy = tabular_softmax(*tasks.reward.shape[-2:])
    dials = {
        "policy": policy,
        "gamma": distribution.gamma,
        "step_size": config.step_size,
        "distance": DISTANCES[config.distance],
        "lam": config.lam,
        "delta": config.delta,
        "data": DATA_FUNCTIONS[config.data],
        "tolerance": TOLERANCE if config.unsolved == "raise" else math.inf,
    }
    meta_gradient = bind(META_GRADIENTS[config.method], dials)
    adaptation = bind(ADAPTATIONS[config.method], dials)
    return Problem(distribution, tasks, policy, meta_gradient, adaptation)


def seeded(seed: int, *, stream: int) -> torch.Generator:
    """Return a generator of its own for each purpose (stream) of one seed."""
    return torch.Generator().manual_seed(seed * 16 + stream)


def start_state(config: MetaConfig, problem: Problem) -> MetaState:
    """Return the state before the first update."""
    generator = seeded(config.seed, stream=1)
    phi = problem.policy.init(generator)
    optimizer = torch.optim.Adam(list(phi.values()), lr=config.learning_rate, maximize=True)
    return MetaState(phi, optimizer, generator)


def meta_step(
    state: MetaState, tasks: TabularTask, meta_gradient: MetaGradient, *, approximate: bool = False
) -> Row:
    r"""Update phi once, in place, along mean_tau \nabla_phi J_tau(Alg(phi)).

    Args:
        state: changed in place.
        tasks: batch of N tasks.
        meta_gradient: of one task.
        approximate: go on although some inner problems are not solved; ``meta_gradient`` must have
            been told so too. The row's ``unsolved`` counts them.

    Raises:
        UnsolvedInnerProblem: an inner problem is not solved, and ``approximate`` is off.
        FloatingPointError: the meta-gradient is not finite. Both leave phi as it was.
    """
    per_task, info = vmap(meta_gradient, in_dims=(None, 0))(state.phi, tasks)
    if not approximate:
        require_solved(info.inner)
    gradient = {name: leaf.mean(0) for name, leaf in per_task.items()}
    row = {
        "iteration": float(state.iteration),
        "return_before": info.return_before.mean().item(),
        "return_after": info.return_after.mean().item(),
        "gradient_norm": norm(gradient).item(),
        "stationarity": info.inner.stationarity.max().item(),
        "residual": info.inner.residual.max().item(),
        "unsolved": float((~is_solved(info.inner)).sum()),
    }
    needed = ("return_before", "return_after", "gradient_norm")
    run_folder.require_finite(row, needed, "use a smaller step_size or learning_rate")
    for name, leaf in state.phi.items():
        leaf.grad = gradient[name]
    state.optimizer.step()
    state.history.append(row)
    return row


def batches(
    config: MetaConfig, tasks: TabularTask, generator: torch.Generator
) -> Iterator[TabularTask]:
    """Yield the tasks of each iteration, for ever."""
    while True:
        if config.batch_tasks is None:
            yield tasks
        else:
            chosen = torch.randperm(config.num_tasks, generator=generator)[: config.batch_tasks]
            yield TabularTask(*(field[chosen] for field in tasks))


def meta_train(
    config: MetaConfig,
    *,
    out: Path | None = None,
    resume: bool = False,
    progress: Progress = run_folder.silent,
    tensorboard: bool = False,
) -> MetaState:
    """Train a meta-policy.

    Args:
        config: the dials.
        out: run folder; None keeps everything in memory.
        resume: go on from the checkpoint in ``out`` if there is one; the configuration must agree
            with it, except that ``iterations`` may grow and ``checkpoint_every`` may change.
        progress: called after every iteration.
        tensorboard: also write the history to ``out/tensorboard``.

    Raises:
        FileExistsError: ``out`` holds a run already and ``resume`` is off.
        ValueError: the configuration does not fit the checkpoint.
        ModuleNotFoundError: ``tensorboard`` is on and TensorBoard is not installed.
    """
    if tensorboard:
        run_folder.require_tensorboard(out)
    problem = make_problem(config)
    if out is None or run_folder.is_new(out, resume=resume):
        state = start_state(config, problem)
    else:
        state = _saved_state(config, out)
    supply = batches(config, problem.tasks, state.generator)
    approximate = config.unsolved == "approximate"
    run_folder.run_loop(
        lambda: meta_step(state, next(supply), problem.meta_gradient, approximate=approximate),
        config=config,
        state=partial(_describe, state),
        history=state.history,
        out=out,
        columns=HISTORY,
        whole=COUNTS,
        progress=progress,
        tensorboard=tensorboard,
    )
    return state


def save(config: MetaConfig, state: MetaState, out: Path) -> None:
    """Write the run folder; each file is replaced whole, the checkpoint first."""
    layout = {"columns": HISTORY, "whole": COUNTS}
    run_folder.save(out, config=config, state=_describe(state), history=state.history, **layout)


def load(out: Path) -> tuple[MetaConfig, MetaState]:
    """Read a run folder back, executing no code of the file's.

    Raises:
        FileNotFoundError: no checkpoint there.
        ValueError: the file is not a checkpoint of this course.
    """
    saved_config, saved, history = run_folder.load(out)
    with run_folder.reading(out):
        config = MetaConfig(**saved_config)
        state = start_state(config, make_problem(config))
        for name, leaf in state.phi.items():
            leaf.copy_(saved["phi"][name])  # in place: the optimiser holds these very tensors
        state.optimizer.load_state_dict(saved["optimizer"])
        state.generator.set_state(saved["generator"])
        state.history[:] = history
    return config, state


def _describe(state: MetaState) -> run_folder.State:
    """Name all that changes, as the checkpoint holds it."""
    return {
        "phi": state.phi,
        "optimizer": state.optimizer.state_dict(),
        "generator": state.generator.get_state(),
    }


def _saved_state(config: MetaConfig, out: Path) -> MetaState:
    """Return the state in ``out`` if this configuration may go on from it."""
    there, state = load(out)
    now = dataclasses.asdict(config)
    run_folder.check_same(dataclasses.asdict(there), now, out, done=state.iteration)
    return state
