"""Outer updates of phi on toys whose answers are known by hand."""

import numpy as np
import pytest
import torch

from bomrl_lite.training.outer import Ascent, climb, trust_region_step
from bomrl_lite.types import SolvedInfo

GOAL = np.array([3.0, -1.0])
BELIEVED = SolvedInfo(torch.zeros(1), torch.full((1,), torch.inf), torch.zeros(1))


def point(*values: float) -> dict[str, torch.Tensor]:
    return {"x": torch.tensor(values, dtype=torch.float64)}


def adam_of(phi, rate: float = 0.1) -> torch.optim.Adam:
    return torch.optim.Adam(list(phi.values()), lr=rate, maximize=True)


def towards_goal(phi):
    """Gradient of -|x - goal|^2 / 2, and |x|^2 as a divergence."""
    moved = phi["x"].square().sum()
    return Ascent({"x": torch.tensor(GOAL) - phi["x"]}, lambda: moved, BELIEVED)


def never(*phi):
    raise AssertionError("nobody asked for a divergence yet")


def adam_by_hand(x: np.ndarray, slopes, rate: float = 0.1) -> np.ndarray:
    mean, square = np.zeros_like(x), np.zeros_like(x)
    for k, slope_of in enumerate(slopes, 1):
        slope = slope_of(x)
        mean, square = 0.9 * mean + 0.1 * slope, 0.999 * square + 0.001 * slope**2
        x = x + rate * mean / (1 - 0.9**k) / (np.sqrt(square / (1 - 0.999**k)) + 1e-8)
    return x


def test_epochs_of_adam_are_those_of_the_book_with_gradients_cut_to_length_one():
    phi = point(0.0, -0.5)
    info = climb(phi, adam_of(phi), towards_goal, epochs=5, max_norm=1.0)

    def cut(x):
        return (GOAL - x) / max(1.0, np.linalg.norm(GOAL - x))

    expected = adam_by_hand(np.array([0.0, -0.5]), [cut] * 5)
    np.testing.assert_allclose(phi["x"], expected, rtol=1e-12)
    assert info.gradient_norm == pytest.approx(9.25**0.5, rel=1e-15)
    assert info.updates == 5
    last = adam_by_hand(np.array([0.0, -0.5]), [cut] * 4)
    assert info.divergence == pytest.approx((last**2).sum(), rel=1e-12)  # where epoch 5 began
    assert info.residual == 0


def test_a_short_gradient_is_not_cut_and_moments_last_from_call_to_call():
    phi = point(2.9, -1.2)
    optimizer = adam_of(phi)
    for _ in range(2):
        climb(phi, optimizer, towards_goal)
    expected = adam_by_hand(np.array([2.9, -1.2]), [lambda x: GOAL - x] * 2)
    np.testing.assert_allclose(phi["x"], expected, rtol=1e-12)


def test_the_norm_is_that_of_all_leaves_together():
    """Cut to 0.5, gradient (3, 4) enters the optimiser as (0.3, 0.4)."""
    phi = {"a": torch.zeros(1), "b": torch.zeros(1)}
    plain = torch.optim.SGD(list(phi.values()), lr=1.0, maximize=True)
    slope = {"a": torch.tensor([3.0]), "b": torch.tensor([4.0])}
    info = climb(phi, plain, lambda p: Ascent(slope, never, BELIEVED), max_norm=0.5)
    assert info.gradient_norm == 5
    assert phi["a"].item() == pytest.approx(0.3)
    assert phi["b"].item() == pytest.approx(0.4)


