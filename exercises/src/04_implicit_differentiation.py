# %% [markdown]
# # Exercises 04 · Implicit differentiation
#
# **After these exercises you have** differentiated an argmax in four ways: as one fraction, as a linear system that your own conjugate gradients solve, state by state on the simplex, and by brute force through the solver's steps. You have written the hypergradient of BO-MRL with and without the dependence of its data on the meta-policy, and know what the difference is worth.
#
# **Time:** about 90 minutes. **Lessons:** [04a · Implicit differentiation](../notebooks/04a_implicit_differentiation.ipynb): section 1 for 4.1, 2 for 4.3 and 4.5, 3 for 4.4 and 4.7, 4 for 4.6; [04b · Solvers](../notebooks/04b_solvers.ipynb): section 1 for 4.2, 2 for 4.8; [04c · Constraints and samples](../notebooks/04c_constraints_and_samples.ipynb) goes beyond them.
#
# **How it works.** As in set 01: replace each `raise NotImplementedError`, run the cell, then the check below it, which stops at the first step that fails and says what it expected. `checks.implicit_vjp.example()` shows the arguments of a check's first question, the case that you can do by hand. If you are stuck, set `unsolved = "reference"` in the next cell and restart. Where marks are given, the first line of a check's cell says what its steps are worth.

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
from bomrl_lite.mdp import expected_return, occupancy, optimal_policy, q_values
from bomrl_lite.tasks import frozen_lake as lakes

checks.use(unsolved)
begin(profile, seed)
plots.use_style()
torch.set_num_threads(1)
torch.set_default_dtype(torch.float64)  # derivatives of derivatives want all digits
sizes = {
    "smoke": {"iterations": 2, "num_lakes": 2, "num_test": 2, "seeds": 1, "most_steps": 5},
    "class": {"iterations": 60, "num_lakes": 8, "num_test": 20, "seeds": 3, "most_steps": 500},
    "full": {"iterations": 60, "num_lakes": 8, "num_test": 20, "seeds": 10, "most_steps": 1000},
}[profile]

# %% [markdown]
# ## 4.1 The derivative of an argmax
#
# A *bilevel* problem has an inner problem whose solution moves with the outer variable:
#
# $$\theta^*(\phi)=\arg\max_\theta F(\theta,\phi).$$
#
# Here both are single numbers. You get a $\theta$ that solves the inner problem, never mind how it was found, and are asked for $d\theta^*/d\phi$.
#
# <details><summary>Hint 1: the idea</summary>
#
# At the maximum the slope $F_\theta$ is 0, and it stays 0 when $\phi$ changes and $\theta^*$ follows. What is constant has derivative 0.
#
# <details><summary>Hint 2: the equation</summary>
#
# Differentiate $F_\theta(\theta^*(\phi),\phi)=0$ by the chain rule: $F_{\theta\theta}\,\frac{d\theta^*}{d\phi}+F_{\theta\phi}=0$.
#
# <details><summary>Hint 3: almost code</summary>
#
# `torch.func.grad(objective)` is the function $F_\theta$ of both arguments; `torch.func.grad(f, argnums=1)` differentiates in the second. Two derivatives of $F_\theta$, one division, one sign.
#
# </details></details></details>


# %% tags=["exercise"] exercise="4.1"
def implicit_derivative(objective, theta, phi):
    r"""Return d theta* / d phi of theta*(phi) = argmax_theta F(theta, phi), a scalar tensor.

    objective: F, a smooth function of (theta, phi), strictly concave in theta.
    theta: the argmax at phi, a tensor without dimensions. phi: likewise. About 3 lines.
    """
    # BEGIN SOLUTION
    slope = torch.func.grad(objective)
    bend = torch.func.grad(slope, argnums=0)(theta, phi)
    cross = torch.func.grad(slope, argnums=1)(theta, phi)
    return -cross / bend
    # END SOLUTION


# %% tags=["check"]
implicit_derivative = checks.implicit_derivative(implicit_derivative)

# %% [markdown]
# **See it.** A hill $F(\theta,\phi)$, its ridge $\theta^*(\phi)$, found by bisection, and your derivative at seven points of the ridge.


# %%
def hill(theta, phi):
    """Return a smooth F that is strictly concave in theta."""
    return theta * torch.sin(2 * phi) - phi.exp() * theta**2 / 4 - theta**4 / 4


def solve_hill(phi):
    """Find the argmax by bisection: the slope sin(2 phi) - exp(phi) theta / 2 - theta^3 falls."""
    low, high = torch.full_like(phi, -2.0), torch.full_like(phi, 2.0)
    for _ in range(60):
        theta = (low + high) / 2
        rises = torch.sin(2 * phi) - phi.exp() * theta / 2 - theta**3 > 0
        low, high = torch.where(rises, theta, low), torch.where(rises, high, theta)
    return theta


