#!/bin/sh
# Makes the Python environment of the peers and runs the benchmarks. Started by `make bench`, after the build.
# TINYSHAKESPEARE: the text for the training recipe. BENCH: more arguments for bench.py.
set -eu
cd "$(dirname "$0")/.."

environment=.venv-bench
stamp=$environment/requirements.txt
if ! cmp -s Benchmarks/requirements.txt "$stamp"; then
    echo "making the Python environment $environment with $(tr '\n' ' ' <Benchmarks/requirements.txt)"
    python3 -m venv "$environment"
    "$environment/bin/python" -m pip install --quiet --disable-pip-version-check --requirement Benchmarks/requirements.txt
    cp Benchmarks/requirements.txt "$stamp"
fi
# Some machines preset OpenBLAS's kernels, rarely to the fastest.
unset OPENBLAS_CORETYPE OPENBLAS_L2_SIZE
# shellcheck disable=SC2086 # several arguments
exec "$environment/bin/python" Benchmarks/bench.py ${TINYSHAKESPEARE:+--tinyshakespeare "$TINYSHAKESPEARE"} ${BENCH-}
