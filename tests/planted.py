"""Plant mistakes in a copy of the project, one at a time, and see which tests and lessons notice.

    python tests/planted.py                       what the tests catch (all are to be caught)
    python tests/planted.py --smoke --class       what the figures of the lessons catch
    python tests/planted.py NAME ...              only mistakes whose names hold one of these words

Verdicts are kept in runs/planted.json until the mistake or what looks for it changes, so a run that
was stopped goes on where it was. The exit status is 1 where too few are caught.
"""

import argparse
import contextlib
import hashlib
import itertools
import json
import math
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
VERDICTS = Path("runs/planted.json")
BARS = {"tests": 1.0, "smoke": 0.7, "class": 0.9}
"""Share of the mistakes that tests, and lessons of a profile, are to catch."""
MINUTES = {"tests": 15, "smoke": 15, "class": 60}
"""A mistake that keeps its tests or lessons from ending within these has been noticed."""
LEFT_OUT = ("runs", "build", "__pycache__", "*.egg-info", ".*")
"""What a copy of the project does without."""
CAUGHT, MISSED = "caught by ", "missed"
"""How the last line of a child's output begins."""


class Plant(NamedTuple):
    """One mistake: the text that takes the place of another, and who should notice."""

    name: str
    file: str
    old: str
    """Occurs once in the file."""
    new: str
    tests: tuple[str, ...]
    """Names of test files without ``test_`` and ``.py``, the likeliest first."""
    lessons: tuple[str, ...] = ()
    why: str = ""
    """Why no lesson can see it."""

    def watchers(self, kind: str, skipped: Iterable[str] = ()) -> tuple[str, ...]:
        """Return the tests or the lessons that look for it."""
        names = self.tests if kind == "tests" else self.lessons
        return tuple(name for name in names if name not in skipped)

    def planted_in(self, text: str) -> str:
        """Return the text with the mistake.

        Raises:
            ValueError: what is to be replaced does not stand there exactly once.
        """
        if (count := text.count(self.old)) != 1:
            raise ValueError(f"{self.name}: its old text stands {count} times in {self.file}")
        return text.replace(self.old, self.new)


class Verdict(NamedTuple):
    """What became of one mistake."""

    plant: Plant
    kind: str
    watcher: str = ""
    """The first test file or lesson that noticed; empty if none did."""
    by: str = ""
    """Its test or its figure."""


def read_plants(*words: str) -> list[Plant]:
    """Return the mistakes of ``planted.toml``, or those whose names hold one of the words."""
    table = tomllib.loads(ROOT.joinpath("tests/planted.toml").read_text(encoding="utf-8"))
    plants = [
        Plant(**{k: tuple(v) if isinstance(v, list) else v for k, v in entry.items()})
        for entry in table["planted"]
    ]
    return [p for p in plants if not words or any(word in p.name for word in words)]


def copy_project(folder: Path) -> Path:
    """Copy what tests and lessons need."""
    return shutil.copytree(ROOT, folder / "project", ignore=shutil.ignore_patterns(*LEFT_OUT))


@contextlib.contextmanager
def planted(root: Path, plant: Plant | None) -> Iterator[None]:
    """Plant a mistake, if there is one, in the copy at ``root``; take it out again afterwards."""
    if plant is None:
        yield
        return
    path = root / plant.file
    right = path.read_text(encoding="utf-8")
    path.write_text(plant.planted_in(right), encoding="utf-8")
    try:
        yield
    finally:
        path.write_text(right, encoding="utf-8")


def caught_by(root: Path, kind: str, watcher: str) -> str:
    """Return the first test or figure of one watcher that is wrong in the copy, or ""."""
    command = _pytest(watcher) if kind == "tests" else _lesson(kind, watcher)
    paths = os.pathsep.join([str(root), str(root / "tests")])
    environment = {**os.environ, "PYTHONPATH": paths}
    try:
        child = subprocess.run(
            [sys.executable, *command],
            cwd=root,
            env=environment,
            capture_output=True,
            text=True,
            encoding="utf-8",
            timeout=60 * MINUTES[kind],
        )
    except subprocess.TimeoutExpired:
        return "no end"
    return _read_pytest(child) if kind == "tests" else _read_lesson(child)


def judge_lesson(profile: str, name: str) -> str:
    """Run a lesson in this process, seed 0; return its first wrong figure, its error, or "".

    Called in a child, whose package has the mistake.
    """
    from bomrl_lite.course.running import results
    from bomrl_lite.course.running.in_process import run_in_process

    bounds = results.ranges_at(Path.cwd(), 0)[name][profile]
    source = Path("notebooks/src", f"{name}.py")
    try:
        records = run_in_process(source, {"profile": profile, "seed": 0})
    except Exception as error:  # whatever a mistake leads to
        return f"{type(error).__name__} {error}"
    for record in records:
        figure = results.judge_one(record, bounds.get(record["name"]))
        if figure.verdict == "outside":
            return results.describe(figure)
    absent = bounds.keys() - {record["name"] for record in records}
    return f"{min(absent)} was not recorded" if absent else ""


