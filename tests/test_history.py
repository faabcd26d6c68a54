"""The earlier runs of the course, and what changed since the last green one."""

import json
import math

import pytest
from tiny_course import LESSON, FakePapermill, write_course

from bomrl_lite.course.running import batch, runner
from bomrl_lite.course.running.history import (
    SHOWN,
    Change,
    History,
    StoredFigure,
    StoredLesson,
    StoredRun,
    changes,
    earlier_runs,
    history_of,
    in_words,
    last_green,
    read_run,
    to_json,
)
from bomrl_lite.course.running.report import write_report
from bomrl_lite.course.running.results import Run
from bomrl_lite.course.running.runner import run_course

NOW = Run("2026-01-10 12:00:00", "smoke", 0, {}, {"torch": "2.7"}, "code 2", [])


def stored_lesson(status="passed", ok=True, **figures):
    """A lesson whose figures are (value, verdict), or a value that is inside."""
    pairs = {k: v if isinstance(v, tuple) else (v, "inside") for k, v in figures.items()}
    found = {name: StoredFigure(value, "return", mark) for name, (value, mark) in pairs.items()}
    return StoredLesson(status, ok, 1.0, None, found)


def stored_run(folder="before", *, ok=True, started="2026-01-02 03:04:05", code="", **lessons):
    versions = {"torch": "2.7"}
    return StoredRun(folder, started, "smoke", 0, {}, versions, code, ok, lessons)


def metrics(**other):
    """Return the content of a metrics.json."""
    figure = {"value": 1.5, "unit": "return", "low": 1, "high": 2, "verdict": "inside"}
    figures = {
        "gap": {**figure, "source": "code"},
        "rate": {**figure, "source": "machine"},
        "stored": {**figure, "source": "table"},
        "lost": {**figure, "value": None, "verdict": "missing", "source": "code"},
    }
    lesson = {"status": "passed", "ok": True, "seconds": 2.5, "error": None, "figures": figures}
    head = {"started": "2026-01-02 03:04", "profile": "smoke", "seed": 0, "ok": True}
    return {**head, "versions": {"torch": "2.6"}, "lessons": {"00_start": lesson}, **other}


def write_run(folder, **other):
    folder.mkdir(parents=True)
    (folder / "metrics.json").write_text(json.dumps(metrics(**other)))


# ------------------------------------------------------------------ reading


def test_a_run_of_an_older_version_is_read_without_what_it_does_not_have(tmp_path):
    write_run(tmp_path / "old")
    found = read_run(tmp_path / "old")
    assert (found.folder, found.parameters, found.code, found.sound) == ("old", {}, "", 1)
    assert found.lessons["00_start"].figures == {"gap": StoredFigure(1.5, "return", "inside")}


def test_only_runs_that_can_be_compared_are_found_newest_first(tmp_path):
    write_run(tmp_path / "b")
    write_run(tmp_path / "a", started="2026-01-03 00:00:00", ok=False)
    write_run(tmp_path / "c")
    write_run(tmp_path / "now")
    write_run(tmp_path / "seed", seed=3)
    write_run(tmp_path / "profile", profile="class")
    write_run(tmp_path / "parameters", parameters={"steps": 3})
    write_run(tmp_path / "later", started="2026-01-11 00:00:00")
    found = earlier_runs(tmp_path / "now", NOW)
    assert [each.folder for each in found] == ["a", "c", "b"]
    assert [each.ok for each in found] == [False, True, True]
    assert earlier_runs(tmp_path / "nowhere" / "now", NOW) == []


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[1]",
        "null",
        '{"accuracy": 0.9}',
        b"\xff\xfe\x00",
        json.dumps(metrics(lessons=[])),
        json.dumps(metrics(lessons={"00_start": 3})),
        json.dumps(metrics(seed="x")),
        json.dumps(metrics(versions=None)),
        json.dumps(metrics()).replace("1.5", "NaN"),
        json.dumps(metrics()).replace("1.5", '"1.5"'),
    ],
)
def test_what_is_no_run_is_passed_over_quietly(tmp_path, text, capsys):
    (tmp_path / "foreign").mkdir()
    data = text if isinstance(text, bytes) else text.encode()
    (tmp_path / "foreign/metrics.json").write_bytes(data)
    (tmp_path / "folder/metrics.json").mkdir(parents=True)
    (tmp_path / "file").touch()
    write_run(tmp_path / "good")
    assert [each.folder for each in earlier_runs(tmp_path / "now", NOW)] == ["good"]
    assert capsys.readouterr() == ("", "")


