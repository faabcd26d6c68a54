# %% [markdown]
# # 04c · Constraints and samples
#
# **After this lesson you can**
#
# - differentiate through a trust region, its multiplier included, and say what holding the multiplier constant costs;
# - choose among three recipes for sampled data and neural policies, and check each against differences;
# - read the diagnostics of a training run, and tell signal from noise;
# - say when the term through $Q$ pays on samples, and where BO-MRL loses.
#
# **Time:** reading 30 minutes, computing about 2 minutes. **Before:** [04b · Solvers and failures](04b_solvers.ipynb). **After:** exercise set 04 (`exercises/04_implicit_differentiation.ipynb`). **Words:** [symbols and names](../docs/symbols_and_names.md).
#
# | equation | function |
# |---|---|
# | bordered system of Karush, Kuhn and Tucker | `bl.constrained_vjp`, `bomrl_trust_region` |
# | recipes A, B, C on samples | `head_adaptation`, `natural_adaptation`, `solved_adaptation` |
# | $\mathrm dJ(\theta)/\mathrm d\log(1/\lambda)=\langle\nabla J(\theta),\theta-\phi\rangle$ | `length_slope` |
# | lead of one method over another, paired by seed | `paired_difference` |
#
# From 04a: $F=L/\lambda-D^2$ is the inner objective, $H=-\nabla_\theta^2F$, $c=\nabla J(\theta)$, $x$ solves $Hx=c$. New: $\delta$ is the size of a trust region, $\eta$ its multiplier, $\xi$ the adjoint of the constraint, a **ridge** a small multiple of $\|\theta-\phi\|^2$ inside $D^2$, which keeps $H$ away from singular.

# %% tags=["parameters"]
profile = "class"  # "smoke": seconds, for tests · "class": for you · "full": larger, for figures
seed = 0

# %%
from functools import partial

import pandas as pd
import torch
from torch.func import grad, vmap

# %%
import bomrl_lite as bl
from bomrl_lite.course import plots, predictions
from bomrl_lite.course.bench import sampled as sampled_bench
from bomrl_lite.course.experiments import bilevel
from bomrl_lite.course.parameters import begin
from bomrl_lite.course.record import record
from bomrl_lite.course.show import show_source, stored_table

begin(profile, seed)
plots.use_style()
torch.set_num_threads(1)
few = {"num_tasks": 4, "num_episodes": 4}
effort = sampled_bench.SMALL if profile == "smoke" else sampled_bench.Effort()
sizes = {
    "smoke": {"tasks": 2, "iterations": {"bomrl_head": 3, "bomrl_natural": 2}, "batch": few},
    "class": {"tasks": 5, "iterations": {"bomrl_head": 20, "bomrl_natural": 12}, "batch": {}},
    "full": {"tasks": 20, "iterations": {"bomrl_head": 50, "bomrl_natural": 50}, "batch": {}},
}[profile]
count = sizes["tasks"]

# %% [markdown]
# ## 1. Trust regions: what holding the multiplier constant costs
#
# In the constrained form, $\max_\theta L_\phi(\theta)$ subject to $D^2(\pi_\phi,\pi_\theta)\le\delta$, the weight of the distance is not chosen: it is the multiplier $\eta(\phi)$, found by the solver. While the constraint binds, *two* conditions hold for every $\phi$ (Karush, Kuhn and Tucker):
#
# $$\nabla_\theta L-\eta\nabla_\theta D^2=0,\qquad D^2=\delta.$$
#
# Differentiate both. With $n=\nabla_\theta D^2$, the adjoint system has one more row and column than before:
#
# $$\begin{pmatrix}-\nabla_\theta^2(L-\eta D^2)&n\\ n^\top&0\end{pmatrix}\begin{pmatrix}x\\ \xi\end{pmatrix}=\begin{pmatrix}c\\0\end{pmatrix},\qquad\nabla_\phi J=\nabla_\phi\big[\langle x,\nabla_\theta(L-\eta D^2)\rangle-\xi D^2\big].$$
#
# The tempting shortcut is to take the $\eta$ that the solver found, call it $\lambda$, and reuse lesson 04a. But $\eta$ depends on $\phi$ too.

# %%
from bomrl_lite.adaptation.meta_gradients import bomrl_trust_region
from bomrl_lite.adaptation.trust_region import adapt_to_task_in_trust_region

