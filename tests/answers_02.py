"""Answers to exercise set 02: the solutions of the source, and wrong ones made from them."""

from exercise_answers import Mutant, Solutions

SOLUTIONS = Solutions("02_credit_assignment")
solve = SOLUTIONS.solve

RETURNS, GAE = "discounted_returns", "generalised_advantages"
LVC, DICE, Q, SPLIT = "lvc_objective", "dice_objective", "q_gradient", "hessian_split"
E_MAML, PROMP = "e_maml_objective", "promp_objective"

TAIL = "(1 - terminated) * final_values"
STEP = "rewards[:, t] + gamma * following, following)"
KEPT = "torch.where(here, following, 0.0)"
STACK = "return torch.stack(columns[::-1], dim=1)"
HERE = "here = mask[:, t] > 0"
BLIND = "here = mask[:, t] >= 0"
ERROR = "error = rewards[:, t] + gamma * next_values - values[:, t]"
SUM = "error + gamma * trace * total"
RATIO = "(log_probs - log_probs.detach()).exp()"
LVC_LAST = "return weights @ (powers * ratios * returns).sum(-1)"
BOX = "(causes - causes.detach()).exp()"
CAUSES = "causes = log_probs.cumsum(-1)"
DICE_LAST = "return weights @ (powers * boxes * rewards).sum(-1)"
LATER = "later = gamma * trace * (later + gained[:, t])"
GAINED = "gained = scores * credit.unsqueeze(-1)"
LOOP = "for t in reversed(range(gained.shape[1])):"
TERMS = "return torch.stack([h1, h2, h12])"
DATA_BOX = "(collected - collected.detach()).exp()"
MEAN_LOGS = "log_probs.flatten(1).mean(-1)"
WORTH = "return weights @ (box * after)"
GAIN = "torch.minimum(ratio * advantages, clipped * advantages)"
KL = "(old_prior.exp() * (old_prior - prior)).sum(-1)"

FLIPPED_SUMS = """steps = torch.arange(rewards.shape[1], dtype=rewards.dtype)
    last = mask.sum(-1).long()
    tail = (1 - terminated) * final_values * float(gamma) ** last.to(rewards)
    paid = (rewards * mask * float(gamma) ** steps).flip(-1).cumsum(-1).flip(-1)
    return mask * (paid + tail[:, None]) / float(gamma) ** steps"""

