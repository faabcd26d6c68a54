# %% [markdown]
# # Exercises 05 · Near-optimality
#
# **After these exercises you have** turned the theory into functions: how far a policy is from a task's nearest optimum, the policy in the middle of many tasks, the lemma that carries the proof, the weight from which on it holds, the bound on the gap, and a step of the proof that is yours. In the end your functions put measured gaps beside the task variance, and beside a bound that holds and promises next to nothing.
#
# **Time:** about 90 minutes. **Lessons:** [05a · Near-optimality](../notebooks/05a_near_optimality.ipynb): section 1 for 5.7, 2 for 5.1 to 5.3, 3 for 5.4 to 5.6 and 5.8; [05b · Experiments](../notebooks/05b_experiments.ipynb) goes beyond them.
#
# **How it works.** Replace each `raise NotImplementedError` and run the cell, then the check below it. A check goes through numbered steps and stops at the first that fails: it says what it expected, what it got and, if it recognises the slip, the likely cause. Any right answer counts, whatever its form. To look at the arguments of a check's first question, the case that you can do by hand, call for example `checks.optimal_actions.example()`. Where marks are given, the first line of a check's cell says what its steps are worth.
#
# If you are stuck, set `unsolved = "reference"` in the next cell and restart: unsolved exercises are then lent the package's function, so that you can go on. Hints unfold in three stages: the idea, the equation, almost the code.

# %% tags=["parameters"]
profile = "class"  # "smoke": seconds, for tests · "class": for you · "full": larger, for figures
seed = 0
unsolved = "raise"  # "reference": go on with the package's function where yours is missing

# %%
import matplotlib.pyplot as plt
import pandas as pd
import seaborn as sns
import torch

import bomrl_lite as bl
from bomrl_lite.course import checks, plots
from bomrl_lite.course.parameters import begin
from bomrl_lite.tasks import frozen_lake as lakes
from bomrl_lite.tasks import probes

checks.use(unsolved)
begin(profile, seed)
plots.use_style()
torch.set_num_threads(1)
sizes = {
    "smoke": {"num_lakes": 3, "draws": 1, "dial": ("1", "0.8"), "pairs": 20, "iterations": 6},
    "class": {"num_lakes": 20, "draws": 3, "dial": None, "pairs": 200, "iterations": 80},
    "full": {"num_lakes": 30, "draws": 10, "dial": None, "pairs": 400, "iterations": 150},
}[profile]

# %% [markdown]
# ## What all exercises share
#
# A task is the record of the earlier sets: `task.transition` `[S, A, S]`, `task.reward` `[S, A]`, `task.start` `[S]`, all float64. A policy has logits `phi` or `theta`, `[S, A]`, with $\pi_\phi(\cdot\mid s)=\mathrm{softmax}(\phi_s)$.
#
# The exact quantities of set 01 are yours from the package, each for a table of probabilities `policy_probs` `[S, A]`:
#
# | call | returns |
# |---|---|
# | `bl.q_values(policy_probs, task, gamma)` | $Q^\pi(s,a)$, `[S, A]` |
# | `bl.advantages(policy_probs, task, gamma)` | $A^\pi(s,a)=Q^\pi(s,a)-V^\pi(s)$, `[S, A]` |
# | `bl.occupancy(policy_probs, task, gamma)` | $\nu^\pi(s)$, `[S]`, sums to 1 |
# | `bl.expected_return(policy_probs, task, gamma)` | $J(\pi)$ |
# | `bl.optimal_policy(task, gamma, iterations=20)` | one optimal policy as a table of zeros and ones, and its residual: 0 if the 20 improvements were enough, as they are here |
#
# Our lakes: four by four, firm ice, a hole costs 1 at every step for ever, the goal pays 1 at every step for ever, $\gamma=0.8$.

# %%
gamma = 0.8
generator = torch.Generator().manual_seed(16 * seed)
lake_maps = lakes.sample_maps("frozen_lake/holes-4x4", 12, generator)
some_lakes = [lakes.lake_task(each, lakes.HOLES) for each in lake_maps]
untrained = torch.zeros(16, 4, dtype=torch.float64)

# %% [markdown]
# ## 5.1 All optimal actions
#
# "The" optimal policy of a task is rarely one policy: where several actions are equally good, so is every mixture of them. Find them all.
#
# $$\mathcal O(s)=\{a : Q^*(s,a)=\max_b Q^*(s,b)\}$$
#
# <details><summary>Hint 1: the idea</summary>
#
# All optimal policies have the same $Q$. So one of them, which `bl.optimal_policy` finds, tells about all.
#
# <details><summary>Hint 2: the equation</summary>
#
# In exact arithmetic two equally good actions have equal $Q$. In floating point they differ in the sixteenth digit: ask for $Q^*(s,a)\ge\max_b Q^*(s,b)-\varepsilon$ with, say, $\varepsilon=10^{-9}$.
#
# <details><summary>Hint 3: almost code</summary>
#
# The `.max(-1, keepdim=True).values` of $Q^*$ is a column that compares with the whole table; `.double()` turns truth values into zeros and ones.
#
# </details></details></details>


