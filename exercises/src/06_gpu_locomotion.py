# %% [markdown]
# # Exercises 06 · Robots in batches
#
# **After these exercises you have** written what stands between a physics engine and a meta-learner: rewards and observations of a task family, the bookkeeping of tasks times episodes, running observation moments, adaptation in closed form on collected data, and the two calculations that decide whether an experiment is affordable and whether it is fair. In the end a half cheetah that has never moved learns to run both ways with nothing but your functions.
#
# **Time:** about 90 minutes. **Lessons:** [06a · Robots in batches](../notebooks/06a_robots_in_batches.ipynb) for 6.1 to 6.4 and 6.7, [06b · Robots that adapt](../notebooks/06b_robots_that_adapt.ipynb) for 6.5, 6.6 and 6.8.
#
# **How it works.** Replace each `raise NotImplementedError` and run the cell, then the check below it. A check goes through numbered steps and stops at the first that fails: it says what it expected, what it got and, if it recognises the slip, the likely cause. Any right answer counts, whatever its form. To look at the arguments of a check's first question, the case that you can do by hand, call for example `checks.speed_reward.example()`. Where marks are given, the first line of a check's cell says what its steps are worth.
#
# If you are stuck, set `unsolved = "reference"` in the next cell and restart: unsolved exercises are then lent a right function, so that you can go on. Hints unfold in three stages: the idea, the equation, almost the code.

# %% tags=["parameters"]
profile = "class"  # "smoke": seconds, for tests · "class": for you · "full": larger, for figures
seed = 0
unsolved = "raise"  # "reference": go on with a right function where yours is missing

# %%
import math
import time
from contextlib import contextmanager

import matplotlib.pyplot as plt
import pandas as pd
import seaborn as sns
import torch

from bomrl_lite.course import checks, plots
from bomrl_lite.course.parameters import begin
from bomrl_lite.course.show import show_photograph
from bomrl_lite.physics import make_physics
from bomrl_lite.physics.robots import ROBOTS, load_model
from bomrl_lite.render.goal_marks import Direction
from bomrl_lite.tasks.locomotion import start_states

checks.use(unsolved)
begin(profile, seed)
plots.use_style()
torch.set_num_threads(1)
sizes = {
    "smoke": {"horizon": 12, "episodes": 4, "total": 16, "seeds": 1, "collections": 2},
    "class": {"horizon": 100, "episodes": 20, "total": 40, "seeds": 3, "collections": 20},
    "full": {"horizon": 100, "episodes": 20, "total": 40, "seeds": 10, "collections": 40},
}[profile]
horizon = sizes["horizon"]

# %% [markdown]
# ## What all exercises share
#
# $N$ tasks with $B$ episodes each advance together. The physics engine knows nothing of tasks: it steps $M=NB$ simulations of one robot, **numbered task by task**: simulation $nB+b$ is episode $b$ of task $n$. Tensors are float64.
#
# | letter | here | letter | here |
# |---|---|---|---|
# | $N$ | tasks | $T$ | steps of an episode |
# | $B$ | episodes of a task | $K$ | joints that can be driven: 6 |
# | $M$ | simulations, $NB$ | $O$ | size of an observation: 17 |
#
# Our robot is the half cheetah. Its engine state has 9 positions, the first of which is the place $x$ on the track in metres, and 9 velocities. An action is held for five physics steps.

# %%
robot, model = ROBOTS["half_cheetah"], load_model("half_cheetah")
step_seconds = robot.frame_skip * model.opt.timestep
print(f"positions: {model.nq}, velocities: {model.nv}, actions: {model.nu}")
print(f"one step: {robot.frame_skip} x {model.opt.timestep} s = {step_seconds} s")

# %% [markdown]
# ## 6.1 The reward of a task family
#
# All tasks of a family share a robot and differ in what they pay for. In *HalfCheetah velocity* (Finn et al., 1703.03400) task $n$ asks for the speed $v^*_n$:
#
# $$r = -\,|v-v^*_n| - 0.05\,\lVert a\rVert^2,\qquad v=\frac{x'-x}{\Delta t}.$$
#
# $x$ and $x'$ are the places before and after the step, $\Delta t$ its duration.
#
# <details><summary>Hint 1: the idea</summary>
#
# Every entry of the answer is about one robot in one episode; only $v^*$ is shared by a row of robots.
#
# <details><summary>Hint 2: the shapes</summary>
#
# Torch compares shapes from the last dimension on. `speeds` is `[N]` and would meet the episodes $B$; as a column `[N, 1]` it meets the tasks. If $N=B$, no error would tell you.
#
# <details><summary>Hint 3: almost code</summary>
#
# `speeds[:, None]` is the column. `.square().sum(-1)` of the actions leaves `[N, B]`.
#
# </details></details></details>


