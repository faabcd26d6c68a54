"""Bars of the robots: how close to the physics they run, and how fast BO-MRL learns to run.

Rates appear as their inverse, time over time, so that small is good as everywhere in the bench.
"""

import os
import time
from collections.abc import Callable, Iterator
from functools import cache, partial
from importlib import import_module
from importlib.util import find_spec

import gymnasium
import numpy as np
import torch
from torch import Tensor

from bomrl_lite.course.bench.figure import Figure, cpu_seconds, ratio_of, wall_seconds
from bomrl_lite.physics import resolve_backend
from bomrl_lite.physics.mujoco_batch import MujocoBatch
from bomrl_lite.physics.mujoco_types import Floats
from bomrl_lite.physics.robots import MODELS, ROBOTS, Integrator, load_model
from bomrl_lite.policies.networks import gaussian_mlp
from bomrl_lite.rollout.collect import collect, repeat
from bomrl_lite.tasks.locomotion import FAMILIES, LocomotionSimulator
from bomrl_lite.tasks.robot_goals import sample_signs
from bomrl_lite.training.config import Config, configure
from bomrl_lite.training.episodes import adapted_returns, episodes_problem
from bomrl_lite.training.state import MetaState
from bomrl_lite.training.trainer import meta_step, meta_train, start_state

STEPS = 100
"""Steps of the environment in one window of time."""


def stepping() -> Iterator[Figure]:
    """Compare our simulator with MuJoCo's own open loop, on one thread and the same actions."""
    for num in (64, 256, 1024):
        name = f"cheetah, N = {num}: stepping over MuJoCo's open loop"
        yield Figure(name, partial(_over_open_loop, num), "ratio", round(1 / 0.9, 2))


def against_gymnasium() -> Iterator[Figure]:
    """Compare wall time on all processors with gymnasium's SyncVectorEnv, which uses one."""
    model = str(MODELS / ROBOTS["half_cheetah"].file)
    make = partial(gymnasium.make_vec, "HalfCheetah-v5", vectorization_mode="sync", xml_file=model)
    name = "cheetah, N = 64: wall time over gymnasium's SyncVectorEnv"
    ratio = partial(_over_environments, make, 64, threads=os.cpu_count() or 1)
    yield Figure(name, ratio, "ratio", 0.4)


def against_envpool() -> Iterator[Figure]:
    """Compare wall time with envpool's HalfCheetah-v5; nothing where it is not installed."""
    if find_spec("envpool") is None:
        return
    for threads in sorted({1, os.cpu_count() or 1}):
        name = f"cheetah, N = 64: wall time over envpool's, threads: {threads}"
        make = partial(_envpool, threads)
        ratio = partial(_over_environments, make, 64, threads=threads)
        yield Figure(name, ratio, "ratio", round(1 / 1.4, 2))


def policy_in_the_loop() -> Iterator[Figure]:
    """Measure what a 2 x 64 policy, the tape and the checks add to the physics."""
    times = cache(partial(_collecting, 256))
    name = "cheetah, N = 256: collecting with a policy over its physics"
    yield Figure(name, lambda: times()[0], "ratio", 1.35)
    name = "cheetah, N = 256: one step, policy included"
    yield Figure(name, lambda: times()[1], "CPU-us", round(1e6 / 15e3, 1))


def meta_iterations() -> Iterator[Figure]:
    """Compare a whole meta-iteration, 20 x 20 x 100, with the physics of its own steps."""
    for label, method, bar in (
        ("BO-MRL head", "bomrl_head", 1.25),
        ("MAML-TRPO", "trpo_maml", 1.3),
        ("ProMP", "promp", 1.4),
        ("BO-MRL, all parameters", "bomrl_natural", 1.6),
    ):
        name = f"cheetah meta-iteration over its physics, {label}"
        yield Figure(name, partial(_over_physics, method), "ratio", bar)


def running_learnt() -> Iterator[Figure]:
    """Train BO-MRL on HalfCheetah direction; CPU-seconds, and minus the return after one step."""
    learnt, name = cache(_run), "HalfCheetah direction, BO-MRL head, 0.48 M steps"
    yield Figure(name, lambda: learnt()[0], "CPU-s", 75.0)
    yield Figure(f"{name}: return before", lambda: learnt()[1], "return", 10.0)
    yield Figure(f"{name}: minus return after", lambda: -learnt()[2], "return", -80.0)


def integrators() -> Iterator[Figure]:
    """Compare the ant on implicitfast with the ant on gymnasium's Runge-Kutta."""

    def play(integrator: Integrator) -> Callable[[], None]:
        simulator = _simulator(64, family="ant/direction", integrator=integrator)
        return partial(_play, simulator, _actions("ant", 64))

    def ratio() -> float:
        return ratio_of(play("fast"), play("gym"), rounds=3)

    yield Figure("ant, N = 64: fast over gymnasium's integrator", ratio, "ratio", round(1 / 3, 3))


def on_a_gpu() -> Iterator[Figure]:
    """Measure MuJoCo Warp and a meta-iteration on it; nothing where there is no GPU."""
    if resolve_backend("auto") != "warp":
        return
    step = partial(_step_on_a_gpu, 8192)
    yield Figure("GPU, cheetah, N = 8192: one step", step, "us", round(1 / 0.6, 2))
    name = "GPU, meta-iteration of 4100 robots over 2 CPU cores"
    yield Figure(name, _gpu_over_processors, "ratio", 0.1)


def _envpool(threads: int, *, num_envs: int) -> gymnasium.vector.VectorEnv:
    make = import_module("envpool").make_gymnasium
    return make("HalfCheetah-v5", num_envs=num_envs, num_threads=threads)


