"""Files that students sent: found in folders and zips as LMSs export them, and read from there.

Nothing is unpacked onto the disk: a file in a zip is read where it lies, within bounds.
"""

import lzma
import re
import stat
import unicodedata
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from io import BytesIO
from pathlib import Path, PurePosixPath
from typing import IO, NamedTuple

MIB = 2**20
_ADDED = re.compile(r".*_attempt_[\d-]+\.txt|timestamp\.txt|thumbs\.db|desktop\.ini|__macosx", re.I)
"""What LMSs and systems add; hidden files are passed over too."""
_ARCHIVES = (".rar", ".7z", ".tar", ".gz", ".tgz", ".bz2", ".xz")
_BROKEN = (
    zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, OSError, ValueError,
    NotImplementedError, RuntimeError,
)  # fmt: skip
"""What the standard library raises for an archive that is damaged, or locked by a password."""


@dataclass(frozen=True)
class Bounds:
    """How much of what a student sends is read."""

    file_mib: int = 200
    """Of one file, or of an archive in an archive."""
    entries: int = 20_000
    """Of one archive."""
    depth: int = 3
    """Archives within one another."""


class Found(NamedTuple):
    """One file that was sent, on the disk or in an archive there."""

    parts: tuple[str, ...]
    """Names of the folders and archives that it lies in, from the root of the disk, and its own."""
    path: Path
    """On the disk: its own, or that of the outermost archive."""
    entries: tuple[int, ...] = ()
    """Its place in that archive, then in the archive there, and so on."""
    changed: str = ""
    """When it was last changed, as the disk or the archive says: sorts by time."""
    problem: str = ""
    """Why it cannot be a notebook, and what to do; empty if it may be one."""

    @property
    def name(self) -> str:
        """The file's own name, under the archive's if it lies in one."""
        return shown("/".join(self.parts[len(self.path.parts) - 1 :]))


class Unreadable(ValueError):  # noqa: N818 - a verdict on a file
    """A file is no notebook; the message says why, and what to do."""


def walk(path: Path, bounds: Bounds) -> Iterator[Found]:
    """Find the files of a folder, of a zip, or the file itself, in the order of their names."""
    parts = path.parts
    try:
        if path.is_dir():
            inside = [each for each in sorted(path.iterdir()) if not _passed_over(each.name)]
            if not inside:
                yield Found(parts, path, problem="the folder is empty: nothing was handed in")
            for each in inside:
                if each.is_symlink():
                    problem = "it is a link, which is not followed: ask for the file itself"
                    yield Found(each.parts, each, problem=problem)
                else:
                    yield from walk(each, bounds)
            return
        about = path.stat()
        changed = f"{datetime.fromtimestamp(about.st_mtime):%Y-%m-%dT%H:%M:%S}"
        if not stat.S_ISREG(about.st_mode):
            yield Found(parts, path, problem="it is no file that can be read: ask for the notebook")
        elif path.suffix.lower() == ".zip":
            with path.open("rb") as file:
                yield from _walk_archive(file, Found(parts, path), 1, bounds)
        else:
            yield Found(parts, path, changed=changed, problem=_problem_of_name(path.name))
    except OSError as error:
        yield Found(parts, path, problem=f"it cannot be read ({error.strerror}): allow it")


def read_bytes(found: Found, bounds: Bounds = Bounds()) -> bytes:
    """Return the content of a file, from inside its archives.

    Raises:
        Unreadable: it is no notebook by its name, too large, damaged, or may not be read.
    """
    if found.problem:
        raise Unreadable(found.problem)
    try:
        with found.path.open("rb") as file:
            if not found.entries:
                return _read(file, bounds)
            for number in found.entries[:-1]:
                file = BytesIO(_entry(file, number, bounds))
            return _entry(file, found.entries[-1], bounds)
    except Unreadable:
        raise
    except _BROKEN as error:
        raise Unreadable(f"it cannot be read ({_said(error)}): ask for it again") from error


def holds_others(path: Path) -> bool:
    """Tell whether a path is a folder, or an archive that is opened like one."""
    return path.is_dir() or path.suffix.lower() == ".zip"


