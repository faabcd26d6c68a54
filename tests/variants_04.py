"""Right answers to exercise set 04 in other forms than the solutions."""

import torch
from torch.func import grad, hessian, jacrev


def derivative_by_autograd(objective, theta, phi):
    theta, phi = (x.detach().clone().requires_grad_() for x in (theta, phi))
    (slope,) = torch.autograd.grad(objective(theta, phi), theta, create_graph=True)
    bend, cross = torch.autograd.grad(slope, (theta, phi))
    return -cross / bend


def derivative_by_newton(objective, theta, phi):
    """One Newton step from theta as a function of phi: right to first order in phi."""
    slope, bend = grad(objective), grad(grad(objective))(theta, phi)
    return grad(lambda p: theta - slope(theta, p) / bend)(phi)


def derivative_by_hessian(objective, theta, phi):
    pair = hessian(lambda x: objective(x[0], x[1]))(torch.stack([theta, phi]))
    return -pair[0, 1] / pair[0, 0]


def cg_by_numbers(matvec, b, tolerance):
    """Numbers instead of tensors, and a residual that is looked at before each product."""
    x, residual, limit = torch.zeros_like(b), b.clone(), tolerance * b.norm().item()
    direction = residual.clone()
    while residual.norm().item() > limit:
        image = matvec(direction)
        bend = (direction * image).sum().item()
        if not bend > 0:
            raise ValueError("not positive definite")
        old = (residual * residual).sum().item()
        x += (old / bend) * direction
        residual = residual - (old / bend) * image
        direction = residual + (residual * residual).sum().item() / old * direction
    return x


def cg_that_gives_up(matvec, b, tolerance):
    """A for loop with a break, and beta by Polak and Ribiere."""
    if b.norm() == 0:
        return b.clone()
    x, r, p = 0 * b, b, b
    for _ in range(10 * len(b)):
        a_p = matvec(p)
        if torch.dot(p, a_p) <= 0:
            raise ValueError("A has a direction without positive curvature")
        alpha = torch.dot(r, p) / torch.dot(p, a_p)
        x, new = x + alpha * p, r - alpha * a_p
        if torch.linalg.norm(new) <= tolerance * torch.linalg.norm(b):
            break
        p = new + torch.dot(new, new - r) / torch.dot(r, r) * p
        r = new
    return x


def vjp_by_matrices(objective, theta, phi, cotangent):
    if grad(objective)(theta, phi).norm() > 1e-6:
        raise ValueError("not an argmax")
    bend = -hessian(objective)(theta, phi)
    cross = jacrev(grad(objective), argnums=1)(theta, phi)
    return torch.linalg.solve(bend, cross).T @ cotangent


def vjp_by_autograd(objective, theta, phi, cotangent):
    theta, phi = (x.detach().clone().requires_grad_() for x in (theta, phi))
    (slope,) = torch.autograd.grad(objective(theta, phi), theta, create_graph=True)
    if torch.linalg.vector_norm(slope) > 1e-6:
        raise ValueError("the inner problem is not solved")
    rows = [torch.autograd.grad(entry, theta, retain_graph=True)[0] for entry in slope]
    x = torch.linalg.lstsq(-torch.stack(rows), cotangent[:, None]).solution[:, 0]
    return torch.autograd.grad(slope, phi, grad_outputs=x)[0]


def vjp_by_neumann(objective, theta, phi, cotangent):
    slope = grad(objective)
    if slope(theta, phi).abs().max() > 1e-6:
        raise ValueError("not solved")
    bent, x = hessian(objective)(theta, phi), torch.zeros_like(cotangent)
    for _ in range(1000):
        x = x + 0.05 * (cotangent + bent @ x)
    return grad(lambda p: (x * slope(theta, p)).sum())(phi)


def simplex_by_inverse(m, c):
    inverse, ones = torch.linalg.inv(m), torch.ones_like(c).unsqueeze(-1)
    column = inverse @ ones
    w = inverse - column @ column.mT / (ones.mT @ column)
    return (w @ c.unsqueeze(-1)).squeeze(-1)


def simplex_by_border(m, c):
    """The system with the multiplier as one more unknown."""
    ones = torch.ones_like(c).unsqueeze(-1)
    top = torch.cat([m, ones], -1)
    bottom = torch.cat([ones.mT, torch.zeros_like(ones[..., :1, :])], -1)
    right = torch.cat([c, torch.zeros_like(c[..., :1])], -1)
    return torch.linalg.solve(torch.cat([top, bottom], -2), right.unsqueeze(-1))[..., :-1, 0]


def simplex_by_loop(m, c):
    if c.ndim == 2:
        return torch.stack([simplex_by_loop(*each) for each in zip(m, c, strict=True)])
    u, v = torch.linalg.solve(m, c), torch.linalg.solve(m, torch.ones_like(c))
    return u - v * (u.sum() / v.sum())


def _solved(probs, task, gamma):
    """(nu, Q, J) through one inverse matrix."""
    moves = (probs[:, :, None] * task.transition).sum(1)
    visits = torch.linalg.inv(torch.eye(len(moves)).to(probs) - gamma * moves)
    values = visits @ (probs * task.reward).sum(1)
    nu = (1 - gamma) * task.start @ visits
    return nu, task.reward + gamma * task.transition @ values, task.start @ values


def _return_after(phi, task, gamma, lam):
    q = _solved(phi.softmax(-1), task, gamma)[1]
    tilted = phi.softmax(-1) * ((q - q.max(-1, keepdim=True).values) / lam).exp()
    return _solved(tilted / tilted.sum(-1, keepdim=True), task, gamma)[2]


