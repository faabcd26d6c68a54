"""What the checks of exercise set 04 ask, with the oracles' answers.

Each function is cached: the oracles run once per process, when a check first needs them.
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import cache, partial
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from bomrl_lite.course.checks import oracles
from bomrl_lite.course.checks.draws import instance, once
from bomrl_lite.course.checks.engine import Question
from bomrl_lite.course.checks.oracles import World
from bomrl_lite.course.checks.questions import ask, phi_args
from bomrl_lite.course.checks.set04 import oracles as bilevel
from bomrl_lite.course.checks.set04 import slips
from bomrl_lite.course.checks.set04.oracles import Climb, Landscape, lam_of, random_landscape

BY_HAND = "the case done by hand"
SIZES = ((2, 3), (3, 2), (4, 3), (3, 3))
"""(n, m) of the random landscapes: sizes of theta and of phi."""
ROUNDS = 3
"""Random instances of each size."""

PATIENCE = 2000
"""Products after which a solver of at most 200 unknowns is stopped."""

THREE_ROOMS = World(
    logits=np.log([[0.25, 0.75], [0.5, 0.5], [0.5, 0.5]]),
    transition=np.eye(3)[[[2, 1], [2, 2], [2, 2]]],
    reward=np.array([[2.5, 0.0], [2.0, 0.0], [0.0, 0.0]]),
    start=np.array([1.0, 0.0, 0.0]),
    gamma=0.5,
    step_size=1 / (4 * np.log(3)),
)
"""Room 0: action 0 pays 2.5 and ends, action 1 leads to room 1, where action 0 pays 2 and ends."""


class Product:
    """v -> A v; it counts, keeps what it is asked first, and gives up on an endless solver."""

    def __init__(self, matrix: np.ndarray) -> None:
        self.matrix, self.count = torch.tensor(matrix), 0
        self.directions: list[np.ndarray] = []
        """The first two vectors."""

    def __call__(self, v: Tensor) -> Tensor:
        """Return A v."""
        self.count += 1
        if self.count > PATIENCE:
            raise RuntimeError(
                f"matvec was called {PATIENCE} times for {len(v)} unknowns without an answer: look "
                "at what the loop waits for, and at how the residual and the direction change"
            )
        if len(self.directions) < 2:
            self.directions.append(v.detach().numpy().copy())
        return self.matrix @ v


class Cost(NamedTuple):
    """A system, and how many products a solver that stops in time may take."""

    label: str
    matrix: np.ndarray
    b: np.ndarray
    tolerance: float
    most: int
    early: str
    """The likely cause if the residual is not met."""


@once
def implicit_derivative() -> Sequence[Question]:
    """Ask for d theta / d phi; by hand a ridge of weight phi, with theta* = 3 / (1 + phi)."""

    def ridge(theta: Tensor, phi: Tensor) -> Tensor:
        return -((theta - 3) ** 2) / 2 - phi * theta**2 / 2

    scalars = torch.tensor(1.0, dtype=torch.float64), torch.tensor(2.0, dtype=torch.float64)
    wrong = {
        "the minus sign of -F_theta_phi / F_theta_theta is missing": 1 / 3,
        "the fraction is upside down": -3.0,
        "the division by F_theta_theta is missing": 1.0,
        "F_phi_phi stands where F_theta_phi belongs": 0.0,
        "F_phi_phi stands where F_theta_theta belongs": np.inf,
        "that is F_theta_phi alone": -1.0,
        "that is F_theta_theta alone": -3.0,
        "that is the derivative of F in phi, not that of theta": -0.5,
        "theta is taken not to depend on phi": 0.0,
        "theta is taken to move exactly as phi does": 1.0,
        "your value is half the right one": -1 / 6,
        "the fraction is squared": 1 / 9,
        "the two are multiplied: F_theta_phi is divided by F_theta_theta": -3.0,
        "F_phi stands where F_theta_phi belongs": -1 / 6,
        "F_phi stands where F_theta_phi belongs, and the minus sign is missing": 1 / 6,
        "theta and phi have changed places: that is -F_phi_phi / F_theta_phi": 0.0,
        "the absolute value is taken: theta may well fall as phi rises": 1 / 3,
    }
    as_arrays = {cause: np.array(value) for cause, value in wrong.items()}
    by_hand = _question(BY_HAND, (ridge, *scalars), -1 / 3, lambda: as_arrays, known=True)

    def at(index: int) -> Question:
        landscape = random_landscape(instance(40 + index), 1, 1)
        theta, phi = (torch.tensor(x)[0] for x in (landscape.argmax(landscape.phi), landscape.phi))
        expected = bilevel.argmax_pull_back(landscape, np.ones(1))[0]
        return _question(
            f"random instance {index}",
            (landscape.scalar_objective(), theta, phi),
            expected,
            partial(slips.implicit_derivative, landscape),
        )

    return by_hand, *map(at, range(1, 13))


@once
def conjugate_gradient() -> Sequence[Question]:
    """Ask for x with A x = b; by hand, 2 x - y = 3 and 2 y - x = 0. The last A is singular."""
    draw = np.random.default_rng(instance(0))

    def at(label: str, matrix: np.ndarray, b: np.ndarray, x: np.ndarray, known: bool) -> Question:
        args = Product(matrix), torch.tensor(b), 1e-12
        return _question(label, args, x, partial(slips.conjugate_gradient, matrix, b), known=known)

    questions = [
        at(BY_HAND, np.array([[2.0, -1], [-1, 2]]), np.array([3.0, 0]), np.array([2.0, 1]), True)
    ]
    for index, size in enumerate((2, 3, 4, 3, 6, 9, 12), 1):
        matrix = _symmetric(draw, np.linspace(1, 20, size))
        b = draw.normal(size=size)
        label = f"random instance {index} ({size} unknowns)"
        usual = at(label, matrix, b, np.linalg.solve(matrix, b), False)
        # up to nine unknowns, ten iterations solve everything
        early = "ten iterations, or another fixed number, are not enough for every system: go on "
        early += "until the residual is small"
        questions.append(replace(usual, separates=early if size > 9 else None))
    matrix = _symmetric(draw, np.array([0.0, 1, 2, 5, 9]))
    x = matrix @ draw.normal(size=5)
    label = "random instance 8 (5 unknowns, A singular, b within its range)"
    return *questions, at(label, matrix, matrix @ x, x, False)


@once
def costs() -> Sequence[Cost]:
    """Return systems that show whether a solver stops when it is done, and not before."""
    draw = np.random.default_rng(instance(1))
    few = np.repeat([1.0, 2, 4, 7, 11], 40)
    many = np.logspace(0, 2, 200)
    hard = np.logspace(0, 4, 100)
    fixed = (
        "the loop ends too early, after a fixed number of iterations or at another residual: go on "
        "until ||b - A x|| <= tolerance ||b||"
    )
    return (
        Cost("A = 3 I, 40 unknowns", 3 * np.eye(40), draw.normal(size=40), 1e-8, 4, fixed),
        Cost(
            "200 unknowns, A with only 5 different eigenvalues",
            _symmetric(draw, few),
            draw.normal(size=200),
            1e-8,
            9,
            fixed,
        ),
        Cost(
            "200 unknowns, condition number 100, to 1e-6",
            _symmetric(draw, many),
            draw.normal(size=200),
            1e-6,
            100,
            fixed,
        ),
        Cost(
            "100 unknowns, condition number 1e4, to 1e-10",
            _symmetric(draw, hard),
            draw.normal(size=100),
            1e-10,
            700,
            "the loop ends after as many iterations as there are unknowns, or some other fixed "
            "number: rounding spoils the conjugacy, so only the residual tells when it is over",
        ),
        Cost(
            "a small right-hand side, 1e-9 times a random one",
            _symmetric(draw, np.linspace(1, 9, 12)),
            1e-9 * draw.normal(size=12),
            1e-8,
            20,
            "the tolerance is taken as it is: it is relative to ||b||",
        ),
        Cost("b = 0", np.eye(3), np.zeros(3), 1e-8, 3, "b = 0 has the answer 0"),
    )


@once
def a_system() -> tuple[np.ndarray, np.ndarray, float]:
    """Return (A, b, tolerance), on which a solver's second direction is looked at."""
    draw = np.random.default_rng(instance(6))
    return _symmetric(draw, np.linspace(1, 20, 4)), draw.normal(size=4), 1e-12


