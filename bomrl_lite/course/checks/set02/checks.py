"""Exercise set 02: returns and advantages of episodes, the objectives of LVC, DiCE, E-MAML, ProMP.

Episodes are tables [B, T] of numbers, ``log_probs`` those of log pi_phi(a_t | s_t), which record a
gradient; at padding they are 0.
"""

import torch
from torch import Tensor

from bomrl_lite.course.checks.engine import Check, Step
from bomrl_lite.course.checks.set02 import questions, slips, steps
from bomrl_lite.course.checks.steps import OPENING, VALUES, differentiable, property_step
from bomrl_lite.policies.distributions import Categorical
from bomrl_lite.rollout import returns as package
from bomrl_lite.types import Rollout

# References: the package's functions in the exercises' signatures. They are never oracles.


def _rollout(rewards: Tensor, mask: Tensor, terminated: Tensor) -> Rollout:
    nowhere = torch.zeros_like(mask, dtype=torch.int64)
    return Rollout(nowhere, nowhere, 0 * mask, rewards, mask, nowhere[..., 0], terminated.bool())


def _discounted_returns(
    rewards: Tensor, mask: Tensor, terminated: Tensor, final_values: Tensor, gamma: float
) -> Tensor:
    rollout = _rollout(rewards, mask, terminated)
    return package.discounted_returns(rollout, gamma, final_values=final_values)


def _generalised_advantages(
    rewards: Tensor,
    mask: Tensor,
    terminated: Tensor,
    values: Tensor,
    final_values: Tensor,
    gamma: float,
    trace: float,
) -> Tensor:
    rollout = _rollout(rewards, mask, terminated)
    return package.generalised_advantages(rollout, values, final_values, gamma=gamma, trace=trace)


def _lvc_objective(log_probs: Tensor, returns: Tensor, weights: Tensor, gamma: float) -> Tensor:
    gains = package.magic_box(log_probs) * returns
    return weights @ package.discounted_sums(gains, gamma)[:, 0]


def _dice_objective(log_probs: Tensor, rewards: Tensor, weights: Tensor, gamma: float) -> Tensor:
    shares = len(weights) * weights[:, None]  # the package's is a plain mean over episodes
    return package.dice_objective(log_probs, shares * rewards, gamma=gamma)


def _q_gradient(scores: Tensor, credit: Tensor, gamma: float, trace: float) -> Tensor:
    gained = (scores * credit.unsqueeze(-1)).mT
    return package.discounted_sums(gained, gamma * trace, start=1).mT


def _hessian_split(
    scores: Tensor, curvatures: Tensor, returns: Tensor, weights: Tensor, gamma: float
) -> Tensor:
    def total(each: Tensor) -> Tensor:
        sums = package.discounted_sums(each.movedim(1, -1), gamma)[..., 0]
        return torch.tensordot(weights, sums, dims=1)

    columns, rows = scores.unsqueeze(-1), scores.unsqueeze(-2)
    gained = returns[..., None, None]
    later = _q_gradient(scores, returns, gamma, 1.0).unsqueeze(-2)
    terms = gained * columns * rows, gained * curvatures, columns * later
    return torch.stack([total(each) for each in terms])


def _e_maml_objective(log_probs: Tensor, after: Tensor, weights: Tensor) -> Tensor:
    return weights @ (package.magic_box(log_probs.sum((-1, -2))) * after)


def _promp_objective(
    log_probs: Tensor,
    old_log_probs: Tensor,
    advantages: Tensor,
    prior: Tensor,
    old_prior: Tensor,
    clip: float,
    penalty: float,
) -> Tensor:
    ratio = (log_probs - old_log_probs).exp()
    limited = ratio.clamp(1 - clip, 1 + clip) * advantages
    divergence = Categorical(old_prior).kl(Categorical(prior)).mean()
    return torch.minimum(ratio * advantages, limited).mean() - penalty * divergence


discounted_returns = Check(
    "2.1",
    "discounted_returns",
    _discounted_returns,
    questions.discounted_returns,
    (
        *OPENING,
        property_step("0 at padding", steps.counts_padding),
        steps.ignores("padding", steps.other_padding, "only rewards at padding", slips.PADDING),
        steps.ignores(
            "termination",
            steps.other_ends,
            "only final_values of episodes that ended by themselves",
            slips.TAIL_AT_END,
        ),
        *VALUES,
    ),
    points={"random values": 2},
)

generalised_advantages = Check(
    "2.2",
    "generalised_advantages",
    _generalised_advantages,
    questions.generalised_advantages,
    (
        *OPENING,
        property_step("0 at padding", steps.counts_padding),
        steps.ignores(
            "padding",
            steps.other_padding_of_both,
            "only rewards and values at padding",
            slips.PADDING,
        ),
        steps.ignores(
            "termination",
            steps.other_ends_of_values,
            "only final_values of episodes that ended by themselves",
            slips.TAIL_AT_END,
        ),
        *VALUES,
    ),
    points={"random values": 3},
)

lvc_objective = Check(
    "2.3",
    "lvc_objective",
    _lvc_objective,
    questions.lvc_objective,
    (
        *OPENING,
        *VALUES,
        differentiable(questions.lvc_gradients, 1e-8, transformed=True),
        steps.second_derivative("second derivative", questions.lvc_hessians, 1e-7),
        differentiable(questions.lvc_paths, 1e-8)._replace(name="every path"),
    ),
    points={"random values": 1, "differentiable": 2, "second derivative": 1, "every path": 1},
)

dice_objective = Check(
    "2.4",
    "dice_objective",
    _dice_objective,
    questions.dice_objective,
    (
        *OPENING,
        *VALUES,
        differentiable(questions.dice_gradients, 1e-8, transformed=True),
        steps.second_derivative("second derivative", questions.dice_hessians, 1e-7),
        steps.second_derivative("every path", questions.dice_paths, 1e-7),
    ),
    points={"random values": 1, "differentiable": 1, "second derivative": 2, "every path": 1},
)

q_gradient = Check(
    "2.5",
    "q_gradient",
    _q_gradient,
    questions.q_gradient,
    (*OPENING, *VALUES, Step("every path", steps.every_path_of_q)),
    points={"random values": 2, "every path": 1},
)

hessian_split = Check(
    "2.6",
    "hessian_split",
    _hessian_split,
    questions.hessian_split,
    (*OPENING, *VALUES, Step("every path", steps.every_path_of_terms)),
    points={"random values": 2, "every path": 1},
)

e_maml_objective = Check(
    "2.7",
    "e_maml_objective",
    _e_maml_objective,
    questions.e_maml_objective,
    (
        *OPENING,
        *VALUES,
        differentiable(questions.e_maml_gradients, 1e-8, transformed=True),
        differentiable(questions.e_maml_data_sets, 1e-8)._replace(name="every data set"),
    ),
    points={"random values": 1, "differentiable": 2, "every data set": 1},
)

promp_objective = Check(
    "2.8",
    "promp_objective",
    _promp_objective,
    questions.promp_objective,
    (
        *OPENING,
        VALUES[0],
        Step("pessimistic", steps.beats_the_ratio),
        VALUES[1],
        differentiable(questions.promp_gradients, 1e-8),
    ),
    points={"random values": 2, "differentiable": 1},
)

CHECKS = (
    discounted_returns,
    generalised_advantages,
    lvc_objective,
    dice_objective,
    q_gradient,
    hessian_split,
    e_maml_objective,
    promp_objective,
)
"""In the order of the exercises."""
