"""Figures of the robots: what is drawn is what the table says, and the clock of the profile."""

import time
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from bomrl_lite.course import plots
from bomrl_lite.course.experiments.locomotion import ARMS
from bomrl_lite.course.plots.robots import ARM_COLOURS, ARM_MARKERS, PIECES, ROBOT_FIGURES
from bomrl_lite.course.profiling import cpu_profile

COLUMNS = ("method", "seed", "kind", "iteration", "steps", "seconds", "adaptations", "episodes")
EMPTY = dict.fromkeys(COLUMNS, float("nan"))


def row(method, seed, kind, value, **columns):
    return {**EMPTY, "method": method, "seed": str(seed), "kind": kind, **columns, "return": value}


def table():
    """Two seeds of two methods; seed s of method m earns 100 m + 10 s + x at place x."""
    rows = []
    for m, method in enumerate(("untrained", "ProMP", "BO-MRL")):
        for s in range(2):
            base = 100 * m + 10 * s
            if method != "untrained":
                rows += [
                    row(method, s, "training", base + i, iteration=i, steps=1e6 * (i + 1),
                        seconds=(i + 1) * (2.0 + s))
                    for i in range(3)
                ]  # fmt: skip
            rows += [row(method, s, "steps", base + k, adaptations=k) for k in range(4)]
            rows += [row(method, s, "episodes", base + e, episodes=e) for e in (1, 2, 5, 10, 20)]
    rows.append(row("MAML-TRPO", 0, "failed", float("nan")))
    return pd.DataFrame(rows)


def lines(ax, method, marker="None"):
    """Return the lines of a method with dots of a form, or without (None) as arrays [2, points]."""
    colour = ARM_COLOURS[method]
    chosen = [x for x in ax.lines if x.get_color() == colour and x.get_marker() == marker]
    return [np.array(x.get_data(), dtype=float) for x in chosen if x.get_linestyle() != "--"]


def test_training_is_drawn_over_steps_and_over_the_mean_of_the_seconds():
    over_steps, over_time = ROBOT_FIGURES["cheetah_direction"](table()).axes[:2]
    for ax, expected in ((over_steps, [1, 2, 3]), (over_time, [2.5, 5.0, 7.5])):
        (line,) = lines(ax, "BO-MRL")
        np.testing.assert_allclose(line, [expected, [205, 206, 207]])
        band = ax.collections[-1].get_paths()[0].vertices
        assert (band[:, 1].min(), band[:, 1].max()) == (200, 212)


def test_the_untrained_level_is_the_mean_after_one_adaptation():
    for ax in ROBOT_FIGURES["cheetah_direction"](table()).axes[:2]:
        (level,) = (x.get_ydata()[0] for x in ax.lines if x.get_linestyle() == "--")
        assert level == (1 + 11) / 2


@pytest.mark.parametrize(("panel", "places"), [(2, range(4)), (3, np.log2([1, 2, 5, 10, 20]))])
def test_adaptations_and_episodes_show_every_seed_and_the_mean(panel, places):
    ax = ROBOT_FIGURES["cheetah_direction"](table()).axes[panel]
    counts = range(4) if panel == 2 else (1, 2, 5, 10, 20)
    (mean,), (dots,) = lines(ax, "ProMP"), lines(ax, "ProMP", ARM_MARKERS["ProMP"])
    np.testing.assert_allclose(mean[0], places, atol=0.1)
    np.testing.assert_allclose(mean[1], [105 + count for count in counts])
    assert sorted(dots[1]) == sorted(100 + 10 * s + count for s in range(2) for count in counts)


def test_a_failed_training_is_named_in_the_legend():
    (legend,) = ROBOT_FIGURES["ant_velocity"](table()).legends
    names = [text.get_text() for text in legend.get_texts()]
    assert names == ["untrained", "MAML-TRPO (1 failed)", "ProMP", "BO-MRL"]


def test_a_seed_that_broke_down_hides_no_other_and_is_named():
    frame = table()
    figure = ROBOT_FIGURES["cheetah_direction"](frame)
    plain = [ax.get_ylim() for ax in figure.axes]
    assert not any("below" in text.get_text() for text in figure.texts)
    broken = [
        row("ProMP", 2, "steps", -9000.0, adaptations=1),
        row("ProMP", 2, "training", -9000.0, iteration=2, steps=3e6, seconds=6.0),
    ]
    figure = ROBOT_FIGURES["cheetah_direction"](pd.concat([frame, pd.DataFrame(broken)]))
    for ax, (low, high) in zip(figure.axes, plain, strict=True):
        assert low - 2 * (high - low) < ax.get_ylim()[0] < low + 5
    (told,) = (text.get_text() for text in figure.texts if "below" in text.get_text())
    assert told.endswith("below the frame: ProMP")


def test_yardsticks_by_hand():
    """Test goals lie evenly about the middle of [0, 2] and [0, 3]; a quarter away on average."""
    cheetah, ant = (plots.yardsticks(f"{robot}/velocity") for robot in ("cheetah", "ant"))
    assert cheetah["standing still"] == pytest.approx(-100.0, abs=1e-3)
    assert cheetah["best constant speed"] == pytest.approx(-50.0, abs=1e-3)
    assert ant["standing still"] == pytest.approx(200 * (1.05 - 1.5), abs=1e-2)
    assert ant["best constant speed"] == pytest.approx(200 * (1.05 - 0.75), abs=1e-2)
    both = plots.yardsticks("ant/direction", horizon=100).values()
    assert list(both) == pytest.approx([105.0, 105.0], abs=1e-3)


