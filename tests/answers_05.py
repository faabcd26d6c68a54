"""Answers to exercise set 05: the solutions of the source, and wrong ones made from them."""

from exercise_answers import Mutant, Solutions

import bomrl_lite as bl

SOLUTIONS = Solutions("05_near_optimality", bl=bl)
solve = SOLUTIONS.solve

BEST, FAR, MIDDLE = "optimal_actions", "distance_to_optimum", "middle_policy"
GAIN, WEIGHT, BOUND, FIT = "gain_by_state", "rigorous_lambda", "gap_bound", "fit_rate"
SHIFT = "shift_bound"

MARKED = "(q >= highest - 1e-9).double()"
AVERAGED = "bl.occupancy(probs, task, gamma) @ -mass.log()"
NU = "bl.occupancy(probs, task, gamma)"
SHARES = "optimal / optimal.sum(-1, keepdim=True)"
PER_STATE = "visits * (after * advantage).sum(-1) / (1 - gamma)"
SAFE = "2 * gamma * a_max / ((1 - gamma) * rarest.sqrt())"
PRODUCT = "(lam + least) / (1 - gamma) * distance_to_optimum(phi, optimal, task, gamma)"
DETACHED_NU = """
        each = []
        for m, t in zip(marks, tasks, strict=True):
            now = phi.softmax(-1)
            nu = bl.occupancy(now, t, gamma).detach()
            each.append(nu @ -(now * m).sum(-1).log())"""
OF_MEAN_OPTIMUM = "torch.stack([m / m.sum(-1, keepdim=True) for m in marks]).mean(0).log()"
SHIFT_MEAN = "bl.occupancy(before, task, gamma) @ apart"
SHIFT_ALL = f"2 * gamma / (1 - gamma) * ({SHIFT_MEAN})"
SHIFT_TRUE = "(bl.occupancy(after, task, gamma) - bl.occupancy(before, task, gamma)).abs().sum()"
SHIFT_APART = "(after - before).abs().sum(-1) / 2"
SHIFT_KL = "(before * (before / after).log()).sum(-1)"
SHIFT_PINSKER = f"(bl.occupancy(before, task, gamma) @ {SHIFT_KL} / 2).sqrt()"
FREE_FIT = "torch.linalg.lstsq(columns, averages[:, None]).solution[:, 0]"
FAR_STEP = (
    "each = [distance_to_optimum(phi, m, t, gamma) for m, t in zip(marks, tasks, strict=True)]"
)

SWEEPS = """values = torch.zeros_like(task.start)
    for _ in range({}):
        q = task.reward + {} * task.transition @ values
        values = q.amax(-1)"""
FIRST_OF_TIES = """torch.nn.functional.one_hot(
        optimal_actions(task, gamma).argmax(-1), task.reward.shape[1]
    ).double()"""
TEN_STEPS = """for _ in range(10):
        each = [distance_to_optimum(phi, m, t, gamma) for m, t in zip(marks, tasks, strict=True)]
        (slope,) = torch.autograd.grad(torch.stack(each).mean(), phi)
        phi = (phi - 2 * slope).detach().requires_grad_()
    return phi.detach()
    optimizer = torch.optim.LBFGS("""

