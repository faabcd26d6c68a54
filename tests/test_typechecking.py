"""The check of types that all tests stand under refuses what it should, and is on everywhere."""

import dataclasses
import gc
import importlib
import inspect
import pkgutil
import weakref
from collections.abc import Iterator

import jaxtyping
import pytest
import torch
import typechecking
from jaxtyping import Float
from torch import Tensor
from typechecking import checked_call

import bomrl_lite

ROWS, LONG = torch.zeros(2, 3), torch.zeros(3)


@checked_call
def rates(x: Float[Tensor, "N S"], weights: Float[Tensor, " S"], scale: float = 1) -> Tensor:
    return scale * x @ weights


@checked_call
def flipped(x: Float[Tensor, "N S"], wrong: bool = False) -> Float[Tensor, "S N"]:
    return x if wrong else x.mT


@checked_call
def longer(x: Float[Tensor, " N"]) -> Float[Tensor, " N"]:
    """Calls another whose N is another."""
    return rates(torch.ones(5, len(x)), x)[: len(x)]


@checked_call
def counted(number: int) -> Iterator[int]:
    yield from range(number)


class Methods:
    @checked_call
    @classmethod
    def of_class(cls, number: int) -> int:
        return number

    @checked_call
    @staticmethod
    def of_none(number: int) -> int:
        return number

    @checked_call
    @property
    def half(self) -> int:
        return 0.5  # type: ignore[return-value]


@checked_call
@dataclasses.dataclass
class Point:
    size: int


def test_what_fits_passes_and_is_not_changed():
    assert torch.equal(rates(ROWS, LONG), torch.zeros(2))
    assert rates(ROWS, LONG, 2).shape == (2,)  # an int for a float
    assert flipped(ROWS).shape == (3, 2)
    assert longer(LONG).shape == (3,)
    assert list(counted(2)) == [0, 1]
    assert Methods.of_class(1) == Methods.of_none(1) == 1
    assert Point(3) == Point(size=3)
    assert rates.__name__ == "rates"
    assert str(inspect.signature(counted)) == "(number: int) -> collections.abc.Iterator[int]"


@pytest.mark.parametrize(
    "call",
    [
        lambda: rates(ROWS, LONG, "1"),
        lambda: rates(ROWS, scale="1", weights=LONG),
        lambda: rates(ROWS, LONG.numpy()),
        lambda: rates(ROWS, LONG.long()),
        lambda: rates(ROWS, ROWS),
        lambda: rates(ROWS, torch.zeros(4)),  # one name, two sizes
        lambda: flipped(ROWS, wrong=True),
        lambda: list(counted("2")),
        lambda: Methods.of_class("1"),
        lambda: Methods.of_none("1"),
        lambda: Methods().half,
        lambda: Point("3"),
    ],
)
def test_what_does_not_fit_is_refused(call):
    with pytest.raises(TypeError, match=r"violates|Type-check error"):
        call()


def test_a_function_in_a_function_is_checked_at_each_making_and_not_kept():
    def make(kind, number):
        kept = torch.tensor(0)

        @checked_call
        def within(x: Float[Tensor, "N N"], more: kind = number) -> kind:
            return more if kept == 0 else None

        return within

    first, second, other = make(int, 1), make(int, 2), make(str, "3")
    assert (first(torch.eye(2)), second(torch.eye(2)), other(torch.eye(2))) == (1, 2, "3")
    for each, wrong in ((first, "1"), (second, "1"), (other, 1)):
        with pytest.raises(TypeError, match="violates"):
            each(torch.eye(2), wrong)
        with pytest.raises(TypeError, match="violates"):
            each(ROWS)
    kept = weakref.ref(inspect.getclosurevars(first.__wrapped__).nonlocals["kept"])
    del first, each
    gc.collect()
    assert kept() is None


def test_it_can_be_taken_away():
    jaxtyping.config.update("jaxtyping_disable", True)
    try:
        assert flipped(ROWS, wrong=True) is ROWS
    finally:
        jaxtyping.config.update("jaxtyping_disable", False)
    with pytest.raises(TypeError):
        flipped(ROWS, wrong=True)


def test_it_cannot_be_installed_too_late():
    with pytest.raises(RuntimeError, match="is imported already: import typechecking before it"):
        typechecking.install()


def is_checked(function) -> bool:
    """Tell whether one of the wrappers around a function is the check's."""
    while function is not None:
        if function.__code__.co_filename in (typechecking.__file__, CHECKS_GENERATORS):
            return True
        function = getattr(function, "__wrapped__", None)
    return False


def asks(function) -> bool:
    """Tell whether there is anything to check: Any, or no annotation, is not."""
    bare = inspect.unwrap(function)
    return typechecking._check(bare) is not bare


CHECKS_GENERATORS = inspect.getfile(typechecking._jaxtyped)


def test_every_function_of_the_library_is_checked_and_none_of_the_course():
    found = {True: 0, False: 0}
    for info in pkgutil.walk_packages(bomrl_lite.__path__, "bomrl_lite."):
        if info.name.endswith(("__main__", "mujoco_warp")):  # the latter needs an extra
            continue
        module = importlib.import_module(info.name)
        for name, each in vars(module).items():
            if inspect.isfunction(each) and each.__module__ == info.name and asks(each):
                library = not info.name.startswith("bomrl_lite.course.")
                assert is_checked(each) == library, f"{info.name}.{name}"
                found[library] += 1
    assert min(found.values()) > 300
