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
# **Time:** reading 30 minutes, computing about 1 minute. **Before:** [01 · The MAML baseline](01_maml_baseline.ipynb). **After:** [02b · From estimators to algorithms](02b_algorithms.ipynb); exercise set 02 (`exercises/02_credit_assignment.ipynb`) goes with both, and 2.1 to 2.6 can be done now. **Words:** [symbols and names](../docs/symbols_and_names.md).
#
# | equation | function |
# |---|---|
# | $G_t=\sum_{u\ge t}\gamma^{u-t}r_u$, generalised advantages | `discounted_returns`, `generalised_advantages` |
# | $\nabla^2J=H_1+H_2+H_{12}+H_{12}^\top$ | `naive_samples`, `frozen_samples`, `samples_with_q_gradient`, `full_samples` |
# | $\mathrm{box}(x)=e^{x-\bot x}$ | `magic_box`, `dice_objective`, `loaded_dice_objective` |
# | $\theta=\phi+\alpha\nabla_\theta\frac1M\sum\rho_\theta\hat A\,\vert_{\theta=\phi}$, with the ratio $\rho_\theta=\pi_\theta/\pi_\phi$ | `gradient_adaptation` |
#
# $\bot x$ is $x$ with its gradient stopped, `x.detach()`: the value of $x$, and derivative 0. $\hat A$ is an estimate of the advantage, $M$ the number of samples, $D$ the episodes of one task. A **rung** says how much of the data's dependence on $\phi$ a derivative keeps; section 2 has all four.

# %% tags=["parameters"]
profile = "class"  # "smoke": seconds, for tests · "class": for you · "full": larger, for figures
seed = 0

# %%
import math
from functools import partial

import pandas as pd
import torch
from torch.func import grad, jacrev, vmap

# %%
import bomrl_lite as bl
from bomrl_lite.course import plots, predictions
from bomrl_lite.course.experiments import laboratory
from bomrl_lite.course.parameters import begin
from bomrl_lite.course.record import record
from bomrl_lite.course.show import show_source, stored_table
from bomrl_lite.training.streams import seeded

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
# **A bandit shows the difference.** Two arms pay 1 and 0, the policy has one parameter, the logit $x$ of the good arm, and the data are *one pull*. If the good arm was pulled, $\hat g$ points up; if not, the reward is 0 and $\hat g=0$. So formulation II is a sum over two cases, weighed with their chances, and those chances depend on $x$ too.

# %%
pays, step = torch.tensor([1.0, 0.0], dtype=torch.float64), 8.0


def log_policy(x):
    """log pi of both arms, for logits (x, 0)."""
    return torch.stack([x, torch.zeros_like(x)]).log_softmax(0)


def worth(x):
    return log_policy(x).exp() @ pays


def bandit_one(x):
    return worth(x + step * grad(worth)(x))


def bandit_two(x, credit=True):
    steps = step * pays * jacrev(log_policy)(x)  # alpha g of either pull
    chances = log_policy(x).exp()
    return (chances if credit else chances.detach()) @ vmap(worth)(x + steps)


# %% tags=["widget", "hide-input"]
predictions.ask(
    "02a.bandit",
    "At x = -1 the good arm is pulled in about one case of four. What share of the slope "
    "of formulation II is the E-MAML term, which automatic differentiation does not see?",
    edges=(0.02, 0.2, 0.7),
)

# %%
xs = torch.linspace(-4, 4, 81, dtype=torch.float64)
fig, ax = plots.plt.subplots(figsize=(6.4, 3.4))
ax.plot(xs, vmap(bandit_one)(xs), color=plots.WATER, label="formulation I")
ax.plot(xs, vmap(bandit_two)(xs), color=plots.INK, label="formulation II")
reach, rows = torch.tensor([-0.4, 0.4], dtype=torch.float64), []
for x in torch.linspace(-3, 3, 7, dtype=torch.float64):
    whole, part = grad(bandit_two)(x), grad(partial(bandit_two, credit=False))(x)
    for slope, colour in ((whole, plots.GOLD), (part, "#949494")):
        ax.plot(x + reach, bandit_two(x) + reach * slope, color=colour, lw=2.5)
    rows.append((x.item(), bandit_two(x).item(), whole.item(), part.item()))
