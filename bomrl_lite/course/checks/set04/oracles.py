r"""Oracles of exercise set 04 in plain numpy: climbs to an argmax, complex steps through them.

A derivative of an argmax is taken without the implicit function theorem: the meta-parameters get a
tiny imaginary part, the climb carries it along, and at its end the argmax has one too.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from bomrl_lite.course.checks import oracles
from bomrl_lite.course.checks.draws import Seed
from bomrl_lite.course.checks.oracles import World

CLIMB = 1500
"""Most gradient steps to an argmax."""

SETTLED = 1e-14
"""A step this small ends the climb."""

Objective = Callable[[Tensor, Tensor], Tensor]


class Landscape(NamedTuple):
    r"""F(theta, phi), strictly concave in theta, with an argmax that has no formula.

    F = <theta, P phi> - <theta, B theta> / 2 - sum_i w_i theta_i^4 / 4
        - sum_j exp(phi_j) <r_j, theta>^2 / 2
    """

    pull: np.ndarray
    """P, [n, m]."""
    bowl: np.ndarray
    """B, [n, n], positive definite."""
    walls: np.ndarray
    """w, [n], not negative."""
    rays: np.ndarray
    """r, [m, n]."""
    phi: np.ndarray
    """Where the questions are asked, [m]."""

    def slope(self, theta: np.ndarray, phi: np.ndarray) -> np.ndarray:
        r"""Return \nabla_theta F, [..., n]."""
        along = np.exp(phi) * (theta @ self.rays.T)
        return phi @ self.pull.T - theta @ self.bowl - self.walls * theta**3 - along @ self.rays

    def argmax(self, phi: np.ndarray) -> np.ndarray:
        """Climb to theta*(phi), [..., n]; real or complex phi [..., m]."""
        weakest, strongest = np.linalg.eigvalsh(self.bowl)[[0, -1]]
        pulled = np.linalg.norm(np.real(phi) @ self.pull.T, axis=-1).max()
        rays = (np.exp(np.real(phi)) * (self.rays**2).sum(-1)).sum(-1).max()
        step = 1 / (strongest + rays + 3 * self.walls.max() * (pulled / weakest) ** 2)
        theta = 0 * (phi @ self.pull.T)
        for _ in range(CLIMB):
            change = step * self.slope(theta, phi)
            theta = theta + change
            # the imaginary part is a derivative times COMPLEX_STEP, and has to settle as well
            moved = np.abs(change.real) + np.abs(np.imag(change)) / oracles.COMPLEX_STEP
            if moved.max() < SETTLED:
                break
        return theta

    def curvature(self, theta: np.ndarray) -> np.ndarray:
        r"""Return -\nabla^2_theta F, [n, n]; only known slips need it."""
        bent = (np.exp(self.phi)[:, None] * self.rays).T @ self.rays
        return self.bowl + np.diag(3 * self.walls * theta**2) + bent

    def mixed(self, theta: np.ndarray) -> np.ndarray:
        r"""Return \nabla_phi \nabla_theta F, [n, m]; only known slips need it."""
        return self.pull - self.rays.T * (np.exp(self.phi) * (self.rays @ theta))

    def objective(self) -> Objective:
        """Return F for torch."""
        pull, bowl, walls, rays = map(torch.tensor, self[:4])

        def value(theta: Tensor, phi: Tensor) -> Tensor:
            fourth = (walls * theta**4).sum() / 4
            bent = (phi.exp() * (rays @ theta) ** 2).sum() / 2
            return theta @ (pull @ phi) - theta @ bowl @ theta / 2 - fourth - bent

        return value

    def scalar_objective(self) -> Objective:
        """Return F of two numbers, for torch."""
        value = self.objective()
        return lambda theta, phi: value(theta.reshape(1), phi.reshape(1))


def random_landscape(seed: Seed, n: int, m: int) -> Landscape:
    """Draw a landscape without symmetries."""
    draw = np.random.default_rng(seed)
    root = draw.normal(size=(n, n))
    return Landscape(
        draw.normal(size=(n, m)),
        np.eye(n) + root @ root.T / (2 * n),
        draw.uniform(0.1, 0.3, size=n),
        draw.normal(size=(m, n)) / 2,
        draw.uniform(0.4, 0.9, size=m) * draw.choice([-1, 1], size=m),
    )


def argmax_pull_back(landscape: Landscape, cotangent: np.ndarray) -> np.ndarray:
    """Return the gradient of <cotangent, theta*(phi)> in phi, [m]."""
    return vector_gradient(lambda phi: landscape.argmax(phi) @ cotangent, landscape.phi)


def vector_gradient(function: Callable[[np.ndarray], np.ndarray], x: np.ndarray) -> np.ndarray:
    """Differentiate a function of vectors [..., m] by complex steps."""
    return oracles.complex_step(lambda table: function(table[..., 0, :]), x[None, :])[0]


class Climb(NamedTuple):
    """K gradient steps on a landscape that start at phi, and an outer objective of their end."""

    landscape: Landscape
    step_size: float
    num_steps: int
    waves: np.ndarray
    """v, [n]: J(theta) = sum_i v_i sin(theta_i) + theta_0 theta_{n-1}."""

    def end(self, start: np.ndarray, phi: np.ndarray) -> np.ndarray:
        """Return theta_K, [..., n]."""
        theta = start
        for _ in range(self.num_steps):
            theta = theta + self.step_size * self.landscape.slope(theta, phi)
        return theta

    def value(self, theta: np.ndarray) -> np.ndarray:
        """Return J, [...]."""
        return np.sin(theta) @ self.waves + theta[..., 0] * theta[..., -1]

    def outer(self) -> Callable[[Tensor], Tensor]:
        """Return J for torch."""
        waves = torch.tensor(self.waves)
        return lambda theta: waves @ theta.sin() + theta[0] * theta[-1]


def lam_of(world: World) -> float:
    """Return lam of a world: large enough that no adapted policy is nearly deterministic."""
    return 4 * world.step_size


def adapted_d1(probs: np.ndarray, q: np.ndarray, lam: float) -> np.ndarray:
    """Return pi' = lam pi / (mu - Q); mu by bisection, then by Newton for complex input."""
    real_probs, real_q = np.real(probs), np.real(q)
    low, high = (real_q + lam * real_probs).max(-1), real_q.max(-1) + lam
    for _ in range(80):
        middle = (low + high) / 2
        above = (lam * real_probs / (middle[..., None] - real_q)).sum(-1) > 1
        low, high = np.where(above, middle, low), np.where(above, high, middle)
    mu = ((low + high) / 2)[..., None]
    for _ in range(3):
        share = lam * probs / (mu - q)
        mu = mu + (share.sum(-1, keepdims=True) - 1) / (share / (mu - q)).sum(-1, keepdims=True)
    return lam * probs / (mu - q)