# %% tags=["exercise"] exercise="5.1"
def optimal_actions(task, gamma):
    r"""Return 1 for every optimal action and 0 for every other, [S, A], float64.

    a is optimal in s if Q*(s, a) = max_b Q*(s, b), ties included, up to rounding

    task: the record above. gamma: discount in [0, 1). About 4 lines.
    """
    # BEGIN SOLUTION
    one_optimum, _ = bl.optimal_policy(task, gamma, iterations=20)
    q = bl.q_values(one_optimum, task, gamma)
    highest = q.max(-1, keepdim=True).values
    return (q >= highest - 1e-9).double()
    # END SOLUTION


# %% tags=["check"]
optimal_actions = checks.optimal_actions(optimal_actions)

# %%
marks = [optimal_actions(lake, gamma) for lake in some_lakes]
fig, axes = plt.subplots(1, 3, figsize=(8.4, 3))
for ax, lake_map, marked in zip(axes, lake_maps, marks, strict=False):
    ties = int((marked.sum(-1) > 1).sum())
    shares = marked / marked.sum(-1, keepdim=True)
    plots.draw_lake(lake_map, None, shares, ax=ax, title=f"{ties} of 16 states tie")

# %% [markdown]
# *Your optimal actions on three lakes, drawn as the policy that mixes them evenly. In a hole or at the goal nothing matters any more: all four actions are optimal there.*
#
# ## 5.2 The distance to the nearest optimum
#
# How far is $\pi_\phi$ from solving a task? Measured by $D_2$, from where $\pi_\phi$ goes, to the optimal policy that is nearest:
#
# $$D^2_\tau(\phi)=\min_{\pi^*\ \mathrm{optimal}}\ \mathbb E_{s\sim\nu^{\pi_\phi}}\big[\mathrm{KL}\big(\pi^*(\cdot\mid s)\,\|\,\pi_\phi(\cdot\mid s)\big)\big].$$
#
# The other direction, $\mathrm{KL}(\pi_\phi\|\pi^*)$, would be infinite: $\pi^*$ gives actions probability 0 that $\pi_\phi$ takes.
#
# <details><summary>Hint 1: the idea</summary>
#
# You may choose, in every state by itself, how $\pi^*$ shares its probability among the optimal actions. The cheapest way to please $\pi_\phi$ is to share like $\pi_\phi$ does: condition it on being optimal.
#
# <details><summary>Hint 2: the equation</summary>
#
# Put $\pi^*(a\mid s)=\pi_\phi(a\mid s)/\pi_\phi(\mathcal O(s)\mid s)$ for $a\in\mathcal O(s)$ into the divergence, and everything cancels but
#
# $$D^2_\tau(\phi)=\sum_s\nu^{\pi_\phi}(s)\,\Big(-\log\sum_{a\in\mathcal O(s)}\pi_\phi(a\mid s)\Big).$$
#
# <details><summary>Hint 3: almost code</summary>
#
# Multiply the softmax by the table of marks, add up over actions, take minus the logarithm, then the inner product with `bl.occupancy(...)`. Keep everything attached: the next exercise differentiates it.
#
# </details></details></details>


# %% tags=["exercise"] exercise="5.2"
def distance_to_optimum(phi, optimal, task, gamma):
    r"""Return D^2 between a policy and the task's nearest optimal policy, a tensor without dimensions.

    D^2(phi) = min over optimal pi* of E_{s ~ nu of pi_phi}[ KL( pi*(.|s) || pi_phi(.|s) ) ]

    phi: logits, [S, A]. optimal: zeros and ones of exercise 5.1, [S, A]. task: the record above.
    gamma: discount in [0, 1).
    Gradients must flow from the answer to phi, through nu as well. About 4 lines.
    """
    # BEGIN SOLUTION
    probs = phi.softmax(-1)
    mass = (probs * optimal).sum(-1)
    return bl.occupancy(probs, task, gamma) @ -mass.log()
    # END SOLUTION


# %% tags=["check"]
distance_to_optimum = checks.distance_to_optimum(distance_to_optimum)

# %% [markdown]
# **See it.** Policies from uniform to nearly optimal on the first lake, on two ways: by raising the logit of one optimal action in every state, or of all of them.

# %%
rows = []
first_only = torch.nn.functional.one_hot(marks[0].argmax(-1), 4).double()
for strength in torch.linspace(0, 6, 25).tolist():
    for name, target in (("one optimal action", first_only), ("all optimal actions", marks[0])):
        logits = strength * target
        apart = distance_to_optimum(logits, marks[0], some_lakes[0], gamma).item()
        ignoring = distance_to_optimum(logits, first_only, some_lakes[0], gamma).item()
        rows.append({"raised": name, "strength": strength, "D²": apart, "counted": "all optima"})
        rows.append({"raised": name, "strength": strength, "D²": ignoring, "counted": "one"})
ways = pd.DataFrame(rows)
fig, ax = plt.subplots(figsize=(6.4, 3))
sns.lineplot(ways, x="strength", y="D²", hue="raised", style="counted", ax=ax)
ax.set(xlabel="added to the raised logits", ylabel="D² to the optimum (nats)")
_ = sns.move_legend(ax, "upper left", bbox_to_anchor=(1, 1))

