"""Whose the files are that students sent, and which of them counts.

What is no notebook gets a sentence that says what to do about it; it never stops the others.
"""

import hashlib
import itertools
import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from bomrl_lite.course.classroom.sent_files import (
    Bounds,
    Found,
    Unreadable,
    holds_others,
    read_bytes,
    shown,
    walk,
)


class Submission(NamedTuple):
    """What one student sent."""

    student: str
    id: str
    """The LMS's number for the student, if the name of a file holds one."""
    late: bool
    """Whether the LMS says so."""
    files: tuple[Found, ...]
    """Notebooks first, those of the last attempt first of all."""


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
_COPY = re.compile(r"(?:[-_ ]*\((\d+)\)|[-_ ]copy[-_ ]?(\d*))$", re.IGNORECASE)
"""How browsers and JupyterLab mark a further file of the same name."""
_RESENT = re.compile(r"-(\d{1,2})$")
"""How Canvas does; ``group-2`` may be a name as well."""


def collect(
    paths: Iterable[Path],
    released: str = "",
    bounds: Bounds = Bounds(),  # noqa: B008 - frozen
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
    loose = [path for path in given if not holds_others(path)]
    groups = [[each for path in loose for each in walk(path, bounds)]]
    groups += [list(walk(path, bounds)) for path in given if path not in loose]
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


def fingerprint(
    submission: Submission,
    bounds: Bounds = Bounds(),  # noqa: B008 - frozen
) -> str:
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
