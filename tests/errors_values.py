"""Values that are wrong though their kind is right: (call, words that must answer it)."""

import torch
from conftest import random_task
from errors_calls import BATCH, COUNTED, GAUSS, LOG_PHI, OF_GAUSS, PHI, POLICY, PROBS, ROLLOUT, TASK

import bomrl_lite as bl
from bomrl_lite import theory
from bomrl_lite.adaptation import distances
from bomrl_lite.adaptation.episodes import ratio_objective
from bomrl_lite.policies.networks import over_states
from bomrl_lite.rollout import data, returns
from bomrl_lite.tasks import frozen_lake as lakes
from bomrl_lite.tasks.probes import variance_dial
from bomrl_lite.training.streams import seeded

NAN, SEED = torch.nan, torch.Generator().manual_seed(0)
DIALS = {"policy": POLICY, "gamma": 0.9}


def spoiled(tensor: torch.Tensor, value: float) -> torch.Tensor:
    """The tensor with its last entry replaced."""
    copy = tensor.clone()
    copy[(-1,) * copy.ndim] = value
    return copy


def task_with(**changed: float):
    return TASK._replace(**{k: spoiled(getattr(TASK, k), x) for k, x in changed.items()})


def episodes_with(**changed: object):
    return ROLLOUT._replace(**changed)


PAID_NAN = episodes_with(rewards=spoiled(ROLLOUT.rewards, NAN))
NO_STEP = episodes_with(mask=torch.zeros_like(ROLLOUT.mask))
FIRST_ONLY = ROLLOUT.mask * torch.tensor([1.0, 0.0])[:, None, None]

