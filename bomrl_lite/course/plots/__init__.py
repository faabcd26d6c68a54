"""Figures of the lessons: seaborn on tidy frames, colour-blind safe, no training inside.

Every function draws onto given axes or a new figure and returns the figure.
"""

import matplotlib.pyplot as plt

from bomrl_lite.course.plots.curves import (
    gap_against_stationarity,
    gap_bars,
    gap_over_steps,
    gap_over_tasks,
    return_over_step_size,
    training_curves,
)
from bomrl_lite.course.plots.lakes import draw_lake, draw_lakes
from bomrl_lite.course.plots.pictures import bilevel_picture, meta_learning_picture
from bomrl_lite.course.plots.style import GOLD, ICE, INK, LABELS, PRIORS, VALUES, WATER, use_style

__all__ = [
    "GOLD",
    "ICE",
    "INK",
    "LABELS",
    "PRIORS",
    "VALUES",
    "WATER",
    "bilevel_picture",
    "draw_lake",
    "draw_lakes",
    "gap_against_stationarity",
    "gap_bars",
    "gap_over_steps",
    "gap_over_tasks",
    "meta_learning_picture",
    "plt",
    "return_over_step_size",
    "training_curves",
    "use_style",
]
