r"""What a training run on samples stands for: its policy, its Alg, and its episodes."""

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.func import vmap

from bomrl_lite.adaptation.episodes import Alg
from bomrl_lite.methods import METHODS, make_alg
from bomrl_lite.physics import resolve_backend
from bomrl_lite.policies.networks import categorical_mlp, gaussian_mlp, over_states, tabular_softmax
from bomrl_lite.rollout.collect import collect, repeat
from bomrl_lite.rollout.data import SampleBatch, sample_batch
from bomrl_lite.rollout.observations import Moments, NormalisedSimulator, no_moments
from bomrl_lite.rollout.returns import discounted_returns
from bomrl_lite.tasks import make_tasks
from bomrl_lite.training.sampled_config import SampledConfig
from bomrl_lite.types import Params, Policy, Rollout, Simulator, Tasks

Batches = tuple[SampleBatch, ...]


class SampledProblem(NamedTuple):
    """What a configuration stands for."""

    tasks: Tasks[Any]
    policy: Policy
    alg: Alg
    dials: dict[str, Any]
    gamma: float
    discounted: bool
    """Whether steps count with gamma^t, as in the exact values of tabular tasks."""
    device: torch.device
    """Where episodes are simulated and phi lives."""

    def simulator(self, tasks: Any, num_episodes: int, moments: Moments | None) -> Simulator:
        """Simulate episodes of tasks, seen through the lens of moments if there are any."""
        simulator = self.tasks.simulator(tasks, num_episodes, self.dials["horizon"])
        return simulator if moments is None else NormalisedSimulator(simulator, moments)

    def moments(self) -> Moments | None:
        """Return what a run starts with: the moments of nothing, or None without normalisation."""
        if not self.tasks.normalise_observations:
            return None
        return no_moments(self.tasks.observation_size, self.device)

    def acting(self, generator: torch.Generator) -> torch.Generator:
        """Return where the randomness of actions comes from: a GPU draws its own, seeded by it."""
        if self.device.type == "cpu":
            return generator
        seed = int(torch.randint(2**31 - 1, (), generator=generator))
        return torch.Generator(self.device).manual_seed(seed)

    def batch(self, rollout: Rollout) -> SampleBatch:
        """Make episodes ready for adaptation."""
        d = self.dials
        how = {"trace": d["trace"], "normalise": d["normalise"], "baseline": d["baseline"]}
        return sample_batch(rollout, gamma=self.gamma, discounted=self.discounted, **how)

    def returns(self, rollout: Rollout) -> Tensor:
        """Return the mean return of each task's episodes, [N]."""
        gamma = self.gamma if self.discounted else 1.0
        return discounted_returns(rollout, gamma)[..., 0].mean(-1)


def make_problem(config: SampledConfig) -> SampledProblem:
    """Build the policy of the task family and bind the method's Alg."""
    dials = config.dials()
    tasks = make_tasks(config.tasks, integrator=config.integrator, backend=config.backend)
    robots = tasks.normalise_observations
    gpu = robots and resolve_backend(config.backend) == "warp"
    tabular = tasks.observation_size == 0
    if tabular:
        one = tasks.sample(1, torch.Generator().manual_seed(0), "train")
        policy = over_states(tabular_softmax(*one[1].shape[-2:]))
    elif tasks.discrete:
        policy = categorical_mlp(tasks.observation_size, tasks.action_size, hidden=dials["hidden"])
    else:
        policy = gaussian_mlp(
            tasks.observation_size,
            tasks.action_size,
            hidden=dials["hidden"],
            log_std=dials["log_std"],
            head_scale=dials["head_scale"],
        )
    if dials["parameters"] == "head" and not policy.head:
        raise ValueError(
            f"{config.tasks} has a tabular policy, which has no head to adapt alone; "
            "use parameters='all' with another method than bomrl_head"
        )
    alg = make_alg(METHODS[config.method].alg, policy, {**dials, "gamma": tasks.gamma})
    device = torch.device("cuda" if gpu else "cpu")
    return SampledProblem(tasks, policy, alg, dials, tasks.gamma, tabular, device)


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
    tasks: NamedTuple,
    problem: SampledProblem,
    generator: torch.Generator,
    moments: Moments | None = None,
) -> Collected:
    """Let phi act, adapt, let the adapted policies act; moments are those so far."""
    d = problem.dials
    num_tasks = len(tasks[0])
    simulator = problem.simulator(tasks, d["num_episodes"], moments)
    generator = problem.acting(generator)
    # A copy: what an adaptation leaves alone must not follow phi, which is updated in place.
    start = {name: leaf.clone() for name, leaf in phi.items()}
    thetas, before, first = repeat(start, num_tasks), (), None
    for _ in range(d["num_steps"]):
        rollout = collect(simulator, problem.policy, thetas, generator)
        first = rollout if first is None else first
        before = (*before, problem.batch(rollout))
        thetas = vmap(lambda p, b: problem.alg(p, b).theta)(thetas, before[-1])
    assert first is not None
    rollout = collect(simulator, problem.policy, thetas, generator)
    seen = simulator.moments if isinstance(simulator, NormalisedSimulator) else None
    return Collected(
        before,
        problem.batch(rollout),
        thetas,
        returns_before=problem.returns(first),
        returns_after=problem.returns(rollout),
        moments=seen,
    )


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
    thetas, values = repeat(phi, len(tasks[0])), []
    for step in range(num_steps + 1):
        if step:
            alg = algs[step - 1] if algs else problem.alg
            batch = problem.batch(collect(train, problem.policy, thetas, generator))
            thetas = vmap(lambda p, b, alg=alg: alg(p, b).theta)(thetas, batch)
        values.append(problem.returns(collect(test, problem.policy, thetas, generator)))
    return torch.stack(values, dim=-1)
