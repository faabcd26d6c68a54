# %% [markdown]
# # 04a · Implicit differentiation
#
# **After this lesson you can**
#
# - differentiate through the solution of an inner problem, and derive the hypergradient of BO-MRL line by line;
# - read the formula on the slides as one rung of a ladder, and say what it leaves out;
# - compute the hypergradient state by state (Proposition 1);
# - climb the ladder from a naive meta-gradient to the full one, and say which rung is exact where.
#
# **Time:** reading 40 minutes, computing about 1 minute. **Before:** [03 · Universal policy adaptation](03_universal_adaptation.ipynb). **After:** [04b · Solvers and failures](04b_solvers.ipynb); exercises 4.1 and 4.3 to 4.7 of set 04 (`exercises/04_implicit_differentiation.ipynb`) can be done now.
#
# | equation | function |
# |---|---|
# | $-\nabla_\theta^2F\;x=c,\quad \nabla_\phi J=\nabla_\phi\langle x,\nabla_\theta F\rangle$ | `bl.implicit_vjp` |
# | $d\pi'=W\,(dQ-\lambda\,\nabla_\phi\nabla_\pi d^2\,d\phi)$ (Proposition 1) | `bl.policywise_hypergradient`, `simplex_solve` |
# | what of the data's dependence on $\phi$ is kept | `bl.DATA_FUNCTIONS` |
# | the oracle: $\nabla_\phi J(\theta(\phi))$ by central differences | `bilevel.differences` |

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
from bomrl_lite.course import plots, predictions
from bomrl_lite.course.experiments import bilevel
from bomrl_lite.course.parameters import begin
from bomrl_lite.course.record import record
from bomrl_lite.course.show import show_source

begin(profile, seed)
plots.use_style()
torch.set_num_threads(1)
count = {"smoke": 2, "class": 5, "full": 20}[profile]  # tasks of each kind

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

# %% [markdown]
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
# `stationarity` and `solved` are there because line 1 is a *premise*: at a $\theta$ that is no solution, lines 2 and 3 are about nothing. Lesson 04b comes back to it.
#
# Our laboratory is two kinds of problems: random ones with 5 states and 3 actions, and the lakes of lesson 01. Each is drawn several times, with a random meta-policy each.

# %%
small = bilevel.random_problems(count, seed)
lakes = bilevel.lake_problems(count, seed)
show_source(bilevel.inner_objective, bilevel.solution, bilevel.implicit)

# %% [markdown]
# The oracle knows nothing of all this: it moves every coordinate of $\phi$ a little, solves the inner problem anew, and takes central differences of the outer objective.

# %%
show_source(bilevel.differences, bilevel.central_differences)

# %%
rows = []
for name, distance in bl.DISTANCES.items():
    solve = partial(bilevel.solution, problems=small, distance=distance, lam=1.0)

    def against_differences(phi, task, solve=solve, distance=distance):
        oracle = bilevel.differences(solve, phi, task, small)
        got, info = bilevel.implicit(phi, task, small, distance, 1.0)
        return bilevel.relative_error(got, oracle), info

    error, info = vmap(against_differences)(small.phis, small.tasks)
    worst = {"error": error.max().item(), "stationarity": info.stationarity.max().item()}
    rows.append({"distance": name.upper(), **worst, "residual": info.residual.max().item()})
    record(f"implicit_error_{name.upper()}", error.max(), "relative")
pd.DataFrame(rows).set_index("distance").map("{:.1e}".format)

# %% [markdown]
# *The worst of all tasks: relative error against central differences, stationarity of the inner solution, residual of the linear system. $\lambda=1$.*
#
# ### The formula on the slides
#
# The slides of Xu and Zhu (2024) write the same matrix out, with $d^2$ the distance in one state and all expectations over $s\sim\nu^{\pi_\phi}$, $a\sim\pi_\phi$:
#
# $$\nabla_\phi\theta'=-\,\mathbb E\Big[\nabla_\theta^2d^2-\frac{\nabla_\theta^2\pi_\theta}{\lambda\pi_\phi}Q\Big]^{-1}\mathbb E\Big[\nabla_\phi^\top\nabla_\theta d^2-\frac{\nabla_\theta\pi_\theta}{\lambda\pi_\phi}\nabla_\phi^\top Q\Big].$$
#
# The first bracket is $H$. The second is $-\nabla_\phi\nabla_\theta F$, but with one thing left out: the expectations run over states that $\pi_\phi$ visits, and $\nabla_\phi\nu$ is missing. ($\nabla_\phi$ of $a\sim\pi_\phi$ and of $1/\pi_\phi$ is missing too, and rightly: the two cancel.) So the slides' formula should be our hypergradient with the data's $Q$ differentiated and $\nu$ not, the third rung of section 4. We type it in literally, as matrices, for a policy whose states share parameters, where $\nu$ matters.

# %%
from torch.func import hessian, jacrev

from bomrl_lite.adaptation.distances import kl_divergence

linear = bilevel.linear_problems(count, seed)


