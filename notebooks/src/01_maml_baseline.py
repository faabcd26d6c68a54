# %% [markdown]
# # 01 · The MAML baseline
#
# **After this lesson you can**
#
# - compute values, occupancies and policy gradients of a finite problem exactly, and say why each holds;
# - derive MAML's meta-gradient and recognise its second-order term;
# - train MAML on Frozen Lake and measure it against every task's own optimum;
# - name three limitations of MAML, each shown here by a cell: the reasons for lessons 02 to 05.
#
# **Time:** reading 45 minutes, computing about 2 minutes. **Before:** [00 · Start here](00_start_here.ipynb). **After:** exercise set 01 (`exercises/01_maml_baseline.ipynb`). **Words:** [symbols and names](../docs/symbols_and_names.md).
#
# | equation | function |
# |---|---|
# | $V = (I-\gamma P_\pi)^{-1} r_\pi$ and $Q = r + \gamma P V$ | `bl.state_values`, `bl.q_values` |
# | $\nu = (1-\gamma)(I-\gamma P_\pi^\top)^{-1}\rho$ | `bl.occupancy` |
# | $\nabla J = \frac{1}{1-\gamma}\sum_s \nu(s)\sum_a \nabla\pi(a\mid s)\,Q(s,a)$ | `bl.policy_gradient` |
# | $\theta = \phi + \alpha\nabla J_\tau(\phi)$ | `bl.gradient_step` |
# | $\nabla_\phi J_\tau(\theta) = (I+\alpha\nabla^2 J_\tau(\phi))\,\nabla J_\tau(\theta)$ | `bl.maml` |
# | $\mathbb E_\tau[J_\tau(\pi^*_\tau) - J_\tau(\mathrm{Alg}(\phi))]$ | `bl.optimality_gap` |

# %% tags=["parameters"]
profile = "class"  # "smoke": seconds, for tests · "class": for you · "full": larger, for figures
seed = 0

# %%
import itertools
from functools import partial

import numpy as np
import pandas as pd
import torch
from torch.func import vmap

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
    "smoke": {"iterations": 6, "seeds": 2, "num_tasks": 4, "episodes": 200},
    "class": {"iterations": 150, "seeds": 5, "num_tasks": 20, "episodes": 4000},
    "full": {"iterations": 300, "seeds": 20, "num_tasks": 40, "episodes": 40000},
}[profile]

# %% [markdown]
# ## 1. One task: a Markov decision process
#
# A task $\tau$ is a **Markov decision process**: states $s$, actions $a$, transition probabilities $P(s'\mid s,a)$, expected rewards $r(s,a)$, a distribution $\rho$ of the first state and a discount $\gamma$. A policy $\pi(a\mid s)$ earns the **return**, its expected sum of discounted rewards:
#
# $$J(\pi) = \mathbb E\Big[\sum_{t\ge 0}\gamma^t r_t\Big].$$
#
# Gymnasium's Frozen Lake is small enough to write down completely. On slippery ice a step goes where you meant it to with probability 1/3, else to one of the two sides. We look at two policies: the uniform one, and an optimal one $\pi^*$, found by *policy iteration*: take the best action everywhere, compute the new values, repeat. Its *residual* is what one more such improvement would gain at most, so 0 means optimal.

# %%
lake_map = ("SFFF", "FHFH", "FFFH", "HFFG")
task = lakes.lake_task(lake_map, lakes.GYMNASIUM)
gamma = 0.95
print("transition", tuple(task.transition.shape), " reward", tuple(task.reward.shape))
uniform = torch.full_like(task.reward, 0.25)
best, info = bl.optimal_policy(task, gamma)
print(f"residual of the optimal policy: {info.residual:.1e}")

# %% [markdown]
# ### Values
#
# The **state value** $V(s)$ is the return from $s$ on. One step of it must fit the next, $V = r_\pi + \gamma P_\pi V$ with $P_\pi(s,s')=\sum_a\pi(a\mid s)P(s'\mid s,a)$ and $r_\pi(s)=\sum_a\pi(a\mid s)r(s,a)$: a linear system, whose matrix $I-\gamma P_\pi$ the code calls `_bellman_matrix`. The **action value** $Q(s,a)$ takes action $a$ first, and the **advantage** $A = Q - V$ says how much better that is than following $\pi$.

# %%
show_source(bl.state_values, bl.q_values)

# %% tags=["widget", "hide-input"]
predictions.ask(
    "01.slippery",
    "The goal pays 1, and a step later is worth 0.95 of a step now. What return J does "
    "the *optimal* policy reach from S on this slippery lake?",
    edges=(0.1, 0.3, 0.6),
)

