"""Where a command reads and writes: looked at before the work begins, named when it fails."""

import errno
import os
from pathlib import Path

RUN_FILES = ("config.json", "history.csv", "checkpoint.pt", "origin.json", "evaluation.csv")
"""What a run folder holds; nothing else is written under these names."""

_NO_ROOM = "there is no room left for {}: make some, then repeat the command"
_NOT_ALLOWED = "{} may not be read or written by you: change its permissions, or name another place"
_IN_A_FILE = "{} is, or lies in, a file where a folder is meant: name another place"
_WORDS = {
    errno.ENOENT: "{} does not exist: check the name",
    errno.EEXIST: _IN_A_FILE,
    errno.ENOTDIR: _IN_A_FILE,
    errno.EISDIR: "{} is a folder where a file is meant: name a file",
    errno.EACCES: _NOT_ALLOWED,
    errno.EPERM: _NOT_ALLOWED,
    errno.EROFS: _NOT_ALLOWED,
    errno.ENOSPC: _NO_ROOM,
    errno.EDQUOT: _NO_ROOM,
    errno.ENAMETOOLONG: "the name {} is too long: choose a shorter one",
}


def in_words(error: OSError) -> str:
    """Say what the system refused, where, and what to do; our own errors say so already."""
    if error.errno is None:
        return str(error)
    # Of a rename the second name is the one that was asked for.
    place = error.filename2 or error.filename or "a file"
    usual = f"{error.strerror or type(error).__name__}: {{}}: name another place"
    return _WORDS.get(error.errno, usual).format(place)


def require_run(run: Path) -> None:
    """Refuse a file where the folder of a run is meant.

    Raises:
        NotADirectoryError: it is one.
    """
    if run.is_file():
        raise NotADirectoryError(
            f"{run} is a file, and the folder of a run is meant: name the one that train wrote"
        )


def require_table(file: Path) -> None:
    """Refuse the name of another kind of file, which a table would replace.

    Raises:
        ValueError: it does not end in .csv, or is that of a run's history.
    """
    if file.suffix.lower() != ".csv" or file.name.lower() == "history.csv":
        raise ValueError(
            f"a table is written, and {file} is the name of another kind of file, which it would "
            f"replace; name one like {file.with_name('evaluation.csv')}"
        )


def require_writable(file: Path) -> None:
    """Refuse a file that could not be written, before anything is computed or made for it.

    Raises:
        IsADirectoryError: a folder is there.
        NotADirectoryError: its folder is, or lies in, a file.
        PermissionError: its folder may not be written to.
    """
    if file.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(file))
    # The nearest that is there: the folders below it will be made.
    above = next(folder for folder in file.absolute().parents if folder.exists())
    if not above.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(above))
    if not os.access(above, os.W_OK | os.X_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(above))
