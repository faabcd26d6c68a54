"""Measures rows of one checkout: a script, run in a process whose import path is that checkout.

The checkout measures itself with its own measurement. One that it does not have yet is this
build's, on its library. Nothing of this build is imported before that.
"""

import importlib
import json
import sys
from collections.abc import Callable, Iterable
from functools import partial
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

BENCH = "bomrl_lite.course.bench"


def measurement(key: str, checkout: Path) -> Callable[[], Iterable[Any]]:
    """Return a measurement of the checkout, or this build's where it has none of that name."""
    main = importlib.import_module(f"{BENCH}.main")
    if key == "course.lesson_times":
        return partial(main.course.lesson_times, checkout)
    module, _, name = key.partition(".")
    for each in getattr(main, "MEASUREMENTS", ()):
        if (each.__module__.rpartition(".")[2], each.__name__) == (module, name):
            return each
    _bring_own_bench()
    return getattr(importlib.import_module(f"{BENCH}.{module}"), name)


def _bring_own_bench() -> None:
    """Put this file's folder in the place of the checkout's bench."""
    for loaded in [name for name in sys.modules if name.startswith(BENCH)]:
        del sys.modules[loaded]
    folder = Path(__file__).parent
    spec = spec_from_file_location(
        BENCH, folder / "__init__.py", submodule_search_locations=[str(folder)]
    )
    assert spec is not None
    sys.modules[BENCH] = module_from_spec(spec)


def main(checkout: Path, out: Path, key: str, names: list[str]) -> None:
    """Measure the rows of these names, as many as there are, and write them as JSON."""
    import torch

    import bomrl_lite

    if Path(bomrl_lite.__file__).resolve().parents[1] != checkout:
        raise SystemExit(f"the library was imported from {bomrl_lite.__file__}, not from there")
    torch.set_num_threads(1)
    figures, left = {}, set(names)
    for figure in measurement(key, checkout)():
        if figure.name in left:
            figures[figure.name] = figure.figure
            left.remove(figure.name)
        if not left:
            break
    out.write_text(json.dumps(figures))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], sys.argv[4:])