# %% [markdown]
# *Distance over how strongly optimal actions are raised. Counting all optima (solid), both ways lead to 0. If only one optimum counts (dashed), the policy that mixes all optimal actions never arrives, although it earns just as much: that is why ties matter.*
#
# ## 5.3 The policy in the middle
#
# The task variance is the smallest mean distance that a single policy can have to the tasks' optima, and that policy is in their middle:
#
# $$\mathrm{Var}(P(\Gamma))=\min_\phi\ \mathbb E_\tau\big[D_\tau^2(\phi)\big].$$
#
# By hand: two bandits with one arm each to find. Any policy has $\tfrac12(-\log p-\log(1-p))$ with $p$ for the first arm, which is least for $p=\tfrac12$: $\log 2$, one bit. Find the policy in the middle by a minimiser of your choice. On large problems a local minimum is all that one can hope for, as the occupancy moves with $\phi$; in the check every minimum is global.
#
# <details><summary>Hint 1: the idea</summary>
#
# Make the mean distance a function of `phi` and give it to an optimiser that torch has. Begin at the uniform policy. The optimal actions of the tasks do not change: find them once, not at every step.
#
# <details><summary>Hint 2: the equation</summary>
#
# $\phi\leftarrow\phi-\eta\,\nabla_\phi\frac1N\sum_\tau D^2_\tau(\phi)$ is enough in principle; a second-order method needs some twenty steps where this one needs thousands.
#
# <details><summary>Hint 3: almost code</summary>
#
# `torch.optim.LBFGS([phi], max_iter=200, line_search_fn="strong_wolfe")`, with its `tolerance_grad` at 1e-7 and its `tolerance_change` at 1e-12, has a method `step(closure)`: the closure clears the gradient, computes the mean distance, calls `.backward()` and returns it. `phi` must be a leaf: zeros with `requires_grad=True`. Adam with some hundred steps of 0.1 does it too.
#
# </details></details></details>


# %% tags=["exercise"] exercise="5.3"
def middle_policy(tasks, gamma):
    r"""Return logits of the policy with the least mean distance to the tasks' optima, [S, A].

    argmin_phi (1/N) sum_tau D_tau^2(phi)

    tasks: list of N task records of one size. gamma: discount in [0, 1).
    Mean distance right to 1e-6. Begin at the uniform policy, and .detach() the answer.
    About 12 lines.
    """
    # BEGIN SOLUTION
    marks = [optimal_actions(task, gamma) for task in tasks]
    phi = torch.zeros_like(tasks[0].reward, requires_grad=True)
    optimizer = torch.optim.LBFGS(
        [phi],
        max_iter=200,
        tolerance_grad=1e-7,
        tolerance_change=1e-12,
        line_search_fn="strong_wolfe",
    )

    def closure():
        optimizer.zero_grad()
        each = [distance_to_optimum(phi, m, t, gamma) for m, t in zip(marks, tasks, strict=True)]
        spread = torch.stack(each).mean()
        spread.backward()
        return spread

    optimizer.step(closure)
    return phi.detach()
    # END SOLUTION


# %% tags=["check"]
middle_policy = checks.middle_policy(middle_policy)


# %% [markdown]
# **See it.** A single lake has a solution. What is in the middle of twelve?


# %%
def mean_distance(phi, found, tasks, gamma):
    """Return the mean distance of a policy to the tasks' optimal actions, as found by 5.1."""
    apart = [distance_to_optimum(phi, o, one, gamma) for o, one in zip(found, tasks, strict=True)]
    return sum(apart).item() / len(tasks)


middle = middle_policy(some_lakes, gamma)
fig, axes = plt.subplots(1, 3, figsize=(8.4, 3))
for ax, lake_map, lake, marked in zip(axes, lake_maps, some_lakes, marks, strict=False):
    apart = distance_to_optimum(middle, marked, lake, gamma)
    plots.draw_lake(lake_map, None, middle.softmax(-1), ax=ax, title=f"D² = {apart:.3f}")
print(
    f"mean distance of the uniform policy: {mean_distance(untrained, marks, some_lakes, gamma):.4f}"
)
print(f"mean distance of the middle policy:  {mean_distance(middle, marks, some_lakes, gamma):.4f}")
leaf = middle.clone().requires_grad_()
each = [distance_to_optimum(leaf, m, t, gamma) for m, t in zip(marks, some_lakes, strict=True)]
(slope,) = torch.autograd.grad(torch.stack(each).mean(), leaf)
print(f"norm of the gradient there:          {slope.norm():.1e}")

# %% [markdown]
# *One and the same policy, the middle of twelve lakes, drawn on the first three, with its distance to the optimum of each. The mean distance is over all twelve. The norm of the gradient tells whether the minimiser was done: it is 0 in the middle.*
#
# ## 5.4 Where a return is gained
#
# The proof begins with the performance-difference lemma (Kakade and Langford, 2002): what $\pi_\theta$ gains over $\pi_\phi$ is the *old* policy's advantages, averaged over where the *new* one goes.
#
# $$J(\theta)-J(\phi)=\frac1{1-\gamma}\sum_s\nu^{\pi_\theta}(s)\sum_a\pi_\theta(a\mid s)\,A^{\pi_\phi}(s,a)$$
#
# Return the sum over $s$ unsummed: the share of each state. It shows where on a lake a policy got better.
#
# <details><summary>Hint 1: the idea</summary>
#
# Three ingredients, each belonging to one of the two policies: the states that are visited, the actions that are taken, and the advantages. The lemma says which belongs to whom.
#
# <details><summary>Hint 2: the equation</summary>
#
# $g(s)=\nu^{\pi_\theta}(s)\sum_a\pi_\theta(a\mid s)A^{\pi_\phi}(s,a)\,/\,(1-\gamma)$. With $\nu^{\pi_\phi}$ in its place the sum is the surrogate's gain, $(L(\theta)-L(\phi))/(1-\gamma)$, and no longer the true one.
#
# <details><summary>Hint 3: almost code</summary>
#
# `bl.occupancy` of $\pi_\theta$, times the sum over the last axis of $\pi_\theta$ times `bl.advantages` of $\pi_\phi$, over $1-\gamma$.
#
# </details></details></details>