ax.set(xlabel="x, the logit of the good arm", ylabel="return after adaptation")
ax.legend()
predictions.reveal("02a.bandit", 1 - rows[2][3] / rows[2][2])
names = ["x", "formulation II", "its slope", "without the E-MAML term"]
pd.DataFrame(rows, columns=names).set_index("x").round(3)

# %% [markdown]
# *Return after adaptation over $x$. Gold: the gradient of formulation II with both terms, a tangent. Grey: without the term through the density, the slope of neither curve.* Below $x=0$ the dropped term is half of the slope: it is what says *pull the good arm more often, then the step finds it*.
#
# **With a continuous action** the same, and now the policy can also choose how widely to look: it is $\mathcal N(\mu,\sigma^2)$, one action per episode, and the two tasks pay $e^{-(a-g)^2/2w^2}$ around $g=\pm1$. $J$ has a closed form; the expectation over one-episode batches is an integral over one action.

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

# %% tags=["widget", "hide-input"]
predictions.ask(
    "02a.dropped",
    "Formulation II is climbed by its gradient, and by the same without the E-MAML term. "
    "What does dropping the term cost of the return after one episode, at the ends of the "
    "climbs?",
    edges=(3, 15, 50),
    unit="%",
)

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
reached = ends["return, one episode"]
predictions.reveal("02a.dropped", 100 * (1 - reached.iloc[2] / reached.iloc[1]))
ends.round(3)

# %% [markdown]
# *Brightness: the objective that is climbed, arrows: its gradient (the one that is followed), lines: five ascents, dots: their ends inside the frame. The right panel climbs formulation II without its E-MAML term, which is the gradient of no objective: its lines may stop where the picture is not brightest.*
#
# The table judges each end by both objectives. Formulation I ends at a narrow policy (two of its ascents leave the frame at the bottom, $\sigma$ going to 0), formulation II at a wide one, which finds out by trying; in this example dropping the term costs little, in the bandit it was half of the slope.
#
# **Learnt:** formulation I is what you want if adaptation will see much data, II if it will see little; what is wrong is to maximise II and drop a term of its gradient without noticing.

