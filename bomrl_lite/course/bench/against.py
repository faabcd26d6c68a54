"""Another checkout, measured in the same minutes as this one, in processes in balanced order."""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

ORDER = "ABBA"
"""A this build, B the other: a machine that slows down meanwhile slows both."""
TIMES = ("s", "CPU-s", "us", "CPU-us")
"""Units of which the least value is taken: whatever else runs can only add to them."""


class Pair(NamedTuple):
    """Figures of one row of both builds; the other's is None where it has no such row."""

    ours: float
    other: float | None


class Pairs(NamedTuple):
    """Figures by the names of their rows, and why the other's are missing."""

    figures: dict[str, Pair]
    trouble: str


def require_checkout(folder: Path) -> Path:
    """Return the folder of another checkout of this project.

    Raises:
        NotADirectoryError: it is none.
        ValueError: it holds something else.
    """
    if not folder.is_dir():
        raise NotADirectoryError(
            f"{folder} is no folder: name a checkout of this project, such as git worktree makes"
        )
    if not (folder / "bomrl_lite" / "course" / "bench" / "main.py").is_file():
        project = _project(folder)
        what = f"is a checkout of {project}" if project else "is no checkout of a project"
        raise ValueError(
            f"{folder} {what}, and one of bomrl_lite is meant, which has "
            "bomrl_lite/course/bench/main.py: name its folder, or a newer checkout"
        )
    return folder.resolve()


def _project(folder: Path) -> str:
    """Return the name of the project whose pyproject.toml lies in the folder; '' for none."""
    try:
        found = tomllib.loads((folder / "pyproject.toml").read_text())
        return str(found["project"]["name"])
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def measure_pairs(key: str, units: dict[str, str], ours: Path, other: Path) -> Pairs:
    """Measure rows of one measurement in this build and in the other.

    Args:
        key: module and name of the measurement.
        units: of the rows, by their names.
        ours: the checkout of this build.
        other: the other one.

    Raises:
        ValueError: the measurement fails in this build.
    """
    found: dict[str, list[dict[str, float]]] = {"A": [], "B": []}
    trouble = ""
    for build in ORDER:
        if build == "B" and trouble:
            continue
        figures = _measured(key, tuple(units), ours if build == "A" else other)
        if isinstance(figures, dict):
            found[build].append(figures)
        elif build == "A":
            raise ValueError(f"{key} did not run to its end: {figures}")
        else:
            trouble = f"{key} of {other}: {figures}"
    pairs = {}
    for name, unit in units.items():
        a, b = ([figures[name] for figures in found[build] if name in figures] for build in found)
        pairs[name] = Pair(_combined(a, unit), _combined(b, unit) if b else None)
    return Pairs(pairs, trouble)


def _combined(figures: Sequence[float], unit: str) -> float:
    return min(figures) if unit in TIMES else statistics.median(figures)


def _measured(key: str, names: tuple[str, ...], checkout: Path) -> dict[str, float] | str:
    """Return the figures of a checkout in a process of its own, or what went wrong there."""
    script = Path(__file__).with_name("child.py")
    path = os.pathsep.join([str(checkout), os.environ.get("PYTHONPATH", "")])
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder, "figures.json")
        done = subprocess.run(
            [sys.executable, "-P", str(script), str(checkout), str(out), key, *names],
            cwd=checkout,
            env={**os.environ, "PYTHONPATH": path},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        if done.returncode:
            said = done.stderr.strip().splitlines()
            return said[-1] if said else f"exit code {done.returncode}"
        return json.loads(out.read_text())
