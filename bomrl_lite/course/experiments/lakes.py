r"""Sampled Frozen Lake: how near the optimum is a policy after ONE adaptation from K episodes?

Priors are trained on exact values, so what differs at test time is what was sampled. Each pair of a
prior and K adapts with the lam or alpha that is best for it on the training lakes, from one grid
for all: by Alg with D2, or by a policy-gradient step on the same episodes.
"""

from collections.abc import Iterator
from functools import partial

from torch import Tensor
from torch.func import vmap

from bomrl_lite.adaptation.distances import d2
from bomrl_lite.adaptation.objective import policy_return
from bomrl_lite.adaptation.reductions import policy_gradient_step
from bomrl_lite.adaptation.solve import adapt
from bomrl_lite.course.experiments.setting import (
    Row,
    Scale,
    Setting,
    Train,
    config_of,
    make_setting,
)
from bomrl_lite.policies.networks import over_states
from bomrl_lite.rollout.collect import collect, repeat
from bomrl_lite.rollout.data import OneTimeData, counted_data
from bomrl_lite.tasks.tabular import TabularSimulator
from bomrl_lite.training.metrics import optimal_returns
from bomrl_lite.training.streams import seeded
from bomrl_lite.types import Params, Rollout, TabularTask

FAMILIES = {"holes": "frozen_lake/holes-4x4", "layouts": "frozen_lake/layouts-4x4"}
EPISODES = (1, 5, 20, 100)
LAMS = (0.01, 0.03, 0.1, 0.3, 1.0)
"""Grid of lam for Alg, in units of return."""
STEPS = (10.0, 30.0, 100.0, 300.0, 1000.0)
"""Grid of alpha for the gradient step, in parameters^2 per return."""
TRAINED_LAM = (0.1, 0.3)
"""lam of the two priors of BO-MRL."""
REPEATS = 5
"""How often each lake is sampled."""
HORIZON = 100


def sampled_lakes(seed: int, scale: Scale, train: Train) -> Iterator[Row]:
    """Yield one row per family, prior, number of episodes and Alg: gaps on held-out lakes."""
    for family, tasks in FAMILIES.items():
        here = make_setting(tasks, seed, scale)
        for prior, phi in _priors(here, train).items():
            for episodes in EPISODES:
                for alg, grid in (("bomrl_d2", LAMS), ("gradient", STEPS)):
                    data = {
                        split: _data(phi, lakes, here, episodes, seed=seed * 2 + index)
                        for index, (split, lakes) in enumerate(here.splits.items())
                    }
                    gaps = {
                        value: _gap(phi, data["training"], here, "training", alg, value)
                        for value in grid
                    }
                    best = min(gaps, key=lambda value: gaps[value])
                    yield {
                        "family": family,
                        "prior": prior,
                        "episodes": episodes,
                        "alg": alg,
                        "seed": seed,
                        "dial": best,
                        "gap": _gap(phi, data["test"], here, "test", alg, best),
                        "gap_before": _gap(phi, data["test"], here, "test", "none", 1.0),
                        "training_gap": gaps[best],
                    }


def _priors(here: Setting, train: Train) -> dict[str, Params]:
    priors = {"untrained": here.untrained}
    priors["joint"] = train(here.config.replace(method="joint_finetuned")).phi
    priors["maml"] = train(config_of("maml", 100.0, here)).phi
    for lam in TRAINED_LAM:
        priors[f"bomrl_d2 lam {lam:g}"] = train(config_of("bomrl_d2", lam, here)).phi
    return priors


def _data(phi: Params, lakes: TabularTask, here: Setting, episodes: int, seed: int) -> OneTimeData:
    """Let phi act for some episodes in every lake, several times over: data [N * repeats]."""
    tasks = _repeated(lakes)
    generator = seeded(seed, 5)
    simulator = TabularSimulator(tasks, episodes, HORIZON)
    phis = repeat(phi, len(tasks.reward))
    rollout = collect(simulator, over_states(here.policy), phis, generator)
    log_probs = here.policy.log_probs(phi)

    def count(*fields: Tensor) -> OneTimeData:
        return counted_data(Rollout(*fields), log_probs, gamma=here.gamma)

    return vmap(count)(*rollout)


def _gap(
    phi: Params, data: OneTimeData, here: Setting, split: str, alg: str, value: float
) -> float:
    tasks = _repeated(here.splits[split])
    step = {
        "none": lambda d: phi,
        "bomrl_d2": lambda d: adapt(phi, d, policy=here.policy, distance=d2, lam=value)[0],
        # alpha \nabla J = alpha / (1 - gamma) \nabla L
        "gradient": partial(
            policy_gradient_step, phi, policy=here.policy, lam=(1 - here.gamma) / (2 * value)
        ),
    }[alg]

    def after(d: OneTimeData, task: TabularTask) -> Tensor:
        return policy_return(step(d), task, **here.exact)

    return (optimal_returns(tasks, here.gamma) - vmap(after)(data, tasks)).mean().item()


def _repeated(tasks: TabularTask) -> TabularTask:
    return TabularTask(*(field.repeat_interleave(REPEATS, 0) for field in tasks))
