"""Every figure: its means are those of its table, its letters are legible, its colours known."""

import importlib
import inspect
import io
import pkgutil
from functools import cache

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from figure_cases import CASES
from matplotlib.colors import to_hex, to_rgb
from matplotlib.container import ErrorbarContainer
from matplotlib.figure import Figure
from matplotlib.text import Text
from PIL import Image

from bomrl_lite.course import plots
from bomrl_lite.course.plots import style
from bomrl_lite.course.plots.alternative import alternative_text
from bomrl_lite.course.plots.robots import ARM_COLOURS
from bomrl_lite.course.plots.sampled import METHOD_COLOURS, METHOD_LABELS

PAGE = 6.69
"""Inches of text on A4 between margins of 2 cm."""
DARK_PAGE = "#111111"
NOT_DRAWN = {"draw_experiment", "experiments.draw"}
"""It chooses one of the others."""


@pytest.fixture(autouse=True)
def _the_course_look():
    with plt.rc_context():
        plots.use_style()
        yield
    plt.close("all")


@cache
def figure_of(name: str) -> Figure:
    """Draw a case once, for all tests that look at it."""
    with plt.rc_context():
        plots.use_style()
        figure = CASES[name].draw()
        figure.canvas.draw()
        return figure


@cache
def shown(name: str) -> tuple[bytes, dict[str, str | int | bool]]:
    """What a notebook keeps of a case, but at one pixel per pixel of the page: fast."""
    with plt.rc_context(), pytest.MonkeyPatch.context() as patch:
        plots.use_style()
        patch.setattr(style, "DENSITY", 1)
        return style.shown(figure_of(name))


@pytest.fixture(params=CASES, ids=lambda name: name.replace(" ", "_"))
def name(request):
    return request.param


@pytest.fixture
def figure(name):
    return figure_of(name)


def drawing_functions() -> set[str]:
    """Public functions of the package of figures that return one, by module and name."""
    found = set()
    for info in pkgutil.iter_modules(plots.__path__):
        module = importlib.import_module(f"{plots.__name__}.{info.name}")
        for name, function in inspect.getmembers(module, inspect.isfunction):
            own = function.__module__ == module.__name__ and not name.startswith("_")
            if own and inspect.signature(function).return_annotation in (Figure, "Figure"):
                found.add(f"{info.name}.{name}")
    return found - NOT_DRAWN - {"style.figure_of"}


def test_every_function_that_draws_has_a_case_here():
    assert drawing_functions() <= set(CASES)
    assert {name for name in CASES if "." in name} <= drawing_functions()


def drawn(ax) -> dict[str, list[tuple[np.ndarray, np.ndarray]]]:
    """What axes show under each name: lines, and the dots of whiskers."""
    found: dict = {}
    for line in ax.lines:
        found.setdefault(str(line.get_label()), []).append(line.get_data())
    for container in ax.containers:
        if isinstance(container, ErrorbarContainer):
            name = str(container.get_label()).lstrip("_")
            found.setdefault(name, []).append(container[0].get_data())
    return {
        name: [tuple(np.asarray(part, dtype=float) for part in each) for each in parts]
        for name, parts in found.items()
    }


@pytest.mark.parametrize("which", [name for name, case in CASES.items() if case.expected])
def test_what_is_drawn_is_the_mean_of_the_table(which):
    """Arithmetic over seeds, median over tasks; never a mean of logarithms."""
    case = CASES[which]
    panels = figure_of(which).axes
    expected = case.expected()
    assert expected
    assert all(expected)
    for ax, curves in zip(panels, expected, strict=False):
        seen = drawn(ax)
        for label, (x, y) in curves.items():
            places = np.concatenate([part[0] for part in seen[label]])
            values = np.concatenate([part[1] for part in seen[label]])
            if not len(x):  # a method in every row: its value lies along the x axis
                np.testing.assert_allclose(places, y, rtol=1e-9)
                continue
            order = np.argsort(places)
            places, values = places[order], values[order]
            x, y = np.array(x, dtype=float), np.array(y)
            x, y = x[np.argsort(x)], y[np.argsort(x)]
            np.testing.assert_allclose(values, y, rtol=1e-9)
            np.testing.assert_allclose(places, x, rtol=1e-9, atol=case.aside)


