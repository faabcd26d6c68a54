"""The classroom wing: everything that the notebooks need beside the mathematics."""
