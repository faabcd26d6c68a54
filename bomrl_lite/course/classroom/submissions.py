"""What students send: found in files, folders and zips as LMSs export them, and read.

Nothing is unpacked onto the disk: a notebook in a zip is read from there, within bounds, and the
name of an entry decides nothing but whose it is. What is no notebook gets a sentence that says what
to do about it; it never stops the others.
"""

import hashlib
import itertools
import json
import lzma
import os
import re
import stat
import unicodedata
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from io import BytesIO
from pathlib import Path, PurePosixPath
from typing import IO, Any, NamedTuple

import nbformat
from nbformat import NotebookNode

MIB = 2**20


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


class Submission(NamedTuple):
    """What one student sent."""

    student: str
    id: str
    """The LMS's number for the student, if the name of a file holds one."""
    late: bool
    """Whether the LMS says so."""
    files: tuple[Found, ...]
    """Notebooks first, those of the last attempt first of all."""


class Unreadable(ValueError):  # noqa: N818 - a verdict on a file
    """A file is no notebook; the message says why, and what to do."""


class Sender(NamedTuple):
    """What the name of a file or folder says of its sender."""

    student: str
    id: str = ""
    late: bool = False
    attempt: tuple[str, int] = ("", 0)
    """When, and which: sorts by time."""


_LMS = (
    # Moodle: Anna Lee_1234_assignsubmission_file_, a folder, or before the name of a file
    re.compile(r"(?P<name>[^_].*?)_(?P<id>\d+)_assignsubmission_[a-z]+(_.*)?", re.IGNORECASE),
    # Blackboard: Set 03_alee_attempt_2026-11-28-10-15-30_file.ipynb
    re.compile(r".*_(?P<name>[^_]+)_attempt_(?P<when>\d{4}(-\d\d){2,5})(_.*|\.\w+)?"),
    # Canvas: leeanna_LATE_12345_678_file.ipynb
    re.compile(r"(?P<name>[^_]+)(?P<late>_LATE)?_(?P<id>\d{2,})_(?P<number>\d{2,})_.+\.\w+"),
)
_ADDED = re.compile(r".*_attempt_[\d-]+\.txt|timestamp\.txt|thumbs\.db|desktop\.ini|__macosx", re.I)
"""What LMSs and systems add; hidden files are passed over too."""
_COPY = re.compile(r"(?:[-_ ]*\((\d+)\)|[-_ ]copy[-_ ]?(\d*))$", re.IGNORECASE)
"""How browsers and JupyterLab mark a further file of the same name."""
_RESENT = re.compile(r"-(\d{1,2})$")
"""How Canvas does; ``group-2`` may be a name as well."""
_ARCHIVES = (".rar", ".7z", ".tar", ".gz", ".tgz", ".bz2", ".xz")
_BROKEN = (
    zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, OSError, ValueError,
    NotImplementedError, RuntimeError,
)  # fmt: skip
"""What the standard library raises for an archive that is damaged, or locked by a password."""


def collect(
    paths: Iterable[Path], released: str = "", bounds: Bounds = Bounds()
) -> list[Submission]:
    """Find what students sent, and whose it is.

    A name in the manner of Canvas, Moodle or Blackboard says whose. Otherwise it is the first
    folder (or archive) in which the submissions differ, or the name of the file itself, unless that
    is the one that was handed out.

    Args:
        paths: notebooks, folders and zips.
        released: name of the notebook that was handed out, without its ending.
        bounds: how much is read.

    Returns:
        Submissions in the order of their students' names.

    Raises:
        FileNotFoundError: a path does not exist.
        ValueError: there is no path, or no notebook in any.
    """
    given = [Path(os.path.abspath(path)) for path in paths]
    if missing := [path for path in given if not path.exists()]:
        raise FileNotFoundError(f"{missing[0]} does not exist: name what students sent")
    loose = [path for path in given if not _holds_others(path)]
    groups = [[each for path in loose for each in _walk(path, bounds)]]
    groups += [list(_walk(path, bounds)) for path in given if path not in loose]
    every = [found for group in groups for found in group]
    if all(found.problem for found in every):
        where = ", ".join(map(str, given)) or "nothing"
        first = f" ({every[0].name}: {every[0].problem})" if every else ""
        raise ValueError(
            f"no notebook in {where}{first}; name notebooks, or a folder or zip that holds them"
        )
    sent = _by_student(groups, released)
    names = [name for name, _ in sent]
    submissions = [
        _submission(mine, twice=names.count(name) > 1) for (name, _), mine in sent.items()
    ]
    return sorted(submissions, key=lambda each: (each.student.casefold(), each.student, each.id))


