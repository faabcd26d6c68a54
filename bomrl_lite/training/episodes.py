r"""Training on episodes: the policy of a task family, its Alg, and what an iteration collects."""

from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from bomrl_lite.adaptation.episodes import Alg
from bomrl_lite.adaptation.settings import AlgSettings, Rung, alg_on_samples
from bomrl_lite.physics import resolve_backend
from bomrl_lite.physics.threads import one_thread_for_torch
from bomrl_lite.policies.networks import categorical_mlp, gaussian_mlp, over_states, tabular_softmax
from bomrl_lite.rollout.collect import collect, repeat
from bomrl_lite.rollout.data import SampleBatch, sample_batch
from bomrl_lite.rollout.observations import Moments, NormalisedSimulator, merged, no_moments
from bomrl_lite.rollout.returns import discounted_returns
from bomrl_lite.tasks import make_tasks
from bomrl_lite.training.config import Config, Episodes, Simulation
from bomrl_lite.training.group import ALONE, Group
from bomrl_lite.training.methods import Estimator
from bomrl_lite.training.over_tasks import over_tasks
from bomrl_lite.training.streams import seeded
from bomrl_lite.types import Params, Policy, Rollout, Simulator, Tasks

Batches = tuple[SampleBatch, ...]

COLUMNS = (
    "iteration", "return_before", "return_after", "gradient_norm", "stationarity", "curvature",
    "negative_curvature", "residual", "unsolved", "distance", "updates", "outer_divergence",
    "outer_residual", "divergence_before", "shuffled_distance", "norm_direct", "norm_curvature",
    "norm_q", "norm_nu",
)  # fmt: skip
"""Columns of the history: means over tasks; the worst stationarity, curvature and adjoint residual;
the share of tasks with negative curvature; tasks left out; D1^2 of the adaptation; outer updates,
their divergence after adaptation, the residual of TRPO's system, the divergence before adaptation;
and the costly diagnostics, nan where they were not measured."""
WHOLE = ("iteration", "unsolved", "updates")


@dataclass(frozen=True)
class EpisodesProblem:
    """What a configuration with episodes stands for."""

    config: Config
    family: Tasks[Any]
    policy: Policy
    alg: Alg
    device: torch.device
    """Where episodes are simulated and phi lives."""
    group: Group = ALONE
    """The processes that share the tasks of an iteration."""
    columns: tuple[str, ...] = COLUMNS
    whole: tuple[str, ...] = WHOLE

    @property
    def gamma(self) -> float:
        """Discount, in [0, 1]."""
        return self.family.gamma

    @property
    def sampling(self) -> Episodes:
        """How much is collected."""
        assert isinstance(self.config.sampling, Episodes)
        return self.config.sampling

    @property
    def estimator(self) -> Estimator:
        """What is read from episodes."""
        assert self.config.estimator is not None
        return self.config.estimator

    @property
    def discounted(self) -> bool:
        """Whether steps count with gamma^t, as in the exact values of tabular tasks."""
        return self.family.observation_size == 0

    @property
    def num_tasks(self) -> int:
        """N of one iteration."""
        return self.config.num_tasks

    def start(self) -> tuple[Params, torch.Generator]:
        """Return the first phi, and the generator that training goes on with."""
        generator = seeded(self.config.seed, "episodes")
        phi = self.policy.init(generator)
        generator = self.group.generator(generator, self.num_tasks)
        return {name: leaf.to(self.device) for name, leaf in phi.items()}, generator

    def moments(self) -> Moments | None:
        """Return what a run starts with: the moments of nothing, or None without normalisation."""
        if not self.family.normalise_observations:
            return None
        return no_moments(self.family.observation_size, self.device)

    def draw(self, generator: torch.Generator) -> Any:
        """Return the tasks of one iteration: of several processes, one's own."""
        return self.group.own(self.family.sample(self.num_tasks, generator, "train"))

    def simulator(self, tasks: Any, num_episodes: int, moments: Moments | None) -> Simulator:
        """Simulate episodes of tasks, seen through the lens of moments if there are any."""
        simulator = self.family.simulator(tasks, num_episodes, self.sampling.horizon)
        if self.group.size > 1:
            require_sharded(simulator)
        return simulator if moments is None else NormalisedSimulator(simulator, moments)

    def acting(self, generator: torch.Generator) -> torch.Generator:
        """Return where the randomness of actions comes from: a GPU draws its own, seeded by it."""
        if self.device.type == "cpu":
            return generator
        seed = int(torch.randint(torch.iinfo(torch.int32).max, (), generator=generator))
        own = torch.Generator(self.device).manual_seed(seed)
        return self.group.generator(own, self.num_tasks)

    def batch(self, rollout: Rollout) -> SampleBatch:
        """Make episodes ready for adaptation."""
        return sample_batch(
            rollout,
            gamma=self.gamma,
            discounted=self.discounted,
            trace=self.estimator.trace,
            normalise=self.estimator.normalise,
            baseline=self.estimator.baseline,
        )

    def returns(self, rollout: Rollout) -> Tensor:
        """Return the mean return of each task's episodes, [N]."""
        gamma = self.gamma if self.discounted else 1.0
        return discounted_returns(rollout, gamma)[..., 0].mean(-1)

    def alg_of(self, settings: AlgSettings, rung: Rung | None = None) -> Alg:
        """Return another Alg of the same policy, or the same on another rung of the ladder."""
        causal_trace = self.estimator.causal_trace
        return alg_on_samples(
            settings,
            rung or self.config.data,
            self.policy,
            gamma=self.gamma,
            causal_trace=causal_trace,
        )