# %%
fig, axes = plots.plt.subplots(1, 2, figsize=(6, 3.2))
values = [bl.state_values(probs, task, gamma) for probs in (uniform, best)]
predictions.reveal("01.slippery", (task.start @ values[1]).item())
scale = (0.0, values[1].max().item())
for ax, probs, value, name in zip(
    axes, (uniform, best), values, ("uniform", "optimal"), strict=True
):
    title = f"{name} policy: J = {task.start @ value:.3f}"
    plots.draw_lake(lake_map, value, probs, ax=ax, title=title, value_range=scale)

# %% [markdown]
# *Colours and numbers: state values, on one scale. G shows 0 because gymnasium pays for entering the goal and then ends. The optimal policy walks into walls next to holes on purpose: slipping sideways along a wall is safer than towards the hole.*
#
# Never believe an exact number without a second road to it. Gymnasium's own environment, played many times:

# %%
import gymnasium

env = gymnasium.make("FrozenLake-v1", desc=list(lake_map), is_slippery=True)
rng = np.random.default_rng(seed)
env.reset(seed=seed)


def play(probs):
    """Return the discounted reward of one episode in gymnasium's environment."""
    state, _ = env.reset()
    earned, discount, done = 0.0, 1.0, False
    while not done and discount > 1e-3:
        action = int(rng.choice(4, p=probs[state].numpy()))
        state, reward, done, _, _ = env.step(action)
        earned, discount = earned + discount * reward, discount * gamma
    return earned


returns = np.array([play(best) for _ in range(sizes["episodes"])])
exact_return = bl.expected_return(best, task, gamma).item()
error = returns.std() / np.sqrt(len(returns))
print(f"exact J {exact_return:.4f}, sampled {returns.mean():.4f} +- {error:.4f} (standard error)")
assert abs(returns.mean() - exact_return) < 4 * error, "the two roads disagree"

# %% [markdown]
# ### Occupancy
#
# Where does a policy spend its (discounted) time? The **occupancy** $\nu(s) = (1-\gamma)\sum_t\gamma^t\Pr(s_t=s)$ sums to 1 and turns a return into an average: $J = \frac1{1-\gamma}\sum_s\nu(s)\sum_a\pi(a\mid s)\,r(s,a)$.

# %%
show_source(bl.occupancy)
nu = bl.occupancy(best, task, gamma)
as_average = (nu[:, None] * best * task.reward).sum() / (1 - gamma)
print(f"sum of occupancy {nu.sum():.12f};  J {exact_return:.12f} = {as_average:.12f}")
fig = plots.draw_lake(lake_map, nu, title="occupancy of the optimal policy")

# %% [markdown]
# *Where the optimal policy is, in discounted time. It ends at the goal, or in a hole.*
#
# ### The policy-gradient theorem
#
# Let a policy have parameters $\theta$; ours has one logit per state and action, $\pi_\theta(\cdot\mid s)=\mathrm{softmax}(\theta_s)$. The theorem (Sutton et al., 1999) says
#
# $$\nabla J(\theta) = \frac{1}{1-\gamma}\sum_s\nu(s)\sum_a\nabla\pi_\theta(a\mid s)\,Q(s,a).$$
#
# The surprise is what is *missing*: the derivatives of $\nu$ and of $Q$. For this softmax the sum becomes $\frac1{1-\gamma}\nu(s)\,\pi(a\mid s)\,A(s,a)$, one entry per logit. We compare it with automatic differentiation of $J$, through the linear solve.

# %%
policy = bl.tabular_softmax(16, 4)
theta = {"logits": torch.randn(16, 4, dtype=torch.float64, generator=seeded(seed, 7))}
probs = policy.log_probs(theta).exp()
theorem = (
    bl.occupancy(probs, task, gamma)[:, None]
    * probs
    * bl.advantages(probs, task, gamma)
    / (1 - gamma)
)
autodiff = bl.policy_gradient(theta, task, policy=policy, gamma=gamma)["logits"]
difference = ((theorem - autodiff).norm() / autodiff.norm()).item()
print(f"relative difference {difference:.1e}")
record("policy_gradient_theorem_error", difference, "relative")

