"""What a run of the course found: figures against their ranges, metrics.json, junit.xml."""

import hashlib
import json
import math
import platform
import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple
from xml.etree import ElementTree

import bomrl_lite
from bomrl_lite.course.execute import Failure, Outcome
from bomrl_lite.course.notebook import digest, read_records
from bomrl_lite.course.parameters import PROFILES

PACKAGES = ("bomrl-lite", "torch", "numpy", "gymnasium", "mujoco", "papermill", "ipykernel")
RANGES = Path("notebooks/ranges.json")
"""What a figure may be at any seed."""
REFERENCE, REFERENCE_SEED = Path("notebooks/reference.json"), 0
"""What it may be at this seed, where only rounding differs from machine to machine."""

Ranges = dict[str, dict[str, dict[str, list[float]]]]
"""Notebook -> profile -> figure -> [low, high]."""


class Figure(NamedTuple):
    """A recorded number, its verdict (inside, outside, missing, no range, shown) and its source."""

    name: str
    value: float | None
    unit: str
    low: float | None
    high: float | None
    verdict: str
    source: str = "code"


class Lesson(NamedTuple):
    """One executed lesson."""

    outcome: Outcome
    figures: list[Figure]

    @property
    def ok(self) -> bool:
        """Tell whether it ran to the end with every figure where it belongs."""
        wrong = any(figure.verdict in ("outside", "missing") for figure in self.figures)
        return self.outcome.status == "passed" and not wrong


class Run(NamedTuple):
    """One run of the course; ``parameters`` are those beside profile and seed."""

    started: str
    profile: str
    seed: int
    parameters: dict[str, Any]
    versions: dict[str, str]
    code: str
    lessons: list[Lesson]

    @property
    def ok(self) -> bool:
        """Tell whether every lesson is as it should be."""
        return all(lesson.ok for lesson in self.lessons)


def ranges_at(root: Path, seed: int, lessons: Collection[str] | None = None) -> Ranges:
    """Return the ranges that a run of a seed is judged by: the narrowest that are stored.

    The other arguments are those of :func:`read_ranges`.
    """
    ranges = read_ranges(root, lessons=lessons)
    if seed == REFERENCE_SEED:
        for lesson, profiles in read_ranges(root, REFERENCE, lessons).items():
            for profile, figures in profiles.items():
                stored = ranges.setdefault(lesson, {}).setdefault(profile, {})
                for name, bounds in figures.items():
                    stored[name] = min(bounds, stored.get(name, bounds), key=_width)
    return ranges


def _width(bounds: list[float]) -> float:
    return bounds[1] - bounds[0]


def read_ranges(root: Path, file: Path = RANGES, lessons: Collection[str] | None = None) -> Ranges:
    """Return the ranges of all figures; none if the file is not there.

    Args:
        root: folder of the course.
        file: in it.
        lessons: that there are: the ranges of another one would judge nothing; None takes all.

    Raises:
        ValueError: the file is not what ``calibrate`` writes; says where.
    """
    path = root / file
    if not path.exists():
        return {}
    remedy = "restore the file, or run `python -m bomrl_lite calibrate`"
    try:
        ranges = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is not JSON ({error}): {remedy}") from error
    if fault := next(_faulty_ranges(ranges), None):
        raise ValueError(f"{path}: {fault}: {remedy}")
    if strange := [name for name in ranges if lessons is not None and name not in lessons]:
        raise ValueError(f"{path}: {strange[0]} is no lesson: delete its ranges")
    return ranges


def _faulty_ranges(ranges: Any) -> Iterator[str]:
    """Say where ranges are not lesson -> profile -> figure -> [low, high]."""
    if not isinstance(ranges, dict):
        yield f"should map lessons to profiles, got {ranges!r:.60}"
        return
    for lesson, profiles in ranges.items():
        if not isinstance(profiles, dict) or not all(
            isinstance(each, dict) for each in profiles.values()
        ):
            yield f"{lesson} should map profiles to figures, got {profiles!r:.60}"
            continue
        for profile, figures in profiles.items():
            if profile not in PROFILES:
                yield f"{lesson} has ranges for the unknown profile {profile!r}"
            for name, bounds in figures.items():
                if not _is_range(bounds):
                    yield f"{lesson}, {profile}, {name} should be [low, high], got {bounds!r:.60}"


def _is_range(bounds: Any) -> bool:
    numbers = isinstance(bounds, list) and all(type(each) in (int, float) for each in bounds)
    return numbers and len(bounds) == 2 and -math.inf < bounds[0] <= bounds[1] < math.inf


def judge(outcome: Outcome, ranges: dict[str, list[float]]) -> Lesson:
    """Compare the figures that a notebook recorded with their ranges."""
    try:
        records = read_records(outcome.notebook) if outcome.notebook else []
    except ValueError as error:
        return Lesson(_failed_by(outcome, str(error)), [])
    figures = [judge_one(record, ranges.get(record["name"])) for record in records]
    names = {figure.name for figure in figures}
    # a notebook that stopped early has said so; what it did not reach is no second fault
    absent = [name for name in ranges if name not in names and outcome.status == "passed"]
    lost = [Figure(name, None, "", *ranges[name], verdict="missing") for name in absent]
    return Lesson(outcome, figures + lost)


