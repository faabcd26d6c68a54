"""Right answers to exercise set 02 in other forms than the solutions."""

import torch


def returns_by_double_loop(rewards, mask, terminated, final_values, gamma):
    answer = torch.zeros_like(rewards)
    for b in range(len(rewards)):
        taken = int(mask[b].sum())
        tail = 0.0 if terminated[b] else final_values[b]
        for t in range(taken):
            paid = sum(gamma ** (u - t) * rewards[b, u] for u in range(t, taken))
            answer[b, t] = paid + gamma ** (taken - t) * tail
    return answer


def returns_by_matrix(rewards, mask, terminated, final_values, gamma):
    steps = torch.arange(rewards.shape[1])
    ahead = steps[None, :] - steps[:, None]
    powers = torch.where(ahead >= 0, float(gamma) ** ahead.clamp(min=0).to(rewards), 0.0)
    left = mask.sum(-1, keepdim=True) - steps
    tail = (
        float(gamma) ** left.clamp(min=0).to(rewards) * ((1 - terminated) * final_values)[:, None]
    )
    return mask * ((rewards * mask) @ powers.to(rewards).T + tail)


def advantages_by_errors(rewards, mask, terminated, values, final_values, gamma, trace):
    """All errors at once, then 2.1's sum with another discount."""
    last = mask.sum(-1).long() - 1
    rows = torch.arange(len(rewards))
    after = torch.cat([values[:, 1:], torch.zeros_like(values[:, :1])], 1)
    after[rows, last] = torch.where(terminated > 0, torch.zeros_like(final_values), final_values)
    errors = (rewards + gamma * after - values) * mask
    zeros = torch.zeros_like(final_values)
    return returns_by_matrix(errors, mask, zeros + 1, zeros, gamma * trace)


def advantages_as_lambda_returns(rewards, mask, terminated, values, final_values, gamma, trace):
    """The lambda-return minus V: G_t = r_t + gamma ((1 - trace) V(s_t+1) + trace G_t+1)."""
    value = mixed = torch.where(terminated > 0, 0.0, final_values)
    out = torch.zeros_like(rewards)
    for t in range(rewards.shape[1] - 1, -1, -1):
        taken = mask[:, t].bool()
        total = rewards[:, t] + gamma * ((1 - trace) * value + trace * mixed)
        mixed, value = torch.where(taken, total, mixed), torch.where(taken, values[:, t], value)
        out[:, t] = torch.where(taken, total - values[:, t], 0.0)
    return out


def lvc_by_probs(log_probs, returns, weights, gamma):
    probs = log_probs.exp()
    total = 0.0
    for t in range(log_probs.shape[1]):
        total = (
            total + gamma**t * (weights * probs[:, t] / probs[:, t].detach() * returns[:, t]).sum()
        )
    return total


def lvc_with_no_grad(log_probs, returns, weights, gamma):
    with torch.no_grad():
        old = log_probs.clone()
        powers = torch.tensor([gamma**t for t in range(returns.shape[1])], dtype=returns.dtype)
    return torch.einsum("b,t,bt,bt->", weights, powers, (log_probs - old).exp(), returns)


def dice_by_products(log_probs, rewards, weights, gamma):
    """The box of a sum is the product of the boxes."""
    ratio, total = torch.ones_like(weights), torch.zeros_like(weights)
    for t in range(rewards.shape[1]):
        ratio = ratio * (log_probs[:, t] - log_probs[:, t].detach()).exp()
        total = total + gamma**t * ratio * rewards[:, t]
    return (weights * total).sum()


def dice_by_matrix(log_probs, rewards, weights, gamma):
    size = rewards.shape[1]
    causes = log_probs @ torch.ones(size, size).to(rewards).triu()
    box = causes.exp() / causes.exp().detach()
    powers = torch.tensor(gamma, dtype=rewards.dtype) ** torch.arange(size)
    return ((box * rewards) @ powers) @ weights


