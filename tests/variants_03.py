"""Right answers to exercise set 03 in other forms than the solutions."""

import torch
from torch.distributions import Categorical
from torch.distributions import kl_divergence as torch_kl
from torch.func import grad, hessian, jacrev

from bomrl_lite import mdp


def data_of(phi, task, gamma):
    probs = torch.softmax(phi, 1)
    return mdp.occupancy(probs, task, gamma), mdp.q_values(probs, task, gamma)


def surrogate_by_ratio(theta, phi, task, gamma):
    """The expectation as it is written, with the ratio."""
    nu, q = data_of(phi, task, gamma)
    ratio = (torch.log_softmax(theta, -1) - torch.log_softmax(phi, -1)).exp()
    return torch.einsum("s,sa,sa,sa->", nu, torch.softmax(phi, -1), ratio, q)


def surrogate_by_loops(theta, phi, task, gamma):
    nu, q = data_of(phi, task, gamma)
    total = torch.zeros((), dtype=torch.float64)
    for s in range(len(nu)):
        total = total + nu[s] * torch.dot(torch.softmax(theta[s], 0), q[s])
    return total


def kl_by_torch(phi, theta, nu):
    apart = torch_kl(Categorical(logits=phi), Categorical(logits=theta))
    return nu @ apart


def kl_by_functional(phi, theta, nu):
    table = torch.nn.functional.kl_div(
        theta.log_softmax(-1), phi.log_softmax(-1), reduction="none", log_target=True
    )
    return (nu * table.sum(-1)).sum()


def kl_by_log_sum_exp(phi, theta, nu):
    slope = torch.softmax(phi, -1)
    apart = theta.logsumexp(-1) - phi.logsumexp(-1) - (slope * (theta - phi)).sum(-1)
    return torch.dot(nu, apart)


def d2_in_probabilities(phi, q, lam):
    """Tilt, normalise, and take the logarithm: the same policy in another gauge."""
    top = (q / lam).max(-1, keepdim=True).values
    weights = torch.softmax(phi, -1) * (q / lam - top).exp()
    return (weights / weights.sum(-1, keepdim=True)).log()


def d2_by_advantage(phi, q, lam):
    value = (torch.softmax(phi, -1) * q).sum(-1, keepdim=True)
    return phi + (q - value) / lam


def d2_shifted(phi, q, lam):
    """Any constant per state is as good as another."""
    return phi + q / lam + 7.5 * torch.arange(len(phi), dtype=torch.float64)[:, None]


def d1_by_bisection(phi, q, lam):
    """Bisection without gradients, then two Newton steps that have them."""
    p = torch.softmax(phi, -1)
    with torch.no_grad():
        low = (q + lam * p).amax(-1, keepdim=True)
        high = q.amax(-1, keepdim=True) + lam
        for _ in range(80):
            mid = 0.5 * (low + high)
            heavy = (lam * p / (mid - q)).sum(-1, keepdim=True) > 1
            low, high = torch.where(heavy, mid, low), torch.where(heavy, high, mid)
    mu = high
    for _ in range(2):
        f = (lam * p / (mu - q)).sum(-1, keepdim=True) - 1
        mu = mu + f / (lam * p / (mu - q) ** 2).sum(-1, keepdim=True)
    return (lam * p / (mu - q)).log()


def d1_by_states(phi, q, lam):
    """Newton state by state until it settles, in units of lam."""
    rows = []
    for logits, value in zip(phi, q / lam, strict=True):
        p = torch.softmax(logits, -1)
        mu = (value + p).max()
        for _ in range(60):
            mu = mu + ((p / (mu - value)).sum() - 1) / (p / (mu - value) ** 2).sum()
        rows.append(torch.log_softmax(logits, -1) - torch.log(mu - value))
    return torch.stack(rows)


def d1_by_advantage(phi, q, lam):
    value = (torch.softmax(phi, -1) * q).sum(-1, keepdim=True)
    return d1_by_bisection(phi, q - value, lam)


