# %% [markdown]
# # 04 · Implicit differentiation
#
# **After this lesson you can**
#
# - differentiate through the solution of an inner problem, and derive the hypergradient of BO-MRL line by line;
# - solve its linear system state by state (Proposition 1) or iteratively, and tell when ten iterations are not enough;
# - climb the ladder from a naive meta-gradient to the full one, and say which rung is exact where;
# - recognise a hypergradient that is wrong by its diagnostics, before it spoils a training run;
# - choose among three recipes for sampled data and neural policies, and check each.
#
# **Time:** reading 75 minutes, computing about 2 minutes. **Before:** [03 · Universal policy adaptation](03_universal_adaptation.ipynb). **After:** exercise set 04 (`exercises/04_implicit_differentiation.ipynb`).
#
# | equation | function |
# |---|---|
# | $-\nabla_\theta^2F\;x=c,\quad \nabla_\phi J=\nabla_\phi\langle x,\nabla_\theta F\rangle$ | `bl.implicit_vjp` |
# | $d\pi'=W\,(dQ-\lambda\,\nabla_\phi\nabla_\pi d^2\,d\phi)$ (Proposition 1) | `bl.policywise_hypergradient` |
# | $Ax=b$: eigenvalues, conjugate gradients, $\eta\sum_k(I-\eta A)^kb$ | `bl.null_space_safe_solve`, `bl.conjugate_gradient`, `neumann_series` |
# | what of the data's dependence on $\phi$ is kept | `bl.DATA_FUNCTIONS` |
# | bordered system of Karush, Kuhn and Tucker | `bl.constrained_vjp` |
# | $\nabla_\phi J(\theta_K(\phi))$, back through $K$ steps | `bl.unrolled_hypergradient` |
# | recipes A, B, C on samples | `head_adaptation`, `natural_adaptation`, `solved_adaptation` |

# %% tags=["parameters"]
profile = "class"  # "smoke": seconds, for tests · "class": for you · "full": larger, for figures
seed = 0

# %%
import itertools
import statistics
import time
from functools import partial
from typing import NamedTuple

import pandas as pd
import torch
from torch.func import grad, hessian, jacrev, vmap

import bomrl_lite as bl
from bomrl_lite.adaptation.closed_forms import (
    condition_numbers,
    policywise_curvature,
    simplex_solve,
)
from bomrl_lite.adaptation.distances import STATE_DISTANCES, kl_divergence
from bomrl_lite.adaptation.head import head_adaptation
from bomrl_lite.adaptation.meta_gradients import bomrl_trust_region
from bomrl_lite.adaptation.natural import natural_adaptation
from bomrl_lite.adaptation.trust_region import adapt_to_task_in_trust_region
from bomrl_lite.course import plots, widgets
from bomrl_lite.course.bench import sampled as sampled_bench
from bomrl_lite.course.memory import peak_bytes
from bomrl_lite.course.parameters import begin
from bomrl_lite.course.record import record
from bomrl_lite.course.show import show_source, stored_table
from bomrl_lite.course.statistics import paired_difference
from bomrl_lite.solvers.implicit import is_solved
from bomrl_lite.solvers.linear import (
    add_scaled,
    dense_matrix,
    dense_solve,
    flatten,
    hessian_vector_product,
    neumann_series,
    norm,
    unflatten,
)
from bomrl_lite.solvers.maximize import ascend
from bomrl_lite.training.streams import seeded

begin(profile, seed)
plots.use_style()
plots.plt.rcParams["figure.dpi"] = 61  # seventeen figures share a notebook of 300 kB
torch.set_num_threads(1)
sizes = {
    "smoke": {
        "tasks": 2,
        "starts": 4,
        "inner_steps": (1, 10),
        "lams": (1.0, 10.0),
        "head_iterations": 3,
        "iterations_b": 2,
        "batch": {"num_tasks": 4, "num_episodes": 4},
        "recipes": sampled_bench.SMALL,
    },
    "class": {
        "tasks": 5,
        "starts": 20,
        "inner_steps": (1, 3, 10, 30, 100, 200),
        "lams": (0.1, 0.3, 1.0, 3.0, 10.0),
        "head_iterations": 20,
        "iterations_b": 12,
        "batch": {},
        "recipes": sampled_bench.Effort(),
    },
    "full": {
        "tasks": 20,
        "starts": 100,
        "inner_steps": (1, 3, 10, 30, 100, 300, 1000),
        "lams": (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0),
        "head_iterations": 50,
        "iterations_b": 50,
        "batch": {},
        "recipes": sampled_bench.Effort(),
    },
}[profile]

# %% [markdown]
# ## 1. Bilevel problems, and a one-line example
#
# A **bilevel problem** evaluates its outer objective $J$ at the solution of an inner problem:
#
# $$\max_\phi\ J(\theta(\phi)),\qquad \theta(\phi)=\arg\max_\theta F(\theta,\phi).$$
#
# Lesson 03 has one: $\theta(\phi)=\mathrm{Alg}(\pi_\phi,\lambda,\tau)$. Its gradient $\nabla_\phi J(\theta(\phi))$, the **hypergradient**, needs the derivative of an *arg max*. Take the smallest example that has no obvious solution, one number inside, one outside:
#
# $$F(\theta,\phi)=\phi\,\theta-\tfrac12\theta^2-\tfrac14\theta^4.$$
#
# At the maximum $\partial F/\partial\theta=\phi-\theta-\theta^3=0$. This holds at *every* $\phi$, so it may be differentiated: $1-(1+3\theta^2)\,\theta'(\phi)=0$, hence
#
# $$\theta'(\phi)=\frac1{1+3\theta^2}.$$
#
# That is the **implicit function theorem**. It needs the solution $\theta$, not how it was found, and one condition: the curvature $-\partial^2F/\partial\theta^2=1+3\theta^2$ must not be 0.

# %%
fig = plots.implicit_function_picture()

# %% [markdown]
# *Left: the inner objective for three values of the outer variable (written $\varphi$), stars are the maxima. Right: the solution as a function of the outer variable, with the slopes of the theorem. The flatter the inner objective is at its maximum, the faster the maximum moves.*
#
# This cubic has a closed solution (Cardano), so that we can differentiate it in another way too. `bl.implicit_vjp` does in general what we just did by hand.


# %%
def one_line(theta, phi):
    return phi["x"] * theta["x"] - theta["x"] ** 2 / 2 - theta["x"] ** 4 / 4


def cardano(phi):
    return 2 / 3**0.5 * torch.sinh(torch.asinh(1.5 * 3**0.5 * phi) / 3)


def slope_by_theorem(phi):
    one = torch.ones_like(phi)
    return bl.implicit_vjp(one_line, {"x": cardano(phi)}, {"x": phi}, {"x": one})[0]["x"]


points = torch.tensor([-2.0, 0.0, 0.5, 2.0], dtype=torch.float64)
roots = cardano(points)
table = pd.DataFrame(
    {
        "phi": points,
        "theta": roots,
        "1 / (1 + 3 theta^2)": 1 / (1 + 3 * roots**2),
        "implicit_vjp": [slope_by_theorem(phi).item() for phi in points],
        "derivative of Cardano": vmap(grad(cardano))(points),
    }
)
one_line_error = (table["implicit_vjp"] - table["derivative of Cardano"]).abs().max()
record("one_line_error", one_line_error, "absolute")
table.round(6)