# %% tags=["exercise"] exercise="6.1"
def speed_reward(before, after, actions, speeds, step_seconds):
    r"""Return the reward of one step, [N, B].

    r = -|v - v*| - 0.05 |a|^2,  v = (x' - x) / step_seconds

    before: x in metres, [N, B]. after: x', [N, B]. actions: a, [N, B, K].
    speeds: v* of every task in m/s, [N]. step_seconds: duration of the step in seconds.
    About 3 lines.
    """
    # BEGIN SOLUTION
    velocity = (after - before) / step_seconds
    missed = (velocity - speeds[:, None]).abs()
    return -missed - 0.05 * actions.square().sum(-1)
    # END SOLUTION


# %% tags=["check"]
speed_reward = checks.speed_reward(speed_reward)

# %% [markdown]
# **See it.** What your reward pays at each speed, without effort.

# %%
velocities = torch.linspace(-3, 3, 121, dtype=torch.float64)
asked = torch.tensor([0.5, 1.5, 10.0], dtype=torch.float64)
nowhere = torch.zeros(len(asked), len(velocities), dtype=torch.float64)
rest = torch.zeros(*nowhere.shape, 6, dtype=torch.float64)
paid = speed_reward(nowhere, nowhere + velocities * step_seconds, rest, asked, step_seconds)
paid[-1] += 10.0
fig, ax = plt.subplots(figsize=(4.6, 2.8))
for line, label in zip(paid, ("v* = 0.5", "v* = 1.5", "v* = 10, and 10 added"), strict=True):
    ax.plot(velocities, line, label=label)
ax.set(xlabel="velocity (m/s)", ylabel="reward of a step")
_ = ax.legend(fontsize=8)

# %% [markdown]
# *Reward over velocity for three tasks. A speed that no cheetah reaches asks it to run as fast as it can: up to a constant, $v^*=10\,d$ is the task "run in direction $d=\pm1$", HalfCheetah direction, whose reward is $dv-0.05\lVert a\rVert^2$. We use this below, so one function serves two families.*
#
# ## 6.2 What the policy sees
#
# The policy sees positions and velocities, but not its place in the world $x$: where the cheetah is says nothing about how to run. Neither does it see the task. Bring the engine's rows into the order of tasks and episodes on the way.
#
# <details><summary>Hint 1: the idea</summary>
#
# Three moves: leave the first column of positions out, put the rest beside the velocities, give $M$ its two dimensions.
#
# <details><summary>Hint 2: the shapes</summary>
#
# `[M, 8]` and `[M, 9]` make `[M, 17]`. Since simulations are numbered task by task, a new shape is all that it takes; nothing has to change places.
#
# <details><summary>Hint 3: almost code</summary>
#
# `torch.cat([..., ...], -1)` puts columns side by side; `.unflatten(0, (num_tasks, -1))` splits the first dimension.
#
# </details></details></details>


# %% tags=["exercise"] exercise="6.2"
def observe(qpos, qvel, num_tasks):
    r"""Return what the policies see, [N, B, O]: positions without x, then velocities.

    qpos: positions of all simulations, x first, [M, nq]. qvel: velocities, [M, nv].
    num_tasks: N; simulation n B + b is episode b of task n. About 2 lines.
    """
    # BEGIN SOLUTION
    seen = torch.cat([qpos[:, 1:], qvel], -1)
    return seen.unflatten(0, (num_tasks, -1))
    # END SOLUTION


# %% tags=["check"]
observe = checks.observe(observe)

# %% [markdown]
# ## 6.3 Dealing tasks to simulations
#
# Now the other way. Something that each *task* has, a goal or a body, must reach all *simulations* of the task: from `[N, ...]` to `[M, ...]`. The most common mistake of batched meta-learning is made here, and nothing crashes when it is made: the shapes fit, and the tasks are mixed up.
#
# <details><summary>Hint 1: the idea</summary>
#
# With three tasks and two episodes the simulations belong to tasks 0, 0, 1, 1, 2, 2.
#
# <details><summary>Hint 2: the two repeats</summary>
#
# `.repeat(2)` of `[0, 1, 2]` gives 0, 1, 2, 0, 1, 2: like `numpy.tile`, and unlike `numpy.repeat`. Torch has a function for the other order too.
#
# <details><summary>Hint 3: almost code</summary>
#
# `repeat_interleave` with `dim=0`. Or insert an episode dimension with `[:, None]`, `expand` it and `flatten(0, 1)`.
#
# </details></details></details>


# %% tags=["exercise"] exercise="6.3"
def deal(values, num_episodes):
    r"""Return the values of every simulation, [N B, ...]: row n B + b holds those of task n.

    values: one row per task, [N, ...] with any further dimensions. num_episodes: B. 1 line.
    """
    # BEGIN SOLUTION
    return values.repeat_interleave(num_episodes, dim=0)
    # END SOLUTION


# %% tags=["check"]
deal = checks.deal(deal)

# %% [markdown]
# **See it.** Four tasks that differ in the body: each multiplies the cheetah's masses by a factor. All simulations start alike and get the same actions, so that only the body can tell them apart. Two episodes per task:

