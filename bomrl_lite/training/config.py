r"""ONE configuration: a method with its settings, the tasks, and how large a run is."""

import dataclasses
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal, cast, get_args, get_origin, get_type_hints

from bomrl_lite.adaptation.settings import AlgSettings, HeadClosedForm, Rung
from bomrl_lite.require import (
    described,
    require_not_negative,
    require_number,
    require_positive,
    require_seed,
    require_share,
    require_truth,
    require_whole,
)
from bomrl_lite.tasks import locomotion, make_tasks, register_tasks, require_exact
from bomrl_lite.training.methods import (
    METHODS,
    Epochs,
    Estimator,
    Kind,
    Network,
    OuterSettings,
    Trpo,
)
from bomrl_lite.training.methods import Values as ValuesName
from bomrl_lite.types import Tasks

FORMAT = 2
"""Of stored configurations; see :func:`bomrl_lite.training.stored_config.read_config`."""


@dataclass(frozen=True)
class ExactValues:
    """Every task's values solved, not sampled."""

    batch_tasks: int | None = None
    """Tasks of one iteration, drawn anew from the training tasks; None takes all of them."""
    unsolved: Literal["raise", "approximate"] = "raise"
    """What to do about an inner problem that was not solved; the history marks it."""


@dataclass(frozen=True)
class Episodes:
    """What an iteration collects."""

    num_episodes: int = 20
    """Episodes per task before adaptation, and again after it."""
    horizon: int | None = None
    """Steps of an episode; None takes the family's."""
    num_steps: int = 1
    """Adaptation steps, each on episodes of the policy before it."""
    diagnose_every: int = 10
    """Iterations between two measurements of the costly diagnostics."""


@dataclass(frozen=True)
class Simulation:
    """How robots are simulated."""

    integrator: Literal["gym", "fast"] = "gym"
    """Of robots: gymnasium's dynamics, or implicitfast, which is no other for the cheetah."""
    backend: Literal["auto", "mujoco", "warp"] = "auto"
    """What simulates robots: MuJoCo on the processor or Warp on a GPU; auto takes what is there."""


@dataclass(frozen=True)
class Config:
    """A training run; make one by :func:`configure`. Two runs of one Config are bit-identical.

    On one machine, that is; of the number of threads no bit depends.
    """

    method: str
    """How phi is trained; ``python -m bomrl_lite methods`` lists them."""
    tasks: str
    """Task family, by name; a wrong name lists the close ones."""
    values: ValuesName
    """Where the data come from: exact values, or episodes."""
    alg: AlgSettings
    data: Rung
    """What of the data's dependence on phi the meta-gradient keeps: a rung of the ladder."""
    outer: OuterSettings
    estimator: Estimator | None
    """None with exact values."""
    sampling: ExactValues | Episodes
    network: Network | None
    """None for tabular policies."""
    simulation: Simulation | None
    """None but for robots."""
    num_tasks: int = 10
    """Exact values: training tasks, drawn once. Episodes: tasks of an iteration, drawn anew."""
    iterations: int = 150
    """Updates of phi."""
    seed: int = 0
    """Decides everything that is random."""
    checkpoint_every: int = 25
    """Iterations between two checkpoints."""

    def __post_init__(self) -> None:
        """Refuse values that could not train.

        Raises:
            ValueError: says which setting, what it must be and what it is.
        """
        for part, name in _settings_of(self):
            value = getattr(part, name)
            if type(_checked(part, name, value)) is not type(value):
                raise ValueError(
                    f"{name} is {described(value)}, which configure() would make Python's own; "
                    "use that, or Config.replace"
                )
        _check_together(self)

    def settings(self) -> dict[str, Any]:
        """Return every setting by its name, whatever part it belongs to."""
        return {name: getattr(part, name) for part, name in _settings_of(self)}

    @property
    def outer_name(self) -> str:
        """Return ``adam`` or ``trpo``: what the outer update is built on."""
        return "trpo" if isinstance(self.outer, Trpo) else "adam"

    def stored(self) -> dict[str, Any]:
        """Return what a file holds: plain values by name."""
        head = {"format": FORMAT, "method": self.method, "tasks": self.tasks}
        head["outer"] = self.outer_name
        plain = {name: _plain(value) for name, value in self.settings().items()}
        return {**head, **plain}

    def replace(self, **changes: Any) -> "Config":
        """Return a configuration with some settings changed, those of its parts included.

        With another method or other tasks, settings that were chosen go along and all others are
        those of the new method there.

        Raises:
            ValueError: a setting that the new configuration does not have.
        """
        usual = configure(self.method, tasks=self.tasks, values=self.values).stored()
        chosen = {k: v for k, v in self.stored().items() if v != usual.get(k) and k != "format"}
        same: dict[str, Any] = {"method": self.method, "tasks": self.tasks}
        # Episodes of tables were asked for; of other tasks there is nothing else.
        if changes.keys().isdisjoint(("tasks", "method")) or self.values == "episodes":
            same["values"] = self.values
        return configure(**{**same, **chosen, **changes})


