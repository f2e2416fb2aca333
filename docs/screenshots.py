"""Takes docs/dashboard-1280.png and docs/dashboard-360.png anew, of a real run on the works of Shakespeare.

After `make build`, in the root: sh deploy/python.sh && .venv/bin/python docs/screenshots.py [TEXT [STEPS]]

Two ranks train until half of the steps are done with planning frozen, under a plan of an operator who knows nothing of loads: six of the
eight experts of each layer are on rank 0. Then planning goes on, until a plan of the allocator is in force and measured. Have the machine
to yourself: other programs make ranks slow, and balance uneven.
"""

import json
import os
import re
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

from playwright.sync_api import sync_playwright

ROOT = Path(__file__).resolve().parent.parent
PROGRAMS = ROOT / ".build/release"
RUN = "shakespeare"
CROWDED_EXPERTS = 6


def start_coordinator(folder):
    """The program, and where it listens and has its page."""
    command = [PROGRAMS / "moe-coordinator", "serve", "--database", folder / "moe.db"]
    coordinator = subprocess.Popen(
        [*command, "--listen", "127.0.0.1:0", "--http", "127.0.0.1:0"], stderr=subprocess.PIPE, text=True)
    found = {}
    while len(found) < 2:
        line = coordinator.stderr.readline()
        if not line:
            sys.exit("screenshots: the coordinator did not start")
        if place := re.match(r"moe-coordinator: (listening|dashboard and health) on (\S+)", line):
            found[place[1]] = place[2]
    return coordinator, found["listening"], found["dashboard and health"]


def train(folder, texts, steps, address):
    data = folder / "data"
    subprocess.run([PROGRAMS / "moe-ctl", "data", "prepare", *texts, "--output", data, "--tokenizer", "bytes"], check=True)
    options = {
        "run": RUN, "coordinator": address, "allocator": "load-balanced", "data": data,
        "model-config": ROOT / "deploy/shakespeare/config.json", "steps": steps, "batch-size": 16,
        "sequence-length": 128, "learning-rate": "2e-3", "learning-rate-schedule": "cosine",
        "minimum-learning-rate": "2e-4", "warmup-steps": 100, "beta2": 0.99, "weight-decay": 0.1, "log-interval": 100,
    }
    root = {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"} if os.geteuid() == 0 else {}
    return subprocess.Popen(
        ["mpirun", "--oversubscribe", "--bind-to", "none", "-n", "2", PROGRAMS / "moe-worker",
         *(word for name, value in options.items() for word in (f"--{name}", str(value)))],
        env=os.environ | root)


def ask(page, path=""):
    with urllib.request.urlopen(f"{page}/api/v1/runs/{RUN}{path}") as answer:
        return json.load(answer)


def crowded(plan):
    for layer in plan["layers"]:
        layer["experts"] = [
            {"width": expert["width"], "mesh": {"data_parallel": 1, "tensor_parallel": 1, "ranks": [number // CROWDED_EXPERTS]}}
            for number, expert in enumerate(layer["experts"])
        ]
    return plan


def wait(job, what, is_met):
    while True:
        try:
            if is_met():
                return
        except OSError:
            pass  # It has not registered yet.
        if job.poll() is not None:
            sys.exit(f"screenshots: the ranks ended before {what}")
        time.sleep(0.02)


def take(page, width, scheme, height, scale):
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
        context = browser.new_context(
            viewport={"width": width, "height": height}, device_scale_factor=scale, color_scheme=scheme)
        tab = context.new_page()
        tab.goto(f"{page}/#/{RUN}")
        tab.locator("#connection.live").wait_for()
        tab.locator("#placement .key.moved").wait_for()
        # Nothing is drawn any more.
        tab.wait_for_function("new Promise(done => requestAnimationFrame(() => setTimeout(() => done(true), 2000)))")
        file = ROOT / f"docs/dashboard-{width}.png"
        tab.screenshot(path=file)
        browser.close()
        print(f"{file}: {file.stat().st_size} bytes")


def main():
    texts = sys.argv[1:2]
    steps = int(sys.argv[2]) if len(sys.argv) > 2 else 1000
    if not texts:
        subprocess.run(["sh", ROOT / "deploy/shakespeare/fetch.sh", ROOT / "data/shakespeare"], check=True)
        texts = sorted((ROOT / "data/shakespeare").glob("*.txt"))
    with tempfile.TemporaryDirectory() as folder:
        coordinator, address, page = start_coordinator(Path(folder))
        job = train(Path(folder), texts, steps, address)
        try:
            planning = [PROGRAMS / "moe-ctl", "placement"]
            place = ["--run", RUN, "--coordinator", address, "--why"]
            step = lambda: ask(page)["summary"].get("step", 0)
            wait(job, "registration", lambda: step() >= 0)
            subprocess.run([*planning, "freeze", *place, "to see half a run without re-placement"], check=True)
            plan = Path(folder) / "plan.json"
            plan.write_text(json.dumps(crowded(ask(page, "/placement")["plan"])))
            subprocess.run([*planning, "apply", plan, *place, "most experts on rank 0, to begin with"], check=True)
            wait(job, "half of the steps", lambda: step() >= steps // 2)
            subprocess.run([*planning, "unfreeze", *place, "half of the steps are done"], check=True)
            wait(job, "a measured plan", lambda: any(
                it["who"].startswith("allocator ") and "observation" in it and it["state"] == "active"
                for it in ask(page, "/plans")["plans"]))
            subprocess.run([*planning, "freeze", *place, "to see what this plan brings"], check=True)
            wait(job, "nine tenths of the steps", lambda: step() >= steps * 9 // 10)
            # While it runs: the page says how long it has left.
            take(page, 1280, "light", 1172, 1)
            take(page, 360, "dark", 1200, 2)
        finally:
            for program in (job, coordinator):
                program.terminate()
                program.wait()


main()
