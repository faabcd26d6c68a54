"""Widgets of the lessons: a pure ``compute`` function, a figure of its result, a thin view.

Static pages lose widgets, so every lesson draws the same figure once more below its widget.
"""

from bomrl_lite.course.widgets.baseline import (
    Landscape,
    draw_landscape,
    lake_explorer,
    one_step_landscape,
    return_after_step,
    step_size_explorer,
)
from bomrl_lite.course.widgets.explorer import explorer

__all__ = [
    "Landscape",
    "draw_landscape",
    "explorer",
    "lake_explorer",
    "one_step_landscape",
    "return_after_step",
    "step_size_explorer",
]
