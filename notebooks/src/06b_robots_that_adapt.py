# %% [markdown]
# # 06b · Robots that adapt
#
# **After this lesson you can**
#
# - name two dull details without which no robot learns;
# - train BO-MRL until a cheetah turns round after one adaptation, and watch it;
# - judge a comparison of up to nine methods on cheetahs, walkers and ants: yardsticks, seeds, errors, price;
# - say what a second collection of data is worth, and what a negative result shows.
#
# **Time:** reading 45 minutes, computing about 1 minute. **Before:** [06a · Robots in batches](06a_robots_in_batches.ipynb), section 1; [02b · From estimators to algorithms](02b_algorithms.ipynb) for ProMP and MAML-TRPO, [04c · Constraints and samples](04c_constraints_and_samples.ipynb) for recipes A and B. **After:** exercise set 06 (`exercises/06_gpu_locomotion.ipynb`). **Words:** [symbols and names](../docs/symbols_and_names.md).
#
# | equation | function |
# |---|---|
# | $\mathrm{clip}\big((o-\hat m)/\hat s,-5,5\big)$ | `update_moments`, `lens_of` |
# | $\theta=\mathrm{Alg}(\phi,\lambda,\tau)$, and the hypergradient | `bl.METHODS["bomrl_head"]`, `bl.METHODS["bomrl_natural"]` |
# | return after $0,1,\dots,K$ adaptations | `adapted_returns` |
# | returns of a robot that stands still, and of the best that never adapts | `plots.yardsticks` |
# | lead of one method over another, paired by seed | `plots.lead_table` |
#
# $o$ is an observation, $\hat m$ and $\hat s$ the running means and deviations of observations. A task asks for a direction $d$ or a speed $v^*$ and is in no observation: a robot learns it by being paid.

# %% tags=["parameters"]
profile = "class"  # "smoke": seconds, for tests · "class": for you · "full": larger, for figures
seed = 0

# %%
import time

import numpy as np
import pandas as pd
import torch

# %%
import bomrl_lite as bl
from bomrl_lite.course import plots, predictions, widgets
from bomrl_lite.course.parameters import begin
from bomrl_lite.course.record import record
from bomrl_lite.course.show import show_clip, show_photograph, show_source, stored_table
from bomrl_lite.tasks.locomotion import FAMILIES, LocomotionSimulator
from bomrl_lite.tasks.robot_goals import Directions
from bomrl_lite.training.streams import seeded

begin(profile, seed)
plots.use_style()
torch.set_num_threads(1)
column = ("smoke", "class", "full").index(profile)
sizes = {
    "episodes": (2, 20, 20)[column],
    "horizon": (10, 100, 100)[column],
    "iterations": (2, 20, 40)[column],
    "tasks": (2, 4, 4)[column],
    "repeats": (2, 4, 10)[column],
}
cheetah = FAMILIES["cheetah/direction"]
both_ways = Directions(torch.tensor([[-1.0], [1.0]]))

# %% [markdown]
# ## 1. Two details without which nothing learns
#
# Observations have units: radians, metres, and radians per second. A network prefers numbers of similar size, so they are looked at through a **lens** of running means and deviations. The lens stays fixed within an iteration, because $\pi_\phi$ and $\pi_\theta$ must look at the same thing for their ratio to mean something.

# %%
from bomrl_lite.rollout.collect import collect, repeat
from bomrl_lite.rollout.observations import lens_of, no_moments, update_moments

show_source(update_moments, lens_of)
policy = bl.gaussian_mlp(17, 6, log_std=-0.5, head_scale=0.1)
simulator = LocomotionSimulator(cheetah, both_ways, 4, sizes["horizon"], backend="mujoco")
episodes = collect(simulator, policy, repeat(policy.init(seeded(seed, 6)), 2), seeded(seed, 7))
moments = update_moments(no_moments(17), episodes.observations, episodes.mask)
for name, shown in (
    ("raw", episodes.observations),
    ("through the lens", lens_of(moments)(episodes.observations)),
):
    spread = shown.flatten(0, -2).std(0)
    print(f"{name:<17}deviations of the 17 observations: {spread.min():.2f} to {spread.max():.2f}")

# %% [markdown]
# And the policy's last layer begins at a tenth of its usual size (`head_scale`): small means are small torques, and large ones cost a return that has to be won back first. (Andrychowicz et al., 2020, find both details among those that matter most in on-policy learning.)

