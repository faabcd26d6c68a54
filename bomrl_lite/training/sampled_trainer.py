r"""Meta-training on sampled episodes: collect, adapt, collect again, update phi.

One iteration of every method (Finn et al., 1703.03400; Rothfuss et al., 1810.06784; Xu and Zhu,
2410.09728): draw N tasks; let pi_phi act for B episodes in each; adapt to each task on those
episodes, collected once; let the adapted policies act; update phi.
"""

import dataclasses
import io
import math
import pickle
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.func import vmap

from bomrl_lite.adaptation.episodes import mean_divergence
from bomrl_lite.rollout.data import SampleBatch
from bomrl_lite.rollout.observations import Moments
from bomrl_lite.solvers.implicit import is_solved
from bomrl_lite.training import run_folder
from bomrl_lite.training.files import write_atomically
from bomrl_lite.training.objective import DIAGNOSED, SOLVED, Objective, diagnose, every_fourth
from bomrl_lite.training.outer import OuterInfo, climb, trust_region_step
from bomrl_lite.training.run_folder import Progress, Row
from bomrl_lite.training.sampled_config import SampledConfig
from bomrl_lite.training.sampled_problem import Collected, SampledProblem, collect_all, make_problem
from bomrl_lite.types import Params, Policy

COLUMNS = (
    "iteration", "return_before", "return_after", "gradient_norm", "stationarity", "curvature",
    "negative_curvature", "residual", "unsolved", "distance", "updates", "outer_divergence",
    "outer_residual", "divergence_before", *DIAGNOSED,
)  # fmt: skip
"""Columns of the history: means over tasks; the worst stationarity, curvature and adjoint residual;
the share of tasks with negative curvature; tasks left out; D1^2 of the adaptation; outer updates,
their divergence after adaptation, the residual of TRPO's system, the divergence before adaptation;
and :data:`DIAGNOSED`, nan where they were not measured."""
WHOLE = ("iteration", "unsolved", "updates")


@dataclasses.dataclass
class SampledState:
    """What changes during training, and all of it."""

    phi: Params
    optimizer: torch.optim.Adam
    generator: torch.Generator
    kl_penalty: float
    moments: Moments | None
    """Of the observations so far; None where they are not normalised."""
    history: list[Row] = dataclasses.field(default_factory=list)


def start_state(config: SampledConfig, problem: SampledProblem) -> SampledState:
    """Return the state before the first update."""
    generator = torch.Generator().manual_seed(config.seed)
    phi = {name: leaf.to(problem.device) for name, leaf in problem.policy.init(generator).items()}
    rate = problem.dials["learning_rate"]
    optimizer = torch.optim.Adam(list(phi.values()), lr=rate, maximize=True)
    penalty = problem.dials["kl_penalty"]
    return SampledState(phi, optimizer, generator, penalty, problem.moments())


def meta_step(state: SampledState, config: SampledConfig, problem: SampledProblem) -> Row:
    """Update phi once, in place, and append the row of the history.

    Raises:
        ArithmeticError: no task's inner problem is solved, or a figure is not finite.
    """
    tasks = problem.tasks.sample(config.num_tasks, state.generator, "train")
    episodes = collect_all(state.phi, tasks, problem, state.generator, state.moments)
    state.moments = episodes.moments
    old = {name: leaf.clone() for name, leaf in state.phi.items()}
    objective = Objective(problem, episodes, old, state.kl_penalty)
    iteration = len(state.history)
    diagnosed: Row = (
        diagnose(state.phi, episodes, problem, objective, torch.Generator().manual_seed(iteration))
        if iteration % config.diagnose_every == 0
        else dict.fromkeys(DIAGNOSED, math.nan)
    )
    outer = _update(state, problem, objective)
    info = objective.info
    moved = _first_divergence(old, state.phi, episodes.before[0], problem.policy)
    _tune_penalty(state, problem, moved)
    row = {
        "iteration": float(iteration),
        "return_before": episodes.returns_before.mean().item(),
        "return_after": episodes.returns_after.mean().item(),
        "gradient_norm": outer.gradient_norm,
        "stationarity": info.stationarity.max().item(),
        "curvature": info.curvature.min().item(),
        "negative_curvature": (info.curvature <= 0).float().mean().item(),
        "residual": info.residual.max().item(),
        "unsolved": float((~is_solved(info, SOLVED)).sum()),
        "distance": _inner_distance(old, episodes, problem.policy),
        "updates": float(outer.updates),
        "outer_divergence": outer.divergence,
        "outer_residual": outer.residual,
        "divergence_before": moved,
        **diagnosed,
    }
    run_folder.require_finite(
        row,
        ("return_before", "return_after", "gradient_norm", "distance", "outer_divergence"),
        "use a smaller learning_rate, step_size or max_kl, or a larger lam or ridge",
    )
    state.history.append(row)
    return row


