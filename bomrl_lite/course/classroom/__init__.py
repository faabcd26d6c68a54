"""Assignments: what learners send in is judged here, outside their own process."""
