r"""The outer objective of one iteration's episodes as functions of phi, and its diagnostics."""

from collections.abc import Callable
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
    worst,
)
from bomrl_lite.methods import METHODS, make_alg
from bomrl_lite.rollout.data import SampleBatch
from bomrl_lite.solvers.implicit import UnsolvedInnerProblem, is_solved
from bomrl_lite.solvers.linear import add_scaled, norm
from bomrl_lite.training.run_folder import Row
from bomrl_lite.training.sampled_problem import Batches, Collected, SampledProblem
from bomrl_lite.types import ActionDistribution, Params, SolvedInfo

SOLVED = 2e-2
"""Relative stationarity and residual up to which a task's hypergradient takes part in an update."""


class Objective:
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
        zero = torch.zeros_like(returns)
        self.info = SolvedInfo(zero, torch.full_like(zero, torch.inf), zero)

    def gradient(self, phi: Params) -> tuple[Params, Callable[[], Tensor]]:
        """Return the ascent direction, averaged over the tasks whose inner problem is solved.

        And a function for the divergence of the adapted policies from those that collected.
        """
        gradients, thetas, info = self.per_task(phi, self.problem.alg)
        self.info = worst([self.info, info])
        use = is_solved(info, SOLVED)
        if not bool(use.any()):
            raise UnsolvedInnerProblem(
                f"none of the {len(use)} inner problems is solved: best stationarity "
                f"{info.stationarity.min():.2g}, largest curvature {info.curvature.max():.2g}, "
                f"best residual {info.residual.min():.2g}. Use a larger lam or ridge, or more "
                "inner_iterations or cg_iterations"
            )
        mean = {
            name: leaf.where(use.reshape(-1, *(1,) * (leaf.ndim - 1)), 0.0).sum(0) / use.sum()
            for name, leaf in gradients.items()
        }
        if self.kl_penalty > 0:
            away = grad(self._divergence_before)(phi, self._acted)
            mean = add_scaled(mean, -self.kl_penalty, away)

        def moved() -> Tensor:
            away = vmap(partial(mean_divergence, policy=self.problem.policy))
            return away(self.episodes.thetas, thetas, self.episodes.after).mean()

        return mean, moved

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
                score=score if self.problem.dials["credit"] else 0.0,
                policy=self.problem.policy,
            )

        return vmap(one)(self.episodes.before, self.episodes.after, self.scores)

    @property
    def value_at_old(self) -> Tensor:
        """The outer objective where the episodes were collected: all ratios are 1."""
        after = self.episodes.after
        return (after.weights * after.advantages).sum((-1, -2)).mean()

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

        def one(b: Batches, a: SampleBatch, old: Params) -> Params:
            def away(theta: Params, batch: SampleBatch) -> Tensor:
                return mean_divergence(old, theta, batch, policy=policy)

            return sampled_meta_gradient(phi, b, a, alg=alg, outer=away, policy=policy)[0]

        gradients = vmap(one)(*self._part)
        return {name: leaf.mean(0) for name, leaf in gradients.items()}

    @cached_property
    def _part(self) -> tuple[Batches, SampleBatch, Params]:
        """Every fourth episode, and what the old phi adapts to on these."""
        before = tuple(every_fourth(b) for b in self.episodes.before)
        after = every_fourth(self.episodes.after)
        alg = self.problem.alg
        return before, after, vmap(lambda b: adapted(self.old, b, alg=alg))(before)

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


DIAGNOSED = ("shuffled_distance", "norm_direct", "norm_curvature", "norm_q", "norm_nu")
"""Costly diagnostics: D1^2 of an adaptation to shuffled advantages, which is noise; and the norms
of the meta-gradient's terms: d theta / d phi = I, what the frozen rung adds, grad Q, grad nu."""


def diagnose(
    phi: Params,
    episodes: Collected,
    problem: SampledProblem,
    objective: Objective,
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
        gradients, _, _ = objective.per_task(phi, make_alg(name, problem.policy, dials))
        parts.append({key: leaf.mean(0) for key, leaf in gradients.items()})
        result[f"norm_{column}"] = norm(add_scaled(parts[-1], -1.0, parts[-2])).item()
    return result


def _shuffled(batch: SampleBatch, generator: torch.Generator) -> SampleBatch:
    """Deal the advantages of each task out anew, so that they say nothing; padding stays."""
    values, padding = batch.advantages.flatten(1), batch.weights.flatten(1) == 0
    draws = torch.rand(values.shape, generator=generator).to(values).masked_fill(padding, 2.0)
    places = torch.argsort(padding.to(torch.int8), dim=1, stable=True)
    mixed = torch.zeros_like(values).scatter(1, places, values.gather(1, draws.argsort(1)))
    return batch._replace(advantages=mixed.reshape(batch.advantages.shape))


def every_fourth(batch: SampleBatch) -> SampleBatch:
    """Keep every fourth episode of each task: enough for a divergence."""
    part = SampleBatch(*(field[:, ::4] for field in batch))
    return part._replace(weights=part.weights / part.weights.sum((-1, -2), keepdim=True))
