PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test bench clean

demo: .venv/ready  ## draw faces, protect an encoder, attack it, show what leaks
	$(BIN)/oneway demo --out demo

test: .venv/ready  ## everything that must hold; minutes on two processors
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/pytest -n 2

bench: .venv/ready  ## our protect step against the plain one
	$(BIN)/python benchmarks/step.py

.venv/ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet uv
	$(BIN)/uv pip install --quiet --python $(BIN)/python -c constraints.txt -e . --group dev
	touch $@

clean:
	rm -rf .venv demo
