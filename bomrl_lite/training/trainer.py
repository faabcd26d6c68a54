r"""Meta-training: gradient ascent of phi on the mean of the tasks' meta-objectives.

One iteration of every method (Finn et al., 1703.03400; Rothfuss et al., 1810.06784; Xu and Zhu,
2410.09728): draw tasks; collect data once with pi_phi; adapt to each task on them; update phi along
the gradient of what the adapted policies earn. Whether the data are exact values or episodes is the
problem's business. A run is kept in its folder as :mod:`bomrl_lite.training.run_folder` describes.
"""

import contextlib
import math
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from bomrl_lite.physics.threads import one_thread_for_torch
from bomrl_lite.require import described, require_path
from bomrl_lite.tasks import module_of, task_names
from bomrl_lite.training import run_folder
from bomrl_lite.training.config import Config, configure
from bomrl_lite.training.folder_guard import conditions, locked, read_origin, write_origin
from bomrl_lite.training.group import ALONE, Group
from bomrl_lite.training.methods import Adam, Epochs, OuterSettings, Trpo
from bomrl_lite.training.objective import EpisodesObjective
from bomrl_lite.training.outer import OuterInfo, climb, trust_region_step
from bomrl_lite.training.problem import Objective, Problem, make_objective, make_problem
from bomrl_lite.training.run_folder import Progress, Row, State
from bomrl_lite.training.state import MetaState
from bomrl_lite.training.stored_config import read_config
from bomrl_lite.types import Tasks

Saved = tuple[State, list[Row]]
"""What a run goes on from: its state as :meth:`MetaState.described` names it, and its history."""


def start_state(problem: Problem) -> MetaState:
    """Return the state before the first update."""
    phi, generator = problem.start()
    outer = problem.config.outer
    rate = 1.0 if isinstance(outer, Trpo) else outer.learning_rate  # TRPO finds its own length
    optimizer = torch.optim.Adam(list(phi.values()), lr=rate, maximize=True)
    penalty = getattr(outer, "kl_penalty", 0.0)
    processes = problem.group.size
    return MetaState(phi, optimizer, generator, penalty, problem.moments(), processes=processes)


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
    group: Group = ALONE,
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
        group: the processes that share the tasks of each iteration, all of which call this; from
            :func:`bomrl_lite.training.group.joined`. The first alone writes and shows progress.
        out: run folder; None keeps everything in memory.
        resume: go on from the checkpoint in ``out`` if there is one; the configuration must agree
            with it, except that ``iterations`` may grow and ``checkpoint_every`` may change.
        progress: called after every iteration.
        tensorboard: also write the history to ``out/tensorboard``.

    Raises:
        FileExistsError: ``out`` holds a run already and ``resume`` is off.
        NotADirectoryError: ``out`` is a file.
        BlockingIOError: another process works in ``out``.
        ValueError: the configuration does not fit the checkpoint, or the machine's memory; or the
            processes are not those of the checkpoint, more than the tasks, or not alike.
        PeerLost: another process ended; the last good state is kept.
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
    own, problem = problem, replace(problem or make_problem(config, group), group=group)
    _require_fitting(problem)
    with contextlib.ExitStack() as opened:

        def open_folder() -> Saved | None:
            if out is None:
                return None
            run_folder.require_folder(out)
            opened.enter_context(locked(out))
            return (
                None if run_folder.is_new(out, resume=resume) else _saved(out, own, config, group)
            )

        saved = group.from_first(open_folder)
        state = start_state(problem)
        if saved is not None:
            state.restore(*saved)
        if out is not None and group.rank == 0:
            write_origin(out, config.tasks)
        run_folder.run_loop(
            lambda: meta_step(state, problem),
            config=config,
            state=state.described,
            history=state.history,
            out=out if group.rank == 0 else None,
            columns=problem.columns,
            whole=problem.whole,
            progress=progress if group.rank == 0 else run_folder.silent,
            tensorboard=tensorboard and group.rank == 0,
        )
    return state


def _saved(out: Path, problem: Problem | None, config: Config, group: Group) -> Saved:
    """Read what a run goes on from, if it is this one, of as many processes."""
    there, state = load(out, problem)
    run_folder.check_same(there.stored(), config.stored(), out, done=state.iteration)
    if state.processes != group.size:
        raise ValueError(
            f"the run in {out} shares its tasks among {state.processes} processes, and now there "
            f"are {group.size}, which would round differently; go on with {state.processes} "
            "(torchrun --nproc-per-node), or train anew into another folder"
        )
    return state.described(), state.history


def _require_fitting(problem: Problem) -> None:
    """Refuse processes that are more than the tasks, or not alike in what decides their numbers."""
    config, group = problem.config, problem.group
    if group.size == 1:
        return
    group.require_work(problem.num_tasks)
    processor = torch.backends.cpu.get_cpu_capability()
    alike = {**config.stored(), **conditions(), "kind of processor": processor}
    group.require_same(alike)


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
