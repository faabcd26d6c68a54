"""Random streams: one generator of its own for each purpose of one seed."""

from typing import Any, Literal

import torch

from bomrl_lite.require import checked, require_count

Purpose = Literal["tasks", "training", "episodes", "evaluation", "tuning", "choice", "diagnosis"]

STREAMS: dict[Purpose, int] = {
    "tasks": 0,
    "training": 1,
    "evaluation": 2,
    "tuning": 3,
    "choice": 4,
}
"""Numbers of the purposes. Lessons and experiments use those from 5 on for draws of their own."""


def require_purpose(name: str, value: Any) -> Any:
    """Return a purpose, or a number of one's own.

    Raises:
        ValueError: it is neither.
    """
    if not isinstance(value, str):
        return require_count(name, value)
    known = [*STREAMS, "episodes", "diagnosis"]
    if value not in known:
        raise ValueError(f"{name} must be a number or one of {', '.join(known)}, got {value!r}")
    return value


@checked(purpose=require_purpose)
def seeded(seed: int, purpose: Purpose | int) -> torch.Generator:
    """Return the generator of one purpose of one seed.

    ``tasks`` draws training tasks and ``training`` what exact training needs; ``episodes`` is all
    the randomness of training on episodes; ``evaluation`` held-out tasks and their episodes;
    ``tuning`` and ``choice`` what hyperparameters are chosen on; ``diagnosis`` shuffles advantages.
    A number is a draw of a lesson's or an experiment's own.

    The rule is today's, which stored tables depend on: ``episodes`` and ``diagnosis`` take the seed
    as it is, so that the episodes of seed 2 and the evaluation of seed 0 share a stream.

    Raises:
        ValueError: a seed outside [0, 2^59), or no such purpose.
    """
    if purpose in ("episodes", "diagnosis"):
        return torch.Generator().manual_seed(seed)
    stream = purpose if isinstance(purpose, int) else STREAMS[purpose]
    return torch.Generator().manual_seed(seed * 16 + stream)
