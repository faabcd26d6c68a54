r"""Meta-training on sampled episodes: collect, adapt, collect again, update phi.

One iteration of every method (Finn et al., 1703.03400; Rothfuss et al., 1810.06784; Xu and Zhu,
2410.09728): draw N tasks; let pi_phi act for B episodes in each; adapt to each task on those
episodes, collected once; let the adapted policies act; update phi.
"""

import dataclasses
import math
from functools import partial
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args, get_origin

import torch
from torch import Tensor
from torch.func import grad, vmap

from bomrl_lite import run_folder
from bomrl_lite.linalg import add_scaled, norm
from bomrl_lite.one_time_data import SampleBatch, sample_batch
from bomrl_lite.outer import OuterInfo, climb, trust_region_step
from bomrl_lite.policies import categorical_mlp, gaussian_mlp, over_states, tabular_softmax
from bomrl_lite.returns import discounted_returns
from bomrl_lite.rollout import collect, repeat
from bomrl_lite.run_folder import Progress, Row
from bomrl_lite.sampled_adaptation import SampledInfo
from bomrl_lite.sampled_meta_gradients import (
    METHODS,
    Alg,
    Outer,
    Rung,
    SurrogateName,
    adapted,
    make_alg,
    mean_divergence,
    ratio_objective,
    sampled_meta_gradient,
)
from bomrl_lite.tasks import make_sampled_tasks
from bomrl_lite.types import Params, Policy, Rollout, SampledTasks

Batches = tuple[SampleBatch, ...]

SOLVED = 2e-2
"""Relative stationarity and residual up to which a task's hypergradient takes part in an update."""

BASE: dict[str, Any] = {
    "step_size": 1.0,
    "lam": 0.0125,
    "delta": 1.0,
    "ridge": 0.0,
    "distance": "d1",
    "surrogate": "ratio",
    "parameters": "all",
    "causal_trace": 1.0,
    "first_order": False,
    "credit": 0.0,
    "baseline": True,
    "outer": "adam",
    "learning_rate": 5e-3,
    "epochs": 1,
    "clip": 0.0,
    "kl_penalty": 0.0,
    "kl_target": 0.0,
    "kl_guard": 0.0,
    "max_kl": 1e-2,
}
"""Dials of a method that neither its table nor the configuration sets."""