# %% [markdown]
# The derivatives of $\nu$ and $Q$ drop out of the *first* derivative only. They are inside the second one, and MAML needs that: keep this in mind for section 5.
#
# **Learnt:** values, occupancies and gradients of a small problem are exact numbers, and each of them can be had on a second road that shares nothing with the first.
#
# ## 2. Many tasks: a bilevel problem
#
# From here on we use the lakes of the BO-MRL experiment: no slipping, $\gamma=0.8$, the goal pays 1 at every step once reached, a hole costs 1 at every step. The best possible return is the same on every lake, six steps to the goal: $\gamma^5/(1-\gamma)=1.6384$.
#
# **Optimisation-based meta-RL** looks for meta-parameters $\phi$ such that an algorithm $\mathrm{Alg}$, started at $\phi$ with data of task $\tau$, ends at a good policy, on average over the tasks of a distribution $P(\Gamma)$:
#
# $$\max_\phi\ \mathbb E_{\tau\sim P(\Gamma)}\big[J_\tau(\mathrm{Alg}(\phi,\tau))\big].$$
#
# It is *bilevel* because $\mathrm{Alg}$ is itself an optimisation. In **MAML** (Finn et al., 2017) it is a single policy-gradient step,
#
# $$\theta_\tau(\phi) = \phi + \alpha\nabla J_\tau(\phi).$$
#
# ### The meta-gradient
#
# By the chain rule, with $\partial\theta/\partial\phi = I + \alpha\nabla^2J_\tau(\phi)$, which is symmetric,
#
# $$\nabla_\phi J_\tau(\theta_\tau(\phi)) = \underbrace{\nabla J_\tau(\theta)}_{\text{first order}} + \underbrace{\alpha\,\nabla^2 J_\tau(\phi)\,\nabla J_\tau(\theta)}_{\text{second order}}.$$
#
# The Hessian is never written out; a *Hessian-vector product* costs about as much as a gradient.

# %%
from bomrl_lite.solvers.linear import add_scaled, dot, hessian_vector_product, norm

show_source(bl.first_order_maml, bl.maml, hessian_vector_product)

# %% [markdown]
# Here are the lakes, and MAML's Alg on them:

# %%
config = bl.configure(
    "maml",
    tasks="frozen_lake/holes-4x4",
    num_tasks=sizes["num_tasks"],
    iterations=sizes["iterations"],
    seed=seed,
)
problem = bl.make_problem(config)
exact = {"policy": problem.policy, "gamma": problem.gamma}
settings = {**exact, "step_size": config.alg.step_size}
adapt = partial(bl.gradient_step, **settings)


def single(tasks, index):
    """Take one task out of a batch."""
    return type(tasks)(*(field[index] for field in tasks))


# %% [markdown]
# A derivation convinces, a measurement verifies. Along a random direction $v$ the derivative must equal a central difference of the whole two-level computation:

# %%
lake = single(problem.training_tasks, 0)
draw = {"dtype": torch.float64, "generator": seeded(seed, 8)}
anywhere = {"logits": torch.randn(16, 4, **draw)}
v = {"logits": torch.randn(16, 4, **draw)}


def meta_objective(t):
    return bl.policy_return(adapt(add_scaled(anywhere, t, v), lake), lake, **exact)


h = 1e-4
near, far = (meta_objective(x) - meta_objective(-x) for x in (h, 2 * h))
difference = (8 * near - far) / (12 * h)
full, first_order = (
    dot(f(anywhere, lake, **settings)[0], v) for f in (bl.maml, bl.first_order_maml)
)
error = (abs(full - difference) / abs(difference)).item()
print(f"central difference {difference:+.9f}")
print(f"maml               {full:+.9f}  (relative error {error:.1e})")
print(f"first order        {first_order:+.9f}")
record("meta_gradient_error", error, "relative")

# %% [markdown]
# **Learnt:** the meta-gradient is the gradient at $\theta$, and a Hessian-vector product at $\phi$ on top; leaving the second part out changed the derivative above several-fold (compare the last two lines).
#
# ## 3. Training
#
# Three ways to choose $\phi$, from the same lakes, with the same outer optimiser (Adam): **joint** training (the method `joint_finetuned`) maximises the return *before* adaptation; **first-order MAML** drops the second-order term; **MAML** keeps it. Each runs with several seeds; a seed draws other lakes.

# %% tags=["widget", "hide-input"]
predictions.ask(
    "01.joint",
    "All three then adapt by the same single step. What will the *jointly* trained policy "
    "return after that step, on the lakes that it was trained on? The best possible is "
    "1.64.",
    edges=(0.8, 1.1, 1.4),
)

