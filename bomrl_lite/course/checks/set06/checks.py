"""Exercise set 06: rewards, batches of tasks, moments, adaptation on collected data, cost.

Everything is a plain tensor, in float64: N tasks, B episodes, T steps; simulations are numbered
task by task.
"""

import numpy as np
import torch
from torch import Tensor
from torch.func import vmap

from bomrl_lite.adaptation.head import head_adaptation
from bomrl_lite.course.checks.engine import Attempt, Check, Step, Wrong, error_of
from bomrl_lite.course.checks.set06 import questions, slips
from bomrl_lite.course.checks.steps import OPENING, VALUES
from bomrl_lite.policies.at_samples import PolicyAtSamples
from bomrl_lite.policies.distributions import Gaussian
from bomrl_lite.rollout.data import OneTimeData
from bomrl_lite.rollout.observations import Moments
from bomrl_lite.rollout.observations import update_moments as package_moments
from bomrl_lite.rollout.returns import discounted_sums
from bomrl_lite.tasks import robot_goals
from bomrl_lite.types import Params, Policy

FAR_TOLERANCE = 1e-6
"""Relative error of squared deviations around a mean that is a million times larger."""


# Steps.


def _runs(attempt: Attempt) -> None:
    """Call the function, and know three more errors of torch."""
    try:
        OPENING[0].run(attempt)
    except Wrong as wrong:
        known = {"singular": slips.SINGULAR}
        if attempt.name == "speed_reward":
            known["must match the size"] = slips.BROADCAST
        if attempt.name == "deal":
            known["out of bounds"] = slips.PAST_THE_TASKS
        causes = [cause for text, cause in known.items() if text in wrong.message]
        raise Wrong(wrong.message, next(iter(causes), wrong.cause)) from None


def _junk_after_the_end(attempt: Attempt) -> None:
    for question, answer in attempt.answers():
        rewards, over = question.args
        later = over.cumsum(-1) - over > 0
        _must_not_move(attempt, question.label, answer, rewards.where(~later, torch.nan), over)


def _junk_in_padding(attempt: Attempt) -> None:
    for question, answer in attempt.answers():
        moments, observations, mask = question.args
        junk = observations.where(mask[..., None] > 0, torch.nan)
        _must_not_move(attempt, question.label, answer, moments, junk, mask)


def _must_not_move(attempt: Attempt, label: str, answer: np.ndarray, *args: Tensor) -> None:
    again = attempt.call(*args).detach().numpy()
    if not error_of(again, answer) <= attempt.tolerance:
        raise Wrong(
            f"{label}: with nan where nothing counts, the answer changed from "
            f"{np.round(answer, 6).tolist()} to {np.round(again, 6).tolist()}",
            slips.POISON if np.isnan(again).any() else None,
        )


def _far_from_zero(attempt: Attempt) -> None:
    for portion, expected in questions.far_portions():
        answer = attempt.call(*questions.portion_args(portion)).detach().numpy()
        error = float(np.max(np.abs(answer[2] / expected[2] - 1)))
        if not error <= FAR_TOLERANCE:
            raise Wrong(
                "observations of spread 1 around a million: expected sums of squared deviations "
                f"{np.round(expected[2], 6).tolist()}, got {np.round(answer[2], 6).tolist()}",
                "sums of squares lose their digits when two large numbers are subtracted: square "
                "deviations from the mean, and add the shift between the two means",
            )


# References: the package's functions in the exercises' signatures. They are never oracles.


def _speed_reward(
    before: Tensor, after: Tensor, actions: Tensor, speeds: Tensor, step_seconds: float
) -> Tensor:
    velocity = ((after - before) / step_seconds).unsqueeze(-1)
    return robot_goals.speed_reward(velocity, actions, robot_goals.Speeds(speeds), effort=0.05)


def _observe(qpos: Tensor, qvel: Tensor, num_tasks: int) -> Tensor:
    """Do what locomotion.observe does, in double precision."""
    return torch.cat([qpos[:, 1:], qvel], dim=-1).unflatten(0, (num_tasks, -1))


def _deal(values: Tensor, num_episodes: int) -> Tensor:
    return values.repeat_interleave(num_episodes, 0)


