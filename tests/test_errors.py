"""Bad input: each row is a mistake a user makes and the words that must answer it."""

import numpy as np
import pytest
import torch
from conftest import random_logits, random_task
from errors_calls import CALLS
from errors_kinds import bad_values
from errors_values import VALUES

import bomrl_lite as bl
from bomrl_lite.adaptation.distances import visit_shares
from bomrl_lite.adaptation.trust_region import adapt_to_task_in_trust_region
from bomrl_lite.solvers.linear import neumann_series
from bomrl_lite.tasks import frozen_lake as lakes
from bomrl_lite.tasks.probes import variance_dial
from bomrl_lite.training.metrics import optimality_gap
from bomrl_lite.training.streams import seeded

TASK = random_task(0)
PROBS = random_logits(0).softmax(-1)
POLICY = bl.tabular_softmax(5, 3)
PHI = {"logits": random_logits(0)}
DATA = bl.full_data(PHI, TASK, policy=POLICY, gamma=0.9)


def with_field(**changed):
    return bl.tabular_task(**{**TASK._asdict(), **changed})


def spoiled(tensor: torch.Tensor, index: tuple[int, ...], value: float) -> torch.Tensor:
    copy = tensor.clone()
    copy[index] = value
    return copy


def batch_of_tasks():
    return type(TASK)(*(torch.stack([field] * 2) for field in TASK))


