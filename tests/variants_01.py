"""Right answers to exercise set 01 in other forms than the solutions."""

import torch
from torch.func import grad, hessian, jvp, vmap

from bomrl_lite.types import TabularTask


def _moves(policy_probs, task):
    return (policy_probs.unsqueeze(-1) * task.transition).sum(1)


def q_by_inverse(policy_probs, task, gamma):
    p = _moves(policy_probs, task)
    v = torch.inverse(torch.eye(p.shape[0], dtype=p.dtype) - gamma * p) @ torch.einsum(
        "sa,sa->s", policy_probs, task.reward
    )
    return task.reward + gamma * torch.einsum("sat,t->sa", task.transition, v)


def q_by_pairs(policy_probs, task, gamma):
    """Solve for Q itself, over pairs of state and action."""
    size = task.reward.numel()
    pairs = (task.transition.unsqueeze(-1) * policy_probs).reshape(size, size)
    system = torch.eye(size, dtype=torch.float64) - gamma * pairs
    return torch.linalg.solve(system, task.reward.reshape(-1)).reshape(task.reward.shape)


def q_by_sweeps(policy_probs, task, gamma):
    q = torch.zeros_like(task.reward)
    for _ in range(400):
        q = task.reward + gamma * task.transition @ (policy_probs * q).sum(-1)
    return q


def q_by_loops(policy_probs, task, gamma):
    v = (policy_probs * q_by_pairs(policy_probs, task, gamma)).sum(-1)
    rows = []
    for s in range(task.reward.shape[0]):
        row = []
        for a in range(task.reward.shape[1]):
            ahead = sum(task.transition[s, a, t] * v[t] for t in range(len(v)))
            row.append(task.reward[s, a] + gamma * ahead)
        rows.append(torch.stack(row))
    return torch.stack(rows)


def occupancy_by_time(policy_probs, task, gamma):
    p, now, total = _moves(policy_probs, task), task.start, torch.zeros_like(task.start)
    for t in range(400):
        total = total + (1 - gamma) * gamma**t * now
        now = now @ p
    return total


def occupancy_by_inverse(policy_probs, task, gamma):
    p = _moves(policy_probs, task)
    return (1 - gamma) * task.start @ torch.linalg.inv(torch.eye(len(p)).double() - gamma * p)


def occupancy_by_rewards(policy_probs, task, gamma):
    """Differentiate J in a reward that is paid for being in a state."""

    def earned(bonus):
        paid = TabularTask(task.transition, bonus[:, None].expand_as(task.reward), task.start)
        return return_of_probs(policy_probs, paid, gamma)

    return (1 - gamma) * grad(earned)(torch.zeros_like(task.start))


def return_of_probs(policy_probs, task, gamma):
    return task.start @ (policy_probs * q_by_inverse(policy_probs, task, gamma)).sum(-1)


def return_of(phi, task, gamma):
    return return_of_probs(torch.softmax(phi, -1), task, gamma)


def gradient_by_func(phi, task, gamma):
    return grad(return_of)(phi, task, gamma)


def gradient_by_autograd(phi, task, gamma):
    phi = phi if phi.requires_grad else phi.clone().requires_grad_()
    return torch.autograd.grad(return_of(phi, task, gamma), phi, create_graph=True)[0]


def gradient_by_jacobian(phi, task, gamma):
    """The theorem as it is written, with the derivative of the softmax in full."""
    probs = torch.softmax(phi, -1)
    slope = torch.diag_embed(probs) - probs.unsqueeze(-1) * probs.unsqueeze(-2)
    visits, q = occupancy_by_time(probs, task, gamma), q_by_pairs(probs, task, gamma)
    return torch.einsum("s,sab,sa->sb", visits, slope, q) / (1 - gamma)


def adapt_by_func(phi, task, gamma, step_size):
    return torch.add(phi, gradient_by_func(phi, task, gamma), alpha=step_size)


def adapt_by_autograd(phi, task, gamma, step_size):
    return phi + step_size * gradient_by_autograd(phi, task, gamma)


def maml_by_autograd(phi, task, gamma, step_size):
    phi = phi.detach().clone().requires_grad_()
    theta = adapt_by_autograd(phi, task, gamma, step_size)
    return torch.autograd.grad(return_of(theta, task, gamma), phi)[0]


def maml_by_hessian(phi, task, gamma, step_size):
    outer = gradient_by_func(adapt_by_func(phi, task, gamma, step_size), task, gamma)
    matrix = hessian(return_of)(phi, task, gamma).reshape(phi.numel(), phi.numel())
    return outer + step_size * (matrix @ outer.reshape(-1)).reshape(phi.shape)


def maml_by_jvp(phi, task, gamma, step_size):
    outer = gradient_by_func(adapt_by_func(phi, task, gamma, step_size), task, gamma)
    return outer + step_size * jvp(lambda x: gradient_by_func(x, task, gamma), (phi,), (outer,))[1]


def first_order_by_autograd(phi, task, gamma, step_size):
    theta = adapt_by_autograd(phi, task, gamma, step_size).detach().requires_grad_()
    return torch.autograd.grad(return_of(theta, task, gamma), theta)[0]


def first_order_by_stop(phi, task, gamma, step_size):
    change = (adapt_by_func(phi, task, gamma, step_size) - phi).detach()
    return grad(lambda x: return_of(x + change, task, gamma))(phi)


def best_by_policy_iteration(task, gamma):
    probs = torch.full_like(task.reward, 1 / task.reward.shape[1])
    for _ in range(10):
        greedy = q_by_pairs(probs, task, gamma).argmax(-1)
        probs = torch.nn.functional.one_hot(greedy, task.reward.shape[1]).double()
    return return_of_probs(probs, task, gamma)


def best_until_settled(task, gamma):
    values, change = torch.zeros_like(task.start), 1.0
    while change > 1e-13:
        q = task.reward + gamma * torch.einsum("sat,t->sa", task.transition, values)
        change = (q.amax(1) - values).abs().max().item()
        values = q.amax(1)
    return (task.start * values).sum()


def gap_in_one_line(phi, tasks, gamma, step_size):
    return torch.stack(
        [
            best_until_settled(t, gamma)
            - return_of(adapt_by_func(phi, t, gamma, step_size), t, gamma)
            for t in tasks
        ]
    )


def gap_by_vmap(phi, tasks, gamma, step_size):
    batch = TabularTask(*(torch.stack(field) for field in zip(*tasks, strict=True)))
    after = vmap(lambda t: return_of(adapt_by_func(phi, t, gamma, step_size), t, gamma))(batch)
    return torch.stack([best_by_policy_iteration(t, gamma) for t in tasks]) - after


VARIANTS = {
    "q_values": (q_by_inverse, q_by_pairs, q_by_sweeps, q_by_loops),
    "occupancy": (occupancy_by_time, occupancy_by_inverse, occupancy_by_rewards),
    "policy_gradient": (gradient_by_func, gradient_by_autograd, gradient_by_jacobian),
    "adapt": (adapt_by_func, adapt_by_autograd),
    "maml_gradient": (maml_by_autograd, maml_by_hessian, maml_by_jvp),
    "first_order_gradient": (first_order_by_autograd, first_order_by_stop),
    "optimal_return": (best_by_policy_iteration, best_until_settled),
    "optimality_gap": (gap_in_one_line, gap_by_vmap),
}
"""Right answers that look otherwise; all must pass."""
