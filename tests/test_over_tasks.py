"""Tasks are computed in parts, on several threads of Python, and torch keeps to one meanwhile."""

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import pytest
import torch
from torch import Tensor
from torch.func import grad

from bomrl_lite.physics.threads import one_thread_for_torch, processors
from bomrl_lite.solvers.linear import directional
from bomrl_lite.training import over_tasks as module
from bomrl_lite.training.over_tasks import over_tasks


class Pair(NamedTuple):
    first: Tensor
    second: Tensor


@pytest.fixture
def two_threads():
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(1)


def slope(params: dict[str, Tensor], pair: Pair, rows: tuple[Tensor, ...]) -> tuple:
    """What crosses: dictionaries, records and tuples, going in and coming out."""

    def value(p: dict[str, Tensor]) -> Tensor:
        return (p["w"] * pair.first).sum() ** 2 + (p["w"] @ rows[0])

    return grad(value)(params), Pair(pair.second.sum(), pair.first), (value(params),)


@pytest.mark.parametrize("size", [1, 2, 3, 100])
@pytest.mark.usefixtures("two_threads")
def test_parts_are_put_together_as_their_loop_would_be(monkeypatch, size):
    monkeypatch.setattr(module, "SAMPLES", 4 * size)
    draw = torch.Generator().manual_seed(0)
    w, first, second, row = (torch.randn(5, 4, generator=draw) for _ in range(4))
    seen = []

    def one(*arguments):
        seen.append(threading.get_ident())
        return slope(*arguments)

    got = over_tasks(one, {"w": w}, Pair(first, second), (row,), samples=first)
    assert isinstance(got[1], Pair)
    for i in range(5):
        gradient = 2 * (w[i] @ first[i]) * first[i] + row[i]
        torch.testing.assert_close(got[0]["w"][i], gradient)
        torch.testing.assert_close(got[1].second[i], first[i])
        torch.testing.assert_close(got[1].first[i], second[i].sum())
        torch.testing.assert_close(got[2][0][i], (w[i] @ first[i]) ** 2 + w[i] @ row[i])
    assert len(seen) == -(-5 // size)  # once for each part, batched
    assert (threading.get_ident() in seen) == (size == 100)


@pytest.mark.usefixtures("two_threads")
def test_an_error_in_a_part_comes_out_and_torch_has_its_threads_back(monkeypatch):
    monkeypatch.setattr(module, "SAMPLES", 1)

    def one(x: Tensor) -> Tensor:
        raise ArithmeticError("of a part")

    with pytest.raises(ArithmeticError, match="of a part"):
        over_tasks(one, torch.ones(3, 1), samples=torch.ones(3, 1))
    assert torch.get_num_threads() == 2


@pytest.mark.usefixtures("two_threads")
def test_torch_keeps_to_one_thread_until_the_last_block_is_left():
    assert processors() == 2
    outer, inner = one_thread_for_torch(), one_thread_for_torch()
    with outer:
        assert (torch.get_num_threads(), processors()) == (1, 2)
        inner.__enter__()
    assert (torch.get_num_threads(), processors()) == (1, 2)  # the other is open still
    inner.__exit__(None, None, None)
    assert (torch.get_num_threads(), processors()) == (2, 2)


def test_forward_derivatives_may_be_taken_in_several_threads_at_once():
    """torch's own are spoiled, or raise, where those of two threads overlap."""

    def f(p: dict[str, Tensor]) -> Tensor:
        x = p["x"]
        for _ in range(20):
            x = torch.sin(x)
        return x.sum()

    def both(seed: int) -> tuple[Tensor, Tensor]:
        draw = torch.Generator().manual_seed(seed)
        x, v = ({"x": torch.randn(2000, dtype=torch.float64, generator=draw)} for _ in range(2))
        return directional(f, x, v)[1], (grad(f)(x)["x"] * v["x"]).sum()

    with ThreadPoolExecutor(4) as pool:
        for got, expected in pool.map(both, range(64)):
            torch.testing.assert_close(got, expected)
