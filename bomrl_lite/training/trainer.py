r"""Meta-training: gradient ascent of phi on the mean of the tasks' meta-objectives.

One iteration of every method (Finn et al., 1703.03400; Rothfuss et al., 1810.06784; Xu and Zhu,
2410.09728): draw tasks; collect data once with pi_phi; adapt to each task on them; update phi along
the gradient of what the adapted policies earn. Whether the data are exact values or episodes is the
problem's business. A run is kept in its folder as :mod:`bomrl_lite.training.run_folder` describes.
"""

import contextlib
import math
import warnings
from pathlib import Path
from typing import Any

import torch

from bomrl_lite.physics.threads import one_thread_for_torch
from bomrl_lite.require import described, require_path
from bomrl_lite.tasks import module_of, task_names
from bomrl_lite.training import run_folder
from bomrl_lite.training.config import Config, configure
from bomrl_lite.training.folder_guard import locked, read_origin, write_origin
from bomrl_lite.training.methods import Adam, Epochs, OuterSettings, Trpo
from bomrl_lite.training.objective import EpisodesObjective
from bomrl_lite.training.outer import OuterInfo, climb, trust_region_step
from bomrl_lite.training.problem import Objective, Problem, make_objective, make_problem
from bomrl_lite.training.run_folder import Progress, Row
from bomrl_lite.training.state import MetaState
from bomrl_lite.training.stored_config import read_config
from bomrl_lite.types import Tasks


def start_state(problem: Problem) -> MetaState:
    """Return the state before the first update."""
    phi, generator = problem.start()
    outer = problem.config.outer
    rate = 1.0 if isinstance(outer, Trpo) else outer.learning_rate  # TRPO finds its own length
    optimizer = torch.optim.Adam(list(phi.values()), lr=rate, maximize=True)
    penalty = getattr(outer, "kl_penalty", 0.0)
    return MetaState(phi, optimizer, generator, penalty, problem.moments())


def meta_step(state: MetaState, problem: Problem) -> Row:
    r"""Update phi once, in place, along mean_tau \nabla_phi J_tau(Alg(phi)); return the new row.

    Raises:
        UnsolvedInnerProblem: exact values: an inner problem is not solved.
        ArithmeticError: episodes: no task's inner problem is solved.
        FloatingPointError: a figure is not finite.
    """
    with one_thread_for_torch():
        objective = make_objective(problem, state)
        row = objective.finish(state, update_phi(state, problem.config.outer, objective))
    state.history.append(row)
    return row


def meta_train(
    config: Config,
    *,
    tasks: Tasks[Any] | None = None,
    problem: Problem | None = None,
    out: Path | str | None = None,
    resume: bool = False,
    progress: Progress = run_folder.silent,
    tensorboard: bool = False,
) -> MetaState:
    """Train a meta-policy.

    Args:
        config: from :func:`bomrl_lite.training.config.configure`.
        tasks: a family of your own to train on with these settings; it is registered.
        problem: what to train on in place of what ``config`` stands for: that of
            :func:`bomrl_lite.training.problem.make_problem`, with a family, an Alg or a
            meta-gradient of your own put in by :func:`dataclasses.replace`.
        out: run folder; None keeps everything in memory.
        resume: go on from the checkpoint in ``out`` if there is one; the configuration must agree
            with it, except that ``iterations`` may grow and ``checkpoint_every`` may change.
        progress: called after every iteration.
        tensorboard: also write the history to ``out/tensorboard``.

    Raises:
        FileExistsError: ``out`` holds a run already and ``resume`` is off.
        NotADirectoryError: ``out`` is a file.
        BlockingIOError: another process works in ``out``.
        ValueError: the configuration does not fit the checkpoint, or the machine's memory.
        ArithmeticError: an inner problem is not solved, or training diverged; the last good state
            is kept.
        ModuleNotFoundError: ``tensorboard`` is on and TensorBoard is not installed.
    """
    if not isinstance(config, Config):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise ValueError(f"config must come from configure(), got {described(config)}")
    if tasks is not None:
        config = config.replace(tasks=tasks)
    _warn_if_untuned(config)
    out = None if out is None else require_path("out", out)
    if tensorboard:
        run_folder.require_tensorboard(out)
    own, problem = problem, problem or make_problem(config)
    if out is not None:
        run_folder.require_folder(out)
    with contextlib.nullcontext() if out is None else locked(out):
        if out is None or run_folder.is_new(out, resume=resume):
            state = start_state(problem)
        else:
            there, state = load(out, own)
            run_folder.check_same(there.stored(), config.stored(), out, done=state.iteration)
        if out is not None:
            write_origin(out, config.tasks)
        run_folder.run_loop(
            lambda: meta_step(state, problem),
            config=config,
            state=state.described,
            history=state.history,
            out=out,
            columns=problem.columns,
            whole=problem.whole,
            progress=progress,
            tensorboard=tensorboard,
        )
    return state


def load(out: Path | str, problem: Problem | None = None) -> tuple[Config, MetaState]:
    """Read a run folder back, executing no code of the file's.

    Args:
        out: run folder.
        problem: as for :func:`meta_train`, where the run had one of its own.

    Raises:
        FileNotFoundError: no checkpoint there.
        ValueError: the file is not a checkpoint of this course, or its task family is not
            registered in this process.
    """
    out = require_path("out", out)
    stored, saved, history = run_folder.read_checkpoint(out)
    _require_family(stored, out)
    with run_folder.reading(out):
        config = read_config(stored)
        state = start_state(problem or make_problem(config))
        state.restore(saved, history)
    return config, state


def _warn_if_untuned(config: Config) -> None:
    """Say that nobody has tuned a method for a family of the user's own."""
    if not module_of(config.tasks):
        return
    method = config.method
    usual = configure(method, tasks=config.tasks, values=config.values, outer=config.outer_name)
    if (config.alg, config.outer) == (usual.alg, usual.outer):
        warnings.warn(
            f"the settings of {method} are tuned for other tasks than {config.tasks}; python -m "
            f"bomrl_lite tune --method {method} --tasks {config.tasks} proposes some",
            stacklevel=3,
        )


def _require_family(stored: dict[str, Any], out: Path) -> None:
    """Say which module registers the family of a run, where it is somebody's own."""
    processes = read_origin(out)
    module = processes[-1].get("import") if processes else None
    if module and stored.get("tasks") not in task_names():
        raise ValueError(
            f"the run in {out} was trained on {stored.get('tasks')!r}, which {module} registers: "
            f"import it first (on the command line: --import {module})"
        )


def update_phi(state: MetaState, outer: OuterSettings, objective: Objective) -> OuterInfo:
    """Take the outer update that the settings ask for, in place."""
    phi, optimizer = state.phi, state.optimizer
    match outer:
        case Adam():
            return climb(phi, optimizer, objective.gradient, max_norm=math.inf)
        case Epochs(epochs=epochs, kl_guard=guard):
            return climb(phi, optimizer, objective.gradient, epochs=epochs, guard=guard)
        case Trpo(max_kl=max_kl):
            assert isinstance(objective, EpisodesObjective)  # the configuration sees to it
            return trust_region_step(
                phi,
                objective.gradient(phi),
                objective.divergence_gradient,
                objective.value,
                value=objective.value_at_old,
                max_kl=max_kl,
            )
