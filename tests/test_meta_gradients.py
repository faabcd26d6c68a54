from functools import partial

import pytest
import torch
from conftest import (
    central_difference,
    random_logits,
    random_task,
    relative_error,
    returns_of_every_deterministic_policy,
    stack,
)
from torch.func import hessian, vmap

from bomrl_lite import mdp
from bomrl_lite.adaptation import meta_gradients
from bomrl_lite.adaptation.distances import DISTANCES
from bomrl_lite.adaptation.gradient import gradient_step
from bomrl_lite.adaptation.meta_gradients import first_order_maml, joint, maml
from bomrl_lite.adaptation.objective import policy_gradient
from bomrl_lite.policies.networks import tabular_softmax
from bomrl_lite.tasks import make_tasks
from bomrl_lite.training.metrics import (
    adapted_returns,
    gap_rows,
    optimal_returns,
    optimality_gap,
    stationarity,
)

POLICY = tabular_softmax(5, 3)
GAMMA, ALPHA = 0.9, 0.7
EXACT = {"policy": POLICY, "gamma": GAMMA}
DIALS = {**EXACT, "step_size": ALPHA}
EXPLICIT = ("maml", "first_order_maml", "joint")
BOUND = {
    **{name: partial(getattr(meta_gradients, name), **DIALS) for name in EXPLICIT},
    **{
        f"{name} {kind}": partial(
            getattr(meta_gradients, name), distance=distance, lam=8.0, **EXACT
        )
        for name in ("bomrl", "first_order_bomrl")
        for kind, distance in DISTANCES.items()
    },
    **{
        f"bomrl_trust_region {kind}": partial(
            meta_gradients.bomrl_trust_region, distance=DISTANCES[kind], delta=0.1, **EXACT
        )
        for kind in ("d1", "d2")
    },
}
"""Every method with its own dials."""


def test_every_method_is_bound_with_its_own_dials():
    assert {name.split()[0] for name in BOUND} == {
        "maml",
        "first_order_maml",
        "joint",
        "bomrl",
        "bomrl_trust_region",
        "first_order_bomrl",
    }


def return_of(logits: torch.Tensor, task) -> torch.Tensor:
    """J from the power series of the Bellman operator: no linear solve, no package code."""
    probs = logits.softmax(-1)
    moves, paid = torch.einsum("sa,sat->st", probs, task.transition), (probs * task.reward).sum(-1)
    values = torch.zeros_like(paid)
    for _ in range(400):
        values = paid + GAMMA * moves @ values
    return task.start @ values


def unrolled(logits: torch.Tensor, task, create_graph: bool = True) -> torch.Tensor:
    """grad_phi J(phi + alpha grad J(phi)) by torch.autograd through both steps."""
    phi = logits.clone().requires_grad_()
    (inner,) = torch.autograd.grad(return_of(phi, task), phi, create_graph=create_graph)
    return torch.autograd.grad(return_of(phi + ALPHA * inner, task), phi)[0]


@pytest.mark.parametrize("seed", range(3))
def test_policy_gradient_is_that_of_the_theorem(seed):
    task, logits = random_task(seed), random_logits(seed)
    probs = logits.softmax(-1)
    nu, advantage = mdp.occupancy(probs, task, GAMMA), mdp.advantages(probs, task, GAMMA)
    theorem = nu[:, None] * probs * advantage / (1 - GAMMA)
    got = policy_gradient({"logits": logits}, task, **EXACT)["logits"]
    assert relative_error(got, theorem) < 1e-12
    assert relative_error(got, central_difference(lambda x: return_of(x, task), logits)) < 1e-9


@pytest.mark.parametrize("seed", range(3))
def test_maml_equals_central_differences(seed):
    task, logits = random_task(seed), random_logits(seed)

    def after_one_step(x):
        step = central_difference(lambda y: return_of(y, task), x, h=1e-2)
        return return_of(x + ALPHA * step, task)

    def after_one_exact_step(x):
        theta = gradient_step({"logits": x}, task, **DIALS)["logits"]
        return return_of(theta, task)

    got = maml({"logits": logits}, task, **DIALS)[0]["logits"]
    assert relative_error(got, central_difference(after_one_exact_step, logits)) < 1e-8
    assert abs(after_one_step(logits) - after_one_exact_step(logits)) < 1e-7


@pytest.mark.parametrize("seed", range(3))
def test_maml_equals_unrolled_autograd(seed):
    task, logits = random_task(seed), random_logits(seed)
    got = maml({"logits": logits}, task, **DIALS)[0]["logits"]
    assert relative_error(got, unrolled(logits, task)) < 1e-12


def test_maml_on_a_lake_equals_unrolled_autograd():
    tasks = make_tasks("frozen_lake/holes-4x4").sample(1, torch.Generator().manual_seed(0))
    task = type(tasks)(*(field[0] for field in tasks))
    logits = random_logits(0, 16, 4)
    dials = {"policy": tabular_softmax(16, 4), "gamma": GAMMA, "step_size": ALPHA}
    got = maml({"logits": logits}, task, **dials)[0]["logits"]
    assert relative_error(got, unrolled(logits, task)) < 1e-12


