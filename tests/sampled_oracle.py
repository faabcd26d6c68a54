"""Alg on samples once more, densely, for one flat vector: distributions of torch, loops, lstsq.

Data are explicit functions of phi, so that finite differences of a whole map phi -> J(theta(phi))
say what its gradient is, on every rung. Nothing here calls the code under test but for the record
that holds a batch.
"""

import functools

import numpy as np
import torch
from torch import Tensor
from torch.distributions import Categorical, Independent, Normal, kl_divergence
from torch.func import grad, hessian, jacrev

from bomrl_lite.rollout.data import SampleBatch

DOUBLE = {"dtype": torch.float64}
GAMMA, TRACE = 0.9, 0.7
B, T, O, D, K = 5, 4, 2, 3, 2  # noqa: E741
"""Episodes, steps, sizes of observation, feature and action; the last episode is shorter."""


class SampledOracle:
    """A tanh network with one hidden layer, two batches, and every Alg on the first of them."""

    def __init__(self, seed: int = 0, *, discrete: bool = False):
        self.discrete = discrete
        self.shapes = {
            "body.0.weight": (D, O),
            "body.0.bias": (D,),
            "head.weight": (K, D),
            "head.bias": (K,),
            **({} if discrete else {"log_std": (K,)}),
        }
        self.generator = torch.Generator().manual_seed(seed)
        self.size = sum(int(np.prod(shape)) for shape in self.shapes.values())
        collector = 0.6 * self.randn(self.size)
        self.before, self.after, self.later = (self._batch(collector) for _ in range(3))
        self.phi = collector + 0.1 * self.randn(self.size)  # nearly, not quite, what collected
        self.direction = self.randn(self.size)
        self.direction /= self.direction.norm()

    def randn(self, *shape: int) -> Tensor:
        return torch.randn(*shape, generator=self.generator, **DOUBLE)

    def params(self, flat: Tensor) -> dict[str, Tensor]:
        sizes = [int(np.prod(shape)) for shape in self.shapes.values()]
        pieces = zip(self.shapes.items(), flat.split(sizes), strict=True)
        return {name: piece.reshape(shape) for (name, shape), piece in pieces}

    def flat(self, params: dict[str, Tensor]) -> Tensor:
        return torch.cat([params[name].flatten() for name in self.shapes])

    def mask(self, names: tuple[str, ...]) -> Tensor:
        """True where a parameter may move."""
        ones = {k: torch.full(s, not names or k in names) for k, s in self.shapes.items()}
        return self.flat(ones)

    def features(self, flat: Tensor, observations: Tensor) -> Tensor:
        p = self.params(flat)
        pushed = torch.einsum("...i,ji->...j", observations, p["body.0.weight"])
        return torch.tanh(pushed + p["body.0.bias"])

    def distribution(self, flat: Tensor, observations: Tensor):
        p = self.params(flat)
        outputs = self.features(flat, observations) @ p["head.weight"].T + p["head.bias"]
        if self.discrete:
            return Categorical(logits=outputs, validate_args=False)
        normal = Normal(outputs, p["log_std"].exp().expand_as(outputs), validate_args=False)
        return Independent(normal, 1, validate_args=False)

    def log_prob(self, flat: Tensor, batch: SampleBatch) -> Tensor:
        return self.distribution(flat, batch.observations).log_prob(batch.actions)

    def data(self, phi: Tensor, rung: str, batch: SampleBatch | None = None):
        """(weights, advantages, log pi_old) as explicit functions of phi; numbers at self.phi."""
        batch = self.before if batch is None else batch
        weights, advantages, old = batch.weights, batch.advantages, batch.log_probs
        if rung == "naive":
            old = self.log_prob(phi, batch)
        if rung in ("q_gradient", "full"):
            moved = self.log_prob(phi, batch) - self.log_prob(self.phi, batch)
            weights, advantages = weights.clone(), advantages.clone()
            for t in range(T):
                for u in range(t + 1, T):
                    gain = (moved[:, u].exp() - 1) * batch.credit[:, u]
                    advantages[:, t] += (GAMMA * TRACE) ** (u - t) * gain
                    if rung == "full":
                        weights[:, u] *= (TRACE ** (u - t) * moved[:, t]).exp()
        return weights, advantages, old

    def surrogate(self, theta: Tensor, data, batch: SampleBatch, kind: str = "ratio") -> Tensor:
        weights, advantages, old = data
        ratio = (self.log_prob(theta, batch) - old).exp()
        if kind == "smooth_clip":
            ratio = 1 + torch.tanh(ratio - 1)  # 2 sigmoid(2 y) = 1 + tanh(y)
        return (weights * ratio * advantages).sum()

    def outer(self, theta: Tensor) -> Tensor:
        data = self.after.weights, self.after.advantages, self.after.log_probs
        return self.surrogate(theta, data, self.after)

    def slope(self, phi: Tensor, rung: str) -> Tensor:
        data = self.data(phi, rung)
        return grad(lambda x: self.surrogate(x, data, self.before))(phi)

    def fisher(self, phi: Tensor, weights: Tensor, stride: int) -> Tensor:
        """E[score score^T]: every action, or those of a Gauss-Hermite rule, which is exact here.

        E is the average over samples 0, stride, 2 stride, ...
        """
        used = [i for i in range(weights.numel()) if i % stride == 0]
        seen = self.before.observations.flatten(0, 1)[used]
        weights = weights.flatten()[used]
        weights = weights / weights.sum() if stride > 1 else weights
        pi = self.distribution(phi, seen)
        if self.discrete:
            actions = torch.arange(K).unsqueeze(-1).expand(K, len(seen))
            shares = pi.log_prob(actions).exp()
        else:
            nodes, masses = (torch.tensor(x) for x in np.polynomial.hermite_e.hermegauss(3))
            masses = masses / masses.sum()
            grid = torch.cartesian_prod(nodes, nodes)
            actions = pi.mean + pi.stddev * grid.unsqueeze(1)
            shares = torch.cartesian_prod(masses, masses).prod(1).unsqueeze(-1)
        score = jacrev(lambda x: self.distribution(x, seen).log_prob(actions))(phi)
        return torch.einsum("am,ami,amj->ij", weights.flatten() * shares, score, score)

    def gradient(self, phi: Tensor, rung: str, names=(), *, step_size: float) -> Tensor:
        return phi + step_size * (self.mask(names) * self.slope(phi, rung))

    def head(
        self, phi: Tensor, rung: str, *, lam: float, ridge: float, body_step: float = 0.0
    ) -> Tensor:
        """Explicit ridge regression of what each sample asks for on the features.

        All else takes a gradient step.
        """
        b = self.before
        weights, advantages, old = (x.flatten() for x in self.data(phi, rung))
        asked = b.actions - self.distribution(phi, b.observations).mean
        ratio = self.log_prob(phi, b).flatten().sub(old).exp()
        targets = (ratio * advantages).unsqueeze(-1) * asked.flatten(0, 1) / lam
        h = self.features(phi, b.observations).flatten(0, 1)
        rows = torch.cat([h, torch.ones(len(h), 1, **DOUBLE)], 1) * weights.sqrt().unsqueeze(-1)
        rows = torch.cat([rows, ridge**0.5 * torch.eye(D + 1, **DOUBLE)])
        targets = torch.cat(
            [targets * weights.sqrt().unsqueeze(-1), torch.zeros(D + 1, K, **DOUBLE)]
        )
        change = torch.tensor(np.linalg.lstsq(rows.numpy(), targets.numpy())[0])
        rest = tuple(name for name in self.shapes if not name.startswith("head."))
        moved = self.params(self.gradient(phi, rung, rest, step_size=body_step))
        moved["head.weight"] = moved["head.weight"] + change[:-1].T
        moved["head.bias"] = moved["head.bias"] + change[-1]
        return self.flat(moved)

    def matrix(
        self, phi: Tensor, rung: str, names, ridge: float, stride: int, head_ridge=None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Fisher information with its ridges and slope of what may move, and which that is."""
        free = self.mask(names)
        fisher = self.fisher(phi, self.data(phi, rung)[0], stride)[free][:, free]
        head = self.mask(("head.weight", "head.bias"))[free].double()
        ridges = ridge + (0.0 if head_ridge is None else head_ridge - ridge) * head
        return fisher + torch.diag(ridges), self.slope(phi, rung)[free], free

    def natural(
        self,
        phi: Tensor,
        rung: str,
        names=(),
        *,
        lam: float,
        ridge: float,
        distance_stride: int = 1,
        head_ridge: float | None = None,
    ) -> Tensor:
        matrix, slope, free = self.matrix(phi, rung, names, ridge, distance_stride, head_ridge)
        return phi.masked_scatter(free, phi[free] + torch.linalg.solve(matrix, slope) / lam)

    def region(
        self,
        phi: Tensor,
        rung: str,
        names=(),
        *,
        delta: float,
        ridge: float,
        distance_stride: int = 1,
        head_ridge: float | None = None,
        share: float = 1.0,
    ) -> Tensor:
        """The step to the border of the quadratic model, or a share of it."""
        matrix, slope, free = self.matrix(phi, rung, names, ridge, distance_stride, head_ridge)
        step = torch.linalg.solve(matrix, slope)
        step = share * step * (2 * delta / (slope @ step)) ** 0.5
        return phi.masked_scatter(free, phi[free] + step)

    def first_share(self, rung: str, *, delta: float, halvings: int, **dials):
        """The first of 1, 1/2, ... at which L gains and D1 is within 1.1 delta, or 0."""
        data, stride = self.data(self.phi, rung), dials.get("distance_stride", 1)
        seen = self.before.observations.flatten(0, 1)[::stride]
        weights = data[0].flatten()[::stride]
        weights = weights / weights.sum() if stride > 1 else weights
        head = self.mask(("head.weight", "head.bias")).double()
        ridges = dials["ridge"] + (dials["head_ridge"] - dials["ridge"]) * head
        before = self.surrogate(self.phi, data, self.before)
        for count in range(halvings + 1):
            theta = self.region(self.phi, rung, share=0.5**count, delta=delta, **dials)
            pair = self.distribution(self.phi, seen), self.distribution(theta, seen)
            apart = weights @ kl_divergence(*pair) + ridges / 2 @ (theta - self.phi) ** 2
            if self.surrogate(theta, data, self.before) > before and apart <= 1.1 * delta:
                return 0.5**count
        return 0.0

    def objective(self, phi, rung, names, *, surrogate, distance, lam, ridge):
        """What moves -> L / lam - D^2, as a function for Newton's method."""
        data, free = self.data(phi, rung), self.mask(names)
        slope = self.slope(phi, rung)[free]
        seen, (places,) = self.before.observations, free.nonzero(as_tuple=True)
        pick = torch.eye(len(phi), **DOUBLE)[places]

        def value(x: Tensor) -> Tensor:
            theta = phi + x @ pick
            here, there = self.distribution(phi, seen), self.distribution(theta, seen)
            if surrogate == "linear":
                gained = slope @ x
            else:
                gained = self.surrogate(theta, data, self.before, surrogate)
            pair = (here, there) if distance == "d1" else (there, here)
            apart = x @ x if distance == "d3" else (data[0] * kl_divergence(*pair)).sum()
            return gained / lam - apart - ridge / 2 * (x @ x)

        return value, free

    def solver(self, rung: str, names=(), **dials):
        """phi -> argmax: Newton's method from phi at self.phi, and near it with that Hessian."""

        def slope_and_bend(phi: Tensor):
            value, free = self.objective(phi, rung, names, **dials)
            return value, grad(value), free

        value, slope_of, free = slope_and_bend(self.phi)
        x, bend_of = torch.zeros(int(free.sum()), **DOUBLE), hessian(value)
        for _ in range(30):
            slope = slope_of(x)
            if slope.norm() < 1e-14:
                break
            step = torch.linalg.solve(-bend_of(x), slope)
            length = 1.0
            while slope @ step > 1e-12 and not value(x + length * step) > value(x):
                length /= 2
            x = x + length * step
        bend = bend_of(x)
        assert torch.linalg.eigvalsh(bend)[-1] < 0, "the oracle found no maximum"

        def solution(phi: Tensor) -> Tensor:
            _, slope_of, free = slope_and_bend(phi)
            y = x
            for _ in range(30):
                step = torch.linalg.solve(-bend, slope_of(y))
                y = y + step
                if step.norm() < 1e-14:
                    break
            assert slope_of(y).norm() < 1e-12, "the oracle did not arrive"
            return phi.masked_scatter(free, phi[free] + y)

        return solution

    def along(self, function, h: float = 1e-3) -> float:
        """Fourth-order central difference of a function of phi along ``direction``."""
        ahead, behind, far_ahead, far_behind = (
            function(self.phi + k * h * self.direction).item() for k in (1, -1, 2, -2)
        )
        return (8 * (ahead - behind) - (far_ahead - far_behind)) / (12 * h)

    def error(self, got: dict[str, Tensor], slope: float) -> float:
        """Of a gradient against such a difference, relative to the gradient's norm."""
        flat = self.flat(got)
        return abs((flat @ self.direction).item() - slope) / flat.norm().item()

    def _batch(self, collector: Tensor) -> SampleBatch:
        mask = torch.ones(B, T, **DOUBLE)
        mask[-1, 2:] = 0
        observations = self.randn(B, T, O) * mask.unsqueeze(-1)
        pi = self.distribution(collector, observations)
        actions = pi.mean if not self.discrete else None
        if self.discrete:
            draws = torch.rand(B, T, generator=self.generator, **DOUBLE)
            actions = (draws > pi.probs[..., 0]).long() * mask.long()
        else:
            actions = (pi.mean + pi.stddev * self.randn(B, T, K)) * mask.unsqueeze(-1)
        advantages, credit = self.randn(B, T) * mask, self.randn(B, T) * mask
        weights = torch.rand(B, T, generator=self.generator, **DOUBLE) * mask
        old = pi.log_prob(actions) * mask
        return SampleBatch(observations, actions, old, advantages, credit, weights / weights.sum())


@functools.cache
def gaussian() -> SampledOracle:
    return SampledOracle(0)


@functools.cache
def categorical() -> SampledOracle:
    return SampledOracle(1, discrete=True)