# %% tags=["exercise"] exercise="5.4"
def gain_by_state(phi, theta, task, gamma):
    r"""Return every state's share of J(theta) - J(phi), [S].

    g(s) = nu_theta(s) sum_a pi_theta(a | s) A_phi(s, a) / (1 - gamma)

    phi, theta: logits of the policy before and after, [S, A]. task: the record above.
    gamma: discount in [0, 1). About 4 lines.
    """
    # BEGIN SOLUTION
    after = theta.softmax(-1)
    visits = bl.occupancy(after, task, gamma)
    advantage = bl.advantages(phi.softmax(-1), task, gamma)
    return visits * (after * advantage).sum(-1) / (1 - gamma)
    # END SOLUTION


# %% tags=["check"]
gain_by_state = checks.gain_by_state(gain_by_state)


# %% [markdown]
# **See it.** One step of universal policy adaptation ($D_2$, $\lambda=1$) from the uniform policy, and where it gains:


# %%
def adapt(phi, task, gamma, lam):
    """Return the logits that Alg with D2 finds in a task."""
    policy = bl.tabular_softmax(*phi.shape)
    settings = {"policy": policy, "gamma": gamma, "distance": bl.d2, "lam": lam}
    return bl.adapt_to_task({"logits": phi}, task, **settings)["logits"]


fig, axes = plt.subplots(1, 3, figsize=(8.4, 3))
for ax, lake_map, lake in zip(axes, lake_maps, some_lakes, strict=False):
    adapted = adapt(untrained, lake, gamma, lam=1.0)
    shares = gain_by_state(untrained, adapted, lake, gamma)
    title = f"gained in all: {shares.sum():.2f}"
    plots.draw_lake(lake_map, shares, adapted.softmax(-1), ax=ax, title=title)

# %% [markdown]
# *Each state's share of the gain (colour and number), with the adapted policy. The gain is made beside the holes and on the last steps to the goal, where the uniform policy's actions differ most in value. Holes and the goal gain nothing: there no action is better than another.*
#
# ## 5.5 The weight that makes it safe
#
# Replacing $\nu^{\pi_\theta}$ by $\nu^{\pi_\phi}$, which the one-time data hold, makes an error. The proof of the lesson bounds it by the distance:
#
# $$\big|(1-\gamma)\,(J(\theta)-J(\phi))-(L(\theta)-L(\phi))\big|\le\lambda_0\,D^2(\phi,\theta),\qquad\lambda_0=\frac{2\,\gamma\,A_{\max}}{(1-\gamma)\sqrt{\nu_{\min}}}.$$
#
# $A_{\max}=\max_{s,a}|A^{\pi_\phi}(s,a)|$, and $\nu_{\min}$ is the smallest $\nu^{\pi_\phi}(s)$ among the states that are reached at all.
#
# <details><summary>Hint 1: the idea</summary>
#
# Everything is known about one policy, $\pi_\phi$. The only trap is the minimum: a state without visits has $\nu=0$ and would make $\lambda_0$ infinite, although nothing can go wrong in it.
#
# <details><summary>Hint 2: the equation</summary>
#
# It stands above; $\nu_{\min}=\min\{\nu^{\pi_\phi}(s) : \nu^{\pi_\phi}(s)>0\}$.
#
# <details><summary>Hint 3: almost code</summary>
#
# `visits[visits > 1e-12].min()`, and `.abs().max()` of the advantages.
#
# </details></details></details>


# %% tags=["exercise"] exercise="5.5"
def rigorous_lambda(phi, task, gamma):
    r"""Return lam_0, the weight from which on the bound is proved, a tensor without dimensions.

    lam_0 = 2 gamma A_max / ((1 - gamma) sqrt(nu_min)), both of pi_phi

    phi: logits, [S, A]. task: the record above. gamma: discount in [0, 1).
    States with nu(s) = 0 do not count, up to rounding: count those with nu(s) > 1e-12, however rare.
    About 5 lines.
    """
    # BEGIN SOLUTION
    before = phi.softmax(-1)
    visited = bl.occupancy(before, task, gamma)
    rarest = visited[visited > 1e-12].min()
    a_max = bl.advantages(before, task, gamma).abs().max()
    return 2 * gamma * a_max / ((1 - gamma) * rarest.sqrt())
    # END SOLUTION


# %% tags=["check"]
rigorous_lambda = checks.rigorous_lambda(rigorous_lambda)

# %% [markdown]
# **See it.** Is the inequality true, and is it sharp? Random policies near and far from the uniform one, on the first lake:

