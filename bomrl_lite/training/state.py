"""What changes during training, and all of it."""

from dataclasses import dataclass, field
from typing import Any

import torch

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
        }

    def restore(self, saved: dict[str, Any], history: list[Row]) -> None:
        """Go on from what a checkpoint holds; one of format 1 may lack penalty and moments.

        Raises:
            LookupError: something is missing.
            RuntimeError: a tensor has another shape.
        """
        for name, leaf in self.phi.items():
            leaf.copy_(saved["phi"][name])  # in place: the optimiser holds these very tensors
        self.optimizer.load_state_dict(saved["optimizer"])
        self.generator.set_state(saved["generator"])
        self.kl_penalty = saved.get("kl_penalty", self.kl_penalty)
        if self.moments is not None:
            there = saved["moments"].items()
            self.moments = Moments(**{name: x.to(self.moments.mean.device) for name, x in there})
        self.history[:] = history