phi_grid, theta_grid = torch.linspace(-2, 2, 161), torch.linspace(-1.4, 1.4, 141)
heights = hill(theta_grid[:, None], phi_grid[None, :])
fig, ax = plt.subplots(figsize=(5.2, 3.2))
ax.contour(
    phi_grid,
    theta_grid,
    heights,
    levels=torch.linspace(-5.9, 0.7, 34),
    cmap="Blues",
    linewidths=0.8,
)
ax.plot(phi_grid, solve_hill(phi_grid), color=plots.INK, lw=1)
for phi0 in torch.linspace(-1.8, 1.8, 7):
    theta0 = solve_hill(phi0)
    reach = torch.tensor([-0.15, 0.15])
    tangent = theta0 + reach * implicit_derivative(hill, theta0, phi0)
    ax.plot(phi0 + reach, tangent, color=plots.GOLD, lw=3)
    ax.plot(phi0, theta0, "o", color=plots.GOLD, ms=4)
_ = ax.set(xlabel=r"$\phi$", ylabel=r"$\theta$", xlim=(-2, 2), ylim=(-1.4, 1.4))

# %% [markdown]
# *Contours of F (darker is higher), the argmax over θ for every φ (black) and your tangents (gold). Your function never saw the black line: the derivatives of F at one point say where it goes.*
#
# ## 4.2 Conjugate gradients
#
# With vectors, the fraction becomes a linear system $A x=b$ with $A=-\nabla^2_\theta F$. For a network nobody writes $A$ out, but products $v\mapsto Av$ are cheap. Conjugate gradients (Hestenes and Stiefel, 1952) need nothing else:
#
# $$r_0=p_0=b,\quad x_0=0,\qquad \alpha=\frac{\langle r,r\rangle}{\langle p,Ap\rangle},\quad x\leftarrow x+\alpha p,\quad r\leftarrow r-\alpha Ap.$$
#
# What comes next for $p$, and when it is over, is for you to write. The method assumes a positive definite $A$. At a $\theta$ that is no maximum, $A$ is not, and the numbers that come out mean nothing: refuse to return them.
#
# <details><summary>Hint 1: the idea</summary>
#
# The new direction is the new residual plus as much of the old direction as makes the two conjugate, $\langle p_\text{new},A\,p\rangle=0$. The residual is known at every iteration: it decides when to stop. And $\langle p,Ap\rangle$ is computed anyway: its sign tells about $A$.
#
# <details><summary>Hint 2: the equations</summary>
#
# $p\leftarrow r_\text{new}+\beta p$ with $\beta=\langle r_\text{new},r_\text{new}\rangle/\langle r,r\rangle$. Go on while $\|r\|>\text{tolerance}\cdot\|b\|$. If $\langle p,Ap\rangle\le 0$, then $A$ is not positive definite.
#
# <details><summary>Hint 3: almost code</summary>
#
# A `while` loop over three tensors, `x`, `residual` and `direction`. In the loop call `matvec` once and keep the result; test its product with the direction and `raise ValueError(...)`; keep the old $\langle r,r\rangle$ until $\beta$ is computed. Make new tensors: `residual -= ...` would change `b`.
#
# </details></details></details>


# %% tags=["exercise"] exercise="4.2"
def conjugate_gradient(matvec, b, tolerance):
    r"""Return x with ||b - A x|| <= tolerance ||b||, [n], by conjugate gradients from x = 0.

    matvec: v -> A v, both [n]; A is symmetric and known through these products alone. Use one
    per iteration. b: right-hand side, [n], may be 0. tolerance: > 0, relative to ||b||.

    Raises ValueError at a direction p with <p, A p> <= 0: A is not positive definite then.
    About 14 lines.
    """
    # BEGIN SOLUTION
    x, residual, direction = torch.zeros_like(b), b, b
    squared = residual @ residual
    goal = tolerance**2 * (b @ b)
    while squared > goal:
        image = matvec(direction)
        bend = direction @ image
        if bend <= 0:
            raise ValueError(f"A is not positive definite: <p, A p> = {bend}")
        step = squared / bend
        x = x + step * direction
        residual = residual - step * image
        previous, squared = squared, residual @ residual
        direction = residual + squared / previous * direction
    return x
    # END SOLUTION


# %% tags=["check"]
conjugate_gradient = checks.conjugate_gradient(conjugate_gradient)

# %% [markdown]
# **See it.** How many products does your solver take? Systems of 300 unknowns, with eigenvalues spread evenly (on a log scale) between 1 and the condition number.


# %%
def count_products(condition, tolerance, size=300):
    """Solve a random system with a given condition number and count the products with A."""
    generator = torch.Generator().manual_seed(seed)
    eigenvalues = torch.logspace(0, torch.tensor(condition).log10().item(), size)
    calls = []

    def scale(v):
        calls.append(1)
        return eigenvalues * v

    conjugate_gradient(scale, torch.randn(size, generator=generator), tolerance)
    return len(calls)