CASES = {
    "gamma of 1": (lambda: bl.q_values(PROBS, TASK, 1.0), r"gamma must be in \[0, 1\), got 1.0"),
    "gamma above 1": (lambda: bl.occupancy(PROBS, TASK, 1.5), "discounted sums are infinite"),
    "gamma below 0": (lambda: bl.optimal_policy(TASK, -0.1), "got -0.1"),
    "gamma not a number": (lambda: bl.q_values(PROBS, TASK, float("nan")), "got nan"),
    "policy of another shape": (lambda: bl.q_values(PROBS.T, TASK, 0.9), r"\[S, A\].*\(3, 5\)"),
    "a batch where one task is meant": (
        lambda: bl.q_values(PROBS, batch_of_tasks(), 0.9),
        "use torch.func.vmap",
    ),
    "mixed dtype": (lambda: bl.q_values(PROBS.float(), TASK, 0.9), "float32.*float64.*convert"),
    "mixed device": (lambda: bl.q_values(PROBS.to("meta"), TASK, 0.9), "meta.*cpu.*convert"),
    "mixed dtype in a task": (
        lambda: with_field(start=TASK.start.float()),
        "start is torch.float32",
    ),
    "integers": (lambda: with_field(reward=torch.ones(5, 3, dtype=torch.int64)), "floating-point"),
    "rows that do not sum to 1": (
        lambda: with_field(transition=TASK.transition * 0.5),
        r"transition must hold probabilities.*Index \[0, 0\] sums to 0.5",
    ),
    "rows that sum to 1 in single precision only": (
        lambda: with_field(start=TASK.start * (1 + 1e-6)),
        "start must hold probabilities",
    ),
    "a negative probability": (
        lambda: with_field(start=spoiled(spoiled(TASK.start * 0, (0,), 1.5), (1,), -0.5)),
        "smallest entry -0.5",
    ),
    "a probability that is not a number": (
        lambda: with_field(transition=spoiled(TASK.transition, (2, 1, 0), torch.nan)),
        r"Index \[2, 1\]",
    ),
    "a reward that is not a number": (
        lambda: with_field(reward=spoiled(TASK.reward, (4, 2), torch.nan)),
        r"finite, got nan at index \[4, 2\]",
    ),
    "an infinite reward": (
        lambda: with_field(reward=spoiled(TASK.reward, (1, 0), torch.inf)),
        "finite, got inf",
    ),
    "transition of another shape": (
        lambda: with_field(transition=TASK.transition[:, :2]),
        r"\[..., S, A, S\].*\(5, 2, 5\)",
    ),
    "start of another shape": (lambda: with_field(start=TASK.start[:4]), r"start must be .*\(5,\)"),
    "unknown task": (
        lambda: bl.make_tasks("frozen_lake/hole-4x4"),
        "did you mean frozen_lake/holes-4x4",
    ),
    "unknown task, nothing close": (lambda: bl.make_tasks("xyzzy"), "known are frozen_lake"),
    "no tasks asked for": (
        lambda: bl.make_tasks("frozen_lake/goals-4x4").sample(0, torch.Generator(), "train"),
        "at least 1, got 0",
    ),
    "unknown split": (
        lambda: bl.make_tasks("frozen_lake/goals-4x4").sample(1, torch.Generator(), "val"),
        "'train' or 'test', got 'val'",
    ),
    "unreachable goal": (
        lambda: lakes.lake_task(("SH", "HG"), lakes.GYMNASIUM),
        "no path leads from S to G.*open a way",
    ),
    "ragged map": (lambda: lakes.lake_task(("SF", "F"), lakes.HOLES), r"one length, got \[2, 1\]"),
    "empty map": (lambda: lakes.lake_task((), lakes.HOLES), r"one length, got \[\]"),
    "unknown letter": (lambda: lakes.lake_task(("SX", "FG"), lakes.HOLES), r"unknown \['X'\]"),
    "no goal": (lambda: lakes.lake_task(("SF", "FF"), lakes.HOLES), "at least one S and one G"),
    "a success rate that is no probability": (
        lambda: lakes.lake_task(("SF", "FG"), lakes.HOLES._replace(success_rate=1.2)),
        r"success_rate must be in \[0, 1\], got 1.2",
    ),
    "no improvement asked for": (
        lambda: bl.optimal_policy(TASK, 0.9, iterations=0),
        "iterations must be at least 1, got 0",
    ),
    "parameters of another policy": (
        lambda: bl.policy_return({"weights": PHI["logits"]}, TASK, policy=POLICY, gamma=0.9),
        r"one tensor 'logits' of shape \(5, 3\), got {'weights'",
    ),
    "parameters of another shape": (
        lambda: bl.policy_gradient({"logits": torch.zeros(4, 3)}, TASK, policy=POLICY, gamma=0.9),
        r"of shape \(5, 3\), got {'logits': \(4, 3\)}",
    ),
    "step size of 0": (
        lambda: bl.gradient_step(PHI, TASK, policy=POLICY, gamma=0.9, step_size=0.0),
        "step_size must be positive and finite, got 0.0",
    ),
    "negative number of steps": (
        lambda: bl.adapted_returns(
            PHI, batch_of_tasks(), lambda p, t: p, policy=POLICY, gamma=0.9, num_steps=-1
        ),
        "num_steps must be at least 0, got -1",
    ),
    "gap of other shapes": (lambda: optimality_gap(torch.ones(3), torch.ones(3)), r"\[N, K\]"),
    "policy of no actions": (
        lambda: bl.tabular_softmax(3, 0),
        "num_actions must be at least 1, got 0",
    ),
    "a lam of 0": (
        lambda: bl.adapt_to_task(PHI, TASK, policy=POLICY, gamma=0.9, distance=bl.d2, lam=0.0),
        "lam must be positive and finite, got 0.0",
    ),
    "a lam that is not a number": (
        lambda: bl.adapt_to_task(
            PHI, TASK, policy=POLICY, gamma=0.9, distance=bl.d2, lam=float("nan")
        ),
        "lam must be positive and finite, got nan",
    ),
    "a region without room": (
        lambda: adapt_to_task_in_trust_region(
            PHI, TASK, policy=POLICY, gamma=0.9, distance=bl.d1, delta=-0.1
        ),
        "delta must be positive and finite, got -0.1",
    ),
    "lam of 0 in a policy-gradient step": (
        lambda: bl.policy_gradient_step(PHI, DATA, policy=POLICY, lam=0.0),
        "lam must be positive and finite, got 0.0",
    ),
    "negative lam in a natural-gradient step": (
        lambda: bl.natural_gradient_step(PHI, DATA, policy=POLICY, distance=bl.d1, lam=-1.0),
        "lam must be positive and finite, got -1.0",
    ),
    "features of two axes": (lambda: bl.linear_softmax(torch.ones(5, 3)), r"\[S, A, d\].*\(5, 3\)"),
    "features that are not finite": (
        lambda: bl.linear_softmax(torch.full((5, 3, 2), torch.nan)),
        "must be finite",
    ),
    "no features": (lambda: bl.linear_softmax(torch.ones(5, 3, 0)), "no axis of size 0"),
    "weights of another policy": (
        lambda: bl.linear_softmax(torch.ones(5, 3, 2)).log_probs(PHI),
        r"one tensor 'weights' of shape \(2,\), got {'logits': \(5, 3\)}",
    ),
    "visits without a weight": (
        lambda: visit_shares(torch.zeros(3, dtype=torch.int64), torch.zeros(3), 5),
        "not all 0.*sum 0",
    ),
    "a series without a step": (
        lambda: neumann_series(lambda v: v, PHI, step_size=0.0),
        "step_size must be positive and finite, got 0.0",
    ),
    "ice of 0": (lambda: variance_dial(0.0), r"ice must be in \(0, 1\], got 0.0"),
    "unknown distance": (
        lambda: bl.configure("bomrl", distance="d4"),
        "distance must be one of.*'d4'",
    ),
    "unknown data": (
        lambda: bl.configure("bomrl", data="nothing"),
        "data must be one of.*'nothing'",
    ),
    "unknown answer to unsolved": (
        lambda: bl.configure("bomrl", unsolved="ignore"),
        "unsolved must be one of.*'ignore'",
    ),
    "no lam": (lambda: bl.configure("bomrl", lam=0.0), "lam must be positive and finite, got 0.0"),
    "no delta": (
        lambda: bl.configure("bomrl_trust_region", delta=-1.0),
        "delta must be positive and finite, got -1",
    ),
    "unknown method": (lambda: bl.configure(method="mamml"), "method must be one of.*'mamml'"),
    "no iterations": (
        lambda: bl.configure("maml", iterations=0),
        "iterations must be at least 1, got 0",
    ),
    "infinite step": (
        lambda: bl.configure("maml", step_size=float("inf")),
        "positive and finite, got inf",
    ),
    "negative learning rate": (
        lambda: bl.configure("maml", learning_rate=-1),
        "learning_rate.*got -1",
    ),
    "a setting that the method does not have": (
        lambda: bl.configure("promp", lam=5.0),
        "promp .* has no setting lam; it has .*step_size",
    ),
    "a name for exact values asked for episodes": (
        lambda: bl.configure("maml", tasks="navigation/circle"),
        "maml takes exact only.*lvc_maml",
    ),
    "a method of episodes asked for exact values": (
        lambda: bl.configure("promp", tasks="frozen_lake/holes-4x4"),
        "promp takes episodes only.*values='episodes'",
    ),
    "exact values where there are none": (
        lambda: bl.configure("first_order_maml", tasks="navigation/circle", values="exact"),
        "continuous states",
    ),
    "values of another kind": (
        lambda: bl.configure("promp", values="guesses"),
        "values must be one of.*'guesses'",
    ),
    "a name of the package for a family": (
        lambda: bl.register_tasks(bl.make_tasks("navigation/circle")),
        "is a family of bomrl_lite",
    ),
    "batch larger than the tasks": (
        lambda: bl.configure("maml", num_tasks=3, batch_tasks=4),
        "between 1 and num_tasks = 3, got 4",
    ),
}