def return_of_probs(probs: np.ndarray, world: World) -> np.ndarray:
    """Return J of policies [..., S, A]."""
    return (probs * oracles.q_values(probs, world)).sum(-1) @ world.start


def return_after_d2(logits: np.ndarray, world: World, q: np.ndarray | None = None) -> np.ndarray:
    """Return J(phi + Q / lam) of logits [..., S, A]; Q is that of the logits unless given."""
    q = oracles.q_values(oracles.softmax(logits), world) if q is None else q
    return oracles.policy_return(logits + q / lam_of(world), world)


def return_after_d1(logits: np.ndarray, world: World, q: np.ndarray | None = None) -> np.ndarray:
    """Return J of the policy that D1 adapts to; Q is that of the logits unless given."""
    probs = oracles.softmax(logits)
    q = oracles.q_values(probs, world) if q is None else q
    return return_of_probs(adapted_d1(probs, q, lam_of(world)), world)


def on_simplex(m: np.ndarray, c: np.ndarray) -> np.ndarray:
    """Maximise <c, x> - <x, M x> / 2 over all x whose entries sum to 0: in a basis of those x."""
    size = c.shape[-1]
    basis = np.linalg.svd(np.ones((1, size)))[2][1:]
    inner = np.linalg.solve(basis @ m @ basis.T, (c @ basis.T)[..., None])
    return inner[..., 0] @ basis
