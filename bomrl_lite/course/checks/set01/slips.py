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

    def ahead(values: np.ndarray) -> np.ndarray:
        return world.reward + gamma * transition @ values

    bellman = eye - gamma * moves
    moves_alike = np.linalg.solve(eye - gamma * transition.mean(1), paid)
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
        "the rewards are averaged over actions uniformly instead of by policy_probs": ahead(
            np.linalg.solve(bellman, world.reward.mean(-1))
        ),
        "the rewards are summed over actions instead of averaged by policy_probs": ahead(
            np.linalg.solve(bellman, world.reward.sum(-1))
        ),
        "the transitions are averaged over actions uniformly instead of by policy_probs": ahead(
            moves_alike
        ),
        "P_pi stands where P(s' | s, a) belongs: the first action is given": (
            world.reward + gamma * (moves @ v)[:, None]
        ),
        "that is Q of an optimal policy, with max over the next actions: follow policy_probs": (
            _best_q(world)
        ),
        "your value is gamma times the right one": gamma * q,
        "Q is multiplied by policy_probs: that is each action's share of V": world.probs * q,
        "policy_probs holds probabilities already: no softmax of them": (
            oracles.q_values(oracles.softmax(world.probs), world)
        ),
        "V of the state itself stands where that of the next state belongs: gamma P V": (
            world.reward + gamma * v[:, None]
        ),
        "the first reward is r_pi(s) instead of r(s, a)": (
            world.paid[:, None] + gamma * transition @ v
        ),
        "gamma is squared": world.reward + gamma**2 * transition @ v,
        "gamma is missing in the look-ahead's place, and 1 - gamma stands there": (
            world.reward + (1 - gamma) * transition @ v
        ),
        "your value is 1 / (1 - gamma) times the right one": q / (1 - gamma),
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
        "policy_probs holds probabilities already: no softmax of them": (
            oracles.occupancy(oracles.softmax(world.probs), world)
        ),
        "that is the stationary distribution: nu is discounted, and remembers task.start": (
            _stationary(moves)
        ),
        "the policy is taken as uniform, instead of policy_probs": (
            oracles.occupancy(np.full_like(world.probs, 1 / world.probs.shape[1]), world)
        ),
        "that is the occupancy of states AND actions: sum over the actions": (
            nu[:, None] * world.probs
        ),
        "the start is state 0, instead of drawn from task.start": (
            oracles.occupancy(world.probs, world._replace(start=np.eye(len(nu))[0]))
        ),
        "that is task.start: no step is taken": world.start,
        "only one step is taken: the sum goes on for ever": (
            (1 - gamma) * (world.start + gamma * world.start @ moves)
        ),
        "visits are weighed with the rewards: that is each state's share of the return": (
            nu * world.paid
        ),
        "1 - gamma stands where gamma belongs in the linear system": np.linalg.solve(
            np.eye(len(nu)) - (1 - gamma) * moves.T, (1 - gamma) * world.start
        ),
        "the sign is reversed": -nu,
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
        "the largest Q is subtracted instead of V": (
            nu * probs * (q - q.max(-1, keepdims=True)) / (1 - gamma)
        ),
        "Q is averaged by the policy and then not subtracted: that is nu pi Q less V once for all "
        "states": nu * probs * (q - (world.start @ v[:, 0])) / (1 - gamma),
        "the softmax runs over states: a state's probabilities must sum to 1, so dim=-1": (
            _theorem(oracles.softmax(world.logits.T).T, world)
        ),
        "the softmax runs over states (dim=0): J is then that of no policy": _by_columns(world),
        "that is the gradient of the sum of V over states: average V by task.start": (
            _of_start(world, np.ones(len(probs)))
        ),
        "that is the gradient of the mean of V over states: average V by task.start": (
            _of_start(world, np.full(len(probs), 1 / len(probs)))
        ),
        "that is the gradient of V of state 0: average V by task.start": (
            _of_start(world, np.eye(len(probs))[0])
        ),
        "pi(a | s) is there twice": nu * probs**2 * (q - v) / (1 - gamma),
        "phi is taken for probabilities: apply softmax": _theorem(world.logits, world),
    }


