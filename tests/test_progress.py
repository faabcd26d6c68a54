"""Progress and tables, in a terminal and in a file."""

import io
import re

import pytest
from rich.console import Console

from bomrl_lite.training.progress import describe, make_bars, training_progress
from bomrl_lite.training.tables import as_table

ROW = {"return_before": -0.5, "return_after": 0.25, "gradient_norm": 0.0123, "unsolved": 0.0}


def progress_at(times: list[float], first: int = 41, total: int = 100, **kind) -> str:
    """Show iterations 41, 42, ... of 100, each finished at one of these seconds."""
    file, now = io.StringIO(), [0.0]
    bars = make_bars(Console(file=file, width=100, **kind))
    bars.get_time = lambda: now[0]
    with training_progress(bars) as show:
        for done, now[0] in enumerate(times, first):
            show(done, total, ROW)
    return file.getvalue()


def test_the_time_left_is_reckoned_from_the_iterations_of_this_process():
    """A run resumed at 40 of 100; ten iterations in 20 seconds leave 50 in 100 seconds."""
    out = progress_at([2.0 * k for k in range(1, 11)])
    assert out == "   50/100  return -0.5000 -> +0.2500  gradient 1.2e-02  0:01:40 left\n"


def test_iterations_of_minutes_have_a_time_left_too():
    out = progress_at([600.0 * k for k in range(1, 11)])
    assert out.endswith("8:20:00 left\n")


def test_a_file_gets_every_tenth_iteration_and_the_last():
    lines = progress_at([1.0 * k for k in range(25)], first=1, total=25).splitlines()
    assert [line.split()[0] for line in lines] == [f"{2 * k}/25" for k in range(1, 13)] + ["25/25"]


def test_a_terminal_gets_a_bar_that_stays_on_its_line():
    out = progress_at([1.0, 2.0, 3.0], force_terminal=True, color_system=None)
    shown = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", out).replace("\r", "\n").split("\n")
    last = [line for line in shown if "43/100" in line][-1]
    assert "0:00:57 return -0.5000 -> +0.2500  gradient 1.2e-02" in last
    assert max(map(len, shown)) <= 100


def test_progress_names_unsolved_inner_problems():
    assert "unsolved" not in describe(ROW)
    assert describe({**ROW, "unsolved": 3.0}).endswith("  3 unsolved")


def test_a_table_is_as_wide_as_it_needs_to_be_and_shows_what_it_is_given():
    long = "a name of " + "very " * 40 + "many words"
    text = as_table(("name", "n"), [(long, "2"), ("[b]short[/b] :bug:", "10")], right=("n",))
    assert text == "\n".join(
        [f"{'name':<{len(long)}}   n", f"{long}   2", f"{'[b]short[/b] :bug:':<{len(long)}}  10"]
    )


@pytest.mark.parametrize("rows", [[], [("1", "2")]])
def test_a_table_without_rows_is_its_header(rows):
    assert as_table(("a", "b"), rows).splitlines()[0] == "a  b"
