"""Policies: networks and tables, and the distributions of their actions."""