def test_a_guard_stops_the_epochs_once_the_policies_have_moved_too_far():
    """Plain steps of 1/4 towards the goal at 4: 1, 1.75, 2.31..., and the guard is at 2."""
    phi = point(0.0)
    plain = torch.optim.SGD(list(phi.values()), lr=0.25, maximize=True)

    def run(guard: float):
        phi["x"].zero_()
        return climb(
            phi,
            plain,
            lambda p: Ascent({"x": 4 - p["x"]}, p["x"].clone().sum, BELIEVED),
            epochs=6,
            max_norm=10.0,
            guard=guard,
        )

    info = run(guard=2.0)
    assert (info.updates, info.divergence) == (3, 2.3125)
    assert info.gradient_norm == 4
    assert run(guard=0.0).updates == 6
    assert run(guard=9.0).updates == 6


def test_a_gradient_of_zero_moves_nothing():
    phi = point(1.0, 2.0)
    zero = {"x": torch.zeros(2, dtype=torch.float64)}
    ascent = Ascent(zero, never, BELIEVED)
    climb(phi, adam_of(phi), lambda p: ascent)
    assert phi["x"].tolist() == [1, 2]
    info = trust_region_step(phi, ascent, never, never, value=0.0, max_kl=0.1)
    assert info[:4] == (0, 0, 0, 0)
    assert phi["x"].tolist() == [1, 2]


START, SLOPE = np.array([1.0, -2.0]), np.array([1.0, 0.5])
FISHER = np.array([[2.0, 0.6], [0.6, 0.5]])


class Toy:
    """value(x) = slope^T d - bend |d|^2, KL = d^T F d / 2 + quartic |d|^4, d = x - start."""

    def __init__(self, bend: float = 0.0, quartic: float = 0.0, fisher: np.ndarray = FISHER):
        self.bend, self.quartic = bend, quartic
        self.fisher, self.slope, self.start = map(torch.tensor, (fisher, SLOPE, START))
        self.lengths: list[float] = []

    def gradient(self, phi):
        return {"x": self.slope - 2 * self.bend * (phi["x"] - self.start)}

    def divergence_gradient(self, phi):
        d = phi["x"] - self.start
        return {"x": self.fisher @ d + 4 * self.quartic * (d @ d) * d}

    def value(self, phi):
        d = phi["x"] - self.start
        self.lengths.append(d.norm().item())
        gained = self.slope @ d - self.bend * d @ d
        return gained, d @ self.fisher @ d / 2 + self.quartic * (d @ d) ** 2

    def step(self, phi, **dials):
        return trust_region_step(
            phi,
            Ascent(self.gradient(phi), never, BELIEVED),
            self.divergence_gradient,
            self.value,
            value=0.0,
            max_kl=0.02,
            **dials,
        )


def natural_step(max_kl: float = 0.02, damping: float = 1e-3) -> np.ndarray:
    shift = damping * (SLOPE @ FISHER @ SLOPE) / (SLOPE @ SLOPE)
    direction = np.linalg.solve(FISHER + shift * np.eye(2), SLOPE)
    return np.sqrt(2 * max_kl / (SLOPE @ direction)) * direction


def test_a_trust_region_step_is_the_natural_gradient_of_the_allowed_length():
    phi, toy = point(*START), Toy()
    info = toy.step(phi)
    moved = phi["x"].numpy() - START
    np.testing.assert_allclose(moved, natural_step(), rtol=1e-8)
    np.testing.assert_allclose(moved, natural_step(damping=0.0), rtol=1e-2)
    assert info.updates == 1
    assert info.divergence == pytest.approx(moved @ FISHER @ moved / 2, rel=1e-12)
    assert 0.99 * 0.02 < info.divergence <= 0.02
    assert info.gradient_norm == pytest.approx(1.25**0.5)
    assert info.residual < 1e-10
    assert len(toy.lengths) == 1


def test_the_system_of_a_trust_region_step_is_solved_to_one_in_a_thousand():
    """Curvatures 1 and 1.003, the slope between both: one product leaves 0.003 / 2.003 of it."""
    slope = SLOPE / np.linalg.norm(SLOPE)
    steeper = (slope + np.array([-slope[1], slope[0]])) / 2**0.5
    toy = Toy(fisher=np.eye(2) + 0.003 * np.outer(steeper, steeper))
    assert toy.step(point(*START), cg_iterations=1).residual == pytest.approx(1.5e-3, rel=1e-2)
    assert toy.step(point(*START)).residual < 1e-8


