# %% [markdown]
# # 05a · Near-optimality
#
# **After this lesson you can**
#
# - tell the three metrics of meta-RL apart and say which of them BO-MRL's theorem bounds;
# - compute the variance of a task family, and avoid the trap of its deterministic optima;
# - prove the variance term, say what it assumes, and check each step with numbers.
#
# **Time:** reading 30 minutes, computing about 1 minute. **Before:** [04a · Implicit differentiation](04a_implicit_differentiation.ipynb). **After:** [05b · Experiments](05b_experiments.ipynb); exercise set 05 (`exercises/05_near_optimality.ipynb`) can be done now. **Words:** [symbols and names](../docs/symbols_and_names.md).
#
# | equation | function |
# |---|---|
# | $\mathbb E_\tau[J_\tau(\pi^*_\tau)-J_\tau(\mathrm{Alg}(\pi_\phi,\lambda,\tau))]$ | `bl.optimality_gap` |
# | $\mathrm{Var}(P(\Gamma))=\min_\theta\mathbb E_\tau[D_\tau^2(\pi_\theta,\pi^*_\tau)]$ | `bl.task_variance` |
# | $\lambda=\frac{A_{\max}L}{(1-\gamma)^2}$ | `theorem_lambda` |
# | $\lambda_0=\frac{2\gamma A_{\max}}{(1-\gamma)\sqrt{\nu_{\min}}}$ | `bl.rigorous_lambda` |
# | $J_\tau(\pi^*_\tau)-J_\tau(\mathrm{Alg})\le\frac{\lambda+\lambda_0}{1-\gamma}D_\tau^2(\pi_\phi,\pi^*_\tau)$ | `rigorous_gap_bound` |

# %% tags=["parameters"]
profile = "class"  # "smoke": seconds, for tests · "class": for you · "full": larger, for figures
seed = 0

# %%
from functools import partial

import pandas as pd
import torch
from torch.func import vmap

# %%
import bomrl_lite as bl
from bomrl_lite.course import plots, predictions, widgets
from bomrl_lite.course.experiments.setting import MATCHED
from bomrl_lite.course.parameters import begin
from bomrl_lite.course.record import record
from bomrl_lite.course.show import show_source
from bomrl_lite.tasks import frozen_lake as lakes
from bomrl_lite.training.streams import seeded

begin(profile, seed)
plots.use_style()
torch.set_num_threads(1)
sizes = {
    "smoke": {"iterations": 6, "seeds": 2, "num_tasks": 3, "pairs": 20, "ice": (1.0, 0.8)},
    "class": {"iterations": 150, "seeds": 3, "num_tasks": 10, "pairs": 200, "ice": None},
    "full": {"iterations": 600, "seeds": 5, "num_tasks": 20, "pairs": 2000, "ice": None},
}[profile]
seeds = range(seed, seed + sizes["seeds"])

# %%
from bomrl_lite.solvers.linear import add_scaled
from bomrl_lite.theory import (
    distance_to_optimum,
    fit_convergence,
    optimal_actions,
    rigorous_gap_bound,
    running_mean,
)