def meta_train(
    config: SampledConfig,
    *,
    out: Path | None = None,
    resume: bool = False,
    progress: Progress = run_folder.silent,
    tensorboard: bool = False,
) -> SampledState:
    """Train a meta-policy on samples.

    Args:
        config: the dials.
        out: run folder; None keeps everything in memory.
        resume: go on from the checkpoint in ``out`` if there is one.
        progress: called after every iteration.
        tensorboard: also write TensorBoard files into the run folder.

    Raises:
        FileExistsError: ``out`` holds a run already and ``resume`` is off.
        ValueError: the configuration does not fit the checkpoint.
        FloatingPointError: training diverged; the last good state is kept.
        ModuleNotFoundError: ``tensorboard`` is on and TensorBoard is not installed.
    """
    if tensorboard:
        run_folder.require_tensorboard(out)
    problem = make_problem(config)
    if out is None or run_folder.is_new(out, resume=resume):
        state = start_state(config, problem)
    else:
        state = _saved_state(config, out)
    run_folder.run_loop(
        lambda: meta_step(state, config, problem),
        config=config,
        state=partial(_describe, state),
        history=state.history,
        out=out,
        columns=COLUMNS,
        whole=WHOLE,
        progress=progress,
        tensorboard=tensorboard,
    )
    return state


def load(out: Path) -> tuple[SampledConfig, SampledState]:
    """Read a run folder back, executing no code of the file's.

    Raises:
        FileNotFoundError: no checkpoint there.
        ValueError: the file is not a checkpoint of this trainer.
    """
    saved, tensors, history = run_folder.load(out)
    with run_folder.reading(out):
        config = _as_config(saved)
        state = start_state(config, make_problem(config))
    _restore(state, tensors, history, out)
    return config, state


def save_policy(config: SampledConfig, state: SampledState, path: Path) -> None:
    """Write what a trained policy needs to be used, in some tens of kilobytes.

    Args:
        config: the dials it was trained with.
        state: its parameters, and the moments of what it saw.
        path: file; its folder is made if there is none.
    """
    buffer = io.BytesIO()
    kept = ("phi", "moments")
    tensors = {name: value for name, value in _describe(state).items() if name in kept}
    torch.save({"config": dataclasses.asdict(config), **tensors}, buffer)
    write_atomically(path, buffer.getvalue())


def load_policy(path: Path) -> tuple[SampledConfig, Params, Moments | None]:
    """Read a file of :func:`save_policy` back, executing no code of the file's.

    Raises:
        FileNotFoundError: no such file.
        ValueError: not a file of :func:`save_policy`.
    """
    data = path.read_bytes()
    try:
        saved = torch.load(io.BytesIO(data), weights_only=True, map_location="cpu")
        moments = Moments(**saved["moments"]) if saved["moments"] else None
        return _as_config(saved["config"]), saved["phi"], moments
    except (LookupError, TypeError, RuntimeError, pickle.UnpicklingError) as error:
        raise ValueError(
            f"{path} is not a policy of this course ({type(error).__name__}); write one with "
            "python -m bomrl_lite export RUN FILE"
        ) from error


def _as_config(saved: dict[str, Any]) -> SampledConfig:
    """Return the configuration; a file knows lists where it has tuples."""
    hidden = saved["hidden"]
    return SampledConfig(**{**saved, "hidden": hidden if hidden is None else tuple(hidden)})


def _saved_state(config: SampledConfig, out: Path) -> SampledState:
    """Return the state in ``out`` if this configuration may go on from it."""
    there, state = load(out)
    # A dial that is given as the method has it is the same as one that is left out.
    run_folder.check_same(there.dials(), config.dials(), out, done=len(state.history))
    return state


def _update(state: SampledState, problem: SampledProblem, objective: Objective) -> OuterInfo:
    d = problem.dials
    if d["outer"] == "trpo":
        return trust_region_step(
            state.phi,
            lambda phi: objective.gradient(phi)[0],
            objective.divergence_gradient,
            objective.value,
            value=objective.value_at_old,
            max_kl=d["max_kl"],
        )
    return climb(
        state.phi,
        state.optimizer,
        objective.gradient,
        epochs=d["epochs"],
        guard=d["kl_guard"],
    )


def _inner_distance(phi: Params, episodes: Collected, policy: Policy) -> float:
    def one(theta: Params, batch: SampleBatch) -> Tensor:
        return mean_divergence(phi, theta, batch, policy=policy)

    return vmap(one)(episodes.thetas, every_fourth(episodes.before[0])).mean().item()


def _first_divergence(old: Params, new: Params, batch: SampleBatch, policy: Policy) -> float:
    part = every_fourth(batch)
    return vmap(lambda b: mean_divergence(old, new, b, policy=policy))(part).mean().item()


def _tune_penalty(state: SampledState, problem: SampledProblem, divergence: float) -> None:
    """Double or halve the KL penalty outside 1.5 times its target (1707.06347, section 4)."""
    target = problem.dials["kl_target"]
    if target > 0 and divergence > 1.5 * target:
        state.kl_penalty *= 2
    elif target > 0 and divergence < target / 1.5:
        state.kl_penalty /= 2


def _describe(state: SampledState) -> dict[str, Any]:
    return {
        "phi": state.phi,
        "optimizer": state.optimizer.state_dict(),
        "generator": state.generator.get_state(),
        "kl_penalty": state.kl_penalty,
        "moments": {} if state.moments is None else state.moments._asdict(),
    }


def _restore(state: SampledState, tensors: dict[str, Any], history: list[Row], out: Path) -> None:
    with run_folder.reading(out):
        for name, leaf in state.phi.items():
            leaf.copy_(tensors["phi"][name])  # in place: the optimiser holds these very tensors
        state.optimizer.load_state_dict(tensors["optimizer"])
        state.generator.set_state(tensors["generator"])
        state.kl_penalty = tensors["kl_penalty"]
        if state.moments is not None:
            saved = tensors["moments"].items()
            state.moments = Moments(**{name: x.to(state.moments.mean.device) for name, x in saved})
        state.history[:] = history