def _over_open_loop(num: int) -> float:
    actions = _actions("half_cheetah", num)
    ours, limit = partial(_play, _simulator(num), actions), _open_loop(actions)
    return ratio_of(ours, limit, rounds=7)


def _over_environments(
    make: Callable[..., gymnasium.vector.VectorEnv], num: int, *, threads: int
) -> float:
    """Divide the wall time of our simulator on some threads by that of others' environments."""
    actions = _actions("half_cheetah", num)
    theirs, moves = make(num_envs=num), actions.numpy()
    theirs.reset()
    torch.set_num_threads(threads)
    try:
        ours = partial(_play, _simulator(num), actions)
        steps = partial(_step_all, theirs, moves)
        return ratio_of(ours, steps, rounds=7, seconds=wall_seconds)
    finally:
        torch.set_num_threads(1)


def _step_all(environments: gymnasium.vector.VectorEnv, moves: Floats) -> None:
    for actions in moves:
        environments.step(actions)


def _collecting(num: int) -> tuple[float, float]:
    """Return the CPU time of collecting over its physics, and its microseconds per step."""
    policy, generator = gaussian_mlp(17, 6, log_std=-0.5, head_scale=0.1), _seeded()
    phi = repeat(policy.init(generator), 4)
    simulator = _simulator(num, tasks=4)
    physics = _PhysicsClock()
    with physics:
        seconds = min(
            cpu_seconds(lambda: collect(simulator, policy, phi, generator)) for _ in range(5)
        )
    return 5 * seconds / physics.seconds, 1e6 * seconds / (num * simulator.horizon)


def _over_physics(method: str) -> float:
    problem = episodes_problem(_training(method, num_tasks=20))
    state = start_state(problem)
    meta_step(state, problem)
    ratios = []
    for _ in range(3):
        with _PhysicsClock() as physics:
            whole = cpu_seconds(partial(meta_step, state, problem))
        ratios.append(whole / physics.seconds)
    return min(ratios)


def _run() -> tuple[float, float, float]:
    """Return the CPU seconds of a training, and the return before and after one step."""
    config = _training("bomrl_head", num_tasks=4, iterations=30)
    kept: list[MetaState] = []
    seconds = cpu_seconds(lambda: kept.append(meta_train(config)))
    state, problem = kept[0], episodes_problem(config)
    tasks, generator = sample_signs(4, _seeded()), _seeded()
    returns = adapted_returns(state.phi, tasks, problem, generator, moments=state.moments).mean(0)
    return seconds, returns[0].item(), returns[1].item()


def _step_on_a_gpu(num: int) -> float:
    """Return the microseconds of one step of one robot."""
    actions = _actions("half_cheetah", num).float().cuda()
    simulator = _simulator(num)
    _play(simulator, actions)  # records the graph
    seconds = min(_device_seconds(lambda: _play(simulator, actions)) for _ in range(5))
    return 1e6 * seconds / (num * STEPS)


def _gpu_over_processors() -> float:
    times = {}
    for backend in ("warp", "mujoco"):
        torch.set_num_threads(2)
        config = _training("bomrl_head", num_tasks=205).replace(backend=backend)
        problem = episodes_problem(config)
        state = start_state(problem)
        meta_step(state, problem)
        times[backend] = _device_seconds(partial(meta_step, state, problem))
    torch.set_num_threads(1)
    return times["warp"] / times["mujoco"]


class _PhysicsClock:
    """Adds up the CPU seconds that are spent inside the physics."""

    def __enter__(self) -> "_PhysicsClock":
        self.seconds, self._step, clock = 0.0, MujocoBatch.step, self

        def timed(self: MujocoBatch, controls: Tensor, substeps: int) -> None:
            start = time.process_time()
            clock._step(self, controls, substeps)
            clock.seconds += time.process_time() - start

        MujocoBatch.step = timed
        return self

    def __exit__(self, *error: object) -> None:
        MujocoBatch.step = self._step


def _seeded() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def _training(method: str, *, num_tasks: int, iterations: int = 50) -> Config:
    return configure(
        method,
        tasks="cheetah/direction",
        num_tasks=num_tasks,
        iterations=iterations,
        diagnose_every=10000,
    )


def _simulator(
    num: int,
    *,
    family: str = "cheetah/direction",
    tasks: int = 1,
    integrator: Integrator = "gym",
) -> LocomotionSimulator:
    goals = sample_signs(tasks, _seeded())
    return LocomotionSimulator(FAMILIES[family], goals, num // tasks, STEPS, integrator=integrator)


def _actions(robot: str, num: int) -> Tensor:
    size = load_model(robot).nu
    return 2 * torch.rand(STEPS, num, size, generator=_seeded(), dtype=torch.float64) - 1


def _play(simulator: LocomotionSimulator, actions: Tensor) -> None:
    generator = torch.Generator(actions.device).manual_seed(0)
    simulator.reset(generator)
    for action in actions:
        simulator.step(action.unsqueeze(0), generator)


def _open_loop(actions: Tensor) -> Callable[[], object]:
    """Return the same steps in one call of MuJoCo's, which knows all controls from the start."""
    from mujoco.batch import Batch

    robot = ROBOTS["half_cheetah"]
    controls = np.repeat(actions.numpy().transpose(1, 0, 2), robot.frame_skip, axis=1)
    batch = Batch(load_model("half_cheetah"), len(controls), 1)

    def run() -> object:
        batch.reset()
        return batch.rollout(controls.shape[1], controls)

    return run


def _device_seconds(work: Callable[[], object]) -> float:
    torch.cuda.synchronize()
    start = time.perf_counter()
    work()
    torch.cuda.synchronize()
    return time.perf_counter() - start
