"""Pictures of robots without a display."""