def letters(figure: Figure) -> list[Text]:
    return [
        text
        for text in figure.findobj(Text)
        if text.get_visible() and text.get_text().strip() and text.get_window_extent().width > 0
    ]


def test_letters_have_eight_points_in_print_and_the_figure_700_pixels_on_screen(name, figure):
    width = figure.get_figwidth()
    smallest = min(text.get_fontsize() for text in letters(figure))
    assert smallest * min(1, PAGE / width) >= 8
    _, page = shown(name)
    assert page["width"] >= style.LEAST_WIDTH or page["height"] == style.MOST_HEIGHT
    assert page["width"] <= 844  # a column of JupyterLab: nothing is shrunk


def test_every_axis_with_ticks_has_two_of_them_that_are_named(figure):
    for ax in figure.axes:
        for axis in (ax.xaxis, ax.yaxis):
            low, high = sorted(axis.get_view_interval())
            inside = [
                tick
                for tick in axis.get_major_ticks()
                if low * (1 - 1e-9) - 1e-12 <= tick.get_loc() <= high * (1 + 1e-9) + 1e-12
            ]
            named = [t for t in inside if t.label1.get_text() and t.label1.get_visible()]
            shared = not axis.get_tick_params().get("labelbottom", True)
            if ax.axison and ax.get_visible() and inside and not shared and not ax.images:
                assert len(named) != 1, (ax.get_title(), axis.axis_name)


def test_iterations_have_whole_numbers(figure):
    for ax in figure.axes:
        if "iteration" in ax.get_xlabel() and ax.get_xscale() == "linear":
            low, high = ax.get_xlim()
            places = [place for place in ax.get_xticks() if low <= place <= high]
            assert all(float(place).is_integer() for place in places)


def test_legends_and_labels_stay_on_the_figure_and_off_the_panels_of_others(figure):
    width, height = figure.get_size_inches() * figure.dpi
    legends = [*figure.legends, *(ax.get_legend() for ax in figure.axes if ax.get_legend())]
    for legend in legends:
        box = legend.get_window_extent()
        assert box.x0 >= -1
        assert box.y0 >= -1
        assert box.x1 <= width + 1
        assert box.y1 <= height + 1
    for legend in figure.legends:
        if figure._suptitle is not None:
            assert not legend.get_window_extent().overlaps(figure._suptitle.get_window_extent())
        for ax in figure.axes:
            assert not legend.get_window_extent().overlaps(ax.get_window_extent())
    for ax in (ax for ax in figure.axes if ax.get_label() != "<colorbar>"):
        assert ax.get_window_extent().width > 60  # a panel squeezed to nothing shows nothing


def luminance(colour: str) -> float:
    parts = (x / 12.92 if x <= 0.04045 else ((x + 0.055) / 1.055) ** 2.4 for x in to_rgb(colour))
    return sum(w * part for w, part in zip((0.2126, 0.7152, 0.0722), parts, strict=True))


def contrast(one: str, other: str) -> float:
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


PAPERS = ("#ffffff", DARK_PAGE)


def test_text_has_the_best_contrast_that_one_grey_can_have_on_both_papers():
    """Their product is that of the papers with each other: no colour has 4.5 : 1 to both."""
    best = contrast(*PAPERS) ** 0.5
    assert best == pytest.approx(4.35, abs=0.01)
    assert min(contrast(style.INK, paper) for paper in PAPERS) > 0.98 * best


@pytest.mark.parametrize("paper", PAPERS)
def test_lines_are_seen_on_both_papers(paper):
    colours = [
        *style.COLOURS.values(),
        *style.WAYS.values(),
        *style.RUNGS.values(),
        *style.CYCLE,
        style.WATER,
        style.GOLD,
    ]
    assert {c: contrast(c, paper) for c in colours if contrast(c, paper) < 3} == {}


