"""Known slips of exercise set 04: the likely cause, and the answer that it leads to."""

import itertools

import numpy as np

from bomrl_lite.course.checks import oracles
from bomrl_lite.course.checks.engine import Slips
from bomrl_lite.course.checks.oracles import World
from bomrl_lite.course.checks.set04 import oracles as bilevel
from bomrl_lite.course.checks.set04.oracles import Climb, Landscape, lam_of

FROZEN = "Q is held constant: it is Q of pi_phi, and moves with phi (a .detach() would freeze it)"
NOT_FROZEN = "the gradient flows through Q: here Q counts as data (.detach())"

NEUMANN = (
    *itertools.product((1.0, 0.1, 0.01), (2, 3, 5, 10, 20)),
    (0.1, 50),
    (0.01, 50),
    (0.01, 100),
)
"""(step, terms) of the Neumann series that learners cut off."""


def implicit_derivative(landscape: Landscape) -> Slips:
    """Return what mistakes about d theta / d phi = -F_theta_phi / F_theta_theta lead to."""
    (theta,) = landscape.argmax(landscape.phi)
    bend = -landscape.curvature(np.array([theta]))[0, 0]
    cross = landscape.mixed(np.array([theta]))[0, 0]
    own = -np.exp(landscape.phi[0]) * (landscape.rays[0, 0] * theta) ** 2 / 2
    slope = landscape.pull[0, 0] * theta + own
    return {
        "the minus sign of -F_theta_phi / F_theta_theta is missing": cross / bend,
        "the fraction is upside down": -bend / cross,
        "the division by F_theta_theta is missing": -cross,
        "F_phi_phi stands where F_theta_phi belongs": -own / bend,
        "F_phi_phi stands where F_theta_theta belongs": -cross / own,
        "that is F_theta_phi alone": cross,
        "that is F_theta_theta alone": bend,
        "that is the derivative of F in phi, not that of theta": slope,
        "theta is taken not to depend on phi": np.array(0.0),
        "theta is taken to move exactly as phi does": np.array(1.0),
        "your value is half the right one": -cross / bend / 2,
        "the fraction is squared": (cross / bend) ** 2,
        "the two are multiplied: F_theta_phi is divided by F_theta_theta": -cross * bend,
        "F_phi stands where F_theta_phi belongs": -slope / bend,
        "F_phi stands where F_theta_phi belongs, and the minus sign is missing": slope / bend,
        "theta and phi have changed places: that is -F_phi_phi / F_theta_phi": -own / cross,
        "the absolute value is taken: theta may well fall as phi rises": np.abs(cross / bend),
    }


def conjugate_gradient(matrix: np.ndarray, b: np.ndarray) -> Slips:
    """Return what mistakes about the solution of A x = b lead to."""
    x = np.linalg.lstsq(matrix, b, rcond=None)[0]
    return {
        "the sign is reversed: A x = -b": -x,
        "that is A b: the system is not solved": matrix @ b,
        "that is b: x starts at 0 and the residual at b": b,
        "that is 0: x never moves from its start, or the residual is returned": np.zeros_like(b),
        "it stops after one step": (b @ b) / (b @ matrix @ b) * b,
        "b is divided by the diagonal of A": b / np.diag(matrix),
        "x starts at b, and ends there too far off: it starts at 0": x + b,
        "x is divided by the norm of b": x / np.linalg.norm(b),
    }


def second_direction(matrix: np.ndarray, b: np.ndarray) -> Slips:
    """Return what mistakes about the second direction of conjugate gradients lead to."""
    image = matrix @ b
    step = (b @ b) / (b @ image)
    residual = b - step * image
    beta = (residual @ residual) / (b @ b)
    return {
        "beta is upside down: it is <r_new, r_new> / <r, r>": residual + b / beta,
        "beta is 1: keep the old <r, r> until beta is computed": residual + b,
        "beta is the ratio of the norms: it is that of their squares": residual + beta**0.5 * b,
        "beta has the wrong sign: p_new = r_new + beta p": residual - beta * b,
        "beta is 0: that is steepest descent, whose directions are not conjugate": residual,
        "beta multiplies the residual: p_new = r_new + beta p": beta * residual + b,
        "the residual grows: r_new = r - alpha A p": (
            (grown := b + step * image) + (grown @ grown) / (b @ b) * b
        ),
    }


