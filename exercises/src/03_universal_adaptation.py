# %% [markdown]
# # Exercises 03 · Universal policy adaptation
#
# **After these exercises you have** written $\mathrm{Alg}$, the inner level of BO-MRL, from nothing: the surrogate that one-time data give, the distance that says how far to trust it, its solution for both directions of the Kullback-Leibler divergence, the natural gradient hidden inside, and the lower bound that makes it safe. In the end your own $\mathrm{Alg}$ meets MAML's gradient step on lakes that nobody has seen.
#
# **Time:** about 90 minutes. **Lessons:** [03a · Universal policy adaptation](../notebooks/03a_universal_adaptation.ipynb): section 1 for 3.1, 2 for 3.2, 3 for 3.3 and 3.4, 4 for 3.5, 5 for 3.6; [03b · One batch of data](../notebooks/03b_one_batch.ipynb): section 1 for 3.7.
#
# **How it works.** Replace each `raise NotImplementedError` and run the cell, then the check below it. A check goes through numbered steps and stops at the first that fails: it says what it expected, what it got and, if it recognises the slip, the likely cause. Any right answer counts, whatever its form. To look at the arguments of a check's first question, the case that you can do by hand, call for example `checks.surrogate.example()`. Where marks are given, the first line of a check's cell says what its steps are worth.
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
from bomrl_lite.theory import optimal_actions

checks.use(unsolved)
begin(profile, seed)
plots.use_style()
torch.set_num_threads(1)
sizes = {
    "smoke": {"num_test": 2, "points": 7},
    "class": {"num_test": 30, "points": 41},
    "full": {"num_test": 100, "points": 81},
}[profile]

# %% [markdown]
# ## The record that all exercises share
#
# As in set 01, a task is a record of three float64 tensors (`transition` `[S, A, S]`, `reward` `[S, A]`, `start` `[S]`), and a policy has a table of logits `[S, A]` with $\pi_\phi(\cdot\mid s)=\mathrm{softmax}(\phi_s)$: `phi` are the meta-parameters, `theta` the adapted ones.
#
# Alg sees a task only through data of *one* policy, $\pi_\phi$. With infinitely many episodes these data are two tables that you solved for in set 01, and this time they are given:
#
# | name | shape | meaning |
# |---|---|---|
# | `nu` | `[S]` | $\nu(s)$: discounted occupancy of $\pi_\phi$, sums to 1 |
# | `q` | `[S, A]` | $Q(s,a)$: action values of $\pi_\phi$ |
#
# **Logits have a gauge.** Adding a constant to all logits of a state changes no probability. So where an exercise asks for logits, any table of the right *policy* is accepted.


# %%
def collect(phi, task, gamma):
    """Return the one-time data of pi_phi in a task: nu, [S], and Q, [S, A]."""
    policy_probs = torch.softmax(phi, dim=-1)
    return bl.occupancy(policy_probs, task, gamma), bl.q_values(policy_probs, task, gamma)


def policy_return(phi, task, gamma):
    """Return J(phi) = sum_s rho(s) V(s)."""
    return bl.expected_return(torch.softmax(phi, dim=-1), task, gamma)


family = "frozen_lake/holes-4x4"
gamma = bl.make_tasks(family).gamma
(lake_map,) = lakes.sample_maps(family, 1, torch.Generator().manual_seed(16 * seed))
lake = lakes.lake_task(lake_map, lakes.HOLES)
untrained = torch.zeros(16, 4, dtype=torch.float64)
nu, q = collect(untrained, lake, gamma)
value = (torch.softmax(untrained, dim=-1) * q).sum(-1)
fig, axes = plt.subplots(1, 2, figsize=(6, 3.2))
_ = plots.draw_lake(lake_map, nu, ax=axes[0], title="occupancy ν")
_ = plots.draw_lake(lake_map, value, ax=axes[1], title="value V = Σ π Q")

