# %% [markdown]
# # 08 · Project template
#
# A copy of this notebook is where an experiment of your own begins. It runs as it is, with a small family of tasks made up for it; replace, in this order: the **question**, the **family**, the **methods**, the **prediction**. What stays is the shape of a fair comparison.
#
# **Time:** reading 10 minutes, computing about 1 minute. **Before:** [07 · Open questions](07_open_questions.ipynb). In your copy, keep `src/` out of it: Save As beside this file is enough. **Words:** [symbols and names](../docs/symbols_and_names.md).
#
# | step | what to use |
# |---|---|
# | tasks of your own | `tabular_tasks` for tables; [`examples/own_tasks.py`](../examples/own_tasks.py) for a simulator |
# | a method and its settings | `bl.configure`; `python -m bomrl_lite methods` lists them |
# | training | `bl.meta_train(config, out="runs/mine")` keeps it on disk |
# | gaps on training and held-out tasks | `bl.adapted_returns`, `bl.optimal_returns` |
# | a figure that a later run can be compared with | `record(name, value, unit)` |
#
# ## 1. The question
#
# *On a ring of ten rooms one room pays, another one in every task. Does a prior that was trained through the adaptation (BO-MRL) come nearer to each task's optimum, after one adaptation, than one trained by MAML?*

# %% tags=["parameters"]
profile = "class"  # "smoke": seconds, for tests · "class": for you · "full": larger, for figures
seed = 0

# %%
from functools import partial

import pandas as pd
import torch

import bomrl_lite as bl
from bomrl_lite.course import plots, predictions
from bomrl_lite.course.parameters import begin

# %%
from bomrl_lite.course.record import record
from bomrl_lite.tasks.frozen_lake import stack_tasks
from bomrl_lite.tasks.splits import in_split
from bomrl_lite.tasks.tabular import tabular_tasks
from bomrl_lite.training.streams import seeded

begin(profile, seed)
plots.use_style()
torch.set_num_threads(1)
sizes = {
    "smoke": {"seeds": 2, "iterations": 3},
    "class": {"seeds": 5, "iterations": 30},
    "full": {"seeds": 20, "iterations": 100},
}[profile]
seeds = range(seed, seed + sizes["seeds"])

# %% [markdown]
# ## 2. Tasks of your own
#
# A tabular task is three tables: `transition [S, A, S]`, `reward [S, A]`, `start [S]`. A family draws them; the two splits must share no task.

# %%
ROOMS, ACTIONS = 10, 3  # actions: one room back, stay, one room on


def ring_task(goal):
    """Return a ring that pays 1 for every step that ends in the goal; one starts in room 0."""
    room = torch.arange(ROOMS)
    transition = torch.zeros(ROOMS, ACTIONS, ROOMS, dtype=torch.float64)
    for action, move in enumerate((-1, 0, 1)):
        transition[room, action, (room + move) % ROOMS] = 1.0
    reward = transition[:, :, goal]
    return bl.tabular_task(transition, reward, torch.eye(ROOMS, dtype=torch.float64)[0])


def sample(num_tasks, generator, split="train"):
    """Draw goals; those in every fifth room are held out."""
    goals = torch.arange(1, ROOMS)
    goals = goals[in_split(goals, split, remainder=3)]
    drawn = torch.randint(len(goals), (num_tasks,), generator=generator)
    return stack_tasks([ring_task(goal) for goal in goals[drawn].tolist()])


# %%
RING = tabular_tasks(
    "mine/ring",
    "a ring with one room that pays",
    sample,
    num_actions=ACTIONS,
    gamma=0.8,
    horizon=30,
)
exact = {"policy": bl.tabular_softmax(ROOMS, ACTIONS), "gamma": RING.gamma}

# %% [markdown]
# **Check the family before anything is trained on it**, against what you know by hand. A goal $d$ rooms away is first paid at step $d$, so its optimum is $\gamma^{d-1}/(1-\gamma)$.

# %%
near, far = stack_tasks([ring_task(1)]), stack_tasks([ring_task(5)])
for task, steps in ((near, 1), (far, 5)):
    by_hand = RING.gamma ** (steps - 1) / (1 - RING.gamma)
    assert abs(bl.optimal_returns(task, RING.gamma).item() - by_hand) < 1e-9
splits = [RING.sample(50, torch.Generator(), split).reward for split in ("train", "test")]
assert not any(torch.equal(a, b) for a in splits[0] for b in splits[1]), "the splits share a task"

# %% [markdown]
# ## 3. Methods, and an equal budget of tuning
#
# Every method has a setting that matters. Give each the same number of tries, and let **training tasks** choose: held-out ones are for the report. The untrained prior belongs into every table: what it reaches is not the merit of training.

# %%
GRIDS = {
    "maml": [{"step_size": value} for value in (1.0, 10.0, 100.0)],
    "bomrl_d2": [{"distance": "d2", "lam": value} for value in (0.1, 0.3, 1.0)],
}
METHOD = {"maml": "maml", "bomrl_d2": "bomrl"}
common = {"tasks": RING, "num_tasks": 10, "iterations": sizes["iterations"], "learning_rate": 0.3}