# ------------------------------------------------------------------ comparing


def test_the_last_green_run_is_the_newest_that_shares_the_most_lessons():
    one, both = {"a": stored_lesson()}, {"a": stored_lesson(), "b": stored_lesson()}
    red = stored_run("red", ok=False, **both)
    newest, middle, oldest = (
        stored_run(name, **lessons) for name, lessons in [("n", one), ("m", both), ("o", both)]
    )
    assert last_green([red, newest, middle, oldest], both) is middle
    assert last_green([red, newest, middle, oldest], one) is newest
    assert last_green([red, newest], ["c"]) is None
    assert last_green([red], both) is None


def test_figures_that_moved_come_by_size_those_outside_their_range_first():
    old = stored_run(a=stored_lesson(same=1.0, little=2.0, much=2.0, out=100.0, zero=0.0))
    now = stored_run(
        a=stored_lesson(same=1.0, little=1.9, much=3.0, out=(101.0, "outside"), zero=1e-9)
    )
    moved = changes(old, now).figures
    assert [each.name for each in moved] == ["out", "zero", "much", "little"]
    assert moved[0] == Change("a", "out", "return", 100.0, 101.0, "outside")
    assert [each.relative for each in moved] == pytest.approx([0.01, math.inf, 0.5, -0.05])
    assert Change("a", "x", "", -2.0, -1.0, "inside").relative == 0.5


def test_figures_are_new_or_missing_only_in_lessons_of_both_that_ran_to_the_end():
    green = stored_run(a=stored_lesson(x=1.0), b=stored_lesson(y=1.0), gone=stored_lesson(w=1.0))
    now = stored_run(
        a=stored_lesson(ok=False, z=1.0),
        b=stored_lesson("failed", ok=False),
        fresh=stored_lesson(v=1.0),
    )
    found = changes(green, now)
    assert (found.new, found.missing) == (["a: z"], ["a: x"])


def test_lessons_that_turned_are_named_and_not_those_that_were_not_run():
    good = stored_lesson()
    green = stored_run(off=good, failed=good, stopped=good, later=good, fine=good)
    now = stored_run(
        off=stored_lesson(ok=False),
        failed=stored_lesson("failed", ok=False),
        stopped=stored_lesson("stopped", ok=False),
        later=stored_lesson("not run", ok=False),
        fine=good,
        fresh=stored_lesson("failed", ok=False),
    )
    assert changes(green, now).worse == ["off", "failed"]


def test_versions_and_code_that_differ():
    green = stored_run(code="1")._replace(versions={"torch": "2.6", "mujoco": "4", "numpy": "2"})
    now = stored_run(code="2")._replace(versions={"torch": "2.7", "numpy": "2", "python": "3.12"})
    found = changes(green, now)
    assert found.versions == {
        "torch": ("2.6", "2.7"),
        "mujoco": ("4", "none"),
        "python": ("none", "3.12"),
    }
    assert found.code
    assert not changes(green, now._replace(code="1")).code
    assert not changes(green._replace(code=""), now).code  # an older version did not say


def test_in_words():
    green = stored_run(a=stored_lesson(x=1.0, y=1.0, w=1.0), code="1")
    assert in_words(History([], None)) == ""
    assert in_words(history_of([green._replace(ok=False)], green)).startswith("no earlier run")
    since = "since the last green run (before, 2026-01-02 03:04:05): "
    assert in_words(history_of([green], green)) == f"{since}nothing changed"
    old = green._replace(code="")
    assert in_words(history_of([old], green)) == f"{since}no figure changed; its code is not known"
    now = stored_run(a=stored_lesson(ok=False, x=(2.0, "outside"), y=1.0, z=3.0), code="2")
    now = now._replace(versions={"torch": "2.8"})
    assert in_words(history_of([green], now)) == (
        f"{since}torch 2.7 -> 2.8, the code is another, a is no longer as it should be, "
        "changed figures: 1, new figures: 1, missing figures: 1"
    )