def q_gradient_by_einsum(scores, credit, gamma, trace):
    steps = torch.arange(credit.shape[1])
    ahead = steps[None, :] - steps[:, None]
    kernel = float(gamma * trace) ** ahead.clamp(min=0).to(scores) * (ahead > 0)
    return torch.einsum("tu,bu,bun->btn", kernel, credit, scores)


def q_gradient_by_loops(scores, credit, gamma, trace):
    answer = torch.zeros_like(scores)
    for t in range(credit.shape[1]):
        for u in range(t + 1, credit.shape[1]):
            answer[:, t] += (gamma * trace) ** (u - t) * scores[:, u] * credit[:, u, None]
    return answer


def split_by_loops(scores, curvatures, returns, weights, gamma):
    later = q_gradient_by_loops(scores, returns, gamma, 1.0)
    terms = torch.zeros(3, scores.shape[-1], scores.shape[-1]).to(scores)
    for b in range(len(weights)):
        for t in range(returns.shape[1]):
            share, g = weights[b] * gamma**t, scores[b, t]
            terms[0] += share * returns[b, t] * torch.outer(g, g)
            terms[1] += share * returns[b, t] * curvatures[b, t]
            terms[2] += share * torch.outer(g, later[b, t])
    return terms


def split_by_matrix_products(scores, curvatures, returns, weights, gamma):
    """H12 from the past: pairs (t, u) are summed over u first."""
    size = returns.shape[1]
    flat = scores.flatten(0, 1)
    share = (
        weights[:, None] * torch.tensor([gamma**t for t in range(size)], dtype=weights.dtype)
    ).flatten()
    gained = share * returns.flatten()
    h1 = flat.T @ (gained[:, None] * flat)
    h2 = (gained[:, None, None] * curvatures.flatten(0, 1)).sum(0)
    past = scores.cumsum(1) - scores
    return torch.stack([h1, h2, past.flatten(0, 1).T @ (gained[:, None] * flat)])


def e_maml_by_two_parts(log_probs, after, weights):
    score = log_probs.flatten(1).sum(-1)
    return (weights * (after + (score - score.detach()) * after.detach())).sum()


def e_maml_by_products(log_probs, after, weights):
    chance = log_probs.exp().prod(-1).prod(-1)
    return torch.dot(weights * chance / chance.detach(), after)


def promp_by_cases(log_probs, old_log_probs, advantages, prior, old_prior, clip, penalty):
    ratio = torch.exp(log_probs) / torch.exp(old_log_probs)
    limit = 1 + clip * advantages.sign()
    beyond = advantages * (ratio - limit) > 0
    gain = torch.where(beyond, limit, ratio) * advantages
    kl = torch.nn.functional.kl_div(prior, old_prior, log_target=True, reduction="sum")
    return gain.sum() / len(gain) - penalty * kl / len(prior)


def promp_by_distributions(log_probs, old_log_probs, advantages, prior, old_prior, clip, penalty):
    ratio = (log_probs - old_log_probs).exp()
    both = torch.stack([ratio * advantages, torch.clip(ratio, 1 - clip, 1 + clip) * advantages])
    old, new = (torch.distributions.Categorical(logits=x) for x in (old_prior, prior))
    return (both.min(0).values).mean() - penalty * torch.distributions.kl_divergence(
        old, new
    ).mean()


VARIANTS = {
    "discounted_returns": (returns_by_double_loop, returns_by_matrix),
    "generalised_advantages": (advantages_by_errors, advantages_as_lambda_returns),
    "lvc_objective": (lvc_by_probs, lvc_with_no_grad),
    "dice_objective": (dice_by_products, dice_by_matrix),
    "q_gradient": (q_gradient_by_einsum, q_gradient_by_loops),
    "hessian_split": (split_by_loops, split_by_matrix_products),
    "e_maml_objective": (e_maml_by_two_parts, e_maml_by_products),
    "promp_objective": (promp_by_cases, promp_by_distributions),
}
"""Right answers that look otherwise; all must pass."""
