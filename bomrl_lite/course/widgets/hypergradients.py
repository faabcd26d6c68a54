"""Widget of lesson 04b: inner steps, lam and linear solver over the error of a hypergradient."""

from collections.abc import Callable, Sequence
from functools import partial

import ipywidgets
import pandas as pd
import torch
from matplotlib.figure import Figure
from torch import Tensor
from torch.func import grad, vmap

from bomrl_lite.adaptation.distances import Distance
from bomrl_lite.adaptation.meta_gradients import bomrl
from bomrl_lite.adaptation.objective import adaptation_objective, policy_return
from bomrl_lite.course import plots
from bomrl_lite.course.widgets.explorer import explorer
from bomrl_lite.rollout.data import full_data
from bomrl_lite.solvers.implicit import (
    LinearSolver,
    implicit_vjp,
    is_solved,
    unrolled_hypergradient,
)
from bomrl_lite.solvers.linear import add_scaled, conjugate_gradient, neumann_series, norm
from bomrl_lite.solvers.linear import null_space_safe_solve as dense
from bomrl_lite.solvers.maximize import ascend
from bomrl_lite.types import Params, SolvedInfo, TabularPolicy, TabularTask

UNROLLED = "unrolled"
COLUMNS = ("error", "stationarity", "curvature", "residual")


def linear_solvers(step_size: float) -> dict[str, LinearSolver]:
    """Name the linear solvers to compare; the Neumann series takes the inner steps' size."""
    neumann = partial(neumann_series, step_size=step_size, max_iterations=10)
    return {
        "implicit, dense": dense,
        "implicit, 10 CG": partial(conjugate_gradient, max_iterations=10),
        "implicit, 4 CG": partial(conjugate_gradient, max_iterations=4),
        "implicit, 10 Neumann": neumann,
    }


def inner_step_size(lam: float) -> float:
    """Return a step size for gradient ascent on L / lam - D^2, which steepens as lam falls."""
    return 10 * lam / (1 + lam)


def hypergradient_errors(
    phi: Params,
    tasks: TabularTask,
    *,
    policy: TabularPolicy,
    gamma: float,
    distance: Distance,
    lams: Sequence[float],
    inner_steps: Sequence[int],
) -> pd.DataFrame:
    """Compare hypergradients at an inner problem that was left after some gradient steps.

    The truth is that of the argmax, from a closed form. An implicit hypergradient is asked for at
    the theta where the steps ended, the unrolled one goes back through them.

    Args:
        phi: meta-parameters, and the start of the inner steps.
        tasks: batch of N tasks.
        policy: a policy with free logits.
        gamma: discount in [0, 1).
        distance: d1 or d2, which have a closed form.
        lams: weights of the distance, > 0.
        inner_steps: numbers of inner steps, ascending, >= 1.

    Returns:
        Columns lam, steps, solver, task, error (relative), stationarity, curvature, residual,
        believed (whether ``implicit_vjp`` would accept it without being asked twice).
    """
    rows = []
    for lam in lams:
        solvers = linear_solvers(inner_step_size(lam))

        def of_one_task(
            task: TabularTask, lam: float = lam, solvers: dict[str, LinearSolver] = solvers
        ) -> Tensor:
            dials = {"policy": policy, "distance": distance, "lam": lam}
            truth, _ = bomrl(phi, task, gamma=gamma, tolerance=torch.inf, **dials)

            def objective(theta: Params, p: Params) -> Tensor:
                data = full_data(p, task, policy=policy, gamma=gamma)
                return adaptation_objective(theta, p, data, **dials) / lam

            outer = partial(policy_return, task=task, policy=policy, gamma=gamma)
            return _compare(objective, outer, phi, truth, inner_steps, solvers, lam)

        table = vmap(of_one_task)(tasks)
        names = [UNROLLED, *solvers]
        rows += [
            {"lam": lam, "steps": steps, "solver": name, "task": task}
            | dict(zip(COLUMNS, table[task, i, j].tolist(), strict=True))
            for i, steps in enumerate(inner_steps)
            for j, name in enumerate(names)
            for task in range(len(table))
        ]
    frame = pd.DataFrame(rows)
    info = SolvedInfo(*(torch.tensor(frame[name].to_numpy()) for name in COLUMNS[1:]))
    frame["believed"] = is_solved(info).numpy()
    return frame


def _compare(
    objective: Callable[[Params, Params], Tensor],
    outer: Callable[[Params], Tensor],
    phi: Params,
    truth: Params,
    inner_steps: Sequence[int],
    solvers: dict[str, LinearSolver],
    lam: float,
) -> Tensor:
    """Return error, stationarity, curvature and residual, [numbers of steps, solvers, 4]."""
    size, theta, done, table = inner_step_size(lam), phi, 0, []
    climb = partial(ascend, lambda x: objective(x, phi), step_size=size)

    def error_of(hypergradient: Params) -> Tensor:
        return norm(add_scaled(hypergradient, -1.0, truth)) / norm(truth)

    for steps in inner_steps:
        theta, done = climb(theta, num_steps=steps - done), steps
        unrolled = unrolled_hypergradient(objective, outer, phi, step_size=size, num_steps=steps)
        stationarity = norm(grad(objective)(theta, phi))
        nothing = torch.full_like(stationarity, torch.nan)
        row = [torch.stack([error_of(unrolled), stationarity, nothing, nothing])]
        for solve in solvers.values():
            implicit, info = implicit_vjp(
                objective, theta, phi, grad(outer)(theta), solve=solve, tolerance=torch.inf
            )
            row.append(torch.stack([error_of(implicit), *info]))
        table.append(torch.stack(row))
    return torch.stack(table)


def hypergradient_explorer(
    errors: pd.DataFrame, *, lam: float, steps: int, solver: str
) -> tuple[ipywidgets.VBox, Callable[[float, int, str], Figure]]:
    """Return sliders over lam and inner steps, a menu of solvers, and the function that draws.

    Args:
        errors: from :func:`hypergradient_errors`.
        lam: shown at first; one of the frame's.
        steps: shown at first; one of the frame's.
        solver: shown at first; one of the frame's.
    """

    def describe(lam: float, steps: int, solver: str) -> str:
        at = errors.query("lam == @lam and steps == @steps and solver == @solver")
        text = (
            f"{solver}, λ = {lam:g}, {steps} inner steps: relative error "
            f"{at['error'].median():.1e} (worst task {at['error'].max():.1e}), inner stationarity "
            f"{at['stationarity'].max():.1e}"
        )
        if solver == UNROLLED:
            return f"{text}; nothing to solve, nothing is checked"
        return (
            f"{text}, linear residual {at['residual'].max():.1e}; "
            f"implicit_vjp accepts {at['believed'].sum()} of {len(at)} tasks"
        )

    def slider(name: str, values: Sequence[float], value: float) -> ipywidgets.SelectionSlider:
        options = [(f"{v:g}", v) for v in sorted(set(values))]
        return ipywidgets.SelectionSlider(
            options=options, value=value, description=name, continuous_update=False
        )

    controls = (
        slider("λ", errors["lam"].tolist(), lam),
        slider("inner steps", errors["steps"].tolist(), steps),
        ipywidgets.Dropdown(
            options=list(errors["solver"].unique()), value=solver, description="solver"
        ),
    )
    draw = partial(plots.hypergradient_error, errors)
    return explorer(controls, draw, describe), draw