# %%
factors = torch.tensor([0.5, 1.0, 1.5, 2.0], dtype=torch.float64)
masses = factors[:, None] * torch.as_tensor(model.body_mass)
bodies = make_physics(model, 2 * len(factors), backend="mujoco")
bodies.set_parameters({"body_mass": deal(masses, 2)})
bodies.reset(torch.as_tensor(model.qpos0).expand(8, -1), torch.zeros(8, model.nv))
phases = torch.tensor([0.0, 2.0, 4.0, 3.0, 5.0, 1.0])
places = []
for step in range(horizon):
    bodies.step((0.4 * step + phases).sin().expand(8, -1), robot.frame_skip)
    places.append(bodies.qpos[:, 0].clone())
fig, ax = plt.subplots(figsize=(5, 2.8))
times = step_seconds * torch.arange(1, horizon + 1)
for number, line in enumerate(torch.stack(places, 1)):
    task, episode = divmod(number, 2)
    style = {"lw": (4, 1.2)[episode], "ls": ("-", "--")[episode], "alpha": (0.4, 1)[episode]}
    label = None if episode else f"masses x {factors[task]:g}"
    ax.plot(times, line, color=f"C{task}", label=label, **style)
ax.set(xlabel="time (s)", ylabel="place x (m)")
_ = ax.legend(fontsize=7, loc="center left", bbox_to_anchor=(1, 0.5))

# %% [markdown]
# *Place over time: episode 0 of a task broad, episode 1 dashed. The two lie on one line, as they must: one body, one start, the same actions. Dealt in the other order, colours would part and strangers meet.*
#
# ## 6.4 Episodes that end early
#
# The cheetah goes on whatever happens; a hopper falls. Batches keep their shape: the fallen robot's simulation runs on with the others until the last step, and whatever it returns then must not count. Given all rewards and, for every step, whether the simulator called the episode over *after* it, find every task's mean return:
#
# $$\bar G_n=\frac1B\sum_b\;\sum_{t\,\le\,t_{nb}} r_{nbt},\qquad t_{nb}=\text{the first step after which episode }b\text{ was over.}$$
#
# The reward of the step that ends an episode still counts. What `over` says after that is noise: a fallen robot may look upright again as it rolls on. And what rewards say is not even sure to be a number.
#
# <details><summary>Hint 1: the idea</summary>
#
# Make a mask first: was the episode still going when step $t$ *began*? It was if no *earlier* step has ended it.
#
# <details><summary>Hint 2: the equation</summary>
#
# $m_t=1$ if $\sum_{u<t}\text{over}_u=0$, else 0. The sum up to and including $t$, minus the term of $t$ itself, is a sum over $u<t$.
#
# <details><summary>Hint 3: almost code</summary>
#
# `over.cumsum(-1)` counts the ends so far. `torch.where(mask, rewards, 0.0)` drops what does not count even if it is not a number; `0 * nan` is `nan`.
#
# </details></details></details>


# %% tags=["exercise"] exercise="6.4"
def mean_returns(rewards, over):
    r"""Return the mean over episodes of the sum of the rewards of each, [N].

    rewards: [N, B, T]; anything, nan included, after an episode's end.
    over: 1 if the simulator called the episode over after this step, else 0, [N, B, T]; only the
    first 1 of an episode means something, and an episode without one lasts all T steps.
    About 2 lines.
    """
    # BEGIN SOLUTION
    going = over.cumsum(-1) - over == 0
    return torch.where(going, rewards, 0.0).sum(-1).mean(-1)
    # END SOLUTION


# %% tags=["check"]
mean_returns = checks.mean_returns(mean_returns)

# %% [markdown]
# ## 6.5 Running moments of observations
#
# Joint angles vary by tenths of a radian, joint velocities by several radians per second. So policies see observations in units of their own spread, and that spread has to be learnt from data that come in portions and are not kept. Keep three rows of numbers per entry of the observation: the count $n$, the mean $\mu$ and the sum of squared deviations $S=\sum(o-\mu)^2$. A new portion with $n',\mu',S'$ of its own joins them exactly (Chan, Golub and LeVeque, 1983):
#
# $$n''=n+n',\qquad \mu''=\mu+\frac{n'}{n''}\,\delta,\qquad S''=S+S'+\frac{n\,n'}{n''}\,\delta^2,\qquad \delta=\mu'-\mu.$$
#
# <details><summary>Hint 1: the idea</summary>
#
# First pick the observations that count and forget about tasks, episodes and steps: a list of rows is all that moments know. Then the portion's own three numbers, then the equations.
#
# <details><summary>Hint 2: why not sums of squares?</summary>
#
# $\sum o^2-n\mu^2$ is the same on paper. In floating point it subtracts two huge numbers that are almost equal whenever the mean is large beside the spread. The check looks there.
#
# <details><summary>Hint 3: almost code</summary>
#
# `observations[mask > 0]` is `[n', O]`. Unpack `count, mean, squares = moments`; in the end `torch.stack` three rows of length $O$: a count for every entry, although they are all the same.
#
# </details></details></details>


