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
    "diagnosis": 14,
    "episodes": 15,
}
"""Numbers of the purposes, of 16 that a seed has."""

OWN = range(5, 14)
"""Numbers for draws of one's own, in lessons and experiments."""


def require_purpose(name: str, value: Any) -> Any:
    """Return a purpose, or a number of one's own.

    Raises:
        ValueError: it is neither.
    """
    if not isinstance(value, str):
        number = require_count(name, value)
        if number not in OWN:
            raise ValueError(
                f"{name} must be one of {', '.join(STREAMS)}, or for a draw of your own a number "
                f"from {OWN.start} to {OWN.stop - 1}, got {number}: another would share a stream"
            )
        return number
    if value not in STREAMS:
        raise ValueError(f"{name} must be a number or one of {', '.join(STREAMS)}, got {value!r}")
    return value


@checked(purpose=require_purpose)
def seeded(seed: int, purpose: Purpose | int) -> torch.Generator:
    """Return the generator of one purpose of one seed: no two share a stream.

    ``tasks`` draws training tasks and ``training`` what exact training needs; ``episodes`` is all
    the randomness of training on episodes; ``evaluation`` held-out tasks and their episodes;
    ``tuning`` and ``choice`` what hyperparameters are chosen on; ``diagnosis`` shuffles advantages.
    A number, 5 to 13, is a draw of a lesson's or an experiment's own.

    The generator is seeded with ``16 seed + number``. torch's generator of the processor reads the
    lowest 32 bits of that (2.13), so seeds end at 2^28.

    Raises:
        ValueError: a seed outside [0, 2^28), or no such purpose.
    """
    stream = purpose if isinstance(purpose, int) else STREAMS[purpose]
    return torch.Generator().manual_seed(16 * seed + stream)
