"""The check engine on a check of three lines: what it refuses, what it says, what it remembers."""

import json
import subprocess
import sys

import numpy as np
import pytest
import torch

import bomrl_lite as bl
from bomrl_lite.course import checks
from bomrl_lite.course.checks import CheckFailed, NotSolved
from bomrl_lite.course.checks.engine import Attempt, Check, Question, error_of
from bomrl_lite.course.checks.gallery import print_gallery
from bomrl_lite.course.checks.session import SESSION, print_progress
from bomrl_lite.course.checks.steps import OPENING, VALUES, Pullback, differentiable, property_step

X = np.array([[1.0, -2.0, 3.5], [0.25, 4.0, -1.0]])


def reference(x):
    return 2 * x


def ask(label, x, by_hand=False):
    slips = {"that is the square": x**2, "x is returned": x, "rows are summed": 2 * x.sum(-1)}
    return Question(label, (torch.tensor(x),), 2 * x, lambda: slips, by_hand)


QUESTIONS = (ask("by hand", X, by_hand=True), ask("random 1", X + 0.1), ask("random 2", X[:1] - 5))
PULLBACK = Pullback(X, lambda leaf: (leaf,), X, Question("random 1", (), 2 * X, dict))
DOUBLE = Check(
    "7.1",
    "double",
    reference,
    lambda: QUESTIONS,
    (*OPENING, *VALUES, differentiable(lambda: [PULLBACK], 1e-9)),
)
OTHER = Check("7.2", "other", reference, lambda: QUESTIONS, (*OPENING, *VALUES))


def centred(x):
    return x - x.mean(-1, keepdims=True) if x.ndim else x


def ask_up_to_constants(label, x, by_hand=False):
    slips = {"that is the square": centred(x**2)}
    return Question(label, (torch.tensor(x),), centred(2 * x), lambda: slips, by_hand)


UP_TO_CONSTANTS = Check(
    "7.3",
    "up_to_constants",
    reference,
    lambda: (ask_up_to_constants("by hand", X, by_hand=True), ask_up_to_constants("random 1", -X)),
    (*OPENING, *VALUES),
    gauge=centred,
)
SHIFT = torch.tensor([[3.0], [-20.0]], dtype=torch.float64)


@pytest.fixture(autouse=True)
def fresh_session():
    checks.use("raise")
    yield
    checks.use("raise")


def failure(function, check=DOUBLE):
    with pytest.raises(CheckFailed) as caught:
        check(function)
    return caught.value


def unsolved(x):
    raise NotImplementedError("exercise 7.1")


def with_state():
    calls = []

    def answer(x):
        calls.append(x)
        return 2 * x + (0.5 if len(calls) > len(QUESTIONS) else 0)

    return answer


def in_place(x):
    return x.mul_(2)


def in_place_restored(x):
    """Undo the change: nobody outside can tell, so it is no side effect."""
    x.mul_(2)
    answer = x.clone()
    x.div_(2)
    return answer


def by_backward(x):
    """Leave a gradient behind on the input: the second call adds to it."""
    x.requires_grad_()
    (x**2).sum().backward()
    return x.grad


def marking(x):
    """Switch requires_grad on for whoever owns the input."""
    x.requires_grad_()
    return 2 * x.detach()


def ending(x):
    raise SystemExit


def broken(x):
    rows = x.sum(-1)
    return rows[99]


CASES = [
    (lambda x: None, "type", "return is missing"),
    (lambda x: (2 * x).numpy(), "type", "stay in torch"),
    (lambda x: 2.0, "type", "stay in torch"),
    (lambda x: [2 * x], "type", "torch.stack"),
    (lambda x: 2 * x.sum(-1), "shape", "rows are summed"),
    (lambda x: (2 * x)[None], "shape", "size 1"),
    (lambda x: (2 * x).mT, "shape", "changed places"),
    (lambda x: (2 * x).float(), "dtype", "float32"),
    (lambda x: (2 * x).to(torch.int64), "dtype", ".double()"),
    (lambda x: (2 * x).to(torch.complex128), "dtype", ".double()"),
    (lambda x: lambda: 2 * x, "type", "call it"),
    (lambda x: (2 * x).sum(), "shape", "one number is left"),
    (in_place, "inputs untouched", "in place"),
    (with_state(), "repeatable", "global"),
    (lambda x: 2 * x + torch.rand(1).double(), "repeatable", "randomness"),
    (by_backward, "inputs untouched", "requires_grad_()"),
    (marking, "inputs untouched", "requires_grad_()"),
    (ending, "runs", "return"),
    (lambda x: x**2, "by hand", "that is the square"),
    (lambda x: x.clone(), "by hand", "x is returned"),
    (lambda x: 2 * x + 0.1, "by hand", None),
    (lambda x: 3 * x, "by hand", "1.5 times the right one"),
    (lambda x: 2 * x.float().double() + 1e-8, "by hand", "close but not exact"),
    (lambda x: x * torch.nan, "by hand", "nan"),
    (lambda x: torch.where(x > 4, torch.nan, 2 * x), "random values", "nan"),
    (lambda x: x * torch.inf, "by hand", "infinity"),
    (lambda x: torch.tensor(2 * X), "shape", None),
    (lambda x: 2 * x + (x == 4.1), "random values", None),
    (lambda x: 2 * x.detach(), "differentiable", "create_graph"),
    (lambda x: x + x.detach(), "differentiable", "another one"),
    (lambda x: 2 * x.detach() + 0 * x, "differentiable", "no gradient comes through"),
    (lambda x: torch.tensor((2 * x).numpy()), "differentiable", "cuts the gradient off"),
    (lambda: None, "runs", "too few or many"),
    (3.0, "runs", "without calling it"),
    (broken, "runs", "shapes do not fit"),
    (lambda x: torch.eye(2) @ x, "runs", "float32"),
    (lambda x: torch.autograd.grad(x.sum(), x)[0], "runs", "records no gradient"),
]