# %% [markdown]
# ## 2. Four terms of one Hessian
#
# In formulation I the meta-gradient is $(I+\alpha\nabla^2J(\phi))\,\nabla J(\theta)$, so everything hangs on estimating $\nabla^2J$ from episodes. It has four parts (Rothfuss et al., 2018, here with $Q$ in their place of returns):
#
# $$\nabla^2J=\underbrace{\mathbb E\sum_t\gamma^t\nabla\log\pi\,\nabla\log\pi^\top Q_t}_{H_1}+\underbrace{\mathbb E\sum_t\gamma^t\nabla^2\log\pi\,Q_t}_{H_2}+\underbrace{\mathbb E\sum_t\gamma^t\nabla\log\pi\,\nabla Q_t^\top}_{H_{12}}+H_{12}^\top.$$
#
# Where they come from: $\nabla J=\mathbb E\sum_t\gamma^t\,\nabla\log\pi\;Q_t$ holds $\phi$ in four places, and the product rule visits each of them:
#
# | term | what is differentiated once more | needs to know |
# |---|---|---|
# | $H_2$ | the score $\nabla\log\pi$ itself | nothing but the policy |
# | $H_1$ | the probability of *this* action | who chose it |
# | $H_{12}$ | what the action is *worth*, $Q_t$ | all later actions |
# | $H_{12}^\top$ | how often we *get* to this state | all earlier actions |
#
# **By hand, four numbers.** Choose good or bad twice, with the same probability $p=\sigma(x)$ of "good"; if both were good, 1 is paid at the second choice. With $\gamma=\frac12$, $J=\frac12p^2$. At $x=0$: $p=\frac12$, $p'=\frac14$, $p''=0$, so $J''=p'^2+pp''=\frac1{16}$. The score is $+\frac12$ for good and $-\frac12$ for bad, its derivative $-\frac14$ for both. Only good choices are worth anything: $Q_0=\frac p2=\frac14$ at the first (reached always), $Q_1=1$ at the second (reached with probability $p$, discounted by $\frac12$).
#
# | term | first choice | second choice | sum |
# |---|---|---|---|
# | $H_1$: $p\cdot(\frac12)^2\cdot Q$ | $\frac12\cdot\frac14\cdot\frac14=\frac1{32}$ | $\frac12p\cdot\frac12\cdot\frac14\cdot1=\frac1{32}$ | $\frac1{16}$ |
# | $H_2$: $p\cdot(-\frac14)\cdot Q$ | $-\frac1{32}$ | $-\frac1{32}$ | $-\frac1{16}$ |
# | $H_{12}$: $p\cdot\frac12\cdot\nabla Q$ | $\frac12\cdot\frac12\cdot\frac{p'}2=\frac1{32}$ | 0: $Q_1$ does not depend on $x$ | $\frac1{32}$ |
# | $H_{12}^\top$: $\nabla(\text{visits})\cdot p\cdot\frac12\cdot Q$ | 0: always reached | $\frac{p'}2\cdot\frac12\cdot\frac12\cdot1=\frac1{32}$ | $\frac1{32}$ |
#
# Together $\frac1{16}$, as it must be. With $H_2$ alone: $-\frac1{16}$, *the wrong sign*. With $H_1+H_2$: 0, as if $J$ were straight. The package gets the same numbers: it writes the inner gradient as $\nabla_\theta L(\theta)$ at $\theta=\phi$ on one-time data, and which term survives is decided by which of the data still knows $\phi$. `bl.DATA_FUNCTIONS` holds the four choices, the **rungs**.


# %%
def curvature(phi, task, direction, data_of, policy, gamma):
    """What a rung takes for (Hessian of J) v: the derivative of <inner gradient, v>."""

    def inner_slope(p):
        data = data_of(p, task, policy=policy, gamma=gamma)
        slope = grad(lambda x: bl.surrogate_objective(x, data, policy=policy))(p)
        return dot(slope, direction) / (1 - gamma)

    return grad(inner_slope)(phi)


# %%
from bomrl_lite.solvers.linear import add_scaled, dot, hessian_vector_product, norm

moves, gains = torch.zeros(3, 2, 3).double(), torch.zeros(3, 2).double()
moves[0, 0, 1] = moves[0, 1, 2] = moves[1, :, 2] = moves[2, :, 2] = 1.0  # action 0 is the good one
gains[1, 0] = 1.0
twice = bl.tabular_task(moves, gains, torch.tensor([1.0, 0.0, 0.0]).double())
logit = bl.linear_softmax(torch.tensor([1.0, 0.0]).double().reshape(1, 2, 1).expand(3, 2, 1))
x = {"weights": torch.zeros(1).double()}
kept = {"naive": "H2", "frozen": "H1 + H2", "q_gradient": "H1 + H2 + H12", "full": "all four"}
for rung, data_of in bl.DATA_FUNCTIONS.items():
    found = curvature(x, twice, {"weights": torch.ones(1).double()}, data_of, logit, 0.5)
    print(f"{rung:<12}{kept[rung]:<16}{16 * found['weights'].item():+.2f} / 16")

# %% [markdown]
# On lakes nobody can do it by hand, but the exact Hessian is known. Five lakes, five random policies:

# %% tags=["widget", "hide-input"]
predictions.ask(
    "02a.frozen",
    "LVC (rung frozen) keeps the first two of the four terms. How far is its "
    "Hessian-vector product from the true one on these lakes? Relative error, median of "
    "five.",
    edges=(0.1, 0.3, 1.0),
)

