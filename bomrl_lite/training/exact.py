r"""Training on exact values: every task is solved, nothing is sampled but the tasks themselves."""

import math
import warnings
from dataclasses import dataclass
from functools import partial

import torch
from torch.func import vmap

from bomrl_lite.adaptation import meta_gradients
from bomrl_lite.adaptation.distances import DISTANCES
from bomrl_lite.adaptation.gradient import gradient_step
from bomrl_lite.adaptation.settings import Argmax, ConstrainedArgmax, GradientStep
from bomrl_lite.adaptation.solve import adapt_to_task
from bomrl_lite.adaptation.trust_region import adapt_to_task_in_trust_region
from bomrl_lite.policies.networks import tabular_softmax
from bomrl_lite.rollout.data import DATA_FUNCTIONS
from bomrl_lite.solvers.implicit import TOLERANCE, is_solved, require_solved
from bomrl_lite.solvers.linear import norm
from bomrl_lite.tasks import make_tasks, require_exact
from bomrl_lite.training.config import Config, ExactValues
from bomrl_lite.training.group import ALONE, Group
from bomrl_lite.training.outer import Ascent, OuterInfo
from bomrl_lite.training.run_folder import Row, require_finite
from bomrl_lite.training.state import MetaState
from bomrl_lite.training.streams import seeded
from bomrl_lite.types import (
    Adaptation,
    MetaGradient,
    Params,
    SolvedInfo,
    TabularPolicy,
    TabularTask,
    Tasks,
)