conditions = [1.0, 10.0, 100.0, 1e3, 1e4] if profile != "smoke" else [1.0, 10.0]
fig, ax = plt.subplots(figsize=(4.6, 3))
for tol, marker in ((1e-2, "o"), (1e-6, "s"), (1e-10, "D")):
    counts = [count_products(condition, tol) for condition in conditions]
    ax.plot(conditions, counts, marker=marker, label=f"{tol:.0e}")
ax.axhline(10, color=plots.INK, lw=1, ls=":")
ax.text(conditions[-1], 9, "ten iterations", va="top", ha="right", fontsize=8, color=plots.INK)
ax.set(xscale="log", yscale="log", xlabel="condition number of A", ylabel="products with A")
_ = ax.legend(title="tolerance")

# %% [markdown]
# *Products that your solver took until its residual was below the tolerance, over the condition number. Ten iterations, a common fixed number, are plenty on the left and far from an answer on the right: a solver has to look at its residual. (At the far right it takes more products than there are unknowns: rounding spoils the conjugacy.)*
#
# ## 4.3 Pulling a cotangent back through an argmax
#
# Now $\theta\in\mathbb R^n$ and $\phi\in\mathbb R^m$, and an outer objective whose gradient at $\theta^*$ is the cotangent $c$. We want its gradient in $\phi$, and it should cost *one* linear system, not $m$ of them:
#
# $$\Big(\frac{d\theta^*}{d\phi}\Big)^{\!\top}c .$$
#
# Which solver you take is up to you: $n$ is small here, so writing the Hessian out is fine too. The formula knows nothing of how $\theta$ was found, and at a $\theta$ that is no argmax it still gives numbers. Ask first, and refuse.
#
# <details><summary>Hint 1: the idea</summary>
#
# As in 4.1, $d\theta^*/d\phi=A^{-1}C$, with $A=-\nabla^2_\theta F$ and $C=\nabla_\phi\nabla_\theta F$, an $n\times m$ matrix. Transpose the product and bracket it so that the inverse meets the vector first.
#
# <details><summary>Hint 2: the equations</summary>
#
# Solve $A x=c$. The answer is $C^\top x=\nabla_\phi\,\langle x,\nabla_\theta F(\theta,\phi)\rangle$, with $x$ and $\theta$ held constant. Theta is an argmax if $\nabla_\theta F=0$.
#
# <details><summary>Hint 3: almost code</summary>
#
# Let `slope` be what `torch.func.grad` makes of the objective. Raise if `slope(theta, phi).norm()` exceeds the limit; solve with minus `torch.func.hessian(objective)(theta, phi)`, or with your conjugate gradients and products `torch.func.vjp(...)`; then differentiate `lambda p: ...`, the inner product of $x$ and the slope at `(theta, p)`.
#
# </details></details></details>


# %% tags=["exercise"] exercise="4.3"
def implicit_vjp(objective, theta, phi, cotangent):
    r"""Return (d theta* / d phi)^T c of theta*(phi) = argmax_theta F(theta, phi), [m].

    objective: F, a smooth scalar function of (theta, phi), with -Hessian positive definite in theta.
    theta: the argmax at phi, [n]. phi: [m]. cotangent: c, [n].

    Raises ValueError if the norm of the gradient of F in theta exceeds 1e-6. About 7 lines.
    """
    # BEGIN SOLUTION
    slope = torch.func.grad(objective)
    stationarity = slope(theta, phi).norm()
    if stationarity > 1e-6:
        raise ValueError(f"theta is no argmax: the gradient of F has norm {stationarity:.2g}")
    pull_back = torch.func.vjp(lambda t: slope(t, phi), theta)[1]
    x = conjugate_gradient(lambda v: -pull_back(v)[0], cotangent, 1e-12)
    return torch.func.grad(lambda p: x @ slope(theta, p))(phi)
    # END SOLUTION


# %% tags=["check"]
implicit_vjp = checks.implicit_vjp(implicit_vjp)

# %% [markdown]
# **See it.** An inner problem that is stopped after $K$ gradient steps, and what your function says to it:

# %%
objective, solved, phi0, cotangent0 = checks.implicit_vjp.example(1)
for steps in (10, 100, 200):
    stopped = torch.zeros_like(solved)
    for _ in range(steps):
        stopped = stopped + 0.1 * torch.func.grad(objective)(stopped, phi0)
    try:
        shown = [round(x, 6) for x in implicit_vjp(objective, stopped, phi0, cotangent0).tolist()]
    except ValueError as error:
        shown = f"refused: {error}"[:76]
    print(f"K = {steps:<5} {shown}")

