PYTHON ?= python3
BIN := .venv/bin
unexport PYTHONDONTWRITEBYTECODE  # or each process that a test starts would compile its packages anew

.PHONY: demo check test docs bench clean

demo: .venv/ready  ## draw faces, protect an encoder, attack it, show what leaks
	$(BIN)/oneway demo --out demo

check: .venv/ready  ## lint, types and unit tests: all but the modules marked `whole`, which train, audit or start processes
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/pytest -n 2 -m "not slow and not whole"

test: .venv/ready  ## everything that must hold; minutes on two processors
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/pytest -n 2

docs: .venv/ready  ## the site of docs/ and of the code's own reference, into site/; a warning fails it
	$(BIN)/sphinx-build --quiet --fail-on-warning --keep-going --builder html docs site

bench: .venv/ready  ## our protect step against the plain one
	$(BIN)/python benchmarks/step.py

.venv/ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet uv
	$(BIN)/uv pip install --quiet --python $(BIN)/python -c constraints.txt -e . --group dev
	touch $@

clean:
	rm -rf .venv demo site docs/reference