# %%
rows = {}
for number in range(seed, seed + 5):
    problem = laboratory.make_problem("frozen_lake/holes-4x4", number)
    v, objective = laboratory.outer_direction(problem), partial(bl.policy_return, task=problem.task)
    truth = hessian_vector_product(partial(objective, **problem.exact), problem.phi)(v)
    for rung, data_of in bl.DATA_FUNCTIONS.items():
        product = curvature(problem.phi, problem.task, v, data_of, **problem.exact)
        rows[rung, number] = (norm(add_scaled(product, -1.0, truth)) / norm(truth)).item()
errors = pd.Series(rows).unstack().loc[list(bl.DATA_FUNCTIONS)]
for rung, error in errors[seed].items():
    record(f"hessian_error_{rung}", error, "relative")
predictions.reveal("02a.frozen", errors.loc["frozen"].median())
errors.insert(0, "keeps", pd.Series(kept))
errors.assign(median=errors.iloc[:, 1:].median(axis=1)).round(2)

# %% [markdown]
# *Relative error of the Hessian-vector product on lakes drawn with five seeds, and the median.* One lake can mislead: the first is far worse than the others. The laboratory of section 4 therefore shows medians.
#
# **One word per rung.** Papers, and the code around them, call the same four choices by many names. This course says the word of the package:
#
# | rung here | terms | in papers | elsewhere in this course |
# |---|---|---|---|
# | `naive` | $H_2$ | plain automatic differentiation of the sampled gradient | `naive_maml`; "naive" in lesson 01 |
# | `frozen` | $H_1+H_2$ | LVC, low-variance curvature (Rothfuss et al., 2018) | `lvc_maml`; "frozen data" in lesson 01 |
# | `q_gradient` | $H_1+H_2+H_{12}$ | the data term on the slides of BO-MRL (Xu and Zhu, 2024) | "LVC + grad Q" in the laboratory |
# | `full` | all four | DiCE, Loaded DiCE (Foerster et al., 2018; Farquhar et al., 2019) | `dice_maml`; "exact" in lesson 01 |
#
# **Learnt:** only all four together are the Hessian, and each rung is a choice of which of them to keep. The same ladder returns in lesson 04a, for an Alg that solves its inner problem.

# %% [markdown]
# ## 3. The estimators, one change at a time
#
# Now from episodes. `collect` lets a policy act in all tasks at once; a `Rollout` is batch first, padded where episodes end early:

# %%
from bomrl_lite.policies.networks import over_states
from bomrl_lite.rollout.collect import repeat
from bomrl_lite.rollout.data import policy_at, sample_batch
from bomrl_lite.rollout.returns import discounted_returns

family = bl.make_tasks("probe/random-5x3")
generator = seeded(seed, "tasks")
mdps = family.sample(2, generator, "train")
tabular = bl.tabular_softmax(5, 3)
reader = over_states(tabular)  # the same policy, reading state numbers
phi = {"logits": torch.randn(5, 3, dtype=torch.float64, generator=generator)}
rollout = bl.collect(family.simulator(mdps, 4, 6), reader, repeat(phi, 2), generator)
for field, tensor in rollout._asdict().items():
    print(f"{field:<20}{tuple(tensor.shape)}")
print("returns of the first task's episodes:", discounted_returns(rollout, family.gamma)[0, :, 0])

# %% [markdown]
# **Naive.** Store the actions, compute $\frac1M\sum\log\pi_\phi(a\mid s)\hat A$, differentiate twice. Automatic differentiation does what it is told: the actions are numbers, so all it finds is $H_2$.
#
# **LVC** (rung `frozen`). Divide by the probability that was *stored* when the action was taken. The ratio is 1, so no value changes. Its derivative is the score: the actions know $\phi$ again, $H_1$ is back. It is also the likelihood ratio of ProMP.
#
# In one line each. Both begin with the ratio $\pi_\theta/\pi_\phi$; they differ in whether its denominator is a number:

# %%
from bomrl_lite.rollout.data import frozen_samples, full_samples, naive_samples

first = type(rollout)(*(field[0] for field in rollout))  # the episodes of the first task
batch = sample_batch(first, gamma=family.gamma)


def log_probs(p):
    """log pi of the actions that were taken, [B, T]."""
    return reader.distribution(p, batch.observations).log_prob(batch.actions)


def naive(theta, p):
    return (batch.weights * (log_probs(theta) - log_probs(p)).exp() * batch.advantages).sum()


def lvc(theta, p):
    return (batch.weights * (log_probs(theta) - batch.log_probs).exp() * batch.advantages).sum()


# %%
def twice_differentiated(surrogate, v):
    """First in theta, then, at theta = phi, in phi."""
    return grad(lambda p: dot(grad(surrogate)(p, p), v))(phi)


ones, rows = {"logits": torch.ones_like(phi["logits"]).triu()}, []
for mine, samples in ((naive, naive_samples), (lvc, frozen_samples)):

    def packaged(theta, p, samples=samples):
        data = samples(p, batch, policy=reader)
        return bl.surrogate_objective(theta, data, policy=policy_at(batch, reader))

    here, there = (twice_differentiated(f, ones)["logits"] for f in (mine, packaged))
    rows.append((mine.__name__, samples.__name__, here.norm().item(), (here - there).norm().item()))
pd.DataFrame(rows, columns=["one line", "package", "size", "difference"]).set_index("one line")

# %% [markdown]
# Both were differentiated twice, first in $\theta$, then, at $\theta=\phi$, in $\phi$; `rollout/data.py` holds the package's functions.
#
# **DiCE** (rung `full`). Why not give every quantity the score of everything that caused it? The *magic box* $\mathrm{box}(x)=e^{x-\bot x}$ is 1 in value and multiplies by $\nabla x$ when differentiated, as often as you like. Weigh each reward with the box of all actions so far:
#
# $$J_{\mathrm{DiCE}}=\frac1B\sum_{\text{episodes}}\sum_t\gamma^t\,\mathrm{box}\Big(\sum_{u\le t}\log\pi_\phi(a_u\mid s_u)\Big)\,r_t.$$

# %%
from bomrl_lite.rollout.returns import dice_objective, magic_box

show_source(magic_box, dice_objective)
x = torch.tensor(0.3)
print("value", magic_box(x).item(), " derivative", grad(magic_box)(x).item())

# Two episodes, paid at their last step and at their first: in value all boxes are 1.
rewards = torch.tensor([[0.0, 0.0, 1.0], [1.0, 0.0, 0.0]], dtype=torch.float64)
by_dice = dice_objective(torch.full_like(rewards, -0.7), rewards, gamma=0.9)
record("dice_value_error", abs(by_dice - (0.9**2 + 1) / 2), "return")

# %% [markdown]
# **Loaded DiCE** writes the same with advantages in place of rewards, which takes variance away, and can forget causes of long ago (`causal_trace`). On one-time data the boxes go where the four terms are: into the advantages ($H_{12}$, by `samples_with_q_gradient`) and into the weights of visits ($H_{12}^\top$). Below, `_log_probs` is the function `log_probs` of the cell above, and padding has weight 0:

# %%
show_source(full_samples)

# %% [markdown]
# One gradient step on such data is MAML's inner step, whichever rung. It returns $\theta$ together with `pull`, the way back: a function that takes $\nabla J(\theta)$ to a gradient at $\phi$, $c\mapsto(d\theta/d\phi)^\top c$ (`vjp` records the step and hands out its transpose):

# %%
from bomrl_lite.adaptation.gradient import gradient_adaptation

show_source(gradient_adaptation)

# %% [markdown]
# **Learnt:** an estimator is decided by where the box or the stored number goes; all else is the same code.