# %%
METHODS = {"joint": "joint_finetuned", "first_order_maml": "first_order_maml", "maml": "maml"}
seeds = range(seed, seed + sizes["seeds"])
configs = {
    (prior, s): config.replace(method=method, seed=s)
    for (prior, method), s in itertools.product(METHODS.items(), seeds)
}
trained = {key: bl.meta_train(c) for key, c in configs.items()}
history = pd.DataFrame(
    {"method": prior, "seed": s, **row}
    for (prior, s), state in trained.items()
    for row in state.history
)
after_joint = history.query("method == 'joint'").groupby("seed")["return_after"].last()
predictions.reveal("01.joint", after_joint.mean())
OPTIMUM = exact["gamma"] ** 5 / (1 - exact["gamma"])
first_norm = trained["maml", seed].history[0]["gradient_norm"]
print(f"norm of MAML's first meta-gradient: {first_norm:.2g}")
record("first_gradient_norm", first_norm, "return per parameter")
fig = plots.training_curves(history, optimum=OPTIMUM)

# %% [markdown]
# *Mean return over the training lakes; bands span all seeds. The meta-policy of MAML earns little itself, often less than nothing (left): it is only judged by what one step makes of it (right). The jointly trained policy ends near a return of 0 on most seeds, that of standing still on safe ice.* The norm above is of the mean over tasks. Adam divides it out of its steps, so the curves would not tell a sum over tasks from their mean: compare the norm itself with your own code's.
#
# ### Look at one
#
# Move the slider: each position is a lake that training never saw.

# %% tags=["widget"]
phi = trained["maml", seed].phi
maps = lakes.sample_maps(config.tasks, 12, seeded(seed, "evaluation"), "test")
held_out = lakes.lake_tasks(maps, lakes.HOLES)
view, draw_lake = widgets.lake_explorer(phi, maps, held_out, adapt, **exact)
view

# %%
returns = bl.adapted_returns(phi, held_out, adapt, **exact)
worst = int((returns[:, 1] - returns[:, 0]).argmax())
fig = draw_lake(worst)

# %% [markdown]
# *The held-out lake on which the single step changes most. Left the meta-policy, right the adapted one; both on one colour scale.*
#
# ### The step size
#
# $\alpha$ was fixed in training. The slider shows what other values would do from the same $\phi$: on the left where the step lands in a plane of parameters of one lake, on the right the return of every training lake.

# %% tags=["widget"]
view, draw_step = widgets.step_size_explorer(phi, problem.training_tasks, **exact)
view

# %%
fig = draw_step(config.alg.step_size)

# %% [markdown]
# *Left: the return of one lake over a plane through $\phi$; along: $\nabla J(\phi)$, the inner step (arrow); across: what the gradient after a step of size 40 adds to it, that is where a second step on fresh data would turn. Right: one line per training lake, the dotted line is the $\alpha$ of training.* On the right a step of 1000 earns as much as one of 10. Nothing is wrong: the data are exact, and a softmax saturates, so a step that is a hundred times as long changes little more of what the policy does where it goes. That does not make $\alpha$ harmless in *training*: limitation 3 below shows what a small one does.
#
# **Learnt:** a meta-policy is trained for what one step makes of it, so neither its own return nor that of joint training says how good it is.
#
# ## 4. How good is it? Three metrics
#
# From weak to strong:
#
# 1. **stationarity**: $\|\nabla_\phi\,\mathbb E_\tau J_\tau(\mathrm{Alg}(\phi))\|$ is small;
# 2. **meta-objective**: $\mathbb E_\tau J_\tau(\mathrm{Alg}(\phi))$ is close to the best that any $\phi$ reaches (we compare with the best that any run here reached, since the true maximum is unknown);
# 3. **all-task optimum**: $\mathbb E_\tau[J_\tau(\pi_\tau^*) - J_\tau(\mathrm{Alg}(\phi))]$ is small, where $\pi^*_\tau$ is the best policy of task $\tau$. Every task is compared with *its own* optimum: nothing stronger can be asked.

# %%
from bomrl_lite.training.metrics import gap_rows, stationarity

num_test = 20 if profile != "smoke" else 4
rows, metrics = [], []
for s in seeds:
    per_seed = bl.make_problem(configs["maml", s])
    test = per_seed.family.sample(num_test, seeded(s, "evaluation"), "test")
    priors = {"untrained": per_seed.policy.init(torch.Generator())}
    priors |= {prior: trained[prior, s].phi for prior in METHODS}
    for prior, params in priors.items():
        labels = {"prior": prior, "seed": str(s)}
        for split, tasks in (("training", per_seed.training_tasks), ("held-out", test)):
            rows += gap_rows(
                params, tasks, adapt, **exact, num_steps=3, labels={**labels, "split": split}
            )
        per_task = partial(bl.maml, **settings)
        slope = stationarity(params, per_seed.training_tasks, per_task).item()
        metrics.append({**labels, "stationarity": slope})
gaps = pd.DataFrame(rows)
fig = plots.gap_bars(gaps)

