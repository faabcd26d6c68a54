"""The runs before this one: what their metrics.json says, and what changed since a green one."""

import json
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from bomrl_lite.course.running.results import Run

METRICS = "metrics.json"
SHOWN = 10
"""Earlier runs that a report lists."""


class StoredFigure(NamedTuple):
    """A figure that a run computed."""

    value: float
    unit: str
    verdict: str


class StoredLesson(NamedTuple):
    """A lesson of a run, its computed figures, and the digest of its executed notebook."""

    status: str
    ok: bool
    seconds: float
    notebook: str | None
    figures: dict[str, StoredFigure]


class StoredRun(NamedTuple):
    """A run as its metrics.json tells it; ``folder`` is the name of its folder."""

    folder: str
    started: str
    profile: str
    seed: int
    parameters: dict[str, Any]
    versions: dict[str, str]
    code: str
    ok: bool
    lessons: dict[str, StoredLesson]

    @property
    def sound(self) -> int:
        """Return how many lessons are as they should be."""
        return sum(lesson.ok for lesson in self.lessons.values())


class Change(NamedTuple):
    """A figure whose value is another, and its verdict now."""

    lesson: str
    name: str
    unit: str
    old: float
    new: float
    verdict: str

    @property
    def relative(self) -> float:
        """Return the change as a share of the old value; infinite if that was 0."""
        return (self.new - self.old) / abs(self.old) if self.old else math.inf


class Changes(NamedTuple):
    """What differs from the run ``since``, in the lessons that both have.

    ``versions`` maps a package to its old and new version, ``worse`` names the lessons that were
    as they should be and are not, ``new`` and ``missing`` name figures with their lessons.
    """

    since: StoredRun
    versions: dict[str, tuple[str, str]]
    code: bool
    worse: list[str]
    figures: list[Change]
    new: list[str]
    missing: list[str]


class History(NamedTuple):
    """The latest earlier runs, newest first, and the changes since the last green one."""

    earlier: list[StoredRun]
    changes: Changes | None


def read_run(folder: Path) -> StoredRun:
    """Read the metrics.json of a folder.

    Raises:
        OSError: it cannot be read.
        ValueError: it is not that of a run.
    """
    text = (folder / METRICS).read_bytes()
    try:
        return from_metrics(folder.name, json.loads(text))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        what = f"{type(error).__name__}: {error}"
        raise ValueError(
            f"{folder / METRICS} is not that of a run of the course ({what})"
        ) from error


def from_metrics(folder: str, metrics: Any) -> StoredRun:
    """Turn the content of a metrics.json into a run; those of older versions hold less."""
    lessons = {name: _stored_lesson(each) for name, each in metrics["lessons"].items()}
    return StoredRun(
        folder,
        str(metrics["started"]),
        str(metrics["profile"]),
        int(metrics["seed"]),
        dict(metrics.get("parameters", {})),
        {name: str(version) for name, version in metrics["versions"].items()},
        str(metrics.get("code", "")),
        metrics["ok"] is True,
        lessons,
    )


def earlier_runs(folder: Path, run: Run) -> list[StoredRun]:
    """Return the runs in the folders beside ``folder`` that can be compared, newest first.

    They have the same profile, seed and parameters and did not begin later. What is not the
    metrics.json of a run is passed over.
    """
    found = filter(None, map(_read_quietly, _siblings(folder)))
    comparable = [stored for stored in found if same(stored, run) and stored.started <= run.started]
    return sorted(comparable, key=lambda stored: (stored.started, stored.folder), reverse=True)


def same(stored: StoredRun, run: Run) -> bool:
    """Tell whether two runs have the same profile, seed and parameters."""
    return (stored.profile, stored.seed, stored.parameters) == (
        run.profile,
        run.seed,
        run.parameters,
    )


def history_of(earlier: list[StoredRun], now: StoredRun) -> History:
    """Compare a run with the last green one of those before it, which come newest first."""
    green = last_green(earlier, now.lessons)
    return History(earlier[:SHOWN], changes(green, now) if green else None)


def last_green(earlier: Iterable[StoredRun], lessons: Iterable[str]) -> StoredRun | None:
    """Return the newest green run of those that share the most lessons; None if none does."""
    wanted = set(lessons)
    shared = [(len(wanted & stored.lessons.keys()), stored) for stored in earlier if stored.ok]
    count, green = max(shared, key=lambda each: each[0], default=(0, None))
    return green if count else None