# %% [markdown]
# *All that Alg knows of this lake: where the uniform policy spends its time, and what its actions are worth (their average over actions is shown). Holes cost 1 at every step, the goal pays 1 at every step.*
#
# ## 3.1 The surrogate
#
# What do data of $\pi_\phi$ say about *another* policy $\pi_\theta$? Weigh every action that was taken by how much more often $\pi_\theta$ takes it:
#
# $$L(\theta)=\mathbb E_{s\sim\nu,\;a\sim\pi_\phi}\left[\frac{\pi_\theta(a\mid s)}{\pi_\phi(a\mid s)}\,Q(s,a)\right].$$
#
# <details><summary>Hint 1: the idea</summary>
#
# With samples you would need the ratio. Here you may write the expectation as a sum over all states and actions, and something cancels.
#
# <details><summary>Hint 2: the equation</summary>
#
# $L(\theta)=\sum_s\nu(s)\sum_a\pi_\theta(a\mid s)\,Q(s,a)$, where $\nu$ and $Q$ are those of $\pi_\phi$.
#
# <details><summary>Hint 3: almost code</summary>
#
# `collect` at `phi` gives both tables. Multiply `nu[:, None]` (a column), the softmax of `theta` and Q, and sum over everything.
#
# </details></details></details>


# %% tags=["exercise"] exercise="3.1"
def surrogate(theta, phi, task, gamma):
    r"""Return L(theta), a tensor without dimensions.

    L(theta) = E_{s ~ nu, a ~ pi_phi}[ pi_theta(a | s) / pi_phi(a | s) Q(s, a) ]

    theta: logits of the policy in question, [S, A]. phi: logits of the policy that collected the
    data, [S, A]. task: the record above. gamma: discount in [0, 1).
    Gradients must flow from the answer to theta, and through the data to phi. About 2 lines.
    """
    # BEGIN SOLUTION
    nu, q = collect(phi, task, gamma)
    return (nu[:, None] * theta.softmax(-1) * q).sum()
    # END SOLUTION


# %% tags=["check"]
surrogate = checks.surrogate(surrogate)

# %% [markdown]
# **See it.** From the uniform policy (share 0) towards the one that is greedy for its $Q$ (share 1): what your $L$ promises, $J(\phi)+\frac{L(\theta)-L(\phi)}{1-\gamma}$, and what is kept.

# %%
greedy = torch.nn.functional.one_hot(q.argmax(-1), 4).double()
rows = []
for share in torch.linspace(0, 0.999, sizes["points"]).tolist():
    mixed = ((1 - share) * torch.softmax(untrained, dim=-1) + share * greedy).log()
    base = surrogate(untrained, untrained, lake, gamma)
    gained = (surrogate(mixed, untrained, lake, gamma) - base) / (1 - gamma)
    promised = policy_return(untrained, lake, gamma) + gained
    rows += [(share, promised.item(), "promised by L")]
    rows += [(share, policy_return(mixed, lake, gamma).item(), "return J")]
frame = pd.DataFrame(rows, columns=["share of the greedy policy", "return", ""])
fig, ax = plt.subplots(figsize=(4.6, 3))
_ = sns.lineplot(frame, x="share of the greedy policy", y="return", hue="", style="", ax=ax)

# %% [markdown]
# *$L$ is linear in the probabilities and touches $J$, slope included, at the policy that collected the data. Further away the two part: $Q$ and $\nu$ belong to a policy that is left behind. How far may one go? That needs a distance.*
#
# ## 3.2 A distance between policies
#
# $$D_1^2(\pi_\phi,\pi_\theta)=\mathbb E_{s\sim\nu}\Big[\mathrm{KL}\big(\pi_\phi(\cdot\mid s)\,\|\,\pi_\theta(\cdot\mid s)\big)\Big],\qquad \mathrm{KL}(p\,\|\,p')=\sum_a p(a)\log\frac{p(a)}{p'(a)}.$$
#
# The second distance of the course, $D_2^2$, has the arguments of KL exchanged; with your function it is one call, `kl_distance(theta, phi, nu)`.
#
# <details><summary>Hint 1: the idea</summary>
#
# A number for every state first, then the average over states. Who collected the states takes part only through `nu`.
#
# <details><summary>Hint 2: the equation</summary>
#
# $\sum_s\nu(s)\sum_a\pi_\phi(a\mid s)\,\big(\log\pi_\phi(a\mid s)-\log\pi_\theta(a\mid s)\big)$.
#
# <details><summary>Hint 3: almost code</summary>
#
# Take `log_softmax(-1)` of both tables, never the logarithm of a softmax: a policy may be so sure that a probability is rounded to 0, and $0\cdot\log 0$ would be nan. `.exp()` of the first one makes the weights $\pi_\phi$.
#
# </details></details></details>


