# %% [markdown]
# # 03 · Universal policy adaptation
#
# **After this lesson you can**
#
# - say what MAML's single step wastes, and write down the problem that uses one batch of data to the end;
# - see three distances between policies as geometry, and predict where each moves a policy;
# - solve the adaptation in closed form, or by climbing, and tell from its diagnostics whether it is solved;
# - recognise PPO, the natural gradient and MAML's step as special cases;
# - prove that adaptation cannot lose, and see what that guarantee costs;
# - adapt from a handful of episodes, see what a trained prior is worth then, and which data a step may trust.
#
# **Time:** reading 60 minutes, computing about 1 minute. **Before:** [01 · The MAML baseline](01_maml_baseline.ipynb). **After:** exercise set 03 (`exercises/03_universal_adaptation.ipynb`). **Words:** [symbols and names](../docs/symbols_and_names.md).
#
# | equation | function |
# |---|---|
# | $L(\theta)=\mathbb E_{s\sim\nu,\,a\sim\pi_\phi}\big[\frac{\pi_\theta(a\mid s)}{\pi_\phi(a\mid s)}Q(s,a)\big]$ | `bl.surrogate_objective` |
# | $\mathrm{Alg}(\pi_\phi,\lambda,\tau)=\arg\max_\theta L(\theta)-\lambda D^2(\pi_\phi,\pi_\theta)$ | `bl.adapt` |
# | $D_1^2=\mathbb E_\nu[\mathrm{KL}(\pi_\phi\Vert\pi_\theta)]$, $D_2^2=\mathbb E_\nu[\mathrm{KL}(\pi_\theta\Vert\pi_\phi)]$, $D_3^2=\Vert\phi-\theta\Vert^2$ | `bl.d1`, `bl.d2`, `bl.d3` |
# | $\pi'\propto\pi_\phi e^{Q/\lambda}$; $\pi'=\lambda\pi_\phi/(\mu-Q)$ | `bl.closed_form_d2`, `bl.closed_form_d1` |
# | $\max L$ subject to $D^2\le\delta$ | `bl.adapt_in_trust_region` |
# | $\theta=\phi+\frac1\lambda F^{+}\nabla L$; $\theta=\phi+\frac1{2\lambda}\nabla L$ | `bl.natural_gradient_step`, `bl.policy_gradient_step` |
# | $J(\phi)+\frac{L(\theta)-L(\phi)-\lambda D^2}{1-\gamma}\le J(\theta)$ | `bl.lower_bound` |
# | $\hat\nu(s)$, $\hat Q(s,a)$ from $K$ episodes | `counted_data` |

# %% tags=["parameters"]
profile = "class"  # "smoke": seconds, for tests · "class": for you · "full": larger, for figures
seed = 0

# %%
import itertools
from functools import partial

import pandas as pd
import torch
from torch.func import vmap

# %%
import bomrl_lite as bl
from bomrl_lite.course import plots, predictions, widgets
from bomrl_lite.course.parameters import begin
from bomrl_lite.course.record import record
from bomrl_lite.course.show import show_source, stored_table
from bomrl_lite.tasks import frozen_lake as lakes
from bomrl_lite.training.streams import seeded

begin(profile, seed)
plots.use_style()
torch.set_num_threads(1)
sizes = {
    "smoke": {"iterations": 4, "seeds": 1, "num_tasks": 4, "num_test": 3, "policies": 20},
    "class": {"iterations": 150, "seeds": 3, "num_tasks": 20, "num_test": 20, "policies": 200},
    "full": {"iterations": 150, "seeds": 10, "num_tasks": 20, "num_test": 40, "policies": 2000},
}[profile]
seeds = range(seed, seed + sizes["seeds"])

# %% [markdown]
# ## 1. From MAML's limitation to Alg
#
# Lesson 01 ended with data that could do more. One batch from $\pi_\phi$ tells $\nu(s)$, where $\pi_\phi$ goes, and $Q(s,a)$, what an action is worth if $\pi_\phi$ takes over afterwards. MAML draws one gradient step from it. But the batch prices *every* policy, by weighing each action anew:
#
# $$L(\theta)=\mathbb E_{s\sim\nu,\;a\sim\pi_\phi}\Big[\frac{\pi_\theta(a\mid s)}{\pi_\phi(a\mid s)}\,Q(s,a)\Big].$$
#
# So why not maximise it? Because the data describe $\pi_\phi$: the further $\pi_\theta$ goes, the less they say. **Universal policy adaptation** (Xu and Zhu, 2024) puts a price $\lambda$ on the distance and then solves the problem to the end, with as many steps as that takes and no new data:
#
# $$\mathrm{Alg}(\pi_\phi,\lambda,\tau)=\arg\max_{\pi_\theta}\;L(\theta)-\lambda\,D_\tau^2(\pi_\phi,\pi_\theta).$$

# %%
show_source(bl.surrogate_objective, bl.adaptation_objective)

# %% [markdown]
# Our data are exact: the limit of infinitely many episodes. The record `OneTimeData` is all that Alg may see.

# %%
family = "frozen_lake/holes-4x4"
lake_map = ("SFFF", "FFHF", "FFFH", "HFFG")
lake = lakes.lake_task(lake_map, lakes.HOLES)
gamma = bl.make_tasks(family).gamma
policy = bl.tabular_softmax(16, 4)
exact = {"policy": policy, "gamma": gamma}
uniform = policy.init(torch.Generator())
data = bl.full_data(uniform, lake, **exact)
for field, tensor in data._asdict().items():
    print(f"{field:<14}{tuple(tensor.shape)}")

theta, info = bl.adapt(uniform, data, policy=policy, distance=bl.d2, lam=0.3)
exact_return = bl.policy_return(theta, lake, **exact).item()
for name, params in (("uniform", uniform), ("adapted", theta)):
    print(
        f"{name}: L = {bl.surrogate_objective(params, data, policy=policy):+.3f}, "
        f"J = {bl.policy_return(params, lake, **exact):+.3f}"
    )
print(info)

