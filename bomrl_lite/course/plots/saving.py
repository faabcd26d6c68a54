"""Writing a figure to a file that is a picture, whole or not at all."""

import io
from pathlib import Path

from matplotlib.backend_bases import FigureCanvasBase
from matplotlib.figure import Figure

from bomrl_lite.training.files import write_atomically
from bomrl_lite.training.places import require_writable


def require_picture(path: Path) -> None:
    """Refuse a file that no picture can be written to; nothing is made.

    Raises:
        ValueError: its ending is not that of a format that matplotlib writes.
        OSError: see :func:`bomrl_lite.training.places.require_writable`.
    """
    require_writable(path)
    # matplotlib writes pgf by way of LaTeX, which few have.
    endings = sorted(FigureCanvasBase.get_supported_filetypes().keys() - {"pgf"})
    if path.suffix[1:].lower() not in endings:
        raise ValueError(f"{path} must end in the format of a picture: .{', .'.join(endings)}")


def write_figure(figure: Figure, path: Path) -> None:
    """Write a figure in the format of the file's ending."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format=path.suffix[1:].lower())
    write_atomically(path, buffer.getvalue())