# %% [markdown]
# And the condition? Without the quadratic term, $F=\phi\,\theta-\frac14\theta^4$ is solved by $\theta=\phi^{1/3}$, whose slope at 0 is infinite. The curvature there is 0, and the function says no:

# %%
zero = {"x": torch.zeros((), dtype=torch.float64)}
try:
    bl.implicit_vjp(
        lambda theta, phi: phi["x"] * theta["x"] - theta["x"] ** 4 / 4, zero, zero, {"x": points[3]}
    )
except bl.UnsolvedInnerProblem as error:
    print(str(error).split(". ")[0])

# %% [markdown]
# (The linear system is $0\cdot x=2$, which no $x$ solves: its residual is 1, all of it.)
#
# ## 2. The hypergradient of BO-MRL
#
# Now $\theta$ and $\phi$ are vectors and $F(\theta,\phi)=L_\phi(\theta)/\lambda-D^2(\pi_\phi,\pi_\theta)$, the objective of lesson 03 divided by $\lambda$. Three lines, as before:
#
# 1. *stationarity*, for every $\phi$: $\quad\nabla_\theta F(\theta(\phi),\phi)=0$;
# 2. *differentiate* it: $\quad\nabla_\theta^2F\;\frac{d\theta}{d\phi}+\nabla_\phi\nabla_\theta F=0$;
# 3. *adjoint*: never form the matrix $\frac{d\theta}{d\phi}$. The chain rule only needs its product with $c=\nabla J_\tau(\theta)$. With $H=-\nabla_\theta^2F$, symmetric,
#
# $$\nabla_\phi J_\tau(\theta(\phi))=\Big(\frac{d\theta}{d\phi}\Big)^{\!\top}c=(\nabla_\phi\nabla_\theta F)^\top H^{-1}c=\nabla_\phi\,\big\langle x,\nabla_\theta F(\theta,\phi)\big\rangle,\qquad Hx=c.$$
#
# One linear system of the size of $\theta$, then one derivative towards $\phi$ with $\theta$ and $x$ held fixed. Whatever $F$ knows of $\phi$ is in that last derivative: the policy inside $D^2$, and *the data*, $\nu$ and $Q$ of $\pi_\phi$.

# %%
show_source(bl.implicit_vjp)


# %% [markdown]
# `stationarity` and `solved` are there because line 1 is a *premise*: at a $\theta$ that is no solution, lines 2 and 3 are about nothing. Section 8 comes back to it.
#
# Our laboratory is two kinds of problems: random ones with 5 states and 3 actions, and the lakes of lesson 01. Each is drawn several times, with a random meta-policy each.


# %%
class Setting(NamedTuple):
    """Tasks [N], one meta-parameter for each, and how they become policies."""

    tasks: bl.TabularTask
    phis: bl.Params
    policy: bl.TabularPolicy
    gamma: float


def random_tasks(count, generator, num_states=5, num_actions=3):
    draw = {"dtype": torch.float64, "generator": generator}
    transition = torch.rand(count, num_states, num_actions, num_states, **draw) ** 3
    start = torch.rand(count, num_states, **draw)
    reward = torch.randn(count, num_states, num_actions, **draw)
    return bl.tabular_task(
        transition / transition.sum(-1, keepdim=True), reward, start / start.sum(-1, keepdim=True)
    )


def random_logits(count, generator, *shape):
    return {"logits": torch.randn(count, *shape, dtype=torch.float64, generator=generator)}


count = sizes["tasks"]
small = Setting(
    random_tasks(count, seeded(seed, 10)),
    random_logits(count, seeded(seed, 11), 5, 3),
    bl.tabular_softmax(5, 3),
    0.9,
)
family = bl.make_tasks("frozen_lake/holes-4x4")
lakes = Setting(
    family.sample(count, seeded(seed, 12), "train"),
    random_logits(count, seeded(seed, 13), 16, 4),
    bl.tabular_softmax(16, 4),
    family.gamma,
)

# %% [markdown]
# The oracle knows nothing of all this: it moves every coordinate of $\phi$ a little, solves the inner problem anew, and takes central differences of the outer objective.


# %%
def inner_objective(task, setting, distance, lam, data=bl.full_data):
    """F(theta, phi); ``data`` says which of the data's dependence on phi it keeps."""

    def objective(theta, phi):
        collected = data(phi, task, policy=setting.policy, gamma=setting.gamma)
        choices = {"policy": setting.policy, "distance": distance, "lam": lam}
        return bl.adaptation_objective(theta, phi, collected, **choices) / lam

    return objective


def solution(phi, task, setting, distance, lam):
    exact = {"policy": setting.policy, "gamma": setting.gamma}
    return bl.adapt_to_task(phi, task, **exact, distance=distance, lam=lam)


def implicit(phi, task, setting, distance, lam, *, theta=None, data=bl.full_data, **options):
    """Hypergradient in the parameters, at the solution or where you say, and its diagnostics."""
    exact = {"policy": setting.policy, "gamma": setting.gamma}
    theta = solution(phi, task, setting, distance, lam) if theta is None else theta
    cotangent = bl.policy_gradient(theta, task, **exact)
    objective = inner_objective(task, setting, distance, lam, data)
    return bl.implicit_vjp(objective, theta, phi, cotangent, **options)


def central_differences(function, phi, h=2e-4):
    """Gradient of a scalar function of parameters, of fourth order in h, coordinate by coordinate."""
    flat = flatten(phi)
    shifts = h * torch.tensor([-2.0, -1.0, 1.0, 2.0], dtype=flat.dtype)
    weights = torch.tensor([1.0, -8.0, 8.0, -1.0], dtype=flat.dtype) / (12 * h)
    moved = (flat + shifts[:, None, None] * torch.eye(len(flat), dtype=flat.dtype)).flatten(0, 1)
    values = vmap(lambda point: function(unflatten(point, phi)))(moved)
    return unflatten(weights @ values.reshape(4, -1), phi)


def outer_after(solver, setting):
    """phi -> J(theta(phi)) of one task, with theta(phi) from a solver (phi, task)."""
    exact = {"policy": setting.policy, "gamma": setting.gamma}
    return lambda phi, task: bl.policy_return(solver(phi, task), task, **exact)


def relative_error(got, expected):
    return norm(add_scaled(got, -1.0, expected)) / norm(expected)


rows = []
for name, distance in bl.DISTANCES.items():
    solve = partial(solution, setting=small, distance=distance, lam=1.0)

    def error_of_one(phi, task, solve=solve, distance=distance):
        oracle = central_differences(lambda p: outer_after(solve, small)(p, task), phi)
        got, info = implicit(phi, task, small, distance, 1.0)
        return relative_error(got, oracle), info

    error, info = vmap(error_of_one)(small.phis, small.tasks)
    worst = {"error": error.max().item(), "stationarity": info.stationarity.max().item()}
    rows.append({"distance": name.upper(), **worst, "residual": info.residual.max().item()})
against_differences = pd.DataFrame(rows).set_index("distance")
for name, error in against_differences["error"].items():
    record(f"implicit_error_{name}", error, "relative")
against_differences.map("{:.1e}".format)

