# %% [markdown]
# # Exercises 02 · Credit assignment
#
# **After these exercises you have** turned episodes into credit, and credit into derivatives: returns and advantages that know padding from an end, the objectives of LVC and DiCE, the three pieces of the Hessian, the score that E-MAML adds and the objective that ProMP climbs. In the end your functions train a meta-policy from episodes alone.
#
# **Time:** about two hours. **Lessons:** [02a · Estimators](../notebooks/02a_estimators.ipynb) for 2.1 to 2.7, [02b · Algorithms](../notebooks/02b_algorithms.ipynb) for 2.8. 2.1 and 2.2 prepare episodes, 2.3 to 2.6 take the Hessian apart, 2.7 and 2.8 are about what surrounds the adaptation. The set can be done alone: it imports nothing from set 01.
#
# **How it works.** Replace each `raise NotImplementedError` and run the cell, then the check below it. A check goes through numbered steps and stops at the first that fails: it says what it expected, what it got and, if it recognises the slip, the likely cause. Any right answer counts, whatever its form. `checks.dice_objective.example()` shows the arguments of a check's first question, the case that you can do by hand. Where marks are given, the first line of a check's cell says what its steps are worth.
#
# If you are stuck, set `unsolved = "reference"` in the next cell and restart: unsolved exercises are then lent the package's function. Hints unfold in three stages: the idea, the equation, almost the code.

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
from bomrl_lite.policies.networks import over_states
from bomrl_lite.rollout.collect import collect
from bomrl_lite.tasks.tabular import TabularSimulator

checks.use(unsolved)
begin(profile, seed)
plots.use_style()
torch.set_num_threads(1)
torch.set_default_dtype(torch.float64)  # derivatives of derivatives want all digits
sizes = {
    "smoke": {"episodes": 500, "batches": 10, "repeats": 2, "iterations": 2, "seeds": 1},
    "class": {"episodes": 20_000, "batches": 300, "repeats": 10, "iterations": 50, "seeds": 3},
    "full": {"episodes": 50_000, "batches": 2000, "repeats": 40, "iterations": 80, "seeds": 10},
}[profile]

# %% [markdown]
# ## What all exercises share
#
# Episodes are tables with one row per episode and one column per step, `[B, T]`. Where episodes are shorter than T, the rest of the row is **padding**: `mask` is 0 there, and whatever stands in the other tables never happened. From 2.3 on, tables come with 0 at padding.
#
# Two kinds of episodes are shorter, and they differ: one **terminated**, nothing follows, or it was **cut off**, and would have gone on.
#
# `weights` `[B]` say how much each episode counts: $1/B$ for a sample. The checks also hand you *every* path of a tiny game, with its probability as the weight. A sum over episodes is then an exact expectation, and an estimator that is said to be unbiased has to hit the truth to the last digits.
#
# The figures need a game, too: three states, two actions, six steps, and its exact return.

# %%
horizon, game_gamma = 6, 0.8
some = torch.Generator().manual_seed(seed)
chances = torch.rand(1, 3, 2, 3, generator=some) ** 8
chances = chances / chances.sum(-1, keepdim=True)
game = bl.tabular_task(chances, torch.randn(1, 3, 2, generator=some), torch.full((1, 3), 1 / 3))
game_phi = torch.randn(3, 2, generator=some) / 2


def play(thetas, tasks, num_episodes, num_steps, generator):
    """Let one policy per task collect; return states, actions, rewards [N, B, T]."""
    policy = over_states(bl.tabular_softmax(*thetas.shape[1:]))
    simulator = TabularSimulator(tasks, num_episodes, num_steps)
    rollout = collect(simulator, policy, {"logits": thetas}, generator)
    return rollout.observations, rollout.actions, rollout.rewards


def play_game(num_episodes, generator):
    """Collect episodes of the small game, [B, T] each."""
    tables = play(game_phi[None], game, num_episodes, horizon, generator)
    return tuple(table[0] for table in tables)


def exact_q(phi):
    """Return Q of every step of the small game, [T, S, A], from the last step to the first."""
    values, tables = torch.zeros(3), []
    for _ in range(horizon):
        tables.append(game.reward[0] + game_gamma * game.transition[0] @ values)
        values = (phi.softmax(-1) * tables[-1]).sum(-1)
    return torch.stack(tables[::-1])


def exact_return(phi):
    """Return J of the small game."""
    return game.start[0] @ (phi.softmax(-1) * exact_q(phi)[0]).sum(-1)


# %% [markdown]
# ## 2.1 Returns of padded episodes
#
# The return of a step is what it and all later steps pay:
#
# $$G_t=\sum_{u\ge t}\gamma^{u-t}\,r_u .$$
#
# An episode of $n$ steps that was cut off goes on, as far as we know, with the value of what was seen last: $\gamma^{n-t}\,V_\text{final}$ is added. One that terminated goes on with nothing. Three details, and each of them is a bug in somebody's code.
#
# <details><summary>Hint 1: the idea</summary>
#
# Walk backwards in time: the return of a step is its reward plus $\gamma$ times whatever follows. What follows the last step is known.
#
# <details><summary>Hint 2: the equation</summary>
#
# $G_t=r_t+\gamma G_{t+1}$ where the mask is 1; where it is 0, what follows is passed on as it is. Start with $V_\text{final}$, or with 0 where the episode terminated.
#
# <details><summary>Hint 3: almost code</summary>
#
# A loop over `reversed(range(T))` with one vector `[B]` of what follows, updated by `torch.where(mask[:, t] > 0, ..., ...)`. Collect a column per step, `torch.stack` them in the right order, and put 0 at padding.
#
# </details></details></details>


