# %% [markdown]
# # 02a · Estimators of the meta-gradient
#
# **After this lesson you can**
#
# - tell apart the two objectives that papers call MAML-RL, and say what each credits the collection of data with;
# - split the Hessian of $J$ into four terms, and name the estimator that keeps each of them;
# - build naive MAML, LVC, DiCE and Loaded DiCE from episodes, one change at a time;
# - measure bias and variance of an estimator against the exact answer, and see which laws they obey.
#
# **Time:** reading 30 minutes, computing about 1 minute. **Before:** [01 · The MAML baseline](01_maml_baseline.ipynb). **After:** [02b · From estimators to algorithms](02b_algorithms.ipynb); exercise set 02 (`exercises/02_credit_assignment.ipynb`) goes with both, and 2.1 to 2.6 can be done now.
#
# | equation | function |
# |---|---|
# | $G_t=\sum_{u\ge t}\gamma^{u-t}r_u$, generalised advantages | `discounted_returns`, `generalised_advantages` |
# | $\nabla^2J=H_1+H_2+H_{12}+H_{12}^\top$ | `naive_samples`, `frozen_samples`, `samples_with_q_gradient`, `full_samples` |
# | $\mathrm{box}(x)=e^{x-\bot x}$ | `magic_box`, `dice_objective`, `loaded_dice_objective` |
# | $\theta=\phi+\alpha\nabla_\theta\overline{\rho_\theta\hat A}\,\vert_{\theta=\phi}$ | `gradient_adaptation` |

# %% tags=["parameters"]
profile = "class"  # "smoke": seconds, for tests · "class": for you · "full": larger, for figures
seed = 0

# %%
import math
from functools import partial

import pandas as pd
import torch
from torch.func import grad, vmap

# %%
import bomrl_lite as bl
from bomrl_lite.course import plots
from bomrl_lite.course.experiments import laboratory
from bomrl_lite.course.parameters import begin
from bomrl_lite.course.record import record
from bomrl_lite.course.show import show_source, stored_table

begin(profile, seed)
plots.use_style()
torch.set_num_threads(1)
sizes = {
    "smoke": {"ascent_steps": 5, "episodes": (10, 100), "budget": 200},
    "class": {"ascent_steps": 200, "episodes": (5, 20, 100, 500), "budget": 2000},
    "full": {"ascent_steps": 400, "episodes": laboratory.EPISODES, "budget": 10000},
}[profile]

# %% [markdown]
# ## 1. Whom to thank: two objectives
#
# Lesson 01 adapted with the exact gradient. From episodes, $\hat g(D)$ replaces it, and $D$ is random. Then "the return after adaptation" can mean two things (Rothfuss et al., 2018):
#
# $$J^{I}(\phi)=\mathbb E_\tau\big[J_\tau(\phi+\alpha\,\mathbb E_D[\hat g(D)])\big],\qquad J^{II}(\phi)=\mathbb E_\tau\,\mathbb E_{D\sim\pi_\phi}\big[J_\tau(\phi+\alpha\,\hat g(D))\big].$$
#
# Formulation I averages the step and then looks where it leads: adaptation with endless data. Formulation II looks where each batch leads, and averages returns. The gradient of II has a term that plain automatic differentiation never sees, because it sits in the *density* of $D$:
#
# $$\nabla J^{II}=\underbrace{\mathbb E_D[\nabla_\phi J_\tau(\theta(\phi,D))]}_{\text{through the step}}+\underbrace{\mathbb E_D[\nabla_\phi\log p_\phi(D)\,J_\tau(\theta(\phi,D))]}_{\text{the E-MAML term}}.$$
#
# On a line both can be computed without sampling. The policy is $\mathcal N(\mu,\sigma^2)$, one action per episode, and the two tasks pay $e^{-(a-g)^2/2w^2}$ around $g=\pm1$. $J$ has a closed form; the expectation over one-episode batches is an integral over one action.

# %%
width, goals, alpha = 0.5, torch.tensor([-1.0, 1.0], dtype=torch.float64), 1.0
actions = torch.linspace(-6, 6, 601, dtype=torch.float64)


def line_return(phi, goal):
    """J of N(mu, sigma^2) where an action a pays exp(-(a - goal)^2 / 2 w^2); phi = (mu, log sigma)."""
    spread = width**2 + (2 * phi[1]).exp()
    return width / spread.sqrt() * (-((phi[0] - goal) ** 2) / (2 * spread)).exp()


