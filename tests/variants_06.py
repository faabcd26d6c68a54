"""Right answers to exercise set 06 in other forms than the solutions."""

import torch


def reward_by_unsqueeze(before, after, actions, speeds, step_seconds):
    velocity = (after - before) * (1 / step_seconds)
    effort = torch.einsum("nbk,nbk->nb", actions, actions)
    return -torch.abs(velocity - speeds.unsqueeze(-1)) - effort / 20


def reward_by_loop(before, after, actions, speeds, step_seconds):
    rows = []
    for n in range(len(speeds)):
        gone = (after[n] - before[n]) / step_seconds
        rows.append(-(gone - speeds[n]).abs() - 0.05 * actions[n].norm(dim=-1) ** 2)
    return torch.stack(rows)


def observe_by_reshape(qpos, qvel, num_tasks):
    seen = torch.hstack([qpos, qvel])[:, 1:]
    return seen.reshape(num_tasks, len(qpos) // num_tasks, seen.shape[1])


def observe_by_chunks(qpos, qvel, num_tasks):
    parts = zip(qpos.chunk(num_tasks), qvel.chunk(num_tasks), strict=True)
    return torch.stack([torch.cat((p[:, 1:], v), dim=1) for p, v in parts])


def deal_by_index(values, num_episodes):
    return values[torch.arange(len(values) * num_episodes) // num_episodes]


def deal_by_expand(values, num_episodes):
    return values[:, None].expand(-1, num_episodes, *values.shape[1:]).flatten(0, 1)


def deal_by_stack(values, num_episodes):
    return torch.stack([values] * num_episodes, dim=1).flatten(0, 1)


def returns_by_loop(rewards, over):
    alive, total = torch.ones_like(over[..., 0]) > 0, torch.zeros_like(rewards[..., 0])
    for t in range(rewards.shape[-1]):
        total = total + rewards[..., t].where(alive, 0.0)
        alive = alive & (over[..., t] == 0)
    return total.mean(-1)


def returns_by_first_end(rewards, over):
    last = rewards.shape[-1] - 1
    first = torch.where(over.amax(-1) > 0, over.argmax(-1), last)
    steps = torch.arange(last + 1)
    return rewards.masked_fill(steps > first[..., None], 0.0).sum(-1).mean(-1)


def returns_by_nansum(rewards, over):
    before = torch.cat([torch.zeros_like(over[..., :1]), over.cummax(-1).values[..., :-1]], -1)
    kept = torch.where(before > 0, torch.nan, rewards)
    return kept.nansum(-1).sum(-1) / rewards.shape[1]


def moments_one_by_one(moments, observations, mask):
    """Welford: one observation after the other."""
    count, mean, squares = moments.clone()
    for row in observations[mask == 1]:
        count = count + 1
        apart = row - mean
        mean = mean + apart / count
        squares = squares + apart * (row - mean)
    return torch.stack([count, mean, squares])


def moments_by_weights(moments, observations, mask):
    kept = torch.where(mask[..., None] > 0, observations, 0.0)
    num = mask.sum()
    mean = kept.sum((0, 1, 2)) / num
    squares = (mask[..., None] * (kept - mean) ** 2).sum((0, 1, 2))
    total = moments[0] + num
    share = num / total
    return torch.stack(
        [
            total,
            (1 - share) * moments[1] + share * mean,
            moments[2] + squares + moments[0] * share * (mean - moments[1]) ** 2,
        ]
    )


def moments_around_the_old_mean(moments, observations, mask):
    """Shift by a row that is near, then sums of squares lose nothing."""
    seen = observations[mask.bool()]
    near = seen[0]
    total = moments[0] + len(seen)
    sums = moments[0] * (moments[1] - near) + (seen - near).sum(0)
    old = moments[2] + moments[0] * (moments[1] - near) ** 2
    squares = old + ((seen - near) ** 2).sum(0) - sums**2 / total
    return torch.stack([total, near + sums / total, squares])


def head_by_loop(weights, features, actions, advantages, lam, ridge):
    rows = []
    for w, h, a, better in zip(weights, features, actions, advantages, strict=True):
        c = torch.einsum("mi,mj->ij", h, h) / len(h) + ridge * torch.eye(len(h.T)).to(h)
        g = torch.einsum("m,mi,mk->ki", better, h, a - h @ w.T) / len(h)
        rows.append(w + g @ torch.linalg.inv(c) / lam)
    return torch.stack(rows)


def head_by_cholesky(weights, features, actions, advantages, lam, ridge):
    num = advantages.shape[1]
    noise = advantages.unsqueeze(-1) * (actions - torch.einsum("nmd,nkd->nmk", features, weights))
    gram = features.mT @ features + num * ridge * torch.eye(features.shape[-1]).double()
    solved = torch.cholesky_solve(features.mT @ noise, torch.linalg.cholesky(lam * gram))
    return weights + solved.mT


def head_by_regression(weights, features, actions, advantages, lam, ridge):
    """Fit the target W h + A (a - W h) / lam; the ridge is a few more rows that ask for W."""
    num, size = features.shape[1:]
    means = features @ weights.mT
    target = means + advantages[..., None] * (actions - means) / lam
    rows = (num * ridge) ** 0.5 * torch.eye(size).double().expand(len(features), -1, -1)
    matrix = torch.cat([features, rows], 1)
    return torch.linalg.lstsq(matrix, torch.cat([target, rows @ weights.mT], 1)).solution.mT


def speed_up_by_matrix(seconds, factors):
    return seconds.sum() / (factors.reciprocal() @ seconds)


def speed_up_by_shares(seconds, factors):
    share = seconds / seconds.sum()
    return torch.stack([1 / (share / row).sum() for row in factors])


def budget_by_loop(returns, episodes, horizon, budget):
    reached = []
    for row, sizes in zip(returns, episodes, strict=True):
        spent, j = 0, 0
        while j < len(sizes) and spent + horizon * int(sizes[j]) <= budget:
            spent, j = spent + horizon * int(sizes[j]), j + 1
        reached.append(row[j])
    return torch.stack(reached)


def budget_by_search(returns, episodes, horizon, budget):
    costs = (horizon * episodes).cumsum(-1)
    index = torch.searchsorted(costs, torch.full_like(costs[:, :1], budget), right=True)
    return returns.take_along_dim(index, -1).squeeze(-1)


VARIANTS = {
    "speed_reward": (reward_by_unsqueeze, reward_by_loop),
    "observe": (observe_by_reshape, observe_by_chunks),
    "deal": (deal_by_index, deal_by_expand, deal_by_stack),
    "mean_returns": (returns_by_loop, returns_by_first_end, returns_by_nansum),
    "update_moments": (moments_one_by_one, moments_by_weights, moments_around_the_old_mean),
    "adapt_head": (head_by_loop, head_by_cholesky, head_by_regression),
    "speed_up": (speed_up_by_matrix, speed_up_by_shares),
    "returns_at_budget": (budget_by_loop, budget_by_search),
}
"""Right answers that look otherwise; all must pass."""