# %% [markdown]
# ## 4.4 On the simplex, state by state
#
# A tabular policy has a free distribution in every state, and the inner problem falls apart into one per state. But probabilities are not free: they sum to 1, so their changes sum to 0. Proposition 1 of Xu and Zhu (2410.09728) inverts $M(s)=\lambda\nabla^2_\pi d^2$, a matrix of the size of the action set; with the constraint, the inverse is replaced by
#
# $$W = M^{-1}-\frac{M^{-1}\mathbf 1\mathbf 1^\top M^{-1}}{\mathbf 1^\top M^{-1}\mathbf 1}.$$
#
# Compute $Wc$.
#
# <details><summary>Hint 1: the idea</summary>
#
# $x=Wc$ solves $Mx=c-\mu\mathbf 1$ with the number $\mu$ that makes $\sum_a x_a=0$: a Lagrange multiplier. Two solves with $M$, one for $c$ and one for $\mathbf 1$, contain all that is needed.
#
# <details><summary>Hint 2: the equations</summary>
#
# With $u=M^{-1}c$ and $v=M^{-1}\mathbf 1$: $x=u-v\,\frac{\sum_a u_a}{\sum_a v_a}$.
#
# <details><summary>Hint 3: almost code</summary>
#
# `torch.linalg.solve(m, c.unsqueeze(-1)).squeeze(-1)` solves for one state and for all of them alike; sum with `.sum(-1, keepdim=True)`.
#
# </details></details></details>


# %% tags=["exercise"] exercise="4.4"
def simplex_solve(m, c):
    r"""Return W c: x with M x = c - mu 1 and sum(x) = 0, of the shape of c.

    m: symmetric positive definite, [A, A] for one state or [S, A, A] for S of them.
    c: [A] or [S, A]. About 3 lines.
    """
    # BEGIN SOLUTION
    raw = torch.linalg.solve(m, c.unsqueeze(-1)).squeeze(-1)
    uniform = torch.linalg.solve(m, torch.ones_like(c).unsqueeze(-1)).squeeze(-1)
    return raw - uniform * raw.sum(-1, keepdim=True) / uniform.sum(-1, keepdim=True)
    # END SOLUTION


# %% tags=["check"]
simplex_solve = checks.simplex_solve(simplex_solve)

# %% [markdown]
# **See it.** Column $b$ of $W$ is how an adapted policy answers if $Q(s,b)$ rises a little. For one state, with $\lambda=1$: $M$ is $\mathrm{diag}(1/\pi')$ for D2 $=KL(\pi_\theta\|\pi_\phi)$ and $\mathrm{diag}(\pi_\phi/\pi'^2)$ for D1 $=KL(\pi_\phi\|\pi_\theta)$.

# %%
before, after = torch.full((4,), 0.25), torch.tensor([0.70, 0.20, 0.08, 0.02])
curvatures = {"D2": torch.diag(1 / after), "D1": torch.diag(before / after**2)}
fig, axes = plt.subplots(1, 2, figsize=(6.4, 2.8))
for ax, (name, m) in zip(axes, curvatures.items(), strict=True):
    answers = torch.stack([simplex_solve(m, unit) for unit in torch.eye(4)], 1)
    heat = {"annot": True, "fmt": ".3f", "cmap": "vlag", "center": 0, "square": True}
    sns.heatmap(answers, ax=ax, cbar=False, annot_kws={"size": 8}, **heat)
    ax.set(title=name, xlabel="action whose Q rises", ylabel="change of its probability")

# %% [markdown]
# *W for a uniform π_φ and π' = (0.70, 0.20, 0.08, 0.02). Every column sums to 0: what one action gains, the others lose. D1 shifts probability between the two likely actions and leaves the others nearly alone; D2 moves those too.*
#
# ## 4.5 The hypergradient of BO-MRL
#
# With D2 $=KL(\pi_\theta\|\pi_\phi)$ and free logits, the argmax has a closed form:
#
# $$\theta(\phi)=\phi+\frac1\lambda\,Q^{\pi_\phi}.$$
#
# $Q^{\pi_\phi}$ is the data that $\pi_\phi$ collected; another $\phi$ would have collected other data. Return $\nabla_\phi J(\pi_{\theta(\phi)})$ with everything that depends on $\phi$. You may differentiate the closed form automatically, or implicitly.
#
# <details><summary>Hint 1: the idea</summary>
#
# Two functions, one inside the other: $\phi\mapsto\theta$ and $\theta\mapsto J$. In the first, $\phi$ appears twice.
#
# <details><summary>Hint 2: the equation</summary>
#
# $\nabla_\phi J(\theta(\phi))=\big(I+\frac1\lambda\frac{\partial Q}{\partial\phi}\big)^\top\nabla J(\theta)$. Automatic differentiation of the composition does it.
#
# <details><summary>Hint 3: almost code</summary>
#
# An inner function of the logits that computes $\theta$ with `q_values(x.softmax(-1), task, gamma)` and returns `expected_return(...)` of the softmax of $\theta$; pass it to `torch.func.grad`.
#
# </details></details></details>


