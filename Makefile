# Every target sets up the virtual environment it needs; `make clean` takes it away.
PYTHON ?= python3
BIN := .venv/bin
OUT ?= demo
PYTEST := $(BIN)/python -m pytest
# Files side by side, each in one worker, so that what it compiles is compiled once. The kernels use all cores: threads
# that wait must not spin.
SIDE_BY_SIDE := -n auto --dist loadfile -p no:benchmark
PASSIVE := OMP_WAIT_POLICY=passive
# Triton's kernels as PTX: all for sm_90 by the pinned Triton, and by the oldest that is supported some for sm_80
OLDEST_TRITON := 3.6
ON_SM_80 := D1-H4 or D8-H16 or test_normals or test_forward_process or test_transition_bound or test_emulation
# Triton's interpreter, which users can ask for: every op once
INTERPRETED := test_words or D1-H4-N1-T5 or D2-H33-N3 or D2-N65 or (1025 and test_equality) or test_is_a_step_of
# a few kernels as an AVX2 machine compiles and runs them, where the processor has more
AVX2 := ATEN_CPU_CAPABILITY=avx2 TORCHINDUCTOR_CPP_MARCH=x86-64-v3
ON_AVX2 := compiled and (test_normals or D1-H4-N1003-T250)

.PHONY: demo test lint bench quality docs dist clean

demo: .venv/ready
	$(BIN)/ddpm demo --out $(OUT)

test: .venv/rivals .venv/oldest-triton
	$(PASSIVE) $(PYTEST) $(SIDE_BY_SIDE)
	EMULATE=90 $(PYTEST) $(SIDE_BY_SIDE)
	EMULATE=80 PYTHONPATH=.venv/oldest-triton $(PYTEST) $(SIDE_BY_SIDE) -k "$(ON_SM_80)"
	TRITON_INTERPRET=1 $(PYTEST) $(SIDE_BY_SIDE) -k "$(INTERPRETED)"
	! grep -qs avx512f /proc/cpuinfo || $(PASSIVE) $(AVX2) $(PYTEST) $(SIDE_BY_SIDE) -k "$(ON_AVX2)"

lint: .venv/ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# make bench FLAGS=--full for every axis and the tutorial itself
bench: .venv/rivals
	$(BIN)/python -m benchmarks run $(FLAGS)

# how good the models are, beside what people take instead; FLAGS="--data iris" for a part
quality: .venv/rivals
	$(BIN)/python -m benchmarks quality $(FLAGS)

# the website in build/docs, with the tutorial executed; threads that wait must not spin
docs: .venv/docs
	$(PASSIVE) $(BIN)/python -m sphinx --fail-on-warning --keep-going --quiet docs build/docs
	@echo "open build/docs/index.html"

# an sdist, and the wheel that is built from it, in dist/
dist: .venv/ready
	$(BIN)/python -m build

.venv/ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[test,lint]'
	touch $@

.venv/rivals: .venv/ready
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[test,lint,bench]'
	touch $@

.venv/docs: .venv/ready
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[docs]'
	touch $@

.venv/oldest-triton: .venv/ready
	$(BIN)/python -m pip install --quiet --no-deps --target $@ 'triton==$(OLDEST_TRITON).*'
	touch $@

clean:
	rm -rf .venv build dist *.egg-info
