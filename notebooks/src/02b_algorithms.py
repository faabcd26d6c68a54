# %% [markdown]
# # 02b · From estimators to algorithms
#
# **After this lesson you can**
#
# - explain what ProMP adds to a low-variance estimator, and what each of its parts prevents;
# - read a fair comparison of fifteen methods: equal tuning, fresh seeds, fresh tasks, intervals;
# - say when a meta-policy has to explore before it can adapt, and which methods learned to.
#
# **Time:** reading 20 minutes, computing about 1 minute. **Before:** [02a · Estimators of the meta-gradient](02a_estimators.ipynb). **After:** exercise set 02 (`exercises/02_credit_assignment.ipynb`). **Words:** [symbols and names](../docs/symbols_and_names.md).
#
# | equation | function |
# |---|---|
# | $\min(\rho A,\mathrm{clip}(\rho,1\pm\epsilon)A)-\eta\,\mathrm{KL}(\pi_{old}\Vert\pi_\phi)$ | `ratio_objective`, `bl.METHODS["promp"]` |
# | $\theta=\mathrm{Alg}(\pi_\phi,D)$ for any method, one task | `problem.alg`, made by `bl.make_problem` |
# | lead of one method over another, paired by seed | `paired_difference` |
#
# $\rho=\pi_\theta/\pi_{old}$ is the ratio of a policy to the one that collected the samples, $\hat A$ an estimate of the advantage, a bar over an expression its mean over samples. A **rung** says how much of the data's dependence on $\phi$ the meta-gradient keeps ([02a](02a_estimators.ipynb), section 2).

# %% tags=["parameters"]
profile = "class"  # "smoke": seconds, for tests · "class": for you · "full": larger, for figures
seed = 0

# %%
import pandas as pd
import torch

import bomrl_lite as bl
from bomrl_lite.course import plots, predictions
from bomrl_lite.course.parameters import begin
from bomrl_lite.course.record import record
from bomrl_lite.course.show import show_source, stored_table

# %%
begin(profile, seed)
plots.use_style()
torch.set_num_threads(1)
small = {"num_tasks": 5, "num_episodes": 5}
sizes = {
    "smoke": {"iterations": 3, "corner_iterations": 2, "batch": small},
    "class": {"iterations": 20, "corner_iterations": 40, "batch": {}},
    "full": {"iterations": 50, "corner_iterations": 100, "batch": {}},
}[profile]

# %% [markdown]
# ## 1. From estimator to algorithm: ProMP
#
# ProMP (Rothfuss et al., 2018) keeps the low-variance estimator and makes more of each batch. It re-adapts and climbs several times on the same episodes, with PPO's clipped ratio on the adapted policies and a price on moving the policy that collected:
#
# $$J^{\mathrm{ProMP}}(\phi)=J^{\mathrm{CLIP}}(\theta(\phi))-\eta\,\mathrm{KL}(\pi_{\phi_{old}}\Vert\pi_\phi),\qquad\theta(\phi)=\phi+\alpha\nabla_\theta J^{\mathrm{LR}}(\theta)\vert_{\theta=\phi},$$
#
# $$J^{\mathrm{LR}}(\theta)=\overline{\rho_\theta\hat A},\qquad J^{\mathrm{CLIP}}(\theta)=\overline{\min(\rho_\theta\hat A,\ \mathrm{clip}(\rho_\theta,1-\epsilon,1+\epsilon)\hat A)}.$$
#
# $J^{\mathrm{LR}}$ is LVC's objective (rung `frozen`), on the episodes *before* adaptation; $J^{\mathrm{CLIP}}$ is PPO's, on those *after* it. Each part prevents something: the clip, that several steps on one batch run away with the adapted policies; the KL, that $\pi_\phi$ leaves the policy whose episodes it re-uses. One function holds both objectives:

# %%
from bomrl_lite.adaptation.episodes import ratio_objective
from bomrl_lite.training.streams import seeded

