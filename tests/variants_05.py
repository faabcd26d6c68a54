"""Right answers to exercise set 05 in other forms than the solutions."""

import itertools

import torch
from torch.func import vmap

from bomrl_lite.types import TabularTask


def _values(probs, task, gamma):
    moves = torch.einsum("sa,sat->st", probs, task.transition)
    eye = torch.eye(len(moves), dtype=moves.dtype)
    return torch.linalg.inv(eye - gamma * moves) @ (probs * task.reward).sum(-1)


def _visits(probs, task, gamma):
    moves = torch.einsum("sa,sat->st", probs, task.transition)
    now, total = (1 - gamma) * task.start, torch.zeros_like(task.start)
    for _ in range(400):
        total, now = total + now, gamma * now @ moves
    return total


def _advantages(probs, task, gamma):
    v = _values(probs, task, gamma)
    return task.reward + gamma * task.transition @ v - v[:, None]


def marks_by_value_iteration(task, gamma):
    values = torch.zeros_like(task.start)
    for _ in range(500):
        q = task.reward + gamma * task.transition @ values
        values = q.amax(-1)
    return (q - values[:, None] > -1e-6).to(task.reward.dtype)


def marks_by_enumeration(task, gamma):
    """Try every deterministic policy: an action is optimal if one of the best takes it."""
    num_states, num_actions = task.reward.shape
    table = torch.zeros_like(task.reward)
    tried = []
    for choice in itertools.product(range(num_actions), repeat=num_states):
        probs = torch.nn.functional.one_hot(torch.tensor(choice), num_actions).double()
        tried.append((choice, _values(probs, task, gamma)))
    best = torch.stack([v for _, v in tried]).amax(0)
    for choice, v in tried:
        for state, action in enumerate(choice):
            if v[state] > best[state] - 1e-8:
                table[state, action] = 1.0
    return table


def marks_by_isclose(task, gamma):
    values = torch.zeros_like(task.start)
    for _ in range(600):
        values = (task.reward + gamma * task.transition @ values).max(1).values
    q = task.reward + gamma * torch.einsum("sat,t->sa", task.transition, values)
    return torch.isclose(q, values[:, None].expand_as(q), rtol=0, atol=1e-8) * 1.0 + 0.0 * q


def far_by_logsumexp(phi, optimal, task, gamma):
    masked = torch.where(optimal > 0, phi, -torch.inf)
    log_mass = masked.logsumexp(-1) - phi.logsumexp(-1)
    return -(_visits(phi.softmax(-1), task, gamma) * log_mass).sum()


def far_by_nearest(phi, optimal, task, gamma):
    """Build the nearest optimum and take its divergence, as the definition says."""
    probs = torch.softmax(phi, -1)
    nearest = probs * optimal / (probs * optimal).sum(-1, keepdim=True)
    ratio = torch.where(optimal > 0, nearest / probs, 1.0)
    return _visits(probs, task, gamma) @ (nearest * ratio.log()).sum(-1)


def far_by_loop(phi, optimal, task, gamma):
    probs = phi.softmax(-1)
    nu, total = _visits(probs, task, gamma), 0.0
    for s in range(len(nu)):
        total = total - nu[s] * torch.log(probs[s][optimal[s] == 1].sum())
    return total


def _batched(tasks, found, gamma):
    batch = TabularTask(*(torch.stack(field) for field in zip(*tasks, strict=True)))
    marks = torch.stack(found)

    def solve(probs, task):
        moves = torch.einsum("sa,sat->st", probs, task.transition)
        eye = torch.eye(moves.shape[0], dtype=moves.dtype)
        nu = torch.linalg.solve(eye - gamma * moves.mT, (1 - gamma) * task.start[:, None])
        return nu[:, 0]

    def spread(phi):
        probs = phi.softmax(-1)
        each = vmap(lambda t, o: solve(probs, t) @ -(probs * o).sum(-1).log())(batch, marks)
        return each.mean()

    return spread