COLUMNS = (
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
WHOLE = ("iteration", "unsolved")
"""Columns of whole numbers."""


@dataclass(frozen=True)
class ExactProblem:
    """What a configuration with exact values stands for."""

    config: Config
    family: Tasks[TabularTask]
    policy: TabularPolicy
    training_tasks: TabularTask
    """All that training will see, [N, ...]."""
    meta_gradient: MetaGradient
    adaptation: Adaptation
    """The Alg that ``meta_gradient`` differentiates."""
    group: Group = ALONE
    """The processes that share the tasks of an iteration."""
    columns: tuple[str, ...] = COLUMNS
    whole: tuple[str, ...] = WHOLE

    @property
    def gamma(self) -> float:
        """Discount, in [0, 1)."""
        return self.family.gamma

    @property
    def sampling(self) -> ExactValues:
        """What the configuration says about exact values."""
        assert isinstance(self.config.sampling, ExactValues)
        return self.config.sampling

    @property
    def num_tasks(self) -> int:
        """N of one iteration."""
        return self.sampling.batch_tasks or self.config.num_tasks

    def start(self) -> tuple[Params, torch.Generator]:
        """Return the first phi, and the generator that training goes on with."""
        generator = seeded(self.config.seed, "training")
        return self.policy.init(generator), generator

    def moments(self) -> None:
        """Tables have no observations to normalise."""

    def draw(self, generator: torch.Generator) -> TabularTask:
        """Return the tasks of one iteration: of several processes, one's own."""
        count = self.sampling.batch_tasks
        if count is None:
            return self.group.own(self.training_tasks)
        chosen = torch.randperm(self.config.num_tasks, generator=generator)[:count]
        return self.group.own(TabularTask(*(field[chosen] for field in self.training_tasks)))


NO_GRADIENT = 1e-12
"""A meta-gradient of this norm or less moves nothing: Adam divides by no less than 1e-8."""

_FLAT = (
    f"no task's meta-gradient has a norm above {NO_GRADIENT:g}, so phi stays as it is: no reward "
    "differs, or the adapted policies choose one action for sure, as after too long a step; use a "
    "smaller step_size, or a larger lam"
)

_ADVICE = "use a smaller step_size or learning_rate"


class ExactObjective:
    r"""mean_tau J_tau(Alg(phi)) of one iteration's tasks, as a function of phi."""

    def __init__(self, problem: ExactProblem, tasks: TabularTask, iteration: int) -> None:
        self.problem, self.tasks, self.iteration = problem, tasks, iteration

    def gradient(self, phi: Params) -> Ascent:
        """Return the mean of the tasks' meta-gradients; no policy moves before the update.

        It warns where no task's is above :data:`NO_GRADIENT`. From episodes that is no fault: none
        may have met a reward yet.

        Raises:
            UnsolvedInnerProblem: an inner problem is not solved, unless the configuration takes
                approximate ones.
            FloatingPointError: phi, the meta-gradient or a return is not finite.
        """
        if not all(bool(leaf.isfinite().all()) for leaf in phi.values()):
            raise FloatingPointError(f"phi is not finite: training diverged; {_ADVICE}")
        per_task, info = vmap(self.problem.meta_gradient, in_dims=(None, 0))(phi, self.tasks)
        group, num_tasks = self.problem.group, self.problem.num_tasks
        own = (*info.inner, vmap(norm)(per_task), info.return_before, info.return_after)
        *inner, sizes, before, after = group.gather(own, num_tasks)
        inner = SolvedInfo(*inner)
        if self.problem.sampling.unsolved == "raise":
            require_solved(inner)
        if sizes.max() <= NO_GRADIENT:
            warnings.warn(_FLAT, stacklevel=2)
        gradient = group.mean({name: leaf.mean(0) for name, leaf in per_task.items()}, num_tasks)
        returns = (before.mean().item(), after.mean().item())
        figures = {**_named(returns), "gradient_norm": norm(gradient).item()}
        require_finite({"iteration": float(self.iteration), **figures}, figures, _ADVICE)
        return Ascent(gradient, lambda: torch.zeros((), dtype=torch.float64), inner, returns)

    def finish(self, state: MetaState, update: OuterInfo) -> Row:
        """Return the row of the history; with exact values nothing else in the state adapts."""
        assert update.returns is not None
        return {
            "iteration": float(state.iteration),
            **_named(update.returns),
            "gradient_norm": update.gradient_norm,
            "stationarity": update.info.stationarity.max().item(),
            "residual": update.info.residual.max().item(),
            "unsolved": float((~is_solved(update.info)).sum()),
        }


def _named(returns: tuple[float, float]) -> Row:
    return {"return_before": returns[0], "return_after": returns[1]}


def exact_problem(config: Config) -> ExactProblem:
    """Draw the training tasks and bind the method's settings."""
    family = require_exact(make_tasks(config.tasks))
    tasks = family.sample(config.num_tasks, seeded(config.seed, "tasks"), "train")
    policy = tabular_softmax(*tasks.reward.shape[-2:])
    meta_gradient, adaptation = bind_method(config, policy, family.gamma)
    return ExactProblem(config, family, policy, tasks, meta_gradient, adaptation)


def bind_method(
    config: Config, policy: TabularPolicy, gamma: float
) -> tuple[MetaGradient, Adaptation]:
    """Return a method's meta-gradient of one task, and its Alg.

    Raises:
        ValueError: an Alg that has no exact form.
    """
    match config.alg:
        case GradientStep(step_size=step_size):
            functions = {
                "none": meta_gradients.joint,
                "identity": meta_gradients.first_order_maml,
                "full": meta_gradients.maml,
            }
            function = functions[config.data]
            return (
                partial(function, policy=policy, gamma=gamma, step_size=step_size),
                partial(gradient_step, policy=policy, gamma=gamma, step_size=step_size),
            )
        case Argmax():
            return _argmax(config, config.alg, policy, gamma)
        case ConstrainedArgmax(distance=name, delta=delta):
            distance = DISTANCES[name]
            hypergradient = partial(
                meta_gradients.bomrl_trust_region,
                policy=policy,
                gamma=gamma,
                distance=distance,
                delta=delta,
                data=DATA_FUNCTIONS[config.data],
                tolerance=_tolerance(config),
            )
            return hypergradient, partial(
                adapt_to_task_in_trust_region,
                policy=policy,
                gamma=gamma,
                distance=distance,
                delta=delta,
            )
        case _:
            raise ValueError(f"{type(config.alg).__name__} adapts to episodes, not to exact values")


def _argmax(
    config: Config, settings: Argmax, policy: TabularPolicy, gamma: float
) -> tuple[MetaGradient, Adaptation]:
    distance, lam = DISTANCES[settings.distance], settings.lam
    alg = partial(adapt_to_task, policy=policy, gamma=gamma, distance=distance, lam=lam)
    if config.data == "identity":
        first_order = meta_gradients.first_order_bomrl
        return partial(first_order, policy=policy, gamma=gamma, distance=distance, lam=lam), alg
    hypergradient = partial(
        meta_gradients.bomrl,
        policy=policy,
        gamma=gamma,
        distance=distance,
        lam=lam,
        data=DATA_FUNCTIONS[config.data],
        tolerance=_tolerance(config),
    )
    return hypergradient, alg


def _tolerance(config: Config) -> float:
    """Return up to which an inner problem counts as solved."""
    lenient = isinstance(config.sampling, ExactValues) and config.sampling.unsolved != "raise"
    return math.inf if lenient else TOLERANCE