# %% [markdown]
# ## 1. Three metrics and a theorem
#
# A meta-learner produces $\phi_1,\phi_2,\dots$ What would you like to know about them? From weak to strong:
#
# 1. $\Vert\nabla_\phi\mathbb E_\tau J_\tau(\mathrm{Alg}(\pi_{\phi_t},\lambda,\tau))\Vert\to\epsilon$: **stationarity** (Fallah et al., 2020). Lesson 01 showed how little that can mean.
# 2. $\max_\phi\mathbb E_\tau J_\tau(\mathrm{Alg}(\pi_\phi))-\mathbb E_\tau J_\tau(\mathrm{Alg}(\pi_{\phi_t}))\to\epsilon$: the best $\phi$, however good that is (Wang et al., 2020).
# 3. $\mathbb E_\tau[J_\tau(\pi^*_\tau)]-\mathbb E_\tau[J_\tau(\mathrm{Alg}(\pi_{\phi_t}))]\to\epsilon$: as good as the **optimum of every single task**.
#
# The third cannot go to 0 in general: if tasks want opposite things, one prior cannot be near all their optima. It can only be bounded by *how far apart the optima are*. That is the theorem of Xu and Zhu (2024): for softmax policies and $\lambda=\frac{A_{\max}L}{(1-\gamma)^2}$, where $A_{\max}$ bounds the advantages and $K$, $M$, $L$ are constants (of smoothness, and of how far training starts from its end) that no public source of the paper spells out,
#
# $$\frac1T\sum_{t=1}^T\mathbb E\big[J_\tau(\pi^*_\tau)-J_\tau(\mathrm{Alg}(\pi_{\phi_t},\lambda,\tau))\big]\ \le\ \underbrace{\frac KT+\frac M{\sqrt T}}_{\text{meta-training}}+\underbrace{\frac{A_{\max}L}{(1-\gamma)^2}\,\mathrm{Var}(P(\Gamma))}_{\text{the family}}.$$
#
# The first two terms vanish with training, the last one belongs to the tasks. They have different standing in this lesson. The last one is **proved** in section 3. The first two are **quoted**: the outer objective is not concave, and what one knows of ascent on such functions is that it finds stationary points (metric 1); that it nears the best $\phi$ needs assumptions which the statement above does not show. And one word of it is to be read with care: with a table of logits $\pi^*_\tau$, "the optimal softmax policy", is not attained; it is a limit (section 2).
#
# We train BO-MRL and fit the shape of the right side to the left side, all three coefficients at least 0. The optimum is the same on all lakes, six steps to a goal that then pays 1 for ever: $\gamma^5/(1-\gamma)=1.6384$.

# %%
family = "frozen_lake/holes-4x4"
exact = {"policy": bl.tabular_softmax(16, 4), "gamma": bl.make_tasks(family).gamma}
gamma = exact["gamma"]
optimum = gamma**5 / (1 - gamma)
configs = {
    str(s): bl.configure(
        "bomrl",
        tasks=family,
        distance="d2",
        lam=MATCHED["bomrl_d2"],
        num_tasks=sizes["num_tasks"],
        iterations=sizes["iterations"],
        seed=s,
    )
    for s in seeds
}
states = {s: bl.meta_train(config) for s, config in configs.items()}

# %%
rows, fits = [], {}
for s, state in states.items():
    gaps = torch.tensor([optimum - row["return_after"] for row in state.history]).double()
    averages = running_mean(gaps)
    fits[s] = fit_convergence(averages)
    rows += [{"T": t, "average": a, "seed": s} for t, a in enumerate(averages.tolist(), 1)]
fig = plots.convergence(pd.DataFrame(rows), fits)
table = pd.DataFrame(fits, index=["K", "M", "floor"]).T.rename_axis("seed")
record("fitted_M", table["M"].mean(), "return")
record("fitted_floor", table["floor"].mean(), "return")
table.round(3)

# %% [markdown]
# *Gap on the training lakes, averaged over the meta-iterations so far (thick), and the fit (dashed). The form does not fit: at first nothing happens, for the prior is far from everything, and then the average falls faster than $1/\sqrt T$. $K$ comes out as 0 for every seed: least squares would like it negative, so these curves say nothing about it. That contradicts nothing. The theorem says "at most", and Adam is not the plain ascent that such rates are proved for; it only means that one should not read a rate off the bound.*
#
# **Learnt:** the metric to ask for compares each task with its own optimum, and it cannot go below what the family itself costs.
#
# ## 2. Task variance
#
# $$\mathrm{Var}(P(\Gamma))=\min_\theta\ \mathbb E_\tau\big[D_\tau^2(\pi_\theta,\pi^*_\tau)\big]$$
#
# is how far, at best, one policy is from all the optima. Two bandits that want opposite arms, under D2: the policy in the middle is uniform, and each optimum is KL $=-\log\frac12$ away from it. Identical tasks have no variance.

# %%
show_source(distance_to_optimum, bl.task_variance)
for name in ("probe/opposite", "probe/identical"):
    bandits = bl.make_tasks(name).sample(4, torch.Generator(), "train")
    arms = bl.tabular_softmax(1, bandits.reward.shape[-1])
    variance, middle, info = bl.task_variance(bandits, policy=arms, gamma=0.0)
    probs = arms.log_probs(middle).exp()[0].numpy().round(3)
    print(f"{name}: Var = {variance:.4f}, policy in the middle {probs}")
    record(f"variance_of_{name.split('/')[1]}", variance.item(), "nats")

