"""Bytes by hand, and by what torch's own allocator reports."""

import gc

import pytest
import torch
from conftest import random_logits, random_task
from torch.func import grad
from torch.profiler import ProfilerActivity, profile

import bomrl_lite as bl
from bomrl_lite.course.memory import peak_bytes
from bomrl_lite.solvers.linear import conjugate_gradient
from bomrl_lite.solvers.maximize import ascend

N = 1000
BYTES = 8 * N
BEFORE = torch.linspace(0.1, 0.2, N, dtype=torch.float64)


def test_a_chain_holds_two_links_at_a_time():
    def chain():
        x = torch.ones(N, dtype=torch.float64)
        for _ in range(10):
            x = x + 1
        return x

    assert peak_bytes(chain) == 2 * BYTES
    assert peak_bytes(lambda: torch.ones(N, dtype=torch.float32)) == BYTES // 2


def test_what_was_there_before_is_not_counted_nor_are_its_views():
    given = BEFORE.clone()
    assert peak_bytes(lambda: given[3:].reshape(-1, 1).T) == 0
    assert peak_bytes(lambda: given.mul_(2.0)) == 0
    assert peak_bytes(lambda: given.detach()) == 0
    assert peak_bytes(lambda: [given + 1, (given + 2)[::2]]) == 2 * BYTES


def test_what_is_dropped_makes_room():
    def one_after_the_other():
        a = torch.zeros(3 * N, dtype=torch.float64)
        del a
        return torch.zeros(2 * N, dtype=torch.float64)

    assert peak_bytes(one_after_the_other) == 3 * BYTES


def test_a_tensor_that_grows_is_counted_at_its_new_size():
    def growing():
        x = torch.zeros(N, dtype=torch.float64)
        x.resize_(5 * N)
        return x

    assert peak_bytes(growing) == 5 * BYTES


@pytest.mark.parametrize("links", [3, 30])
def test_what_a_derivative_keeps_is_counted(links):
    """exp keeps its result, one link each; the start and the way back add what does not grow."""

    def work():
        x = BEFORE.clone().requires_grad_()
        y = x
        for _ in range(links):
            y = (-y).exp()
        y.sum().backward()

    assert links <= peak_bytes(work) / BYTES <= links + 4


def test_it_agrees_with_the_allocator():
    """The profiler lists what the allocator gave and took back; scratch memory is avoided here."""

    def work():
        x = BEFORE.clone().requires_grad_()
        y = x
        for _ in range(7):
            y = (y * y).exp()
        y.sum().backward()

    work()
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as trace:
        work()
    held = peak = 0
    for event in trace.profiler.kineto_results.events():
        if event.name() == "[memory]":
            held += event.nbytes()
            peak = max(peak, held)
    assert peak > 7 * BYTES
    assert abs(peak_bytes(work) - peak) < 200  # the allocator rounds small tensors up


def test_the_count_repeats_and_leaves_the_collector_as_it_was():
    def work():
        knot = [torch.zeros(N, dtype=torch.float64)]
        knot.append(knot)

    assert [peak_bytes(work) for _ in range(3)] == [BYTES] * 3
    resting = []
    peak_bytes(lambda: resting.append(not gc.isenabled()))
    assert resting == [True]
    assert gc.isenabled()
    with pytest.raises(ZeroDivisionError):
        peak_bytes(lambda: 1 / 0)
    assert gc.isenabled()
    gc.disable()
    try:
        peak_bytes(work)
        assert not gc.isenabled()
    finally:
        gc.enable()


def test_an_implicit_hypergradient_is_flat_and_an_unrolled_one_grows():
    task, phi = random_task(0), {"logits": random_logits(0)}
    exact = {"policy": bl.tabular_softmax(5, 3), "gamma": 0.9}

    def objective(theta, p):
        data = bl.full_data(p, task, **exact)
        return bl.adaptation_objective(
            theta, p, data, policy=exact["policy"], distance=bl.d1, lam=1.0
        )

    def outer(theta):
        return bl.policy_return(theta, task, **exact)

    def implicit(steps):
        theta = ascend(lambda x: objective(x, phi), phi, step_size=2.0, num_steps=steps)
        return bl.implicit_vjp(
            objective,
            theta,
            phi,
            grad(outer)(theta),
            solve=lambda matvec, b: conjugate_gradient(matvec, b, max_iterations=10),
            tolerance=float("inf"),
        )

    def unrolled(steps):
        return bl.unrolled_hypergradient(objective, outer, phi, step_size=2.0, num_steps=steps)

    few, many = (peak_bytes(lambda k=k: implicit(k)) for k in (1, 100))
    assert abs(many / few - 1) < 0.1
    few, many = (peak_bytes(lambda k=k: unrolled(k)) for k in (1, 30))
    assert many > 10 * few
