"""A process small enough to write out: two states, two actions, three steps, every episode.

Action 1 in state 1 may end the episode, so the episodes are ragged. Expectations are sums over all
of them, and the exact answers come from recursions over states; no package code.
"""

import torch
from torch.func import jacrev

from bomrl_lite.types import Rollout

GAMMA, STEPS = 0.8, 3
NAN = float("nan")
DOUBLE = {"dtype": torch.float64}
START = torch.tensor([0.6, 0.4], **DOUBLE)
MOVES = torch.tensor([[[0.7, 0.3], [0.2, 0.8]], [[0.5, 0.5], [0.4, 0.25]]], **DOUBLE)
"""P(s' | s, a) of the two states; what is missing to 1 ends the episode."""
REWARD = torch.tensor([[1.0, -0.5], [0.3, 2.0]], **DOUBLE)
LOGITS = torch.tensor([[0.4, -0.3], [-0.6, 0.5]], **DOUBLE)


def _continue(states, actions, chance):
    """All ways to go on from states[-1]: (states, actions, chance of the moves, ended)."""
    for action in range(2):
        taken = [*actions, action]
        moves = MOVES[states[-1], action]
        if len(taken) == STEPS:
            yield states, taken, chance, False
            continue
        for state in range(2):
            yield from _continue([*states, state], taken, chance * moves[state].item())
        if moves.sum() < 1:
            yield states, taken, chance * (1 - moves.sum().item()), True


def every_episode() -> tuple[Rollout, torch.Tensor]:
    """Return the E episodes as E tasks of one each, and the chance of their moves [E].

    Nothing but nan, and numbers that no state or action has, stands at padding.
    """
    paths = [p for s in range(2) for p in _continue([s], [], START[s].item())]
    log_probs = LOGITS.log_softmax(-1)
    fields = {"observations": [], "actions": [], "rewards": [], "log_probs": [], "mask": []}
    for states, actions, _, _ in paths:
        rest = STEPS - len(actions)
        fields["observations"].append(states + rest * [-7])
        fields["actions"].append(actions + rest * [99])
        pairs = list(zip(states, actions, strict=True))
        fields["rewards"].append([REWARD[p].item() for p in pairs] + rest * [NAN])
        fields["log_probs"].append([log_probs[p].item() for p in pairs] + rest * [NAN])
        fields["mask"].append(len(actions) * [1.0] + rest * [0.0])
    numbers = {
        name: torch.tensor(rows, **({} if name in ("observations", "actions") else DOUBLE))
        for name, rows in fields.items()
    }
    rollout = Rollout(
        **{name: rows.unsqueeze(1) for name, rows in numbers.items()},
        final_observations=torch.zeros(len(paths), 1, dtype=torch.int64),
        terminated=torch.tensor([[ended] for *_, ended in paths]),
    )
    return rollout, torch.tensor([chance for *_, chance, _ in paths], **DOUBLE)


def probabilities() -> torch.Tensor:
    """p(episode) under the policy of LOGITS, [E]."""
    rollout, chances = every_episode()
    scores = torch.where(rollout.mask > 0, rollout.log_probs, 0.0)
    return chances * scores.sum((-1, -2)).exp()


def values(logits: torch.Tensor) -> torch.Tensor:
    """Q_t(s, a) of every step, backwards from the last: [T, S, A]."""
    probs, following, steps = logits.softmax(-1), torch.zeros(2, **DOUBLE), []
    for _ in range(STEPS):
        steps.append(REWARD + GAMMA * MOVES @ following)
        following = (probs * steps[-1]).sum(-1)
    return torch.stack(steps[::-1])


def exact_return(logits: torch.Tensor) -> torch.Tensor:
    """J: the expected discounted return of an episode."""
    return START @ (logits.softmax(-1) * values(logits)[0]).sum(-1)


def hessian_parts() -> dict[str, torch.Tensor]:
    r"""H1 = E sum \nabla log pi \nabla log pi^T Q, H2 = E sum \nabla^2 log pi Q, H12 (1810.06784).

    Sums over steps, states and actions, with scores written out by hand; [4, 4] each.
    """
    probs, q = LOGITS.softmax(-1), values(LOGITS)
    slope_q = jacrev(values)(LOGITS).reshape(STEPS, 2, 2, 4)
    parts = {name: torch.zeros(4, 4, **DOUBLE) for name in ("H1", "H2", "H12")}
    visits = START.clone()
    for t in range(STEPS):
        for s in range(2):
            block = slice(2 * s, 2 * s + 2)
            for a in range(2):
                score = torch.zeros(4, **DOUBLE)
                score[block] = -probs[s]
                score[2 * s + a] += 1
                weight = GAMMA**t * visits[s] * probs[s, a]
                parts["H1"] += weight * q[t, s, a] * torch.outer(score, score)
                bend = torch.outer(probs[s], probs[s]) - probs[s].diag()
                parts["H2"][block, block] += weight * q[t, s, a] * bend
                parts["H12"] += weight * torch.outer(score, slope_q[t, s, a])
        visits = torch.einsum("s,sa,saz->z", visits, probs, MOVES)
    return parts


def exact_advantages(rollout: Rollout) -> torch.Tensor:
    """A_t(s_t, a_t) of every step of every episode, 0 at padding: [E, 1, T]."""
    q = values(LOGITS)
    gains = q - (LOGITS.softmax(-1) * q).sum(-1, keepdim=True)
    taken = rollout.mask > 0
    states, actions = (x.where(taken, 0) for x in (rollout.observations, rollout.actions))
    return torch.where(taken, gains[torch.arange(STEPS), states, actions], 0.0)