def episodes_problem(config: Config) -> EpisodesProblem:
    """Build the policy of the task family and bind the method's Alg."""
    simulation = config.simulation or Simulation()
    integrator, backend = simulation.integrator, simulation.backend
    family = make_tasks(config.tasks, integrator=integrator, backend=backend)
    gpu = config.simulation is not None and resolve_backend(backend) == "warp"
    policy = _policy_of(config, family)
    estimator = config.estimator or Estimator()
    alg = alg_on_samples(
        config.alg,
        config.data,
        policy,
        gamma=family.gamma,
        causal_trace=estimator.causal_trace,
    )
    return EpisodesProblem(config, family, policy, alg, torch.device("cuda" if gpu else "cpu"))


def _policy_of(config: Config, family: Tasks[Any]) -> Policy:
    """Return a table over numbered states, else a network over observations."""
    network = config.network
    if network is None:
        one = family.sample(1, torch.Generator().manual_seed(0), "train")
        return over_states(tabular_softmax(*one[1].shape[-2:]))
    sizes = (family.observation_size, family.action_size)
    if family.discrete:
        return categorical_mlp(*sizes, hidden=network.hidden)
    return gaussian_mlp(
        *sizes,
        hidden=network.hidden,
        log_std=network.log_std,
        head_scale=network.head_scale,
    )


def require_sharded(simulator: Simulator) -> None:
    """Refuse a simulator of somebody's own whose random numbers several processes may draw alike.

    Raises:
        ValueError: it does not say ``sharded = True``.
    """
    kind = type(simulator)
    if not kind.__module__.startswith("bomrl_lite.") and not getattr(simulator, "sharded", False):
        raise ValueError(
            f"{kind.__name__} is a simulator of your own: where it draws random numbers, several "
            "processes would all draw the same ones. Draw them by bomrl_lite.policies.draws.drawn, "
            "or none, and let it have sharded = True; or train in one process"
        )


class Collected(NamedTuple):
    """One iteration's episodes."""

    before: Batches
    """Of each adaptation step."""
    after: SampleBatch
    thetas: Params
    """Adapted parameters that collected ``after``, with a leading N."""
    returns_before: Tensor
    returns_after: Tensor
    moments: Moments | None
    """Of all observations up to now, these among them."""


def collect_all(
    phi: Params,
    tasks: tuple[Tensor, ...],
    problem: EpisodesProblem,
    generator: torch.Generator,
    moments: Moments | None = None,
) -> Collected:
    """Let phi act, adapt, let the adapted policies act; moments are those so far.

    Each of tasks is [N, ...], one row a task.
    """
    sampling, num_tasks = problem.sampling, len(tasks[0])
    simulator = problem.simulator(tasks, sampling.num_episodes, moments)
    generator = problem.acting(generator)
    # A copy: what an adaptation leaves alone must not follow phi, which is updated in place.
    start = {name: leaf.clone() for name, leaf in phi.items()}
    thetas, rollouts, before = repeat(start, num_tasks), list[Rollout](), list[SampleBatch]()

    def episodes_of(thetas: Params) -> Rollout:
        rollout = collect(simulator, problem.policy, thetas, generator)
        if problem.group.size > 1:
            problem.group.catch_up(generator, steps=int(rollout.mask.amax((0, 1)).sum()))
        return rollout

    for _ in range(sampling.num_steps):
        rollouts.append(episodes_of(thetas))
        before.append(problem.batch(rollouts[-1]))
        thetas = adapt_all(problem.alg, thetas, before[-1])
    rollout = episodes_of(thetas)
    if moments is not None and isinstance(simulator, NormalisedSimulator):
        moments = merged(moments, problem.group.merged(simulator.seen()))
    return Collected(
        tuple(before),
        problem.batch(rollout),
        thetas,
        returns_before=problem.returns(rollouts[0]),
        returns_after=problem.returns(rollout),
        moments=moments,
    )


def adapt_all(alg: Alg, thetas: Params, batch: SampleBatch) -> Params:
    """Adapt the policy of every task to its episodes; all leaves have a leading N."""

    def one(theta: Params, episodes: SampleBatch) -> Params:
        return alg(theta, episodes).theta

    return over_tasks(one, thetas, batch, samples=batch.weights)


@one_thread_for_torch()
def adapted_returns(
    phi: Params,
    tasks: tuple[Tensor, ...],
    problem: EpisodesProblem,
    generator: torch.Generator,
    *,
    num_steps: int = 1,
    num_episodes: int = 20,
    test_episodes: int = 20,
    algs: tuple[Alg, ...] = (),
    moments: Moments | None = None,
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
        moments: of observations, as training left them; None where they are not normalised.
    """
    train, test = (
        problem.simulator(tasks, count, moments) for count in (num_episodes, test_episodes)
    )
    generator = problem.acting(generator)
    thetas, values = repeat(phi, len(tasks[0])), list[Tensor]()
    for step in range(num_steps + 1):
        if step:
            alg = algs[step - 1] if algs else problem.alg
            batch = problem.batch(collect(train, problem.policy, thetas, generator))
            thetas = adapt_all(alg, thetas, batch)
        values.append(problem.returns(collect(test, problem.policy, thetas, generator)))
    return torch.stack(values, dim=-1)