DELTA = 0.1


def in_trust_region(phi, task, problems, distance):
    """Errors of the bordered system and of the shortcut."""
    choices = {"distance": distance, "delta": DELTA}
    bordered, _ = bomrl_trust_region(phi, task, **problems.exact, **choices)
    data = bl.full_data(phi, task, **problems.exact)
    theta, eta, _ = bl.adapt_in_trust_region(phi, data, policy=problems.policy, **choices)
    unit = torch.where(eta > 0, eta, 1.0)
    options = {"theta": theta, "tolerance": torch.inf}
    constant, _ = bilevel.implicit(phi, task, problems, distance, unit, **options)
    solve = partial(adapt_to_task_in_trust_region, **problems.exact, **choices)
    oracle = bilevel.differences(solve, phi, task, problems)
    return bilevel.relative_error(bordered, oracle), bilevel.relative_error(constant, oracle)


# %% tags=["widget", "hide-input"]
predictions.ask(
    "04c.multiplier",
    "How large is the relative error if η is held constant? Median over tasks, of the "
    "distance for which it is larger.",
    edges=(0.001, 0.03, 0.15),
)

# %%
small, linear = bilevel.random_problems(count, seed), bilevel.linear_problems(count, seed)
problems = {("tabular", "D1"): small, ("tabular", "D2"): small}
if profile != "smoke":  # the solver of the linear policy takes its time
    problems["linear", "D1"] = linear if profile == "full" else linear.first(2)
rows = {}
for (policy, name), these in problems.items():
    errors = partial(in_trust_region, problems=these, distance=bl.DISTANCES[name.lower()])
    bordered, constant = vmap(errors)(these.phis, these.tasks)
    rows[policy, name] = {
        "bordered, largest": bordered.max().item(),
        "eta constant, median": constant.median().item(),
        "eta constant, largest": constant.max().item(),
    }
kkt = pd.DataFrame(rows).T.rename_axis(["policy", "distance"])
record("bordered_error", kkt["bordered, largest"].max(skipna=False), "relative")
held = kkt["eta constant, median"].max(skipna=False)
record("eta_constant_error", held, "relative")
kkt.map("{:.1e}".format)

# %%
predictions.reveal("04c.multiplier", held)

# %% [markdown]
# *Relative errors against central differences over tasks (two for the linear policy), $\delta=0.1$.*
#
# The constant multiplier is no small mistake, and a better linear solver cannot repair it: the adjoint equation $n^\top x=0$ says that $x$ must not lead out of the region, and the shortcut never heard of it.
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
# **Learnt:** a constraint adds one row and one column, and its multiplier is differentiated with all the rest.

# %% [markdown]
# ## 2. From samples: three recipes and what they cost
#
# Nothing so far asked where the data came from. From episodes, every visit is a state of its own, with the one action that was taken; with that reading `surrogate_objective`, the distances and `implicit_vjp` run unchanged on samples of a neural policy. What is left to choose is surrogate, metric and the parameters that move:
#
# | recipe | surrogate | metric | moves | solved by |
# |---|---|---|---|---|
# | A | linear in $\theta$ | KL + ridge | the linear head | one small linear system |
# | B | linear in $\theta$ | KL to second order + ridge | everything | conjugate gradients, the same matrix both ways |
# | C | ratio or smooth clip | KL + ridge | the linear head | Newton, then `implicit_vjp` |
#
# The ridge belongs *inside* the objective, so that inner solution, Hessian and mixed term agree. Recipe A in full:

# %%
from bomrl_lite.adaptation.head import head_adaptation

show_source(head_adaptation)

# %% [markdown]
# And recipe B, where no matrix is ever written out:

# %%
from bomrl_lite.adaptation.natural import natural_adaptation

show_source(natural_adaptation)

# %% [markdown]
# Each against central differences, on episodes of 2-D navigation that are kept fixed while $\phi$ moves, in double precision:

# %%
recipe_errors = {
    figure.name.split(", ", 1)[1]: figure.figure for figure in sampled_bench.recipe_errors(effort)
}
record("largest_recipe_error", max(recipe_errors.values()), "relative")
pd.Series(recipe_errors, name="relative error").map("{:.1e}".format).to_frame()