# %% [markdown]
# *The worst of all tasks: relative error against central differences, stationarity of the inner solution, residual of the linear system. $\lambda=1$.*
#
# ### The formula on the slides
#
# The slides of Xu and Zhu (2024) write the same matrix out, with $d^2$ the distance in one state and all expectations over $s\sim\nu^{\pi_\phi}$, $a\sim\pi_\phi$:
#
# $$\nabla_\phi\theta'=-\,\mathbb E\Big[\nabla_\theta^2d^2-\frac{\nabla_\theta^2\pi_\theta}{\lambda\pi_\phi}Q\Big]^{-1}\mathbb E\Big[\nabla_\phi^\top\nabla_\theta d^2-\frac{\nabla_\theta\pi_\theta}{\lambda\pi_\phi}\nabla_\phi^\top Q\Big].$$
#
# The first bracket is $H$. The second is $-\nabla_\phi\nabla_\theta F$, but with one thing left out: the expectations run over states that $\pi_\phi$ visits, and $\nabla_\phi\nu$ is missing. ($\nabla_\phi$ of $a\sim\pi_\phi$ and of $1/\pi_\phi$ is missing too, and rightly: the two cancel.) So the slides' formula should be our hypergradient with the data's $Q$ differentiated and $\nu$ not, the third rung of section 5. We type it in literally, as matrices, for a policy whose states share parameters, where $\nu$ matters.

# %%
features = torch.randn(5, 3, 6, dtype=torch.float64, generator=seeded(seed, 14))
weights = torch.randn(count, 6, dtype=torch.float64, generator=seeded(seed, 15))
linear = small._replace(policy=bl.linear_softmax(features), phis={"weights": 0.5 * weights})


def slides_formula(phi, task, lam):
    """Return c^T (d theta' / d phi) with D1, every derivative written out as a matrix."""
    p, theta = phi["weights"], solution(phi, task, linear, bl.d1, lam)["weights"]

    def probs(w):
        return linear.policy.log_probs({"weights": w}).exp()

    def q(w):
        return bl.q_values(probs(w), task, linear.gamma)

    nu = bl.occupancy(probs(p), task, linear.gamma)

    def distance(t, w):
        return nu @ kl_divergence(probs(w).log(), probs(t).log())

    weight = nu[:, None] * probs(p) / (lam * probs(p))  # of the expectation, and 1 / (lam pi_phi)
    bend, slope = jacrev(jacrev(probs))(theta), jacrev(probs)(theta)
    first = hessian(distance)(theta, p) - torch.einsum("sa,satu->tu", weight * q(p), bend)
    second = jacrev(grad(distance), argnums=1)(theta, p)
    second = second - torch.einsum("sa,sat,sap->tp", weight, slope, jacrev(q)(p))
    c = bl.policy_gradient({"weights": theta}, task, policy=linear.policy, gamma=linear.gamma)
    return {"weights": c["weights"] @ -torch.linalg.solve(first, second)}


def against_the_slides(phi, task):
    slides = slides_formula(phi, task, 1.0)
    rungs = (bl.DATA_FUNCTIONS["q_gradient"], bl.full_data)
    ours = [implicit(phi, task, linear, bl.d1, 1.0, data=rung)[0] for rung in rungs]
    return torch.stack([relative_error(slides, rung) for rung in ours])


to_q_gradient, to_full = vmap(against_the_slides)(linear.phis, linear.tasks).T
print(f"slides' formula - ours with Q's derivative, nu taken as given: {to_q_gradient.max():.1e}")
print(f"slides' formula - ours in full: {to_full.min():.1e} to {to_full.max():.1e}, over tasks")
record("slides_against_q_gradient", to_q_gradient.max(), "relative")
record("slides_against_full", to_full.mean(), "relative")

# %% [markdown]
# The first line is equality up to rounding; the second is what the derivative of $\nu$ is worth here.
#
# ## 3. State by state: Proposition 1
#
# With free logits the inner problem falls apart into one problem per state, in the probabilities $\pi=\pi(\cdot\mid s)$ themselves:
#
# $$\max_\pi\ \langle\pi,Q\rangle-\lambda\,d^2(\pi_\phi,\pi)\quad\text{with}\quad\mathbf 1^\top\pi=1.$$
#
# Stationarity has a multiplier now, $Q-\lambda\nabla_\pi d^2=\mu\mathbf 1$. Differentiate both conditions, with $M(s)=\lambda\nabla^2_\pi d^2$:
#
# $$M\,d\pi'+\mathbf 1\,d\mu=dQ-\lambda\nabla_\phi\nabla_\pi d^2\,d\phi,\qquad\mathbf 1^\top d\pi'=0.$$
#
# Solve the first for $d\pi'$, choose $d\mu$ such that the second holds, and out comes
#
# $$d\pi'=W\big(dQ-\lambda\nabla_\phi\nabla_\pi d^2\,d\phi\big),\qquad W=M^{-1}-\frac{M^{-1}\mathbf 1\mathbf 1^\top M^{-1}}{\mathbf 1^\top M^{-1}\mathbf 1}.$$
#
# Proposition 1 of Xu and Zhu asks for $M(s)$ to be non-singular in every state; the subtraction in $W$ is what the sum-to-one constraint adds. Nothing here is larger than the action set, and $\nu(s)$ has cancelled.

# %%
show_source(simplex_solve)

# %% [markdown]
# Three roads to one hypergradient: state by state; in the logits, whose Hessian mixes in $\nu$ and is singular; and automatic differentiation of the closed form of lesson 03, which needs no implicit function theorem at all.


# %%
def by_state(phi, task, setting, distance, lam, **options):
    exact = {"policy": setting.policy, "gamma": setting.gamma}
    return bl.bomrl(phi, task, **exact, distance=distance, lam=lam, **options)


def through_closed_form(phi, task, setting, distance, lam):
    solve = partial(solution, setting=setting, distance=distance, lam=lam)
    return grad(lambda p: outer_after(solve, setting)(p, task))(phi)


rows = []
for (name, setting), distance in itertools.product(
    {"5 states": small, "Frozen Lake": lakes}.items(), (bl.d1, bl.d2)
):

    def roads(phi, task, problem=(setting, distance, 1.0)):
        proposition, _ = by_state(phi, task, *problem)
        logits, _ = implicit(phi, task, *problem)
        closed = through_closed_form(phi, task, *problem)
        return torch.stack([relative_error(proposition, other) for other in (logits, closed)])

    logits, closed = vmap(roads)(setting.phis, setting.tasks).amax(0).tolist()
    rows.append(
        {
            "problem": name,
            "distance": distance.__name__.upper(),
            "to implicit_vjp in logits": logits,
            "to autodiff of the closed form": closed,
        }
    )
three_roads = pd.DataFrame(rows).set_index(["problem", "distance"])
record("proposition_1_error", three_roads.to_numpy().max(), "relative")
three_roads.map("{:.1e}".format)

# %% [markdown]
# *Largest relative difference between Proposition 1 and the other two roads, over tasks, $\lambda=1$.*
#
# **How well can $M(s)$ be solved with?** For D2, $M=\lambda\,\mathrm{diag}(1/\pi')$, so its condition number is $\max_a\pi'/\min_a\pi'$: harmless at a stochastic policy, unbounded as $\pi'$ becomes deterministic. For D1, $M=\lambda\,\mathrm{diag}(\pi_\phi/\pi'^2)$. We come back to this in section 8.


