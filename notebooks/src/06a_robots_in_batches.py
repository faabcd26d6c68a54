# %% [markdown]
# # 06a · Robots in batches
#
# **After this lesson you can**
#
# - write a robot's task family down: what it is paid for, what it sees, and what it must find out;
# - simulate a thousand robots at once, and say from which number on that is close to the limit of the physics;
# - tell what runs in single and what in double precision, and what changes on a GPU;
# - profile a meta-iteration, and name the part that is worth making faster;
# - estimate what an experiment of published size would cost you.
#
# **Time:** reading 35 minutes, computing about 1 minute. **Before:** [02b · From estimators to algorithms](02b_algorithms.ipynb) for ProMP and MAML-TRPO, [04c · Constraints and samples](04c_constraints_and_samples.ipynb) for recipe A. **After:** [06b · Robots that adapt](06b_robots_that_adapt.ipynb); exercises 6.1 to 6.4 and 6.7 of set 06. **Words:** [symbols and names](../docs/symbols_and_names.md).
#
# | equation | function |
# |---|---|
# | $r=-\lvert v-v^*\rvert-c\,\lvert a\rvert^2,\quad r=\langle d,v\rangle-c\,\lvert a\rvert^2$ | `speed_reward`, `direction_reward` |
# | $N$ tasks times $B$ robots, one call per step | `LocomotionSimulator`, `make_physics` |
# | collect, adapt, collect, update | `meta_step` |
# | the CPU-seconds of an iteration, by part, none counted twice | `cpu_profile` |
#
# $v$ is a robot's velocity, $v^*$ the speed that is asked for, $d$ the direction that pays, $a$ the action and $c$ the price of effort.

# %% tags=["parameters"]
profile = "class"  # "smoke": seconds, for tests · "class": for you · "full": larger, for figures
seed = 0

# %%
import importlib.util
import os
import time

import pandas as pd
import torch

# %%
import bomrl_lite as bl
from bomrl_lite.course import plots, predictions, widgets
from bomrl_lite.course.parameters import begin
from bomrl_lite.course.record import record
from bomrl_lite.course.show import show_photograph, show_source
from bomrl_lite.tasks.locomotion import FAMILIES, LocomotionSimulator
from bomrl_lite.tasks.robot_goals import Directions
from bomrl_lite.training.streams import seeded

begin(profile, seed)
plots.use_style()
torch.set_num_threads(1)
column = ("smoke", "class", "full").index(profile)
robots_of = ((1, 4), (1, 16, 64, 256, 1024), (1, 4, 16, 64, 256, 1024, 4096))[column]
sizes = {
    "steps": (5, 40, 100)[column],
    "tasks": (2, 10, 20)[column],
    "episodes": (2, 20, 20)[column],
    "horizon": (10, 100, 100)[column],
}
cheetah = FAMILIES["cheetah/direction"]
both_ways = Directions(torch.tensor([[-1.0], [1.0]]))

# %% [markdown]
# ## 1. Robots as task families
#
# A robot of gymnasium's becomes a *family* when its reward has a free variable: a speed $v^*$, a direction $d$, or the body itself. The course has eight: the four of BO-MRL (Xu and Zhu, 2024) and ProMP's further ones (Rothfuss et al., 2018).

# %%
from bomrl_lite.physics.robots import MODELS, ROBOTS, load_model
from bomrl_lite.render.render import frames

# %%
pictures, rows = {}, {}
for name, family in FAMILIES.items():
    goals = family.sample(1, seeded(seed, 6), "train")
    (clip,) = widgets.record_clips(
        LocomotionSimulator(family, goals, 1, 8, backend="mujoco"),
        lambda o, size=family.runner.action_size: torch.zeros(1, 1, size),
        seeded(seed, 5),
        robot=family.runner.robot,
        tasks=[name],
        stage="at rest",
        goals=widgets.goals_of(goals, family.runner.robot),
    )
    drawn = frames(
        load_model(family.runner.robot), clip.qpos, width=320, height=240, goal=clip.goal
    )
    pictures[name] = drawn[-1]
    rows[name] = {
        "a task is": family.summary,
        "observations": family.runner.observation_size,
        "actions": family.runner.action_size,
        "steps": family.runner.horizon,
        "may fall": family.runner.healthy is not None,
    }
