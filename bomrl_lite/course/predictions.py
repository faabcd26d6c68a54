"""Predict, then run: a question before the cell that answers it, and how well one knew.

``ask`` poses a question with a few options; the learner chooses one and says how sure; ``reveal``,
after the cell that computes the answer, compares. It shows nothing to those who did not choose, so
no page gives an answer away. Predictions are kept in ``my_predictions.json`` beside the notebook,
which may be deleted at any time; ``show`` draws how often one was right against how sure one was.
"""

import html
import itertools
import json
import os
from bisect import bisect_right
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import ipywidgets
from IPython.display import Markdown, display
from matplotlib.figure import Figure

from bomrl_lite.course.plots import calibration
from bomrl_lite.require import require_number, require_whole
from bomrl_lite.training.files import write_atomically

FILE = Path(os.environ.get("BOMRL_PREDICTIONS", "my_predictions.json"))
"""Where predictions are kept: in the folder of the notebook, where nothing else is set.

A build or a test sets it, for what it runs must not meet, or answer, a person's predictions.
"""


class Question(NamedTuple):
    """A question: its options, and the edges between them if the answer is a number."""

    text: str
    options: tuple[str, ...]
    edges: tuple[float, ...]
    unit: str

    def option(self, answer: float | str) -> str:
        """Return the option that an answer is, or lies in; an edge belongs to the option above it.

        Raises:
            ValueError: no option is, or no number can be looked up.
        """
        if self.edges:
            return self.options[bisect_right(self.edges, require_number("the answer", answer))]
        if answer not in self.options:
            raise ValueError(f"the answer {answer!r} is no option: {', '.join(self.options)}")
        return str(answer)


class Prediction(NamedTuple):
    """What was chosen and how sure, in per cent; the answer, once a run has shown it."""

    choice: str
    sure: int
    answer: str | None = None

    @property
    def right(self) -> bool:
        """Tell whether the choice was the answer."""
        return self.choice == self.answer


_questions: dict[str, Question] = {}


def ask(
    key: str,
    text: str,
    options: Sequence[str] = (),
    *,
    edges: Sequence[float] = (),
    unit: str = "",
) -> None:
    """Pose a question, with a widget to answer it and the call that does the same without one.

    Args:
        key: of the question, such as "03a.which lambda": the lesson, a full stop, a name.
        text: the question.
        options: three or four answers in words.
        edges: instead, two or three rising numbers: the options are the intervals between them.
        unit: of these numbers.

    Raises:
        ValueError: not three or four options.
    """
    question = Question(text, tuple(options) or intervals(edges, unit), tuple(edges), unit)
    if not 3 <= len(set(question.options)) <= 4:
        raise ValueError(f"three or four options, got {list(question.options)} for {key!r}")
    _questions[key] = question
    listed = "\n".join(f"{number}. {each}" for number, each in enumerate(question.options, 1))
    call = f'`predictions.choose("{key}", 1, sure=60)`'
    note = f"Choose before you run on, here or by {call}: option, and how sure in per cent."
    display(Markdown(f"**Predict.** {text}\n\n{listed}\n\n{note}"))
    display(_widget(key, question))


def choose(key: str, option: int, *, sure: int) -> None:
    """Choose an option of a question; one may change one's mind until the answer is revealed.

    Args:
        key: of the question.
        option: its number, from 1.
        sure: how sure, in per cent: from an even guess among the options to 100.

    Raises:
        KeyError: no such question was asked.
        ValueError: no such option, or ``sure`` is out of its range.
    """
    print(_chosen(key, option, sure))


def reveal(key: str, answer: float | str) -> None:
    """Compare a prediction with what the run has computed.

    Args:
        key: of the question.
        answer: an option's words, or for a question with edges the number.

    Raises:
        KeyError: no such question was asked.
        ValueError: the answer is no option.
    """
    question = _question(key)
    option = question.option(answer)
    kept = stored()
    if key not in kept:
        print("No prediction yet: choose above, then run this cell again.")
        return
    mine = kept[key]._replace(answer=option)
    _keep({**kept, key: mine})
    number = f" ({float(answer):.3g} {question.unit})".replace(" )", ")") if question.edges else ""
    verdict = "Right" if mine.right else "Not so"
    print(f"{verdict}: you said {mine.choice!r}, {mine.sure} % sure; it is {option!r}{number}.")