def middle_by_adam(tasks, gamma):
    found = [marks_by_value_iteration(t, gamma) for t in tasks]
    spread = _batched(tasks, found, gamma)
    phi = torch.zeros(tasks[0].reward.shape, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.Adam([phi], lr=0.2)
    for _ in range(150):
        optimizer.zero_grad()
        spread(phi).backward()
        optimizer.step()
    return phi.detach()


def middle_from_a_random_start(tasks, gamma):
    """Begin anywhere: two calls give two tables of logits, and the same mean distance."""
    found = [marks_by_value_iteration(t, gamma) for t in tasks]
    spread = _batched(tasks, found, gamma)
    phi = torch.randn(tasks[0].reward.shape, dtype=torch.float64)
    for _ in range(12):
        slope, bend = torch.func.grad(spread)(phi), torch.func.hessian(spread)(phi)
        values, vectors = torch.linalg.eigh(bend.reshape(phi.numel(), -1))
        inverse = torch.where(values.abs() > 1e-8, 1 / values.abs().clamp(min=1e-2), 0.0)
        step = vectors @ (inverse * (vectors.mT @ slope.reshape(-1)))
        phi = phi - step.reshape(phi.shape) / max(1.0, step.abs().max().item())
    return phi


def middle_by_lbfgs(tasks, gamma):
    found = [marks_by_value_iteration(t, gamma) for t in tasks]
    phi = torch.zeros(tasks[0].reward.shape, dtype=torch.float64, requires_grad=True)
    spread = _batched(tasks, found, gamma)
    optimizer = torch.optim.LBFGS([phi], lr=1, max_iter=100, line_search_fn="strong_wolfe")

    def closure():
        optimizer.zero_grad()
        value = spread(phi)
        value.backward()
        return value

    for _ in range(3):
        optimizer.step(closure)
    return phi.detach()


def gain_by_values(phi, theta, task, gamma):
    """Use r + gamma P V - V in place of the advantages."""
    new, old = theta.softmax(-1), phi.softmax(-1)
    v = _values(old, task, gamma)
    moves = torch.einsum("sa,sat->st", new, task.transition)
    residual = (new * task.reward).sum(-1) + gamma * moves @ v - v
    return _visits(new, task, gamma) / (1 - gamma) * residual


def gain_by_difference(phi, theta, task, gamma):
    """Average the advantages by pi_theta - pi_phi: under pi_phi they are 0."""
    new, old = torch.softmax(theta, 1), torch.softmax(phi, 1)
    better = torch.einsum("sa,sa->s", new - old, _advantages(old, task, gamma))
    return _visits(new, task, gamma) * better / (1 - gamma)


def weight_by_loop(phi, task, gamma):
    probs = phi.softmax(-1)
    seen = [nu for nu in _visits(probs, task, gamma) if nu > 0]
    advantage = _advantages(probs, task, gamma)
    a_max = torch.maximum(advantage.max(), -advantage.min())
    return 2 * gamma / (1 - gamma) * a_max * torch.stack(seen).min() ** -0.5


def weight_of_reached_states(phi, task, gamma):
    """Take A_max over the states that are reached only: what happens elsewhere never counts."""
    probs = phi.softmax(-1)
    nu = _visits(probs, task, gamma)
    a_max = _advantages(probs, task, gamma).abs()[nu > 1e-10].max()
    return 2 * gamma * a_max / ((1 - gamma) * nu.where(nu > 1e-10, 1.0).min().sqrt())


def shift_by_gains(phi, theta, task, gamma):
    """TV is what some actions gain, which the others lose."""
    before = phi.exp() / phi.exp().sum(-1, keepdim=True)
    gained = (theta.softmax(dim=1) - before).clamp(min=0).sum(-1)
    return 2 * (_visits(before, task, gamma) * gained).sum() * gamma / (1 - gamma)


def shift_by_loop(phi, theta, task, gamma):
    before, after = phi.log_softmax(-1).exp(), theta.log_softmax(-1).exp()
    total = torch.zeros((), dtype=phi.dtype)
    for weight, p, q in zip(_visits(before, task, gamma), before, after, strict=True):
        total = total + weight * torch.linalg.vector_norm(p - q, ord=1)
    return total * gamma / (1 - gamma)


def bound_by_where(phi, optimal, task, gamma, lam):
    least = weight_by_loop(phi, task, gamma)
    apart = far_by_nearest(phi, optimal, task, gamma)
    return torch.where(lam >= least, (lam + least) / (1 - gamma) * apart, torch.inf)


def bound_in_two_parts(phi, optimal, task, gamma, lam):
    least = weight_by_loop(phi, task, gamma).item()
    if lam >= least:
        apart = far_by_loop(phi, optimal, task, gamma) / (1 - gamma)
        return lam * apart + least * apart
    return torch.full((), float("inf"), dtype=phi.dtype)


def fit_by_active_set(gaps):
    """Drop the most negative term and fit anew; with three columns try all starts."""
    steps = torch.arange(1, len(gaps) + 1).double()
    means = torch.stack([gaps[: int(t)].mean() for t in steps])
    columns = torch.stack([1 / steps, 1 / steps.sqrt(), steps**0], 1)
    best = (torch.inf, torch.zeros(3).double())
    for keep in itertools.product([False, True], repeat=3):
        kept = columns * torch.tensor(keep)
        x = torch.linalg.pinv(kept) @ means
        error = (kept @ x - means).norm().item()
        if x.min() >= -1e-12 and error < best[0]:
            best = (error, x.clamp(min=0))
    return best[1]


def fit_by_dual_steps(gaps):
    """Solve the dual: gradient steps on the multipliers of K, M, floor >= 0, far enough."""
    steps = torch.arange(1, len(gaps) + 1, dtype=torch.float64)
    means = gaps.cumsum(0) / steps
    columns = torch.stack([1 / steps, steps.rsqrt(), torch.ones_like(steps)], -1)
    inverse = torch.linalg.inv(columns.T @ columns)
    mu, rate = torch.zeros(3, dtype=torch.float64), 1 / torch.linalg.eigvalsh(inverse)[-1]
    for _ in range(20000):
        x = inverse @ (columns.T @ means + mu)
        moved = (mu - rate * x).clamp(min=0)
        if (moved - mu).abs().max() < 1e-15:
            break
        mu = moved
    return (inverse @ (columns.T @ means + mu)).clamp(min=0)


VARIANTS = {
    "optimal_actions": (marks_by_value_iteration, marks_by_enumeration, marks_by_isclose),
    "distance_to_optimum": (far_by_logsumexp, far_by_nearest, far_by_loop),
    "middle_policy": (middle_by_adam, middle_from_a_random_start, middle_by_lbfgs),
    "gain_by_state": (gain_by_values, gain_by_difference),
    "rigorous_lambda": (weight_by_loop, weight_of_reached_states),
    "gap_bound": (bound_by_where, bound_in_two_parts),
    "fit_rate": (fit_by_active_set, fit_by_dual_steps),
    "shift_bound": (shift_by_gains, shift_by_loop),
}
"""Right answers that look otherwise; all must pass."""