def examine(
    plants: list[Plant], kinds: Iterable[str], skipped: Iterable[str] = ()
) -> Iterator[Verdict]:
    """Yield what becomes of each mistake; at the end, see that without one nothing is wrong.

    Raises:
        RuntimeError: a test or a lesson that noticed a mistake is wrong without it too.
    """
    with tempfile.TemporaryDirectory() as folder:
        root, noticed = copy_project(Path(folder)), set[tuple[str, str]]()
        for kind, plant in itertools.product(kinds, plants):
            if watchers := plant.watchers(kind, skipped):
                verdict = _first_to_notice(root, plant, kind, watchers)
                noticed |= {(kind, verdict.watcher)} if verdict.watcher else set()
                yield verdict
        for kind, watcher in sorted(noticed):
            if by := _remembered(root, None, kind, watcher):
                raise RuntimeError(f"{watcher} is wrong without any mistake: {by}")


def _first_to_notice(root: Path, plant: Plant, kind: str, watchers: Iterable[str]) -> Verdict:
    for watcher in watchers:
        if by := _remembered(root, plant, kind, watcher):
            return Verdict(plant, kind, watcher, by)
    return Verdict(plant, kind)


def main() -> int:
    """Print a table of verdicts and their shares; return 1 if a share is below its bar."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help="words of the names; none is all")
    for kind, bar in BARS.items():
        parser.add_argument(f"--{kind}", action="store_true", help=f"bar {bar:.0%}%")
    parser.add_argument(
        "--skip", action="append", default=[], metavar="LESSON", help="left out; may be repeated"
    )
    options = vars(parser.parse_args())
    # In the background a shell ignores Ctrl-C, and so would the tests of it.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    kinds = [kind for kind in BARS if options[kind]] or ["tests"]
    verdicts = []
    for verdict in examine(read_plants(*options["names"]), kinds, options["skip"]):
        verdicts.append(verdict)
        found = f"{verdict.watcher}: {verdict.by:.140}" if verdict.by else MISSED
        print(f"{verdict.kind:6}{verdict.plant.name:64}{found}", flush=True)
    reached = [_reaches_bar(kind, verdicts) for kind in kinds]
    return int(not all(reached))


def _reaches_bar(kind: str, verdicts: list[Verdict]) -> bool:
    """Print the share of a kind, and tell whether it is large enough."""
    mine = [bool(verdict.by) for verdict in verdicts if verdict.kind == kind]
    print(f"{kind}: {sum(mine)} of {len(mine)} caught, {BARS[kind]:.0%} are to be")
    return sum(mine) >= math.ceil(BARS[kind] * len(mine))


def _pytest(name: str) -> list[str]:
    quick = "not papermill and not browser"
    options = ["-x", "-q", "-p", "no:cacheprovider", "-m", quick]
    return ["-m", "pytest", *options, f"tests/test_{name}.py"]


def _lesson(profile: str, name: str) -> list[str]:
    call = f"planted.judge_lesson({profile!r}, {name!r})"
    return ["-c", f"import planted; by = {call}; print('{CAUGHT}' + by if by else '{MISSED}')"]


def _read_pytest(child: subprocess.CompletedProcess[str]) -> str:
    """Return the test that failed; one that cannot be imported fails too."""
    if child.returncode == 0:
        return ""
    found = re.search(r"^(?:FAILED|ERROR) (?:\S+::)?(\S+)", child.stdout, re.MULTILINE)
    if child.returncode not in (1, 2) or not found:
        raise RuntimeError(f"pytest could not run:\n{child.stdout[-2000:]}{child.stderr[-2000:]}")
    return found[1]


def _read_lesson(child: subprocess.CompletedProcess[str]) -> str:
    """Return what was wrong, the first line of it; a process that died has said nothing."""
    if child.stdout.strip().endswith(MISSED):
        return ""
    found = re.search(f"^{CAUGHT}(.*)", child.stdout, re.MULTILINE)
    return found[1] if found else f"died: {child.stderr.strip()[-200:]}"


def _remembered(root: Path, plant: Plant | None, kind: str, watcher: str) -> str:
    """Return what one watcher noticed: from the file, or found out now and written there."""
    key = _digest(plant, kind, watcher)
    if entry := _read_verdicts().get(key):
        return entry["by"]
    with planted(root, plant):
        by = caught_by(root, kind, watcher)
    entry = {"name": plant.name if plant else "", "watcher": f"{kind} {watcher}", "by": by}
    # Read once more: another runner may have written meanwhile.
    text = json.dumps({**_read_verdicts(), key: entry}, indent=1)
    ROOT.joinpath(VERDICTS).parent.mkdir(exist_ok=True)
    ROOT.joinpath(VERDICTS).write_text(text, encoding="utf-8")
    return by


def _read_verdicts() -> dict[str, dict[str, str]]:
    path = ROOT / VERDICTS
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


def _digest(plant: Plant | None, kind: str, watcher: str) -> str:
    """Return what a verdict depends on as one number: mistake, package, and who looks for it."""
    if kind == "tests":
        watching = [f"tests/test_{watcher}.py", "tests/conftest.py"]
    else:
        names = (f"src/{watcher}.py", "ranges.json", "reference.json")
        watching = [f"notebooks/{name}" for name in names]
    digest = hashlib.sha256(repr((kind, plant and plant[1:4])).encode())
    for file in (*sorted(ROOT.glob("bomrl_lite/**/*.py")), *map(ROOT.joinpath, watching)):
        digest.update(file.read_bytes())
    return digest.hexdigest()


if __name__ == "__main__":
    sys.exit(main())