def show(lesson: str = "") -> Figure | None:
    """Draw the share of right predictions against how sure one was, and say both in words.

    Args:
        lesson: such as "03a", for its questions only; empty for the whole course.
    """
    known = {k: each for k, each in stored().items() if each.answer and k.startswith(lesson)}
    if not known:
        print(f"No prediction has met its answer yet. They are kept in {FILE.name}.")
        return None
    right = sum(each.right for each in known.values())
    sure = sum(each.sure for each in known.values()) / len(known)
    print(f"{right} of {len(known)} right; {sure:.0f} % sure on average. Kept in {FILE.name}.")
    return calibration([(each.sure, each.right) for each in known.values()])


def stored() -> dict[str, Prediction]:
    """Return the predictions that are kept; none where the file is missing.

    Raises:
        ValueError: the file holds something else.
    """
    if not FILE.exists():
        return {}
    try:
        found: dict[str, Any] = json.loads(FILE.read_text(encoding="utf-8"))
        return {key: Prediction(**each) for key, each in found.items()}
    except (ValueError, TypeError, AttributeError) as error:
        raise ValueError(
            f"{FILE} holds no predictions ({error}); delete it to start anew"
        ) from error


def intervals(edges: Sequence[float], unit: str = "") -> tuple[str, ...]:
    """Return in words the intervals that rising numbers cut the line into.

    Raises:
        ValueError: the numbers do not rise.
    """
    if any(low >= high for low, high in itertools.pairwise(edges)):
        raise ValueError(f"edges must rise, got {list(edges)}")
    end = f" {unit}" if unit else ""
    inner = [f"{low:g} to {high:g}{end}" for low, high in itertools.pairwise(edges)]
    return (f"below {edges[0]:g}{end}", *inner, f"{edges[-1]:g}{end} or more") if edges else ()


def _question(key: str) -> Question:
    if key not in _questions:
        raise KeyError(f"no question {key!r} was asked yet: run its cell first")
    return _questions[key]


def _chosen(key: str, option: int, sure: int) -> str:
    """Keep a choice, and say what was kept."""
    question, kept = _question(key), stored()
    require_whole("option", option, most=len(question.options))
    require_whole("sure", sure, least=_even(question), most=100)
    if key in kept and kept[key].answer:
        return f"{key}: the answer is known by now; {kept[key].choice!r} stays."
    mine = Prediction(question.options[option - 1], sure)
    _keep({**kept, key: mine})
    return f"{key}: {mine.choice!r}, {sure} % sure."


def _even(question: Question) -> int:
    """Return in per cent how sure one is who guesses evenly."""
    return 100 // len(question.options)


def _keep(predictions: dict[str, Prediction]) -> None:
    kept = {key: each._asdict() for key, each in predictions.items()}
    write_atomically(FILE, (json.dumps(kept, indent=1, ensure_ascii=False) + "\n").encode())


def _widget(key: str, question: Question) -> ipywidgets.VBox:
    """Return options, a slider for how sure one is, a button, a line that says what was kept."""
    wide = ipywidgets.Layout(width="auto")
    options = [(each, number) for number, each in enumerate(question.options, 1)]
    choice = ipywidgets.RadioButtons(options=options, value=None, layout=wide)
    least = -(-_even(question) // 5) * 5  # a slider counts its steps from its least value
    sure = ipywidgets.IntSlider(60, least, 100, 5, description="sure, %")
    button = ipywidgets.Button(description="I choose this", disabled=True)
    said = ipywidgets.HTML()
    choice.observe(lambda _: setattr(button, "disabled", choice.value is None), names="value")

    def click(_: object) -> None:
        said.value = html.escape(_chosen(key, int(choice.value or 0), sure.value))

    button.on_click(click)
    if mine := stored().get(key):
        said.value = html.escape(f"{mine.choice!r}, {mine.sure} % sure")
    return ipywidgets.VBox([choice, sure, button, said])
