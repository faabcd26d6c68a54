"""The check engine: named steps that look at a learner's function, one after the other.

A check asks its questions once, then runs its steps on the answers; the first step that is not
content names itself, says what it expected and what it got and, for a known slip, the likely cause.
Answers are compared here, in numpy, with oracles that share no code with the solution.
"""

import copy
import inspect
import itertools
import re
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from torch import Tensor

from bomrl_lite.course.checks.likeness import Pair, likeness
from bomrl_lite.course.checks.session import SESSION

Function = Callable[..., Any]

Gauge = Callable[[np.ndarray], np.ndarray]
"""Brings an answer to the form in which it is compared: answers alike in it mean the same."""

SLIP_TOLERANCE = 1e-6
"""How well a known slip must explain the answers to be named."""

EXPLAINED = 5
"""Answers that a known slip must explain: the case by hand and one random instance of each size."""


NOT_FINITE = "a logarithm of 0, a division by 0 or a sum that diverges makes nan or infinity"
CLOSE = (
    "close but not exact: a sum or loop that stops too early, float32 on the way, a small number "
    "that was added, or differences in place of a derivative"
)

EARLY = (
    "a loop over time that stops too early: right where gamma is small, the worse the larger it is"
)
MOST_FORGOTTEN = 1e-2
"""Largest error, at the smallest discount, of answers that are said to stop too early."""

KNOWN_ERRORS = (
    (
        "does not require grad",
        "what is differentiated records no gradient: its input is without requires_grad_(), or "
        "a .detach(), no_grad, .item() cuts it off; torch.func.grad(f)(x) needs no preparation",
    ),
    (
        r"numpy\(\) on Tensor that requires grad",
        "stay in torch: .numpy() cuts the gradient off, and so would .detach()",
    ),
    (
        r"requires_grad_\(\).*functorch",
        "requires_grad_() cannot be called inside torch.func.grad, with which other cells "
        "differentiate this function: use torch.func.grad here as well",
    ),
    (
        "inplace operation|in-place operation",
        "an operation in place (+=, add_, x[...] =) on something that records a gradient; make a "
        "new tensor instead",
    ),
    (
        "must hold probabilities",
        "what is handed on as a policy is none: a softmax over the last dimension is missing, or "
        "it runs over another one",
    ),
    (
        "same dtype|scalar type|dtype",
        "torch.eye, zeros, tensor make float32 unless you pass the dtype of the input",
    ),
    (
        "NameError|UnboundLocalError",
        "a name is not defined here: a typo, or a cell that has not been run",
    ),
    (r"takes .* positional argument|missing .* required", "a call with too few or many arguments"),
    (
        "Boolean value of Tensor",
        "a comparison of tensors has a truth value per entry: torch.where instead of if",
    ),
    (
        "must match the size|shapes cannot be multiplied|size mismatch|inconsistent tensor size|"
        "Incompatible|same number of dimensions|[Ss]ubscript|[Ii]ndex.* out of",
        "shapes do not fit: print x.shape before this line; torch compares them from the last "
        "dimension on, and x[:, None] makes a column",
    ),
    ("singular", "the matrix of the linear system is singular: it has no inverse"),
    (
        r"(float|int|ndarray|list|tuple)'? object",
        "a Python number, list or array stands where a tensor belongs: stay in torch",
    ),
    ("RecursionError", "the function calls itself without an end"),
)
"""Parts of the messages of exceptions, and what they mean here."""


class NotSolved(NotImplementedError):  # noqa: N818 - no error, work to do
    """The exercise still holds its ``raise NotImplementedError``."""

    def _render_traceback_(self) -> list[str]:
        """Show the message alone: Jupyter and papermill ask for this method."""
        return [str(self)]


class CheckFailed(AssertionError):  # noqa: N818 - a verdict
    """An answer is wrong: ``step`` is the name of the step that found it, ``cause`` its guess."""

    def __init__(self, message: str, *, exercise: str, step: str, cause: str | None) -> None:
        super().__init__(message)
        self.exercise, self.step, self.cause = exercise, step, cause

    def _render_traceback_(self) -> list[str]:
        """Show the message alone."""
        return [str(self)]


