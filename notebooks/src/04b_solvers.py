# %% [markdown]
# # 04b · Solvers, unrolling, failures
#
# **After this lesson you can**
#
# - solve the linear system of a hypergradient iteratively, and tell when ten iterations are not enough;
# - put damping where it belongs, and say why a singular $H$ does no harm;
# - choose between unrolling and the implicit gradient by what each keeps in memory and when each is right;
# - recognise a hypergradient that is wrong by its diagnostics, before it spoils a training run.
#
# **Time:** reading 45 minutes, computing about 1 minute. **Before:** [04a · Implicit differentiation](04a_implicit_differentiation.ipynb). **After:** [04c · Constraints and samples](04c_constraints_and_samples.ipynb); exercises 4.2 and 4.8 of set 04 (`exercises/04_implicit_differentiation.ipynb`) can be done now. **Words:** [symbols and names](../docs/symbols_and_names.md).
#
# | equation | function |
# |---|---|
# | $Ax=b$: eigenvalues, conjugate gradients, $\eta\sum_k(I-\eta A)^kb$ | `bl.null_space_safe_solve`, `bl.conjugate_gradient`, `neumann_series` |
# | $\nabla_\phi J(\theta_K(\phi))$, back through $K$ steps | `bl.unrolled_hypergradient` |
# | $\lVert\nabla_\theta F\rVert$, least eigenvalue of $H$, $\lVert Hx-c\rVert/\lVert c\rVert$ | `SolvedInfo`: `stationarity`, `curvature`, `residual` |
#
# From 04a: $F=L/\lambda-D^2$ is the inner objective, $\theta(\phi)$ its maximum, $H=-\nabla_\theta^2F$ there, $c=\nabla J(\theta)$, and the hypergradient is $\nabla_\phi\langle x,\nabla_\theta F\rangle$ with $Hx=c$. $P$ is the number of parameters, $\eta$ a step size, $K$ a number of inner steps. `bilevel.implicit` asks for the hypergradient of one task, `bilevel.by_state` is Proposition 1, the truth in what follows.

# %% tags=["parameters"]
profile = "class"  # "smoke": seconds, for tests · "class": for you · "full": larger, for figures
seed = 0

# %%
import itertools
from functools import partial

import pandas as pd
import torch
from torch.func import grad, vmap

# %%
import bomrl_lite as bl
from bomrl_lite.course import plots, predictions, widgets
from bomrl_lite.course.experiments import bilevel
from bomrl_lite.course.parameters import begin
from bomrl_lite.course.record import record
from bomrl_lite.course.show import stored_table
from bomrl_lite.solvers import linear as solvers