# %%
def singles(setting):
    """Take the problems of a setting apart: (phi, task) of each."""
    return [
        ({k: v[n] for k, v in setting.phis.items()}, bl.TabularTask(*(f[n] for f in setting.tasks)))
        for n in range(len(setting.tasks.start))
    ]


phi, task = singles(small)[0]
log_phi = small.policy.log_probs(phi)
for distance in (bl.d1, bl.d2):
    log_theta = small.policy.log_probs(solution(phi, task, small, distance, 1.0))
    bends = policywise_curvature(log_phi, log_theta, state_distance=STATE_DISTANCES[distance])
    numbers = condition_numbers(bends).tolist()
    print(f"{distance.__name__.upper()}  condition of M(s):", *(f"{n:9.3g}" for n in numbers))
shares = log_theta.exp()
print("    max pi' / min pi':", *(f"{n:9.3g}" for n in shares.amax(-1) / shares.amin(-1)))

# %% [markdown]
# ## 4. Linear solvers, and ten iterations
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


def spectrum(phi, task, setting, distance, lam):
    """Eigenvalues of H at the solution."""
    theta = solution(phi, task, setting, distance, lam)
    objective = inner_objective(task, setting, distance, lam)
    product = hessian_vector_product(lambda x: -objective(x, phi), theta)
    return torch.linalg.eigvalsh(dense_matrix(product, theta))


rows, eigenvalues = [], {}
for name, setting in {"5 states": small, "Frozen Lake": lakes}.items():
    problem = (setting, bl.d1, 1.0)
    values = vmap(lambda p, t, problem=problem: spectrum(p, t, *problem))(
        setting.phis, setting.tasks
    )
    eigenvalues[name] = values
    step_size = 1 / values.max().item()
    for k in counts:
        solvers = {
            "conjugate gradients": partial(bl.conjugate_gradient, max_iterations=k),
            "Neumann series": partial(neumann_series, step_size=step_size, max_iterations=k),
        }
        for solver, solve in solvers.items():

            def error_of_one(phi, task, solve=solve, problem=problem):
                got, info = implicit(phi, task, *problem, solve=solve, tolerance=torch.inf)
                return relative_error(got, by_state(phi, task, *problem)[0]), info.residual

            error, residual = vmap(error_of_one)(setting.phis, setting.tasks)
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
ten.map("{:.1e}".format)

# %% [markdown]
# *Conjugate gradients after ten iterations, smallest and largest over tasks: relative error of the hypergradient, and the relative residual of the linear system.* Ten suffice for the 5-state problems, whose $H$ has ten eigenvalues that are not 0; on the lakes they do not. The count tells you nothing; the *residual* does, so `bl.conjugate_gradient` stops at its residual and reports it, and `bl.implicit_vjp` refuses a large one.
#
# ### Directions that change nothing
#
# The zero eigenvalues above are no accident: adding a constant to all logits of a state changes no probability, one such **gauge direction** per state. $H$ is singular, and a dense factorisation divides by what rounding left of those zeros. The null-space-safe solve leaves them out, and conjugate gradients never see them: $c$ has no part in them, and products with $H$ add none.

# %%
rows = []
for name, setting in {"5 states": small, "Frozen Lake": lakes}.items():
    gauge, refused, errors = [], 0, {dense_solve: [], bl.null_space_safe_solve: []}
    for phi, task in singles(setting):
        truth = by_state(phi, task, setting, bl.d1, 1.0)[0]
        theta = solution(phi, task, setting, bl.d1, 1.0)
        c = bl.policy_gradient(theta, task, policy=setting.policy, gamma=setting.gamma)
        gauge.append((c["logits"].sum(-1).abs().max() / norm(c)).item())
        for solve, found in errors.items():
            try:
                got, _ = implicit(phi, task, setting, bl.d1, 1.0, solve=solve, tolerance=torch.inf)
                found.append(relative_error(got, truth).item())
            except torch.linalg.LinAlgError:
                refused += 1
    rows.append(
        {
            "problem": name,
            "c along the gauge": f"{max(gauge):.1e}",
            "error, dense_solve": f"{max(errors[dense_solve], default=torch.nan):.1e}",
            "called singular": f"{refused} of {count}",
            "error, null_space_safe_solve": f"{max(errors[bl.null_space_safe_solve]):.1e}",
        }
    )
pd.DataFrame(rows).set_index("problem")

# %% [markdown]
# *Largest over tasks: the share of $c$ along the gauge, and the relative error of the hypergradient with each dense solver, where it did not call $H$ singular.* Whether a plain factorisation fails is a matter of how the zeros were rounded. Where it does not, its answer may hold anything along the gauge, and the hypergradient does not mind: no $\nabla_\theta F$ has a share in that direction.
#
# ### Damping belongs inside the objective
#
# A tempting cure for a badly conditioned $H$ is to solve $(H+\varepsilon I)x=c$ instead. But then $x$ belongs to another problem than $\theta$ and the rest of the formula. Put the damping where all of them see it: add $\varepsilon\|\theta-\phi\|^2$ to $D^2$, solve *that* inner problem, and its Hessian, its mixed derivative and its $\theta$ fit together again. A distance of one's own is one function (lesson 03).

# %%
EPSILON = 1e-3


def damped_d1(phi, theta, *, policy, state_weights):
    at = {"policy": policy, "state_weights": state_weights}
    return bl.d1(phi, theta, **at) + EPSILON * bl.d3(phi, theta, **at)


def damped_solve(matvec, b):
    return bl.null_space_safe_solve(lambda v: add_scaled(matvec(v), 2 * EPSILON, v), b)


def damping(phi, task):
    in_solver, _ = implicit(phi, task, small, bl.d1, 1.0, solve=damped_solve, tolerance=torch.inf)
    in_objective, _ = implicit(phi, task, small, damped_d1, 1.0)
    solve = partial(solution, setting=small, distance=damped_d1, lam=1.0)
    own = central_differences(lambda p: outer_after(solve, small)(p, task), phi)
    plain = by_state(phi, task, small, bl.d1, 1.0)[0]
    return torch.stack([relative_error(in_solver, plain), relative_error(in_objective, own)])


in_solver, in_objective = vmap(damping)(small.phis, small.tasks).T
print(f"damping in the solver only:  error {in_solver.min():.1e} to {in_solver.max():.1e}")
print(f"damping in the objective:    error {in_objective.min():.1e} to {in_objective.max():.1e}")
record("damping_in_the_solver_error", in_solver.max(), "relative")
record("damping_in_the_objective_error", in_objective.max(), "relative")

# %% [markdown]
# *Over tasks, each against the exact hypergradient of the problem whose $\theta$ it uses.*
#
# ## 5. The ladder
#
# How much of the data's dependence on $\phi$ must one keep? Besides the policy inside $D^2$, which every rung differentiates, the data know $\phi$ in four places: the denominator of the ratio $\pi_\theta/\pi_\phi$, the actions that $\pi_\phi$ took, $Q$, and the visited states. Each rung is one function of the package:
#
# | rung | what still knows $\phi$ | known as |
# |---|---|---|
# | naive | the denominator only, though its actions are numbers | plain automatic differentiation of a sampled objective |
# | frozen | nothing | LVC and ProMP (lesson 02); the first public BO-MRL code |
# | q_gradient | $Q$ | the slides' formula |
# | full | $Q$ and $\nu$ | DiCE; the derivative itself |

