# %% [markdown]
# # Exercises 01 · The MAML baseline
#
# **After these exercises you have** written MAML for reinforcement learning from nothing: values, occupancies, the policy gradient, the adaptation step, the meta-gradient with its second-order term, and the gap that tells how good it all is. In the end your own functions train a meta-policy on Frozen Lake and test it on lakes that it has never seen.
#
# **Time:** about 90 minutes. **Lesson:** [01 · The MAML baseline](../notebooks/01_maml_baseline.ipynb), sections 1 to 4.
#
# **How it works.** Replace each `raise NotImplementedError` and run the cell, then the check below it. A check goes through numbered steps and stops at the first that fails: it says what it expected, what it got and, if it recognises the slip, the likely cause. Any right answer counts, whatever its form. To look at the arguments of a check's first question, the case that you can do by hand, call for example `checks.q_values.example()`. Where marks are given, the first line of a check's cell says what its steps are worth.
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

checks.use(unsolved)
begin(profile, seed)
plots.use_style()
torch.set_num_threads(1)
sizes = {
    "smoke": {"iterations": 3, "num_lakes": 2, "num_test": 2, "steps": 20},
    "class": {"iterations": 60, "num_lakes": 10, "num_test": 12, "steps": 400},
    "full": {"iterations": 150, "num_lakes": 20, "num_test": 40, "steps": 400},
}[profile]

# %% [markdown]
# ## The record that all exercises share
#
# A task is a record of three float64 tensors, for $S$ states and $A$ actions:
#
# | field | shape | meaning |
# |---|---|---|
# | `task.transition` | `[S, A, S]` | $P(s'\mid s,a)$, indexed `[s, a, s']` |
# | `task.reward` | `[S, A]` | $r(s,a)$: expected reward of the step that starts in $s$ with $a$ |
# | `task.start` | `[S]` | $\rho(s)$: distribution of the first state |
#
# A policy is a table `policy_probs[s, a]` $=\pi(a\mid s)$. From exercise 1.3 on it has parameters: a table of logits `phi` (or `theta`) `[S, A]` with $\pi_\phi(\cdot\mid s) = \mathrm{softmax}(\phi_s)$. Here is a lake to try things on, slippery as in gymnasium:

# %%
lake_map = ("SFFF", "FHFH", "FFFH", "HFFG")
lake = lakes.lake_task(lake_map, lakes.GYMNASIUM)
lake_gamma = 0.95
for field, tensor in lake._asdict().items():
    print(f"{field:<11}{tuple(tensor.shape)}  {tensor.dtype}")

# %% [markdown]
# ## 1.1 Action values
#
# $Q(s,a)$ is the expected discounted return if one takes $a$ in $s$ and follows $\pi$ from then on.
#
# <details><summary>Hint 1: the idea</summary>
#
# First find the value $V(s)$ of every state. One step of it must fit the next, which makes $S$ linear equations. Then look one step ahead from every $(s,a)$.
#
# <details><summary>Hint 2: the equations</summary>
#
# With $P_\pi(s,s')=\sum_a\pi(a\mid s)P(s'\mid s,a)$ and $r_\pi(s)=\sum_a\pi(a\mid s)\,r(s,a)$:
#
# $$(I-\gamma P_\pi)\,V = r_\pi,\qquad Q(s,a) = r(s,a)+\gamma\sum_{s'}P(s'\mid s,a)\,V(s').$$
#
# <details><summary>Hint 3: almost code</summary>
#
# `torch.einsum("sa,sat->st", ...)` makes $P_\pi$, `torch.linalg.solve(matrix, vector)` solves, and `@` between a `[S, A, S]` and a `[S]` tensor sums over $s'$. Give `torch.eye` the dtype of the reward.
#
# </details></details></details>


# %% tags=["exercise"] exercise="1.1"
def q_values(policy_probs, task, gamma):
    r"""Return Q of a policy, [S, A].

    Q(s, a) = E[ sum_t gamma^t r_t | s_0 = s, a_0 = a, then pi ]

    policy_probs: pi(a | s), [S, A]. task: the record above. gamma: discount in [0, 1).
    Gradients must flow from the answer to policy_probs: later exercises need them.
    About 5 lines.
    """
    # BEGIN SOLUTION
    moves = torch.einsum("sa,sat->st", policy_probs, task.transition)
    paid = (policy_probs * task.reward).sum(-1)
    eye = torch.eye(len(paid), dtype=paid.dtype)
    values = torch.linalg.solve(eye - gamma * moves, paid)
    return task.reward + gamma * task.transition @ values
    # END SOLUTION


