"""What each process of a job does for ``test_distributed.py``: ``torchrun processes.py FOLDER``.

It leaves ``rank0.pt`` and ``rank1.pt`` in the folder.
"""

import dataclasses
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import gymnasium
import torch

import bomrl_lite as bl
from bomrl_lite.rollout.vector_env import VectorEnvSimulator
from bomrl_lite.tasks.navigation import FAMILIES, PointSimulator, dense_reward
from bomrl_lite.training.group import ALONE, Group, joined
from bomrl_lite.training.problem import make_problem
from bomrl_lite.training.trainer import meta_train

EXACT = {"tasks": "probe/random-5x3", "num_tasks": 3, "iterations": 3}
POINTS = {
    "tasks": "navigation/circle",
    "num_tasks": 3,  # one task for the first of two processes, two for the other
    "num_episodes": 4,
    "horizon": 6,
    "hidden": (5,),
    "iterations": 3,
    "diagnose_every": 2,
}
# What has a multiple of 16 numbers a task is rounded alike wherever it lies in a batch, and a sum
# of two has no order.
EVEN = {"num_tasks": 2, "num_episodes": 8, "hidden": (8,)}
KILLED = {
    "tasks": "navigation/circle",
    "num_tasks": 3,
    "num_episodes": 4,
    "horizon": 3,
    "hidden": (4,),
}
"""Of the jobs that are killed, which take other ways to the same numbers."""
DELICATE = ("trpo_maml", "bomrl_solved")
"""Finite differences and conjugate gradients make 1e-5 of a rounding, a robot's contacts 1e-4."""


def configurations() -> Iterator[tuple[str, bl.Config]]:
    """Every method on each of its kinds of values, and what else is drawn or averaged."""
    for method, row in bl.METHODS.items():
        if "exact" in row.values:
            yield f"{method} exact", bl.configure(method, values="exact", **EXACT)
        if "episodes" in row.values:
            yield f"{method} episodes", episodes(method, **(EVEN if method in DELICATE else {}))
    yield "batches", bl.configure("maml", **EXACT, batch_tasks=2, seed=3)
    table = {name: value for name, value in POINTS.items() if name != "hidden"} | EXACT
    yield "table", bl.configure("lvc_maml", values="episodes", **table)
    yield "penalty", episodes("promp", kl_penalty=0.1, kl_target=1e-9, seed=2)
    yield "two steps", episodes("lvc_maml", num_steps=2)
    yield "some unsolved", episodes("imaml", inner_iterations=1, seed=1)
    yield "killed", bl.configure("lvc_maml", **KILLED, iterations=3)
    yield "cheetah", episodes("bomrl_head", tasks="cheetah/velocity", **EVEN)
    yield "hopper", episodes("promp", tasks="hopper/parameters", seed=2, **EVEN | {"horizon": 40})
    seeded = {"tasks": "mine/cartpole", "horizon": 20, "step_size": 0.2}
    yield "cartpole", episodes("lvc_maml", **seeded)


def episodes(method: str, **settings: Any) -> bl.Config:
    """A small run on episodes, on points unless other tasks are named."""
    return bl.configure(method, values="episodes", **{**POINTS, **settings})


def cartpole() -> Any:
    """A family on gymnasium's vector environments, which draw their starts from seeds."""

    def simulator(tasks: Any, num_episodes: int, horizon: int | None = None) -> VectorEnvSimulator:
        num = len(tasks[0])
        env = gymnasium.make_vec("CartPole-v1", num * num_episodes, vectorization_mode="sync")
        return VectorEnvSimulator(env, num, horizon)

    sizes = {"observation_size": 4, "action_size": 2, "discrete": True}
    circle = FAMILIES["navigation/circle"]
    return dataclasses.replace(circle, name="mine/cartpole", simulator=simulator, **sizes)


class Noisy(PointSimulator):
    """Points of somebody's own, who draws as he likes."""


def noisy() -> Any:
    """A family of such points."""
    circle = FAMILIES["navigation/circle"]
    return dataclasses.replace(
        circle, name="mine/noisy", simulator=lambda *given: Noisy(*given, dense_reward)
    )


def register() -> None:
    for family in (cartpole(), noisy()):
        bl.register_tasks(family)


def numbers(config: bl.Config, group: Group = ALONE, **how: Any) -> dict[str, Any]:
    """Train, and return all that training leaves."""
    state = meta_train(config, group=group, **how)
    return {
        "phi": {name: leaf.clone() for name, leaf in state.phi.items()},
        "history": state.history,
        "moments": () if state.moments is None else tuple(state.moments),
        "penalty": state.kl_penalty,
        "generator": state.generator.get_state(),
    }


def refused(train: Callable[[], object]) -> str:
    """Return what an error says, after its kind."""
    try:
        train()
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return "nothing was refused"


def errors(group: Group, out: Path) -> dict[str, str]:
    """What must end all processes, each in the middle of a job."""
    config = bl.configure("maml", **EXACT)

    problem = make_problem(config, group)

    def half_solved(phi: Any, task: Any) -> Any:
        gradient, info = problem.meta_gradient(phi, task)
        worse = info.inner.stationarity + float(group.rank)
        return gradient, info._replace(inner=info.inner._replace(stationarity=worse))

    unsolved = dataclasses.replace(problem, meta_gradient=half_solved)
    given: dict[str, dict[str, Any]] = {
        "few tasks": {"config": config.replace(num_tasks=1), "out": out / "few"},
        "small batches": {"config": config.replace(batch_tasks=1), "out": out / "few"},
        "other seeds": {"config": config.replace(seed=group.rank), "out": out / "seeds"},
        "one process": {"config": config, "out": out / "one", "resume": True},
        "own draws": {"config": episodes("lvc_maml", tasks="mine/noisy", step_size=0.2)},
        "one unsolved": {"config": config, "problem": unsolved},
        "none solved": {"config": episodes("imaml", inner_iterations=1, seed=2)},
    }
    trainings = {name: partial(meta_train, group=group, **how) for name, how in given.items()}
    return {name: refused(train) for name, train in trainings.items()}


def resumed(group: Group, out: Path) -> dict[str, Any]:
    """Stop after two of three iterations and go on; processes other than 0 name another folder."""
    config, out = episodes("promp"), out / f"resumed{group.rank}"
    shown: list[int] = []

    def progress(done: int, *rest: object) -> None:
        shown.append(done)

    meta_train(config.replace(iterations=2), group=group, out=out)
    last = numbers(config, group, out=out, resume=True, progress=progress)
    return last | {"shown": shown}


if __name__ == "__main__":
    torch.set_num_threads(1)
    folder = Path(sys.argv[1])
    register()
    with joined() as group:
        runs = list(configurations())
        found: dict[str, Any] = {
            "alone": {name: numbers(run) for name, run in runs[group.rank :: group.size]},
            "runs": {name: numbers(run, group) for name, run in runs},
            "resumed": resumed(group, folder),
            "errors": errors(group, folder),
        }
        torch.save(found, folder / f"rank{group.rank}.pt")
