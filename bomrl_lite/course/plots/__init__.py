"""Figures of the lessons: tidy frames aggregated first, then drawn; no training inside.

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
from bomrl_lite.course.plots.estimators import (
    laboratory_figure,
    q_gradient_figure,
)
from bomrl_lite.course.plots.experiments import draw as draw_experiment
from bomrl_lite.course.plots.geometry import (
    adaptation_paths,
    adapted_lake,
    bound_along_line,
    distance_balls,
    reduction_errors,
    returns_over_steps,
)
from bomrl_lite.course.plots.hypergradients import (
    condition_over_lam,
    cost_of_inner_steps,
    errors_over_iterations,
    hypergradient_error,
    implicit_function_picture,
    ladder_errors,
)
from bomrl_lite.course.plots.lakes import describe_lakes, draw_lake, draw_lakes
from bomrl_lite.course.plots.locomotion import Clip, check_clips, draw_filmstrip
from bomrl_lite.course.plots.open_questions import (
    gap_by_movement,
    gaps_by_task_count,
    signal_by_length,
)
from bomrl_lite.course.plots.pictures import bilevel_picture, meta_learning_picture
from bomrl_lite.course.plots.predictions import calibration
from bomrl_lite.course.plots.robots import (
    contact_sheet,
    cost_per_step,
    lead_table,
    performance_profiles,
    throughput,
    time_bars,
    yardsticks,
)
from bomrl_lite.course.plots.runs import draw_learning_curves, last_values, read_runs
from bomrl_lite.course.plots.sampled import (
    METHOD_LABELS,
    ascent_fields,
    draw_walks,
    sampled_training_curves,
)
from bomrl_lite.course.plots.saving import require_picture, write_figure
from bomrl_lite.course.plots.style import (
    DARK,
    DISTANCE_COLOURS,
    GOLD,
    ICE,
    INK,
    LABELS,
    PRIORS,
    VALUES,
    WATER,
    WIDTH,
    png,
    shown,
    use_style,
)
from bomrl_lite.course.plots.theory import convergence, dial_setting, proof_steps, smoothing_caveat

__all__ = [
    "DARK",
    "DISTANCE_COLOURS",
    "GOLD",
    "ICE",
    "INK",
    "LABELS",
    "METHOD_LABELS",
    "PRIORS",
    "VALUES",
    "WATER",
    "WIDTH",
    "Clip",
    "adaptation_paths",
    "adapted_lake",
    "ascent_fields",
    "bilevel_picture",
    "bound_along_line",
    "calibration",
    "check_clips",
    "condition_over_lam",
    "contact_sheet",
    "convergence",
    "cost_of_inner_steps",
    "cost_per_step",
    "describe_lakes",
    "dial_setting",
    "distance_balls",
    "draw_experiment",
    "draw_filmstrip",
    "draw_lake",
    "draw_lakes",
    "draw_learning_curves",
    "draw_walks",
    "errors_over_iterations",
    "gap_against_stationarity",
    "gap_bars",
    "gap_by_movement",
    "gap_over_steps",
    "gap_over_tasks",
    "gaps_by_task_count",
    "hypergradient_error",
    "implicit_function_picture",
    "laboratory_figure",
    "ladder_errors",
    "last_values",
    "lead_table",
    "meta_learning_picture",
    "performance_profiles",
    "plt",
    "png",
    "proof_steps",
    "q_gradient_figure",
    "read_runs",
    "reduction_errors",
    "require_picture",
    "return_over_step_size",
    "returns_over_steps",
    "sampled_training_curves",
    "shown",
    "signal_by_length",
    "smoothing_caveat",
    "throughput",
    "time_bars",
    "training_curves",
    "use_style",
    "write_figure",
    "yardsticks",
]