# %%
lake, lake_policy = some_lakes[0], bl.tabular_softmax(16, 4)
data = bl.full_data({"logits": untrained}, lake, policy=lake_policy, gamma=gamma)
rows = []
for _ in range(sizes["pairs"]):
    size = 10 ** (4 * torch.rand((), generator=generator).item() - 3)
    theta = untrained + size * torch.randn(16, 4, generator=generator, dtype=torch.float64)
    old, new = {"logits": untrained}, {"logits": theta}
    promised = bl.surrogate_objective(new, data, policy=lake_policy) - bl.surrogate_objective(
        old, data, policy=lake_policy
    )
    true_gain = (1 - gamma) * gain_by_state(untrained, theta, lake, gamma).sum()
    apart = bl.d2(old, new, policy=lake_policy, state_weights=data.state_weights)
    rows.append({"D²": apart.item(), "error": (true_gain - promised).abs().item()})
errors, weight = pd.DataFrame(rows), rigorous_lambda(untrained, lake, gamma).item()
fig, ax = plt.subplots(figsize=(5, 3.2))
sns.scatterplot(errors, x="D²", y="error", s=14, ax=ax, label="random policy")
ends = torch.tensor([errors["D²"].min(), errors["D²"].max()])
ax.plot(ends, weight * ends, color=plots.INK, lw=1, label=f"λ₀ D², λ₀ = {weight:.0f}")
ax.set(xscale="log", yscale="log", xlabel="D²(φ, θ) (nats)", ylabel="error of the surrogate")
ax.legend()
worst = (errors["error"] / errors["D²"]).max()
print(f"largest error / D² found: {worst:.3f}; proved: at most {weight:.0f}")

# %% [markdown]
# *The surrogate's error over the distance, one dot per random policy, and the line that the proof draws. No dot is above it, and none comes near it: the proof must reckon with the worst task there can be.*
#
# ## 5.6 The bound on the gap
#
# For $\lambda\ge\lambda_0$, Alg maximises a lower bound of $J$, which at $\pi^*$ cannot be far below $J(\pi^*)$. Together:
#
# $$J_\tau(\pi^*_\tau)-J_\tau\big(\mathrm{Alg}(\pi_\phi,\lambda,\tau)\big)\le\frac{\lambda+\lambda_0}{1-\gamma}\,D^2_\tau(\phi).$$
#
# For a smaller $\lambda$ nothing is proved: return infinity.
#
# <details><summary>Hint 1: the idea</summary>
#
# Two of your functions, put together, and one case to tell apart.
#
# <details><summary>Hint 2: the equation</summary>
#
# It stands above. Both $\lambda$ and $\lambda_0$ appear because the inequality of 5.5 is used twice: downwards at Alg's answer, upwards at $\pi^*$.
#
# <details><summary>Hint 3: almost code</summary>
#
# An `if` on `lam < rigorous_lambda(...)` that returns `torch.tensor(torch.inf, dtype=torch.float64)`, else the product with `distance_to_optimum(...)`.
#
# </details></details></details>


# %% tags=["exercise"] exercise="5.6"
def gap_bound(phi, optimal, task, gamma, lam):
    r"""Return what the gap of Alg with D2 cannot exceed, a tensor without dimensions.

    (lam + lam_0) / (1 - gamma) D^2(phi) if lam >= lam_0, else infinity

    phi: logits, [S, A]. optimal: zeros and ones of exercise 5.1, [S, A]. task: the record above.
    gamma: discount in [0, 1). lam: weight of the adaptation, > 0. About 5 lines.
    """
    # BEGIN SOLUTION
    least = rigorous_lambda(phi, task, gamma)
    if lam < least:
        return torch.tensor(torch.inf, dtype=torch.float64)
    return (lam + least) / (1 - gamma) * distance_to_optimum(phi, optimal, task, gamma)
    # END SOLUTION


# %% tags=["check"]
gap_bound = checks.gap_bound(gap_bound)


# %% [markdown]
# **See it where it is at its best.** In bandits $\gamma=0$, so $\lambda_0=0$: the surrogate is exact, and every $\lambda$ is safe. Let the share $p$ of tasks that pay for the first of two arms be a dial; the variance is then the entropy of $p$.


# %%
def gap_after(phi, task, gamma, lam):
    """Return the gap to the task's optimum after Alg with D2."""
    best, _ = bl.optimal_policy(task, gamma, iterations=20)
    adapted = adapt(phi, task, gamma, lam).softmax(-1)
    return bl.expected_return(best, task, gamma) - bl.expected_return(adapted, task, gamma)


arms = [probes.bandit(arm) for arm in torch.eye(2, dtype=torch.float64)]
rows = []
for share in (0.1, 0.2, 0.3, 0.4, 0.5):
    bandits = [arms[0]] * round(10 * share) + [arms[1]] * round(10 - 10 * share)
    prior = middle_policy(bandits, 0.0)
    found = [optimal_actions(one, 0.0) for one in bandits]
    variance = mean_distance(prior, found, bandits, 0.0)
    for lam in (0.2, 0.5, 1.0):
        gap, bound = 0.0, 0.0
        for arm, part in zip(arms, (share, 1 - share), strict=True):
            gap += part * gap_after(prior, arm, 0.0, lam).item()
            bound += part * gap_bound(prior, optimal_actions(arm, 0.0), arm, 0.0, lam).item()
        rows.append({"λ": str(lam), "variance": variance, "kind": "gap", "value": gap})
        rows.append({"λ": str(lam), "variance": variance, "kind": "bound", "value": bound})