# %% [markdown]
# *Relative error of the meta-gradient; "trust region" is recipe B with the length of its step fixed by $\delta$, "all" is recipe C on all parameters.*
#
# That says that the way back belongs to the answer, whatever problem the answer solves. Whether it is the one in the table, with its price $\lambda$ and its ridge $\rho$, can be asked of the answer alone. Write each objective out, and look how much of its slope at $\phi$ is left at $\theta$:

# %%
from bomrl_lite.adaptation import settings
from bomrl_lite.rollout.data import frozen_samples, policy_at
from bomrl_lite.solvers.linear import add_scaled, dot, hessian_vector_product, norm

normal = bl.gaussian_mlp(2, 2, hidden=(3,), dtype=torch.float64)
phi, batch, _ = sampled_bench.frozen_problem(normal)
phi["log_std"] = torch.zeros(2, dtype=torch.float64)  # recipe A has its ridge in units of sigma
data, at_visits = frozen_samples(phi, batch, policy=normal), policy_at(batch, normal)
lam, ridge = 1.0, 0.5
surrogate = partial(bl.surrogate_objective, data=data, policy=at_visits)
kl = partial(bl.d1, phi, policy=at_visits, state_weights=data.state_weights)
slope = grad(surrogate)(phi)


# %%
def linear_less_price(theta):
    """Recipes A and B: both terms expanded at phi."""
    moved = add_scaled(theta, -1.0, phi)
    bend = dot(moved, hessian_vector_product(kl, phi)(moved)) + ridge * dot(moved, moved)
    return dot(slope, moved) / lam - bend / 2


def surrogate_less_price(theta):
    """Recipe C: nothing expanded."""
    moved = add_scaled(theta, -1.0, phi)
    return surrogate(theta) / lam - kl(theta) - ridge / 2 * dot(moved, moved)


# %%
price = {"lam": lam, "ridge": ridge}
long = {"cg_iterations": 60, **price}
of_c = settings.SampledArgmax(parameters="head", inner_iterations=20, **long)
recipes = {
    "A": (settings.HeadClosedForm(**price), linear_less_price, normal.head),
    "B": (settings.NaturalStep(**long), linear_less_price, tuple(phi)),
    "C": (of_c, surrogate_less_price, normal.head),
}
left = {}
for recipe, (chosen, written_out, moving) in recipes.items():
    alg = settings.alg_on_samples(chosen, "frozen", normal, gamma=0.99, tolerance=1e-13)
    ends = [grad(written_out)(params) for params in (alg(phi, batch).theta, phi)]
    at_theta, at_phi = (norm({name: end[name] for name in moving}).item() for end in ends)
    left[recipe] = at_theta / at_phi
record("largest_slope_left", max(left.values()), "relative")
pd.Series(left, name="slope left").map("{:.0e}".format).to_frame()

# %% [markdown]
# *Slope of the objective at the answer, relative to that at $\phi$, in what the recipe moves: none is left.* The KL in it is that of two normal distributions at every visit, known in closed form. Recipe B moves $\sigma$ too; PyTorch's own `kl_divergence` is the judge:

# %%
moved = settings.alg_on_samples(recipes["B"][0], "frozen", normal, gamma=0.99)(phi, batch).theta
at_both = [at_visits.distribution(params) for params in (phi, moved)]
pair = [torch.distributions.Normal(at.mean, at.log_std.exp()) for at in at_both]
expected = data.state_weights @ torch.distributions.kl_divergence(*pair).sum(-1)
record("kl_of_normals_error", abs(kl(moved) / expected - 1).item(), "relative")

# %% [markdown]
# **Learnt:** a recipe is a choice of surrogate, metric and parameters; given that, its hypergradient is exact, for the sample at hand and rung `frozen`.

# %% [markdown]
# ## 3. Training, and what to watch
#
# The head-only recipe trains in seconds, recipe B in a minute. A short run of each from the same seed, recipe A for 20 iterations and B, which takes longer over each, for 12:

# %%
curves, diagnostics = [], {}
for method, iterations in sizes["iterations"].items():
    dials = {"seed": seed, "iterations": iterations, **sizes["batch"]}
    config = bl.configure(method, tasks="navigation/circle", **dials)
    state = bl.meta_train(config)
    diagnostics[method] = state.history
    for row in state.history:
        labels = {"iteration": row["iteration"], "method": method}
        for when, column in (("after 1 adaptation", "return_after"), ("before", "return_before")):
            curves.append({**labels, "return": row[column], "when": when})
    record(f"{method}_return_after", state.history[-1]["return_after"], "return")
