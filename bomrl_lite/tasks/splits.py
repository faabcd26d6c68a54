"""Checks that every family of tasks shares."""


def check_counts(**counts: int) -> None:
    """Raise ValueError unless every count is at least 1."""
    for name, count in counts.items():
        if count < 1:
            raise ValueError(f"{name} must be at least 1, got {count}")