def implicit_vjp(landscape: Landscape, cotangent: np.ndarray) -> Slips:
    """Return what mistakes about pulling a cotangent back through an argmax lead to."""
    theta = landscape.argmax(landscape.phi)
    bend, cross = landscape.curvature(theta), landscape.mixed(theta)
    x = np.linalg.solve(bend, cotangent)
    return {
        "the sign is reversed: the matrix of the linear system is MINUS the Hessian": -cross.T @ x,
        "the linear system is not solved: that is the mixed derivative times the cotangent": (
            cross.T @ cotangent
        ),
        "the cotangent is multiplied by the Hessian instead of solved with it": (
            cross.T @ bend @ cotangent
        ),
        "that is x: it still has to be pulled back by the mixed derivative": x,
        "that is -x: it still has to be pulled back by the mixed derivative": -x,
        "that is the cotangent: d theta / d phi is taken as the identity": cotangent,
        "only the diagonal of the Hessian is used": cross.T @ (cotangent / np.diag(bend)),
        "conjugate gradients stop after one step": (
            cross.T @ cotangent * (cotangent @ cotangent) / (cotangent @ bend @ cotangent)
        ),
        **{
            f"the Hessian is damped by {damping:g} in the solve: that is another problem's answer": (  # noqa: E501
                cross.T @ np.linalg.solve(bend + damping * np.eye(len(bend)), cotangent)
            )
            for damping in (10.0, 1.0, 0.5, 0.1, 0.05, 0.01, 1e-3)
        },
        **{
            f"the Hessian is damped by {damping:g} with the wrong sign, and should not be at all": (
                cross.T @ np.linalg.solve(bend - damping * np.eye(len(bend)), cotangent)
            )
            for damping in (0.1, 0.01, 1e-3)
        },
        **{
            f"the Neumann series ends after {terms} terms with step {step:g}: it has not settled": (
                cross.T @ _neumann(bend, cotangent, step, terms)
            )
            for step, terms in NEUMANN
        },
        "the cotangent is divided by its norm": cross.T @ x / np.linalg.norm(cotangent),
        "the cotangent is solved for twice": cross.T @ np.linalg.solve(bend, x),
        "theta is taken not to depend on phi; F(., phi) inside the gradient uses another phi": (
            np.zeros_like(landscape.phi)
        ),
    }


def simplex_solve(m: np.ndarray, c: np.ndarray) -> Slips:
    """Return what mistakes about W c lead to."""
    ones = np.ones_like(c)
    solve = lambda b: np.linalg.solve(m, b[..., None])[..., 0]  # noqa: E731
    raw, uniform = solve(c), solve(ones)
    right = bilevel.on_simplex(m, c)
    size = c.shape[-1]
    return {
        "the simplex is left out: that is M^-1 c, whose entries do not sum to 0": raw,
        "the mean is subtracted: that is the nearest point in the Euclidean metric, not M's": (
            raw - raw.mean(-1, keepdims=True)
        ),
        "c is centred before the solve, and nothing after it": solve(c - c.mean(-1, keepdims=True)),
        "the division by 1^T M^-1 1 is missing": raw - uniform * raw.sum(-1, keepdims=True),
        "1^T M^-1 1 is taken as the number of actions": (
            raw - uniform * raw.sum(-1, keepdims=True) / size
        ),
        "the sum of c stands where that of M^-1 c belongs": (
            raw - uniform * c.sum(-1, keepdims=True) / uniform.sum(-1, keepdims=True)
        ),
        "M^-1 c is divided by its sum: the entries have to sum to 0, not to 1": (
            raw / raw.sum(-1, keepdims=True)
        ),
        "the correction is added instead of subtracted": 2 * raw - right,
        "only the correction is there: M^-1 c is missing": right - raw,
        "the sign is reversed": -right,
        "M is used where its inverse belongs": (m @ c[..., None])[..., 0],
        "M is used where its inverse belongs, in all of W": _projected(
            (m @ c[..., None])[..., 0], m.sum(-1)
        ),
        "the sums run over all states: every state has its own mu": (
            raw - uniform * raw.sum() / uniform.sum()
        ),
        "the first sum runs over all states: every state has its own mu": (
            raw - uniform * raw.sum() / uniform.sum(-1, keepdims=True)
        ),
        "the sums run over states, dim 0, instead of over actions": (
            raw - uniform * raw.sum(0) / uniform.sum(0)
        ),
        "only the diagonal of M is used": bilevel.on_simplex(
            _diagonal(np.diagonal(m, 0, -2, -1)), c
        ),
        "c is centred first, and M^-1 c once more": _centred(solve(_centred(c))),
    }