@once
def indefinite() -> Sequence[tuple[str, tuple[Any, ...]]]:
    """Return arguments on which conjugate gradients must not return numbers."""
    draw = np.random.default_rng(instance(2))
    cases = {
        "A = diag(1, -2)": (np.diag([1.0, -2]), np.array([3.0, 1])),
        "A = -I, negative definite": (-np.eye(3), np.array([1.0, 2, 3])),
        "A = [[0, 1], [1, 0]], with <p, A p> = 0 at the start": (
            np.array([[0.0, 1], [1, 0]]),
            np.array([1.0, 0]),
        ),
        "a random A with one negative eigenvalue among 8": (
            _symmetric(draw, np.array([-1.0, 1, 2, 3, 4, 5, 6, 7])),
            draw.normal(size=8),
        ),
    }
    return tuple(
        (label, (Product(matrix), torch.tensor(b), 1e-8)) for label, (matrix, b) in cases.items()
    )


@once
def implicit_vjp() -> Sequence[Question]:
    """Ask for the pull-back; by hand F = -<theta, A theta> / 2 + <theta, B phi>, so B^T A^-1 c."""
    bowl, pull = np.array([[2.0, 1], [1, 2]]), np.array([[1.0, 2], [0, 1]])
    phi, cotangent = np.array([3.0, 3]), np.array([3.0, 0])
    quadratic = Landscape(pull, bowl, np.zeros(2), np.zeros((2, 2)), phi)
    by_hand = _ask_vjp(BY_HAND, quadratic, cotangent, solution=np.array([2.0, 3]))
    draw = np.random.default_rng(instance(3))
    others = []
    for index, (n, m) in enumerate(SIZES * ROUNDS, 1):
        label = f"random instance {index} (theta [{n}], phi [{m}])"
        others.append(_ask_vjp(label, random_landscape(instance(index), n, m), draw.normal(size=n)))
    return by_hand, *others


