r"""Collect episodes: N tasks times B episodes advance together, one policy call per step.

A simulator is anything that follows :class:`bomrl_lite.types.Simulator`: tables
(:mod:`bomrl_lite.tasks.tabular`), points (:mod:`bomrl_lite.tasks.navigation`), robots
(:mod:`bomrl_lite.tasks.locomotion`), any vector environment of gymnasium's
(:mod:`bomrl_lite.rollout.vector_env`).
"""

from typing import cast

import torch
from torch import Tensor

from bomrl_lite.require import checked
from bomrl_lite.types import Params, Policy, Rollout, Simulator

ADVICE = {
    "parameter": "an update diverged: take smaller steps, or adapt with a larger lam",
    "action distribution": "the policy overflowed: look at the size of its parameters",
    "action": "the policy overflowed: look at its means and standard deviations",
    "observation": "the simulation diverged: look at the actions that it was given",
    "reward": "the simulation diverged: look at the actions that it was given",
}
"""What to do about a number that is not finite, by what it is."""


@checked()
def repeat(params: Params, num_tasks: int) -> Params:
    """Give every leaf a leading N of ``num_tasks`` views: parameters that all tasks share.

    Gradients of the N copies sum in the one they came from.

    Args:
        params: of one policy.
        num_tasks: N >= 1.

    Raises:
        ValueError: no task.
    """
    return {name: leaf.expand(num_tasks, *leaf.shape) for name, leaf in params.items()}


@checked()
@torch.no_grad()
def collect(
    simulator: Simulator, policy: Policy, params: Params, generator: torch.Generator
) -> Rollout:
    """Let one policy per task act for an episode in each of the task's B simulations.

    Args:
        simulator: N tasks times B episodes; it is reset first.
        policy: its ``distribution`` is called once a step, on all observations.
        params: parameters with a leading N on every leaf; of shared ones make N by :func:`repeat`.
        generator: where all randomness comes from, that of the simulator included. The same state
            gives the same rollout, bit by bit.

    Returns:
        The rollout, [N, B, T, ...], whose T is the simulator's horizon even if all episodes ended
        earlier. Padding is 0 everywhere. An episode that is still running at the horizon was cut
        off: ``terminated`` is False.

    Raises:
        ValueError: the parameters are not those of N policies.
        FloatingPointError: a number is not finite; the message says which and where. On a GPU this
            is checked only at the end: to read a number is to wait for the device.
    """
    observations = simulator.reset(generator)
    alive = torch.ones(observations.shape[:2], dtype=torch.bool, device=observations.device)
    terminated = torch.zeros_like(alive)
    _check_params(params, len(alive))
    _check_finite("observation", observations, 0)
    tape = _Tape(simulator.horizon)
    for step in range(simulator.horizon):
        actions, log_probs = _act(policy, params, observations, generator, step)
        # Written before the simulator moves, which may reuse the memory of its observations.
        tape.write(step, alive, observations=observations, actions=actions, log_probs=log_probs)
        after, rewards, ended, cut = simulator.step(actions, generator)
        # An episode that is over stays at its last observation, whatever its simulator does next.
        observations = _where(alive, after, observations)
        tape.write(step, alive, rewards=rewards, mask=torch.ones_like(rewards))
        _check_finite("reward", tape.buffers["rewards"][:, :, step], step)
        _check_finite("observation", observations, step + 1)
        # Only episodes that were alive: a simulator may report anything after an end.
        terminated |= alive & ended
        alive = alive & ~(ended | cut)
        if _may_look(alive) and not alive.any():
            break
    # What was not read on the way is read now, once.
    for name in () if _may_look(alive) else ("observations", "actions", "rewards"):
        _check_finite(name.removesuffix("s"), tape.buffers[name], None)
    return Rollout(**tape.buffers, final_observations=observations, terminated=terminated)


class _Tape:
    """Buffers [N, B, T, ...] by name, allocated when the first step shows shapes and dtypes."""

    def __init__(self, horizon: int) -> None:
        self.horizon = horizon
        self.buffers: dict[str, Tensor] = {}

    def write(self, step: int, alive: Tensor, **values: Tensor) -> None:
        for name, value in values.items():
            if name not in self.buffers:
                shape = (*alive.shape, self.horizon, *value.shape[2:])
                self.buffers[name] = value.new_zeros(shape)
            self.buffers[name][:, :, step] = _where(alive, value, torch.zeros_like(value))


def _act(
    policy: Policy, params: Params, observations: Tensor, generator: torch.Generator, step: int
) -> tuple[Tensor, Tensor]:
    """Draw one action of each episode; returns actions [N, B, ...], log-probabilities [N, B]."""
    distribution = torch.func.vmap(policy.distribution)(params, observations)
    for leaf in cast("tuple[Tensor, ...]", distribution):
        # -inf is the log-probability of a forbidden action.
        _check_finite("action distribution", leaf.masked_fill(leaf.isneginf(), 0.0), step)
    actions = distribution.sample(generator)
    _check_finite("action", actions, step)
    return actions, distribution.log_prob(actions)


def _where(alive: Tensor, value: Tensor, other: Tensor) -> Tensor:
    """Take ``value`` for the episodes [N, B] that are alive, else ``other``."""
    return torch.where(alive.reshape(*alive.shape, *[1] * (value.ndim - 2)), value, other)


def _check_params(params: Params, num_tasks: int) -> None:
    for name, leaf in params.items():
        if leaf.ndim == 0 or len(leaf) != num_tasks:
            raise ValueError(
                f"parameter {name!r} must have a leading N of {num_tasks} tasks, got "
                f"{tuple(leaf.shape)}; for shared parameters use repeat(params, {num_tasks})"
            )
        _check_finite("parameter", leaf, None, of=f" {name!r}")


def _may_look(values: Tensor) -> bool:
    """Tell whether an episode may be interrupted to read numbers: not on a GPU, which waits."""
    return values.device.type == "cpu"


def _check_finite(what: str, values: Tensor, step: int | None, of: str = "") -> None:
    if step is not None and not _may_look(values):
        return
    finite = torch.isfinite(values)
    if finite.all():
        return
    where = [int(index) for index in torch.nonzero(~finite)[0]]
    when = "" if step is None else f" of step {step}"
    raise FloatingPointError(
        f"{what}{of}{when} at {where} is {values[tuple(where)].item()}; {ADVICE[what]}"
    )
