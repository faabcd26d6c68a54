"""What a sweep trains: families x methods x settings x seeds, read from a file."""

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, NamedTuple, cast

from bomrl_lite.course.experiments import folder_of
from bomrl_lite.require import described, require_seed, require_whole
from bomrl_lite.tasks import module_of
from bomrl_lite.training.config import Config, all_settings, configure
from bomrl_lite.training.evaluate import MOST
from bomrl_lite.training.stored_config import read_plain

KEYS = ("method", "tasks", "settings", "list", "seeds", "evaluation")
"""Of a sweep file."""
MOST_UNITS = 100_000
"""Of a sweep; more is a slip."""


@dataclass(frozen=True)
class Evaluation:
    """How every training is evaluated; as of the command ``evaluate``."""

    num_test_tasks: int = 20
    num_steps: int = 3
    num_episodes: int | None = None

    def __post_init__(self) -> None:
        """Refuse what is no count.

        Raises:
            ValueError: says which, what it must be and what it is.
        """
        require_whole("num_test_tasks", self.num_test_tasks, most=MOST)
        require_whole("num_steps", self.num_steps, least=0, most=MOST)
        if self.num_episodes is not None:
            require_whole("num_episodes", self.num_episodes, most=MOST)


class Unit(NamedTuple):
    """One training, and what its line of a table is called."""

    config: Config
    settings: Mapping[str, Any]
    """Those that differ within the sweep."""
    module: str
    """That registers the family, "" where it is one of the package's."""

    @property
    def folder(self) -> str:
        """Name of its run folder."""
        return folder_of(self.config)

    @property
    def name(self) -> str:
        """What people call it."""
        own = [f"{name}={value}" for name, value in self.settings.items()]
        return " ".join([self.config.tasks, self.config.method, *own, f"seed={self.config.seed}"])


class Sweep(NamedTuple):
    """What a file asks for."""

    units: tuple[Unit, ...]
    """In the order of the file; seeds change fastest, families slowest."""
    evaluation: Evaluation
    content: dict[str, Any]
    """Of the file."""

    @property
    def varied(self) -> tuple[str, ...]:
        """Names of the settings that differ within the sweep."""
        return tuple(self.units[0].settings)


def read_sweep(path: Path) -> Sweep:
    """Read a sweep file.

    Args:
        path: of a YAML or JSON file with the keys of :data:`KEYS`, all of which may be left out.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is none; says which key, what it must be and what it is.
        ModuleNotFoundError: PyYAML is not installed.
    """
    try:
        return make_sweep(read_plain(path))
    except ValueError as error:
        raise ValueError(f"{path} is no sweep that can be run: {error}") from error


def make_sweep(content: Any) -> Sweep:
    """Return what the content of a sweep file asks for.

    Raises:
        ValueError: a key, value or combination that there is not; says which.
    """
    content = _named("the file", content, KEYS)
    if not content:
        raise ValueError(f"it is empty: name at least one of {', '.join(KEYS)}")
    evaluation = Evaluation(
        **_named("evaluation", content.get("evaluation", {}), [f.name for f in fields(Evaluation)])
    )
    asked = _combinations(content)
    seeds = _seeds(content.get("seeds", 5))
    if len(asked) * len(seeds) > MOST_UNITS:
        raise ValueError(
            f"it asks for {len(asked) * len(seeds)} trainings, more than {MOST_UNITS}: split it"
        )
    configs = [_config(one, seed) for one in asked for seed in seeds]
    _refuse_repeated(configs)
    if evaluation.num_episodes is not None:
        exact = [config.tasks for config in configs if config.values == "exact"]
        if exact:
            raise ValueError(
                f"evaluation: num_episodes is {evaluation.num_episodes}, but {exact[0]} is trained "
                "on exact values, which take no episodes: leave it out"
            )
    varied = _varied(asked)
    units = tuple(_unit(config, varied) for config in configs)
    return Sweep(units, evaluation, content)


def _unit(config: Config, varied: list[str]) -> Unit:
    stored = config.stored()
    return Unit(config, {name: stored.get(name, "") for name in varied}, module_of(config.tasks))


