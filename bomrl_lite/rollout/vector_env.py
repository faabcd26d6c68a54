r"""Any ``gymnasium.vector.VectorEnv`` as a simulator, one episode per sub-environment.

Nothing is imported from gymnasium, which the mathematics must not need: an environment is known by
what it can do.
"""

from typing import Any, Protocol, cast, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

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
        horizon: T; None takes ``env.spec.max_episode_steps``.

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
        for space in (env.single_observation_space, env.single_action_space):
            _check_space(space)
        self._env = env
        self._mode = _autoreset_mode(env)
        self._shape = (num_tasks, env.num_envs // num_tasks)
        self._over = np.zeros(env.num_envs, dtype=bool)
        self._device = torch.device("cpu")

    def reset(self, generator: torch.Generator) -> Tensor:
        """Start all episodes from a seed that the generator draws; [N, B, O] or [N, B]."""
        self._device = generator.device
        seed = torch.randint(2**31 - 1, (), generator=generator, device=self._device)
        observations, _ = self._env.reset(seed=int(seed))
        self._over[:] = False
        return self._observed(observations)

    def step(
        self, actions: Tensor, generator: torch.Generator
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Take actions [N, B] or [N, B, K]; the environments have random states of their own.

        Raises:
            ValueError: an environment that resets in the same step does not give the last
                observations of episodes that are over.
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
        values = actions.cpu().numpy().reshape(self._env.num_envs, *space.shape)
        if _is_discrete(space):
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
    # make_vec(..., max_episode_steps=...) sets its limit among the spec's keyword arguments only.
    chosen = getattr(spec, "kwargs", {}).get("max_episode_steps")
    steps = chosen or getattr(spec, "max_episode_steps", None)
    if steps is None:
        raise ValueError(
            "these environments name no time limit (env.spec.max_episode_steps); "
            "give VectorEnvSimulator(env, horizon=...)"
        )
    return steps


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


def _check_space(space: Any) -> None:
    if not _is_discrete(space) and not hasattr(space, "low"):
        raise ValueError(
            f"observations and actions must be Box or Discrete, got {space}; flatten them with a "
            "gymnasium wrapper first"
        )