def slides_formula(phi, task, lam):
    """Return c^T (d theta' / d phi) with D1, every derivative written out as a matrix."""
    p = phi["weights"]
    theta = bilevel.solution(phi, task, linear, bl.d1, lam)["weights"]

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
    c = bl.policy_gradient({"weights": theta}, task, **linear.exact)
    return {"weights": c["weights"] @ -torch.linalg.solve(first, second)}


# %% tags=["widget", "hide-input"]
predictions.ask(
    "04a.nu",
    "The slides' formula leaves ∇ν out. With shared parameters, how far is it from the "
    "whole hypergradient, on average over tasks? Relative difference.",
    edges=(1e-06, 0.005, 0.3),
)


# %%
def against_the_slides(phi, task):
    slides = slides_formula(phi, task, 1.0)
    rungs = (bl.DATA_FUNCTIONS["q_gradient"], bl.full_data)
    ours = [bilevel.implicit(phi, task, linear, bl.d1, 1.0, data=rung)[0] for rung in rungs]
    return torch.stack([bilevel.relative_error(slides, rung) for rung in ours])


to_q_gradient, to_full = vmap(against_the_slides)(linear.phis, linear.tasks).T
predictions.reveal("04a.nu", to_full.mean().item())
print(f"slides' formula - ours with Q's derivative, nu taken as given: {to_q_gradient.max():.1e}")
print(f"slides' formula - ours in full: {to_full.min():.1e} to {to_full.max():.1e}, over tasks")
record("slides_against_q_gradient", to_q_gradient.max(), "relative")
record("slides_against_full", to_full.mean(), "relative")

# %% [markdown]
# The first line is equality up to rounding; the second is what the derivative of $\nu$ is worth here.

# %% [markdown]
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
from bomrl_lite.adaptation.closed_forms import simplex_solve

show_source(simplex_solve)

# %% [markdown]
# Three roads to one hypergradient: state by state; in the logits, whose Hessian mixes in $\nu$ and is singular; and automatic differentiation of the closed form of lesson 03, which needs no implicit function theorem at all.

# %%
show_source(bilevel.by_state, bilevel.through_closed_form)
rows = []
for (name, problems), distance in itertools.product(
    {"5 states": small, "Frozen Lake": lakes}.items(), (bl.d1, bl.d2)
):

    def roads(phi, task, problem=(problems, distance, 1.0)):
        proposition, _ = bilevel.by_state(phi, task, *problem)
        logits, _ = bilevel.implicit(phi, task, *problem)
        closed = bilevel.through_closed_form(phi, task, *problem)
        others = (logits, closed)
        return torch.stack([bilevel.relative_error(proposition, other) for other in others])

    logits, closed = vmap(roads)(problems.phis, problems.tasks).amax(0).tolist()
    labels = {"problem": name, "distance": distance.__name__.upper()}
    found = {"to implicit_vjp in logits": logits, "to autodiff of the closed form": closed}
    rows.append({**labels, **found})
three_roads = pd.DataFrame(rows).set_index(["problem", "distance"])
record("proposition_1_error", three_roads.to_numpy().max(), "relative")
three_roads.map("{:.1e}".format)

# %% [markdown]
# *Largest relative difference between Proposition 1 and the other two roads, over tasks, $\lambda=1$.*
#
# **How well can $M(s)$ be solved with?** For D2, $M=\lambda\,\mathrm{diag}(1/\pi')$, so its condition number is $\max_a\pi'/\min_a\pi'$: harmless at a stochastic policy, unbounded as $\pi'$ becomes deterministic. For D1, $M=\lambda\,\mathrm{diag}(\pi_\phi/\pi'^2)$. We come back to this in lesson 04b.

# %% tags=["widget", "hide-input"]
predictions.ask(
    "04a.condition",
    "On this task at λ = 1: whose worst matrix M(s) over the five states is harder to "
    "solve with, that of D1 or that of D2?",
    ("that of D1", "that of D2", "equal, to 10 %"),
)

# %%
from bomrl_lite.adaptation.closed_forms import condition_numbers, policywise_curvature
from bomrl_lite.adaptation.distances import STATE_DISTANCES

phi, task = small.singles()[0]
log_phi, largest = small.policy.log_probs(phi), {}
for distance in (bl.d1, bl.d2):
    log_theta = small.policy.log_probs(bilevel.solution(phi, task, small, distance, 1.0))
    bends = policywise_curvature(log_phi, log_theta, state_distance=STATE_DISTANCES[distance])
    numbers = condition_numbers(bends).tolist()
    largest[f"that of {distance.__name__.upper()}"] = max(numbers)
    print(f"{distance.__name__.upper()}  condition of M(s):", *(f"{n:9.3g}" for n in numbers))
shares = log_theta.exp()
print("    max pi' / min pi':", *(f"{n:9.3g}" for n in shares.amax(-1) / shares.amin(-1)))

# %%
equal = max(largest.values()) < 1.1 * min(largest.values())
predictions.reveal("04a.condition", "equal, to 10 %" if equal else max(largest, key=largest.get))

