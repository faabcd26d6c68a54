"""Answers to exercise set 03: the solutions of the source, and wrong ones made from them."""

from exercise_answers import Mutant, Solutions

import bomrl_lite as bl

SOLUTIONS = Solutions("03_universal_adaptation", given=("collect", "policy_return"), bl=bl)
solve = SOLUTIONS.solve

L, KL, D2, D1 = "surrogate", "kl_distance", "adapt_d2", "adapt_d1"
NPG, BOUND, MANY = "natural_gradient_step", "lower_bound", "adapt_repeatedly"

L_SUM = "(nu[:, None] * theta.softmax(-1) * q).sum()"
KL_SUM = "(nu[:, None] * log_phi.exp() * (log_phi - log_theta)).sum()"
TILT, ROOT = "phi + q / lam", "log_probs + (lam / (mu - q)).log()"
NATURAL = "phi + (q - values) / lam"
BOUND_SUM = "policy_return(phi, task, gamma) + beyond / (1 - gamma)"
COLLECT_LAST = "collect(tables[-1], task, gamma)"
FISHER = """
    nu, _ = collect(phi, task, gamma)
    pi = phi.softmax(-1)
    return """
LOOP = """    for _ in range(30):
        excess = (weights / (mu - q)).sum(-1, keepdim=True) - 1
        slope = -(weights / (mu - q) ** 2).sum(-1, keepdim=True)
        mu = mu - excess / slope
"""
BISECTION = """    low, high = mu, q.max(-1, keepdim=True).values + lam
    for _ in range(60):
        middle = (low + high) / 2
        above = (weights / (middle - q)).sum(-1, keepdim=True) > 1
        low, high = torch.where(above, middle, low), torch.where(above, high, middle)
    mu = (low + high) / 2
"""
NO_GRAD = "\n".join(f"    {line}" if line else line for line in LOOP.split("\n"))