def natural_by_tilting(phi, task, gamma, lam):
    return phi + data_of(phi, task, gamma)[1] / lam


def natural_by_pseudo_inverse(phi, task, gamma, lam):
    """The definition: Fisher matrix of every state, its pseudo-inverse, the slope of L."""
    nu, _ = data_of(phi, task, gamma)
    pi = torch.softmax(phi, -1)
    fisher = nu[:, None, None] * (torch.diag_embed(pi) - pi[:, :, None] * pi[:, None, :])
    slope = grad(lambda theta: surrogate_by_ratio(theta, phi, task, gamma))(phi)
    inverse = torch.linalg.pinv(fisher, rtol=1e-10, hermitian=True)
    return phi + (inverse @ slope[..., None])[..., 0] / lam


def natural_by_hessian(phi, task, gamma, lam):
    """One big matrix, by automatic differentiation of the distance."""
    nu, _ = data_of(phi, task, gamma)
    size = phi.numel()
    bend = hessian(lambda theta: kl_by_log_sum_exp(phi, theta, nu))(phi).reshape(size, size)
    slope = jacrev(lambda theta: surrogate_by_ratio(theta, phi, task, gamma))(phi).reshape(size)
    step = torch.linalg.lstsq(bend, slope[:, None], rcond=1e-10, driver="gelsd").solution[:, 0]
    return phi + step.reshape(phi.shape) / lam


def bound_by_advantage(theta, phi, task, gamma, lam):
    """L(theta) - L(phi) is the average advantage of pi_theta."""
    nu, q = data_of(phi, task, gamma)
    pi = torch.softmax(phi, -1)
    value = (pi * q).sum(-1)
    ahead = nu @ (torch.softmax(theta, -1) * (q - value[:, None])).sum(-1)
    return task.start @ value + (ahead - lam * kl_by_torch(phi, theta, nu)) / (1 - gamma)


def bound_from_occupancy(theta, phi, task, gamma, lam):
    """(1 - gamma) J is the average reward under the occupancy."""
    nu, q = data_of(phi, task, gamma)
    here = (nu[:, None] * torch.softmax(phi, -1) * task.reward).sum()
    gained = (nu[:, None] * (torch.softmax(theta, -1) - torch.softmax(phi, -1)) * q).sum()
    return (here + gained - lam * kl_by_functional(phi, theta, nu)) / (1 - gamma)


def many_by_recursion(alg, phi, task, gamma, lam, num_steps):
    if num_steps == 0:
        return phi.unsqueeze(0)
    after = alg(phi, data_of(phi, task, gamma)[1], lam)
    rest = many_by_recursion(alg, after, task, gamma, lam, num_steps - 1)
    return torch.cat([phi[None], rest])


def many_in_place(alg, phi, task, gamma, lam, num_steps):
    tables = torch.empty(num_steps + 1, *phi.shape, dtype=phi.dtype)
    tables[0] = phi
    for k in range(num_steps):
        tables[k + 1] = alg(tables[k].clone(), data_of(tables[k], task, gamma)[1], lam)
    return tables


def many_centred(alg, phi, task, gamma, lam, num_steps):
    """Take the mean of every state away in the end."""
    tables = many_by_recursion(alg, phi, task, gamma, lam, num_steps)
    return tables - tables.mean(-1, keepdim=True)


VARIANTS = {
    "surrogate": (surrogate_by_ratio, surrogate_by_loops),
    "kl_distance": (kl_by_torch, kl_by_functional, kl_by_log_sum_exp),
    "adapt_d2": (d2_in_probabilities, d2_by_advantage, d2_shifted),
    "adapt_d1": (d1_by_bisection, d1_by_states, d1_by_advantage),
    "natural_gradient_step": (natural_by_tilting, natural_by_pseudo_inverse, natural_by_hessian),
    "lower_bound": (bound_by_advantage, bound_from_occupancy),
    "adapt_repeatedly": (many_by_recursion, many_in_place, many_centred),
}
"""Right answers that look otherwise; all must pass."""