# %% tags=["exercise"] exercise="2.1"
def discounted_returns(rewards, mask, terminated, final_values, gamma):
    r"""Return G_t of every step, [B, T], and 0 at padding.

    G_t = sum_{u >= t} gamma^{u-t} r_u, plus gamma^{n-t} V_final where the episode was cut off

    rewards: [B, T], any number at padding. mask: [B, T], 1 for the n steps taken, then 0; n >= 1.
    terminated: [B], 1 if the episode ended by itself, 0 if it was cut off.
    final_values: V of what was seen after the last step, [B]. gamma: in [0, 1]. About 7 lines.
    """
    # BEGIN SOLUTION
    following = (1 - terminated) * final_values
    columns = []
    for t in reversed(range(rewards.shape[1])):
        here = mask[:, t] > 0
        following = torch.where(here, rewards[:, t] + gamma * following, following)
        columns.append(torch.where(here, following, 0.0))
    return torch.stack(columns[::-1], dim=1)
    # END SOLUTION


# %% tags=["check"]
discounted_returns = checks.discounted_returns(discounted_returns)

# %% [markdown]
# **See it.** A pendulum that is kept upright earns 1 a step; for ever, that is worth $1/(1-\gamma)=20$. Three records of 40 steps that end after 30:

# %%
endings = {"it fell": (1.0, 0.0), "cut off": (0.0, 20.0), "cut off, V forgotten": (0.0, 0.0)}
steps_taken = (torch.arange(40) < 30).double().expand(3, -1)
ended, value_after = torch.tensor(list(endings.values())).T
curves = discounted_returns(torch.ones(3, 40), steps_taken, ended, value_after, 0.95)
fig, ax = plt.subplots(figsize=(4.8, 2.8))
for label, curve, style in zip(endings, curves, ("-", "-", ":"), strict=True):
    ax.plot(curve, style, label=label, lw=2)
ax.axvspan(30, 39, color=plots.ICE)
ax.text(34.5, 10, "padding", ha="center", fontsize=8, color=plots.INK)
ax.set(xlabel="step t", ylabel="return from step t on", xlim=(0, 39))
_ = ax.legend(loc="lower left", bbox_to_anchor=(0, 0.08))

# %% [markdown]
# *Returns of three episodes that look alike until they end. Where the cut is mistaken for an end, the last steps of a perfect policy look as bad as those before a fall (the dotted line lies on the first).*
#
# ## 2.2 Generalised advantages
#
# A return is a noisy judge of an action: it depends on all later chance. A value function $V$ is a calm one that may be wrong. The generalised advantage estimate (Schulman et al., 1506.02438) has a dial between them, the trace $\lambda$:
#
# $$\hat A_t=\sum_{u\ge t}(\gamma\lambda)^{u-t}\,\delta_u,\qquad \delta_u=r_u+\gamma V(s_{u+1})-V(s_u).$$
#
# What is $V(s_{u+1})$ at the last step? The same question as before.
#
# <details><summary>Hint 1: the idea</summary>
#
# Two things walk backwards together: the sum of the errors, and the value of the state that comes next.
#
# <details><summary>Hint 2: the equations</summary>
#
# $\hat A_t=\delta_t+\gamma\lambda\hat A_{t+1}$. After the last step comes $V_\text{final}$, or 0 where the episode terminated; $V$ at padding means nothing.
#
# <details><summary>Hint 3: almost code</summary>
#
# As in 2.1, with two vectors: what follows in value (at first as there) and the running sum (at first 0). At padding both stay what they are; where a step was taken, the value becomes `values[:, t]`, after $\delta_t$ has used the old one.
#
# </details></details></details>


# %% tags=["exercise"] exercise="2.2"
def generalised_advantages(rewards, mask, terminated, values, final_values, gamma, trace):
    r"""Return the generalised advantage estimate of every step, [B, T], and 0 at padding.

    A_t = sum_{u >= t} (gamma trace)^{u-t} (r_u + gamma V(s_{u+1}) - V(s_u))

    values: V(s_t), [B, T], any number at padding. trace: in [0, 1]. The others are as in 2.1.
    About 10 lines.
    """
    # BEGIN SOLUTION
    next_values = (1 - terminated) * final_values
    total, columns = torch.zeros_like(final_values), []
    for t in reversed(range(rewards.shape[1])):
        here = mask[:, t] > 0
        error = rewards[:, t] + gamma * next_values - values[:, t]
        total = torch.where(here, error + gamma * trace * total, total)
        next_values = torch.where(here, values[:, t], next_values)
        columns.append(torch.where(here, total, 0.0))
    return torch.stack(columns[::-1], dim=1)
    # END SOLUTION


# %% tags=["check"]
generalised_advantages = checks.generalised_advantages(generalised_advantages)

# %% [markdown]
# **See it.** The dial on the small game, with values that are wrong on purpose: half of $V$ is missing. What matters is how the actions of a state compare, so the advantages of the first step are averaged by state and action, and centred in every state.

# %%
some = torch.Generator().manual_seed(seed)
states, actions, rewards = play_game(sizes["episodes"], some)
everywhere, no_end = torch.ones_like(rewards), torch.ones(len(rewards))
q_tables, probs = exact_q(game_phi), game_phi.softmax(-1)
true_values = (probs * q_tables).sum(-1)[torch.arange(horizon), states]
true_advantages = q_tables[0] - (probs * q_tables[0]).sum(-1, keepdim=True)
groups = states[:, 0] * 2 + actions[:, 0]
rows = []
for trace in torch.linspace(0, 1, 11).tolist():
    guess = 0.5 * true_values
    first = generalised_advantages(
        rewards, everywhere, no_end, guess, torch.zeros(len(rewards)), game_gamma, trace
    )[:, 0]
    parts = [first[groups == g] for g in range(6)]
    means = torch.stack([part.mean() for part in parts]).reshape(3, 2)
    bias = means - (probs * means).sum(-1, keepdim=True) - true_advantages
    spread = torch.stack([part.std() for part in parts]).mean()
    rows.append({"trace": trace, "what": "bias", "size": bias.abs().mean().item()})
    rows.append({"trace": trace, "what": "spread of one estimate", "size": spread.item()})