fig = plots.sampled_training_curves(pd.DataFrame(curves))

# %% [markdown]
# A hypergradient that nobody checks is a rumour. Every iteration reports its inner problem: the residual of both linear systems, the smallest curvature they met, how many tasks were left out because they were not solved, how far the adaptation moved ($D_1^2$), and how far it moves on *shuffled* advantages, which is pure noise:

# %%
wanted = ["iteration", "stationarity", "residual", "curvature", "unsolved"]
wanted += ["distance", "shuffled_distance"]
log = pd.DataFrame(diagnostics["bomrl_natural"])[wanted]
record("residual_of_recipe_b", float(log["residual"].max(skipna=False)), "relative")
record(
    "signal_over_noise_at_start", float(log["distance"][0] / log["shuffled_distance"][0]), "ratio"
)
log[log["shuffled_distance"].notna()].set_index("iteration").map("{:.2g}".format)

# %% [markdown]
# *Every tenth iteration.* If signal (`distance`) and noise (`shuffled_distance`) are close, $\lambda$ or the ridge is too small: the adaptation would follow accidents of the sample. Here the signal is more than ten times the noise.
#
# **Learnt:** a hypergradient comes with its residual and curvature, an adaptation with its distance on shuffled data; read them before the return.
#
# ## 4. The term through $Q$, from samples
#
# Lesson 04a, section 4, said what $\nabla_\phi Q$ is worth when it is exact. From episodes it is a sum of scores of later actions, and loud. A **causal trace** $\kappa<1$ weighs an effect that comes $k$ steps later by $\kappa^k$: quieter, and biased. The stored table compares the hypergradient with the sampled term, for several traces, to the hypergradient that leaves the term out (rung `frozen`):

# %% tags=["widget", "hide-input"]
predictions.ask(
    "04c.term",
    "On the lakes at λ = 2, with plain returns and the full causal horizon: "
    "from how many episodes on does the sampled term lower the error?",
    ("20", "200", "1000", "from none of these"),
)

# %%
q_table = stored_table("q_gradient")
fig = plots.draw_experiment("q_gradient", q_table)
returns = q_table.query("lam == 2.0 and estimator == 'returns'")
ratio = (returns["whole error"] / returns["dropped"]).rename("error with / without")
table = pd.concat([returns[["problem", "episodes", "trace"]], ratio], axis=1)
lakes = table.query("problem == 'frozen_lake/holes-4x4' and trace == 1.0").groupby("episodes")
helps = [str(number) for number, part in lakes if part["error with / without"].median() < 1]
predictions.reveal("04c.term", (*helps, "from none of these")[0])
table.groupby(["problem", "episodes", "trace"], sort=False).median().unstack().round(2)

# %% [markdown]
# *Error with the sampled term over error without it, over the causal trace (written $\tau$ in the figure): below 1 it helps. The table has the medians where advantages are plain returns.* At trace 1 the term is unbiased, and with 20 episodes that is no consolation: it multiplies the error by more than three. From 200 episodes on a trace of 0.8 helps, and even from 1000 a shorter memory is no worse. So the term is off by default in sampled training, and `data="q_gradient"`, `causal_trace=0.5` switches it on.
#
# **Learnt:** the rung that is exact with exact values is not the one with the least error on a sample.

# %% [markdown]
# ## 5. Does it pay?
#
# Return after ONE adaptation on goals that training never saw, over the number of one-time episodes; and over how unlike the tasks are, which is the width of the arc that goals lie on. Settings tuned for 20 episodes and the whole circle, three seeds each:

# %% tags=["widget", "hide-input"]
predictions.ask(
    "04c.one episode",
    "Trained with a *single* episode per task: by how much does recipe B lead over ProMP "
    "after one adaptation? Returns are near -30 before it, and near -7 with 20 episodes.",
    edges=(-5, -1, 1),
)

# %%
from bomrl_lite.course.statistics import paired_difference

episodes_table = stored_table("episodes")
fig = plots.draw_experiment("episodes", episodes_table)

matched = episodes_table[episodes_table["trained_with"] == episodes_table["episodes"]]
leads = {}
for episodes, part in matched.groupby("episodes"):
    for baseline in ("lvc_maml", "promp"):
        leads[episodes, baseline] = paired_difference(part, "bomrl_natural", baseline)
