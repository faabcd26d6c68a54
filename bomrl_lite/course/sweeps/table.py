"""What a sweep is doing: a table in a terminal, a line per unit where output is a file."""

import json
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

_TAIL = 5  # units that ended last


@contextmanager
def sweep_table(
    running: Path, total: int, console: Console | None = None
) -> Generator[Callable[[str], None], None, None]:
    """Show what runs where, and yield what takes a line for each unit that ended.

    Args:
        running: folder with a note of each unit that runs.
        total: units in all.
        console: where to show it.
    """
    console = console or Console(markup=False, highlight=False, emoji=False, soft_wrap=True)
    ended = list[str]()
    if not console.is_interactive:

        def say(line: str) -> None:
            ended.append(line)
            console.print(f"{len(ended)}/{total}  {line}")

        yield say
        return

    def draw() -> Group:
        lines = [Text(line, overflow="ellipsis", no_wrap=True) for line in ended[-_TAIL:]]
        return Group(*lines, running_table(running, len(ended), total))

    with Live(get_renderable=draw, console=console, refresh_per_second=1) as live:
        yield ended.append
        live.refresh()


def running_table(running: Path, ended: int, total: int) -> Table:
    """Return a table of what runs at this moment, from the notes that its processes keep.

    Args:
        running: folder of the notes.
        ended: units that came to an end.
        total: units in all.
    """
    table = Table(title=f"{ended} of {total} units done", title_justify="left")
    for name in ("running", "where", "iteration"):
        table.add_column(name, overflow="fold", justify="right" if name == "iteration" else "left")
    for note in sorted(running.glob("*.json")):
        try:
            told = json.loads(note.read_bytes())
        except (OSError, ValueError):
            continue  # it ended just now
        table.add_row(told["unit"], told["place"], f"{told['done']}/{told['total']}")
    return table
