#!/usr/bin/env bash
# On a machine with a CUDA device, from the source tree and without an install: the tests of the Triton kernels, those
# of the other backends on CUDA, and the benchmarks. Takes less than ten minutes; results and logs go to $OUT.
set -uo pipefail
cd "$(dirname "$0")/.."
OUT=${OUT:-benchmarks/results/here}
mkdir -p "$OUT"
export PYTHONPATH=$PWD CUBLAS_WORKSPACE_CONFIG=:4096:8
failed=0

run() { # name, seconds, command: goes on after a failure, and remembers it
    echo "== $1"
    timeout -s INT -k 15 "$2" "${@:3}" >"$OUT/$1.log" 2>&1
    local status=$?
    ((status == 0)) || { failed=1; echo "FAILED ($status; 124: out of time)"; }
    tail -n 15 "$OUT/$1.log"
}

nvidia-smi >"$OUT/device.log"
run tests 270 python3 -m pytest -p no:cacheprovider -m triton --junitxml="$OUT/tests.xml"
# JAX would take most of the memory for itself; a run that is out of time keeps what it has measured
run benchmarks 180 env XLA_PYTHON_CLIENT_PREALLOCATE=false python3 -m benchmarks run --device cuda --out "$OUT" \
    --op variational_bound --op training_step --op reverse_process --op tutorial --op forward_process --op noise
run tests_of_other_backends 110 env TEST_DEVICE=cuda python3 -m pytest -p no:cacheprovider --maxfail=20 \
    tests/test_noise.py tests/test_forward_process.py tests/test_variational_bound.py tests/test_reverse_process.py \
    -k "(test_normals or test_equality) and not triton" --junitxml="$OUT/tests_of_other_backends.xml"
exit $failed
