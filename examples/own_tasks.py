"""A task family of your own: walk to a goal on an ellipse. Train, evaluate, export, load.

python examples/own_tasks.py runs/ellipse
"""

import math
import sys
from pathlib import Path

import torch

import bomrl_lite as bl
from bomrl_lite.tasks.navigation import Goals, PointSimulator, dense_reward
from bomrl_lite.training.evaluate import evaluate_run
from bomrl_lite.types import Split, Tasks


def ellipse_goals(num_tasks: int, generator: torch.Generator, split: Split) -> Goals:
    """Draw goals on an ellipse of ten sectors; the test split has every other one."""
    sector = 2 * torch.randint(5, (num_tasks,), generator=generator) + (split == "test")
    angle = math.tau * (sector + torch.rand(num_tasks, generator=generator)) / 10
    return Goals(torch.stack([angle.cos(), 0.5 * angle.sin()], dim=-1))


def points(tasks: Goals, num_episodes: int, horizon: int | None = None) -> PointSimulator:
    """Simulate points that walk to the goals."""
    return PointSimulator(tasks, num_episodes, horizon, dense_reward)


ELLIPSE = Tasks(
    name="mine/ellipse",
    summary="a goal on an ellipse",
    sample=ellipse_goals,
    simulator=points,
    gamma=0.99,
    horizon=30,
    observation_size=2,
    action_size=2,
    discrete=False,
)
bl.register_tasks(ELLIPSE)  # a process that loads a run of it does so too: --import own_tasks

if __name__ == "__main__":
    out = Path(sys.argv[1])
    config = bl.configure("bomrl_head", tasks="mine/ellipse", iterations=15, num_tasks=10)
    state = bl.meta_train(config, out=out, resume=True)
    print(f"return after adaptation: {state.history[-1]['return_after']:.2f}")
    rows = [row for row in evaluate_run(out, num_steps=1) if row["split"] == "test"]
    for prior in ("untrained", "bomrl_head"):
        values = [float(r["return"]) for r in rows if (r["prior"], r["step"]) == (prior, 1)]
        print(f"held-out goals, {prior}: {sum(values) / len(values):.2f}")
    bl.save_policy(config, state, out / "policy.pt")
