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
# **Time:** reading 35 minutes, computing about 1 minute. **Before:** [03a · Universal policy adaptation](03a_universal_adaptation.ipynb). **After:** [04b · Solvers and failures](04b_solvers.ipynb); exercises 4.1 and 4.3 to 4.7 of set 04 (`exercises/04_implicit_differentiation.ipynb`) can be done now. **Words:** [symbols and names](../docs/symbols_and_names.md).
#
# | equation | function |
# |---|---|
# | $-\nabla_\theta^2F\;x=c,\quad \nabla_\phi J=\nabla_\phi\langle x,\nabla_\theta F\rangle$ | `bl.implicit_vjp` |
# | $d\pi'=W\,(dQ-\lambda\,\nabla_\phi\nabla_\pi d^2\,d\phi)$ (Proposition 1) | `bl.policywise_hypergradient`, `simplex_solve` |
# | what of the data's dependence on $\phi$ is kept | `bl.DATA_FUNCTIONS` |
# | the oracle: $\nabla_\phi J(\theta(\phi))$ by central differences | `bilevel.differences` |
#
# **The whole lesson in six lines.** BO-MRL's meta-gradient, which the rest derives, checks and takes apart:
#
# ```text
# for every task tau:
#     data  = what pi_phi collects in tau, once: visits nu, values Q
#     theta = argmax over theta of  F(theta, phi) = L(theta, data) / lam - D^2(pi_phi, pi_theta)
#     c     = gradient of J_tau at theta                     where the return wants theta to go
#     x     = solution of  H x = c,  H = -(second derivative of F in theta)
#     g     = gradient in phi of  <x, grad_theta F(theta, phi)>,  x and theta held fixed
# phi = phi + step * (mean of g over tasks)
# ```

# %% tags=["parameters"]
profile = "class"  # "smoke": seconds, for tests · "class": for you · "full": larger, for figures
seed = 0

# %%
import itertools
import math
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
# Lesson 03a has one: $\theta(\phi)=\mathrm{Alg}(\pi_\phi,\lambda,\tau)$. MAML's step was a formula, $\theta=\phi+\alpha\nabla J(\phi)$, and lesson 01 differentiated it term by term. Alg is not a formula: it says what $\theta$ must *fulfil*. In the picture below everything else is known; the gold arrow back has to pass *through* the box of Alg.

# %%
fig = plots.bilevel_picture()

# %% [markdown]
# The gradient $\nabla_\phi J(\theta(\phi))$, the **hypergradient**, needs the derivative of an *arg max*. Take the smallest example that has no obvious solution, one number inside, one outside:
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
# And the condition? Without the quadratic term, $F=\phi\,\theta-\frac14\theta^4$ is solved by $\theta=\phi^{1/3}$, whose slope at 0 is infinite. The curvature there is 0, and the function says no. (Asked with conjugate gradients, a solver of lesson 04b, which reports the curvature along the directions that it tried.)

# %%
zero = {"x": torch.zeros((), dtype=torch.float64)}
try:
    bl.implicit_vjp(
        lambda theta, phi: phi["x"] * theta["x"] - theta["x"] ** 4 / 4,
        zero,
        zero,
        {"x": torch.tensor(2.0, dtype=torch.float64)},
        solve=bl.conjugate_gradient,
    )
except bl.UnsolvedInnerProblem as error:
    print(str(error).split(". ")[0])

# %% [markdown]
# $\theta=0$ is the solution, so its stationarity is 0; but the curvature is 0 too, and the linear system $0\cdot x=2$ is solved by no $x$: its residual is 1, all of it.
#
# **Learnt:** where the inner problem is solved and curved, its solution can be differentiated without knowing how it was found.