# %% tags=["check"]
q_values = checks.q_values(q_values)

# %% [markdown]
# **See it.** Your function is all that *policy iteration* needs: in every state take the action with the largest $Q$, and repeat. It ends at an optimal policy.

# %%
uniform = torch.full_like(lake.reward, 0.25)
policies = [uniform]
for _ in range(5):
    greedy = q_values(policies[-1], lake, lake_gamma).argmax(-1)
    policies.append(torch.nn.functional.one_hot(greedy, 4).double())
fig, axes = plt.subplots(1, 2, figsize=(6, 3.2))
for probs, name, ax in zip((uniform, policies[-1]), ("uniform", "improved"), axes, strict=True):
    state_values = (probs * q_values(probs, lake, lake_gamma)).sum(-1)
    title = f"{name}: V(S) = {state_values[0]:.3f}"
    plots.draw_lake(lake_map, state_values, probs, ax=ax, title=title)
start_values = [(p * q_values(p, lake, lake_gamma)).sum(-1)[0].item() for p in policies]
print("V(S) after 0, 1, 2, ... improvements:", " ".join(f"{v:.6f}" for v in start_values))

# %% [markdown]
# *State values (colour and number, each lake has its own scale) and policy (arrows), before and after improvement with your Q. On this lake the very first improvement ends at the optimum; next to holes it walks into walls, for there slipping cannot kill it.*
#
# ## 1.2 Occupancy
#
# Where does a policy spend its discounted time? Normalised, the answer is a distribution over states:
#
# $$\nu(s) = (1-\gamma)\sum_{t\ge 0}\gamma^t\,\Pr(s_t=s).$$
#
# <details><summary>Hint 1: the idea</summary>
#
# Being in $s$ now has two reasons: having started there, or having moved there from the state before. That is again a linear system.
#
# <details><summary>Hint 2: the equation</summary>
#
# $\nu(s') = (1-\gamma)\,\rho(s') + \gamma\sum_s \nu(s)\,P_\pi(s,s')$. Probability flows *forward* here, so $P_\pi$ acts from the other side than on values.
#
# <details><summary>Hint 3: almost code</summary>
#
# The system of 1.1 with $P_\pi^\top$ (`.T`) in place of $P_\pi$ and $(1-\gamma)\rho$ in place of $r_\pi$. Whether $\nu$ sums to 1 is a test that you can do yourself, before the check does.
#
# </details></details></details>


# %% tags=["exercise"] exercise="1.2"
def occupancy(policy_probs, task, gamma):
    r"""Return the normalised discounted occupancy of a policy, [S]; it sums to 1.

    nu(s) = (1 - gamma) sum_t gamma^t Pr(s_t = s)

    policy_probs: pi(a | s), [S, A]. task: the record above. gamma: discount in [0, 1).
    Gradients must flow from the answer to policy_probs. About 3 lines.
    """
    # BEGIN SOLUTION
    moves = torch.einsum("sa,sat->st", policy_probs, task.transition)
    eye = torch.eye(len(moves), dtype=moves.dtype)
    return torch.linalg.solve(eye - gamma * moves.T, (1 - gamma) * task.start)
    # END SOLUTION


# %% tags=["check"]
occupancy = checks.occupancy(occupancy)

# %%
fig, axes = plt.subplots(1, 2, figsize=(6, 3.2))
for ax, probs, name in zip(axes, (uniform, policies[-1]), ("uniform", "optimal"), strict=True):
    visits = occupancy(probs, lake, lake_gamma)
    plots.draw_lake(lake_map, visits, probs, ax=ax, title=f"{name} policy", value_range=(0, 0.5))