# %% [markdown]
# `info` belongs to the answer. *Stationarity* is how far from solved the problem is (0 is solved), *curvature* says that the answer is a maximum (positive), *distance* is $D^2$. Never use $\theta$ without a look at it: lesson 04b shows what happens if one does.
#
# And do not take $L$ for $J$: at $\phi$ it is $\mathbb E_\nu[V]$, the mean value of the states that are *visited*, while $J$ is the value of the first one. Only differences of $L$ speak of $J$, and only divided by $1-\gamma$ (section 5).
#
# **Learnt:** Alg maximises what one batch says about every policy, less a price for leaving the policy that the batch came from.
#
# ## 2. Three distances, seen as geometry
#
# The theory works with three. Two compare what the policies *do*, in the states that $\pi_\phi$ visits; the third compares their parameters:
#
# $$D_1^2=\mathbb E_{s\sim\nu}\big[\mathrm{KL}(\pi_\phi\Vert\pi_\theta)\big],\qquad D_2^2=\mathbb E_{s\sim\nu}\big[\mathrm{KL}(\pi_\theta\Vert\pi_\phi)\big],\qquad D_3^2=\Vert\phi-\theta\Vert^2.$$
#
# With three actions and one state, a policy is a point in a triangle whose corners are the deterministic policies. Which policies are near the prior (the dot)?

# %%
from bomrl_lite.adaptation.distances import kl_divergence, reverse_kl_divergence

prior = torch.tensor([0.7, 0.1, 0.2], dtype=torch.float64)


def centred(logits):
    return logits - logits.mean(-1, keepdim=True)


balls = {
    "D1": lambda grid: kl_divergence(prior.log().expand_as(grid), grid.log()),
    "D2": lambda grid: reverse_kl_divergence(prior.log().expand_as(grid), grid.log()),
    "D3": lambda grid: (centred(grid.log()) - centred(prior.log())).square().sum(-1),
}
fig = plots.distance_balls(prior, balls, level=0.2)

# %% [markdown]
# *Policies at $D^2=0.1$, $0.2$ (thick) and $0.4$ from the prior. D3 lives in the logits (drawn for those with mean 0) and cares little about what the policy does.* What tells D1 and D2 apart happens near the edges, too near to be seen here. So walk to one: take action 0 away, share by share, the other two in the proportion of the prior.

# %% tags=["widget", "hide-input"]
predictions.ask(
    "03.edge",
    "The prior takes action 0 in seven of ten cases. Walk on until its probability is "
    "1e-16: how large is D2², that is KL(new policy, prior), by then?",
    edges=(2, 10, 30),
    unit="nats",
)

# %%
left_over = torch.tensor([0.1, 1e-2, 1e-4, 1e-8, 1e-16], dtype=torch.float64)
others = (1 - left_over)[:, None] * prior[1:] / prior[1:].sum()
walk = torch.cat([left_over[:, None], others], -1)
predictions.reveal("03.edge", balls["D2"](walk)[-1].item())
pd.DataFrame(
    {name: distance(walk).numpy() for name, distance in balls.items()},
    index=pd.Index([f"{p:g}" for p in left_over], name="probability of action 0"),
).round(2)

# %% [markdown]
# *$D^2$ to the prior.* D1 and D3 grow without end: at the edge an action that the prior takes has probability 0, KL$(\pi_\phi\Vert\pi_\theta)$ is infinite, and so is a logit. D2 arrives at a finite price, $-\log(1-0.7)=1.20$.
#
# Now adapt. Action 1 is the best here, action 2 nearly as good; the prior favours action 0, and action 2 over action 1. From $\lambda=\infty$, which leaves the prior as it is, we lower the price:

# %% tags=["widget", "hide-input"]
predictions.ask(
    "03.bad action",
    "Action 0 is the worst, and the prior takes it in seven of ten cases. At the low "
    "price λ = 0.03, how likely is it still after adapting with D1?",
    edges=(1e-08, 0.0001, 0.005),
)

# %%
q = torch.tensor([0.0, 1.0, 0.9], dtype=torch.float64)
lams = torch.logspace(1.5, -2.5, 41 if profile != "smoke" else 9, dtype=torch.float64)
at_one = int((lams - 1).abs().argmin())
paths = widgets.three_paths(prior, q, lams)
shown = [int((lams - lam).abs().argmin()) for lam in (30.0, 1.0, 0.03, 0.003)]
table = {f"{lams[i]:.2g}": {n: p[i].numpy().round(3) for n, p in paths.items()} for i in shown}
predictions.reveal("03.bad action", paths["D1"][shown[2], 0].item())
pd.DataFrame(table).T.rename_axis("lam")

# %% tags=["widget"]
view, draw_paths = widgets.simplex_explorer(prior, q, paths, lams)
view

# %%
fig = draw_paths(at_one)

# %% [markdown]
# *Where each distance moves the prior (white) as $\lambda$ falls, the dots at $\lambda=1$; brighter is a larger expected $Q$. D1 and D2 set out together, for their balls have the same shape near the prior; D3, which measures logits, goes its own way and at $\lambda=1$ has hardly left.* It first walks towards action 2, the second best: the slope of $\langle\pi,Q\rangle$ in a logit carries a factor $\pi(a)$, so what the prior takes more often grows first, and only below $\lambda\approx0.03$ action 1 overtakes. All three end in the best corner as $\lambda\to0$. What differs is how fast they forget a bad action. Its probability:

# %%
falling = torch.tensor([1.0, 0.1, 0.01], dtype=torch.float64)
bad = {n: p[:, 0].numpy() for n, p in widgets.three_paths(prior, q, falling).items() if n != "D3"}
pd.DataFrame(bad, index=pd.Index(falling.tolist(), name="lam")).map("{:.1e}".format)

# %% [markdown]
# *Probability of action 0, the worst.* With D1 it falls like $\lambda$ itself, nearly ten times at each row; with D2 exponentially, like $e^{-1/\lambda}$. Neither is ever 0.
#
# ### Your own distance
#
# A distance is one function `(phi, theta, *, policy, state_weights) -> scalar`. Here is one that the course does not have, the squared Hellinger distance, handed to `adapt` like the others:


# %%
def hellinger(phi, theta, *, policy, state_weights):
    """Return E_{s ~ nu}[ 1/2 sum_a (sqrt pi_phi - sqrt pi_theta)^2 ]."""
    roots = [(0.5 * policy.log_probs(params)).exp() for params in (phi, theta)]
    return state_weights @ (0.5 * (roots[0] - roots[1]).square().sum(-1))


own, own_info = bl.adapt(uniform, data, policy=policy, distance=hellinger, lam=2.0)
before, after = (bl.policy_return(params, lake, **exact) for params in (uniform, own))
print(f"return {before:.3f} -> {after:.3f}; stationarity {own_info.stationarity:.1e}")
record("own_distance_stationarity", own_info.stationarity.item(), "norm")