class Wrong(Exception):  # noqa: N818 - a verdict of a step, never seen by learners
    """What a step raises; the check adds the exercise and the step."""

    def __init__(self, message: str, cause: str | None = None) -> None:
        super().__init__(message)
        self.message, self.cause = message, cause


Slips = Mapping[str, np.ndarray]
"""Likely cause -> the answer that a learner with this slip would give."""


def as_it_is(answer: np.ndarray) -> np.ndarray:
    """Compare an answer entry by entry: the gauge of most checks."""
    return answer


@dataclass(frozen=True)
class Question:
    """Arguments for the learner's function and the answer of an independent oracle."""

    label: str
    args: tuple[Any, ...]
    expected: np.ndarray
    slips: Callable[[], Slips] = dict
    by_hand: bool = False
    separates: str | None = None
    """What is wrong with an answer that fails here and at no question without such a mark."""
    memory: float | None = None
    """The discount, where the answer is a sum over time."""


@dataclass
class Attempt:
    """One learner's function and what it answered to every question."""

    function: Function
    exercise: str
    name: str
    questions: Sequence[Question]
    tolerance: float
    used: list[tuple[Any, ...]] = field(default_factory=list)
    """The arguments after the call: a function may have changed them."""
    returned: list[Any] = field(default_factory=list)
    largest_error: float = 0.0
    gauge: Gauge = as_it_is
    arguments: Sequence[str] = ()
    """Names of what the function takes."""

    def ask(self) -> None:
        """Call the function on a fresh copy of every question."""
        for question in self.questions:
            args = copy.deepcopy(question.args)
            try:
                answer = self.call(*args)
            except Wrong as wrong:
                if not question.separates:
                    raise
                raise Wrong(f"{question.label}: {wrong.message}", question.separates) from None
            self.used.append(args)
            self.returned.append(answer.detach().clone() if isinstance(answer, Tensor) else answer)

    def call(self, *args: Any) -> Any:
        """Call the function; an exception becomes :class:`Wrong`, an unsolved exercise passes."""
        try:
            return self.function(*args)
        except SystemExit:
            raise Wrong("SystemExit: the function ends the program", "return, not exit()") from None
        except Exception as error:
            if isinstance(error, NotImplementedError) and str(error) in ("", self._stub):
                raise
            cause = _known_cause(error)
            where = _learners_line(error, self.function)
            raise Wrong(f"{type(error).__name__}: {error}{where}", cause) from None

    def answers(self) -> Iterator[tuple[Question, np.ndarray]]:
        """Pair questions and answers, in numpy."""
        for question, answer in zip(self.questions, self.returned, strict=True):
            yield question, answer.resolve_conj().cpu().numpy()

    def compared(self) -> Iterator[tuple[Question, np.ndarray]]:
        """Pair questions and answers, the latter in the form in which they are compared."""
        for question, answer in self.answers():
            yield question, self.gauge(answer)

    @property
    def _stub(self) -> str:
        return f"exercise {self.exercise}"

    @cached_property
    def cause(self) -> str | None:
        """Name the slip that explains the answers, if one does."""
        complete = len(self.returned) == len(self.questions)
        if not complete or not all(isinstance(answer, Tensor) for answer in self.returned):
            return None
        questions, answers = zip(*self.compared(), strict=True)
        wrong = [
            question
            for question, answer in zip(questions, answers, strict=True)
            if not _agrees(answer, question.expected, self.tolerance)
        ]
        if not wrong:
            return None  # the values are right: whatever is wrong, they do not tell
        if all(question.separates for question in wrong):
            return wrong[0].separates
        return likely_cause(questions, answers) or likeness(
            [
                Pair(question.expected, answer, _numbers(question, self.arguments))
                for question, answer in zip(questions, answers, strict=True)
                if not question.separates
            ]
        )


class Step(NamedTuple):
    """A named part of a check; ``run`` raises :class:`Wrong`."""

    name: str
    run: Callable[[Attempt], None]


