"""Which tasks are held out for the test split, and the check that all families share."""

from jaxtyping import Bool, Int
from torch import Tensor

from bomrl_lite.require import described
from bomrl_lite.types import Split

HELD_OUT_SHARE = 5
"""One cell of a family's range in this many is held out for the test split."""


def in_split(cells: Int[Tensor, "*M"], split: Split, *, remainder: int = 0) -> Bool[Tensor, "*M"]:
    """Tell which cells, by their numbers, belong to a split; every cell belongs to exactly one.

    Args:
        cells: numbers of the parts that a family's range of tasks is cut into.
        split: train or test.
        remainder: of a held-out cell's number divided by 5.
    """
    held_out = cells % HELD_OUT_SHARE == remainder
    return held_out if split == "test" else ~held_out


def check_split(split: str) -> Split:
    """Return the split of that name.

    Raises:
        ValueError: neither train nor test.
    """
    if split not in ("train", "test"):
        raise ValueError(f"split must be 'train' or 'test', got {described(split)}")
    return split