# %%
show_source(*bl.DATA_FUNCTIONS.values())
phi, task = singles(small)[0]
numbers = [
    torch.cat([field.flatten() for field in rung(phi, task, policy=small.policy, gamma=0.9)])
    for rung in bl.DATA_FUNCTIONS.values()
]
print(
    "largest difference of their numbers:", (torch.stack(numbers) - numbers[0]).abs().max().item()
)

# %% [markdown]
# They return the same numbers and differ in what a derivative can see. The method is the same for all, so we climb: three distances, two policies, several tasks, against central differences.

# %%
distances = bl.DISTANCES if profile != "smoke" else {"d1": bl.d1}
policies = {"tabular softmax": small, "linear softmax, 6 features": linear}
rows = []
for (policy, setting), (name, distance) in itertools.product(policies.items(), distances.items()):
    solve = partial(solution, setting=setting, distance=distance, lam=1.0)

    def climb(phi, task, solve=solve, setting=setting, distance=distance):
        oracle = central_differences(lambda p: outer_after(solve, setting)(p, task), phi)
        rungs = [
            implicit(phi, task, setting, distance, 1.0, data=data)[0]
            for data in bl.DATA_FUNCTIONS.values()
        ]
        return torch.stack([relative_error(rung, oracle) for rung in rungs])

    errors = vmap(climb)(setting.phis, setting.tasks)
    labels = {"policy": policy, "distance": name.upper()}
    rows += [
        {**labels, "rung": rung, "task": n, "error": errors[n, k].item()}
        for (k, rung), n in itertools.product(enumerate(bl.DATA_FUNCTIONS), range(count))
    ]
ladder = pd.DataFrame(rows)
fig = plots.ladder_errors(ladder)

# %% [markdown]
# *Relative error of the hypergradient on every rung; one dot per task, $\lambda=1$. The lowest dots are as far down as central differences can see.*

# %%
worst = ladder.groupby(["policy", "distance", "rung"], sort=False)["error"].median().unstack()
worst = worst[list(bl.DATA_FUNCTIONS)]
for rung in ("naive", "frozen"):
    record(f"{rung}_error_tabular_D1", worst.loc[("tabular softmax", "D1"), rung], "relative")
nu_matters = worst.loc[("linear softmax, 6 features", "D1"), "q_gradient"]
record("q_gradient_error_linear_D1", nu_matters, "relative")
record("full_error_worst", ladder.query("rung == 'full'")["error"].max(), "relative")
worst.map("{:.1e}".format)

# %% [markdown]
# *Medians over tasks.* What to take home:
#
# - **naive** is wrong, and by the most; it is not even the same as freezing all data, because half of a pair that cancels is kept.
# - **frozen** leaves out how $\phi$ changes what actions are worth.
# - **q_gradient** is exact for tabular D1 and D2, and only there: each state has a solution of its own and $\nu(s)$ cancels from it. D3 and shared parameters weigh states against one another, and then $\nabla_\phi\nu$ counts.
# - **full** is exact in every cell. That is not a better approximation: it is the derivative.
#
# ## 6. Trust regions: what holding the multiplier constant costs
#
# In the constrained form, $\max_\theta L_\phi(\theta)$ subject to $D^2(\pi_\phi,\pi_\theta)\le\delta$, the weight of the distance is not chosen: it is the multiplier $\eta(\phi)$, found by the solver. While the constraint binds, *two* conditions hold for every $\phi$ (Karush, Kuhn and Tucker):
#
# $$\nabla_\theta L-\eta\nabla_\theta D^2=0,\qquad D^2=\delta.$$
#
# Differentiate both. With $n=\nabla_\theta D^2$, the adjoint system has one more row and column than before:
#
# $$\begin{pmatrix}-\nabla_\theta^2(L-\eta D^2)&n\\ n^\top&0\end{pmatrix}\begin{pmatrix}x\\ \xi\end{pmatrix}=\begin{pmatrix}c\\0\end{pmatrix},\qquad\nabla_\phi J=\nabla_\phi\big[\langle x,\nabla_\theta(L-\eta D^2)\rangle-\xi D^2\big].$$
#
# The tempting shortcut is to take the $\eta$ that the solver found, call it $\lambda$, and reuse section 2. But $\eta$ depends on $\phi$ too.

# %%
DELTA = 0.1
few = count if profile == "full" else 2  # the solver of the linear policy takes its time


def part(setting, count):
    return setting._replace(
        tasks=bl.TabularTask(*(field[:count] for field in setting.tasks)),
        phis={name: leaf[:count] for name, leaf in setting.phis.items()},
    )


def in_trust_region(phi, task, setting, distance, delta):
    """Errors of the bordered system and of the shortcut, and the multiplier."""
    choices = {"policy": setting.policy, "gamma": setting.gamma, "distance": distance}
    bordered, _ = bomrl_trust_region(phi, task, **choices, delta=delta)
    data = bl.full_data(phi, task, policy=setting.policy, gamma=setting.gamma)
    theta, eta, _ = bl.adapt_in_trust_region(
        phi, data, policy=setting.policy, distance=distance, delta=delta
    )
    unit = torch.where(eta > 0, eta, 1.0)
    constant, _ = implicit(phi, task, setting, distance, unit, theta=theta, tolerance=torch.inf)
    solve = partial(adapt_to_task_in_trust_region, **choices, delta=delta)
    oracle = central_differences(lambda p: outer_after(solve, setting)(p, task), phi)
    return relative_error(bordered, oracle), relative_error(constant, oracle), eta


problems = [("tabular", small, "d1"), ("tabular", small, "d2")]
if profile != "smoke":
    problems.append(("linear", part(linear, few), "d1"))
rows = []
for policy, setting, name in problems:
    examine = partial(in_trust_region, setting=setting, distance=bl.DISTANCES[name], delta=DELTA)
    bordered, constant, _ = vmap(examine)(setting.phis, setting.tasks)
    rows.append(
        {
            "policy": policy,
            "distance": name.upper(),
            "bordered, largest": bordered.max().item(),
            "eta constant, median": constant.median().item(),
            "eta constant, largest": constant.max().item(),
        }
    )
kkt = pd.DataFrame(rows).set_index(["policy", "distance"])
record("bordered_error", kkt["bordered, largest"].max(), "relative")
record("eta_constant_error", kkt["eta constant, median"].max(), "relative")
kkt.map("{:.1e}".format)

# %% [markdown]
# *Relative errors against central differences over tasks (two for the linear policy), $\delta=0.1$.*
#
# The constant multiplier is no small mistake, and a better linear solver cannot repair it.
#
# A constraint that does *not* bind has $\eta=0$, and its row is left out. Between the two lies a third case. Take $F=-\frac12(\theta-\phi)^2$ with $\theta\le b$, at $\phi=1$:


# %%
def half_square(theta, phi):
    return -((theta["x"] - phi["x"]) ** 2) / 2


