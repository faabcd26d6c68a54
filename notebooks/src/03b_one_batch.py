# %% [markdown]
# # 03b · One batch of data, and what a prior is worth
#
# **After this lesson you can**
#
# - spend many gradient steps on data that were collected once, and say what price, prior and fresh data each add;
# - adapt from a handful of episodes, and see what a trained prior is worth then;
# - say which data a step may trust, and why.
#
# **Time:** reading 30 minutes, computing about 1 minute. **Before:** [03a · Universal policy adaptation](03a_universal_adaptation.ipynb). **After:** exercise set 03 (`exercises/03_universal_adaptation.ipynb`). **Words:** [symbols and names](../docs/symbols_and_names.md).
#
# | equation | function |
# |---|---|
# | $L(\theta)-\lambda D_2^2(\pi_\phi,\pi_\theta)$, climbed $n$ steps | `bl.adaptation_objective`, `ascend` |
# | $\theta_{k+1}=\mathrm{Alg}(\pi_{\theta_k},\lambda,\tau)$, each time on fresh data | `bl.adapted_returns` |
# | $\hat\nu(s)$, $\hat Q(s,a)$ from $K$ episodes | `counted_data` |
#
# From 03a: one batch of the prior $\pi_\phi$ tells $\nu(s)$, where it goes, and $Q(s,a)$, what an action is worth there. $L(\theta)$ prices every policy by them, and Alg maximises $L-\lambda D^2$ to the end: D2 is $\mathbb E_\nu[\mathrm{KL}(\pi_\theta\Vert\pi_\phi)]$, $\lambda$ the price of leaving the prior. $J$ is the true return.

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
from bomrl_lite.course import plots, predictions
from bomrl_lite.course.parameters import begin
from bomrl_lite.course.record import record
from bomrl_lite.course.show import stored_table
from bomrl_lite.solvers.maximize import ascend
from bomrl_lite.tasks import frozen_lake as lakes
from bomrl_lite.training.streams import seeded

begin(profile, seed)
plots.use_style()
torch.set_num_threads(1)
sizes = {
    "smoke": {"iterations": 4, "seeds": 1, "num_tasks": 4, "num_test": 3},
    "class": {"iterations": 150, "seeds": 3, "num_tasks": 20, "num_test": 20},
    "full": {"iterations": 150, "seeds": 10, "num_tasks": 20, "num_test": 40},
}[profile]
seeds = range(seed, seed + sizes["seeds"])

# %% [markdown]
# ## 1. One-time data, many steps
#
# Alg is solved with many steps on data collected *once*. We compare, on held-out lakes, three ways to spend gradient steps on one batch from $\pi_\phi$: climbing $L$ alone, climbing $L-\lambda D_2^2$, and repeating MAML's step with *fresh data at every step*. Two priors: the untrained one, and one that BO-MRL trained for Alg with D2 and $\lambda=0.3$ (how is the matter of lesson 04a).

# %%
family, lam = "frozen_lake/holes-4x4", 0.3
policy = bl.tabular_softmax(16, 4)
gamma = bl.make_tasks(family).gamma
exact = {"policy": policy, "gamma": gamma}
uniform = policy.init(torch.Generator())
optimum = gamma**5 / (1 - gamma)  # six steps to a goal that then pays 1 for ever
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


# %%
def climb(phi, task, count, price):
    """Climb L - price D2^2 on the data of phi, ``count`` steps."""
    batch = bl.full_data(phi, task, **exact)
    settings = {"policy": policy, "distance": bl.d2, "lam": price}
    objective = partial(bl.adaptation_objective, phi=phi, data=batch, **settings)
    return ascend(objective, phi, step_size=30.0, num_steps=count)


def repeated(phi, task, count):
    """Climb J itself: every gradient is one of fresh data."""

    def objective(x):
        return bl.policy_return(x, task, **exact)

    return ascend(objective, phi, step_size=6.0, num_steps=count)