VALUES = {
    "logits for a policy": (lambda: bl.q_values(PHI["logits"], TASK, 0.9), "policy_probs must"),
    "rows of a policy that sum to 2": (lambda: bl.q_values(2 * PROBS, TASK, 0.9), "sums to 2"),
    "a negative chance": (
        lambda: bl.occupancy(
            torch.tensor([1.5, -0.5, 0.0], dtype=torch.float64).expand(5, 3), TASK, 0.9
        ),
        "policy_probs must hold probabilities.*-0.5",
    ),
    "a policy that is nan": (
        lambda: bl.expected_return(spoiled(PROBS, NAN), TASK, 0.9),
        r"policy_probs must.*Index \[4\]",
    ),
    "logits that are nan": (
        lambda: bl.full_data({"logits": spoiled(PHI["logits"], NAN)}, TASK, **DIALS),
        "policy_probs must hold probabilities",
    ),
    "a task made by hand that pays nan": (
        lambda: bl.q_values(PROBS, task_with(reward=NAN), 0.9),
        r"task.reward must be finite, got nan at index \[4, 2\]",
    ),
    "a task made by hand that leads nowhere": (
        lambda: bl.state_values(PROBS, task_with(transition=NAN), 0.9),
        "task.transition must be finite",
    ),
    "a task made by hand that starts nowhere": (
        lambda: bl.occupancy(PROBS, task_with(start=torch.inf), 0.9),
        "task.start must be finite, got inf",
    ),
    "the best policy of a task that pays nan": (
        lambda: bl.optimal_policy(task_with(reward=NAN), 0.9),
        "task.reward must be finite",
    ),
    "features that are infinite": (
        lambda: bl.linear_softmax(spoiled(torch.ones(2, 2, 2), torch.inf)),
        r"features must be finite, got inf at index \[1, 1, 1\]",
    ),
    "a negative A_max": (lambda: theory.theorem_lambda(-1.0, 1.0, 0.5), "a_max must be 0 or more"),
    "averages that are nan": (
        lambda: theory.fit_convergence(spoiled(torch.ones(5), NAN)),
        r"averages must be finite, got nan at index \[4\]",
    ),
    "a distance of one's own to an optimum": (
        lambda: theory.distance_to_optimum(PHI, TASK, **DIALS, distance=lambda *x, **y: x),
        "distance must be d1, d2 or",
    ),
    "d3 without free logits": (
        lambda: theory.distance_to_optimum(
            {"weights": torch.zeros(2)},
            TASK,
            policy=bl.linear_softmax(torch.ones(5, 3, 2)),
            gamma=0.9,
            distance=bl.d3,
            smoothing=0.1,
        ),
        "free logits, d3",
    ),
    "a negative weight of a distance": (
        lambda: distances.add_distances((1.0, bl.d1), (-1.0, bl.d3)),
        "weight of a distance must be 0 or more",
    ),
    "a distance that is none": (lambda: distances.add_distances((1.0, None)), "terms.*function"),
    "a term that is no pair": (lambda: distances.add_distances(bl.d1), "terms.*tuple or a list"),
    "states that do not exist": (
        lambda: distances.visit_shares(torch.tensor([0, 7]), torch.ones(2), 5),
        r"states must be in \[0, num_states = 5\).*0 to 7",
    ),
    "a negative visit": (
        lambda: distances.visit_shares(torch.tensor([0, 1]), torch.tensor([2.0, -1.0]), 5),
        "weights >= 0.*-1",
    ),
    "rewards that are nan": (
        lambda: bl.sample_batch(PAID_NAN, gamma=0.9),
        r"rollout.rewards must be finite, got nan at index \[1, 2, 3\]",
    ),
    "returns of rewards that are nan": (
        lambda: returns.discounted_returns(PAID_NAN, 0.9),
        "rollout.rewards must be finite",
    ),
    "a baseline of rewards that are nan": (
        lambda: returns.linear_baseline(PAID_NAN, 0.9),
        "rollout.rewards must be finite",
    ),
    "episodes without a step": (
        lambda: bl.sample_batch(NO_STEP, gamma=0.9),
        "rollout.mask must be 1",
    ),
    "a task without a step": (
        lambda: bl.sample_batch(episodes_with(mask=FIRST_ONLY), gamma=0.9),
        "rollout.mask must hold a step of every task",
    ),
    "a mask of other numbers": (
        lambda: returns.discounted_returns(episodes_with(mask=2 * ROLLOUT.mask), 0.9),
        "rollout.mask must be 1",
    ),
    "rewards of fewer steps": (
        lambda: bl.sample_batch(episodes_with(rewards=ROLLOUT.rewards[..., :2]), gamma=0.9),
        r"rollout.rewards must begin with the axes \(2, 3, 4\)",
    ),
    "ends of fewer episodes": (
        lambda: bl.sample_batch(episodes_with(terminated=ROLLOUT.terminated[:, :1]), gamma=0.9),
        r"rollout.terminated must begin with the axes \(2, 3\)",
    ),
    "counts of states that do not exist": (
        lambda: data.counted_data(COUNTED, LOG_PHI[:1], gamma=0.9),
        r"rollout.observations must be in \[0, 1\)",
    ),
    "counts of continuous states": (
        lambda: data.counted_data(
            type(ROLLOUT)(*(field[0] for field in ROLLOUT)), LOG_PHI, gamma=0.9
        ),
        r"rollout.observations must be numbered, \[B, T\]",
    ),
    "a clip of 1": (
        lambda: ratio_objective(OF_GAUSS, BATCH, policy=GAUSS, clip=1.0),
        r"clip must be in \(0, 1\), got 1.0",
    ),
    "parameters of another network": (
        lambda: GAUSS.distribution(PHI, torch.ones(3, 2)),
        "params must hold body.0.weight",
    ),
    "observations of another size": (
        lambda: GAUSS.distribution(OF_GAUSS, torch.ones(3, 5)),
        r"2 numbers in its last axis, got \(3, 5\)",
    ),
    "states that are no numbers": (
        lambda: over_states(POLICY).distribution(PHI, torch.ones(2)),
        "states must be an integer tensor",
    ),
    "a map of one tile": (lambda: lakes.random_map(1, SEED), "size must be at least 3, got 1"),
    "no ice": (lambda: lakes.random_map(4, SEED, ice=0.0), r"ice must be in \(0, 1\], got 0.0"),
    "hardly any ice": (
        lambda: lakes.random_map(8, SEED, ice=1e-9),
        "none of 10000 maps of 8 x 8 tiles.*raise ice",
    ),
    "tasks of hardly any ice": (
        lambda: variance_dial(1e-9).sample(1, SEED, "train"),
        "none of 10000 maps.*raise ice",
    ),
    "an open lake of one tile": (lambda: lakes.goal_map(1, SEED), "size must be at least 2"),
    "tasks of several sizes": (
        lambda: lakes.stack_tasks([TASK, random_task(0, 4, 3)]),
        r"of one size.*\(5, 3\), \(4, 3\)",
    ),
    "no tasks to stack": (lambda: lakes.stack_tasks([]), "tasks must be at least 1"),
    "a lake that pays nan": (
        lambda: lakes.lake_task(("SF", "FG"), lakes.HOLES._replace(goal_reward=NAN)),
        "goal_reward must be finite, got nan",
    ),
    "a family of maps that is not there": (
        lambda: lakes.lake_family("navigation/circle"),
        "family must be one of frozen_lake",
    ),
    "a negative seed": (lambda: seeded(-1, "tasks"), "seed must be at least 0, got -1"),
    "a seed of 2^28": (lambda: seeded(2**28, "tasks"), "seed must be at most"),
    "a purpose that is none": (lambda: seeded(0, "task"), "purpose must be.*'task'"),
    "actions that a table does not have": (
        lambda: (
            bl.make_tasks("probe/opposite")
            .simulator(bl.make_tasks("probe/opposite").sample(1, SEED, "train"), 2)
            .step(torch.tensor([[0]]), SEED)
        ),
        r"actions must be \[N, B\] = \(1, 2\), got \(1, 1\)",
    ),
}