# %% tags=["exercise"] exercise="6.5"
def update_moments(moments, observations, mask):
    r"""Return the moments of all that was seen, the new observations among it, [3, O].

    moments: rows n, mean, S of what was seen before, [3, O]; all 0 if nothing was.
    observations: [N, B, T, O]; anything, nan included, where the mask is 0.
    mask: 1 for an observation that counts, else 0, [N, B, T]; at least one counts.
    About 7 lines.
    """
    # BEGIN SOLUTION
    seen = observations[mask > 0]
    n, mean, squares = moments
    total = n + len(seen)
    apart = seen.mean(0) - mean
    joined = mean + apart * len(seen) / total
    own = (seen - seen.mean(0)).square().sum(0)
    return torch.stack([total, joined, squares + own + apart.square() * n * len(seen) / total])
    # END SOLUTION


# %% tags=["check"]
update_moments = checks.update_moments(update_moments)

# %% [markdown]
# **See it.** Your functions together simulate. The policy of each task is linear in the normalised observation, with a constant 1 beside it: $a\sim\mathcal N(W_n\,h(o),\,\sigma^2 I)$. A stopwatch takes the CPU seconds of each part, for exercise 6.7.

# %%
SIGMA = 0.5
PARTS = ("physics", "policy", "observations, rewards", "adaptation")
spent = dict.fromkeys(PARTS, 0.0)


@contextmanager
def timed(part):
    """Add the CPU seconds of the block, over all threads, to a part."""
    start = time.process_time()
    yield
    spent[part] += time.process_time() - start


def features_of(observations, moments):
    """Return the observations in units of their spread, and a constant 1, [..., O + 1]."""
    count, mean, squares = moments
    spread = (squares / count).sqrt().clamp(min=1e-6)
    seen = ((observations - mean) / spread).clamp(-5, 5)
    return torch.cat([seen, torch.ones_like(seen[..., :1])], -1)


def collect(weights, speeds, num_episodes, moments, generator):
    """Let W [N, K, O + 1] act; return observations, actions, rewards [N, B, T, ...] and poses."""
    num_tasks, tape = len(speeds), []
    physics = make_physics(model, num_tasks * num_episodes, backend="mujoco")
    begin = torch.as_tensor(model.qpos0)
    physics.reset(*start_states(physics.num, begin, model.nv, robot, generator))
    poses = [physics.qpos.clone()]
    for _ in range(horizon):
        with timed("observations, rewards"):
            seen, before = (
                observe(physics.qpos, physics.qvel, num_tasks),
                physics.qpos[:, 0].clone(),
            )
        with timed("policy"):
            means = features_of(seen, moments) @ weights.mT
            noise = torch.randn(means.shape, generator=generator, dtype=means.dtype)
            actions = means + SIGMA * noise
        with timed("physics"):
            physics.step(actions.flatten(0, 1), robot.frame_skip)
        with timed("observations, rewards"):
            places = (x.unflatten(0, (num_tasks, -1)) for x in (before, physics.qpos[:, 0]))
            tape.append((seen, actions, speed_reward(*places, actions, speeds, step_seconds)))
            poses.append(physics.qpos.clone())
    parts = (torch.stack(part, 2) for part in zip(*tape, strict=True))
    return *parts, torch.stack(poses, 1)


ways = torch.tensor([1.0, -1.0], dtype=torch.float64)  # run forwards, run backwards
speeds = 10 * ways
untrained = torch.zeros(len(ways), model.nu, model.nq - 1 + model.nv + 1, dtype=torch.float64)
generator = torch.Generator().manual_seed(16 * seed)
nothing = torch.zeros(3, 17, dtype=torch.float64)
unit = torch.tensor([1.0, 0.0, 1.0], dtype=torch.float64)[:, None].expand(3, 17)
first, *_ = collect(untrained, speeds, sizes["episodes"], unit, generator)
moments = update_moments(nothing, first, torch.ones_like(first[..., 0]))
fig, ax = plt.subplots(figsize=(5, 2.4))
ax.bar(range(17), (moments[2] / moments[0]).sqrt(), color=["C0"] * 8 + ["C1"] * 9)
_ = ax.set(
    xlabel="entry of the observation",
    ylabel="standard deviation",
    yscale="log",
    xticks=range(0, 17, 4),
)

