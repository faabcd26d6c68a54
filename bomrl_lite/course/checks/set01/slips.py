"""Known slips of exercise set 01: the likely cause, and the answer that it leads to.

These are mistakes on purpose; where a linear solve is shorter than a sum over time, it is used.
"""

from collections.abc import Sequence

import numpy as np

from bomrl_lite.course.checks import oracles
from bomrl_lite.course.checks.engine import Slips
from bomrl_lite.course.checks.oracles import World

CUT = "the gradient does not flow through {} (a .detach() would do that)"
FULL_GRADIENT = "the second-order term is in: the gradient flows through the adaptation step"


def q_values(world: World) -> Slips:
    """Return what mistakes about Q lead to."""
    gamma, moves, paid = world.gamma, world.moves, world.paid
    eye, transition = np.eye(len(paid)), world.transition
    q = oracles.q_values(world.probs, world)
    v = (world.probs * q).sum(-1)
    one_way = np.linalg.solve(eye - gamma * moves.T, paid)
    uniform = oracles.q_values(np.full_like(q, 1 / q.shape[1]), world)
    return {
        "that is V(s), one value per state; Q has one per state AND action": v,
        "that is V(s) repeated for every action": np.repeat(v[:, None], q.shape[1], 1),
        "that is the advantage Q - V": q - v[:, None],
        "gamma is missing in front of the expected value of the next state": (
            world.reward + transition @ v
        ),
        "the reward of the first step is missing: Q = r + gamma P V": gamma * transition @ v,
        "only the first reward is counted: gamma P V is missing": world.reward,
        "the policy's transitions are transposed in the linear system": (
            world.reward + gamma * transition @ one_way
        ),
        "P(s' | s, a) is read with s and s' exchanged": (
            world.reward + gamma * np.einsum("tas,t->sa", transition, v)
        ),
        "your value is (1 - gamma) times the right one": (1 - gamma) * q,
        "V(s') averages over actions uniformly instead of by policy_probs": uniform,
        "the next state is taken to pay r_pi once, not V(s')": (
            world.reward + gamma * transition @ paid
        ),
        "the sign is reversed": -q,
    }


def occupancy(world: World) -> Slips:
    """Return what mistakes about nu lead to."""
    gamma, moves = world.gamma, world.moves
    nu = oracles.occupancy(world.probs, world)
    bellman = np.eye(len(nu)) - gamma * moves
    return {
        "the factor (1 - gamma) is missing: your value is 1 / (1 - gamma) times the right one": (
            nu / (1 - gamma)
        ),
        "there is one factor (1 - gamma) too many": (1 - gamma) * nu,
        "the transitions are not transposed: that solves for values, not for visits": (
            (1 - gamma) * np.linalg.solve(bellman, world.start)
        ),
        "that is (1 - gamma) V: the right-hand side is the reward instead of task.start": (
            (1 - gamma) * np.linalg.solve(bellman, world.paid)
        ),
        "the discount is off by one: the first state has weight gamma^0 = 1": gamma * nu,
        "time is off by one: the sum begins with s_1 instead of s_0": nu @ moves,
        "every state is taken as equally likely at the start, instead of task.start": (
            oracles.occupancy(world.probs, world._replace(start=np.full(len(nu), 1 / len(nu))))
        ),
        "the policy is taken as uniform, instead of policy_probs": (
            oracles.occupancy(np.full_like(world.probs, 1 / world.probs.shape[1]), world)
        ),
        "that is the occupancy of states AND actions: sum over the actions": (
            nu[:, None] * world.probs
        ),
    }


def policy_gradient(world: World) -> Slips:
    """Return what mistakes about the policy-gradient theorem lead to."""
    probs, gamma = world.probs, world.gamma
    nu, q = oracles.occupancy(probs, world)[:, None], oracles.q_values(probs, world)
    v = (probs * q).sum(-1, keepdims=True)
    right = nu * probs * (q - v) / (1 - gamma)
    return {
        "the sign is reversed": -right,
        "the factor 1 / (1 - gamma) of the theorem is missing": (1 - gamma) * right,
        "there is one factor 1 / (1 - gamma) too many: nu sums to 1": right / (1 - gamma),
        "Q stands where the advantage belongs: every logit moves ALL probabilities of its state": (
            nu * probs * q / (1 - gamma)
        ),
        "V stands where Q belongs": nu * probs * v / (1 - gamma),
        "the occupancy is missing": probs * (q - v) / (1 - gamma),
        "task.start stands where the occupancy belongs": (
            world.start[:, None] * probs * (q - v) / (1 - gamma)
        ),
        "pi(a | s) is missing: d pi(a | s) / d theta(s, a) is not 1": nu * (q - v) / (1 - gamma),
        "that is the gradient in the probabilities, not in the logits": nu * q / (1 - gamma),
        "the immediate reward stands where Q belongs": (
            nu * probs * (world.reward - world.paid[:, None]) / (1 - gamma)
        ),
        "V is averaged uniformly over actions instead of by the policy": (
            nu * probs * (q - q.mean(-1, keepdims=True)) / (1 - gamma)
        ),
    }