# %% [markdown]
# *Your occupancy of the uniform and of the optimal policy, on one colour scale. The uniform policy soon lies in a hole. The optimal one takes its time along the walls, and holes get almost none of it.*
#
# ## 1.3 The policy gradient
#
# From here on the policy has logits, $\pi_\phi(\cdot\mid s)=\mathrm{softmax}(\phi_s)$. How does the return $J(\phi)=\sum_s\rho(s)V(s)$ change with every logit? Compute it from $\nu$ and $Q$ by the policy-gradient theorem, or let torch differentiate $J$: both are accepted. (The theorem is more fun, and shorter.)
#
# <details><summary>Hint 1: the idea</summary>
#
# The theorem needs no derivative of $\nu$ or $Q$, only that of $\pi$. Raising one logit of a state raises that action's probability and lowers *all others of the state*.
#
# <details><summary>Hint 2: the equations</summary>
#
# $$\nabla J=\frac1{1-\gamma}\sum_s\nu(s)\sum_a\nabla\pi_\phi(a\mid s)\,Q(s,a),\qquad \frac{\partial\pi(a\mid s)}{\partial\phi(s,b)}=\pi(a\mid s)\big(\mathbb 1[a=b]-\pi(b\mid s)\big).$$
#
# Put the second into the first, and the sum over $a$ leaves $\pi(b\mid s)\,\big(Q(s,b)-V(s)\big)$.
#
# <details><summary>Hint 3: almost code</summary>
#
# One entry per logit: $\nu(s)\,\pi(a\mid s)\,A(s,a)\,/\,(1-\gamma)$ with $A=Q-V$ and $V(s)=\sum_a\pi(a\mid s)Q(s,a)$. Call your `q_values` and `occupancy` with the probabilities; `x[:, None]` makes a column of `[S]`.
#
# </details></details></details>


# %% tags=["exercise"] exercise="1.3"
def policy_gradient(phi, task, gamma):
    r"""Return the gradient of J in the logits, [S, A].

    grad J = 1 / (1 - gamma) sum_s nu(s) sum_a grad pi_phi(a | s) Q(s, a)

    phi: logits of the policy, [S, A]. task: the record above. gamma: discount in [0, 1).
    The answer must itself be differentiable in phi, by torch.func.grad as well: MAML differentiates
    it again. So keep nu and Q attached (no .detach()), and with torch.autograd.grad pass
    create_graph=True. Leave phi as it is: no phi.requires_grad_(). About 5 lines.
    """
    # BEGIN SOLUTION
    probs = phi.softmax(-1)
    q = q_values(probs, task, gamma)
    advantage = q - (probs * q).sum(-1, keepdim=True)
    nu = occupancy(probs, task, gamma)
    return nu[:, None] * probs * advantage / (1 - gamma)
    # END SOLUTION


# %% tags=["check"]
policy_gradient = checks.policy_gradient(policy_gradient)

# %% [markdown]
# **See it.** Climbing along your gradient, from the uniform policy. For the return we use your `q_values`:


# %%
def policy_return(phi, task, gamma):
    """Return J(phi) = sum_s rho(s) sum_a pi_phi(a | s) Q(s, a), by your q_values."""
    policy_probs = torch.softmax(phi, dim=-1)
    return (task.start[:, None] * policy_probs * q_values(policy_probs, task, gamma)).sum()


logits, climb = torch.zeros_like(lake.reward), []
for _ in range(sizes["steps"]):
    climb.append(policy_return(logits, lake, lake_gamma).item())
    logits = (logits + 10.0 * policy_gradient(logits, lake, lake_gamma)).detach()
best = (lake.start[:, None] * policies[-1] * q_values(policies[-1], lake, lake_gamma)).sum().item()
fig, ax = plt.subplots(figsize=(4.6, 3))
ax.plot(climb)
ax.axhline(best, color=plots.INK, lw=1, ls=":")
ax.text(0, best, " optimal policy, from 1.1", va="bottom", fontsize=8, color=plots.INK)
ax.set(xlabel="gradient steps of size 10", ylabel="return J", ylim=(0, 1.15 * best))
fig.get_layout_engine().set(rect=(0, 0, 0.98, 1))

# %% [markdown]
# *Return of the policy over gradient steps on the slippery lake. It takes many steps to come close to the optimum. A meta-policy is to need one.*
#
# ## 1.4 The adaptation step
#
# MAML's $\mathrm{Alg}$ is a single policy-gradient step from the meta-parameters:
#
# $$\theta = \phi + \alpha\,\nabla J_\tau(\phi).$$
#
# <details><summary>Hint 1: the idea</summary>
#
# $J$ is a return, so we want more of it.
#
# <details><summary>Hint 2: the equation</summary>
#
# It stands above; $\alpha$ is `step_size`.
#
# <details><summary>Hint 3: almost code</summary>
#
# One expression: `phi` plus the step size times your `policy_gradient`. Make a new tensor: `phi += ...` would change the meta-parameters of everybody else.
#
# </details></details></details>