# %% [markdown]
# ### The trap of the deterministic optimum
#
# An optimal policy is usually deterministic, and it is the second argument of the distance now: D1 $=\mathrm{KL}(\pi_\theta\Vert\pi^*)$, D2 $=\mathrm{KL}(\pi^*\Vert\pi_\theta)$. Where a distance does not like that, one can smooth the optimum, $(1-\varepsilon)\pi^*+\varepsilon\cdot$uniform, and let $\varepsilon$ fall. What one gets is a policy that logits reach, so that it has a distance to itself, which is 0:

# %%
lake = lakes.lake_task(("SFFF", "FFHF", "FFFH", "HFFG"), lakes.HOLES)
best = optimal_actions(lake, gamma).double()
smoothed = 0.9 * best / best.sum(-1, keepdim=True) + 0.1 / 4
for name, distance in (("D1", bl.d1), ("D3", bl.d3)):
    options = {"distance": distance, "smoothing": 0.1, **exact}
    own = distance_to_optimum({"logits": smoothed.log()}, lake, **options).item()
    print(f"{name} of the smoothed optimum to itself: {abs(own):.0e}")
    record(f"smoothed_optimum_to_itself_{name}", own, "nats" if name == "D1" else "logits^2")

# %% [markdown]
# Now let $\varepsilon$ fall.

# %% tags=["widget", "hide-input"]
predictions.ask(
    "05a.trap",
    "The smoothing ε falls from 0.1 to 0.0001. Under which distance does the task "
    "variance grow least?",
    ("D1", "D2", "D3"),
)

# %%
rows, smoothings = [], (1e-1, 1e-2, 1e-3, 1e-4) if profile != "smoke" else (1e-1, 1e-4)
for label, name in {"high variance": family, "low variance": "frozen_lake/costs-4x4"}.items():
    tasks = bl.make_tasks(name).sample(sizes["num_tasks"], seeded(seed, "tasks"), "train")
    for smoothing in smoothings:
        for key, distance in bl.DISTANCES.items():
            options = {"distance": distance, "max_iterations": 12, **exact}
            options["smoothing"] = 0.0 if key == "d2" else smoothing
            variance, _, _ = bl.task_variance(tasks, **options)
            rows.append({"smoothing": smoothing, "distance": key.upper(), "family": label})
            rows[-1]["variance"] = variance.item()
caveat = pd.DataFrame(rows)
fig = plots.smoothing_caveat(caveat)
at = caveat.set_index(["family", "distance", "smoothing"])["variance"].sort_index()
by_smoothing = at["high variance"].unstack("smoothing")
predictions.reveal("05a.trap", (by_smoothing[1e-4] / by_smoothing[1e-1]).idxmin())
for label in ("high variance", "low variance"):
    record(f"variance_d2_{label.split()[0]}", at[label, "D2", 1e-4], "nats")
growth = at["high variance", "D1", 1e-4] / at["high variance", "D1", 1e-1]
record("growth_of_d1_variance", growth, "ratio")

# %% [markdown]
# D1 is *infinite* at a deterministic optimum for every softmax policy, and so is the "variance". D3 fares no better: the logits of a deterministic policy are infinite. Smoothed, the answer is as large as $\varepsilon$ is small. D2 is finite and needs no $\varepsilon$.
#
# *Task variance of both families of lakes over the smoothing of the optimum. D1 and D3 grow without end as the optimum becomes the true one; D2 (flat) does not depend on it. A published variance under D1 or D3 says as much about $\varepsilon$ as about the tasks.*
#
# A second trap: an optimum is rarely unique. On a lake many shortest paths may lead to the goal, and at the goal itself nothing matters. We measure the distance to the *nearest* optimal policy, $-\log\sum_{a\ \text{optimal}}\pi_\theta(a\mid s)$ per state; with one arbitrary optimum instead, states where all actions are equally good would count as variance. How many states have a choice?

# %% tags=["widget", "hide-input"]
predictions.ask(
    "05a.choice",
    "What share of all states has more than one optimal action?",
    edges=(0.05, 0.15, 0.3),
)

# %%
mask = vmap(lambda task: optimal_actions(task, gamma))(tasks)
share = (mask.sum(-1) > 1).double().mean().item()
predictions.reveal("05a.choice", share)
print(f"{share:.0%} of all states have more than one optimal action")
record("states_with_a_choice", share, "share")