show_source(ratio_objective)
pd.DataFrame(
    {
        name: {"Alg": m.alg, "rung": m.rungs[0], "outer": m.outer, "what it is": m.summary}
        for name, m in bl.METHODS.items()
    }
).T

# %% [markdown]
# That table is the whole family: every method is an Alg, a rung and an outer update, with the settings of each. Methods on exact values (lessons 01, 03 to 05) stand beside those on episodes; `lvc_maml` is MAML by rung `frozen`. Three recipes of BO-MRL are among them, which lesson 04c takes apart: **A** (`bomrl_head`) adapts the last layer alone, **B** (`bomrl_natural`) all parameters by a linear surrogate and the KL to second order, **C** (`bomrl_solved`) solves the inner problem for any surrogate and distance.
#
# All of them read the same batch: an advantage $\hat A$ for each step. How is it made? One batch of a point that starts at the origin and walks to a goal on the unit circle that it cannot see, and the advantages of its first task by hand: returns $G$, a baseline $V$ fitted to them by ridge regression, and $\hat A_t=\sum_{u\ge t}(\gamma\lambda)^{u-t}\big(r_u+\gamma V_{u+1}-V_u\big)$ (Schulman et al., 2016), brought to mean 0 and deviation 1.

# %%
from bomrl_lite.rollout.collect import repeat
from bomrl_lite.training.episodes import episodes_problem

config = bl.configure("promp", tasks="navigation/circle", seed=seed, **sizes["batch"])
problem = episodes_problem(config)
phi, generator = problem.start()
tasks = problem.draw(generator)
simulator = problem.simulator(tasks, config.sampling.num_episodes, None)
rollout = bl.collect(simulator, problem.policy, repeat(phi, config.num_tasks), generator)
batch, gamma = problem.batch(rollout), problem.gamma


def backwards(values, factor):
    """Sum what comes later, weighed with powers of a factor."""
    sums, later = [], torch.zeros_like(values[:, 0])
    for value in values.flip(-1).T:
        later = value + factor * later
        sums.insert(0, later)
    return torch.stack(sums, -1)


# %%
rewards, seen = rollout.rewards[0].double(), rollout.observations[0].double()
time = (torch.arange(rewards.shape[-1]) / 100).expand(rewards.shape).double().unsqueeze(-1)
features = [seen, seen**2, time, time**2, time**3, torch.ones_like(time)]
x = torch.cat(features, -1).flatten(0, 1)
ridge = 1e-5 * len(x) * torch.eye(x.shape[-1], dtype=x.dtype)
fitted = torch.linalg.solve(x.T @ x + ridge, x.T @ backwards(rewards, gamma).flatten())
value = (x @ fitted).reshape(rewards.shape)
following = torch.cat([value[:, 1:], torch.zeros_like(value[:, :1])], -1)
advantage = backwards(rewards + gamma * following - value, gamma * problem.estimator.trace)
advantage = (advantage - advantage.mean()) / advantage.std(correction=0)
wrong = (advantage - batch.advantages[0]).abs().max().item()
record("advantage_error", round(wrong, 4), "deviations")  # in single precision
earned = rewards.sum(-1).mean()
record("return_error", round((problem.returns(rollout)[0] - earned).item(), 3), "return")
sectors = torch.atan2(*tasks[0].double().T.flip(0)) % (2 * torch.pi) // (2 * torch.pi / 40)
record("held_out_share", (sectors % 5 == 0).double().mean(), "of training goals")

# %% [markdown]
# *The return counts every step alike; training goals lie in four of five sectors of the circle, and the fifth is kept for the test.*
#
# Let three methods train on such points.

# %%
curves = []
for method in ("lvc_maml", "promp", "e_maml"):
    dials = {"seed": seed, "iterations": sizes["iterations"], **sizes["batch"]}
    config = bl.configure(method, tasks="navigation/circle", **dials)
    state = bl.meta_train(config)
    for row in state.history:
        after = {"return": row["return_after"], "when": "after 1 adaptation"}
        before = {"return": row["return_before"], "when": "before"}
        labels = {"iteration": row["iteration"], "method": method}
        curves += [{**labels, **after}, {**labels, **before}]
    record(f"{method}_return_after", state.history[-1]["return_after"], "return")
