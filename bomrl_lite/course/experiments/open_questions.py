"""Small experiments of lesson 07: number of tasks, distances on one axis, rewards that hide.

Each is seconds long on exact values or tables, and meant to be copied and extended.
"""

from collections.abc import Iterator, Sequence
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor
from torch.func import vmap

from bomrl_lite.adaptation.distances import DISTANCES, d2, kl_divergence
from bomrl_lite.adaptation.objective import policy_return
from bomrl_lite.adaptation.solve import adapt, adapt_to_task
from bomrl_lite.course.experiments.setting import (
    MATCHED,
    Exact,
    Row,
    Scale,
    alg_of,
    config_of,
    make_setting,
    mean_gaps,
)
from bomrl_lite.mdp import occupancy, tabular_task
from bomrl_lite.policies.networks import over_states
from bomrl_lite.require import require_share, require_whole
from bomrl_lite.rollout.collect import collect, repeat
from bomrl_lite.rollout.data import OneTimeData, counted_data
from bomrl_lite.tasks.frozen_lake import stack_tasks
from bomrl_lite.tasks.splits import check_split, in_split
from bomrl_lite.tasks.tabular import TabularSimulator, tabular_tasks
from bomrl_lite.training.metrics import optimal_returns
from bomrl_lite.training.trainer import meta_train
from bomrl_lite.types import Params, Rollout, TabularTask, Tasks

LEARNING_RATE = 0.3
"""Of Adam, ten times the usual one: 30 iterations then go as far as 150 do."""


def task_count_rows(
    seed: int, counts: Sequence[int], *, iterations: int, num_test: int
) -> Iterator[Row]:
    """Yield gaps after one adaptation over the number of training tasks: num_tasks, prior, split.

    All settings are the matched ones; the held-out lakes are the same for every number.

    Args:
        seed: decides all tasks.
        counts: numbers of training tasks.
        iterations: of every training.
        num_test: held-out lakes.
    """
    for count in counts:
        scale = Scale(num_tasks=count, iterations=iterations, num_test=num_test)
        here = make_setting("frozen_lake/holes-4x4", seed, scale)
        full = config_of("bomrl_d2", MATCHED["bomrl_d2"], here)
        configs = {
            "maml": config_of("maml", MATCHED["maml"], here),
            "first_order_bomrl": full.replace(method="first_order_bomrl"),
            "bomrl_d2": full,
        }
        phis = {"untrained": here.untrained}
        for name, config in configs.items():
            phis[name] = meta_train(config.replace(learning_rate=LEARNING_RATE)).phi
        for prior, phi in phis.items():
            name = "maml" if prior == "maml" else "bomrl_d2"
            step = alg_of(name, MATCHED[name], here)
            for split, batch in here.splits.items():
                labels: Row = {"num_tasks": count, "prior": prior, "split": split, "seed": seed}
                yield {**labels, "gap": mean_gaps(phi, batch, step, here)[1]}


def movement_rows(
    phi: Params, tasks: TabularTask, exact: Exact, lams: dict[str, Sequence[float]]
) -> Iterator[Row]:
    """Yield per distance and lam how far one adaptation moves the policy, and what that earns.

    Mean over tasks of: nats, E_{s ~ nu}[KL(pi_theta || pi_phi)], one axis for all distances;
    largest, the largest total variation of a state that pi_phi visits in at least 1 of 100 steps;
    gap to the optimum.

    Args:
        phi: the prior.
        tasks: N tasks.
        exact: policy and gamma.
        lams: values to try, by the name of the distance.
    """
    policy, gamma = exact["policy"], exact["gamma"]
    log_phi = policy.log_probs(phi)

    def measure(task: TabularTask, name: str, lam: float) -> dict[str, Tensor]:
        theta = adapt_to_task(phi, task, distance=DISTANCES[name], lam=lam, **exact)
        log_theta = policy.log_probs(theta)
        nu = occupancy(log_phi.exp(), task, gamma)
        variation = 0.5 * (log_theta.exp() - log_phi.exp()).abs().sum(-1)
        return {
            "nats": nu @ kl_divergence(log_theta, log_phi),
            "largest": torch.where(nu > 0.01, variation, 0.0).max(),
            "return": policy_return(theta, task, **exact),
        }

    best = optimal_returns(tasks, gamma).mean().item()
    for name, values in lams.items():
        for lam in values:
            found = vmap(partial(measure, name=name, lam=lam))(tasks)
            means = {key: value.mean().item() for key, value in found.items()}
            yield {"distance": name, "lam": lam, **means, "gap": best - means["return"]}


