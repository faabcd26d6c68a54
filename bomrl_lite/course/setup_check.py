"""Is this machine ready for the course? Compares versions, not importability."""

import importlib.metadata
import platform
import shutil
import sys
from typing import NamedTuple

import torch
from packaging.requirements import Requirement

from bomrl_lite.training.tables import as_table

PACKAGE = "bomrl-lite"


class Finding(NamedTuple):
    """One line of the check."""

    what: str
    wanted: str
    found: str
    ok: bool


def setup_check() -> None:
    """Print what is installed beside what the course needs, and what to do about differences."""
    findings = [*check_versions(), check_device()]
    rows = [("ok" if f.ok else "!!", f.what, f.found, f.wanted) for f in findings]
    print(as_table(("", "package", "found", "wanted"), rows))
    wrong = [finding.what for finding in findings if not finding.ok]
    if wrong:
        print(
            f"\nNot as the course needs it: {', '.join(wrong)}. In the course's folder run\n"
            "    python run.py setup\nthen choose Kernel > Restart Kernel and run this cell again."
        )
    else:
        print("\nEverything is in place.")


def check_versions() -> list[Finding]:
    """Compare Python and every package that the lessons need with what the project asks for."""
    wanted_python = str(importlib.metadata.metadata(PACKAGE)["Requires-Python"])
    requirements = map(Requirement, importlib.metadata.requires(PACKAGE) or [])
    needed = [r for r in requirements if r.marker is None or r.marker.evaluate({"extra": "lab"})]
    return [
        _compare(Requirement(f"Python{wanted_python}"), platform.python_version()),
        *(_compare(requirement, _installed(requirement.name)) for requirement in needed),
    ]


def check_device() -> Finding:
    """Name the device; a CPU is enough, but a GPU that torch cannot see is worth a word."""
    if torch.cuda.is_available():
        return Finding("device", "any", torch.cuda.get_device_name(), ok=True)
    unseen = shutil.which("nvidia-smi") is not None
    wanted = "a CUDA build of torch, for the GPU here (pytorch.org)" if unseen else "any"
    return Finding("device", wanted, "cpu", ok=not unseen)


def environment() -> dict[str, str]:
    """Return the versions that a stored result must name."""
    versions = {name: _installed(name) for name in ("torch", "numpy", "gymnasium", PACKAGE)}
    return {"python": sys.version.split()[0], "platform": platform.platform(), **versions}


def _compare(requirement: Requirement, found: str) -> Finding:
    ok = found != "missing" and requirement.specifier.contains(found, prereleases=True)
    return Finding(requirement.name, str(requirement.specifier) or "any", found, ok)


def _installed(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "missing"
