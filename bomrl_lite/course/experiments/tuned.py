"""The best settings that the searches found, by family and arm; a test compares with the tables."""

TUNED: dict[str, dict[str, dict[str, float]]] = {
    "navigation/circle": {
        "joint": {"learning_rate": 0.025},
        "first_order_maml": {"step_size": 0.24, "learning_rate": 0.03},
        "naive_maml": {"step_size": 0.24, "learning_rate": 0.03},
        "lvc_maml": {"step_size": 0.73, "learning_rate": 0.018},
        "dice_maml": {"step_size": 1.5, "learning_rate": 0.0014},
        "loaded_dice_maml": {"step_size": 0.84, "learning_rate": 0.022},
        "trpo_maml": {"step_size": 0.18, "max_kl": 0.28},
        "e_maml": {"step_size": 0.38, "learning_rate": 0.035, "credit": 0.039},
        "promp": {"step_size": 0.49, "learning_rate": 0.01},
        "anil": {"step_size": 3.5, "learning_rate": 0.029},
        "imaml": {"lam": 4.0, "learning_rate": 0.005},
        "bomrl_natural": {"lam": 0.013, "ridge": 80.0, "learning_rate": 0.006},
        "bomrl_natural_region": {"delta": 30.0, "ridge": 30.0, "learning_rate": 0.006},
        "bomrl_head": {"lam": 0.057, "ridge": 2.4, "learning_rate": 0.0078},
        "bomrl_solved": {"lam": 0.034, "ridge": 0.49, "learning_rate": 0.0078},
    },
    "cheetah/direction": {
        "MAML-TRPO": {"step_size": 0.31, "max_kl": 0.92},
        "ProMP": {"step_size": 0.41, "learning_rate": 0.019},
        "BO-MRL head": {"lam": 0.34, "ridge": 0.49, "learning_rate": 0.0078},
        "BO-MRL": {"lam": 0.015, "ridge": 220.0, "learning_rate": 0.01},
        "BO-MRL D3": {"step_size": 0.23, "learning_rate": 0.017},
        "ANIL": {"step_size": 1.4, "max_kl": 0.22},
        "ProMP head": {"step_size": 0.3, "learning_rate": 0.01},
    },
    "cheetah/velocity": {
        "MAML-TRPO": {"step_size": 0.25, "max_kl": 0.35},
        "ProMP": {"step_size": 0.11, "learning_rate": 0.0098},
        "BO-MRL head": {"lam": 0.3, "ridge": 1.0, "learning_rate": 0.01},
        "BO-MRL": {"lam": 0.064, "ridge": 210.0, "learning_rate": 0.0078},
        "BO-MRL D3": {"step_size": 0.2, "learning_rate": 0.015},
        "ANIL": {"step_size": 0.33, "max_kl": 0.47},
        "ProMP head": {"step_size": 0.079, "learning_rate": 0.024},
    },
    "walker/direction": {
        "MAML-TRPO": {"step_size": 0.5, "max_kl": 0.1},
        "ProMP": {"step_size": 0.15, "learning_rate": 0.0092},
        "BO-MRL head": {"lam": 0.34, "ridge": 0.49, "learning_rate": 0.0078},
        "BO-MRL": {"lam": 0.016, "ridge": 150.0, "learning_rate": 0.011},
        "ProMP head": {"step_size": 0.3, "learning_rate": 0.01},
    },
    "ant/velocity": {
        "MAML-TRPO": {"log_std": -1.0, "max_kl": 0.3},
        "ProMP head": {"log_std": -1.0, "epochs": 5, "learning_rate": 0.01},
    },
    "ant/direction": {
        "ProMP": {"step_size": 0.1},
        "BO-MRL head": {"lam": 0.03},
    },
}
