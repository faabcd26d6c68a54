"""Widgets of the lessons: a pure ``compute`` function, a figure of its result, a thin view.

Static pages lose widgets, so every lesson draws the same figure once more below its widget.
"""

from bomrl_lite.course.widgets.adaptation import (
    adaptation_explorer,
    repeated_adaptation,
    simplex_explorer,
    three_paths,
)
from bomrl_lite.course.widgets.baseline import (
    Landscape,
    draw_landscape,
    lake_explorer,
    one_step_landscape,
    return_after_step,
    step_size_explorer,
)
from bomrl_lite.course.widgets.explorer import explorer
from bomrl_lite.course.widgets.hypergradients import (
    hypergradient_errors,
    hypergradient_explorer,
    inner_step_size,
)
from bomrl_lite.course.widgets.player import (
    Moment,
    adapted_clips,
    goals_of,
    moment,
    record_clips,
    rollout_player,
)
from bomrl_lite.course.widgets.variance import DialPoint, dial_point, variance_explorer

__all__ = [
    "DialPoint",
    "Landscape",
    "Moment",
    "adaptation_explorer",
    "adapted_clips",
    "dial_point",
    "draw_landscape",
    "explorer",
    "goals_of",
    "hypergradient_errors",
    "hypergradient_explorer",
    "inner_step_size",
    "lake_explorer",
    "moment",
    "one_step_landscape",
    "record_clips",
    "repeated_adaptation",
    "return_after_step",
    "rollout_player",
    "simplex_explorer",
    "step_size_explorer",
    "three_paths",
    "variance_explorer",
]