def curvature(world: World, weights: np.ndarray) -> Slips:
    """Return what differentiating the policy gradient gives if its parts are held constant."""
    nu, q = oracles.occupancy(world.probs, world), oracles.q_values(world.probs, world)

    def with_parts(x: np.ndarray, *, visits: bool, values: bool) -> np.ndarray:
        probs = oracles.softmax(x)
        now = nu if not visits else oracles.occupancy(probs, world)
        worth = q if not values else oracles.q_values(probs, world)
        better = worth - (probs * worth).sum(-1, keepdims=True)
        gradient = now[..., None] * probs * better / (1 - world.gamma)
        return (gradient * weights).sum((-2, -1))

    def derivative(**parts: bool) -> np.ndarray:
        return oracles.complex_step(lambda x: with_parts(x, **parts), world.logits)

    return {
        "occupancy and Q are held constant; " + CUT.format("them"): _frozen(world, weights),
        "the occupancy is held constant; " + CUT.format("it"): derivative(
            visits=False, values=True
        ),
        "Q is held constant; " + CUT.format("it"): derivative(visits=True, values=False),
    }


def q_gradient(world: World, weights: np.ndarray) -> Slips:
    """Return what differentiating Q gives if part of it is held constant."""
    probs, flat = world.probs, world.transition

    def value(x: np.ndarray, *, moving: bool, paying: bool) -> np.ndarray:
        now = oracles.softmax(x)
        moves = np.einsum("...sa,sat->...st", now if moving else probs + 0 * now, flat)
        paid = ((now if paying else probs + 0 * now) * world.reward).sum(-1)
        eye = np.eye(len(probs))
        v = np.linalg.solve(eye - world.gamma * moves, paid[..., None])[..., 0]
        q = world.reward + world.gamma * np.einsum("sat,...t->...sa", flat, v)
        return (q * weights).sum((-2, -1))

    def derivative(**parts: bool) -> np.ndarray:
        return oracles.complex_step(lambda x: value(x, **parts), world.logits)

    return {
        "P_pi is held constant; " + CUT.format("it"): derivative(moving=False, paying=True),
        "r_pi is held constant; " + CUT.format("it"): derivative(moving=True, paying=False),
    }


def occupancy_gradient(world: World, weights: np.ndarray) -> Slips:
    """Return what differentiating nu gives if its gradient is damped or turned."""
    right = oracles.complex_step(
        lambda x: oracles.occupancy(oracles.softmax(x), world) @ weights, world.logits
    )
    return {
        "only half of the gradient comes through": right / 2,
        "the gradient has the wrong sign": -right,
    }


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
        "that is a policy, the softmax of the new logits: return the logits": (
            oracles.softmax(phi + alpha * gradient)
        ),
        "the step starts from the probabilities: it starts from the logits phi": (
            world.probs + alpha * gradient
        ),
        "the gradient is divided by step_size: multiply": phi + gradient / alpha,
        "there is a factor 1 - gamma too many in the step": phi
        + (1 - world.gamma) * alpha * gradient,
        "there is a factor 1 / (1 - gamma) too many in the step": (
            phi + alpha * gradient / (1 - world.gamma)
        ),
        "only the sign of the gradient is used": phi + alpha * np.sign(gradient),
        "the step is half as long": phi + alpha * gradient / 2,
        "the step is taken in two halves: the gradient is that at phi alone": _stepped(
            world._replace(step_size=alpha / 2), 2
        ),
    }


def adapt_gradient(world: World, weights: np.ndarray) -> Slips:
    """Return what differentiating theta(phi) gives if something is cut off."""
    frozen = weights + world.step_size * _frozen(world, weights)
    return {
        "d theta / d phi came out as the identity; " + CUT.format("the policy gradient"): weights,
        "occupancy and Q are held constant; " + CUT.format("them"): frozen,
        "theta follows phi along the gradient alone; " + CUT.format("phi itself"): (
            world.step_size * oracles.hessian_times(world.logits, world, weights)
        ),
    }


