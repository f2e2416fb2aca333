#!/bin/sh
# Makes the Python environment that tests with Python peers use, .venv-test, when it is not there or has other packages.
set -eu
cd "$(dirname "$0")/.."

environment=.venv-test
if ! cmp -s Tests/requirements.txt "$environment/requirements.txt"; then
    python3 -m venv "$environment"
    "$environment/bin/python" -m pip install --quiet --disable-pip-version-check --requirement Tests/requirements.txt
    cp Tests/requirements.txt "$environment/requirements.txt"
fi