fig, ax = plt.subplots(figsize=(4.4, 2.8))
sns.lineplot(pd.DataFrame(rows), x="trace", y="size", hue="what", style="what", markers=True, ax=ax)
ax.set(xlabel="trace (the λ of the estimate)", ylabel="return", ylim=(0, None))
_ = ax.legend(title="")

# %% [markdown]
# *Bias (mean over states and actions) and standard deviation of the advantage of the first step. At trace 1 the wrong values cancel; at 0 the estimate believes them.*
#
# ## 2.3 The surrogate with low-variance curvature
#
# MAML needs the gradient of an objective in its inner step, and the *Hessian* of it on the way back. With episodes of $\pi_\phi$, the obvious objective is $\sum_t\log\pi_\phi(a_t|s_t)\,G_t$. Its gradient is right, and its Hessian is not: differentiating $\log\pi$ twice loses the product of scores. ProMP's remedy (Rothfuss et al., 1810.06784) is a ratio of $\pi_\phi$ to itself:
#
# $$J^{LVC}=\sum_b w_b\sum_t\gamma^t\,\frac{\pi_\phi(a_t|s_t)}{\bot\,\pi_\phi(a_t|s_t)}\,G_t,$$
#
# where $\bot$ ("stop") marks a number that records no gradient. The check compares the value, the first and the second derivatives with likelihood ratios whose denominators really are numbers. The last step hands you all paths of a game: the gradient must be that of $J$.
#
# <details><summary>Hint 1: the idea</summary>
#
# The ratio is 1. Its derivative is not 0, because only one half of it moves.
#
# <details><summary>Hint 2: the equation</summary>
#
# $\pi/\bot\pi=\exp(\log\pi-\bot\log\pi)$.
#
# <details><summary>Hint 3: almost code</summary>
#
# `.detach()` stops. `gamma ** tensor` raises to all powers at once; `torch.arange(T)` counts the steps, as integers: `.to(returns)` makes them numbers of the right precision. One sum over steps, one product with the weights.
#
# </details></details></details>


# %% tags=["exercise"] exercise="2.3"
def lvc_objective(log_probs, returns, weights, gamma):
    r"""Return sum_b w_b sum_t gamma^t (pi / stop(pi)) G_t, a differentiable tensor of no dimension.

    log_probs: log pi_phi(a_t | s_t), [B, T], recording a gradient; 0 at padding.
    returns: G_t or another credit of every step, [B, T]; 0 at padding. weights: w, [B].
    gamma: in [0, 1]. About 3 lines.
    """
    # BEGIN SOLUTION
    ratios = (log_probs - log_probs.detach()).exp()
    powers = gamma ** torch.arange(log_probs.shape[1]).to(returns)
    return weights @ (powers * ratios * returns).sum(-1)
    # END SOLUTION


# %% tags=["check"]
lvc_objective = checks.lvc_objective(lvc_objective)

# %% [markdown]
# ## 2.4 The magic box
#
# LVC has the right gradient, and part of the Hessian. DiCE (Foerster et al., 1802.05098) has derivatives of *every* order right in expectation. Each reward is multiplied by a box that holds all its causes, the actions up to its own:
#
# $$J^{DiCE}=\sum_b w_b\sum_t\gamma^t\;\square\Big(\sum_{u\le t}\log\pi_\phi(a_u|s_u)\Big)\,r_t,\qquad \square(x)=\exp(x-\bot x).$$
#
# The last step of the check counts all paths of a game again. This time the *Hessian* must be that of $J$, all of it.
#
# <details><summary>Hint 1: the idea</summary>
#
# The probability of everything that led to a reward is a product over steps; its logarithm is a running sum. That is 2.3 with a longer memory, and with rewards in place of returns.
#
# <details><summary>Hint 2: the equation</summary>
#
# $c_t=\sum_{u\le t}\log\pi_\phi(a_u|s_u)$ and $\gamma^t\,e^{c_t-\bot c_t}\,r_t$, summed over steps.
#
# <details><summary>Hint 3: almost code</summary>
#
# `.cumsum(-1)`; the rest is as in 2.3.
#
# </details></details></details>


# %% tags=["exercise"] exercise="2.4"
def dice_objective(log_probs, rewards, weights, gamma):
    r"""Return sum_b w_b sum_t gamma^t box(sum_{u <= t} log pi_u) r_t, a tensor of no dimension.

    log_probs: log pi_phi(a_t | s_t), [B, T], recording a gradient; 0 at padding.
    rewards: [B, T]; 0 at padding. weights: w, [B]. gamma: in [0, 1]. About 4 lines.
    """
    # BEGIN SOLUTION
    causes = log_probs.cumsum(-1)
    boxes = (causes - causes.detach()).exp()
    powers = gamma ** torch.arange(rewards.shape[1]).to(rewards)
    return weights @ (powers * boxes * rewards).sum(-1)
    # END SOLUTION


# %% tags=["check"]
dice_objective = checks.dice_objective(dice_objective)

# %% [markdown]
# **See it.** One number of the Hessian, the curvature of $J$ along a random direction, from many batches of 20 episodes of the small game. Both objectives are differentiated twice.


# %%
def log_probs_of(phi, states, actions):
    """Return log pi_phi(a_t | s_t), [B, T]."""
    return phi.log_softmax(-1)[states, actions]