# %% [markdown]
# ## 2. The hypergradient of BO-MRL
#
# Now $\theta$ and $\phi$ are vectors and $F=L/\lambda-D^2$ is the objective of lesson 03a divided by $\lambda$. Written out, with every $\phi$ that is in it:
#
# $$F(\theta,\phi)=\frac1\lambda\sum_s\underbrace{\nu^{\pi_\phi}(s)}_{\text{visits}}\sum_a\pi_\theta(a\mid s)\,\underbrace{Q^{\pi_\phi}(s,a)}_{\text{values}}-D^2(\underbrace{\pi_\phi}_{\text{prior}},\pi_\theta).$$
#
# Three lines, as before:
#
# 1. *stationarity*, for every $\phi$: $\quad\nabla_\theta F(\theta(\phi),\phi)=0$;
# 2. *differentiate* it: $\quad\nabla_\theta^2F\;\frac{d\theta}{d\phi}+\nabla_\phi\nabla_\theta F=0$;
# 3. *adjoint*: never form the matrix $\frac{d\theta}{d\phi}$. The chain rule only needs its product with $c=\nabla J_\tau(\theta)$. With $H=-\nabla_\theta^2F$, symmetric,
#
# $$\nabla_\phi J_\tau(\theta(\phi))=\Big(\frac{d\theta}{d\phi}\Big)^{\!\top}c=(\nabla_\phi\nabla_\theta F)^\top H^{-1}c=\nabla_\phi\,\big\langle x,\nabla_\theta F(\theta,\phi)\big\rangle,\qquad Hx=c.$$
#
# One linear system of the size of $\theta$, then one derivative towards $\phi$ with $\theta$ and $x$ held fixed. Whatever $F$ knows of $\phi$ is in that last derivative: the prior inside $D^2$, and *the data*, $\nu$ and $Q$ of $\pi_\phi$.
#
# The lines of the box at the top in the names of the code, for one task. Our laboratory (`experiments/bilevel.py`) has two kinds of problems: random ones with 5 states and 3 actions, and the lakes of lesson 01, each drawn several times, with a random meta-policy each.

# %%
from bomrl_lite.solvers.linear import add_scaled, dot, hessian_vector_product, norm

small, lakes = bilevel.random_problems(count, seed), bilevel.lake_problems(count, seed)
phi, task = small.singles()[0]
theta = bilevel.solution(phi, task, small, bl.d1, 1.0)  # collects the data and solves Alg
objective = bilevel.inner_objective(task, small, bl.d1, 1.0)  # F
c = bl.policy_gradient(theta, task, **small.exact)
product_with_h = hessian_vector_product(lambda t: -objective(t, phi), theta)
x, _ = bl.null_space_safe_solve(product_with_h, c)
g = grad(lambda p: dot(x, grad(objective)(theta, p)))(phi)
packaged, info = bl.implicit_vjp(objective, theta, phi, c)
print(f"length of g {norm(g):.4f}, difference {norm(add_scaled(g, -1.0, packaged)):.1e}")

# %% [markdown]
# `bl.implicit_vjp` is these three lines, and the questions that it asks before it answers:

# %%
show_source(bl.implicit_vjp)

# %% [markdown]
# `stationarity` and `solved` are there because line 1 is a *premise*: at a $\theta$ that is no solution, lines 2 and 3 are about nothing. Lesson 04b comes back to it.
#
# The oracle knows nothing of all this: it moves every coordinate of $\phi$ by $\pm h$ and $\pm2h$, $h=2\cdot10^{-4}$, solves the inner problem anew each time, and takes central differences of the outer objective, right to fourth order in $h$.

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
# *The worst of all tasks: relative error against central differences, stationarity of the inner solution, residual of the linear system. $\lambda=1$.* Nine digits and more, for all three distances.
#
# ### The formula on the slides
#
# The slides of Xu and Zhu (2024) write the same matrix out, with $d^2$ the distance in one state and all expectations over $s\sim\nu^{\pi_\phi}$, $a\sim\pi_\phi$:
#
# $$\nabla_\phi\theta'=-\,\mathbb E\Big[\nabla_\theta^2d^2-\frac{\nabla_\theta^2\pi_\theta}{\lambda\pi_\phi}Q\Big]^{-1}\mathbb E\Big[\nabla_\phi^\top\nabla_\theta d^2-\frac{\nabla_\theta\pi_\theta}{\lambda\pi_\phi}\nabla_\phi^\top Q\Big].$$
#
# The first bracket is $H$. The second is $-\nabla_\phi\nabla_\theta F$, but with one thing left out: the expectations run over states that $\pi_\phi$ visits, and $\nabla_\phi\nu$ is missing. ($\nabla_\phi$ of $a\sim\pi_\phi$ and of $1/\pi_\phi$ is missing too, and rightly: the two cancel.) So the slides' formula should be our hypergradient with the data's $Q$ differentiated and $\nu$ not: rung `q_gradient` of section 4. We type it in literally, as matrices, for a policy whose states share parameters, where $\nu$ matters.

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
#
# **Learnt:** BO-MRL's hypergradient is one linear system and one derivative, and the slides' formula is it without $\nabla_\phi\nu$.

