"""Sweeps: many trainings from one file, each a unit of work with a folder of its own."""