# %% [markdown]
# ## 4. The ladder
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
numbers = [
    torch.cat([field.flatten() for field in rung(phi, task, **small.exact)])
    for rung in bl.DATA_FUNCTIONS.values()
]
print(
    "largest difference of their numbers:", (torch.stack(numbers) - numbers[0]).abs().max().item()
)

# %% [markdown]
# They return the same numbers and differ in what a derivative can see. The method is the same for all, so we climb: three distances, two policies, several tasks, against central differences.

# %% tags=["widget", "hide-input"]
predictions.ask(
    "04a.naive",
    "How large is the relative error of the *naive* hypergradient, with free logits and "
    "D1? Median over tasks.",
    edges=(0.3, 0.7, 1.2),
)

# %% tags=["widget", "hide-input"]
predictions.ask(
    "04a.lowest",
    "And which is the lowest rung that is exact, to a millionth, with free logits and D1?",
    ("naive", "frozen", "q_gradient", "full"),
)

# %%
distances = bl.DISTANCES if profile != "smoke" else {"d1": bl.d1}
policies = {"tabular softmax": small, "linear softmax, 6 features": linear}
rows = []
for (policy, problems), (name, distance) in itertools.product(policies.items(), distances.items()):
    solve = partial(bilevel.solution, problems=problems, distance=distance, lam=1.0)

    def climb(phi, task, solve=solve, problem=(problems, distance, 1.0)):
        oracle = bilevel.differences(solve, phi, task, problem[0])
        rungs = [
            bilevel.implicit(phi, task, *problem, data=data)[0]
            for data in bl.DATA_FUNCTIONS.values()
        ]
        return torch.stack([bilevel.relative_error(rung, oracle) for rung in rungs])

    errors = vmap(climb)(problems.phis, problems.tasks)
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
of_d1 = worst.loc[("tabular softmax", "D1")]
predictions.reveal("04a.naive", of_d1["naive"])
predictions.reveal("04a.lowest", (of_d1 < 1e-6).idxmax())
worst.map("{:.1e}".format)


# %% [markdown]
# *Medians over tasks.* What to take home:
#
# - **naive** is wrong, and by the most; it is not even the same as freezing all data, because half of a pair that cancels is kept.
# - **frozen** leaves out how $\phi$ changes what actions are worth.
# - **q_gradient** is exact for tabular D1 and D2, and only there: each state has a solution of its own and $\nu(s)$ cancels from it. D3 and shared parameters weigh states against one another, and then $\nabla_\phi\nu$ counts.
# - **full** is exact in every cell. That is not a better approximation: it is the derivative.

# %% [markdown]
# ## 5. Recap
#
# - The implicit function theorem differentiates an arg max from its stationarity: one linear system with $H=-\nabla^2_\theta F$, one derivative towards $\phi$.
# - Proposition 1 does it state by state with matrices of the size of the action set, completed by the constraint that probabilities sum to 1.
# - The slides' formula is the third rung of the ladder: exact for tabular D1 and D2. With D3 or shared parameters $\nabla_\phi\nu$ is needed too.

# %%
fig = predictions.show("04a")

# %% [markdown]
# ## 6. Check yourself
#
# <details><summary>How does bilevel optimisation differ from single-level optimisation?</summary>
#
# The outer objective is evaluated at the solution of an inner problem that moves with the outer variable. Its gradient contains the derivative of that solution, and it is only as right as the inner problem is solved.
#
# </details>
#
# <details><summary>Why does the visited-state distribution drop out for tabular D1 and D2, and not for D3?</summary>
#
# Each state then has parameters of its own, and $\nu(s)$ multiplies both terms of its stationarity condition: it cancels. D3 is not weighed by $\nu$, so $\nu(s)$ decides how far state $s$ moves.
#
# </details>
#
# <details><summary>Why does M(s) become singular in the limit, never before?</summary>
#
# Its entries are $\lambda/\pi'$ or $\lambda\pi_\phi/\pi'^2$, positive and finite as long as every probability is positive. As one tends to 0 its entry grows without bound, and with it the condition number; it is $M^{-1}$ that loses a direction.
#
# </details>
#
# ## 7. Reading
#
# - S. Xu, M. Zhu (2024), *Meta-Reinforcement Learning with Universal Policy Adaptation*, arXiv 2410.09728: the hypergradient of BO-MRL and Proposition 1.
# - S. Gould et al. (2016), *On Differentiating Parameterized Argmin and Argmax Problems*, arXiv 1607.05447: also with constraints.
# - A. Rajeswaran et al. (2019), *Meta-Learning with Implicit Gradients*, arXiv 1909.04630: iMAML, with D3.
# - M. Blondel et al. (2021), *Efficient and Modular Implicit Differentiation*, arXiv 2105.15183: the theorem as a tool.
#
# **Next:** [04b · Solvers and failures](04b_solvers.ipynb), or first exercises 4.1 and 4.3 to 4.7 of [`exercises/04_implicit_differentiation.ipynb`](../exercises/04_implicit_differentiation.ipynb).