# %% [markdown]
# ## 3. State by state: Proposition 1
#
# With free logits the inner problem falls apart into one problem per state, in the probabilities $\pi=\pi(\cdot\mid s)$ themselves:
#
# $$\max_\pi\ \langle\pi,Q\rangle-\lambda\,d^2(\pi_\phi,\pi)\quad\text{with}\quad\mathbf 1^\top\pi=1.$$
#
# (Section 2 divided by $\lambda$, here it stays where it was: $M$ below carries a $\lambda$, $H$ above does not.) Stationarity has a multiplier now, $Q-\lambda\nabla_\pi d^2=\mu\mathbf 1$. As $\phi$ moves, so do $Q$, the prior inside $d^2$, the solution $\pi'$ *and* $\mu$. Differentiate both conditions, with $M(s)=\lambda\nabla^2_\pi d^2$:
#
# $$M\,d\pi'+\mathbf 1\,d\mu=dQ-\lambda\nabla_\phi\nabla_\pi d^2\,d\phi,\qquad\mathbf 1^\top d\pi'=0.$$
#
# Call the right side $r$. The first gives $d\pi'=M^{-1}(r-\mathbf 1\,d\mu)$; put into the second, $d\mu=\mathbf 1^\top M^{-1}r\,/\,\mathbf 1^\top M^{-1}\mathbf 1$; put back,
#
# $$d\pi'=W\big(dQ-\lambda\nabla_\phi\nabla_\pi d^2\,d\phi\big),\qquad W=M^{-1}-\frac{M^{-1}\mathbf 1\mathbf 1^\top M^{-1}}{\mathbf 1^\top M^{-1}\mathbf 1}.$$
#
# Proposition 1 of Xu and Zhu asks for $M(s)$ to be non-singular in every state; the subtraction in $W$ is what the sum-to-one constraint adds. Nothing here is larger than the action set, and $\nu(s)$ has cancelled.

# %%
from bomrl_lite.adaptation.closed_forms import simplex_solve

show_source(simplex_solve)

# %% [markdown]
# Three roads to one hypergradient: state by state; in the logits, whose Hessian mixes in $\nu$ and is singular; and automatic differentiation of the closed form of lesson 03a, which needs no implicit function theorem at all.

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
# **Learnt:** with free logits the hypergradient is a small system per state, in which $\nu$ does not occur; how well it can be solved is decided by how deterministic $\pi'$ is.

# %% [markdown]
# ## 4. The ladder
#
# How much of the data's dependence on $\phi$ must one keep? Besides the prior inside $D^2$, which every rung differentiates, the data know $\phi$ in four places: the denominator of the ratio $\pi_\theta/\pi_\phi$, the actions that $\pi_\phi$ took, $Q$, and the visited states. Each way from $\phi$ is either open to the derivative or cut:
#
# | rung | actions | denominator | $Q$ | visits $\nu$ | in papers |
# |---|---|---|---|---|---|
# | `naive` | cut | **open** | cut | cut | plain automatic differentiation of a sampled objective |
# | `frozen` | cut | cut | cut | cut | LVC and ProMP (Rothfuss et al., 2018); BO-MRL's first public code |
# | `q_gradient` | cut | cut | **open** | cut | the slides of BO-MRL (Xu and Zhu, 2024) |
# | `full` | **open** | **open** | **open** | **open** | DiCE (Foerster et al., 2018); the derivative itself |
#
# The words are the package's (02a, section 2, has the table of names); below them all stands `identity`, $d\theta/d\phi=I$, of first-order methods. Actions and denominator are a pair: the actions' share of the derivative is $+\nabla\pi_\phi/\pi_\phi$, the denominator's is $-\nabla\pi_\phi/\pi_\phi$. Both open or both cut, they cancel or do not arise; `naive` keeps one half. Each rung is one function:

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
# They return the same numbers and differ in what a derivative can see.
#
# ### Three rooms: the wrong sign, by hand
#
# Room 0 pays 2.5 at once (action 0, and the episode ends) or leads to room 1 (action 1). There action 0 pays 2 and action 1 nothing; $\gamma=\frac12$, so those 2 are worth 1 at the start. The prior takes the 2.5 with chance $\frac14$ and the 2 with chance $\frac12$. D2 with $\lambda=1/\ln3$ turns them into $p=\frac34$ and $q=\frac9{10}$, and $J=2.5\,p+(1-p)\,q$. What is it worth to make action 0 *in room 1* a little likelier beforehand?