fig = plots.sampled_training_curves(pd.DataFrame(curves))

# %% [markdown]
# *Training batches, one seed; where lines of MAML and E-MAML cannot be told apart, they are that close. Before adaptation nobody can know the goal, and all stay near $-30$.*
#
# One seed and untuned patience prove nothing. The stored comparison gave every method the same tuning (a search of twelve trials by Optuna, each 20 iterations long, on a seed of its own), then trained each anew on other seeds and judged it on goals that training never saw.

# %% tags=["widget", "hide-input"]
predictions.ask(
    "02b.terms",
    "Four ways to differentiate MAML's step: without a second-order term, with one of the "
    "four terms (naive), two of them (LVC), all of them (DiCE). Equally tuned, which "
    "earns most after one adaptation on goals that training never saw?",
    ("first_order_maml", "naive_maml", "lvc_maml", "dice_maml"),
)

# %%
from bomrl_lite.course.statistics import paired_difference

comparison = stored_table("navigation")
fig = plots.draw_experiment("navigation", comparison)

# %% [markdown]
# *Left: return after one adaptation, the front of the field enlarged, seeds that lie far below it cut off; grey strokes are seeds, dots means over seeds, bars their 95 % bootstrap intervals. Middle: the same after one, two and three adaptations, whole range. Right: CPU-seconds of training.* As numbers, after one adaptation:

# %%
one = comparison[comparison["step"] == 1].groupby("method")
ranking = one["return"].agg(mean="mean", worst="min", seeds="size")
four_ways = ranking.loc[["first_order_maml", "naive_maml", "lvc_maml", "dice_maml"], "mean"]
predictions.reveal("02b.terms", four_ways.idxmax())
ranking.assign(seconds=one["seconds"].mean()).sort_values("mean", ascending=False).round(2)

# %%
pairs = (("promp", "lvc_maml"), ("bomrl_natural", "lvc_maml"), ("bomrl_natural", "promp"))
rows = {}
for step in (1, 2, 3):
    judged = comparison[comparison["step"] == step]
    for method, baseline in pairs:
        rows[f"{method} over {baseline}", step] = paired_difference(judged, method, baseline)
leads = pd.DataFrame(rows).T.rename_axis(["lead of", "adaptations"])
for (name, step), lead in leads.iterrows():
    record(f"stored_lead_{name.replace(' ', '_')}_{step}", lead["mean"], "return", source="table")
leads.round(2)

# %% [markdown]
# *Mean lead in return, its standard error, and on how many seeds it is positive; paired by seed, same goals. Later adaptations take shorter steps, by a factor that every method chose on training goals. Methods that take long were trained on three seeds.*
#
# After one adaptation recipe B of BO-MRL is ahead of ProMP by a little, on sixteen seeds of twenty (lead $0.13\pm0.03$), MAML-TRPO is a close third, and all three are ahead of MAML with its single step per batch. After a second and third the lead over ProMP is as small and as steady; BO-MRL pays for it with four times the computing time.
#
# Below the front read the column of the worst seed first. Naive and first-order MAML, E-MAML and ANIL break down on single seeds: their searches chose large outer steps, which look good after 20 iterations on one seed and do not last on every other. So this table cannot tell their rungs from their settings. That is the price of a short search, the same for all; a bias of the meta-gradient that is large in the laboratory need not be what costs return here.
#
# `bomrl_natural` is the method of the next lessons with a network in place of a table: it stands here so that you meet it beside its rivals. The tuning itself is a stored table too, and worth a look: within one method, settings move the return more than most methods differ.

# %%
fig = plots.draw_experiment("navigation_tuning", stored_table("navigation_tuning"))

# %% [markdown]
# *Return of the twelve trials of each method's search, on training goals.*
#
# **Learnt:** ProMP's several careful steps on each batch are worth more here than a better estimator; and no table of methods means anything without the tuning beside it.

