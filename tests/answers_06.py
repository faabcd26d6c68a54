"""Answers to exercise set 06: the solutions of the source, and wrong ones made from them."""

from exercise_answers import Mutant, Solutions

SOLUTIONS = Solutions("06_gpu_locomotion")
solve = SOLUTIONS.solve

PAY, SEE, DEAL, MEAN = "speed_reward", "observe", "deal", "mean_returns"
MOMENTS, HEAD, AMDAHL, BUDGET = "update_moments", "adapt_head", "speed_up", "returns_at_budget"

REWARD = "-missed - 0.05 * actions.square().sum(-1)"
SEEN = "torch.cat([qpos[:, 1:], qvel], -1)"
SPLIT = "seen.unflatten(0, (num_tasks, -1))"
DEALT = "values.repeat_interleave(num_episodes, dim=0)"
GOING = "over.cumsum(-1) - over == 0"
SUMMED = "torch.where(going, rewards, 0.0).sum(-1).mean(-1)"
SHIFT = "apart.square() * n * len(seen) / total"
OWN = "(seen - seen.mean(0)).square().sum(0)"
JOINED = f"torch.stack([total, joined, squares + own + {SHIFT}])"
NAIVE = "seen.square().sum(0) + squares + n * mean.square() - total * joined.square()"
STEP = "weights + torch.linalg.solve(spread + ridge * eye, pushed).mT / lam"
SPREAD = "features.mT @ features / num_samples"
RATIO = "seconds.sum() / (seconds / factors).sum(-1)"
PICKED = "returns.gather(-1, affordable[:, None])[:, 0]"

INTERPOLATED = """import numpy
    costs = horizon * episodes.cumsum(-1)
    rows = [numpy.interp(budget, [0, *c], r) for c, r in zip(costs.tolist(), returns.tolist())]
    return torch.tensor(rows, dtype=returns.dtype)"""

