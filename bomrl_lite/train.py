r"""Meta-training: gradient ascent of phi on the mean of the tasks' meta-objectives.

A run folder holds ``config.json``, ``history.csv`` and ``checkpoint.pt``. The checkpoint alone
decides where a run continues; it holds only tensors and plain numbers and is read without
executing code.
"""

import csv
import dataclasses
import inspect
import io
import json
import math
import pickle
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import torch
from torch.func import vmap

from bomrl_lite.distances import DISTANCES
from bomrl_lite.files import write_atomically
from bomrl_lite.hypergradient import TOLERANCE, is_solved, require_solved
from bomrl_lite.linalg import norm
from bomrl_lite.meta_gradients import ADAPTATIONS, META_GRADIENTS
from bomrl_lite.one_time_data import DATA_FUNCTIONS
from bomrl_lite.policies import tabular_softmax
from bomrl_lite.tasks import make_tasks
from bomrl_lite.types import (
    Adaptation,
    MetaGradient,
    Params,
    TabularPolicy,
    TabularTask,
    TaskDistribution,
)

Method = Literal[
    "maml", "first_order_maml", "joint", "bomrl", "bomrl_trust_region", "first_order_bomrl"
]
Row = dict[str, float]
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
Progress = Callable[[int, int, Row], None]
"""(iterations done, iterations in all, the newest history row)."""


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

    distribution: TaskDistribution
    tasks: TabularTask
    policy: TabularPolicy
    meta_gradient: MetaGradient
    adaptation: Adaptation
    """The Alg that ``meta_gradient`` differentiates."""


def make_problem(config: MetaConfig) -> Problem:
    """Draw the training tasks and bind the method's dials."""
    distribution = make_tasks(config.tasks)
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
    meta_gradient = _bind(META_GRADIENTS[config.method], dials)
    adaptation = _bind(ADAPTATIONS[config.method], dials)
    return Problem(distribution, tasks, policy, meta_gradient, adaptation)


def _bind(function: Callable[..., Any], dials: dict[str, Any]) -> Callable[..., Any]:
    """Give a method those of the dials that it has."""
    names = inspect.signature(function).parameters
    return partial(function, **{name: dial for name, dial in dials.items() if name in names})


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
    if not all(math.isfinite(row[name]) for name in needed):
        raise FloatingPointError(
            f"iteration {state.iteration} gave {row}: the step left the range of numbers; use a "
            "smaller step_size or learning_rate. The last checkpoint is untouched"
        )
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
    progress: Progress = lambda done, total, row: None,
) -> MetaState:
    """Train a meta-policy.

    Args:
        config: the dials.
        out: run folder; None keeps everything in memory.
        resume: go on from the checkpoint in ``out`` if there is one; the configuration must agree
            with it, except that ``iterations`` may grow and ``checkpoint_every`` may change.
        progress: called after every iteration.

    Raises:
        FileExistsError: ``out`` holds a run already and ``resume`` is off.
        ValueError: the configuration does not fit the checkpoint.
    """
    problem = make_problem(config)
    state = start_state(config, problem) if out is None else _open_run(config, problem, out, resume)
    supply = batches(config, problem.tasks, state.generator)
    approximate = config.unsolved == "approximate"
    while state.iteration < config.iterations:
        row = meta_step(state, next(supply), problem.meta_gradient, approximate=approximate)
        last = state.iteration == config.iterations
        if out is not None and (last or state.iteration % config.checkpoint_every == 0):
            save(config, state, out)
        progress(state.iteration, config.iterations, row)
    return state


def save(config: MetaConfig, state: MetaState, out: Path) -> None:
    """Write the run folder; each file is replaced whole, the checkpoint first."""
    buffer = io.BytesIO()
    torch.save(
        {
            "config": dataclasses.asdict(config),
            "phi": state.phi,
            "optimizer": state.optimizer.state_dict(),
            "generator": state.generator.get_state(),
            "history": state.history,
        },
        buffer,
    )
    write_atomically(out / "checkpoint.pt", buffer.getvalue())
    write_atomically(out / "config.json", json.dumps(dataclasses.asdict(config), indent=1).encode())
    write_atomically(out / "history.csv", _history_csv(state.history).encode())


def load(out: Path) -> tuple[MetaConfig, MetaState]:
    """Read a run folder back, executing no code of the file's.

    Raises:
        FileNotFoundError: no checkpoint there.
        ValueError: the file is not a checkpoint of this course.
    """
    path = out / "checkpoint.pt"
    if not path.exists():
        raise FileNotFoundError(
            f"{path} does not exist; train first: python -m bomrl_lite train --out {out}"
        )
    try:
        saved: dict[str, Any] = torch.load(path, weights_only=True)
        if not isinstance(saved, dict):
            raise TypeError(f"holds a {type(saved).__name__}")
        config = MetaConfig(**saved["config"])
        state = start_state(config, make_problem(config))
        _restore(state, saved)
    except (KeyError, TypeError, EOFError, RuntimeError, pickle.UnpicklingError) as error:
        raise ValueError(
            f"{path} is not a checkpoint of this course ({type(error).__name__}); "
            "train anew into another folder"
        ) from error
    return config, state


def _restore(state: MetaState, saved: dict[str, Any]) -> None:
    for name, leaf in state.phi.items():
        leaf.copy_(saved["phi"][name])  # in place: the optimiser holds these very tensors
    state.optimizer.load_state_dict(saved["optimizer"])
    state.generator.set_state(saved["generator"])
    state.history[:] = saved["history"]


def _open_run(config: MetaConfig, problem: Problem, out: Path, resume: bool) -> MetaState:
    """Return the state to go on from: that of the checkpoint, or a fresh one in a fresh folder."""
    if not (out / "checkpoint.pt").exists():
        state = start_state(config, problem)
        save(config, state, out)
        return state
    if not resume:
        raise FileExistsError(
            f"{out} holds a run already; continue it with resume (--resume) or choose another "
            "folder"
        )
    saved_config, state = load(out)
    if config.iterations < state.iteration:
        raise ValueError(
            f"the run in {out} has done {state.iteration} iterations already, more than "
            f"{config.iterations}; ask for at least as many"
        )
    free = ("iterations", "checkpoint_every")
    there, now = dataclasses.asdict(saved_config), dataclasses.asdict(config)
    differing = [
        f"{name}: {there[name]!r} there, {now[name]!r} now"
        for name in there
        if name not in free and there[name] != now[name]
    ]
    if differing:
        raise ValueError(
            f"the run in {out} had another configuration ({'; '.join(differing)}); give the same "
            "one or another folder"
        )
    save(config, state, out)  # a kill may have struck between the checkpoint and the other files
    return state


def _history_csv(history: list[Row]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, HISTORY, lineterminator="\n")
    writer.writeheader()
    whole = ("iteration", "unsolved")
    writer.writerows({**row, **{name: int(row[name]) for name in whole}} for row in history)
    return text.getvalue()