tight = pd.DataFrame(rows)
fig, ax = plt.subplots(figsize=(6.4, 3.2))
sns.lineplot(tight, x="variance", y="value", hue="λ", style="kind", markers=True, ax=ax)
ax.set(
    xlabel="task variance (nats)", ylabel="mean gap after one step", xlim=(0, None), ylim=(0, None)
)
_ = sns.move_legend(ax, "upper left", bbox_to_anchor=(1, 1))

# %% [markdown]
# *Mean gap of two-armed bandits after one step from their middle policy, and the bound $\lambda\,\mathrm{Var}$, over the task variance. Here the bound holds for every $\lambda$. For $\lambda=1$ it is less than three times the gap; for smaller $\lambda$ the step is better than the bound knows.*
#
# ## 5.7 Does training get there?
#
# The theorem also says how the average gap falls over the iterations of meta-training: $\frac1T\sum_{t\le T}\mathrm{gap}_t\le\frac KT+\frac M{\sqrt T}+\mathrm{const}\cdot\mathrm{Var}$. Fit these three terms to a measured curve of gaps:
#
# $$(K,M,c)=\arg\min_{K,M,c\,\ge\,0}\ \sum_{T}\Big(\tfrac1T\sum_{t\le T}\mathrm{gap}_t-\tfrac KT-\tfrac M{\sqrt T}-c\Big)^2.$$
#
# <details><summary>Hint 1: the idea</summary>
#
# Without the sign constraint it is a linear least-squares problem with three columns. With it, some terms are exactly 0 and the others solve the problem without those columns. There are only eight cases.
#
# <details><summary>Hint 2: the equation</summary>
#
# For each set of columns, solve least squares by `torch.linalg.lstsq`; drop the sets with a negative answer; keep the one with the smallest error. Setting negative terms to 0 *after* one fit is not the same: the others must make up for them.
#
# <details><summary>Hint 3: almost code</summary>
#
# The averages are `gaps.cumsum(0)` over $1,2,3,\dots$; `torch.stack([...], -1)` makes the columns `[T, 3]`; `itertools.combinations(range(3), size)` gives the sets. `lstsq` wants a matrix on the right: `averages[:, None]`. (Projected gradient steps on three numbers do as well.)
#
# </details></details></details>


# %% tags=["exercise"] exercise="5.7"
def fit_rate(gaps):
    r"""Return (K, M, floor), the terms of the convergence theorem that fit best, [3].

    least squares of (1/T) sum_{t <= T} gap_t = K / T + M / sqrt(T) + floor over T = 1, 2, ...,
    with K, M, floor >= 0

    gaps: of every iteration, [T], T >= 3. Right to 1e-6. About 14 lines.
    """
    # BEGIN SOLUTION
    import itertools

    steps = torch.arange(1, len(gaps) + 1, dtype=gaps.dtype)
    averages = gaps.cumsum(0) / steps
    columns = torch.stack([1 / steps, steps**-0.5, torch.ones_like(steps)], -1)
    best, answer = averages.square().sum(), torch.zeros(3, dtype=gaps.dtype)
    for size in (1, 2, 3):
        for chosen in map(list, itertools.combinations(range(3), size)):
            part = torch.linalg.lstsq(columns[:, chosen], averages[:, None]).solution[:, 0]
            error = (columns[:, chosen] @ part - averages).square().sum()
            if (part >= 0).all() and error < best:
                best, answer = error, torch.zeros(3, dtype=gaps.dtype)
                answer[chosen] = part
    return answer
    # END SOLUTION


# %% tags=["check"]
fit_rate = checks.fit_rate(fit_rate)

# %% [markdown]
# **See it.** Meta-training of BO-MRL ($D_2$, $\lambda=1$) on ten lakes, and your fit:

# %%
config = bl.configure(
    "bomrl",
    tasks="frozen_lake/holes-4x4",
    distance="d2",
    lam=1.0,
    num_tasks=10,
    iterations=sizes["iterations"],
    learning_rate=0.1,
    seed=seed,
)
trained = bl.meta_train(config)
best_returns = bl.optimal_returns(bl.make_problem(config).training_tasks, gamma)
reached = torch.tensor([row["return_after"] for row in trained.history], dtype=torch.float64)
training_gaps = best_returns.mean() - reached
k, m, floor = fit_rate(training_gaps).tolist()
count = torch.arange(1, len(reached) + 1)
fig, ax = plt.subplots(figsize=(5, 3.2))
ax.plot(count, training_gaps, color=plots.GOLD, lw=1, label="gap of the iteration")
ax.plot(count, training_gaps.cumsum(0) / count, color=plots.WATER, label="running average")
fitted = k / count + m / count.sqrt() + floor
ax.plot(count, fitted, color=plots.INK, ls=":", label=f"{k:.2f}/T + {m:.2f}/√T + {floor:.2f}")
ax.set(xlabel="meta-iteration T", ylabel="gap to the lakes' optima", ylim=(0, None))
_ = ax.legend()

