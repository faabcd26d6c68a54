"""What changes during training, and all of it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, cast

import torch

from bomrl_lite.require import described, require_not_negative, require_whole
from bomrl_lite.rollout.observations import Moments
from bomrl_lite.training.run_folder import Row
from bomrl_lite.types import Params


@dataclass
class MetaState:
    """phi, the outer optimiser, the randomness, and the history so far."""

    phi: Params
    optimizer: torch.optim.Adam
    generator: torch.Generator
    kl_penalty: float = 0.0
    """Weight of ProMP's penalty, which may adapt."""
    moments: Moments | None = None
    """Of the observations so far; None where they are not normalised."""
    history: list[Row] = field(default_factory=list[Row])
    processes: int = 1
    """That share the tasks of each iteration: another number gives other roundings."""

    @property
    def iteration(self) -> int:
        """Number of updates done."""
        return len(self.history)

    def described(self) -> dict[str, Any]:
        """Name all that changes, as a checkpoint holds it."""
        return {
            "phi": self.phi,
            "optimizer": self.optimizer.state_dict(),
            "generator": self.generator.get_state(),
            "kl_penalty": self.kl_penalty,
            "moments": {} if self.moments is None else self.moments._asdict(),
            "processes": self.processes,
        }

    def restore(self, saved: Mapping[str, Any], history: list[Row]) -> None:
        """Go on from what a checkpoint holds; one of format 1 may lack penalty and moments.

        Raises:
            LookupError: something is missing.
            ValueError: something is not what this state has in its place: another shape or kind of
                numbers, parameters of another policy, another learning rate, a NaN.
        """
        require_like("phi", saved["phi"], self.phi)
        _check_optimizer(saved["optimizer"], self.optimizer, self.phi)
        penalty = require_not_negative("kl_penalty", saved.get("kl_penalty", self.kl_penalty))
        if self.moments is not None:
            require_like("moments", saved["moments"], self.moments._asdict())
        for name, leaf in self.phi.items():
            leaf.copy_(saved["phi"][name])  # in place: the optimiser holds these very tensors
        self.optimizer.load_state_dict(saved["optimizer"])
        self.generator.set_state(saved["generator"])
        self.kl_penalty = penalty
        if self.moments is not None:
            there = saved["moments"].items()
            self.moments = Moments(**{name: x.to(self.moments.mean.device) for name, x in there})
        self.processes = require_whole("processes", saved.get("processes", 1))
        self.history[:] = history


def require_like(what: str, saved: Any, mine: Mapping[str, torch.Tensor]) -> None:
    """Refuse tensors that only broadcasting, or a change of dtype, would fit.

    Args:
        what: they are, for the message.
        saved: tensors [...] by name, from a file.
        mine: what they are to stand for.

    Raises:
        ValueError: names the first that differs.
    """
    there = cast("Mapping[Any, Any]", saved if isinstance(saved, Mapping) else {})
    if there.keys() != mine.keys():
        got = sorted(map(str, there)) if there else described(saved)
        raise ValueError(f"its {what} must hold {sorted(mine)}, got {got}")
    for name, like in mine.items():
        leaf = there[name]
        if not isinstance(leaf, torch.Tensor):
            raise ValueError(f"{name} of its {what} must be a tensor, got {described(leaf)}")
        if (leaf.dtype, leaf.shape) != (like.dtype, like.shape):
            raise ValueError(
                f"{name} of its {what} must be {like.dtype} {tuple(like.shape)}, got {leaf.dtype} "
                f"{tuple(leaf.shape)}"
            )
        if not leaf.isfinite().all():
            raise ValueError(f"{name} of its {what} has numbers that are not finite")


_CONSTANTS = ("lr", "betas", "eps", "weight_decay", "maximize", "amsgrad")
"""Of Adam: those of the configuration decide, and a file that has others is another run's."""


def _check_optimizer(saved: Any, mine: torch.optim.Adam, phi: Params) -> None:
    (group,) = mine.param_groups
    (there,) = saved["param_groups"]
    for name in _CONSTANTS:
        if there[name] != group[name]:
            raise ValueError(
                f"its optimiser has {name} = {there[name]}, its configuration says {group[name]}"
            )
    steps = saved["state"]
    if steps and steps.keys() != set(range(len(phi))):
        raise ValueError(f"its optimiser has moments of {len(steps)} parameters, not of {len(phi)}")
    for number, (name, leaf) in enumerate(phi.items() if steps else ()):
        moments: dict[str, torch.Tensor] = {"exp_avg": leaf, "exp_avg_sq": leaf}
        own = {key: x for key, x in steps[number].items() if key in moments}
        require_like(f"optimiser's moments of {name}", own, moments)