begin(profile, seed)
plots.use_style()
torch.set_num_threads(1)
more_steps, more_lams = (1, 3, 10, 30, 100, 300, 1000), (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
sizes = {
    "smoke": {"tasks": 2, "starts": 4, "inner_steps": (1, 10), "lams": (1.0, 10.0)},
    "class": {
        "tasks": 5,
        "starts": 20,
        "inner_steps": (1, 3, 10, 30, 100, 200),
        "lams": (0.1, 0.3, 1.0, 3.0, 10.0),
    },
    "full": {"tasks": 20, "starts": 100, "inner_steps": more_steps, "lams": more_lams},
}[profile]
count = sizes["tasks"]
small, lakes = bilevel.random_problems(count, seed), bilevel.lake_problems(count, seed)

# %% [markdown]
# ## 1. Linear solvers, and ten iterations
#
# With shared parameters there is no state-by-state road, and $H$ is too large to write out once $\theta$ is a network. What is always cheap is a product $v\mapsto Hv$, one pullback of the recorded gradient (lesson 01). Three ways to solve $Hx=c$:
#
# - **dense**: write $H$ out, $P$ products, and invert its eigenvalues, leaving out those that are 0;
# - **conjugate gradients** (Hestenes and Stiefel, 1952): one product per iteration; the error falls with the *square root* of the condition number, and after as many iterations as there are distinct eigenvalues it is done, up to rounding;
# - **Neumann series**, $H^{-1}=\eta\sum_k(I-\eta H)^k$: plain gradient descent on the system; needs $\eta<2/\max$ eigenvalue, and the error falls with the condition number itself.
#
# How many iterations are enough? A common choice is ten.

# %%
counts = (1, 2, 3, 5, 10, 20, 40, 80) if profile != "smoke" else (1, 10)


def matrix_at(phi, task, problems, distance, lam):
    """H at the solution, written out."""
    theta = bilevel.solution(phi, task, problems, distance, lam)
    objective = bilevel.inner_objective(task, problems, distance, lam)
    product = solvers.hessian_vector_product(lambda x: -objective(x, phi), theta)
    return solvers.dense_matrix(product, theta)


def error_and_residual(phi, task, solve, problem):
    """Of a hypergradient whose linear system ``solve`` leaves unfinished."""
    got, info = bilevel.implicit(phi, task, *problem, solve=solve, tolerance=torch.inf)
    truth, _ = bilevel.by_state(phi, task, *problem)
    return bilevel.relative_error(got, truth), info.residual


# %% tags=["widget", "hide-input"]
predictions.ask(
    "04b.ten",
    "How large is the error of the hypergradient after ten iterations of conjugate "
    "gradients, on the worst of the 5-state tasks (15 logits)?",
    edges=(1e-08, 0.0001, 0.01),
)

# %%
rows, both = [], {"5 states": small, "Frozen Lake": lakes}
eigenvalues = {
    name: torch.linalg.eigvalsh(
        torch.stack([matrix_at(*pair, problems, bl.d1, 1.0) for pair in problems.singles()])
    )
    for name, problems in both.items()
}
for (name, problems), k in itertools.product(both.items(), counts):
    problem, pairs = (problems, bl.d1, 1.0), (problems.phis, problems.tasks)
    step_size = 1 / eigenvalues[name].max().item()
    named = {
        "conjugate gradients": partial(bl.conjugate_gradient, max_iterations=k),
        "Neumann series": partial(solvers.neumann_series, step_size=step_size, max_iterations=k),
    }
    for solver, solve in named.items():
        error, residual = vmap(partial(error_and_residual, solve=solve, problem=problem))(*pairs)
        labels = {"problem": name, "solver": solver, "iterations": k}
        rows += [
            {**labels, "task": n, "error": e, "residual": r}
            for n, (e, r) in enumerate(zip(error.tolist(), residual.tolist(), strict=True))
        ]
iterating = pd.DataFrame(rows)
fig = plots.errors_over_iterations(iterating)

# %% [markdown]
# *Error of the hypergradient over iterations, D1, $\lambda=1$; medians, bands span all tasks. The dotted line is at ten.*

# %%
ten = iterating.query("iterations == 10 and solver == 'conjugate gradients'")
ten = ten.groupby("problem", sort=False)[["error", "residual"]].agg(["min", "max"])
for name, values in eigenvalues.items():
    null = values.abs() <= 1e-10 * values.max(-1, keepdim=True).values
    kept = torch.where(null, torch.inf, values).amin(-1)
    condition = (values.amax(-1) / kept).log10()
    print(
        f"{name}: {values.shape[-1]} eigenvalues, {int(null.sum(-1).min())} of them 0, "
        f"condition number of the rest 1e{condition.min():.1f} to 1e{condition.max():.1f}"
    )
record("ten_cg_error_5_states", ten.loc["5 states", ("error", "max")], "relative")
record("ten_cg_error_frozen_lake", ten.loc["Frozen Lake", ("error", "max")], "relative")
predictions.reveal("04b.ten", ten.loc["5 states", ("error", "max")])
ten.map("{:.1e}".format)

# %% [markdown]
# *Conjugate gradients after ten iterations, smallest and largest over tasks: relative error of the hypergradient, and the relative residual of the linear system.* Ten suffice for the 5-state problems, whose $H$ has ten eigenvalues that are not 0; on the lakes they do not. The count tells you nothing; the *residual* does, so `bl.conjugate_gradient` stops at its residual and reports it, and `bl.implicit_vjp` refuses a large one.
#
# The Neumann series is written above as a sum, and computed as steps $x\leftarrow x+\eta(c-Hx)$. Ten of them, and the ten terms:

# %%
H, eta = matrix_at(*small.singles()[0], small, bl.d1, 1.0), 1 / eigenvalues["5 states"].max().item()
x, _ = solvers.neumann_series(
    lambda v: {"x": H @ v["x"]}, {"x": H[0]}, step_size=eta, max_iterations=10
)
rest = torch.eye(len(H), dtype=torch.float64) - eta * H
terms = eta * sum(torch.linalg.matrix_power(rest, k) for k in range(10)) @ H[0]
record("neumann_against_its_terms", (x["x"] - terms).norm() / terms.norm(), "relative")

# %% [markdown]
# ### Directions that change nothing
#
# The zero eigenvalues above are no accident: adding a constant to all logits of a state changes no probability, one such **gauge direction** per state. $H$ is singular, and a dense factorisation divides by what rounding left of those zeros. The null-space-safe solve leaves them out, and conjugate gradients never see them: $c$ has no part in them, and products with $H$ add none.


# %%
def dense_error(phi, task, problem, solve):
    """Error of the hypergradient with a dense solver, or None where it calls H singular."""
    truth, _ = bilevel.by_state(phi, task, *problem)
    try:
        got, _ = bilevel.implicit(phi, task, *problem, solve=solve, tolerance=torch.inf)
    except torch.linalg.LinAlgError:
        return None
    return bilevel.relative_error(got, truth).item()


rows = []
for name, problems in {"5 states": small, "Frozen Lake": lakes}.items():
    problem, row = (problems, bl.d1, 1.0), {"problem": name}
    thetas = [bilevel.solution(*pair, *problem) for pair in problems.singles()]
    slopes = [
        bl.policy_gradient(theta, task, **problems.exact)["logits"]
        for theta, (_, task) in zip(thetas, problems.singles(), strict=True)
    ]
    row["c along the gauge"] = max((c.sum(-1).abs().max() / c.norm()).item() for c in slopes)
    for solve in (solvers.dense_solve, bl.null_space_safe_solve):
        errors = [dense_error(*pair, problem, solve) for pair in problems.singles()]
        row[f"error, {solve.__name__}"] = max(
            (e for e in errors if e is not None), default=torch.nan
        )
        row[f"called singular, {solve.__name__}"] = f"{errors.count(None)} of {count}"
    rows.append(row)
pd.DataFrame(rows).set_index("problem").map(lambda x: x if isinstance(x, str) else f"{x:.1e}")

# %% [markdown]
# *Largest over tasks: the share of $c$ along the gauge, and the relative error of the hypergradient with each dense solver, and on how many tasks it called $H$ singular and gave none.* Whether a plain factorisation fails is a matter of how the zeros were rounded. Where it does not, its answer may hold anything along the gauge, and the hypergradient does not mind: no $\nabla_\theta F$ has a share in that direction.
#
# ### Damping belongs inside the objective
#
# A tempting cure for a badly conditioned $H$ is to solve $(H+\varepsilon I)x=c$ instead. But then $x$ belongs to another problem than $\theta$ and the rest of the formula. Put the damping where all of them see it: add $\varepsilon\|\theta-\phi\|^2$ to $D^2$, solve *that* inner problem, and its Hessian, its mixed derivative and its $\theta$ fit together again. The two are judged by two truths: damping in the solver by the exact hypergradient of the problem *without* damping, whose $\theta$ it uses; damping in the objective by central differences of the *damped* problem. A distance of one's own is one function (lesson 03a).

# %%
EPSILON = 1e-3


def damped_d1(phi, theta, *, policy, state_weights):
    at = {"policy": policy, "state_weights": state_weights}
    return bl.d1(phi, theta, **at) + EPSILON * bl.d3(phi, theta, **at)


def damped_solve(matvec, b):
    return bl.null_space_safe_solve(lambda v: solvers.add_scaled(matvec(v), 2 * EPSILON, v), b)


def damping(phi, task):
    options = {"solve": damped_solve, "tolerance": torch.inf}
    in_solver, _ = bilevel.implicit(phi, task, small, bl.d1, 1.0, **options)
    plain, _ = bilevel.by_state(phi, task, small, bl.d1, 1.0)
    in_objective, _ = bilevel.implicit(phi, task, small, damped_d1, 1.0)
    solve = partial(bilevel.solution, problems=small, distance=damped_d1, lam=1.0)
    own = bilevel.differences(solve, phi, task, small)
    pairs = ((in_solver, plain), (in_objective, own))
    return torch.stack([bilevel.relative_error(got, truth) for got, truth in pairs])


# %%
in_solver, in_objective = vmap(damping)(small.phis, small.tasks).T
print(f"damping in the solver only:  error {in_solver.min():.1e} to {in_solver.max():.1e}")
print(f"damping in the objective:    error {in_objective.min():.1e} to {in_objective.max():.1e}")
record("damping_in_the_solver_error", in_solver.max(), "relative")
record("damping_in_the_objective_error", in_objective.max(), "relative")

# %% [markdown]
# *Relative errors, smallest and largest over tasks.*
#
# **Learnt:** an iterative solver is as good as its residual, zero eigenvalues along the gauge do no harm, and what is added to $H$ must be added to $F$.

# %% [markdown]
# ## 2. Unrolled or implicit?
#
# There is another way to differentiate an arg max: run $K$ gradient steps on $F$, starting at $\phi$, and let automatic differentiation walk back through all of them (Franceschi et al., 2018; Shaban et al., 2018). It needs no theorem and no linear system. What it yields is the exact gradient of *what the $K$ steps compute*. We compare the two at equal numbers of inner steps, the implicit one evaluated at the same unfinished $\theta_K$, on request (`tolerance=inf`).

# %%
errors = widgets.hypergradient_errors(
    {name: leaf[0] for name, leaf in small.phis.items()},
    small.tasks,
    policy=small.policy,
    gamma=small.gamma,
    distance=bl.d1,
    lams=sizes["lams"],
    inner_steps=sizes["inner_steps"],
)

# %% [markdown]
# Errors are one half of the comparison, costs are the other. `peak_bytes` counts the bytes that live tensors hold, at their peak; they depend on shapes only, not on which task it is.

# %%
from bomrl_lite.solvers.maximize import ascend

STEP_SIZE = widgets.inner_step_size(1.0)
phi, task = small.singles()[0]
objective = bilevel.inner_objective(task, small, bl.d1, 1.0)


def unrolled(steps):
    outer = partial(bl.policy_return, task=task, **small.exact)
    return bl.unrolled_hypergradient(objective, outer, phi, step_size=STEP_SIZE, num_steps=steps)


def climbed(start, steps):
    return ascend(lambda x: objective(x, start), start, step_size=STEP_SIZE, num_steps=steps)


def implicit_after(steps):
    theta = climbed(phi, steps)
    options = {"solve": partial(bl.conjugate_gradient, max_iterations=10), "tolerance": torch.inf}
    return bilevel.implicit(phi, task, small, bl.d1, 1.0, theta=theta, **options)


# %% tags=["widget", "hide-input"]
predictions.ask(
    "04b.memory",
    "By what factor does the peak memory of the unrolled hypergradient grow from 1 to 100 "
    "inner steps?",
    edges=(1.5, 5, 30),
    unit="times",
)

# %%
import statistics

from bomrl_lite.course.bench.figure import cpu_seconds
from bomrl_lite.course.memory import peak_bytes

METHODS = {"unrolled": unrolled, "implicit, 10 CG": implicit_after}
timed = [steps for steps in sizes["inner_steps"] if steps <= 100]
rounds = 3 if profile != "smoke" else 1
rows = []
for steps, (name, method) in itertools.product(timed, METHODS.items()):
    work = partial(method, steps)
    seconds = statistics.median(cpu_seconds(work) for _ in range(rounds))
    measured = {"seconds": seconds, "bytes": peak_bytes(work)}
    rows.append({"method": name, "steps": steps, **measured})
costs = pd.DataFrame(rows)
at_one = errors[(errors["lam"] == 1.0) & errors["solver"].isin(METHODS)]
fig = plots.cost_of_inner_steps(at_one.rename(columns={"solver": "method"}), costs)

# %% [markdown]
# *5-state problems, D1, $\lambda=1$. Error against the exact hypergradient, medians, bands span all tasks; CPU time of inner steps and derivative together, median of three runs; the most bytes that tensors held at one time.*

# %%
grown = costs.set_index(["method", "steps"])["bytes"].unstack()
first, last = timed[0], timed[-1]
growth = grown[last] / grown[first]
print(f"peak memory after {last} inner steps, over that after {first}:")
print(growth.round(2).to_string())
predictions.reveal("04b.memory", growth["unrolled"])
record("implicit_memory_growth", growth["implicit, 10 CG"], "ratio")
record("unrolled_memory_growth", growth["unrolled"], "ratio")
of_ten_steps = bilevel.differences(lambda p, _: climbed(p, 10), phi, task, small)
record("unrolled_error", bilevel.relative_error(unrolled(10), of_ten_steps), "relative")

# %% [markdown]
# - *Accuracy*: both approach the exact hypergradient as the inner problem gets solved. Neither is right before: the unrolled one answers another question, the implicit one answers this question at the wrong place.
# - *Memory*: the unrolled graph keeps every step. The implicit hypergradient forgets how $\theta$ was found.
# - *Time*: both pay for the inner steps; the unrolled one pays again on the way back, the implicit one a constant for its linear solver. With few steps that constant is the larger part.
#
# ### Try it
#
# Inner steps, $\lambda$ and solver over the error. Look for: the $\lambda$ at which 10 inner steps suffice; the Neumann series that no inner step helps any more; the line of text that says when `bl.implicit_vjp` would have refused. (`lam` in the menu is $\lambda$. A page without a running Python shows no controls; the picture of their first setting, and that line as a table, follow below for it.)

# %% tags=["widget"]
view, draw_error = widgets.hypergradient_explorer(
    errors, lam=1.0, steps=10, solver="implicit, 10 CG"
)
view

# %%
fig = draw_error(1.0, 10, "implicit, 10 CG")
chosen = errors.query("lam == 1.0 and steps == 10").groupby("solver", sort=False)
accepted = chosen["believed"].sum().astype(int).astype(str) + f" of {count}"
pd.DataFrame(
    {
        "median error": chosen["error"].median().map("{:.1e}".format),
        "stationarity": chosen["stationarity"].max().map("{:.1e}".format),
        "implicit_vjp accepts": accepted.where(accepted.index != "unrolled", "is not asked"),
    }
)

# %% [markdown]
# *Relative error of the hypergradient, median over tasks, for one meta-policy on several 5-state tasks. Left over inner steps, right over $\lambda$; the star is the chosen setting, the thick line the chosen solver. Small $\lambda$ means a far and curved way to the solution: the same number of steps leaves more undone.* The table is about the setting of the star: ten steps leave a stationarity that `bl.implicit_vjp` does not accept, whatever solver follows.

# %% [markdown]
# ### The same on samples
#
# Unrolling keeps every inner step for the way back. The implicit gradient keeps only the end, but is right only *at* the end. The inner problem of a neural policy whose last layer adapts to episodes (recipe C of lesson 04c), climbed by 1 to 100 gradient steps (stored, `python -m bomrl_lite experiment inner_steps`):

# %%
steps_table = stored_table("inner_steps")
fig = plots.draw_experiment("inner_steps", steps_table)

memory = steps_table.pivot_table(index="steps", columns="way", values="megabytes")
record(
    "sampled_implicit_memory_growth",
    memory["implicit"].iloc[-1] / memory["implicit"].iloc[0],
    "ratio",
    source="table",
)
record(
    "sampled_unrolled_memory_growth",
    memory["unrolled"].iloc[-1] / memory["unrolled"].iloc[0],
    "ratio",
    source="table",
)

# %% [markdown]
# *Medians over five seeds, bands from smallest to largest.* Both become exact as the inner problem is solved. Memory is where they part: flat against linear.
#
# **Learnt:** unroll when the steps *are* the algorithm, go implicit when the solution is, and then solve it.

# %% [markdown]
# ## 3. Failure signatures
#
# What can go wrong leaves a trace in the diagnostics, if one looks at the right ones. We provoke each failure on purpose.
#
# ### (a) The inner problem was not solved
#
# Ten gradient steps, and a hypergradient asked for as if they had arrived:

# %%
theta = climbed(phi, 10)
try:
    bilevel.implicit(phi, task, small, bl.d1, 1.0, theta=theta)
except bl.UnsolvedInnerProblem as error:
    print(str(error).replace(". ", ".\n"))

# %% [markdown]
# Who wants it all the same says `tolerance=inf`, and then knows how far off it may be: the stationarity orders the errors. All tasks, all $\lambda$, dense solver:

# %%
dense = errors.query("solver == 'implicit, dense'")
edges, names = [-1, 1e-6, 1e-4, 1e-2, torch.inf], ["< 1e-6", "< 1e-4", "< 1e-2", "larger"]
ranges = pd.cut(dense["stationarity"], edges, labels=names)
dense.groupby(ranges, observed=True)["error"].agg(["size", "median", "max"]).map("{:.2g}".format)

# %% [markdown]
# *Hypergradients by the stationarity of their inner solution: how many, median and largest relative error.*
#
# ### (b) The spurious stationary point
#
# D2 in *logits* is treacherous. The gradient in a logit is $\nu(s)\,\pi_\theta(a\mid s)$ times the slope in the probability, so it vanishes where a probability does, whether or not the slope does. And plain Newton steps on $\nabla_\theta F=0$ look for any point without slope, not for a maximum.

# %% tags=["widget", "hide-input"]
predictions.ask(
    "04b.spurious",
    "What share of the starts does plain Newton lead to a point that is no maximum?",
    edges=(0.1, 0.3, 0.6),
)

# %% tags=["widget", "hide-input"]
predictions.ask(
    "04b.differences",
    "At such a point a hypergradient is wrong. Differentiate the same Newton solver by "
    "central differences: how far apart are the two, relatively, in the median?",
    edges=(1e-06, 0.001, 0.1),
)

# %%
starts = bilevel.random_problems(sizes["starts"], seed, streams=(7, 8))


def newton(phi, task, iterations=40):
    """Solve grad F = 0 from phi by plain Newton steps."""
    objective, theta = bilevel.inner_objective(task, starts, bl.d2, 1.0), phi
    for _ in range(iterations):
        bend = solvers.hessian_vector_product(lambda x: -objective(x, phi), theta)
        step, _ = bl.null_space_safe_solve(bend, grad(objective)(theta, phi))
        theta = solvers.add_scaled(theta, 1.0, step)
    return theta


# %%
from bomrl_lite.adaptation.distances import STATE_DISTANCES
from bomrl_lite.solvers.implicit import is_solved


def by_slope(phi, task, theta):
    """Diagnostics in probabilities, where every slope counts."""
    data_of = partial(bl.full_data, task=task, **starts.exact)
    dials = {"policy": starts.policy, "state_distance": STATE_DISTANCES[bl.d2], "lam": 1.0}
    _, info = bl.policywise_hypergradient(
        data_of, theta, phi, theta["logits"], **dials, tolerance=torch.inf
    )
    return info


def examine(phi, task):
    theta = newton(phi, task)
    got, info = bilevel.implicit(phi, task, starts, bl.d2, 1.0, theta=theta, tolerance=torch.inf)
    differences = bilevel.differences(newton, phi, task, starts)
    closed = bilevel.through_closed_form(phi, task, starts, bl.d2, 1.0)
    return {
        "to differences": bilevel.relative_error(got, differences),
        "to closed form": bilevel.relative_error(got, closed),
        "accepted in logits": is_solved(info),
        "slope in logits": info.stationarity,
        "slope in probabilities": by_slope(phi, task, theta).stationarity,
        "least probability": starts.policy.log_probs(theta).exp().min(),
    }


# %%
found = pd.DataFrame(
    {name: column.numpy() for name, column in vmap(examine)(starts.phis, starts.tasks).items()}
)
spurious = found[found["to closed form"] > 1e-3]
print(f"{len(spurious)} of {len(found)} starts end at a spurious point;")
print(f"in logits, {int(spurious['accepted in logits'].sum())} of them look solved,")
print(f"in probabilities, {int((spurious['slope in probabilities'] < 1e-6).sum())}")
record("spurious_share", len(spurious) / len(found), "of starts")
record("largest_slope_in_logits", found["slope in logits"].max(skipna=False), "norm")
predictions.reveal("04b.spurious", len(spurious) / len(found))
columns = ["to differences", "to closed form", "slope in probabilities", "least probability"]
spurious[columns].agg(["min", "median", "max"]).map("{:.1e}".format)

# %%
if len(spurious):
    predictions.reveal("04b.differences", spurious["to differences"].median())

# %% [markdown]
# *Over the starts that end at a spurious point: relative difference of the implicit hypergradient to central differences through the same Newton solver, and to automatic differentiation of the closed form; the largest slope in a probability; the smallest probability.*
#
# Read the first two columns. **Finite differences agree with a wrong hypergradient**, for they differentiate the same wrong solution. Stationarity, curvature and residual in logits are all in order. Only a look at the maximum itself helps: the closed form, or the slope in *probabilities*, which `bl.policywise_hypergradient` checks.
#
# ### (c) M(s) nearly singular
#
# As $\lambda$ falls, $\pi'$ approaches a deterministic policy. D2 gets there exponentially fast, $\pi'\propto\pi_\phi e^{Q/\lambda}$; D1 like $\lambda$ itself, $\pi'=\lambda\pi_\phi/(\mu-Q)$. On the lakes:

# %%
from bomrl_lite.adaptation.closed_forms import condition_numbers, policywise_curvature


def roads_at(phi, task, distance, lam):
    """Condition of M(s), and both roads against automatic differentiation of the closed form."""
    problem, row = (phi, task, lakes, distance, lam), {}
    truth, theta = bilevel.through_closed_form(*problem), bilevel.solution(*problem)
    state, state_info = bilevel.by_state(*problem, tolerance=torch.inf)
    logits, logits_info = bilevel.implicit(*problem, theta=theta, tolerance=torch.inf)
    answers = {"by state": (state, state_info.inner), "in logits": (logits, logits_info)}
    for road, (got, info) in answers.items():
        row[f"error: {road}"] = bilevel.relative_error(got, truth).item()
        row[f"{road} accepted"] = is_solved(info).item()
    log_probs = (lakes.policy.log_probs(params) for params in (phi, theta))
    bends = policywise_curvature(*log_probs, state_distance=STATE_DISTANCES[distance])
    row["condition"] = condition_numbers(bends).max().item()
    return row | {"hypergradient": solvers.norm(truth).item()}


# %% tags=["widget", "hide-input"]
predictions.ask(
    "04b.vanishing",
    "With D2, how large is the *hypergradient* at λ = 0.001, over its size at λ = 10?",
    edges=(1e-08, 0.1, 10),
    unit="times",
)

# %%
exponents = torch.linspace(-3, 1, 13 if profile != "smoke" else 2, dtype=torch.float64)
rows = []
for lam, distance in itertools.product((10**exponents).tolist(), (bl.d1, bl.d2)):
    for n, pair in enumerate(lakes.singles()):
        labels = {"lam": lam, "distance": distance.__name__.upper(), "task": n}
        rows.append(labels | roads_at(*pair, distance, lam))
conditions = pd.DataFrame(rows)
vanished = conditions["hypergradient"] < 1e-12  # relative to nothing there is no error
conditions.loc[vanished, ["error: by state", "error: in logits"]] = torch.nan
fig = plots.condition_over_lam(conditions)

# %% [markdown]
# *Left: the largest condition number of $M(s)$ over states, medians and ranges over tasks; where the line ends it is above $10^{200}$. Right: relative error of the worst task, against automatic differentiation of the closed form, of the hypergradient by state and in logits, where it is a number and not below $10^{-12}$ itself.*

# %%
rows = []
for (name, part_of), road in itertools.product(
    conditions[~vanished].groupby("distance"), ("by state", "in logits")
):
    ok, error = part_of[f"{road} accepted"], part_of[f"error: {road}"]
    rows.append(
        {
            "distance": name,
            "road": road,
            "asked for": len(part_of),
            "accepted": int(ok.sum()),
            "largest error, accepted": f"{error[ok].max():.1e}",
            "largest error, refused": "none refused" if ok.all() else f"{error[~ok].max():.1e}",
        }
    )
    largest = error[ok].max(skipna=False)
    record(f"largest_accepted_error_{name}_{road}".replace(" ", "_"), largest, "relative")
pd.DataFrame(rows).set_index(["distance", "road"])

# %% [markdown]
# *As in the figure: how many hypergradients, how many were accepted, and their largest errors (not a number is left out).* The large errors are among the refused. For D2 the two roads fail differently: by state, $1/\pi'$ overflows and the slope is no number; in logits, directions whose curvature has vanished count as gauge, what $c$ has along them stays unsolved, and the *residual* says so. And there is less and less to compute: near a deterministic best response the policy after adaptation hardly depends on $\phi$.

# %%
sizes_of_truth = conditions.groupby(["lam", "distance"])["hypergradient"].median().unstack()
of_d2 = sizes_of_truth["D2"]
predictions.reveal("04b.vanishing", of_d2.iloc[0] / of_d2.iloc[-1])
sizes_of_truth.iloc[::3].map("{:.1e}".format)

# %% [markdown]
# *Norm of the exact hypergradient, median over tasks.* A prior cannot be trained where adaptation overrules it: a small $\lambda$ costs more than digits.
#
# ### (d) λ too small
#
# With D3 or shared parameters no closed form comes to the rescue, and a small $\lambda$ has another signature: $L/\lambda$ outweighs the distance and $H$ is **indefinite**, so that the point is no maximum. Conjugate gradients notice by a direction of curvature $\le0$, and stop. Here at $\theta=\phi$, where solvers start:

# %%
linear = bilevel.linear_problems(count, seed)


def at_start(phi, task, lam):
    """Least eigenvalue of H at phi; the least curvature that CG met, and its residual."""
    options = {"theta": phi, "tolerance": torch.inf}
    info = [
        bilevel.implicit(phi, task, linear, bl.d3, lam, solve=solve, **options)[1]
        for solve in (bl.null_space_safe_solve, bl.conjugate_gradient)
    ]
    return info[0].curvature, info[1].curvature, info[1].residual


rows = {}
for lam in (10.0, 3.0, 1.0, 0.3, 0.1):
    least, met, residual = vmap(partial(at_start, lam=lam))(linear.phis, linear.tasks)
    rows[f"{lam:g}"] = {
        "smallest eigenvalue": f"{least.min():.2f}",
        "smallest curvature that CG met": f"{met.min():.2f}",
        "H indefinite": f"{int((least <= 0).sum())} of {count}",
        "CG says so": f"{int((met <= 0).sum())} of {count}",
        "its residual": f"{residual.max():.1e}",
    }
pd.DataFrame(rows).T.rename_axis("lam")

# %% [markdown]
# *Linear softmax, D3; smallest over tasks, the residual largest.*
#
# ### What to look at
#
# | signature | diagnostic | remedy |
# |---|---|---|
# | inner problem unsolved: error of any size | `stationarity` large | more inner steps, a better solver, a larger $\lambda$; `tolerance=inf` only with the figure in view |
# | spurious stationary point: differences agree, closed form does not | slope in probabilities; a probability of 0 | the closed form; climb the objective instead of solving for slope 0; start from $\phi$ anew |
# | $M(s)$ nearly singular: $\pi'$ almost deterministic | condition number; nan | a larger $\lambda$, or D1, whose $\pi'$ falls only like $\lambda$ |
# | badly conditioned $H$: ten iterations are not enough | `residual` large | iterate to a residual; damp *inside* the objective; Proposition 1 where it applies |
# | $\lambda$ too small: no maximum | `curvature` $\le0$ | a larger $\lambda$ |
# | constraint about to bind | $\eta$ and $D^2-\delta$ both 0 | another $\delta$; the penalised form |
# | data's dependence left out: training goes on, uphill of something else | none: every figure above is in order | the full rung; test against central differences |
#
# The last row is the one that no solver can report. It is why the rungs of the ladder have names.
#
# **Learnt:** each failure has its own diagnostic, none replaces another, and agreement with finite differences is not among the proofs.

# %% [markdown]
# ## 4. Recap
#
# - Conjugate gradients stop at a residual, not at a count. Damping belongs into the objective.
# - Implicit differentiation costs memory that does not grow with inner steps, and describes the solved problem only. Ask for its stationarity, curvature and residual.
# - A prior cannot be trained where adaptation overrules it: as $\lambda$ falls, so does the hypergradient itself, with D2 to nothing.

# %%
fig = predictions.show("04b")

# %% [markdown]
# ## 5. Check yourself
#
# <details><summary>Why does damping only in the conjugate gradients bias the result?</summary>
#
# $(H+\varepsilon I)^{-1}c$ belongs to an inner objective with an extra $\frac\varepsilon2\|\theta-\phi\|^2$, but $\theta$ and the mixed derivative are still those of the objective without it. Added to the objective, the term changes all three, and the result is the exact hypergradient of the damped problem.
#
# </details>
#
# <details><summary>Your hypergradient agrees with central differences to nine digits. What may still be wrong?</summary>
#
# The solution: differences through the same solver follow the same wrong branch, such as a spurious stationary point. And the problem: differences of an objective with frozen data confirm the frozen rung.
#
# </details>
#
# <details><summary>Unrolled or implicit, with 5 inner steps and a policy meant to be used after 5 steps?</summary>
#
# Unrolled: then the truncated computation is the algorithm, not an approximation of one. The implicit hypergradient would describe a solution that is never reached.
#
# </details>
#
# ## 6. Reading
#
# - M. Hestenes, E. Stiefel (1952), *Methods of Conjugate Gradients for Solving Linear Systems*: the solver.
# - F. Pedregosa (2016), *Hyperparameter Optimization with Approximate Gradient*, arXiv 1602.02355: implicit hypergradients from inexact solutions.
# - L. Franceschi et al. (2018), *Bilevel Programming for Hyperparameter Optimization and Meta-Learning*, arXiv 1806.04910, and A. Shaban et al. (2018), *Truncated Back-propagation for Bilevel Optimization*, arXiv 1810.10667: unrolling, whole and cut short.
# - J. Lorraine, P. Vicol, D. Duvenaud (2019), *Optimizing Millions of Hyperparameters by Implicit Differentiation*, arXiv 1911.02590: the Neumann series.
# - R. Grazzi et al. (2020), *On the Iteration Complexity of Hypergradient Computation*, arXiv 2006.16218: unrolled and implicit compared.
#
# **Next:** [04c · Constraints and samples](04c_constraints_and_samples.ipynb), or first exercises 4.2 and 4.8 of [`exercises/04_implicit_differentiation.ipynb`](../exercises/04_implicit_differentiation.ipynb).
