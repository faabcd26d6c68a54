"""environment.yml, constraints.txt, pyproject.toml and run.py agree; checked without a network."""

import ast
import re
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version
from rattler import MatchSpec, VersionSpec
from rattler import Version as CondaVersion

ROOT = Path(__file__).resolve().parents[1]
METADATA = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = METADATA["optional-dependencies"]
REQUIREMENTS = [
    Requirement(line) for lines in (METADATA["dependencies"], *EXTRAS.values()) for line in lines
]
PINS = [
    Requirement(line)
    for line in (ROOT / "constraints.txt").read_text().splitlines()
    if line and not line.startswith("#")
]
PYTHONS = ["3.11", "3.12", "3.13", "3.14"]
SYSTEMS = ["linux", "darwin", "win32"]


@pytest.fixture(scope="module")
def environment():
    return yaml.safe_load((ROOT / "environment.yml").read_text())


@pytest.fixture(scope="module")
def conda_specs(environment):
    """Conda's part of the dependencies, parsed as conda does."""
    specs = [MatchSpec(spec) for spec in environment["dependencies"] if isinstance(spec, str)]
    return {spec.name.normalized: spec for spec in specs}


@pytest.fixture(scope="module")
def pip_lines(environment):
    """pip's part of the dependencies: option and value of each line."""
    parts = [part for part in environment["dependencies"] if isinstance(part, dict)]
    assert [list(part) for part in parts] == [["pip"]]
    return dict(line.split() for line in parts[0]["pip"])


def test_environment_has_the_keys_that_conda_reads(environment):
    assert list(environment) == ["name", "channels", "dependencies"]
    assert environment["name"] == METADATA["name"]
    assert environment["channels"] == ["conda-forge"]


def test_conda_gives_a_supported_python_and_pip(conda_specs):
    """Without pip in conda's own list, conda warns and takes whichever pip it finds."""
    assert set(conda_specs) == {"python", "pip"}
    conda, ours = VersionSpec(conda_specs["python"].version), METADATA["requires-python"]
    releases = [f"3.{minor}.{patch}" for minor in range(8, 20) for patch in range(30)]
    given = [release for release in releases if conda.matches(CondaVersion(release))]
    assert given
    assert [release for release in given if release not in SpecifierSet(ours)] == []


def test_pip_installs_the_course_with_all_extras_but_the_gpu_and_the_pins(pip_lines):
    assert set(pip_lines) == {"-c", "-e"}
    assert (ROOT / pip_lines["-c"]).samefile(ROOT / "constraints.txt")
    folder, bracket, extras = pip_lines["-e"].partition("[")
    assert (ROOT / folder).samefile(ROOT)
    assert Requirement(METADATA["name"] + bracket + extras).extras == set(EXTRAS) - {"gpu"}


def test_binder_installs_the_lab_alone_on_the_cpu_build(environment):
    """Where .binder is, repo2docker looks nowhere else; its paths are relative to the file."""
    binder = yaml.safe_load((ROOT / ".binder" / "environment.yml").read_text())
    assert binder["dependencies"][:-1] == environment["dependencies"][:-1]
    assert binder["channels"] == environment["channels"]
    lines = dict(line.split() for line in binder["dependencies"][-1]["pip"])
    assert set(lines) == {"--extra-index-url", "-c", "-e"}
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text())
    assert lines["--extra-index-url"] == workflow["env"]["PIP_EXTRA_INDEX_URL"]
    assert (ROOT / ".binder" / lines["-c"]).samefile(ROOT / "constraints.txt")
    folder, _, extras = lines["-e"].partition("[")
    assert (ROOT / ".binder" / folder).samefile(ROOT)
    assert extras == "lab]"


def test_badges_open_files_that_exist():
    text = (ROOT / "README.md").read_text()
    links = re.findall(r"\((https://(?:mybinder|colab)\.[^)]*\.ipynb)\)", text)
    assert {link.split("/")[2] for link in links} == {"mybinder.org", "colab.research.google.com"}
    for link in links:
        path = re.split(r"urlpath=lab/tree/|/blob/main/", link)[1]
        assert (ROOT / path).is_file(), link


def test_run_py_installs_all_extras_but_the_gpu_on_the_supported_pythons():
    tree = ast.parse((ROOT / "run.py").read_text())
    constants = {
        node.targets[0].id: ast.literal_eval(node.value)
        for node in tree.body
        if isinstance(node, ast.Assign)
        and isinstance(node.targets[0], ast.Name)
        and node.targets[0].id in ("EXTRAS", "OLDEST_PYTHON")
    }
    assert set(constants["EXTRAS"].split(",")) == set(EXTRAS) - {"gpu"}
    oldest = ".".join(map(str, constants["OLDEST_PYTHON"]))
    assert METADATA["requires-python"] == f">={oldest}"


@pytest.mark.parametrize("system", SYSTEMS)
@pytest.mark.parametrize("python", PYTHONS)
@pytest.mark.parametrize("requirement", REQUIREMENTS, ids=str)
def test_every_dependency_has_one_pin_that_satisfies_it(requirement, python, system):
    here = {"python_version": python, "python_full_version": f"{python}.9", "sys_platform": system}
    machine = {**default_environment(), **here, "os_name": "nt" if system == "win32" else "posix"}
    name = canonicalize_name(requirement.name)
    versions = [
        version(pin)
        for pin in PINS
        if canonicalize_name(pin.name) == name and (not pin.marker or pin.marker.evaluate(machine))
    ]
    assert len(versions) == 1, f"{len(versions)} pins of {name} for Python {python} on {system}"
    assert versions[0] in requirement.specifier


def version(pin):
    (specifier,) = pin.specifier
    assert specifier.operator == "==", f"{pin} does not name one version"
    return Version(specifier.version)


def test_no_pin_names_a_local_build():
    """A local version such as +cpu would keep GPU machines from their own build of torch."""
    assert [str(pin) for pin in PINS if version(pin).local] == []
    assert "torch==2.13.0" in map(str, PINS)