MUTANTS = (
    Mutant(RETURNS, TAIL, "0 * final_values", "by hand", "nothing follows a cut"),
    Mutant(RETURNS, TAIL, "final_values", "termination", "where an episode ended by itself"),
    Mutant(RETURNS, TAIL, "terminated * final_values", "termination", "the other way round"),
    Mutant(RETURNS, KEPT, "following", "0 at padding", "still holds what follows"),
    Mutant(
        RETURNS,
        f"{KEPT})",
        f"{KEPT} + 0 * t)\n    return columns[0]",
        "shape",
        "a dimension is missing: it was summed,",
    ),
    Mutant(RETURNS, HERE, BLIND, "0 at padding", "returns of its own"),
    Mutant(
        RETURNS,
        f"{STEP}\n        columns.append({KEPT})",
        f"{STEP.replace(', following)', ', rewards[:, t] + gamma * following)')}\n"
        f"        columns.append({KEPT})",
        "padding",
        "padding counts",
    ),
    Mutant(
        RETURNS, STEP, STEP.replace(", following)", ", gamma * following)"), "by hand", "last c"
    ),
    Mutant(RETURNS, "gamma * following", "following", "by hand", "gamma is missing"),
    Mutant(
        RETURNS,
        STACK,
        f"{STACK} * gamma ** torch.arange(len(columns))",
        "by hand",
        "discounts count from the start",
    ),
    Mutant(RETURNS, STACK, f"{STACK} - mask * rewards", "by hand", "the step itself is missing"),
    Mutant(
        RETURNS,
        STACK,
        "return torch.stack(columns, dim=1)",
        "0 at padding",
        "the columns stand in the order of the loop,",
    ),
    Mutant(
        RETURNS,
        STACK,
        "return torch.stack(columns[::-1])",
        "shape",
        "dimensions have changed places: a",
    ),
    Mutant(RETURNS, STACK, f"rewards *= mask\n    {STACK}", "inputs untouched", "in place"),
    Mutant(RETURNS, STACK, "return columns", "type", "torch.stack"),
    Mutant(RETURNS, STACK, f"{STACK}.float()", "dtype", "float32"),
    Mutant(GAE, TAIL, "0 * final_values", "by hand", "nothing follows a cut"),
    Mutant(GAE, TAIL, "final_values", "termination", "where an episode ended by itself"),
    Mutant(GAE, HERE, BLIND, "0 at padding", "padding counts, and it gets advantages of"),
    Mutant(
        GAE,
        "torch.where(here, values[:, t], next_values)",
        "values[:, t]",
        "padding",
        "V of padding",
    ),
    Mutant(GAE, SUM, "error + gamma * total", "by hand", "trace is missing"),
    Mutant(GAE, SUM, "error + trace * total", "by hand", "gamma is missing"),
    Mutant(GAE, SUM, "error + total", "by hand", "neither gamma nor trace"),
    Mutant(GAE, SUM, "error", "by hand", "trace = 0"),
    Mutant(GAE, ERROR, ERROR.replace(" - values[:, t]", ""), "by hand", "is not subtracted"),
    Mutant(GAE, ERROR, "error = rewards[:, t] - values[:, t]", "by hand", "V of the next step is"),
    Mutant(GAE, ERROR, ERROR.replace("gamma * ", ""), "by hand", "lacks its gamma"),
    Mutant(GAE, STACK, f"{STACK} + mask * values", "by hand", "estimate of Q"),
    Mutant(GAE, STACK, STACK.replace("return ", "return -"), "by hand", "sign"),
    Mutant(LVC, RATIO, "log_probs", "by hand", "log pi stands where the ratio"),
    Mutant(LVC, RATIO, "log_probs.exp()", "by hand", "denominator is missing"),
    Mutant(LVC, RATIO, "(log_probs - log_probs).exp()", "differentiable", "both move"),
    Mutant(
        LVC, RATIO, "(log_probs.detach() - log_probs).exp()", "differentiable", "numerator is st"
    ),
    Mutant(LVC, RATIO, f"{RATIO}.detach()", "differentiable", "detach"),
    Mutant(LVC, RATIO, f"{RATIO}.cumprod(-1)", "differentiable", "all steps so far"),
    Mutant(LVC, RATIO, f"{RATIO}.prod(-1, keepdim=True)", "differentiable", "whole episode"),
    Mutant(LVC, RATIO, "1 + log_probs - log_probs.detach()", "second derivative", "H1 is missing"),
    Mutant(LVC, "powers * ratios", "ratios", "by hand", "gamma^t is missing"),
    Mutant(LVC, LVC_LAST, LVC_LAST.replace("weights @ ", "") + ".mean()", "by hand", "equally"),
    Mutant(LVC, LVC_LAST, LVC_LAST.replace("weights @ ", "") + ".sum()", "by hand", "lacks the w"),
    Mutant(
        LVC,
        LVC_LAST,
        LVC_LAST.replace("weights @ ", ""),
        "shape",
        "a dimension is left over: a sum, mean or",
    ),
    Mutant(
        LVC,
        LVC_LAST,
        LVC_LAST.replace("sum(-1)", "sum(-1)).item()").replace("weights", "(weights"),
        "type",
        "stay in torch",
    ),
    Mutant(DICE, CAUSES, "causes = log_probs", "differentiable", "only a reward's own action"),
    Mutant(
        DICE,
        CAUSES,
        "causes = log_probs.sum(-1, keepdim=True)",
        "differentiable",
        "all actions of the episode",
    ),
    Mutant(
        DICE,
        CAUSES,
        "causes = log_probs.flip(-1).cumsum(-1).flip(-1)",
        "differentiable",
        "the actions that follow",
    ),
    Mutant(
        DICE, CAUSES, f"{CAUSES} - log_probs", "differentiable", "own action is missing in its box"
    ),
    Mutant(DICE, BOX, "1 + causes - causes.detach()", "second derivative", "products of scores"),
    Mutant(DICE, BOX, "causes - causes.detach()", "by hand", "exp is missing"),
    Mutant(DICE, BOX, "causes.exp()", "by hand", "nothing is subtracted"),
    Mutant(DICE, BOX, "causes", "by hand", "sum of log pi"),
    Mutant(DICE, BOX, "(causes - causes).exp()", "differentiable", "both terms"),
    Mutant(DICE, BOX, "(causes.detach() - causes).exp()", "differentiable", "wrong term"),
    Mutant(DICE, "powers * boxes", "boxes", "by hand", "gamma^t is missing"),
    Mutant(DICE, "torch.arange(", "torch.arange(1, 1 + ", "by hand", "begin with gamma"),
    Mutant(DICE, DICE_LAST, DICE_LAST.replace("weights @ ", "") + ".mean()", "by hand", "equally"),
    Mutant(DICE, DICE_LAST, DICE_LAST.replace(".sum(-1)", ".mean(-1)"), "by hand", "averaged"),
    Mutant(Q, LATER, LATER.replace("gamma * trace", "gamma"), "random values", "trace is missing"),
    Mutant(Q, LATER, LATER.replace("gamma * trace", "trace"), "by hand", "gamma is missing"),
    Mutant(Q, LATER, "later = later + gained[:, t]", "by hand", "not discounted"),
    Mutant(Q, LATER, "later = gamma * trace * later + gained[:, t]", "by hand", "one discount too"),
    Mutant(Q, LATER, "later = gamma * trace * gained[:, t]", "by hand", "only the next step"),
    Mutant(Q, GAINED, "gained = scores", "by hand", "the credit is missing"),
    Mutant(Q, GAINED, "gained = -scores * credit.unsqueeze(-1)", "by hand", "sign"),
    Mutant(Q, "columns.append(later)", "columns.append(later + gained[:, t])", "by hand", "itself"),
    Mutant(
        Q,
        LOOP,
        "for t in range(gained.shape[1]):",
        "by hand",
        "the loop runs forwards: it sums the",
    ),
    Mutant(
        Q, GAINED, "gained = scores * credit", "runs", "shapes do not fit: print x.shape before"
    ),
    Mutant(SPLIT, TERMS, "return torch.stack([h2, h1, h12])", "by hand", "swapped"),
    Mutant(SPLIT, TERMS, "return torch.stack([h1, h2, h12.T])", "by hand", "transposed"),
    Mutant(SPLIT, TERMS, "return torch.stack([h1, h2, h12 + h12.T])", "by hand", "its transpose"),
    Mutant(SPLIT, TERMS, "return torch.stack([h1, -h2, h12])", "by hand", "wrong sign"),
    Mutant(
        SPLIT,
        TERMS,
        "return h1 + h2 + h12 + h12.T",
        "shape",
        "a dimension is missing: it was summed,",
    ),
    Mutant(SPLIT, TERMS, "return h1, h2, h12", "type", "torch.stack"),
    Mutant(SPLIT, "counts * returns, scores", "counts, scores", "by hand", "missing in H1"),
    Mutant(SPLIT, "counts, scores, later", "counts * returns, scores, later", "by hand", "again"),
    Mutant(
        SPLIT, "weights[:, None] * gamma", "weights[:, None] * 1.0", "by hand", "gamma^t is missing"
    ),
    Mutant(
        SPLIT,
        "weights[:, None] * gamma",
        "gamma",
        "runs",
        "shapes do not fit: print x.shape before",
    ),
    Mutant(
        SPLIT,
        "weights[:, None] * gamma",
        "torch.full_like(returns, 1 / len(returns)) * gamma",
        "random values",
        "equally",
    ),
    Mutant(
        SPLIT,
        "gamma, 1.0)",
        "gamma, 1.0) + scores * returns[..., None]",
        "by hand",
        "the step itself",
    ),
    Mutant(E_MAML, WORTH, "return weights @ after", "differentiable", "score of the collection"),
    Mutant(E_MAML, "box * after", "box * after.detach()", "differentiable", "returns are cut off"),
    Mutant(E_MAML, "log_probs.sum((-1, -2))", MEAN_LOGS, "differentiable", "steps and episodes"),
    Mutant(
        E_MAML,
        "log_probs.sum((-1, -2))",
        "log_probs.sum(-1).mean(-1)",
        "differentiable",
        "averaged over episodes",
    ),
    Mutant(
        E_MAML,
        "log_probs.sum((-1, -2))",
        "log_probs.mean(-1).sum(-1)",
        "differentiable",
        "averaged over steps",
    ),
    Mutant(E_MAML, DATA_BOX, "(1 + collected)", "by hand", "log pi times return is added"),
    Mutant(E_MAML, DATA_BOX, "collected", "by hand", "stands where its magic box"),
    Mutant(E_MAML, DATA_BOX, "collected.exp()", "by hand", "probabilities of the data"),
    Mutant(
        E_MAML,
        DATA_BOX,
        "(collected.detach() - collected).exp()",
        "differentiable",
        "stops the wrong term",
    ),
    Mutant(
        E_MAML,
        WORTH,
        "return weights @ after + weights @ (box - 1) * (weights @ after).detach()",
        "differentiable",
        "every data set gets the mean return",
    ),
    Mutant(E_MAML, WORTH, "return (box * after).mean()", "by hand", "equally"),
    Mutant(PROMP, GAIN, "ratio * advantages", "by hand", "not clipped"),
    Mutant(PROMP, GAIN, "clipped * advantages", "pessimistic", "always clipped"),
    Mutant(PROMP, "torch.minimum", "torch.maximum", "by hand", "the larger of both"),
    Mutant(
        PROMP,
        GAIN,
        "torch.minimum(ratio * advantages, (ratio * advantages).clamp(1 - clip, 1 + clip))",
        "by hand",
        "it is the ratio",
    ),
    Mutant(
        PROMP,
        "(log_probs - old_log_probs).exp()",
        "(old_log_probs - log_probs).exp()",
        "by hand",
        "upside down",
    ),
    Mutant(PROMP, "old_log_probs).exp()", "old_log_probs)", "by hand", "logarithm of the r"),
    Mutant(PROMP, "- penalty * divergence.mean()", "", "by hand", "penalty is missing"),
    Mutant(PROMP, "gain.mean() -", "gain.mean() +", "by hand", "the penalty is added"),
    Mutant(PROMP, KL, "(prior.exp() * (prior - old_prior)).sum(-1)", "by hand", "reversed"),
    Mutant(PROMP, KL, KL.replace(".sum(-1)", ".mean(-1)"), "by hand", "averaged over actions"),
    Mutant(PROMP, "divergence.mean()", "divergence.sum()", "by hand", "summed over states"),
    Mutant(PROMP, "gain.mean()", "gain.sum()", "by hand", "summed over samples"),
    Mutant(PROMP, "penalty * divergence", "divergence", "by hand", "penalty is not used"),
    Mutant(
        PROMP, "gain.mean()", "gain.detach().mean()", "differentiable", "clipped objective is c"
    ),
    Mutant(
        PROMP,
        "divergence.mean()",
        "divergence.detach().mean()",
        "differentiable",
        "divergence is c",
    ),
    Mutant(
        RETURNS,
        STACK,
        "return torch.stack(columns[::-1], dim=1).flip(-1)",
        "0 at padding",
        "order of the loop",
    ),
    Mutant(RETURNS, STACK, FLIPPED_SUMS, "0 at padding", "divided by its powers"),
    Mutant(RETURNS, STACK, f"{STACK}.neg()", "by hand", "sign"),
    Mutant(RETURNS, "gamma * following", "gamma**2 * following", "by hand", "squared"),
    Mutant(
        RETURNS,
        f"{STEP}\n        columns.append({KEPT})",
        f"{STEP}\n        columns.append(following)",
        "0 at padding",
        "still holds",
    ),
    Mutant(
        RETURNS,
        STACK,
        "out = torch.stack(columns[::-1], 1)\n    return mask * (out - out[mask > 0].mean()) / out[mask > 0].std()",  # noqa: E501
        "by hand",
        "normalised",
    ),
    Mutant(
        RETURNS,
        STACK,
        "return mask * torch.stack(columns[::-1], 1)[:, :1]",
        "by hand",
        "whole episode",
    ),
    Mutant(RETURNS, STACK, "return torch.stack(columns[::-1], 1).sum(-1)", "shape", "missing"),
    Mutant(RETURNS, "mask[:, t] > 0", "mask[t] > 0", "runs", "shapes do not fit"),
    Mutant(
        RETURNS,
        "for t in reversed(range(rewards.shape[1])):",
        "for t in reversed(range(rewards.shape[1] - 1)):",
        "shape",
        None,
    ),
    Mutant(RETURNS, STACK, "return lambda: torch.stack(columns[::-1], 1)", "type", "call it"),
    Mutant(GAE, STACK, "return torch.stack(columns, dim=1)", "0 at padding", "order of the loop"),
    Mutant(
        GAE, "gamma * trace * total", "gamma * (1 - trace) * total", "random values", "exchanged"
    ),
    Mutant(
        GAE,
        ERROR,
        ERROR.replace("gamma * ", "trace * "),
        "random values",
        "trace stands where gamma",
    ),
    Mutant(GAE, ERROR, ERROR.replace("- values", "+ values"), "by hand", "is added in the error"),
    Mutant(GAE, "gamma * trace * total", "gamma * trace**0.5 * total", "by hand", None),
    Mutant(GAE, STACK, f"{STACK} / trace * trace", "0 at padding", "trace 0"),
    Mutant(
        GAE,
        STACK,
        "out = torch.stack(columns[::-1], 1)\n    return mask * (out - out[mask > 0].mean()) / out[mask > 0].std()",  # noqa: E501
        "by hand",
        "normalised",
    ),
    Mutant(
        GAE,
        "next_values = torch.where(here, values[:, t], next_values)",
        "next_values = next_values",
        "by hand",
        "V of the next step is always the final",
    ),
    Mutant(LVC, "return weights", "return -weights", "by hand", "no loss"),
    Mutant(LVC, LVC_LAST, f"{LVC_LAST} / len(weights)", "by hand", "a mean too many"),
    Mutant(LVC, RATIO, "(log_probs - log_probs.detach())", "by hand", "exp is missing"),
    Mutant(LVC, RATIO, f"{RATIO} ** 2", "differentiable", "twice"),
    Mutant(
        LVC,
        RATIO,
        "(log_probs - log_probs.detach()).cumsum(0).exp()",
        "differentiable",
        "over episodes",
    ),
    Mutant(LVC, "gamma ** torch", "(gamma**2) ** torch", "by hand", "gamma^t is there twice"),
    Mutant(LVC, RATIO, f"{RATIO}.mean(-1, keepdim=True)", "differentiable", "averaged before"),
    Mutant(
        LVC,
        "gamma ** torch.arange(log_probs.shape[1]).to(returns)",
        "(gamma.log() * torch.arange(log_probs.shape[1])).exp()",
        "runs",
        "tensor belongs",
    ),
    Mutant(
        LVC,
        "gamma ** torch.arange(log_probs.shape[1]).to(returns)",
        "(torch.tensor(gamma, dtype=returns.dtype).log() * torch.arange(log_probs.shape[1])).exp()",
        "random values",
        "gamma may be 0",
    ),
    Mutant(
        LVC,
        RATIO,
        "torch.ones_like(log_probs)",
        "differentiable",
        "the input is not used, or cut off: by",
    ),
    Mutant(DICE, "return weights", "return -weights", "by hand", "no loss"),
    Mutant(DICE, DICE_LAST, f"{DICE_LAST} / len(weights)", "by hand", "a mean too many"),
    Mutant(DICE, CAUSES, "causes = log_probs.cumsum(0)", "differentiable", "over episodes"),
    Mutant(
        DICE,
        CAUSES,
        "causes = (log_probs * gamma ** torch.arange(rewards.shape[1]).to(rewards)).cumsum(-1)",
        "differentiable",
        "by their time",
    ),
    Mutant(
        DICE,
        CAUSES,
        "causes = torch.zeros_like(log_probs)\n    last = 0 * log_probs[:, 0]\n    parts = []\n    for t in range(rewards.shape[1]):\n        last = gamma * last + log_probs[:, t]\n        parts.append(last)\n    causes = torch.stack(parts, 1)",  # noqa: E501
        "differentiable",
        "by their age",
    ),
    Mutant(
        DICE,
        CAUSES,
        "causes = log_probs.cumsum(-1) / torch.arange(1, rewards.shape[1] + 1)",
        "differentiable",
        "product over its steps",
    ),
    Mutant(DICE, CAUSES, "causes = 2 * log_probs.cumsum(-1)", "differentiable", "twice"),
    Mutant(DICE, BOX, f"{BOX}.detach()", "differentiable", "the input is not used, or cut off: by"),
    Mutant(
        Q,
        "return torch.stack(columns[::-1], dim=1)",
        "return torch.stack(columns, dim=1)",
        "by hand",
        "order of the loop",
    ),
    Mutant(
        Q,
        "return torch.stack(columns[::-1], dim=1)",
        "return torch.stack(columns[::-1], dim=0)",
        "shape",
        "changed places",
    ),
    Mutant(
        Q,
        "return torch.stack(columns[::-1], dim=1)",
        "return torch.stack(columns[::-1], dim=1) / trace * trace",
        "random values",
        "trace 0",
    ),
    Mutant(
        Q,
        "return torch.stack(columns[::-1], dim=1)",
        "return torch.stack(columns[::-1], dim=1) * (gamma ** torch.arange(credit.shape[1]).to(credit))[:, None]",  # noqa: E501
        "by hand",
        "in front",
    ),
    Mutant(
        Q,
        "return torch.stack(columns[::-1], dim=1)",
        "return torch.stack(columns[::-1], dim=1).sum(1)",
        "shape",
        "missing",
    ),
    Mutant(
        SPLIT,
        "later = q_gradient(scores, returns, gamma, 1.0)",
        "later = q_gradient(scores, returns, 1.0, 1.0)",
        "by hand",
        "inside grad Q",
    ),
    Mutant(SPLIT, TERMS, "return torch.stack([-h1, h2, h12])", "by hand", "H1 has the wrong sign"),
    Mutant(SPLIT, TERMS, "return torch.stack([h1, h2, -h12])", "by hand", "H12 has the wrong sign"),
    Mutant(SPLIT, TERMS, "return torch.stack([h1, h12, h2])", "by hand", "H12 stands before"),
    Mutant(
        SPLIT, TERMS, "return torch.stack([h1, h2, h12]) / returns.shape[1]", "by hand", "averaged"
    ),
    Mutant(SPLIT, "counts * returns, curvatures", "counts, curvatures", "by hand", "missing in H2"),
    Mutant(
        SPLIT,
        '"bt,bti,btj->ij", counts, scores, later',
        '"t,bti,btj->ij", counts[0], scores, later',
        "random values",
        None,
    ),
    Mutant(E_MAML, WORTH, "return -weights @ (box * after)", "by hand", "no loss"),
    Mutant(
        E_MAML, WORTH, "return weights @ (box * after) / len(after)", "by hand", "a mean too many"
    ),
    Mutant(E_MAML, WORTH, "return weights @ (box * box * after)", "differentiable", "twice"),
    Mutant(
        E_MAML, WORTH, "return weights @ (after + box - 1)", "differentiable", "without the return"
    ),
    Mutant(
        E_MAML,
        WORTH,
        "worth = after - (weights @ after)\n    return weights @ after + weights @ ((box - 1) * worth.detach())",  # noqa: E501
        "differentiable",
        "a baseline",
    ),
    Mutant(E_MAML, "log_probs.sum((-1, -2))", "log_probs.sum()", "differentiable", "all data sets"),
    Mutant(
        E_MAML,
        "log_probs.sum((-1, -2))",
        "log_probs[..., 0].sum(-1)",
        "differentiable",
        "only the first step",
    ),
    Mutant(
        E_MAML,
        "log_probs.sum((-1, -2))",
        "log_probs[:, 0].sum(-1)",
        "differentiable",
        "only the first episode",
    ),
    Mutant(
        PROMP,
        "(log_probs - old_log_probs).exp()",
        "(log_probs - log_probs.detach()).exp()",
        "by hand",
        "log_probs.detach() stands",
    ),
    Mutant(
        PROMP, KL, "(prior.exp() * (old_prior - prior)).sum(-1)", "by hand", "by the new policy"
    ),
    Mutant(PROMP, KL, "(old_prior * (old_prior - prior)).sum(-1)", "by hand", "holds logarithms"),
    Mutant(
        PROMP,
        "clipped = ",
        "advantages = (advantages - advantages.mean()) / (advantages.std() + 1e-8)\n    clipped = ",
        "by hand",
        "normalised",
    ),
    Mutant(
        PROMP,
        "clipped = ",
        "advantages = advantages - advantages.mean()\n    clipped = ",
        "by hand",
        "centred",
    ),
    Mutant(
        PROMP,
        "ratio.clamp(1 - clip, 1 + clip)",
        "ratio.clamp(max=1 + clip)",
        "by hand",
        "only the upper limit",
    ),
    Mutant(
        PROMP, "ratio.clamp(1 - clip, 1 + clip)", "ratio.clamp(-clip, clip)", "by hand", "around 1"
    ),
    Mutant(PROMP, "return gain", "return -gain", "by hand", "the gain has the wrong"),
    Mutant(
        PROMP,
        KL,
        "(old_prior.exp() * (old_prior.log() - prior.log())).sum(-1)",
        "by hand",
        "logarithm of 0",
    ),
    Mutant(PROMP, "divergence.mean()", "divergence.mean().sqrt()", "by hand", "square root"),
    *(
        Mutant(name, "weights @", "weights / weights.sum() @", "random values", "as they come")
        for name in (LVC, DICE, E_MAML)
    ),
    Mutant(
        SPLIT,
        "weights[:, None]",
        "(weights / weights.sum())[:, None]",
        "random values",
        "as they come",
    ),
    Mutant(
        RETURNS,
        "reversed(range(rewards.shape[1]))",
        "range(rewards.shape[1])",
        "0 at padding",
        "the loop runs forwards, and its columns are reversed",
    ),
    Mutant(
        RETURNS,
        "following = (1 - terminated) * final_values\n"
        "    columns = []\n"
        "    for t in reversed(range(rewards.shape[1])):\n"
        "        here = mask[:, t] > 0\n"
        "        following = torch.where(here, rewards[:, t] + gamma * following, "
        "following)\n"
        "        columns.append(torch.where(here, following, 0.0))\n"
        "    return torch.stack(columns[::-1], dim=1)",
        "following = (1 - terminated) * final_values\n"
        "    columns = []\n"
        "    for t in range(rewards.shape[1]):\n"
        "        following = rewards[:, t] + gamma * following\n"
        "        columns.append(mask[:, t] * following)\n"
        "    return torch.stack(columns, dim=1)",
        "by hand",
        "the past is summed, with final_values before the first step: the loop runs forwards",
    ),
    Mutant(
        RETURNS,
        "following = (1 - terminated) * final_values\n"
        "    columns = []\n"
        "    for t in reversed(range(rewards.shape[1])):\n"
        "        here = mask[:, t] > 0\n"
        "        following = torch.where(here, rewards[:, t] + gamma * following, "
        "following)\n"
        "        columns.append(torch.where(here, following, 0.0))\n"
        "    return torch.stack(columns[::-1], dim=1)",
        "total, columns = 0, []\n"
        "    for t in range(rewards.shape[1]):\n"
        "        total = rewards[:, t] + gamma * total\n"
        "        columns.append(mask[:, t] * total)\n"
        "    return torch.stack(columns, dim=1)",
        "by hand",
        "the past is summed: a return counts what follows",
    ),
    Mutant(
        RETURNS,
        "following = (1 - terminated) * final_values\n"
        "    columns = []\n"
        "    for t in reversed(range(rewards.shape[1])):\n"
        "        here = mask[:, t] > 0\n"
        "        following = torch.where(here, rewards[:, t] + gamma * following, "
        "following)\n"
        "        columns.append(torch.where(here, following, 0.0))\n"
        "    return torch.stack(columns[::-1], dim=1)",
        "total, columns = torch.zeros_like(final_values), []\n"
        "    for t in range(rewards.shape[1]):\n"
        "        total = gamma * total\n"
        "        columns.append(mask[:, t] * total)\n"
        "        total = rewards[:, t] + total\n"
        "    return torch.stack(columns, dim=1)",
        "by hand",
        "the past is summed, without the step itself: a return counts what follows",
    ),
    Mutant(
        RETURNS,
        "following = (1 - terminated) * final_values\n"
        "    columns = []\n"
        "    for t in reversed(range(rewards.shape[1])):\n"
        "        here = mask[:, t] > 0\n"
        "        following = torch.where(here, rewards[:, t] + gamma * following, "
        "following)\n"
        "        columns.append(torch.where(here, following, 0.0))\n"
        "    return torch.stack(columns[::-1], dim=1)",
        "powers = gamma ** torch.arange(rewards.shape[1]).to(rewards)\n"
        "    return mask * (powers * mask * rewards).cumsum(-1)",
        "by hand",
        "the past is summed, with discounts from the start: a return counts what follows",
    ),
    Mutant(
        RETURNS,
        "following = (1 - terminated) * final_values\n"
        "    columns = []\n"
        "    for t in reversed(range(rewards.shape[1])):\n"
        "        here = mask[:, t] > 0\n"
        "        following = torch.where(here, rewards[:, t] + gamma * following, "
        "following)\n"
        "        columns.append(torch.where(here, following, 0.0))\n"
        "    return torch.stack(columns[::-1], dim=1)",
        "return mask * (mask * rewards).cumsum(-1)",
        "by hand",
        "the past is summed without discounts: a return counts what follows",
    ),
    Mutant(
        RETURNS,
        "rewards[:, t] + gamma * following",
        "gamma * (rewards[:, t] + following)",
        "by hand",
        "gamma discounts the reward of the step itself, too",
    ),
    Mutant(
        RETURNS,
        STACK,
        "each = torch.stack(columns[::-1], dim=1)\n"
        "    taken = each[mask > 0]\n"
        "    return mask * (each - taken.mean()) / (taken.std(correction=0) + 1e-8)",
        "by hand",
        "the returns are normalised, by the root of a mean: they are asked for as they are",
    ),
    Mutant(
        RETURNS,
        STACK,
        "each = torch.stack(columns[::-1], dim=1)\n"
        "    return mask * (each - each.mean()) / (each.std() + 1e-8)",
        "by hand",
        "the returns are normalised, padding among them: they are asked for as they are",
    ),
    Mutant(
        RETURNS,
        STACK,
        "each = torch.stack(columns[::-1], dim=1)\n    return (each - each.mean()) / each.std()",
        "0 at padding",
        "the returns are normalised, padding made a number: they are asked for as they are",
    ),
    Mutant(
        RETURNS,
        STACK,
        "each = torch.stack(columns[::-1], dim=1)\n"
        "    return (each - each.mean(-1, keepdim=True)) / each.std(-1, keepdim=True)",
        "0 at padding",
        "the returns of every episode are normalised: they are asked for as they are",
    ),
    Mutant(
        RETURNS,
        STACK,
        "each = torch.stack(columns[::-1], dim=1)\n"
        "    taken = each[mask > 0]\n"
        "    return mask * (each - taken.mean())",
        "by hand",
        "the returns are centred: they are asked for as they are",
    ),
    Mutant(
        RETURNS,
        STACK,
        "each = torch.stack(columns[::-1], dim=1)\n"
        "    taken = each[mask > 0]\n"
        "    return each / taken.std()",
        "by hand",
        "the returns are divided by their spread: they are asked for as they are",
    ),
    Mutant(
        GAE,
        STACK,
        "each = torch.stack(columns[::-1], dim=1)\n"
        "    taken = each[mask > 0]\n"
        "    return mask * (each - taken.mean()) / (taken.std(correction=0) + 1e-8)",
        "by hand",
        "the advantages are normalised, by the root of a mean: they are asked for as they are",
    ),
    Mutant(
        GAE,
        STACK,
        "each = torch.stack(columns[::-1], dim=1)\n"
        "    return mask * (each - each.mean()) / (each.std() + 1e-8)",
        "by hand",
        "the advantages are normalised, padding among them: they are asked for as they are",
    ),
    Mutant(
        GAE,
        STACK,
        "each = torch.stack(columns[::-1], dim=1)\n    return (each - each.mean()) / each.std()",
        "0 at padding",
        "the advantages are normalised, padding made a number: they are asked for as they are",
    ),
    Mutant(
        GAE,
        STACK,
        "each = torch.stack(columns[::-1], dim=1)\n"
        "    return (each - each.mean(-1, keepdim=True)) / each.std(-1, keepdim=True)",
        "0 at padding",
        "the advantages of every episode are normalised: they are asked for as they are",
    ),
    Mutant(
        GAE,
        STACK,
        "each = torch.stack(columns[::-1], dim=1)\n"
        "    taken = each[mask > 0]\n"
        "    return mask * (each - taken.mean())",
        "by hand",
        "the advantages are centred: they are asked for as they are",
    ),
    Mutant(
        GAE,
        STACK,
        "each = torch.stack(columns[::-1], dim=1)\n"
        "    taken = each[mask > 0]\n"
        "    return each / taken.std()",
        "by hand",
        "the advantages are divided by their spread: they are asked for as they are",
    ),
    Mutant(
        GAE,
        "rewards[:, t] + gamma * next_values - values[:, t]",
        "rewards[:, t]",
        "by hand",
        "V is left out: the errors are rewards alone",
    ),
    Mutant(
        GAE,
        "next_values = torch.where(here, values[:, t], next_values)",
        "next_values = torch.where(here, 0.0, next_values)",
        "by hand",
        "V of the next step is missing, but for final_values",
    ),
    Mutant(
        GAE,
        ERROR,
        "error = rewards[:, t] + gamma * next_values * (here & (mask[:, t + 1 :].sum(-1) == 0))",
        "by hand",
        "V is left out but for final_values",
    ),
    Mutant(
        DICE,
        DICE_LAST,
        "later = rewards.flip(-1).cumsum(-1).flip(-1)\n"
        "    return weights @ (powers * boxes * later).sum(-1)",
        "by hand",
        "later rewards are added up: their sums, or returns without gamma^t, count each again",
    ),
    Mutant(
        DICE,
        DICE_LAST,
        "later = rewards.flip(-1).cumsum(-1).flip(-1)\n"
        "    return weights @ (boxes * later).sum(-1)",
        "by hand",
        "later rewards are added up, and gamma^t is missing: each counts once, with it",
    ),
    Mutant(
        DICE,
        DICE_LAST,
        "later = sum(gamma**k * torch.cat([rewards[:, k:], 0 * rewards[:, :k]], 1) for "
        "k in range(rewards.shape[1]))\n"
        "    return weights @ (boxes * later).sum(-1)",
        "by hand",
        "later rewards are added up: their sums, or returns without gamma^t, count each again",
    ),
    Mutant(
        DICE,
        DICE_LAST,
        "whole = (powers * rewards).sum(-1, keepdim=True) * (log_probs != 0)\n"
        "    return weights @ (powers * boxes * whole).sum(-1)",
        "by hand",
        "the return of the whole episode stands where rewards belong",
    ),
    Mutant(
        Q,
        STACK,
        "return gamma * trace * torch.stack(columns[::-1], dim=1)",
        "by hand",
        "one discount too many: u - t counts from 1 for the next step",
    ),
    Mutant(
        Q,
        "columns.append(later)\n        later = gamma * trace * (later + gained[:, t])",
        "later = gamma * trace * (later + gained[:, t])\n        columns.append(later)",
        "by hand",
        "the action of the step itself is there too, with one discount",
    ),
    Mutant(
        Q,
        STACK,
        "right = torch.stack(columns[::-1], dim=1)\n"
        "    return right - gamma * trace * torch.cat([gained[:, 1:], 0 * gained[:, "
        ":1]], 1)",
        "by hand",
        "the next step is missing: u begins at t + 1",
    ),
    Mutant(
        Q,
        STACK,
        "right = torch.stack(columns[::-1], dim=1)\n"
        "    return torch.cat([right[:, 1:], 0 * right[:, :1]], 1)",
        "by hand",
        "that is the sum of the NEXT step: it is one step off",
    ),
    Mutant(
        Q,
        STACK,
        "right = torch.stack(columns[::-1], dim=1)\n"
        "    return torch.cat([0 * right[:, :1], right[:, :-1]], 1)",
        "by hand",
        "that is the sum of the step BEFORE: it is one step off",
    ),
    Mutant(
        Q,
        GAINED,
        "gained = scores * torch.cat([credit[:, 1:], 0 * credit[:, :1]], 1).unsqueeze(-1)",
        "by hand",
        "the credit is that of the step after: each action is weighed with its own",
    ),
    Mutant(
        Q,
        GAINED,
        "gained = scores * torch.cat([0 * credit[:, :1], credit[:, :-1]], 1).unsqueeze(-1)",
        "by hand",
        "the credit is that of the step before: each action is weighed with its own",
    ),
    Mutant(
        SPLIT,
        "later = q_gradient(scores, returns, gamma, 1.0)",
        "later = q_gradient(scores.flip(1), returns.flip(1), gamma, 1.0).flip(1)",
        "by hand",
        "grad Q in H12 is that of the past: it sums the scores that FOLLOW",
    ),
    Mutant(
        SPLIT,
        "later = q_gradient(scores, returns, gamma, 1.0)",
        "later = q_gradient(scores.flip(1), returns.flip(1), gamma, 1.0).flip(1)\n"
        "    later = later + scores * returns.unsqueeze(-1)",
        "by hand",
        "grad Q in H12 is that of the past, the step itself among it: it sums what FOLLOWS",
    ),
    Mutant(
        SPLIT,
        "torch.stack([h1, h2, h12])",
        "torch.stack([h1, h2, h12 / 2])",
        "by hand",
        "H12 is halved: it comes once by itself, and once transposed",
    ),
    Mutant(
        SPLIT,
        "torch.stack([h1, h2, h12])",
        "torch.stack([h1, h2, 2 * h12])",
        "by hand",
        "H12 is doubled: it comes once by itself, and once transposed",
    ),
    Mutant(
        SPLIT,
        "torch.stack([h1, h2, h12])",
        "torch.stack([h1, h2, (h12 + h12.T) / 2])",
        "by hand",
        "H12 is symmetrised: it is not its transpose",
    ),
    Mutant(
        SPLIT,
        "later = q_gradient(scores, returns, gamma, 1.0)",
        "later = q_gradient(scores, torch.ones_like(returns), gamma, 1.0)",
        "by hand",
        "later scores come without their return in H12",
    ),
    Mutant(
        SPLIT,
        "later = q_gradient(scores, returns, gamma, 1.0)",
        "later = q_gradient(scores, torch.ones_like(returns), gamma, 1.0) * returns.unsqueeze(-1)",
        "by hand",
        "later scores are weighed with the return of step t in H12: each has its own",
    ),
    Mutant(
        SPLIT,
        "h2 = torch",
        "h2 = h1 + torch",
        "by hand",
        "H2 holds the products of scores, too: they are H1",
    ),
    Mutant(
        SPLIT,
        "torch.stack([h1, h2, h12])",
        "torch.stack([h1 + h2, h2, h12])",
        "by hand",
        "H1 holds the curvatures, too: they are H2",
    ),
    Mutant(
        E_MAML,
        "box * after",
        "box + after",
        "by hand",
        "the magic box is added to the return: it multiplies it",
    ),
    Mutant(
        PROMP,
        "clipped = ratio.clamp(1 - clip, 1 + clip)",
        "clipped = (log_probs - old_log_probs).clamp(-clip, clip).exp()",
        "by hand",
        "the logarithm of the ratio is clipped, to -clip and clip: clip the ratio",
    ),
    Mutant(
        PROMP,
        "clipped = ratio.clamp(1 - clip, 1 + clip)",
        "clipped = (log_probs - old_log_probs).clamp(1 - clip, 1 + clip).exp()",
        "by hand",
        "the logarithm of the ratio is clipped, to 1 - clip and 1 + clip: clip the ratio",
    ),
    Mutant(
        PROMP,
        "clipped = ratio.clamp(1 - clip, 1 + clip)",
        "clipped = (log_probs - old_log_probs).clamp(-clip, clip)",
        "by hand",
        "the logarithm of the ratio is clipped, and its exp() missing",
    ),
    Mutant(
        PROMP,
        "(old_prior.exp() * (old_prior - prior))",
        "-(old_prior.exp() * prior)",
        "by hand",
        "the cross-entropy stands where the KL divergence belongs: subtract the old entropy",
    ),
    Mutant(
        PROMP,
        "(old_prior.exp() * (old_prior - prior))",
        "-(prior.exp() * old_prior)",
        "by hand",
        "the reversed cross-entropy stands where the KL divergence belongs",
    ),
    Mutant(
        PROMP,
        GAIN,
        "torch.minimum(ratio, clipped) * advantages",
        "by hand",
        "the smaller RATIO is taken, then times the advantage: the smaller gain counts",
    ),
    Mutant(
        PROMP,
        GAIN,
        "torch.minimum((ratio * advantages).mean(), (clipped * advantages).mean())",
        "random values",
        "the smaller of both MEANS is taken: the smaller gain counts sample by sample",
    ),
)
