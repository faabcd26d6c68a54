# %% [markdown]
# # 03a · Universal policy adaptation
#
# **After this lesson you can**
#
# - say what MAML's single step wastes, and write down the problem that uses one batch of data to the end;
# - see three distances between policies as geometry, and predict where each moves a policy;
# - solve the adaptation in closed form, or by climbing, and tell from its diagnostics whether it is solved;
# - recognise PPO, the natural gradient and MAML's step as special cases;
# - say why adaptation cannot lose at a price that is high enough, and what that guarantee costs.
#
# **Time:** reading 40 minutes, computing about 1 minute. **Before:** [01 · The MAML baseline](01_maml_baseline.ipynb). **After:** [03b · One batch of data](03b_one_batch.ipynb); exercises 3.1 to 3.6 of set 03 (`exercises/03_universal_adaptation.ipynb`) can be done now. **Words:** [symbols and names](../docs/symbols_and_names.md).
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

# %% tags=["parameters"]
profile = "class"  # "smoke": seconds, for tests · "class": for you · "full": larger, for figures
seed = 0

# %%
import itertools

import pandas as pd
import torch

# %%
import bomrl_lite as bl
from bomrl_lite.course import plots, predictions, widgets
from bomrl_lite.course.parameters import begin
from bomrl_lite.course.record import record
from bomrl_lite.course.show import show_source
from bomrl_lite.tasks import frozen_lake as lakes
from bomrl_lite.training.streams import seeded

begin(profile, seed)
plots.use_style()
torch.set_num_threads(1)
sizes = {
    "smoke": {"seeds": 1, "num_tasks": 4, "policies": 20},
    "class": {"seeds": 3, "num_tasks": 20, "policies": 200},
    "full": {"seeds": 10, "num_tasks": 20, "policies": 2000},
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
    "03a.edge",
    "The prior takes action 0 in seven of ten cases. Walk on until its probability is "
    "1e-16: how large is D2², that is KL(new policy, prior), by then?",
    edges=(2, 10, 30),
    unit="nats",
)

# %%
left_over = torch.tensor([0.1, 1e-2, 1e-4, 1e-8, 1e-16], dtype=torch.float64)
others = (1 - left_over)[:, None] * prior[1:] / prior[1:].sum()
walk = torch.cat([left_over[:, None], others], -1)
predictions.reveal("03a.edge", balls["D2"](walk)[-1].item())
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
    "03a.bad action",
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
predictions.reveal("03a.bad action", paths["D1"][shown[2], 0].item())
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
from bomrl_lite.solvers.maximize import maximize

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
record("largest_stationarity", roads["stationarity"].max(skipna=False), "norm")
apart = roads["difference to the climb"].max(skipna=False)
record("closed_form_against_climb", apart, "probability")
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
    "03a.region",
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
used = (regions["D^2"] / regions.index - 1)[regions["multiplier"] > 0].abs().max(skipna=False)
record("trust_region_error", used, "relative")
at_limit = bl.adapt_in_trust_region(prior_params, data, policy=kind, distance=bl.d2, delta=0.1)[
    2
].distance
print(f"shared weights, delta = 0.1: D^2 = {at_limit:.4f}")
record("trust_region_error_with_shared_weights", abs(at_limit / 0.1 - 1).item(), "relative")
best_of_state = data.q_values.max(-1, keepdim=True).values
greedy = {"logits": 1e3 * (data.q_values > best_of_state - 1e-12).double()}
of_greedy = bl.d2(uniform, greedy, policy=policy, state_weights=data.state_weights)
print(f"D^2 of the policy that is greedy for Q: {of_greedy:.4f}")
predictions.reveal("03a.region", f"{regions['return'].idxmax():g}")
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
record("fall_clip", falls["D1 and D1 with smooth clip"], "ratio over 100x lam")
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
# At $\theta=\phi$ both sides are equal. So the maximiser of the right side, Alg, has $J(\theta)\ge J(\phi)$: **adaptation cannot lose** (a minorise-maximise argument, Hunter and Lange, 2004). Lesson 05a proves the inequality. Along the line from the uniform policy through its adapted one:

# %%
show_source(bl.lower_bound, bl.rigorous_lambda)

# %% tags=["widget", "hide-input"]
predictions.ask(
    "03a.guarantee",
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
predictions.reveal("03a.guarantee", least)
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
# The guarantee holds, and it is nearly worthless as a recipe: at $\lambda_0$ a policy hardly moves. In practice one takes a far smaller $\lambda$, gives the guarantee away, and gains much more. It is honest to say so; lesson 05a returns to it.
#
# **Learnt:** a price high enough makes Alg's objective a bound from below, so that adaptation cannot lose; the prices that one uses are no such prices.
#
# ## 6. Recap
#
# - One batch of $\pi_\phi$ prices every policy through $L(\theta)$; $\lambda D^2$ pays for what it cannot know. Alg maximises the difference, to the end.
# - D1 and D2 agree near $\phi$ and part far away: as $\lambda$ falls, a bad action's probability falls like $\lambda$ with D1 and exponentially with D2. D3 sees logits, not behaviour.
# - Free logits: D2 adds $Q/\lambda$, D1 is a root per state, $\nu$ drops out. Shared weights: climb, and $\nu$ matters.
# - PPO with a KL penalty is Alg with D1; natural and plain gradients are its first-order shortcuts, with errors of order $1/\lambda$.
# - From $\lambda_0$ on Alg cannot lose; that $\lambda_0$ is too large to be useful.

# %%
fig = predictions.show("03a")

# %% [markdown]
# ## 7. Check yourself
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
# ## 8. Reading
#
# - S. Xu, M. Zhu (2024), *Meta-Reinforcement Learning with Universal Policy Adaptation*, arXiv 2410.09728: Alg and its three distances.
# - J. Schulman et al. (2015), *Trust Region Policy Optimization*, arXiv 1502.05477: the surrogate and its bound.
# - J. Schulman et al. (2017), *Proximal Policy Optimization Algorithms*, arXiv 1707.06347: penalty and clipping.
# - S. Kakade (2001), *A Natural Policy Gradient*; S. Kakade, J. Langford (2002), *Approximately Optimal Approximate Reinforcement Learning*: where both halves of Alg come from.
# - J. Achiam et al. (2017), *Constrained Policy Optimization*, arXiv 1705.10528: sharper bounds.
# - D. Hunter, K. Lange (2004), *A Tutorial on MM Algorithms*: climbing lower bounds.
#
# **Next:** [03b · One batch of data](03b_one_batch.ipynb), or first exercises 3.1 to 3.6 of [`exercises/03_universal_adaptation.ipynb`](../exercises/03_universal_adaptation.ipynb).
