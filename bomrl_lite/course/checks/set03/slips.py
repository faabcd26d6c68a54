"""Known slips of exercise set 03: the likely cause, and the answer that it leads to.

These are mistakes on purpose. Logits are centred, as answers are before they are compared.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from bomrl_lite.course.checks import oracles
from bomrl_lite.course.checks.engine import Slips
from bomrl_lite.course.checks.oracles import softmax
from bomrl_lite.course.checks.set03 import oracles as adapted
from bomrl_lite.course.checks.set03.oracles import centred

SIGN = "the sign of Q is reversed: a better action must become more likely"
COLUMNS = "the softmax runs over states: a state's probabilities must sum to 1, so dim=-1"
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
        "the logarithm of the ratio stands where the ratio belongs, and pi_phi is missing": (
            nu @ (np.log(ratio) * q).sum(-1)
        ),
        "the logarithm of the ratio is averaged over a ~ pi_theta: that is no ratio": (
            nu @ (theta * np.log(ratio) * q).sum(-1)
        ),
        "log pi_theta stands where the ratio belongs: it has that gradient, but not the value": (
            nu @ (probs * np.log(theta) * q).sum(-1)
        ),
        "log pi_theta stands where pi_theta belongs": nu @ (np.log(theta) * q).sum(-1),
        "the advantage stands where Q belongs: that is L(theta) - L(phi)": (
            nu @ (theta * (q - value)).sum(-1)
        ),
        "there is a factor 1 / (1 - gamma) too many: L averages over nu, which sums to 1": (
            right / (1 - world.gamma)
        ),
        "theta holds logits: take their softmax": nu @ (case.theta * q).sum(-1),
        "states are averaged uniformly, instead of by their occupancy": (theta * q).sum(-1).mean(),
        "the sum over actions is a mean": right / q.shape[1],
        "the sum over states is a mean: nu weighs them already": right / len(q),
        "the sum over states and actions is a mean: nu and pi weigh them already": right / q.size,
        "states and actions are averaged uniformly, instead of by nu and pi": (ratio * q).mean(),
        "the sign is reversed: L is maximised, it is no loss": -right,
        COLUMNS: nu @ (softmax(case.theta.T).T * q).sum(-1),
        "the largest Q is taken instead of an average over actions": nu @ q.max(-1),
        "that is L(theta) + L(phi)": right + nu @ (probs * q).sum(-1),
        "pi_theta is there twice": nu @ (theta**2 * q).sum(-1),
    }


def surrogate_gradient(case: Any, weights: np.ndarray) -> Slips:
    """Return the gradients of L if the data are held constant."""
    world = case.world
    frozen = np.zeros((2, *case.theta.shape))
    frozen[0] = oracles.complex_step(lambda x: adapted.surrogate(x, world), case.theta)
    nu, q = oracles.occupancy(world.probs, world), oracles.q_values(world.probs, world)
    after = softmax(case.theta)

    def moving(value: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
        return weights * np.stack([frozen[0], oracles.complex_step(value, world.logits)])

    return {
        "the data are held constant, but nu and Q depend on phi (a .detach() would do that)": (
            frozen * weights
        ),
        "Q is held constant, but it depends on phi (a .detach() would do that)": moving(
            lambda x: oracles.occupancy(softmax(x), world) @ (after * q).sum(-1)
        ),
        "nu is held constant, but it depends on phi (a .detach() would do that)": moving(
            lambda x: (after * oracles.q_values(softmax(x), world)).sum(-1) @ nu
        ),
    }


def kl_gradient(case: Any, weights: np.ndarray) -> Slips:
    """Return the gradients of D1^2 if a part of it is held constant."""
    phi, theta = case.world.logits, case.theta
    nu = oracles.occupancy(case.world.probs, case.world)
    in_theta = adapted.central_difference(lambda x: float(adapted.kl_distance(phi, x, nu)), theta)

    def in_phi(value: Callable[[np.ndarray], Any]) -> np.ndarray:
        return weights * np.stack([adapted.central_difference(value, phi), in_theta])

    return {
        "no gradient comes through to phi, or only through log pi_phi, whose average score is 0": (
            weights * np.stack([0 * phi, in_theta])
        ),
        "the log pi_theta in the sum is missing for phi: its weight pi_phi moves, too": in_phi(
            lambda x: nu @ (softmax(x) * np.log(softmax(x))).sum(-1)
        ),
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
        "logits are not log-probabilities, here nor as weights: take log_softmax of both": (
            (np.exp(phi) * (phi - theta)).sum(-1) @ nu
        ),
        "that is the cross-entropy: the entropy of pi_phi is missing": (
            -(p * np.log(softmax(theta))).sum(-1) @ nu
        ),
        "that is ||phi - theta||^2, the third distance": ((phi - theta) ** 2).sum(),
        COLUMNS: nu @ (softmax(phi.T) * np.log(softmax(phi.T) / softmax(theta.T))).T.sum(-1),
        "the logarithm has base 2: that is bits, not nats": kl @ nu / np.log(2),
        "there is a factor 1 / 2 too many": kl @ nu / 2,
        "that is the total variation distance, not KL": np.abs(p - softmax(theta)).sum(-1) @ nu / 2,
        "the sum over states is a mean: nu weighs them already": kl @ nu / len(phi),
        "the sum over states and actions is a mean: nu and pi_phi weigh them already": (
            kl @ nu / phi.size
        ),
        "that is the mean of both directions": (kl + adapted.kl(theta, phi)) @ nu / 2,
        "that is the Jensen-Shannon divergence, each policy against their mixture": (
            _jensen_shannon(p, softmax(theta)) @ nu
        ),
        "that is the difference of the entropies: both logarithms are weighed by pi_phi": (
            ((p * np.log(p)).sum(-1) - (softmax(theta) * np.log(softmax(theta))).sum(-1)) @ nu
        ),
        "both directions are added": (kl + adapted.kl(theta, phi)) @ nu,
        "that is the largest KL over states: average them by nu": kl.max(),
    }


def _jensen_shannon(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    middle = (one + other) / 2
    each = [(p * np.log(p / middle)).sum(-1) for p in (one, other)]
    return (each[0] + each[1]) / 2


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
        "exp() of the new logits is returned, weights without a sum of 1: return the logits": (
            centred(np.exp(phi + q / lam))
        ),
        "pi_phi exp(Q / lam) is returned, weights without a sum of 1: return their logarithm": (
            centred(softmax(phi) * np.exp(q / lam))
        ),
        "lam stands before the prior: it divides Q alone": centred(lam * phi + q),
        "phi is divided by lam, too": centred((phi + q) / lam),
        "lam is squared": centred(phi + q / lam**2),
        "the step is twice as long": centred(phi + 2 * q / lam),
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
        "one mu is used for all states: every state has its own": _one_mu(probs, q, lam, len(q)),
        "one mu makes ALL probabilities sum to 1: every state has its own": (
            _one_mu(probs, q, lam, 1)
        ),
        "there is a factor 2 at lam": adapted.best_logits(phi, q, 2 * lam, "d1"),
        "there is a factor 1 / 2 at lam": adapted.best_logits(phi, q, lam / 2, "d1"),
        "Newton starts at the right end: it jumps past the root, and max Q is a pole": (
            _newton(probs, q, lam, high)
        ),
        "Newton leaves the bracket: start at its LEFT end, not at max Q, which is a pole, and step "
        "to mu - f / f', where f' is negative": np.full_like(q, np.nan),
        **{
            f"Newton stops after {count} steps: thirty are enough": (
                _newton(probs, q, lam, low, count)
            )
            for count in (1, 2, 3)
        },
        "the bracket is that of the uniform policy: pi_phi is missing in lam pi_phi / (mu - Q)": (
            adapted.best_logits(0 * phi, q, lam * probs.shape[1], "d1")
        ),
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
        "that is the plain gradient of J: F is missing": (
            centred(phi + nu * probs * a / ((1 - gamma) * lam))
        ),
        **{
            f"F is damped by {damping:g}: solve with its pseudo-inverse": (
                centred(phi + _damped_step(probs, nu, a, damping) / lam)
            )
            for damping in (1.0, 0.1, 0.01, 1e-3)
        },
        "nu is left over, and 1 / (1 - gamma): F holds nu, and L has no such factor": (
            centred(phi + nu * a / ((1 - gamma) * lam))
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
        "these are probabilities: return logits": centred(softmax(phi + a / lam)),
        "the step is that of the probabilities: pi (1 + A / lam)": (centred(probs * (1 + a / lam))),
        "the step has length 1: divided by its norm": centred(phi + a / np.sqrt((a**2).sum())),
        "the reward stands where Q belongs": centred(phi + world.reward / lam),
        "lam is squared": centred(phi + a / lam**2),
        "there is a square root at lam": centred(phi + a / np.sqrt(lam)),
    }


def _damped_step(
    probs: np.ndarray, nu: np.ndarray, advantage: np.ndarray, damping: float
) -> np.ndarray:
    """Return (F + damping I)^-1 grad L, state by state."""
    size = probs.shape[-1]
    outer = probs[:, :, None] * (np.eye(size) - probs[:, None, :])
    fisher = nu[:, :, None] * outer + damping * np.eye(size)
    return np.linalg.solve(fisher, (nu * probs * advantage)[..., None])[..., 0]


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
    turned_world = world._replace(logits=theta)
    theirs_turned = adapted.kl_distance(theta, phi, oracles.occupancy(softmax(theta), world))
    back, own = adapted.surrogate(phi, turned_world), adapted.surrogate(theta, turned_world)
    answers = {
        "theta and phi have changed places throughout: phi collected the data": (
            adapted.lower_bound(phi, turned_world, lam)
        ),
        "theta and phi have changed places in L, both times: phi collected the data": (
            before + (back - own - lam * apart) / rest
        ),
        "theta and phi have changed places in all but J(phi)": (
            before + (back - own - lam * theirs_turned) / rest
        ),
        "surrogate(theta, theta) is subtracted: what phi earns is surrogate(phi, phi)": (
            before + (promised - own - lam * apart) / rest
        ),
        "surrogate(phi, theta) is subtracted: what phi earns is surrogate(phi, phi)": (
            before + (promised - back - lam * apart) / rest
        ),
        "the distance is D2, over theta's states: in D1 pi_phi comes first, and nu is phi's": (
            before + (gained - lam * theirs_turned) / rest
        ),
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
        "surrogate(theta, phi) is called with its arguments exchanged: the data are phi's": (
            before
            + (adapted.surrogate(phi, world._replace(logits=theta)) - base - lam * apart) / rest
        ),
        "surrogate(theta, theta) stands where surrogate(theta, phi) belongs": (
            before
            + (adapted.surrogate(theta, world._replace(logits=theta)) - base - lam * apart) / rest
        ),
        "the square root of the distance is taken: D1^2 is the average KL": (
            before + (gained - lam * np.sqrt(apart)) / rest
        ),
        "states are averaged uniformly in the distance": (
            before + (gained - lam * adapted.kl(phi, theta).mean()) / rest
        ),
        "J(phi) is divided by 1 - gamma, too": (before + gained - lam * apart) / rest,
        "J(phi) is multiplied by 1 - gamma": (1 - world.gamma) * before
        + (gained - lam * apart) / rest,
        "the sign is reversed": -(before + (gained - lam * apart) / rest),
        "lam divides where it multiplies": before + (gained - apart / lam) / rest,
        "that is L(theta) instead of a bound of J": promised,
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
        "lam is not handed on to alg": adapted.adapted_chain(alg, world, 1.0, num_steps),
        "these are probabilities: return logits": softmax(np.stack(list(chain[:-1]))),
        "lam shrinks from step to step: every step has the same": _with_lams(
            alg, world, [lam / (k + 1) for k in range(num_steps)]
        ),
        "lam is halved before every step: every step has the same": _with_lams(
            alg, world, [lam / 2 ** (k + 1) for k in range(num_steps)]
        ),
        "lam grows from step to step: every step has the same": _with_lams(
            alg, world, [lam * (k + 1) for k in range(num_steps)]
        ),
        "lam grows before every step, the first among them: every step has the same": _with_lams(
            alg, world, [lam * (k + 2) for k in range(num_steps)]
        ),
        "lam is doubled before every step: every step has the same": _with_lams(
            alg, world, [lam * 2 ** (k + 1) for k in range(num_steps)]
        ),
        "every step is the first one again: start from the policy of the step before": (
            [phi, *[chain[1]] * num_steps]
        ),
        "all tables are the last one: keep a table of its own for every step": (
            [chain[-2]] * (num_steps + 1)
        ),
    }
    return {cause: centred(np.stack(list(tables))) for cause, tables in answers.items()}


def _with_lams(
    alg: Callable[..., np.ndarray], world: Any, lams: Sequence[float]
) -> list[np.ndarray]:
    tables = [world.logits]
    for lam in lams:
        tables.append(alg(tables[-1], oracles.q_values(softmax(tables[-1]), world), lam))
    return tables


def _parts(case: Any) -> tuple[np.ndarray, np.ndarray, float]:
    world = case.world
    return world.logits, oracles.q_values(world.probs, world), case.lam


def _newton(
    probs: np.ndarray, q: np.ndarray, lam: float, mu: np.ndarray, count: int = 30
) -> np.ndarray:
    """Return what some Newton steps from mu make of the policy, wherever they end."""
    for _ in range(count):
        share = lam * probs / (mu - q)
        slope = -(share / (mu - q)).sum(-1, keepdims=True)
        mu = mu - (share.sum(-1, keepdims=True) - 1) / slope
    return centred(np.log(probs) + np.log(lam / (mu - q)))


def _one_mu(probs: np.ndarray, q: np.ndarray, lam: float, total: int) -> np.ndarray:
    """Solve for one mu with which all states together sum to a number."""
    low, high = (q + lam * probs / total).max(), q.max() + lam * len(q)
    for _ in range(200):
        middle = (low + high) / 2
        more = (lam * probs / (middle - q)).sum() > total
        low, high = (middle, high) if more else (low, middle)
    return centred(np.log(lam * probs / (high - q)))
