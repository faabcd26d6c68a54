"""Simulations that are used again: to make some anew in every iteration is slow on a GPU."""

import weakref
from dataclasses import dataclass
from typing import Literal

from bomrl_lite.physics import Physics, make_physics
from bomrl_lite.physics.mujoco_types import Model
from bomrl_lite.physics.threads import processors

KEPT = 4
"""So many simulations that nobody has are kept, those that were lent last: a training takes turns
with a few sizes, a sweep over sizes would fill the memory."""


@dataclass(eq=False)
class Loan:
    """Simulations of the pool, how they were made, and who has them."""

    physics: Physics
    model: Model
    backend: Literal["mujoco", "warp"]
    threads: int
    """Of the processor, which cannot be changed later."""
    borrower: weakref.ref[object]

    def is_free(self) -> bool:
        """Tell whether the borrower is gone."""
        return self.borrower() is None

    def fits(self, model: Model, num: int, backend: Literal["mujoco", "warp"]) -> bool:
        """Tell whether the simulations are as :func:`make_physics` would make them now."""
        wanted = (num, backend, processors())
        return self.model is model and (self.physics.num, self.backend, self.threads) == wanted


class PhysicsPool:
    """Simulations that are lent for as long as their borrower lives; the latest few are kept.

    A task family has one. Its simulators die with each iteration of training; the next one's then
    runs on the same simulations. They are lent as they are: the borrower resets them, and sets
    every parameter that another borrower may have set.
    """

    def __init__(self) -> None:
        self._loans: list[Loan] = []

    def lend(
        self, borrower: object, model: Model, num: int, backend: Literal["mujoco", "warp"]
    ) -> Physics:
        """Lend simulations that nobody has any longer, or new ones.

        Args:
            borrower: as long as it lives, nobody else gets these simulations.
            model: compared by identity.
            num: M.
            backend: as :func:`bomrl_lite.physics.resolve_backend` returns it.

        Raises:
            ValueError: M < 1.
        """
        free = [loan for loan in self._loans if loan.is_free()]
        fitting = [loan for loan in free if loan.fits(model, num, backend)]
        dropped = fitting[:1] or free[:-KEPT]  # one that fits comes back below, as the latest
        self._loans = [loan for loan in self._loans if loan not in dropped]
        physics = fitting[0].physics if fitting else make_physics(model, num, backend=backend)
        threads = processors()
        self._loans.append(Loan(physics, model, backend, threads, weakref.ref(borrower)))
        return physics
