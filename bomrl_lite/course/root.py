"""Where the course's files are: an installed package has none beside it."""

from pathlib import Path

MARKS = ("notebooks/src", "pyproject.toml")
"""What the folder of the course holds."""


def course_root(root: Path | None = None) -> Path:
    """Return the folder of the course.

    Args:
        root: that folder; left out, the current folder or the nearest above it that is one.

    Raises:
        FileNotFoundError: there is no course.
    """
    here = Path.cwd()
    for folder in [root] if root else [here, *here.parents]:
        if all((folder / mark).exists() for mark in MARKS):
            return folder.resolve()
    where = f"in {root}" if root else f"in {here} or above it"
    raise FileNotFoundError(
        f"there is no course {where}: it is the folder that holds {' and '.join(MARKS)}; "
        "work inside it, or name it to a command with --root"
    )