def curvature(function):
    """Return <v, H v> at the policy of the small game, along one random direction."""
    direction = torch.randn(3, 2, generator=torch.Generator().manual_seed(seed))
    direction = direction / direction.norm()
    slope = torch.func.grad(function)
    bend = torch.func.grad(lambda x: (slope(x) * direction).sum())(game_phi)
    return (bend * direction).sum().item()


def both_curvatures(states, actions, rewards):
    """Return what LVC and DiCE say of it, from the same episodes."""
    equal, ones = torch.full((len(rewards),), 1 / len(rewards)), torch.ones_like(rewards)
    zeros = torch.zeros(len(rewards))
    credit = discounted_returns(rewards, ones, zeros + 1, zeros, game_gamma)

    def lvc(x):
        return lvc_objective(log_probs_of(x, states, actions), credit, equal, game_gamma)

    def dice(x):
        return dice_objective(log_probs_of(x, states, actions), rewards, equal, game_gamma)

    return {"LVC": curvature(lvc), "DiCE": curvature(dice)}


some = torch.Generator().manual_seed(seed)
each = [both_curvatures(*play_game(20, some)) for _ in range(sizes["batches"])]
bends = pd.DataFrame(each).melt(var_name="objective", value_name="curvature")
truth = curvature(exact_return)
fig, ax = plt.subplots(figsize=(4.8, 2.8))
sns.histplot(bends, x="curvature", hue="objective", element="step", bins=40, ax=ax)
ax.axvline(truth, color=plots.INK, lw=2, ls="--")
ax.set(xlabel="curvature along one direction, 20 episodes", ylabel="batches")
print(f"exact {truth:+.3f}")
print(bends.groupby("objective", sort=False)["curvature"].agg(["mean", "std"]).round(3))

# %% [markdown]
# *Estimates of one curvature of J; dashed, the exact one. LVC leaves terms out: its mean is off, and it is far less spread out. DiCE is right on average, and wide.*
#
# ## 2.5 How the data know phi: the gradient of Q
#
# Which terms does LVC leave out? $G_t$ is data, but data that $\pi_\phi$ has collected: other meta-parameters would have acted otherwise *later*, and the return would have been another. What the actions after step $t$ contribute to the gradient of $Q(s_t,a_t)$ can be estimated from the same episode:
#
# $$\widehat{\nabla_\phi Q}_t=\sum_{u>t}(\gamma\kappa)^{u-t}\,\nabla_\phi\log\pi_\phi(a_u|s_u)\;\hat A_u .$$
#
# At $\kappa=1$ it is unbiased if $\hat A$ is a return, with or without a baseline. Scores of late steps add more noise than knowledge, and $\kappa<1$ forgets them gradually. This is how $\pi_\phi$ influences the data that it collects. The check's last step gives you all paths of a game: averaged over those that begin with $(s,a)$, your estimate must be $\nabla Q_0(s,a)$, which the check knows from dynamic programming.
#
# <details><summary>Hint 1: the idea</summary>
#
# It is a discounted sum over the future, as in 2.1, of vectors, and it begins with the *next* step: $Q(s,a)$ is about a given $a$.
#
# <details><summary>Hint 2: the equation</summary>
#
# Walking backwards: $x_t=\gamma\kappa\,\big(x_{t+1}+\nabla\log\pi(a_{t+1}|s_{t+1})\,\hat A_{t+1}\big)$, and 0 at the last step.
#
# <details><summary>Hint 3: almost code</summary>
#
# Either the loop of the equation, or a matrix `[T, T]` with $(\gamma\kappa)^{u-t}$ where $u>t$, and `torch.einsum("tu,bun->btn", ...)`.
#
# </details></details></details>


# %% tags=["exercise"] exercise="2.5"
def q_gradient(scores, credit, gamma, trace):
    r"""Return the score estimate of grad_phi Q(s_t, a_t) of every step, [B, T, n].

    sum_{u > t} (gamma trace)^{u-t} grad log pi(a_u | s_u) A_u

    scores: grad_phi log pi_phi(a_t | s_t), [B, T, n]; 0 at padding. credit: a return or an
    advantage, [B, T]; 0 at padding. gamma: in [0, 1]. trace: kappa, in [0, 1]. About 6 lines.
    """
    # BEGIN SOLUTION
    gained = scores * credit.unsqueeze(-1)
    later, columns = torch.zeros_like(gained[:, 0]), []
    for t in reversed(range(gained.shape[1])):
        columns.append(later)
        later = gamma * trace * (later + gained[:, t])
    return torch.stack(columns[::-1], dim=1)
    # END SOLUTION


# %% tags=["check"]
q_gradient = checks.q_gradient(q_gradient)

# %% [markdown]
# **See it.** Error of the estimate on the small game, for the first state and action, over the trace, from few and from many episodes that begin there. Scores of a table of logits are looked up.


# %%
def scores_and_curvatures(phi, states, actions):
    """Return first and second derivatives of log pi in phi, [B, T, n] and [B, T, n, n]."""
    first = torch.func.jacrev(lambda x: x.log_softmax(-1))
    score, bend = first(phi), torch.func.jacrev(first)(phi)
    size = phi.numel()
    table = bend.reshape(*phi.shape, size, size)
    return score.reshape(*phi.shape, size)[states, actions], table[states, actions]


