"""What `--overlap` gains where messages take time: two ranks in network namespaces of their own, joined by a link of a set rate."""

import contextlib
import dataclasses
import os
import shlex
import shutil
import statistics
import subprocess

import cases
import contenders
from contenders import Failed, Worker
from report import describe, describe_ratio, goal, print_table, ratio, say
from training import WARM_UP_STEPS, layer_table, write_random_tokens

SETTINGS = ["none", "dispatch", "gradients", "refresh", "all"]
# No message of a chunk of rows then has to ask before it is sent, and to wait for an answer until the other rank is in MPI again.
EAGER = "--mca btl_tcp_eager_limit 1048576 --mca btl_tcp_max_send_size 1048576"


def obstacle():
    if os.geteuid() != 0:
        return "only root may make network namespaces"
    for program in ["ip", "tc", "unshare"]:
        if not shutil.which(program):
            return f"there is no {program} (Debian: iproute2, util-linux)"
    return None


@contextlib.contextmanager
def link(rate, folder):
    """Two namespaces that a link joins, and the launcher of a job with a rank in each."""
    name = f"moe{os.getpid()}"
    here, there = f"{name}a", f"{name}b"

    def call(command):
        result = subprocess.run(shlex.split(command), capture_output=True, text=True)
        if result.returncode != 0:
            raise Failed(f"{command}: {result.stderr.strip()}")

    try:
        call(f"ip netns add {here}")
        call(f"ip netns add {there}")
        call(f"ip link add link0 netns {here} type veth peer name link0 netns {there}")
        for namespace, address in [(here, "10.231.0.1"), (there, "10.231.0.2")]:
            call(f"ip -n {namespace} address add {address}/24 dev link0")
            call(f"ip -n {namespace} link set lo up")
            call(f"ip -n {namespace} link set link0 up")
            call(f"ip netns exec {namespace} tc qdisc add dev link0 root tbf rate {rate} burst 256kb latency 20ms")
        # mpirun's way to the other machine: it calls this with the machine's address and a command.
        agent, start = os.path.join(folder, "agent"), os.path.join(folder, "start")
        for path, line in [
                (agent, f'shift; exec ip netns exec {there} unshare --uts sh -c "hostname {there}; $*"'),
                (start, f'exec ip netns exec {here} unshare --uts sh -c \'hostname {here}; exec "$@"\' sh "$@"')]:
            with open(path, "w") as file:
                file.write(f"#!/bin/sh\n{line}\n")
            os.chmod(path, 0o755)
        yield (f"{start} mpirun --leave-session-attached --host 10.231.0.1:1,10.231.0.2:1 --mca plm_rsh_agent {agent} --mca btl tcp,self "
               "--mca oob_tcp_if_include link0 --mca btl_tcp_if_include link0 --bind-to none")
    finally:
        for namespace in [here, there]:
            subprocess.run(["ip", "netns", "delete", namespace], capture_output=True)


def measure_rows(options, case, launcher, folder):
    """Steps of many narrow experts, of which a token takes eight, as its router has it: bytes that leave a rank, and what a row for each
    expert would be."""
    case = dataclasses.replace(
        case, name="network, fine-grained", intermediate_size=224, num_local_experts=32, num_experts_per_tok=8)
    tokens = case.batch_size * case.sequence_length // 2
    # There and back, forward and backward, to the other rank: whole experts get half of a token's, shards all.
    row = 4 * case.num_hidden_layers * tokens * case.num_experts_per_tok * 4 * case.hidden_size
    runners = {
        (allocator, overlap): Worker(options.programs, allocator, flags=(("overlap", overlap),), launcher=launcher)
        for allocator in ["expert-parallel", "tensor-parallel"] for overlap in ["none", "all"]}
    values = {
        (allocator, overlap): {"allocator": allocator, "overlap": overlap, "step_seconds": [], "bytes_sent": [],
                               "bytes_of_a_row_each": row // (2 if allocator == "expert-parallel" else 1)}
        for allocator, overlap in runners}
    facts = {}
    for _ in range(min(options.rounds, 3)):
        for key, runner in runners.items():
            run = runner.run(case, folder, 1, False)
            facts |= run.facts
            values[key]["step_seconds"].append(statistics.median(run.step_seconds[WARM_UP_STEPS:]))
            values[key]["bytes_sent"].append(run.metrics[-1]["bytes_sent"])
    print_table(
        ["1 Gbit/s, 8 of 32 experts", "overlap", "MB a rank and step, all in all", "of rows, were there one an expert", "ms a step"],
        [[*key, describe([sent / 1e6 for sent in value["bytes_sent"]], 0), f"{value['bytes_of_a_row_each'] / 1e6:,.0f}",
          describe([1000 * time for time in value["step_seconds"]], 0)] for key, value in values.items()])
    return {"case": dataclasses.asdict(case), "runs": list(values.values())}, facts


def measure_network(options, folder):
    """Steps over a link of 1 Gbit/s, with each of the switches of `--overlap`."""
    if reason := obstacle():
        say(f"network: skipped; {reason}\n")
        return None, {}
    case = dataclasses.replace(cases.throughput(options.network_steps), name="network")
    write_random_tokens(folder, case.vocab_size)
    facts, values, goals = {}, {}, []
    with link("1gbit", folder) as launcher:
        for allocator in ["expert-parallel", "replicated"]:
            runners = {
                (overlap, eager): Worker(
                    options.programs, allocator, flags=(("overlap", overlap), ("benchmark-even-routing", None)),
                    launcher=f"{launcher} {EAGER}" if eager else launcher)
                for overlap, eager in [*((setting, False) for setting in SETTINGS), ("none", True), ("all", True)]}
            steps = {key: [] for key in runners}
            for index in range(min(options.rounds, 3)):
                for key, runner in runners.items():
                    run = runner.run(case, folder, 1, False)
                    facts |= run.facts
                    steps[key].append(statistics.median(run.step_seconds[WARM_UP_STEPS:]))
                    say(f"  round {index + 1}, {allocator}, overlap {key[0]}{', eager' * key[1]}: {steps[key][-1]:.3f} s")
            say()
            gains = {key: ratio(steps["none", False], times) for key, times in steps.items()}
            print_table(
                [f"1 Gbit/s, {allocator}: overlap", "messages", "ms a step", "gain"],
                [[overlap, "eager" if eager else "as Open MPI has it", describe([1000 * time for time in steps[overlap, eager]], 0),
                  describe_ratio(gains[overlap, eager])] for overlap, eager in steps])
            values[allocator] = [
                {"overlap": overlap, "eager": eager, "step_seconds": times, "gain": gains[overlap, eager]}
                for (overlap, eager), times in steps.items()]
            goals.append(goal(f"overlap over 1 Gbit/s, {allocator}, to none", gains["all", False], 1.0))
        rows, more = measure_rows(options, case, launcher, folder)
        facts |= more
        products = [contenders.layers(options.programs, case, launcher=launcher)]
    _, exchange, _ = layer_table(products)
    goals.append(goal("exchange to MPI_Alltoallv over 1 Gbit/s", exchange, 0.8))
    return {"case": dataclasses.asdict(case), "link": "1gbit", "allocators": values, "rows": rows, "products": products, "goals": goals}, facts