@pytest.mark.parametrize(("function", "step", "cause"), CASES)
def test_a_wrong_answer_fails_at_its_step(function, step, cause):
    error = failure(function)
    assert (error.exercise, error.step) == ("7.1", step)
    assert cause in error.cause if cause else error.cause is None
    assert str(error).startswith("[exercise 7.1] double fails step ")
    assert SESSION.states["7.1"] == "open"


@pytest.mark.parametrize(
    ("check", "function"),
    [(DOUBLE, lambda x: 2 * x), (DOUBLE, lambda x: x + x), (OTHER, in_place_restored)],
)
def test_right_answers_come_back(check, function, capsys):
    assert check(function) is function
    out = capsys.readouterr().out
    assert out.startswith(f"ok  exercise {check.exercise} {check.name}: {len(check.steps)} steps, ")
    assert out.endswith("largest error 0e+00 (tolerance 1e-09), 2 random instances\n")


def test_an_exception_quotes_the_learners_line():
    text = str(failure(broken))
    assert "IndexError" in text
    assert "of your cell: return rows[99]" in text


def test_a_mismatch_shows_both_sides_and_how_to_look():
    text = str(failure(lambda x: 3 * x))
    assert "expected [[2.0, -4.0, 7.0]" in text
    assert "got [[3.0, -6.0, 10.5]" in text
    assert "double(*checks.double.example(0))" in text
    (x,) = DOUBLE.example(0)
    assert np.array_equal(x, X)
    x.zero_()
    assert np.array_equal(DOUBLE.example(0)[0], X)


def test_a_large_mismatch_names_the_worst_place():
    x = np.arange(12.0).reshape(3, 4)
    question = Question("large", (torch.tensor(x),), x, by_hand=True)
    check = Check("7.3", "same", reference, lambda: (question,), (*OPENING, *VALUES))
    wrong = torch.zeros(3, 4, dtype=torch.float64)
    wrong[2, 1] = 0.5
    text = str(failure(lambda y: y + wrong, check))
    assert "expected 9 at [2, 1], got 9.5 (error 4.5e-02, tolerance 1e-09)" in text


def test_a_property_fails_under_its_own_name():
    step = property_step("positive", lambda q, got: None if got.min() > 0 else "too small")
    check = Check("7.4", "double", reference, lambda: QUESTIONS, (*OPENING, step, *VALUES))
    error = failure(lambda x: 2 * x, check)
    assert error.step == "positive"
    assert "by hand: too small" in str(error)


def test_known_names_of_comparisons_are_not_trusted(monkeypatch):
    for module in (torch, np):
        for name in ("allclose", "isclose", "equal", "array_equal"):
            monkeypatch.setattr(module, name, lambda *_, **__: True, raising=False)
    assert failure(lambda x: 3 * x).step == "by hand"


def test_unsolved_raises_one_line():
    with pytest.raises(NotSolved) as caught:
        DOUBLE(unsolved)
    message = (
        "[exercise 7.1] not solved yet: replace raise NotImplementedError and run the cell again."
    )
    assert str(caught.value) == message
    assert caught.value._render_traceback_() == [message]
    error = failure(lambda x: x)
    assert error._render_traceback_() == [str(error)]


def test_a_bare_stub_is_unsolved_too():
    def stub(x):
        raise NotImplementedError

    with pytest.raises(NotSolved):
        DOUBLE(stub)