one = {"x": torch.ones((), dtype=torch.float64)}
for bound in (3.0, 0.5, 1.0):
    best = {"x": torch.tensor(min(bound, 1.0), dtype=torch.float64)}
    try:
        slope, _ = bl.constrained_vjp(
            half_square,
            lambda theta, phi, bound=bound: theta["x"] - bound,
            best,
            one["x"] - best["x"],  # eta = the slope of F that the constraint holds back
            one,
            one,
        )
        print(f"theta <= {bound}:  d theta / d phi = {slope['x']:.0f}")
    except bl.UnsolvedInnerProblem as error:
        print(f"theta <= {bound}:  {str(error).split('. ')[0]}")

# %% [markdown]
# Free, $\theta=\phi$ follows; held back, it does not move. Where the region ends exactly at the best $\theta$, there is a kink: moving $\phi$ to one side makes the constraint bind, to the other it does not. There is no derivative, and no number is returned.
#
# ## 7. Unrolled or implicit?
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
STEP_SIZE = widgets.inner_step_size(1.0)
phi, task = singles(small)[0]
objective = inner_objective(task, small, bl.d1, 1.0)


def unrolled(steps):
    exact = {"policy": small.policy, "gamma": small.gamma}
    outer = partial(bl.policy_return, task=task, **exact)
    return bl.unrolled_hypergradient(objective, outer, phi, step_size=STEP_SIZE, num_steps=steps)


def implicit_after(steps):
    theta = ascend(lambda x: objective(x, phi), phi, step_size=STEP_SIZE, num_steps=steps)
    ten = partial(bl.conjugate_gradient, max_iterations=10)
    return implicit(phi, task, small, bl.d1, 1.0, theta=theta, solve=ten, tolerance=torch.inf)


def cpu_seconds(work, rounds=3 if profile != "smoke" else 1):
    """Median over a few runs."""
    taken = []
    for _ in range(rounds):
        start = time.process_time()
        work()
        taken.append(time.process_time() - start)
    return statistics.median(taken)


METHODS = {"unrolled": unrolled, "implicit, 10 CG": implicit_after}
timed = [steps for steps in sizes["inner_steps"] if steps <= 100]
rows = []
for steps, (name, method) in itertools.product(timed, METHODS.items()):
    work = partial(method, steps)
    measured = {"seconds": cpu_seconds(work), "bytes": peak_bytes(work)}
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
record("implicit_memory_growth", growth["implicit, 10 CG"], "ratio")
record("unrolled_memory_growth", growth["unrolled"], "ratio")

# %% [markdown]
# - *Accuracy*: both approach the exact hypergradient as the inner problem gets solved. Neither is right before: the unrolled one answers another question, the implicit one answers this question at the wrong place.
# - *Memory*: the unrolled graph keeps every step. The implicit hypergradient forgets how $\theta$ was found.
# - *Time*: both pay for the inner steps; the unrolled one pays again on the way back, the implicit one a constant for its linear solver. With few steps that constant is the larger part.
#
# ### Try it
#
# Inner steps, $\lambda$ and solver over the error. Look for: the $\lambda$ at which 10 inner steps suffice; the Neumann series that no inner step helps any more; the line of text that says when `bl.implicit_vjp` would have refused.

# %% tags=["widget"]
view, draw_error = widgets.hypergradient_explorer(
    errors, lam=1.0, steps=10, solver="implicit, 10 CG"
)
view

# %%
fig = draw_error(1.0, 10, "implicit, 10 CG")

# %% [markdown]
# *Relative error of the hypergradient, median over tasks, for one meta-policy on several 5-state tasks. Left over inner steps, right over $\lambda$; the star is the chosen setting, the thick line the chosen solver. Small $\lambda$ means a far and curved way to the solution: the same number of steps leaves more undone.*
#
# ## 8. Failure signatures
#
# What can go wrong leaves a trace in the diagnostics, if one looks at the right ones. We provoke each failure on purpose.
#
# ### (a) The inner problem was not solved
#
# Ten gradient steps, and a hypergradient asked for as if they had arrived:

# %%
theta = ascend(lambda x: objective(x, phi), phi, step_size=STEP_SIZE, num_steps=10)
try:
    implicit(phi, task, small, bl.d1, 1.0, theta=theta)
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
# D2 in *logits* is treacherous. The gradient in a logit is $\nu(s)\,\pi_\theta(a\mid s)$ times the slope in the probability, so it vanishes where a probability does, whether or not the slope does. Plain Newton steps on $\nabla_\theta F=0$ find such points with ease, since they look for any point without slope, not for a maximum.

# %%
starts = Setting(
    random_tasks(sizes["starts"], seeded(seed, 16)),
    random_logits(sizes["starts"], seeded(seed, 17), 5, 3),
    small.policy,
    small.gamma,
)


def newton(phi, task, iterations=40):
    """Solve grad F = 0 from phi by plain Newton steps."""
    objective, theta = inner_objective(task, starts, bl.d2, 1.0), phi
    for _ in range(iterations):
        bend = hessian_vector_product(lambda x: -objective(x, phi), theta)
        step, _ = bl.null_space_safe_solve(bend, grad(objective)(theta, phi))
        theta = add_scaled(theta, 1.0, step)
    return theta


def examine(phi, task):
    theta = newton(phi, task)
    got, info = implicit(phi, task, starts, bl.d2, 1.0, theta=theta, tolerance=torch.inf)
    differences = central_differences(lambda p: outer_after(newton, starts)(p, task), phi)
    closed = through_closed_form(phi, task, starts, bl.d2, 1.0)
    exact = {"policy": starts.policy, "state_distance": STATE_DISTANCES[bl.d2], "lam": 1.0}
    data_of = partial(bl.full_data, task=task, policy=starts.policy, gamma=starts.gamma)
    _, by_slope = bl.policywise_hypergradient(
        data_of, theta, phi, theta["logits"], **exact, tolerance=torch.inf
    )
    errors = relative_error(got, differences), relative_error(got, closed)
    least = starts.policy.log_probs(theta).exp().min()
    return *errors, is_solved(info), by_slope.stationarity, least


names = ("to differences", "to closed form", "accepted in logits", "slope in probabilities")
found = pd.DataFrame(
    dict(zip((*names, "least probability"), vmap(examine)(starts.phis, starts.tasks), strict=True))
)
spurious = found[found["to closed form"] > 1e-3]
print(f"{len(spurious)} of {len(found)} starts end at a spurious point;")
print(f"in logits, {int(spurious['accepted in logits'].sum())} of them look solved,")
print(f"in probabilities, {int((spurious['slope in probabilities'] < 1e-6).sum())}")
record("spurious_share", len(spurious) / len(found), "of starts")
columns = ["to differences", "to closed form", "slope in probabilities", "least probability"]
spurious[columns].agg(["min", "median", "max"]).map("{:.1e}".format)

# %% [markdown]
# *Over the starts that end at a spurious point: relative difference of the implicit hypergradient to central differences through the same Newton solver, and to automatic differentiation of the closed form; the largest slope in a probability; the smallest probability.*
#
# Read the first two columns. **Finite differences agree with a wrong hypergradient**, for they differentiate the same wrong solution. Stationarity, curvature and residual in logits are all in order. Only a look at the maximum itself helps: the closed form, or the slope in *probabilities*, which `bl.policywise_hypergradient` checks.
#
# ### (c) M(s) nearly singular
#
# As $\lambda$ falls, $\pi'$ approaches a deterministic policy. D2 gets there exponentially fast, $\pi'\propto\pi_\phi e^{Q/\lambda}$; D1 like $\lambda$ itself, $\pi'=\lambda\pi_\phi/(\mu-Q)$. On the lakes:

