"""Executing notebooks, judging their figures, reporting: ``runner.run_course`` is the entry."""
