#!/usr/bin/env bash
# Run the tests of the Triton kernels, the tests of the other backends on CUDA, and the benchmarks. It needs a CUDA
# device and the source tree, but no install. It takes less than ten minutes. Results and logs go to $OUT.
set -uo pipefail
cd "$(dirname "$0")/.."
OUT=${OUT:-benchmarks/results/here}
mkdir -p "$OUT"
export PYTHONPATH=$PWD CUBLAS_WORKSPACE_CONFIG=:4096:8
failed=0
# many processes, because compiling takes longer than running
SIDE_BY_SIDE=(-n "$(($(nproc) < 12 ? $(nproc) : 12))" --dist load -p no:cacheprovider -p no:benchmark)

run() { # arguments: name, seconds, command. Continue after a failure, but remember it.
    echo "== $1"
    timeout -s INT -k 60 "$2" "${@:3}" >"$OUT/$1.log" 2>&1
    local status=$?
    ((status == 0)) || { failed=1; echo "FAILED ($status; 124: out of time)"; }
    tail -n 15 "$OUT/$1.log"
}

nvidia-smi >"$OUT/device.log"
run tests 150 python3 -m pytest "${SIDE_BY_SIDE[@]}" -m triton --junitxml="$OUT/tests.xml"
# JAX would otherwise reserve most of the memory. A run that is out of time keeps what it has measured.
run benchmarks 240 env XLA_PYTHON_CLIENT_PREALLOCATE=false python3 -m benchmarks run --device cuda --out "$OUT" \
    --op variational_bound --op training_step --op reverse_process --op forward_process --op noise --op tutorial
run tests_of_other_backends 110 env TEST_DEVICE=cuda python3 -m pytest "${SIDE_BY_SIDE[@]}" --maxfail=20 \
    -k "(test_normals or test_equality) and not triton and not native" \
    --junitxml="$OUT/tests_of_other_backends.xml"
exit $failed
