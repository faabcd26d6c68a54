"""Meta-training: a configuration, its problem, the trainer, run folders, evaluation."""