def maml_gradient(world: World) -> Slips:
    """Return what mistakes about MAML's meta-gradient lead to."""
    phi, alpha, gamma = world.logits, world.step_size, world.gamma
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
        "the inner step has size 1 instead of step_size": (
            oracles.meta_gradient(phi, world._replace(step_size=1.0))
        ),
        "your value is step_size times the right one": alpha * (outer + alpha * second),
        "there is a factor 1 - gamma too many": (1 - gamma) * (outer + alpha * second),
        "there is a factor 1 / (1 - gamma) too many": (outer + alpha * second) / (1 - gamma),
        "there is a factor 1 - gamma too many in the inner step": (
            oracles.meta_gradient(phi, world._replace(step_size=(1 - gamma) * alpha))
        ),
        "there is a factor 1 / (1 - gamma) too many in the inner step": (
            oracles.meta_gradient(phi, world._replace(step_size=alpha / (1 - gamma)))
        ),
        "there is a factor 1 - gamma too many in both gradients": (
            (1 - gamma) * oracles.meta_gradient(phi, world._replace(step_size=(1 - gamma) * alpha))
        ),
        "there is a factor 1 / (1 - gamma) too many in both gradients": (
            oracles.meta_gradient(phi, world._replace(step_size=alpha / (1 - gamma))) / (1 - gamma)
        ),
        "there is a factor 1 - gamma too many in the second-order term": (
            outer + (1 - gamma) * alpha * second
        ),
        "there is a factor 1 / (1 - gamma) too many in the second-order term": (
            outer + alpha * second / (1 - gamma)
        ),
        "the Hessian multiplies grad J(phi): it multiplies grad J(theta)": (
            outer + alpha * oracles.hessian_times(phi, world, before)
        ),
        "the second-order term is there twice": outer + 2 * alpha * second,
        "that is theta: the gradient of its return is asked for": theta,
        "that is phi after an outer step: the gradient alone is asked for": (
            phi + outer + alpha * second
        ),
        "the inner step goes down: theta = phi + step_size * gradient": (
            oracles.meta_gradient(phi, world._replace(step_size=-alpha))
        ),
        "the gain J(theta) - J(phi) is differentiated: J(theta) alone is asked for": (
            outer + alpha * second - before
        ),
    }


def first_order_gradient(world: World) -> Slips:
    """Return what mistakes about first-order MAML lead to."""
    outer = oracles.return_gradient(oracles.after_step(world.logits, world), world)
    rest = 1 - world.gamma
    shorter = world._replace(step_size=rest * world.step_size)
    longer = world._replace(step_size=world.step_size / rest)
    return {
        FULL_GRADIENT: oracles.meta_gradient(world.logits, world),
        "that is the gradient of J at phi, without any adaptation": (
            oracles.return_gradient(world.logits, world)
        ),
        "the sign is reversed: the return is maximised": -outer,
        "step_size multiplies the outer gradient too": world.step_size * outer,
        "there is a factor 1 - gamma too many": rest * outer,
        "there is a factor 1 / (1 - gamma) too many": outer / rest,
        "there is a factor 1 - gamma too many in the inner step": _after(shorter, steps=1),
        "there is a factor 1 / (1 - gamma) too many in the inner step": _after(longer, steps=1),
        "there is a factor 1 - gamma too many in both gradients": rest * _after(shorter, steps=1),
        "there is a factor 1 / (1 - gamma) too many in both gradients": (
            _after(longer, steps=1) / rest
        ),
        "that is theta: the gradient of J there is asked for": oracles.after_step(
            world.logits, world
        ),
        "that is theta - phi: the gradient at theta is asked for": (
            oracles.after_step(world.logits, world) - world.logits
        ),
        "only the second-order term is there": (oracles.meta_gradient(world.logits, world) - outer),
        "the inner step has size 1 instead of step_size": _after(
            world._replace(step_size=1.0), steps=1
        ),
        "the inner step goes down": _after(world._replace(step_size=-world.step_size), steps=1),
        "two adaptation steps are taken instead of one": _after(world, steps=2),
        "the gradient at phi is subtracted: the gradient at theta alone is asked for": (
            outer - oracles.return_gradient(world.logits, world)
        ),
        "both gradients are added, at phi and at theta": (
            outer + oracles.return_gradient(world.logits, world)
        ),
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
        "that is the value of state 0: average over task.start": best[0],
        "that is one improvement of the uniform policy's Q: its own values still belong to the "
        "uniform policy": world.start @ oracles.q_values(uniform, world).max(-1),
        "the policy is greedy for the first reward: a best action earns most in the long run": (
            _earned(world.reward, world)
        ),
        "values are summed over states: average them by task.start": best.sum(),
        "the worst action is taken: max, not min": -(
            world.start @ _best_values(world._replace(reward=-world.reward))
        ),
        "only two rewards are counted": world.start
        @ (world.reward + world.gamma * world.transition @ world.reward.max(-1)).max(-1),
        "the sign is reversed": -(world.start @ best),
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
        "phi is overwritten in the loop: each task goes on from the task before": (
            best - _chained(worlds)
        ),
        "the policy that was adapted to the first task is used in all": (
            best - _of_first_theta(worlds)
        ),
        "the first task's optimum is used for all": best[0] - after,
        "the gap is divided by the optimum": (best - after) / best,
        "the gap is divided by the size of the optimum": (best - after) / np.abs(best),
        "the gap is divided by the adapted return": (best - after) / after,
        "the gap is divided by the gap before adaptation": (best - after) / (best - before),
        "that is the adapted return as a share of the optimum": after / best,
        "that is the share of the gap that adaptation closes": (after - before) / (best - before),
        "there is a factor 1 - gamma too many": (1 - worlds[0].gamma) * (best - after),
        "the gap is squared": (best - after) ** 2,
        "the gaps are divided by the number of tasks": (best - after) / len(best),
        "the gap is that after two adaptation steps": best
        - np.array([oracles.policy_return(_stepped(w, 2), w) for w in worlds]),
        "the adaptation goes down": best
        - np.array(
            [
                oracles.policy_return(_stepped(w._replace(step_size=-w.step_size), 1), w)
                for w in worlds
            ]
        ),
    }