CASES |= VALUES


@pytest.mark.parametrize("mistake", CASES)
def test_bad_input_is_told_what_was_wrong(mistake):
    call, words = CASES[mistake]
    with pytest.raises(ValueError, match=f"(?s){words}"):
        call()


@pytest.mark.parametrize("function", CALLS)
def test_the_calls_that_bad_arguments_are_put_into_work(function):
    call, good = CALLS[function]
    call(**good)


@pytest.mark.parametrize(
    ("function", "name"), [(function, name) for function in CALLS for name in CALLS[function][1]]
)
def test_a_bad_argument_is_named_in_one_line(function, name):
    call, good = CALLS[function]
    for bad in bad_values(function, name, good[name]):
        with pytest.raises(ValueError, match=rf"\A[^\n]*\b{name}\b[^\n]*\Z"):
            call(**{**good, name: bad})


def test_exact_numbers_of_numpy_and_scalar_tensors_are_taken():
    data = bl.full_data(PHI, TASK, policy=POLICY, gamma=np.float64(0.9))
    exact = bl.closed_form_d2(PHI, data, lam=2.0)["logits"]
    for lam in (np.float32(2), np.int64(2), 2, torch.tensor(2.0, dtype=torch.float64)):
        assert torch.equal(bl.closed_form_d2(PHI, data, lam=lam)["logits"], exact)
    assert bl.tabular_softmax(np.int64(5), np.uint8(3)).init(torch.Generator())
    assert seeded(2**28 - 1, "tasks")


def test_scalars_that_vmap_or_grad_hide_are_taken_as_they_are():
    def total(lam):
        theta = bl.closed_form_d2(PHI, DATA, lam=lam)
        return theta["logits"].sum()

    two = torch.tensor([2.0, -2.0], dtype=torch.float64)
    sums = torch.func.vmap(total)(two)  # what is hidden is not judged
    assert sums.shape == (2,)
    slope = torch.func.grad(total)(two[0])
    torch.testing.assert_close(slope, -DATA.q_values.sum() / 4)
    with pytest.raises(ValueError, match="lam must be positive and finite, got -2"):
        torch.func.grad(total)(two[1])


def test_a_policy_a_little_off_the_simplex_passes_for_finite_differences():
    bl.expected_return(PROBS + 1e-6, TASK, 0.9)


def test_a_missing_run_says_how_to_make_one(tmp_path):
    with pytest.raises(FileNotFoundError, match="train first: python -m bomrl_lite train"):
        bl.load(tmp_path)