# %% tags=["exercise"] exercise="4.5"
def hypergradient(phi, task, gamma, lam):
    r"""Return the gradient of J(theta(phi)) in phi, [S, A], where theta(phi) = phi + Q / lam.

    phi: meta-parameters, logits [S, A]; Q is that of pi_phi. task: transition, reward, start.
    gamma: discount in [0, 1). lam: > 0. You may call q_values(policy_probs, task, gamma) and
    expected_return(policy_probs, task, gamma). About 5 lines.
    """

    # BEGIN SOLUTION
    def return_after(logits):
        theta = logits + q_values(logits.softmax(-1), task, gamma) / lam
        return expected_return(theta.softmax(-1), task, gamma)

    return torch.func.grad(return_after)(phi)
    # END SOLUTION


# %% tags=["check"]
hypergradient = checks.hypergradient(hypergradient)

# %% [markdown]
# ## 4.6 The rung below: Q as a number
#
# Code that works on stored data sees Q as numbers, and numbers have no gradient. This is the *frozen data* rung of the ladder (lesson 04a, section 4), and what BO-MRL's first public code for Frozen Lake amounts to. Write it, to measure what it leaves out.
#
# <details><summary>Hint 1: the idea</summary>
#
# The same $\theta$, the same $J$. Only one of the two ways from $\phi$ to $\theta$ is closed.
#
# <details><summary>Hint 2: the equation</summary>
#
# With $\partial Q/\partial\phi$ set to 0, $d\theta/d\phi=I$, and $\nabla J(\theta)$ is left.
#
# <details><summary>Hint 3: almost code</summary>
#
# Compute $Q$ before the inner function and outside of it (or `.detach()` it), or differentiate $J$ in $\theta$ alone.
#
# </details></details></details>


# %% tags=["exercise"] exercise="4.6"
def frozen_hypergradient(phi, task, gamma, lam):
    r"""Return the gradient of J(theta) in phi with Q held constant, [S, A]; theta = phi + Q / lam.

    Arguments as for hypergradient. About 4 lines.
    """
    # BEGIN SOLUTION
    theta = phi + q_values(phi.softmax(-1), task, gamma) / lam
    return torch.func.grad(lambda t: expected_return(t.softmax(-1), task, gamma))(theta)
    # END SOLUTION


# %% tags=["check"]
frozen_hypergradient = checks.frozen_hypergradient(frozen_hypergradient)

# %% [markdown]
# **See it.** In the case done by hand, the two disagree about the *sign* in one room. Room 0 pays 2.5 at once, or leads to room 1, where action 0 pays 2, worth 1 after discounting.

# %%
three_rooms = checks.hypergradient.example()
for name, function in (("full", hypergradient), ("frozen", frozen_hypergradient)):
    print(f"{name:<8} d J / d phi(room 1, action 0) = {function(*three_rooms)[1, 0]:+.4f}")

# %% [markdown]
# Taking the reward in room 1 more often is good in room 1, and the frozen gradient sees only that. The full one sees that it also makes room 1 look better from room 0, and the adaptation then turns less firmly to the 2.5. On a lake, over λ:

# %%
family = "frozen_lake/holes-4x4"
lake_gamma = bl.make_tasks(family).gamma


def draw_lakes(split, count, stream):
    """Draw lakes of the family that the experiments use."""
    generator = torch.Generator().manual_seed(stream)
    maps = lakes.sample_maps(family, count, generator, split)
    return [lakes.lake_task(each, lakes.HOLES) for each in maps]


probe = draw_lakes("train", 3, stream=seed)
uniform = torch.zeros(16, 4)
lams = [0.2, 0.5, 1.0, 2.0, 5.0, 20.0, 100.0]
rows = []
for number, lake in enumerate(probe):
    for lam in lams:
        full, frozen = (
            f(uniform, lake, lake_gamma, lam) for f in (hypergradient, frozen_hypergradient)
        )
        cosine = (full * frozen).sum() / (full.norm() * frozen.norm())
        share = (full - frozen).norm() / full.norm()
        rows.append({"lake": number, "lam": lam, "error": share.item(), "cosine": cosine.item()})
rungs = pd.DataFrame(rows)
fig, axes = plt.subplots(1, 2, figsize=(7.2, 2.8))
for ax, column, label in zip(
    axes, ("error", "cosine"), ("relative error of frozen Q", "cosine, frozen to full"), strict=True
):
    sns.lineplot(rungs, x="lam", y=column, hue="lake", palette="colorblind", marker="o", ax=ax)
    ax.set(xscale="log", xlabel=r"$\lambda$", ylabel=label)
axes[0].set(yscale="log")
axes[1].set(ylim=(None, 1.02))
axes[1].get_legend().remove()