states, actions, rewards = play_game(sizes["episodes"], torch.Generator().manual_seed(seed))
begin = (states[:, 0] == 0) & (actions[:, 0] == 0)
states, actions, rewards = states[begin], actions[begin], rewards[begin]
scores, _ = scores_and_curvatures(game_phi, states, actions)
ones, zeros = torch.ones_like(rewards), torch.zeros(len(rewards))
credit = discounted_returns(rewards, ones, zeros + 1, zeros, game_gamma)
true_gradient = torch.func.grad(lambda x: exact_q(x)[0, 0, 0])(game_phi).flatten()
rows = []
for trace in torch.linspace(0, 1, 11).tolist():
    each = q_gradient(scores, credit, game_gamma, trace)[:, 0]
    for count in [n for n in (10, 100, 1000) if n <= len(each)]:
        means = each[: len(each) // count * count].reshape(-1, count, 6).mean(1)
        error = (means - true_gradient).square().sum(-1).mean().sqrt() / true_gradient.norm()
        rows.append({"trace": trace, "episodes": str(count), "error": error.item()})
fig, ax = plt.subplots(figsize=(4.4, 2.8))
sns.lineplot(pd.DataFrame(rows), x="trace", y="error", hue="episodes", style="episodes", ax=ax)
ax.axhline(1, color=plots.INK, lw=1, ls=":")
ax.text(1, 1.05, "as wrong as 0", fontsize=8, color=plots.INK, ha="right")
_ = ax.set(xlabel="trace (the κ of the estimate)", ylabel="relative error", yscale="log")

# %% [markdown]
# *Root mean square error, relative to the exact gradient. Above the dotted line it is better to leave the term out. The more episodes there are, the longer a memory they can feed.*
#
# ## 2.6 The Hessian in pieces
#
# Now all of it. The meta-parameters enter $J$ three times at every step: through the action, through what happens later, and through what happened before. The second derivative of $J$ is (Furmston et al., 2016; Rothfuss et al., 1810.06784)
#
# $$\nabla^2 J=H_1+H_2+H_{12}+H_{12}^\top,$$
#
# $$H_1=\mathbb E\sum_t\gamma^t\,g_t g_t^\top G_t,\qquad H_2=\mathbb E\sum_t\gamma^t\,C_t\,G_t,\qquad H_{12}=\mathbb E\sum_t\gamma^t\,g_t\,\widehat{\nabla Q}_t^{\,\top},$$
#
# with the score $g_t=\nabla\log\pi_\phi(a_t|s_t)$ and its derivative $C_t=\nabla^2\log\pi_\phi(a_t|s_t)$. Naive differentiation of a sampled gradient keeps $H_2$; LVC is $H_1+H_2$; adding $H_{12}$ is what BO-MRL's full hypergradient does; DiCE is the whole.
#
# <details><summary>Hint 1: the idea</summary>
#
# Three sums over episodes and steps of the same form: a number per step times a matrix per step. The third one uses your estimate from 2.5, untruncated.
#
# <details><summary>Hint 2: the equations</summary>
#
# The number is $w_b\gamma^t G_t$ for $H_1$ and $H_2$, and $w_b\gamma^t$ for $H_{12}$: there, the returns are inside $\widehat{\nabla Q}$. Rows of $H_{12}$ belong to $g_t$.
#
# <details><summary>Hint 3: almost code</summary>
#
# `torch.einsum("bt,bti,btj->ij", numbers, rows, columns)` sums products of vectors over all steps, `"bt,btij->ij"` matrices; `torch.stack` the three.
#
# </details></details></details>


# %% tags=["exercise"] exercise="2.6"
def hessian_split(scores, curvatures, returns, weights, gamma):
    r"""Return the estimates of H1, H2 and H12, stacked in this order, [3, n, n].

    scores: g_t, [B, T, n]. curvatures: C_t, [B, T, n, n]. returns: G_t, [B, T]. All 0 at padding.
    weights: w, [B]. gamma: in [0, 1]. About 7 lines.
    """
    # BEGIN SOLUTION
    counts = weights[:, None] * gamma ** torch.arange(returns.shape[1]).to(returns)
    later = q_gradient(scores, returns, gamma, 1.0)
    h1 = torch.einsum("bt,bti,btj->ij", counts * returns, scores, scores)
    h2 = torch.einsum("bt,btij->ij", counts * returns, curvatures)
    h12 = torch.einsum("bt,bti,btj->ij", counts, scores, later)
    return torch.stack([h1, h2, h12])
    # END SOLUTION


# %% tags=["check"]
hessian_split = checks.hessian_split(hessian_split)

# %% [markdown]
# **See it.** A small laboratory: the four rungs of the ladder, each put together from your three pieces, against the exact Hessian of the small game.

# %%
true_hessian = torch.func.hessian(exact_return)(game_phi).reshape(6, 6)
some = torch.Generator().manual_seed(seed)
counts_of_episodes = [n for n in (10, 30, 100, 300, 1000, 3000, 10_000) if n <= sizes["episodes"]]
rows = []
for count in counts_of_episodes:
    for _ in range(sizes["repeats"]):
        states, actions, rewards = play_game(count, some)
        ones, zeros = torch.ones_like(rewards), torch.zeros(count)
        credit = discounted_returns(rewards, ones, zeros + 1, zeros, game_gamma)
        equal = torch.full((count,), 1 / count)
        derivatives = scores_and_curvatures(game_phi, states, actions)
        first, second, mixed = hessian_split(*derivatives, credit, equal, game_gamma)
        rungs = {
            "H2 (naive)": second,
            "H1 + H2 (LVC)": first + second,
            "+ H12 (gradient of Q)": first + second + mixed,
            "+ its transpose (DiCE)": first + second + mixed + mixed.T,
        }
        for name, estimate in rungs.items():
            error = (estimate - true_hessian).norm() / true_hessian.norm()
            rows.append({"episodes": count, "rung": name, "error": error.item()})
fig, ax = plt.subplots(figsize=(5.4, 3.2))
sns.lineplot(
    pd.DataFrame(rows),
    x="episodes",
    y="error",
    hue="rung",
    style="rung",
    markers=True,
    errorbar=("pi", 80),
    ax=ax,
)
ax.set(xscale="log", yscale="log", xlabel="episodes", ylabel="relative error of the Hessian")
_ = ax.legend(title="", fontsize=8)

# %% [markdown]
# *Error of the Hessian against the exact one; lines are means, bands hold four fifths of the repeated batches. Every rung but the last comes to rest at its bias. DiCE goes on falling as $1/\sqrt N$. Which one is nearest depends on the number of episodes that you can afford.*
#
# ## 2.7 Two formulations, and E-MAML's score
#
# What is the return after adaptation, if adaptation learns from *sampled* data? Formulation I adapts with the expected gradient. Formulation II (Al-Shedivat et al., 1710.03641; E-MAML: Stadie et al., 1803.01118) takes the expectation over the data sets that adaptation might get:
#
# $$J^{II}(\phi)=\sum_D P_\phi(D)\;J\big(\theta(\phi,D)\big),\qquad P_\phi(D)\propto\prod_{b,t}\pi_\phi(a_{bt}|s_{bt}).$$
#
# Its gradient has two parts: through the adaptation, and through the chance of the data. The second one rewards a meta-policy for *collecting* data that lead far. Write an objective that has both: for data sets $D_i$ with weights $w_i$, its value is $\sum_i w_i J_i$, and its gradient
#
# $$\sum_i w_i\,\Big[\nabla_\phi J_i+J_i\sum_{b,t}\nabla_\phi\log\pi_\phi(a_{bt}|s_{bt})\Big].$$
#
# <details><summary>Hint 1: the idea</summary>
#
# A factor that is 1 in value, and whose derivative is the score of everything in the data set: you have built one.
#
# <details><summary>Hint 2: the equation</summary>
#
# $\sum_i w_i\,\square\big(\sum_{b,t}\log\pi_\phi(a_{bt}|s_{bt})\big)\,J_i$, and $J_i$ keeps its own gradient.
#
# <details><summary>Hint 3: almost code</summary>
#
# `.sum((-1, -2))` adds up a data set. The box is that of 2.4.
#
# </details></details></details>


# %% tags=["exercise"] exercise="2.7"
def e_maml_objective(log_probs, after, weights):
    r"""Return sum_i w_i J_i, whose gradient also credits the collection of the data.

    log_probs: log pi_phi(a | s) of all steps of N data sets, [N, B, T]; 0 at padding.
    after: J_i, the return after adapting to data set i, [N]. Both record a gradient.
    weights: w, [N]. About 3 lines.
    """
    # BEGIN SOLUTION
    collected = log_probs.sum((-1, -2))
    box = (collected - collected.detach()).exp()
    return weights @ (box * after)
    # END SOLUTION


# %% tags=["check"]
e_maml_objective = checks.e_maml_objective(e_maml_objective)

# %% [markdown]
# **See it.** Both formulations on a bandit whose two arms pay 1 and 0, with one pull as the data and a step of size 8. The only meta-parameter is the logit of the good arm. Your gradient, drawn as tangents, and the same without the score:

# %%
arms, step = torch.tensor([1.0, 0.0]), 8.0


def bandit_policy(x):
    """Return log pi for logits (x, 0), [2]."""
    return torch.stack([x, torch.zeros_like(x)]).log_softmax(0)


def worth(x):
    """Return J of the bandit for logits (x, 0)."""
    return bandit_policy(x).exp() @ arms


def adapted_worths(x):
    """Return J after one policy-gradient step on either pull, [2]."""
    slopes = torch.func.jacrev(bandit_policy)(x)
    return torch.stack(
        [worth(x + step * pay * slope) for pay, slope in zip(arms, slopes, strict=True)]
    )


def formulation_two(x, *, score=True):
    """Your objective over both data sets, weighed with their chances."""
    pulls = bandit_policy(x) if score else bandit_policy(x).detach()
    chances = bandit_policy(x).exp().detach()
    return e_maml_objective(pulls[:, None, None], adapted_worths(x), chances)


grid = torch.linspace(-4, 4, 81)
one = [worth(x + step * torch.func.grad(worth)(x)) for x in grid]
two = [formulation_two(x) for x in grid]
fig, ax = plt.subplots(figsize=(5.2, 3.2))
ax.plot(grid, one, color=plots.WATER, label="formulation I")
ax.plot(grid, two, color=plots.INK, label="formulation II")
reach = torch.tensor([-0.4, 0.4])
for x in torch.linspace(-3, 3, 7):
    height = formulation_two(x)
    for with_score, colour in ((True, plots.GOLD), (False, "#949494")):
        slope = torch.func.grad(formulation_two)(x, score=with_score)
        label = {True: "with the score", False: "without"}[with_score] if x == -3 else None
        ax.plot(x + reach, height + reach * slope, color=colour, lw=2.5, label=label)
ax.set(xlabel="logit of the good arm", ylabel="return after adaptation")
_ = ax.legend(fontsize=8)

# %% [markdown]
# *Return after adaptation over the one meta-parameter. With the score, your gradient is tangent to formulation II; without it, it is the slope of neither curve.*
#
# ## 2.8 ProMP
#
# Episodes are expensive, so ProMP takes several outer steps on the same ones. After the first, they come from an old policy. The objective weighs them with ratios, stops paying for ratios that have moved too far (Schulman et al., 1707.06347), and holds the meta-policy near the one that collected:
#
# $$J^{ProMP}=\frac1M\sum_i\min\big(\rho_i\hat A_i,\;\mathrm{clip}(\rho_i,1-\epsilon,1+\epsilon)\,\hat A_i\big)-\eta\,\frac1K\sum_k KL\big(\pi_\text{old}(\cdot|s_k)\,\|\,\pi_\phi(\cdot|s_k)\big),\qquad\rho_i=\frac{\pi_\theta(a_i|s_i)}{\pi_\text{old}(a_i|s_i)} .$$
#
# The $M$ samples were collected *after* adaptation, and $\theta$ depends on $\phi$; the $K$ states of the penalty were visited *before*. Padding has been dropped.
#
# <details><summary>Hint 1: the idea</summary>
#
# Two gains per sample, and the smaller one counts: clipping may take a gain away, never give one. Then a mean, minus a mean.
#
# <details><summary>Hint 2: the equation</summary>
#
# $KL(p\|q)=\sum_a p(a)\,(\log p(a)-\log q(a))$, and both come as logarithms.
#
# <details><summary>Hint 3: almost code</summary>
#
# `.clamp(low, high)` for the ratio, `torch.minimum` for the two gains, `.sum(-1).mean()` for the penalty.
#
# </details></details></details>


# %% tags=["exercise"] exercise="2.8"
def promp_objective(log_probs, old_log_probs, advantages, prior, old_prior, clip, penalty):
    r"""Return the mean clipped gain minus eta times the mean divergence, a scalar tensor.

    log_probs: log pi_theta(a | s) of the samples after adaptation, [M], recording a gradient.
    old_log_probs: the same when they were collected, [M]. advantages: [M].
    prior: log pi_phi(. | s) of the states before adaptation, [K, A], recording a gradient.
    old_prior: the same when they were visited, [K, A]. clip: epsilon, in (0, 1).
    penalty: eta, >= 0. About 4 lines.
    """
    # BEGIN SOLUTION
    ratio = (log_probs - old_log_probs).exp()
    clipped = ratio.clamp(1 - clip, 1 + clip)
    gain = torch.minimum(ratio * advantages, clipped * advantages)
    divergence = (old_prior.exp() * (old_prior - prior)).sum(-1)
    return gain.mean() - penalty * divergence.mean()
    # END SOLUTION


# %% tags=["check"]
promp_objective = checks.promp_objective(promp_objective)

# %% [markdown]
# **See it.** What one sample is worth to the objective, over its ratio:

# %%
same = torch.full((1, 2), 0.5).log()
ratios = torch.linspace(0.4, 1.8, 141)
fig, axes = plt.subplots(1, 2, figsize=(6.4, 2.5))
for ax, advantage in zip(axes, (1.0, -1.0), strict=True):
    heights = [
        promp_objective(
            ratio.log()[None], torch.zeros(1), torch.tensor([advantage]), same, same, 0.3, 0.0
        )
        for ratio in ratios
    ]
    ax.plot(ratios, advantage * ratios, ":", color=plots.INK, lw=1)
    ax.plot(ratios, heights, color=plots.GOLD, lw=2)
    ax.axvline(1, color=plots.INK, lw=0.8)
    ax.set(title=f"advantage {advantage:+.0f}", xlabel="ratio", ylabel="objective")

# %% [markdown]
# *The clipped gain (gold) and the ratio times the advantage (dotted), ε = 0.3. Where it is flat, nothing is to be won by moving on. It is never flat on the other side: a step in the wrong direction can be taken back.*
#
# ## What is it worth?
#
# **See it.** A corridor of three steps and a fork. One end pays 1 and the other −1, and which is which is the task. Nobody can know beforehand. A good meta-policy walks up to the fork and tries both sides; five episodes must be enough to adapt. Everything is sampled, and everything that counts is yours: advantages (2.1, 2.2), the inner step through LVC (2.3) or DiCE (2.4), the outer objective (2.8) with three steps of Adam on the same episodes.

# %%
maze_gamma, num_tasks, num_episodes, num_steps, inner_step = 0.95, 20, 5, 12, 10.0


def maze(goal):
    """Return the corridor: action 2 goes on, 0 goes back, 1 waits; at the fork 0 and 1 choose."""
    transition, reward, start = torch.zeros(5, 3, 5), torch.zeros(5, 3), torch.zeros(5)
    for place in range(3):
        for action, after in enumerate((max(place - 1, 0), place, place + 1)):
            transition[place, action, after] = 1.0
    transition[3, :2, 4] = transition[3, 2, 3] = transition[4, :, 4] = start[0] = 1.0
    reward[3, goal], reward[3, 1 - goal] = 1.0, -1.0
    return bl.tabular_task(transition, reward, start)


mazes = [maze(number % 2) for number in range(num_tasks)]
mazes = bl.TabularTask(*(torch.stack(field) for field in zip(*mazes, strict=True)))
rows_of_tasks = torch.arange(num_tasks).repeat_interleave(num_episodes)[:, None]


def play_mazes(thetas, generator):
    """Collect five episodes per task; one row per episode, tasks one below the other."""
    tables = play(thetas, mazes, num_episodes, num_steps, generator)
    states, actions, rewards = (table.flatten(0, 1) for table in tables)
    ones, zeros = torch.ones_like(rewards), torch.zeros(len(rewards))
    totals = discounted_returns(rewards, ones, zeros + 1, zeros, maze_gamma)
    by_task = totals.reshape(num_tasks, num_episodes, num_steps)
    baseline = by_task.mean(1, keepdim=True).expand_as(by_task).flatten(0, 1)
    advantage = generalised_advantages(rewards, ones, zeros + 1, baseline, zeros, maze_gamma, 1.0)
    return states, actions, rewards, advantage, totals[:, 0].mean().item()


def log_probs_in_mazes(thetas, states, actions):
    """Return log pi of every step under the policy of its own task, [N B, T]."""
    return thetas.log_softmax(-1)[rows_of_tasks, states, actions]


def adapt(phi, states, actions, rewards, advantage, inner):
    """Take one policy-gradient step per task, [N, S, A]; phi [S, A]."""
    share = torch.full((len(states),), 1 / num_episodes)

    def sum_over_tasks(thetas):
        log_probs = log_probs_in_mazes(thetas, states, actions)
        if inner == "DiCE":
            return dice_objective(log_probs, rewards, share, maze_gamma)
        return lvc_objective(log_probs, advantage, share, maze_gamma)

    thetas = phi.expand(num_tasks, 5, 3)
    return thetas + inner_step * torch.func.grad(sum_over_tasks)(thetas)


def outer_objective(x, before, after, old, old_prior, inner):
    """Return ProMP's objective of a meta-policy x: it adapts to the data before, anew each time."""
    states, actions, _, advantage, _ = after
    log_probs = log_probs_in_mazes(adapt(x, *before[:4], inner), states, actions)
    prior = x.log_softmax(-1)[before[0].flatten()]
    samples = log_probs.flatten(), old.flatten(), advantage.flatten()
    return promp_objective(*samples, prior, old_prior, 0.3, 5e-4)


def meta_train(inner, run):
    """Train from episodes; return the meta-policy and returns before and after adaptation."""
    generator = torch.Generator().manual_seed(1000 * seed + run)
    phi, history = torch.zeros(5, 3), []
    optimizer = torch.optim.Adam([phi], lr=0.05, maximize=True)
    for _ in range(sizes["iterations"]):
        before = play_mazes(phi.expand(num_tasks, 5, 3), generator)
        thetas = adapt(phi, *before[:4], inner)
        after = play_mazes(thetas, generator)
        old = log_probs_in_mazes(thetas, *after[:2])
        old_prior = phi.log_softmax(-1)[before[0].flatten()]
        for _ in range(3):
            phi.grad = torch.func.grad(outer_objective)(phi, before, after, old, old_prior, inner)
            optimizer.step()
        history.append((before[-1], after[-1]))
    return phi, history


rows, meta_policies = [], {}
for inner in ("LVC", "DiCE"):
    for run in range(sizes["seeds"]):
        meta_policies[inner], history = meta_train(inner, run)
        for iteration, pair in enumerate(history):
            for when, value in zip(("before", "after"), pair, strict=True):
                row = {"iteration": iteration, "inner step": inner, "adaptation": when}
                rows.append({**row, "return": value, "seed": run})
results = pd.DataFrame(rows)
fig, axes = plt.subplots(1, 2, figsize=(7.6, 2.9), width_ratios=(1.5, 1))
sns.lineplot(
    results,
    x="iteration",
    y="return",
    hue="inner step",
    style="adaptation",
    style_order=["after", "before"],
    errorbar=("pi", 100),
    ax=axes[0],
)
axes[0].legend(fontsize=7, loc="upper left", ncols=2)
axes[0].set(ylim=(-0.25, 1.35), ylabel="return")
sns.heatmap(
    meta_policies["LVC"][:4].softmax(-1),
    annot=True,
    fmt=".2f",
    cmap="Blues",
    vmin=0,
    vmax=1,
    cbar=False,
    xticklabels=["back / left", "wait / right", "on"],
    yticklabels=["start", "1", "2", "fork"],
    annot_kws={"size": 8},
    ax=axes[1],
)
axes[1].set(title="the meta-policy (LVC)")
axes[1].tick_params(axis="x", labelrotation=20)
axes[1].tick_params(axis="y", labelrotation=0)
last = results[results.iteration >= sizes["iterations"] - 5]
table = last.pivot_table("return", ["inner step", "seed"], "adaptation", sort=False)
print(table[["before", "after"]].round(2).to_string())

# %% [markdown]
# *Left: returns of sampled episodes over meta-training, mean and range over the runs (20 tasks with 5 episodes each before and after adaptation). Right: chances of the actions after training. The meta-policy itself earns nothing, before or after training: at the fork, left and right pay +1 and −1 equally often. What grows is the return after adaptation. LVC gets there first, in all three runs of the class profile; DiCE, fed with rewards and no baseline, has an unbiased gradient and the noise that comes with it.*
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
# - Padding never counts, a cut is not an end, and both show first in the last steps of an episode.
# - What is stopped decides what is differentiated. $\log\pi$, the own ratio and the box have one gradient and three Hessians.
# - $\nabla^2J=H_1+H_2+H_{12}+H_{12}^\top$: the action twice, and the action with what follows and with what came before.
# - Bias against variance, at every turn: the trace of the advantages, the trace of $\nabla Q$, LVC against DiCE.
# - Formulation II also credits the collection of data; without the score, the gradient belongs to no objective.
#
# ## Check yourself
#
# <details><summary>LVC's bias vanishes as the policy comes near a local optimum. Which term goes to 0, and why?</summary>
#
# $H_{12}=\mathbb E\sum_t\gamma^tg_t\nabla Q_t^\top$. Since scores have mean 0 in every state, only the part of $\nabla Q(s,\cdot)$ that differs between actions counts. Where the policy has settled on its actions, its scores are 0 or the actions that it mixes are worth the same, later on too.
#
# </details>
#
# <details><summary>You subtract a baseline b(s) from the returns in 2.6. Which of the three terms keep their expectation?</summary>
#
# $H_1$ alone changes, and so does $H_2$ alone, but their sum does not: $gg^\top+C=\nabla^2\pi/\pi$, and the probabilities of a state sum to 1, whatever φ is. $H_{12}$ keeps its own, because later scores have mean 0.
#
# </details>
#
# <details><summary>The variance of E-MAML's score grows with the number of episodes in the data set. Why does that of the other part not?</summary>
#
# The score is a sum over all steps of the data set, and it is multiplied by one return: more steps, more noise, the same signal. The way through the adaptation is a mean over episodes.
#
# </details>
#
# <details><summary>Why does the ratio in 2.8 not simply come out as 1, like that in 2.3?</summary>
#
# At the first of several outer steps it does, and the clipped objective has the gradient of the own ratio. From the second on φ has moved, θ with it, and the samples are those of an older policy.
#
# </details>
#
# **Next:** [lesson 03a](../notebooks/03a_universal_adaptation.ipynb): all that MAML's inner step can be replaced with.