@dataclass(frozen=True)
class Check:
    """The check of one exercise; call it with the learner's function.

    Args:
        exercise: number, ``"1.1"``.
        name: the function's name in the notebook.
        reference: the package's own function; never an oracle.
        make_questions: the questions with the oracle's answers; called when first needed.
        steps: in the order in which they run.
        tolerance: largest error of a right answer, relative to the largest entry if that is > 1.
        gauge: what to do to an answer before it is compared; expected answers and slips are in that
            form already. For logits, where a constant per state means nothing.
        points: what each step is worth when the exercise is graded: name of the step -> points.
            Only steps whose questions are drawn anew at grading time are worth any.
    """

    exercise: str
    name: str
    reference: Function
    make_questions: Callable[[], Sequence[Question]]
    steps: Sequence[Step]
    tolerance: float = 1e-9
    gauge: Gauge = as_it_is
    points: Mapping[str, int] = field(default_factory=dict[str, int])

    @property
    def max_points(self) -> int:
        """Return what the whole exercise is worth."""
        return sum(self.points.values())

    def __call__(self, function: Function) -> Function:
        """Check an answer and return the function to go on with.

        Raises:
            NotSolved: it still raises NotImplementedError, and ``use("reference")`` is not on.
            CheckFailed: the first step that found a mistake; in both modes.
        """
        SESSION.states[self.exercise] = "open"
        questions = self.make_questions()
        attempt = Attempt(
            function,
            self.exercise,
            self.name,
            questions,
            self.tolerance,
            gauge=self.gauge,
            arguments=tuple(inspect.signature(self.reference).parameters),
        )
        try:
            with np.errstate(all="ignore"):  # a wrong answer may hold nan or infinity
                self._run(attempt)
        except NotImplementedError:
            return self._not_solved()
        if self._is_lent(function):
            SESSION.states[self.exercise] = "reference"
            print(f"exercise {self.exercise} {self.name}: the package's function, lent, not solved")
            return function
        SESSION.states[self.exercise] = "solved"
        count = sum(not question.by_hand for question in questions)
        print(
            f"ok  exercise {self.exercise} {self.name}: {len(self.steps)} steps, "
            f"largest error {attempt.largest_error:.0e} (tolerance {self.tolerance:.0e}), "
            f"{count} random instances"
        )
        return function

    def example(self, index: int = 0) -> tuple[Any, ...]:
        """Return the arguments of a question, to try a function on: 0 is the one done by hand."""
        return copy.deepcopy(self.make_questions()[index].args)

    def _is_lent(self, function: Function) -> bool:
        """Tell whether a function is no learner's: the reference, or another of the package."""
        home = getattr(function, "__module__", None) or ""
        return function is self.reference or home.split(".")[0] == "bomrl_lite"

    def _run(self, attempt: Attempt) -> None:
        for number, step in enumerate(self.steps, 1):
            try:
                step.run(attempt)
            except Wrong as wrong:
                cause = wrong.cause or attempt.cause
                message = (
                    f"[exercise {self.exercise}] {self.name} fails step {number} of "
                    f"{len(self.steps)}, {step.name!r}:\n  {wrong.message}"
                ) + (f"\n  Likely cause: {cause}." if cause else "")
                raise CheckFailed(
                    message, exercise=self.exercise, step=step.name, cause=cause
                ) from None

    def _not_solved(self) -> Function:
        if SESSION.unsolved == "raise":
            raise NotSolved(
                f"[exercise {self.exercise}] not solved yet: "
                "replace raise NotImplementedError and run the cell again."
            ) from None
        SESSION.states[self.exercise] = "reference"
        print(f"exercise {self.exercise} not solved yet: going on with the reference")
        return self.reference


def error_of(got: np.ndarray, expected: np.ndarray) -> float:
    """Return the largest error, relative to the largest entry if that exceeds 1; nan stays nan."""
    scale = max(1.0, float(np.max(np.abs(expected), initial=0.0)))
    return float(np.max(np.abs(got - expected), initial=0.0)) / scale