def hypergradient(world: World) -> Slips:
    """Return what mistakes about the hypergradient with D2 lead to."""
    phi, lam, gamma = world.logits, lam_of(world), world.gamma
    right, frozen = through_d2(world), frozen_d2(world)
    q = oracles.q_values(world.probs, world)

    def after(scale: float) -> np.ndarray:
        def value(x: np.ndarray) -> np.ndarray:
            tilt = oracles.q_values(oracles.softmax(x), world)
            return oracles.policy_return(x + scale * tilt, world)

        return oracles.complex_step(value, phi)

    return {
        FROZEN: frozen,
        "only the way through Q is there: theta = phi + Q / lam depends on phi itself too": (
            right - frozen
        ),
        "that is the gradient of J at phi, without any adaptation": (
            oracles.return_gradient(phi, world)
        ),
        "lam is missing: theta = phi + Q / lam": after(1.0),
        "Q is multiplied by lam: theta = phi + Q / lam": after(lam),
        "Q has the wrong sign: theta = phi + Q / lam": after(-1 / lam),
        "Q is multiplied by 1 - gamma in theta: theta = phi + Q / lam": after((1 - gamma) / lam),
        "your value is 1 - gamma times the right one": (1 - gamma) * right,
        "your value is 1 / (1 - gamma) times the right one": right / (1 - gamma),
        "the sign is reversed: the return is maximised": -right,
        "theta is held constant: the gradient does not flow through it": np.zeros_like(phi),
        "J stands for what the old data promise: Q of pi_phi instead of the return of pi_theta": (
            _promise_gradient(world)
        ),
        "J stands for the surrogate L: Q of pi_phi instead of the return of pi_theta": (
            (1 - gamma) * _promise_gradient(world)
        ),
        "J stands for what the old data promise, with occupancy and Q of pi_phi held constant": (
            _data_gradient(world, oracles.occupancy(world.probs, world) / (1 - gamma))
        ),
        "J stands for the surrogate L, with occupancy and Q of pi_phi held constant": (
            _data_gradient(world, oracles.occupancy(world.probs, world))
        ),
        "J stands for <pi_theta, Q> at the start, with Q of pi_phi held constant": (
            _data_gradient(world, world.start)
        ),
        "J stands for <pi_theta, Q> at the start: Q is pi_phi's, not pi_theta's": (
            oracles.complex_step(lambda x: _promise_at_start(x, world), phi)
        ),
        "probabilities stand where logits belong: theta = phi + Q / lam": oracles.complex_step(
            lambda x: oracles.policy_return(
                oracles.softmax(x) + oracles.q_values(oracles.softmax(x), world) / lam, world
            ),
            phi,
        ),
        "Q of pi_theta is held constant in the outer return: its later steps depend on theta too": (
            _first_step_alone(world, q)
        ),
        **_wrong_chains(world, right, frozen),
    }