# %% tags=["exercise"] exercise="3.2"
def kl_distance(phi, theta, nu):
    r"""Return D1^2(pi_phi, pi_theta) in nats, a tensor without dimensions.

    D1^2 = sum_s nu(s) KL(pi_phi(. | s) || pi_theta(. | s))

    phi, theta: logits of two policies, [S, A]. nu: weights of the states, [S], summing to 1.
    Gradients must flow from the answer to phi and to theta. It must survive a pi_phi that never
    takes some action. About 2 lines.
    """
    # BEGIN SOLUTION
    log_phi, log_theta = phi.log_softmax(-1), theta.log_softmax(-1)
    return (nu[:, None] * log_phi.exp() * (log_phi - log_theta)).sum()
    # END SOLUTION


# %% tags=["check"]
kl_distance = checks.kl_distance(kl_distance)

# %% [markdown]
# **See it.** One state, four actions, $\pi_\phi$ uniform; $\pi_\theta$ takes the first action with growing probability.

# %%
one = torch.ones(1, dtype=torch.float64)
first = r"$D_1^2=\mathrm{KL}(\pi_\phi\,\|\,\pi_\theta)$"
second = r"$D_2^2=\mathrm{KL}(\pi_\theta\,\|\,\pi_\phi)$"
rows = []
for p in (1 - torch.logspace(-0.12, -6, sizes["points"]).double()).tolist():
    sure = torch.tensor([[p, *[(1 - p) / 3] * 3]], dtype=torch.float64).log()
    flat = torch.zeros_like(sure)
    rows.append((1 - p, kl_distance(flat, sure, one).item(), first))
    rows.append((1 - p, kl_distance(sure, flat, one).item(), second))
frame = pd.DataFrame(rows, columns=["probability left for the other actions", "nats", ""])
fig, ax = plt.subplots(figsize=(4.6, 3))
sns.lineplot(frame, x="probability left for the other actions", y="nats", hue="", style="", ax=ax)
ax.axhline(torch.log(torch.tensor(4.0)).item(), color=plots.INK, lw=1, ls=":")
ax.text(1, 1.45, "log 4 ", fontsize=8, color=plots.INK)
ax.set(xscale="log")
ax.invert_xaxis()

# %% [markdown]
# *The two directions agree near $\pi_\phi$ and differ for sure policies: to drop an action costs without limit in $D_1$, and at most $\log 4$ in all in $D_2$. What that does to the adapted policy, the next two exercises show.*
#
# ## 3.3 Alg with D2
#
# Universal policy adaptation maximises what the data promise, less a price for distance:
#
# $$\theta'=\arg\max_\theta\;L(\theta)-\lambda\,D^2(\pi_\phi,\pi_\theta).$$
#
# With a table of logits every state can be solved alone, and $\nu(s)$, a common factor of both terms, drops out. For $D_2$ that leaves, in each state,
#
# $$\max_{\pi}\;\sum_a\pi(a)\,Q(s,a)-\lambda\sum_a\pi(a)\log\frac{\pi(a)}{\pi_\phi(a\mid s)}.$$
#
# <details><summary>Hint 1: the idea</summary>
#
# Differentiate in $\pi(a)$. At the maximum on the simplex all these derivatives are one and the same number (the multiplier of $\sum_a\pi(a)=1$). Solve for $\log\pi(a)$.
#
# <details><summary>Hint 2: the equation</summary>
#
# $Q(s,a)-\lambda\log\frac{\pi(a)}{\pi_\phi(a\mid s)}-\lambda=\mu$, hence $\pi(a)\propto\pi_\phi(a\mid s)\,e^{Q(s,a)/\lambda}$: *exponential tilting*.
#
# <details><summary>Hint 3: almost code</summary>
#
# The logarithm of that product is a sum, and "proportional to" is the softmax's business: in logits one short expression in `phi`, `q` and `lam` remains.
#
# </details></details></details>


# %% tags=["exercise"] exercise="3.3"
def adapt_d2(phi, q, lam):
    r"""Return logits of the adapted policy, [S, A].

    argmax_pi  sum_a pi(a) Q(s, a) - lam KL(pi || pi_phi(. | s))  in every state s

    phi: logits of the policy that collected the data, [S, A]. q: its Q, [S, A]. lam: weight of the
    distance, > 0, in units of return.
    Gradients must flow from the answer to phi and q. 1 line.
    """
    # BEGIN SOLUTION
    return phi + q / lam
    # END SOLUTION


# %% tags=["check"]
adapt_d2 = checks.adapt_d2(adapt_d2)