def judge_one(record: dict[str, Any], bounds: list[float] | None) -> Figure:
    """Compare one figure with its range; the bounds themselves are inside."""
    name, value, unit = record["name"], record["value"], record["unit"]
    source = record.get("source", "code")
    if source == "machine":
        return Figure(name, value, unit, None, None, "shown", source)
    if bounds is None:
        return Figure(name, value, unit, None, None, "no range", source)
    low, high = bounds
    verdict = "inside" if low <= value <= high else "outside"
    return Figure(name, value, unit, low, high, verdict, source)


def versions() -> dict[str, str]:
    """Return the versions that a result depends on."""
    found = {"python": platform.python_version(), "machine": platform.machine()}
    for package in PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:  # an optional one
            continue
    return found


def code_digest(root: Path) -> str:
    """Return the SHA-256 of all that lessons read beside their sources: package, stored tables."""
    return digest_of(Path(bomrl_lite.__file__).parent, root / "notebooks" / "results")


def digest_of(*folders: Path) -> str:
    """Return the SHA-256 of the files of folders, of their names and contents."""
    whole = hashlib.sha256()
    for folder in folders:
        for path in sorted(folder.rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts:
                content = hashlib.sha256(path.read_bytes()).hexdigest()
                whole.update(f"{path.relative_to(folder).as_posix()} {content}\n".encode())
    return whole.hexdigest()


def to_metrics(run: Run) -> dict[str, Any]:
    """Lay out a run for metrics.json."""
    notebooks = {
        lesson.outcome.name: {
            "status": lesson.outcome.status,
            "ok": lesson.ok,
            "seconds": round(lesson.outcome.seconds, 2),
            "taken_over": lesson.outcome.taken_over,
            "notebook": digest(lesson.outcome.notebook) if lesson.outcome.notebook else None,
            "error": lesson.outcome.failure.error if lesson.outcome.failure else None,
            "figures": {figure.name: _without_name(figure) for figure in lesson.figures},
        }
        for lesson in run.lessons
    }
    return {**run._asdict(), "ok": run.ok, "lessons": notebooks}


def to_junit(run: Run) -> bytes:
    """Lay out a run as JUnit XML: a case for each notebook, and one for each of its figures."""
    suite = ElementTree.Element("testsuite", name=f"course ({run.profile}, seed {run.seed})")
    for lesson in run.lessons:
        _add_notebook(suite, lesson.outcome)
        for figure in lesson.figures:
            _add_figure(suite, lesson.outcome.name, figure)
    for kind in ("failure", "skipped"):
        suite.set({"failure": "failures"}.get(kind, kind), str(len(suite.findall(f"*/{kind}"))))
    suite.set("tests", str(len(suite)))
    suite.set("errors", "0")
    return ElementTree.tostring(suite, encoding="utf-8", xml_declaration=True)


def tally(figures: Iterable[Figure]) -> str:
    """Count figures by where they come from; those of a stored table check no code."""
    counts = Counter(figure.source for figure in figures)
    parts = {"code": "computed", "table": "read from stored tables", "machine": "of this machine"}
    return ", ".join(f"{counts[key]} {text}" for key, text in parts.items())


def describe(figure: Figure) -> str:
    """Say in words where a figure stands."""
    if figure.value is None:
        return f"{figure.name} was not recorded; expected {figure.low:.4g} to {figure.high:.4g}"
    shown = f"{figure.name} = {figure.value:.6g} {figure.unit}".rstrip()
    if figure.verdict == "shown":
        return f"{shown} belongs to this machine: shown, not judged"
    if figure.low is None or figure.high is None:
        return f"{shown} has no range yet"
    return f"{shown} is {figure.verdict} {figure.low:.4g} to {figure.high:.4g}"


def _failed_by(outcome: Outcome, error: str) -> Outcome:
    return outcome._replace(status="failed", failure=Failure(0, "", error, error))


def _without_name(figure: Figure) -> dict[str, Any]:
    return {key: value for key, value in figure._asdict().items() if key != "name"}


def _add_notebook(suite: ElementTree.Element, outcome: Outcome) -> None:
    case = ElementTree.SubElement(
        suite, "testcase", classname=outcome.name, name="runs", time=f"{outcome.seconds:.2f}"
    )
    if outcome.status == "not run":
        ElementTree.SubElement(case, "skipped", message="stopped before it began")
    elif outcome.failure:
        text = _printable(outcome.failure.traceback)
        message = _printable(f"cell {outcome.failure.cell}: {outcome.failure.error}")
        ElementTree.SubElement(case, "failure", message=message).text = text


def _add_figure(suite: ElementTree.Element, notebook: str, figure: Figure) -> None:
    case = ElementTree.SubElement(suite, "testcase", classname=notebook, name=figure.name, time="0")
    if figure.verdict in ("outside", "missing"):
        ElementTree.SubElement(case, "failure", message=_printable(describe(figure)))


def _printable(text: str) -> str:
    """Drop control characters, which XML cannot hold."""
    return re.sub(r"[\x00-\x08\x0b\x0c\x0e-\x1f]", "", text)