def test_the_stub_of_another_exercise_is_named():
    def calls_another(x):
        raise NotImplementedError("exercise 6.2")

    error = failure(calls_another)
    assert error.step == "runs"
    assert "exercise 6.2" in error.cause


def test_what_torch_has_not_implemented_is_no_stub():
    def not_in_torch(x):
        raise NotImplementedError("Could not run 'aten::_foo'")

    assert failure(not_in_torch).step == "runs"


def test_reference_mode_goes_on(capsys):
    checks.use("reference")
    assert DOUBLE(unsolved) is reference
    wanted = "exercise 7.1 not solved yet: going on with the reference\n"
    assert capsys.readouterr().out == wanted
    assert failure(lambda x: x).cause == "x is returned"
    assert OTHER(reference) is reference


@pytest.mark.parametrize("mode", ["raise", "reference"])
def test_what_is_lent_is_never_solved_however_often_it_is_checked(mode, capsys):
    checks.use("reference")
    lent = DOUBLE(unsolved)
    checks.use(mode)
    for _ in range(2):
        lent = DOUBLE(lent)
        assert SESSION.states["7.1"] == "reference"
    assert "lent, not solved" in capsys.readouterr().out
    checks.q_values(bl.q_values)
    assert SESSION.states["1.1"] == "reference"


def test_an_exercise_can_be_required():
    DOUBLE(lambda x: 2 * x)
    checks.require_solved("7.1")
    with pytest.raises(NotSolved, match=r"not solved yet: 7\.2, 7\.3"):
        checks.require_solved("7.1", "7.2", "7.3")


def test_a_list_must_keep_its_length():
    def consuming(xs):
        return 2 * xs.pop()

    question = Question("list", ([torch.tensor(X)],), 2 * X, by_hand=True)
    check = Check("7.3", "last", reference, lambda: (question,), (*OPENING, *VALUES))
    error = failure(consuming, check)
    assert (error.step, "another length" in str(error)) == ("inputs untouched", True)


def test_what_other_cells_differentiate_by_transforms_must_allow_it():
    step = differentiable(lambda: [PULLBACK], 1e-9, transformed=True)
    check = Check("7.4", "double", reference, lambda: QUESTIONS, (*OPENING, *VALUES, step))
    assert check(lambda x: 2 * x)
    error = failure(lambda x: 2 * x.clone().requires_grad_(), check)
    assert error.step == "differentiable"
    assert "inside torch.func.grad" in error.cause


def test_an_answer_that_fails_at_an_edge_alone_is_told_what_the_edge_separates():
    edge = Question(
        "edge", (torch.zeros(1, 3).double(),), np.zeros((1, 3)), separates="0 is allowed"
    )
    check = Check("7.3", "same", reference, lambda: (*QUESTIONS, edge), (*OPENING, *VALUES))
    assert failure(lambda x: 2 * x * x / x, check).cause == "0 is allowed"
    assert failure(lambda x: x**2, check).cause == "that is the square"
    crash = failure(lambda x: 2 * x if x.any() else 1 / 0, check)
    assert (crash.step, crash.cause) == ("runs", "0 is allowed")


def test_an_error_that_grows_with_the_discount_is_that_of_a_loop_that_stops():
    questions = [
        Question(str(g), (torch.tensor([g]).double(),), np.array([1 / (1 - g)]), memory=g)
        for g in (0.25, 0.5, 0.9)
    ]

    def swept(x):
        return sum(x**t for t in range(20))

    check = Check("7.3", "sum", reference, lambda: questions, (*OPENING, *VALUES))
    assert "stops too early" in failure(swept, check).cause
    assert failure(lambda x: 2 * x, check).cause is None


def test_a_grader_decides_what_an_unsolved_exercise_does(monkeypatch):
    monkeypatch.setenv("BOMRL_UNSOLVED", "raise")
    checks.use("reference")
    with pytest.raises(NotSolved):
        DOUBLE(unsolved)
    monkeypatch.setenv("BOMRL_UNSOLVED", "skip")
    with pytest.raises(ValueError, match="got 'skip'"):
        checks.use("raise")


def test_use_refuses_other_words():
    with pytest.raises(ValueError, match=r'unsolved must be "raise" or "reference", got \'skip\''):
        checks.use("skip")


def test_progress_is_a_table_of_the_sets_met(capsys):
    names = {"6.1": "first", "7.1": "double", "7.2": "other", "7.3": "third"}
    print_progress(names)
    assert "6.1" in capsys.readouterr().out
    checks.use("reference")
    DOUBLE(unsolved)
    OTHER(lambda x: 2 * x)
    capsys.readouterr()
    print_progress(names)
    assert capsys.readouterr().out == (
        "exercise  function  state\n"
        "7.1       double    reference\n"
        "7.2       other     solved\n"
        "7.3       third     open\n"
        "1 of 3 solved\n"
    )