# %% [markdown]
# ## 3.4 Alg with D1
#
# The same with the other direction, in each state
#
# $$\max_{\pi}\;\sum_a\pi(a)\,Q(s,a)-\lambda\sum_a\pi_\phi(a\mid s)\log\frac{\pi_\phi(a\mid s)}{\pi(a)}.$$
#
# This time the multiplier $\mu$ stays in the answer: one number per state, the root of an equation. It has no formula, but it has a bracket.
#
# **Half of it first:** on paper, or in a cell of your own, write the equation as $f(\mu)=0$ and find the slope $f'(\mu)$. For $\lambda=\frac43$, $\pi_\phi=(\frac14,\frac34)$ and $Q=(\frac43,0)$ the root is $\mu=2$: does your $f$ say 0 there, and your slope $-1$?
#
# <details><summary>Hint 1: the idea</summary>
#
# As before: set all derivatives in $\pi(a)$ to one $\mu$ and solve for $\pi(a)$. Which $\mu$? The one with which the probabilities sum to 1; find it numerically, in all states at once.
#
# <details><summary>Hint 2: the equations</summary>
#
# $$\pi(a)=\frac{\lambda\,\pi_\phi(a\mid s)}{\mu-Q(s,a)},\qquad f(\mu)=\sum_a\frac{\lambda\,\pi_\phi(a\mid s)}{\mu-Q(s,a)}-1=0.$$
#
# To the right of $\max_a Q$ the function $f$ falls and is convex, so it has one root there, and $\max_a\big[Q(s,a)+\lambda\pi_\phi(a\mid s)\big]\le\mu\le\max_a Q(s,a)+\lambda$. Newton's method, started at the *left* end, climbs to the root without ever passing it. It also hands on the derivatives of the root. Bisection needs no derivative and gives none: after it, add a Newton step.
#
# <details><summary>Hint 3: almost code</summary>
#
# Start with the left end: `.max(-1, keepdim=True).values` keeps a column `[S, 1]`. Repeat thirty times `mu = mu - f / slope`, where the slope $f'(\mu)=-\sum_a\lambda\pi_\phi/(\mu-Q)^2$. Then return the logarithm of $\pi(a)$; as in 3.2, take $\log\pi_\phi$ from `log_softmax`.
#
# </details></details></details>


# %% tags=["exercise"] exercise="3.4"
def adapt_d1(phi, q, lam):
    r"""Return logits of the adapted policy, [S, A], right to 1e-9.

    argmax_pi  sum_a pi(a) Q(s, a) - lam KL(pi_phi(. | s) || pi)  in every state s

    phi: logits of the policy that collected the data, [S, A]. q: its Q, [S, A]. lam: weight of the
    distance, > 0, in units of return.
    Gradients must flow from the answer to phi and q: lesson 04a differentiates Alg. About 8 lines.
    """
    # BEGIN SOLUTION
    log_probs = phi.log_softmax(-1)
    weights = lam * log_probs.exp()
    mu = (q + weights).max(-1, keepdim=True).values
    for _ in range(30):
        excess = (weights / (mu - q)).sum(-1, keepdim=True) - 1
        slope = -(weights / (mu - q) ** 2).sum(-1, keepdim=True)
        mu = mu - excess / slope
    return log_probs + (lam / (mu - q)).log()
    # END SOLUTION


# %% tags=["check"]
adapt_d1 = checks.adapt_d1(adapt_d1)

# %% [markdown]
# **See it.** One state whose prior prefers the worst action, adapted with less and less weight on the distance.

# %%
prior = torch.tensor([[0.1, 0.2, 0.3, 0.4]], dtype=torch.float64)
worth = torch.tensor([[1.0, 0.8, 0.0, -1.0]], dtype=torch.float64)
names = [
    f"a{k}: Q = {v:g}, prior {p:g}"
    for k, (v, p) in enumerate(zip(worth[0].tolist(), prior[0].tolist(), strict=True))
]
rows = []
for lam in torch.logspace(1.5, -2, sizes["points"]).tolist():
    for title, alg in (("D1", adapt_d1), ("D2", adapt_d2)):
        probs = alg(prior.log(), worth, lam).softmax(-1)[0].tolist()
        rows += [(lam, p, name, title) for name, p in zip(names, probs, strict=True)]
