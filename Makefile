# Every target sets up the virtual environment it needs; `make clean` takes it away.
PYTHON ?= python3
BIN := .venv/bin
OUT ?= demo
# over the cores, for tests that use one; the others' kernels use them all
SPREAD := -n auto -p no:benchmark

.PHONY: demo test lint bench clean

demo: .venv/ready
	$(BIN)/ddpm demo --out $(OUT)

test: .venv/ready
	$(BIN)/python -m pytest --ignore=tests/test_machine_code.py
	$(BIN)/python -m pytest $(SPREAD) tests/test_machine_code.py
	TRITON_INTERPRET=1 $(BIN)/python -m pytest $(SPREAD)

lint: .venv/ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: .venv/ready
	$(BIN)/python -m pytest benchmarks -p no:cacheprovider --benchmark-only --benchmark-columns=median,iqr,rounds --benchmark-sort=name

.venv/ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[test,lint]'
	touch $@

clean:
	rm -rf .venv build *.egg-info