def configure(
    method: str | None = None,
    *,
    tasks: str | Tasks[Any] | None = None,
    values: str | None = None,
    outer: str | None = None,
    **settings: Any,
) -> Config:
    """Return a configuration: the method's tuned settings for these tasks, but for those given.

    Args:
        method: a key of ``METHODS``; left out, ``maml`` with exact values, else ``bomrl_natural``.
        tasks: family, by name, or one of your own, which is registered; left out, the method's
            natural one: Frozen Lake where it takes exact values, else 2-D navigation.
        values: ``exact`` or ``episodes``; left out, what the tasks have and the method takes.
        outer: ``adam`` or ``trpo``; left out, the method's own.
        settings: any field of :class:`Config` or of its parts, by name.

    Raises:
        ValueError: an unknown method or family, values that the method or the tasks do not have, or
            a setting that the method does not have; the message lists those it has.
    """
    if isinstance(tasks, Tasks):
        register_tasks(tasks)
        tasks = tasks.name
    method = _usual_method(tasks, values) if method is None else method
    if method not in tuple(METHODS):  # a tuple: what is no name need not be hashable
        raise ValueError(f"method must be one of {tuple(METHODS)}, got {method!r}")
    if tasks is None:
        exact = "exact" in METHODS[method].values and values != "episodes"
        tasks = "frozen_lake/holes-4x4" if exact else "navigation/circle"
    family = make_tasks(tasks)
    source = _source_of(method, family, values)
    kind = _kind_of(family, source)
    tuned = METHODS[method].settings(kind)
    large = {"num_tasks": 20, "iterations": 50, "checkpoint_every": 10}
    parts: dict[str, Any] = {
        "alg": tuned.alg,
        "outer": _outer(outer, source, tuned.outer),
        "estimator": None if source == "exact" else tuned.estimator,
        "sampling": ExactValues() if source == "exact" else Episodes(),
        "network": None if family.exact else tuned.network,
        "simulation": Simulation() if tasks in locomotion.FAMILIES else None,
    }
    own: dict[str, Any] = {"method": method, "tasks": tasks, "values": source}
    own |= {"data": METHODS[method].rungs[0], **({} if source == "exact" else large)}
    return _with_settings(own, parts, settings)


def _usual_method(tasks: str | None, values: str | None) -> str:
    exact = values != "episodes" and (tasks is None or make_tasks(tasks).exact)
    return "maml" if exact else "bomrl_natural"


def _source_of(method: str, tasks: Tasks[Any], values: str | None) -> ValuesName:
    """Return where the data come from: what was asked for, if it can be had."""
    can = METHODS[method].values
    usual = "exact" if tasks.exact else "episodes"
    source = usual if values is None else values
    if source not in get_args(ValuesName):
        raise ValueError(f"values must be one of {get_args(ValuesName)}, got {values!r}")
    if source == "exact":
        require_exact(tasks)
    if source not in can:
        others = ", ".join(name for name, m in METHODS.items() if source in m.values)
        way = "on a tabular family" if source == "episodes" else "with values='episodes'"
        raise ValueError(
            f"{method} takes {' and '.join(can)} only, not {source} ({tasks.name}): use it {way}, "
            f"or one of {others}"
        )
    return "exact" if source == "exact" else "episodes"