@dataclasses.dataclass(frozen=True)
class SampledConfig:
    """Every dial of a training run on samples; a dial left at None is the method's own.

    Two runs of one configuration on one machine are bit-identical.
    """

    method: Literal[
        "joint",
        "naive_maml",
        "first_order_maml",
        "maml",
        "dice_maml",
        "loaded_dice_maml",
        "trpo_maml",
        "e_maml",
        "promp",
        "anil",
        "imaml",
        "bomrl",
        "bomrl_trust_region",
        "bomrl_head",
        "bomrl_solved",
    ] = "bomrl"
    """How phi is trained: a key of ``METHODS``."""
    tasks: str = "navigation/circle"
    """Task distribution, by name; tabular ones are simulated."""
    num_tasks: int = 20
    """Tasks of one iteration, drawn anew each time."""
    num_episodes: int = 20
    """Episodes per task before adaptation, and again after it."""
    horizon: int | None = None
    """Steps of an episode; None takes the family's."""
    iterations: int = 50
    """Updates of phi."""
    num_steps: int = 1
    """Adaptation steps, each on episodes of the policy before it."""
    hidden: tuple[int, ...] = (32, 32)
    """Widths of the policy's hidden layers."""
    log_std: float = 0.0
    """Where the logarithm of a Gaussian policy's deviation starts."""
    step_size: float | None = None
    """Gradient methods: alpha, in parameters^2 per deviation of the advantages."""
    lam: float | None = None
    """BO-MRL, iMAML: weight of D^2, in deviations of the advantages."""
    delta: float | None = None
    """bomrl_trust_region: largest D^2, in nats."""
    ridge: float | None = None
    """BO-MRL: rho of the Euclidean term inside D^2."""
    distance: Literal["d1", "d2", "d3"] | None = None
    """bomrl_solved: D^2 beside the ridge."""
    surrogate: SurrogateName | None = None
    """bomrl_solved: L."""
    parameters: Literal["all", "head"] | None = None
    """What the adaptation moves."""
    data: Rung | None = None
    """What of the data's dependence on phi the meta-gradient keeps."""
    causal_trace: float | None = None
    """Rungs q_gradient and full: truncation of the causal horizon, in [0, 1]."""
    first_order: bool | None = None
    """Gradient methods: take d theta / d phi for the identity."""
    credit: float | None = None
    """Weight of E-MAML's score term."""
    baseline: bool | None = None
    """Whether a linear baseline is subtracted from returns."""
    outer: Outer | None = None
    """adam, with ``epochs``, ``clip`` and ``kl_guard``; or trpo, with ``max_kl``."""
    learning_rate: float | None = None
    """Of Adam."""
    epochs: int | None = None
    """Adam updates per iteration, on the same episodes."""
    clip: float | None = None
    """Clip of the outer ratio; 0 is none."""
    kl_penalty: float | None = None
    """Weight of KL(pi_old || pi_phi) before adaptation (ProMP)."""
    kl_target: float | None = None
    """Let the penalty double or halve to keep that KL near this; 0 leaves it fixed."""
    kl_guard: float | None = None
    """Stop the epochs once the adapted policies have moved this far; 0 is none."""
    max_kl: float | None = None
    """trpo: largest KL of the adapted policies, in nats."""
    trace: float = 0.95
    """lambda of the generalised advantage estimate."""
    normalise: bool = True
    """Give each task's advantages mean 0 and deviation 1."""
    seed: int = 0
    """Decides everything that is random."""
    diagnose_every: int = 10
    """Iterations between two measurements of the costly diagnostics."""
    checkpoint_every: int = 10
    """Iterations between two checkpoints."""

    def __post_init__(self) -> None:
        """Refuse values that could not train.

        Raises:
            ValueError: says which field, what it must be and what it is.
        """
        for field in dataclasses.fields(self):
            kinds = [k for k in (field.type, *get_args(field.type)) if get_origin(k) is Literal]
            allowed = get_args(kinds[0]) if kinds else ()
            value = getattr(self, field.name)
            if allowed and value is not None and value not in allowed:
                raise ValueError(f"{field.name} must be one of {allowed}, got {value!r}")
        dials = self.dials()
        for name in (
            "num_tasks",
            "num_episodes",
            "iterations",
            "num_steps",
            "diagnose_every",
            "checkpoint_every",
            "epochs",
        ):
            if dials[name] < 1:
                raise ValueError(f"{name} must be at least 1, got {dials[name]}")
        for name in ("step_size", "lam", "delta", "learning_rate", "max_kl"):
            if not 0 < dials[name] < math.inf:
                raise ValueError(f"{name} must be positive and finite, got {dials[name]}")
        for name in ("ridge", "clip", "kl_penalty", "kl_target", "kl_guard"):
            if not 0 <= dials[name] < math.inf:
                raise ValueError(f"{name} must be 0 or more and finite, got {dials[name]}")
        for name in ("causal_trace", "trace"):
            if not 0 <= dials[name] <= 1:
                raise ValueError(f"{name} must be in [0, 1], got {dials[name]}")

    def dials(self) -> dict[str, Any]:
        """Return every field, those left at None as the method has them."""
        method = METHODS[self.method]
        given = {k: v for k, v in dataclasses.asdict(self).items() if v is not None}
        return {**BASE, "data": method.data, "horizon": None, **method.dials, **given}


class SampledProblem(NamedTuple):
    """What a configuration stands for."""

    tasks: SampledTasks
    policy: Policy
    alg: Alg
    dials: dict[str, Any]
    gamma: float
    discounted: bool
    """Whether steps count with gamma^t, as in the exact values of tabular tasks."""

    def batch(self, rollout: Rollout) -> SampleBatch:
        """Make episodes ready for adaptation."""
        d = self.dials
        how = {"trace": d["trace"], "normalise": d["normalise"], "baseline": d["baseline"]}
        return sample_batch(rollout, gamma=self.gamma, discounted=self.discounted, **how)

    def returns(self, rollout: Rollout) -> Tensor:
        """Return the mean return of each task's episodes, [N]."""
        gamma = self.gamma if self.discounted else 1.0
        return discounted_returns(rollout, gamma)[..., 0].mean(-1)


@dataclasses.dataclass
class SampledState:
    """What changes during training, and all of it."""

    phi: Params
    optimizer: torch.optim.Adam
    generator: torch.Generator
    kl_penalty: float
    history: list[Row] = dataclasses.field(default_factory=list)