def _combinations(content: dict[str, Any]) -> list[dict[str, Any]]:
    """Return what is asked for but for seeds: ``method``, ``tasks`` and settings by name.

    Raises:
        ValueError: a value of the wrong kind, an empty list, a setting that is named twice.
    """
    methods = _choices("method", content.get("method", [None]))
    families = _choices("tasks", content.get("tasks", [None]))
    grid = {
        name: _choices(f"settings: {name}", values)
        for name, values in _settings("settings", content.get("settings", {})).items()
    }
    entries = content.get("list", [{}])
    if not isinstance(entries, list) or not entries:
        raise ValueError(f"list must hold settings by name, once or more, got {described(entries)}")
    entries = [
        _settings(f"list: entry {number}", entry, ("method", "tasks"))
        for number, entry in enumerate(cast("list[Any]", entries), 1)
    ]
    above = {*grid, *(key for key in ("method", "tasks") if key in content)}
    for number, entry in enumerate(entries, 1):
        if twice := above & entry.keys():
            raise ValueError(
                f"list: entry {number} names {', '.join(sorted(twice))}, which stands outside the "
                "list too: name it in one place"
            )
    count = math.prod(map(len, (methods, families, entries, *grid.values())))
    if count > MOST_UNITS:
        raise ValueError(f"it asks for {count} trainings, more than {MOST_UNITS}: split it")
    return [
        {"tasks": family, "method": method, **entry, **dict(zip(grid, values, strict=True))}
        for family, method, entry, values in itertools.product(
            families, methods, entries, itertools.product(*grid.values())
        )
    ]


def _named(what: str, value: Any, known: Sequence[str]) -> dict[str, Any]:
    """Return a mapping all of whose keys are known.

    Raises:
        ValueError: it is none, or has another key.
    """
    if value is None and what == "the file":
        return {}
    if not isinstance(value, dict):
        raise ValueError(f"{what} must hold values by name, got {described(value)}")
    named = cast("dict[Any, Any]", value)
    for key in named:
        if key not in known:
            hint = ": a setting of the training stands under settings" if _is_setting(key) else ""
            raise ValueError(
                f"{what} has the unknown key {key!r}; known are {', '.join(known)}{hint}"
            )
    return named


def _is_setting(key: Any) -> bool:
    return key in {"values", "outer", "data", "iterations", "num_tasks", *all_settings()}


def _settings(what: str, value: Any, more: Sequence[str] = ()) -> dict[str, Any]:
    """Return settings by name, which :func:`configure` has yet to check.

    Raises:
        ValueError: it is no mapping, or has a key that is no setting.
    """
    if not isinstance(value, dict):
        raise ValueError(f"{what} must hold values by name, got {described(value)}")
    named = cast("dict[Any, Any]", value)
    for key in named:
        if key == "seed":
            raise ValueError(f"{what} names seed: say under seeds which there are")
        if key in ("method", "tasks") and key not in more:
            raise ValueError(f"{what} names {key}, which stands beside settings, not in them")
        if not isinstance(key, str) or not (
            key in more or key == "checkpoint_every" or _is_setting(key)
        ):
            raise ValueError(f"{what} names {key!r}, which no method has as a setting")
    return named


def _choices(what: str, value: Any) -> list[Any]:
    """Return the values that a key lists; one that is no list is the only one.

    Raises:
        ValueError: there is none, or one stands twice.
    """
    values = cast("list[Any]", value) if isinstance(value, list) else [value]
    if not values:
        raise ValueError(f"{what} is an empty list, of which there is no combination")
    for number, one in enumerate(values):
        if one in values[:number]:
            raise ValueError(f"{what} lists {one!r} twice")
    return values


def _seeds(value: Any) -> list[int]:
    """Return the seeds: those that are listed, or 0, 1, 2 and so on.

    Raises:
        ValueError: no whole numbers, none at all, or one twice.
    """
    if isinstance(value, list):
        return [require_seed(seed, "seeds") for seed in _choices("seeds", value)]
    return [*range(require_whole("seeds", value, most=MOST_UNITS))]


def _config(asked: dict[str, Any], seed: int) -> Config:
    """Return the configuration of a combination.

    Raises:
        ValueError: a value of the wrong kind, or a setting that the method does not have.
    """
    for name in ("method", "tasks"):
        if asked[name] is not None and not isinstance(asked[name], str):
            raise ValueError(f"{name} must be a name, got {described(asked[name])}")
    return configure(**asked, seed=seed)


def _refuse_repeated(configs: list[Config]) -> None:
    """Refuse two units that would be one training.

    Raises:
        ValueError: describes it.
    """
    seen = set[str]()
    for config in configs:
        folder = folder_of(config)
        if folder in seen:
            raise ValueError(
                f"it asks twice for {config.method} on {config.tasks} with the same settings, "
                f"seed {config.seed}: a setting that is the method's own is the same as none"
            )
        seen.add(folder)


def _varied(asked: list[dict[str, Any]]) -> list[str]:
    """Return the names of settings whose values differ between combinations."""
    names = dict.fromkeys(name for one in asked for name in one if name not in ("tasks", "method"))
    return [name for name in names if len({repr(one.get(name)) for one in asked}) > 1]