# %% [markdown]
# *Mean gap to every task's own optimum; dots are means over seeds, whiskers span all seeds. Zero adaptation steps judge the meta-policy itself, one step is what MAML was trained for, later steps collect fresh data each.*

# %%
one = gaps[gaps.step == 1].groupby(["prior", "seed", "split"])[["gap", "return"]].mean()
gap, reached = one["gap"].unstack("split"), one["return"].unstack("split")["training"]
summary = pd.DataFrame(
    {
        "stationarity": pd.DataFrame(metrics).set_index(["prior", "seed"])["stationarity"],
        "below best meta-objective": reached.groupby("seed").transform("max") - reached,
        "gap, training tasks": gap["training"],
        "gap, held-out tasks": gap["held-out"],
    }
)
means = summary.groupby("prior").mean().loc[["untrained", *METHODS]]
for prior in means.index:
    record(f"{prior}_gap_training", means.loc[prior, "gap, training tasks"], "return")
    record(f"{prior}_gap_held_out", means.loc[prior, "gap, held-out tasks"], "return")
means.round(3)

# %% [markdown]
# Read the rows: the first column can be small in a row whose last columns are large. That is limitation 3 below.
#
# ### How many training tasks?
#
# The held-out bars are higher than the training bars: with few lakes, the meta-policy also learns *these* lakes.

# %%
counts = {"smoke": (2, 4), "class": (5, 10, 20, 40), "full": (5, 10, 20, 40, 80, 160)}[profile]
rows = []
for count in counts:
    for s in seeds:
        c = config.replace(num_tasks=count, seed=s)
        params, many = bl.meta_train(c).phi, bl.make_problem(c)
        test = many.family.sample(num_test, seeded(s, "evaluation"), "test")
        for split, tasks in (("training", many.training_tasks), ("held-out", test)):
            labels = {"tasks": split, "num_tasks": str(count), "seed": str(s)}
            rows += gap_rows(params, tasks, adapt, **exact, labels=labels)
by_count = pd.DataFrame(rows).query("step == 1").astype({"num_tasks": int})
by_count = by_count.groupby(["tasks", "num_tasks", "seed"], as_index=False, sort=False)[
    "gap"
].mean()
fig = plots.gap_over_tasks(by_count)
mean_gap = by_count.groupby(["tasks", "num_tasks"])["gap"].mean()
record("held_out_gap_fewest_tasks", mean_gap["held-out", counts[0]], "return")
record("held_out_gap_most_tasks", mean_gap["held-out", counts[-1]], "return")

# %% [markdown]
# *Gap of MAML after one step over the number of training lakes; lines are means, bands span all seeds. How the number of tasks matters is a question that the analyses of this field hardly treat (lesson 07).*
#
# **Learnt:** the gap to every task's own optimum, on held-out tasks, is the number to ask for; a small meta-gradient or a good training gap can stand beside a large one.
#
# ## 5. Three limitations, each in a cell
#
# ### Limitation 1: one step leaves the data unused
#
# In every task, the data were collected once, and MAML takes one gradient step on them. But they say more. From the *same* $\nu$ and $Q$ of $\pi_\phi$ one can go on climbing
#
# $$L_\phi(\theta) = \frac1{1-\gamma}\sum_s\nu^{\pi_\phi}(s)\sum_a\pi_\theta(a\mid s)\,Q^{\pi_\phi}(s,a),$$
#
# whose gradient at $\theta=\phi$ is exactly the policy gradient. We take up to 60 steps on it, and beside it the same number of steps with *fresh data for each*, which costs that many collections.


# %% tags=["widget", "hide-input"]
predictions.ask(
    "01.steps",
    "From MAML's prior, on data that were collected once: after how many of the up to 60 "
    "gradient steps is the mean gap smallest?",
    edges=(2, 8, 45),
    unit="steps",
)


# %%
def surrogate(theta, phi, task):
    """L_phi(theta): the data (occupancy and Q) are those of pi_phi, and stay so."""
    probs = exact["policy"].log_probs(phi).exp()
    nu, q = bl.occupancy(probs, task, exact["gamma"]), bl.q_values(probs, task, exact["gamma"])
    new_probs = exact["policy"].log_probs(theta).exp()
    return (nu[:, None] * new_probs * q).sum() / (1 - exact["gamma"])


def gap_along(phi, task, num_steps, fresh):
    """Return the gap after 0, 1, ..., num_steps inner steps on one-time or on fresh data."""
    theta, earned = phi, []
    for _ in range(num_steps + 1):
        earned.append(bl.policy_return(theta, task, **exact))
        source = theta if fresh else phi
        gradient = torch.func.grad(surrogate)(theta, source, task)
        theta = add_scaled(theta, config.alg.step_size, gradient)
    return OPTIMUM - torch.stack(earned)


