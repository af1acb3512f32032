# Every target first makes .venv (scripts/bootstrap.py; nothing to do is a matter of 50 ms).
# Another Python than `python3`: make setup PYTHON=python3.12

PYTHON ?= python3
BIN := .venv/bin
CODE := $(wildcard queuectl tests bench scripts)

.DEFAULT_GOAL := help
.PHONY: help setup demo test lint bench torture docs screenshots clean

help:  ## Show this
	@sed -n 's/^\([a-z]*\):.*## /  make \1\t/p' Makefile | expand -t 18

setup:  ## Make .venv with queuectl and its development tools in it
	@$(PYTHON) scripts/bootstrap.py

demo:  ## Run some 200 real jobs over this checkout and check what came of them
	@$(PYTHON) scripts/bootstrap.py --runtime
	@$(BIN)/python scripts/demo.py

# What was skipped, and what it would need, is said at the end (-rs).
test: setup  ## Run the tests
	$(BIN)/pytest -n 2 -m "not torture" -rs

lint: setup  ## Check style, formatting and types
	$(BIN)/ruff check $(CODE)
	$(BIN)/ruff format --check $(CODE)
	$(BIN)/mypy

bench: setup  ## Measure, each figure against a reference in the same run
	@$(BIN)/python -m bench

# TORTURE_SEED=2 tries other cases. What is missing for a part of it is said at the end (-rs).
# pytest answers 5 where it found no test: that is said, and is no success.
torture: setup  ## Run the tests that kill and cut without end (half an hour)
	@$(BIN)/pytest -n 2 --dist worksteal -m torture -rs --durations=15 || { code=$$?; \
	  [ $$code -ne 5 ] || echo "torture: there is no test marked torture, so nothing was tried"; \
	  exit $$code; }

docs: setup  ## Write the generated pages of docs/ anew
	@$(BIN)/python scripts/generate_docs.py

screenshots: setup  ## Take the pictures of the README anew, of a real dashboard
	@$(BIN)/python scripts/screenshots.py

clean:  ## Remove what the other targets made; data/ stays
	rm -rf .venv build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .benchmarks
	find $(CODE) -name __pycache__ -type d -prune -exec rm -rf {} +
