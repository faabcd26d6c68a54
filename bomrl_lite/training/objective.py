r"""The outer objective of one iteration's episodes as functions of phi, and its diagnostics."""

import math
from collections.abc import Iterable
from functools import cached_property, partial

import torch
from torch import Tensor
from torch.func import grad, vmap

from bomrl_lite.adaptation.episodes import (
    Alg,
    adapted,
    mean_divergence,
    ratio_objective,
    sampled_meta_gradient,
)
from bomrl_lite.adaptation.settings import Rung
from bomrl_lite.policies.draws import drawn
from bomrl_lite.rollout.collect import repeat
from bomrl_lite.rollout.data import SampleBatch
from bomrl_lite.solvers.implicit import is_solved
from bomrl_lite.solvers.linear import add_scaled, norm
from bomrl_lite.training.episodes import (
    Batches,
    Collected,
    EpisodesProblem,
    adapt_all,
    collect_all,
)
from bomrl_lite.training.outer import Ascent, OuterInfo
from bomrl_lite.training.over_tasks import over_tasks
from bomrl_lite.training.run_folder import Row, require_finite
from bomrl_lite.training.state import MetaState
from bomrl_lite.training.streams import seeded
from bomrl_lite.types import ActionDistribution, Params, Policy, SolvedInfo

SOLVED = 2e-2
"""Relative stationarity and residual up to which a task's hypergradient takes part in an update."""
DIAGNOSED = ("shuffled_distance", "norm_direct", "norm_curvature", "norm_q", "norm_nu")
"""Costly diagnostics: D1^2 of an adaptation to shuffled advantages, which is noise; and the norms
of the meta-gradient's terms: d theta / d phi = I, what the frozen rung adds, grad Q, grad nu."""


def collect_objective(problem: EpisodesProblem, state: MetaState) -> "EpisodesObjective":
    """Let phi collect, adapt, let the adapted policies collect; the moments of the state go on."""
    tasks = problem.draw(state.generator)
    episodes = collect_all(state.phi, tasks, problem, state.generator, state.moments)
    state.moments = episodes.moments
    old = {name: leaf.clone() for name, leaf in state.phi.items()}
    return EpisodesObjective(problem, episodes, old, state.kl_penalty)


