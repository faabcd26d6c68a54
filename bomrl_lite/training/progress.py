"""How far something long has come: bars in a terminal, plain lines where output is a file.

``training_progress`` shows a meta-training; ``make_bars`` is what other long work draws with.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bars

from bomrl_lite.training.run_folder import Progress, Row

_MEMORY = 7 * 24 * 3600.0  # seconds: an iteration of robots takes longer than rich's usual 30


def make_bars(console: Console | None = None) -> Bars:
    """Return bars, one for each task; where output is no terminal none is drawn.

    Lines printed on their ``console`` come as they are, in a terminal above the bars.
    """
    # soft_wrap, or a line would be cut at the width of a terminal that is not there
    console = console or Console(markup=False, highlight=False, emoji=False, soft_wrap=True)
    return Bars(
        MofNCompleteColumn(),
        BarColumn(bar_width=20),
        TimeRemainingColumn(),
        TextColumn("{task.description}", markup=False),
        console=console,
        disable=not console.is_interactive,
        speed_estimate_period=_MEMORY,
    )


@contextmanager
def training_progress(bars: Bars | None = None) -> Iterator[Progress]:
    """Yield the progress callback of a meta-training; outside a terminal, ten lines of a run.

    The time left is reckoned from the iterations of this process: a resumed run has done others,
    elsewhere.

    Args:
        bars: what to draw with, by default :func:`make_bars`.
    """
    with bars or make_bars() as bars:
        task = bars.add_task("", total=None)

        def show(done: int, total: int, row: Row) -> None:
            bars.update(task, completed=done, total=total, description=describe(row))
            if bars.disable and (done % max(1, total // 10) == 0 or done == total):
                left = bars.tasks[task].time_remaining
                time = "" if left is None else f"  {timedelta(seconds=round(left))} left"
                bars.console.print(f"{done:>5}/{total}  {describe(row)}{time}")

        yield show


def describe(row: Row) -> str:
    """Lay out the newest row of a history: returns, and what there is of diagnostics."""
    text = f"return {row['return_before']:+.4f} -> {row['return_after']:+.4f}"
    if "gradient_norm" in row:
        text += f"  gradient {row['gradient_norm']:.1e}"
    if row.get("unsolved"):
        text += f"  {row['unsolved']:g} unsolved"
    return text