def adaptation(name, settings):
    """Return Alg as this method uses it."""
    if name == "maml":
        return partial(bl.gradient_step, **settings, **exact)
    return partial(bl.adapt_to_task, distance=bl.d2, lam=settings["lam"], **exact)


def mean_gap(phi, tasks, alg):
    """Return the mean gap to each task's optimum before and after one adaptation."""
    returns = bl.adapted_returns(phi, tasks, alg, **exact)
    gaps = bl.optimality_gap(returns, bl.optimal_returns(tasks, RING.gamma))
    return gaps.mean(0).tolist()


# %%
chosen, tries = {}, []
pool = RING.sample(20, seeded(seed, "tuning"), "train")
for name, grid in GRIDS.items():
    for settings in grid:
        # A seed that the report does not use.
        config = bl.configure(METHOD[name], seed=seed + 1000, **common, **settings)
        gap = mean_gap(bl.meta_train(config).phi, pool, adaptation(name, settings))[1]
        tries.append({"method": name, "settings": str(settings), "gap": gap})
        if gap <= min(row["gap"] for row in tries if row["method"] == name):
            chosen[name] = settings
pd.DataFrame(tries).set_index(["method", "settings"]).round(4)

# %% [markdown]
# *Mean gap on training tasks after one adaptation, for every setting that was tried.* If the best one lies at the edge of its grid, widen the grid, for **every** method.
#
# ## 4. The prediction
#
# Write it down before the next cell runs.

# %%
predictions.ask(
    "08.ring",
    "Held-out rooms, one adaptation: whose mean gap is smaller?",
    ("MAML's, on every seed", "BO-MRL's, on every seed", "it changes with the seed"),
)

# %% [markdown]
# ## 5. The run, over seeds
#
# A seed draws the tasks and everything else; all methods of a seed meet the same tasks, so that differences can be taken seed by seed.

# %%
rows = []
for s in seeds:
    phis = {"untrained": exact["policy"].init(torch.Generator())}
    for name, settings in chosen.items():
        config = bl.configure(METHOD[name], seed=s, **common, **settings)
        phis[name] = bl.meta_train(config).phi
    for split in ("train", "test"):
        tasks = RING.sample(20, seeded(s, "evaluation"), split)
        for name, phi in phis.items():
            own = "bomrl_d2" if name == "untrained" else name
            gaps = mean_gap(phi, tasks, adaptation(own, chosen[own]))
            labels = {"prior": name, "split": "training" if split == "train" else "held-out"}
            rows += [labels | {"seed": s, "step": k, "gap": gap} for k, gap in enumerate(gaps)]
result = pd.DataFrame(rows)

# %% [markdown]
# ## 6. The figure, the numbers, the spread

# %%
fig = plots.gap_bars(result)

# %%
held_out = result.query("split == 'held-out' and step == 1").pivot(index="seed", columns="prior")
held_out = held_out["gap"]
difference = held_out["maml"] - held_out["bomrl_d2"]
wins = int((difference > 0).sum())
answer = {0: "MAML's, on every seed", len(difference): "BO-MRL's, on every seed"}
predictions.reveal("08.ring", answer.get(wins, "it changes with the seed"))
print(
    f"MAML's gap minus BO-MRL's: {difference.mean():+.4f} "
    f"(standard error {difference.sem():.4f}, {len(difference)} seeds)"
)
for name in held_out:
    record(f"held_out_gap_{name}", held_out[name].mean(), "return")
held_out.agg(["mean", "min", "max"]).T.round(4)

# %% [markdown]
# *Mean gap before and after one adaptation; the table is for held-out rooms after it.*
#
# ## 7. What it shows, and what it does not
#
# Here goes your text. For the ring it might read: BO-MRL's prior comes nearer than MAML's on every seed, 0.28 against 1.4, **and the untrained prior beats both**, with 0.08. Training saw seven goals and learnt to stay away from the rest; on its own goals it pays. And both chosen settings lie at the edge of their grids. So the question is answered, and was the wrong one: what would make training worth its while here?
#
# Before you write "better", ask:
#
# - Is the difference larger than its standard error, seed by seed? Than what another grid would have given?
# - Does the untrained prior reach it too? Then training did nothing.
# - Were the held-out tasks used for any choice?
# - Was every inner problem solved? `state.history[-1]` has `stationarity` and `unsolved`; training refuses what is not.
# - Exact data or episodes? With `values="episodes"` the same configuration samples.
# - Which of the break conditions of lesson 07 might be at work?
#
# ## 8. Keep it
#
# `bl.meta_train(config, out="runs/ring")` writes configuration, history and checkpoint; `python -m bomrl_lite evaluate` and `compare` read them (a family of your own needs `--import MODULE`). A result that others should trust goes into an experiment of its own: see [CONTRIBUTING](../CONTRIBUTING.md), *A stored experiment*.

# %%
predictions.show("08")
predictions.show()
