"""Policies as one small file: what a trained policy needs to be used, in some tens of kilobytes."""

import zipfile
from pathlib import Path
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor

from bomrl_lite.policies.networks import categorical_mlp, gaussian_mlp, over_states, tabular_softmax
from bomrl_lite.require import require_path
from bomrl_lite.rollout.observations import Moments, lens_of, no_moments
from bomrl_lite.tasks import task_names
from bomrl_lite.training.archive import pack, unpack
from bomrl_lite.training.config import Config
from bomrl_lite.training.files import write_atomically
from bomrl_lite.training.places import RUN_FILES
from bomrl_lite.training.state import MetaState, require_like
from bomrl_lite.training.stored_config import read_config
from bomrl_lite.types import ActionDistribution, Params, Policy


class TrainedPolicy(NamedTuple):
    """A policy that can act: its parameters tell its sizes, and its moments cannot be forgotten.

    ``load_policy(path).act(observation, generator)`` needs neither the run nor its task family.
    """

    config: Config | None
    """What it was trained with; None where its task family is not registered in this process."""
    phi: Params
    moments: Moments | None
    """Of the observations that it was trained on; None where they were not normalised."""

    @property
    def policy(self) -> Policy:
        """The network, or the table over numbered states, that ``phi`` are the parameters of."""
        return _policy_of(self.phi)

    def distribution(self, observation: Tensor) -> ActionDistribution:
        """Return pi(. | s) of raw observations.

        Args:
            observation: [..., O] as the environment gives it, or [...] integers: numbered states.

        Raises:
            ValueError: observations of another size, or with numbers that are not finite.
        """
        states = "logits" in self.phi
        size = None if states else self.observation_size
        fits = not observation.is_floating_point() if states else observation.shape[-1:] == (size,)
        if not fits:
            wanted = "numbers of states, integers" if states else f"[..., {size}]"
            got = f"{observation.dtype} {tuple(observation.shape)}"
            raise ValueError(f"observation must be {wanted}, got {got}")
        if not observation.isfinite().all():
            raise ValueError("observation has numbers that are not finite")
        if states:
            return self.policy.distribution(self.phi, observation)
        seen = observation.to(next(iter(self.phi.values())).dtype)
        return self.policy.distribution(
            self.phi, seen if self.moments is None else lens_of(self.moments)(seen)
        )

    def act(self, observation: Any, generator: torch.Generator) -> Tensor:
        """Draw an action for a raw observation: [..., K], or [...] integers.

        Args:
            observation: a tensor, or what numpy makes one of; see :meth:`distribution`.
            generator: the randomness.

        Raises:
            ValueError: observations of another size, or with numbers that are not finite.
        """
        return self.distribution(torch.as_tensor(observation)).sample(generator)

    @property
    def observation_size(self) -> int:
        """O, of the first layer; not of a table."""
        return self.phi["body.0.weight" if "body.0.weight" in self.phi else "head.weight"].shape[1]


def save_policy(config: Config, state: MetaState, path: Path | str) -> None:
    """Write a trained policy.

    Args:
        config: what it was trained with.
        state: its parameters, and the moments of what it saw.
        path: file; its folder is made if there is none.

    Raises:
        IsADirectoryError: ``path`` is a folder.
        FileExistsError: ``path`` has the name of a file of a run, or is a file of another kind.
    """
    path = require_path("path", path)
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a folder; name a file in it: {path / 'policy.pt'}")
    if path.name.lower() in RUN_FILES or (path.exists() and not zipfile.is_zipfile(path)):
        raise FileExistsError(
            f"{path} is the name of another kind of file, which a policy would replace; name one "
            f"like {path.with_name('policy.pt')}"
        )
    described = state.described()
    kept = {name: described[name] for name in ("phi", "moments")}
    write_atomically(path, pack({"config": config.stored(), **kept}))


def load_policy(path: Path | str) -> TrainedPolicy:
    """Read a file of :func:`save_policy` back, executing no code of the file's.

    Raises:
        FileNotFoundError: no such file.
        ValueError: not a file of :func:`save_policy`.
    """
    data = require_path("path", path).read_bytes()
    try:
        saved = unpack(data)
        settings, phi = saved["config"], saved["phi"]
        config = read_config(settings) if settings["tasks"] in task_names() else None
        like = _policy_of(phi).init(torch.Generator())
        require_like("parameters", phi, like)
        trained = TrainedPolicy(config, cast("Params", phi), None)
        if saved["moments"]:
            own = no_moments(trained.observation_size)._asdict()
            require_like("moments", saved["moments"], own)
            trained = trained._replace(moments=Moments(**saved["moments"]))
        return trained
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        kind = "" if isinstance(error, ValueError) else f"{type(error).__name__}: "
        raise ValueError(
            f"{path} is not a policy of this course ({kind}{error}); write one with "
            "python -m bomrl_lite export RUN FILE"
        ) from error


def _policy_of(phi: Params) -> Policy:
    """Return the policy whose parameters have these names and shapes."""
    if "logits" in phi:
        return over_states(tabular_softmax(*phi["logits"].shape))
    layers = [phi[name] for name in phi if name.startswith("body.") and name.endswith("weight")]
    head = phi["head.weight"]
    hidden, size = tuple(len(layer) for layer in layers), [*layers, head][0].shape[1]
    make = gaussian_mlp if "log_std" in phi else categorical_mlp
    return make(size, len(head), hidden=hidden, dtype=head.dtype)