def make_problem(config: SampledConfig) -> SampledProblem:
    """Build the policy of the task family and bind the method's Alg."""
    tasks, dials = make_sampled_tasks(config.tasks), config.dials()
    tabular = tasks.observation_size == 0
    if tabular:
        one = tasks.sample(1, torch.Generator().manual_seed(0), "train")
        policy = over_states(tabular_softmax(*one[1].shape[-2:]))
    elif tasks.discrete:
        policy = categorical_mlp(tasks.observation_size, tasks.action_size, hidden=config.hidden)
    else:
        policy = gaussian_mlp(
            tasks.observation_size, tasks.action_size, hidden=config.hidden, log_std=config.log_std
        )
    if dials["parameters"] == "head" and not policy.head:
        raise ValueError(
            f"{config.tasks} has a tabular policy, which has no head to adapt alone; "
            "use parameters='all' with another method than bomrl_head"
        )
    alg = make_alg(METHODS[config.method].alg, policy, {**dials, "gamma": tasks.gamma})
    return SampledProblem(tasks, policy, alg, dials, tasks.gamma, tabular)


def start_state(config: SampledConfig, problem: SampledProblem) -> SampledState:
    """Return the state before the first update."""
    generator = torch.Generator().manual_seed(config.seed)
    phi = problem.policy.init(generator)
    rate = problem.dials["learning_rate"]
    optimizer = torch.optim.Adam(list(phi.values()), lr=rate, maximize=True)
    return SampledState(phi, optimizer, generator, problem.dials["kl_penalty"])


class Collected(NamedTuple):
    """One iteration's episodes."""

    before: Batches
    """Of each adaptation step."""
    after: SampleBatch
    thetas: Params
    """Adapted parameters that collected ``after``, with a leading N."""
    returns_before: Tensor
    returns_after: Tensor


def collect_all(
    phi: Params, tasks: NamedTuple, problem: SampledProblem, generator: torch.Generator
) -> Collected:
    """Let phi act, adapt, let the adapted policies act."""
    d = problem.dials
    num_tasks = len(tasks[0])
    simulator = problem.tasks.simulator(tasks, d["num_episodes"], d["horizon"])
    thetas, before, first = repeat(phi, num_tasks), (), None
    for _ in range(d["num_steps"]):
        rollout = collect(simulator, problem.policy, thetas, generator)
        first = rollout if first is None else first
        before = (*before, problem.batch(rollout))
        thetas = vmap(lambda p, b: problem.alg(p, b).theta)(thetas, before[-1])
    assert first is not None
    rollout = collect(simulator, problem.policy, thetas, generator)
    returns = (problem.returns(r) for r in (first, rollout))
    return Collected(before, problem.batch(rollout), thetas, *returns)


