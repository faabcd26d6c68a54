"""Policies as one small file: what a trained policy needs to be used, in some tens of kilobytes."""

import io
import pickle
from pathlib import Path

import torch

from bomrl_lite.rollout.observations import Moments
from bomrl_lite.training.config import Config
from bomrl_lite.training.files import write_atomically
from bomrl_lite.training.state import MetaState
from bomrl_lite.training.stored_config import read_config
from bomrl_lite.types import Params


def save_policy(config: Config, state: MetaState, path: Path | str) -> None:
    """Write a trained policy.

    Args:
        config: what it was trained with.
        state: its parameters, and the moments of what it saw.
        path: file; its folder is made if there is none.
    """
    buffer = io.BytesIO()
    described = state.described()
    kept = {name: described[name] for name in ("phi", "moments")}
    torch.save({"config": config.stored(), **kept}, buffer)
    write_atomically(Path(path), buffer.getvalue())


def load_policy(path: Path | str) -> tuple[Config, Params, Moments | None]:
    """Read a file of :func:`save_policy` back, executing no code of the file's.

    Raises:
        FileNotFoundError: no such file.
        ValueError: not a file of :func:`save_policy`.
    """
    data = Path(path).read_bytes()
    try:
        saved = torch.load(io.BytesIO(data), weights_only=True, map_location="cpu")
        moments = Moments(**saved["moments"]) if saved["moments"] else None
        return read_config(saved["config"]), saved["phi"], moments
    except (
        LookupError,
        TypeError,
        ValueError,
        AttributeError,
        RuntimeError,
        pickle.UnpicklingError,
    ) as error:
        raise ValueError(
            f"{path} is not a policy of this course ({type(error).__name__}: {error}); write one "
            "with python -m bomrl_lite export RUN FILE"
        ) from error