# %% [markdown]
# *Spread of the 17 entries under an untrained policy: positions (blue), velocities (orange). One step size cannot suit both, so every policy below sees them divided by this. From here on the moments stay as they are: a policy is a function of what it sees, and if the units move between collecting and adapting, the policy that adapts is not the one that acted.*
#
# ## 6.6 Adaptation on collected data
#
# $\mathrm{Alg}$, universal policy adaptation, for a policy $\mathcal N(Wh,\sigma^2I)$ that is linear in features $h$ with a constant among them. From $M$ samples of task $n$, each with features $h$, action $a$ and advantage $A$, maximise over $W'$
#
# $$\frac1M\sum A\;\frac{(a-Wh)^\top(W'h-Wh)}{\sigma^2}\;-\;\lambda\left[\frac1M\sum\frac{\lVert W'h-Wh\rVert^2}{2\sigma^2}+\frac{\rho}{2\sigma^2}\lVert W'-W\rVert^2\right].$$
#
# The first term is the surrogate, linearised in the mean; then come the KL divergence between the two policies and a ridge. All is quadratic in $W'$, so the maximum has a closed form, and one small linear solve per task finds it:
#
# $$W'=W+\frac1\lambda\Big[(C+\rho I)^{-1}\,\frac1M\sum A\,h\,(a-Wh)^\top\Big]^{\top},\qquad C=\frac1M\sum h\,h^\top.$$
#
# (In the package the samples carry the ratio $\pi_\phi/\pi_{\text{old}}$ too. Its value is 1 on data that $\pi_\phi$ has just collected; only the meta-gradient needs it. With a network in place of $h$ this is the head-only BO-MRL of the lesson.)
#
# <details><summary>Hint 1: the idea</summary>
#
# Two averages over samples, one solve. It is ridge regression of the noise $a-Wh$, weighted with the advantage, on the features: where noise paid off, the mean moves towards it.
#
# <details><summary>Hint 2: the shapes</summary>
#
# Keep the task in front and let `@` do the averages: $C$ is `[N, d, M] @ [N, M, d]`, the right-hand side `[N, d, M] @ [N, M, K]`. `torch.linalg.solve` takes all tasks at once, `.mT` transposes the last two dimensions. Where is $\sigma$? It cancels.
#
# <details><summary>Hint 3: almost code</summary>
#
# `features.mT @ features / num_samples` is $C$ of every task. Multiply the rows of $a-Wh$ by `advantages[..., None]` before `features.mT @` them. The ridge is `ridge * torch.eye(d, dtype=...)`. Solve, transpose to `[N, K, d]`, divide by `lam`, add to `weights`.
#
# </details></details></details>


# %% tags=["exercise"] exercise="6.6"
def adapt_head(weights, features, actions, advantages, lam, ridge):
    r"""Return the adapted weights W' of every task, [N, K, d].

    weights: W of every task, [N, K, d]. features: h of every sample, [N, M, d].
    actions: a, [N, M, K]. advantages: A, [N, M]. lam: weight of the distance, > 0.
    ridge: rho > 0. About 6 lines.
    """
    # BEGIN SOLUTION
    num_samples, size = features.shape[1:]
    noise = actions - features @ weights.mT
    pushed = features.mT @ (advantages[..., None] * noise) / num_samples
    spread = features.mT @ features / num_samples
    eye = torch.eye(size, dtype=features.dtype)
    return weights + torch.linalg.solve(spread + ridge * eye, pushed).mT / lam
    # END SOLUTION


# %% tags=["check"]
adapt_head = checks.adapt_head(adapt_head)

# %% [markdown]
# **Verify it.** At the maximum the gradient of the objective in $W'$ is 0 (here with $\sigma=1$):

# %%
tried = checks.adapt_head.example(1)
start, h, a, better, lam, rho = tried


def head_objective(moved):
    """Return the objective of 6.6, added up over tasks."""
    shift = h @ (moved - start).mT
    pays = (better[..., None] * (a - h @ start.mT) * shift).sum(-1).mean(-1)
    apart = shift.square().sum(-1).mean(-1) / 2 + rho / 2 * (moved - start).square().sum((-2, -1))
    return (pays - lam * apart).sum()


for name, weights in (("W", start), ("your W'", adapt_head(*tried))):
    print(f"largest slope at {name:<8} {torch.func.grad(head_objective)(weights).abs().max():.1e}")

# %% [markdown]
# **See it.** Data collected *once*, by the untrained policy in both directions, and adapted to with several $\lambda$. Advantages are returns to go minus their mean over a task's episodes at the same step, in units of their spread.


# %%
def advantages_of(rewards, gamma=0.99):
    """Return normalised advantages [N, B T] of rewards [N, B, T]."""
    ahead = [rewards[..., -1]]
    for each in rewards.flip(-1).unbind(-1)[1:]:
        ahead.append(each + gamma * ahead[-1])
    ahead = torch.stack(ahead[::-1], -1)
    better = ahead - ahead.mean(1, keepdim=True)
    return (better / better.std((1, 2), keepdim=True)).flatten(1)


def adapted(weights, data, lam, ridge=1.0):
    """Adapt all tasks to collected data."""
    observations, actions, rewards, _ = data
    with timed("adaptation"):
        seen = features_of(observations, moments).flatten(1, 2)
        return adapt_head(weights, seen, actions.flatten(1, 2), advantages_of(rewards), lam, ridge)