def changes(green: StoredRun, now: StoredRun) -> Changes:
    """Say what differs between two runs: figures outside their ranges first, then by size."""
    both = [name for name in now.lessons if name in green.lessons]
    old, new = (_figures(run, both) for run in (green, now))
    moved = [
        Change(*key, new[key].unit, old[key].value, new[key].value, new[key].verdict)
        for key in new.keys() & old.keys()
        if new[key].value != old[key].value
    ]
    return Changes(
        green,
        versions_apart(green.versions, now.versions),
        bool(green.code) and green.code != now.code,
        [name for name in both if green.lessons[name].ok and _is_wrong(now.lessons[name])],
        sorted(moved, key=_rank),
        [": ".join(key) for key in new if key not in old],
        [
            ": ".join(key)
            for key in old
            if key not in new and now.lessons[key[0]].status == "passed"
        ],
    )


def versions_apart(old: dict[str, str], new: dict[str, str]) -> dict[str, tuple[str, str]]:
    """Map what differs to its old and new version; ``none`` stands for one that is absent."""
    pairs = {name: (old.get(name, "none"), new.get(name, "none")) for name in {**old, **new}}
    return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}


def to_json(history: History) -> dict[str, Any]:
    """Lay out the history for metrics.json."""
    runs = [
        {
            "folder": stored.folder,
            "started": stored.started,
            "ok": stored.ok,
            "sound": stored.sound,
            "lessons": len(stored.lessons),
        }
        for stored in history.earlier
    ]
    if not (found := history.changes):
        return {"earlier": runs, "since_green": None}
    figures = [change._asdict() for change in found.figures]
    return {
        "earlier": runs,
        "since_green": {**found._asdict(), "since": found.since.folder, "figures": figures},
    }


def in_words(history: History) -> str:
    """Say in one line what changed since the last green run; nothing if there is none before."""
    if not history.earlier:
        return ""
    if not (found := history.changes):
        return "no earlier run of this profile and seed is green"
    parts = [f"{name} {old} -> {new}" for name, (old, new) in found.versions.items()]
    parts += ["the code is another"] if found.code else []
    parts += [f"{name} is no longer as it should be" for name in found.worse]
    counts = {"changed": found.figures, "new": found.new, "missing": found.missing}
    parts += [f"{word} figures: {len(each)}" for word, each in counts.items() if each]
    since = f"since the last green run ({found.since.folder}, {found.since.started})"
    # Runs of older versions did not note their code.
    nothing = "nothing changed" if found.since.code else "no figure changed; its code is not known"
    return f"{since}: {', '.join(parts) or nothing}"


def _stored_lesson(found: Any) -> StoredLesson:
    figures = {
        name: StoredFigure(_finite(each["value"]), str(each["unit"]), str(each["verdict"]))
        for name, each in found["figures"].items()
        if each["value"] is not None and each.get("source", "code") == "code"
    }
    return StoredLesson(
        str(found["status"]),
        found["ok"] is True,
        float(found["seconds"]),
        found.get("notebook"),
        figures,
    )


def _finite(value: Any) -> float:
    if not math.isfinite(value):
        raise ValueError(f"a figure is finite, got {value}")
    return float(value)


def _siblings(folder: Path) -> list[Path]:
    try:
        return [each for each in folder.parent.iterdir() if each.name != folder.name]
    except OSError:
        return []


def _read_quietly(folder: Path) -> StoredRun | None:
    try:
        return read_run(folder)
    except (OSError, ValueError):
        return None


def _figures(run: StoredRun, lessons: Iterable[str]) -> dict[tuple[str, str], StoredFigure]:
    """Map (lesson, figure) to the figure."""
    return {
        (lesson, name): figure
        for lesson in lessons
        for name, figure in run.lessons[lesson].figures.items()
    }


def _is_wrong(lesson: StoredLesson) -> bool:
    """Tell whether a lesson is not as it should be, rather than not there yet."""
    return not lesson.ok and lesson.status not in ("stopped", "not run")


def _rank(change: Change) -> tuple[bool, float, str, str]:
    return change.verdict != "outside", -abs(change.relative), change.lesson, change.name