predictions.reveal("04c.one episode", leads[1, "promp"]["mean"])
pd.DataFrame(leads).T.rename_axis(["episodes", "over"]).round(2)

# %% tags=["widget", "hide-input"]
predictions.ask(
    "04c.arc",
    "On the whole circle recipe A, the head alone, is the last of the four. Which is the "
    "first where goals lie on the narrowest arc, of 45 degrees?",
    ("bomrl_head", "bomrl_natural", "lvc_maml", "promp"),
)

# %%
fig = plots.draw_experiment("heterogeneity", stored_table("heterogeneity"))

# %% [markdown]
# *Arithmetic means over seeds with 95 % bootstrap intervals. The table pairs by seed: mean lead of recipe B, its standard error, seeds won.* With 2 to 20 episodes, the same number in training and at test, recipe B and ProMP are level: their largest difference is half a unit of return, at two episodes. Both leave MAML behind on every seed. Trained with a *single* episode per task every method fails: the means lie between −44 and −58, and one seed of ProMP, at −21, makes the difference of 9 between it and recipe B, which is nothing to build on. The same settings, trained with 20, adapt from one episode without harm (−18): settings belong to an amount of data.

# %%
arcs = stored_table("heterogeneity").groupby(["tasks", "method"])["return"]
predictions.reveal("04c.arc", arcs.mean()["navigation/arc-45"].idxmax())
arcs.agg(["mean", "min"]).unstack().round(2)

# %% [markdown]
# *Return after one adaptation by the family of goals: mean and worst of three seeds; settings of the search on the whole circle.* On the whole circle and on half of it, B and ProMP lead. On an arc of 45 degrees there is little to adapt, and plain MAML and the head alone, recipe A, are ahead in the mean: they are steady, where B and ProMP each have bad seeds.
#
# ### The price: what a wrong one costs, and how to train it
#
# Every recipe has its $\lambda$. Must it be searched for? It can be trained beside $\phi$: with a linear surrogate and a distance of second order $\theta-\phi$ is proportional to $1/\lambda$, so
#
# $$\frac{\mathrm dJ(\theta)}{\mathrm d\log(1/\lambda)}=\langle\nabla J(\theta),\,\theta-\phi\rangle,$$
#
# which costs nothing, since both factors are there (a stored table: `python -m bomrl_lite experiment lams`).

# %%
from bomrl_lite.course.experiments.lams import length_slope
from bomrl_lite.course.experiments.tuned import TUNED

show_source(length_slope)

# %%
of_lam = stored_table("lams")
fig = plots.draw_experiment("lams", of_lam)
by_lam = of_lam.groupby(["case", "learnt", "start"], sort=False)[["end", "return"]].mean()
for start, words in {0.1: "small", 10.0: "large"}.items():
    for learnt in ("no", "yes"):
        value = by_lam.loc[("points, head", learnt, start), "return"]
        record(f"stored_lam_{words}_trained_{learnt}", value, "return", source="table")
by_lam.round(2)

# %% [markdown]
# *Return on test tasks after one adaptation over $\lambda$, in units of the one that the search found; lines: fixed, dots and arrows: trained from a tenth and from ten times. Means over three seeds and their 95 % intervals.* **A wrong price costs much, and its own gradient mends 40 to 100 % of it.** A tenth of it or ten times it leave the points' head at −34 and −21 in place of −9, all their parameters at −25 and −15 in place of −7, and half cheetahs at 8 and −3 in place of 176. A factor of three costs points 1 to 3, half cheetahs half of what they earn and more (90 and 38). Trained, $\lambda$ goes towards the one found in all six cases and arrives in some: the points' head ends at 0.6 and 0.8 of it (from a tenth and from ten times), all parameters at 0.97 and still at 4.9, half cheetahs at 0.26 and 0.6. Returns: −20 and −8.7, −7.1 and −8.9, 76 and 112. From a tenth the points' head ends below a $\lambda$ that was fixed at a third (−12): an early wrong price leaves something behind. Three seeds.
#
# **How hard is the system that Alg solves?** While half cheetahs learn directions (`condition_networks`):