def test_a_solved_exercise_that_breaks_is_open_again():
    DOUBLE(lambda x: 2 * x)
    assert SESSION.states["7.1"] == "solved"
    failure(lambda x: x)
    assert SESSION.states["7.1"] == "open"
    checks.use("raise")
    assert SESSION.states == {}


def test_progress_of_the_course_lists_every_exercise(capsys):
    checks.progress()
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].split() == ["1.1", "q_values", "open"]
    assert lines[-1] == f"0 of {len(lines) - 2} solved"
    assert {line.split(".")[0] for line in lines[1:-1]} >= {"1", "3"}


def test_errors_are_relative_to_large_values_only():
    assert error_of(np.array([1000.1]), np.array([1000.0])) == pytest.approx(1e-4)
    assert error_of(np.array([0.2]), np.array([0.1])) == pytest.approx(0.1)
    assert np.isnan(error_of(np.array([np.nan, 0.0]), np.zeros(2)))


def test_ipython_shows_the_message_and_no_stack():
    """In a process of its own: IPython's shell is one per process."""
    code = (
        "import json\n"
        "from IPython.core.interactiveshell import InteractiveShell\n"
        "shown = []\n"
        "shell = InteractiveShell()\n"
        "shell._showtraceback = lambda kind, value, lines: shown.append(lines)\n"
        "shell.run_cell('from bomrl_lite.course import checks')\n"
        "shell.run_cell('def f(p, t, g):\\n    raise NotImplementedError')\n"
        "shell.run_cell('checks.q_values(f)')\n"
        "shell.run_cell('def f(p, t, g):\\n    return oops(p)')\n"
        "shell.run_cell('checks.q_values(f)')\n"
        "print(json.dumps(shown))\n"
    )
    out = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout
    first, second = json.loads(out.splitlines()[-1])
    assert first == [
        "[exercise 1.1] not solved yet: replace raise NotImplementedError and run the cell again."
    ]
    assert second == [
        "[exercise 1.1] q_values fails step 1 of 9, 'runs':\n"
        "  NameError: name 'oops' is not defined\n"
        "  in line 2 of your cell: return oops(p)\n"
        "  Likely cause: a name is not defined here: a typo, or a cell that has not been run."
    ]


def test_a_gauge_compares_answers_up_to_what_means_nothing():
    assert UP_TO_CONSTANTS(lambda x: 2 * x + SHIFT)
    wrong = failure(lambda x: x**2 + SHIFT, UP_TO_CONSTANTS)
    assert (wrong.step, wrong.cause) == ("by hand", "that is the square")
    assert failure(lambda x: 2 * x + SHIFT[: len(x)], DOUBLE).step == "by hand"


def test_an_answer_that_stops_at_a_later_question_is_told_why_it_stopped():
    calls = []

    def second_time_unlucky(x):
        calls.append(1)
        if len(calls) > 1:
            raise ValueError("not today")
        return 2 * x

    error = failure(second_time_unlucky, OTHER)
    assert error.step == "runs"
    assert "ValueError: not today" in str(error)


def test_right_values_name_no_slip_of_values():
    attempt = Attempt(reference, "7.2", "other", QUESTIONS, 1e-9)
    attempt.ask()
    assert attempt.cause is None


def test_the_gallery_shows_the_nearest_slips_of_what_is_solved_and_of_nothing_else(capsys):
    DOUBLE(lambda x: 2 * x)
    failure(lambda x: x, OTHER)
    capsys.readouterr()
    print_gallery([DOUBLE, OTHER])
    shown = capsys.readouterr().out
    assert shown.count("7.1 double") == 2  # the slip of another shape has no distance
    assert "that is the square" in shown
    assert "7.2 other" not in shown
    assert "shown when it is solved: 7.2" in shown


def test_slips_that_are_alike_at_first_are_told_apart_by_further_answers():
    """The absolute value is no slip where answers are positive, and a minus where they are not."""

    def ask_signed(label, x):
        slips = {"the sign is reversed": -x, "that is the absolute value": np.abs(x)}
        return Question(label, (torch.tensor(x),), x, lambda: slips, label == "by hand")

    signs = (-1.0, -1.0, -1.0, -1.0, -1.0, 1.0)
    labels = ("by hand", *(f"random {i}" for i in range(1, 6)))
    questions = tuple(
        ask_signed(*each) for each in zip(labels, X[:1, 2] * np.array(signs)[:, None], strict=True)
    )
    check = Check("7.6", "same", reference, lambda: questions, (*OPENING, *VALUES))
    assert failure(torch.abs, check).cause == "that is the absolute value"
    assert failure(torch.neg, check).cause == "the sign is reversed"
