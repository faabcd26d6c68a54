import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.envs.toy_text.frozen_lake import MAPS, generate_random_map

from bomrl_lite import mdp
from bomrl_lite.tasks import frozen_lake as lakes
from bomrl_lite.tasks import make_tasks
from bomrl_lite.training.metrics import optimal_returns

EVERY_MAP = [*MAPS.values(), *(generate_random_map(size, 0.7, seed=size) for size in (2, 3, 5, 9))]


def gymnasium_tables(lake_map, **kind):
    """Transitions, rewards and start of gymnasium's own environment, from its public table P."""
    env = gymnasium.make("FrozenLake-v1", desc=list(lake_map), **kind).unwrapped
    transition = np.zeros((env.observation_space.n, 4, env.observation_space.n))
    reward = np.zeros(transition.shape[:2])
    for s, actions in env.P.items():
        for a, outcomes in actions.items():
            for chance, following, paid, _ in outcomes:
                transition[s, a, following] += chance
                reward[s, a] += chance * paid
    return transition, reward, env.initial_state_distrib


ICE = {
    "firm": ({"is_slippery": False}, 1.0),
    "default": ({}, 1 / 3),
    "0.5": ({"success_rate": 0.5}, 0.5),
    "0.8": ({"success_rate": 0.8}, 0.8),
    "0": ({"success_rate": 0.0}, 0.0),
}


@pytest.mark.parametrize("ice", ICE)
@pytest.mark.parametrize("lake_map", EVERY_MAP, ids=lambda m: f"{len(m)}x{len(m[0])}")
def test_equals_gymnasium_exactly(lake_map, ice):
    kind, success_rate = ICE[ice]
    task = lakes.lake_task(lake_map, lakes.GYMNASIUM._replace(success_rate=success_rate))
    transition, reward, start = gymnasium_tables(lake_map, **kind)
    np.testing.assert_array_equal(task.transition, transition)
    np.testing.assert_array_equal(task.reward, reward)
    np.testing.assert_array_equal(task.start, start)


def test_equals_gymnasium_with_other_rewards():
    rules = lakes.GYMNASIUM._replace(goal_reward=5.0, hole_reward=-2.0)
    task = lakes.lake_task(MAPS["8x8"], rules)
    tables = gymnasium_tables(MAPS["8x8"], reward_schedule=(5, -2, 0))
    np.testing.assert_array_equal(task.reward, tables[1])


def test_a_wide_map_keeps_its_walls():
    task = lakes.lake_task(("SFFFG",), lakes.COSTS)
    tables = gymnasium_tables(("SFFFG",), is_slippery=False)
    np.testing.assert_array_equal(task.transition, tables[0])


def test_holes_and_goals_of_the_published_rules():
    """Entered tiles pay; absorbing ones go on paying (research protocol of Xu and Zhu)."""
    holes, costs = (
        lakes.lake_task(("SHG",), rules)
        for rules in (lakes.HOLES._replace(absorbing="G"), lakes.COSTS)
    )
    assert holes.reward[0].tolist() == [0.0, 0.0, -1.0, 0.0]
    assert costs.reward[0].tolist() == [0.0, 0.0, -0.5, 0.0]
    assert costs.reward[1].tolist() == [0.0, -0.5, 1.0, -0.5]
    assert costs.reward[2].tolist() == [1.0] * 4
    absorbed = lakes.lake_task(("SHF", "FFG"), lakes.HOLES)
    assert absorbed.reward[1].tolist() == [-1.0] * 4
    assert (absorbed.transition[1, :, 1] == 1).all()


@pytest.mark.parametrize("family", ["holes", "costs"])
def test_optimum_of_the_published_lakes(family):
    """The shortest path has 6 steps: J* = gamma^5 / (1 - gamma) = 1.6384, 1.63831 in 49 steps."""
    distribution = make_tasks(f"frozen_lake/{family}-4x4")
    tasks = distribution.sample(20, torch.Generator().manual_seed(3), "train")
    torch.testing.assert_close(
        optimal_returns(tasks, 0.8),
        torch.full((20,), 0.8**5 / 0.2, dtype=torch.float64),
        rtol=1e-12,
        atol=0,
    )
    paid = sum(0.8**t for t in range(5, distribution.horizon))
    assert abs(paid - 1.63831) < 5e-6
    assert distribution.gamma == 0.8


def test_the_uniform_policy_earns_what_a_simulation_of_gymnasium_earns():
    """The published rules, played in gymnasium's environment: absorbing tiles pay from then on."""
    lake_map = ("SFFF", "FFFH", "FHFF", "HFFG")
    env = gymnasium.make("FrozenLake-v1", desc=list(lake_map), is_slippery=False)
    rng, returns = np.random.default_rng(0), []
    for _ in range(4000):
        env.reset()
        for t in range(49):
            state, _, done, _, _ = env.step(int(rng.integers(4)))
            if done:
                pays = 1.0 if state == 15 else -1.0
                returns.append(pays * sum(0.8**k for k in range(t, 49)))
                break
        else:
            returns.append(0.0)
    uniform = torch.full((16, 4), 0.25, dtype=torch.float64)
    exact = mdp.expected_return(uniform, lakes.lake_task(lake_map, lakes.HOLES), 0.8).item()
    error = np.std(returns) / np.sqrt(len(returns))
    assert abs(np.mean(returns) - exact) < 4 * error
    assert error < 0.02


def test_random_maps_are_solvable_with_ice_around_the_start(generator):
    for size in (3, 4, 8):
        for _ in range(50):
            lake_map = lakes.random_map(size, generator, ice=0.5)
            lakes.check_map(lake_map, lakes.HOLES)
            near = [lake_map[r][c] for r in range(size) for c in range(size) if r + c <= 2]
            assert "H" not in near


@pytest.mark.parametrize("family", list(lakes.FAMILIES))
def test_splits_share_no_map_and_seeds_repeat(family):
    def draw(seed, split):
        return lakes.sample_maps(family, 30, torch.Generator().manual_seed(seed), split)

    assert not set(draw(0, "train")) & set(draw(0, "test"))
    assert draw(1, "train") == draw(1, "train") != draw(2, "train")
    assert len(set(draw(0, "test"))) > 1


def test_a_longer_draw_begins_like_a_shorter_one():
    short, long = (
        lakes.sample_maps("frozen_lake/holes-4x4", n, torch.Generator().manual_seed(5))
        for n in (3, 9)
    )
    assert long[:3] == short


def test_families_differ_where_their_names_say():
    generator = torch.Generator().manual_seed(0)
    holes, costs, layouts, goals = (
        make_tasks(f"frozen_lake/{name}-8x8").sample(5, generator)
        for name in ("holes", "costs", "layouts", "goals")
    )
    assert holes.reward.min() == -1
    assert costs.reward.min() == -0.5
    assert layouts.reward.min() == 0
    assert (goals.reward.sum((1, 2)) > 0).all()
    assert holes.transition.max() == 1
    assert set(layouts.transition.unique().tolist()) > {0.0, 1.0}


def test_several_starts_are_equally_likely():
    task = lakes.lake_task(("SFS", "FSG"), lakes.COSTS)
    assert task.start.tolist() == pytest.approx([1 / 3, 0, 1 / 3, 0, 1 / 3, 0])


def test_an_open_lake_has_its_goal_on_every_tile_but_the_start(generator):
    drawn = {lakes.goal_map(3, generator) for _ in range(300)}
    by_hand = {"SFFFFFFFF"[:goal] + "G" + "F" * (8 - goal) for goal in range(1, 9)}
    assert drawn == {(rows[:3], rows[3:6], rows[6:]) for rows in by_hand}