frame = pd.DataFrame(rows, columns=["λ", "probability", "action", "distance"])
fig, axes = plt.subplots(1, 2, figsize=(8, 3.2), sharey=True)
for ax, (title, part) in zip(axes, frame.groupby("distance"), strict=True):
    sns.lineplot(part, x="λ", y="probability", hue="action", style="action", ax=ax)
    ax.set(xscale="log", yscale="log", ylim=(1e-5, 1.5), title=f"Alg with {title}")
    ax.invert_xaxis()
axes[0].get_legend().remove()

# %% [markdown]
# *Probability of every action over $\lambda$, which falls from left to right. For large $\lambda$ both stay at the prior. For small $\lambda$ both choose the best action, but $D_1$ lets the others go only in proportion to $\lambda$, $D_2$ exponentially (its lines leave the picture).*
#
# ## 3.5 The natural gradient inside
#
# For a large $\lambda$ steps are short: keep the slope of $L$ at $\phi$ and the curvature of $D^2$ there, and Alg becomes the **natural policy gradient**
#
# $$\theta=\phi+\frac1\lambda F^{+}\,\nabla L(\phi),\qquad F=\nabla_\theta^2\,D^2(\pi_\phi,\pi_\theta)\big|_{\theta=\phi},$$
#
# the same $F$, the Fisher information, for $D_1$ and $D_2$.
#
# <details><summary>Hint 1: the idea</summary>
#
# $F$ falls apart into one small matrix per state. You can build it and solve, or find its answer on paper, which is surprisingly short.
#
# <details><summary>Hint 2: the equations</summary>
#
# In state $s$: $F_s=\nu(s)\,\big(\mathrm{diag}\,\pi-\pi\pi^\top\big)$ and $\partial L/\partial\theta(s,a)=\nu(s)\,\pi(a\mid s)\,A(s,a)$ with $A=Q-V$. Which vector does $F_s$ map to that slope? Try $A(s,\cdot)$ itself, and remember $\sum_a\pi(a\mid s)A(s,a)=0$.
#
# <details><summary>Hint 3: almost code</summary>
#
# `collect` Q, subtract its average over actions under the policy, divide by `lam`, add to `phi`. Then compare with 3.3: logits have a gauge.
#
# </details></details></details>


# %% tags=["exercise"] exercise="3.5"
def natural_gradient_step(phi, task, gamma, lam):
    r"""Return the logits after one natural-gradient step, [S, A].

    theta = phi + 1 / lam F^+ grad L(phi),  F = Hessian of D^2(pi_phi, pi_theta) at theta = phi

    phi: logits of the policy that collects the data, [S, A]. task: the record above. gamma: discount
    in [0, 1). lam: weight of the distance, > 0. Every state is visited. About 3 lines.
    """
    # BEGIN SOLUTION
    _, q = collect(phi, task, gamma)
    values = (phi.softmax(-1) * q).sum(-1, keepdim=True)
    return phi + (q - values) / lam
    # END SOLUTION


# %% tags=["check"]
natural_gradient_step = checks.natural_gradient_step(natural_gradient_step)

# %% [markdown]
# **See it.** How far is your Alg from the classic steps? And MAML's step, which is Alg with $D_3^2=\|\theta-\phi\|^2$ and the slope of $L$: maximising $\langle\nabla L,\theta-\phi\rangle-\lambda\|\theta-\phi\|^2$ gives a plain gradient step of length $1/(2\lambda)$. In MAML's units, $\alpha=(1-\gamma)/(2\lambda)$.

# %%
rows, tilted = [], []
for lam in torch.logspace(0, 4, sizes["points"]).tolist():
    step = natural_gradient_step(untrained, lake, gamma, lam).softmax(-1)
    length = (step - untrained.softmax(-1)).norm()
    rows.append((lam, ((adapt_d1(untrained, q, lam).softmax(-1) - step).norm() / length).item()))
    tilted.append((adapt_d2(untrained, q, lam).softmax(-1) - step).norm() / length)
frame = pd.DataFrame(rows, columns=["λ", "distance to the natural step"])
fig, ax = plt.subplots(figsize=(4.6, 3))
sns.lineplot(frame, x="λ", y="distance to the natural step", label="Alg with D1", ax=ax)
guide = [rows[-1][1] * rows[-1][0] / lam for lam in (10.0, 1e4)]
ax.plot((10.0, 1e4), guide, color=plots.INK, lw=1, ls=":", label="proportional to 1/λ")
ax.set(xscale="log", yscale="log")
ax.legend()
print(f"Alg with D2: at most {max(tilted):.1e}")