def _ask_vjp(
    label: str, landscape: Landscape, cotangent: np.ndarray, solution: np.ndarray | None = None
) -> Question:
    vectors = landscape.argmax(landscape.phi), landscape.phi, cotangent
    expected = bilevel.argmax_pull_back(landscape, cotangent) if solution is None else solution
    return _question(
        label,
        (landscape.objective(), *map(torch.tensor, vectors)),
        expected,
        partial(slips.implicit_vjp, landscape, cotangent),
        known=solution is not None,
    )


@once
def unsolved_inner() -> Sequence[tuple[str, tuple[Any, ...]]]:
    """Return arguments whose theta solves no inner problem: a little off, and far off."""
    calls = []
    for question, off in zip(implicit_vjp()[1:4], (1e-3, 0.1, 5.0), strict=True):
        objective, theta, *rest = question.args
        calls.append((f"theta {off:g} away from the argmax", (objective, theta + off, *rest)))
    label = "theta where the gradient of F has norm 3e-6"
    return *calls, *((label, sloping(question, 3e-6)) for question in implicit_vjp()[1:4])


def sloping(question: Question, norm: float) -> tuple[Any, ...]:
    """Move theta of a question to where the gradient of F in theta has a given norm."""
    objective, theta, phi, cotangent = question.args
    bend = torch.func.hessian(objective)(theta, phi)
    slope = torch.full_like(theta, norm / len(theta) ** 0.5)
    return objective, theta + torch.linalg.solve(bend, slope), phi, cotangent


@once
def simplex_solve() -> Sequence[Question]:
    """Ask for W c; by hand M^-1 c = (1, 1, 0) and M^-1 1 = (1, 1/2, 1/2), both with sum 2."""

    def at(label: str, m: np.ndarray, c: np.ndarray, x: np.ndarray, known: bool) -> Question:
        args = torch.tensor(m), torch.tensor(c)
        return _question(label, args, x, partial(slips.simplex_solve, m, c), known=known)

    by_hand = at(
        BY_HAND, np.diag([1.0, 2, 2]), np.array([1.0, 2, 0]), np.array([0, 0.5, -0.5]), True
    )
    draw, others = np.random.default_rng(instance(4)), []
    # several states first: where there is but one, sums over all states are right
    shapes = ((2, 3), (5, 2), (6, 4), (3, 3), (16, 4), (1, 3), (3,), (4,), (2,))
    for index, shape in enumerate(shapes, 1):
        root = draw.normal(size=(*shape, shape[-1]))
        m = root @ np.swapaxes(root, -1, -2) + np.eye(shape[-1])
        c = draw.normal(size=shape)
        label = f"random instance {index} (c {list(shape)})"
        others.append(at(label, m, c, bilevel.on_simplex(m, c), False))
    return by_hand, *others