# %% [markdown]
# ## 4. The laboratory
#
# On a tabular problem the exact answer is known, so an estimator can be judged: repeat it on many batches of $N$ episodes, and compare with the truth. In units of the length of the exact $\nabla^2J\,v$,
#
# - **bias** is how far the *mean* of the estimates is from it;
# - **deviation** is how far estimates are from their mean, root mean square;
# - **error** is how far they are from the truth: $\text{error}^2=\text{bias}^2+\text{deviation}^2$.
#
# Theory says: DiCE has no bias; LVC has some, that no amount of data removes, and less variance; every deviation falls like $1/\sqrt N$. Names with a baseline subtract a value that is fitted to the same episodes; a number after Loaded DiCE is `causal_trace`. A small run now, the stored full one below.

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


# %% tags=["widget", "hide-input"]
predictions.ask(
    "02a.crossing",
    "That was the random problem. On the *lakes*, from how many episodes per batch on is "
    "the error of plain DiCE below that of LVC? The stored table has 5, 10, 20, 50, ..., "
    "2000.",
    edges=(30, 150, 300),
    unit="episodes",
)

# %%
fig = plots.draw_experiment("laboratory", stored_table("laboratory"))

# %% [markdown]
# *The stored table (`python -m bomrl_lite experiment laboratory`): estimates of $\nabla^2J\,v$ on random problems and on lakes, over episodes per batch. Lines are medians over problems drawn with different seeds, bands span all of them; a hollow marker is a bias that could not be told from 0.*
#
# Read it from left to right. With few episodes the deviation decides, and the estimator with the least of it has the smallest error, biased or not. With many, bias is what is left: LVC's curve goes flat where DiCE's keeps falling. The medians of the errors as numbers:

# %%
table = stored_table("laboratory").query("quantity == 'curvature'")
table = table.groupby(["problem", "estimator", "episodes"], sort=False)["error"].median().unstack()
on_lakes = table.loc["frozen_lake/holes-4x4"]
predictions.reveal("02a.crossing", int((on_lakes.loc["DiCE"] < on_lakes.loc["LVC"]).idxmax()))
table.round(2)

# %% [markdown]
# LVC and plain DiCE cross between 200 and 500 episodes on the random problems, and between 100 and 200 on the lakes; a baseline and a shorter causal trace move the crossing to fewer. Deep meta-RL often runs with some 20 episodes per task, far on the left.
#
# **Learnt:** with few episodes the quiet estimator wins, with many the unbiased one, and only a measurement says where you are.

# %% [markdown]
# ## 5. Recap
#
# - Formulation I adapts with the expected step, formulation II with a sampled one; only II credits the collection by a score term (E-MAML).
# - $\nabla^2J$ has four terms. Naive autodiff keeps $H_2$, LVC $H_1+H_2$, DiCE all. The rung says which of the data knows $\phi$.
# - DiCE is unbiased and loud, LVC biased and quiet; all spreads fall like $1/\sqrt N$, no bias does. With few episodes, quiet wins.

# %%
fig = predictions.show("02a")

# %% [markdown]
# ## 6. Check yourself
#
# <details><summary>Why does dividing by a number that equals 1 change a gradient?</summary>
#
# The inner gradient is taken in $\theta$ first, then, at $\theta=\phi$, once more in $\phi$. First derivative, for both estimators: $\frac{\pi_\theta}{\text{denominator}}\nabla\log\pi_\theta\,\hat A$. Second, with a *stored* denominator (LVC): the weight $\pi_\phi/\pi_{old}$ moves with $\phi$, which gives $\nabla\log\pi\nabla\log\pi^\top\hat A$, and the score moves, which gives $\nabla^2\log\pi\,\hat A$: $H_1+H_2$. With $\pi_\phi$ itself as denominator (naive) the weight is $\pi_\phi/\pi_\phi=1$ for every $\phi$ and its derivative is 0: $H_2$ alone is left. The gradient is not 0; the part that came from the weight is.
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