def log_density(phi, action):
    return -0.5 * ((action - phi[0]) / phi[1].exp()) ** 2 - phi[1] - 0.5 * math.log(2 * math.pi)


def formulation_one(phi):
    return vmap(lambda g: line_return(phi + alpha * grad(line_return)(phi, g), g))(goals).mean()


def formulation_two(phi, credit=True):
    def of_action(action, goal):
        reward = (-((action - goal) ** 2) / (2 * width**2)).exp()
        theta = phi + alpha * reward * grad(log_density)(phi, action)
        density = log_density(phi, action).exp()
        return (density if credit else density.detach()) * line_return(theta, goal)

    each = vmap(lambda g: vmap(of_action, in_dims=(0, None))(actions, g).sum())(goals)
    return each.mean() * (actions[1] - actions[0])


# %% [markdown]
# Each objective is climbed from five starts, in steps of fixed length along its gradient:

# %%
objectives = {
    "formulation I": formulation_one,
    "formulation II": formulation_two,
    "II, E-MAML term dropped": partial(formulation_two, credit=False),
}
starts = torch.tensor([(-1.5, -0.5), (0.0, -1.0), (0.3, 0.3), (1.3, -1.3), (0.8, 0.6)]).double()


def climb(objective):
    """Return five ascents, [5, steps + 1, 2]."""
    points, climbed = starts, [starts]
    for _ in range(sizes["ascent_steps"]):
        slopes = vmap(grad(objective))(points)
        points = points + 0.05 * slopes / (slopes.norm(dim=-1, keepdim=True) + 1e-3)
        climbed.append(points)
    return torch.stack(climbed, dim=1)


paths = {name: climb(objective) for name, objective in objectives.items()}
fig = plots.ascent_fields(
    objectives, {name: list(path) for name, path in paths.items()}, labels=("mu", "log sigma")
)

# %%
rows = []
for name, path in paths.items():
    ends = path[:, -1]
    judged = {
        "return, endless data": vmap(formulation_one)(ends).mean().item(),
        "return, one episode": vmap(formulation_two)(ends).mean().item(),
        "sigma": ends[:, 1].exp().mean().item(),
    }
    rows.append({"climbed": name, **judged})
ends = pd.DataFrame(rows).set_index("climbed")
for short, (_, row) in zip(("one", "two", "two_without_credit"), ends.iterrows(), strict=True):
    record(f"one_episode_return_after_climbing_{short}", row["return, one episode"], "return")
ends.round(3)

# %% [markdown]
# *Brightness: the objective that is climbed, arrows: its gradient (the one that is followed), lines: five ascents to the dots. The right panel climbs formulation II without its E-MAML term, which is the gradient of no objective: its lines may stop where the picture is not brightest.*
#
# The table judges each end by both objectives. Neither formulation is "the right one": I is what you want if adaptation will see much data, II if it will see little. What is wrong is to maximise II and drop a term of its gradient without noticing.

# %% [markdown]
# ## 2. Four terms of one Hessian
#
# In formulation I the meta-gradient is $(I+\alpha\nabla^2J(\phi))\,\nabla J(\theta)$, so everything hangs on estimating $\nabla^2J$ from episodes. It has four parts (Rothfuss et al., 2018, here with $Q$ in their place of returns):
#
# $$\nabla^2J=\underbrace{\mathbb E\sum_t\gamma^t\nabla\log\pi\,\nabla\log\pi^\top Q_t}_{H_1}+\underbrace{\mathbb E\sum_t\gamma^t\nabla^2\log\pi\,Q_t}_{H_2}+\underbrace{\mathbb E\sum_t\gamma^t\nabla\log\pi\,\nabla Q_t^\top}_{H_{12}}+H_{12}^\top.$$
#
# $H_2$: the score changes with $\phi$. $H_1$: the *actions* do. $H_{12}$: what an action is *worth* does, through all later actions. $H_{12}^\top$: the *states* do, through all earlier ones. Write the inner gradient as $\nabla_\theta L(\theta)$ at $\theta=\phi$ on one-time data; then which term survives is decided by which of the data still knows $\phi$. Exactly, without sampling:

# %%
from bomrl_lite.solvers.linear import add_scaled, dot, hessian_vector_product, norm