@once
def hypergradient() -> Sequence[Question]:
    """Ask for the hypergradient with D2; in the three rooms pi' = (3/4, 1/4) and (9/10, 1/10).

    With p, q the adapted chances of action 0, J = 2.5 p + (1 - p) q. Room 0 sees Q(0) - Q(1) =
    2.5 - q_phi: raising action 0 in room 1 makes action 1 in room 0 look better than it is.
    """
    room1 = 0.25 * 0.09 - 0.3 * np.log(3) / 4
    return ask(
        THREE_ROOMS,
        [[0.3, -0.3], [room1, -room1], [0, 0]],
        args=lam_args,
        oracle=slips.through_d2,
        slips=slips.hypergradient,
    )


@once
def frozen_hypergradient() -> Sequence[Question]:
    """Ask for the rung below: without room 1's influence on the Q of room 0."""
    return ask(
        THREE_ROOMS,
        [[0.3, -0.3], [0.0225, -0.0225], [0, 0]],
        args=lam_args,
        oracle=slips.frozen_d2,
        slips=slips.frozen_hypergradient,
    )


@once
def hypergradient_d1() -> Sequence[Question]:
    """Ask for the hypergradient with D1; on the bandit lam = 1 and pi' = (3/4, 1/4), mu = 2."""
    bandit = World(
        logits=np.zeros((1, 2)),
        transition=np.ones((1, 2, 1)),
        reward=np.array([[4 / 3, 0.0]]),
        start=np.array([1.0]),
        gamma=0.0,
        step_size=1 / 4,
    )
    return ask(
        bandit,
        [[0.2, -0.2]],
        args=d1_args,
        oracle=lambda world: oracles.complex_step(
            lambda x: bilevel.return_after_d1(x, world), world.logits
        ),
        slips=slips.hypergradient_d1,
    )


@once
def unrolled_hypergradient() -> Sequence[Question]:
    """Ask for the truncated gradient; by hand theta_2 = 2 phi - phi / 4, J = theta_0 theta_1."""
    eye, nothing = np.eye(2), np.zeros((2, 2))
    toy = Landscape(2 * eye, eye, np.zeros(2), nothing, np.array([1.0, 2]))
    by_hand = _ask_unrolled(
        BY_HAND, Climb(toy, 0.5, 2, np.zeros(2)), solution=np.array([6.125, 3.0625])
    )
    draw, others = np.random.default_rng(instance(5)), []
    for index, (size, num_steps) in enumerate(
        ((2, 3), (3, 2), (4, 5), (3, 4), (5, 1), (2, 10), (3, 0), (4, 7)), 1
    ):
        climb = Climb(
            random_landscape(instance(60 + index), size, size),
            0.1,
            num_steps,
            draw.normal(size=size),
        )
        label = f"random instance {index} (phi [{size}], {num_steps} steps)"
        no_steps = "K may be 0: theta_K is phi then, and the answer the gradient of J at phi"
        asked = _ask_unrolled(label, climb)
        others.append(asked if num_steps else replace(asked, separates=no_steps))
    return by_hand, *others


def _ask_unrolled(label: str, climb: Climb, solution: np.ndarray | None = None) -> Question:
    phi = climb.landscape.phi
    expected = solution
    if expected is None:
        expected = bilevel.vector_gradient(lambda x: climb.value(climb.end(x, x)), phi)
    functions = climb.landscape.objective(), climb.outer()
    args = *functions, torch.tensor(phi), climb.step_size, climb.num_steps
    wrong = partial(slips.unrolled_hypergradient, climb)
    return _question(label, args, expected, wrong, known=solution is not None)


def lam_args(world: World) -> tuple[Any, ...]:
    """Return (phi, task, gamma, lam)."""
    return *phi_args(world), lam_of(world)


def d1_args(world: World) -> tuple[Any, ...]:
    """Return (phi, adapted_probs, task, gamma, lam)."""
    q = oracles.q_values(world.probs, world)
    adapted = torch.tensor(bilevel.adapted_d1(world.probs, q, lam_of(world)))
    return world.phi(), adapted, world.task(), world.gamma, lam_of(world)


def _question(
    label: str, args: tuple[Any, ...], expected: Any, wrong: Any, *, known: bool = False
) -> Question:
    return Question(label, args, np.asarray(expected, dtype=float), cache(wrong), known)


def _symmetric(draw: np.random.Generator, eigenvalues: np.ndarray) -> np.ndarray:
    """Return a random symmetric matrix with these eigenvalues."""
    size = len(eigenvalues)
    basis = np.linalg.qr(draw.normal(size=(size, size)))[0]
    matrix = basis @ (eigenvalues[:, None] * basis.T)
    return (matrix + matrix.T) / 2