class EpisodesObjective:
    """The outer objective of one iteration's episodes as functions of phi."""

    def __init__(
        self, problem: EpisodesProblem, episodes: Collected, old: Params, kl_penalty: float
    ) -> None:
        self.problem, self.episodes, self.old = problem, episodes, old
        self.kl_penalty = kl_penalty
        clip = getattr(problem.config.outer, "clip", 0.0) or None
        self.outer = partial(ratio_objective, policy=problem.policy, clip=clip)
        own = episodes.returns_after
        self.returns_before, returns = self._of_all([episodes.returns_before, own])
        self.returns_after = returns
        spread = returns.std(correction=0) + 1e-8
        self.scores = problem.estimator.credit * (own - returns.mean()) / spread

    def _of_all(self, columns: Iterable[Tensor]) -> list[Tensor]:
        """Return of all tasks, [N] each, what this process has of its own."""
        return self.problem.group.gather(columns, self.problem.num_tasks)

    def _mean(self, per_task: Params) -> Params:
        """Return the mean over all tasks of what has a row for each of one's own."""
        means = {name: leaf.mean(0) for name, leaf in per_task.items()}
        return self.problem.group.mean(means, self.problem.num_tasks)

    def gradient(self, phi: Params) -> Ascent:
        """Return the ascent direction, averaged over the tasks whose inner problem is solved.

        Raises:
            ArithmeticError: no task's is.
        """
        gradients, thetas, own = self.per_task(phi, self.problem.alg)
        info, usable = SolvedInfo(*self._of_all(own)), is_solved(own, SOLVED)
        use = is_solved(info, SOLVED)
        if not bool(use.any()):
            raise ArithmeticError(
                f"none of the {len(use)} inner problems is solved: best stationarity "
                f"{info.stationarity.min():.2g}, largest curvature {info.curvature.max():.2g}, "
                f"best residual {info.residual.min():.2g}. Use a larger lam or ridge, or more "
                "inner_iterations or cg_iterations"
            )
        sums = {
            name: leaf.where(usable.reshape(-1, *(1,) * (leaf.ndim - 1)), 0.0).sum(0)
            for name, leaf in gradients.items()
        }
        group, num_tasks = self.problem.group, self.problem.num_tasks
        mean = {name: leaf / use.sum() for name, leaf in group.sum(sums).items()}
        if self.kl_penalty > 0:
            away = group.mean(grad(self._divergence_before)(phi, self._acted), num_tasks)
            mean = add_scaled(mean, -self.kl_penalty, away)

        def moved() -> Tensor:
            away, after = partial(mean_divergence, policy=self.problem.policy), self.episodes.after
            old = self.episodes.thetas
            (far,) = self._of_all([over_tasks(away, old, thetas, after, samples=after.weights)])
            return far.mean()

        return Ascent(mean, moved, info)

    def per_task(self, phi: Params, alg: Alg) -> tuple[Params, Params, SolvedInfo]:
        """Return every task's ascent direction, adapted parameters and info, with a leading N."""

        def one(
            before: Batches, after: SampleBatch, score: Tensor
        ) -> tuple[Params, Params, SolvedInfo]:
            return sampled_meta_gradient(
                phi,
                before,
                after,
                alg=alg,
                outer=self.outer,
                score=score if self.problem.estimator.credit else None,
                policy=self.problem.policy,
            )

        episodes = self.episodes
        return over_tasks(
            one, episodes.before, episodes.after, self.scores, samples=episodes.after.weights
        )

    @property
    def value_at_old(self) -> Tensor:
        """The outer objective where the episodes were collected: all ratios are 1; a scalar."""
        after = self.episodes.after
        (values,) = self._of_all([(after.weights * after.advantages).sum((-1, -2))])
        return values.mean()

    def value(self, phi: Params) -> tuple[Tensor, Tensor]:
        """Return the outer objective and the divergence of the adapted policies, both scalar."""
        policy, alg = self.problem.policy, self.problem.alg

        def one(before: Batches, after: SampleBatch, old: Params) -> tuple[Tensor, Tensor]:
            theta = adapted(phi, before, alg=alg)
            return self.outer(theta, after), mean_divergence(old, theta, after, policy=policy)

        episodes = self.episodes
        values, divergences = self._of_all(
            over_tasks(
                one,
                episodes.before,
                episodes.after,
                episodes.thetas,
                samples=episodes.after.weights,
            )
        )
        return values.mean(), divergences.mean()

    def divergence_gradient(self, phi: Params) -> Params:
        """Return the gradient of the adapted policies' divergence, on every fourth episode."""
        policy, alg = self.problem.policy, self.problem.alg

        def one(b: Batches, a: SampleBatch, old: Params) -> Params:
            def away(theta: Params, batch: SampleBatch) -> Tensor:
                return mean_divergence(old, theta, batch, policy=policy)

            return sampled_meta_gradient(phi, b, a, alg=alg, outer=away, policy=policy)[0]

        return self._mean(over_tasks(one, *self._part, samples=self._part[1].weights))

    def diagnose(self, generator: torch.Generator) -> Row:
        """Measure the adaptation's noise floor and the meta-gradient's terms, at the old phi."""
        phi = self.old
        shuffled = _shuffled(self.episodes.before[0], generator)
        thetas = adapt_all(self.problem.alg, repeat(phi, len(self.scores)), shuffled)
        noise = vmap(partial(mean_divergence, policy=self.problem.policy), in_dims=(None, 0, 0))
        (distance,) = self._of_all([noise(phi, thetas, shuffled)])
        result = {"shuffled_distance": distance.mean().item()}
        direct = vmap(grad(self.outer))(self.episodes.thetas, self.episodes.after)
        parts = [self._mean(direct)]
        result["norm_direct"] = norm(parts[0]).item()
        rungs: dict[str, Rung] = {"curvature": "frozen", "q": "q_gradient", "nu": "full"}
        for column, rung in rungs.items():
            alg = self.problem.alg_of(self.problem.config.alg, rung)
            gradients, _, _ = self.per_task(phi, alg)
            parts.append(self._mean(gradients))
            result[f"norm_{column}"] = norm(add_scaled(parts[-1], -1.0, parts[-2])).item()
        return result

    def finish(self, state: MetaState, update: OuterInfo) -> Row:
        """Return the row of the history, and adapt the penalty.

        Args:
            state: after the update.
            update: what the update did.

        Raises:
            FloatingPointError: a figure is not finite.
        """
        episodes, info = self.episodes, update.info
        policy = self.problem.policy
        own = (
            _first_divergences(self.old, state.phi, episodes.before[0], policy),
            _inner_distances(self.old, episodes, policy),
        )
        moved, distance = (figure.mean().item() for figure in self._of_all(own))
        state.kl_penalty = _tuned_penalty(state.kl_penalty, self.problem, moved)
        row = {
            "iteration": float(state.iteration),
            "return_before": self.returns_before.mean().item(),
            "return_after": self.returns_after.mean().item(),
            "gradient_norm": update.gradient_norm,
            "stationarity": info.stationarity.max().item(),
            "curvature": info.curvature.min().item(),
            "negative_curvature": (info.curvature <= 0).float().mean().item(),
            "residual": info.residual.max().item(),
            "unsolved": float((~is_solved(info, SOLVED)).sum()),
            "distance": distance,
            "updates": float(update.updates),
            "outer_divergence": update.divergence,
            "outer_residual": update.residual,
            "divergence_before": moved,
            **self._diagnosed(state.iteration),
        }
        require_finite(
            row,
            ("return_before", "return_after", "gradient_norm", "distance", "outer_divergence"),
            "use a smaller learning_rate, step_size, body_step, delta or max_kl, or a larger "
            "lam or ridge",
        )
        return row

    def _diagnosed(self, iteration: int) -> Row:
        """Return the costly diagnostics where this iteration measures them, else nan for each."""
        if iteration % self.problem.sampling.diagnose_every:
            return dict.fromkeys(DIAGNOSED, math.nan)
        problem = self.problem
        generator = seeded(problem.config.seed, "diagnosis")  # the same shuffle every time
        return self.diagnose(problem.group.generator(generator, problem.num_tasks))

    @cached_property
    def _part(self) -> tuple[Batches, SampleBatch, Params]:
        """Every fourth episode, and what the old phi adapts to on these."""
        before = tuple(every_fourth(b) for b in self.episodes.before)
        after = every_fourth(self.episodes.after)
        alg = self.problem.alg
        return before, after, vmap(partial(adapted, self.old, alg=alg))(before)

    @cached_property
    def _acted(self) -> ActionDistribution:
        """pi_old(. | s) at the first episodes, [N, M, ...]: the same for every phi."""
        seen = self.episodes.before[0].observations.flatten(1, 2)
        return vmap(partial(self.problem.policy.distribution, self.old))(seen)

    def _divergence_before(self, phi: Params, acted: ActionDistribution) -> Tensor:
        def one(batch: SampleBatch, there: ActionDistribution) -> Tensor:
            here = self.problem.policy.distribution(phi, batch.observations.flatten(0, 1))
            return batch.weights.flatten() @ there.kl(here)

        return vmap(one)(self.episodes.before[0], acted).mean()