# %% [markdown]
# ### From samples
#
# Alg never needs the exact $\nu$. From states that were visited, D1 and D2 are averages over visits (`visit_shares`); if only the actions that were taken are at hand, $\rho-1-\log\rho$ with $\rho=\pi_\theta/\pi_\phi$ averages to KL$(\pi_\phi\Vert\pi_\theta)$ and no summand is negative.

# %%
from bomrl_lite.adaptation.distances import d1_from_samples

generator = seeded(seed, 9)
joint_probs = data.state_weights[:, None] * data.action_probs
draws = torch.multinomial(joint_probs.flatten(), 20_000, replacement=True, generator=generator)
log_phi, log_theta = (policy.log_probs(params).flatten()[draws] for params in (uniform, theta))
estimate = d1_from_samples(log_phi, log_theta, torch.ones(len(draws), dtype=torch.float64))
truth = bl.d1(uniform, theta, policy=policy, state_weights=data.state_weights)
print(f"D1^2 = {truth:.4f}; from 20000 sampled actions {estimate:.4f}")
record("sampled_distance_error", abs(estimate / truth - 1).item(), "relative")

# %% [markdown]
# **Learnt:** near the prior D1 and D2 are one distance; far away D1 protects every action that the prior takes, D2 lets it go, and D3 does not look at what policies do.
#
# ## 3. Solving it
#
# ### Closed forms
#
# With a logit for every state and action, $L-\lambda D^2$ is a sum over states, and for D1 and D2 both terms of a state carry the same weight $\nu(s)$, which drops out. What is left per state is a problem over the simplex:
#
# $$\max_{\pi}\ \sum_a\pi(a)\,Q(a)-\lambda\,d^2(\pi_\phi,\pi)\quad\text{with}\quad\sum_a\pi(a)=1.$$
#
# **D2.** Setting the derivative of the Lagrangian to 0, $Q(a)-\lambda\log\frac{\pi(a)}{\pi_\phi(a)}-\lambda=\mu$, gives $\pi'(a)\propto\pi_\phi(a)\,e^{Q(a)/\lambda}$: add $Q/\lambda$ to the logits.
#
# **D1.** Here $Q(a)+\lambda\frac{\pi_\phi(a)}{\pi(a)}=\mu$ gives $\pi'(a)=\frac{\lambda\,\pi_\phi(a)}{\mu-Q(a)}$, with the one $\mu>\max_a Q(a)$ for which this sums to 1. It lies in $[\max_a(Q(a)+\lambda\pi_\phi(a)),\ \max_a Q(a)+\lambda]$, so bisection cannot miss it.

# %%
show_source(bl.closed_form_d2, bl.closed_form_d1)

# %% [markdown]
# A second road to the same answer: climb $L-\lambda D^2$ in the logits, knowing nothing of closed forms.

# %%
from bomrl_lite.solvers.maximize import ascend, maximize

random_prior = {"logits": torch.randn(16, 4, dtype=torch.float64, generator=generator)}
random_data = bl.full_data(random_prior, lake, **exact)


def two_roads(distance, lam):
    """Solve Alg as `adapt` does and by a climb; return both answers' infos and their distance."""
    settings = {"policy": policy, "distance": distance, "lam": lam}
    solved, info = bl.adapt(random_prior, random_data, **settings)

    def objective(x):
        return bl.adaptation_objective(x, random_prior, random_data, **settings) / lam

    climbed, climb_info = maximize(objective, random_prior, max_iterations=40)
    difference = policy.log_probs(solved).exp() - policy.log_probs(climbed).exp()
    return {
        "stationarity": info.stationarity.item(),
        "D^2": info.distance.item(),
        "difference to the climb": difference.abs().max().item(),
        "its iterations": int(climb_info.iterations),
    }


# %%
prices = (0.3, 1.0, 10.0) if profile != "smoke" else (1.0,)
rows = [
    {"distance": name, "lam": lam, **two_roads(distance, lam)}
    for (name, distance), lam in itertools.product(bl.DISTANCES.items(), prices)
]
roads = pd.DataFrame(rows).set_index(["distance", "lam"])
record("largest_stationarity", roads["stationarity"].max(), "norm")
record("closed_form_against_climb", roads["difference to the climb"].max(), "probability")
columns = {"stationarity": "{:.0e}", "D^2": "{:.4f}", "difference to the climb": "{:.0e}"}
roads.style.format(columns).format_index("{:g}", level="lam")

# %% [markdown]
# *Two roads to Alg on one lake, from a random prior; for D3 both climb, `adapt` state by state. Agreement is no matter of course: in logits the problem is not concave, and a climb that leaps too far gets stuck at points that are no solutions. Lesson 04b visits one.*
#
# ### Look at one
#
# The distance, its price, and how often to adapt (each time on fresh data of the policy before):

# %% tags=["widget"]
view, draw_adapted = widgets.adaptation_explorer(uniform, lake, lake_map, **exact)
view

# %%
fig = draw_adapted("d2", -0.5, 3)

# %% [markdown]
# *The uniform policy, and what three adaptations with D2 and $\lambda=0.32$ make of it. Each adaptation can only use what the policy before it has met: knowledge of the goal spreads from the goal.*
#
# ### With function approximation
#
# The closed forms need a free logit everywhere. If states share weights, $\pi_w(a\mid s)\propto e^{\langle f(s,a),w\rangle}$, a change in one state moves all others, $\nu(s)$ decides which states matter more, and no closed form is left: Alg is climbed. We halve the weight of the start state in the data and look whether the answer cares:

# %%
features = torch.randn(16, 4, 10, dtype=torch.float64, generator=generator)
shifted = data.state_weights * (1 - 0.5 * lake.start)
rows = []
for name, kind in (("free logits", policy), ("shared weights", bl.linear_softmax(features))):
    prior_params = kind.init(torch.Generator())
    other = data._replace(state_weights=shifted / shifted.sum())
    pair = [
        bl.adapt(prior_params, d, policy=kind, distance=bl.d2, lam=1.0)[0] for d in (data, other)
    ]
    moved = (kind.log_probs(pair[0]).exp() - kind.log_probs(pair[1]).exp()).abs().max().item()
    rows.append({"policy": name, "parameters": sum(p.numel() for p in prior_params.values())})
    rows[-1]["largest change of a probability"] = moved
    record(f"change_with_{name.replace(' ', '_')}", moved, "probability")
pd.DataFrame(rows).set_index("policy").style.format({"largest change of a probability": "{:.1e}"})

