# One verb per chore. Each sets up what it needs; a second run starts at once.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/ready

.PHONY: demo test check bench census clean

demo: $(READY)  ## the main job: a real decoder reads a real file, and you see what it looked at
	$(BIN)/lookbehind demo

test: $(READY)  ## the whole suite, doctests and README included
	$(BIN)/python -m pytest

check: $(READY)  ## formatting, lint, types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/pyright

bench: $(READY)  ## the figures in benchmarks/README.md, read on this machine
	$(BIN)/lookbehind bench

census: $(READY)  ## docs/census.md: every decoder of the installed transformers, audited (about an hour)
	$(BIN)/python -m census.run

clean:
	rm -rf .venv demo-output build dist .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The stamp is written last, so that a set-up cut short starts again.
$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $(READY)