def test_returns(weights, generator, num_episodes=10):
    """Return the mean return of fresh episodes of each task."""
    _, _, rewards, _ = collect(weights, speeds, num_episodes, moments, generator)
    return mean_returns(rewards, torch.zeros_like(rewards)) + 10 * horizon  # a direction, see 6.1


once = collect(untrained, speeds, sizes["episodes"], moments, generator)
rows = []
for lam in (10.0, 3.0, 1.0, 0.3, 0.1, 0.03):
    moved = adapted(untrained, once, lam)
    shift = features_of(once[0], moments).flatten(1, 2) @ (moved - untrained).mT
    kl = shift.square().sum(-1).mean(-1) / (2 * SIGMA**2)
    after = test_returns(moved, generator, sizes["episodes"])
    for n, way in enumerate(("forwards", "backwards")):
        rows.append({"task": way, "KL": kl[n].item(), "return": after[n].item()})
fig, ax = plt.subplots(figsize=(4.8, 2.8))
sns.lineplot(pd.DataFrame(rows), x="KL", y="return", hue="task", style="task", markers=True, ax=ax)
_ = ax.set(
    xlabel="KL from the untrained policy (nats per step)", ylabel="return after", xscale="log"
)

# %% [markdown]
# *Return of fresh episodes after one adaptation, over how far it went; the same data for all points, $\lambda$ from 10 (left) to 0.03 (right). The data know the neighbourhood of the policy that collected them, and the distance term is there to stay in it: a little further helps, too far ruins. From an untrained policy one adaptation gains little. Meta-training looks for a policy from which one step is worth more.*
#
# ## 6.7 Reading a profile
#
# A profile lists the CPU seconds $s_p$ of every part of a program. If part $p$ alone, or several, become faster by factors $f_p$, the whole becomes faster by (Amdahl, 1967)
#
# $$\frac{\sum_p s_p}{\sum_p s_p/f_p}.$$
#
# $f_p=1$ leaves a part alone, $f_p=\infty$ makes it free. If all parts but the physics were free, the answer would be the ratio of the whole to pure physics: what this course calls "how far from the speed of the physics".
#
# <details><summary>Hint 1: the idea</summary>
#
# Time adds up, speed does not. So first the seconds that are left in each scenario.
#
# <details><summary>Hint 2: the equation</summary>
#
# It stands above, once per row of `factors`.
#
# <details><summary>Hint 3: almost code</summary>
#
# `seconds / factors` broadcasts `[P]` over `[F, P]`, and a division by `inf` is 0, as it should be. Sum over the parts.
#
# </details></details></details>


# %% tags=["exercise"] exercise="6.7"
def speed_up(seconds, factors):
    r"""Return by which factor the whole becomes faster in every scenario, [F].

    sum_p s_p / sum_p (s_p / f_p)

    seconds: CPU seconds of every part, [P]. factors: by how much each part becomes faster, one row
    per scenario, [F, P]; inf for a part that is free. 1 line.
    """
    # BEGIN SOLUTION
    return seconds.sum() / (seconds / factors).sum(-1)
    # END SOLUTION


# %% tags=["check"]
speed_up = checks.speed_up(speed_up)

# %% [markdown]
# **See it.** The profile of the collections and adaptations above, and what your function makes of it.

# %%
profiled = torch.tensor([spent[part] for part in PARTS], dtype=torch.float64)
free = torch.ones(len(PARTS), len(PARTS), dtype=torch.float64).fill_diagonal_(math.inf)
table = pd.DataFrame({"part": PARTS, "share": profiled / profiled.sum()})
table["speed-up if it were free"] = speed_up(profiled, free)
fig, axes = plt.subplots(1, 2, figsize=(8.2, 2.6))
sns.barplot(table, x="share", y="part", ax=axes[0], color="C0")
axes[0].set(xlabel="share of CPU time", ylabel="")
cores = torch.tensor([1.0, 2, 4, 8, 16, 32, 64, math.inf], dtype=torch.float64)
only_physics = torch.ones(len(cores), len(PARTS), dtype=torch.float64)
only_physics[:, 0] = cores
gained = speed_up(profiled, only_physics)
axes[1].plot(cores[:-1], gained[:-1], "o-")
axes[1].axhline(gained[-1], color=plots.INK, lw=1, ls=":")
axes[1].set(xlabel="times that the physics is faster", ylabel="speed-up of the whole", xscale="log")
axes[1].set(xticks=cores[:-1], xticklabels=[f"{n:g}" for n in cores[:-1]])
axes[1].minorticks_off()
all_but_physics = torch.full((1, len(PARTS)), math.inf, dtype=torch.float64)
all_but_physics[0, 0] = 1.0
print(table.round(2).to_string(index=False))
print(f"the whole, in units of pure physics: {speed_up(profiled, all_but_physics).item():.2f}")