# %% [markdown]
# ### With a limit instead of a price
#
# Sometimes one would rather say how far a policy may go than what going costs: $\max L$ subject to $D^2\le\delta$, a *trust region*. It is the same family: as long as the limit binds, the answer is Alg with a multiplier $\eta$ in place of $\lambda$, the one that uses up $\delta$ exactly.

# %% tags=["widget", "hide-input"]
predictions.ask(
    "03.region",
    "From one batch of the uniform policy on this lake, with D2: which limit δ leads to "
    "the largest return?",
    ("0.01", "0.1", "0.5", "1"),
)

# %%
rows = []
for delta in (0.01, 0.1, 0.5, 1.0):
    theta, eta, info = bl.adapt_in_trust_region(
        uniform, data, policy=policy, distance=bl.d2, delta=delta
    )
    earned = bl.policy_return(theta, lake, **exact).item()
    rows.append({"delta": delta, "multiplier": eta.item(), "D^2": info.distance.item()})
    rows[-1] |= {"stationarity": info.stationarity.item(), "return": earned}
regions = pd.DataFrame(rows).set_index("delta")
used = (regions["D^2"] / regions.index - 1)[regions["multiplier"] > 0].abs().max()
record("trust_region_error", used, "relative")
best_of_state = data.q_values.max(-1, keepdim=True).values
greedy = {"logits": 1e3 * (data.q_values > best_of_state - 1e-12).double()}
of_greedy = bl.d2(uniform, greedy, policy=policy, state_weights=data.state_weights)
print(f"D^2 of the policy that is greedy for Q: {of_greedy:.4f}")
predictions.reveal("03.region", f"{regions['return'].idxmax():g}")
regions.style.format({"stationarity": "{:.0e}"}, precision=4).format_index("{:g}")

# %% [markdown]
# *More is not better: with $\delta=0.5$ the policy follows the old data further and earns less than with $0.1$. And the last line is a warning. No policy has more of $L$ than the greedy one, and that lies within one nat of the uniform policy (printed above), so the limit does not bind (multiplier 0); it is deterministic, which no logits reach, and the stationarity says that there is no solution.*
#
# **Learnt:** free logits make Alg a formula per state (D2) or a root per state (D1); shared weights and D3 need a climb, and a trust region is Alg with the price that uses the limit up.

# %% [markdown]
# ## 4. What Alg reduces to
#
# Alg is called *universal* because familiar methods are approximations of it, each by a shortcut at $\theta=\phi$:
#
# | keep | shortcut | result |
# |---|---|---|
# | $L$ and D1 | none | PPO with a KL penalty (Schulman et al., 2017) |
# | $L$ with a bounded gain, and D1 | $\rho\to g(\rho)=2\sigma(2(\rho-1))$ | the smooth relative of PPO's clipping |
# | D1 | $L$ to first order, $D^2$ to second | natural policy gradient, step $1/\lambda$ |
# | D2, free logits | none | natural policy gradient, step $1/\lambda$: exactly |
# | D3 | $L$ to first order | policy gradient, step $1/(2\lambda)$: MAML's Alg |
#
# For large $\lambda$ the step is small and small steps are alike, so each difference must fall like $1/\lambda$ (the clip's faster, since $g$ has no second-order term at 1). D2 with free logits is a surprise: its closed form $\phi+Q/\lambda$ *is* the natural-gradient step, at every $\lambda$. We measure the difference between the steps, relative to their size:

# %%
from bomrl_lite.adaptation.reductions import smooth_clip, smooth_clip_objective
from bomrl_lite.solvers.linear import add_scaled, norm

show_source(bl.natural_gradient_step, bl.policy_gradient_step, smooth_clip)

# %%
CLIP = {"surrogate": smooth_clip_objective, "max_iterations": 40}


def steps_of(phi, d, lam):
    """Return the step of every Alg and of every reduction, as changes of logits with mean 0."""
    free = {"policy": policy, "lam": lam}
    ends = {
        "D1": bl.adapt(phi, d, distance=bl.d1, **free)[0],
        "D2": bl.adapt(phi, d, distance=bl.d2, **free)[0],
        "D3": bl.adapt(phi, d, distance=bl.d3, **free)[0],
        "D1 with smooth clip": bl.adapt(phi, d, distance=bl.d1, **free, **CLIP)[0],
        "natural gradient": bl.natural_gradient_step(phi, d, distance=bl.d1, **free)[0],
        "policy gradient": bl.policy_gradient_step(phi, d, **free),
    }
    return {name: {"logits": centred(p["logits"] - phi["logits"])} for name, p in ends.items()}


def relative(ours, theirs):
    return (norm(add_scaled(ours, -1.0, theirs)) / norm(ours)).item()


# %%
rows, surprise = [], []
lams = (1.0, 10.0, 100.0, 1000.0, 10000.0) if profile != "smoke" else (100.0, 10000.0)
pairs = (("D1", "natural gradient"), ("D3", "policy gradient"), ("D1", "D1 with smooth clip"))
for s, lam in itertools.product(seeds, lams):
    phi = {"logits": torch.randn(16, 4, dtype=torch.float64, generator=seeded(s, 10))}
    steps = steps_of(phi, bl.full_data(phi, lake, **exact), lam)
    for ours, theirs in pairs:
        difference = relative(steps[ours], steps[theirs])
        labels = {"lam": lam, "seed": s, "reduction": f"{ours} and {theirs}"}
        rows.append({**labels, "difference": difference})
    surprise.append(relative(steps["natural gradient"], steps["D2"]))
errors = pd.DataFrame(rows)
fig = plots.reduction_errors(errors)
mean = errors.groupby(["reduction", "lam"])["difference"].mean().unstack("lam")
falls = mean[100.0] / mean[10000.0]
for name in ("D1 and natural gradient", "D3 and policy gradient"):
    record(f"fall_{name.split()[0]}", falls[name], "ratio over 100x lam")
record("D2_and_natural_gradient", max(surprise), "relative")
print(f"D2 and natural gradient: largest relative difference {max(surprise):.0e}")
falls.round(1)

# %% [markdown]
# *Difference between Alg's step and its reduction, means and ranges over random priors. The table: by what factor it falls from $\lambda=100$ to $10000$.* A factor of 100 is the $1/\lambda$ that we predicted; the clip's 10000 is $1/\lambda^2$.
#
# MAML's own step, exactly: $\nabla L(\phi)=(1-\gamma)\nabla J(\phi)$, so the policy-gradient step with $\lambda$ is MAML's with $\alpha=\frac{1-\gamma}{2\lambda}$.