MUTANTS = (
    Mutant(BEST, MARKED, "(q == highest).double()", "ties", "compare with a tolerance"),
    Mutant(BEST, MARKED, "one_optimum", "ties", "only one of several"),
    Mutant(
        BEST,
        MARKED,
        "torch.nn.functional.one_hot(q.argmax(-1), q.shape[1]).double()",
        "ties",
        "only one of several",
    ),
    Mutant(
        BEST,
        MARKED,
        "(lambda m: torch.nn.functional.one_hot("
        "m.shape[1] - 1 - m.flip(-1).argmax(-1), m.shape[1]).double())"
        f"({MARKED})",
        "ties",
        "only the last",
    ),
    Mutant(BEST, MARKED, "(q >= highest - 1e-9)", "dtype", ".double()"),
    Mutant(BEST, MARKED, "(q >= highest - 1e-9).float()", "dtype", ".double()"),
    Mutant(BEST, MARKED, "(q < highest - 1e-9).double()", "marks", "exchanged"),
    Mutant(
        BEST,
        "highest - 1e-9",
        "highest + 1e-9",
        "marks",
        "the comparison is too strict, or with the",
    ),
    Mutant(BEST, "highest - 1e-9", "highest - 1.5", "ties", "the tolerance is too"),
    Mutant(
        BEST,
        f"return {MARKED}",
        f"marked = {MARKED}\n    return marked / marked.sum(-1, keepdim=True)",
        "marks",
        "divided by its sum",
    ),
    Mutant(
        BEST,
        "(one_optimum,",
        "(torch.full_like(one_optimum, 1 / one_optimum.shape[1]),",
        "ties",
        "uniform policy's Q",
    ),
    Mutant(
        BEST,
        "bl.q_values(one_optimum, task, gamma)",
        "task.reward",
        "ties",
        "first reward alone",
    ),
    Mutant(BEST, "q.max(-1, keepdim=True).values", "q.max()", "marks", "whole table"),
    Mutant(
        BEST,
        "q.max(-1, keepdim=True).values",
        "q.max(0, keepdim=True).values",
        "marks",
        "the comparison is too strict, or with the",
    ),
    Mutant(BEST, MARKED, f"{MARKED}.nonzero()", "shape"),
    Mutant(FAR, f"return {AVERAGED}", "return -mass.log()", "shape", "not averaged"),
    Mutant(FAR, f"return {AVERAGED}", f"return {NU} * -mass.log()", "shape", "not added up"),
    Mutant(FAR, "@ -mass", "@ mass", "not negative", "sign is reversed"),
    Mutant(FAR, AVERAGED, "-mass.log().mean()", "by hand", "every state weighs the same"),
    Mutant(FAR, AVERAGED, "-mass.log().sum()", "by hand", "without weights"),
    Mutant(FAR, NU, "task.start", "by hand", "task.start stands"),
    Mutant(FAR, NU, f"bl.occupancy({SHARES}, task, gamma)", "by hand", "that of an optimal policy"),
    Mutant(FAR, NU, f"{NU} / (1 - gamma)", "by hand", "not normalised"),
    Mutant(FAR, AVERAGED, f"-({NU} @ mass).log()", "by hand", "average over states"),
    Mutant(FAR, AVERAGED, f"1 - {NU} @ mass", "by hand", "logarithm is missing"),
    Mutant(
        FAR,
        "(probs * optimal)",
        "(probs * torch.eye(probs.shape[1])[optimal.argmax(-1)].double())",
        "by hand",
        "only one optimal action",
    ),
    Mutant(
        FAR,
        AVERAGED,
        f"{NU} @ (({SHARES}) * ((({SHARES}) + (1 - optimal)) / probs).log()).sum(-1)",
        "by hand",
        "UNIFORM mixture",
    ),
    Mutant(
        FAR,
        AVERAGED,
        f"{NU} @ -(({SHARES}) * probs.log()).sum(-1)",
        "by hand",
        "log pi is averaged",
    ),
    Mutant(FAR, AVERAGED, f"{NU} @ -(optimal * probs.log()).sum(-1)", "by hand", "log pi is added"),
    Mutant(
        FAR,
        AVERAGED,
        f"{NU} @ (probs * (probs / ({SHARES})).log()).sum(-1)",
        "by hand",
        "other direction",
    ),
    Mutant(FAR, NU, f"{NU}.detach()", "differentiable", "occupancy is held constant"),
    Mutant(
        FAR, f"return {AVERAGED}", f"return ({AVERAGED}).detach()", "differentiable", ".detach()"
    ),
    Mutant(FAR, f"return {AVERAGED}", f"return ({AVERAGED}).item()", "type", "stay in torch"),
    Mutant(MIDDLE, "return phi.detach()", "return closure().detach()", "shape", "not its mean"),
    Mutant(
        MIDDLE, "optimizer.step(closure)", "phi", "in the middle", "uniform policy: it is where"
    ),
    Mutant(MIDDLE, "max_iter=200", "max_iter=1", "in the middle"),
    Mutant(MIDDLE, "tolerance_grad=1e-7", "tolerance_grad=5e-4", "in the middle", "close but not"),
    Mutant(
        MIDDLE, "return phi.detach()", f"return {OF_MEAN_OPTIMUM}", "in the middle", "alike in all"
    ),
    Mutant(
        MIDDLE,
        "return phi.detach()",
        "return torch.stack(marks).mean(0)",
        "in the middle",
        "does not average logits",
    ),
    Mutant(
        MIDDLE,
        "return phi.detach()",
        "return marks[0].log()",
        "finite",
        "the minimiser diverged, perhaps uphill: the",
    ),
    Mutant(
        MIDDLE, "return phi.detach()", "return 100 * marks[0]", "in the middle", "first task alone"
    ),
    Mutant(MIDDLE, "stack(each).mean()", "stack(each)[0]", "in the middle", "first task alone"),
    Mutant(MIDDLE, "stack(each).mean()", "stack(each)[-1]", "in the middle", "last task alone"),
    Mutant(MIDDLE, "stack(each).mean()", "stack(each).max()", "in the middle"),
    Mutant(
        MIDDLE, FAR_STEP, DETACHED_NU.strip(), "where actions steer", "occupancy depends on phi"
    ),
    Mutant(MIDDLE, "return phi.detach()", "return phi.detach().float()", "dtype", "float32"),
    Mutant(
        MIDDLE,
        "return phi.detach()",
        "return phi.tolist()",
        "type",
        "torch.stack makes one tensor of a list of",
    ),
    Mutant(
        MIDDLE,
        "optimizer.step(closure)",
        "tasks[0].reward.mul_(2)",
        "inputs untouched",
        "an operation in place (+=, /=, add_, x[...]",
    ),
    Mutant(
        GAIN,
        "bl.occupancy(after, task, gamma)",
        "bl.occupancy(phi.softmax(-1), task, gamma)",
        "adds up",
        "the surrogate's gain",
    ),
    Mutant(GAIN, " / (1 - gamma)", "", "adds up", "1 / (1 - gamma) is missing"),
    Mutant(GAIN, "bl.advantages", "bl.q_values", "adds up", "advantage belongs"),
    Mutant(GAIN, "bl.advantages(phi", "bl.advantages(theta", "adds up", "always 0"),
    Mutant(GAIN, "(after * advantage)", "(phi.softmax(-1) * advantage)", "adds up", "always 0"),
    Mutant(
        GAIN,
        PER_STATE,
        "visits * (phi.softmax(-1) * bl.advantages(after, task, gamma)).sum(-1) / (1 - gamma)",
        "adds up",
        "those of pi_theta",
    ),
    Mutant(
        GAIN, "after = theta", "theta, phi = phi, theta\n    after = theta", "adds up", "exchanged"
    ),
    Mutant(GAIN, "return visits", "return -visits", "adds up", "sign is reversed"),
    Mutant(GAIN, "visits * ", "task.start * ", "adds up", "task.start stands"),
    Mutant(GAIN, PER_STATE, f"({PER_STATE}).sum()", "shape", "the states are added up"),
    Mutant(
        GAIN,
        PER_STATE,
        "visits[:, None] * after * advantage / (1 - gamma)",
        "shape",
        "actions are not added up",
    ),
    Mutant(GAIN, PER_STATE, "visits[:, None] * advantage / (1 - gamma)", "shape", "not averaged"),
    Mutant(
        GAIN,
        PER_STATE,
        "task.start * (bl.state_values(after, task, gamma)"
        " - bl.state_values(phi.softmax(-1), task, gamma))",
        "by hand",
        "in which state it is EARNED",
    ),
    Mutant(GAIN, "return ", "return 1 + ", "adds up"),
    Mutant(WEIGHT, "2 * gamma", "gamma", "by hand", "factor 2"),
    Mutant(WEIGHT, "2 * gamma *", "2 *", "by hand", "factor gamma"),
    Mutant(
        WEIGHT, "((1 - gamma) * rarest.sqrt())", "rarest.sqrt()", "by hand", "(1 - gamma) is mis"
    ),
    Mutant(WEIGHT, "(1 - gamma) *", "(1 - gamma) ** 2 *", "by hand", "too many"),
    Mutant(WEIGHT, ".sqrt()", "", "by hand", "square root"),
    Mutant(
        WEIGHT, "/ ((1 - gamma) * rarest.sqrt())", "/ (1 - gamma) * rarest.sqrt()", "by hand", "mul"
    ),
    Mutant(WEIGHT, " * rarest.sqrt()", "", "by hand", "nu_min is missing"),
    Mutant(WEIGHT, ".min()", ".max()", "by hand", "largest occupancy"),
    Mutant(WEIGHT, "visited[visited > 1e-12].min()", "visited.mean()", "by hand", "mean occupancy"),
    Mutant(
        WEIGHT,
        "visited[visited > 1e-12].min()",
        "visited.min()",
        "finite",
        "states with nu(s) = 0 count: nothing can go",
    ),
    Mutant(WEIGHT, "bl.advantages", "bl.q_values", "by hand", "Q stands"),
    Mutant(WEIGHT, ".abs().max()", ".abs().mean()", "by hand", "averaged"),
    Mutant(
        WEIGHT,
        ".abs().max()",
        ".max()",
        "random values",
        "A_max is the largest ABSOLUTE advantage:",
    ),
    Mutant(
        WEIGHT,
        "bl.advantages(before,",
        "bl.advantages(bl.optimal_policy(task, gamma)[0],",
        "by hand",
        "those of an optimal policy",
    ),
    Mutant(WEIGHT, f"return {SAFE}", f"return ({SAFE}).item()", "type", "stay in torch"),
    Mutant(BOUND, "(lam + least)", "lam", "by hand", "lam_0 is missing"),
    Mutant(BOUND, "(lam + least)", "least", "by hand", "lam is missing"),
    Mutant(BOUND, "(lam + least)", "(lam - least)", "by hand", "subtracted"),
    Mutant(BOUND, " / (1 - gamma)", "", "by hand", "(1 - gamma) is missing"),
    Mutant(BOUND, "(1 - gamma) *", "(1 - gamma) ** 2 *", "by hand", "too many"),
    Mutant(BOUND, "(lam + least)", "lam * (1 + gamma)", "by hand", "illustrative"),
    Mutant(BOUND, PRODUCT, PRODUCT + ".sqrt()", "by hand", "square root"),
    Mutant(BOUND, PRODUCT, PRODUCT + " ** 2", "by hand", "squared once more"),
    Mutant(BOUND, "if lam < least", "if lam < 0", "infinite below lam_0", "lam >= lam_0"),
    Mutant(
        BOUND, "torch.tensor(torch.inf", "torch.tensor(0.0", "infinite below lam_0", "lam >= lam"
    ),
    Mutant(BOUND, "if lam < least", "if lam > least", "by hand", "upside down"),
    Mutant(
        BOUND,
        "torch.tensor(torch.inf, dtype=torch.float64)",
        "None",
        "infinite below lam_0",
        "return a tensor in both",
    ),
    Mutant(FIT, " / steps\n", "\n", "by hand", "running sum"),
    Mutant(FIT, "gaps.cumsum(0) / steps", "gaps", "by hand", "gaps themselves"),
    Mutant(FIT, "return answer", f"return {FREE_FIT}", "not negative", "nothing keeps"),
    Mutant(
        FIT, "return answer", f"return {FREE_FIT}.clamp(min=0)", "random values", "after the fit"
    ),
    Mutant(FIT, "return answer", "return answer.flip(0)", "by hand", "other way round"),
    Mutant(FIT, "(part >= 0).all() and ", "", "not negative", "nothing keeps"),
    Mutant(FIT, "and error < best", "and error > 0", "random values"),
    Mutant(FIT, "in (1, 2, 3)", "in (1,)", "by hand", "only single terms are tried: the best of"),
    Mutant(FIT, "in (1, 2, 3)", "in (3,)", "by hand", "no set but all three columns together is"),
    Mutant(
        FIT, "steps**-0.5", "steps**-2", "random values", "the columns are 1 / T, 1 / T^2, 1: the"
    ),
    Mutant(
        FIT,
        "torch.arange(1, len(gaps) + 1",
        "torch.arange(len(gaps)",
        "by hand",
        "no set but all three columns together is",
    ),
    Mutant(FIT, "return answer", "return tuple(answer)", "type", "torch.stack"),
    Mutant(FIT, "return answer", "return answer[:2]", "shape"),
    Mutant(
        BEST,
        "iterations=20",
        "iterations=1",
        "random values",
        "the policy whose Q decides is not optimal",
    ),
    Mutant(BEST, "iterations=20", "iterations=2", "ties", "not optimal yet"),
    Mutant(
        BEST,
        "q = bl.q_values(one_optimum, task, gamma)",
        SWEEPS.format(10, "gamma"),
        "ties",
        "after 10 sweeps",
    ),
    Mutant(
        BEST,
        "q = bl.q_values(one_optimum, task, gamma)",
        SWEEPS.format(30, "gamma"),
        "ties",
        "iterations that have settled",
    ),
    Mutant(
        BEST,
        "q = bl.q_values(one_optimum, task, gamma)",
        SWEEPS.format(500, "0.8"),
        "ties",
        "the task's own gamma",
    ),
    Mutant(BEST, "highest - 1e-9", "highest - 0.5", "ties", "tolerance is too large"),
    Mutant(BEST, "highest - 1e-9", "highest - 1e-3", "ties", "for rounding alone"),
    Mutant(FAR, f"return {AVERAGED}", f"return {AVERAGED} / 2", "by hand", "1 / 2 too many"),
    Mutant(FAR, f"return {AVERAGED}", f"return ({AVERAGED}).sqrt()", "by hand", "square root"),
    Mutant(
        FAR,
        "probs * optimal",
        "probs * (1 - optimal)",
        "by hand",
        "a logarithm of 0, a division by 0 or a sum",
    ),
    Mutant(
        MIDDLE,
        "return phi.detach()",
        "return phi.detach().softmax(-1)",
        "in the middle",
        None,
    ),
    Mutant(MIDDLE, "return phi.detach()", "return phi", "detached", "detach()"),
    Mutant(MIDDLE, "optimal_actions(task, gamma)", FIRST_OF_TIES, "in the middle", "ties are lost"),
    Mutant(MIDDLE, "optimizer = torch.optim.LBFGS(", TEN_STEPS, "in the middle", "too early"),
    Mutant(
        GAIN, "after = theta.softmax(-1)", "after = theta.softmax(0)", "runs", "as a policy is none"
    ),
    Mutant(GAIN, "/ (1 - gamma)", "/ (1 - gamma) ** 2", "adds up", "too many"),
    Mutant(
        GAIN, "(after * advantage).sum(-1)", "advantage.mean(-1)", "adds up", "averaged uniformly"
    ),
    Mutant(
        GAIN,
        f"return {PER_STATE}",
        f"gains = {PER_STATE}\n    return gains / gains.sum()",
        "adds up",
        "divided by their sum",
    ),
    Mutant(WEIGHT, "1e-12", "1e-2", "random values", "rarely visited"),
    Mutant(WEIGHT, "1e-12", "1e-6", "random values", "rarely visited"),
    Mutant(
        BOUND, "if lam < least:", "if gamma == 0 or lam < least:", "random values", "special case"
    ),
    Mutant(
        WEIGHT,
        "rarest = visited[visited > 1e-12].min()",
        "visited = visited[:, None] * before\n    rarest = visited[visited > 1e-12].min()",
        "by hand",
        "pi(a | s) stands",
    ),
    Mutant(WEIGHT, ".abs().max()", ".abs().sum()", "by hand", "sum of the advantages"),
    Mutant(BOUND, "if lam < least", "if lam <= least", "random values", "at lam = lam_0"),
    Mutant(
        BOUND,
        "torch.tensor(torch.inf, dtype=torch.float64)",
        'float("inf")',
        "infinite below lam_0",
        "return a tensor in both",
    ),
    Mutant(
        BOUND,
        "torch.tensor(torch.inf",
        "torch.tensor(torch.nan",
        "infinite below lam_0",
        "nan is no bound",
    ),
    Mutant(BOUND, "(lam + least)", "max(lam, least)", "by hand", "lam_0 is missing"),
    Mutant(FIT, "torch.arange(1, len(gaps) + 1", "torch.arange(2, len(gaps) + 2", "by hand", None),
    Mutant(
        FIT,
        "answer[chosen] = part",
        "answer[chosen] = part\n                return answer",
        "by hand",
        "first set of columns",
    ),
    Mutant(FIT, "return answer", f"return ({FREE_FIT}).abs()", "random values", "turned positive"),
    Mutant(SHIFT, "2 * gamma", "gamma", "by hand", "factor 2"),
    Mutant(SHIFT, ".sum(-1) / 2", ".sum(-1)", "by hand", "HALF the sum"),
    Mutant(SHIFT, "2 * gamma /", "2 /", "by hand", "factor gamma"),
    Mutant(SHIFT, " / (1 - gamma) *", " *", "by hand", "1 / (1 - gamma) is missing"),
    Mutant(SHIFT, "(1 - gamma)", "(1 - gamma) ** 2", "by hand", "too many"),
    Mutant(SHIFT, "occupancy(before", "occupancy(after", "random values", "pi_theta visits"),
    Mutant(SHIFT, f"({SHIFT_MEAN})", "apart.max()", "random values", "largest TV"),
    Mutant(SHIFT, f"({SHIFT_MEAN})", "apart.mean()", "random values", "count alike"),
    Mutant(SHIFT, f"({SHIFT_MEAN})", "apart.sum()", "by hand", "unweighted"),
    Mutant(SHIFT, "bl.occupancy(before, task, gamma)", "task.start", "random values", "task.start"),
    Mutant(SHIFT, SHIFT_ALL, SHIFT_TRUE, "by hand", "the move itself"),
    Mutant(SHIFT, ".abs()", "", "a bound", "always 0"),
    Mutant(SHIFT, ".sum(-1) / 2", ".amax(-1)", "random values", "largest difference"),
    Mutant(SHIFT, ".abs().sum(-1) / 2", ".square().sum(-1) / 2", "a bound", "squared"),
    Mutant(SHIFT, f"({SHIFT_MEAN})", SHIFT_MEAN.replace("@", "*"), "shape", "one number"),
    Mutant(SHIFT, SHIFT_APART, SHIFT_KL, "by hand", "KL stands"),
    Mutant(SHIFT, f"({SHIFT_MEAN})", SHIFT_PINSKER, "by hand", "Pinsker"),
    Mutant(SHIFT, "theta.softmax(-1)", "theta.softmax(0)", "by hand", None),
    Mutant(SHIFT, "return 2", "return -2", "a bound", "-1 times the right one"),
    Mutant(
        FAR,
        "mass = (probs * optimal).sum(-1)",
        "mass = (probs * optimal).max(-1).values",
        "by hand",
        "only the likeliest optimal action counts: add up the probabilities of all of them",
    ),
    Mutant(
        FAR,
        "mass = (probs * optimal).sum(-1)",
        "mass = (probs * optimal).sum(-1) / optimal.sum(-1)",
        "by hand",
        "the probabilities of the optimal actions are averaged: add them up",
    ),
    Mutant(
        FAR,
        "-mass.log()",
        "-mass.log2()",
        "by hand",
        "the logarithm has base 2: that is bits, not nats",
    ),
    Mutant(FAR, "-mass.log()", "-mass.log10()", "by hand", "the logarithm has base 10"),
    Mutant(
        FAR,
        "bl.occupancy(probs, task",
        "bl.occupancy(probs * optimal / mass[:, None], task",
        "random values",
        "the occupancy is that of the nearest optimal policy: D^2 weighs by where pi_phi goes",
    ),
    Mutant(
        GAIN,
        "return visits * (after * advantage).sum(-1) / (1 - gamma)",
        "return (after * advantage).sum(-1) / (1 - gamma)",
        "adds up",
        "the occupancy is missing",
    ),
    Mutant(
        GAIN,
        "return visits * (after * advantage).sum(-1) / (1 - gamma)",
        "return (after * advantage).sum(-1)",
        "adds up",
        "the occupancy is missing, and 1 / (1 - gamma) with it",
    ),
    Mutant(
        GAIN,
        "return visits * (after * advantage).sum(-1) / (1 - gamma)",
        "return visits * advantage.sum(-1) / (1 - gamma)",
        "adds up",
        "pi_theta is missing: the advantages are weighed by it",
    ),
    Mutant(
        GAIN,
        "return visits * (after * advantage).sum(-1) / (1 - gamma)",
        "visits = bl.occupancy(phi.softmax(-1), task, gamma)\n"
        "    return visits * advantage.sum(-1) / (1 - gamma)",
        "adds up",
        "pi_theta is missing, and the occupancy is pi_phi's",
    ),
    Mutant(
        GAIN,
        "return visits * (after * advantage).sum(-1) / (1 - gamma)",
        "return advantage.sum(-1) / (1 - gamma)",
        "adds up",
        "occupancy and pi_theta are missing",
    ),
    Mutant(
        BOUND,
        "    return (lam + least) / (1 - gamma) * distance_to_optimum(phi, optimal, task, gamma)",
        "    first = torch.nn.functional.one_hot(optimal.argmax(-1), "
        "optimal.shape[1]).double()\n"
        "    return (lam + least) / (1 - gamma) * distance_to_optimum(phi, first, "
        "task, gamma)",
        "by hand",
        "only one optimal action counts in D^2: with ties, every mixture of them is optimal",
    ),
    Mutant(
        BOUND,
        "    return (lam + least) / (1 - gamma) * distance_to_optimum(phi, optimal, task, gamma)",
        "    chance = (phi.softmax(-1) * optimal).max(-1).values\n"
        "    apart = bl.occupancy(phi.softmax(-1), task, gamma) @ -chance.log()\n"
        "    return (lam + least) / (1 - gamma) * apart",
        "by hand",
        "only the likeliest optimal action counts in D^2: with ties, every mixture is optimal",
    ),
    Mutant(
        BOUND,
        "    return (lam + least) / (1 - gamma) * distance_to_optimum(phi, optimal, task, gamma)",
        "    mixed, probs = optimal / optimal.sum(-1, keepdim=True), phi.softmax(-1)\n"
        "    kl = torch.xlogy(mixed, mixed / probs).sum(-1)\n"
        "    return (lam + least) / (1 - gamma) * (bl.occupancy(probs, task, gamma) @ "
        "kl)",
        "by hand",
        "the distance to the UNIFORM mixture of optimal actions, not to the nearest one",
    ),
    Mutant(
        FIT,
        "return answer",
        "return answer[[1, 0, 2]]",
        "by hand",
        "the order is K, M, floor; K and M have changed places",
    ),
    Mutant(
        FIT,
        "return answer",
        "return answer[[2, 0, 1]]",
        "by hand",
        "the order is K, M, floor; the floor comes first",
    ),
    Mutant(
        FAR,
        AVERAGED,
        "(-mass.log()).max()",
        "by hand",
        "that is the largest distance over states: average them by the occupancy",
    ),
)
