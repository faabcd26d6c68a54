r"""Any ``gymnasium.vector.VectorEnv`` as a simulator, one episode per sub-environment.

Nothing is imported from gymnasium, which the mathematics must not need: an environment is known by
what it can do.
"""

import math
import warnings
from typing import Any, Protocol, cast, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bomrl_lite.policies.draws import shard_of
from bomrl_lite.require import require_whole


@runtime_checkable
class VectorEnv(Protocol):
    """What we use of a ``gymnasium.vector.VectorEnv``, beside its ``spec`` and ``metadata``."""

    num_envs: int
    single_observation_space: Any
    """``Box`` or ``Discrete``."""
    single_action_space: Any
    """``Box`` or ``Discrete``."""

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Begin episodes; returns observations [num_envs, ...] and infos."""
        ...

    def step(self, actions: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        """Return observations, rewards, terminated, truncated [num_envs, ...] and infos."""
        ...


class VectorEnvSimulator:
    """One episode in each sub-environment of a ``gymnasium.vector.VectorEnv``.

    The sub-environments are assigned to tasks in order: the first B belong to task 0. All three
    autoreset modes work; what an environment does after its first episode is ignored.
    Observations are flattened to float32 [N, B, O]; numbered ones stay numbers, [N, B]. Actions of
    a ``Box`` are CLIPPED to its bounds when the environment gets them. The rollout keeps them as
    the policy drew them: only of those is the Gaussian's density the probability.

    Args:
        env: the environments, N * B of them. The policy's actions must be those of its
            ``single_action_space``: ``Discrete`` or ``Box``.
        num_tasks: N.
        horizon: T; None takes the time limit that the environments or their specs name.

    Raises:
        ValueError: no horizon, an unknown autoreset mode, spaces of another kind, or a number of
            environments that N does not divide.
    """

    def __init__(self, env: VectorEnv, num_tasks: int = 1, horizon: int | None = None) -> None:
        self.horizon = _horizon_of(env) if horizon is None else horizon
        require_whole("num_tasks", num_tasks)
        require_whole("horizon", self.horizon)
        if env.num_envs % num_tasks:
            raise ValueError(
                f"{env.num_envs} environments cannot be shared out to {num_tasks} tasks; "
                "make num_tasks * episodes of them"
            )
        _check_space("single_observation_space", env.single_observation_space)
        _check_space("single_action_space", env.single_action_space)
        self._env = env
        self._mode = _autoreset_mode(env)
        self._shape = (num_tasks, env.num_envs // num_tasks)
        self._over = np.zeros(env.num_envs, dtype=bool)
        self._device = torch.device("cpu")
        self._tried = False

    def reset(self, generator: torch.Generator) -> Tensor:
        """Start all episodes from a seed that the generator draws; [N, B, O] or [N, B].

        The first time it is done twice: environments that ignore their seed are warned of, for they
        give no run again.

        Raises:
            ValueError: an environment refuses to begin, without a word of its own; or answers of
                another number than there are environments.
        """
        self._device = generator.device
        seed = int(torch.randint(2**31 - 1, (), generator=generator, device=self._device))
        if shard := shard_of(generator):  # environment i of all tasks' is seeded with seed + i
            seed += shard.rows(self._env.num_envs).start
        observations = self._begin(seed)
        if not self._tried and not torch.equal(self._begin(seed), observations):
            warnings.warn(
                "these environments begin differently when they are reset twice with one seed, so "
                "a run with them cannot be repeated; seed them as their library wants it, and "
                "leave out wrappers that remember (NormalizeObservation)",
                stacklevel=2,
            )
        self._tried = True
        self._over[:] = False
        return observations

    def _begin(self, seed: int) -> Tensor:
        try:
            return self._observed(self._env.reset(seed=seed)[0])
        except AssertionError as error:
            if str(error):
                raise
            raise ValueError(
                "the environments refused to reset and did not say why (AssertionError); those "
                "whose tasks are set from outside need them first, as metaworld's do: "
                'env.call("sample_tasks")'
            ) from error

    def step(
        self, actions: Tensor, generator: torch.Generator
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Take actions [N, B] or [N, B, K]; the environments have random states of their own.

        Raises:
            ValueError: actions of another shape or kind; or an environment that resets in the same
                step does not give the last observations of episodes that are over.
        """
        if self._mode == "disabled" and self._over.any():
            # Such an environment refuses to step after an end; its second episode is not used.
            self._env.reset(options={"reset_mask": self._over})
        observations, rewards, ended, cut, infos = self._env.step(self._env_actions(actions))
        # Which sub-environments the next step would refuse, or has already restarted.
        self._over = np.asarray(ended) | np.asarray(cut)
        if self._mode == "samestep":
            observations = _before_autoreset(observations, infos, self._over)
        return (
            self._observed(observations),
            self._tensor(rewards, np.float32),
            self._tensor(ended, np.bool_),
            self._tensor(cut, np.bool_),
        )

    def _env_actions(self, actions: Tensor) -> NDArray[Any]:
        """Return actions [num_envs, ...] as the environments count and bound them."""
        space = self._env.single_action_space
        numbered, size = _is_discrete(space), math.prod(space.shape)
        if actions.shape[:2] != self._shape or actions[0, 0].numel() != size:
            raise ValueError(
                f"actions must be {[*self._shape, *space.shape]} for {space}, got "
                f"{list(actions.shape)}"
            )
        if numbered and (actions.is_floating_point() or actions.dtype == torch.bool):
            raise ValueError(
                f"actions of {space} are whole numbers, got {actions.dtype}: take a categorical "
                "policy"
            )
        values = actions.detach().cpu().numpy().reshape(self._env.num_envs, *space.shape)
        if numbered:
            return values + space.start  # a Discrete space may begin at another number than 0
        return np.clip(values, space.low, space.high).astype(space.dtype)

    def _observed(self, observations: Any) -> Tensor:
        """Return observations [N, B, O], or [N, B] numbers that begin at 0."""
        space = self._env.single_observation_space
        if _is_discrete(space):
            return self._tensor(observations, np.int64) - int(space.start)
        return self._tensor(observations, np.float32).flatten(2)

    def _tensor(self, values: Any, dtype: Any) -> Tensor:
        """Copy an array [num_envs, ...] to a tensor [N, B, ...]: environments reuse theirs."""
        if len(values) != self._env.num_envs:
            raise ValueError(
                f"{self._env.num_envs} environments answered with {len(values)} values: they must "
                "step together (no asynchronous batches)"
            )
        values = torch.as_tensor(np.array(values, dtype=dtype), device=self._device)
        return values.reshape(*self._shape, *values.shape[1:])