# %%
lam = 0.01
ours = bl.policy_gradient_step(random_prior, random_data, policy=policy, lam=lam)
maml_step = bl.gradient_step(random_prior, lake, step_size=(1 - gamma) / (2 * lam), **exact)
gap = (norm(add_scaled(ours, -1.0, maml_step)) / norm(ours)).item()
print(f"alpha = {(1 - gamma) / (2 * lam):g}, relative difference {gap:.1e}")
record("maml_step_error", gap, "relative")

# %% [markdown]
# **Learnt:** PPO with a KL penalty *is* Alg with D1; natural and plain gradient steps, MAML's among them, are what is left of Alg at a high price.
#
# ## 5. A lower bound
#
# Why is maximising $L-\lambda D^2$ a good idea at all? Because with a price that is high enough it is a *lower bound* on what counts. For both KL distances and every $\theta$,
#
# $$J(\theta)\ \ge\ J(\phi)+\frac{L(\theta)-L(\phi)-\lambda D^2(\pi_\phi,\pi_\theta)}{1-\gamma}\qquad\text{if}\quad\lambda\ge\lambda_0=\frac{2\gamma A_{\max}}{(1-\gamma)\sqrt{\nu_{\min}}}.$$
#
# At $\theta=\phi$ both sides are equal. So the maximiser of the right side, Alg, has $J(\theta)\ge J(\phi)$: **adaptation cannot lose** (a minorise-maximise argument, Hunter and Lange, 2004). Lesson 05 proves the inequality. Along the line from the uniform policy through its adapted one:

# %%
show_source(bl.lower_bound, bl.rigorous_lambda)

# %% tags=["widget", "hide-input"]
predictions.ask(
    "03.guarantee",
    "How large is the λ_0 from which on the inequality is guaranteed, for this lake and "
    "the uniform policy? In section 1 the price was 0.3.",
    edges=(1, 10, 100),
)

# %%
theta, _ = bl.adapt(uniform, data, policy=policy, distance=bl.d2, lam=0.3)
along = {"logits": theta["logits"] - uniform["logits"]}
least = bl.rigorous_lambda(uniform, lake, **exact).item()
rows = []
for t in torch.linspace(-0.3, 1.5, 73).tolist():
    point = add_scaled(uniform, t, along)
    rows.append({"t": t, "what": "J", "value": bl.policy_return(point, lake, **exact).item()})
    for lam in (0.0, 0.3, 1.0, 3.0):
        bound = bl.lower_bound(point, uniform, lake, distance=bl.d2, lam=lam, **exact).item()
        name = r"$\lambda=0$: $L$ alone" if lam == 0 else rf"$\lambda={lam:g}$"
        rows.append({"t": t, "what": name, "value": bound})
fig = plots.bound_along_line(pd.DataFrame(rows))
predictions.reveal("03.guarantee", least)
print(f"lam_0 of this lake and policy: {least:.0f}")

# %% [markdown]
# *J (black) and the right side of the inequality along one line. All touch at $\phi$ with the same slope: the surrogate knows the gradient exactly. With $\lambda=0$ and with $0.3$ the curve rises above $J$: it promises what the new policy does not keep. With $\lambda=1$ and $3$ it stays below, on this line; the guarantee is about all directions at once, and asks for the far larger $\lambda_0$.*
#
# Now the claim itself, with $\lambda_0$: random priors, other policies near and far, both distances.

# %%
pool = bl.make_tasks(family).sample(sizes["num_tasks"], seeded(seed, "tasks"), "train")


def single(tasks, index):
    """Take one task out of a batch."""
    return type(tasks)(*(field[index] for field in tasks))


# %%
violations, improvements, used = [], [], []
for k in range(sizes["policies"]):
    task = single(pool, k % len(pool.start))
    start, noise = (
        {"logits": torch.randn(16, 4, dtype=torch.float64, generator=generator)} for _ in range(2)
    )
    other = add_scaled(start, 10.0 ** -(k % 4), noise)
    lam_0 = bl.rigorous_lambda(start, task, **exact)
    for distance in (bl.d1, bl.d2):
        bound = bl.lower_bound(other, start, task, distance=distance, lam=lam_0, **exact)
        violations.append((bound - bl.policy_return(other, task, **exact)).item())
        adapted = bl.adapt_to_task(start, task, distance=distance, lam=lam_0.item(), **exact)
        returns = [bl.policy_return(params, task, **exact) for params in (start, adapted)]
        improvements.append((returns[1] - returns[0]).item())
    used.append(lam_0.item())
print(f"{len(violations)} pairs: bound - J is at most {max(violations):.1e} (never positive)")
print(f"smallest improvement by Alg with lam_0: {min(improvements):.1e} (never negative)")
print(f"lam_0 from {min(used):.0f} to {max(used):.0f}; largest improvement {max(improvements):.1e}")
assert max(violations) <= 0 <= min(improvements)
record("largest_bound_minus_return", max(violations), "return")
record("largest_improvement_at_lam_0", max(improvements), "return")

# %% [markdown]
# The guarantee holds, and it is nearly worthless as a recipe: at $\lambda_0$ a policy hardly moves. In practice one takes a far smaller $\lambda$, gives the guarantee away, and gains much more. It is honest to say so; lesson 05 returns to it.
#
# **Learnt:** a price high enough makes Alg's objective a bound from below, so that adaptation cannot lose; the prices that one uses are no such prices.
#
# ## 6. One-time data, many steps
#
# Alg is solved with many steps on data collected *once*. We compare, on held-out lakes, three ways to spend gradient steps on one batch from $\pi_\phi$: climbing $L$ alone, climbing $L-\lambda D_2^2$, and repeating MAML's step with *fresh data at every step*. Two priors: the untrained one, and one that BO-MRL trained for Alg with D2 and $\lambda=0.3$ (how is the matter of lesson 04a).

# %%
lam = 0.3
trained, held_out = {}, {}
for s in seeds:
    config = bl.configure(
        "bomrl",
        tasks=family,
        distance="d2",
        lam=lam,
        num_tasks=sizes["num_tasks"],
        iterations=sizes["iterations"],
        seed=s,
    )
    trained[s] = bl.meta_train(config).phi
    draw = seeded(s, "evaluation")
    held_out[s] = bl.make_tasks(family).sample(sizes["num_test"], draw, "test")


def climb(phi, task, count, price):
    """Climb L - price D2^2 on the data of phi, ``count`` steps."""
    batch = bl.full_data(phi, task, **exact)
    settings = {"policy": policy, "distance": bl.d2, "lam": price}
    objective = partial(bl.adaptation_objective, phi=phi, data=batch, **settings)
    return ascend(objective, phi, step_size=30.0, num_steps=count)