# %% [markdown]
# *What freezing Q changes in the hypergradient of an untrained meta-policy, on three lakes. For large λ the data hardly move θ, and their dependence on φ hardly matters; for small λ it is most of the gradient.*
#
# ## 4.7 D1, by Proposition 1
#
# With D1 $=KL(\pi_\phi\|\pi_\theta)$ the solution is $\pi'(a|s)=\lambda\,\pi_\phi(a|s)/(\mu(s)-Q(s,a))$, and $\mu(s)$ has to be found by bisection. Automatic differentiation through a bisection is a classic mistake: the halves have the wrong derivative. The implicit way does not care how $\mu$ was found. You get the solution $\pi'$ and return the full hypergradient $\nabla_\phi J(\pi')$.
#
# <details><summary>Hint 1: the idea</summary>
#
# As in 4.3, with probabilities in place of $\theta$: the cotangent is $\partial J/\partial\pi'$, the linear system is solved by your `simplex_solve`, and the result is pulled back through the slope of the inner objective, as a function of $\phi$.
#
# <details><summary>Hint 2: the equations</summary>
#
# In every state, the slope of $\langle\pi',Q\rangle-\lambda\,KL(\pi_\phi\|\pi')$ in $\pi'$ is $Q+\lambda\,\pi_\phi/\pi'$, and $M=\lambda\,\mathrm{diag}(\pi_\phi/\pi'^2)$. With $x=Wc$, the answer is $\nabla_\phi\sum_{s,a}x(s,a)\,\big[Q^{\pi_\phi}(s,a)+\lambda\,\pi_\phi(a|s)/\pi'(a|s)\big]$, where $x$ and $\pi'$ are constants.
#
# <details><summary>Hint 3: almost code</summary>
#
# `torch.func.grad(lambda p: expected_return(p, task, gamma))(adapted_probs)` is the cotangent, `torch.diag_embed` makes all matrices $M(s)$ from a table `[S, A]`, and the last step is a `torch.func.grad` of a function of the logits that recomputes $\pi_\phi$ and $Q$ from them.
#
# </details></details></details>


# %% tags=["exercise"] exercise="4.7"
def hypergradient_d1(phi, adapted_probs, task, gamma, lam):
    r"""Return the gradient of J(pi') in phi, [S, A], where pi' maximises L - lam D1^2.

    phi: meta-parameters, logits [S, A]. adapted_probs: the solution pi', [S, A].
    task: transition, reward, start. gamma: discount in [0, 1). lam: > 0. About 8 lines.
    """
    # BEGIN SOLUTION
    cotangent = torch.func.grad(lambda p: expected_return(p, task, gamma))(adapted_probs)
    m = torch.diag_embed(lam * phi.softmax(-1) / adapted_probs**2)
    x = simplex_solve(m, cotangent)

    def slopes(logits):
        probs = logits.softmax(-1)
        slope = q_values(probs, task, gamma) + lam * probs / adapted_probs
        return (x * slope).sum()

    return torch.func.grad(slopes)(phi)
    # END SOLUTION


# %% tags=["check"]
hypergradient_d1 = checks.hypergradient_d1(hypergradient_d1)

# %% [markdown]
# **See it.** Your gradient, beside that of automatic differentiation through 60 halvings, and a central difference as the judge: the change of $J$ along one random direction of $\phi$.


# %%
def adapt_d1(phi, task, gamma, lam):
    """Solve Alg with D1 in every state, by bisection for mu."""
    probs = phi.softmax(-1)
    q = q_values(probs, task, gamma)
    low, high = (q + lam * probs).amax(-1, keepdim=True), q.amax(-1, keepdim=True) + lam
    for _ in range(60):
        mu = (low + high) / 2
        too_much = (lam * probs / (mu - q)).sum(-1, keepdim=True) > 1
        low, high = torch.where(too_much, mu, low), torch.where(too_much, high, mu)
    return lam * probs / (mu - q)


def return_d1(phi):
    """Return J after adaptation with D1, on one lake."""
    return expected_return(adapt_d1(phi, probe[0], lake_gamma, 1.0), probe[0], lake_gamma)


direction = torch.randn(16, 4, generator=torch.Generator().manual_seed(seed))
yours = hypergradient_d1(
    uniform, adapt_d1(uniform, probe[0], lake_gamma, 1.0), probe[0], lake_gamma, 1.0
)
by_halving = torch.func.grad(return_d1)(uniform)
small = 1e-5 * direction
judge = (return_d1(uniform + small) - return_d1(uniform - small)) / 2e-5
print(f"central difference            {judge:+.7f}")
print(f"yours, by Proposition 1       {(yours * direction).sum():+.7f}")
print(f"autodiff through bisection    {(by_halving * direction).sum():+.7f}")

