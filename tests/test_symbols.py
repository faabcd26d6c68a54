"""The page of symbols and names: every name of code on it is one of the package's."""

import inspect
import re
from pathlib import Path

import pytest

import bomrl_lite as bl
from bomrl_lite.adaptation import distances
from bomrl_lite.course.building.plan import lesson_sources
from bomrl_lite.policies import at_samples
from bomrl_lite.rollout import data, observations

ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / "docs" / "symbols_and_names.md").read_text("utf-8")
NOT_OURS = {"bl", "import bomrl_lite as bl", "torch.func.vmap", "jax.vjp", "detach", "x", "M = B T"}
"""Other libraries' names, and letters of shapes."""


def names_of_code() -> list[str]:
    """Every name in backticks but shapes, files and what is not ours."""
    spans = set(re.findall(r"`([^`\n]+)`", PAGE)) - NOT_OURS
    return sorted(s for s in spans if not re.fullmatch(r"\[.*\]|[A-Z]|bomrl_lite/.*", s))


def parameters() -> set[str]:
    """Names of arguments of public functions."""
    public = (getattr(bl, name) for name in bl.__all__)
    functions = [f for f in public if inspect.isfunction(f)]
    return {name for f in functions for name in inspect.signature(f).parameters}


def is_known(name: str) -> bool:
    """Whether it is a public name, a method, a rung, an argument, or stands in a room of data."""
    rungs = {"none", "identity", *bl.DATA_FUNCTIONS}
    rooms = (data, observations, at_samples, distances)
    return (
        name in bl.__all__
        or name in bl.METHODS
        or name in rungs
        or name in parameters()
        or any(hasattr(room, name) for room in rooms)
    )


def test_there_are_names_and_a_wrong_one_is_noticed():
    assert len(names_of_code()) > 50
    assert not is_known("ocupancy")


@pytest.mark.parametrize("name", names_of_code())
def test_a_name_on_the_page_is_in_the_package(name):
    assert is_known(name)


def test_the_rungs_of_the_page_are_those_of_the_methods():
    table = PAGE.partition("## One ladder")[2].partition("\n## ")[0]
    rungs = re.findall(r"(?m)^\| `(\w+)` \|", table)
    assert set(rungs) == {rung for method in bl.METHODS.values() for rung in method.rungs} | {
        "q_gradient"
    }
    assert [rung for rung in rungs if rung in bl.DATA_FUNCTIONS] == list(bl.DATA_FUNCTIONS)


@pytest.mark.parametrize("source", lesson_sources(ROOT), ids=lambda path: path.stem)
def test_every_lesson_links_the_page(source):
    assert "(../docs/symbols_and_names.md)" in (ROOT / source).read_text("utf-8")