# %% [markdown]
# *Left: where the CPU seconds went. Right: what faster physics would bring if all else stayed as slow as it is; the dotted line is the limit. That is why rewards, observations and the policy must be batched on the device where the physics runs: a GPU that makes the physics a hundred times faster would be waiting for the rest.*
#
# What would an experiment at the published scale cost with our small policy? Settings in the code that was published with BO-MRL (2410.09728), HalfCheetah velocity: per iteration 10 tasks with 20 episodes before and 100 after adaptation, and a test of 9 tasks with 40 episodes; 400 steps each, 500 iterations.

# %%
published = 500 * 400 * (10 * (20 + 100) + 9 * 40)
num_collections = 2 + 6  # the first look, the data, and one test for each lambda
simulated = num_collections * len(ways) * sizes["episodes"] * horizon
rate = simulated / profiled.sum().item()
hours = published / rate / 3600
print(f"environment steps: {published / 1e6:.0f} million")
print(f"measured here: {rate:.0f} steps per CPU-second, so {hours:.1f} CPU-hours")
print(f"on 16 cores, if every part used them all: {hours / 16:.2f} hours")

# %% [markdown]
# ## 6.8 One-time or multi-time: what is a fair comparison?
#
# Adaptation may collect once, or collect, adapt, collect with the adapted policy, adapt again. Each new collection costs environment steps, and those are what a robot really pays with. So protocols are compared at an equal *budget*: how good is the policy that each has by the time it has used at most that many steps?
#
# <details><summary>Hint 1: the idea</summary>
#
# The return after adaptation $j$ is there as soon as collections $1\dots j$ are paid for. Before the first is, there is the policy of the start, `returns[:, 0]`.
#
# <details><summary>Hint 2: the equation</summary>
#
# $j_p=\#\{j: T\sum_{i\le j}e_{pi}\le\text{budget}\}$ adaptations are affordable to protocol $p$; the answer is `returns[p, j_p]`. No maximum over $j$: nobody can know which one was the best without paying for further episodes.
#
# <details><summary>Hint 3: almost code</summary>
#
# `episodes.cumsum(-1)` times the horizon, compared with the budget, summed over columns: that counts. `returns.gather(-1, index[:, None])` picks one entry of each row and leaves a column.
#
# </details></details></details>


# %% tags=["exercise"] exercise="6.8"
def returns_at_budget(returns, episodes, horizon, budget):
    r"""Return what every protocol has reached when it has used at most the budget, [P].

    returns: after 0, 1, ..., C adaptations, [P, C + 1].
    episodes: that each of the C collections took, >= 1, [P, C], of integers.
    horizon: steps of an episode. budget: environment steps; what it just pays for is affordable.
    About 2 lines.
    """
    # BEGIN SOLUTION
    affordable = (horizon * episodes.cumsum(-1) <= budget).sum(-1)
    return returns.gather(-1, affordable[:, None])[:, 0]
    # END SOLUTION


# %% tags=["check"]
returns_at_budget = checks.returns_at_budget(returns_at_budget)

# %% [markdown]
# **See it.** Protocols that share a number of episodes per task: all in one collection, or in 2, 4, 8 smaller ones. The policy begins untrained, $\lambda$ is 0.3 in all of them. Test episodes measure; they are not used to adapt, so they are not charged.


# %%
def run_protocol(num_collections, num_episodes, generator):
    """Return the mean test return after 0, 1, ... adaptations, averaged over both directions."""
    weights = untrained
    curve = [test_returns(weights, generator).mean()]
    for _ in range(num_collections):
        data = collect(weights, speeds, num_episodes, moments, generator)
        weights = adapted(weights, data, lam=0.3)
        curve.append(test_returns(weights, generator).mean())
    return torch.stack(curve)