# %% tags=["exercise"] exercise="1.4"
def adapt(phi, task, gamma, step_size):
    r"""Return the adapted logits theta of one task, [S, A]; phi stays as it is.

    theta = phi + alpha grad J(phi)

    phi: meta-parameters, logits [S, A]. task: the record above. gamma: discount in [0, 1).
    step_size: alpha > 0.
    Gradients must flow from theta to phi, along both terms. 1 line.
    """
    # BEGIN SOLUTION
    return phi + step_size * policy_gradient(phi, task, gamma)
    # END SOLUTION


# %% tags=["check"]
adapt = checks.adapt(adapt)

# %% [markdown]
# **See it.** The lakes of the BO-MRL experiments do not slip; holes are for ever and cost 1 at every step, the goal pays 1 at every step. One step of size 10 from the uniform policy:

# %%
family = "frozen_lake/holes-4x4"
family_gamma, alpha = bl.make_tasks(family).gamma, 10.0


def draw_lakes_of(split, count, stream):
    """Draw maps of the family and their tasks."""
    generator = torch.Generator().manual_seed(16 * seed + stream)
    maps = lakes.sample_maps(family, count, generator, split)
    return maps, [lakes.lake_task(each, lakes.HOLES) for each in maps]


train_maps, train_lakes = draw_lakes_of("train", sizes["num_lakes"], stream=0)
test_maps, test_lakes = draw_lakes_of("test", sizes["num_test"], stream=2)
untrained = torch.zeros(16, 4, dtype=torch.float64)
adapted = adapt(untrained, train_lakes[0], family_gamma, alpha)
fig, axes = plt.subplots(1, 2, figsize=(6, 3.2))
for ax, table, name in zip(axes, (untrained, adapted), ("before", "after one step"), strict=True):
    earned = policy_return(table, train_lakes[0], family_gamma)
    plots.draw_lake(
        train_maps[0], None, table.softmax(-1), ax=ax, title=f"{name}: J = {earned:.2f}"
    )

# %% [markdown]
# *The uniform policy before and after your adaptation step on one lake. Near the start it now leans up and left, back into the corner: a single step from an untrained policy learns that holes exist, and next to nothing about the goal.*
#
# ## 1.5 The meta-gradient of MAML
#
# We want the gradient of the return *after* adaptation, in the parameters *before* it. By the chain rule
#
# $$\nabla_\phi\,J_\tau(\theta(\phi)) = \nabla J_\tau(\theta) + \alpha\,\nabla^2 J_\tau(\phi)\,\nabla J_\tau(\theta).$$
#
# The first term is of first order, the second of second order.
#
# <details><summary>Hint 1: the idea</summary>
#
# You need not write out a Hessian. Compose two functions that you have, from `phi` to $J(\theta)$, and differentiate the composition.
#
# <details><summary>Hint 2: the equation</summary>
#
# With $F(\phi)=J_\tau\big(\phi+\alpha\nabla J_\tau(\phi)\big)$ the answer is $\nabla F(\phi)$: automatic differentiation applies the chain rule by itself.
#
# <details><summary>Hint 3: almost code</summary>
#
# Define an inner function of one argument that calls `adapt`, then `policy_return` on its result, and pass it to `torch.func.grad(...)`, which returns a function.
#
# </details></details></details>


# %% tags=["exercise"] exercise="1.5"
def maml_gradient(phi, task, gamma, step_size):
    r"""Return MAML's meta-gradient of one task, [S, A], with its second-order term.

    grad_phi J(theta(phi)) = (I + alpha grad^2 J(phi)) grad J(theta),  theta = adapt(phi)

    phi: meta-parameters, logits [S, A]. task: the record above. gamma: discount in [0, 1).
    step_size: alpha > 0. About 4 lines.
    """

    # BEGIN SOLUTION
    def return_after(start):
        theta = adapt(start, task, gamma, step_size)
        return policy_return(theta, task, gamma)

    return torch.func.grad(return_after)(phi)
    # END SOLUTION


# %% tags=["check"]
maml_gradient = checks.maml_gradient(maml_gradient)

# %% [markdown]
# ## 1.6 First-order MAML
#
# Leave the second-order term out: take $\partial\theta/\partial\phi$ to be the identity. It is cheaper, and sometimes it is enough. (In the lesson you saw when it is not.)
#
# <details><summary>Hint 1: the idea</summary>
#
# What remains is an ordinary policy gradient. The only question is: at which parameters?
#
# <details><summary>Hint 2: the equation</summary>
#
# $\nabla J_\tau(\theta)$ at $\theta=\theta(\phi)$, and nothing else.
#
# <details><summary>Hint 3: almost code</summary>
#
# Two calls of functions that you have: adapt first, then `policy_gradient` of what comes out.
#
# </details></details></details>