fig = plots.contact_sheet(pictures)
show_photograph(fig)

# %% [markdown]
# *The eight families. An arrow on the floor is the direction that pays, a gauge shows the speed that is asked for; where the body is the task there is nothing to draw.*

# %%
from IPython.display import display

with pd.option_context("display.max_colwidth", None):
    display(pd.DataFrame(rows).T)

# %% [markdown]
# The rewards are these, with $v$ the velocity over one step in m/s and $a$ the action as the policy drew it. (The ant gets a bonus for being there, the walker and the hopper one for standing; sources stand in `bomrl_lite/tasks/locomotion.py`.)

# %%
from bomrl_lite.tasks.robot_goals import direction_reward, speed_reward

show_source(speed_reward, direction_reward)

# %% [markdown]
# What makes it *meta*-learning: **the goal is in no observation**. Two cheetahs with opposite goals, the same start and the same actions see the same, bit by bit. Only what they are paid differs.

# %%
moves = 2 * torch.rand(sizes["horizon"], 1, 1, 6, generator=seeded(seed, 7)) - 1
seen, paid = [], []
for way in (-1.0, 1.0):
    goal = Directions(torch.tensor([[way]]))
    simulator = LocomotionSimulator(cheetah, goal, 1, len(moves), backend="mujoco")
    generator = seeded(seed, 8)
    simulator.reset(generator)
    outcomes = [simulator.step(move, generator) for move in moves]
    seen.append(torch.stack([outcome[0] for outcome in outcomes]))
    paid.append(torch.stack([outcome[1] for outcome in outcomes]))
difference = (seen[0] - seen[1]).abs().max()
record("observation_difference_of_opposite_goals", difference, "absolute")
print(f"returns: backwards {paid[0].sum():+.1f}, forwards {paid[1].sum():+.1f}")

# %% [markdown]
# So before it adapts a policy cannot know where to run, however well it is trained. The best that it can do is to act such that its rewards *tell*, and to be close to both gaits.
#
# **Learnt:** a robot and a free variable of its reward or body are a family, and no observation gives the variable away.
#
# ## 2. Many robots at once: from hundreds on, close to the physics
#
# A meta-iteration plays tasks $\times$ episodes $\times$ 2 episodes, all independent. So all robots advance together: `step` takes the actions of $N$ robots and makes ONE call to MuJoCo's own batch (`mujoco.batch.Batch`, a pool of C++ threads). Rewards and observations are then computed once, in torch, for all.
#
# How good can that be? The floor is MuJoCo's **open loop**: `Batch.rollout` with all actions known beforehand, which never comes back to Python. A policy in a loop cannot be faster than that. On one thread, in processor time, with random actions:


# %%
import gymnasium
from mujoco.batch import Batch


def least_cpu_microseconds(work, steps, rounds):
    """Return the processor time of a step; the least of some rounds is the least disturbed."""
    seconds = []
    for _ in range(rounds):
        start = time.process_time()
        work()
        seconds.append(time.process_time() - start)
    return 1e6 * min(seconds) / steps


def play(simulator, actions, generator):
    simulator.reset(generator)
    for action in actions:
        simulator.step(action, generator)


def gymnasium_player(num, actions):
    which = {"vectorization_mode": "sync", "xml_file": str(MODELS / ROBOTS["half_cheetah"].file)}
    envs = gymnasium.make_vec("HalfCheetah-v5", num, **which)
    envs.reset(seed=seed)
    return lambda: [envs.step(action) for action in actions]