# %% [markdown]
# ### A dial
#
# The less ice, the more holes, and the further apart are the optimal policies. No training here: the prior is the policy in the middle, the minimiser inside Var.

# %% tags=["widget"]
points = [
    widgets.dial_point(
        ice,
        num_tasks=3 * sizes["num_tasks"],
        generator=seeded(seed, 6),
        lam=MATCHED["bomrl_d2"],
        **exact,
    )
    for ice in sizes["ice"] or (1.0, 0.95, 0.9, 0.8, 0.7)
]
view, draw_dial = widgets.variance_explorer(points)
view

# %%
fig = draw_dial(points[-1].ice)
fresh = widgets.dial_point(
    points[-1].ice, num_tasks=20, generator=seeded(seed, 7), lam=MATCHED["bomrl_d2"], **exact
)
others = lakes.lake_tasks(fresh.maps, lakes.HOLES)
alg = partial(bl.adapt_to_task, distance=bl.d2, lam=MATCHED["bomrl_d2"], **exact)
after = bl.adapted_returns(points[-1].middle, others, alg, **exact)[:, 1]
held_out_gap = (bl.optimal_returns(others, gamma) - after).mean().item()
print(f"gap from the middle policy: own lakes {points[-1].gap:.3f}, other lakes {held_out_gap:.3f}")
record("variance_without_holes", points[0].variance, "nats")
record("variance_at_most_holes", points[-1].variance, "nats")
record("gap_at_most_holes", points[-1].gap, "return")
record("gap_at_most_holes_on_other_lakes", held_out_gap, "return")

# %% [markdown]
# *Three lakes of the family with their optimal policies; right, variance and gap after one adaptation from the middle policy at each setting of the dial, the gold dot is this one. Without holes all lakes are one lake: no variance, no gap.* Why train, if a formula does as well? It does not ask for less, but for more: the middle policy is computed from the optimal policies of its lakes, which nobody has before the tasks are solved, and it is judged on those same lakes. The printed line judges it on others.
#
# **Learnt:** the variance of a family is a number that one can compute, if the distance is finite at a deterministic optimum and takes the nearest of several optima.
#
# ## 3. The proof of the variance term
#
# What it assumes, before anybody is impressed:
#
# - **softmax policies**: each action has a positive probability wherever it is allowed. So a state with $\nu^\phi(s)=0$ is one that *no* policy reaches; such states are left out below;
# - **D1 or D2**: step 3 needs Pinsker's inequality, which D3 knows nothing of;
# - $\pi^*_\tau$ is deterministic, hence *no* softmax policy but a limit of them. Values, occupancies and D2 are continuous in the probabilities there, so what holds for every softmax policy holds for $\pi^*_\tau$ too, under D2. D1 is infinite at it (section 2): the bound is then true and empty;
# - $\lambda\ge\lambda_0$, a constant that depends on $\phi$ and on the task.
#
# Each cell checks its inequality on random lakes and pairs of policies, near and far. The reader's tool is five lines long:

# %%
pool = bl.make_tasks(family).sample(sizes["num_tasks"], seeded(seed, "tasks"), "train")
generator = seeded(seed, 11)
sides = []


def check(name, left, right):
    """Note both sides of an inequality, and stop where it does not hold."""
    assert left <= right + 1e-12, f"{name}: {left} is not below {right}"
    sides.append({"step": name, "left": float(left), "right": float(right)})


def random_pair(k):
    """Draw a lake and two policies, theirs a distance of 1, 0.1 or 0.01 in the logits."""
    task = type(pool)(*(field[k % len(pool.start)] for field in pool))
    phi, noise = (
        {"logits": torch.randn(16, 4, dtype=torch.float64, generator=generator)} for _ in range(2)
    )
    return task, phi, add_scaled(phi, 10.0 ** -(k % 3), noise)


pairs = [random_pair(k) for k in range(sizes["pairs"])]

# %% [markdown]
# In every state let TV be half the sum of the absolute differences of the two policies' probabilities. These are the quantities of the proof:


# %%
def quantities(task, phi, theta):
    """Return what the steps speak of, at the states that can be reached."""
    p, q = (exact["policy"].log_probs(params).exp() for params in (phi, theta))
    nu, nu_theta = (bl.occupancy(probs, task, gamma) for probs in (p, q))
    there = nu > 1e-12
    advantage = bl.advantages(p, task, gamma)[there]
    return {
        "nu": nu[there],
        "moved": (nu_theta - nu)[there],
        "tv": 0.5 * (p - q).abs().sum(-1)[there],
        "gain": ((q - p)[there] * advantage).sum(-1),
        "a_max": advantage.abs().max(),
    }