# %% [markdown]
# *Gap over meta-training, its running average and the three terms of the theorem fitted to it. They do not follow the average closely: the theorem is an upper bound, and promises no shape. Nor is the fitted floor of one short run the task variance.*
#
# ## 5.8 How far the visits move
#
# Step 2a of the proof, as a function; derive it yourself before you look back at the lesson. The surrogate takes the states of the *old* policy, the return those of the *new* one; how different can they be? Find a bound on
#
# $$\sum_s\big|\nu^{\pi_\theta}(s)-\nu^{\pi_\phi}(s)\big|$$
#
# that needs no data of $\pi_\theta$, only the states that $\pi_\phi$ visits and the total variation distance of the two policies there, $\mathrm{TV}(s)=\frac12\sum_a|\pi_\theta(a\mid s)-\pi_\phi(a\mid s)|$. Paper first, hints later.
#
# <details><summary>Hint 1: the idea</summary>
#
# An occupancy solves $\nu=(1-\gamma)\rho+\gamma P_\pi^\top\nu$, where $\rho$ is the start. Write it down for both policies and subtract. On one side only $\nu^{\pi_\phi}$ is left.
#
# <details><summary>Hint 2: the equation</summary>
#
# $(I-\gamma P_\theta^\top)(\nu^{\pi_\theta}-\nu^{\pi_\phi})=\gamma(P_\theta-P_\phi)^\top\nu^{\pi_\phi}$. How long can the right side be in the 1-norm, in terms of TV? How much can the inverse, $\sum_k\gamma^k(P_\theta^\top)^k$, lengthen it? Multiply the two.
#
# <details><summary>Hint 3: almost code</summary>
#
# The right side is at most $2\gamma\,\mathbb E_{s\sim\nu^{\pi_\phi}}[\mathrm{TV}(s)]$, the factor of the inverse is $1/(1-\gamma)$. Two softmaxes, one sum over actions, one product with `bl.occupancy`.
#
# </details></details></details>


# %% tags=["exercise"] exercise="5.8"
def shift_bound(phi, theta, task, gamma):
    r"""Return a bound on sum_s |nu_theta(s) - nu_phi(s)|, a tensor without dimensions.

    Of the form c(gamma) E_{s ~ nu_phi}[TV(s)], with the smallest c that the argument gives.

    phi, theta: logits of the policy before and after, [S, A]. task: the record above.
    gamma: discount in [0, 1). About 3 lines.
    """
    # BEGIN SOLUTION
    before, after = phi.softmax(-1), theta.softmax(-1)
    apart = (after - before).abs().sum(-1) / 2
    return 2 * gamma / (1 - gamma) * (bl.occupancy(before, task, gamma) @ apart)
    # END SOLUTION


# %% tags=["check"]
shift_bound = checks.shift_bound(shift_bound)

# %% [markdown]
# **See it.** The uniform policy of a lake, other policies near and far from it, and how far the visits move:

# %%
rows = []
for index in range(sizes["pairs"]):
    spread = 10.0 ** (index % 4 - 2)
    theta = untrained + spread * torch.randn(16, 4, generator=generator, dtype=torch.float64)
    visits = [bl.occupancy(x.softmax(-1), some_lakes[0], gamma) for x in (untrained, theta)]
    bound = shift_bound(untrained, theta, some_lakes[0], gamma).item()
    moved = (visits[1] - visits[0]).abs().sum().item()
    rows.append({"spread": f"{spread:g}", "bound": bound, "moved": moved})
shifts = pd.DataFrame(rows)
fig, ax = plt.subplots(figsize=(5, 3.4))
by_spread = {"hue": "spread", "palette": sns.color_palette("viridis", 4)}
sns.scatterplot(shifts, x="bound", y="moved", ax=ax, **by_spread)
ax.axline((1, 1), slope=1, color=plots.INK, ls=":", lw=1)
ax.axhline(2, color=plots.INK, lw=1)
ax.set(xscale="log", yscale="log", xlabel="your bound", ylabel="how far the visits moved")
sns.move_legend(ax, "upper left", bbox_to_anchor=(1, 1), title="spread of the logits")
print(
    "largest share of the bound that is used:", f"{(shifts['moved'] / shifts['bound']).max():.2f}"
)

# %% [markdown]
# *How far the occupancy moved from the uniform policy's over your bound, one dot per policy; the spread is that of the noise in the logits. On the dotted line the bound would be attained. No two distributions are further apart than 2 (solid): for policies that differ much the bound says nothing, for policies that differ little it falls with them.*
#
# ## All of it together: gap against variance
#
# The dial is the share of ice on random lakes, `bl.make_tasks("probe/ice-0.9")` and its siblings: at 1 all lakes are the same, the less ice, the further apart are their optima. For each setting, several draws of lakes; for each draw, your policy in the middle, one step of adaptation from it, and the gap.

# %%
dial = sizes["dial"] or ("1", "0.95", "0.9", "0.8", "0.7")


def mean_gaps(phi, batch, lam):
    """Return the mean gap of a batch of tasks before and after one step."""

    def alg(start, task):
        return {"logits": adapt(start["logits"], task, gamma, lam)}

    returns = bl.adapted_returns({"logits": phi}, batch, alg, policy=lake_policy, gamma=gamma)
    return (bl.optimal_returns(batch, gamma)[:, None] - returns).mean(0).tolist()