# %% tags=["widget", "hide-input"]
predictions.ask(
    "06a.one robot",
    "For a *single* robot: how many times the processor time of the open loop does a step "
    "of our simulator take?",
    edges=(1.3, 2.5, 5),
    unit="times",
)

# %%
robot, model = ROBOTS["half_cheetah"], load_model("half_cheetah")
forwards, steps = Directions(torch.ones(1, 1)), sizes["steps"]
rows = []
for num in robots_of:
    actions = 2 * torch.rand(steps, 1, num, 6, generator=seeded(seed, 9)) - 1
    controls = actions[:, 0].double().movedim(0, 1).repeat_interleave(robot.frame_skip, 1).numpy()
    simulator = LocomotionSimulator(cheetah, forwards, num, steps, backend="mujoco")
    batch, generator = Batch(model, num, 1), seeded(seed, 5)

    def open_loop(batch=batch, controls=controls):
        batch.reset()
        batch.rollout(controls.shape[1], controls)

    contestants = {
        "our simulator": lambda s=simulator, a=actions, g=generator: play(s, a, g),
        "MuJoCo's open loop": open_loop,
    }
    if num in (16, 64) and importlib.util.find_spec("imageio"):  # gymnasium's robots import it
        contestants["gymnasium, SyncVectorEnv"] = gymnasium_player(num, actions[:, 0].numpy())
    rounds = max(1, min(20, 512 // num))
    for who, work in contestants.items():
        cost = least_cpu_microseconds(work, num * steps, rounds)
        rows.append({"robots": num, "who": who, "microseconds": cost})
costs = pd.DataFrame(rows)
fig = plots.cost_per_step(costs)

# %%
table = costs.pivot_table(index="robots", columns="who", values="microseconds", sort=False)
table["ours / open loop"] = table["our simulator"] / table["MuJoCo's open loop"]
if profile != "smoke":  # too short there to measure
    record("cpu_microseconds_per_step", table["our simulator"][256], "us", source="machine")
    record("our_time_over_open_loop", table["ours / open loop"][256], "ratio", source="machine")
predictions.reveal("06a.one robot", table["ours / open loop"][1])
table.map(lambda cost: "" if pd.isna(cost) else f"{cost:.2f}")

# %% [markdown]
# *One step of the environment is five steps of physics, 50 ms of a cheetah's life. gymnasium's line stands where its own robots can be imported; it plays the same model.*
#
# A single robot pays mostly for Python, some ten small torch calls per step, whatever $N$: read the first row's ratio before you simulate one robot this way. With hundreds of robots that is spread thin, and what is left is the **physics itself**: collisions, contacts, a linear system per physics step. gymnasium's `SyncVectorEnv` steps one robot after the other in Python, so its cost per robot does not fall with their number.
#
# The states are those of gymnasium's own environments, bit by bit, at any number of threads; a test of the package compares them over 1000 steps.
#
# **Learnt:** one call for all robots costs little more than the physics itself from some hundreds of robots on, and several times as much for a single one.
#
# ## 3. Device and precision
#
# `LocomotionSimulator(..., backend=...)` is `mujoco` (processor), `warp` (MuJoCo Warp, on an NVIDIA GPU) or `auto`, which takes Warp where it can. Task, rewards, observations, policy and training are the same code.

# %%
from bomrl_lite.physics import make_physics, resolve_backend

backend = resolve_backend("auto")
simulator = LocomotionSimulator(cheetah, both_ways, 3, 10)
generator = seeded(seed, 5)
observations = simulator.reset(generator)
problem = bl.make_problem(bl.configure("bomrl_head", tasks="cheetah/direction"))
print(f"backend 'auto' is {backend!r} here, device {observations.device}")
print("positions of the physics  ", simulator.physics.qpos.dtype)
print("observations and rewards  ", observations.dtype)
parameters = problem.policy.init(generator).values()
print("parameters of the policy  ", *{leaf.dtype for leaf in parameters})

# %% [markdown]
# On the processor physics is computed in double precision and everything that a network touches in single precision. Warp computes physics in single precision too. Does that matter? Three cheetahs get the same actions; the second starts $10^{-12}$ and the third $10^{-7}$ rad away from the first, which is what single precision can tell apart:

# %% tags=["widget", "hide-input"]
predictions.ask(
    "06a.chaos",
    "The third cheetah starts 0.0000001 rad away. How far is it from the first after 100 "
    "steps, five seconds of its life, in the position that differs most?",
    edges=(1e-06, 0.0001, 0.01),
)

# %%
physics = make_physics(model, 3, backend="mujoco")
start = torch.as_tensor(model.qpos0).repeat(3, 1)
start[1:, 2] += torch.tensor([1e-12, 1e-7])
physics.reset(start, torch.zeros(3, model.nv))
apart = {}
for step, move in enumerate(
    (2 * torch.rand(100, 1, 6, generator=seeded(seed, 10)) - 1).double(), 1
):
    physics.step(move.expand(3, -1), robot.frame_skip)
    if step in (1, 10, 25, 50, 100):
        apart[step] = (physics.qpos[1:] - physics.qpos[0]).abs().amax(-1).tolist()
predictions.reveal("06a.chaos", apart[100][1])
pd.DataFrame(apart, index=["1e-12 apart", "1e-7 apart"]).map("{:.0e}".format).rename_axis(
    columns="largest difference after step"
)

# %% [markdown]
# Contacts make a running robot **chaotic**: differences grow until nothing is left in common. So a run on a GPU never repeats one on the processor; it is a fair draw of the same thing. Compare their returns, not their trajectories. (On one processor the same seed gives the same run, bit by bit.)
#
# The price of a step falls with $N$ until a device is full. On the clock, with all processors of this machine, and on a GPU if there is one:


# %%
def steps_per_second(backend, num):
    simulator = LocomotionSimulator(cheetah, forwards, num, steps, backend=backend)
    device = simulator.physics.qpos.device
    generator = torch.Generator(device).manual_seed(0)
    actions = 2 * torch.rand(steps, 1, num, 6, generator=generator, device=device) - 1
    rates = []
    for _ in range(2):  # the first round compiles and records, where there is something to
        start = time.perf_counter()
        play(simulator, actions, generator)
        if device.type == "cuda":
            torch.cuda.synchronize()
        rates.append(num * steps / (time.perf_counter() - start))
    return rates[-1]


# %%
robots_at_once = {"mujoco": robots_of}
if backend == "warp":
    robots_at_once["warp"] = (2,) if profile == "smoke" else (64, 256, 1024, 4096, 8192)
torch.set_num_threads(os.cpu_count() or 1)
rates = pd.DataFrame(
    {"robots": num, "backend": name, "rate": steps_per_second(name, num)}
    for name, counts in robots_at_once.items()
    for num in counts
)
torch.set_num_threads(1)
fig = plots.throughput(rates)
if backend != "warp":
    print(
        f"No GPU with MuJoCo Warp here, so the line is that of {os.cpu_count()} processors. With "
        "one (pip install 'bomrl-lite[gpu]') this cell draws a second line, up to N = 8192, and "
        "lesson 06b trains on the GPU; no line of either notebook changes."
    )

# %% [markdown]
# A processor is full with some hundreds of robots. A GPU has thousands of small cores and starts a whole step with one call: it needs *thousands* of robots before it pays. This course has measured none, so here are others' figures, of humanoids, in steps of *physics* per second: 950 thousand on an A100 with 8192 at once, against 1.8 million with C MuJoCo on a processor of 64 cores ([documentation of MuJoCo XLA](https://mujoco.readthedocs.io/en/stable/mjx.html)), and 3.97 million with MuJoCo Warp on an RTX Pro 6000, also 8192 ([google-deepmind/mujoco_warp, pull request 1060](https://github.com/google-deepmind/mujoco_warp/pull/1060)). None of them was checked here. A large processor and a GPU are closer than one may expect, and a meta-iteration of 20 tasks with 20 episodes is only 400 robots.
#
# **Learnt:** the same code runs on both, in different precision; runs of chaotic robots are compared by their returns, never by their trajectories.
#
# ## 4. Where the time goes
#
# "Make it faster" begins with a profile. Here is one meta-iteration on the processor, taken apart: `cpu_profile` puts a clock around the functions below, and no second is counted twice.

# %%
from bomrl_lite.course.profiling import cpu_profile
from bomrl_lite.physics.mujoco_batch import MujocoBatch
from bomrl_lite.training import episodes as training_episodes
from bomrl_lite.training import objective as training_objective
from bomrl_lite.training.episodes import EpisodesProblem
from bomrl_lite.training.trainer import meta_step, start_state

pieces = {
    "physics": (MujocoBatch, "step"),
    "rewards and observations": (LocomotionSimulator, "step"),
    "policy, lens, recording": (training_episodes, "collect"),
    "advantages": (EpisodesProblem, "batch"),
    "adaptation": (training_objective, "collect_all"),
}
named = {"bomrl_head": "BO-MRL, head only", "trpo_maml": "MAML-TRPO", "promp": "ProMP"}

# %% tags=["widget", "hide-input"]
predictions.ask(
    "06a.physics",
    "What share of the processor time of a meta-iteration of MAML-TRPO, second order and "
    "all, goes into the physics?",
    edges=(15, 40, 85),
    unit="%",
)

# %%
taken = {}
for method, label in named.items():
    config = bl.configure(
        method,
        tasks="cheetah/direction",
        num_tasks=sizes["tasks"],
        num_episodes=sizes["episodes"],
        horizon=sizes["horizon"],
        diagnose_every=10000,
        backend="mujoco",
        seed=seed,
    )
    problem = bl.make_problem(config)
    state = start_state(problem)
    tries = [
        cpu_profile(
            lambda s=state, p=problem: meta_step(s, p),
            pieces,
            rest="hypergradient and update",
        )
        for _ in range(2)
    ]
    taken[label] = min(tries, key=lambda seconds: sum(seconds.values()))
taken = pd.DataFrame(taken).T
fig = plots.time_bars(taken)

# %%
profiled_steps = 2 * sizes["tasks"] * sizes["episodes"] * sizes["horizon"]
per_step = 1e6 * taken.sum(axis=1) / profiled_steps
if profile != "smoke":
    for method, label in named.items():
        ratio = taken.loc[label].sum() / taken.loc[label, "physics"]
        record(f"{method}_iteration_over_physics", ratio, "ratio", source="machine")
of_trpo = taken.loc["MAML-TRPO"]
predictions.reveal("06a.physics", 100 * of_trpo["physics"] / of_trpo.sum())
taken.assign(all=taken.sum(axis=1), **{"us per step": per_step}).round(2)

# %% [markdown]
# *CPU-seconds of one iteration. The dotted line is the physics of its steps: no method that acts and adapts by these episodes can be left of it.*
#
# Physics is the largest part of every bar. All that is *learning* costs a fraction of it, whatever the method: it works on large arrays, a few times per iteration, where the physics works step by step. A hypergradient that costs nothing would save no more than the last piece of its bar. What would help most is to need fewer steps, and a cheaper step.
#
# **Learnt:** look where the time goes before you make anything faster; here it goes into the physics.
#
# ## 5. What would the published experiments cost?
#
# With the price of a step, an experiment of published size is a multiplication. The code of Xu and Zhu (2024) plays, in one iteration of HalfCheetah velocity, 10 tasks with 20 episodes before and 100 after adaptation, and tests 9 speeds with 40 episodes, all of 400 steps; and it takes 500 iterations.

# %%
of_iteration = 10 * (20 + 100) * 400 + 9 * 40 * 400
published = 500 * of_iteration
assumed_gpu_rate = 600_000  # steps of the environment per second: an ASSUMPTION, see below
processors = sorted({1, os.cpu_count() or 1, 16})
hours = {}
for label, microseconds in per_step.items():
    alone = published * microseconds / 3.6e9
    hours[label] = {
        "20 x 20 x 100, CPU-s": 1e-6 * microseconds * 2 * 20 * 20 * 100,
        **{f"published, h on {count} cores": alone / count for count in processors},
    }
print(f"published: {published / 1e6:.0f} million steps")
print(
    f"simulated on a GPU at an assumed {assumed_gpu_rate:,} steps/s: "
    f"{published / assumed_gpu_rate / 60:.0f} minutes, and the learning on top"
)
if profile != "smoke":
    record(
        "core_hours_of_published_protocol",
        published * per_step.iloc[0] / 3.6e9,
        "h",
        source="machine",
    )
pd.DataFrame(hours).T.round(1)

# %% [markdown]
# *From the rates of section 4. Several cores are assumed to share the work evenly, which physics does and the update does not quite. The GPU's rate is an assumption, not a measurement: 3 million steps of physics per second, the order of the published figures in section 3, at five per step of the environment.*
#
# So a published run is a matter of hours on a good desktop. The comparison of lesson 06b has horizon 100 and under a million steps of a run: a matter of minutes. That is why its returns are not comparable with published ones, and why every method of it was run again here.
#
# **Learnt:** multiply before you start a run: steps of an iteration, iterations, microseconds of a step.
#
# ## 6. Recap
#
# - A family is a robot and a free variable of its reward or body. No observation tells it, so a policy must find out by being paid.
# - Stepping all robots in one call comes close to the speed of the physics with some hundreds of them (one robot alone pays several times as much). After that only fewer or cheaper steps help.
# - The processor computes physics in double precision, a GPU in single; robots are chaotic, so compare returns and not trajectories.
# - A meta-iteration is mostly simulation; head-only BO-MRL, MAML and ProMP add a fraction of it.
# - Multiply before you run: iterations, steps of an iteration, microseconds of a step.

# %%
fig = predictions.show("06a")

# %% [markdown]
# ## 7. Check yourself
#
# <details><summary>Your simulator reaches 0.95 of the open loop's speed. What is left to gain?</summary>
#
# Five per cent per step. Beyond that: fewer steps (a better method), cheaper ones (another integrator, fewer contacts), more processors, another device.
#
# </details>
#
# <details><summary>Two runs of the same seed, one on a processor and one on a GPU, end with different returns. A bug?</summary>
#
# Not by itself. Single precision differs from double in the eighth digit, and chaos does the rest within some tens of steps. Compare means over seeds; for a bug look at one step, where the two must agree to about seven digits.
#
# </details>
#
# <details><summary>A profile says that the hypergradient takes 5 % of an iteration. Your new one is twice as fast. What do you gain?</summary>
#
# 2.5 %. What a part can give is bounded by its share: Amdahl's law.
#
# </details>
#
# ## 8. Reading
#
# - E. Todorov, T. Erez, Y. Tassa (2012), *MuJoCo: A Physics Engine for Model-Based Control*.
# - C. Finn, P. Abbeel, S. Levine (2017), *Model-Agnostic Meta-Learning*, arXiv 1703.03400: the cheetah's speeds and directions.
# - J. Rothfuss et al. (2018), *ProMP: Proximal Meta-Policy Search*, arXiv 1810.06784: six families, and the method.
# - C. D. Freeman et al. (2021), *Brax*, arXiv 2106.13281: physics on accelerators.
# - google-deepmind/mujoco_warp: the GPU backend.
#
# **Next:** [06b · Robots that adapt](06b_robots_that_adapt.ipynb). If you would rather write code first: exercises 6.1 to 6.4 and 6.7 of [`exercises/06_gpu_locomotion.ipynb`](../exercises/06_gpu_locomotion.ipynb).
