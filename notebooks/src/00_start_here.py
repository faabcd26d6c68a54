# %% [markdown]
# # 00 · Start here
#
# **After these ten minutes you can** say what meta-reinforcement learning is, know that your machine is ready, and have watched one meta-policy learn three new lakes in one step each.
#
# Run the cells from top to bottom with <kbd>Shift</kbd>+<kbd>Enter</kbd>. Nothing here needs a GPU or the network. The first import after a start of the machine can take half a minute without a word: it has not hung. In every lesson, a symbol that you do not recall stands on [the page of symbols and names](../docs/symbols_and_names.md).

# %% tags=["parameters"]
profile = "class"  # "smoke": seconds, for tests · "class": for you · "full": larger, for figures
seed = 0

# %% [markdown]
# ## 1. Is this machine ready?
#
# The check compares *versions* with what the course needs. A line that begins with `!!` names a difference; what to do about it stands below the list.

# %%
from functools import partial

import torch

import bomrl_lite as bl
from bomrl_lite.course import plots, predictions
from bomrl_lite.course.parameters import begin
from bomrl_lite.course.record import record
from bomrl_lite.course.setup_check import setup_check
from bomrl_lite.tasks import frozen_lake as lakes

begin(profile, seed)
plots.use_style()
torch.set_num_threads(1)
setup_check()

# %% [markdown]
# **Learnt:** whether your versions are those that the course was tested with.
#
# ## 2. What is meta-reinforcement learning?
#
# A reinforcement learner that starts from nothing needs a lot of experience for every new task. But tasks come in **families**: the same robot with another goal, the same lake with other holes. *Meta*-reinforcement learning spends its experience on the family, to find one starting point $\phi$ from which every task of the family is a short way.

# %%
fig = plots.meta_learning_picture()

# %% [markdown]
# *Left: three tasks learned separately, three long ways. Right: one learned starting point, the meta-parameters $\phi$, and three short adaptations. A drawing, not data.*
#
# Our first family is **Frozen Lake**. You start at S and want to reach G; black discs are holes. In this family a hole swallows you and costs 1 at every later step, while the goal pays 1 at every later step. The *return* is the sum of all rewards, each later one worth 0.8 of the one before. So it can be negative: a policy that soon falls into a hole pays for ever (though never more than $1/(1-0.8)=5$ in all), and one that stays on the ice has 0. Each *task* is another lake.

# %%
from bomrl_lite.training.streams import seeded

family = "frozen_lake/holes-4x4"
held_out_maps = lakes.sample_maps(family, 3, seeded(seed, 5), "test")
fig, axes = plots.plt.subplots(1, 3, figsize=(7, 2.4))
for name, lake_map, ax in zip("ABC", held_out_maps, axes, strict=True):
    plots.draw_lake(lake_map, ax=ax, title=f"lake {name}")

# %% [markdown]
# *Three lakes of the family. They are held out: no training below ever sees them.*
#
# The idea has two levels, one inside the other. Mathematicians call that **bilevel optimisation**:
#
# - **inner level:** in a task $\tau$, the meta-policy $\pi_\phi$ collects data once, and an algorithm $\mathrm{Alg}$ turns $\phi$ and these data into a policy $\pi_\theta$ for this task;
# - **outer level:** $\phi$ is moved so that the *adapted* policies earn more, on average over tasks.

# %%
fig = plots.bilevel_picture()

# %% [markdown]
# *The inner level goes from left to right. The gold arrow is the outer level: the gradient of the return after adaptation, with respect to the meta-parameters before it. To compute that gradient correctly is what this course is about.*
#
# **Learnt:** the inner level knows one task, the outer level the family; what is judged is the policy *after* adaptation.
#
# ## 3. A first result, live
#
# We train a meta-policy with **MAML** (lesson 01): Alg is one policy-gradient step. Then it meets lakes A, B and C.

# %%
iterations = {"smoke": 10, "class": 150, "full": 300}[profile]
config = bl.configure("maml", tasks=family, num_tasks=20, iterations=iterations, seed=seed)
problem = bl.make_problem(config)
state = bl.meta_train(config)
print(f"trained on {config.num_tasks} lakes for {state.iteration} meta-iterations")

# %%
gamma, policy = problem.gamma, problem.policy
adapt = partial(bl.gradient_step, policy=policy, gamma=gamma, step_size=config.alg.step_size)
tasks = [lakes.lake_task(lake_map, lakes.HOLES) for lake_map in held_out_maps]


def action_probs(params):
    return policy.log_probs(params).exp()


before = [action_probs(state.phi)] * 3
after = [action_probs(adapt(state.phi, task)) for task in tasks]
values = [
    [bl.state_values(probs, task, gamma) for probs, task in zip(row, tasks, strict=True)]
    for row in (before, after)
]
fig = plots.draw_lakes(
    held_out_maps,
    values,
    [before, after],
    row_titles=["meta-policy", "after one step"],
    column_titles=["lake A", "lake B", "lake C"],
)