# %%
def repeated(phi, task, count):
    """Climb J itself: every gradient is one of fresh data."""

    def objective(x):
        return bl.policy_return(x, task, **exact)

    return ascend(objective, phi, step_size=6.0, num_steps=count)


# %% tags=["widget", "hide-input"]
predictions.ask(
    "03.one batch",
    "From the *untrained* prior, 100 gradient steps on one batch of exact data: what does "
    "the better of the two objectives, L and that of Alg, earn on the held-out lakes? The "
    "best possible is 1.64.",
    edges=(0.5, 0.9, 1.3),
)

# %%
kinds = {
    "one batch, L alone": partial(climb, price=0.0),
    "one batch, Alg's objective": partial(climb, price=lam),
    "fresh data at every step": repeated,
}
counts = (0, 1, 2, 5, 10, 20, 50, 100) if profile != "smoke" else (0, 1, 5)
rows = []
for s, count, (kind, run) in itertools.product(seeds, counts, kinds.items()):
    for prior_name, phi in {"untrained": uniform, "trained by BO-MRL": trained[s]}.items():
        ends = vmap(lambda task, r=run, p=phi, c=count: r(p, task, count=c))(held_out[s])
        earned = vmap(partial(bl.policy_return, **exact))(ends, held_out[s]).mean().item()
        labels = {"prior": prior_name, "seed": s, "kind": kind}
        rows.append({"step": count, "return": earned, **labels})
curve = pd.DataFrame(rows)
optimum = gamma**5 / (1 - gamma)
fig = plots.returns_over_steps(curve, optimum=optimum, what="gradient steps", log=True)
last = (
    curve[curve.step == counts[-1]].groupby(["prior", "kind"])["return"].agg(["mean", "min", "max"])
)
for kind, key in (("one batch, L alone", "surrogate"), ("one batch, Alg's objective", "alg")):
    record(f"return_of_{key}", last.loc[("trained by BO-MRL", kind), "mean"], "return")
last.round(3)

# %%
on_one_batch = last.loc["untrained"].filter(like="one batch", axis=0)
predictions.reveal("03.one batch", on_one_batch["mean"].max())

# %% [markdown]
# *Mean return over held-out lakes; bands span all seeds, the dotted line is the best possible, the table the end of each curve. From the untrained prior one batch is not enough, whatever is done with it; only fresh data get further. The trained prior knows how to make its one batch count.*
#
# Is that a matter of the price? Here is ONE adaptation, solved, at every price; and the price at which either prior does best:

# %%
priced = {}
for s, price in itertools.product(seeds, (1.0, 0.3, 0.1, 0.03, 0.01)):
    alg = partial(bl.adapt_to_task, distance=bl.d2, lam=price, **exact)
    for prior_name, phi in {"untrained": uniform, "trained by BO-MRL": trained[s]}.items():
        after = bl.adapted_returns(phi, held_out[s], alg, **exact)[:, 1].mean().item()
        priced[prior_name, price, s] = after
one_step = pd.Series(priced).groupby(level=[0, 1], sort=False).mean().unstack()
record("untrained_best_after_one_adaptation", one_step.loc["untrained"].max(), "return")
one_step.rename_axis(index="prior", columns="lam").round(3)

# %% [markdown]
# *Mean return on held-out lakes after one adaptation with exact data; the optimum is 1.638.* No price rescues the untrained prior: at its best it gets about a fifth of what there is to get, the trained one more than nine tenths.
#
# Repeating Alg itself, each time on data of the policy before, is the paper's *multi-step* adaptation:

# %% tags=["widget", "hide-input"]
predictions.ask(
    "03.four batches",
    "The untrained prior again: four adaptations with D2, each on a fresh batch. What "
    "does it earn now?",
    edges=(0.6, 0.9, 1.3),
)

# %%
rows = []
for s, (name, distance) in itertools.product(seeds, bl.DISTANCES.items()):
    price = 0.003 if name == "d3" else lam
    alg = partial(bl.adapt_to_task, distance=distance, lam=price, **exact)
    each = bl.adapted_returns(uniform, held_out[s], alg, num_steps=4, **exact)
    returns = each.mean(0).tolist()
    for k, value in enumerate(returns):
        kind = f"{name.upper()}, lam = {price:g}"
        rows.append({"step": k, "return": value, "kind": kind, "prior": "untrained", "seed": s})
fig = plots.returns_over_steps(
    pd.DataFrame(rows), optimum=optimum, what="adaptations, each on fresh data"
)
multi = pd.DataFrame(rows).query("step == 4").groupby("kind")["return"].mean()
record("untrained_after_four_adaptations", multi.iloc[1], "return")
predictions.reveal("03.four batches", multi.filter(like="D2").item())
multi.round(3).to_frame()

# %% [markdown]
# *Mean return over held-out lakes from the untrained prior; bands span all seeds, the table is the right end. The prices are not comparable between D3 and the others: D3 is measured in logits.*
#
# **Learnt:** with exact data a prior saves *rounds*: the untrained policy gets far with four batches, and at no price with one.
#
# ## 7. From samples: what a prior is worth when data are few
#
# So far the data were exact. Now let $\pi_\phi$ act for $K$ episodes, once. For a table all that Alg needs of them are counts: how often a state was visited, and the mean return $G_t$ from there on after each action,
#
# $$\hat\nu(s)=\frac{\sum_{k,t}\gamma^t\,1[s_t=s]}{\sum_{k,t}\gamma^t},\qquad\hat Q(s,a)=\frac{\sum_{k,t}\gamma^t\,1[s_t=s,a_t=a]\,G_t}{\sum_{k,t}\gamma^t\,1[s_t=s,a_t=a]},$$
#
# sums over episodes and steps; an action never tried counts with the mean return of its state. `counted_data` makes them the same record `OneTimeData`, so *nothing after it changes*.

# %%
from bomrl_lite.policies.networks import over_states
from bomrl_lite.rollout.collect import repeat
from bomrl_lite.rollout.data import counted_data
from bomrl_lite.tasks.tabular import TabularSimulator
from bomrl_lite.types import Rollout

reader = over_states(policy)  # the same policy, reading state numbers


def play(phi, tasks, episodes, draw):
    """Let phi act for some episodes in every lake; return the episodes."""
    simulator = TabularSimulator(tasks, episodes, 50)
    return bl.collect(simulator, reader, repeat(phi, len(tasks.start)), draw)