slope = torch.func.grad(lambda theta: surrogate(theta, untrained, lake, gamma))(untrained)
climb = torch.func.grad(lambda phi: policy_return(phi, lake, gamma))(untrained)
lam = 0.01
plain, maml = untrained + slope / (2 * lam), untrained + (1 - gamma) / (2 * lam) * climb
print(f"largest difference of the plain step and MAML's: {(plain - maml).abs().max():.1e}")

# %% [markdown]
# *Distance to the natural-gradient step, relative to the length of that step. For $D_1$ it falls like $1/\lambda$: the two agree in the limit of short steps. For $D_2$ it is rounding at every $\lambda$: with a table of logits, exponential tilting **is** the natural step.*
#
# ## 3.6 The bound that Alg maximises
#
# Why should the return go up at all? Because of
#
# $$\underline J(\theta)=J(\phi)+\frac{L(\theta)-L(\phi)-\lambda\,D_1^2(\pi_\phi,\pi_\theta)}{1-\gamma}.$$
#
# It equals $J$ at $\theta=\phi$, and for a large enough $\lambda$ it is nowhere above $J$. Alg maximises it, so for such a $\lambda$ the return cannot fall.
#
# <details><summary>Hint 1: the idea</summary>
#
# You have every part. Watch which of them are multiplied by $1/(1-\gamma)$: $L$ averages with a $\nu$ that sums to 1, $J$ sums over time.
#
# <details><summary>Hint 2: the equation</summary>
#
# It stands above. $L(\phi)$ is your surrogate with `theta` equal to `phi`; in $D_1$ the states are weighed by the $\nu$ of $\pi_\phi$, and $\pi_\phi$ comes first.
#
# <details><summary>Hint 3: almost code</summary>
#
# `policy_return` at `phi`, plus a fraction: two calls of `surrogate`, one of `kl_distance` with `nu` from `collect`, divided by `1 - gamma`.
#
# </details></details></details>


# %% tags=["exercise"] exercise="3.6"
def lower_bound(theta, phi, task, gamma, lam):
    r"""Return the lower bound of J(theta), a tensor without dimensions.

    J(phi) + (L(theta) - L(phi) - lam D1^2(pi_phi, pi_theta)) / (1 - gamma)

    theta: logits of the policy in question, [S, A]. phi: logits of the policy that collected the
    data, [S, A]. task: the record above. gamma: discount in [0, 1). lam: weight of the distance, > 0.
    About 4 lines.
    """
    # BEGIN SOLUTION
    visits, _ = collect(phi, task, gamma)
    gained = surrogate(theta, phi, task, gamma) - surrogate(phi, phi, task, gamma)
    beyond = gained - lam * kl_distance(phi, theta, visits)
    return policy_return(phi, task, gamma) + beyond / (1 - gamma)
    # END SOLUTION


# %% tags=["check"]
lower_bound = checks.lower_bound(lower_bound)

# %% [markdown]
# **See it.** The policy that Alg finds for every $\lambda$, its return, and what the bound had promised. From $\lambda_0=2\gamma A_{\max}/\big((1-\gamma)\sqrt{\nu_{\min}}\big)$ on the bound is proved (lesson 05a has the proof).

# %%
safe = bl.rigorous_lambda(
    {"logits": untrained}, lake, policy=bl.tabular_softmax(16, 4), gamma=gamma
).item()
rows = []
for lam in torch.logspace(-1, 4, sizes["points"]).tolist():
    theta = adapt_d1(untrained, q, lam)
    rows.append((lam, policy_return(theta, lake, gamma).item(), "return J of Alg's policy"))
    rows.append((lam, lower_bound(theta, untrained, lake, gamma, lam).item(), "its lower bound"))
frame = pd.DataFrame(rows, columns=["λ", "return", ""])
fig, ax = plt.subplots(figsize=(5, 3.2))
sns.lineplot(frame, x="λ", y="return", hue="", style="", ax=ax)
ax.axvline(safe, color=plots.INK, lw=1, ls=":")
ax.text(safe, ax.get_ylim()[1], " λ₀", va="top", fontsize=9, color=plots.INK)
before = policy_return(untrained, lake, gamma).item()
ax.axhline(before, color=plots.INK, lw=1, ls=":")
ax.text(0.1, before, "before adaptation", va="bottom", ha="right", fontsize=8, color=plots.INK)
ax.set(xscale="log")
ax.invert_xaxis()
above = [
    bound > value + 1e-12
    for (_, value, _), (_, bound, _) in zip(rows[::2], rows[1::2], strict=True)
]
print(f"λ₀ = {safe:.0f}; bound above the return at {sum(above)} of {len(above)} values of λ")