MUTANTS = (
    Mutant(L, "theta.softmax(-1)", "phi.softmax(-1)", "by hand", "ratio is missing"),
    Mutant(L, "nu[:, None] * ", "", "by hand", "occupancy is missing"),
    Mutant(L, "nu[:, None]", "task.start[:, None]", "by hand", "task.start stands"),
    Mutant(L, "collect(phi,", "collect(theta,", "by hand", "data are theta's"),
    Mutant(
        L,
        "nu, q = collect(phi,",
        "(nu, _), (_, q) = collect(phi, task, gamma), collect(theta,",
        "by hand",
        "Q is theta's",
    ),
    Mutant(
        L,
        "nu, q = collect(phi,",
        "(nu, _), (_, q) = collect(theta, task, gamma), collect(phi,",
        "by hand",
        "occupancy is theta's",
    ),
    Mutant(
        L,
        "theta.softmax(-1) *",
        "phi.softmax(-1) ** 2 / theta.softmax(-1) *",
        "by hand",
        "upside down",
    ),
    Mutant(
        L,
        "theta.softmax(-1) *",
        "theta.softmax(-1) / phi.softmax(-1) *",
        "by hand",
        "pi_phi is missing",
    ),
    Mutant(L, "theta.softmax(-1)", "theta", "by hand", "take their softmax"),
    Mutant(L, f"return {L_SUM}", f"return {L_SUM} / (1 - gamma)", "by hand", "too many"),
    Mutant(
        L,
        "* q)",
        "* (q - (phi.softmax(-1) * q).sum(-1, keepdim=True)))",
        "by hand",
        "L(theta) - L(phi)",
    ),
    Mutant(L, f"return {L_SUM}", f"return {L_SUM[:-2]}(-1)", "shape"),
    Mutant(L, f"return {L_SUM}", f"return {L_SUM}.item()", "type", "stay in torch"),
    Mutant(L, "* q)", "* q.detach())", "differentiable"),
    Mutant(L, f"return {L_SUM}", f"return {L_SUM}.detach()", "differentiable", ".detach()"),
    Mutant(L, "collect(phi,", "collect(phi.detach(),", "differentiable", "data are held constant"),
    Mutant(
        KL,
        KL_SUM,
        "(nu[:, None] * log_theta.exp() * (log_theta - log_phi)).sum()",
        "by hand",
        "arguments are exchanged",
    ),
    Mutant(KL, "nu[:, None] * ", "", "by hand", "nu is missing"),
    Mutant(KL, f"return {KL_SUM}", f"return -{KL_SUM}", "not negative", "sign is reversed"),
    Mutant(KL, "nu[:, None] * ", "1 / len(nu) * ", "by hand", "averaged uniformly"),
    Mutant(KL, f"return {KL_SUM}", f"return {KL_SUM}.sqrt()", "by hand", "square root"),
    Mutant(KL, KL_SUM, "(log_phi.exp() * (log_phi - log_theta)).sum(-1)", "shape", "per state"),
    Mutant(KL, "log_phi.exp() * ", "", "not negative", "weight of the actions"),
    Mutant(KL, "phi.log_softmax(-1), theta.log_softmax(-1)", "phi, theta", "not negative"),
    Mutant(KL, "(log_phi - log_theta)", "(phi - theta)", "not negative", "take log_softmax"),
    Mutant(KL, "(log_phi - log_theta)", "-log_theta", "by hand", "cross-entropy"),
    Mutant(KL, "phi.log_softmax(-1),", "phi.softmax(-1).log(),", "random values", "logarithm of 0"),
    Mutant(KL, "theta.log_softmax(-1)", "theta.detach().log_softmax(-1)", "differentiable"),
    Mutant(
        KL, f"return {KL_SUM}", "return ((phi - theta) ** 2).sum()", "by hand", "third distance"
    ),
    Mutant(D2, TILT, "phi + lam * q", "no worse than phi", "lam multiplies"),
    Mutant(D2, TILT, "phi + q", "no worse than phi", "lam is not used"),
    Mutant(D2, TILT, "phi - q / lam", "no worse than phi", "sign of Q"),
    Mutant(D2, TILT, "q / lam", "no worse than phi", "phi is missing"),
    Mutant(D2, TILT, "phi.clone()", "by hand", "as it was"),
    Mutant(D2, TILT, f"({TILT}).softmax(-1)", "no worse than phi", "these are probabilities"),
    Mutant(D2, TILT, "phi.softmax(-1) + q / lam", "no worse than phi", "its logarithm belongs"),
    Mutant(D2, TILT, "phi + q / (2 * lam)", "by hand", "half as long"),
    Mutant(D2, TILT, "globals()['adapt_d1'](phi, q, lam)", "no worse than phi", "Alg with D1"),
    Mutant(D2, TILT, "phi.add_(q / lam)", "inputs untouched", "in place"),
    Mutant(D2, TILT, "phi + q.detach() / lam", "differentiable", "Q is held constant"),
    Mutant(D2, TILT, f"({TILT}).float()", "dtype", "float32"),
    Mutant(D2, TILT, f"({TILT}).sum(-1)", "shape"),
    Mutant(D1, LOOP, "    mu = mu + 0\n", "no worse than phi", "left end"),
    Mutant(D1, LOOP, "    mu = q.max(-1, keepdim=True).values + lam\n", "by hand", "right end"),
    Mutant(D1, "range(30)", "range(2)", "no worse than phi"),
    Mutant(D1, "range(30)", "range(5)", "random values"),
    Mutant(D1, ROOT, "globals()['adapt_d2'](phi, q, lam)", "by hand", "exponential tilting"),
    Mutant(D1, ROOT, f"({ROOT}).exp()", "no worse than phi", "these are probabilities"),
    Mutant(D1, "log_probs = phi", "q = -q\n    log_probs = phi", "no worse than phi", "sign of Q"),
    Mutant(
        D1,
        "log_probs = phi",
        "lam = 1 / lam\n    log_probs = phi",
        "no worse than phi",
        "lam multiplies",
    ),
    Mutant(
        D1,
        "log_probs = phi",
        "lam = 1\n    log_probs = phi",
        "no worse than phi",
        "lam is not used",
    ),
    Mutant(D1, "phi.log", "(0 * phi).log", "no worse than phi", "phi is missing"),
    Mutant(D1, ROOT, "phi.clone()", "by hand", "as it was"),
    Mutant(D1, "- excess / slope", "+ excess / slope", "by hand", "nan"),
    Mutant(D1, "(q + weights).max(-1, keepdim=True)", "q.max(-1, keepdim=True)", "by hand", "nan"),
    Mutant(D1, LOOP, f"    with torch.no_grad():\n{NO_GRAD}", "differentiable", "mu is held"),
    Mutant(D1, LOOP, BISECTION, "differentiable", "bisection hands on"),
    Mutant(D1, LOOP, BISECTION.replace("60", "20"), "by hand", "stops too early"),
    Mutant(D1, ROOT, f"({ROOT}).detach()", "differentiable", ".detach()"),
    Mutant(
        NPG,
        NATURAL,
        "phi + phi.softmax(-1) * (q - values) / lam",
        "by hand",
        "pi is left over",
    ),
    Mutant(
        NPG,
        f"return {NATURAL}",
        f"{FISHER}phi + nu[:, None] * pi * (q - values) / lam",
        "by hand",
        "F is missing",
    ),
    Mutant(
        NPG,
        f"return {NATURAL}",
        f"{FISHER}phi + nu[:, None] * pi * (q - values) / (2 * lam)",
        "by hand",
        "1 / (2 lam)",
    ),
    Mutant(
        NPG,
        f"return {NATURAL}",
        f"{FISHER}phi + nu[:, None] * (q - values) / lam",
        "by hand",
        "nu is left over",
    ),
    Mutant(NPG, NATURAL, "phi + (q - values) / (2 * lam)", "by hand", "half as long"),
    Mutant(NPG, NATURAL, "phi + (q - values) / lam / (1 - gamma)", "by hand", "not of L"),
    Mutant(NPG, NATURAL, "phi - (q - values) / lam", "goes up", "sign of Q"),
    Mutant(NPG, NATURAL, "(q - values) / lam", "goes up", "change of phi alone"),
    Mutant(NPG, NATURAL, "phi + (q - values) * lam", "by hand", "lam multiplies"),
    Mutant(NPG, NATURAL, "globals()['adapt_d1'](phi, q, lam)", "by hand", "to first order"),
    Mutant(BOUND, "beyond / (1 - gamma)", "beyond", "by hand", "1 / (1 - gamma) is missing"),
    Mutant(BOUND, "gained - lam", "gained + lam", "stays below J", "penalty is added"),
    Mutant(BOUND, "beyond / (1", "gained / (1", "stays below J", "penalty is missing"),
    Mutant(
        BOUND, " - surrogate(phi, phi, task, gamma)", "", "touches J at phi", "L(phi) is missing"
    ),
    Mutant(
        BOUND, "policy_return(phi, task, gamma) + ", "", "touches J at phi", "J(phi) is missing"
    ),
    Mutant(BOUND, "policy_return(phi,", "policy_return(theta,", "by hand", "J(theta) stands"),
    Mutant(BOUND, "(phi, theta, visits)", "(theta, phi, visits)", "by hand", "distance is D2"),
    Mutant(BOUND, "collect(phi,", "collect(theta,", "by hand", "states of the distance"),
    Mutant(BOUND, "lam * kl", "kl", "by hand", "lam is not used"),
    Mutant(
        BOUND,
        BOUND_SUM,
        "policy_return(phi, task, gamma) + gained / (1 - gamma) "
        "- lam * kl_distance(phi, theta, visits)",
        "by hand",
        "belongs to the penalty",
    ),
    Mutant(BOUND, f"return {BOUND_SUM}", f"return ({BOUND_SUM})[None]", "shape"),
    Mutant(BOUND, "visits)\n", "visits) ** 2\n", "by hand", "squared already"),
    Mutant(MANY, COLLECT_LAST, "collect(phi, task, gamma)", "by hand", "collect again"),
    Mutant(MANY, "alg(tables[-1],", "alg(phi,", "by hand", "starts from phi again"),
    Mutant(MANY, "torch.stack(tables)", "torch.stack(tables[1:])", "shape"),
    Mutant(MANY, "torch.stack(tables)", "tables[-1]", "shape", "last table alone"),
    Mutant(MANY, "range(num_steps)", "range(num_steps + 1)", "shape", "one step too many"),
    Mutant(MANY, "torch.stack(tables)", "torch.stack(tables[::-1])", "begins with phi", "reversed"),
    Mutant(MANY, "torch.stack(tables)", "tables", "type", "torch.stack"),
    Mutant(MANY, "alg(tables[-1], q, lam)", "tables[-1] + q / lam", "random values"),
    Mutant(
        MANY,
        "tables = [phi]",
        "phi = phi + 1e-4 * torch.randn_like(phi)\n    tables = [phi]",
        "repeatable",
        "randomness",
    ),
)