def counts_of(phi, *fields):
    return counted_data(Rollout(*fields), policy.log_probs(phi), gamma=gamma)


# %% [markdown]
# On the lake of section 1, with the prior of section 6 that BO-MRL trained (it has never seen this lake, or only by chance):

# %%
few, phi = lakes.lake_tasks([lake_map], lakes.HOLES), trained[seed]
truth = bl.full_data(phi, lake, **exact)
for episodes in (1, 20, 400, "infinitely many"):
    counted = truth
    if isinstance(episodes, int):
        rollout = play(phi, few, episodes, torch.Generator().manual_seed(seed))
        counted = counts_of(phi, *(field[0] for field in rollout))
    seen = counted.state_weights > 1e-12
    error = (counted.q_values - truth.q_values)[seen].abs().mean().item()
    theta, info = bl.adapt(phi, counted, policy=policy, distance=bl.d2, lam=0.3)
    value = bl.policy_return(theta, lake, **exact).item()
    before = bl.policy_return(phi, lake, **exact)
    print(f"K = {episodes}: {seen.sum()} of 16 states seen, mean error of Q there {error:.2f}")
    print(f"    J {before:+.2f} -> {value:+.2f} after Alg")
    if isinstance(episodes, int):
        record(f"return_from_{episodes}_episodes", value, "return")

# %% [markdown]
# One episode sees a few states and prices their actions by a single try; with 20 the policy improves, with 400 it is close to what exact data give. Here a prior can help twice: it *goes where the data matter*, and it needs a shorter way.
#
# The stored experiment (`python -m bomrl_lite experiment sampled_lakes`) asks how large the gap to each lake's optimum is after ONE adaptation from $K$ episodes, on lakes that training never saw. Every pair of a prior and $K$ may choose its $\lambda$ on the training lakes, from one grid.

# %%
table = stored_table("sampled_lakes")
fig = plots.draw_experiment("sampled_lakes", table)

# %%
sampled = table[table["alg"] == "bomrl_d2"]
keys = ["family", "prior"]
every = sampled.pivot_table(index=keys, columns="episodes", values="gap", sort=False)
every.insert(0, "before", sampled.groupby(keys, sort=False)["gap_before"].mean())
gaps = every.loc["holes"]
best = gaps.loc[[name for name in gaps.index if name.startswith("bomrl")]].min()
record("stored_gap_untrained_20", gaps.loc["untrained", 20], "return", source="table")
record("stored_gap_bomrl_20", best[20], "return", source="table")
record("stored_gap_maml_20", gaps.loc["maml", 20], "return", source="table")
every.round(2)

# %% [markdown]
# *Mean gaps on held-out lakes, five seeds.* Four things to see:
#
# - **The prior decides**, as it did with exact data. From 100 episodes the best meta-trained prior leaves less than a third of the untrained one's gap.
# - **The best prior is not the one that is best before it adapts.** The jointly trained policy has the smallest gap at first, and hardly moves.
# - **With one episode nobody can do much**, and a prior that bets on adaptation may be worse than one that does not.
# - **On `layouts`** (right; gymnasium's slippery rules, where one step in three goes where it was meant to) no prior is worth much: the gaps are small for all of them, and nearly the same.
#
# Does Alg adapt better than a gradient step *from the same prior and the same episodes*?

# %% tags=["widget", "hide-input"]
predictions.ask(
    "03.gradient",
    "From 20 episodes, and from the prior that was trained *for* Alg with D2 at λ = 0.3: "
    "after which of the two is the gap smaller?",
    ("Alg with D2", "the gradient step", "no difference, to 0.02"),
)

# %%
both = table[table["family"] == "holes"].pivot_table(
    index="prior", columns=["episodes", "alg"], values="gap", sort=False
)
gap = both.loc["bomrl_d2 lam 0.3", 20]
lead = gap["bomrl_d2"] - gap["gradient"]
smaller = "the gradient step" if lead > 0 else "Alg with D2"
predictions.reveal("03.gradient", smaller if abs(lead) > 0.02 else "no difference, to 0.02")
both.round(2)

# %% [markdown]
# From 20 and 100 episodes the plain gradient step **wins**, from every trained prior. Why should a shortcut beat the problem that it shortens? With free logits both change the logit of action $a$ in state $s$ by a constant times a weight times the advantage, $\theta-\phi=c\,w(s,a)\,\hat A(s,a)$, up to a shift of each state:
#
# | | $w(s,a)$ |
# |---|---|
# | Alg with D2, $c=1/\lambda$ | $1$ |
# | gradient step | $\nu(s)\,\pi_\phi(a\mid s)$ |
#
# So the gradient step differs by two factors, and each can be tried alone. A first guess blames $\nu(s)$: D2 moves a state seen once as far as one seen a hundred times. A second one blames $\pi_\phi(a\mid s)$: D2 moves an *action* tried once as far as one tried a hundred times, though its $\hat Q$ is a single draw. If the second is right, counting the tries should do as well: $w=n/(n+10)$, for an action that was tried $n$ times. And how much of the difference is left if the data are exact? Every weight gets the $c$ of a grid that is best for it:

# %%
WEIGHTS = {
    "1: Alg with D2": lambda nu, pi, n: torch.ones_like(pi),
    "nu(s)": lambda nu, pi, n: nu / nu.max() * torch.ones_like(pi),
    "pi(a|s)": lambda nu, pi, n: pi,
    "nu(s) pi(a|s): gradient step": lambda nu, pi, n: nu / nu.max() * pi,
    "n/(n+10), n tries of (s, a)": lambda nu, pi, n: n / (n + 10),
}
GRID = (1.0, 3.3, 10.0, 33.0, 100.0, 330.0, 1000.0)


def best_gap(phi, tasks, data, tries, weight):
    """Return the mean gap after theta = phi + c w A, at the best c of the grid."""
    probs = policy.log_probs(phi).exp()
    advantage = data.q_values - (probs * data.q_values).sum(-1, keepdim=True)
    moved = vmap(lambda nu, n: weight(nu[:, None], probs, n))(data.state_weights, tries)
    returns = [
        vmap(partial(bl.policy_return, **exact))(
            {"logits": phi["logits"] + c * moved * advantage}, tasks
        ).mean()
        for c in GRID
    ]
    return optimum - torch.stack(returns).max()


