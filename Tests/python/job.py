"""A job of two ranks whose experts are skewed, over the Python client; prints a line for each plan that it follows.

usage: job.py ADDRESS [KEY-FILE]       with deploy/python in PYTHONPATH

Nothing is trained: rows go where the plan says, and a row takes a microsecond, as does each neuron that it meets.
"""

import sys
import threading
import time

from moe_coordinator import Client, Job

RANKS, WIDTH, STEPS = 2, 16, 5
LOADS = [[700, 100, 100, 100], [100, 100, 100, 700]]


def sample(plan, rank, step):
    rows = work = 0
    for layer, loads in enumerate(LOADS):
        for expert, load in enumerate(loads):
            for fraction, shards in plan.replicas(layer, expert):
                for holder, first, last in shards:
                    if holder == rank:
                        rows += STEPS * load * fraction
                        work += STEPS * load * fraction * (last - first)
    seconds = 1e-6 * (rows + work)
    return dict(
        first_step=step, step_count=STEPS, step_seconds=seconds + 1e-3, phase_seconds={"experts": seconds},
        tokens=STEPS * 500, expert_rows=int(rows), expert_work=int(work),
        expert_loads=[[STEPS * load for load in loads] for loads in LOADS] if rank == 0 else None,
        dropped_tokens=[STEPS * 100, 0] if rank == 0 else None, loss=2.0 if rank == 0 else None)


def main():
    address, *key = sys.argv[1:]
    first = Job.register(
        Client(address, *key), "python", nodes=[0] * RANKS, hidden_size=64, widths=[[WIDTH] * 4] * 2,
        allocator="load-balanced", interval=STEPS, exchange={"latency_seconds": 1e-5, "bytes_per_second": 1e10},
        poll_interval=0.05, timeout=1)
    plan, step = first.plan, 1
    jobs = [first] + [Job.join(Client(address, *key), "python", first.incarnation, rank, plan) for rank in range(1, RANKS)]
    print(f"plan {plan.revision}: {[len(plan.held_by(rank)) for rank in range(RANKS)]}", flush=True)
    deadline = time.monotonic() + 60
    while plan.revision == 1:
        if time.monotonic() > deadline:
            sys.exit("no plan was offered")
        for rank, job in enumerate(jobs):
            job.report(**sample(plan, rank, step))
        step += STEPS
        offer = first.offer()
        if offer is None:
            threading.Event().wait(0.05)  # What a step takes.
            continue
        for job in jobs:
            job.accept(offer, step)
            job.applied(offer, step)
        plan = offer
        print(f"plan {plan.revision}: {[len(plan.held_by(rank)) for rank in range(RANKS)]}", flush=True)
    for job in reversed(jobs):
        job.close(step=step - 1)


if __name__ == "__main__":
    main()