# %% [markdown]
# *Return after one adaptation and its bound over $\lambda$, which falls from left to right. At the proved $\lambda_0$ the policy hardly moves. Far below it the return still rises, without any guarantee; at the smallest $\lambda$ the "bound" promises more than there is. The printed line counts those values of $\lambda$.*
#
# ## 3.7 Many steps
#
# One adaptation uses the data of one policy. If the task allows it, collect again with the adapted policy, and adapt again from there:
#
# $$\theta_0=\phi,\qquad\theta_{k+1}=\mathrm{Alg}\big(\pi_{\theta_k},\lambda,\tau\big).$$
#
# `alg` is a function like your `adapt_d1` and `adapt_d2`: `alg(phi, q, lam)` returns logits.
#
# <details><summary>Hint 1: the idea</summary>
#
# In every round the newest policy takes both roles of $\phi$: it collects the data, and the distance is measured from it.
#
# <details><summary>Hint 2: the equation</summary>
#
# With $Q_k$ the action values of $\pi_{\theta_k}$: $\theta_{k+1}=$ `alg`$(\theta_k, Q_k, \lambda)$, for $k=0,\dots,K-1$. That makes $K+1$ tables, $\phi$ among them.
#
# <details><summary>Hint 3: almost code</summary>
#
# A list that begins with `phi`; in a loop, `collect` at its last entry and append what `alg` returns; `torch.stack` in the end.
#
# </details></details></details>


# %% tags=["exercise"] exercise="3.7"
def adapt_repeatedly(alg, phi, task, gamma, lam, num_steps):
    r"""Return phi and the logits after 1, ..., num_steps adaptations, [num_steps + 1, S, A].

    theta_0 = phi,  theta_{k+1} = alg(theta_k, Q of theta_k, lam)

    alg: function (phi, q, lam) -> theta. phi: meta-parameters, logits [S, A]. task: the record above.
    gamma: discount in [0, 1). lam: weight of the distance, > 0. num_steps: K >= 1. About 5 lines.
    """
    # BEGIN SOLUTION
    tables = [phi]
    for _ in range(num_steps):
        _, q = collect(tables[-1], task, gamma)
        tables.append(alg(tables[-1], q, lam))
    return torch.stack(tables)
    # END SOLUTION


# %% tags=["check"]
adapt_repeatedly = checks.adapt_repeatedly(adapt_repeatedly)

# %% [markdown]
# **See it.** Lakes from the held-out split, nothing learnt beforehand: every policy starts uniform. Your Alg with $D_1$ and $D_2$ against MAML's gradient step, with six rounds of data for each and three values of each hyperparameter, a factor 10 apart.


# %%
def maml_step(phi, task, step_size):
    """Take the gradient step of exercise 1.4."""
    return phi + step_size * torch.func.grad(policy_return)(phi, task, gamma)


def returns_after_steps(method, value, task):
    """Return J after 0, 1, ..., 6 adaptations with exact data of the task."""
    if method == "gradient step":
        tables = [untrained]
        for _ in range(6):
            tables.append(maml_step(tables[-1], task, value))
    else:
        alg = {"Alg with D1": adapt_d1, "Alg with D2": adapt_d2}[method]
        tables = adapt_repeatedly(alg, untrained, task, gamma, value, 6)
    return [policy_return(table, task, gamma).item() for table in tables]


grids = {
    "Alg with D1": ("λ", (5.0, 0.5, 0.05)),
    "Alg with D2": ("λ", (5.0, 0.5, 0.05)),
    "gradient step": ("α", (3.0, 30.0, 300.0)),
}
generator = torch.Generator().manual_seed(16 * seed + 2)
maps = lakes.sample_maps(family, sizes["num_test"], generator, "test")
unseen = [lakes.lake_task(each, lakes.HOLES) for each in maps]
results = pd.DataFrame(
    {"method": method, "with": f"{sign} = {value:g}", "lake": k, "steps": steps, "return": earned}
    for method, (sign, grid) in grids.items()
    for value in grid
    for k, task in enumerate(unseen)
    for steps, earned in enumerate(returns_after_steps(method, value, task))
)
best = bl.optimal_returns(lakes.stack_tasks(unseen), gamma).mean().item()
fig, axes = plt.subplots(1, 3, figsize=(9, 3.2), sharey=True)
for ax, (method, part) in zip(axes, results.groupby("method", sort=False), strict=True):
    look = {"hue": "with", "style": "with", "markers": True, "dashes": False}
    sns.lineplot(part, x="steps", y="return", errorbar=("pi", 80), ax=ax, **look)
    ax.axhline(best, color=plots.INK, lw=1, ls=":")
    ax.set(title=method, xlabel="adaptations", ylabel="return J", xticks=range(7))
    ax.legend(loc="lower right", fontsize=8)