def likely_cause(questions: Sequence[Question], answers: Sequence[np.ndarray]) -> str | None:
    """Name the known slip that gives these answers, or else how they are wrong."""
    pairs = [(q, a) for q, a in zip(questions, answers, strict=True) if not q.separates]
    with np.errstate(all="ignore"):  # a slip may be to divide by 0
        every = [(answer, question.slips()) for question, answer in pairs[:EXPLAINED]]
    causes = every[-1][1]
    named = [c for c in causes if all(_agrees(got, slips[c]) for got, slips in every)]
    if named:
        return _decided(named, pairs[EXPLAINED:])
    if not all(np.isfinite(answer).all() for answer in answers):
        return NOT_FINITE
    if _forgets(pairs):
        return EARLY
    return CLOSE if all(_agrees(a, q.expected, 1e-4) for q, a in pairs) else None


def _decided(causes: Sequence[str], pairs: Sequence[tuple[Question, np.ndarray]]) -> str:
    """Choose among slips that explain the answers alike: by further ones, then the first."""
    left = list(causes)
    for question, answer in pairs:
        if len(left) == 1:
            break
        with np.errstate(all="ignore"):
            slips = question.slips()
        left = [c for c in left if c in slips and _agrees(answer, slips[c])] or left
    return left[0]


def _numbers(question: Question, names: Sequence[str]) -> dict[str, float]:
    """Return the numbers among the arguments, and the sizes of the answer, by name."""
    numbers = {
        name: float(arg)
        for name, arg in zip(names, question.args, strict=False)
        if isinstance(arg, int | float)
    }
    shape = question.expected.shape
    sizes = {f"the size of dimension {i}": float(n) for i, n in enumerate(shape)}
    return numbers | sizes | {"the number of entries": float(question.expected.size)}


def _forgets(pairs: Sequence[tuple[Question, np.ndarray]]) -> bool:
    """Tell whether answers are the worse the longer the memory that a question asks for."""
    by_memory: dict[float, list[float]] = {}
    for question, answer in pairs:
        if question.memory is None or answer.shape != question.expected.shape:
            return False
        error = error_of(answer, question.expected)
        by_memory.setdefault(question.memory, []).append(error)
    least = [min(by_memory[memory]) for memory in sorted(by_memory)]
    most = [max(by_memory[memory]) for memory in sorted(by_memory)]
    grows = all(2 * a < b or b < 1e-14 for a, b in itertools.pairwise(most))
    return len(most) > 1 and grows and most[0] < MOST_FORGOTTEN < 1e6 * least[-1]


def _agrees(got: np.ndarray, slip: np.ndarray, tolerance: float = SLIP_TOLERANCE) -> bool:
    """Compare an answer with one that is known; a slip may make nan or infinity, too."""
    if got.shape != np.shape(slip):
        return False
    finite = np.isfinite(slip)
    if not np.array_equal(got[~finite], slip[~finite], equal_nan=True):
        return False
    return error_of(got[finite], slip[finite]) <= tolerance


def _known_cause(error: Exception) -> str | None:
    """Explain an exception that a learner's function raised."""
    stub = re.fullmatch(r"exercise (\d+\.\d+)", str(error))
    if stub and isinstance(error, NotImplementedError):
        return f"it calls the function of exercise {stub[1]}, which is still to be solved"
    text = f"{type(error).__name__}: {error}"
    return next((cause for pattern, cause in KNOWN_ERRORS if re.search(pattern, text)), None)


def _learners_line(error: Exception, function: Function) -> str:
    """Quote the line of the learner's own code on which an exception began.

    A function that runs in another process brings that line with its exceptions.
    """
    brought = getattr(error, "learners_line", None)
    if brought is not None:
        return str(brought)
    code = getattr(inspect.unwrap(function), "__code__", None)
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if code and frame.filename == code.co_filename]
    return f"\n  in line {own[-1].lineno} of your cell: {own[-1].line}".rstrip(": ") if own else ""
