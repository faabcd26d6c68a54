"""The command tune: the method's own settings first, then Optuna's; stopped and gone on with."""

import pytest

import bomrl_lite as bl
from bomrl_lite.course import tuning
from bomrl_lite.course.tuning import TUNED, WIDTH, flags, tune

CONFIG = bl.configure(
    "bomrl_natural", num_tasks=2, num_episodes=3, horizon=5, hidden=(4,), iterations=2
)


@pytest.fixture
def valley(monkeypatch):
    """A score whose best lam is four times the usual, and a count of its calls."""
    calls = []

    def score(config):
        calls.append(config)
        return -abs(config.settings()["lam"] / CONFIG.settings()["lam"] - 4.0)

    monkeypatch.setattr(tuning, "score_of", score)
    return calls


def test_the_methods_own_settings_come_first_and_others_near_them(valley, tmp_path):
    lines = []
    found = tune(CONFIG, trials=12, seeds=2, out=tmp_path, show=lines.append)
    assert [config.seed for config in valley[:2]] == [1_000_000, 1_000_001]
    assert valley[0] == CONFIG.replace(seed=1_000_000)
    usual = CONFIG.settings()
    for config in valley:
        for name in TUNED:
            if usual.get(name):
                assert 1 / WIDTH - 1e-9 <= config.settings()[name] / usual[name] <= WIDTH + 1e-9
    assert found.usual == pytest.approx(-3.0)
    assert found.best > -1.0
    assert found.settings["lam"] == pytest.approx(4 * usual["lam"], rel=0.5)
    assert found.trials == len(lines) == 12
    assert f"--lam {found.settings['lam']:.3g}" in flags(CONFIG, found)


def test_a_search_goes_on_where_it_was_stopped(valley, tmp_path):
    tune(CONFIG, trials=3, seeds=1, out=tmp_path, show=str)
    assert tune(CONFIG, trials=5, seeds=1, out=tmp_path, show=str).trials == 5
    assert len({config.settings()["lam"] for config in valley}) == len(valley) == 5
    assert tune(CONFIG, trials=5, seeds=1, out=tmp_path, show=str).usual == pytest.approx(-3.0)
    assert len(valley) == 5


def test_trials_that_diverge_are_none(monkeypatch, tmp_path):
    def diverge(config):
        raise FloatingPointError("training diverged")

    monkeypatch.setattr(tuning, "score_of", diverge)
    with pytest.raises(ValueError, match="all 2 trials diverged"):
        tune(CONFIG, trials=2, seeds=1, out=tmp_path, show=str)


def test_a_score_is_the_return_after_adaptation_of_the_last_quarter():
    config = CONFIG.replace(iterations=4)
    history = bl.meta_train(config).history
    assert tuning.score_of(config) == history[-1]["return_after"]


@pytest.mark.parametrize("trials", [0, -1])
def test_no_trials_are_refused(trials, tmp_path):
    with pytest.raises(ValueError, match="trials must be at least 1"):
        tune(CONFIG, trials=trials, out=tmp_path)