def test_yardsticks_are_drawn_and_two_that_agree_are_one():
    for name, expected in (("cheetah_velocity", [-100, -50]), ("cheetah_direction", [0])):
        for ax in ROBOT_FIGURES[name](table()).axes:
            levels = [x.get_ydata()[0] for x in ax.lines if x.get_linestyle() == ":"]
            assert levels == pytest.approx(expected, abs=1e-3)


def test_collections_start_with_the_return_before_them():
    frame = pd.DataFrame(
        [
            {"method": "ProMP", "seed": str(s), "collections": c, "before": s, "return": 10 * c + s}
            for s in range(2)
            for c in (1, 2, 4)
        ]
    )
    (ax,) = ROBOT_FIGURES["collections"](frame).axes
    (mean,), (dots,) = lines(ax, "ProMP"), lines(ax, "ProMP", ARM_MARKERS["ProMP"])
    np.testing.assert_allclose(mean, [[0, 1, 2, 3], [0.5, 10.5, 20.5, 40.5]])
    assert sorted(dots[1]) == [0, 1, 10, 11, 20, 21, 40, 41]
    assert [text.get_text() for text in ax.get_xticklabels()] == ["none", "1", "2", "4"]


def test_tuning_shows_what_was_tried_and_counts_the_diverged_and_the_far():
    values = [1.0, 2.0, float("nan"), float("nan"), -900.0]
    frame = pd.DataFrame(
        [
            {"method": m, "trial": c, "return": v}
            for m in ("BO-MRL", "MAML-TRPO")
            for c, v in enumerate(values if m == "BO-MRL" else range(5))
        ]
    )
    (ax,) = ROBOT_FIGURES["cheetah_tuning"](frame).axes
    drawn = {x.get_color(): x.get_xdata() for x in ax.lines}
    np.testing.assert_array_equal(drawn[ARM_COLOURS["BO-MRL"]], [1, 2])
    np.testing.assert_array_equal(drawn[ARM_COLOURS["MAML-TRPO"]], range(5))
    told = [(t.get_text().strip(), t.get_position()[1]) for t in ax.texts]
    assert told == [("2 diverged, 1 further down", 0.9)]


def test_leads_are_those_of_every_form_of_bomrl_over_the_baselines_that_are_there():
    leads = plots.lead_table(table())
    assert list(leads["lead of"].unique()) == ["BO-MRL"]
    assert list(leads["over"].unique()) == ["ProMP"]
    assert list(leads["adaptations"]) == [1, 3]
    assert list(leads["mean"]) == [100.0, 100.0]
    assert list(leads["wins"]) == list(leads["seeds"]) == [2, 2]


def test_every_arm_has_a_colour_of_its_own():
    assert set(ARM_COLOURS) == {"untrained", *ARMS}
    assert len(set(ARM_COLOURS.values())) == len(ARM_COLOURS)


def test_bars_of_time_are_multiples_of_the_physics():
    pieces = dict.fromkeys(PIECES, 0.5) | {"physics": 2.0}
    ax = plots.time_bars(pd.DataFrame({"one": pieces}).T).axes[0]
    widths = [bar.get_width() for bar in ax.patches]
    assert widths == [1.0] + [0.25] * (len(PIECES) - 1)
    starts = [bar.get_x() for bar in ax.patches]
    np.testing.assert_allclose(starts, np.cumsum([0, *widths[:-1]]))
    assert ax.texts[0].get_text() == f"{sum(widths):.2f}"


def test_costs_and_rates_are_drawn_as_they_are():
    frame = pd.DataFrame({"robots": [1, 16], "who": "ours", "microseconds": [200.0, 50.0]})
    np.testing.assert_array_equal(
        plots.cost_per_step(frame).axes[0].lines[0].get_xydata(), [[1, 200], [16, 50]]
    )
    rates = pd.DataFrame({"robots": [1, 16], "backend": "mujoco", "rate": [5e3, 2e4]})
    ax = plots.throughput(rates).axes[0]
    np.testing.assert_array_equal(ax.lines[0].get_xydata(), [[1, 5e3], [16, 2e4]])


def test_a_contact_sheet_has_a_title_for_every_picture():
    sheet = plots.contact_sheet({name: np.zeros((3, 4, 3), np.uint8) for name in "abcde"})
    assert [ax.get_title() for ax in sheet.axes] == [*"abcde", "", "", ""]


def test_a_profile_counts_no_second_twice_and_leaves_everything_as_it_was(monkeypatch):
    now = SimpleNamespace(seconds=0.0)
    monkeypatch.setattr(time, "process_time", lambda: now.seconds)

    class Work:
        def outer(self):
            now.seconds += 1
            self.inner()
            now.seconds += 2
            self.inner()

        def inner(self):
            now.seconds += 10

    def work():
        now.seconds += 100
        Work().outer()

    before = dict(vars(Work))
    pieces = {"outer": (Work, "outer"), "inner": (Work, "inner")}
    assert cpu_profile(work, pieces) == {"outer": 3.0, "inner": 20.0, "rest": 100.0}
    assert dict(vars(Work)) == before


def test_a_profile_of_work_that_fails_puts_the_functions_back():
    class Work:
        def piece(self):
            raise ValueError("as planned")

    piece = Work.piece
    with pytest.raises(ValueError, match="as planned"):
        cpu_profile(lambda: Work().piece(), {"piece": (Work, "piece")})
    assert Work.piece is piece