found = [quantities(*pair) for pair in pairs]

# %% [markdown]
# **Step 1: what the surrogate misses.** The performance-difference lemma (Kakade and Langford, 2002) says $(1-\gamma)\big(J(\theta)-J(\phi)\big)=\mathbb E_{s\sim\nu^\theta}\langle\pi_\theta,A^\phi\rangle$. The surrogate has the same average under $\nu^\phi$, where the data are. Since $\langle\pi_\phi,A^\phi\rangle=0$,
#
# $$(1-\gamma)\big(J(\theta)-J(\phi)\big)-\big(L(\theta)-L(\phi)\big)=\sum_s\big(\nu^\theta(s)-\nu^\phi(s)\big)\,\langle\pi_\theta-\pi_\phi,A^\phi\rangle(s).$$


# %%
def missed(task, phi, theta):
    """Return (1 - gamma) (J(theta) - J(phi)) - (L(theta) - L(phi))."""
    data = bl.full_data(phi, task, **exact)
    gained = [
        bl.surrogate_objective(params, data, policy=exact["policy"]) for params in (phi, theta)
    ]
    returns = [bl.policy_return(params, task, **exact) for params in (phi, theta)]
    return (1 - gamma) * (returns[1] - returns[0]) - (gained[1] - gained[0])


errors = [missed(*pair) - f["moved"] @ f["gain"] for pair, f in zip(pairs, found, strict=True)]
worst = torch.stack(errors).abs().max().item()
record("lemma_error", worst, "return")

# %% [markdown]
# **Step 2a: policies that differ little go to similar places.** Both occupancies solve $\nu=(1-\gamma)\rho+\gamma P_\pi^\top\nu$. Subtract the two equations:
#
# $$(I-\gamma P_\theta^\top)(\nu^\theta-\nu^\phi)=\gamma\,(P_\theta-P_\phi)^\top\nu^\phi.$$
#
# The inverse of the matrix is $\sum_k\gamma^k(P_\theta^\top)^k$. No power of $P_\theta^\top$ lengthens a vector in the 1-norm, so the inverse lengthens it at most $\frac1{1-\gamma}$ times. And the right side is at most $\gamma\sum_s\nu^\phi(s)\Vert\pi_\theta-\pi_\phi\Vert_1=2\gamma\,\mathbb E_{\nu^\phi}[\mathrm{TV}]$, for a difference of actions is passed on by $P$ without gain. Hence $\Vert\nu^\theta-\nu^\phi\Vert_1\le\frac{2\gamma}{1-\gamma}\mathbb E_{\nu^\phi}[\mathrm{TV}]$.
#
# **Step 2b: what an action is worth is bounded.** $|\langle\pi_\theta-\pi_\phi,A^\phi\rangle(s)|\le\Vert\pi_\theta-\pi_\phi\Vert_1A_{\max}=2A_{\max}\mathrm{TV}(s)$.

# %%
for f in found:
    mean_tv = f["nu"] @ f["tv"]
    check("2a: places", f["moved"].abs().sum(), 2 * gamma / (1 - gamma) * mean_tv)
    check("2b: worth", f["gain"].abs().max(), 2 * f["a_max"] * f["tv"].max())

# %% [markdown]
# **Step 3: from TV to the distance.** At the state $s$ where TV is largest, $\mathbb E_\nu[\mathrm{TV}^2]\ge\nu(s)\,\mathrm{TV}(s)^2\ge\nu_{\min}\max\mathrm{TV}^2$, so $\max\mathrm{TV}\le\sqrt{\mathbb E_\nu[\mathrm{TV}^2]/\nu_{\min}}$. And $\mathbb E_\nu[\mathrm{TV}]\le\sqrt{\mathbb E_\nu[\mathrm{TV}^2]}$ (Jensen). Multiply:
#
# $$\max_s\mathrm{TV}\cdot\mathbb E_\nu[\mathrm{TV}]\le\mathbb E_\nu[\mathrm{TV}^2]/\sqrt{\nu_{\min}}.$$
#
# Pinsker's inequality, quoted here, ends it: $\mathrm{TV}^2\le\frac12\mathrm{KL}$, in either direction. The four together:
#
# $$\big|(1-\gamma)(J(\theta)-J(\phi))-(L(\theta)-L(\phi))\big|\le\lambda_0D^2(\pi_\phi,\pi_\theta),\qquad\lambda_0=\frac{2\gamma A_{\max}}{(1-\gamma)\sqrt{\nu_{\min}}}.$$