def meta_step(state: SampledState, config: SampledConfig, problem: SampledProblem) -> Row:
    """Update phi once, in place, and append the row of the history.

    Raises:
        ArithmeticError: no task's inner problem is solved, or a figure is not finite.
    """
    tasks = problem.tasks.sample(config.num_tasks, state.generator, "train")
    episodes = collect_all(state.phi, tasks, problem, state.generator)
    old = {name: leaf.clone() for name, leaf in state.phi.items()}
    objective = _Objective(problem, episodes, old, state.kl_penalty)
    iteration = len(state.history)
    diagnosed = (
        _diagnose(state.phi, episodes, problem, objective, state.generator)
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
        "unsolved": float((~solved(info)).sum()),
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


DIAGNOSED = ("shuffled_distance", "norm_direct", "norm_curvature", "norm_q", "norm_nu")
"""Costly diagnostics: D1^2 of an adaptation to shuffled advantages, which is noise; and the norms
of the meta-gradient's terms: d theta / d phi = I, what the frozen rung adds, grad Q, grad nu."""
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


def solved(info: SampledInfo) -> Tensor:
    """Tell, task by task, whether the inner problem is solved well enough for an update."""
    return (info.stationarity <= SOLVED) & (info.residual <= SOLVED) & (info.curvature > 0)


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
    """
    problem = make_problem(config)
    state = start_state(config, problem)
    if out is not None and not run_folder.is_new(out, resume=resume):
        saved, tensors, history = run_folder.load(out)
        now = dataclasses.asdict(config)
        run_folder.check_same(saved, now, out, done=len(history))
        _restore(state, tensors, history, out)
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
        config = SampledConfig(**{**saved, "hidden": tuple(saved["hidden"])})
        state = start_state(config, make_problem(config))
    _restore(state, tensors, history, out)
    return config, state


def adapted_returns(
    phi: Params,
    tasks: NamedTuple,
    problem: SampledProblem,
    generator: torch.Generator,
    *,
    num_steps: int = 1,
    num_episodes: int = 20,
    test_episodes: int = 20,
    algs: tuple[Alg, ...] = (),
) -> Tensor:
    """Return the mean return after 0, 1, ..., num_steps adaptations, [N, num_steps + 1].

    Each adaptation reads ``num_episodes`` fresh episodes of the policy before it; returns are
    those of ``test_episodes`` others, so that no policy is judged by what it learnt from.

    Args:
        phi: meta-parameters.
        tasks: N tasks.
        problem: policy, Alg and simulator.
        generator: where all randomness comes from.
        num_steps: adaptations, >= 0.
        num_episodes: episodes per task for one adaptation.
        test_episodes: episodes per task for one return.
        algs: another Alg for each step, as for a step size of its own; none repeats the problem's.
    """
    train, test = (
        problem.tasks.simulator(tasks, count, problem.dials["horizon"])
        for count in (num_episodes, test_episodes)
    )
    thetas, values = repeat(phi, len(tasks[0])), []
    for step in range(num_steps + 1):
        if step:
            alg = algs[step - 1] if algs else problem.alg
            batch = problem.batch(collect(train, problem.policy, thetas, generator))
            thetas = vmap(lambda p, b, alg=alg: alg(p, b).theta)(thetas, batch)
        values.append(problem.returns(collect(test, problem.policy, thetas, generator)))
    return torch.stack(values, dim=-1)


class _Objective:
    """The outer objective of one iteration's episodes as functions of phi."""

    def __init__(
        self, problem: SampledProblem, episodes: Collected, old: Params, kl_penalty: float
    ) -> None:
        self.problem, self.episodes, self.old = problem, episodes, old
        self.kl_penalty = kl_penalty
        clip = problem.dials["clip"] or None
        self.outer = partial(ratio_objective, policy=problem.policy, clip=clip)
        returns = episodes.returns_after
        spread = returns.std(correction=0) + 1e-8
        self.scores = problem.dials["credit"] * (returns - returns.mean()) / spread
        self.info: SampledInfo = SampledInfo(*(torch.zeros(len(returns)) for _ in range(3)))
        self.first = True

    def gradient(self, phi: Params) -> Params:
        """Return the ascent direction, averaged over the tasks whose inner problem is solved."""
        gradients, info = self.per_task(phi, self.problem.alg)
        if self.first:
            self.info, self.first = info, False
        use = solved(info)
        if not bool(use.any()):
            raise ArithmeticError(
                f"none of the {len(use)} inner problems is solved: best stationarity "
                f"{info.stationarity.min():.2g}, largest curvature {info.curvature.max():.2g}, "
                f"best residual {info.residual.min():.2g}. Use a larger lam or ridge"
            )
        mean = {
            name: leaf.where(use.reshape(-1, *(1,) * (leaf.ndim - 1)), 0.0).sum(0) / use.sum()
            for name, leaf in gradients.items()
        }
        if self.kl_penalty == 0:
            return mean
        away = grad(self._divergence_before)(phi)
        return add_scaled(mean, -self.kl_penalty, away)

    def per_task(self, phi: Params, alg: Alg) -> tuple[Params, SampledInfo]:
        """Return every task's ascent direction, with a leading N."""

        def one(before: Batches, after: SampleBatch, score: Tensor) -> tuple[Params, SampledInfo]:
            return sampled_meta_gradient(
                phi,
                before,
                after,
                alg=alg,
                outer=self.outer,
                score=score,
                policy=self.problem.policy,
            )

        return vmap(one)(self.episodes.before, self.episodes.after, self.scores)

    def value(self, phi: Params) -> tuple[Tensor, Tensor]:
        """Return the outer objective and the divergence of the adapted policies."""
        policy, alg = self.problem.policy, self.problem.alg

        def one(before: Batches, after: SampleBatch, old: Params) -> tuple[Tensor, Tensor]:
            theta = adapted(phi, before, alg=alg)
            return self.outer(theta, after), mean_divergence(old, theta, after, policy=policy)

        values, divergences = vmap(one)(
            self.episodes.before, self.episodes.after, self.episodes.thetas
        )
        return values.mean(), divergences.mean()

    def divergence_gradient(self, phi: Params) -> Params:
        """Return the gradient of the adapted policies' divergence, on every fourth episode."""
        policy, alg = self.problem.policy, self.problem.alg
        part = partial(_every, stride=4)
        before, after = tuple(part(b) for b in self.episodes.before), part(self.episodes.after)
        reference = vmap(lambda b: adapted(self.old, b, alg=alg))(before)

        def one(b: Batches, a: SampleBatch, old: Params) -> Params:
            def away(theta: Params, batch: SampleBatch) -> Tensor:
                return mean_divergence(old, theta, batch, policy=policy)

            return sampled_meta_gradient(phi, b, a, alg=alg, outer=away, policy=policy)[0]

        gradients = vmap(one)(before, after, reference)
        return {name: leaf.mean(0) for name, leaf in gradients.items()}

    def _divergence_before(self, phi: Params) -> Tensor:
        policy = self.problem.policy
        return vmap(lambda b: mean_divergence(self.old, phi, b, policy=policy))(
            self.episodes.before[0]
        ).mean()


def _update(state: SampledState, problem: SampledProblem, objective: _Objective) -> OuterInfo:
    d = problem.dials
    if d["outer"] == "trpo":
        return trust_region_step(
            state.phi,
            objective.gradient,
            objective.divergence_gradient,
            objective.value,
            max_kl=d["max_kl"],
        )
    return climb(
        state.phi,
        state.optimizer,
        objective.gradient,
        lambda phi: objective.value(phi)[1],
        epochs=d["epochs"],
        guard=d["kl_guard"],
    )


def _diagnose(
    phi: Params,
    episodes: Collected,
    problem: SampledProblem,
    objective: _Objective,
    generator: torch.Generator,
) -> Row:
    """Measure the noise floor of the adaptation and the terms of the meta-gradient."""
    shuffled = _shuffled(episodes.before[0], generator)
    thetas = vmap(lambda b: problem.alg(phi, b).theta)(shuffled)
    noise = vmap(partial(mean_divergence, policy=problem.policy), in_dims=(None, 0, 0))
    result = {"shuffled_distance": noise(phi, thetas, shuffled).mean().item()}
    direct = vmap(grad(objective.outer))(episodes.thetas, episodes.after)
    parts = [{name: leaf.mean(0) for name, leaf in direct.items()}]
    result["norm_direct"] = norm(parts[0]).item()
    name = METHODS[problem.dials["method"]].alg
    for column, rung in (("curvature", "frozen"), ("q", "q_gradient"), ("nu", "full")):
        dials = {**problem.dials, "data": rung, "gamma": problem.gamma, "first_order": False}
        gradients, _ = objective.per_task(phi, make_alg(name, problem.policy, dials))
        parts.append({key: leaf.mean(0) for key, leaf in gradients.items()})
        result[f"norm_{column}"] = norm(add_scaled(parts[-1], -1.0, parts[-2])).item()
    return result


def _shuffled(batch: SampleBatch, generator: torch.Generator) -> SampleBatch:
    """Deal the advantages of each task out anew, so that they say nothing; padding stays."""
    values, padding = batch.advantages.flatten(1), batch.weights.flatten(1) == 0
    draws = torch.rand(values.shape, generator=generator).masked_fill(padding, 2.0)
    places = torch.argsort(padding.to(torch.int8), dim=1, stable=True)
    mixed = torch.zeros_like(values).scatter(1, places, values.gather(1, draws.argsort(1)))
    return batch._replace(advantages=mixed.reshape(batch.advantages.shape))


def _inner_distance(phi: Params, episodes: Collected, policy: Policy) -> float:
    def one(theta: Params, batch: SampleBatch) -> Tensor:
        return mean_divergence(phi, theta, batch, policy=policy)

    return vmap(one)(episodes.thetas, episodes.before[0]).mean().item()


def _first_divergence(old: Params, new: Params, batch: SampleBatch, policy: Policy) -> float:
    return vmap(lambda b: mean_divergence(old, new, b, policy=policy))(batch).mean().item()


def _tune_penalty(state: SampledState, problem: SampledProblem, divergence: float) -> None:
    """Double or halve the KL penalty outside 1.5 times its target (1707.06347, section 4)."""
    target = problem.dials["kl_target"]
    if target > 0 and divergence > 1.5 * target:
        state.kl_penalty *= 2
    elif target > 0 and divergence < target / 1.5:
        state.kl_penalty /= 2


def _every(batch: SampleBatch, *, stride: int) -> SampleBatch:
    """Keep every ``stride``-th episode of each task."""
    part = SampleBatch(*(field[:, ::stride] for field in batch))
    return part._replace(weights=part.weights / part.weights.sum((-1, -2), keepdim=True))


def _describe(state: SampledState) -> dict[str, Any]:
    return {
        "phi": state.phi,
        "optimizer": state.optimizer.state_dict(),
        "generator": state.generator.get_state(),
        "kl_penalty": state.kl_penalty,
    }


def _restore(state: SampledState, tensors: dict[str, Any], history: list[Row], out: Path) -> None:
    with run_folder.reading(out):
        for name, leaf in state.phi.items():
            leaf.copy_(tensors["phi"][name])  # in place: the optimiser holds these very tensors
        state.optimizer.load_state_dict(tensors["optimizer"])
        state.generator.set_state(tensors["generator"])
        state.kl_penalty = tensors["kl_penalty"]
        state.history[:] = history