def curvature(world: World, weights: np.ndarray) -> Slips:
    """Return what differentiating the policy gradient gives if its parts are held constant."""
    return {"occupancy and Q are held constant; " + CUT.format("them"): _frozen(world, weights)}


def adapt(world: World) -> Slips:
    """Return what mistakes about the adaptation step lead to."""
    phi, alpha = world.logits, world.step_size
    gradient = oracles.return_gradient(phi, world)
    return {
        "the step goes down: J is maximised, so theta = phi + step_size * gradient": (
            phi - alpha * gradient
        ),
        "step_size is not used": phi + gradient,
        "that is the change of phi alone: add it to phi": alpha * gradient,
        "that is the gradient alone, not the new parameters": gradient,
        "phi is returned as it was": phi,
        "two steps are taken instead of one": oracles.after_step(phi + alpha * gradient, world),
        "the gradient is normalised to length 1": phi + alpha * gradient / _norm(gradient),
    }


def adapt_gradient(world: World, weights: np.ndarray) -> Slips:
    """Return what differentiating theta(phi) gives if something is cut off."""
    frozen = weights + world.step_size * _frozen(world, weights)
    return {
        "d theta / d phi came out as the identity; " + CUT.format("the policy gradient"): weights,
        "occupancy and Q are held constant; " + CUT.format("them"): frozen,
    }


def maml_gradient(world: World) -> Slips:
    """Return what mistakes about MAML's meta-gradient lead to."""
    phi, alpha = world.logits, world.step_size
    theta = oracles.after_step(phi, world)
    outer = oracles.return_gradient(theta, world)
    second = oracles.hessian_times(phi, world, outer)
    before = oracles.return_gradient(phi, world)
    return {
        "the second-order term is missing; " + CUT.format("the adaptation step"): outer,
        "that is the gradient of J at phi, without any adaptation": before,
        "the outer gradient is taken at phi instead of theta": (
            before + alpha * oracles.hessian_times(phi, world, before)
        ),
        "the Hessian is taken at theta instead of phi": (
            outer + alpha * oracles.hessian_times(theta, world, outer)
        ),
        "step_size is missing in the second-order term": outer + second,
        "the second-order term has the wrong sign": outer - alpha * second,
        "only the second-order term is there": alpha * second,
        "J(theta) does not depend on phi any more; " + CUT.format("theta"): np.zeros_like(phi),
        "the sign is reversed: the return is maximised": -outer - alpha * second,
        "the second-order term holds occupancy and Q constant": outer
        + alpha * _frozen(world, outer),
    }


def first_order_gradient(world: World) -> Slips:
    """Return what mistakes about first-order MAML lead to."""
    outer = oracles.return_gradient(oracles.after_step(world.logits, world), world)
    return {
        FULL_GRADIENT: oracles.meta_gradient(world.logits, world),
        "that is the gradient of J at phi, without any adaptation": (
            oracles.return_gradient(world.logits, world)
        ),
        "the sign is reversed: the return is maximised": -outer,
        "step_size multiplies the outer gradient too": world.step_size * outer,
    }


def optimal_return(world: World) -> Slips:
    """Return what mistakes about the best return lead to."""
    best, uniform = _best_values(world), np.full_like(world.reward, 1 / world.reward.shape[1])
    average = (uniform * oracles.q_values(uniform, world)).sum(-1)
    return {
        "that is the best value of every state: average it by task.start": best,
        "that is the value of the best start: average over task.start instead of max": best.max(),
        "every state is taken as equally likely at the start, instead of task.start": best.mean(),
        "actions are averaged: that is the return of the uniform policy": world.start @ average,
        "only the first reward is counted": world.start @ world.reward.max(-1),
        "your value is (1 - gamma) times the right one": (1 - world.gamma) * (world.start @ best),
    }


def optimality_gap(worlds: Sequence[World]) -> Slips:
    """Return what mistakes about the gaps lead to; one entry per world, all with the same phi."""
    best = np.array([world.start @ _best_values(world) for world in worlds])
    before = np.array([oracles.policy_return(world.logits, world) for world in worlds])
    after = np.array([oracles.policy_return(oracles.after_step(w.logits, w), w) for w in worlds])
    return {
        "the sign is reversed: the gap is optimum minus return": after - best,
        "the tasks are averaged: every task has its own gap": (best - after).mean(),
        "the optimum of the best task is used for all: each task has its own": best.max() - after,
        "the optimum is averaged over tasks before comparing": best.mean() - after,
        "the returns are averaged over tasks before comparing": best - after.mean(),
        "that is the gap before adaptation: the return at phi": best - before,
        "that is what adaptation gains: the optimum is missing": after - before,
        "that is the adapted return alone": after,
        "the adapted return is missing": best,
    }


def _frozen(world: World, weights: np.ndarray) -> np.ndarray:
    """Return the Hessian of the surrogate that holds occupancy and Q constant, times weights."""
    at = world.logits
    inner = lambda x: (oracles.frozen_gradient(x, world, at) * weights).sum((-2, -1))  # noqa: E731
    return oracles.central_difference(inner, at)


def _best_values(world: World) -> np.ndarray:
    return oracles.values_of_all_policies(world).max(0)


def _norm(x: np.ndarray) -> float:
    return float(np.sqrt((x**2).sum()))