def _wrong_chains(world: World, right: np.ndarray, frozen: np.ndarray) -> Slips:
    """Return mistakes about (I + dQ / dphi / lam)^T grad J(theta)."""
    phi, lam = world.logits, lam_of(world)
    q = oracles.q_values(world.probs, world)
    before = oracles.return_gradient(phi, world)

    def pulled(cotangent: np.ndarray) -> np.ndarray:
        def along(x: np.ndarray) -> np.ndarray:
            moved = x + oracles.q_values(oracles.softmax(x), world) / lam
            return (cotangent * moved).sum((-2, -1))

        return oracles.complex_step(along, phi)

    step = oracles.COMPLEX_STEP
    turned = oracles.q_values(oracles.softmax(phi + 1j * step * frozen), world)

    def unnormalised(x: np.ndarray) -> np.ndarray:
        return _linear_return(x + oracles.q_values(oracles.softmax(x), world) / lam, world)

    return {
        "the derivative of Q is not transposed: pull the gradient back by vjp, not jvp": (
            frozen + np.imag(turned) / step / lam
        ),
        "1 / lam is missing at the derivative of Q": frozen + lam * (right - frozen),
        "1 / lam is there twice at the derivative of Q": frozen + (right - frozen) / lam,
        "the outer gradient is that of J at phi: the chain rule asks for it at theta": (
            pulled(before)
        ),
        "the way through Q has the wrong sign": 2 * frozen - right,
        "the softmax of theta is forgotten: expected_return wants probabilities": (
            oracles.complex_step(unnormalised, phi)
        ),
        "theta starts at 0: theta = phi + Q / lam": oracles.complex_step(
            lambda x: oracles.policy_return(
                oracles.q_values(oracles.softmax(x), world) / lam, world
            ),
            phi,
        ),
        "the advantage of a fixed policy stands where Q belongs: r alone, without what follows": (
            oracles.return_gradient(phi + world.reward / lam, world)
        ),
        "the gain J(theta) - J(phi) is differentiated: J(theta) alone is asked for": right - before,
        "your value is lam times the right one": lam * right,
        "two adaptations are made": oracles.complex_step(
            lambda x: bilevel.return_after_d2(
                x + oracles.q_values(oracles.softmax(x), world) / lam, world
            ),
            phi,
        ),
        "Q is counted at theta, not at phi": oracles.return_gradient(
            phi + oracles.q_values(oracles.softmax(phi + q / lam), world) / lam, world
        ),
    }


def frozen_hypergradient(world: World) -> Slips:
    """Return what mistakes about the frozen rung lead to."""
    phi, frozen = world.logits, frozen_d2(world)
    q = oracles.q_values(world.probs, world)
    return {
        NOT_FROZEN: through_d2(world),
        "that is the gradient of J at phi, without any adaptation": (
            oracles.return_gradient(phi, world)
        ),
        "only the way through Q is there, the very one to be cut": through_d2(world) - frozen,
        "everything is held constant: theta = phi + Q / lam still depends on phi itself": (
            np.zeros_like(phi)
        ),
        "the sign is reversed: the return is maximised": -frozen,
        "the derivative is divided by lam: only Q is": frozen / lam_of(world),
        "lam is missing: theta = phi + Q / lam": oracles.return_gradient(phi + q, world),
        "Q is multiplied by lam: theta = phi + Q / lam": oracles.return_gradient(
            phi + lam_of(world) * q, world
        ),
        "Q is multiplied by 1 - gamma in theta: theta = phi + Q / lam": oracles.return_gradient(
            phi + (1 - world.gamma) * q / lam_of(world), world
        ),
        "Q has the wrong sign: theta = phi + Q / lam": oracles.return_gradient(
            phi - q / lam_of(world), world
        ),
        "Q of phi is frozen in J, too: J is the return of pi_theta, with its own Q": (
            oracles.complex_step(
                lambda x: (oracles.softmax(x) * q).sum(-1) @ world.start, phi + q / lam_of(world)
            )
        ),
        "J stands for what the old data promise: occupancy and Q of pi_phi": oracles.complex_step(
            lambda x: (oracles.softmax(x) * q).sum(-1) @ oracles.occupancy(world.probs, world),
            phi + q / lam_of(world),
        )
        / (1 - world.gamma),
        "theta starts at 0: theta = phi + Q / lam": oracles.return_gradient(
            q / lam_of(world), world
        ),
        "your value is 1 - gamma times the right one": (1 - world.gamma) * frozen,
    }


