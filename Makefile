# Every target sets up the virtual environment it needs; `make clean` takes it away.
PYTHON ?= python3
BIN := .venv/bin
OUT ?= demo
# tests that use one core, spread over them all; the others' kernels use them all
ONE_CORE := tests/test_machine_code.py tests/test_benchmarks.py
SPREAD := -n auto -p no:benchmark

.PHONY: demo test lint bench clean

demo: .venv/ready
	$(BIN)/ddpm demo --out $(OUT)

test: .venv/rivals
	$(BIN)/python -m pytest $(addprefix --ignore=,$(ONE_CORE))
	$(BIN)/python -m pytest $(SPREAD) $(ONE_CORE)
	TRITON_INTERPRET=1 $(BIN)/python -m pytest $(SPREAD)

lint: .venv/ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# make bench FLAGS=--full for every axis and the tutorial itself
bench: .venv/rivals
	$(BIN)/python -m benchmarks run $(FLAGS)

.venv/ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[test,lint]'
	touch $@

.venv/rivals: .venv/ready
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[test,lint,bench]'
	touch $@

clean:
	rm -rf .venv build *.egg-info
