"""Known slips of exercise set 03: the likely cause, and the answer that it leads to.

These are mistakes on purpose. Logits are centred, as answers are before they are compared.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from bomrl_lite.course.checks import oracles
from bomrl_lite.course.checks.engine import Slips
from bomrl_lite.course.checks.oracles import softmax
from bomrl_lite.course.checks.set03 import oracles as adapted
from bomrl_lite.course.checks.set03.oracles import centred

SIGN = "the sign of Q is reversed: a better action must become more likely"
AS_PROBS = "these are probabilities; the exercise asks for logits, such as their logarithm"


def surrogate(case: Any) -> Slips:
    """Return what mistakes about L lead to."""
    world, theta = case.world, softmax(case.theta)
    probs, start = world.probs, world.start
    nu, q = oracles.occupancy(probs, world), oracles.q_values(probs, world)
    value = (probs * q).sum(-1, keepdims=True)
    ratio = theta / probs
    right = nu @ (theta * q).sum(-1)
    return {
        "the ratio is missing: that is L(phi), whatever theta is": nu @ (probs * q).sum(-1),
        "the occupancy is missing": (theta * q).sum(),
        "task.start stands where the occupancy belongs": start @ (theta * q).sum(-1),
        "the occupancy is theta's: the data were collected by phi": (
            oracles.occupancy(theta, world) @ (theta * q).sum(-1)
        ),
        "Q is theta's: the data are those of phi": (
            nu @ (theta * oracles.q_values(theta, world)).sum(-1)
        ),
        "the data are theta's: collect them with phi": (
            oracles.occupancy(theta, world) @ (theta * oracles.q_values(theta, world)).sum(-1)
        ),
        "the roles of theta and phi are exchanged": adapted.surrogate(
            world.logits, world._replace(logits=case.theta)
        ),
        "the ratio is upside down: pi_theta / pi_phi": nu @ (probs / ratio * q).sum(-1),
        "pi_phi is missing: an average over a ~ pi_phi weighs the ratio with pi_phi": (
            nu @ (ratio * q).sum(-1)
        ),
        "pi_theta stands where the ratio pi_theta / pi_phi belongs": (
            nu @ (probs * theta * q).sum(-1)
        ),
        "the logarithm of the ratio stands where the ratio belongs": (
            nu @ (probs * np.log(ratio) * q).sum(-1)
        ),
        "the advantage stands where Q belongs: that is L(theta) - L(phi)": (
            nu @ (theta * (q - value)).sum(-1)
        ),
        "there is a factor 1 / (1 - gamma) too many: L averages over nu, which sums to 1": (
            right / (1 - world.gamma)
        ),
        "theta holds logits: take their softmax": nu @ (case.theta * q).sum(-1),
        "states are averaged uniformly, instead of by their occupancy": (theta * q).sum(-1).mean(),
        "the sum over actions is a mean": right / q.shape[1],
    }


def surrogate_gradient(case: Any, weights: np.ndarray) -> Slips:
    """Return the gradients of L if the data are held constant."""
    world = case.world
    frozen = np.zeros((2, *case.theta.shape))
    frozen[0] = oracles.complex_step(lambda x: adapted.surrogate(x, world), case.theta)
    return {
        "the data are held constant, but nu and Q depend on phi (a .detach() would do that)": (
            frozen * weights
        )
    }


def kl_distance(case: Any) -> Slips:
    """Return what mistakes about D1^2 lead to."""
    phi, theta = case.world.logits, case.theta
    nu = oracles.occupancy(case.world.probs, case.world)
    kl, p, log_ratio = adapted.kl(phi, theta), softmax(phi), np.log(softmax(phi) / softmax(theta))
    return {
        "the arguments are exchanged: that is D2^2, with KL(pi_theta || pi_phi)": (
            adapted.kl(theta, phi) @ nu
        ),
        "the sign is reversed: KL is never negative": -kl @ nu,
        "nu is missing: states count by how often they are visited": kl.sum(),
        "states are averaged uniformly, instead of by nu": kl.mean(),
        "that is one number per state: average them by nu": kl,
        "that is D, the square root: the distance is squared": np.sqrt(kl @ nu),
        "actions are averaged uniformly, instead of by pi_phi": log_ratio.mean(-1) @ nu,
        "the sum over actions is a mean": kl @ nu / phi.shape[1],
        "pi_phi is missing as the weight of the actions": log_ratio.sum(-1) @ nu,
        "logits are not log-probabilities: take log_softmax": (p * (phi - theta)).sum(-1) @ nu,
        "that is the cross-entropy: the entropy of pi_phi is missing": (
            -(p * np.log(softmax(theta))).sum(-1) @ nu
        ),
        "that is ||phi - theta||^2, the third distance": ((phi - theta) ** 2).sum(),
    }


def adapt_d2(case: Any) -> Slips:
    """Return what mistakes about exponential tilting lead to."""
    phi, q, lam = _parts(case)
    return {
        "lam multiplies where it divides: a larger lam must hold the policy back": (
            centred(phi + lam * q)
        ),
        "lam is not used": centred(phi + q),
        SIGN: centred(phi - q / lam),
        "phi is missing: the new policy starts from the one that collected the data": (
            centred(q / lam)
        ),
        "phi is returned as it was": centred(phi),
        AS_PROBS: centred(softmax(phi + q / lam)),
        "pi_phi stands where its logarithm belongs": centred(softmax(phi) + q / lam),
        "that is Alg with D1, the other direction of KL": adapted.best_logits(phi, q, lam, "d1"),
        "that is a step on the probabilities: tilting multiplies them by exp(Q / lam)": (
            centred(phi + softmax(phi) * q / lam)
        ),
        "the step is half as long: the factor 1 / (2 lam) belongs to squared distances": (
            centred(phi + q / (2 * lam))
        ),
    }


def adapt_d1(case: Any) -> Slips:
    """Return what mistakes about the root mu lead to."""
    phi, q, lam = _parts(case)
    probs = softmax(phi)
    low = (q + lam * probs).max(-1, keepdims=True)
    high = q.max(-1, keepdims=True) + lam
    with np.errstate(all="ignore"):
        bare = np.log(lam * probs / (low - q))
    best = adapted.best_policy(probs, q, lam, "d1")
    return {
        "mu is the left end of the bracket: find the root to its right": centred(bare),
        "mu is the right end of the bracket: find the root to its left": (
            centred(np.log(lam * probs / (high - q)))
        ),
        "mu is the middle of the bracket: find the root": (
            centred(np.log(lam * probs / ((low + high) / 2 - q)))
        ),
        "that is exponential tilting, Alg with D2": centred(phi + q / lam),
        SIGN: adapted.best_logits(phi, -q, lam, "d1"),
        "lam multiplies where it divides: a larger lam must hold the policy back": (
            adapted.best_logits(phi, q, 1 / lam, "d1")
        ),
        "lam is not used": adapted.best_logits(phi, q, 1.0, "d1"),
        AS_PROBS: centred(best),
        "phi is missing: the new policy starts from the one that collected the data": (
            adapted.best_logits(np.zeros_like(phi), q, lam, "d1")
        ),
        "phi is returned as it was": centred(phi),
        "one mu is used for all states: every state has its own": _one_mu(probs, q, lam),
    }


def alg_gradient(kind: str, case: Any, weights: np.ndarray) -> Slips:
    """Return the gradients of Alg if part of it is held constant."""
    phi, q, lam = _parts(case)
    new = adapted.best_policy(softmax(phi), q, lam, kind)
    if kind == "d2":
        cut = np.stack([weights, np.zeros_like(q)])
        return {"Q is held constant (a .detach() would do that)": cut}
    # logits are log pi_phi - log(mu - Q), and 1 / (mu - Q) = pi' / (lam pi_phi)
    held = np.stack([weights, weights * new / (lam * softmax(phi))])
    mend = "one Newton step afterwards, with gradients on, mends it"
    return {
        f"mu is held constant, but it depends on phi and Q (.detach() or no_grad); {mend}": held,
        f"bisection hands on the derivative of the bracket's ends, not of the root; {mend}": (
            _bisected_gradient(case, weights, new)
        ),
    }


def _bisected_gradient(case: Any, weights: np.ndarray, new: np.ndarray) -> np.ndarray:
    """Differentiate with mu at a constant share of the way between the ends of its bracket."""
    phi, q, lam = _parts(case)

    def ends(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        low = (x[1] + lam * softmax(x[0])).max(-1, keepdims=True)
        return low, x[1].max(-1, keepdims=True) + lam

    low, high = ends(np.stack([phi, q]))
    mu = (q + lam * softmax(phi) / new).mean(-1, keepdims=True)
    share = (mu - low) / (high - low)

    def answer(x: np.ndarray) -> float:
        near, far = ends(x)
        mu = near + share * (far - near)
        return float((np.log(softmax(x[0]) / (mu - x[1])) * weights).sum())

    return adapted.central_difference(answer, np.stack([phi, q]))


def natural_gradient_step(case: Any) -> Slips:
    """Return what mistakes about the natural gradient lead to."""
    world, lam = case.world, case.lam
    phi, probs, gamma = world.logits, world.probs, world.gamma
    nu, q = oracles.occupancy(probs, world)[:, None], oracles.q_values(probs, world)
    a = q - (probs * q).sum(-1, keepdims=True)
    return {
        "that is the plain gradient: F is missing": centred(phi + nu * probs * a / lam),
        "that is MAML's plain step with 1 / (2 lam): F is missing": (
            centred(phi + nu * probs * a / (2 * lam))
        ),
        "nu is left over: F holds it too, so it cancels": centred(phi + nu * a / lam),
        "pi is left over: that is the change of the probabilities": centred(phi + probs * a / lam),
        "F is counted as half of the Hessian, or the factor 1 / 2 of D^2 twice": (
            centred(phi + 2 * a / lam)
        ),
        "the step is half as long: F is the Hessian of D^2, and D^2 is half of it nearby": (
            centred(phi + a / (2 * lam))
        ),
        "there is a factor 1 / (1 - gamma) too many: that is for the gradient of J, not of L": (
            centred(phi + a / ((1 - gamma) * lam))
        ),
        SIGN: centred(phi - a / lam),
        "lam multiplies where it divides: a larger lam must hold the policy back": (
            centred(phi + lam * a)
        ),
        "lam is not used": centred(phi + a),
        "that is the change of phi alone: add it to phi": centred(a / lam),
        "that is Alg with D1 itself, not its step to first order": (
            adapted.best_logits(phi, q, lam, "d1")
        ),
    }


def lower_bound(case: Any) -> Slips:
    """Return what mistakes about the bound lead to."""
    world, theta, lam = case
    phi, rest = world.logits, 1 - world.gamma
    nu = oracles.occupancy(world.probs, world)
    before = oracles.policy_return(phi, world)
    base, promised = adapted.surrogate(phi, world), adapted.surrogate(theta, world)
    apart, turned = adapted.kl_distance(phi, theta, nu), adapted.kl_distance(theta, phi, nu)
    gained = promised - base
    theirs = adapted.kl_distance(phi, theta, oracles.occupancy(softmax(theta), world))
    answers = {
        "the factor 1 / (1 - gamma) is missing: L averages over nu, J sums over time": (
            before + gained - lam * apart
        ),
        "1 / (1 - gamma) belongs to the penalty too": before + gained / rest - lam * apart,
        "1 / (1 - gamma) belongs to the gain of L too": before + gained - lam * apart / rest,
        "the penalty is added: distance must cost": before + (gained + lam * apart) / rest,
        "the penalty is missing": before + gained / rest,
        "L(phi) is missing: only what L gains counts": before + (promised - lam * apart) / rest,
        "L(theta) and L(phi) are exchanged": before + (-gained - lam * apart) / rest,
        "J(phi) is missing": (gained - lam * apart) / rest,
        "J(theta) stands where J(phi) belongs": (
            oracles.policy_return(theta, world) + (gained - lam * apart) / rest
        ),
        "the distance is D2: in D1 pi_phi comes first": before + (gained - lam * turned) / rest,
        "the states of the distance are theta's: weigh them by the occupancy of phi": (
            before + (gained - lam * theirs) / rest
        ),
        "lam is not used": before + (gained - apart) / rest,
        "the distance is squared already: D1^2 is the average KL": (
            before + (gained - lam * apart**2) / rest
        ),
        "that is L(theta) - lam D1^2 alone": promised - lam * apart,
    }
    return {cause: np.asarray(answer) for cause, answer in answers.items()}


def adapt_repeatedly(alg: Callable[..., np.ndarray], num_steps: int, case: Any) -> Slips:
    """Return what mistakes about the loop lead to."""
    world, lam = case.world, case.lam
    phi, q = world.logits, oracles.q_values(world.probs, world)
    chain = adapted.adapted_chain(alg, world, lam, num_steps + 1)
    stale, anchored, anchor = [phi], [phi], phi
    for _ in range(num_steps):
        stale.append(alg(stale[-1], q, lam))
        anchor = alg(phi, oracles.q_values(softmax(anchor), world), lam)
        anchored.append(anchor)
    answers = {
        "the data are those of phi at every step: collect again with the adapted policy": stale,
        "every step starts from phi again: start from the policy of the step before": anchored,
        "phi is missing at the beginning": chain[1:-1],
        "phi is missing at the beginning, and the last table is one step too far": chain[1:],
        "that is the last table alone: return all of them, phi first": chain[-2],
        "there is one step too many": chain,
        "there is one step too few": chain[:-2],
        "the order is reversed: phi comes first": chain[-2::-1],
        "nothing is adapted: all tables are phi": [phi] * (num_steps + 1),
    }
    return {cause: centred(np.stack(list(tables))) for cause, tables in answers.items()}


def _parts(case: Any) -> tuple[np.ndarray, np.ndarray, float]:
    world = case.world
    return world.logits, oracles.q_values(world.probs, world), case.lam


def _one_mu(probs: np.ndarray, q: np.ndarray, lam: float) -> np.ndarray:
    """Solve for one mu with which all states together sum to their number."""
    low, high = (q + lam * probs).max(), q.max() + lam * len(q)
    for _ in range(200):
        middle = (low + high) / 2
        more = (lam * probs / (middle - q)).sum() > len(q)
        low, high = (middle, high) if more else (low, middle)
    return centred(np.log(lam * probs / (high - q)))