# %%
exponents = torch.linspace(-3, 1, 13 if profile != "smoke" else 2, dtype=torch.float64)
rows = []
for lam, distance in itertools.product((10**exponents).tolist(), (bl.d1, bl.d2)):
    for n, (phi, task) in enumerate(singles(lakes)):
        problem = (phi, task, lakes, distance, lam)
        truth, theta = through_closed_form(*problem), solution(*problem)
        state, state_info = by_state(*problem, tolerance=torch.inf)
        logits, logits_info = implicit(*problem, theta=theta, tolerance=torch.inf)
        log_probs = (lakes.policy.log_probs(params) for params in (phi, theta))
        bends = policywise_curvature(*log_probs, state_distance=STATE_DISTANCES[distance])
        rows.append(
            {
                "lam": lam,
                "distance": distance.__name__.upper(),
                "task": n,
                "condition": condition_numbers(bends).max().item(),
                "hypergradient": norm(truth).item(),
                "error: by state": relative_error(state, truth).item(),
                "error: in logits": relative_error(logits, truth).item(),
                "by state accepted": is_solved(state_info.inner).item(),
                "in logits accepted": is_solved(logits_info).item(),
            }
        )
conditions = pd.DataFrame(rows)
vanished = conditions["hypergradient"] < 1e-12  # relative to nothing there is no error
conditions.loc[vanished, ["error: by state", "error: in logits"]] = torch.nan
fig = plots.condition_over_lam(conditions)

# %% [markdown]
# *Left: the largest condition number of $M(s)$ over states, medians and ranges over tasks; it overflows where the line ends. Right: relative error of the worst task, against automatic differentiation of the closed form, of the hypergradient by state and in logits, where it is a number and not below $10^{-12}$ itself.*

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
    record(f"largest_accepted_error_{name}_{road}".replace(" ", "_"), error[ok].max(), "relative")
pd.DataFrame(rows).set_index(["distance", "road"])

# %% [markdown]
# *As in the figure: how many hypergradients, how many were accepted, and their largest errors (not a number is left out).* The large errors are among the refused. For D2 the two roads fail differently: by state, $1/\pi'$ overflows and the slope is no number; in logits, directions whose curvature has vanished count as gauge, what $c$ has along them stays unsolved, and the *residual* says so. And there is less and less to compute: near a deterministic best response the policy after adaptation hardly depends on $\phi$.

# %%
sizes_of_truth = conditions.groupby(["lam", "distance"])["hypergradient"].median().unstack()
sizes_of_truth.iloc[::3].map("{:.1e}".format)

# %% [markdown]
# *Norm of the exact hypergradient, median over tasks.* A prior cannot be trained where adaptation overrules it: a small $\lambda$ costs more than digits.
#
# ### (d) λ too small
#
# With D3 or shared parameters no closed form comes to the rescue, and a small $\lambda$ has another signature: $L/\lambda$ outweighs the distance and $H$ is **indefinite**, so that the point is no maximum. Conjugate gradients notice by a direction of curvature $\le0$, and stop. Here at $\theta=\phi$, where solvers start:

# %%
rows = []
for lam in (10.0, 3.0, 1.0, 0.3, 0.1):

    def at_start(phi, task, lam=lam):
        options = {"theta": phi, "tolerance": torch.inf}
        info = [
            implicit(phi, task, linear, bl.d3, lam, solve=solve, **options)[1]
            for solve in (bl.null_space_safe_solve, bl.conjugate_gradient)
        ]
        return info[0].curvature, info[1].curvature, info[1].residual

    eigenvalue, met, residual = vmap(at_start)(linear.phis, linear.tasks)
    rows.append(
        {
            "lam": f"{lam:g}",
            "smallest eigenvalue": f"{eigenvalue.min():.2f}",
            "smallest curvature that CG met": f"{met.min():.2f}",
            "H indefinite": f"{int((eigenvalue <= 0).sum())} of {count}",
            "CG says so": f"{int((met <= 0).sum())} of {count}",
            "its residual": f"{residual.max():.1e}",
        }
    )
pd.DataFrame(rows).set_index("lam")

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
# The last row is the one that no solver can report. It is why the ladder has names.
#
# ## 9. From samples: three recipes and what they cost
#
# Nothing above asked where the data came from. From episodes, every visit is a state of its own, with the one action that was taken; with that reading `surrogate_objective`, the distances and `implicit_vjp` run unchanged on samples of a neural policy. What is left to choose is surrogate, metric and the parameters that move:
#
# | recipe | surrogate | metric | moves | solved by |
# |---|---|---|---|---|
# | A | linear in $\theta$ | KL + ridge | the linear head | one small linear system |
# | B | linear in $\theta$ | KL to second order + ridge | everything | conjugate gradients, the same matrix both ways |
# | C | ratio or smooth clip | KL + ridge | the linear head | Newton, then `implicit_vjp` |
#
# The ridge belongs *inside* the objective, so that inner solution, Hessian and mixed term agree. Recipe A in full:

# %%
show_source(head_adaptation)

# %% [markdown]
# And recipe B, where no matrix is ever written out:

# %%
show_source(natural_adaptation)

# %% [markdown]
# Each against central differences, on episodes of 2-D navigation that are kept fixed while $\phi$ moves, in double precision:

# %%
recipe_errors = {
    figure.name.split(", ", 1)[1]: figure.figure
    for figure in sampled_bench.recipe_errors(sizes["recipes"])
}
record("largest_recipe_error", max(recipe_errors.values()), "relative")
pd.Series(recipe_errors, name="relative error").map("{:.1e}".format).to_frame()

# %% [markdown]
# ### Implicit or unrolled?
#
# Unrolling keeps every inner step for the way back. The implicit gradient keeps only the end, but is right only *at* the end. Recipe C's inner problem, climbed by 1 to 100 gradient steps (stored, `python -m bomrl_lite experiment inner_steps`):

# %%
steps_table = stored_table("inner_steps")
fig = plots.draw_experiment("inner_steps", steps_table)
fig.set_dpi(54)
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
# ### Training with recipe B
#
# The head-only recipe trains in seconds, recipe B in a minute. A short run of each, from the same seed:

# %%
curves, diagnostics = [], {}
for method, iterations in (
    ("bomrl_head", sizes["head_iterations"]),
    ("bomrl_natural", sizes["iterations_b"]),
):
    dials = {"seed": seed, "iterations": iterations, **sizes["batch"]}
    config = bl.configure(method, tasks="navigation/circle", **dials)
    state = bl.meta_train(config)
    diagnostics[method] = state.history
    for row in state.history:
        for when, column in (("after 1 adaptation", "return_after"), ("before", "return_before")):
            curves.append(
                {
                    "iteration": row["iteration"],
                    "method": method,
                    "return": row[column],
                    "when": when,
                }
            )
    record(f"{method}_return_after", state.history[-1]["return_after"], "return")