rows = []
for ice in dial:
    family = bl.make_tasks(f"probe/ice-{ice}")
    for draw in range(sizes["draws"]):
        stream = torch.Generator().manual_seed(16 * seed + draw)
        batch = family.sample(sizes["num_lakes"], stream, "train")
        drawn = [bl.TabularTask(*fields) for fields in zip(*batch, strict=True)]
        prior = middle_policy(drawn, gamma)
        found = [optimal_actions(one, gamma) for one in drawn]
        safe = max(rigorous_lambda(prior, one, gamma).item() for one in drawn)
        bounds = [
            gap_bound(prior, o, one, gamma, safe).item()
            for o, one in zip(found, drawn, strict=True)
        ]
        row = {"ice": ice, "variance": mean_distance(prior, found, drawn, gamma), "λ₀": safe}
        for name, lam in (("1", 1.0), ("5", 5.0), ("λ₀", safe)):
            row["gap before"], row[f"gap, λ = {name}"] = mean_gaps(prior, batch, lam)
        rows.append({**row, "bound, λ = λ₀": sum(bounds) / len(bounds)})
dialled = pd.DataFrame(rows)

# %%
fig, axes = plt.subplots(1, 2, figsize=(8.4, 3.4))
columns = ["gap, λ = 1", "gap, λ = 5"]
short = dialled.melt(["ice", "variance"], columns, var_name="weight", value_name="gap")
shades = sns.color_palette("viridis", len(dial))
by_ice = {"hue": "ice", "hue_order": dial, "palette": shades}
sns.scatterplot(short, x="variance", y="gap", style="weight", ax=axes[0], **by_ice)
axes[0].set(xlabel="task variance (nats)", ylabel="mean gap after one step", xlim=(-0.005, None))
sns.scatterplot(dialled, x="gap, λ = λ₀", y="bound, λ = λ₀", legend=False, ax=axes[1], **by_ice)
axes[1].axhline(2 / (1 - gamma), color=plots.INK, lw=1, ls=":")
axes[1].text(2.4, 2 / (1 - gamma), "no gap is larger", ha="right", va="bottom", fontsize=8)
axes[1].set(yscale="symlog", xlim=(-0.1, 2.5), ylim=(-0.2, None))
axes[1].set(xlabel="mean gap, λ = λ₀", ylabel="mean bound, λ = λ₀ (symlog)")
sns.move_legend(axes[0], "upper left", fontsize=7)
summary = dialled.groupby("ice", sort=False).mean()
print(summary.to_string(float_format=lambda value: f"{value:.3g}"))

print()
print(
    f"draws where the gap exceeds the bound: {(dialled['gap, λ = λ₀'] > dialled['bound, λ = λ₀']).sum()}"
)

# %% [markdown]
# *Left: mean gap after one step from the middle policy, one mark per draw of lakes, over the task variance of the draw. Right: with $\lambda=\lambda_0$, the only setting that the proof covers (the largest $\lambda_0$ of the draw), the bound over the gap; rewards lie between -1 and 1, so no gap can be above the dotted line.*
#
# Read it with care. On the left the gap rises with the variance, as the theorem suggests, but no theorem covers these small $\lambda$, and ice changes more than the variance: there are more holes to fall into. On the right the theorem holds, and says nothing. With so large a $\lambda_0$ Alg does not move (compare the gap before), and as soon as the lakes' optima differ the bound is far above anything that can happen. $\nu_{\min}$ is to blame: a policy in the middle visits some states almost never, and the proof must fear each of them.
#
# ## How far did you come?

# %%
checks.progress()

# %% [markdown]
# **A gallery of slips.** For each exercise that you have solved, the known mistakes that are hardest to see: how far off the answer is with them, and what they are.

# %%
checks.gallery()

# %% [markdown]
# ## Recap
#
# - An optimal policy is rarely unique; the KL distance to the nearest one is $-\log$ of the probability of acting optimally, averaged over where the policy goes.
# - The task variance is the least mean distance that one policy can have. For opposite bandits it is $\log 2$.
# - The performance-difference lemma is exact; the surrogate replaces the new policy's states by the old one's, and $\lambda_0D^2$ pays for that.
# - The bound holds. It is informative in bandits, where $\lambda_0=0$, and vacuous on lakes.
#
# ## Check yourself
#
# <details><summary>A policy that has fallen into a hole is no further from the optimum for anything it does there. Why, and does the theory overlook the loss?</summary>
#
# In a hole every action is optimal, so the occupancy of holes adds nothing to the distance. The loss is not overlooked. The wrong step *into* the hole is charged $-\log$ of the probability of acting optimally, and what it costs is in $A_{\max}$. Besides, a policy that falls early rarely sees the rest of the lake: $\nu_{\min}$ shrinks, and $\lambda_0$ grows.
#
# </details>
#
# <details><summary>Why does the bound need lam ≥ lam_0, when a smaller lam often gives smaller gaps?</summary>
#
# The proof needs Alg to maximise a lower bound of $J$ for every task there may be. With a smaller $\lambda$ the objective is no lower bound any more: usually the larger step is a better one, but a task can be built on which it loses.
#
# </details>
#
# <details><summary>Two families have the same variance. Must adaptation from their middle policies end with the same gap?</summary>
#
# No. The variance enters an upper bound. How rewards, discount and the middle policy's occupancy turn distance into lost return differs from family to family.
#
# </details>
#
# **Next:** [lesson 05b](../notebooks/05b_experiments.ipynb), section 4: what the bound says and what it does not.