def hypergradient_d1(world: World) -> Slips:
    """Return what mistakes about Proposition 1 with D1 lead to."""
    probs, lam, phi = world.probs, lam_of(world), world.logits
    q = oracles.q_values(probs, world)
    adapted = bilevel.adapted_d1(probs, q, lam)
    cotangent = oracles.complex_step(lambda p: bilevel.return_of_probs(p, world), adapted)
    m = _diagonal(lam * probs / adapted**2)
    x = bilevel.on_simplex(m, cotangent)

    def pull(x: np.ndarray, towards_q: float = 1.0, towards_phi: float = 1.0) -> np.ndarray:
        def slopes(y: np.ndarray) -> np.ndarray:
            moved = oracles.softmax(y)
            answer = towards_q * oracles.q_values(moved, world) + towards_phi * moved * (
                lam / adapted
            )
            return (x * answer).sum((-2, -1))

        return oracles.complex_step(slopes, phi)

    theta = np.log(adapted)
    return {
        FROZEN: pull(x, towards_q=0),
        "only the way through Q is there: D1 depends on phi itself too": pull(x, towards_phi=0),
        "the simplex is left out: mu of the closed form moves with phi too": pull(
            np.linalg.solve(m, cotangent[..., None])[..., 0]
        ),
        "M is that of D2, diag(lam / pi'), not diag(lam pi_phi / pi'^2)": pull(
            bilevel.on_simplex(_diagonal(lam / adapted), cotangent)
        ),
        "M lacks the square, diag(lam pi_phi / pi'): it is diag(lam pi_phi / pi'^2)": pull(
            bilevel.on_simplex(_diagonal(lam * probs / adapted), cotangent)
        ),
        "the gradient of J is taken at pi_phi: the chain rule asks for it at pi'": pull(
            bilevel.on_simplex(m, oracles.complex_step(lambda p: _linear_return(p, world), probs))
        ),
        "that is automatic differentiation through bisection: the halves carry the derivative of "
        "the ends they began with, not of the root": _through_bisection(world),
        "the linear system is not solved: c stands where x belongs": pull(cotangent),
        "M multiplies where it is to be solved with": pull(lam * probs / adapted**2 * cotangent),
        "the mean is subtracted instead of W": pull(
            _centred(cotangent / (lam * probs / adapted**2))
        ),
        "M is taken at pi_phi: it is diag(lam pi_phi / pi'^2)": pull(
            bilevel.on_simplex(_diagonal(lam / probs), cotangent)
        ),
        "pi_phi and pi' have changed places in M": pull(
            bilevel.on_simplex(_diagonal(lam * adapted / probs**2), cotangent)
        ),
        "log pi_phi stands where pi_phi / pi' belongs in the slope: that is D2's": (
            _by_log_slope(world, x)
        ),
        "log pi_phi stands where pi_phi belongs in the slope": _by_log_slope(world, x / adapted)
        + pull(x - x / adapted, towards_phi=0),
        "lam is missing in M": pull(lam * x),
        "lam is missing in the mixed derivative lam / pi'": pull(x, towards_phi=1 / lam),
        "the mixed derivative has the wrong sign": pull(x, towards_phi=-1),
        "Q has the wrong sign": pull(x, towards_q=-1),
        "that is the hypergradient of D2": through_d2(world),
        "d theta / d phi is taken as the identity: that is the gradient of J at theta": (
            oracles.return_gradient(theta, world)
        ),
        "that is the gradient of J at phi, without any adaptation": (
            oracles.return_gradient(phi, world)
        ),
        "the sign is reversed: the return is maximised": -pull(x),
        "your value is 1 - gamma times the right one": (1 - world.gamma) * pull(x),
    }