# %% tags=["widget", "hide-input"]
predictions.ask(
    "04a.sign",
    "Three rungs against the full derivative of J in that logit, by the sign alone: which "
    "one has it wrong?",
    ("naive", "frozen", "q_gradient", "none of them"),
)

# %%
from bomrl_lite.adaptation.meta_gradients import first_order_bomrl

moves = torch.eye(3, dtype=torch.float64)[torch.tensor([[2, 1], [2, 2], [2, 2]])]
pays = torch.tensor([[2.5, 0], [2, 0], [0, 0]], dtype=torch.float64)
rooms = bl.tabular_task(moves, pays, torch.tensor([1.0, 0, 0], dtype=torch.float64))
prior = torch.tensor([[1 / 4, 3 / 4], [1 / 2, 1 / 2], [1 / 2, 1 / 2]], dtype=torch.float64)
prior = {"logits": prior.log()}
three = bilevel.Problems(rooms, prior, bl.tabular_softmax(3, 2), 0.5)
problem = (prior, rooms, three, bl.d2, 1 / math.log(3))
print("adapted:", three.policy.log_probs(bilevel.solution(*problem)).exp()[:2].round(decimals=3))
slopes = {}
for rung, data_of in bl.DATA_FUNCTIONS.items():
    slope = bilevel.implicit(*problem, data=data_of)[0]["logits"][1, 0]
    print(f"{rung:<12} d J / d phi(room 1, action 0) = {slope:+.4f}")
    record(f"three_rooms_{rung}", slope, "return")
    slopes[rung] = slope.item()
wrong = (rung for rung, slope in slopes.items() if slope * slopes["full"] < 0)
predictions.reveal("04a.sign", next(wrong, "none of them"))
first_order, _ = first_order_bomrl(*problem[:2], **three.exact, distance=bl.d2, lam=problem[-1])
record("three_rooms_identity", first_order["logits"][1, 0], "return")

# %% [markdown]
# Frozen data see that the reward in room 1 is taken more often: $(1-p)\,q(1-q)=\frac14\cdot\frac9{100}=+0.0225$. The full rung sees also that room 1 now *looks* better from room 0, so that the adaptation turns less firmly to the 2.5, which is worth more: $-\frac{3}{40}\ln3=-0.0824$, together $-0.0599$. An ascent on frozen data goes the wrong way in that room. (First-order BO-MRL, $d\theta/d\phi=I$, gives the same $+0.0225$, recorded above as `identity`: with D2 and a table $\theta=\phi+Q/\lambda$, so that freezing $Q$ leaves just $I$. `naive` has the right sign, and a 27th of the size: two mistakes that nearly cancel.) D2 and a table: `q_gradient` is exact.
#
# ### The ladder, measured
#
# The method is the same for all, so we climb: three distances, two policies, several tasks, against central differences.

# %% tags=["widget", "hide-input"]
predictions.ask(
    "04a.naive",
    "How large is the relative error of the *naive* hypergradient, with free logits and "
    "D1? Median over tasks.",
    edges=(0.3, 0.7, 1.2),
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
of_full = ladder.query("rung == 'full'")["error"]
record("full_error_worst", of_full.max(skipna=False), "relative")
predictions.reveal("04a.naive", worst.loc[("tabular softmax", "D1"), "naive"])
worst.map("{:.1e}".format)

# %% [markdown]
# *Medians over tasks.* What to take home:
#
# - **naive** is wrong, and by the most: worse than freezing all data, because it keeps the denominator's half of the pair.
# - **frozen** leaves out how $\phi$ changes what actions are worth.
# - **q_gradient** is exact for tabular D1 and D2, and only there: each state has a solution of its own and $\nu(s)$ cancels from it. D3 and shared parameters weigh states against one another, and then $\nabla_\phi\nu$ counts.
# - **full** is exact in every cell. That is not a better approximation: it is the derivative.
#
# **Learnt:** each rung is another gradient, and which of them is exact depends on distance and policy; only central differences of the *whole* adaptation can tell.

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
# <details><summary>Must x be held fixed in the last derivative, $\nabla_\phi\langle x,\nabla_\theta F\rangle$?</summary>
#
# At a solution it makes no difference. If $x$ moved with $\phi$, its derivative would be multiplied by $\nabla_\theta F$, which is 0 there. In Proposition 1 the slope is $\mu\mathbf 1$ instead of 0, but $x=Wc$ sums to 0 for every $c$, and so does its derivative. Away from a solution it does matter, one more reason to look at the stationarity.
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
