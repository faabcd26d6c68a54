# Thin: every target is one of run.py's. `make` lists them; `make course ARGS="--seed 3"` passes on.
PYTHON ?= python3
ARGS ?=
TARGETS := help setup course lab test test-fast browser build site tables mutants bench full clean

.DEFAULT_GOAL := help
.PHONY: $(TARGETS)
# Two targets at once would set up the same .venv twice.
.NOTPARALLEL:

$(TARGETS):
	@$(PYTHON) run.py $@ $(ARGS)
