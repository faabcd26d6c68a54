"""Reading tables that a command wrote: whole, or refused with the name of the file."""

import csv
import io
from pathlib import Path

import pandas as pd

REMEDY = "make it anew: python -m bomrl_lite experiment {}"
"""What to do about a stored result of an experiment."""


def read_table(path: Path, remedy: str) -> pd.DataFrame:
    """Read a CSV file; a column ``seed`` is text, since seeds are names.

    Args:
        path: of the file.
        remedy: what to do about a file that is no such table, as the end of a sentence.

    Raises:
        FileNotFoundError: no such file.
        ValueError: it is no table, or not whole; names the file, and says what was found.
    """
    data = path.read_bytes()
    try:
        if not data.endswith(b"\n"):  # as a kill or a full disk leaves a copy
            raise ValueError("its last row is cut off" if data else "it is empty")
        rows = list(csv.reader(io.StringIO(data.decode(), newline="")))
        if odd := [n for n, row in enumerate(rows, 1) if len(row) != len(rows[0])]:
            found, wanted = len(rows[odd[0] - 1]), len(rows[0])
            raise ValueError(f"line {odd[0]} has {found} fields, the header {wanted}")
        return pd.read_csv(io.BytesIO(data), dtype={"seed": str})
    except (ValueError, csv.Error) as error:
        raise ValueError(f"{path} is not a whole table (CSV): {error}; {remedy}") from error
