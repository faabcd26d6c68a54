"""The parameters of a notebook, refused in words where papermill or a learner got them wrong."""

import ast
import itertools
import os
from collections.abc import Iterable
from typing import Any

import matplotlib as mpl

PROFILES = ("smoke", "class", "full")
INJECTED = "# Parameters\n"
"""How the cell begins that papermill adds."""
_SHOWN_IN_NOTEBOOKS = ("inline", "ipympl", "widget", "nbagg", "notebook")


def begin(profile: str, seed: int) -> None:
    """Check a notebook's parameters, and that its pictures will be seen; called once at its top.

    A smoke run says that the figures quoted in the text are not its own. A drawing back end of
    the environment (``MPLBACKEND=agg``) would leave a notebook without pictures: inside a kernel
    it gives way to the one that draws into the notebook.

    Args:
        profile: one of smoke, class, full.
        seed: a whole number from 0 to 2**31 - 1.

    Raises:
        ValueError: another profile or seed, or papermill was given a name that is no parameter.
    """
    check_values(profile, seed)
    shell = _kernel_shell()
    if shell is not None:
        _refuse_unknown_injected(shell.user_ns.get("In", []))
        if _draws_nowhere():
            shell.run_line_magic("matplotlib", "inline")
    if profile == "smoke":
        print("Profile smoke: tiny runs, to see that all works. The text quotes figures of class.")


def check_values(profile: Any, seed: Any) -> None:
    """Refuse a profile or a seed that no notebook knows.

    Raises:
        ValueError: the profile is not one of three, or the seed no whole number from 0 on.
    """
    if profile not in PROFILES:
        raise ValueError(f"unknown profile {profile!r}: choose one of {', '.join(PROFILES)}")
    if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed < 2**31:
        raise ValueError(f"seed must be a whole number from 0 to 2**31 - 1, got {seed!r}")


def assigned_names(source: str) -> list[str]:
    """Return the names that the top level of a cell assigns, in order."""
    targets = (
        target
        for node in ast.parse(source).body
        if isinstance(node, ast.Assign | ast.AnnAssign)
        for target in (node.targets if isinstance(node, ast.Assign) else [node.target])
    )
    return [target.id for target in targets if isinstance(target, ast.Name)]


def check_names(given: Iterable[str], known: list[str]) -> None:
    """Refuse a parameter that a notebook does not have: it would be assigned and never read.

    Raises:
        ValueError: a given name is not known.
    """
    if unknown := [name for name in given if name not in known]:
        raise ValueError(f"unknown parameter {unknown[0]!r}: this notebook has {', '.join(known)}")


def _refuse_unknown_injected(cells: list[str]) -> None:
    """Compare the cell that papermill injected with the one above it, which holds the defaults."""
    for own, injected in itertools.pairwise(cells):
        if injected.startswith(INJECTED):
            check_names(assigned_names(injected), assigned_names(own))


def _draws_nowhere() -> bool:
    """Whether the back end in use comes from the environment and shows nothing in a notebook."""
    wanted, used = os.environ.get("MPLBACKEND", ""), mpl.get_backend()
    return used.lower() == wanted.lower() and not any(name in used for name in _SHOWN_IN_NOTEBOOKS)


def _kernel_shell() -> Any:
    """Return the shell of the kernel that this runs in, or None outside a kernel."""
    try:
        from IPython.core.getipython import get_ipython
    except ImportError:
        return None
    shell = get_ipython()
    return shell if getattr(shell, "kernel", None) is not None else None
