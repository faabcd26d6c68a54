"""Reading configurations back: from a run folder, a policy file, or a file of your own."""

import dataclasses
import importlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from bomrl_lite.training.config import FORMAT, PARTS, Config, all_settings, configure
from bomrl_lite.training.methods import METHODS, Estimator


def read_config(stored: Mapping[str, Any]) -> Config:
    """Return the configuration that a file holds, of this format or of format 1.

    Args:
        stored: settings by name; those that are left out are the method's own.

    Raises:
        ValueError: a newer format, or something that is no configuration.
    """
    fields = dict(stored)
    version = fields.pop("format", FORMAT)
    if version != FORMAT:
        raise ValueError(
            f"the configuration has format {version!r}, and this version reads formats up to "
            f"{FORMAT}: if a newer version of bomrl_lite made it, that one can read it"
        )
    if "format" not in stored and fields.keys() >= _FORMAT_1:
        fields = _from_format_1(fields)
    unknown = sorted(fields.keys() - all_settings() - _HEAD)
    if unknown:
        raise ValueError(
            f"the configuration has settings that this version does not know ({', '.join(unknown)})"
            ": if a newer version of bomrl_lite made it, that one can read it"
        )
    return configure(**fields)


def config_from_file(path: Path) -> Config:
    """Read a ``config.json``, or YAML where PyYAML is installed; see :func:`read_config`.

    Raises:
        FileNotFoundError: no such file.
        ValueError: the file holds no settings by name, or some that do not fit.
        ModuleNotFoundError: it is YAML and PyYAML is not installed.
    """
    try:
        stored = read_plain(path)
    except ValueError as error:
        raise ValueError(f"{path} cannot be read as settings: {error}") from error
    if not isinstance(stored, dict):
        raise ValueError(f"{path} must hold settings by name, as a run's config.json does")
    return read_config(cast("dict[str, Any]", stored))


def read_plain(path: Path) -> Any:
    """Read plain values: of YAML where the name ends in .yaml or .yml, else of JSON.

    Raises:
        FileNotFoundError: no such file.
        ValueError: the file is none, or names a key twice.
        ModuleNotFoundError: it is YAML and PyYAML is not installed.
    """
    text = path.read_text(encoding="utf-8")
    if path.suffix in (".yaml", ".yml"):
        return _yaml(text, path)
    return json.loads(text, object_pairs_hook=_once)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return an object of JSON, which must name each key once.

    Raises:
        ValueError: names the key.
    """
    named = dict(pairs)
    if len(named) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"it names {twice!r} a second time")
    return named


_SMALL_FLOAT = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+")
"""A number like 1e-3, which PyYAML takes for a text unless it has a point and a sign."""


def _yaml(text: str, path: Path) -> Any:
    """Read YAML, of which JSON is a part.

    Args:
        text: what the file holds.
        path: of the file, for messages.

    Raises:
        ModuleNotFoundError: PyYAML is not installed.
        ValueError: the text is none, or names a key twice.
    """
    try:
        yaml = importlib.import_module("yaml")
    except ImportError as error:
        raise ModuleNotFoundError(
            f"reading {path} needs PyYAML; pip install pyyaml, or write it as .json"
        ) from error
    try:
        _refuse_twice(yaml.compose(text, Loader=yaml.SafeLoader), set())
        loader = type("Loader", (yaml.SafeLoader,), {})
        loader.add_implicit_resolver("tag:yaml.org,2002:float", _SMALL_FLOAT, list("-+.0123456789"))
        return yaml.load(text, Loader=loader)
    except yaml.YAMLError as error:
        raise ValueError(" ".join(str(error).split())) from error


def _refuse_twice(node: Any, seen: set[int]) -> None:
    """Refuse a key that stands twice in one mapping: PyYAML would take the last.

    Args:
        node: of the tree of a YAML text; None of an empty one.
        seen: nodes that were looked at, for a tree may hold itself.

    Raises:
        ValueError: names the key and its line.
    """
    value: Any = getattr(node, "value", None)
    if id(node) in seen or not isinstance(value, list):
        return
    seen.add(id(node))
    children = cast("list[Any]", value)
    if node.id == "mapping":
        names = set[str]()
        for key, _ in children:
            if str(key.value) in names:
                line = key.start_mark.line + 1
                raise ValueError(f"line {line} names {key.value!r} a second time")
            names.add(str(key.value))
        children = [part for pair in children for part in pair]
    for child in children:
        _refuse_twice(child, seen)


_HEAD = {field.name for field in dataclasses.fields(Config)} - set(PARTS) | {"outer"}
_FORMAT_1 = frozenset(("method", "tasks", "iterations", "step_size", "distance", "delta", "seed"))
"""What every stored configuration of format 1 held."""
_NAMES = {
    "exact": {"joint": "joint_finetuned"},
    "episodes": {
        "maml": "lvc_maml",
        "bomrl": "bomrl_natural",
        "bomrl_trust_region": "bomrl_natural_region",
    },
}
"""What methods of format 1 are called today: there a name could mean two algorithms."""
_MAML = {
    "identity": "first_order_maml",
    "naive": "naive_maml",
    "frozen": "lvc_maml",
    "q_gradient": "loaded_dice_maml",
    "full": "loaded_dice_maml",
}
"""MAML from episodes by the rung that it was asked for: today each has a name of its own."""


def _from_format_1(stored: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of a configuration from before exact and sampled runs were one.

    A setting that the method did not have, or that another one left without effect, was stored all
    the same: it is left out.
    """
    given = {name: value for name, value in stored.items() if value is not None}
    values = "episodes" if "num_episodes" in stored else "exact"
    named = _NAMES[values].get(given["method"], str(given["method"]))
    # The ant had the settings of the other robots then.
    tasks = "cheetah/direction" if given["tasks"].startswith("ant/") else given["tasks"]
    own = configure(named, tasks=tasks, values=values)
    usual = configure(named, tasks=tasks, values=values, outer=given.get("outer")).stored()
    clip = own.settings().get("clip", 0.0)
    known = {**usual, "clip": clip, **given}
    known = {name: value for name, value in known.items() if name in usual and name != "format"}
    known |= {"method": named, "tasks": given["tasks"], "values": values}
    known["data"] = _rung(named, values, given)
    if values == "episodes" and named in {*_MAML.values(), "dice_maml"}:
        fits = known["data"] in METHODS[named].rungs
        known["method"] = named if fits else _MAML[known["data"]]
    return _without_idle_settings(known)


def _rung(named: str, values: str, given: Mapping[str, Any]) -> str:
    """Return what a configuration of format 1 kept of d theta / d phi."""
    own = METHODS[named].rungs[0]
    if own == "none" or (values == "exact" and len(METHODS[named].rungs) == 1):
        return own
    steps = named in _MAML.values() or "identity" in METHODS[named].rungs or named == "dice_maml"
    if values == "episodes" and steps and given.get("first_order", own == "identity"):
        return "identity"
    return str(given.get("data", "frozen" if own == "identity" else own))


def _without_idle_settings(known: dict[str, Any]) -> dict[str, Any]:
    """Reset what another setting leaves without effect, which today would be refused."""
    if "causal_trace" in known and known["data"] not in ("q_gradient", "full"):
        known["causal_trace"] = 1.0
    if known.get("baseline") is False:
        known["trace"] = Estimator().trace
    if known.get("kl_penalty") == 0:
        known["kl_target"] = 0.0
    if "distance_stride" in known and known.get("distance") == "d3":
        known["distance_stride"] = 1
    return known