def unrolled_hypergradient(climb: Climb) -> Slips:
    """Return what mistakes about differentiating through the steps lead to."""
    phi = climb.landscape.phi

    def through(
        steps: int = climb.num_steps,
        *,
        size: float = climb.step_size,
        start: np.ndarray | None = None,
        inside: np.ndarray | None = None,
    ) -> np.ndarray:
        run = climb._replace(num_steps=steps, step_size=size)

        def value(x: np.ndarray) -> np.ndarray:
            begin = x if start is None else start + 0 * x
            return run.value(run.end(begin, x if inside is None else inside))

        return bilevel.vector_gradient(value, phi)

    end = climb.end(phi, phi)
    first_order = bilevel.vector_gradient(climb.value, end)
    return {
        "one step too few": through(climb.num_steps - 1),
        "one step too many": through(climb.num_steps + 1),
        "there is one step alone, whatever K is": through(1),
        "the steps go down: F is maximised over theta": through(size=-climb.step_size),
        "the start is cut off: theta_0 = phi depends on phi (a .detach() would do that)": through(
            start=phi
        ),
        "F's own phi is held constant: F(theta, phi) depends on phi in every step": through(
            inside=phi
        ),
        "the steps are cut off: that is the gradient of J at theta_K": first_order,
        "the steps start at 0 instead of at phi": through(start=np.zeros_like(phi)),
        "that is the gradient of J at phi: no step is taken": bilevel.vector_gradient(
            climb.value, phi
        ),
        "that is the hypergradient of the argmax, which the steps have not reached": (
            bilevel.vector_gradient(lambda x: climb.value(climb.landscape.argmax(x)), phi)
        ),
        "nothing reaches phi: theta_K is cut off": np.zeros_like(phi),
        "only the last step is differentiated: theta_(K-1) depends on phi, too": (
            _last_step(climb)
        ),
        "that is the implicit gradient at theta_K, which is no argmax": _implicit_at_end(climb),
        "F's second argument is theta: it is phi in every step": bilevel.vector_gradient(
            lambda x: climb.value(_following(climb, x)), phi
        ),
        "step_size is not used": through(size=1.0),
        "that is theta_K - phi": end - phi,
        "the sign is reversed": -through(),
    }


def through_d2(world: World) -> np.ndarray:
    """Return the full hypergradient with D2."""
    return oracles.complex_step(lambda x: bilevel.return_after_d2(x, world), world.logits)


def frozen_d2(world: World) -> np.ndarray:
    """Return the hypergradient with D2 that holds Q constant."""
    q = oracles.q_values(world.probs, world)
    return oracles.complex_step(lambda x: bilevel.return_after_d2(x, world, q), world.logits)


def _promise_gradient(world: World) -> np.ndarray:
    """Return the gradient of sum_s nu(s) <pi_theta, Q> / (1 - gamma), all at pi_phi but theta."""

    def promise(x: np.ndarray) -> np.ndarray:
        probs = oracles.softmax(x)
        q, nu = oracles.q_values(probs, world), oracles.occupancy(probs, world)
        after = oracles.softmax(x + q / lam_of(world))
        return (nu[..., None] * after * q).sum((-2, -1)) / (1 - world.gamma)

    return oracles.complex_step(promise, world.logits)


def _data_gradient(world: World, weights: np.ndarray) -> np.ndarray:
    """Return the gradient of sum_s w(s) <pi_theta, Q>, where theta moves and w and Q do not."""
    q = oracles.q_values(world.probs, world)

    def value(x: np.ndarray) -> np.ndarray:
        tilt = oracles.q_values(oracles.softmax(x), world) / lam_of(world)
        return (oracles.softmax(x + tilt) * q).sum(-1) @ weights

    return oracles.complex_step(value, world.logits)


def _promise_at_start(x: np.ndarray, world: World) -> np.ndarray:
    """Return sum_s rho(s) <pi_theta, Q> of logits [..., S, A], with Q that of the logits."""
    q = oracles.q_values(oracles.softmax(x), world)
    return (oracles.softmax(x + q / lam_of(world)) * q).sum(-1) @ world.start