# %%
num_steps = {"smoke": 3, "class": 60, "full": 200}[profile]
shown = [k for k in (0, 1, 2, 3, 5, 8, 12, 20, 30, 45, 60, 100, 200) if k <= num_steps]
rows = []
for s in seeds:
    test = problem.family.sample(num_test, seeded(s, "evaluation"), "test")
    priors = {"untrained": problem.policy.init(torch.Generator()), "maml": trained["maml", s].phi}
    for (prior, params), fresh in itertools.product(priors.items(), (False, True)):
        curve = vmap(lambda t, p=params, f=fresh: gap_along(p, t, num_steps, f))(test).mean(0)
        labels = {"prior": prior, "data": "fresh each step" if fresh else "one-time", "seed": s}
        rows += [{**labels, "steps": k, "gap": curve[k].item()} for k in shown]
reuse = pd.DataFrame(rows)
fig = plots.gap_over_steps(reuse)
by_steps = reuse.query("prior == 'maml' and data == 'one-time'").groupby("steps")["gap"].mean()
record("gap_one_step_of_one_time_data", by_steps[1], "return")
record("gap_last_step_of_one_time_data", by_steps[shown[-1]], "return")
predictions.reveal("01.steps", by_steps.idxmin())
print(by_steps.round(3).to_string())

# %% [markdown]
# *Mean gap on held-out lakes, logarithmic; lines are means over seeds, bands span all seeds; the table gives the MAML prior on one-time data. More steps on the same data go below what the single step reached, at no cost in data. But not for ever: how many steps are safe differs from seed to seed, and nothing in the data says.* The reason is that the data describe $\pi_\phi$, and $\pi_\theta$ moves away from it. Lesson 03a therefore adds a distance between the two to this objective and solves it to the end: that is BO-MRL's *universal policy adaptation*.
#
# ### Limitation 2: the sampling policy's influence is ignored
#
# Our Hessian is exact. With samples, common code differentiates the *estimate* of the policy gradient as if the data did not depend on $\phi$. What is then left of the second-order term?
#
# - **naive**: only the curvature of $\log\pi$, as plain automatic differentiation through a sampled gradient gives, with returns $Q$ or with advantages $A$;
# - **frozen**: $Q$ and $\nu$ held constant while $\pi_\theta$ varies, as in LVC and ProMP;
# - **full**: everything, also how $\phi$ changes which states are seen and what they are worth.
#
# These are three rungs of a *ladder* that comes back in every lesson under these names; [the table of names](../docs/symbols_and_names.md) says what other papers call them. First order lies below them all.


# %% tags=["widget", "hide-input"]
predictions.ask(
    "01.advantages",
    "How does the meta-gradient of *naive* MAML with advantages compare to that of "
    "first-order MAML, which has no second-order term at all?",
    ("its error is smaller", "they are the same", "its error is larger"),
)


# %%
def log_surrogate(values, theta, phi, task):
    """Only log pi varies; ``values`` says what weighs it, bl.q_values or bl.advantages."""
    probs = exact["policy"].log_probs(phi).exp()
    nu, weight = bl.occupancy(probs, task, exact["gamma"]), values(probs, task, exact["gamma"])
    score = exact["policy"].log_probs(theta)
    return (nu[:, None] * probs * score * weight).sum() / (1 - exact["gamma"])


def maml_with(objective, phi, task, *, step_size, **exact):
    """MAML whose second-order term differentiates ``objective`` instead of J."""
    outer, info = bl.first_order_maml(phi, task, step_size=step_size, **exact)
    hessian = hessian_vector_product(lambda p: objective(p, phi, task), phi)
    return add_scaled(outer, step_size, hessian(outer)), info


VARIANTS = {
    "first order": bl.first_order_maml,
    "naive, returns": partial(maml_with, partial(log_surrogate, bl.q_values)),
    "naive, advantages": partial(maml_with, partial(log_surrogate, bl.advantages)),
    "frozen": partial(maml_with, surrogate),
    "full": bl.maml,
}


# %%
def mean_gradient(method, phi):
    gradients, _ = vmap(partial(method, **settings), in_dims=(None, 0))(phi, problem.training_tasks)
    return {name: leaf.mean(0) for name, leaf in gradients.items()}


rows = []
for where, params in (("untrained", problem.policy.init(torch.Generator())), ("trained", phi)):
    truth = mean_gradient(bl.maml, params)
    for name, method in VARIANTS.items():
        estimate = mean_gradient(method, params)
        error = (norm(add_scaled(estimate, -1.0, truth)) / norm(truth)).item()
        cosine = (dot(estimate, truth) / (norm(estimate) * norm(truth))).item()
        rows.append({"at": where, "meta-gradient": name, "relative error": error, "cosine": cosine})