# %%
for (task, phi, theta), f in zip(pairs, found, strict=True):
    nu, tv = f["nu"], f["tv"]
    mean_square, lam_0 = nu @ tv.square(), bl.rigorous_lambda(phi, task, **exact)
    check("3a: TV", tv.max() * (nu @ tv), mean_square / nu.min().sqrt())
    weights = bl.full_data(phi, task, **exact).state_weights
    for name, distance in (("D1", bl.d1), ("D2", bl.d2)):
        far = distance(phi, theta, policy=exact["policy"], state_weights=weights)
        check(f"3b: Pinsker, {name}", mean_square, 0.5 * far)
        check(f"all, {name}", missed(task, phi, theta).abs(), lam_0 * far)
steps = pd.DataFrame(sides)
fig = plots.proof_steps(steps[~steps["step"].str.contains("D1")])
tightness = (steps["left"] / steps["right"]).groupby(steps["step"], sort=False).max()
print(f"step 1 holds to {worst:.0e}")
record("tightest_pair", tightness["all, D2"], "left / right")
tightness.rename("largest left / right").to_frame().style.format("{:.1e}")

# %% [markdown]
# *Both sides of each inequality (D1's look like D2's); dots below the dotted line are where it holds: all of them, or a cell would have stopped. The table says how close any pair came to equality.* Each step gives a little away; multiplied, the bound is far above what it bounds. Remember this for lesson 05b.
#
# **Step 4: use it twice.** For $\lambda\ge\lambda_0$ Alg's objective is a lower bound, and Alg maximises it, so it does at least as well as $\pi^*_\tau$ would *by that bound*; and $J(\pi_\tau^*)$ itself is at most the upper bound:
#
# $$J(\mathrm{Alg})\ \ge\ J(\phi)+\frac{L(\pi^*)-L(\phi)-\lambda D^2(\pi_\phi,\pi^*)}{1-\gamma},\qquad J(\pi^*)\ \le\ J(\phi)+\frac{L(\pi^*)-L(\phi)+\lambda_0D^2(\pi_\phi,\pi^*)}{1-\gamma}.$$
#
# Subtract:
#
# $$J_\tau(\pi^*_\tau)-J_\tau(\mathrm{Alg}(\pi_\phi,\lambda,\tau))\ \le\ \frac{\lambda+\lambda_0}{1-\gamma}\,D_\tau^2(\pi_\phi,\pi^*_\tau).$$

# %% tags=["widget", "hide-input"]
predictions.ask(
    "05a.bound",
    "No policy can have a gap above 6.7 on these lakes. Of up to 40 lakes and random "
    "priors, how large is the *smallest* bound?",
    edges=(2, 10, 100),
)

# %%
rows = []
for k in range(min(40, sizes["pairs"])):
    task = type(pool)(*(field[k % len(pool.start)] for field in pool))
    phi = {"logits": torch.randn(16, 4, dtype=torch.float64, generator=generator)}
    lam_0 = bl.rigorous_lambda(phi, task, **exact)
    theta = bl.adapt_to_task(phi, task, distance=bl.d2, lam=lam_0.item(), **exact)
    gap = (optimum - bl.policy_return(theta, task, **exact)).item()
    bound = rigorous_gap_bound(phi, task, lam=lam_0, **exact).item()
    check("4: the gap", gap, bound)
    rows.append({"lam_0": lam_0.item(), "gap": gap, "bound": bound})
bounded = pd.DataFrame(rows)
record("smallest_rigorous_bound", bounded["bound"].min(skipna=False), "return")
record("largest_gap_under_it", bounded["gap"].max(skipna=False), "return")
predictions.reveal("05a.bound", bounded["bound"].min())
bounded.describe().loc[["min", "mean", "max"]].round(1)