# %%
for scale in (1.0, 0.1):
    policy = bl.gaussian_mlp(17, 6, log_std=-0.5, head_scale=scale)
    simulator = LocomotionSimulator(cheetah, both_ways, 4, sizes["horizon"], backend="mujoco")
    phi = repeat(policy.init(seeded(seed, 6)), 2)
    actions = collect(simulator, policy, phi, seeded(seed, 7)).actions
    effort = 0.05 * actions.square().sum((-1, -2)).mean()
    print(f"head_scale {scale}: the actions of one episode cost {effort:.1f}")

# %% [markdown]
# **Learnt:** two dull details, the scale of what goes in and of what first comes out.
#
# ## 2. A cheetah learns to turn round
#
# Now train: head-only BO-MRL (recipe A of lesson 04c) on *forwards or backwards*, four tasks, twenty episodes each.

# %%
config = bl.configure(
    "bomrl_head",
    tasks="cheetah/direction",
    num_tasks=sizes["tasks"],
    num_episodes=sizes["episodes"],
    horizon=sizes["horizon"],
    iterations=sizes["iterations"],
    seed=seed,
)
start = time.perf_counter()
state = bl.meta_train(config)
print(f"{config.iterations} iterations in {time.perf_counter() - start:.0f} s")
curves = [
    {"iteration": row["iteration"], "method": config.method, "return": row[column], "when": when}
    for row in state.history
    for when, column in (("after 1 adaptation", "return_after"), ("before", "return_before"))
]
fig = plots.sampled_training_curves(pd.DataFrame(curves))

# %% [markdown]
# *Training batches, one seed. Before adaptation nobody can know the direction, and what one half of the tasks pays the other takes.*
#
# Fresh episodes judge, and the untrained policy stands beside (it looks through the trained lens):

# %%
from bomrl_lite.training.episodes import adapted_returns
from bomrl_lite.training.trainer import start_state

problem = bl.make_problem(config)
policies = {"untrained": start_state(problem).phi, "trained": state.phi}


def measured(phi, draw):
    """Return the mean return of fresh episodes [2 directions, 0 to 3 adaptations]."""
    options = {"num_steps": 3, "num_episodes": sizes["episodes"], "moments": state.moments}
    return adapted_returns(phi, both_ways, problem, draw, **options)


returns = {}
for name, phi in policies.items():
    draw = seeded(seed, 8)  # anew for each policy: all meet the same numbers
    returns[name] = torch.stack([measured(phi, draw) for _ in range(sizes["repeats"])])
record("return_before", returns["trained"][0, :, 0].mean(), "return")
record("return_after", returns["trained"][0, :, 1].mean(), "return")
record("untrained_return_after", returns["untrained"][0, :, 1].mean(), "return")
pd.DataFrame(
    {
        (name, way): [f"{m:.0f} ± {e:.0f}" for m, e in zip(each.mean(0), each.std(0), strict=True)]
        for name, of_draws in returns.items()
        for way, each in zip(("backwards", "forwards"), of_draws.unbind(1), strict=True)
    }
).T.rename_axis(columns="adaptations")

# %% [markdown]
# *Mean ± standard deviation over repetitions: each draws other episodes to adapt on, and others to judge by.* Twenty episodes are few, as the deviations say; a difference of the size of one is nothing, and that goes for what the untrained policy seems to gain.

# %% [markdown]
# Watch what a full training makes of it: the stored policy of the comparison below, seed 0. One adaptation, on twenty episodes per direction; then one more episode before and after it, side by side. Choose a task, and play:

# %% tags=["widget"]
from bomrl_lite.course.root import course_root

trained = bl.load_policy(
    course_root() / "notebooks/results/policies/cheetah_direction_bomrl_head.pt"
)
clips = widgets.adapted_clips(
    trained, both_ways, ("run backwards", "run forwards"), seed=seed, horizon=sizes["horizon"]
)
widgets.rollout_player(clips, width=440, height=330)

# %%
fig = plots.draw_filmstrip(clips, count=3)
show_photograph(fig)

# %% [markdown]
# *What the player shows, for a page that cannot move: three moments of each episode. The arrow on the floor points where the task pays; the camera follows the trunk, so look at `x`.* The policy of this notebook, half a minute old, would go forwards slowly: see the table.

# %%
from bomrl_lite.physics.robots import load_model
from bomrl_lite.render.render import frames