influence = pd.DataFrame(rows).set_index(["at", "meta-gradient"])
at_start = influence.loc["untrained", "relative error"]
record("naive_returns_error", at_start["naive, returns"], "relative")
record("frozen_data_error", at_start["frozen"], "relative")
influence.round(3)

# %%
more = at_start["naive, advantages"] - at_start["first order"]
same = "they are the same" if abs(more) < 1e-9 else None
predictions.reveal("01.advantages", same or f"its error is {'larger' if more > 0 else 'smaller'}")

# %% [markdown]
# These are not sampling errors: there are no samples here. They are what each formula leaves out. With returns, the naive term depends on a constant that one may add to all rewards; with advantages it vanishes for a tabular softmax, since $\nabla^2\log\pi(a\mid s)$ is the same for every action and advantages average to 0: then naive MAML *is* first-order MAML. Does it matter for training? We train with the others too, everything else equal, and show the untrained prior.

# %% tags=["widget", "hide-input"]
predictions.ask(
    "01.training",
    "Which of these meta-gradients trains the prior with the smallest mean gap on "
    "*held-out* lakes?",
    ("first order", "naive, returns", "frozen", "full"),
)

# %%
from dataclasses import replace

from bomrl_lite.training.trainer import meta_step, start_state

problems = {s: bl.make_problem(configs["maml", s]) for s in seeds}


def train_with(method, s):
    """Meta-train with a meta-gradient of our own, from the same start on the same lakes."""
    ours = replace(problems[s], meta_gradient=partial(method, **settings))
    state = start_state(ours)
    for _ in range(sizes["iterations"]):
        meta_step(state, ours)
    return state.phi


# %%
rows = []
for s in seeds:
    compared = {
        "untrained": problem.policy.init(torch.Generator()),
        "first order": trained["first_order_maml", s].phi,
        "naive, returns": train_with(VARIANTS["naive, returns"], s),
        "frozen": train_with(VARIANTS["frozen"], s),
        "full": trained["maml", s].phi,
    }
    test = problem.family.sample(num_test, seeded(s, "evaluation"), "test")
    for (name, params), split in itertools.product(compared.items(), ("training", "held-out")):
        labels = {"meta-gradient": name, "split": split, "seed": str(s)}
        tasks = problems[s].training_tasks if split == "training" else test
        rows += gap_rows(params, tasks, adapt, **exact, labels=labels)
effect = pd.DataFrame(rows).query("step == 1").groupby(["meta-gradient", "split", "seed"])
per_run = effect["gap"].mean().unstack("split")
ordered = per_run.groupby("meta-gradient").agg(["mean", "min", "max"]).loc[list(compared)]
names = {"naive, returns": "naive_returns", "frozen": "frozen_data", "full": "exact"}
for name, label in names.items():
    record(f"gap_trained_with_{label}", ordered.loc[name, ("held-out", "mean")], "return")
predictions.reveal("01.training", ordered["held-out", "mean"].drop("untrained").idxmin())
ordered.round(3)

# %% [markdown]
# *Gap after one step: mean, smallest and largest over seeds.* Compare the columns before you conclude: a wrong meta-gradient is not always a worse learner, but it is never the one you derived. Lesson 02a sorts these estimators out, lesson 04a computes the full gradient for BO-MRL.
#
# ### Limitation 3: a weak guarantee
#
# What is usually proved for MAML is stationarity, that the meta-gradient vanishes in the limit (for RL: Fallah et al., 2020); Wang et al. (2020) bound the meta-objective under further conditions. Neither compares with each task's own optimum. Is a vanishing meta-gradient worth having? We train twice as long as before with a small and a large inner step size, and draw every run.

# %%
rows = []
for alpha, s in itertools.product((0.3, 30.0), seeds):
    c = config.replace(step_size=alpha, iterations=2 * sizes["iterations"], seed=s)
    params, lakes_of_run = bl.meta_train(c).phi, bl.make_problem(c).training_tasks
    per_alpha = {**exact, "step_size": alpha}
    after = gap_rows(params, lakes_of_run, partial(bl.gradient_step, **per_alpha), **exact)
    slope = stationarity(params, lakes_of_run, partial(bl.maml, **per_alpha)).item()
    gap = pd.DataFrame(after).query("step == 1")["gap"].mean()
    rows.append({"step size": f"{alpha:g}", "seed": s, "stationarity": slope, "gap": gap})