# %% [markdown]
# *Return over the number of adaptations on held-out lakes: mean (line) and the middle 80 % of lakes (band); dotted, the mean optimum.*

# %%
for steps in (4, 6):
    print(f"return after {steps} adaptations, over lakes (mean optimum {best:.3f})")
    some = results[results.steps == steps].groupby(["method", "with"], sort=False)["return"]
    print(some.agg(["mean", "min"]).round(3).to_string(), "\n")
print("after one adaptation with λ = 0.05, chance of an optimal action where it is smallest:")
for name, alg in (("D1", adapt_d1), ("D2", adapt_d2)):
    chances = []
    for task in unseen:
        theta = adapt_repeatedly(alg, untrained, task, gamma, 0.05, 1)[-1]
        optimal = optimal_actions(task, gamma)
        # tiles that can be left, so that actions mean something
        open_tiles = task.transition.diagonal(dim1=0, dim2=2).min(0).values < 1
        chances.append((theta.softmax(-1) * optimal).sum(-1)[open_tiles].min().item())
    middle = sorted(chances)[len(chances) // 2]
    print(f"{name}: {min(chances):.0e} on the worst lake, {middle:.0e} on the median")

# %% [markdown]
# *What the picture shows: with exact data and a small enough $\lambda$, Alg comes close to the optimum in four to six rounds from a policy that has learnt nothing. So on these lakes a good return after several exact steps is no evidence of meta-learning. A smaller $\lambda$ is not always better: with $D_2$ and $\lambda=0.05$ some lakes earn next to nothing for four rounds, because the first round has made actions so rare that it takes more rounds to bring them back (the last printed lines); $D_1$ keeps them likelier. None of the three step sizes brings the gradient step close to the optimum on all lakes: a short one moves little, a long one makes the policy so sure that its next gradients are small (the factor $\pi$ of exercise 1.3).*
#
# *What it does not show: MAML's step from a prior that was meta-trained for it, which in set 01 came close in a single step; nor data from a few episodes, where a small $\lambda$ would trust noise.*
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
# - $L$ is what the data of one policy say about another; it touches $J$ at $\theta=\phi$ and is right only nearby.
# - With a table of logits, Alg is solved state by state: exponential tilting for $D_2$, the root of one equation for $D_1$. $D_1$ never drops an action quickly.
# - Short steps are all natural-gradient steps; with $D_2$ long ones are, too. With $D_3$ and the slope of $L$ one gets MAML's step.
# - Alg maximises a lower bound of the return. The $\lambda$ for which that is proved is far larger than the one that works best.
#
# ## Check yourself
#
# <details><summary>Someone runs adapt_d2 four times with the same lam, but each time with the Q of the first data. What has been computed?</summary>
#
# One adaptation with $\lambda/4$: every round adds $Q/\lambda$ to the logits. Repeating steps on one-time data is a way of choosing a smaller $\lambda$, not a way of learning more.
#
# </details>
#
# <details><summary>A state is never visited by the policy that collected the data. What do adapt_d1 and the natural gradient with the pseudo-inverse do there?</summary>
#
# `adapt_d1` moves it all the same, by its $Q$: after division by $\nu(s)$ the weight is gone, and 0/0 was filled in by continuity. In the natural gradient $F_s=0$, so $F_s^+=0$ and nothing moves. With samples there would be no $Q$ to move by.
#
# </details>
#
# <details><summary>In 3.4, why does Newton's method start at the left end of the bracket and not at the right?</summary>
#
# $f$ is convex and falls. From the left of the root a tangent crosses zero before $f$ does, so every step stays left and comes closer. From the right, where $f$ is flat, the first tangent can cross far to the left, beyond $\max_a Q$, where the probabilities are negative.
#
# </details>
#
# **Next:** [lesson 04a](../notebooks/04a_implicit_differentiation.ipynb) differentiates what you have solved here: how does $\theta'$ move when $\phi$ does?