fig = plots.sampled_training_curves(pd.DataFrame(curves))

# %% [markdown]
# A hypergradient that nobody checks is a rumour. Every iteration reports its inner problem: the residual of both linear systems, the smallest curvature they met, how many tasks were left out because they were not solved, how far the adaptation moved ($D_1^2$), and how far it moves on *shuffled* advantages, which is pure noise:

# %%
wanted = [
    "iteration",
    "stationarity",
    "residual",
    "curvature",
    "unsolved",
    "distance",
    "shuffled_distance",
]
log = pd.DataFrame(diagnostics["bomrl_natural"])[wanted]
record("residual_of_recipe_b", float(log["residual"].max()), "relative")
record(
    "signal_over_noise_at_start", float(log["distance"][0] / log["shuffled_distance"][0]), "ratio"
)
log[log["shuffled_distance"].notna()].set_index("iteration").map("{:.2g}".format)

# %% [markdown]
# If signal and noise are close, $\lambda$ or the ridge is too small: the adaptation would follow accidents of the sample.
#
# ### The term through $Q$, from samples
#
# Section 5 said what $\nabla_\phi Q$ is worth when it is exact. From episodes it is a sum of scores of later actions, and loud. The stored table compares the hypergradient with the sampled term, for several truncations of the causal horizon, to the hypergradient that leaves the term out:

# %%
fig = plots.draw_experiment("q_gradient", stored_table("q_gradient"))
fig.set_dpi(54)

# %% [markdown]
# *Error with the sampled term over error without it: below 1 it helps.* It is unbiased at full horizon, and with few episodes that is no consolation: it can be better to drop the term, or to keep the near future only. So it is off by default in sampled training, and `data="q_gradient"`, `causal_trace=0.5` switches it on.
#
# ### Does it pay?
#
# Return after ONE adaptation on goals that training never saw, over the number of one-time episodes; and over how unlike the tasks are, which is the width of the arc that goals lie on. Settings tuned for 20 episodes and the whole circle, three seeds each:

# %%
episodes_table = stored_table("episodes")
fig = plots.draw_experiment("episodes", episodes_table)
fig.set_dpi(54)
matched = episodes_table[episodes_table["trained_with"] == episodes_table["episodes"]]
leads = {}
for count in sorted(set(matched["episodes"])):
    part_of = matched[matched["episodes"] == count]
    for baseline in ("lvc_maml", "promp"):
        leads[count, baseline] = paired_difference(part_of, "bomrl_natural", baseline)
pd.DataFrame(leads).T.rename_axis(["episodes", "over"]).round(2)

# %%
fig = plots.draw_experiment("heterogeneity", stored_table("heterogeneity"))
fig.set_dpi(54)

# %% [markdown]
# *Interquartile means over seeds with 95 % bootstrap intervals; priors trained with one episode end below the picture. The table pairs by seed: mean lead of recipe B, its standard error, seeds won.* Recipe B and ProMP are level at every number of episodes; both leave MAML behind from five on. Trained with a single episode per task every method fails, those with several steps per batch worst, although the same settings trained with 20 adapt from one episode without harm: settings belong to an amount of data. And where goals lie on a narrow arc there is little to adapt: there the head alone, recipe A, is best. What the KL metric certainly buys is a step whose size is known beforehand and a hypergradient that can be checked.
#
# ## 10. Recap
#
# - The implicit function theorem differentiates an arg max from its stationarity: one linear system with $H=-\nabla^2_\theta F$, one derivative towards $\phi$.
# - Proposition 1 does it state by state with matrices of the size of the action set, completed by the constraint that probabilities sum to 1.
# - The slides' formula is the third rung of the ladder: exact for tabular D1 and D2. With D3 or shared parameters $\nabla_\phi\nu$ is needed too.
# - Conjugate gradients stop at a residual, not at a count. Damping belongs into the objective; a multiplier must be differentiated like everything else.
# - Implicit differentiation costs memory that does not grow with inner steps, and describes the solved problem only. Ask for its stationarity, curvature and residual.
# - On samples the same functions run; the recipe decides what is linear and what moves. $\nabla_\phi Q$ is loud there: truncate it or leave it out.
#
# ## 11. Check yourself
#
# <details><summary>How does bilevel optimisation differ from single-level optimisation?</summary>
#
# The outer objective is evaluated at the solution of an inner problem that moves with the outer variable. Its gradient contains the derivative of that solution, and it is only as right as the inner problem is solved.
#
# </details>
#
# <details><summary>Why does damping only in the conjugate gradients bias the result?</summary>
#
# $(H+\varepsilon I)^{-1}c$ belongs to an inner objective with an extra $\frac\varepsilon2\|\theta-\phi\|^2$, but $\theta$ and the mixed derivative are still those of the objective without it. Added to the objective, the term changes all three, and the result is the exact hypergradient of the damped problem.
#
# </details>
#
# <details><summary>Why does the visited-state distribution drop out for tabular D1 and D2, and not for D3?</summary>
#
# Each state then has parameters of its own, and $\nu(s)$ multiplies both terms of its stationarity condition: it cancels. D3 is not weighed by $\nu$, so $\nu(s)$ decides how far state $s$ moves.
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
# <details><summary>Why does M(s) become singular in the limit, never before?</summary>
#
# Its entries are $\lambda/\pi'$ or $\lambda\pi_\phi/\pi'^2$, positive and finite as long as every probability is positive. As one tends to 0 its entry grows without bound, and with it the condition number; it is $M^{-1}$ that loses a direction.
#
# </details>
#
# ## 12. Reading
#
# - S. Xu, M. Zhu (2024), *Meta-Reinforcement Learning with Universal Policy Adaptation*, arXiv 2410.09728: the hypergradient of BO-MRL and Proposition 1.
# - M. Hestenes, E. Stiefel (1952), *Methods of Conjugate Gradients for Solving Linear Systems*: the solver.
# - F. Pedregosa (2016), *Hyperparameter Optimization with Approximate Gradient*, arXiv 1602.02355: implicit hypergradients from inexact solutions.
# - S. Gould et al. (2016), *On Differentiating Parameterized Argmin and Argmax Problems*, arXiv 1607.05447: also with constraints.
# - L. Franceschi et al. (2018), *Bilevel Programming for Hyperparameter Optimization and Meta-Learning*, arXiv 1806.04910, and A. Shaban et al. (2018), *Truncated Back-propagation for Bilevel Optimization*, arXiv 1810.10667: unrolling, whole and cut short.
# - A. Rajeswaran et al. (2019), *Meta-Learning with Implicit Gradients*, arXiv 1909.04630: iMAML, with D3.
# - J. Lorraine, P. Vicol, D. Duvenaud (2019), *Optimizing Millions of Hyperparameters by Implicit Differentiation*, arXiv 1911.02590: the Neumann series.
# - R. Grazzi et al. (2020), *On the Iteration Complexity of Hypergradient Computation*, arXiv 2006.16218: unrolled and implicit compared.
# - M. Blondel et al. (2021), *Efficient and Modular Implicit Differentiation*, arXiv 2105.15183: the theorem as a tool.
#
# **Next:** the exercises, [`exercises/04_implicit_differentiation.ipynb`](../exercises/04_implicit_differentiation.ipynb).