problem = laboratory.make_problem("frozen_lake/holes-4x4", seed)
direction = laboratory.outer_direction(problem)
truth = hessian_vector_product(
    lambda p: bl.policy_return(p, problem.task, **problem.exact), problem.phi
)(direction)
kept = {"naive": "H2", "frozen": "H1 + H2", "q_gradient": "H1 + H2 + H12", "full": "all four"}
errors = {}
for rung, data_of in bl.DATA_FUNCTIONS.items():

    def inner_slope(p, data_of=data_of):
        data = data_of(p, problem.task, **problem.exact)
        slope = grad(lambda x: bl.surrogate_objective(x, data, policy=problem.policy))(p)
        return dot(slope, direction) / (1 - problem.gamma)

    product = grad(inner_slope)(problem.phi)
    errors[rung] = (norm(add_scaled(product, -1.0, truth)) / norm(truth)).item()
    print(
        f"{rung:<12}{kept[rung]:<16} relative error of the Hessian-vector product {errors[rung]:.1e}"
    )
    record(f"hessian_error_{rung}", errors[rung], "relative")

# %% [markdown]
# Only all four together are the Hessian. The same ladder returns in lesson 04, for an Alg that solves its inner problem.

# %% [markdown]
# ## 3. The estimators, one change at a time
#
# Now from episodes. `collect` lets a policy act in all tasks at once; a `Rollout` is batch first, padded where episodes end early:

# %%
from bomrl_lite.policies.networks import over_states
from bomrl_lite.rollout.collect import repeat
from bomrl_lite.rollout.returns import discounted_returns

family = bl.make_tasks("probe/random-5x3")
generator = torch.Generator().manual_seed(seed)
mdps = family.sample(2, generator, "train")
tabular = bl.tabular_softmax(5, 3)
reader = over_states(tabular)  # the same policy, reading state numbers
phi = tabular.init(generator)
rollout = bl.collect(family.simulator(mdps, 4, 6), reader, repeat(phi, 2), generator)
for field, tensor in rollout._asdict().items():
    print(f"{field:<20}{tuple(tensor.shape)}")
print("returns of the first task's episodes:", discounted_returns(rollout, family.gamma)[0, :, 0])

# %% [markdown]
# **Naive.** Store the actions, compute $\frac1M\sum\log\pi_\phi(a\mid s)\hat A$, differentiate twice. Automatic differentiation does what it is told: the actions are numbers, so all it finds is $H_2$.
#
# **LVC.** Divide by the probability that was stored when the action was taken. The ratio is 1, so no value changes. Its derivative is the score: the actions know $\phi$ again, $H_1$ is back. It is also the likelihood ratio of ProMP.

# %%
from bomrl_lite.rollout.data import frozen_samples, full_samples, naive_samples

show_source(naive_samples, frozen_samples)

# %% [markdown]
# **DiCE.** Why not give every quantity the score of everything that caused it? The *magic box* $\mathrm{box}(x)=e^{x-\bot x}$ is 1 in value and multiplies by $\nabla x$ when differentiated, as often as you like. Weigh each reward with the box of all actions so far:
#
# $$J_{\mathrm{DiCE}}=\frac1B\sum_{\text{episodes}}\sum_t\gamma^t\,\mathrm{box}\Big(\sum_{u\le t}\log\pi_\phi(a_u\mid s_u)\Big)\,r_t.$$

# %%
from bomrl_lite.rollout.returns import dice_objective, magic_box

show_source(magic_box, dice_objective)
x = torch.tensor(0.3)
print("value", magic_box(x).item(), " derivative", grad(magic_box)(x).item())

# %% [markdown]
# **Loaded DiCE** writes the same with advantages in place of rewards, which takes variance away, and can forget causes of long ago (`causal_trace`). On one-time data the boxes go where the four terms are: into the advantages ($H_{12}$) and into the weights of visits ($H_{12}^\top$).

# %%
show_source(full_samples)


# %% [markdown]
# One gradient step on such data is MAML's inner step, whichever rung; `Adapted.pull` is the way back from $\nabla J(\theta)$ to $\phi$.

# %%
from bomrl_lite.adaptation.gradient import gradient_adaptation

show_source(gradient_adaptation)