# %% [markdown]
# The bound holds in every case, and says nothing: rewards are between $-1$ and 1 and the best return is 1.64, so no gap on these lakes can exceed $1.64+5=6.64$; the bound is in the thousands.
#
# **To the variance.** Take $\phi$ as the minimiser inside Var, and a $\lambda$ that is at least the largest $\lambda_0$ of that $\phi$ over the tasks. Then average the bound over tasks: the mean gap is at most $\frac{\lambda+\max_\tau\lambda_0}{1-\gamma}\mathrm{Var}(P(\Gamma))$. On the lakes of this section:

# %%
variance, centre, _ = bl.task_variance(pool, **exact)
lam_0 = vmap(lambda task: bl.rigorous_lambda(centre, task, **exact))(pool).max()
alg = partial(bl.adapt_to_task, distance=bl.d2, lam=lam_0.item(), **exact)
gap = optimum - bl.adapted_returns(centre, pool, alg, **exact)[:, 1].mean()
bound = 2 * lam_0 / (1 - gamma) * variance
check("the variance term", gap, bound)
print(f"mean gap {gap:.2f} <= {bound:.0f}, with lam = lam_0 = {lam_0:.0f}, Var = {variance:.3f}")

# %% [markdown]
# It holds, and look at $\lambda_0$: far larger than those of the random policies above. The middle policy is sure of itself, so there are states that it hardly ever visits, and $1/\sqrt{\nu_{\min}}$ punishes that; at such a price Alg leaves a policy as it is.
#
# The scale $A_{\max}/(1-\gamma)^2$ is that of the theorem. And mind what was *not* needed: **no gradient, no Hessian, no convexity**, and nothing about how Alg is solved, only that it is. What meta-training has to do with it: it looks for that $\phi$. That it finds it, and at the rate $\frac KT+\frac M{\sqrt T}$, is the part of the theorem that is *quoted* in section 1 and not shown here.
#
# **Learnt:** the gap after adaptation is bounded by the distance to the optimum because a surrogate with a price bounds the return from both sides, and each factor of the constant is a step that you have seen hold.
#
# ## 4. Recap
#
# - The strongest metric compares every task with its own optimum; it is bounded by how far apart those optima are.
# - Task variance needs a distance that stays finite at a deterministic optimum, and the nearest of many optima: D2 does.
# - The variance term follows from four steps; no gradient, Hessian or convexity is needed, and the constants are the price. The training terms are quoted.
# - Holes on the ice are a dial for the variance, and the gap from the policy in the middle follows it.

# %%
fig = predictions.show("05a")

# %% [markdown]
# ## 5. Check yourself
#
# <details><summary>Why can metric 3 not go to zero for opposite bandits, whatever the meta-learner?</summary>
#
# One prior must serve both. Under D2 the best is uniform, log 2 away from each optimum, and with $\lambda>0$ one adaptation cannot reach a corner.
#
# </details>
#
# <details><summary>A paper reports Var = 0.25 under KL(π_θ‖π*) with deterministic optimal policies. What do you ask?</summary>
#
# How the optimum was smoothed or clipped: without that the number is infinite, with it the number depends on the smoothing.
#
# </details>
#
# <details><summary>Where does the proof use that Alg is solved to the end?</summary>
#
# In step 4: the maximiser does at least as well, by the lower bound, as $\pi^*_\tau$. A truncated Alg need not.
#
# </details>
#
# ## 6. Reading
#
# - S. Xu, M. Zhu (2024), *Meta-Reinforcement Learning with Universal Policy Adaptation: Provable Near-Optimality under All-task Optimum Comparator*, arXiv 2410.09728.
# - S. Kakade, J. Langford (2002), *Approximately Optimal Approximate Reinforcement Learning*: the lemma of step 1.
# - J. Achiam et al. (2017), *Constrained Policy Optimization*, arXiv 1705.10528: step 2.
# - A. Fallah et al. (2020), arXiv 2002.05135, and L. Wang et al. (2020), *On the Global Optimality of Model-Agnostic Meta-Learning*: metrics 1 and 2.
# - M. Khodak, M.-F. Balcan, A. Talwalkar (2019), *Provable Guarantees for Gradient-Based Meta-Learning*, and G. Denevi et al. (2019), *Online-Within-Online Meta-Learning*: task variance in supervised and online learning.
#
# **Next:** [05b · Experiments](05b_experiments.ipynb), or first the exercises, [`exercises/05_near_optimality.ipynb`](../exercises/05_near_optimality.ipynb).