# %%
def data_and_tries(phi, tasks, episodes, draw):
    """Return counted data and how often each action was tried; None stands for exact data."""
    if episodes is None:
        data = vmap(lambda task: bl.full_data(phi, task, **exact))(tasks)
        return data, torch.full_like(data.q_values, 1e9)
    rollout = play(phi, tasks, episodes, draw)
    pairs = (4 * rollout.observations + rollout.actions).flatten(1)
    tries = torch.zeros(len(pairs), 64, dtype=torch.float64)
    tries = tries.scatter_add(1, pairs, rollout.mask.double().flatten(1)).reshape(-1, 16, 4)
    return vmap(partial(counts_of, phi))(*rollout), tries


rows = []
for s, episodes in itertools.product(seeds, (20, 100, None) if profile != "smoke" else (5, None)):
    thrice = type(lake)(*(x.repeat_interleave(3, 0) for x in held_out[s]))
    data, tries = data_and_tries(trained[s], thrice, episodes, seeded(s, 12))
    for name, weight in WEIGHTS.items():
        gap = best_gap(trained[s], thrice, data, tries, weight).item()
        rows.append({"w(s, a)": name, "episodes": episodes or "exact", "seed": s, "gap": gap})
weights = pd.DataFrame(rows).pivot_table(
    index="w(s, a)", columns="episodes", values="gap", sort=False
)
for name, key in zip(WEIGHTS, ("alg", "nu", "pi", "gradient", "tries"), strict=True):
    record(f"gap_of_weight_{key}", weights.loc[name].iloc[-2], "return")
weights.round(2)

# %% [markdown]
# *Mean gap on held-out lakes, each sampled three times, means over seeds; the prior is the one of section 6.* The first guess is wrong: weighing states by their visits makes D2 *worse*. The second is right: $\pi_\phi(a\mid s)$ alone does all that the gradient step does, and so does a count of tries that knows nothing of $\pi_\phi$. **Alg with D2 takes every $\hat Q(s,a)$ at its word, whether the action was tried once or a hundred times; a gradient step hardly moves what was hardly tried.** Most of that is noise, for from exact data the two are nearly level. So with few episodes shrink the advantages of actions that were seldom tried, then adapt.
#
# An open question remains: from exact data, too, $\pi_\phi(a\mid s)$ as a weight does better than none, and there is no noise to blame. One guess is that $Q$ of an action that the prior avoids is the worth of an action after which *that prior* takes over, where it was never trained. Nobody here has tested it.
#
# **Learnt:** the prior decides what a batch shows; and a step should trust an action's worth as far as the action was tried.
#
#
# ## 8. Recap
#
# - One batch of $\pi_\phi$ prices every policy through $L(\theta)$; $\lambda D^2$ pays for what it cannot know. Alg maximises the difference, to the end.
# - D1 and D2 agree near $\phi$ and part far away: as $\lambda$ falls, a bad action's probability falls like $\lambda$ with D1 and exponentially with D2. D3 sees logits, not behaviour.
# - Free logits: D2 adds $Q/\lambda$, D1 is a root per state, $\nu$ drops out. Shared weights: climb, and $\nu$ matters.
# - PPO with a KL penalty is Alg with D1; natural and plain gradients are its first-order shortcuts, with errors of order $1/\lambda$.
# - From $\lambda_0$ on Alg cannot lose; that $\lambda_0$ is too large to be useful.
# - The prior decides how far ONE batch leads: what the data show, and how far there is to go. From few episodes, weigh an action's advantage by how often it was tried.

# %%
fig = predictions.show("03")

# %% [markdown]
# ## 9. Check yourself
#
# <details><summary>What does Alg use the data for that MAML's step does not?</summary>
#
# MAML takes the slope of $L$ at $\phi$ and stops. Alg follows $L$ as far as the price allows: it uses the value of $L$ away from $\phi$ too.
#
# </details>
#
# <details><summary>What is the relationship between policy gradient and advantage, and where did you meet it here?</summary>
#
# The gradient of $J$ in a logit is $\nu(s)\pi(a\mid s)A(s,a)/(1-\gamma)$: an action gains probability exactly if its advantage is positive. Alg may use $Q$ or $A$: they differ by $V(s)$, which shifts $L$ by a constant because probabilities sum to 1. Its natural-gradient limit is $\phi+A/\lambda$.
#
# </details>
#
# <details><summary>You halve λ, and the probability of a bad action about halves too. You halve it again: the same. Which distance did you use?</summary>
#
# D1: in closed form it is $\lambda\pi_\phi(a)/(\mu-Q(a))$, and for small $\lambda$ the root $\mu$ is close to $\max Q$, so the whole falls like $\lambda$. With D2 it is $\pi_\phi(a)e^{Q(a)/\lambda}/Z$: each halving *squares* its ratio to the best action's probability (up to the prior's). Neither ever is 0.
#
# </details>
#
# <details><summary>Why does the occupancy drop out for free logits and D2, but not for D3?</summary>
#
# With D2 both $L$ and the distance weigh a state by $\nu(s)$, so the factor scales its own problem and moves no maximum. D3 has no $\nu$: a state that is visited often gets a larger pull against the same spring.
#
# </details>
#
# <details><summary>Adaptation performs poorly. Name three causes, and what to look at for each.</summary>
#
# A large $\lambda$ (look at the distance: hardly any), a small $\lambda$ or little data ($L$ rises, $J$ falls: compare them), an unsolved inner problem (stationarity). A fourth: the prior has never met what matters, see section 6. A fifth: the step trusts single tries, see section 7.
#
# </details>
#
# ## 10. Reading
#
# - S. Xu, M. Zhu (2024), *Meta-Reinforcement Learning with Universal Policy Adaptation*, arXiv 2410.09728: Alg and its three distances.
# - J. Schulman et al. (2015), *Trust Region Policy Optimization*, arXiv 1502.05477: the surrogate and its bound.
# - J. Schulman et al. (2017), *Proximal Policy Optimization Algorithms*, arXiv 1707.06347: penalty and clipping.
# - S. Kakade (2001), *A Natural Policy Gradient*; S. Kakade, J. Langford (2002), *Approximately Optimal Approximate Reinforcement Learning*: where both halves of Alg come from.
# - J. Achiam et al. (2017), *Constrained Policy Optimization*, arXiv 1705.10528: sharper bounds.
# - D. Hunter, K. Lange (2004), *A Tutorial on MM Algorithms*: climbing lower bounds.
#
# **Next:** the exercises, [`exercises/03_universal_adaptation.ipynb`](../exercises/03_universal_adaptation.ipynb), then [04a · Implicit differentiation](04a_implicit_differentiation.ipynb).