def _before_autoreset(
    observations: Any, infos: dict[str, Any], over: NDArray[np.bool_]
) -> NDArray[Any]:
    """Restore the last observation of an episode, which the next one's first has replaced."""
    observations = np.array(observations)  # a copy: the environment keeps its own buffer
    if over.any() and "final_obs" not in infos:
        raise ValueError(
            "an environment that resets in the same step must give the last observations as "
            f"infos['final_obs'], got infos with {sorted(infos)}"
        )
    for index in np.flatnonzero(over):
        observations[index] = infos["final_obs"][index]
    return observations


def _horizon_of(env: VectorEnv) -> int:
    """Return the time limit that the environments name."""
    spec = getattr(env, "spec", None)
    # make_vec(..., max_episode_steps=...) sets its limit among the spec's keyword arguments only;
    # envpool keeps it in a configuration.
    chosen = getattr(spec, "kwargs", {}).get("max_episode_steps")
    named = _limit_in(spec) or _limit_in(getattr(spec, "config", None))
    steps = chosen or named or _inner_limit(env)
    if steps is None:
        raise ValueError(
            "these environments name no time limit (env.spec.max_episode_steps, nor a TimeLimit "
            "around each); give VectorEnvSimulator(env, horizon=...)"
        )
    return steps


def _limit_in(place: object) -> int | None:
    """Return the limit that a spec or a configuration names."""
    return getattr(place, "max_episode_steps", None)


def _inner_limit(env: VectorEnv) -> int | None:
    """Return the longest limit of sub-environments, of a batch that was put together by hand."""
    batch: Any = getattr(env, "unwrapped", env)
    if hasattr(batch, "get_attr"):
        limits = [_limit_in(spec) for spec in batch.get_attr("spec")]
        # Other processes would end when they are asked for what they lack.
        if not any(limits) and hasattr(batch, "envs"):
            limits = [_wrapped_limit(inner) for inner in batch.envs]
        return max(filter(None, limits), default=None)
    return None


def _wrapped_limit(env: Any) -> int | None:
    """Return the limit of a TimeLimit among the wrappers of one environment, which has no spec."""
    limit: int | None = getattr(env, "_max_episode_steps", None)
    inner: Any = getattr(env, "env", None)
    return limit if limit or inner is None else _wrapped_limit(inner)


def _autoreset_mode(env: VectorEnv) -> str:
    """Return ``nextstep``, ``samestep`` or ``disabled``."""
    metadata = cast("dict[str, Any]", getattr(env, "metadata", None) or {})
    # Compared by value: to import gymnasium's enumeration is to need gymnasium.
    found = metadata.get("autoreset_mode")
    mode = str(getattr(found, "value", found)).lower()
    if mode not in ("nextstep", "samestep", "disabled"):
        raise ValueError(
            "env.metadata['autoreset_mode'] must be one of gymnasium's three AutoresetMode, "
            f"got {found!r}"
        )
    return mode


def _is_discrete(space: Any) -> bool:
    return hasattr(space, "n") and space.shape == ()


def _check_space(name: str, space: Any) -> None:
    if not _is_discrete(space) and not hasattr(space, "low"):
        raise ValueError(
            f"env.{name} must be Box or Discrete, got {space}; flatten it with a gymnasium wrapper "
            "first"
        )
