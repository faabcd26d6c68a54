"""Answers to exercise set 06: the solutions of the source, and wrong ones made from them."""

from functools import cache
from pathlib import Path

import jupytext
import torch
from answers_01 import Mutant

SOURCE = Path(__file__).parents[1] / "exercises" / "src" / "06_gpu_locomotion.py"


def read_solutions() -> dict[str, str]:
    """Return the code of every exercise cell, by the function's name."""
    cells = jupytext.read(SOURCE, fmt="py:percent").cells
    code = [cell.source for cell in cells if "exercise" in cell.metadata.get("tags", ())]
    return {text.partition("def ")[2].partition("(")[0]: text for text in code}


SOLUTIONS = read_solutions()


@cache
def all_solutions() -> dict:
    """Run every solution once and return the names that they define."""
    namespace: dict = {"torch": torch}
    for code in SOLUTIONS.values():
        exec(code, namespace)
    return namespace


def solve(name: str, old: str = "", new: str = ""):
    """Return the solution ``name`` with ``old`` replaced by ``new``; the others stay right."""
    assert old in SOLUTIONS[name], f"{name} does not hold {old!r}"
    if not old:
        return all_solutions()[name]
    exec(SOLUTIONS[name].replace(old, new), own := {**all_solutions()})
    return own[name]


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
COUNT = "(horizon * episodes.cumsum(-1) <= budget).sum(-1)"
PICKED = "returns.gather(-1, affordable[:, None])[:, 0]"

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
    Mutant(PAY, f"return {REWARD}", f"return ({REWARD}).sum()", "shape"),
    Mutant(PAY, f"return {REWARD}", f"return ({REWARD}).float()", "dtype"),
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
    Mutant(MOMENTS, OWN, "seen.square().sum(0)", "by hand"),
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
    Mutant(MOMENTS, JOINED, f"(total, joined, squares + own + {SHIFT})", "type"),
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
    Mutant(HEAD, ".mT / lam", " / lam", "runs"),
    Mutant(HEAD, ", dtype=features.dtype", "", "random values", "float32"),
    Mutant(HEAD, f"return {STEP}", f"return ({STEP}).mT", "shape"),
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
    Mutant(AMDAHL, "(seconds / factors).sum(-1)", "(seconds / factors)", "shape"),
    Mutant(
        AMDAHL,
        f"return {RATIO}",
        "return seconds.sum() / factors.reciprocal_().mul_(seconds).sum(-1)",
        "inputs untouched",
        "in place",
    ),
    Mutant(BUDGET, PICKED, "returns[:, -1]", "by hand", "whatever it cost"),
    Mutant(BUDGET, PICKED, "returns[:, affordable.min()]", "by hand"),
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
    Mutant(BUDGET, "[:, 0]", "", "shape"),
    Mutant(BUDGET, f"return {PICKED}", "return affordable", "dtype"),
)
