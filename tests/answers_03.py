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
    Mutant(
        L,
        f"return {L_SUM}",
        f"return {L_SUM[:-2]}(-1)",
        "shape",
        "a dimension is left over: a sum, mean or",
    ),
    Mutant(L, f"return {L_SUM}", f"return {L_SUM}.item()", "type", "stay in torch"),
    Mutant(
        L, "* q)", "* q.detach())", "differentiable", "Q is held constant, but it depends on phi"
    ),
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
    Mutant(
        KL,
        "phi.log_softmax(-1), theta.log_softmax(-1)",
        "phi, theta",
        "not negative",
        "logits are not log-probabilities, here nor",
    ),
    Mutant(KL, "(log_phi - log_theta)", "(phi - theta)", "not negative", "take log_softmax"),
    Mutant(KL, "(log_phi - log_theta)", "-log_theta", "by hand", "cross-entropy"),
    Mutant(
        KL, "phi.log_softmax(-1),", "phi.softmax(-1).log(),", "random values", "take log_softmax"
    ),
    Mutant(
        KL,
        "theta.log_softmax(-1)",
        "theta.detach().log_softmax(-1)",
        "differentiable",
        "no gradient comes through to theta:",
    ),
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
    Mutant(D2, TILT, f"({TILT}).sum(-1)", "shape", "a dimension is missing: it was summed,"),
    Mutant(D1, LOOP, "    mu = mu + 0\n", "no worse than phi", "left end"),
    Mutant(D1, LOOP, "    mu = q.max(-1, keepdim=True).values + lam\n", "by hand", "right end"),
    Mutant(
        D1, "range(30)", "range(2)", "no worse than phi", "Newton stops after 2 steps: thirty are"
    ),
    Mutant(D1, "range(30)", "range(5)", "no worse than phi"),
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
    Mutant(D1, "- excess / slope", "+ excess / slope", "by hand", "Newton leaves"),
    Mutant(
        D1,
        "(q + weights).max(-1, keepdim=True)",
        "q.max(-1, keepdim=True)",
        "by hand",
        "Newton leaves",
    ),
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
    Mutant(
        BOUND,
        f"return {BOUND_SUM}",
        f"return ({BOUND_SUM})[None]",
        "shape",
        "a dimension of size 1 is there or missing:",
    ),
    Mutant(BOUND, "visits)\n", "visits) ** 2\n", "by hand", "squared already"),
    Mutant(MANY, COLLECT_LAST, "collect(phi, task, gamma)", "by hand", "collect again"),
    Mutant(MANY, "alg(tables[-1],", "alg(phi,", "by hand", "starts from phi again"),
    Mutant(
        MANY, "torch.stack(tables)", "torch.stack(tables[1:])", "shape", "phi is missing at the"
    ),
    Mutant(MANY, "torch.stack(tables)", "tables[-1]", "shape", "last table alone"),
    Mutant(MANY, "range(num_steps)", "range(num_steps + 1)", "shape", "one step too many"),
    Mutant(MANY, "torch.stack(tables)", "torch.stack(tables[::-1])", "begins with phi", "reversed"),
    Mutant(MANY, "torch.stack(tables)", "tables", "type", "torch.stack"),
    Mutant(
        MANY,
        "alg(tables[-1], q, lam)",
        "tables[-1] + q / lam",
        "random values",
        "alg is an argument: call it, whatever",
    ),
    Mutant(
        MANY,
        "tables = [phi]",
        "phi = phi + 1e-4 * torch.randn_like(phi)\n    tables = [phi]",
        "repeatable",
        "randomness",
    ),
    Mutant(L, f"return {L_SUM}", f"return -{L_SUM}", "by hand", "no loss"),
    Mutant(L, "theta.softmax(-1)", "theta.softmax(0)", "by hand", "runs over states"),
    Mutant(L, "theta.softmax(-1) *", "theta.softmax(-1) ** 2 *", "by hand", "twice"),
    Mutant(L, "nu[:, None]", "nu.detach()[:, None]", "differentiable", "nu is held"),
    Mutant(
        L, "theta.softmax", "theta.detach().softmax", "differentiable", "comes through to theta"
    ),
    Mutant(L, f"return {L_SUM}", f"return ({L_SUM}).reshape(1)", "shape", "size 1"),
    Mutant(L, "nu[:, None] * ", "nu * ", "runs", "shapes do not fit"),
    Mutant(
        KL,
        "phi.log_softmax(-1), theta.log_softmax(-1)",
        "phi.log_softmax(0), theta.log_softmax(0)",
        "not negative",
        "runs over states",
    ),
    Mutant(KL, f"return {KL_SUM}", f"return {KL_SUM} / 2", "by hand", "1 / 2 too many"),
    Mutant(
        KL,
        f"return {KL_SUM}",
        f"return {KL_SUM} / torch.tensor(2.0).double().log()",
        "by hand",
        "bits",
    ),
    Mutant(
        KL,
        KL_SUM,
        "0.5 * nu @ (log_phi.exp() - log_theta.exp()).abs().sum(-1)",
        "by hand",
        "total variation",
    ),
    Mutant(
        KL,
        "phi.log_softmax(-1),",
        "phi.softmax(-1).log().nan_to_num(),",
        "differentiable",
        "take log_softmax",
    ),
    Mutant(
        KL, "phi.log_softmax(-1),", "(phi.softmax(-1) + 1e-8).log(),", "by hand", "a small number"
    ),
    Mutant(
        KL,
        "log_phi.exp() *",
        "log_phi.exp().detach() *",
        "differentiable",
        "whose average score",
    ),
    Mutant(
        KL,
        KL_SUM,
        "nu @ (torch.xlogy(log_phi.exp(), log_phi.exp()) - log_phi.exp() * log_theta).sum(-1)",
        "differentiable",
        "take log_softmax",
    ),
    Mutant(
        KL,
        "phi.log_softmax(-1),",
        "phi.detach().log_softmax(-1),",
        "differentiable",
        "to phi",
    ),
    Mutant(D2, TILT, f"({TILT}).exp()", "no worse than phi", "weights without"),
    Mutant(D2, TILT, "phi.softmax(-1) * (q / lam).exp()", "no worse than phi", "pi_phi exp"),
    Mutant(D2, TILT, "lam * phi + q", "no worse than phi", "before the prior"),
    Mutant(D2, TILT, "(phi + q) / lam", "no worse than phi", "phi is divided by lam"),
    Mutant(D2, TILT, "phi + 2 * q / lam", "no worse than phi", "twice as long"),
    Mutant(D2, TILT, "phi.detach() + q / lam", "differentiable", "to phi"),
    Mutant(D2, TILT, "torch.tensor((phi + q / lam).tolist()).double()", "by hand", "float32"),
    Mutant(D1, "weights = lam *", "weights = 2 * lam *", "by hand", "factor 2"),
    Mutant(D1, "range(30)", "range(10)", "no worse than phi", "stops too early"),
    Mutant(
        D1,
        "mu = (q + weights).max(-1, keepdim=True).values",
        "mu = q.max(-1, keepdim=True).values + lam",
        "random values",
        "right end",
    ),
    Mutant(
        D1,
        "(q + weights).max(-1, keepdim=True).values",
        "(q + weights).max().reshape(1, 1)",
        "random values",
        "a logarithm of 0, a division by 0 or a sum",
    ),
    Mutant(D1, "slope = -", "slope = ", "by hand", "Newton leaves"),
    Mutant(D1, LOOP, LOOP.replace("sum(-1, keepdim=True)", "sum()"), "by hand", None),
    Mutant(
        D1, ROOT, f"({ROOT}).detach() + phi - phi.detach()", "differentiable", "comes through to q"
    ),
    Mutant(NPG, f"return {NATURAL}", f"return ({NATURAL}).softmax(-1)", "goes up", "probabilities"),
    Mutant(NPG, NATURAL, "phi + (q - values) / lam**2", "by hand", "squared"),
    Mutant(NPG, NATURAL, "phi + task.reward / lam", "by hand", "reward stands"),
    Mutant(NPG, NATURAL, "phi + q", "by hand", "lam is not used"),
    Mutant(NPG, NATURAL, "phi + (q - values) / (q - values).norm()", "by hand", "length 1"),
    Mutant(
        BOUND, "surrogate(theta, phi,", "surrogate(phi, theta,", "by hand", "arguments exchanged"
    ),
    Mutant(
        BOUND,
        "surrogate(theta, phi,",
        "surrogate(theta, theta,",
        "by hand",
        "surrogate(theta, theta)",
    ),
    Mutant(
        BOUND,
        "surrogate(theta, phi, task, gamma) - surrogate(phi, phi, task, gamma)",
        "surrogate(phi, phi, task, gamma) - surrogate(theta, phi, task, gamma)",
        "by hand",
        "exchanged",
    ),
    Mutant(BOUND, "visits)\n", "visits).sqrt()\n", "by hand", "square root"),
    Mutant(
        BOUND,
        f"return {BOUND_SUM}",
        f"return -({BOUND_SUM})",
        "touches J at phi",
        "sign is reversed",
    ),
    Mutant(
        BOUND,
        f"return {BOUND_SUM}",
        "return (policy_return(phi, task, gamma) + beyond) / (1 - gamma)",
        "touches J at phi",
        "divided by 1 - gamma, too",
    ),
    Mutant(
        BOUND,
        "visits, _ = collect(phi, task, gamma)",
        "visits = torch.full_like(task.start, 1 / len(task.start))",
        "by hand",
        "averaged uniformly",
    ),
    Mutant(
        MANY,
        "tables.append(alg(tables[-1], q, lam))",
        "tables.append(tables[-1] + alg(phi, collect(phi, task, gamma)[1], lam) - phi)",
        "by hand",
        "collect again",
    ),
    Mutant(MANY, "q, lam)", "q, 1.0)", "by hand", "not handed on"),
    Mutant(
        MANY,
        "torch.stack(tables)",
        "torch.stack(tables).softmax(-1)",
        "begins with phi",
        "these are probabilities",
    ),
    Mutant(MANY, "range(num_steps)", "range(2)", "shape", "how many adaptations"),
    Mutant(MANY, "q, lam)", "q, lam / len(tables))", "by hand", "shrinks"),
    Mutant(
        MANY,
        "torch.stack(tables)",
        "torch.stack(tables, -1)",
        "shape",
        "dimensions have changed places: a",
    ),
    Mutant(
        MANY,
        "tables.append(alg(tables[-1], q, lam))",
        "tables.append(alg(tables[-1], q, lam))\n"
        "        if torch.equal(*tables[-2:]):\n"
        "            break",
        "shape",
        "where nothing changes",
    ),
    Mutant(D1, ROOT, f"({ROOT}).clamp(min=-7)", "no worse than phi", "are clamped"),
    Mutant(
        L,
        L_SUM,
        "(nu[:, None] * (theta.log_softmax(-1) - phi.log_softmax(-1)) * q).sum()",
        "by hand",
        "the logarithm of the ratio stands where the ratio belongs, and pi_phi is missing",
    ),
    Mutant(
        L,
        L_SUM,
        "(nu[:, None] * theta.softmax(-1) * (theta.log_softmax(-1) - "
        "phi.log_softmax(-1)) * q).sum()",
        "by hand",
        "the logarithm of the ratio is averaged over a ~ pi_theta: that is no ratio",
    ),
    Mutant(
        L,
        L_SUM,
        "(nu[:, None] * phi.softmax(-1) * theta.log_softmax(-1) * q).sum()",
        "by hand",
        "log pi_theta stands where the ratio belongs: it has that gradient, but not the value",
    ),
    Mutant(
        L,
        "theta.softmax(-1)",
        "theta.log_softmax(-1)",
        "by hand",
        "log pi_theta stands where pi_theta belongs",
    ),
    Mutant(
        L,
        ".sum()",
        ".mean()",
        "by hand",
        "the sum over states and actions is a mean: nu and pi weigh them already",
    ),
    Mutant(
        L,
        ".sum()",
        ".sum(-1).mean()",
        "by hand",
        "the sum over states is a mean: nu weighs them already",
    ),
    Mutant(
        L,
        L_SUM,
        "((theta.log_softmax(-1) - phi.log_softmax(-1)).exp() * q).mean()",
        "by hand",
        "states and actions are averaged uniformly, instead of by nu and pi",
    ),
    Mutant(
        KL,
        ".sum()",
        ".mean()",
        "by hand",
        "the sum over states and actions is a mean: nu and pi_phi weigh them already",
    ),
    Mutant(
        KL,
        ".sum()",
        ".sum(-1).mean()",
        "by hand",
        "the sum over states is a mean: nu weighs them already",
    ),
    Mutant(
        KL,
        "log_phi.exp() * (log_phi - log_theta)",
        "(log_phi.exp() - log_theta.exp()) * (log_phi - log_theta) / 2",
        "by hand",
        "that is the mean of both directions",
    ),
    Mutant(
        KL,
        "return (nu[:, None] * log_phi.exp() * (log_phi - log_theta)).sum()",
        "middle = ((log_phi.exp() + log_theta.exp()) / 2).log()\n"
        "    each = [x.exp() * (x - middle) for x in (log_phi, log_theta)]\n"
        "    return (nu[:, None] * sum(each)).sum() / 2",
        "by hand",
        "that is the Jensen-Shannon divergence, each policy against their mixture",
    ),
    Mutant(
        NPG,
        "return phi + (q - values) / lam",
        "nu, _ = collect(phi, task, gamma)\n"
        "    pi = phi.softmax(-1)\n"
        "    outer = torch.diag_embed(pi) - pi[:, :, None] * pi[:, None, :]\n"
        "    fisher = nu[:, None, None] * outer + 1.0 * torch.eye(pi.shape[1]).to(pi)\n"
        "    slope = nu[:, None] * pi * (q - values)\n"
        "    return phi + torch.linalg.solve(fisher, slope) / lam",
        "by hand",
        "F is damped by 1: solve with its pseudo-inverse",
    ),
    Mutant(
        NPG,
        "return phi + (q - values) / lam",
        "nu, _ = collect(phi, task, gamma)\n"
        "    pi = phi.softmax(-1)\n"
        "    outer = torch.diag_embed(pi) - pi[:, :, None] * pi[:, None, :]\n"
        "    fisher = nu[:, None, None] * outer + 0.1 * torch.eye(pi.shape[1]).to(pi)\n"
        "    slope = nu[:, None] * pi * (q - values)\n"
        "    return phi + torch.linalg.solve(fisher, slope) / lam",
        "by hand",
        "F is damped by 0.1: solve with its pseudo-inverse",
    ),
    Mutant(
        NPG,
        "return phi + (q - values) / lam",
        "nu, _ = collect(phi, task, gamma)\n"
        "    pi = phi.softmax(-1)\n"
        "    outer = torch.diag_embed(pi) - pi[:, :, None] * pi[:, None, :]\n"
        "    fisher = nu[:, None, None] * outer + 0.01 * torch.eye(pi.shape[1]).to(pi)\n"
        "    slope = nu[:, None] * pi * (q - values)\n"
        "    return phi + torch.linalg.solve(fisher, slope) / lam",
        "by hand",
        "F is damped by 0.01: solve with its pseudo-inverse",
    ),
    Mutant(
        NPG,
        "return phi + (q - values) / lam",
        "nu, _ = collect(phi, task, gamma)\n"
        "    pi = phi.softmax(-1)\n"
        "    outer = torch.diag_embed(pi) - pi[:, :, None] * pi[:, None, :]\n"
        "    fisher = nu[:, None, None] * outer + 0.001 * torch.eye(pi.shape[1]).to(pi)\n"
        "    slope = nu[:, None] * pi * (q - values)\n"
        "    return phi + torch.linalg.solve(fisher, slope) / lam",
        "by hand",
        "F is damped by 0.001: solve with its pseudo-inverse",
    ),
    Mutant(
        NPG,
        "return phi + (q - values) / lam",
        "nu, _ = collect(phi, task, gamma)\n"
        "    return phi + nu[:, None] * phi.softmax(-1) * (q - values) / (1 - gamma) / "
        "lam",
        "by hand",
        "that is the plain gradient of J: F is missing",
    ),
    Mutant(
        BOUND,
        "surrogate(theta, phi, task, gamma) - surrogate(phi, phi, task, gamma)",
        "surrogate(phi, theta, task, gamma) - surrogate(theta, theta, task, gamma)",
        "by hand",
        "theta and phi have changed places in L, both times: phi collected the data",
    ),
    Mutant(
        BOUND,
        "surrogate(theta, phi, task, gamma) - surrogate(phi, phi, task, gamma)",
        "surrogate(theta, phi, task, gamma) - surrogate(theta, theta, task, gamma)",
        "by hand",
        "surrogate(theta, theta) is subtracted: what phi earns is surrogate(phi, phi)",
    ),
    Mutant(
        BOUND,
        "surrogate(theta, phi, task, gamma) - surrogate(phi, phi, task, gamma)",
        "surrogate(theta, phi, task, gamma) - surrogate(phi, theta, task, gamma)",
        "by hand",
        "surrogate(phi, theta) is subtracted: what phi earns is surrogate(phi, phi)",
    ),
    Mutant(
        BOUND,
        "visits, _ = collect",
        "theta, phi = phi, theta\n    visits, _ = collect",
        "by hand",
        "theta and phi have changed places throughout: phi collected the data",
    ),
    Mutant(
        BOUND,
        "visits, _ = collect(phi, task, gamma)\n"
        "    gained = surrogate(theta, phi, task, gamma) - surrogate(phi, phi, task, "
        "gamma)\n"
        "    beyond = gained - lam * kl_distance(phi, theta, visits)",
        "visits, _ = collect(theta, task, gamma)\n"
        "    gained = surrogate(phi, theta, task, gamma) - surrogate(theta, theta, "
        "task, gamma)\n"
        "    beyond = gained - lam * kl_distance(theta, phi, visits)",
        "by hand",
        "theta and phi have changed places in all but J(phi)",
    ),
    Mutant(
        BOUND,
        "beyond = gained - lam * kl_distance(phi, theta, visits)",
        "theirs, _ = collect(theta, task, gamma)\n"
        "    beyond = gained - lam * kl_distance(theta, phi, theirs)",
        "by hand",
        "the distance is D2, over theta's states: in D1 pi_phi comes first, and nu is phi's",
    ),
    Mutant(
        MANY,
        "alg(tables[-1], q, lam)",
        "alg(tables[-1], q, lam * len(tables))",
        "by hand",
        "lam grows from step to step: every step has the same",
    ),
    Mutant(
        MANY,
        "tables.append(alg(tables[-1], q, lam))",
        "lam = 2 * lam\n        tables.append(alg(tables[-1], q, lam))",
        "by hand",
        "lam is doubled before every step: every step has the same",
    ),
    Mutant(
        MANY,
        "alg(tables[-1], q, lam)",
        "alg(tables[-1], q, lam * (len(tables) + 1))",
        "by hand",
        "lam grows before every step, the first among them: every step has the same",
    ),
    Mutant(
        MANY,
        "tables.append(alg(tables[-1], q, lam))",
        "lam = lam / 2\n        tables.append(alg(tables[-1], q, lam))",
        "by hand",
        "lam is halved before every step: every step has the same",
    ),
    Mutant(
        MANY,
        "_, q = collect(tables[-1], task, gamma)\n        tables.append(alg(tables[-1], q, lam))",
        "_, q = collect(phi, task, gamma)\n        tables.append(alg(phi, q, lam))",
        "by hand",
        "every step is the first one again: start from the policy of the step before",
    ),
    Mutant(
        MANY,
        "torch.stack(tables)",
        "torch.stack([tables[-1]] * (num_steps + 1))",
        "begins with phi",
        "all tables are the last one: keep a table of its own for every step",
    ),
    Mutant(
        KL,
        "log_phi.exp() * (log_phi - log_theta)",
        "(log_phi.exp() * log_phi - log_theta.exp() * log_theta)",
        "not negative",
        "that is the difference of the entropies: both logarithms are weighed by pi_phi",
    ),
)