def _kind_of(tasks: Tasks[Any], source: ValuesName) -> Kind:
    if source == "exact":
        return "exact"
    if not tasks.normalise_observations:
        return "points"
    return "ant" if tasks.name.startswith("ant/") else "robots"


def _outer(name: str | None, source: ValuesName, usual: OuterSettings) -> OuterSettings:
    """Return the outer update of that name, with the method's own settings if it is the usual."""
    if name not in (None, "adam", "trpo"):
        raise ValueError(f"outer must be one of ('adam', 'trpo'), got {name!r}")
    if name is None or (name == "trpo") == isinstance(usual, Trpo):
        return usual
    if source == "exact":
        raise ValueError("outer must be 'adam' with exact values, got 'trpo'")
    return Trpo() if name == "trpo" else Epochs()


def _with_settings(
    own: dict[str, Any], parts: dict[str, Any], settings: Mapping[str, Any]
) -> Config:
    """Hand every setting to the part that has it."""
    top = {"data", "num_tasks", "iterations", "seed", "checkpoint_every"}
    homes = {
        field.name: part
        for part, value in parts.items()
        if value is not None
        for field in dataclasses.fields(value)
    }
    unknown = [name for name in settings if name not in homes and name not in top]
    if unknown:
        raise no_such_setting(Config(**own, **parts), unknown)
    changes: dict[str, dict[str, Any]] = {part: {} for part in parts}
    for name, value in settings.items():
        # What comes back is Python's own: lam=1 means 1.0, also in files and comparisons.
        if name in homes:
            changes[homes[name]][name] = _checked(parts[homes[name]], name, value)
        else:
            own[name] = _checked(Config, name, value)
    # Each part at once: settings that fit together may not fit what they replace one by one.
    parts |= {part: dataclasses.replace(parts[part], **new) for part, new in changes.items() if new}
    return Config(**own, **parts)


def no_such_setting(config: Config, names: Sequence[str]) -> ValueError:
    """Return the error about settings that a method does not have."""
    source = "exact values" if config.values == "exact" else "episodes"
    return ValueError(
        f"{config.method} on {config.tasks} with {source} has no setting {', '.join(names)}; it "
        f"has {', '.join(config.settings())}"
    )


@cache
def all_settings() -> frozenset[str]:
    """Return the names of the settings of all methods, on all kinds of tasks."""
    kinds = (*get_args(AlgSettings), *get_args(OuterSettings), Estimator, Network)
    parts = (*kinds, ExactValues, Episodes, Simulation)
    return frozenset(field.name for part in parts for field in dataclasses.fields(part))


def _plain(value: Any) -> Any:
    """Return a setting as JSON has it."""
    return list(cast("tuple[Any, ...]", value)) if isinstance(value, tuple) else value


PARTS = ("alg", "outer", "estimator", "sampling", "network", "simulation")


def _settings_of(config: Config) -> Iterator[tuple[Any, str]]:
    """Yield (part, name) of every setting."""
    for name in ("values", "data"):
        yield config, name
    for part in PARTS:
        value = getattr(config, part)
        for field in dataclasses.fields(value) if value is not None else ():
            yield value, field.name
    for name in ("num_tasks", "iterations", "seed", "checkpoint_every"):
        yield config, name


LARGEST = 1e38
"""Of a setting; one over it is the smallest: beyond them single precision ends."""


def _require_positive(name: str, value: Any) -> float:
    number = require_positive(name, value)
    if not 1 / LARGEST <= number <= LARGEST:
        raise ValueError(f"{name} must be between {1 / LARGEST:g} and {LARGEST:g}, got {value}")
    return number


def _require_not_negative(name: str, value: Any) -> float:
    number = require_not_negative(name, value)
    if number > LARGEST:
        raise ValueError(f"{name} must be at most {LARGEST:g}, got {value}")
    return number