def known_colours() -> dict[str, str]:
    """Every name under which a method or a distance is drawn, and its colour."""
    known = style.COLOURS | style.WAYS
    known |= {style.LABELS[name]: style.COLOURS[name] for name in style.LABELS}
    known |= style.DISTANCE_COLOURS | ARM_COLOURS
    known |= {METHOD_LABELS[name]: colour for name, colour in METHOD_COLOURS.items()}
    return known


def colour_of(name: str) -> str | None:
    """The colour that a label must have: its own, or that of the method it begins with."""
    known = known_colours()
    starts = [
        start for start in known if name == start or name.startswith((f"{start}, ", f"{start} + "))
    ]
    return known[max(starts, key=len)] if starts else None


def test_a_method_and_a_distance_have_one_colour_in_all_figures(figure):
    for ax in figure.axes:
        handles = [(str(line.get_label()), line.get_color()) for line in ax.lines]
        handles += [
            (str(c.get_label()), c[0].get_color())
            for c in ax.containers
            if isinstance(c, ErrorbarContainer)
        ]
        for label, colour in handles:
            if expected := colour_of(label):
                assert (label, to_hex(colour)) == (label, expected)


def test_bomrl_with_a_distance_has_the_colour_of_the_distance():
    for name, colour in style.DISTANCE_COLOURS.items():
        assert style.COLOURS[f"bomrl_{name.lower()}"] == colour
        assert ARM_COLOURS[f"BO-MRL {name}"] == colour
    assert len(set(style.COLOURS.values())) == len(style.COLOURS)


def test_a_figure_has_no_paper(name):
    """Its margin is transparent: a page of any theme shows through."""
    picture = Image.open(io.BytesIO(shown(name)[0])).convert("RGBA")
    alpha = np.asarray(picture)[..., 3]
    assert alpha[0].max() == alpha[-1].max() == 0
    assert (alpha == 0).mean() > 0.1


def test_no_text_is_dark_on_no_paper(figure):
    """Text on a fill of its own may be dark; all other text is the grey of both papers."""
    for text in letters(figure):
        colour = to_hex(text.get_color())
        bare = text.axes is None or not (text.axes.patches or text.axes.collections)
        if bare and text.get_bbox_patch() is None:
            assert min(contrast(colour, paper) for paper in PAPERS) >= 3, text.get_text()
    for ax in figure.axes:
        for text in (ax.title, ax.xaxis.label, ax.yaxis.label, *ax.get_xticklabels()):
            assert min(contrast(to_hex(text.get_color()), paper) for paper in PAPERS) >= 3


def test_every_figure_says_in_words_what_it_shows(name):
    text = str(shown(name)[1]["alt"])
    assert 20 < len(text) < 1200
    assert "\n" not in text
    assert "$" not in text
    assert "\\" not in text
    assert text[0].isupper() or text[0].isdigit()


def test_a_condition_that_all_but_overflows_is_drawn():
    """An axis up to it has no next tick."""
    rows = [
        {"lam": lam, "distance": "D2", "task": 0, "condition": condition, "error: by state": 1e-9}
        for lam, condition in ((1e-4, 1.6e308), (1e-3, 1e290), (1e-2, 1e199), (1.0, 1e3))
    ]
    plots.condition_over_lam(pd.DataFrame(rows)).canvas.draw()


def test_the_words_name_the_best_first():
    figure, ax = plt.subplots()
    for name, end in (("low", 1.0), ("high", 3.0), ("middle", 2.0)):
        ax.plot([0, 5], [9.0, end], label=name)
    ax.set(xlabel="step", ylabel="return", yscale="log")
    assert alternative_text(figure) == (
        "Lines of return (logarithmic) over step; at the right end (x = 5), from the highest to "
        "the lowest: high 3, middle 2, low 1."
    )