# %% [markdown]
# **Why** does the third number differ from the others? The halves `low` and `high` carry the derivatives of the two ends they began with: $\mu$ lies at a fixed share of the way between them, and that share is held constant, although it moves with $\phi$ as well. And a question without a cell: $x=Wc$ was held constant in your last step, although it depends on $\phi$. Its derivative is multiplied by the slope, which is the same number $\mu(s)$ for all actions of a state, while the entries of $x$ sum to 0 for every $\phi$; so it adds nothing.
#
# ## 4.8 Through the solver's steps
#
# The plain alternative: let the inner problem be $K$ gradient steps that start at $\phi$, and differentiate through all of them (Franceschi et al., 1806.04910; Shaban et al., 1810.10667):
#
# $$\theta_0=\phi,\qquad\theta_{k+1}=\theta_k+\eta\,\nabla_\theta F(\theta_k,\phi).$$
#
# Return $\nabla_\phi J(\theta_K(\phi))$.
#
# <details><summary>Hint 1: the idea</summary>
#
# Write the loop as a function of $\phi$ and differentiate that. It depends on $\phi$ in two places: the start, and $F$ itself.
#
# <details><summary>Hint 2: the equation</summary>
#
# $G(\phi)=J(\theta_K(\phi))$; the answer is $\nabla G$.
#
# <details><summary>Hint 3: almost code</summary>
#
# Inside the function: `theta = p`, a `for` loop with `torch.func.grad(objective)(theta, p)`, and `outer` of the end. `torch.func.grad` can be nested.
#
# </details></details></details>


# %% tags=["exercise"] exercise="4.8"
def unrolled_hypergradient(objective, outer, phi, step_size, num_steps):
    r"""Return the gradient of J(theta_K(phi)) in phi, [n].

    theta_0 = phi, theta_{k+1} = theta_k + step_size grad_theta F(theta_k, phi)

    objective: F(theta, phi), scalar, maximised over theta. outer: J(theta), scalar.
    phi: [n]. step_size: > 0. num_steps: K >= 0. About 6 lines.
    """

    # BEGIN SOLUTION
    def value(p):
        theta = p
        for _ in range(num_steps):
            theta = theta + step_size * torch.func.grad(objective)(theta, p)
        return outer(theta)

    return torch.func.grad(value)(phi)
    # END SOLUTION


# %% tags=["check"]
unrolled_hypergradient = checks.unrolled_hypergradient(unrolled_hypergradient)

# %% [markdown]
# **See it.** How many steps until your unrolled hypergradient is that of the argmax, which you have from 4.5? The inner objective of a lake, $L/\lambda-D_2^2$, with logits as one long vector; the steps are as long as 5, because each state is weighed by its occupancy, and these weights are small:


# %%
def inner_objective(lake, lam):
    """Return F(theta, phi) = L / lam - D2^2 for logits as vectors [64]."""

    def objective(theta, phi):
        log_new, log_old = theta.reshape(16, 4).log_softmax(-1), phi.reshape(16, 4).log_softmax(-1)
        old, new = log_old.exp(), log_new.exp()
        gain = (new * q_values(old, lake, lake_gamma)).sum(-1)
        divergence = (new * (log_new - log_old)).sum(-1)
        return occupancy(old, lake, lake_gamma) @ (gain / lam - divergence)

    return objective


counts_of_steps = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000]
rows = []
for lam in (1.0, 5.0):
    exact = hypergradient(uniform, probe[0], lake_gamma, lam).reshape(-1)
    inner = inner_objective(probe[0], lam)
    for num_steps in [k for k in counts_of_steps if k <= sizes["most_steps"]]:
        unrolled = unrolled_hypergradient(
            inner,
            lambda theta: expected_return(theta.reshape(16, 4).softmax(-1), probe[0], lake_gamma),
            uniform.reshape(-1),
            5.0,
            num_steps,
        )
        error = (unrolled - exact).norm() / exact.norm()
        rows.append({"K": num_steps, "error": error.item(), r"$\lambda$": lam})
fig, ax = plt.subplots(figsize=(4.6, 3))
look = {"hue": r"$\lambda$", "style": r"$\lambda$", "markers": True, "dashes": False}
sns.lineplot(pd.DataFrame(rows), x="K", y="error", palette="colorblind", ax=ax, **look)
_ = ax.set(xscale="log", yscale="log", xlabel="unrolled steps K", ylabel="error against the argmax")

# %% [markdown]
# *Distance of the unrolled hypergradient to the implicit one, relative to the latter, on one lake. States that π_φ seldom visits have little weight in the inner objective, so gradient steps are slow there; every step is kept in memory for the way back, while the implicit one needs the end alone.*
#
# ## What is it worth?
#
# **See it.** Meta-training with your two hypergradients, full and with frozen Q: the same lakes, the same λ for training and testing, Adam from the untrained meta-policy. Then one adaptation on the training lakes, and on lakes that training never saw.

# %%
train_lam = 0.5


def gap_after_one_step(phi, tasks):
    """Return the mean gap to every task's own optimum after one adaptation with D2."""
    gaps = []
    for task in tasks:
        adapted = (phi + q_values(phi.softmax(-1), task, lake_gamma) / train_lam).softmax(-1)
        best = expected_return(optimal_policy(task, lake_gamma)[0], task, lake_gamma)
        gaps.append(best - expected_return(adapted, task, lake_gamma))
    return torch.stack(gaps).mean().item()