# %% [markdown]
# *Top: the meta-policy $\pi_\phi$, the same on every lake; an arrow is as long as its action is likely, colours and numbers are state values. Bottom: the same policy after ONE step in each lake. Look at S: it now takes the free way. A tile that the meta-policy seldom visits, or where it is already sure of itself, stays nearly as it was, even beside a hole: a gradient step moves a tile in proportion to both.*

# %% [markdown]
# **Predict, then run.** Before some cells this course asks what you expect of them. Choose an answer, and say how sure you are; the cell then compares. Nobody marks it: at the end of each lesson you see how often you were right when you felt sure. Your answers stay in the file `my_predictions.json` in this folder, which you may delete.

# %% tags=["widget", "hide-input"]
predictions.ask(
    "00.untrained",
    "An *untrained* policy, which takes every action equally often, makes the same single "
    "step on the same three lakes. What return does it reach, on average? The best "
    "possible is 1.64.",
    edges=(0.3, 0.8, 1.3),
)

# %%
batch = lakes.stack_tasks(tasks)
returns = bl.adapted_returns(state.phi, batch, adapt, policy=policy, gamma=gamma)
untrained = bl.adapted_returns(
    policy.init(torch.Generator()), batch, adapt, policy=policy, gamma=gamma
)
best = bl.optimal_returns(batch, gamma)
predictions.reveal("00.untrained", untrained[:, 1].mean().item())
for name, row, other, top in zip("ABC", returns, untrained, best, strict=True):
    print(
        f"lake {name}: {row[0]:+.2f} -> {row[1]:+.2f} after one step  "
        f"(untrained: {other[0]:+.2f} -> {other[1]:+.2f}; best possible {top:+.2f})"
    )
record("return_before", returns[:, 0].mean().item(), "return")
record("return_after", returns[:, 1].mean().item(), "return")
record("untrained_return_after", untrained[:, 1].mean().item(), "return")

# %% [markdown]
# In brackets: what an untrained policy makes of the same single step, and the best possible return. **Wherever this course compares priors, the untrained one is shown too**, for a method may look good on a problem that is easy. (Lines such as `return_after = ...` are figures that `make course` compares with their usual range.)
#
# **Learnt:** a return means little by itself; read it between what an untrained policy makes of the same data and the best possible.
#
# ## 4. The map of the course
#
# | lesson | you learn | status |
# |---|---|---|
# | 00 start here | the idea, your machine | here |
# | 01 MAML baseline | exact values, the meta-gradient, what MAML can and cannot promise | here, with exercises |
# | 02a estimators | naive, LVC, DiCE: who gets the credit for good data, and at which variance? | here, with exercise set 02 |
# | 02b algorithms | E-MAML, ProMP and the rest, at equal tuning | here, with exercise set 02 |
# | 03 universal adaptation | one algorithm, of which PPO with a penalty, natural and plain policy gradient are special cases or shortcuts | here, with exercises |
# | 04a implicit differentiation | the gradient of a solution, without a look at how it was found | here, with exercise set 04 |
# | 04b solvers | linear systems, unrolling, and how to recognise failure | here, with exercise set 04 |
# | 04c constraints and samples | trust regions, networks and episodes: three recipes | here, with exercise set 04 |
# | 05 near-optimality | how far from every task's own optimum? | here, with exercises |
# | 06a robots in batches | robots near the speed of the physics, on a processor and, where there is one, a GPU | here, with exercise set 06 |
# | 06b robots that adapt | a cheetah that turns round, and up to nine methods compared on cheetahs, walkers and ants | here, with exercise set 06 |
# | 07 open questions | what nobody knows yet | here |
# | 08 project template | an experiment of your own | here, to be copied |
#
# Each lesson ends with questions whose answers unfold. From 01 on there is a set of exercises for every number (folder `exercises/`). An exercise checks your answer step by step and tells you *what* is wrong; if you are stuck, put `unsolved = "reference"` into its first cell and go on.

# %%
fig = predictions.show("00")

# %% [markdown]
# ## 5. Check yourself
#
# <details><summary>Which level of the bilevel problem may look at the data of one task only?</summary>
#
# The inner one. The outer level sees the whole family, through the average over tasks.
#
# </details>
#
# <details><summary>Why does the meta-policy itself need not earn much?</summary>
#
# Because it is judged by what it becomes: the outer objective is the return *after* adaptation. In the picture above the meta-policy earns less on these lakes than its adapted versions do.
#
# </details>
#
# **Next:** [01 · The MAML baseline](01_maml_baseline.ipynb).