def _mean_returns(rewards: Tensor, over: Tensor) -> Tensor:
    """Do what rollout.collect and discounted returns with gamma = 1 do."""
    alive = torch.ones_like(over[..., 0], dtype=torch.bool)
    paid = []
    for reward, ends in zip(rewards.unbind(-1), over.unbind(-1), strict=True):
        paid.append(torch.where(alive, reward, 0.0))
        alive = alive & (ends == 0)
    return discounted_sums(torch.stack(paid, -1), 1.0)[..., 0].mean(-1)


def _update_moments(moments: Tensor, observations: Tensor, mask: Tensor) -> Tensor:
    known = Moments(moments[0, 0], moments[1], moments[2])
    shown = torch.where(mask.unsqueeze(-1) > 0, observations, 0.0)
    count, mean, squares = package_moments(known, shown, mask)
    return torch.stack([count.expand_as(mean), mean, squares])


def _adapt_head(
    weights: Tensor,
    features: Tensor,
    actions: Tensor,
    advantages: Tensor,
    lam: float,
    ridge: float,
) -> Tensor:
    def of_features(params: Params, h: Tensor) -> Gaussian:
        mean = h @ torch.cat([params["weight"], params["bias"].unsqueeze(-1)], -1).mT
        return Gaussian(mean, torch.zeros_like(mean))

    policy = Policy(
        init=lambda _: {},
        distribution=of_features,
        head=("weight", "bias"),
        features=lambda _, h: h,
        of_features=of_features,
    )

    def one(w: Tensor, h: Tensor, a: Tensor, better: Tensor) -> Tensor:
        phi = {"weight": w[:, :-1], "bias": w[:, -1]}
        share = torch.full_like(better, 1 / len(better))
        old = of_features(phi, h).log_prob(a).unsqueeze(-1)
        ones = torch.ones_like(old)
        data = OneTimeData(share, ones, old, better.unsqueeze(-1))
        seen = PolicyAtSamples(policy, h, a)
        theta = head_adaptation(phi, lambda _: data, policy=seen, lam=lam, ridge=ridge).theta
        return torch.cat([theta["weight"], theta["bias"].unsqueeze(-1)], -1)

    return vmap(one)(weights, features, actions, advantages)


def _speed_up(seconds: Tensor, factors: Tensor) -> Tensor:
    return seconds.sum() / (seconds / factors).sum(-1)


def _returns_at_budget(returns: Tensor, episodes: Tensor, horizon: int, budget: int) -> Tensor:
    paid = (episodes.cumsum(-1) * horizon <= budget).sum(-1)
    return returns[torch.arange(len(returns)), paid]


_OPENING = (Step("runs", _runs), *OPENING[1:])

speed_reward = Check(
    "6.1",
    "speed_reward",
    _speed_reward,
    questions.speed_reward,
    (*_OPENING, *VALUES),
    points={"random values": 2},
)
observe = Check(
    "6.2",
    "observe",
    _observe,
    questions.observe,
    (*OPENING, *VALUES),
    points={"random values": 2},
)
deal = Check(
    "6.3",
    "deal",
    _deal,
    questions.deal,
    (*_OPENING, *VALUES),
    points={"random values": 2},
)
mean_returns = Check(
    "6.4",
    "mean_returns",
    _mean_returns,
    questions.mean_returns,
    (*OPENING, *VALUES, Step("anything after the end", _junk_after_the_end)),
    points={"random values": 1, "anything after the end": 1},
)
update_moments = Check(
    "6.5",
    "update_moments",
    _update_moments,
    questions.update_moments,
    (
        *OPENING,
        *VALUES,
        Step("anything in padding", _junk_in_padding),
        Step("far from zero", _far_from_zero),
    ),
    points={"random values": 2, "anything in padding": 1, "far from zero": 1},
)
adapt_head = Check(
    "6.6",
    "adapt_head",
    _adapt_head,
    questions.adapt_head,
    (*_OPENING, *VALUES),
    points={"random values": 3},
)
speed_up = Check(
    "6.7",
    "speed_up",
    _speed_up,
    questions.speed_up,
    (*OPENING, *VALUES),
    points={"random values": 2},
)
returns_at_budget = Check(
    "6.8",
    "returns_at_budget",
    _returns_at_budget,
    questions.returns_at_budget,
    (*OPENING, *VALUES),
    points={"random values": 2},
)

CHECKS = (
    speed_reward,
    observe,
    deal,
    mean_returns,
    update_moments,
    adapt_head,
    speed_up,
    returns_at_budget,
)
"""In the order of the exercises."""
