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

UNIFORM = "torch.full_like(task.reward, 1 / task.reward.shape[1])"
FIRST_ACTION = "torch.eye(task.reward.shape[1]).double()[[0] * len(task.reward)]"
UNIFORM_ONCE = f"""return task.start @ q_values({UNIFORM}, task, gamma).amax(-1)"""
IMPROVEMENTS = """probs = {1}
    for _ in range({0}):
        probs = torch.eye(task.reward.shape[1]).double()[q_values(probs, task, gamma).argmax(-1)]
    return task.start @ (probs * q_values(probs, task, gamma)).sum(-1)"""

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
        "the transitions are averaged over actions",
    ),
    Mutant(
        Q,
        "(policy_probs * task.reward).sum(-1)",
        "task.reward.mean(-1)",
        "by hand",
        "the rewards are averaged over actions",
    ),
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
    Mutant(
        Q,
        "gamma * moves, paid",
        "gamma * moves.detach(), paid",
        "differentiable",
        "P_pi is held constant; the gradient does",
    ),
    Mutant(Q, "@ values", "@ values * torch.nan", "by hand", "nan"),
    Mutant(Q, "@ values", "@ valuse", "runs", "a name is not defined here: a typo, or a"),
    Mutant(NU, "(1 - gamma) * task.start", "task.start", "sums to 1", "(1 - gamma) is missing"),
    Mutant(NU, "(1 - gamma) *", "(1 - gamma) ** 2 *", "sums to 1", "too many"),
    Mutant(
        NU,
        "moves.T",
        "(moves - moves.detach() + 2 * moves.detach()).T / 2",
        "differentiable",
        "only half of the gradient comes",
    ),
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
    Mutant(NU, "gamma * moves.T", "moves.T", "runs", "the matrix of the linear system is"),
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
        "the occupancy is held constant; the",
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
    Mutant(
        STEP,
        "phi + step",
        "phi.detach() + step",
        "differentiable",
        "theta follows phi along the gradient alone;",
    ),
    Mutant(
        MAML,
        "adapt(start, task, gamma, step_size)",
        "adapt(start, task, gamma, step_size).detach()",
        "goes up",
        "J(theta) does not depend on phi any more;",
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
        MAML,
        "adapt(start, task, gamma, step_size)",
        "adapt(start, task, gamma, 1.0)",
        "by hand",
        "the inner step has size 1 instead of",
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
    Mutant(
        FIRST,
        "return policy_gradient(theta, task, gamma)",
        "return theta",
        "by hand",
        "that is theta: the gradient of J there is",
    ),
    Mutant(BEST, "task.start @ values", "values.max()", "by hand", "best start"),
    Mutant(BEST, "task.start @ values", "values.mean()", "by hand", "equally likely"),
    Mutant(BEST, "return task.start @ values", "return values", "shape", "value of every state"),
    Mutant(BEST, ".max(-1).values", ".mean(-1)", "by hand", "actions are averaged"),
    Mutant(BEST, "range(300)", "range(1)", "by hand", "only the first reward"),
    Mutant(
        BEST, "range(300)", "range(60)", "random values", "a loop over time that stops too early:"
    ),
    Mutant(
        BEST,
        "return task.start @ values",
        "return (task.start @ values).item()",
        "type",
        "stay in torch",
    ),
    Mutant(BEST, "+ gamma *", "+", "possible", "values grow without a limit where gamma is"),
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
    Mutant(
        Q, "(policy_probs * task.reward).sum(-1)", "task.reward.mean(-1)", "by hand", "averaged"
    ),
    Mutant(
        Q,
        LAST_Q,
        "task.reward + gamma * (moves @ values)[:, None]",
        "by hand",
        "P_pi stands where",
    ),
    Mutant(
        Q,
        "values = torch.linalg.solve(eye - gamma * moves, paid)",
        "values = torch.zeros_like(paid)\n    for _ in range(400):\n"
        "        values = (task.reward + gamma * task.transition @ values).amax(-1)",
        "by hand",
        "of an optimal policy",
    ),
    Mutant(
        Q,
        "values = torch.linalg.solve(eye - gamma * moves, paid)",
        "values = torch.zeros_like(paid)\n    for _ in range(30):\n"
        "        values = paid + gamma * moves @ values",
        "random values",
        "stops too early",
    ),
    Mutant(
        Q,
        "values = torch.linalg.solve(eye - gamma * moves, paid)",
        "values = torch.linalg.solve(eye / gamma - moves, paid / gamma)",
        "random values",
        "gamma may be 0",
    ),
    Mutant(
        Q,
        "paid = (policy_probs * task.reward).sum(-1)",
        "paid = (policy_probs.log().exp() * task.reward - 0 * policy_probs.log()).sum(-1)",
        "random values",
        "probabilities of 0 and 1",
    ),
    Mutant(Q, LAST_Q, f"({LAST_Q}).squeeze()", "shape", "squeeze() loses"),
    Mutant(Q, LAST_Q, f"({LAST_Q}) * policy_probs", "by hand", "multiplied by policy_probs"),
    Mutant(Q, LAST_Q, f"gamma * ({LAST_Q})", "by hand", "your value is gamma times the right"),
    Mutant(Q, "task.reward + gamma", "paid[:, None] + gamma", "by hand", "r_pi(s) instead"),
    Mutant(Q, "gamma * task", "(1 - gamma) * task", "random values", "1 - gamma stands"),
    Mutant(Q, LAST_Q, f"lambda: {LAST_Q}", "type", "call it"),
    Mutant(Q, ", paid)", ", paid.detach())", "differentiable", "r_pi is held"),
    Mutant(Q, LAST_Q, f"({LAST_Q}).T", "shape", "changed places"),
    Mutant(NU, "task.start)", "torch.eye(len(moves)).double()[0])", "random values", "state 0"),
    Mutant(NU, f"return {SOLVE}", "return task.start.clone()", "by hand", "no step is taken"),
    Mutant(
        NU,
        "moves = ",
        "policy_probs = 0 * policy_probs + 1 / policy_probs.shape[1]\n    moves = ",
        "by hand",
        "taken as uniform",
    ),
    Mutant(NU, f"return {SOLVE}", f"return {SOLVE}.sum()", "shape", "one number is left"),
    Mutant(
        NU,
        f"return {SOLVE}",
        "now, total = task.start, 0 * task.start\n    for t in range(40):\n"
        "        total = total + (1 - gamma) * gamma**t * now\n        now = now @ moves\n"
        "    return total",
        "sums to 1",
        "stops too early",
    ),
    Mutant(
        NU,
        f"return {SOLVE}",
        "return torch.linalg.solve(eye / gamma - moves.T, (1 - gamma) / gamma * task.start)",
        "runs",
        "gamma may be 0",
    ),
    Mutant(
        NU,
        "eye - gamma",
        "eye - (1 - gamma)",
        "sums to 1",
        "1 - gamma stands where gamma belongs in the",
    ),
    Mutant(PG, "phi.softmax(-1)", "phi.softmax(0)", "rows sum to 0", "runs over states"),
    Mutant(
        PG,
        "probs = phi.softmax(-1)",
        "probs = phi.softmax(-1)\n    return torch.func.grad(lambda x: (x.softmax(0) * "
        "q_values(x.softmax(0), task, gamma)).sum(-1) @ task.start)(phi)",
        "rows sum to 0",
        "of no policy",
    ),
    Mutant(
        PG,
        "probs = phi.softmax(-1)",
        "probs = phi.softmax(-1)\n    return torch.func.grad(lambda x: (x.softmax(-1) * "
        "q_values(x.softmax(-1), task, gamma)).sum(-1).mean())(phi)",
        "by hand",
        "mean of V over states",
    ),
    Mutant(
        PG,
        "probs = phi.softmax(-1)",
        "phi.requires_grad_(True)\n    probs = phi.softmax(-1)",
        "inputs untouched",
        "requires_grad_() on an argument",
    ),
    Mutant(
        PG,
        "probs = phi.softmax(-1)",
        "phi = phi.clone().requires_grad_()\n    probs = phi.softmax(-1)",
        "differentiable",
        "inside torch.func.grad",
    ),
    Mutant(
        PG,
        "- (probs * q).sum(-1, keepdim=True)",
        "- q.amax(-1, keepdim=True)",
        "rows sum to 0",
        "largest Q",
    ),
    Mutant(PG, "* probs * adv", "* probs * probs * adv", "rows sum to 0", "there twice"),
    Mutant(
        PG,
        "= q_values(probs, task, gamma)",
        "= q_values(probs, task, gamma).detach()",
        "differentiable",
        "Q is held constant",
    ),
    Mutant(STEP, "gamma)", "gamma) / step_size**2", "by hand", "divided by step_size"),
    Mutant(
        STEP,
        "return phi + step_size * policy_gradient(phi, task, gamma)",
        "return (phi + step_size * policy_gradient(phi, task, gamma)).softmax(-1)",
        "goes up",
        "a policy, the softmax",
    ),
    Mutant(STEP, "phi + step", "phi.softmax(-1) + step", "goes up", "starts from the prob"),
    Mutant(STEP, "gamma)", "gamma) * (1 - gamma)", "by hand", "factor 1 - gamma"),
    Mutant(STEP, "gamma)", "gamma).sign()", "by hand", "only the sign"),
    Mutant(
        STEP,
        "return phi + step_size * policy_gradient(phi, task, gamma)",
        "phi.requires_grad_()\n    return phi + step_size * policy_gradient(phi, task, gamma)",
        "inputs untouched",
        "requires_grad_() on an argument",
    ),
    Mutant(
        MAML,
        "return torch.func.grad(return_after)(phi)",
        "return torch.func.grad(return_after)",
        "type",
        "call it",
    ),
    Mutant(
        MAML,
        "return torch.func.grad(return_after)(phi)",
        "return step_size * torch.func.grad(return_after)(phi)",
        "by hand",
        "step_size times",
    ),
    Mutant(MAML, "step_size)\n", "-step_size)\n", "by hand", "inner step goes down"),
    Mutant(
        MAML,
        "return policy_return(theta, task, gamma)",
        "return policy_return(theta, task, gamma) - policy_return(start, task, gamma)",
        "goes up",
        "the gain",
    ),
    Mutant(
        MAML,
        "return torch.func.grad(return_after)(phi)",
        BOTH_ORDERS + "first + 2 * second",
        "goes up",
        "there twice",
    ),
    Mutant(
        MAML,
        "return torch.func.grad(return_after)(phi)",
        BOTH_ORDERS + "second",
        "goes up",
        "only the second-order",
    ),
    Mutant(
        MAML,
        "return torch.func.grad(return_after)(phi)",
        "x = phi.requires_grad_()\n    return torch.autograd.grad(return_after(x), x)[0].detach()",
        "inputs untouched",
        "requires_grad_() on an argument",
    ),
    Mutant(
        FIRST,
        "return policy_gradient(theta, task, gamma)",
        "return theta - phi",
        "by hand",
        "theta - phi",
    ),
    Mutant(FIRST, "step_size)\n    return", "1.0)\n    return", "by hand", "size 1 instead"),
    Mutant(FIRST, "step_size)\n    return", "-step_size)\n    return", "by hand", "goes down"),
    Mutant(
        FIRST,
        "return policy_gradient(theta, task, gamma)",
        "return policy_gradient(theta, task, gamma) + policy_gradient(phi, task, gamma)",
        "by hand",
        "both gradients",
    ),
    Mutant(
        FIRST,
        "return policy_gradient(theta, task, gamma)",
        "return policy_gradient(adapt(theta, task, gamma, step_size), task, gamma)",
        "by hand",
        "two adaptation steps",
    ),
    Mutant(BEST, "return task.start @ values", "return values[0]", "random values", "state 0"),
    Mutant(BEST, "range(300)", "range(2)", "by hand", "only two rewards"),
    Mutant(BEST, "range(300)", "range(20)", "random values", "stops too early"),
    Mutant(BEST, ".max(-1)", ".min(-1)", "by hand", "the worst action"),
    Mutant(BEST, "task.start @ values", "values.sum()", "possible", "summed over states"),
    Mutant(
        BEST, "values = torch.zeros_like(task.start)", UNIFORM_ONCE, "by hand", "one improvement"
    ),
    *(
        Mutant(
            BEST,
            "values = torch.zeros_like(task.start)",
            IMPROVEMENTS.format(times, start),
            "random values",
            "before the policy is optimal",
        )
        for times, start in ((2, UNIFORM), (3, UNIFORM), (3, FIRST_ACTION))
    ),
    Mutant(
        GAP, "theta = adapt(phi,", "theta = phi = adapt(phi,", "by hand", "goes on from the task"
    ),
    Mutant(GAP, "adapt(phi, task,", "adapt(phi, tasks[0],", "by hand", "adapted to the first"),
    Mutant(
        GAP,
        "optimal_return(task, gamma)",
        "optimal_return(tasks[0], gamma)",
        "not negative",
        "first task's",
    ),
    Mutant(
        GAP, "torch.stack(gaps)", "torch.stack(gaps) / len(tasks)", "by hand", "number of tasks"
    ),
    Mutant(GAP, "torch.stack(gaps)", "torch.stack(gaps).square()", "by hand", "squared"),
    Mutant(
        GAP,
        "gaps.append(optimal_return(task, gamma) - policy_return(theta, task, gamma))",
        "gaps.append(1 - policy_return(theta, task, gamma) / optimal_return(task, gamma))",
        "not negative",
        "divided by the optimum",
    ),
    Mutant(GAP, "step_size)\n", "-step_size)\n", "by hand", "goes down"),
    Mutant(GAP, "gaps = []", "gaps = []\n    tasks.append(tasks[0])", "shape", None),
    Mutant(NU, SOLVE, f"{SOLVE}.clamp(min=1e-3)", "sums to 1", "never reached"),
    Mutant(
        GAP, "torch.stack(gaps)", "torch.stack(gaps).clamp(min=0.05)", "random values", "may be 0"
    ),
    Mutant(
        Q,
        "moves = torch",
        "policy_probs = policy_probs.softmax(-1)\n    moves = torch",
        "by hand",
        "policy_probs holds probabilities already: no softmax of them",
    ),
    Mutant(
        NU,
        "moves = torch",
        "policy_probs = policy_probs.softmax(-1)\n    moves = torch",
        "by hand",
        "policy_probs holds probabilities already: no softmax of them",
    ),
    Mutant(
        Q,
        "gamma * task.transition @ values",
        "gamma * values[:, None]",
        "by hand",
        "V of the state itself stands where that of the next state belongs: gamma P V",
    ),
    Mutant(
        NU,
        "return torch.linalg.solve(eye - gamma * moves.T, (1 - gamma) * task.start)",
        "state = task.start\n"
        "    for _ in range(2000):\n"
        "        state = state @ moves\n"
        "    return state",
        "by hand",
        "that is the stationary distribution: nu is discounted, and remembers task.start",
    ),
    Mutant(
        NU,
        "return torch.linalg.solve(eye - gamma * moves.T, (1 - gamma) * task.start)",
        "system = torch.cat([moves.T - eye, torch.ones_like(eye[:1])])\n"
        "    one = torch.zeros_like(system[:, 0])\n"
        "    one[-1] = 1\n"
        "    return torch.linalg.lstsq(system, one[:, None]).solution[:, 0]",
        "by hand",
        "that is the stationary distribution: nu is discounted, and remembers task.start",
    ),
    Mutant(
        MAML,
        "return torch.func.grad(return_after)(phi)",
        "return (1 - gamma) * torch.func.grad(return_after)(phi)",
        "random values",
        "there is a factor 1 - gamma too many",
    ),
    Mutant(
        MAML,
        "return torch.func.grad(return_after)(phi)",
        "return torch.func.grad(return_after)(phi) / (1 - gamma)",
        "random values",
        "there is a factor 1 / (1 - gamma) too many",
    ),
    Mutant(
        MAML,
        "adapt(start, task, gamma, step_size)",
        "adapt(start, task, gamma, (1 - gamma) * step_size)",
        "random values",
        "there is a factor 1 - gamma too many in the inner step",
    ),
    Mutant(
        MAML,
        "adapt(start, task, gamma, step_size)",
        "adapt(start, task, gamma, step_size / (1 - gamma))",
        "goes up",
        "there is a factor 1 / (1 - gamma) too many in the inner step",
    ),
    Mutant(
        MAML,
        "step_size)\n        return policy_return(theta, task, gamma)",
        "(1 - gamma) * step_size)\n        return (1 - gamma) * policy_return(theta, task, gamma)",
        "random values",
        "there is a factor 1 - gamma too many in both gradients",
    ),
    Mutant(
        MAML,
        "step_size)\n        return policy_return(theta, task, gamma)",
        "step_size / (1 - gamma))\n        return policy_return(theta, task, gamma) / (1 - gamma)",
        "goes up",
        "there is a factor 1 / (1 - gamma) too many in both gradients",
    ),
    Mutant(
        MAML,
        "def return_after(start):\n"
        "        theta = adapt(start, task, gamma, step_size)\n"
        "        return policy_return(theta, task, gamma)\n"
        "\n"
        "    return torch.func.grad(return_after)(phi)",
        "outer = policy_gradient(adapt(phi, task, gamma, step_size), task, gamma)\n"
        "    bend = torch.func.grad(lambda x: (policy_gradient(x, task, gamma) * "
        "outer).sum())(phi)\n"
        "    return outer + (1 - gamma) * step_size * bend",
        "random values",
        "there is a factor 1 - gamma too many in the second-order term",
    ),
    Mutant(
        MAML,
        "def return_after(start):\n"
        "        theta = adapt(start, task, gamma, step_size)\n"
        "        return policy_return(theta, task, gamma)\n"
        "\n"
        "    return torch.func.grad(return_after)(phi)",
        "outer = policy_gradient(adapt(phi, task, gamma, step_size), task, gamma)\n"
        "    bend = torch.func.grad(lambda x: (policy_gradient(x, task, gamma) * "
        "outer).sum())(phi)\n"
        "    return outer + step_size / (1 - gamma) * bend",
        "goes up",
        "there is a factor 1 / (1 - gamma) too many in the second-order term",
    ),
    Mutant(
        FIRST,
        "return policy_gradient(theta, task, gamma)",
        "return (1 - gamma) * policy_gradient(theta, task, gamma)",
        "random values",
        "there is a factor 1 - gamma too many",
    ),
    Mutant(
        FIRST,
        "return policy_gradient(theta, task, gamma)",
        "return policy_gradient(theta, task, gamma) / (1 - gamma)",
        "random values",
        "there is a factor 1 / (1 - gamma) too many",
    ),
    Mutant(
        FIRST,
        "adapt(phi, task, gamma, step_size)",
        "adapt(phi, task, gamma, (1 - gamma) * step_size)",
        "random values",
        "there is a factor 1 - gamma too many in the inner step",
    ),
    Mutant(
        FIRST,
        "adapt(phi, task, gamma, step_size)",
        "adapt(phi, task, gamma, step_size / (1 - gamma))",
        "random values",
        "there is a factor 1 / (1 - gamma) too many in the inner step",
    ),
    Mutant(
        FIRST,
        "step_size)\n    return policy_gradient(theta, task, gamma)",
        "(1 - gamma) * step_size)\n    return (1 - gamma) * policy_gradient(theta, task, gamma)",
        "random values",
        "there is a factor 1 - gamma too many in both gradients",
    ),
    Mutant(
        FIRST,
        "step_size)\n    return policy_gradient(theta, task, gamma)",
        "step_size / (1 - gamma))\n    return policy_gradient(theta, task, gamma) / (1 - gamma)",
        "random values",
        "there is a factor 1 / (1 - gamma) too many in both gradients",
    ),
    Mutant(
        BEST,
        "values = torch.zeros_like(task.start)\n"
        "    for _ in range(300):\n"
        "        values = (task.reward + gamma * task.transition @ "
        "values).max(-1).values\n"
        "    return task.start @ values",
        "greedy = torch.nn.functional.one_hot(task.reward.argmax(-1), "
        "task.reward.shape[1]).to(task.reward)\n"
        "    return task.start @ (greedy * q_values(greedy, task, gamma)).sum(-1)",
        "random values",
        "the policy is greedy for the first reward: a best action earns most in the long run",
    ),
    Mutant(
        GAP,
        "gaps.append(optimal_return(task, gamma) - policy_return(theta, task, gamma))",
        "best, after = optimal_return(task, gamma), policy_return(theta, task, gamma)\n"
        "        gaps.append((best - after) / best.abs())",
        "by hand",
        "the gap is divided by the size of the optimum",
    ),
    Mutant(
        GAP,
        "gaps.append(optimal_return(task, gamma) - policy_return(theta, task, gamma))",
        "best, after = optimal_return(task, gamma), policy_return(theta, task, gamma)\n"
        "        gaps.append((best - after) / after)",
        "not negative",
        "the gap is divided by the adapted return",
    ),
    Mutant(
        GAP,
        "gaps.append(optimal_return(task, gamma) - policy_return(theta, task, gamma))",
        "best, after = optimal_return(task, gamma), policy_return(theta, task, gamma)\n"
        "        before = policy_return(phi, task, gamma)\n"
        "        gaps.append((best - after) / (best - before))",
        "by hand",
        "the gap is divided by the gap before adaptation",
    ),
    Mutant(
        GAP,
        "gaps.append(optimal_return(task, gamma) - policy_return(theta, task, gamma))",
        "best, after = optimal_return(task, gamma), policy_return(theta, task, gamma)\n"
        "        gaps.append(after / best)",
        "not negative",
        "that is the adapted return as a share of the optimum",
    ),
    Mutant(
        GAP,
        "gaps.append(optimal_return(task, gamma) - policy_return(theta, task, gamma))",
        "best, after = optimal_return(task, gamma), policy_return(theta, task, gamma)\n"
        "        before = policy_return(phi, task, gamma)\n"
        "        gaps.append((after - before) / (best - before))",
        "not negative",
        "that is the share of the gap that adaptation closes",
    ),
    Mutant(
        Q,
        "(policy_probs * task.reward).sum(-1)",
        "task.reward.sum(-1)",
        "by hand",
        "the rewards are summed over actions instead of averaged by policy_probs",
    ),
    Mutant(
        STEP,
        "return phi + step_size * policy_gradient(phi, task, gamma)",
        "half = phi + step_size / 2 * policy_gradient(phi, task, gamma)\n"
        "    return half + step_size / 2 * policy_gradient(half, task, gamma)",
        "by hand",
        "the step is taken in two halves: the gradient is that at phi alone",
    ),
    Mutant(
        FIRST,
        "return policy_gradient(theta, task, gamma)",
        "return policy_gradient(theta, task, gamma) - policy_gradient(phi, task, gamma)",
        "by hand",
        "the gradient at phi is subtracted: the gradient at theta alone is asked for",
    ),
)