def hyper_by_autograd(phi, task, gamma, lam):
    leaf = phi.clone().requires_grad_()
    _return_after(leaf, task, gamma, lam).backward()
    return leaf.grad


def hyper_by_parts(phi, task, gamma, lam):
    """grad J(theta), pulled back through I + dQ / d phi / lam."""
    theta = phi + _solved(phi.softmax(-1), task, gamma)[1] / lam
    outer = frozen_by_theorem(phi, task, gamma, lam)
    moved = grad(lambda x: (outer * _solved(x.softmax(-1), task, gamma)[1]).sum())(phi)
    assert theta.shape == outer.shape
    return outer + moved / lam


def hyper_state_by_state(phi, task, gamma, lam):
    """Proposition 1 with M = lam diag(1 / pi'), whose W is known."""
    after = (phi + _solved(phi.softmax(-1), task, gamma)[1] / lam).softmax(-1)
    c = grad(lambda probs: _solved(probs, task, gamma)[2])(after)
    x = simplex_by_inverse(torch.diag_embed(lam / after), c)

    def slopes(p):
        return (x * (_solved(p.softmax(-1), task, gamma)[1] + lam * p.log_softmax(-1))).sum()

    return grad(slopes)(phi)


def frozen_by_theorem(phi, task, gamma, lam):
    """The policy-gradient theorem at theta."""
    theta = phi + _solved(phi.softmax(-1), task, gamma)[1] / lam
    probs = theta.softmax(-1)
    nu, q, _ = _solved(probs, task, gamma)
    advantage = q - (probs * q).sum(-1, keepdim=True)
    return nu[:, None] * probs * advantage / (1 - gamma)


def frozen_by_detach(phi, task, gamma, lam):
    leaf = phi.clone().requires_grad_()
    q = _solved(leaf.softmax(-1), task, gamma)[1].detach()
    after = (leaf + q / lam).softmax(-1)
    return torch.autograd.grad(_solved(after, task, gamma)[2], leaf)[0]


def d1_by_root(phi, adapted_probs, task, gamma, lam):
    """Automatic differentiation of two Newton steps on mu, from the solution that is given."""

    def after(x):
        probs = x.softmax(-1)
        q = _solved(probs, task, gamma)[1]
        mu = (q + lam * probs / adapted_probs).detach().mean(-1, keepdim=True)
        for _ in range(2):
            share = lam * probs / (mu - q)
            missing = share.sum(-1, keepdim=True) - 1
            mu = mu + missing / (share / (mu - q)).sum(-1, keepdim=True)
        return _solved(lam * probs / (mu - q), task, gamma)[2]

    return grad(after)(phi)


def d1_by_weights(phi, adapted_probs, task, gamma, lam):
    """W c by its closed form for a diagonal M, and advantages in place of Q in the cotangent."""
    nu, q, _ = _solved(adapted_probs, task, gamma)
    c = nu[:, None] * (q - (adapted_probs * q).sum(-1, keepdim=True)) / (1 - gamma)
    leaf = phi.clone().requires_grad_()
    probs = leaf.softmax(-1)
    w = (adapted_probs**2 / (lam * probs)).detach()
    x = w * (c - (w * c).sum(-1, keepdim=True) / w.sum(-1, keepdim=True))
    slope = _solved(probs, task, gamma)[1] + lam * probs / adapted_probs
    return torch.autograd.grad(slope, leaf, grad_outputs=x)[0]


def unrolled_by_autograd(objective, outer, phi, step_size, num_steps):
    leaf = phi.clone().requires_grad_()
    theta = leaf * 1.0
    for _ in range(num_steps):
        (up,) = torch.autograd.grad(objective(theta, leaf), theta, create_graph=True)
        theta = theta + step_size * up
    return torch.autograd.grad(outer(theta), leaf)[0]


def unrolled_backwards(objective, outer, phi, step_size, num_steps):
    """Reverse mode by hand: a cotangent that walks back through the stored steps."""
    slope, path = grad(objective), [phi]
    for _ in range(num_steps):
        path.append(path[-1] + step_size * slope(path[-1], phi))
    cotangent, total = grad(outer)(path[-1]), torch.zeros_like(phi)
    for theta in reversed(path[:-1]):
        back = torch.func.vjp(slope, theta, phi)[1](cotangent)
        total = total + step_size * back[1]
        cotangent = cotangent + step_size * back[0]
    return total + cotangent


def unrolled_forwards(objective, outer, phi, step_size, num_steps):
    """Forward mode by hand: the Jacobian grows with the steps."""
    theta, jacobian = phi, torch.eye(len(phi)).to(phi)
    for _ in range(num_steps):
        cross = jacrev(grad(objective), argnums=1)(theta, phi)
        bend = hessian(objective)(theta, phi)
        up = grad(objective)(theta, phi)
        theta, jacobian = theta + step_size * up, jacobian + step_size * (bend @ jacobian + cross)
    return jacobian.T @ grad(outer)(theta)


VARIANTS = {
    "implicit_derivative": (derivative_by_autograd, derivative_by_newton, derivative_by_hessian),
    "conjugate_gradient": (cg_by_numbers, cg_that_gives_up),
    "implicit_vjp": (vjp_by_matrices, vjp_by_autograd, vjp_by_neumann),
    "simplex_solve": (simplex_by_inverse, simplex_by_border, simplex_by_loop),
    "hypergradient": (hyper_by_autograd, hyper_by_parts, hyper_state_by_state),
    "frozen_hypergradient": (frozen_by_theorem, frozen_by_detach),
    "hypergradient_d1": (d1_by_root, d1_by_weights),
    "unrolled_hypergradient": (unrolled_by_autograd, unrolled_backwards, unrolled_forwards),
}
"""Right answers that look otherwise; all must pass."""