# %% tags=["exercise"] exercise="1.6"
def first_order_gradient(phi, task, gamma, step_size):
    r"""Return the first-order meta-gradient of one task, [S, A].

    grad J(theta) at theta = adapt(phi), without the second-order term

    phi: meta-parameters, logits [S, A]. task: the record above. gamma: discount in [0, 1).
    step_size: alpha > 0. About 2 lines.
    """
    # BEGIN SOLUTION
    theta = adapt(phi, task, gamma, step_size)
    return policy_gradient(theta, task, gamma)
    # END SOLUTION


# %% tags=["check"]
first_order_gradient = checks.first_order_gradient(first_order_gradient)

# %% [markdown]
# **See it.** Meta-training with your two gradients, on the same lakes, from the same start.


# %%
def meta_train(meta_gradient):
    """Climb the mean of the lakes' meta-gradients; return the meta-parameters and the curve."""
    table, curve = untrained.detach().clone(), []
    optimizer = torch.optim.Adam([table], lr=0.03, maximize=True)
    for _ in range(sizes["iterations"]):
        each = [meta_gradient(table, one, family_gamma, alpha) for one in train_lakes]
        table.grad = torch.stack(each).mean(0).detach()
        optimizer.step()
        earned = [
            policy_return(adapt(table, one, family_gamma, alpha), one, family_gamma)
            for one in train_lakes
        ]
        curve.append(torch.stack(earned).mean().item())
    return table, curve


trained = {
    "maml": meta_train(maml_gradient),
    "first_order_maml": meta_train(first_order_gradient),
}
fig, ax = plt.subplots(figsize=(4.6, 3))
for name, (_, curve) in trained.items():
    ax.plot(curve, color=plots.PRIORS[name], label=plots.LABELS[name])
ax.set(xlabel="meta-iteration", ylabel="mean return J after one step")
_ = ax.legend()

# %% [markdown]
# *Mean return over the training lakes after one adaptation step: one run of each method on the same lakes, so look at the lesson's figure, which has several seeds, before you choose between them.*
#
# ## 1.7 The best return of a task
#
# To judge a meta-policy we need to know what each task has to offer: $J_\tau(\pi^*_\tau)=\max_\pi J_\tau(\pi)$.
#
# <details><summary>Hint 1: the idea</summary>
#
# Start from values 0 and look one step ahead with the best action, again and again: *value iteration*. (Or improve a policy, as you saw after 1.1.)
#
# <details><summary>Hint 2: the equation</summary>
#
# $V_{k+1}(s)=\max_a\big[r(s,a)+\gamma\sum_{s'}P(s'\mid s,a)\,V_k(s')\big]$. The error shrinks by $\gamma$ at every step: 300 steps are enough for $\gamma=0.9$.
#
# <details><summary>Hint 3: almost code</summary>
#
# A loop whose body is one line: the $Q$ of the current values, then `.max(-1).values`. In the end average the values by `task.start`.
#
# </details></details></details>


# %% tags=["exercise"] exercise="1.7"
def optimal_return(task, gamma):
    r"""Return J of the best policy of a task, a tensor without dimensions.

    J(pi*) = sum_s rho(s) V*(s),  V*(s) = max_a [ r(s, a) + gamma sum_s' P(s' | s, a) V*(s') ]

    task: the record above. gamma: discount in [0, 1). Right to 1e-9 for gamma <= 0.9. About 4 lines.
    """
    # BEGIN SOLUTION
    values = torch.zeros_like(task.start)
    for _ in range(300):
        values = (task.reward + gamma * task.transition @ values).max(-1).values
    return task.start @ values
    # END SOLUTION


# %% tags=["check"]
optimal_return = checks.optimal_return(optimal_return)