# %% tags=["widget", "hide-input"]
predictions.ask(
    "03b.one batch",
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
fig = plots.returns_over_steps(curve, optimum=optimum, what="gradient steps", log=True)
last = (
    curve[curve.step == counts[-1]].groupby(["prior", "kind"])["return"].agg(["mean", "min", "max"])
)
for kind, key in (("one batch, L alone", "surrogate"), ("one batch, Alg's objective", "alg")):
    record(f"return_of_{key}", last.loc[("trained by BO-MRL", kind), "mean"], "return")
last.round(3)

# %%
on_one_batch = last.loc["untrained"].filter(like="one batch", axis=0)
predictions.reveal("03b.one batch", on_one_batch["mean"].max())

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
    "03b.four batches",
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
predictions.reveal("03b.four batches", multi.filter(like="D2").item())
multi.round(3).to_frame()

# %% [markdown]
# *Mean return over held-out lakes from the untrained prior; bands span all seeds, the table is the right end. The prices are not comparable between D3 and the others: D3 is measured in logits.*
#
# **Learnt:** with exact data a prior saves *rounds*: the untrained policy gets far with four batches, and at no price with one.
#
# ## 2. From samples: what a prior is worth when data are few
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
# On the lake of 03a, with the prior of section 1 that BO-MRL trained (it has never seen this lake, or only by chance):

# %%
lake_map = ("SFFF", "FFHF", "FFFH", "HFFG")
lake = lakes.lake_task(lake_map, lakes.HOLES)
few, phi = lakes.lake_tasks([lake_map], lakes.HOLES), trained[seed]
truth = bl.full_data(phi, lake, **exact)
for episodes in (1, 20, 400, "infinitely many"):
    counted = truth
    if isinstance(episodes, int):
        rollout = play(phi, few, episodes, seeded(seed, 13))
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
# And an action that was never tried, after 20 episodes? By hand, the mean return of its state:

# %%
from bomrl_lite.rollout.returns import discounted_returns

rollout = play(phi, few, 20, seeded(seed, 13))
states, actions = rollout.observations[0], rollout.actions[0]
shares = (gamma ** torch.arange(50, dtype=torch.float64)).expand(states.shape)


def of_state(values):
    return torch.zeros(16, dtype=torch.float64).index_add(0, states.flatten(), values.flatten())


mean_return = of_state(shares * discounted_returns(rollout, gamma)[0]) / of_state(shares)
never = mean_return.isfinite().unsqueeze(-1).repeat(1, 4)
never[states, actions] = False
priced = counts_of(phi, *(field[0] for field in rollout)).q_values - mean_return.unsqueeze(-1)
print(f"{int(never.sum())} actions were never tried in a state that was seen")
record("never_tried_against_state", priced[never].abs().sum(), "return")

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
    "03b.gradient",
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
predictions.reveal("03b.gradient", smaller if abs(lead) > 0.02 else "no difference, to 0.02")
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
# *Mean gap on held-out lakes, each sampled three times, means over seeds; the prior is the one of section 1.* The first guess is wrong: weighing states by their visits makes D2 *worse*. The second is right: $\pi_\phi(a\mid s)$ alone does all that the gradient step does, and so does a count of tries that knows nothing of $\pi_\phi$. **Alg with D2 takes every $\hat Q(s,a)$ at its word, whether the action was tried once or a hundred times; a gradient step hardly moves what was hardly tried.** Most of that is noise, for from exact data the two are nearly level. So with few episodes shrink the advantages of actions that were seldom tried, then adapt.
#
# An open question remains: from exact data, too, $\pi_\phi(a\mid s)$ as a weight does better than none, and there is no noise to blame. One guess is that $Q$ of an action that the prior avoids is the worth of an action after which *that prior* takes over, where it was never trained. Nobody here has tested it.
#
# **Learnt:** the prior decides what a batch shows; and a step should trust an action's worth as far as the action was tried.
#
# ## 3. Recap
#
# - Many steps on one batch are worth what the batch knows. From the untrained prior fresh data get further than any objective and any price; a trained prior makes its one batch count.
# - With exact data a prior saves rounds: four adaptations on fresh data take the untrained policy about as far as one takes the trained one.
# - From $K$ episodes Alg needs only counts, and nothing after them changes. The prior decides what they show, and how far there is to go.
# - Alg with D2 takes every $\hat Q(s,a)$ at its word. From few episodes, weigh an action's advantage by how often it was tried.

# %%
fig = predictions.show("03b")

# %% [markdown]
# ## 4. Check yourself
#
# <details><summary>With exact data, what has meta-training bought, if four fresh batches do as well from the untrained policy?</summary>
#
# Three batches for each new task. Where data are exact and cheap that is a convenience. Where they are few it is more: a policy that goes where nothing happens collects counts that say nothing, and after 100 episodes the untrained one is left with more than three times the gap of the best prior.
#
# </details>
#
# <details><summary>From 20 episodes a gradient step beats Alg with D2, from the same prior. Is universal adaptation refuted?</summary>
#
# No: from exact data the two are nearly level. What lost is the trust in single tries, and a weight that grows with the number of tries mends it.
#
# </details>
#
# <details><summary>Adaptation performs poorly. Name three causes, and what to look at for each.</summary>
#
# A large $\lambda$ (look at the distance: hardly any), a small $\lambda$ or little data ($L$ rises, $J$ falls: compare them), an unsolved inner problem (stationarity). A fourth: the prior has never met what matters, see section 1. A fifth: the step trusts single tries, see section 2.
#
# </details>
#
# ## 5. Reading
#
# - S. Xu, M. Zhu (2024), *Meta-Reinforcement Learning with Universal Policy Adaptation*, arXiv 2410.09728: one-time and multi-step adaptation.
# - J. Schulman et al. (2017), *Proximal Policy Optimization Algorithms*, arXiv 1707.06347: several epochs on one batch.
# - R. Laroche, P. Trichelair, R. Tachet des Combes (2019), *Safe Policy Improvement with Baseline Bootstrapping*, arXiv 1712.06924: stay with the policy that collected wherever an action was tried too seldom.
#
# **Next:** exercise 3.7, or the whole of [`exercises/03_universal_adaptation.ipynb`](../exercises/03_universal_adaptation.ipynb), then [04a · Implicit differentiation](04a_implicit_differentiation.ipynb).
