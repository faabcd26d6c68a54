"""Answers to exercise set 01: the solutions of the source, and wrong ones made from them."""

from exercise_answers import Mutant, Solutions

SOLUTIONS = Solutions("01_maml_baseline", given=("policy_return",))
solve = SOLUTIONS.solve

Q, NU, PG, STEP = "q_values", "occupancy", "policy_gradient", "adapt"
MAML, FIRST, BEST, GAP = "maml_gradient", "first_order_gradient", "optimal_return", "optimality_gap"
LAST_Q = "task.reward + gamma * task.transition @ values"
SOLVE = "torch.linalg.solve(eye - gamma * moves.T, (1 - gamma) * task.start)"
THEOREM = "nu[:, None] * probs * advantage / (1 - gamma)"

BOTH_ORDERS = """
    first = policy_gradient(adapt(phi, task, gamma, step_size), task, gamma)
    second = torch.func.grad(return_after)(phi) - first
    return """
FROZEN_STEP = """
        probs, fixed = start.softmax(-1), phi.softmax(-1)
        q, nu = q_values(fixed, task, gamma), occupancy(fixed, task, gamma)
        advantage = q - (probs * q).sum(-1, keepdim=True)
        theta = start + step_size * nu[:, None] * probs * advantage / (1 - gamma)"""