def meta_train(gradient_of, tasks):
    """Climb the mean of the tasks' hypergradients from the untrained meta-policy."""
    table = torch.zeros(16, 4)
    optimizer = torch.optim.Adam([table], lr=0.03, maximize=True)
    for _ in range(sizes["iterations"]):
        each = [gradient_of(table, task, lake_gamma, train_lam) for task in tasks]
        table.grad = torch.stack(each).mean(0).detach()
        optimizer.step()
    return table


methods = {"untrained": None, "frozen Q": frozen_hypergradient, "full": hypergradient}
rows = []
for run in range(sizes["seeds"]):
    splits = {
        "training lakes": draw_lakes("train", sizes["num_lakes"], stream=1000 * seed + run),
        "held-out lakes": draw_lakes("test", sizes["num_test"], stream=1000 * seed + 100 + run),
    }
    for name, function in methods.items():
        table = meta_train(function, splits["training lakes"]) if function else torch.zeros(16, 4)
        for split, tasks in splits.items():
            gap = gap_after_one_step(table, tasks)
            rows.append({"split": split, "prior": name, "seed": run, "gap": gap})
results = pd.DataFrame(rows)
colours = [plots.PRIORS[key] for key in ("untrained", "first_order_bomrl", "bomrl_d2")]
fig, axes = plt.subplots(1, 2, figsize=(7.4, 2.6), sharex=True)
for ax, (split, part) in zip(axes, results.groupby("split", sort=False), strict=True):
    by_prior = {"x": "gap", "y": "prior", "hue": "prior", "palette": colours, "legend": False}
    sns.stripplot(part, jitter=False, ax=ax, **by_prior)
    sns.pointplot(
        part, errorbar=None, linestyle="none", marker="|", markersize=24, ax=ax, **by_prior
    )
    ax.set(title=split, xlabel="gap after one adaptation (return)", ylabel="", xscale="log")
print(results.pivot_table("gap", ["split", "seed"], "prior", sort=False).round(3).to_string())

# %% [markdown]
# *Mean gap to every lake's own optimum after one adaptation with D2: one dot per run, each with its own lakes; the bar is the mean, the scale is logarithmic. Either gradient takes most of the gap away. The full one climbs the return on the training lakes, and on average it ends ahead there, by a little. On lakes that training never saw, the frozen one did better in all three runs of the class profile. A right gradient of the training objective is no promise about other tasks, when eight lakes stand for all of them. (In ten runs: full ahead on nine of ten sets of training lakes, frozen on nine of ten sets of held-out ones; the full profile shows ten.)*
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
# - An argmax is differentiated at its end: $\nabla_\theta F=0$ stays 0. No solver appears in the answer.
# - One linear system per cotangent. Conjugate gradients solve it with products alone; they stop on a residual and notice an indefinite matrix, if you let them.
# - On the simplex, changes sum to 0: $W$ instead of $M^{-1}$.
# - The data of $\pi_\phi$ depend on $\phi$. What is kept of that is the difference between the rungs, and it is largest where adaptation is strong (small λ).
# - Unrolling is right for a truncated solver, and approaches the argmax only as fast as the solver does.
#
# ## Check yourself
#
# <details><summary>Your implicit_vjp gets theta from a solver that stopped early, and you raise its limit of 1e-6 to 1. What does it return?</summary>
#
# Numbers that belong to no function: neither the gradient of the truncated solver (that would be the unrolled one) nor that of the argmax (its Hessian and mixed derivative are taken elsewhere). A small residual of the linear system says nothing about this. Only the norm of the inner gradient does.
#
# </details>
#
# <details><summary>With D2 and a tabular policy, the frozen hypergradient is exactly the gradient of J at θ: first order. With D1 it is not. Why?</summary>
#
# With D2, θ = φ + Q/λ: with Q a number, $d\theta/d\phi$ is the identity. With D1, $\pi'=\lambda\pi_\phi/(\mu-Q)$ and μ moves with $\pi_\phi$ even if Q does not; the derivative is $W\,\lambda\,d\pi_\phi/\pi'$.
#
# </details>
#
# <details><summary>The Hessian of the inner problem in the logits of a tabular policy is singular. Why do conjugate gradients from x = 0 still get the right hypergradient?</summary>
#
# Its null space is a constant added to all logits of a state, which changes no probability. The gradient of J has no part in that direction, so b lies in the range of the Hessian, all directions stay in the range, and there $\langle p,Ap\rangle>0$.
#
# </details>
#
# <details><summary>When is the full hypergradient no better than the frozen one?</summary>
#
# As a gradient it is always the right one: for large λ by little, for small λ by much. As a way to a meta-policy that does well on *other* tasks it need not be better: it climbs the return on the training tasks, and with few of them, that is not the same (see the last figure).
#
# </details>
#
# **Next:** [lesson 05a](../notebooks/05a_near_optimality.ipynb): how far from every task's own optimum can the adapted policy be?