# %%
systems = stored_table("condition_networks")
fig = plots.draw_experiment("condition_networks", systems)
ends = systems[systems["iteration"].isin([0, systems["iteration"].max()])]
systems_at = ends.groupby(["method", "iteration"], sort=False)[
    ["eigenvalue", "ridge", "median", "largest"]
].mean()
for arm, words in {"BO-MRL head": "head", "BO-MRL": "all"}.items():
    value = systems_at.loc[(arm, systems["iteration"].max()), "largest"]
    record(f"stored_condition_{words}", value, "ratio", source="table")
found = TUNED["cheetah/direction"]
length = 1 / (found["BO-MRL"]["lam"] * found["BO-MRL"]["ridge"])
print(f"1/(lam rho) = {length:.2f}; MAML-TRPO's alpha: {found['MAML-TRPO']['step_size']}")
systems_at.round(2)

# %% [markdown]
# *Condition number of $\mathbb E[hh^\top]+\rho I$ on the head ($h$: features) and of the Fisher information plus $\rho I$ for all parameters; the table: before and after training, with the largest eigenvalue before the ridge $\rho$.* **Not hard.** On the head it doubles, from 10 to 22, as features grow; a closed form does not mind. For all parameters it stays below 1.5, because the search chose a ridge of 220 and the largest eigenvalue of the Fisher information grows from 12 to 90 only. So a few conjugate gradients are enough, and a warm start has nothing to save. But then the distance is mostly the Euclidean part: recipe B is near a gradient step of $1/(\lambda\rho)=0.30$ here, as long as those that the search gave MAML-TRPO (0.31), D3 (0.23) and ProMP (0.41); on other families they agree less. The head pays for the KL divergence in its leading directions, recipe B at this ridge mostly for $\lVert\theta-\phi\rVert^2$ in all.
#
# ### Where it loses
#
# | where | who is ahead | shown in |
# |---|---|---|
# | one episode per task in training | nobody: all fail; ProMP by 9 in the mean, by one seed | this section |
# | many episodes, little computing time | ProMP: 0.13 behind, for a quarter of the time | 02b, section 1 |
# | tasks that hardly differ | MAML and recipe A ahead of B | this section |
# | held-out lakes | first-order BO-MRL ahead of the full hypergradient | lesson 05b, section 1 |
# | HalfCheetah velocity | ProMP ahead of recipe A, level with B | lesson 06b, section 3 |
# | Walker direction | ProMP ahead of both | lesson 06b, section 3 |
#
# **Learnt:** what the KL metric certainly buys is a step whose size is known beforehand and a hypergradient that can be checked; a higher return it buys in some places and not in others.

# %% [markdown]
# ## 6. Recap
#
# - A multiplier must be differentiated like everything else: the bordered system has one more row and column, and is exact.
# - On samples the same functions run; the recipe decides what is linear and what moves. Damping belongs into the objective there too, as a ridge.
# - $\nabla_\phi Q$ is loud on samples: truncate it or leave it out.
# - A wrong $\lambda$ costs much; trained beside $\phi$, by a gradient that is there anyway, it moves towards the one found.

# %%
fig = predictions.show("04c")

# %% [markdown]
# ## 7. Check yourself
#
# <details><summary>Why can a better linear solver not repair a multiplier that is held constant?</summary>
#
# The system that it solves is another one: it lacks the row which says that the constraint stays binding as $\phi$ moves. Its exact solution is the hypergradient of the penalised problem with that $\lambda$, not of the trust region.
#
# </details>
#
# <details><summary>The adaptation moves as far on shuffled advantages as on real ones. What follows?</summary>
#
# That it follows accidents of the sample: whatever it does has nothing to do with which action was good. Raise $\lambda$ or the ridge, or collect more episodes.
#
# </details>
#
# ## 8. Reading
#
# - S. Xu, M. Zhu (2024), *Meta-Reinforcement Learning with Universal Policy Adaptation*, arXiv 2410.09728: BO-MRL on samples.
# - S. Gould et al. (2016), *On Differentiating Parameterized Argmin and Argmax Problems*, arXiv 1607.05447: also with constraints.
# - A. Rajeswaran et al. (2019), *Meta-Learning with Implicit Gradients*, arXiv 1909.04630: the implicit gradient of a network.
#
# **Next:** the exercises, [`exercises/04_implicit_differentiation.ipynb`](../exercises/04_implicit_differentiation.ipynb), then [05a · Near-optimality](05a_near_optimality.ipynb).