def test_first_order_maml_lacks_exactly_the_second_order_term():
    task, logits = random_task(0), random_logits(0)
    first = first_order_maml({"logits": logits}, task, **DIALS)[0]["logits"]
    assert relative_error(first, unrolled(logits, task, create_graph=False)) < 1e-12
    dense = hessian(lambda x: return_of(x, task))(logits).reshape(15, 15)
    missing = ALPHA * (dense @ first.flatten()).reshape(5, 3)
    full = maml({"logits": logits}, task, **DIALS)[0]["logits"]
    assert relative_error(full - first, missing) < 1e-10
    assert relative_error(first, full) > 0.05


def test_joint_is_the_gradient_before_adaptation():
    task, logits = random_task(1), random_logits(1)
    got = joint({"logits": logits}, task, **DIALS)[0]["logits"]
    assert relative_error(got, central_difference(lambda x: return_of(x, task), logits)) < 1e-9


@pytest.mark.parametrize("name", BOUND)
def test_methods_report_returns_and_batch_over_tasks(name):
    tasks, method = [random_task(i) for i in range(3)], BOUND[name]
    phi = {"logits": random_logits(0)}
    gradients, info = vmap(lambda t: method(phi, t))(stack(tasks))
    for i, task in enumerate(tasks):
        single, single_info = method(phi, task)
        torch.testing.assert_close(gradients["logits"][i], single["logits"], rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(info.return_after[i], single_info.return_after)
        assert abs(info.return_before[i] - return_of(phi["logits"], task)) < 1e-10
        if name in EXPLICIT:
            assert [field.item() for field in single_info.inner] == [0, torch.inf, 0]
            theta = phi["logits"] + ALPHA * central_difference(
                lambda x, t=task: return_of(x, t), phi["logits"]
            )
            assert abs(info.return_after[i] - return_of(theta, task)) < 1e-8
        else:
            assert single_info.inner.stationarity < 1e-9
            assert single_info.inner.curvature > 0
            assert 0 <= single_info.inner.residual < 1e-9
            assert info.return_after[i] > info.return_before[i]


@pytest.mark.parametrize("name", BOUND)
def test_changing_one_task_leaves_the_others_bit_identical(name):
    method = BOUND[name]
    tasks = [random_task(i) for i in range(4)]
    phi = {"logits": random_logits(0)}
    batch = vmap(lambda t: method(phi, t)[0]["logits"])
    before, after = batch(stack(tasks)), batch(stack([*tasks[:2], random_task(9), tasks[3]]))
    assert [torch.equal(b, a) for b, a in zip(before, after, strict=True)] == [
        True,
        True,
        False,
        True,
    ]


def test_adapted_returns_step_by_step():
    tasks = [random_task(i) for i in range(3)]
    phi = {"logits": random_logits(0)}

    def adapt(params, task):
        return gradient_step(params, task, **DIALS)

    returns = adapted_returns(phi, stack(tasks), adapt, **EXACT, num_steps=2)
    for i, task in enumerate(tasks):
        theta = phi["logits"]
        for k in range(3):
            assert abs(returns[i, k] - return_of(theta, task)) < 1e-8
            theta = theta + ALPHA * central_difference(lambda x, t=task: return_of(x, t), theta)


def test_optimal_returns_equal_enumeration():
    tasks = [random_task(i, 4, 3) for i in range(3)]
    best = [max(returns_of_every_deterministic_policy(task, GAMMA)) for task in tasks]
    torch.testing.assert_close(
        optimal_returns(stack(tasks), GAMMA), torch.tensor(best, dtype=torch.float64)
    )


def test_gaps_are_measured_against_each_tasks_own_best():
    tasks = stack([random_task(i) for i in range(3)])
    best = optimal_returns(tasks, GAMMA)
    returns = torch.stack([best - 1, best], 1)
    torch.testing.assert_close(
        optimality_gap(returns, best), torch.tensor([[1.0, 0.0]] * 3, dtype=torch.float64)
    )
    rows = gap_rows(
        {"logits": random_logits(0)},
        tasks,
        lambda p, t: gradient_step(p, t, **DIALS),
        **EXACT,
        labels={"prior": "random"},
    )
    assert len(rows) == 6
    assert all(row["prior"] == "random" and row["gap"] >= -1e-12 for row in rows)
    assert all(abs(best[row["task"]] - row["return"] - row["gap"]) < 1e-12 for row in rows)


def test_stationarity_is_the_norm_of_the_mean_not_the_mean_norm():
    tasks = make_tasks("probe/opposite").sample(2, torch.Generator())
    policy = tabular_softmax(1, 2)
    phi = policy.init(torch.Generator())

    def gradient(params, task):
        return joint(params, task, policy=policy, gamma=0.0, step_size=1.0)

    assert stationarity(phi, tasks, gradient) < 1e-15
    # Of three, two want the same: (2 - 1) / 3 of what one alone asks for.
    for count, share in (1, 1.0), (3, 1 / 3):
        some = make_tasks("probe/opposite").sample(count, torch.Generator())
        expected = torch.tensor(share * 0.25 * 2**0.5, dtype=torch.float64)
        torch.testing.assert_close(stationarity(phi, some, gradient), expected)


def test_bomrl_reports_the_curvature_of_the_distance_less_the_surrogate_over_lam():
    """-F = D3^2 - L / lam bends by 2 where lam is large; lam D3^2 - L bends by lam times that."""
    lam = 50.0
    method = partial(meta_gradients.bomrl, distance=DISTANCES["d3"], lam=lam, **EXACT)
    _, info = method({"logits": random_logits(0)}, random_task(0))
    assert 1.5 < info.inner.curvature < 2.5