def _require_signed(name: str, value: Any) -> float:
    return math.copysign(_require_not_negative(name, abs(require_number(name, value))), value)


def _require_widths(name: str, value: Any) -> tuple[int, ...]:
    if not isinstance(value, tuple | list):
        raise ValueError(f"{name} must be whole numbers like (32, 32), got {described(value)}")
    return tuple(require_whole(name, width) for width in cast("Sequence[Any]", value))


def _require_count(name: str, value: Any) -> int:
    return require_whole(name, value, most=2**31)


def _require_halvings(name: str, value: Any) -> int:
    return require_whole(name, value, least=0, most=30)  # a 2^30th of a step is none


_REQUIRE: dict[str, Callable[[str, Any], Any]] = {
    **dict.fromkeys(("step_size", "lam", "delta", "learning_rate", "max_kl"), _require_positive),
    **dict.fromkeys(("ridge", "head_ridge", "body_step", "clip"), _require_not_negative),
    **dict.fromkeys(("kl_penalty", "kl_target", "kl_guard"), _require_not_negative),
    **dict.fromkeys(("causal_trace", "trace"), require_share),
    **dict.fromkeys(("credit", "log_std", "head_scale"), _require_signed),
    **dict.fromkeys(("baseline", "normalise"), require_truth),
    "hidden": _require_widths,
    "halvings": _require_halvings,
    "seed": lambda name, value: require_seed(value, name),
}
"""What a setting must be; one that is not here is a word that its type lists, or a count."""


def _checked(record: Any, name: str, value: Any) -> Any:
    """Return a setting of a record, or of its class, as what its type says.

    Raises:
        ValueError: says which setting, what it must be and what it is.
    """
    hint = get_type_hints(record if isinstance(record, type) else record.__class__)[name]
    kinds = (hint, *get_args(hint))
    if value is None and type(None) in kinds:
        return None
    allowed = [word for kind in kinds if get_origin(kind) is Literal for word in get_args(kind)]
    if not allowed:
        return _REQUIRE.get(name, _require_count)(name, value)
    if value not in allowed:
        raise ValueError(f"{name} must be one of {tuple(allowed)}, got {value!r}")
    return value


def _check_together(config: Config) -> None:
    """Refuse settings that do not fit each other, or that another one leaves without effect."""
    s, rungs = config.settings(), METHODS[config.method].rungs
    if config.data not in rungs:
        raise ValueError(
            f"data of {config.method} must be one of {rungs}, got {config.data!r}: a name means "
            "one algorithm"
        )
    if s.get("batch_tasks") is not None and not 1 <= s["batch_tasks"] <= config.num_tasks:
        raise ValueError(
            f"batch_tasks must be between 1 and num_tasks = {config.num_tasks}, got "
            f"{s['batch_tasks']}"
        )
    if config.network is None and (
        isinstance(config.alg, HeadClosedForm) or s.get("parameters") == "head"
    ):
        raise ValueError(
            f"{config.tasks} has a tabular policy, which has no head to adapt alone; "
            "use parameters='all' with another method than bomrl_head"
        )
    if config.network is None and s.get("head_ridge") is not None:
        raise ValueError(
            f"head_ridge is {s['head_ridge']}, but {config.tasks} has a tabular policy without a "
            "head; say ridge instead"
        )
    usual = Estimator()
    if s.get("causal_trace", 1.0) != 1.0 and config.data not in ("q_gradient", "full"):
        raise ValueError(
            f"causal_trace is {s['causal_trace']}, but data={config.data!r} has no causal terms to "
            "truncate; leave it at 1, or ask for data='q_gradient' or 'full'"
        )
    if s.get("baseline") is False and s["trace"] != usual.trace:
        raise ValueError(
            f"trace is {s['trace']}, but without a baseline advantages are returns; leave it, or "
            "set baseline=True"
        )
    if s.get("kl_target", 0.0) > 0 and s["kl_penalty"] == 0:
        raise ValueError(
            f"kl_target is {s['kl_target']}, but there is no penalty to adapt; set kl_penalty too"
        )
