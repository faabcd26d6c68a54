"""Tables as plain text: the same in a terminal, a notebook and a file, and never cut."""

import io
from collections.abc import Collection, Iterable, Sequence

from rich.console import Console
from rich.table import Table

_WIDE = 10_000  # columns: a table is as wide as it needs to be


def as_table(
    header: Sequence[str], rows: Iterable[Sequence[str]], *, right: Collection[str] = ()
) -> str:
    """Lay out rows below a header, with two blanks between the columns.

    Args:
        header: names of the columns.
        rows: one text per column.
        right: those of the columns that are aligned on the right, as numbers are read.
    """
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="")
    for name in header:
        table.add_column(name, justify="right" if name in right else "left", no_wrap=True)
    for row in rows:
        table.add_row(*row)
    text = io.StringIO()
    console = Console(
        file=text, width=_WIDE, color_system=None, force_terminal=False, force_jupyter=False,
        markup=False, highlight=False, emoji=False,
    )  # fmt: skip
    console.print(table)
    return "\n".join(line.rstrip() for line in text.getvalue().splitlines())
