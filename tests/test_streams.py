"""No two purposes of two seeds draw the same numbers, and nothing is seeded past the rule."""

import ast
from pathlib import Path

import pytest
import torch

import bomrl_lite as bl
from bomrl_lite.require import MOST_SEED
from bomrl_lite.training.streams import OWN, STREAMS, seeded

ROOT = Path(__file__).parents[1]
PURPOSES = [*STREAMS, *OWN]


def first_draws(generator: torch.Generator) -> tuple[int, ...]:
    return tuple(torch.randint(2**62, (2,), generator=generator).tolist())


def test_no_two_of_all_seeds_and_purposes_share_a_stream():
    """The seeds of runs, of tunings, and those whose bits are few or many."""
    powers = {2**k + d for k in range(3, 28) for d in (-1, 0, 1)}
    seeds = sorted({*range(300), *range(1_000_000, 1_000_050), *powers, MOST_SEED})
    drawn = {
        (seed, purpose): first_draws(seeded(seed, purpose))
        for seed in seeds
        for purpose in PURPOSES
    }
    assert len(set(drawn.values())) == len(drawn) == 16 * len(seeds)


def test_the_largest_seed_is_the_last_that_torch_tells_apart():
    """torch 2.13 reads the lowest 32 bits of a seed: the next seed would be seed 0 again."""
    past = torch.Generator().manual_seed(16 * (MOST_SEED + 1) + STREAMS["tasks"])
    assert first_draws(past) == first_draws(seeded(0, "tasks"))
    with pytest.raises(ValueError, match=f"seed must be at most {MOST_SEED}"):
        seeded(MOST_SEED + 1, "tasks")


@pytest.mark.parametrize("number", [0, 4, 14, 15, 16, 100])
def test_a_number_of_a_purpose_or_of_the_next_seed_is_refused(number):
    with pytest.raises(ValueError, match=rf"a number from 5 to 13, got {number}: another would"):
        seeded(0, number)


def test_training_evaluation_and_diagnosis_keep_to_theirs(monkeypatch):
    """What each step of a run and its evaluation asks for, seed and purpose."""
    asked = []

    def noted(seed, purpose):
        asked.append((seed, purpose))
        return seeded(seed, purpose)

    for module in ("episodes", "exact", "evaluate", "objective"):
        monkeypatch.setattr(f"bomrl_lite.training.{module}.seeded", noted)
    small = {"num_tasks": 2, "num_episodes": 2, "horizon": 3, "hidden": (4,), "iterations": 2}
    bl.meta_train(
        bl.configure("promp", tasks="navigation/circle", seed=2, diagnose_every=1, **small)
    )
    assert asked == [(2, "episodes"), (2, "diagnosis"), (2, "diagnosis")]


SEEDED_ELSEWHERE = {
    "tasks/probes.py",  # a seed drawn from the generator that it was given
    "tasks/gymnasium_envs.py",  # gymnasium's own argument
    "training/episodes.py",  # a GPU's generator, seeded by the processor's
}


def seeds_by_hand(path: Path) -> list[int]:
    """Lines that seed a generator with something else than a written number."""
    calls = [n for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.Call)]
    return [
        call.lineno
        for call in calls
        if isinstance(call.func, ast.Attribute)
        and call.func.attr == "manual_seed"
        and not all(isinstance(a, ast.Constant) for a in call.args)
    ]


def test_library_and_lessons_seed_by_the_one_rule():
    library = ROOT / "bomrl_lite"
    allowed = {library / name for name in SEEDED_ELSEWHERE} | {library / "training/streams.py"}
    found = {
        str(path.relative_to(ROOT)): lines
        for folder in (library, ROOT / "notebooks/src")
        for path in folder.rglob("*.py")
        if path not in allowed and (lines := seeds_by_hand(path))
    }
    assert not found, f"use bomrl_lite.training.streams.seeded: {found}"
    assert all(seeds_by_hand(path) for path in allowed), "the list names a file without need"