counts = (1, 2, 4, 8)
most, total = max(counts), sizes["total"]
episodes = torch.tensor([[total // c] * most for c in counts])
rows, at_budget, after_one = [], [], []
for number in range(sizes["seeds"]):
    draw = torch.Generator().manual_seed(1000 * seed + number)
    runs = [run_protocol(c, total // c, draw) for c in counts]
    padded = torch.stack([torch.cat([run, run.new_zeros(most + 1 - len(run))]) for run in runs])
    at_budget.append(returns_at_budget(padded, episodes, horizon, total * horizon))
    after_one.append(padded[:, 1])
    for c, run in zip(counts, runs, strict=True):
        size = total // c
        for j, value in enumerate(run.tolist()):
            point = {"steps": j * size * horizon, "return": value}
            rows.append({"protocol": f"{c} x {size}", **point})
curves = pd.DataFrame(rows)
fig, ax = plt.subplots(figsize=(5, 3))
by = {"hue": "protocol", "style": "protocol", "markers": True}
sns.lineplot(curves, x="steps", y="return", errorbar=("pi", 100), ax=ax, **by)
_ = ax.set(xlabel="environment steps of adaptation, per task", ylabel="return of fresh episodes")
means = {"after one adaptation": after_one, "at equal steps": at_budget}
table = pd.DataFrame({name: torch.stack(each).mean(0).tolist() for name, each in means.items()})
table.insert(0, "protocol", [f"{c} x {total // c}" for c in counts])
print(table.round(1).to_string(index=False))

# %% [markdown]
# *Collections x episodes; mean over seeds, bands from the least to the largest. The two columns of the table judge the same runs. "After one adaptation" looks fair and is not: the first protocol has collected eight times the data of the last (and made little of them, for one step is short however good its direction). At equal steps all have paid the same, and the protocols that collect more often come out ahead: data from the new policy allow the next step. That is so for an untrained policy on three seeds; for one that was meta-trained to need a single collection, the lesson asks the question anew.*
#
# ## All together
#
# The cheetah that has never moved, adapted again and again by nothing but your functions: rewards, observations, moments, returns, adaptation.

# %%
weights, curve = untrained, []
for _ in range(sizes["collections"]):
    data = collect(weights, speeds, sizes["episodes"], moments, generator)
    curve.append(mean_returns(data[2], torch.zeros_like(data[2])) + 10 * horizon)
    weights = adapted(weights, data, lam=0.3)
fig, ax = plt.subplots(figsize=(4.6, 2.8))
for line, way in zip(torch.stack(curve, 1), ("forwards", "backwards"), strict=True):
    ax.plot(line, label=way)
ax.set(xlabel="adaptations", ylabel="return of the collected episodes")
ax.xaxis.get_major_locator().set_params(integer=True)
_ = ax.legend()


# %%
def clips_of(policies, stage):
    """Record the first episode of each direction."""
    _, _, rewards, poses = collect(
        policies, speeds, 1, moments, torch.Generator().manual_seed(seed)
    )
    names = ("run forwards", "run backwards")
    return [
        plots.Clip(name, stage, "half_cheetah", poses[n], rewards[n, 0] + 10, Direction(way))
        for n, (name, way) in enumerate(zip(names, ways.tolist(), strict=True))
    ]


clips = [clips_of(untrained, "untrained")[0], *clips_of(weights, "adapted")]
show_photograph(plots.draw_filmstrip(clips, count=4, width=144, height=108))

# %% [markdown]
# *One episode each, at equal times: untrained, and adapted in either direction. The arrow is the task. The gaits are not pretty: each policy is a single matrix, and all it has seen are 40 000 steps of its own. But everything in it is yours, from the reward to the solve.*
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
# - A task family is a reward and a rule of what is seen. Per-task values meet episodes as columns `[N, 1]`, and simulations by `repeat_interleave`; both mistakes keep the shapes right.
# - What comes after an episode's end is selected away, not multiplied by 0.
# - Moments join exactly, in any portions; between collecting and adapting they must not move.
# - Head-only adaptation is one small linear solve per task; $\lambda$ and $\rho$ say how far the data are trusted.
# - A profile tells what a faster part can bring at most. Protocols are compared at equal environment steps.
#
# ## Check yourself
#
# <details><summary>Your reward passes a test with 4 tasks and 7 episodes. Why might the same code without [:, None] have passed a test with 5 tasks and 5 episodes?</summary>
#
# `[5]` broadcasts over `[5, 5]` without complaint: each *episode* then has a goal. Values still look like rewards, the mean over everything may even be right. Test batched code with sizes that all differ.
#
# </details>
#
# <details><summary>The moments are updated after every step of an episode, "to be up to date". What breaks?</summary>
#
# The same observation means another input at every step, so the data come from many policies, of which none is the one that adapts. Log-probabilities that were stored no longer belong to $\pi_\phi$, ratios differ from 1 although nothing was adapted, and repeating the run with another batch size changes the result.
#
# </details>
#
# <details><summary>Without the ridge (rho = 0) what happens in 6.6 if two features are always equal, and what if there are fewer samples than features?</summary>
#
# $C$ is singular in both cases and the solve fails or returns huge weights. Along such directions the KL term charges nothing, because the data never show a difference: the ridge is what decides there. It is part of the objective, so the solution is still an exact maximum.
#
# </details>
#
# <details><summary>A colleague makes the physics ten times faster and gains a factor of 2.5 overall. Which share did the physics have?</summary>
#
# With a share $s$ the whole takes $1-s+s/10=1/2.5$, so $s=2/3$. Were the physics free, the factor would be 3 and not more.
#
# </details>
#
# <details><summary>Why is "the best return over all adaptations within the budget" not what a protocol has reached?</summary>
#
# Picking the best needs test episodes after each adaptation, which the protocol has not paid for. And a maximum over noisy returns is too large on average, the more so the more adaptations there are to pick from.
#
# </details>
#
# **Next:** back to [lesson 06b](../notebooks/06b_robots_that_adapt.ipynb): the same pieces with a network, a meta-trained start, and a GPU where there is one.