# ------------------------------------------------------------------ writing


def page_of(history, tmp_path):
    write_report(tmp_path / "report.html", NOW, history)
    return (tmp_path / "report.html").read_text()


def test_the_page_shows_the_changes_and_escapes_every_text(tmp_path):
    bad = "<script>"
    green = stored_run("a?b#c'\"<i>", **{bad: stored_lesson(**{bad: 1.0, "lost": 1.0})})
    green = green._replace(versions={bad: bad}, started=bad)
    now = stored_run(**{bad: stored_lesson(ok=False, **{bad: (1.5, "outside"), "z<": 1.0})})
    page = page_of(history_of([green], now), tmp_path)
    assert "<script" not in page
    assert page.count('href="../a%3Fb%23c%27%22%3Ci%3E/report.html"') == 2
    assert "&lt;script&gt; &lt;script&gt; → none" in page
    assert "missing figure: &lt;script&gt;: lost" in page
    assert "new figure: &lt;script&gt;: z&lt;" in page
    assert "is no longer as it should be" in page
    assert "+50 %" in page
    assert '<tr class="attention">' in page
    assert "1 of 1" in page


def test_the_page_says_so_when_nothing_changed_when_nothing_is_green_and_when_all_is_new(tmp_path):
    run = stored_run(a=stored_lesson(x=1.0))
    assert "Nothing: versions and every" in page_of(history_of([run], run), tmp_path)
    assert "None of them is green" in page_of(history_of([run._replace(ok=False)], run), tmp_path)
    assert "Earlier runs" not in page_of(history_of([], run), tmp_path)


def test_the_page_is_short_however_long_the_history_is(tmp_path):
    names = [f"x{number}" for number in range(30)]
    green = stored_run(a=stored_lesson(**dict.fromkeys(names, 1.0)))
    now = stored_run(a=stored_lesson(**dict.fromkeys(names, 2.0)))
    page = page_of(history_of([green] * 15, now), tmp_path)
    assert page.count("+100 %") == 20
    assert page.count("/report.html") == SHOWN + 1  # the green one is in the heading too
    assert "and 10 that changed less" in page


def test_metrics_hold_the_history():
    green = stored_run(a=stored_lesson(x=1.0, zero=0.0))
    now = stored_run(a=stored_lesson(x=2.0, zero=1.0))
    found = json.loads(json.dumps(to_json(history_of([green], now)), allow_nan=False))
    assert found["earlier"] == [
        {"folder": "before", "started": green.started, "ok": True, "sound": 1, "lessons": 1}
    ]
    assert found["since_green"]["since"] == "before"
    assert found["since_green"]["figures"][1] == {
        "lesson": "a",
        "name": "x",
        "unit": "return",
        "old": 1.0,
        "new": 2.0,
        "verdict": "inside",
    }
    assert to_json(History([], None)) == {"earlier": [], "since_green": None}


def test_a_run_is_compared_with_those_beside_it(tmp_path, monkeypatch, capsys):
    root = write_course(tmp_path, lesson_00_start=LESSON, lesson_01_next=LESSON)
    papermill = FakePapermill()
    monkeypatch.setattr(batch, "execute", papermill)
    for number, (gap, versions) in enumerate([(1.0, {"torch": "1"}), (1.5, {"torch": "2"})]):
        monkeypatch.setattr(runner, "versions", lambda found=versions: found)
        papermill.figures = {"01_next": {"gap": gap}}
        assert run_course(root, profile="smoke", seed=4, out=root / "runs" / f"{number}") == 0
        assert run_course(root, profile="smoke", seed=5, out=root / "runs" / f"five{number}") == 0
    page = (root / "runs/1/report.html").read_text()
    assert "torch 1 → 2" in page
    assert 'href="../0/report.html"' in page
    assert "five0" not in page
    found = json.loads((root / "runs/1/metrics.json").read_text())["history"]
    assert [each["folder"] for each in found["earlier"]] == ["0"]
    assert found["since_green"]["figures"][0]["new"] == 1.5
    shown = capsys.readouterr().out
    assert shown.count("since the last green run (0, ") == 1
    assert "): torch 1 -> 2, changed figures: 1\nreport: " in shown