guarantee = pd.DataFrame(rows)
fig = plots.gap_against_stationarity(guarantee, standstill=OPTIMUM)
most_stationary = guarantee.loc[guarantee["stationarity"].idxmin()]
record("smallest_stationarity", most_stationary["stationarity"], "norm")
record("gap_of_most_stationary_run", most_stationary["gap"], "return")
record("gap_at_largest_step_size", guarantee.query("`step size` == '30'")["gap"].mean(), "return")
guarantee.pivot(index="seed", columns="step size", values=["stationarity", "gap"]).round(4)

# %% [markdown]
# *Every mark is a run: its meta-gradient norm, and its gap on the training lakes after one step; the table has the same numbers. Dotted: 1.6384, the gap of a policy that earns nothing.* With the small step size some runs sit on that line, and their meta-gradients are the *smallest* of all, several times smaller than those of runs that have nearly solved their lakes. That is a plateau, not a proof that training would never leave it. But judged by stationarity alone those runs come first: a small meta-gradient cannot tell success from standing still. The guarantee one wants bounds the vertical axis. BO-MRL's theorem (lesson 05a) does, by a quantity of the task family: how far apart its optimal policies are.
#
# **Learnt:** one step leaves data unused (lesson 03a), common meta-gradients leave terms out (02a, 04a), and the usual guarantee does not speak of the gap (05a).
#
# ## 6. Recap
#
# - Values and occupancies are linear solves; the policy gradient needs no derivative of either, the meta-gradient does.
# - MAML's meta-gradient is $(I+\alpha\nabla^2J_\tau(\phi))\nabla J_\tau(\theta)$; its second-order term is a Hessian-vector product.
# - The metric that counts is the gap to every task's own optimum, on held-out tasks, beside an untrained prior.
# - MAML uses its data once, in practice ignores how $\phi$ shapes them, and a vanishing meta-gradient says little about the gap.

# %%
fig = predictions.show("01")

# %% [markdown]
# ## 7. Check yourself
#
# <details><summary>What are the components of a Markov decision process, and which of them does a policy change?</summary>
#
# States, actions, transitions, rewards, first-state distribution and discount. A policy changes none of them; it changes which states are visited, and so what is earned.
#
# </details>
#
# <details><summary>How does a bilevel problem differ from optimising one objective?</summary>
#
# Its outer objective is evaluated at the solution of an inner problem that depends on the outer variable. Its gradient therefore needs the derivative of that solution, $\partial\theta/\partial\phi$.
#
# </details>
#
# <details><summary>Why may the policy gradient use the advantage in place of Q?</summary>
#
# They differ by $V(s)$, which does not depend on the action, and $\sum_a\nabla\pi(a\mid s)=\nabla 1=0$.
#
# </details>
#
# <details><summary>With α → 0, what does MAML's meta-gradient become, and what does MAML learn?</summary>
#
# The second-order term vanishes and $\theta\to\phi$: it becomes the gradient of joint training. The figure of limitation 3 shows the result.
#
# </details>
#
# <details><summary>A colleague reports a meta-gradient norm of 0.001 and calls the problem solved. What do you ask for?</summary>
#
# The gap to every task's optimum on held-out tasks, and the same for an untrained prior.
#
# </details>
#
# ## 8. Reading
#
# - C. Finn, P. Abbeel, S. Levine (2017), *Model-Agnostic Meta-Learning for Fast Adaptation of Deep Networks*, arXiv 1703.03400: MAML.
# - R. Sutton, D. McAllester, S. Singh, Y. Mansour (1999), *Policy Gradient Methods for Reinforcement Learning with Function Approximation*: the theorem.
# - A. Agarwal, S. Kakade, J. Lee, G. Mahajan (2019), *On the Theory of Policy Gradient Methods*, arXiv 1908.00261: tabular softmax in depth.
# - A. Fallah, K. Georgiev, A. Mokhtari, A. Ozdaglar (2020), *On the Convergence Theory of Debiased Model-Agnostic Meta-Reinforcement Learning*, arXiv 2002.05135: metric 1.
# - L. Wang, Q. Cai, Z. Yang, Z. Wang (2020), *On the Global Optimality of Model-Agnostic Meta-Learning*: metric 2.
# - S. Xu, M. Zhu (2024), *Meta-Reinforcement Learning with Universal Policy Adaptation*, arXiv 2410.09728: metric 3, and the road of this course.
# - J. Beck et al. (2023), *A Survey of Meta-Reinforcement Learning*, arXiv 2301.08028: the whole field.
#
# **Next:** the exercises, [`exercises/01_maml_baseline.ipynb`](../exercises/01_maml_baseline.ipynb).