model = load_model("half_cheetah")
films = [
    frames(model, clip.qpos[:: max(1, len(clip.qpos) // 50)], width=200, height=150, goal=clip.goal)
    for clip in clips[2:]
]
alt = "Two robots after one adaptation: one runs backwards, one forwards, as its task pays"
show_clip(np.concatenate(films, axis=2), fps=10, kilobytes=70, alt=alt)

# %% [markdown]
# *The stored policy after one adaptation: one meta-policy, told by rewards alone to run backwards (left) and forwards (right).* Compare the forward rows of the strip: before, it runs the wrong way; after, the right one, head down. Nothing in the reward asks for grace.
#
# **Learnt:** one adaptation on twenty episodes turns a cheetah round, if it was trained for that; and twenty episodes are too few to tell small differences.
#
# ## 3. The full comparison
#
# Twenty iterations of one seed prove nothing. The stored runs (`python -m bomrl_lite experiment cheetah_direction`, and so on) gave every method the same steps of the environment and the same tuning: on each family a search of twelve trials by Optuna, on a seed that no comparison uses, 20 iterations per trial. (Ants are in section 4.)

# %%
fig = plots.draw_experiment("cheetah_tuning", stored_table("cheetah_tuning"))

# %% [markdown]
# *HalfCheetah direction; each dot is a trial. Within one method settings decide more than most methods differ; hence "equal tuning".*
#
# Who is who: **MAML-TRPO** limits one large step per iteration, **ProMP** takes several clipped ones; **ANIL** and **ProMP head** are the two with an inner step on the last layer alone. **BO-MRL head** is recipe A, **BO-MRL** recipe B: quadratic in the KL divergence, where D1 and D2 agree. **BO-MRL D1** and **D2** solve the inner problem with the divergence itself, with the settings of recipe B. **BO-MRL D3** replaces $L$ by its tangent, for only then D3 has a closed form (lesson 03a had to climb): $\theta=\phi+\frac1{2\lambda}\nabla L$. So it is MAML's step with $\alpha=1/(2\lambda)$, and with several clipped outer steps it is ProMP without its penalty: do not look for a wonder between those two.

# %% tags=["widget", "hide-input"]
predictions.ask(
    "06b.leader",
    "HalfCheetah direction, equal tuning, ten seeds: which of these returns most on test "
    "goals after one adaptation?",
    ("MAML-TRPO", "ProMP", "BO-MRL", "BO-MRL head"),
)


# %%
from bomrl_lite.course.statistics import mean_interval


def summary(name):
    """Return what the text below quotes: returns on test goals, CPU-seconds, seeds."""
    table = stored_table(name)
    kinds = dict(list(table.groupby("kind")))
    tested = kinds["steps"].astype({"adaptations": int})
    by_seed = tested[tested["adaptations"] == 1].groupby("method", sort=False)["return"]
    few = kinds["episodes"].query("episodes == 1").groupby("method", sort=False)["return"].mean()
    trained = kinds["training"].groupby(["method", "seed"], sort=False)["seconds"].max()
    returns = tested.pivot_table(
        index="method", columns="adaptations", values="return", sort=False
    )[[0, 1, 3]]
    return returns.round(1).assign(
        **{
            "1, 95 % interval": ["{:.0f} to {:.0f}".format(*mean_interval(x)) for _, x in by_seed],
            "1, worst seed": by_seed.min().round(),
            "1, from one episode": few.round(1),
            "CPU-s": trained.groupby("method", sort=False).mean().round(),
            "seeds": by_seed.count(),
        }
    )


direction = summary("cheetah_direction")
asked = ["MAML-TRPO", "ProMP", "BO-MRL", "BO-MRL head"]
predictions.reveal("06b.leader", direction.loc[asked, 1].idxmax())
direction

# %%
fig = plots.draw_experiment("cheetah_direction", stored_table("cheetah_direction"))

# %% [markdown]
# *HalfCheetah direction. The table: mean return on test goals after 0, 1 and 3 adaptations on 20 episodes each; after one, its 95 % interval, the worst seed, and the return from a single episode; processor time of the whole training. The figure, top: training; dashed: the untrained policy after one adaptation. Bottom: test goals; left, each adaptation reads 20 fresh episodes, and later ones take steps that differ by a factor that each method chose on training goals. Lines are means over seeds, bands reach from the smallest to the largest, dots are seeds. Dotted: standing still. A direction has no third value to hold out: both splits share the two.*

# %%
summary("cheetah_velocity")

# %%
fig = plots.draw_experiment("cheetah_velocity", stored_table("cheetah_velocity"))

# %% [markdown]
# *HalfCheetah velocity, $v^*\in[0,2]$ m/s, speeds that training never saw.*
#
# Two yardsticks matter here, because a return of $-60$ sounds like skill. A robot that stands still is $v^*$ wrong at each of its 100 steps; one that always runs at 1 m/s is wrong by $\lvert1-v^*\rvert$, and no constant speed does better. On the test goals, before the cost of actions:

# %%
for family in ("cheetah/velocity", "ant/velocity"):
    levels = plots.yardsticks(family)
    print(f"{family:<17}" + ", ".join(f"{name} {level:+.0f}" for name, level in levels.items()))
for name, level in plots.yardsticks("cheetah/velocity").items():
    record(f"cheetah_velocity_{name.replace(' ', '_')}", level, "return")

# %% [markdown]
# Above the second line a policy *must* have adapted: whoever ignores the goal runs at some speed in each step, and on average over goals none pays more than 1 m/s. Below it you cannot tell. And who leads? Paired by seed, since all methods of a seed meet the same goals:

# %%
for table in ("cheetah_direction", "cheetah_velocity"):
    leads = plots.lead_table(stored_table(table))
    shown = leads.assign(
        lead=[f"{m:+.1f} ± {e:.1f}" for m, e in zip(leads["mean"], leads["error"], strict=True)],
        won=[f"{w:.0f} of {n:.0f}" for w, n in zip(leads["wins"], leads["seeds"], strict=True)],
    )
    shown["lead (seeds won)"] = shown["lead"] + " (" + shown["won"] + ")"
    print(table)
    print(
        shown.pivot_table(
            index="lead of",
            columns=["over", "adaptations"],
            values="lead (seeds won)",
            aggfunc="first",
            sort=False,
        ).to_string()
    )
    first = leads[(leads["adaptations"] == 1) & (leads["lead of"] == "BO-MRL head")]
    for over, mean in zip(first["over"], first["mean"], strict=True):
        record(
            f"stored_{table}_lead_over_{over.lower().replace('-', '_')}",
            mean,
            "return",
            source="table",
        )

# %% [markdown]
# *Mean lead in return ± its standard error, and on how many seeds it is positive. Read a lead as real only if it is won on nearly all of them and several errors wide.*
#
# **Direction: head-only BO-MRL leads.** After one adaptation it returns 179 on average, BO-MRL on all parameters 168, ProMP 141, MAML-TRPO 117. It is ahead of ProMP on nine seeds of ten and of MAML-TRPO on all ten, and its training is among the cheapest. BO-MRL on all parameters, too, leads ProMP on nine seeds, at one and a half times the price; with the divergence itself (D1, D2) it costs three times as much, and three seeds do not say for what. Where data are few the head leads by far: 74 from a single episode, ProMP 4.
#
# *Why* the head leads, this does not say. Three things are different in that row: the KL divergence in place of a step in parameters, the head in place of all parameters, and an inner problem that is solved exactly. Hence a control. And how much of a lead is the luck of a search? Hence the same with the methods' usual settings, in a table of its own:

# %% tags=["widget", "hide-input"]
predictions.ask(
    "06b.control",
    "Let ProMP adapt its head alone, by its gradient step, equally tuned. What is "
    "BO-MRL head's lead over that: the mean over ten seeds?",
    edges=(-10, 10, 30),
)

# %%
from bomrl_lite.course.statistics import probability_of_improvement

PAIRS = (("BO-MRL head", "ProMP head"), ("BO-MRL head", "ProMP"), ("ProMP head", "ProMP"))


def paired_leads(name):
    """Return mean lead, interval, seeds won and P(better) of each pair after one adaptation."""
    steps = stored_table(name).query("kind == 'steps' and adaptations == 1")
    by_seed = steps.pivot_table(index="seed", columns="method", values="return")
    rows = {}
    for arm, over in PAIRS:
        lead = by_seed[arm] - by_seed[over]
        low, high = mean_interval(lead)
        rows[f"{arm} over {over}"] = {
            "lead": lead.mean().round(1),
            "95 % interval": f"{low:+.1f} to {high:+.1f}",
            "seeds won": f"{int((lead > 0).sum())} of {len(lead)}",
            "P(better)": round(probability_of_improvement(by_seed[arm], by_seed[over]), 2),
        }
    return pd.DataFrame(rows).T


settings = {"settings of the search": "cheetah_direction", "usual settings": "heads"}
controls = pd.concat({told: paired_leads(name) for told, name in settings.items()})
for (told, pair), lead in controls["lead"].items():
    words = f"{settings[told]}_{pair}".lower().replace("-", "").replace(" ", "_")
    record(f"stored_lead_{words}", lead, "return", source="table")
predictions.reveal("06b.control", controls["lead"].iloc[0])
controls

# %% [markdown]
# *Mean lead after one adaptation, paired by seed, with its bootstrap interval; seeds on which it is positive; the chance that a run of the one beats any run of the other.*
#
# Most of the lead goes with the head: over ProMP on the head, 14 of the 38 are left, and those could be chance. What the closed form adds is clear where data are few (the same table, `kind == 'episodes'`): from one episode 74 against ProMP head's 21, from five 158 against 137. The lower half is a warning: with its usual settings ProMP returns 155, more than with those that its own search chose; the lead over it shrinks to 22, and from a single episode the two are level at 46. Twelve trials on one seed leave luck in every row. [What BO-MRL is worth](../docs/evidence.md) has a verdict for each claim, by one rule.
#
# **Velocity: ProMP leads, and BO-MRL on all parameters is level with it.** After one adaptation ProMP returns −41, BO-MRL on all parameters −42, a difference that ten seeds do not settle (−1.1, interval −3.7 to 1.6). D3 (−46), the head and MAML-TRPO (both −47) are behind, D3 on every seed. ProMP on the head does as well as those on nine seeds and breaks down on the tenth: what looked best after 20 iterations on one seed (a learning rate of 0.024) is too much there. Where data are few it is the other way round: from a single episode BO-MRL returns −63, with the head and with all parameters, ProMP −70.
#
# A mean hides its seeds. **Performance profiles** show all: the share of seeds above each return.

# %%
fig = plots.performance_profiles(stored_table("cheetah_direction"))

# %% [markdown]
# *HalfCheetah direction; further right is better, and a steep fall is a method whose seeds agree.* The worst seed of BO-MRL's head, 158, is above seven of ProMP's ten and above all of MAML-TRPO's and ANIL's.
#
# ### Levers: can BO-MRL catch up on velocity?
#
# Each row changes one thing about the trainings of the velocity table, for the same seeds, without tuning anew: an outer trust region (the one that the search found for MAML-TRPO) in place of clipped epochs; two adaptations in training, the second on episodes of its own; the term through $Q$, truncated as lesson 04c finds best from 20 episodes; a step of the body, as long as ProMP's, beside the closed form of the head; for all parameters a ridge of the head's own, under which recipe B's head goes as far as recipe A's, or a limit on the distance (inner trust region) in place of its price; four times as many iterations, for ProMP too.

# %%
levers = stored_table("levers")
fig = plots.draw_experiment("levers", levers)
means = levers.pivot_table(index="method", columns="adaptations", values="return", sort=False)
record(
    "stored_lever_longer",
    means.loc["all, 4 times longer", 1] - means.loc["all", 1],
    "return",
    source="table",
)
means.round(1)

# %% [markdown]
# *HalfCheetah velocity, test goals. Dots are means over seeds with their intervals, bars the price of one training; "head" and "all" are BO-MRL's.*
#
# **Time helps both; nothing else does that five seeds could show.** Four times as many iterations take BO-MRL on all parameters from −43 to −37 (a gain on all five seeds) and ProMP from −41 to −35: BO-MRL is ahead on three seeds of five, and behind on the mean, by 1.9, for one seed at −54. The term through $Q$ changes the head from −46 to −46, a step of the body beside the closed form to −44. An outer trust region does the head no good, and does no good with all parameters; an inner one is no better with them (−45), for 1.4 times the price, and a ridge of the head's own ruins recipe B (−66). Trained for two adaptations, the head is worse after one (−53), and after two by 3.
#
# **Beware of three seeds.** The table had three at first, and on those longer training had BO-MRL ahead of ProMP, by 2.0, and the term through $Q$ took the head from −45 to −41, level with ProMP. The next two seeds took both back. (They were added after a look: a lever that they had lifted above zero would have had a second chance.)
#
# ### Two legs: walkers
#
# A walker can fall, and an episode ends when it does: before it can be asked for a direction it has to stand. The same search for five methods (`walker_tuning`), then five fresh seeds, 40 iterations, `integrator="fast"`.

# %%
fig = plots.performance_profiles(stored_table("walker_direction"))

# %%
walkers = summary("walker_direction")
for arm in ("ProMP", "BO-MRL head", "BO-MRL"):
    words = arm.lower().replace("-", "").replace(" ", "_")
    record(f"stored_walker_{words}", walkers.loc[arm, 1], "return", source="table")
walkers

# %% [markdown]
# *Walker direction: two tasks, forwards and backwards, the same in training and test. A walker that stands still earns 200: 1 per step.* The curves of training and the returns over episodes: `plots.draw_experiment("walker_direction", stored_table("walker_direction"))`.
#
# **ProMP leads; it and the head are steady.** Untrained, a walker falls after some 20 steps. After one adaptation ProMP returns 388, BO-MRL's head 362 and is behind on all five seeds (a lead of −26); BO-MRL on all parameters returns 342 for one and a half times the price, MAML-TRPO 303. The control, ProMP on the head, returns 352, from 184 on its worst seed to 445 on its best; the seeds of BO-MRL's head lie between 354 and 379. From five episodes the head and ProMP are not told apart (339 and 335), and ProMP on the head is down at 222, by two seeds of five (25 and 145): the closed form saves the head from such seeds, and does not beat ProMP even there.
#
# The same levers, without longer training (dear) and an outer region (no help above), on three seeds; returns after 0, 1 and 2 adaptations:

# %%
walker_levers = stored_table("walker_levers")
of_walkers = walker_levers.pivot_table(
    index="method", columns="adaptations", values="return", sort=False
)
by_seed = walker_levers.query("adaptations == 1").groupby("method")["return"]
stored = of_walkers.loc["all, inner trust region", 1]
record("stored_walker_inner_region", stored, "return", source="table")
of_walkers.assign(worst=by_seed.min(), best=by_seed.max()).round(0).astype(int)

# %% [markdown]
# *`worst` and `best`: of three seeds, after one adaptation.* **No lever takes BO-MRL past ProMP.** Two adaptations in training cost the head 63 after one adaptation and 52 after two; the term through $Q$ costs it 32; a step of the body changes nothing that three seeds could show (−10). A ridge of the head's own ruins recipe B here too. A limit on the distance, for 1.4 times the price, does not move the mean by what three seeds can tell (−8); its seeds lie between 350 and 373, those of a price between 304 and 432.
#
# All in all: [where BO-MRL loses](../docs/where_bomrl_loses.md), on one page, from the stored tables of the whole course.
#
# ### One collection or many
#
# *One-time data* is the premise of the theory: adapt to what $\pi_\phi$ collected, once. Is it also a good use of episodes? Here each task may play 40 episodes, either all by the meta-policy, or in up to eight parts, each collected by what the parts before led to. The factor of later steps is chosen on training goals for every method and number of parts.

# %% tags=["widget", "hide-input"]
predictions.ask(
    "06b.parts",
    "In how many parts should head-only BO-MRL collect its 40 episodes?",
    ("1", "2", "4", "8"),
)

# %%
parts = stored_table("collections")
fig = plots.draw_experiment("collections", parts)
best = parts.groupby(["method", "collections"], sort=False)["return"].mean().unstack()
predictions.reveal("06b.parts", str(best.loc["BO-MRL head"].idxmax()))
best.round(1)

# %% [markdown]
# *HalfCheetah direction; lines are means over seeds, dots are seeds.*
#
# **A second collection helps a little, an eighth no longer.** From one part to four, head-only BO-MRL goes from 176 to 193 and ProMP from 172 to 194 (three seeds, on which ProMP is level); with eight parts of five episodes both fall back, and MAML-TRPO stays where it is (119 to 127). So collecting once gives away about a tenth here, and needs one round of interaction instead of four.
#
# **Learnt:** with equal tuning BO-MRL on the head leads on one family of the cheetah and is behind on the other, and on walkers; read a lead with its seeds, its error and its price beside it.
#
# ## 4. Four legs: ants
#
# Four legs, eight joints, episodes of 200 steps, and nothing ends when it lies on its back. `integrator="fast"`: MuJoCo's implicitfast in place of gymnasium's Runge-Kutta, a third of the price. First without the meta: one policy, one direction, no adaptation. How noisy may its first steps be?

# %%
fig = plots.draw_experiment("ant_forward", stored_table("ant_forward"))

# %% [markdown]
# *Mean return of the episodes that training collects, three seeds; standing still earns the bonus of 1.05 per step for being there, 210 in all.*
#
# **Less noise, better gait.** From $\log\sigma=-1$ the ant gains some 120 in 60 iterations, from $-0.5$ less than 50. So environment, reward and update are in order, and noise that suits a cheetah keeps an ant from walking.
#
# Now Ant velocity. A search of twelve trials of 20 iterations, as for the cheetah, is no use here: after 20 iterations there is no gait to adapt, and a return after adaptation says nothing about the adaptation. Five methods got four configurations each, of 40 iterations: the cheetah's settings, less noise at the start ($\log\sigma=-1$ in place of $-0.5$), other outer updates (ten at a learning rate of 0.005 in place of five at 0.01 or 0.02; for MAML-TRPO a region of 0.3 nats in place of the usual 0.1), and both.

# %%
tried = ["the cheetah's settings", "other updates", "less noise", "both"]
ants = stored_table("ant_tuning").pivot(index="configuration", columns="method", values="return")
ants.set_axis(tried).round(1)

# %% [markdown]
# *Ant velocity, tuning seed, 40 iterations: return after one adaptation; standing still earns −90. Each method has its own learning rate of the cheetah's.* With the cheetah's settings none learns. The heads need less noise and nothing else; ProMP, MAML-TRPO and BO-MRL on all parameters need both changes at once, and the last falls apart with less noise and large updates. Each keeps its best; the two that learn fastest and the two controls go on, for 4 million steps on five seeds.

# %% tags=["widget", "hide-input"]
predictions.ask(
    "06b.ant",
    "The best constant speed earns +60, standing still −90. After 4 million steps, what "
    "does ProMP return after one adaptation?",
    edges=(0, 30, 60),
)

# %%
walking = summary("ant_velocity")
lead = walking.loc["BO-MRL head", 1] - walking.loc["ProMP head", 1]
record("stored_ant_lead_over_promp_head", lead, "return", source="table")
predictions.reveal("06b.ant", walking.loc["ProMP", 1])
walking

# %%
fig = plots.draw_experiment("ant_velocity", stored_table("ant_velocity"))

# %% [markdown]
# *Ant velocity, $v^*\in[0,3]$ m/s, with the two yardsticks of section 3; the table as there. The controls, MAML-TRPO and ProMP on the head, were trained on another day, when all took about one and a half times as long: their seconds are not to be compared.*
#
# **On velocity the ants learn to walk, and the head leads.** The untrained ant returns −98. After one adaptation head-only BO-MRL returns 32 and ProMP 11: a lead of 21, on all five seeds (interval 7 to 37), for four fifths of the price; MAML-TRPO returns −47. And here the lead is not the head's: ProMP on the head returns −2, 34 less than BO-MRL's, on all five seeds (interval 14 to 51). Most of both leads is there before any adaptation (15, 0 and −19), which then adds 17, 11 and 17: what differs is the gait that training arrives at. Nobody's inner step was tuned. Three adaptations bring 38 and 16; only single seeds reach the best constant speed (+60). Where data are few there is no comparison: from a single episode all return less than before it: BO-MRL's head 4 in place of 10, ProMP −60 in place of −4, ProMP on the head −67 in place of −26. Both curves still rise. And a warning: an earlier table of ONE seed and 150 iterations had ProMP ahead by 42.

# %% [markdown]
# On **direction** the settings of velocity taught an ant nothing (an earlier table: one seed, 150 iterations). Before it adapts, an ant that is asked for both directions has nothing to gain from either, so the only thing that training can improve is what one inner step does to it; and a step that hardly moves the ant does nothing. So how long should it be? Three lengths each, 60 iterations on the tuning seed, return after one adaptation; standing still earns 210:

# %%
lengths = stored_table("ant_direction_tuning")
lengths[["method", "dials", "return"]].round(0)

# %% [markdown]
# No length lifts it by 20 above standing still, so by the rule that was set beforehand the best of each (ProMP's shortest, the head's longest; for ProMP by less than the noise of a seed) got 60 iterations on five seeds, not 100.

# %%
after = stored_table("ant_direction").query("kind == 'steps'")
after.pivot_table(index="method", columns="adaptations", values="return", sort=False).round(0)

# %% [markdown]
# **There they learn next to nothing.** After one adaptation both return 214 to 215 on average; the untrained ant, adapted as the head is, 211. From a single episode the head's long step does harm: 205 before it, 195 after, where ProMP's returns 207. What one half of the tasks pays for, the other half takes, so there is no gait to learn before adaptation is of use, and adaptation is of little use without one. Neither the environment nor ProMP's outer update is to blame: states, observations and rewards are those of gymnasium's ant, which a test compares, and the same ant, asked for one direction, learns to walk by the same update (above). A negative result at this budget, and no verdict on the methods: the published code takes 500 iterations with 40 episodes per task, these runs 60 with 20. So the same again for 480 with 40, with every step of the head that was tried:

# %%
long = stored_table("ant_direction_long")
until = (long["iteration"] + 19) // 20 * 20
curves = long.assign(until=until).query("kind == 'training' and until in (60, 120, 240, 360, 480)")
by_time = curves.astype({"until": int}).pivot_table(
    index=["method", "seed"], columns="until", values="return", sort=False
)
fresh = long.query("kind == 'steps'").set_index(["method", "seed"])
for when, adaptations in (("before", 0), ("after", 1)):
    by_time[when] = fresh[fresh["adaptations"] == adaptations]["return"]
for arm in ("ProMP", "BO-MRL head, lam 0.3, half the rate"):
    words = "promp" if arm == "ProMP" else "head"
    record(f"stored_ant_long_{words}", by_time.loc[arm, "after"].mean(), "return", source="table")
by_time.round(0).astype(int)

# %% [markdown]
# *Columns 60 to 480: return after one adaptation during training, mean of the last 20 iterations; `before` and `after` it: fresh episodes at the end. All curves: `plots.draw_experiment("ant_direction_long", long)`.*
#
# **Given the time, ants gain by adaptation.** Before it, ProMP and the heads that last return about what standing still earns (197 to 238); after it ProMP returns 412 and 509, and its curves still rise. (A mean over two tasks does not say that both directions are learnt.) **No setting of BO-MRL's head keeps what it had at its best.** With the long step that looked best after 60 iterations, and with a third of it, it ends below an ant that does nothing. With the usual step ($\lambda=0.3$), at the usual rate of the outer updates and at half of it, it is far ahead of ProMP on seed 0 after 240 iterations (412 and 466, against 309) and ends at 318 and 409; on seed 1 it is behind in all columns. Half the rate was tried because the others had fallen back, and two seeds are no verdict: evidence that ProMP rises where the head stops.
#
# **Learnt:** settings that suit one robot may teach another nothing; and a negative result names its budget.

# %% [markdown]
# ## 5. Recap
#
# - Observations through a lens, small first means: dull, and decisive.
# - One adaptation on twenty episodes turns a cheetah round, after a training that was meant for it.
# - Judge a return by its yardsticks: standing still, the best policy that does not adapt, the untrained prior after one adaptation.
# - Judge a lead by its seeds, its error and its price. Head-only BO-MRL leads on HalfCheetah direction and Ant velocity; on HalfCheetah velocity ProMP leads the head and is level with BO-MRL on all parameters, on Walker direction it leads both. What a long run makes of ants' directions is not settled: on two seeds ProMP still rises and the head does not.
# - Collecting once gives away about a tenth here; collecting eight times gains nothing over four.

# %%
fig = predictions.show("06b")

# %% [markdown]
# ## 6. Check yourself
#
# <details><summary>A policy earns −52 on HalfCheetah velocity after one adaptation. Has it adapted?</summary>
#
# You cannot tell from the number: running at 1 m/s for ever earns −50 less the cost of actions. Look at the return before adaptation, and at single goals: an adapted policy is as good at 0.2 m/s as at 1.8.
#
# </details>
#
# <details><summary>Why are means and deviations of observations not updated within an iteration?</summary>
#
# $\pi_\theta(a\mid s)/\pi_\phi(a\mid s)$ compares two policies in one state. With another lens the same state is another input, and the ratio would compare lenses too.
#
# </details>
#
# ## 7. Reading
#
# - J. Rothfuss et al. (2018), *ProMP: Proximal Meta-Policy Search*, arXiv 1810.06784: six families, and the method.
# - S. Xu, M. Zhu (2024), *Meta-Reinforcement Learning with Universal Policy Adaptation*, arXiv 2410.09728: BO-MRL on four of them.
# - M. Andrychowicz et al. (2020), *What Matters in On-Policy Reinforcement Learning?*, arXiv 2006.05990: lenses, small first means, and more.
# - P. Henderson et al. (2017), *Deep Reinforcement Learning that Matters*, arXiv 1709.06560: seeds, and why three are few.
#
# **Next:** the exercises, [`exercises/06_gpu_locomotion.ipynb`](../exercises/06_gpu_locomotion.ipynb); then [07 · Open questions](07_open_questions.ipynb).