def lock_task(code: Sequence[int], *, num_actions: int = 2, delay: int = 0) -> TabularTask:
    """Return a combination lock: the right action in every one of n states, or all is lost.

    States 0 to n - 1 are digits: action ``code[s]`` leads on, any other to a state that pays
    nothing for ever. The lock pays 1, once, ``delay`` steps after its last digit. So a policy that
    draws actions evenly is paid in one episode of ``num_actions ** n``, and the best return is
    ``gamma ** (n - 1 + delay)``.

    Args:
        code: the right action of each state, n of them.
        num_actions: A.
        delay: steps between the last digit and the reward.

    Raises:
        ValueError: no digit, one that is no action, or a negative delay.
    """
    length = len(code)
    require_whole("the number of digits", length)
    require_whole("num_actions", num_actions, least=2)
    require_whole("delay", delay, least=0)
    if not all(0 <= digit < num_actions for digit in code):
        raise ValueError(f"digits must be actions, 0 to {num_actions - 1}, got {list(code)}")
    size = length + delay + 1
    lost = size - 1
    transition = torch.zeros(size, num_actions, size, dtype=torch.float64)
    transition[:length, :, lost] = 1.0
    for state, digit in enumerate(code):
        transition[state, digit] = 0.0
        transition[state, digit, state + 1] = 1.0
    waiting = torch.arange(length, lost)
    transition[waiting, :, waiting + 1] = 1.0
    transition[lost, :, lost] = 1.0
    reward = torch.zeros(size, num_actions, dtype=torch.float64)
    if delay:
        reward[lost - 1] = 1.0
    else:
        reward[length - 1, code[-1]] = 1.0
    start = torch.zeros(size, dtype=torch.float64)
    start[0] = 1.0
    return tabular_task(transition, reward, start)


def locks(length: int, *, shared: int = 0, delay: int = 0) -> Tasks[TabularTask]:
    """Return locks of two actions whose first digits are 1 in every task, the others its own.

    Every fifth code is held out.

    Args:
        length: digits, at least 2 more than shared ones.
        shared: digits that are the same in all tasks.
        delay: steps between the last digit and the reward.

    Raises:
        ValueError: fewer than 2 digits of its own.
    """
    own = length - shared
    require_whole("length - shared", own, least=2)

    def sample(num_tasks: int, generator: torch.Generator, split: str = "train") -> TabularTask:
        numbers = torch.arange(2**own)
        numbers = numbers[in_split(numbers, check_split(split))]
        drawn = numbers[torch.randint(len(numbers), (num_tasks,), generator=generator)].tolist()
        digits = [[n >> k & 1 for k in range(own)] for n in drawn]
        return stack_tasks([lock_task([1] * shared + each, delay=delay) for each in digits])

    return tabular_tasks(
        f"lesson07/locks-{length}-{shared}-{delay}",
        f"locks of {length} digits, the first {shared} shared, paid {delay} steps late",
        sample,
        num_actions=2,
        gamma=0.95,
        horizon=length + delay,
    )


class OneBatch(NamedTuple):
    """What one batch of episodes of each task led to, [N] each."""

    rewarded: Tensor
    """Whether a reward is among the data."""
    moved: Tensor
    """Largest change of a probability by the adaptation."""
    earned: Tensor
    """Return after it, as a share of the optimum's."""


def adapt_from_episodes(
    phi: Params,
    tasks: TabularTask,
    family: Tasks[TabularTask],
    exact: Exact,
    generator: torch.Generator,
    *,
    num_episodes: int,
    lam: float,
) -> OneBatch:
    """Let pi_phi act for some episodes in every task, and solve Alg with D2 on them.

    Args:
        phi: the prior.
        tasks: N tasks.
        family: theirs, for the horizon.
        exact: policy and gamma.
        generator: draws the episodes.
        num_episodes: K per task.
        lam: weight of the distance, > 0.
    """
    policy, gamma = exact["policy"], exact["gamma"]
    log_phi = policy.log_probs(phi)
    simulator = TabularSimulator(tasks, num_episodes, family.horizon)
    rollout = collect(simulator, over_states(policy), repeat(phi, len(tasks.start)), generator)

    counted = [
        counted_data(Rollout(*fields), log_phi, gamma=gamma)
        for fields in zip(*rollout, strict=True)
    ]
    batch = OneTimeData(*(torch.stack(field) for field in zip(*counted, strict=True)))

    def after(data: OneTimeData, task: TabularTask) -> tuple[Tensor, Tensor]:
        theta, _ = adapt(phi, data, policy=policy, distance=d2, lam=lam)
        moved = (policy.log_probs(theta).exp() - log_phi.exp()).abs().max()
        return moved, policy_return(theta, task, **exact)

    moved, returns = vmap(after)(batch, tasks)
    rewarded = (rollout.rewards != 0).flatten(1).any(-1)
    return OneBatch(rewarded, moved, returns / optimal_returns(tasks, gamma))


def chance_of_no_reward(opened: Tensor, num_episodes: int) -> Tensor:
    """Return (1 - p)^K: the chance that none of K independent episodes opens the lock.

    Args:
        opened: p, chance that one does; J(phi) / J* where only one way is paid.
        num_episodes: K.

    Raises:
        ValueError: a chance outside [0, 1].
    """
    require_share("the smallest chance", opened.min().item())
    require_share("the largest chance", opened.max().item())
    return (1 - opened) ** num_episodes