def _inner_distances(phi: Params, episodes: Collected, policy: Policy) -> Tensor:
    """Return D1^2 of each task's adaptation, [N]."""

    def one(theta: Params, batch: SampleBatch) -> Tensor:
        return mean_divergence(phi, theta, batch, policy=policy)

    return vmap(one)(episodes.thetas, every_fourth(episodes.before[0]))


def _first_divergences(old: Params, new: Params, batch: SampleBatch, policy: Policy) -> Tensor:
    """Return KL(pi_old || pi_new) before adaptation, [N]."""
    return vmap(partial(mean_divergence, old, new, policy=policy))(every_fourth(batch))


def _tuned_penalty(penalty: float, problem: EpisodesProblem, divergence: float) -> float:
    """Double or halve the KL penalty outside 1.5 times its target (1707.06347, section 4)."""
    target = getattr(problem.config.outer, "kl_target", 0.0)
    if target > 0 and divergence > 1.5 * target:
        return penalty * 2
    if target > 0 and divergence < target / 1.5:
        return penalty / 2
    return penalty


def _shuffled(batch: SampleBatch, generator: torch.Generator) -> SampleBatch:
    """Deal the advantages of each task out anew, so that they say nothing; padding stays."""
    values, padding = batch.advantages.flatten(1), batch.weights.flatten(1) == 0
    draws = drawn(torch.rand, values.shape, generator, dtype=torch.float32)
    draws = draws.to(values).masked_fill(padding, 2.0)
    places = torch.argsort(padding.to(torch.int8), dim=1, stable=True)
    mixed = torch.zeros_like(values).scatter(1, places, values.gather(1, draws.argsort(1)))
    return batch._replace(advantages=mixed.reshape(batch.advantages.shape))


def every_fourth(batch: SampleBatch) -> SampleBatch:
    """Keep every fourth episode of each task: enough for a divergence."""
    part = SampleBatch(*(field[:, ::4] for field in batch))
    return part._replace(weights=part.weights / part.weights.sum((-1, -2), keepdim=True))
