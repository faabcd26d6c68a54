r"""Oracles of exercise set 03, in plain numpy: maxima on the simplex, distances, natural steps.

They share no formula with the solutions: Alg is solved as a maximum over probabilities by Newton
steps, KL is the Bregman divergence of log-sum-exp, the natural step solves a system with a Fisher
matrix that complex steps have made.
"""

from collections.abc import Callable

import numpy as np

from bomrl_lite.course.checks import oracles
from bomrl_lite.course.checks.oracles import World

NEWTON_STEPS = 400
"""More than any instance needs; the loop ends when nothing moves."""


def centred(logits: np.ndarray) -> np.ndarray:
    """Subtract the mean of every state: logits of one policy become one table."""
    return logits - logits.mean(-1, keepdims=True) if logits.ndim else logits


def surrogate(theta: np.ndarray, world: World) -> np.ndarray:
    """Return L of logits [..., S, A]: one step of pi_theta, then pi_phi again, as tasks go."""
    nu, q = oracles.occupancy(world.probs, world), oracles.q_values(world.probs, world)
    return (oracles.softmax(theta) * q).sum(-1) @ nu


def kl(phi: np.ndarray, theta: np.ndarray) -> np.ndarray:
    """Return KL(pi_phi || pi_theta) of every state as a Bregman divergence of log-sum-exp."""
    slope = oracles.softmax(phi)
    return _log_sum_exp(theta) - _log_sum_exp(phi) - (slope * (theta - phi)).sum(-1)


def kl_distance(phi: np.ndarray, theta: np.ndarray, nu: np.ndarray) -> np.ndarray:
    """Return the average of that over states."""
    return kl(phi, theta) @ nu


def best_policy(probs: np.ndarray, q: np.ndarray, lam: float, kind: str) -> np.ndarray:
    """Maximise <x, q> - lam d^2(probs, x) over the simplex, for every state, by Newton steps.

    Args:
        probs: pi_phi, [..., A].
        q: what an action is worth, [..., A].
        lam: weight of the distance.
        kind: "d1" for KL(probs || x), "d2" for KL(x || probs).
    """
    x = probs.copy()
    for _ in range(NEWTON_STEPS):
        if kind == "d1":
            slope, bend = q + lam * probs / x, lam * probs / x**2
        else:
            slope, bend = q - lam * (np.log(x / probs) + 1), lam / x
        common = (slope / bend).sum(-1, keepdims=True) / (1 / bend).sum(-1, keepdims=True)
        step = (slope - common) / bend
        # stay inside: no probability may lose more than nine tenths of itself
        scale = np.minimum(1.0, 0.9 / np.maximum((-step / x).max(-1, keepdims=True), 1e-300))
        x = x + scale * step
        if np.abs(step / x).max() < 1e-15:
            break
    return x


def best_logits(phi: np.ndarray, q: np.ndarray, lam: float, kind: str) -> np.ndarray:
    """Return the centred logits of that maximum."""
    return centred(np.log(best_policy(oracles.softmax(phi), q, lam, kind)))


def gain(theta: np.ndarray, phi: np.ndarray, q: np.ndarray, lam: float, kind: str) -> np.ndarray:
    """Return <pi_theta - pi_phi, q> - lam d^2(pi_phi, pi_theta) of every state."""
    gained = ((oracles.softmax(theta) - oracles.softmax(phi)) * q).sum(-1)
    return gained - lam * (kl(phi, theta) if kind == "d1" else kl(theta, phi))


def natural_step(world: World, lam: float) -> np.ndarray:
    """Return the centred logits of the maximum of the slope minus lam times the curvature."""
    phi, nu = world.logits, oracles.occupancy(world.probs, world)
    num_states, num_actions = phi.shape
    slope = oracles.complex_step(lambda x: surrogate(x, world), phi)
    step = np.empty_like(phi)
    for state in range(num_states):
        turned = phi[state] + 1j * oracles.COMPLEX_STEP * np.eye(num_actions)
        jacobian = np.imag(oracles.softmax(turned)) / oracles.COMPLEX_STEP
        step[state] = np.linalg.lstsq(nu[state] * jacobian, slope[state] / lam, rcond=1e-12)[0]
    return centred(phi + step)


def lower_bound(theta: np.ndarray, world: World, lam: float) -> float:
    """Return J(phi) + (L(theta) - L(phi) - lam D1^2) / (1 - gamma)."""
    phi = world.logits
    nu = oracles.occupancy(world.probs, world)
    gained = surrogate(theta, world) - surrogate(phi, world)
    beyond = gained - lam * kl_distance(phi, theta, nu)
    return float(oracles.policy_return(phi, world) + beyond / (1 - world.gamma))


def safe_lam(world: World) -> float:
    """Return 2 gamma A_max / ((1 - gamma) sqrt(nu_min)), from which on the bound is one."""
    q = oracles.q_values(world.probs, world)
    largest = np.abs(q - (world.probs * q).sum(-1, keepdims=True)).max()
    nu = oracles.occupancy(world.probs, world)
    return float(2 * world.gamma * largest / ((1 - world.gamma) * np.sqrt(nu.min())))


def adapted_chain(
    alg: Callable[[np.ndarray, np.ndarray, float], np.ndarray],
    world: World,
    lam: float,
    num_steps: int,
) -> np.ndarray:
    """Return phi and the tables after 1, 2, ... adaptations, each on data of the one before."""
    tables = [world.logits]
    for _ in range(num_steps):
        q = oracles.q_values(oracles.softmax(tables[-1]), world)
        tables.append(alg(tables[-1], q, lam))
    return np.stack(tables)


def central_difference(function: Callable[[np.ndarray], float], x: np.ndarray) -> np.ndarray:
    """Differentiate a scalar of any array, entry by entry, to fourth order."""
    h, slope = oracles.DIFFERENCE_STEP, np.empty_like(x)
    for where in np.ndindex(*x.shape):
        shift = np.zeros_like(x)
        shift[where] = h
        one, two = (function(x + k * shift) - function(x - k * shift) for k in (1, 2))
        slope[where] = (8 * one - two) / (12 * h)
    return slope


def _log_sum_exp(logits: np.ndarray) -> np.ndarray:
    top = np.real(logits).max(-1)
    return top + np.log(np.exp(logits - top[..., None]).sum(-1))