def shown(text: str) -> str:
    """Return a text that any file can hold and any page show: one line, no control characters."""
    composed = unicodedata.normalize("NFC", text.encode("utf-8", "replace").decode())
    return " ".join("".join(c if c.isprintable() else " " for c in composed).split())


def _walk_archive(file: IO[bytes], archive: Found, depth: int, bounds: Bounds) -> Iterator[Found]:
    """Find the files of a zip, and of the zips in it."""
    try:
        with zipfile.ZipFile(file) as opened:
            entries = opened.infolist()
    except _BROKEN as error:
        reason = f"the archive cannot be read ({_said(error)}): ask for it again"
        yield archive._replace(problem=reason)
        return
    if len(entries) > bounds.entries:
        yield archive._replace(
            problem=f"the archive has {len(entries)} entries, more than {bounds.entries}: "
            "unpack it and name the folder"
        )
        return
    nothing = True
    for number, entry in enumerate(entries):
        parts = PurePosixPath(entry.filename.replace("\\", "/")).parts
        inside = tuple(part for part in parts if part not in ("..", "/"))
        if entry.is_dir() or not inside or any(map(_passed_over, inside)):
            continue
        nothing = False
        leads_out = ".." in parts or parts[0] == "/" or parts[0].endswith(":")
        changed = "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}".format(*entry.date_time)
        found = Found((*archive.parts, *inside), archive.path, (*archive.entries, number), changed)
        if leads_out:
            problem = "its name leads out of the archive: ask for an archive made in the usual way"
            yield found._replace(problem=problem)
        elif not parts[-1].lower().endswith(".zip"):
            yield found._replace(problem=_problem_of_name(parts[-1]))
        elif depth >= bounds.depth:
            problem = f"an archive below {depth} others is not opened: ask for the notebook alone"
            yield found._replace(problem=problem)
        else:
            yield from _walk_inner(file, found, depth, bounds)
    if nothing:
        yield archive._replace(problem="the archive is empty: nothing was handed in")


def _walk_inner(file: IO[bytes], found: Found, depth: int, bounds: Bounds) -> Iterator[Found]:
    """Find the files of a zip that is an entry of another."""
    try:
        inner = BytesIO(_entry(file, found.entries[-1], bounds))
    except Unreadable as problem:
        yield found._replace(problem=str(problem))
    except _BROKEN as error:
        problem = f"the archive cannot be read ({_said(error)}): ask for it again"
        yield found._replace(problem=problem)
    else:
        yield from _walk_archive(inner, found, depth + 1, bounds)


def _entry(file: IO[bytes], number: int, bounds: Bounds) -> bytes:
    """Return the content of an entry of an archive."""
    with zipfile.ZipFile(file) as archive, archive.open(archive.infolist()[number]) as entry:
        return _read(entry, bounds)


def _read(file: IO[bytes], bounds: Bounds) -> bytes:
    """Read a whole file; what an archive says of an entry's size is not trusted."""
    data = file.read(bounds.file_mib * MIB + 1)
    if len(data) > bounds.file_mib * MIB:
        raise Unreadable(
            f"it has more than {bounds.file_mib} MiB: ask for it again without its outputs "
            "(Edit, Clear Outputs of All Cells)"
        )
    return data


def _passed_over(name: str) -> bool:
    return name.startswith((".", "~$")) or _ADDED.fullmatch(name) is not None


def _problem_of_name(name: str) -> str:
    """Say why a file cannot be a notebook, if its name tells; browsers add to ``.ipynb``."""
    lower, ending = name.lower(), PurePosixPath(name.lower()).suffix
    if ".ipynb" in lower or ending == ".json":
        return ""
    if ending == ".py":
        return "it is a Python script: ask for the notebook, the .ipynb file"
    if ending in _ARCHIVES:
        return f"archives of the kind {ending} are not opened: unpack it, or ask for a zip"
    return f"it is no notebook (its name ends in {ending or 'nothing'}): ask for the .ipynb file"


def _said(error: BaseException) -> str:
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
