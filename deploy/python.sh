#!/bin/sh
# Makes the Python environment of the peers that tests and benchmarks hold the programs against, .venv, when it is not there or
# has other packages.
set -eu
cd "$(dirname "$0")/.."

environment=.venv
if ! cmp -s deploy/requirements.txt "$environment/requirements.txt"; then
    echo "making the Python environment $environment with $(tr '\n' ' ' <deploy/requirements.txt)"
    python3 -m venv "$environment"
    "$environment/bin/python" -m pip install --quiet --disable-pip-version-check --requirement deploy/requirements.txt
    cp deploy/requirements.txt "$environment/requirements.txt"
fi
