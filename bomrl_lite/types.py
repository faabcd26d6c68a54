"""The shape legend, the records that cross ``vmap``, and the aliases.

Letters in shapes, the same everywhere:

    N  tasks in a batch          S  states
    B  episodes per task         A  discrete actions
    T  steps per episode         P  parameters, flattened
    O  size of an observation    K  size of a continuous action
    M  samples: B * T, flattened

A function that is written for ONE task carries no N in its shapes; ``torch.func.vmap`` adds it.
Records are NamedTuples because ``vmap`` takes and returns them; a plain dataclass it refuses.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, Literal, NamedTuple, Protocol, TypeVar, runtime_checkable

import torch
from jaxtyping import Bool, Float
from torch import Tensor

Params = dict[str, Tensor]
"""Parameters by name. Stacked parameters of N tasks carry a leading N on every leaf."""

Split = Literal["train", "test"]
"""Which part of a task distribution. The two share no task, but where ``Tasks.shared_tasks`` says
so: in families of very few tasks, and in some probes."""


class TabularTask(NamedTuple):
    """A finite Markov decision process; make one with :func:`bomrl_lite.mdp.tabular_task`."""

    transition: Float[Tensor, "*N S A S"]
    """P(s' | s, a); sums to 1 over the last axis."""
    reward: Float[Tensor, "*N S A"]
    """r(s, a): expected reward of the step that starts in s with action a."""
    start: Float[Tensor, "*N S"]
    """rho(s): distribution of the first state."""


@runtime_checkable
class StatePolicy(Protocol):
    """All that an adaptation and its distances ask of a policy, states being numbered.

    Two kinds of policies answer: :class:`TabularPolicy`, whose S states are those of the task, and
    :class:`bomrl_lite.policies.at_samples.PolicyAtSamples`, whose states are M samples.
    """

    @property
    def log_probs(self) -> Callable[[Params], Float[Tensor, "S A"]]:
        """Log pi(a | s); at samples A = 1, the action that was taken."""
        ...

    @property
    def divergence(self) -> Callable[[Params, Params], Float[Tensor, " S"]]:
        """KL(pi_first || pi_second) of every state over ALL actions, in nats."""
        ...


@dataclass(frozen=True)  # a NamedTuple's functions would pass for methods: no StatePolicy
class TabularPolicy:
    """A parametrised policy over finitely many states and actions."""

    init: Callable[[torch.Generator], Params]
    log_probs: Callable[[Params], Float[Tensor, "S A"]]
    """log pi(a | s) of every state and action."""
    divergence: Callable[[Params, Params], Float[Tensor, " S"]]
    """KL(pi_first || pi_second) of every state, in nats."""
    free_logits: bool = False
    """Whether the parameters are ``{"logits": [S, A]}``, free in every state: then the adaptation
    separates into one small problem per state, with a closed form for the KL distances."""


@runtime_checkable
class ActionDistribution(Protocol):
    """pi(. | s) of many observations at once: Gaussian or Categorical."""

    def sample(self, generator: torch.Generator) -> Tensor:
        """Draw one action per observation, [...] or [..., K]; records no gradient."""
        ...

    def log_prob(self, actions: Tensor) -> Tensor:
        """Return log pi(a | s), [...], summed over action dimensions: in nats."""
        ...

    def kl(self, other: Any) -> Tensor:
        """Return KL(self || other) per observation, [...], in nats; other is of the same kind."""
        ...

    def fisher_product(self, tangent: Any) -> Any:
        r"""Return the Fisher information in the distribution's own parameters, times a tangent."""
        ...


class Policy(NamedTuple):
    """A parametrised policy over observations: what collects data and is adapted to them."""

    init: Callable[[torch.Generator], Params]
    distribution: Callable[[Params, Tensor], ActionDistribution]
    """(parameters of ONE policy, observations [..., O]) -> pi(. | s) of each."""
    head: tuple[str, ...] = ()
    """Names of the parameters of the last, linear layer: all that head-only adaptation moves."""
    features: Callable[[Params, Tensor], Float[Tensor, "*M d"]] | None = None
    """(parameters, observations) -> what the head is linear in, with a constant 1 at the end."""
    of_features: Callable[[Params, Tensor], ActionDistribution] | None = None
    """(parameters, features) -> pi(. | s): the rest of ``distribution``."""


class Rollout(NamedTuple):
    """Episodes that one policy per task collected.

    Whatever stands where ``mask`` is 0 is padding and must not count.
    """

    observations: Tensor
    """[*N, B, T, O], or [*N, B, T] integers where states are numbered."""
    actions: Tensor
    """[*N, B, T, K], or [*N, B, T] integers where actions are numbered."""
    log_probs: Float[Tensor, "*N B T"]
    """log pi(a | s) of the policy that acted: numbers, without a gradient."""
    rewards: Float[Tensor, "*N B T"]
    mask: Float[Tensor, "*N B T"]
    """1 for a step that was taken, 0 after an episode's end."""
    final_observations: Tensor
    """[*N, B, O]: the observation after each episode's last step."""
    terminated: Bool[Tensor, "*N B"]
    """True: the episode ended by itself, nothing follows. False: it was cut off, and a value
    estimate may stand for what would have followed."""


@runtime_checkable
class Simulator(Protocol):
    """N tasks times B episodes that advance together."""

    horizon: int
    """T: no episode takes more steps."""

    def reset(self, generator: torch.Generator) -> Tensor:
        """Start all episodes anew and return their observations [N, B, O]."""
        ...

    def step(
        self, actions: Tensor, generator: torch.Generator
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Take actions [N, B, K]; return observations, rewards, terminated, truncated [N, B].

        An episode that is over may return anything: the caller ignores it.
        """
        ...


TaskBatch = TypeVar("TaskBatch", bound=tuple[Tensor, ...])
"""N tasks of one family: a record of tensors with a leading N, such as :class:`TabularTask`."""


@dataclass(frozen=True)
class Tasks(Generic[TaskBatch]):
    """P(Gamma): a seeded, unlimited supply of tasks with a held-out split, and their simulator.

    It never crosses ``vmap``, so it may be a dataclass, which can say what kind of tasks it holds.
    """

    name: str
    summary: str
    sample: Callable[[int, torch.Generator, Split], TaskBatch]
    """(number of tasks, generator, split) -> tasks, a record whose fields have a leading N."""
    simulator: Callable[[TaskBatch, int, int | None], Simulator]
    """(tasks, episodes per task, horizon or None for the family's own) -> their simulator."""
    gamma: float
    """Discount, in [0, 1]; below 1 where values are exact."""
    horizon: int
    """T of an episode unless another is asked for; exact values use the infinite horizon."""
    observation_size: int
    """O; 0 where states are numbered."""
    action_size: int
    """K, or the number of discrete actions A."""
    discrete: bool
    """Whether actions are numbered."""
    exact: bool = False
    """Whether tasks are tables, :class:`TabularTask`, whose values can be computed exactly."""
    normalise_observations: bool = False
    """Whether policies see observations in units of their running deviation."""
    shared_tasks: float = 0
    """How many tasks there are, where both splits draw from them all; infinite: more than anybody
    counted. 0: the splits share none."""


class SolveInfo(NamedTuple):
    """What a linear solver knows about its own answer; one value per system under ``vmap``."""

    residual: Float[Tensor, ""]
    """||b - A x|| / ||b||, recomputed from the answer; 0 for b = 0."""
    iterations: Tensor
    """Iterations that changed the answer (0 for a direct solve)."""
    curvature: Float[Tensor, ""]
    """Smallest curvature of A met; not positive means that A is not positive definite.

    Conjugate gradient and Neumann series: smallest <p, A p> / <p, p> of a direction or residual p,
    infinite if it never had to move. Dense solve:
    smallest eigenvalue of (A + A^T) / 2. Null-space-safe solve: smallest eigenvalue that was kept.
    """


class ControlInfo(NamedTuple):
    """What a dynamic-programming solver knows about its own answer."""

    residual: Float[Tensor, ""]
    """max_s |max_a Q(s, a) - V(s)|: 0 exactly when the policy is optimal."""


class InnerInfo(NamedTuple):
    """What the solver of an inner problem knows about its own answer theta."""

    stationarity: Float[Tensor, ""]
    r"""||\nabla_theta (L / lam - D^2)|| at theta, without unit; 0 where theta solves the problem.

    From a closed form: the largest slope in a probability instead, which is stricter."""
    iterations: Tensor
    """Iterations that changed the answer (0 for a closed form)."""
    curvature: Float[Tensor, ""]
    """Smallest curvature of D^2 - L / lam at theta, null space left out; a maximum has > 0."""
    distance: Float[Tensor, ""]
    """D^2(pi_phi, pi_theta)."""


class SolvedInfo(NamedTuple):
    """Whether a hypergradient may be believed; one value per task under ``vmap``.

    Of an explicit step, which leaves nothing to be solved: (0, inf, 0).
    """

    stationarity: Float[Tensor, "*N"]
    r"""||\nabla_theta F|| at the theta that was differentiated, F = L / lam - D^2; without unit.

    Adaptations on samples divide it by ||\nabla_theta F|| at phi: their L has a unit of its own."""
    curvature: Float[Tensor, "*N"]
    """Smallest curvature of -F that a linear solver met; must be positive."""
    residual: Float[Tensor, "*N"]
    """Relative residual of the adjoint linear system."""


class AdaptInfo(NamedTuple):
    """What is known about one task's adaptation: exact returns, and the state of its solution."""

    return_before: Float[Tensor, ""]
    return_after: Float[Tensor, ""]
    inner: SolvedInfo
    """Of an implicit hypergradient; that of an explicit step has nothing to solve (0, inf, 0)."""


MetaGradient = Callable[[Params, TabularTask], tuple[Params, AdaptInfo]]
"""(phi, one task) -> (ascent direction of phi, info)."""

Adaptation = Callable[[Params, TabularTask], Params]
"""Alg: (phi, one task) -> theta."""