# %% [markdown]
# ## 1.8 The gap to every task's own optimum
#
# The strongest of the lesson's three metrics compares each task with *its own* best policy:
#
# $$\Delta_\tau(\phi) = J_\tau(\pi^*_\tau) - J_\tau\big(\theta_\tau(\phi)\big).$$
#
# <details><summary>Hint 1: the idea</summary>
#
# One number per task, each from that task alone. Averaging comes later, and only over gaps.
#
# <details><summary>Hint 2: the equation</summary>
#
# It stands above; $\theta_\tau(\phi)$ is one adaptation step in task $\tau$.
#
# <details><summary>Hint 3: almost code</summary>
#
# Loop over the tasks; in each, subtract the `policy_return` of the adapted parameters from your `optimal_return`; `torch.stack` the list.
#
# </details></details></details>


# %% tags=["exercise"] exercise="1.8"
def optimality_gap(phi, tasks, gamma, step_size):
    r"""Return the gap of every task after one adaptation step, [N]; no entry is negative.

    gap_tau = J_tau(pi*_tau) - J_tau(adapt(phi, tau))

    phi: meta-parameters, logits [S, A]. tasks: list of N task records. gamma: discount in [0, 1).
    step_size: alpha > 0. About 5 lines.
    """
    # BEGIN SOLUTION
    gaps = []
    for task in tasks:
        theta = adapt(phi, task, gamma, step_size)
        gaps.append(optimal_return(task, gamma) - policy_return(theta, task, gamma))
    return torch.stack(gaps)
    # END SOLUTION


# %% tags=["check"]
optimality_gap = checks.optimality_gap(optimality_gap)

# %% [markdown]
# **See it.** The verdict: lakes that training never saw, one adaptation step each, and an untrained prior beside the trained ones.

# %%
priors = {"untrained": untrained, **{name: table for name, (table, _) in trained.items()}}
gaps = pd.DataFrame(
    {"prior": plots.LABELS.get(name, name), "gap": gap}
    for name, table in priors.items()
    for gap in optimality_gap(table, test_lakes, family_gamma, alpha).tolist()
)
colours = [plots.PRIORS[name] for name in priors]
fig, ax = plt.subplots(figsize=(5, 3))
by_prior = {"x": "gap", "y": "prior", "hue": "prior", "palette": colours, "legend": False, "ax": ax}
sns.stripplot(gaps, alpha=0.5, jitter=False, **by_prior)
sns.pointplot(gaps, errorbar=None, linestyle="none", marker="|", markersize=30, **by_prior)
ax.set(xlabel="gap to the lake's own optimum after one step (return)", ylabel="", xlim=(0, None))
print(gaps.groupby("prior", sort=False)["gap"].mean().round(3).to_string())

# %% [markdown]
# *Gap of every held-out lake, one dot each; the bar is the mean. Zero would be perfect, and 1.64 is what a policy that earns nothing has. From MAML's prior the single step comes close to the optimum on most of these unseen lakes; a dot beyond the untrained ones is a lake where it ends in a hole. What keeps the gap open is the subject of lessons 03 to 05.*
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
# - Values and occupancies are linear solves with $I-\gamma P_\pi$ and its transpose.
# - The policy-gradient theorem needs $\nu$ and $Q$, not their derivatives. Its *derivative* needs both: cut them off, and MAML's second-order term comes out wrong.
# - MAML's meta-gradient is the gradient of a composition; first-order MAML evaluates an ordinary policy gradient at $\theta$.
# - A gap compares each task with its own optimum, and only then averages.
#
# ## Check yourself
#
# <details><summary>Your policy_gradient passes "random values" but fails "differentiable", with the cause "occupancy and Q are held constant". How can both be true?</summary>
#
# The theorem's first derivative is right whatever you do about the derivatives of $\nu$ and $Q$: they cancel. Differentiating once more, they no longer do. The Hessian is then that of a surrogate objective which takes the data as given: the frozen-data rung of lesson 02a.
#
# </details>
#
# <details><summary>The entries of the meta-gradient that belong to one state sum to 0. Why?</summary>
#
# Adding a constant to all logits of a state changes no probability, neither before adaptation nor after it (the inner gradient stays the same, so $\theta$ moves by the same constant). Hence $J(\theta)$ does not change in that direction.
#
# </details>
#
# <details><summary>A classmate reports max over tasks of the optimal return, minus the mean adapted return, as "the gap". On which families is that harmless, and what goes wrong elsewhere?</summary>
#
# It is harmless where all tasks have the same optimum, as on these lakes. Elsewhere it charges the meta-policy for what the poorer tasks do not contain: even perfect adaptation in every task would leave a gap.
#
# </details>
#
# **Next:** back to [lesson 01](../notebooks/01_maml_baseline.ipynb), section 5: three limitations of what you have just built.
