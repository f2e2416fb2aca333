#!/usr/bin/env python3
"""Measures a coordinator that many clients report to, and writes what was measured to results/.

    swift build -c release -Xcc -march=native --product coordinator-benchmark
    swift build -c release -Xcc -march=native --product moe-coordinator
    python Benchmarks/coordinator.py --directory /var/tmp [--soak-seconds 600 …]

Options are those of coordinator-benchmark.
"""
import json
import pathlib
import subprocess
import sys
import tempfile

import machine

tool = pathlib.Path(".build/release/coordinator-benchmark")
results = pathlib.Path(__file__).parent / "results"
facts = machine.facts({})
machine.forget_settings()
with tempfile.NamedTemporaryFile() as file:
    subprocess.run([tool, *sys.argv[1:], "--json", file.name], check=True)
    record = {"facts": facts, "coordinator": json.load(file)}
name = f"{facts['date'].replace('-', '').replace(':', '')[:13]}-coordinator.json"
(results / name).write_text(json.dumps(record, indent=1) + "\n")
print(f"\nwritten to {results / name}")