# %% [markdown]
# ## 2. Exploring for the sake of adaptation
#
# On the dense task every step tells where the goal is. Make it sparse: four corners, one of them pays, and only nearby. Now a meta-policy must *look* before it can adapt, and the return before adaptation gives it no reason to. Does credit for the collection of data teach it to look?
#
# A yardstick first: who knows the corner and walks straight to it earns, in 30 steps,

# %%
far = 2**0.5 * (1 - torch.arange(1, 31) / 10).clamp(min=0)  # each step is 0.1 in x and in y
print(f"{(0.9 - far).clamp(min=0).sum():.2f}")

# %%
from torch.func import vmap

from bomrl_lite.rollout.collect import repeat

corners = bl.make_tasks("navigation/corners")
any_corner = corners.sample(1, seeded(seed, 5), "train")
four = type(any_corner)(torch.tensor([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]]))


def walk(method, **changed):
    """Train a method; return its walks [4, B, T] before and after one adaptation in each corner."""
    dials = {"seed": seed, "iterations": sizes["corner_iterations"], **sizes["batch"]}
    config = bl.configure(method, tasks="navigation/corners", **dials, **changed)
    problem, draw = bl.make_problem(config), seeded(seed, 6)
    simulator = corners.simulator(four, 20, None)
    thetas = repeat(bl.meta_train(config).phi, 4)
    before = bl.collect(simulator, problem.policy, thetas, draw)
    adapt = vmap(lambda phi, batch: problem.alg(phi, batch).theta)
    thetas = adapt(thetas, problem.batch(before))
    return {"before": before, "after": bl.collect(simulator, problem.policy, thetas, draw)}


# %% tags=["widget", "hide-input"]
predictions.ask(
    "02b.looks",
    "LVC-MAML, E-MAML, which credits the collection of data, and ProMP train on the four "
    "corners. Which gains most by adapting?",
    ("lvc_maml", "e_maml", "promp"),
)

# %% tags=["widget", "hide-input"]
predictions.ask(
    "02b.before",
    "And on five seeds, further below: of all seven methods take the one that earns most "
    "*after* it has adapted. What does it earn *before*?",
    edges=(0.3, 1.0, 3.0),
)

# %%
walks, gained = {}, {}
for method in ("lvc_maml", "e_maml", "promp"):
    for when, episodes in walk(method).items():
        walks[f"{plots.METHOD_LABELS[method]}, {when}"] = episodes.observations[:, :6]
        gained[method, when] = episodes.rewards.sum(-1).mean().item()
    record(f"corners_{method}_gain", gained[method, "after"] - gained[method, "before"], "return")
fig = plots.draw_walks(walks, four.goal, radius=0.9)
gain = {m: gained[m, "after"] - gained[m, "before"] for m in ("lvc_maml", "e_maml", "promp")}
predictions.reveal("02b.looks", max(gain, key=gain.get))
pd.Series(gained).unstack()[["before", "after"]].round(2)

# %% [markdown]
# *Six episodes per corner, before and after one adaptation, in the colour of the corner that pays; discs show where. One seed.*
#
# Look at the *before* panels first: a policy that always walks to the same corner is right in one task of four without adapting at all, and is stuck; E-MAML's passes close to a second corner on its way, and can turn to that one. ProMP's walks end between two corners, at (1, 0), where neither pays yet and a little noise finds either. In this run that serves it in the two corners on the right; if a corner on the left pays, it learns nothing and stays where it is. The stored table has five seeds per method, with the settings of the dense task:

# %%
sparse = stored_table("corners")
fig = plots.draw_experiment("corners", sparse)

# %%
means = sparse[sparse["step"] <= 1].pivot_table(index="method", columns="step", values="return")
means.columns = ["before", "after"]
means["gain"] = means["after"] - means["before"]
after = sparse[sparse["step"] == 1].groupby("method")["return"]
means["worst seed"], means["best seed"] = after.min(), after.max()
for method in ("lvc_maml", "e_maml", "promp", "bomrl_natural"):
    record(f"stored_corners_{method}", means.loc[method, "after"], "return", source="table")
