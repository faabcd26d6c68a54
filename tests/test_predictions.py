"""Predictions: asked, chosen by widget or by call, revealed by a run, kept in a file."""

import json

import ipywidgets
import pytest
from matplotlib import pyplot as plt

from bomrl_lite.course import predictions
from bomrl_lite.course.plots.predictions import calibration_table
from bomrl_lite.course.predictions import FILE, ask, choose, intervals, reveal, show, stored

WHO = ("naive", "LVC", "exact")


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    """A folder without predictions."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(predictions, "_questions", {})
    yield
    plt.close("all")


@pytest.fixture
def shown(monkeypatch):
    """What was displayed."""
    found = []
    monkeypatch.setattr(predictions, "display", found.append)
    return found


def test_a_question_shows_options_and_no_answer(shown):
    ask("01.who", "Which trains best?", WHO)
    text, widget = shown
    assert "Which trains best?" in text.data
    for number, option in enumerate(WHO, 1):
        assert f"{number}. {option}" in text.data
    assert 'predictions.choose("01.who", 1, sure=60)' in text.data
    assert isinstance(widget, ipywidgets.VBox)
    assert not FILE.exists()


def test_nothing_is_revealed_to_those_who_did_not_choose(shown, capsys):
    ask("01.who", "Which trains best?", WHO)
    reveal("01.who", "exact")
    said = capsys.readouterr().out
    assert said == "No prediction yet: choose above, then run this cell again.\n"
    assert "exact" not in said
    assert not FILE.exists()


@pytest.mark.parametrize(
    ("option", "verdict"), [(2, "Not so: you said 'LVC'"), (3, "Right: you said 'exact'")]
)
def test_a_prediction_meets_its_answer(shown, capsys, option, verdict):
    ask("01.who", "Which trains best?", WHO)
    choose("01.who", 1, sure=50)
    choose("01.who", option, sure=80)  # a change of mind
    reveal("01.who", "exact")
    said = capsys.readouterr().out
    assert f"{verdict}, 80 % sure; it is 'exact'." in said
    choose("01.who", 3, sure=100)
    assert "the answer is known by now" in capsys.readouterr().out
    assert stored()["01.who"].choice == WHO[option - 1]
    assert stored()["01.who"].right == (option == 3)


def test_the_widget_does_what_the_call_does(shown):
    ask("01.who", "Which trains best?", WHO)
    choice, sure, button, said = shown[1].children
    assert button.disabled
    assert (sure.value - sure.min) % sure.step == 0
    choice.value, sure.value = 3, 90
    assert not button.disabled
    button.click()
    assert said.value == "01.who: &#x27;exact&#x27;, 90 % sure."
    assert stored() == {"01.who": predictions.Prediction("exact", 90)}
    ask("01.who", "Which trains best?", WHO)
    assert "exact" in shown[3].children[3].value  # a kernel that was restarted knows it still


@pytest.mark.parametrize(
    ("answer", "option"),
    [(-3.0, "below 0.1 return"), (0.1, "0.1 to 0.5 return"), (0.499, "0.1 to 0.5 return"),
     (0.5, "0.5 return or more"), (9, "0.5 return or more")],
)  # fmt: skip
def test_numbers_are_looked_up(shown, capsys, answer, option):
    ask("03.gap", "How large?", edges=(0.1, 0.5), unit="return")
    choose("03.gap", 1, sure=40)
    reveal("03.gap", answer)
    assert stored()["03.gap"].answer == option
    assert f"it is '{option}' ({answer:.3g} return)." in capsys.readouterr().out


def test_intervals_without_a_unit():
    assert intervals((1, 2.5, 10)) == ("below 1", "1 to 2.5", "2.5 to 10", "10 or more")


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: ask("a", "?", ("yes", "no")), ValueError, "three or four options"),
        (lambda: ask("a", "?", ("yes", "no", "no")), ValueError, "three or four options"),
        (lambda: ask("a", "?"), ValueError, "three or four options"),
        (lambda: ask("a", "?", edges=(2.0, 1.0)), ValueError, "edges must rise"),
        (lambda: choose("b", 1, sure=50), KeyError, "no question 'b' was asked"),
        (lambda: choose("who", 4, sure=50), ValueError, "option must be at most 3, got 4"),
        (lambda: choose("who", 0, sure=50), ValueError, "option must be at least 1, got 0"),
        (lambda: choose("who", 1, sure=20), ValueError, "sure must be at least 33, got 20"),
        (lambda: choose("who", 1, sure=101), ValueError, "sure must be at most 100, got 101"),
        (lambda: reveal("who", "full"), ValueError, "the answer 'full' is no option"),
        (lambda: reveal("gap", "full"), ValueError, "the answer must be a number"),
        (lambda: reveal("gap", float("nan")), ValueError, "the answer must be"),
    ],
)  # fmt: skip
def test_slips_are_answered(shown, call, error, words):
    ask("who", "Which?", WHO)
    ask("gap", "How large?", edges=(0.1, 0.5))
    with pytest.raises(error, match=words):
        call()


@pytest.mark.parametrize("text", ["", "[1]", '{"a": 3}', '{"a": {"choice": "x"}}'])
def test_another_file_is_named_and_stays(shown, text):
    FILE.write_text(text)
    with pytest.raises(ValueError, match=r"my_predictions\.json holds no predictions"):
        stored()
    assert FILE.read_text() == text


def test_the_summary_counts_what_met_its_answer(shown, capsys):
    assert show() is None
    assert "No prediction has met its answer yet" in capsys.readouterr().out
    for number, (option, sure) in enumerate([(3, 100), (3, 60), (1, 60), (1, 95), (2, 40)]):
        ask(f"0{number % 2}.{number}", "Which?", WHO)
        choose(f"0{number % 2}.{number}", option, sure=sure)
        if number < 4:
            reveal(f"0{number % 2}.{number}", "exact")
    capsys.readouterr()
    figure = show()
    assert "2 of 4 right; 79 % sure on average." in capsys.readouterr().out
    dots = figure.axes[0].lines[1].get_xydata().tolist()
    assert dots == [[60.0, 50.0], [97.5, 50.0]]
    show("01")
    assert "1 of 2 right; 78 % sure" in capsys.readouterr().out
    assert set(json.loads(FILE.read_text())) == {"00.0", "01.1", "00.2", "01.3", "00.4"}


def test_groups_are_means_of_what_was_said():
    table = calibration_table([(50, True), (60, False), (100, True), (33, False)])
    assert table.to_dict("list") == {
        "sure": [33.0, 55.0, 100.0],
        "right": [0.0, 50.0, 100.0],
        "number": [1, 2, 1],
    }
