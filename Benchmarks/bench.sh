#!/bin/sh
# Runs the benchmarks. Started by `make bench`, after the build.
# TINYSHAKESPEARE: the text for the training recipe. BENCH: more arguments for bench.py.
set -eu
cd "$(dirname "$0")/.."

sh deploy/python.sh
# Some machines preset OpenBLAS's kernels, rarely to the fastest.
unset OPENBLAS_CORETYPE OPENBLAS_L2_SIZE
# shellcheck disable=SC2086 # several arguments
exec .venv/bin/python Benchmarks/bench.py ${TINYSHAKESPEARE:+--tinyshakespeare "$TINYSHAKESPEARE"} ${BENCH-}
