r"""Tabular tasks: their record, and a simulator for which states are numbers."""

from collections.abc import Callable

import torch
from jaxtyping import Int
from torch import Tensor

from bomrl_lite.policies.draws import drawn
from bomrl_lite.require import checked
from bomrl_lite.types import Split, TabularTask, Tasks


@checked(shared_tasks=lambda name, value: value)  # infinitely many may be
def tabular_tasks(
    name: str,
    summary: str,
    sample: Callable[[int, torch.Generator, Split], TabularTask],
    *,
    num_actions: int,
    gamma: float,
    horizon: int,
    shared_tasks: float = 0,
) -> Tasks[TabularTask]:
    """Return the record of a family with exact values, whose episodes come from its tables.

    Args:
        name: of the family.
        summary: what its tasks are, in a few words.
        sample: (number of tasks, generator, split) -> tasks with a leading N.
        num_actions: A.
        gamma: discount, in [0, 1).
        horizon: T of an episode unless another is asked for.
        shared_tasks: see :class:`bomrl_lite.types.Tasks`.
    """

    @checked()
    def simulator(
        tasks: TabularTask, num_episodes: int, steps: int | None = None
    ) -> TabularSimulator:
        return TabularSimulator(tasks, num_episodes, horizon if steps is None else steps)

    return Tasks(
        name=name,
        summary=summary,
        sample=sample,
        simulator=simulator,
        gamma=gamma,
        horizon=horizon,
        observation_size=0,
        action_size=num_actions,
        discrete=True,
        exact=True,
        shared_tasks=shared_tasks,
    )


class TabularSimulator:
    """Tabular tasks as arrays: states and actions are numbers, a step is one look-up.

    Tabular tasks go on for ever (an end is a state that is never left), so no episode terminates;
    the horizon cuts it off. The reward of a step is r(s, a), its expectation.

    Args:
        tasks: N tasks, fields with a leading N.
        num_episodes: B, episodes per task.
        horizon: T, steps per episode.

    Raises:
        ValueError: a count below 1, or tasks without a leading N.
    """

    @checked()
    def __init__(self, tasks: TabularTask, num_episodes: int, horizon: int) -> None:
        if tasks.reward.ndim != 3:
            raise ValueError(
                f"tasks must have a leading N, rewards [N, S, A], got {tuple(tasks.reward.shape)}; "
                "of one task make N = 1 with .unsqueeze(0) on every field"
            )
        self.horizon = horizon
        num_tasks, self._num_states, self._num_actions = tasks.reward.shape
        self._starts = _cumulative(tasks.start)
        # Tables of all tasks in one, row (n S + s) A + a: a step is one look-up.
        self._moves = _cumulative(tasks.transition).flatten(0, 2)
        self._rewards = tasks.reward.flatten()
        first = torch.arange(num_tasks, device=tasks.reward.device) * self._num_states
        self._first = first.unsqueeze(-1).expand(-1, num_episodes)
        self._states = torch.zeros_like(self._first)

    @checked()
    def reset(self, generator: torch.Generator) -> Tensor:
        """Draw first states from rho; returns their numbers [N, B]."""
        starts = self._starts.unsqueeze(1).expand(*self._first.shape, -1)
        self._states = _draw(starts, generator)
        return self._states

    @checked()
    def step(
        self, actions: Int[Tensor, "N B"], generator: torch.Generator
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Take actions [N, B] in [0, A); no episode ends.

        Raises:
            ValueError: actions of another shape, or one that the tasks do not have.
        """
        if actions.shape != self._first.shape:
            raise ValueError(
                f"actions must be [N, B] = {tuple(self._first.shape)}, got {tuple(actions.shape)}"
            )
        if not ((actions >= 0) & (actions < self._num_actions)).all():
            raise ValueError(
                f"actions must be in [0, {self._num_actions}), got {int(actions.min())} to "
                f"{int(actions.max())}; give the policy as many actions as the tasks have"
            )
        rows = (self._first + self._states) * self._num_actions + actions
        self._states = _draw(self._moves[rows], generator)
        # An absorbing state goes on for ever; the collector cuts the episode off.
        never = torch.zeros_like(rows, dtype=torch.bool)
        return self._states, self._rewards[rows], never, never


def _cumulative(probs: Tensor) -> Tensor:
    """Sum probabilities up; dividing by the total makes the last one 1 in spite of rounding."""
    sums = probs.cumsum(-1)
    return sums / sums[..., -1:]


def _draw(cumulative: Tensor, generator: torch.Generator) -> Tensor:
    """Draw from each row by inverting its distribution function: sums [..., S] -> [...]."""
    shape, kind = cumulative.shape[:-1], {"dtype": cumulative.dtype, "device": cumulative.device}
    uniform = drawn(torch.rand, (*shape, 1), generator, **kind)
    # Counting the sums <= u passes over entries of probability 0, at u = 0 too.
    return (cumulative <= uniform).sum(-1)