def _by_log_slope(world: World, x: np.ndarray) -> np.ndarray:
    """Pull x back through Q + lam log pi_phi, the slope that D2 has."""

    def slopes(y: np.ndarray) -> np.ndarray:
        moved = oracles.softmax(y)
        slope = oracles.q_values(moved, world) + lam_of(world) * np.log(moved)
        return (x * slope).sum((-2, -1))

    return oracles.complex_step(slopes, world.logits)


def _neumann(matrix: np.ndarray, b: np.ndarray, step: float, terms: int) -> np.ndarray:
    """Return step sum_{k < terms} (I - step A)^k b."""
    total, term = np.zeros_like(b), step * b
    for _ in range(terms):
        total, term = total + term, term - step * matrix @ term
    return total


def _first_step_alone(world: World, q: np.ndarray) -> np.ndarray:
    """Return the gradient of sum_s rho(s) <pi_theta, Q^theta>, with Q^theta held constant."""
    after = oracles.q_values(oracles.softmax(world.logits + q / lam_of(world)), world)

    def value(x: np.ndarray) -> np.ndarray:
        tilt = oracles.q_values(oracles.softmax(x), world) / lam_of(world)
        return (oracles.softmax(x + tilt) * after).sum(-1) @ world.start

    return oracles.complex_step(value, world.logits)


def _linear_return(probs: np.ndarray, world: World) -> np.ndarray:
    """Return J of tables [..., S, A] that need not be policies, by a linear solve."""
    moves = np.einsum("...sa,sat->...st", probs, world.transition)
    paid = (probs * world.reward).sum(-1)
    bellman = np.eye(len(world.start)) - world.gamma * moves
    return np.linalg.solve(bellman, paid[..., None])[..., 0] @ world.start


def _through_bisection(world: World) -> np.ndarray:
    """Differentiate with mu at a constant share of the way between the ends of its bracket."""
    lam = lam_of(world)
    q = oracles.q_values(world.probs, world)
    adapted = bilevel.adapted_d1(world.probs, q, lam)
    mu = (q + lam * world.probs / adapted).mean(-1)
    left, right = (q + lam * world.probs).argmax(-1), q.argmax(-1)
    rows = np.arange(len(q))
    low, high = (q + lam * world.probs)[rows, left], q[rows, right] + lam
    share = (mu - low) / (high - low)

    def value(x: np.ndarray) -> np.ndarray:
        probs = oracles.softmax(x)
        worth = oracles.q_values(probs, world)
        near, far = (worth + lam * probs)[..., rows, left], worth[..., rows, right] + lam
        root = (near + share * (far - near))[..., None]
        return _linear_return(lam * probs / (root - worth), world)

    return oracles.complex_step(value, world.logits)


def _last_step(climb: Climb) -> np.ndarray:
    landscape, phi = climb.landscape, climb.landscape.phi
    if climb.num_steps == 0:
        return bilevel.vector_gradient(climb.value, phi)
    before = climb._replace(num_steps=climb.num_steps - 1).end(phi, phi)
    return bilevel.vector_gradient(
        lambda x: climb.value(before + climb.step_size * landscape.slope(before, x)), phi
    )


def _implicit_at_end(climb: Climb) -> np.ndarray:
    landscape = climb.landscape
    end = climb.end(landscape.phi, landscape.phi)
    outer = bilevel.vector_gradient(climb.value, end)
    return landscape.mixed(end).T @ np.linalg.solve(landscape.curvature(end), outer)


def _following(climb: Climb, x: np.ndarray) -> np.ndarray:
    """Climb with the newest theta in both arguments of F, differentiated in the first."""
    theta = x
    for _ in range(climb.num_steps):
        theta = theta + climb.step_size * climb.landscape.slope(theta, theta)
    return theta


def _projected(raw: np.ndarray, uniform: np.ndarray) -> np.ndarray:
    return raw - uniform * raw.sum(-1, keepdims=True) / uniform.sum(-1, keepdims=True)


def _centred(c: np.ndarray) -> np.ndarray:
    return c - c.mean(-1, keepdims=True)


def _diagonal(entries: np.ndarray) -> np.ndarray:
    return entries[..., None] * np.eye(entries.shape[-1])