def _earned(worth: np.ndarray, world: World) -> np.ndarray:
    """Return J of the policy that is greedy for a table."""
    greedy = np.eye(worth.shape[1])[worth.argmax(-1)]
    return world.start @ (greedy * oracles.q_values(greedy, world)).sum(-1)


def _stationary(moves: np.ndarray) -> np.ndarray:
    """Return the distribution over states that a step does not change."""
    size = len(moves)
    system = np.vstack([moves.T - np.eye(size), np.ones(size)])
    return np.linalg.lstsq(system, np.append(np.zeros(size), 1.0), rcond=None)[0]


def _chained(worlds: Sequence[World]) -> np.ndarray:
    """Return what is earned if every task adapts on from where the task before has ended."""
    logits, earned = worlds[0].logits, []
    for world in worlds:
        logits = oracles.after_step(logits, world)
        earned.append(oracles.policy_return(logits, world))
    return np.array(earned)


def _of_first_theta(worlds: Sequence[World]) -> np.ndarray:
    theta = oracles.after_step(worlds[0].logits, worlds[0])
    return np.array([oracles.policy_return(theta, world) for world in worlds])


def _stepped(world: World, steps: int) -> np.ndarray:
    logits = world.logits
    for _ in range(steps):
        logits = oracles.after_step(logits, world)
    return logits


def _after(world: World, *, steps: int) -> np.ndarray:
    """Return grad J after so many adaptation steps."""
    return oracles.return_gradient(_stepped(world, steps), world)


def _theorem(probs: np.ndarray, world: World) -> np.ndarray:
    """Return nu pi (Q - V) / (1 - gamma) of a table whose rows need not be a policy."""
    moves = np.einsum("sa,sat->st", probs, world.transition)
    bellman = np.eye(len(probs)) - world.gamma * moves
    v = np.linalg.solve(bellman, (probs * world.reward).sum(-1))
    q = world.reward + world.gamma * world.transition @ v
    nu = (1 - world.gamma) * np.linalg.solve(bellman.T, world.start)
    better = q - (probs * q).sum(-1, keepdims=True)
    return nu[:, None] * probs * better / (1 - world.gamma)


def _by_columns(world: World) -> np.ndarray:
    """Differentiate J of a table that the softmax has normalised over states."""

    def earned(x: np.ndarray) -> np.ndarray:
        probs = np.swapaxes(oracles.softmax(np.swapaxes(x, -1, -2)), -1, -2)
        moves = np.einsum("...sa,sat->...st", probs, world.transition)
        paid = (probs * world.reward).sum(-1)
        bellman = np.eye(len(world.start)) - world.gamma * moves
        return np.linalg.solve(bellman, paid[..., None])[..., 0] @ world.start

    return oracles.complex_step(earned, world.logits)


def _of_start(world: World, start: np.ndarray) -> np.ndarray:
    """Return the gradient of <start, V>, which need not be a distribution."""
    own = world._replace(start=start)
    return oracles.complex_step(lambda x: oracles.policy_return(x, own), world.logits)


def _best_q(world: World) -> np.ndarray:
    return world.reward + world.gamma * world.transition @ _best_values(world)


def _frozen(world: World, weights: np.ndarray) -> np.ndarray:
    """Return the Hessian of the surrogate that holds occupancy and Q constant, times weights."""
    at = world.logits
    inner = lambda x: (oracles.frozen_gradient(x, world, at) * weights).sum((-2, -1))  # noqa: E731
    return oracles.central_difference(inner, at)


def _best_values(world: World) -> np.ndarray:
    return oracles.values_of_all_policies(world).max(0)


def _norm(x: np.ndarray) -> float:
    return float(np.sqrt((x**2).sum()))