MUTANTS = (
    Mutant(Q, "+ gamma * task.transition", "+ task.transition", "by hand", "gamma is missing"),
    Mutant(Q, "return task.reward + ", "return ", "by hand", "first step is missing"),
    Mutant(Q, LAST_Q, "task.reward.clone()", "by hand", "only the first reward"),
    Mutant(Q, "gamma * moves", "gamma * moves.T", "by hand", "transposed"),
    Mutant(Q, LAST_Q, "values", "shape", "that is V(s), one value"),
    Mutant(Q, LAST_Q, "values[:, None].expand_as(task.reward)", "by hand", "that is V(s) repeated"),
    Mutant(Q, LAST_Q, f"{LAST_Q} - values[:, None]", "by hand", "advantage"),
    Mutant(Q, LAST_Q, f"(1 - gamma) * ({LAST_Q})", "by hand", "(1 - gamma) times"),
    Mutant(Q, LAST_Q, f"-({LAST_Q})", "by hand", "sign"),
    Mutant(Q, "@ values", "@ paid", "by hand", "r_pi once"),
    Mutant(
        Q,
        "task.transition @ values",
        'torch.einsum("tas,t->sa", task.transition, values)',
        "by hand",
        "s and s' exchanged",
    ),
    Mutant(
        Q,
        '("sa,sat->st", policy_probs, task.transition)',
        "('sat->st', task.transition / policy_probs.shape[1])",
        "by hand",
    ),
    Mutant(Q, "(policy_probs * task.reward).sum(-1)", "task.reward.mean(-1)", "by hand"),
    Mutant(Q, LAST_Q, f"({LAST_Q}).float()", "dtype", "float32"),
    Mutant(
        Q,
        "eye - gamma * moves, paid",
        "(eye - gamma * moves).float(), paid.float()",
        "runs",
        "make float32",
    ),
    Mutant(Q, ", paid)", ", paid).float().double()", "by hand", "float32"),
    Mutant(
        Q,
        "eye = torch.eye",
        "task.reward.mul_(2)\n    eye = torch.eye",
        "inputs untouched",
        "in place",
    ),
    Mutant(Q, "return ", "", "type", "return is missing"),
    Mutant(Q, LAST_Q, f"({LAST_Q}).detach().numpy()", "type", "stay in torch"),
    Mutant(Q, LAST_Q, f"{LAST_Q} + 1e-6 * torch.rand(1).double()", "repeatable", "randomness"),
    Mutant(Q, ", paid)", ", paid).detach()", "differentiable", ".detach()"),
    Mutant(Q, "gamma * moves, paid", "gamma * moves.detach(), paid", "differentiable"),
    Mutant(Q, "@ values", "@ values * torch.nan", "by hand", "nan"),
    Mutant(Q, "@ values", "@ valuse", "runs"),
    Mutant(NU, "(1 - gamma) * task.start", "task.start", "sums to 1", "(1 - gamma) is missing"),
    Mutant(NU, "(1 - gamma) *", "(1 - gamma) ** 2 *", "sums to 1", "too many"),
    Mutant(NU, "moves.T", "(moves - moves.detach() + 2 * moves.detach()).T / 2", "differentiable"),
    Mutant(NU, "moves.T", "moves", "sums to 1", "not transposed"),
    Mutant(NU, f"return {SOLVE}", f"return moves.T @ {SOLVE}", "by hand", "time is off by one"),
    Mutant(NU, f"return {SOLVE}", f"return gamma * {SOLVE}", "sums to 1", "discount is off by one"),
    Mutant(
        NU,
        "* task.start",
        "/ len(task.start) * torch.ones_like(task.start)",
        "by hand",
        "equally likely",
    ),
    Mutant(
        NU,
        f"return {SOLVE}",
        f"return {SOLVE}[:, None] * policy_probs",
        "shape",
        "states AND actions",
    ),
    Mutant(NU, "gamma * moves.T", "moves.T", "runs"),
    Mutant(NU, f"return {SOLVE}", f"return {SOLVE}.detach()", "differentiable", ".detach()"),
    Mutant(PG, THEOREM, THEOREM.replace(" / (1 - gamma)", ""), "by hand", "1 / (1 - gamma)"),
    Mutant(PG, THEOREM, f"{THEOREM} / (1 - gamma)", "by hand", "too many"),
    Mutant(PG, THEOREM, f"-{THEOREM}", "by hand", "sign"),
    Mutant(PG, "* advantage", "* q", "rows sum to 0", "advantage belongs"),
    Mutant(PG, "* probs * advantage", "* advantage", "rows sum to 0", "pi(a | s) is missing"),
    Mutant(PG, "nu[:, None] * ", "", "by hand", "occupancy is missing"),
    Mutant(PG, "nu[:, None]", "task.start[:, None]", "by hand", "task.start stands where"),
    Mutant(PG, "(probs * q).sum(", "q.mean(", "rows sum to 0", "averaged uniformly"),
    Mutant(PG, "* advantage", "* (probs * q).sum(-1, keepdim=True)", "rows sum to 0", "V stands"),
    Mutant(
        PG,
        "= occupancy(probs, task, gamma)",
        "= occupancy(probs, task, gamma).detach()",
        "differentiable",
    ),
    Mutant(
        PG,
        "= q_values(probs, task, gamma)",
        "= q_values(probs, task, gamma).detach()\n"
        "    occupancy = lambda *args: globals()['occupancy'](*args).detach()",
        "differentiable",
        "held constant",
    ),
    Mutant(PG, f"return {THEOREM}", f"return ({THEOREM}).detach()", "differentiable", ".detach()"),
    Mutant(STEP, "phi + step_size", "phi - step_size", "goes up", "down"),
    Mutant(STEP, "step_size * ", "", "by hand", "step_size is not used"),
    Mutant(STEP, "phi + step_size", "step_size", "goes up", "change of phi alone"),
    Mutant(
        STEP,
        "return phi + step_size * policy_gradient(phi, task, gamma)",
        "return phi.clone()",
        "goes up",
        "as it was",
    ),
    Mutant(
        STEP,
        "return phi + step_size * policy_gradient(phi, task, gamma)",
        "phi += step_size * policy_gradient(phi, task, gamma)\n    return phi",
        "inputs untouched",
        "in place",
    ),
    Mutant(STEP, "gamma)", "gamma).detach()", "differentiable", "identity"),
    Mutant(STEP, "phi + step", "phi.detach() + step", "differentiable"),
    Mutant(
        MAML,
        "adapt(start, task, gamma, step_size)",
        "adapt(start, task, gamma, step_size).detach()",
        "goes up",
    ),
    Mutant(
        MAML,
        "return torch.func.grad(return_after)(phi)",
        "return policy_gradient(adapt(phi, task, gamma, step_size), task, gamma)",
        "second-order term",
        "second-order term is missing",
    ),
    Mutant(
        MAML,
        "theta = adapt(start, task, gamma, step_size)",
        "theta = start + (adapt(start, task, gamma, step_size) - start).detach()",
        "second-order term",
        "second-order term is missing",
    ),
    Mutant(
        MAML,
        "return torch.func.grad(return_after)(phi)",
        "return policy_gradient(phi, task, gamma)",
        "by hand",
        "without any adaptation",
    ),
    Mutant(
        MAML, "return torch.func.grad", "return -torch.func.grad", "goes up", "sign is reversed"
    ),
    Mutant(
        MAML, "adapt(start, task, gamma, step_size)", "adapt(start, task, gamma, 1.0)", "by hand"
    ),
    Mutant(
        MAML,
        "return torch.func.grad(return_after)(phi)",
        BOTH_ORDERS + "first + second / step_size",
        "by hand",
        "step_size is missing",
    ),
    Mutant(
        MAML,
        "return torch.func.grad(return_after)(phi)",
        BOTH_ORDERS + "first - second",
        "by hand",
        "second-order term has the wrong sign",
    ),
    Mutant(
        MAML,
        "theta = adapt(start, task, gamma, step_size)",
        FROZEN_STEP,
        "random values",
        "holds occupancy and Q constant",
    ),
    Mutant(
        FIRST,
        "return policy_gradient(theta, task, gamma)",
        "return torch.func.grad(lambda x: "
        "policy_return(adapt(x, task, gamma, step_size), task, gamma))(phi)",
        "no second-order term",
        "second-order term is in",
    ),
    Mutant(FIRST, "policy_gradient(theta,", "policy_gradient(phi,", "by hand", "at phi"),
    Mutant(FIRST, "return ", "return -", "by hand", "sign is reversed"),
    Mutant(FIRST, "return ", "return step_size * ", "by hand", "multiplies the outer gradient"),
    Mutant(FIRST, "return policy_gradient(theta, task, gamma)", "return theta", "by hand"),
    Mutant(BEST, "task.start @ values", "values.max()", "by hand", "best start"),
    Mutant(BEST, "task.start @ values", "values.mean()", "by hand", "equally likely"),
    Mutant(BEST, "return task.start @ values", "return values", "shape", "value of every state"),
    Mutant(BEST, ".max(-1).values", ".mean(-1)", "by hand", "actions are averaged"),
    Mutant(BEST, "range(300)", "range(1)", "by hand", "only the first reward"),
    Mutant(BEST, "range(300)", "range(60)", "random values"),
    Mutant(
        BEST,
        "return task.start @ values",
        "return (task.start @ values).item()",
        "type",
        "stay in torch",
    ),
    Mutant(BEST, "+ gamma *", "+", "by hand"),
    Mutant(GAP, "return torch.stack(gaps)", "return torch.stack(gaps).mean()", "shape", "averaged"),
    Mutant(GAP, "return torch.stack(gaps)", "return -torch.stack(gaps)", "not negative", "sign"),
    Mutant(GAP, "policy_return(theta,", "policy_return(phi,", "by hand", "before adaptation"),
    Mutant(
        GAP,
        "gaps.append(optimal_return(task, gamma)",
        "gaps.append(max(optimal_return(each, gamma) for each in tasks)",
        "by hand",
        "optimum of the best task",
    ),
    Mutant(
        GAP,
        "gaps.append(optimal_return(task, gamma)",
        "gaps.append(sum(optimal_return(each, gamma) for each in tasks) / len(tasks)",
        "not negative",
        "optimum is averaged",
    ),
    Mutant(
        GAP,
        "optimal_return(task, gamma) - policy_return(theta",
        "policy_return(theta",
        "not negative",
        "adapted return alone",
    ),
    Mutant(
        GAP, " - policy_return(theta, task, gamma)", "", "not negative", "adapted return is missing"
    ),
    Mutant(GAP, "return torch.stack(gaps)", "return gaps", "type", "torch.stack"),
)