def test_the_step_is_halved_until_the_divergence_fits():
    """Near the start KL is quadratic; the quartic that it misses there costs a halving."""
    size = np.linalg.norm(natural_step())
    quartic = 0.02 / size**4  # .02 + .02 at the full step, .005 + .00125 at half of it
    phi, toy = point(*START), Toy(quartic=quartic)
    info = toy.step(phi)
    moved = np.linalg.norm(phi["x"].numpy() - START)
    assert toy.lengths == pytest.approx([2 * moved, moved], rel=1e-12)
    assert 0.9 * size / 2 < moved <= size / 2  # what the differences see of the quartic shortens it
    assert info.divergence == pytest.approx(toy.value(phi)[1].item(), rel=1e-12)
    assert 0.9**2 * 0.005 < info.divergence < 0.00625
    assert info.updates == 1


def test_the_step_is_halved_until_the_objective_rises():
    full = natural_step()
    bend = (SLOPE @ full) / (full @ full) / 0.3  # rises up to 0.3 of the step
    phi, toy = point(*START), Toy(bend=bend)
    assert toy.step(phi).updates == 1
    np.testing.assert_allclose(phi["x"].numpy() - START, full / 4, rtol=1e-8)


@pytest.mark.parametrize("halvings", [0, 3])
def test_where_no_step_is_accepted_phi_stays_as_it_was(halvings):
    phi, toy = point(*START), Toy(bend=1e9)
    info = toy.step(phi, halvings=halvings)
    assert phi["x"].tolist() == START.tolist()
    assert (info.updates, info.divergence) == (0, 0)
    assert info.gradient_norm > 0
    assert len(toy.lengths) == halvings + 1


def test_where_the_divergence_curves_down_no_step_is_taken():
    phi, toy = point(*START), Toy(fisher=-FISHER)
    info = toy.step(phi)
    assert phi["x"].tolist() == START.tolist()
    assert info.updates == 0
    assert toy.lengths == []


@pytest.mark.parametrize(
    ("number", "norm"), [(1e30, "inf"), (-float("inf"), "inf"), (float("nan"), "nan")]
)
def test_a_gradient_that_is_not_finite_is_named_and_phi_stays(number, norm):
    phi = {"x": torch.tensor([1.0, -2.0])}
    ascent = Ascent({"x": torch.tensor([1.0, number])}, never, BELIEVED)
    with pytest.raises(FloatingPointError, match=f"norm of the outer gradient is {norm}.*larger"):
        trust_region_step(phi, ascent, never, never, value=0.0, max_kl=0.1)
    assert phi["x"].tolist() == [1, -2]
    nowhere = {"x": torch.tensor([1e-38, 0.0])}
    for size in (1e-30, 1e18):  # a direction may leave the range of numbers on the way
        ascent = Ascent({"x": torch.tensor([size, size])}, never, BELIEVED)
        info = trust_region_step(
            phi, ascent, lambda p: nowhere, lambda p: (p["x"][0], p["x"][1]), value=1.0, max_kl=-3.0
        )
        assert (info.updates, phi["x"].tolist()) == (0, [1, -2])


def test_the_worst_that_was_known_in_any_epoch_is_kept():
    infos = iter(((1e-3, 2.0, 0.0), (1e-5, -1.0, 0.1), (0.0, 5.0, 0.0)))

    def ascent_of(p):
        info = SolvedInfo(*(torch.tensor([x]) for x in next(infos)))
        return towards_goal(p)._replace(info=info)

    phi = point(0.0, 0.0)
    worst = climb(phi, adam_of(phi), ascent_of, epochs=3).info
    assert [round(x.item(), 6) for x in worst] == [1e-3, -1.0, 0.1]