def shown(text: str) -> str:
    """Return a text that any file can hold and any page show: one line, no control characters."""
    composed = unicodedata.normalize("NFC", text.encode("utf-8", "replace").decode())
    return " ".join("".join(c if c.isprintable() else " " for c in composed).split())


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


def read_notebook(data: bytes) -> NotebookNode:
    """Return a notebook of any format, as one of format 4, without outputs, unvalidated.

    Raises:
        Unreadable: the bytes are no notebook; says what they look like.
    """
    if not data.strip():
        raise Unreadable("the file is empty: ask for it again")
    try:
        raw = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise Unreadable(_not_json(data, error)) from None
    cells = list(_raw_cells(raw))
    if not isinstance(raw, dict) or (not cells and "cells" not in raw and "worksheets" not in raw):
        raise Unreadable("it holds no notebook, though it is JSON: ask for the .ipynb file itself")
    metadata = raw.get("metadata")
    about = metadata if isinstance(metadata, dict) else {}
    kept = {name: about[name] for name in ("kernelspec", "language_info") if name in about}
    made = {"cells": cells, "metadata": kept, "nbformat": 4, "nbformat_minor": 5}
    notebook = nbformat.from_dict(made)
    assert isinstance(notebook, NotebookNode)  # as it is for every dict
    return notebook


def fingerprint(submission: Submission, bounds: Bounds = Bounds()) -> str:
    """Return the SHA-256 of all that a student sent, in the order in which it counts."""
    whole = hashlib.sha256()
    for found in submission.files:
        try:
            content = hashlib.sha256(read_bytes(found, bounds)).hexdigest()
        except Unreadable as problem:
            content = str(problem)
        whole.update(f"{found.name}\n{content}\n".encode("utf-8", "replace"))
    return whole.hexdigest()


def _by_student(
    groups: Iterable[Sequence[Found]], released: str
) -> dict[tuple[str, str], list[tuple[Sender, Found]]]:
    """Return the files of each name and number; one that was named twice counts once."""
    sent: dict[tuple[str, str], list[tuple[Sender, Found]]] = {}
    seen = set[tuple[Path, tuple[int, ...]]]()
    for group in groups:
        for sender, found in zip(_senders(group, released), group, strict=True):
            place = (found.path.resolve(), found.entries)
            if place not in seen:
                sent.setdefault((sender.student.casefold(), sender.id), []).append((sender, found))
            seen.add(place)
    return sent


def _walk(path: Path, bounds: Bounds) -> Iterator[Found]:
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
                    yield from _walk(each, bounds)
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


def _holds_others(path: Path) -> bool:
    return path.is_dir() or path.suffix.lower() == ".zip"


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


def _senders(group: Sequence[Found], released: str) -> list[Sender]:
    """Say who sent the files of one export."""
    folders = [found.parts[:-1] for found in group]
    levels = zip(*folders, strict=False)
    shared = sum(1 for _ in itertools.takewhile(lambda names: len(set(names)) == 1, levels))
    alone = {
        found.parts[:-1]
        for found in group
        if released and _RESENT.sub("", _stem(found.parts[-1])[0]) == released
    }
    return [_sender(found, shared, alone) for found in group]