MUTANTS = (
    Mutant(PAY, "speeds[:, None]", "speeds", "runs", "makes it a column"),
    Mutant(
        PAY,
        "speeds[:, None]",
        "(speeds if velocity.shape[0] == velocity.shape[1] else speeds[:, None])",
        "by hand",
        "every episode has a goal",
    ),
    Mutant(PAY, " / step_seconds", "", "by hand", "step_seconds is missing"),
    Mutant(PAY, " / step_seconds", " * step_seconds", "by hand", "divide"),
    Mutant(PAY, "after - before", "before - after", "by hand", "after minus before"),
    Mutant(PAY, ".sum(-1)", ".mean(-1)", "by hand", "averaged over joints"),
    Mutant(PAY, "square().sum(-1)", "norm(dim=-1)", "by hand", "|a| stands"),
    Mutant(PAY, ".square()", ".abs()", "by hand", "absolute actions"),
    Mutant(PAY, "0.05 * ", "", "by hand", "0.05 of the effort is missing"),
    Mutant(PAY, "0.05", "0.5", "by hand", "is 0.05"),
    Mutant(PAY, f"return {REWARD}", "return -missed", "by hand", "effort is missing"),
    Mutant(PAY, "-missed - 0.05", "-missed + 0.05", "by hand", "it costs"),
    Mutant(PAY, "-missed - 0.05", "missed - 0.05", "by hand", "sign of |v - v*|"),
    Mutant(PAY, ".abs()", ".square()", "by hand", "squared"),
    Mutant(PAY, "(velocity - speeds[:, None]).abs()", "velocity.abs()", "by hand", "standing"),
    Mutant(PAY, "-missed -", "(velocity - speeds[:, None]) -", "by hand", "too slow is as wrong"),
    Mutant(
        PAY,
        f"return {REWARD}",
        f"return ({REWARD}).sum()",
        "shape",
        "one number is left: a sum, mean or maximum",
    ),
    Mutant(
        PAY,
        f"return {REWARD}",
        f"return ({REWARD}).float()",
        "dtype",
        "float32 comes from .float(), or from",
    ),
    Mutant(PAY, "(after - before)", "after.sub_(before)", "inputs untouched", "in place"),
    Mutant(PAY, f"return {REWARD}", f"{REWARD}", "type", "return is missing"),
    Mutant(SEE, SEEN, "torch.cat([qpos, qvel], -1)", "shape", "the place x"),
    Mutant(SEE, SEEN, "torch.cat([qpos[:, 1:], qvel[:, 1:]], -1)", "shape", "first velocity"),
    Mutant(SEE, "qpos[:, 1:]", "qpos[:, :-1]", "by hand", "x is the first"),
    Mutant(SEE, SEEN, "torch.cat([qvel, qpos[:, 1:]], -1)", "by hand", "velocities come first"),
    Mutant(SEE, f"return {SPLIT}", "return seen", "shape", "not split"),
    Mutant(SEE, SEEN, "qpos[:, 1:]", "shape", "velocities are missing"),
    Mutant(
        SEE,
        SPLIT,
        "seen.unflatten(0, (-1, num_tasks)).transpose(0, 1)",
        "by hand",
        "episode by episode",
    ),
    Mutant(SEE, SPLIT, f"{SPLIT}.transpose(0, 1)", "shape", "changed places"),
    Mutant(SEE, "qpos[:, 1:]", "qpos[1:]", "runs"),
    Mutant(SEE, SPLIT, f"{SPLIT}.float()", "dtype", "float32"),
    Mutant(
        DEAL,
        DEALT,
        "values.repeat(num_episodes, *[1] * (values.ndim - 1))",
        "by hand",
        "0, 1, 2, 0, 1, 2",
    ),
    Mutant(DEAL, DEALT, "torch.cat([values] * num_episodes)", "by hand", "task by task"),
    Mutant(
        DEAL,
        DEALT,
        "values[:, None].expand(-1, num_episodes, *values.shape[1:])",
        "shape",
        "flatten(0, 1)",
    ),
    Mutant(
        DEAL,
        DEALT,
        "values.expand(num_episodes, *values.shape)",
        "shape",
        "follows the tasks",
    ),
    Mutant(DEAL, "dim=0", "dim=-1", "shape", "last dimension"),
    Mutant(DEAL, ", dim=0", "", "shape", "without dim=0"),
    Mutant(DEAL, DEALT, "values.repeat(num_episodes)", "runs"),
    Mutant(MEAN, "going, rewards", "going | True, rewards", "by hand", "all steps count"),
    Mutant(MEAN, "over.cumsum(-1) - over", "over.cumsum(-1)", "by hand", "step that ends"),
    Mutant(MEAN, GOING, "over == 0", "by hand", "stays over"),
    Mutant(
        MEAN,
        GOING,
        "torch.cat([0 * over[..., :1], over[..., :-1]], -1) == 0",
        "random values",
        "shifted by one",
    ),
    Mutant(MEAN, "- over == 0", "- over > 0", "by hand", "AFTER the end"),
    Mutant(MEAN, ".sum(-1).mean(-1)", ".sum(-1) / 1", "shape", "not averaged"),
    Mutant(MEAN, ".sum(-1).mean(-1)", ".sum((-1, -2))", "by hand", "episodes are summed"),
    Mutant(MEAN, ".sum(-1).mean(-1)", ".mean(-1).mean(-1)", "by hand", "averaged over T"),
    Mutant(MEAN, ".sum(-1).mean(-1)", ".sum(-1).mean()", "shape", "tasks are averaged"),
    Mutant(
        MEAN,
        ".sum(-1).mean(-1)",
        ".sum((-1, -2)) / going.sum((-1, -2))",
        "by hand",
        "all steps of a task",
    ),
    Mutant(
        MEAN,
        SUMMED,
        "(torch.where(going, rewards, 0.0).sum(-1) / going.sum(-1)).mean(-1)",
        "by hand",
        "steps are averaged",
    ),
    Mutant(
        MEAN,
        SUMMED,
        "((torch.where(going, rewards, 0.0).sum(-1) * over.amax(-1)).sum(-1)"
        " / over.amax(-1).sum(-1))",
        "by hand",
        "only episodes that end",
    ),
    Mutant(MEAN, SUMMED, "(going * rewards).sum(-1).mean(-1)", "anything after the end", "0 * nan"),
    Mutant(MOMENTS, "observations[mask > 0]", "observations.flatten(0, 2)", "by hand", "ignored"),
    Mutant(MOMENTS, f" + {SHIFT}", "", "by hand", "shift between the two means is missing"),
    Mutant(MOMENTS, "apart.square()", "apart", "by hand", "not squared"),
    Mutant(MOMENTS, SHIFT, "apart.square() * n", "by hand", "weighted with n instead"),
    Mutant(MOMENTS, SHIFT, "apart.square() * len(seen)", "by hand", "with n' instead"),
    Mutant(MOMENTS, " * n * len(seen) / total", " * n / total", "by hand", "lacks the count"),
    Mutant(
        MOMENTS, "mean + apart * len(seen) / total", "mean + apart / 2", "random values", "avera"
    ),
    Mutant(MOMENTS, "mean + apart * len(seen) / total", "mean + apart", "by hand", "the whole way"),
    Mutant(MOMENTS, "apart * len(seen) / total", "apart * n / total", "random values", "not n / n"),
    Mutant(MOMENTS, "mean + apart", "mean - apart", "by hand", "off by a sign"),
    Mutant(
        MOMENTS,
        JOINED,
        f"torch.stack([total, joined, (squares + own + {SHIFT}) / total])",
        "by hand",
        "variances",
    ),
    Mutant(
        MOMENTS,
        JOINED,
        f"torch.stack([total, joined, ((squares + own + {SHIFT}) / total).sqrt()])",
        "by hand",
        "standard deviations",
    ),
    Mutant(MOMENTS, OWN, "seen.square().sum(0)", "by hand", "own S holds o^2"),
    Mutant(
        MOMENTS,
        JOINED,
        f"torch.stack([0 * total + len(seen), joined, squares + own + {SHIFT}])",
        "by hand",
        "count is that of the new",
    ),
    Mutant(
        MOMENTS,
        JOINED,
        "torch.stack([0 * total + len(seen), seen.mean(0), own])",
        "by hand",
        "forgotten",
    ),
    Mutant(MOMENTS, JOINED, f"torch.stack([total, joined, {NAIVE}])", "far from zero", "digits"),
    Mutant(
        MOMENTS,
        "observations[mask > 0]",
        "observations[mask > 0] + 0 * observations.sum()",
        "anything in padding",
        "0 * nan",
    ),
    Mutant(
        MOMENTS,
        JOINED,
        f"(total, joined, squares + own + {SHIFT})",
        "type",
        "torch.stack makes one tensor of a list of",
    ),
    Mutant(
        MOMENTS,
        "n, mean, squares = moments",
        "n, mean, squares = moments; n += 1",
        "inputs untouched",
        "in place",
    ),
    Mutant(HEAD, f"return {STEP}", f"return {STEP} - weights", "by hand", "change alone"),
    Mutant(HEAD, "weights + torch", "weights - torch", "by hand", "climbed"),
    Mutant(HEAD, ".mT / lam", ".mT", "by hand", "1 / lam is missing"),
    Mutant(HEAD, ".mT / lam", ".mT * lam", "by hand", "multiplied by lam"),
    Mutant(HEAD, "spread + ridge * eye", "spread", "runs", "singular"),
    Mutant(HEAD, "ridge * eye", "1e-9 * eye", "by hand", "the ridge is missing"),
    Mutant(HEAD, "ridge * eye", "ridge", "random values", "diagonal"),
    Mutant(HEAD, "ridge * eye", "ridge / lam * eye", "by hand", "alike"),
    Mutant(HEAD, "ridge * eye", "ridge * lam * eye", "by hand", "once more"),
    Mutant(HEAD, "advantages[..., None] * ", "", "by hand", "advantages are missing"),
    Mutant(HEAD, "actions - features @ weights.mT", "actions", "random values", "noise a - W h"),
    Mutant(
        HEAD,
        "actions - features @ weights.mT",
        "features @ weights.mT - actions",
        "by hand",
        "a - W h is negated",
    ),
    Mutant(
        HEAD,
        "torch.linalg.solve(spread + ridge * eye, pushed)",
        "pushed",
        "by hand",
        "plain gradient",
    ),
    Mutant(
        HEAD,
        "(advantages[..., None] * noise) / num_samples",
        "(advantages[..., None] * noise)",
        "by hand",
        "right-hand side is a sum",
    ),
    Mutant(HEAD, SPREAD, "features.mT @ features", "by hand", "C is a sum"),
    Mutant(HEAD, " / num_samples", "", "by hand", "both are sums"),
    Mutant(HEAD, SPREAD, f"({SPREAD}).mean(0)", "random values", "all tasks together"),
    Mutant(HEAD, ".mT / lam", " / lam", "runs", "shapes do not fit: print x.shape before"),
    Mutant(HEAD, ", dtype=features.dtype", "", "random values", "float32"),
    Mutant(
        HEAD, f"return {STEP}", f"return ({STEP}).mT", "shape", "dimensions have changed places: a"
    ),
    Mutant(AMDAHL, f"return {RATIO}", "return (seconds / factors).sum(-1)", "by hand", "are left"),
    Mutant(
        AMDAHL,
        f"return {RATIO}",
        "return (seconds / factors).sum(-1) / seconds.sum()",
        "by hand",
        "its inverse",
    ),
    Mutant(
        AMDAHL,
        f"return {RATIO}",
        "return (seconds / seconds.sum() * factors).sum(-1)",
        "by hand",
        "factors are averaged by their seconds: time",
    ),
    Mutant(
        AMDAHL,
        f"return {RATIO}",
        "return len(seconds) / (1 / factors).sum(-1)",
        "by hand",
        "counts alike",
    ),
    Mutant(AMDAHL, "seconds / factors", "seconds * factors", "by hand", "takes less"),
    Mutant(AMDAHL, "seconds.sum() /", "seconds.sum() -", "by hand", "time that is saved"),
    Mutant(AMDAHL, f"return {RATIO}", f"return 1 - 1 / ({RATIO})", "by hand", "share of time"),
    Mutant(AMDAHL, ".sum(-1)", ".sum()", "shape", "scenarios are added"),
    Mutant(
        AMDAHL,
        "(seconds / factors).sum(-1)",
        "(seconds / factors)",
        "shape",
        "a dimension is left over",
    ),
    Mutant(
        AMDAHL,
        f"return {RATIO}",
        "return seconds.sum() / factors.reciprocal_().mul_(seconds).sum(-1)",
        "inputs untouched",
        "in place",
    ),
    Mutant(BUDGET, PICKED, "returns[:, -1]", "by hand", "whatever it cost"),
    Mutant(BUDGET, PICKED, "returns[:, affordable.min()]", "by hand", "as the dearest affords"),
    Mutant(
        BUDGET,
        PICKED,
        "returns[:, min(budget // int(horizon * episodes[:, 0].max()), episodes.shape[1])]",
        "by hand",
        "as many adaptations",
    ),
    Mutant(
        BUDGET,
        PICKED,
        "torch.stack([r[: k + 1].max() for r, k in zip(returns, affordable)])",
        "random values",
        "best return so far",
    ),
    Mutant(
        BUDGET,
        "affordable[:, None]",
        "(affordable + 1).clamp(max=returns.shape[1] - 1)[:, None]",
        "by hand",
        "breaks the budget",
    ),
    Mutant(
        BUDGET,
        "affordable[:, None]",
        "(affordable - 1).clamp(min=0)[:, None]",
        "by hand",
        "begin with adaptation 0",
    ),
    Mutant(BUDGET, "<=", "<", "by hand", "just pays for"),
    Mutant(BUDGET, ".cumsum(-1)", "", "by hand", "costs add up"),
    Mutant(BUDGET, "horizon * ", "", "by hand", "episodes x horizon"),
    Mutant(BUDGET, f"return {PICKED}", "return affordable.double()", "by hand", "how many"),
    Mutant(BUDGET, PICKED, f"{PICKED}.max()", "shape", "best is returned"),
    Mutant(BUDGET, "[:, 0]", "", "shape", "a dimension of size 1 is there or missing:"),
    Mutant(
        BUDGET,
        f"return {PICKED}",
        "return affordable",
        "dtype",
        ".double() makes float64 of truth values and",
    ),
    Mutant(PAY, f"return {REWARD}", f"return -({REWARD})", "by hand", "sign of all"),
    Mutant(
        PAY,
        "velocity - speeds",
        "velocity.abs() - speeds",
        "random values",
        "without its direction",
    ),
    Mutant(
        PAY,
        f"return {REWARD}",
        f"return step_seconds * ({REWARD})",
        "by hand",
        "multiplied by step_seconds",
    ),
    Mutant(SEE, SPLIT, "seen.reshape(num_tasks, seen.shape[1], -1)", "shape", "changed places"),
    Mutant(SEE, f"return {SPLIT}", f"return {SPLIT}.mean(1)", "shape", "a dimension is missing"),
    Mutant(DEAL, f"return {DEALT}", f"return list({DEALT})", "type", "torch.stack"),
    Mutant(DEAL, DEALT, f"{DEALT}.float()", "dtype", "float32"),
    Mutant(MEAN, ".sum(-1).mean(-1)", ".sum(-1).mean(0)", "shape", "mean is over tasks"),
    Mutant(MEAN, ".sum(-1).mean(-1)", ".sum(-1).amax(-1)", "by hand", "largest return"),
    Mutant(MEAN, "over.cumsum(-1) - over == 0", "over.cumsum(1) - over == 0", "by hand", None),
    Mutant(MOMENTS, OWN, "seen.var(0)", "random values", "n' - 1"),
    Mutant(MOMENTS, OWN, "seen.var(0) * len(seen)", "by hand", "divides by n' - 1"),
    Mutant(MOMENTS, OWN, "seen.var(0, correction=0)", "by hand", "its variance"),
    Mutant(MOMENTS, "squares + own +", "own +", "by hand", "old S is missing"),
    Mutant(MOMENTS, "squares + own +", "squares +", "by hand", "own S is missing"),
    Mutant(MOMENTS, "n + len(seen)", "n + mask.numel()", "by hand", None),
    Mutant(
        HEAD,
        "noise = ",
        "advantages = (advantages - advantages.mean(1, keepdim=True)) / advantages.std(1, keepdim=True)\n    noise = ",  # noqa: E501
        "by hand",
        "normalised",
    ),
    Mutant(
        HEAD,
        "num_samples, size = features.shape[1:]",
        "num_samples, size = features.shape[0], features.shape[2]",
        "by hand",
        "over tasks, N",
    ),
    Mutant(HEAD, "ridge * eye", "eye", "random values", "whatever rho is"),
    Mutant(
        HEAD,
        SPREAD,
        "features.mT @ (advantages[..., None] * features) / num_samples",
        "by hand",
        "weigh C",
    ),
    Mutant(AMDAHL, f"return {RATIO}", "return factors.mean(-1)", "by hand", "time adds up"),
    Mutant(
        AMDAHL,
        f"return {RATIO}",
        "return (seconds * factors).sum(-1) / seconds.sum()",
        "by hand",
        "by their seconds",
    ),
    Mutant(AMDAHL, f"return {RATIO}", "return factors.prod(-1)", "by hand", "multiplied"),
    Mutant(
        AMDAHL,
        f"return {RATIO}",
        "return factors.log().mean(-1).exp()",
        "by hand",
        "the geometric mean is taken: time adds up,",
    ),
    Mutant(
        BUDGET,
        PICKED,
        "torch.stack([r[: k + 1].mean() for r, k in zip(returns, affordable)])",
        "by hand",
        "up to there are averaged",
    ),
    Mutant(BUDGET, f"return {PICKED}", INTERPOLATED, "by hand", "interpolated"),
    Mutant(
        PAY,
        ".square().sum(-1)",
        ".square().sum()",
        "by hand",
        "the effort is summed over tasks and episodes too: every simulation pays its own",
    ),
    Mutant(
        PAY,
        ".square().sum(-1)",
        ".square().sum((-1, -2))[:, None]",
        "by hand",
        "the effort is summed over the episodes of a task too: every simulation pays its own",
    ),
    Mutant(
        DEAL,
        "num_episodes, dim",
        "len(values), dim",
        "shape",
        "every row is repeated N times: B, the number of episodes, is asked for",
    ),
    Mutant(
        DEAL,
        DEALT,
        "torch.cat([values] * len(values))",
        "shape",
        "rows are tiled N times: repeat each one B times, the number of episodes",
    ),
    Mutant(
        DEAL,
        DEALT,
        "values[torch.arange(len(values) * num_episodes) // len(values)]",
        "runs",
        "past the tasks: row m belongs to task m // B, and B is the number of episodes",
    ),
    Mutant(
        MEAN,
        "going = over.cumsum(-1) - over == 0",
        "ended = over.cumsum(-1) - over > 0\n"
        "    going = ~torch.cat([ended[..., :1], ended[..., :-1]], -1)",
        "by hand",
        "one step after the end is counted, too: over is 1 at the last step that counts",
    ),
    Mutant(
        MEAN,
        "going = over.cumsum(-1) - over == 0",
        "after = over.flip(-1).cumsum(-1).flip(-1)\n"
        "    going = torch.logical_or(after > 0, over.sum(-1, keepdim=True) == 0)",
        "random values",
        "steps count up to the LAST over: an episode ends at its first",
    ),
    Mutant(
        MOMENTS,
        "seen = observations[mask > 0]",
        "seen = (observations * mask[..., None]).reshape(-1, observations.shape[-1])",
        "by hand",
        "observations times the mask are zeros, and those zeros count: select with mask > 0",
    ),
    Mutant(
        MOMENTS,
        "seen = observations[mask > 0]\n"
        "    n, mean, squares = moments\n"
        "    total = n + len(seen)\n"
        "    apart = seen.mean(0) - mean\n"
        "    joined = mean + apart * len(seen) / total\n"
        "    own = (seen - seen.mean(0)).square().sum(0)\n"
        "    return torch.stack([total, joined, squares + own + apart.square() * n * "
        "len(seen) / total])",
        "counts, count = mask.unsqueeze(-1), mask.sum()\n"
        "    n, mean, squares = moments\n"
        "    fresh = (observations * counts).mean((0, 1, 2))\n"
        "    total, apart = n + count, fresh - mean\n"
        "    joined = mean + apart * count / total\n"
        "    own = ((observations - fresh).square() * counts).sum((0, 1, 2))\n"
        "    return torch.stack([total, joined, squares + own + apart.square() * n * "
        "count / total])",
        "by hand",
        "the new mean is a mean over N B T, padding included: divide by the sum of the mask",
    ),
    Mutant(
        MOMENTS,
        "seen = observations[mask > 0]\n"
        "    n, mean, squares = moments\n"
        "    total = n + len(seen)\n"
        "    apart = seen.mean(0) - mean\n"
        "    joined = mean + apart * len(seen) / total\n"
        "    own = (seen - seen.mean(0)).square().sum(0)\n"
        "    return torch.stack([total, joined, squares + own + apart.square() * n * "
        "len(seen) / total])",
        "counts, count = mask.unsqueeze(-1), mask.numel()\n"
        "    n, mean, squares = moments\n"
        "    fresh = (observations * counts).mean((0, 1, 2))\n"
        "    total, apart = n + count, fresh - mean\n"
        "    joined = mean + apart * count / total\n"
        "    own = ((observations - fresh).square() * counts).sum((0, 1, 2))\n"
        "    return torch.stack([total, joined, squares + own + apart.square() * n * "
        "count / total])",
        "by hand",
        "n' is N B T: the sum of the mask is how many count",
    ),
    Mutant(
        MOMENTS,
        "seen = observations[mask > 0]\n"
        "    n, mean, squares = moments\n"
        "    total = n + len(seen)\n"
        "    apart = seen.mean(0) - mean\n"
        "    joined = mean + apart * len(seen) / total\n"
        "    own = (seen - seen.mean(0)).square().sum(0)\n"
        "    return torch.stack([total, joined, squares + own + apart.square() * n * "
        "len(seen) / total])",
        "counts, count = mask.unsqueeze(-1), mask.numel()\n"
        "    n, mean, squares = moments\n"
        "    fresh = (observations * counts).sum((0, 1, 2)) / mask.sum()\n"
        "    total, apart = n + count, fresh - mean\n"
        "    joined = mean + apart * count / total\n"
        "    own = ((observations - fresh).square() * counts).sum((0, 1, 2))\n"
        "    return torch.stack([total, joined, squares + own + apart.square() * n * "
        "count / total])",
        "by hand",
        "n' is N B T in the count and in all weights: the sum of the mask is how many count",
    ),
    Mutant(
        MOMENTS,
        "seen = observations[mask > 0]\n"
        "    n, mean, squares = moments\n"
        "    total = n + len(seen)\n"
        "    apart = seen.mean(0) - mean\n"
        "    joined = mean + apart * len(seen) / total\n"
        "    own = (seen - seen.mean(0)).square().sum(0)\n"
        "    return torch.stack([total, joined, squares + own + apart.square() * n * "
        "len(seen) / total])",
        "counts, count = mask.unsqueeze(-1), mask.sum()\n"
        "    n, mean, squares = moments\n"
        "    fresh = (observations * counts).sum((0, 1, 2)) / mask.sum()\n"
        "    total, apart = n + count, fresh - mean\n"
        "    joined = mean + apart * count / total\n"
        "    own = (observations * counts - fresh).square().sum((0, 1, 2))\n"
        "    return torch.stack([total, joined, squares + own + apart.square() * n * "
        "count / total])",
        "by hand",
        "padding adds deviations of 0 from the mean to S: multiply the DEVIATIONS by the mask",
    ),
    Mutant(
        MOMENTS,
        "(seen - seen.mean(0)).square()",
        "(seen - mean).square()",
        "by hand",
        "the portion's own deviations are taken from the old mean: take them from its own",
    ),
    Mutant(
        HEAD,
        ".mT / lam",
        ".mT / (2 * lam)",
        "by hand",
        "the step is half as long: the divergence holds a 1/2 that its slope cancels",
    ),
    Mutant(
        HEAD,
        ".mT / lam",
        ".mT * 2 / lam",
        "by hand",
        "the step is twice as long: 1 / lam, the 1/2 of the divergence is gone by then",
    ),
    Mutant(
        HEAD,
        "spread + ridge * eye",
        "spread * eye + ridge * eye",
        "random values",
        "only the diagonal of C is used",
    ),
    Mutant(
        AMDAHL,
        RATIO,
        "100 * seconds.sum() / (seconds / factors).sum(-1)",
        "by hand",
        "that is in percent: a factor is asked for",
    ),
    Mutant(
        AMDAHL,
        RATIO,
        "100 * (seconds.sum() / (seconds / factors).sum(-1) - 1)",
        "by hand",
        "that is how many percent faster it is: a factor is asked for",
    ),
    Mutant(
        AMDAHL,
        RATIO,
        "100 * (1 - (seconds / factors).sum(-1) / seconds.sum())",
        "by hand",
        "that is the percentage of time that is saved: a factor is asked for",
    ),
    Mutant(
        AMDAHL,
        RATIO,
        "seconds.sum() / (seconds / factors).sum(-1) - 1",
        "by hand",
        "1 is subtracted: twice as fast is a factor of 2",
    ),
    Mutant(
        AMDAHL,
        "seconds / factors",
        "seconds / factors.where(factors.isfinite(), 1.0)",
        "by hand",
        "inf is taken as 1: a part that is free takes no time",
    ),
    Mutant(
        AMDAHL,
        "return seconds.sum() / (seconds / factors).sum(-1)",
        "kept = seconds * factors.isfinite()\n    return kept.sum(-1) / (kept / factors).sum(-1)",
        "by hand",
        "a part that is free is left out before, too: its seconds are what is saved",
    ),
    Mutant(
        BUDGET,
        "return returns.gather(-1, affordable[:, None])[:, 0]",
        "return returns[:, affordable.max()]",
        "by hand",
        "all protocols are judged after as many adaptations as the cheapest affords",
    ),
    Mutant(
        BUDGET,
        "return returns.gather(-1, affordable[:, None])[:, 0]",
        "return returns[:, affordable[0]]",
        "by hand",
        "all protocols are judged after as many adaptations as the first one affords",
    ),
    Mutant(
        BUDGET,
        "cumsum(-1)",
        "cumsum(0)",
        "by hand",
        "costs are added up over protocols: every protocol pays for its own collections",
    ),
    Mutant(
        BUDGET,
        "episodes.cumsum(-1)",
        "episodes[:, :1] * torch.arange(1, episodes.shape[1] + 1)",
        "random values",
        "every collection is taken to cost as much as the first",
    ),
    Mutant(
        BUDGET,
        "episodes.cumsum(-1)",
        "episodes.double().mean(-1, keepdim=True) * torch.arange(1, episodes.shape[1] + 1)",
        "random values",
        "every collection is taken to cost as much as they do on average",
    ),
)
