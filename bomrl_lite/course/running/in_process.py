"""The fast road: a notebook's cells run in this process, which is left as it was found.

papermill stays the judge; this one starts no kernel and imports nothing twice.
"""

import atexit
import os
import random
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import torch
from IPython.core.interactiveshell import InteractiveShell
from IPython.core.pylabtools import activate_matplotlib, select_figure_formats
from IPython.utils.capture import capture_output
from matplotlib_inline.backend_inline import configure_inline_support
from nbformat import NotebookNode
from traitlets.config import Config

from bomrl_lite.course import predictions
from bomrl_lite.course.building.sources import make_notebook, read_source
from bomrl_lite.course.record import MIME, checked

_INLINE = "module://matplotlib_inline.backend_inline"  # what a kernel draws with
_TAIL = 8


class Switch(NamedTuple):
    """Something that a notebook may change in this process."""

    read: Callable[[], Any]
    write: Callable[[Any], Any]
    fresh: Any


def run_in_process(
    source_or_notebook: Path | NotebookNode,
    parameters: dict[str, Any],
    folder: Path | None = None,
) -> list[dict[str, Any]]:
    """Run a notebook here, from a fresh state, and return the figures that it recorded.

    Args:
        source_or_notebook: a py:percent file, or a notebook.
        parameters: assigned right after the cell tagged parameters, as papermill does.
        folder: where it runs; by default the folder of its notebook, or the current one.

    Raises:
        Exception: the error of a cell, with a note that names the cell.
        RuntimeError: a cell wrote to stderr, as a warning does, recorded a name twice, or would
            have ended the process.
        ValueError: a cell displayed a figure that is none.
    """
    notebook = source_or_notebook
    if isinstance(notebook, Path):
        folder = folder or notebook.resolve().parents[1]
        notebook = make_notebook(list(read_source(notebook.parent, Path(notebook.name)).cells))
    records: list[dict[str, Any]] = []
    with _fresh_state(folder or Path.cwd()) as warned, _fresh_shell() as shell:
        for number, cell in enumerate(notebook.cells, 1):
            if cell.cell_type == "code":
                records += _run_cell(shell, number, cell.source, warned)
            if "parameters" in cell.metadata.get("tags", ()):
                shell.user_ns.update(parameters)
    return records


def _run_cell(
    shell: InteractiveShell, number: int, source: str, warned: list[warnings.WarningMessage]
) -> list[dict[str, Any]]:
    """Run one cell and return what it recorded; raise its error, or for its warnings."""
    errors: list[BaseException] = []
    # a figure that cannot be drawn shows its error only here: the cell itself has ended well
    shell.showtraceback = lambda *_, **__: errors.extend(filter(None, [sys.exc_info()[1]]))
    with capture_output() as captured:
        result = shell.run_cell(source, store_history=True)
    errors += filter(None, [result.error_before_exec, result.error_in_exec])
    if errors and isinstance(errors[0], SystemExit):  # it would end whoever asked for the figures
        errors[0] = RuntimeError(f"cell {number} called exit, where a lesson runs to its end")
    if errors:
        errors[0].add_note(f"in cell {number}:\n" + "\n".join(source.splitlines()[-_TAIL:]))
        raise errors[0]
    noise = [
        *(str(warning.message) for warning in warned),
        *filter(None, [captured.stderr.strip()]),
    ]
    if noise:
        raise RuntimeError(f"cell {number} wrote to stderr, where a lesson is silent: {noise[0]}")
    return [checked(output.data[MIME]) for output in captured.outputs if MIME in output.data]


@contextmanager
def _fresh_shell() -> Iterator[InteractiveShell]:
    """Yield a shell with an empty namespace, drawing as a kernel does; afterwards there is none."""
    if InteractiveShell.initialized():
        raise RuntimeError("run_in_process was called inside IPython: call it from plain Python")
    with tempfile.TemporaryDirectory() as folder:
        config = Config({"HistoryManager": {"enabled": False, "hist_file": ":memory:"}})
        shell = InteractiveShell.instance(config=config, ipython_dir=folder)
        activate_matplotlib(_INLINE)
        configure_inline_support(shell, _INLINE)
        select_figure_formats(
            shell, {"png"}, bbox_inches="tight"
        )  # the line above does it once only
        try:
            yield shell
        finally:
            plt.close("all")
            shell.user_ns.clear()
            atexit.unregister(shell.atexit_operations)
            InteractiveShell.clear_instance()


@contextmanager
def _fresh_state(folder: Path) -> Iterator[list[warnings.WarningMessage]]:
    """Give the switches of this process their fresh values, and back their own at the end.

    Yields:
        the warnings that are shown meanwhile.
    """
    backend = mpl.get_backend(auto_select=False) or "agg"
    with ExitStack() as stack:
        stack.callback(mpl.use, backend)
        stack.enter_context(mpl.rc_context())
        mpl.rcdefaults()
        warned = stack.enter_context(warnings.catch_warnings(record=True))
        _reset_warnings()
        stack.callback(sys.modules.__setitem__, "__main__", sys.modules["__main__"])
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        for switch in _switches(folder, scratch):
            stack.callback(switch.write, switch.read())
            switch.write(switch.fresh)
        yield warned


def _reset_warnings() -> None:
    """Filter warnings as a fresh kernel does, whatever pytest or -W made of them."""
    warnings.resetwarnings()
    quiet = (DeprecationWarning, PendingDeprecationWarning, ImportWarning, ResourceWarning)
    for category in quiet:
        warnings.simplefilter("ignore", category, append=True)
    warnings.filterwarnings("default", category=DeprecationWarning, module="__main__")


def _switches(folder: Path, scratch: Path) -> list[Switch]:
    """List what notebooks are known to change; the legacy numpy calls ARE the global state."""
    legacy = np.random.RandomState(0).get_state()
    torch_state = torch.Generator().manual_seed(0).get_state()
    strict = torch.are_deterministic_algorithms_enabled
    kept = scratch / predictions.FILE.name  # a person's own may lie in the folder
    return [
        Switch(lambda: predictions.FILE, partial(setattr, predictions, "FILE"), kept),
        Switch(os.getcwd, os.chdir, str(folder)),
        Switch(lambda: dict(os.environ), _set_environment, dict(os.environ)),
        Switch(lambda: list(sys.path), _set_path, ["", *sys.path]),
        Switch(random.getstate, random.setstate, random.Random(0).getstate()),
        Switch(np.random.get_state, np.random.set_state, legacy),
        Switch(np.geterr, lambda modes: np.seterr(**modes), np.geterr()),
        Switch(np.get_printoptions, lambda o: np.set_printoptions(**o), np.get_printoptions()),
        Switch(torch.get_rng_state, torch.set_rng_state, torch_state),
        Switch(torch.get_default_dtype, torch.set_default_dtype, torch.float32),
        Switch(torch.get_num_threads, torch.set_num_threads, torch.get_num_threads()),
        Switch(torch.is_grad_enabled, torch.set_grad_enabled, True),
        Switch(strict, torch.use_deterministic_algorithms, False),
    ]


def _set_environment(variables: dict[str, str]) -> None:
    os.environ.clear()
    os.environ.update(variables)


def _set_path(entries: list[str]) -> None:
    sys.path[:] = entries