def _sender(found: Found, shared: int, alone: set[tuple[str, ...]]) -> Sender:
    """Say who sent a file.

    Args:
        found: the file.
        shared: how many folders it shares with all others of its export.
        alone: folders that hold the notebook under the name that it was handed out with: each is
            one student's, or the files of several would have had one name.
    """
    folder, number = found.parts[:-1], _stem(found.parts[-1])[1]
    for part in found.parts[min(shared, len(folder) - 1) :]:
        for pattern in _LMS:
            if match := pattern.fullmatch(part):
                said = match.groupdict()
                when = f"{said.get('when') or ''}/{int(said.get('number') or 0):020}"
                late = bool(said.get("late"))
                return Sender(_cleaned(said["name"]), said.get("id") or "", late, (when, number))
    if len(folder) > shared:
        name = folder[shared]
    elif folder in alone:
        name = folder[-1]
    else:
        return Sender(_cleaned(_stem(found.parts[-1])[0]), attempt=("", number))
    return Sender(_cleaned(name.removesuffix(".zip")), attempt=("", number))


def _stem(name: str) -> tuple[str, int]:
    """Return the name of a file without its ending and mark of a copy, and the copy's number."""
    stem = re.sub(r"\.ipynb\b.*$|\.\w{1,5}$", "", name, flags=re.IGNORECASE)
    if (copy := _COPY.search(stem)) and copy.start():
        return stem[: copy.start()], int(copy[1] or copy[2] or 1)
    resent = _RESENT.search(stem)
    return stem, int(resent[1]) if resent else 0


def _submission(mine: list[tuple[Sender, Found]], *, twice: bool) -> Submission:
    """Put the files of a student in the order in which they count.

    Args:
        mine: at least one.
        twice: whether another student has the same name.
    """

    def order(pair: tuple[Sender, Found]) -> tuple[Any, ...]:
        sender, found = pair
        return (not found.problem, sender.attempt[0], sender.attempt[1], found.changed, found.parts)

    latest = sorted(mine, key=order, reverse=True)
    sender = latest[0][0]
    student = f"{sender.student} ({sender.id or 'no number'})" if twice else sender.student
    return Submission(student, sender.id, sender.late, tuple(found for _, found in latest))


def _cleaned(name: str) -> str:
    return shown(name)[:100] or "no name"


def _raw_cells(raw: Any) -> Iterator[dict[str, Any]]:
    """Yield the cells of a notebook of format 4, or of 3 and before, whatever else is wrong."""
    if not isinstance(raw, dict):
        return
    sheets = [sheet for sheet in _items(raw.get("worksheets")) if isinstance(sheet, dict)]
    cells = itertools.chain(_items(raw.get("cells")), *(_items(s.get("cells")) for s in sheets))
    for cell in cells:
        if not isinstance(cell, dict):
            continue
        kind = "code" if cell.get("cell_type") == "code" else "markdown"
        metadata = cell.get("metadata")
        made = {
            "cell_type": kind,
            "source": _text(cell.get("source", cell.get("input", ""))),
            "metadata": metadata if isinstance(metadata, dict) else {},
        }
        if isinstance(cell.get("id"), str):
            made["id"] = cell["id"]
        yield {**made, "outputs": [], "execution_count": None} if kind == "code" else made


def _items(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _text(value: Any) -> str:
    """Join the lines of a cell; half a surrogate pair, which no file can hold, becomes a mark."""
    text = value if isinstance(value, str) else "".join(x for x in _items(value) if type(x) is str)
    return text.encode("utf-8", "replace").decode()


def _not_json(data: bytes, error: Exception) -> str:
    """Say what a file looks like that is no JSON."""
    start = data[:2000].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if start.startswith((b"<!doctype", b"<html")):
        return "it is a web page under the name of a notebook: ask for the file behind it (raw)"
    if start.startswith(b"%pdf"):
        return "it is a PDF under the name of a notebook: ask for the .ipynb file"
    if start.startswith(b"pk\x03\x04"):
        return "it is a zip under the name of a notebook: let its name end in .zip"
    if b"<<<<<<< " in data and b">>>>>>> " in data:
        return "it holds the marks of a merge that was not ended: ask for it again, merged"
    where = f", line {error.lineno}" if isinstance(error, json.JSONDecodeError) else ""
    return f"it is damaged (no JSON{where}): ask for it again, saved anew in JupyterLab"


def _said(error: BaseException) -> str:
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