predictions.reveal("02b.before", means["before"][means["after"].idxmax()])
means.sort_values("after", ascending=False).round(2)

# %% [markdown]
# *Mean return over five seeds, and the seeds with the smallest and the largest return after one adaptation.* The joint policy and E-MAML earn little, and adapting adds nothing to it. MAML adapts on some seeds, Loaded DiCE more. ProMP and both BO-MRL recipes earn next to nothing before they adapt, and about a third of the yardstick afterwards.
#
# **Why?** It is not the E-MAML term, at a weight that was tuned where nothing has to be explored. But settings differ in more than the estimator. In the walks above, made with the methods' usual settings, ProMP's inner step is 0.5, MAML's and E-MAML's 0.3, and ProMP takes five small outer steps per batch, MAML one. Change one setting at a time:

# %%
changes = {
    "lvc_maml, inner step 0.5": ("lvc_maml", {"step_size": 0.5}),
    "promp, inner step 0.3": ("promp", {"step_size": 0.3}),
    "promp, one outer step": ("promp", {"epochs": 1}),
}
for label, (method, changed) in changes.items():
    for when, episodes in walk(method, **changed).items():
        gained[label, when] = episodes.rewards.sum(-1).mean().item()
pd.Series(gained).unstack()[["before", "after"]].round(2)

# %% [markdown]
# *One seed of each.* ProMP with MAML's shorter step still earns next to nothing before it adapts and much afterwards, and so it does with a single outer step, if less. MAML with ProMP's longer step stays with its one corner, in this run. So no one of these settings is *the* reason. Walking to one corner is a local optimum, right in one task of four, and whether a training gets past it is partly chance: set `seed = 1` at the top and compare before you believe a number.
#
# **Learnt:** whether a meta-policy explores is decided by settings as much as by the name of the method, and the E-MAML term is neither needed for it nor enough.

# %% [markdown]
# ## 3. Recap
#
# - ProMP is LVC plus several clipped steps on one batch plus a KL price; MAML-TRPO limits the step instead.
# - Compare methods at equal tuning, on fresh seeds and tasks, with intervals. Settings matter as much as names.
# - Where every step tells the task, nobody has to explore; where only the right place pays, a policy that is content with one corner never learns to look.

# %%
fig = predictions.show("02b")

# %% [markdown]
# ## 4. Check yourself
#
# <details><summary>Why is clipping the ratio not enough to bound an outer step?</summary>
#
# The clip acts on the adapted policies of the sampled actions. Where $\theta(\phi)$ is very sensitive to $\phi$, one optimiser step moves it far before the clip has a say; hence two remedies: `kl_guard` ends the epochs once the adapted policies have moved too far, the trust region asks before it steps.
#
# </details>
#
# <details><summary>A method was trained ten times as long as its rival, with the rival's published settings. What does its lead show?</summary>
#
# Little. Settings belong to a family of tasks and to an amount of data; within one method they move the return more than most methods differ. Tune each with the same number of trials, then judge on seeds and goals that the tuning did not see.
#
# </details>
#
# ## 5. Reading
#
# - J. Rothfuss et al. (2018), *ProMP: Proximal Meta-Policy Search*, arXiv 1810.06784: the algorithm.
# - B. Stadie et al. (2018), *Some Considerations on Learning to Explore via Meta-Reinforcement Learning*, arXiv 1803.01118: exploring for the sake of adaptation.
# - R. Agarwal et al. (2021), *Deep Reinforcement Learning at the Edge of the Statistical Precipice*, arXiv 2108.13264: intervals over few seeds.
#
# **Next:** the exercises, [`exercises/02_credit_assignment.ipynb`](../exercises/02_credit_assignment.ipynb), then [03a · Universal adaptation](03a_universal_adaptation.ipynb).
