"""Measuring what every recorded figure may be: over seeds, and as other processors round."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from bomrl_lite.course.building.plan import lesson_sources
from bomrl_lite.course.execute import last_line
from bomrl_lite.course.parameters import check_values
from bomrl_lite.course.running.batch import choose, limits_for
from bomrl_lite.course.running.in_process import run_in_process
from bomrl_lite.course.running.results import (
    RANGES,
    REFERENCE,
    REFERENCE_SEED,
    Ranges,
    read_ranges,
)
from bomrl_lite.training.files import write_atomically
from bomrl_lite.training.places import require_writable

PROCESSORS: tuple[dict[str, str], ...] = (
    {},
    {"OMP_NUM_THREADS": "3", "MKL_NUM_THREADS": "3"},
    {"ATEN_CPU_CAPABILITY": "avx2", "MKL_CBWR": "AVX2", "OPENBLAS_CORETYPE": "Haswell"},
    {
        "ATEN_CPU_CAPABILITY": "default",
        "MKL_CBWR": "COMPATIBLE",
        "ONEDNN_MAX_CPU_ISA": "SSE41",
        "OPENBLAS_CORETYPE": "Prescott",
    },
)
"""How the libraries are told to compute as another processor would; the first is this one."""
_ROUNDING = 1e-8  # errors of central differences moved from 5e-10 to 2e-9 by rounding alone
_TAIL = 12  # lines shown of what a lesson that failed wrote


def calibrate(
    root: Path, *, profile: str = "class", seeds: Iterable[int], lessons: Sequence[str] = ()
) -> int:
    """Run the lessons for several seeds in this process and store the range of every figure.

    The range is [min, max] over the seeds, widened on both sides by half their spread plus 10 %
    of the largest magnitude: wide enough for other machines and seeds, narrow enough for a bug.
    Figures below 1e-8 are rounding errors and get +-1e-8. Ranges of other profiles are kept.

    Args:
        root: folder that holds notebooks/.
        profile: smoke, class or full.
        seeds: at least one; five or more say something about the spread.
        lessons: names such as 01_maml_baseline; none means all.

    Returns:
        0, or 1 if a lesson failed; its old ranges are kept then.

    Raises:
        ValueError: no seed, or one that no lesson takes; an unknown profile or lesson; ranges that
            cannot be read.
    """
    if not (numbers := list(seeds)):
        raise ValueError("calibrate needs at least one seed, got none")
    for seed in numbers:
        check_values(profile, seed)

    def measure(source: Path) -> dict[str, list[float]]:
        values = _figures_over_seeds(source, profile, numbers)
        return {name: widened(found) for name, found in values.items()}

    return _measure_all(root, RANGES, profile, lessons, measure)


def calibrate_reference(root: Path, *, profile: str = "smoke", lessons: Sequence[str] = ()) -> int:
    """Run the lessons at seed 0 as other processors would, and store what each figure may be.

    Torch, MKL, oneDNN and OpenBLAS can be told to use older instructions or more threads, which
    rounds otherwise and, through a training, may change a figure visibly. The range is the figure
    of an ordinary run +- ten times the largest such change, 1e-4 of its size and 1e-8:
    processors that this one cannot play may do a little more.

    Returns:
        0, or 1 if a lesson failed; its old ranges are kept then.
    """

    def measure(source: Path) -> dict[str, list[float]]:
        runs = [_figures_under(source, profile, variables) for variables in PROCESSORS]
        return {name: around([run[name] for run in runs]) for name in runs[0]}

    return _measure_all(root, REFERENCE, profile, lessons, measure)


def widened(values: Sequence[float]) -> list[float]:
    """Return [min, max], wider by half the spread plus 10 % of the largest magnitude.

    Values below 1e-8 are rounding errors, which differ between machines: they get +-1e-8.
    """
    low, high = min(values), max(values)
    size = max(abs(low), abs(high))
    if size < _ROUNDING:
        return [-_ROUNDING, _ROUNDING]
    margin = 0.5 * (high - low) + 0.1 * size
    return [float(f"{low - margin:.6g}"), float(f"{high + margin:.6g}")]


def around(values: Sequence[float]) -> list[float]:
    """Return the first value +- ten times the largest distance to it, 1e-4 of its size and 1e-8."""
    first = values[0]
    margin = 10 * max(abs(each - first) for each in values) + 1e-4 * abs(first) + _ROUNDING
    return [float(f"{first - margin:.9g}"), float(f"{first + margin:.9g}")]


def _measure_all(
    root: Path,
    file: Path,
    profile: str,
    lessons: Sequence[str],
    measure: Callable[[Path], dict[str, list[float]]],
) -> int:
    """Store what a measurement of each lesson gives, lesson by lesson, and say what it changed."""
    limits_for(profile)
    require_writable(root / file)
    ranges, failed = read_ranges(root, file), False
    for path in choose(lesson_sources(root), lessons, "lesson"):
        try:
            measured = measure(root / path)
        except Exception as error:
            print("\n".join([f"{path.stem}: {error!r}", *getattr(error, "__notes__", ())]))
            failed = True
            continue
        before = ranges.setdefault(path.stem, {}).get(profile, {})
        ranges[path.stem][profile] = measured
        write_atomically(root / file, _readable(ranges).encode())
        changes = "".join(f"\n{line}" for line in _changes(before, measured))
        print(f"{path.stem}: {len(measured)} figures{changes}", flush=True)
    return int(failed)


def _figures_under(source: Path, profile: str, variables: dict[str, str]) -> dict[str, float]:
    """Run a lesson in a process of its own, whose libraries read these variables as they load."""
    code = (
        "import json, sys; from pathlib import Path\n"
        "from bomrl_lite.course.running.in_process import run_in_process\n"
        f"given = {{'profile': {profile!r}, 'seed': {REFERENCE_SEED}}}\n"
        "print(json.dumps(run_in_process(Path(sys.argv[1]), given)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(source)],
        env={**os.environ, **variables},
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    if done.returncode:
        error = RuntimeError(f"it ended with exit code {done.returncode}")
        error.add_note("\n".join(done.stderr.splitlines()[-_TAIL:]))
        raise error
    records = json.loads(last_line(done.stdout))
    return {each["name"]: each["value"] for each in records if each["source"] == "code"}


def _figures_over_seeds(
    source: Path, profile: str, seeds: Sequence[int]
) -> dict[str, Sequence[float]]:
    """Return the values of each figure; every seed must record the same ones."""
    runs = []
    for seed in seeds:
        records = run_in_process(source, {"profile": profile, "seed": seed})
        judged = [each for each in records if each["source"] != "machine"]
        runs.append({figure["name"]: figure["value"] for figure in judged})
        if runs[-1].keys() != runs[0].keys():
            odd = sorted(runs[-1].keys() ^ runs[0].keys())
            raise ValueError(f"seed {seed} recorded other figures than {seeds[0]}: {odd}")
    return {name: [run[name] for run in runs] for name in runs[0]}


def _changes(before: dict[str, list[float]], after: dict[str, list[float]]) -> Iterator[str]:
    """Say which ranges are new, gone or other than they were."""
    for name in sorted(before.keys() | after.keys()):
        old, new = before.get(name, "none"), after.get(name, "none")
        if old != new:
            yield f"  {name}: {old} -> {new}"


def _readable(ranges: Ranges) -> str:
    """Lay out the ranges with one figure per line."""
    text = json.dumps(ranges, indent=1, sort_keys=True, ensure_ascii=False)
    return re.sub(r"\[\s+(\S+)\s+(\S+)\s+\]", r"[\1 \2]", text) + "\n"