# %% [markdown]
# ## 4. The laboratory
#
# On a tabular problem the exact answer is known, so an estimator can be judged: repeat it on many batches of $N$ episodes, and compare their mean (bias) and their spread (standard deviation) with the truth. Theory says: DiCE has no bias; LVC has some, that no amount of data removes, and less variance; every spread falls like $1/\sqrt N$. A small run now, the stored full one below.

# %%
live = pd.DataFrame(
    laboratory.laboratory_rows(
        "probe/random-5x3", seed, episodes=sizes["episodes"], budget=sizes["budget"]
    )
)
shown = live.query("quantity == 'curvature'").pivot_table(
    index="estimator", columns="episodes", values=["deviation", "error"], sort=False
)
most = max(sizes["episodes"])
for name in ("LVC", "DiCE", "Loaded DiCE"):
    mine = live.query("quantity == 'curvature' and estimator == @name")
    label = name.lower().replace(" ", "_")
    record(f"deviation_slope_{label}", laboratory.slope(mine["episodes"], mine["deviation"]), "")
    record(f"error_{label}", float(mine.set_index("episodes").loc[most, "error"]), "relative")
shown.round(2)


# %%
fig = plots.draw_experiment("laboratory", stored_table("laboratory"))
fig.set_dpi(62)


# %% [markdown]
# *The stored table (`python -m bomrl_lite experiment laboratory`): estimates of $\nabla^2J\,v$ on random problems and on lakes, over episodes per batch.*
#
# Read it from left to right. With few episodes the spread decides, and the estimator with the least of it has the smallest error, biased or not. With many, bias is what is left: LVC's curve goes flat where DiCE's keeps falling. Where they cross depends on the problem; deep meta-RL runs with 20 episodes per task, far on the left. That is why LVC, and not the unbiased estimator, is what most code uses.

# %%
table = stored_table("laboratory").query("quantity == 'curvature'")
table = table.groupby(["problem", "estimator", "episodes"], sort=False)["error"].median().unstack()
table.round(2)


# %% [markdown]
# ## 5. Recap
#
# - Formulation I adapts with the expected step, formulation II with a sampled one; only II credits the collection by a score term (E-MAML).
# - $\nabla^2J$ has four terms. Naive autodiff keeps $H_2$, LVC $H_1+H_2$, DiCE all. The rung says which of the data knows $\phi$.
# - DiCE is unbiased and loud, LVC biased and quiet; all spreads fall like $1/\sqrt N$, no bias does. With few episodes, quiet wins.
#
# ## 6. Check yourself
#
# <details><summary>Why does dividing by a number that equals 1 change a gradient?</summary>
#
# $\pi_\phi/\pi_{old}$ is 1 where the data were collected, but its derivative there is $\nabla\log\pi_\phi$: the stored denominator does not move with $\phi$. Differentiate the denominator too, and the ratio is 1 for every $\phi$, with derivative 0: that is the naive estimator.
#
# </details>
#
# <details><summary>Your unbiased estimator loses against a biased one. Is it a bug?</summary>
#
# Not if you have few episodes. Error is bias squared plus variance; look where your batch size lies in the laboratory's picture.
#
# </details>
#
# <details><summary>What does truncating the causal horizon trade?</summary>
#
# Actions of long ago get less credit: less variance, since fewer scores are multiplied in, and a bias as large as the effects that are ignored.
#
# </details>
#
# ## 7. Reading
#
# - J. Rothfuss et al. (2018), *ProMP: Proximal Meta-Policy Search*, arXiv 1810.06784: the two formulations, the split of the Hessian, LVC.
# - B. Stadie et al. (2018), *Some Considerations on Learning to Explore via Meta-Reinforcement Learning*, arXiv 1803.01118: E-MAML.
# - J. Foerster et al. (2018), *DiCE: The Infinitely Differentiable Monte Carlo Estimator*, arXiv 1802.05098.
# - G. Farquhar et al. (2019), *Loaded DiCE*, arXiv 1909.10549: any advantage, any order, shorter memory.
# - Y. Tang et al. (2021), *Unifying Gradient Estimators for Meta-Reinforcement Learning via Off-Policy Evaluation*, arXiv 2106.13125: LVC and DiCE as two ends of one expansion.
#
# **Next:** [02b · From estimators to algorithms](02b_algorithms.ipynb). If you would rather write code first: exercises 2.1 to 2.6 of [`exercises/02_credit_assignment.ipynb`](../exercises/02_credit_assignment.ipynb).
